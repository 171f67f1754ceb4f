//! The end of a session: by its holder here, or by its provider.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, SET_COOKIE};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_identity::oidc::{LogoutTokenProblem, NotAdmitted, RelyingParty, with_parameters};
use portcullis_identity::remote::Patience;
use portcullis_identity::session::{CookieKind, EndCause, FormToken, clear_cookie, cookie_value, fits};
use portcullis_proxy::pages::{Markup, PageAnswer, PageRefusal, Visit, own_page};

use super::login::prefix;
use super::{OwnPages, kept, lead};
use crate::logins::waited;

/// What the form's token is for.
const PURPOSE: &str = "logout";

impl OwnPages {
    /// The page with the form that logs out: following a link does not.
    pub(super) fn ask_to_log_out(&self, visit: &Visit) -> PageAnswer {
        let Some(session) = self.session(visit) else { return done() };
        let cookie = cookie_value(&visit.headers, CookieKind::Session, visit.is_secure).unwrap_or_default();
        let token = FormToken::of(cookie, PURPOSE);
        let name = session.principal.name.as_deref().unwrap_or(&session.principal.id);
        let main = Markup::default()
            .tag("<p>You are logged in as ")
            .text(name)
            .tag(".</p>\n<form method=\"post\" action=\"")
            .text(&format!("{}/logout", prefix(visit)))
            .tag("\">\n")
            .hidden("token", token.as_str())
            .tag("<button type=\"submit\">Log out</button>\n</form>\n");
        // A browser holds what the form leads to in the end to the page's policy, too.
        let provider = self.end_session(visit, &session.principal.authentication.provider);
        let leads_to = provider.as_deref().and_then(origin_of);
        let action = leads_to.map_or_else(|| "'self'".to_owned(), |origin| format!("'self' {origin}"));
        own_page(StatusCode::OK, "Log out", main, &action, false).into()
    }

    /// Logs out: the session opens nothing from now on, here and after a restart.
    pub(super) async fn log_out(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let forget = || clear_cookie(CookieKind::Session, visit.is_secure);
        let cookie = cookie_value(&visit.headers, CookieKind::Session, visit.is_secure).unwrap_or_default();
        let Some(session) = self.session(visit) else {
            return lead(&format!("{}/logged-out", prefix(visit)), [forget()]);
        };
        let form = visit.form();
        if !form.get("token").is_some_and(|token| fits(token, cookie, PURPOSE)) {
            let message = "a logout without the token of its page: another site may have sent it";
            let said = "This form was not sent by a page of this place.";
            let refusal = PageRefusal::new(ReasonCode::RequestMalformed, message, said);
            return Err(PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal });
        }
        let (was_open, written) = self.sessions.end(&session.key, EndCause::LoggedOut);
        if was_open {
            let message = format!("{} has logged out", session.principal.reference());
            self.tell(visit, EventKind::SessionEnded, Some(&session.principal), message);
        }
        if let Err(why) = kept(written).await {
            return Err(not_kept(&why).with_cookie(forget()));
        }
        let place = self
            .end_session(visit, &session.principal.authentication.provider)
            .unwrap_or_else(|| format!("{}/logged-out", prefix(visit)));
        lead(&place, [forget()])
    }

    /// Where a browser is sent to log out at the provider (OpenID Connect RP-Initiated Logout 1.0), where that is wanted and it has such a place.
    fn end_session(&self, visit: &Visit, provider: &str) -> Option<String> {
        let party = visit.snapshot.authenticator.relying().named(provider)?;
        let settings = party.settings();
        let endpoint = party.metadata().filter(|_| settings.logout)?.end_session_endpoint.clone()?;
        let back = format!("{}{}/logged-out", visit.origin(), prefix(visit));
        Some(with_parameters(
            &endpoint,
            [("client_id", settings.client_id.as_str()), ("post_logout_redirect_uri", back.as_str())],
        ))
    }

    /// A provider says that a session is over (OpenID Connect Back-Channel Logout 1.0, section 2.5).
    pub(super) async fn logged_out_elsewhere(&self, visit: &Visit, name: &str) -> Result<PageAnswer, PageRefusal> {
        let party = self.party(visit, name)?;
        let form = visit.form();
        let refuse = |code, why: &str| {
            let message = format!("a logout token of {name} ends nothing: {why}");
            let refusal = PageRefusal::new(code, message, "The logout token was not accepted.");
            // Section 2.8.
            PageRefusal { status: Some(StatusCode::BAD_REQUEST), ..refusal }
        };
        let Some(token) = form.get("logout_token") else {
            return Err(refuse(ReasonCode::RequestMalformed, "there is none"));
        };
        let verify = |patience: Patience<'_>| party.logged_out(token, &self.told, visit.now, patience);
        let mut found = verify(Patience::Request);
        if let Err(LogoutTokenProblem::NotAdmitted(NotAdmitted::Awaited(mut awaited))) = found {
            // Whether it ended or took too long: what is there then counts.
            let _ = tokio::time::timeout(awaited.patience(), awaited.ended()).await;
            found = verify(waited(&awaited));
        }
        let over = found.map_err(|problem| match problem {
            LogoutTokenProblem::NotAdmitted(NotAdmitted::Rejected(problem)) => {
                refuse(problem.kind.into(), &problem.detail)
            }
            LogoutTokenProblem::NotAdmitted(NotAdmitted::NoKeys(why)) => {
                PageRefusal::new(ReasonCode::DependencyKeysUnavailable, why, "Try again later.")
            }
            LogoutTokenProblem::NotAdmitted(NotAdmitted::Awaited(_)) => {
                let message = format!("the keys of {name} are not there");
                PageRefusal::new(ReasonCode::DependencyKeysUnavailable, message, "Try again later.")
            }
            LogoutTokenProblem::NotOne(why) => refuse(ReasonCode::AuthnInvalid, why),
            LogoutTokenProblem::Again => refuse(ReasonCode::AuthnInvalid, "it was used before"),
            LogoutTokenProblem::Full => {
                let message = "more logout tokens come than can be told apart";
                PageRefusal::new(ReasonCode::LimitOverload, message, "Try again later.")
            }
        })?;
        self.end_elsewhere(visit, name, over.sid.as_deref(), over.subject.as_deref()).await?;
        Ok(Response::new(Full::default()).into())
    }

    /// A provider's page has a frame say that a session is over (OpenID Connect Front-Channel Logout 1.0, section 3). The browser shows no cookie in the frame of another site, and
    /// none is needed: whoever knows the provider's `sid` is the provider, or has been told it.
    pub(super) async fn logged_out_in_a_frame(&self, visit: &Visit, name: &str) -> Result<PageAnswer, PageRefusal> {
        let party = self.party(visit, name)?;
        if !party.settings().frontchannel_logout {
            let message =
                format!("{name} may not say in a frame that a session is over: `frontchannel_logout` is not on");
            return Err(PageRefusal::new(ReasonCode::RouteNotFound, message, "There is nothing at this address."));
        }
        // Any page and any mail has a browser ask for this: it says nothing of whose that is.
        let refuse = |why: &str| {
            let message = format!("a frame of {name} ends nothing: {why}");
            let refusal = PageRefusal::new(ReasonCode::RequestMalformed, message, "Nobody is logged out by this.");
            PageRefusal { status: Some(StatusCode::BAD_REQUEST), ..refusal }.held_against_nobody()
        };
        let parameters = visit.parameters();
        // Section 2 leaves them to the provider; without them any page could log anybody out.
        let (Some(issuer), Some(sid)) = (parameters.get("iss"), parameters.get("sid").filter(|sid| !sid.is_empty()))
        else {
            return Err(refuse("`iss` and `sid` are not both there, once"));
        };
        if !is_issuer(issuer, &party.settings().issuer) {
            return Err(refuse("`iss` is another provider than this address is for"));
        }
        let is_own = self.session(visit).is_some_and(|session| session.sid.as_deref() == Some(sid));
        self.end_elsewhere(visit, name, Some(sid), None).await?;
        let mut answer = in_a_frame(party);
        if let Some(forget) = clear_cookie(CookieKind::Session, visit.is_secure).filter(|_| is_own) {
            answer.headers_mut().append(SET_COOKIE, forget);
        }
        Ok(answer.into())
    }

    /// Ends what a provider says is over, with an event for each.
    async fn end_elsewhere(
        &self,
        visit: &Visit,
        name: &str,
        sid: Option<&str>,
        subject: Option<&str>,
    ) -> Result<(), PageRefusal> {
        let (ended, written) = self.sessions.revoke_sid(name, sid, subject);
        for principal in &ended {
            let message = format!("{name} says that a session of {principal} is over");
            self.tell(visit, EventKind::SessionEnded, None, message);
        }
        kept(written).await.map_err(|why| not_kept(&why))
    }
}

/// Whether a frame means this provider. Some write their issuer here with a slash at its end, or without the one that it has: nothing here is proved by it, so both are the same.
fn is_issuer(shown: &str, issuer: &str) -> bool {
    shown.strip_suffix('/').unwrap_or(shown) == issuer.strip_suffix('/').unwrap_or(issuer)
}

/// What a frame shows: nobody looks at it.
fn in_a_frame(party: &RelyingParty) -> Response<Full<Bytes>> {
    let settings = party.settings();
    let metadata = party.metadata();
    let end_session = metadata.as_ref().and_then(|metadata| metadata.end_session_endpoint.as_deref());
    let authorization = metadata.as_ref().map(|metadata| metadata.authorization_endpoint.as_str());
    let mut origins: Vec<String> = Vec::new();
    for address in [Some(&*settings.issuer), authorization, end_session].into_iter().flatten() {
        origins.extend(origin_of(address).filter(|origin| !origins.contains(origin)));
    }
    let ancestors = if origins.is_empty() { "'none'".to_owned() } else { origins.join(" ") };
    let policy = format!("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}");
    let mut answer = Response::new(Full::from("<!doctype html><title>Logged out</title>"));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// The page for whoever is logged out.
pub(super) fn done() -> PageAnswer {
    let main = Markup::default().tag("<p>You are logged out here.</p>\n");
    own_page(StatusCode::OK, "Logged out", main, "'none'", false).into()
}

fn not_kept(why: &str) -> PageRefusal {
    let message = format!(
        "a session was ended, but the store could not be written, and a restart now would bring it back: {why}"
    );
    let said = "You are logged out for now, but that could not be written down. Try again later.";
    PageRefusal::new(ReasonCode::DependencyStoreUnavailable, message, said)
}

/// The origin of an address, as a policy of content names it.
fn origin_of(address: &str) -> Option<String> {
    let uri: http::Uri = address.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_plain = authority.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    is_plain.then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::{is_issuer, origin_of};

    #[test]
    fn a_slash_at_its_end_makes_no_other_issuer_of_it() {
        let check =
            |shown: &str, issuer: &str, expected: bool| assert_eq!(is_issuer(shown, issuer), expected, "{shown}");
        check("https://op.example", "https://op.example", true);
        check("https://op.example/", "https://op.example", true);
        check("https://op.example", "https://op.example/", true);
        check("https://op.example//", "https://op.example", false);
        check("https://op.example/a", "https://op.example", false);
        check("https://op.exampl", "https://op.example", false);
        check("", "https://op.example", false);
        check("/", "https://op.example", false);
    }

    #[test]
    fn an_origin_can_say_nothing_but_an_origin() {
        let check =
            |address: &str, expected: Option<&str>| assert_eq!(origin_of(address).as_deref(), expected, "{address}");
        check("https://op.example/end?x=1", Some("https://op.example"));
        check("http://127.0.0.1:8080/end", Some("http://127.0.0.1:8080"));
        check("https://[::1]:8443/", Some("https://[::1]:8443"));
        check("/end", None);
        check("https://a;script-src/", None);
        check("https://user@a/", None);
    }
}
