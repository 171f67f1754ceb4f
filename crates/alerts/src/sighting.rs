//! What the rules see of an event: a small summary, made once in the recorder's thread.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use portcullis_events::event::claimed_name;
use portcullis_events::{Answer, Event, EventKind, ReasonCode, Severity};
use uuid::Uuid;

use crate::settings::{Facet, When};

/// One event as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The event's id.
    pub id: Uuid,
    /// When it happened, by the clock on the wall.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// What was answered.
    pub decision: Option<Answer>,
    /// The status.
    pub status: Option<u16>,
    /// The decisive reason.
    pub reason: Option<ReasonCode>,
    /// How much it deserves a look.
    pub severity: Severity,
    /// Who it was, as a policy file writes it: `user:alice`. Of a name that was cut to its bound, the beginning.
    pub principal: Option<Arc<str>>,
    /// The name was cut, so that the rest could be anybody's.
    pub(crate) is_cut: bool,
    /// A keyed hash of who it was, or of whom a credential that failed claimed to be, whatever kind of principal: see [`Event::claimed`].
    account: Option<u64>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// The route.
    pub route: Option<Arc<str>>,
    /// The beginning of the path, at most 128 bytes of it.
    pub path: Option<Box<str>>,
    /// A hash of the whole path.
    path_hash: u64,
}

/// How much of a path is kept, in bytes.
pub(crate) const PATH_BYTES: usize = 128;

impl Sighting {
    /// The summary of an event.
    pub fn of(event: &Event) -> Self {
        let path = event.request.path.as_deref();
        let identity = &event.identity;
        let principal: Option<Arc<str>> =
            identity.kind.zip(identity.id.as_deref()).map(|(kind, id)| format!("{kind}:{id}").into());
        Self {
            id: event.id,
            time: event.time,
            kind: event.kind,
            decision: event.decision,
            status: event.status,
            reason: event.reason,
            severity: event.severity,
            account: identity.id.as_deref().map(claimed_name).or(event.claimed),
            principal,
            is_cut: event.truncated.contains(&"identity.id"),
            address: event.client.ip,
            route: event.policy.route.clone(),
            path: path.map(|path| path.get(..path.floor_char_boundary(PATH_BYTES)).unwrap_or(path).into()),
            path_hash: path.map_or(0, hash),
        }
    }

    /// Whether no mute holds for it. What was approved says who gets in, and mutes are changed by whoever operates: nobody could change the one behind the
    /// others' backs and have the other say nothing of it.
    pub(crate) fn is_told_always(&self) -> bool {
        // Nor can whoever holds recovery keys keep approvers from hearing of it in time to say no.
        matches!(self.kind, EventKind::PolicyTampered | EventKind::GovernanceRecovery)
    }

    /// One thing about it, as a number that is another one for another value; `None` where there is no such thing.
    pub(crate) fn fingerprint(&self, facet: Facet) -> Option<u64> {
        match facet {
            Facet::Principal => self.principal.as_deref().map(hash),
            Facet::Address => self.address.map(|address| hash(&network(address))),
            Facet::Route => self.route.as_deref().map(hash),
            Facet::Path => self.path.as_ref().map(|_| self.path_hash),
            Facet::Reason => self.reason.map(|reason| hash(reason.code())),
        }
    }

    /// The same where different values are counted: a principal that is only claimed is one, too. It is nobody's key, nothing new, and never
    /// contained, since anybody can claim to be anybody.
    pub(crate) fn counted(&self, facet: Facet) -> Option<u64> {
        if facet == Facet::Principal { self.account } else { self.fingerprint(facet) }
    }

    /// The same for a person.
    pub(crate) fn shown(&self, facet: Facet) -> Option<String> {
        match facet {
            Facet::Principal => self.principal.as_deref().map(str::to_owned),
            Facet::Address => self.address.map(|address| address.to_string()),
            Facet::Route => self.route.as_deref().map(str::to_owned),
            Facet::Path => self.path.as_deref().map(str::to_owned),
            Facet::Reason => self.reason.map(|reason| reason.code().to_owned()),
        }
    }
}

impl When {
    /// Whether an event counts. A refusal that is our own doing or the upstream's counts only where it is asked for, by its reason or by a
    /// status of 500 or more: else a containment would count what it refuses, fire again and never end, and an outage would ban those
    /// who suffer from it.
    pub(crate) fn takes(&self, event: &Event) -> bool {
        let by_status = |status: u16| self.statuses.contains(&status);
        let status_fits = self.statuses.is_empty() || event.status.is_some_and(by_status);
        let named =
            !self.filter.reasons.is_empty() || event.status.is_some_and(|status| status >= 500 && by_status(status));
        status_fits && self.filter.takes(event) && (named || !event.reason.is_some_and(is_not_the_callers))
    }
}

/// What happens to honest callers, because of the gateway, the upstream, a ban or a containment (the reasons that bans charge nobody for).
fn is_not_the_callers(reason: ReasonCode) -> bool {
    match reason {
        ReasonCode::AuthnMissing
        | ReasonCode::AuthnExpired
        | ReasonCode::AuthnNotYetValid
        | ReasonCode::AuthnUnknownKey
        | ReasonCode::AuthnCertificateRequired
        | ReasonCode::LimitConcurrency
        | ReasonCode::LimitOverload => true,
        reason => {
            matches!(reason.stage(), "ban" | "step_up" | "dependency" | "policy" | "upstream" | "internal" | "session")
        }
    }
}

/// The address by which a caller is counted: of IPv6 the first of its /64, which one subscriber holds.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// With a key of this process, so that nobody can choose values that collide.
fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(value)
}

#[cfg(test)]
mod tests {
    use portcullis_events::filter::Filter;

    use super::*;

    #[test]
    fn what_is_not_the_callers_doing_counts_only_where_it_is_asked_for() {
        let refusal = |reason: ReasonCode, status: u16| {
            let event = Event::denied(Uuid::nil(), Timestamp::UNIX_EPOCH, reason);
            Event { status: Some(status), ..event }
        };
        let check = |when: &When, reason: ReasonCode, status: u16, expected: bool| {
            assert_eq!(when.takes(&refusal(reason, status)), expected, "{} {status}", reason.code());
        };
        let any = When::default();
        for (reason, status, expected) in [
            (ReasonCode::RbacNoMatchingGrant, 403, true),
            (ReasonCode::AuthnInvalid, 401, true),
            (ReasonCode::LimitRate, 429, true),
            (ReasonCode::RouteNotFound, 404, true),
            (ReasonCode::BanActive, 403, false),
            (ReasonCode::StepUpRequired, 401, false),
            (ReasonCode::AuthnExpired, 401, false),
            (ReasonCode::UpstreamUnreachable, 502, false),
            (ReasonCode::DependencyKeysUnavailable, 503, false),
            (ReasonCode::LimitOverload, 503, false),
        ] {
            check(&any, reason, status, expected);
        }
        let with = |reasons: Vec<ReasonCode>, statuses: Vec<u16>| When {
            filter: Filter { reasons, ..any.filter.clone() },
            statuses,
        };
        check(&with(vec![ReasonCode::UpstreamUnreachable], vec![]), ReasonCode::UpstreamUnreachable, 502, true);
        check(&with(vec![], vec![502]), ReasonCode::UpstreamUnreachable, 502, true);
        check(&with(vec![], vec![403]), ReasonCode::BanActive, 403, false);
        check(&with(vec![], vec![403]), ReasonCode::RbacNoMatchingGrant, 403, true);
    }
}
