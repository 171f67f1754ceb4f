//! `[mfa]`: second factors that the gateway itself keeps.

use portcullis_events::settings::Secret;

use crate::diagnostics::{At, Span};
use crate::file::receiver::{optional_text, required_text};
use crate::kinds::{Choice, Flag, Text};
use crate::section::Section;

/// What authenticator apps show unless the file says otherwise.
pub(crate) const ISSUER: &str = "portcullis";
/// What can be written as `first_factor`: whether whoever has none yet adds the first one by themselves, after a login for just that.
pub(crate) const FIRST_FACTOR: &[(&str, bool)] = &[("login", true), ("operator", false)];

/// `[mfa]`, where it is on.
#[derive(Debug)]
pub(crate) struct Mfa {
    pub(crate) at: Span,
    pub(crate) key: At<Secret>,
    pub(crate) other_key: Option<At<Secret>>,
    pub(crate) issuer: String,
    pub(crate) totp: bool,
    pub(crate) first_by_login: bool,
    pub(crate) passkeys: Option<Passkeys>,
}

/// `[mfa.passkeys]`
#[derive(Debug)]
pub(crate) struct Passkeys {
    pub(crate) rp_id: At<String>,
    pub(crate) origins: Vec<At<String>>,
}

/// `None`: it is not there, switched off, or has errors.
pub(crate) fn read_mfa(root: &Section<'_>) -> Option<Mfa> {
    let section = root.table("mfa")?;
    let at = section.span();
    let enabled = section.or("enabled", Flag, true);
    let key = required_text(&section, "key");
    let other_key = optional_text(&section, "other_key");
    let issuer = section.or("issuer", Text, ISSUER.to_owned());
    let totp = section.or("totp", Flag, true);
    let first_by_login = section.or("first_factor", Choice(FIRST_FACTOR), true);
    let passkeys = section.table("passkeys").map(read_passkeys);
    section.finish();
    let passkeys = match passkeys {
        Some(passkeys) => Some(passkeys?),
        None => None,
    };
    enabled.then_some(Mfa { at, key: key?, other_key: other_key.ok()?, issuer, totp, first_by_login, passkeys })
}

fn read_passkeys(section: Section<'_>) -> Option<Passkeys> {
    let rp_id = section.required("rp_id", Text);
    let origins = section.required_list("origins", Text);
    if let Some(origins) = origins.as_ref().filter(|list| list.value.is_empty()) {
        section.report_empty(
            "origins",
            origins.span,
            "name the places where people show passkeys, such as \"https://app.example.com\"",
        );
    }
    section.finish();
    Some(Passkeys { rp_id: rp_id?, origins: origins?.value })
}
