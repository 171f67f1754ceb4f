//! Temporary power in words, and in the shapes of the control channel.

use data_encoding::BASE64;
use jiff::Timestamp;
use portcullis_admin::access::{Answer, Eligible as ShownEligible, Power as ShownPower};
use portcullis_governance::power::{GRANTED, Power, PowerKind, PowerState};
use portcullis_policy::{Ban, Eligible, Principal};

use crate::answers::terminal::quoted;

/// A time of the log, as people write it.
pub(super) fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// What it is called in a sentence: `7 (on-call of user:alice)`.
pub(super) fn name(power: &Power) -> String {
    format!("{} ({} of {})", power.n, power.asked.gives, power.asked.principal)
}

fn first(names: &[String]) -> &str {
    names.first().map_or("the gateway", String::as_str)
}

fn approvers(power: &Power) -> Vec<String> {
    power.approved.iter().map(|names| first(names).to_owned()).collect()
}

/// Who gave it, why and by whose approval: what an explanation says of it.
pub(super) fn note(power: &Power) -> String {
    let mut text = format!("{} {}, asked for by {}", power.asked.kind.as_str(), power.n, first(&power.by));
    if let Some(used) = &power.statement {
        text.push_str(&format!(", signed with the key {}", used.key.id()));
    }
    let approved = approvers(power);
    if !approved.is_empty() {
        text.push_str(&format!(", approved by {}", approved.join(", ")));
    }
    for (before, more) in [(": ", &power.asked.reason), (", ticket ", &power.asked.ticket)] {
        if !more.is_empty() {
            text.push_str(before);
            text.push_str(more);
        }
    }
    text
}

/// That a ban is stronger than what somebody has, for the answer to whoever gives it.
pub(super) fn banned(whose: &Principal, ban: &Ban) -> String {
    let who = whose.reference();
    let word = quoted(&who);
    format!(
        "; BUT {who} IS BANNED until {:.0} ({}), and is refused everything until then: `portcullis ban explain --user {word}` says why, and `portcullis ban remove --user {word}` lifts it",
        ban.until, ban.cause
    )
}

/// What happened to it, for an event.
pub(super) fn sentence(power: &Power) -> String {
    let what = format!("{} of {}", power.asked.gives, power.asked.principal);
    match &power.state {
        PowerState::InForce { until, .. } => format!("{what} is in force until {} ({})", time(*until), note(power)),
        PowerState::Ended { ended, reason, by, .. } => {
            let by = if by.is_empty() { String::new() } else { format!(", by {}", first(by)) };
            format!("{what} ended at {}{by}: {reason} ({})", time(*ended), note(power))
        }
        PowerState::Waiting { .. } if power.asked.kind == PowerKind::Request => {
            let (who, about, why) = (&power.asked.principal, &power.asked.gives, &power.asked.reason);
            format!(
                "{who} was refused {about} and asks for access: {why} (request {}, event {})",
                power.n, power.asked.ticket
            )
        }
        PowerState::Waiting { .. } if power.asked.kind == PowerKind::Activation => {
            let (who, about, why, n) = (&power.asked.principal, &power.asked.gives, &power.asked.reason, power.n);
            format!(
                "{who} asks to activate {about}, which {} other persons have to approve: {why} (activation {n})",
                power.asked.approvals
            )
        }
        PowerState::Waiting { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => {
            format!("{what} is {} ({})", power.state.as_str(), note(power))
        }
    }
}

pub(super) fn answer<'p>(message: String, powers: impl IntoIterator<Item = &'p Power>) -> Answer {
    Answer { message, access: powers.into_iter().map(power).collect(), ..Answer::default() }
}

fn power(power: &Power) -> ShownPower {
    let ticket = &power.asked.ticket;
    let (began, until, end) = match &power.state {
        PowerState::Waiting { until } => (None, Some(*until), None),
        PowerState::InForce { began, until } => (Some(*began), Some(*until), None),
        PowerState::Ended { began, ended, reason, by, is_unvouched: _ } => {
            (Some(*began), Some(*ended), Some(format!("{reason} ({})", first(by))))
        }
        PowerState::Rejected { reason, by } => (None, None, Some(format!("{reason} ({})", first(by)))),
        PowerState::Lapsed => (None, None, Some("nobody approved it in time".to_owned())),
    };
    ShownPower {
        id: power.n,
        kind: power.asked.kind.as_str().to_owned(),
        state: match &power.state {
            PowerState::Rejected { reason, .. } if reason.starts_with(GRANTED) => "granted".to_owned(),
            state => state.as_str().to_owned(),
        },
        principal: power.asked.principal.clone(),
        gives: power.asked.gives.clone(),
        opens: None,
        for_s: power.asked.lasts_s,
        reason: power.asked.reason.clone(),
        ticket: (!ticket.is_empty()).then(|| ticket.clone()),
        by: first(&power.by).to_owned(),
        asked: time(power.at),
        began: began.map(time),
        until: until.map(time),
        approvals: power.asked.approvals,
        approved_by: approvers(power),
        reviewed_by: power.reviewed.iter().map(reviewed).collect(),
        unreviewed: power.is_unreviewed(),
        end,
        record: BASE64.encode(&power.entry().encode()),
    }
}

fn reviewed((names, remark): &(Vec<String>, String)) -> String {
    if remark.is_empty() { first(names).to_owned() } else { format!("{}: {remark}", first(names)) }
}

pub(super) fn eligible(eligible: &Eligible) -> ShownEligible {
    ShownEligible {
        assignment: eligible.assignment.to_string(),
        role: eligible.role.to_string(),
        principals: eligible.principals.iter().map(|name| name.to_string()).collect(),
        max_s: eligible.rules.max_s,
        justification: eligible.rules.justification_required,
        ticket: eligible.rules.ticket_required,
        approvals: eligible.rules.approvals,
    }
}
