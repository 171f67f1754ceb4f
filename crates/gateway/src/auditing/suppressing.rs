//! Who may say that a finding may stay: nobody of what is found about themselves; nobody alone of what is found about what they hold themselves; and of
//! a critical one, or one of which nobody can tell who holds what it is about, two where changes need approvals.

use jiff::Timestamp;
use portcullis_governance::ApproverSet;
use portcullis_governance::power::{Names, names_of_principal};
use portcullis_insight::audit::{Finding, Report, SamePerson, Stake, Suppression, needs_another};
use portcullis_store::{AuditBook, SuppressionRow};

use super::report_of;
use crate::governing::Who;

/// Whoever wants a finding suppressed.
#[derive(Debug)]
pub(crate) struct Suppressor {
    pub(crate) who: Who,
    /// The same in a line.
    pub(crate) shown: String,
    /// Who is who.
    pub(crate) approvers: ApproverSet,
    /// Whether changes need approvals.
    pub(crate) approved: bool,
}

/// Who is who, by the approvers and their other names.
#[derive(Debug)]
pub(crate) struct Persons(pub(crate) ApproverSet);

impl SamePerson for Persons {
    fn may_be(&self, names: &[String], principal: &str) -> bool {
        let person = Names::of(names.iter().map(String::as_str), &self.0);
        person.may_be(&Names::of(names_of_principal(principal), &self.0))
    }
}

impl Suppressor {
    fn names(&self) -> Names {
        Names::of(self.who.names.iter().map(String::as_str), &self.approvers)
    }

    fn may_be(&self, names: &[&str]) -> bool {
        self.names().may_be(&Names::of(names.iter().copied(), &self.approvers))
    }
}

/// Suppresses a finding, or confirms that somebody else does. Says in a sentence what came of it.
///
/// # Errors
/// A sentence: why not, and who may.
pub(crate) fn suppress(book: &AuditBook, mut one: Suppression, by: &Suppressor) -> Result<String, String> {
    if let Some(problem) = one.problem() {
        return Err(problem);
    }
    // Of a finding that no run has, nobody could say what was suppressed.
    let Some((report, finding)) = finding_of(book, &one.fingerprint)? else {
        return Err(format!("no run that is kept has a finding {}", one.fingerprint));
    };
    if let Some(principal) = finding.principal.as_deref().filter(|about| by.may_be(&names_of_principal(about))) {
        return Err(format!(
            "the finding {} is about `{principal}`, and nobody says of what is found about themselves that it may stay: any other operator may",
            one.fingerprint
        ));
    }
    one.severity = Some(finding.severity);
    one.names = by.who.names.clone();
    let stake = report.stake(&finding, &|principal| by.may_be(&names_of_principal(principal)));
    let needs_two = needs_another(finding.severity, by.approved, &stake);
    let waiting = match needs_two {
        true => waiting(book, &one, by)?,
        false => None,
    };
    if let Some(first) = waiting {
        // What the first one wrote is what is confirmed, and never for longer than the second one wants.
        one = Suppression {
            owner: first.owner,
            reason: first.reason,
            until: one.until.min(first.until),
            made_by: first.made_by,
            confirmed_by: by.shown.clone(),
            names: first.names,
            ..one
        };
    }
    let Suppression { fingerprint, owner, reason, made, until, made_by, severity: _, confirmed_by, names } = one;
    let row = SuppressionRow {
        fingerprint: fingerprint.clone(),
        owner: owner.clone(),
        reason: reason.clone(),
        made,
        until,
        made_by: made_by.clone(),
        severity: finding.severity.as_str().to_owned(),
        names,
        confirmed_by: confirmed_by.clone(),
    };
    if !book.suppress(&row).map_err(|error| error.to_string())? {
        return Err("there are as many suppressions as can be: lift some".to_owned());
    }
    let until = Timestamp::from_second(until).map(|until| until.to_string()).unwrap_or_default();
    Ok(match (needs_two, confirmed_by.is_empty()) {
        (true, true) => format!(
            "the finding {fingerprint} {}: it counts once another operator suppresses it, too, and then not until {until}: {reason} ({owner})",
            why_two(&stake)
        ),
        (true, false) => format!(
            "the finding {fingerprint} is suppressed until {until}, as {made_by} wrote and {confirmed_by} confirmed: {reason} ({owner})"
        ),
        (false, _) => {
            let unclear = match &stake {
                Stake::Unclear(why) => format!("; whom it concerns is not known to the last: {why}"),
                Stake::None | Stake::Holds(_) => String::new(),
            };
            format!("the finding {fingerprint} is suppressed until {until}: {reason} ({owner}){unclear}")
        }
    })
}

/// Why one word is not enough.
fn why_two(stake: &Stake) -> String {
    match stake {
        Stake::Holds(what) => {
            format!("is about {what}, which you hold, and nobody says of that alone that it may stay")
        }
        Stake::Unclear(why) => {
            format!("is about what you may hold ({why}), and changes need approvals here")
        }
        Stake::None => "is critical and changes need approvals here".to_owned(),
    }
}

/// What somebody else wrote of this finding as it is now, and nobody has confirmed yet.
fn waiting(book: &AuditBook, one: &Suppression, by: &Suppressor) -> Result<Option<SuppressionRow>, String> {
    let rows = book.suppressions().map_err(|error| error.to_string())?;
    let severity = one.severity.map_or("", |severity| severity.as_str());
    Ok(rows.into_iter().find(|row| {
        let names: Vec<&str> = row.names.iter().map(String::as_str).collect();
        row.fingerprint == one.fingerprint
            && row.severity == severity
            && row.confirmed_by.is_empty()
            && row.until > one.made
            // Of whom an earlier version did not keep the names, nobody can say that it is somebody else.
            && !names.is_empty()
            && !by.may_be(&names)
    }))
}

/// The finding by the last run that has it, and that run; `None`: none has.
fn finding_of(book: &AuditBook, fingerprint: &str) -> Result<Option<(Report, Finding)>, String> {
    for (run, _) in book.runs().map_err(|error| error.to_string())? {
        let Some(report) = report_of(book, &run)? else { continue };
        if let Some(finding) = report.find(fingerprint).cloned() {
            return Ok(Some((report, finding)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use portcullis_insight::audit::{Report, Severity};
    use portcullis_store::Settings;
    use serde_json::json;

    use super::*;
    use crate::auditing::suppressions;

    const CRITICAL: &str = "00000000000000aa";
    const HIGH: &str = "00000000000000bb";

    const ROLE: &str = "00000000000000cc";
    const CLAIMED: &str = "00000000000000dd";

    fn book() -> (tempfile::TempDir, AuditBook) {
        let folder = tempfile::tempdir().unwrap();
        let mut book = AuditBook::open_store(&Settings { path: folder.path().join("portcullis.db") }).unwrap();
        let finding = |fingerprint: &str, severity: &str| {
            json!({
                "id": "LP10", "type": "self_escalation_path", "severity": severity, "principal": "user:Alice", "permission": null,
                "message": "m", "place": null, "evidence": { "granted_at": null, "last_used": null, "observed_since": null,
                "peers": null, "denials": null }, "recommendation": { "change": "c", "toml": null, "preview": null, "withheld": null },
                "first_seen": "", "status": "new", "fingerprint": fingerprint,
            })
        };
        let about = |fingerprint: &str, role: &str| {
            let mut finding = finding(fingerprint, "low");
            finding["principal"] = serde_json::Value::Null;
            finding["held"] = json!([format!("role {role}")]);
            finding
        };
        let report = json!({
            "schema": "portcullis.audit/1", "run": "r", "at": "2026-11-23T12:00:00Z", "policy_version": 1, "policy_sha256": "",
            "observed_since": null, "window_days": 90, "findings": [finding(CRITICAL, "critical"), finding(HIGH, "high"),
            about(ROLE, "editor"), about(CLAIMED, "guest")], "not_looked_at": {}, "left_out": {}, "holders": {
                "role editor": { "principals": ["user:Ben", "user:eve"], "more": false, "unknown": null },
                "role guest": { "principals": [], "more": false, "unknown": "who knows" },
            },
        });
        let _: Report = serde_json::from_value(report.clone()).unwrap();
        book.add_run("r", 1, report.to_string().as_bytes(), 5).unwrap();
        (folder, book)
    }

    fn by(uid: u32, name: &str, approved: bool) -> Suppressor {
        let who = Who::account(uid, Some(name));
        Suppressor { who, shown: format!("{name} (uid {uid})"), approvers: ApproverSet::default(), approved }
    }

    fn wanted(fingerprint: &str, owner: &str, until: i64) -> Suppression {
        Suppression {
            fingerprint: fingerprint.to_owned(),
            owner: owner.to_owned(),
            reason: "why".to_owned(),
            made: 1_000,
            until,
            made_by: owner.to_owned(),
            severity: None,
            confirmed_by: String::new(),
            names: Vec::new(),
        }
    }

    #[test]
    fn nobody_suppresses_what_is_found_about_themselves() {
        let (_folder, book) = book();
        for approved in [false, true] {
            let refused = suppress(&book, wanted(HIGH, "alice", 2_000), &by(1000, "alice", approved)).unwrap_err();
            assert!(
                refused.contains("is about `user:Alice`") && refused.ends_with("any other operator may"),
                "{refused}"
            );
            assert!(book.suppressions().unwrap().is_empty());
        }
        // Under another name that is known to be hers, too.
        let mut approvers = ApproverSet::default();
        approvers.approvers.push(portcullis_governance::Approver {
            person: "alice".to_owned(),
            aliases: vec!["unix:root2".to_owned()],
            keys: Vec::new(),
        });
        let as_other = Suppressor { approvers, ..by(1001, "root2", false) };
        assert!(suppress(&book, wanted(HIGH, "x", 2_000), &as_other).is_err());
        assert!(suppress(&book, wanted(HIGH, "x", 2_000), &by(1001, "root2", false)).is_ok());
    }

    #[test]
    fn a_critical_finding_takes_two_where_changes_need_approvals() {
        let (_folder, book) = book();
        let now = Timestamp::from_second(1_500).unwrap();
        let holds = |approved| {
            let all = suppressions(&book).unwrap();
            all.iter().any(|one| one.holds(CRITICAL, Severity::Critical, (approved, &Stake::None), now))
        };
        let said = suppress(&book, wanted(CRITICAL, "ben", 5_000), &by(1, "ben", true)).unwrap();
        assert!(said.contains("counts once another operator suppresses it, too") && !holds(true), "{said}");
        // Twice the same person is one.
        suppress(&book, wanted(CRITICAL, "ben", 4_000), &by(1, "ben", true)).unwrap();
        assert!(!holds(true));
        let said = suppress(&book, wanted(CRITICAL, "eve", 9_000), &by(2, "eve", true)).unwrap();
        assert!(said.contains("as ben wrote and eve (uid 2) confirmed: why (ben)") && holds(true), "{said}");
        assert_eq!(book.suppressions().unwrap()[0].until, 4_000, "never longer than either of them wants");
        // Somebody who writes it anew begins anew.
        suppress(&book, wanted(CRITICAL, "eve", 9_000), &by(2, "eve", true)).unwrap();
        assert!(!holds(true));
        // One is enough for what is not critical, and where nobody demands approvals.
        let (_other, book) = self::book();
        let said = suppress(&book, wanted(HIGH, "ben", 5_000), &by(1, "ben", true)).unwrap();
        assert!(said.starts_with(&format!("the finding {HIGH} is suppressed until ")), "{said}");
        suppress(&book, wanted(CRITICAL, "ben", 5_000), &by(1, "ben", false)).unwrap();
        let all = suppressions(&book).unwrap();
        assert!(all.iter().any(|one| one.holds(CRITICAL, Severity::Critical, (false, &Stake::None), now)));
        assert!(
            !all.iter().any(|one| one.holds(CRITICAL, Severity::Critical, (true, &Stake::None), now)),
            "once approvals are demanded it needs one"
        );
    }

    /// Whoever holds the role that is found has a word, and needs another one: also of somebody who holds it, too, so that a small team can speak.
    #[test]
    fn nobody_suppresses_alone_what_is_found_about_what_they_hold() {
        let counts = |book: &AuditBook| {
            let confirmed = |row: &SuppressionRow| row.fingerprint == ROLE && !row.confirmed_by.is_empty();
            book.suppressions().unwrap().iter().any(confirmed)
        };
        for approved in [false, true] {
            let (_folder, book) = book();
            let by_ben = || suppress(&book, wanted(ROLE, "ben", 5_000), &by(1, "ben", approved)).unwrap();
            let said = by_ben();
            assert!(
                said.contains("is about the role `editor`, which you hold")
                    && said.contains("once another operator suppresses it, too"),
                "{said}"
            );
            by_ben();
            assert!(!counts(&book), "twice the same person is one");
            let said = suppress(&book, wanted(ROLE, "eve", 9_000), &by(2, "eve", approved)).unwrap();
            assert!(said.contains("as ben wrote and eve (uid 2) confirmed") && counts(&book), "{said}");
            // Who does not hold it says so alone.
            let said = suppress(&book, wanted(ROLE, "ana", 9_000), &by(3, "ana", approved)).unwrap();
            assert_eq!(said, format!("the finding {ROLE} is suppressed until 1970-01-01T02:30:00Z: why (ana)"));
        }
    }

    #[test]
    fn where_nobody_knows_who_holds_it_that_is_said_and_takes_two_where_changes_need_approvals() {
        let (_folder, book) = book();
        let said = suppress(&book, wanted(CLAIMED, "ana", 5_000), &by(3, "ana", false)).unwrap();
        assert!(said.ends_with("; whom it concerns is not known to the last: who knows"), "{said}");
        let said = suppress(&book, wanted(CLAIMED, "ana", 5_000), &by(3, "ana", true)).unwrap();
        assert!(
            said.contains("is about what you may hold (who knows), and changes need approvals here: it counts once"),
            "{said}"
        );
        let said = suppress(&book, wanted(CLAIMED, "ben", 5_000), &by(1, "ben", true)).unwrap();
        assert!(said.contains("as ana wrote and ben (uid 1) confirmed"), "{said}");
    }

    #[test]
    fn what_no_run_has_is_not_suppressed() {
        let (_folder, book) = book();
        let refused = suppress(&book, wanted("00000000000000ee", "ben", 2_000), &by(1, "ben", false)).unwrap_err();
        assert!(refused.starts_with("no run that is kept has a finding"), "{refused}");
    }
}
