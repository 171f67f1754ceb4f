//! The exchange of a code, or of a refresh token, for tokens (OpenID Connect Core 1.0, sections 3.1.3 and 12), and the fetch of what a provider offers. All
//! of it is done beside the requests, on a runtime that is given.

use jiff::Timestamp;
use portcullis_fetch::{FetchError, Fetched, Form, Known, get, post};
use serde_json::Value;

use super::RelyingParty;
use super::login::Returned;
use super::metadata::{Metadata, MetadataProblem};
use crate::remote::discovery_address;
use crate::secret::SecretText;
use crate::settings::KeyLocation;
use crate::strict_json;

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// What a provider gave.
#[derive(Debug)]
pub struct Tokens {
    /// The id token, not verified. Where tokens were refreshed there may be none.
    pub id_token: Option<SecretText<'static>>,
    /// What to ask again with.
    pub refresh_token: Option<SecretText<'static>>,
}

/// Why it gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeProblem {
    /// It did not answer as it should: try again later.
    #[error("{0}")]
    Unreachable(String),
    /// It said no: its error code, cut and escaped.
    #[error("the provider refused: {0}")]
    Refused(String),
}

impl From<FetchError> for ExchangeProblem {
    fn from(error: FetchError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl RelyingParty {
    /// Fetches what the provider offers, and keeps it.
    ///
    /// # Errors
    /// It cannot be fetched or used; what was fetched before stays.
    pub async fn discover(&self) -> Result<(), ExchangeProblem> {
        let settings = self.settings();
        let KeyLocation::Discovery { document, .. } = &settings.keys.location else {
            return Err(ExchangeProblem::Unreachable(format!(
                "{} has no discovery document",
                discovery_address(&settings.issuer)
            )));
        };
        let fetched = get(document, &document.path, Known::default(), MAX_ANSWER, settings.keys.timeout).await?;
        let Fetched::Body { bytes, .. } = fetched else {
            return Err(ExchangeProblem::Unreachable("the discovery document was not sent".to_owned()));
        };
        let unusable = |problem: MetadataProblem| ExchangeProblem::Unreachable(problem.to_string());
        self.offers(Metadata::read(&bytes, settings).map_err(unusable)?);
        Ok(())
    }

    /// Exchanges the code of a login, now.
    ///
    /// # Errors
    /// [`ExchangeProblem`]
    pub async fn exchange(
        &self,
        metadata: &Metadata,
        returned: &Returned,
        now: Timestamp,
    ) -> Result<Tokens, ExchangeProblem> {
        let login = &returned.login;
        let tokens = self
            .ask(
                metadata,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", &returned.code),
                    ("redirect_uri", &login.redirect_uri),
                    ("code_verifier", &login.verifier),
                ],
                now,
            )
            .await?;
        if tokens.id_token.is_none() {
            return Err(ExchangeProblem::Refused("no id token came".to_owned()));
        }
        Ok(tokens)
    }

    /// Asks again with a refresh token.
    ///
    /// # Errors
    /// [`ExchangeProblem`]
    pub async fn refresh(
        &self,
        metadata: &Metadata,
        token: &SecretText<'_>,
        now: Timestamp,
    ) -> Result<Tokens, ExchangeProblem> {
        self.ask(metadata, &[("grant_type", "refresh_token"), ("refresh_token", token.expose())], now).await
    }

    async fn ask(
        &self,
        metadata: &Metadata,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Tokens, ExchangeProblem> {
        let settings = self.settings();
        let endpoint = &metadata.token_endpoint;
        let proven = settings.client.proven(&settings.client_id, &settings.issuer, endpoint, now);
        let proven = proven.map_err(|error| ExchangeProblem::Unreachable(error.to_string()))?;
        let mut fields = fields.to_vec();
        let client = proven.put(&mut fields);
        let form = Form { fields: &fields, client };
        let posted = post(endpoint, form, MAX_ANSWER, settings.keys.timeout).await?;
        read(posted.status, &posted.bytes)
    }
}

/// RFC 6749 sections 5.1 and 5.2.
fn read(status: http::StatusCode, body: &[u8]) -> Result<Tokens, ExchangeProblem> {
    let answer = strict_json::parse_object(body);
    if status.is_server_error() {
        return Err(ExchangeProblem::Unreachable(format!("the token endpoint answered {}", status.as_u16())));
    }
    if status != http::StatusCode::OK {
        let code =
            answer.ok().and_then(|answer| answer.get("error").and_then(Value::as_str).map(crate::refusal::excerpt));
        let code = code.unwrap_or_else(|| format!("status {}", status.as_u16()));
        return Err(ExchangeProblem::Refused(code));
    }
    let answer =
        answer.map_err(|problem| ExchangeProblem::Unreachable(format!("the token endpoint's answer is {problem}")))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(|text| SecretText::new(text.to_owned()));
    Ok(Tokens { id_token: text("id_token"), refresh_token: text("refresh_token") })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn an_answer_is_tokens_a_refusal_or_trouble() {
        let found = |status: u16, body: &str| match read(StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Ok(tokens) => format!(
                "{} {}",
                tokens.id_token.map_or("-".to_owned(), |token| token.expose().to_owned()),
                tokens.refresh_token.map_or("-".to_owned(), |token| token.expose().to_owned()),
            ),
            Err(ExchangeProblem::Refused(why)) => format!("refused {why}"),
            Err(ExchangeProblem::Unreachable(why)) => format!("trouble {why}"),
        };
        let check = |status, body: &str, expected: &str| assert_eq!(found(status, body), expected, "{body}");
        check(200, r#"{"id_token":"a.b.c","refresh_token":"r","access_token":"x"}"#, "a.b.c r");
        check(200, r#"{"access_token":"x"}"#, "- -");
        check(200, r#"{"id_token":7}"#, "- -");
        check(200, "", "trouble the token endpoint's answer is not valid JSON");
        check(
            200,
            r#"{"id_token":"a","id_token":"b"}"#,
            "trouble the token endpoint's answer is JSON that names a member twice",
        );
        check(400, r#"{"error":"invalid_grant"}"#, "refused `invalid_grant`");
        check(401, "x", "refused status 401");
        check(302, "", "refused status 302");
        check(503, r#"{"error":"invalid_grant"}"#, "trouble the token endpoint answered 503");
    }
}
