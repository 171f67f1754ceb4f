//! Whom an audit is asked about: that nothing is found about somebody whom nobody knows says nothing.

use std::collections::BTreeSet;

use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_policy::Spelling;

use crate::answers::terminal::safe;
use crate::auditing::Facts;
use crate::cli::args::Global;
use crate::cli::live::fail;
use crate::exit::Exit;

/// Principals that are named where the one that is asked about is not known.
const NAMED: usize = 10;

/// One principal, as ids are compared here.
#[derive(Debug)]
pub(super) struct About {
    name: String,
    spelling: Spelling,
}

impl About {
    /// However it is typed. Of a gateway elsewhere, and where the files cannot be read, exactly so.
    pub(super) fn typed(global: &Global, principal: &str) -> Self {
        Self::new(principal, files(global).map(|loaded| loaded.identity.spelling()).unwrap_or_default())
    }

    fn new(principal: &str, spelling: Spelling) -> Self {
        Self { name: spelling.name(principal).into_owned(), spelling }
    }

    pub(super) fn is(&self, principal: &str) -> bool {
        *self.spelling.name(principal) == self.name
    }
}

fn files(global: &Global) -> Option<Loaded> {
    global.admin.is_none().then(|| load(&global.config, &ProcessEnvironment).ok()).flatten()
}

/// Refuses what is no principal, and one whom neither the policy nor a source of identity of this machine's files knows. Of a gateway elsewhere the form alone
/// is looked at, and so it is where the files cannot be read.
pub(super) fn known(global: &Global, principal: &str) -> Result<About, Exit> {
    let kinds = ["user", "service", "certificate", "group"];
    if !principal.split_once(':').is_some_and(|(kind, id)| kinds.contains(&kind) && !id.is_empty()) {
        let message = format!(
            "--principal: `{}` is no principal: write `user:NAME`, `service:NAME`, `certificate:NAME` or `group:NAME`",
            safe(principal)
        );
        fail(global, &message);
        return Err(Exit::Usage);
    }
    let Some(mut loaded) = files(global) else { return Ok(About::new(principal, Spelling::default())) };
    let about = About::new(principal, loaded.identity.spelling());
    let (names, is_open) = of(&mut loaded, &about.name);
    if is_open || names.iter().any(|name| about.is(name)) {
        return Ok(about);
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

#[cfg(test)]
mod tests {
    use portcullis_policy::PrincipalKind;

    use super::*;

    #[test]
    fn whom_a_directory_knows_is_asked_about_however_it_is_typed() {
        let spelling = Spelling::new([(PrincipalKind::User, "corp:", true), (PrincipalKind::User, "", false)]);
        for (typed, name, is) in [
            ("user:corp:Alice", "user:corp:alice", true),
            ("user:corp:alice", "user:corp:ALICE", true),
            ("user:Alice", "user:alice", false),
            ("user:alice", "user:alice", true),
            ("group:Staff", "group:staff", false),
        ] {
            assert_eq!(About::new(typed, spelling.clone()).is(name), is, "{typed} {name}");
        }
    }
}
