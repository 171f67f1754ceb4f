//! What a provider offers, as its discovery document says (OpenID Connect Discovery 1.0, section 3).

use portcullis_fetch::{UrlError, UrlSource};
use serde_json::Value;

use crate::settings::{ClientProof, OidcProvider, ResponseMode};
use crate::strict_json;

/// What a login needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where codes are exchanged.
    pub token_endpoint: UrlSource,
    /// Where browsers are sent to log out (OpenID Connect RP-Initiated Logout 1.0), where it has such a place.
    pub end_session_endpoint: Option<String>,
    /// It names itself in what browsers come back with (RFC 9207): what does not is not from it.
    pub names_itself: bool,
}

/// Why a document says too little.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// It is not one JSON object without repeated names.
    #[error("the discovery document is {0}")]
    NotJson(String),
    /// Its `issuer` is missing or another one.
    #[error("the discovery document is of the issuer {0}, not of the one that is configured")]
    OtherIssuer(String),
    /// A member is missing, or no text.
    #[error("the discovery document has no `{0}`")]
    Missing(&'static str),
    /// An address is none.
    #[error("`{0}` of the discovery document: {1}")]
    Address(&'static str, UrlError),
    /// An address is not over TLS.
    #[error("`{0}` of the discovery document is not over TLS")]
    Plain(&'static str),
    /// It does not have what the configuration wants.
    #[error("the provider does not offer {0}")]
    Unsupported(&'static str),
}

impl Metadata {
    /// Reads the document of this provider.
    ///
    /// # Errors
    /// [`MetadataProblem`]
    pub fn read(document: &[u8], settings: &OidcProvider) -> Result<Self, MetadataProblem> {
        let document =
            strict_json::parse_object(document).map_err(|problem| MetadataProblem::NotJson(problem.to_string()))?;
        let text = |member: &str| document.get(member).and_then(Value::as_str);
        let stated = text("issuer").unwrap_or_default();
        if *stated != *settings.issuer {
            return Err(MetadataProblem::OtherIssuer(crate::refusal::excerpt(stated)));
        }
        let address = |member: &'static str, text: &str| {
            let source = UrlSource::parse(text, document_roots(settings));
            let source = source.map_err(|error| MetadataProblem::Address(member, error))?;
            if source.secure || settings.allow_http { Ok(source) } else { Err(MetadataProblem::Plain(member)) }
        };
        let required = |member: &'static str| text(member).ok_or(MetadataProblem::Missing(member));
        let lists = |member: &str| document.get(member).and_then(Value::as_array);
        let offers = |member: &str, wanted: &str| {
            lists(member).is_none_or(|list| list.iter().any(|each| each.as_str() == Some(wanted)))
        };
        // Where a list is left out, the defaults of the specification have what is wanted.
        if !offers("response_types_supported", "code") {
            return Err(MetadataProblem::Unsupported("the authorization code flow"));
        }
        if !offers("code_challenge_methods_supported", "S256") {
            return Err(MetadataProblem::Unsupported("PKCE with S256"));
        }
        if settings.response_mode == ResponseMode::FormPost && !offers("response_modes_supported", "form_post") {
            return Err(MetadataProblem::Unsupported("the configured `response_mode`"));
        }
        let proof = match &settings.client {
            ClientProof::None => None,
            ClientProof::Basic(_) => Some("client_secret_basic"),
            ClientProof::Post(_) => Some("client_secret_post"),
            ClientProof::Key(..) => Some("private_key_jwt"),
        };
        if proof.is_some_and(|proof| !offers("token_endpoint_auth_methods_supported", proof)) {
            return Err(MetadataProblem::Unsupported("the configured `client_auth`"));
        }
        if let ClientProof::Key(key, _) = &settings.client
            && !offers("token_endpoint_auth_signing_alg_values_supported", key.algorithm().as_str())
        {
            return Err(MetadataProblem::Unsupported("clients that sign with the configured `client_key_alg`"));
        }
        let authorization_endpoint = required("authorization_endpoint")?;
        address("authorization_endpoint", authorization_endpoint)?;
        let end_session_endpoint = text("end_session_endpoint");
        if let Some(endpoint) = end_session_endpoint {
            address("end_session_endpoint", endpoint)?;
        }
        Ok(Self {
            authorization_endpoint: authorization_endpoint.to_owned(),
            token_endpoint: address("token_endpoint", required("token_endpoint")?)?,
            end_session_endpoint: end_session_endpoint.map(str::to_owned),
            names_itself: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        })
    }
}

/// Who may vouch for the provider's servers.
fn document_roots(settings: &OidcProvider) -> Vec<rustls_pki_types::CertificateDer<'static>> {
    match &settings.keys.location {
        crate::settings::KeyLocation::Url(address) => address.roots.clone(),
        crate::settings::KeyLocation::Discovery { document, .. } => document.roots.clone(),
    }
}
