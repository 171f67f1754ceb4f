//! The document that says where a provider's keys are (OpenID Connect Discovery 1.0, sections 3 and 4).

use crate::strict_json;

/// The longest document, in bytes.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// Below an issuer, where its document is (section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Why the document says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DiscoveryProblem {
    /// It is not one JSON object without repeated names.
    #[error("the discovery document is {0}")]
    NotJson(String),
    /// Its `issuer` is missing or another one (section 4.3).
    #[error("the discovery document is of the issuer {0}, not of the one that is configured")]
    OtherIssuer(String),
    /// It has no `jwks_uri`.
    #[error("the discovery document has no `jwks_uri`")]
    NoKeys,
}

/// The address of an issuer's document: a slash at its end goes first (section 4).
pub fn address(issuer: &str) -> String {
    format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// The `jwks_uri` of a document that must be this issuer's, character for character (section 4.3).
pub(super) fn keys_address(document: &[u8], issuer: &str) -> Result<String, DiscoveryProblem> {
    let document =
        strict_json::parse_object(document).map_err(|problem| DiscoveryProblem::NotJson(problem.to_string()))?;
    let text = |member: &str| document.get(member).and_then(serde_json::Value::as_str);
    let stated = text("issuer").unwrap_or_default();
    if stated != issuer {
        return Err(DiscoveryProblem::OtherIssuer(crate::refusal::excerpt(stated)));
    }
    text("jwks_uri").map(str::to_owned).ok_or(DiscoveryProblem::NoKeys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_below_the_issuer() {
        assert_eq!(address("https://a.example"), "https://a.example/.well-known/openid-configuration");
        assert_eq!(address("https://a.example/"), "https://a.example/.well-known/openid-configuration");
        assert_eq!(address("https://a.example/t/1"), "https://a.example/t/1/.well-known/openid-configuration");
    }

    #[test]
    fn a_document_counts_only_for_the_issuer_that_it_names() {
        let found =
            |document: &str| keys_address(document.as_bytes(), "https://a.example").map_err(|error| error.to_string());
        let good = r#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/k","other":[1]}"#;
        assert_eq!(found(good), Ok("https://keys.example/k".to_owned()));
        for (document, fragment) in [
            ("", "not valid JSON"),
            ("[]", "not an object"),
            ("{}", "of the issuer ``"),
            (r#"{"issuer":"https://a.example/","jwks_uri":"https://k"}"#, "https://a.example/"),
            (r#"{"issuer":"https://evil.example","jwks_uri":"https://k"}"#, "evil"),
            (r#"{"issuer":["https://a.example"],"jwks_uri":"https://k"}"#, "of the issuer ``"),
            (r#"{"issuer":"https://a.example"}"#, "no `jwks_uri`"),
            (r#"{"issuer":"https://a.example","jwks_uri":7}"#, "no `jwks_uri`"),
            (r#"{"issuer":"https://a.example","issuer":"https://b","jwks_uri":"https://k"}"#, "twice"),
        ] {
            let problem = found(document).unwrap_err();
            assert!(problem.contains(fragment), "{document}: {problem}");
        }
    }
}
