//! A test event for a sink, and what becomes of it.

use std::time::{Duration, Instant};

use portcullis_admin::api::{Problem, SinkTested};
use portcullis_admin::{Action, ActionKind, Gateway as _, Peer};
use portcullis_events::SinkStats;

use super::action::event;
use super::{Operated, problem, shown};

/// How long the delivery of a test event is waited for, and how often it is looked at.
const TEST_PATIENCE: Duration = Duration::from_secs(10);
const TEST_POLL: Duration = Duration::from_millis(20);

/// Has it deliver a test event.
pub(super) fn test(operated: &Operated, peer: &Peer, name: &str) -> Result<SinkTested, Problem> {
    let Some(before) = sink_stats(operated, name) else {
        let error = format!("there is no sink `{}`", shown(name));
        operated.record(&Action { kind: ActionKind::SinkTest, peer, succeeded: false, message: error.clone() });
        return Err(problem(error));
    };
    let mut watch = operated.tail.watch();
    let message = format!("a test of the sink {name}: nothing happened");
    let event = event(operated, &Action { kind: ActionKind::SinkTest, peer, succeeded: true, message });
    let id = event.id.to_string();
    operated.running.shared().recorder.record(event);
    let (began, mut line) = (Instant::now(), None);
    loop {
        line = line.or_else(|| watch.find(&id));
        let now = sink_stats(operated, name).unwrap_or_else(|| before.clone());
        if let Some((delivered, message)) = verdict(&before, &now, began.elapsed()) {
            let line = line.or_else(|| watch.find(&id));
            let recorder = &operated.running.shared().recorder;
            let wire = line.as_deref().and_then(|line| recorder.wire(name, line.as_bytes()));
            return Ok(SinkTested { delivered, message, id, line, wire });
        }
        std::thread::sleep(TEST_POLL);
    }
}

/// What became of an event that was recorded when the counts were `before`: whether it was delivered, and what happened. `None`:
/// it is still on its way.
fn verdict(before: &SinkStats, now: &SinkStats, waited: Duration) -> Option<(bool, String)> {
    let milliseconds = waited.as_millis();
    let failed = now.failed.saturating_sub(before.failed);
    // All that waited before it, and it.
    let due = before.exported.saturating_add(before.queue_depth as u64).saturating_add(1);
    if now.dropped() > before.dropped() && now.queue_depth == 0 {
        return Some((false, "the event was lost: it was dropped, and counted".to_owned()));
    }
    if now.exported >= due || (now.exported > before.exported && now.queue_depth == 0) {
        let attempts = if failed > 0 { format!(" after {failed} attempts that failed") } else { String::new() };
        return Some((true, format!("delivered within {milliseconds} ms{attempts}")));
    }
    if waited < TEST_PATIENCE {
        return None;
    }
    let waiting = now.queue_depth;
    Some((
        false,
        if failed > 0 {
            format!(
                "not delivered in {milliseconds} ms: {failed} attempts failed, {waiting} events wait; the log says why"
            )
        } else if waiting > 0 {
            format!("not delivered in {milliseconds} ms: {waiting} events wait")
        } else {
            format!("nothing was written in {milliseconds} ms: the sink's filter leaves such events out")
        },
    ))
}

fn sink_stats(operated: &Operated, name: &str) -> Option<SinkStats> {
    operated.running.shared().recorder.stats().into_iter().find(|sink| &*sink.name == name)
}
