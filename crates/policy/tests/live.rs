//! Networks that are replaced while the policy stays: the answers are those of a policy compiled with them.

#![expect(clippy::panic, clippy::expect_used, reason = "a panic is how a test fails")]

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_policy::*;

fn draft(partner: &[&str], unknown: bool) -> PolicyDraft {
    let network = |name: &str, prefixes: &[&str], unknown| NetworkDraft {
        name: name.to_owned().into(),
        prefixes: nets(prefixes),
        unknown,
    };
    PolicyDraft {
        keep_prefixes: true,
        routes: vec![RouteDraft::new("app", ["/**"])],
        networks: vec![
            network("tor", &["203.0.113.66/32"], false),
            network("partner", partner, unknown),
            network("office", &["198.51.100.0/24"], false),
        ],
        resources: vec![ResourceDraft {
            route: "app".to_owned().into(),
            authentication: AuthenticationRule::Optional,
            allow: vec!["partner".to_owned().into(), "office".to_owned().into()],
            deny: vec!["tor".to_owned().into()],
            ..ResourceDraft::default()
        }],
        roles: vec![RoleDraft::new("reader", ["GET /**"])],
        assignments: vec![AssignmentDraft::new("everybody", "reader", ["anyone"])],
        ..PolicyDraft::default()
    }
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a prefix")).collect()
}

fn compiled(draft: &PolicyDraft) -> Policy {
    Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

fn content(name: &str, prefixes: &[&str], unknown: bool) -> NetworkContent {
    NetworkContent { name: name.into(), prefixes: nets(prefixes).into(), unknown, list: None }
}

fn answer(policy: &Policy, address: &str) -> String {
    let path = CanonicalPath::parse("/x").expect("a path");
    let address: IpAddr = address.parse().expect("an address");
    let route = policy.find_route("app.test", &path);
    let request = AccessRequest {
        client: ClientAddress::known(address),
        ..AccessRequest::new("GET", &path, route, Timestamp::UNIX_EPOCH)
    };
    match policy.decide(&request) {
        Decision::Permit(_) => "permit".to_owned(),
        Decision::Deny(denial)
        | Decision::Challenge(denial)
        | Decision::StepUp(denial)
        | Decision::Undecided(denial) => denial.reason.code().to_owned(),
    }
}

#[test]
fn a_replaced_network_decides_as_if_it_had_been_compiled_in() {
    let before = compiled(&draft(&[], true));
    let table = [
        ("never loaded", draft(&[], true), content("partner", &[], true)),
        ("loaded", draft(&["192.0.2.0/24"], false), content("partner", &["192.0.2.0/24"], false)),
        ("a certain part", draft(&["192.0.2.0/25"], true), content("partner", &["192.0.2.0/25"], true)),
        ("empty", draft(&[], false), content("partner", &[], false)),
        ("denied, too", draft(&["203.0.113.0/24"], false), content("partner", &["203.0.113.0/24"], false)),
    ];
    for (case, draft, content) in table {
        let (replaced, compiled) = (before.with_networks(&[content]).expect("they are kept"), compiled(&draft));
        for address in ["192.0.2.1", "192.0.2.200", "203.0.113.66", "203.0.113.67", "198.51.100.1", "2001:db8::1"] {
            assert_eq!(answer(&replaced, address), answer(&compiled, address), "{case}: {address}");
        }
        assert_eq!(replaced.sha256(), before.sha256());
    }
    assert_eq!(answer(&before, "192.0.2.1"), "dependency.feed_stale");
    assert_eq!(answer(&before, "198.51.100.1"), "permit", "another network lets it in");
    let loaded = before.with_networks(&[content("partner", &["192.0.2.0/24"], false)]).expect("they are kept");
    assert_eq!(answer(&loaded, "192.0.2.1"), "permit");
    assert_eq!(answer(&loaded, "192.0.3.1"), "ip.not_allowed");
    // And back, and a name that nobody knows.
    let gone = loaded.with_networks(&[content("partner", &[], true), content("nobody", &["0.0.0.0/0"], false)]);
    assert_eq!(answer(&gone.expect("they are kept"), "192.0.2.1"), "dependency.feed_stale");
}

#[test]
fn what_is_not_kept_or_too_much_is_refused() {
    let kept = draft(&[], true);
    let not_kept = compiled(&PolicyDraft { keep_prefixes: false, ..kept.clone() });
    assert_eq!(not_kept.with_networks(&[]).map(|_| ()), Err(ContentError::NotKept));
    let policy = compiled(&kept);
    let host = |index: u32| IpNet::from(IpAddr::from(index.to_be_bytes()));
    let many = |count| NetworkContent {
        name: "partner".into(),
        prefixes: (0..count).map(host).collect::<Vec<_>>().into(),
        unknown: false,
        list: None,
    };
    assert_eq!(policy.with_networks(&[many(4_000_000)]).map(|_| ()), Err(ContentError::TooMany));
    assert!(policy.with_networks(&[many(1_000)]).is_ok());
}

#[test]
fn where_an_address_is_and_what_is_denied_there() {
    let policy = compiled(&draft(&["192.0.2.0/25"], true));
    let names = |rules: Vec<&RuleRef>| rules.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>();
    let check = |address: &str, networks: &[&str], unknown: &[&str]| {
        let found = policy.whereabouts(address.parse().expect("an address"));
        assert_eq!((names(found.networks), names(found.unknown)), (owned(networks), owned(unknown)), "{address}");
    };
    check("192.0.2.1", &["partner"], &[]);
    check("::ffff:192.0.2.1", &["partner"], &[]);
    check("192.0.2.200", &[], &["partner"]);
    check("203.0.113.66", &["tor"], &["partner"]);
    assert_eq!(policy.is_in_network("partner", "192.0.2.1".parse().expect("an address")), Some(true));
    assert_eq!(policy.is_in_network("partner", "192.0.2.200".parse().expect("an address")), None);
    assert_eq!(policy.is_in_network("office", "192.0.2.200".parse().expect("an address")), Some(false));
    assert_eq!(policy.is_in_network("nobody", "192.0.2.200".parse().expect("an address")), None);
    let denied: Vec<(Arc<str>, Arc<[IpNet]>)> = vec![("tor".into(), nets(&["203.0.113.66/32"]).into())];
    assert_eq!(policy.denied_beside("partner"), denied);
    assert_eq!(policy.denied_beside("tor"), []);
    assert_eq!(policy.denied_beside("nobody"), []);
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What a policy must carry: the time that it takes is printed, for whoever asks with `--no-capture`.
#[test]
fn a_million_prefixes_are_replaced() {
    let mut draft = draft(&[], true);
    let subnet = |index: u32| IpNet::new(IpAddr::from((index << 10).to_be_bytes()), 24).expect("a prefix");
    draft.networks.push(NetworkDraft {
        name: "cloud".to_owned().into(),
        prefixes: (0..1_000_000).map(subnet).collect(),
        unknown: false,
    });
    let began = std::time::Instant::now();
    let policy = compiled(&draft);
    let compiled_in = began.elapsed();
    let new: Arc<[IpNet]> = (0..1_000_000).map(|index| subnet(index + 1)).collect();
    let began = std::time::Instant::now();
    let cloud = NetworkContent { name: "cloud".into(), prefixes: new, unknown: false, list: None };
    let replaced = policy.with_networks(&[cloud]);
    println!("compiled in {compiled_in:?}, replaced in {:?}", began.elapsed());
    let replaced = replaced.expect("they fit");
    let is_in = |policy: &Policy, address: &str| policy.is_in_network("cloud", address.parse().expect("an address"));
    assert_eq!((is_in(&policy, "0.0.0.1"), is_in(&replaced, "0.0.0.1")), (Some(true), Some(false)));
    assert_eq!((is_in(&policy, "61.9.0.1"), is_in(&replaced, "61.9.0.1")), (Some(false), Some(true)));
}

#[test]
fn a_calibration_sets_the_thresholds_that_the_policy_does_not() {
    let at = |step_up_mnats: i32| RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
    let built_in = RiskRules::default().thresholds;
    let own = [built_in[0], built_in[1], at(700)];
    let rules = RiskRules { thresholds: own, stated: [false, false, true], ..RiskRules::default() };
    let policy = compiled(&PolicyDraft { risk: rules, ..PolicyDraft::default() });
    assert_eq!((policy.risk_thresholds(), policy.calibration()), (own, None));
    let calibrated = policy.with_calibration(Some(("c1-00000000".into(), [None, Some(at(1_500)), Some(at(3_000))])));
    assert_eq!(calibrated.risk_thresholds(), [built_in[0], at(1_500), at(700)]);
    assert_eq!(calibrated.calibration().map(|id| &**id), Some("c1-00000000"));
    assert_eq!(calibrated.sha256(), policy.sha256());
    assert_eq!(
        calibrated.with_calibration(None).risk_thresholds(),
        own,
        "taken back, the policy is as its files have it"
    );
}

/// The lists and the calibration of one on the files of another.
#[test]
fn lists_and_a_calibration_are_those_of_another_policy() {
    let listed = |origin: &str, sha256: &str| Some(Listed { origin: origin.into(), sha256: Some(sha256.into()) });
    let with = |policy: &Policy, prefix: &str, list: Option<Listed>| {
        let prefixes = nets(&[prefix]).into();
        let content = NetworkContent { name: "partner".into(), prefixes, unknown: false, list };
        policy.with_networks(&[content]).expect("they are kept")
    };
    let plain = compiled(&draft(&["192.0.2.0/24"], false));
    let other_files = compiled(&PolicyDraft { sha256: "bb".into(), ..draft(&["192.0.2.0/24"], false) });
    let then = plain.clone().listing([("partner", listed("source", "one")), ("nobody", listed("source", "one"))]);
    let names: Vec<&str> = then.lists().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["partner"]);
    let now = with(&other_files, "203.0.113.128/25", listed("source", "two"));
    assert_eq!(now.lists_other_than(&then), ["partner"]);
    assert_eq!(answer(&now, "192.0.2.1"), "ip.not_allowed");
    let back = now.with_lists_of(&then).expect("they fit");
    assert_eq!((answer(&back, "192.0.2.1").as_str(), back.sha256()), ("permit", "bb"));
    assert!(back.lists_other_than(&then).is_empty());
    // Of another source, or of addresses beside it that differ, nothing is taken; nor of what has none.
    for other in [with(&plain, "192.0.2.0/24", listed("elsewhere", "one")), plain.clone()] {
        assert!(now.lists_other_than(&other).is_empty());
        assert_eq!(answer(&now.with_lists_of(&other).expect("they fit"), "192.0.2.1"), "ip.not_allowed");
    }
    // What a policy says of its own is no part of a calibration.
    let at = |step_up_mnats: i32| RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
    let built_in = RiskRules::default().thresholds;
    let rules = RiskRules { thresholds: [at(100), at(200), at(300)], stated: [true; 3], ..RiskRules::default() };
    let stating = compiled(&PolicyDraft { risk: rules, ..draft(&[], false) });
    let calibrated = stating.with_calibration(Some(("c1".into(), [None, Some(at(1_500)), Some(at(1_400))])));
    let of_it = plain.with_calibration_of(&calibrated);
    assert_eq!(of_it.risk_thresholds(), [built_in[0], at(1_500), at(1_400)]);
    assert_eq!(of_it.calibration().map(|id| &**id), Some("c1"));
    assert_eq!(of_it.with_calibration_of(&plain).calibration(), None);
}
