//! `[identity.login]` and `[[identity.oidc]]`: how and where browsers log in.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_fetch::UrlSource;
use portcullis_identity::remote::discovery_address;
use portcullis_identity::session::SessionBounds;
use portcullis_identity::settings::{
    ClaimNames, KeyLocation, LoginSettings, OidcProvider, RemoteKeySource, ResponseMode,
};
use portcullis_policy::CanonicalPath;
use portcullis_proxy::pages::PagesSettings;
use portcullis_proxy::tls::material;
use serde_json::{Value, json};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::client::{AT_LOGIN, read_client, text_of};
use crate::file::identity::{LEEWAY, read_claims};
use crate::file::receiver::optional_secret;
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

/// What is asked for unless the configuration says otherwise.
pub(crate) const SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// What can be written as `response_mode`.
pub(crate) const RESPONSE_MODES: &[(&str, ResponseMode)] =
    &[("query", ResponseMode::Query), ("form_post", ResponseMode::FormPost)];

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
        pages: PagesSettings {
            prefix,
            login: true,
            step_up: false,
            self_service: false,
            hosts: Arc::default(),
            allow_http,
        },
    }
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
    let client = read_client(section, AT_LOGIN);
    let scopes = section.list("scopes", Text).map(|list| list.value);
    let acr_values = section.list("acr_values", Text).map_or_else(Vec::new, |list| list.value);
    let claims = section.table("claims").map_or_else(ClaimNames::default, read_claims);
    let prefix = section.optional("prefix", AnyText);
    let trust_groups = section.list("trust_groups", Text).map_or_else(Vec::new, |list| list.value);
    let leeway = section.or("leeway", Time::within("0s", "60s"), LEEWAY);
    let refresh = section.optional("refresh", Time::within("1s", "1d")).map(|refresh| refresh.value);
    let logout = section.or("logout", Flag, true);
    let response_mode = section.or("response_mode", Choice(RESPONSE_MODES), ResponseMode::default());
    let frontchannel_logout = section.or("frontchannel_logout", Flag, false);
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
        response_mode,
        frontchannel_logout,
    };
    let prefix = prefix.map_or(name.span, |prefix| prefix.span);
    Some(Oidc { name, issuer: issuer.span, prefix, settings })
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}
