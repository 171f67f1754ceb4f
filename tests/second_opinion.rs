//! Other people's examples of access control as decision cases: that each names its source, that the page about them
//! counts them right, and that the AuthZEN table is there as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::harness::repository;

/// The folders of `tests/decisions` that are translations, as the page lists them.
const WORLDS: [&str; 5] = ["nist-rbac", "azure-rbac", "authzen-todo", "kubernetes-rbac", "aws-iam-evaluation"];

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    request: String,
    #[serde(rename = "as")]
    principal: Option<String>,
    expect: String,
}

/// A case file's blocks: what stands between one blank line and the next.
fn blocks(world: &str) -> Vec<String> {
    let text = fs::read_to_string(repository(&format!("tests/decisions/{world}/cases.toml"))).unwrap();
    text.split("\n\n").filter(|block| block.contains("[[case]]")).map(str::to_owned).collect()
}

/// How many cases there are, and how many of them say that the source decides otherwise.
fn count(world: &str) -> (usize, usize) {
    let blocks = blocks(world);
    (blocks.len(), blocks.iter().filter(|block| block.contains("# differs: ")).count())
}

#[test]
fn every_translated_case_names_its_source() {
    for world in WORLDS {
        for block in blocks(world) {
            assert!(block.starts_with("# source: "), "{world}: a case without its source:\n{block}");
            assert_eq!(block.matches("[[case]]").count(), 1, "{world}: cases are apart by a blank line:\n{block}");
        }
    }
}

#[test]
fn the_page_counts_the_cases_right() {
    let page = fs::read_to_string(repository("docs/second-opinion.md")).unwrap();
    let mut total = (0, 0);
    for world in WORLDS {
        let (cases, differing) = count(world);
        total = (total.0 + cases, total.1 + differing);
        let row = page.lines().find(|line| line.starts_with(&format!("| `{world}` |")));
        let expected = format!("| {cases} | {} | {differing} |", cases - differing);
        assert!(row.is_some_and(|row| row.ends_with(&expected)), "{world}: {row:?} should end in `{expected}`");
    }
    let expected = format!("| all | | {} | {} | {} |", total.0, total.0 - total.1, total.1);
    assert!(page.lines().any(|line| line == expected), "the page should have the row `{expected}`");
    assert!(total.0 - total.1 >= 150, "there are only {total:?} cases");
}

/// Decisions by subject and request, as the case file says them.
fn todo_cases() -> BTreeMap<(String, String), bool> {
    let text = fs::read_to_string(repository("tests/decisions/authzen-todo/cases.toml")).unwrap();
    let cases: Cases = toml::from_str(&text).unwrap();
    let mut decisions = BTreeMap::new();
    for case in cases.case {
        let subject = case.principal.unwrap().strip_prefix("user:").unwrap().to_owned();
        let before = decisions.insert((subject, case.request), case.expect == "permit");
        assert_eq!(before, None, "{}: the table has it once", case.name);
    }
    decisions
}

/// The request that a decision of the table maps to; the mapping stands at the top of the case file.
fn mapped(request: &Value) -> (String, String) {
    let (subject, resource) = (&request["subject"], &request["resource"]);
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("not a text in {request}")).to_owned();
    let todo = || format!("/todos/{}/{}", text(&resource["ownerID"]), text(&resource["id"]));
    let target = match text(&request["action"]["name"]).as_str() {
        "can_read_user" => format!("GET /users/{}", text(&resource["userID"])),
        "can_read_todos" => "GET /todos".to_owned(),
        "can_create_todo" => "POST /todos".to_owned(),
        "can_update_todo" => format!("PUT {}", todo()),
        "can_delete_todo" => format!("DELETE {}", todo()),
        other => panic!("an action that is not mapped: {other}"),
    };
    (text(&subject["id"]), target)
}

/// The published table is no part of this repository: it is compared where it lies beside it, or where
/// `PORTCULLIS_SHARED_DATA` says.
#[test]
fn the_authzen_table_is_covered_as_a_whole() {
    let shared = std::env::var_os("PORTCULLIS_SHARED_DATA").map_or_else(|| repository("../shared/data"), PathBuf::from);
    let table = shared.join("authzen/todo_decisions.json");
    let cases = todo_cases();
    assert_eq!(cases.len(), 40);
    let Ok(text) = fs::read_to_string(&table) else {
        println!("NOT CHECKED against the published table: there is no {}", table.display());
        return;
    };
    let table: Value = serde_json::from_str(&text).unwrap();
    let decisions = table["decisions"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for decision in decisions {
        let request = mapped(&decision["request"]);
        assert_eq!(cases.get(&request).copied(), decision["expected"].as_bool(), "{request:?}");
        seen.insert(request);
    }
    assert_eq!(seen.len(), cases.len(), "a case that is not in the table");
}
