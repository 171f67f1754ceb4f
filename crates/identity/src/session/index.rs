//! Which sessions somebody has, and which of them a provider means by a `sid`: those that were not ended.

use std::borrow::Cow;
use std::collections::HashMap;

use portcullis_policy::{Principal, Spelling};

use super::id::SessionKey;
use super::record::Session;
use super::table::SessionBounds;

/// What is locked to change anything.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) bounds: SessionBounds,
    /// How the ids of principals are compared.
    pub(super) spelling: Spelling,
    /// By principal, as a policy writes it.
    principals: HashMap<Box<str>, Vec<SessionKey>>,
    /// By provider and `sid`. Whoever wants to end one by it, signed or not, has no table walked for that.
    sids: HashMap<Box<str>, Vec<SessionKey>>,
}

impl Index {
    /// Has the principal called by its id as it is compared.
    pub(super) fn spell(&self, principal: &mut Principal) {
        if let Cow::Owned(id) = self.spelling.id(principal.kind, &principal.id) {
            principal.id = id.into();
        }
    }

    pub(super) fn insert(&mut self, session: &Session) {
        self.principals.entry(session.principal.reference().into()).or_default().push(session.key);
        if let Some(name) = sid_of(session) {
            self.sids.entry(name.into()).or_default().push(session.key);
        }
    }

    pub(super) fn remove(&mut self, session: &Session) {
        forget(&mut self.principals, &session.principal.reference(), session.key);
        if let Some(name) = sid_of(session) {
            forget(&mut self.sids, &name, session.key);
        }
    }

    /// Those of a principal.
    pub(super) fn of_principal(&self, principal: &str) -> &[SessionKey] {
        self.principals.get(principal).map_or(&[], Vec::as_slice)
    }

    /// Those that a provider calls so.
    pub(super) fn of_sid(&self, provider: &str, sid: &str) -> &[SessionKey] {
        self.sids.get(&*named(provider, sid)).map_or(&[], Vec::as_slice)
    }
}

fn forget(all: &mut HashMap<Box<str>, Vec<SessionKey>>, name: &str, key: SessionKey) {
    if let Some(keys) = all.get_mut(name) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            all.remove(name);
        }
    }
}

fn sid_of(session: &Session) -> Option<String> {
    session.sid.as_deref().map(|sid| named(&session.principal.authentication.provider, sid))
}

/// The name of a provider has no such byte.
fn named(provider: &str, sid: &str) -> String {
    format!("{provider}\0{sid}")
}
