//! How the operators' API is told who asks it: by the data plane, which verified the caller and decided on the request.
//!
//! The API is in the same process, behind a socket that other processes of the machine can reach, too. So an introduction carries a
//! token that only this process knows, and what callers send in these names never arrives: each is replaced.

use std::fmt;
use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use portcullis_policy::Principal;

/// What makes the API believe an introduction.
#[derive(Clone, PartialEq, Eq)]
pub struct Introduction {
    fields: IntroductionFields,
    token: HeaderValue,
}

/// In which fields it stands, as the API reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntroductionFields {
    /// The token of the process.
    pub token: HeaderName,
    /// The principal, as in `user:alice`, in Base64 for URLs (RFC 4648 section 5, without padding).
    pub operator: HeaderName,
    /// The client's address; left out where it is unknown.
    pub client: HeaderName,
}

/// Without the token.
impl fmt::Debug for Introduction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Introduction")
    }
}

impl Introduction {
    /// In these fields, with this token of visible ASCII; `None`: it is none.
    pub fn new(fields: IntroductionFields, token: &str) -> Option<Self> {
        let mut token = HeaderValue::from_str(token).ok()?;
        token.set_sensitive(true);
        Some(Self { fields, token })
    }

    /// Says who asks. `None`: it cannot be said, so that the request must not be sent.
    pub(crate) fn write(&self, headers: &mut HeaderMap, caller: &Principal, client: Option<IpAddr>) -> Option<()> {
        let operator = HeaderValue::try_from(BASE64URL_NOPAD.encode(caller.reference().as_bytes())).ok()?;
        headers.insert(&self.fields.token, self.token.clone());
        headers.insert(&self.fields.operator, operator);
        headers.remove(&self.fields.client);
        if let Some(client) = client {
            headers.insert(&self.fields.client, HeaderValue::try_from(client.to_string()).ok()?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_says_of_itself_is_replaced() {
        let [token, operator, client] = ["x-token", "x-operator", "x-client"].map(HeaderName::from_static);
        let mut headers = HeaderMap::new();
        for name in [&token, &operator, &client] {
            headers.append(name, HeaderValue::from_static("forged"));
            headers.append(name, HeaderValue::from_static("forged again"));
        }
        let fields = IntroductionFields { token: token.clone(), operator: operator.clone(), client: client.clone() };
        let introduction = Introduction::new(fields, "secret").unwrap();
        let alice = Principal::user("alice");
        introduction.write(&mut headers, &alice, Some("192.0.2.7".parse().unwrap())).unwrap();
        let all =
            |name: &HeaderName| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all(&token), ["secret"]);
        assert_eq!(all(&operator), ["dXNlcjphbGljZQ"]);
        assert_eq!(all(&client), ["192.0.2.7"]);
        let mut headers = headers.clone();
        introduction.write(&mut headers, &alice, None).unwrap();
        assert!(!headers.contains_key(&client), "an unknown address is not the one of before");
        assert_eq!(format!("{introduction:?} {headers:?}").matches("secret").count(), 0, "no token is ever written");
    }
}
