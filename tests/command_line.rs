//! The verbs, their words and their exit codes, which scripts rely on.

use std::fs;

use portcullis_testkit::process::Finished;
use portcullis_testkit::tokens::sha256_hex;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use serde_json::{Value, json};

use crate::harness::{Site, portcullis, repository};

/// Ten mistakes in two files; each is marked with the code and the words that its report must have.
const GATEWAY: &str = r#"version = 1
[[listener]]
name = "main"
adress = "127.0.0.1:0"                      #! E0103 unknown key `adress`
[[upstream]]
name = "app"
endpoints = ["http://127.0.0.1:1"]
[[route]]
name = "one"
paths = ["/api/*/x"]
upstream = "app"
[[route]]
name = "two"
paths = ["/api/{id}/x"]                     #! E0203 equivalent path
upstream = "app"
[[route]]
name = "three"
upstream = "ap"                             #! E0202 there is no upstream `ap`
[[identity.jwt]]
name = "login"
issuer = "https://login.test"
audiences = ["app"]
jwks = { file = "missing.json" }            #! E0100 cannot read
[limits]
header_timeout = 10                         #! E0104 header_timeout
"#;

const POLICY: &str = r#"version = 1
[[network]]
name = "office"
addresses = ["10.0.0.0/33"]                 #! E0105 10.0.0.0/33
[[role]]
name = "a"
inherits = ["b"]
[[role]]
name = "b"
inherits = ["a"]                            #! E0301 a -> b -> a
permissions = [{ actions = ["GET x"] }]     #! E0105 x
[[assignment]]
name = "x"
role = "nobody"                             #! E0202 there is no role named `nobody`
principals = ["alice"]                      #! E0105 `alice` is not a principal
scope = "none"                              #! E0202 there is no route named `none`
"#;

/// File, line, code and words of the mistakes that are marked in a text.
fn marked(file: &str, text: &str) -> Vec<(String, usize, String, String)> {
    let marks = text.lines().enumerate().filter_map(|(index, line)| {
        let (code, words) = line.split_once("#! ")?.1.split_once(' ')?;
        Some((file.to_owned(), index + 1, code.to_owned(), words.to_owned()))
    });
    marks.collect()
}

#[test]
fn check_reports_every_mistake_with_its_place_and_run_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("portcullis.toml");
    fs::write(&config, GATEWAY).unwrap();
    fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
    let run = |arguments: &[&str]| portcullis().arg("-c").arg(&config).args(arguments).run(PATIENCE);
    let expected = [marked("portcullis.toml", GATEWAY), marked("policy.toml", POLICY)].concat();
    assert!(expected.len() >= 10);

    let as_json = run(&["-o", "json", "check"]);
    assert_eq!(as_json.status.code(), Some(3));
    let reported: Value = serde_json::from_str(&as_json.stdout.join("\n")).unwrap();
    let reported = reported.as_array().unwrap();
    for (file, line, code, words) in &expected {
        let found = reported.iter().any(|problem| {
            problem["file"].as_str().unwrap().ends_with(file.as_str())
                && problem["line"] == *line
                && problem["code"] == code.as_str()
                && problem["column"].as_u64().is_some_and(|column| column >= 1)
                && problem["message"].as_str().unwrap().contains(words.as_str())
        });
        assert!(found, "{code} at {file}:{line} is not reported: {reported:#?}");
    }
    assert_eq!(reported.len(), expected.len(), "{reported:#?}");

    let for_people = run(&["check"]);
    assert_eq!((for_people.status.code(), for_people.stdout.len()), (Some(3), 0));
    let text = for_people.stderr.join("\n");
    for (file, line, code, _) in &expected {
        assert!(text.contains(&format!("error[{code}]")) && text.contains(&format!("{file}:{line}:")), "{text}");
    }
    assert!(text.contains(&format!("{} errors, 0 warnings", expected.len())), "{text}");
    assert!(text.ends_with("; see `portcullis help E0103`"), "{text}");
    assert!(!text.contains('\u{1b}'), "colour is for terminals");

    for verb in [&["run"][..], &["can", "GET", "/"], &["explain", "GET", "/"]] {
        let finished = run(verb);
        assert_eq!(finished.status.code(), Some(3), "{verb:?}");
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        assert!(said.contains("error[E0103]") && !said.contains("listening"), "{verb:?}: {said}");
    }
}

#[test]
fn every_shipped_configuration_is_sound() {
    let mut checked = 0;
    let examples = fs::read_dir(repository("config/examples")).unwrap().map(|entry| entry.unwrap().path());
    for folder in examples.chain([repository("config")]) {
        let finished = portcullis().arg("check").arg(folder.join("portcullis.toml")).run(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{}: {:?}", folder.display(), finished.stderr);
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}

/// What expired, by the system's clock, is a warning; with `--strict` it is an error.
#[test]
fn check_warns_of_what_is_hardly_meant() {
    let site = Site::new("http://127.0.0.1:1");
    site.policy(
        "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /x\"] }]\n[[assignment]]\nname = \"old\"\nrole = \"r\"\n\
         principals = [\"user:u\"]\nscope = \"app\"\nexpires = 2020-01-01T00:00:00Z\n",
    );
    let warned = site.run(&["check"]);
    let text = warned.stderr.join("\n");
    assert_eq!(warned.status.code(), Some(0), "{text}");
    assert!(text.contains("warning[W0310]: the assignment `old` expired at 2020-01-01"), "{text}");
    assert!(text.contains("policy.toml:6:8"), "{text}");
    assert!(text.ends_with("0 errors, 1 warning; see `portcullis help W0310`"), "{text}");
    assert!(warned.stdout.join("\n").contains(": ok (1 warning)"), "{:?}", warned.stdout);
    assert_eq!(site.run(&["check", "--strict"]).status.code(), Some(3));
}

#[test]
fn what_cannot_be_bound_or_is_not_there_says_so() {
    let check = |arguments: &[&str], code: i32, words: &str| {
        let finished = portcullis().args(arguments).run(PATIENCE);
        let said = [finished.stdout.clone(), finished.stderr].concat().join("\n");
        assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    check(&["-c", "/nowhere/portcullis.toml", "run"], 3, "/nowhere/portcullis.toml");
    check(&["-c", "/nowhere/portcullis.toml", "check"], 3, "/nowhere/portcullis.toml");
    check(&[], 2, "Usage");
    check(&["frobnicate"], 2, "frobnicate");
    check(&["run", "--frobnicate"], 2, "frobnicate");
    check(&["can"], 2, "METHOD");
    check(&["--help"], 0, "portcullis");
    check(&["help"], 0, "Usage: portcullis");
    check(&["help", "check"], 0, "Warnings are errors");
    check(&["help", "key", "create"], 0, "Usage: portcullis key create");
    check(&["help", "E0103"], 0, "# `E0103`: a key that nobody reads");
    check(&["help", "w0331"], 0, "public = true");
    check(&["help", "E0113"], 2, "did you mean `portcullis help E0103`?");
    check(&["help", "chek"], 2, "did you mean `portcullis help check`?");
    check(&["help", "frobnicate"], 2, "there is no help on `frobnicate`");
    check(&["help", "E0103", "run"], 2, "there is no help on `E0103`");
    check(&["--version"], 0, env!("CARGO_PKG_VERSION"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::new("http://127.0.0.1:1");
    let config = site.write();
    let text = fs::read_to_string(&config).unwrap();
    let (ours, theirs) =
        ("[ops]\naddress = \"127.0.0.1:0\"", format!("[ops]\naddress = \"{}\"", taken.local_addr().unwrap()));
    fs::write(&config, text.replace(ours, &theirs)).unwrap();
    check(&["-c", config.to_str().unwrap(), "run"], 4, "cannot listen on");
}

/// The site of which the questions are asked.
fn asked() -> Site {
    let site = Site::new("http://127.0.0.1:1");
    site.policy(
        r#"
[[network]]
name = "office"
addresses = ["203.0.113.0/24"]
[[role]]
name = "reader"
permissions = [{ actions = ["GET /invoices/**"] }]
[[role]]
name = "admin"
permissions = [{ actions = ["* /**"] }]
[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance", "service:robot"]
scope = "app"
[[assignment]]
name = "root-from-the-office"
role = "admin"
principals = ["user:root"]
scope = "app"
when = { networks = ["office"], assurance = "mfa" }
[[assignment]]
name = "germans"
role = "admin"
principals = ["user:hans"]
scope = "app"
when = { countries = ["DE"], device = "compliant", max_risk = "low", hours = "Mon-Fri 08:00-18:00 Europe/Berlin" }
[[deny]]
name = "no-exports"
principals = ["group:contractors"]
actions = ["GET /invoices/export"]
scope = "*"
"#,
    );
    site
}

#[test]
fn can_answers_in_one_word_and_by_its_exit_code() {
    let site = asked();
    let check = |question: &str, code: i32, first_words: &str| {
        let arguments: Vec<&str> = question.split(' ').collect();
        let finished = site.run(&arguments);
        let said = finished.stdout.join("\n");
        assert_eq!(finished.status.code(), Some(code), "{question}: {said} {:?}", finished.stderr);
        assert!(said.starts_with(first_words), "{question}: {said}");
    };
    check("can GET /invoices/7 --as alice --group finance", 0, "permit");
    check("can GET http://any.test/invoices/7?x=y --as user:alice --group finance", 0, "permit");
    check("can GET /invoices/7 --as service:robot", 0, "permit");
    check("can GET /invoices/7 --as robot", 1, "deny rbac.no_matching_grant");
    check("can GET /invoices/7 --as alice --role reader", 0, "permit");
    check("can get /invoices/7 --as alice --group finance", 1, "deny rbac.no_matching_grant");
    check("can GET /invoices/export --as alice --group finance --group contractors", 1, "deny rbac.explicit_deny");
    check("can GET /invoices/7", 1, "challenge authn.missing");
    check("can DELETE /x --as root --ip 203.0.113.7", 1, "step_up step_up.required");
    check("can DELETE /x --as root --ip 203.0.113.7 --assurance mfa", 0, "permit");
    check("can DELETE /x --as root --ip 198.51.100.1 --assurance mfa", 1, "deny rbac.condition_unmet");
    check("can GET /x --as hans --country DE --device compliant --risk low --at 2026-11-23T10:00:00Z", 0, "permit");
    check(
        "can GET /x --as hans --country FR --device compliant --risk low --at 2026-11-23T10:00:00Z",
        1,
        "deny rbac.condition_unmet",
    );
    check("can GET /x --as hans --country DE --device compliant --risk medium --at 2026-11-23T10:00:00Z", 1, "step_up");
    check(
        "can GET /x --as hans --country DE --device compliant --risk low --at 2026-11-22T10:00:00Z",
        1,
        "deny rbac.condition_unmet",
    );
    check("can GET /a/../b --as root", 1, "deny request.path_ambiguous");
    // Global options may stand before the verb, too, and -q leaves the exit code alone.
    check("-o json can GET /invoices/7 --as robot", 1, "{\"decision\":\"deny\"");
    check("can GET /invoices/7 --as robot -o json", 1, "{\"decision\":\"deny\"");
    check("-q can GET /invoices/7 --as service:robot", 0, "");
    check("can GET /invoices/7 --as robot -q", 1, "");
    for nonsense in [
        "can GET",
        "can GET invoices --as alice",
        "can GET ftp://x/ --as alice",
        "can GET /x --as wizard:merlin",
        "can GET /x --as alice --ip 10.0.0",
        "can GET /x --as alice --country Germany",
        "can GET /x --as alice --at yesterday",
        "can GET /x --as alice --risk some",
        "can GET /x --as alice --device none",
        "can GET /x --group finance",
    ] {
        check(nonsense, 2, "");
    }
    let last = site.path("portcullis.toml");
    let arguments = ["can", "GET", "/invoices/7", "--as", "service:robot", "-c", last.to_str().unwrap()];
    assert_eq!(portcullis().args(arguments).run(PATIENCE).status.code(), Some(0), "-c behind the verb");
    let by_variable = portcullis().env("PORTCULLIS_CONFIG", &last).args(&arguments[..5]).run(PATIENCE);
    assert_eq!(by_variable.status.code(), Some(0), "PORTCULLIS_CONFIG");
}

fn json_of(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn explain_has_its_pinned_form() {
    let site = asked();
    let finished = site.run(&[
        "-o",
        "json",
        "explain",
        "DELETE",
        "http://x.test/invoices/7",
        "--as",
        "alice",
        "--group",
        "finance",
        "--ip",
        "203.0.113.7",
    ]);
    assert_eq!(finished.status.code(), Some(1));
    let explained = json_of(&finished);
    assert_eq!((&explained["decision"], &explained["status"]), (&json!("deny"), &json!(403)));
    assert_eq!(explained["reason"], "rbac.no_matching_grant");
    assert!(explained["message"].as_str().is_some_and(|message| !message.is_empty()));
    let names: Vec<&str> =
        explained["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["ban", "route", "network", "authentication", "deny", "grants", "risk", "step_up"],
        "explain runs all stages"
    );
    for check in explained["checks"].as_array().unwrap() {
        assert!(matches!(check["outcome"].as_str(), Some("pass" | "fail" | "unknown" | "skipped")), "{check}");
        assert!(check["value"].is_string() && check["detail"].is_string(), "{check}");
    }
    assert_eq!(explained["rule"], Value::Null);
    let nearest = explained["nearest"].as_array().unwrap();
    assert!(!nearest.is_empty() && nearest.len() <= 5);
    assert_eq!(nearest[0]["needs"], json!(["role:admin"]));
    for each in nearest {
        let keys: Vec<&str> = each.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 4, "{each}");
        assert!(["needs", "grant", "file", "line"].iter().all(|key| keys.contains(key)), "{each}");
    }
    assert_eq!(explained["policy"]["version"], 1);
    let text = fs::read(site.path("policy.toml")).unwrap();
    assert_eq!(explained["policy"]["sha256"].as_str().map(str::len), Some(sha256_hex(&text).len()));

    let denied = json_of(&site.run(&[
        "explain",
        "-o",
        "json",
        "GET",
        "/invoices/export",
        "--as",
        "bob",
        "--group",
        "contractors",
        "--group",
        "finance",
    ]));
    assert_eq!((&denied["rule"]["name"], &denied["reason"]), (&json!("no-exports"), &json!("rbac.explicit_deny")));
    assert!(denied["rule"]["file"].as_str().unwrap().ends_with("policy.toml"), "{denied}");
    assert!(denied["rule"]["line"].as_u64().is_some_and(|line| line > 1));
    assert_eq!(denied["nearest"], json!([]), "only lifting the deny would help");

    let permitted = site.run(&["explain", "-o", "json", "GET", "/invoices/7", "--as", "service:robot"]);
    assert_eq!(permitted.status.code(), Some(0));
    let permitted = json_of(&permitted);
    assert_eq!(
        (&permitted["decision"], &permitted["reason"], &permitted["status"]),
        (&json!("permit"), &Value::Null, &json!(200))
    );
    let step_up = json_of(&site.run(&["explain", "-o", "json", "GET", "/x", "--as", "root", "--ip", "203.0.113.7"]));
    assert_eq!((&step_up["decision"], &step_up["nearest"][0]["needs"]), (&json!("step_up"), &json!(["assurance:mfa"])));
    let for_people = site.run(&["explain", "GET", "/x", "--as", "alice"]);
    let text = for_people.stdout.join("\n");
    assert!(text.contains("deny rbac.no_matching_grant") && text.contains("role:admin"), "{text}");
    assert_eq!(explained["limits"], json!([]));
    assert!(!text.contains("limits"), "{text}");
}

#[test]
fn explain_lists_what_the_route_limits() {
    let mut site = Site::without_route("http://127.0.0.1:9");
    site.add(
        "[[route]]\nname = \"app\"\nupstream = \"app\"\nmax_concurrent = { route = 20 }\nmax_request_body = \"1MiB\"\n\
         rate_limit = [{ per = \"principal\", requests = 90, window = \"1m\", burst = 9 }, { per = \"address\", requests = 5, window = \"1500ms\" }]",
    );
    let explained = json_of(&site.run(&["explain", "-o", "json", "GET", "/x", "--as", "alice"]));
    let expected = json!([
        { "name": "rate_limit", "per": "principal", "requests": 90, "window_ms": 60_000, "burst": 9 },
        { "name": "rate_limit", "per": "address", "requests": 5, "window_ms": 1_500, "burst": 5 },
        { "name": "max_concurrent", "per": "route", "requests": 20 },
        { "name": "max_request_body", "bytes": 1_048_576 },
    ]);
    assert_eq!(explained["limits"], expected);
    let text = site.run(&["explain", "GET", "/x", "--as", "alice"]).stdout.join("\n");
    for line in [
        "  rate_limit         90 requests in 1m per principal (burst 9)",
        "  rate_limit         5 requests in 1500ms per address (burst 5)",
        "  max_concurrent     20 at once per route",
        "  max_request_body   1048576 bytes",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
}

#[test]
fn explain_finds_the_event_of_a_refusal_that_happened() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.policy("[[role]]\nname = \"reader\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[assignment]]\nname = \"bob\"\nrole = \"reader\"\nprincipals = [\"user:bob\"]\nscope = \"*\"\n");
    let gateway = site.start();
    let answer = gateway.get("/invoices?secret", &[("x-api-key", &key)]);
    let event = gateway.check_refused("alice", &answer, 403, "rbac.no_matching_grant");
    let id = event["id"].as_str().unwrap();
    // The gateway need not run, but may.
    let finished = gateway.site.run(&["-o", "json", "explain", "--event", id]);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let explained = json_of(&finished);
    for key in ["decision", "status", "reason", "message", "checks", "nearest"] {
        assert_eq!(explained[key], event[key], "{key}");
    }
    assert_eq!(explained["policy"]["sha256"], event["policy"]["sha256"]);
    assert_eq!(explained["event"]["request"]["path"], "/invoices");
    let for_people = gateway.site.run(&["explain", "--event", id]).stdout.join("\n");
    assert!(for_people.contains("rbac.no_matching_grant") && for_people.contains(id), "{for_people}");
    assert_eq!(
        gateway.site.run(&["explain", "--event", "0197a000-0000-7000-8000-000000000000"]).status.code(),
        Some(1)
    );
    assert_eq!(gateway.site.run(&["explain", "--event", "not-an-id"]).status.code(), Some(2));
    assert_eq!(gateway.site.run(&["explain", "--event", id, "GET", "/x"]).status.code(), Some(2));
}

#[test]
fn a_key_is_shown_once_and_kept_as_a_hash() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let first = site.key("first", "user:alice", "");
    site.policy(&[crate::harness::AUTHENTICATED, crate::harness::NO_BANS].concat());
    let mut gateway = site.start();
    let file = gateway.site.path("keys.toml");
    let create = |id: &str, more: &[&str]| {
        portcullis().args(["key", "create", id, "--file", file.to_str().unwrap()]).args(more).run(PATIENCE)
    };
    let made = create("reporting", &["--group", "jobs", "--expires", "2099-01-01T00:00:00Z"]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let [key] = &made.stdout[..] else { panic!("only the key is on standard output: {made:?}") };
    assert!(key.starts_with("pcl_reporting_"), "{key}");
    let secret = key.split('_').nth(2).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains(secret) && text.contains("id = \"reporting\"") && text.contains("service:reporting"),
        "{text}"
    );
    assert!(!made.stderr.join("\n").contains(secret));

    assert_eq!(gateway.get("/", &[("x-api-key", key)]).status(), 401, "not before the reload");
    // What `key` of the harness writes is what `create` appended to: it must survive.
    gateway.reload("ok");
    assert_eq!(gateway.get("/", &[("x-api-key", key)]).status(), 200);
    assert_eq!(gateway.get("/", &[("x-api-key", &first)]).status(), 200);

    for (what, finished, code) in [
        ("a second key of that id", create("reporting", &[]), 1),
        ("an id that is none", create("Reporting", &[]), 2),
        ("a principal that is none", create("x", &["--principal", "wizard:merlin"]), 2),
        ("a time that is none", create("x", &["--expires", "tomorrow"]), 2),
    ] {
        assert_eq!(finished.status.code(), Some(code), "{what}: {finished:?}");
        assert!(finished.stdout.is_empty(), "{what}: {finished:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "a refused key changes nothing");
    let new_file = gateway.site.path("new.toml");
    let made = portcullis()
        .args(["-o", "json", "key", "create", "a", "--file", new_file.to_str().unwrap(), "--principal", "alice"])
        .run(PATIENCE);
    assert_eq!((made.status.code(), json_of(&made)["principal"].clone()), (Some(0), json!("user:alice")));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(new_file).unwrap().permissions().mode() & 0o077, 0, "a new key file is its owner's alone");
}

#[test]
fn risk_evaluate_compares_the_detector_with_a_plain_counter() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let mut lines = String::new();
    let mut line = |second: u32, from: &str, target: &str, status: u16| {
        let (minute, second) = (second / 60, second % 60);
        lines += &format!(
            "{from} - - [17/May/2015:10:{minute:02}:{second:02} +0000] \"GET {target} HTTP/1.1\" {status} 10 \"-\" \"Mozilla/5.0 (X11)\"\n"
        );
    };
    // Somebody with a stale bookmark, who the plain counter bans.
    for second in 0..300 {
        line(second, "203.0.113.9", "/app", if second % 50 == 7 { 404 } else { 200 });
    }
    // A scanner.
    for second in 0..40 {
        line(second, "198.51.100.9", &format!("/old/{second}.php"), 404);
    }
    lines += "not a line of a log\n";
    fs::write(&log, lines).unwrap();
    let missing = folder.path().join("none.toml");
    let arguments = ["-o", "json", "-c", missing.to_str().unwrap(), "risk", "evaluate", "--log", log.to_str().unwrap()];
    let done = portcullis().args(arguments).args(["--attacker", "198.51.100.9"]).run(PATIENCE);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stderr.concat().contains("the first is line 341: no address"), "{done:?}");
    let report: Value = serde_json::from_str(&done.stdout.concat()).unwrap();
    let [ours, plain] = &report["detectors"].as_array().unwrap()[..] else { panic!("{report:#}") };
    let part = |of: &Value, what: &str| (of[what]["part"].as_u64().unwrap(), of[what]["whole"].as_u64().unwrap());
    assert_eq!((part(ours, "attackers_banned"), part(plain, "attackers_banned")), ((1, 1), (1, 1)), "{report:#}");
    assert_eq!((part(ours, "others_banned"), part(plain, "others_banned")), ((0, 1), (1, 1)), "{report:#}");
    assert_eq!(part(ours, "good_refused"), (0, 294), "{report:#}");
    assert!(part(plain, "good_refused").0 > 0, "{report:#}");
    let bad = portcullis().args(["risk", "evaluate", "--cases", log.to_str().unwrap()]).run(PATIENCE);
    assert_eq!(bad.status.code(), Some(3), "{bad:?}");
    assert!(bad.stderr.concat().contains("access.log:1:"), "{bad:?}");
}
