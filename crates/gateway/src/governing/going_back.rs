//! The way back: what an earlier version has, who comes back into which group with it, what it would do, and the files of the live version on the disk again.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::govern::Author;
use portcullis_config::{GovernedFile, GovernedKind, membership_of};
use portcullis_governance::{Content, GovernanceError, Kind, Wish};

use super::Governing;
use super::desk::{Outcome, Who, said};
use super::foresight::Foresight;
use super::reading::read;
use super::source::{in_a_line, load_sealed, of_today};
use super::undoing::Back;
use super::written::prepare_all;

/// Members whose groups are named in a remark.
const NAMED: usize = 10;

impl Governing {
    /// What a rollback would make live: the version (left out, the last one that answers otherwise), and what it takes back.
    pub(super) fn wish_back(&self, n: Option<u64>, by: &Author, who: &Who) -> Result<(u64, Back), String> {
        let last = self.n();
        let n = n.map_or_else(|| self.version_before(), Ok)?;
        if n == 0 || n >= last {
            return Err(format!(
                "there is no version {n} before the live one, which is {last}; `policy rollback {last}` writes the files of the live one again"
            ));
        }
        let content = {
            let governor = self.governor();
            let version = governor.version(n).map_err(said)?;
            of_today(&self.config, governor.content_of(&version).map_err(said)?)
        };
        let (content, remarks) = self.keep_what_was_revoked(n, content)?;
        let wish = Wish { restores: n, ..self.wish(Kind::Rollback, content, by, who)? };
        Ok((n, Back { what: format!("rollback to version {n}"), wish, remarks, undoes: self.undone_by(n) }))
    }

    /// Says what a rollback would do, and changes nothing.
    pub(super) fn try_rollback(
        &self,
        n: Option<u64>,
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        if let Some(last) = n.filter(|n| *n == self.n()) {
            return Ok(self.answer(format!(
                "the files of version {last}, which is live, would be written again; nothing was changed"
            )));
        }
        let (n, back) = self.wish_back(n, by, who)?;
        let live = of_today(&self.config, self.governor().live().map_err(said)?);
        if live == back.wish.content {
            return Err(no_way_back(n, GovernanceError::NothingChanges));
        }
        self.try_back(Back { what: format!("a {}", back.what), ..back }, foresight, now)
    }

    /// Goes back to an earlier version; to the live one: its files are written again.
    pub(super) fn rollback(
        &self,
        n: Option<u64>,
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        if n.is_some_and(|n| n == self.n()) {
            return self.put_back(who);
        }
        let (n, back) = self.wish_back(n, by, who)?;
        // As a thing that is done, where nobody has to be asked.
        let what = if self.is_required() { back.what } else { format!("rolled back to version {n}") };
        self.take_back_now(Back { what, ..back }, by, who, foresight, now, |error| no_way_back(n, error))
    }

    /// Takes the change of a rollback away that could not be made live: nobody has to approve it, and it waits for nobody.
    pub(super) fn left_nothing(&self, id: &str, why: String, now: Timestamp) -> String {
        let mut governor = self.governor();
        match governor.find(id).and_then(|id| governor.reject(id, now)) {
            Ok(_) => why,
            Err(error) => format!("{why}; its change {id} is still there: {error}"),
        }
    }

    /// An earlier content, with the API keys, users and authorities of now, but for who is in which group: what was revoked or withdrawn since does not come back. Of the gateway's own files
    /// those of now stay, too, where what is governed in them is the same, so that nothing else is undone with it. Says also what does come back.
    pub(super) fn keep_what_was_revoked(&self, n: u64, mut content: Content) -> Result<(Content, String), String> {
        let now = self.live()?;
        let then = load_sealed(&self.config, &content).map_err(|report| in_a_line(&report))?;
        let same_gateway = now.governed.gateway == then.governed.gateway;
        let mut remarks = String::new();
        for file in &now.governed.files {
            let stays = match file.kind {
                GovernedKind::Keys | GovernedKind::Users | GovernedKind::Trust => true,
                GovernedKind::Gateway => same_gateway,
                GovernedKind::Policy => false,
            };
            if let Some(place) = content.files.get_mut(&file.name).filter(|_| stays) {
                *place = self.with_membership(place, file, &mut remarks)?;
            }
        }
        let is_there = |name: &String| now.governed.files.iter().any(|file| file.name == *name);
        for file in then.governed.files.iter().filter(|file| !is_there(&file.name)) {
            match file.kind {
                // The same keys may be in a file of another name now, and some of them revoked.
                GovernedKind::Keys | GovernedKind::Users => {
                    return Err(format!(
                        "version {n} reads keys or users from `{0}`, which is no part of the live version: what was revoked since would count again; propose its policy alone, with `policy show {n} --file {1}` and `policy propose`",
                        file.name, then.governed.policy
                    ));
                }
                GovernedKind::Trust => {
                    remarks.push_str(&format!(
                        "; `{}` comes back with it: see whether a key or an authority in it was withdrawn since",
                        file.name
                    ));
                }
                GovernedKind::Gateway | GovernedKind::Policy => {}
            }
        }
        Ok((content, remarks))
    }

    /// A file of keys or users as it is now, with the membership of then. Where files are believed it is the one on the disk: what was revoked there, and is not
    /// in force yet, stays revoked.
    ///
    /// # Errors
    /// A sentence: it is there and cannot be read, so that nobody knows what was revoked in it.
    pub(super) fn with_membership(
        &self,
        then: &[u8],
        file: &GovernedFile,
        remarks: &mut String,
    ) -> Result<Vec<u8>, String> {
        let folder = self.config.parent().unwrap_or(Path::new(""));
        let on_disk = if self.is_required() { None } else { read(&folder.join(&file.name))? };
        let now = on_disk.as_deref().unwrap_or(&file.bytes);
        let Some(membership) = membership_of(then, now) else { return Ok(file.bytes.to_vec()) };
        let mut whose: Vec<String> = membership.whose.iter().take(NAMED).cloned().collect();
        if membership.whose.len() > NAMED {
            whose.push(format!("{} more", membership.whose.len().saturating_sub(NAMED)));
        }
        remarks.push_str(&format!(
            "; in `{}` the groups and roles of {} are those of then, and all else is as it is now",
            file.name,
            whose.join(", ")
        ));
        Ok(membership.text.into_bytes())
    }

    /// Writes what the live version says into the files on disk again. What somebody edited is kept under another name.
    pub(super) fn put_back(&self, who: &Who) -> Outcome {
        let (n, content, spared) = {
            // Held to the end: nobody else has another version live, or writes files, in between. The governor is not: who looks waits for no file.
            let _writing = self.writing();
            let governor = self.governor();
            if let Some(rollout) = governor.standing().rollout {
                return Err(format!(
                    "version {} is being rolled out: its files are written once that is over, and `policy abort` takes it back",
                    rollout.n
                ));
            }
            let (n, content) = (governor.n(), governor.live().map_err(said)?);
            drop(governor);
            let prepared = prepare_all(&self.config, &content, &[], n, true)?;
            let spared = prepared.spared.in_words();
            prepared.put_in_place()?;
            (n, content, spared)
        };
        let still = if self.holds_the_same(&content) {
            ""
        } else {
            "; what is on the disk still differs: a file that is no part of the version is read, too"
        };
        let by = who.first();
        Ok(self.answer(format!("the files on disk hold version {n}, which is live, again, by {by}{spared}{still}")))
    }

    /// Whether the files on disk govern what this content does.
    fn holds_the_same(&self, content: &Content) -> bool {
        let (Ok(there), Ok(wanted)) = (self.on_disk(), load_sealed(&self.config, content)) else { return false };
        there.governed.is(&wanted.governed.digest)
    }
}

/// Why a rollback to this version is not proposed; of one that would change nothing, why that may be, and what is left to do.
pub(super) fn no_way_back(n: u64, error: GovernanceError) -> String {
    match error {
        GovernanceError::NothingChanges => format!(
            "{error}: with the keys, users and authorities of now, version {n} is what is live; `policy show {n} --file NAME` prints a file as it was then, and what of it is wanted is proposed, or written into the file by hand"
        ),
        error => said(error),
    }
}

/// What a change does, and the first of what was foreseen of it.
pub(super) fn foreseen_in_words(class: &str, foreseen: &[String]) -> String {
    let first: Vec<&str> = foreseen.iter().take(2).map(String::as_str).collect();
    format!("it {}; {}", does(class), first.join(", "))
}

fn does(class: &str) -> &'static str {
    match class {
        "tightens" => "tightens",
        "loosens" => "loosens",
        "neutral" => "changes no answer",
        _ => "tightens and loosens",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_rollback_that_changes_nothing_it_is_said_what_is_left_to_do() {
        let nothing = no_way_back(3, GovernanceError::NothingChanges);
        let why = said(GovernanceError::NothingChanges);
        assert!(
            nothing.starts_with(&format!("{why}: ")) && nothing.contains("`policy show 3 --file NAME`"),
            "{nothing}"
        );
        // Also where another error has the same words.
        let another = GovernanceError::Invalid(why.clone());
        assert_eq!((said(GovernanceError::Invalid(why.clone())), no_way_back(3, another)), (why.clone(), why));
    }
}
