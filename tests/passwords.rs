//! Users with passwords, over real requests: HTTP Basic, the verbs that edit the file, and what failures lead to.

use data_encoding::BASE64;
use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use serde_json::json;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, portcullis};

const PROVIDER: &str = "[[identity.password]]\nname = \"local\"\nfile = \"users.toml\"\n";

/// `portcullis user …` on the site's file, with this on standard input.
fn user(site: &Site, arguments: &[&str], input: &str) -> Finished {
    let file = site.path("users.toml");
    portcullis().args(["user"]).args(arguments).arg("--file").arg(file).stdin(input).run(PATIENCE)
}

fn add(site: &Site, name: &str, password: &str) {
    let added = user(site, &["add", name, "--group", "finance"], &format!("{password}\n"));
    assert!(added.status.success(), "{:?}", added.stderr);
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}").as_bytes()))
}

fn site(upstream: &Upstream) -> Site {
    let mut site = Site::new(&upstream.url());
    site.tell_identity();
    site.add(PROVIDER);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    add(&site, "alice", "correct horse");
    site
}

fn get(gateway: &Gateway, name: &str, password: &str) -> portcullis_testkit::wire::Answer {
    gateway.get("/", &[("Authorization", &basic(name, password))])
}

#[test]
fn a_user_is_let_in_with_the_password_and_nobody_else_is() {
    let upstream = Upstream::start();
    let gateway = site(&upstream).start();
    assert_eq!(get(&gateway, "alice", "correct horse").status(), 200);
    let seen = upstream.requests().pop().unwrap();
    assert_eq!((seen.header("x-auth-user"), seen.header("x-auth-groups")), (Some("alice"), Some("finance")));
    assert_eq!(seen.header("authorization"), None, "the password is the gateway's");

    let missing = gateway.get("/", &[]);
    gateway.check_refused("no credential", &missing, 401, "authn.missing");
    assert_eq!(missing.header("www-authenticate"), Some("Basic realm=\"portcullis\", charset=\"UTF-8\""));
    let wrong = get(&gateway, "alice", "wrong horse");
    let event = gateway.check_refused("a wrong password", &wrong, 401, "authn.invalid");
    assert_eq!(event["identity"]["id"], json!(null), "who is not verified is nobody");
    let unknown = get(&gateway, "nobody", "wrong horse");
    gateway.check_refused("an unknown user", &unknown, 401, "authn.invalid");
    let body = |answer: &portcullis_testkit::wire::Answer| {
        let mut body = answer.json();
        for key in ["instance", "request_id"] {
            body[key] = json!(null);
        }
        body
    };
    assert_eq!(body(&wrong), body(&unknown), "told alike");
    for bad in ["Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer abc"] {
        let answer = gateway.get("/", &[("Authorization", bad)]);
        gateway.check_refused(bad, &answer, 401, "authn.invalid");
    }
    let two = gateway.get("/", &[("Authorization", &basic("alice", "correct horse")), ("Authorization", "Basic x")]);
    gateway.check_refused("two credentials", &two, 401, "authn.ambiguous");
    assert_eq!(gateway.metric("portcullis_password_checks_total{result=\"right\"}"), Some(1.0));
    assert_eq!(gateway.metric("portcullis_password_checks_total{result=\"wrong\"}"), Some(2.0));

    let text: String = gateway.events.all().iter().map(ToString::to_string).collect();
    for secret in ["correct horse", "wrong horse", "argon2", BASE64.encode(b"alice:correct horse").as_str()] {
        assert!(!text.contains(secret), "{secret} is in an event");
    }
}

#[test]
fn a_change_of_the_file_counts_from_the_next_reload_on() {
    let upstream = Upstream::start();
    let mut gateway = site(&upstream).start();
    assert_eq!(get(&gateway, "alice", "correct horse").status(), 200);
    let done = |finished: Finished| assert!(finished.status.success(), "{:?}", finished.stderr);

    done(user(&gateway.site, &["passwd", "alice"], "another horse\n"));
    assert_eq!(get(&gateway, "alice", "correct horse").status(), 200, "not before");
    gateway.reload("ok");
    gateway.check_refused("the old one", &get(&gateway, "alice", "correct horse"), 401, "authn.invalid");
    assert_eq!(get(&gateway, "alice", "another horse").status(), 200);

    done(user(&gateway.site, &["disable", "alice"], ""));
    add(&gateway.site, "bob", "horse battery");
    gateway.reload("ok");
    gateway.check_refused("disabled", &get(&gateway, "alice", "another horse"), 401, "authn.revoked");
    gateway.check_refused("disabled, and wrong", &get(&gateway, "alice", "wrong horse"), 401, "authn.invalid");
    assert_eq!(get(&gateway, "bob", "horse battery").status(), 200);

    done(user(&gateway.site, &["enable", "alice"], ""));
    done(user(&gateway.site, &["remove", "bob"], ""));
    gateway.reload("ok");
    assert_eq!(get(&gateway, "alice", "another horse").status(), 200);
    gateway.check_refused("removed", &get(&gateway, "bob", "horse battery"), 401, "authn.invalid");

    // A file that cannot be read changes nothing.
    std::fs::write(gateway.site.path("users.toml"), "version = 1\n[[user]]\nname = \"alice\"\nhash = \"x\"\n").unwrap();
    gateway.reload("error");
    assert_eq!(get(&gateway, "alice", "another horse").status(), 200);
}

#[test]
fn who_guesses_waits_and_locks_nobody_out_elsewhere() {
    let upstream = Upstream::start();
    let mut site = site(&upstream);
    // What is remembered is looked at by nobody again, wherever it comes from: here each time is an attempt.
    site.add("remember = \"0s\"\n");
    let gateway = site.start();
    let from =
        |source: &str, password: &str| gateway.get_from(source, "/", &[("Authorization", &basic("alice", password))]);
    assert_eq!(from("127.0.0.2", "correct horse").status(), 200, "alice is at home there");
    for _ in 0..5 {
        gateway.check_refused("a guess", &from("127.0.0.3", "wrong horse"), 401, "authn.invalid");
    }
    for password in ["wrong horse", "correct horse"] {
        let locked = from("127.0.0.3", password);
        let event = gateway.check_refused("locked", &locked, 429, "limit.rate");
        assert!(event["message"].as_str().unwrap().contains("the attempts at passwords"), "{event}");
        let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    // From many other networks: until strangers wait wherever they are.
    let mut guesses = 0;
    for network in 10..30 {
        for _ in 0..5 {
            guesses += u32::from(from(&format!("127.0.0.{network}"), "wrong horse").status() == 401);
        }
    }
    // One more for each five minutes that this took.
    assert!((15..20).contains(&guesses), "{guesses}");
    gateway.check_refused("a stranger", &from("127.0.0.99", "correct horse"), 429, "limit.rate");
    assert_eq!(from("127.0.0.2", "correct horse").status(), 200, "she is not locked out at home");
}

#[test]
fn a_flood_of_guesses_keeps_nobody_from_being_served() {
    let upstream = Upstream::start();
    let mut site = site(&upstream);
    let key = site.key("ci", "service:ci", "");
    let gateway = site.start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for attempt in 0..12 {
                    let source = format!("127.0.1.{}", number + 1);
                    let name = format!("nobody-{attempt}");
                    let header = basic(&name, "wrong horse");
                    let answer = gateway.get_from(&source, "/", &[("Authorization", &header)]);
                    // Never an answer that says more than is known.
                    assert!(matches!(answer.status(), 401 | 429 | 503), "{}", answer.status());
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(gateway.get("/", &[("x-api-key", &key)]).status(), 200);
        }
    });
    assert_eq!(get(&gateway, "alice", "correct horse").status(), 200);
}

#[test]
fn the_verbs_tell_what_they_did_and_what_not() {
    let upstream = Upstream::start();
    let site = site(&upstream);
    let check = |arguments: &[&str], input: &str, code: i32, fragment: &str| {
        let finished = user(&site, arguments, input);
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(fragment), "{arguments:?}: {said}");
    };
    check(&["add", "alice"], "correct horse\n", 1, "is in the file already");
    check(&["add", "bob"], "short\n", 2, "at least 10 characters");
    check(&["add", "bob"], "", 2, "there is no password on standard input");
    check(&["add", "b:b"], "correct horse\n", 2, "no colon");
    check(&["disable", "bob"], "", 1, "there is no user `bob`");
    check(&["add", "bob", "--expires", "2020-01-01T00:00:00Z"], "correct horse\n", 0, "user bob added");
    check(&["list"], "", 0, "alice  active   finance  never");
    check(&["list"], "", 0, "bob    expired           2020-01-01T00:00:00Z");
    check(&["remove", "bob"], "", 0, "user bob removed");
    let hashed = portcullis().arg("hash-password").stdin("correct horse\n").run(PATIENCE);
    assert!(hashed.stdout[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{:?}", hashed.stdout);
    let checked = site.run(&["check"]);
    assert!([checked.stdout, checked.stderr].concat().concat().contains("1 user"));
}
