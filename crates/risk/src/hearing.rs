//! Who is heard in spite of a ban. An address is banned for what comes from there without a verified principal; whether there are verified
//! ones behind it, too, is not known as long as none was let in from there, as on a gateway that has just begun.
//!
//! So a ban for anonymous traffic (probing, signatures, a flood) is one of anonymous traffic for whoever brings a credential: the credential
//! is verified. The first request of one that holds which is let in, too, shows that the address is shared, and makes the ban one of
//! [anonymous traffic](BanScope::Anonymous) for all its time. One that does not hold is refused for the ban, and counts; so does one that holds
//! where its principal is not let in: a key that has leaked, say, and is good elsewhere alone. A ban for credentials that failed hears nobody, or it
//! would let go on what it is to end; nor does one by an operator or by an alert.
//!
//! **What that costs.** Verifying is what a ban of a whole address is to save. So only so many credentials that lead to nothing are looked at
//! while one is in force: of those that fail as guesses do [`GUESSES_OF_ONE_ADDRESS`], so that nobody guesses under a ban for something else; of the
//! others [`EXCUSED_OF_ONE_ADDRESS`], so that no address has all that there is for itself; and [`OF_ALL`] for the whole process, however many
//! addresses are banned. What comes beyond is refused unseen until there is room again; so is what brings no credential, always. Only
//! failures count, and only once they have failed, so that many honest callers who come at once take nothing from one another. Several may be
//! looked at at the same time; that exceeds the limit by as many as are under way.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{Ban, BanScope};

use crate::abuse::is_for_credentials;
use crate::actor::Network;
use crate::charge::FAILED_CREDENTIALS;
use crate::engine::RiskEngine;
use crate::moment::Moment;
use crate::pace::Limit;

const SECOND: i64 = 1_000_000;

/// Ten, and then one a minute. Whoever guesses more before anybody was let in from there has all of the address refused.
pub(crate) const GUESSES_OF_ONE_ADDRESS: Limit = Limit::new(10, 600 * SECOND);
/// Sixty, and then one a second: a fourth of what there is for all, in one moment, and a 250th for as long as it goes on.
pub(crate) const EXCUSED_OF_ONE_ADDRESS: Limit = Limit::new(60, 60 * SECOND);
/// 250 a second, at once or evenly: at 100 µs for a signature, a fortieth of one processor.
pub(crate) const OF_ALL: Limit = Limit::new(250, SECOND);

/// What became of a credential that was looked at in spite of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A principal was verified, and let in.
    LetIn,
    /// It does not hold, as happens to who guesses.
    Failed,
    /// It does not hold, as happens to honest callers: it has expired, say. Or it holds, and its principal was refused.
    Excused,
    /// It could not be found out, which is held against nobody.
    Undecided,
}

impl Heard {
    /// What it means that a credential does not hold, by the reason's code.
    pub fn refused(reason: &str) -> Self {
        if FAILED_CREDENTIALS.contains(&reason) { Self::Failed } else { Self::Excused }
    }
}

impl RiskEngine {
    /// The ban as it is for a request that brings a credential, where that is to be looked at: one of anonymous traffic. Tell
    /// [`Self::heard`] what became of it. `None`: this ban refuses without looking.
    pub fn hear(&self, address: IpAddr, ban: &Ban, now: Timestamp) -> Option<Arc<Ban>> {
        if !may_be_narrowed(ban) {
            return None;
        }
        let now = Moment::from(now);
        let key = self.keys.network(Network::of_address(address));
        let has_room = self.heard_of_all.has_room(OF_ALL, now.micros) && self.address_bans.hears(key, now);
        has_room.then(|| Arc::new(Ban { scope: BanScope::Anonymous, ..ban.clone() }))
    }

    /// What became of a credential from an address whose ban [would hear it](Self::hear). Says whether the ban on the address is from now on
    /// one of anonymous traffic, and was not before.
    pub fn heard(&self, address: IpAddr, heard: Heard, now: Timestamp) -> bool {
        let now = Moment::from(now);
        let key = self.keys.network(Network::of_address(address));
        match heard {
            Heard::Undecided => false,
            Heard::Failed => {
                self.heard_of_all.note(OF_ALL, now.micros);
                self.address_bans.heard_in_vain(key, now);
                false
            }
            Heard::Excused => {
                self.heard_of_all.note(OF_ALL, now.micros);
                self.address_bans.heard_an_excuse(key, now);
                false
            }
            Heard::LetIn => {
                let narrowed = self.address_bans.narrow(key, now);
                if narrowed {
                    self.journal.ban_changed();
                }
                narrowed
            }
        }
    }
}

/// Whether it is a ban on a whole address that the gateway made by itself, for what was anonymous.
pub(crate) fn may_be_narrowed(ban: &Ban) -> bool {
    ban.scope == BanScope::Address && ban.offences > 0 && !ban.simulated && !is_for_credentials(&ban.cause)
}

#[cfg(test)]
#[path = "hearing_tests.rs"]
mod tests;
