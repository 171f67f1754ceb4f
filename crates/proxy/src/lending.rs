//! What principals have for a time, as requests see it: one atomic load where nobody has anything.
//!
//! Who decides what is lent, and writes it down, is the program's matter; it puts a whole new table in force with [`Lending::replace`]. Each entry
//! has a deadline by the clock that nobody sets, beside its end by the time of day, and whichever comes first counts: here the former, in the
//! engine the latter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_policy::{Activation, Principal, PrincipalKind};

/// What one principal has for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentTo {
    /// The kind of principal.
    pub kind: PrincipalKind,
    /// Its id.
    pub id: Box<str>,
    /// What.
    pub activation: Activation,
    /// When it ends, by [`Clock`](crate::clock::Clock).
    pub deadline: Timestamp,
}

/// What is lent, to all.
#[derive(Debug, Default)]
pub struct Lending {
    /// Something is in force.
    any: AtomicBool,
    table: ArcSwap<Table>,
    /// Counted up where something else is in force than before: open streams are decided on again.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    in_force: HashMap<Box<str>, Vec<LentTo>>,
    /// What has ended lately: only refusals ask for it.
    ended: HashMap<Box<str>, Vec<LentTo>>,
}

fn by_id(entries: Vec<LentTo>) -> HashMap<Box<str>, Vec<LentTo>> {
    let mut table: HashMap<Box<str>, Vec<LentTo>> = HashMap::new();
    for entry in entries {
        table.entry(entry.id.clone()).or_default().push(entry);
    }
    table
}

impl Lending {
    /// Puts a new table in force: every request that begins after this returns is decided by it, and what is open already within seconds. Called by one at a
    /// time.
    pub fn replace(&self, in_force: Vec<LentTo>, ended: Vec<LentTo>) {
        let table = Table { in_force: by_id(in_force), ended: by_id(ended) };
        let any = !table.in_force.is_empty();
        // Who only asked for something has nobody's streams decided on again.
        let is_another = table.in_force != self.table.load().in_force;
        self.table.store(std::sync::Arc::new(table));
        // Behind the table, so that whoever sees that there is something finds it.
        self.any.store(any, Ordering::Release);
        if is_another {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// How often what is in force has become something else.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What a principal has now, by the clock that nobody sets. An empty list costs nothing.
    pub fn of(&self, principal: &Principal, steady_now: Timestamp) -> Vec<Activation> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let table = self.table.load();
        let entries = table.in_force.get(&*principal.id).into_iter().flatten();
        let holds = |entry: &&LentTo| entry.kind == principal.kind && steady_now < entry.deadline;
        entries.filter(holds).map(|entry| entry.activation.clone()).collect()
    }

    /// What a principal had, of what has ended lately: for the words of a refusal. It has ended by the time of day, too, so that it decides nothing.
    pub fn ended(&self, principal: &Principal, now: Timestamp, steady_now: Timestamp) -> Vec<Activation> {
        let table = self.table.load();
        let past = table.ended.get(&*principal.id).into_iter().flatten();
        // The table may be a second older than the deadline.
        let just = table.in_force.get(&*principal.id).into_iter().flatten();
        let just = just.filter(|entry| steady_now >= entry.deadline || now >= entry.activation.until);
        let of_it = past.chain(just).filter(|entry| entry.kind == principal.kind);
        of_it.map(|entry| Activation { until: entry.activation.until.min(now), ..entry.activation.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn lent(kind: PrincipalKind, until: i64, deadline: i64) -> LentTo {
        LentTo { kind, id: "alice".into(), activation: Activation::of("on-call", at(until)), deadline: at(deadline) }
    }

    #[test]
    fn it_is_for_one_principal_and_until_the_clock_that_nobody_sets_says() {
        let lending = Lending::default();
        let (alice, other) = (Principal::user("alice"), Principal::user("bert"));
        assert_eq!((lending.of(&alice, at(0)).len(), lending.generation()), (0, 0));
        // By the time of day it would last for an hour: the clock was set back.
        lending.replace(vec![lent(PrincipalKind::User, 3_600, 60)], Vec::new());
        assert_eq!(lending.generation(), 1);
        lending.replace(vec![lent(PrincipalKind::User, 3_600, 60)], vec![lent(PrincipalKind::User, 1, 1)]);
        lending.replace(vec![lent(PrincipalKind::User, 3_600, 60)], Vec::new());
        assert_eq!(lending.generation(), 1, "what is in force is what was");
        assert_eq!((lending.of(&alice, at(59)).len(), lending.of(&alice, at(60)).len()), (1, 0));
        assert_eq!(lending.of(&other, at(0)).len(), 0);
        let service = Principal { kind: PrincipalKind::Service, ..alice.clone() };
        assert_eq!(lending.of(&service, at(0)).len(), 0, "a service of the same name is somebody else");
        // What has ended is no fact that decides.
        assert_eq!(lending.ended(&alice, at(10), at(59)).len(), 0);
        let ended = lending.ended(&alice, at(10), at(60));
        assert_eq!(ended.iter().map(|each| each.is_in_force(at(10))).collect::<Vec<_>>(), [false]);
        lending.replace(Vec::new(), vec![lent(PrincipalKind::User, 20, 20)]);
        assert_eq!((lending.of(&alice, at(0)).len(), lending.ended(&alice, at(30), at(30)).len()), (0, 1));
        assert_eq!(lending.ended(&service, at(30), at(30)).len(), 0);
    }
}
