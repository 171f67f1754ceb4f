//! Approvers who have lost their keys: other ones, by whoever holds recovery keys, after a delay in which any approver can say no.
//!
//! It begins and ends only while a gateway runs, which tells of it by an event: else nobody would hear of it in time.

use jiff::Timestamp;
use portcullis_admin::govern::{Author, NewApprover};
use portcullis_governance::{Approval, ApproverSet, Kind, PublicKey, Recovering, Recovery, RecoveryKey, Wish};

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
            None => format!(
                "a recovery is done, with version {}: keys of approvers were replaced after the delay; the keys that they had count for nothing any more",
                version.n
            ),
        };
        drop(governor);
        let mut performed = self.activated(&version, message.clone(), trouble);
        performed.told = Some(message);
        Ok(Some(performed))
    }

    /// An approver's signed no to the recovery that has begun.
    pub(super) fn veto(&self, approval: &Approval, now: Timestamp) -> Outcome {
        let (version, person, trouble) = self.governor().veto(approval, now).map_err(said)?;
        self.owe(version.n);
        let message = format!(
            "a recovery is over, with version {}: {person} has said no, and the approvers sign with the keys that they have",
            version.n
        );
        let mut performed = self.activated(&version, message.clone(), trouble);
        performed.told = Some(message);
        Ok(performed)
    }

    /// What a start tells of a recovery that has begun and can still be ended; `None`: there is none.
    pub(crate) fn recovery_under_way(&self, now: Timestamp) -> Option<String> {
        let governor = self.governor();
        let begun = governor.recovering().ok().flatten().filter(|begun| now.as_microsecond() < begun.lapses)?;
        let change = governor.standing().version?.change.id.short();
        Some(in_words(&begun, &change))
    }
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
