//! Watches the events as they are recorded, says when a rule over them holds, tells people, and contains.
//!
//! A [`Rule`](settings::Rule) counts what its filter takes, by a key: so many refusals of one address within five minutes, so many
//! principals from one address, a reason that was not seen before. [`Alerts`] runs the rules in one thread of its own, from small
//! summaries that the recorder's thread hands over; no request waits for it. What fires becomes one event, a containment where the
//! rule says so, and a notification; each [`Notifier`](settings::NotifierSettings) has a queue and a thread.
//!
//! The crate deliberately decides nothing about requests: a containment is an order to whoever keeps the facts that `policy` decides
//! by ([`Response`]). It reads no configuration file, and the rules read no clock: the time is passed in.

mod alerts;
mod engine;
mod firing;
mod grouping;
mod notify;
pub mod settings;
mod sighting;
mod stats;
mod watch;
mod words;

pub use alerts::{AlertState, Alerts, NotifierState, Overview};
pub use engine::{Engine, Now};
pub use firing::{Firing, Key, Phase};
pub use notify::Tried;
pub use settings::Settings;
pub use sighting::Sighting;
pub use stats::{Delivered, Stats};
pub use watch::MAX_RULES;

use portcullis_events::Event;

/// What the gateway around it does.
pub trait Response: Send + Sync {
    /// Does to the firing's key what the rule demands, and says what became of it in a few words, such as `banned until …`; or why
    /// nothing did.
    ///
    /// # Errors
    /// Why nothing was done.
    fn contain(&self, firing: &Firing, containment: settings::Containment) -> Result<String, String>;

    /// What a rule of this name has contained that is in force, and for how long yet: it counts against the rule's bound, also where it was
    /// contained before the process began, or before the rule was changed.
    fn contained(&self, rule: &str) -> Vec<(Key, settings::Containment)>;

    /// Completes an event with what it says of the policy in force.
    fn stamp(&self, event: &mut Event);
}

/// Whether a text is a mailbox that a mail can come from or go to (RFC 5322 section 3.4), such as `Duty <duty@example.com>`.
pub fn is_mailbox(text: &str) -> bool {
    text.parse::<lettre::message::Mailbox>().is_ok()
}
