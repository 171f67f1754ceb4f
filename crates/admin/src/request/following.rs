//! Following the events, line by line.

use bytes::Bytes;
use http::{Response, StatusCode};
use portcullis_history::Filter;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::{Desk, Failure, respond};
use crate::api::{TAIL_SCHEMA, TailNote};
use crate::body::Answer;
use crate::gateway::{ActionKind, Gateway};
use crate::tail::Line;

/// Lines that wait for one who follows, besides the ring.
const LINES_AHEAD: usize = 16;

impl<G: Gateway> Desk<G> {
    pub(super) fn follow(&self, filter: Filter) -> Result<Response<Answer>, Failure> {
        let place = self.places.follower().map_err(Failure::busy)?;
        // From here on nothing is missed, the event about this included.
        let events = self.gateway.tail().follow();
        self.record(ActionKind::EventsTail, true, "follows the events".to_owned());
        let (sender, receiver) = mpsc::channel(LINES_AHEAD);
        tokio::task::spawn_local(async move {
            pass_on(events, &filter, &sender).await;
            drop(place);
        });
        Ok(respond(StatusCode::OK, "application/x-ndjson", Answer::Lines(receiver)))
    }
}

/// Passes on what the filter wants, until whoever follows goes away or nothing more will come.
async fn pass_on(mut events: broadcast::Receiver<Line>, filter: &Filter, sender: &mpsc::Sender<Bytes>) {
    if sender.send(note(0)).await.is_err() {
        return;
    }
    loop {
        let line = tokio::select! {
            line = events.recv() => line,
            () = sender.closed() => return,
        };
        let line = match line {
            Ok(Some(line)) if filter.wants_line(&line) => [&line[..], b"\n"].concat().into(),
            Ok(Some(_)) => continue,
            Ok(None) => note(1),
            Err(RecvError::Lagged(missed)) => note(missed),
            Err(RecvError::Closed) => return,
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

fn note(dropped: u64) -> Bytes {
    let note = TailNote { schema: TAIL_SCHEMA.to_owned(), dropped };
    let mut line = serde_json::to_vec(&note).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
