//! The events that the running gateway has written to its own files.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{
    EventCount, EventExplained, EventId, EventSeries, EventsCounted, EventsFound, EventsWanted, Problem,
};
use portcullis_history::{
    Count, Cursor, EventFile, Facts, Filter, Index, Trouble, files_of, search, search_part, stats,
};
use serde_json::Value;

use super::{Operated, problem, shown};
use crate::answers::{reason_pages, related};
use crate::running::Running;
use crate::yielding::{Priority, yielding};

/// The longest part, and the part where nobody says how long.
const MOST: u32 = 10_000;
const SOME: u32 = 50;
/// The longest part, in bytes of events: as JSON that is looked into it is several times as much memory, beside requests.
const MAX_PART: usize = 4 << 20;
/// Values of each kind that are counted for whoever says nothing.
const TOP: u32 = 10;
/// The longest text that a filter says.
const MAX_TEXT: usize = 1_024;
/// Without a time it is about the last day, as on the command line.
const DAY: Duration = Duration::from_secs(86_400);

/// The files of events, the newest first, and their index.
pub(super) struct Kept {
    pub(super) files: Vec<EventFile>,
    index: Option<Index>,
    /// What is wrong with them, in sentences.
    pub(super) notes: Vec<String>,
}

impl Kept {
    /// Those of the sink that has every event, or most.
    pub(super) fn of(running: &Running) -> Result<Self, Problem> {
        let (events, index) = running.archive();
        let Some(file) = events.event_file() else {
            return Err(problem(
                "no sink of kind \"file\" with native events is configured, so that the gateway cannot look into its events",
            ));
        };
        let mut notes = Vec::new();
        if !file.has_all {
            notes.push(format!("the sink `{}` has only what its filter lets through", file.sink));
        }
        let index = index.and_then(|settings| {
            Index::open(&settings.path).unwrap_or_else(|error| {
                notes.push(format!("the index cannot be used, so the files are read: {error}"));
                None
            })
        });
        // After the index: what was rotated meanwhile is known to it or read.
        let (files, failures) = files_of(file.path);
        notes.extend(failures.into_iter().map(|(path, error)| format!("{}: {error}", path.display())));
        Ok(Self { files, index, notes })
    }

    pub(super) fn note(&mut self, trouble: &Trouble) {
        if trouble.too_long + trouble.malformed > 0 {
            self.notes.push(format!("{} lines could not be read", trouble.too_long + trouble.malformed));
        }
        if let Some(error) = &trouble.index {
            self.notes.push(format!("the index could not be used, so the files were read: {error}"));
        }
        self.notes.extend(trouble.files.iter().map(|(path, error)| format!("{}: {error}", path.display())));
    }
}

/// When that is.
pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let of = |text: &str| {
        text.parse().map_err(|_| problem(format!("`{name}`: expected a time such as 2026-11-28T12:00:00Z")))
    };
    text.map(of).transpose()
}

/// A day before that.
pub(super) fn a_day_before(now: Timestamp) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(DAY).ok()?).ok()
}

fn filter(wanted: &EventsWanted, now: Timestamp) -> Result<Filter, Problem> {
    let texts = [&wanted.reason, &wanted.principal, &wanted.network, &wanted.route, &wanted.id, &wanted.after];
    if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT) {
        return Err(problem(format!("a text of more than {MAX_TEXT} bytes stands in no event")));
    }
    let network = |text: &String| {
        let unfit = || problem(format!("`{}` is neither an address nor a network", shown(text)));
        let address = text.parse().map(|address: std::net::IpAddr| address.to_canonical().into());
        address.or_else(|_| text.parse::<ipnet::IpNet>().map(|network| network.trunc())).map_err(|_| unfit())
    };
    let id = |text: &String| text.parse().map_err(|_| problem(format!("`{}` is no id of an event", shown(text))));
    let id: Option<uuid::Uuid> = wanted.id.as_ref().map(id).transpose()?;
    let since = moment("since", wanted.since.as_deref())?;
    // An id is of one event, whenever it was.
    let since = if id.is_some() { since } else { since.or_else(|| a_day_before(now)) };
    Ok(Filter {
        since,
        until: moment("until", wanted.until.as_deref())?,
        refusals: wanted.refusals,
        reason: wanted.reason.clone(),
        principal: wanted.principal.clone(),
        network: wanted.network.as_ref().map(network).transpose()?,
        route: wanted.route.clone(),
        id,
    })
}

fn limit(wanted: &EventsWanted, otherwise: u32) -> Result<usize, Problem> {
    let limit = wanted.limit.unwrap_or(otherwise);
    if !(1..=MOST).contains(&limit) {
        return Err(problem(format!("`limit` is from 1 to {MOST}")));
    }
    Ok(limit as usize)
}

/// Reads files as it can beside requests.
fn beside<T: Send>(work: impl FnOnce() -> Result<T, Problem> + Send) -> Result<T, Problem> {
    yielding("archive", Priority::Low, work).map_err(problem)?
}

/// The newest of those that are wanted.
pub(super) fn found(operated: &Operated, wanted: &EventsWanted) -> Result<EventsFound, Problem> {
    let (filter, limit) = (filter(wanted, Timestamp::now())?, limit(wanted, SOME)?);
    let unfit = |()| problem("`after` is no `next` of a part before");
    let after: Option<Cursor> = wanted.after.as_deref().map(str::parse).transpose().map_err(unfit)?;
    beside(|| {
        let mut kept = Kept::of(&operated.running)?;
        let part = search_part(&kept.files, kept.index.as_ref(), &filter, (limit, MAX_PART), after);
        kept.note(&part.found.trouble);
        Ok(EventsFound {
            events: part.found.events.iter().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            matches: part.found.matches,
            more: part.next.is_some(),
            next: part.next.map(|next| next.to_string()),
            notes: kept.notes,
        })
    })
}

/// How many there are.
pub(super) fn counted(operated: &Operated, wanted: &EventsWanted) -> Result<EventsCounted, Problem> {
    let (filter, top) = (filter(wanted, Timestamp::now())?, limit(wanted, TOP)?);
    beside(|| {
        let mut kept = Kept::of(&operated.running)?;
        let counted = stats(&kept.files, kept.index.as_ref(), &filter, top);
        kept.note(&counted.trouble);
        let counts = |counts: Vec<Count>| {
            counts.into_iter().map(|Count { value, events }| EventCount { value, events }).collect::<Vec<_>>()
        };
        Ok(EventsCounted {
            events: counted.events,
            refusals: counted.refusals,
            reasons: counts(counted.reasons),
            routes: counts(counted.routes),
            principals: counts(counted.principals),
            addresses: counts(counted.addresses),
            series: EventSeries {
                begin: counted.pieces.map(|(begin, _)| begin.to_string()),
                seconds: counted.pieces.map(|(_, seconds)| seconds),
                events: counted.series,
            },
            notes: kept.notes,
        })
    })
}

/// One, and what is around it.
pub(super) fn explained(operated: &Operated, id: &EventId) -> Result<EventExplained, Problem> {
    let wanted = EventsWanted { id: Some(id.id.clone()), ..EventsWanted::default() };
    let filter = filter(&wanted, Timestamp::now())?;
    beside(|| {
        let mut kept = Kept::of(&operated.running)?;
        let found = search(&kept.files, kept.index.as_ref(), &filter, 1);
        let facts = found.events.first().and_then(|line| Facts::of_line(line.as_bytes()));
        let related = facts.map(|facts| related::related(&kept.files, kept.index.as_ref(), &facts));
        kept.note(&found.trouble);
        let event: Option<Value> = found.events.first().and_then(|line| serde_json::from_str(line).ok());
        let Some(event) = event else {
            return Err(problem(format!("there is no event {} in the files of the gateway", shown(&id.id))));
        };
        let code = event.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(EventExplained {
            event,
            meaning: reason_pages::part(&code, "What it means").map(str::to_owned),
            next: reason_pages::part(&code, "What the operator checks").map(str::to_owned),
            related: related.unwrap_or_default(),
            notes: kept.notes,
        })
    })
}
