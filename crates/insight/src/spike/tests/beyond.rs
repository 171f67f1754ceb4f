//! What an operator or the clock did, and bans of the gateway's own: put down to that and to nothing else.

use portcullis_policy::{Activation, ActivationRules, AssignmentDraft, Ban, BanScope, KeptRare, Lent};

use super::*;

/// A ban as a request has it.
fn ban(scope: BanScope, offences: u32, cause: &str) -> Ban {
    Ban { scope, until: at(600), offences, cause: cause.into(), simulated: false }
}

fn with_rare(request: KeptRequest, rare: KeptRare) -> KeptRequest {
    KeptRequest { rare: Some(Box::new(rare)), ..request }
}

fn banned_address(request: KeptRequest, cause: &str) -> KeptRequest {
    let address_ban = Some(ban(BanScope::Address, 0, cause));
    with_rare(request, KeptRare { address_ban, ..KeptRare::default() })
}

fn banned_principal(request: KeptRequest, offences: u32, cause: &str) -> KeptRequest {
    let principal_ban = Some(ban(BanScope::Principal, offences, cause));
    with_rare(request, KeptRare { principal_ban, ..KeptRare::default() })
}

fn deed(seconds: i64, what: DeedKind) -> Deed {
    Deed { at: at(seconds), what, by: Some("ana (uid 7)".to_owned()), reason: "INC-7".to_owned(), is_over: false }
}

fn ban_by_hand(on: &str, seconds: i64) -> Deed {
    let (on, cause) = (on.to_owned(), "by hand: INC-7".into());
    deed(seconds, DeedKind::Ban { on, others: 0, until: at(600), cause })
}

/// Nothing is blamed but this, with this way back and these words.
#[track_caller]
fn only(scene: &Scene, kind: CauseKind, command: &str, words: &[&str]) -> Explained {
    let explained = scene.check(300, kind, 95);
    assert_eq!(explained.causes.len(), 1, "{explained:#?}");
    let cause = &explained.causes[0];
    let fix = cause.fix.as_ref().unwrap();
    assert_eq!(fix.command, command, "{cause:#?}");
    let said = format!("{} {}", cause.summary, fix.preview);
    assert!(words.iter().all(|words| said.contains(words)), "{words:?}: {cause:#?}");
    explained
}

#[test]
fn a_ban_by_hand_is_put_down_to_who_made_it_and_why() {
    let of = |number, time| banned_address(office(number, time), "by hand: INC-7");
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    scene.deeds.push(ban_by_hand("203.0.113.0/24", -3));
    scene.locked_out(Answered::Refused(ReasonCode::BanActive), of);
    let words = ["203.0.113.0/24 was banned by ana (uid 7) at ", "(INC-7)", "restores at most these 300 requests, of "];
    let explained = only(&scene, CauseKind::Ban, "portcullis ban remove --range 203.0.113.0/24", &words);
    assert_eq!(explained.causes[0].due_to.as_deref(), Some("ban of 203.0.113.0/24 at 2026-11-23T09:59:57Z"));
    assert_eq!(explained.ruled_out.len(), 1, "{explained:#?}");
    // Once it is lifted that is said, and it is the cause all the same.
    scene.deeds[0].is_over = true;
    only(&scene, CauseKind::Ban, "it is over by now: nothing is to be taken back", &words);
    // One of before, and another one, are no cause.
    for other in [
        ban_by_hand("203.0.113.0/24", -1_000),
        deed(
            -3,
            DeedKind::Ban { on: "203.0.113.0/24".into(), others: 0, until: at(601), cause: "by hand: INC-7".into() },
        ),
    ] {
        scene.deeds = vec![other];
        assert!(scene.explain(300).causes.iter().all(|cause| cause.kind != CauseKind::Ban));
    }
}

#[test]
fn a_ban_by_hand_of_a_principal_names_it() {
    let mut scene = Scene::new();
    scene.deeds.push(ban_by_hand("user:person-1", -3));
    scene.locked_out(Answered::Refused(ReasonCode::BanActive), |_, time| {
        banned_principal(known(1, time), 0, "by hand: INC-7")
    });
    only(
        &scene,
        CauseKind::Ban,
        "portcullis ban remove --user user:person-1",
        &["user:person-1 was banned by ana (uid 7)"],
    );
}

/// Who attacks, and is banned for that by whoever looks, attacks.
#[test]
fn a_ban_by_hand_of_strangers_leaves_it_an_attack() {
    let mut scene = Scene::new();
    scene.deeds.push(ban_by_hand("192.0.2.0/24", -3));
    scene.locked_out(Answered::Refused(ReasonCode::BanActive), |number, time| {
        let request = stranger(number, time);
        banned_address(KeptRequest { identity: KeptIdentity::NotLookedAt, ..request }, "by hand: INC-7")
    });
    scene.check(300, CauseKind::Attack, 95);
}

/// Thirty seconds of refusals that say this of what was revoked, after these revocations.
fn revoked(said: &str, deeds: &[(&str, &str, i64)]) -> Scene {
    let of = |number, time| {
        let rejected = KeptIdentity::Rejected(CredentialProblemKind::Revoked);
        let request = KeptRequest { identity: rejected, ..office(number, time) };
        with_rare(request, KeptRare { revoked_by: Some(said.into()), ..KeptRare::default() })
    };
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    for (what, name, seconds) in deeds {
        let (what, name) = ((*what).to_owned(), (*name).to_owned());
        scene.deeds.push(deed(*seconds, DeedKind::Revocation { what, name }));
    }
    scene.locked_out(Answered::Refused(ReasonCode::AuthnRevoked), of);
    scene
}

/// So `identity` says it: see its `revocation::asked`.
#[test]
fn a_revocation_is_put_down_to_who_made_it_and_why() {
    let said = "the API key `b` was revoked at 2026-11-23T09:59:57Z: INC-7";
    // The last ones are named in what is said, and are another one all the same.
    let others = [("key", "c", -3), ("key", "b", -3), ("key", "b", -1_000), ("key", "e", -3), ("token", "a", -3)];
    let scene = revoked(said, &others);
    let words = ["the key b was revoked by ana (uid 7) at 2026-11-23T09:59:57Z (INC-7)"];
    let explained = only(&scene, CauseKind::Revocation, "portcullis revoke lift key b", &words);
    assert_eq!(explained.causes[0].due_to.as_deref(), Some("revocation of key b at 2026-11-23T09:59:57Z"));
}

#[test]
fn a_revocation_is_known_however_its_name_is_written() {
    let since = "the credential was issued at 2026-11-23T08:00:00Z; what";
    let nobody = "nobody knows when the credential was issued; what";
    let when = "was revoked at 2026-11-23T09:59:57Z: INC-7";
    let until = "has until 2026-11-23T09:59:57Z";
    let (long, longer) = ("k".repeat(64), format!("user:{}", "u".repeat(80)));
    let cut = format!("the API key `{}…` {when}", &long[1..]);
    let cut_user = format!("{nobody} `{}…` {until} {when}", &longer[..63]);
    for (said, what, name, command) in [
        (format!("{since} `user:Ana` {until} {when}"), "principal", "user:ana", "user:ana"),
        (format!(r#"{nobody} `user:a\"b` {until} {when}"#), "principal", r#"user:a"b"#, r#"'user:a"b'"#),
        (format!("the token {when}"), "token", "id-1", "id-1"),
        (cut, "key", &long, &long),
        (cut_user, "principal", &longer, &longer),
    ] {
        let others = [(what, name, -3), ("key", "k", -3), ("principal", "user:a", -3), ("token", "id-2", -5)];
        let command = format!("portcullis revoke lift {what} {command}");
        only(&revoked(&said, &others), CauseKind::Revocation, &command, &["was revoked by ana (uid 7)"]);
    }
}

/// Of a token a refusal does not say which: of two that were revoked within a second for the same reason none is proposed to be lifted.
#[test]
fn of_revocations_that_nobody_can_tell_apart_none_is_named() {
    let said = "the token was revoked at 2026-11-23T09:59:57Z: INC-7";
    let mut scene = revoked(said, &[("token", "one", -3), ("token", "two", -3), ("key", "three", -3)]);
    let command = "portcullis revoke list (the one that it is is lifted with `portcullis revoke lift`)";
    let words = ["one of several tokens was revoked at 2026-11-23T09:59:57Z (INC-7)"];
    let explained = only(&scene, CauseKind::Revocation, command, &words);
    let due_to = explained.causes[0].due_to.as_deref();
    assert_eq!(due_to, Some("revocation of one of several tokens at 2026-11-23T09:59:57Z"));
    // Another reason tells it, and so does one that is revoked twice.
    scene.deeds[1].reason = "left".to_owned();
    scene.deeds.push(scene.deeds[0].clone());
    only(&scene, CauseKind::Revocation, "portcullis revoke lift token one", &["the token one was revoked by ana"]);
}

/// So is the whole policy of this time, but for this.
fn in_force(scene: &mut Scene, edit: impl FnOnce(&mut PolicyDraft)) {
    let mut draft = draft();
    edit(&mut draft);
    scene.policy = Arc::new(compiled(&draft));
}

#[test]
fn an_assignment_that_is_over_is_put_down_to_the_clock() {
    let explained = |expires: i64| {
        let mut scene = Scene::new();
        in_force(&mut scene, |draft| draft.assignments[0].expires = Some(at(expires)));
        scene.locked_out(Answered::Refused(ReasonCode::RbacAssignmentExpired), known);
        scene
    };
    let words = [
        "assignment/staff-reports (:",
        " let these in until 2026-11-23T09:59:58Z, and does so no more since the clock went on",
        "restores these 300 requests, of 40 callers, 40 let in before",
    ];
    let scene = explained(-2);
    let found = scene.check(300, CauseKind::Expiry, 95);
    let said = found.in_words().join("\n");
    assert!(
        words.iter().skip(1).all(|words| said.contains(words)) && said.contains("assignment/staff-reports"),
        "{said}"
    );
    assert_eq!(found.causes[0].due_to.as_deref(), Some("assignment staff-reports"));
    // What was over long ago is not why they come now.
    assert!(explained(-1_000).explain(300).causes.is_empty());
}

fn eligible(draft: &mut PolicyDraft, ticket_required: bool) {
    // Nobody reads files otherwise.
    draft.assignments.truncate(1);
    let rules = ActivationRules { ticket_required, ..ActivationRules::of(3_600) };
    draft.assignments.push(AssignmentDraft {
        activation: Some(rules),
        ..AssignmentDraft::new("on call", "reader", ["group:staff"])
    });
}

#[test]
fn an_activation_that_is_over_is_put_down_to_the_clock() {
    let of = |number, time| {
        let (user, client) = person(number);
        let who = Who { user: Some(&user), client, path: "/files/x", software: "reporter/1.2" };
        let activations = vec![Activation { gives: Lent::Assignment("on call".into()), ..Activation::of("", at(-2)) }];
        with_rare(request(&who, time), KeptRare { activations, ..KeptRare::default() })
    };
    for (ticket, command) in [
        (false, "portcullis access activate 'on call' --as user:person-0 --reason \"spike of refusals\""),
        (true, "portcullis access list"),
    ] {
        let mut scene = Scene::new();
        in_force(&mut scene, |draft| eligible(draft, ticket));
        scene.locked_out(Answered::Refused(ReasonCode::RbacConditionUnmet), of);
        let words = ["the activation of assignment/on call", " let these in until 2026-11-23T09:59:58Z, and is over"];
        only(&scene, CauseKind::Expiry, command, &words);
    }
}

/// Forty people of whom each is refused four times, and is then banned for asking on.
fn refused_and_then_banned(scene: &mut Scene, code: ReasonCode, of: impl Fn(usize, Timestamp) -> KeptRequest) {
    for number in 0..300_usize {
        let time = at(i64::try_from(number / 10).unwrap());
        let request = of(number, time);
        if number < 4 * PEOPLE {
            scene.add(request, Answered::Refused(code));
        } else {
            let request = banned_principal(request, 1, "probing: level 4.0 of 4.0");
            scene.add(request, Answered::Refused(ReasonCode::BanActive));
        }
    }
}

/// Bans that came of a change are its doing, and neither those of before nor another change are blamed.
#[test]
fn a_ban_that_came_of_a_change_is_put_down_to_the_change() {
    let revoked = |draft: &mut PolicyDraft| drop(draft.assignments.remove(0));
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, revoked);
    refused_and_then_banned(&mut scene, ReasonCode::RbacNoMatchingGrant, known);
    let explained = scene.check(300, CauseKind::ConfigChange, 95);
    let cause = &explained.causes[0];
    assert!(cause.summary.contains("assignment/staff-reports"), "{cause:#?}");
    let fix = cause.fix.as_ref().unwrap();
    assert!(fix.preview.starts_with("restores 300 of these 300 requests, of 40 callers, 40 let in before"), "{fix:#?}");
    assert!(fix.preview.contains("and 39 others came to be banned by that: `portcullis ban list`"), "{fix:#?}");
    assert_eq!(cause.by_reason.len(), 2, "{cause:#?}");
    // The change came when they were banned already.
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, revoked);
    scene.changes[0].at = at(20);
    refused_and_then_banned(&mut scene, ReasonCode::RbacNoMatchingGrant, known);
    let blamed = scene.explain(300);
    assert!(blamed.causes.iter().all(|cause| cause.kind != CauseKind::ConfigChange), "{blamed:#?}");
    // It did nothing to them: each of them did what it may not.
    let mut scene = Scene::new();
    scene.change(ChangeKind::Policy, unrelated);
    refused_and_then_banned(&mut scene, ReasonCode::RbacNoMatchingGrant, |number, time| {
        let KeptRequest { identity, client, .. } = known(number, time);
        let text = KeptText { method: "DELETE", host: "app.test", path: "/reports/7", software: "reporter/1.2" };
        KeptRequest { identity, client, ..KeptRequest::new(text, time).unwrap() }
    });
    let blamed = scene.explain(300);
    assert!(blamed.causes.is_empty() && blamed.ruled_out.len() == 1, "{blamed:#?}");
}

/// Also where somebody goes on with what it may do as ever.
#[test]
fn what_is_banned_besides_is_put_down_to_what_led_to_the_ban() {
    let mut scene = Scene::new();
    in_force(&mut scene, |draft| eligible(draft, false));
    for number in 0..300_usize {
        let time = at(i64::try_from(number / 10).unwrap());
        let path = if number < 100 { "/files/x" } else { "/reports/7" };
        let client = "203.0.113.11".to_owned();
        let activations = vec![Activation::of("on call", at(-2))];
        let asked = request(&Who { user: Some("person-1"), client, path, software: "reporter/1.2" }, time);
        let rare = KeptRare { activations, ..KeptRare::default() };
        if number < 100 {
            scene.add(with_rare(asked, rare), Answered::Refused(ReasonCode::RbacConditionUnmet));
        } else {
            let principal_ban = Some(ban(BanScope::Principal, 1, "probing: level 4.0 of 4.0"));
            let asked = with_rare(asked, KeptRare { principal_ban, ..rare });
            scene.add(asked, Answered::Refused(ReasonCode::BanActive));
        }
    }
    let command = "portcullis access activate 'on call' --as user:person-1 --reason \"spike of refusals\"";
    only(&scene, CauseKind::Expiry, command, &["user:person-1 came to be banned by that"]);
}

/// A ban of the gateway's own that nothing but its principal led to.
#[test]
fn a_ban_of_the_gateways_own_is_named_with_what_it_is_for() {
    let mut scene = Scene::new();
    for number in 0..300_usize {
        let time = at(i64::try_from(number / 10).unwrap());
        let asked = known(1, time);
        let banned = banned_principal(asked.clone(), 2, "credentials: 6 failed in 2m");
        if number == 0 {
            scene.add(asked, Answered::Permitted(200));
        } else {
            scene.add(banned, Answered::Refused(ReasonCode::BanActive));
        }
    }
    let words = ["the gateway banned user:person-1 of itself (until ", "credentials: 6 failed in 2m"];
    only(&scene, CauseKind::Ban, "portcullis ban explain --user user:person-1", &words);
}

/// A few whom a reload locks out beside an attack a hundred times as large.
#[test]
fn a_change_that_turned_few_away_is_named_beside_a_large_attack() {
    let explained = |edit: fn(&mut PolicyDraft)| {
        let mut scene = Scene::new();
        scene.change(ChangeKind::Policy, edit);
        for number in 0..4_000_usize {
            let time = at(i64::try_from(number / 150).unwrap());
            scene.add(stranger(number, time), Answered::Refused(ReasonCode::AuthnInvalid));
            if number.is_multiple_of(200) {
                scene.add(known(1, time), Answered::Refused(ReasonCode::RbacNoMatchingGrant));
            }
        }
        scene.check(4_020, CauseKind::Attack, 95)
    };
    let found = explained(|draft| drop(draft.assignments.remove(0)));
    let kinds: Vec<CauseKind> = found.causes.iter().map(|cause| cause.kind).collect();
    assert_eq!(kinds, [CauseKind::Attack, CauseKind::ConfigChange], "{found:#?}");
    assert!(found.causes[1].due_to.as_deref().is_some_and(|due| due.starts_with("policy ")), "{found:#?}");
    let found = explained(unrelated);
    assert_eq!((found.causes.len(), found.ruled_out.len()), (1, 1), "{found:#?}");
}
