//! The preview of a change: what it would have done to the requests of the sample, and what the sample cannot tell.

use jiff::Timestamp;
use portcullis_policy::{AccessRequest, ChangedClass, ChangedPlace, DiffBounds, KeptRequest, Policy, compare};
use schemars::JsonSchema;
use serde::Serialize;

use crate::again::Unknown;
use crate::impact::{Impact, PolicyId, SCHEMA, Stamped, Tally};
use crate::sample::{Outlook, Seen};
use crate::words::{counted, number};

/// What a change would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ImpactPreview")]
pub struct Preview {
    /// The shape of this report.
    pub schema: &'static str,
    /// The policy in force.
    pub present: PolicyId,
    /// The policy that would be.
    pub candidate: PolicyId,
    /// Of the last requests.
    pub recent: Impact,
    /// Of the newest request of each kind that came before them.
    pub older: Impact,
    /// What it rests on.
    pub coverage: Coverage,
}

/// What a preview rests on, and where it is blind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ImpactCoverage")]
pub struct Coverage {
    /// When the oldest of the last requests was made, RFC 3339.
    pub recent_since: Option<String>,
    /// When the oldest of all was made.
    pub older_since: Option<String>,
    /// Requests that were taken into the sample since the gateway started.
    pub taken: u64,
    /// Requests that came faster than they could be taken, and are not in it.
    pub missed: u64,
    /// Requests of the sample that no policy decides on: malformed ones, and those over a limit.
    pub not_asked: u64,
    /// Kinds of request (who, what, and from one answer to which other) that are answered otherwise, by comparing both policies.
    pub changed: u64,
    /// How many of them nobody in the sample made.
    pub never_seen: u64,
    /// The first of these. At most 20.
    pub unseen: Vec<Unseen>,
    /// What the comparison left out.
    pub incomplete: Vec<String>,
}

/// A kind of request that is answered otherwise and that nobody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ImpactUnseen")]
pub struct Unseen {
    /// The answer of the policy in force.
    pub before: &'static str,
    /// The answer of the candidate.
    pub after: &'static str,
    /// Who could make it.
    pub callers: Vec<String>,
    /// Where, such as `POST /reports`.
    pub places: Vec<String>,
}

/// Requests that are answered otherwise and are looked up among the kinds that changed.
const LOOKED_UP: usize = 2_000;
/// How many look-ups at most.
const LOOK_UPS: usize = 2_000_000;
/// Kinds, and callers or places of each, that a report shows.
const SHOWN: usize = 20;
const SHOWN_NAMES: usize = 5;

/// How many requests are decided on again, each twice, until others may do their work: some ten microseconds.
const PIECE: usize = 8;

/// Decides on the sample again, and compares both policies. `yields` is called now and then, so that who has work to do on the same processor can
/// do it.
pub fn preview(
    present: &Policy,
    candidate: &Policy,
    sample: &Outlook,
    now: Timestamp,
    yields: fn(),
) -> Stamped<Preview> {
    let mut recent = Tally::new(present, candidate).keeping(LOOKED_UP);
    let mut older = Tally::new(present, candidate).keeping(LOOKED_UP);
    let mut not_asked = 0_u64;
    let mut add = |tally: &mut Tally<'_>, seen: &Seen, weight: u64, index: usize| {
        if index.is_multiple_of(PIECE) {
            yields();
        }
        match seen.permitted() {
            Some(permitted) => tally.add(&seen.request, &Unknown::default(), Some(permitted), weight),
            None => not_asked = not_asked.saturating_add(weight),
        }
    };
    sample.recent.iter().enumerate().for_each(|(index, seen)| add(&mut recent, seen, 1, index));
    sample.older.iter().enumerate().for_each(|(index, one)| add(&mut older, &one.seen, one.weight, index));
    yields();
    let diff = compare(present, candidate, now, &DiffBounds { pause: yields, ..DiffBounds::default() });
    // Places that the comparison does not list are not looked for, and count as never seen.
    let more: usize = diff.classes.iter().map(|class| class.more_places).sum();
    let unseen = never_seen([present, candidate], &diff.classes, [&recent, &older], yields);
    let coverage = Coverage {
        recent_since: sample.recent.first().map(|seen| seen.request.now.to_string()),
        older_since: sample.older.first().map(|one| one.seen.request.now.to_string()),
        taken: sample.taken,
        missed: sample.missed,
        not_asked,
        changed: (diff.classes.iter().map(|class| class.places.len()).sum::<usize>() + more) as u64,
        never_seen: (unseen.len() + more) as u64,
        unseen: shown(&unseen),
        incomplete: diff.incomplete.clone(),
    };
    Stamped::new(Preview {
        schema: SCHEMA,
        present: PolicyId::of(present),
        candidate: PolicyId::of_candidate(candidate, &PolicyId::of(present)),
        recent: recent.finish(),
        older: older.finish(),
        coverage,
    })
}

/// A place of a kind of request that is answered otherwise.
struct Changed<'c> {
    class: &'c ChangedClass,
    place: &'c ChangedPlace,
}

/// The places of changed kinds where no request was answered otherwise.
fn never_seen<'c>(
    [present, candidate]: [&Policy; 2],
    classes: &'c [ChangedClass],
    tallies: [&Tally<'_>; 2],
    yields: fn(),
) -> Vec<Changed<'c>> {
    let mut left = LOOK_UPS;
    let mut seen = |changed: &Changed<'_>| {
        yields();
        let Changed { class, place } = changed;
        let outcomes = [class.before.outcome, class.after.outcome];
        tallies.iter().flat_map(|tally| tally.flipped()).any(|flipped| {
            left = left.saturating_sub(1);
            let request = &flipped.request;
            let is_about = |asked: &AccessRequest<'_>| class.is_about(present, candidate, request.host(), asked);
            // Beyond the bound nothing is found, and the preview says rather that it is blind.
            left > 0
                && flipped.outcomes == outcomes
                && is_at(place, request)
                && request.under(present, is_about) == Some(true)
        })
    };
    let places = classes.iter().flat_map(|class| class.places.iter().map(move |place| Changed { class, place }));
    places.filter(|changed| !seen(changed)).collect()
}

/// Whether a request was at a place.
fn is_at(place: &ChangedPlace, request: &KeptRequest) -> bool {
    let method = place.methods.iter().any(|method| method == "*" || method == request.method());
    let host = place.host.as_deref().is_none_or(|host| match host.strip_prefix('*') {
        Some(ending) => request.host().ends_with(ending),
        None => request.host() == host,
    });
    method && host && matches(&place.path, request.path())
}

/// Whether a path is one of a pattern in which `*` is any segment, and a final `**` any number of them.
fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        match segments.next() {
            Some(segment) if part == segment || (part == "*" && !segment.is_empty()) => {}
            Some(_) | None => return false,
        }
    }
    segments.next().is_none()
}

/// Those of one kind together.
fn shown(unseen: &[Changed<'_>]) -> Vec<Unseen> {
    let mut shown: Vec<Unseen> = Vec::new();
    let mut last: Option<&ChangedClass> = None;
    for Changed { class, place } in unseen {
        let text = format!("{} {}{}", place.methods.join(","), place.host.as_deref().unwrap_or_default(), place.path);
        if let Some(one) = shown.last_mut().filter(|_| last.is_some_and(|last| std::ptr::eq(last, *class))) {
            if one.places.len() < SHOWN_NAMES {
                one.places.push(text);
            }
            continue;
        }
        if shown.len() == SHOWN {
            break;
        }
        last = Some(class);
        shown.push(Unseen {
            before: class.before.outcome.as_str(),
            after: class.after.outcome.as_str(),
            callers: class.callers.iter().take(SHOWN_NAMES).cloned().collect(),
            places: vec![text],
        });
    }
    shown
}

impl Preview {
    /// What it says, in sentences.
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = self.recent.in_words(&format!("the last {} requests", number(self.recent.requests)));
        if self.older.requests > 0 && !self.older.is_none() {
            lines.push(format!(
                "of what came before ({} requests, the newest of each kind)",
                number(self.older.requests)
            ));
            let older = self.older.in_words(&format!("{} earlier requests", number(self.older.requests)));
            lines.extend(older.into_iter().map(|line| format!("  {line}")));
        }
        lines.extend(self.coverage.in_words());
        lines
    }
}

impl Coverage {
    fn in_words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.never_seen {
            0 if self.changed == 0 && self.incomplete.is_empty() => {
                lines.push("every request there can be is answered alike".to_owned());
            }
            0 => lines.push(format!(
                "all {} were seen in the sample",
                counted(self.changed, "changed kind of request", "changed kinds of request")
            )),
            never => {
                lines.push(format!(
                    "{} of {} never seen in the sample: here the preview is blind",
                    number(never),
                    counted(self.changed, "changed kind of request was", "changed kinds of request were")
                ));
                lines.extend(self.unseen.iter().map(Unseen::in_words));
            }
        }
        lines.extend(self.incomplete.iter().map(|sentence| format!("the comparison is incomplete: {sentence}")));
        match (&self.recent_since, &self.older_since) {
            (None, _) => lines.push("the sample is empty: nothing has been asked for yet".to_owned()),
            (Some(recent), None) => lines.push(format!("the sample begins at {recent}")),
            (Some(recent), Some(older)) => {
                lines.push(format!("the last requests begin at {recent}, the earlier kinds at {older}"));
            }
        }
        if self.missed > 0 {
            lines.push(format!("{} came too fast to be taken", counted(self.missed, "request", "requests")));
        }
        lines
    }
}

impl Unseen {
    fn in_words(&self) -> String {
        let who = self.callers.join(", ");
        format!("  {} becomes {}: {} by {who}", self.before, self.after, self.places.join(", "))
    }
}
