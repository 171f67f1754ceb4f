//! Changes one API key in a key file, as `portcullis key rotate` and `key revoke` do. The text is changed in its place, so that comments,
//! order and layout stay; and what comes out is read back before it takes the place of the file.

use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::Report;
use crate::draft::Draft;
use crate::environment::ProcessEnvironment;
use crate::file::{Key, parse_key_file, read_key_file};
use crate::new_key::AppendKeyError;
use crate::section::Reader;

/// What is changed of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEdit {
    /// It is withdrawn.
    Revoke,
    /// It gets another secret.
    Rotate {
        /// SHA-256 of the new secret bytes.
        sha256: [u8; 32],
        /// Until when the secret of before is good beside it; `None`: no longer.
        overlap: Option<Timestamp>,
        /// From when on it is refused from now on; `None`: as before.
        expires: Option<Timestamp>,
    },
}

/// A key as its file has it. There is no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its id.
    pub id: String,
    /// Whom it stands for, as a policy writes it.
    pub principal: String,
    /// Groups that it carries.
    pub groups: Vec<String>,
    /// Roles that it carries.
    pub roles: Vec<String>,
    /// The routes that it is for; none: all.
    pub routes: Vec<String>,
    /// The networks that it is for; none: any.
    pub networks: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    /// Until when the secret of before its last rotation is good.
    pub overlap: Option<Timestamp>,
    /// It is withdrawn.
    pub revoked: bool,
}

/// Why a key was not changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditKeyError {
    /// The file holds no key of this id.
    #[error("there is no key with the id `{0}` in the file")]
    Unknown(String),
    /// The key cannot be changed in its place.
    #[error("the key `{0}` is written in a form that is not changed by itself: change it by hand")]
    Form(String),
    /// The file cannot be read or written.
    #[error("{0}")]
    File(#[from] AppendKeyError),
}

/// The keys of a file, in its order.
///
/// # Errors
/// The file is not there, or not a valid key file.
pub fn list_keys(path: &Path) -> Result<Vec<KeyEntry>, EditKeyError> {
    Ok(read(path)?.1.iter().map(entry).collect())
}

/// Changes a key. The file is replaced as a whole or not at all: the new text is written beside it, synced and renamed.
///
/// # Errors
/// See [`EditKeyError`]; the file is then as it was.
pub fn edit_key(path: &Path, id: &str, edit: &KeyEdit) -> Result<KeyEntry, EditKeyError> {
    // A link is followed, so that renaming does not replace it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let draft = Draft::begin(&path).map_err(AppendKeyError::from)?;
    let (text, keys) = read(&path)?;
    let before = keys.iter().find(|key| key.id.value == id).ok_or_else(|| EditKeyError::Unknown(id.to_owned()))?;
    let form = || EditKeyError::Form(id.to_owned());
    let new = changed(&text, id, before, edit).ok_or_else(form)?;
    let after = reads_back(&new, &path, &keys, id, edit).ok_or_else(form)?;
    let written = draft.write(&new).and_then(Draft::put_in_place);
    written.map_err(AppendKeyError::from)?;
    Ok(after)
}

fn read(path: &Path) -> Result<(String, Vec<Key>), EditKeyError> {
    let reader = Reader::new(&ProcessEnvironment);
    let keys = read_key_file(&reader, path, &path.display().to_string(), None);
    let text =
        reader.sources.borrow().ids().next().map_or_else(String::new, |id| reader.sources.borrow().text(id).to_owned());
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    match keys.filter(|_| report.errors() == 0) {
        Some(keys) => Ok((text, keys)),
        None => Err(AppendKeyError::Unreadable(Box::new(report)).into()),
    }
}

fn entry(key: &Key) -> KeyEntry {
    KeyEntry {
        id: key.id.value.clone(),
        principal: format!("{}:{}", key.principal.0.as_str(), key.principal.1),
        groups: key.groups.clone(),
        roles: key.roles.iter().map(|role| role.value.clone()).collect(),
        routes: key.routes.iter().map(|route| route.value.clone()).collect(),
        networks: key.networks.iter().map(|network| network.value.clone()).collect(),
        created: key.created,
        expires: key.expires,
        overlap: key.previous.as_ref().map(|previous| previous.until),
        revoked: key.revoked,
    }
}

/// The text with the key changed; `None` where it is not written as a table of its own.
fn changed(text: &str, id: &str, before: &Key, edit: &KeyEdit) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let DeValue::Array(entries) = document.get_ref().get("key")?.get_ref() else { return None };
    let table = entries.iter().find_map(|entry| match entry.get_ref() {
        DeValue::Table(table) if table.get("id").is_some_and(|value| is_text(value, id)) => Some(table),
        _ => None,
    })?;
    let mut edits = Edits { text, after: line_after(text, table.get("id")?.span().end)?, changes: Vec::new() };
    match edit {
        KeyEdit::Revoke => edits.set(table, "revoked", "true"),
        KeyEdit::Rotate { sha256, overlap, expires } => {
            let hex = |hash: &[u8; 32]| format!("\"{}\"", data_encoding::HEXLOWER.encode(hash));
            edits.set(table, "sha256", &hex(sha256));
            match overlap {
                Some(until) => {
                    let previous = format!("{{ sha256 = {}, until = {until} }}", hex(&before.sha256));
                    edits.set(table, "previous", &previous);
                }
                None => edits.remove(table, "previous"),
            }
            if let Some(expires) = expires {
                edits.set(table, "expires", &expires.to_string());
            }
        }
    }
    Some(edits.done())
}

fn is_text(value: &Spanned<DeValue<'_>>, text: &str) -> bool {
    matches!(value.get_ref(), DeValue::String(found) if *found == text)
}

/// Changes of a text, each at its place in the text of before.
struct Edits<'t> {
    text: &'t str,
    /// Where a line is put that is not there yet.
    after: usize,
    changes: Vec<(Range<usize>, String)>,
}

impl Edits<'_> {
    fn set(&mut self, table: &DeTable<'_>, name: &str, value: &str) {
        match table.get(name) {
            Some(found) => self.changes.push((found.span(), value.to_owned())),
            None => self.changes.push((self.after..self.after, format!("{name} = {value}\n"))),
        }
    }

    /// The whole line goes, with what stands behind the value.
    fn remove(&mut self, table: &DeTable<'_>, name: &str) {
        let Some(span) = table.get(name).map(Spanned::span) else { return };
        let start = self.text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        if let Some(end) = line_after(self.text, span.end) {
            self.changes.push((start..end, String::new()));
        }
    }

    fn done(mut self) -> String {
        self.changes.sort_by_key(|(place, _)| place.start);
        let mut text = String::with_capacity(self.text.len() + 256);
        let mut at = 0;
        for (place, value) in self.changes {
            text.push_str(self.text.get(at..place.start).unwrap_or_default());
            text.push_str(&value);
            at = place.end;
        }
        text.push_str(self.text.get(at..).unwrap_or_default());
        text
    }
}

/// Where the next line begins; `None` at the end of a text without one.
fn line_after(text: &str, at: usize) -> Option<usize> {
    text.get(at..)?.find('\n').map(|end| at + end + 1)
}

/// The changed key, if the new text is a valid key file in which nothing else has changed.
fn reads_back(text: &str, path: &Path, before: &[Key], id: &str, edit: &KeyEdit) -> Option<KeyEntry> {
    let reader = Reader::new(&ProcessEnvironment);
    let keys = parse_key_file(&reader, path, text);
    let same = keys.len() == before.len()
        && keys.iter().zip(before).all(|(new, old)| {
            let (shown, was) = (entry(new), entry(old));
            let others = new.id.value != id && shown == was && new.sha256 == old.sha256;
            others || (new.id.value == id && old.id.value == id && is_edited(new, &shown, old, &was, edit))
        });
    let errors = reader.diagnostics.borrow().errors();
    keys.iter().find(|key| key.id.value == id).filter(|_| same && errors == 0).map(entry)
}

fn is_edited(new: &Key, shown: &KeyEntry, old: &Key, was: &KeyEntry, edit: &KeyEdit) -> bool {
    match edit {
        KeyEdit::Revoke => *shown == KeyEntry { revoked: true, ..was.clone() } && new.sha256 == old.sha256,
        KeyEdit::Rotate { sha256, overlap, expires } => {
            let expected = KeyEntry { overlap: *overlap, expires: expires.or(was.expires), ..was.clone() };
            let previous = new.previous.as_ref().map(|previous| previous.sha256);
            *shown == expected && new.sha256 == *sha256 && previous == overlap.map(|_| old.sha256)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "# Keys of the house.\nversion = 1\n\n[[key]] # the first\nid = \"a\" # in use\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"   # long\n\
                        principal = \"service:a\"\nexpires = 2036-01-01T00:00:00Z # not for ever\n\n[[key]]\nsha256 = \"1111111111111111111111111111111111111111111111111111111111111111\"\nid = 'b'\nprincipal = \"user:b\"\nrevoked = false\n";

    fn edited(text: &str, id: &str, edit: &KeyEdit) -> Result<(KeyEntry, String), EditKeyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        fs::write(&path, text).unwrap();
        let result = edit_key(&path, id, edit);
        let after = fs::read_to_string(&path).unwrap();
        assert!(result.is_ok() || after == text, "a failed edit leaves the file");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        result.map(|entry| (entry, after))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_revoked_in_its_place() {
        let (entry, after) = edited(FILE, "b", &KeyEdit::Revoke).unwrap();
        assert!(entry.revoked);
        assert_eq!(after, FILE.replace("revoked = false", "revoked = true"));
        let (entry, after) = edited(FILE, "a", &KeyEdit::Revoke).unwrap();
        assert!(entry.revoked);
        assert_eq!(after, FILE.replace("# in use\n", "# in use\nrevoked = true\n"));
    }

    #[test]
    fn a_key_is_rotated_with_and_without_an_overlap() {
        let (old, new) = ("0".repeat(64), "ab".repeat(32));
        let rotate = |overlap: Option<&str>, expires: Option<&str>| KeyEdit::Rotate {
            sha256: [0xab; 32],
            overlap: overlap.map(at),
            expires: expires.map(at),
        };
        let (entry, after) = edited(FILE, "a", &rotate(Some("2026-12-06T00:00:00Z"), None)).unwrap();
        assert_eq!(entry.overlap, Some(at("2026-12-06T00:00:00Z")));
        let previous = format!("# in use\nprevious = {{ sha256 = \"{old}\", until = 2026-12-06T00:00:00Z }}\n");
        let expected = FILE.replace("# in use\n", &previous);
        let expected =
            expected.replacen(&format!("sha256 = \"{old}\"   # long"), &format!("sha256 = \"{new}\"   # long"), 1);
        assert_eq!(after, expected);
        // Again, without one: what was before it is good no longer.
        let (entry, again) = edited(&after, "a", &rotate(None, Some("2037-01-01T00:00:00Z"))).unwrap();
        assert_eq!((entry.overlap, entry.expires), (None, Some(at("2037-01-01T00:00:00Z"))));
        assert!(!again.contains("previous") && again.contains("# not for ever"), "{again}");
    }

    #[test]
    fn what_cannot_be_changed_is_told_and_left() {
        assert!(matches!(edited(FILE, "c", &KeyEdit::Revoke), Err(EditKeyError::Unknown(_))));
        let inline =
            format!("version = 1\nkey = [{{ id = \"a\", sha256 = \"{}\", principal = \"user:a\" }}]\n", "0".repeat(64));
        assert!(matches!(edited(&inline, "a", &KeyEdit::Revoke), Err(EditKeyError::Form(_))));
        assert!(matches!(edited("nonsense", "a", &KeyEdit::Revoke), Err(EditKeyError::File(_))));
    }
}
