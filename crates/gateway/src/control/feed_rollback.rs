//! What going back to the list before of a feed would do.

use std::sync::Arc;

use portcullis_admin::Told;
use portcullis_admin::api::FeedRollbackTried;
use portcullis_feeds::RollbackTried;
use portcullis_insight::{Preview, Stamped};
use portcullis_policy::NetworkContent;

use super::{preview, shown as shown_name};
use crate::answers::feed::texts;
use crate::running::Running;

/// Whether somebody may go back to the list before.
///
/// # Errors
/// A sentence: changes need approvals.
pub(super) fn may_go_back(running: &Running, name: &str) -> Result<(), String> {
    if !running.governing().is_some_and(|governing| governing.demands_approvals()) {
        return Ok(());
    }
    // As strict as what accepts a list: either says who is in a network.
    let name = shown_name(name);
    Err(format!(
        "changes need approvals here, and so does going back to an earlier list: propose a policy whose network {name} has fixed `addresses` \
         in the place of its source, or whose source does not say `accepted` of the list any more where it is in force by that"
    ))
}

/// What going back to the list before would do: what the network would hold, and to the requests that are kept.
///
/// # Errors
/// A sentence: why it would not be done.
pub(super) fn try_rollback(running: &Running, name: &str) -> Result<FeedRollbackTried, String> {
    let (feeds, name) = (running.feeds(), shown_name(name));
    let tried = feeds.keeper().try_rollback(&name, feeds.now()).map_err(|error| error.to_string())?;
    let RollbackTried { content, sha256, entries, age, gone, gone_entries, added, removed } = tried;
    let some = |(count, sample): &(usize, Vec<ipnet::IpNet>)| match texts(sample).join(", ") {
        few if few.is_empty() => String::new(),
        few if *count > sample.len() => format!(" ({few}, …)"),
        few => format!(" ({few})"),
    };
    let mut text = vec![
        format!(
            "the network {name} would have the list before again, confirmed {} s ago: {}, {} added{}, {} removed{}; sha256 {sha256}",
            age.as_secs(),
            prefixes(entries),
            added.0,
            some(&added),
            removed.0,
            some(&removed)
        ),
        format!(
            "the list in force would be held back, {}, sha256 {gone}, and so would all that follow, until one is accepted",
            prefixes(gone_entries)
        ),
    ];
    let (unchanged, report) = match try_on_requests(running, content) {
        Ok(stamped) => {
            text.extend(stamped.report.in_words());
            let unchanged = stamped.report.recent.is_none() && stamped.report.older.is_none();
            (Some(unchanged), Some(Told::of(&stamped).map_err(|error| error.to_string())?))
        }
        Err(why) => {
            text.push(format!("what it would do to requests is not known: {why}"));
            (None, None)
        }
    };
    text.push("nothing was changed".to_owned());
    Ok(FeedRollbackTried {
        text,
        sha256: sha256.to_string(),
        entries: entries as u64,
        age_s: age.as_secs(),
        held: gone.to_string(),
        added: added.0 as u64,
        added_sample: texts(&added.1),
        removed: removed.0 as u64,
        removed_sample: texts(&removed.1),
        unchanged,
        report,
    })
}

/// The policy in force with this content in one network, tried on the requests that are kept.
fn try_on_requests(running: &Running, content: NetworkContent) -> Result<Stamped<Preview>, String> {
    let present = Arc::clone(&running.shared().snapshot().load().policy);
    let contents = [content];
    preview::try_changed(running, move || present.with_networks(&contents).map_err(|error| error.to_string()))
}

fn prefixes(count: usize) -> String {
    if count == 1 { "1 prefix".to_owned() } else { format!("{count} prefixes") }
}
