//! One audit: what of a configuration it looks at, and the looking. The same for a gateway that runs and for a store where none does.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_governance::Hash;
use portcullis_identity::settings::Settings as Identity;
use portcullis_insight::audit::{
    BreakGlassUse, GrantSet, History, Input, KnownPrincipals, PastVersion, PolicyWriters, Report, Suppression, Usage,
    audit,
};
use portcullis_insight::{AuditSettings, Outlook};
use portcullis_policy::{LintFacts, Policy, PolicyDraft, PrincipalKind};

use super::directories::Directories;
use crate::governing::{Governing, load_sealed};

/// Versions that are read, from the last one back.
const MOST_VERSIONS: u64 = 400;
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
    /// What was done with broken seals; `None`: it cannot be read.
    broken: Option<Vec<BreakGlassUse>>,
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

/// Makes it.
///
/// # Errors
/// A policy that does not compile.
pub(crate) fn look(looked: &Looked<'_>) -> Result<Report, String> {
    let facts = looked.facts;
    let (policy, _) = Policy::compile(looked.draft)
        .map_err(|problems| problems.first().map(|problem| problem.message.clone()).unwrap_or_default())?;
    let policy = policy.numbered(looked.version);
    let default = AuditSettings::default();
    let (required, loosen) = facts.rules;
    Ok(audit(
        &Input {
            draft: looked.draft,
            policy: &policy,
            usage: looked.usage,
            sample: looked.sample,
            history: &looked.past.history,
            known: looked.known,
            break_glass: looked.past.broken.as_deref(),
            writers: &PolicyWriters { required, loosen, approvers: looked.past.approvers.clone() },
            lint: &LintFacts { now: Some(looked.now), ..facts.callers.clone() },
            settings: facts.settings.as_ref().unwrap_or(&default),
            suppressions: looked.suppressions,
            before: looked.before,
            now: looked.now,
        },
        &thread::yield_now,
    ))
}

/// The policy in force with its places, read again: it would take as much memory as the policy itself, for moments that are rare. It is that of
/// its version in the log, or that of the disk, if one of them is the same.
///
/// # Errors
/// A sentence: neither is.
pub(crate) fn draft_in_force(
    governing: Option<&Governing>,
    config: &Path,
    policy: &Policy,
) -> Result<PolicyDraft, String> {
    let kept = || {
        let governing = governing?;
        let version = governing.versions_back(MOST_VERSIONS).find(|version| version.n <= policy.version())?;
        load_sealed(config, &governing.content_of(&version)?).ok()
    };
    let on_disk = || load(config, &ProcessEnvironment).ok();
    let is_it = |loaded: &Loaded| loaded.policy.sha256() == policy.sha256();
    let found = kept().filter(is_it).or_else(|| on_disk().filter(is_it));
    let found = found.map(|loaded| loaded.draft);
    found
        .ok_or_else(|| "the policy in force stands neither in the store nor in the files any more: reload first".into())
}

/// The versions that an audit needs: those of its window, and of some weeks before that.
pub(crate) fn past_of(governing: Option<&Governing>, config: &Path, settings: &AuditSettings, now: Timestamp) -> Past {
    let Some(governing) = governing else { return Past::default() };
    let window = i64::try_from(settings.unused_after.as_secs()).unwrap_or(i64::MAX).max(WEEKS_S);
    let edge = now.as_second().saturating_sub(window);
    let mut read: HashMap<Hash, Option<Arc<GrantSet>>> = HashMap::new();
    let mut versions = Vec::new();
    for version in governing.versions_back(MOST_VERSIONS) {
        let at = version.time.div_euclid(1_000_000);
        let grants = read.entry(version.change.content).or_insert_with(|| {
            let content = governing.content_of(&version)?;
            // One that cannot be read any more says nothing: what is before and after it counts as unbroken.
            let loaded = load_sealed(config, &content).ok()?;
            thread::yield_now();
            Some(Arc::new(GrantSet::of(&loaded.draft)))
        });
        if let Some(grants) = grants {
            let by = version.change.authors.clone();
            versions.push(PastVersion { n: version.n, at, by, grants: Arc::clone(grants) });
        }
        if at <= edge {
            break;
        }
    }
    versions.reverse();
    let approvers =
        governing.approvers().0.approvers.into_iter().map(|approver| (approver.person, approver.aliases)).collect();
    Past { history: History::new(versions), approvers, broken: broken(governing.store()) }
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
    for provider in &identity.api_key {
        for key in &provider.keys {
            let (kind, id) = &key.principal;
            let standing = match (key.revoked, key.expires) {
                (true, _) => Err(format!("its key `{}` is revoked", key.id)),
                (false, Some(expires)) if expires <= now => Err(format!("its key `{}` expired at {expires}", key.id)),
                (false, _) => Ok(()),
            };
            note(name(*kind, id), standing);
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
