//! How a version comes into force step by step, where that is wanted: first it is only evaluated beside the one before it, then it decides for some
//! callers, then for all. What is kept of it is how far it has come, so that a restart goes on from there.

use std::time::Duration;

use crate::change::ChangeId;
use crate::wire::{Malformed, Parser, Writer};

/// The whole, in millionths.
pub const WHOLE_PPM: u32 = 1_000_000;
/// The places of no step: what has come through its steps, what takes none, and what cannot be told.
const ENDING: u32 = u32::MAX;
const AT_ONCE: u32 = u32::MAX - 1;
const HELD: u32 = u32::MAX - 2;
/// Whether something is in a step there.
pub(crate) fn is_step(stage: u32) -> bool {
    stage < HELD
}

/// Steps of a canary.
pub const MAX_STEPS: usize = 16;
/// Callers of a step who are told apart from those of earlier runs of the gateway.
pub const CALLERS_KEPT: usize = 16;
const DOMAIN: &str = "portcullis-rollout-v4";
/// As earlier versions of the program wrote it: without callers, before that without what is newly permitted, and before that without turns.
const DOMAIN_V3: &str = "portcullis-rollout-v3";
const DOMAIN_V2: &str = "portcullis-rollout-v2";
const DOMAIN_V1: &str = "portcullis-rollout-v1";
/// As each version of the program begins: the number and the change come next, whatever follows.
const DOMAINS: &str = "portcullis-rollout-v";

/// The steps: `[governance] shadow`, `canary`, `canary_step`, `max_newly_denied`, `min_denied_callers`, `min_requests`, `min_callers` and `max_wait`. None by
/// default: a version is in force at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stages {
    /// How long it is only evaluated beside the live one; zero: not at all.
    pub shadow: Duration,
    /// For what share of the callers it decides, in millionths, step by step; each larger than the one before. At most 16.
    pub canary: Vec<u32>,
    /// How long each of these lasts.
    pub step: Duration,
    /// It is taken back when it denies something in a larger share of the turns of callers, in millionths: what a caller asks for within a minute is one.
    pub max_newly_denied: u32,
    /// And so many different callers who were let in before. At least 1.
    pub min_denied_callers: u32,
    /// A step does not end by itself before so many requests of it were decided on by both versions ([`Rollout::seen`]); 0: it ends by the clock alone.
    pub min_requests: u32,
    /// Nor before they came from so many different callers, unless it ends by the clock alone: whoever looks every few seconds whether a service is there
    /// tries nothing.
    pub min_callers: u32,
    /// A step whose time is over waits so long for these; then the version is taken back.
    pub max_wait: Duration,
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            shadow: Duration::ZERO,
            canary: Vec::new(),
            step: Duration::from_secs(600),
            max_newly_denied: 1_000,
            min_denied_callers: 3,
            min_requests: 20,
            min_callers: 2,
            max_wait: Duration::from_secs(7 * 86_400),
        }
    }
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// For what share of the callers the new version decides, in millionths; 0 while it is only evaluated.
    pub share: u32,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Stages {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.shadow.is_zero() && self.canary.is_empty()
    }

    /// Whether enough was seen of a step for it to end by itself.
    pub fn is_tried(&self, step: &Rollout) -> bool {
        self.min_requests == 0
            || (step.seen() >= u64::from(self.min_requests) && step.callers >= u64::from(self.min_callers))
    }

    /// The step of this place, from 0; `None`: they are over.
    pub fn at(&self, place: u32) -> Option<Stage> {
        let mut place = usize::try_from(place).ok()?;
        if !self.shadow.is_zero() {
            match place.checked_sub(1) {
                None => return Some(Stage { share: 0, lasts: self.shadow }),
                Some(later) => place = later,
            }
        }
        self.canary.get(place).map(|share| Stage { share: *share, lasts: self.step })
    }
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// The version.
    pub n: u64,
    /// The change that it was.
    pub change: ChangeId,
    /// The step, from 0.
    pub stage: u32,
    /// How long that has lasted while a gateway ran, in milliseconds.
    pub spent_ms: u64,
    /// Requests of this step that were decided on by both versions, and that the one before permits.
    pub requests: u64,
    /// Those of them that the new one would deny, and that count against it.
    pub newly_denied: u64,
    /// Turns of callers: what a caller asks for within a minute is one.
    pub turns: u64,
    /// Those of them in which something was denied that counts against it.
    pub turns_denied: u64,
    /// So many different callers had these, since the gateway started.
    pub callers_denied: u64,
    /// Requests of this step that were decided on by both versions, and that the one before refuses.
    pub refused: u64,
    /// Those of them that the new one would permit.
    pub newly_permitted: u64,
    /// So many different callers had [`Self::seen`].
    pub callers: u64,
    /// Hashes of the first of them, by which they are told apart from those who come after a restart; 0 where there is none.
    pub callers_kept: [u64; CALLERS_KEPT],
}

impl Rollout {
    /// A version that has not come far yet.
    pub fn new(n: u64, change: ChangeId) -> Self {
        Self {
            n,
            change,
            stage: 0,
            spent_ms: 0,
            requests: 0,
            newly_denied: 0,
            turns: 0,
            turns_denied: 0,
            callers_denied: 0,
            refused: 0,
            newly_permitted: 0,
            callers: 0,
            callers_kept: [0; CALLERS_KEPT],
        }
    }

    /// Whether it came through its steps, and nothing was seen in the last of them: whoever looks at it is told, however late its end is written.
    pub fn ended_unseen(&self) -> bool {
        self.stage == ENDING && self.seen() == 0
    }

    /// Requests of this step that say something of the new version: the one before permits them, or the new one does. What both refuse says nothing: whoever
    /// knocks at closed doors makes no step one that was tried.
    pub fn seen(&self) -> u64 {
        self.requests.saturating_add(self.newly_permitted)
    }

    /// The beginning of its next step.
    #[must_use]
    pub fn next(self) -> Self {
        // What is in no step has no next one.
        let stage = if is_step(self.stage) { self.stage.saturating_add(1) } else { self.stage };
        Self { stage, ..Self::new(self.n, self.change) }
    }

    /// It has come through: it is written where it has to be, and then live for everybody.
    #[must_use]
    pub fn ending(self) -> Self {
        Self { stage: ENDING, ..self }
    }

    /// A version that takes no steps, and is written where it has to be: all of it, also over what was edited there.
    #[must_use]
    pub fn at_once(n: u64, change: ChangeId) -> Self {
        Self { stage: AT_ONCE, ..Self::new(n, change) }
    }

    /// A version of which is kept how far it has come, but not so that this program can read it: it is in no step, and none follows.
    pub(crate) fn held(n: u64, change: ChangeId) -> Self {
        Self { stage: HELD, ..Self::new(n, change) }
    }

    /// Whether it is live for everybody, and its files are written. Only the end of a process in between, or a disk that takes no more, leaves that behind.
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, ENDING | AT_ONCE)
    }

    /// Whether it is that without having taken steps.
    pub fn is_at_once(&self) -> bool {
        self.stage == AT_ONCE
    }

    /// Whether nobody can tell how far it has come: the version before it serves everybody until somebody says what is to be.
    pub fn is_held(&self) -> bool {
        self.stage == HELD
    }

    /// Which version a record is of, also one that another version of the program wrote; `None`: it is something else.
    pub fn whose(bytes: &[u8]) -> Option<(u64, ChangeId)> {
        let (domain, mut parser) = Parser::any(bytes).ok()?;
        let number = domain.strip_prefix(DOMAINS)?;
        let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| Some((parser.number().ok()?, ChangeId(parser.array().ok()?)))).flatten()
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.number(self.n);
        writer.fixed(&self.change.0);
        writer.number(u64::from(self.stage));
        let counted = [self.requests, self.newly_denied, self.turns, self.turns_denied, self.callers_denied];
        writer.number(self.spent_ms);
        let more = [self.refused, self.newly_permitted, self.callers];
        counted.into_iter().chain(more).chain(self.callers_kept).for_each(|number| writer.number(number));
        writer.finish()
    }

    /// Reads that.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let of = |domain| Parser::new(bytes, domain);
        // What each version of the program added to the one before.
        let known = [(DOMAIN, 4), (DOMAIN_V3, 3), (DOMAIN_V2, 2), (DOMAIN_V1, 1)];
        let mut parsers = known.into_iter().filter_map(|(domain, version)| Some((of(domain).ok()?, version)));
        let (mut parser, version) = parsers.next().ok_or(Malformed)?;
        let (n, change) = (parser.number()?, ChangeId(parser.array()?));
        let stage = u32::try_from(parser.number()?).map_err(|_| Malformed)?;
        let mut rollout = Self {
            stage,
            spent_ms: parser.number()?,
            requests: parser.number()?,
            newly_denied: parser.number()?,
            ..Self::new(n, change)
        };
        if version >= 2 {
            rollout.turns = parser.number()?;
            (rollout.turns_denied, rollout.callers_denied) = (parser.number()?, parser.number()?);
        }
        if version >= 3 {
            (rollout.refused, rollout.newly_permitted) = (parser.number()?, parser.number()?);
        }
        if version >= 4 {
            rollout.callers = parser.number()?;
            for kept in &mut rollout.callers_kept {
                *kept = parser.number()?;
            }
        }
        parser.end()?;
        Ok(rollout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: ChangeId = ChangeId([7; 16]);

    #[test]
    fn the_steps_come_one_after_the_other() {
        let stages = Stages {
            shadow: Duration::from_secs(60),
            canary: vec![50_000, WHOLE_PPM],
            step: Duration::from_secs(30),
            ..Stages::default()
        };
        let steps: Vec<_> =
            (0..4).map(|place| stages.at(place).map(|stage| (stage.share, stage.lasts.as_secs()))).collect();
        assert_eq!(steps, [Some((0, 60)), Some((50_000, 30)), Some((WHOLE_PPM, 30)), None]);
        let canary = Stages { shadow: Duration::ZERO, ..stages };
        assert_eq!(canary.at(0).map(|stage| stage.share), Some(50_000));
        assert!(Stages::default().is_empty() && Stages::default().at(0).is_none() && !canary.is_empty());
    }

    #[test]
    fn a_step_is_tried_by_enough_requests_of_enough_callers() {
        let check = |(min_requests, min_callers), (requests, newly_permitted, callers), expected| {
            let stages = Stages { min_requests, min_callers, ..Stages::default() };
            let step = Rollout { requests, newly_permitted, callers, ..Rollout::new(3, SEED) };
            assert_eq!(stages.is_tried(&step), expected, "{stages:?} {step:?}");
        };
        check((20, 2), (0, 0, 0), false);
        check((20, 2), (19, 0, 2), false);
        check((20, 2), (1_000, 0, 1), false);
        check((20, 2), (18, 2, 2), true);
        check((20, 0), (20, 0, 0), true);
        check((0, 2), (0, 0, 0), true);
        assert!(!Stages::default().is_tried(&Rollout::new(3, SEED)), "by default nothing comes into force unseen");
        let ended = Rollout::new(3, SEED).ending();
        let seen = Rollout { newly_permitted: 1, ..ended };
        let unseen = [ended, seen, Rollout::new(3, SEED), Rollout::at_once(3, SEED), Rollout::held(3, SEED)];
        assert_eq!(unseen.map(|rollout| rollout.ended_unseen()), [true, false, false, false, false]);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let older = Rollout { stage: 2, spent_ms: 5, requests: 6, newly_denied: 7, ..Rollout::new(3, SEED) };
        let old = Rollout { turns: 8, turns_denied: 9, callers_denied: 10, ..older };
        let last = Rollout { refused: 11, newly_permitted: 4, ..old };
        let mut rollout = Rollout { callers: 12, ..last };
        (rollout.callers_kept[0], rollout.callers_kept[15]) = (13, u64::MAX);
        assert_eq!((rollout.seen(), old.seen()), (10, 6));
        let bytes = rollout.encode();
        assert_eq!(Rollout::decode(&bytes), Ok(rollout));
        assert!(Rollout::decode(&bytes[..bytes.len() - 1]).is_err());
        // A version that was being rolled out when the program was replaced is rolled out still, and not live for everybody.
        let written = |domain, numbers: &[u64]| {
            let mut writer = Writer::new(domain);
            writer.number(3);
            writer.fixed(&SEED.0);
            numbers.iter().for_each(|number| writer.number(*number));
            writer.finish()
        };
        assert_eq!(Rollout::decode(&written(DOMAIN_V1, &[2, 5, 6, 7])), Ok(older));
        assert_eq!(Rollout::decode(&written(DOMAIN_V2, &[2, 5, 6, 7, 8, 9, 10])), Ok(old));
        assert_eq!(Rollout::decode(&written(DOMAIN_V3, &[2, 5, 6, 7, 8, 9, 10, 11, 4])), Ok(last));
        assert_eq!(rollout.next(), Rollout { stage: 3, ..Rollout::new(3, SEED) });
        assert!(rollout.ending().is_ending() && !rollout.is_ending() && !rollout.next().is_ending());
        let at_once = Rollout::at_once(3, SEED);
        assert!(
            Rollout::held(3, SEED).next().is_held()
                && rollout.ending().next().is_ending()
                && at_once.next().is_at_once()
        );
        assert!(at_once.is_ending() && at_once.is_at_once() && !rollout.ending().is_at_once());
        assert_eq!(Rollout::decode(&at_once.encode()), Ok(at_once));
    }

    /// A newer version of the program may keep more: whose it is can be told all the same.
    #[test]
    fn a_record_of_another_version_of_the_program_says_whose_it_is() {
        let of = |domain: &str| {
            let mut writer = Writer::new(domain);
            writer.number(3);
            writer.fixed(&SEED.0);
            writer.text("whatever it keeps");
            writer.finish()
        };
        let newer = of("portcullis-rollout-v5");
        assert_eq!((Rollout::decode(&newer), Rollout::whose(&newer)), (Err(Malformed), Some((3, SEED))));
        for other in ["portcullis-rollout-v", "portcullis-rollout-vx", "portcullis-change-v1", ""] {
            assert_eq!(Rollout::whose(&of(other)), None, "{other}");
        }
        assert_eq!((Rollout::whose(b""), Rollout::whose(&newer[..40])), (None, None));
    }
}
