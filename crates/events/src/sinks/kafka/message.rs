//! Requests and answers of Kafka's protocol, as many of them as it takes to write to a topic, and what an error code means for a batch.

use std::io;

use crate::sinks::{Delivery, outcome};

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not now.
    Retry(String),
    /// Not as the gateway and the broker are set up.
    Barred(String),
    /// Never.
    Refused(String),
    /// Not so much at once.
    TooLarge,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<Fault> for Delivery {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Retry(why) => outcome::later(None, why),
            Fault::Barred(why) => Self::Barred { after: None, why },
            Fault::Refused(why) => Self::Refused { which: Vec::new(), why },
            Fault::TooLarge => Self::TooLarge,
        }
    }
}

/// What is asked: its number, and the version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) key: i16,
    pub(super) version: i16,
}

pub(super) const PRODUCE: Api = Api { key: 0, version: 3 };
pub(super) const METADATA: Api = Api { key: 3, version: 4 };
pub(super) const SASL_HANDSHAKE: Api = Api { key: 17, version: 1 };
pub(super) const API_VERSIONS: Api = Api { key: 18, version: 0 };
pub(super) const SASL_AUTHENTICATE: Api = Api { key: 36, version: 0 };

/// The name by which brokers know the gateway in their logs.
pub(super) const CLIENT: &str = "portcullis";

/// What an error code means. One that is not known is worth another try.
pub(super) fn judge(code: i16) -> Fault {
    let said = |what: &str| format!("the broker says: {what} ({code})");
    match code {
        10 | 18 => Fault::TooLarge,
        32 | 87 => Fault::Refused(said("a record is not valid")),
        3 => Fault::Barred(said("there is no such topic or partition")),
        17 => Fault::Barred(said("this is no name of a topic")),
        29..=31 => Fault::Barred(said("this user may not write to the topic")),
        33 | 34 | 58 => Fault::Barred(said("this user, password or mechanism is not accepted")),
        35 | 43 | 76 => Fault::Barred(said("it does not know this version or compression")),
        44 => Fault::Barred(said("its policy does not allow this")),
        5 | 6 => Fault::Retry(said("it does not lead the partition")),
        7 => Fault::Retry(said("its replicas did not answer in time")),
        19 | 20 => Fault::Retry(said("too few replicas are in sync")),
        _ => Fault::Retry(said("it cannot take it now")),
    }
}

/// A request with its length before it.
pub(super) fn request(api: Api, number: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    out.i16(api.key).i16(api.version).i32(number).text(CLIENT);
    out.0.extend_from_slice(body);
    let length = i32::try_from(out.0.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], &out.0].concat()
}

/// What is written.
#[derive(Default)]
pub(super) struct Out(pub(super) Vec<u8>);

impl Out {
    pub(super) fn i16(&mut self, number: i16) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn i32(&mut self, number: i32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// At most 32,767 bytes: names of topics, users and mechanisms.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }
}

/// What is read. Whatever a peer sends, it ends in an error and nothing else.
pub(super) struct In<'a>(pub(super) &'a [u8]);

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the broker's answer is not as it is described")
}

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| short())
    }

    pub(super) fn i8(&mut self) -> io::Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// `None` where there is none.
    pub(super) fn text(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| short())?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = usize::try_from(self.i32()?).map_err(|_| short())?;
        self.take(length)
    }

    /// Reads as many as there are said to be, each of which takes at least a byte.
    pub(super) fn each<T>(&mut self, mut read: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.i32()?;
        (0..count.max(0)).map(|_| read(self)).collect()
    }
}

/// A topic as the brokers describe it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topic {
    brokers: Vec<Broker>,
    /// Each partition and its leader.
    pub(super) partitions: Vec<(i32, i32)>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    number: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Topic {
    pub(super) fn leader_of(&self, partition: i32) -> Option<&Broker> {
        let (_, leader) = self.partitions.iter().find(|(number, _)| *number == partition)?;
        self.brokers.iter().find(|broker| broker.number == *leader)
    }

    /// Of the answer to [`METADATA`].
    pub(super) fn read(answer: &[u8], wanted: &str) -> Result<Self, Fault> {
        let mut answer = In(answer);
        let _throttled = answer.i32()?;
        let brokers = answer.each(|broker| {
            let (number, host) = (broker.i32()?, broker.text()?.ok_or_else(short)?);
            let port = u16::try_from(broker.i32()?).map_err(|_| short())?;
            let _rack = broker.text()?;
            Ok(Broker { number, host, port })
        })?;
        let (_cluster, _controller) = (answer.text()?, answer.i32()?);
        let topics = answer.each(|topic| {
            let (code, name, _internal) = (topic.i16()?, topic.text()?, topic.i8()?);
            let partitions = topic.each(|partition| {
                let (_code, number, leader) = (partition.i16()?, partition.i32()?, partition.i32()?);
                let _replicas = partition.each(In::i32)?;
                let _in_sync = partition.each(In::i32)?;
                Ok((number, leader))
            })?;
            Ok((code, name, partitions))
        })?;
        let topic = topics.into_iter().find(|(_, name, _)| name.as_deref() == Some(wanted));
        match topic.ok_or_else(short)? {
            (0, _, partitions) => Ok(Self { brokers, partitions }),
            (code, ..) => Err(judge(code)),
        }
    }
}

/// The error code of the one partition in the answer to [`PRODUCE`]; `None` where it has the records.
pub(super) fn produced(answer: &[u8], topic: &str, partition: i32) -> io::Result<Option<i16>> {
    let topics = In(answer).each(|entry| {
        let name = entry.text()?;
        let partitions = entry.each(|entry| {
            let (number, code) = (entry.i32()?, entry.i16()?);
            let (_offset, _appended) = (entry.i64()?, entry.i64()?);
            Ok((number, code))
        })?;
        Ok((name, partitions))
    })?;
    let of_topic = topics.into_iter().find(|(name, _)| name.as_deref() == Some(topic)).ok_or_else(short)?;
    let code = of_topic.1.into_iter().find(|(number, _)| *number == partition).ok_or_else(short)?.1;
    Ok((code != 0).then_some(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_broker_sends_is_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Topic::read(&bytes, "t");
            let _ = produced(&bytes, "t", 0);
        }
    }

    #[test]
    fn each_code_means_one_thing() {
        let kind = |code| match judge(code) {
            Fault::Retry(_) => 'r',
            Fault::Barred(_) => 'b',
            Fault::Refused(_) => 'x',
            Fault::TooLarge => 'l',
        };
        for (codes, expected) in [
            (&[-1, 2, 5, 6, 7, 8, 9, 13, 19, 20, 56, 89, 1_000][..], 'r'),
            (&[3, 17, 29, 30, 31, 33, 34, 35, 43, 44, 58, 76], 'b'),
            (&[32, 87], 'x'),
            (&[10, 18], 'l'),
        ] {
            for code in codes {
                assert_eq!(kind(*code), expected, "{code}");
            }
        }
    }
}
