//! The gateway's own pages: login, its end, and who one is. The door to them is `proxy`'s.
//!
//! | page | |
//! |---|---|
//! | `login` | leads to a provider, or asks which; and for local users the form for a name and a password |
//! | `callback/NAME` | where that provider sends the browser back to |
//! | `logout`, `logged-out` | ends the session, here and at the provider |
//! | `backchannel-logout/NAME` | where that provider says that a session is over |
//! | `frontchannel-logout/NAME` | the same in a frame of a browser, where the configuration wants that |
//! | `step-up`, `factors`, `passkey.js` | a second factor is shown, added, removed |
//! | `whoami` | what is known of the caller, where the configuration wants that |
//! | `access-requests`, `activations` | access that was refused is asked for, and what one is eligible for activated, where the configuration wants that |
//! | `access` | a person does both, with a second factor for each activation, at a host where nothing but these pages is |

mod access;
mod factors;
mod login;
mod logout;
mod password;
mod persons;
mod proof;
mod step_up;
mod visits;
mod whoami;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::oidc::{RelyingParty, Replays};
use portcullis_identity::session::{CookieKind, Found, SealKey, Session, SessionId, Sessions, Written, cookie_value};
use portcullis_identity::settings::ResponseMode;
use portcullis_policy::Principal;
use portcullis_proxy::Shared;
use portcullis_proxy::pages::{ACCESS, PageAnswer, PageRefusal, Pages, Visit, may_be_navigation};
use tokio::sync::Semaphore;

use crate::factoring::Factors;
use crate::lending::Lender;
use crate::logins::{Logins, session_event};

/// How long it is waited for that the store has what was ended.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// What makes the pages.
#[derive(Debug)]
pub(crate) struct OwnPages {
    shared: Weak<Shared>,
    sessions: Arc<Sessions>,
    logins: Arc<Logins>,
    factors: Arc<Factors>,
    lender: Weak<Lender>,
    /// How many ask for access, or look at what they asked, at once.
    asking: Arc<Semaphore>,
    visits: visits::Visits,
    /// Seals where the configuration has no key for it; `None`: there are no random bytes.
    seal: Option<Arc<SealKey>>,
    /// Logins that were ended, and logouts that providers told: apart, so that nobody who begins logins keeps a logout from counting.
    replays: Arc<Replays>,
    told: Replays,
}

impl OwnPages {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        sessions: &Arc<Sessions>,
        logins: &Arc<Logins>,
        factors: &Arc<Factors>,
        lender: &Arc<Lender>,
    ) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            sessions: Arc::clone(sessions),
            logins: Arc::clone(logins),
            factors: Arc::clone(factors),
            lender: Arc::downgrade(lender),
            asking: Arc::new(Semaphore::new(access::AT_ONCE)),
            visits: visits::Visits::default(),
            seal: SealKey::random().map(Arc::new),
            replays: Arc::default(),
            told: Replays::default(),
        }
    }
}

impl Pages for OwnPages {
    fn takes_forms_from_elsewhere(&self, visit: &Visit) -> bool {
        // It is the provider's, and holds by what the browser's cookie has sealed.
        visit.page.strip_prefix("callback/").is_some_and(|name| is_answered_by(visit, name, &Method::POST))
    }

    fn answer(self: Arc<Self>, visit: Visit) -> Pin<Box<dyn Future<Output = PageAnswer>>> {
        Box::pin(async move { self.turn(&visit).await.unwrap_or_else(PageAnswer::from) })
    }
}

impl OwnPages {
    async fn turn(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let (page, rest) = visit.page.split_once('/').unwrap_or((&visit.page, ""));
        if let Some(principal) = &visit.principal {
            return match (page, rest) {
                (ACCESS, "") => self.persons_page(visit, principal).await,
                _ => self.access(visit, principal, page, rest).await,
            };
        }
        if visit.snapshot.settings.pages.as_ref().is_none_or(|pages| !pages.login) {
            return Err(no_such_page());
        }
        let is_on = |page: &str| page != "whoami" || visit.snapshot.authenticator.login().is_some_and(|it| it.whoami);
        match (page, rest, &visit.method) {
            ("login", "", &Method::GET) => {
                is_gone_to(visit)?;
                self.login(visit).await
            }
            ("login", "", &Method::POST) if visit.snapshot.authenticator.accepts_passwords() => {
                self.log_in_with_password(visit).await
            }
            ("step-up", "", &Method::GET) => self.ask_for_factor(visit).await,
            ("step-up", "", &Method::POST) => self.show_factor(visit).await,
            ("factors", "", &Method::GET) => self.list_factors(visit).await,
            ("factors", "", &Method::POST) => self.change_factors(visit).await,
            ("passkey.js", "", &Method::GET) => Ok(step_up::passkey_script()),
            ("callback", name, method) if is_answered_by(visit, name, method) => {
                is_gone_to(visit)?;
                self.callback(visit, name).await
            }
            ("logout", "", &Method::GET) => Ok(self.ask_to_log_out(visit)),
            ("logout", "", &Method::POST) => self.log_out(visit).await,
            ("logged-out", "", &Method::GET) => Ok(logout::done()),
            ("backchannel-logout", name, &Method::POST) => self.logged_out_elsewhere(visit, name).await,
            ("frontchannel-logout", name, &Method::GET) => self.logged_out_in_a_frame(visit, name).await,
            ("whoami", "", &Method::GET) if is_on("whoami") => Ok(whoami::whoami(visit)),
            ("login" | "logout" | "logged-out" | "whoami" | "step-up" | "factors" | "passkey.js", "", _)
            | ("callback" | "backchannel-logout" | "frontchannel-logout", _, _)
                if is_on(page) =>
            {
                Err(not_there_for(&visit.method))
            }
            _ => Err(no_such_page()),
        }
    }

    /// What seals the state of logins: the configuration's key, or that of this process.
    fn seal(&self, visit: &Visit) -> Result<Arc<SealKey>, PageRefusal> {
        let configured = visit.snapshot.authenticator.login().and_then(|login| login.key.as_ref());
        let seal = match configured {
            Some(secret) => SealKey::from_secret(secret.expose().as_bytes()).map(Arc::new),
            None => self.seal.clone(),
        };
        let message = "there is no key that seals logins: the system gives no random bytes";
        seal.ok_or_else(|| PageRefusal::new(ReasonCode::InternalError, message, FAILED))
    }

    /// The session that the visitor's cookie leads to, where it holds.
    fn session(&self, visit: &Visit) -> Option<Arc<Session>> {
        let value = cookie_value(&visit.headers, CookieKind::Session, visit.is_secure)?;
        match self.sessions.find(&SessionId::parse(value)?, visit.now, true) {
            Found::Live(session) if visit.snapshot.authenticator.is_current(&session, visit.now) => Some(session),
            Found::Live(_) | Found::Ended(_) | Found::None => None,
        }
    }

    /// The same where its principal may change anything: `None` where what it was verified by is revoked, so that a login may help.
    ///
    /// # Errors
    /// The principal is banned: a login, which a provider may well give unasked, would lead back here.
    fn session_in_good_standing(&self, visit: &Visit) -> Result<Option<Arc<Session>>, PageRefusal> {
        let Some((session, shared)) = self.session(visit).zip(self.shared.upgrade()) else { return Ok(None) };
        let ban = shared.risk.ban_on_principal(&session.principal, shared.clock.now());
        if ban.is_some_and(|ban| !ban.simulated) {
            let message = format!("{} is banned, and came to a page of its own", session.principal.reference());
            return Err(PageRefusal::new(ReasonCode::BanActive, message, "You cannot change anything here for now."));
        }
        let is_good = visit.snapshot.authenticator.is_good(&session.principal, visit.now);
        Ok(is_good.then_some(session))
    }

    /// A provider of the configuration in force for this visit.
    fn party<'v>(&self, visit: &'v Visit, name: &str) -> Result<&'v Arc<RelyingParty>, PageRefusal> {
        let party = visit.snapshot.authenticator.relying().named(name);
        let message = "the page of a login that is not configured";
        party.ok_or_else(|| PageRefusal::new(ReasonCode::RouteNotFound, message, NOTHING))
    }

    /// Records something about a session.
    fn tell(&self, visit: &Visit, kind: EventKind, principal: Option<&Principal>, message: String) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut event = session_event(&shared, kind, principal, message);
        event.client.ip = visit.client.ip();
        event.request.id = uuid::Uuid::parse_str(&visit.request_id).ok().map(Into::into);
        shared.recorder.record(event);
    }
}

fn no_such_page() -> PageRefusal {
    PageRefusal::new(ReasonCode::RouteNotFound, "the gateway has no such page", NOTHING)
}

fn not_there_for(method: &Method) -> PageRefusal {
    let message = format!("a page of the gateway's own was asked for by {method}");
    let refusal = PageRefusal::new(ReasonCode::RequestMalformed, message, "The page is not there for this method.");
    PageRefusal { status: Some(StatusCode::METHOD_NOT_ALLOWED), ..refusal }
}

/// A login begins and ends where somebody goes to its page. An image or a frame of another site would put another login in the place of the one that is under way, and end
/// one that nobody sees.
///
/// # Errors
/// The browser says that nobody does.
fn is_gone_to(visit: &Visit) -> Result<(), PageRefusal> {
    if may_be_navigation(&visit.headers) {
        return Ok(());
    }
    let message =
        "a login in a frame, an image or a script (Sec-Fetch-Mode, Sec-Fetch-Dest): another site may have sent it";
    let refusal = PageRefusal::new(ReasonCode::RequestMalformed, message, "Nobody can log in within another page.");
    Err(PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal }.held_against_nobody())
}

/// Whether the answers of this provider come so. One that is not configured is asked for by any method.
fn is_answered_by(visit: &Visit, name: &str, method: &Method) -> bool {
    let mode = visit.snapshot.authenticator.relying().named(name).map(|party| party.settings().response_mode);
    match mode {
        Some(ResponseMode::FormPost) => method == Method::POST,
        Some(ResponseMode::Query) | None => method == Method::GET,
    }
}

/// Waits until the store has it, but not for ever.
///
/// # Errors
/// Why it may not have it.
async fn kept(written: Written) -> Result<(), String> {
    match tokio::time::timeout(STORE_PATIENCE, written.ended()).await {
        Ok(kept) => kept,
        Err(_) => Err("the store takes too long".to_owned()),
    }
}

/// Sends a browser on, with cookies.
fn lead(place: &str, cookies: impl IntoIterator<Item = Option<HeaderValue>>) -> Result<PageAnswer, PageRefusal> {
    let unusable = |_| PageRefusal::new(ReasonCode::InternalError, "an address that no header can carry", FAILED);
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::FOUND;
    answer.headers_mut().insert(LOCATION, HeaderValue::try_from(place).map_err(unusable)?);
    for cookie in cookies.into_iter().flatten() {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(answer.into())
}

const NOTHING: &str = "There is nothing at this address.";
const FAILED: &str = "The gateway failed to handle this request.";
