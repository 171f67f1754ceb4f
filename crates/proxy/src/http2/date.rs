//! The date of an answer (RFC 9110 §6.6.1), written once a second.

use std::cell::RefCell;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// The date that was written last.
#[derive(Debug, Default)]
pub(super) struct Dates {
    last: RefCell<Option<(i64, HeaderValue)>>,
}

impl Dates {
    /// The time of day as IMF-fixdate (RFC 9110 §5.6.7).
    pub(super) fn at(&self, now: Timestamp) -> HeaderValue {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((second, date)) if *second == now.as_second() => date.clone(),
            _ => {
                let date = written(now);
                *last = Some((now.as_second(), date.clone()));
                date
            }
        }
    }
}

fn written(now: Timestamp) -> HeaderValue {
    // INVARIANT: a timestamp of this millennium has such a form.
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_has_it_and_once_a_second() {
        let dates = Dates::default();
        let check = |time: &str, expected: &str| assert_eq!(dates.at(time.parse().unwrap()), expected);
        check("1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT");
        check("1994-11-06T08:49:37.9Z", "Sun, 06 Nov 1994 08:49:37 GMT");
        check("2026-11-28T23:59:59Z", "Sat, 28 Nov 2026 23:59:59 GMT");
    }
}
