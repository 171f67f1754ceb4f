//! How the gateway proves to a provider that it is its client: keys of `[[identity.oidc]]` and of `[[identity.introspection]]`.

use serde_json::{Value, json};

use crate::file::{CLIENT_ALGORITHMS, CLIENT_PROOFS, ClientAudiences};
use crate::kinds::Text;

use super::gateway::words;
use super::{Key, choice, one, receiver, within};

/// Those keys. `secret` and `key`: the titles of their tables.
pub(super) fn client(
    (secret, key): (&'static str, &'static str),
    audiences: ClientAudiences,
    audience: &'static str,
) -> [Key; 6] {
    [
        within("client_secret", receiver::secret(secret)),
        choice(
            "client_auth",
            &words(CLIENT_PROOFS),
            "How the gateway proves that it is that client. Default `basic`, where there is a secret, and `private_key_jwt`, where there is a key.",
        ),
        within("client_key", receiver::secret(key)),
        one("client_key_id", Text, "What the provider knows the key by; left out: the `kid` of the JWK, else nothing."),
        choice(
            "client_key_alg",
            &words(CLIENT_ALGORITHMS),
            "How it signs; left out: the `alg` of the JWK, else by the kind of key.",
        ),
        choice("client_audience", &words(audiences), audience),
    ]
}

/// Who has to prove it does so in one way.
pub(super) fn is_proven() -> Value {
    json!({ "anyOf": [{ "required": ["client_secret"] }, { "required": ["client_key"] }] })
}
