//! Whoever may only look (`GET /v1/**`), by the command line: what tells something answers, and nothing of it is tried and refused.

use portcullis_testkit::wait::PATIENCE;
use serde_json::{Value, json};

use crate::admin_api::Api;
use crate::admin_contract::POLICY;
use crate::harness::{of_kind, portcullis};

/// Beside the operators and readers of the API: something that may be activated.
const ELIGIBLE: &str = r#"
[[assignment]]
name = "alice-reads-app"
role = "admin.reader"
principals = ["user:root"]
scope = "app"
activation = { max = "1h" }
"#;

#[test]
fn a_reader_asks_whatever_only_tells_something_and_nothing_of_it_is_refused() {
    let files = [("partner.txt", "127.0.0.10\n")];
    let policy = [POLICY, ELIGIBLE].concat();
    let api = Api::start_on(&files, "[store]\npath = \"state.db\"\n", &policy);
    let post = |target: &str, body: &Value| {
        let answer = api.post(target, &api.alice, body);
        assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
        answer.json()
    };
    post("/v1/bans/add", &json!({ "on": "192.0.2.7", "for_s": 600, "reason": "case 4711" }));
    let by = json!({ "reason": "case 4711" });
    let another = format!("version = 1\n{policy}# another\n");
    let proposed = post("/v1/govern/propose", &json!({ "verb": "propose", "policy": another, "by": by }));
    let live = proposed["changes"][0]["id"].clone();
    post("/v1/govern/activate", &json!({ "verb": "activate", "id": live }));
    let third = format!("version = 1\n{policy}# a third\n");
    let waits = post("/v1/govern/propose", &json!({ "verb": "propose", "policy": third, "by": by }));
    let waits = waits["changes"][0]["id"].as_str().unwrap().to_owned();
    let asked = json!({ "verb": "activate", "assignment": "alice-reads-app", "principal": "user:root", "reason": "x" });
    let power = post("/v1/access/activate", &asked)["access"][0]["id"].to_string();
    post("/v1/audit/run", &json!({ "verb": "run" }));
    post("/v1/audit/run", &json!({ "verb": "run" }));
    let made = post("/v1/backups/create", &json!({ "verb": "create" }));
    let backup = made["backups"][0]["name"].as_str().unwrap();

    api.gateway.site.file("reader.key", &format!("x-api-key: {}\n", api.bob));
    let admin = format!("http://{}", api.address);
    let ask = |arguments: &[&str]| {
        let key = api.gateway.site.path("reader.key");
        let finished = portcullis().args(["--admin", &admin, "--token-file"]).arg(key).args(arguments).run(PATIENCE);
        let said = [finished.stdout, finished.stderr].concat().join("\n");
        (finished.status.code().unwrap(), said)
    };
    let url = "http://operators.portcullis.invalid/v1/bans";
    let change = &waits[..12];
    // What is asked, with what it ends, and what it says.
    let questions: &[(&[&str], i32, &str)] = &[
        (&["status"], 0, "state.db"),
        (&["health"], 0, ""),
        (&["policy", "list"], 0, "case 4711"),
        (&["policy", "status"], 0, "2"),
        (&["policy", "verify"], 0, "versions"),
        (&["policy", "show", "2"], 0, "policy.toml ("),
        (&["policy", "diff", "1", "2"], 0, ""),
        (&["policy", "diff", "in_force", change], 0, ""),
        (&["governance", "status"], 1, ""),
        (&["approver", "list"], 0, "governance has not begun"),
        (&["access", "list", "--all"], 0, "alice-reads-app"),
        (&["access", "show", &power], 0, "alice-reads-app"),
        (&["access", "verify"], 0, ""),
        (&["audit", "runs"], 0, ""),
        (&["audit", "show"], 1, "user:"),
        (&["audit", "diff"], 0, ""),
        (&["audit", "suppress", "--list"], 0, ""),
        (&["ban", "list"], 0, "192.0.2.7"),
        (&["session", "list"], 0, ""),
        (&["feed", "list"], 0, "partner"),
        (&["spike", "list"], 0, ""),
        (&["revoke", "list"], 0, ""),
        (&["alert", "list"], 0, ""),
        (&["backup", "list"], 0, backup),
        (&["backup", "verify", backup], 0, "as it was made"),
        (&["can", "GET", url, "--as", "bob", "--live"], 0, "permit"),
        (&["can", "POST", url, "--as", "bob", "--live"], 1, "deny"),
        (&["explain", "GET", url, "--as", "bob", "--live"], 0, "readers"),
        (&["who-can", "GET", url, "--live"], 0, "user:bob"),
        (&["list", "--as", "bob", "--live"], 0, "readers"),
        (&["list", "--as", "nobody", "--live"], 1, "user:nobody may do nothing now"),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, words) in questions {
        let (ended, said) = ask(arguments);
        if ended != *code || !said.contains(words) {
            wrong.push(format!("{arguments:?} ends with {ended}, and not with {code} and `{words}`: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // What is in the files, and what is signed, is told to nobody who only looks.
    let shown = api.get(&format!("/v1/govern/show?change={waits}"), &api.bob).json();
    assert_eq!((shown.get("files"), shown.get("request")), (None, None), "{shown:#}");
    let names: Vec<&Value> = shown["holds"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert!(names.contains(&&json!("policy.toml")) && names.contains(&&json!("keys.toml")), "{shown:#}");
    let size = |shown: &Value| {
        let file = |file: &&Value| file["name"] == "policy.toml";
        shown["holds"].as_array().unwrap().iter().find(file).unwrap()["bytes"].as_u64()
    };
    assert_eq!(size(&shown), Some(third.len() as u64));
    let events = api.gateway.events.all();
    assert!(of_kind(&events, "access.denied").is_empty(), "nothing was tried that is not permitted");
    let (ended, said) = ask(&["policy", "show", "2", "--file", "policy.toml"]);
    assert_eq!(ended, 5, "{said}");
    // Of a change there is what can be told all the same, and why it is no more.
    let (ended, said) = ask(&["policy", "show", change]);
    assert_eq!(ended, 0, "{said}");
    let bytes = format!("policy.toml ({} bytes)", third.len());
    for words in ["state     open", "reason    case 4711", &waits, &bytes, "note: this is for who may only look"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("# a third"), "{said}");
    let events = api.gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), 2, "and these are");
}
