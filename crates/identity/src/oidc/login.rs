//! A login: where a browser is sent, what it keeps for us, and what it may come back with.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::url::with_parameters;
use super::{Metadata, RelyingParty};
use crate::session::{SealKey, SealProblem, SessionKey};
use crate::settings::ResponseMode;
use crate::strict_json;

/// How long somebody may take to log in.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How far a provider's clock may be behind.
const BEHIND: SignedDuration = SignedDuration::from_secs(60);
/// What the state of a login is sealed for.
const PURPOSE: &str = "login";

/// A place on this very host that somebody is led to: a path with a query, and nothing that a browser could take for another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The longest place, in bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// `None` for what is not one, two spellings of another host included: browsers take `\` for `/`, and leave out tabs and line feeds.
    pub fn parse(text: &str) -> Option<Self> {
        let is_local = text.starts_with('/') && !text.starts_with("//");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        (is_local && is_plain && text.len() <= Self::MAX_BYTES).then(|| Self(text.to_owned()))
    }

    /// The root of the host.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// As a `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a login has to prove beyond who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proof {
    /// Nothing: a provider that still knows the browser may let it pass unasked.
    #[default]
    Any,
    /// Whoever is logged in there authenticates anew.
    Anew,
    /// The same, with a second factor.
    Mfa,
}

impl Proof {
    /// As a parameter has it; whatever else stands there means nothing.
    pub fn parse(text: &str) -> Self {
        match text {
            "anew" => Self::Anew,
            "mfa" => Self::Mfa,
            _ => Self::Any,
        }
    }

    /// As a parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Anew => "anew",
            Self::Mfa => "mfa",
        }
    }
}

/// What a login is for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Where it leads in the end.
    pub to: Place,
    /// What it has to prove.
    pub proof: Proof,
    /// The `acr_values` that count as a second factor, where one has to be proven: asked for before those that are configured.
    pub acr: &'a [Arc<str>],
    /// The session that the browser has now, and that ends with the login. Where the provider's answer comes as a form, the browser does not show it then.
    pub before: Option<SessionKey>,
    /// The one act that it is to confirm, by a name that whoever began it gave.
    pub act: Option<Box<str>>,
}

impl Wanted<'_> {
    /// A login that leads there, and proves nothing beyond who it is.
    pub fn to(to: Place) -> Self {
        Self { to, proof: Proof::Any, acr: &[], before: None, act: None }
    }
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser is sent.
    pub address: String,
    /// What it keeps for us, sealed: the value of a cookie.
    pub sealed: String,
}

/// What is to be known when the browser comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginState {
    /// The provider that was asked.
    pub provider: Box<str>,
    /// The `nonce` of the id token.
    pub nonce: Box<str>,
    /// What proves to the provider that whoever exchanges the code has begun the login (RFC 7636).
    pub verifier: Box<str>,
    /// Where the provider sends the browser back to.
    pub redirect_uri: Box<str>,
    /// Where the browser is led in the end.
    pub to: Place,
    /// What it has to prove.
    pub proof: Proof,
    /// The session that the browser had when it began.
    pub before: Option<SessionKey>,
    /// The one act that it confirms.
    pub act: Option<Box<str>>,
    state: Box<str>,
    began: Timestamp,
}

/// What a browser came back with: a code that is to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The code.
    pub code: Box<str>,
    /// The login that it is for.
    pub login: LoginState,
}

/// Why a browser's return is no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReturnedProblem {
    /// There is no cookie of a login under way, or not one of ours.
    #[error("no login is under way in this browser, or its cookie is not one that this gateway sealed")]
    NoLogin,
    /// It took too long.
    #[error("the login took longer than ten minutes")]
    TooLate,
    /// It is for another login: an old one, or one that somebody else has begun.
    #[error("the `state` is not that of the login that is under way in this browser")]
    OtherState,
    /// It came to the address of another provider.
    #[error("it came back to the address of another provider than the one that was asked")]
    OtherProvider,
    /// Another provider says that it sent it (RFC 9207).
    #[error("the answer names another issuer than the provider that was asked: a mix-up, or an attack by one")]
    OtherIssuer,
    /// The provider says that it always names itself, and this does not.
    #[error("the answer has no `iss`, and the provider says that it always names itself")]
    NoIssuer,
    /// A parameter is there twice, or neither a code nor an error is there.
    #[error("the answer has neither a code nor an error, or a parameter twice")]
    Malformed,
    /// The provider refused: its words, cut and escaped.
    #[error("the provider answered {0}")]
    Refused(String),
}

impl RelyingParty {
    /// Begins a login that comes back to `redirect_uri`. Where somebody has to authenticate anew, the provider is asked for that (`prompt=login`), and to say when it was
    /// (`max_age=0`: then it must; OpenID Connect Core 1.0, section 3.1.2.1).
    ///
    /// # Errors
    /// It cannot be sealed; or the system gives no random bytes.
    pub fn begin(
        &self,
        metadata: &Metadata,
        redirect_uri: &str,
        wanted: Wanted<'_>,
        seal: &SealKey,
        now: Timestamp,
    ) -> Result<Begun, SealProblem> {
        let random = || {
            let mut bytes = [0; 32];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SealProblem::Failed)?;
            Ok::<_, SealProblem>(BASE64URL_NOPAD.encode(&bytes))
        };
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref());
        let settings = self.settings();
        let mut scopes = vec!["openid"];
        scopes.extend(settings.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"));
        let scope = scopes.join(" ");
        let Wanted { to, proof, acr, before, act } = wanted;
        let acr = if proof == Proof::Mfa { acr } else { &[] };
        let demanded = acr.iter().map(|acr| &**acr);
        let configured =
            settings.acr_values.iter().map(String::as_str).filter(|value| !acr.iter().any(|acr| **acr == **value));
        let acr_values = demanded.chain(configured).collect::<Vec<_>>().join(" ");
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", settings.client_id.as_str()),
            ("redirect_uri", redirect_uri),
            ("scope", scope.as_str()),
            ("state", state.as_str()),
            ("nonce", nonce.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        if settings.response_mode == ResponseMode::FormPost {
            parameters.push(("response_mode", "form_post"));
        }
        if !acr_values.is_empty() {
            parameters.push(("acr_values", &acr_values));
        }
        if proof != Proof::Any {
            parameters.extend([("prompt", "login"), ("max_age", "0")]);
        }
        let address = with_parameters(&metadata.authorization_endpoint, parameters);
        let login = LoginState {
            provider: Box::from(&*settings.name),
            nonce: nonce.into(),
            verifier: verifier.into(),
            redirect_uri: redirect_uri.into(),
            to,
            proof,
            before,
            act,
            state: state.into(),
            began: now,
        };
        Ok(Begun { address, sealed: seal.seal(login.written().as_bytes(), PURPOSE)? })
    }

    /// Judges what a browser came back with to this provider's address. `parameter`: the value of one that is there once; `is_there`: whether it is, however
    /// often.
    ///
    /// # Errors
    /// [`ReturnedProblem`]
    pub fn returned<'p>(
        &self,
        names_itself: bool,
        cookie: Option<&str>,
        seal: &SealKey,
        now: Timestamp,
        parameter: impl Fn(&str) -> Option<&'p str>,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<Returned, ReturnedProblem> {
        let opened = cookie.and_then(|cookie| seal.open(cookie, PURPOSE)).ok_or(ReturnedProblem::NoLogin)?;
        let login = LoginState::read(&opened).ok_or(ReturnedProblem::NoLogin)?;
        if now < login.began || now >= login.began.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX) {
            return Err(ReturnedProblem::TooLate);
        }
        let state = parameter("state").ok_or(ReturnedProblem::OtherState)?;
        if !bool::from(state.as_bytes().ct_eq(login.state.as_bytes())) {
            return Err(ReturnedProblem::OtherState);
        }
        let settings = self.settings();
        if *login.provider != *settings.name {
            return Err(ReturnedProblem::OtherProvider);
        }
        match parameter("iss") {
            Some(issuer) if *issuer == *settings.issuer => {}
            Some(_) => return Err(ReturnedProblem::OtherIssuer),
            None if is_there("iss") => return Err(ReturnedProblem::Malformed),
            None if names_itself => return Err(ReturnedProblem::NoIssuer),
            None => {}
        }
        if is_there("error") {
            let said = parameter("error").unwrap_or_default();
            return Err(ReturnedProblem::Refused(crate::refusal::excerpt(said)));
        }
        let code = parameter("code").filter(|code| !code.is_empty()).ok_or(ReturnedProblem::Malformed)?;
        Ok(Returned { code: code.into(), login })
    }
}

impl LoginState {
    fn written(&self) -> String {
        json!({
            "p": self.provider, "n": self.nonce, "v": self.verifier, "r": self.redirect_uri,
            "t": self.to.as_str(), "f": self.proof.as_str(), "s": self.state, "b": self.began.as_microsecond(),
            "x": self.before.map(|key| BASE64URL_NOPAD.encode(key.as_bytes())), "a": self.act,
        })
        .to_string()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let object = strict_json::parse_object(bytes).ok()?;
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        Some(Self {
            provider: text("p")?.into(),
            nonce: text("n")?.into(),
            verifier: text("v")?.into(),
            redirect_uri: text("r")?.into(),
            to: Place::parse(text("t")?)?,
            // One that another version began says nothing of it.
            proof: text("f").map_or(Proof::Any, Proof::parse),
            before: text("x")
                .and_then(|key| BASE64URL_NOPAD.decode(key.as_bytes()).ok()?.try_into().ok())
                .map(SessionKey::from_bytes),
            act: text("a").map(Into::into),
            state: text("s")?.into(),
            began: object.get("b").and_then(Value::as_i64).and_then(|at| Timestamp::from_microsecond(at).ok())?,
        })
    }

    #[cfg(test)]
    pub(super) fn for_test(nonce: &str, proof: Proof, began: Timestamp) -> Self {
        let (provider, verifier, redirect_uri, state) = <(Box<str>, Box<str>, Box<str>, Box<str>)>::default();
        Self {
            provider,
            nonce: nonce.into(),
            verifier,
            redirect_uri,
            to: Place::root(),
            proof,
            before: None,
            act: None,
            state,
            began,
        }
    }

    /// Whether an authentication at this time is one that was made for this login. The provider's clock may be behind by a minute.
    pub(super) fn is_since(&self, auth_time: Timestamp) -> bool {
        auth_time >= self.began.saturating_sub(BEHIND).unwrap_or(Timestamp::MIN)
    }

    /// What a login is known by when it must not be done twice.
    pub fn reference(&self) -> &str {
        &self.state
    }

    /// Until when it can be ended.
    pub fn ends(&self) -> Timestamp {
        self.began.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX)
    }
}
