//! What a score was worked out from, so that it can be worked out again: counts and yes-or-no facts, no names, places or addresses.
//!
//! As text it is what an event keeps (`risk.inputs`), some 40 to 200 bytes: the form, then parts between semicolons, those that say nothing
//! left out, such as `1;h40;nas64500;l640.12.c640.9.a0.1.n0.0;u0/1024`. [`Inputs::score`] works out the same signals and the same sum from it as the
//! live gateway did, bit for bit: both are the same functions.

mod parts;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use portcullis_policy::{RiskAssessment, SignalFamily};
use thiserror::Error;

use crate::Caller;
use crate::score::{Weights, total};
use crate::signal::{Facts, fired};
use crate::words;

/// The inputs of one score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub(crate) facts: Facts,
    pub(crate) weights: Arc<Weights>,
}

/// How risky a caller looks, and from what that was worked out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessed {
    /// Its signals have no words until somebody [tells](Inputs::tell) them.
    pub assessment: RiskAssessment,
    /// `None` where there is no signal.
    pub inputs: Option<Box<Inputs>>,
}

impl Assessed {
    pub(crate) fn of(assessment: RiskAssessment) -> Self {
        Self { assessment, inputs: None }
    }

    /// The assessment with its words. `caller` is the one that was assessed.
    #[must_use]
    pub fn told(self, caller: &Caller<'_>) -> RiskAssessment {
        self.with_words(caller).assessment
    }

    /// The same with its words.
    #[must_use]
    pub fn with_words(mut self, caller: &Caller<'_>) -> Self {
        self.tell(caller);
        self
    }

    /// Whether its signals have their words. Without signals there are none to have.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.assessment.signals.iter().any(|signal| signal.reason.is_empty())
    }

    /// Gives the signals their words, where they have none yet.
    pub fn tell(&mut self, caller: &Caller<'_>) {
        let silent = !self.is_told();
        if let Some(inputs) = self.inputs.as_ref().filter(|_| silent) {
            inputs.tell(&mut self.assessment, caller);
        }
    }
}

/// What inputs come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// The sum in milli-nats.
    pub mnats: i32,
    /// The signals by name with their family and their milli-nats, the strongest first.
    pub signals: Vec<(&'static str, SignalFamily, i32)>,
    /// Something could not be looked up.
    pub degraded: bool,
}

/// A text that is none of this version's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InputsError {
    /// Another version wrote it.
    #[error("the inputs are written in a form that this version does not know")]
    Form,
    /// A part says nothing that can be read. Perhaps the text was cut.
    #[error("a part of the inputs cannot be read")]
    Part,
}

impl Inputs {
    /// Works out the score.
    #[must_use]
    pub fn score(&self) -> Score {
        let (fired, _) = fired(&self.facts, &self.weights);
        let signals: Vec<_> =
            fired.iter().flatten().map(|fired| (fired.kind.name(), fired.kind.family(), fired.mnats)).collect();
        let mnats = total(signals.iter().map(|(_, family, mnats)| (*family, *mnats)));
        Score { mnats, signals, degraded: self.facts.degraded }
    }

    /// Gives the signals of the assessment that was made from these inputs their words. Until then they have none. `caller` is the one that
    /// was assessed.
    pub fn tell(&self, assessment: &mut RiskAssessment, caller: &Caller<'_>) {
        words::tell(assessment, &self.facts, &self.weights, caller);
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        parts::write(&self.facts, &self.weights, formatter)
    }
}

impl FromStr for Inputs {
    type Err = InputsError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InputsError> {
        let (facts, weights) = parts::read(text)?;
        Ok(Self { facts, weights: Arc::new(weights) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Settings;
    use crate::signal::assessment;
    use crate::signal::tests::{any_facts, any_weights, whoever};

    #[test]
    fn inputs_are_read_as_they_are_written() {
        let check = |text: &str, expected: Result<(), InputsError>| {
            let read = text.parse::<Inputs>();
            assert_eq!(read.as_ref().map(|_| ()).map_err(|error| *error), expected, "{text}");
            if let Ok(read) = read {
                assert_eq!(read.to_string(), text);
            }
        };
        check("1", Ok(()));
        check("1;h40;nas64500;l640.12.c640.9.a0.1.n0.0;u0/1024;o0/40;t6365000.57600.900", Ok(()));
        check("1;h64;nccNZ;s7;c1;v;x;p?;q2500;b+;f7/3;y5;k;m;g", Ok(()));
        check("1;wn1500.-3000.4000+", Ok(()));
        check("2;h40", Err(InputsError::Form));
        check("", Err(InputsError::Form));
        check("1;h", Err(InputsError::Part));
        check("1;h4x", Err(InputsError::Part));
        check("1;z9", Err(InputsError::Part));
        check("1;nas", Err(InputsError::Part));
        check("1;h40;u0/", Err(InputsError::Part));
    }

    #[test]
    fn what_is_usual_in_an_event_fits_into_two_hundred_bytes() {
        let inputs: Inputs =
            "1;h4096;nccNZ;l65536.100000.c0.0.a0.0.n0.0;d-;u0/65536;o0/7140;t19000000.57600.900v".parse().unwrap();
        assert!(inputs.to_string().len() <= 200);
        let names: Vec<_> = inputs.score().signals.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["network.new", "device.new", "user_agent.new", "travel.impossible", "hour.unusual"]);
    }

    proptest! {
        /// The whole of a replay: from the text of an event the same score, the same signals, in the same order.
        #[test]
        fn a_score_is_worked_out_again_from_its_text(facts in any_facts(), weights in any_weights()) {
            let found = assessment(&facts, &weights);
            let inputs = Inputs { facts, weights: Arc::new(weights) };
            let read: Inputs = inputs.to_string().parse().unwrap();
            let score = read.score();
            prop_assert_eq!(score.mnats, found.mnats);
            prop_assert_eq!(score.degraded, found.degraded);
            let signals: Vec<_> = found.signals.iter().map(|signal| (signal.name, signal.family, signal.mnats)).collect();
            prop_assert_eq!(score.signals, signals);
            prop_assert_eq!(read.to_string(), inputs.to_string());
            prop_assert!(inputs.to_string().len() <= 1_024, "{}", inputs);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(1;)?[a-z0-9./;+?-]{0,80}") {
            if let Ok(inputs) = text.parse::<Inputs>() {
                let score = inputs.score();
                prop_assert!((-3_000..=11_000).contains(&score.mnats));
            }
        }

        #[test]
        fn told_signals_are_those_that_were_summed_up(facts in any_facts()) {
            let weights = Weights::of(&Settings::default());
            let mut found = assessment(&facts, &weights);
            let silent = found.clone();
            Inputs { facts, weights: Arc::new(weights) }.tell(&mut found, &whoever());
            prop_assert_eq!(found.mnats, silent.mnats);
            prop_assert_eq!(found.signals.len(), silent.signals.len());
            for (told, silent) in found.signals.iter().zip(&silent.signals) {
                prop_assert!(!told.value.is_empty() && !told.reason.is_empty());
                prop_assert_eq!((told.name, told.mnats), (silent.name, silent.mnats));
            }
        }
    }
}
