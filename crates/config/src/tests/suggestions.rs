//! What an audit suggests to write, written: it must come to the very policy that was tried, and lose nothing of what it replaces.

use std::fmt::Write as _;

use jiff::Timestamp;
use portcullis_insight::AuditSettings;
use portcullis_insight::audit::{
    Endless, Finding, History, Input, KnownPrincipals, PolicyText, PolicyWriters, Report, Strangers, Usage, audit,
};
use portcullis_policy::{LintFacts, Policy, PolicyDraft, Principal};
use proptest::prelude::*;
use toml::{Table, Value};

use super::{Folder, GATEWAY};
use crate::PolicyFiles;

/// 2026-11-23, a Monday, at noon.
const NOW: i64 = 1_795_435_200;
const DAY: i64 = 86_400;

/// One assignment, with each of its keys or without.
#[derive(Debug, Clone)]
struct Granted {
    role: usize,
    users: Vec<usize>,
    group: bool,
    scope: usize,
    when: Vec<bool>,
    activation: Option<(u64, bool, bool, u8, bool)>,
    shadow: bool,
    starts: bool,
    expires: usize,
}

const ROLES: &str = r#"
[[network]]
name = "office"
addresses = ["198.51.100.0/24", "10.0.0.0/8"]

[[role]]
name = "reader"
permissions = [{ actions = ["GET,HEAD /a/**", "PUT /b"], not_actions = ["GET /a/secret"] }]

[[role]]
name = "writer"
inherits = ["reader"]
permissions = [{ actions = ["POST,DELETE /a/{id}"] }, { actions = ["* /c/**"], not_actions = ["DELETE /c/x", "PUT /c/y"] }]

[[role]]
name = "root"
permissions = [{ actions = ["* /**"] }]

[[group]]
name = "staff"
members = ["user:u0", "user:u1", "user:u2", "group:temps"]

[[group]]
name = "temps"
members = ["user:u3"]
"#;
const ROLE_NAMES: [&str; 3] = ["reader", "writer", "root"];
const ACTIONS: [&str; 6] = ["GET /a/**", "HEAD /a/**", "PUT /b", "POST /a/*", "GET /c/**", "GET /**"];

fn granted() -> impl Strategy<Value = Granted> {
    let activation = (1_u64..100_000, any::<bool>(), any::<bool>(), 0_u8..3, any::<bool>());
    (
        (0..3_usize, prop::collection::vec(0..6_usize, 0..4), any::<bool>(), 0..3_usize),
        prop::collection::vec(prop::bool::weighted(0.3), 7),
        prop::option::weighted(0.3, activation),
        prop::bool::weighted(0.2),
        any::<bool>(),
        0..3_usize,
    )
        .prop_map(|((role, users, group, scope), when, activation, shadow, starts, expires)| Granted {
            role,
            users,
            group,
            scope,
            when,
            activation,
            shadow,
            starts,
            expires,
        })
}

/// As somebody writes it.
fn written(number: usize, granted: &Granted) -> String {
    let Granted { role, users, group, scope, when, activation, shadow, starts, expires } = granted;
    let mut names: Vec<String> = users.iter().map(|user| format!("user:u{user}")).collect();
    names.extend(group.then(|| "group:staff".to_owned()));
    if names.is_empty() {
        names.push("user:gone".to_owned());
    }
    names.sort();
    names.dedup();
    let scope = ["\"*\"", "\"billing\"", "[\"billing\", \"other\"]"][*scope];
    let mut text = format!(
        "\n[[assignment]]\nname = \"grant {number} \\\"quoted\\\"\"\nrole = \"{}\"\nprincipals = {names:?}\nscope = {scope}\n",
        ROLE_NAMES[*role]
    );
    let keys = [
        "networks = \"office\"",
        "hours = \"Mon-Fri 08:00-18:00 Europe/Berlin\"",
        "countries = [\"DE\", \"AT\"]",
        "device = \"compliant\"",
        "assurance = \"mfa\"",
        "max_age = \"15m\"",
        "max_risk = \"low\"",
    ];
    let keys: Vec<&str> = keys.iter().zip(when).filter(|(_, written)| **written).map(|(key, _)| *key).collect();
    if !keys.is_empty() {
        let _ = writeln!(text, "when = {{ {} }}", keys.join(", "));
    }
    if let Some((max, justification, ticket, approvals, by_oneself)) = activation {
        let choice = |required: bool| if required { "required" } else { "optional" };
        let _ = writeln!(
            text,
            "activation = {{ max = \"{max}s\", justification = \"{}\", ticket = \"{}\", approvals = {approvals}, self = {by_oneself} }}",
            choice(*justification),
            choice(*ticket)
        );
    }
    if *shadow {
        text.push_str("mode = \"shadow\"\n");
    }
    if *starts {
        text.push_str("starts = 2026-01-01T00:00:00Z\n");
    }
    // Never, one day, and long ago.
    text.push_str(["", "expires = 2027-05-01T12:00:00.5+02:00\n", "expires = 2026-11-01T00:00:00Z\n"][*expires]);
    text
}

fn loaded(policy: &str) -> PolicyDraft {
    read(policy, &[]).0
}

/// What a policy says, with other files beside it; and its files, as suggestions are put in place there.
fn read(policy: &str, beside: &[(&str, &str)]) -> (PolicyDraft, PolicyFiles) {
    let folder = Folder::new();
    let other = "[[route]]\nname = \"other\"\nupstream = \"billing\"\nhosts = [\"o.test\"]\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{other}"));
    folder.write("policy.toml", policy);
    beside.iter().for_each(|(name, text)| folder.write(name, text));
    let loaded = folder.loaded();
    let files = PolicyFiles::of(&folder.path("portcullis.toml"), &loaded.governed).unwrap();
    (loaded.draft, files)
}

/// Some of the users used something, and of some nobody knows who they are.
fn audited((draft, files): &(PolicyDraft, PolicyFiles), uses: &[(usize, usize, i64)], nobody: bool) -> Report {
    let (policy, _) = Policy::compile(draft).unwrap();
    let mut usage = Usage::beginning(NOW - 100 * DAY);
    (0..=100 * DAY / 60).for_each(|beat| {
        // Somebody asks now and then, so that this counts as observed.
        if beat % 1_440 == 0 {
            usage.note(Some(&Principal::user("other")), ("billing", "GET /z"), true, 1, NOW - 100 * DAY + 60 * beat);
        }
        usage.beat(NOW - 100 * DAY + 60 * beat);
    });
    for (user, action, days) in uses {
        let who = Principal::user(&format!("u{user}"));
        usage.note(Some(&who), ("billing", ACTIONS[*action]), true, 1, NOW - days * DAY);
    }
    let open = vec![(portcullis_policy::PrincipalKind::User, String::new())];
    let known = KnownPrincipals { open: if nobody { Vec::new() } else { open }, ..KnownPrincipals::default() };
    audit(
        &Input {
            draft,
            policy: &policy,
            usage: &usage,
            sample: None,
            history: &History::of_one(draft, NOW - 400 * DAY),
            known: &known,
            break_glass: None,
            activations: None,
            writers: &PolicyWriters::default(),
            lint: &LintFacts { now: Some(Timestamp::from_second(NOW).unwrap()), ..LintFacts::default() },
            settings: &AuditSettings { keep_share: 0.5, ..AuditSettings::default() },
            suppressions: &[],
            persons: &Strangers,
            before: None,
            text: files,
            patience: &Endless,
            now: Timestamp::from_second(NOW).unwrap(),
        },
        &|| {},
    )
}

/// The file with a suggestion done: each table in place of the one of its name, and what its comments say.
fn done(policy: &str, suggestion: &str) -> String {
    let mut file: Table = policy.parse().unwrap();
    for line in suggestion.lines().filter_map(|line| line.strip_prefix("# ")) {
        if let Some(rest) = line.strip_prefix("remove [[assignment]] ") {
            let name = rest.strip_suffix(": nobody is left in it").unwrap_or(rest);
            of(&mut file, "assignment").retain(|entry| entry["name"].as_str() != Some(name));
            continue;
        }
        let (kind, rest) = line.strip_prefix("[[").and_then(|rest| rest.split_once("]] ")).unwrap();
        let (name, what) = rest.rsplit_once(": take ").unwrap();
        let (value, from) = what.split_once(" out of ").unwrap();
        let key = from.split('`').nth(1).unwrap();
        let value: Value = format!("v = {value}").parse::<Table>().unwrap()["v"].clone();
        let entry = of(&mut file, kind).iter_mut().find(|entry| entry["name"].as_str() == Some(name)).unwrap();
        entry.get_mut(key).unwrap().as_array_mut().unwrap().retain(|each| *each != value);
    }
    let tables: Table = suggestion.parse().unwrap_or_else(|error| panic!("{error}: {suggestion}"));
    for (kind, entries) in tables {
        for entry in entries.as_array().unwrap() {
            let all = of(&mut file, &kind);
            match all.iter_mut().find(|each| each["name"] == entry["name"]) {
                Some(each) => *each = entry.clone(),
                None => all.push(entry.clone()),
            }
        }
    }
    toml::to_string(&file).unwrap()
}

fn of<'f>(file: &'f mut Table, kind: &str) -> &'f mut Vec<Value> {
    let entry = file.entry(kind).or_insert_with(|| Value::Array(Vec::new()));
    entry.as_array_mut().unwrap()
}

/// All that a draft says, without where: an entry each, in the order of their texts. An assignment of nobody says nothing.
fn said(draft: &PolicyDraft) -> Vec<String> {
    let place = regex_lite::Regex::new(r"Position \{[^}]*\}").unwrap();
    let mut said: Vec<String> = Vec::new();
    said.extend(draft.networks.iter().map(|each| format!("{each:?}")));
    said.extend(draft.roles.iter().map(|each| format!("{each:?}")));
    said.extend(draft.groups.iter().map(|each| format!("{each:?}")));
    said.extend(draft.assignments.iter().filter(|each| !each.principals.is_empty()).map(|each| format!("{each:?}")));
    let mut said: Vec<String> = said.iter().map(|each| place.replace_all(each, "").into_owned()).collect();
    said.sort();
    said
}

fn check(policy: &str, draft: &PolicyDraft, finding: &Finding) -> bool {
    let (Some(suggestion), Some(tried)) = (&finding.recommendation.toml, finding.tried(draft)) else { return false };
    let written = done(policy, suggestion);
    assert_eq!(said(&loaded(&written)), said(&tried), "{}\n{suggestion}", finding.message);
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_suggested_comes_to_what_was_tried(
        grants in prop::collection::vec(granted(), 1..5),
        uses in prop::collection::vec((0..4_usize, 0..ACTIONS.len(), prop::sample::select(vec![1_i64, 50, 95])), 0..20),
        nobody in any::<bool>(),
    ) {
        // Whoever used something is somebody.
        let is_unseen = |user: &usize| uses.iter().all(|(seen, ..)| seen != user);
        let names_nobody = |grant: &Granted| grant.users.iter().any(is_unseen) || (grant.users.is_empty() && !grant.group);
        let finds_nobody = nobody && grants.iter().any(names_nobody);
        let grants: String = grants.iter().enumerate().map(|(number, grant)| written(number, grant)).collect();
        let policy = format!("version = 1\n{ROLES}{grants}");
        let site = read(&policy, &[]);
        let report = audited(&site, &uses, nobody);
        let draft = site.0;
        // All of these are written as people write them, so nothing is held back for its text.
        let held = report.findings.iter().filter_map(|finding| finding.recommendation.withheld.as_ref());
        let held: Vec<&String> = held.filter(|why| why.starts_with("its text")).collect();
        prop_assert!(held.is_empty(), "{held:?}");
        let checked = report.findings.iter().filter(|finding| check(&policy, &draft, finding)).count();
        // Who is nobody is taken out of every assignment, whatever its kind.
        prop_assert!(!finds_nobody || checked > 0, "{:?}", report.findings);
    }
}

/// An eligible assignment stays one, and a tried one stays tried: pasted, neither gives power at once.
#[test]
fn an_eligible_assignment_stays_eligible() {
    let policy = format!(
        "version = 1\n{ROLES}\n[[assignment]]\nname = \"oncall\"\nrole = \"root\"\nprincipals = [\"user:ann\", \"user:left\"]\nscope = \"*\"\n\
         activation = {{ max = \"1h\" }}\nwhen = {{ max_age = \"15m\" }}\nmode = \"shadow\"\n"
    );
    let site = read(&policy, &[]);
    let report = audited(&site, &[], true);
    let draft = site.0;
    let left = report.findings.iter().find(|finding| finding.principal.as_deref() == Some("user:left")).unwrap();
    let toml = left.recommendation.toml.as_deref().unwrap();
    for kept in ["activation = { max = \"3600s\" }", "when = { max_age = \"900s\" }", "mode = \"shadow\""] {
        assert!(toml.contains(kept), "{kept}: {toml}");
    }
    assert!(check(&policy, &draft, left));
}

/// Ann is there, and Left is nobody.
const ONCALL: &str =
    "[[assignment]]\nname = \"oncall\"\nrole = \"reader\"\nprincipals = [\"user:ann\", \"user:left\"]\nscope = \"*\"\n";

fn of_left(policy: &str, beside: &[(&str, &str)]) -> (PolicyFiles, Finding) {
    let site = read(policy, beside);
    let report = audited(&site, &[], true);
    let left = report
        .findings
        .into_iter()
        .find(|finding| finding.principal.as_deref() == Some("user:left") && finding.id == "LP04");
    (site.1, left.unwrap())
}

/// In the file where the entry stands, and nothing of it but what changes.
#[test]
fn a_suggestion_is_put_in_place_where_the_entry_stands_and_comments_stay() {
    let commented = format!("# Who is called at night.\n{ONCALL}# The end.\n")
        .replace("[\"user:ann\"", "[ # in turn\n  \"user:ann\"");
    let roles = format!("version = 1\ninclude = [\"teams/*.toml\"]\n{ROLES}");
    let (files, left) = of_left(&roles, &[("teams/a.toml", "version = 1\n"), ("teams/b.toml", &commented)]);
    let changed = files.with(left.recommendation.toml.as_deref().unwrap()).unwrap();
    let changed: Vec<(&str, &str)> =
        changed.iter().map(|(path, text)| (path.file_name().unwrap().to_str().unwrap(), text.as_str())).collect();
    let expected = "# Who is called at night.\n[[assignment]]\nname = \"oncall\"\nrole = \"reader\"\n\
                    principals = [\"user:ann\"]\nscope = \"*\"\n# The end.\n";
    assert_eq!(changed, [("b.toml", expected)]);
}

/// What cannot be put in place of what stands there is not given out, and why is said.
#[test]
fn a_suggestion_that_cannot_be_put_in_place_is_withheld() {
    let check = |grants: &str, why: &str| {
        let (_, left) = of_left(&format!("version = 1\n{grants}\n{ROLES}"), &[]);
        let recommendation = &left.recommendation;
        assert_eq!(recommendation.toml, None, "{grants}");
        let said = recommendation.withheld.as_deref().unwrap();
        assert!(said.starts_with("its text is not given out: ") && said.contains(why), "{said}");
    };
    let inline = "assignment = [{ name = \"oncall\", role = \"reader\", principals = [\"user:ann\", \"user:left\"], scope = \"*\" }]";
    check(inline, "`assignment` is no list of tables");
    // The name is made of a variable: pasted, there would be two entries of it.
    check(&ONCALL.replace("\"oncall\"", "\"${NOBODY_SETS_THIS:-oncall}\""), "something else");
    // And as it is usually written it is given out.
    let (_, left) = of_left(&format!("version = 1\n{ROLES}{ONCALL}"), &[]);
    assert!(left.recommendation.toml.is_some() && left.recommendation.withheld.is_none(), "{left:?}");
}

/// A name with the sign of a variable in it is read back as it is.
#[test]
fn what_looks_like_a_variable_stays_what_it_is() {
    let (files, left) = of_left(&format!("version = 1\n{ROLES}{}", ONCALL.replace("user:ann", "user:$${HOME}")), &[]);
    let toml = left.recommendation.toml.as_deref().unwrap();
    assert!(toml.contains("principals = [\"user:$${HOME}\"]"), "{toml}");
    let draft = files.draft_with(&files.with(toml).unwrap()).unwrap();
    assert_eq!(draft.assignments[0].principals[0].value, "user:${HOME}");
}

/// Whatever comes of a text that says something else, it is not taken for what was tried.
#[test]
fn a_text_that_says_something_else_is_not_what_was_tried() {
    let eligible = format!("{ONCALL}activation = {{ max = \"1h\" }}\n");
    let (draft, files) = read(&format!("version = 1\n{ROLES}{eligible}"), &[]);
    let mut tried = draft.clone();
    tried.assignments[0].principals.pop();
    let of = |text: &str| files.comes_to(text, &|_| tried.clone());
    let text = eligible.replace(", \"user:left\"", "");
    assert_eq!(of(&text), Ok(()));
    // As an earlier version wrote it, which lost the key: Ann would have the role for good.
    let without = text.replace("activation = { max = \"1h\" }\n", "");
    for (wrong, why) in [
        (without.as_str(), "the text would say something else than what was tried, in 2 entries"),
        ("[[assignment]\n", "it is no TOML"),
        ("[[assignment]]\nrole = \"reader\"\n", "an entry has no name"),
        ("# [[assignment]] oncall: take \"user:nobody\" out of `principals`", "does not stand in the files as such"),
        ("# [[assignment]] oncall: do as you like", "it is not clear what to do"),
        ("# remove [[assignment]] none", "no `[[assignment]]` of the name `none`"),
    ] {
        let said = of(wrong).unwrap_err();
        assert!(said.contains(why), "{wrong}: {said}");
    }
}

/// A prefix goes out of the table or out of the list where it stands, and out of no other one.
#[test]
fn a_prefix_goes_out_of_the_list_in_which_it_stands() {
    let networks =
        "[[network]]\nname = \"partners\"\naddresses = [\"192.0.2.7\"]\nfiles = [\"one.txt\", \"two.txt\"]\n";
    let lists = [("one.txt", "# One.\n5.6.7.0/24 # old\n"), ("two.txt", "5.6.8.0/24\n\n2a00:1450::/48 # B\n")];
    let (_, files) = read(&format!("version = 1\n{networks}"), &lists);
    let of = |prefix: &str| {
        let text = format!("# [[network]] partners: take \"{prefix}\" out of `addresses`, or out of its file");
        let dropping = |draft: &PolicyDraft| {
            let mut draft = draft.clone();
            draft.networks[0].prefixes.retain(|each| each.to_string() != prefix);
            draft
        };
        files.comes_to(&text, &dropping).map(|()| files.with(&text).unwrap().into_values().collect::<String>())
    };
    assert_eq!(of("5.6.7.0/24").as_deref(), Ok("# One.\n"));
    assert_eq!(of("2a00:1450::/48").as_deref(), Ok("5.6.8.0/24\n\n"));
    assert!(of("192.0.2.7/32").unwrap().contains("addresses = []"));
    assert!(of("5.6.9.0/24").unwrap_err().contains("stands neither in `addresses` nor in a file"));
}
