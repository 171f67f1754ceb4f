//! The gateway's signed word to an upstream of who calls, kept for the next request of the same caller: signing costs more than all else
//! that a permitted request takes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use jiff::Timestamp;
use portcullis_identity::assertion::Assertions;
use portcullis_policy::Principal;

/// How many are kept by one worker. Where more callers than that come, each costs a signature.
const MOST: usize = 4_096;

/// What one worker signed lately, under one configuration.
#[derive(Debug, Default)]
pub(crate) struct Asserted(RefCell<HashMap<Key, Kept>>);

/// The place of the principal in memory, 0 for nobody, and that of the upstream in the settings. A token that was verified once has one
/// principal for as long as it is remembered.
type Key = (usize, usize);

#[derive(Debug)]
struct Kept {
    /// Held, so that nobody else has its place.
    _principal: Option<Arc<Principal>>,
    value: HeaderValue,
    renew: Timestamp,
}

impl Asserted {
    /// The value for this caller and upstream; `None` where it cannot be signed. One that is signed without the caller's groups is counted.
    pub(crate) fn get(
        &self,
        assertions: &Assertions,
        principal: Option<&Arc<Principal>>,
        upstream: (usize, &str),
        now: Timestamp,
        without_groups: &AtomicU64,
    ) -> Option<HeaderValue> {
        let key = (principal.map_or(0, |principal| Arc::as_ptr(principal).addr()), upstream.0);
        let mut kept = self.0.borrow_mut();
        if let Some(found) = kept.get(&key).filter(|found| now < found.renew) {
            return Some(found.value.clone());
        }
        let signed = assertions.sign(principal.map(Arc::as_ref), upstream.1, now).ok()?;
        if signed.groups_left_out > 0 {
            without_groups.fetch_add(1, Ordering::Relaxed);
        }
        let mut value = HeaderValue::try_from(signed.token).ok()?;
        value.set_sensitive(true);
        if kept.len() >= MOST && !kept.contains_key(&key) {
            kept.retain(|_, each| now < each.renew);
            if kept.len() >= MOST {
                kept.clear();
            }
        }
        let entry = Kept { _principal: principal.map(Arc::clone), value: value.clone(), renew: signed.renew };
        kept.insert(key, entry);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use portcullis_identity::assertion::AssertionKey;

    use super::*;

    fn assertions() -> Assertions {
        // The private key of RFC 8410 section 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let key = AssertionKey::from_pem(pem.as_bytes()).unwrap();
        Assertions::new("https://gw.example", Duration::from_secs(60), key, None)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn what_was_signed_is_sent_again_for_half_of_its_life() {
        let (asserted, assertions) = (Asserted::default(), assertions());
        let alice = Arc::new(Principal::user("alice"));
        let get = |principal: Option<&Arc<Principal>>, upstream, second| {
            asserted.get(&assertions, principal, upstream, at(second), &AtomicU64::new(0)).unwrap()
        };
        let (billing, payroll) = ((0, "billing"), (1, "payroll"));
        let first = get(Some(&alice), billing, 0);
        assert!(first.is_sensitive());
        assert_eq!(get(Some(&alice), billing, 29), first);
        assert_ne!(get(Some(&alice), billing, 30), first);
        // Nobody else's, and not for another upstream.
        let again = get(Some(&alice), billing, 31);
        let changed = Arc::new(Principal::user("alice").in_group("finance"));
        for other in [get(Some(&alice), payroll, 31), get(Some(&changed), billing, 31), get(None, billing, 31)] {
            assert_ne!(other, again);
        }
    }

    #[test]
    fn a_signature_without_groups_is_counted_once() {
        let (asserted, assertions, count) = (Asserted::default(), assertions(), AtomicU64::new(0));
        let many = (0..5_000).fold(Principal::user("alice"), |alice, number| alice.in_group(&format!("g{number}")));
        for principal in [Arc::new(many), Arc::new(Principal::user("bob").in_group("g"))] {
            for _ in 0..2 {
                asserted.get(&assertions, Some(&principal), (0, "billing"), at(0), &count).unwrap();
            }
        }
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn a_place_in_memory_is_no_other_callers() {
        let (asserted, assertions) = (Asserted::default(), assertions());
        let values: HashSet<HeaderValue> = (0..64)
            .map(|number| {
                // Each goes at once, and the next might get its place.
                let principal = Arc::new(Principal::user(&format!("u{number}")));
                asserted.get(&assertions, Some(&principal), (0, "billing"), at(0), &AtomicU64::new(0)).unwrap()
            })
            .collect();
        assert_eq!(values.len(), 64);
        assert!(asserted.0.borrow().values().all(|kept| kept._principal.is_some()));
    }

    #[test]
    fn callers_beyond_the_bound_cost_a_signature_and_no_memory() {
        let (asserted, assertions) = (Asserted::default(), assertions());
        let held: Vec<Arc<Principal>> = (0..MOST + 10).map(|_| Arc::new(Principal::user("u"))).collect();
        for principal in &held {
            asserted.get(&assertions, Some(principal), (0, "billing"), at(0), &AtomicU64::new(0)).unwrap();
            assert!(asserted.0.borrow().len() <= MOST);
        }
    }
}
