//! When an actor's requests become an offence, and who makes room.

use super::*;
use crate::state::Secret;

const NOW: u64 = 28_000_000_000;
const MINUTE: u64 = 60 * 16;

fn limits() -> Limits {
    Limits::of(&BanSettings::default())
}

/// A path whose hash sets bit `n` and is told apart from all others.
fn path(n: u64) -> u64 {
    (n << 58) | (n + 1)
}

fn probe(record: &Record, n: u64, weight: f64, now: u64) -> Option<Offence> {
    record.probe(Probe { weight, path: path(n) }, &limits(), now)
}

#[test]
fn four_refusals_over_four_paths_are_an_offence() {
    let check = |good: usize, paths: u64, weight: f64, gap: u64, expected: bool| {
        let record = Record::default();
        for _ in 0..good {
            record.share.count(false, NOW);
        }
        let offences: Vec<Offence> = (0..paths).filter_map(|n| probe(&record, n, weight, NOW + n * gap)).collect();
        assert_eq!(!offences.is_empty(), expected, "{good} good, {paths} paths of {weight} every {gap}");
    };
    check(0, 3, 1.0, 0, false);
    check(0, 4, 1.0, 0, true);
    check(0, 6, 0.6, 0, false);
    check(0, 7, 0.6, 0, true);
    // One every ten minutes leaves 1 + 1/4 + 1/16 and so on.
    check(0, 50, 1.0, 10 * MINUTE, false);
    // Good requests protect, until it is flagrant: 12 paths and three times the level.
    check(267, 4, 1.0, 0, false);
    check(267, 11, 1.0, 0, false);
    check(267, 12, 1.0, 0, true);
    // 4 of 7 are surely at least a quarter, 4 of 8 are not (24.9 %).
    check(3, 4, 1.0, 0, true);
    check(4, 4, 1.0, 0, false);
}

#[test]
fn a_repeated_path_counts_a_tenth() {
    let record = Record::default();
    let refused = (0..200).take_while(|_| probe(&record, 1, 1.0, NOW).is_none()).count();
    // 1 + 30 · 0.1 is the level of 4; the tolerance is one repetition less.
    assert!((29..=30).contains(&refused), "{refused}");
}

#[test]
fn failed_credentials_count_fully_and_fade() {
    let check = |count: u64, gap: u64, expected: Option<u64>| {
        let record = Record::default();
        let failure = FailedCredential { attempted: None };
        let fired = (0..count).find(|n| record.failed_credential(failure, &limits(), NOW + n * gap).0.is_some());
        assert_eq!(fired, expected, "{count} every {gap}");
    };
    check(4, 0, None);
    check(5, 0, Some(4));
    check(5, 16, Some(4));
    check(20, 5 * 16, Some(5));
    // One every minute levels out at 3.4.
    check(200, MINUTE, None);
}

#[test]
fn five_principals_from_one_address_are_spraying() {
    let fire = |accounts: &[u64], gap: u64| {
        let record = Record::default();
        let failures = accounts.iter().zip(0..);
        let mut last = None;
        for (account, n) in failures {
            let failure = FailedCredential { attempted: Some(account << 40) };
            last = record.failed_credential(failure, &limits(), NOW + n * gap).0.or(last);
        }
        last
    };
    assert_eq!(fire(&[1, 2, 3, 4], MINUTE), None);
    assert_eq!(fire(&[1, 2, 3, 4, 1, 2], MINUTE), None);
    assert_eq!(fire(&[1, 2, 3, 4, 5], MINUTE).as_deref(), Some("spraying: 5 principals tried in the last 10m"));
    assert_eq!(fire(&[1, 2, 3, 4, 5], 3 * MINUTE), None, "the window has passed");
}

#[test]
fn a_flood_of_addresses_evicts_neither_hot_nor_busy_nor_healthy_ones() {
    let (abuse, keys, limits) = (Abuse::new(64), Keys::new(Secret::random()), limits());
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
    let (hot, busy, healthy) = (address(1 << 20), address(2 << 20), address(3 << 20));
    for n in 0..2 {
        abuse.probe(&keys, Subject::Address(hot), Probe { weight: 1.0, path: path(n) }, &limits, NOW);
    }
    for _ in 0..100 {
        abuse.good(&keys, Subject::Address(busy), &limits, NOW);
    }
    abuse.healthy(&keys, healthy, &limits, NOW);
    for n in 0..5_000 {
        abuse.probe(&keys, Subject::Address(address(n)), Probe { weight: 0.5, path: path(1) }, &limits, NOW);
    }
    assert!(abuse.addresses.len() <= 48);
    assert_eq!(abuse.neighbourhoods.len(), 0);
    let known =
        |address| abuse.addresses.with(keys.network(Network::of_address(address)), |record| record.is_healthy(NOW));
    assert_eq!((known(hot), known(busy), known(healthy)), (Some(false), Some(false), Some(true)));
}

#[test]
fn where_all_are_hot_the_neighbourhood_is_counted() {
    let (abuse, keys, limits) = (Abuse::new(8), Keys::new(Secret::random()), limits());
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
    let mut last = None;
    for n in 0..20 {
        for page in 0..2 {
            let probe = Probe { weight: 1.0, path: path(u64::from(n * 2 + page)) };
            last = abuse.probe(&keys, Subject::Address(address(n)), probe, &limits, NOW);
        }
    }
    let (counted, offence) = last.unwrap();
    assert!(
        matches!(counted, Counted::Neighbourhood { network, .. } if network.to_ipnet().to_string() == "10.0.0.0/24")
    );
    assert!(offence.is_some());
    assert_eq!(abuse.addresses.len(), 6);
    // A principal's table is its own: it still has room.
    assert!(abuse.probe(&keys, Subject::Principal(99), Probe { weight: 1.0, path: 0 }, &limits, NOW).is_some());
}
