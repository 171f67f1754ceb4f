//! What the tests of remote sinks share.

use std::io::Read as _;
use std::time::Duration;

use portcullis_testkit::receiver::{Receiver, Request};
use serde_json::Value;

use crate::event::tests::{missing_grant, to_line};
use crate::settings::HttpTarget;
use crate::sinks::{Delivery, Line, Remote};

/// Lines of events with these numbers, each with an id of its own.
pub(super) fn lines(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let line = String::from_utf8(to_line(missing_grant())).unwrap();
    let of = |seq: u64| {
        let line = line.trim_end().replace("\"seq\":18231", &format!("\"seq\":{seq}"));
        line.replacen("0197a000-0000-7000-8000-000000000001", &format!("0197a000-0000-7000-8000-{seq:012}"), 1)
    };
    numbers.map(|seq| of(seq).into_bytes()).collect()
}

pub(super) fn deliver(sink: &mut dyn Remote, lines: &[Vec<u8>]) -> Delivery {
    let batch: Vec<Line<'_>> = lines.iter().map(|line| Line { json: line }).collect();
    sink.deliver(&batch)
}

pub(super) fn target(receiver: &Receiver, path: &str) -> HttpTarget {
    HttpTarget {
        tls: None,
        host: "127.0.0.1".into(),
        port: receiver.address().port(),
        path: path.into(),
        timeout: Duration::from_secs(20),
    }
}

/// The body as it was before it was compressed.
pub(super) fn body(request: &Request) -> Vec<u8> {
    match request.header("content-encoding") {
        Some("gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(request.body.as_slice()).read_to_end(&mut plain).unwrap();
            plain
        }
        Some(other) => panic!("{other}"),
        None => request.body.clone(),
    }
}

/// The documents of a body of lines, or of values one after another.
pub(super) fn documents(body: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(body).into_iter().map(Result::unwrap).collect()
}
