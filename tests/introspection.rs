//! Opaque tokens: their provider is asked, once for each, and what it says counts for a while; while it cannot be asked nobody knows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::oidc_provider::{OPAQUE, OidcProvider};
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims};

/// A provider whose answers the test chooses by token, and a gateway that asks it.
struct World {
    gateway: Gateway,
    provider: Receiver,
    answers: Arc<Mutex<Vec<(&'static str, Value)>>>,
    /// How many milliseconds it takes to answer.
    slow: Arc<AtomicU64>,
    is_broken: Arc<AtomicBool>,
    robot: String,
    signer: SigningKey,
    upstream: Upstream,
}

fn active(subject: &str) -> Value {
    json!({ "active": true, "sub": subject, "aud": "app" })
}

fn world(more: &str) -> World {
    let authority = Authority::new("providers");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    let answers = Arc::new(Mutex::new(vec![("good-token", active("alice")), ("other-token", active("bob"))]));
    let (slow, is_broken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (given, pause, broken) = (Arc::clone(&answers), Arc::clone(&slow), Arc::clone(&is_broken));
    let provider = Receiver::start_tls(&issued, move |request| {
        std::thread::sleep(Duration::from_millis(pause.load(Ordering::SeqCst)));
        if broken.load(Ordering::SeqCst) {
            return Answer::status(500);
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let token = body.strip_prefix("token=").and_then(|rest| rest.split('&').next()).unwrap_or_default().to_owned();
        let answers = given.lock().unwrap();
        let found = answers.iter().find(|(known, _)| *known == token).map(|(_, answer)| answer.clone());
        Answer::status(200).body(found.unwrap_or_else(|| json!({ "active": false })).to_string())
    });
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/stream" => Reply::drip(&[&b"tick\n"[..]; 1_200], Duration::from_millis(50)),
        _ => Reply::bytes("fine"),
    });
    let signer = SigningKey::es256("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "prefix = \"s:\"\n");
    let robot = site.key("robot", "service:robot", "");
    site.file("provider.pem", &authority.certificate());
    site.file("secret", "canary-client-secret\n");
    site.add(&format!(
        "[[identity.introspection]]\nname = \"opaque\"\nurl = \"https://{}/introspect\"\nca = \"provider.pem\"\n\
         client_id = \"gateway\"\nclient_secret = {{ file = \"secret\" }}\naudiences = [\"app\"]\n{more}\n",
        provider.address()
    ));
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    World { gateway: site.start(), provider, answers, slow, is_broken, robot, signer, upstream }
}

impl World {
    fn status(&self, token: &str) -> u16 {
        self.gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]).status()
    }

    fn asked(&self) -> usize {
        self.provider.requests().len()
    }

    fn wait_for(&self, kind: &str) -> Value {
        self.gateway.wait_for_events(kind, 1).remove(0)
    }
}

#[test]
fn a_token_is_asked_for_once_and_its_subject_is_the_principal() {
    let world = world("");
    for _ in 0..4 {
        assert_eq!(world.status("good-token"), 200);
    }
    assert_eq!(world.status("other-token"), 200);
    assert_eq!(world.asked(), 2);
    // A client that names itself asks (RFC 6749 section 2.3.1).
    let asked = world.provider.requests().remove(0);
    assert_eq!(asked.header("authorization"), Some("Basic Z2F0ZXdheTpjYW5hcnktY2xpZW50LXNlY3JldA=="));
    assert_eq!(String::from_utf8_lossy(&asked.body), "token=good-token&token_type_hint=access_token");
    // What it does not know is refused, and not asked for again at once.
    for _ in 0..3 {
        let answer = world.gateway.get("/", &[("Authorization", "Bearer canary-unknown")]);
        world.gateway.check_refused("unknown", &answer, 401, "authn.invalid");
    }
    assert_eq!(world.asked(), 3);
    // Signed tokens and keys are nobody's question.
    let signed = bearer(&world.signer, &claims("alice"));
    assert_eq!(world.gateway.get("/", &[("Authorization", &signed)]).status(), 200);
    let foreign = bearer(&SigningKey::es256("k"), &claims("alice").set("iss", "https://elsewhere.test"));
    let answer = world.gateway.get("/", &[("Authorization", &foreign)]);
    world.gateway.check_refused("of another issuer", &answer, 401, "authn.wrong_issuer");
    assert_eq!(world.gateway.get("/", &[("X-Api-Key", &world.robot)]).status(), 200);
    assert_eq!(world.asked(), 3);
    let written = world.gateway.events.text();
    for secret in ["canary", "good-token"] {
        assert!(!written.contains(secret), "an event holds {secret}");
    }
}

#[test]
fn what_is_asked_and_how_long_it_takes_is_counted() {
    let world = world("negative = \"1h\"\nmax_cache = \"1h\"");
    for (token, status, times) in [("good-token", 200, 3), ("unknown", 401, 2), ("no,token", 401, 1)] {
        for _ in 0..times {
            assert_eq!(world.status(token), status, "{token}");
        }
    }
    world.is_broken.store(true, Ordering::SeqCst);
    assert_eq!(world.status("other-token"), 503);
    for (metric, expected) in [
        ("tokens_total{provider=\"opaque\",found=\"remembered\"}", 3.0),
        ("tokens_total{provider=\"opaque\",found=\"asked\"}", 3.0),
        ("tokens_total{provider=\"opaque\",found=\"malformed\"}", 1.0),
        ("questions_total{provider=\"opaque\",result=\"active\"}", 1.0),
        ("questions_total{provider=\"opaque\",result=\"inactive\"}", 1.0),
        ("questions_total{provider=\"opaque\",result=\"failed\"}", 1.0),
        ("duration_seconds_count{provider=\"opaque\"}", 3.0),
        ("duration_seconds_bucket{le=\"+Inf\",provider=\"opaque\"}", 3.0),
        ("usable{provider=\"opaque\"}", 0.0),
        ("waiting{provider=\"opaque\"}", 0.0),
    ] {
        let name = format!("portcullis_introspection_{metric}");
        assert_eq!(world.gateway.metric(&name), Some(expected), "{name}");
    }
    // Each question is in one bucket, and none took no time.
    assert!(world.gateway.metric("portcullis_introspection_duration_seconds_sum{provider=\"opaque\"}") > Some(0.0));
    assert!(world.gateway.metric("portcullis_introspection_age_seconds{provider=\"opaque\"}").is_some());
    // While it is down nobody is asked again at once, and that is counted as well.
    assert_eq!(world.status("other-token"), 503);
    let of = |found: &str| {
        let name = format!("portcullis_introspection_tokens_total{{provider=\"opaque\",found=\"{found}\"}}");
        world.gateway.metric(&name).unwrap()
    };
    assert_eq!(of("asked") + of("unavailable"), 4.0);
}

#[test]
fn many_requests_with_one_token_wait_for_one_question() {
    let world = world("");
    world.slow.store(500, Ordering::SeqCst);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| world.status("good-token"))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 8]);
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_provider_that_does_not_answer_is_a_503_for_who_needs_it_and_for_nobody_else() {
    let world = world("max_cache = \"1s\"\n");
    assert_eq!(world.status("good-token"), 200);
    world.is_broken.store(true, Ordering::SeqCst);
    let answer = world.gateway.get("/", &[("Authorization", "Bearer other-token")]);
    let event = world.gateway.check_refused("nobody knows", &answer, 503, "dependency.store_unavailable");
    assert_eq!(event["decision"], "undecided");
    assert!(event["message"].as_str().unwrap().contains("opaque cannot be asked"), "{event:#}");
    let failed = world.wait_for("introspection.failed");
    assert_eq!((&failed["policy"]["rule"], &failed["severity"]), (&json!("opaque"), &json!("high")));
    assert!(failed["message"].as_str().unwrap().contains("500"), "{failed:#}");
    // What was remembered counts no longer than it may, and others do not need it.
    let is_forgotten = || (world.status("good-token") == 503).then_some(());
    assert!(wait::until(PATIENCE, is_forgotten).is_some());
    assert_eq!(world.gateway.get("/", &[("X-Api-Key", &world.robot)]).status(), 200);
    let signed = bearer(&world.signer, &claims("alice"));
    assert_eq!(world.gateway.get("/", &[("Authorization", &signed)]).status(), 200);
    world.is_broken.store(false, Ordering::SeqCst);
    assert!(wait::until(PATIENCE, || (world.status("other-token") == 200).then_some(())).is_some());
    world.wait_for("introspection.recovered");
}

#[test]
fn what_its_provider_withdraws_ends_requests_and_streams() {
    let world = world("max_cache = \"1s\"\nnegative = \"1s\"\n[limits]\nrecheck = \"1s\"\n");
    let mut stream = world.gateway.conn();
    stream.send(request("GET", "/stream", &[("Authorization", "Bearer good-token")], b""));
    assert_eq!(stream.try_head().unwrap().status, 200);
    world.answers.lock().unwrap().retain(|(token, _)| *token != "good-token");
    let is_refused = || (world.status("good-token") == 401).then_some(());
    assert!(wait::until(PATIENCE, is_refused).is_some());
    let mut last = Vec::new();
    while let Ok(more) = stream.next_bytes() {
        if more.is_empty() {
            break;
        }
        last = more;
    }
    assert!(!last.ends_with(b"0\r\n\r\n"), "an answer that was cut must not look whole");
}

/// The gateway knows the token that came last over a connection by its bytes; whether it holds, and whose it is, it asks each time.
#[test]
fn over_one_connection_each_token_is_judged_anew_whichever_came_before() {
    let world = world("max_cache = \"1s\"\nnegative = \"1s\"\n[store]\npath = \"state.db\"\n");
    world
        .answers
        .lock()
        .unwrap()
        .push(("a-third-token", json!({ "active": true, "sub": "carol", "aud": "app", "jti": "third" })));
    let mut conn = world.gateway.conn();
    let mut ask = |token: &str| {
        conn.send(request("GET", "/", &[("Authorization", &format!("Bearer {token}"))], b""));
        let answer = conn.answer();
        let user = || world.upstream.requests().last().and_then(|seen| seen.header("x-auth-user").map(str::to_owned));
        (answer.status(), (answer.status() == 200).then(user).flatten())
    };
    let of = |user: &str| (200, Some(user.to_owned()));
    for (token, expected) in [
        ("good-token", of("alice")),
        ("good-token", of("alice")),
        ("other-token", of("bob")),
        ("good-token", of("alice")),
        ("good-tokeN", (401, None)),
        ("good-token", of("alice")),
        ("a-third-token", of("carol")),
        ("a-third-token", of("carol")),
    ] {
        assert_eq!(ask(token), expected, "{token}");
    }
    // Revoked here, while its provider says that it is good.
    let revoke = ["revoke", "token", "third", "--reason", "stolen"];
    let told = world.gateway.site.ask(&revoke);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_eq!((ask("a-third-token"), ask("good-token")), ((401, None), of("alice")));
    // Withdrawn by its provider, between two requests on the same connection.
    world.answers.lock().unwrap().retain(|(token, _)| *token != "good-token");
    assert!(wait::until(PATIENCE, || (ask("good-token") == (401, None)).then_some(())).is_some());
    assert_eq!((ask("good-token"), ask("other-token")), ((401, None), of("bob")));
}

/// A gateway that a real provider knows by this, and that proves itself to it so.
fn real(client: Value, proof: &str, key: &str) -> (Gateway, OidcProvider, Upstream) {
    let provider = OidcProvider::start_with("k", client);
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.file("secret", "a-secret-of-the-gateway");
    site.file("client.pem", key);
    let issuer = provider.issuer();
    site.add(&format!(
        "[[identity.introspection]]\nname = \"opaque\"\nurl = \"{issuer}/token/introspection\"\nallow_http = true\n\
         client_id = \"gateway\"\nissuer = \"{issuer}\"\naudiences = [\"{OPAQUE}\"]\n\
         claims = {{ id = \"client_id\" }}\nprincipal = \"service\"\nmax_cache = \"1s\"\n{proof}\n"
    ));
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    (site.start(), provider, upstream)
}

#[test]
fn the_gateway_signs_who_asks_instead_of_sharing_a_secret() {
    let key = SigningKey::es256("gateway-1");
    let client = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] } });
    let key_file = "client_key = { file = \"client.pem\" }";
    let status =
        |gateway: &Gateway, token: &str| gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]).status();
    for proof in ["client_key_id = \"gateway-1\"", "client_auth = \"private_key_jwt\"\nclient_audience = \"endpoint\""]
    {
        let (gateway, provider, _upstream) = real(client.clone(), &format!("{key_file}\n{proof}"), &key.pem());
        // Each question has an assertion of its own: a provider takes one once.
        for _ in 0..2 {
            assert_eq!(status(&gateway, &provider.opaque_token()), 200, "{proof}");
        }
        assert_eq!(status(&gateway, "made-up"), 401, "{proof}");
        let told = gateway.events.text();
        assert!(!told.contains("PRIVATE KEY") && !told.contains("client_assertion"), "{told}");
    }
    let post = json!({ "token_endpoint_auth_method": "client_secret_post" });
    let secret = "client_secret = { file = \"secret\" }\nclient_auth = \"post\"";
    let (gateway, provider, _upstream) = real(post, secret, "");
    assert_eq!(status(&gateway, &provider.opaque_token()), 200);
    // A key that the provider does not know proves nothing: nobody can say whose the token is.
    let (gateway, provider, _upstream) = real(client, key_file, &key.impostor().pem());
    let answer = gateway.get("/", &[("Authorization", &format!("Bearer {}", provider.opaque_token()))]);
    gateway.check_refused("another key", &answer, 503, "dependency.store_unavailable");
}

#[test]
fn a_real_provider_is_asked() {
    let (gateway, provider, upstream) = real(json!({}), "client_secret = { file = \"secret\" }", "");
    let status = |token: &str| gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]).status();
    let token = provider.opaque_token();
    assert!(!token.contains('.'), "it is opaque: {token}");
    assert_eq!(status(&token), 200);
    assert_eq!(upstream.requests().pop().unwrap().header("x-auth-user"), Some("robot"));
    assert_eq!(status(&format!("{token}x")), 401);
    provider.revoke(&token);
    assert!(wait::until(PATIENCE, || (status(&token) == 401).then_some(())).is_some());
}
