//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), structured fields (RFC 9651): what was
//! configured, and what is left of it. They name no key: who shares a quota with a caller is nobody's business.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Limit, RouteRates};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// How many more requests could follow at once (`r`).
    pub remaining: u64,
    /// In how many seconds all of it is there again (`t`), and never less than what remains takes at the pace of the limit: who
    /// divides the one by the other must not infer a faster one (the draft on resource exhaustion). Of a limit that refuses,
    /// when the next request is accepted: the draft wants it to be the moment of `Retry-After`.
    pub reset_s: u64,
}

/// Writes both fields for the limits that were asked, which are the first of those of the route. An upstream's own fields of
/// those names are replaced: it speaks of another limit.
pub fn write_fields(headers: &mut HeaderMap, rates: &RouteRates, left: &[Left]) {
    if left.is_empty() {
        return;
    }
    let mut text = String::with_capacity(left.len() * 32);
    for (limit, left) in rates.all().zip(left) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}\"{}\";r={};t={}", limit.name, left.remaining, left.reset_s);
    }
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(RATELIMIT, value);
        headers.insert(RATELIMIT_POLICY, rates.policy.clone());
    }
}

/// `"address";q=100;w=60`, for each limit. The window is in whole seconds, at least 1.
pub(super) fn policy_field<'a>(limits: impl Iterator<Item = &'a Limit>) -> HeaderValue {
    let items: Vec<String> = limits
        .map(|limit| {
            let window_s = limit.settings.window.as_secs().max(1);
            format!("\"{}\";q={};w={window_s}", limit.name, limit.settings.requests)
        })
        .collect();
    HeaderValue::try_from(items.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Rates;
    use super::*;
    use crate::settings::{Per, RateLimit};

    #[test]
    fn the_fields_are_lists_of_named_quotas_in_the_order_in_which_they_are_asked() {
        let limit = |per, requests, window_s| RateLimit {
            per,
            requests,
            window: Duration::from_secs(window_s),
            burst: requests,
        };
        let limits = [limit(Per::Route, 500, 1), limit(Per::Address, 10, 1), limit(Per::Address, 1_000, 3_600)];
        let rates = Rates::default().of_route("a", &limits).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit", HeaderValue::from_static("\"upstream\";r=1"));
        let check = |headers: &HeaderMap, name: &str, expected: &str| {
            let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(values, [expected], "{name}");
        };
        write_fields(&mut headers, &rates, &[]);
        check(&headers, "ratelimit", "\"upstream\";r=1");
        write_fields(&mut headers, &rates, &[Left { remaining: 9, reset_s: 1 }, Left { remaining: 0, reset_s: 3_600 }]);
        check(&headers, "ratelimit", "\"address\";r=9;t=1, \"address-2\";r=0;t=3600");
        check(&headers, "ratelimit-policy", "\"address\";q=10;w=1, \"address-2\";q=1000;w=3600, \"route\";q=500;w=1");
    }
}
