//! Thresholds that are worked out from the scores of good traffic, and which of them are in force.

use std::sync::Arc;

use jiff::Timestamp;

use super::RiskEngine;
use crate::CallerKeys;
use crate::calibration::{Calibration, CalibrationError};
use crate::moment::Moment;
use crate::settings::Calibrate;

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

    /// The calibration in force, whether or not the policy has a budget now: for a policy that is to have one.
    pub fn calibration_in_force(&self) -> Option<Arc<Calibration>> {
        self.calibrations.in_force()
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
    /// There is none of that id.
    pub fn put_calibration(&self, id: &str) -> Result<Arc<Calibration>, CalibrationError> {
        let put = self.calibrations.put_in_force(id)?;
        self.journal.ban_changed();
        Ok(put)
    }

    /// Takes the one in force back. The answer is what was in force before it; `None`: what is built in.
    ///
    /// # Errors
    /// None is in force.
    pub fn take_calibration_back(&self) -> Result<Option<Arc<Calibration>>, CalibrationError> {
        let before = self.calibrations.take_back()?;
        self.journal.ban_changed();
        Ok(before)
    }

    /// What a score means, from 0 to 1,000, by the calibration of this id; `None` where another one is in force.
    pub fn display(&self, id: &str, mnats: i32) -> Option<u16> {
        let in_force = self.calibrations.in_force()?;
        (*in_force.id == *id).then(|| in_force.display(mnats))
    }
}
