//! The file of users with passwords: names, hashes and groups, never a password.

use std::borrow::Cow;
use std::path::Path;

use jiff::Timestamp;
use portcullis_identity::password::{PasswordHash, is_user_name};
use serde_json::Value;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::{FileToRead, MAX_GATEWAY_FILE, parse_document, read_document};
use crate::file::read_version;
use crate::kinds::{Flag, Moment, Name};
use crate::schema::matching;
use crate::section::{Field, Kind, Reader, Section, shown};

/// One `[[user]]`.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: At<String>,
    pub(crate) hash: PasswordHash,
    pub(crate) groups: Vec<String>,
    pub(crate) disabled: bool,
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
}

/// Reads a file of users. Two of one name are reported here; names over several files are the authenticator's affair.
pub(crate) fn read_user_file(
    reader: &Reader<'_>,
    path: &Path,
    short_name: &str,
    named_at: Option<Span>,
) -> Option<Vec<User>> {
    let file = FileToRead { path, short_name, named_at, limit: MAX_GATEWAY_FILE, defines_names: false };
    let users = read_document(reader, file, read_users)?;
    report_duplicates(reader, &users);
    Some(users)
}

/// The same for a text that is not in its file yet.
pub(crate) fn parse_user_file(reader: &Reader<'_>, path: &Path, text: &str) -> Vec<User> {
    let source = reader.add_source(path, "users", text.into());
    let users = parse_document(reader, source, text, read_users).value.unwrap_or_default();
    report_duplicates(reader, &users);
    users
}

fn read_users(section: Section<'_>) -> Vec<User> {
    read_version(&section, true);
    let users = section.tables("user").into_iter().filter_map(read_user).collect();
    section.finish();
    users
}

fn read_user(section: Section<'_>) -> Option<User> {
    let name = section.required("name", UserName);
    let hash = section.required("hash", HashText);
    let groups = section.list("groups", Name).map_or_else(Vec::new, |list| list.value);
    let disabled = section.or("disabled", Flag, false);
    let created = section.optional("created", Moment);
    let expires = section.optional("expires", Moment);
    section.finish();
    Some(User {
        name: name?,
        hash: hash?.value,
        groups: groups.into_iter().map(|group| group.value).collect(),
        disabled,
        created: created.map(|moment| moment.value),
        expires: expires.map(|moment| moment.value),
    })
}

fn report_duplicates(reader: &Reader<'_>, users: &[User]) {
    let mut seen = std::collections::HashMap::new();
    for user in users {
        if let Some(first) = seen.insert(user.name.value.as_str(), user.name.span) {
            let message = format!("two users have the name `{}`", shown(&user.name.value));
            let diagnostic = Diagnostic::error(codes::DUPLICATE, user.name.span, message)
                .with_related(first, "the first one is here")
                .with_help("give each user a name of its own");
            reader.report(diagnostic);
        }
    }
}

/// A user's name, as it is typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserName;

impl Kind for UserName {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a name such as \"alice\": at most 128 bytes, without a colon or a comma".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        if !is_user_name(&text) {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching("^[^,:]{1,128}$")
    }
}

/// The hash of a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashText;

impl Kind for HashText {
    type Value = PasswordHash;

    fn expected(&self) -> Cow<'static, str> {
        "an Argon2id hash, `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<PasswordHash> {
        let text = field.text(&self.expected())?;
        match PasswordHash::parse(&text) {
            Ok(hash) => Some(hash),
            Err(problem) => {
                // What stands here may be the password itself, so that it is not repeated.
                field.reader.hide(field.span);
                let help =
                    "make one with `portcullis hash-password`, or write it with `portcullis user passwd`".to_owned();
                field.bad_value(format!("this is no hash of a password: {problem}"), Some(help));
                None
            }
        }
    }

    fn schema(&self) -> Value {
        matching("^\\$argon2id\\$v=19\\$m=[0-9]+,t=[0-9]+,p=[0-9]+\\$[A-Za-z0-9+/]+\\$[A-Za-z0-9+/]+$")
    }
}
