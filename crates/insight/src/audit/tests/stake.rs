//! Who has a stake in a finding that names nobody, and that their word alone does not hide it.

use portcullis_policy::{ActivationRules, CredentialFacts, LintFacts, Mode};

use super::{DAY, NOW, Site};
use crate::audit::{Report, Severity, Stake, Status, Suppression};

/// Two roles that are alike: what is found is about both of them.
fn twins() -> Site {
    let mut site = Site::new();
    for name in ["one", "other"] {
        site.role(name, &["GET /a", "PUT /a"]);
    }
    site.lint = LintFacts { no_claims: true, ..LintFacts::default() };
    site
}

fn stake_in(report: &Report, principal: &str) -> Stake {
    let finding = report.findings.iter().find(|finding| finding.id == "LP16").unwrap();
    assert_eq!((finding.held.join(", ").as_str(), &finding.principal), ("role one, role other", &None));
    report.stake(finding, &|other| other == principal)
}

#[test]
fn whoever_holds_it_by_whatever_way_has_a_stake() {
    let check = |change: fn(&mut Site), expected: &[bool; 2]| {
        let mut site = twins();
        change(&mut site);
        let report = site.run();
        let holds = ["user:alice", "user:bob"].map(|who| matches!(stake_in(&report, who), Stake::Holds(_)));
        assert_eq!(&holds, expected, "{:#?}", report.holders);
        assert!(report.holders.values().all(|held| held.unknown.is_none() && !held.more), "{:#?}", report.holders);
    };
    check(|_| {}, &[false, false]);
    check(|site| _ = site.grant("a", "one", &["user:alice"]), &[true, false]);
    // By the other role, too.
    check(|site| _ = site.grant("a", "other", &["user:bob"]), &[false, true]);
    // By a role that inherits it.
    check(
        |site| {
            site.role("heir", &["GET /z"]);
            site.draft.roles[2].inherits = vec!["one".to_owned().into()];
            site.grant("a", "heir", &["user:alice"]);
        },
        &[true, false],
    );
    // By a group in a group.
    check(
        |site| {
            site.group("inner", &["user:bob"]);
            site.group("outer", &["group:inner"]);
            site.grant("a", "one", &["group:outer"]);
        },
        &[false, true],
    );
    // Who could activate it, who held it, and where it is only tried out.
    check(|site| site.grant("a", "one", &["user:alice"]).activation = Some(ActivationRules::of(60)), &[true, false]);
    let ended = |site: &mut Site| {
        site.grant("a", "one", &["user:alice"]).expires = Some(jiff::Timestamp::from_second(NOW - DAY).unwrap());
    };
    check(ended, &[true, false]);
    check(|site| site.grant("a", "one", &["user:alice"]).mode = Mode::Shadow, &[true, false]);
    // By what a key carries that was never used.
    let key = |groups: &[&str], roles: &[&str]| CredentialFacts {
        principal: "user:bob".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        roles: roles.iter().map(|role| (*role).to_owned().into()).collect(),
    };
    let by_role = key(&[], &["one"]);
    let mut site = twins();
    site.lint.credentials = vec![by_role];
    assert!(matches!(stake_in(&site.run(), "user:bob"), Stake::Holds(_)));
    site.lint.credentials = vec![key(&["crew"], &[])];
    assert_eq!(stake_in(&site.run(), "user:bob"), Stake::None);
    site.group("outer", &["group:crew"]);
    site.grant("a", "one", &["group:outer"]);
    assert!(matches!(stake_in(&site.run(), "user:bob"), Stake::Holds(_)));
}

#[test]
fn where_nobody_can_tell_who_holds_it_that_is_said() {
    let check = |change: fn(&mut Site), expected: &str| {
        let mut site = twins();
        change(&mut site);
        let report = site.run();
        let Stake::Unclear(why) = stake_in(&report, "user:bob") else { panic!("{:#?}", report.holders) };
        assert_eq!(why, expected);
    };
    let by_claims = "credentials or a directory say who is in the group `crew`, and who never came is not known";
    // A group that tokens claim: alice came with it, and is known to be in it.
    let claimed = |site: &mut Site| {
        site.lint.no_claims = false;
        site.grant("a", "one", &["group:crew"]);
        let alice = super::who("user:alice").unwrap().in_group("crew");
        site.usage.note(Some(&alice), ("app", "GET /a"), true, 1, NOW - DAY);
    };
    check(claimed, by_claims);
    let mut site = twins();
    claimed(&mut site);
    assert!(matches!(stake_in(&site.run(), "user:alice"), Stake::Holds(_)));
    // One that the policy fills, and a token that is believed may, too.
    check(
        |site| {
            site.lint.claimed_groups = vec!["crew".to_owned()];
            site.group("crew", &["user:alice"]);
            site.grant("a", "one", &["group:crew"]);
        },
        by_claims,
    );
    check(|site| _ = site.grant("a", "one", &["authenticated"]), "`authenticated` holds it: everybody may");
    check(
        |site| {
            site.group("all", &["anyone"]);
            site.grant("a", "one", &["group:all"]);
        },
        "everybody is in the group `all`",
    );
}

/// Whoever wrote it holds it, or came to hold it later: it counts once somebody else has confirmed it.
#[test]
fn a_word_of_whoever_holds_it_hides_nothing_alone() {
    let mut site = twins();
    site.grant("a", "one", &["user:alice"]);
    let finding = site.run().findings.into_iter().find(|finding| finding.id == "LP16").unwrap();
    let by = |name: &str| Suppression {
        fingerprint: finding.fingerprint.clone(),
        owner: name.to_owned(),
        reason: "both are needed".to_owned(),
        made: NOW - DAY,
        until: NOW + DAY,
        made_by: name.to_owned(),
        severity: Some(Severity::Low),
        confirmed_by: String::new(),
        names: vec![name.to_owned()],
    };
    let check = |site: &mut Site, one: Suppression, expected: Status| {
        site.suppressions = vec![one.clone()];
        site.before = Some(site.run());
        assert_eq!(site.run().find(&finding.fingerprint).unwrap().status, expected, "{one:?}");
    };
    check(&mut site, by("alice"), Status::Open);
    check(&mut site, by("bob"), Status::Suppressed);
    check(&mut site, Suppression { confirmed_by: "bob".to_owned(), ..by("alice") }, Status::Suppressed);
    // Nobody knows who wrote it: only where changes need approvals does that matter.
    let unknown = Suppression { names: Vec::new(), ..by("alice") };
    check(&mut site, unknown.clone(), Status::Suppressed);
    site.writers.required = true;
    check(&mut site, unknown, Status::Open);
    check(&mut site, by("bob"), Status::Suppressed);
    // More hold it than are kept: anybody may be one of them.
    let many: Vec<String> = (0..600).map(|number| format!("user:u{number}")).collect();
    site.grant("many", "one", &many.iter().map(String::as_str).collect::<Vec<_>>());
    check(&mut site, by("bob"), Status::Open);
}
