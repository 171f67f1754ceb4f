//! What operators have done with versions: over the control channel of a running gateway, or on the store where none runs.

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use portcullis_admin::govern::{Answer, Author, File, Governed, NewApprover, Proposed};
use portcullis_admin::{Operator, Peer, accounts, login};
use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_governance::power::names_of_principal;
use portcullis_governance::{
    Anchor, ApproverSet, Change, ChangeId, Content, GovernanceError, Kind, PublicKey, Wish, parse_approval,
};

use super::activating::How;
use super::ahead::Ahead;
use super::foresight::{self, Foresight};
use super::recovering::ONLY_SIGNED;
use super::source::{content_of, in_a_line, load_sealed, versionable};
use super::{Governing, shown, stood};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// Every name of the account.
    pub(crate) names: Vec<String>,
    /// The account says nothing of who it is.
    pub(crate) is_shared: bool,
}

impl Who {
    /// An account of the system.
    pub(crate) fn account(uid: u32, name: Option<&str>) -> Self {
        let mut names = vec![format!("uid:{uid}")];
        if let Some(name) = name {
            names = vec![name.to_owned(), format!("unix:{name}"), format!("uid:{uid}")];
        }
        Self { names, is_shared: uid == 0 }
    }

    /// The same, and these users behind it are the same person.
    pub(crate) fn with(mut self, behind: &[u32]) -> Self {
        for uid in behind {
            self.names.extend(Self::account(*uid, accounts::user_name(*uid).as_deref()).names);
        }
        self
    }

    /// Whoever this process belongs to.
    pub(crate) fn of_this_process() -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self::account(uid, accounts::user_name(uid).as_deref()).with(&login::behind_this_process(uid))
    }

    /// Whoever asks a running gateway.
    pub(crate) fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Account(account) => Self::account(account.uid, account.name.as_deref()).with(&account.behind),
            // The same person as the account of that name, and a key or a certificate is no person.
            Peer::Operator(Operator { principal, .. }) => {
                Self { names: names_of_operator(principal), is_shared: !principal.starts_with("user:") }
            }
        }
    }

    pub(crate) fn first(&self) -> &str {
        self.names.first().map_or("somebody", String::as_str)
    }
}

/// What is said last of an author is whose share of what waits a proposal takes: of an id that reads like an account (`uid:1000`) that is the whole name, so that
/// it takes nothing from the account.
fn names_of_operator(principal: &str) -> Vec<String> {
    let mut names: Vec<String> = names_of_principal(principal).into_iter().map(str::to_owned).collect();
    let is_like_an_account = |name: &String| {
        let name = name.to_ascii_lowercase();
        name.starts_with("uid:") || name.starts_with("unix:")
    };
    if names.last().is_some_and(is_like_an_account) {
        names.push(principal.to_owned());
    }
    names
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) answer: Answer,
    /// The version that is to be put in force now.
    pub(crate) activated: Option<u64>,
}

pub(super) type Outcome = Result<Performed, String>;

impl Governing {
    /// Does what is wanted.
    ///
    /// # Errors
    /// Why it is not done, in a sentence.
    pub(crate) fn perform(&self, wanted: Governed, who: &Who, foresight: &dyn Foresight, now: Timestamp) -> Outcome {
        match wanted {
            Governed::List { most, before } => self.list(most, before, now),
            Governed::Show { n: Some(n), change: None } => self.show(n, now),
            Governed::Show { n: None, change: Some(id) } => self.show_change(&id, now),
            Governed::Show { .. } => Err("either a version is shown, or a change: `n` or `change`".to_owned()),
            Governed::Verify => self.verify(),
            Governed::Propose(proposed) => self.propose(&proposed, who, foresight, now),
            Governed::Rollback { n, by, dry_run: true } => self.try_rollback(n, &by, who, foresight, now),
            Governed::Rollback { n, by, dry_run: false } => self.rollback(n, &by, who, foresight, now),
            Governed::Revert { n, by, dry_run } => self.undo((n, dry_run), &by, who, foresight, now),
            Governed::Request { id } => self.request(&id, now),
            Governed::Approve { approval } => self.approve(&approval, now),
            Governed::Reject { id, reason } => self.reject(&id, &reason, who, now),
            Governed::Activate { id, at_once, unseen } => {
                let how = How { at_once: at_once.as_deref(), unseen: unseen.as_deref() };
                self.activate(&id, how, who, foresight, now)
            }
            Governed::Abort { reason } => self.abort(&reason, who, now),
            Governed::Approvers => Ok(self.answer("the approvers".to_owned())),
            Governed::ApproverAdd { approver, by } => {
                let mut set = self.governor().standing().approvers;
                add(&mut set, &approver, now)?;
                self.change_set(set, &by, who, foresight, now)
            }
            Governed::ApproverRevoke { person, key, by } => {
                let mut set = self.governor().standing().approvers;
                set.revoke(&person, key.as_deref(), now)?;
                self.change_set(set, &by, who, foresight, now)
            }
            Governed::ApproverRecovery { quorum, delay_s, keys, by } => {
                let set = self.with_recovery((quorum, delay_s), &keys, now)?;
                self.change_set(set, &by, who, foresight, now)
            }
            Governed::ApproverRecover { keys, by } => self.propose_recovery(&keys, &by, who, foresight, now),
            Governed::Init { approvers, by } => self.init(&approvers, &by, who, now),
        }
    }

    pub(super) fn answer(&self, message: String) -> Performed {
        let standing = self.governor().standing();
        let rollout = self.rollout_now();
        let answer = Answer {
            message,
            live: standing
                .version
                .as_ref()
                .map(|version| shown::live(version, &standing, rollout.as_ref(), self.unkept())),
            approvers: standing.approvers.approvers.iter().map(shown::approver).collect(),
            recovery: shown::recovery(&standing, self.governor().recovering().ok().flatten()),
            ..Answer::default()
        };
        Performed { answer, activated: None }
    }

    /// Has what is asked of these changes, and of what they are compared with, read before the governor is taken for that.
    pub(super) fn read_ahead(&self, ids: &[ChangeId]) -> Ahead {
        let contents: Vec<Content> = {
            let governor = self.governor();
            let proposed = ids.iter().filter_map(|id| governor.content_proposed(*id).ok());
            proposed.chain(governor.live()).chain(governor.served().map(|(_, content)| content)).collect()
        };
        Ahead::of(&self.config, &contents)
    }

    /// Those that wait, where what they are is asked of their files.
    fn open_changes(&self, now: Timestamp) -> Vec<ChangeId> {
        let governor = self.governor();
        if governor.standing().rules.keys > governor.standing().rules.loosen {
            governor.waiting_changes(now).unwrap_or_default().into_iter().take(MOST_AHEAD).collect()
        } else {
            Vec::new()
        }
    }

    /// The change that is named so, read ahead.
    fn found(&self, id: &str) -> Result<(ChangeId, Ahead), String> {
        let id = self.governor().find(id).map_err(said)?;
        Ok((id, self.read_ahead(&[id])))
    }

    fn list(&self, most: u64, before: Option<u64>, now: Timestamp) -> Outcome {
        let mut performed = self.answer(String::new());
        let _ahead = self.read_ahead(&self.open_changes(now));
        let governor = self.governor();
        let last = governor.n();
        let newest = before.map_or(last, |before| before.saturating_sub(1).min(last));
        let from = newest.saturating_sub(most.clamp(1, MOST_LISTED)).saturating_add(1).max(1);
        performed.answer.more = from > 1 && newest > 0;
        let standing = governor.standing();
        let mut next = governor.version(newest.saturating_add(1)).ok();
        for n in (from..=newest).rev() {
            let version = governor.version(n).map_err(said)?;
            let mut shown = shown::version(&version, &standing);
            shown.state = stood::state(&governor, &version, next.as_ref()).to_owned();
            performed.answer.versions.push(shown);
            next = Some(version);
        }
        let proposals = governor.proposals(now).map_err(said)?;
        performed.answer.changes = proposals.iter().map(shown::proposal).collect();
        performed.answer.message = format!("{last} versions");
        Ok(performed)
    }

    fn show(&self, n: u64, _: Timestamp) -> Outcome {
        let mut performed = self.answer(format!("version {n}"));
        let governor = self.governor();
        let version = governor.version(n).map_err(said)?;
        let content = governor.content_of(&version).map_err(said)?;
        let report = governor.impact_of(&version.change).map_err(said)?;
        let mut shown = shown::version(&version, &governor.standing());
        shown.change.foreseen = foresight::in_words(&report);
        let next = governor.version(n.saturating_add(1)).ok();
        shown.state = stood::state(&governor, &version, next.as_ref()).to_owned();
        performed.answer.versions = vec![shown];
        performed.answer.files = files(&content);
        Ok(performed)
    }

    /// A change with its files, and all that an approver would sign.
    fn show_change(&self, id: &str, now: Timestamp) -> Outcome {
        let (id, _ahead) = self.found(id)?;
        let (proposal, content, report, request) = {
            let governor = self.governor();
            let proposal = governor.proposal(id, now).map_err(said)?;
            let change = &proposal.change;
            // Of one that followed on a version which was dropped only its files are known: there is nothing to sign.
            let is_held =
                change.base_n == 0 || governor.holds(Anchor { n: change.base_n, hash: change.base }).map_err(said)?;
            let request = is_held.then(|| governor.request(change.clone())).transpose().map_err(said)?;
            let content = governor.content_of_change(change).map_err(said)?;
            let report = governor.impact_of(change).unwrap_or_default();
            (proposal, content, report, request)
        };
        let mut performed = self.answer(format!("change {}", proposal.change.id.short()));
        performed.answer.request = request.map(|request| request.armored());
        let foreseen = foresight::in_words(&report);
        performed.answer.changes = vec![portcullis_admin::govern::Change { foreseen, ..shown::proposal(&proposal) }];
        performed.answer.files = files(&content);
        Ok(performed)
    }

    /// The author is every name that is known: the account's, and the one that is given.
    fn authors(&self, by: &Author, who: &Who) -> Result<Vec<String>, String> {
        let named = by.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        if named.is_none() && who.is_shared && self.is_required() {
            return Err(format!("{} is an account of many: say who proposes, with --author", who.first()));
        }
        let mut authors: Vec<String> = named.map(str::to_ascii_lowercase).into_iter().collect();
        authors.extend(who.names.iter().map(|name| name.to_ascii_lowercase()));
        authors.dedup();
        Ok(authors)
    }

    pub(super) fn wish(&self, kind: Kind, content: Content, by: &Author, who: &Who) -> Result<Wish, String> {
        Ok(Wish {
            kind,
            content,
            approvers: None,
            authors: self.authors(by, who)?,
            reason: by.reason.clone(),
            ticket: by.ticket.clone().unwrap_or_default(),
            impact: Vec::new(),
            restores: 0,
        })
    }

    fn propose(&self, proposed: &Proposed, who: &Who, foresight: &dyn Foresight, now: Timestamp) -> Outcome {
        let content = match (&proposed.policy, &proposed.files, &proposed.again) {
            (Some(policy), None, None) => self.with_policy(policy)?,
            (None, None, Some(change)) => self.again(change, now)?,
            (None, Some(files), None) => {
                let decoded = files.iter().map(|file| {
                    let bytes =
                        BASE64.decode(file.content.as_bytes()).map_err(|error| format!("{}: {error}", file.name))?;
                    Ok::<_, String>((file.name.clone(), bytes))
                });
                self.all_read(Content { files: decoded.collect::<Result<_, _>>()? })?
            }
            (None, None, None) => self.content_on_disk()?,
            _ => return Err("a policy, all files or a change again is proposed: one of them".to_owned()),
        };
        let wish = self.wish(Kind::Change, content, &proposed.by, who)?;
        let performed = self.put(wish, foresight, now).map_err(said)?;
        // What became live since whoever proposes has looked would be undone with it.
        match (proposed.base, performed.answer.changes.first()) {
            (Some(base), Some(change)) if change.base != base => {
                let why = format!("version {} is live by now, and not {base}, for which it is proposed", change.base);
                Err(self.left_nothing(&change.id, why, now))
            }
            _ => Ok(performed),
        }
    }

    /// What nothing reads is no part of a configuration, and must not be written anywhere once it is live.
    fn all_read(&self, content: Content) -> Result<Content, String> {
        let loaded = load_sealed(&self.config, &content)
            .map_err(|report| self.beyond(&content).unwrap_or_else(|| in_a_line(&report)))?;
        let read = content_of(&loaded);
        match content.files.keys().find(|name| !read.files.contains_key(*name)) {
            Some(name) => Err(format!("nothing reads `{}`: leave it out", name.escape_debug())),
            None => Ok(content),
        }
    }

    /// What is live, or where nothing is yet what is on the disk, with another policy.
    fn with_policy(&self, policy: &str) -> Result<Content, String> {
        let live = if self.is_required() { self.live()? } else { self.on_disk()? };
        let mut content = versionable(&self.config, &live)?;
        content.files.insert(live.governed.policy, policy.as_bytes().to_vec());
        // Problems of values that are expanded name these.
        match self.beyond(&content).filter(|_| load_sealed(&self.config, &content).is_err()) {
            Some(beyond) => Err(beyond),
            None => Ok(content),
        }
    }

    fn content_on_disk(&self) -> Result<Content, String> {
        versionable(&self.config, &self.on_disk()?)
    }

    pub(super) fn on_disk(&self) -> Result<Loaded, String> {
        load(&self.config, &ProcessEnvironment).map_err(|report| in_a_line(&report))
    }

    pub(super) fn live(&self) -> Result<Loaded, String> {
        let content = self.governor().live().map_err(said)?;
        load_sealed(&self.config, &content).map_err(|report| in_a_line(&report))
    }

    /// The report on what a content would have done, or on why nobody can tell.
    pub(super) fn foresee(
        &self,
        kind: Kind,
        content: &Content,
        foresight: &dyn Foresight,
        patience: Duration,
    ) -> Vec<u8> {
        let foreseen = match kind {
            Kind::Keys | Kind::Recovery => {
                Err("the approvers alone change: no request is answered otherwise".to_owned())
            }
            // What cannot be read is refused in a moment, with the reason.
            _ => load_sealed(&self.config, content)
                .map_err(|report| report.summary_line())
                .and_then(|loaded| foresight.foresee(loaded, patience)),
        };
        foresight::report(foreseen)
    }

    /// Which variables of the environment a content refers to, for whoever proposes it: their values are approved with it.
    fn bound_by(&self, content: &Content) -> String {
        let loaded = load_sealed(&self.config, content).ok().filter(|loaded| loaded.governance.required);
        let names: Vec<String> = loaded.into_iter().flat_map(|loaded| loaded.governed.variables).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!(
                "; the values of the variables {} are approved with it: with other values the gateway does not start",
                names.join(", ")
            ),
        }
    }

    pub(super) fn put(
        &self,
        wish: Wish,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Result<Performed, GovernanceError> {
        // Whoever takes a mistake back where nobody signs does not wait.
        let patience = if self.is_required() { PATIENCE } else { Duration::ZERO };
        let sent = Some(&wish.content).filter(|_| wish.restores == 0);
        let impact = match sent.and_then(|content| self.beyond(content)) {
            Some(beyond) => foresight::report(Err(beyond)),
            None => self.foresee(wish.kind, &wish.content, foresight, patience),
        };
        let wish = Wish { impact, ..wish };
        let _ahead = (Ahead::of(&self.config, [&wish.content]), self.read_ahead(&[]));
        let change = self.governor().propose(&wish, now)?;
        let proposal = self.governor().proposal(change.id, now)?;
        let next = match proposal.need.old {
            need if change.kind == Kind::Recovery => {
                format!("{need} different holders of recovery keys have to sign, and then there is a delay")
            }
            0 => "it can be activated".to_owned(),
            1 => "1 person other than the author has to approve".to_owned(),
            need => format!("{need} persons other than the author have to approve"),
        };
        let foreseen = foresight::in_words(&wish.impact);
        let first: Vec<&str> = foreseen.iter().take(2).map(String::as_str).collect();
        let bound = self.bound_by(&wish.content);
        let message = format!("change {} {}: {next}; {}{bound}", change.id.short(), does(&change), first.join(", "));
        let mut performed = self.answer(message);
        performed.answer.changes = vec![portcullis_admin::govern::Change { foreseen, ..shown::proposal(&proposal) }];
        Ok(performed)
    }

    fn request(&self, id: &str, now: Timestamp) -> Outcome {
        let (id, _ahead) = self.found(id)?;
        let request = {
            let governor = self.governor();
            let proposal = governor.proposal(id, now).map_err(said)?;
            governor.request(proposal.change).map_err(said)?
        };
        let mut performed = self.answer(format!("change {}", request.change.id.short()));
        performed.answer.request = Some(request.armored());
        Ok(performed)
    }

    fn approve(&self, approval: &str, now: Timestamp) -> Outcome {
        let (id, approval) = parse_approval(approval).map_err(|error| format!("the approval: {error}"))?;
        let _ahead = self.read_ahead(&[id]);
        if self.governor().is_recovering(id) {
            return self.veto(&approval, now);
        }
        let proposal = self.governor().approve(id, &approval, now).map_err(said)?;
        let person = {
            let standing = self.governor().standing();
            standing.approvers.owner(&approval.key).map(|(approver, _)| approver.person.clone())
        };
        let person = person.unwrap_or_else(|| match proposal.change.kind {
            Kind::Recovery => "a holder of a recovery key".to_owned(),
            _ => "a new approver".to_owned(),
        });
        let missing = match &proposal.missing {
            None => "it can be activated".to_owned(),
            Some(missing) => missing.to_string(),
        };
        let word = match approval.decision {
            portcullis_governance::Decision::Approve => "approved",
            portcullis_governance::Decision::Reject => "rejected",
        };
        let mut performed = self.answer(format!("change {} {word} by {person}: {missing}", id.short()));
        performed.answer.changes = vec![shown::proposal(&proposal)];
        Ok(performed)
    }

    fn reject(&self, id: &str, reason: &str, who: &Who, now: Timestamp) -> Outcome {
        let (id, _ahead) = self.found(id)?;
        let proposal = {
            let mut governor = self.governor();
            if governor.is_recovering(id) {
                return Err(ONLY_SIGNED.to_owned());
            }
            governor.reject(id, now).map_err(said)?
        };
        let mut performed =
            self.answer(format!("change {} rejected by {}: {reason}", proposal.change.id.short(), who.first()));
        performed.answer.changes = vec![shown::proposal(&proposal)];
        Ok(performed)
    }

    fn change_set(
        &self,
        set: ApproverSet,
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        if !self.is_required() {
            return Err(
                "governance has not begun: name the first approvers with `portcullis governance init`".to_owned()
            );
        }
        let content = self.governor().live().map_err(said)?;
        let wish = Wish { approvers: Some(set), ..self.wish(Kind::Keys, content, by, who)? };
        self.put(wish, foresight, now).map_err(said)
    }

    fn init(&self, approvers: &[NewApprover], by: &Author, who: &Who, now: Timestamp) -> Outcome {
        // Also whoever cannot say who they are is told that there is nothing left to begin.
        if self.is_required() {
            return Err(said(GovernanceError::Begun(self.n())));
        }
        let loaded = self.on_disk()?;
        if !loaded.governance.required {
            return Err("write `required = true` into `[governance]` first: that is what begins".to_owned());
        }
        let mut set = ApproverSet::default();
        for approver in approvers {
            add(&mut set, approver, now)?;
        }
        let wish =
            Wish { approvers: Some(set), ..self.wish(Kind::Keys, versionable(&self.config, &loaded)?, by, who)? };
        let (version, trouble) = self.governor().begin(&wish, now).map_err(said)?;
        self.owe(version.n);
        let mut message = format!(
            "governance begins with version {0}; this instance is {1}: write it down, and start the gateway with `--governed {2}`, or with PORTCULLIS_GOVERNED={2} and PORTCULLIS_INSTANCE={1} in its unit or container",
            version.n,
            version.instance_after(),
            std::path::absolute(&self.store.path).unwrap_or_else(|_| self.store.path.clone()).display()
        );
        if let Some(error) = trouble {
            message.push_str(&format!("; run it again, since the head file could not be written: {error}"));
        }
        message.push_str(&crate::lending::ending::in_words(self));
        let mut performed = self.answer(message);
        performed.answer.versions = vec![shown::version(&version, &self.governor().standing())];
        performed.activated = Some(version.n);
        Ok(performed)
    }
}

/// What is signed is waited for so long, where another policy is being tried.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Of changes that wait so many are read at once before a list of them: each may have many megabytes, and the others are read one after the other.
const MOST_AHEAD: usize = 16;
/// Versions that are listed at once.
const MOST_LISTED: u64 = 10_000;

pub(super) fn said(error: GovernanceError) -> String {
    error.to_string()
}

fn does(change: &Change) -> String {
    match change.kind {
        Kind::Keys => "changes the approvers".to_owned(),
        Kind::Recovery => "replaces keys of approvers".to_owned(),
        _ => format!("({})", change.class.as_str()),
    }
}

fn add(set: &mut ApproverSet, approver: &NewApprover, now: Timestamp) -> Result<(), String> {
    let key = PublicKey::from_pem(approver.key.as_bytes()).map_err(|error| format!("{}: {error}", approver.person))?;
    set.add(&approver.person, &approver.aliases, key, now)
}

fn files(content: &Content) -> Vec<File> {
    content.files.iter().map(|(name, bytes)| File { name: name.clone(), content: BASE64.encode(bytes) }).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_person_is_one_person_over_the_socket_and_over_the_network() {
        let over_network = |principal: &str| {
            let client: Option<IpAddr> = None;
            Who::of(&Peer::Operator(Operator { principal: principal.to_owned(), client }))
        };
        let account = Who::account(1000, Some("alice"));
        let alice = over_network("user:alice");
        assert!(alice.names.iter().any(|name| account.names.contains(name)), "{alice:?} {account:?}");
        assert!(!over_network("user:bob").names.iter().any(|name| account.names.contains(name)));
        let shared = ["user:alice", "service:alice", "certificate:alice"].map(|who| over_network(who).is_shared);
        assert_eq!(shared, [false, true, true], "a key and a certificate are no person");
        // An id that reads like an account is none.
        for whole in ["service:uid:1000", "user:UID:1000", "user:unix:alice"] {
            assert_eq!(over_network(whole).names.last().unwrap(), whole);
        }
        assert_eq!(over_network("user:alice").names, ["user:alice", "alice"]);
        assert!(Who::account(0, Some("root")).is_shared);
        // Whoever became root is still who they were, and root is nobody in particular.
        let alice = Who::account(0, Some("root")).with(&[4_000_000_001]);
        assert_eq!((alice.first(), alice.is_shared), ("root", true));
        assert!(alice.names.contains(&"uid:4000000001".to_owned()), "{alice:?}");
    }
}
