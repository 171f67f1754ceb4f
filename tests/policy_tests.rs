//! `test`: a policy held to its cases by the real program.

use std::io::Read as _;
use std::process::{Command, Stdio};

use portcullis_testkit::process::Finished;
use portcullis_testkit::wait::PATIENCE;
use serde_json::{Value, json};

use crate::harness::{Site, portcullis, repository};

const POLICY: &str = r#"
[[network]]
name = "office"
addresses = ["203.0.113.0/24"]
[[role]]
name = "reader"
permissions = [{ actions = ["GET /invoices/**"] }]
[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance"]
scope = "app"
when = { networks = ["office"] }
[[deny]]
name = "no-exports"
principals = ["group:contractors"]
actions = ["GET /invoices/export"]
scope = "*"
"#;

const GOOD: &str = r#"[defaults]
as = "user:alice"
groups = ["finance"]
ip = "203.0.113.7"

[[case]]
name = "finance reads"
request = "GET /invoices/7"
expect = "permit"
rule = "finance-reads"

[[case]]
name = "finance reads in the office only"
request = "GET /invoices/7"
ip = "unknown"
expect = "deny"
reason = "rbac.condition_unmet"
rule = "finance-reads"
status = 403
nearest = ["network:office"]
shadow = false

[[case]]
name = "a path that could be read in two ways"
request = "GET /invoices/../7"
expect = "deny"
reason = "request.path_ambiguous"
status = 400
"#;

const EXPORT: &str = r#"
[[case]]
name = "contractors do not export"
request = "GET /invoices/export"
groups = ["finance", "contractors"]
expect = "deny"
reason = "rbac.explicit_deny"
"#;

/// Two expectations that are not met, on lines 4 and 5.
const BAD: &str = r#"[[case]]
name = "bob <reads> \"it\" & all]]>"
request = "GET /invoices/7"
expect = "permit"
rule = "finance-reads"
as = "user:bob"
ip = "203.0.113.7"
"#;

const SKIPPED: &str = r#"
[[case]]
name = "later"
request = "GET /later"
expect = "permit"
skip = "not <yet> \u0007"
"#;

fn site() -> Site {
    let site = Site::new("http://127.0.0.1:1");
    site.policy(POLICY);
    site
}

fn test(site: &Site, arguments: &[&str]) -> Finished {
    let config = site.write();
    let folder = config.parent().unwrap();
    portcullis().cwd(folder).args(["-c", "portcullis.toml", "test"]).args(arguments).run(PATIENCE)
}

#[track_caller]
fn check(site: &Site, arguments: &[&str], code: i32, last_line: &str) -> Vec<String> {
    let finished = test(site, arguments);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    assert_eq!(finished.stdout.last().map(String::as_str), Some(last_line), "{arguments:?}: {finished:?}");
    finished.stdout
}

fn json_of(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn what_is_as_expected_passes() {
    let site = site();
    site.file("cases.toml", GOOD);
    let said = check(&site, &["cases.toml"], 0, "3 passed, 0 failed, 0 skipped");
    assert_eq!(said[0], "PASS finance reads");
    assert_eq!(said.len(), 4);
    assert_eq!(check(&site, &["cases.toml", "-q"], 0, "3 passed, 0 failed, 0 skipped").len(), 1);
}

#[test]
fn what_is_not_fails_with_its_place_and_the_reason() {
    let site = site();
    site.file("cases.toml", GOOD);
    site.file("bad.toml", &[BAD, SKIPPED].concat());
    let said = check(&site, &["bad.toml", "cases.toml"], 1, "3 passed, 1 failed, 1 skipped");
    assert_eq!(
        said[..7],
        [
            "FAIL bob <reads> \"it\" & all]]> (bad.toml:1)",
            "     bad.toml:4:10: expected permit, got deny rbac.no_matching_grant",
            "     bad.toml:5:8: expected rule `finance-reads`, got no rule",
            "     because  user:bob may not GET /invoices/7: no assignment on route app applies to them; group:finance would \
             allow it (policy.toml:10)",
            "     nearest  group:finance (finance-reads, policy.toml:10)",
            "     nearest  role:reader (finance-reads, policy.toml:10)",
            "SKIP later (bad.toml:9): not <yet> \\u{7}",
        ]
    );
    // Quiet: what failed, and the count.
    assert_eq!(check(&site, &["-q", "bad.toml", "cases.toml"], 1, "3 passed, 1 failed, 1 skipped").len(), 7);
    check(&site, &["bad.toml", "cases.toml", "--fail-fast"], 1, "0 passed, 1 failed, 0 skipped, 4 not run");
    check(&site, &["bad.toml", "cases.toml", "--filter", "finance"], 0, "2 passed, 0 failed, 0 skipped");
}

#[test]
fn each_expectation_can_fail_alone() {
    let site = site();
    let check = |expectation: &str, words: &str| {
        let case = "[[case]]\nname = \"x\"\nrequest = \"GET /invoices/7\"\nas = \"alice\"\ngroups = [\"finance\"]\n";
        site.file("cases.toml", &format!("{case}{expectation}\n"));
        let finished = test(&site, &["cases.toml"]);
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let said = finished.stdout.join("\n");
        assert!(said.contains(words), "{expectation}: {said}");
        assert_eq!(said.matches(": expected ").count(), 1, "{said}");
    };
    let deny = "expect = \"deny\"\n";
    check("expect = \"challenge\"", "cases.toml:6:10: expected challenge, got deny rbac.condition_unmet");
    check(
        &format!("{deny}reason = \"rbac.no_matching_grant\""),
        "cases.toml:7:10: expected deny rbac.no_matching_grant, got deny rbac.condition_unmet",
    );
    check(&format!("{deny}rule = \"x\""), "7:8: expected rule `x`, got assignment `finance-reads` (policy.toml:10)");
    check(&format!("{deny}status = 404"), "7:10: expected status 404, got 403");
    check(
        &format!("{deny}nearest = []"),
        "7:11: expected no suggestion, got the suggestion network:office; role:reader",
    );
    check(
        &format!("{deny}nearest = [\"network:office\", \"role:reader\"]"),
        "expected the suggestion network:office and role",
    );
    check(&format!("{deny}shadow = true"), "7:10: expected a shadow finding, got none");
}

#[test]
fn a_case_that_cannot_be_asked_fails() {
    let mut site = Site::without_route("http://127.0.0.1:1");
    site.add("[[route]]\nname = \"app\"\nhosts = [\"a.test\"]\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"b\"\nhosts = [\"b.test\"]\nupstream = \"app\"\n");
    site.policy(POLICY);
    site.file("cases.toml", GOOD);
    let said = check(&site, &["cases.toml"], 1, "1 passed, 2 failed, 0 skipped");
    assert!(
        said[1].contains("cases.toml:6:1: expected a request that can be asked, got the path leads to app, b"),
        "{said:?}"
    );
    site.file("cases.toml", &GOOD.replace("[defaults]", "[defaults]\nhost = \"a.test\""));
    check(&site, &["cases.toml"], 0, "3 passed, 0 failed, 0 skipped");
}

#[test]
fn a_mistake_in_a_case_file_is_reported_with_its_place() {
    let site = site();
    site.file("cases.toml", &GOOD.replace("reason = ", "raeson = "));
    site.file("other.toml", "x = 1\n");
    let finished = test(&site, &["cases.toml", "other.toml"]);
    assert_eq!((finished.status.code(), finished.stdout.len()), (Some(3), 0), "{finished:?}");
    let said = finished.stderr.join("\n");
    for words in
        ["error[E0103]: unknown key `raeson`", "cases.toml:17:1", "did you mean `reason`?", "other.toml:1:1", "E0401"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let problems = json_of(&test(&site, &["-o", "json", "cases.toml"]));
    assert_eq!((&problems[0]["line"], &problems[0]["column"]), (&json!(17), &json!(1)));
    site.policy("rolle = 1\n");
    assert_eq!(test(&site, &["cases.toml"]).status.code(), Some(3), "a policy with errors is not tested");
}

#[test]
fn nothing_tested_is_never_green() {
    let site = site();
    site.file("cases.toml", GOOD);
    site.file("skipped.toml", SKIPPED);
    site.file("none.toml", "");
    std::fs::create_dir(site.path("empty")).unwrap();
    for (arguments, code, words) in [
        (&["empty"][..], 3, "no case file in this folder"),
        (&["none.toml"], 3, "no case in this file"),
        (&["missing.toml"], 3, "cannot read"),
        (&["cases.toml", "--filter", "fnance"], 2, "no case has `fnance` in its name"),
        (&[], 2, "CASES"),
        (&["cases.toml", "--min", "101"], 2, "101"),
        (&["skipped.toml"], 1, "nothing was tested"),
    ] {
        let finished = test(&site, arguments);
        let said = finished.stderr.join("\n");
        assert!(finished.status.code() == Some(code) && said.contains(words), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn coverage_names_what_no_case_covers_and_may_be_demanded() {
    let site = site();
    site.file("cases.toml", GOOD);
    let last = "3 passed, 0 failed, 0 skipped";
    let said = check(&site, &["cases.toml", "--coverage"], 0, last);
    assert_eq!(
        said[3..],
        [
            "coverage: rules 3/4 (75 %)",
            "  assignments  1/1",
            "  conditions   1/1",
            "  denies       0/1",
            "  permissions  1/1",
            "not covered:",
            "  no case is refused by deny `no-exports` (policy.toml:16)",
            last
        ]
    );
    check(&site, &["cases.toml", "--min", "75"], 0, last);
    let said = check(&site, &["cases.toml", "-q", "--min", "76"], 1, last);
    assert_eq!(said[0], "coverage: rules 3/4 (75.0 %), below the minimum of 76 %");
    assert_eq!(check(&site, &["cases.toml", "-q", "--min", "75"], 0, last), [last]);
    site.file("cases.toml", &[GOOD, EXPORT].concat());
    let said = check(&site, &["cases.toml", "--min", "100"], 0, "4 passed, 0 failed, 0 skipped");
    assert!(said.contains(&"coverage: rules 4/4 (100 %)".to_owned()) && !said.contains(&"not covered:".to_owned()));
}

#[test]
fn the_answer_is_there_as_json_too() {
    let site = site();
    site.file("cases.toml", GOOD);
    site.file("bad.toml", &[BAD, SKIPPED].concat());
    let finished = test(&site, &["-o", "json", "--coverage", "bad.toml", "cases.toml"]);
    assert_eq!(finished.status.code(), Some(1));
    let whole = json_of(&finished);
    let counts = ["passed", "failed", "skipped", "not_run"].map(|key| whole[key].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 1, 0]);
    let failed = &whole["cases"][0];
    assert_eq!((&failed["result"], &failed["file"], &failed["line"]), (&json!("fail"), &json!("bad.toml"), &json!(1)));
    let unmet =
        json!({ "key": "expect", "expected": "permit", "got": "deny rbac.no_matching_grant", "line": 4, "column": 10 });
    assert_eq!(failed["unmet"][0], unmet);
    assert_eq!((&failed["decision"], &failed["status"]), (&json!("deny"), &json!(403)));
    assert_eq!(failed["nearest"][0]["needs"], json!(["group:finance"]));
    assert_eq!((&whole["cases"][1]["result"], &whole["cases"][1]["skip"]), (&json!("skip"), &json!("not <yet> \u{7}")));
    let passed = &whole["cases"][2];
    assert_eq!((&passed["result"], &passed["rule"]["name"]), (&json!("pass"), &json!("finance-reads")));
    let coverage = &whole["coverage"];
    assert_eq!(coverage["rules"], json!({ "covered": 3, "total": 4, "percent": 75 }));
    let missing = &coverage["missing"][0];
    assert_eq!(
        (&missing["kind"], &missing["name"], &missing["line"]),
        (&json!("deny"), &json!("no-exports"), &json!(16))
    );

    let lines = test(&site, &["-o", "jsonl", "bad.toml", "cases.toml"]).stdout;
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert!(lines[..5].iter().all(|line| line["kind"] == "case"));
    assert_eq!(
        (&lines[5]["kind"], &lines[5]["failed"], &lines[5]["coverage"]),
        (&json!("summary"), &json!(1), &Value::Null)
    );
}

#[test]
fn junit_is_xml_that_another_parser_reads() {
    let site = site();
    site.file("cases.toml", GOOD);
    site.file("bad.toml", &[BAD, SKIPPED].concat());
    check(&site, &["bad.toml", "cases.toml", "--coverage", "--junit", "out.xml"], 1, "3 passed, 1 failed, 1 skipped");
    let text = std::fs::read_to_string(site.path("out.xml")).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let root = document.root_element();
    let attributes =
        |node: roxmltree::Node<'_, '_>, keys: [&str; 4]| keys.map(|key| node.attribute(key).unwrap().to_owned());
    let counts = ["tests", "failures", "errors", "skipped"];
    assert_eq!(
        (root.tag_name().name(), attributes(root, counts)),
        ("testsuites", ["5", "1", "0", "1"].map(str::to_owned))
    );
    let suites: Vec<_> = root.children().filter(|node| node.has_tag_name("testsuite")).collect();
    assert_eq!(
        suites.iter().map(|suite| suite.attribute("name").unwrap()).collect::<Vec<_>>(),
        ["bad.toml", "cases.toml"]
    );
    assert_eq!(attributes(suites[0], counts), ["2", "1", "0", "1"]);
    let seconds = |node: roxmltree::Node<'_, '_>| node.attribute("time").unwrap().parse::<f64>().unwrap();
    assert!(suites.iter().all(|suite| seconds(*suite) >= 0.0 && suite.attribute("timestamp").unwrap().ends_with('Z')));
    let property = |name: &str| {
        let found =
            suites[0].descendants().find(|node| node.has_tag_name("property") && node.attribute("name") == Some(name));
        found.and_then(|node| node.attribute("value")).unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    assert_eq!((property("coverage.rules.percent"), property("coverage.denies")), ("75", "0/1"));
    assert_eq!(property("coverage.missing"), "no case is refused by deny `no-exports` (policy.toml:16)");
    let cases: Vec<_> = root.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(cases.len(), 5);
    let keys = ["classname", "name", "file", "line"];
    assert_eq!(attributes(cases[0], keys), ["bad", "bob <reads> \"it\" & all]]>", "bad.toml", "1"]);
    let failure = cases[0].first_element_child().unwrap();
    assert_eq!(failure.tag_name().name(), "failure");
    assert_eq!(failure.attribute("message"), Some("expected permit, got deny rbac.no_matching_grant"));
    assert!(failure.text().unwrap().starts_with("bad.toml:4:10: expected permit, got deny"), "{text}");
    let skipped = cases[1].first_element_child().unwrap();
    assert_eq!((skipped.tag_name().name(), skipped.attribute("message")), ("skipped", Some("not <yet> \u{fffd}")));
    assert!(cases[2..].iter().all(|case| case.first_element_child().is_none()));

    let finished = test(&site, &["cases.toml", "--junit", "nowhere/out.xml"]);
    assert_eq!(finished.status.code(), Some(4), "{finished:?}");
    assert!(finished.stderr.join("\n").contains("cannot write nowhere/out.xml"));
}

#[test]
fn an_answer_that_depends_on_the_day_is_noted_once() {
    let site = site();
    site.file("cases.toml", GOOD);
    let notes = |site: &Site| {
        let notes = test(site, &["cases.toml"]).stderr;
        notes.into_iter().filter(|line| line.starts_with("note: ")).collect::<Vec<_>>()
    };
    assert_eq!(notes(&site), Vec::<String>::new(), "nothing in the policy depends on the time");
    site.policy(&POLICY.replace("when = {", "expires = 2099-01-01T00:00:00Z\nwhen = {"));
    let [note] = &notes(&site)[..] else { panic!("{:?}", notes(&site)) };
    assert!(note.contains("3 cases say no `at`") && note.contains("(cases.toml:6)"), "{note}");
    site.file("cases.toml", &GOOD.replace("[defaults]", "[defaults]\nat = 2026-11-23T10:00:00Z"));
    assert_eq!(notes(&site), Vec::<String>::new());
    site.file("cases.toml", &format!("{BAD}at = 2026-11-23T10:00:00Z\nroles = [\"raeder\"]\n"));
    assert_eq!(notes(&site), ["note: there is no role `raeder` in the policy (cases.toml:1)"]);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let site = site();
    let many: String =
        (0..2_000).map(|number| EXPORT.replace("do not export", &format!("do not export {number}"))).collect();
    site.file("cases.toml", &many.replace("groups", "as = \"alice\"\ngroups"));
    let config = site.write();
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("-c")
        .arg(&config)
        .arg("test")
        .arg(site.path("cases.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""), "the exit status is the answer, whoever reads the rest");
}

#[test]
fn the_shipped_cases_cover_all_of_their_policies() {
    for folder in ["config", "config/examples/quickstart"] {
        let folder = repository(folder);
        let finished = portcullis()
            .cwd(&folder)
            .args(["-c", "portcullis.toml", "test", "policy.tests.toml", "--min", "100"])
            .run(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{}: {finished:?}", folder.display());
        assert!(finished.stderr.is_empty(), "{finished:?}");
    }
}

#[test]
fn the_output_in_the_documentation_is_the_real_one() {
    let page = std::fs::read_to_string(repository("docs/policy.md")).unwrap();
    let section = page.split_once("\n## Testing a policy\n").unwrap().1.split_once("\n## ").unwrap().0;
    let block = |opening: &str| section.split_once(opening).unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.tests.toml"), block("```toml\n")).unwrap();
    let (command, shown) = block("```console\n$ portcullis ").split_once('\n').unwrap();
    let config = repository("config/portcullis.toml");
    let arguments = command.split(' ').map(|word| match word {
        "portcullis.toml" => config.as_os_str(),
        word => word.as_ref(),
    });
    let finished = portcullis().cwd(folder.path()).args(arguments).run(PATIENCE);
    assert_eq!(finished.stdout, shown.lines().collect::<Vec<_>>(), "{finished:?}");
    assert_eq!(finished.status.code(), Some(1));
}
