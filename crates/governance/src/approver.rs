//! Who may approve: persons, under which other names they act, and their keys. What was enrolled is never removed, only revoked, so that a
//! revoked key cannot come back.

use jiff::Timestamp;

use crate::hash::Hash;
use crate::key::PublicKey;
use crate::recovery::Recovery;
use crate::revoked::RevokedKeys;
use crate::wire::{Malformed, Parser, Writer};

/// Persons that can be enrolled.
pub const MAX_PERSONS: usize = 256;
/// Keys of one person, revoked ones too.
pub const MAX_KEYS: usize = 16;
/// Other names of one person.
const MAX_ALIASES: usize = 16;
/// The longest name, in bytes.
const MAX_NAME: usize = 128;
/// The longest other name, in bytes: a principal has at most 256 behind its kind.
const MAX_ALIAS: usize = 272;
const DOMAIN: &str = "portcullis-approvers-v1";
/// With keys of a recovery: a set that has none is written as ever, so that its hash is the one that was signed.
const DOMAIN_RECOVERY: &str = "portcullis-approvers-v2";

/// One person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// The name: lower case.
    pub person: String,
    /// Under which other names the same person proposes: accounts of the system, addresses of mail, principals. Lower case, as far as it is ASCII.
    pub aliases: Vec<String>,
    /// The keys, in the order in which they were enrolled.
    pub keys: Vec<EnrolledKey>,
}

/// A key of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrolledKey {
    /// The key.
    pub public: PublicKey,
    /// Since when, in microseconds since 1970.
    pub added: i64,
    /// Since when it is revoked, in microseconds since 1970.
    pub revoked: Option<i64>,
}

/// All who may approve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApproverSet {
    /// By name.
    pub approvers: Vec<Approver>,
    /// Who may have approvers sign with other keys, where they lose theirs; `None`: nobody.
    pub recovery: Option<Recovery>,
}

/// What is wrong with a name; `None`: nothing.
pub fn name_problem(name: &str) -> Option<String> {
    let plain =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "._@:-+".contains(character);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Some(format!("a name is 1 to {MAX_NAME} of a-z, 0-9 and . _ @ : - +"));
    }
    None
}

/// What is wrong with another name; `None`: nothing. Whatever a principal may be called is one, since whoever cannot be enrolled with it could approve what they
/// proposed under it.
fn alias_problem(name: &str) -> Option<String> {
    let is_shown = name.trim() == name && !name.chars().any(char::is_control);
    let is_lower = !name.chars().any(|character| character.is_ascii_uppercase());
    if name.is_empty() || name.len() > MAX_ALIAS || !is_shown || !is_lower {
        return Some(format!(
            "another name is 1 to {MAX_ALIAS} bytes in lower case, without control characters and without spaces at its ends"
        ));
    }
    None
}

impl Approver {
    /// Whether it has a key that is not revoked.
    pub fn is_active(&self) -> bool {
        self.keys.iter().any(|key| key.revoked.is_none())
    }

    /// Whether a name is one of the person's.
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.person == name || self.aliases.contains(&name)
    }
}

impl ApproverSet {
    /// Whether nobody was ever enrolled.
    pub fn is_empty(&self) -> bool {
        self.approvers.is_empty()
    }

    /// Persons with a key that is not revoked.
    pub fn active(&self) -> usize {
        self.approvers.iter().filter(|approver| approver.is_active()).count()
    }

    /// Whose key this is, and since when: `None` for a key that is unknown or revoked.
    pub fn owner(&self, public: &PublicKey) -> Option<(&Approver, &EnrolledKey)> {
        let of = |approver: &Approver| approver.keys.iter().any(|key| key.public == *public);
        let approver = self.approvers.iter().find(|approver| of(approver))?;
        let key = approver.keys.iter().find(|key| key.public == *public)?;
        key.revoked.is_none().then_some((approver, key))
    }

    /// Enrols a key for a person, who may be new.
    ///
    /// # Errors
    /// A name that is none or belongs to somebody else, a key that was ever enrolled, and no room.
    pub fn add(&mut self, person: &str, aliases: &[String], public: PublicKey, now: Timestamp) -> Result<(), String> {
        let person = person.to_ascii_lowercase();
        let aliases: Vec<String> = aliases.iter().map(|alias| alias.to_ascii_lowercase()).collect();
        let problems = aliases.iter().map(|alias| (alias, alias_problem(alias)));
        for (name, problem) in problems.chain([(&person, name_problem(&person))]) {
            if let Some(problem) = problem {
                return Err(format!("`{}`: {problem}", name.escape_debug()));
            }
            if let Some(other) = self.approvers.iter().find(|other| other.person != person && other.is_called(name)) {
                return Err(format!(
                    "`{}` is a name of {} already: one person, one vote",
                    name.escape_debug(),
                    other.person
                ));
            }
        }
        for other in &self.approvers {
            if let Some(key) = other.keys.iter().find(|key| key.public == public) {
                let state = if key.revoked.is_some() { "was revoked, and stays so" } else { "is enrolled already" };
                return Err(format!("the key {} of {} {state}", public.id(), other.person));
            }
        }
        if let Some(key) = self.recovery.as_ref().and_then(|recovery| recovery.holder(&public)) {
            return Err(format!("the key {} is the recovery key of {}: it approves nothing", public.id(), key.holder));
        }
        let key = EnrolledKey { public, added: now.as_microsecond(), revoked: None };
        match self.approvers.binary_search_by(|approver| approver.person.as_str().cmp(&person)) {
            Ok(at) => {
                let Some(approver) = self.approvers.get_mut(at) else { return Ok(()) };
                for alias in aliases {
                    if !approver.is_called(&alias) {
                        approver.aliases.push(alias);
                    }
                }
                approver.keys.push(key);
            }
            Err(at) => {
                let mut distinct: Vec<String> = Vec::new();
                for alias in aliases {
                    if alias != person && !distinct.contains(&alias) {
                        distinct.push(alias);
                    }
                }
                self.approvers.insert(at, Approver { person, aliases: distinct, keys: vec![key] });
            }
        }
        let fits = |approver: &Approver| approver.keys.len() <= MAX_KEYS && approver.aliases.len() <= MAX_ALIASES;
        if self.approvers.len() > MAX_PERSONS || !self.approvers.iter().all(fits) {
            return Err(format!(
                "there is no room: at most {MAX_PERSONS} persons with {MAX_KEYS} keys and {MAX_ALIASES} other names each"
            ));
        }
        Ok(())
    }

    /// Revokes a person's keys: all, or the one of that id.
    ///
    /// # Errors
    /// That there is none that could be.
    pub fn revoke(&mut self, person: &str, id: Option<&str>, now: Timestamp) -> Result<(), String> {
        let person = person.to_ascii_lowercase();
        let approver = self.approvers.iter_mut().find(|approver| approver.person == person);
        let approver = approver.ok_or_else(|| format!("`{}` is not enrolled", person.escape_debug()))?;
        let mut any = false;
        for key in &mut approver.keys {
            if key.revoked.is_none() && id.is_none_or(|id| key.public.id() == id) {
                key.revoked = Some(now.as_microsecond());
                any = true;
            }
        }
        if any { Ok(()) } else { Err(format!("{person} has no such key that is not revoked")) }
    }

    /// Whatever is in the list is revoked in this set, at the earlier of both times; nothing is added and nothing comes back.
    pub fn take_revocations(&mut self, revoked: &RevokedKeys) {
        for key in self.approvers.iter_mut().flat_map(|approver| &mut approver.keys) {
            if let Some(since) = revoked.since(key) {
                key.revoked = Some(key.revoked.map_or(since, |before| before.min(since)));
            }
        }
    }

    /// Whether this set comes from the other one lawfully: nobody and no key is gone, and what was revoked is.
    pub fn keeps(&self, before: &Self) -> bool {
        before.approvers.iter().all(|old| {
            let Some(new) = self.approvers.iter().find(|new| new.person == old.person) else { return false };
            let names = old.aliases.iter().all(|alias| new.aliases.contains(alias));
            names
                && old.keys.iter().all(|key| {
                    let kept = new.keys.iter().find(|kept| kept.public == key.public);
                    kept.is_some_and(|kept| {
                        kept.added == key.added && (key.revoked.is_none() || kept.revoked == key.revoked)
                    })
                })
        })
    }

    /// Its bytes, the same for the same set.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(if self.recovery.is_some() { DOMAIN_RECOVERY } else { DOMAIN });
        writer.list(&self.approvers, |writer, approver| {
            writer.text(&approver.person);
            writer.list(&approver.aliases, |writer, alias| writer.text(alias));
            writer.list(&approver.keys, |writer, key| {
                writer.fixed(&key.public.0);
                writer.time(key.added);
                writer.byte(u8::from(key.revoked.is_some()));
                writer.time(key.revoked.unwrap_or(0));
            });
        });
        if let Some(recovery) = &self.recovery {
            recovery.write(&mut writer);
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else, or a set that cannot be: a key or a name that two have.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut parser, has_recovery) = match Parser::new(bytes, DOMAIN) {
            Ok(parser) => (parser, false),
            Err(Malformed) => (Parser::new(bytes, DOMAIN_RECOVERY)?, true),
        };
        let approvers = parser.list(MAX_PERSONS, |parser| {
            Ok(Approver {
                person: parser.text()?,
                aliases: parser.list(MAX_ALIASES, Parser::text)?,
                keys: parser.list(MAX_KEYS, |parser| {
                    let public = PublicKey::from_bytes(parser.array()?).map_err(|_| Malformed)?;
                    let added = parser.time()?;
                    let revoked = match (parser.byte()?, parser.time()?) {
                        (0, 0) => None,
                        (1, revoked) => Some(revoked),
                        _ => return Err(Malformed),
                    };
                    Ok(EnrolledKey { public, added, revoked })
                })?,
            })
        })?;
        let recovery = has_recovery.then(|| Recovery::read(&mut parser)).transpose()?;
        parser.end()?;
        let set = Self { approvers, recovery };
        if set.is_sound() { Ok(set) } else { Err(Malformed) }
    }

    /// In order, and neither a name nor a key is there twice: else one person could count as two.
    fn is_sound(&self) -> bool {
        let mut names: Vec<&str> = Vec::new();
        let mut keys: Vec<PublicKey> = Vec::new();
        for approver in &self.approvers {
            names.push(&approver.person);
            names.extend(approver.aliases.iter().map(String::as_str));
            keys.extend(approver.keys.iter().map(|key| key.public));
        }
        // Who approves and who recovers must not be one signature.
        keys.extend(self.recovery.iter().flat_map(|recovery| &recovery.keys).map(|key| key.public));
        let is_sound = |approver: &Approver| {
            name_problem(&approver.person).is_none()
                && approver.aliases.iter().all(|alias| alias_problem(alias).is_none())
        };
        let sound = self.approvers.iter().all(is_sound);
        names.sort_unstable();
        keys.sort_unstable();
        sound
            && self.approvers.is_sorted_by(|before, after| before.person < after.person)
            && names.is_sorted_by(|before, after| before < after)
            && keys.is_sorted_by(|before, after| before < after)
    }

    /// The hash of [`Self::encode`]; of an empty set none.
    pub fn hash(&self) -> Hash {
        if self.is_empty() { Hash::NONE } else { Hash::of(&self.encode()) }
    }
}
