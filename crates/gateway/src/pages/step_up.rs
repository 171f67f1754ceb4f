//! Step-up: a session that has to show a second factor shows one, and goes back to where it was.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::mfa::factor::FactorKind;
use portcullis_identity::mfa::webauthn::{Assertion, Challenge};
use portcullis_identity::mfa::{FactorRefusal, Passed, Question};
use portcullis_identity::oidc::{Place, encoded};
use portcullis_identity::session::{CookieKind, FormToken, Session, cookie_value, fits, set_cookie};
use portcullis_proxy::pages::{Fields, Judged, Markup, PageAnswer, PageRefusal, Visit, own_page};

use super::factors::Shown;
use super::login::prefix;
use super::{OwnPages, kept, lead};
use crate::factoring::{Unasked, failure};

/// What the forms' token is for.
const PURPOSE: &str = "step-up";

/// What is found of somebody's factors, for a page.
pub(super) struct Offered {
    codes: bool,
    pub(super) passkeys: Option<Question>,
    /// There is any factor.
    pub(super) is_known: bool,
    /// When the first of those that there are was added.
    pub(super) oldest: Option<Timestamp>,
}

impl OwnPages {
    /// `step-up?return=PLACE`: the page that asks for a factor.
    pub(super) async fn ask_for_factor(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let to = place(&visit.parameters());
        let Some(session) = self.session_in_good_standing(visit)? else { return to_login(visit, &to) };
        self.factor_page(visit, &session, &to, StatusCode::OK, None).await.map(PageAnswer::from)
    }

    /// The factor is shown: a code, or what an authenticator has signed.
    pub(super) async fn show_factor(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let form = visit.form();
        let to = place(&form);
        let Some(session) = self.session_in_good_standing(visit)? else { return to_login(visit, &to) };
        check_token(visit, &form, PURPOSE)?;
        match self.look_at_factor(visit, &session, &form, asker(&session)).await? {
            Ok(passed) => self.stepped_up(visit, &session, &passed, &to).await,
            Err(refusal) => {
                let (status, said) = told(&refusal)?;
                let page = self.factor_page(visit, &session, &to, status, Some(&said)).await?;
                Ok(not_passed(page, &session, &refusal))
            }
        }
    }

    /// Whether what a form shows is a factor of the session's principal: a code, or what an authenticator has signed for this asker. One that is not is an event.
    pub(super) async fn look_at_factor(
        &self,
        visit: &Visit,
        session: &Session,
        form: &Fields,
        asker: String,
    ) -> Result<Result<Passed, FactorRefusal>, PageRefusal> {
        let (principal, now) = (session.principal.reference(), visit.now);
        let passed = if let Some(code) = form.get("code").map(str::to_owned) {
            self.factors.ask(move |factors| factors.verify_code(&principal, &code, now)).await
        } else {
            let used = Used::of(form).ok_or_else(|| malformed("a form that needs a factor without one"))?;
            let verify = move |factors: &portcullis_identity::mfa::SecondFactors| {
                factors.verify_passkey((&principal, &asker), &used.challenge, used.assertion(), now)
            };
            self.factors.ask(verify).await
        };
        let passed = passed.map_err(unasked)?;
        if let Err(refusal) = &passed {
            self.tell_failure(visit, session, refusal);
        }
        Ok(passed)
    }

    /// The session has the factor from now on, under another id.
    async fn stepped_up(
        &self,
        visit: &Visit,
        session: &Session,
        passed: &Passed,
        to: &Place,
    ) -> Result<PageAnswer, PageRefusal> {
        let gone = || PageRefusal::new(ReasonCode::AuthnExpired, "the session ended meanwhile", "The session is over.");
        // First: whoever has the old id has shown nothing.
        let (id, session, rotated) = self.sessions.rotate(&session.key, visit.now).ok_or_else(gone)?;
        let (session, raised) = self.sessions.raise(&session.key, passed.kind.method(), visit.now).ok_or_else(gone)?;
        let principal = session.principal.reference();
        let left = passed.left.map_or_else(String::new, |left| format!("; {left} recovery codes are left"));
        let message = format!("{principal} has shown a second factor: {}{left}", passed.kind.as_str());
        self.tell(visit, EventKind::AuthStepUp, Some(&session.principal), message);
        for written in [rotated, raised] {
            // A factor that a restart would forget is no danger.
            if let Err(error) = kept(written).await {
                tracing::warn!(error, "a session was raised, and a restart would forget it");
            }
        }
        let place = self.to_factors_or(visit, &session, to, Shown::Factor)?;
        let answer = lead(&place, [set_cookie(CookieKind::Session, visit.is_secure, &id.expose(), None)])?;
        Ok(answer.judged(Judged::Verified(Arc::clone(&session.principal))))
    }

    /// Records an attempt that failed, also each one that comes while it is locked. That it is locked is said once, by the one that locked it.
    pub(super) fn tell_failure(&self, visit: &Visit, session: &Session, refusal: &FactorRefusal) {
        let message = failure(&session.principal.reference(), refusal);
        let kind =
            if matches!(refusal, FactorRefusal::Locking(..)) { EventKind::AuthLocked } else { EventKind::AuthFailed };
        self.tell(visit, kind, Some(&session.principal), message);
    }

    async fn factor_page(
        &self,
        visit: &Visit,
        session: &Session,
        to: &Place,
        status: StatusCode,
        said: Option<&str>,
    ) -> Result<Response<Full<Bytes>>, PageRefusal> {
        let offered = self.offered(visit, session, asker(session)).await?;
        let mut main = Markup::default();
        if let Some(said) = said {
            main = main.tag("<p role=\"alert\">").text(said).tag("</p>\n");
        }
        if !offered.is_known {
            let main = main
                .tag("<p>What you asked for needs a second factor, and you have none yet.</p>\n<p><a href=\"")
                .text(&format!("{}/factors", prefix(visit)))
                .tag("\">Add one</a></p>\n");
            return Ok(own_page(status, "A second factor is needed", main, "'self'", false));
        }
        main = main.tag("<p>What you asked for needs a second factor.</p>\n");
        let action = format!("{}/step-up", prefix(visit));
        let token = FormToken::of(own_cookie(visit), PURPOSE);
        let begun = |main: Markup| main.hidden("token", token.as_str()).hidden("return", to.as_str());
        main = factor_forms(main, visit, &action, &offered, begun);
        Ok(own_page(status, "A second factor is needed", main, "'self'", offered.passkeys.is_some()))
    }

    /// What may be shown. A passkey answers for this asker alone.
    pub(super) async fn offered(
        &self,
        visit: &Visit,
        session: &Session,
        asker: String,
    ) -> Result<Offered, PageRefusal> {
        let (principal, now) = (session.principal.reference(), visit.now);
        let found = self.factors.ask(move |factors| {
            let list = factors.list(&principal)?;
            let codes = list.iter().any(|factor| factor.kind != FactorKind::Passkey);
            let passkeys = match factors.ask_for_passkey(&principal, &asker, now) {
                Ok(question) => Some(question),
                Err(FactorRefusal::None | FactorRefusal::Off | FactorRefusal::TooMany) => None,
                Err(other) => return Err(other),
            };
            let oldest = list.iter().map(|factor| factor.created).min();
            Ok(Offered { codes, passkeys, is_known: !list.is_empty(), oldest })
        });
        found.await.map_err(unasked)?.map_err(|refusal| outage(&refusal))
    }
}

/// The forms that a factor is shown in. `begun` adds their other fields.
pub(super) fn factor_forms(
    mut main: Markup,
    visit: &Visit,
    action: &str,
    offered: &Offered,
    begun: impl Fn(Markup) -> Markup,
) -> Markup {
    if let Some(question) = &offered.passkeys {
        main = begun(passkey_form(main, action, question, None));
        main = main
            .tag("<input type=\"hidden\" name=\"authenticator_data\"><input type=\"hidden\" name=\"signature\">\n")
            .tag(
                "<button type=\"submit\">Use a passkey</button>\n</form>\n<p id=\"passkey-said\" role=\"alert\"></p>\n",
            );
        main = script(main, visit);
    }
    if offered.codes {
        main = begun(main.tag("<form method=\"post\" action=\"").text(action).tag("\">\n"));
        main = main
            .tag("<label>Code of your app, or a recovery code <input name=\"code\" autocomplete=\"one-time-code\" ")
            .tag("autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"40\" required autofocus></label>\n")
            .tag("<button type=\"submit\">Continue</button>\n</form>\n");
    }
    main
}

/// The page that says so, and what came of the attempt.
pub(super) fn not_passed(mut page: Response<Full<Bytes>>, session: &Session, refusal: &FactorRefusal) -> PageAnswer {
    if let FactorRefusal::Locked(seconds) = refusal {
        page.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    let answer = PageAnswer::from(page);
    match failed(refusal) {
        // Nobody has proven to be this principal: who has the first factor may have stolen it.
        Some(code) => answer.judged(Judged::Failed { code, attempted: Some(session.principal.id.clone()) }),
        None => answer,
    }
}

/// What a browser sends of a passkey that was used.
struct Used {
    challenge: Challenge,
    credential: Vec<u8>,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

impl Used {
    fn of(form: &Fields) -> Option<Self> {
        Some(Self {
            challenge: Challenge::parse(form.get("challenge")?)?,
            credential: bytes(form, "credential")?,
            client_data: bytes(form, "client_data")?,
            authenticator_data: bytes(form, "authenticator_data")?,
            signature: bytes(form, "signature")?,
        })
    }

    fn assertion(&self) -> Assertion<'_> {
        Assertion {
            credential: &self.credential,
            client_data: &self.client_data,
            authenticator_data: &self.authenticator_data,
            signature: &self.signature,
        }
    }
}

/// A field in base64url.
pub(super) fn bytes(form: &Fields, name: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64URL_NOPAD.decode(form.get(name)?.as_bytes()).ok()
}

/// The beginning of a form that the script fills in. `user`: whom a new passkey is for.
pub(super) fn passkey_form(main: Markup, action: &str, question: &Question, user: Option<(&str, &str)>) -> Markup {
    let known: Vec<String> = question.credentials.iter().map(|id| data_encoding::BASE64URL_NOPAD.encode(id)).collect();
    let mut main = main
        .tag("<form method=\"post\" id=\"passkey\" action=\"")
        .text(action)
        .tag("\" data-challenge=\"")
        .text(&question.challenge.base64url())
        .tag("\" data-party=\"")
        .text(&question.party.id)
        .tag("\" data-party-name=\"")
        .text(&question.party.name)
        .tag("\" data-credentials=\"")
        .text(&known.join(" "));
    if let Some((user, account)) = user {
        let algorithms = portcullis_identity::mfa::webauthn::ALGORITHMS.map(|number| number.to_string()).join(" ");
        main = main
            .tag("\" data-make=\"yes\" data-user=\"")
            .text(user)
            .tag("\" data-account=\"")
            .text(account)
            .tag("\" data-algorithms=\"")
            .text(&algorithms);
    }
    main.tag("\">\n")
        .hidden("challenge", &question.challenge.base64url())
        .tag("<input type=\"hidden\" name=\"credential\"><input type=\"hidden\" name=\"client_data\">\n")
}

/// The script of the pages. What it does is in a file of its own, for no script may stand in a page.
pub(super) fn script(main: Markup, visit: &Visit) -> Markup {
    main.tag("<script src=\"").text(&format!("{}/passkey.js", prefix(visit))).tag("\"></script>\n")
}

/// The script itself.
pub(super) fn passkey_script() -> PageAnswer {
    let mut answer = Response::new(Full::new(Bytes::from_static(include_bytes!("passkey.js"))));
    let script = HeaderValue::from_static("text/javascript; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, script);
    answer.into()
}

/// From where a challenge must be answered: this session, by its hash.
pub(super) fn asker(session: &Session) -> String {
    data_encoding::HEXLOWER.encode(session.key.as_bytes())
}

/// Where the visitor wants to go, if that is here.
fn place(fields: &Fields) -> Place {
    fields.get("return").and_then(Place::parse).unwrap_or_else(Place::root)
}

/// Whoever has no session logs in first, and comes back to be asked.
pub(super) fn to_login(visit: &Visit, to: &Place) -> Result<PageAnswer, PageRefusal> {
    lead(&format!("{}/login?to={}", prefix(visit), encoded(to.as_str())), [])
}

pub(super) fn own_cookie(visit: &Visit) -> &str {
    cookie_value(&visit.headers, CookieKind::Session, visit.is_secure).unwrap_or_default()
}

/// That the form was sent by a page of ours.
pub(super) fn check_token(visit: &Visit, form: &Fields, purpose: &'static str) -> Result<(), PageRefusal> {
    if form.get("token").is_some_and(|token| fits(token, own_cookie(visit), purpose)) {
        return Ok(());
    }
    Err(from_elsewhere(purpose))
}

/// Nobody knows who sent the form.
pub(super) fn from_elsewhere(purpose: &str) -> PageRefusal {
    let message = format!("a form of {purpose} without the token of its page: another site may have sent it");
    let said = "This form was not sent by a page of this place. Go back to where you wanted to go, and try again.";
    let refusal = PageRefusal::new(ReasonCode::RequestMalformed, message, said);
    PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal }
}

/// What a factor that was not accepted counts as; `None`: nothing was tried.
fn failed(refusal: &FactorRefusal) -> Option<ReasonCode> {
    match refusal {
        FactorRefusal::Wrong | FactorRefusal::Replayed | FactorRefusal::Locking(..) | FactorRefusal::Passkey(_) => {
            Some(ReasonCode::AuthnInvalid)
        }
        FactorRefusal::Locked(_) => Some(ReasonCode::LimitRate),
        FactorRefusal::None
        | FactorRefusal::TooLate
        | FactorRefusal::TooMany
        | FactorRefusal::Known
        | FactorRefusal::Off
        | FactorRefusal::BadName
        | FactorRefusal::Unusable(_)
        | FactorRefusal::Store(_)
        | FactorRefusal::NoRandomness => None,
    }
}

pub(super) fn malformed(message: &str) -> PageRefusal {
    PageRefusal::new(ReasonCode::RequestMalformed, message, "The form is not complete.")
}

/// Nobody was asked.
pub(super) fn unasked(why: Unasked) -> PageRefusal {
    match why {
        Unasked::Off => PageRefusal::new(
            ReasonCode::RouteNotFound,
            "a page of second factors was asked for, and there is no [mfa]",
            super::NOTHING,
        ),
        Unasked::Busy => PageRefusal::new(
            ReasonCode::LimitOverload,
            "more second factors are asked for than the store can answer",
            "Try again in a moment.",
        ),
    }
}

/// Nothing is known, and so nothing is refused.
pub(super) fn outage(refusal: &FactorRefusal) -> PageRefusal {
    PageRefusal::new(
        ReasonCode::DependencyStoreUnavailable,
        format!("second factors cannot be looked at: {refusal}"),
        "Second factors cannot be looked at now. Try again later.",
    )
}

/// The status and the words for a factor that was not accepted. Who guesses is not told whether a code was used already.
pub(super) fn told(refusal: &FactorRefusal) -> Result<(StatusCode, String), PageRefusal> {
    let said = match refusal {
        FactorRefusal::Wrong | FactorRefusal::Replayed | FactorRefusal::Locking(..) => {
            "That code was not accepted. Wait for the next one, and try again."
        }
        FactorRefusal::Locked(seconds) => {
            let said = format!("Too many codes were wrong. Try again in {} minutes.", seconds.div_ceil(60));
            return Ok((StatusCode::TOO_MANY_REQUESTS, said));
        }
        FactorRefusal::Passkey(_) => "That passkey was not accepted.",
        FactorRefusal::None | FactorRefusal::Off => "There is no such factor.",
        FactorRefusal::TooLate => "That took too long, or was begun elsewhere. Try again.",
        FactorRefusal::TooMany => "You have as many factors as there can be. Remove one first.",
        FactorRefusal::Known => "That passkey is there already.",
        FactorRefusal::BadName => "A name has 1 to 64 characters.",
        FactorRefusal::Unusable(_) | FactorRefusal::Store(_) | FactorRefusal::NoRandomness => {
            return Err(outage(refusal));
        }
    };
    Ok((StatusCode::FORBIDDEN, said.to_owned()))
}
