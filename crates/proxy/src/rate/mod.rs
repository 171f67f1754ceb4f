//! Rates: how many requests a caller, an address or a route may make in a time, held for the whole process without a lock.
//!
//! The rule is GCRA (the "leaky bucket as a meter" of ITU-T I.371): one number for each key, the time at which the key will
//! have earned all that it has used. `gcra` is the arithmetic, `cells` the bounded table of those numbers, `fields` what
//! the caller is told of it. Which limit applies where is the business of the layers in `layers/rate.rs`. Who counts in a table
//! of its own, as the gateway's own pages do, does it by the same arithmetic: [`Pace`] and [`Cell`].

mod cells;
mod fields;
mod gcra;
mod key;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use portcullis_policy::Principal;

use crate::settings::{Per, RateLimit};

pub use fields::{Left, write_fields};
pub use gcra::{Cell, Pace, Taken};
pub use key::AddressKey;

use cells::Cells;
use fields::policy_field;
use key::Hashing;

/// The state of every rate limit, which a reload keeps for limits that did not change.
#[derive(Debug, Default)]
pub struct Rates {
    hashing: Hashing,
    /// Made when the first limit by address or principal is loaded.
    cells: OnceLock<Arc<Cells>>,
    /// What a limit has of its own, by its seed. Locked when a worker loads a configuration, never by a request.
    own: Mutex<BTreeMap<u64, Arc<Own>>>,
}

/// The cells that one limit does not share with others.
#[derive(Debug, Default)]
struct Own {
    /// For a limit by route.
    route: Cell,
    /// For keys that find no place in the table: they count together, so that nobody escapes by filling it.
    overflow: [Cell; OVERFLOW_CELLS],
}

const OVERFLOW_CELLS: usize = 32;

/// The limits of one route, ready to be asked.
#[derive(Debug)]
pub struct RouteRates {
    /// Asked before any credential is looked at.
    pub by_address: Vec<Limit>,
    /// Asked once the caller is known.
    pub by_principal: Vec<Limit>,
    /// Asked for permitted requests only, so that refused ones use nothing up.
    pub by_route: Vec<Limit>,
    /// `RateLimit-Policy`
    policy: http::HeaderValue,
}

/// One limit of one route.
#[derive(Debug)]
pub struct Limit {
    /// Its name in the `RateLimit` fields, such as `address` or `address-2`.
    pub name: Arc<str>,
    /// What was configured.
    pub settings: RateLimit,
    pace: Pace,
    seed: u64,
    own: Arc<Own>,
    cells: Arc<Cells>,
}

/// What a limit says of one request. Times are in whole seconds, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Within(Left),
    /// It is one too many; nothing was used up.
    Over {
        /// When the next one is accepted; at least 1 s.
        retry_after_s: u64,
    },
}

impl Rates {
    /// The limits of a route; `None` where there are none.
    pub(crate) fn of_route(&self, route: &str, limits: &[RateLimit]) -> Option<RouteRates> {
        if limits.is_empty() {
            return None;
        }
        let cells = self.cells.get_or_init(|| Arc::new(Cells::new()));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of limits that no configuration in use has any more.
        own.retain(|_, own| Arc::strong_count(own) > 1);
        let mut rates = RouteRates {
            by_address: Vec::new(),
            by_principal: Vec::new(),
            by_route: Vec::new(),
            policy: http::HeaderValue::from_static(""),
        };
        let mut names = Vec::new();
        for settings in limits {
            let before = names.iter().filter(|(per, _)| *per == settings.per).count();
            let name = match before {
                0 => Arc::from(settings.per.as_str()),
                earlier => Arc::from(format!("{}-{}", settings.per.as_str(), earlier + 1)),
            };
            names.push((settings.per, Arc::clone(&name)));
            // A limit that was changed begins anew: what was counted at another pace means nothing to it.
            let seed = self.hashing.of_limit(route, settings, before);
            let limit = Limit {
                name,
                settings: settings.clone(),
                pace: Pace::new(settings.requests, settings.window, settings.burst),
                seed,
                own: Arc::clone(own.entry(seed).or_default()),
                cells: Arc::clone(cells),
            };
            match settings.per {
                Per::Address => rates.by_address.push(limit),
                Per::Principal => rates.by_principal.push(limit),
                Per::Route => rates.by_route.push(limit),
            }
        }
        rates.policy = policy_field(rates.all());
        Some(rates)
    }

    /// Asks a limit for one request from this address.
    pub(crate) fn take_for_address(&self, limit: &Limit, address: AddressKey, now_ns: u64) -> Verdict {
        limit.take(self.hashing.of_address(limit.seed, address), now_ns)
    }

    /// Asks a limit for one request by this principal.
    pub(crate) fn take_for_principal(&self, limit: &Limit, principal: &Principal, now_ns: u64) -> Verdict {
        limit.take(self.hashing.of_principal(limit.seed, principal), now_ns)
    }
}

impl RouteRates {
    /// Every limit, in the order in which they are asked.
    fn all(&self) -> impl Iterator<Item = &Limit> {
        self.by_address.iter().chain(&self.by_principal).chain(&self.by_route)
    }
}

impl Limit {
    /// Asks the limit, which is one by route, for one request.
    pub(crate) fn take_for_route(&self, now_ns: u64) -> Verdict {
        self.verdict(self.pace.take(&self.own.route, now_ns))
    }

    fn take(&self, key: u64, now_ns: u64) -> Verdict {
        let overflow = usize::try_from(key % OVERFLOW_CELLS as u64).unwrap_or_default();
        let shared = self.own.overflow.get(overflow).unwrap_or(&self.own.route);
        self.verdict(self.cells.take(key, &self.pace, now_ns, shared))
    }

    fn verdict(&self, taken: Taken) -> Verdict {
        match taken {
            Taken::Within { left, reset_ns } => {
                let reset_ns = reset_ns.max(self.pace.spread_ns(left));
                Verdict::Within(Left { remaining: left, reset_s: seconds(reset_ns) })
            }
            Taken::Over { wait_ns } => Verdict::Over { retry_after_s: seconds(wait_ns).max(1) },
        }
    }
}

/// Whole seconds, rounded up: who waits that long is let in.
pub fn seconds(ns: u64) -> u64 {
    ns.div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit(per: Per, requests: u64, burst: u64) -> RateLimit {
        RateLimit { per, requests, window: Duration::from_secs(10), burst }
    }

    fn key(address: &str) -> AddressKey {
        AddressKey::of(address.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_own_quota_and_each_route_too() {
        let rates = Rates::default();
        let a = rates.of_route("a", &[limit(Per::Address, 10, 2)]).unwrap();
        let b = rates.of_route("b", &[limit(Per::Address, 10, 2)]).unwrap();
        let check = |route: &RouteRates, address: &str, now: u64, expected: bool| {
            let verdict = rates.take_for_address(&route.by_address[0], key(address), now);
            assert_eq!(matches!(verdict, Verdict::Within(_)), expected, "{address} at {now}: {verdict:?}");
        };
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            check(&a, address, SECOND, true);
            check(&a, address, SECOND, true);
            check(&a, address, SECOND, false);
            check(&b, address, SECOND, true);
        }
        // The same network or address in another spelling has no quota of its own.
        check(&a, "2001:db8::ffff", SECOND, false);
        check(&a, "::ffff:192.0.2.1", SECOND, false);
        check(&a, "192.0.2.1", 2 * SECOND - 1, false);
        check(&a, "192.0.2.1", 2 * SECOND, true);
    }

    #[test]
    fn a_limit_that_did_not_change_goes_on_after_a_reload_and_a_changed_one_begins_anew() {
        let rates = Rates::default();
        let within = |route: &RouteRates| {
            let address = rates.take_for_address(&route.by_address[0], key("192.0.2.1"), SECOND);
            let route = route.by_route[0].take_for_route(SECOND);
            [address, route].map(|verdict| matches!(verdict, Verdict::Within(_)))
        };
        let limits = |requests| [limit(Per::Address, requests, 1), limit(Per::Route, requests, 1)];
        let before = rates.of_route("a", &limits(10)).unwrap();
        assert_eq!(within(&before), [true, true]);
        let same = rates.of_route("a", &limits(10)).unwrap();
        drop(before);
        assert_eq!(within(&same), [false, false]);
        assert_eq!(within(&rates.of_route("a", &limits(11)).unwrap()), [true, true]);
        assert!(rates.own.lock().unwrap().len() <= 4, "what is not used any more is let go");
    }

    #[test]
    fn a_refused_request_uses_nothing_up_and_is_told_when_to_come_back() {
        let rates = Rates::default();
        let route = rates.of_route("a", &[limit(Per::Route, 5, 1)]).unwrap();
        let take = |now| route.by_route[0].take_for_route(now);
        assert_eq!(take(SECOND), Verdict::Within(Left { remaining: 0, reset_s: 2 }));
        for _ in 0..100 {
            assert_eq!(take(SECOND), Verdict::Over { retry_after_s: 2 });
        }
        assert_eq!(take(3 * SECOND), Verdict::Within(Left { remaining: 0, reset_s: 2 }));
    }
}
