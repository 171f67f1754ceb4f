//! `normalize`: the one canonical target, and the route it leads to. What could be read in two ways is refused.
//!
//! The head's grammar was checked by the gate; here it is the meaning: which host, which path, which route.

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use hyper::body::Body as _;
use portcullis_events::ReasonCode;
use portcullis_policy::{CanonicalPath, canonical_host};

use crate::layers::establish::Establishes;
use crate::leading::Led;
use crate::malformation::Malformation;
use crate::refusal::Refusal;
use crate::settings::OPERATORS_HOST;
use crate::transit::{Target, Transit};
use crate::websocket;

/// Establishes the target and the route.
#[derive(Debug, Clone, Copy)]
pub struct Normalize;

impl Establishes for Normalize {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        if let Some(refusal) = &transit.facts.head_refusal {
            return Err(Refusal::Malformed(refusal.into()));
        }
        let mut target = read_target(&transit.head).map_err(Refusal::Malformed)?;
        let facts = &mut transit.facts;
        if facts.connection.tls.as_ref().is_some_and(|tls| tls.disagrees(&target.host)) {
            return Err(Refusal::Malformed(misdirected()));
        }
        match &facts.connection.operators {
            Some(hosts) if hosts.iter().any(|host| **host == *target.host) => {
                OPERATORS_HOST.clone_into(&mut target.host);
            }
            Some(_) => return Err(Refusal::Malformed(no_host_of_operators())),
            None if target.host == OPERATORS_HOST => return Err(Refusal::Malformed(of_operators())),
            None => {}
        }
        let Led { route, is_page, asks_who } = Led::by(&facts.loaded.snapshot, &target);
        (facts.route, facts.is_page, facts.asks_who) = (route, is_page, asks_who);
        facts.target = Some(target);
        match facts.upgrade.take() {
            Some(asked) => {
                let upgrade = permitted_upgrade(transit, asked).map_err(Refusal::Malformed)?;
                transit.facts.upgrade = upgrade;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// RFC 9110 section 15.5.20: the client may try again on a connection that names this host.
fn misdirected() -> Malformation {
    Malformation {
        status: StatusCode::MISDIRECTED_REQUEST,
        ..Malformation::new(ReasonCode::RequestHostInvalid, "the host is not the server that the TLS handshake named")
    }
}

/// A page of a site whose name was made to lead here (DNS rebinding) names its own host.
fn no_host_of_operators() -> Malformation {
    Malformation {
        status: StatusCode::MISDIRECTED_REQUEST,
        ..Malformation::new(
            ReasonCode::RequestHostInvalid,
            "the host is none of the operators' API: `hosts` of [admin]",
        )
    }
}

/// Whatever a route says: what is for operators comes to their own listener.
fn of_operators() -> Malformation {
    Malformation::new(ReasonCode::RequestHostInvalid, "the host of the operators' API, on another listener than theirs")
}

/// The protocols among those asked for that the route permits; `None` for an ordinary request.
///
/// A cleartext HTTP/2 offer is ignored (RFC 9110 section 7.8), since clients make it unasked; anything else that the route does
/// not permit would change what the bytes after the head mean.
fn permitted_upgrade(transit: &Transit, mut asked: Vec<String>) -> Result<Option<Vec<String>>, Malformation> {
    let not_allowed = |detail: String| Malformation::new(ReasonCode::RequestUpgradeNotAllowed, detail);
    asked.retain(|protocol| protocol != "h2c");
    let Some(first) = asked.first().cloned() else { return Ok(None) };
    let permitted = transit.facts.route_settings().map(|route| route.upgrades.as_slice()).unwrap_or_default();
    asked.retain(|protocol| permitted.iter().any(|each| **each == **protocol));
    if asked.is_empty() {
        return Err(not_allowed(format!("the client asks for {first}, which the route does not permit")));
    }
    if transit.body.as_ref().is_some_and(|body| !body.is_end_stream()) {
        return Err(not_allowed("the client asks for an upgrade in a request with a body".to_owned()));
    }
    if asked.iter().any(|protocol| protocol == websocket::PROTOCOL) {
        let malformed = |detail| Malformation::new(ReasonCode::RequestMalformed, detail);
        if transit.head.method != Method::GET {
            return Err(malformed("a WebSocket handshake that is no GET"));
        }
        websocket::key(&transit.head.headers).map_err(malformed)?;
    }
    Ok(Some(asked))
}

fn read_target(head: &http::request::Parts) -> Result<Target, Malformation> {
    let malformed = |detail: &str| Malformation::new(ReasonCode::RequestMalformed, detail);
    if head.method == Method::CONNECT {
        return Err(malformed("CONNECT is not served"));
    }
    let raw = head.uri.path();
    if raw == "*" {
        return Err(malformed("OPTIONS * is not served"));
    }
    let path = CanonicalPath::parse(raw)?;
    let (host, port) = read_host(head)?;
    let uri = forwarded_uri(&head.uri, &path).ok_or_else(|| malformed("the target cannot be written again"))?;
    Ok(Target { method: head.method.clone(), path, host, port, uri })
}

/// Host, which the gate has seen to be one, valid, and equal to the authority of an absolute target.
fn read_host(head: &http::request::Parts) -> Result<(String, Option<u16>), Malformation> {
    let invalid = |detail: &str| Malformation::new(ReasonCode::RequestHostInvalid, detail);
    let mut values = head.headers.get_all(HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(invalid("not exactly one Host"));
    };
    let text = value.to_str().map_err(|_| invalid("Host is not ASCII"))?;
    let host = canonical_host(text).ok_or_else(|| invalid("Host is not a host"))?;
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Ok((host.into_owned(), port))
}

/// Path and query in origin-form. The request's own URI, where it is canonical already, is taken as it is.
fn forwarded_uri(uri: &Uri, path: &CanonicalPath) -> Option<Uri> {
    if uri.authority().is_none() && uri.path() == path.as_str() {
        return Some(uri.clone());
    }
    let text = match uri.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).ok().map(Uri::from)
}
