//! Attackers beside good callers, and what they may not bring about: that a real attack is explained away, or a change is blamed that did nothing.

use super::*;

impl Scene {
    /// So many seconds after the beginning, in which people come as ever, one a second, but for some of them.
    fn goes_on(&mut self, seconds: i64, but: impl Fn(usize) -> bool) {
        for second in 0..seconds {
            let person = usize::try_from(second + 600).unwrap() % PEOPLE;
            if but(person) {
                continue;
            }
            let user = format!("person-{person}");
            let client = format!("203.0.113.{}", 10 + person);
            let who = Who { user: Some(&user), client, path: "/reports/7", software: "reporter/1.2" };
            self.add(request(&who, at(second)), Answered::Permitted(200));
        }
    }

    /// Guesses from the office.
    fn guessed(&mut self, software: &str, path: &str, kind: CredentialProblemKind, reason: ReasonCode) {
        self.locked_out(Answered::Refused(reason), |_, time| {
            let who = Who { user: None, client: "203.0.113.77".to_owned(), path, software };
            KeptRequest { identity: KeptIdentity::Rejected(kind), ..request(&who, time) }
        });
    }
}

const GUESSES: [(CredentialProblemKind, ReasonCode); 2] = [
    (CredentialProblemKind::Invalid, ReasonCode::AuthnInvalid),
    // Whoever makes tokens up names a key that nobody has.
    (CredentialProblemKind::UnknownKey, ReasonCode::AuthnUnknownKey),
];

/// Everybody beside the attacker is let in as ever: no keys have changed, and no release has come, whatever the attacker calls the software.
#[test]
fn guesses_from_where_good_callers_come_are_an_attack() {
    for (kind, reason) in GUESSES {
        for (software, path) in [("reporter/1.2", "/reports/7"), ("python-requests/2.1", "/login"), ("", "/reports/7")]
        {
            let mut scene = Scene::new();
            scene.change(ChangeKind::Policy, unrelated);
            scene.goes_on(30, |_| false);
            scene.guessed(software, path, kind, reason);
            let explained = scene.check(300, CauseKind::Attack, 95);
            let cause = &explained.causes[0];
            assert!(cause.summary.contains("come from where others are let in as ever"), "{cause:#?}");
            // A ban of the office would turn everybody away who works there.
            let fix = cause.fix.as_ref().unwrap();
            assert!(fix.command.starts_with("portcullis ban add --range 203.0.113.77/32 "), "{fix:?}");
            assert!(fix.preview.contains("callers of its network are let in"), "{fix:?}");
        }
    }
}

/// The same refusals, and nobody of the office comes through any more.
#[test]
fn the_same_failures_with_everybody_gone_are_the_keys() {
    for (kind, reason) in GUESSES {
        let mut scene = Scene::new();
        scene.goes_on(30, |_| true);
        scene.guessed("reporter/1.2", "/reports/7", kind, reason);
        scene.check(300, CauseKind::Keys, 95);
    }
}

/// One service whose key was withdrawn tries again and again, from where others are let in as ever: that is no guess.
#[test]
fn one_who_has_lost_a_key_and_tries_again_is_no_attack() {
    let mut scene = Scene::new();
    // It came each two seconds.
    for second in (-600..0).step_by(2) {
        let who = Who { user: Some("robot"), client: "203.0.113.77".to_owned(), path: "/files/a", software: "robot/3" };
        scene.add(request(&who, at(second)), Answered::Permitted(200));
    }
    scene.goes_on(30, |_| false);
    scene.guessed("robot/3", "/files/a", CredentialProblemKind::Invalid, ReasonCode::AuthnInvalid);
    scene.check(300, CauseKind::Keys, 95);
}

/// Whoever fetches a public page is let in, and is no acquaintance for that.
#[test]
fn a_public_page_makes_nobody_familiar() {
    let mut scene = Scene::new();
    for number in 0..200_usize {
        let page = stranger(number, at(-30));
        let client = format!("192.0.2.{}", number % 200);
        let who = Who { user: None, client, path: "/public/login", software: "Chrome/130" };
        scene.add(
            KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, page.now) },
            Answered::Permitted(200),
        );
    }
    for (kind, reason) in GUESSES {
        let mut scene = scene_of(&scene);
        scene.goes_on(30, |_| false);
        scene.locked_out(Answered::Refused(reason), |number, time| {
            let client = format!("192.0.2.{}", number % 200);
            let who = Who { user: None, client, path: "/reports/7", software: "Chrome/130" };
            KeptRequest { identity: KeptIdentity::Rejected(kind), ..request(&who, time) }
        });
        scene.check(300, CauseKind::Attack, 95);
    }
}

fn scene_of(scene: &Scene) -> Scene {
    Scene {
        policy: Arc::clone(&scene.policy),
        sample: scene.sample.clone(),
        changes: scene.changes.clone(),
        deeds: scene.deeds.clone(),
    }
}

/// A network was taken off because of an attack from it, by which somebody had fetched a public page. The attacker who goes on is not to bring it
/// about that the network is let in again.
#[test]
fn an_attacker_who_goes_on_does_not_have_a_tightening_blamed() {
    // Nobody who was verified came from there.
    let mut bare = Scene { sample: Sample::new(SampleLimits::default()), ..Scene::new() };
    for number in 0..50_usize {
        let who = Who {
            user: None,
            client: format!("198.51.100.{}", 200 + number % 20),
            path: "/public/x",
            software: "Chrome/130",
        };
        let page = request(&who, at(-40));
        bare.add(KeptRequest { identity: KeptIdentity::Anonymous, ..page }, Answered::Permitted(200));
    }
    bare.change(ChangeKind::Policy, |draft| draft.networks[1].prefixes.clear());
    bare.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), |number, time| {
        let client = format!("198.51.100.{}", 200 + number % 20);
        request(&Who { user: None, client, path: "/reports/7", software: "Chrome/130" }, time)
    });
    let explained = bare.check(300, CauseKind::Attack, 95);
    assert_eq!(explained.ruled_out.len(), 1, "{explained:#?}");
    assert!(explained.causes.iter().all(|cause| cause.fix.as_ref().is_none_or(|fix| !fix.command.contains("back"))));
}

/// Somebody looks about from the office, without a credential and with a software that is new.
#[test]
fn a_scan_from_where_good_callers_come_is_no_release() {
    let mut scene = Scene::new();
    scene.goes_on(30, |_| false);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnMissing), |number, time| {
        let path = format!("/{}/x", ["wp-admin", ".env", "cgi-bin", "phpmyadmin", "backup", "old", "git"][number % 7]);
        let who = Who { user: None, client: "203.0.113.77".to_owned(), path: &path, software: "scan/1" };
        KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, time) }
    });
    scene.check(300, CauseKind::Attack, 95);
    // A release that has forgotten its credential asks for what was asked for before.
    let mut scene = Scene::new();
    scene.locked_out(Answered::Refused(ReasonCode::AuthnMissing), |number, time| {
        let (_, client) = person(number);
        let who = Who { user: None, client, path: "/reports/7", software: "reporter/2.0" };
        KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, time) }
    });
    scene.check(300, CauseKind::ClientRelease, 95);
}

/// Bans that an attack from the office brings about are its doing, too.
#[test]
fn what_stops_a_guess_is_part_of_the_attack() {
    let mut scene = Scene::new();
    scene.goes_on(30, |_| false);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnInvalid), |number, time| {
        let who = Who { user: None, client: "203.0.113.77".to_owned(), path: "/reports/7", software: "reporter/1.2" };
        let identity = KeptIdentity::Rejected(CredentialProblemKind::Invalid);
        let request = KeptRequest { identity, ..request(&who, time) };
        if number > 20 { KeptRequest { identity: KeptIdentity::NotLookedAt, ..request } } else { request }
    });
    // The answers to those of which nobody looked at who it was.
    let refusals: Vec<Seen> = scene.sample.look().refusals.iter().map(|seen| Seen::clone(seen)).collect();
    let mut banned = Scene::new();
    banned.goes_on(30, |_| false);
    for seen in refusals.into_iter().filter(|seen| seen.request.now >= at(0)) {
        let is_banned = seen.request.identity == KeptIdentity::NotLookedAt;
        let answered = if is_banned { Answered::Refused(ReasonCode::BanActive) } else { seen.answered };
        banned.add(seen.request, answered);
    }
    banned.check(300, CauseKind::Attack, 95);
}

/// Upstream and all: one who tries other people's things there is not the upstream's upgrade.
#[test]
fn an_upstream_that_refuses_one_of_many_is_no_upgrade() {
    // Anonymous everywhere: the upstream does its own logins, and refuses whoever guesses.
    let anonymous = |client: String, time: Timestamp| {
        let who = Who { user: None, client, path: "/public/login", software: "Chrome/130" };
        KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, time) }
    };
    let people = |scene: &mut Scene, from: i64, to: i64, status: u16| {
        for second in from..to {
            let client = format!("10.7.{}.9", (second + 600) % 25);
            scene.add(anonymous(client, at(second)), Answered::Permitted(status));
        }
    };
    let mut scene = Scene::new();
    people(&mut scene, -600, 30, 200);
    scene.locked_out(Answered::Permitted(401), |number, time| anonymous(format!("192.0.2.{}", number % 200), time));
    scene.check(300, CauseKind::Attack, 95);
    // The same with everybody refused.
    let mut scene = Scene::new();
    people(&mut scene, -600, 0, 200);
    scene.locked_out(Answered::Permitted(401), |number, time| anonymous(format!("10.7.{}.9", number % 25), time));
    scene.check(300, CauseKind::Upstream, 95);
    // Half of its machines are new: whoever is refused is answered, too.
    let mut scene = Scene::new();
    people(&mut scene, -600, 30, 200);
    scene.locked_out(Answered::Permitted(403), |number, time| anonymous(format!("10.7.{}.9", number % 25), time));
    scene.check(300, CauseKind::Upstream, 95);
}

/// Who is let in all the time was there before, also where the last requests do not reach back to the beginning.
#[test]
fn who_still_comes_through_is_known_on_a_busy_gateway() {
    let limits = SampleLimits { recent: 100, most: 8_000, refusals: 8_192 };
    let busy = |path: &str, answered: Answered| {
        let mut scene = Scene { sample: Sample::new(limits), ..Scene::new() };
        for second in -600..30 {
            for number in 0..4_usize {
                let (user, client) = person(usize::try_from(second + 600).unwrap() * 4 + number);
                let who = Who { user: Some(&user), client, path: "/reports/7", software: "reporter/1.2" };
                scene.add(request(&who, at(second)), Answered::Permitted(200));
                if second >= 0 {
                    scene.add(request(&Who { path, ..who }, at(second)), answered);
                }
            }
        }
        scene
    };
    busy("/reports/7", Answered::Permitted(403)).check(120, CauseKind::Upstream, 95);
    let explained = busy("/files/x", Answered::Refused(ReasonCode::RbacNoMatchingGrant)).explain(120);
    assert!(explained.causes.is_empty(), "they are no strangers: {explained:#?}");
}

/// Each incident's text says what would help, what that restores, and what it opens besides.
#[test]
fn a_way_back_says_what_it_restores_and_what_it_opens() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, |draft| {
        without_the_office(draft);
        // With the network another rule went that nobody has used.
        draft.assignments.remove(2);
    });
    scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let fix = explained.causes[0].fix.as_ref().unwrap();
    assert_eq!(fix.restores, 300);
    assert!(
        fix.preview.starts_with("restores at most 300 of these 300 requests, of 40 callers, 40 let in before; "),
        "{fix:?}"
    );
    assert!(
        fix.opens.iter().any(|kind| kind.contains("GET /public/** by anonymous")),
        "the rule that nobody has used, too: {fix:#?}"
    );
    assert!(fix.preview.contains("for everybody it opens "), "{fix:?}");
}

/// A version that is rolled out decides for some callers before it is in force.
#[test]
fn a_version_that_is_rolled_out_is_a_suspect() {
    let mut scene = Scene::new();
    let present = Arc::clone(&scene.policy);
    scene.change(ChangeKind::Rollout, |draft| drop(draft.assignments.remove(0)));
    scene.policy = present;
    scene.goes_on(30, |person| person < 10);
    scene.locked_out(Answered::Refused(ReasonCode::RbacNoMatchingGrant), |number, time| known(number % 10, time));
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let cause = &explained.causes[0];
    assert!(cause.summary.contains("which is rolled out beside"), "{cause:#?}");
    assert!(cause.fix.as_ref().unwrap().command.starts_with("portcullis policy abort"), "{cause:#?}");
}

/// What scales with the bucket: a change that came three minutes behind the beginning of a bucket of five is a suspect of what follows it.
#[test]
fn a_change_in_the_first_of_long_buckets_is_a_suspect() {
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, without_the_office);
    scene.changes[0].at = at(180);
    for number in 0..300_usize {
        let time = at(190 + i64::try_from(number / 10).unwrap());
        scene.add(office(number, time), Answered::Refused(ReasonCode::IpNotAllowed));
    }
    let window = Window { onset: at(0), until: at(300), observed: 300, expected: 1 };
    let settings = SpikeSettings { bucket: Duration::from_secs(300), ..SpikeSettings::default() };
    let explained = explain(
        &window,
        (&scene.sample.look_back(), &Remembered::default()),
        (&scene.changes, &Ways::default()),
        &settings,
    );
    assert_eq!(explained.causes[0].kind, CauseKind::ConfigChange, "{explained:#?}");
}

/// A page that was public is closed because it is attacked. The attack that goes on would have been let in, and is not to open it again.
#[test]
fn who_was_never_let_in_has_no_rule_taken_back() {
    let ask = |number: usize, time: Timestamp| {
        let who =
            Who { user: None, client: format!("10.9.{}.7", number % 60), path: "/public/x", software: "Chrome/130" };
        KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, time) }
    };
    let closed = |draft: &mut PolicyDraft| drop(draft.assignments.remove(2));
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, closed);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnMissing), ask);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let fix = explained.causes[0].fix.as_ref().unwrap();
    assert!(fix.command.starts_with("no way back is proposed: "), "{fix:?}");
    assert!(fix.preview.contains("of 60 callers, 0 let in before; "), "{fix:?}");
    // Those who used it are to have it again.
    let regular = |networks: usize, times: std::ops::Range<i64>| {
        let mut scene = Scene::new();
        for second in times.step_by(100) {
            (0..networks).for_each(|number| scene.add(ask(number, at(second)), Answered::Permitted(200)));
        }
        scene.change(ChangeKind::Policy, closed);
        scene
    };
    let fix = |scene: &mut Scene| {
        scene.locked_out(Answered::Refused(ReasonCode::AuthnMissing), ask);
        let explained = scene.check(300, CauseKind::ConfigChange, 95);
        explained.causes[0].fix.clone().unwrap()
    };
    let used = fix(&mut regular(60, -550..0));
    assert!(used.command.starts_with("put the policy "), "{used:?}");
    assert!(used.preview.contains("of 60 callers, 60 let in before; "), "{used:?}");
    // Each of the attackers has fetched the page once, long ago, or several times, a moment ago.
    for times in [-550..-500, -250..0] {
        let fetched = fix(&mut regular(60, times));
        assert!(fetched.command.starts_with("no way back is proposed: "), "{fetched:?}");
        assert!(fetched.preview.contains("of 60 callers, 0 let in before; "), "{fetched:?}");
    }
    // Or has fetched another one all the time.
    let mut scene = regular(0, -550..0);
    scene.changes.clear();
    scene.policy = Arc::new(compiled(&draft()));
    for second in (-550..0).step_by(100) {
        for number in 0..60_usize {
            let who =
                Who { user: None, client: format!("10.9.{number}.7"), path: "/public2/x", software: "Chrome/130" };
            let page = KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, at(second)) };
            scene.add(page, Answered::Permitted(404));
        }
    }
    scene.change(ChangeKind::Policy, closed);
    assert!(fix(&mut scene).command.starts_with("no way back is proposed: "));
    // One network that used it sends nearly all of it, and is one of sixty for that.
    let mut scene = regular(1, -550..0);
    for number in 0..2_000_usize {
        scene.add(ask(0, at(i64::try_from(number / 100).unwrap())), Answered::Refused(ReasonCode::AuthnMissing));
    }
    assert!(fix(&mut scene).command.starts_with("no way back is proposed: "));
}

/// An earlier policy comes back as it is kept.
#[test]
fn the_way_back_is_the_command_for_how_policies_are_kept() {
    for (versions, command, words) in [
        (Versions::NotKept, "put the policy ", None),
        (Versions::Kept, "portcullis policy rollback 7 --reason \"spike of refusals\"", None),
        (
            Versions::Approved,
            "portcullis policy rollback 7 --author \"${SUDO_USER:-$(id -un)}\" --reason \"spike of refusals\"",
            Some("; it is in force once it is approved"),
        ),
    ] {
        let mut scene = Scene::new();
        scene.policy = Arc::new(compiled(&draft()).numbered(7));
        scene.change(ChangeKind::Policy, without_the_office);
        scene.changes[0].after = Arc::new(Policy::clone(&scene.policy).numbered(8));
        scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
        let window = Window { onset: at(0), until: at(30), observed: 300, expected: 1 };
        let (settings, ways) = (SpikeSettings::default(), Ways { versions, ..Ways::default() });
        let explained =
            explain(&window, (&scene.sample.look_back(), &Remembered::default()), (&scene.changes, &ways), &settings);
        let fix = explained.causes[0].fix.as_ref().unwrap();
        assert!(fix.command.starts_with(command), "{fix:?}");
        assert_eq!(fix.preview.ends_with("; it is in force once it is approved"), words.is_some(), "{fix:?}");
    }
}

/// Finding of 2026-11: the way back was a rollback that took a later deny away with it, and what it opened was compared with what was in force before
/// that deny.
#[test]
fn a_way_back_leaves_what_came_later_or_says_that_it_goes() {
    let closed_later = |draft: &mut PolicyDraft| {
        without_the_office(draft);
        // It closes what everybody could read.
        draft.assignments.remove(2);
    };
    let opens_it = |fix: &Fix| fix.opens.iter().any(|kind| kind.contains("GET /public/** by anonymous"));
    for (versions, before, command, opens, words) in [
        (Versions::Kept, 7, "portcullis policy revert 8 --reason", false, "since what came later stays: version 9; "),
        (
            Versions::Approved,
            7,
            "portcullis policy revert 8 --author \"${SUDO_USER:-$(id -un)}\" --reason",
            false,
            "since what came later stays: version 9; ",
        ),
        // Two versions came into force at once: neither of them is the change.
        (
            Versions::Kept,
            6,
            "portcullis policy rollback 6 --reason",
            true,
            "; it undoes what came later, too: version 9",
        ),
        (Versions::NotKept, 7, "put the policy ", true, "; it undoes what came later, too: 1 change of the files"),
    ] {
        let mut scene = Scene::new();
        scene.policy = Arc::new(compiled(&draft()).numbered(before));
        scene.change(ChangeKind::Policy, without_the_office);
        scene.changes[0].after = Arc::new(Policy::clone(&scene.policy).numbered(8));
        scene.policy = Arc::clone(&scene.changes[0].after);
        scene.change(ChangeKind::Policy, closed_later);
        scene.changes[1].after = Arc::new(Policy::clone(&scene.policy).numbered(9));
        scene.changes[1].at = at(2);
        scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
        let window = Window { onset: at(0), until: at(30), observed: 300, expected: 1 };
        let (settings, ways) = (SpikeSettings::default(), Ways { versions, ..Ways::default() });
        let explained =
            explain(&window, (&scene.sample.look_back(), &Remembered::default()), (&scene.changes, &ways), &settings);
        let fix = explained.causes[0].fix.as_ref().unwrap();
        assert!(fix.command.starts_with(command), "{fix:?}");
        assert_eq!(opens_it(fix), opens, "{fix:?}");
        assert!(fix.preview.contains(words), "{fix:?}");
    }
}

/// Lists of many networks are not walked while a spike is explained, and that is said.
#[test]
fn what_is_too_much_to_compare_is_not_compared() {
    for (most, is_compared) in [(100, true), (60_000, false)] {
        let mut scene = Scene::new();
        scene.change(ChangeKind::Policy, |draft| {
            without_the_office(draft);
            let mut listed = draft.networks[1].clone();
            listed.name = "listed".to_owned().into();
            let addresses = (0..most).map(|number: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + 2 * number));
            listed.prefixes = addresses.map(|address| format!("{address}/32").parse().unwrap()).collect();
            draft.networks.push(listed);
        });
        scene.locked_out(Answered::Refused(ReasonCode::IpNotAllowed), office);
        let explained = scene.check(300, CauseKind::ConfigChange, 95);
        let fix = explained.causes[0].fix.as_ref().unwrap();
        assert_eq!(!fix.opens.is_empty(), is_compared, "{fix:?}");
        assert_eq!(fix.preview.contains("is too much to compare here"), !is_compared, "{fix:?}");
        assert_eq!(fix.restores, 300);
    }
}

/// Somebody has five accounts that come regularly, lets them fall silent, and guesses passwords from there: that is no matter of keys.
#[test]
fn accounts_that_fall_silent_as_a_flood_begins_make_it_no_matter_of_keys() {
    let flood = |gone: bool| {
        let mut scene = Scene::new();
        for second in -600_i64..0 {
            let user = format!("account-{}", second.rem_euclid(5));
            let who = Who { user: Some(&user), client: "10.9.9.9".to_owned(), path: "/reports/7", software: "x/1" };
            scene.add(request(&who, at(second)), Answered::Permitted(200));
        }
        scene.goes_on(30, |_| gone);
        for number in 0..8_000_i64 {
            let who = Who { user: None, client: "10.9.9.9".to_owned(), path: "/reports/7", software: "x/1" };
            let identity = KeptIdentity::Rejected(CredentialProblemKind::Invalid);
            let request = KeptRequest { identity, ..request(&who, at(number / 267)) };
            scene.add(request, Answered::Refused(ReasonCode::AuthnInvalid));
        }
        scene.explain(8_000)
    };
    let guessed = flood(false);
    assert!(guessed.causes.iter().all(|cause| cause.kind != CauseKind::Keys), "{guessed:#?}");
    // Where everybody is gone, elsewhere, too, it is the keys, however often one of them tries again.
    assert_eq!(flood(true).causes[0].kind, CauseKind::Keys);
}

/// Three accounts of one network that are a sixth of those who come to a place are not all of it.
#[test]
fn a_few_accounts_of_one_network_are_no_upgrade() {
    let ask = |user: &str, client: &str, second: i64| {
        let who = Who { user: Some(user), client: client.to_owned(), path: "/files/a", software: "reporter/1.2" };
        request(&who, at(second))
    };
    // The same where they come from several networks: then it is more than one who has several accounts.
    for (networks, upgrade) in [(1, false), (3, true)] {
        let mut scene = Scene::new();
        for second in -600_i64..30 {
            let user = format!("colleague-{}", second.rem_euclid(15));
            scene.add(ask(&user, "203.0.113.9", second), Answered::Permitted(200));
        }
        let account = |number: i64| (format!("account-{}", number % 3), format!("10.9.{}.9", number % 3 % networks));
        for number in 0..300_i64 {
            let (user, client) = account(number);
            scene.add(ask(&user, &client, number - 500), Answered::Permitted(200));
        }
        for number in 0..300_i64 {
            let (user, client) = account(number);
            scene.add(ask(&user, &client, number / 10), Answered::Permitted(403));
        }
        let explained = scene.explain(300);
        let is_blamed = explained.causes.iter().any(|cause| cause.kind == CauseKind::Upstream);
        assert_eq!(is_blamed, upgrade, "{networks}: {explained:#?}");
    }
}

/// Whoever has got an account and was let in once from each of many networks is no good caller there.
#[test]
fn an_account_that_was_let_in_once_makes_no_attack_a_matter_of_keys() {
    let mut scene = Scene::new();
    for number in 0..50_usize {
        let user = format!("new-{number}");
        let client = format!("10.9.{number}.7");
        let who = Who { user: Some(&user), client, path: "/reports/7", software: "Chrome/130" };
        scene.add(request(&who, at(-200)), Answered::Permitted(200));
    }
    scene.goes_on(30, |_| false);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnInvalid), |number, time| {
        let client = format!("10.9.{}.7", number % 50);
        let who = Who { user: None, client, path: "/reports/7", software: "Chrome/130" };
        KeptRequest { identity: KeptIdentity::Rejected(CredentialProblemKind::Invalid), ..request(&who, time) }
    });
    let explained = scene.explain(300);
    assert!(explained.causes.iter().all(|cause| cause.kind != CauseKind::Keys), "{explained:#?}");
}

/// A few accounts that ask the upstream for what is not theirs, among many callers who are answered as ever, are not its upgrade.
#[test]
fn a_few_accounts_among_many_are_no_upgrade() {
    let mut scene = Scene::new();
    scene.goes_on(30, |_| false);
    scene.locked_out(Answered::Permitted(403), |number, time| known(number % 3, time));
    let explained = scene.explain(300);
    assert!(explained.causes.iter().all(|cause| cause.kind != CauseKind::Upstream), "{explained:#?}");
}

/// One who has half of the accounts that come to a place, all from one network, makes no upgrade of what the upstream refuses these.
#[test]
fn many_accounts_of_one_network_are_no_upgrade_while_others_are_answered() {
    for (from_elsewhere, upgrade) in [(true, false), (false, true)] {
        let mut scene = Scene::new();
        let ask = |user: &str, client: &str, second: i64| {
            let who = Who { user: Some(user), client: client.to_owned(), path: "/files/a", software: "reporter/1.2" };
            request(&who, at(second))
        };
        for second in (-600_i64..30).filter(|_| from_elsewhere) {
            let user = format!("colleague-{}", second.rem_euclid(8));
            scene.add(ask(&user, "203.0.113.9", second), Answered::Permitted(200));
        }
        for number in 0..300_i64 {
            scene.add(ask(&format!("account-{}", number % 8), "10.9.9.9", number - 500), Answered::Permitted(200));
        }
        for number in 0..300_i64 {
            scene.add(ask(&format!("account-{}", number % 8), "10.9.9.9", number / 10), Answered::Permitted(403));
        }
        let explained = scene.explain(300);
        let is_blamed = explained.causes.iter().any(|cause| cause.kind == CauseKind::Upstream);
        assert_eq!(is_blamed, upgrade, "{explained:#?}");
    }
}

/// Somebody guesses from an address that good callers have, too: no ban is proposed that would turn these away.
#[test]
fn no_ban_of_an_address_is_proposed_that_good_callers_have() {
    let mut scene = Scene::new();
    scene.goes_on(30, |_| false);
    scene.locked_out(Answered::Refused(ReasonCode::AuthnInvalid), |_, time| {
        let who = Who { user: None, client: "203.0.113.11".to_owned(), path: "/reports/7", software: "reporter/1.2" };
        KeptRequest { identity: KeptIdentity::Rejected(CredentialProblemKind::Invalid), ..request(&who, time) }
    });
    let explained = scene.check(300, CauseKind::Attack, 95);
    let fix = explained.causes[0].fix.as_ref().unwrap();
    assert!(fix.command.contains("no ban of 203.0.113.0/24 is proposed"), "{fix:?}");
    assert!(fix.preview.contains("callers away who are let in"), "{fix:?}");
}

/// Limits are no matter of the policy: with the configuration undone it decides as before, and that says nothing of them.
#[test]
fn a_configuration_is_not_ruled_out_where_something_is_left_that_no_policy_decides() {
    for (reason, not_ruled_out) in [(ReasonCode::LimitRate, true), (ReasonCode::AuthnInvalid, false)] {
        let mut scene = Scene::new();
        scene.change(ChangeKind::Configuration, |_| {});
        scene.goes_on(30, |_| false);
        match not_ruled_out {
            true => scene.locked_out(Answered::Refused(reason), known),
            false => scene.locked_out(Answered::Refused(reason), stranger),
        }
        let explained = scene.explain(300);
        let said = explained.not_ruled_out.iter().any(|what| what.starts_with("the configuration around the policy, "));
        assert_eq!((said, explained.ruled_out.is_empty()), (not_ruled_out, not_ruled_out), "{explained:#?}");
    }
}
