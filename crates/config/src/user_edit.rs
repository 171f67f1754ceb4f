//! Changes a file of users, as `portcullis user` does: one user at a time, what else stands in the file as its owner wrote it, and the whole
//! file or nothing.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_identity::password::{PasswordHash, is_user_name};
use toml_edit::{Array, ArrayOfTables, Datetime, DocumentMut, Item, Table, Value};

use crate::diagnostics::Report;
use crate::draft::{Draft, DraftError};
use crate::environment::ProcessEnvironment;
use crate::file::{User, parse_user_file, read_user_file};
use crate::section::Reader;

/// A user to add.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What is typed.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// Local groups that the user is in.
    pub groups: Vec<String>,
    /// When it was added.
    pub created: Option<Timestamp>,
    /// From when on the user is refused.
    pub expires: Option<Timestamp>,
}

/// What is to be done to a file of users.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// One more.
    Add(NewUser),
    /// One less.
    Remove(String),
    /// The user is refused, or not any more.
    Disable(String, bool),
    /// Another password.
    Hash(String, PasswordHash),
}

/// A user as the file has it, without the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownUser {
    /// What is typed.
    pub name: String,
    /// Local groups that the user is in.
    pub groups: Vec<String>,
    /// The user is refused.
    pub disabled: bool,
    /// When it was added.
    pub created: Option<Timestamp>,
    /// From when on the user is refused.
    pub expires: Option<Timestamp>,
}

/// Why nothing was changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    /// The file has a user of this name.
    #[error("a user `{}` is in the file already", .0.escape_debug())]
    Duplicate(String),
    /// The file has no user of this name.
    #[error("there is no user `{}` in the file", .0.escape_debug())]
    Unknown(String),
    /// There is no file.
    #[error("there is no file `{0}`")]
    Missing(PathBuf),
    /// The user would not be read back.
    #[error("the user is not valid: {0}")]
    Invalid(String),
    /// The file is not a valid file of users as it stands.
    #[error("the file is not valid: {}", .0.summary_line())]
    Unreadable(Box<Report>),
    /// The file could not be replaced.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

const NEW_FILE: &str = "# Users with passwords: names, hashes and groups, never a password. `portcullis user` edits this file; comments stay.\n\nversion = 1\n";

/// Changes a file of users; the first user makes it, with mode 0600. The new text is read back before it takes the file's place.
///
/// # Errors
/// See [`UserFileError`]; the file is then as it was.
pub fn change_users(path: &Path, change: &UserChange) -> Result<(), UserFileError> {
    // A link is followed, so that renaming does not replace it.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let draft = Draft::begin(&path)?;
    let (before, users) = existing(&path, matches!(change, UserChange::Add(_)))?;
    change.check(&users)?;
    let mut document: DocumentMut = before.parse().map_err(|_| invalid("the file cannot be edited"))?;
    change.apply(&mut document).ok_or_else(|| invalid("the users do not stand in `[[user]]`"))?;
    let text = document.to_string();
    let after = parsed(&path, &text).ok_or_else(|| invalid("a name, a group or a moment cannot be written"))?;
    if !change.is_done(&users, &after) {
        return Err(invalid("the file would not say what it is to say"));
    }
    Ok(draft.write(&text)?.put_in_place()?)
}

/// The users of a file, in its order.
///
/// # Errors
/// A file that is not there or not valid.
pub fn list_users(path: &Path) -> Result<Vec<ShownUser>, UserFileError> {
    let (_, users) = existing(path, false)?;
    Ok(users.into_iter().map(shown).collect())
}

fn shown(user: User) -> ShownUser {
    let User { name, groups, disabled, created, expires, .. } = user;
    ShownUser { name: name.value, groups, disabled, created, expires }
}

fn invalid(what: &str) -> UserFileError {
    UserFileError::Invalid(what.to_owned())
}

impl UserChange {
    fn name(&self) -> &str {
        match self {
            Self::Add(user) => &user.name,
            Self::Remove(name) | Self::Disable(name, _) | Self::Hash(name, _) => name,
        }
    }

    fn check(&self, users: &[User]) -> Result<(), UserFileError> {
        let name = self.name();
        let is_there = users.iter().any(|user| user.name.value == name);
        match self {
            Self::Add(_) if is_there => Err(UserFileError::Duplicate(name.to_owned())),
            Self::Add(_) if !is_user_name(name) => {
                Err(invalid("a name has at most 128 bytes, no colon, no comma and no control character"))
            }
            Self::Add(_) => Ok(()),
            Self::Remove(_) | Self::Disable(..) | Self::Hash(..) if !is_there => {
                Err(UserFileError::Unknown(name.to_owned()))
            }
            Self::Remove(_) | Self::Disable(..) | Self::Hash(..) => Ok(()),
        }
    }

    /// `None` where the file writes its users in another way.
    fn apply(&self, document: &mut DocumentMut) -> Option<()> {
        let tables = document.entry("user").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let tables = tables.as_array_of_tables_mut()?;
        let name = self.name();
        let place = tables.iter().position(|table| written(table) == Some(name));
        match self {
            Self::Add(user) => tables.push(user.table()?),
            Self::Remove(_) => {
                tables.remove(place?);
            }
            Self::Disable(_, disabled) => set(tables.get_mut(place?)?, "disabled", (*disabled).into()),
            Self::Hash(_, hash) => set(tables.get_mut(place?)?, "hash", hash.to_string().into()),
        }
        Some(())
    }

    /// Whether the file says what it was to say, and of all others what it said before.
    fn is_done(&self, before: &[User], after: &[User]) -> bool {
        let is_other = |user: &&User| user.name.value != self.name();
        let others = before.iter().filter(is_other).map(facts).eq(after.iter().filter(is_other).map(facts));
        let was = before.iter().find(|user| user.name.value == self.name());
        let is = after.iter().find(|user| user.name.value == self.name());
        let done = match (self, was, is) {
            (Self::Add(new), None, Some(is)) => {
                let wanted = (&new.hash, &new.groups, false, new.created, new.expires);
                facts(is).1 == wanted
            }
            (Self::Remove(_), Some(_), None) => true,
            (Self::Disable(_, disabled), Some(was), Some(is)) => {
                let (_, (hash, groups, _, created, expires)) = facts(was);
                facts(is).1 == (hash, groups, *disabled, created, expires)
            }
            (Self::Hash(_, hash), Some(was), Some(is)) => {
                let (_, (_, groups, disabled, created, expires)) = facts(was);
                facts(is).1 == (hash, groups, disabled, created, expires)
            }
            (Self::Add(_) | Self::Remove(_) | Self::Disable(..) | Self::Hash(..), _, _) => false,
        };
        done && others
    }
}

type Facts<'u> = (&'u str, (&'u PasswordHash, &'u Vec<String>, bool, Option<Timestamp>, Option<Timestamp>));

fn facts(user: &User) -> Facts<'_> {
    (&user.name.value, (&user.hash, &user.groups, user.disabled, user.created, user.expires))
}

/// The name of a user as the file means it. One that is made of a variable of the environment is nobody's here.
fn written(table: &Table) -> Option<&str> {
    table.get("name")?.as_str()
}

/// Another value in the place of one, with the comment behind it.
fn set(table: &mut Table, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

impl NewUser {
    fn table(&self) -> Option<Table> {
        let mut table = Table::new();
        table.insert("name", Item::Value(plain(&self.name).into()));
        table.insert("hash", Item::Value(self.hash.to_string().into()));
        table.insert("groups", Item::Value(Array::from_iter(self.groups.iter().map(|group| plain(group))).into()));
        table.insert("disabled", Item::Value(false.into()));
        for (key, moment) in [("created", self.created), ("expires", self.expires)] {
            if let Some(moment) = moment {
                let moment: Datetime = moment.to_string().parse().ok()?;
                table.insert(key, Item::Value(moment.into()));
            }
        }
        table.decor_mut().set_prefix("\n");
        Some(table)
    }
}

/// Text that is read back as it is, without being expanded.
fn plain(text: &str) -> String {
    text.replace("${", "$${")
}

/// The text so far, and the users in it. `make`: where there is no file, the text of a new one.
fn existing(path: &Path, make: bool) -> Result<(String, Vec<User>), UserFileError> {
    if matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        return if make { Ok((NEW_FILE.to_owned(), Vec::new())) } else { Err(UserFileError::Missing(path.to_owned())) };
    }
    let reader = Reader::new(&ProcessEnvironment);
    let users = read_user_file(&reader, path, &path.display().to_string(), None);
    let text =
        reader.sources.borrow().ids().next().map_or_else(String::new, |id| reader.sources.borrow().text(id).to_owned());
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    match users.filter(|_| report.errors() == 0) {
        Some(users) => Ok((text, users)),
        None => Err(UserFileError::Unreadable(Box::new(report))),
    }
}

fn parsed(path: &Path, text: &str) -> Option<Vec<User>> {
    let reader = Reader::new(&ProcessEnvironment);
    let users = parse_user_file(&reader, path, text);
    let errors = reader.diagnostics.borrow().errors();
    (errors == 0).then_some(users)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn user(name: &str) -> NewUser {
        NewUser {
            name: name.to_owned(),
            hash: PasswordHash::of("correct horse").unwrap(),
            groups: vec!["finance".to_owned(), "${HOME}".to_owned()],
            created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            expires: Some("2027-01-01T00:00:00.5Z".parse().unwrap()),
        }
    }

    fn add(path: &Path, name: &str) -> Result<(), UserFileError> {
        change_users(path, &UserChange::Add(user(name)))
    }

    #[test]
    fn users_come_and_go_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        add(&path, "alice").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap().replace("disabled = false", "disabled = false # since May");
        std::fs::write(&path, text + "\n# Bob is on loan.\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        add(&path, "bob").unwrap();
        let hash = PasswordHash::of("another horse").unwrap();
        change_users(&path, &UserChange::Hash("alice".into(), hash.clone())).unwrap();
        change_users(&path, &UserChange::Disable("alice".into(), true)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("disabled = true # since May") && text.contains("# Bob is on loan."), "{text}");
        assert!(text.contains(&format!("hash = \"{hash}\"")), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let users = list_users(&path).unwrap();
        let expected = [("alice", true), ("bob", false)];
        assert!(users.iter().map(|user| (user.name.as_str(), user.disabled)).eq(expected), "{users:?}");
        assert_eq!(users[1].groups, ["finance", "${HOME}"]);
        assert_eq!(users[1].expires, user("bob").expires);
        change_users(&path, &UserChange::Remove("alice".into())).unwrap();
        assert_eq!(list_users(&path).unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn what_cannot_be_done_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        let remove = |name: &str| UserChange::Remove(name.to_owned());
        assert!(matches!(change_users(&path, &remove("alice")), Err(UserFileError::Missing(_))));
        add(&path, "alice").unwrap();
        let before = std::fs::read(&path).unwrap();
        let check = |change: &UserChange, fragment: &str| {
            let error = change_users(&path, change).unwrap_err().to_string();
            assert!(error.contains(fragment), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        };
        check(&UserChange::Add(user("alice")), "is in the file already");
        check(&remove("bob"), "there is no user `bob`");
        check(&UserChange::Disable("bob".into(), true), "there is no user `bob`");
        check(&UserChange::Add(user("a:b")), "no colon");
        check(&UserChange::Add(NewUser { groups: vec!["a,b".into()], ..user("bob") }), "a group");
    }

    #[test]
    fn a_broken_file_is_not_changed_and_a_hash_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        std::fs::write(&path, "version = 1\n[[user]]\nname = \"alice\"\nhash = \"my-secret-password\"\n").unwrap();
        let Err(UserFileError::Unreadable(report)) = add(&path, "bob") else { panic!("it is broken") };
        let shown = report.render_human(false);
        assert!(shown.contains("this is no hash of a password") && !shown.contains("my-secret"), "{shown}");
    }

    #[test]
    fn two_changes_at_once_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        let draft = Draft::begin(&path).unwrap();
        assert!(matches!(add(&path, "alice"), Err(UserFileError::Draft(DraftError::Busy(_)))));
        drop(draft);
        add(&path, "alice").unwrap();
    }
}
