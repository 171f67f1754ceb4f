//! `[[upstream]]`, `[[route]]` and `[client_address]`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_proxy::settings::{
    BreakerSettings, Concurrency, EjectionSettings, ForwardedHeader, ForwardingSettings, RateLimit, UpstreamTimeouts,
};
use portcullis_proxy::trace::TraceMode;
use portcullis_proxy::upstream::headers::Via;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::limits;
use crate::file::route::{Treatment, read_treatment};
use crate::kinds::{AnyText, Choice, EndpointLink, FilePath, Flag, Integer, Name, Prefix, ResolvedPath, Text, Time};
use crate::section::Section;

/// `[[upstream]]`
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: At<String>,
    /// Not parsed yet.
    pub(crate) endpoints: At<Vec<At<String>>>,
    pub(crate) timeouts: UpstreamTimeouts,
    pub(crate) max_idle: usize,
    pub(crate) tls: UpstreamTls,
    pub(crate) breaker: Option<BreakerSettings>,
    pub(crate) ejection: Option<EjectionSettings>,
    pub(crate) retry_percent: u8,
}

/// `tls` of `[[upstream]]`
#[derive(Debug, Default)]
pub(crate) struct UpstreamTls {
    pub(crate) ca: Option<At<ResolvedPath>>,
    pub(crate) certificate: Option<At<ResolvedPath>>,
    pub(crate) key: Option<At<ResolvedPath>>,
    pub(crate) server_name: Option<At<String>>,
}

impl UpstreamTls {
    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.ca, &self.certificate, &self.key].into_iter().flatten().map(|file| file.value.path.clone())
    }
}

pub(crate) fn read_upstream(section: Section<'_>) -> Option<Upstream> {
    let name = section.required("name", Name);
    let endpoints = section.required_list("endpoints", EndpointLink);
    let timeouts = section.table("timeouts").map_or_else(UpstreamTimeouts::default, read_timeouts);
    let max_idle = section.or("max_idle", Integer(0..=100_000), 128);
    let tls = section.table("tls").map_or_else(UpstreamTls::default, read_upstream_tls);
    let breaker = section.table("breaker").map_or_else(|| Some(BreakerSettings::default()), read_breaker);
    let ejection = section.table("ejection").map_or_else(|| Some(EjectionSettings::default()), read_ejection);
    let retry_percent = section.table("retries").map_or(RETRY_PERCENT, read_retries);
    section.finish();
    let name = name?;
    // An upstream that has a name is known to its routes, even when its endpoints are wrong.
    let endpoints = endpoints.unwrap_or_else(|| At::new(Vec::new(), name.span));
    Some(Upstream {
        name,
        endpoints,
        timeouts,
        max_idle: usize::try_from(max_idle).unwrap_or(128),
        tls,
        breaker,
        ejection,
        retry_percent,
    })
}

/// How many of a hundred requests may be sent again, when nobody says.
const RETRY_PERCENT: u8 = 20;

fn read_breaker(section: Section<'_>) -> Option<BreakerSettings> {
    let default = BreakerSettings::default();
    let enabled = section.or("enabled", Flag, true);
    let breaker = BreakerSettings {
        failures: whole(section.or("failures", Integer(1..=1_000), default.failures.into()), default.failures),
        window: section.or("window", Time::within("1s", "1h"), default.window),
        open: section.or("open", Time::within("10ms", "1h"), default.open),
        longest: section.or("longest", Time::within("10ms", "1h"), default.longest),
    };
    section.finish();
    enabled.then_some(breaker)
}

fn read_ejection(section: Section<'_>) -> Option<EjectionSettings> {
    let default = EjectionSettings::default();
    let enabled = section.or("enabled", Flag, true);
    let max_share = section.or("max_share_percent", Integer(0..=100), default.max_share_percent.into());
    let ejection = EjectionSettings {
        failures: whole(section.or("failures", Integer(1..=1_000), default.failures.into()), default.failures),
        first: section.or("first", Time::within("10ms", "1h"), default.first),
        longest: section.or("longest", Time::within("10ms", "1d"), default.longest),
        max_share_percent: u8::try_from(max_share).unwrap_or(default.max_share_percent),
    };
    section.finish();
    enabled.then_some(ejection)
}

fn read_retries(section: Section<'_>) -> u8 {
    let percent = section.or("budget_percent", Integer(0..=100), RETRY_PERCENT.into());
    section.finish();
    u8::try_from(percent).unwrap_or(RETRY_PERCENT)
}

fn whole(number: u64, default: u32) -> u32 {
    u32::try_from(number).unwrap_or(default)
}

fn read_upstream_tls(section: Section<'_>) -> UpstreamTls {
    let tls = UpstreamTls {
        ca: section.optional("ca", FilePath),
        certificate: section.optional("certificate", FilePath),
        key: section.optional("key", FilePath),
        server_name: section.optional("server_name", Text),
    };
    section.finish();
    tls
}

fn read_timeouts(section: Section<'_>) -> UpstreamTimeouts {
    let default = UpstreamTimeouts::default();
    let timeouts = UpstreamTimeouts {
        connect: section.or("connect", Time::within("1ms", "1h"), default.connect),
        first_byte: section.or("first_byte", Time::within("1ms", "1d"), default.first_byte),
        idle: or_never(section.or("idle", Time::within("0s", "1d"), default.idle)),
        total: or_never(section.or("total", Time::within("0s", "7d"), default.total)),
        keep_alive: section.or("keep_alive", Time::within("0s", "1d"), default.keep_alive),
    };
    section.finish();
    timeouts
}

/// Zero is no time at all: for answers that stream, such as server-sent events.
fn or_never(timeout: Duration) -> Duration {
    if timeout.is_zero() { Duration::MAX } else { timeout }
}

/// `[[route]]`
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: At<String>,
    pub(crate) hosts: Vec<At<String>>,
    pub(crate) paths: Vec<At<String>>,
    /// `hosts` or `paths` cannot be read as a whole: what it covers is not known.
    pub(crate) vague: bool,
    /// `None` where the route has an answer of its own; or when it is missing or no name: that was reported.
    pub(crate) upstream: Option<At<String>>,
    pub(crate) forward_credentials: bool,
    pub(crate) disclose: bool,
    pub(crate) treatment: Treatment,
    /// `None`: the default of `[limits]`.
    pub(crate) rates: Option<Vec<RateLimit>>,
    /// `None`: the default of `[limits]`.
    pub(crate) concurrent: Option<Concurrency>,
    /// `None`: the default of `[limits]`.
    pub(crate) max_request_body: Option<usize>,
    /// `None`: the default of `[limits]`.
    pub(crate) max_response_body: Option<usize>,
}

pub(crate) fn read_route(section: Section<'_>) -> Option<Route> {
    let name = section.required("name", Name);
    let errors_before = section.reader().diagnostics.borrow().errors();
    let patterns = |key, all| {
        let list = section.one_or_list(key, Text)?;
        if list.value.is_empty() {
            section.report_empty(key, list.span, all);
        }
        Some(list.value)
    };
    let hosts = patterns("hosts", "leave it out for any host").unwrap_or_default();
    let paths = patterns("paths", "leave it out for every path").unwrap_or_default();
    let vague = section.reader().diagnostics.borrow().errors() > errors_before;
    let upstream = section.optional("upstream", Name);
    let treatment = read_treatment(&section);
    if !["upstream", "split", "redirect", "respond"].iter().any(|key| section.has(key)) {
        section.report_missing("upstream", "the name of an [[upstream]]; or `split`, `redirect` or `respond`");
    }
    let forward_credentials = section.or("forward_credentials", Flag, false);
    let disclose = section.or("disclose", Choice(&[("operator", false), ("caller", true)]), false);
    let rates = limits::read_rates(&section);
    let concurrent = limits::read_concurrent(&section);
    let max_request_body = limits::read_body_size(&section, "max_request_body");
    let max_response_body = limits::read_body_size(&section, "max_response_body");
    section.finish();
    Some(Route {
        name: name?,
        hosts,
        paths,
        vague,
        upstream,
        forward_credentials,
        disclose,
        treatment,
        rates,
        concurrent,
        max_request_body,
        max_response_body,
    })
}

/// `[forwarding]`
pub(crate) fn read_forwarding(root: &Section<'_>) -> ForwardingSettings {
    let default = ForwardingSettings::default();
    let Some(section) = root.table("forwarding") else { return default };
    let via = match section.optional("via", AnyText) {
        None => default.via,
        Some(name) if name.value.is_empty() => None,
        Some(name) => {
            let via = Via::new(&name.value);
            if via.is_none() {
                let message = "`via`: expected a name of letters, digits and `-._`, at most 128 characters";
                let help = "write `via = \"\"` for none";
                section.reader().report(Diagnostic::error(codes::BAD_VALUE, name.span, message).with_help(help));
            }
            via
        }
    };
    let keep_request_id =
        section.or("request_id", Choice(&[("own", false), ("trusted", true)]), default.keep_request_id);
    let modes = Choice(&[("continue", TraceMode::Continue), ("begin", TraceMode::Begin), ("off", TraceMode::Off)]);
    let trace = section.or("trace", modes, default.trace);
    section.finish();
    ForwardingSettings { via, keep_request_id, trace }
}

/// `[client_address]`
#[derive(Debug, Default)]
pub(crate) struct ClientAddress {
    pub(crate) trusted_proxies: Vec<At<IpNet>>,
    pub(crate) header: ForwardedHeader,
}

pub(crate) fn read_client_address(root: &Section<'_>) -> ClientAddress {
    let Some(section) = root.table("client_address") else { return ClientAddress::default() };
    let trusted_proxies = section.list("trusted_proxies", Prefix).map_or_else(Vec::new, |list| list.value);
    let headers =
        Choice(&[("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)]);
    let header = section.or("header", headers, ForwardedHeader::default());
    section.finish();
    ClientAddress { trusted_proxies, header }
}
