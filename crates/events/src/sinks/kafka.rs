//! A topic of Apache Kafka, written to in the broker's own protocol.
//!
//! It asks one of the configured brokers who leads the topic's partition, and hands batches to that one, each acknowledged by all replicas
//! in sync before the next one goes out. All events of a gateway go to one partition, chosen by its name as Kafka's own clients do, so that
//! their order stays. Delivery is at least once: a batch whose acknowledgement was lost comes again, and its events are told by the header
//! `id`. There is one connection at a time; whatever breaks it, the leader is looked for anew.
//!
//! Only what is older than the flexible versions of the protocol is spoken: every broker from 0.11 to 4.x understands it.

mod connection;
mod message;
mod records;
mod scram;

use std::io;
use std::sync::Arc;

use connection::Connection;
use message::Fault;
use records::Record;
use rustls::pki_types::ServerName;

use crate::settings::{KafkaSettings, TlsSettings};
use crate::sinks::{BatchLimits, Delivery, Line, Remote, outcome, tls};

/// A topic.
pub(crate) struct KafkaSink {
    settings: KafkaSettings,
    tls: Option<tls::Connector>,
    /// The connection to the leader of this partition.
    leader: Option<(Connection, i32)>,
    /// Which broker is asked first the next time.
    turn: usize,
}

impl KafkaSink {
    /// Makes the sink; it connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open(settings: KafkaSettings) -> io::Result<Self> {
        let host = settings.brokers.first().map_or("", |(host, _)| host);
        let tls = settings.tls.as_ref().map(|tls| tls::Connector::new(tls, host, &[])).transpose()?;
        Ok(Self { settings, tls, leader: None, turn: 0 })
    }

    fn try_deliver(&mut self, batch: &[Line<'_>]) -> Result<Delivery, Fault> {
        let (mut records, mut bad) = (Vec::with_capacity(batch.len()), Vec::new());
        for (place, line) in batch.iter().enumerate() {
            match Record::of(line.json, self.settings.format) {
                Some(record) => records.push(record),
                None => bad.push(place),
            }
        }
        let Some(first) = records.first() else { return Ok(outcome::no_events(bad)) };
        let (mut connection, partition) = match self.leader.take() {
            Some(leader) => leader,
            None => self.find_leader(&first.key)?,
        };
        let records = records::batch(&records, self.settings.gzip)?;
        let code = connection.produce(&self.settings.topic, partition, &records)?;
        let Some(code) = code else {
            self.leader = Some((connection, partition));
            return Ok(outcome::with_bad(Delivery::Accepted, bad));
        };
        match message::judge(code) {
            // The connection is as good as before.
            Fault::TooLarge => {
                self.leader = Some((connection, partition));
                Ok(Delivery::TooLarge)
            }
            fault => Err(fault),
        }
    }

    /// Asks the brokers, each once, who leads the partition that this key belongs to, and connects to that one.
    fn find_leader(&mut self, key: &[u8]) -> Result<(Connection, i32), Fault> {
        let brokers = self.settings.brokers.clone();
        let mut failure = Fault::Retry("no broker is configured".to_owned());
        for step in 0..brokers.len() {
            let Some((host, port)) = brokers.get((self.turn + step) % brokers.len()) else { continue };
            match self.ask_for_leader(host, *port, key) {
                Ok(leader) => return Ok(leader),
                Err(fault) => failure = fault,
            }
        }
        self.turn = self.turn.wrapping_add(1);
        Err(failure)
    }

    fn ask_for_leader(&self, host: &str, port: u16, key: &[u8]) -> Result<(Connection, i32), Fault> {
        let mut connection = self.connect(host, port)?;
        let topic = connection.metadata(&self.settings.topic)?;
        let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let partition =
            records::partition_of(key, count).ok_or_else(|| Fault::Retry("the topic has no partition".to_owned()))?;
        let leader = topic
            .leader_of(partition)
            .ok_or_else(|| Fault::Retry(format!("partition {partition} of the topic has no leader at the moment")))?;
        if leader.host != host || leader.port != port {
            connection = self.connect(&leader.host, leader.port)?;
        }
        Ok((connection, partition))
    }

    fn connect(&self, host: &str, port: u16) -> Result<Connection, Fault> {
        let tls = match (&self.tls, &self.settings.tls) {
            (Some(connector), Some(settings)) => Some(for_host(connector, settings, host)?),
            _ => None,
        };
        let mut connection = Connection::open(host, port, self.settings.timeout, tls.as_ref())?;
        connection.greet()?;
        if let Some(sasl) = &self.settings.sasl {
            connection.authenticate(sasl)?;
        }
        Ok(connection)
    }
}

/// Each broker has a certificate for its own name, unless the settings say which name all of them have.
fn for_host(connector: &tls::Connector, settings: &TlsSettings, host: &str) -> io::Result<tls::Connector> {
    let wanted = settings.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(wanted).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(tls::Connector { config: Arc::clone(&connector.config), name })
}

impl Remote for KafkaSink {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        // The connection is taken out and put back only where all went well.
        self.try_deliver(batch).unwrap_or_else(Delivery::from)
    }

    fn limits(&self) -> BatchLimits {
        let batch = self.settings.batch;
        BatchLimits { events: batch.events, bytes: batch.bytes }
    }
}

#[cfg(test)]
mod tests;
