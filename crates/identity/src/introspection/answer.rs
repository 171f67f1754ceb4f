//! What a provider says of a token (RFC 7662 section 2.2).

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::CredentialProblemKind as Kind;
use serde_json::Value;
use std::sync::Arc;

use super::{Held, Verdict, shown};
use crate::binding::Terms;
use crate::claims::{ClaimReader, numeric_date};
use crate::namespace::Namespace;
use crate::refusal::Refusal;
use crate::settings::IntrospectionProvider;
use crate::strict_json::{self, Object};

/// Reads answers.
#[derive(Debug)]
pub(super) struct Reader {
    issuer: Option<String>,
    audiences: Vec<String>,
    clients: Vec<String>,
    leeway: SignedDuration,
    settings: IntrospectionProvider,
    claims: ClaimReader,
    prefixes: Vec<String>,
}

/// An answer that says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerProblem {
    #[error("the answer is {0}")]
    Json(#[from] strict_json::JsonError),
    #[error("the answer does not say whether the token is `active`")]
    NotSaid,
}

impl Reader {
    /// `prefixes`: what all providers put before their names.
    pub(super) fn new(settings: &IntrospectionProvider, prefixes: &[String]) -> Self {
        let namespace = Namespace::new(&settings.prefix, prefixes.iter().map(String::as_str));
        Self {
            issuer: settings.issuer.clone(),
            audiences: settings.audiences.clone(),
            clients: settings.clients.clone(),
            leeway: SignedDuration::try_from(settings.leeway).unwrap_or(SignedDuration::ZERO),
            claims: ClaimReader::of_introspection(settings, namespace),
            settings: settings.clone(),
            prefixes: prefixes.to_vec(),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.prefixes == other.prefixes
    }

    /// What it says. What it says of a token that is good and cannot be used is a refusal; what says nothing is a problem.
    pub(super) fn read(&self, bytes: &[u8], now: Timestamp) -> Result<Verdict, AnswerProblem> {
        let answer = strict_json::parse_object(bytes)?;
        match answer.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => {
                let refusal = Refusal::invalid("its provider says that the token is not active");
                return Ok(Verdict::Inactive(refusal));
            }
            Some(_) | None => return Err(AnswerProblem::NotSaid),
        }
        Ok(match self.held(&answer, now) {
            Ok(held) => Verdict::Active(Arc::new(held)),
            Err(refusal) => Verdict::Inactive(refusal),
        })
    }

    fn held(&self, answer: &Object, now: Timestamp) -> Result<Held, Refusal> {
        self.check_issuer(answer)?;
        self.check_addressee(answer)?;
        let terms = Terms::of(answer, self.settings.require)?;
        let expires = numeric_date(answer, "exp")?;
        let starts = [numeric_date(answer, "nbf")?, numeric_date(answer, "iat")?, self.claims.auth_time(answer)?];
        let starts = starts.into_iter().flatten().max();
        let mut principal = self.claims.principal(answer, None, expires.unwrap_or(Timestamp::MAX))?;
        principal.authentication.expires = expires;
        let held = Held {
            principal: Arc::new(principal),
            terms,
            valid_from: starts.and_then(|start| start.checked_sub(self.leeway).ok()).unwrap_or(Timestamp::MIN),
            valid_before: expires.and_then(|end| end.checked_add(self.leeway).ok()).unwrap_or(Timestamp::MAX),
        };
        self.still(&held, now)?;
        Ok(held)
    }

    /// Whether it holds at this time.
    pub(super) fn still(&self, held: &Held, now: Timestamp) -> Result<(), Refusal> {
        if now >= held.valid_before {
            let expires = held.principal.authentication.expires.unwrap_or(held.valid_before);
            return Err(Refusal::new(Kind::Expired, format!("the token expired at {expires}")));
        }
        if now < held.valid_from {
            return Err(Refusal::new(Kind::NotYetValid, format!("the token is not valid before {}", held.valid_from)));
        }
        Ok(())
    }

    fn check_issuer(&self, answer: &Object) -> Result<(), Refusal> {
        let Some(issuer) = &self.issuer else { return Ok(()) };
        match answer.get("iss") {
            None => Ok(()),
            Some(Value::String(found)) if found == issuer => Ok(()),
            Some(Value::String(found)) => {
                Err(Refusal::new(Kind::WrongIssuer, format!("the token is of the issuer {}", shown(found))))
            }
            Some(_) => Err(Refusal::invalid("`iss` of the token is not a string")),
        }
    }

    /// It is meant for this gateway, or was given to a client that is named: a provider may well say of a token for somebody else that it
    /// is active.
    fn check_addressee(&self, answer: &Object) -> Result<(), Refusal> {
        if !self.audiences.is_empty() {
            let is_ours =
                |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|own| own == text));
            let addressed = match answer.get("aud") {
                Some(one @ Value::String(_)) => is_ours(one),
                Some(Value::Array(several)) => several.iter().any(is_ours),
                Some(_) => return Err(Refusal::invalid("`aud` of the token is not a string or an array of strings")),
                None => false,
            };
            if !addressed {
                return Err(Refusal::new(Kind::WrongAudience, "none of the token's audiences is accepted"));
            }
        }
        if !self.clients.is_empty() {
            let client = answer.get("client_id").and_then(Value::as_str);
            if !client.is_some_and(|client| self.clients.iter().any(|own| own == client)) {
                return Err(Refusal::new(Kind::WrongAudience, "the token was given to a client that is not accepted"));
            }
        }
        Ok(())
    }
}
