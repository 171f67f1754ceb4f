//! `[[identity.introspection]]`: who is asked about opaque tokens.

use portcullis_fetch::UrlSource;
use portcullis_identity::settings::{Bound, ClaimNames, ClientAudience, ClientProof, IntrospectionProvider};
use portcullis_policy::PrincipalKind;
use portcullis_proxy::tls::material;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::client::{AT_INTROSPECTION, read_client};
use crate::file::identity::{LEEWAY, REQUIRE, read_claims};
use crate::file::receiver::{Link, Parsed};
use crate::kinds::{AnyText, Choice, FilePath, Flag, Integer, Name, Text, Time};
use crate::pem::read_pinned_pem;
use crate::section::Section;

/// A provider that is asked, with the places that others are held against.
#[derive(Debug)]
pub(crate) struct Introspection {
    pub(crate) name: At<String>,
    pub(crate) prefix: Span,
    pub(crate) settings: IntrospectionProvider,
}

/// Reads one.
pub(crate) fn read_introspection(section: Section<'_>) -> Option<Introspection> {
    let read = read(&section);
    section.finish();
    read
}

fn read(section: &Section<'_>) -> Option<Introspection> {
    let name = section.required("name", Name);
    let endpoint = read_endpoint(section);
    let client_id = section.required("client_id", Text);
    let client = read_client(section, AT_INTROSPECTION);
    let issuer = section.optional("issuer", Text);
    check_client(section, client.as_ref(), issuer.is_some());
    let texts = |key: &'static str| section.list(key, Text).map_or_else(Vec::new, |list| list.value);
    let (audiences, clients) = (texts("audiences"), texts("clients"));
    if audiences.is_empty() && clients.is_empty() {
        let message =
            "nothing says whose tokens count: a provider may say of a token for another service that it is active";
        let help = "write `audiences`, or `clients` where its answers have no `aud`";
        section.reader().report(Diagnostic::error(codes::CONFLICT, section.span(), message).with_help(help));
    }
    let claims = section.table("claims").map_or_else(ClaimNames::default, read_claims);
    let kinds = Choice(&[("user", PrincipalKind::User), ("service", PrincipalKind::Service)]);
    let principal = section.or("principal", kinds, PrincipalKind::User);
    let prefix = section.optional("prefix", AnyText);
    let trust_groups = texts("trust_groups");
    let leeway = section.or("leeway", Time::within("0s", "60s"), LEEWAY);
    let require = section.or("require", Choice(REQUIRE), Bound::Unbound);
    let timeout = section.or("timeout", Time::within("100ms", "30s"), IntrospectionProvider::TIMEOUT);
    let max_cache = section.or("max_cache", Time::within("1s", "1h"), IntrospectionProvider::MAX_CACHE);
    let negative = section.or("negative", Time::within("1s", "1h"), IntrospectionProvider::NEGATIVE);
    let bound = |key: &'static str, kind: Integer, default: usize| {
        usize::try_from(section.or(key, kind, default as u64)).unwrap_or(default)
    };
    let entries = bound("entries", Integer(1..=1_000_000), IntrospectionProvider::ENTRIES);
    let connections = bound("connections", Integer(1..=64), IntrospectionProvider::CONNECTIONS);
    let max_waiting = bound("max_waiting", Integer(1..=10_000), IntrospectionProvider::MAX_WAITING);
    let values = |list: Vec<At<String>>| list.into_iter().map(|at| at.value).collect();
    let name = name?;
    let settings = IntrospectionProvider {
        name: name.value.as_str().into(),
        endpoint: endpoint?,
        client_id: client_id?.value,
        client: client?,
        issuer: issuer.map(|issuer| issuer.value),
        audiences: values(audiences),
        clients: values(clients),
        claims,
        principal,
        prefix: prefix.as_ref().map_or_else(String::new, |prefix| prefix.value.clone()),
        trust_groups: values(trust_groups),
        leeway,
        require,
        timeout,
        max_cache,
        negative,
        entries,
        connections,
        max_waiting,
    };
    Some(Introspection { prefix: prefix.map_or(name.span, |prefix| prefix.span), name, settings })
}

/// No provider says to just anybody which tokens are good; and what is signed is for somebody.
fn check_client(section: &Section<'_>, client: Option<&ClientProof>, has_issuer: bool) {
    let (message, help) = match client {
        Some(ClientProof::None) => {
            ("nothing proves to the provider who asks", "write `client_secret`, or `client_key` for `private_key_jwt`")
        }
        Some(ClientProof::Key(_, ClientAudience::Issuer)) if !has_issuer => (
            "what `client_key` signs is for the provider's issuer, and that is not known",
            "write `issuer`, or `client_audience = \"endpoint\"` where the provider wants its address",
        ),
        Some(ClientProof::Basic(_) | ClientProof::Post(_) | ClientProof::Key(..)) | None => return,
    };
    section.reader().report(Diagnostic::error(codes::CONFLICT, section.span(), message).with_help(help));
}

/// Where it is. Whoever can read the question has the token, and whoever can change the answer makes principals.
fn read_endpoint(section: &Section<'_>) -> Option<UrlSource> {
    let url = section.required("url", Link { path: true });
    let allow_http = section.or("allow_http", Flag, false);
    let ca = section.optional("ca", FilePath);
    let roots = match ca.as_ref() {
        Some(ca) => read_pinned_pem(section.reader(), "ca", ca, material::certificates)?,
        None => Vec::new(),
    };
    let url = url?;
    let Parsed { secure, host, port, path } = url.value;
    if !secure && !allow_http {
        let message = "over `http://` anybody on the way can read the tokens, and say which are good";
        let diagnostic = Diagnostic::error(codes::CONFLICT, url.span, message);
        section.reader().report(diagnostic.with_help("use `https://`, or write `allow_http = true`"));
    }
    Some(UrlSource { secure, host, port, path, roots, redirects: false })
}
