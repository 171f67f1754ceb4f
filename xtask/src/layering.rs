//! Which crate may import which: the workspace's architecture as a table, held against what cargo says.
//!
//! It looks at normal and build dependencies; a crate's tests may use the test kit and what they like.

use std::process::Stdio;

use serde_json::Value;

use crate::step::{Failure, cargo, root};

/// Each crate and the crates of this workspace that it may import. A crate that is not listed here fails the check: who
/// adds one decides where it stands.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("portcullis-policy", &[]),
    ("portcullis-durable", &[]),
    ("portcullis-identity", &["portcullis-policy", "portcullis-fetch", "portcullis-ldap"]),
    ("portcullis-risk", &["portcullis-policy"]),
    (
        "portcullis-store",
        &["portcullis-policy", "portcullis-risk", "portcullis-identity", "portcullis-governance", "portcullis-durable"],
    ),
    ("portcullis-events", &["portcullis-policy"]),
    ("portcullis-alerts", &["portcullis-policy", "portcullis-events"]),
    ("portcullis-fetch", &[]),
    ("portcullis-ldap", &["portcullis-fetch"]),
    ("portcullis-feeds", &["portcullis-policy", "portcullis-fetch", "portcullis-durable"]),
    ("portcullis-geo", &["portcullis-policy"]),
    ("portcullis-governance", &["portcullis-policy", "portcullis-events", "portcullis-durable"]),
    ("portcullis-insight", &["portcullis-policy", "portcullis-events"]),
    (
        "portcullis-proxy",
        &["portcullis-policy", "portcullis-identity", "portcullis-risk", "portcullis-events", "portcullis-geo"],
    ),
    (
        "portcullis-admin",
        &[
            "portcullis-policy",
            "portcullis-events",
            "portcullis-fetch",
            "portcullis-history",
            "portcullis-risk",
            "portcullis-identity",
            "portcullis-feeds",
            "portcullis-governance",
            "portcullis-insight",
        ],
    ),
    ("portcullis-history", &["portcullis-events"]),
    ("portcullis-config", ABOVE_CONFIG),
    ("portcullis", ABOVE_GATEWAY),
    ("portcullis-testkit", &["portcullis-policy", "portcullis-events"]),
    ("xtask", &[]),
];

const ABOVE_CONFIG: &[&str] = &[
    "portcullis-durable",
    "portcullis-policy",
    "portcullis-identity",
    "portcullis-risk",
    "portcullis-store",
    "portcullis-events",
    "portcullis-alerts",
    "portcullis-feeds",
    "portcullis-fetch",
    "portcullis-ldap",
    "portcullis-geo",
    "portcullis-governance",
    "portcullis-insight",
    "portcullis-history",
    "portcullis-proxy",
    "portcullis-admin",
];

const ABOVE_GATEWAY: &[&str] = &[
    "portcullis-durable",
    "portcullis-policy",
    "portcullis-identity",
    "portcullis-risk",
    "portcullis-store",
    "portcullis-events",
    "portcullis-alerts",
    "portcullis-feeds",
    "portcullis-fetch",
    "portcullis-ldap",
    "portcullis-geo",
    "portcullis-governance",
    "portcullis-insight",
    "portcullis-history",
    "portcullis-proxy",
    "portcullis-admin",
    "portcullis-config",
];

/// What `policy` may take from outside: types, a prefix trie, a time zone. No IO, clock, async or serialization.
const POLICY_MAY_USE: &[&str] = &["http", "ipnet", "jiff", "prefix-trie", "thiserror"];

/// Only these may know TOML.
const TOML_BELONGS_TO: &[&str] = &["portcullis-config"];

/// Fails with every import that the tables do not allow.
pub(crate) fn check() -> Result<(), Failure> {
    eprintln!("==> which crate imports which");
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(Failure(format!("`cargo metadata` failed: {}", output.status)));
    }
    let problems = problems(&serde_json::from_slice(&output.stdout)?);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure(format!("imports that are not allowed:\n  {}", problems.join("\n  "))))
    }
}

/// One sentence per import that is not allowed, in cargo's order.
fn problems(metadata: &Value) -> Vec<String> {
    let packages = items(metadata, "packages");
    let members: Vec<&str> = packages.iter().map(|package| text(package, "name")).collect();
    if members.is_empty() {
        return vec!["cargo metadata lists no package".to_owned()];
    }
    packages.iter().flat_map(|package| problems_of(package, &members)).collect()
}

fn problems_of(package: &Value, members: &[&str]) -> Vec<String> {
    let name = text(package, "name");
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(listed, _)| *listed == name) else {
        return vec![format!("{name}: not listed in xtask/src/layering.rs")];
    };
    let imports = items(package, "dependencies").iter().filter(|import| text(import, "kind") != "dev");
    let mut problems = Vec::new();
    for import in imports.map(|import| text(import, "name")) {
        if members.contains(&import) && !allowed.contains(&import) {
            problems.push(format!("{name} imports {import}"));
        }
        if name == "portcullis-policy" && !POLICY_MAY_USE.contains(&import) {
            problems.push(format!("{name} uses {import}: the engine is pure"));
        }
        if matches!(import, "toml" | "toml_edit") && !TOML_BELONGS_TO.contains(&name) {
            problems.push(format!("{name} uses {import}: only config knows TOML"));
        }
    }
    problems
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_case(name: &str, import: &str, kind: Value, expected: &[&str]) {
        let metadata = json!({"packages": [
            {"name": name, "dependencies": [{"name": import, "kind": kind}]},
            {"name": "portcullis-testkit", "dependencies": []},
            {"name": "portcullis-proxy", "dependencies": []},
        ]});
        assert_eq!(problems(&metadata), expected, "{name} -> {import}");
    }

    #[test]
    fn an_import_that_the_table_does_not_allow_is_named() {
        check_case(
            "portcullis-identity",
            "portcullis-proxy",
            Value::Null,
            &["portcullis-identity imports portcullis-proxy"],
        );
        check_case("portcullis", "portcullis-proxy", Value::Null, &[]);
        check_case("portcullis", "portcullis-testkit", Value::Null, &["portcullis imports portcullis-testkit"]);
        check_case("portcullis", "portcullis-testkit", json!("dev"), &[]);
        check_case("portcullis", "portcullis-testkit", json!("build"), &["portcullis imports portcullis-testkit"]);
    }

    #[test]
    fn the_engine_stays_pure_and_toml_stays_in_config() {
        check_case("portcullis-policy", "ipnet", Value::Null, &[]);
        check_case("portcullis-policy", "tokio", Value::Null, &["portcullis-policy uses tokio: the engine is pure"]);
        check_case("portcullis-policy", "proptest", json!("dev"), &[]);
        check_case("portcullis-config", "toml", Value::Null, &[]);
        check_case("portcullis", "toml", Value::Null, &["portcullis uses toml: only config knows TOML"]);
    }

    #[test]
    fn a_crate_that_nobody_placed_fails() {
        check_case("portcullis-new", "http", Value::Null, &["portcullis-new: not listed in xtask/src/layering.rs"]);
        assert_eq!(problems(&json!({})), ["cargo metadata lists no package"]);
    }
}
