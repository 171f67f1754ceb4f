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
    let is_new = record.paths.note(path(n), None, limits().probing_half, now);
    record.probe(Probe { weight, path: path(n), on_few_paths: None }, is_new, 0, &limits(), now)
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

/// The bits of a record alone would take these four for one path, and a client that does not give up.
#[test]
fn four_paths_are_four_though_they_share_a_bit() {
    let (abuse, keys) = (Abuse::new(16), Keys::new(Secret::from_bytes([7; 16])));
    let subject = Subject::Address([203, 0, 113, 7].into());
    let shared = |n: u64| Probe { weight: 1.0, path: (9 << 58) | (n << 40), on_few_paths: None };
    let offences: Vec<bool> = (0..4)
        .map(|n| abuse.probe(&keys, subject, shared(n), &limits(), NOW).is_some_and(|(_, offence)| offence.is_some()))
        .collect();
    assert_eq!(offences, [false, false, false, true]);
    let again = Subject::Address([203, 0, 113, 8].into());
    assert!((0..12).all(|_| abuse.probe(&keys, again, shared(1), &limits(), NOW).is_none_or(|(_, it)| it.is_none())));
}

#[test]
fn a_repeated_path_counts_a_tenth_and_is_no_probing_by_itself() {
    let requests = |paths: u64, on_few_paths: Option<f64>| {
        let record = Record::default();
        (0..500)
            .take_while(|n| {
                let path = path(n % paths);
                let is_new = record.paths.note(path, None, limits().probing_half, NOW);
                record.probe(Probe { weight: 1.0, path, on_few_paths }, is_new, 0, &limits(), NOW).is_none()
            })
            .count()
    };
    // 3 + 10 · 0.1 is the level of 4; the tolerance is one repetition less.
    assert!((12..=13).contains(&requests(3, None)), "{}", requests(3, None));
    assert_eq!((requests(1, None), requests(2, None)), (500, 500), "a client that does not give up");
    // Where no path can be told from another, 1 + 30 · 0.1.
    assert!((29..=30).contains(&requests(1, Some(1.0))), "{}", requests(1, Some(1.0)));
    // Passwords are tried on one path: 1 + 110 · 0.1 is three times the level.
    assert!((107..=111).contains(&requests(1, Some(GUESSING_FACTOR))), "{}", requests(1, Some(GUESSING_FACTOR)));
}

#[test]
fn failed_credentials_count_fully_and_fade() {
    let check = |count: u64, gap: u64, expected: Option<u64>| {
        let record = Record::default();
        let fired = (0..count).find(|n| record.failed_credential(false, 0, &limits(), NOW + n * gap).0.is_some());
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
        let (abuse, keys) = (Abuse::new(64), Keys::new(Secret::from_bytes([7; 16])));
        let failures = accounts.iter().zip(0..);
        let mut last = None;
        for (account, n) in failures {
            let failure = FailedCredential { attempted: Some(account << 40) };
            let address = [192, 0, 2, 1].into();
            let counted = abuse.failed_credential(&keys, address, failure, &limits(), NOW + n * gap);
            last = counted.unwrap().1.or(last);
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
    let (abuse, keys, limits) = (Abuse::new(64), Keys::new(Secret::from_bytes([7; 16])), limits());
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
    let (hot, busy, healthy) = (address(1 << 20), address(2 << 20), address(3 << 20));
    for n in 0..2 {
        abuse.probe(
            &keys,
            Subject::Address(hot),
            Probe { weight: 1.0, path: path(n), on_few_paths: None },
            &limits,
            NOW,
        );
    }
    for _ in 0..100 {
        abuse.good(&keys, Subject::Address(busy), &limits, NOW);
    }
    abuse.healthy(&keys, healthy, &limits, NOW);
    for n in 0..5_000 {
        abuse.probe(
            &keys,
            Subject::Address(address(n)),
            Probe { weight: 0.5, path: path(1), on_few_paths: None },
            &limits,
            NOW,
        );
    }
    assert!(abuse.addresses.len() <= 48);
    assert_eq!(abuse.neighbourhoods.len(), 0);
    let known =
        |address| abuse.addresses.with(keys.network(Network::of_address(address)), |record| record.is_healthy(NOW));
    assert_eq!((known(hot), known(busy), known(healthy)), (Some(false), Some(false), Some(true)));
}

#[test]
fn where_all_are_hot_the_neighbourhood_is_counted() {
    let (abuse, keys, limits) = (Abuse::new(8), Keys::new(Secret::from_bytes([7; 16])), limits());
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
    let mut last = None;
    for n in 0..20 {
        for page in 0..3 {
            let probe = Probe { weight: 1.0, path: path(u64::from(n * 3 + page) % 60), on_few_paths: None };
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
    assert!(
        abuse
            .probe(&keys, Subject::Principal(99), Probe { weight: 1.0, path: 0, on_few_paths: None }, &limits, NOW)
            .is_some()
    );
}
