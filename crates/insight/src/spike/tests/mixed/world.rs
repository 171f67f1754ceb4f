//! A small world: people who come by themselves, each at their own rate, and the refusals of every day.

use std::time::Duration;

use super::*;

/// Numbers that look random, from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    /// From nought to one.
    pub(super) fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// How many come, of so many to be expected (Poisson).
    pub(super) fn come(&mut self, expected: f64) -> usize {
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
pub(super) struct Regular {
    user: String,
    client: String,
    software: &'static str,
    /// Requests a second.
    rate: f64,
}

pub(super) const STEP: f64 = 0.5;
pub(super) const OFFICE: usize = 40;
pub(super) const HOME: usize = 20;

/// A gateway with its people, and the refusals of every day.
#[derive(Clone)]
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) seconds: f64,
    people: Vec<Regular>,
    policy: Arc<Policy>,
    sample: Sample,
    lookout: Lookout,
    counted: BucketCounts,
}

impl World {
    /// At a moment at which it is known what is usual.
    pub(super) fn new(seed: u64) -> Self {
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

    pub(super) fn now(&self) -> Timestamp {
        moment(self.seconds).wall
    }

    pub(super) fn add(&mut self, request: KeptRequest, answered: Answered) {
        let seen = Seen { request, answered };
        self.counted.requests += 1;
        self.counted.refused += u64::from(seen.is_refused());
        self.sample.add(seen, &self.policy);
    }

    pub(super) fn asks(&self, person: usize, path: &str) -> KeptRequest {
        let Regular { user, client, software, .. } = &self.people[person];
        request(&Who { user: Some(user), client: client.clone(), path, software }, self.now())
    }

    /// Half a second. `fate` is what becomes of a request of somebody who comes as ever: `None`, they do not; `more` is what else there is.
    pub(super) fn step(
        &mut self,
        more: &mut dyn FnMut(&mut Self),
        fate: &dyn Fn(usize) -> Option<u16>,
    ) -> Option<Found> {
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

    pub(super) fn change(&mut self, kind: ChangeKind, edit: impl FnOnce(&mut PolicyDraft)) {
        let mut draft = draft();
        edit(&mut draft);
        let after = Arc::new(compiled(&draft));
        let before = Arc::clone(&self.policy);
        let about = String::new();
        self.lookout.note(RecentChange {
            at: self.now(),
            kind,
            before,
            together: None,
            after: Arc::clone(&after),
            about,
        });
        if kind != ChangeKind::Rollout {
            self.policy = after;
        }
    }

    /// What cannot be undone on requests changes.
    pub(super) fn change_around(&mut self, kind: ChangeKind) {
        let policy = Arc::clone(&self.policy);
        let change = RecentChange {
            at: self.now(),
            kind,
            before: Arc::clone(&policy),
            together: None,
            after: policy,
            about: "it".into(),
        };
        self.lookout.note(change);
    }

    /// Thresholds that were worked out come into force, of a policy by which risk decides.
    pub(super) fn calibrate(&mut self, step_up_mnats: i32) {
        let mut enforcing = draft();
        enforcing.risk.enforce = true;
        let before = Arc::new(compiled(&enforcing));
        self.policy = calibrated(&before, step_up_mnats);
        let (at, after, kind) = (self.now(), Arc::clone(&self.policy), ChangeKind::Calibration);
        self.lookout.note(RecentChange { at, kind, before, together: None, after, about: String::new() });
    }

    /// People of these come, as often as ever and so many times again, and are refused.
    pub(super) fn refuse(
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
    pub(super) fn guess(&mut self, rate: f64, networks: usize) {
        for _ in 0..self.dice.come(rate * STEP) {
            let client = format!("10.{}.1.{}", self.dice.below(networks), self.dice.below(200));
            let who = Who { user: None, client, path: "/reports/1", software: "Chrome/130" };
            let identity = KeptIdentity::Rejected(CredentialProblemKind::Invalid);
            let request = KeptRequest { identity, ..request(&who, self.now()) };
            self.add(request, Answered::Refused(ReasonCode::AuthnInvalid));
        }
    }
}

pub(super) fn moment(seconds: f64) -> Moment {
    let steady = Duration::from_secs_f64(seconds);
    Moment { steady, wall: start().checked_add(steady).unwrap() }
}
