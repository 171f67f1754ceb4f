//! Groups from a directory (Active Directory or another server of LDAP), for principals that were verified otherwise.
//!
//! [`Directory`] is what requests look at: what was found of each principal, while it is not too old. A look into it takes no lock. What
//! is not there, or too old, is looked up by [`Directory::run`] on a thread beside the requests; a request may wait for that, once
//! ([`GroupsAwaited`]).
//!
//! - What is in use is looked up again before it is `refresh` old, so that a group that was taken away is gone within that time.
//! - A directory that does not answer leaves what was found in force for `max_stale`. Then, and for whom nobody knows yet, the groups
//!   are unknown: that is `dependency.directory_unavailable` (503), never a decision without them.
//! - One principal is looked up once at a time, and the number of those that wait is bounded.
//! - What the directory says counts whole or not at all: groups over a bound, groups without a name that can be used, two entries for
//!   one principal. A group that is left out might be the one that a deny names.

mod cache;
mod census;
mod keep;
mod lookup;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, Principal, Spelling, spelling};
use tokio::sync::watch;

use crate::asking::Looked;
use crate::directory::cache::Cache;
use crate::directory::keep::Health;
use crate::namespace::Namespace;
use crate::settings::LdapDirectory;

pub use census::{Census, GroupStanding, Standing, census};
pub use keep::{DirectoryHost, DirectoryNotice, DirectoryNoticeKind};

/// A directory, and what is known of those who were looked up in it. Shared by all workers, by what looks up, and by one configuration
/// after the other as long as nothing of its settings changes.
#[derive(Debug)]
pub struct Directory {
    settings: LdapDirectory,
    namespace: Namespace,
    /// What stands before the names of all providers and directories.
    prefixes: Vec<Box<str>>,
    spelling: Spelling,
    /// Each provider whose principals are looked up, and what it puts before their ids.
    providers: Vec<(Arc<str>, Box<str>)>,
    uses_email: bool,
    cache: Cache,
    health: Health,
    counts: Counts,
    /// How many requests wait. One principal has one look-up, and may come often meanwhile.
    waiting: Arc<AtomicUsize>,
}

/// For each look-up that may wait, so many requests may.
const REQUESTS_EACH: usize = 4;

/// How look-ups ended, since the start.
#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    not_found: AtomicU64,
    disabled: AtomicU64,
    unusable: AtomicU64,
    failed: AtomicU64,
}

/// How a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReport {
    /// Its name.
    pub name: Arc<str>,
    /// Look-ups since the start, by result.
    pub lookups: [(&'static str, u64); 5],
    /// How many principals are remembered.
    pub entries: usize,
    /// How many look-ups wait.
    pub waiting: usize,
    /// When it last answered.
    pub answered: Option<Timestamp>,
    /// Why it does not, if so.
    pub problem: Option<String>,
}

/// What a directory makes of a principal.
#[derive(Debug)]
pub(crate) enum Grouped {
    /// The principal with its groups.
    Known(Arc<Principal>),
    /// It is there, and its account does not count: the provider, the id, and what to say.
    Disabled(Box<str>, Box<str>, String),
    /// Its groups are unknown, as the text says.
    Unavailable(String),
    /// It is being looked up. The second is what holds if that brings nothing.
    Awaited(GroupsAwaited, Box<Self>),
}

/// A look-up that is waited for.
#[derive(Debug)]
pub struct GroupsAwaited {
    ended: watch::Receiver<u64>,
    /// As many have ended once it has.
    count: u64,
    patience: Duration,
    _place: Place,
}

/// A place among those who wait, given back when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of so many.
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        // One that is too many goes back at once.
        (taken.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl GroupsAwaited {
    /// How long to wait at most.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Ends with the look-up, however that ends.
    pub async fn ended(&mut self) {
        // An error is the end of whoever looks up.
        let _ = self.ended.wait_for(|ended| *ended >= self.count).await;
    }
}

impl Directory {
    /// `providers`: each provider of its settings, with its prefix. `prefixes`: those of all providers and directories. `spelling`: how the ids of
    /// all are compared.
    pub(crate) fn new<'p>(
        settings: &LdapDirectory,
        providers: Vec<(Arc<str>, Box<str>)>,
        prefixes: impl IntoIterator<Item = &'p str>,
        spelling: &Spelling,
    ) -> Self {
        let prefixes: Vec<Box<str>> = prefixes.into_iter().map(Box::from).collect();
        Self {
            namespace: Namespace::new(&settings.prefix, prefixes.iter().map(|prefix| &**prefix)),
            prefixes,
            spelling: spelling.clone(),
            providers,
            uses_email: settings.filters().any(|filter| filter.uses(portcullis_ldap::Variable::Email)),
            cache: Cache::new(settings.entries, settings.max_waiting),
            health: Health::default(),
            counts: Counts::default(),
            waiting: Arc::default(),
            settings: settings.clone(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// Whether this serves a configuration that asks for that.
    pub(crate) fn serves(&self, other: &Self) -> bool {
        let same_names = self.namespace == other.namespace && self.prefixes == other.prefixes;
        self.settings == other.settings
            && self.providers == other.providers
            && same_names
            && self.spelling == other.spelling
    }

    /// What is put before the ids of that provider, if its principals are looked up here.
    pub(crate) fn prefix_of(&self, provider: &str) -> Option<&str> {
        self.providers.iter().find(|(name, _)| **name == *provider).map(|(_, prefix)| &**prefix)
    }

    /// The principal with what the directory says. It takes no lock where that is known and young enough.
    pub(crate) fn group(&self, principal: &Arc<Principal>, prefix: &str, now: Timestamp) -> Grouped {
        let id = principal.id.strip_prefix(prefix).unwrap_or(&principal.id);
        let email = principal.email.as_deref().filter(|email| self.uses_email && !email.is_empty());
        let subject = match email {
            None => self.cache.get(id),
            // No id has a control character.
            Some(email) => self.cache.get(&format!("{id}\0{email}")),
        };
        let now = now.as_millisecond();
        if let Some(known) = subject.as_ref().and_then(|subject| subject.young(&self.settings, now)) {
            return self.judge(&known, principal, prefix);
        }
        self.not_young(id, email, subject, (principal, prefix), now)
    }

    /// What holds of somebody who is not known, or was looked up too long ago.
    #[cold]
    fn not_young(
        &self,
        id: &str,
        email: Option<&str>,
        subject: Option<Arc<cache::Subject>>,
        (principal, prefix): (&Arc<Principal>, &str),
        now: i64,
    ) -> Grouped {
        let last_good = subject.as_ref().and_then(|subject| subject.last_good(&self.settings, now));
        let otherwise = match last_good {
            Some(known) => self.judge(&known, principal, prefix),
            None => {
                let why = self.health.problem().unwrap_or_else(|| "it has not answered yet".to_owned());
                Grouped::Unavailable(format!("the groups of the directory {} are not known: {why}", self.name()))
            }
        };
        let failed_just_now = subject.as_ref().is_some_and(|subject| subject.has_failed_since(now - keep::RETRY_MS));
        // It is asked again by whoever keeps it, and says so when it answers.
        if self.health.is_down() || failed_just_now {
            return otherwise;
        }
        let place = Place::take(&self.waiting, self.settings.max_waiting.saturating_mul(REQUESTS_EACH));
        match (self.cache.ask(id, email, subject, now), place) {
            (Looked::Asked { ended, count }, Some(place)) => {
                let patience = self.settings.patience();
                Grouped::Awaited(GroupsAwaited { ended, count, patience, _place: place }, Box::new(otherwise))
            }
            (Looked::TooMany | Looked::Asked { .. }, _) if matches!(otherwise, Grouped::Unavailable(_)) => {
                Grouped::Unavailable(format!(
                    "the groups of the directory {} are not known: {} look-ups wait",
                    self.name(),
                    self.settings.max_waiting
                ))
            }
            (Looked::TooMany | Looked::Asked { .. }, _) => otherwise,
        }
    }

    fn judge(&self, known: &cache::Known, principal: &Arc<Principal>, prefix: &str) -> Grouped {
        match &known.verdict {
            Verdict::Found { .. } | Verdict::NotFound => {
                match known.merged(principal, |it| self.named(it, &known.verdict, prefix)) {
                    Ok(principal) => Grouped::Known(principal),
                    Err(why) => {
                        Grouped::Unavailable(format!("what the directory {} says cannot be used: {why}", self.name()))
                    }
                }
            }
            Verdict::Disabled => {
                let detail = format!("the account does not count in the directory {}", self.name());
                Grouped::Disabled(principal.authentication.provider.clone(), principal.id.clone(), detail)
            }
            Verdict::Unusable(why) => {
                Grouped::Unavailable(format!("the groups of the directory {} cannot be used: {why}", self.name()))
            }
        }
    }

    /// The principal as the directory knows it: under the id that its entry has, and in its groups. However a credential spells an id that the
    /// directory finds, it is one principal.
    fn named(&self, principal: &Principal, verdict: &Verdict, prefix: &str) -> Result<Principal, String> {
        let mut named = principal.clone();
        let entry = match verdict {
            Verdict::Found { id, groups } => {
                named.directory = Some(Arc::clone(self.name()));
                for group in groups {
                    if !named.groups.contains(group) {
                        named.groups.push(group.clone());
                    }
                }
                id.as_deref()
            }
            Verdict::NotFound | Verdict::Disabled | Verdict::Unusable(_) => None,
        };
        // Whose name stands in a file of ours is called as the file says: nobody else can spell it.
        let is_listed =
            matches!(principal.authentication.method, AuthenticationMethod::ApiKey | AuthenticationMethod::Password);
        let claimed = principal.id.strip_prefix(prefix);
        if let Some(claimed) = claimed.filter(|_| !is_listed) {
            let ignores_case = self.settings.id_ignores_case && self.settings.id != PrincipalId::Claimed;
            let id = match entry {
                Some(entry) => entry.to_owned(),
                None if ignores_case => spelling::folded(claimed),
                None => claimed.to_owned(),
            };
            if id != *claimed {
                let prefixes = self.prefixes.iter().map(|prefix| &**prefix);
                named.id = Namespace::new(prefix, prefixes).local(&id).map_err(|refusal| refusal.detail)?;
            }
        }
        Ok(named)
    }

    /// How it is.
    pub fn report(&self) -> DirectoryReport {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { found, not_found, disabled, unusable, failed } = &self.counts;
        DirectoryReport {
            name: Arc::clone(self.name()),
            lookups: [
                ("found", count(found)),
                ("not_found", count(not_found)),
                ("disabled", count(disabled)),
                ("unusable", count(unusable)),
                ("failed", count(failed)),
            ],
            entries: self.cache.len(),
            waiting: self.cache.waiting(),
            answered: self.health.answered(),
            problem: self.health.problem(),
        }
    }
}

/// What a directory says of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is there.
    Found {
        /// Its id as the entry has it, and as ids are compared; `None`: as the credential says it.
        id: Option<Box<str>>,
        /// It is in these groups.
        groups: Vec<portcullis_policy::GroupClaim>,
    },
    /// Nobody of that name is there.
    NotFound,
    /// It is there, and the filter for accounts leaves it out.
    Disabled,
    /// What it says cannot be used, as the text says.
    Unusable(String),
}

/// What a group is named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupName {
    /// Its distinguished name, as the server writes it.
    Dn,
    /// `objectGUID`, written as Active Directory's tools write it.
    Guid,
    /// The one value of this attribute.
    Attribute(Box<str>),
}

/// What the id of a principal is, behind its provider's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalId {
    /// As the credential says it: the directory is not asked for it, and looks people up by their address of mail alone.
    Claimed,
    /// The distinguished name of the entry, as the server writes it.
    Dn,
    /// The one value of this attribute of the entry.
    Attribute(Box<str>),
}

/// How groups of groups are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nested {
    /// By the matching rule where the server says that it is one of Active Directory, else by a walk.
    #[default]
    Auto,
    /// By the matching rule of Active Directory, in one search.
    MatchingRule,
    /// By a walk from group to group.
    Walk,
    /// Not: only groups that a principal is in itself.
    None,
}

/// Where groups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// A search, below this base.
    Search {
        /// Where it begins.
        base: Box<str>,
        /// What it looks for.
        filter: portcullis_ldap::Filter,
    },
    /// The distinguished names in this attribute of the principal's entry, and of each group's.
    Attribute(Box<str>),
}

/// With whom a directory is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    /// The distinguished name, or what the server takes for one.
    pub dn: Box<str>,
    /// Its password; never empty.
    pub password: Arc<str>,
}

impl fmt::Debug for Bind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bind").field("dn", &self.dn).field("password", &"…").finish()
    }
}

#[cfg(test)]
mod tests;
