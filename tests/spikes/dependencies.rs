//! What the gateway leans on: the keys of an identity provider, and the upstream.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::ports::free_port;
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::tokens::{SigningKey, jwks};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};

use super::{Caller, PATH, POLICY, Scene, without_bans};
use crate::harness::{AUDIENCE, ISSUER, Site, bearer, claims, of_kind};

/// The provider withdraws a key while tokens are about that it signed.
#[test]
fn keys_that_were_rotated_too_early_are_put_down_to_the_provider() {
    let authority = Authority::new("providers");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    let [old, new] = ["2026-a", "2026-b"].map(SigningKey::es256);
    let published = Arc::new(Mutex::new(jwks(&[&old])));
    let given = Arc::clone(&published);
    let provider = Receiver::start_tls(&issued, move |_| {
        Answer::status(200).header("Content-Type", "application/json").body(given.lock().unwrap().clone())
    });
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.file("provider.pem", &authority.certificate());
    site.add(&format!(
        "[[identity.jwt]]\nname = \"login\"\nissuer = \"{ISSUER}\"\naudiences = [\"{AUDIENCE}\"]\n\
         jwks = {{ url = \"https://{}/keys\", ca = \"provider.pem\", refresh = \"1s\", cooldown = \"100ms\" }}\n",
        provider.address()
    ));
    let person = |host: usize, key: &SigningKey| {
        let token = bearer(key, &claims(&format!("u-{host}")));
        Caller::new(&format!("127.0.0.{host}"), ("authorization", token))
    };
    let people = (9..15).map(|host| person(host, &old)).collect();
    let scene = Scene::of(site, people, &without_bans(POLICY));
    *published.lock().unwrap() = jwks(&[&new]);
    // Nobody pauses for that: who came as ever until it happened is told by that.
    let rotated = || {
        for person in &scene.people {
            person.statuses(&scene.gateway, PATH, &[], 1);
        }
        (of_kind(&scene.gateway.events.all(), "keys.updated").len() >= 2).then_some(())
    };
    assert!(wait::until(PATIENCE, rotated).is_some(), "the new keys were never fetched");
    let told = scene.told(|| {
        scene.locked_out(401);
        // Who has logged in since is let in.
        person(9, &new).check(&scene.gateway, 1, 200);
    });
    let cause = told.check("keys", 95, "credentials that do not verify (authn.unknown_key)");
    assert_eq!(told.kinds(), ["keys"]);
    assert!(cause["summary"].as_str().unwrap().contains("see the provider's keys"), "{cause:#}");
    assert!(
        cause["summary"].as_str().unwrap().contains("the keys of the provider login, of which some went at "),
        "{cause:#}"
    );
    told.check_fix("publish the earlier keys", &["restores these ", "it opens nothing "]);
}

#[test]
fn an_upstream_that_refuses_after_an_upgrade_is_the_cause() {
    let answering = |status: u16, version: &'static str| move |_: &_| Reply::status(status).header("server", version);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let upstream = Upstream::choosing_on(address, answering(200, "app/1.9"));
    let scene = Scene::start(&upstream, &without_bans(POLICY));
    drop(upstream);
    let _upgraded = Upstream::choosing_on(address, answering(403, "app/2.0"));
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("upstream", 95, "answered with 403 by the upstream itself");
    assert_eq!(cause["by_reason"][0]["name"], "403", "{cause:#}");
    told.check_fix("put the upstream back", &["restores these ", "here nothing is to be opened"]);
}
