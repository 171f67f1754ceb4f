//! Two changes that came at the same moment: the one that turned callers away is told from the one that did not, and what is proposed undoes that alone.

use portcullis_policy::{DenyDraft, Listed, NetworkContent, NetworkDraft, RouteDraft};

use super::*;

/// What may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Policy,
    Routes,
    Calibration,
    List,
}

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// As it was.
    Same,
    /// Something else, which lets the people of the office in as before.
    Harmless,
    /// What turns them away.
    Harmful,
}

const PARTS: [Part; 4] = [Part::Policy, Part::Routes, Part::Calibration, Part::List];

fn sha256(of: char) -> Arc<str> {
    String::from(of).repeat(64).into()
}

/// What is in force with these parts.
fn in_force(parts: [To; 4], reading: usize) -> InForce {
    let [policy, routes, calibration, list] = parts;
    let mut draft = draft();
    draft.keep_prefixes = true;
    draft.risk.enforce = true;
    draft.sha256 = sha256('a');
    draft.networks.push(NetworkDraft { name: "bad-networks".to_owned().into(), ..NetworkDraft::default() });
    draft.resources[0].deny = vec!["bad-networks".to_owned().into()];
    match policy {
        To::Same => {}
        To::Harmless => {
            draft.sha256 = sha256('b');
            unrelated(&mut draft);
        }
        To::Harmful => {
            draft.sha256 = sha256('c');
            draft.denies.push(DenyDraft::new("nobody", ["anyone"], ["* /reports/**"]));
        }
    }
    match routes {
        To::Same => {}
        To::Harmless => draft.routes.push(RouteDraft::new("elsewhere", ["/elsewhere/**"])),
        To::Harmful => draft.routes[0] = RouteDraft::new("reports", ["/reports/elsewhere/**"]),
    }
    let plain = compiled(&draft);
    let (prefix, sha256) = match list {
        To::Same => ("192.0.2.0/24", "1"),
        To::Harmless => ("192.0.2.0/25", "2"),
        To::Harmful => ("203.0.113.0/24", "3"),
    };
    let list = Some(Listed { origin: "source".into(), sha256: Some(sha256.into()) });
    let prefixes = vec![prefix.parse().unwrap()].into();
    let content = NetworkContent { name: "bad-networks".into(), prefixes, unknown: false, list };
    let plain = plain.with_networks(&[content]).unwrap();
    let (id, step_up_mnats) = match calibration {
        To::Same => ("c1-00000000", 3_000),
        To::Harmless => ("c2-00000000", 4_000),
        To::Harmful => ("c3-00000000", 1_000),
    };
    let thresholds = RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
    let policy = Arc::new(plain.with_calibration(Some((id.into(), [Some(thresholds); 3]))));
    let parts = Parts { routes: format!("{routes:?}"), ..Parts::default() };
    InForce { policy, staged: None, reading, parts, put: Some(id.into()) }
}

/// What is said once these parts have changed at one moment.
fn said_of(parts: [To; 4]) -> Explained {
    let (before, now) = (in_force([To::Same; 4], 1), in_force(parts, 2));
    let mut scene = Scene::new();
    scene.changes = now.changes_from(&before, at(-5));
    scene.policy = now.policy;
    scene.locked_out(Answered::Refused(ReasonCode::RbacNoMatchingGrant), |number, time| KeptRequest {
        risk: Some(KeptRisk { mnats: 1_200, evidence: true, stated: None }),
        ..known(number, time)
    });
    scene.explain(300)
}

fn kind_of(part: Part) -> (CauseKind, &'static str) {
    match part {
        Part::Policy => (CauseKind::ConfigChange, "policy cccccccccccc in place of aaaaaaaaaaaa at "),
        Part::Routes => (CauseKind::ConfigChange, "the routes (`[[route]]`) around the policy "),
        Part::Calibration => (CauseKind::CalibrationChange, "calibration c3-00000000 of the risk in place of c1-"),
        Part::List => (CauseKind::FeedChange, "another list of the network bad-networks at "),
    }
}

/// Each with each, and each alone.
#[test]
fn of_two_changes_at_one_moment_the_one_is_told_that_turned_them_away() {
    for (guilty, part) in PARTS.into_iter().enumerate() {
        for innocent in 0..PARTS.len() {
            let mut parts = [To::Same; 4];
            parts[innocent] = To::Harmless;
            parts[guilty] = To::Harmful;
            let explained = said_of(parts);
            let cause = explained.causes.first().unwrap_or_else(|| panic!("{parts:?}: {explained:#?}"));
            let fix = cause.fix.as_ref().unwrap();
            // With another policy its routes are undone as well, and told as that.
            let with_the_policy = part == Part::Routes && PARTS[innocent] == Part::Policy;
            let (kind, words) = match with_the_policy {
                true => (CauseKind::ConfigChange, "policy bbbbbbbbbbbb in place of aaaaaaaaaaaa at "),
                false => kind_of(part),
            };
            assert_eq!((explained.causes.len(), cause.kind, cause.share_percent), (1, kind, 100), "{parts:?}");
            assert!(cause.summary.starts_with(words), "{parts:?}: {cause:#?}");
            assert_eq!(fix.restores, 300, "{parts:?}: {fix:#?}");
            let undone_at_once = [part, PARTS[innocent]].iter().all(|it| matches!(it, Part::Policy | Part::Routes));
            let ruled_out = usize::from(innocent != guilty && !undone_at_once);
            assert_eq!(explained.ruled_out.len(), ruled_out, "{parts:?}: {:#?}", explained.ruled_out);
        }
    }
}

/// No way back is proposed that helps nobody: neither change alone is to blame, and neither is ruled out.
#[test]
fn of_two_changes_that_each_turn_them_away_both_are_told() {
    for (first, one) in PARTS.into_iter().enumerate() {
        for (second, other) in PARTS.into_iter().enumerate().skip(first + 1) {
            if matches!((one, other), (Part::Policy, Part::Routes)) {
                continue;
            }
            let mut parts = [To::Same; 4];
            parts[first] = To::Harmful;
            parts[second] = To::Harmful;
            let explained = said_of(parts);
            let [cause] = explained.causes.as_slice() else { panic!("{parts:?}: {explained:#?}") };
            assert_eq!((cause.kind, cause.share_percent), (CauseKind::ConfigChange, 100), "{parts:?}");
            assert!(cause.summary.contains("each of them alone turns these away"), "{parts:?}: {cause:#?}");
            let fix = cause.fix.as_ref().unwrap();
            assert!(fix.command.starts_with("undo all of these changes") && fix.restores == 300, "{parts:?}: {fix:#?}");
            assert_eq!(explained.ruled_out, [""; 0], "{parts:?}");
        }
    }
}

/// A policy that says of calibrations what is in force has it put back with itself, and is told for it: no other command would bring it back.
#[test]
fn a_calibration_that_came_with_the_policy_is_undone_with_it() {
    let (before, mut now) = (in_force([To::Same; 4], 1), in_force([To::Harmless, To::Same, To::Harmful, To::Same], 2));
    now.put.clone_from(&before.put);
    let changes = now.changes_from(&before, at(-5));
    let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Policy]);
    assert_eq!(changes[0].before.calibration(), before.policy.calibration());
}
