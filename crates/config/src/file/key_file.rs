//! The key file of an API key provider: ids and hashes, never a secret.

use std::path::Path;

use jiff::Timestamp;
use portcullis_identity::api_key::is_key_id;
use portcullis_identity::settings::PreviousSecret;
use portcullis_policy::PrincipalKind;
use serde_json::Value;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::{FileToRead, MAX_GATEWAY_FILE, parse_document, read_document};
use crate::file::read_version;
use crate::kinds::{Flag, Moment, Name, Text};
use crate::schema::matching;
use crate::section::{Field, Kind, Reader, Section, shown};

/// One `[[key]]`.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: At<String>,
    pub(crate) sha256: [u8; 32],
    pub(crate) principal: (PrincipalKind, String),
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<At<String>>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) routes: Vec<At<String>>,
    pub(crate) networks: Vec<At<String>>,
    pub(crate) previous: Option<PreviousSecret>,
    pub(crate) revoked: bool,
}

/// Reads a key file. Two keys of one id are reported here; ids over several files are the authenticator's affair.
pub(crate) fn read_key_file(
    reader: &Reader<'_>,
    path: &Path,
    short_name: &str,
    named_at: Option<Span>,
) -> Option<Vec<Key>> {
    let file = FileToRead { path, short_name, named_at, limit: MAX_GATEWAY_FILE, defines_names: false };
    let keys = read_document(reader, file, read_keys)?;
    report_duplicates(reader, &keys);
    Some(keys)
}

/// The same for a text that is not in its file yet.
pub(crate) fn parse_key_file(reader: &Reader<'_>, path: &Path, text: &str) -> Vec<Key> {
    let source = reader.add_source(path, "keys", text.into());
    let keys = parse_document(reader, source, text, read_keys).value.unwrap_or_default();
    report_duplicates(reader, &keys);
    keys
}

fn read_keys(section: Section<'_>) -> Vec<Key> {
    read_version(&section, true);
    let keys = section.tables("key").into_iter().filter_map(read_key).collect();
    section.finish();
    keys
}

fn read_key(section: Section<'_>) -> Option<Key> {
    let id = section.required("id", KeyId);
    let sha256 = section.required("sha256", Sha256);
    let principal = section.required("principal", KeyPrincipal);
    let names = |key| section.list(key, Name).map_or_else(Vec::new, |list| list.value);
    let (groups, roles) = (names("groups"), names("roles"));
    let created = section.optional("created", Moment);
    let expires = section.optional("expires", Moment);
    let (routes, networks) = (names("routes"), names("networks"));
    let previous = section.table("previous").and_then(read_previous);
    let revoked = section.or("revoked", Flag, false);
    section.finish();
    Some(Key {
        id: id?,
        sha256: sha256?.value,
        principal: principal?.value,
        groups: groups.into_iter().map(|group| group.value).collect(),
        roles,
        created: created.map(|moment| moment.value),
        expires: expires.map(|moment| moment.value),
        routes,
        networks,
        previous,
        revoked,
    })
}

/// The secret of before the last rotation.
fn read_previous(section: Section<'_>) -> Option<PreviousSecret> {
    let sha256 = section.required("sha256", Sha256);
    let until = section.required("until", Moment);
    section.finish();
    Some(PreviousSecret { sha256: sha256?.value, until: until?.value })
}

fn report_duplicates(reader: &Reader<'_>, keys: &[Key]) {
    let mut seen = std::collections::HashMap::new();
    for key in keys {
        if let Some(first) = seen.insert(key.id.value.as_str(), key.id.span) {
            let message = format!("two keys have the id `{}`", key.id.value);
            let diagnostic = Diagnostic::error(codes::DUPLICATE, key.id.span, message)
                .with_related(first, "the first one is here")
                .with_help("give each key an id of its own");
            reader.report(diagnostic);
        }
    }
}

/// A key's id: it is part of the key's text, between its underscores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyId;

impl Kind for KeyId {
    type Value = String;

    fn expected(&self) -> std::borrow::Cow<'static, str> {
        "1 to 64 of a-z, 0-9 and `-`, such as \"reporting-2026\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        if !is_key_id(&text) {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching("^[a-z0-9-]{1,64}$")
    }
}

/// A SHA-256 hash in hexadecimal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sha256;

impl Kind for Sha256 {
    type Value = [u8; 32];

    fn expected(&self) -> std::borrow::Cow<'static, str> {
        "the SHA-256 of the secret as 64 hexadecimal digits".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<[u8; 32]> {
        let text = field.text(&self.expected())?;
        let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let hash = decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if hash.is_none() {
            // What stands here may be the secret itself, so that it is not repeated.
            let help = "make a key with `portcullis key create`: it writes the hash".to_owned();
            field.bad_value(format!("expected {}", self.expected()), Some(help));
        }
        hash
    }

    fn schema(&self) -> Value {
        matching("^[0-9A-Fa-f]{64}$")
    }
}

/// The principal that a key stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyPrincipal;

impl Kind for KeyPrincipal {
    type Value = (PrincipalKind, String);

    fn expected(&self) -> std::borrow::Cow<'static, str> {
        "a principal such as \"service:reporting\" or \"user:alice\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<(PrincipalKind, String)> {
        let text = Text.read(field)?;
        let found = parse_principal(&text);
        if found.is_none() {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
        }
        found
    }

    fn schema(&self) -> Value {
        matching("^(user|service):.")
    }
}

/// `user:ID` or `service:ID`; `None` for anything else.
pub(crate) fn parse_principal(text: &str) -> Option<(PrincipalKind, String)> {
    let (kind, id) = text.split_once(':')?;
    let kind = [PrincipalKind::User, PrincipalKind::Service].into_iter().find(|known| known.as_str() == kind)?;
    let valid = !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control);
    valid.then(|| (kind, id.to_owned()))
}
