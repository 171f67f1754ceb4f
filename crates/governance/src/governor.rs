//! The only one who appends to the log.
//!
//! A change goes this way: [`Governor::propose`] has it compiled and classed, and stores it; [`Governor::approve`] takes signatures;
//! [`Governor::activate`] holds it to the rules of the version that is live, and appends. What is checked when somebody approves is checked
//! again then: between the two everything may have changed.

mod beginning;
mod hearing;
mod log;
mod proposals;
mod recovering;
mod restoring;
mod resuming;
mod rolling;
mod room;
mod source;
mod unknown;

use jiff::Timestamp;

use crate::approval::{Approval, Decision};
use crate::approver::ApproverSet;
use crate::change::{Change, ChangeId, Class, Kind, Rules};
use crate::content::Content;
use crate::error::{GovernanceError, LedgerError};
use crate::hash::Hash;
use crate::head::{Head, HeadPlace};
use crate::heard::Heard;
use crate::ledger::{ChangeState, Ledger, NewVersion};
use crate::recovery;
use crate::rollout::Rollout;
use crate::threshold::{Count, Need, Shortfall};
use crate::version::{MAX_APPROVALS, MadeLive, Version};

pub use hearing::{Happened, What};
use proposals::closed;
pub use resuming::GoesOn;
pub use source::{Assessed, PolicySource};

/// What somebody wants to be live.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What kind of version it would be.
    pub kind: Kind,
    /// The files.
    pub content: Content,
    /// Other approvers; `None`: those of now.
    pub approvers: Option<ApproverSet>,
    /// Every name that is known of the author.
    pub authors: Vec<String>,
    /// Why.
    pub reason: String,
    /// Where more is said; may be empty.
    pub ticket: String,
    /// The report on what was foreseen of its impact, or on why nothing was; empty where nobody looked. At most [`MAX_IMPACT`] bytes.
    pub impact: Vec<u8>,
    /// Of a rollback: whose content it is; of an undoing: whose change is taken out.
    pub restores: u64,
}

/// The longest report on an impact, in bytes.
pub const MAX_IMPACT: usize = 1 << 20;

/// A proposal, and how it stands.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What is proposed.
    pub change: Change,
    /// How it stands.
    pub state: ChangeState,
    /// What was signed under it.
    pub approvals: Vec<Approval>,
    /// Who said what.
    pub count: Count,
    /// How many must approve.
    pub need: Need,
    /// What is missing; `None`: it can be activated.
    pub missing: Option<Shortfall>,
}

/// What is live.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The version; `None`: nothing was ever live.
    pub version: Option<Version>,
    /// What is demanded of the next one.
    pub rules: Rules,
    /// Who may approve.
    pub approvers: ApproverSet,
    /// Which gateway it is; none until governance begins.
    pub instance: Hash,
    /// How far that version has come, where it is rolled out step by step: the one before it serves, too.
    pub rollout: Option<Rollout>,
}

/// Keeps the log.
pub struct Governor {
    ledger: Box<dyn Ledger + Send>,
    head: Box<dyn HeadPlace + Send>,
    source: Box<dyn PolicySource + Send>,
    last: Option<Version>,
    approvers: ApproverSet,
    rollout: Option<Rollout>,
    /// What the store keeps of that, as it was last read or written: what is written takes the place of this and of nothing else.
    kept: Option<Vec<u8>>,
    /// What is beside the store of recoveries.
    heard: Option<Heard>,
    /// Why that is not known, where something else is in its place.
    unknown: Option<String>,
    /// Up to which version it is told what became of them.
    told: u64,
}

/// How a change becomes a version.
struct How<'h> {
    /// As whose act, and with which exceptions.
    made: MadeLive,
    /// What its hashes are of, where the store does not have it yet.
    blobs: &'h [(Hash, &'h [u8])],
    /// By which steps; `None`: at once.
    rollout: Option<Rollout>,
}

impl std::fmt::Debug for Governor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Governor")
            .field("version", &self.last.as_ref().map(|last| last.n))
            .finish_non_exhaustive()
    }
}

impl Governor {
    /// What is live.
    pub fn standing(&self) -> Standing {
        Standing {
            version: self.last.clone(),
            rules: self.rules(),
            approvers: self.approvers.clone(),
            instance: self.instance(),
            rollout: self.rollout,
        }
    }

    /// The number of the version that is live; 0 for none.
    pub fn n(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.n)
    }

    /// Whether only what was approved becomes live.
    pub fn is_required(&self) -> bool {
        self.rules().required
    }

    /// The files of the version that is live.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn live(&self) -> Result<Content, GovernanceError> {
        self.last
            .as_ref()
            .map_or_else(|| Err(GovernanceError::Unknown("version yet".to_owned())), |last| self.content_of(last))
    }

    /// Reads and compares contents.
    pub fn source(&self) -> &dyn PolicySource {
        &*self.source
    }

    fn rules(&self) -> Rules {
        self.last.as_ref().map_or_else(Rules::default, Version::rules)
    }

    fn instance(&self) -> Hash {
        self.last.as_ref().map_or(Hash::NONE, Version::instance_after)
    }

    fn base(&self) -> (u64, Hash) {
        self.last.as_ref().map_or((0, Hash::NONE), |last| (last.n, last.hash()))
    }

    /// Stores a change that waits to be approved.
    ///
    /// # Errors
    /// A content that cannot be put in force, a change that changes nothing or leaves too few approvers, no room.
    pub fn propose(&mut self, wish: &Wish, now: Timestamp) -> Result<Change, GovernanceError> {
        self.expire(now)?;
        let (change, assessed) = self.change(wish, now)?;
        let (base_governed, base_approvers) =
            self.last.as_ref().map_or((Hash::NONE, Hash::NONE), |last| (last.change.governed, last.change.approvers));
        if assessed.governed == base_governed && recovery::means(&change) == base_approvers {
            return Err(GovernanceError::NothingChanges);
        }
        self.check_set(&change, wish.approvers.as_ref())?;
        if let (Kind::Recovery, set) = (change.kind, wish.approvers.as_ref().unwrap_or(&self.approvers)) {
            self.check_recovery(&change, set, now)?;
        }
        self.has_room(&change)?;
        let (content, set) = (wish.content.encode(), wish.approvers.as_ref().map(ApproverSet::encode));
        let mut blobs = vec![(change.content, content.as_slice())];
        let meant = recovery::means(&change);
        blobs.extend(set.as_deref().map(|set| (meant, set)));
        blobs.extend((!change.impact.is_none()).then_some((change.impact, wish.impact.as_slice())));
        self.ledger.propose(change.id, &change.encode(), [change.content, meant, change.impact], &blobs)?;
        Ok(change)
    }

    /// The change that a wish is.
    fn change(&self, wish: &Wish, now: Timestamp) -> Result<(Change, Assessed), GovernanceError> {
        if !wish.content.is_bounded() {
            return Err(GovernanceError::Invalid(format!(
                "the files are larger than {} MiB",
                crate::MAX_CONTENT >> 20
            )));
        }
        let assessed = self.source.assess(&wish.content).map_err(GovernanceError::Invalid)?;
        let class = match self.last.as_ref() {
            None => Class::Mixed,
            Some(last) => self.class_after(last, assessed.governed, &wish.content)?,
        };
        Ok((self.change_of(wish, assessed, class, now)?, assessed))
    }

    /// What a content does that is to follow on a version.
    fn class_after(&self, last: &Version, governed: Hash, content: &Content) -> Result<Class, GovernanceError> {
        if last.change.governed == governed {
            return Ok(Class::Neutral);
        }
        let base = self.content_of(last)?;
        // What it was then is not there to be compared with.
        match self.source.is_still(&base, last.change.governed) {
            true => Ok(self.source.class(&base, content)),
            false => Ok(Class::Mixed),
        }
    }

    /// The same of a wish that was read and compared.
    fn change_of(
        &self,
        wish: &Wish,
        assessed: Assessed,
        class: Class,
        now: Timestamp,
    ) -> Result<Change, GovernanceError> {
        if !wish.content.is_bounded() {
            return Err(GovernanceError::Invalid(format!(
                "the files are larger than {} MiB",
                crate::MAX_CONTENT >> 20
            )));
        }
        if wish.impact.len() > MAX_IMPACT {
            return Err(GovernanceError::Invalid(format!(
                "the report on its impact is larger than {} MiB",
                MAX_IMPACT >> 20
            )));
        }
        let (base_n, base) = self.base();
        let set = wish.approvers.as_ref().unwrap_or(&self.approvers);
        let change = Change {
            id: ChangeId::random()?,
            kind: wish.kind,
            class,
            base_n,
            base,
            content: wish.content.hash(),
            governed: assessed.governed,
            approvers: if wish.kind == Kind::Recovery { self.approvers.hash() } else { set.hash() },
            recovers: if wish.kind == Kind::Recovery { set.hash() } else { Hash::NONE },
            impact: if wish.impact.is_empty() { Hash::NONE } else { Hash::of(&wish.impact) },
            rules: assessed.rules,
            restores: wish.restores,
            authors: wish.authors.clone(),
            reason: wish.reason.clone(),
            ticket: wish.ticket.clone(),
            created: now.as_microsecond(),
            expires: Change::end(&self.rules(), now).as_microsecond(),
        };
        match change.text_problem() {
            Some(problem) => Err(GovernanceError::Invalid(problem)),
            None => Ok(change),
        }
    }

    /// Whether the approvers that there would be can still change anything.
    fn check_set(&self, change: &Change, new: Option<&ApproverSet>) -> Result<(), GovernanceError> {
        let set = new.unwrap_or(&self.approvers);
        if !set.keeps(&self.approvers) {
            return Err(GovernanceError::Invalid(
                "an approver or a key would be gone: they are revoked, not removed".to_owned(),
            ));
        }
        if let Some(revived) = self.head.revoked()?.revived_in(set).into_iter().next().filter(|_| change.rules.required)
        {
            return Err(GovernanceError::Revived { person: revived.person, key: revived.key });
        }
        if change.rules.required && set.is_empty() && !self.rules().required {
            let remedy = "it demands approvals, and there are no approvers: begin with `portcullis governance init`";
            return Err(GovernanceError::Invalid(remedy.to_owned()));
        }
        let need = usize::from(change.rules.loosen.max(change.rules.keys).max(change.rules.tighten));
        if change.rules.required && set.active() < need {
            return Err(GovernanceError::TooFewApprovers { have: set.active(), need });
        }
        Ok(())
    }

    /// Takes what somebody signed under a change. A rejection ends it.
    ///
    /// # Errors
    /// A change that waits no longer, and a signature that counts for nothing, with the reason.
    pub fn approve(&mut self, id: ChangeId, approval: &Approval, now: Timestamp) -> Result<Proposal, GovernanceError> {
        let proposal = self.waiting(id, now)?;
        if !approval.is_valid(self.instance(), &proposal.change) {
            return Err(GovernanceError::BadApproval("it is not signed under this change of this gateway"));
        }
        let new = self.set_of(&proposal.change)?;
        self.can_count(approval, &proposal.change, &new)?;
        let sets = [&self.approvers, &new];
        let alone = Count::of(self.instance(), &proposal.change, std::slice::from_ref(approval), sets, now);
        if alone == Count::default() {
            return Err(GovernanceError::BadApproval(
                "its person is the author, or it was signed outside of the change's time, or it is a no with the very key that the change revokes",
            ));
        }
        if proposal.approvals.len() >= MAX_APPROVALS {
            return Err(GovernanceError::BadApproval("there are too many already"));
        }
        self.ledger.add_approval(id, approval.key, &approval.encode())?;
        if approval.decision == Decision::Reject {
            self.ledger.close(id, ChangeState::Rejected)?;
        }
        self.proposal(id, now)
    }

    /// Ends a change that waits.
    ///
    /// # Errors
    /// That it does not wait.
    pub fn reject(&mut self, id: ChangeId, now: Timestamp) -> Result<Proposal, GovernanceError> {
        let proposal = self.proposal(id, now)?;
        if proposal.state != ChangeState::Open {
            return Err(closed(&proposal));
        }
        self.ledger.close(id, ChangeState::Rejected)?;
        self.proposal(id, now)
    }

    /// Makes a change live, if it may be. Says also what could not be written of it; the version is live all the same.
    ///
    /// # Errors
    /// Why it may not be: nothing has changed then.
    pub fn activate(
        &mut self,
        id: ChangeId,
        made: impl Into<MadeLive>,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (proposal, _, new) = self.admitted(id, now)?;
        let how = How { made: made.into(), blobs: &[], rollout: None };
        self.append(proposal.change, proposal.approvals, new, how, now)
    }

    /// The content of a change that could become live now.
    ///
    /// # Errors
    /// Why it may not.
    pub fn ready(&self, id: ChangeId, now: Timestamp) -> Result<Content, GovernanceError> {
        self.admitted(id, now).map(|(_, content, _)| content)
    }

    /// A change that may become live, with its content and the approvers that there are then.
    fn admitted(&self, id: ChangeId, now: Timestamp) -> Result<(Proposal, Content, ApproverSet), GovernanceError> {
        let proposal = self.waiting(id, now)?;
        let change = &proposal.change;
        let content = self.blob(change.content).and_then(|bytes| decode_content(&bytes))?;
        let new = self.set_of(change)?;
        self.check_again(change, &content, &new, now)?;
        let need = self.need_of(change);
        Count::of(self.instance(), change, &proposal.approvals, [&self.approvers, &new], now).meets(need)?;
        Ok((proposal, content, new))
    }

    /// The content and its class were looked at when it was proposed; by now the store may hold something else.
    fn check_again(
        &self,
        change: &Change,
        content: &Content,
        new: &ApproverSet,
        now: Timestamp,
    ) -> Result<(), GovernanceError> {
        let assessed = self.source.assess(content).map_err(GovernanceError::Invalid)?;
        if assessed.rules != change.rules || assessed.governed != change.governed {
            let why = "what it holds is read otherwise than when it was proposed: propose it again";
            return Err(GovernanceError::Invalid(why.to_owned()));
        }
        if let Some(last) = &self.last {
            let class = self.class_after(last, change.governed, content)?;
            if class != change.class {
                return Err(GovernanceError::of_class(change.class, class));
            }
            if change.kind == Kind::Keys && change.content != last.change.content {
                return Err(GovernanceError::Invalid("a change of the approvers changes nothing else".to_owned()));
            }
        }
        if change.kind == Kind::Recovery {
            self.check_recovery(change, &self.set_meant(change)?, now)?;
        }
        if change.kind != Kind::Keys && new != &self.approvers {
            return Err(GovernanceError::Invalid("other approvers are a change of their own".to_owned()));
        }
        self.check_set(change, Some(new))
    }

    /// Notes what becomes live without anybody being asked: where approvals are not required. Whoever puts it in force has read it, and says what
    /// it is and does. Returns the number of the version that it is, and whether that is a new one.
    ///
    /// # Errors
    /// Approvals are required, or it cannot be written.
    pub fn note(
        &mut self,
        wish: &Wish,
        (assessed, class): (Assessed, Class),
        now: Timestamp,
    ) -> Result<(u64, bool, Option<GovernanceError>), GovernanceError> {
        if self.is_required() {
            return Err(GovernanceError::Required("it is no version before it is approved"));
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.change.governed == assessed.governed) {
            return Ok((last.n, false, None));
        }
        let change = self.change_of(wish, assessed, class, now)?;
        let bytes = wish.content.encode();
        let (by, set) = (change.authors.first().cloned().unwrap_or_default(), self.approvers.clone());
        let mut blobs = vec![(change.content, bytes.as_slice())];
        blobs.extend((!change.impact.is_none()).then_some((change.impact, wish.impact.as_slice())));
        let (version, trouble) =
            self.append(change, Vec::new(), set, How { made: (&*by).into(), blobs: &blobs, rollout: None }, now)?;
        Ok((version.n, true, trouble))
    }

    /// Begins governance: the first approvers.
    ///
    /// # Errors
    /// It has begun already, or they are too few for the rules.
    pub fn begin(
        &mut self,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        if !self.approvers.is_empty() {
            return Err(GovernanceError::Begun(self.n()));
        }
        let set = wish.approvers.clone().unwrap_or_default();
        if set.is_empty() {
            return Err(GovernanceError::Invalid("name the approvers".to_owned()));
        }
        let (change, _) = self.change(wish, now)?;
        self.check_set(&change, Some(&set))?;
        let (content, encoded) = (wish.content.encode(), set.encode());
        let by = change.authors.first().cloned().unwrap_or_default();
        let blobs = [(change.content, content.as_slice()), (change.approvers, encoded.as_slice())];
        self.append(change, Vec::new(), set, How { made: (&*by).into(), blobs: &blobs, rollout: None }, now)
    }

    fn append(
        &mut self,
        change: Change,
        approvals: Vec<Approval>,
        set: ApproverSet,
        How { made: MadeLive { by, mut exceptions }, blobs, rollout }: How<'_>,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (base_n, prev) = self.base();
        let id = change.id;
        let instance = self.instance();
        let (n, time) = (base_n.saturating_add(1), now.as_microsecond());
        exceptions.cut_short = self.rollout.is_some_and(|over| !over.is_ending()) && change.kind != Kind::Revert;
        let version = Version { n, prev, instance, time, by, exceptions, change, approvals };
        let refers = [version.change.content, recovery::means(&version.change), version.change.impact];
        let record = version.encode();
        let hash = Hash::of(&record);
        let kept = rollout.map(|rollout| rollout.encode());
        let new = NewVersion { n, hash, record: &record, refers, done: Some(id), rollout: kept.as_deref() };
        let noted = self.note_begun((n, id), rollout)?;
        if let Err(error) = self.ledger.append(new, blobs) {
            // It is not there, and what was noted of another one counts again. After any other error it may be there.
            if let (LedgerError::Conflict, Some(noted)) = (&error, noted) {
                self.head.write_steps(noted)?;
            }
            // What another process did meanwhile is known from now on: who asks again asks by what is.
            if error == LedgerError::Conflict {
                self.catch_up()?;
            }
            return Err(error.into());
        }
        // From here on it is live, whatever happens: the next start finds it in the store, and approved.
        self.approvers = set;
        let head = Head { n, hash, required: version.rules().required };
        self.last = Some(version.clone());
        (self.rollout, self.kept) = (rollout, kept);
        let unlisted = self.list_revocations().err();
        let trouble = self.head.write(head).err().or(unlisted);
        // What was proposed for the version before waits for nothing any more. Where that cannot be written it is told from what it is, and written later.
        if trouble.is_none() {
            let _ = self.expire(now);
        }
        Ok((version, trouble))
    }
}

fn decode_content(bytes: &[u8]) -> Result<Content, GovernanceError> {
    Content::decode(bytes).map_err(|error| GovernanceError::Invalid(error.to_string()))
}
