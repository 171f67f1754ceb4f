//! Questions to the policy in force: with the lists that its networks have, the thresholds of risk, the bans, and what is lent, now.

use std::sync::Arc;

use portcullis_admin::api::{
    Allowed, Explained, ListQuestion, Listed, PolicyQuestion, Problem, SupposedFacts, SupposedRisk, Verdict,
};
use portcullis_policy::{
    AccessRequest, Activation, Bans, CountryCode, Explanation, Policy, Principal, RiskLevel, StatedFacts,
    stated_principal,
};
use portcullis_proxy::Snapshot;
use serde_json::{Value, json};

use super::archive::moment;
use super::{Operated, problem, shown};
use crate::answers::explanation::{limits_json, malformed_json, to_json};
use crate::answers::supposed::{QuestionError, Stated, Supposed};
use crate::answers::verdict::asked;
use crate::answers::{listing, verdict, who_can};

/// The most names of each kind that a question states, and the longest text of it.
const MAX_NAMES: usize = 1_000;
const MAX_TEXT: usize = 8 << 10;
/// The most routes of one part of a list, and about how many bytes of them as JSON.
const MOST_ROUTES: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;

/// What is supposed, and by what it is judged.
struct Judged {
    snapshot: Arc<Snapshot>,
    policy: Arc<Policy>,
    supposed: Result<Supposed, (&'static str, String)>,
    /// What whoever asks should know.
    notes: Vec<String>,
    /// It is about this moment.
    is_now: bool,
}

impl Judged {
    fn new(operated: &Operated, question: &PolicyQuestion) -> Result<Self, Problem> {
        let facts = stated_by(question)?;
        let shared = operated.running.shared();
        let snapshot = shared.snapshot().load_full();
        let mut notes = Vec::new();
        let policy = policy_for(&snapshot, &facts, &mut notes);
        let mut supposed = match Supposed::of(&policy, &question.method, &question.url, &facts) {
            Ok(supposed) => Ok(supposed),
            Err(QuestionError::Malformed(code, detail)) => Err((code, detail)),
            Err(QuestionError::Usage(text)) => return Err(problem(text)),
        };
        let is_now = facts.at.is_none();
        if let Ok(supposed) = &mut supposed {
            supposed.locate_with(&policy, &shared.geo);
            if is_now && let Some(principal) = supposed.principal() {
                supposed.lend(lent_to(operated, principal, &mut notes));
            }
            notes.append(&mut supposed.remarks);
        }
        Ok(Self { snapshot, policy, supposed, notes, is_now })
    }

    /// As it is decided now, by bans and by what alerts demand, too.
    fn explain(&self, operated: &Operated, supposed: &Supposed) -> Explanation {
        let shared = operated.running.shared();
        let (risk, now) = (&shared.risk, shared.clock.now());
        let request = supposed.request(&self.policy);
        if !self.is_now {
            return self.policy.explain(&request);
        }
        let (principal, address) = (supposed.principal(), request.client.ip());
        let of_address = address.and_then(|address| risk.ban_on_address(address, now));
        let of_principal = principal.and_then(|principal| risk.ban_on_principal(principal, now));
        let route = request.route.map(|route| self.policy.route_name(route));
        let demanded = risk.demanded(principal, route, address, now);
        self.policy.explain(&AccessRequest {
            bans: Bans { address: of_address.as_deref(), principal: of_principal.as_deref() },
            contained: demanded.as_deref().map(portcullis_risk::Demanded::facts).unwrap_or_default(),
            ..request
        })
    }
}

/// What is lent to them now, and that it is.
fn lent_to(operated: &Operated, principal: &Principal, notes: &mut Vec<String>) -> Vec<Activation> {
    let shared = operated.running.shared();
    let lent = shared.lending.of(principal, shared.clock.now());
    notes.extend(lent.iter().map(|each| format!("lent until {:.0}: {}", each.until, each.gives)));
    lent
}

/// The one in force, or the one that comes into force step by step where it decides for this caller.
fn policy_for(snapshot: &Snapshot, facts: &StatedFacts, notes: &mut Vec<String>) -> Arc<Policy> {
    let Some(staged) = &snapshot.staged else { return Arc::clone(&snapshot.policy) };
    let principal = facts.principal.as_ref().map(|(kind, id)| {
        let id = snapshot.policy.spelling().id(*kind, id);
        Principal::stated(*kind, &id)
    });
    let decides = staged.decides_for(principal.as_ref(), || facts.ip);
    let policy = if decides { &staged.policy } else { &snapshot.policy };
    notes.push(format!(
        "version {} comes into force step by step: version {} decides for this caller",
        staged.policy.version(),
        policy.version()
    ));
    Arc::clone(policy)
}

fn stated_by(question: &PolicyQuestion) -> Result<StatedFacts, Problem> {
    stated(&[&question.method, &question.url], &question.facts)
}

/// `named`: what the question says of the request.
fn stated(named: &[&String], facts: &SupposedFacts) -> Result<StatedFacts, Problem> {
    let lists = [&facts.groups, &facts.roles, &facts.activated];
    let texts = named.iter().copied().chain(lists.into_iter().flatten());
    let more = [&facts.principal, &facts.host].into_iter().flatten();
    if lists.iter().any(|list| list.len() > MAX_NAMES) || texts.chain(more).any(|text| text.len() > MAX_TEXT) {
        return Err(problem(format!("at most {MAX_NAMES} names of a kind, and {MAX_TEXT} bytes of each")));
    }
    let country = |text: &String| {
        let unfit = || problem(format!("`{}` is not a country code of two letters", shown(text)));
        CountryCode::parse(text).ok_or_else(unfit)
    };
    let principal = stated_principal(facts.principal.as_deref().unwrap_or("anyone")).map_err(problem)?;
    let level = |risk: SupposedRisk| match risk {
        SupposedRisk::Low => RiskLevel::Low,
        SupposedRisk::Medium => RiskLevel::Medium,
        SupposedRisk::High => RiskLevel::High,
    };
    Ok(StatedFacts {
        principal: principal.map(|(kind, id)| (kind, id.to_owned())),
        groups: facts.groups.clone(),
        roles: facts.roles.clone(),
        host: facts.host.clone(),
        ip: facts.ip,
        country: facts.country.as_ref().map(country).transpose()?,
        compliant_device: facts.compliant_device,
        fresh_mfa: facts.fresh_mfa,
        authenticated_s: facts.authenticated_s,
        risk: facts.risk.map(level),
        activated: facts.activated.clone(),
        at: moment("at", facts.at.as_deref())?,
    })
}

/// In short.
pub(super) fn can(operated: &Operated, question: &PolicyQuestion) -> Result<Verdict, Problem> {
    let judged = Judged::new(operated, question)?;
    let (decision, status, reason, message) = match &judged.supposed {
        Ok(supposed) => {
            let explained = judged.explain(operated, supposed);
            let denial = explained.denial.as_deref();
            let status = denial.map_or(200, portcullis_policy::Denial::status);
            let reason = denial.map(|denial| denial.reason.code().to_owned());
            (explained.outcome.as_str(), status, reason, explained.message.to_string())
        }
        Err((code, detail)) => ("deny", 400, Some((*code).to_owned()), detail.clone()),
    };
    let policy = asked(&judged.policy);
    Ok(Verdict { decision: decision.to_owned(), status, reason, message, notes: judged.notes, policy })
}

/// With every check.
pub(super) fn explain(operated: &Operated, question: &PolicyQuestion) -> Result<Explained, Problem> {
    let judged = Judged::new(operated, question)?;
    let explanation = match &judged.supposed {
        Ok(supposed) => {
            let routes = &judged.snapshot.settings.routes;
            let route = supposed.route.and_then(|route| routes.get(route.index()));
            let limits = route.map(|route| limits_json(&route.limits)).unwrap_or_default();
            to_json(&judged.policy, &judged.explain(operated, supposed), &limits)
        }
        Err((code, detail)) => malformed_json(&judged.policy, &question.url, code, detail),
    };
    Ok(Explained { explanation, notes: judged.notes })
}

/// Who may.
pub(super) fn who_can(operated: &Operated, question: &PolicyQuestion) -> Result<Allowed, Problem> {
    let facts = &question.facts;
    let is_of_somebody = facts.principal.is_some()
        || [&facts.groups, &facts.roles, &facts.activated].iter().any(|list| !list.is_empty());
    if is_of_somebody {
        return Err(problem("who may is the question: nobody is named, nor their groups, roles and what is activated"));
    }
    let judged = Judged::new(operated, question)?;
    let nobody = |text: String, notes: Vec<String>| Allowed { text, possible: false, report: None, notes };
    let supposed = match &judged.supposed {
        Ok(supposed) => supposed,
        Err((code, detail)) => return Ok(nobody(verdict::for_people("deny", Some(code), detail), judged.notes)),
    };
    let Some(action) = supposed.action(&stated_by(question)?) else {
        return Ok(nobody(who_can::no_route(&question.method, &question.url), judged.notes));
    };
    let who = judged.policy.who_can(&action);
    let report: Value = who_can::to_json(&judged.policy, action.method, action.path.as_str(), &who);
    let text = who_can::for_people(&format!("{} {}", action.method, action.path.as_str()), &who);
    let mut notes = judged.notes;
    notes.push("what is lent for a time is no grant of the policy: `access list` has it".to_owned());
    Ok(Allowed { text, possible: who.is_possible(), report: Some(json!(report)), notes })
}

/// All that somebody may do, as the policy in force and what is lent now say. Bans are not looked at.
pub(super) fn list(operated: &Operated, question: &ListQuestion) -> Result<Listed, Problem> {
    let facts = stated(&[], &question.facts)?;
    if question.after.as_ref().is_some_and(|after| after.len() > MAX_TEXT) {
        return Err(problem("`after` is the name of a route"));
    }
    let most = question.limit.map_or(MOST_ROUTES, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if !(1..=MOST_ROUTES).contains(&most) {
        return Err(problem(format!("`limit` is from 1 to {MOST_ROUTES}")));
    }
    let shared = operated.running.shared();
    let snapshot = shared.snapshot().load_full();
    let mut notes = Vec::new();
    let policy = policy_for(&snapshot, &facts, &mut notes);
    let mut supposed = match Stated::of(&policy, &facts) {
        Ok(stated) => stated,
        Err(QuestionError::Usage(text) | QuestionError::Malformed(_, text)) => return Err(problem(text)),
    };
    supposed.locate_with(&shared.geo);
    if let Some(principal) = supposed.principal.as_ref().filter(|_| facts.at.is_none()) {
        let lent = lent_to(operated, principal, &mut notes);
        supposed.lend(lent);
    }
    notes.append(&mut supposed.remarks);
    let (who, host) = (supposed.principal.as_ref(), supposed.host.as_deref());
    let part = policy.list_after(who, host, &supposed.circumstances(), (question.after.as_deref(), most));
    let (mut found, mut more) = part.ok_or_else(|| problem("`after` is the name of no route"))?;
    let mut bytes = 0;
    let mut route = Vec::new();
    for each in &found.routes {
        let shown = listing::route_json(each);
        bytes += shown.to_string().len();
        if bytes > MOST_BYTES && !route.is_empty() {
            more = true;
            break;
        }
        route.push(shown);
    }
    found.routes.truncate(route.len());
    let principal = listing::name_of(who);
    let text = listing::for_people(&principal, &found);
    Ok(Listed {
        permits_now: found.permits_now,
        route,
        omitted: u64::try_from(found.omitted).unwrap_or(u64::MAX),
        more,
        text,
        notes,
        policy: asked(&policy),
        principal,
    })
}
