//! What is counted, what is left out and marked, and what is forgotten.

use proptest::prelude::*;

use super::row::decayed;
use super::*;

const DAY: i64 = 86_400;
const NOW: i64 = 20_000 * DAY;

fn alice() -> Principal {
    Principal::user("alice").in_group("staff")
}

#[test]
fn a_row_knows_when_and_on_which_days() {
    let mut usage = Usage::beginning(NOW);
    for (day, times) in [(0, 3), (1, 1), (4, 1)] {
        usage.note(Some(&alice()), ("app", "GET /a"), true, times, NOW + day * DAY);
    }
    // What comes late counts for its own day.
    usage.note(Some(&alice()), ("app", "GET /a"), true, 1, NOW + 3 * DAY);
    let (route, action, row) = usage.rows_of("user:alice").next().unwrap();
    assert_eq!((route, action), ("app", "GET /a"));
    assert_eq!((i64::from(row.first), i64::from(row.last), row.days), (NOW, NOW + 4 * DAY, 0b11011));
    assert_eq!((row.uses, row.days_used()), (6, 4));
    assert!(row.is_used_since(NOW + 4 * DAY) && !row.is_used_since(NOW + 5 * DAY));
    let late = NOW + 40 * DAY;
    usage.note(Some(&alice()), ("app", "GET /a"), true, 1, late);
    assert_eq!(usage.rows_of("user:alice").next().unwrap().2.days, 1, "days of long ago are forgotten");
}

#[test]
fn a_count_halves_in_thirty_days() {
    let check = |count, days: i64, expected| {
        assert_eq!(decayed(count, seconds(NOW), seconds(NOW + days * DAY)), expected, "{count} {days}");
    };
    check(100, 0, 100);
    check(100, 15, 75);
    check(100, 30, 50);
    check(100, 60, 25);
    check(1, 29, 1);
    check(1, 30, 0);
    check(u32::MAX, 30 * 40, 0);
}

#[test]
fn a_refusal_is_no_use() {
    let mut usage = Usage::beginning(NOW);
    usage.note(Some(&alice()), ("app", "GET /a"), false, 7, NOW);
    let row = *usage.rows_of("user:alice").next().unwrap().2;
    assert_eq!((row.first, row.last, row.uses, row.days, row.denied_at(NOW)), (0, 0, 0, 0, 7));
    assert!(!row.is_used_since(0));
    assert_eq!(row.denied_at(NOW + 30 * DAY), 3);
}

#[test]
fn what_there_is_no_room_for_is_marked() {
    let mut usage = Usage::beginning(NOW);
    for number in 0..=MOST_OF_A_PRINCIPAL {
        assert!(usage.is_sure_of("user:alice", NOW), "{number}");
        usage.note(Some(&alice()), ("app", &format!("GET /{number}")), true, 1, NOW);
    }
    assert_eq!(usage.len(), MOST_OF_A_PRINCIPAL);
    assert!(!usage.is_sure_of("user:alice", NOW) && !usage.is_sure_of("user:alice", NOW - DAY));
    assert!(usage.is_sure_of("user:bob", NOW) && usage.is_sure_of("anyone", NOW));
    // What is asked about is later.
    assert!(usage.is_sure_of("user:alice", NOW + 1));
    // Refusals alone mark nobody.
    let bob = Principal::user("bob");
    for number in 0..=MOST_OF_A_PRINCIPAL {
        usage.note(Some(&bob), ("app", &format!("GET /{number}")), false, 1, NOW);
    }
    assert!(usage.is_sure_of("user:bob", NOW));
}

#[test]
fn what_was_missed_begins_the_observation_anew() {
    let mut usage = Usage::beginning(NOW);
    usage.note_missed(0, 0, NOW + 5);
    assert_eq!((usage.since(), usage.addresses_since()), (Some(NOW), Some(NOW)));
    usage.note_missed(0, 1, NOW + 6);
    usage.note_missed(2, 0, NOW + 7);
    assert_eq!((usage.since(), usage.addresses_since()), (Some(NOW + 7), Some(NOW + 6)));
}

#[test]
fn addresses_are_exact_and_beyond_the_bound_wide() {
    let mut usage = Usage::beginning(NOW);
    let of = |bits: u32| IpAddr::V4(bits.into());
    for bits in 0..=u32::try_from(MOST_ADDRESSES).unwrap() {
        usage.note_address(of(bits), 1, NOW);
    }
    let last = u32::try_from(MOST_ADDRESSES).unwrap();
    let has = |net: &str| usage.addresses().any(|(each, _)| each.to_string() == net);
    assert!(has("0.0.0.7/32") && has(&format!("{}/24", of(last))));
    let mut usage = Usage::beginning(NOW);
    usage.note_address("2001:db8::1".parse().unwrap(), 1, NOW);
    assert_eq!(usage.addresses().next().unwrap().0.to_string(), "2001:db8::/64");
}

proptest! {
    #[test]
    fn what_is_kept_comes_back(
        uses in prop::collection::vec((0..4_u8, 0..5_u8, any::<bool>(), 0..100_i64), 0..60),
        most in 1..8_usize,
    ) {
        let mut usage = Usage::beginning(NOW);
        let who = |number: u8| match number {
            0 => None,
            number => Some(Principal::user(&format!("u{number}")).in_group(&format!("g{number}")).with_role("r")),
        };
        for (number, action, permitted, day) in uses {
            usage.note(who(number).as_ref(), ("app", &format!("GET /{action}")), permitted, 1, NOW + day * DAY);
            usage.note_rule(RuleKind::Assignment, &format!("a{action}"), 1, NOW + day * DAY);
            usage.note_address(IpAddr::from([192, 0, 2, number]), 1, NOW);
        }
        let mut kept = Kept::default();
        while usage.has_changes() {
            let part = usage.take_changes(most);
            // A write that fails is tried again, and nothing is lost by it.
            usage.give_back(&part);
            let part = usage.take_changes(most);
            let before = kept.principals.len();
            (kept.since, kept.addresses_since) = (part.since, part.addresses_since);
            kept.observed.extend(part.observed);
            kept.principals.extend(part.principals);
            kept.rows.extend(part.rows.into_iter().map(|(place, action, row)| (place + before, action, row)));
            kept.addresses.extend(part.addresses);
            kept.rules.extend(part.rules);
        }
        // Of one that was written twice the last counts, as in a table.
        let mut principals: Vec<SeenPrincipal> = Vec::new();
        let mut places = Vec::new();
        for seen in kept.principals {
            let found = principals.iter().position(|each| each.reference() == seen.reference());
            places.push(found.unwrap_or(principals.len()));
            match found.and_then(|found| principals.get_mut(found)) {
                Some(each) => *each = seen,
                None => principals.push(seen),
            }
        }
        let rows = kept.rows.into_iter().map(|(place, action, row)| (places[place], action, row)).collect();
        let restored = Usage::restored(Kept { principals, rows, ..kept });
        let all = |usage: &Usage| {
            let mut rows: Vec<String> = usage.rows().map(|row| format!("{row:?}")).collect();
            rows.sort();
            let mut addresses: Vec<String> = usage.addresses().map(|each| format!("{each:?}")).collect();
            addresses.sort();
            (rows, addresses, usage.since(), usage.rules.len(), usage.observed().clone())
        };
        prop_assert_eq!(all(&restored), all(&usage));
        prop_assert!(!restored.has_changes());
    }
}

#[test]
fn what_is_long_unused_is_forgotten_and_the_rest_is_as_it_was() {
    let mut usage = Usage::beginning(NOW);
    let [bob, carol] = ["bob", "carol"].map(Principal::user);
    for (who, action, permitted, day) in [
        (&bob, "GET /old", true, 0),
        (&alice(), "GET /old", true, 1),
        (&alice(), "GET /a", true, 100),
        (&carol, "GET /b", false, 100),
        (&bob, "GET /older", false, 1),
    ] {
        usage.note(Some(who), ("app", action), permitted, 1, NOW + day * DAY);
        usage.note_rule(RuleKind::Assignment, action, 1, NOW + day * DAY);
        usage.note_address(IpAddr::from([192, 0, 2, u8::try_from(day).unwrap()]), 1, NOW + day * DAY);
    }
    usage.prune(NOW + 50 * DAY);
    let rows = |usage: &Usage| -> Vec<String> {
        let mut rows: Vec<_> = usage.rows().map(|(seen, _, action, _)| format!("{} {action}", seen.id)).collect();
        rows.sort();
        rows
    };
    assert_eq!(rows(&usage), ["alice GET /a", "carol GET /b"]);
    assert!(usage.find("user:bob").is_none() && usage.find("user:alice").is_some());
    assert_eq!((usage.addresses().count(), usage.rules.len()), (1, 2));
    // Who stays is found under its name, what comes is counted to whom it belongs, and what is to be written is what is there.
    usage.note(Some(&bob), ("app", "GET /a"), true, 2, NOW + 101 * DAY);
    usage.note(Some(&alice()), ("app", "GET /a"), true, 3, NOW + 101 * DAY);
    assert_eq!(usage.rows_of("user:alice").next().unwrap().2.uses, 4);
    assert_eq!(usage.rows_of("user:bob").next().unwrap().2.uses, 2);
    let kept = usage.take_changes(100);
    assert_eq!((kept.principals.len(), kept.rows.len(), kept.addresses.len(), kept.rules.len()), (3, 3, 1, 2));
    assert_eq!(rows(&Usage::restored(kept)), rows(&usage));
    usage.prune(i64::MAX);
    assert!(usage.is_empty() && usage.principals().is_empty() && !usage.has_changes());
}

/// Once there was no room, nobody who was never seen was ever called dormant again, restarts included.
#[test]
fn what_there_was_no_room_for_is_forgotten_once_it_is_older_than_what_is_asked_about() {
    let mut usage = Usage::beginning(NOW);
    let many = |usage: &mut Usage, permitted: bool, from: usize, count: usize, at: i64| {
        for number in from..from + count {
            usage.note(Some(&Principal::user(&number.to_string())), ("app", "GET /a"), permitted, 1, at);
        }
    };
    // Refusals leave room for uses, and say nothing of what is missing.
    many(&mut usage, false, 0, MOST_PRINCIPALS, NOW);
    assert_eq!(usage.principals().len(), MOST_PRINCIPALS / 4 * 3);
    assert!(usage.is_nearly_full() && !usage.is_crowded_since(NOW) && usage.is_sure_of("user:nobody", NOW));
    many(&mut usage, true, MOST_PRINCIPALS, MOST_PRINCIPALS / 4, NOW + DAY);
    assert!(!usage.is_crowded_since(NOW));
    many(&mut usage, true, 2 * MOST_PRINCIPALS, 1, NOW + 2 * DAY);
    assert!(usage.is_crowded_since(NOW + 2 * DAY) && !usage.is_sure_of("user:nobody", NOW + DAY));
    usage.prune(NOW + DAY);
    many(&mut usage, true, 2 * MOST_PRINCIPALS, 1, NOW + 3 * DAY);
    assert_eq!(usage.principals().len(), MOST_PRINCIPALS / 4 + 1, "there is room again");
    // What is asked about begins before and after there was none; it is so after a restart, too.
    let mut kept = usage.take_changes(10);
    kept.since = Some(NOW);
    for usage in [usage, Usage::restored(kept)] {
        assert!(!usage.is_sure_of("user:nobody", NOW + 2 * DAY) && usage.is_sure_of("user:nobody", NOW + 2 * DAY + 1));
    }
}

/// A process counts so long, beat by beat.
fn runs(usage: &mut Usage, from: i64, until: i64) {
    (from..=until).step_by(30).for_each(|second| usage.beat(second));
}

/// A store that comes from a backup goes on where that was made: what was used between it and the loss is not there, and was not observed.
#[test]
fn what_a_backup_does_not_have_was_not_observed() {
    let mut usage = Usage::beginning(NOW);
    usage.note(Some(&alice()), ("app", "GET /a"), true, 1, NOW);
    runs(&mut usage, NOW, NOW + 2 * DAY);
    let backup = usage.take_changes(100);
    usage.note(Some(&alice()), ("app", "PUT /a"), true, 1, NOW + 3 * DAY);
    runs(&mut usage, NOW + 2 * DAY, NOW + 3 * DAY);
    let mut restored = Usage::restored(backup);
    restored.note(Some(&alice()), ("app", "GET /a"), true, 1, NOW + 4 * DAY);
    runs(&mut restored, NOW + 4 * DAY, NOW + 5 * DAY);
    let spans: Vec<(i64, i64)> = restored.observed().spans().collect();
    assert_eq!(spans, [(NOW, NOW + 2 * DAY), (NOW + 4 * DAY, NOW + 5 * DAY)]);
    assert_eq!(restored.observed().edge(NOW, NOW + 5 * DAY, 3 * DAY), Some(NOW), "3 days that were observed");
    assert_eq!(restored.observed().edge(NOW, NOW + 5 * DAY, 3 * DAY + 1), None);
}

/// A gateway that nobody asks observes nothing, restarts or not; a long weekend is none of that.
#[test]
fn a_standby_observes_nothing() {
    let mut usage = Usage::beginning(NOW);
    runs(&mut usage, NOW, NOW + 60 * DAY);
    assert_eq!(usage.observed().seconds(NOW, NOW + 60 * DAY), 4 * DAY);
    let mut usage = Usage::restored(usage.take_changes(10));
    runs(&mut usage, NOW + 60 * DAY, NOW + 70 * DAY);
    assert_eq!(usage.observed().seconds(NOW, NOW + 70 * DAY), 4 * DAY);
    // Somebody comes.
    usage.note(Some(&alice()), ("app", "GET /a"), false, 1, NOW + 70 * DAY);
    runs(&mut usage, NOW + 70 * DAY, NOW + 73 * DAY);
    assert_eq!(usage.observed().seconds(NOW, NOW + 73 * DAY), 7 * DAY);
}

/// Beats alone are written once a minute, whatever else is written carries them, and the last ones are written at the end.
#[test]
fn beats_are_written_now_and_then() {
    let mut usage = Usage::beginning(NOW);
    let first = usage.take_changes(10);
    assert_eq!(first.observed, [(NOW, NOW)]);
    (1..60).for_each(|second| usage.beat(NOW + second));
    assert!(!usage.has_changes());
    usage.beat(NOW + 60);
    assert!(usage.has_changes());
    let part = usage.take_changes(10);
    assert_eq!(part.observed, [(NOW, NOW + 60)]);
    usage.give_back(&part);
    assert_eq!(usage.take_changes(10).observed, [(NOW, NOW + 60)]);
    usage.beat(NOW + 70);
    assert!(!usage.has_changes());
    usage.end_beats();
    assert_eq!(usage.take_changes(10).observed, [(NOW, NOW + 70)]);
}

/// An earlier version wrote no spans: the days on which something was counted were observed.
#[test]
fn what_an_earlier_version_kept_was_observed_on_the_days_on_which_it_counted() {
    let mut usage = Usage::beginning(NOW);
    for day in [0, 1, 2, 50, 51] {
        usage.note(Some(&alice()), ("app", "GET /a"), true, 1, NOW + day * DAY + 7);
    }
    let kept = Kept { observed: Vec::new(), ..usage.take_changes(10) };
    let mut restored = Usage::restored(kept);
    let spans: Vec<(i64, i64)> = restored.observed().spans().collect();
    let midnight = |day: i64| (NOW + day * DAY).div_euclid(DAY) * DAY;
    // The first use, and the last ones with the days before them that are kept.
    assert_eq!(spans, [(NOW, midnight(1)), (midnight(50), NOW + 51 * DAY + 7)]);
    assert!(restored.has_changes() && restored.take_changes(10).observed == spans);
}
