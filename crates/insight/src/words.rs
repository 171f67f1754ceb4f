//! What a report says, in sentences for a person.

use crate::counts::Count;
use crate::impact::{Flips, Impact};

/// Names that a sentence lists.
const NAMED: usize = 3;

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of a whole, in percent with two digits.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// `1 request`, `2 requests`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

impl Impact {
    /// How many of `whole` are newly denied, and `whose` they are. What it was worked out from may be a part of them.
    pub(crate) fn denied_in_words(&self, whole: &str, denied: u64, whose: &str) -> String {
        let both = [&self.newly_denied, &self.newly_undecided];
        let flips = if both[0].requests >= both[1].requests { both[0] } else { both[1] };
        format!("would newly deny {} of {whole} {whose}{}", number(denied), details(flips))
    }

    /// What changes, in a few sentences; `whole` is what was decided on again, such as `the last 10,000 requests`.
    pub fn in_words(&self, whole: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let share = |flips: &Flips| percent(flips.requests, self.requests);
        lines.push(format!(
            "would newly deny {} of {whole} ({}){}",
            number(self.newly_denied.requests),
            share(&self.newly_denied),
            details(&self.newly_denied)
        ));
        lines.push(format!(
            "newly permits {}{}",
            number(self.newly_permitted.requests),
            details(&self.newly_permitted)
        ));
        let others = [
            (&self.newly_step_up, "newly asks for a step-up"),
            (&self.newly_undecided, "newly could not decide on"),
            (&self.other_refusal, "refuses for another reason"),
        ];
        for (flips, what) in others.into_iter().filter(|(flips, _)| flips.requests > 0) {
            lines.push(format!("{what} {}{}", number(flips.requests), details(flips)));
        }
        if self.answered_otherwise > 0 {
            lines.push(format!(
                "{} at the time answered otherwise than the policy in force answers now",
                counted(self.answered_otherwise, "request was", "requests were")
            ));
        }
        lines
    }
}

/// By whom, on what, and by which rule.
pub(crate) fn details(flips: &Flips) -> String {
    if flips.requests == 0 {
        return String::new();
    }
    let users = counted(flips.users, "user", "users");
    format!(
        ", by {users} ({}), {}, by {}",
        names(&flips.by_user, flips.users, |name| name.strip_prefix("user:").unwrap_or(name)),
        on(&flips.by_action),
        only_names(&flips.by_rule)
    )
}

fn on(actions: &[Count]) -> String {
    match actions {
        [one] => format!("all on {}", one.name),
        several => format!("on {}", only_names(several)),
    }
}

/// `dave 31, carol 4, …`
fn names(counts: &[Count], all: u64, short: impl Fn(&str) -> &str) -> String {
    let listed = counts.iter().take(NAMED).map(|count| format!("{} {}", short(&count.name), number(count.requests)));
    let mut listed: Vec<String> = listed.collect();
    if all > listed.len() as u64 {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}

fn only_names(counts: &[Count]) -> String {
    let mut listed: Vec<&str> = counts.iter().take(NAMED).map(|count| count.name.as_str()).collect();
    if counts.len() > listed.len() {
        listed.push("…");
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_shares_are_for_people() {
        assert_eq!([0, 999, 1_000, 10_000, 1_234_567].map(number), ["0", "999", "1,000", "10,000", "1,234,567"]);
        assert_eq!(percent(37, 10_000), "0.37 %");
        assert_eq!(
            (percent(1, 3), percent(3, 3), percent(0, 0)),
            ("33.33 %".into(), "100.00 %".into(), "0.00 %".into())
        );
    }
}
