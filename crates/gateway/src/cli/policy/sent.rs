//! `policy diff` by a running gateway, and policies that are sent to one.

use std::path::Path;

use portcullis_admin::api::{DiffWanted, PolicyDiffered, PolicySide, PolicyText};
use serde_json::{Value, json};

use super::named;
use super::preview::read;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, Named, PolicyDiffArgs};
use crate::cli::check::is_policy;
use crate::cli::live::{ask_to_look, fail};
use crate::cli::output::answer;
use crate::exit::Exit;

/// What names the policy in force.
const IN_FORCE: &str = "in_force";

/// A policy of this machine, to be read as if it stood where the gateway's does. A whole configuration is none.
pub(crate) fn sent(global: &Global, file: &Path) -> Result<PolicyText, Exit> {
    let text = read(file).map_err(|error| {
        fail(global, &format!("{}: {error}", file.display()));
        Exit::Unreachable
    })?;
    if file.as_os_str() != "-" && !is_policy(file) {
        let message = format!(
            "{}: a policy is sent to the gateway, whose routes it is read with, and this is none",
            file.display()
        );
        fail(global, &message);
        return Err(Exit::Usage);
    }
    let name = file.file_name().map_or_else(|| "policy.toml".to_owned(), |name| name.display().to_string());
    Ok(PolicyText { name: if name == "-" { "policy.toml".to_owned() } else { name }, text })
}

fn side(global: &Global, file: &Path) -> Result<PolicySide, Exit> {
    match named(file) {
        Some(Named::Version(n)) => Ok(PolicySide::Version(n)),
        Some(Named::Change(id)) => Ok(PolicySide::Change(id)),
        None if file.as_os_str() == IN_FORCE && !file.exists() => Ok(PolicySide::InForce),
        None => sent(global, file).map(PolicySide::Policy),
    }
}

pub(super) fn diff(global: &Global, args: &PolicyDiffArgs) -> Result<Exit, Exit> {
    let wanted = DiffWanted {
        before: side(global, &args.before)?,
        after: side(global, &args.after)?,
        reasons: args.reasons,
        at: args.at.map(|at| at.to_string()),
    };
    let differed: PolicyDiffered = match (name(&wanted.before), name(&wanted.after)) {
        // Whoever may only look may ask this.
        (Some(before), Some(after)) => {
            let mut parameters = vec![("before", before), ("after", after), ("reasons", wanted.reasons.to_string())];
            parameters.extend(wanted.at.clone().map(|at| ("at", at)));
            let target = portcullis_admin::target("/v1/policy/diff", &parameters);
            ask_to_look(global, async |client| client.get(&target).await)?
        }
        (None, _) | (_, None) => ask_to_look(global, async |client| client.post("/v1/policy/diff", &wanted).await)?,
    };
    match global.output {
        _ if global.quiet => {}
        Format::Human => differed.text.lines().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&format!("{:#}", differed.report)),
        Format::Jsonl => {
            let part = |key: &str| differed.report.get(key).cloned().unwrap_or_default();
            let classes = part("classes");
            let classes = classes.as_array().map(Vec::as_slice).unwrap_or_default();
            classes.iter().for_each(|class: &Value| answer(&class.to_string()));
            let end = json!({ "effect": part("effect"), "classes": classes.len(), "incomplete": part("incomplete") });
            answer(&end.to_string());
        }
    }
    Ok(if differed.unchanged { Exit::Success } else { Exit::Negative })
}

/// What the gateway knows it by; `None`: it is sent along.
fn name(side: &PolicySide) -> Option<String> {
    match side {
        PolicySide::InForce => Some(IN_FORCE.to_owned()),
        PolicySide::Version(n) => Some(n.to_string()),
        PolicySide::Change(id) => Some(id.clone()),
        PolicySide::Policy(_) => None,
    }
}
