//! `list`: all that a principal may do, route by route.

use std::fmt::Display;

use portcullis_policy::{Listing, MOST_ENTRIES, Policy};
use serde_json::{Value, json};

use crate::answers::listing::{for_people, name_of, route_json, to_json};
use crate::answers::supposed::{QuestionError, Stated};
use crate::answers::terminal::safe;
use crate::answers::verdict::asked;
use crate::cli::args::{Format, Global, ListArgs};
use crate::cli::configuration::loaded;
use crate::cli::facts::stated;
use crate::cli::in_force::{self, is_asked};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &ListArgs) -> Exit {
    if is_asked(global, args.live) {
        return in_force::list(global, args).unwrap_or_else(|exit| exit);
    }
    let policy = match loaded(global) {
        Ok(loaded) => loaded.policy,
        Err(exit) => return exit,
    };
    let stated = match stated(&args.facts).and_then(|facts| Stated::of(&policy, &facts)) {
        Ok(stated) => stated,
        Err(QuestionError::Usage(text) | QuestionError::Malformed(_, text)) => {
            remark(&format!("error: {}", safe(&text)));
            return Exit::Usage;
        }
    };
    stated.remarks.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
    let listing = policy.list(stated.principal.as_ref(), stated.host.as_deref(), &stated.circumstances());
    let who = name_of(stated.principal.as_ref());
    if !global.quiet {
        show(global, &policy, &who, &listing);
    }
    if listing.permits_now { Exit::Success } else { Exit::Negative }
}

fn show(global: &Global, policy: &Policy, who: &str, listing: &Listing) {
    match global.output {
        Format::Human => for_people(who, listing).lines().for_each(|line| answer(&safe(line))),
        Format::Json => {
            let routes: Vec<Value> = listing.routes.iter().map(route_json).collect();
            let omitted = u64::try_from(listing.omitted).unwrap_or(u64::MAX);
            let whole = to_json(who, listing.permits_now, &routes, omitted, &asked(policy));
            answer(&serde_json::to_string_pretty(&whole).unwrap_or_default());
        }
        Format::Jsonl => {
            listing.routes.iter().for_each(|route| one_a_line(who, &route_json(route)));
        }
    }
    if listing.omitted > 0 {
        say_omitted(listing.omitted);
    }
}

pub(crate) fn say_omitted(omitted: impl Display) {
    remark(&format!("note: {omitted} more grants and denies are not shown: at most {MOST_ENTRIES} are"));
}

/// Each grant and each deny of a route, as an object of its own.
pub(crate) fn one_a_line(who: &str, route: &Value) {
    let lists = ["grant", "deny"].into_iter().filter_map(|list| route.get(list)?.as_array());
    for entry in lists.flatten() {
        let mut line = json!({ "principal": who, "route": route.get("name"), "enter": route.get("enter") });
        if let (Some(line), Some(entry)) = (line.as_object_mut(), entry.as_object()) {
            line.extend(entry.clone());
        }
        answer(&line.to_string());
    }
}
