//! Bans by hand, and what is known of bans.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{Ban as ShownBan, BanReport, Bans, Done, NewBan, NewBans, Outlook, Problem, Sample};
use portcullis_policy::{Ban, BanScope};
use portcullis_risk::{Actor, BanEntry, ImposeError};

use crate::spiking::BY_HAND;

use super::{Operated, problem, shown};

/// A ban by hand lasts no longer.
const LONGEST_BAN: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// A reason for a ban is no longer, in bytes.
const MAX_REASON: usize = 256;
/// Bans that can be imported at once.
const MOST_IMPORTED: usize = 10_000;

/// Those in force.
pub(super) fn list(operated: &Operated) -> Bans {
    let shared = operated.running.shared();
    let bans = shared.risk.all_bans(shared.clock.now());
    Bans { bans: bans.iter().map(|entry| shown_ban(operated, entry)).collect(), more: false }
}

/// What is known of somebody's.
pub(super) fn explain(operated: &Operated, on: &str) -> Result<BanReport, Problem> {
    let shared = operated.running.shared();
    let actor = actor(operated, on)?;
    let report = shared.risk.report(&actor, shared.clock.now());
    let sample = |sample: &portcullis_risk::BanSample| Sample {
        reason: sample.reason.to_string(),
        path: sample.path.to_string(),
    };
    Ok(BanReport {
        on: actor.to_string(),
        bans: report.bans.iter().map(|entry| shown_ban(operated, entry)).collect(),
        never: report.never,
        evidence: report.evidence.iter().map(sample).collect(),
        outlook: report.outlook.map(|outlook| Outlook {
            past_offences: (outlook.past * 100.0).round() / 100.0,
            next_s: outlook.next.as_secs(),
            forget_half_s: outlook.forget_half.as_secs(),
        }),
    })
}

/// Makes one.
pub(super) fn add(operated: &Operated, ban: &NewBan) -> Result<Done, Problem> {
    let shared = operated.running.shared();
    let now = shared.clock.now();
    let (actor, until, cause) = wanted(operated, ban, now)?;
    let imposed = shared.risk.impose(&actor, until, &cause, now).map_err(|error| problem(error.to_string()))?;
    tracing::warn!(%actor, until = %imposed.until, reason = %ban.reason, "banned by hand");
    let simulated = if imposed.simulated { " (simulated: the policy only reports bans)" } else { "" };
    Ok(Done { message: format!("{actor} is banned until {:.0}{simulated}: {}", imposed.until, ban.reason) })
}

/// Makes all of these or none.
pub(super) fn import(operated: &Operated, bans: &NewBans) -> Result<Done, Problem> {
    let risk = &operated.running.shared().risk;
    let now = operated.running.shared().clock.now();
    if bans.bans.is_empty() || bans.bans.len() > MOST_IMPORTED {
        return Err(problem(format!("from 1 to {MOST_IMPORTED} bans can be imported at once")));
    }
    let wanted = bans.bans.iter().map(|ban| {
        wanted(operated, ban, now)
            .map_err(|Problem { error }| problem(format!("{}: {error}; none is imported", shown(&ban.on))))
    });
    let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
    for (actor, ..) in &wanted {
        if risk.is_never(actor) {
            return Err(problem(format!("{actor}: {}; none is imported", ImposeError::Never)));
        }
    }
    // First those on whom there is none: only for these there may be no room, and then each is lifted again.
    let (replaced, new): (Vec<_>, Vec<_>) = wanted.iter().partition(|(actor, ..)| risk.own_ban(actor, now).is_some());
    let (mut imposed, mut simulated) = (Vec::new(), false);
    for (actor, until, cause) in new.into_iter().chain(replaced) {
        let longer = |ban: &Ban| !ban.simulated && ban.scope != BanScope::Anonymous && ban.until >= *until;
        if risk.own_ban(actor, now).is_some_and(|ban| longer(&ban)) {
            continue;
        }
        match risk.impose(actor, *until, cause, now) {
            Ok(ban) => {
                simulated |= ban.simulated;
                imposed.push(actor);
            }
            Err(error) => {
                for actor in imposed {
                    risk.lift(actor);
                }
                return Err(problem(format!("{actor}: {error}; none is imported")));
            }
        }
    }
    let (new, all) = (imposed.len(), wanted.len());
    let simulated = if simulated { " (simulated: the policy only reports bans)" } else { "" };
    let message = format!(
        "{new} bans of {all} are imported from {}{simulated}; the others are in force for longer",
        shown(&bans.from)
    );
    let message = if new == all { message.split("; ").next().unwrap_or(&message).to_owned() } else { message };
    tracing::warn!(bans = new, from = %shown(&bans.from), "bans were imported by hand");
    Ok(Done { message })
}

/// Lifts one.
pub(super) fn remove(operated: &Operated, on: &str) -> Result<Done, Problem> {
    let actor = actor(operated, on)?;
    if !operated.running.shared().risk.lift(&actor) {
        return Err(problem(format!("there is no ban on {actor}")));
    }
    tracing::info!(%actor, "a ban was lifted by hand");
    Ok(Done { message: format!("the ban on {actor} is lifted, and its offences are forgotten") })
}

/// Whom a text names.
pub(super) fn actor(operated: &Operated, text: &str) -> Result<Actor, Problem> {
    let actor: Actor = text.parse().map_err(|error| problem(format!("`{}`: {error}", shown(text))))?;
    let mapped = match &actor {
        Actor::Network(ipnet::IpNet::V6(network)) => network.addr().to_ipv4_mapped().is_some(),
        Actor::Network(ipnet::IpNet::V4(_)) | Actor::Principal { .. } => false,
    };
    if mapped {
        return Err(problem(format!("`{}`: write the IPv4 network", shown(text))));
    }
    Ok(match actor {
        // As requests bring it, however it is typed.
        Actor::Principal { kind, id } => {
            let snapshot = operated.running.shared().snapshot().load();
            let id = snapshot.policy.spelling().id(kind, &id).into();
            Actor::Principal { kind, id }
        }
        Actor::Network(_) => actor,
    })
}

fn shown_ban(operated: &Operated, entry: &BanEntry) -> ShownBan {
    let left = entry.ban.until.duration_since(operated.running.shared().clock.now());
    ShownBan {
        on: entry.actor.to_string(),
        scope: entry.ban.scope.as_str().to_owned(),
        until: format!("{:.0}", entry.ban.until),
        left_s: u64::try_from(left.as_secs()).unwrap_or_default(),
        offences: entry.ban.offences,
        cause: entry.ban.cause.to_string(),
        simulated: entry.ban.simulated,
        began: format!("{:.0}", entry.began),
    }
}

/// On whom a ban by hand is to be, until when and why.
fn wanted(operated: &Operated, ban: &NewBan, now: Timestamp) -> Result<(Actor, Timestamp, String), Problem> {
    let actor = actor(operated, &ban.on)?;
    let length = Duration::from_secs(ban.for_s);
    if length.is_zero() || length > LONGEST_BAN {
        return Err(problem("a ban lasts from a second to a year"));
    }
    if ban.reason.trim().is_empty() || ban.reason.len() > MAX_REASON || ban.reason.chars().any(char::is_control) {
        return Err(problem(format!("the reason must be there, on one line of at most {MAX_REASON} bytes")));
    }
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
    Ok((actor, until, format!("{BY_HAND}{}", ban.reason)))
}
