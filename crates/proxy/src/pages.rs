//! The front door of the gateway's own pages: what is under a reserved prefix of every listener (`/.portcullis/`) is answered by the gateway itself and goes to
//! no upstream, whatever a route says.
//!
//! This crate owns the door: who may come to it, how much may be sent, which other sites may send it, and the fields that keep an answer from being
//! anything but a page. What a page does is behind [`Pages`], which the program implements. Where nobody can log in, and nobody asks for access by
//! themselves, there is no door, and the prefix is a path like any other.
//!
//! Most pages are answered before anybody is known. Those that ask who it is ([`PagesSettings::asks_who`]) are answered behind `identify` and `assess`, so
//! that their visitor is known by the same credentials, limits and bans as on a route that demands one.

pub(crate) mod invite;
mod layer;
mod markup;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_policy::{CanonicalPath, ClientAddress, KeptRequest, Policy, Principal};

pub use invite::may_be_navigation;
pub(crate) use layer::PagesLayer;
pub use markup::{Markup, own_page};

use crate::snapshot::Snapshot;
use crate::upstream::headers::Scheme;

/// Where the pages are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagesSettings {
    /// What their paths begin with, without a slash at its end. Default `/.portcullis`.
    pub prefix: Arc<str>,
    /// Somebody can log in there.
    pub login: bool,
    /// A second factor can be shown there.
    pub step_up: bool,
    /// Whoever is verified can ask there for access, and activate what they are eligible for: `[access] self_service`.
    pub self_service: bool,
    /// Hosts where nothing but these pages is, in their canonical form: `[access] hosts`. There, and nowhere else, a person with a browser activates what it is
    /// eligible for. Empty: no browser's session does.
    pub hosts: Arc<[Box<str>]>,
    /// Those of the login are there in plain text, too. Default no: then whoever comes without TLS finds nothing there.
    pub allow_http: bool,
}

/// The page where whoever is verified asks for access that was refused.
pub const ACCESS_REQUESTS: &str = "access-requests";
/// The page where whoever is verified activates what they are eligible for.
pub const ACTIVATIONS: &str = "activations";
/// The page of HTML where a person does both, at a host of the pages' own.
pub const ACCESS: &str = "access";

impl PagesSettings {
    /// The default of `prefix`.
    pub const PREFIX: &'static str = "/.portcullis";

    /// Whether a path is theirs.
    pub fn owns(&self, path: &CanonicalPath) -> bool {
        self.behind(path.as_str()).is_some()
    }

    /// Whether it is one of those that ask who it is. `host` in the form that routes compare.
    pub fn asks_who(&self, host: &str, path: &CanonicalPath) -> bool {
        let page = self.behind(path.as_str()).filter(|_| self.self_service);
        let page = page.map(|page| page.split_once('/').map_or(page, |(page, _)| page));
        page.is_some_and(|page| match page {
            ACCESS_REQUESTS | ACTIVATIONS => true,
            ACCESS => self.is_own_host(host),
            _ => false,
        })
    }

    /// Whether nothing but the gateway's own pages is on this host, whatever routes say: no application's script ever runs on its origin.
    pub fn is_own_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| **own == *host)
    }

    /// Whether it is the page for persons.
    pub(crate) fn is_persons(&self, path: &CanonicalPath) -> bool {
        self.behind(path.as_str()) == Some(ACCESS)
    }

    /// Where a page is.
    pub fn place_of(&self, page: &str) -> String {
        format!("{}/{page}", self.prefix)
    }

    /// The whole address of the page for persons, at the first of the hosts: for whoever has come by this scheme and port. `None`: there is no such host.
    pub fn persons_url(&self, scheme: Scheme, port: Option<u16>) -> Option<String> {
        let host = self.hosts.first()?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{host}{port}{}", scheme.as_str(), self.place_of(ACCESS)))
    }

    /// What stands behind the prefix, without the slash.
    fn behind<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.prefix)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Whether those of the login are there for a request that came in this way. What asks who it is, is there as any route.
    pub fn are_open(&self, scheme: Scheme) -> bool {
        scheme == Scheme::Https || self.allow_http
    }
}

/// What answers. It is called on the worker's thread, and must not block it.
pub trait Pages: Send + Sync + fmt::Debug {
    /// Whether forms for this page may come from another site: they prove otherwise that they are meant. The body is not read yet.
    fn takes_forms_from_elsewhere(&self, visit: &Visit) -> bool;

    /// Answers one visit, within a minute: then it is given up.
    fn answer(self: Arc<Self>, visit: Visit) -> Pin<Box<dyn Future<Output = PageAnswer>>>;
}

/// A request for a page. Who is banned, or may not come from where it is to the route that the path would lead to, is not among them; nor is one that another site
/// sent.
#[derive(Debug)]
pub struct Visit {
    /// The method.
    pub method: Method,
    /// What stands behind the prefix, such as `login`.
    pub page: String,
    /// The query, not decoded.
    pub query: Option<String>,
    /// The caller's headers, cookies included.
    pub headers: HeaderMap,
    /// The body of a POST, whole; at most [`MAX_BODY`].
    pub body: Bytes,
    /// It came over TLS, to the gateway or to a trusted proxy in front of it.
    pub is_secure: bool,
    /// Host and port as the caller names them.
    pub authority: String,
    /// Where it comes from.
    pub client: ClientAddress,
    /// Who it is, where the page asks; else nobody has looked.
    pub principal: Option<Arc<Principal>>,
    /// What is known of the visitor of a page that asks who it is, as far as decisions rest on it.
    pub standing: Option<KeptRequest>,
    /// The policy that decides for this visitor: the one in force, or one that comes into force step by step.
    pub policy: Arc<Policy>,
    /// The id that the caller can name.
    pub request_id: String,
    /// When it came.
    pub now: Timestamp,
    /// The same on the clock that nobody sets.
    pub steady_now: Timestamp,
    /// What is in force for it.
    pub snapshot: Arc<Snapshot>,
}

impl Visit {
    /// `scheme://host:port` as the caller's browser knows this place (RFC 6454).
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_secure { "https" } else { "http" }, self.authority)
    }

    /// The whole address of the page for persons, as this visitor comes there. `None`: there is none.
    pub fn persons_url(&self) -> Option<String> {
        let scheme = if self.is_secure { Scheme::Https } else { Scheme::Http };
        let port = self.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        self.snapshot.settings.pages.as_ref()?.persons_url(scheme, port)
    }

    /// The fields of a form (`application/x-www-form-urlencoded`): none where it is another body, or has more than [`MAX_FIELDS`].
    pub fn form(&self) -> Fields {
        let is_form = self.headers.get(http::header::CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            value.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        });
        if is_form { Fields::parse(&self.body) } else { Fields::default() }
    }

    /// The fields of the query.
    pub fn parameters(&self) -> Fields {
        Fields::parse(self.query.as_deref().unwrap_or_default().as_bytes())
    }
}

/// The longest body of a request for a page, in bytes.
pub const MAX_BODY: usize = 64 << 10;
/// The most fields of a form.
pub const MAX_FIELDS: usize = 64;
/// How long a body may take, and then a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fields of a form or a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        let pieces = || text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
        if pieces().count() > MAX_FIELDS {
            return Self::default();
        }
        let field = |piece: &[u8]| {
            let at = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
            let (name, value) = piece.split_at_checked(at).unwrap_or((piece, &[]));
            Some((decoded(name)?, decoded(value.get(1..).unwrap_or_default())?))
        };
        // Where one cannot be read, none counts.
        pieces().map(field).collect::<Option<Vec<_>>>().map_or_else(Self::default, Self)
    }

    /// The value of a field that is there once. One that is there twice means nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let (value, None) = (values.next()?, values.next()) else { return None };
        Some(value)
    }

    /// Whether it is there, however often.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }
}

/// `+` is a space, and `%` begins two digits (WHATWG URL section 5.1). `None` where it does not, or what comes out is no UTF-8.
fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit()? << 4 | digit()?);
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a page comes to.
#[derive(Debug)]
pub enum PageAnswer {
    /// An answer; what it does not say of its safety is said for it.
    Answer(Response<Full<Bytes>>),
    /// An answer to somebody who gave a credential here, and what came of that.
    Judged(Response<Full<Bytes>>, Judged),
    /// The visit is refused: there is one event with this reason, and a page that names the request.
    Refused(Box<PageRefusal>),
}

/// What came of a credential that was given on a page. Risk is told, as of one that came with a request.
#[derive(Debug)]
pub enum Judged {
    /// It does not hold. It counts for the address alone, whatever else the visitor has shown: who it is was not proven.
    Failed {
        /// How, such as `authn.invalid`.
        code: ReasonCode,
        /// The **unverified** name that it claims, where there is one.
        attempted: Option<Box<str>>,
    },
    /// It holds, and is this principal's: from this address verified principals come.
    Verified(Arc<Principal>),
}

/// Why a visit is refused.
#[derive(Debug, Clone)]
pub struct PageRefusal {
    /// The reason.
    pub code: ReasonCode,
    /// The status; `None`: that of the reason.
    pub status: Option<StatusCode>,
    /// What happened, for the operator. It holds no secret.
    pub message: String,
    /// What the caller is told.
    pub said: Cow<'static, str>,
    /// Cookies that are set or cleared with it.
    pub cookies: Vec<HeaderValue>,
    /// After how many seconds a new attempt makes sense, where that is known.
    pub retry_after_s: Option<u64>,
    /// The methods that the page has (RFC 9110 section 15.5.6); empty: it is not refused for its method.
    pub allow: &'static str,
    /// Any page of another site can have a browser send it, and nobody's credential is in it: it counts towards no ban.
    pub is_innocent: bool,
}

impl PageRefusal {
    /// A refusal with the status of its reason.
    pub fn new(code: ReasonCode, message: impl Into<String>, said: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            status: None,
            message: message.into(),
            said: said.into(),
            cookies: Vec::new(),
            retry_after_s: None,
            allow: "",
            is_innocent: false,
        }
    }

    /// The same, held against nobody.
    #[must_use]
    pub fn held_against_nobody(self) -> Self {
        Self { is_innocent: true, ..self }
    }

    /// The same with a cookie.
    #[must_use]
    pub fn with_cookie(mut self, cookie: Option<HeaderValue>) -> Self {
        self.cookies.extend(cookie);
        self
    }
}

impl PageAnswer {
    /// The same, and what came of the credential that was given.
    #[must_use]
    pub fn judged(self, judged: Judged) -> Self {
        match self {
            Self::Answer(response) | Self::Judged(response, _) => Self::Judged(response, judged),
            Self::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<PageRefusal> for PageAnswer {
    fn from(refusal: PageRefusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Response<Full<Bytes>>> for PageAnswer {
    fn from(response: Response<Full<Bytes>>) -> Self {
        Self::Answer(response)
    }
}
