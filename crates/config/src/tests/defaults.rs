//! What holds when nobody writes it.

use std::path::Path;
use std::time::Duration;

use portcullis_events::filter::Filter;
use portcullis_events::settings::{Fsync, Integrity, OnFull, RotationSettings, SinkKind, SinkSettings, SpoolSettings};
use portcullis_events::{EventKind, ReasonCode, Severity};
use portcullis_proxy::route::RouteAction;
use portcullis_proxy::settings::{
    BreakerSettings, ClientAddressSettings, Concurrency, EjectionSettings, Endpoint, HealthSettings, Http2Settings,
    IdentityHeaders, Limits, Per, RateLimit, RefusalSettings, RouteLimits, RouteSettings, ShutdownSettings,
    UpstreamHttp, UpstreamSettings, UpstreamTimeouts,
};

use super::{Folder, GATEWAY};

#[test]
fn the_least_configuration_has_every_default() {
    let loaded = Folder::new().loaded();
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.process.listeners[0].address, "127.0.0.1:8080".parse().unwrap());
    assert!(loaded.process.workers >= 1);
    assert_eq!(loaded.process.shutdown, ShutdownSettings { delay: Duration::ZERO, grace: Duration::from_secs(30) });
    assert_eq!(loaded.proxy.upstreams, [UpstreamSettings::new("billing", vec![Endpoint::http("127.0.0.1", 9001)])]);
    let route = RouteSettings::new("billing", RouteAction::Upstream(0));
    assert_eq!(loaded.proxy.routes, [route]);
    assert_eq!(loaded.proxy.client_address, ClientAddressSettings::default());
    assert_eq!(loaded.proxy.identity_headers, IdentityHeaders::default());
    assert_eq!(loaded.proxy.limits, Limits::default());
    assert_eq!(loaded.proxy.refusal, RefusalSettings::default());
    assert_eq!(loaded.identity.token_cache_entries, 65_536);
    assert_eq!(loaded.risk, portcullis_risk::settings::Settings::default());
    assert_eq!(loaded.events.sinks, [SinkSettings::new("stdout", SinkKind::Stdout)]);
    assert!(!loaded.events.node.is_empty());
    assert_eq!(
        (loaded.events.integrity, loaded.events.fsync, loaded.events.fsync_interval, &loaded.events.spool),
        (Integrity::Chain, Fsync::Interval, Duration::from_millis(100), &None)
    );
    assert_eq!(loaded.events.cluster, None);
    assert_eq!(loaded.ops.unwrap().address, "127.0.0.1:9090".parse().unwrap());
    let control = loaded.control.unwrap();
    assert!(control.socket.ends_with("portcullis.sock") && !control.required && control.group.is_none());
    assert_eq!((loaded.index, loaded.store), (None, None));
    assert_eq!(loaded.sample, Some(portcullis_insight::SampleLimits::default()));
    assert_eq!(loaded.spike, Some(portcullis_insight::SpikeSettings::default()));
    assert!(!loaded.policy.enforces_risk());
    assert_eq!(loaded.files.len(), 2);
    let summary = loaded.summary.to_string();
    assert_eq!(
        summary,
        "gateway: 1 listener, 1 upstream, 1 route, 0 identity providers, 0 API keys, 1 sink; state: in memory, and no version is kept: a mistake cannot be undone without `[store]`\n\
         policy: 0 networks, 0 resources, 0 roles, 0 groups, 0 assignments, 0 denies, 0 prefixes; risk: monitor; bans: enforce"
    );
}

#[test]
fn every_key_of_the_gateway_file_reaches_its_setting() {
    let mut folder = Folder::new();
    folder.environment.insert("PORT".into(), "9091".into());
    folder.write(
        "portcullis.toml",
        r#"version = 1
[policy]
path = "rules/mine.toml"
[[listener]]
name = "a"
address = "[::1]:1"
[[upstream]]
name = "other"
endpoints = ["http://a:1"]
[[upstream]]
name = "billing"
endpoints = ["http://[::1]:${PORT}", "http://b:2", "unix:/run/app.sock", "unix:app.sock"]
timeouts = { connect = "1s", first_byte = "2s", idle = "3s", total = "4s", keep_alive = "5s" }
max_idle = 7
[[route]]
name = "billing"
hosts = "billing.internal"
paths = ["/api/**"]
upstream = "billing"
forward_credentials = true
disclose = "caller"
rate_limit = { per = "principal", requests = 100, window = "1m", burst = 20 }
max_concurrent = { route = 50, principal = 4 }
max_request_body = "1MiB"
[client_address]
trusted_proxies = ["10.0.0.7", "10.1.0.0/16"]
header = "forwarded"
[identity]
token_cache = 9
[identity.headers]
user = "X-User"
groups = "x-groups"
roles = "x-roles"
email = "x-email"
[limits]
first_byte_timeout = "1s"
tls_handshake_timeout = "12s"
header_timeout = "2s"
keep_alive_timeout = "3s"
body_idle_timeout = "4s"
max_header_fields = 5
max_header_bytes = "60KiB"
max_field_bytes = "7KiB"
max_uri_bytes = "8kB"
max_connections = 9
max_connections_per_client = 8
max_requests = 10
shed_after = "11ms"
max_request_body = "3KiB"
max_response_body = "2KiB"
http2_max_streams = 13
http2_stream_window = "65KiB"
http2_connection_window = "2MiB"
upgrade_idle_timeout = "11s"
recheck = "12s"
[refusal]
help = "https://help.example/"
realm = "internal"
[process]
workers = 3
[shutdown]
delay = "1s"
grace = "2s"
[ops]
enabled = false
[control]
socket = "run/my.sock"
group = "operators"
[index]
enabled = true
path = "my.index"
max_age = "2h"
max_size = "17MiB"
[store]
path = "state/my.db"
[sample]
recent = 200
most = 300
[spike]
bucket = "2s"
min_excess = 7
lookback = "5m"
[event]
node = "n"
cluster = "c"
integrity = "off"
[spool]
path = "spool"
max_size = "64MiB"
segment_size = "2MiB"
fsync = "never"
fsync_interval = "50ms"
[[sink]]
name = "file"
kind = "file"
path = "events.jsonl"
queue = 11
on_full = "block"
kinds = ["admin.*", "access.denied"]
reasons = "ip.*"
routes = ["billing"]
severity = "high"
rotate_size = "2MiB"
rotate_every = "1h"
rotate_keep = 3
rotate_compress = false
"#,
    );
    folder.write("rules/mine.toml", "version = 1");
    let loaded = folder.loaded();
    let seconds = Duration::from_secs;
    assert_eq!(loaded.process.workers, 3);
    assert_eq!(loaded.process.shutdown, ShutdownSettings { delay: seconds(1), grace: seconds(2) });
    let billing = &loaded.proxy.upstreams[1];
    let endpoints = [
        Endpoint::http("::1", 9091),
        Endpoint::http("b", 2),
        Endpoint::unix(Path::new("/run/app.sock")),
        Endpoint::unix(folder.path("app.sock")),
    ];
    assert_eq!(billing.endpoints, endpoints);
    assert_eq!(billing.max_idle, 7);
    let timeouts = UpstreamTimeouts {
        connect: seconds(1),
        first_byte: seconds(2),
        idle: seconds(3),
        total: seconds(4),
        keep_alive: seconds(5),
    };
    assert_eq!(billing.timeouts, timeouts);
    let mut route = RouteSettings::new("billing", RouteAction::Upstream(1));
    (route.forward_credentials, route.disclose) = (true, true);
    route.limits = RouteLimits {
        rates: vec![RateLimit { per: Per::Principal, requests: 100, window: seconds(60), burst: 20 }],
        concurrent: Concurrency { route: Some(50), principal: Some(4) },
        max_request_body: Some(1 << 20),
        max_response_body: Some(2 << 10),
    };
    assert_eq!(loaded.proxy.routes, [route]);
    assert_eq!(loaded.proxy.client_address.trusted_proxies.len(), 2);
    assert_eq!(loaded.proxy.client_address.header, portcullis_proxy::settings::ForwardedHeader::Forwarded);
    let name = |text: &'static str| Some(http::HeaderName::from_static(text));
    let headers = IdentityHeaders {
        user: name("x-user"),
        groups: name("x-groups"),
        roles: name("x-roles"),
        email: name("x-email"),
        ..IdentityHeaders::default()
    };
    assert_eq!(loaded.proxy.identity_headers, headers);
    let limits = Limits {
        first_byte_timeout: seconds(1),
        tls_handshake_timeout: seconds(12),
        header_timeout: seconds(2),
        keep_alive_timeout: seconds(3),
        body_idle_timeout: seconds(4),
        max_header_fields: 5,
        max_header_bytes: 60 << 10,
        max_field_bytes: 7 << 10,
        max_uri_bytes: 8_000,
        max_connections: 9,
        max_connections_per_client: Some(8),
        max_requests: 10,
        shed_after: Duration::from_millis(11),
        http2_max_streams: 13,
        http2_stream_window: 65 << 10,
        http2_connection_window: 2 << 20,
        upgrade_idle_timeout: seconds(11),
        recheck: seconds(12),
    };
    assert_eq!(loaded.proxy.limits, limits);
    let refusal = RefusalSettings {
        help_base: "https://help.example/".into(),
        realm: "internal".into(),
        ..RefusalSettings::default()
    };
    assert_eq!(loaded.proxy.refusal, refusal);
    assert_eq!(loaded.identity.token_cache_entries, 9);
    assert_eq!(loaded.ops, None);
    let control = loaded.control.unwrap();
    assert!(control.socket.ends_with("run/my.sock") && control.required);
    assert_eq!(control.group.as_deref(), Some("operators"));
    let index = portcullis_history::IndexSettings {
        path: folder.path("my.index"),
        events: folder.path("events.jsonl"),
        max_age: seconds(7_200),
        max_bytes: 17 << 20,
    };
    assert_eq!(loaded.index, Some(index));
    assert_eq!(loaded.store.unwrap().path, folder.path("state/my.db"));
    let sample = portcullis_insight::SampleLimits { recent: 200, most: 300, ..Default::default() };
    assert_eq!(loaded.sample, Some(sample));
    let spike = portcullis_insight::SpikeSettings {
        bucket: Duration::from_secs(2),
        min_excess: 7,
        lookback: Duration::from_secs(300),
    };
    assert_eq!(loaded.spike, Some(spike));
    assert_eq!((&*loaded.events.node, loaded.events.cluster.as_deref()), ("n", Some("c")));
    let kind = SinkKind::File { path: folder.path("events.jsonl") };
    let admin = EventKind::ALL.into_iter().filter(|kind| kind.as_str().starts_with("admin."));
    let filter = Filter {
        kinds: admin.chain([EventKind::AccessDenied]).collect(),
        reasons: vec![ReasonCode::IpNotAllowed, ReasonCode::IpDenied],
        routes: vec!["billing".into()],
        severity: Some(Severity::High),
    };
    let every = Some(Duration::from_secs(3_600));
    let rotation = Some(RotationSettings { size: Some(2 << 20), every, keep: 3, compress: false });
    let on_full = OnFull::Block;
    let sink = SinkSettings { queue: 11, on_full, filter, rotation, ..SinkSettings::new("file", kind) };
    assert_eq!(loaded.events.sinks, [sink]);
    assert_eq!(
        (loaded.events.integrity, loaded.events.fsync, loaded.events.fsync_interval),
        (Integrity::Off, Fsync::Never, Duration::from_millis(50))
    );
    let spool = SpoolSettings { path: folder.path("spool"), max_size: 64 << 20, segment_size: 2 << 20 };
    assert_eq!(loaded.events.spool, Some(spool));
}

#[test]
fn the_keys_of_what_an_upstream_endures_reach_their_settings() {
    let folder = Folder::new();
    let appended = r#"[[upstream]]
name = "b"
endpoints = ["http://b:1"]
breaker = { failures = 2, window = "3s", open = "4s", longest = "5s" }
ejection = { failures = 6, first = "7s", longest = "8s", max_share_percent = 9 }
retries = { budget_percent = 10 }
http = "auto"
slow_start = "30s"
max_requests = 50
dns_refresh = "1m"
health = { path = "/up?x=1", status = [200, 204], interval = "6s", timeout = "1s", healthy = 4, unhealthy = 5 }
http2 = { max_connections = 2, max_streams = 3, ping_interval = "4s", ping_timeout = "5s" }
[[upstream]]
name = "c"
endpoints = ["h2c://c:1", { url = "h2c://c:2", weight = 3 }]
health = { path = "" }
breaker = { enabled = false }
ejection = { enabled = false }
"#;
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    let (seconds, loaded) = (Duration::from_secs, folder.loaded());
    let [_, b, c] = &loaded.proxy.upstreams[..] else { panic!("three upstreams") };
    let breaker = BreakerSettings { failures: 2, window: seconds(3), open: seconds(4), longest: seconds(5) };
    let ejection = EjectionSettings { failures: 6, first: seconds(7), longest: seconds(8), max_share_percent: 9 };
    assert_eq!((b.breaker, b.ejection, b.retry_percent), (Some(breaker), Some(ejection), 10));
    assert_eq!((c.breaker, c.ejection, c.retry_percent), (None, None, 20));
    let http2 =
        Http2Settings { max_connections: 2, max_streams: 3, ping_interval: seconds(4), ping_timeout: seconds(5) };
    assert_eq!((b.http, b.http2), (UpstreamHttp::Auto, http2));
    let health = HealthSettings {
        path: Some("/up?x=1".into()),
        status: vec![200, 204],
        interval: seconds(6),
        timeout: seconds(1),
        healthy: 4,
        unhealthy: 5,
    };
    assert_eq!((b.health.as_ref(), b.slow_start, b.max_requests), (Some(&health), seconds(30), Some(50)));
    assert_eq!((c.health.clone(), c.slow_start, c.max_requests), (Some(HealthSettings::default()), seconds(0), None));
    assert_eq!((b.dns_refresh, c.dns_refresh), (seconds(60), seconds(5)));
    assert_eq!(c.endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((c.http, c.http2), (UpstreamHttp::Two, Http2Settings::default()));
}

#[test]
fn the_keys_of_risk_and_bans_reach_their_settings() {
    use portcullis_risk::settings::{
        BanMode, BanSettings, BlastRadius, Calibrate, Credentials, Flood, Probing, Reputation, RiskMode, Settings,
        SignalSetting, Signatures, Spraying,
    };
    let folder = Folder::new();
    folder.write(
        "policy.toml",
        r#"version = 1
[[network]]
name = "office"
addresses = ["10.0.0.0/8"]
file = "list.txt"
[risk]
mode = "enforce"
corporate_egress = ["office"]
reputation = [{ network = "office", nats = 1.25 }, { network = "office" }]
services = "deny"
step_up_budget = "1.5%"
calibration = "by_hand"
signals.network = { weight = 0.5, cap = [-1, 2.5], enabled = false }
signals.device = {}
[ban]
mode = "simulate"
never = ["office"]
first = "1m"
factor = 3
longest = "2h"
forget_half = "1d"
probing = { level = 6, ratio = "50%", half = "1m" }
credentials = { level = 7.5, half = "2m" }
spraying = { principals = 8, window = "3m" }
signatures = { enabled = false, level = 6.5, half = "7m" }
flood = { enabled = true, requests = 500, window = "8m" }
blast_radius = { bans = 9, share = "30%" }
"#,
    );
    folder.write("list.txt", "# head\n\n192.0.2.1   # one\n2001:db8::/32\r\n");
    let loaded = folder.loaded();
    let office: Vec<ipnet::IpNet> =
        ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"].iter().map(|text| text.parse().unwrap()).collect();
    let signal = |name: &str, weight_milli, cap_mnats, enabled| SignalSetting {
        name: name.into(),
        weight_milli,
        cap_mnats,
        enabled,
    };
    let seconds = Duration::from_secs;
    let expected = Settings {
        risk_mode: RiskMode::Enforce,
        signals: vec![signal("network", 500, (-1_000, 2_500), false), signal("device", 1_000, (-3_000, 2_500), true)],
        corporate_egress: office.clone(),
        corporate_networks: vec!["office".into()],
        step_up_budget: Some(15_000),
        calibrate: Calibrate::ByHand,
        reputation: [1_250, 2_500].map(|mnats| Reputation { network: "office".into(), mnats }).into(),
        ban: BanSettings {
            mode: BanMode::Simulate,
            never: office,
            first: seconds(60),
            factor: 3,
            longest: seconds(7_200),
            forget_half: seconds(86_400),
            probing: Probing { level: 6.0, ratio: 0.5, half: seconds(60) },
            credentials: Credentials { level: 7.5, half: seconds(120) },
            spraying: Spraying { principals: 8, window: seconds(180) },
            signatures: Signatures { enabled: false, level: 6.5, half: seconds(420) },
            flood: Flood { enabled: true, requests: 500, window: seconds(480) },
            blast_radius: BlastRadius { bans: 9, share: 0.3 },
        },
        ..Settings::default()
    };
    assert_eq!(loaded.risk, expected);
    assert!(loaded.policy.enforces_risk());
}

#[test]
fn the_hash_of_a_single_policy_file_is_its_sha256() {
    let folder = Folder::new();
    // printf 'version = 1\n' | sha256sum
    let expected = data_encoding::HEXLOWER
        .encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"version = 1\n").as_ref());
    assert_eq!(folder.loaded().policy.sha256(), expected);
    folder.write("portcullis.toml", format!("{GATEWAY}[event]\nnode = \"other\"\n"));
    assert_eq!(folder.loaded().policy.sha256(), expected, "the gateway file is not part of it");

    folder.write("policy.toml", "version = 1\n[[network]]\nname = \"a\"\nfile = \"a.txt\"\n");
    folder.write("a.txt", "10.0.0.0/8\n");
    let first = folder.loaded().policy.sha256().to_owned();
    folder.write("a.txt", "10.0.0.0/9\n");
    assert_ne!(folder.loaded().policy.sha256(), first, "the file of a network is part of it");
}

#[test]
fn another_policy_can_take_the_place_of_the_named_one() {
    let folder = Folder::new();
    folder.write("other.toml", "version = 1\n[risk]\nmode = \"enforce\"\n");
    let load =
        |name: &str| crate::load_with_policy(&folder.path("portcullis.toml"), &folder.path(name), &folder.environment);
    assert!(load("other.toml").unwrap().policy.enforces_risk());
    assert!(!load("policy.toml").unwrap().policy.enforces_risk());
    let report = load("none.toml").unwrap_err();
    let diagnostic = report.diagnostics().next().unwrap();
    assert!(report.file(diagnostic.primary).ends_with("none.toml"), "an argument is no value of a file");
}

#[test]
fn a_route_has_the_limits_of_its_own_or_else_the_default_ones() {
    let folder = Folder::new();
    let route = |name: &str, more: &str| {
        format!("[[route]]\nname = \"{name}\"\npaths = \"/{name}\"\nupstream = \"billing\"\n{more}\n")
    };
    let limits = "[limits]\nmax_concurrent = { principal = 2 }\n\
                  rate_limit = [{ per = \"address\", requests = 5, window = \"1s\" }, \
                  { per = \"address\", requests = 100, window = \"1h\", burst = 10 }]\n";
    let own = route("own", "rate_limit = [{ per = \"route\", requests = 1, window = \"1d\" }]");
    let none = route("none", "rate_limit = []\nmax_concurrent = {}");
    folder.write("portcullis.toml", [GATEWAY, &own, &none, limits].concat());
    let loaded = folder.loaded();
    let rate =
        |per, requests, window_s, burst| RateLimit { per, requests, window: Duration::from_secs(window_s), burst };
    let default = [rate(Per::Address, 5, 1, 5), rate(Per::Address, 100, 3_600, 10)];
    let concurrent = Concurrency { route: None, principal: Some(2) };
    let check = |index: usize, rates: &[RateLimit], concurrent: Concurrency| {
        let limits = &loaded.proxy.routes[index].limits;
        assert_eq!((limits.rates.as_slice(), limits.concurrent), (rates, concurrent), "{index}");
    };
    check(0, &default, concurrent);
    check(1, &[rate(Per::Route, 1, 86_400, 1)], concurrent);
    check(2, &[], Concurrency::default());
}

#[test]
fn zero_is_any_time_for_what_streams() {
    let folder = Folder::new();
    let upstream =
        "[[upstream]]\nname = \"events\"\nendpoints = [\"http://a:1\"]\ntimeouts = { idle = \"0s\", total = \"0s\" }\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{upstream}"));
    let timeouts = folder.loaded().proxy.upstreams[1].timeouts;
    let expected = UpstreamTimeouts { idle: Duration::MAX, total: Duration::MAX, ..UpstreamTimeouts::default() };
    assert_eq!(timeouts, expected);
}
