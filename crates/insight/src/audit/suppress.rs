//! Suppressions: somebody says why a finding may stay, and until when.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Severity, shown};
use super::stake::Stake;

/// The longest time for which a finding may be suppressed, in days.
pub(crate) const LONGEST_DAYS: i64 = 366;
/// The longest owner and reason, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

/// Whether a suppression of so bad a finding holds only once somebody else has confirmed it. `approved`: whether changes need approvals; `stake`: what
/// whoever wrote it has to do with it.
pub fn needs_another(severity: Severity, approved: bool, stake: &Stake) -> bool {
    match stake {
        Stake::Holds(_) => true,
        Stake::Unclear(_) => approved,
        Stake::None => approved && severity == Severity::Critical,
    }
}

/// One suppression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    /// Of which finding.
    pub fingerprint: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it may stay.
    pub reason: String,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// When it ends.
    pub until: i64,
    /// Who made it; empty: an earlier version, which did not keep that.
    #[serde(default)]
    pub made_by: String,
    /// How bad the finding was then. One that has become worse is suppressed no longer. `None`: an earlier version did not keep it.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Who else has confirmed it; empty: nobody.
    #[serde(default)]
    pub confirmed_by: String,
    /// All names by which whoever made it is known; none: an earlier version did not keep them. A report says who made it, and not these.
    #[serde(skip)]
    pub names: Vec<String>,
}

impl Suppression {
    /// Whether it holds for a finding that is so bad, now. `approved`: whether changes need approvals, and so does whatever hides a critical finding;
    /// `stake`: what whoever wrote it has to do with the finding.
    pub fn holds(
        &self,
        fingerprint: &str,
        severity: Severity,
        (approved, stake): (bool, &Stake),
        now: Timestamp,
    ) -> bool {
        let is_worse = self.severity.is_some_and(|then| severity > then);
        let waits = needs_another(severity, approved, stake) && self.confirmed_by.is_empty();
        self.fingerprint == fingerprint && !is_worse && !waits && now.as_second() < self.until
    }

    /// Why, who answers for it and until when: a sentence.
    pub(crate) fn sentence(&self) -> String {
        let by = if self.made_by.is_empty() { String::new() } else { format!(", suppressed by {}", self.made_by) };
        let by = match self.confirmed_by.as_str() {
            "" => by,
            other => format!("{by}, confirmed by {other}"),
        };
        format!("{} (owner {}{by}), until {}", self.reason, self.owner, shown(self.until))
    }

    /// What is wrong with it; `None`: nothing.
    pub fn problem(&self) -> Option<String> {
        let is_fingerprint =
            self.fingerprint.len() == 16 && self.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_fingerprint {
            return Some("a fingerprint has 16 digits of hex, as a finding shows it".to_owned());
        }
        for (what, text) in [("owner", &self.owner), ("reason", &self.reason)] {
            if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return Some(format!("the {what} must be there, on one line of at most {MAX_TEXT} bytes"));
            }
        }
        let lasts = self.until.saturating_sub(self.made);
        if lasts <= 0 || lasts > LONGEST_DAYS * 86_400 {
            return Some(format!("a suppression ends in the future, within {LONGEST_DAYS} days"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_needs_an_owner_a_reason_and_an_end() {
        let good = Suppression {
            fingerprint: "0123456789abcdef".to_owned(),
            owner: "ana".to_owned(),
            reason: "year's end closing".to_owned(),
            made: 1_000,
            until: 1_000 + 86_400,
            made_by: "uid 0".to_owned(),
            severity: Some(Severity::Medium),
            confirmed_by: String::new(),
            names: Vec::new(),
        };
        assert_eq!(good.problem(), None);
        let bad: [fn(&mut Suppression); 7] = [
            |one| one.fingerprint = "0123".to_owned(),
            |one| one.fingerprint = "0123456789abcdeg".to_owned(),
            |one| one.owner = " ".to_owned(),
            |one| one.reason = "two\nlines".to_owned(),
            |one| one.reason = "x".repeat(MAX_TEXT + 1),
            |one| one.until = one.made,
            |one| one.until = one.made + (LONGEST_DAYS + 1) * 86_400,
        ];
        for change in bad {
            let mut one = good.clone();
            change(&mut one);
            assert!(one.problem().is_some(), "{one:?}");
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        let holds = |fingerprint: &str, severity: Severity, now: i64| {
            good.holds(fingerprint, severity, (true, &Stake::None), at(now))
        };
        assert!(holds("0123456789abcdef", Severity::Medium, good.until - 1));
        assert!(
            !holds("0123456789abcdef", Severity::Medium, good.until)
                && !holds("0123456789abcdee", Severity::Low, 2_000)
        );
        assert!(holds("0123456789abcdef", Severity::Low, 2_000));
        assert!(!holds("0123456789abcdef", Severity::High, 2_000), "it has become worse");
        // Where changes need approvals, nobody hides a critical finding alone.
        let critical = Suppression { severity: Some(Severity::Critical), ..good.clone() };
        let confirmed = Suppression { confirmed_by: "ben".to_owned(), ..critical.clone() };
        let held = |one: &Suppression, severity, approved, stake: &Stake| {
            one.holds(&one.fingerprint, severity, (approved, stake), at(2_000))
        };
        let holds = |one: &Suppression, approved| held(one, Severity::Critical, approved, &Stake::None);
        assert_eq!([holds(&critical, false), holds(&critical, true), holds(&confirmed, true)], [true, false, true]);
        // Nobody hides alone what is about themselves; and where nobody knows whom it is about, not where changes need approvals.
        let low = |one, approved, stake| held(one, Severity::Low, approved, stake);
        let (own, unclear) = (Stake::Holds("x".to_owned()), Stake::Unclear("y".to_owned()));
        assert_eq!(
            [low(&good, false, &own), low(&good, true, &own), low(&confirmed, true, &own)],
            [false, false, true]
        );
        assert_eq!([low(&good, false, &unclear), low(&good, true, &unclear)], [true, false]);
        assert!(low(&confirmed, true, &unclear));
        assert!(confirmed.sentence().contains("suppressed by uid 0, confirmed by ben"), "{}", confirmed.sentence());
    }
}
