//! Contents, read and compared with the configuration's own code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_config::{Environment, GovernedKind, Loaded, ProcessEnvironment, Report, load};
use portcullis_governance::{Assessed, Class, Content, Hash, PolicySource};
use portcullis_identity::settings::ApiKeyRecord;
use portcullis_policy::{DiffBounds, Effect, compare};

use super::ahead::read;

/// Reads contents as the gateway that runs on this file would.
pub(crate) struct Source {
    pub(crate) config: PathBuf,
}

/// The files of a configuration that are governed.
pub(crate) fn content_of(loaded: &Loaded) -> Content {
    Content { files: loaded.governed.files.iter().map(|file| (file.name.clone(), file.bytes.to_vec())).collect() }
}

/// Reads a content in place of the files on the disk. What is not governed (certificates of listeners, keys, pages) is still read there.
pub(crate) fn load_sealed(config: &Path, content: &Content) -> Result<Loaded, Report> {
    load(config, &Sealed::new(config, content))
}

/// A content in place of the disk.
struct Sealed(BTreeMap<PathBuf, Arc<[u8]>>);

impl Sealed {
    fn new(config: &Path, content: &Content) -> Self {
        let folder = config.parent().unwrap_or(Path::new(""));
        let main = config.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut files: BTreeMap<PathBuf, Arc<[u8]>> =
            content.files.iter().map(|(name, bytes)| (folder.join(name), bytes.as_slice().into())).collect();
        // A content without the main file is none: it must not be read from the disk.
        files.entry(folder.join(main)).or_insert_with(|| Arc::from(&b""[..]));
        Self(files)
    }
}

impl Environment for Sealed {
    fn variable(&self, name: &str) -> Option<String> {
        ProcessEnvironment.variable(name)
    }

    fn now(&self) -> Option<Timestamp> {
        ProcessEnvironment.now()
    }

    fn file(&self, path: &Path) -> Option<Arc<[u8]>> {
        self.0.get(path).cloned()
    }

    fn includable(&self) -> Option<Vec<PathBuf>> {
        Some(self.0.keys().cloned().collect())
    }
}

/// A report in a line: how much is wrong, and the first of it.
pub(crate) fn in_a_line(report: &Report) -> String {
    let first = report.diagnostics().next().map(|first| {
        let at = report.position(first.primary);
        format!("{}:{}:{}: {}", report.file(first.primary), at.line, at.column, first.message)
    });
    first.map_or_else(|| report.summary_line(), |first| format!("{}: {first}", report.summary_line()))
}

impl PolicySource for Source {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let read = read(&self.config, content);
        let loaded = read.as_ref().as_ref().map_err(Clone::clone)?;
        // All that is read: the rest would come from the disk, where nobody approves it.
        if let Some(name) = content_of(loaded).files.keys().find(|name| !content.files.contains_key(*name)) {
            return Err(format!("`{name}` is read, and is not among the files of the change: propose it with them"));
        }
        Ok(Assessed { rules: loaded.governance, governed: Hash(loaded.governed.digest) })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        self.class_at(before, after, Timestamp::now())
    }

    fn is_still(&self, content: &Content, governed: Hash) -> bool {
        read(&self.config, content).as_ref().as_ref().is_ok_and(|loaded| loaded.governed.is(&governed.0))
    }

    fn binds_values(&self, content: &Content, governed: Hash) -> bool {
        read(&self.config, content).as_ref().as_ref().is_ok_and(|loaded| {
            let governed_by = &loaded.governed;
            governed_by.variables.is_empty() || governed_by.written != governed.0
        })
    }

    fn governance(&self, content: &Content) -> Result<Hash, String> {
        let read = read(&self.config, content);
        let loaded = read.as_ref().as_ref().map_err(Clone::clone)?;
        // With the values of variables, as far as they make other steps.
        Ok(Hash::of(format!("{:?} {:?}", loaded.governed.governance, loaded.stages).as_bytes()))
    }

    fn class_at(&self, before: &Content, after: &Content, time: Timestamp) -> Class {
        let (before, after) = (read(&self.config, before), read(&self.config, after));
        let (Ok(before), Ok(after)) = (before.as_ref(), after.as_ref()) else { return Class::Mixed };
        class_of_at(before, after, &DiffBounds::default(), time)
    }
}

/// What a change does. What no comparison looks at counts as mixed: who may call, where requests go, how risk is judged.
pub(crate) fn class_of(before: &Loaded, after: &Loaded, bounds: &DiffBounds) -> Class {
    class_of_at(before, after, bounds, Timestamp::now())
}

/// The same as it was at that time.
fn class_of_at(before: &Loaded, after: &Loaded, bounds: &DiffBounds, time: Timestamp) -> Class {
    let of = |kind: GovernedKind| {
        let files = |loaded: &Loaded| {
            let files = loaded.governed.files.iter().filter(|file| file.kind == kind);
            files.map(|file| (file.name.clone(), Arc::clone(&file.bytes))).collect::<BTreeMap<_, _>>()
        };
        files(before) == files(after)
    };
    let (governed, other) = (&before.governed, &after.governed);
    if governed.gateway != other.gateway
        || governed.unseen() != other.unseen()
        || !of(GovernedKind::Trust)
        || !of(GovernedKind::Users)
    {
        return Class::Mixed;
    }
    let keys = match of(GovernedKind::Keys) {
        true => Class::Neutral,
        false if only_withdraws(before, after) => Class::Tightens,
        false => Class::Mixed,
    };
    let policy = match compare(&before.policy, &after.policy, time, bounds) {
        diff if !diff.incomplete.is_empty() => Class::Mixed,
        diff => match diff.effect() {
            Effect::None => Class::Neutral,
            Effect::Tightens => Class::Tightens,
            Effect::Loosens => Class::Loosens,
            Effect::Mixed => Class::Mixed,
        },
    };
    // What activating takes is no part of any answer.
    let policy = match (policy, after.policy.activates_more_easily_than(&before.policy)) {
        (class, false) => class,
        (Class::Neutral | Class::Loosens, true) => Class::Loosens,
        (Class::Tightens | Class::Mixed, true) => Class::Mixed,
    };
    let is_within = match (&after.break_glass, &before.break_glass) {
        (None, _) => true,
        (Some(after), Some(before)) => after.are_within(before),
        (Some(_), None) => false,
    };
    let policy = match (policy, before.break_glass == after.break_glass, is_within) {
        (class, true, _) => class,
        (Class::Neutral | Class::Tightens, false, true) => Class::Tightens,
        (Class::Neutral | Class::Loosens, false, false) => Class::Loosens,
        (Class::Loosens | Class::Mixed, false, true) | (Class::Tightens | Class::Mixed, false, false) => Class::Mixed,
    };
    match (keys, policy) {
        (Class::Neutral, class) | (class, Class::Neutral) => class,
        (Class::Tightens, Class::Tightens) => Class::Tightens,
        _ => Class::Mixed,
    }
}

/// Why a change cannot be tried on some callers before it is in force for all; `None`: it can. Only the answers of the policy can be those of two versions at
/// once: there is one gateway that knows its callers and its upstreams, and one memory of bans and risk.
pub(super) fn not_stageable(before: &Loaded, after: &Loaded) -> Option<&'static str> {
    let files = |loaded: &Loaded| {
        let files = loaded.governed.files.iter();
        let files = files.filter(|file| !matches!(file.kind, GovernedKind::Gateway | GovernedKind::Policy));
        files.map(|file| (file.name.clone(), Arc::clone(&file.bytes))).collect::<BTreeMap<_, _>>()
    };
    if before.governed.gateway != after.governed.gateway {
        return Some("the gateway's own tables");
    }
    if files(before) != files(after) {
        return Some("who is known: keys, users or authorities");
    }
    // What looks for a credential asks the policy in force, and what decides would miss it.
    let routes =
        before.proxy.routes.iter().filter_map(|route| {
            Some((before.policy.route_named(&route.name)?, after.policy.route_named(&route.name)?))
        });
    if routes.into_iter().any(|(was, is)| before.policy.authentication(was) != after.policy.authentication(is)) {
        return Some("whether a route wants a credential");
    }
    // The page that asks for a second factor accepts by the policy in force, and what decides would ask again, for ever.
    if before.policy.step_up() != after.policy.step_up() {
        return Some("`[step_up]`");
    }
    (before.governed.unseen() != after.governed.unseen())
        .then_some("how risk and bans are judged, or a network that they, keys, or a source go by")
}

/// Whether every key of now was there before, carried the same, and held at least as long: then some keys were withdrawn, and no more.
fn only_withdraws(before: &Loaded, after: &Loaded) -> bool {
    let keys = |loaded: &Loaded| {
        let providers = loaded.identity.api_key.iter();
        let each = providers.flat_map(|provider| {
            provider.keys.iter().map(|key| ((provider.name.to_string(), key.id.clone()), key.clone()))
        });
        each.collect::<BTreeMap<_, _>>()
    };
    let earlier = keys(before);
    keys(after).into_iter().all(|(place, key)| earlier.get(&place).is_some_and(|known| is_no_more(known, &key)))
}

fn is_no_more(before: &ApiKeyRecord, after: &ApiKeyRecord) -> bool {
    // Exhaustive on purpose: a new part of a key must be given its place here.
    let ApiKeyRecord { id: _, sha256, principal, groups, roles, created, expires, routes, networks, previous, revoked } =
        after;
    let ends_no_later = match (before.expires, expires) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(before), Some(after)) => *after <= before,
    };
    (&before.sha256, &before.principal, &before.groups, &before.roles) == (sha256, principal, groups, roles)
        && (&before.routes, &before.networks, before.created) == (routes, networks, *created)
        && (previous.is_none() || before.previous == *previous)
        && ends_no_later
        && (*revoked || !before.revoked)
}

#[cfg(test)]
mod tests {
    use portcullis_identity::settings::PreviousSecret;
    use portcullis_policy::PrincipalKind;

    use super::*;

    fn key() -> ApiKeyRecord {
        ApiKeyRecord {
            id: "ci".to_owned(),
            sha256: [7; 32],
            principal: (PrincipalKind::Service, "ci".to_owned()),
            groups: vec!["robots".to_owned()],
            roles: vec!["reader".to_owned()],
            created: Some(at(0)),
            expires: Some(at(100)),
            routes: vec!["billing".to_owned()],
            networks: vec!["office".to_owned()],
            previous: None,
            revoked: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_key_that_carries_more_was_not_withdrawn() {
        let less: [fn(&mut ApiKeyRecord); 3] = [|_| {}, |key| key.revoked = true, |key| key.expires = Some(at(99))];
        for change in less {
            let mut after = key();
            change(&mut after);
            assert!(is_no_more(&key(), &after), "{after:?}");
        }
        let more: [fn(&mut ApiKeyRecord); 10] = [
            |key| key.sha256 = [8; 32],
            |key| key.principal.1 = "root".to_owned(),
            |key| key.groups.clear(),
            |key| key.roles.push("admin".to_owned()),
            |key| key.created = Some(at(50)),
            |key| key.expires = Some(at(101)),
            |key| key.expires = None,
            |key| key.routes.clear(),
            |key| key.networks.clear(),
            |key| key.previous = Some(PreviousSecret { sha256: [9; 32], until: at(50) }),
        ];
        for change in more {
            let mut after = key();
            change(&mut after);
            assert!(!is_no_more(&key(), &after), "{after:?}");
        }
        let revoked = ApiKeyRecord { revoked: true, ..key() };
        assert!(!is_no_more(&revoked, &key()));
    }
}
