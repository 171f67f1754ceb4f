use std::net::Ipv4Addr;

use super::*;

fn list(texts: &[&str]) -> List {
    List::new(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
}

/// `count` single addresses, none beside another, from `9.0.0.0` on.
fn hosts(count: u32) -> List {
    let host = |index: u32| IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(0x0900_0000 + index * 2)));
    List::new(&(0..count).map(host).collect::<Vec<_>>())
}

fn holds(new: &List, old: Option<&List>, guards: Guards) -> Vec<Hold> {
    judge(new, old, None, &guards, &[]).iter().map(|finding| finding.hold).collect()
}

#[test]
fn too_much_at_once_is_held_at_the_bound_and_not_before() {
    let check = |before: u32, after: u32, expected: &[Hold]| {
        assert_eq!(holds(&hosts(after), Some(&hosts(before)), Guards::default()), expected, "{before} to {after}");
    };
    check(100, 100, &[]);
    check(100, 80, &[]);
    check(100, 79, &[Hold::Shrink]);
    check(100, 40, &[Hold::Shrink]);
    check(100, 150, &[]);
    check(100, 151, &[Hold::Growth]);
    check(10_000, 7_999, &[Hold::Shrink]);
    check(10_000, 8_000, &[]);
    check(1, 2, &[Hold::Growth]);
    let none = Guards { max_shrink: 0, max_grow: 0, ..Guards::default() };
    assert_eq!(holds(&hosts(100), Some(&hosts(100)), none), []);
    assert_eq!(holds(&hosts(99), Some(&hosts(100)), none), [Hold::Shrink]);
    assert_eq!(holds(&hosts(101), Some(&hosts(100)), none), [Hold::Growth]);
    let all = Guards { max_shrink: 10_000, max_grow: u32::MAX, ..Guards::default() };
    assert_eq!(holds(&hosts(1), Some(&hosts(100)), all), []);
    assert_eq!(holds(&hosts(1_000), Some(&hosts(1)), all), []);
    // The first list has nothing to be compared with, nor has one that follows an empty one.
    assert_eq!(holds(&hosts(100), None, none), []);
    assert_eq!(holds(&hosts(100), Some(&list(&[])), none), []);
}

#[test]
fn others_in_place_of_those_that_are_gone_are_held() {
    let others = |count: u32, from: u32| {
        let host = |index: u32| IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(0x0900_0000 + (from + index) * 2)));
        List::new(&(0..count).map(host).collect::<Vec<_>>())
    };
    let check = |moved: u32, expected: &[Hold]| {
        assert_eq!(holds(&others(100, moved), Some(&hosts(100)), Guards::default()), expected, "{moved} of 100");
    };
    check(20, &[]);
    check(21, &[Hold::Shrink]);
    check(51, &[Hold::Shrink, Hold::Growth]);
    check(100, &[Hold::Shrink, Hold::Growth]);
}

#[test]
fn addresses_count_and_not_how_they_are_written() {
    let quarters = list(&["9.0.0.0/26", "9.0.0.64/26", "9.0.0.192/26"]);
    assert_eq!(quarters.len(), 2);
    let whole = list(&["9.0.0.0/24"]);
    assert_eq!(holds(&whole, Some(&quarters), Guards::default()), [], "fewer prefixes, and nothing is gone");
    // As many prefixes, and most addresses are gone.
    let before = list(&["9.0.0.0/16", "8.8.8.8/32"]);
    assert_eq!(holds(&list(&["9.0.0.0/32", "8.8.8.8/32"]), Some(&before), Guards::default()), [Hold::Shrink]);
    // As many prefixes, and a great many more addresses.
    let narrow = list(&["9.0.0.0/24", "8.8.8.8/32"]);
    assert_eq!(holds(&list(&["9.0.0.0/15", "8.8.8.8/32"]), Some(&narrow), Guards::default()), [Hold::Growth]);
    assert_eq!(holds(&list(&["9.0.0.0/17", "8.8.8.8/32"]), Some(&narrow), Guards::default()), [], "not that many");
    // The first IPv6 networks of a list are no growth as long as they are few.
    let more = list(&["9.0.0.0/24", "8.8.8.8/32", "2a00::/48"]);
    assert_eq!(holds(&more, Some(&narrow), Guards::default()), []);
    let most = list(&["9.0.0.0/24", "8.8.8.8/32", "2a00::/30"]);
    assert_eq!(holds(&most, Some(&narrow), Guards::default()), [Hold::Growth]);
}

#[test]
fn what_nobody_owns_is_held() {
    let check = |texts: &[&str], expected: &[Hold]| {
        assert_eq!(holds(&list(texts), None, Guards::default()), expected, "{texts:?}");
    };
    check(&["9.0.0.0/12"], &[]);
    check(&["8.0.0.0/11"], &[Hold::OverBroad]);
    check(&["2a00::/29"], &[]);
    check(&["2a00::/28"], &[Hold::OverBroad]);
    check(&["0.0.0.0/0"], &[Hold::OverBroad, Hold::Bogon]);
    check(&["0.0.0.0/1", "128.0.0.0/1"], &[Hold::OverBroad, Hold::Bogon]);
    check(&["::/0"], &[Hold::OverBroad, Hold::Bogon]);
    // Put together from narrow ones.
    let parts: Vec<String> = (0..16).map(|index| format!("8.{}.0.0/16", index * 16)).collect();
    check(&parts.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let parts: Vec<String> = (0..256).map(|index| format!("8.{index}.0.0/16")).collect();
    check(&parts.iter().map(String::as_str).collect::<Vec<_>>(), &[Hold::OverBroad]);
    for bogon in [
        "10.1.2.3/32",
        "172.31.0.0/16",
        "192.168.1.0/24",
        "127.0.0.1/32",
        "169.254.169.254/32",
        "224.0.0.1/32",
        "255.255.255.255/32",
        "100.64.0.0/24",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "0.1.0.0/16",
        "fd00::/64",
        "fe80::/64",
        "ff02::1/128",
        "::1/128",
        "2001:db8::/48",
    ] {
        check(&[bogon, "9.9.9.9/32"], &[Hold::Bogon]);
        let private = Guards { private: true, ..Guards::default() };
        assert_eq!(holds(&list(&[bogon]), None, private), [], "{bogon}");
    }
    check(&["172.15.255.0/24"], &[]);
    check(&["172.32.0.0/24"], &[]);
    check(&["223.255.255.0/24"], &[]);
}

#[test]
fn as_many_others_are_held_however_many_stay() {
    let others: Vec<IpNet> = hosts(100).prefixes().iter().map(|host| IpNet::new(host.addr(), 32).unwrap()).collect();
    let moved = |kept: usize| {
        let away = |(index, host): (usize, &IpNet)| match host {
            IpNet::V4(net) if index >= kept => {
                IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(u32::from(net.addr()) + 0x0200_0000)))
            }
            IpNet::V4(_) | IpNet::V6(_) => *host,
        };
        List::new(&others.iter().enumerate().map(away).collect::<Vec<_>>())
    };
    let check = |kept, expected: &[Hold]| {
        assert_eq!(holds(&moved(kept), Some(&hosts(100)), Guards::default()), expected, "{kept}")
    };
    check(100, &[]);
    check(80, &[]);
    check(79, &[Hold::Shrink]);
    check(49, &[Hold::Shrink, Hold::Growth]);
    check(0, &[Hold::Shrink, Hold::Growth]);
}

#[test]
fn wide_prefixes_with_holes_are_as_wide() {
    // All of 8.0.0.0/8 but one address of each /12: no prefix is wide.
    let holes: Vec<IpNet> = (0..16u32)
        .flat_map(|part| {
            let start = 0x0800_0000 | part << 20;
            (13..=32u8).map(move |length| {
                let address = start | 1 << (32 - u32::from(length));
                IpNet::new(Ipv4Addr::from(address).into(), length).unwrap()
            })
        })
        .collect();
    assert_eq!(holds(&List::new(&holes), None, Guards::default()), [Hold::OverBroad]);
    assert_eq!(holds(&List::new(&holes), Some(&List::new(&holes)), Guards::default()), []);
    // A third of each of sixty /8.
    let thin: Vec<IpNet> = (40..100u32)
        .flat_map(|eighth| {
            (0..5u32).map(move |part| IpNet::new(Ipv4Addr::from(eighth << 24 | part << 21).into(), 12).unwrap())
        })
        .collect();
    assert_eq!(holds(&List::new(&thin), None, Guards::default()), [Hold::OverBroad]);
    assert_eq!(holds(&List::new(&thin[..200]), None, Guards::default()), []);
}

#[test]
fn what_was_accepted_once_is_not_held_again() {
    let old = list(&["8.0.0.0/8", "10.0.0.0/8", "9.9.9.9/32"]);
    assert_eq!(holds(&list(&["8.0.0.0/8", "10.0.0.0/8", "9.9.9.8/31"]), Some(&old), Guards::default()), []);
    assert_eq!(holds(&list(&["8.0.0.0/7", "10.0.0.0/8"]), Some(&old), Guards::default()), [Hold::OverBroad]);
}

#[test]
fn few_and_none() {
    let guards = Guards { min_entries: 3, ..Guards::default() };
    assert_eq!(holds(&hosts(3), None, guards), []);
    assert_eq!(holds(&hosts(2), None, guards), [Hold::TooFew]);
    assert_eq!(holds(&list(&[]), Some(&hosts(100)), guards), [Hold::Empty]);
    // The same one again is none.
    assert_eq!(holds(&list(&["9.0.0.1/32", "9.0.0.1/32", "9.0.0.1/32"]), None, guards), [Hold::TooFew]);
    // Entries are counted as they are written.
    assert_eq!(holds(&list(&["9.0.0.0/25", "9.0.0.128/25", "9.0.0.1/32"]), None, guards), []);
}

#[test]
fn what_is_denied_beside_it_is_held() {
    let denied: Vec<(Arc<str>, Arc<[IpNet]>)> = vec![("tor".into(), Arc::from(["9.0.0.9/32".parse().unwrap()]))];
    let judged = |new: &List, old: Option<&List>| judge(new, old, None, &Guards::default(), &denied);
    assert_eq!(judged(&list(&["9.0.1.0/24"]), None), []);
    let findings = judged(&list(&["9.0.0.0/24"]), None);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        findings[0].to_string(),
        "denied: 9.0.0.0/24 overlaps the network tor, which is denied where this one is allowed"
    );
    assert_eq!(judged(&list(&["9.0.0.0/24"]), Some(&list(&["9.0.0.0/24"]))), []);
}

#[test]
fn a_finding_has_its_numbers() {
    let told = |new: &List, old: Option<&List>| {
        judge(new, old, None, &Guards::default(), &[]).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        told(&hosts(40), Some(&hosts(100))),
        "shrink: 60 % of the IPv4 addresses in force are gone: 60 of 100, and max_shrink is 20 %"
    );
    assert_eq!(
        told(&hosts(301), Some(&hosts(200))),
        "growth: 50.50 % more prefixes: 101 new ones beside 200, and max_grow is 50 %"
    );
    assert_eq!(
        told(&list(&["10.0.0.1/32", "10.0.0.3/32", "10.0.0.5/32", "10.0.0.7/32", "10.0.0.9/32"]), None),
        "bogon: 10.0.0.1/32, 10.0.0.3/32, 10.0.0.5/32 and 2 more is private, reserved or for documentation"
    );
}

#[test]
fn many_small_steps_are_as_much_as_one() {
    let at = "2026-11-29T10:00:00.25Z".parse().unwrap();
    let judged = |new: &List, old: &List, base: &List| {
        let base = Some(Base { list: base, at });
        judge(new, Some(old), base, &Guards::default(), &[]).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // 49 % more than before, each time.
    assert!(judged(&hosts(149), &hosts(100), &hosts(100)).is_empty());
    assert_eq!(
        judged(&hosts(222), &hosts(149), &hosts(100)),
        ["growth: since 2026-11-29T10:00:00Z: 122 % more prefixes: 122 new ones beside 100, and max_grow is 50 %"]
    );
    assert_eq!(
        judged(&hosts(66), &hosts(81), &hosts(100)),
        [
            "shrink: since 2026-11-29T10:00:00Z: 34 % of the IPv4 addresses in force are gone: 34 of 100, and max_shrink is 20 %"
        ]
    );
    // What is too much in one step is said of that step, once.
    assert_eq!(judged(&hosts(200), &hosts(100), &hosts(90)).len(), 1);
    // There and back is nothing, and a base without an entry says nothing.
    assert!(judged(&hosts(100), &hosts(110), &hosts(100)).is_empty());
    assert!(judged(&hosts(110), &hosts(100), &List::new(&[])).is_empty());
}
