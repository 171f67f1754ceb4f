//! Several changes are rejected at once: by their ids, or all that one person has waiting.

use portcullis_admin::govern::{Answer, Governed};

use super::{asked, show, words};
use crate::cli::args::{Global, PolicyRejectArgs};
use crate::exit::Exit;

/// Rejects them one after the other. What was rejected before one of them could not be stays so, and is said.
pub(crate) fn reject(global: &Global, args: &PolicyRejectArgs) -> Result<Exit, Exit> {
    let ids = match &args.all_of {
        Some(person) => waiting_of(&asked(global, Governed::List { most: 1, before: None })?, person),
        None => args.changes.clone(),
    };
    let mut all = Answer { message: "no change of theirs waits".to_owned(), ..Answer::default() };
    let mut ended = Exit::Success;
    let mut messages = Vec::new();
    for id in ids {
        match asked(global, Governed::Reject { id, reason: args.reason.clone() }) {
            Ok(done) => {
                messages.push(done.message);
                let changes = [std::mem::take(&mut all.changes), done.changes].concat();
                all = Answer { changes, live: done.live, ..all };
            }
            // Why was said.
            Err(exit) if messages.is_empty() => return Err(exit),
            Err(exit) => {
                ended = exit;
                break;
            }
        }
    }
    if !messages.is_empty() {
        all.message = messages.join("\n");
    }
    show(global, &all, || words::of_rejected(&all));
    Ok(ended)
}

/// The ids of what somebody proposed, by any name of theirs, and that still can become live.
fn waiting_of(list: &Answer, person: &str) -> Vec<String> {
    let is_theirs = |authors: &[String]| authors.iter().any(|name| name.eq_ignore_ascii_case(person.trim()));
    let open = list.changes.iter().filter(|change| change.state == "open" && is_theirs(&change.authors));
    open.map(|change| change.id.clone()).collect()
}
