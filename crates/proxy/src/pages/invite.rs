//! A browser that nobody knows is led to the login, one whose session needs a second factor to the page or the provider that asks for it, and one whose
//! authentication is too old to a login that asks again; a program is told 401.
//!
//! Who is a browser is said by the browser: it asks for a page of HTML, by GET, as a navigation (Fetch Metadata). A script, an image or a
//! frame in a page is none: it would be led to a page that it cannot show. When in doubt it is a program.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use portcullis_events::ReasonCode;
use portcullis_identity::oidc::encoded_place;
use portcullis_identity::session::{CookieKind, cookie_value};
use portcullis_policy::{AuthenticationMethod, CredentialProblemKind, Reason, StepUpDemand};

use crate::refusal::Refusal;
use crate::refusal::form::Form;
use crate::transit::Transit;

/// The longest place that somebody is led back to, in bytes.
const MAX_PLACE: usize = 2_048;

/// Where the caller of a refused request is led instead of being told 401; `None`: nowhere.
pub(crate) fn invitation(refusal: &Refusal, transit: &Transit) -> Option<HeaderValue> {
    let facts = &transit.facts;
    let settings = facts.loaded.snapshot.settings.pages.as_ref().filter(|pages| pages.login)?;
    let page = if facts.asks_who {
        persons(refusal, transit)?
    } else if would_help(refusal, transit) {
        "login?to="
    } else {
        let demand = step_up(refusal, transit)?;
        let is_of_provider = facts.principal()?.authentication.method == AuthenticationMethod::Oidc;
        match (demand.mfa, settings.step_up) {
            // Whoever authenticates anew is recent enough.
            (false, _) => "login?prove=anew&to=",
            (true, true) => "step-up?return=",
            (true, false) if is_of_provider => "login?prove=mfa&to=",
            (true, false) => return None,
        }
    };
    if !settings.are_open(facts.scheme) || !is_navigation(&transit.head) {
        return None;
    }
    let target = facts.target.as_ref()?;
    let place = target.uri.path_and_query().map_or("/", |place| place.as_str());
    let place = if place.len() > MAX_PLACE { "/" } else { place };
    HeaderValue::try_from(format!("{}/{page}{}", settings.prefix, encoded_place(place))).ok()
}

/// Where somebody is led who comes to the page for persons and is refused there; what is there for programs leads nobody away.
fn persons(refusal: &Refusal, transit: &Transit) -> Option<&'static str> {
    let facts = &transit.facts;
    let settings = facts.loaded.snapshot.settings.pages.as_ref()?;
    let (Refusal::Page(refusal), target) = (refusal, facts.target.as_ref()?) else { return None };
    if !settings.is_persons(&target.path) {
        return None;
    }
    let authenticator = &facts.loaded.snapshot.authenticator;
    match refusal.code {
        ReasonCode::AuthnMissing => Some("login?to="),
        ReasonCode::AuthnExpired | ReasonCode::AuthnInvalid if is_session_alone(transit) => Some("login?to="),
        ReasonCode::AuthnRevoked
            if is_session_alone(transit) && authenticator.is_session_over(&transit.head.headers, facts.now) =>
        {
            Some("login?to=")
        }
        ReasonCode::StepUpRequired if is_session_alone(transit) && settings.step_up => Some("step-up?return="),
        ReasonCode::StepUpRequired if is_session_alone(transit) => Some("login?prove=mfa&to="),
        _ => None,
    }
}

/// Whether a login would change the answer: there was no credential, or there was a session that is over, and nothing else.
fn would_help(refusal: &Refusal, transit: &Transit) -> bool {
    let Refusal::Challenged(denial) = refusal else { return false };
    let headers = &transit.head.headers;
    let authenticator = &transit.facts.loaded.snapshot.authenticator;
    match denial.reason {
        Reason::AuthnMissing => true,
        // What was revoked by the session's id alone: whoever is disabled, or has nothing that counts any more, would be led in a circle.
        Reason::Authn(CredentialProblemKind::Revoked) if !authenticator.is_session_over(headers, transit.facts.now) => {
            false
        }
        Reason::Authn(
            CredentialProblemKind::Expired | CredentialProblemKind::Revoked | CredentialProblemKind::Invalid,
        ) => is_session_alone(transit),
        _ => false,
    }
}

/// How somebody who has a session must authenticate for another answer: what comes under another credential is not raised here.
fn step_up<'r>(refusal: &'r Refusal, transit: &Transit) -> Option<&'r StepUpDemand> {
    let Refusal::Challenged(denial) = refusal else { return None };
    denial.step_up.as_ref().filter(|_| is_session_alone(transit))
}

/// Whether the caller comes with a session and with no other credential.
fn is_session_alone(transit: &Transit) -> bool {
    let headers = &transit.head.headers;
    let others = transit.facts.loaded.snapshot.authenticator.credential_headers();
    has_session(headers) && !others.iter().any(|name| headers.contains_key(name))
}

fn has_session(headers: &HeaderMap) -> bool {
    [true, false].into_iter().any(|secure| cookie_value(headers, CookieKind::Session, secure).is_some())
}

/// Whether a browser asks for a page that it will show as a whole.
fn is_navigation(head: &http::request::Parts) -> bool {
    head.method == Method::GET && Form::wanted(&head.headers) == Form::Html && may_be_navigation(&head.headers)
}

/// Whether somebody goes to a page, as far as the browser says (Fetch Metadata): not a script, an image or a frame of another page. One that says nothing is believed.
pub fn may_be_navigation(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, wanted: &str| {
        headers.get_all(name).iter().all(|value| value.as_bytes() == wanted.as_bytes())
    };
    says(&SEC_FETCH_MODE, "navigate") && says(&SEC_FETCH_DEST, "document")
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
