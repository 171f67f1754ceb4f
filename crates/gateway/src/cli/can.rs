//! `can`: one question, one word, one reason.

use portcullis_policy::{Outcome, Policy};

use crate::answers::supposed::{QuestionError, Supposed};
use crate::answers::terminal::safe;
use crate::answers::verdict::{for_people, to_json};
use crate::cli::args::{Format, Global, QuestionArgs};
use crate::cli::configuration::loaded;
use crate::cli::facts;
use crate::cli::in_force::{self, is_asked};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &QuestionArgs) -> Exit {
    if is_asked(global, args.live) {
        return in_force::can(global, args).unwrap_or_else(|exit| exit);
    }
    let loaded = match loaded(global) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match facts::supposed(&loaded.policy, &args.method, &args.url, &args.facts) {
        Ok(mut supposed) => {
            supposed.locate(&loaded.policy, &loaded.geo);
            supposed.remarks.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
            decide(global, &loaded.policy, &supposed)
        }
        Err(QuestionError::Usage(text)) => {
            remark(&format!("error: {}", safe(&text)));
            Exit::Usage
        }
        Err(QuestionError::Malformed(code, detail)) => {
            say(global, "deny", 400, Some(code), &detail);
            Exit::Negative
        }
    }
}

fn decide(global: &Global, policy: &Policy, supposed: &Supposed) -> Exit {
    let explanation = policy.explain(&supposed.request(policy));
    let reason = explanation.denial.as_ref().map(|denial| denial.reason.code());
    let status = explanation.denial.as_ref().map_or(200, |denial| denial.status());
    say(global, explanation.outcome.as_str(), status, reason, &explanation.message);
    if explanation.outcome == Outcome::Permit { Exit::Success } else { Exit::Negative }
}

/// One outcome, in one line.
pub(super) fn say(global: &Global, decision: &str, status: u16, reason: Option<&str>, message: &str) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&safe(&for_people(decision, reason, message))),
        Format::Json | Format::Jsonl => answer(&to_json(decision, status, reason, message).to_string()),
    }
}
