//! The seven incidents, each by the engine that decides live: the right cause is named, and a change that came at the same moment and did
//! nothing is not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::ReasonCode;
use portcullis_policy::{
    ClientAddress, CredentialProblemKind, KeptIdentity, KeptRequest, KeptRisk, KeptText, Policy, PolicyDraft,
    Principal, RiskThresholds,
};

use super::*;

use crate::sample::{Answered, Sample, SampleLimits, Seen};
use crate::tests::{compiled, draft};

mod beside;
mod beyond;
mod lookout;
mod mixed;
mod together;

/// Looks, and explains what is due at once.
fn look(lookout: &mut Lookout, now: Moment, counted: BucketCounts, sample: &Sample) -> Option<Found> {
    let due = lookout.look(now, counted)?;
    let explained = due.explain(&sample.look_back(), &Ways::default());
    lookout.told(due, Some(explained))
}

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    start().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// Who asks from where for what with which software.
struct Who<'a> {
    user: Option<&'a str>,
    client: String,
    path: &'a str,
    software: &'a str,
}

fn request(who: &Who<'_>, time: Timestamp) -> KeptRequest {
    let text = KeptText { method: "GET", host: "app.test", path: who.path, software: who.software };
    let identity = match who.user {
        Some(user) => KeptIdentity::Verified(Arc::new(Principal::user(user).in_group("staff"))),
        None => KeptIdentity::NotLookedAt,
    };
    let client = ClientAddress::known(who.client.parse().unwrap());
    KeptRequest { identity, client, ..KeptRequest::new(text, time).unwrap() }
}

/// A gateway's sample: forty people of the office and at home, and now and then a refusal of somebody's.
struct Scene {
    policy: Arc<Policy>,
    sample: Sample,
    changes: Vec<RecentChange>,
    deeds: Vec<Deed>,
}

const PEOPLE: usize = 40;

impl Scene {
    fn new() -> Self {
        let policy = Arc::new(compiled(&draft()));
        let limits = SampleLimits { recent: 4_000, most: 8_000, refusals: 8_192 };
        let mut scene = Self { policy, sample: Sample::new(limits), changes: Vec::new(), deeds: Vec::new() };
        for second in -600..0 {
            let person = usize::try_from(second + 600).unwrap() % PEOPLE;
            let user = format!("person-{person}");
            let client = if person.is_multiple_of(4) {
                format!("198.51.100.{}", 10 + person)
            } else {
                format!("203.0.113.{}", 10 + person)
            };
            let who = Who { user: Some(&user), client, path: "/reports/7", software: "reporter/1.2" };
            scene.add(request(&who, at(i64::from(second))), Answered::Permitted(200));
            if second % 30 == 0 {
                let lost = Who { path: "/files/x", ..who };
                scene.add(request(&lost, at(i64::from(second))), Answered::Refused(ReasonCode::RbacNoMatchingGrant));
            }
        }
        scene
    }

    fn add(&mut self, request: KeptRequest, answered: Answered) {
        self.sample.add(Seen { request, answered }, &self.policy);
    }

    /// Another policy comes into force a little before the incident.
    fn change(&mut self, kind: ChangeKind, edit: impl FnOnce(&mut PolicyDraft)) {
        let mut draft = draft();
        edit(&mut draft);
        let after = Arc::new(compiled(&draft));
        self.changes.push(RecentChange {
            at: at(-5),
            kind,
            before: Arc::clone(&self.policy),
            together: None,
            after: Arc::clone(&after),
            about: String::new(),
        });
        self.policy = after;
    }

    /// Thirty seconds of refusals, each person's several.
    fn locked_out(&mut self, answered: Answered, of: impl Fn(usize, Timestamp) -> KeptRequest) {
        for number in 0..300_usize {
            let time = at(i64::try_from(number / 10).unwrap());
            self.add(of(number, time), answered);
        }
    }

    fn ways(&self) -> Ways {
        let (deeds, in_force) = (self.deeds.clone(), Some(Arc::clone(&self.policy)));
        Ways { calibration_before: Some(None), deeds, in_force, ..Ways::default() }
    }

    fn explain(&self, observed: u64) -> Explained {
        let window = Window { onset: at(0), until: at(30), observed, expected: 1 };
        let explained = explain(
            &window,
            (&self.sample.look_back(), &Remembered::default()),
            (&self.changes, &self.ways()),
            &SpikeSettings::default(),
        );
        println!("{}", explained.in_words().join("\n"));
        let said: u64 = explained.causes.iter().map(|cause| cause.requests).sum();
        assert_eq!(said + explained.unexplained, observed - 1, "the shares come to the whole");
        explained
    }

    #[track_caller]
    fn check(&self, observed: u64, kind: CauseKind, least_percent: u64) -> Explained {
        let explained = self.explain(observed);
        let first = explained.causes.first().unwrap_or_else(|| panic!("nothing is blamed"));
        assert_eq!(first.kind, kind, "{explained:#?}");
        assert!(first.share_percent >= least_percent, "{explained:#?}");
        explained
    }
}

fn person(number: usize) -> (String, String) {
    let person = number % PEOPLE;
    (format!("person-{person}"), format!("203.0.113.{}", 10 + person))
}

fn office(number: usize, time: Timestamp) -> KeptRequest {
    let (_, client) = person(number);
    request(&Who { user: None, client, path: "/reports/7", software: "reporter/1.2" }, time)
}

fn known(number: usize, time: Timestamp) -> KeptRequest {
    let (user, client) = person(number);
    request(&Who { user: Some(&user), client, path: "/reports/7", software: "reporter/1.2" }, time)
}

fn stranger(number: usize, time: Timestamp) -> KeptRequest {
    let client = format!("192.0.2.{}", number % 200);
    let path = format!("/login/{number}");
    let request = request(&Who { user: None, client, path: &path, software: "python-requests/2.1" }, time);
    KeptRequest { identity: KeptIdentity::Rejected(CredentialProblemKind::Invalid), ..request }
}

/// The same with thresholds that were worked out.
fn calibrated(policy: &Policy, step_up_mnats: i32) -> Arc<Policy> {
    let thresholds = RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
    Arc::new(policy.with_calibration(Some(("c1-00000000".into(), [Some(thresholds); 3]))))
}

fn without_the_office(draft: &mut PolicyDraft) {
    draft.networks[0].prefixes.clear();
}

/// A change that has nothing to do with any of it.
fn unrelated(draft: &mut PolicyDraft) {
    draft.roles[1].permissions[0].actions.push("GET /elsewhere/**".to_owned().into());
}

#[test]
fn a_removed_network_is_the_policys_doing() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, without_the_office);
    scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let cause = &explained.causes[0];
    assert!(cause.summary.contains("by network/office-berlin"), "{}", cause.summary);
    assert!(cause.fix.as_ref().is_some_and(|fix| fix.preview.contains("would permit")), "{cause:?}");
}

#[test]
fn a_revoked_role_is_the_policys_doing() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, |draft| {
        draft.assignments.remove(0);
    });
    scene.locked_out(Answered::Refused(ReasonCode::RbacNoMatchingGrant), known);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    assert!(explained.causes[0].summary.contains("assignment/staff-reports"), "{explained:#?}");
}

#[test]
fn credential_stuffing_is_an_attack_and_no_change_is_blamed_that_came_with_it() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnInvalid), stranger);
    let explained = scene.check(300, CauseKind::Attack, 95);
    assert_eq!(explained.causes.len(), 1, "{explained:#?}");
    assert_eq!(explained.ruled_out.len(), 1, "{explained:#?}");
    let fix = explained.causes[0].fix.as_ref().unwrap();
    assert!(fix.command.starts_with("portcullis ban add --range 192.0.2.0/24"), "{fix:?}");
}

#[test]
fn keys_that_changed_are_the_providers_doing() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnUnknownKey), |number, time| KeptRequest {
        identity: KeptIdentity::Rejected(CredentialProblemKind::UnknownKey),
        ..office(number, time)
    });
    scene.check(300, CauseKind::Keys, 95);
}

/// Callers are turned away for what the gateway cannot do at the moment: nobody is to be banned for that, known or not.
#[test]
fn an_outage_of_what_the_gateway_leans_on_is_no_attack() {
    for reason in [
        ReasonCode::DependencyKeysUnavailable,
        ReasonCode::DependencyStoreUnavailable,
        ReasonCode::DependencyDirectoryUnavailable,
        ReasonCode::DependencyFeedStale,
    ] {
        for of in [office, stranger] {
            let mut scene = Scene::new();
            scene.locked_out(Answered::Refused(reason), of);
            let explained = scene.explain(300);
            let blamed: Vec<_> = explained.causes.iter().map(|cause| cause.kind).collect();
            assert!(!blamed.contains(&CauseKind::Attack), "{reason:?}: {explained:#?}");
            let proposed = explained.causes.iter().filter_map(|cause| cause.fix.as_ref());
            assert_eq!(proposed.filter(|fix| fix.command.contains(" ban ")).count(), 0, "{reason:?}");
        }
    }
}

#[test]
fn an_upstream_that_answers_403_is_the_upstreams_doing() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.locked_out(Answered::Permitted(403), known);
    let explained = scene.check(300, CauseKind::Upstream, 95);
    assert!(explained.causes[0].summary.contains("403 by the upstream itself"), "{explained:#?}");
}

#[test]
fn a_client_that_sends_what_is_malformed_is_its_release() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.locked_out(Answered::Refused(ReasonCode::RequestMalformed), |number, time| {
        let (_, client) = person(number);
        request(&Who { user: None, client, path: "/reports/7", software: "reporter/2.0" }, time)
    });
    let explained = scene.check(300, CauseKind::ClientRelease, 95);
    assert!(explained.causes[0].summary.starts_with("reporter/2.0 is new here"), "{explained:#?}");
}

/// The first callers of a release come before the many, and some software says its name last or not at all.
#[test]
fn a_release_is_known_by_its_first_callers_and_by_what_cannot_be_read() {
    for (software, starts, words) in [
        ("reporter/2.0", -200, "reporter/2.0 is new here"),
        ("", 0, "what a software sends that is not named cannot be read (request.malformed)"),
    ] {
        let mut scene = Scene::new();
        let bad = |number: usize, time: Timestamp| {
            let (_, client) = person(number);
            request(&Who { user: None, client, path: "/reports/7", software }, time)
        };
        for second in (starts..0).step_by(40) {
            scene.add(bad(1, at(second)), Answered::Refused(ReasonCode::RequestMalformed));
        }
        scene.locked_out(Answered::Refused(ReasonCode::RequestMalformed), bad);
        let explained = scene.check(300, CauseKind::ClientRelease, 95);
        assert!(explained.causes[0].summary.starts_with(words), "{explained:#?}");
    }
    // What was refused each minute for long is no release, though of each kind the newest alone is kept.
    let mut scene = Scene::new();
    let probe = |number: usize, time: Timestamp| {
        let (_, client) = person(number);
        request(&Who { user: None, client, path: "/reports/7", software: "probe/6" }, time)
    };
    for second in (-590..0).step_by(60) {
        scene.add(probe(1, at(second)), Answered::Refused(ReasonCode::AuthnMissing));
    }
    scene.locked_out(Answered::Refused(ReasonCode::AuthnMissing), probe);
    assert!(scene.explain(300).causes.is_empty());
    // Behind a proxy nobody knows whose head it was that could not be read.
    for (software, release) in [("reporter/2.0", true), ("reporter/1.2", false), ("", false)] {
        let mut scene = Scene::new();
        scene.locked_out(Answered::Refused(ReasonCode::RequestMalformed), |number, time| {
            let (_, client) = person(number);
            let request = request(&Who { user: None, client, path: "/x", software }, time);
            KeptRequest { client: ClientAddress::Unknown, ..request }
        });
        let kinds: Vec<CauseKind> = scene.explain(300).causes.iter().map(|cause| cause.kind).collect();
        assert_eq!(kinds, if release { vec![CauseKind::ClientRelease] } else { Vec::new() }, "{software}");
    }
    // What is too large, or for another host, was read.
    let mut scene = Scene::new();
    scene.locked_out(Answered::Refused(ReasonCode::RequestTooLarge), |number, time| {
        let (_, client) = person(number);
        request(&Who { user: None, client, path: "/x", software: "" }, time)
    });
    assert!(scene.explain(300).causes.is_empty());
    // Without a name strangers are strangers, and who is slow sends nothing that cannot be read.
    let mut scene = Scene::new();
    scene.locked_out(Answered::Refused(ReasonCode::RequestMalformed), |number, time| {
        let client = format!("192.0.2.{}", number % 200);
        request(&Who { user: None, client, path: "/x", software: "" }, time)
    });
    scene.check(300, CauseKind::Attack, 95);
    let mut scene = Scene::new();
    scene.locked_out(Answered::Refused(ReasonCode::RequestTimeout), |number, time| {
        let (_, client) = person(number);
        request(&Who { user: None, client, path: "/x", software: "" }, time)
    });
    assert!(scene.explain(300).causes.is_empty());
}

#[test]
fn a_poisoned_list_is_the_feeds_doing() {
    let mut scene = Scene::new();
    // The list of bad networks has the office in it now.
    scene.change(ChangeKind::Feed, |draft| {
        let mut bad = draft.networks[0].clone();
        bad.name = "bad-networks".to_owned().into();
        draft.networks.push(bad);
        draft.resources[0].deny = vec!["bad-networks".to_owned().into()];
    });
    scene.locked_out(Answered::Refused(ReasonCode::IpDenied), office);
    let explained = scene.check(300, CauseKind::FeedChange, 95);
    assert!(explained.causes[0].summary.contains("network/bad-networks"), "{explained:#?}");
}

#[test]
fn several_causes_share_a_spike() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, without_the_office);
    scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), |number, time| {
        if number.is_multiple_of(3) { stranger(number, time) } else { office(number, time) }
    });
    let explained = scene.check(300, CauseKind::ConfigChange, 60);
    let kinds: Vec<CauseKind> = explained.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [CauseKind::ConfigChange, CauseKind::Attack]);
}

#[test]
fn one_who_tries_everything_is_named() {
    let mut scene = Scene::new();
    scene.locked_out(Answered::Refused(ReasonCode::RbacNoMatchingGrant), |number, time| {
        let path = format!("/files/{number}");
        let client = "203.0.113.11".to_owned();
        request(&Who { user: Some("person-1"), client, path: &path, software: "reporter/1.2" }, time)
    });
    let explained = scene.check(300, CauseKind::OnePrincipal, 95);
    assert!(explained.causes[0].summary.starts_with("user:person-1 alone"), "{explained:#?}");
}

#[test]
fn what_nothing_explains_is_said_to_be_unexplained() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.locked_out(Answered::Refused(ReasonCode::RbacNoMatchingGrant), |number, time| {
        let (user, client) = person(number);
        request(&Who { user: Some(&user), client, path: "/files/x", software: "reporter/1.2" }, time)
    });
    let explained = scene.explain(300);
    assert!(explained.causes.is_empty(), "{explained:#?}");
    assert_eq!((explained.unexplained, explained.ruled_out.len()), (299, 1));
}

#[test]
fn a_change_of_long_ago_is_no_suspect() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, without_the_office);
    scene.changes[0].at = at(-16 * 60);
    scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
    let explained = scene.explain(300);
    assert!(explained.causes.is_empty() && explained.ruled_out.is_empty(), "{explained:#?}");
}

#[test]
fn each_incident_is_noticed_and_explained_within_two_minutes() {
    let mut charts = Charts::new(&SpikeSettings::default());
    let usual = BucketCounts { requests: 500, refused: 3 };
    (0..60).for_each(|_| {
        charts.add(usual);
    });
    let noticed = (0..12).find(|_| {
        let standing = charts.add(BucketCounts { requests: 500, refused: 25 });
        matches!(standing, Standing::Spike { .. })
    });
    // A bucket is ten seconds, and one more is waited for before it is explained.
    assert!(noticed.is_some_and(|bucket| (bucket + 2) * 10 <= 120), "{noticed:?}");
}

/// The way back from a calibration is the command that puts the one before in force, whichever that was.
#[test]
fn a_calibration_that_asks_for_more_is_the_cause_and_its_way_back_is_a_command() {
    let mut enforcing = draft();
    enforcing.risk.enforce = true;
    let plain = Arc::new(compiled(&enforcing));
    let first = Arc::new(plain.with_calibration(Some(("c1-00000000".into(), [None; 3]))));
    let second = calibrated(&plain, 1_000);
    for (before, command) in
        [(plain, "portcullis risk calibration rollback"), (first, "portcullis risk calibration activate c1-00000000")]
    {
        let mut scene = Scene::new();
        let (kind, after, about) = (ChangeKind::Calibration, Arc::clone(&second), String::new());
        scene.changes.push(RecentChange { at: at(-5), kind, before, together: None, after, about });
        scene.locked_out(Answered::Refused(ReasonCode::StepUpRequired), |number, time| KeptRequest {
            risk: Some(KeptRisk { mnats: 1_200, evidence: true, stated: None }),
            ..known(number, time)
        });
        let explained = scene.check(300, CauseKind::CalibrationChange, 95);
        let cause = &explained.causes[0];
        assert!(cause.summary.starts_with("calibration c1-00000000 of the risk in place of "), "{cause:#?}");
        let fix = cause.fix.as_ref().unwrap();
        assert_eq!((fix.command.as_str(), fix.restores), (command, 300), "{fix:?}");
    }
}

/// What is kept of a spike is what was said of it.
#[test]
fn what_was_said_of_a_spike_is_read_again() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, without_the_office);
    scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let text = serde_json::to_string(&explained).unwrap();
    let again: Explained = serde_json::from_str(&text).unwrap();
    assert_eq!((again.in_words(), serde_json::to_string(&again).unwrap()), (explained.in_words(), text));
}

/// After a start nobody has been let in yet, and those who were before are no strangers.
#[test]
fn who_was_let_in_before_a_start_is_remembered() {
    let settings = SpikeSettings::default();
    let before = Scene::new();
    let remembered = Remembered::default().renewed(&before.sample.look_back(), &settings, at(0));
    let text = serde_json::to_string(&remembered).unwrap();
    let again: Remembered = serde_json::from_str(&text).unwrap();
    assert_eq!(again, remembered);
    let explained = |remembered: &Remembered, of: fn(usize, Timestamp) -> KeptRequest, reason: ReasonCode| {
        let mut scene = Scene { sample: Sample::new(SampleLimits::default()), ..Scene::new() };
        scene.change(ChangeKind::Policy, without_the_office);
        scene.locked_out(Answered::Refused(reason), of);
        let window = Window { onset: at(0), until: at(30), observed: 300, expected: 1 };
        explain(&window, (&scene.sample.look_back(), remembered), (&scene.changes, &Ways::default()), &settings)
    };
    let locked_out = explained(&again, office, ReasonCode::IpNotAllowed);
    assert_eq!(locked_out.causes[0].kind, CauseKind::ConfigChange, "{locked_out:#?}");
    assert!(locked_out.causes[0].fix.as_ref().unwrap().command.starts_with("put the policy "), "{locked_out:#?}");
    assert_eq!(explained(&Remembered::default(), office, ReasonCode::IpNotAllowed).causes[0].kind, CauseKind::Attack);
    assert_eq!(explained(&again, stranger, ReasonCode::AuthnInvalid).causes[0].kind, CauseKind::Attack);
    // A month later they are strangers.
    let days = |days: i64| again.as_of(at(days * 24 * 60 * 60));
    assert_eq!(explained(&days(29), office, ReasonCode::IpNotAllowed).causes[0].kind, CauseKind::ConfigChange);
    assert_eq!(explained(&days(32), office, ReasonCode::IpNotAllowed).causes[0].kind, CauseKind::Attack);
}

/// However many come, of each kind of thing the last ones are remembered.
#[test]
fn what_is_remembered_has_a_bound() {
    let mut scene = Scene { sample: Sample::new(SampleLimits::default()), ..Scene::new() };
    for number in 0..12_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + (number << 8));
        let user = format!("person-{number}");
        let who = Who { user: Some(&user), client: address.to_string(), path: "/reports/7", software: "x/1" };
        scene.add(request(&who, at(-500)), Answered::Permitted(200));
    }
    let remembered = Remembered::default().renewed(&scene.sample.look_back(), &SpikeSettings::default(), at(0));
    assert_eq!(remembered.networks.iter().count(), 8_192);
    assert_eq!(remembered.principals.iter().count(), 8_192);
    let again = remembered.renewed(&Scene::new().sample.look_back(), &SpikeSettings::default(), at(86_400));
    assert_eq!(again.principals.iter().count(), 8_192);
    assert!(again.principals.iter().any(|(_, id)| id == "person-0"), "those of today are kept");
}
