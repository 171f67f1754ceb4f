//! Versions, proposals and approvals.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_admin::Peer;
use portcullis_admin::api::Problem;
use portcullis_admin::govern::{Answer as GovernAnswer, Governed};
use portcullis_config::Loaded;
use tokio::sync::oneshot;

use super::banned_meanwhile::banned_meanwhile;
use super::{Operated, Order, preview, problem};
use crate::governing::{Asked, Foresight, Who, Why};
use crate::reload::Outcome;
use crate::running::Running;

/// The requests that the running gateway keeps.
pub(crate) struct Kept(pub(crate) Arc<Running>);

impl Foresight for Kept {
    fn foresee(&self, candidate: Loaded, patience: Duration) -> Result<Vec<u8>, String> {
        let stamped = preview::foresee(&self.0, candidate, patience)?;
        // The bytes whose hash the stamp is.
        serde_json::to_vec(&stamped.report).map_err(|error| error.to_string())
    }

    fn can_look(&self) -> bool {
        self.0.insight().is_some()
    }

    fn watches(&self) -> bool {
        self.0.insight().is_some()
    }

    fn tells(&self) -> bool {
        true
    }
}

/// Says also what the data plane goes by.
fn in_force(operated: &Operated, mut answer: GovernAnswer) -> GovernAnswer {
    if let Some(live) = &mut answer.live {
        live.in_force = Some(operated.running.shared().snapshot().load().policy.version());
    }
    answer
}

/// Does what is wanted, and has a version that became live put in force.
pub(super) async fn perform(operated: &Operated, peer: &Peer, wanted: Governed) -> Result<GovernAnswer, Problem> {
    let governing = operated.running.governing().cloned();
    let governing =
        governing.ok_or_else(|| problem("versions are kept in the store, and there is none: add `[store]`"))?;
    let who = Who::of(peer);
    let names = who.names.clone();
    let foresight = Kept(Arc::clone(&operated.running));
    let running = Arc::clone(&operated.running);
    // Of whom something is decided otherwise only those are told who ask how far it is: it is worked out anew each time, and names callers.
    let asks_how_far = matches!(wanted, Governed::List { .. });
    let performed = tokio::task::spawn_blocking(move || {
        let now = Timestamp::now();
        let mut performed = governing.perform(wanted, &who, &foresight, now);
        // Also where it was refused: what another process has written may have been taken up meanwhile.
        if let Err(error) = running.tell_recoveries(false, now) {
            tracing::error!("{error}");
        }
        let live =
            performed.as_mut().ok().filter(|_| asks_how_far).and_then(|performed| performed.answer.live.as_mut());
        let rollout = live.and_then(|live| live.rollout.as_mut());
        if let (Some(rollout), Some(insight)) = (rollout, foresight.0.insight()) {
            rollout.found = insight.watched_in_words();
        }
        performed
    });
    let performed = performed.await.map_err(|error| problem(error.to_string()))?.map_err(problem)?;
    let Some(n) = performed.activated else { return Ok(in_force(operated, performed.answer)) };
    let (answer, outcome) = oneshot::channel();
    let _ = operated.orders.try_send(Order::Reload(Why::Activated, Asked::by(names), answer));
    let trouble = match outcome.await {
        Ok(Outcome { result: Ok(_), .. }) => {
            let mut answer = in_force(operated, performed.answer);
            answer.message.push_str(&banned_by_what_it_took_back(operated, n).await);
            return Ok(answer);
        }
        Ok(Outcome { result: Err(reason), .. }) => reason,
        Err(_) => "the gateway stops, or reloads already".to_owned(),
    };
    Err(problem(format!(
        "version {n} is approved and the last one, but not in force yet: {trouble}; it is tried every ten seconds, and by `portcullis reload`"
    )))
}

/// Whom the way back leaves banned; empty: nobody, or the version takes nothing back.
async fn banned_by_what_it_took_back(operated: &Operated, n: u64) -> String {
    let running = Arc::clone(&operated.running);
    let told = tokio::task::spawn_blocking(move || {
        let since = running.governing()?.taken_back_since(n)?;
        banned_meanwhile(&running, since)
    });
    told.await.ok().flatten().unwrap_or_default()
}
