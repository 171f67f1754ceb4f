//! The page where a person with a browser activates what they are eligible for, asks for access that was refused, and gives both up.
//!
//! It is at a host where nothing but the gateway's own pages is (`[access] hosts`), so that no script of an application is on its origin: not one that waits until its
//! visitor has shown a factor, and not one that draws a page which asks for it. And the factor is shown for one activation alone, and for nothing else before or after it: a code is
//! used up by the very request that activates, and a passkey signs a challenge that is good for this session, this assignment, this time and this reason. Where the gateway keeps no
//! factors, a login at the provider takes their place: it is begun for one activation, which is sealed into it, and what it proves stands in the address that it leads to and is good
//! once. So whoever has the cookie of a session, too, activates nothing with it. The session itself is not raised.
//!
//! A factor that was added in the session does not count, for whoever has stolen a fresh one could have added it; nor does a session that was opened at another host.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use portcullis_events::{EventKind, ReasonCode};
use portcullis_governance::Hash;
use portcullis_identity::mfa::Passed;
use portcullis_identity::oidc::{Place, Proof, RelyingParty, encoded};
use portcullis_identity::session::{FormToken, Session};
use portcullis_policy::Principal;
use portcullis_proxy::pages::{ACCESS, Fields, Judged, Markup, PageAnswer, PageRefusal, Visit, own_page};
use serde_json::Value;

use super::access::{asker, out_of_turn, refused};
use super::login::prefix;
use super::proof::{self, Proven};
use super::step_up::{
    Offered, asker as of_session, check_token, factor_forms, malformed, not_passed, own_cookie, to_login, told,
};
use super::visits::Turn;
use super::{OwnPages, lead, not_there_for};
use crate::lending::own::{Asker, Section, Wanted};

/// What the forms' token is for.
const PURPOSE: &str = "access";
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// What is to be activated: as its form says, as the next page shows it, and as a factor confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Act {
    assignment: String,
    /// As it was typed; empty: for as long as may be.
    minutes: String,
    justification: String,
    ticket: String,
}

impl Act {
    fn of(form: &Fields) -> Option<Self> {
        let field = |name| form.get(name).map(|text| text.trim().to_owned());
        Some(Self {
            assignment: field("assignment")?,
            minutes: field("minutes")?,
            justification: field("justification")?,
            ticket: field("ticket")?,
        })
    }

    fn fields(&self) -> [(&'static str, &str); 4] {
        // Exhaustive on purpose: what is not here no factor confirms.
        let Self { assignment, minutes, justification, ticket } = self;
        [("assignment", assignment), ("minutes", minutes), ("justification", justification), ("ticket", ticket)]
    }

    fn wanted(&self) -> Result<Wanted, PageRefusal> {
        let for_s = match self.minutes.as_str() {
            "" => None,
            minutes => {
                let minutes: u32 = minutes.parse().map_err(|_| {
                    let said = "The time is a number of minutes.";
                    PageRefusal::new(ReasonCode::RequestMalformed, "an activation for no number of minutes", said)
                })?;
                Some(u64::from(minutes) * 60)
            }
        };
        Ok(Wanted::Activation {
            assignment: self.assignment.clone(),
            for_s,
            justification: self.justification.clone(),
            ticket: self.ticket.clone(),
        })
    }

    /// For what, and from where, a passkey must answer: this session, and each field of this act, each behind its length.
    fn asker(&self, session: &str) -> String {
        let mut text = String::from("portcullis activation");
        for (name, value) in self.fields() {
            text.push_str(&format!("\0{name}\0{}\0{value}", value.len()));
        }
        format!("{session}:{}", Hash::of(text.as_bytes()))
    }

    /// What a login of this principal's confirms.
    fn name_for(&self, principal: &Principal) -> String {
        self.asker(&Hash::of(principal.reference().as_bytes()).to_string())
    }

    /// The page that shows it once more, with the fields in its address; `None`: they are too long for one.
    fn place(&self, visit: &Visit) -> Option<Place> {
        let fields: Vec<String> =
            self.fields().into_iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        Place::parse(&format!("{}?{}", place(visit), fields.join("&")))
    }
}

impl OwnPages {
    /// `access`, by GET the page, and by POST one of its forms: what is to be done is its field `act`.
    pub(super) async fn persons_page(
        &self,
        visit: &Visit,
        principal: &Arc<Principal>,
    ) -> Result<PageAnswer, PageRefusal> {
        let session = self.session_in_good_standing(visit)?;
        // Whoever comes with another credential than a session has none here.
        let is_its_own = |session: &Arc<Session>| session.principal.authentication == principal.authentication;
        let session = session.filter(is_its_own);
        // And whoever sends the cookie of another host has taken it from there.
        let is_from_here = |session: &Arc<Session>| {
            session.host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(&visit.authority))
        };
        let Some(session) = session.filter(is_from_here) else { return to_login(visit, &here(visit)) };
        let from = asker(visit, principal);
        let form = match visit.method {
            Method::GET | Method::HEAD => {
                let parameters = visit.parameters();
                return match Act::of(&parameters).zip(parameters.get(proof::FIELD)) {
                    Some((act, proof)) => {
                        Ok(confirmation(visit, &act, Shown::Proof(proof), StatusCode::OK, None).into())
                    }
                    None => self.overview(visit, from).await,
                };
            }
            Method::POST => visit.form(),
            ref other => return Err(PageRefusal { allow: "GET, HEAD, POST", ..not_there_for(other) }),
        };
        check_token(visit, &form, PURPOSE)?;
        let wants_nothing = || malformed("a form of the page for access that wants nothing");
        match form.get("act") {
            Some("prepare") => self.prepare(visit, &session, from, &Act::of(&form).ok_or_else(wants_nothing)?).await,
            Some("activate") => {
                let act = Act::of(&form).ok_or_else(wants_nothing)?;
                self.activate(visit, &session, from, (&act, &form)).await
            }
            Some("ask") => {
                let field = |name| form.get(name).map(str::to_owned).ok_or_else(wants_nothing);
                let wanted = Wanted::Access { event: field("event")?, justification: field("justification")? };
                self.begin(visit, from, wanted).await
            }
            Some("end") => {
                let section = match form.get("section") {
                    Some("activations") => Section::Activations,
                    Some("requests") => Section::Requests,
                    _ => return Err(wants_nothing()),
                };
                let number = form.get("number").and_then(|text| text.parse().ok()).ok_or_else(wants_nothing)?;
                let who = Arc::clone(&from.principal);
                let turn = self.visits.take(&who, visit.steady_now).map_err(|full| out_of_turn(&who, full))?;
                let ended = self.ask_lender(turn, move |lender| lender.end_own(section, number, &from)).await?;
                ended.map_err(|problem| refused(&who, problem))?;
                lead(here(visit).as_str(), [])
            }
            Some(_) | None => Err(wants_nothing()),
        }
    }

    async fn begin(&self, visit: &Visit, from: Asker, wanted: Wanted) -> Result<PageAnswer, PageRefusal> {
        let who = Arc::clone(&from.principal);
        let turn = self.visits.take(&who, visit.steady_now).map_err(|full| out_of_turn(&who, full))?;
        self.begin_in(turn, visit, from, wanted).await
    }

    async fn begin_in(
        &self,
        turn: Turn,
        visit: &Visit,
        from: Asker,
        wanted: Wanted,
    ) -> Result<PageAnswer, PageRefusal> {
        let who = Arc::clone(&from.principal);
        let begun = self.ask_lender(turn, move |lender| lender.begin_own(&wanted, &from)).await?;
        begun.map_err(|problem| refused(&who, problem))?;
        lead(here(visit).as_str(), [])
    }

    /// Shows what would be activated, and asks for a factor for just that.
    async fn prepare(
        &self,
        visit: &Visit,
        session: &Session,
        from: Asker,
        act: &Act,
    ) -> Result<PageAnswer, PageRefusal> {
        let (wanted, who) = (act.wanted()?, Arc::clone(&from.principal));
        let turn = self.visits.take(&who, visit.steady_now).map_err(|full| out_of_turn(&who, full))?;
        let could = self.ask_lender(turn, move |lender| lender.could_begin_own(&wanted, &from)).await?;
        could.map_err(|problem| refused(&who, problem))?;
        if !self.factors.are_on() {
            return self.ask_for_login(visit, session, act).await;
        }
        let offered = self.offered(visit, session, act.asker(&of_session(session))).await?;
        Ok(confirmation(visit, act, Shown::Factors(&offered, session), StatusCode::OK, None).into())
    }

    /// Activates it, where the factor of this very form holds for it.
    async fn activate(
        &self,
        visit: &Visit,
        session: &Session,
        from: Asker,
        (act, form): (&Act, &Fields),
    ) -> Result<PageAnswer, PageRefusal> {
        let wanted = act.wanted()?;
        if !self.factors.are_on() {
            return self.activate_by_login(visit, session, from, (act, form)).await;
        }
        match self.look_at_factor(visit, session, form, act.asker(&of_session(session))).await? {
            // Whoever has stolen a session that is as fresh as adding one demands could have added it.
            Ok(passed) if passed.added >= session.created => {
                let who = session.principal.reference();
                let message =
                    format!("{who} wants to activate with a second factor that was added in this very session");
                Err(PageRefusal {
                    status: Some(StatusCode::FORBIDDEN),
                    ..PageRefusal::new(ReasonCode::StepUpRequired, message, TOO_NEW)
                })
            }
            Ok(passed) => {
                self.tell_shown(visit, session, &passed, act);
                let raised = Arc::new(session.principal_with(passed.kind.method(), visit.now));
                let begun = self.begin(visit, from.raised(Arc::clone(&raised)), wanted).await?;
                Ok(begun.judged(Judged::Verified(raised)))
            }
            Err(refusal) => {
                let (status, said) = told(&refusal)?;
                let offered = self.offered(visit, session, act.asker(&of_session(session))).await?;
                let page = confirmation(visit, act, Shown::Factors(&offered, session), status, Some(&said));
                Ok(not_passed(page, session, &refusal))
            }
        }
    }

    /// Shows it, and leads to the provider of the session, for a login with a second factor that confirms just this. By a link: what a form of this page leads to in
    /// the end, a browser holds to the page's policy, and where a provider leads on to nobody knows.
    async fn ask_for_login(&self, visit: &Visit, session: &Session, act: &Act) -> Result<PageAnswer, PageRefusal> {
        let principal = &session.principal;
        let parties = visit.snapshot.authenticator.relying().all();
        let is_its = |party: &&Arc<RelyingParty>| *party.settings().name == *principal.authentication.provider;
        let Some(party) = parties.iter().find(is_its) else {
            let message = format!("nothing can ask {} for a second factor: there is no [mfa]", principal.reference());
            let refusal = PageRefusal::new(ReasonCode::StepUpRequired, message, NO_FACTORS);
            return Err(PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal });
        };
        let Some(to) = act.place(visit) else {
            let message = "an activation whose words are too long for the address that a login leads to";
            return Err(PageRefusal::new(ReasonCode::RequestMalformed, message, "Say it in fewer words."));
        };
        let name = act.name_for(principal);
        let (address, cookie) = self.begun(visit, party, (to, Proof::Mfa, Some(name.into()))).await?;
        let shown = Shown::Login { address: &address, label: &party.settings().label };
        let mut page = confirmation(visit, act, shown, StatusCode::OK, None);
        if let Some(cookie) = cookie {
            page.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(page.into())
    }

    /// Activates it, where the form has what a login proves that was made for just this. That is used up first, and noted, so that it is good once whatever happens then.
    async fn activate_by_login(
        &self,
        visit: &Visit,
        session: &Session,
        from: Asker,
        (act, form): (&Act, &Fields),
    ) -> Result<PageAnswer, PageRefusal> {
        let what = act.name_for(&session.principal);
        let proven = self.proven(visit, session, form.get(proof::FIELD), (proof::ACTIVATION, &what))?;
        let is_fresh = visit.policy.is_mfa_fresh(&session.principal, visit.now);
        let Some(Proven { text, until }) = proven.filter(|_| is_fresh) else {
            return self.ask_for_login(visit, session, act).await;
        };
        let hash = Hash::of(format!("activation\0{text}").as_bytes());
        let (wanted, who, now) = (act.wanted()?, Arc::clone(&from.principal), visit.now);
        let turn = self.visits.take(&who, visit.steady_now).map_err(|full| out_of_turn(&who, full))?;
        let used = self.ask_lender((), move |lender| Ok((lender.use_up(hash.0, until, now)?, turn))).await?;
        let (is_first, turn) = used.map_err(|problem| refused(&who, problem))?;
        if !is_first {
            return self.ask_for_login(visit, session, act).await;
        }
        let who = session.principal.reference();
        let message = format!("{who} has logged in with a second factor to activate {}", act.assignment);
        self.tell(visit, EventKind::AuthStepUp, Some(&session.principal), message);
        self.begin_in(turn, visit, from, wanted).await
    }

    fn tell_shown(&self, visit: &Visit, session: &Session, passed: &Passed, act: &Act) {
        let left = passed.left.map_or_else(String::new, |left| format!("; {left} recovery codes are left"));
        let who = session.principal.reference();
        let message =
            format!("{who} has shown a second factor to activate {}: {}{left}", act.assignment, passed.kind.as_str());
        self.tell(visit, EventKind::AuthStepUp, Some(&session.principal), message);
    }

    /// What there is, and the forms.
    async fn overview(&self, visit: &Visit, from: Asker) -> Result<PageAnswer, PageRefusal> {
        let who = Arc::clone(&from.principal);
        let turn = self.visits.take(&who, visit.steady_now).map_err(|full| out_of_turn(&who, full))?;
        let both = self.ask_lender(turn, move |lender| {
            Ok((lender.own(&from, Section::Activations)?.body, lender.own(&from, Section::Requests)?.body))
        });
        let (activations, requests) = both.await?.map_err(|problem| refused(&who, problem))?;
        let mut main = Markup::default();
        main = activation_form(main, visit, &activations);
        main = ask_form(main, visit);
        main = list(main, visit, "Activations", "activations", &activations);
        main = list(main, visit, "Requests for access", "requests", &requests);
        let mut page = own_page(StatusCode::OK, "Access for a time", main, "'self'", false);
        // A worker of an application that had this name before would stay in browsers, and answer in the place of these pages. Cookies stay.
        page.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"storage\""));
        Ok(page.into())
    }
}

fn here(visit: &Visit) -> Place {
    Place::parse(&place(visit)).unwrap_or_else(Place::root)
}

fn place(visit: &Visit) -> String {
    format!("{}/{ACCESS}", prefix(visit))
}

const NO_FACTORS: &str =
    "This needs a second factor, and nothing here can ask you for one. An operator can activate it for you.";
const TOO_NEW: &str =
    "A second factor that was added since you logged in does not count here. Log in again, and then show it.";

/// What confirms an activation.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// A factor that the gateway keeps, in this session.
    Factors(&'a Offered, &'a Session),
    /// A login at the provider that is called so, at this address.
    Login { address: &'a str, label: &'a str },
    /// What such a login has proven.
    Proof(&'a str),
}

/// The beginning of a form.
fn begun(main: Markup, visit: &Visit, act: &'static str) -> Markup {
    let main = main.tag("<form method=\"post\" action=\"").text(&place(visit)).tag("\">\n");
    hidden(main, visit, act)
}

fn hidden(main: Markup, visit: &Visit, act: &'static str) -> Markup {
    main.hidden("token", FormToken::of(own_cookie(visit), PURPOSE).as_str()).hidden("act", act)
}

/// The page that shows what is activated and asks for what confirms it.
fn confirmation(
    visit: &Visit,
    act: &Act,
    shown: Shown<'_>,
    status: StatusCode,
    said: Option<&str>,
) -> Response<Full<Bytes>> {
    let mut main = Markup::default();
    if let Some(said) = said {
        main = main.tag("<p role=\"alert\">").text(said).tag("</p>\n");
    }
    main = main.tag("<dl>\n");
    for (name, value) in act.fields() {
        let value = match (name, value) {
            ("minutes", "") => "as long as may be",
            (_, value) => value,
        };
        main = main.tag("<dt>").text(name).tag("</dt><dd>").text(value).tag("</dd>\n");
    }
    main = main.tag("</dl>\n");
    let with_act = |main: Markup| {
        let main = act
            .fields()
            .into_iter()
            .fold(hidden(main, visit, "activate"), |main, (name, value)| main.hidden(name, value));
        match shown {
            Shown::Proof(proven) => main.hidden(proof::FIELD, proven),
            Shown::Login { .. } | Shown::Factors(..) => main,
        }
    };
    match shown {
        Shown::Factors(offered, _) if !offered.is_known => {
            main = main
                .tag("<p>This needs a second factor, and you have none yet.</p>\n<p><a href=\"")
                .text(&format!("{}/factors", prefix(visit)))
                .tag("\">Add one</a></p>\n");
        }
        Shown::Factors(offered, session) if offered.oldest.is_none_or(|oldest| oldest >= session.created) => {
            main = main
                .tag("<p>")
                .text(TOO_NEW)
                .tag("</p>\n<p><a href=\"")
                .text(&format!("{}/login?prove=anew&to={}", prefix(visit), encoded(&place(visit))))
                .tag("\">Log in again</a></p>\n");
        }
        Shown::Factors(offered, _) => {
            main = main.tag("<p>Show a second factor for just this.</p>\n");
            main = factor_forms(main, visit, &place(visit), offered, with_act);
        }
        Shown::Login { address, label } => {
            main = main
                .tag("<p>This needs a login with a second factor, for just this.</p>\n<p><a href=\"")
                .text(address)
                .tag("\">Log in with ")
                .text(label)
                .tag("</a></p>\n");
        }
        Shown::Proof(_) => {
            main = with_act(main.tag("<form method=\"post\" action=\"").text(&place(visit)).tag("\">\n"))
                .tag("<button type=\"submit\">Activate</button>\n</form>\n");
        }
    }
    let scripts = matches!(shown, Shown::Factors(offered, _) if offered.passkeys.is_some());
    own_page(status, "Activate this?", main, "'self'", scripts)
}

fn activation_form(main: Markup, visit: &Visit, activations: &Value) -> Markup {
    let eligible = activations["eligible"].as_array().map(Vec::as_slice).unwrap_or_default();
    if eligible.is_empty() {
        return main.tag("<p>You are eligible for nothing.</p>\n");
    }
    let parameters = visit.parameters();
    let chosen = parameters.get("assignment").unwrap_or_default();
    let mut main = begun(main.tag("<h2>Activate</h2>\n"), visit, "prepare");
    main = main.tag("<label>What <select name=\"assignment\" required>\n");
    for each in eligible {
        let name = each["assignment"].as_str().unwrap_or_default();
        let minutes = each["max_s"].as_u64().unwrap_or_default() / 60;
        let approvals = match each["approvals"].as_u64() {
            None | Some(0) => String::new(),
            Some(count) => format!(", with {count} approvals"),
        };
        main = main.tag("<option value=\"").text(name).tag(if name == chosen { "\" selected>" } else { "\">" });
        let role = each["role"].as_str().unwrap_or_default();
        main = main.text(&format!("{name}: {role}, for at most {minutes} minutes{approvals}")).tag("</option>\n");
    }
    main.tag("</select></label>\n")
        .tag("<label>For how many minutes; empty: as long as may be <input name=\"minutes\" inputmode=\"numeric\"></label>\n")
        .tag("<label>Why <input name=\"justification\" maxlength=\"512\"></label>\n")
        .tag("<label>Ticket <input name=\"ticket\" maxlength=\"128\"></label>\n")
        .tag("<button type=\"submit\">Go on</button>\n</form>\n")
}

fn ask_form(main: Markup, visit: &Visit) -> Markup {
    let parameters = visit.parameters();
    let main = begun(main.tag("<h2>Ask for access that was refused</h2>\n"), visit, "ask");
    main.tag("<label>The refusal, as its page names it <input name=\"event\" required value=\"")
        .text(parameters.get("event").unwrap_or_default())
        .tag("\"></label>\n<label>Why <input name=\"justification\" maxlength=\"512\" required></label>\n")
        .tag("<button type=\"submit\">Ask</button>\n</form>\n")
}

/// What there is of one kind, and for what is open how it is taken back.
fn list(main: Markup, visit: &Visit, title: &'static str, section: &'static str, all: &Value) -> Markup {
    let all = all[section].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return main;
    }
    let mut main = main.tag("<h2>").tag(title).tag("</h2>\n<ul>\n");
    for each in all {
        let text = |name: &str| each[name].as_str().unwrap_or_default().to_owned();
        let until = each["until"].as_str().map_or_else(String::new, |until| format!(" until {until}"));
        let why = [text("justification"), text("end")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        let line = format!("{}: {}{until}: {}", text("about"), text("state"), why.join("; "));
        main = main.tag("<li>").text(&line);
        if matches!(each["state"].as_str(), Some("waiting" | "in_force")) {
            main = begun(main, visit, "end")
                .hidden("section", section)
                .hidden("number", &each["id"].to_string())
                .tag("<button type=\"submit\">Give it up</button>\n</form>");
        }
        main = main.tag("</li>\n");
    }
    main.tag("</ul>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_answers_for_each_word_of_one_activation_in_one_session() {
        let act = |[assignment, minutes, justification, ticket]: [&str; 4]| Act {
            assignment: assignment.to_owned(),
            minutes: minutes.to_owned(),
            justification: justification.to_owned(),
            ticket: ticket.to_owned(),
        };
        let own = act(["on-call", "60", "disk full", "OPS-1"]);
        assert_eq!(own.asker("session"), own.clone().asker("session"));
        assert_ne!(own.asker("session"), own.asker("another"));
        for other in [
            ["on-call2", "60", "disk full", "OPS-1"],
            ["on-call", "61", "disk full", "OPS-1"],
            ["on-call", "", "disk full", "OPS-1"],
            ["on-call", "60", "disk", "OPS-1"],
            ["on-call", "60", "disk full", "OPS-2"],
            ["on-call", "60", "disk fullOPS-1", ""],
            ["on-call\x00minutes\x002\x0060", "", "disk full", "OPS-1"],
        ] {
            assert_ne!(own.asker("session"), act(other).asker("session"), "{other:?}");
        }
    }

    #[test]
    fn a_time_is_a_number_of_minutes() {
        let wanted = |minutes: &str| {
            let act = Act {
                assignment: "a".to_owned(),
                minutes: minutes.to_owned(),
                justification: String::new(),
                ticket: String::new(),
            };
            match act.wanted() {
                Ok(Wanted::Activation { for_s, .. }) => Some(for_s),
                Ok(Wanted::Access { .. }) | Err(_) => None,
            }
        };
        assert_eq!(wanted("90"), Some(Some(5_400)));
        assert_eq!(wanted(""), Some(None));
        for wrong in ["1h", "-1", "1.5", "99999999999", "\u{661}"] {
            assert_eq!(wanted(wrong), None, "{wrong}");
        }
    }
}
