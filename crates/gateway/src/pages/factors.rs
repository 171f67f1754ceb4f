//! The factors of whoever has a session: which there are, how one is added, and how one is removed.
//!
//! Nothing can be changed but by somebody who has just shown a factor, or, where there is none yet, has just logged in, to do just that: whoever finds a browser open adds no
//! passkey of their own. And that they have stands in the address that they were led to ([`super::proof`]), and in no cookie: nor does whoever has stolen the cookie of a
//! session that was opened or raised a moment ago. It is good for one change, with which another one is given: who reads it in an address later has nothing by it.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_events::EventKind;
use portcullis_governance::Hash;
use portcullis_identity::mfa::factor::{FactorId, FactorKind};
use portcullis_identity::mfa::webauthn::{Challenge, Registration};
use portcullis_identity::mfa::{Added, FactorRefusal, MOST_NAME, Question, SecondFactors, ShownFactor};
use portcullis_identity::oidc::{Place, encoded};
use portcullis_identity::session::{FormToken, Session};
use portcullis_policy::AuthenticationMethod;
use portcullis_proxy::pages::{Fields, Markup, PageAnswer, PageRefusal, Visit, own_page};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::access::refused;
use super::login::prefix;
use super::proof::{self, Proven};
use super::step_up::{
    asker, bytes, check_token, malformed, outage, own_cookie, passkey_form, script, to_login, told, unasked,
};
use super::{OwnPages, lead};

/// What the forms' token is for.
const PURPOSE: &str = "factors";
/// So long before it comes to an end a login may have asked who is there.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// What somebody has just done, so that they may change their factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// They have logged in: enough for the first factor, where the configuration does not leave that to operators.
    Login,
    /// They have shown a factor.
    Factor,
}

impl Shown {
    /// What is enough for whoever has these.
    fn for_whoever_has(list: &[ShownFactor]) -> Self {
        if list.is_empty() { Self::Login } else { Self::Factor }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Factor => "factor",
        }
    }
}

impl OwnPages {
    /// `factors`: the list, and the forms where it may be changed.
    pub(super) async fn list_factors(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let Some(session) = self.session_in_good_standing(visit)? else { return to_login(visit, &here(visit)) };
        let parameters = visit.parameters();
        let proof = parameters.get(proof::FIELD).unwrap_or_default();
        Ok(self.factors_page(visit, &session, proof, (StatusCode::OK, None)).await?.into())
    }

    /// Where somebody is led who has just done that, and wants to go to this place: to the page of factors with what proves it.
    ///
    /// # Errors
    /// There is nothing to seal that with.
    pub(super) fn to_factors_or(
        &self,
        visit: &Visit,
        session: &Session,
        to: &Place,
        done: Shown,
    ) -> Result<String, PageRefusal> {
        let is_there = self.factors.are_on() && to.as_str() == here(visit).as_str();
        let is_proven = match done {
            Shown::Login => is_just_logged_in(session, visit),
            Shown::Factor => true,
        };
        match is_there && is_proven {
            true => self.with_proof(visit, session, to, (proof::FACTORS, done.as_str())),
            false => Ok(to.as_str().to_owned()),
        }
    }

    /// Whether whoever has this proof, and these factors, may change them now.
    ///
    /// # Errors
    /// There is nothing that opens it.
    fn may_change(
        &self,
        visit: &Visit,
        session: &Session,
        proof: &str,
        list: &[ShownFactor],
    ) -> Result<Option<Proven>, PageRefusal> {
        let needed = Shown::for_whoever_has(list);
        if needed == Shown::Login && !self.factors.are_begun_by_login() {
            return Ok(None);
        }
        self.proven(visit, session, Some(proof), (proof::FACTORS, needed.as_str()))
    }

    /// Uses that proof up, and gives what the next change takes; `None`: it was used before.
    ///
    /// # Errors
    /// Nobody can say whether it was.
    async fn use_up_for_change(
        &self,
        visit: &Visit,
        session: &Session,
        proven: &Proven,
        list: &[ShownFactor],
    ) -> Result<Option<String>, PageRefusal> {
        let hash = Hash::of(format!("factors\0{}", proven.text).as_bytes());
        let (until, now) = (proven.until, visit.now);
        let used = self.ask_lender((), move |lender| lender.use_up(hash.0, until, now)).await?;
        let is_first = used.map_err(|problem| refused(&session.principal, problem))?;
        let needed = Shown::for_whoever_has(list).as_str();
        is_first.then(|| self.next_proof(visit, session, proven, (proof::FACTORS, needed))).transpose()
    }

    /// A form of that page: what is to be done is its field `act`.
    pub(super) async fn change_factors(&self, visit: &Visit) -> Result<PageAnswer, PageRefusal> {
        let Some(session) = self.session_in_good_standing(visit)? else { return to_login(visit, &here(visit)) };
        let form = visit.form();
        check_token(visit, &form, PURPOSE)?;
        let principal = session.principal.reference();
        let list = self.list(&principal).await?;
        let proof = form.get(proof::FIELD).unwrap_or_default();
        let Some(proven) = self.may_change(visit, &session, proof, &list)? else {
            // Where nobody can prove it here, the page says so.
            let is_led = !list.is_empty() || self.factors.are_begun_by_login();
            let place = if is_led { again(visit, &list) } else { here(visit).as_str().to_owned() };
            return lead(&place, []);
        };
        let next = match form.get("act") {
            // It changes nothing yet.
            Some("begin-totp") => None,
            _ => match self.use_up_for_change(visit, &session, &proven, &list).await? {
                Some(next) => Some(next),
                None => return lead(&again(visit, &list), []),
            },
        };
        let proof = next.as_deref().unwrap_or(proof);
        let on = Changing { visit, session: &session, proof };
        let name = form.get("name").unwrap_or_default().to_owned();
        let now = visit.now;
        match form.get("act") {
            Some("begin-totp") => {
                let begun = self.ask(&on, move |factors| factors.begin_totp(&principal, &name, now)).await?;
                match begun {
                    Ok(begun) => Ok(totp_page(&on, &begun.id.to_string(), &begun.secret, &begun.uri).into()),
                    Err(page) => Ok(page.into()),
                }
            }
            Some("confirm-totp") => {
                let id = form.get("id").and_then(FactorId::parse).ok_or_else(|| malformed("no id of a factor"))?;
                let code = form.get("code").unwrap_or_default().to_owned();
                let confirm = move |factors: &SecondFactors| factors.confirm_totp(&principal, id, &code, now);
                match self.factors.ask(confirm).await.map_err(unasked)? {
                    Ok(added) => Ok(self.added(&on, &added)),
                    // The app is set up already: only the code is typed again.
                    Err(refusal @ (FactorRefusal::Wrong | FactorRefusal::Locking(..))) => {
                        self.tell_failure(visit, &session, &refusal);
                        let (status, said) = told(&refusal)?;
                        let main = Markup::default().tag("<p role=\"alert\">").text(&said).tag("</p>\n");
                        let main = confirm_form(main, &on, &id.to_string());
                        Ok(own_page(status, "Add an app with codes", main, "'self'", false).into())
                    }
                    Err(refusal) => {
                        self.tell_failure(visit, &session, &refusal);
                        let (status, said) = told(&refusal)?;
                        Ok(self.factors_page(visit, &session, proof, (status, Some(&said))).await?.into())
                    }
                }
            }
            Some("add-passkey") => {
                let made = Made::of(&form).ok_or_else(|| malformed("no passkey in the form"))?;
                let asker = asker(&session);
                let add = move |factors: &SecondFactors| {
                    factors.add_passkey((&principal, &asker), &made.challenge, made.registration(), &name, now)
                };
                let added = self.ask(&on, add).await?;
                Ok(added.map_or_else(|page| page.into(), |added| self.added(&on, &added)))
            }
            Some("renew-recovery") => {
                let codes = self.ask(&on, move |factors| factors.renew_recovery(&principal, now)).await?;
                Ok(match codes {
                    Ok(codes) => {
                        self.tell_change(visit, &session, EventKind::AuthFactorAdded, FactorKind::Recovery, "renewed");
                        codes_page(&on, &codes).into()
                    }
                    Err(page) => page.into(),
                })
            }
            Some("remove") => {
                let id = form.get("id").and_then(FactorId::parse).ok_or_else(|| malformed("no id of a factor"))?;
                let kind = list.iter().find(|factor| factor.id == id).map(|factor| factor.kind);
                let removed = self.ask(&on, move |factors| factors.remove(&principal, id)).await?;
                match (removed, kind) {
                    (Ok(()), Some(kind)) => {
                        self.tell_change(visit, &session, EventKind::AuthFactorRemoved, kind, "removed");
                        on.leads_on()
                    }
                    (Ok(()), None) => on.leads_on(),
                    (Err(page), _) => Ok(page.into()),
                }
            }
            Some(_) | None => Err(malformed("a form of the factors that wants nothing")),
        }
    }

    async fn list(&self, principal: &str) -> Result<Vec<ShownFactor>, PageRefusal> {
        let principal = principal.to_owned();
        let list = self.factors.ask(move |factors| factors.list(&principal)).await.map_err(unasked)?;
        list.map_err(|refusal| outage(&refusal))
    }

    /// Asks; a refusal becomes the page with what is to be said, and an event.
    async fn ask<T: Send + 'static>(
        &self,
        on: &Changing<'_>,
        question: impl FnOnce(&SecondFactors) -> Result<T, FactorRefusal> + Send + 'static,
    ) -> Result<Result<T, Response<Full<Bytes>>>, PageRefusal> {
        match self.factors.ask(question).await.map_err(unasked)? {
            Ok(value) => Ok(Ok(value)),
            Err(refusal) => {
                self.tell_failure(on.visit, on.session, &refusal);
                let (status, said) = told(&refusal)?;
                Ok(Err(self.factors_page(on.visit, on.session, on.proof, (status, Some(&said))).await?))
            }
        }
    }

    fn added(&self, on: &Changing<'_>, added: &Added) -> PageAnswer {
        self.tell_change(on.visit, on.session, EventKind::AuthFactorAdded, added.kind, "added");
        match &added.recovery {
            Some(codes) => codes_page(on, codes).into(),
            None => on.leads_on().unwrap_or_else(PageAnswer::from),
        }
    }

    fn tell_change(&self, visit: &Visit, session: &Session, kind: EventKind, of: FactorKind, done: &str) {
        let message = format!("{} has {done} a second factor: {}", session.principal.reference(), of.as_str());
        self.tell(visit, kind, Some(&session.principal), message);
    }

    async fn factors_page(
        &self,
        visit: &Visit,
        session: &Session,
        proof: &str,
        (status, said): (StatusCode, Option<&str>),
    ) -> Result<Response<Full<Bytes>>, PageRefusal> {
        let principal = session.principal.reference();
        let list = self.list(&principal).await?;
        let may_change = self.may_change(visit, session, proof, &list)?.is_some();
        let on = Changing { visit, session, proof };
        let question = if may_change { self.question(visit, session).await? } else { None };
        let mut main = Markup::default();
        if let Some(said) = said {
            main = main.tag("<p role=\"alert\">").text(said).tag("</p>\n");
        }
        main = shown(main, &on, &list, may_change);
        if list.is_empty() && !self.factors.are_begun_by_login() {
            let main = main.tag("<p>An operator gives you the first one.</p>\n");
            return Ok(own_page(status, "Second factors", main, "'self'", false));
        }
        if !may_change {
            let main = main.tag("<p><a href=\"").text(&again(visit, &list)).tag(if list.is_empty() {
                "\">Log in again to add one</a></p>\n"
            } else {
                "\">Show a factor to change them</a></p>\n"
            });
            return Ok(own_page(status, "Second factors", main, "'self'", false));
        }
        main = begun(main.tag("<h2>Add an app with codes</h2>\n"), &on, "begin-totp");
        main = named(main).tag("<button type=\"submit\">Go on</button>\n</form>\n");
        if let Some(question) = &question {
            let user = BASE64URL.encode(&user_handle(&principal));
            main = main.tag("<h2>Add a passkey</h2>\n");
            main = passkey_form(main, here(visit).as_str(), question, Some((&user, &session.principal.id)));
            let token = FormToken::of(own_cookie(visit), PURPOSE);
            main = main.hidden("token", token.as_str()).hidden(proof::FIELD, proof).hidden("act", "add-passkey");
            main = named(main)
                .tag("<input type=\"hidden\" name=\"attestation\"><input type=\"hidden\" name=\"unused\">\n")
                .tag(
                    "<button type=\"submit\">Make one</button>\n</form>\n<p id=\"passkey-said\" role=\"alert\"></p>\n",
                );
            main = script(main, visit);
        }
        if !list.is_empty() {
            main = begun(main.tag("<h2>Recovery codes</h2>\n"), &on, "renew-recovery");
            main = main.tag("<button type=\"submit\">Make new ones; the old ones end</button>\n</form>\n");
        }
        Ok(own_page(status, "Second factors", main, "'self'", question.is_some()))
    }

    async fn question(&self, visit: &Visit, session: &Session) -> Result<Option<Question>, PageRefusal> {
        let (principal, asker, now) = (session.principal.reference(), asker(session), visit.now);
        let asked = self.factors.ask(move |factors| factors.ask_for_new_passkey(&principal, &asker, now)).await;
        match asked.map_err(unasked)? {
            Ok(question) => Ok(Some(question)),
            Err(FactorRefusal::Off | FactorRefusal::TooMany) => Ok(None),
            Err(refusal) => Err(outage(&refusal)),
        }
    }
}

const BASE64URL: data_encoding::Encoding = data_encoding::BASE64URL_NOPAD;

/// A passkey that was made, as a browser sends it.
struct Made {
    challenge: Challenge,
    client_data: Vec<u8>,
    attestation: Vec<u8>,
}

impl Made {
    fn of(form: &Fields) -> Option<Self> {
        Some(Self {
            challenge: Challenge::parse(form.get("challenge")?)?,
            client_data: bytes(form, "client_data")?,
            attestation: bytes(form, "attestation")?,
        })
    }

    fn registration(&self) -> Registration<'_> {
        Registration { client_data: &self.client_data, attestation: &self.attestation }
    }
}

/// What an authenticator knows its holder by: nothing that says who it is (WebAuthn section 14.6.1).
fn user_handle(principal: &str) -> Vec<u8> {
    let text = [b"portcullis passkey user\0".as_slice(), principal.as_bytes()].concat();
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref().to_vec()
}

/// Somebody who may change something, on this page.
struct Changing<'v> {
    visit: &'v Visit,
    session: &'v Session,
    /// What proves it.
    proof: &'v str,
}

impl Changing<'_> {
    /// To the list, with what proves it.
    fn place(&self) -> String {
        let proof = if self.proof.is_empty() { String::new() } else { format!("?{}={}", proof::FIELD, self.proof) };
        format!("{}{proof}", here(self.visit).as_str())
    }

    fn leads_on(&self) -> Result<PageAnswer, PageRefusal> {
        lead(&self.place(), [])
    }
}

/// Whether the login that has just opened the session asked who is there: a provider that still knows the browser lets it pass unasked.
fn is_just_logged_in(session: &Session, visit: &Visit) -> bool {
    let authentication = &session.principal.authentication;
    let asked = match authentication.method {
        AuthenticationMethod::Oidc => authentication.auth_time,
        _ => Some(session.created),
    };
    asked.is_some_and(|asked| visit.now.duration_since(asked).unsigned_abs() <= FRESH)
}

/// Where somebody proves it anew.
fn again(visit: &Visit, list: &[ShownFactor]) -> String {
    let place = if list.is_empty() { "login?prove=anew&to" } else { "step-up?return" };
    format!("{}/{place}={}", prefix(visit), encoded(here(visit).as_str()))
}

fn here(visit: &Visit) -> Place {
    Place::parse(&format!("{}/factors", prefix(visit))).unwrap_or_else(Place::root)
}

/// The beginning of a form that does something.
fn begun(main: Markup, on: &Changing<'_>, act: &'static str) -> Markup {
    let token = FormToken::of(own_cookie(on.visit), PURPOSE);
    main.tag("<form method=\"post\" action=\"")
        .text(here(on.visit).as_str())
        .tag("\">\n")
        .hidden("token", token.as_str())
        .hidden(proof::FIELD, on.proof)
        .hidden("act", act)
}

fn named(main: Markup) -> Markup {
    main.tag("<label>What you call it <input name=\"name\" maxlength=\"")
        .text(&MOST_NAME.to_string())
        .tag("\" required></label>\n")
}

fn shown(main: Markup, on: &Changing<'_>, list: &[ShownFactor], may_change: bool) -> Markup {
    if list.is_empty() {
        return main.tag("<p>You have none yet.</p>\n");
    }
    let mut main = main.tag("<ul>\n");
    for factor in list {
        let kind = match factor.kind {
            FactorKind::Totp => "app with codes",
            FactorKind::Recovery => "recovery codes",
            FactorKind::Passkey => "passkey",
        };
        main = main.tag("<li>").text(&factor.name).tag(" (").tag(kind).tag("), added ").text(&day(factor.created));
        if let Some(used) = factor.used {
            main = main.tag(", last used ").text(&day(used));
        }
        if let Some(left) = factor.left {
            main = main.tag(", ").text(&left.to_string()).tag(" left");
        }
        if may_change {
            main = begun(main, on, "remove").hidden("id", &factor.id.to_string());
            main = main.tag("<button type=\"submit\">Remove</button>\n</form>");
        }
        main = main.tag("</li>\n");
    }
    main.tag("</ul>\n")
}

fn day(time: jiff::Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

/// The secret as a picture and as text, and the form for its first code.
fn totp_page(on: &Changing<'_>, id: &str, secret: &str, uri: &str) -> Response<Full<Bytes>> {
    let mut main = Markup::default().tag("<p>Read this with your app:</p>\n");
    if let Some(picture) = picture(uri) {
        main = main
            .tag("<p><img width=\"240\" height=\"240\" alt=\"The secret for your app; it stands below, too\" src=\"data:image/svg+xml;base64,")
            .text(&BASE64.encode(picture.as_bytes()))
            .tag("\"></p>\n");
    }
    main = main
        .tag("<p>Or type: <code id=\"secret\">")
        .text(&in_groups(secret))
        .tag("</code></p>\n<p>Then type the code that it shows.</p>\n");
    let main = confirm_form(main, on, id);
    own_page(StatusCode::OK, "Add an app with codes", main, "'self'", false)
}

/// The form for the first code of an app.
fn confirm_form(main: Markup, on: &Changing<'_>, id: &str) -> Markup {
    begun(main, on, "confirm-totp")
        .hidden("id", id)
        .tag("<label>Code <input name=\"code\" autocomplete=\"one-time-code\" inputmode=\"numeric\" maxlength=\"12\" ")
        .tag("required autofocus></label>\n<button type=\"submit\">Confirm</button>\n</form>\n")
}

fn picture(uri: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(uri.as_bytes(), EcLevel::M).ok()?;
    Some(code.render::<svg::Color<'_>>().min_dimensions(240, 240).build())
}

fn in_groups(secret: &str) -> String {
    let mut text = String::with_capacity(secret.len() * 5 / 4);
    for (place, character) in secret.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push(' ');
        }
        text.push(character);
    }
    text
}

/// The recovery codes, this once.
fn codes_page(on: &Changing<'_>, codes: &[String]) -> Response<Full<Bytes>> {
    let mut main = Markup::default()
        .tag("<p>Each of these is good once in the place of your other factors. Keep them where nobody finds them; they are not shown again.</p>\n<ul>\n");
    for code in codes {
        main = main.tag("<li><code>").text(code).tag("</code></li>\n");
    }
    let main = main.tag("</ul>\n<p><a href=\"").text(&on.place()).tag("\">Done</a></p>\n");
    own_page(StatusCode::OK, "Recovery codes", main, "'self'", false)
}
