//! A familiar principal costs no allocation, neither to be scored nor to be learnt from.

use std::net::IpAddr;

use allocation_counter::measure;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{ClientAddress, CountryCode, Principal};
use portcullis_risk::state::Secret;
use portcullis_risk::{Caller, Locate, Location, Position, RiskEngine, Settings};

#[derive(Debug)]
struct Germany;

impl Locate for Germany {
    fn locate(&self, _address: IpAddr) -> Option<Location> {
        Some(Location {
            country: CountryCode::parse("DE"),
            asn: Some(64_500),
            position: Position::from_degrees(51.0, 10.0, Some(50)),
            missing: false,
        })
    }
}

#[test]
fn a_familiar_principal_allocates_nothing() {
    let engine = RiskEngine::with_secret(Settings::default(), Secret::from_bytes([7; 16]));
    let alice = Principal::user("alice").in_group("staff");
    let begin: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
    let home = Caller {
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"),
        route: Some("app"),
        places: Some(&Germany),
        ..Caller::new(ClientAddress::known([192, 0, 2, 7].into()), Some(&alice))
    };
    let visit = |minutes: i64| {
        let now = begin + SignedDuration::from_mins(minutes);
        let mut keys = engine.keys_of(&home);
        let assessment = engine.assess(&home, &mut keys, now);
        engine.learn(&home, &keys, false, now);
        assessment
    };
    (0..=120).for_each(|minutes| drop(visit(minutes)));
    // Within an hour: what an hour came to is told to the peers when it has ended, which allocates.
    let allocated = measure(|| {
        for minutes in 121..180 {
            assert!(visit(minutes).assessment.signals.is_empty());
        }
    });
    assert_eq!(allocated.count_total, 0);
}
