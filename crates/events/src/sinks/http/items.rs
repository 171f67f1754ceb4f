//! Answers that say of each event what became of it.

use serde::Deserialize;

use crate::sinks::post::Answer;
use crate::sinks::{Delivery, outcome};

/// What Elasticsearch's bulk API answers.
#[derive(Debug, Deserialize)]
struct Bulk {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Problem>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    reason: String,
}

/// A bulk request is answered 200 whatever became of its items. One that is there already (409) is a repetition and no loss; if any
/// is worth another try (429, 5xx), the batch comes again, and what was taken meanwhile is such a repetition.
pub(super) fn of_bulk(answer: &Answer, sent: &[usize]) -> Delivery {
    let Some(bulk) = answer.body.as_deref().and_then(|body| serde_json::from_slice::<Bulk>(body).ok()) else {
        return outcome::barred(answer, "the receiver's answer is none of Elasticsearch's");
    };
    if !bulk.errors {
        return Delivery::Accepted;
    }
    if bulk.items.len() != sent.len() {
        return outcome::later(None, format!("the receiver answered {} of {} events", bulk.items.len(), sent.len()));
    }
    let (mut which, mut why) = (Vec::new(), String::new());
    for (Item { create }, place) in bulk.items.iter().zip(sent) {
        match create.status {
            200..=299 | 409 => {}
            429 | 500..=599 => return outcome::later(None, words(create)),
            _ => {
                if which.is_empty() {
                    why = words(create);
                }
                which.push(*place);
            }
        }
    }
    if which.is_empty() { Delivery::Accepted } else { Delivery::Refused { which, why } }
}

fn words(outcome: &Outcome) -> String {
    let (kind, reason) = outcome.error.as_ref().map_or(("", ""), |error| (&error.kind, &error.reason));
    let said = format!("{kind} {reason}");
    let plain: String = said.chars().filter(|character| !character.is_control()).take(200).collect();
    format!("the receiver refuses ({}): {}", outcome.status, plain.trim())
}

/// What Splunk's HTTP Event Collector answers.
#[derive(Debug, Deserialize)]
struct Collector {
    #[serde(default, rename = "invalid-event-number")]
    invalid: Option<usize>,
}

/// It takes the events before the first bad one, and names that. The rest comes again with the batch: what was taken already is
/// there twice then, unless it is told by its `id`. A refusal without a number is of all.
pub(super) fn of_collector(answer: &Answer, sent: &[usize]) -> Delivery {
    let said = answer.body.as_deref().and_then(|body| serde_json::from_slice::<Collector>(body).ok());
    let why = outcome::words("the receiver refuses", answer);
    match said.and_then(|said| said.invalid).and_then(|number| sent.get(number)) {
        // One event alone is the bad one; of several the halves are tried, until it is alone.
        Some(_) if sent.len() > 1 => Delivery::TooLarge,
        Some(place) => Delivery::Refused { which: vec![*place], why },
        None => Delivery::Refused { which: Vec::new(), why },
    }
}
