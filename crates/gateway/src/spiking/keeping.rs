//! What of spikes is kept in the store: what is usual, who was let in, what was in force, and the last spikes. A row that cannot be read is dropped,
//! and said; no start fails for it.

use jiff::{SignedDuration, Timestamp};
use portcullis_config::{GovernedKind, Loaded};
use portcullis_insight::spike::{Explained, Parts, Remembered, Usual};
use portcullis_store::{Database, Settings, SpikeBook, SpikeRows, SpikesOf, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Spike;
use super::states::State;

const USUAL: &str = "usual";
const REMEMBERED: &str = "remembered";
const STATES: &str = "states";
/// When it was usual is kept by the hour, in seconds: so that what is usual still is not written anew.
const HOUR: i64 = 3_600;
/// What was usual so long ago may not be any more.
const USUAL_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What an earlier process knew.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(super) usual: Option<Usual>,
    pub(super) remembered: Remembered,
    pub(super) states: Vec<State>,
    pub(super) found: Vec<Spike>,
}

/// What spikes begin with.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What was read around the policy.
    pub(crate) parts: Parts,
    /// Where all of it is kept; `None`: nowhere.
    pub(crate) book: Option<SpikeBook>,
    pub(super) known: Known,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    pub(super) usual: Option<Usual>,
    pub(super) states: Option<Vec<State>>,
    pub(super) found: Vec<Spike>,
}

/// What was usual, and when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsualThen {
    /// Seconds since 1970.
    at: i64,
    usual: Usual,
}

impl Begun {
    /// What the store has of them. Only a store that cannot be used at all is an error.
    pub(crate) fn open(loaded: &Loaded, database: Option<&Database>) -> Result<Self, StoreError> {
        let book = match loaded.sample.and(loaded.spike) {
            Some(_) => database.map(SpikeBook::open).transpose()?,
            None => None,
        };
        let known = book.as_ref().map(|book| known(book, Timestamp::now())).unwrap_or_default();
        Ok(Self { parts: parts_of(loaded), book, known })
    }
}

/// What was read around the policy, part by part.
pub(crate) fn parts_of(loaded: &Loaded) -> Parts {
    const APART: [&str; 3] = ["route", "identity", "client_address"];
    let governed = &loaded.governed;
    let shown = |digest: [u8; 32]| data_encoding::HEXLOWER.encode(&digest);
    let table = |name: &'static str| shown(governed.of_tables(|table| table == name));
    let by_whom = governed.of_files(&[GovernedKind::Keys, GovernedKind::Users, GovernedKind::Trust]);
    Parts {
        routes: table("route"),
        identity: format!("{}{}", table("identity"), shown(by_whom)),
        client_address: table("client_address"),
        others: shown(governed.of_tables(|table| !APART.contains(&table) && governed.decides(table))),
    }
}

fn known(book: &SpikeBook, now: Timestamp) -> Known {
    let usual: Option<UsualThen> = read(book, USUAL);
    let is_recent =
        |then: &UsualThen| Timestamp::from_second(then.at).is_ok_and(|at| now.duration_since(at).abs() <= USUAL_FOR);
    let remembered: Remembered = read(book, REMEMBERED).unwrap_or_default();
    Known {
        usual: usual.filter(is_recent).map(|then| then.usual),
        remembered: remembered.as_of(now),
        states: read(book, STATES).unwrap_or_default(),
        found: found(book),
    }
}

/// What is kept under a name. What cannot be read is forgotten.
fn read<T: DeserializeOwned>(book: &SpikeBook, name: &str) -> Option<T> {
    let value = book.known(name).map_err(|error| error.to_string()).transpose()?;
    let value = value.and_then(|value| serde_json::from_slice(&value).map_err(|error| error.to_string()));
    value
        .inspect_err(|error| {
            tracing::warn!(name, error, "what was kept of spikes of refusals cannot be read, and begins anew");
            // It is written anew, too, as soon as there is something to write.
            let _ = book.forget(name);
        })
        .ok()
}

fn found(book: &SpikeBook) -> Vec<Spike> {
    let rows = book.found().unwrap_or_else(|error| {
        tracing::warn!(%error, "the spikes of refusals that were explained before cannot be read");
        Vec::new()
    });
    let read = |(id, report): (String, Result<Vec<u8>, StoreError>)| {
        let report = report.map_err(|error| error.to_string());
        let spike = report.and_then(|report| {
            let explained: Explained = serde_json::from_slice(&report).map_err(|error| error.to_string())?;
            let id = id.parse::<Uuid>().map_err(|error| error.to_string())?;
            Ok(Spike { id, explained, number: None })
        });
        spike
            .inspect_err(|error| {
                tracing::warn!(
                    id,
                    error,
                    "a spike of refusals that was explained before cannot be read, and is dropped"
                );
                let _ = book.forget_found(&id);
            })
            .ok()
    };
    rows.into_iter().filter_map(read).collect()
}

/// The spikes that a store has, the last one first: for whoever asks while no gateway runs.
///
/// # Errors
/// A sentence: it cannot be used.
pub(crate) fn found_in(settings: &Settings) -> Result<Vec<Spike>, String> {
    let book = SpikeBook::look(settings).map_err(|error| error.to_string())?;
    let mut spikes = found(&book);
    spikes.reverse();
    Ok(spikes)
}

/// Writes what is to be written, or nothing of it, where another process serves by now. `remembered`: who was let in, where that is due.
///
/// # Errors
/// A sentence: none of it is written.
pub(super) fn write(
    book: &mut SpikeBook,
    (unsaved, remembered): (&Unsaved, Option<&Remembered>),
    (now, is_last): (Timestamp, bool),
) -> Result<SpikesOf, String> {
    let mut rows = SpikeRows { is_last, ..SpikeRows::default() };
    if let Some(states) = &unsaved.states {
        rows.known.push((STATES, text(states)?));
    }
    if let Some(usual) = unsaved.usual {
        rows.known.push((USUAL, text(&UsualThen { at: now.as_second() / HOUR * HOUR, usual })?));
    }
    if let Some(remembered) = remembered {
        rows.known.push((REMEMBERED, text(remembered)?));
    }
    for Spike { id, explained, .. } in &unsaved.found {
        rows.found.push((id.to_string(), text(explained)?));
    }
    book.write(&rows).map_err(|error| error.to_string())
}

fn text(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}
