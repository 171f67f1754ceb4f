//! What a comparison answers: the classes of requests that are answered otherwise, and what they come to.

use super::*;

/// The difference between two policies.
#[derive(Debug, Clone, Default)]
pub struct PolicyDiff {
    /// Every class of requests whose answer changes: those that loosen first, then by place and caller.
    pub classes: Vec<ChangedClass>,
    /// What was left out because a bound was reached, a sentence each. Not empty: any change may hide there.
    pub incomplete: Vec<String>,
}

/// What a difference comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Every request is answered alike.
    None,
    /// Some requests get further, and none less far.
    Loosens,
    /// Some requests get less far, and none further.
    Tightens,
    /// Both, or it is not known.
    Mixed,
}

impl Effect {
    /// `none`, `loosens`, `tightens` or `mixed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loosens => "loosens",
            Self::Tightens => "tightens",
            Self::Mixed => "mixed",
        }
    }
}

impl PolicyDiff {
    /// What the difference comes to as a whole. An incomplete one counts as mixed.
    pub fn effect(&self) -> Effect {
        let has = |effect: Effect| self.classes.iter().any(|class| class.effect() == effect);
        match (has(Effect::Loosens), has(Effect::Tightens)) {
            _ if !self.incomplete.is_empty() => Effect::Mixed,
            (true, true) => Effect::Mixed,
            (true, false) => Effect::Loosens,
            (false, true) => Effect::Tightens,
            (false, false) => Effect::None,
        }
    }
}

/// A class of requests whose answer changes, all of them from one answer to one other, by the same rules.
#[derive(Debug, Clone)]
pub struct ChangedClass {
    /// The answer before.
    pub before: ExampleAnswer,
    /// The answer after.
    pub after: ExampleAnswer,
    /// Whether all of the class have these reasons and rules. False where asking for them would have taken more than a bound:
    /// then the outcomes are those of all, and reasons and rules those of the example alone. (Why a credential is refused it
    /// says of itself: of whoever sends a bad one the reason is always that of the example.)
    pub is_uniform: bool,
    /// Where: at most [`Self::MOST_PLACES`].
    pub places: Vec<ChangedPlace>,
    /// How many further places there are.
    pub more_places: usize,
    /// The callers, any of them: `user:alice`, `user:*` for any user whom no rule names there, `authenticated` for any verified
    /// principal, `anonymous`, or a sentence.
    pub callers: Vec<String>,
    /// How many further callers there are.
    pub more_callers: usize,
    /// What the credential must carry besides: one of each list (`group:NAME`, `role:NAME`).
    pub claims: Vec<Vec<String>>,
    /// Under which circumstances; empty: under all.
    pub when: Vec<Circumstance>,
    /// One request of the class.
    pub example: ExampleRequest,
    pub(super) regions: Vec<report::Region>,
}

impl ChangedClass {
    /// The most places that one class lists.
    pub const MOST_PLACES: usize = 64;

    /// Whether the class gets further (`Loosens`) or less far (`Tightens`); `None` when only the reason changes. From least
    /// to most: deny, undecided, challenge, step-up, permit.
    pub fn effect(&self) -> Effect {
        match distance(self.after.outcome).cmp(&distance(self.before.outcome)) {
            std::cmp::Ordering::Less => Effect::Loosens,
            std::cmp::Ordering::Equal => Effect::None,
            std::cmp::Ordering::Greater => Effect::Tightens,
        }
    }
}

/// How far an outcome is from a permit.
pub(super) fn distance(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Permit => 0,
        Outcome::StepUp => 1,
        Outcome::Challenge => 2,
        Outcome::Undecided => 3,
        Outcome::Deny => 4,
    }
}

/// An answer to an example, and to the rest of its class where that is [`ChangedClass::is_uniform`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleAnswer {
    /// The outcome; the whole class has it.
    pub outcome: Outcome,
    /// The reason.
    pub reason: Option<Reason>,
    /// The rule that decided.
    pub rule: Option<RuleRef>,
}

/// Where an answer changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangedPlace {
    /// The route before and after, by name; `None`: there is none.
    pub routes: [Option<String>; 2],
    /// The host as a route names it; `None`: any host that no route names.
    pub host: Option<String>,
    /// The path as a pattern, in which `*` is any segment that no action or route names there.
    pub path: String,
    /// The methods; `*` alone for all, `*` among others for all that no action names.
    pub methods: Vec<String>,
}

/// A fact that must be one of some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Circumstance {
    /// `network`, `country`, `time`, `device`, `assurance`, `risk` or `activation`.
    pub fact: &'static str,
    /// Any of these, in words.
    pub values: Vec<String>,
}
