//! Each code has a page, and the examples on the pages of the lint do what the pages say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::Folder;
use crate::codes::{ALL, LINT_INCOMPLETE};
use crate::pages::{PAGES, nearest, page};
use crate::{Environment, load};

/// The gateway that the examples are for.
const GATEWAY: &str = r#"version = 1
[[listener]]
name = "internal"
address = "127.0.0.1:8080"
[[upstream]]
name = "app"
endpoints = ["http://127.0.0.1:9001"]
[[route]]
name = "billing"
paths = ["/api/**"]
upstream = "app"
[[route]]
name = "catalogue"
paths = ["/api/catalogue/**"]
upstream = "app"
[[route]]
name = "docs"
paths = ["/docs/**"]
upstream = "app"
"#;

/// A clock that stands.
struct Fixed;

impl Environment for Fixed {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn now(&self) -> Option<Timestamp> {
        "2026-11-23T12:00:00Z".parse().ok()
    }
}

#[test]
fn every_code_has_a_page_and_every_page_has_a_code() {
    let known: BTreeSet<&str> = ALL.iter().map(|(code, _)| *code).collect();
    assert_eq!(known.len(), ALL.len(), "a code is there twice");
    let embedded: BTreeSet<&str> = PAGES.iter().map(|(code, _)| *code).collect();
    assert_eq!(known, embedded);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    let files: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(files, known.iter().map(|code| (*code).to_owned()).collect());
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for (code, text) in PAGES {
        assert!(text.starts_with(&format!("# `{code}`: ")), "{code} has another page");
        assert!(index.contains(&format!("| [`{code}`]({code}.md) | ")), "the index has no {code}");
    }
}

#[test]
fn a_page_is_found_by_its_code_and_a_code_by_what_is_like_it() {
    let title = |code: &str| page(code).and_then(|page| page.lines().next());
    assert_eq!(title("E0103"), Some("# `E0103`: a key that nobody reads"));
    assert_eq!(title("w0331"), title("W0331"));
    assert_eq!(title("E9999"), None);
    assert_eq!(nearest("E0113", ["check"]), Some("E0103"));
    assert_eq!(nearest("chek", ["check"]), Some("check"));
    assert_eq!(nearest("frobnicate", ["check"]), None);
}

/// The fenced blocks of TOML, in order.
fn examples(page: &str) -> Vec<String> {
    let after = page.split("```toml\n").skip(1);
    after.filter_map(|rest| rest.split_once("```").map(|(block, _)| block.to_owned())).collect()
}

/// The codes that a policy is told of.
fn codes_of(policy: &str) -> Vec<&'static str> {
    let folder = Folder::new();
    folder.write("portcullis.toml", GATEWAY);
    folder.write("policy.toml", format!("version = 1\n{policy}"));
    let report = match load(&folder.path("portcullis.toml"), &Fixed) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    };
    report.diagnostics().map(|each| each.code).collect()
}

#[test]
fn the_example_of_each_lint_fires_and_its_remedy_is_sound() {
    let mut tried = 0;
    // What it says is that there was too much to say: no example fits on a page.
    for (code, text) in PAGES.iter().filter(|(code, _)| code.starts_with("W03") && *code != LINT_INCOMPLETE) {
        let examples = examples(text);
        assert_eq!(examples.len(), 2, "{code}");
        assert_eq!(codes_of(&examples[0]), [*code], "{code}\n{}", examples[0]);
        assert_eq!(codes_of(&examples[1]), [""; 0], "{code}\n{}", examples[1]);
        tried += 1;
    }
    assert_eq!(tried, 19);
}

#[test]
fn a_warning_of_the_lint_has_its_column() {
    let folder = Folder::new();
    folder.write("portcullis.toml", GATEWAY);
    let policy = "version = 1\n[[resource]]\nroute = \"docs\"\nauthentication = \"required\"\npublic = true\n";
    folder.write("policy.toml", policy);
    folder.check("public", &[("W0332", "policy.toml:5:10", "`public` has no effect")]);
}

#[test]
fn what_keys_and_tokens_bring_is_no_mistake_of_the_policy() {
    let policy = "version = 1\n[[group]]\nname = \"finance\"\nmembers = []\n\
                  [[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /api/x\"] }]\n\
                  [[role]]\nname = \"s\"\npermissions = [{ actions = [\"PUT /api/x\"] }]\n\
                  [[exclusive]]\nname = \"e\"\nroles = [\"r\", \"s\"]\n\
                  [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"group:finance\"]\nscope = \"billing\"\n";
    let with_key = |more: &str| {
        let folder = Folder::new();
        let provider = "[[identity.api_key]]\nname = \"keys\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n";
        folder.write("portcullis.toml", format!("{GATEWAY}{provider}"));
        let sha256 = "ab".repeat(32);
        let key = format!("[[key]]\nid = \"k\"\nsha256 = \"{sha256}\"\nprincipal = \"service:k\"\n");
        folder.write("keys.toml", format!("version = 1\n{key}{more}\n"));
        folder.write("policy.toml", policy);
        folder.problems().into_iter().map(|(code, place, _)| format!("{code} {place}")).collect::<Vec<_>>()
    };
    let (nobody, unheld) = ("W0311 policy.toml:15:8", "W0322 policy.toml:9:8");
    assert_eq!(with_key(""), [unheld, nobody]);
    assert_eq!(with_key("groups = [\"finance\"]"), [unheld]);
    assert_eq!(with_key("roles = [\"s\"]"), [nobody]);
    assert_eq!(with_key("roles = [\"s\"]\ngroups = [\"finance\"]"), ["W0350 policy.toml:12:8"]);
    assert_eq!(with_key("roles = [\"s\"]\nrevoked = true"), [unheld, nobody]);
}

/// Finding of 2026-11: a deny of `user:*` passed `check --strict`, and denied nobody.
#[test]
fn a_star_for_everybody_of_a_kind_is_said_to_be_nobody() {
    let policy = |principals: &str| {
        format!(
            "version = 1\n[[role]]\nname = \"r\"\npermissions = [{{ actions = [\"GET /api/x\"] }}]\n\
             [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:alice\"]\nscope = \"billing\"\n\
             [[deny]]\nname = \"d\"\nprincipals = [{principals}]\nactions = [\"* /**\"]\nscope = \"*\"\n"
        )
    };
    let found = |principals: &str| {
        let folder = Folder::new();
        folder.write("portcullis.toml", GATEWAY);
        folder.write("policy.toml", policy(principals));
        let stars = folder.problems().into_iter().filter(|(code, ..)| *code == "W0211");
        stars.map(|(_, place, said)| format!("{place} {said}")).collect::<Vec<_>>()
    };
    for star in ["user:*", "group:*", "service:*", "user:**"] {
        let said = found(&format!("\"user:bob\", \"{star}\""));
        let [only] = &said[..] else { panic!("{star}: {said:?}") };
        assert!(only.starts_with("policy.toml:12:27 ") && only.contains(&format!("`{star}` is nobody")), "{only}");
        assert!(only.contains("`authenticated`"), "{only}");
    }
    for other in ["authenticated", "anyone", "user:a*", "certificate:*.example.com"] {
        assert_eq!(found(&format!("\"{other}\"")), [""; 0], "{other}");
    }
}

/// Accidental deletion: the whole entry, and not its members alone.
#[test]
fn a_group_that_was_deleted_whole_is_nobodys_where_no_provider_brings_groups() {
    let policy = "version = 1\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /api/x\"] }]\n\
                  [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"group:finance\"]\nscope = \"billing\"\n";
    let with = |provider: &str, groups: &str| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}{provider}"));
        folder.write("policy.toml", policy);
        folder.write("keys.json", include_str!("../../../../config/jwks.json"));
        let sha256 = "ab".repeat(32);
        let key = format!("[[key]]\nid = \"k\"\nsha256 = \"{sha256}\"\nprincipal = \"service:k\"\n");
        folder.write("keys.toml", format!("version = 1\n{key}groups = [{groups}]\n"));
        let problems = folder.problems().into_iter();
        problems
            .map(|(code, place, _)| format!("{code} {place}"))
            .filter(|line| line.contains("policy"))
            .collect::<Vec<_>>()
    };
    let keys = "[[identity.api_key]]\nname = \"keys\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n";
    assert_eq!(with(keys, ""), ["W0311 policy.toml:6:8"]);
    assert_eq!(with(keys, "\"finance\""), [""; 0], "a key carries it");
    assert_eq!(with("", ""), [""; 0], "nobody is known at all yet");
    let tokens = "[[identity.jwt]]\nname = \"login\"\nissuer = \"https://a\"\naudiences = [\"a\"]\njwks = { file = \"keys.json\" }\n";
    assert_eq!(with(&[keys, tokens].concat(), ""), [""; 0], "a token may bring it");
}

#[test]
fn an_exclusive_that_makes_no_sense_is_refused_where_it_stands() {
    use super::check_policy as check;
    let role = "[[role]]\nname = \"r\"\n[[role]]\nname = \"s\"\ninherits = [\"r\"]\n";
    let set = |more: &str| format!("{role}[[exclusive]]\nname = \"e\"\n{more}\n");
    check(&set("roles = [\"r\"]"), ("E0301", 7, 8, "fewer than two roles"));
    check(&set("roles = [\"r\", \"t\"]"), ("E0202", 8, 15, "there is no role named `t`"));
    check(&set("roles = [\"r\", \"s\"]"), ("E0301", 8, 15, "whoever holds `s` holds r, s"));
    check(&set("roles = [\"r\", \"s\"]\nmax = 2"), ("E0301", 9, 7, "`max = 2` of 2 roles"));
    let apart = set("roles = [\"r\", \"s\"]\nmax = 0").replace("inherits = [\"r\"]", "");
    check(&apart, ("E0105", 9, 7, "from 1 to 63"));
    check(&set(""), ("E0102", 6, 1, "`roles` is missing in [[exclusive]]"));
}

#[test]
fn what_has_expired_is_known_only_where_there_is_a_clock() {
    let (_, expired) = PAGES.iter().find(|(code, _)| *code == "W0310").unwrap();
    let folder = Folder::new();
    folder.write("portcullis.toml", GATEWAY);
    folder.write("policy.toml", format!("version = 1\n{}", examples(expired)[0]));
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    assert!(load(&folder.path("portcullis.toml"), &nothing).unwrap().warnings.is_empty());
}
