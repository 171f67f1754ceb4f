//! Approvers who have lost their keys: other ones, by whoever holds recovery keys, after a delay in which any approver can say no.
//!
//! It begins and ends only while a gateway runs, which tells of it by an event: else nobody would hear of it in time.

use jiff::Timestamp;
use portcullis_admin::govern::{Author, NewApprover};
use portcullis_governance::{
    Approval, ApproverSet, Governor, Happened, Kind, PublicKey, Recovering, Recovery, RecoveryKey, What, Wish,
};

use super::Governing;
use super::desk::{Outcome, Performed, Who, said};
use super::foresight::Foresight;

/// How a recovery that has begun is refused.
pub(super) const ONLY_SIGNED: &str = "the recovery has begun, and only an approver's signed no ends it: `portcullis policy request CHANGE --out FILE`, `portcullis policy sign FILE --reject --key KEY --out NO`, `portcullis policy approve --approval NO`";

impl Governing {
    /// The approvers of now, with these recovery keys or none.
    pub(super) fn with_recovery(
        &self,
        (quorum, delay_s): (u8, u64),
        keys: &[NewApprover],
        now: Timestamp,
    ) -> Result<ApproverSet, String> {
        let set = self.governor().standing().approvers;
        if keys.is_empty() {
            return Ok(ApproverSet { recovery: None, ..set });
        }
        let known = |public| set.recovery.as_ref().and_then(|recovery| recovery.holder(&public)).cloned();
        let enrolled = keys.iter().map(|key| {
            let holder = key.person.to_ascii_lowercase();
            let public = public_of(key)?;
            if set.approvers.iter().any(|approver| approver.keys.iter().any(|each| each.public == public)) {
                return Err(format!(
                    "{holder}: the key {} is one of an approver: a recovery key is another one",
                    public.id()
                ));
            }
            let known = known(public).filter(|known| known.holder == holder);
            Ok(known.unwrap_or(RecoveryKey { holder, public, added: now.as_microsecond() }))
        });
        let recovery = Recovery::new(quorum, delay_s, enrolled.collect::<Result<_, String>>()?)?;
        Ok(ApproverSet { recovery: Some(recovery), ..set })
    }

    /// Stores a recovery that waits to be signed with recovery keys.
    pub(super) fn propose_recovery(
        &self,
        keys: &[NewApprover],
        by: &Author,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Outcome {
        let keys =
            keys.iter().map(|key| Ok((key.person.clone(), public_of(key)?))).collect::<Result<Vec<_>, String>>()?;
        let (set, content) = {
            let governor = self.governor();
            let set = governor.standing().approvers.with_keys_replaced(&keys, now)?;
            (set, governor.live().map_err(said)?)
        };
        let wish = Wish { approvers: Some(set), ..self.wish(Kind::Recovery, content, by, who)? };
        self.put(wish, foresight, now).map_err(said)
    }

    /// Begins a recovery that is named so, or ends the one that has begun; `None`: it is another change.
    pub(super) fn recover(
        &self,
        id: &str,
        who: &Who,
        foresight: &dyn Foresight,
        now: Timestamp,
    ) -> Result<Option<Performed>, String> {
        let mut governor = self.governor();
        // Also where the list of what was proposed does not go back so far.
        let begun = governor.standing().version.map(|version| version.change.id);
        let begun = begun.filter(|begun| governor.is_recovering(*begun));
        let has_begun = begun.is_some_and(|begun| id.len() >= 8 && begun.to_string().starts_with(id));
        let found = match begun.filter(|_| has_begun) {
            Some(begun) => begun,
            None => governor.find(id).map_err(said)?,
        };
        if !has_begun && governor.proposal(found, now).map_err(said)?.change.kind != Kind::Recovery {
            return Ok(None);
        }
        if !foresight.tells() {
            return Err("a recovery begins and ends only while a gateway runs, which tells of it: start the gateway, with what was approved last".to_owned());
        }
        let (version, trouble) = match has_begun {
            false => governor.activate(found, who.first(), now).map_err(said)?,
            true => governor.end_recovery(who.first(), now).map_err(said)?,
        };
        self.owe(version.n);
        let message = match governor.recovering().map_err(said)? {
            Some(begun) => in_words(&begun, &version.change.id.short()),
            None => done(version.n),
        };
        drop(governor);
        Ok(Some(self.activated(&version, message, trouble)))
    }

    /// An approver's signed no to the recovery that has begun.
    pub(super) fn veto(&self, approval: &Approval, now: Timestamp) -> Outcome {
        let (version, person, trouble) = self.governor().veto(approval, now).map_err(said)?;
        self.owe(version.n);
        Ok(self.activated(&version, refused(version.n, &person), trouble))
    }

    /// Tells what became of recoveries and was not told yet, whoever wrote it: from then on the delay of one that has begun counts. `starts`: also of one that was
    /// told before and can still be ended, since the process may have ended before anybody heard of it.
    ///
    /// # Errors
    /// That it was told cannot be written down, or the store cannot be read: it is to be tried again.
    pub(crate) fn tell_recoveries(
        &self,
        starts: bool,
        now: Timestamp,
        mut tell: impl FnMut(String),
    ) -> Result<(), String> {
        // Held to the end: two that tell would tell it twice.
        let mut governor = self.governor();
        if !starts && !governor.has_to_tell() {
            return Ok(());
        }
        let mut under_way = starts;
        for Happened { n, what } in governor.untold().map_err(said)? {
            let begun = governor.recovering().ok().flatten().filter(|begun| begun.n == n);
            under_way &= begun.is_none();
            tell(match (what, begun) {
                (What::Begun(_), Some(begun)) => in_words(&begun, &short_of(&governor)),
                (What::Begun(persons), None) => {
                    format!(
                        "a recovery had begun, with version {n}: it was to have {} sign with other keys",
                        persons.join(", ")
                    )
                }
                (What::Done, _) => done(n),
                (What::Refused(person), _) => refused(n, &person),
                (What::Over(began), _) => {
                    format!(
                        "the recovery that began with version {began} is over: version {n} followed, and no keys were replaced"
                    )
                }
            });
        }
        let begun = governor.recovering().ok().flatten().filter(|begun| now.as_microsecond() < begun.lapses);
        if let Some(begun) = begun.filter(|_| under_way) {
            tell(in_words(&begun, &short_of(&governor)));
        }
        governor.have_told(now).map_err(|error| {
            format!("it cannot be written down that a recovery was told, and its delay counts from then on: {error}")
        })
    }
}

fn short_of(governor: &Governor) -> String {
    governor.standing().version.map_or_else(String::new, |version| version.change.id.short())
}

fn done(n: u64) -> String {
    format!(
        "a recovery is done, with version {n}: keys of approvers were replaced after the delay; the keys that they had count for nothing any more"
    )
}

fn refused(n: u64, person: &str) -> String {
    format!(
        "a recovery is over, with version {n}: {person} has said no, and the approvers sign with the keys that they have"
    )
}

fn in_words(begun: &Recovering, change: &str) -> String {
    let due = Timestamp::from_microsecond(begun.due).unwrap_or(Timestamp::MAX);
    format!(
        "a recovery has begun, with version {}: from {due:.0} on `portcullis policy activate {change}` has {} sign with other keys; until then any approver can say no: `portcullis policy request {change} --out FILE`, `portcullis policy sign FILE --reject --key KEY --out NO`, `portcullis policy approve --approval NO`",
        begun.n,
        begun.persons.join(", ")
    )
}

fn public_of(key: &NewApprover) -> Result<PublicKey, String> {
    PublicKey::from_pem(key.key.as_bytes()).map_err(|error| format!("{}: {error}", key.person))
}
