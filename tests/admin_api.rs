//! The operators' API over the network: a route of the data plane, that grants must name, and the same service as over the socket.

use std::net::SocketAddr;

use portcullis_testkit::process::Finished;
use portcullis_testkit::published::openapi_problems;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Answer};
use serde_json::{Value, json};

use crate::harness::{Gateway, Site, of_kind, portcullis};
use crate::schemas;

/// Who is on duty may look and ban, who looks on may look, and an administrator of all routes has nothing here.
const DUTY: &str = r#"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]

[[role]]
name = "admin.reader"
permissions = [{ actions = ["GET /v1/**", "POST /v1/bans/explain"] }]

[[role]]
name = "admin.duty"
inherits = ["admin.reader"]
permissions = [{ actions = ["POST /v1/bans/*", "POST /v1/reload"] }]

[[assignment]]
name = "all-routes"
role = "everything"
principals = ["user:root", "user:bob", "user:alice"]
scope = "*"

[[assignment]]
name = "on-duty"
role = "admin.duty"
principals = ["user:alice"]
scope = "admin"

[[assignment]]
name = "looks-on"
role = "admin.reader"
principals = ["user:bob"]
scope = "admin"
"#;

pub(crate) struct Api {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) alice: String,
    pub(crate) bob: String,
    root: String,
    _upstream: Upstream,
}

impl Api {
    fn start() -> Self {
        Self::start_with("", DUTY)
    }

    fn start_with(admin: &str, policy: &str) -> Self {
        Self::start_on(&[], admin, policy)
    }

    /// With these files beside the configuration.
    pub(crate) fn start_on(files: &[(&str, &str)], admin: &str, policy: &str) -> Self {
        let upstream = Upstream::start();
        let mut site = Site::new(&upstream.url());
        files.iter().for_each(|(name, content)| site.file(name, content));
        let [alice, bob, root] = ["alice", "bob", "root"].map(|name| site.key(name, &format!("user:{name}"), ""));
        site.add(&format!("[admin]\naddress = \"127.0.0.1:0\"\n{admin}"));
        site.policy(policy);
        let mut gateway = site.start();
        let words = " listening listener=admin";
        let address = gateway.process.wait_for(words, PATIENCE, |line| {
            let (_, rest) = line.split_once(words)?;
            rest.split_once("address=")?.1.trim().parse().ok()
        });
        Self { gateway, address, alice, bob, root, _upstream: upstream }
    }

    pub(crate) fn get(&self, target: &str, key: &str) -> Answer {
        self.send("GET", target, &[("x-api-key", key)], b"")
    }

    pub(crate) fn post(&self, target: &str, key: &str, body: &Value) -> Answer {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        self.send("POST", target, &headers, body.to_string().as_bytes())
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("host", "localhost")];
        if headers.iter().any(|(name, _)| *name == "host") {
            all.clear();
        }
        all.extend(headers);
        wire::send(self.address, wire::request(method, target, &all, body))
    }

    fn events(&self, kind: &str, count: usize) -> Vec<Value> {
        let enough = || {
            let all = self.gateway.events.all();
            let found: Vec<Value> = of_kind(&all, kind).into_iter().cloned().collect();
            (found.len() >= count).then_some(found)
        };
        let found = wait::until(PATIENCE, enough).unwrap_or_else(|| panic!("there are no {count} events of {kind}"));
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

#[test]
fn who_is_on_duty_bans_over_the_network_and_the_event_names_them() {
    let api = Api::start();
    let status = api.get("/v1/status", &api.bob);
    assert_eq!((status.status(), &status.json()["draining"]), (200, &Value::from(false)), "{}", status.text());

    let described = api.get("/v1/openapi.json", &api.bob).json();
    assert_eq!(openapi_problems(&described.to_string()), Vec::<String>::new(), "by the schema that was published");
    assert_eq!(
        described["paths"]["/v1/status"]["get"]["summary"],
        "How the gateway does, and what a reload would find."
    );

    let ban = json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" });
    let made = api.post("/v1/bans/add", &api.alice, &ban);
    assert_eq!(made.status(), 200, "{}", made.text());
    let bans = api.get("/v1/bans", &api.bob).json();
    assert_eq!(bans["bans"][0]["on"], "192.0.2.7");

    let [event] = &api.events("admin.ban_add", 1)[..] else { panic!() };
    assert_eq!(event["identity"]["id"], "user:alice");
    assert_eq!(event["identity"]["method"], "admin_api");
    assert_eq!(event["client"]["ip"], "127.0.0.1");
}

#[test]
fn a_version_that_is_rolled_out_is_taken_back_over_the_network_by_whoever_may() {
    let duty = DUTY.replace("\"POST /v1/reload\"", "\"POST /v1/reload\", \"POST /v1/govern/*\"");
    let steps = "[store]\npath = \"state.db\"\n[governance]\ncanary = [\"5%\"]\ncanary_step = \"1h\"\n";
    let api = Api::start_with(steps, &duty);
    let by = json!({ "name": null, "reason": "root needs less", "ticket": null });
    let policy = format!("version = 1\n{}", duty.replace("\"user:root\", ", ""));
    let wanted = json!({ "verb": "propose", "policy": policy, "files": null, "by": by });
    let proposed = api.post("/v1/govern/propose", &api.alice, &wanted);
    assert_eq!(proposed.status(), 200, "{}", proposed.text());
    let id = proposed.json()["changes"][0]["id"].clone();
    let abort =
        |key: &str, reason: &str| api.post("/v1/govern/abort", key, &json!({ "verb": "abort", "reason": reason }));
    let nothing = abort(&api.alice, "too early");
    assert_eq!((nothing.status(), nothing.text().contains("no version is being rolled out")), (409, true));
    let activated = api.post("/v1/govern/activate", &api.alice, &json!({ "verb": "activate", "id": id }));
    assert_eq!(activated.json()["live"]["rollout"]["n"], 2, "{}", activated.text());
    assert_eq!(abort(&api.bob, "I only look on").status(), 403);
    assert_eq!(abort(&api.alice, " ").status(), 409, "a reason is asked for");
    let aborted = abort(&api.alice, "root is needed");
    assert_eq!(aborted.status(), 200, "{}", aborted.text());
    let aborted = aborted.json();
    assert_eq!((&aborted["live"]["n"], &aborted["live"]["in_force"]), (&3.into(), &3.into()));
    assert_eq!(
        (&aborted["live"]["rollout"], &aborted["versions"][0]["change"]["kind"]),
        (&Value::Null, &"revert".into())
    );
    let done: Vec<Value> = api.events("admin.policy_rollback", 3);
    let last = done.last().unwrap();
    assert_eq!((&last["identity"]["id"], &last["decision"]), (&"user:alice".into(), &"permit".into()));
    assert!(last["message"].as_str().unwrap().contains("version 2 was taken back by"), "{last}");
}

#[test]
fn the_policy_decides_and_a_refusal_is_one_event_with_its_reason() {
    let api = Api::start();
    let ban = json!({ "on": "192.0.2.7" });
    let check = |what: &str, answer: &Answer, status: u16, reason: &str| {
        let event = api.gateway.check_refused(what, answer, status, reason);
        assert_eq!(event["policy"]["route"], "admin", "{what}: {event:#}");
        assert_eq!(event["request"]["host"], "operators.portcullis.invalid", "{what}");
    };
    check("nobody", &api.send("GET", "/v1/status", &[], b""), 401, "authn.missing");
    check("a wrong key", &api.get("/v1/status", "pcs_nobody"), 401, "authn.invalid");
    check("who only looks on", &api.post("/v1/bans/add", &api.bob, &ban), 403, "rbac.no_matching_grant");
    check("who may do all on `*`", &api.get("/v1/status", &api.root), 403, "rbac.no_matching_grant");
    check("what no role names", &api.post("/v1/drain", &api.alice, &json!({})), 403, "rbac.no_matching_grant");
    let all = api.gateway.get("/anything", &[("x-api-key", &api.root)]);
    assert_eq!(all.status(), 200, "on other routes `*` is all");
    assert!(api.gateway.stop().iter().all(|event| event["kind"] != "admin.ban_add"), "nothing was done");
}

#[test]
fn it_is_out_of_reach_on_every_other_listener_and_under_every_other_name() {
    let api = Api::start();
    for host in ["operators.portcullis.invalid", "OPERATORS.portcullis.invalid.", "operators.portcullis.invalid:9091"] {
        let headers = [("host", host), ("x-api-key", api.alice.as_str())];
        let answer = api.gateway.send(wire::request("GET", "/v1/status", &headers, b""));
        api.gateway.check_refused(host, &answer, 400, "request.host_invalid");
    }
    for host in ["evil.example", "127.0.0.2", "operators.portcullis.invalid"] {
        let answer = api.send("GET", "/v1/status", &[("host", host), ("x-api-key", &api.alice)], b"");
        api.gateway.check_refused(host, &answer, 421, "request.host_invalid");
    }
    for host in ["127.0.0.1", "LOCALHOST:1234"] {
        let answer = api.send("GET", "/v1/status", &[("host", host), ("x-api-key", &api.alice)], b"");
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
    }
    let other = api.gateway.get("/v1/status", &[("x-api-key", &api.alice)]);
    assert_ne!(other.json().get("draining"), Some(&Value::from(false)), "there the path is the upstream's");
}

#[test]
fn what_another_sites_page_can_have_a_browser_send_is_refused_and_recorded() {
    let api = Api::start();
    let body = json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" }).to_string();
    let key = ("x-api-key", api.alice.as_str());
    let json = ("content-type", "application/json");
    let forged: [&[(&str, &str)]; 5] = [
        &[key, ("content-type", "text/plain")],
        &[key],
        &[key, json, ("origin", "https://evil.example")],
        &[key, json, ("sec-fetch-site", "cross-site")],
        &[key, json, ("sec-fetch-site", "same-site"), ("origin", "http://localhost")],
    ];
    for headers in forged {
        let answer = api.send("POST", "/v1/bans/add", headers, body.as_bytes());
        assert_eq!(answer.status(), 403, "{headers:?}: {}", answer.text());
    }
    assert_eq!(api.events("admin.refused", forged.len())[0]["identity"]["id"], "user:alice");
    assert_eq!(api.get("/v1/bans", &api.alice).json()["bans"], json!([]));
    let own = [key, json, ("sec-fetch-site", "same-origin"), ("origin", "http://localhost")];
    assert_eq!(api.send("POST", "/v1/bans/add", &own, body.as_bytes()).status(), 200);
}

/// Sends over a socket of the machine, and returns what is answered first.
fn over_the_socket(api: &Api, path: &str, body: &Value) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(api.gateway.site.path("portcullis.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers = [("host", "portcullis"), ("content-type", "application/json"), ("connection", "close")];
    let request = wire::request("POST", path, &headers, body.to_string().as_bytes());
    std::io::Write::write_all(&mut stream, &request).unwrap();
    let mut head = [0; 4_096];
    let count = std::io::Read::read(&mut stream, &mut head).unwrap();
    String::from_utf8_lossy(&head[..count]).into_owned()
}

#[test]
fn what_takes_long_holds_up_neither_a_ban_nor_the_operator_at_the_machine() {
    // Its connections are taken by the kernel, and nobody ever says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/list", silent.local_addr().unwrap());
    let network = |number: u8| {
        format!(
            "[[network]]\nname = \"list{number}\"\naddresses = [\"127.0.0.{number}\"]\nsource = {{ url = \"{url}\", private = true, refresh = \"1h\", timeout = \"50s\" }}\n"
        )
    };
    let networks: Vec<String> = (1..=4).map(network).collect();
    let more = "\"POST /v1/reload\", \"POST /v1/feeds/*\", \"POST /v1/events/*\"";
    let policy = [DUTY.replace("\"POST /v1/reload\"", more), networks.concat()].concat();
    let api = Api::start_with("", &policy);
    let (told, answers) = std::sync::mpsc::channel();
    for number in 1..=4 {
        let (told, address, key) = (told.clone(), api.address, api.alice.clone());
        let body = json!({ "name": format!("list{number}") }).to_string();
        std::thread::spawn(move || {
            let headers = [("host", "localhost"), ("x-api-key", key.as_str()), ("content-type", "application/json")];
            let request = wire::request("POST", "/v1/feeds/refresh", &headers, body.as_bytes());
            // Those that are under way end with the gateway.
            if let Ok(answer) = wire::try_send(address, request) {
                let _ = told.send(answer);
            }
        });
    }
    for _ in 0..2 {
        let busy = answers.recv_timeout(PATIENCE).expect("two of four are told that it is busy");
        assert_eq!((busy.status(), busy.header("retry-after")), (503, Some("5")), "{}", busy.text());
        schemas::check(schemas::response(503, "application/json"), &busy.json());
        assert!(busy.json()["error"].as_str().unwrap().starts_with("busy: 2 orders that take long"), "{}", busy.text());
    }
    // Two are under way, for as long as a fetch takes.
    let search = api.post("/v1/events/search", &api.alice, &json!({}));
    assert_eq!(search.status(), 503, "a search of all files takes a place of theirs: {}", search.text());
    assert_eq!(api.get("/v1/status", &api.bob).status(), 200);
    let ban = json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" });
    assert_eq!(api.post("/v1/bans/add", &api.alice, &ban).status(), 200);
    let unknown = over_the_socket(&api, "/v1/feeds/refresh", &json!({ "name": "nobody" }));
    assert!(unknown.starts_with("HTTP/1.1 409 "), "the machine's socket has places of its own: {unknown}");

    let follow = || {
        let headers = [("host", "localhost"), ("x-api-key", api.alice.as_str()), ("content-type", "application/json")];
        let mut connection = wire::Conn::open(api.address);
        connection.send(wire::request("POST", "/v1/events/tail", &headers, b"{}"));
        let status = connection.try_head().unwrap().status;
        (status, connection)
    };
    let followers: Vec<_> = (0..8).map(|_| follow()).collect();
    assert!(followers.iter().all(|(status, _)| *status == 200));
    assert_eq!(follow().0, 503, "one more than there are places");
    let local = over_the_socket(&api, "/v1/events/tail", &json!({}));
    assert!(local.starts_with("HTTP/1.1 200 "), "{local}");
}

#[test]
fn whoever_only_reads_sees_versions_findings_and_power_and_lists_in_parts() {
    let policy =
        DUTY.replace("\"POST /v1/reload\"", "\"POST /v1/reload\", \"POST /v1/govern/*\", \"POST /v1/audit/run\"");
    let api = Api::start_with("[store]\npath = \"state.db\"\n", &policy);
    let get = |target: &str| {
        let answer = api.get(target, &api.bob);
        assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
        answer.json()
    };
    for number in 1..=5 {
        let ban = json!({ "on": format!("192.0.2.{number}"), "for_s": 600 - number, "reason": "case 4711" });
        assert_eq!(api.post("/v1/bans/add", &api.alice, &ban).status(), 200);
    }
    let all = get("/v1/bans");
    assert_eq!((all["bans"].as_array().unwrap().len(), &all["more"]), (5, &false.into()));
    assert_eq!(all["bans"][0]["on"], "192.0.2.1", "the one that lasts longest first");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let part = get(&format!("/v1/bans?limit=2{after}"));
        let on: Vec<String> =
            part["bans"].as_array().unwrap().iter().map(|ban| ban["on"].as_str().unwrap().to_owned()).collect();
        after = format!("&after={}", on.last().unwrap());
        seen.extend(on);
        if part["more"] == false {
            break;
        }
    }
    assert_eq!(seen, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]);
    let refused = api.get("/v1/bans?limt=2", &api.bob);
    assert_eq!(refused.status(), 400, "a parameter that nobody reads is no filter: {}", refused.text());

    let by = json!({ "name": null, "reason": "root needs less", "ticket": null });
    let wanted =
        json!({ "verb": "propose", "policy": format!("version = 1\n{policy}# another\n"), "files": null, "by": by });
    let proposed = api.post("/v1/govern/propose", &api.alice, &wanted).json();
    let activate = json!({ "verb": "activate", "id": proposed["changes"][0]["id"] });
    assert_eq!(api.post("/v1/govern/activate", &api.alice, &activate).status(), 200);
    let last = get("/v1/govern/list?limit=1");
    assert_eq!(
        (&last["versions"][0]["n"], &last["more"], &last["versions"][1]),
        (&2.into(), &true.into(), &Value::Null)
    );
    let first = get("/v1/govern/list?limit=1&after=2");
    assert_eq!((&first["versions"][0]["n"], &first["more"]), (&1.into(), &false.into()));
    let shown = get("/v1/govern/show?n=1");
    assert_eq!(
        (&shown["versions"][0]["n"], shown.get("files")),
        (&1.into(), None),
        "files may hold hashes of passwords"
    );
    let whole = api.post("/v1/govern/show", &api.alice, &json!({ "verb": "show", "n": 1 })).json();
    assert!(!whole["files"].as_array().unwrap().is_empty(), "{whole:#}");

    assert_eq!(api.post("/v1/audit/run", &api.alice, &json!({ "verb": "run" })).status(), 200);
    let runs = get("/v1/audit/runs");
    let run = runs["runs"][0]["run"].as_str().unwrap();
    let report = get(&format!("/v1/audit/show?run={run}"));
    let count = report["report"]["findings"].as_array().unwrap().len();
    let one = get(&format!("/v1/audit/show?run={run}&limit=1"));
    assert_eq!(one["report"]["findings"].as_array().unwrap().len(), count.min(1));
    assert_eq!(one["more"], (count > 1), "{report:#}");
    let unknown = api.get("/v1/audit/show?after=nobody", &api.bob);
    assert_eq!(unknown.status(), 400, "{}", unknown.text());
    assert_eq!(get("/v1/access/list")["access"], json!([]));
    assert_eq!(api.post("/v1/access/list", &api.bob, &json!({ "verb": "list", "all": false })).status(), 403);
}

#[test]
fn nobody_introduces_themselves() {
    let api = Api::start();
    let forged = [
        ("x-api-key", api.bob.as_str()),
        ("x-portcullis-operator", "dXNlcjphbGljZQ"),
        ("x-portcullis-introduction", "0"),
        ("x-portcullis-client", "192.0.2.1"),
        ("content-type", "application/json"),
    ];
    let answer = api.send("POST", "/v1/bans/explain", &forged, json!({ "on": "192.0.2.7" }).to_string().as_bytes());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    // Past the data plane: whoever finds the process's own socket is sent away unheard, and takes nobody's place.
    let names = std::fs::read_to_string("/proc/net/unix").unwrap();
    let prefix = format!("@portcullis-{}-", api.gateway.process.pid());
    let name = names.lines().find_map(|line| line.split_whitespace().find(|word| word.starts_with(&prefix))).unwrap();
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name[1..]);
    let address = address.unwrap();
    let connect = || std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    // More than there are places, and none says a word.
    let silent: Vec<_> = (0..64).map(|_| connect()).collect();
    let answer = api.get("/v1/bans", &api.alice);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let request =
        wire::request("GET", "/v1/bans", &[("host", "localhost"), ("connection", "close"), forged[1], forged[2]], b"");
    let mut stream = connect();
    // It may be gone before it can be written to.
    let _ = std::io::Write::write_all(&mut stream, &request);
    for mut stream in silent.into_iter().chain([stream]) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        match std::io::Read::read_to_end(&mut stream, &mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
        assert_eq!(answer, b"", "nothing is answered");
    }
    let refused = api.events("admin.refused", 1);
    assert_eq!(
        refused[0]["identity"]["method"], "unix_socket",
        "the account of the process, not the name that it gave"
    );
    assert!(refused[0]["message"].as_str().unwrap().contains(&format!("process {}", std::process::id())));
}

#[test]
fn the_command_line_asks_over_the_network_with_a_token() {
    let api = Api::start();
    api.gateway.site.file("duty.key", &format!("x-api-key: {}\n", api.alice));
    api.gateway.site.file("reader.key", &format!("x-api-key: {}\n", api.bob));
    let admin = format!("http://{}", api.address);
    let ask = |file: &str, arguments: &[&str]| -> Finished {
        let file = api.gateway.site.path(file);
        portcullis().args(["--admin", &admin, "--token-file"]).arg(file).args(arguments).run(PATIENCE)
    };
    let check = |file: &str, arguments: &[&str], code: i32, words: &str| {
        let finished = ask(file, arguments);
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    check("duty.key", &["ban", "add", "--ip", "192.0.2.7", "--for", "1h", "--reason", "case 4711"], 0, "192.0.2.7");
    check("reader.key", &["ban", "list"], 0, "192.0.2.7");
    check(
        "reader.key",
        &["ban", "remove", "--ip", "192.0.2.7"],
        5,
        "not permitted to ask the gateway at http://127.0.0.1:",
    );
    check("duty.key", &["reload"], 0, "reloaded");
    check("no.key", &["ban", "list"], 2, "no.key");
    let said = portcullis().args(["--admin", "http://192.0.2.1:9091", "ban", "list"]).run(PATIENCE);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(said.stderr.join("\n").contains("http:// is for loopback alone"), "{said:?}");
}

#[test]
fn it_is_never_open() {
    let mut site = Site::new("http://127.0.0.1:1");
    site.add("[admin]\naddress = \"127.0.0.1:9091\"\n");
    for (rule, found) in [("none", true), ("optional", true), ("required", false)] {
        site.policy(&format!("[[resource]]\nroute = \"admin\"\nauthentication = \"{rule}\"\n"));
        let finished = site.run(&["check"]);
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        assert_eq!(said.contains("the operators' API needs a credential, always"), found, "{rule}: {said}");
    }
    let mut site = Site::new("http://127.0.0.1:1");
    site.add("[admin]\naddress = \"0.0.0.0:9091\"\n");
    let finished = site.run(&["check"]);
    let said = [finished.stdout, finished.stderr].concat().join("\n");
    assert!(said.contains("`hosts` is missing") && said.contains("without `tls` is for loopback"), "{said}");
}
