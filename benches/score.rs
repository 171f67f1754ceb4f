//! How long a score takes. `cargo bench -p portcullis-risk --bench score` prints nanoseconds; the figures of docs/risk.md are of the
//! release build.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at a broken expectation, and prints")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{ClientAddress, CountryCode, Principal};
use portcullis_risk::{Caller, Locate, Location, Position, RiskEngine, Settings};

/// Every address is in the country and the system of its first byte.
#[derive(Debug)]
struct World;

impl Locate for World {
    fn locate(&self, address: IpAddr) -> Option<Location> {
        let IpAddr::V4(v4) = address else { return None };
        let [first, ..] = v4.octets();
        Some(Location {
            country: CountryCode::parse(if first == 20 { "DE" } else { "US" }),
            asn: Some(64_000 + u32::from(first)),
            position: Position::from_degrees(f64::from(first), -f64::from(first), Some(50)),
            missing: false,
        })
    }
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36";
const ROUNDS: u32 = 200_000;

fn main() {
    let engine = RiskEngine::new(Settings::default());
    let alice = Principal::user("alice").in_group("staff");
    let begin: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    let from = |address: [u8; 4], agent: &'static str, places: bool| Caller {
        user_agent: Some(agent),
        route: Some("app"),
        places: places.then_some(&World as &dyn Locate),
        ..Caller::new(ClientAddress::known(address.into()), Some(&alice))
    };
    let home = from([20, 1, 2, 3], FIREFOX, true);
    for visit in 0..200 {
        let now = begin + SignedDuration::from_mins(visit * 11);
        let mut keys = engine.keys_of(&home);
        engine.assess(&home, &mut keys, now);
        engine.learn(&home, &keys, false, now);
    }
    let now = begin + SignedDuration::from_mins(200 * 11);
    let measure = |what: &str, caller: &Caller<'_>, learns: bool| {
        let round = || {
            let mut keys = engine.keys_of(black_box(caller));
            let assessment = engine.assess(black_box(caller), &mut keys, now);
            if learns {
                engine.learn(caller, &keys, false, now);
            }
            assessment
        };
        (0..ROUNDS / 10).for_each(|_| drop(black_box(round())));
        let began = Instant::now();
        (0..ROUNDS).for_each(|_| drop(black_box(round())));
        let nanoseconds = began.elapsed().as_nanos() / u128::from(ROUNDS);
        println!(
            "{nanoseconds:>6} ns  {what}: {} milli-nats, {} signals",
            round().assessment.mnats,
            round().assessment.signals.len()
        );
    };
    measure("familiar, assessed", &home, false);
    measure("familiar, assessed and learnt", &home, true);
    measure("a new network of a usual system", &from([20, 9, 9, 9], FIREFOX, true), false);
    measure("a new country with new software, and impossible travel", &from([90, 9, 9, 9], CHROME, true), false);
    measure("a new network without databases", &from([90, 9, 9, 9], FIREFOX, false), false);
}
