//! A native line, read back. Texts are borrowed from the line wherever nothing in them was escaped.
//!
//! Every key may be absent: keys are added over time, and a spool may hold lines of an older version. What the gateway's own
//! schema does not know is left aside.

mod objects;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FormatError;

pub(crate) use objects::{
    Alert, AuditFinding, Ban, Check, Client, Device, Identity, Integrity, Latency, Nearest, Policy, Remedy, Request,
    Risk, Shadow, Upstream,
};

/// A text of the line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A text that may be null.
pub(crate) type Maybe<'l> = Option<Text<'l>>;

/// The text of a [`Maybe`].
pub(crate) fn text<'t>(maybe: &'t Maybe<'_>) -> Option<&'t str> {
    maybe.as_ref().map(AsRef::as_ref)
}

/// One native event.
#[derive(Debug, Deserialize)]
pub(crate) struct Record<'l> {
    #[serde(borrow)]
    pub(crate) id: Text<'l>,
    #[serde(borrow)]
    time: Text<'l>,
    /// `time` in microseconds of Unix time.
    #[serde(skip)]
    pub(crate) time_us: i64,
    #[serde(borrow)]
    pub(crate) kind: Text<'l>,
    #[serde(default)]
    pub(crate) severity: Severity,
    #[serde(default)]
    pub(crate) seq: Option<u64>,
    #[serde(borrow, default)]
    pub(crate) node: Text<'l>,
    #[serde(borrow, default)]
    pub(crate) cluster: Maybe<'l>,
    #[serde(borrow, default)]
    pub(crate) version: Text<'l>,
    #[serde(borrow, default)]
    pub(crate) decision: Maybe<'l>,
    #[serde(default)]
    pub(crate) status: Option<u16>,
    #[serde(borrow, default)]
    pub(crate) origin: Maybe<'l>,
    #[serde(borrow, default)]
    pub(crate) reason: Maybe<'l>,
    #[serde(borrow, default)]
    pub(crate) reasons: Vec<Text<'l>>,
    #[serde(borrow, default)]
    pub(crate) message: Maybe<'l>,
    #[serde(borrow, default)]
    pub(crate) policy: Policy<'l>,
    #[serde(borrow, default)]
    pub(crate) request: Request<'l>,
    #[serde(borrow, default)]
    pub(crate) client: Client<'l>,
    #[serde(borrow, default)]
    pub(crate) identity: Identity<'l>,
    #[serde(borrow, default)]
    pub(crate) device: Device<'l>,
    #[serde(borrow, default)]
    pub(crate) risk: Risk<'l>,
    #[serde(borrow, default)]
    pub(crate) ban: Ban<'l>,
    #[serde(borrow, default)]
    pub(crate) nearest: Vec<Nearest<'l>>,
    #[serde(borrow, default)]
    pub(crate) checks: Vec<Check<'l>>,
    #[serde(borrow, default)]
    pub(crate) shadow: Option<Vec<Shadow<'l>>>,
    #[serde(borrow, default)]
    pub(crate) remedy: Remedy<'l>,
    #[serde(borrow, default)]
    pub(crate) upstream: Upstream<'l>,
    #[serde(default)]
    pub(crate) latency_us: Latency,
    #[serde(borrow, default)]
    pub(crate) alert: Option<Alert<'l>>,
    #[serde(borrow, default)]
    pub(crate) finding: Option<AuditFinding<'l>>,
    #[serde(borrow, default)]
    pub(crate) integrity: Option<Integrity<'l>>,
    #[serde(borrow, default)]
    pub(crate) truncated: Vec<Text<'l>>,
    /// How many events a folded record stands for.
    #[serde(default)]
    pub(crate) count: Option<u64>,
    /// The first of their ids.
    #[serde(borrow, default)]
    pub(crate) ids: Vec<Text<'l>>,
    #[serde(borrow, default)]
    first_time: Maybe<'l>,
    #[serde(borrow, default)]
    last_time: Maybe<'l>,
    /// `first_time` and `last_time` of a folded record, else `time` twice; in microseconds of Unix time.
    #[serde(skip)]
    pub(crate) span_us: (i64, i64),
}

/// How much it deserves a look. A word that is not known counts as medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(from = "Cow<'_, str>")]
pub(crate) enum Severity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl From<Cow<'_, str>> for Severity {
    fn from(word: Cow<'_, str>) -> Self {
        match &*word {
            "low" => Self::Low,
            "high" => Self::High,
            "critical" => Self::Critical,
            _ => Self::Medium,
        }
    }
}

impl Severity {
    /// The word of the native event.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What kind of thing happened, as other schemas divide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A request was answered: `access.*`.
    Access,
    /// Somebody signed in, or tried to: `auth.*`.
    Authentication,
    /// The gateway or its policy changed, by itself or by hand: all the rest.
    Administration,
    /// Something was found out about a caller: `ban.*`, `anomaly.*`, `alert.*`, `spike.*`.
    Detection,
}

impl Class {
    /// The word for it, where a format has none of its own.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Authentication => "authentication",
            Self::Administration => "administration",
            Self::Detection => "detection",
        }
    }
}

impl<'l> Record<'l> {
    pub(crate) fn parse(line: &'l [u8]) -> Result<Self, FormatError> {
        let mut record: Record<'l> = serde_json::from_slice(line).map_err(|error| FormatError(error.to_string()))?;
        record.time_us = micros(record.time.as_ref())?;
        let moment = |time: &Maybe<'_>| text(time).map_or(Ok(record.time_us), micros);
        record.span_us = (moment(&record.first_time)?, moment(&record.last_time)?);
        Ok(record)
    }

    /// `time` as RFC 3339 with microseconds.
    pub(crate) fn time(&self) -> &str {
        self.time.as_ref()
    }

    /// The first and the last time of a folded record, else `time` twice.
    pub(crate) fn span(&self) -> (&str, &str) {
        (text(&self.first_time).unwrap_or(self.time()), text(&self.last_time).unwrap_or(self.time()))
    }

    pub(crate) fn class(&self) -> Class {
        match self.kind.as_ref().split('.').next().unwrap_or_default() {
            "access" => Class::Access,
            "auth" => Class::Authentication,
            "ban" | "anomaly" | "alert" | "spike" => Class::Detection,
            _ => Class::Administration,
        }
    }

    /// The rule of the policy that decided, or the alert that fired.
    pub(crate) fn rule(&self) -> Option<&str> {
        text(&self.policy.rule).or(self.alert.as_ref().map(|alert| alert.rule.as_ref()))
    }

    /// Whether it says that an alert holds no longer.
    pub(crate) fn is_resolved(&self) -> bool {
        self.kind.as_ref() == "alert.resolved"
    }

    /// The part of the kind after the dot.
    pub(crate) fn action(&self) -> &str {
        self.kind.as_ref().split_once('.').map_or(self.kind.as_ref(), |(_, action)| action)
    }

    /// Whether what was tried came about: `None` where nothing was tried.
    pub(crate) fn succeeded(&self) -> Option<bool> {
        match text(&self.decision) {
            Some(decision) => Some(decision == "permit"),
            None => match self.action() {
                "rejected" | "failed" | "denied" => Some(false),
                _ if self.class() == Class::Detection => None,
                _ => Some(true),
            },
        }
    }

    /// What everybody could know anyway: a permit, a start, a stop, a change that came about.
    pub(crate) fn is_informational(&self) -> bool {
        self.severity == Severity::Low && self.succeeded() == Some(true)
    }

    /// How severe it is from 0 to 10, as CEF and LEEF count.
    pub(crate) fn severity_of_ten(&self) -> u8 {
        match self.severity {
            Severity::Low if self.is_informational() => 1,
            Severity::Low => 3,
            Severity::Medium => 5,
            Severity::High => 8,
            Severity::Critical => 10,
        }
    }

    /// The address that was asked for, as far as it is known. Never with a query.
    pub(crate) fn url(&self) -> Option<Cow<'_, str>> {
        let path = text(&self.request.path)?;
        let (Some(scheme), Some(host)) = (text(&self.request.scheme), text(&self.request.host)) else {
            return Some(path.into());
        };
        // The target of a head that was refused unparsed may be in another form.
        if !path.starts_with('/') {
            return Some(path.into());
        }
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let usual = if scheme == "https" { 443 } else { 80 };
        let port = self.request.port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}://{host}{port}{path}").into())
    }
}

fn micros(time: &str) -> Result<i64, FormatError> {
    let parsed: Timestamp = time.parse().map_err(|error| FormatError(format!("its time: {error}")))?;
    Ok(parsed.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"{"id":"i","time":"2026-11-22T19:04:12.697123Z","kind":"access.denied"}"#;

    #[test]
    fn a_line_without_most_keys_is_an_event() {
        let record = Record::parse(LEAST.as_bytes()).unwrap();
        assert_eq!((record.class(), record.action(), record.severity), (Class::Access, "denied", Severity::Medium));
        assert_eq!(
            (record.time_us, record.span_us),
            (1_795_374_252_697_123, (1_795_374_252_697_123, 1_795_374_252_697_123))
        );
        assert_eq!((record.url(), record.succeeded()), (None, Some(false)));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let check = |line: &str, expected: &str| {
            let error = Record::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("", "EOF");
        check("{}", "missing field `id`");
        check(&LEAST.replace("2026-11-22T", ""), "its time");
        check(&LEAST.replace("\"i\"", "7"), "invalid type");
        check(&format!("{LEAST}{LEAST}"), "trailing");
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let line = LEAST.replace("\"i\"", r#""i","message":"a\nb","node":"n""#);
        let record = Record::parse(line.as_bytes()).unwrap();
        assert!(matches!(record.node.0, Cow::Borrowed("n")));
        assert_eq!(text(&record.message), Some("a\nb"));
    }

    #[test]
    fn the_address_is_as_the_caller_wrote_it() {
        let check = |request: &str, expected: Option<&str>| {
            let line = LEAST.replace("\"i\"", &format!("\"i\",\"request\":{request}"));
            assert_eq!(Record::parse(line.as_bytes()).unwrap().url().as_deref(), expected, "{request}");
        };
        check(r#"{"path":"/a"}"#, Some("/a"));
        check(r#"{"scheme":"https","host":"h","port":443,"path":"/a"}"#, Some("https://h/a"));
        check(r#"{"scheme":"http","host":"h","port":443,"path":"/a"}"#, Some("http://h:443/a"));
        check(r#"{"scheme":"http","host":"::1","port":null,"path":"/"}"#, Some("http://[::1]/"));
        check(r#"{"scheme":"http","host":"h","path":"http://x/y"}"#, Some("http://x/y"));
    }
}
