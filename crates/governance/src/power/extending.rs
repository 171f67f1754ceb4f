//! An activation in the place of one that is in force: asked for before that is over, so that there is no gap between the two.

use jiff::Timestamp;

use crate::power::book::{PowerBook, began, micros};
use crate::power::entry::{Act, Asked, PowerKind};
use crate::power::state::{Power, PowerState};

/// Before the number of the activation that took its place, in the reason why one ended.
pub const EXTENDED: &str = "extended as ";

/// What ends sooner than so many seconds after another one extends nothing: whoever asks twice at the same moment asked for one thing.
pub const EXTENDS_BY_S: u64 = 60;

impl PowerBook {
    /// The activations whose place this takes once it begins: the same, in force, and over sooner.
    pub fn extended_by(&self, asked: &Asked, now: Timestamp) -> Vec<u64> {
        let extended = self.powers.values().filter(|power| is_extended(power, asked, now));
        extended.map(|power| power.n).collect()
    }

    /// What begins, and what ends with that. All of it goes into the log at once, so that neither is there without the other.
    pub(super) fn begins(&self, of: u64, asked: &Asked, now: Timestamp) -> Vec<Act> {
        let ends = self.extended_by(asked, now).into_iter().filter(|n| *n != of);
        let ends = ends.map(|n| Act::Ended { of: n, reason: format!("{EXTENDED}{of}") });
        ends.chain(std::iter::once(began(of, asked, now))).collect()
    }

    /// What has ended since this took its place.
    pub fn extended_as<'b>(&'b self, power: &'b Power) -> impl Iterator<Item = &'b Power> {
        let ended = format!("{EXTENDED}{}", power.n);
        self.powers.values().filter(move |other| {
            is_same(other, &power.asked) && matches!(&other.state, PowerState::Ended { reason, .. } if *reason == ended)
        })
    }
}

fn is_same(power: &Power, asked: &Asked) -> bool {
    (power.asked.kind, asked.kind) == (PowerKind::Activation, PowerKind::Activation)
        && power.asked.principal == asked.principal
        && power.asked.gives == asked.gives
}

/// Whether it would be over sooner than what is asked for now.
pub(super) fn is_extended(power: &Power, asked: &Asked, now: Timestamp) -> bool {
    let until = now.as_microsecond().saturating_add(micros(asked.lasts_s));
    is_same(power, asked)
        && matches!(power.state, PowerState::InForce { until: ends, .. } if ends.saturating_add(micros(EXTENDS_BY_S)) <= until)
}
