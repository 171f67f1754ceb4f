//! Case files: what is read, and what is wrong with them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portcullis_events::ReasonCode;
use portcullis_policy::{CountryCode, Outcome, PrincipalKind, RiskLevel, StatedFacts};

use crate::{CaseFile, Report, load_cases};

/// The least case.
const LEAST: &str = "[[case]]\nname = \"a\"\nrequest = \"GET /\"\nexpect = \"permit\"\n";
/// How many lines it has: what is appended to it begins on the next one.
const LEAST_LINES: usize = 4;

struct Cases {
    folder: tempfile::TempDir,
}

impl Cases {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let cases = Self { folder: tempfile::tempdir().unwrap() };
        cases.write("cases.toml", text);
        cases
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, names: &[&str]) -> Result<Vec<CaseFile>, Report> {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        load_cases(&paths, &BTreeMap::<String, String>::new())
    }

    fn loaded(&self) -> CaseFile {
        let mut files = self.load(&["cases.toml"]).unwrap_or_else(|report| panic!("{}", report.render_human(false)));
        files.remove(0)
    }

    /// Code, `line:column`, and the message followed by the remedy.
    fn problems(&self, names: &[&str]) -> Vec<(&'static str, String, String)> {
        let Err(report) = self.load(names) else { return Vec::new() };
        let problems = report.diagnostics().map(|problem| {
            let position = report.position(problem.primary);
            let text = format!("{}; {}", problem.message, problem.help.as_deref().unwrap_or(""));
            (problem.code, format!("{}:{}", position.line, position.column), text)
        });
        problems.collect()
    }
}

/// Checks the one problem of a file.
#[track_caller]
fn check(text: &str, code: &str, line: usize, column: usize, fragment: &str) {
    let found = Cases::new(text).problems(&["cases.toml"]);
    let [(found_code, place, said)] = &found[..] else { panic!("{text}\n{found:#?}") };
    assert_eq!((*found_code, place.as_str()), (code, format!("{line}:{column}").as_str()), "{text}\n{said}");
    assert!(said.contains(fragment), "{text}\n{said}");
}

/// Checks the one problem in what is appended to the least case; the line counts from the appended text.
#[track_caller]
fn check_key(appended: &str, code: &str, column: usize, fragment: &str) {
    check(&format!("{LEAST}{appended}\n"), code, LEAST_LINES + 1, column, fragment);
}

/// The same for a case that expects a denial.
#[track_caller]
fn check_denial(appended: &str, code: &str, column: usize, fragment: &str) {
    let least = LEAST.replace("permit", "deny");
    check(&format!("{least}{appended}\n"), code, LEAST_LINES + 1, column, fragment);
}

#[test]
fn every_key_is_read_with_its_place() {
    let file = Cases::new(
        r#"version = 1

[[case]]
name = "contractors, and only they, do not export"
request = "GET /api/export?x=1"
host = "Billing.Internal."
as = "service:robot"
groups = ["contractors"]
roles = ["reader", "writer"]
ip = "203.0.113.7"
country = "de"
device = "noncompliant"
assurance = "mfa"
risk = "medium"
at = 2026-11-23T10:00:00+01:00
expect = "deny"
reason = "rbac.explicit_deny"
rule = "contractors-do-not-export"
status = 403
nearest = ["role:x", "assurance:mfa"]
shadow = false
skip = "until the desk moves"
"#,
    )
    .loaded();
    let [case] = &file.cases[..] else { panic!("{file:?}") };
    assert_eq!(case.name, "contractors, and only they, do not export");
    assert_eq!((case.method.as_str(), case.url.as_str(), case.at.line), ("GET", "/api/export?x=1", 3));
    let facts = StatedFacts {
        principal: Some((PrincipalKind::Service, "robot".into())),
        groups: vec!["contractors".into()],
        roles: vec!["reader".into(), "writer".into()],
        activated: Vec::new(),
        host: Some("billing.internal".into()),
        ip: Some("203.0.113.7".parse().unwrap()),
        country: CountryCode::parse("DE"),
        compliant_device: Some(false),
        fresh_mfa: true,
        authenticated_s: None,
        risk: Some(RiskLevel::Medium),
        at: Some("2026-11-23T09:00:00Z".parse().unwrap()),
    };
    assert_eq!(case.facts, facts);
    assert_eq!((case.outcome.value, case.outcome.at.line, case.outcome.at.column), (Outcome::Deny, 16, 10));
    let reason = case.reason.as_ref().unwrap();
    assert_eq!((reason.value, reason.at.line), (ReasonCode::RbacExplicitDeny, 17));
    assert_eq!(
        case.rule.as_ref().map(|rule| (rule.value.as_str(), rule.at.line)),
        Some(("contractors-do-not-export", 18))
    );
    assert_eq!(case.status.as_ref().map(|status| (status.value, status.at.line)), Some((403, 19)));
    let nearest = case.nearest.as_ref().unwrap();
    assert_eq!(nearest.value.iter().map(String::as_str).collect::<Vec<_>>(), ["assurance:mfa", "role:x"]);
    assert_eq!(case.shadow.as_ref().map(|shadow| (shadow.value, shadow.at.line)), Some((false, 21)));
    assert_eq!(case.skip.as_deref(), Some("until the desk moves"));

    let least = Cases::new(LEAST).loaded();
    assert_eq!(least.cases[0].facts, StatedFacts::default());
    assert!(least.cases[0].reason.is_none() && least.cases[0].nearest.is_none() && least.cases[0].skip.is_none());
}

#[test]
fn defaults_fill_what_a_case_leaves_out() {
    let file = Cases::new(
        r#"[defaults]
host = "a.test"
as = "user:alice"
groups = ["finance"]
ip = "203.0.113.7"
country = "DE"
device = "compliant"
assurance = "mfa"
risk = "low"
at = 2026-11-23T10:00:00Z

[[case]]
name = "takes all"
request = "GET /"
expect = "permit"

[[case]]
name = "says all"
request = "GET /"
host = "b.test"
as = "bob"
groups = []
ip = "unknown"
country = "unknown"
device = "unknown"
assurance = "none"
risk = "high"
at = 2026-11-24T10:00:00Z
expect = "permit"

[[case]]
name = "is nobody"
request = "GET http://c.test/"
as = "anyone"
expect = "permit"
"#,
    )
    .loaded();
    let facts: Vec<&StatedFacts> = file.cases.iter().map(|case| &case.facts).collect();
    let moment = |text: &str| Some(text.parse().unwrap());
    let all = StatedFacts {
        principal: Some((PrincipalKind::User, "alice".into())),
        groups: vec!["finance".into()],
        roles: Vec::new(),
        activated: Vec::new(),
        host: Some("a.test".into()),
        ip: Some("203.0.113.7".parse().unwrap()),
        country: CountryCode::parse("DE"),
        compliant_device: Some(true),
        fresh_mfa: true,
        authenticated_s: None,
        risk: Some(RiskLevel::Low),
        at: moment("2026-11-23T10:00:00Z"),
    };
    assert_eq!(facts[0], &all);
    let own = StatedFacts {
        principal: Some((PrincipalKind::User, "bob".into())),
        host: Some("b.test".into()),
        risk: Some(RiskLevel::High),
        at: moment("2026-11-24T10:00:00Z"),
        ..StatedFacts::default()
    };
    assert_eq!(facts[1], &own);
    // Nobody is in a group, and the URL names the host.
    let nobody = StatedFacts {
        principal: None,
        groups: Vec::new(),
        host: None,
        compliant_device: None,
        fresh_mfa: false,
        authenticated_s: None,
        ..all.clone()
    };
    assert_eq!(facts[2], &nobody);
}

#[test]
fn each_mistake_has_its_place_and_remedy() {
    check("[[case]]\nrequest = \"GET /\"\nexpect = \"permit\"\n", "E0102", 1, 1, "add `name`");
    check("[[case]]\nname = \"a\"\nexpect = \"permit\"\n", "E0102", 1, 1, "add `request`: a method and a path");
    check("[[case]]\nname = \"a\"\nrequest = \"GET /\"\n", "E0102", 1, 1, "add `expect`: \"permit\"");
    check_key("groops = [\"a\"]", "E0103", 1, "did you mean `groups`?");
    check_key("groups = \"a\"", "E0104", 10, "write it in brackets");
    check_key("as = \"wizard:merlin\"", "E0105", 6, "`wizard` is not a kind of principal");
    check_key("as = \"group:finance\"", "E0105", 6, "groups = [\"finance\"]");
    check_key("as = \"user:\"", "E0105", 6, "has no id");
    check_key("as = 7", "E0104", 6, "expected a string");
    check_key("groups = [\"a\"]", "E0203", 10, "say who it is with `as`");
    check_key("roles = [\"a\"]", "E0203", 9, "an anonymous caller has no `roles`");
    check_key("device = \"compliant\"", "E0203", 10, "an anonymous caller has no `device`");
    check_key("assurance = \"mfa\"", "E0203", 13, "an anonymous caller has no `assurance`");
    check_key("host = \"a b\"", "E0105", 8, "expected a host");
    check_key("ip = \"10.0.0.0/8\"", "E0105", 6, "one address, without a length");
    check_key("ip = \"localhost\"", "E0105", 6, "expected an address");
    check_key("country = \"Germany\"", "E0105", 11, "two letters");
    check_key("device = \"complaint\"", "E0105", 10, "did you mean \"compliant\"?");
    check_key("assurance = \"otp\"", "E0105", 13, "\"mfa\" or \"none\"");
    check_key("risk = \"mid\"", "E0105", 8, "\"low\", \"medium\" or \"high\"");
    check_key("at = 2026-11-23T10:00:00", "E0105", 6, "add the offset from UTC");
    check_key("at = \"yesterday\"", "E0105", 6, "RFC 3339");
    check_key("shadow = \"true\"", "E0104", 10, "without quotes");
    check_key("skip = \"\"", "E0105", 8, "must not be empty");
    check_key("rule = \"${NOTHING}\"", "E0107", 9, "NOTHING");
    check_denial("reason = \"rbac.explicit_dney\"", "E0105", 10, "did you mean `rbac.explicit_deny`?");
    check_denial("reason = \"nonsense\"", "E0105", 10, "docs/denials");
    check_denial("status = 200", "E0105", 10, "from 400 to 599");
    check_denial("status = \"403\"", "E0104", 10, "without quotes");
    check_denial("nearest = [\"rule:x\"]", "E0105", 12, "did you mean `role`?");
    check_denial("nearest = [\"role:\"]", "E0105", 12, "a change such as");
    check_denial("nearest = \"role:x\"", "E0104", 11, "in brackets");
    check(&LEAST.replace("permit", "allow"), "E0105", 4, 10, "\"permit\", \"deny\"");
    for (request, fragment) in [
        ("GET", "a method and a path"),
        ("/a", "write the method, too: \"GET /a\""),
        ("GET a", "a path begins with a slash"),
        ("GET,POST /a", "is not a method"),
        ("* /a", "is not a method"),
        (" /a", "is not a method"),
        ("GET ftp://a/", "not http or https"),
        ("GET http://a b/", "not a host"),
    ] {
        check(&LEAST.replace("GET /", request), "E0105", 3, 11, fragment);
    }
    check(&LEAST.replace("\"a\"", "\"a\\nb\""), "E0105", 2, 8, "control character");
    check(&LEAST.replace("\"a\"", &format!("\"{}\"", "a".repeat(257))), "E0105", 2, 8, "longer than 256");
    check(
        "version = 2\n[[case]]\nname = \"a\"\nrequest = \"GET /\"\nexpect = \"permit\"\n",
        "E0109",
        1,
        11,
        "version 1",
    );
    check(&format!("[[role]]\nname = \"x\"\n{LEAST}"), "E0103", 1, 3, "unknown key `role`");
    check(&LEAST.replace("[[case]]", "[case]"), "E0104", 1, 1, "two brackets");
    check(&format!("{LEAST}x = yes\n"), "E0101", 5, 5, "");
}

#[test]
fn what_contradicts_itself_is_refused_before_it_is_asked() {
    check_key("reason = \"rbac.explicit_deny\"", "E0203", 10, "a permit has no `reason`");
    check_key("status = 403", "E0203", 10, "a permit has no `status`");
    check_key("nearest = []", "E0203", 11, "a permit has no `nearest`");
    check_denial("reason = \"authn.missing\"", "E0203", 10, "it goes with `expect = \"challenge\"`");
    check_denial("reason = \"step_up.required\"", "E0203", 10, "it goes with `expect = \"step_up\"`");
    check_denial("reason = \"upstream.timeout\"", "E0203", 10, "no case can expect it");
    let url = LEAST.replace("GET /", "GET http://a.test/");
    check(&format!("{url}host = \"b.test\"\n"), "E0203", 5, 8, "keep one of the two");
    check(&format!("{LEAST}{}", LEAST.replace("permit", "deny")), "E0201", 6, 8, "two cases are named `a`");
    check(&format!("[defaults]\nexpect = \"deny\"\n{LEAST}"), "E0103", 2, 1, "each case says this itself");
    check(&format!("[defaults]\nas = \"anyone\"\ngroups = [\"a\"]\n{LEAST}"), "E0203", 3, 10, "no `groups`");
    check(&format!("[defaults]\nipp = \"unknown\"\n{LEAST}"), "E0103", 2, 1, "did you mean `ip`?");
}

#[test]
fn a_file_or_folder_without_a_case_is_an_error() {
    check("", "E0401", 1, 1, "a case begins with [[case]]");
    check("version = 1\n[defaults]\nas = \"bob\"\n", "E0401", 1, 1, "no case in this file");
    check("case = []\n", "E0401", 1, 1, "no case in this file");
    let cases = Cases::new(LEAST);
    std::fs::create_dir(cases.path("empty")).unwrap();
    std::fs::create_dir_all(cases.path("deep/below.toml")).unwrap();
    cases.write("empty/notes.txt", "x");
    cases.write("empty/.hidden.toml", LEAST);
    cases.write("deep/below.toml/cases.toml", LEAST);
    for (names, code, fragment) in [
        (&["empty"][..], "E0401", "no case file in this folder"),
        (&["cases.toml", "empty"], "E0401", "no case file in this folder"),
        (&["deep"], "E0401", "not for those in folders below"),
        (&["missing.toml"], "E0100", "cannot read"),
    ] {
        let found = cases.problems(names);
        assert!(found.len() == 1 && found[0].0 == code && found[0].2.contains(fragment), "{names:?}: {found:#?}");
    }
}

#[test]
fn a_folder_is_its_files_by_name_and_a_file_is_read_once() {
    let cases = Cases::new(LEAST);
    std::fs::create_dir(cases.path("folder")).unwrap();
    for name in ["b.toml", "a.toml", "c.toml"] {
        cases.write(&format!("folder/{name}"), LEAST);
    }
    let files = cases.load(&["folder/c.toml", "folder", "cases.toml", "./folder/../cases.toml"]).unwrap();
    let names: Vec<String> =
        files.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    // One name may be in several files.
    assert_eq!(names, ["c.toml", "a.toml", "b.toml", "cases.toml"]);
}

#[test]
fn the_problems_of_all_files_are_found_in_one_run() {
    let cases = Cases::new(LEAST.replace("expect", "expcet"));
    cases.write("other.toml", LEAST.replace("permit", "alow"));
    let codes: Vec<&str> = cases.problems(&["cases.toml", "other.toml"]).into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, ["E0103", "E0105"]);
}

#[test]
fn more_cases_than_the_bound_are_refused_at_the_first_too_many() {
    let case = |number: usize| format!("[[case]]\nname = \"{number}\"\nrequest = \"GET /\"\nexpect = \"permit\"\n");
    let most = crate::cases::MAX_CASES;
    let text: String = (0..most).map(case).collect();
    let cases = Cases::new(&text);
    assert_eq!(cases.loaded().cases.len(), most);
    // The bound is that of all files together.
    cases.write("more.toml", case(0));
    let found = cases.problems(&["cases.toml", "more.toml"]);
    assert!(found.len() == 1 && found[0].1 == "1:1" && found[0].2.contains("more than 100000 cases"), "{found:#?}");
}
