//! Requests that are kept for a while after they are over, so that another policy can be tried on them.
//!
//! Each worker hands what it keeps to a queue of its own, of which another thread takes. Nothing waits for anything: a worker may hand over
//! so many requests until that thread comes by, and beyond that a request costs a comparison. Refusals have room of their own, and what was let in
//! has: neither can fill that of the other, so that a flood of refusals hides nobody who is let in meanwhile.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use portcullis_events::ReasonCode;
use portcullis_identity::Identity;
use portcullis_policy::{CredentialProblemKind, KeptIdentity, KeptRare, KeptRequest, KeptRisk, KeptText};
use portcullis_risk::posture::Posture;

use crate::transit::Facts;
use crate::wire::quoted_user_agent;

/// How many requests of one worker that were let in are kept between two visits, and how many that were refused.
const ROOM: u32 = 384;
/// Both together.
const BOTH: usize = 2 * ROOM as usize;

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What its decision rested on.
    pub request: KeptRequest,
    /// Why it was refused; `None`: it was permitted.
    pub refused: Option<ReasonCode>,
    /// What was answered.
    pub status: u16,
}

/// What all workers have counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallied {
    /// Requests that were answered.
    pub requests: u64,
    /// Those that the gateway refused.
    pub refused: u64,
    /// Those that were permitted and that the upstream answered with 401 or 403.
    pub upstream_refused: u64,
    /// Those that were handed over.
    pub noted: u64,
}

/// The queues of all workers.
#[derive(Debug)]
pub struct Sampling {
    lanes: Vec<Arc<Lane>>,
    /// Only one thread takes from them.
    queues: Mutex<Vec<Receiver<Noted>>>,
}

/// One worker's queue. Nobody else adds to it.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: SyncSender<Noted>,
    room: AtomicU32,
    room_for_refusals: AtomicU32,
    requests: AtomicU64,
    refused: AtomicU64,
    upstream_refused: AtomicU64,
    noted: AtomicU64,
}

impl Sampling {
    /// A queue for each of so many workers.
    pub fn new(workers: usize) -> Self {
        let (lanes, queues) = (0..workers).map(|_| Lane::new()).unzip();
        Self { lanes, queues: Mutex::new(queues) }
    }

    /// The queue of the worker of this index.
    pub(crate) fn lane(&self, index: usize) -> Option<Arc<Lane>> {
        self.lanes.get(index).cloned()
    }

    /// Takes what was handed over, and makes room for more.
    pub fn take(&self, mut take: impl FnMut(Noted)) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for (lane, queue) in self.lanes.iter().zip(&*queues) {
            queue.try_iter().take(BOTH).for_each(&mut take);
            lane.room.store(ROOM, Ordering::Relaxed);
            lane.room_for_refusals.store(ROOM, Ordering::Relaxed);
        }
    }

    /// What was counted.
    pub fn tallied(&self) -> Tallied {
        let mut all = Tallied::default();
        for lane in &self.lanes {
            all.requests += lane.requests.load(Ordering::Relaxed);
            all.refused += lane.refused.load(Ordering::Relaxed);
            all.upstream_refused += lane.upstream_refused.load(Ordering::Relaxed);
            all.noted += lane.noted.load(Ordering::Relaxed);
        }
        all
    }
}

impl Lane {
    fn new() -> (Arc<Self>, Receiver<Noted>) {
        let (queue, receiver) = sync_channel(BOTH);
        let zero = AtomicU64::default;
        let lane = Self {
            queue,
            room: AtomicU32::new(ROOM),
            room_for_refusals: AtomicU32::new(ROOM),
            requests: zero(),
            refused: zero(),
            upstream_refused: zero(),
            noted: zero(),
        };
        (Arc::new(lane), receiver)
    }

    /// Counts a request that is over, and hands it over where there is room.
    pub(crate) fn note(
        &self,
        facts: &Facts,
        user_agent: Option<&HeaderValue>,
        refused: Option<ReasonCode>,
        status: u16,
    ) {
        count(&self.requests);
        let left = match refused {
            Some(_) => {
                count(&self.refused);
                &self.room_for_refusals
            }
            None if matches!(status, 401 | 403) => {
                count(&self.upstream_refused);
                &self.room_for_refusals
            }
            None => &self.room,
        };
        let room = left.load(Ordering::Relaxed);
        if room == 0 {
            return;
        }
        // Room that is made at this very moment is lost until the next visit.
        left.store(room - 1, Ordering::Relaxed);
        let Some(request) = keep(facts, user_agent) else { return };
        if self.queue.try_send(Noted { request, refused, status }).is_ok() {
            count(&self.noted);
        }
    }
}

/// Only one thread counts here, so that no other's count can be lost.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// What a decision rested on.
pub(crate) fn keep(facts: &Facts, user_agent: Option<&HeaderValue>) -> Option<KeptRequest> {
    // Of a head that was not let through there is what the refusal quotes; of others the same is made, so that one software has one name.
    let software = user_agent.map(|value| quoted_user_agent(value.as_bytes()));
    let quoted = || facts.head_refusal.as_ref().and_then(|refusal| refusal.user_agent.as_deref());
    let software = product(software.as_deref().or_else(quoted).unwrap_or_default());
    let text = match &facts.target {
        Some(target) => {
            KeptText { method: target.method.as_str(), host: &target.host, path: target.path.as_str(), software }
        }
        // Then there is nothing that could be decided on.
        None => KeptText { software, ..KeptText::default() },
    };
    let asked = facts.access_request();
    let mut rare = asked.and_then(|asked| KeptRare::of(asked.bans, asked.contained, asked.activations));
    if let Some(Identity::Rejected(rejection)) = &facts.identity
        && rejection.problem.kind == CredentialProblemKind::Revoked
    {
        rare.get_or_insert_default().revoked_by = Some(rejection.problem.detail.as_str().into());
    }
    let identity = match &facts.identity {
        Some(Identity::Unchecked(_)) | None => KeptIdentity::NotLookedAt,
        Some(Identity::Anonymous) => KeptIdentity::Anonymous,
        Some(Identity::Verified(principal)) => KeptIdentity::Verified(Arc::clone(principal)),
        Some(Identity::Rejected(rejection)) => KeptIdentity::Rejected(rejection.problem.kind),
        Some(Identity::Unavailable(dependency, _)) => KeptIdentity::Unavailable(*dependency),
    };
    Some(KeptRequest {
        client: facts.client_address(),
        country: facts.country,
        identity,
        posture: facts.device.and_then(Posture::compliant),
        risk: facts.risk.as_ref().map(|risk| KeptRisk::of(&risk.assessment)),
        rare,
        ..KeptRequest::new(text, facts.now)?
    })
}

/// The product that a user agent names (RFC 9110 section 10.1.5): its first one, or its last one where it calls itself Mozilla, as every
/// browser does.
fn product(user_agent: &str) -> &str {
    let mut products = user_agent.split(' ');
    let product = if user_agent.starts_with("Mozilla/") { products.next_back() } else { products.next() };
    product.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn noted() -> Noted {
        let request = KeptRequest::new(KeptText::default(), Timestamp::UNIX_EPOCH).unwrap();
        Noted { request, refused: None, status: 200 }
    }

    #[test]
    fn what_is_handed_over_is_taken_once() {
        let sampling = Sampling::new(2);
        let lane = sampling.lane(1).unwrap();
        lane.queue.try_send(noted()).unwrap();
        let count = || {
            let mut count = 0;
            sampling.take(|_| count += 1);
            count
        };
        assert_eq!((count(), count()), (1, 0));
        assert!(sampling.lane(2).is_none());
    }

    #[test]
    fn a_full_queue_takes_no_more_until_somebody_comes_by() {
        let sampling = Sampling::new(1);
        let lane = sampling.lane(0).unwrap();
        for _ in 0..BOTH {
            lane.queue.try_send(noted()).unwrap();
        }
        assert!(lane.queue.try_send(noted()).is_err());
        lane.room.store(0, Ordering::Relaxed);
        sampling.take(|_| {});
        assert_eq!(lane.room.load(Ordering::Relaxed), ROOM);
        assert!(lane.queue.try_send(noted()).is_ok());
    }
}
