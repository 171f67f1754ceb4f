//! Against a broker that takes nothing which is not exactly as the protocol describes it, and that a test can have fail.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::message::In;
use super::records::{crc32c, partition_of};
use super::*;
use crate::format::Format;
use crate::settings::{BatchSettings, SaslMechanism, SaslSettings, Secret};
use crate::sinks::testing::{deliver, lines};

const TOPIC: &str = "refusals";
const PARTITIONS: i32 = 5;
/// The node of the events that the tests send.
const NODE: &[u8] = b"gw-1";

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq)]
struct Consumed {
    key: Vec<u8>,
    value: Vec<u8>,
    id: String,
    time: i64,
}

#[derive(Default)]
struct State {
    records: Vec<Consumed>,
    /// What the next batches are answered with; then 0.
    codes: Vec<i16>,
    /// What the topic is answered with.
    topic_code: i16,
    /// The user and the password of PLAIN; none: nobody has to say who he is.
    account: Option<(String, String)>,
    connections: usize,
    /// It closes the connection instead of an answer to a batch that it has taken.
    loses_answers: usize,
    /// It does not know old versions.
    is_new: bool,
    last_batch_was_compressed: bool,
}

/// A broker that leads every partition.
#[derive(Clone)]
struct Broker {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Broker {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Self { state: Arc::default(), port: listener.local_addr().unwrap().port() };
        let serving = broker.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (broker, stream) = (serving.clone(), stream.unwrap());
                broker.state().connections += 1;
                thread::spawn(move || broker.serve(stream));
            }
        });
        broker
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            brokers: vec![("127.0.0.1".into(), self.port)],
            topic: TOPIC.into(),
            format: Format::Native,
            tls: None,
            sasl: None,
            gzip: true,
            timeout: Duration::from_secs(20),
            batch: BatchSettings::default(),
        }
    }

    fn sink(&self) -> KafkaSink {
        KafkaSink::open(self.settings()).unwrap()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut mechanism = None;
        let mut authenticated = self.state().account.is_none();
        loop {
            let mut head = [0; 4];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            let mut request = vec![0; usize::try_from(i32::from_be_bytes(head)).unwrap()];
            stream.read_exact(&mut request).unwrap();
            let mut request = In(&request);
            let (key, version, number) = (request.i16().unwrap(), request.i16().unwrap(), request.i32().unwrap());
            assert_eq!(request.text().unwrap().as_deref(), Some("portcullis"));
            let mut out = message::Out::default();
            match (key, version) {
                (18, 0) => {
                    let least = if self.state().is_new { 9 } else { 3 };
                    out.i16(0).i32(2).i16(0).i16(least).i16(13).i16(3).i16(0).i16(13);
                }
                (17, 1) => {
                    mechanism = request.text().unwrap();
                    out.i16(if mechanism.as_deref() == Some("PLAIN") { 0 } else { 33 }).i32(1).text("PLAIN");
                }
                (36, 0) => {
                    assert_eq!(mechanism.as_deref(), Some("PLAIN"));
                    let (user, password) = self.state().account.clone().unwrap();
                    authenticated = request.bytes().unwrap() == format!("\0{user}\0{password}").as_bytes();
                    out.i16(if authenticated { 0 } else { 58 }).text("no secret is said").bytes(b"");
                }
                // A broker closes on whoever has not said who he is.
                _ if !authenticated => return,
                (3, 4) => {
                    assert_eq!((request.i32().unwrap(), request.text().unwrap().as_deref()), (1, Some(TOPIC)));
                    assert_eq!(request.i8().unwrap(), 0, "a topic is not made by the way");
                    self.describe(&mut out);
                }
                (0, 3) => {
                    let (partition, code) = self.take(&mut request);
                    if code == 0 && self.state().loses_answers > 0 {
                        self.set(|state| state.loses_answers -= 1);
                        return;
                    }
                    out.i32(1).text(TOPIC).i32(1).i32(partition).i16(code);
                    out.0.extend_from_slice(&[0; 16]);
                    out.i32(0);
                }
                other => panic!("{other:?} is not to be asked"),
            }
            assert!(request.0.is_empty(), "{key}: more than there should be");
            let answer = [&number.to_be_bytes()[..], &out.0].concat();
            let length = i32::try_from(answer.len()).unwrap();
            if stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).is_err() {
                return;
            }
        }
    }

    fn describe(&self, out: &mut message::Out) {
        let code = self.state().topic_code;
        out.i32(0).i32(1).i32(7).text("127.0.0.1").i32(i32::from(self.port)).i16(-1);
        out.text("cluster").i32(7).i32(1).i16(code).text(TOPIC).0.push(0);
        out.i32(if code == 0 { PARTITIONS } else { 0 });
        for partition in 0..if code == 0 { PARTITIONS } else { 0 } {
            out.i16(0).i32(partition).i32(7).i32(1).i32(7).i32(1).i32(7);
        }
    }

    fn take(&self, request: &mut In<'_>) -> (i32, i16) {
        assert_eq!(request.i16().unwrap(), -1, "no transaction");
        assert_eq!(request.i16().unwrap(), -1, "all replicas");
        assert!(request.i32().unwrap() > 0);
        assert_eq!((request.i32().unwrap(), request.text().unwrap().as_deref()), (1, Some(TOPIC)));
        assert_eq!(request.i32().unwrap(), 1);
        let partition = request.i32().unwrap();
        assert_eq!(Some(partition), partition_of(NODE, 5));
        let (compressed, records) = read_batch(request.bytes().unwrap());
        let mut state = self.state();
        state.last_batch_was_compressed = compressed;
        let code = if state.codes.is_empty() { 0 } else { state.codes.remove(0) };
        if code == 0 {
            state.records.extend(records);
        }
        (partition, code)
    }

    fn numbers(&self) -> Vec<u64> {
        let number =
            |record: &Consumed| serde_json::from_slice::<Value>(&record.value).unwrap()["seq"].as_u64().unwrap();
        self.state().records.iter().map(number).collect()
    }
}

/// A batch as a broker verifies it.
fn read_batch(bytes: &[u8]) -> (bool, Vec<Consumed>) {
    let mut batch = In(bytes);
    assert_eq!(batch.i64().unwrap(), 0);
    assert_eq!(usize::try_from(batch.i32().unwrap()).unwrap(), batch.0.len());
    let _epoch = batch.i32().unwrap();
    assert_eq!(batch.i8().unwrap(), 2);
    let sum = batch.i32().unwrap().cast_unsigned();
    assert_eq!(sum, crc32c(batch.0));
    let attributes = batch.i16().unwrap();
    let last = batch.i32().unwrap();
    let (first_time, latest) = (batch.i64().unwrap(), batch.i64().unwrap());
    assert_eq!((batch.i64().unwrap(), batch.i16().unwrap(), batch.i32().unwrap()), (-1, -1, -1));
    let count = batch.i32().unwrap();
    assert_eq!(count, last + 1);
    let plain = match attributes {
        0 => batch.0.to_vec(),
        1 => {
            let mut plain = Vec::new();
            GzDecoder::new(batch.0).read_to_end(&mut plain).unwrap();
            plain
        }
        other => panic!("{other}"),
    };
    let mut rest = &plain[..];
    let mut records = Vec::new();
    for offset in 0..count {
        let length = usize::try_from(varint(&mut rest)).unwrap();
        let (mut record, more) = rest.split_at(length);
        rest = more;
        assert_eq!(record[0], 0);
        record = &record[1..];
        let time = first_time + varint(&mut record);
        assert!(time <= latest);
        assert_eq!(varint(&mut record), i64::from(offset));
        let mut part = || {
            let length = usize::try_from(varint(&mut record)).unwrap();
            let (part, more) = record.split_at(length);
            record = more;
            part.to_vec()
        };
        let (key, value) = (part(), part());
        assert_eq!(varint(&mut record), 1, "one header");
        let mut part = || {
            let length = usize::try_from(varint(&mut record)).unwrap();
            let (part, more) = record.split_at(length);
            record = more;
            part.to_vec()
        };
        assert_eq!(part(), b"id");
        let id = String::from_utf8(part()).unwrap();
        assert!(record.is_empty());
        records.push(Consumed { key, value, id, time });
    }
    assert!(rest.is_empty());
    (attributes == 1, records)
}

fn varint(bytes: &mut &[u8]) -> i64 {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        }
        shift += 7;
    }
}

#[test]
fn every_event_is_a_record_with_the_node_as_key_and_its_id_as_header() {
    for gzip in [true, false] {
        let broker = Broker::start();
        let mut sink = KafkaSink::open(KafkaSettings { gzip, ..broker.settings() }).unwrap();
        let lines = lines(1..300);
        for batch in lines.chunks(100) {
            assert_eq!(deliver(&mut sink, batch), Delivery::Accepted);
        }
        assert_eq!(broker.numbers(), (1..300).collect::<Vec<u64>>());
        let state = broker.state();
        assert_eq!((state.connections, state.last_batch_was_compressed), (1, gzip));
        for (record, line) in state.records.iter().zip(&lines) {
            let event: Value = serde_json::from_slice(line).unwrap();
            assert_eq!((&record.key[..], &record.value, event["id"].as_str()), (NODE, line, Some(&*record.id)));
            let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
            assert_eq!(record.time, time.as_millisecond());
        }
    }
}

#[test]
fn the_value_is_in_the_form_that_the_sink_wants() {
    let broker = Broker::start();
    let mut sink = KafkaSink::open(KafkaSettings { format: Format::Cef, ..broker.settings() }).unwrap();
    assert_eq!(deliver(&mut sink, &lines(1..3)), Delivery::Accepted);
    assert!(broker.state().records.iter().all(|record| record.value.starts_with(b"CEF:0|Portcullis|")));
}

#[test]
fn what_is_no_event_is_refused_beside_the_others() {
    let broker = Broker::start();
    let mut batch = lines(1..4);
    batch[1] = b"{}".to_vec();
    let why = "it is no native event".to_owned();
    assert_eq!(deliver(&mut broker.sink(), &batch), Delivery::Refused { which: vec![1], why: why.clone() });
    assert_eq!(broker.numbers(), [1, 3]);
    assert_eq!(deliver(&mut broker.sink(), &batch[1..2]), Delivery::Refused { which: vec![0], why });
}

#[test]
fn an_answer_that_is_lost_makes_the_batch_come_again_over_a_new_connection() {
    let broker = Broker::start();
    broker.set(|state| state.loses_answers = 1);
    let mut sink = broker.sink();
    assert!(matches!(deliver(&mut sink, &lines(1..3)), Delivery::Retry { .. }));
    assert_eq!(deliver(&mut sink, &lines(1..3)), Delivery::Accepted);
    assert_eq!((broker.numbers(), broker.state().connections), (vec![1, 2, 1, 2], 2));
}

#[test]
fn what_a_broker_says_to_a_batch_becomes_what_happens_to_it() {
    let broker = Broker::start();
    let mut sink = broker.sink();
    let mut after = |code: i16| {
        broker.set(|state| state.codes = vec![code]);
        let delivery = deliver(&mut sink, &lines(1..3));
        // Whatever it was, the next one gets through.
        assert_eq!(deliver(&mut sink, &lines(1..3)), Delivery::Accepted, "{code}");
        delivery
    };
    assert!(matches!(after(6), Delivery::Retry { why, .. } if why.contains("does not lead")));
    assert!(matches!(after(19), Delivery::Retry { .. }));
    assert!(matches!(after(29), Delivery::Barred { .. }));
    assert!(matches!(after(87), Delivery::Refused { which, .. } if which.is_empty()));
    assert_eq!(after(10), Delivery::TooLarge);
}

#[test]
fn a_topic_that_is_not_there_is_not_made_and_waited_for() {
    let broker = Broker::start();
    broker.set(|state| state.topic_code = 3);
    let mut sink = broker.sink();
    assert!(matches!(deliver(&mut sink, &lines(1..2)), Delivery::Barred { why, .. } if why.contains("no such topic")));
    broker.set(|state| state.topic_code = 0);
    assert_eq!(deliver(&mut sink, &lines(1..2)), Delivery::Accepted);
}

#[test]
fn a_broker_that_is_down_does_not_matter_while_another_is_there() {
    let broker = Broker::start();
    let down = portcullis_testkit::ports::free_port();
    let brokers = vec![("127.0.0.1".into(), down), ("127.0.0.1".into(), broker.port)];
    let mut sink = KafkaSink::open(KafkaSettings { brokers, ..broker.settings() }).unwrap();
    assert_eq!(deliver(&mut sink, &lines(1..2)), Delivery::Accepted);
    let brokers = vec![("127.0.0.1".into(), down)];
    let mut sink = KafkaSink::open(KafkaSettings { brokers, ..broker.settings() }).unwrap();
    assert!(matches!(deliver(&mut sink, &lines(1..2)), Delivery::Retry { .. }));
}

#[test]
fn who_has_to_say_who_he_is_says_it_and_is_waited_for_where_that_is_not_accepted() {
    let broker = Broker::start();
    broker.set(|state| state.account = Some(("gateway".into(), "s3cret".into())));
    let with = |mechanism: SaslMechanism, password: &str| {
        let sasl = SaslSettings { mechanism, user: "gateway".into(), password: Secret::new(password) };
        KafkaSink::open(KafkaSettings { sasl: Some(sasl), ..broker.settings() }).unwrap()
    };
    assert_eq!(deliver(&mut with(SaslMechanism::Plain, "s3cret"), &lines(1..2)), Delivery::Accepted);
    for mut wrong in [with(SaslMechanism::Plain, "other"), with(SaslMechanism::ScramSha512, "s3cret")] {
        let Delivery::Barred { why, .. } = deliver(&mut wrong, &lines(1..2)) else { panic!() };
        assert!(!why.contains("other") && !why.contains("s3cret"), "{why}");
    }
    assert!(matches!(deliver(&mut broker.sink(), &lines(1..2)), Delivery::Retry { .. }));
    assert_eq!(broker.numbers(), [1]);
}

#[test]
fn a_broker_that_speaks_something_else_is_told_apart() {
    let broker = Broker::start();
    broker.set(|state| state.is_new = true);
    assert!(matches!(deliver(&mut broker.sink(), &lines(1..2)), Delivery::Barred { .. }));
    // Such as one of HTTP.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = KafkaSettings {
        brokers: vec![("127.0.0.1".into(), listener.local_addr().unwrap().port())],
        ..broker.settings()
    };
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let delivery = deliver(&mut KafkaSink::open(settings).unwrap(), &lines(1..2));
    assert!(matches!(delivery, Delivery::Retry { why, .. } if why.contains("another protocol")));
    other.join().unwrap();
}
