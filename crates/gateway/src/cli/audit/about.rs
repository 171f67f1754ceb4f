//! Whom an audit is asked about: that nothing is found about somebody whom nobody knows says nothing.

use std::collections::BTreeSet;

use portcullis_config::{Loaded, ProcessEnvironment, load};

use crate::answers::terminal::safe;
use crate::auditing::Facts;
use crate::cli::args::Global;
use crate::cli::live::fail;
use crate::exit::Exit;

/// Principals that are named where the one that is asked about is not known.
const NAMED: usize = 10;

/// Refuses what is no principal, and one whom neither the policy nor a source of identity of this machine's files knows. Of a gateway elsewhere the form alone
/// is looked at, and so it is where the files cannot be read.
pub(super) fn known(global: &Global, principal: &str) -> Result<(), Exit> {
    let kinds = ["user", "service", "certificate", "group"];
    if !principal.split_once(':').is_some_and(|(kind, id)| kinds.contains(&kind) && !id.is_empty()) {
        let message = format!(
            "--principal: `{}` is no principal: write `user:NAME`, `service:NAME`, `certificate:NAME` or `group:NAME`",
            safe(principal)
        );
        fail(global, &message);
        return Err(Exit::Usage);
    }
    let Some(mut loaded) = global.admin.is_none().then(|| load(&global.config, &ProcessEnvironment).ok()).flatten()
    else {
        return Ok(());
    };
    let (names, is_open) = of(&mut loaded, principal);
    if is_open || names.contains(principal) {
        return Ok(());
    }
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| safe(name)).collect();
    if names.len() > NAMED {
        shown.push("…".to_owned());
    }
    let message = format!(
        "--principal: neither the policy nor a source of identity knows `{}`; they know {}",
        safe(principal),
        if shown.is_empty() { "nobody".to_owned() } else { shown.join(", ") }
    );
    fail(global, &message);
    Err(Exit::Usage)
}

/// Everybody who is named, and whether a source may bring this one all the same.
fn of(loaded: &mut Loaded, principal: &str) -> (BTreeSet<String>, bool) {
    let facts = Facts::of(loaded);
    let draft = &loaded.draft;
    let members = draft.groups.iter().flat_map(|group| &group.members);
    let granted = draft.assignments.iter().flat_map(|assignment| &assignment.principals);
    let denied = draft.denies.iter().flat_map(|deny| &deny.principals);
    let mut names: BTreeSet<String> = members.chain(granted).chain(denied).map(|name| name.value.clone()).collect();
    names.extend(draft.groups.iter().map(|group| format!("group:{}", group.name.value)));
    names.extend(facts.callers.credentials.iter().flat_map(|each| &each.groups).map(|group| format!("group:{group}")));
    names.extend(facts.known.listed.iter().cloned());
    names.extend(facts.known.gone.iter().map(|(name, _)| name.clone()));
    let is_open = principal.split_once(':').is_some_and(|(kind, id)| {
        let claimed = kind == "group" && !facts.callers.no_claims;
        claimed
            || facts.known.open.iter().any(|(open, prefix)| open.as_str() == kind && id.starts_with(prefix.as_str()))
    });
    (names, is_open)
}
