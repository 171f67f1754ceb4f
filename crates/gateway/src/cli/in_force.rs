//! `can`, `explain`, `list` and `who-can` asked of a running gateway: of the policy that it has in force, and not of the files.

use portcullis_admin::api::{
    Allowed, EventExplained, EventId, Explained, ListQuestion, Listed, PolicyQuestion, SupposedFacts, SupposedRisk,
    Verdict,
};
use portcullis_admin::target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::answers::listing::to_json;
use crate::answers::terminal::safe;
use crate::answers::verdict;
use crate::cli::args::{
    AssuranceState, DeviceState, ExplainArgs, FactArgs, Format, Global, ListArgs, QuestionArgs, RiskState, WhoCanArgs,
};
use crate::cli::events::explain::of_the_gateway;
use crate::cli::explain::show;
use crate::cli::list::{one_a_line, say_omitted};
use crate::cli::live::{ask, ask_to_look, fail};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// Whether the running gateway is asked, and not the files.
pub(super) fn is_asked(global: &Global, live: bool) -> bool {
    live || global.admin.is_some()
}

/// The longest query that the gateway reads, in bytes.
const MAX_QUERY: usize = 4 << 10;

/// As a question where it fits: whoever may read may ask it. A longer one is posted. `parameters`: the same as `question`.
fn asked<T: DeserializeOwned>(
    global: &Global,
    what: &str,
    parameters: &[(&'static str, String)],
    question: &impl Serialize,
) -> Result<T, Exit> {
    let path = format!("/v1/policy/{what}");
    let query = target(&path, parameters);
    if query.len() <= MAX_QUERY {
        return ask_to_look(global, async |client| client.get(&query).await);
    }
    ask_to_look(global, async |client| client.post(&path, question).await)
}

fn asked_of_request<T: DeserializeOwned>(
    global: &Global,
    what: &str,
    (method, url): (&str, &str),
    facts: &FactArgs,
) -> Result<T, Exit> {
    let question = PolicyQuestion { method: method.to_owned(), url: url.to_owned(), facts: supposed(facts) };
    asked(global, what, &question.parameters(), &question)
}

/// What the command line states, as the gateway reads it.
fn supposed(facts: &FactArgs) -> SupposedFacts {
    SupposedFacts {
        principal: (facts.principal != "anyone").then(|| facts.principal.clone()),
        groups: facts.groups.clone(),
        roles: facts.roles.clone(),
        activated: facts.activated.clone(),
        ip: facts.ip,
        host: facts.host.clone(),
        country: facts.country.clone(),
        compliant_device: facts.device.map(|state| state == DeviceState::Compliant),
        fresh_mfa: facts.assurance == Some(AssuranceState::Mfa),
        authenticated_s: facts.authenticated.map(|ago| ago.as_secs()),
        at: facts.at.map(|at| at.to_string()),
        risk: facts.risk.map(|risk| match risk {
            RiskState::Low => SupposedRisk::Low,
            RiskState::Medium => SupposedRisk::Medium,
            RiskState::High => SupposedRisk::High,
        }),
    }
}

fn note(notes: &[String]) {
    notes.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
}

fn exit_of(permitted: bool) -> Exit {
    if permitted { Exit::Success } else { Exit::Negative }
}

pub(super) fn can(global: &Global, args: &QuestionArgs) -> Result<Exit, Exit> {
    let verdict: Verdict = asked_of_request(global, "can", (&args.method, &args.url), &args.facts)?;
    note(&verdict.notes);
    let Verdict { decision, status, reason, message, policy, .. } = &verdict;
    let reason = reason.as_deref();
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&safe(&verdict::for_people(decision, reason, message))),
        Format::Json | Format::Jsonl => {
            let mut whole = verdict::to_json(decision, *status, reason, message);
            whole.as_object_mut().into_iter().for_each(|whole| drop(whole.insert("policy".to_owned(), json!(policy))));
            answer(&whole.to_string());
        }
    }
    Ok(exit_of(decision == "permit"))
}

pub(super) fn explain(global: &Global, args: &ExplainArgs) -> Result<Exit, Exit> {
    let (method, url) = match (args.event, &args.method, &args.url) {
        (Some(id), _, _) => {
            let id = EventId { id: id.to_string() };
            let explained: EventExplained = ask(global, async |client| client.post("/v1/events/explain", &id).await)?;
            of_the_gateway(global, &explained);
            return Ok(Exit::Success);
        }
        (None, Some(method), Some(url)) => (method, url),
        (None, _, _) => {
            fail(global, "give METHOD and URL, or --event ID");
            return Err(Exit::Usage);
        }
    };
    let explained: Explained = asked_of_request(global, "explain", (method, url), &args.facts)?;
    note(&explained.notes);
    Ok(show(global, &explained.explanation))
}

pub(super) fn who_can(global: &Global, args: &WhoCanArgs) -> Result<Exit, Exit> {
    let allowed: Allowed = asked_of_request(global, "who_can", (&args.method, &args.url), &args.facts())?;
    note(&allowed.notes);
    match global.output {
        _ if global.quiet => {}
        Format::Human => allowed.text.lines().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&serde_json::to_string_pretty(&allowed.report).unwrap_or_default()),
        Format::Jsonl => answer(&json!(allowed.report).to_string()),
    }
    Ok(exit_of(allowed.possible))
}

/// In as many parts as it takes.
pub(super) fn list(global: &Global, args: &ListArgs) -> Result<Exit, Exit> {
    let mut wanted = ListQuestion { facts: supposed(&args.facts), limit: None, after: None };
    let (mut routes, mut omitted) = (Vec::new(), 0);
    loop {
        let part: Listed = asked(global, "list", &wanted.parameters(), &wanted)?;
        let is_first = routes.is_empty();
        if is_first {
            note(&part.notes);
        }
        if global.output == Format::Human && !global.quiet {
            // Who it is and whether they may do anything is said once.
            let text = if is_first { &*part.text } else { part.text.split_once("\n\n").map_or("", |(_, rest)| rest) };
            text.lines().for_each(|line| answer(&safe(line)));
        }
        wanted.after = part.route.last().and_then(|route| route.get("name")?.as_str()).map(str::to_owned);
        omitted += part.omitted;
        routes.extend(part.route.iter().cloned());
        if part.more && wanted.after.is_some() {
            continue;
        }
        match global.output {
            _ if global.quiet => {}
            Format::Human => {}
            Format::Json => {
                let whole = to_json(&part.principal, part.permits_now, &routes, omitted, &part.policy);
                answer(&serde_json::to_string_pretty(&whole).unwrap_or_default());
            }
            Format::Jsonl => routes.iter().for_each(|route| one_a_line(&part.principal, route)),
        }
        if omitted > 0 && !global.quiet {
            say_omitted(omitted);
        }
        return Ok(exit_of(part.permits_now));
    }
}
