//! Who was banned while what was taken back now was in force, and may have done nothing wrong: for the answer to whoever took it back.
//!
//! A refusal that the version before would not have made counts against nobody for a while. Who was locked out for longer goes on, is charged for it in the end, and
//! the way back of the policy is none out of the ban. No ban is lifted here: the same caller may have probed as well, and that is for a person to see.

use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_insight::{Answered, Outlook, Seen};
use portcullis_policy::{AccessRequest, Bans, Outcome, Policy, Principal};
use portcullis_risk::{Actor, BanEntry};

use crate::answers::terminal::quoted;
use crate::running::Running;

/// Those that an answer names.
const NAMED: usize = 20;

/// In words behind what was done; `None`: nobody was, or no requests are kept by which that could be told.
pub(super) fn banned_meanwhile(running: &Running, since: Timestamp) -> Option<String> {
    let shared = running.shared();
    let bans = shared.risk.all_bans(shared.clock.now());
    let outlook = running.insight().filter(|_| !bans.is_empty())?.outlook();
    let policy = &shared.snapshot().load().policy;
    in_words(&victims(&bans, &outlook, policy, since))
}

/// The principals that are banned for probing since then, and were refused meanwhile what this policy lets them do.
fn victims(bans: &[BanEntry], outlook: &Outlook, policy: &Policy, since: Timestamp) -> Vec<String> {
    let is_let_in_now = |actor: &Actor| {
        outlook.refusals.iter().any(|seen| {
            seen.request.now >= since
                && seen.request.principal().is_some_and(|principal| is(actor, principal))
                && would_be_let_in(seen, policy)
        })
    };
    let mut victims: Vec<String> = bans
        .iter()
        .filter(|entry| !entry.ban.simulated && entry.began >= since && is_for_probing(entry))
        .filter(|entry| is_let_in_now(&entry.actor))
        .map(|entry| entry.actor.to_string())
        .collect();
    victims.sort_unstable();
    victims
}

/// Whether it began by refusals, and not by what only an attack does, nor by hand.
fn is_for_probing(entry: &BanEntry) -> bool {
    let is_the_policys = |reason: &str| ReasonCode::parse(reason).is_some_and(ReasonCode::is_the_policys);
    entry.ban.cause.starts_with("probing:") && entry.evidence.iter().any(|sample| is_the_policys(&sample.reason))
}

fn is(actor: &Actor, principal: &Principal) -> bool {
    matches!(actor, Actor::Principal { kind, id } if *kind == principal.kind && **id == *principal.id)
}

/// Whether the policy refused it then, and this one would let it pass but for a ban.
fn would_be_let_in(seen: &Seen, policy: &Policy) -> bool {
    let was_refused = matches!(seen.answered, Answered::Refused(code) if code.is_the_policys());
    let permits = |request: &AccessRequest<'_>| {
        policy.verdict(&AccessRequest { bans: Bans::default(), ..*request }).0 == Outcome::Permit
    };
    was_refused && seen.request.under(policy, permits) == Some(true)
}

fn in_words(victims: &[String]) -> Option<String> {
    let first = quoted(victims.first()?);
    let more = match victims.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = victims.get(..NAMED).unwrap_or(victims).join(", ");
    Some(format!(
        "; STILL BANNED, for what it refused meanwhile: {named}{more}: see `portcullis ban explain --user {first}`, and lift it with `portcullis ban remove --user {first}`{}",
        if victims.len() > 1 { ", each" } else { "" }
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;
    use portcullis_policy::{
        AssignmentDraft, Ban, BanScope, KeptIdentity, KeptRequest, KeptText, PolicyDraft, PrincipalKind, RoleDraft,
        RouteDraft,
    };
    use portcullis_risk::BanSample;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_mins(minutes)
    }

    /// Alice, bob and carol read.
    fn policy() -> Policy {
        let who = ["user:alice", "user:bob", "user:carol"];
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![RoleDraft::new("reader", ["GET /pages/**"])],
            assignments: vec![AssignmentDraft::new("readers", "reader", who)],
            ..PolicyDraft::default()
        };
        Policy::compile(&draft).unwrap().0
    }

    fn refused(who: &str, path: &str, minutes: i64, code: ReasonCode) -> Arc<Seen> {
        let text = KeptText { method: "GET", host: "a.test", path, software: "" };
        let identity = KeptIdentity::Verified(Arc::new(Principal::user(who)));
        let request = KeptRequest { identity, ..KeptRequest::new(text, at(minutes)).unwrap() };
        Arc::new(Seen { request, answered: Answered::Refused(code) })
    }

    fn banned(who: &str, minutes: i64, (cause, reason): (&str, &str)) -> BanEntry {
        let ban = Ban {
            scope: BanScope::Principal,
            until: at(minutes + 10),
            offences: 1,
            cause: cause.into(),
            simulated: false,
        };
        let evidence = vec![BanSample { reason: reason.into(), path: "/pages/1".into() }];
        let actor = Actor::Principal { kind: PrincipalKind::User, id: who.into() };
        BanEntry { actor, ban: Arc::new(ban), began: at(minutes), evidence: evidence.into() }
    }

    /// The version that was taken back came into force at minute 0.
    #[test]
    fn only_who_was_banned_since_and_for_what_is_permitted_again_is_named() {
        const BY_GRANTS: (&str, &str) = ("probing: level 4.0 of 4.0", "rbac.no_matching_grant");
        let check = |what: &str, seen: (&str, i64, ReasonCode), ban: (i64, (&str, &str)), expected: bool| {
            let (path, minutes, code) = seen;
            let outlook = Outlook { refusals: vec![refused("alice", path, minutes, code)], ..Outlook::default() };
            let found = victims(&[banned("alice", ban.0, ban.1)], &outlook, &policy(), at(0));
            assert_eq!(found, if expected { vec!["user:alice"] } else { Vec::new() }, "{what}");
            let others = victims(&[banned("bob", ban.0, ban.1)], &outlook, &policy(), at(0));
            assert!(others.is_empty(), "{what}: somebody else's refusals");
        };
        let grant = ReasonCode::RbacNoMatchingGrant;
        check("a victim", ("/pages/1", 16, grant), (17, BY_GRANTS), true);
        check("what is refused still", ("/secret", 16, grant), (17, BY_GRANTS), false);
        check("banned before", ("/pages/1", 16, grant), (-1, BY_GRANTS), false);
        check("refused before", ("/pages/1", -1, grant), (17, BY_GRANTS), false);
        check("by its ban alone", ("/pages/1", 18, ReasonCode::BanActive), (17, BY_GRANTS), false);
        check("by hand", ("/pages/1", 16, grant), (17, ("by hand: left", "rbac.no_matching_grant")), false);
        check("for an attack", ("/pages/1", 16, grant), (17, ("attack: 1", "rbac.no_matching_grant")), false);
        check("for what was not there", ("/pages/1", 16, grant), (17, ("probing: 4", "upstream.404")), false);
    }

    #[test]
    fn so_many_are_named_with_what_lifts_the_ban() {
        let named = |count: usize| -> Option<String> {
            in_words(&(0..count).map(|number| format!("user:{number}")).collect::<Vec<_>>())
        };
        assert_eq!(named(0), None);
        assert!(named(1).unwrap().ends_with("lift it with `portcullis ban remove --user user:0`"));
        let many = named(NAMED + 3).unwrap();
        assert!(many.contains("user:19 and 3 more: ") && many.ends_with(", each"), "{many}");
    }

    #[test]
    fn the_command_takes_any_name_as_one_word() {
        let said = in_words(&["user:auth0|5f7c".to_owned()]).unwrap();
        assert!(said.contains("`portcullis ban remove --user 'user:auth0|5f7c'`"), "{said}");
    }
}
