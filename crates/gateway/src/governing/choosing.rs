//! What of the disk, or instead of it, is to be put in force.

use portcullis_config::{GovernedKind, Loaded, ProcessEnvironment, Report, load};
use portcullis_governance::{Class, Content, GovernanceError, Rollout, Version};
use portcullis_policy::DiffBounds;

use super::moments::reached;
use super::source::{class_of, load_sealed, of_today};
use super::{Alarm, AsOf, Decided, Governing, Number, Refused, StagedVersion, Why};

/// Evaluations of a comparison that a reload waits for: about a second.
const QUICK: u64 = 3_000_000;
/// Among so many earlier versions it is looked for what the files are.
const EARLIER: u64 = 200;
/// How often the files are read anew because something became live meanwhile.
const READINGS: usize = 4;

/// Why a reading is worth something: what is looked at, and as of when.
#[derive(Clone, Copy)]
struct Reading {
    why: Why,
    as_of: AsOf,
    /// The files of a version that had become live before were written first: whatever else they hold, it is what is in force.
    finished: bool,
}

impl Governing {
    /// Says what of the disk, or instead of it, is to be put in force. `disk`: what was read of it already. `in_force`: the version that is, where one is.
    pub(crate) fn choose(
        &self,
        disk: Option<Result<Loaded, Report>>,
        why: Why,
        in_force: Option<u64>,
    ) -> Result<Decided, Refused> {
        let (mut disk, mut finished) = (disk, false);
        for _ in 0..READINGS {
            if self.finish_what_was_begun() {
                (disk, finished) = (None, true);
            }
            let reading = Reading { why, as_of: AsOf::now(&self.governor()), finished };
            let read = disk.take().unwrap_or_else(|| load(&self.config, &ProcessEnvironment));
            reached("the files are read");
            let decided = match self.is_required() {
                true => self.approved(read, why, in_force),
                false => self.believed(read, reading),
            };
            // What became live meanwhile was written to the files after they were read, or in between.
            if AsOf::now(&self.governor()) != reading.as_of {
                continue;
            }
            let decided = decided?;
            self.set_stages(&decided.loaded.stages);
            return Ok(decided);
        }
        Err(Refused::Other("versions become live faster than the files can be read: reload again".to_owned()))
    }

    /// Writes what is left of the files of a version that is live, where the process ended before all of them were, or the disk took no more. Says whether
    /// there was such a version.
    fn finish_what_was_begun(&self) -> bool {
        let rollout = self.governor().standing().rollout;
        let Some(Rollout { n, .. }) = rollout.filter(Rollout::is_ending) else { return false };
        match self.finish_rollout(n) {
            Ok(None) => {}
            Ok(Some(remark)) => tracing::warn!("version {n} is live for everybody; {remark}"),
            // Somebody else has finished it meanwhile.
            Err(_) if !self.is_ending(n) => {}
            // It is tried again while the gateway runs.
            Err(error) => tracing::error!(error, "version {n} is live, and its files cannot be written"),
        }
        true
    }

    /// The files, where nothing has to be approved.
    fn believed(&self, disk: Result<Loaded, Report>, reading: Reading) -> Result<Decided, Refused> {
        let why = reading.why;
        if let Some(decided) = self.instead(&disk, reading)? {
            return Ok(decided);
        }
        let loaded = disk.map_err(|report| Refused::Files(Box::new(report)))?;
        if loaded.governance.required {
            let message = "`[governance]` demands approvals, and nobody may approve yet: name the approvers with `portcullis governance init`";
            return Err(Refused::Other(message.to_owned()));
        }
        let is_it = |version: &Version| self.is_version(&loaded, version);
        // The files of the version that serves are no other version while the next one is rolled out.
        let (serving, rolled, rollout) = {
            let governor = self.governor();
            let rollout = governor.standing().rollout;
            let version = |n| rollout.and_then(|_| governor.version(n).ok());
            (version(governor.serving()), version(governor.n()), rollout)
        };
        if let Some(version) = serving.as_ref().filter(|version| is_it(version)) {
            let (staged, alarm) = self.staged_at(why, &loaded)?;
            return Ok(Decided { number: Number::Known(version.n), loaded, staged, alarm });
        }
        // Whoever puts the files of that one where files are believed has it in force for everybody, and its steps are over.
        if let Some(version) = rolled.filter(is_it) {
            self.finish_rollout(version.n).map_err(Refused::Other)?;
            return Ok(Decided { loaded, number: Number::Known(version.n), staged: None, alarm: None });
        }
        // What the files are meant to be cannot be told either: a mix of two versions would be a third one.
        if let (Some(held), Some(version)) = (rollout.filter(Rollout::is_held), &serving) {
            let alarm = self.held_alarm(held);
            if why == Why::Asked {
                return Err(Refused::Alarm(alarm));
            }
            let content = self.governor().content_of(version).map_err(|error| Refused::Other(error.to_string()))?;
            let loaded = self.sealed(version, &content, Some(&loaded))?;
            return Ok(Decided { loaded, number: Number::Known(version.n), staged: None, alarm: Some(alarm) });
        }
        let last = self.governor().standing().version;
        let last = last.filter(is_it);
        let number = match last {
            Some(last) => Number::Known(last.n),
            None => Number::Noted(self.class(&loaded), reading.as_of),
        };
        Ok(Decided { loaded, number, staged: None, alarm: None })
    }

    /// What was approved, from the disk where that is what is there.
    fn approved(&self, disk: Result<Loaded, Report>, why: Why, in_force: Option<u64>) -> Result<Decided, Refused> {
        let (version, content) = self.governor().served().map_err(|error| Refused::Other(error.to_string()))?;
        let n = version.n;
        let number = Number::Known(n);
        let live = load_sealed(&self.config, &content).map_err(|report| Refused::Files(Box::new(report)))?;
        // A file that is named and no part of what was approved would be read from the disk.
        if !live.governed.is(&version.change.governed.0) {
            let names: Vec<&str> = live.governed.variables.iter().map(String::as_str).collect();
            let variables = match names.is_empty() {
                true => String::new(),
                false => format!("; or its variables ({}) had other values then: give them back", names.join(", ")),
            };
            let message = format!(
                "version {n} cannot be put in force: with the files that it names it is not what was approved; put them back as they were, or start with the path of the configuration that it was approved under{variables}"
            );
            return Err(Refused::Other(message));
        }
        let (staged, unstaged) = self.staged_at(why, &live)?;
        match disk {
            Ok(loaded) if loaded.governed.digest == live.governed.digest => {
                Ok(Decided { loaded, number, staged, alarm: unstaged })
            }
            // The usual way to propose: the files are those of the next version already, and what is not governed in them counts.
            Ok(disk) if self.is_rolled_out(&disk) => {
                let loaded = self.sealed(&version, &content, Some(&disk))?;
                Ok(Decided { loaded, number, staged, alarm: unstaged })
            }
            disk => {
                let mut alarm = self.alarm(disk.as_ref(), &live, n);
                if let Some(unstaged) = unstaged {
                    alarm.message = format!("{}; {}", alarm.message, unstaged.message);
                }
                // What is not governed was changed on the disk, and stays so.
                let instead = || self.sealed(&version, &content, disk.as_ref().ok());
                match why {
                    // What is in force is another version: one that was activated when the files could not be written, or a reload did not happen.
                    Why::Asked if in_force != Some(n) => {
                        Ok(Decided { loaded: instead()?, number, staged, alarm: Some(alarm) })
                    }
                    Why::Asked => Err(Refused::Alarm(alarm)),
                    Why::Start => Ok(Decided { loaded: instead()?, number, staged, alarm: Some(alarm) }),
                    Why::Activated => Ok(Decided { loaded: instead()?, number, staged, alarm: None }),
                }
            }
        }
    }

    /// A version in place of files that are believed otherwise: one that was activated a moment ago, whatever they hold by now; and one that is live, and of
    /// which not all is written.
    fn instead(&self, disk: &Result<Loaded, Report>, reading: Reading) -> Result<Option<Decided>, Refused> {
        let governor = self.governor();
        let other = |error: GovernanceError| Refused::Other(error.to_string());
        let standing = governor.standing();
        let ending = standing.rollout.filter(Rollout::is_ending);
        let was_activated = reading.finished || reading.why == Why::Activated;
        if ending.is_none() && !was_activated {
            return Ok(None);
        }
        let (version, content) = match (ending, standing.version) {
            (Some(_), Some(last)) => (last, governor.live().map_err(other)?),
            _ => governor.served().map_err(other)?,
        };
        drop(governor);
        if ending.is_none() && disk.as_ref().is_ok_and(|disk| disk.governed.is(&version.change.governed.0)) {
            return Ok(None);
        }
        let loaded = self.sealed(&version, &content, disk.as_ref().ok())?;
        let staged = if ending.is_some() { None } else { self.staged(&loaded)? };
        if ending.is_none() {
            tracing::warn!(
                "version {} is in force, and the files on disk hold something else: the next reload believes them",
                version.n
            );
        }
        Ok(Some(Decided { loaded, number: Number::Known(version.n), staged, alarm: None }))
    }

    /// Whether files that were read are what this version holds, also where it calls them by earlier names.
    fn is_version(&self, loaded: &Loaded, version: &Version) -> bool {
        if loaded.governed.is(&version.change.governed.0) {
            return true;
        }
        let Ok(content) = self.governor().content_of(version) else { return false };
        of_today(&self.config, content.clone()) != content
            && load_sealed(&self.config, &content).is_ok_and(|kept| {
                kept.governed.is(&version.change.governed.0) && kept.governed.digest == loaded.governed.digest
            })
    }

    /// Whether these are the files of the version that is rolled out.
    pub(super) fn is_rolled_out(&self, disk: &Loaded) -> bool {
        let governor = self.governor();
        let rolled = governor.standing().rollout.and_then(|rollout| governor.version(rollout.n).ok());
        rolled.is_some_and(|version| disk.governed.is(&version.change.governed.0))
    }

    /// A version, with what is not governed as it is on the disk, where its files can be read and the same is governed in those of the gateway; else as it
    /// was then.
    fn sealed(&self, version: &Version, content: &Content, disk: Option<&Loaded>) -> Result<Loaded, Refused> {
        let is_it = |loaded: &Loaded| loaded.governed.is(&version.change.governed.0);
        if let Some(disk) = disk {
            let mut content = content.clone();
            let gateway = disk.governed.files.iter().filter(|file| file.kind == GovernedKind::Gateway);
            content.files.extend(gateway.map(|file| (file.name.clone(), file.bytes.to_vec())));
            if let Some(loaded) = load_sealed(&self.config, &content).ok().filter(is_it) {
                return Ok(loaded);
            }
        }
        let loaded = load_sealed(&self.config, content).map_err(|report| Refused::Files(Box::new(report)))?;
        if is_it(&loaded) {
            return Ok(loaded);
        }
        Err(Refused::Other(format!(
            "version {} cannot be put in force: with the files that it names it is not what it was",
            version.n
        )))
    }

    /// What is rolled out. At a start what cannot be read of it is no reason to be down: the version that serves is whole, and decides for everybody.
    fn staged_at(&self, why: Why, serving: &Loaded) -> Result<(Option<StagedVersion>, Option<Alarm>), Refused> {
        let held = self.governor().standing().rollout.filter(Rollout::is_held);
        match (self.staged(serving), why) {
            (Ok(staged), _) => Ok((staged, held.map(|held| self.held_alarm(held)))),
            (Err(refused), Why::Start) => {
                let why = match refused {
                    Refused::Files(report) => report.summary_line(),
                    Refused::Alarm(alarm) => alarm.message,
                    Refused::Other(why) => why,
                };
                let n = self.n();
                let message = format!("version {n} is rolled out no further until a reload can read it: {why}");
                Ok((None, Some(Alarm { message, tampered: false })))
            }
            (Err(refused), Why::Asked | Why::Activated) => Err(refused),
        }
    }

    /// Nobody can tell how far a version has come, and so it goes no further.
    fn held_alarm(&self, held: Rollout) -> Alarm {
        let serving = self.governor().serving();
        Alarm { message: held_in_words(held, serving), tampered: false }
    }

    /// What files do that are believed, by a comparison that takes a moment and no more: where it would take longer, it is not known.
    fn class(&self, loaded: &Loaded) -> Class {
        let standing = self.governor().standing();
        let Some(last) = standing.version else { return Class::Mixed };
        if self.is_version(loaded, &last) {
            return Class::Neutral;
        }
        let content = self.governor().content_of(&last);
        let before = content.ok().and_then(|content| load_sealed(&self.config, &content).ok());
        before.map_or(Class::Mixed, |before| {
            class_of(&before, loaded, &DiffBounds { evaluations: QUICK, ..DiffBounds::default() })
        })
    }

    /// What the files are, where they are not what is live.
    pub(super) fn alarm(&self, disk: Result<&Loaded, &Report>, live: &Loaded, n: u64) -> Alarm {
        let disk = match disk {
            Ok(disk) => disk,
            Err(report) => {
                let message = format!(
                    "the files on disk are invalid ({}), and were not approved: version {n} stays in force",
                    report.summary_line()
                );
                return Alarm { message, tampered: true };
            }
        };
        let governor = self.governor();
        let last = governor.standing().version;
        let rolled_out = last.filter(|last| last.n > n && disk.governed.is(&last.change.governed.0));
        if let Some(last) = rolled_out {
            let message = format!(
                "the files on disk are those of version {}, which is being rolled out: until that is over version {n} serves",
                last.n
            );
            return Alarm { message, tampered: false };
        }
        let same =
            |number: &u64| governor.version(*number).is_ok_and(|version| disk.governed.is(&version.change.governed.0));
        if let Some(earlier) = (1..n).rev().take(usize::try_from(EARLIER).unwrap_or(usize::MAX)).find(same) {
            let message =
                format!("the files on disk are those of version {earlier}, and version {n} is live and stays so");
            return Alarm { message, tampered: false };
        }
        let mut names: Vec<&str> = differing(disk, live);
        names.truncate(5);
        let message = format!(
            "{} on disk was not approved: version {n} stays in force; `portcullis policy propose --author \"${{SUDO_USER:-$(id -un)}}\" --reason \"as it is on disk\"` has it reviewed",
            if names.is_empty() { "what is".to_owned() } else { names.join(", ") }
        );
        Alarm { message, tampered: true }
    }
}

/// What is to be said of a version of which nobody can tell how far it has come.
pub(super) fn held_in_words(held: Rollout, serving: u64) -> String {
    let (n, change) = (held.n, held.change.short());
    format!(
        "how far version {n} has come was kept by another version of this program, or is damaged, and cannot be read: version {serving} serves everybody until somebody says what is to be; `portcullis policy abort --reason …` takes version {n} back, `portcullis policy activate {change} --now --reason …` has it live for everybody, and the program that kept it goes on with its steps"
    )
}

/// The names of files that hold something else, or are there on one side alone.
fn differing<'l>(disk: &'l Loaded, live: &'l Loaded) -> Vec<&'l str> {
    let file = |loaded: &'l Loaded, name: &str| {
        loaded.governed.files.iter().find(|file| file.name == name).map(|file| &file.bytes)
    };
    let names = disk.governed.files.iter().chain(&live.governed.files).map(|file| file.name.as_str());
    let mut found: Vec<&str> = names.filter(|name| file(disk, name) != file(live, name)).collect();
    found.sort_unstable();
    found.dedup();
    found
}
