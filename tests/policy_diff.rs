//! `policy diff`: what changes from one policy to another, asked of the real program.

use portcullis_testkit::wait::PATIENCE;
use serde_json::Value;

use crate::harness::portcullis;

const GATEWAY: &str = r#"version = 1
[policy]
path = "before.toml"
[[listener]]
name = "a"
address = "127.0.0.1:0"
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:9"]
[[route]]
name = "billing"
upstream = "u"
"#;

fn policy(principals: &str, more: &str) -> String {
    format!(
        "version = 1\n\n[[role]]\nname = \"reader\"\npermissions = [{{ actions = [\"GET /invoices/**\"] }}]\n\n\
         [[assignment]]\nname = \"reads\"\nrole = \"reader\"\nprincipals = [{principals}]\nscope = \"billing\"\n{more}"
    )
}

/// The exit status, and what the comparison of the two policies says as JSON.
fn compared(before: &str, after: &str) -> (Option<i32>, Value) {
    compared_with(before, after, &[])
}

fn compared_with(before: &str, after: &str, options: &[&str]) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("portcullis.toml", GATEWAY);
    write("before.toml", before);
    write("after.toml", after);
    let arguments = ["-c", "portcullis.toml", "-o", "json", "policy", "diff", "before.toml", "after.toml"];
    let finished = portcullis()
        .cwd(folder.path())
        .args(arguments)
        .args(["--at", "2026-11-23T10:00:00Z"])
        .args(options)
        .run(PATIENCE);
    let said = serde_json::from_str(&finished.stdout.join("\n")).unwrap_or(Value::Null);
    (finished.status.code(), said)
}

#[test]
fn equal_policies_do_not_differ_whatever_their_names_and_order() {
    let one = policy("\"user:alice\", \"user:bob\"", "");
    let other = policy("\"user:bob\", \"user:alice\"", "").replace("\"reads\"", "\"renamed\"");
    let (code, said) = compared(&one, &other);
    assert_eq!((code, said["effect"].as_str()), (Some(0), Some("none")), "{said:#}");
    assert_eq!(said["classes"], serde_json::json!([]));
}

#[test]
fn a_new_grant_loosens_and_a_new_deny_tightens() {
    let before = policy("\"user:alice\"", "");
    let after = policy("\"user:alice\", \"user:carol\"", "");
    let (code, said) = compared(&before, &after);
    assert_eq!((code, said["effect"].as_str()), (Some(1), Some("loosens")), "{said:#}");
    let class = &said["classes"][0];
    assert_eq!(class["callers"], serde_json::json!(["user:carol"]), "{said:#}");
    assert_eq!(class["places"][0]["path"], "/invoices/**");
    assert_eq!(
        (class["before"]["decision"].as_str(), class["after"]["decision"].as_str()),
        (Some("deny"), Some("permit"))
    );
    assert_eq!(class["after"]["rule"]["file"], "after.toml");
    let (code, said) = compared(&after, &before);
    assert_eq!((code, said["effect"].as_str()), (Some(1), Some("tightens")), "{said:#}");
    let deny =
        "[[deny]]\nname = \"no\"\nprincipals = [\"user:alice\"]\nactions = [\"GET /invoices/7\"]\nscope = \"*\"\n";
    let (code, said) = compared(&before, &policy("\"user:alice\", \"user:carol\"", deny));
    assert_eq!((code, said["effect"].as_str()), (Some(1), Some("mixed")), "{said:#}");
}

/// A gate against new access lets through what only tightens.
#[test]
fn what_makes_the_exit_code_one_can_be_said() {
    let (few, more) = (policy("\"user:alice\"", ""), policy("\"user:alice\", \"user:carol\"", ""));
    let deny =
        "[[deny]]\nname = \"no\"\nprincipals = [\"user:alice\"]\nactions = [\"GET /invoices/7\"]\nscope = \"*\"\n";
    let both = policy("\"user:alice\", \"user:carol\"", deny);
    for (before, after, expected) in
        [(&few, &few, [0, 0, 0]), (&few, &more, [1, 1, 0]), (&more, &few, [1, 0, 0]), (&few, &both, [1, 1, 0])]
    {
        let codes = ["any", "loosens", "never"].map(|what| compared_with(before, after, &["--fail-on", what]).0);
        assert_eq!(codes, expected.map(Some), "{before} {after}");
    }
}

#[test]
fn an_invalid_policy_is_reported_and_compared_with_nothing() {
    let (code, said) = compared(&policy("\"user:alice\"", ""), "version = 1\nrol = 1\n");
    assert_eq!(code, Some(3), "{said:#}");
}
