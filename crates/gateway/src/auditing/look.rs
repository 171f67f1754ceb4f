//! One audit: what of a configuration it looks at, and the looking. The same for a gateway that runs and for a store where none does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_config::{Loaded, PolicyFiles, ProcessEnvironment, load};
use portcullis_governance::{ApproverSet, Hash, Version};
use portcullis_identity::settings::Settings as Identity;
use portcullis_insight::audit::{
    Activation, BreakGlassUse, GrantSet, History, Input, KnownKey, KnownPrincipals, PastVersion, Patience,
    PolicyWriters, Report, Suppression, Usage, audit,
};
use portcullis_insight::{AuditSettings, Outlook};
use portcullis_policy::{LintFacts, Policy, PolicyDraft, PrincipalKind};

use super::directories::Directories;
use super::suppressing::Persons;
use crate::governing::{Governing, load_sealed};

/// Versions that are read, from the last one back.
const MOST_VERSIONS: u64 = 4_000;
/// Keys of which it is kept when they were last used.
const MOST_KEYS: usize = 100_000;
/// By so much longer than the window the log is read: what is usual is worked out from it.
const WEEKS_S: i64 = 12 * 7 * 24 * 60 * 60;

/// What of a configuration an audit looks at.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) config: PathBuf,
    pub(crate) callers: LintFacts,
    pub(crate) known: KnownPrincipals,
    pub(crate) directories: Directories,
    /// Whether approvals are demanded, and of how many for what loosens.
    pub(crate) rules: (bool, u8),
    pub(crate) settings: Option<AuditSettings>,
}

impl Facts {
    /// Whom the sources of identity know, once their directories were asked of those whom this policy names. It waits for them.
    pub(crate) fn ask_directories(&self, draft: &PolicyDraft) -> KnownPrincipals {
        let mut known = self.known.clone();
        self.directories.ask(draft, &mut known);
        known
    }

    /// Whom they know, with when each key was last used, in seconds since 1970.
    pub(crate) fn with_key_uses(
        mut known: KnownPrincipals,
        uses: Result<Vec<(String, i64)>, String>,
    ) -> KnownPrincipals {
        if known.keys.len() > MOST_KEYS {
            known.keys_unread =
                Some(format!("there are more than {MOST_KEYS}, of which it is kept when they were used"));
            return known;
        }
        match uses {
            Ok(uses) => {
                let mut last: BTreeMap<String, i64> = BTreeMap::new();
                for (id, used) in uses {
                    let known = last.entry(id).or_insert(used);
                    *known = (*known).max(used);
                }
                known.keys.iter_mut().for_each(|key| key.last_used = last.get(&key.id).copied());
            }
            Err(why) => known.keys_unread = Some(why),
        }
        known
    }

    /// Takes them out of a configuration that was loaded.
    pub(crate) fn of(loaded: &mut Loaded) -> Self {
        Self {
            config: loaded.files.first().cloned().unwrap_or_default(),
            known: known(&loaded.identity, Timestamp::now()),
            directories: Directories::of(&loaded.identity),
            callers: std::mem::take(&mut loaded.callers),
            rules: (loaded.governance.required, loaded.governance.loosen),
            settings: loaded.audit.clone(),
        }
    }
}

/// What an audit is made of.
pub(crate) struct Looked<'l> {
    pub(crate) facts: &'l Facts,
    /// Whom the sources of identity know, with what directories said.
    pub(crate) known: &'l KnownPrincipals,
    /// The policy with its places.
    pub(crate) draft: &'l PolicyDraft,
    /// The files in which it is written.
    pub(crate) files: &'l PolicyFiles,
    pub(crate) usage: &'l Usage,
    pub(crate) sample: Option<&'l Outlook>,
    pub(crate) past: Past,
    pub(crate) suppressions: &'l [Suppression],
    pub(crate) before: Option<&'l Report>,
    /// The policy's number.
    pub(crate) version: u64,
    pub(crate) now: Timestamp,
}

/// The log of versions, and who may approve.
#[derive(Debug, Default)]
pub(crate) struct Past {
    history: History,
    approvers: Vec<(String, Vec<String>)>,
    /// Who is who, by what is in force.
    persons: ApproverSet,
    /// What was done with broken seals; `None`: it cannot be read.
    broken: Option<Vec<BreakGlassUse>>,
    /// When eligible assignments were activated; likewise.
    activations: Option<Vec<Activation>>,
}

/// So many persons have to look at what was done with a broken seal.
const REVIEWERS: usize = 2;

fn broken(store: &portcullis_store::Settings) -> Option<Vec<BreakGlassUse>> {
    let uses = portcullis_store::break_glass(store)
        .inspect_err(|error| tracing::warn!(%error, "the log of temporary power cannot be read for the audit"))
        .ok()?;
    let of = |each: portcullis_store::BreakGlass| BreakGlassUse {
        principal: each.principal,
        at: each.opened.as_second(),
        what: each.gives,
        reviewed: each.reviewed_by.len() >= REVIEWERS,
    };
    Some(uses.into_iter().map(of).collect())
}

fn activations(store: &portcullis_store::Settings) -> Option<Vec<Activation>> {
    let all = portcullis_store::activations(store)
        .inspect_err(|error| tracing::warn!(%error, "the log of temporary power cannot be read for the audit"))
        .ok()?;
    let of = |each: portcullis_store::Activated| Activation {
        principal: each.principal,
        assignment: each.assignment,
        at: each.began.as_second(),
    };
    Some(all.into_iter().map(of).collect())
}

/// What is proposed is tried for so long: on a policy of a hundred thousand entries each trial takes seconds.
const TRIALS: Duration = Duration::from_secs(5 * 60);

/// It is over then.
#[derive(Debug)]
struct Until(Instant);

impl Patience for Until {
    fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// Makes it.
///
/// # Errors
/// A policy that does not compile.
pub(crate) fn look(looked: &Looked<'_>) -> Result<Report, String> {
    with_input(looked, |input| audit(input, &thread::yield_now))
}

/// Asks something of what an audit looks at.
///
/// # Errors
/// A policy that does not compile.
pub(super) fn with_input<T>(looked: &Looked<'_>, ask: impl FnOnce(&Input<'_>) -> T) -> Result<T, String> {
    let facts = looked.facts;
    let (policy, _) = Policy::compile(looked.draft)
        .map_err(|problems| problems.first().map(|problem| problem.message.clone()).unwrap_or_default())?;
    let policy = policy.numbered(looked.version);
    let default = AuditSettings::default();
    let (required, loosen) = facts.rules;
    Ok(ask(&Input {
        draft: looked.draft,
        policy: &policy,
        usage: looked.usage,
        sample: looked.sample,
        history: &looked.past.history,
        known: looked.known,
        break_glass: looked.past.broken.as_deref(),
        activations: looked.past.activations.as_deref(),
        writers: &PolicyWriters { required, loosen, approvers: looked.past.approvers.clone() },
        lint: &LintFacts { now: Some(looked.now), ..facts.callers.clone() },
        settings: facts.settings.as_ref().unwrap_or(&default),
        suppressions: looked.suppressions,
        persons: &Persons(looked.past.persons.clone()),
        before: looked.before,
        text: looked.files,
        patience: &Until(Instant::now() + TRIALS),
        now: looked.now,
    }))
}

/// The policy in force with its places and its files, read again: it would take as much memory as the policy itself, for moments that are rare. It is that of
/// its version in the log, or that of the disk, if one of them is the same.
///
/// # Errors
/// A sentence: neither is.
pub(crate) fn draft_in_force(
    governing: Option<&Governing>,
    config: &Path,
    policy: &Policy,
) -> Result<(PolicyDraft, PolicyFiles), String> {
    let kept = || {
        let governing = governing?;
        let version = governing.versions_back(MOST_VERSIONS).find(|version| version.n <= policy.version())?;
        load_sealed(config, &governing.content_of(&version)?).ok()
    };
    let on_disk = || load(config, &ProcessEnvironment).ok();
    let is_it = |loaded: &Loaded| loaded.policy.sha256() == policy.sha256();
    let found = kept().filter(is_it).or_else(|| on_disk().filter(is_it));
    let found =
        found.ok_or("the policy in force stands neither in the store nor in the files any more: reload first")?;
    let files = PolicyFiles::of(config, &found.governed)?;
    Ok((found.draft, files))
}

/// The versions that an audit needs: those of its window, and of some weeks before that.
pub(crate) fn past_of(
    governing: Option<&Governing>,
    config: &Path,
    settings: &AuditSettings,
    usage: &Usage,
    now: Timestamp,
) -> Past {
    let Some(governing) = governing else { return Past::default() };
    let unused_after = i64::try_from(settings.unused_after.as_secs()).unwrap_or(i64::MAX);
    let now = now.as_second();
    let edge = now.saturating_sub(unused_after.max(WEEKS_S));
    // The window counts what was observed, and may begin earlier for that.
    let observed = usage.since().and_then(|since| usage.observed().edge(since, now, unused_after));
    let edge = observed.map_or(edge, |observed| observed.min(edge));
    // What each is about first, and what they hold one after another: of all of them together there may be too much.
    let at = |version: &Version| version.time.div_euclid(1_000_000);
    let wanted = back_to(edge, governing.versions_back(MOST_VERSIONS), at);
    let mut history = History::default();
    let is_cut = wanted.last().is_some_and(|first| first.n > 1 && at(first) > edge);
    if is_cut {
        history.note_gap(format!("the log of versions is read {MOST_VERSIONS} versions back"));
    }
    let (mut last, mut unread): (Option<(Hash, Arc<GrantSet>)>, u64) = (None, 0);
    for version in wanted.into_iter().rev() {
        let content = version.change.content;
        if last.as_ref().is_none_or(|(before, _)| *before != content) {
            let read = governing.content_of(&version).and_then(|content| load_sealed(config, &content).ok());
            let Some(read) = read else {
                // What is before and after it counts as unbroken.
                unread += 1;
                continue;
            };
            last = Some((content, Arc::new(GrantSet::of(&read.draft))));
            thread::yield_now();
        }
        if let Some((_, grants)) = &last {
            let by = version.change.authors.clone();
            history.push(PastVersion { n: version.n, at: at(&version), by, grants: Arc::clone(grants) });
        }
    }
    if unread > 0 {
        history.note_gap(format!(
            "{unread} versions of the log cannot be read any more, and count as if nothing had changed in them"
        ));
    }
    let persons = governing.approvers().0;
    let approvers =
        persons.approvers.iter().map(|approver| (approver.person.clone(), approver.aliases.clone())).collect();
    let activations = activations(governing.store());
    Past { history, approvers, persons, broken: broken(governing.store()), activations }
}

/// Those of the versions, from the last one back, that were live at this time or came later.
fn back_to<T>(edge: i64, versions: impl Iterator<Item = T>, at: impl Fn(&T) -> i64) -> Vec<T> {
    let mut wanted = Vec::new();
    for version in versions {
        let is_first = at(&version) <= edge;
        wanted.push(version);
        if is_first {
            break;
        }
    }
    wanted
}

/// Whom the sources of identity know, and which of them could bring anybody.
fn known(identity: &Identity, now: Timestamp) -> KnownPrincipals {
    let mut known = KnownPrincipals::default();
    let name = |kind: PrincipalKind, id: &str| format!("{}:{id}", kind.as_str());
    // Where one of several credentials still counts, somebody may come.
    let mut usable: BTreeMap<String, Result<(), String>> = BTreeMap::new();
    let mut note = |principal: String, standing: Result<(), String>| {
        let found = usable.entry(principal).or_insert_with(|| standing.clone());
        if standing.is_ok() {
            *found = standing;
        }
    };
    for provider in &identity.password {
        for user in &provider.users {
            let standing = match (user.disabled, user.expires) {
                (true, _) => Err(format!("the user is disabled in `{}`", provider.name)),
                (false, Some(expires)) if expires <= now => {
                    Err(format!("the user in `{}` expired at {expires}", provider.name))
                }
                (false, _) => Ok(()),
            };
            note(name(PrincipalKind::User, &format!("{}{}", provider.prefix, user.name)), standing);
        }
    }
    // As requests bring them, and as the policy has them.
    let spelling = identity.spelling();
    for provider in &identity.api_key {
        for key in &provider.keys {
            let (kind, id) = &key.principal;
            let id = spelling.id(*kind, id);
            let standing = match (key.revoked, key.expires) {
                (true, _) => Err(format!("its key `{}` is revoked", key.id)),
                (false, Some(expires)) if expires <= now => Err(format!("its key `{}` expired at {expires}", key.id)),
                (false, _) => Ok(()),
            };
            if standing.is_ok() {
                known.keys.push(KnownKey {
                    id: key.id.clone(),
                    principal: name(*kind, &id),
                    created: key.created.map(Timestamp::as_second),
                    expires: key.expires.map(Timestamp::as_second),
                    last_used: None,
                });
            }
            note(name(*kind, &id), standing);
        }
    }
    for (principal, standing) in usable {
        if let Err(why) = standing {
            known.gone.push((principal.clone(), why));
        }
        known.listed.insert(principal);
    }
    known.open.extend(identity.jwt.iter().map(|provider| (provider.principal, provider.prefix.clone())));
    known.open.extend(identity.oidc.iter().map(|provider| (PrincipalKind::User, provider.prefix.clone())));
    known.open.extend(identity.introspection.iter().map(|provider| (provider.principal, provider.prefix.clone())));
    known
        .open
        .extend(identity.certificate.iter().map(|provider| (PrincipalKind::Certificate, provider.prefix.clone())));
    // Whoever another source could bring is not gone with one credential.
    let open = known.open.clone();
    known.gone.retain(|(principal, _)| {
        let (kind, id) = principal.split_once(':').unwrap_or_default();
        !open.iter().any(|(other, prefix)| other.as_str() == kind && id.starts_with(prefix.as_str()))
    });
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five changes a day: the beginning of the window lies more than 400 versions back.
    #[test]
    fn the_log_is_read_back_to_the_beginning_of_the_window() {
        const DAY: i64 = 86_400;
        let now = 20_000 * DAY;
        let versions = (0..MOST_VERSIONS).map(|back| now - i64::try_from(back).unwrap() * DAY / 5);
        let read = back_to(now - 90 * DAY, versions.clone(), |at| *at);
        assert_eq!((read.len(), read.last()), (451, Some(&(now - 90 * DAY))));
        // And no further than there are.
        assert_eq!(back_to(0, versions, |at| *at).len(), 4_000);
        // The first one may be far before it.
        assert_eq!(back_to(5, [9, 7, 1].into_iter(), |at| *at), [9, 7, 1]);
    }
}
