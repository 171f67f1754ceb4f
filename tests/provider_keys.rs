//! Identity providers that publish their keys: new ones work on first use, a flood of unknown ones costs the provider nothing, and a
//! provider that is gone is a 503 for those who need it and nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::oidc_provider::{OidcProvider, RESOURCE};
use portcullis_testkit::process::Signal;
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::tokens::{SigningKey, jwks};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, AUTHENTICATED, Gateway, ISSUER, NO_BANS, Site, bearer, claims, of_kind};

/// A provider whose answers the test chooses by path, and a gateway that fetches its keys.
struct World {
    gateway: Gateway,
    /// An API key.
    robot: String,
    answers: Arc<Mutex<Answers>>,
    /// How many milliseconds it takes to answer.
    slow: Arc<AtomicU64>,
    provider: Receiver,
    _upstream: Upstream,
}

/// By path; else 404.
type Answers = Vec<(&'static str, Answer)>;

fn keys(signers: &[&SigningKey]) -> Answer {
    Answer::status(200).header("Content-Type", "application/json").body(jwks(signers))
}

/// `jwks` is what stands there, with `{provider}` for the address.
fn world(answers: Answers, issuer: Option<&str>, jwks: &str) -> World {
    let authority = Authority::new("providers");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    let answers = Arc::new(Mutex::new(answers));
    let given = Arc::clone(&answers);
    let slow = Arc::new(AtomicU64::new(0));
    let pause = Arc::clone(&slow);
    let provider = Receiver::start_tls(&issued, move |request| {
        // As long as that is set, so that whoever takes it back ends it.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(pause.load(Ordering::SeqCst)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let answers = given.lock().unwrap();
        let found = answers.iter().find(|(path, _)| *path == request.target);
        found.map_or_else(|| Answer::status(404), |(_, answer)| answer.clone())
    });
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.file("provider.pem", &authority.certificate());
    let address = format!("https://{}", provider.address());
    let issuer = issuer.map_or_else(|| ISSUER.to_owned(), |issuer| issuer.replace("{provider}", &address));
    site.add(&format!(
        "[[identity.jwt]]\nname = \"login\"\nissuer = \"{issuer}\"\naudiences = [\"{AUDIENCE}\"]\n\
         jwks = {{ {}, ca = \"provider.pem\" }}\n",
        jwks.replace("{provider}", &address)
    ));
    let robot = site.key("robot", "service:robot", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    World { gateway: site.start(), robot, answers, slow, provider, _upstream: upstream }
}

impl World {
    fn give(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// What a token of this signer gets.
    fn status(&self, signer: &SigningKey) -> u16 {
        self.gateway.get("/", &[("Authorization", &bearer(signer, &claims("u-17")))]).status()
    }

    /// How often that path was asked for.
    fn asked(&self, path: &str) -> usize {
        self.provider.requests().iter().filter(|request| request.target == path).count()
    }

    fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        self.gateway.wait_for_events(kind, count)
    }
}

#[test]
fn a_new_key_works_on_first_use_and_a_withdrawn_one_is_refused() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::ed25519("new"));
    let world = world(vec![("/keys", keys(&[&old]))], None, "url = \"{provider}/keys\", cooldown = \"100ms\"");
    // The very first request waits for the keys.
    assert_eq!(world.status(&old), 200);
    assert_eq!(world.status(&old), 200);
    let updated = world.wait_for("keys.updated", 1);
    assert_eq!(updated[0]["policy"]["rule"], "login");
    assert_eq!(updated[0]["severity"], "low");
    world.give(vec![("/keys", keys(&[&new]))]);
    let works = || (world.status(&new) == 200).then_some(());
    // At most a cooldown passes.
    assert!(wait::until(PATIENCE, works).is_some());
    let refused = world.gateway.get("/", &[("Authorization", &bearer(&old, &claims("u-17")))]);
    let event = world.gateway.check_refused("a withdrawn key", &refused, 401, "authn.unknown_key");
    assert_eq!(event["decision"], "challenge");
}

#[test]
fn requests_with_a_new_key_wait_for_one_fetch_however_slow_it_is() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let world = world(
        vec![("/keys", keys(&[&old]))],
        None,
        "url = \"{provider}/keys\", cooldown = \"100ms\", refresh = \"1h\"",
    );
    assert_eq!(world.status(&old), 200);
    // From now on nothing but a request with the new key has the keys fetched.
    std::thread::sleep(Duration::from_millis(300));
    world.give(vec![("/keys", keys(&[&old, &new]))]);
    world.slow.store(500, Ordering::SeqCst);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| world.status(&new))).collect();
        // Known callers do not wait.
        assert_eq!(world.status(&old), 200);
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 8]);
    assert_eq!(world.asked("/keys"), 2);
}

#[test]
fn a_flood_of_unknown_keys_is_one_fetch_for_each_cooldown_and_harms_nobody() {
    let known = SigningKey::ed25519("known");
    let world = world(vec![("/keys", keys(&[&known]))], None, "url = \"{provider}/keys\", cooldown = \"1h\"");
    assert_eq!(world.status(&known), 200);
    assert_eq!(world.asked("/keys"), 1);
    for number in 0..50 {
        assert_eq!(world.status(&SigningKey::ed25519(&format!("made-up-{number}"))), 401);
    }
    assert_eq!(world.status(&known), 200);
    assert_eq!(world.asked("/keys"), 1);
}

#[test]
fn a_caller_that_hangs_up_while_keys_are_fetched_leaves_its_event() {
    let known = SigningKey::ed25519("known");
    let jwks = "url = \"{provider}/keys\", cooldown = \"100ms\", refresh = \"1h\", timeout = \"30s\"";
    let world = world(vec![("/keys", keys(&[&known]))], None, jwks);
    assert_eq!(world.status(&known), 200);
    std::thread::sleep(Duration::from_millis(300));
    world.slow.store(60_000, Ordering::SeqCst);
    let made_up = bearer(&SigningKey::ed25519("made-up"), &claims("mallory"));
    let mut client = world.gateway.conn();
    client.send(wire::request("GET", "/secret", &[("Authorization", &made_up)], b""));
    // It waits for them.
    let waits = || {
        (world.gateway.metric("portcullis_keys_fetch_total{provider=\"login\",result=\"succeeded\"}") == Some(2.0))
            .then_some(())
    };
    assert!(wait::until(PATIENCE, waits).is_some());
    drop(client);
    let event = world.gateway.refusals(1).remove(0);
    assert_eq!(event["reason"], "dependency.keys_unavailable", "{event:#}");
    assert_eq!((&event["status"], &event["request"]["path"]), (&Value::Null, &json!("/secret")), "{event:#}");
    // One is all, and whoever waits on is answered as ever.
    world.slow.store(0, Ordering::SeqCst);
    assert_eq!(world.status(&known), 200);
    let stays = || (world.status(&SigningKey::ed25519("made-up")) == 401).then_some(());
    assert!(wait::until(PATIENCE, stays).is_some());
    let undecided = world.gateway.events.all();
    let undecided = undecided.iter().filter(|event| event["request"]["path"] == "/secret").count();
    assert_eq!(undecided, 1);
}

#[test]
fn a_provider_that_is_gone_is_undecided_for_its_tokens_and_nothing_for_others() {
    let known = SigningKey::es256("k");
    let down = vec![("/keys", Answer::status(500))];
    let jwks = "url = \"{provider}/keys\", cooldown = \"100ms\", refresh = \"1s\", max_stale = \"1h\"";
    let mut world = world(down.clone(), None, jwks);
    let undecided = world.gateway.get("/", &[("Authorization", &bearer(&known, &claims("u-17")))]);
    let event = world.gateway.check_refused("no keys yet", &undecided, 503, "dependency.keys_unavailable");
    assert_eq!(event["decision"], "undecided");
    let other = |world: &World| world.gateway.get("/", &[("X-Api-Key", &world.robot)]).status();
    assert_eq!(other(&world), 200, "an API key needs no provider");
    assert_eq!(world.gateway.get("/", &[]).status(), 401, "nor does who has nothing");
    let failed = world.wait_for("keys.failed", 1);
    assert!(failed[0]["message"].as_str().unwrap().contains("500"), "{failed:?}");
    // It comes up: without a word of anybody it is asked again.
    world.give(vec![("/keys", keys(&[&known]))]);
    assert!(wait::until(PATIENCE, || (world.status(&known) == 200).then_some(())).is_some());
    // It goes again. The keys serve on, also tokens that nobody remembers, and then no more.
    world.give(down);
    world.wait_for("keys.failed", 2);
    assert_eq!(world.status(&known), 200);
    // So short a time that it has passed, where the time of before would not.
    world.gateway.site.change("max_stale = \"1h\"", "max_stale = \"2s\"");
    world.gateway.site.write();
    world.gateway.reload("ok");
    let stale = || (world.status(&known) == 503).then_some(());
    assert!(wait::until(PATIENCE, stale).is_some());
    assert_eq!(world.wait_for("keys.stale", 1)[0]["severity"], "high");
    assert_eq!(other(&world), 200);
    world.give(vec![("/keys", keys(&[&known]))]);
    assert!(wait::until(PATIENCE, || (world.status(&known) == 200).then_some(())).is_some());
}

#[test]
fn a_set_that_is_none_changes_nothing() {
    let known = SigningKey::es256("k");
    let jwks = "url = \"{provider}/keys\", cooldown = \"100ms\", refresh = \"1s\"";
    let world = world(vec![("/keys", keys(&[&known]))], None, jwks);
    assert_eq!(world.status(&known), 200);
    for (count, body) in ["<html>maintenance</html>", "{\"keys\":[]}", "", "[]"].into_iter().enumerate() {
        world.give(vec![("/keys", Answer::status(200).body(body))]);
        world.wait_for("keys.failed", count + 1);
        assert_eq!(world.status(&known), 200, "{body}");
        world.give(vec![("/keys", keys(&[&known]))]);
        world.wait_for("keys.updated", count + 2);
    }
    world.give(vec![("/keys", Answer::status(200).body(vec![b' '; 1_100_000]))]);
    assert!(world.wait_for("keys.failed", 5)[4]["message"].as_str().unwrap().contains("larger than"));
    assert_eq!(world.status(&known), 200);
}

#[test]
fn the_keys_are_where_the_issuer_says_and_only_that_issuer() {
    let known = SigningKey::rs256("k");
    let document = |issuer: &str, keys: &str| {
        let document = json!({ "issuer": issuer, "jwks_uri": keys, "authorization_endpoint": "https://x/" });
        Answer::status(200).body(document.to_string())
    };
    const DOCUMENT: &str = "/tenant/.well-known/openid-configuration";
    let world = world(Vec::new(), Some("{provider}/tenant"), "discover = true, cooldown = \"100ms\"");
    let issuer = format!("https://{}/tenant", world.provider.address());
    let (there, plain) =
        (format!("https://{}/keys", world.provider.address()), format!("http://{}/keys", world.provider.address()));
    let status = |issuer: &str| {
        let value = bearer(&known, &claims("u-17").set("iss", issuer));
        world.gateway.get("/", &[("Authorization", &value)]).status()
    };
    for (count, (answer, fragment)) in [
        (None, "404"),
        (Some(document("https://other.example", &there)), "of the issuer `https://other.example`"),
        (Some(document(&issuer, &plain)), "not over TLS"),
        (Some(document(&issuer, "file:///etc/passwd")), "not an address"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut answers = vec![("/keys", keys(&[&known]))];
        answers.extend(answer.map(|answer| (DOCUMENT, answer)));
        world.give(answers);
        let failed = world.wait_for("keys.failed", count + 1);
        assert!(failed[count]["message"].as_str().unwrap().contains(fragment), "{fragment}: {failed:?}");
        assert_eq!(status(&issuer), 503, "{fragment}");
    }
    assert_eq!(world.asked("/keys"), 0);
    world.give(vec![("/keys", keys(&[&known])), (DOCUMENT, document(&issuer, &there))]);
    assert!(wait::until(PATIENCE, || (status(&issuer) == 200).then_some(())).is_some());
    assert_eq!(status("https://other.example"), 401);
}

#[test]
fn a_reload_waits_for_no_provider() {
    let known = SigningKey::ed25519("k");
    let mut world = world(vec![("/keys", keys(&[&known]))], None, "url = \"{provider}/keys\"");
    assert_eq!(world.status(&known), 200);
    world.give(vec![("/keys", Answer::status(500))]);
    world.gateway.reload("ok");
    assert_eq!(world.status(&known), 200);
    assert_eq!(world.asked("/keys"), 1);
}

#[test]
fn how_the_keys_are_is_counted() {
    let known = SigningKey::ed25519("k");
    let world = world(vec![("/keys", keys(&[&known]))], None, "url = \"{provider}/keys\"");
    assert_eq!(world.status(&known), 200);
    for (name, expected) in [
        ("portcullis_keys_entries{provider=\"login\"}", 1.0),
        ("portcullis_keys_usable{provider=\"login\"}", 1.0),
        ("portcullis_keys_fetch_total{provider=\"login\",result=\"succeeded\"}", 1.0),
        ("portcullis_keys_fetch_total{provider=\"login\",result=\"failed\"}", 0.0),
    ] {
        assert_eq!(world.gateway.metric(name), Some(expected), "{name}");
    }
}

#[test]
fn a_real_provider_is_discovered_and_its_rotation_followed() {
    let mut provider = OidcProvider::start("first");
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add(&format!(
        "[[identity.jwt]]\nname = \"login\"\nissuer = \"{}\"\naudiences = [\"{RESOURCE}\"]\nprincipal = \"service\"\n\
         jwks = {{ discover = true, allow_http = true, cooldown = \"100ms\", refresh = \"1s\" }}\n",
        provider.issuer()
    ));
    let robot = site.key("robot", "service:local", "");
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let status = |token: &str| gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]).status();
    let old = provider.token();
    assert_eq!(status(&old), 200);
    assert_eq!(upstream.requests().pop().unwrap().header("x-auth-user"), Some("robot"));
    // It goes: what is known serves on, and other credentials do not need it.
    provider.stop();
    assert_eq!(status(&old), 200);
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 200);
    // It comes back with another key, as after a rotation.
    provider.start_again("second");
    let new = provider.token();
    assert!(wait::until(PATIENCE, || (status(&new) == 200).then_some(())).is_some());
    let refused = gateway.get("/", &[("Authorization", &format!("Bearer {old}"))]);
    gateway.check_refused("signed with a key that was withdrawn", &refused, 401, "authn.unknown_key");
}

/// A gateway that discovers a real provider's keys and keeps them, and an API key.
fn keeping(provider: &OidcProvider, upstream: &Upstream, times: &str) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    site.add(&format!(
        "[[identity.jwt]]\nname = \"login\"\nissuer = \"{}\"\naudiences = [\"{RESOURCE}\"]\nprincipal = \"service\"\n\
         jwks = {{ discover = true, allow_http = true, cooldown = \"100ms\", {times} }}\n[store]\npath = \"state.db\"\n",
        provider.issuer()
    ));
    let robot = site.key("robot", "service:local", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    (site, robot)
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]).status()
}

/// Waits until this is in the store, or in the log beside it.
fn wait_until_kept(gateway: &Gateway, text: &str) {
    let kept = || {
        let files = ["state.db", "state.db-wal"].map(|name| std::fs::read(gateway.site.path(name)).unwrap_or_default());
        let has = |file: &Vec<u8>| file.windows(text.len()).any(|window| window == text.as_bytes());
        files.iter().any(has).then_some(())
    };
    wait::until(PATIENCE, kept).unwrap_or_else(|| panic!("{text} is not kept"));
}

fn kill_and_start(gateway: Gateway) -> Gateway {
    let Gateway { site, mut process, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    site.start()
}

#[test]
fn keys_outlive_a_restart_while_a_real_provider_is_down_and_serve_no_longer_than_without_it() {
    let mut provider = OidcProvider::start("first");
    let upstream = Upstream::start();
    let (site, robot) = keeping(&provider, &upstream, "refresh = \"1h\", max_stale = \"24h\"");
    let gateway = site.start();
    let (old, second) = (provider.token(), provider.token());
    assert_eq!(status(&gateway, &old), 200);
    wait_until_kept(&gateway, "\"kid\":\"first\"");
    provider.stop();
    let mut gateway = kill_and_start(gateway);
    // Also a token that no process has seen.
    assert_eq!((status(&gateway, &old), status(&gateway, &second)), (200, 200));
    let told = wait::until(PATIENCE, || {
        let events = gateway.events.all();
        let failed = of_kind(&events, "keys.failed").len();
        let found = of_kind(&events, "keys.updated")
            .into_iter()
            .find(|event| event["message"].to_string().contains("before the start"));
        found.cloned().filter(|_| failed > 0)
    });
    assert_eq!(told.expect("an event for each")["policy"]["rule"], "login");
    // Whether there is another key nobody can say.
    let other = SigningKey::es256("other").token(&claims("x").set("iss", provider.issuer()).set("aud", RESOURCE));
    let answer = gateway.get("/", &[("Authorization", &format!("Bearer {other}"))]);
    gateway.check_refused("an unknown key", &answer, 503, "dependency.keys_unavailable");
    // The time that has passed since they were confirmed counts, by the configuration of now; after a restart, too.
    gateway.site.change("refresh = \"1h\", max_stale = \"24h\"", "refresh = \"1s\", max_stale = \"2s\"");
    gateway.site.write();
    gateway.reload("ok");
    assert!(wait::until(PATIENCE, || (status(&gateway, &old) == 503).then_some(())).is_some());
    let gateway = kill_and_start(gateway);
    let answer = gateway.get("/", &[("Authorization", &format!("Bearer {old}"))]);
    gateway.check_refused("too old", &answer, 503, "dependency.keys_unavailable");
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 200, "nobody else is concerned");
    assert_eq!(gateway.get("/", &[]).status(), 401);
    // It is back, with another key, as after a rotation.
    provider.start_again("second");
    let new = provider.token();
    assert!(wait::until(PATIENCE, || (status(&gateway, &new) == 200).then_some(())).is_some());
    let refused = gateway.get("/", &[("Authorization", &format!("Bearer {old}"))]);
    gateway.check_refused("signed with a key that was withdrawn", &refused, 401, "authn.unknown_key");
}

#[test]
fn a_real_provider_is_asked_once_by_a_flood_of_unknown_keys_and_a_new_one_works_on_first_use() {
    let mut provider = OidcProvider::start("first");
    let upstream = Upstream::start();
    let (site, robot) = keeping(&provider, &upstream, "refresh = \"1h\", max_stale = \"24h\"");
    let mut site = site;
    site.change("cooldown = \"100ms\"", "cooldown = \"1s\"");
    let gateway = site.start();
    let old = provider.token();
    assert_eq!(status(&gateway, &old), 200);
    let fetched = || {
        let count =
            |result| gateway.metric(&format!("portcullis_keys_fetch_total{{provider=\"login\",result=\"{result}\"}}"));
        count("succeeded").unwrap() + count("failed").unwrap()
    };
    assert_eq!(fetched(), 1.0);
    let began = Instant::now();
    for number in 0..60 {
        let key = SigningKey::ed25519(&format!("made-up-{number}"));
        let token = key.token(&claims("x").set("iss", provider.issuer()).set("aud", RESOURCE));
        assert_eq!(status(&gateway, &token), 401);
    }
    // One for each window that has begun meanwhile, however long the flood took.
    let most = began.elapsed().as_secs() + 1;
    assert!(fetched() - 1.0 <= f64::from(u32::try_from(most).unwrap()), "{} in {most} windows", fetched() - 1.0);
    assert_eq!(status(&gateway, &old), 200);
    // The provider goes and comes back with another key. Whoever has a known one, or needs no provider, does not notice.
    provider.stop();
    assert_eq!(status(&gateway, &old), 200);
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 200);
    provider.start_again("second");
    let new = provider.token();
    // The window of the flood is over.
    std::thread::sleep(Duration::from_millis(1_200));
    let before = fetched();
    assert_eq!(status(&gateway, &new), 200, "on first use");
    assert_eq!(fetched(), before + 1.0);
}
