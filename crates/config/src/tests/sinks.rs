//! Sinks that send over the network: what can be written, what it means, and what is wrong with what.

use std::time::Duration;

use portcullis_events::Format;
use portcullis_events::settings::{
    BatchSettings, DeadLetterSettings, FoldSettings, HAS_KAFKA, HttpAuth, HttpBody, KafkaSettings, RemoteKind,
    RetrySettings, SaslMechanism, Secret, SinkKind, SyslogTransport, TlsSettings,
};
use portcullis_proxy::settings::Recorded;
use portcullis_testkit::certificates::{Authority, San};

use super::{Folder, GATEWAY, check_gateway};

/// Every key of every kind.
const ALL: &str = r#"
[event]
permits = { sample = "1.5%", routes = "billing" }
upstream_refusals = true

[trace.otlp]
url = "https://otel.example:4318/v1/traces"
sample = "2.5%"
queue = 11
allow_http = false
auth = { bearer = { env = "PASSWORD" } }
headers = { x-a = "b" }
gzip = false
timeout = "3s"
tls = { ca = "ca.pem", server_name = "otel" }

[spool]
path = "spool"

[[sink]]
name = "syslog"
kind = "syslog"
format = "cef"
fold = { window = "10s" }
retry = { first = "1s", longest = "5m", give_up = "1d" }
dead_letter = { path = "dead.jsonl", max_size = "2MiB" }
[sink.syslog]
address = "siem.example:6514"
transport = "tls"
tls = { ca = "ca.pem", certificate = "cert.pem", key = "key.pem", server_name = "other.example" }
facility = "authpriv"
app_name = "gateway"
enterprise_id = 4711
max_datagram = "4KiB"
timeout = "3s"

[[sink]]
name = "splunk"
kind = "http"
[sink.http]
url = "https://splunk.example:8088/services/collector/event"
allow_http = false
body = "splunk_hec"
index = "security"
source = "s"
sourcetype = "t"
auth = { header = "X-Api-Key", value = { file = "secret" } }
headers = { X-Scope-OrgID = "tenant" }
gzip = false
timeout = "7s"
tls = { ca = "ca.pem" }
batch = { events = 11, size = "2MiB" }

[[sink]]
name = "loki"
kind = "http"
http = { url = "https://loki.example/loki/api/v1/push", body = "loki", labels = { job = "p" }, auth = { user = "u", password = { env = "PASSWORD" } } }

[[sink]]
name = "elastic"
kind = "http"
format = "ecs"
http = { url = "http://[::1]:9200/_bulk", allow_http = true, body = "elastic_bulk", index = "logs-portcullis", auth = { bearer = { credential = "token" } } }

[[sink]]
name = "sentinel"
kind = "sentinel"
[sink.sentinel]
endpoint = "https://dce.example"
rule = "dcr-0123456789abcdef0123456789abcdef"
stream = "Custom-Other_CL"
tenant = "t-1"
client_id = "c-1"
client_secret = { env = "PASSWORD" }
authority = "https://login.microsoftonline.us"
audience = "https://monitor.azure.us/"
allow_http = false
gzip = false
timeout = "9s"
tls = { ca = "ca.pem" }

[[sink]]
name = "otlp"
kind = "otlp"
[sink.otlp]
url = "https://otel.example:4318/v1/logs"
allow_http = false
auth = { bearer = { env = "PASSWORD" } }
headers = { x-a = "b" }
gzip = true
timeout = "30s"
tls = { server_name = "otel" }
batch = { events = 500, size = "1MiB" }

[[sink]]
name = "otlp with a name"
kind = "otlp"
otlp = { url = "https://otel.example", auth = { user = "u", password = { env = "PASSWORD" } } }

[[sink]]
name = "otlp with a header"
kind = "otlp"
otlp = { url = "https://otel.example", auth = { header = "x-key", value = { env = "PASSWORD" } } }
"#;

/// A folder with everything that [`ALL`] names.
pub(super) fn folder_of_all() -> Folder {
    let mut folder = Folder::new();
    let authority = Authority::new("siem");
    let issued = authority.issue(&[San::Host("gateway")]);
    folder.write("ca.pem", authority.certificate());
    folder.write("cert.pem", issued.certificate);
    folder.write("key.pem", issued.key);
    folder.write("secret", "hunter2\n");
    folder.write("credentials/token", "t0ken");
    let credentials = folder.path("credentials").display().to_string();
    folder.environment.insert("CREDENTIALS_DIRECTORY".into(), credentials);
    folder.environment.insert("PASSWORD".into(), "pa55".into());
    folder.write("portcullis.toml", format!("{GATEWAY}{ALL}"));
    folder
}

/// Of the ways to prove who the gateway is, traces can have one at a time.
pub(super) fn load_traces_with_every_proof() {
    let folder = folder_of_all();
    for auth in [
        "{ user = \"u\", password = { env = \"PASSWORD\" } }",
        "{ header = \"x-key\", value = { env = \"PASSWORD\" } }",
    ] {
        let trace = format!("[trace.otlp]\nurl = \"https://otel.example/v1/traces\"\nauth = {auth}\n");
        folder.write("portcullis.toml", format!("{GATEWAY}{trace}"));
        assert!(folder.loaded().events.trace.is_some());
    }
}

fn kinds(folder: &Folder) -> Vec<RemoteKind> {
    let remote = |kind| match kind {
        SinkKind::Remote(kind) => *kind,
        SinkKind::Stdout | SinkKind::File { .. } => panic!("{kind:?}"),
    };
    folder.loaded().events.sinks.into_iter().map(|sink| remote(sink.kind)).collect()
}

#[test]
fn every_key_of_every_kind_is_read() {
    let kinds = kinds(&folder_of_all());
    let [
        RemoteKind::Syslog(syslog),
        RemoteKind::Http(splunk),
        RemoteKind::Http(loki),
        RemoteKind::Http(elastic),
        RemoteKind::Sentinel(sentinel),
        RemoteKind::Otlp(otlp),
        ..,
    ] = kinds.as_slice()
    else {
        panic!("{kinds:?}")
    };
    assert_eq!((&*syslog.host, syslog.port, syslog.format), ("siem.example", 6_514, Format::Cef));
    assert_eq!((syslog.facility, &*syslog.app_name, syslog.enterprise_id), (10, "gateway", 4_711));
    assert_eq!((syslog.max_datagram, syslog.timeout), (4_096, Duration::from_secs(3)));
    let SyslogTransport::Tls(tls) = &syslog.transport else { panic!() };
    assert_eq!((tls.roots.len(), tls.server_name.as_deref()), (1, Some("other.example")));
    assert!(tls.identity.is_some());

    let target = &splunk.target;
    assert_eq!((&*target.host, target.port, &*target.path), ("splunk.example", 8_088, "/services/collector/event"));
    assert_eq!((target.timeout, splunk.gzip), (Duration::from_secs(7), false));
    assert_eq!(splunk.auth, HttpAuth::Header { name: "x-api-key".into(), value: Secret::new("hunter2") });
    assert_eq!(splunk.headers, [("x-scope-orgid".into(), "tenant".into())]);
    assert_eq!(splunk.batch, BatchSettings { events: 11, bytes: 2 << 20 });
    let hec = HttpBody::SplunkHec { index: Some("security".into()), source: "s".into(), sourcetype: "t".into() };
    assert_eq!(splunk.body, hec);

    assert_eq!(loki.body, HttpBody::Loki { labels: vec![("job".into(), "p".into())] });
    assert_eq!(loki.auth, HttpAuth::Basic { user: "u".into(), password: Secret::new("pa55") });
    assert_eq!((&elastic.target.tls, &*elastic.target.host, elastic.format), (&None, "::1", Format::Ecs));
    assert_eq!(elastic.body, HttpBody::ElasticBulk { index: "logs-portcullis".into() });
    assert_eq!(elastic.auth, HttpAuth::Bearer(Secret::new("t0ken")));

    assert_eq!((&*sentinel.endpoint.host, &*sentinel.authority.host), ("dce.example", "login.microsoftonline.us"));
    assert_eq!((&*sentinel.audience, sentinel.client_secret.reveal()), ("https://monitor.azure.us", "pa55"));
    assert_eq!((&*sentinel.rule, &*sentinel.stream), ("dcr-0123456789abcdef0123456789abcdef", "Custom-Other_CL"));
    assert_eq!((&*sentinel.tenant, &*sentinel.client_id, sentinel.gzip), ("t-1", "c-1", false));
    assert_eq!(sentinel.endpoint.timeout, Duration::from_secs(9));

    assert_eq!((otlp.target.port, &*otlp.target.path), (4_318, "/v1/logs"));
    assert_eq!(otlp.target.tls.as_ref().unwrap().server_name.as_deref(), Some("otel"));
}

/// What is read of a sink for Kafka with these keys besides, and what is wrong with it other than that this program was built without.
pub(super) fn kafka(rest: &str) -> (Option<KafkaSettings>, Vec<(&'static str, String, String)>) {
    let mut folder = folder_of_all();
    folder.environment.insert("PASSWORD".into(), "pa55".into());
    let brokers = if rest.contains("brokers") { "" } else { "brokers = [\"k1.example:9093\", \"[::1]:9092\"]\n" };
    let topic = if rest.contains("topic") { "" } else { "topic = \"refusals.v1\"\n" };
    let sink =
        format!("[[sink]]\nname = \"k\"\nkind = \"kafka\"\nformat = \"ecs\"\n[sink.kafka]\n{brokers}{topic}{rest}\n");
    folder.write("portcullis.toml", format!("{GATEWAY}[spool]\npath = \"spool\"\n{sink}"));
    let mut problems = folder.problems();
    let count = problems.len();
    problems.retain(|(code, _, text)| !(*code == "E0106" && text.contains("built without Kafka")));
    assert_eq!(count - problems.len(), usize::from(!HAS_KAFKA), "the build is spoken of once");
    let settings =
        folder.load().ok().map(|loaded| match loaded.events.sinks.into_iter().next().map(|sink| sink.kind) {
            Some(SinkKind::Remote(kind)) => match *kind {
                RemoteKind::Kafka(settings) => settings,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
    (settings, problems)
}

#[test]
fn a_sink_for_kafka_has_all_it_needs_or_each_mistake_is_named() {
    let sasl = "sasl = { mechanism = \"scram-sha-512\", user = \"gw\", password = { env = \"PASSWORD\" } }";
    let all = format!(
        "transport = \"tls\"\ntls = {{ ca = \"ca.pem\", server_name = \"kafka\" }}\n{sasl}\ngzip = false\ntimeout = \"3s\"\nbatch = {{ events = 7, size = \"2KiB\" }}"
    );
    for (rest, full) in [(&*all, true), ("", false), ("transport = \"tcp\"", false)] {
        let (settings, problems) = kafka(rest);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.is_some(), HAS_KAFKA);
        let Some(settings) = settings else { continue };
        assert_eq!(settings.brokers, [("k1.example".into(), 9_093), ("::1".into(), 9_092)]);
        assert_eq!((&*settings.topic, settings.format, settings.gzip), ("refusals.v1", Format::Ecs, !full));
        assert_eq!(settings.tls.is_some(), rest != "transport = \"tcp\"");
        assert_eq!(settings.timeout, Duration::from_secs(if full { 3 } else { 30 }));
        let batch = if full { (7, 2 << 10) } else { (500, 768 << 10) };
        assert_eq!((settings.batch.events, settings.batch.bytes), batch);
        let proof = settings.sasl.map(|sasl| (sasl.mechanism, sasl.user, sasl.password));
        assert_eq!(proof, full.then(|| (SaslMechanism::ScramSha512, "gw".into(), Secret::new("pa55"))));
    }
    for (rest, code, fragment) in [
        ("brokers = []", "E0105", "`brokers`"),
        ("brokers = [\"k1\"]", "E0105", "has no port"),
        ("brokers = \"k1:1\"", "E0104", "expected a list"),
        ("topic = \"..\"", "E0105", "1 to 249 letters"),
        ("topic = \"a b\"", "E0105", "1 to 249 letters"),
        ("topic = \"\"", "E0105", "1 to 249 letters"),
        ("transport = \"udp\"", "E0105", "\"tcp\""),
        ("transport = \"tcp\"\ntls = {}", "E0203", "here it is not"),
        ("sasl = {}", "E0102", "`mechanism` is missing"),
        ("sasl = { mechanism = \"scram\", user = \"u\", password = { env = \"PASSWORD\" } }", "E0105", "\"plain\""),
        (
            "transport = \"tcp\"\nsasl = { mechanism = \"plain\", user = \"u\", password = { env = \"PASSWORD\" } }",
            "E0203",
            "can be read on the way",
        ),
        ("batch = { events = 0 }", "E0105", "from 1 to 10000"),
        ("acks = 1", "E0103", "unknown key `acks`"),
    ] {
        let (_, problems) = kafka(rest);
        let named = problems.iter().any(|(found, place, text)| {
            *found == code && text.contains(fragment) && place.starts_with("portcullis.toml:")
        });
        assert!(named, "{rest}: {problems:#?}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("\"k{number}:1\"")).collect();
    let (_, problems) = kafka(&format!("brokers = [{}]", many.join(",")));
    assert!(problems[0].2.contains("33 are more than 32"), "{problems:?}");
}

#[test]
fn what_is_left_out_has_the_documented_defaults() {
    let folder = Folder::new();
    folder.write("secret", "x");
    folder.write(
        "portcullis.toml",
        format!(
            "{GATEWAY}[spool]\npath = \"spool\"\n[[sink]]\nname = \"a\"\nkind = \"syslog\"\nsyslog = {{ address = \"a:514\" }}\n\
             [[sink]]\nname = \"b\"\nkind = \"http\"\nhttp = {{ url = \"https://a\" }}\n\
             [[sink]]\nname = \"c\"\nkind = \"sentinel\"\n[sink.sentinel]\nendpoint = \"https://a\"\nrule = \"r\"\n\
             tenant = \"t\"\nclient_id = \"c\"\nclient_secret = {{ file = \"secret\" }}\n\
             [[sink]]\nname = \"d\"\nkind = \"otlp\"\notlp = {{ url = \"https://a/v1/logs\" }}\n"
        ),
    );
    let kinds = kinds(&folder);
    let [RemoteKind::Syslog(syslog), RemoteKind::Http(http), RemoteKind::Sentinel(sentinel), RemoteKind::Otlp(otlp)] =
        kinds.as_slice()
    else {
        panic!("{kinds:?}")
    };
    assert_eq!(syslog.transport, SyslogTransport::Tls(TlsSettings::default()));
    assert_eq!((syslog.facility, &*syslog.app_name, syslog.enterprise_id), (16, "portcullis", 32_473));
    assert_eq!((syslog.format, syslog.max_datagram, syslog.timeout), (Format::Native, 2_048, Duration::from_secs(10)));
    assert_eq!((&http.body, &http.auth, http.gzip), (&HttpBody::Ndjson, &HttpAuth::None, true));
    assert_eq!((http.target.port, &*http.target.path, http.target.timeout), (443, "/", Duration::from_secs(30)));
    assert_eq!(http.batch, BatchSettings { events: 500, bytes: 1 << 20 });
    assert_eq!((&*sentinel.stream, &*sentinel.authority.host), ("Custom-Portcullis_CL", "login.microsoftonline.com"));
    assert_eq!((&*sentinel.audience, sentinel.gzip), ("https://monitor.azure.com", true));
    assert_eq!((otlp.gzip, otlp.batch), (true, BatchSettings::default()));
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    // Of the table's last lines: the code, the text where it is marked, and what is said.
    let check = |kind: &str, rest: &str, (code, at, fragment): (&str, &str, &str)| {
        let text = format!("[[sink]]\nname = \"s\"\nkind = \"{kind}\"\n{rest}\n");
        let offset = text.rfind(at).unwrap_or_else(|| panic!("{at} is not in {text}"));
        let before = &text[..offset];
        let (line, column) =
            (before.matches('\n').count() + 1, offset - before.rfind('\n').map_or(0, |end| end + 1) + 1);
        check_gateway(&format!("{text}[spool]\npath = \"spool\"\n"), (code, line, column, fragment));
    };
    let syslog = |rest: &str, expected| check("syslog", &format!("syslog = {{ address = \"a:1\"{rest} }}"), expected);
    check(
        "syslog",
        "",
        ("E0102", "[[sink]]", "`syslog` is missing in [[sink]] | add `syslog`: a table that says where to send"),
    );
    check("syslog", "http = {}\nsyslog = { address = \"a:1\" }", ("E0103", "http", "`http` does not belong"));
    check("syslog", "syslog = {}", ("E0102", "{}", "`address` is missing"));
    check("syslog", "syslog = { address = \"a\" }", ("E0105", "\"a\"", "has no port"));
    check("syslog", "syslog = { address = \"udp://a:1\" }", ("E0105", "\"udp", "valid host"));
    check("syslog", "path = \"x\"\nsyslog = { address = \"a:1\" }", ("E0203", "\"x\"", "kind \"file\""));
    check("syslog", "format = \"cfe\"\nsyslog = { address = \"a:1\" }", ("E0105", "\"cfe", "did you mean \"cef\"?"));
    syslog(", transport = \"tcp\", tls = {}", ("E0203", "{} }", "says how TLS is spoken, and here it is not"));
    syslog(", app_name = \"a b\"", ("E0105", "\"a b\"", "48 visible ASCII"));
    syslog(", facility = \"local8\"", ("E0105", "\"local8", "did you mean \"local"));
    syslog(", max_datagram = \"512B\"", ("E0105", "\"512B", "from 1024 to 65507"));
    syslog(", enterprise_id = 0", ("E0105", "0 }", "from 1 to"));
    syslog(", tls = { ca = \"none.pem\" }", ("E0100", "\"none", "none.pem"));
    syslog(", tls = { certificate = \"c.pem\" }", ("E0203", "\"c.pem", "`certificate` and `key` belong together"));
    syslog(", tls = { server_name = \"a b\" }", ("E0105", "\"a b", "no name that a certificate could have"));
    syslog(", tls = { ca = \"policy.toml\" }", ("E0105", "\"policy", "`policy.toml` cannot be used"));
    let http = |rest: &str, expected| check("http", &format!("http = {{ url = \"https://a\"{rest} }}"), expected);
    check("http", "http = { url = \"http://a/\" }", ("E0203", "\"http:", "write `allow_http = true`"));
    check("http", "http = { url = \"a\" }", ("E0105", "\"a\"", "begins with neither"));
    check("http", "http = { url = \"https://u:p@a/\" }", ("E0105", "\"https", "holds credentials"));
    http(", index = \"i\"", ("E0203", "\"i\"", "does not belong to this `body`"));
    http(", body = \"loki\", source = \"i\"", ("E0203", "\"i\"", "does not belong to this `body`"));
    http(", body = \"elastic_bulk\"", ("E0102", "{ url", "`index` is missing"));
    http(", body = \"loki\", labels = { kind = \"x\" }", ("E0105", "kind = \"x\"", "no name of a label"));
    http(", body = \"loki\", labels = { a-b = \"x\" }", ("E0105", "a-b", "no name of a label"));
    http(", batch = { events = 0 }", ("E0105", "0 }", "from 1 to 10000"));
    http(", headers = { Authorization = \"x\" }", ("E0203", "Authorization", "a credential does not belong among"));
    http(", headers = { Host = \"x\" }", ("E0203", "Host", "is written by the gateway"));
    check(
        "http",
        "format = \"cef\"\nhttp = { url = \"https://a\", body = \"elastic_bulk\", index = \"i\" }",
        ("E0203", "{ url", "write `format = \"ecs\"`"),
    );
    let auth = |rest: &str, expected| http(&format!(", auth = {rest}"), expected);
    auth("{}", ("E0105", "{} }", "expected `bearer`, or `user` and `password`"));
    auth("{ user = \"u\" }", ("E0105", "{ user", "found user"));
    auth("{ bearer = \"x\" }", ("E0104", "\"x\"", "expected a table"));
    auth("{ bearer = {} }", ("E0105", "{} }", "expected one of `file`, `env` and `credential`"));
    auth("{ bearer = { env = \"NOT_THERE\" } }", ("E0107", "\"NOT", "`NOT_THERE` is not set"));
    auth("{ bearer = { env = \"a=b\" } }", ("E0105", "\"a=b", "the name of an environment variable"));
    auth("{ bearer = { file = \"none\" } }", ("E0100", "\"none", "none"));
    auth("{ bearer = { credential = \"c\" } }", ("E0107", "\"c\"", "LoadCredential=c:/path"));
    auth("{ user = \"a:b\", password = { file = \"policy.toml\" } }", ("E0105", "\"a:b", "holds no colon"));
    check("otlp", "format = \"ecs\"\notlp = { url = \"https://a\" }", ("E0203", "\"ecs", "a form of its own"));
    let sentinel = |endpoint: &str, rule: &str, expected| {
        let rest = "tenant = \"t\", client_id = \"c\", client_secret = { file = \"policy.toml\" }";
        check("sentinel", &format!("sentinel = {{ endpoint = \"{endpoint}\", rule = \"{rule}\", {rest} }}"), expected);
    };
    sentinel("https://a/x", "r", ("E0105", "\"https", "the path is the gateway's to add"));
    sentinel("http://a", "r", ("E0203", "\"http", "write `allow_http = true`"));
    sentinel("https://a", "r/../s", ("E0105", "\"r/", "expected a rule's immutable id"));
    syslog_sink(&check);
    check(
        "stdout",
        "retry = { first = \"1s\" }",
        ("E0203", "{ first", "`retry` belongs to a sink that sends over a network"),
    );
    check(
        "file",
        "path = \"x\"\nfold = { window = \"10s\" }",
        ("E0203", "{ window", "`fold` belongs to a sink that sends"),
    );
    check(
        "stdout",
        "dead_letter = { path = \"x\" }",
        ("E0203", "{ path", "`dead_letter` belongs to a sink that sends over a network"),
    );
    check("stdout", "otlp = {}", ("E0103", "otlp", "write `kind = \"otlp\"`, or remove it"));
}

/// Mistakes in what a sink over a network does about a receiver that fails.
fn syslog_sink(check: &impl Fn(&str, &str, (&str, &str, &str))) {
    let syslog = |line: &str, expected| check("syslog", &format!("{line}\nsyslog = {{ address = \"a:1\" }}"), expected);
    syslog("retry = \"1s\"", ("E0104", "\"1s\"", "expected a table"));
    syslog("retry = { first = \"1ms\" }", ("E0105", "\"1ms", "from 10ms to 10m"));
    syslog("retry = { first = \"2s\", longest = \"1s\" }", ("E0203", "\"1s", "must not be shorter than `first`"));
    syslog("retry = { give_up = \"1s\" }", ("E0105", "\"1s", "from 1m to"));
    syslog("retry = { last = \"1s\" }", ("E0103", "last", "unknown"));
    syslog("fold = { window = \"10ms\" }", ("E0105", "\"10ms", "from 1s to 1h"));
    syslog("fold = \"10s\"", ("E0104", "\"10s", "expected a table"));
    syslog("dead_letter = { max_size = \"1KiB\" }", ("E0105", "\"1KiB", "must be from 1048576"));
}

#[test]
fn every_sink_says_how_it_deals_with_a_receiver_that_fails() {
    let folder = folder_of_all();
    let sinks = folder.loaded().events.sinks;
    let retry = RetrySettings {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(300),
        give_up: Some(Duration::from_secs(86_400)),
    };
    let dead_letter = DeadLetterSettings { path: Some(folder.path("dead.jsonl")), max_size: 2 << 20 };
    assert_eq!((sinks[0].retry, &sinks[0].dead_letter), (retry, &dead_letter));
    assert_eq!((sinks[0].fold, sinks[1].fold), (Some(FoldSettings { window: Duration::from_secs(10) }), None));
    assert_eq!((sinks[1].retry, &sinks[1].dead_letter), (RetrySettings::default(), &DeadLetterSettings::default()));
}

#[test]
fn traces_go_where_they_are_told_and_nowhere_by_default() {
    let trace = folder_of_all().loaded().events.trace.unwrap();
    assert_eq!((&*trace.target.host, trace.target.port, &*trace.target.path), ("otel.example", 4_318, "/v1/traces"));
    assert_eq!((trace.sample, trace.queue, trace.gzip, trace.target.timeout), (250, 11, false, Duration::from_secs(3)));
    assert_eq!(trace.auth, HttpAuth::Bearer(Secret::new("pa55")));
    assert_eq!(trace.headers, [("x-a".into(), "b".into())]);
    assert_eq!(trace.target.tls.unwrap().server_name.as_deref(), Some("otel"));
    let of = |text: &str| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}{text}"));
        folder.loaded().events.trace
    };
    assert_eq!((of(""), of("[trace]\n")), (None, None));
    let least = of("[trace]\notlp = { url = \"https://a/v1/traces\" }\n").unwrap();
    assert_eq!((least.sample, least.queue, least.gzip, least.auth), (100, 4_096, true, HttpAuth::None));
    check_gateway("[trace]\notlp = {}\n", ("E0102", 2, 8, "`url` is missing"));
    check_gateway("[trace]\notlp = { url = \"http://a/\" }\n", ("E0203", 2, 16, "write `allow_http = true`"));
    check_gateway(
        "[trace]\notlp = { url = \"https://a/\", sample = 1 }\n",
        ("E0104", 2, 39, "write the sign: `\"1%\"`"),
    );
    check_gateway("[trace]\nzipkin = {}\n", ("E0103", 2, 1, "unknown"));
}

#[test]
fn permits_are_recorded_of_the_routes_that_are_named() {
    let of = |event: &str| {
        let folder = Folder::new();
        let other = "[[route]]\nname = \"other\"\nhosts = [\"other.test\"]\nupstream = \"billing\"\n";
        folder.write("portcullis.toml", format!("{GATEWAY}{other}{event}"));
        folder.loaded().proxy.routes.iter().map(|route| route.recorded).collect::<Vec<_>>()
    };
    let recorded = |permits, upstream_refusals| Recorded { permits, upstream_refusals };
    assert_eq!(of(""), [recorded(0, false); 2]);
    assert_eq!(of("[event]\npermits = {}\n"), [recorded(0, false); 2]);
    assert_eq!(of("[event]\npermits = { sample = \"100%\" }\n"), [recorded(10_000, false); 2]);
    let one = "[event]\nupstream_refusals = true\npermits = { sample = \"0.5%\", routes = [\"other\"] }\n";
    assert_eq!(of(one), [recorded(0, true), recorded(50, true)]);
}

#[test]
fn permits_that_no_sink_takes_are_said() {
    let check = |case: &str, sinks: &str, sample: &str, expected: &[(&str, &str, &str)]| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}[event]\npermits = {{ sample = \"{sample}\" }}\n{sinks}"));
        folder.check(case, expected);
    };
    let place = format!("portcullis.toml:{}:11", super::GATEWAY_LINES + 2);
    let untaken = [("W0208", place.as_str(), "no sink takes permits")];
    let sink = |kinds: &str| format!("[[sink]]\nname = \"f\"\nkind = \"file\"\npath = \"e.jsonl\"\n{kinds}\n");
    check("the default sink", "", "100%", &untaken);
    check("every kind that is not named", &sink(""), "100%", &untaken);
    check("other kinds", &sink("kinds = [\"access.denied\"]"), "1%", &untaken);
    check("by a star", &sink("kinds = [\"access.*\"]"), "100%", &[]);
    check("none are recorded", "", "0%", &[]);
}

#[test]
fn lines_on_standard_output_and_in_files_have_every_format() {
    for format in Format::ALL {
        let folder = Folder::new();
        let word = format.as_str();
        folder.write(
            "portcullis.toml",
            format!(
                "{GATEWAY}[[sink]]\nname = \"a\"\nkind = \"file\"\npath = \"a.log\"\nformat = \"{word}\"\n\
                 [[sink]]\nname = \"b\"\nkind = \"stdout\"\nformat = \"{word}\"\n"
            ),
        );
        let sinks = folder.loaded().events.sinks;
        assert!(sinks.iter().all(|sink| sink.format == format), "{sinks:?}");
        assert_eq!(sinks[0].native_file().is_some(), format == Format::Native);
        assert_eq!(sinks[1].native_file(), None);
    }
}

#[test]
fn a_secret_with_a_slip_is_not_shown() {
    let folder = Folder::new();
    folder.write("secret", "hunter2\nhunter3\n");
    let sink = "[[sink]]\nname = \"s\"\nkind = \"http\"\nhttp = { url = \"https://a\", auth = { bearer = { file = \"secret\" } } }\n";
    folder.write("portcullis.toml", format!("{GATEWAY}[spool]\npath = \"spool\"\n{sink}"));
    let problems = folder.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].2.contains("no line of visible ASCII"), "{problems:?}");
    assert!(!folder.load().unwrap_err().render_human(false).contains("hunter"));
}
