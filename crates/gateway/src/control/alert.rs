//! Alerts, tests of their notifiers, and mutes.

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::{Alert, AlertTested, Alerts, Contained, Done, MutedAlert, NewMute, Problem, Tried};

use super::{Operated, problem, shown};
use crate::alerting::Entry;

/// The longest mute by hand: seven days. What is to be quiet for longer belongs into the configuration.
const MUTE_MAX_S: u64 = 7 * 24 * 60 * 60;

/// All of them, and what they contain.
pub(super) fn list(operated: &Operated) -> Alerts {
    let now = operated.running.shared().clock.now();
    let overview = operated.running.alerting().alerts.overview();
    Alerts {
        alerts: overview.alerts.into_iter().map(shown_alert).collect(),
        contained: operated
            .running
            .alerting()
            .contained(operated.running.shared(), now)
            .iter()
            .map(|entry| contained(entry, now))
            .collect(),
        missed: overview.missed,
    }
}

/// Has its notifiers tell a test.
pub(super) fn test(operated: &Operated, name: &str) -> Result<AlertTested, Problem> {
    let tried = operated.running.alerting().alerts.test(name);
    let tried = tried.ok_or_else(|| problem(format!("there is no alert `{}`", shown(name))))?;
    let of = |tried: portcullis_alerts::Tried| Tried {
        notifier: tried.notifier.to_string(),
        kind: tried.kind.to_owned(),
        delivered: tried.delivered,
        message: tried.message,
    };
    Ok(AlertTested { name: name.to_owned(), tried: tried.into_iter().map(of).collect() })
}

/// Has one, or all, tell nobody for a while.
pub(super) fn mute(operated: &Operated, mute: &NewMute) -> Result<Done, Problem> {
    if mute.for_s == 0 || mute.for_s > MUTE_MAX_S {
        return Err(problem("alerts are muted for a second to 7 days".to_owned()));
    }
    if mute.reason.trim().is_empty() || mute.reason.len() > 256 {
        return Err(problem("the reason is 1 to 256 bytes long".to_owned()));
    }
    let lasts = SignedDuration::from_secs(i64::try_from(mute.for_s).unwrap_or(i64::MAX));
    // The hours of a mute go by the clock on the wall.
    let until = Timestamp::now().checked_add(lasts).map_err(|error| problem(error.to_string()))?;
    let whose = whose(mute.alert.as_deref());
    if !operated.running.alerting().alerts.mute(mute.alert.as_deref(), until, &mute.reason) {
        let named = mute.alert.as_deref().map(|name| format!(" `{}`", shown(name)));
        return Err(problem(format!("there is no alert{}", named.unwrap_or_default())));
    }
    tracing::warn!(%whose, %until, reason = mute.reason, "muted by hand");
    Ok(Done { message: format!("{whose} muted until {until:.0}: {}", mute.reason) })
}

/// Ends that.
pub(super) fn unmute(operated: &Operated, muted: &MutedAlert) -> Result<Done, Problem> {
    let whose = whose(muted.alert.as_deref());
    if !operated.running.alerting().alerts.unmute(muted.alert.as_deref()) {
        return Err(problem(format!("{whose} not muted by hand: see `portcullis alert list`")));
    }
    tracing::info!(%whose, "not muted any more");
    Ok(Done { message: format!("{whose} not muted by hand any more") })
}

fn shown_alert(state: portcullis_alerts::AlertState) -> Alert {
    Alert {
        name: state.name.to_string(),
        condition: state.condition,
        fired: state.fired,
        firing: state.firing,
        keys: state.keys as u64,
        evicted: state.evicted,
        crowded: state.crowded,
        overflowed: state.overflowed,
        muted: state.muted.map(|reason| reason.to_string()),
        learning: state.learning,
    }
}

fn contained(entry: &Entry, now: Timestamp) -> Contained {
    Contained {
        id: entry.id.clone(),
        alert: entry.alert.to_string(),
        measure: entry.measure.as_str().to_owned(),
        on: entry.on.to_string(),
        since: format!("{:.0}", entry.since),
        until: format!("{:.0}", entry.until),
        left_s: u64::try_from(entry.until.duration_since(now).as_secs()).unwrap_or_default(),
        event: entry.event.to_string(),
        simulated: entry.simulated,
    }
}

/// The beginning of a sentence about an alert, or all of them.
fn whose(alert: Option<&str>) -> String {
    alert.map_or_else(|| "all alerts are".to_owned(), |alert| format!("the alert {} is", shown(alert)))
}
