//! `rewrite_location`: an upstream that names itself in an answer is named as the caller knows it.
//!
//! It undoes in `Location` and `Content-Location` what the route did to the host and the path. What names anything else stays as
//! it is: another host, a path that the route leads to no place of, a reference relative to the request's own path.

use http::HeaderMap;
use http::header::{CONTENT_LOCATION, HeaderName, HeaderValue, LOCATION};

use crate::settings::{Endpoint, EndpointAddress};
use crate::transit::Target;
use crate::upstream::headers::Scheme;

/// What the route did to a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocationBack {
    /// `strip_prefix`: what was taken off. Empty: nothing.
    pub taken: Box<str>,
    /// `add_prefix`: what was put before. Empty: nothing.
    pub added: Box<str>,
}

/// The place that the caller asked, and who answered.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// How the caller came.
    pub scheme: Scheme,
    /// What it asked for.
    pub target: &'a Target,
    /// The `Host` that the upstream got instead of the caller's.
    pub upstream_host: Option<&'a HeaderValue>,
    /// The upstream's endpoints.
    pub endpoints: &'a [Endpoint],
}

const FIELDS: [HeaderName; 2] = [LOCATION, CONTENT_LOCATION];

impl LocationBack {
    /// Rewrites the fields of an answer. Of one that is there twice, which says nothing (RFC 9110 section 5.3), none is touched.
    pub fn rewrite(&self, headers: &mut HeaderMap, asked: &Asked<'_>) {
        for name in &FIELDS {
            let mut values = headers.get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else { continue };
            let public = value.to_str().ok().and_then(|text| self.public(text, asked));
            if let Some(public) = public.and_then(|public| HeaderValue::try_from(public).ok()) {
                headers.insert(name, public);
            }
        }
    }

    /// The reference as the caller can follow it; `None`: as it is.
    fn public(&self, reference: &str, asked: &Asked<'_>) -> Option<String> {
        let Some((authority, rest)) = absolute(reference) else {
            // A path alone is one on the host that was asked, whatever the upstream calls it; `//` begins a host.
            let is_path = reference.starts_with('/') && !reference.starts_with("//");
            return self.path(reference).filter(|_| is_path);
        };
        if !asked.is_upstream(authority) {
            return None;
        }
        let path = self.path(rest)?;
        let port = asked.target.port.map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}://{}{port}{path}", asked.scheme.as_str(), asked.target.host))
    }

    /// The path with what stands behind it, as it was before the route changed it.
    fn path(&self, path: &str) -> Option<String> {
        let end = path.find(['?', '#']).unwrap_or(path.len());
        let (path, behind) = path.split_at(end);
        let kept = path.strip_prefix(&*self.added).filter(|kept| kept.is_empty() || kept.starts_with('/'))?;
        let public = format!("{}{kept}", self.taken);
        Some(if public.is_empty() { format!("/{behind}") } else { format!("{public}{behind}") })
    }
}

/// The authority and what follows it, of an `http` or `https` reference (RFC 3986 section 3).
fn absolute(reference: &str) -> Option<(Named<'_>, &str)> {
    let (scheme, rest) = reference.split_once("://")?;
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => return None,
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Some((Named::parse(authority, default_port)?, rest))
}

/// A host and its port.
#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    host: &'a str,
    port: u16,
    /// That of its scheme.
    default_port: u16,
}

impl<'a> Named<'a> {
    /// Nothing with user information in it: that is made to look like another host.
    fn parse(authority: &'a str, default_port: u16) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, default_port),
        };
        (!host.is_empty() && !host.contains('@')).then_some(Self { host, port, default_port })
    }

    /// An IPv6 address is in brackets or not.
    fn is(self, host: &str, port: u16) -> bool {
        let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
        self.port == port && bare(self.host) == bare(host)
    }
}

impl Asked<'_> {
    /// Whether the upstream goes by this name: as it was connected to, as the request called it, or as the caller did, who may
    /// have come by another scheme than the upstream believes.
    fn is_upstream(&self, named: Named<'_>) -> bool {
        let connected = self.endpoints.iter().any(|endpoint| match &endpoint.address {
            EndpointAddress::Tcp { host, port } => named.is(host, *port),
            EndpointAddress::Unix(_) => false,
        });
        let called = || match self.upstream_host.and_then(|host| host.to_str().ok()) {
            Some(host) => Named::parse(host, named.default_port).is_some_and(|host| named.is(host.host, host.port)),
            None => named.is(&self.target.host, self.target.port.unwrap_or(named.default_port)),
        };
        connected || called()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use portcullis_policy::CanonicalPath;

    use super::*;

    fn target(host: &str, port: Option<u16>) -> Target {
        let path = CanonicalPath::parse("/api/users/7").unwrap();
        Target { method: Method::GET, path, host: host.to_owned(), port, uri: "/api/users/7".parse().unwrap() }
    }

    /// What becomes of a reference; an empty text is one that stays.
    fn check(back: &LocationBack, asked: &Asked<'_>, table: &[(&str, &str)]) {
        for (reference, expected) in table {
            let found = back.public(reference, asked);
            assert_eq!(found.as_deref().unwrap_or_default(), *expected, "{reference} for {}", asked.target.host);
        }
    }

    fn back(taken: &str, added: &str) -> LocationBack {
        LocationBack { taken: taken.into(), added: added.into() }
    }

    #[test]
    fn an_upstream_that_names_itself_is_named_as_the_caller_knows_it() {
        let endpoints = [Endpoint::http("10.0.0.5", 9001), Endpoint::http("::1", 80)];
        let target = target("api.example", None);
        let asked = Asked { scheme: Scheme::Https, target: &target, upstream_host: None, endpoints: &endpoints };
        check(
            &back("", ""),
            &asked,
            &[
                ("http://10.0.0.5:9001/a?b#c", "https://api.example/a?b#c"),
                ("HTTP://10.0.0.5:9001", "https://api.example/"),
                ("http://10.0.0.5:9001?x=http://10.0.0.5:9001/", "https://api.example/?x=http://10.0.0.5:9001/"),
                ("http://[::1]/a", "https://api.example/a"),
                ("http://[::1]:80/a", "https://api.example/a"),
                // The caller's own host, which the upstream was told, by the scheme that it believes.
                ("http://API.example/a", "https://api.example/a"),
                ("https://api.example:443/a", "https://api.example/a"),
                // Anything else is somebody else.
                ("http://10.0.0.5/a", ""),
                ("http://10.0.0.5:9002/a", ""),
                ("http://api.example:9001/a", ""),
                ("http://other.example/a", ""),
                ("http://10.0.0.5:9001@evil.example/a", ""),
                ("http://user@10.0.0.5:9001/a", ""),
                ("http://10.0.0.5:9001.evil.example/a", ""),
                ("http:///a", ""),
                ("ftp://10.0.0.5:9001/a", ""),
                ("//10.0.0.5:9001/a", ""),
                ("http:/a", ""),
                ("a", ""),
                ("?a", ""),
                ("", ""),
                ("/a", "/a"),
            ],
        );
    }

    #[test]
    fn the_path_is_what_it_was_before_the_route_changed_it() {
        let endpoints = [Endpoint::http("backend", 80)];
        let target = target("[2001:db8::1]", Some(8443));
        let host = HeaderValue::from_static("inner.example:8080");
        let asked = Asked { scheme: Scheme::Https, target: &target, upstream_host: Some(&host), endpoints: &endpoints };
        let table = [
            ("/v1/users", "/api/users"),
            ("/v1", "/api"),
            ("/v1?x", "/api?x"),
            ("/v1#x", "/api#x"),
            ("/v12/users", ""),
            ("/users", ""),
            ("/", ""),
            ("http://backend/v1/users", "https://[2001:db8::1]:8443/api/users"),
            ("http://backend/users", ""),
            ("http://inner.example:8080/v1/", "https://[2001:db8::1]:8443/api/"),
            ("http://inner.example/v1/", ""),
            // The upstream was not told the caller's host.
            ("https://[2001:db8::1]:8443/v1/x", ""),
        ];
        check(&back("/api", "/v1"), &asked, &table);
        check(
            &back("/api", ""),
            &asked,
            &[("/users", "/api/users"), ("/", "/api/"), ("http://backend", "https://[2001:db8::1]:8443/api")],
        );
        check(&back("", "/v1"), &asked, &[("/v1/users", "/users"), ("/v1", "/"), ("/users", "")]);
    }

    #[test]
    fn a_field_that_is_there_twice_says_nothing() {
        let endpoints = [Endpoint::http("backend", 80)];
        let target = target("api.example", None);
        let asked = Asked { scheme: Scheme::Http, target: &target, upstream_host: None, endpoints: &endpoints };
        let mut headers = HeaderMap::new();
        headers.append(LOCATION, HeaderValue::from_static("http://backend/a"));
        headers.append(LOCATION, HeaderValue::from_static("http://backend/b"));
        headers.append(CONTENT_LOCATION, HeaderValue::from_static("http://backend/c"));
        back("", "").rewrite(&mut headers, &asked);
        assert_eq!(headers.get_all(LOCATION).iter().collect::<Vec<_>>(), ["http://backend/a", "http://backend/b"]);
        assert_eq!(headers[CONTENT_LOCATION], "http://api.example/c");
    }
}
