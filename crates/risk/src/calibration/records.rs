//! The last records, and which of them is in force: in memory, and as the text that a store keeps.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use portcullis_policy::RiskThresholds;

use super::{Calibration, CalibrationError, number_of};
use crate::passed::BUCKETS;

/// Of a process. Requests read the one in force, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Calibrations {
    in_force: ArcSwapOption<Calibration>,
    records: Mutex<Records>,
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Records {
    /// The oldest first. At most [`MOST`].
    made: Vec<Arc<Calibration>>,
    /// What was put in force, the last one last: what is taken back falls away. At most [`MOST`].
    put_in_force: Vec<Arc<str>>,
    /// What the configuration says: nobody has put it in force, and nothing is taken back.
    named: Named,
    /// The number of the last one, also where it is not kept any more.
    last_number: u64,
}

/// Whether the configuration says which one is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Named {
    /// It says nothing: what was put in force last is.
    #[default]
    No,
    /// It says this one.
    One(Arc<str>),
    /// It says one that is not kept here: none is in force.
    Missing,
}

/// What came of the one that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// What was in force is.
    Same,
    /// Another one is in force than before, or none any more.
    Changed(Option<Arc<Calibration>>),
    /// The one that is named is not kept here: the thresholds that are built in hold.
    Missing,
}

const MOST: usize = 32;
/// The first line of what is kept.
const FORM: &str = "calibrations 1";

impl Calibrations {
    /// The one in force.
    pub(crate) fn in_force(&self) -> Option<Arc<Calibration>> {
        self.in_force.load_full()
    }

    /// All of them, the latest first.
    pub(crate) fn all(&self) -> Vec<Arc<Calibration>> {
        self.records().made.iter().rev().map(Arc::clone).collect()
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Calibration>> {
        self.records().made.iter().find(|made| *made.id == *id).map(Arc::clone)
    }

    /// Makes one with the next number. The oldest that is not in force makes room.
    pub(crate) fn make(
        &self,
        make: impl FnOnce(u64) -> Result<Calibration, CalibrationError>,
    ) -> Result<Arc<Calibration>, CalibrationError> {
        let mut records = self.records();
        let made = Arc::new(make(records.last_number.saturating_add(1))?);
        records.last_number = made.number();
        records.made.push(Arc::clone(&made));
        records.bound();
        self.changed.store(true, Ordering::Release);
        Ok(made)
    }

    pub(crate) fn put_in_force(&self, id: &str) -> Result<Arc<Calibration>, CalibrationError> {
        let mut records = self.records();
        let found = records.made.iter().find(|made| *made.id == *id).map(Arc::clone);
        let found = found.ok_or(CalibrationError::Unknown)?;
        if records.put_in_force.last().is_none_or(|last| **last != *found.id) {
            records.put_in_force.push(Arc::clone(&found.id));
        }
        records.bound();
        self.in_force.store(Some(Arc::clone(&found)));
        self.changed.store(true, Ordering::Release);
        Ok(found)
    }

    /// Takes back the one in force. What was in force before it is again; `None`: what is built in.
    pub(crate) fn take_back(&self) -> Result<Option<Arc<Calibration>>, CalibrationError> {
        let mut records = self.records();
        records.put_in_force.pop().ok_or(CalibrationError::NoneInForce)?;
        let before = records.in_force();
        self.in_force.store(before.clone());
        self.changed.store(true, Ordering::Release);
        Ok(before)
    }

    /// What would be in force once the one that was put in force last is taken back: `Some(None)` is what is built in; `None`: none was put in force.
    pub(crate) fn before(&self) -> Option<Option<Arc<Calibration>>> {
        let records = self.records();
        let (_, before) = records.put_in_force.split_last()?;
        let found = before.last().and_then(|id| records.made.iter().find(|made| made.id == *id));
        Some(found.map(Arc::clone))
    }

    /// Has in force what the configuration says: the one of which this is true, or, where it names none, what was put in force last.
    pub(crate) fn settle(&self, named: Option<&dyn Fn(&Calibration) -> bool>) -> Settled {
        let mut records = self.records();
        records.named = match named {
            None => Named::No,
            Some(is_it) => match records.made.iter().find(|made| is_it(made)) {
                Some(found) => Named::One(Arc::clone(&found.id)),
                None => Named::Missing,
            },
        };
        let before = self.in_force.load_full();
        let now = records.in_force();
        self.in_force.store(now.clone());
        match (&records.named, before == now) {
            (Named::Missing, _) => Settled::Missing,
            (Named::No | Named::One(_), true) => Settled::Same,
            (Named::No | Named::One(_), false) => Settled::Changed(now),
        }
    }

    /// What would be in force if the configuration said that.
    pub(crate) fn under(&self, named: Option<&dyn Fn(&Calibration) -> bool>) -> Option<Arc<Calibration>> {
        let records = self.records();
        match named {
            Some(is_it) => records.made.iter().find(|made| is_it(made)).map(Arc::clone),
            None => records.put_last(),
        }
    }

    /// When the last one was made.
    pub(crate) fn last_made(&self) -> Option<Timestamp> {
        self.records().made.last().map(|made| made.made_at)
    }

    pub(crate) fn take_changed(&self) -> Option<Vec<u8>> {
        self.changed.swap(false, Ordering::AcqRel).then(|| self.records().encode().into_bytes())
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    pub(crate) fn mark(&self) {
        if !self.records().made.is_empty() {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Puts back what was kept. Says whether it could be read.
    pub(crate) fn restore(&self, kept: &[u8]) -> bool {
        let Some(restored) = std::str::from_utf8(kept).ok().and_then(Records::decode) else { return false };
        self.in_force.store(restored.in_force());
        *self.records() = restored;
        true
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn in_force(&self) -> Option<Arc<Calibration>> {
        match &self.named {
            Named::No => self.put_last(),
            Named::One(id) => self.made.iter().find(|made| made.id == *id).map(Arc::clone),
            Named::Missing => None,
        }
    }

    /// What was put in force last.
    fn put_last(&self) -> Option<Arc<Calibration>> {
        let id = self.put_in_force.last()?;
        self.made.iter().find(|made| made.id == *id).map(Arc::clone)
    }

    fn bound(&mut self) {
        let named = if let Named::One(id) = &self.named { Some(id) } else { None };
        while self.made.len() > MOST {
            let last = self.put_in_force.last();
            let is_needed = |made: &Arc<Calibration>| Some(&made.id) == last || Some(&made.id) == named;
            let oldest = self.made.iter().position(|made| !is_needed(made)).unwrap_or(0);
            self.made.remove(oldest);
        }
        // Who is not kept any more cannot be taken back to.
        let made = &self.made;
        self.put_in_force.retain(|id| made.iter().any(|made| made.id == *id));
        let over = self.put_in_force.len().saturating_sub(MOST);
        self.put_in_force.drain(..over);
    }

    fn encode(&self) -> String {
        let mut text = format!("{FORM} {}\n", self.last_number);
        for made in &self.made {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "made {}", text_of(made));
        }
        for id in &self.put_in_force {
            let _ = writeln!(text, "put {id}");
        }
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let last_number = lines.next()?.strip_prefix(FORM)?.trim().parse().ok()?;
        let mut records = Self { last_number, ..Self::default() };
        for line in lines {
            match line.split_once(' ')? {
                ("made", rest) if records.made.len() < MOST => records.made.push(Arc::new(made(rest)?)),
                ("put", id) if records.put_in_force.len() < MOST => records.put_in_force.push(id.into()),
                _ => return None,
            }
        }
        records.bound();
        Some(records)
    }
}

/// As a line says it, and as a digest names it.
pub(super) fn text_of(made: &Calibration) -> String {
    // Exhaustive on purpose: what is not here nobody has named.
    let Calibration { id, made_at, budget, counted: [low, normal, high], digest, thresholds, display } = made;
    let thresholds = thresholds
        .map(|each| each.map_or_else(|| "-".to_owned(), |each| format!("{}:{}", each.step_up_mnats, each.deny_mnats)));
    let display: Vec<String> = display.iter().map(u16::to_string).collect();
    let at = made_at.as_microsecond();
    format!("{id} {at} {budget} {low},{normal},{high} {digest:032x} {} {}", thresholds.join(","), display.join(","))
}

fn made(text: &str) -> Option<Calibration> {
    let mut parts = text.split(' ');
    let id = parts.next().filter(|id| number_of(id).is_some())?;
    let made_at = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
    let budget = parts.next()?.parse().ok()?;
    let counted = three(parts.next()?, |count| count.parse().ok())?;
    let digest = u128::from_str_radix(parts.next()?, 16).ok()?;
    let thresholds = three(parts.next()?, |text| match text {
        "-" => Some(None),
        _ => {
            let (step_up, deny) = text.split_once(':')?;
            let read = RiskThresholds { step_up_mnats: step_up.parse().ok()?, deny_mnats: deny.parse().ok()? };
            // Whatever is written there: none that asks for less than any that is worked out.
            Calibration::is_one(read).then_some(Some(read))
        }
    })?;
    let display: Option<Vec<u16>> = parts.next()?.split(',').map(|shown| shown.parse().ok()).collect();
    let display = display.filter(|display| display.len() == BUCKETS)?;
    parts.next().is_none().then_some(Calibration {
        id: id.into(),
        made_at,
        budget,
        counted,
        digest,
        thresholds,
        display,
    })
}

fn three<T: Copy>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<[T; 3]> {
    let read: Option<Vec<T>> = text.split(',').map(read).collect();
    read?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::counts;
    use super::*;

    fn make(all: &Calibrations, of: u32) -> Arc<Calibration> {
        let counts = counts(&[(0, 10_000), (2_000, of)]);
        all.make(|number| Calibration::of(&counts, 10_000, number, Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn one_is_put_in_force_and_taken_back() {
        let all = Calibrations::default();
        assert_eq!(all.take_back(), Err(CalibrationError::NoneInForce));
        assert_eq!(all.put_in_force("c1-00000000"), Err(CalibrationError::Unknown));
        let (first, second) = (make(&all, 50), make(&all, 500));
        assert_eq!(all.in_force(), None);
        all.put_in_force(&first.id).unwrap();
        all.put_in_force(&second.id).unwrap();
        all.put_in_force(&second.id).unwrap();
        assert_eq!(all.in_force().unwrap().id, second.id);
        assert_eq!(all.before(), Some(Some(Arc::clone(&first))));
        assert!(second.display(2_000) > 400, "{}", second.display(2_000));
        assert_eq!(all.take_back().unwrap().unwrap().id, first.id);
        assert_eq!(all.before(), Some(None));
        assert_eq!((all.take_back(), all.before()), (Ok(None), None));
        assert_eq!(all.in_force(), None);
        assert_eq!(all.all().iter().map(|made| made.number()).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn the_last_are_kept_and_the_one_in_force_whatever_its_age() {
        let all = Calibrations::default();
        let first = make(&all, 50);
        all.put_in_force(&first.id).unwrap();
        (0..100).for_each(|n| drop(make(&all, 100 + n)));
        assert_eq!(all.all().len(), MOST);
        assert_eq!((all.in_force().unwrap().id.clone(), all.find(&first.id).is_some()), (first.id.clone(), true));
        let kept = all.take_changed().unwrap();
        assert!(kept.len() < 64 * 1_024, "{}", kept.len());
        assert_eq!(all.take_changed(), None);
        let again = Calibrations::default();
        assert!(again.restore(&kept));
        assert_eq!((again.all(), again.in_force()), (all.all(), all.in_force()));
        assert_eq!(make(&again, 7).number(), 102, "a number is never used twice");
        assert!(
            !again.restore(b"calibrations 2 5\n")
                && !again.restore(&kept[..kept.len() / 2 - 100])
                && !again.restore(&[0xff])
        );
        assert_eq!(again.all().len(), MOST, "what cannot be read changes nothing");
    }

    #[test]
    fn thresholds_that_nobody_works_out_are_not_read() {
        let all = Calibrations::default();
        let made = make(&all, 50);
        let kept = String::from_utf8(all.take_changed().unwrap()).unwrap();
        let threshold = made.thresholds.into_iter().flatten().next().unwrap();
        let own = format!("{}:{}", threshold.step_up_mnats, threshold.deny_mnats);
        let restores = |other: &str| {
            assert!(kept.contains(&own), "{kept}");
            Calibrations::default().restore(kept.replace(&own, other).as_bytes())
        };
        assert!(restores(&own) && restores("4000:6000") && restores("1000:3000"));
        for other in ["4001:6001", "999:2999", "1000:3001", "20000:22000", "2147483647:2147483647", "-1:1999"] {
            assert!(!restores(other), "{other}");
        }
    }

    #[test]
    fn the_one_that_is_named_is_in_force_and_kept_and_no_other() {
        let all = Calibrations::default();
        let (first, second) = (make(&all, 50), make(&all, 500));
        all.put_in_force(&second.id).unwrap();
        let is = |id: &str| {
            let id = id.to_owned();
            move |made: &Calibration| *made.id == *id
        };
        assert_eq!(all.settle(None), Settled::Same);
        let named = is(&first.id);
        assert_eq!(all.settle(Some(&named)), Settled::Changed(Some(Arc::clone(&first))));
        assert_eq!((all.settle(Some(&named)), all.in_force()), (Settled::Same, Some(Arc::clone(&first))));
        (0..100).for_each(|n| drop(make(&all, 100 + n)));
        assert!(all.find(&first.id).is_some() && all.find(&second.id).is_some(), "neither makes room");
        assert_eq!(all.settle(Some(&is("c9-00000000"))), Settled::Missing);
        assert_eq!((all.in_force(), all.under(Some(&named))), (None, Some(first)));
        assert_eq!(all.settle(None), Settled::Changed(Some(second)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "calibrations 1 [0-9]{1,3}\n((made|put) [c0-9:, -]{0,40}\n){0,4}") {
            let _ = Calibrations::default().restore(text.as_bytes());
        }
    }
}
