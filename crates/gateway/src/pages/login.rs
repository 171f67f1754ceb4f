//! Login: to the provider, and back.

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use jiff::Timestamp;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::oidc::exchange::{ExchangeProblem, Tokens};
use portcullis_identity::oidc::{
    LoginState, Metadata, NotAdmitted, Place, Proof, RelyingParty, Replay, ReturnedProblem, Unreserved, Wanted, encoded,
};
use portcullis_identity::remote::Patience;
use portcullis_identity::session::{
    CookieKind, NoSession, Opening, SessionKey, clear_cookie, cookie_value, set_cookie,
    set_cookie_for_forms_from_elsewhere,
};
use portcullis_identity::settings::ResponseMode;
use portcullis_proxy::pages::{Judged, Markup, PageAnswer, PageRefusal, Visit, own_page};

use super::factors::Shown;
use super::password::{FormSecret, password_form, password_page};
use super::proof::ACTIVATION;
use super::{OwnPages, lead};
use crate::logins::waited;

/// How long the browser keeps what a login needs: as long as a login may take.
const LOGIN_AGE: std::time::Duration = std::time::Duration::from_secs(10 * 60);

impl OwnPages {
    /// `login?to=PLACE`, and `with=NAME` where there are several providers. Whoever has a session logs in anew: one that holds may be refused all the same, such as
    /// one that an alert has revoked. `prove=anew` has the provider ask again, and `prove=mfa` with a second factor, too.
    pub(super) async fn login(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let parameters = visit.parameters();
        let to = parameters.get("to").and_then(Place::parse).unwrap_or_else(Place::root);
        let proof = parameters.get("prove").map_or(Proof::Any, Proof::parse);
        let parties = visit.snapshot.authenticator.relying().all();
        let has_users = visit.snapshot.authenticator.accepts_passwords();
        // Whoever has to prove more does so where the session was opened.
        let before = self.session(visit).filter(|_| proof != Proof::Any && !parameters.has("with"));
        let before = before.map(|session| session.principal.authentication.provider.clone());
        let of_session = before.and_then(|name| parties.iter().find(|party| *party.settings().name == *name));
        let party = match (parameters.get("with"), of_session, parties) {
            (Some(name), _, _) => self.party(visit, name)?,
            (None, Some(party), _) => party,
            (None, None, []) if has_users => {
                return password_page(visit, &to, StatusCode::OK, None).map(PageAnswer::from);
            }
            (None, None, several) if has_users => return choice(visit, several, &to, proof),
            (None, None, [only]) => only,
            (None, None, []) => return Err(nobody()),
            (None, None, several) => return choice(visit, several, &to, proof),
        };
        let (address, cookie) = self.begun(visit, party, (to, proof, None)).await?;
        lead(&address, [cookie])
    }

    /// Begins a login at that provider, that proves this and, where there is an act, confirms just that: where it is, and the cookie that it needs.
    pub(super) async fn begun(
        &self,
        visit: &Visit,
        party: &RelyingParty,
        (to, proof, act): (Place, Proof, Option<Box<str>>),
    ) -> Result<(String, Option<HeaderValue>), PageRefusal> {
        let metadata = self.metadata(party).await?;
        let seal = self.seal(visit)?;
        let before = self.session(visit).map(|session| session.key);
        let wanted = Wanted { to, proof, acr: &visit.snapshot.policy.step_up().acr, before, act };
        let begun =
            party.begin(&metadata, &redirect_uri(visit, party), wanted, &seal, visit.now).map_err(|problem| {
                PageRefusal::new(
                    ReasonCode::InternalError,
                    format!("a login cannot be begun: {problem}"),
                    super::FAILED,
                )
            })?;
        let set = match party.settings().response_mode {
            ResponseMode::Query => set_cookie,
            // The form that the provider's page sends is one of another site.
            ResponseMode::FormPost => set_cookie_for_forms_from_elsewhere,
        };
        Ok((begun.address, set(CookieKind::Login, visit.is_secure, &begun.sealed, Some(LOGIN_AGE))))
    }

    async fn metadata(&self, party: &RelyingParty) -> Result<Arc<Metadata>, PageRefusal> {
        self.logins.metadata(party).await.map_err(|why| unreachable(party, &why))
    }

    /// `callback/NAME`: the browser comes back from that provider.
    pub(super) async fn callback(&self, visit: &Visit, name: &str) -> Result<PageAnswer, PageRefusal> {
        let party = self.party(visit, name)?;
        // Whatever came of it, it is not done twice; but where it was not begun, the same page may be loaded again.
        let forget = clear_cookie(CookieKind::Login, visit.is_secure);
        let returned = self.returned(visit, party).await.map_err(|problem| match problem {
            NoReturn::NotBegun(refusal) => refusal,
            NoReturn::Over(refusal) => refusal.with_cookie(forget.clone()),
        })?;
        let Entered { mut opening, place, tokens, before, act, proof } = returned;
        opening.host = Some(visit.authority.as_str().into());
        let principal = opening.principal.clone();
        let subject = opening.subject.clone();
        let (id, session, written) = self
            .sessions
            .open(opening, visit.now)
            .map_err(|problem| no_session(problem).with_cookie(forget.clone()))?;
        // What the browser had before is over: nobody can have planted the session that it has now. With a form of the provider's it does not show it.
        let shown = self.session(visit).map(|session| session.key);
        for before in shown.into_iter().chain(before.map(|before| self.sessions.current(&before))) {
            self.sessions.replace(&before);
        }
        self.logins.ask_again(session.key, party, &subject, tokens);
        let provider = &party.settings().name;
        self.tell(
            visit,
            EventKind::SessionOpened,
            Some(&session.principal),
            format!("{} has logged in by {provider}", principal.reference()),
        );
        // A session that a restart would forget is no danger.
        if let Err(error) = super::kept(written).await {
            tracing::warn!(error, "a session was opened that a restart would end");
        }
        let place = match act {
            Some(act) => self.with_proof(visit, &session, &place, (ACTIVATION, &act))?,
            None if proof != Proof::Any => self.to_factors_or(visit, &session, &place, Shown::Login)?,
            None => place.as_str().to_owned(),
        };
        let answer = lead(&place, [set_cookie(CookieKind::Session, visit.is_secure, &id.expose(), None), forget])?;
        Ok(answer.judged(Judged::Verified(Arc::clone(&session.principal))))
    }

    /// Whom the browser's return is a login of, and where it is led.
    async fn returned(&self, visit: &Visit, party: &Arc<RelyingParty>) -> Result<Entered, NoReturn> {
        let metadata = self.metadata(party).await?;
        let seal = self.seal(visit)?;
        let parameters = match party.settings().response_mode {
            ResponseMode::Query => visit.parameters(),
            ResponseMode::FormPost => visit.form(),
        };
        let returned = party
            .returned(
                metadata.names_itself,
                cookie_value(&visit.headers, CookieKind::Login, visit.is_secure),
                &seal,
                visit.now,
                |name| parameters.get(name),
                |name| parameters.has(name),
            )
            .map_err(|problem| refused(party, &problem))?;
        let login = &returned.login;
        // A login is ended once. It takes a place in what is remembered only once its provider has confirmed it: anybody can begin one.
        let second = || invalid(party, "the browser came back a second time from one login");
        let reserved =
            self.replays.reserve("login", login.reference(), visit.now).map_err(|problem| match problem {
                Unreserved::Used => NoReturn::Over(second()),
                // Somebody who waits loads the page again. It counts towards no ban.
                Unreserved::Taken => {
                    let message =
                        format!("a login at {} is ended already, and the browser asks again", party.settings().name);
                    NoReturn::NotBegun(PageRefusal::new(ReasonCode::AuthnExpired, message, UNDER_WAY))
                }
            })?;
        if *login.redirect_uri != *redirect_uri(visit, party) {
            let why = "the browser came back to another address than the login was begun with";
            return Err(invalid(party, why).into());
        }
        let (asked, with, exchanged) = (Arc::clone(party), Arc::clone(&metadata), returned.clone());
        // It goes to another thread, and is not small.
        let exchange = Box::pin(async move { asked.exchange(&with, &exchanged, Timestamp::now()).await });
        let (tokens, reserved) = match self.logins.run(visit.client.ip(), reserved, exchange).await {
            Some((Ok(tokens), reserved)) => (tokens, reserved),
            Some((Err(ExchangeProblem::Refused(why)), _)) => {
                return Err(invalid(party, &format!("the code of a login was not exchanged: {why}")).into());
            }
            Some((Err(ExchangeProblem::Unreachable(why)), _)) => return Err(unreachable(party, &why).into()),
            None => {
                let message = "too many logins end at once";
                return Err(NoReturn::NotBegun(PageRefusal::new(ReasonCode::LimitOverload, message, BUSY)));
            }
        };
        match reserved.take(login.ends(), visit.now) {
            Replay::First => {}
            Replay::Again => return Err(second().into()),
            Replay::Full => {
                let message = "more logins than can be told apart end at once";
                return Err(PageRefusal::new(ReasonCode::LimitOverload, message, BUSY).into());
            }
        }
        let opening = self.admitted(visit, party, login, &tokens).await?;
        let LoginState { to: place, before, act, proof, .. } = returned.login;
        Ok(Entered { opening, place, tokens, before, act, proof })
    }

    /// Whom the id token admits, where that proves what the login had to.
    async fn admitted(
        &self,
        visit: &Visit,
        party: &RelyingParty,
        login: &LoginState,
        tokens: &Tokens,
    ) -> Result<Opening, PageRefusal> {
        let Some(id_token) = &tokens.id_token else { return Err(invalid(party, "no id token came")) };
        let admit = |patience: Patience<'_>| party.admit(id_token.expose(), login, Timestamp::now(), patience);
        let mut admitted = admit(Patience::Request);
        if let Err(NotAdmitted::Awaited(mut awaited)) = admitted {
            // Whether it ended or took too long: what is there then counts.
            let _ = tokio::time::timeout(awaited.patience(), awaited.ended()).await;
            admitted = admit(waited(&awaited));
        }
        match admitted {
            // Whoever was led here for a second factor would be led here again.
            Ok(opening) if login.proof == Proof::Mfa && !is_mfa(visit, &opening) => {
                let message = format!(
                    "{} logged in at {} for a second factor, and its id token says of none that counts",
                    opening.principal.reference(),
                    party.settings().name
                );
                let refusal = PageRefusal::new(ReasonCode::StepUpRequired, message, NO_FACTOR);
                Err(PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal })
            }
            Ok(opening) => Ok(opening),
            Err(NotAdmitted::Rejected(problem)) => {
                let message = format!("the id token of {} is not accepted: {}", party.settings().name, problem.detail);
                Err(PageRefusal::new(problem.kind.into(), message, NOT_ACCEPTED))
            }
            Err(NotAdmitted::NoKeys(why)) => Err(unreachable(party, &why)),
            Err(NotAdmitted::Awaited(_)) => Err(unreachable(party, "its keys are not there")),
        }
    }
}

/// Where a provider sends browsers back to: at the host that this one came to, so that its cookies are there. The provider holds it against those
/// that it knows.
fn redirect_uri(visit: &Visit, party: &RelyingParty) -> String {
    format!("{}{}/callback/{}", visit.origin(), prefix(visit), party.settings().name)
}

pub(super) fn prefix(visit: &Visit) -> &str {
    visit.snapshot.settings.pages.as_ref().map_or("", |pages| &pages.prefix)
}

/// Whom a login has admitted, and where the browser is led.
struct Entered {
    opening: Opening,
    place: Place,
    tokens: Tokens,
    /// The session that the browser had when it began.
    before: Option<SessionKey>,
    /// What it was to confirm.
    act: Option<Box<str>>,
    /// What it had to prove.
    proof: Proof,
}

/// Why a browser's return is no login.
enum NoReturn {
    /// Nothing was asked about it: it may still be one.
    NotBegun(PageRefusal),
    /// It will not be one any more.
    Over(PageRefusal),
}

impl From<PageRefusal> for NoReturn {
    fn from(refusal: PageRefusal) -> Self {
        Self::Over(refusal)
    }
}

/// Whether the policy takes it for a second factor that was shown now.
fn is_mfa(visit: &Visit, opening: &Opening) -> bool {
    visit.snapshot.policy.is_mfa_fresh(&opening.principal, Timestamp::now())
}

fn nobody() -> PageRefusal {
    let message = "somebody wants to log in, and no provider is configured";
    PageRefusal::new(ReasonCode::RouteNotFound, message, "Nobody can log in here.")
}

/// The page on which somebody says where to log in.
fn choice(visit: &Visit, parties: &[Arc<RelyingParty>], to: &Place, proof: Proof) -> Result<PageAnswer, PageRefusal> {
    let mut main = Markup::default().tag("<p>Log in with one of these:</p>\n<ul>\n");
    for party in parties {
        let settings = party.settings();
        let prove = if proof == Proof::Any { String::new() } else { format!("&prove={}", proof.as_str()) };
        let name = encoded(&settings.name);
        let link = format!("{}/login?with={name}&to={}{prove}", prefix(visit), encoded(to.as_str()));
        main = main.tag("<li><a href=\"").text(&link).tag("\">").text(&settings.label).tag("</a></li>\n");
    }
    let main = main.tag("</ul>\n");
    if visit.snapshot.authenticator.accepts_passwords() {
        let secret = FormSecret::of(visit)?;
        let main = password_form(main.tag("<p>Or with a name and a password:</p>\n"), visit, to, &secret);
        return Ok(secret.with(own_page(StatusCode::OK, "Log in", main, "'self'", false)).into());
    }
    Ok(own_page(StatusCode::OK, "Log in", main, "'none'", false).into())
}

fn refused(party: &RelyingParty, problem: &ReturnedProblem) -> PageRefusal {
    let said = match problem {
        ReturnedProblem::TooLate | ReturnedProblem::NoLogin | ReturnedProblem::OtherState => OVER,
        ReturnedProblem::Refused(_) => "The login was not completed at the provider.",
        ReturnedProblem::OtherProvider
        | ReturnedProblem::OtherIssuer
        | ReturnedProblem::NoIssuer
        | ReturnedProblem::Malformed => NOT_ACCEPTED,
    };
    let code = match problem {
        // It happens to honest people: several tabs, the way back, a pause. It counts towards no ban.
        ReturnedProblem::TooLate | ReturnedProblem::NoLogin | ReturnedProblem::OtherState => ReasonCode::AuthnExpired,
        ReturnedProblem::OtherIssuer | ReturnedProblem::NoIssuer => ReasonCode::AuthnWrongIssuer,
        ReturnedProblem::OtherProvider | ReturnedProblem::Malformed | ReturnedProblem::Refused(_) => {
            ReasonCode::AuthnInvalid
        }
    };
    PageRefusal::new(code, format!("a login at {} failed: {problem}", party.settings().name), said)
}

fn invalid(party: &RelyingParty, why: &str) -> PageRefusal {
    let message = format!("a login at {} failed: {why}", party.settings().name);
    PageRefusal::new(ReasonCode::AuthnInvalid, message, NOT_ACCEPTED)
}

fn unreachable(party: &RelyingParty, why: &str) -> PageRefusal {
    let message = format!("nobody can log in at {} now: {why}", party.settings().name);
    PageRefusal::new(ReasonCode::DependencyKeysUnavailable, message, UNREACHABLE)
}

pub(super) fn no_session(problem: NoSession) -> PageRefusal {
    let code = match problem {
        NoSession::Full => ReasonCode::LimitOverload,
        NoSession::NoRandomness => ReasonCode::InternalError,
    };
    PageRefusal::new(code, format!("a login succeeded, and there is no session for it: {problem}"), BUSY)
}

const OVER: &str = "This login is not under way any more: it took too long, or another one was begun in this browser. Go back to where you \
                    wanted to go, and log in again.";
const UNDER_WAY: &str = "This login is being completed already. Wait a moment, and load this page again.";
const NOT_ACCEPTED: &str = "The login was not accepted. Go back to where you wanted to go, and log in again.";
const NO_FACTOR: &str = "The place where you log in did not ask you for a second factor, which what you wanted needs.";
const UNREACHABLE: &str = "The place where you would log in does not answer now. Try again later.";
const BUSY: &str = "The gateway has too much to do. Try again in a moment.";
