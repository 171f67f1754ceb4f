//! `normalize`: the one canonical target, and the route it leads to. What could be read in two ways is refused.
//!
//! The head's grammar was checked by the gate; here it is the meaning: which host, which path, which route.

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use portcullis_events::ReasonCode;
use portcullis_policy::{CanonicalPath, canonical_host};

use crate::layers::establish::Establishes;
use crate::malformation::Malformation;
use crate::refusal::Refusal;
use crate::transit::{Target, Transit};

/// Establishes the target and the route.
#[derive(Debug, Clone, Copy)]
pub struct Normalize;

impl Establishes for Normalize {
    fn establish(&self, transit: &mut Transit) -> Result<(), Refusal> {
        if let Some(refusal) = &transit.facts.head_refusal {
            return Err(Refusal::Malformed(refusal.into()));
        }
        let target = read_target(&transit.head).map_err(Refusal::Malformed)?;
        let facts = &mut transit.facts;
        facts.route = facts.loaded.snapshot.policy.find_route(&target.host, &target.path);
        let upgrade = facts.upgrade.take();
        facts.target = Some(target);
        match upgrade.as_deref().and_then(unwanted_upgrade) {
            Some(protocol) => {
                let detail = format!("the client asks for {protocol}, which no route permits");
                Err(Refusal::Malformed(Malformation::new(ReasonCode::RequestUpgradeNotAllowed, detail)))
            }
            None => Ok(()),
        }
    }
}

/// A cleartext HTTP/2 offer may be ignored (RFC 9110 section 7.8), and clients make it unasked; anything else would change
/// what the bytes after the head mean.
fn unwanted_upgrade(protocols: &[String]) -> Option<&str> {
    protocols.iter().map(String::as_str).find(|protocol| *protocol != "h2c")
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
