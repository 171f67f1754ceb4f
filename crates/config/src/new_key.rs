//! Adds an API key to a key file, as `portcullis key create` does: the text is only appended to, so that comments stay.

use std::path::Path;

use jiff::Timestamp;

use crate::diagnostics::Report;
use crate::draft::{Draft, DraftError};
use crate::environment::ProcessEnvironment;
use crate::file::{Key, parse_key_file, parse_principal, read_key_file};
use crate::format::format_bytes;
use crate::section::Reader;

/// A key to add. The secret itself is never written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// 1 to 64 of `a-z`, `0-9` and `-`, unique in the file.
    pub id: String,
    /// SHA-256 of the secret bytes.
    pub sha256: [u8; 32],
    /// Whom the key stands for: `service:ID` or `user:ID`.
    pub principal: String,
    /// Local groups that it carries.
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
}

/// Why a key was not added. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendKeyError {
    /// The file holds a key of this id.
    #[error("a key with the id `{0}` is in the file already")]
    Duplicate(String),
    /// The record itself would not be read back: the id, the principal, a group or a role is not valid.
    #[error("the key is not valid: {0}")]
    Invalid(String),
    /// The file is not a valid key file as it stands.
    #[error("the key file is not valid: {}", .0.summary_line())]
    Unreadable(Box<Report>),
    /// The file could not be replaced.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// Appends a `[[key]]` to a key file, or makes the file with mode 0600. The file is replaced as a whole or not at all:
/// the new text is written beside it, synced and renamed.
///
/// # Errors
/// See [`AppendKeyError`]; the file is then as it was.
pub fn append_key(path: &Path, key: &NewKey) -> Result<(), AppendKeyError> {
    // A link is followed, so that renaming does not replace it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let draft = Draft::begin(&path)?;
    let before = existing(&path, key)?;
    // Laid out on its own: what is in the file stays as its owner wrote it.
    let block = block(key);
    let block = format_bytes(&path, block.as_bytes()).unwrap_or(block);
    let text = format!("{before}\n{block}");
    if !reads_back(&text, &path, key) {
        return Err(AppendKeyError::Invalid(invalid_part(key)));
    }
    Ok(draft.write(&text)?.put_in_place()?)
}

/// The text so far, ready to be appended to.
fn existing(path: &Path, key: &NewKey) -> Result<String, AppendKeyError> {
    if matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        return Ok("# API keys: ids and hashes. A secret is shown once, when its key is made, and stored nowhere.\n\nversion = 1\n".into());
    }
    let reader = Reader::new(&ProcessEnvironment);
    let keys = read_key_file(&reader, path, &path.display().to_string(), None);
    let text =
        reader.sources.borrow().ids().next().map_or_else(String::new, |id| reader.sources.borrow().text(id).to_owned());
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    let Some(keys) = keys.filter(|_| report.errors() == 0) else {
        return Err(AppendKeyError::Unreadable(Box::new(report)));
    };
    if keys.iter().any(|other| other.id.value == key.id) {
        return Err(AppendKeyError::Duplicate(key.id.clone()));
    }
    Ok(if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" })
}

/// The text of one `[[key]]`.
fn block(key: &NewKey) -> String {
    let mut block = format!(
        "[[key]]\nid = {}\nsha256 = \"{}\"\nprincipal = {}\n",
        quoted(&key.id),
        data_encoding::HEXLOWER.encode(&key.sha256),
        quoted(&key.principal),
    );
    for (name, values) in
        [("groups", &key.groups), ("roles", &key.roles), ("routes", &key.routes), ("networks", &key.networks)]
    {
        if values.is_empty() && matches!(name, "routes" | "networks") {
            continue;
        }
        let list: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        block.push_str(&format!("{name} = [{}]\n", list.join(", ")));
    }
    for (name, moment) in [("created", key.created), ("expires", key.expires)] {
        if let Some(moment) = moment {
            block.push_str(&format!("{name} = {moment}\n"));
        }
    }
    block.push_str("revoked = false\n");
    block
}

/// A TOML string that is read back as this text, without being expanded.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace("${", "$${")).to_string()
}

/// Whether the new text is a valid key file whose last key is this one.
fn reads_back(text: &str, path: &Path, key: &NewKey) -> bool {
    let reader = Reader::new(&ProcessEnvironment);
    let keys = parse_key_file(&reader, path, text);
    let same = |last: &Key| {
        last.id.value == key.id
            && last.sha256 == key.sha256
            && Some(&last.principal) == parse_principal(&key.principal).as_ref()
            && last.groups == key.groups
            && last.roles.iter().map(|role| &role.value).eq(&key.roles)
            && last.routes.iter().map(|route| &route.value).eq(&key.routes)
            && last.networks.iter().map(|network| &network.value).eq(&key.networks)
            && last.created == key.created
            && last.expires == key.expires
            && !last.revoked
    };
    reader.diagnostics.borrow().errors() == 0 && keys.last().is_some_and(same)
}

/// Which part of a record is not valid, for a message.
fn invalid_part(key: &NewKey) -> String {
    if !portcullis_identity::api_key::is_key_id(&key.id) {
        format!("the id `{}` is not 1 to 64 of a-z, 0-9 and -", key.id.escape_debug())
    } else if parse_principal(&key.principal).is_none() {
        format!("`{}` is not `service:ID` or `user:ID`", key.principal.escape_debug())
    } else {
        "a group, a role or a moment cannot be written".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(id: &str) -> NewKey {
        NewKey {
            id: id.into(),
            sha256: [7; 32],
            principal: "service:reporting".into(),
            groups: vec!["batch".into()],
            roles: vec!["a\"b\\${HOME}".into()],
            routes: vec!["billing".into()],
            networks: Vec::new(),
            created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            expires: Some("2027-01-01T00:00:00.5Z".parse().unwrap()),
        }
    }

    fn read(path: &Path) -> Vec<Key> {
        let reader = Reader::new(&ProcessEnvironment);
        let keys = read_key_file(&reader, path, "keys.toml", None).unwrap();
        assert_eq!(reader.diagnostics.borrow().errors(), 0);
        keys
    }

    #[test]
    fn a_key_is_appended_and_read_back_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        append_key(&path, &key("one")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let text = std::fs::read_to_string(&path).unwrap() + "# the night job";
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        append_key(&path, &NewKey { expires: None, groups: Vec::new(), ..key("two") }).unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        assert!(after.starts_with(&text), "{after}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);

        let keys = read(&path);
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].roles[0].value, "a\"b\\${HOME}");
        assert_eq!((keys[1].id.value.as_str(), keys[1].expires, keys[1].groups.len()), ("two", None, 0));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_formatted_file_stays_formatted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        for id in ["one", "two"] {
            append_key(&path, &key(id)).unwrap();
            assert!(crate::FileToFormat::read(&path).unwrap().is_formatted(), "{id}");
        }
        // Beyond the width of a line, too.
        let many = |count: usize| (0..count).map(|index| format!("group-{index}")).collect::<Vec<_>>();
        for count in [8, 9, 10, 60] {
            append_key(&path, &NewKey { groups: many(count), ..key(&format!("many-{count}")) }).unwrap();
            assert!(crate::FileToFormat::read(&path).unwrap().is_formatted(), "{count}");
        }
        // What its owner wrote otherwise is not changed for that.
        let text = std::fs::read_to_string(&path).unwrap() + "# mine  \n\n\n";
        std::fs::write(&path, &text).unwrap();
        append_key(&path, &key("three")).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&text));
    }

    #[test]
    fn a_refused_key_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        append_key(&path, &key("one")).unwrap();
        let before = std::fs::read(&path).unwrap();
        let check = |key: NewKey, fragment: &str| {
            let error = append_key(&path, &key).unwrap_err().to_string();
            assert!(error.contains(fragment), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        };
        check(key("one"), "a key with the id `one`");
        check(key("One"), "the id `One`");
        check(NewKey { principal: "group:a".into(), ..key("two") }, "`group:a` is not");
        check(NewKey { roles: vec!["a,b".into()], ..key("two") }, "a group, a role");
    }

    #[test]
    fn a_broken_file_is_not_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, "version = 1\n[[key]\n").unwrap();
        assert!(matches!(append_key(&path, &key("one")), Err(AppendKeyError::Unreadable(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "version = 1\n[[key]\n");
    }

    #[test]
    fn two_changes_at_once_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let draft = Draft::begin(&path).unwrap();
        assert!(matches!(append_key(&path, &key("one")), Err(AppendKeyError::Draft(DraftError::Busy(_)))));
        drop(draft);
        append_key(&path, &key("one")).unwrap();
    }
}
