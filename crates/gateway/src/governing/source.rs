//! Contents, read and compared with the configuration's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_config::{Environment, GovernedKind, Loaded, Names, ProcessEnvironment, Report, load};
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

/// The files that were read, as what a version can be made of: what is read of them alone has to be what was read, or another policy than that of the files
/// would be live, and be taken for theirs.
///
/// # Errors
/// A sentence: it is something else, or cannot be read.
pub(crate) fn versionable(config: &Path, loaded: &Loaded) -> Result<Content, String> {
    let content = content_of(loaded);
    let sealed = load_sealed(config, &content).map_err(|report| in_a_line(&report))?;
    if sealed.governed.digest == loaded.governed.digest && sealed.policy.sha256() == loaded.policy.sha256() {
        return Ok(content);
    }
    let names =
        |loaded: &Loaded| -> BTreeSet<String> { loaded.governed.files.iter().map(|file| file.name.clone()).collect() };
    let (read, found) = (names(loaded), names(&sealed));
    let missed: Vec<&str> = read.symmetric_difference(&found).map(String::as_str).collect();
    let what = if missed.is_empty() {
        "the same files".to_owned()
    } else {
        format!("not the same files ({})", missed.join(", "))
    };
    Err(format!(
        "no version is made of the files on disk: read from it they would be another policy than they are, with {what}; nothing has changed, and `portcullis check` says what the files hold"
    ))
}

/// Reads a content in place of the files on the disk. What is not governed (certificates of listeners, keys, pages) is still read there.
pub(crate) fn load_sealed(config: &Path, content: &Content) -> Result<Loaded, Report> {
    load(config, &Sealed::new(config, content))
}

/// Of so many files it is tried whether one is the main one.
const MOST_TRIED: usize = 32;

/// The content, its files called as they are today.
pub(super) fn of_today(config: &Path, content: Content) -> Content {
    let names = Names::of(config);
    Content { files: content.files.into_iter().map(|(name, bytes)| (names.today(&name), bytes)).collect() }
}

/// A content in place of the disk.
struct Sealed<'c> {
    config: &'c Path,
    content: &'c Content,
    names: Names,
    /// By the name of today: the name under which it is kept, and what it holds.
    files: BTreeMap<String, (&'c str, Arc<[u8]>)>,
}

impl<'c> Sealed<'c> {
    fn new(config: &'c Path, content: &'c Content) -> Self {
        let names = Names::of(config);
        let files = content.files.iter();
        let files = files.map(|(name, bytes)| (names.today(name), (name.as_str(), bytes.as_slice().into()))).collect();
        Self { config, content, names, files }
    }

    /// The file of the content that can be the main one.
    fn other_main(&self) -> Option<&str> {
        let is_main = |name: &&str| {
            name.ends_with(".toml") && load_sealed(&self.config.with_file_name(name), self.content).is_ok()
        };
        self.content
            .files
            .keys()
            .map(String::as_str)
            .filter(|name| Path::new(name).parent() == Some(Path::new("")))
            .take(MOST_TRIED)
            .find(is_main)
    }
}

impl Environment for Sealed<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        ProcessEnvironment.variable(name)
    }

    fn now(&self) -> Option<Timestamp> {
        ProcessEnvironment.now()
    }

    fn file(&self, path: &Path) -> Option<Arc<[u8]>> {
        self.files.get(&self.names.name_of(path)).map(|(_, bytes)| Arc::clone(bytes))
    }

    fn includable(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        let folder = PathBuf::from(self.names.name_of(folder));
        let files = self.files.keys().filter_map(|name| Path::new(name).strip_prefix(&folder).ok());
        Some(files.filter(|name| name.is_relative()).map(Path::to_owned).collect())
    }

    /// A content without the main file is none: it must not be read from the disk.
    fn no_configuration(&self, main: &Path) -> Option<String> {
        let name = self.names.name_of(main);
        if main != self.config || self.files.contains_key(&name) {
            return None;
        }
        let remedy = match self.other_main() {
            Some(other) => format!(
                "the gateway's main file is called `{other}` in it: give the file its name back, or start with `-c {}`",
                self.config.with_file_name(other).display()
            ),
            None => "start with the path of the configuration that it was made of".to_owned(),
        };
        Some(format!("what is kept as a version has no file `{name}`; {remedy}"))
    }

    fn kept_as(&self, path: &Path) -> Option<String> {
        let name = self.names.name_of(path);
        self.files.get(&name).filter(|(kept, _)| *kept != name).map(|(kept, _)| (*kept).to_owned())
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
        let names = Names::of(&self.config);
        let known: BTreeSet<String> = content.files.keys().map(|name| names.today(name)).collect();
        if let Some(name) = content_of(loaded).files.keys().find(|name| !known.contains(*name)) {
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
    let bounds = DiffBounds { rules: false, ..*bounds };
    let policy = match compare(&before.policy, &after.policy, time, &bounds) {
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
