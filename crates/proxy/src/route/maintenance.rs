//! `maintenance`: a route that answers 503 for a while, whatever its action is.
//!
//! It is a configured answer to a permitted request, no refusal: there is no event, and who may not come is refused as ever.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use ipnet::IpNet;

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
}

impl Maintenance {
    /// Whether a client gets the answer. One whose address is not known does.
    pub fn holds_for(&self, client: Option<IpAddr>) -> bool {
        !client.is_some_and(|client| self.except.iter().any(|network| network.contains(&client)))
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
    use super::*;

    #[test]
    fn only_listed_networks_are_excepted() {
        let maintenance = Maintenance {
            except: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            ..Maintenance::default()
        };
        let check = |client: &str, held: bool| assert_eq!(maintenance.holds_for(client.parse().ok()), held, "{client}");
        check("10.255.255.255", false);
        check("11.0.0.0", true);
        check("2001:db8::1", false);
        check("2001:db9::", true);
        check("unknown", true);
        assert!(Maintenance::default().holds_for(Some([127, 0, 0, 1].into())));
    }
}
