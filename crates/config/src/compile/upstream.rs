//! Upstreams and their endpoints.

use std::sync::Arc;

use portcullis_policy::{CanonicalPath, canonical_host};
use portcullis_proxy::settings::{Endpoint, EndpointScheme, HealthSettings, UpstreamHttp, UpstreamSettings};
use portcullis_proxy::tls::material;
use portcullis_proxy::upstream::{ClientIdentity, ClientTls, ClientTlsError};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::{Health, Upstream, UpstreamTls};
use crate::kinds::{ResolvedPath, WeightedLink};
use crate::pem::{read_pem, read_pinned_pem};
use crate::section::Reader;

pub(crate) fn compile_upstream(reader: &Reader<'_>, upstream: &Upstream) -> UpstreamSettings {
    if upstream.endpoints.value.is_empty() && upstream.endpoints.span != upstream.name.span {
        let message = format!("the upstream `{}` has no endpoint", upstream.name.value);
        let help = "write `endpoints = [\"http://127.0.0.1:9001\"]`";
        reader.report(Diagnostic::error(codes::BAD_VALUE, upstream.endpoints.span, message).with_help(help));
    }
    let endpoints: Vec<Endpoint> =
        upstream.endpoints.value.iter().filter_map(|endpoint| compile_endpoint(reader, endpoint)).collect();
    let secure = endpoints.iter().any(|endpoint| endpoint.scheme == EndpointScheme::Https);
    UpstreamSettings {
        timeouts: upstream.timeouts,
        max_idle: upstream.max_idle,
        tls: compile_tls(reader, upstream, secure),
        breaker: upstream.breaker,
        ejection: upstream.ejection,
        retry_percent: upstream.retry_percent,
        http: compile_http(reader, upstream, &endpoints),
        http2: upstream.http2,
        health: upstream.health.as_ref().map(|health| compile_health(reader, health)),
        slow_start: upstream.slow_start,
        max_requests: upstream.max_requests,
        dns_refresh: upstream.dns_refresh,
        ..UpstreamSettings::new(upstream.name.value.as_str(), endpoints)
    }
}

/// The version that is spoken: `h2c://` says HTTP/2, and an upstream is spoken to in one way.
fn compile_http(reader: &Reader<'_>, upstream: &Upstream, endpoints: &[Endpoint]) -> UpstreamHttp {
    let written = upstream.http.as_ref().map(|http| http.value);
    let prior = endpoints.iter().filter(|endpoint| endpoint.scheme == EndpointScheme::H2c).count();
    if prior == 0 {
        return written.unwrap_or_default();
    }
    if let Some(http) = upstream.http.as_ref().filter(|http| http.value != UpstreamHttp::Two) {
        let message = "`h2c://` endpoints speak HTTP/2, and `http` says otherwise";
        let help = "write `http = \"2\"`, or leave it out";
        let diagnostic = Diagnostic::error(codes::CONFLICT, http.span, message);
        reader.report(diagnostic.with_related(upstream.endpoints.span, "the endpoints are here").with_help(help));
    } else if written.is_none() && prior < endpoints.len() {
        let message = "an endpoint is `h2c://` and another is not: an upstream is spoken to in one version";
        let help = "write `http = \"2\"` where all of them speak HTTP/2, or make two upstreams of it";
        reader.report(Diagnostic::error(codes::CONFLICT, upstream.endpoints.span, message).with_help(help));
    }
    UpstreamHttp::Two
}

/// How endpoints are checked: a path has one meaning, as every path that goes to an upstream.
fn compile_health(reader: &Reader<'_>, health: &Health) -> HealthSettings {
    let mut settings = health.settings.clone();
    let Some(path) = health.path.as_ref().filter(|path| !path.value.is_empty()) else { return settings };
    let (bare, query) = path.value.split_once('?').unwrap_or((&path.value, ""));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    match CanonicalPath::parse(bare) {
        Ok(canonical) if canonical.as_str() == bare && is_plain(query) => {
            settings.path = Some(path.value.as_str().into());
        }
        Ok(_) | Err(_) => {
            let message = "`path` of `health` is not the path of a request";
            let help = "write one that begins with `/` and has no dot segments, such as `/health`";
            reader.report(Diagnostic::error(codes::BAD_VALUE, path.span, message).with_help(help));
        }
    }
    settings
}

/// TLS to the upstream. What is configured is judged also where no endpoint needs it yet. Without roots or with a broken
/// certificate there is none, and an error has been reported.
fn compile_tls(reader: &Reader<'_>, upstream: &Upstream, secure: bool) -> Option<ClientTls> {
    let UpstreamTls { ca, certificate, key, server_name } = &upstream.tls;
    let bad = |span, message: String, help: &str| {
        reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help));
    };
    let roots = match ca {
        Some(ca) => read_pinned_pem(reader, "ca", ca, material::certificates)?,
        None if secure || certificate.is_some() || server_name.is_some() => ClientTls::system_roots(),
        None => Vec::new(),
    };
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let chain = read_pem(reader, "certificate", certificate, material::certificates);
            let key = read_pem(reader, "key", key, material::private_key);
            Some(ClientIdentity { certificates: chain?, key: key? })
        }
        (Some(alone), None) => {
            bad(alone.span, "`certificate` without its key".into(), "add `key`, the path of its private key");
            return None;
        }
        (None, Some(alone)) => {
            bad(alone.span, "`key` without its certificate".into(), "add `certificate`, the path of the certificate");
            return None;
        }
        (None, None) => None,
    };
    if roots.is_empty() && !secure {
        return None;
    }
    let at = |file: &Option<At<ResolvedPath>>| file.as_ref().map_or(upstream.name.span, |file| file.span);
    match ClientTls::new(roots, identity, server_name.as_ref().map(|name| name.value.as_str())) {
        Ok(tls) => return Some(tls),
        Err(ClientTlsError::NoRoots) => {
            let help = "name the roots that sign the upstream's certificates: `tls = { ca = \"ca.pem\" }`";
            bad(upstream.name.span, "this system has no root certificate to verify the upstream by".into(), help);
        }
        Err(error @ (ClientTlsError::Root(_) | ClientTlsError::Unavailable(_))) => {
            bad(at(ca), format!("`ca`: {}", with_cause(&error)), "name a PEM file of certificate authorities");
        }
        Err(error @ ClientTlsError::Identity(_)) => {
            let help = "`certificate` and `key` must belong together";
            bad(at(certificate), format!("`certificate`: {}", with_cause(&error)), help);
        }
        Err(error @ ClientTlsError::ServerName) => {
            let span = server_name.as_ref().map_or(upstream.name.span, |name| name.span);
            bad(span, format!("`server_name`: {error}"), "write a DNS name or an address, without a port");
        }
    }
    None
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn compile_endpoint(reader: &Reader<'_>, endpoint: &At<WeightedLink>) -> Option<Endpoint> {
    let WeightedLink { url, weight } = &endpoint.value;
    let parsed = match url.strip_prefix("unix:") {
        Some(path) => parse_socket(reader, path, endpoint),
        None => parse_endpoint(url),
    };
    match parsed {
        Ok(parsed) => Some(Endpoint { weight: *weight, ..parsed }),
        Err(problem) => {
            let mut diagnostic = Diagnostic::error(problem.code, endpoint.span, problem.message);
            diagnostic.help = Some(problem.help);
            reader.report(diagnostic);
            None
        }
    }
}

struct EndpointProblem {
    code: &'static str,
    message: String,
    help: String,
}

fn bad(message: &str, help: &str) -> EndpointProblem {
    EndpointProblem { code: codes::BAD_VALUE, message: format!("the endpoint {message}"), help: help.to_owned() }
}

/// The most bytes that the path of a unix socket may have (unix(7): 108 with its end).
const SOCKET_PATH_MAX: usize = 107;

/// The path of a unix socket, relative to the file that names it.
fn parse_socket(reader: &Reader<'_>, path: &str, endpoint: &At<WeightedLink>) -> Result<Endpoint, EndpointProblem> {
    if path.is_empty() || path.contains('\0') {
        return Err(bad("names no socket", "write its path: `unix:/run/app.sock`"));
    }
    let path = reader.resolve(endpoint.span.source, path);
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        let message = format!("has a path that is longer than the {SOCKET_PATH_MAX} bytes a socket can have");
        return Err(bad(&message, "put the socket into a folder with a shorter path"));
    }
    Ok(Endpoint::unix(path))
}

/// `http://HOST:PORT`, or another scheme, and nothing more: a path of the upstream would make what is decided on another than what is
/// forwarded.
fn parse_endpoint(text: &str) -> Result<Endpoint, EndpointProblem> {
    let schemes = [EndpointScheme::Http, EndpointScheme::Https, EndpointScheme::H2c];
    let found =
        schemes.into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme.as_str())?.strip_prefix("://")?)));
    let (scheme, authority) =
        found.ok_or_else(|| bad("is not of the form http://HOST:PORT", "write it as `http://127.0.0.1:9001`"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('@') {
        return Err(bad("holds credentials", "remove what stands before the `@`"));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(bad("has a path", "end it after the port: paths are forwarded unchanged"));
    }
    let Some((host, port)) = authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) else {
        return Err(bad("has no port", "add it: `http://HOST:80`, `https://HOST:443`"));
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
    let port = port.ok_or_else(|| bad("has no valid port", "a port is a number from 1 to 65535"))?;
    let host = parse_host(host).ok_or_else(|| bad("has no valid host", "write a name, an IPv4 address, or [IPv6]"))?;
    Ok(Endpoint { scheme, ..Endpoint::http(host, port) })
}

/// A name or an address; digits and dots that are no IPv4 address are neither (`010.0.0.1` means two things).
pub(crate) fn parse_host(host: &str) -> Option<Arc<str>> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string().into());
    }
    let looks_like_address = host.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if host.contains(':') || (looks_like_address && host.parse::<std::net::Ipv4Addr>().is_err()) {
        return None;
    }
    canonical_host(host).map(|canonical| canonical.as_ref().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let check = |text: &str, expected: Result<(&str, u16), &str>| match (parse_endpoint(text), expected) {
            (Ok(endpoint), Ok((host, port))) => assert_eq!(endpoint, Endpoint::http(host, port), "{text}"),
            (Err(problem), Err(fragment)) => assert!(problem.message.contains(fragment), "{text}: {}", problem.message),
            (_, expected) => panic!("{text}: not {expected:?}"),
        };
        check("http://127.0.0.1:9001", Ok(("127.0.0.1", 9001)));
        check("http://127.0.0.1:9001/", Ok(("127.0.0.1", 9001)));
        check("http://Billing.internal:80", Ok(("billing.internal", 80)));
        check("http://[::1]:80", Ok(("::1", 80)));
        assert_eq!(parse_endpoint("https://a:443").ok(), Some(Endpoint::https("a", 443)));
        check("https://a", Err("has no port"));
        assert_eq!(parse_endpoint("h2c://a:80").ok(), Some(Endpoint::h2c("a", 80)));
        check("h2c://a", Err("has no port"));
        check("h2c:a:80", Err("is not of the form"));
        check("h2://a:80", Err("is not of the form"));
        check("a:80", Err("is not of the form"));
        check("HTTP://a:80", Err("is not of the form"));
        check("http://a", Err("has no port"));
        check("http://", Err("has no port"));
        check("http://u:p@a:80", Err("holds credentials"));
        check("http://a:80/x", Err("has a path"));
        check("http://a:80?x", Err("has a path"));
        check("http://a:0", Err("no valid port"));
        check("http://a:65536", Err("no valid port"));
        check("http://a:+80", Err("no valid port"));
        check("http://:80", Err("no valid host"));
        check("http://::1:80", Err("no valid host"));
        check("http://[fe80::1%25eth0]:80", Err("no valid host"));
        check("http://010.0.0.1:80", Err("no valid host"));
        check("http://10.1:80", Err("no valid host"));
        check("http://a b:80", Err("no valid host"));
    }
}
