//! Taking back: which version a rollback goes to where nobody says which, what it undoes, and one version undone alone.

use jiff::Timestamp;
use portcullis_admin::govern::Author;
use portcullis_governance::{Class, Content, GovernanceError, Kind, PolicySource as _, Version, Wish};

use super::activating::How;
use super::desk::{Outcome, PATIENCE, Who, said};
use super::foresight::{self, Foresight};
use super::going_back::foreseen_in_words;
use super::merging::without;
use super::source::{Source, in_a_line, load_sealed, of_today};
use super::{Governing, effects_in_words, shown};

/// Versions that are looked through, from the last one back.
const BACK: u64 = 200;
/// Of these so many are read and compared.
const COMPARED: usize = 20;
/// Versions that a sentence names.
const NAMED: usize = 12;
/// As much of a reason as stands in a sentence, in characters.
const REASON: usize = 60;

/// What is taken back, in words and as a wish.
#[derive(Debug)]
pub(super) struct Back {
    /// `a rollback to version 3`.
    pub(super) what: String,
    pub(super) wish: Wish,
    /// What else there is to say of it.
    pub(super) remarks: String,
    /// The versions that are undone with it.
    pub(super) undoes: Vec<Version>,
}

impl Governing {
    /// The version that a rollback goes to where nobody says which: the last one that was in force for everybody, was not taken back, and answers otherwise
    /// than what is live.
    ///
    /// # Errors
    /// A sentence that asks for the number, and names those that there are: where the last version took something back itself, the one before it is
    /// what was taken back.
    pub(super) fn version_before(&self) -> Result<u64, String> {
        let versions: Vec<Version> = self.versions_back(BACK).collect();
        let Some((last, earlier)) = versions.split_first().filter(|(_, earlier)| !earlier.is_empty()) else {
            return Err(format!("there is no version before the live one, which is {}", self.n()));
        };
        if let Some(what) = takes_back(last) {
            let why =
                format!("version {}, which is live, is itself {what}: say to which version, by its number", last.n);
            return Err(self.candidates(&why, &versions));
        }
        let mut compared = 0;
        for version in ever_served(&versions).filter(|version| version.n < last.n) {
            compared += 1;
            if compared > COMPARED {
                break;
            }
            if !self.answers_alike(version)? {
                return Ok(version.n);
            }
            // What came behind it changed no answer: it is what a rollback would take back.
            if let Some(what) = takes_back(version) {
                let why = format!(
                    "version {}, which answers as what is live, is itself {what}: say to which version, by its number",
                    version.n
                );
                return Err(self.candidates(&why, &versions));
            }
        }
        let before = earlier.first().map_or(1, |version| version.n);
        let why = format!(
            "none of the versions that were in force for everybody, of the last {COMPARED}, answers otherwise than what is live, with the keys, users and authorities of now: say to which version, by its number; `policy show {before} --file NAME` prints a file as it was then, and what of it is wanted is proposed, or written into the file by hand"
        );
        Err(self.candidates(&why, &versions))
    }

    /// Whether a rollback to it would change no answer.
    fn answers_alike(&self, version: &Version) -> Result<bool, String> {
        let (live, content, governed) = {
            let governor = self.governor();
            let governed = governor.standing().version.map(|last| last.change.governed);
            let then = of_today(&self.config, governor.content_of(version).map_err(said)?);
            (of_today(&self.config, governor.live().map_err(said)?), then, governed)
        };
        if governed == Some(version.change.governed) {
            return Ok(true);
        }
        // Where nobody can tell what it would be, whoever goes there is told why.
        let Ok((content, _)) = self.keep_what_was_revoked(version.n, content) else { return Ok(false) };
        Ok(Source { config: self.config.clone() }.class(&live, &content) == Class::Neutral)
    }

    fn candidates(&self, why: &str, versions: &[Version]) -> String {
        let last = self.n();
        let named: Vec<String> =
            ever_served(versions).filter(|version| version.n != last).take(NAMED).map(whole).collect();
        match named.is_empty() {
            true => why.to_owned(),
            false => format!("{why}; there are {}", named.join("; ")),
        }
    }

    /// The versions whose changes are in what is live, and not in what that one had.
    pub(super) fn undone_by(&self, n: u64) -> Vec<Version> {
        let after = |version: &Version| version.n > n;
        let later: Vec<Version> = self.versions_back(BACK).take_while(after).collect();
        let undone = undone_undoings(&later);
        let is_out = |version: &Version| {
            later.iter().any(|back| match back.change.kind {
                Kind::Undo => {
                    let is_gone = version.n == back.change.restores && !undone.contains(&back.n);
                    back.change.restores > n && (is_gone || version.n == back.n)
                }
                _ => back_over(back).is_some_and(|to| to >= n && to < version.n && version.n <= back.n),
            })
        };
        later.iter().rev().filter(|version| !is_out(version)).cloned().collect()
    }

    /// What is live, without what one version changed.
    pub(super) fn wish_undone(&self, n: u64, by: &Author, who: &Who) -> Result<Back, String> {
        let (live, that, before) = {
            let governor = self.governor();
            if let Some(rollout) = governor.standing().rollout {
                return Err(format!(
                    "version {} is being rolled out: `policy abort` takes it back, and once it is over one version is undone",
                    rollout.n
                ));
            }
            let content = |n| {
                let content = governor.version(n).and_then(|version| governor.content_of(&version)).map_err(said)?;
                Ok::<_, String>(of_today(&self.config, content))
            };
            let that = content(n)?;
            if n < 2 {
                return Err("version 1 is the first one: there is nothing before it".to_owned());
            }
            (of_today(&self.config, governor.live().map_err(said)?), that, content(n - 1)?)
        };
        let merged = without(&live, &that, &before).map_err(|places| {
            format!(
                "version {n} cannot be undone alone: what it changed was changed again since, in {}; take it out of the files by hand, or see what `policy rollback {} --dry-run` would undo with it",
                places.join("; "),
                n - 1
            )
        })?;
        if merged == live {
            return Err(format!(
                "nothing that version {n} changed is in what is live: it was taken back, or what it changed is gone"
            ));
        }
        let read = load_sealed(&self.config, &merged).map_err(|report| {
            format!("version {n} cannot be undone alone: without it the files are invalid, {}", in_a_line(&report))
        })?;
        if let Some(name) = merged.files.keys().find(|name| !read.governed.files.iter().any(|file| file.name == **name))
        {
            return Err(format!("version {n} cannot be undone alone: nothing reads `{}` then", name.escape_debug()));
        }
        let (content, remarks) = self.keep_what_was_revoked(n, merged)?;
        let undoes = self.governor().version(n).map(|version| vec![version]).map_err(said)?;
        let wish = Wish { restores: n, ..self.wish(Kind::Undo, content, by, who)? };
        Ok(Back { what: format!("version {n} undone alone"), wish, remarks, undoes })
    }

    /// Undoes one version, as [`Self::take_back_now`] does.
    pub(super) fn undo(
        &self,
        (n, dry_run): (u64, bool),
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        let back = self.wish_undone(n, by, who)?;
        let nothing = |error| match error {
            GovernanceError::NothingChanges => {
                format!(
                    "{error}: with the keys, users and authorities of now, nothing of version {n} is in what is live"
                )
            }
            error => said(error),
        };
        if dry_run {
            self.try_back(back, foresight, now)
        } else {
            self.take_back_now(back, by, who, foresight, now, nothing)
        }
    }

    /// Says what it would do, and changes nothing.
    pub(super) fn try_back(&self, back: Back, foresight: &dyn Foresight, now: Timestamp) -> Outcome {
        let Back { what, wish, remarks, undoes } = back;
        let live = of_today(&self.config, self.governor().live().map_err(said)?);
        let class = Source { config: self.config.clone() }.class(&live, &wish.content);
        let report = self.foresee(wish.kind, &wish.content, foresight, PATIENCE);
        let required = self.requirement_in_words(&wish.content);
        let mut performed = self.answer(format!(
            "{what} ({}){}; {}{remarks}{required}; nothing was changed",
            class.as_str(),
            undone_in_words(&undoes),
            foresight::in_words(&report).join("; ")
        ));
        performed.answer.effects = self.effects(&live, &wish.content, now);
        let standing = self.governor().standing();
        performed.answer.versions = undoes.iter().map(|version| shown::version(version, &standing)).collect();
        Ok(performed)
    }

    /// Whether approvals are required from then on, where that changes.
    fn requirement_in_words(&self, content: &Content) -> &'static str {
        let now = self.governor().standing().rules.required;
        match load_sealed(&self.config, content).map(|loaded| loaded.governance.required) {
            Ok(true) if !now => "; FROM THEN ON APPROVALS ARE REQUIRED",
            Ok(false) if now => "; FROM THEN ON NO APPROVALS ARE REQUIRED",
            _ => "",
        }
    }

    /// Who gets further, and who less far.
    fn effects(&self, live: &Content, content: &Content, now: Timestamp) -> Vec<String> {
        let read = |content| load_sealed(&self.config, content).map_err(|report| in_a_line(&report));
        match (read(live), read(content)) {
            (Ok(before), Ok(after)) => {
                let mut lines = effects_in_words(&before, &after, now);
                if before.governed.gateway != after.governed.gateway {
                    lines.push(
                        "the gateway's own tables change, too: who is known, and where requests go, was not compared"
                            .to_owned(),
                    );
                }
                lines
            }
            (Err(why), _) | (_, Err(why)) => vec![format!("who gets in could not be worked out: {why}")],
        }
    }

    /// Proposes it where approvals are required; else it is live for everybody at once: whoever takes a mistake back does not wait for steps.
    pub(super) fn take_back_now(
        &self,
        back: Back,
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
        nothing: impl Fn(GovernanceError) -> String,
    ) -> Outcome {
        let Back { what, wish, remarks, undoes } = back;
        let undone = undone_in_words(&undoes);
        let remarks = remarks + self.requirement_in_words(&wish.content);
        let mut performed = self.put(wish, foresight, now).map_err(nothing)?;
        let Some(change) = performed.answer.changes.first() else { return Ok(performed) };
        if self.is_required() {
            performed.answer.message = format!("{what}: {}{undone}{remarks}", performed.answer.message);
            return Ok(performed);
        }
        let (id, foreseen) = (change.id.clone(), change.foreseen.clone());
        let does = foreseen_in_words(&change.class, &foreseen);
        let how = How { at_once: Some(&by.reason), unseen: None };
        let mut activated =
            self.activate(&id, how, who, foresight, now).map_err(|why| self.left_nothing(&id, why, now))?;
        activated.answer.message = format!("{what}: {}; {does}{undone}{remarks}", activated.answer.message);
        if let Some(version) = activated.answer.versions.first_mut() {
            version.change.foreseen = foreseen;
        }
        Ok(activated)
    }
}

/// What a version took back, if it did.
fn takes_back(version: &Version) -> Option<String> {
    let n = version.change.restores;
    match version.change.kind {
        Kind::Rollback => Some(format!("a rollback to version {n}")),
        Kind::Revert => Some(format!("version {n} again, in the place of one that was rolled out")),
        Kind::Undo => Some(format!("what was live without version {n}")),
        Kind::Change
        | Kind::Feed
        | Kind::Calibration
        | Kind::BreakGlass
        | Kind::Keys
        | Kind::Recovery
        | Kind::Recovered
        | Kind::Veto => None,
    }
}

/// The version behind which this one took everything back.
fn back_over(version: &Version) -> Option<u64> {
    let n = version.change.restores;
    match version.change.kind {
        Kind::Rollback | Kind::Revert => Some(n).filter(|n| *n > 0 && *n < version.n),
        // All that came behind it had it in it, too.
        Kind::Undo => n.checked_sub(1),
        Kind::Change
        | Kind::Feed
        | Kind::Calibration
        | Kind::BreakGlass
        | Kind::Keys
        | Kind::Recovery
        | Kind::Recovered
        | Kind::Veto => None,
    }
}

/// The undoings of which what they took back is in force again, by another undoing: of what is given the last one first.
fn undone_undoings(versions: &[Version]) -> Vec<u64> {
    let mut undone: Vec<u64> = Vec::new();
    // Whoever undoes comes later, and may itself have been undone by one that came later still.
    for version in versions.iter().filter(|version| version.change.kind == Kind::Undo) {
        if !undone.contains(&version.n) {
            undone.push(version.change.restores);
        }
    }
    undone
}

/// Those that were in force for everybody and were not taken back, the last one first, as they are given.
fn ever_served(versions: &[Version]) -> impl Iterator<Item = &Version> {
    let undone = undone_undoings(versions);
    let counts = move |back: &Version| back.change.kind != Kind::Undo || !undone.contains(&back.n);
    let was_taken_back = move |version: &Version| {
        let is_over = |back: &Version| back_over(back).is_some_and(|to| to < version.n && version.n < back.n);
        versions.iter().any(|back| is_over(back) && counts(back))
    };
    let was_cut_short =
        |version: &Version| versions.iter().any(|next| next.n == version.n + 1 && next.exceptions.cut_short);
    versions.iter().filter(move |version| !was_taken_back(version) && !was_cut_short(version))
}

fn undone_in_words(undoes: &[Version]) -> String {
    let mut named: Vec<String> = undoes.iter().take(NAMED).map(short).collect();
    if undoes.len() > NAMED {
        named.push(format!("and {} more", undoes.len() - NAMED));
    }
    if named.is_empty() { String::new() } else { format!("; undoes {}", named.join(", ")) }
}

/// `4 "tidy up" by ana`.
fn short(version: &Version) -> String {
    let (change, kind) = (&version.change, kind_in_words(version));
    let author = change.authors.first().map_or("nobody", String::as_str);
    format!("{} \"{}\" by {author}{kind}", version.n, cut(&change.reason))
}

/// `version 4 of 2026-11-30T00:00:00Z by ana, "tidy up", tightens`.
fn whole(version: &Version) -> String {
    let (change, kind) = (&version.change, kind_in_words(version));
    let author = change.authors.first().map_or("nobody", String::as_str);
    let time = Timestamp::from_microsecond(version.time).map(|time| format!("{time:.0}")).unwrap_or_default();
    format!("version {} of {time} by {author}, \"{}\", {}{kind}", version.n, cut(&change.reason), change.class.as_str())
}

fn kind_in_words(version: &Version) -> String {
    let n = version.change.restores;
    match version.change.kind {
        Kind::Rollback | Kind::Revert => format!(" ({} to {n})", version.change.kind.as_str()),
        Kind::Undo => format!(" (undoes {n})"),
        kind @ (Kind::Feed
        | Kind::Calibration
        | Kind::BreakGlass
        | Kind::Keys
        | Kind::Recovery
        | Kind::Recovered
        | Kind::Veto) => format!(" ({})", kind.as_str()),
        Kind::Change => String::new(),
    }
}

fn cut(reason: &str) -> String {
    let mut text: String = reason.chars().take(REASON).collect();
    if text.len() < reason.len() {
        text.push('…');
    }
    text
}
