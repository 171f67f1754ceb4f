//! What else happened around an event.

use jiff::{SignedDuration, Timestamp};
use portcullis_history::{EventFile, Facts, Filter, Index, search};
use serde_json::Value;

/// How long before and after an event others are related to it.
const AROUND: SignedDuration = SignedDuration::from_mins(15);
/// How many of them are shown.
const RELATED: usize = 5;

/// The newest events around this one that are about the same principal, or, where it has none, the same address.
pub(crate) fn related(files: &[EventFile], index: Option<&Index>, facts: &Facts) -> Vec<Value> {
    let at = Timestamp::from_microsecond(facts.time_us).unwrap_or_default();
    let mut filter = Filter {
        since: at.checked_sub(AROUND).ok(),
        until: at.checked_add(AROUND).ok(),
        principal: facts.principal.as_deref().map(str::to_owned),
        ..Filter::default()
    };
    if filter.principal.is_none() {
        let Some(address) = facts.address else { return Vec::new() };
        filter.network = Some(address.into());
    }
    let found = search(files, index, &filter, RELATED + 1);
    let id = facts.id.to_string();
    let events = found.events.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event.get("id").and_then(Value::as_str) != Some(id.as_str())).take(RELATED).collect()
}
