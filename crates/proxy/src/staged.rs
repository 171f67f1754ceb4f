//! A policy that comes into force step by step: it decides for some callers, and the one in force for all others.
//!
//! Which callers is told by a hash of who they are, so that each is answered alike from one request to the next. Only the decision itself is its: what is
//! asked before anybody is known (bans, networks that are kept out, limits) goes by the policy in force until the last step. Where nothing is staged a
//! request costs a look at an empty field of its own snapshot.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_policy::{Policy, Principal};

use crate::transit::Facts;

/// The whole, in millionths.
const WHOLE: u32 = 1_000_000;

/// The policy, and for whom it decides.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The policy. Its routes are those of the policy in force.
    pub policy: Arc<Policy>,
    /// The SHA-256 of the policy, for events.
    pub sha256: Arc<str>,
    /// What tells its callers from those of another one: the id of the change.
    pub seed: [u8; 16],
    /// For what share of the callers it decides, in millionths; 0: it is only tried on what was decided on already.
    pub share: u32,
}

impl Staged {
    /// A policy that decides for this share.
    pub fn new(policy: Arc<Policy>, seed: [u8; 16], share: u32) -> Self {
        Self { sha256: policy.sha256().into(), policy, seed, share }
    }

    /// The same with other lists of its networks, or other thresholds.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self::new(Arc::new(policy), self.seed, self.share)
    }

    /// Whether it decides on this request.
    pub(crate) fn decides_on(&self, facts: &Facts) -> bool {
        let address = || facts.client_address().ip().unwrap_or(facts.connection.peer.ip());
        self.decides_for(facts.principal(), || Some(address()))
    }

    /// Whether it decides for this caller. Of an anonymous one whose address is unknown it does as soon as it does for everybody.
    pub fn decides_for(&self, principal: Option<&Principal>, address: impl FnOnce() -> Option<IpAddr>) -> bool {
        if matches!(self.share, 0 | WHOLE..) {
            return self.share != 0;
        }
        let caller = match principal {
            Some(principal) => Some(principal.reference()),
            None => address().map(anonymous),
        };
        caller.is_some_and(|caller| place_of(self.seed, &caller) < self.share)
    }
}

/// Nobody in particular, by the network: whoever changes their address within one of IPv6 stays the same.
fn anonymous(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("address:{address}"),
        IpAddr::V6(address) => format!("network:{:016x}", address.to_bits() >> 64),
    }
}

/// Where a caller stands among all, from 0 to 999,999: whoever stands below the share is decided for by the new policy, and stays so as the share grows. It is
/// the same on each gateway and after a restart.
fn place_of(seed: [u8; 16], caller: &str) -> u32 {
    let mut context = Context::new(&SHA256);
    // The seed has one length, so that nothing moves between the two.
    for part in [&b"portcullis-canary-v1"[..], &seed, caller.as_bytes()] {
        context.update(part);
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk::<4>().copied().map_or(0, u32::from_be_bytes);
    // Of 2^32 values, so that the shares are right to a part in four thousand.
    u32::try_from((u64::from(first) * u64::from(WHOLE)) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use portcullis_identity::Identity;
    use portcullis_policy::PolicyDraft;

    use super::*;
    use crate::layers::tests::worker;
    use crate::settings::Limits;
    use crate::transit::ConnectionFacts;
    use crate::upstream::headers::Scheme;

    fn staged(seed: u8, share: u32) -> Staged {
        Staged::new(Arc::new(Policy::compile(&PolicyDraft::default()).unwrap().0), [seed; 16], share)
    }

    #[test]
    fn a_share_of_the_callers_is_that_share_and_only_grows() {
        let places: Vec<u32> = (0..20_000).map(|n| place_of([7; 16], &format!("user:{n}"))).collect();
        assert!(places.iter().all(|place| *place < WHOLE));
        for share in [10_000, 50_000, 250_000, 500_000_u32] {
            let below = places.iter().filter(|place| **place < share).count() as u64;
            let expected = 20_000 * u64::from(share) / u64::from(WHOLE);
            // Five standard deviations of a binomial count.
            assert!(below.abs_diff(expected) <= 5 * expected.isqrt(), "{share}: {below} of {expected}");
        }
        // Not the same callers for another change.
        let other = (0..20_000_usize).filter(|n| place_of([8; 16], &format!("user:{n}")) < 50_000);
        let both = other.filter(|n| places[*n] < 50_000).count();
        assert!(both < 150, "{both} of about 50");
        // A value that is written down: another program, or a later version, must find the same callers.
        assert_eq!(place_of([7; 16], "user:alice"), ALICE);
    }

    /// `SHA-256("portcullis-canary-v1" ‖ 16 × 0x07 ‖ "user:alice")`, its first four bytes as a share of 2^32, in millionths.
    const ALICE: u32 = 222_847;

    #[test]
    fn whoever_is_known_counts_by_name_and_all_others_by_address() {
        let (worker, _) = worker(Limits::default());
        let mut facts = Facts::new(&worker, Rc::new(connection()));
        let place = |facts: &Facts| (0..=WHOLE).step_by(1_000).find(|share| staged(7, *share).decides_on(facts));
        let address = place(&facts).unwrap();
        assert_eq!(address, place_of([7; 16], "address:198.51.100.7") / 1_000 * 1_000 + 1_000);
        facts.identity = Some(Identity::Verified(Arc::new(Principal::user("alice"))));
        assert_eq!(place(&facts).unwrap(), place_of([7; 16], "user:alice") / 1_000 * 1_000 + 1_000);
        assert!(!staged(7, 0).decides_on(&facts) && staged(7, WHOLE).decides_on(&facts));
        let same = ["2001:db8::1", "2001:db8::ffff"].map(|address| anonymous(address.parse().unwrap()));
        assert_eq!(same[0], same[1]);
    }

    #[test]
    fn what_is_staged_is_put_beside_the_policy_in_force_and_changes_with_it() {
        let (worker, _) = worker(Limits::default());
        let present = worker.loaded();
        worker.shared.stage(Some(Arc::new(staged(7, WHOLE))));
        let loaded = worker.loaded();
        assert!(Arc::ptr_eq(&loaded.snapshot.policy, &present.snapshot.policy), "the policy in force stays");
        let mut facts = Facts::new(&worker, Rc::new(connection()));
        assert_eq!(facts.policy().1, &loaded.snapshot.policy_sha256);
        facts.by_staged = true;
        assert_eq!(facts.policy().1, &loaded.snapshot.staged.as_ref().unwrap().sha256);
        // Lists and thresholds are those of both.
        let numbered = |policy: &Policy| Ok::<_, ()>(policy.clone().numbered(policy.version() + 10));
        let renewed = loaded.snapshot.with_policies(numbered).unwrap();
        assert_eq!(renewed.policy.version(), loaded.snapshot.policy.version() + 10);
        assert_eq!(renewed.staged.unwrap().policy.version(), staged(7, WHOLE).policy.version() + 10);
        assert!(loaded.snapshot.with_policies(|_| Err::<Policy, _>(())).is_err());
        worker.shared.stage(None);
        assert!(worker.loaded().snapshot.staged.is_none());
        assert_eq!(facts.loaded.snapshot.staged.as_ref().unwrap().share, WHOLE, "a request keeps what it began with");
    }

    fn connection() -> ConnectionFacts {
        ConnectionFacts::new("198.51.100.7:1".parse().unwrap(), Scheme::Http, None)
    }
}
