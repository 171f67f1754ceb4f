//! Incidents as they come: among other refusals, several at once, at the moment of changes that do nothing, with retries, and growing slowly.
//!
//! A small world is played through the lookout itself, with the default length of a bucket, on a clock of the test's. Each incident is labelled
//! with what it is due to, and begins at some moment of a bucket. The same seeds give the same incidents.

use super::*;
use std::time::Duration;

/// Numbers that look random, from a seed (SplitMix64).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    /// From nought to one.
    fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// How many come, of so many to be expected (Poisson).
    fn come(&mut self, expected: f64) -> usize {
        let mut left = expected;
        let mut come = 0;
        loop {
            left += self.share().max(1e-12).ln();
            if left < 0.0 {
                return come;
            }
            come += 1;
        }
    }
}

/// Somebody who comes by themselves.
#[derive(Debug, Clone)]
struct Regular {
    user: String,
    client: String,
    software: &'static str,
    /// Requests a second.
    rate: f64,
}

const STEP: f64 = 0.5;
const OFFICE: usize = 40;
const HOME: usize = 20;

/// A gateway with its people, and the refusals of every day.
#[derive(Clone)]
struct World {
    dice: Dice,
    seconds: f64,
    people: Vec<Regular>,
    policy: Arc<Policy>,
    sample: Sample,
    lookout: Lookout,
    counted: BucketCounts,
}

impl World {
    /// At a moment at which it is known what is usual.
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let people = (0..OFFICE + HOME).map(|person| Regular {
            user: format!("person-{person}"),
            client: match person {
                // Behind two addresses.
                person if person < OFFICE => format!("203.0.113.{}", 10 + person % 2),
                person => format!("198.51.100.{}", person),
            },
            software: ["reporter/1.2", "Chrome/130", "Firefox/140"][person % 3],
            rate: 0.02 + 0.3 * dice.share().powi(2),
        });
        let people = people.collect();
        let mut world = Self {
            people,
            dice,
            seconds: 0.0,
            policy: Arc::new(compiled(&draft())),
            sample: Sample::new(SampleLimits { recent: 1_000, most: 6_000, refusals: 8_192 }),
            lookout: Lookout::new(SpikeSettings::default(), moment(0.0)),
            counted: BucketCounts::default(),
        };
        let more = world.dice.below(60);
        for _ in 0..(400 + more) {
            assert!(world.step(&mut |_| {}, &|_| Some(200)).is_none(), "there is no spike");
        }
        world
    }

    fn now(&self) -> Timestamp {
        moment(self.seconds).wall
    }

    fn add(&mut self, request: KeptRequest, answered: Answered) {
        let seen = Seen { request, answered };
        self.counted.requests += 1;
        self.counted.refused += u64::from(seen.is_refused());
        self.sample.add(seen, &self.policy);
    }

    fn asks(&self, person: usize, path: &str) -> KeptRequest {
        let Regular { user, client, software, .. } = &self.people[person];
        request(&Who { user: Some(user), client: client.clone(), path, software }, self.now())
    }

    /// Half a second. `fate` is what becomes of a request of somebody who comes as ever: `None`, they do not; `more` is what else there is.
    fn step(&mut self, more: &mut dyn FnMut(&mut Self), fate: &dyn Fn(usize) -> Option<u16>) -> Option<Found> {
        self.seconds += STEP;
        for person in 0..self.people.len() {
            let expected = self.people[person].rate * STEP;
            for _ in 0..self.dice.come(expected) {
                let Some(status) = fate(person) else { continue };
                let request = self.asks(person, &format!("/reports/{}", self.counted.requests % 50));
                self.add(request, Answered::Permitted(status));
            }
        }
        // Every day somebody asks for what they may not have, shows a token that has expired, or scans.
        for _ in 0..self.dice.come(0.3 * STEP) {
            let person = self.dice.below(OFFICE);
            let request = self.asks(person, "/files/x");
            self.add(request, Answered::Refused(ReasonCode::RbacNoMatchingGrant));
        }
        for _ in 0..self.dice.come(0.1 * STEP) {
            let number = self.dice.below(5_000);
            let client = format!("100.{}.{}.1", 64 + number / 250, number % 250);
            let who = Who { user: None, client, path: &format!("/{number}.php"), software: "zgrab/0.x" };
            let request = KeptRequest { identity: KeptIdentity::Anonymous, ..request(&who, self.now()) };
            self.add(request, Answered::Refused(ReasonCode::RouteNotFound));
        }
        more(self);
        let now = moment(self.seconds);
        look(&mut self.lookout, now, self.counted, &self.sample)
    }

    fn change(&mut self, kind: ChangeKind, edit: impl FnOnce(&mut PolicyDraft)) {
        let mut draft = draft();
        edit(&mut draft);
        let after = Arc::new(compiled(&draft));
        let before = Arc::clone(&self.policy);
        let about = String::new();
        self.lookout.note(RecentChange { at: self.now(), kind, before, together: None, after: Arc::clone(&after), about });
        if kind != ChangeKind::Rollout {
            self.policy = after;
        }
    }

    /// What cannot be undone on requests changes.
    fn change_around(&mut self, kind: ChangeKind) {
        let policy = Arc::clone(&self.policy);
        let change =
            RecentChange { at: self.now(), kind, before: Arc::clone(&policy), together: None, after: policy, about: "it".into() };
        self.lookout.note(change);
    }

    /// Thresholds that were worked out come into force, of a policy by which risk decides.
    fn calibrate(&mut self, step_up_mnats: i32) {
        let mut enforcing = draft();
        enforcing.risk.enforce = true;
        let before = Arc::new(compiled(&enforcing));
        self.policy = calibrated(&before, step_up_mnats);
        let (at, after, kind) = (self.now(), Arc::clone(&self.policy), ChangeKind::Calibration);
        self.lookout.note(RecentChange { at, kind, before, together: None, after, about: String::new() });
    }

    /// People of these come, as often as ever and so many times again, and are refused.
    fn refuse(
        &mut self,
        people: std::ops::Range<usize>,
        retries: f64,
        of: &dyn Fn(KeptRequest) -> KeptRequest,
        answered: Answered,
    ) {
        for person in people {
            let expected = self.people[person].rate * (1.0 + retries) * STEP;
            for _ in 0..self.dice.come(expected) {
                let request = of(self.asks(person, &format!("/reports/{}", self.counted.requests % 50)));
                self.add(request, answered);
            }
        }
    }

    /// So many guesses a second of strangers from so many networks.
    fn guess(&mut self, rate: f64, networks: usize) {
        for _ in 0..self.dice.come(rate * STEP) {
            let client = format!("10.{}.1.{}", self.dice.below(networks), self.dice.below(200));
            let who = Who { user: None, client, path: "/reports/1", software: "Chrome/130" };
            let identity = KeptIdentity::Rejected(CredentialProblemKind::Invalid);
            let request = KeptRequest { identity, ..request(&who, self.now()) };
            self.add(request, Answered::Refused(ReasonCode::AuthnInvalid));
        }
    }
}

fn moment(seconds: f64) -> Moment {
    let steady = Duration::from_secs_f64(seconds);
    Moment { steady, wall: start().checked_add(steady).unwrap() }
}

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
const NO_GRANT: Answered = Answered::Refused(ReasonCode::RbacNoMatchingGrant);
const INVALID: Answered = Answered::Refused(ReasonCode::AuthnInvalid);
const UNKNOWN_KEY: Answered = Answered::Refused(ReasonCode::AuthnUnknownKey);

const WRONG_ISSUER: Answered = Answered::Refused(ReasonCode::AuthnWrongIssuer);
const STEP_UP: Answered = Answered::Refused(ReasonCode::StepUpRequired);

/// More than a calibration allows, and less than what is built in does.
fn risky(request: KeptRequest) -> KeptRequest {
    KeptRequest { risk: Some(KeptRisk { mnats: 1_200, evidence: true, stated: None }), ..request }
}

/// What is said first, and when, in seconds from the beginning.
type Outcome = Option<(f64, Explained)>;

/// Plays an incident for two minutes: what comes besides in each step, and what becomes of those who come as ever.
fn play(world: &mut World, more: &mut dyn FnMut(&mut World, f64), fate: &dyn Fn(usize) -> Option<u16>) -> Outcome {
    let began = world.seconds;
    for _ in 0..240 {
        let since = world.seconds - began;
        if let Some(found) = world.step(&mut |world| more(world, since), fate) {
            return Some((world.seconds - began, found.explained));
        }
    }
    None
}

/// An incident, and what it is due to: the first is the largest part.
struct Incident {
    name: &'static str,
    due_to: &'static [CauseKind],
    play: fn(&mut World) -> Outcome,
}

fn everybody(_: usize) -> Option<u16> {
    Some(200)
}

fn nobody_in_office(person: usize) -> Option<u16> {
    (!in_office(person)).then_some(200)
}

const INCIDENTS: &[Incident] = &[
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

const SEEDS: u64 = 24;

/// At least 95 of 100 are put down to what they are due to, within two minutes; never is more than all of it explained, and what nothing explains is
/// left unexplained.
#[test]
fn mixed_incidents_are_put_down_to_their_causes() {
    let (mut right, mut all) = (0, 0);
    let mut times: Vec<f64> = Vec::new();
    for seed in 0..SEEDS {
        let world = World::new(seed);
        for Incident { name, due_to, play } in INCIDENTS {
            all += 1;
            let Some((took, explained)) = play(&mut world.clone()) else {
                println!("{name} ({seed}): nothing is said");
                continue;
            };
            times.push(took);
            let shares: u64 = explained.causes.iter().map(|cause| cause.share_percent).sum();
            let excess = explained.observed - explained.expected;
            let said: u64 = explained.causes.iter().map(|cause| cause.requests).sum::<u64>() + explained.unexplained;
            assert!(shares <= 100 && said == excess, "{name} ({seed}): {explained:#?}");
            let kinds: Vec<CauseKind> = explained.causes.iter().map(|cause| cause.kind).collect();
            let is_right = match due_to {
                [] => explained.unexplained * 10 >= excess * 8,
                due_to => kinds.starts_with(due_to) && explained.unexplained * 5 <= excess,
            };
            if is_right {
                right += 1;
            } else {
                println!("{name} ({seed}), after {took} s: {}", explained.in_words().join("\n    "));
            }
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{right} of {all}; explained after {} s (median), {} s (last)",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    assert!(right * 100 >= all * 95, "{right} of {all}");
    assert!(times.iter().all(|took| *took <= 60.0), "{times:?}");
}

/// What is no incident: more requests with as many refusals among them, a job at night that is let in, and a gateway that nobody uses for a while.
#[test]
fn what_is_no_incident_is_none() {
    for seed in 0..8 {
        let world = World::new(seed);
        let growing = play(
            &mut world.clone(),
            &mut |world, since| {
                // Ten times as much within a minute, with its refusals.
                let times = (since / 6.0).min(9.0);
                for _ in 0..world.dice.come(8.0 * times * STEP) {
                    let person = world.dice.below(OFFICE + HOME);
                    let request = world.asks(person, "/reports/9");
                    let refused = world.dice.below(25) == 0;
                    world.add(request, if refused { NO_GRANT } else { Answered::Permitted(200) });
                }
            },
            &everybody,
        );
        assert!(growing.is_none(), "{seed}: {growing:#?}");
        let job = play(
            &mut world.clone(),
            &mut |world, _| {
                for _ in 0..20 {
                    let who = Who {
                        user: Some("job"),
                        client: "203.0.113.200".to_owned(),
                        path: "/reports/1",
                        software: "job/1",
                    };
                    let request = request(&who, world.now());
                    world.add(request, Answered::Permitted(200));
                }
            },
            &everybody,
        );
        assert!(job.is_none(), "{seed}: {job:#?}");
        let quiet = play(&mut world.clone(), &mut |_, _| {}, &|_| None);
        assert!(quiet.is_none(), "{seed}: {quiet:#?}");
    }
}

/// A steady load of whatever size, also one whose refusals come in bursts: days of it, with the looks into buckets that are being filled.
#[test]
fn at_a_steady_load_there_is_hardly_ever_a_spike() {
    const BUCKETS: u64 = 8_640 * 2;
    let mut alarms = 0;
    let mut days = 0;
    for (seed, mean, burst) in
        [(1, 0.2, 1), (2, 3.0, 1), (3, 20.0, 1), (4, 150.0, 1), (5, 3.0, 4), (6, 40.0, 4), (7, 1.0, 8)]
    {
        let mut dice = Dice(seed);
        let mut charts = Charts::new(&SpikeSettings::default());
        let mut of_this = 0;
        for _ in 0..BUCKETS {
            let mut so_far = BucketCounts::default();
            let mut early = false;
            for _ in 0..4 {
                let bursts = dice.come(mean / 4.0 / burst as f64);
                so_far.refused += u64::try_from(bursts).unwrap() * burst;
                so_far.requests += 100 + dice.next() % 10;
                let standing = charts.would_stand(so_far);
                early |= matches!(standing, Standing::Spike { new: true, .. });
            }
            let ended = charts.add(so_far);
            if early || matches!(ended, Standing::Spike { new: true, .. }) {
                of_this += 1;
            }
        }
        println!("{mean} refusals in a bucket, {burst} at once: {of_this} alarms in 2 days");
        alarms += of_this;
        days += 2;
    }
    assert!(alarms * 4 <= days, "{alarms} false alarms in {days} days");
}
