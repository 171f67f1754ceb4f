//! Thresholds that are worked out from the scores of good traffic, and which of them are in force.

use std::sync::Arc;

use jiff::Timestamp;

use super::RiskEngine;
use crate::CallerKeys;
use crate::calibration::{Calibration, CalibrationError, Settled};
use crate::moment::Moment;
use crate::settings::{Calibrate, Settings};

impl RiskEngine {
    /// Counts the score of a request that the engine learns from, where thresholds are to be worked out: `sensitivity` is that of its resource, 0
    /// low, 1 normal, 2 high. Only users count: nobody else can be asked to step up.
    pub fn count_passed(&self, keys: &CallerKeys, sensitivity: usize, mnats: i32, now: Timestamp) {
        if let Some(key) = keys.principal
            && self.plan.load().settings.step_up_budget.is_some()
        {
            self.passed.note(key, sensitivity, mnats, Moment::from(now).ticks);
        }
    }

    /// Works out thresholds from what was counted, as a record that is not in force yet. `by_itself`: nobody looks at it before it is, so that it raises
    /// no threshold by more than a quarter of a nat; and what was counted counts half from then on.
    ///
    /// # Errors
    /// There is no budget, or too little was counted.
    pub fn calibrate(&self, made_at: Timestamp, by_itself: bool) -> Result<Arc<Calibration>, CalibrationError> {
        let budget = self.plan.load().settings.step_up_budget.ok_or(CalibrationError::NoBudget)?;
        let counts = self.passed.counts();
        let in_force = self.calibrations.in_force();
        let made = self.calibrations.make(|number| {
            let made = Calibration::of(&counts, budget, number, made_at)?;
            Ok(if by_itself { made.rising_slowly_from(in_force.as_deref()) } else { made })
        })?;
        if by_itself {
            self.passed.fade();
        }
        self.journal.ban_changed();
        Ok(made)
    }

    /// `[risk] step_up_budget` in millionths, and how many visits of users were counted for each sensitivity.
    pub fn counted(&self) -> (Option<u32>, [u64; 3]) {
        (self.plan.load().settings.step_up_budget, self.passed.counts().totals())
    }

    /// Whether the gateway itself has thresholds worked out once a day.
    pub fn calibrates_daily(&self) -> bool {
        let plan = self.plan.load();
        plan.settings.step_up_budget.is_some() && plan.settings.calibrate == Calibrate::Daily
    }

    /// The calibration in force, for who puts its thresholds into a policy: `None` also where the policy has no budget.
    pub fn calibration(&self) -> Option<Arc<Calibration>> {
        self.plan.load().settings.step_up_budget?;
        self.calibrations.in_force()
    }

    /// What [`Self::take_calibration_back`] would put in force: `Some(None)` is what is built in; `None`: none was put in force.
    pub fn calibration_before(&self) -> Option<Option<Arc<Calibration>>> {
        self.calibrations.before()
    }

    /// The calibration that was put in force last, whatever the settings say of it: it changes by an order alone.
    pub fn calibration_put(&self) -> Option<Arc<Calibration>> {
        self.calibrations.under(None)
    }

    /// The calibration that would be in force with these settings.
    pub fn calibration_under(
        &self,
        settings: &Settings,
        digest_of: impl Fn(&str) -> [u8; 32],
    ) -> Option<Arc<Calibration>> {
        settings.step_up_budget?;
        match settings.calibrate {
            Calibrate::Named(digest) => self.calibrations.under(Some(&|made| digest_of(&made.text()) == digest)),
            Calibrate::Daily | Calibrate::ByHand => self.calibrations.under(None),
        }
    }

    /// Has in force what the settings of now say. Whoever calls it puts its thresholds into the policy. `digest_of`: SHA-256.
    pub fn settle_calibration(&self, digest_of: impl Fn(&str) -> [u8; 32]) -> Settled {
        match self.plan.load().settings.calibrate {
            Calibrate::Named(digest) => self.calibrations.settle(Some(&|made| digest_of(&made.text()) == digest)),
            Calibrate::Daily | Calibrate::ByHand => self.calibrations.settle(None),
        }
    }

    /// The digest of the one that the configuration names, where it names one.
    pub fn named_calibration(&self) -> Option<[u8; 32]> {
        match self.plan.load().settings.calibrate {
            Calibrate::Named(digest) => Some(digest),
            Calibrate::Daily | Calibrate::ByHand => None,
        }
    }

    /// All that are kept, the latest first.
    pub fn calibrations(&self) -> Vec<Arc<Calibration>> {
        self.calibrations.all()
    }

    /// One of them.
    pub fn calibration_named(&self, id: &str) -> Option<Arc<Calibration>> {
        self.calibrations.find(id)
    }

    /// When the last one was made.
    pub fn last_calibrated(&self) -> Option<Timestamp> {
        self.calibrations.last_made()
    }

    /// Puts one in force. Whoever calls it puts its thresholds into the policy.
    ///
    /// # Errors
    /// There is none of that id, or the configuration says which one is in force.
    pub fn put_calibration(&self, id: &str) -> Result<Arc<Calibration>, CalibrationError> {
        self.is_left_to_operators()?;
        let put = self.calibrations.put_in_force(id)?;
        self.journal.ban_changed();
        Ok(put)
    }

    /// Takes the one in force back. The answer is what was in force before it; `None`: what is built in.
    ///
    /// # Errors
    /// None is in force, or the configuration says which one is.
    pub fn take_calibration_back(&self) -> Result<Option<Arc<Calibration>>, CalibrationError> {
        self.is_left_to_operators()?;
        let before = self.calibrations.take_back()?;
        self.journal.ban_changed();
        Ok(before)
    }

    fn is_left_to_operators(&self) -> Result<(), CalibrationError> {
        match self.named_calibration() {
            Some(_) => Err(CalibrationError::Named),
            None => Ok(()),
        }
    }

    /// What a score means, from 0 to 1,000, by the calibration of this id; `None` where another one is in force.
    pub fn display(&self, id: &str, mnats: i32) -> Option<u16> {
        let in_force = self.calibrations.in_force()?;
        (*in_force.id == *id).then(|| in_force.display(mnats))
    }
}
