//! What was in force a short while ago, and since when what a version took back had been: whoever was refused meanwhile may have done nothing wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_governance::{Hash, Kind, Version};

use super::Governing;

/// Versions that are looked through, from the last one back.
const BACK: u64 = 64;
/// Of these so many are told.
const TOLD: usize = 4;

/// What of a version says how long it was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Then {
    n: u64,
    at: Option<Timestamp>,
    governed: Hash,
    /// It took back what was in its steps, or cut that short: the version before was never in force for everybody.
    over_steps: bool,
}

impl Then {
    fn of(version: &Version) -> Self {
        let over_steps = version.exceptions.cut_short || version.change.kind == Kind::Revert;
        let at = Timestamp::from_microsecond(version.time).ok();
        Self { n: version.n, at, governed: version.change.governed, over_steps }
    }
}

impl Governing {
    /// The versions before the one in force that were so themselves within this time, for everybody, and govern something else than what replaced them: the oldest
    /// first, each with when it was replaced. Of those that nobody kept count of nothing is said.
    pub(crate) fn replaced_within(&self, time: Duration, in_force: u64, now: Timestamp) -> Vec<(u64, Timestamp)> {
        let since = SignedDuration::try_from(time).ok().and_then(|time| now.checked_sub(time).ok());
        // Its time is that of its activation, and it may have taken steps for hours.
        let over = self.governor().steps_over_at(in_force).filter(|over| *over <= now);
        let versions = self.versions_back(BACK).map(|version| match Then::of(&version) {
            then if then.n == in_force => Then { at: then.at.max(over), ..then },
            then => then,
        });
        since.map(|since| replaced(versions, in_force, (since, now))).unwrap_or_default()
    }

    /// Since when what this version took back had been in force, for anybody; `None`: it took nothing back.
    pub(crate) fn taken_back_since(&self, n: u64) -> Option<Timestamp> {
        let governor = self.governor();
        let back = governor.version(n).ok()?;
        let first = match back.change.kind {
            Kind::Rollback | Kind::Revert => back.change.restores.checked_add(1)?,
            Kind::Undo => back.change.restores,
            Kind::Change
            | Kind::Feed
            | Kind::Calibration
            | Kind::BreakGlass
            | Kind::Keys
            | Kind::Recovery
            | Kind::Recovered
            | Kind::Veto => return None,
        };
        Timestamp::from_microsecond(governor.version(first).ok()?.time).ok()
    }
}

/// `versions`: from the last one back.
fn replaced(
    versions: impl Iterator<Item = Then>,
    in_force: u64,
    (since, now): (Timestamp, Timestamp),
) -> Vec<(u64, Timestamp)> {
    let mut found = Vec::new();
    let mut next: Option<Then> = None;
    // Those that come behind the one in force are not in force yet.
    for version in versions.skip_while(|version| version.n > in_force).take_while(|version| version.n <= in_force) {
        if let Some(next) = &next {
            // What is said to come later than now is of a clock that went wrong.
            let Some(at) = next.at.filter(|at| (since..=now).contains(at)) else { break };
            if !next.over_steps && next.governed != version.governed {
                found.push((version.n, at));
            }
        }
        next = Some(version);
        if found.len() == TOLD {
            break;
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version is written `GOVERNED@MINUTES AGO`, with a `!` where it is over steps; the first one first, and numbered from 1.
    #[test]
    fn versions_that_were_in_force_within_the_time_are_told() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let check = |text: &str, in_force: u64, expected: &[(u64, i64)]| {
            let mut versions: Vec<Then> = text
                .split(' ')
                .zip(1..)
                .map(|(word, n)| {
                    let (governed, ago) = word.trim_end_matches('!').split_once('@').unwrap();
                    let ago: i64 = ago.parse().unwrap();
                    let at = Some(now - SignedDuration::from_mins(ago));
                    let governed = Hash([governed.bytes().next().unwrap(); 32]);
                    Then { n, at, governed, over_steps: word.ends_with('!') }
                })
                .collect();
            versions.reverse();
            let since = now - SignedDuration::from_mins(15);
            let found = replaced(versions.into_iter(), in_force, (since, now));
            let found: Vec<(u64, i64)> = found.iter().map(|(n, at)| (*n, now.duration_since(*at).as_mins())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("a@90", 1, &[]);
        // One that came with this start, and one that came a moment before the last process ended.
        check("a@90 b@0", 2, &[(1, 0)]);
        check("a@90 b@10 c@0", 3, &[(1, 10), (2, 0)]);
        // Too long ago, and of a clock that went wrong.
        check("a@90 b@16", 2, &[]);
        check("a@90 b@15", 2, &[(1, 15)]);
        check("a@90 b@-5", 2, &[]);
        check("a@90 b@16 c@3", 3, &[(2, 3)]);
        // The same in another version, such as one of keys.
        check("a@90 a@5 b@3", 3, &[(2, 3)]);
        check("a@90 b@5 b@3", 3, &[(1, 5)]);
        // What was taken back in its steps was in force for few.
        check("a@90 b@5 a@3!", 3, &[(1, 5)]);
        // What is being rolled out has replaced nothing yet.
        check("a@90 b@5", 1, &[]);
        check("a@9 b@8 c@7 d@6 e@5 f@4", 6, &[(2, 7), (3, 6), (4, 5), (5, 4)]);
    }
}
