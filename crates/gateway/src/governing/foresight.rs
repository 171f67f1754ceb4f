//! What a change would have done to requests that were made: the report that approvals cover, what of it must be acknowledged, and its words.
//!
//! The report is JSON (`portcullis.impact/1`), stored and shown byte for byte, since its hash is signed. Where nobody could look, the report says so and
//! why, and that is signed.

use std::time::Duration;

use portcullis_config::Loaded;
use portcullis_governance::{Hash, MAX_IMPACT};
use serde_json::{Value, json};

/// Who can tell what a change would do.
pub(crate) trait Foresight {
    /// Tries it on the requests that are kept. Where another one is tried it waits for so long.
    ///
    /// # Errors
    /// Why that cannot be told, in a sentence.
    fn foresee(&self, candidate: Loaded, patience: Duration) -> Result<Vec<u8>, String>;

    /// Whether it can be told at all: else what was signed by what was foreseen may become live without a second look.
    fn can_look(&self) -> bool;

    /// Whether a version that is rolled out would be watched: from now on, or from the next start.
    fn watches(&self) -> bool;

    /// Whether what happens is told by an event: a gateway runs.
    fn tells(&self) -> bool {
        false
    }
}

/// Nobody: no gateway runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offline;

impl Foresight for Offline {
    fn foresee(&self, _: Loaded, _: Duration) -> Result<Vec<u8>, String> {
        Err("no gateway was running when it was proposed".to_owned())
    }

    fn can_look(&self) -> bool {
        false
    }

    fn watches(&self) -> bool {
        true
    }
}

/// The report that goes with a change.
pub(super) fn report(foreseen: Result<Vec<u8>, String>) -> Vec<u8> {
    let foreseen = match foreseen {
        Ok(report) if report.len() > MAX_IMPACT => Err(format!("the report was larger than {} MiB", MAX_IMPACT >> 20)),
        foreseen => foreseen,
    };
    foreseen.unwrap_or_else(|why| {
        json!({ "schema": "portcullis.impact/1", "foreseen": false, "why": why }).to_string().into_bytes()
    })
}

/// What of a report whoever signs has to acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Different callers who were let in and would not be.
    pub(crate) denied: u64,
    /// Different callers who were refused and would be let in.
    pub(crate) permitted: u64,
}

impl Weight {
    /// Of a report; `None`: nothing was foreseen.
    pub(crate) fn of(report: &[u8]) -> Option<Self> {
        let report: Value = serde_json::from_slice(report).ok()?;
        report.get("recent")?;
        // The same callers may be in both: that there are any counts, and about how many.
        let users = |change: &str| {
            let of =
                |part: &str| report.pointer(&format!("/{part}/{change}/users")).and_then(Value::as_u64).unwrap_or(0);
            of("recent").max(of("older"))
        };
        Some(Self { denied: users("newly_denied").max(users("newly_undecided")), permitted: users("newly_permitted") })
    }

    /// Whether it must be acknowledged.
    pub(crate) fn is_heavy(self) -> bool {
        self != Self::default()
    }

    /// Whether it is another thing than what was signed: somebody where nobody was, or more than twice as many.
    pub(super) fn outgrows(self, signed: Self) -> bool {
        self.denied > signed.denied.saturating_mul(2) || self.permitted > signed.permitted.saturating_mul(2)
    }
}

/// What a report says, in sentences. Whoever reads it may have it from another machine.
pub(crate) fn in_words(report: &[u8]) -> Vec<String> {
    if report.is_empty() {
        return vec!["nobody looked".to_owned()];
    }
    let Ok(value) = serde_json::from_slice::<Value>(report) else {
        return vec![format!("a report of another form ({})", Hash::of(report).short())];
    };
    let Some(recent) = value.get("recent") else {
        let why = value.get("why").and_then(Value::as_str).unwrap_or("the report does not say why");
        let mut lines = vec![format!("not foreseen: {why}")];
        lines.extend(listed(&value));
        return lines;
    };
    let mut lines = sentences(recent, "the last");
    if let Some(older) = value.get("older").filter(|older| count(older, "requests") != count(older, "unchanged")) {
        lines.push(format!("of what came before ({} requests, the newest of each kind)", count(older, "requests")));
        lines.extend(sentences(older, "the earlier").into_iter().map(|line| format!("  {line}")));
    }
    let coverage = value.get("coverage").unwrap_or(&Value::Null);
    let (changed, never) = (count(coverage, "changed"), count(coverage, "never_seen"));
    if never > 0 {
        lines.push(format!(
            "{never} of {changed} changed kinds of request were never made in the sample: here the preview is blind"
        ));
    }
    match coverage.get("recent_since").and_then(Value::as_str) {
        Some(since) => lines.push(format!("the sample begins at {since}")),
        None => lines.push("the sample is empty: nothing has been asked for yet".to_owned()),
    }
    lines.push("it looks at the policy alone: what else changes is not tried".to_owned());
    lines.extend(listed(&value));
    lines
}

/// Further sentences, in the words of whoever made the report.
fn listed(report: &Value) -> impl Iterator<Item = String> + '_ {
    let lines = report.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    lines.iter().filter_map(Value::as_str).map(str::to_owned)
}

fn sentences(impact: &Value, whole: &str) -> Vec<String> {
    let requests = count(impact, "requests");
    let flips = |name: &str| impact.get(name).unwrap_or(&Value::Null);
    let mut lines = vec![
        format!(
            "would newly deny {} of {whole} {requests} requests{}",
            count(flips("newly_denied"), "requests"),
            details(flips("newly_denied"))
        ),
        format!("newly permits {}{}", count(flips("newly_permitted"), "requests"), details(flips("newly_permitted"))),
    ];
    for (name, what) in
        [("newly_step_up", "newly asks for a step-up"), ("newly_undecided", "newly could not decide on")]
    {
        let these = count(flips(name), "requests");
        if these > 0 {
            lines.push(format!("{what} {these}{}", details(flips(name))));
        }
    }
    lines
}

fn count(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// By whom, on what, and by which rule.
fn details(flips: &Value) -> String {
    if count(flips, "requests") == 0 {
        return String::new();
    }
    let names = |key: &str, counted: bool| {
        let all = flips.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let name = |entry: &Value| {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
            if counted { format!("{name} {}", count(entry, "requests")) } else { name }
        };
        let mut listed: Vec<String> = all.iter().take(NAMED).map(name).collect();
        if all.len() > listed.len() {
            listed.push("…".to_owned());
        }
        listed.join(", ")
    };
    let users = count(flips, "users");
    format!(
        ", by {users} user{} ({}), on {}, by {}",
        if users == 1 { "" } else { "s" },
        names("by_user", true),
        names("by_action", false),
        names("by_rule", false)
    )
}

/// Names that a sentence lists.
const NAMED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of(denied: u64, permitted: u64, older: u64) -> Vec<u8> {
        let flips = |users: u64| {
            json!({
                "requests": users * 10, "users": users,
                "by_user": (0..users.min(5)).map(|n| json!({ "name": format!("user:u{n}"), "requests": 10 })).collect::<Vec<_>>(),
                "by_action": [{ "name": "POST /reports/**", "requests": users * 10 }],
                "by_rule": [{ "name": "network/office-berlin", "requests": users * 10 }],
            })
        };
        let impact = |denied, permitted| {
            json!({
                "requests": 10_000, "unchanged": 10_000 - denied * 10, "newly_denied": flips(denied),
                "newly_permitted": flips(permitted), "newly_step_up": flips(0), "newly_undecided": flips(0),
            })
        };
        json!({
            "schema": "portcullis.impact/1", "recent": impact(denied, permitted), "older": impact(older, 0),
            "coverage": { "recent_since": "2026-11-23T10:00:00Z", "changed": 3, "never_seen": 2 },
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn somebody_who_is_denied_or_let_in_must_be_acknowledged() {
        let weight = |report: &[u8]| Weight::of(report);
        assert_eq!(weight(&report_of(0, 0, 0)), Some(Weight::default()));
        assert_eq!(weight(&report_of(4, 0, 0)), Some(Weight { denied: 4, permitted: 0 }));
        assert_eq!(weight(&report_of(0, 1, 6)), Some(Weight { denied: 6, permitted: 1 }));
        assert!(weight(&report_of(0, 1, 0)).unwrap().is_heavy() && !weight(&report_of(0, 0, 0)).unwrap().is_heavy());
        assert_eq!((weight(b""), weight(b"{}"), weight(&report(Err("no".to_owned())))), (None, None, None));
    }

    #[test]
    fn what_was_signed_covers_as_much_again_and_not_somebody_where_nobody_was() {
        let check = |now: (u64, u64), signed: (u64, u64), outgrows| {
            let weight = |(denied, permitted)| Weight { denied, permitted };
            assert_eq!(weight(now).outgrows(weight(signed)), outgrows, "{now:?} {signed:?}");
        };
        check((0, 0), (0, 0), false);
        check((1, 0), (0, 0), true);
        check((0, 1), (5, 0), true);
        check((8, 0), (4, 0), false);
        check((9, 0), (4, 0), true);
        check((0, 0), (4, 4), false);
    }

    #[test]
    fn it_says_who_what_and_why_and_that_nobody_looked() {
        let words = in_words(&report_of(4, 0, 0));
        assert_eq!(
            words[0],
            "would newly deny 40 of the last 10000 requests, by 4 users (user:u0 10, user:u1 10, user:u2 10, …), on POST /reports/**, by network/office-berlin"
        );
        assert_eq!(words[1], "newly permits 0");
        assert!(words[2].starts_with("2 of 3 changed kinds"), "{words:?}");
        assert!(in_words(&report_of(0, 0, 2)).iter().any(|line| line.starts_with("of what came before")));
        assert_eq!(in_words(&report(Err("no gateway runs".to_owned()))), ["not foreseen: no gateway runs"]);
        assert_eq!(in_words(b""), ["nobody looked"]);
        // What comes from elsewhere is never believed to have a form.
        for odd in [&b"\xff"[..], b"[]", b"{\"recent\":7}", b"{\"recent\":{\"newly_denied\":{\"requests\":1}}}"] {
            in_words(odd);
        }
        let large = report(Ok(vec![b' '; MAX_IMPACT + 1]));
        assert!(in_words(&large)[0].contains("larger than 1 MiB"), "{large:?}");
    }
}
