//! Login with a name and a password, for local users: the form, and what comes of it.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::oidc::Place;
use portcullis_identity::password::Unchecked;
use portcullis_identity::session::{CookieKind, Opening, set_cookie};
use portcullis_identity::{Authentication, Awaited, Identity, Typed};
use portcullis_proxy::pages::{Markup, PageAnswer, PageRefusal, Visit, own_page};

use super::login::{no_session, prefix};
use super::step_up::malformed;
use super::{OwnPages, kept, lead};

/// Where an attempt is counted whose client nobody knows: all of these are one network.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What may be waited for: the password, and a directory.
const WAITS: usize = 2;

impl OwnPages {
    /// A name and a password, from the form of the page `login`, where there are users with passwords.
    pub(super) async fn log_in_with_password(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let form = visit.form();
        let to = form.get("to").and_then(Place::parse).unwrap_or_else(Place::root);
        let (Some(name), Some(password)) = (form.get("name"), form.get("password")) else {
            return Err(malformed("a login without a name or a password"));
        };
        let Some(typed) = Typed::new(name, password) else {
            return Ok(self.not_accepted(visit, &to, "a name or a password that nobody can have"));
        };
        match verified(visit, &typed).await {
            Identity::Verified(principal) => {
                let provider = &*principal.authentication.provider;
                let fingerprint =
                    visit.snapshot.authenticator.user_fingerprint(name, provider, visit.now).unwrap_or_default();
                let opening =
                    Opening { principal: principal.as_ref().clone(), subject: name.into(), sid: None, fingerprint };
                self.open(visit, opening, &to).await
            }
            Identity::Rejected(rejection) => Ok(self.not_accepted(visit, &to, &rejection.problem.detail)),
            Identity::Unchecked(Unchecked::Locked { retry_after_s, .. }) => {
                self.tell(
                    visit,
                    EventKind::AuthLocked,
                    None,
                    "a login with a password was not looked at: too many attempts".to_owned(),
                );
                let said = format!("Too many attempts. Try again in {} minutes.", retry_after_s.div_ceil(60));
                let mut page = password_page(visit, &to, StatusCode::TOO_MANY_REQUESTS, Some(&said));
                page.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
                Ok(page.into())
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
        lead(to.as_str(), [set_cookie(CookieKind::Session, visit.is_secure, &id.expose(), None)])
    }

    /// The form again. What was typed is in no event: people type passwords where names belong.
    fn not_accepted(&self, visit: &Visit, to: &Place, why: &str) -> PageAnswer {
        let message = format!("a login with a password was not accepted: {why}");
        self.tell(visit, EventKind::AuthFailed, None, message);
        let said = "That name and password were not accepted.";
        password_page(visit, to, StatusCode::FORBIDDEN, Some(said)).into()
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
pub(super) fn password_form(main: Markup, visit: &Visit, to: &Place) -> Markup {
    main.tag("<form method=\"post\" action=\"")
        .text(&format!("{}/login", prefix(visit)))
        .tag("\">\n")
        .hidden("to", to.as_str())
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
) -> Response<Full<Bytes>> {
    let mut main = Markup::default();
    if let Some(said) = said {
        main = main.tag("<p role=\"alert\">").text(said).tag("</p>\n");
    }
    own_page(status, "Log in", password_form(main, visit, to), "'self'", false)
}
