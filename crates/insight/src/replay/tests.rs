//! What is replayed is decided as it was, and what cannot be is counted.

use std::sync::Arc;

use portcullis_policy::{
    AuthenticationMethod, CredentialScope, Decision, KeptIdentity, KeptRequest, Outcome, PolicyDraft, Principal,
};

use super::*;
use crate::again::{Again, Change, Unknown, again};
use crate::tests::{candidate_draft, compiled, draft, line, requests};

fn replayed(present: &Policy, candidate: &Policy, lines: &[Vec<u8>]) -> Replayed {
    let mut replay = Replay::new(present, candidate);
    lines.iter().for_each(|line| replay.add(line));
    replay.finish().report
}

#[test]
fn the_flips_of_a_replay_are_those_of_deciding_on_the_requests_themselves() {
    let (present, candidate) = (compiled(&draft()), compiled(&candidate_draft()));
    let mut expected = std::collections::HashMap::<Change, u64>::new();
    let (mut missing, mut all) = (0, 0);
    let lines: Vec<Vec<u8>> = requests().iter().map(|request| line(&present, request)).collect();
    for request in &requests() {
        all += 1;
        let known = |policy| again(policy, request, &Unknown::default());
        let (Again::Ruled(before), Again::Ruled(after)) = (known(&present), known(&candidate)) else { panic!() };
        // What was refused at the door, and would not be any more, cannot be known.
        let refused_at_door = |policy: &Policy| request.under(policy, |asked| policy.admission_ruling(asked).is_some());
        if refused_at_door(&present) == Some(true) && refused_at_door(&candidate) == Some(false) {
            missing += 1;
            continue;
        }
        *expected.entry(Change::of(&before, &after)).or_default() += 1;
    }
    let replayed = replayed(&present, &candidate, &lines);
    let impact = &replayed.impact;
    let count = |change| expected.get(&change).copied().unwrap_or_default();
    assert_eq!(impact.newly_denied.requests, count(Change::NewlyDenied));
    assert_eq!(impact.newly_permitted.requests, count(Change::NewlyPermitted));
    assert_eq!(impact.newly_step_up.requests, count(Change::NewlyStepUp));
    assert_eq!(impact.other_refusal.requests, count(Change::OtherRefusal));
    assert_eq!(impact.unchanged, count(Change::None));
    assert_eq!(impact.answered_otherwise, 0, "the policy in force answers as it did");
    assert_eq!(replayed.lines, all);
    let not_replayed: u64 = impact.not_replayed.iter().map(|count| count.requests).sum();
    assert_eq!(not_replayed, missing);
    assert!(count(Change::NewlyDenied) > 10 && count(Change::NewlyPermitted) > 3 && missing > 3, "{expected:?}");
}

#[test]
fn a_golden_set_has_exactly_these_flips() {
    let (present, candidate) = (compiled(&draft()), compiled(&candidate_draft()));
    let lines: Vec<Vec<u8>> = requests()
        .iter()
        .filter(|request| request.risk.is_some_and(|risk| risk.mnats == 0))
        .map(|request| line(&present, request))
        .collect();
    let impact = replayed(&present, &candidate, &lines).impact;
    let names = |counts: &[Count]| -> Vec<(String, u64)> {
        counts.iter().map(|count| (count.name.clone(), count.requests)).collect()
    };
    let pairs = |expected: &[(&str, u64)]| -> Vec<(String, u64)> {
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    // The office is gone for the three who may report; and carol, who could read from all four places, may not.
    assert_eq!(
        names(&impact.newly_denied.by_user),
        pairs(&[("user:carol", 4), ("user:alice", 2), ("user:grace", 2), ("user:heidi", 2)])
    );
    assert_eq!(
        names(&impact.newly_denied.by_rule),
        pairs(&[("network/office-berlin", 6), ("deny/no-files-for-contractors", 4)])
    );
    assert_eq!(names(&impact.newly_denied.by_route), pairs(&[("reports", 6), ("files", 4)]));
    // Dave may report from home; from where he was not let in at all, nobody looked at who it was.
    assert_eq!(names(&impact.newly_permitted.by_user), pairs(&[("user:dave", 2)]));
    assert_eq!(names(&impact.newly_permitted.by_rule), pairs(&[("assignment/dave-reports", 2)]));
    assert_eq!(names(&impact.not_replayed), pairs(&[("identity", 18)]));
    let words = impact.in_words("the recorded requests");
    assert!(words[0].starts_with("would newly deny 10 of the recorded requests (6.1"), "{words:?}");
    assert!(words[0].contains("by 4 users (carol 4, alice 2, grace 2, …)"), "{words:?}");
    assert!(words[1].contains("newly permits 2, by 1 user (dave 2)"), "{words:?}");
}

#[test]
fn a_policy_against_itself_changes_nothing() {
    let present = compiled(&draft());
    let lines: Vec<Vec<u8>> = requests().iter().map(|request| line(&present, request)).collect();
    let replayed = replayed(&present, &present, &lines);
    assert!(replayed.impact.is_none());
    assert_eq!((replayed.impact.requests, replayed.impact.answered_otherwise), (360, 0));
}

#[test]
fn what_the_policy_in_force_answers_otherwise_is_said() {
    let (present, candidate) = (compiled(&draft()), compiled(&candidate_draft()));
    // Recorded under a policy that is in force no more.
    let lines: Vec<Vec<u8>> = requests().iter().map(|request| line(&candidate, request)).collect();
    assert!(replayed(&present, &present, &lines).impact.answered_otherwise > 0);
}

#[test]
fn without_what_the_credential_says_nothing_is_guessed() {
    let present = compiled(&draft());
    let request = requests().into_iter().find(|request| request.principal().is_some()).unwrap();
    let full = String::from_utf8(line(&present, &request)).unwrap();
    let check = |line: &str, expected: Result<Outcome, Missing>| {
        let Recorded::Decision { request, unknown, .. } = read(line.as_bytes()) else { panic!("{line}") };
        let found = match again(&present, &request, &unknown) {
            Again::Ruled(ruling) => Ok(ruling.outcome),
            Again::Depends(missing) => Err(missing),
        };
        assert_eq!(found, expected, "{line}");
    };
    check(&full, Ok(Outcome::Permit));
    let (before, rest) = full.split_once("\"facts\":{").unwrap();
    let (_, after) = rest.split_once("},").unwrap();
    check(&format!("{before}{after}"), Err(Missing::Claims));
    // From where nobody is let in, it does not matter who it was.
    let elsewhere = full.replace("203.0.113.7", "10.0.0.1");
    let (before, rest) = elsewhere.split_once("\"facts\":{").unwrap();
    let (_, after) = rest.split_once("},").unwrap();
    check(&format!("{before}{after}"), Ok(Outcome::Deny));
    let demanded = full.replace("\"demanded\":[]", "\"demanded\":[\"step_up\"]");
    check(&demanded, Err(Missing::Alert));
}

/// What a proxy or an agent said of a device is in the event, also of who has a credential that is bound to none.
#[test]
fn what_was_said_of_a_device_is_decided_on_again() {
    let mut draft = draft();
    draft.assignments[0].when.compliant_device = true;
    let present = compiled(&draft);
    let request = requests().into_iter().find(|request| {
        let permitted =
            |policy: &Policy| request.under(policy, |asked| matches!(policy.decide(asked), Decision::Permit(_)));
        let said = KeptRequest { posture: Some(true), ..request.clone() };
        let by_word = said.under(&present, |asked| matches!(present.decide(asked), Decision::Permit(_)));
        request.principal().is_some() && permitted(&present) == Some(false) && by_word == Some(true)
    });
    let text = String::from_utf8(line(&present, &request.expect("somebody is let in by a word alone"))).unwrap();
    let check = |compliant: &str, expected: Outcome| {
        let line = text.replace("\"compliant\":null", &format!("\"compliant\":{compliant}"));
        let Recorded::Decision { request, unknown, .. } = read(line.as_bytes()) else { panic!("{line}") };
        let Again::Ruled(ruling) = again(&present, &request, &unknown) else { panic!("{line}") };
        assert_eq!(ruling.outcome, expected, "{line}");
    };
    check("null", Outcome::Deny);
    check("true", Outcome::Permit);
    check("false", Outcome::Deny);
}

/// A key that is bound to a route or a network is held to that again, and one of an event that does not say is not guessed at.
#[test]
fn a_key_is_replayed_within_what_it_is_bound_to() {
    let present = compiled(&draft());
    let permitted = requests().into_iter().find(|request| {
        let ruling = request.under(&present, |asked| matches!(present.decide(asked), Decision::Permit(_)));
        request.principal().is_some() && ruling == Some(true)
    });
    let request = permitted.unwrap();
    let bound_to = |routes: &[&str], networks: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let scope = CredentialScope { routes: names(routes), networks: names(networks) };
        let mut principal = Principal::clone(request.principal().unwrap());
        principal.authentication.method = AuthenticationMethod::ApiKey;
        principal.scope = (scope != CredentialScope::default()).then(|| Arc::new(scope));
        let request = KeptRequest { identity: KeptIdentity::Verified(Arc::new(principal)), ..request.clone() };
        String::from_utf8(line(&present, &request)).unwrap()
    };
    let check = |what: &str, line: &str, expected: Result<Outcome, Missing>| {
        let Recorded::Decision { request, unknown, .. } = read(line.as_bytes()) else { panic!("{line}") };
        let found = match again(&present, &request, &unknown) {
            Again::Ruled(ruling) => Ok(ruling.outcome),
            Again::Depends(missing) => Err(missing),
        };
        assert_eq!(found, expected, "{what}: {line}");
    };
    check("to nothing", &bound_to(&[], &[]), Ok(Outcome::Permit));
    check("to another route", &bound_to(&["elsewhere"], &[]), Ok(Outcome::Deny));
    check("to another network", &bound_to(&[], &["nowhere"]), Ok(Outcome::Deny));
    let before = bound_to(&[], &[]).replace("\"scope\":null,", "");
    assert!(!before.contains("scope"));
    check("of an older version", &before, Err(Missing::Claims));
    check("that is no key", &before.replace("\"api_key\"", "\"jwt\""), Ok(Outcome::Permit));
}

#[test]
fn every_line_is_counted_as_what_it_is() {
    let present = compiled(&draft());
    let access = |user: &str, path: &str, reason: &str| {
        format!(
            r#"{{"schema":"portcullis.access/1","time":"2026-11-23T10:00:00Z","client_ip":"203.0.113.7","peer_ip":"203.0.113.7","user":{user},"method":"GET","host":"app.test","path":"{path}","status":200,"reason":{reason}}}"#
        )
        .into_bytes()
    };
    let kind = |kind: &str, reason: &str| {
        format!(
            r#"{{"schema":"portcullis.event/1","id":"x","time":"2026-11-23T10:00:00Z","kind":"{kind}","origin":"gateway","reason":{reason},"request":{{}},"truncated":[]}}"#
        )
        .into_bytes()
    };
    let cut = String::from_utf8(kind("access.denied", "\"rbac.no_matching_grant\"")).unwrap();
    let cut = cut.replace("\"truncated\":[]", "\"truncated\":[\"identity.groups\"]").into_bytes();
    let lines = [
        access("null", "/public/x", "null"),
        access("null", "/public/x", "\"upstream.timeout\""),
        access("null", "/files/x", "\"limit.rate\""),
        access("\"user:alice\"", "/reports/x", "null"),
        access("\"user:alice\"", "/public/x", "null"),
        kind("gateway.started", "null"),
        kind("access.denied", "\"request.malformed\""),
        kind("access.denied", "\"rbac.no_matching_grant\""),
        cut,
        b"{\"schema\":\"portcullis.event/1\",".to_vec(),
        b"[]".to_vec(),
    ];
    let mut replay = Replay::new(&present, &present);
    lines.iter().for_each(|line| replay.add(line));
    replay.note_unreadable(2);
    let found = replay.finish().report;
    let count = |counts: &[Count], name: &str| counts.iter().find(|it| it.name == name).map_or(0, |it| it.requests);
    assert_eq!((found.lines, found.unreadable, found.other_events), (13, 4, 1));
    assert_eq!(found.impact.requests, 3, "{found:#?}");
    assert_eq!((count(&found.not_asked, "limit.rate"), count(&found.not_asked, "request.malformed")), (1, 1));
    let missing = &found.impact.not_replayed;
    assert_eq!((count(missing, "claims"), count(missing, "request"), count(missing, "cut")), (1, 1, 1));
}

#[test]
fn the_same_report_has_the_same_hash_and_another_one_another() {
    let (present, candidate) = (compiled(&draft()), compiled(&candidate_draft()));
    let lines: Vec<Vec<u8>> = requests().iter().map(|request| line(&present, request)).collect();
    let hash = |lines: &[Vec<u8>]| {
        let mut replay = Replay::new(&present, &candidate);
        lines.iter().for_each(|line| replay.add(line));
        replay.finish().impact_sha256
    };
    assert_eq!(hash(&lines), hash(&lines));
    assert_ne!(hash(&lines), hash(&lines[1..]));
    assert_eq!(hash(&lines).len(), 64);
}

/// Review of 2026-11: it said that version 1 is present, whatever was live.
#[test]
fn a_version_that_nobody_knows_is_none() {
    let present = compiled(&draft());
    let version = |version| {
        let replay = Replay::new(&present, &present).with_version(version);
        serde_json::to_value(replay.finish()).unwrap()["present"]["version"].clone()
    };
    assert_eq!((version(None), version(Some(12))), (serde_json::Value::Null, serde_json::json!(12)));
}

/// What is sent along calls itself the first version, whatever it is.
#[test]
fn a_candidate_has_no_version_unless_it_is_the_present_policy() {
    let of = |sha256: &str| PolicyDraft { sha256: sha256.into(), ..draft() };
    let (present, other) = (compiled(&of("aa")), compiled(&of("bb")));
    let versions = |candidate: &Policy, version: Option<u64>| {
        let report = Replay::new(&present, candidate).with_version(version).finish().report;
        assert_eq!(report.candidate.sha256, candidate.sha256());
        (report.present.version, report.candidate.version)
    };
    assert_eq!(versions(&other, Some(7)), (Some(7), None));
    assert_eq!(versions(&present, Some(7)), (Some(7), Some(7)));
    assert_eq!(versions(&other, None), (None, None));
}
