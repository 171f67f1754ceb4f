//! The challenge of a 401: which scheme would help, and what was wrong with what came under it.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use portcullis_events::ReasonCode;
use portcullis_identity::{Authenticator, Challenge, Identity, ProofOffer};
use portcullis_policy::{Denial, Reason};

use crate::refusal::Refusal;
use crate::transit::Facts;

/// Carries the nonce that the next proof has to have (RFC 9449 section 9).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a challenge is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Challenges<'a> {
    /// The providers in force; `None` where that is not known.
    authenticator: Option<&'a Authenticator>,
    /// The caller is a browser where people log in by a page.
    has_login: bool,
    /// What is said of a token that is bound to a key.
    bound: Option<&'a Challenge>,
}

impl<'a> Challenges<'a> {
    /// Those of a request.
    pub(crate) fn of(facts: &'a Facts, headers: &HeaderMap) -> Self {
        let authenticator = &facts.loaded.snapshot.authenticator;
        Self {
            // A browser would ask for the password itself, and send it beside the cookie of a session for ever after: it is led to the login.
            has_login: authenticator.reads_sessions() && headers.contains_key("sec-fetch-mode"),
            authenticator: Some(authenticator),
            bound: facts.identity.as_ref().and_then(Identity::challenge),
        }
    }

    /// RFC 6750 section 3 for a missing or bad token, RFC 9449 section 7 for one that is bound to a key, RFC 9470 section 3 for one
    /// that is not strong or fresh enough.
    pub(crate) fn write(&self, refusal: &Refusal, realm: &str, headers: &mut HeaderMap) {
        let realm: String = realm.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect();
        for text in self.texts(refusal, &realm) {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(WWW_AUTHENTICATE, value);
            }
        }
        if let Some(Challenge::UseNonce(nonce)) = self.bound
            && let Ok(nonce) = HeaderValue::from_str(nonce)
        {
            headers.insert(DPOP_NONCE, nonce);
        }
    }

    fn texts(&self, refusal: &Refusal, realm: &str) -> Vec<String> {
        if matches!(refusal.code(), ReasonCode::AuthnCertificateRequired | ReasonCode::AuthnCertificateInvalid) {
            // No token would help. RFC 9110 section 11.6.1 wants a challenge, and no registered scheme means this.
            return vec![format!("Certificate realm=\"{realm}\"")];
        }
        let accepts_tokens = self.authenticator.is_none_or(Authenticator::accepts_tokens);
        let offer = self.authenticator.map_or(ProofOffer::Unasked, Authenticator::proof_offer);
        let algorithms = || self.authenticator.map_or_else(String::new, Authenticator::proof_algorithms);
        let error = match refusal.denial() {
            Some(denial) => error(denial, accepts_tokens),
            None if refusal.code() == ReasonCode::StepUpRequired => TOO_WEAK.to_owned(),
            None => String::new(),
        };
        if let Some(bound) = self.bound {
            let error = match bound {
                Challenge::BadToken => "invalid_token",
                Challenge::BadProof => "invalid_dpop_proof",
                Challenge::UseNonce(_) => "use_dpop_nonce",
            };
            return vec![format!("DPoP realm=\"{realm}\", error=\"{error}\", algs=\"{}\"", algorithms())];
        }
        let dpop = || format!("DPoP realm=\"{realm}\"{error}, algs=\"{}\"", algorithms());
        let bearer = || {
            let scheme = if accepts_tokens { "Bearer" } else { "ApiKey" };
            format!("{scheme} realm=\"{realm}\"{error}")
        };
        let texts = match offer {
            ProofOffer::Unasked => vec![bearer()],
            ProofOffer::Beside => vec![bearer(), dpop()],
            ProofOffer::Only => vec![dpop()],
        };
        // RFC 7617 section 2.1. Who is known and not well enough is helped by no password.
        let is_step_up = refusal.denial().is_some_and(|denial| denial.step_up.is_some());
        if is_step_up || self.has_login || !self.authenticator.is_some_and(Authenticator::accepts_passwords) {
            return texts;
        }
        let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        // Without tokens there is no other scheme that a browser or a library would know.
        if accepts_tokens { texts.into_iter().chain([basic]).collect() } else { vec![basic] }
    }
}

const TOO_WEAK: &str = ", error=\"insufficient_user_authentication\", error_description=\"A stronger or more recent authentication is needed\"";

/// What was wrong, as parameters of a challenge.
fn error(denial: &Denial, accepts_tokens: bool) -> String {
    let Some(demand) = &denial.step_up else {
        let is_bad = denial.reason != Reason::AuthnMissing && accepts_tokens;
        return if is_bad { ", error=\"invalid_token\"".to_owned() } else { String::new() };
    };
    let quotable = |value: &&std::sync::Arc<str>| {
        value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    let acr: Vec<&str> = demand.acr_values.iter().filter(quotable).map(|value| &**value).collect();
    let mut text = TOO_WEAK.to_owned();
    if !acr.is_empty() {
        text.push_str(&format!(", acr_values=\"{}\"", acr.join(" ")));
    }
    if let Some(max_age) = demand.max_age_s {
        text.push_str(&format!(", max_age=\"{max_age}\""));
    }
    text
}
