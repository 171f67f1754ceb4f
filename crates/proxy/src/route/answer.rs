//! Answers of a route that has no upstream: a redirect, or one that never changes. They are given to permitted requests
//! only, and are no refusals.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_policy::PathProblem;

use crate::route::PathTemplate;
use crate::transit::Target;

/// `redirect = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308. Default 308.
    pub status: StatusCode,
    /// Scheme and host of the place, or nothing for a place on the same host.
    pub origin: Origin,
    /// Its path.
    pub path: PathTemplate,
    /// Its query, without `?`.
    pub query: Option<Box<str>>,
    /// Whether the request's query is kept, after the place's own. Default: yes.
    pub keep_query: bool,
}

/// Where a redirect leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// To the same host, port and scheme.
    Same,
    /// To this scheme and authority.
    Fixed(Box<str>),
    /// To the host that the request names, without its port, under this scheme. Only on routes that list their hosts.
    RequestHost(Box<str>),
}

/// `respond = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedAnswer {
    /// The status.
    pub status: StatusCode,
    /// Its fields, `Content-Type` included.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Redirect {
    /// The answer to a request.
    ///
    /// # Errors
    /// Where the place's path would not be canonical.
    pub fn answer(&self, target: &Target) -> Result<Response<Full<Bytes>>, PathProblem> {
        let path = self.path.apply(&target.path)?;
        let origin = match &self.origin {
            Origin::Same => String::new(),
            Origin::Fixed(origin) => origin.to_string(),
            Origin::RequestHost(scheme) => format!("{scheme}://{}", target.host),
        };
        let mut place = origin + path.as_str();
        let kept = target.uri.query().filter(|_| self.keep_query);
        for (query, mark) in self.query.as_deref().into_iter().chain(kept).zip(['?', '&']) {
            place.push(mark);
            place.push_str(query);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = self.status;
        // INVARIANT: a canonical path and the query of a parsed URI hold no byte that a field value cannot.
        let location = HeaderValue::try_from(place).map_err(|_| PathProblem::IllegalByte(0))?;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

impl FixedAnswer {
    /// The answer. The body is shared, not copied.
    pub fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};
    use portcullis_policy::CanonicalPath;

    use super::*;

    #[test]
    fn a_redirect_leads_to_the_place_and_keeps_what_it_is_told_to() {
        let check = |origin: Origin, to: &str, query: Option<&str>, keep_query: bool, uri: &str, expected: &str| {
            let uri: Uri = uri.parse().unwrap();
            let target = Target {
                method: Method::GET,
                path: CanonicalPath::parse(uri.path()).unwrap(),
                host: "a.test".into(),
                port: Some(8080),
                uri,
            };
            let path = PathTemplate::parse(to, &["/old/**"]).unwrap();
            let status = StatusCode::PERMANENT_REDIRECT;
            let redirect = Redirect { status, origin, path, query: query.map(Into::into), keep_query };
            let answer = redirect.answer(&target).unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[LOCATION], expected);
        };
        let fixed = || Origin::Fixed("https://new.test:8443".into());
        check(Origin::Same, "/new", None, true, "/old/a", "/new");
        check(Origin::Same, "/new/**", None, true, "/old/a?b=c", "/new/a?b=c");
        check(Origin::Same, "/new/**", None, false, "/old/a?b=c", "/new/a");
        check(Origin::Same, "/new/**", Some("x=1"), true, "/old/a?b=c", "/new/a?x=1&b=c");
        check(Origin::Same, "/new/**", Some("x=1"), true, "/old/a", "/new/a?x=1");
        check(Origin::Same, "/new/**", Some("x=1"), false, "/old/a?b=c", "/new/a?x=1");
        check(fixed(), "/**", None, true, "/old/a/b", "https://new.test:8443/a/b");
        check(Origin::RequestHost("https".into()), "/**", None, true, "/old?q", "https://a.test/?q");
    }

    #[test]
    fn a_place_on_the_same_host_never_names_another() {
        // `//evil.test` would: a canonical path has no empty segment.
        let target = |path: &str| CanonicalPath::parse(path);
        assert!(target("//evil.test").is_err() && target("/old//evil.test").is_err());
        let template = PathTemplate::parse("/**", &["/old/**"]).unwrap();
        assert_eq!(template.apply(&target("/old/evil.test").unwrap()).unwrap().as_str(), "/evil.test");
    }
}
