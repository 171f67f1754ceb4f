//! Networks that keep themselves current: who is let in follows the list, and what looks wrong changes nothing.

use std::fs;
use std::sync::{Arc, Mutex};

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::ports::free_port;
use portcullis_testkit::process::{Finished, Process};
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, portcullis, tool};

/// Lets everybody do everything from the network `partner`, whose source this is.
fn policy(source: &str) -> String {
    format!(
        r#"
[[network]]
name = "partner"
addresses = ["127.0.0.9"]
source = {{ {source}, private = true, refresh = "1h" }}
[[network]]
name = "tor"
addresses = ["127.0.0.66"]
[[resource]]
route = "app"
authentication = "none"
networks = {{ allow = ["partner"], deny = ["tor"] }}
[[role]]
name = "everything"
permissions = [{{ actions = ["GET /**"] }}]
[[assignment]]
name = "everybody"
role = "everything"
principals = ["anyone"]
scope = "*"
{NO_BANS}"#
    )
}

/// A list over HTTPS that the test can change, and a gateway that follows it.
struct World {
    gateway: Gateway,
    list: Arc<Mutex<Answer>>,
    server: Receiver,
    _upstream: Upstream,
}

fn world(first: Answer, more: &str) -> World {
    let authority = Authority::new("lists");
    let issued = authority.issue(&[San::Host("127.0.0.1")]);
    let list = Arc::new(Mutex::new(first));
    let given = Arc::clone(&list);
    let server = Receiver::start_tls(&issued, move |_| given.lock().unwrap().clone());
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.file("lists.pem", &authority.certificate());
    site.policy(&policy(&format!("url = \"https://{}/list\", ca = \"lists.pem\"{more}", server.address())));
    World { gateway: site.start(), list, server, _upstream: upstream }
}

fn text(body: &str) -> Answer {
    Answer::status(200).body(body)
}

impl World {
    fn gives(&self, answer: Answer) {
        *self.list.lock().unwrap() = answer;
    }

    fn feed(&self, arguments: &[&str]) -> Finished {
        feed(&self.gateway, arguments)
    }

    fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        self.gateway.wait_for_events(kind, count)
    }

    /// What is answered to whom.
    #[track_caller]
    fn check(&self, answers: &[(&str, u16)]) {
        for (source, status) in answers {
            assert_eq!(self.gateway.get_from(source, "/", &[]).status(), *status, "{source}");
        }
    }
}

fn feed(gateway: &Gateway, arguments: &[&str]) -> Finished {
    let config = gateway.site.path("portcullis.toml");
    portcullis().arg("-c").arg(config).arg("feed").args(arguments.iter().copied()).run(PATIENCE)
}

#[track_caller]
fn code(finished: &Finished, expected: i32) -> String {
    assert_eq!(finished.status.code(), Some(expected), "{finished:?}");
    [finished.stdout.join("\n"), finished.stderr.join("\n")].concat()
}

#[test]
fn who_is_let_in_follows_the_list() {
    let world = world(text("127.0.0.2\n# a comment\n127.0.0.3 ; another\n"), "");
    let updated = world.wait_for("feed.updated", 1);
    assert_eq!(updated[0]["policy"]["rule"], "partner");
    assert_eq!(updated[0]["severity"], "low");
    let message = updated[0]["message"].as_str().unwrap();
    // Two neighbours are one prefix.
    assert!(message.contains("1 prefix, 1 added (127.0.0.2/31), 0 removed"), "{message}");
    world.check(&[("127.0.0.2", 200), ("127.0.0.3", 200), ("127.0.0.4", 403), ("127.0.0.9", 200)]);
    let refused = world.gateway.get_from("127.0.0.4", "/", &[]);
    let event = world.gateway.check_refused("not in the list", &refused, 403, "ip.not_allowed");
    // One more, without a reload.
    world.gives(text("127.0.0.2\n127.0.0.3\n127.0.0.5\n").header("ETag", "\"2\""));
    let said = code(&world.feed(&["refresh", "partner"]), 1);
    assert!(said.contains("growth: 100 % more prefixes"), "{said}");
    let sha256 = {
        let listed = world.feed(&["list", "-o", "json"]);
        let listed: Value = serde_json::from_str(&code(&listed, 0)).unwrap();
        assert_eq!(listed["feeds"][0]["held"]["added_sample"][0], "127.0.0.5/32");
        listed["feeds"][0]["held"]["sha256"].as_str().unwrap().to_owned()
    };
    world.check(&[("127.0.0.5", 403)]);
    assert!(code(&world.feed(&["accept", "partner", "--sha256", "0123456789ab"]), 1).contains("look at it first"));
    assert!(code(&world.feed(&["accept", "nobody", "--sha256", &sha256]), 1).contains("no feed of that name"));
    let accepted = code(&world.feed(&["accept", "partner", "--sha256", &sha256]), 0);
    assert!(accepted.contains("1 added (127.0.0.5/32), 0 removed"), "{accepted}");
    world.check(&[("127.0.0.2", 200), ("127.0.0.5", 200), ("127.0.0.6", 403)]);
    // The policy is the same by its files, and no reload.
    let later = world.gateway.get_from("127.0.0.6", "/", &[]);
    let later = world.gateway.check_refused("still not", &later, 403, "ip.not_allowed");
    assert_eq!(event["policy"]["sha256"], later["policy"]["sha256"]);
    // What an operator does is recorded, with who it was.
    let events = world.wait_for("admin.feed_accept", 3);
    let decisions: Vec<&Value> = events.iter().map(|event| &event["decision"]).collect();
    assert_eq!(decisions, ["deny", "deny", "permit"]);
    assert_eq!(world.wait_for("admin.feed_refresh", 1)[0]["decision"], "deny");
    assert_eq!(events[2]["identity"]["type"], "operator");
    // The server says that nothing has changed.
    world.gives(Answer::status(304));
    assert!(code(&world.feed(&["refresh", "partner"]), 0).contains("still the same"));
    assert_eq!(world.server.requests().last().unwrap().header("if-none-match"), Some("\"2\""));
    for (result, count) in [("updated", 2.0), ("held", 1.0), ("unchanged", 1.0), ("failed", 0.0)] {
        let name = format!("portcullis_feed_update_total{{feed=\"partner\",result=\"{result}\"}}");
        assert_eq!(world.gateway.metric(&name), Some(count), "{result}");
    }
    assert_eq!(world.gateway.metric("portcullis_feed_entries{feed=\"partner\"}"), Some(2.0));
    assert_eq!(world.gateway.metric("portcullis_feed_known{feed=\"partner\"}"), Some(1.0));
    assert!(world.gateway.metric("portcullis_feed_age_seconds{feed=\"partner\"}").is_some());
    let kinds: Vec<Value> =
        world.gateway.stop().into_iter().filter(|event| event["kind"] == "policy.reloaded").collect();
    assert!(kinds.is_empty());
}

#[test]
fn a_policy_that_is_taken_back_takes_out_of_the_network_whom_it_had_let_in() {
    let mut world = world(text("127.0.0.2\n"), "");
    world.wait_for("feed.updated", 1);
    // Not what was meant, and the source says so a moment later.
    world.gives(text("127.0.0.5\n"));
    code(&world.feed(&["refresh", "partner"]), 1);
    let listed: Value = serde_json::from_str(&code(&world.feed(&["list", "-o", "json"]), 0)).unwrap();
    let sha256 = listed["feeds"][0]["held"]["sha256"].as_str().unwrap().to_owned();
    let before = fs::read_to_string(world.gateway.site.path("policy.toml")).unwrap();
    let accepting = before.replace("private = true", &format!("private = true, accepted = [\"{sha256}\"]"));
    assert_ne!(accepting, before);
    world.gateway.site.file("policy.toml", &accepting);
    world.gateway.reload("ok");
    world.wait_for("feed.updated", 2);
    world.check(&[("127.0.0.2", 403), ("127.0.0.5", 200)]);
    world.gateway.site.file("policy.toml", &before);
    world.gateway.reload("ok");
    // From the first request after the reload on, and told.
    world.check(&[("127.0.0.2", 200), ("127.0.0.5", 403)]);
    let told = world.wait_for("feed.updated", 3);
    assert!(told[2]["message"].as_str().unwrap().contains("is accepted no more"), "{}", told[2]);
    // What the source gives out is not let in by what was accepted before, and the good list is not held back.
    code(&world.feed(&["refresh", "partner"]), 1);
    world.check(&[("127.0.0.2", 200), ("127.0.0.5", 403)]);
    world.gives(text("127.0.0.2\n"));
    code(&world.feed(&["refresh", "partner"]), 0);
}

#[test]
fn what_looks_wrong_changes_nothing_and_is_told() {
    let list: String = (0..100).map(|index| format!("127.1.{index}.1\n")).collect();
    let world = world(text(&format!("127.0.0.2\n{list}")), "");
    world.wait_for("feed.updated", 1);
    let less: String = list.lines().take(39).map(|line| format!("{line}\n")).collect();
    let held = [
        ("everybody", text("0.0.0.0/0"), "over_broad: 0.0.0.0/0"),
        ("an error page", text("<!DOCTYPE html><title>502</title>"), "page: it is an HTML or XML page"),
        ("everybody in two halves", text("0.0.0.0/1\n128.0.0.0/1\n"), "over_broad: 0.0.0.0/0"),
        ("sixty percent gone", text(&format!("127.0.0.2\n{less}")), "shrink: 60.40 % of the"),
        ("nothing", text("# gone\n"), "empty: there is no entry"),
        (
            "what is denied",
            text(&format!("127.0.0.2\n127.0.0.66\n{list}")),
            "denied: 127.0.0.66/32 overlaps the network tor",
        ),
    ];
    for (count, (what, answer, reason)) in held.into_iter().enumerate() {
        world.gives(answer);
        let said = code(&world.feed(&["refresh", "partner"]), 1);
        assert!(said.contains("is held back") && said.contains(reason), "{what}: {said}");
        let events = world.wait_for("feed.held", count + 1);
        assert_eq!(events.len(), count + 1, "{what}");
        assert!(events[count]["message"].as_str().unwrap().contains(reason), "{what}");
        assert_eq!(events[count]["severity"], "high", "{what}");
        world.check(&[("127.0.0.2", 200), ("127.0.0.3", 403), ("127.1.99.1", 200)]);
    }
    assert_eq!(world.gateway.metric("portcullis_feed_held{feed=\"partner\"}"), Some(1.0));
    let bomb = portcullis_testkit_gzip(&vec![b'\n'; 64 << 20]);
    let failed = [
        ("ten megabytes", text("127.0.0.2\n").body(vec![b'#'; 10_000_000]), "larger than 4194304 bytes"),
        ("a bomb", Answer::status(200).header("Content-Encoding", "gzip").body(bomb), "larger than 4194304 bytes"),
        ("a wrong line", text("127.0.0.2\nlocalhost\n"), "line 2, column 1: `localhost` is no address"),
        ("bits set", text("127.0.0.2/24\n"), "bits set beyond its length"),
        ("no service", Answer::status(503), "503"),
        (
            "another host",
            Answer::status(302).header("Location", "https://127.0.0.1:1/list"),
            "redirects are not followed",
        ),
    ];
    for (what, answer, reason) in failed {
        world.gives(answer);
        let said = code(&world.feed(&["refresh", "partner"]), 1);
        assert!(said.contains("could not be refreshed") && said.contains(reason), "{what}: {said}");
        world.check(&[("127.0.0.2", 200), ("127.0.0.3", 403)]);
    }
    assert_eq!(world.wait_for("feed.failed", 1).len(), 1, "a streak is told once");
    assert!(code(&world.feed(&["refresh", "nobody"]), 1).contains("there is no network `nobody` with a source"));
    // And well again.
    world.gives(text(&format!("127.0.0.2\n127.0.0.4\n{list}")));
    code(&world.feed(&["refresh", "partner"]), 0);
    world.check(&[("127.0.0.4", 200)]);
    assert_eq!(world.gateway.metric("portcullis_feed_held{feed=\"partner\"}"), Some(0.0));
}

/// RFC 1952.
fn portcullis_testkit_gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_list_that_never_came_is_unknown_and_a_start_needs_nobody() {
    let mut world = world(Answer::status(500), "");
    world.wait_for("feed.failed", 1);
    let refused = world.gateway.get_from("127.0.0.2", "/", &[]);
    let event = world.gateway.check_refused("never loaded", &refused, 503, "dependency.feed_stale");
    assert_eq!(event["policy"]["rule"], "partner");
    world.check(&[("127.0.0.9", 200), ("127.0.0.66", 403)]);
    assert_eq!(world.gateway.metric("portcullis_feed_known{feed=\"partner\"}"), Some(0.0));
    let offline = |arguments: &[&str], expected: i32| {
        let finished = world.gateway.site.run(arguments);
        code(&finished, expected)
    };
    assert!(offline(&["feed", "test", "127.0.0.2", "--offline"], 1).contains("unknown  partner"));
    assert!(offline(&["can", "GET", "/", "--ip", "127.0.0.2"], 1).starts_with("undecided dependency.feed_stale"));
    world.gives(text("127.0.0.2\n"));
    code(&world.feed(&["refresh", "partner"]), 0);
    world.check(&[("127.0.0.2", 200)]);
    let online: Value = serde_json::from_str(&code(&world.feed(&["test", "127.0.0.2", "-o", "json"]), 0)).unwrap();
    let place = &online["networks"][0];
    assert_eq!(
        (&place["network"], &place["from"], &online["unknown"]),
        (&"partner".into(), &"feed".into(), &Value::Array(Vec::new()))
    );
    // The questions that are asked without a gateway know the list, too.
    let offline = |arguments: &[&str], expected: i32| code(&world.gateway.site.run(arguments), expected);
    assert!(offline(&["feed", "test", "127.0.0.2", "--offline"], 0).contains("feed"));
    assert!(offline(&["feed", "test", "127.0.0.9", "--offline"], 0).contains("configuration"));
    assert!(offline(&["can", "GET", "/", "--ip", "127.0.0.2"], 0).starts_with("permit"));
    assert!(offline(&["can", "GET", "/", "--ip", "127.0.0.3"], 1).starts_with("deny ip.not_allowed"));
    // A reload keeps it, and so does a start when nobody answers.
    world.gives(Answer::status(500));
    world.gateway.reload("ok");
    world.check(&[("127.0.0.2", 200), ("127.0.0.3", 403)]);
    let World { gateway, .. } = world;
    let Gateway { mut process, site, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let gateway = site.start();
    assert_eq!(gateway.get_from("127.0.0.2", "/", &[]).status(), 200);
    assert_eq!(gateway.get_from("127.0.0.3", "/", &[]).status(), 403);
    // What was kept and is broken is not believed, and said.
    let Gateway { mut process, site, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let kept = fs::read_dir(site.path("feeds")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&kept).unwrap();
    bytes.truncate(bytes.len() - 10);
    fs::write(&kept, bytes).unwrap();
    let checked = site.run(&["check"]);
    assert!(code(&checked, 0).contains("W0204"), "{checked:?}");
    let gateway = site.start();
    let refused = gateway.get_from("127.0.0.2", "/", &[]);
    gateway.check_refused("broken", &refused, 503, "dependency.feed_stale");
}

#[test]
fn what_is_too_old_is_dropped_where_the_policy_says_so() {
    let world = world(text("127.0.0.2\n"), ", max_age = \"1s\", on_stale = \"undecided\"");
    world.wait_for("feed.updated", 1);
    let stale = world.wait_for("feed.stale", 1);
    assert!(stale[0]["message"].as_str().unwrap().contains("unknown from now on"), "{}", stale[0]);
    let refused = world.gateway.get_from("127.0.0.2", "/", &[]);
    world.gateway.check_refused("stale", &refused, 503, "dependency.feed_stale");
    world.check(&[("127.0.0.9", 200)]);
    let listed = code(&world.feed(&["list"]), 0);
    assert!(listed.contains("dropped"), "{listed}");
}

#[test]
fn a_file_is_followed_without_a_reload() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.file("ranges.csv", "name,prefix\na,127.0.0.2/32\nb,127.0.0.4/32\n");
    site.policy(
        &policy("file = \"ranges.csv\", format = \"csv\", column = \"prefix\", max_shrink = \"50%\"")
            .replace("\"1h\"", "\"1s\""),
    );
    let gateway = site.start();
    gateway.wait_for_events("feed.updated", 1);
    assert_eq!(gateway.get_from("127.0.0.4", "/", &[]).status(), 200);
    // As whoever keeps it should: beside it, and renamed.
    gateway.site.file("ranges.new", "name,prefix\na,127.0.0.2/32\nc,127.0.0.6/32\n");
    fs::rename(gateway.site.path("ranges.new"), gateway.site.path("ranges.csv")).unwrap();
    let updated = gateway.wait_for_events("feed.updated", 2);
    assert!(updated[1]["message"].as_str().unwrap().contains("1 added (127.0.0.6/32), 1 removed (127.0.0.4/32)"));
    assert_eq!(gateway.get_from("127.0.0.4", "/", &[]).status(), 403);
    assert_eq!(gateway.get_from("127.0.0.6", "/", &[]).status(), 200);
}

/// Serves the folder over TLS, as anybody would, with dates and 304.
const PYTHON: &str = r#"
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/server.crt", sys.argv[2] + "/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

#[test]
fn a_real_server_with_an_authority_of_openssl_is_followed() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    let served = site.path("served");
    fs::create_dir(&served).unwrap();
    let openssl = |arguments: &str| {
        let finished = tool("PORTCULLIS_OPENSSL", "openssl").cwd(&served).args(arguments.split(' ')).run(PATIENCE);
        assert!(finished.status.success(), "{finished:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -days 30 -subj /CN=Lists -keyout ca.key -out ca.crt"));
    openssl(&format!(
        "req {key} -subj /CN=server -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.csr"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copy -out server.crt",
    );
    fs::write(served.join("ranges.json"), r#"{"prefixes":[{"ip_prefix":"127.0.0.2/32"}]}"#).unwrap();
    let port = free_port();
    let mut server: Process =
        tool("PORTCULLIS_PYTHON", "python3").args(["-c", PYTHON]).arg(port.to_string()).arg(&served).start();
    server.wait_for_port(([127, 0, 0, 1], port).into());
    let source = format!(
        "url = \"https://127.0.0.1:{port}/ranges.json\", ca = \"served/ca.crt\", format = \"json\", pointer = \"/prefixes/*/ip_prefix\""
    );
    site.policy(&policy(&source));
    let gateway = site.start();
    gateway.wait_for_events("feed.updated", 1);
    assert_eq!(gateway.get_from("127.0.0.2", "/", &[]).status(), 200);
    let said = code(&feed(&gateway, &["refresh", "partner"]), 0);
    assert!(said.contains("still the same"), "{said}");
    let asked = || server.stderr_lines().iter().any(|line| line.contains("\" 304 ")).then_some(());
    assert!(wait::until(PATIENCE, asked).is_some(), "{:?}", server.stderr_lines());
    fs::write(served.join("ranges.json"), "<html>gone</html>").unwrap();
    // It is served by its date, to the second: written in the second of the one before, it would be the same for ever.
    let changed = fs::File::options().write(true).open(served.join("ranges.json")).unwrap();
    changed.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(2)).unwrap();
    let held = || (feed(&gateway, &["refresh", "partner"]).status.code() == Some(1)).then_some(());
    assert!(wait::until(PATIENCE, held).is_some());
    assert_eq!(gateway.get_from("127.0.0.2", "/", &[]).status(), 200);
}
