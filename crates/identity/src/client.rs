//! How the gateway proves to a provider that it is its client (OpenID Connect Core 1.0, section 9): where it exchanges the code of a login, and where it asks about an opaque
//! token. By a secret that both know, or by a [signature](crate::client_key).

use std::fmt;

use jiff::Timestamp;
use portcullis_fetch::UrlSource;
use subtle::ConstantTimeEq as _;

use crate::client_key::{ASSERTION_TYPE, ClientAudience, ClientKey, ClientSigningError};
use crate::secret::SecretText;

/// How the gateway authenticates where it asks a provider for something.
#[derive(Clone)]
pub enum ClientProof {
    /// Not at all: a public client, which PKCE alone protects.
    None,
    /// `client_secret_basic`
    Basic(SecretText<'static>),
    /// `client_secret_post`
    Post(SecretText<'static>),
    /// `private_key_jwt`: it signs whom it is, for this audience.
    Key(ClientKey, ClientAudience),
}

/// What proves it in one form that is sent.
pub(crate) struct Proven<'s> {
    client_id: &'s str,
    proof: &'s ClientProof,
    /// Anew for each form, since it is good once.
    assertion: Option<SecretText<'static>>,
}

impl ClientProof {
    /// What proves it where something is sent to `endpoint` of the provider with this issuer.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(crate) fn proven<'s>(
        &'s self,
        client_id: &'s str,
        issuer: &str,
        endpoint: &UrlSource,
        now: Timestamp,
    ) -> Result<Proven<'s>, ClientSigningError> {
        let assertion = match self {
            Self::None | Self::Basic(_) | Self::Post(_) => None,
            Self::Key(key, ClientAudience::Issuer) => Some(key.assertion(client_id, issuer, now)?),
            Self::Key(key, ClientAudience::Endpoint) => {
                let scheme = if endpoint.secure { "https" } else { "http" };
                let address = format!("{scheme}://{}{}", endpoint.authority(), endpoint.path);
                Some(key.assertion(client_id, &address, now)?)
            }
        };
        Ok(Proven { client_id, proof: self, assertion: assertion.map(SecretText::new) })
    }
}

impl Proven<'_> {
    /// Puts what proves it among the fields of the form, and says what goes beside it (`Authorization: Basic`).
    pub(crate) fn put<'f>(&'f self, fields: &mut Vec<(&'f str, &'f str)>) -> Option<(&'f str, &'f str)> {
        match self.proof {
            ClientProof::Basic(secret) => return Some((self.client_id, secret.expose())),
            ClientProof::None => fields.push(("client_id", self.client_id)),
            ClientProof::Post(secret) => {
                fields.extend([("client_id", self.client_id), ("client_secret", secret.expose())]);
            }
            ClientProof::Key(..) => {
                fields.extend([("client_id", self.client_id), ("client_assertion_type", ASSERTION_TYPE)]);
                fields.extend(self.assertion.as_ref().map(|assertion| ("client_assertion", assertion.expose())));
            }
        }
        None
    }
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Basic(_) => "Basic(…)",
            Self::Post(_) => "Post(…)",
            Self::Key(..) => "Key(…)",
        })
    }
}

impl PartialEq for ClientProof {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |one: &SecretText<'_>, other: &SecretText<'_>| {
            bool::from(one.expose().as_bytes().ct_eq(other.expose().as_bytes()))
        };
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Basic(one), Self::Basic(other)) | (Self::Post(one), Self::Post(other)) => is_same(one, other),
            (Self::Key(one, of_one), Self::Key(other, of_other)) => one == other && of_one == of_other,
            (Self::None | Self::Basic(_) | Self::Post(_) | Self::Key(..), _) => false,
        }
    }
}

impl Eq for ClientProof {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText<'static> {
        SecretText::new(text.to_owned())
    }

    fn key() -> ClientKey {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let body = data_encoding::BASE64.encode(pair.as_ref());
        ClientKey::read(&format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"), None, None)
            .unwrap()
    }

    #[test]
    fn each_way_puts_what_it_needs_and_nothing_else() {
        let endpoint = UrlSource::parse("https://op.example:8443/introspect?x=1", Vec::new()).unwrap();
        let check = |proof: &ClientProof, names: &[&str], beside: Option<(&str, &str)>, audience: Option<&str>| {
            let proven = proof.proven("gateway", "https://op.example", &endpoint, Timestamp::UNIX_EPOCH).unwrap();
            let mut fields = vec![("token", "t")];
            assert_eq!(proven.put(&mut fields), beside, "{proof:?}");
            assert_eq!(fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [&["token"], names].concat());
            let said = fields.iter().find(|(name, _)| *name == "client_assertion").map(|(_, value)| {
                let claims =
                    data_encoding::BASE64URL_NOPAD.decode(value.split('.').nth(1).unwrap().as_bytes()).unwrap();
                serde_json::from_slice::<serde_json::Value>(&claims).unwrap()["aud"].as_str().unwrap().to_owned()
            });
            assert_eq!(said.as_deref(), audience);
        };
        let signed = ["client_id", "client_assertion_type", "client_assertion"];
        check(&ClientProof::None, &["client_id"], None, None);
        check(&ClientProof::Basic(secret("s")), &[], Some(("gateway", "s")), None);
        check(&ClientProof::Post(secret("s")), &["client_id", "client_secret"], None, None);
        check(&ClientProof::Key(key(), ClientAudience::Issuer), &signed, None, Some("https://op.example"));
        let address = "https://op.example:8443/introspect?x=1";
        check(&ClientProof::Key(key(), ClientAudience::Endpoint), &signed, None, Some(address));
    }

    #[test]
    fn what_proves_something_else_is_another_proof() {
        let one = key();
        let all = [
            ClientProof::None,
            ClientProof::Basic(secret("a")),
            ClientProof::Basic(secret("b")),
            ClientProof::Post(secret("a")),
            ClientProof::Key(one.clone(), ClientAudience::Issuer),
            ClientProof::Key(one, ClientAudience::Endpoint),
            ClientProof::Key(key(), ClientAudience::Issuer),
        ];
        for (n, proof) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(*proof == other.clone(), n == m, "{n} {m}");
            }
            assert!(!format!("{proof:?}").contains("\"a\""), "{proof:?}");
        }
    }
}
