//! One refusal, one event, with exactly the keys of the contract, nothing of a secret, and none lost.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use portcullis_testkit::events::EventFile;
use portcullis_testkit::process::Signal;
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, NO_BANS, Site, bearer, claims, of_kind};

/// The keys of every event, and those of each object in it; `truncated` is there only where something was cut.
const KEYS: &[(&str, &str)] = &[
    (
        "",
        "schema id time kind severity seq node cluster version decision status origin reason reasons message policy request client \
         identity device risk ban nearest checks shadow remedy upstream latency_us integrity",
    ),
    ("policy", "version sha256 route rule file line stage mode"),
    (
        "request",
        "id trace_id span_id method scheme host port path query_redacted http_version bytes user_agent referrer",
    ),
    ("client", "ip port peer_ip forwarded via_trusted_proxy country region city asn as_org"),
    (
        "identity",
        "id name type method issuer session groups directory roles acr mfa auth_age_s api_key_id cert_sha256 cert_subject",
    ),
    ("device", "id managed compliant fingerprint"),
    ("risk", "score level threshold mnats calibration display degraded inputs signals"),
    ("ban", "active until offences"),
    ("remedy", "required_roles acr_values max_age_s retry_after_s help"),
    ("upstream", "name endpoint forwarded"),
    ("latency_us", "total decision"),
];

/// What stands there only where there is something to say.
const OPTIONAL: &[&str] = &["truncated", "facts"];

fn check_keys(event: &Value) {
    for (part, expected) in KEYS {
        let object = if part.is_empty() { event } else { &event[*part] };
        let found: BTreeSet<&str> =
            object.as_object().unwrap().keys().map(String::as_str).filter(|key| !OPTIONAL.contains(key)).collect();
        assert_eq!(found, expected.split_whitespace().collect(), "{part} of {event:#}");
    }
    assert_eq!((&event["schema"], &event["origin"]), (&"portcullis.event/1".into(), &"gateway".into()));
    let time = event["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    for check in event["checks"].as_array().unwrap() {
        let keys: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(BTreeSet::from_iter(keys), BTreeSet::from(["name", "outcome", "value", "detail"]));
    }
}

#[test]
fn there_are_as_many_events_as_refusals_under_concurrent_load() {
    let upstream = Upstream::choosing(|head| if head.target == "/own" { Reply::status(403) } else { Reply::echo() });
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let refused: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (gateway, key) = (&gateway, key.as_str());
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    let mut connection = gateway.conn();
                    for number in 0..60 {
                        let good = (number + thread) % 3 == 0;
                        let headers = [("x-api-key", if good { key } else { "wrong" })];
                        let target = if number % 5 == 0 { "/own" } else { "/x" };
                        connection.send(request("GET", target, &headers, b""));
                        let answer = connection.answer();
                        if answer.header("content-type") == Some("application/problem+json") {
                            ids.push(answer.header("x-request-id").unwrap().to_owned());
                        }
                        assert_eq!(answer.status() == 401, !good);
                    }
                    ids
                })
            })
            .collect();
        let ids: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id was used twice");
        ids.len()
    });
    assert_eq!(refused, 320);
    assert_eq!(upstream.requests().len(), 160);
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), refused);
    // Numbered without a gap: whoever reads them can tell that none is missing.
    let mut numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
}

#[test]
fn every_event_has_exactly_the_keys_of_the_contract() {
    let upstream = Upstream::choosing(|head| if head.target == "/hang" { Reply::raw("") } else { Reply::echo() });
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::ed25519("k");
    site.accept_tokens(&[&signer], "");
    site.policy(
        &[
            "[[deny]]\nname = \"no\"\nprincipals = [\"anyone\"]\nactions = [\"GET /denied\"]\nscope = \"*\"\n",
            AUTHENTICATED,
        ]
        .concat(),
    );
    let mut gateway = site.start();
    let token = bearer(&signer, &claims("u").groups(&["g"]).set("device_id", "d-9").set("device_compliant", false));
    gateway.get("/", &[]);
    gateway.get(
        "/denied",
        &[("authorization", &token), ("user-agent", "a browser"), ("referer", "http://user:pw@ref.test/page?secret#x")],
    );
    gateway.get(
        "/hang",
        &[("authorization", &token), ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
    );
    gateway.get("//", &[]);
    gateway.send("GET / HTTP/1.1\r\n\r\n");
    gateway.send("\x16\x03\x01");
    for _ in 0..5 {
        gateway.get("/", &[("authorization", "Bearer x")]);
    }
    gateway.reload("ok");
    gateway.site.policy("rubbish");
    gateway.reload("error");
    let events = gateway.stop();
    events.iter().for_each(check_keys);
    let kinds: BTreeSet<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let expected =
        ["access.denied", "ban.created", "gateway.started", "gateway.stopped", "policy.rejected", "policy.reloaded"];
    assert_eq!(kinds, BTreeSet::from(expected));
    let denied = events.iter().find(|event| event["reason"] == "rbac.explicit_deny").unwrap();
    assert_eq!(denied["request"]["user_agent"], "a browser");
    assert_eq!(denied["request"]["referrer"], "http://ref.test/page");
    assert_eq!((&denied["device"]["id"], &denied["device"]["compliant"]), (&"d-9".into(), &false.into()));
    assert_eq!(denied["identity"]["groups"], serde_json::json!(["g"]));
    let failed = events.iter().find(|event| event["decision"] == "failed").unwrap();
    assert_eq!(failed["request"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(failed["upstream"]["forwarded"], true);
}

#[test]
fn no_secret_is_ever_written_down() {
    const SECRETS: [&str; 7] =
        ["S3CRET-query", "S3CRET-cookie", "S3CRET-basic", "S3CRET-key", "S3CRET-body", "S3CRET-referer", "S3CRET-user"];
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::ed25519("k");
    site.accept_tokens(&[&signer], "");
    let revoked = site.key("revoked", "user:alice", "revoked = true");
    let good_key = site.key("good", "service:good", "");
    site.policy(
        &[
            "[[deny]]\nname = \"no\"\nprincipals = [\"authenticated\"]\nactions = [\"* /**\"]\nscope = \"*\"\n",
            AUTHENTICATED,
            NO_BANS,
        ]
        .concat(),
    );
    let gateway = site.start();
    let good = signer.token(&claims("u"));
    let bad = signer.impostor().token(&claims("u"));
    let mut secrets: Vec<String> = SECRETS.map(str::to_owned).to_vec();
    // The parts of tokens and keys that prove something; their ids may be named.
    secrets.extend([&good, &bad].map(|token| token.rsplit('.').next().unwrap().to_owned()));
    secrets.extend([&revoked, &good_key].map(|key| key.split('_').nth(2).unwrap().to_owned()));
    secrets.push(good.clone());
    for target in [
        "/p?token=S3CRET-query",
        "//p?token=S3CRET-query",
        "http://S3CRET-user@gateway.test/?S3CRET-query",
        "/#?S3CRET-query",
    ] {
        for credential in [
            ("Authorization", format!("Bearer {good}")),
            ("Authorization", format!("Bearer {bad}")),
            ("Authorization", "Basic S3CRET-basic".to_owned()),
            ("Authorization", "S3CRET-basic".to_owned()),
            ("X-Api-Key", revoked.clone()),
            ("X-Api-Key", good_key.clone()),
            ("X-Api-Key", "pcl_x_S3CRET-key".to_owned()),
            ("X-Api-Key", "S3CRET-key".to_owned()),
        ] {
            let headers = [
                (credential.0, credential.1.as_str()),
                ("Cookie", "session=S3CRET-cookie"),
                ("Referer", "http://x:S3CRET-referer@x.test/?S3CRET-referer#S3CRET-referer"),
                ("Proxy-Authorization", "Basic S3CRET-basic"),
            ];
            let answer = gateway.send(request("POST", target, &headers, b"S3CRET-body"));
            assert!(matches!(answer.status(), 400 | 401 | 403), "{target} {credential:?}: {}", answer.status());
            let told = String::from_utf8_lossy(&[&answer.head.raw[..], &answer.body].concat()).into_owned();
            secrets
                .iter()
                .for_each(|secret| assert!(!told.contains(secret.as_str()), "{target}: the answer holds {secret}"));
        }
    }
    let (path, mut process) = (gateway.events.path().to_owned(), gateway.process);
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let written = fs::read_to_string(path).unwrap();
    assert!(written.lines().count() >= 32, "{written}");
    let log = [process.stdout_lines(), process.stderr_lines()].concat().join("\n");
    for secret in &secrets {
        for (what, text) in [("events", &written), ("log", &log)] {
            assert!(!text.contains(secret.as_str()), "the {what} hold {secret}");
        }
    }
}

#[test]
fn what_a_client_writes_cannot_break_a_line_or_grow_without_bound() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.key("unused", "user:u", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let long = format!("/{}", "p".repeat(8_000));
    let agent = "a".repeat(10_000);
    let answer = gateway.get(&long, &[("user-agent", &agent)]);
    let event = gateway.check_refused("long", &answer, 401, "authn.missing");
    assert_eq!(event["request"]["path"].as_str().unwrap().len(), 2_048);
    assert_eq!(event["request"]["user_agent"].as_str().unwrap().len(), 1_024);
    let cut: BTreeSet<&str> =
        event["truncated"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(cut.is_superset(&BTreeSet::from(["request.path", "request.user_agent"])), "{cut:?}");
    assert!(event.to_string().len() < 16_000);
    let forged = "x\", \"decision\": \"permit\u{2028}\u{85}\ttab";
    let answer = gateway.get("/", &[("user-agent", forged)]);
    let event = gateway.check_refused("forged", &answer, 401, "authn.missing");
    assert_eq!(event["request"]["user_agent"], forged);
}

#[test]
fn rotation_by_rename_and_sighup_loses_nothing() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.key("unused", "user:u", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let mut gateway = site.start();
    let mut rotated = Vec::new();
    let mut refused = 0;
    for round in 0..5 {
        let mut connection = gateway.conn();
        for _ in 0..40 {
            connection.send(request("GET", "/", &[], b""));
            assert_eq!(connection.answer().status(), 401);
            refused += 1;
        }
        let old = gateway.site.path(&format!("events.{round}"));
        fs::rename(gateway.events.path(), &old).unwrap();
        rotated.push(EventFile::at(old));
        gateway.process.signal(Signal::Hangup);
        // Until it is there, requests go on and are still written to the renamed file.
        let reopened = wait::until(PATIENCE, || {
            connection.send(request("GET", "/", &[], b""));
            assert_eq!(connection.answer().status(), 401);
            refused += 1;
            gateway.events.path().exists().then_some(())
        });
        assert!(reopened.is_some(), "the log was not reopened");
    }
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    rotated.push(EventFile::at(gateway.events.path()));
    let all: Vec<Value> = rotated.iter().flat_map(EventFile::so_far).collect();
    assert_eq!(of_kind(&all, "access.denied").len(), refused);
    let ids: BTreeSet<&str> = all.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an event was written twice");
}

/// What the tests of these pages rest on: whoever reads the events has those of all that was answered.
#[test]
fn what_was_answered_is_in_the_file_when_its_events_are_read() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.key("unused", "user:u", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let mut gateway = site.start();
    assert_eq!(of_kind(&gateway.events.all(), "gateway.started").len(), 1, "before it says where it listens");
    let mut connection = gateway.conn();
    for count in 1..=100 {
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 401);
        assert_eq!(of_kind(&gateway.events.all(), "access.denied").len(), count);
    }
    gateway.site.policy("[[nonsense]]");
    for count in 1..=10 {
        gateway.reload("error");
        assert_eq!(of_kind(&gateway.events.all(), "policy.rejected").len(), count);
    }
    gateway.process.signal(Signal::Kill);
    gateway.process.wait_exit(PATIENCE);
    let events = gateway.events.all();
    let counts = ["access.denied", "policy.rejected"].map(|kind| of_kind(&events, kind).len());
    assert_eq!(counts, [100, 10], "of a process that is gone, too");
}

#[test]
fn permits_are_recorded_for_who_asks_for_them_and_stand_outside_of_the_chain() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[[route]]\nname = \"other\"\nhosts = [\"other.test\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"own\"\nhosts = [\"own.test\"]\nredirect = { to = \"https://elsewhere.test/\" }\n");
    site.add("[event]\npermits = { sample = \"100%\", routes = [\"app\", \"own\"] }\n");
    site.add("[[sink]]\nname = \"traffic\"\nkind = \"file\"\npath = \"traffic.jsonl\"\nkinds = [\"access.allowed\"]\n");
    site.add("[[sink]]\nname = \"both\"\nkind = \"file\"\npath = \"both.jsonl\"\nkinds = [\"access.*\", \"gateway.*\", \"policy.*\"]\n");
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let mut gateway = site.start();
    let headers = [("x-api-key", key.as_str()), ("user-agent", "a browser")];
    let mut ids = BTreeSet::new();
    for number in 0..5 {
        let answer = gateway.get(&format!("/x/{number}?secret"), &headers);
        assert_eq!(answer.status(), 200);
        ids.insert(answer.header("x-request-id").unwrap().to_owned());
        assert_eq!(gateway.get("/x", &[&headers[..], &[("host", "other.test")]].concat()).status(), 200);
        assert!(gateway.get("/x", &[&headers[..], &[("host", "own.test")]].concat()).status() < 400);
        assert_eq!(gateway.get("/x", &[]).status(), 401);
    }
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    let permits = EventFile::at(gateway.site.path("traffic.jsonl")).so_far();
    assert_eq!(permits.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), ids);
    assert_eq!(permits.len(), 5);
    for permit in &permits {
        check_keys(permit);
        assert_eq!((&permit["kind"], &permit["decision"]), (&"access.allowed".into(), &"permit".into()), "{permit:#}");
        assert_eq!((&permit["status"], &permit["seq"], &permit["integrity"]), (&200.into(), &0.into(), &Value::Null));
        assert_eq!((&permit["identity"]["id"], &permit["policy"]["route"]), (&"alice".into(), &"app".into()));
        assert_eq!(permit["request"]["user_agent"], "a browser");
        assert_eq!(
            (&permit["upstream"]["forwarded"], &permit["request"]["query_redacted"]),
            (&true.into(), &true.into())
        );
    }
    // The others are numbered without a gap, and the chain of their file is whole.
    let events = gateway.events.all();
    assert_eq!(events.len(), 5 + 2, "{events:#?}");
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    let file = gateway.events.path().display().to_string();
    let verified = gateway.site.run(&["audit", "verify", &file]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    // Nor does a file that has them among the others look as if somebody had added them.
    let both = fs::read_to_string(gateway.site.path("both.jsonl")).unwrap();
    assert_eq!(both.matches("\"access.allowed\"").count(), 5, "{both}");
    let verified = gateway.site.run(&["audit", "verify", &gateway.site.path("both.jsonl").display().to_string()]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let counted = verified.stdout.iter().any(|line| line.starts_with("5 records of permits stand in no chain"));
    assert!(counted, "{verified:?}");
}

#[test]
fn an_upstreams_own_refusal_is_recorded_as_its_own_where_that_is_wanted() {
    let upstream = Upstream::choosing(|head| Reply::status(head.target.trim_start_matches('/').parse().unwrap()));
    let mut site = Site::new(&upstream.url());
    site.add("[event]\nupstream_refusals = true\n");
    let gateway = site.start();
    for (status, decision) in [(401, "challenge"), (403, "deny")] {
        let answer = gateway.get(&format!("/{status}"), &[]);
        assert_eq!(answer.status(), status);
        let event = gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
        let expected = (&"access.denied".into(), &"upstream".into(), &status.into(), &decision.into());
        assert_eq!((&event["kind"], &event["origin"], &event["status"], &event["decision"]), expected, "{event:#}");
        assert_eq!((&event["reason"], &event["reasons"]), (&Value::Null, &serde_json::json!([])), "{event:#}");
        assert_eq!((&event["upstream"]["name"], &event["upstream"]["forwarded"]), (&"app".into(), &true.into()));
        assert!(
            event["integrity"]["hash"].is_string() && event["seq"].as_u64() > Some(0),
            "it is numbered as others are"
        );
    }
    for status in [200, 400, 404, 500] {
        assert_eq!(gateway.get(&format!("/{status}"), &[]).status(), status);
    }
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 2);
}
