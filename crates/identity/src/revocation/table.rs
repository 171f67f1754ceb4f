//! Where what is revoked stands: by kind and name, each kind with its bound, and of two of the same the stricter.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::PrincipalKind;

use super::{MOST, Revocation};

/// One map for each kind, so that a request looks a name up without a copy of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table([HashMap<Box<str>, Arc<Revocation>>; KINDS]);

/// Tokens, keys, and the kinds of principals that can be revoked.
const KINDS: usize = 5;

/// The place of a kind, and the name there.
pub(super) type Place<'n> = (usize, &'n str);

pub(super) const TOKENS: usize = 0;
pub(super) const KEYS: usize = 1;

/// Where principals of this kind are.
pub(super) fn place_of(kind: PrincipalKind) -> usize {
    match kind {
        PrincipalKind::User => 2,
        PrincipalKind::Service => 3,
        PrincipalKind::Certificate => 4,
    }
}

impl Table {
    pub(super) fn get(&self, (kind, name): Place<'_>) -> Option<&Arc<Revocation>> {
        self.0.get(kind)?.get(name)
    }

    pub(super) fn insert(&mut self, revocation: Arc<Revocation>) {
        let (kind, name) = revocation.what.place();
        let name = Box::from(name);
        if let Some(names) = self.0.get_mut(kind) {
            names.insert(name, revocation);
        }
    }

    /// The same, and no milder than what is in force of it: the later moment and the later end stay.
    pub(super) fn stricter(&self, new: Arc<Revocation>, now: Timestamp) -> Arc<Revocation> {
        let Some(before) = self.get(new.what.place()).filter(|before| !before.is_over(now)) else { return new };
        let until = new.until.zip(before.until).map(|(one, other)| one.max(other));
        Arc::new(Revocation { before: new.before.max(before.before), until, ..Revocation::clone(&new) })
    }

    /// Beside what is there of it: the stricter of both, whatever the time.
    pub(super) fn join(&mut self, new: Arc<Revocation>) {
        let both = self.get(new.what.place()).map(|there| {
            let until = new.until.zip(there.until).map(|(one, other)| one.max(other));
            Arc::new(Revocation { before: new.before.max(there.before), until, ..Revocation::clone(&new) })
        });
        self.insert(both.unwrap_or(new));
    }

    pub(super) fn remove(&mut self, (kind, name): Place<'_>) -> bool {
        self.0.get_mut(kind).is_some_and(|names| names.remove(name).is_some())
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(&Revocation) -> bool) {
        self.0.iter_mut().for_each(|names| names.retain(|_, each| keeps(each)));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Revocation>> {
        self.0.iter().flat_map(HashMap::values)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }

    /// Those that share a bound with this kind.
    pub(super) fn beside(&self, kind: usize) -> impl Iterator<Item = &Arc<Revocation>> {
        let shares = move |other: usize| (other == TOKENS) == (kind == TOKENS);
        self.0.iter().enumerate().filter(move |(other, _)| shares(*other)).flat_map(|(_, names)| names.values())
    }

    pub(super) fn has_room(&self, (kind, name): Place<'_>, now: Timestamp) -> bool {
        self.get((kind, name)).is_some()
            || self.beside(kind).count() < MOST
            || self.beside(kind).filter(|each| !each.is_over(now)).count() < MOST
    }
}
