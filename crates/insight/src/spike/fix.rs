//! What would help against a cause, tried: what it restores, and what it opens besides.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use portcullis_policy::{ChangedClass, DiffBounds, Effect, Outcome, Policy, compare};

use crate::again::{Again, Missing, Unknown, again};
use crate::counts::Counts;
use crate::impact::{Tally, user};
use crate::sample::{Outlook, Seen, network_text};
use crate::spike::changes::{ChangeKind, RecentChange, Versions};
use crate::spike::familiar::Familiar;
use crate::spike::report::Fix;
use crate::spike::ways::{Ways, calibrated};
use crate::words::{counted, number};

/// Requests on which a way back is tried.
const TRIED: usize = 2_000;
/// Where fewer of those whom a way back lets in were let in before, it is not proposed, in percent of them and not of what they send.
const KNOWN: usize = 10;
/// Kinds of request that a way back opens, as they are listed.
const OPENED: usize = 5;
/// Where the networks of both policies have more ranges than this, what a way back opens besides is not compared: that walks all of them.
const RANGES: usize = 50_000;
/// The name of whoever types a command, in any shell, also as root by `sudo`.
const WHO_IS_THERE: &str = "\"${SUDO_USER:-$(id -un)}\"";
/// How exactly two policies are compared beside requests: some tenth of a second at most.
const BOUNDS: DiffBounds = DiffBounds {
    places: 20_000,
    evaluations: 300_000,
    classes: 200,
    reasons: false,
    rules: false,
    pause: std::thread::yield_now,
};

/// The first digits of a policy's hash, and its number where versions are counted.
pub(super) fn short(policy: &Policy) -> String {
    let hash = policy.sha256().get(..12).unwrap_or_default();
    if policy.version() > 1 { format!("{hash} (version {})", policy.version()) } else { hash.to_owned() }
}

/// The number of a policy where versions are counted, else the first digits of its hash.
pub(super) fn which(policy: &Policy) -> String {
    if policy.version() > 1 { format!("version {}", policy.version()) } else { short(policy) }
}

/// A word of a command, quoted where a shell would take it for more than one, or for something else.
pub(super) fn word(text: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_./:@%+=,".contains(one);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// So many of them at most, evenly from the first to the last: one who sends much at once is not all that is tried.
fn tried<'s>(seens: &'s [&'s Seen]) -> impl Iterator<Item = &'s Seen> {
    seens.iter().step_by(seens.len().div_ceil(TRIED).max(1)).copied()
}

/// The rule that most of them are due to.
pub(super) fn due_to(change: &RecentChange, seens: &[&Seen]) -> String {
    let mut rules = Counts::default();
    let mut tally = Tally::new(&change.before, &change.after);
    for seen in tried(seens) {
        // Whoever was not looked at is counted as nobody, for whom the network decides alike.
        let name = tally.rule_of(&seen.request).unwrap_or_else(|| "the policy".to_owned());
        rules.add(&name, 1);
    }
    rules.top(1).into_iter().next().map_or_else(|| "the policy".to_owned(), |count| count.name)
}

/// The way back from a change, of those that there are. `later`: the changes that came after it.
pub(super) fn of_change(
    change: &RecentChange,
    seens: &[&Seen],
    sample: &Outlook,
    familiar: &Familiar,
    (ways, later, now): (&Ways, &[RecentChange], Timestamp),
) -> Fix {
    let versions = ways.versions;
    let all = Taken::of(change, versions, later);
    let back = WayBack::of((change, all.from), seens, sample, familiar);
    let mut approved = "";
    let command = match change.kind {
        // Whoever was never let in can send as much as they like, to have a rule taken back that keeps them out.
        _ if back.is_of_strangers() => {
            "no way back is proposed: hardly any of these was let in before the change".to_owned()
        }
        ChangeKind::Policy if versions != Versions::NotKept && change.before.version() < change.after.version() => {
            if versions == Versions::Approved {
                approved = "; it is in force once it is approved";
            }
            all.command(change, versions)
        }
        ChangeKind::Policy => format!("put the policy {} back, and `portcullis reload`", short(&change.before)),
        ChangeKind::Routes | ChangeKind::Configuration
            if versions != Versions::NotKept && change.before.version() < change.after.version() =>
        {
            if versions == Versions::Approved {
                approved = "; it is in force once it is approved";
            }
            all.command(change, versions)
        }
        ChangeKind::Routes => "put the earlier `[[route]]` back, and `portcullis reload`".to_owned(),
        ChangeKind::Configuration => "put the earlier configuration back, and `portcullis reload`".to_owned(),
        ChangeKind::Calibration => ways.undo_calibration(calibrated(change, later)),
        // They are not undone here.
        ChangeKind::Identity | ChangeKind::ClientAddress | ChangeKind::Keys | ChangeKind::Start => {
            "put the earlier configuration back, and `portcullis reload`".to_owned()
        }
        ChangeKind::Rollout => "portcullis policy abort --reason \"spike of refusals\"".to_owned(),
        ChangeKind::Feed if is_one(&change.about) && ways.undo_list(change, later) => {
            format!("portcullis feed rollback {}", change.about)
        }
        ChangeKind::Feed => {
            "look at it with `portcullis feed list`, and give the network fixed addresses until its source is right"
                .to_owned()
        }
    };
    let (opens, whole) = opened(all.from, &change.before, now);
    let preview = back.in_words(&opens, whole) + &all.in_words() + approved;
    Fix { command, preview, restores: back.restores(), opens }
}

/// What a way back takes back.
struct Taken<'c> {
    /// What is in force until then: what a way back opens is what this does not permit.
    from: &'c Policy,
    /// The change alone; else all that came after it, too.
    alone: bool,
    /// The versions that came after it, and how many changes by files.
    later: Vec<u64>,
    unnumbered: u64,
}

impl<'c> Taken<'c> {
    fn of(change: &'c RecentChange, versions: Versions, later: &'c [RecentChange]) -> Self {
        let is_of_files = |one: &&RecentChange| match one.kind {
            ChangeKind::Policy | ChangeKind::Routes | ChangeKind::Configuration => true,
            ChangeKind::Calibration | ChangeKind::Identity | ChangeKind::ClientAddress => false,
            ChangeKind::Keys | ChangeKind::Start | ChangeKind::Rollout | ChangeKind::Feed => false,
        };
        // What serves is another one, and lists and calibrations are taken back each by itself.
        if !is_of_files(&change) {
            return Self { from: &change.after, alone: true, later: Vec::new(), unnumbered: 0 };
        }
        let (n, mut numbers) = (change.after.version(), Vec::new());
        numbers.extend(later.iter().filter(|one| one.kind != ChangeKind::Rollout).map(|one| one.after.version()));
        numbers.retain(|number| *number > n);
        numbers.sort_unstable();
        numbers.dedup();
        // Of a version alone what is between it and the one before it is undone.
        let alone =
            versions != Versions::NotKept && !numbers.is_empty() && change.before.version().checked_add(1) == Some(n);
        let in_force = later.iter().rev().find(|one| one.kind != ChangeKind::Rollout);
        let from = in_force.filter(|_| !alone).map_or(&*change.after, |one| &one.after);
        let unnumbered =
            if versions == Versions::NotKept { later.iter().filter(is_of_files).count() as u64 } else { 0 };
        Self { from, alone, later: numbers, unnumbered }
    }

    fn command(&self, change: &RecentChange, versions: Versions) -> String {
        // What is to be approved has an author, and root is nobody in particular: as somebody copies it, it says who is there.
        let author = if versions == Versions::Approved { format!(" --author {WHO_IS_THERE}") } else { String::new() };
        let (how, number) = match self.alone {
            true => ("revert", change.after.version()),
            false => ("rollback", change.before.version()),
        };
        format!("portcullis policy {how} {number}{author} --reason \"spike of refusals\"")
    }

    fn in_words(&self) -> String {
        let numbers: Vec<String> = self.later.iter().map(u64::to_string).collect();
        let versions = if numbers.len() == 1 { "version" } else { "versions" };
        match (self.alone, numbers.is_empty(), self.unnumbered) {
            (true, false, _) => format!(
                "; all of it at most, since what came later stays: {versions} {}; `--dry-run` says exactly",
                numbers.join(", ")
            ),
            (_, _, some) if some > 0 => {
                format!(
                    "; it undoes what came later, too: {}",
                    counted(some, "change of the files", "changes of the files")
                )
            }
            (false, false, _) => format!("; it undoes what came later, too: {versions} {}", numbers.join(", ")),
            (_, _, _) => String::new(),
        }
    }
}

/// Whether it is the name of one list, as a command takes it.
fn is_one(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.'))
}

/// The way back from what cannot be undone on requests.
pub(super) fn of_blind(table: &str, seens: &[&Seen]) -> Fix {
    let preview = format!(
        "restores these {} requests at most: they cannot be decided on again without it, and neither can what it opens besides",
        number(seens.len() as u64)
    );
    let command = format!("put the earlier `{table}` back, and `portcullis reload`");
    Fix { command, preview, restores: seens.len() as u64, opens: Vec::new() }
}

/// What a way back does to requests that were made.
#[derive(Debug, Default)]
struct WayBack {
    tried: u64,
    /// Of those that are put down to the change.
    permitted: u64,
    /// Nobody looked at who these were; somebody is known from there.
    not_looked_at: u64,
    callers: Counts,
    /// Whose the restored ones are: each principal, and of those who are not verified each network, has one voice, however much comes of it.
    voices: HashMap<String, bool>,
    /// Those of somebody, or from where people, or those who use the very place, came before.
    known: Counts,
    /// Of the last other requests.
    others: u64,
    others_permitted: u64,
    others_refused: u64,
}

impl WayBack {
    /// `from`: what is in force until then.
    fn of((change, from): (&RecentChange, &Policy), seens: &[&Seen], sample: &Outlook, familiar: &Familiar) -> Self {
        let mut back = Self::default();
        for seen in tried(seens) {
            let request = &seen.request;
            back.tried += 1;
            match again(&change.before, request, &Unknown::default()) {
                Again::Ruled(ruling) if ruling.outcome == Outcome::Permit => back.permitted += 1,
                Again::Depends(Missing::Identity) if familiar.has_people(request.client.ip()) => {
                    back.not_looked_at += 1
                }
                Again::Ruled(_) | Again::Depends(_) => continue,
            }
            let caller = match request.principal() {
                Some(_) => user(request),
                None => request.client.ip().map_or_else(|| user(request), |address| address.to_string()),
            };
            back.callers.add(&caller, 1);
            let is_known = familiar.has_caller(request) || familiar.has_regular(request);
            if is_known {
                back.known.add(&caller, 1);
            }
            let voice = match request.principal() {
                Some(_) => user(request),
                None => network_text(request.client.ip()),
            };
            *back.voices.entry(voice).or_default() |= is_known;
        }
        let these: HashSet<*const Seen> = seens.iter().map(|seen| std::ptr::from_ref(*seen)).collect();
        let mut tally = Tally::new(from, &change.before);
        let others = sample.recent.iter().rev().filter(|seen| !these.contains(&std::sync::Arc::as_ptr(seen)));
        for seen in others.take(TRIED) {
            if let Some(permitted) = seen.permitted() {
                tally.add(&seen.request, &Unknown::default(), Some(permitted), 1);
            }
        }
        let impact = tally.finish();
        (back.others, back.others_permitted) = (impact.requests, impact.newly_permitted.requests);
        back.others_refused = impact.newly_denied.requests.saturating_add(impact.newly_undecided.requests);
        back
    }

    fn restores(&self) -> u64 {
        self.permitted.saturating_add(self.not_looked_at)
    }

    fn is_of_strangers(&self) -> bool {
        let known = self.voices.values().filter(|known| **known).count();
        known == 0 || known.saturating_mul(100) < self.voices.len().saturating_mul(KNOWN)
    }

    fn in_words(&self, opens: &[String], whole: bool) -> String {
        let at_most = if self.not_looked_at > 0 { "at most " } else { "" };
        let opened = match (opens, whole) {
            ([], true) => "it opens nothing else".to_owned(),
            ([], false) => "what else it opens is too much to compare here: see `portcullis policy preview`".to_owned(),
            (opens, whole) => {
                let more = if whole { "" } else { ", and more that is not compared here" };
                format!("for everybody it opens {}{more}", opens.join("; "))
            }
        };
        format!(
            "restores {at_most}{} of these {} requests, of {}, {} let in before; of the last {} others it would permit {} and refuse {} that are answered otherwise now; {opened}",
            number(self.restores()),
            number(self.tried),
            counted(self.callers.distinct(), "caller", "callers"),
            number(self.known.distinct()),
            number(self.others),
            number(self.others_permitted),
            number(self.others_refused)
        )
    }
}

/// Every kind of request that the way back permits and what it takes back does not, seen or not; and whether that is all.
fn opened(from: &Policy, back: &Policy, now: Timestamp) -> (Vec<String>, bool) {
    if back.network_ranges().saturating_add(from.network_ranges()) > RANGES {
        return (Vec::new(), false);
    }
    let diff = compare(from, back, now, &BOUNDS);
    // Also where a second factor is still to be shown.
    let is_in = |class: &&ChangedClass| matches!(class.after.outcome, Outcome::Permit | Outcome::StepUp);
    let loosens = diff.classes.iter().filter(|class| class.effect() == Effect::Loosens);
    let opens: Vec<&ChangedClass> = loosens.filter(is_in).collect();
    let mut said: Vec<String> = opens.iter().take(OPENED).map(|class| kind(class)).collect();
    if opens.len() > OPENED {
        said.push(format!("{} more", counted((opens.len() - OPENED) as u64, "kind of request", "kinds of request")));
    }
    (said, diff.incomplete.is_empty())
}

/// `GET /reports/* by group:staff (network office-berlin)`.
fn kind(class: &ChangedClass) -> String {
    let place = class.places.first().map_or_else(String::new, |place| {
        let more = class.places.len().saturating_sub(1).saturating_add(class.more_places);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} {}{}{rest}", place.methods.join(","), place.host.as_deref().unwrap_or_default(), place.path)
    });
    let mut who = class.callers.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if class.callers.len() > 3 || class.more_callers > 0 {
        who.push_str(" and others");
    }
    let when = class
        .when
        .iter()
        .map(|one| format!("{} {}", one.fact, one.values.iter().take(3).cloned().collect::<Vec<_>>().join(" or ")));
    // The comparison looks from now to the way back.
    let when = when.collect::<Vec<_>>().join(", ").replace(" (after)", " as it was").replace(" (before)", " as it is");
    if when.is_empty() { format!("{place} by {who}") } else { format!("{place} by {who} ({when})") }
}

/// A ban of the network that most of it comes from, or where good callers come from there, too, of the address. `None`: none has most of it, or a ban
/// would turn good callers away.
pub(super) fn of_attack(networks: &Counts, seens: &[&Seen], sample: &Outlook) -> Option<Fix> {
    let most = |counts: &Counts| {
        let most = counts.top(1).into_iter().next()?;
        (most.requests * 2 > seens.len() as u64 && !most.name.is_empty()).then_some(most)
    };
    let network = most(networks)?;
    let kinds = sample.older.iter().chain(&sample.lasting).map(|one| &one.seen);
    let good = || sample.recent.iter().chain(kinds.clone()).filter(|seen| !seen.is_refused());
    let let_in_from = |is_there: &dyn Fn(&Seen) -> bool| {
        let mut let_in = Counts::default();
        for seen in good().filter(|seen| seen.request.principal().is_some() && is_there(seen)) {
            let_in.add(&user(&seen.request), 1);
        }
        let_in.distinct()
    };
    let of_range = |range: &str, requests: u64, beside: &str| Fix {
        command: format!("portcullis ban add --range {range} --for 1h --reason \"spike of refusals\""),
        preview: format!(
            "restores nobody and opens nothing; {} of these requests come from there; turns nobody away who was let in before{beside}",
            number(requests)
        ),
        restores: 0,
        opens: Vec::new(),
    };
    let others = let_in_from(&|seen| network_text(seen.request.client.ip()) == network.name);
    if others == 0 {
        return Some(of_range(&network.name, network.requests, ""));
    }
    let mut addresses = Counts::default();
    seens.iter().filter_map(|seen| seen.request.client.ip()).for_each(|ip| addresses.add(&ip.to_string(), 1));
    let address = most(&addresses).filter(|address| {
        let_in_from(&|seen| seen.request.client.ip().is_some_and(|ip| ip.to_string() == address.name)) == 0
    });
    if let Some(address) = address {
        let beside =
            format!(", as far as that is kept; {} of its network are let in", counted(others, "caller", "callers"));
        let bits = if address.name.contains(':') { 128 } else { 32 };
        return Some(of_range(&format!("{}/{bits}", address.name), address.requests, &beside));
    }
    // The ban of a shared address is for its anonymous callers alone where the gateway makes it, and for all where somebody does.
    Some(Fix {
        command: format!("portcullis ban list (no ban of {} is proposed)", network.name),
        preview: format!(
            "restores nobody and opens nothing; {} of these requests come from there; a ban of all of it would turn {} away who are let in",
            number(network.requests),
            counted(others, "caller", "callers")
        ),
        restores: 0,
        opens: Vec::new(),
    })
}

/// Nothing here refuses them.
pub(super) fn of_upstream(seens: &[&Seen]) -> Fix {
    let preview = format!(
        "restores these {} requests, if it answers as before; here nothing is to be opened: the policy permits them",
        number(seens.len() as u64)
    );
    Fix {
        command: "put the upstream back to what it was, or see why it refuses".to_owned(),
        preview,
        restores: seens.len() as u64,
        opens: Vec::new(),
    }
}

/// The provider's affair.
pub(super) fn of_keys(seens: &[&Seen]) -> Fix {
    let preview = format!(
        "restores these {} requests, as far as their credentials are good; it opens nothing that they did not open before: no rule changes",
        number(seens.len() as u64)
    );
    let command =
        "have the provider publish the earlier keys beside the new ones, until its tokens have expired".to_owned();
    Fix { command, preview, restores: seens.len() as u64, opens: Vec::new() }
}

/// The affair of whoever made the software.
pub(super) fn of_release(software: &str, seens: &[&Seen]) -> Fix {
    let name = if software.is_empty() { "the software" } else { software };
    let preview = format!(
        "restores these {} requests, once they are sent as before; here nothing is to be opened",
        number(seens.len() as u64)
    );
    Fix {
        command: format!("hold {name} back until it is mended"),
        preview,
        restores: seens.len() as u64,
        opens: Vec::new(),
    }
}
