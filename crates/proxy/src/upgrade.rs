//! A permitted request whose caller asks to switch protocols, such as to WebSocket.
//!
//! The connection becomes a tunnel only when the upstream has answered 101 and named a protocol that was asked for and that
//! the route permits (RFC 9110 section 7.8; for WebSocket also RFC 6455 section 4.1). Any other answer of the upstream is an
//! ordinary one.

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};

use crate::forward::{Sending, Sent, answered, failed, finish_headers, observed, record, refused};
use crate::layers::establish::Refused;
use crate::refusal::Refusal;
use crate::route::Forwarded;
use crate::transit::Transit;
use crate::tunnel::Tunnel;
use crate::upstream::headers::prepare_response;
use crate::upstream::{FaultKind, Switch, UpstreamError};
use crate::watched::head_of_answer;
use crate::websocket;

/// Sends the request, and prepares the tunnel if the upstream switches.
///
/// # Errors
/// As for any request; and when the upstream switches to something that was not asked for.
pub(crate) async fn switch(
    sending: Sending<'_>,
    mut transit: Box<Transit>,
    protocols: Vec<String>,
) -> Result<Response<Forwarded>, Box<Refused>> {
    let Sending { upstream, route, mut request, remembered, passing, mut watch } = sending;
    let key = websocket::key(request.headers()).ok();
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(value) = HeaderValue::try_from(protocols.join(", ")) {
        request.headers_mut().insert(UPGRADE, value);
    }
    let switch = pin!(upstream.switch(request, route.timeouts_to(transit.facts.upstream)));
    let switch = head_of_answer(switch, &mut watch, &mut transit, &remembered).await;
    let worker = Rc::clone(watch.worker());
    let (mut head, switched) = match switch {
        Err(refusal) => return Err(refused(refusal, transit)),
        Ok(Err(error)) => return Err(failed(error, transit, &remembered)),
        Ok(Ok(Switch::Answered(response))) => {
            return answered(Sent { route, remembered, passing, watch }, transit, response);
        }
        Ok(Ok(Switch::Switched(head, switched))) => (head, switched),
    };
    let protocol = match chosen(&head.headers, &protocols, key.as_deref()) {
        Ok(protocol) => protocol,
        Err(problem) => {
            let error = UpstreamError::new(FaultKind::Protocol, problem);
            return Err(failed(error, transit, &remembered));
        }
    };
    let connection = Rc::clone(&transit.facts.connection);
    let (Some(gate), Ok(value)) = (&connection.gate, HeaderValue::try_from(&protocol)) else {
        return Err(refused(Refusal::Internal("an upgrade without a connection of its own".to_owned()), transit));
    };
    prepare_response(&mut head.headers, &transit.facts.loaded.snapshot.headers);
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    finish_headers(route, remembered.origin.as_ref(), &mut response);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, value);
    let response = observed(&worker, &transit, Some(&remembered), response);
    record(&worker, route, &mut transit, &remembered, response.status());
    remembered.put_back(&mut transit);
    watch.becomes_tunnel();
    gate.set_upgraded();
    connection.tunnel.replace(Some(Box::new(Tunnel::new(switched, protocol, watch, transit))));
    Ok(response.map(Either::Right))
}

/// The protocol that the upstream switched to.
fn chosen(headers: &HeaderMap, protocols: &[String], key: Option<&str>) -> Result<String, &'static str> {
    let options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    if !options.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade")) {
        return Err("switched protocols without `Connection: upgrade`");
    }
    let mut named = headers.get_all(UPGRADE).iter();
    let (Some(named), None) = (named.next(), named.next()) else {
        return Err("switched protocols without naming one");
    };
    let protocol = protocols.iter().find(|protocol| named.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    let protocol = protocol.ok_or("switched to a protocol that was not asked for")?;
    if protocol == websocket::PROTOCOL && !key.is_some_and(|key| websocket::accepts(headers, key)) {
        return Err("accepted another WebSocket handshake than this one");
    }
    Ok(protocol.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_may_switch_only_to_what_was_asked_for() {
        let check = |fields: &[(&'static str, &str)], expected: Result<&str, &str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let protocols = ["websocket".to_owned(), "acme/2".to_owned()];
            let found = chosen(&headers, &protocols, Some("dGhlIHNhbXBsZSBub25jZQ=="));
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{fields:?}");
        };
        let connection = ("connection", "Upgrade");
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        check(&[connection, ("upgrade", "WebSocket"), accept], Ok("websocket"));
        check(&[("connection", "keep-alive, upgrade"), ("upgrade", "acme/2")], Ok("acme/2"));
        check(&[("upgrade", "websocket"), accept], Err("switched protocols without `Connection: upgrade`"));
        check(&[connection, accept], Err("switched protocols without naming one"));
        check(
            &[connection, ("upgrade", "websocket"), ("upgrade", "acme/2"), accept],
            Err("switched protocols without naming one"),
        );
        check(&[connection, ("upgrade", "h2c")], Err("switched to a protocol that was not asked for"));
        check(&[connection, ("upgrade", "websocket, acme/2")], Err("switched to a protocol that was not asked for"));
        let other = Err("accepted another WebSocket handshake than this one");
        check(&[connection, ("upgrade", "websocket")], other);
        check(&[connection, ("upgrade", "websocket"), accept, accept], other);
        check(&[connection, ("upgrade", "websocket"), ("sec-websocket-accept", "x")], other);
    }
}
