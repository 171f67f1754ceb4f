//! What an answer to a POST means for a batch, where the receiver's protocol says nothing else.

use std::time::Duration;

use crate::sinks::Delivery;
use crate::sinks::post::{Answer, PostError};

/// By the status: 2xx is accepted, 413 is too much, 408, 425, 429 and 5xx are worth another try, however often.
///
/// A redirect, and a 401, 403, 404, 405 or 407, say something of the gateway's credential or of the configured address and nothing
/// of the events: somebody may mend that while the gateway runs, so the events wait for a time. Any other 4xx (400, 422 …) will never be
/// another.
pub(crate) fn of(answer: &Answer) -> Delivery {
    match answer.status {
        200..=299 => Delivery::Accepted,
        413 => Delivery::TooLarge,
        401 | 403 | 407 => barred(answer, "the receiver does not accept the credential"),
        300..=399 | 404 | 405 => barred(answer, "there is no such receiver at this address"),
        408 | 425 | 429 => retry(answer, "the receiver asks to wait"),
        500..=599 => retry(answer, "the receiver fails"),
        _ => refused(answer),
    }
}

/// None of the batch will ever be accepted.
pub(crate) fn refused(answer: &Answer) -> Delivery {
    Delivery::Refused { which: Vec::new(), why: words("the receiver refuses", answer) }
}

/// No answer is no refusal.
pub(crate) fn unanswered(error: &PostError) -> Delivery {
    later(None, error.to_string())
}

pub(crate) fn retry(answer: &Answer, what: &str) -> Delivery {
    later(answer.retry_after, words(what, answer))
}

pub(crate) fn barred(answer: &Answer, what: &str) -> Delivery {
    Delivery::Barred { after: answer.retry_after, why: words(what, answer) }
}

pub(crate) fn later(after: Option<Duration>, why: String) -> Delivery {
    Delivery::Retry { after, why }
}

pub(crate) fn words(what: &str, answer: &Answer) -> String {
    let said = answer.said();
    let separator = if said.is_empty() { "" } else { ": " };
    format!("{what} ({}){separator}{said}", answer.status)
}

/// What became of a batch of which the lines at `bad` were no events and were not sent.
pub(crate) fn with_bad(delivery: Delivery, bad: Vec<usize>) -> Delivery {
    match delivery {
        delivery if bad.is_empty() => delivery,
        Delivery::Accepted => no_events(bad),
        Delivery::Refused { which, why } if which.is_empty() => Delivery::Refused { which, why },
        Delivery::Refused { mut which, why } => {
            which.extend(bad);
            which.sort_unstable();
            Delivery::Refused { which, why }
        }
        delivery @ (Delivery::Retry { .. } | Delivery::Barred { .. } | Delivery::TooLarge) => delivery,
    }
}

/// Lines that are no events.
pub(crate) fn no_events(which: Vec<usize>) -> Delivery {
    Delivery::Refused { which, why: "it is no native event".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, retry_after: Some(Duration::from_secs(7)), body: Some("no\nway\u{202e}".into()) }
    }

    #[test]
    fn each_status_means_one_thing() {
        for status in [200, 201, 204, 299] {
            assert_eq!(of(&answer(status)), Delivery::Accepted, "{status}");
        }
        for status in [301, 401, 403, 404, 405, 407, 408, 425, 429, 500, 502, 503, 504, 599] {
            let (after, why) = match of(&answer(status)) {
                Delivery::Barred { after, why } if status < 408 => (after, why),
                Delivery::Retry { after, why } if status >= 408 => (after, why),
                other => panic!("{status}: {other:?}"),
            };
            assert_eq!(after, Some(Duration::from_secs(7)), "{status}");
            assert!(why.ends_with(&format!("({status}): no way")), "{why}");
        }
        for status in [100, 400, 406, 409, 415, 422, 451] {
            assert!(matches!(of(&answer(status)), Delivery::Refused { which, .. } if which.is_empty()), "{status}");
        }
        assert_eq!(of(&answer(413)), Delivery::TooLarge);
    }

    #[test]
    fn a_line_that_is_no_event_is_refused_beside_the_others() {
        let which = |delivery, bad: &[usize]| match with_bad(delivery, bad.to_vec()) {
            Delivery::Refused { which, .. } => Some(which),
            Delivery::Accepted | Delivery::Retry { .. } | Delivery::Barred { .. } | Delivery::TooLarge => None,
        };
        let refused = |which: &[usize]| Delivery::Refused { which: which.to_vec(), why: String::new() };
        assert_eq!(which(Delivery::Accepted, &[]), None);
        assert_eq!(which(Delivery::Accepted, &[3]), Some(vec![3]));
        assert_eq!(which(refused(&[2]), &[1, 5]), Some(vec![1, 2, 5]));
        assert_eq!(which(refused(&[]), &[1]), Some(vec![]), "all of them");
        assert_eq!(which(Delivery::TooLarge, &[1]), None);
    }
}
