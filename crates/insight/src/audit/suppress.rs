//! Suppressions: somebody says why a finding may stay, and until when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest time for which a finding may be suppressed, in days.
pub(crate) const LONGEST_DAYS: i64 = 366;
/// The longest owner and reason, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

/// One suppression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Suppression {
    /// Whether it holds for a finding now.
    pub fn holds(&self, fingerprint: &str, now: Timestamp) -> bool {
        self.fingerprint == fingerprint && now.as_second() < self.until
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
        assert!(good.holds("0123456789abcdef", at(good.until - 1)) && !good.holds("0123456789abcdef", at(good.until)));
        assert!(!good.holds("0123456789abcdee", at(2_000)));
    }
}
