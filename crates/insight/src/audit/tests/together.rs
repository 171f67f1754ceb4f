//! What several findings propose, as one change.

use super::findings::reader;
use super::{NOW, Site};
use crate::audit::{Report, Together, together};

/// Alice may read, write and delete, and reads.
fn site() -> Site {
    let mut site = reader();
    site.draft.roles[0].permissions[0].actions.push("DELETE /a".to_owned().into());
    site
}

fn unused(report: &Report) -> Vec<String> {
    let unused = report.findings.iter().filter(|finding| finding.id == "LP01");
    unused.map(|finding| finding.fingerprint.clone()).collect()
}

fn ask(site: &Site, report: &Report, fingerprints: &[String]) -> Result<Together, String> {
    site.ask(|input| together(input, report, fingerprints, &|| {}))
}

/// Each of them gives the whole role without its own action: together it is without both.
#[test]
fn what_several_findings_take_out_of_one_role_is_one_text() {
    let site = site();
    let report = site.run();
    let all = unused(&report);
    assert_eq!(all.len(), 2);
    assert!(
        report.findings.iter().filter(|finding| all.contains(&finding.fingerprint)).all(|each| each.can_be_applied())
    );
    let made = ask(&site, &report, &all).unwrap();
    assert_eq!(made.toml, "[[role]]\nname = \"reader\"\npermissions = [\n  { actions = [\"GET /a\"] },\n]");
    assert_eq!((made.trial.uses, made.trial.newly_denied), (1, 0));
    let made = ask(&site, &report, &all[..1]).unwrap();
    assert_eq!(
        made.toml.matches("\"DELETE /a\"").count() + made.toml.matches("\"PUT /a\"").count(),
        1,
        "{}",
        made.toml
    );
}

#[test]
fn what_was_used_since_or_proposes_nothing_is_not_applied() {
    let mut site = site();
    let report = site.run();
    let all = unused(&report);
    let refused = |site: &Site, report: &Report, fingerprints: &[String]| ask(site, report, fingerprints).unwrap_err();
    assert!(
        refused(&site, &report, &["0123456789abcdef".to_owned()]).contains("has no finding 0123456789abcdef any more")
    );
    assert!(refused(&site, &report, &[]).contains("none of the findings"));
    // What an earlier run proposed has no change in it any more, and one that was withheld says why.
    let mut kept = report.clone();
    kept.findings.iter_mut().for_each(|finding| finding.edits.clear());
    assert!(refused(&site, &kept, &all).contains("proposes no text that could be applied"));
    // Both are used by now.
    for action in ["PUT /a", "DELETE /a"] {
        site.usage.note(super::who("user:alice").as_ref(), ("app", action), true, 1, NOW);
    }
    let why = refused(&site, &report, &all);
    assert!(why.starts_with("together it would refuse ") && why.ends_with("apply fewer of them at once"), "{why}");
    assert!(refused(&site, &site.run(), &all).contains("any more: look again"));
}
