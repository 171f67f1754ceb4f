//! What is said of lists.

use ipnet::IpNet;

use crate::feed::{Current, Feed, SAMPLE};
use crate::list::List;

pub(super) fn stays(feed: &Feed) -> &'static str {
    match feed.current {
        Some(_) => "the list in force stays",
        None => "there is none in force, so that whether an address is in it is unknown",
    }
}

pub(super) fn prefixes(count: usize) -> String {
    if count == 1 { "1 prefix".to_owned() } else { format!("{count} prefixes") }
}

pub(super) fn changes(name: &str, source: &str, old: Option<&Current>, new: &List) -> String {
    let nothing = List::new(&[]);
    let old = old.map_or(&nothing, |current| &*current.list);
    let (added, removed) = (new.beyond(old, SAMPLE), old.beyond(new, SAMPLE));
    let some = |(count, sample): &(usize, Vec<IpNet>)| {
        let few: Vec<String> = sample.iter().map(ToString::to_string).collect();
        let more = if *count > sample.len() { ", …" } else { "" };
        if few.is_empty() { String::new() } else { format!(" ({}{more})", few.join(", ")) }
    };
    format!(
        "the network {name} has a new list from {source}: {}, {} added{}, {} removed{}; sha256 {}",
        prefixes(new.len()),
        added.0,
        some(&added),
        removed.0,
        some(&removed),
        new.sha256()
    )
}
