//! What somebody states who asks a question offline: who calls, for what, and under which circumstances. The command line and
//! the case files say it in the same words, which are read here.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::principal::PrincipalKind;
use crate::request::{CountryCode, RiskLevel};
use crate::route::canonical_host;

/// The facts of a request that is only supposed. What is not stated is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatedFacts {
    /// Who asks; `None` is an anonymous caller.
    pub principal: Option<(PrincipalKind, String)>,
    /// The groups that the principal's credential claims.
    pub groups: Vec<String>,
    /// The roles that the principal holds directly.
    pub roles: Vec<String>,
    /// The eligible assignments that the principal has activated.
    pub activated: Vec<String>,
    /// The host, where the request is only a path.
    pub host: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's country.
    pub country: Option<CountryCode>,
    /// Whether the device meets the rules.
    pub compliant_device: Option<bool>,
    /// Whether the authentication counts as a fresh `mfa`.
    pub fresh_mfa: bool,
    /// How long ago the principal authenticated, in seconds.
    pub authenticated_s: Option<u64>,
    /// How risky the caller looks.
    pub risk: Option<RiskLevel>,
    /// When it happens; `None` is now.
    pub at: Option<Timestamp>,
}

/// Whoever it is, as long as it is verified: nobody's id is a space.
const SOMEBODY: &str = " ";

/// Who is meant by `user:alice`, `alice` for short, `service:ID`, `certificate:SAN`, `authenticated` (somebody whom no rule names),
/// or `anyone` (nobody: `None`).
///
/// # Errors
/// A sentence for whoever wrote it, when it is none of these.
pub fn stated_principal(text: &str) -> Result<Option<(PrincipalKind, &str)>, String> {
    let (kind, id) = match text.split_once(':') {
        Some(("user", id)) => (PrincipalKind::User, id),
        Some(("service", id)) => (PrincipalKind::Service, id),
        Some(("certificate", id)) => (PrincipalKind::Certificate, id),
        Some((kind, _)) => {
            return Err(format!("`{kind}` is not a kind of principal: user, service or certificate"));
        }
        None if matches!(text, "anyone" | "anonymous") => return Ok(None),
        None if text == "authenticated" => (PrincipalKind::User, SOMEBODY),
        None => (PrincipalKind::User, text),
    };
    if id.is_empty() {
        return Err(format!("`{text}` has no id"));
    }
    Ok(Some((kind, id)))
}

/// The canonical host of a URL, where it names one, and its path without query and fragment. The path is not looked at further.
///
/// # Errors
/// A sentence for whoever wrote it, when it is neither a URL of `http` or `https` nor a path.
pub fn stated_target(url: &str) -> Result<(Option<String>, &str), String> {
    let (authority, rest) = match url.split_once("://") {
        Some(("http" | "https", rest)) => match rest.find(['/', '?', '#']) {
            Some(end) => (Some(rest.get(..end).unwrap_or(rest)), rest.get(end..).unwrap_or("/")),
            None => (Some(rest), "/"),
        },
        Some((scheme, _)) if !url.starts_with('/') => return Err(format!("`{scheme}` is not http or https")),
        _ => (None, url),
    };
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    let path = if path.is_empty() && authority.is_some() { "/" } else { path };
    match authority {
        Some(authority) => Ok((Some(stated_host(authority)?), path)),
        None if path.starts_with('/') => Ok((None, path)),
        None => Err(format!("`{url}` is neither a URL nor a path: a path begins with a slash")),
    }
}

/// A host in its canonical form.
///
/// # Errors
/// A sentence for whoever wrote it, when it is no host.
pub fn stated_host(text: &str) -> Result<String, String> {
    canonical_host(text).map(|host| host.into_owned()).ok_or_else(|| format!("`{text}` is not a host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_a_kind_and_an_id_or_a_short_name() {
        let check = |text: &str, expected: Result<Option<(PrincipalKind, &str)>, &str>| match (
            stated_principal(text),
            expected,
        ) {
            (Err(said), Err(words)) => assert!(said.contains(words), "{text}: {said}"),
            (found, expected) => assert_eq!(found.as_ref().ok(), expected.as_ref().ok(), "{text}: {found:?}"),
        };
        check("user:alice", Ok(Some((PrincipalKind::User, "alice"))));
        check("alice", Ok(Some((PrincipalKind::User, "alice"))));
        check("user:a:b", Ok(Some((PrincipalKind::User, "a:b"))));
        check("service:reporting", Ok(Some((PrincipalKind::Service, "reporting"))));
        check("certificate:a.example", Ok(Some((PrincipalKind::Certificate, "a.example"))));
        check("authenticated", Ok(Some((PrincipalKind::User, " "))));
        check("anyone", Ok(None));
        check("anonymous", Ok(None));
        check("", Err("has no id"));
        check("user:", Err("has no id"));
        check("wizard:merlin", Err("`wizard` is not a kind"));
        check("group:finance", Err("`group` is not a kind"));
    }

    #[test]
    fn a_target_is_a_url_or_a_path() {
        let check = |url: &str, expected: Result<(Option<&str>, &str), &str>| match (stated_target(url), expected) {
            (Err(said), Err(words)) => assert!(said.contains(words), "{url}: {said}"),
            (Ok((host, path)), Ok(expected)) => assert_eq!((host.as_deref(), path), expected, "{url}"),
            (found, _) => panic!("{url}: {found:?}"),
        };
        check("/a?b#c", Ok((None, "/a")));
        check("/", Ok((None, "/")));
        check("/x://y", Ok((None, "/x://y")));
        check("http://A.test:80/x?y", Ok((Some("a.test"), "/x")));
        check("https://a.test", Ok((Some("a.test"), "/")));
        check("https://a.test?x", Ok((Some("a.test"), "/")));
        check("ftp://a.test/", Err("`ftp` is not http"));
        check("a", Err("neither a URL nor a path"));
        check("", Err("neither a URL nor a path"));
        check("?x", Err("neither a URL nor a path"));
        check("http://a b/", Err("`a b` is not a host"));
    }
}
