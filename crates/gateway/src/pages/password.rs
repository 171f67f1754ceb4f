//! Login with a name and a password, for local users: the form, and what comes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::oidc::Place;
use portcullis_identity::password::Unchecked;
use portcullis_identity::session::{
    CookieKind, FormToken, Opening, SessionId, clear_cookie, cookie_value, fits, set_cookie,
};
use portcullis_identity::{Authentication, Awaited, Identity, Typed};
use portcullis_proxy::pages::{Judged, Markup, PageAnswer, PageRefusal, Visit, own_page};

use super::factors::Shown;
use super::login::{no_session, prefix};
use super::step_up::{from_elsewhere, malformed};
use super::{FAILED, OwnPages, kept, lead};

/// Where an attempt is counted whose client nobody knows: all of these are one network.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What may be waited for: the password, and a directory.
const WAITS: usize = 2;
/// What the form's token is for.
const PURPOSE: &str = "login";

impl OwnPages {
    /// A name and a password, from the form of the page `login`, where there are users with passwords.
    pub(super) async fn log_in_with_password(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let form = visit.form();
        let to = form.get("to").and_then(Place::parse).unwrap_or_else(Place::root);
        // Whoever has a browser log in as somebody else than its owner reads what the owner does there.
        let secret = cookie_value(&visit.headers, CookieKind::Form, visit.is_secure);
        if !secret.zip(form.get("token")).is_some_and(|(secret, token)| fits(token, secret, PURPOSE)) {
            return Err(from_elsewhere(PURPOSE));
        }
        let (Some(name), Some(password)) = (form.get("name"), form.get("password")) else {
            return Err(malformed("a login without a name or a password"));
        };
        let Some(typed) = Typed::new(name, password) else {
            return self.not_accepted(visit, &to, "a name or a password that nobody can have", None);
        };
        match verified(visit, &typed).await {
            Identity::Verified(principal) => {
                let provider = &*principal.authentication.provider;
                let fingerprint =
                    visit.snapshot.authenticator.user_fingerprint(name, provider, visit.now).unwrap_or_default();
                let opening = Opening {
                    principal: principal.as_ref().clone(),
                    subject: name.into(),
                    sid: None,
                    fingerprint,
                    host: Some(visit.authority.as_str().into()),
                };
                self.open(visit, opening, &to).await
            }
            Identity::Rejected(rejection) => {
                self.not_accepted(visit, &to, &rejection.problem.detail, rejection.attempted.as_deref())
            }
            Identity::Unchecked(Unchecked::Locked { retry_after_s, attempted }) => {
                let message = "a login with a password was not looked at: there were too many attempts".to_owned();
                self.tell(visit, EventKind::AuthFailed, None, message);
                let said = format!("Too many attempts. Try again in {} minutes.", retry_after_s.div_ceil(60));
                let mut page = password_page(visit, &to, StatusCode::TOO_MANY_REQUESTS, Some(&said))?;
                page.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
                let failed = Judged::Failed { code: ReasonCode::LimitRate, attempted: Some(attempted) };
                Ok(PageAnswer::from(page).judged(failed))
            }
            Identity::Unchecked(Unchecked::Full) => {
                let message = "as many passwords wait to be checked as `password_waiting` allows";
                Err(PageRefusal::new(ReasonCode::LimitOverload, message, "Try again in a moment."))
            }
            Identity::Unavailable(_, why) => {
                Err(PageRefusal::new(ReasonCode::DependencyDirectoryUnavailable, why, "Try again later."))
            }
            // INVARIANT: a password was given.
            Identity::Anonymous => Err(malformed("a login without a credential")),
        }
    }

    async fn open(&self, visit: &Visit, opening: Opening, to: &Place) -> Result<PageAnswer, PageRefusal> {
        let (id, session, written) = self.sessions.open(opening, visit.now).map_err(no_session)?;
        // What the browser had before is over: nobody can have planted the session that it has now.
        if let Some(before) = self.session(visit) {
            self.sessions.replace(&before.key);
        }
        let message = format!("{} has logged in with a password", session.principal.reference());
        self.tell(visit, EventKind::SessionOpened, Some(&session.principal), message);
        // A session that a restart would forget is no danger.
        if let Err(error) = kept(written).await {
            tracing::warn!(error, "a session was opened that a restart would end");
        }
        let cookie = set_cookie(CookieKind::Session, visit.is_secure, &id.expose(), None);
        let place = self.to_factors_or(visit, &session, to, Shown::Login)?;
        let answer = lead(&place, [cookie, clear_cookie(CookieKind::Form, visit.is_secure)])?;
        Ok(answer.judged(Judged::Verified(Arc::clone(&session.principal))))
    }

    /// The form again. What was typed is in no event: people type passwords where names belong. `attempted`: the name, where somebody could have it.
    fn not_accepted(
        &self,
        visit: &Visit,
        to: &Place,
        why: &str,
        attempted: Option<&str>,
    ) -> Result<PageAnswer, PageRefusal> {
        let bench = visit.snapshot.authenticator.password_bench();
        let address = visit.client.ip().unwrap_or(NOWHERE);
        // Said once, by the attempt that locks.
        let locked = attempted.zip(bench).and_then(|(name, bench)| bench.wait(name, address, visit.now));
        let (kind, wait) = match locked {
            Some(seconds) => (EventKind::AuthLocked, format!("; the next is looked at in {seconds} s")),
            None => (EventKind::AuthFailed, String::new()),
        };
        self.tell(visit, kind, None, format!("a login with a password was not accepted: {why}{wait}"));
        let said = "That name and password were not accepted.";
        let page = password_page(visit, to, StatusCode::FORBIDDEN, Some(said))?;
        let failed = Judged::Failed { code: ReasonCode::AuthnInvalid, attempted: attempted.map(Box::from) };
        Ok(PageAnswer::from(page).judged(failed))
    }
}

/// What binds the form to the browser that it is shown to: a cookie of its own, since there is no session yet.
pub(super) struct FormSecret {
    value: String,
    /// The browser does not have it yet.
    cookie: Option<HeaderValue>,
}

impl FormSecret {
    /// The one that the browser has, or a new one.
    ///
    /// # Errors
    /// There are no random bytes.
    pub(super) fn of(visit: &Visit) -> Result<Self, PageRefusal> {
        let known = cookie_value(&visit.headers, CookieKind::Form, visit.is_secure).and_then(SessionId::parse);
        if let Some(known) = known {
            return Ok(Self { value: known.expose(), cookie: None });
        }
        let none = || PageRefusal::new(ReasonCode::InternalError, "the system gives no random bytes", FAILED);
        let value = SessionId::random().ok_or_else(none)?.expose();
        let cookie = set_cookie(CookieKind::Form, visit.is_secure, &value, None);
        Ok(Self { value, cookie })
    }

    /// The page, with the cookie.
    pub(super) fn with(self, mut page: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        if let Some(cookie) = self.cookie {
            page.headers_mut().append(SET_COOKIE, cookie);
        }
        page
    }
}

async fn verified(visit: &Visit, typed: &Typed) -> Identity {
    let authenticator = &visit.snapshot.authenticator;
    let address = visit.client.ip().unwrap_or(NOWHERE);
    let mut found = authenticator.check_password(typed, address, visit.now, None);
    for _ in 0..WAITS {
        let Authentication::Awaited { mut awaited, .. } = found else { break };
        // Whether it ended or took too long: what is there then counts.
        let _ = tokio::time::timeout(awaited.patience(), awaited.ended()).await;
        let waited = if let Awaited::Password(password) = &awaited { Some(password) } else { None };
        found = authenticator.check_password(typed, address, visit.now, waited);
    }
    found.settled()
}

/// The form for a name and a password, as a part of a page.
pub(super) fn password_form(main: Markup, visit: &Visit, to: &Place, secret: &FormSecret) -> Markup {
    main.tag("<form method=\"post\" action=\"")
        .text(&format!("{}/login", prefix(visit)))
        .tag("\">\n")
        .hidden("to", to.as_str())
        .hidden("token", FormToken::of(&secret.value, PURPOSE).as_str())
        .tag("<p><label>Name <input name=\"name\" autocomplete=\"username\" autocapitalize=\"none\" required autofocus></label></p>\n")
        .tag("<p><label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label></p>\n")
        .tag("<button type=\"submit\">Log in</button>\n</form>\n")
}

/// The page with nothing but that form.
pub(super) fn password_page(
    visit: &Visit,
    to: &Place,
    status: StatusCode,
    said: Option<&str>,
) -> Result<Response<Full<Bytes>>, PageRefusal> {
    let secret = FormSecret::of(visit)?;
    let mut main = Markup::default();
    if let Some(said) = said {
        main = main.tag("<p role=\"alert\">").text(said).tag("</p>\n");
    }
    let main = password_form(main, visit, to, &secret);
    Ok(secret.with(own_page(status, "Log in", main, "'self'", false)))
}
