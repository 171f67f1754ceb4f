//! What directories say of whom a policy names: asked while an audit is made, on connections of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::directory::{Census, GroupStanding, Standing, census};
use portcullis_identity::settings::{LdapDirectory, Settings as Identity};
use portcullis_insight::audit::KnownPrincipals;
use portcullis_policy::{PolicyDraft, PrincipalKind};

/// How long one directory is asked altogether. What it has not said by then is not known.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of how many principals and groups each it is asked.
const MOST: usize = 5_000;

/// Directories, and the sources of identity whose principals they know.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    all: Vec<LdapDirectory>,
    /// Sources that may bring anybody: name, kind, and what stands before their ids.
    open: Vec<(Arc<str>, PrincipalKind, String)>,
}

impl Directories {
    pub(super) fn of(identity: &Identity) -> Self {
        let user = PrincipalKind::User;
        let tokens = identity.jwt.iter().map(|each| (Arc::clone(&each.name), each.principal, each.prefix.clone()));
        let logins = identity.oidc.iter().map(|each| (Arc::clone(&each.name), user, each.prefix.clone()));
        let asked =
            identity.introspection.iter().map(|each| (Arc::clone(&each.name), each.principal, each.prefix.clone()));
        let certificates = identity.certificate.iter();
        let shown = certificates.map(|each| (Arc::clone(&each.name), PrincipalKind::Certificate, each.prefix.clone()));
        Self { all: identity.ldap.clone(), open: tokens.chain(logins).chain(asked).chain(shown).collect() }
    }

    /// What they are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|directory| &*directory.name)
    }

    /// Asks each for those whom the policy names and whom it alone can tell of, and adds what it says to `known`.
    pub(super) fn ask(&self, draft: &PolicyDraft, known: &mut KnownPrincipals) {
        if self.all.is_empty() {
            return;
        }
        let names = named(draft);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut said = Vec::new();
        for directory in &self.all {
            let ids = self.ids_for(directory, &names, known);
            let groups = self.groups_of(directory, draft, &names);
            let mut answer = Census::default();
            if !ids.is_empty() || !groups.is_empty() {
                let asked = match &runtime {
                    Ok(runtime) => runtime.block_on(async {
                        let asked = census(directory, &ids, &groups, &mut answer);
                        let late = || Err(format!("it had not said all after {} s", PATIENCE.as_secs()));
                        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| late())
                    }),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(why) = asked {
                    known.unasked.push(format!("the directory `{}` could not be asked: {why}", directory.name));
                }
            }
            believe(directory, &mut answer, known);
            said.push(answer);
        }
        let unlisted: Vec<&String> = names.iter().filter(|name| !known.listed.contains(*name)).collect();
        for name in unlisted {
            if let Some(why) = self.gone(name, &said) {
                known.gone.push((name.clone(), why));
            }
        }
        for (directory, answer) in self.all.iter().zip(&said) {
            let of = |standing: GroupStanding, why: &str| -> Vec<(String, String)> {
                let found = answer.groups.iter().filter(|(_, each)| **each == standing);
                let why = format!("the directory `{}` {why}", directory.name);
                found.map(|(name, _)| (format!("group:{}{name}", directory.prefix), why.clone())).collect()
            };
            known.gone.extend(of(GroupStanding::Absent, "was asked and has no such group"));
            known.empty.extend(of(GroupStanding::Empty, "has nobody in it"));
        }
    }

    /// The sources that could bring somebody of this name.
    fn sources<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let (kind, id) = name.split_once(':').unwrap_or_default();
        let could = move |(source, of, prefix): &'s (Arc<str>, PrincipalKind, String)| {
            (of.as_str() == kind).then_some(())?;
            Some((&**source, id.strip_prefix(prefix.as_str())?))
        };
        self.open.iter().filter_map(could)
    }

    /// The ids of whom a directory is asked: of everybody whom its sources could bring and nobody lists.
    fn ids_for(&self, directory: &LdapDirectory, names: &BTreeSet<String>, known: &KnownPrincipals) -> Vec<String> {
        let unlisted = names.iter().filter(|name| !known.listed.contains(*name));
        let ids = unlisted.flat_map(|name| self.sources(name));
        let served = ids.filter(|(source, _)| directory.providers.iter().any(|each| **each == **source));
        let ids: BTreeSet<String> = served.map(|(_, id)| id.to_owned()).collect();
        ids.into_iter().take(MOST).collect()
    }

    /// The groups that the policy names and that can come from this directory alone: those with its prefix, unless somebody shares it.
    fn groups_of(&self, directory: &LdapDirectory, draft: &PolicyDraft, names: &BTreeSet<String>) -> Vec<String> {
        let prefix = directory.prefix.as_str();
        let shared = self.open.iter().any(|(_, _, other)| other == prefix)
            || self.all.iter().any(|other| other.name != directory.name && other.prefix.starts_with(prefix));
        if prefix.is_empty() || shared {
            return Vec::new();
        }
        let local: BTreeSet<&str> = draft.groups.iter().map(|group| group.name.value.as_str()).collect();
        let groups = names.iter().filter_map(|name| name.strip_prefix("group:"));
        let groups = groups.filter(|name| !local.contains(name)).filter_map(|name| name.strip_prefix(prefix));
        groups.filter(|name| !name.is_empty()).take(MOST).map(str::to_owned).collect()
    }

    /// Why nobody can be this principal, as all directories say that could tell; `None`: somebody may, or nobody can tell.
    fn gone(&self, name: &str, said: &[Census]) -> Option<String> {
        let mut why = None;
        for (source, id) in self.sources(name) {
            let place =
                self.all.iter().position(|directory| directory.providers.iter().any(|each| **each == *source))?;
            let directory = &self.all.get(place)?.name;
            why = Some(match said.get(place)?.principals.get(id)? {
                Standing::Absent => format!("the directory `{directory}` was asked and has no such entry"),
                Standing::Disabled => format!("its account in the directory `{directory}` is disabled"),
                Standing::There | Standing::Unclear => return None,
            });
        }
        why
    }
}

/// Of a directory in which nothing is found that was asked for, it is not believed that nothing is there: perhaps nothing may be read.
fn believe(directory: &LdapDirectory, answer: &mut Census, known: &mut KnownPrincipals) {
    let blind = |what: &str, count: usize| {
        format!(
            "the directory `{}` shows none of the {count} {what} that were asked for: may its reader see them?",
            directory.name
        )
    };
    if !answer.principals.is_empty() && answer.principals.values().all(|each| *each == Standing::Absent) {
        known.unasked.push(blind("principals", answer.principals.len()));
        answer.principals.clear();
    }
    if !answer.groups.is_empty() && answer.groups.values().all(|each| *each == GroupStanding::Absent) {
        known.unasked.push(blind("groups", answer.groups.len()));
        answer.groups.clear();
    }
}

/// Principals and groups that a policy names, as it writes them.
fn named(draft: &PolicyDraft) -> BTreeSet<String> {
    let granted = draft.assignments.iter().flat_map(|assignment| &assignment.principals);
    let members = draft.groups.iter().flat_map(|group| &group.members);
    granted.chain(members).map(|name| name.value.clone()).filter(|name| name.contains(':')).collect()
}
