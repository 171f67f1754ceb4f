//! `alert`: the alerts of a running gateway.

use portcullis_admin::api::{AlertName, AlertTested, Alerts, Contained, ContainmentId, Done, MutedAlert, NewMute};
use serde::Serialize;

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{AlertArgs, AlertCommand, Global};
use crate::cli::live::{ask, show};
use crate::cli::span;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &AlertArgs) -> Exit {
    let exit = match &args.command {
        AlertCommand::List => list(global),
        AlertCommand::Test { name } => test(global, name),
        AlertCommand::Lift { id } => lift(global, id),
        AlertCommand::Mute { whose, duration, reason } => {
            let mute = NewMute { alert: whose.name.clone(), for_s: duration.as_secs(), reason: reason.clone() };
            done(global, "/v1/alerts/mute", &mute)
        }
        AlertCommand::Unmute { whose } => done(global, "/v1/alerts/unmute", &MutedAlert { alert: whose.name.clone() }),
    };
    exit.unwrap_or_else(|exit| exit)
}

fn list(global: &Global) -> Result<Exit, Exit> {
    let alerts: Alerts = ask(global, async |client| client.get("/v1/alerts").await)?;
    show(global, &alerts, || listed(&alerts));
    Ok(Exit::Success)
}

fn listed(alerts: &Alerts) -> String {
    if alerts.alerts.is_empty() {
        return "there is no alert: write [[alert]] into the configuration".to_owned();
    }
    let rows: Vec<_> = alerts
        .alerts
        .iter()
        .map(|alert| {
            let state = match (&alert.muted, alert.learning, alert.firing.as_slice()) {
                (Some(reason), ..) => format!("muted: {reason}"),
                (None, true, _) => "learning".to_owned(),
                (None, false, []) => "quiet".to_owned(),
                (None, false, [key]) => format!("firing for {key}"),
                (None, false, [key, more @ ..]) => format!("firing for {key} and {} more", more.len()),
            };
            [safe(&alert.name), safe(&state), alert.fired.to_string(), alert.keys.to_string(), safe(&alert.condition)]
        })
        .collect();
    let mut parts = vec![table(["ALERT", "STATE", "FIRED", "KEYS", "CONDITION"], &rows)];
    if !alerts.contained.is_empty() {
        parts.push(String::new());
        parts.push(contained(&alerts.contained));
    }
    if alerts.missed > 0 {
        parts.push(String::new());
        parts.push(format!("{} events were seen by no alert, because too many came at once", alerts.missed));
    }
    parts.join("\n")
}

fn contained(contained: &[Contained]) -> String {
    let rows: Vec<_> = contained
        .iter()
        .map(|each| {
            let simulated = if each.simulated { " (simulated)" } else { "" };
            [
                safe(&each.id),
                format!("{}{simulated}", safe(&each.measure)),
                safe(&each.on),
                safe(&each.alert),
                span::shown(each.left_s),
                safe(&each.event),
            ]
        })
        .collect();
    table(["ID", "CONTAINED", "ON", "BY", "LEFT", "EVENT"], &rows)
}

fn test(global: &Global, name: &str) -> Result<Exit, Exit> {
    let alert = AlertName { name: name.to_owned() };
    let tested: AlertTested = ask(global, async |client| client.post("/v1/alerts/test", &alert).await)?;
    show(global, &tested, || {
        if tested.tried.is_empty() {
            return format!("{}: it notifies nobody, so there is nobody to test", safe(&tested.name));
        }
        let rows: Vec<_> = tested
            .tried
            .iter()
            .map(|tried| {
                let result = if tried.delivered { "delivered" } else { "not delivered" };
                [safe(&tried.notifier), safe(&tried.kind), result.to_owned(), safe(&tried.message)]
            })
            .collect();
        table(["NOTIFIER", "KIND", "RESULT", "WHAT HAPPENED"], &rows)
    });
    Ok(if tested.tried.iter().all(|tried| tried.delivered) { Exit::Success } else { Exit::Negative })
}

fn lift(global: &Global, id: &str) -> Result<Exit, Exit> {
    done(global, "/v1/alerts/lift", &ContainmentId { id: id.to_owned() })
}

/// Has something done, and says what.
fn done(global: &Global, path: &str, what: &impl Serialize) -> Result<Exit, Exit> {
    let done: Done = ask(global, async |client| client.post(path, what).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}
