//! The different callers of a step. A gateway that is restarted each night may see one of them today and the other tomorrow: so some are told apart from
//! those of earlier runs, too.

use std::collections::HashSet;
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};

use super::CALLERS_MAX;

/// Callers of a step who are told apart from those of earlier runs. Of more only the number outlasts a restart.
pub const CALLERS_KEPT: usize = 16;

/// Whose mark it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller<'a> {
    /// As it is referred to in a policy: `user:alice`.
    Principal(&'a str),
    /// Of IPv6 the /64.
    Address(IpAddr),
}

impl Caller<'_> {
    /// The same in each run, and never 0.
    fn mark(self) -> u64 {
        let mut context = Context::new(&SHA256);
        match self {
            Self::Principal(reference) => {
                context.update(b"portcullis-step-caller-v1 principal ");
                context.update(reference.as_bytes());
            }
            Self::Address(IpAddr::V4(address)) => {
                context.update(b"portcullis-step-caller-v1 address ");
                context.update(&address.octets());
            }
            Self::Address(IpAddr::V6(address)) => {
                context.update(b"portcullis-step-caller-v1 network ");
                context.update(&(address.to_bits() >> 64).to_be_bytes());
            }
        }
        let digest = context.finish();
        digest.as_ref().first_chunk::<8>().copied().map_or(1, u64::from_be_bytes).max(1)
    }
}

/// Who came in a step.
#[derive(Debug, Default)]
pub(super) struct Callers {
    came: HashSet<u64>,
    /// The marks of the first ones, of this run or earlier ones; 0 where there is none yet.
    kept: [u64; CALLERS_KEPT],
    /// Those of the marks with which this run began, and those of this run who are not among them.
    different: u64,
    /// How many earlier runs had counted.
    before: u64,
}

impl Callers {
    /// What earlier runs of the process have kept of the step.
    pub(super) fn of_earlier_runs(count: u64, kept: [u64; CALLERS_KEPT]) -> Self {
        let different = kept.iter().filter(|mark| **mark != 0).count() as u64;
        Self { came: HashSet::new(), kept, different, before: count }
    }

    /// One comes.
    pub(super) fn note(&mut self, caller: Caller<'_>) {
        let mark = caller.mark();
        if self.came.len() >= CALLERS_MAX || !self.came.insert(mark) || self.kept.contains(&mark) {
            return;
        }
        self.different = self.different.saturating_add(1);
        if let Some(free) = self.kept.iter_mut().find(|mark| **mark == 0) {
            *free = mark;
        }
    }

    /// So many at least. Whoever has no mark, and came in two runs, is counted in the one that had more.
    pub(super) fn count(&self) -> u64 {
        self.before.max(self.different)
    }

    pub(super) fn kept(&self) -> [u64; CALLERS_KEPT] {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(mut callers: Callers, names: &[&str]) -> Callers {
        names.iter().for_each(|name| callers.note(Caller::Principal(name)));
        callers
    }

    fn restarted(callers: &Callers) -> Callers {
        Callers::of_earlier_runs(callers.count(), callers.kept())
    }

    #[test]
    fn callers_of_different_runs_are_told_apart() {
        let first = with(Callers::default(), &["service:a", "service:a"]);
        assert_eq!(first.count(), 1);
        assert_eq!(with(restarted(&first), &["service:a"]).count(), 1, "the same one");
        let second = with(restarted(&first), &["service:b"]);
        assert_eq!((second.count(), with(restarted(&second), &["service:a", "service:b"]).count()), (2, 2));
        // An address is nobody's name.
        let mut addresses = restarted(&second);
        for address in ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            addresses.note(Caller::Address(address.parse().unwrap()));
        }
        assert_eq!(addresses.count(), 5);
    }

    #[test]
    fn of_more_than_are_kept_the_number_is() {
        let names: Vec<String> = (0..40).map(|n| format!("user:{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = with(Callers::default(), &names[..30]);
        assert_eq!((first.count(), first.kept().contains(&0)), (30, false));
        // Ten who came before and have no mark may be anybody.
        assert_eq!(with(restarted(&first), &names[20..30]).count(), 30);
        assert_eq!(with(restarted(&first), &names[..40]).count(), 40);
        // An older record has neither.
        assert_eq!(Callers::of_earlier_runs(0, [0; CALLERS_KEPT]).count(), 0);
    }
}
