//! Header rules of a route: `request_headers` and `response_headers`.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue};

use crate::upstream::headers::{HeaderPlan, X_REQUEST_ID, ends_here};

/// What is taken away, what is set in place of whatever is there, and what is put beside it: in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldRules {
    /// Names that go.
    pub remove: Vec<HeaderName>,
    /// Fields that replace all of their name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are added to those of their name.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Which message a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The request on its way to the upstream.
    Request,
    /// The answer on its way to the caller.
    Response,
}

impl FieldRules {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// All names that a rule is about.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let named = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(named)
    }

    /// Does what the rules say.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

impl Side {
    /// Why no rule may be about this name: it says where a message goes, how long it is or who the caller is, in whatever
    /// spelling. `None`: one may.
    pub fn forbids(self, name: &HeaderName, plan: &HeaderPlan) -> Option<&'static str> {
        if ends_here(name) {
            return Some("it concerns one connection only");
        }
        if name == CONTENT_LENGTH {
            return Some("it says how long the body is");
        }
        match self {
            Self::Request if name == HOST => Some("the route's `upstream_host` is for that"),
            Self::Request if name == EXPECT => Some("the gateway meets expectations itself"),
            Self::Request if plan.is_reserved(name) => Some("only the gateway tells that to an upstream"),
            Self::Response if *name == X_REQUEST_ID => Some("it is the gateway's"),
            Self::Request | Self::Response => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::IdentityHeaders;

    #[test]
    fn rules_remove_then_set_then_add() {
        let pair = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut headers: HeaderMap =
            [pair("server", "nginx"), pair("x-a", "1"), pair("x-b", "1")].into_iter().collect();
        let rules = FieldRules {
            remove: vec![HeaderName::from_static("server"), HeaderName::from_static("x-c")],
            set: vec![pair("x-a", "2"), pair("x-c", "2")],
            add: vec![pair("x-b", "2"), pair("x-c", "3")],
        };
        rules.apply(&mut headers);
        let all = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            (all("server").len(), all("x-a"), all("x-b"), all("x-c")),
            (0, vec!["2"], vec!["1", "2"], vec!["2", "3"])
        );
    }

    #[test]
    fn no_rule_is_about_framing_identity_or_where_a_message_goes() {
        let identity = IdentityHeaders { user: Some(HeaderName::from_static("x-who")), ..IdentityHeaders::default() };
        let plan = HeaderPlan::new(&identity, &[HeaderName::from_static("x-api-key")]);
        let check = |side: Side, name: &str, forbidden: bool| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(side.forbids(&name, &plan).is_some(), forbidden, "{side:?} {name}");
        };
        for name in ["connection", "transfer-encoding", "te", "upgrade", "keep-alive", "proxy-authorization", "trailer"]
        {
            check(Side::Request, name, true);
            check(Side::Response, name, true);
        }
        for name in ["host", "expect", "content-length", "x-who", "X_Who", "x.who", "x-auth-user", "x-forwarded-for"] {
            check(Side::Request, name, true);
        }
        for name in ["forwarded", "x-forwarded-anything", "x-request-id", "x-original-url", "x-http-method-override"] {
            check(Side::Request, name, true);
        }
        for name in ["content-length", "x-request-id"] {
            check(Side::Response, name, true);
        }
        for name in ["authorization", "x-api-key", "cookie", "accept-encoding", "x-tenant"] {
            check(Side::Request, name, false);
        }
        for name in ["server", "x-powered-by", "strict-transport-security", "set-cookie", "x-who", "date"] {
            check(Side::Response, name, false);
        }
    }
}
