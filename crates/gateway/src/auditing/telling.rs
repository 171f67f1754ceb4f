//! What events tell of audits: runs, findings that are news, and what was done to suppressions.

use jiff::Timestamp;
use portcullis_events::event::AuditFinding;
use portcullis_events::{Answer, Event, EventKind};
use portcullis_insight::audit::{Finding, Report, Severity};

use super::State;

/// Events of one run, each of a new finding.
const MOST_EVENTS: usize = 50;

impl State {
    /// One event of each suppression that was made or lifted while no gateway could tell it.
    pub(super) fn tell_untold(&self) {
        let untold = self.book().untold();
        let untold = untold.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be said what was done to audits while no gateway ran");
            Vec::new()
        });
        for (n, at, message) in untold {
            let at = Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
            let mut event = self.event(EventKind::AdminAuditSuppress, format!("in the store, at {at}: {message}"));
            event.decision = Some(Answer::Permit);
            event.identity.kind = Some("operator");
            self.shared.recorder.record(event);
            if let Err(error) = self.book().told(n) {
                tracing::warn!(%error, "what was told of audits will be told again");
                return;
            }
        }
    }

    /// One event of each suppression that is over: what it is about counts again.
    pub(super) fn tell_ended(&self, now: i64) {
        let ended = self.book().ended(now);
        let ended = ended.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be said which suppressions are over");
            Vec::new()
        });
        for row in ended {
            let until = Timestamp::from_second(row.until).map(|until| until.to_string()).unwrap_or_default();
            let message = format!(
                "the finding {} is not suppressed any more since {until}, and counts again if it is still there: {} ({})",
                row.fingerprint, row.reason, row.owner
            );
            let mut event = self.event(EventKind::AuditSuppressionEnded, message);
            let severity = Some(row.severity.clone()).filter(|severity| !severity.is_empty());
            event.finding = Some(Box::new(AuditFinding {
                severity,
                fingerprint: row.fingerprint.clone(),
                ..AuditFinding::default()
            }));
            self.shared.recorder.record(event);
            if let Err(error) = self.book().end_told(&row.fingerprint) {
                tracing::warn!(%error, "the end of a suppression will be told again");
                return;
            }
        }
    }

    /// One event of the run, and one of each finding that is high or worse and is new, has become so, or is suppressed no longer.
    pub(super) fn tell(&self, report: &Report, before: Option<&Report>) {
        let counts = report.counts();
        let words: Vec<String> =
            counts.iter().map(|(severity, count)| format!("{count} {}", severity.as_str())).collect();
        let message = format!(
            "audit {}: {} findings are open: {}",
            report.run,
            counts.iter().map(|(_, count)| count).sum::<usize>(),
            words.join(", ")
        );
        tracing::info!("{message}");
        self.record(EventKind::AuditCompleted, message);
        for finding in report.findings.iter().filter(|finding| is_news(finding, before)).take(MOST_EVENTS) {
            let message =
                format!("{} {}: {} (fingerprint {})", finding.id, finding.kind, finding.message, finding.fingerprint);
            let mut event = self.event(EventKind::AuditFinding, message);
            event.policy.rule = finding.place.as_ref().map(|place| place.name.as_str().into());
            event.finding = Some(Box::new(AuditFinding {
                id: Some(finding.id.clone()),
                kind: Some(finding.kind.clone()),
                severity: Some(finding.severity.as_str().to_owned()),
                principal: finding.principal.clone(),
                permission: finding.permission.clone(),
                fingerprint: finding.fingerprint.clone(),
                run: Some(report.run.clone()),
            }));
            self.shared.recorder.record(event);
        }
    }

    fn event(&self, kind: EventKind, message: String) -> Event {
        let mut event = self.shared.event(kind, Timestamp::now());
        event.message = Some(message);
        event
    }

    pub(super) fn record(&self, kind: EventKind, message: String) {
        self.shared.recorder.record(self.event(kind, message));
    }
}

/// Whether somebody must hear of a finding: high or worse, and not so, or not open, in the run before.
fn is_news(finding: &Finding, before: Option<&Report>) -> bool {
    let was = before.and_then(|before| before.find(&finding.fingerprint));
    let is_told = was.is_some_and(|was| was.is_open() && was.severity >= Severity::High);
    finding.severity >= Severity::High && finding.is_open() && !is_told
}
