//! How the operators' API is told who asks it: by the data plane, which verified the caller and decided on the request.
//!
//! The API is in the same process, behind a socket that other processes of the machine can reach, too. So an introduction carries a
//! token that only this process knows, and what callers send in these names never arrives: each is replaced.

use std::fmt;
use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use portcullis_policy::Principal;

/// The token of the process.
pub const TOKEN: HeaderName = HeaderName::from_static("x-portcullis-introduction");
/// The principal, as in `user:alice`, in Base64 for URLs (RFC 4648 section 5, without padding).
pub const OPERATOR: HeaderName = HeaderName::from_static("x-portcullis-operator");
/// The client's address; left out where it is unknown.
pub const CLIENT: HeaderName = HeaderName::from_static("x-portcullis-client");

/// What makes the API believe an introduction.
#[derive(Clone, PartialEq, Eq)]
pub struct Introduction {
    token: HeaderValue,
}

/// Without the token.
impl fmt::Debug for Introduction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Introduction")
    }
}

impl Introduction {
    /// With this token of visible ASCII; `None`: it is none.
    pub fn new(token: &str) -> Option<Self> {
        let mut token = HeaderValue::from_str(token).ok()?;
        token.set_sensitive(true);
        Some(Self { token })
    }

    /// Says who asks. `None`: it cannot be said, so that the request must not be sent.
    pub(crate) fn write(&self, headers: &mut HeaderMap, caller: &Principal, client: Option<IpAddr>) -> Option<()> {
        let operator = HeaderValue::try_from(BASE64URL_NOPAD.encode(caller.reference().as_bytes())).ok()?;
        headers.insert(TOKEN, self.token.clone());
        headers.insert(OPERATOR, operator);
        headers.remove(CLIENT);
        if let Some(client) = client {
            headers.insert(CLIENT, HeaderValue::try_from(client.to_string()).ok()?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_says_of_itself_is_replaced() {
        let mut headers = HeaderMap::new();
        for name in [TOKEN, OPERATOR, CLIENT] {
            headers.append(&name, HeaderValue::from_static("forged"));
            headers.append(&name, HeaderValue::from_static("forged again"));
        }
        let introduction = Introduction::new("secret").unwrap();
        let alice = Principal::user("alice");
        introduction.write(&mut headers, &alice, Some("192.0.2.7".parse().unwrap())).unwrap();
        let all =
            |name: &HeaderName| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all(&TOKEN), ["secret"]);
        assert_eq!(all(&OPERATOR), ["dXNlcjphbGljZQ"]);
        assert_eq!(all(&CLIENT), ["192.0.2.7"]);
        let mut headers = headers.clone();
        introduction.write(&mut headers, &alice, None).unwrap();
        assert!(!headers.contains_key(CLIENT), "an unknown address is not the one of before");
        assert_eq!(format!("{introduction:?} {headers:?}").matches("secret").count(), 0, "no token is ever written");
    }
}
