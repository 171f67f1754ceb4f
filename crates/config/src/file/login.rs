//! `[identity.login]` and `[[identity.oidc]]`: how and where browsers log in.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_events::settings::Secret;
use portcullis_fetch::UrlSource;
use portcullis_identity::SecretText;
use portcullis_identity::oidc::{ClientAlgorithm, ClientAudience, ClientKey};
use portcullis_identity::remote::discovery_address;
use portcullis_identity::session::SessionBounds;
use portcullis_identity::settings::{
    ClaimNames, ClientProof, KeyLocation, LoginSettings, OidcProvider, RemoteKeySource,
};
use portcullis_policy::CanonicalPath;
use portcullis_proxy::pages::PagesSettings;
use portcullis_proxy::tls::material;
use serde_json::{Value, json};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::identity::{LEEWAY, read_claims};
use crate::file::receiver::{optional_secret, optional_text};
use crate::kinds::{AnyText, Choice, FilePath, Flag, Integer, Name, Text, Time};
use crate::pem::read_pinned_pem;
use crate::section::{Field, Kind, Section};

/// `[identity.login]`
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) at: Span,
    pub(crate) settings: LoginSettings,
    pub(crate) pages: PagesSettings,
}

/// `[[identity.oidc]]`, with the places that other tables are held against.
#[derive(Debug)]
pub(crate) struct Oidc {
    pub(crate) name: At<String>,
    pub(crate) issuer: Span,
    pub(crate) prefix: Span,
    pub(crate) settings: OidcProvider,
}

/// What can be written as `client_auth`.
pub(crate) const CLIENT_PROOFS: &[(&str, ClientAuth)] = &[
    ("basic", ClientAuth::Secret(SecretSent::Basic)),
    ("post", ClientAuth::Secret(SecretSent::Post)),
    ("private_key_jwt", ClientAuth::Key),
];
/// What can be written as `client_key_alg`.
pub(crate) const CLIENT_ALGORITHMS: &[(&str, ClientAlgorithm)] = &[
    ("RS256", ClientAlgorithm::Rs256),
    ("PS256", ClientAlgorithm::Ps256),
    ("ES256", ClientAlgorithm::Es256),
    ("EdDSA", ClientAlgorithm::EdDsa),
];
/// What can be written as `client_audience`.
pub(crate) const CLIENT_AUDIENCES: &[(&str, ClientAudience)] =
    &[("issuer", ClientAudience::Issuer), ("token_endpoint", ClientAudience::TokenEndpoint)];
/// What is asked for unless the configuration says otherwise.
pub(crate) const SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// How the client's secret is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretSent {
    Basic,
    Post,
}

/// How the client proves that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Secret(SecretSent),
    Key,
}

/// Where the gateway's own pages are: a path without a slash at its end.
pub(crate) struct PagePath;

impl Kind for PagePath {
    type Value = Arc<str>;

    fn expected(&self) -> Cow<'static, str> {
        "a path such as \"/.portcullis\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Arc<str>> {
        let text = field.text(&self.expected())?;
        let is_plain = text.len() > 1 && !text.ends_with('/') && text.len() <= 128 && !text.contains(['?', '#']);
        let is_canonical = CanonicalPath::parse(&text).is_ok_and(|path| path.as_str() == text);
        if is_plain && is_canonical {
            return Some((*text).into());
        }
        field.bad_value(
            format!("`{text}` is not {}", self.expected()),
            Some("begin with `/` and end without one".into()),
        );
        None
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": "^/.*[^/]$|\\$\\{" })
    }
}

/// Reads `[identity.login]`.
pub(crate) fn read_login(section: Section<'_>) -> Login {
    let at = section.span();
    let default = SessionBounds::default();
    let path = section.optional("path", PagePath);
    let idle = section.or("idle", Time::within("1s", "30d"), default.idle);
    let absolute = section.or("absolute", Time::within("1s", "90d"), default.absolute);
    let most = section.or("max_sessions", Integer(1..=10_000_000), default.most as u64);
    let whoami = section.or("whoami", Flag, false);
    let allow_http = section.or("allow_http", Flag, false);
    let key = optional_secret(&section, "key");
    if idle > absolute {
        let message = "`idle` is longer than `absolute`, after which a session ends in any case";
        conflict(&section, at, message, "make `idle` the shorter one");
    }
    section.finish();
    let prefix = path.map_or_else(|| PagesSettings::PREFIX.into(), |path| path.value);
    Login {
        at,
        settings: LoginSettings {
            sessions: SessionBounds { most: usize::try_from(most).unwrap_or(default.most), idle, absolute },
            allow_http,
            whoami,
            key: key.as_ref().map(text_of),
        },
        pages: PagesSettings { prefix, login: true, step_up: false, self_service: false, allow_http },
    }
}

fn text_of(secret: &Secret) -> SecretText<'static> {
    SecretText::new(secret.reveal().to_owned())
}

/// Reads one `[[identity.oidc]]`. `None` after an error.
pub(crate) fn read_oidc(section: Section<'_>) -> Option<Oidc> {
    let provider = read(&section);
    section.finish();
    provider
}

fn read(section: &Section<'_>) -> Option<Oidc> {
    let name = section.required("name", Name);
    let label = section.optional("label", Text);
    let issuer = section.required("issuer", Text);
    let client_id = section.required("client_id", Text);
    let client = read_client(section);
    let scopes = section.list("scopes", Text).map(|list| list.value);
    let acr_values = section.list("acr_values", Text).map_or_else(Vec::new, |list| list.value);
    let claims = section.table("claims").map_or_else(ClaimNames::default, read_claims);
    let prefix = section.optional("prefix", AnyText);
    let trust_groups = section.list("trust_groups", Text).map_or_else(Vec::new, |list| list.value);
    let leeway = section.or("leeway", Time::within("0s", "60s"), LEEWAY);
    let refresh = section.optional("refresh", Time::within("1s", "1d")).map(|refresh| refresh.value);
    let logout = section.or("logout", Flag, true);
    let allow_http = section.or("allow_http", Flag, false);
    let timeout = section.or("timeout", Time::within("100ms", "30s"), RemoteKeySource::TIMEOUT);
    let ca = section.optional("ca", FilePath);
    let roots = match ca.as_ref() {
        Some(ca) => read_pinned_pem(section.reader(), "ca", ca, material::certificates)?,
        None => Vec::new(),
    };
    let (name, issuer) = (name?, issuer?);
    let document = match UrlSource::parse(&discovery_address(&issuer.value), roots) {
        Ok(document) => document,
        Err(error) => {
            let message = format!("nothing can be discovered at `{}`: {error}", issuer.value);
            conflict(
                section,
                issuer.span,
                &message,
                "write the issuer's address, such as \"https://login.example.com\"",
            );
            return None;
        }
    };
    if !document.secure && !allow_http {
        let message = "over `http://` anybody on the way can log in as whom it likes";
        conflict(section, issuer.span, message, "use `https://`, or write `allow_http = true`");
    }
    let location = KeyLocation::Discovery { document, issuer: issuer.value.as_str().into(), allow_http };
    let texts = |list: Vec<At<String>>| list.into_iter().map(|text| text.value).collect::<Vec<_>>();
    let settings = OidcProvider {
        name: name.value.as_str().into(),
        label: label.map_or_else(|| name.value.clone(), |label| label.value),
        issuer: issuer.value.as_str().into(),
        client_id: client_id?.value,
        client: client?,
        scopes: scopes.map_or_else(|| SCOPES.map(str::to_owned).into(), texts),
        acr_values: texts(acr_values),
        keys: RemoteKeySource { timeout, ..RemoteKeySource::new(location) },
        allow_http,
        claims,
        prefix: prefix.as_ref().map_or_else(String::new, |prefix| prefix.value.clone()),
        trust_groups: texts(trust_groups),
        leeway,
        refresh,
        logout,
    };
    let prefix = prefix.map_or(name.span, |prefix| prefix.span);
    Some(Oidc { name, issuer: issuer.span, prefix, settings })
}

/// How the gateway proves who it is. `None` after an error.
fn read_client(section: &Section<'_>) -> Option<ClientProof> {
    let auth = section.optional("client_auth", Choice(CLIENT_PROOFS));
    let secret = optional_secret(section, "client_secret");
    let key = optional_text(section, "client_key").ok()?;
    let id = section.optional("client_key_id", Text);
    let algorithm = section.optional("client_key_alg", Choice(CLIENT_ALGORITHMS));
    let audience = section.optional("client_audience", Choice(CLIENT_AUDIENCES));
    let wanted = auth.as_ref().map(|auth| auth.value);
    let of_key = [
        ("client_key_id", id.as_ref().map(|id| id.span)),
        ("client_key_alg", algorithm.as_ref().map(|algorithm| algorithm.span)),
        ("client_audience", audience.as_ref().map(|audience| audience.span)),
    ];
    if key.is_none() {
        for (name, span) in of_key {
            let Some(span) = span else { continue };
            conflict(section, span, &format!("`{name}` is about a key, and there is none"), "write `client_key`");
        }
    }
    match (secret, auth) {
        (None, _) if section.has("client_secret") => None,
        (Some(_), _) if key.is_some() => {
            let span = key?.span;
            conflict(section, span, "a secret and a key: the client proves itself in one way", "remove one of them");
            None
        }
        (Some(_), Some(auth)) if auth.value == ClientAuth::Key => {
            let message = "`private_key_jwt` needs a key, and there is a secret";
            conflict(section, auth.span, message, "write `client_key` instead of `client_secret`");
            None
        }
        (None, Some(auth)) if auth.value == ClientAuth::Key && key.is_none() => {
            conflict(section, auth.span, "`private_key_jwt` needs a key, and there is none", "write `client_key`");
            None
        }
        (None, Some(auth)) if auth.value != ClientAuth::Key && key.is_some() => {
            let message = "a secret is sent so, and there is a key";
            conflict(section, auth.span, message, "write `client_auth = \"private_key_jwt\"`, or leave it out");
            None
        }
        (None, _) if key.is_some() => read_key(section, &key?, algorithm, id.as_ref(), audience),
        (Some(secret), _) => Some(match wanted {
            Some(ClientAuth::Secret(SecretSent::Post)) => ClientProof::Post(text_of(&secret)),
            Some(ClientAuth::Secret(SecretSent::Basic) | ClientAuth::Key) | None => {
                ClientProof::Basic(text_of(&secret))
            }
        }),
        (None, Some(auth)) => {
            let message = "`client_auth` says how a secret is sent, and there is none";
            conflict(section, auth.span, message, "write `client_secret`, or remove it for a public client");
            None
        }
        (None, None) => Some(ClientProof::None),
    }
}

fn read_key(
    section: &Section<'_>,
    key: &At<Secret>,
    algorithm: Option<At<ClientAlgorithm>>,
    id: Option<&At<String>>,
    audience: Option<At<ClientAudience>>,
) -> Option<ClientProof> {
    let algorithm = algorithm.map(|algorithm| algorithm.value);
    match ClientKey::read(key.value.reveal(), algorithm, id.map(|id| id.value.as_str())) {
        Ok(read) => Some(ClientProof::Key(read, audience.map_or_else(Default::default, |audience| audience.value))),
        Err(error) => {
            let help = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one";
            conflict(section, key.span, &format!("`client_key` cannot be used: {error}"), help);
            None
        }
    }
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}
