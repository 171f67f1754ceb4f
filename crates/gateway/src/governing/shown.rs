//! Versions and proposals in the shapes of the control channel.

use jiff::Timestamp;
use portcullis_admin::govern::{
    Approver, Change, Key, Live, Recovery, RecoveryBegun, RecoveryKey, Rollout, Signed, Version,
};
use portcullis_governance as governance;

fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map(|time| format!("{time:.0}")).unwrap_or_default()
}

pub(super) fn live(
    version: &governance::Version,
    standing: &governance::Standing,
    rolling: Option<&super::Rolling>,
    unkept: Option<String>,
) -> Live {
    Live {
        in_force: None,
        unkept,
        rollout: rolling.map(rollout),
        n: version.n,
        hash: version.hash().to_string(),
        instance: Some(standing.instance).filter(|instance| !instance.is_none()).map(|instance| instance.to_string()),
        required: standing.rules.required,
    }
}

pub(super) fn version(version: &governance::Version, standing: &governance::Standing) -> Version {
    Version {
        n: version.n,
        hash: version.hash().to_string(),
        content: version.change.content.to_string(),
        time: time(version.time),
        state: String::new(),
        by: super::made_live::in_words(&version.by, &version.exceptions),
        change: Change {
            approved: keys(version),
            signed: version.approvals.iter().map(|approval| signed(approval, standing)).collect(),
            ..change(&version.change, "activated")
        },
    }
}

/// Whose signature it is, as far as the key is known now.
fn signed(approval: &governance::Approval, standing: &governance::Standing) -> Signed {
    let owner = standing.approvers.approvers.iter().find(|each| each.keys.iter().any(|key| key.public == approval.key));
    let holder = || standing.approvers.recovery.as_ref()?.holder(&approval.key).map(|key| &key.holder);
    let person = owner.map(|each| &each.person).or_else(holder).cloned();
    Signed { person, key: approval.key.id(), time: time(approval.signed) }
}

/// The keys that signed: whose they were is said by the approvers of that time.
fn keys(version: &governance::Version) -> Vec<String> {
    version.approvals.iter().map(|approval| approval.key.id()).collect()
}

/// Who approved, as far as their keys are known now.
pub(super) fn approved(version: &governance::Version, standing: &governance::Standing) -> Vec<String> {
    let person = |approval: &governance::Approval| {
        let approvers = &standing.approvers.approvers;
        let of = approvers.iter().find(|approver| approver.keys.iter().any(|key| key.public == approval.key));
        of.map_or_else(|| approval.key.id(), |approver| approver.person.clone())
    };
    let mut persons: Vec<String> = version.approvals.iter().map(person).collect();
    persons.sort_unstable();
    persons.dedup();
    persons
}

fn rollout(rolling: &super::Rolling) -> Rollout {
    let kept = rolling.rollout;
    let stage = rolling.stage();
    let is_held = kept.is_held();
    let share = stage.map_or(if is_held { 0 } else { governance::WHOLE_PPM }, |stage| stage.share);
    let words = match (is_held, kept.is_ending()) {
        (true, _) => "held: how far it has come cannot be read".to_owned(),
        (false, true) => "over: its files are being written".to_owned(),
        (false, false) => super::stage_in_words(share),
    };
    Rollout {
        n: kept.n,
        serving: rolling.serving,
        change: kept.change.to_string(),
        stage: words,
        share_ppm: share,
        spent_s: kept.spent_ms / 1_000,
        lasts_s: stage.map_or(0, |stage| stage.lasts.as_secs()),
        requests: kept.requests,
        newly_denied: kept.newly_denied,
        turns: kept.turns,
        turns_denied: kept.turns_denied,
        callers_denied: kept.callers_denied,
        max_newly_denied_ppm: rolling.stages.max_newly_denied,
        min_denied_callers: rolling.stages.min_denied_callers,
        refused: kept.refused,
        newly_permitted: kept.newly_permitted,
        min_requests: rolling.stages.min_requests,
        callers: kept.callers,
        min_callers: rolling.stages.min_callers,
        waits: rolling.waits_for(),
        found: Vec::new(),
    }
}

fn change(change: &governance::Change, state: &str) -> Change {
    Change {
        id: change.id.to_string(),
        state: state.to_owned(),
        kind: change.kind.as_str().to_owned(),
        class: change.class.as_str().to_owned(),
        base: change.base_n,
        restores: Some(change.restores).filter(|n| *n > 0),
        authors: change.authors.clone(),
        reason: change.reason.clone(),
        ticket: change.ticket.clone(),
        impact: Some(change.impact).filter(|impact| !impact.is_none()).map(|impact| impact.to_string()),
        created: time(change.created),
        expires: time(change.expires),
        foreseen: Vec::new(),
        approved: Vec::new(),
        signed: Vec::new(),
        need: 0,
        need_new: 0,
        missing: None,
    }
}

/// The verb that proposes once more what was overtaken; `None`: it changed files of its own, which can be proposed as they were.
pub(crate) const fn again_by(kind: governance::Kind) -> Option<&'static str> {
    match kind {
        governance::Kind::Change => None,
        governance::Kind::Rollback => Some("`portcullis policy rollback`"),
        governance::Kind::Undo => Some("`portcullis policy revert`"),
        governance::Kind::Recovery => Some("`portcullis approver recover`"),
        governance::Kind::Feed
        | governance::Kind::Calibration
        | governance::Kind::BreakGlass
        | governance::Kind::Keys
        | governance::Kind::Revert
        | governance::Kind::Recovered
        | governance::Kind::Veto => Some("`portcullis approver`"),
    }
}

pub(super) fn proposal(proposal: &governance::Proposal) -> Change {
    let overtaken = || {
        let how = match again_by(proposal.change.kind) {
            None => "`portcullis policy propose --again`",
            Some(verb) => verb,
        };
        format!("another version is live since: {how} proposes it for that one")
    };
    Change {
        approved: proposal.count.old.union(&proposal.count.new).cloned().collect(),
        need: proposal.need.old as u64,
        need_new: proposal.need.new as u64,
        missing: match proposal.state {
            governance::ChangeState::Overtaken => Some(overtaken()),
            _ => proposal.missing.as_ref().map(ToString::to_string),
        },
        ..change(&proposal.change, proposal.state.as_str())
    }
}

pub(super) fn recovery(standing: &governance::Standing, begun: Option<governance::Recovering>) -> Option<Recovery> {
    let recovery = standing.approvers.recovery.as_ref()?;
    let change = standing.version.as_ref().map(|version| version.change.id.to_string());
    let key = |key: &governance::RecoveryKey| RecoveryKey {
        holder: key.holder.clone(),
        id: key.public.id(),
        added: time(key.added),
    };
    Some(Recovery {
        quorum: recovery.quorum,
        delay_s: recovery.delay_s,
        keys: recovery.keys.iter().map(key).collect(),
        begun: begun.zip(change).map(|(begun, change)| RecoveryBegun {
            n: begun.n,
            change,
            persons: begun.persons,
            due: time(begun.due),
            lapses: time(begun.lapses),
        }),
    })
}

pub(super) fn approver(approver: &governance::Approver) -> Approver {
    Approver {
        person: approver.person.clone(),
        aliases: approver.aliases.clone(),
        keys: approver
            .keys
            .iter()
            .map(|key| Key { id: key.public.id(), added: time(key.added), revoked: key.revoked.map(time) })
            .collect(),
    }
}
