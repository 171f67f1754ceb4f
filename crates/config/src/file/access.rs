//! `[access]`: how much power for a time there may be, how long an approval of it is waited for, whether principals ask for it themselves, and where
//! persons do with a browser.

use std::time::Duration;

use portcullis_governance::power::Limits;
use portcullis_policy::canonical_host;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::kinds::{Flag, Integer, Text, Time};
use crate::section::{Section, shown};

/// What can be in force or wait at once.
pub(crate) const MOST: std::ops::RangeInclusive<u64> = 1..=10_000;

/// `[access]`
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(crate) limits: Limits,
    /// Where it says that principals ask themselves.
    pub(crate) self_service: Option<Span>,
    /// Where nothing but the gateway's own pages is: there persons activate with a browser. Canonical.
    pub(crate) hosts: Vec<At<Box<str>>>,
}

/// Hosts that can be named.
const MOST_HOSTS: usize = 16;

/// Reads `[access]`.
pub(crate) fn read_access(root: &Section<'_>) -> Access {
    let limits = Limits::default();
    let Some(section) = root.table("access") else { return Access::default() };
    let most = section.or("most", Integer(MOST), limits.most as u64);
    let wait = section.or("wait", Time::within("1m", "30d"), Duration::from_secs(limits.waits_s));
    let self_service = section.optional("self_service", Flag).filter(|wanted| wanted.value);
    let named = section.one_or_list("hosts", Text).map_or_else(Vec::new, |list| list.value);
    let hosts: Vec<At<Box<str>>> = named.iter().filter_map(|host| canonical(&section, host)).collect();
    if let Some(host) = hosts.get(MOST_HOSTS) {
        let message = format!("`hosts` has more than {MOST_HOSTS} hosts");
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, host.span, message).with_help("leave some out"));
    }
    section.finish();
    let limits = Limits { most: usize::try_from(most).unwrap_or(limits.most), waits_s: wait.as_secs(), ..limits };
    Access { limits, self_service: self_service.map(|wanted| wanted.span), hosts }
}

/// A host as requests name it, without a port.
fn canonical(section: &Section<'_>, host: &At<String>) -> Option<At<Box<str>>> {
    let found = canonical_host(&host.value).filter(|found| !host.value.contains('*') && **found == *host.value);
    if found.is_none() {
        let message = format!("`hosts`: `{}` is no host", shown(&host.value));
        let help = "write a name in lower case and without a port, such as \"access.example.com\"";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, host.span, message).with_help(help));
    }
    found.map(|found| At::new(found.as_ref().into(), host.span))
}
