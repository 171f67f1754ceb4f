//! What the rules and the notifiers need to know, as plain values. The TOML shape (`[[alert]]`, `[[notifier]]`) lives in `config`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_events::filter::Filter;
use portcullis_events::settings::{HttpTarget, Secret, TlsSettings};
use portcullis_events::{EventKind, Severity};
use portcullis_policy::Hours;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The rules. With none, nothing is watched.
    pub rules: Vec<Arc<Rule>>,
    /// Who can be told.
    pub notifiers: Vec<Arc<NotifierSettings>>,
    /// The page about a reason is this link followed by its code: the runbook of a rule that has none of its own.
    pub help_base: Arc<str>,
    /// The node's name, in notifications.
    pub node: Arc<str>,
}

/// `[[alert]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique, a label of the metrics.
    pub name: Arc<str>,
    /// Which events count.
    pub when: When,
    /// What of them.
    pub condition: Condition,
    /// Which of them are counted together.
    pub per: Per,
    /// How long a key that has fired does not fire again. Default 15 min.
    pub cool_down: Duration,
    /// How long firings are gathered into one notification, from the first. Default 30 s.
    pub batch: Duration,
    /// Whether it is said when a key that fired is under its threshold again. Never with [`Condition::New`].
    pub resolve: bool,
    /// How much a firing deserves a look. Default high.
    pub severity: Severity,
    /// When nobody is told and nothing is contained.
    pub mutes: Vec<Mute>,
    /// The page that says what to do, in place of the one of the reason.
    pub runbook: Option<Arc<str>>,
    /// The names of notifiers.
    pub notify: Vec<Arc<str>>,
    /// What is done to the key.
    pub contain: Vec<Containment>,
    /// How many keys it may contain within its window, or as long as a containment lasts where that is longer. Default 100.
    pub max_contained: usize,
    /// How many keys are kept apart. One that fires is never forgotten for another. Default 10,000.
    pub max_keys: usize,
}

impl Rule {
    /// Whether it counts the same in the same way, so that it can go on with what the other has counted; who is told, when, and what is done may
    /// differ.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        let counted = |rule: &Self| (rule.condition, rule.per, rule.max_keys);
        self.name == other.name && self.when == other.when && counted(self) == counted(other)
    }
}

/// Which events count: all that is said must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// By kind, reason, route and severity; its kinds are never empty, and never those of alerts.
    pub filter: Filter,
    /// Only these statuses; empty: whatever the status.
    pub statuses: Vec<u16>,
}

impl Default for When {
    /// Refusals.
    fn default() -> Self {
        Self { filter: Filter { kinds: vec![EventKind::AccessDenied], ..Filter::default() }, statuses: Vec::new() }
    }
}

/// When a rule holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// So many events within a window: those later than its length ago.
    Count {
        /// How many; 1 to [`MOST_COUNTED`].
        count: usize,
        /// Within how long.
        window: Duration,
    },
    /// So many different values within a window.
    Distinct {
        /// Of what.
        of: Facet,
        /// How many; 2 to [`MOST_DISTINCT`].
        count: usize,
        /// Within how long.
        window: Duration,
    },
    /// A value that the key has not had within its memory.
    New {
        /// Of what.
        of: Facet,
        /// How long a value is remembered.
        memory: Duration,
        /// From the rule's start on, for so long everything is learnt and nothing is new.
        learn: Duration,
    },
}

/// The highest threshold of [`Condition::Count`].
pub const MOST_COUNTED: usize = 10_000;
/// The highest threshold of [`Condition::Distinct`].
pub const MOST_DISTINCT: usize = 1_000;

/// Something about an event that can be counted or be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facet {
    /// Who it was.
    Principal,
    /// Where it came from; an IPv6 address counts as its /64.
    Address,
    /// The route.
    Route,
    /// The path.
    Path,
    /// The decisive reason.
    Reason,
}

impl Facet {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Route => "route",
            Self::Path => "path",
            Self::Reason => "reason",
        }
    }
}

/// Which events are counted together: those of one principal and so on. An event that has no such thing does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// All of them.
    All,
    /// Those with one value of this. Never the path, of which a caller can make as many as it likes.
    Each(Facet),
}

impl Per {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Each(facet) => facet.as_str(),
        }
    }
}

/// A time in which a rule tells nobody and contains nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// When.
    pub time: MuteTime,
    /// Why, for the event.
    pub reason: Arc<str>,
}

/// When a mute holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MuteTime {
    /// Once: from the first on, and no longer at the second.
    Span(Timestamp, Timestamp),
    /// Every week.
    Weekly(Hours),
}

impl Mute {
    /// Whether it holds at this time of day.
    pub fn holds(&self, now: Timestamp) -> bool {
        match &self.time {
            MuteTime::Span(from, to) => *from <= now && now < *to,
            MuteTime::Weekly(hours) => hours.hold(now),
        }
    }
}

/// What is done to a key, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Containment {
    /// What.
    pub measure: Measure,
    /// How long.
    pub lasts: Duration,
}

/// What can be done to a key. Each fits one [`Per`]: nobody is contained whom a rule did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The address is banned.
    BanAddress,
    /// The principal is banned.
    BanPrincipal,
    /// The principal must bring a fresh mfa.
    StepUpPrincipal,
    /// What the principal was issued until now counts no longer.
    RevokePrincipal,
    /// Whoever comes to the route must bring a fresh mfa.
    TightenRoute,
}

impl Measure {
    /// What must be counted apart for it.
    pub const fn of(self) -> Facet {
        match self {
            Self::BanAddress => Facet::Address,
            Self::BanPrincipal | Self::StepUpPrincipal | Self::RevokePrincipal => Facet::Principal,
            Self::TightenRoute => Facet::Route,
        }
    }

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BanAddress | Self::BanPrincipal => "ban",
            Self::StepUpPrincipal => "step_up",
            Self::RevokePrincipal => "revoke",
            Self::TightenRoute => "tighten",
        }
    }
}

/// `[[notifier]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierSettings {
    /// Its name, unique, a label of the metrics.
    pub name: Arc<str>,
    /// How it tells.
    pub kind: NotifierKind,
    /// How often a notification is tried, the first time included. Default 6.
    pub attempts: u32,
}

/// How a notifier tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifierKind {
    /// By a POST request.
    Webhook(Box<WebhookSettings>),
    /// By mail.
    Email(Box<EmailSettings>),
    /// By running a program.
    Exec(ExecSettings),
}

impl NotifierKind {
    /// The word of the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Exec(_) => "exec",
        }
    }
}

/// `[notifier.webhook]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where to.
    pub target: HttpTarget,
    /// In which shape.
    pub shape: Shape,
    /// Further header fields: names in lower case, values of visible ASCII and spaces.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// A credential of its own: a header field, sent as it is.
    pub auth: portcullis_events::settings::HttpAuth,
    /// What the body is signed with, in `x-portcullis-signature`.
    pub secret: Option<Secret>,
}

/// The shape of a webhook's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Everything, as JSON of the gateway's own.
    #[default]
    Generic,
    /// A message of Slack, with its blocks.
    Slack,
    /// A message of Teams, with an Adaptive Card.
    Teams,
}

/// `[notifier.email]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailSettings {
    /// The mail server's name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: EmailTls,
    /// Name and password, where it wants them. Never without TLS.
    pub login: Option<(Arc<str>, Secret)>,
    /// What the gateway calls itself to the server; `None`: an address literal.
    pub hello: Option<Arc<str>>,
    /// Who writes: a mailbox such as `Portcullis <portcullis@example.com>`.
    pub from: Arc<str>,
    /// To whom; at least one.
    pub to: Vec<Arc<str>>,
    /// How long connecting, or one exchange, may take. Default 30 s.
    pub timeout: Duration,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailTls {
    /// In plain text until STARTTLS (RFC 3207), which it must offer.
    Starttls(TlsSettings),
    /// TLS from the first byte (RFC 8314).
    Implicit(TlsSettings),
    /// In plain text.
    None,
}

/// `[notifier.exec]`: a program that is run for each notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSettings {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments, as they are.
    pub arguments: Vec<Arc<str>>,
    /// How long it may take. Default 30 s.
    pub timeout: Duration,
}
