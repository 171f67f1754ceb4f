//! `[sink.kafka]`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use portcullis_events::Format;
use portcullis_events::settings::{BatchSettings, HAS_KAFKA, KafkaSettings, SaslMechanism, SaslSettings};
use serde_json::Value;

use super::{ReceiverAddress, read_batch_of, read_timeout, secret, tls};
use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::kinds::{Choice, Flag, Text};
use crate::schema::matching;
use crate::section::{Field, Kind, Section, shown};

/// The most brokers that are named.
const MOST_BROKERS: usize = 32;
/// What brokers take at once, unless they are told otherwise, is little more than a megabyte.
const BATCH: BatchSettings = BatchSettings { events: 500, bytes: 768 << 10 };

/// How a name and a password are shown.
pub(crate) const MECHANISMS: Choice<SaslMechanism> = Choice(&[
    ("plain", SaslMechanism::Plain),
    ("scram-sha-256", SaslMechanism::ScramSha256),
    ("scram-sha-512", SaslMechanism::ScramSha512),
]);

/// A name that Kafka takes for a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic;

impl Kind for Topic {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a topic such as \"portcullis\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 249 || matches!(&*text, "." | "..") || !text.bytes().all(plain) {
            let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
            field.bad_value(message, Some("1 to 249 letters, digits, `-`, `_` and `.`".into()));
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching("^[A-Za-z0-9._-]{1,249}$")
    }
}

pub(super) fn read(section: Section<'_>, format: Format) -> Option<KafkaSettings> {
    if !HAS_KAFKA {
        let message = "this program was built without Kafka";
        let help = "build it with `--features kafka`, or use \"http\" or \"syslog\", or \"file\" and a log shipper";
        section.reader().report(Diagnostic::error(codes::UNAVAILABLE, section.span(), message).with_help(help));
    }
    let brokers = section.required_list("brokers", ReceiverAddress);
    if let Some(brokers) = brokers.as_ref().filter(|brokers| brokers.value.is_empty()) {
        section.report_empty("brokers", brokers.span, "name two or three: they know the others");
    }
    if let Some(brokers) = brokers.as_ref().filter(|brokers| brokers.value.len() > MOST_BROKERS) {
        let message = format!("`brokers`: {} are more than {MOST_BROKERS}", brokers.value.len());
        let help = "name two or three: they know the others";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, brokers.span, message).with_help(help));
    }
    let topic = section.required("topic", Topic);
    let secure = section.or("transport", Choice(&[("tcp", false), ("tls", true)]), true);
    let tls = tls::read_tls(&section, "tls", secure);
    let sasl = read_sasl(&section, secure);
    let gzip = section.or("gzip", Flag, true);
    let timeout: Duration = read_timeout(&section);
    let batch = read_batch_of(&section, BATCH);
    section.finish();
    Some(KafkaSettings {
        brokers: brokers?.value.into_iter().map(|broker| broker.value).collect(),
        topic: Arc::from(topic?.value),
        format,
        tls: if secure { Some(tls?) } else { None },
        sasl: sasl?,
        gzip,
        timeout,
        batch,
    })
}

/// `None`: there is something wrong with it, which was reported.
fn read_sasl(section: &Section<'_>, secure: bool) -> Option<Option<SaslSettings>> {
    let Some(table) = section.table("sasl") else { return (!section.has("sasl")).then_some(None) };
    let mechanism = table.required("mechanism", MECHANISMS);
    let user = table.required("user", Text);
    let password = secret::required_secret(&table, "password");
    table.finish();
    let mechanism = mechanism?;
    if mechanism.value == SaslMechanism::Plain && !secure {
        let message = "over `tcp` a password that is shown as it is can be read on the way";
        let help = "write `transport = \"tls\"`, or a mechanism such as \"scram-sha-512\"";
        section.reader().report(Diagnostic::error(codes::CONFLICT, mechanism.span, message).with_help(help));
        return None;
    }
    Some(Some(SaslSettings { mechanism: mechanism.value, user: user?.value.into(), password: password? }))
}
