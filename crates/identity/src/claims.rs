//! From verified claims to a principal.
//!
//! A claim that is present and of the wrong type refuses the token. Ignoring it would turn a provider's mistake into a
//! principal that lacks a group, a device or an assurance that some deny rule was waiting for.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{Authentication, AuthenticationMethod, Device, GroupClaim, Principal, PrincipalKind};
use serde_json::{Number, Value};

use crate::namespace::Namespace;
use crate::refusal::{Refusal, excerpt};
use crate::settings::{ClaimNames, IntrospectionProvider, JwtProvider};
use crate::strict_json::Object;

/// The longest text of a claim, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256;

/// The most groups, and the most authentication methods, of one token.
const MAX_ELEMENTS: usize = 256;

/// How one provider's claims are read.
#[derive(Debug)]
pub(crate) struct ClaimReader {
    provider: Arc<str>,
    method: AuthenticationMethod,
    issuer: Option<Box<str>>,
    kind: PrincipalKind,
    names: ClaimNames,
    namespace: Namespace,
    trust_groups: Vec<String>,
}

impl ClaimReader {
    pub(crate) fn new(settings: &JwtProvider, namespace: Namespace) -> Self {
        Self {
            provider: Arc::clone(&settings.name),
            method: AuthenticationMethod::Jwt,
            issuer: Some(Box::from(settings.issuer.as_str())),
            kind: settings.principal,
            names: settings.claims.clone(),
            namespace,
            trust_groups: settings.trust_groups.clone(),
        }
    }

    /// How what a provider says of opaque tokens is read.
    pub(crate) fn of_introspection(settings: &IntrospectionProvider, namespace: Namespace) -> Self {
        Self {
            provider: Arc::clone(&settings.name),
            method: AuthenticationMethod::Introspection,
            issuer: settings.issuer.as_deref().map(Box::from),
            kind: settings.principal,
            names: settings.claims.clone(),
            namespace,
            trust_groups: settings.trust_groups.clone(),
        }
    }

    /// The principal that verified claims describe.
    pub(crate) fn principal(
        &self,
        claims: &Object,
        key_id: Option<&str>,
        expires: Timestamp,
    ) -> Result<Principal, Refusal> {
        let id = required(claims, &self.names.id)?;
        Ok(Principal {
            kind: self.kind,
            id: self.namespace.local(id)?,
            name: text(claims, &self.names.name)?.map(Box::from),
            email: text(claims, &self.names.email)?.map(Box::from),
            groups: self.groups(claims)?,
            directory: None,
            roles: Vec::new(),
            device: self.device(claims)?,
            scope: None,
            authentication: Authentication {
                method: self.method,
                provider: Box::from(&*self.provider),
                issuer: self.issuer.clone(),
                key_id: key_id.map(Box::from),
                acr: text(claims, &self.names.acr)?.map(Box::from),
                amr: self.authentication_methods(claims)?,
                auth_time: self.auth_time(claims)?,
                issued: numeric_date(claims, "iat")?,
                expires: Some(expires),
                stated_mfa: false,
            },
        })
    }

    /// Whom unverified claims name, in local form. For counting only.
    pub(crate) fn attempted(&self, claims: &Object) -> Option<String> {
        claims.get(&self.names.id).and_then(Value::as_str).map(|id| self.namespace.unchecked(id))
    }

    /// When the caller last authenticated (OpenID Connect Core 2).
    pub(crate) fn auth_time(&self, claims: &Object) -> Result<Option<Timestamp>, Refusal> {
        numeric_date(claims, &self.names.auth_time)
    }

    /// An array of strings, or one string.
    fn groups(&self, claims: &Object) -> Result<Vec<GroupClaim>, Refusal> {
        let name = &self.names.groups;
        match claims.get(name) {
            None => Ok(Vec::new()),
            Some(one @ Value::String(_)) => Ok(vec![self.group(one)?]),
            Some(Value::Array(groups)) => bounded(groups, name)?.iter().map(|group| self.group(group)).collect(),
            Some(_) => Err(wrong_type(name, "an array of strings or a string")),
        }
    }

    fn group(&self, claimed: &Value) -> Result<GroupClaim, Refusal> {
        let claim = &self.names.groups;
        let name = claimed.as_str().ok_or_else(|| wrong_type(claim, "an array of strings or a string"))?;
        let name = not_empty(sound(name, claim)?, claim)?;
        let trusted = self.trust_groups.iter().any(|group| group == name);
        let name = if trusted { Box::from(name) } else { self.namespace.local(name)? };
        Ok(GroupClaim { name, trusted })
    }

    fn device(&self, claims: &Object) -> Result<Option<Device>, Refusal> {
        let compliant = match claims.get(&self.names.device_compliant) {
            None => None,
            Some(Value::Bool(compliant)) => Some(*compliant),
            Some(_) => return Err(wrong_type(&self.names.device_compliant, "a boolean")),
        };
        match (text(claims, &self.names.device)?, compliant) {
            (Some(id), compliant) => {
                let id = Box::from(not_empty(id, &self.names.device)?);
                Ok(Some(Device { id, compliant }))
            }
            (None, None) => Ok(None),
            // Dropping it would hide that the device was found wanting.
            (None, Some(_)) => Err(Refusal::invalid(format!(
                "the claim {} is there without {}",
                excerpt(&self.names.device_compliant),
                excerpt(&self.names.device)
            ))),
        }
    }

    /// RFC 8176 section 1: an array of strings.
    fn authentication_methods(&self, claims: &Object) -> Result<Vec<Box<str>>, Refusal> {
        let name = &self.names.amr;
        let method = |value: &Value| {
            let text = value.as_str().ok_or_else(|| wrong_type(name, "an array of strings"))?;
            Ok(Box::from(sound(text, name)?))
        };
        match claims.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(methods)) => bounded(methods, name)?.iter().map(method).collect(),
            Some(_) => Err(wrong_type(name, "an array of strings")),
        }
    }
}

/// A NumericDate (RFC 7519 section 2): seconds since the epoch, perhaps with a fraction. A number that no calendar
/// reaches is refused, for it is a mistake (milliseconds, mostly) that would make a token valid for ever.
pub(crate) fn numeric_date(claims: &Object, name: &str) -> Result<Option<Timestamp>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => instant(seconds)
            .map(Some)
            .ok_or_else(|| Refusal::invalid(format!("the claim {} lies beyond the year 9999", excerpt(name)))),
        Some(_) => Err(wrong_type(name, "a number")),
    }
}

/// Whether text may become part of an identity: bounded, and without control characters, which have a meaning in a
/// header or a log line.
pub(crate) fn is_sound(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control)
}

fn instant(seconds: &Number) -> Option<Timestamp> {
    if let Some(whole) = seconds.as_i64() {
        return Timestamp::from_second(whole).ok();
    }
    let seconds = seconds.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
    Timestamp::from_nanosecond((seconds * 1e9) as i128).ok()
}

fn required<'c>(claims: &'c Object, name: &str) -> Result<&'c str, Refusal> {
    match text(claims, name)? {
        Some(text) => not_empty(text, name),
        None => Err(Refusal::invalid(format!("the token has no claim {}", excerpt(name)))),
    }
}

fn text<'c>(claims: &'c Object, name: &str) -> Result<Option<&'c str>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => sound(text, name).map(Some),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

fn sound<'c>(text: &'c str, name: &str) -> Result<&'c str, Refusal> {
    if is_sound(text) {
        return Ok(text);
    }
    let problem = format!("is longer than {MAX_TEXT_BYTES} bytes or has a control character");
    Err(Refusal::invalid(format!("the claim {} {problem}", excerpt(name))))
}

fn not_empty<'c>(text: &'c str, name: &str) -> Result<&'c str, Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid(format!("the claim {} is or holds an empty string", excerpt(name))));
    }
    Ok(text)
}

fn bounded<'c>(elements: &'c [Value], name: &str) -> Result<&'c [Value], Refusal> {
    if elements.len() > MAX_ELEMENTS {
        let count = elements.len();
        return Err(Refusal::invalid(format!("the claim {} has {count} elements, over {MAX_ELEMENTS}", excerpt(name))));
    }
    Ok(elements)
}

fn wrong_type(name: &str, wanted: &str) -> Refusal {
    Refusal::invalid(format!("the claim {} is not {wanted}", excerpt(name)))
}

#[cfg(test)]
mod tests;
