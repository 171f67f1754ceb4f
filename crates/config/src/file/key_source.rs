//! `jwks` of a provider of tokens: where its keys are.

use portcullis_fetch::UrlSource;
use portcullis_identity::remote::discovery_address;
use portcullis_identity::settings::{KeyLocation, RemoteKeySource};
use portcullis_proxy::tls::material;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::receiver::{Link, Parsed};
use crate::kinds::{FilePath, Flag, ResolvedPath, Time};
use crate::pem::read_pinned_pem;
use crate::section::Section;

/// Where a provider's keys are.
#[derive(Debug)]
pub(crate) enum KeyPlace {
    File(At<ResolvedPath>),
    Remote(At<RemoteKeySource>),
}

/// Reads `jwks`. `issuer` is the provider's, where its discovery document is.
pub(crate) fn read_jwks(section: &Section<'_>, issuer: Option<&At<String>>) -> Option<KeyPlace> {
    let jwks = section.required_table("jwks", "{ file = \"jwks.json\" }")?;
    let place = read(&jwks, issuer);
    jwks.finish();
    place
}

fn read(jwks: &Section<'_>, issuer: Option<&At<String>>) -> Option<KeyPlace> {
    let file = jwks.optional("file", FilePath);
    let url = jwks.optional("url", Link { path: true });
    let discover = jwks.or("discover", Flag, false);
    let allow_http = jwks.or("allow_http", Flag, false);
    let ca = jwks.optional("ca", FilePath);
    let refresh = jwks.or("refresh", Time::within("1s", "7d"), RemoteKeySource::REFRESH);
    let max_stale = jwks.optional("max_stale", Time::within("1s", "90d"));
    let cooldown = jwks.or("cooldown", Time::within("100ms", "1h"), RemoteKeySource::COOLDOWN);
    let timeout = jwks.or("timeout", Time::within("100ms", "30s"), RemoteKeySource::TIMEOUT);
    match [file.is_some(), url.is_some(), discover].iter().filter(|given| **given).count() {
        0 if ["file", "url", "discover"].iter().any(|key| jwks.has(key)) && !jwks.has("discover") => return None,
        0 => {
            jwks.report_missing("file", "where the keys are; or `url`, or `discover = true`");
            return None;
        }
        1 => {}
        _ => {
            conflict(jwks, jwks.span(), "keys have one place: `file`, `url` or `discover`", "remove all but one");
            return None;
        }
    }
    if let Some(file) = file {
        for key in ["refresh", "max_stale", "cooldown", "timeout", "ca"] {
            if jwks.has(key) {
                let message = format!("`{key}` says nothing about a file, which is read at each reload");
                conflict(jwks, jwks.span(), &message, "remove it, or write `url`");
            }
        }
        return Some(KeyPlace::File(file));
    }
    let roots = match ca.as_ref() {
        Some(ca) => read_pinned_pem(jwks.reader(), "ca", ca, material::certificates)?,
        None => Vec::new(),
    };
    if let Some(max_stale) = max_stale.as_ref().filter(|max_stale| max_stale.value < refresh.saturating_mul(2)) {
        let message = "`max_stale` is less than twice `refresh`: one fetch that fails would make the keys too old";
        conflict(jwks, max_stale.span, message, "make it several times as long, such as \"24h\"");
    }
    let location = match (url, issuer) {
        (Some(url), _) => {
            check_secure(jwks, url.value.secure, allow_http, url.span);
            let Parsed { secure, host, port, path } = url.value;
            KeyLocation::Url(UrlSource { secure, host, port, path, roots, redirects: false })
        }
        (None, Some(issuer)) => {
            let document = match UrlSource::parse(&discovery_address(&issuer.value), roots) {
                Ok(document) => document,
                Err(error) => {
                    let message = format!("nothing can be discovered at `{}`: {error}", issuer.value);
                    conflict(jwks, issuer.span, &message, "write the address of the keys as `url`");
                    return None;
                }
            };
            check_secure(jwks, document.secure, allow_http, issuer.span);
            KeyLocation::Discovery { document, issuer: issuer.value.as_str().into(), allow_http }
        }
        (None, None) => return None,
    };
    let max_stale =
        max_stale.map_or(RemoteKeySource::MAX_STALE.max(refresh.saturating_mul(2)), |max_stale| max_stale.value);
    Some(KeyPlace::Remote(At::new(RemoteKeySource { location, refresh, max_stale, cooldown, timeout }, jwks.span())))
}

/// Whoever can change the keys on their way makes tokens.
fn check_secure(jwks: &Section<'_>, secure: bool, allow_http: bool, span: Span) {
    if !secure && !allow_http {
        let message = "over `http://` anybody on the way can change the keys, and then sign tokens";
        conflict(jwks, span, message, "use `https://`, or write `allow_http = true`");
    }
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}
