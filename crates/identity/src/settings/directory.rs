//! Directories that principals get groups from.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ldap::{Filter, Server};
use rustls_pki_types::CertificateDer;

use super::{Bind, GroupName, Membership, Nested, PrincipalId};

/// `[[identity.ldap]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapDirectory {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The providers whose principals it knows; never empty. What a provider puts before its ids is taken off first.
    pub providers: Vec<Arc<str>>,
    /// Where it is, the preferred one first; never empty.
    pub servers: Vec<Server>,
    /// StartTLS on connections that do not begin with TLS.
    pub start_tls: bool,
    /// The authorities that may have signed the servers' certificates; empty: those that this system believes.
    pub roots: Vec<CertificateDer<'static>>,
    /// As whom it is asked; `None`: as nobody.
    pub bind: Option<Bind>,
    /// Where searches for principals begin.
    pub base: Box<str>,
    /// Finds the one entry of a principal.
    pub user_filter: Filter,
    /// What the id of a principal is that is found.
    pub id: PrincipalId,
    /// Two ids that differ in case alone are one: to nearly every attribute that people are named by they are (`caseIgnoreMatch`, RFC 4517).
    pub id_ignores_case: bool,
    /// An entry that it does not match is an account that does not count.
    pub account_filter: Option<Filter>,
    /// Where groups are.
    pub membership: Membership,
    /// How groups of groups are found.
    pub nested: Nested,
    /// What a group is named by.
    pub group_name: GroupName,
    /// Put before the names of groups.
    pub prefix: String,
    /// The local groups that it may put principals into, without the prefix.
    pub trust_groups: Vec<String>,
    /// Of how many groups a principal may be; one in more has none that are known. Default 1,000.
    pub max_groups: usize,
    /// How long one look-up may take, and each connection before it. Default 5 s.
    pub timeout: Duration,
    /// How many connections it is asked on. Default 2.
    pub connections: usize,
    /// How long what was found is used. Default 5 min.
    pub refresh: Duration,
    /// How long it is used while the directory does not answer. Default 1 h.
    pub max_stale: Duration,
    /// How long it counts that somebody was not found. Default 1 min.
    pub negative: Duration,
    /// How many principals are remembered. Default 10,000.
    pub entries: usize,
    /// How many look-ups may wait. Default 256.
    pub max_waiting: usize,
}

impl LdapDirectory {
    /// The default of `max_groups`.
    pub const MAX_GROUPS: usize = 1_000;
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of `connections`.
    pub const CONNECTIONS: usize = 2;
    /// The default of `refresh`.
    pub const REFRESH: Duration = Duration::from_secs(5 * 60);
    /// The default of `max_stale`.
    pub const MAX_STALE: Duration = Duration::from_secs(60 * 60);
    /// The default of `negative`.
    pub const NEGATIVE: Duration = Duration::from_secs(60);
    /// The default of `entries`.
    pub const ENTRIES: usize = 10_000;
    /// The default of `max_waiting`.
    pub const MAX_WAITING: usize = 256;
    /// Nobody waits longer than this.
    const LONGEST_WAIT: Duration = Duration::from_secs(60);

    /// All its filters.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        let groups = match &self.membership {
            Membership::Search { filter, .. } => Some(filter),
            Membership::Attribute(_) => None,
        };
        std::iter::once(&self.user_filter).chain(&self.account_filter).chain(groups)
    }

    /// How long somebody waits for a look-up: for each server, for the look-up itself, and somewhat longer.
    pub fn patience(&self) -> Duration {
        let steps = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.timeout.saturating_mul(steps).saturating_add(Duration::from_secs(1)).min(Self::LONGEST_WAIT)
    }
}
