//! Which log goes on in the restored store: that of the backup, or that of the store which was there. Both are judged first, and what is not believed goes on in
//! none.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_governance::Head;
use portcullis_store::{Versions, end_all_power};

use super::accepting::Lost;
use super::judging::{Beside, Cut, Judged, begin_apart, end_of, held_by, judge};
use super::making::power_is_known;
use super::restoring::Restoring;
use super::{BackingUpError, Checked, STORE, head_of, scratch};

/// A copy of the store that was there, in a folder of its own, so that the store stays as it is whatever happens.
pub(super) struct CopiedStore {
    folder: tempfile::TempDir,
    /// Why its log of temporary power is not what is known of it.
    power: Option<String>,
}

impl CopiedStore {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(STORE)
    }
}

/// Copies the store that is there. `None`: there is none. An error in it: it cannot be read.
pub(super) fn copied(
    restoring: &Restoring<'_>,
    parent: &Path,
) -> Result<Option<Result<CopiedStore, String>>, BackingUpError> {
    match fs::metadata(restoring.store) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BackingUpError::io(restoring.store)(error)),
        Ok(_) => {}
    }
    let beside = std::env::temp_dir();
    let folder = scratch(if restoring.drill { &beside } else { parent })?;
    let settings = portcullis_store::Settings { path: restoring.store.to_owned() };
    let copied = Versions::open(&settings).map_err(|error| error.to_string()).and_then(|current| {
        let copy = folder.path().join(STORE);
        current.copy_to(&copy).map_err(|trouble| trouble.to_string())?;
        let required = restoring.demanded || end_of(&copy).is_ok_and(|end| end.is_some_and(|end| end.required));
        Ok(power_is_known(&settings, required).err())
    });
    Ok(Some(copied.map(|power| CopiedStore { folder, power })))
}

/// What becomes of the logs.
pub(super) struct Settled {
    /// A sentence; or why it has to be wanted, or approved.
    pub(super) fate: Result<String, Lost>,
    /// What was dropped of one of them, or of both.
    pub(super) cuts: Vec<Cut>,
    /// What waits in the restored store is what waits now.
    pub(super) changes: bool,
    /// What is said where the power that the store gave for a time is not believed.
    pub(super) powerless: String,
}

/// The log of the store that was there.
struct There<'t> {
    store: &'t CopiedStore,
    /// Where it ends once what is not believed is dropped; `None`: nothing of it is believed, or it holds nothing.
    end: Option<Head>,
    /// Where it ended, and why nothing of it is believed.
    lost: Option<(Head, String)>,
    /// Why its end by itself says nothing.
    untold: Option<String>,
}

/// `beside`: what the head file says. `there`: a copy of the store that is to be replaced, where that can be read. What the backup ends with is so from now on.
pub(super) fn settle(
    restoring: &Restoring<'_>,
    checked: &mut Checked,
    beside: Option<Head>,
    there: Option<&CopiedStore>,
) -> Result<Settled, BackingUpError> {
    let vouching: Vec<Head> = [beside, restoring.written_down()].into_iter().flatten().collect();
    let (backup, mut cuts) = (checked.store(), Vec::new());
    if let Some(there) = there
        && begin_apart(&there.path(), &backup).unwrap_or(false)
    {
        return Err(of_another());
    }
    let steps = Beside::of_steps(restoring.store);
    let untold = match judge(restoring.config, &backup, &steps, vouching.iter().copied())? {
        Judged::Good => None,
        Judged::Untold(why) => Some(why),
        Judged::Cut(cut) => {
            let untold = cut.vouched.is_none().then(|| cut.why.clone());
            cuts.push(cut);
            untold
        }
        Judged::Not(why) => {
            return Err(BackingUpError::Refused(format!(
                "the log of the backup is not believed ({why}): restore another one"
            )));
        }
    };
    checked.head = head_of(&backup)?;
    let power = there.and_then(|there| there.power.as_ref());
    let powerless = power.map_or_else(String::new, |why| {
        format!("; what the store that was there gave for a time is not believed ({why}): none of it is in force")
    });
    let ours = (checked.head, untold.as_deref());
    let there = there.map(|store| judged(restoring, store, (&steps, &vouching), ours, &mut cuts)).transpose()?;
    let (fate, changes) = go_on(restoring, checked, (beside, &vouching), there.as_ref(), untold)?;
    // Both may have held the same.
    cuts.dedup_by(|one, other| one.last == other.last && one.kept == other.kept);
    Ok(Settled { fate, cuts, changes, powerless })
}

fn of_another() -> BackingUpError {
    BackingUpError::Refused(
        "the backup is of another gateway: its log and that of the store have gone different ways".to_owned(),
    )
}

/// Judges the log of the store that was there. Where nothing else vouches for any of it, the end of the backup does, and no better than that is known: `ours`,
/// with why it says nothing by itself.
fn judged<'t>(
    restoring: &Restoring<'_>,
    store: &'t CopiedStore,
    (steps, vouching): (&Beside, &[Head]),
    (ours, unsure): (Head, Option<&str>),
    cuts: &mut Vec<Cut>,
) -> Result<There<'t>, BackingUpError> {
    let copy = store.path();
    let ended = end_of(&copy)?;
    let of = |end, lost, untold| There { store, end, lost, untold };
    let is_weak = held_by(&copy, vouching.iter().copied()).is_ok_and(|held| held.is_empty());
    let weak = [ours];
    let by = if is_weak { weak.as_slice() } else { vouching };
    // A log that cannot be read is as one that is not believed: the sessions and revocations of that store still count.
    let judged = judge(restoring.config, &copy, steps, by.iter().copied());
    Ok(match judged.unwrap_or_else(|error| Judged::Not(error.to_string())) {
        Judged::Good if is_weak => of(ended, None, unsure.map(str::to_owned)),
        Judged::Good => of(ended, None, None),
        Judged::Untold(why) => of(ended, None, Some(why)),
        Judged::Cut(cut) => {
            let cut = Cut { vouched: cut.vouched.filter(|_| !is_weak), ..cut };
            let untold = cut.vouched.is_none().then(|| cut.why.clone());
            cuts.push(cut);
            of(end_of(&copy)?, None, untold)
        }
        Judged::Not(why) => of(None, ended.map(|ended| (ended, why)), None),
    })
}

/// Says also whether what waits in the restored store is what waits now. `untold`: why the end of the backup by itself says nothing.
fn go_on(
    restoring: &Restoring<'_>,
    checked: &mut Checked,
    (beside, vouching): (Option<Head>, &[Head]),
    there: Option<&There<'_>>,
    untold: Option<String>,
) -> Result<(Result<String, Lost>, bool), BackingUpError> {
    let settings = portcullis_store::Settings { path: checked.store() };
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&settings)?;
    if let Some(there) = there.filter(|there| there.store.power.is_some()) {
        Versions::drop_power(&portcullis_store::Settings { path: there.store.path() })?;
    }
    let taken = there.map(|there| versions.take_from(&there.store.path(), false)).transpose().map_err(of)?;
    let changes = taken.is_some_and(|taken| taken.changes);
    if !taken.is_some_and(|taken| taken.power) || there.is_some_and(|there| there.store.power.is_some()) {
        // What of the power for a time was ended since nobody knows.
        let ended = end_all_power(&settings, "a backup was restored", &restoring.who, Timestamp::now());
        ended.map_err(|error| BackingUpError::Refused(error.to_string()))?;
    }
    // How far it had come, by the store itself where it can be read: the head file may be gone, or one version behind. And by what was written down elsewhere.
    let there_now = there.and_then(|there| there.end);
    let lost = there.and_then(|there| there.lost.as_ref());
    let known: Vec<Head> = vouching.iter().copied().chain(there_now).chain(lost.map(|(head, _)| *head)).collect();
    let demanded = checked.head.required || restoring.demanded;
    let Some(highest) = known.iter().max_by_key(|head| head.n) else {
        let fate = match demanded {
            true => Err(Lost::Unknown),
            false => Ok("nothing was there that it could be compared with".to_owned()),
        };
        return Ok((fate, changes));
    };
    let lacking = |store: &Path, heads: &[Head]| {
        let held = held_by(store, heads.iter().copied())?;
        let lacking = heads.iter().filter(|head| !held.contains(head)).max_by_key(|head| head.n);
        Ok::<_, BackingUpError>(lacking.copied())
    };
    let Some(lacks) = lacking(&settings.path, &known)? else {
        // A version long before its end tells a backup from those of other gateways, and says nothing of its age; and that with which governance
        // began is what every gateway is called by.
        let by_hand = restoring.written_down();
        let is_vouched = beside.is_some()
            || there.is_some_and(|there| there.end.is_some() && there.untold.is_none())
            || by_hand.is_some_and(|head| head.n == checked.head.n && head.hash != checked.manifest.instance);
        let fate = match (demanded && !is_vouched, there_now, untold) {
            (true, Some(_), untold) => {
                Err(Lost::Untold(untold.unwrap_or_else(|| "its head file is not there".to_owned())))
            }
            (true, None, _) => Err(Lost::Unknown),
            (false, ..) if highest.n == checked.head.n => Ok("its log is the newest that is known".to_owned()),
            (false, ..) => Ok(format!("its log goes on from version {}, the newest that was known", highest.n)),
        };
        return Ok((fate, changes));
    };
    if let Some((last, why)) = lost {
        let required = known.iter().any(|head| head.required);
        return Ok((Err(Lost::NotBelieved { last: *last, required, why: why.clone() }), changes));
    }
    let Some(there) = there.filter(|there| there.end.is_some()) else { return Ok((Err(Lost::Newer(lacks)), changes)) };
    if let Some(lacks) = lacking(&there.store.path(), &known)? {
        return Ok((Err(Lost::Newer(lacks)), changes));
    }
    // That it is in the store says nothing of who wrote it there. Of another gateway nothing is kept, whatever it is.
    if checked.head.n > 0 && lacking(&there.store.path(), &[checked.head])?.is_some() {
        return Err(of_another());
    }
    let taken = versions.take_from(&there.store.path(), true).map_err(of)?;
    versions.close().map_err(of)?;
    checked.head = head_of(&settings.path)?;
    let n = checked.head.n;
    let fate = match &there.untold {
        Some(why) if checked.head.required || restoring.demanded => Err(Lost::Untold(why.clone())),
        Some(_) | None => {
            Ok(format!("the log of the store that was there is newer, and was kept: version {n} is live"))
        }
    };
    Ok((fate, taken.changes))
}
