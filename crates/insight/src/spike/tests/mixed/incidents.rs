//! The incidents, each labelled with what it is due to.

use super::world::{HOME, OFFICE, STEP};
use super::*;

pub(super) const INCIDENTS: &[Incident] = &[
    Incident {
        name: "a network was removed, and its clients try again",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change(ChangeKind::Policy, without_the_office);
            play(world, &mut |world, _| world.refuse(0..OFFICE, 1.0, &not_looked_at, NOT_ALLOWED), &nobody_in_office)
        },
    },
    Incident {
        name: "a network was removed, and one client tries twenty times a second",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change(ChangeKind::Policy, without_the_office);
            let mut retries = |world: &mut World, _| {
                world.refuse(0..OFFICE, 0.5, &not_looked_at, NOT_ALLOWED);
                for _ in 0..10 {
                    let request = not_looked_at(world.asks(3, "/reports/1"));
                    world.add(request, NOT_ALLOWED);
                }
            };
            play(world, &mut retries, &nobody_in_office)
        },
    },
    Incident {
        name: "a role was revoked",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change(ChangeKind::Policy, |draft| drop(draft.assignments.remove(0)));
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &|it| it, NO_GRANT), &|_| None)
        },
    },
    Incident {
        name: "credentials are tried from many networks",
        due_to: &[CauseKind::Attack],
        play: |world| play(world, &mut |world, _| world.guess(8.0, 50), &everybody),
    },
    Incident {
        name: "credentials are tried, and a change came that did nothing",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.change(ChangeKind::Policy, unrelated);
            play(world, &mut |world, _| world.guess(4.0, 3), &everybody)
        },
    },
    Incident {
        name: "credentials are tried while a version is rolled out that does nothing",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.change(ChangeKind::Rollout, unrelated);
            play(world, &mut |world, _| world.guess(4.0, 30), &everybody)
        },
    },
    Incident {
        name: "credentials are tried from the office, by the same software",
        due_to: &[CauseKind::Attack],
        play: |world| {
            let mut guess = |world: &mut World, _| {
                for _ in 0..world.dice.come(6.0 * STEP) {
                    let request = rejected(CredentialProblemKind::Invalid)(world.asks(0, "/reports/1"));
                    world.add(request, INVALID);
                }
            };
            play(world, &mut guess, &everybody)
        },
    },
    Incident {
        name: "tokens are made up in the office, by a software that is new",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.change(ChangeKind::Policy, unrelated);
            let mut guess = |world: &mut World, _| {
                for _ in 0..world.dice.come(6.0 * STEP) {
                    let client = "203.0.113.10".to_owned();
                    let who = Who { user: None, client, path: "/reports/1", software: "python-requests/2.1" };
                    let request = rejected(CredentialProblemKind::UnknownKey)(request(&who, world.now()));
                    world.add(request, UNKNOWN_KEY);
                }
            };
            play(world, &mut guess, &everybody)
        },
    },
    Incident {
        name: "credentials are tried, slowly at first",
        due_to: &[CauseKind::Attack],
        play: |world| play(world, &mut |world, since| world.guess(since / 10.0, 20), &everybody),
    },
    Incident {
        name: "keys were withdrawn too early",
        due_to: &[CauseKind::Keys],
        play: |world| {
            let unknown = rejected(CredentialProblemKind::UnknownKey);
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &unknown, UNKNOWN_KEY), &|_| None)
        },
    },
    Incident {
        name: "keys were withdrawn too early, and most have got a new token since",
        due_to: &[CauseKind::Keys],
        play: |world| {
            let unknown = rejected(CredentialProblemKind::UnknownKey);
            let some = |person: usize| (person.is_multiple_of(4)).then_some(200);
            let mut fail = |world: &mut World, _| {
                for person in (0..OFFICE + HOME).filter(|person| person % 4 != 0) {
                    world.refuse(person..person + 1, 1.0, &unknown, UNKNOWN_KEY);
                }
            };
            play(world, &mut fail, &some)
        },
    },
    Incident {
        name: "the upstream refuses everybody",
        due_to: &[CauseKind::Upstream],
        play: |world| play(world, &mut |_, _| {}, &|_| Some(403)),
    },
    Incident {
        name: "one of two upstreams refuses everybody",
        due_to: &[CauseKind::Upstream],
        play: |world| {
            let mut half =
                |world: &mut World, _| world.refuse(0..OFFICE + HOME, 0.0, &|it| it, Answered::Permitted(403));
            play(world, &mut half, &everybody)
        },
    },
    Incident {
        name: "a release comes to some, and cannot be read",
        due_to: &[CauseKind::ClientRelease],
        play: |world| {
            let released = |request: KeptRequest| {
                let text = KeptText { method: "", host: "", path: "", software: "reporter/2.0" };
                KeptRequest { client: request.client, ..KeptRequest::new(text, request.now).unwrap() }
            };
            let malformed = Answered::Refused(ReasonCode::RequestMalformed);
            let mut some = |world: &mut World, since: f64| {
                let many = if since < 20.0 { 10 } else { 20 };
                world.refuse(0..many, 1.0, &released, malformed);
            };
            play(world, &mut some, &|person| (person >= 20).then_some(200))
        },
    },
    Incident {
        name: "a list was poisoned",
        due_to: &[CauseKind::FeedChange],
        play: |world| {
            world.change(ChangeKind::Feed, |draft| {
                let mut bad = draft.networks[0].clone();
                bad.name = "bad-networks".to_owned().into();
                draft.networks.push(bad);
                draft.resources[0].deny = vec!["bad-networks".to_owned().into()];
            });
            let denied = Answered::Refused(ReasonCode::IpDenied);
            play(world, &mut |world, _| world.refuse(0..OFFICE, 0.5, &not_looked_at, denied), &nobody_in_office)
        },
    },
    Incident {
        name: "a network was removed, and a third as much is an attack",
        due_to: &[CauseKind::ConfigChange, CauseKind::Attack],
        play: |world| {
            world.change(ChangeKind::Policy, without_the_office);
            let mut both = |world: &mut World, _| {
                world.refuse(0..OFFICE, 1.0, &not_looked_at, NOT_ALLOWED);
                world.guess(2.5, 20);
            };
            play(world, &mut both, &nobody_in_office)
        },
    },
    Incident {
        name: "an attack, and half as much is a role that was revoked",
        due_to: &[CauseKind::Attack, CauseKind::ConfigChange],
        play: |world| {
            world.change(ChangeKind::Policy, |draft| drop(draft.assignments.remove(0)));
            let mut both = |world: &mut World, _| {
                world.refuse(0..OFFICE + HOME, 0.0, &|it| it, NO_GRANT);
                world.guess(16.0, 40);
            };
            play(world, &mut both, &|_| None)
        },
    },
    Incident {
        name: "the upstream refuses everybody, and credentials are tried",
        due_to: &[CauseKind::Upstream, CauseKind::Attack],
        play: |world| play(world, &mut |world, _| world.guess(2.0, 40), &|_| Some(403)),
    },
    Incident {
        name: "one tries everything",
        due_to: &[CauseKind::OnePrincipal],
        play: |world| {
            world.change(ChangeKind::Policy, unrelated);
            let mut tries = |world: &mut World, _| {
                for number in 0..world.dice.come(5.0 * STEP) {
                    let request = world.asks(7, &format!("/files/{number}"));
                    world.add(request, NO_GRANT);
                }
            };
            play(world, &mut tries, &everybody)
        },
    },
    Incident {
        name: "a calibration asks too many for a second factor",
        due_to: &[CauseKind::CalibrationChange],
        play: |world| {
            world.calibrate(1_000);
            play(world, &mut |world, _| world.refuse(0..OFFICE, 0.5, &risky, STEP_UP), &nobody_in_office)
        },
    },
    Incident {
        name: "credentials are tried, and a calibration came that asks nobody for more",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.calibrate(1_900);
            play(world, &mut |world, _| world.guess(6.0, 30), &everybody)
        },
    },
    Incident {
        name: "a calibration asks too many for a second factor, and half as much is an attack",
        due_to: &[CauseKind::CalibrationChange, CauseKind::Attack],
        play: |world| {
            world.calibrate(1_000);
            let mut both = |world: &mut World, _| {
                world.refuse(0..OFFICE, 1.0, &risky, STEP_UP);
                world.guess(2.5, 20);
            };
            play(world, &mut both, &nobody_in_office)
        },
    },
    Incident {
        name: "a provider was taken out",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change_around(ChangeKind::Identity);
            let foreign = rejected(CredentialProblemKind::WrongIssuer);
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &foreign, WRONG_ISSUER), &|_| None)
        },
    },
    Incident {
        name: "the header of keys got another name",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change_around(ChangeKind::Identity);
            let nobody = |request| KeptRequest { identity: KeptIdentity::Anonymous, ..request };
            let missing = Answered::Refused(ReasonCode::AuthnMissing);
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &nobody, missing), &|_| None)
        },
    },
    Incident {
        name: "credentials are tried from the office and from elsewhere, and providers were changed in a way that did nothing",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.change_around(ChangeKind::Identity);
            let mut guess = |world: &mut World, _| {
                world.guess(6.0, 30);
                for _ in 0..world.dice.come(3.0 * STEP) {
                    let request = rejected(CredentialProblemKind::Invalid)(world.asks(0, "/reports/1"));
                    world.add(request, INVALID);
                }
            };
            play(world, &mut guess, &everybody)
        },
    },
    Incident {
        name: "keys were withdrawn too early, minutes after providers were changed in a way that did nothing",
        due_to: &[CauseKind::Keys],
        play: |world| {
            world.change_around(ChangeKind::Identity);
            for _ in 0..240 {
                assert!(world.step(&mut |_| {}, &everybody).is_none(), "there is no spike");
            }
            let unknown = rejected(CredentialProblemKind::UnknownKey);
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &unknown, UNKNOWN_KEY), &|_| None)
        },
    },
    Incident {
        name: "a proxy is not trusted any more",
        due_to: &[CauseKind::ConfigChange],
        play: |world| {
            world.change_around(ChangeKind::ClientAddress);
            let proxied = |request| {
                let client = ClientAddress::known("10.200.0.5".parse().unwrap());
                KeptRequest { client, ..not_looked_at(request) }
            };
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &proxied, NOT_ALLOWED), &|_| None)
        },
    },
    Incident {
        name: "credentials are tried, and another proxy is trusted that nobody comes through",
        due_to: &[CauseKind::Attack],
        play: |world| {
            world.change_around(ChangeKind::ClientAddress);
            play(world, &mut |world, _| world.guess(6.0, 30), &everybody)
        },
    },
    Incident {
        name: "keys of the office alone were withdrawn, and its clients try again and again",
        due_to: &[CauseKind::Keys],
        play: |world| {
            world.change_around(ChangeKind::Keys);
            let unknown = rejected(CredentialProblemKind::UnknownKey);
            play(world, &mut |world, _| world.refuse(0..OFFICE, 40.0, &unknown, UNKNOWN_KEY), &nobody_in_office)
        },
    },
    // What nothing here explains: it is to be said.
    Incident {
        name: "after a start with another version some are refused what they could",
        due_to: &[],
        play: |world| {
            world.change_around(ChangeKind::Start);
            let outcome =
                play(world, &mut |world, _| world.refuse(0..OFFICE, 0.5, &|it| it, NO_GRANT), &nobody_in_office);
            let (_, explained) = outcome.as_ref().unwrap();
            assert!(explained.not_ruled_out.iter().any(|what| what.starts_with("it at ")), "{explained:#?}");
            outcome
        },
    },
    Incident {
        name: "all ask for what they never could, though nothing changed",
        due_to: &[],
        play: |world| {
            world.change(ChangeKind::Policy, unrelated);
            let mut ask = |world: &mut World, _| {
                for _ in 0..world.dice.come(6.0 * STEP) {
                    let person = world.dice.below(OFFICE + HOME);
                    let request = world.asks(person, "/files/new");
                    world.add(request, NO_GRANT);
                }
            };
            play(world, &mut ask, &everybody)
        },
    },
    Incident {
        name: "the store cannot be asked",
        due_to: &[],
        play: |world| {
            let unavailable = Answered::Refused(ReasonCode::DependencyStoreUnavailable);
            play(world, &mut |world, _| world.refuse(0..OFFICE + HOME, 0.5, &|it| it, unavailable), &|_| None)
        },
    },
];

fn not_looked_at(request: KeptRequest) -> KeptRequest {
    KeptRequest { identity: KeptIdentity::NotLookedAt, ..request }
}

fn rejected(kind: CredentialProblemKind) -> impl Fn(KeptRequest) -> KeptRequest {
    move |request| KeptRequest { identity: KeptIdentity::Rejected(kind), ..request }
}

fn in_office(person: usize) -> bool {
    person < OFFICE
}

const NOT_ALLOWED: Answered = Answered::Refused(ReasonCode::IpNotAllowed);
pub(super) const NO_GRANT: Answered = Answered::Refused(ReasonCode::RbacNoMatchingGrant);
const INVALID: Answered = Answered::Refused(ReasonCode::AuthnInvalid);
const UNKNOWN_KEY: Answered = Answered::Refused(ReasonCode::AuthnUnknownKey);

const WRONG_ISSUER: Answered = Answered::Refused(ReasonCode::AuthnWrongIssuer);
const STEP_UP: Answered = Answered::Refused(ReasonCode::StepUpRequired);

/// More than a calibration allows, and less than what is built in does.
fn risky(request: KeptRequest) -> KeptRequest {
    KeptRequest { risk: Some(KeptRisk { mnats: 1_200, evidence: true, stated: None }), ..request }
}

fn nobody_in_office(person: usize) -> Option<u16> {
    (!in_office(person)).then_some(200)
}
