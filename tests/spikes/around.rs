//! What somebody changed around the policy: routes, providers, and whose word about addresses is believed.

use portcullis_testkit::upstream::Upstream;

use super::{Caller, POLICY, Scene, run, without_bans};
use crate::harness::Site;

const STORE: &str = "[store]\npath = \"state.db\"\n";

/// A route is undone on the very requests, and comes back by the command that is proposed.
#[test]
fn a_route_that_was_narrowed_is_put_down_to_the_routes() {
    let upstream = Upstream::start();
    let mut scene = Scene::start_with_more(&upstream, &without_bans(POLICY), STORE);
    let route = "[[route]]\nname = \"app\"\nupstream = \"app\"\n";
    scene.reload_around(route, &format!("{route}paths = [\"/reports/0\", \"/files/**\"]\n"));
    let told = scene.told(|| scene.locked_out(404));
    let cause = told.check("config_change", 95, "the routes (`[[route]]`) around the policy ");
    assert_eq!(cause["by_reason"][0]["name"], "route.not_found", "{cause:#}");
    told.check_fix("portcullis policy rollback 1 --reason ", &["of 6 callers, 6 let in before; "]);
    let back = run(&scene.gateway, &["policy", "rollback", "1", "--reason", "spike of refusals"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    scene.people.iter().for_each(|person| person.check(&scene.gateway, 4, 200));
}

/// What reads a credential has changed: nothing that was kept says what it would have been taken for.
#[test]
fn a_header_of_keys_with_another_name_is_put_down_to_the_providers() {
    let upstream = Upstream::start();
    let mut scene = Scene::start(&upstream, &without_bans(POLICY));
    scene.reload_around("header = \"x-api-key\"", "header = \"x-other-key\"");
    let told = scene.told(|| scene.locked_out(401));
    let cause = told.check("config_change", 95, "`[identity]` or a file of keys or users, read anew at ");
    assert_eq!(cause["by_reason"][0]["name"], "authn.missing", "{cause:#}");
    told.check_fix("put the earlier `[identity]` back", &["cannot be decided on again"]);
}

/// The proxy that all come through is believed no more, so that all come from the proxy.
#[test]
fn a_proxy_that_is_not_believed_any_more_is_put_down_to_the_addresses() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.40\", \"127.0.0.41\"]\n");
    let people = (9..15).map(|host| {
        let name = format!("person-{host}");
        let key = ("x-api-key", site.key(&name, &format!("user:{name}"), ""));
        Caller { forwarded: Some(format!("203.0.113.{host}")), ..Caller::new("127.0.0.40", key) }
    });
    let people = people.collect();
    let policy = without_bans(&POLICY.replace("127.0.0.8/29", "203.0.113.0/24"));
    let mut scene = Scene::of(site, people, &policy);
    scene.reload_around("\"127.0.0.40\", ", "");
    let told = scene.told(|| scene.locked_out(403));
    let cause = told.check("config_change", 90, "`[client_address]`, changed at ");
    assert_eq!(cause["by_reason"][0]["name"], "ip.not_allowed", "{cause:#}");
    told.check_fix("put the earlier `[client_address]` back", &["cannot be decided on again"]);
}
