//! `maintenance`: a route that answers 503 for a while, whatever its action is.
//!
//! It is a configured answer to a permitted request, no refusal: there is no event, and who may not come is refused as ever.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use ipnet::IpNet;
use portcullis_policy::Policy;

use crate::page::{MAINTENANCE, Page, Said};
use crate::refusal::form::Form;
use crate::refusal::{grpc_status, page};

/// A route under maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// When to come again, in seconds, where that is known.
    pub retry_after_s: Option<u64>,
    /// Whoever comes from here is served as usual.
    pub except: Vec<IpNet>,
    /// And whoever comes from one of these networks of the policy, as it stands for the request.
    pub except_networks: Vec<Arc<str>>,
}

impl Maintenance {
    /// Whether a client gets the answer. One whose address is not known does, and a network of which nobody knows what is in it
    /// excepts nobody.
    pub fn holds_for(&self, client: Option<IpAddr>, policy: &Policy) -> bool {
        let Some(client) = client else { return true };
        let is_in = |network: &Arc<str>| policy.is_in_network(network, client) == Some(true);
        !self.except.iter().any(|network| network.contains(&client)) && !self.except_networks.iter().any(is_in)
    }

    /// The answer, in the form that the caller wants.
    pub fn answer(&self, form: Form, request_id: &str) -> Response<Full<Bytes>> {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = match form {
            Form::Problem => problem(),
            Form::Html => {
                let said = Said { title: TITLE, detail: DETAIL, status: 503, reason: "", request_id, help: "" };
                page(&Page::own(MAINTENANCE), &said)
            }
            Form::Grpc(content_type) => grpc_status(status, DETAIL, content_type),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// RFC 9457 section 4.2.1: `about:blank` says no more than the status.
fn problem() -> Response<Full<Bytes>> {
    let body = format!("{{\"type\":\"about:blank\",\"title\":\"{TITLE}\",\"status\":503,\"detail\":\"{DETAIL}\"}}");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

const TITLE: &str = "Service Unavailable";
const DETAIL: &str = "This service is under maintenance. Try again later.";

#[cfg(test)]
mod tests {
    use portcullis_policy::{NetworkDraft, PolicyDraft};

    use super::*;

    #[test]
    fn only_listed_networks_are_excepted() {
        let network = |name: &str, prefix: &str, unknown| NetworkDraft {
            name: name.to_owned().into(),
            prefixes: vec![prefix.parse().unwrap()],
            unknown,
        };
        let networks = vec![network("office", "192.0.2.0/24", false), network("stale", "198.51.100.0/24", true)];
        let (policy, _) = Policy::compile(&PolicyDraft { networks, ..PolicyDraft::default() }).unwrap();
        let maintenance = Maintenance {
            except: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            except_networks: ["office", "stale", "gone"].map(Into::into).into(),
            ..Maintenance::default()
        };
        let check = |client: &str, held: bool| {
            assert_eq!(maintenance.holds_for(client.parse().ok(), &policy), held, "{client}");
        };
        check("192.0.2.255", false);
        check("192.0.3.0", true);
        // What is certain of a network counts, and what nobody knows does not.
        check("198.51.100.1", false);
        check("198.51.101.1", true);
        check("10.255.255.255", false);
        check("11.0.0.0", true);
        check("2001:db8::1", false);
        check("2001:db9::", true);
        check("unknown", true);
        assert!(Maintenance::default().holds_for(Some([127, 0, 0, 1].into()), &policy));
    }
}
