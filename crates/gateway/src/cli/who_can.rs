//! `who-can`: everybody who may do something, and what each of them still needs.

use portcullis_policy::{MOST_ENTRIES, Policy, StatedFacts, WhoCan};
use serde_json::json;

use crate::answers::standing::{object, rule_json};
use crate::answers::supposed::{QuestionError, Supposed};
use crate::answers::terminal::safe;
use crate::answers::who_can::{allowed_parts, for_people, no_route, to_json};
use crate::cli::args::{Format, Global, WhoCanArgs};
use crate::cli::can;
use crate::cli::configuration::loaded;
use crate::cli::facts::{self, stated};
use crate::cli::in_force::{self, is_asked};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &WhoCanArgs) -> Exit {
    if is_asked(global, args.live) {
        return in_force::who_can(global, args).unwrap_or_else(|exit| exit);
    }
    let policy = match loaded(global) {
        Ok(loaded) => loaded.policy,
        Err(exit) => return exit,
    };
    let facts = args.facts();
    match facts::supposed(&policy, &args.method, &args.url, &facts) {
        Ok(supposed) => {
            supposed.remarks.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
            match stated(&facts) {
                Ok(facts) => ask(global, &policy, args, &supposed, &facts),
                // It was read before.
                Err(_) => Exit::Internal,
            }
        }
        Err(QuestionError::Usage(text)) => {
            remark(&format!("error: {}", safe(&text)));
            Exit::Usage
        }
        Err(QuestionError::Malformed(code, detail)) => {
            can::say(global, "deny", 400, Some(code), &detail);
            Exit::Negative
        }
    }
}

fn ask(global: &Global, policy: &Policy, args: &WhoCanArgs, supposed: &Supposed, facts: &StatedFacts) -> Exit {
    let Some(question) = supposed.action(facts) else {
        can::say(global, "deny", 404, Some("route.not_found"), &no_route(&args.method, &args.url));
        return Exit::Negative;
    };
    let who = policy.who_can(&question);
    let asked = format!("{} {}", question.method, question.path.as_str());
    match global.output {
        _ if global.quiet => {}
        Format::Human => for_people(&asked, &who).lines().for_each(|line| answer(&safe(line))),
        Format::Json => {
            let whole = to_json(policy, question.method, question.path.as_str(), &who);
            answer(&serde_json::to_string_pretty(&whole).unwrap_or_default());
        }
        Format::Jsonl => one_a_line(&who),
    }
    if who.omitted > 0 && !global.quiet {
        remark(&format!("note: {} more subjects are not shown: at most {MOST_ENTRIES} are", who.omitted));
    }
    if who.is_possible() { Exit::Success } else { Exit::Negative }
}

fn one_a_line(who: &WhoCan) {
    let route = || ("route", json!(&*who.route));
    let open = who.obstacles.is_empty();
    for each in &who.allowed {
        let head = [route(), ("enter", json!(if open { "now" } else { "refused" }))];
        answer(&object(head.into_iter().chain(allowed_parts(each))).to_string());
    }
    for each in &who.denied {
        let parts =
            [route(), ("subject", json!(&*each.subject)), ("now", json!(false)), ("denied_by", rule_json(&each.deny))];
        answer(&object(parts).to_string());
    }
}
