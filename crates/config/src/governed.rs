//! What of a configuration is governed: all that decides who gets in. That is the policy with its files, the files by which callers are known, and
//! of the gateway's own files every table but those that say how the process runs.
//!
//! A table that is not listed in [`OPERATED`] is governed, so that one which a later version adds cannot be forgotten.

mod earlier_names;
mod variables;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use toml::de::{DeTable, DeValue};

use crate::diagnostics::{At, Sources};
use crate::environment::Environment;
use crate::file::{PolicyFile, Route};
use crate::kinds::Place;
use crate::naming::Names;

pub use variables::Referring;

/// Tables of the gateway's files that say how it runs, what it records and whom it tells: operators change these without being asked.
const OPERATED: &[&str] = &[
    "process",
    "shutdown",
    "ops",
    "limits",
    "refusal",
    "access_log",
    "trace",
    "event",
    "spool",
    "sink",
    "alert",
    "notifier",
    "mute",
    "index",
    "backup",
    "spike",
    "audit",
];
/// Tables of a policy that the comparison of answers does not look at.
const UNSEEN: &[&str] = &["risk", "ban"];

/// What is governed.
#[derive(Debug, Clone)]
pub struct Governed {
    /// The files, in the order in which they were read.
    pub files: Vec<GovernedFile>,
    /// The name of the policy file.
    pub policy: String,
    /// The digest of what is governed in the gateway's own files.
    pub gateway: [u8; 32],
    /// The digest of `[governance]` alone, as it is written.
    pub governance: [u8; 32],
    /// The digest of all that is governed, with the values of the variables that it refers to.
    pub digest: [u8; 32],
    /// The digest of the same without these values: what an earlier version of the program had approved. The same where it refers to none.
    pub written: [u8; 32],
    /// The names of the variables of the environment that it refers to.
    pub variables: BTreeSet<String>,
    /// The digest of what is in the networks that something else than the rules of the policy goes by.
    beside: [u8; 32],
    /// [`earlier_names::digests`]
    earlier: Vec<[u8; 32]>,
}

/// One file.
#[derive(Debug, Clone)]
pub struct GovernedFile {
    /// Relative to the folder of the main file, or absolute: see [`Names`].
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Arc<[u8]>,
    /// What it is.
    pub kind: GovernedKind,
}

/// What a governed file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GovernedKind {
    /// The gateway's main file, or one that it includes.
    Gateway,
    /// The policy, what it includes, and the files of its networks.
    Policy,
    /// API keys, by their hashes.
    Keys,
    /// Users with their groups and the hashes of their passwords.
    Users,
    /// By which others are known: key sets, certificates of authorities.
    Trust,
}

/// The files that a run read.
pub(crate) struct FilesRead<'f> {
    pub(crate) main: &'f Path,
    pub(crate) policy_path: &'f Path,
    pub(crate) gateway: &'f [PathBuf],
    pub(crate) policy: &'f [PathBuf],
    pub(crate) identity: &'f [PathBuf],
    pub(crate) pinned: Vec<(PathBuf, Arc<[u8]>)>,
    /// [`networks_beside`]
    pub(crate) beside: [u8; 32],
}

/// The digest of what is in the networks that risk, bans, API keys and maintenance go by. No comparison of the answers of two policies tells that one of
/// these has grown.
pub(crate) fn networks_beside(policy: &PolicyFile, of_keys: &[At<String>], routes: &[Route]) -> [u8; 32] {
    let mut named: BTreeSet<&str> = of_keys.iter().map(|name| name.value.as_str()).collect();
    if let Some(risk) = &policy.risk {
        named.extend(risk.corporate_egress.iter().map(|name| name.value.as_str()));
        named.extend(risk.reputation.iter().map(|entry| entry.network.value.as_str()));
    }
    if let Some(ban) = &policy.ban {
        named.extend(ban.never.iter().map(|name| name.value.as_str()));
    }
    for place in routes.iter().filter_map(|route| route.treatment.maintenance.as_ref()).flat_map(|it| &it.except) {
        if let Place::Network(name) = &place.value {
            named.insert(name);
        }
    }
    let mut context = Context::new(&SHA256);
    let mut networks: Vec<_> =
        policy.networks.iter().filter(|network| named.contains(network.name.value.as_str())).collect();
    networks.sort_by(|one, other| one.name.value.cmp(&other.name.value));
    for network in networks {
        part(&mut context, network.name.value.as_bytes());
        let mut prefixes = network.prefixes.clone();
        prefixes.sort_unstable();
        context.update(&(prefixes.len() as u64).to_be_bytes());
        prefixes.iter().for_each(|prefix| part(&mut context, prefix.to_string().as_bytes()));
    }
    bytes(context)
}

impl Governed {
    /// Gathers what was read.
    pub(crate) fn gather(read: FilesRead<'_>, sources: &Sources, environment: &dyn Environment) -> Self {
        let called = Names::of(read.main);
        let texts = sources.texts();
        let (mut files, mut names) = (Vec::new(), HashSet::new());
        let mut add = |path: &Path, bytes: Arc<[u8]>, kind| {
            let name = called.name_of(path);
            if names.insert(name.clone()) {
                files.push(GovernedFile { name, path: path.to_owned(), bytes, kind });
            }
        };
        let kinds = [
            (read.gateway, GovernedKind::Gateway),
            (read.policy, GovernedKind::Policy),
            (read.identity, GovernedKind::Keys),
        ];
        for (paths, kind) in kinds {
            for path in paths {
                let Some(text) = texts.get(&*path.display().to_string()) else { continue };
                let kind = if kind == GovernedKind::Keys { kind_of(text) } else { kind };
                add(path, text.as_bytes().into(), kind);
            }
        }
        for (path, bytes) in read.pinned {
            add(&path, bytes, GovernedKind::Trust);
        }
        let policy = called.name_of(read.policy_path);
        let gateway = of_gateway(&files);
        let governance = digest_of(&files, GovernedKind::Gateway, |table| table == "governance");
        let (written, variables) = (whole(&files, gateway), variables::named(&files));
        let digest = variables::with(written, &variables, environment);
        let earlier = earlier_names::digests(&files, environment);
        Self { files, policy, gateway, governance, digest, written, variables, beside: read.beside, earlier }
    }

    /// The digest of some tables of the gateway's own files.
    pub fn of_tables(&self, wanted: impl Fn(&str) -> bool) -> [u8; 32] {
        digest_of(&self.files, GovernedKind::Gateway, wanted)
    }

    /// The digest of all files of these kinds.
    pub fn of_files(&self, kinds: &[GovernedKind]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        for file in self.files.iter().filter(|file| kinds.contains(&file.kind)) {
            part(&mut context, file.name.as_bytes());
            part(&mut context, &file.bytes);
        }
        bytes(context)
    }

    /// Whether a table of the gateway's own files has a say in how requests are answered: all that is governed, and limits.
    pub fn decides(&self, table: &str) -> bool {
        table == "limits" || !OPERATED.contains(&table)
    }

    /// Whether it is what somebody approved under this digest.
    pub fn is(&self, digest: &[u8; 32]) -> bool {
        self.digest == *digest || self.written == *digest || self.earlier.contains(digest)
    }

    /// The digest of what the comparison of answers does not look at: how risk and bans are judged, lists that are fetched, and networks that something
    /// else than the rules goes by.
    pub fn unseen(&self) -> [u8; 32] {
        let tables = digest_of(&self.files, GovernedKind::Policy, |table| UNSEEN.contains(&table));
        let mut context = Context::new(&SHA256);
        context.update(&tables);
        context.update(&self.beside);
        for file in self.files.iter().filter(|file| file.kind == GovernedKind::Policy) {
            sources_of_networks(file, &mut context);
        }
        bytes(context)
    }
}

/// A key set is JSON, key files and files of users are TOML.
fn kind_of(text: &str) -> GovernedKind {
    if text.trim_start().starts_with('{') {
        return GovernedKind::Trust;
    }
    match DeTable::parse(text) {
        Ok(table) if table.get_ref().contains_key("key") => GovernedKind::Keys,
        Ok(_) | Err(_) => GovernedKind::Users,
    }
}

/// The digest of what is governed in the gateway's own files.
fn of_gateway(files: &[GovernedFile]) -> [u8; 32] {
    digest_of(files, GovernedKind::Gateway, |table| !OPERATED.contains(&table))
}

/// The digest over the governed tables and all other files.
fn whole(files: &[GovernedFile], gateway: [u8; 32]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&gateway);
    let mut others: Vec<&GovernedFile> = files.iter().filter(|file| file.kind != GovernedKind::Gateway).collect();
    others.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    for file in others {
        part(&mut context, file.name.as_bytes());
        part(&mut context, &file.bytes);
    }
    bytes(context)
}

fn digest_of(files: &[GovernedFile], kind: GovernedKind, wanted: impl Fn(&str) -> bool) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for file in files.iter().filter(|file| file.kind == kind) {
        part(&mut context, file.name.as_bytes());
        // It was read as TOML without an error before. What is not is no table, and then all of it counts.
        let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
        match DeTable::parse(text) {
            Ok(table) => table_into(&mut context, table.get_ref(), &wanted),
            Err(_) => part(&mut context, &file.bytes),
        }
    }
    bytes(context)
}

fn sources_of_networks(file: &GovernedFile, context: &mut Context) {
    let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
    let Ok(table) = DeTable::parse(text) else { return };
    let Some(DeValue::Array(networks)) = table.get_ref().get("network").map(toml::Spanned::get_ref) else { return };
    for network in networks.iter() {
        if let DeValue::Table(network) = network.get_ref()
            && network.contains_key("source")
        {
            table_into(context, network, &|_| true);
        }
    }
}

/// The keys that are wanted, in their order by name: layout and comments are no content.
fn table_into(context: &mut Context, table: &DeTable<'_>, wanted: &dyn Fn(&str) -> bool) {
    let mut entries: Vec<(&str, &DeValue<'_>)> =
        table.iter().map(|(key, value)| (&**key.get_ref(), value.get_ref())).filter(|(key, _)| wanted(key)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    context.update(&(entries.len() as u64).to_be_bytes());
    for (key, value) in entries {
        part(context, key.as_bytes());
        value_into(context, value);
    }
}

fn value_into(context: &mut Context, value: &DeValue<'_>) {
    let mut simple = |kind: u8, text: &str| {
        context.update(&[kind]);
        part(context, text.as_bytes());
    };
    match value {
        DeValue::String(text) => simple(b's', text),
        DeValue::Integer(number) => simple(b'i', &format!("{} {}", number.radix(), number.as_str())),
        DeValue::Float(number) => simple(b'f', number.as_str()),
        DeValue::Boolean(yes) => simple(b'b', if *yes { "true" } else { "false" }),
        DeValue::Datetime(time) => simple(b'd', &time.to_string()),
        DeValue::Array(values) => {
            context.update(b"a");
            context.update(&(values.len() as u64).to_be_bytes());
            values.iter().for_each(|value| value_into(context, value.get_ref()));
        }
        DeValue::Table(table) => {
            context.update(b"t");
            table_into(context, table, &|_| true);
        }
    }
}

/// Its length before it, so that nothing moves from one part into the next.
fn part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn bytes(context: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    // INVARIANT: a SHA-256 has 32 bytes.
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}
