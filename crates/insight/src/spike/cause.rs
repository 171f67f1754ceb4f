//! How much of a spike each cause is.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{KeptRequest, Policy};

use crate::counts::Counts;
use crate::impact::user;
use crate::sample::{Answered, Outlook, Seen, network_text};
use crate::spike::SpikeSettings;
use crate::spike::answered::Upstreams;
use crate::spike::beyond::{Beyond, OwnBans, freed_or_made};
use crate::spike::blind::{self, Sight};
use crate::spike::bystanders::Bystanders;
use crate::spike::changes::{ChangeKind, RecentChange};
use crate::spike::classes::{Circumstances, Class};
use crate::spike::familiar::Familiar;
use crate::spike::fix;
use crate::spike::remembered::Remembered;
use crate::spike::report::{Cause, CauseKind, Explained, Fix};
use crate::spike::undone;
use crate::spike::ways::Ways;
use crate::words::{counted, number};

/// The time of a spike, and how much it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// When it began.
    pub onset: Timestamp,
    /// Until when it is looked at.
    pub until: Timestamp,
    /// Refusals from then to then.
    pub observed: u64,
    /// As many as were to be expected.
    pub expected: u64,
}

/// For so many seconds, and so many buckets at least, of the time before it is looked at what is usual.
const BASELINE: (u64, u32) = (600, 12);
/// A release comes to few callers at first: for so many seconds, and buckets at least, before it comes to many.
pub(super) const FIRST_CALLERS: (u64, u32) = (300, 6);
/// What cannot be undone on requests brings a spike about so soon, in seconds, and in buckets at least.
const AT_ONCE: (u64, u32) = (30, 3);
/// What is less than this share of a spike is not named, in percent.
const NAMED: u64 = 2;
/// Causes that are named.
const CAUSES: usize = 3;

/// Explains a spike. `changes` are those of the last while, the oldest first; `ways` the ways back that there are; `remembered` is whoever was let in before the process began.
pub fn explain(
    window: &Window,
    (sample, remembered): (&Outlook, &Remembered),
    (changes, ways): (&[RecentChange], &Ways),
    settings: &SpikeSettings,
) -> Explained {
    let Window { onset, until, .. } = *window;
    let long_before = |(seconds, buckets)| {
        let span = settings.at_least(seconds, buckets);
        onset.checked_sub(span).unwrap_or(Timestamp::MIN)
    };
    let from = onset.checked_sub(settings.at_least(settings.lookback.as_secs(), 1)).unwrap_or(Timestamp::MIN);
    // Also one that came behind the onset, which is the beginning of a bucket and may be some buckets early: it turned what came after it alone.
    let suspects: Vec<&RecentChange> = changes.iter().filter(|change| (from..=until).contains(&change.at)).collect();
    let familiar = Familiar::of(sample, remembered, onset, settings.at_least(FIRST_CALLERS.0, FIRST_CALLERS.1));
    let between = |from: Timestamp, to: Timestamp| -> Vec<&Seen> {
        let within = |seen: &&Arc<Seen>| (from..to).contains(&seen.request.now);
        sample.refusals.iter().filter(within).map(|seen| &**seen).collect()
    };
    let (refused, usual) = (between(onset, until), between(long_before(BASELINE), onset));
    // A ban of the gateway's own that began since hides why it began: that is looked for behind it.
    let all: Vec<&Seen> = usual.iter().chain(&refused).copied().collect();
    let bans = OwnBans::of(&all, sample);
    let freed = bans.without(&all);
    let [refused, usual] = [&refused, &usual].map(|seens| freed_or_made(seens, &freed));
    let beyond = Beyond { policy: ways.in_force.as_deref(), deeds: &ways.deeds, familiar: &familiar, from };
    let beside = |change| Bystanders::of(&refused, sample, &familiar, (onset, until), change);
    let bystanders = beside(None);
    let upstreams = Upstreams::of(&refused, sample, onset);
    let at_once = settings.at_least(AT_ONCE.0, AT_ONCE.1);
    let since = blind::last(&suspects, onset, at_once);
    let since = since.map(|change| beside(Some(change.at)));
    let sight = Sight { familiar: &familiar, since: since.as_ref().unwrap_or(&bystanders), onset, at_once };
    let circumstances = Circumstances::new(&suspects, (&bystanders, sight), &upstreams, (beyond, &bans), &refused);
    let classes = circumstances.classified(&refused);
    let usual_classes = circumstances.classified(&usual);
    let excess = window.observed.saturating_sub(window.expected);
    let mut causes: Vec<(Class, u64)> = Vec::new();
    for (class, seens) in &classes {
        let usually = usual_classes.get(class).map_or(0, Vec::len);
        // The part of the class in all refusals, less its part in those that were to be expected.
        let observed = part(window.observed, seens.len(), refused.len());
        let expected = part(window.expected, usually, usual.len());
        causes.push((class.clone(), observed.saturating_sub(expected).min(excess)));
    }
    let seens_of = |class: &Class| classes.get(class).map(Vec::as_slice).unwrap_or_default();
    // What was done is told of also beside a much larger incident, where it turned away a spike's worth of requests, or anybody who was let in before.
    let is_told_anyway = |class: &Class, requests: u64| {
        let is_anybodys = || seens_of(class).iter().any(|seen| familiar.has_principal(&seen.request));
        class.is_done() && (requests >= settings.min_excess || is_anybodys())
    };
    let (causes, left) = chosen(causes, excess, is_told_anyway);
    let teller = Teller { excess, until, ways, all: changes, sample, circumstances: &circumstances };
    let named: Vec<Cause> =
        causes.iter().map(|(class, requests)| teller.cause(class, *requests, seens_of(class))).collect();
    // What is left of others is more than what was to be expected of them.
    let is_left = left.saturating_mul(100) >= excess.saturating_mul(NAMED);
    let others = classes.get(&Class::Other).map(Vec::as_slice).filter(|_| is_left).unwrap_or_default();
    let told: Vec<&Class> = causes.iter().map(|(class, _)| class).collect();
    let (ruled_out, not_ruled_out) = cleared(&suspects, (&classes, &told), others, &familiar);
    Explained {
        onset,
        until,
        observed: window.observed,
        expected: window.expected,
        looked_at: refused.len() as u64,
        causes: named,
        unexplained: left,
        ruled_out,
        not_ruled_out,
        revision: 0,
    }
}

/// The causes that are named, the largest first, and what they leave. Those that are told of anyway have their places first.
fn chosen(
    mut causes: Vec<(Class, u64)>,
    excess: u64,
    is_told_anyway: impl Fn(&Class, u64) -> bool,
) -> (Vec<(Class, u64)>, u64) {
    causes.retain(|(class, requests)| {
        let is_enough = requests.saturating_mul(100) >= excess.saturating_mul(NAMED);
        *class != Class::Other && *requests > 0 && (is_enough || is_told_anyway(class, *requests))
    });
    let by_size = |a: &(Class, u64), b: &(Class, u64)| b.1.cmp(&a.1).then_with(|| a.0.order().cmp(&b.0.order()));
    causes.sort_by(|a, b| {
        let comes_first = |one: &(Class, u64)| is_told_anyway(&one.0, one.1);
        comes_first(b).cmp(&comes_first(a)).then_with(|| by_size(a, b))
    });
    causes.truncate(CAUSES);
    let mut left = excess;
    for (_, requests) in &mut causes {
        *requests = (*requests).min(left);
        left -= *requests;
    }
    causes.sort_by(by_size);
    (causes, left)
}

fn part(whole: u64, some: usize, all: usize) -> u64 {
    if all == 0 { 0 } else { u64::try_from(u128::from(whole) * some as u128 / all as u128).unwrap_or(u64::MAX) }
}

/// Puts a cause into words.
struct Teller<'s> {
    excess: u64,
    until: Timestamp,
    ways: &'s Ways,
    /// All changes, also those that came later.
    all: &'s [RecentChange],
    sample: &'s Outlook,
    circumstances: &'s Circumstances<'s>,
}

impl Teller<'_> {
    fn cause(&self, class: &Class, requests: u64, seens: &[&Seen]) -> Cause {
        let Circumstances { changes, familiar, beyond, bans, .. } = self.circumstances;
        let counts = |name: &dyn Fn(&KeptRequest) -> String| {
            let mut counts = Counts::default();
            seens.iter().for_each(|seen| counts.add(&name(&seen.request), 1));
            counts
        };
        let users = counts(&user);
        let networks = counts(&|request: &KeptRequest| network_text(request.client.ip()));
        let reasons = {
            let mut counts = Counts::default();
            seens.iter().for_each(|seen| counts.add(&answer(seen.answered), 1));
            counts
        };
        let known = seens.iter().filter(|seen| familiar.has_caller(&seen.request)).count();
        let who = format!(
            "{}, {} of {} let in before from there or by name",
            counted(users.distinct(), "caller", "callers"),
            number(known as u64),
            number(seens.len() as u64)
        );
        let top = |counts: &Counts| counts.top(1).into_iter().next().map(|count| count.name).unwrap_or_default();
        let (kind, summary, fix) = match class {
            Class::Deed(index) => match beyond.told(*index, seens) {
                Some(deed) => undone::deed(&deed, seens, familiar, &who),
                None => (CauseKind::Ban, who, None),
            },
            Class::Over(assignment) => undone::over(assignment, seens, (beyond, bans), self.ways.versions, &who),
            Class::Banned => undone::banned(seens, bans, familiar, &who),
            Class::Change(index) => match changes.get(*index) {
                Some(change) => self.change(change, seens, &who),
                None => (CauseKind::ConfigChange, who, None),
            },
            Class::Together(index) => match changes.get(*index).and_then(|change| Some((change, change.whole()?))) {
                Some((change, whole)) => {
                    let rule = fix::due_to(&whole, seens);
                    let others = changes.iter().filter(|one| one.at == change.at && one.kind.is_replayed());
                    let kinds: Vec<&str> = others.map(|one| one.kind.in_words()).collect();
                    let what = format!(
                        "{}, all of which came at {:.0}: each of them alone turns these away, by {rule}; {who}",
                        kinds.join(" and "),
                        change.at
                    );
                    let tried = self.way_back(&whole, seens);
                    let command = "undo all of these changes: none of them alone lets these in again".to_owned();
                    (CauseKind::ConfigChange, what, Some(Fix { command, ..tried }))
                }
                None => (CauseKind::ConfigChange, who, None),
            },
            Class::Upstream => {
                let what = format!("permitted here, and answered with {} by the upstream itself; {who}", top(&reasons));
                (CauseKind::Upstream, what, Some(fix::of_upstream(seens)))
            }
            Class::Keys => {
                let withdrawn = changes.iter().rev().find(|change| change.kind == ChangeKind::Keys);
                let since = withdrawn.map_or_else(String::new, |change| format!("; {}", blind::in_words(change)));
                let what = format!(
                    "credentials that do not verify ({}){since}; {who}: see the provider's keys",
                    top(&reasons)
                );
                (CauseKind::Keys, what, Some(fix::of_keys(seens)))
            }
            Class::Release => {
                let software = top(&counts(&|request: &KeptRequest| request.software().to_owned()));
                let what = match &*software {
                    "" => format!("what a software sends that is not named cannot be read ({})", top(&reasons)),
                    software => format!("{software} is new here ({})", top(&reasons)),
                };
                (CauseKind::ClientRelease, format!("{what}; {who}"), Some(fix::of_release(&software, seens)))
            }
            Class::OnePrincipal(..) => {
                (CauseKind::OnePrincipal, format!("{} alone ({})", top(&users), top(&reasons)), None)
            }
            Class::Attack => {
                let network = top(&networks);
                let paths = counts(&|request: &KeptRequest| request.path().to_owned());
                let beside = match known as u64 {
                    0 => "nobody there was let in before".to_owned(),
                    known => format!(
                        "{} of {} come from where others are let in as ever",
                        number(known),
                        number(seens.len() as u64)
                    ),
                };
                let what = format!(
                    "from {}, most from {network}, {}, mostly {}; {beside}",
                    counted(networks.distinct(), "network", "networks"),
                    counted(paths.distinct(), "path", "different paths"),
                    top(&reasons)
                );
                (CauseKind::Attack, what, fix::of_attack(&networks, seens, self.sample))
            }
            Class::Other => (CauseKind::OnePrincipal, who, None),
        };
        Cause {
            kind,
            requests,
            share_percent: requests.saturating_mul(100).checked_div(self.excess).unwrap_or(0),
            due_to: self.due_to(class, seens),
            summary,
            by_user: users.top(5),
            by_network: networks.top(5),
            by_reason: reasons.top(5),
            fix,
        }
    }

    /// Which one it is, of what was done; the same in each report of a spike.
    fn due_to(&self, class: &Class, seens: &[&Seen]) -> Option<String> {
        let Circumstances { changes, beyond, .. } = self.circumstances;
        match class {
            Class::Change(index) => changes.get(*index).map(|change| change.name()),
            Class::Together(index) => changes.get(*index).map(|change| format!("all that came at {:.0}", change.at)),
            Class::Deed(index) => beyond.told(*index, seens).map(|deed| deed.name()),
            Class::Over(assignment) if assignment.is_empty() => Some("a role that was held for a time".to_owned()),
            Class::Over(assignment) => Some(format!("assignment {assignment}")),
            Class::Banned | Class::Upstream | Class::Keys | Class::Release => None,
            Class::Attack | Class::OnePrincipal(..) | Class::Other => None,
        }
    }

    fn change(&self, change: &RecentChange, seens: &[&Seen], who: &str) -> (CauseKind, String, Option<Fix>) {
        let rule = fix::due_to(change, seens);
        let [before, after] = [&change.before, &change.after].map(|policy| fix::short(policy));
        let (kind, what) = match change.kind {
            ChangeKind::Policy => (CauseKind::ConfigChange, format!("policy {after} in place of {before}")),
            ChangeKind::Routes => {
                (CauseKind::ConfigChange, format!("the routes (`[[route]]`) around the policy {after}, read anew"))
            }
            ChangeKind::Configuration => {
                (CauseKind::ConfigChange, format!("the configuration around the policy {after}, read anew"))
            }
            ChangeKind::Rollout => {
                (CauseKind::ConfigChange, format!("policy {after}, which is rolled out beside {before},"))
            }
            ChangeKind::Feed if change.about.is_empty() => {
                (CauseKind::FeedChange, "another list of a network".to_owned())
            }
            ChangeKind::Feed => (CauseKind::FeedChange, format!("another list of the network {}", change.about)),
            ChangeKind::Calibration => {
                let named =
                    |policy: &Policy| policy.calibration().map_or_else(|| "none".to_owned(), |id| id.to_string());
                let what = format!(
                    "calibration {} of the risk in place of {} at {:.0} asks more of these than they have shown, or turns them away; {who}",
                    named(&change.after),
                    named(&change.before),
                    change.at
                );
                return (CauseKind::CalibrationChange, what, Some(self.way_back(change, seens)));
            }
            ChangeKind::Identity => {
                let what = format!(
                    "{}: since then the credentials of these are not taken, and of those who came as ever hardly any comes through; {who}",
                    blind::in_words(change)
                );
                return (CauseKind::ConfigChange, what, Some(fix::of_blind("[identity]", seens)));
            }
            ChangeKind::ClientAddress => {
                let what = format!(
                    "{}: since then nobody comes from where people came as ever, and these come from where nobody was let in before; {who}",
                    blind::in_words(change)
                );
                return (CauseKind::ConfigChange, what, Some(fix::of_blind("[client_address]", seens)));
            }
            ChangeKind::Keys | ChangeKind::Start => (CauseKind::ConfigChange, change.about.clone()),
        };
        let summary = format!("{what} at {:.0} turned these away, by {rule}; {who}", change.at);
        (kind, summary, Some(self.way_back(change, seens)))
    }

    fn way_back(&self, change: &RecentChange, seens: &[&Seen]) -> Fix {
        let index = self.all.iter().position(|one| std::ptr::eq(one, change));
        let later = index.and_then(|index| self.all.get(index + 1..)).unwrap_or_default();
        let Circumstances { familiar, bans, .. } = self.circumstances;
        let mut fix = fix::of_change(change, seens, self.sample, familiar, (self.ways, later, self.until));
        fix.preview.push_str(&undone::bans_that_came_of_it(seens, bans));
        fix
    }
}

fn answer(answered: Answered) -> String {
    match answered {
        Answered::Permitted(status) => status.to_string(),
        Answered::Refused(code) => code.code().to_owned(),
    }
}

/// Changes that came in time: those that turned nothing, and those of which that is not known, or of which there is no room to tell more.
fn cleared(
    changes: &[&RecentChange],
    (classes, told): (&HashMap<Class, Vec<&Seen>>, &[&Class]),
    left: &[&Seen],
    familiar: &Familiar,
) -> (Vec<String>, Vec<String>) {
    let (mut ruled_out, mut not_ruled_out) = (Vec::new(), Vec::new());
    for (index, change) in changes.iter().enumerate() {
        let is_one_of = |class: &Class| match class {
            Class::Together(other) => changes.get(*other).is_some_and(|other| other.at == change.at),
            class => *class == Class::Change(index),
        };
        if told.iter().any(|class| is_one_of(class)) {
            continue;
        }
        let turned = classes.iter().filter(|(class, _)| is_one_of(class)).map(|(_, seens)| seens.len() as u64).sum();
        if turned > 0 {
            not_ruled_out.push(format!(
                "{}: {} of these would be let in with it undone",
                change.name(),
                number(turned)
            ));
            continue;
        }
        let may_be = !change.kind.is_replayed() || change.kind == ChangeKind::Configuration;
        match blind::not_ruled_out(change, left, familiar).filter(|_| may_be) {
            Some(said) => not_ruled_out.push(said),
            None => ruled_out.extend(turned_nothing(change)),
        }
    }
    (ruled_out, not_ruled_out)
}

/// `None`: nothing that is undone shows that.
fn turned_nothing(change: &RecentChange) -> Option<String> {
    let what = match change.kind {
        ChangeKind::Policy => "the policy of",
        ChangeKind::Routes => "the routes of",
        ChangeKind::Configuration => "the configuration of",
        ChangeKind::Rollout => "the policy that is rolled out since",
        ChangeKind::Feed => "the list of",
        ChangeKind::Calibration => "the calibration of",
        ChangeKind::Identity | ChangeKind::ClientAddress | ChangeKind::Keys | ChangeKind::Start => return None,
    };
    let is_of_the_policy = matches!(change.kind, ChangeKind::Policy | ChangeKind::Rollout);
    let which = if is_of_the_policy { format!(" ({})", fix::which(&change.after)) } else { String::new() };
    Some(format!("{what} {:.0}{which}: with it undone all of these would be refused as well", change.at))
}
