//! Cross-origin requests (the Fetch standard, section 3.2 "CORS protocol"): which other sites' scripts a browser lets read the
//! answers of a route.
//!
//! It lets nobody in: a script that may read answers gets those that the caller's own credentials get. Origins are compared
//! as they are written, and none is answered that is not listed.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

/// `cors = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Who may read answers.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`: a list, or `*`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`: what requests may carry beyond what every site may send.
    pub headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`: what scripts may read beyond what every script may.
    pub expose: Option<HeaderValue>,
    /// Whether the browser sends the caller's cookies and other credentials along. Never together with [`Origins::Any`].
    pub credentials: bool,
    /// For how many seconds a browser need not ask again. Default 600.
    pub max_age: HeaderValue,
}

/// Whose scripts may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// Those of these origins, in the form in which browsers send them.
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// The answer to a preflight of an origin that may ask; `None` where it is none, or its origin may not.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
        if *method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = origin_of(headers)?;
        let allowed = self.allowed(Some(origin))?;
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        self.allow(allowed, answer);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(headers) = &self.headers {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        self.vary(answer);
        Some(response)
    }

    /// Says on an answer, also a refusal, whether the script that asked may read it. What the upstream says of that is removed.
    pub fn decorate(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        for name in OWN {
            answer.remove(name);
        }
        if let Some(allowed) = self.allowed(origin) {
            self.allow(allowed, answer);
            if let Some(expose) = &self.expose {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
        }
        self.vary(answer);
    }

    /// The value of `Access-Control-Allow-Origin` for an origin.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Listed(listed) => listed.iter().find(|each| Some(*each) == origin).cloned(),
        }
    }

    fn allow(&self, origin: HeaderValue, answer: &mut HeaderMap) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// A cache must not give one origin the answer to another, nor to a request without one.
    fn vary(&self, answer: &mut HeaderMap) {
        if self.origins != Origins::Any {
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Whether this names a field that the gateway writes on a route with `cors`.
    pub fn owns(name: &HeaderName) -> bool {
        OWN.contains(name) || *name == ACCESS_CONTROL_ALLOW_METHODS || *name == ACCESS_CONTROL_ALLOW_HEADERS
    }
}

/// The origin that a request names; `None` where it names none, or several.
pub fn origin_of(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let first = origins.next();
    first.filter(|_| origins.next().is_none())
}

const OWN: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&'static str], credentials: bool) -> Cors {
        let listed = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
        Cors {
            origins: if origins == ["*"] { Origins::Any } else { Origins::Listed(listed) },
            methods: HeaderValue::from_static("GET, PUT"),
            headers: Some(HeaderValue::from_static("content-type")),
            expose: Some(HeaderValue::from_static("etag")),
            credentials,
            max_age: HeaderValue::from_static("600"),
        }
    }

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(parse).fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    #[test]
    fn a_preflight_of_a_listed_origin_is_answered() {
        let cors = cors(&["https://app.test"], true);
        let check = |method: Method, lines: &[(&str, &str)], answered: bool| {
            let answer = cors.preflight(&method, &map(lines));
            assert_eq!(answer.is_some(), answered, "{method} {lines:?}");
            let Some(answer) = answer else { return };
            let expected = map(&[
                ("access-control-allow-origin", "https://app.test"),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", "GET, PUT"),
                ("access-control-allow-headers", "content-type"),
                ("access-control-max-age", "600"),
                ("vary", "origin"),
            ]);
            assert_eq!((answer.status(), answer.headers()), (StatusCode::NO_CONTENT, &expected));
        };
        let asks = ("access-control-request-method", "PUT");
        check(Method::OPTIONS, &[("origin", "https://app.test"), asks], true);
        check(Method::OPTIONS, &[("origin", "https://app.test")], false);
        check(Method::GET, &[("origin", "https://app.test"), asks], false);
        check(Method::OPTIONS, &[asks], false);
        for other in
            ["https://app.test.evil.test", "https://APP.test", "http://app.test", "https://app.test:444", "null", "*"]
        {
            check(Method::OPTIONS, &[("origin", other), asks], false);
        }
        check(Method::OPTIONS, &[("origin", "https://app.test"), ("origin", "https://app.test"), asks], false);
    }

    #[test]
    fn an_answer_says_who_may_read_it_and_the_upstream_does_not() {
        let check = |cors: &Cors, origin: Option<&'static str>, expected: &[(&str, &str)]| {
            let mut answer = map(&[
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("vary", "accept"),
            ]);
            cors.decorate(origin.map(HeaderValue::from_static).as_ref(), &mut answer);
            assert_eq!(answer, map(&[&[("vary", "accept")], expected].concat()), "{origin:?}");
        };
        let (listed, any) = (cors(&["https://a.test", "https://b.test"], true), cors(&["*"], false));
        let credentials = ("access-control-allow-credentials", "true");
        let expose = ("access-control-expose-headers", "etag");
        let allowed = ("access-control-allow-origin", "https://b.test");
        check(&listed, Some("https://b.test"), &[allowed, credentials, expose, ("vary", "origin")]);
        check(&listed, Some("https://c.test"), &[("vary", "origin")]);
        check(&listed, None, &[("vary", "origin")]);
        check(&any, Some("https://c.test"), &[("access-control-allow-origin", "*"), expose]);
        check(&any, None, &[("access-control-allow-origin", "*"), expose]);
    }
}
