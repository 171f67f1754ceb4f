//! `[[upstream]]`

use std::path::PathBuf;
use std::time::Duration;

use portcullis_proxy::settings::{
    BreakerSettings, EjectionSettings, HealthSettings, Http2Settings, UpstreamHttp, UpstreamTimeouts,
};

use crate::diagnostics::At;
use crate::kinds::{
    AnyText, Choice, EndpointLink, FilePath, Flag, Integer, Name, ResolvedPath, Text, Time, WeightedLink,
};
use crate::section::Section;

/// `[[upstream]]`
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: At<String>,
    /// Not parsed yet.
    pub(crate) endpoints: At<Vec<At<WeightedLink>>>,
    pub(crate) timeouts: UpstreamTimeouts,
    pub(crate) max_idle: usize,
    pub(crate) tls: UpstreamTls,
    pub(crate) breaker: Option<BreakerSettings>,
    pub(crate) ejection: Option<EjectionSettings>,
    pub(crate) retry_percent: u8,
    /// Where it is written.
    pub(crate) http: Option<At<UpstreamHttp>>,
    pub(crate) http2: Http2Settings,
    pub(crate) health: Option<Health>,
    pub(crate) slow_start: Duration,
    pub(crate) max_requests: Option<usize>,
    pub(crate) dns_refresh: Duration,
}

/// `health` of `[[upstream]]`
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) path: Option<At<String>>,
    pub(crate) settings: HealthSettings,
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
    let http = section.optional("http", Choice(HTTP));
    let http2 = section.table("http2").map_or_else(Http2Settings::default, read_http2);
    let health = section.table("health").map(read_health);
    let slow_start = section.or("slow_start", Time::within("0s", "1h"), Duration::ZERO);
    let max_requests = section.optional("max_requests", Integer(1..=10_000_000));
    let dns_refresh = section.or("dns_refresh", Time::within("100ms", "1d"), Duration::from_secs(5));
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
        http,
        http2,
        health,
        slow_start,
        max_requests: max_requests.and_then(|most| usize::try_from(most.value).ok()),
        dns_refresh,
    })
}

/// The versions that an upstream is spoken to in.
pub(crate) const HTTP: &[(&str, UpstreamHttp)] =
    &[("1", UpstreamHttp::One), ("2", UpstreamHttp::Two), ("auto", UpstreamHttp::Auto)];

fn read_health(section: Section<'_>) -> Health {
    let default = HealthSettings::default();
    let path = section.required("path", AnyText);
    let statuses = section.list("status", Integer(200..=599)).map_or_else(Vec::new, |list| list.value);
    let settings = HealthSettings {
        path: None,
        interval: section.or("interval", Time::within("100ms", "1h"), default.interval),
        timeout: section.or("timeout", Time::within("10ms", "1m"), default.timeout),
        healthy: whole(section.or("healthy", Integer(1..=100), default.healthy.into()), default.healthy),
        unhealthy: whole(section.or("unhealthy", Integer(1..=100), default.unhealthy.into()), default.unhealthy),
        status: statuses.into_iter().filter_map(|status| u16::try_from(status.value).ok()).collect(),
    };
    section.finish();
    Health { path, settings }
}

fn read_http2(section: Section<'_>) -> Http2Settings {
    let default = Http2Settings::default();
    let count = |key, most, default: usize| {
        let found = section.or(key, Integer(1..=most), u64::try_from(default).unwrap_or(1));
        usize::try_from(found).unwrap_or(default)
    };
    let http2 = Http2Settings {
        max_connections: count("max_connections", 1_000, default.max_connections),
        max_streams: count("max_streams", 100_000, default.max_streams),
        ping_interval: or_never(section.or("ping_interval", Time::within("0s", "1d"), Duration::ZERO)),
        ping_timeout: section.or("ping_timeout", Time::within("100ms", "1h"), default.ping_timeout),
    };
    section.finish();
    http2
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
pub(super) fn or_never(timeout: Duration) -> Duration {
    if timeout.is_zero() { Duration::MAX } else { timeout }
}
