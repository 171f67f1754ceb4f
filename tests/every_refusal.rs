//! As many events as refusals: several hundred requests, at least one for every reason code that this version gives, each with its
//! status, its reason and its one event under the id that the caller was given. Every sink in every format gets the same events in the
//! same order, whatever stands in them, and none of them gets a secret.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_events::ReasonCode;
use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::http2::Http2;
use portcullis_testkit::ports::free_port;
use portcullis_testkit::receiver::{Answer as Taken, Receiver};
use portcullis_testkit::tokens::{SigningKey, unsigned};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Answer, Conn, chunked, request};
use serde_json::Value;

use self::table::{Credential, FAULTS, HTTP2, OUT_OF_REACH, ROWS, RUDE};
use crate::client_certificates::{Client, put};
use crate::harness::{Gateway, Site, bearer, claims};
use crate::malformed::{AUTHORITIES, FRAMINGS, HEADS, PATHS};

const POLICY: &str = r#"
[[network]]
name = "office"
addresses = ["127.0.0.0/29"]
[[network]]
name = "tor"
addresses = ["127.0.0.66"]
[[network]]
name = "fetched"
source = { url = "https://127.0.0.1:1/list" }
[[network]]
name = "harmless"
addresses = ["127.0.0.0/16"]

[[resource]]
route = "inside"
authentication = "none"
networks = { allow = ["office"], deny = ["tor"] }
[[resource]]
route = "guarded"
authentication = "none"
networks = { deny = ["tor"] }
[[resource]]
route = "feed"
authentication = "none"
networks = { allow = ["fetched"] }
[[resource]]
route = "open"
authentication = "optional"
[[resource]]
route = "cert"
authentication = "certificate"
[[resource]]
route = "risky"
sensitivity = "high"

[[role]]
name = "reader"
permissions = [{ actions = ["GET /invoices/**"], not_actions = ["GET /invoices/*/bank-details"] }]
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]
[[role]]
name = "usual"
permissions = [{ actions = ["GET,POST /**"] }]

[[group]]
name = "finance"
members = ["user:alice"]

[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance"]
scope = "*"
[[assignment]]
name = "root-with-mfa"
role = "everything"
principals = ["user:root"]
scope = "*"
when = { assurance = "mfa" }
[[assignment]]
name = "last-year"
role = "everything"
principals = ["user:former"]
scope = "*"
expires = 2020-01-01T00:00:00Z
[[assignment]]
name = "some-day"
role = "everything"
principals = ["user:future"]
scope = "*"
starts = 2099-01-01T00:00:00Z
[[assignment]]
name = "in-the-office"
role = "everything"
principals = ["user:inhouse"]
scope = "*"
when = { networks = ["office"] }
[[assignment]]
name = "risky"
role = "everything"
principals = ["user:traveller"]
scope = "risky"
[[assignment]]
name = "the-public"
role = "usual"
principals = ["anyone"]
scope = ["open", "rude", "down", "broken", "held", "small", "large", "rated", "speaking"]

[[deny]]
name = "no-exports"
principals = ["group:contractors"]
actions = ["GET /invoices/export"]
scope = "*"

[step_up]
mfa = { acr = ["urn:mfa"], amr = ["otp"] }

[risk]
mode = "enforce"
thresholds.normal = { step_up = 19.0, deny = 20.0 }
thresholds.high = { step_up = 2.9, deny = 2.95 }

[ban]
never = ["harmless"]
credentials = { level = 5, half = "2m" }
probing = { level = 9000, ratio = "100%", half = "1s" }
"#;

/// What no sink may have, in whatever form it writes events. Whatever begins so is a secret of somebody's.
const CANARY: &str = "canary";

/// What every request carries besides: something to hide, and something that tries to break the lines of a log.
const BAGGAGE: [(&str, &str); 6] = [
    ("cookie", "session=canary-cookie"),
    ("proxy-authorization", "Basic canary-proxy"),
    ("x-note", "canary-header"),
    ("referer", "http://canary-user:canary-password@ref.test/p|q=r^s?canary-query#canary-fragment"),
    ("user-agent", "a]\" b=\\c|d^e\tsrc=1.2.3.4 \u{202e}\u{85}\u{2028}{\"id\":\"forged\"}"),
    ("x-canary-name", "1"),
];

/// Finds an event's id in its line.
type IdOf = fn(&str) -> Option<String>;

/// Where that stands in each format.
const FORMATS: [(&str, IdOf); 6] = [
    ("native", |line| pointer(line, "/id")),
    ("ecs", |line| pointer(line, "/event/id")),
    ("ocsf", |line| pointer(line, "/metadata/uid")),
    ("asim", |line| pointer(line, "/EventUid")),
    ("cef", |line| Some(line.split(" externalId=").nth(1)?.split(' ').next()?.to_owned())),
    ("leef", |line| Some(line.split("|^|eventId=").nth(1)?.split('^').next()?.to_owned())),
];

fn pointer(line: &str, pointer: &str) -> Option<String> {
    Some(serde_json::from_str::<Value>(line).ok()?.pointer(pointer)?.as_str()?.to_owned())
}

/// One refusal, as the caller was told of it.
struct Told {
    what: String,
    status: Option<u16>,
    reason: &'static str,
}

/// A gateway with all that can be refused, and who has been told what by it.
struct World {
    gateway: Gateway,
    signers: [SigningKey; 3],
    keys: BTreeMap<&'static str, String>,
    told: BTreeMap<String, Told>,
    /// What proves something in tokens and keys.
    secrets: Vec<String>,
}

#[test]
fn every_refusal_has_its_event_in_every_sink_and_in_every_format() {
    let (app, slow) = (Upstream::start(), Upstream::replying(Reply::hang()));
    let (rude, speaker) = (Upstream::choosing(|head| rudeness(&head.target)), speaker());
    let receivers = [(); 3].map(|()| {
        Receiver::start(|request| {
            if request.target.contains("/oauth2/") {
                return Taken::status(200).body(r#"{"access_token":"given","expires_in":3599}"#);
            }
            Taken::status(if request.target == "/v1/logs" { 200 } else { 204 })
        })
    });
    let mut world = World::new([&app, &slow, &rude, &speaker], &receivers);
    world.malformed();
    world.rows();
    world.tokens();
    world.too_large();
    world.upstreams();
    world.limits(&slow);
    world.http2();
    world.certificates();
    world.risk();
    world.slow_clients();
    world.a_ban_and_what_it_ends();
    assert!(world.told.len() >= 300, "{} refusals", world.told.len());
    world.check(&receivers);
}

/// What an upstream answers that nobody can make sense of.
fn rudeness(target: &str) -> Reply {
    match target.split('?').next().unwrap_or_default() {
        "/hang" => Reply::hang(),
        "/garbage" => Reply::raw("garbage\r\n\r\n"),
        "/binary" => Reply::raw(b"\x00\x01\x02\x03\r\n\r\n".to_vec()),
        "/nothing" => Reply::raw(""),
        "/reset" => Reply::raw("").then_reset(),
        "/half-a-head" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-"),
        "/two-lengths" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"),
        "/odd-coding" => Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc"),
        "/bad-field" => Reply::raw("HTTP/1.1 200 OK\r\nbad field: x\r\ncontent-length: 0\r\n\r\n"),
        "/http-2" => Reply::raw("HTTP/2.0 200 OK\r\n\r\n"),
        _ => Reply::echo(),
    }
}

/// A word every 50 ms for a minute.
fn speaker() -> Upstream {
    Upstream::replying(
        Reply::drip(&[&b"data: tick\n\n"[..]; 1_200], Duration::from_millis(50))
            .header("content-type", "text/event-stream"),
    )
}

impl World {
    fn new([app, slow, rude, speaker]: [&Upstream; 4], receivers: &[Receiver]) -> Self {
        let signers = [SigningKey::rs256("rs"), SigningKey::es256("es"), SigningKey::ed25519("ed")];
        let mut site = Site::without_route(&app.url());
        let down = format!("http://127.0.0.1:{}", free_port());
        let no_breaker = "breaker = { enabled = false }";
        for (name, url, more) in [
            ("rude", &rude.url(), "breaker = { enabled = false }\ntimeouts = { first_byte = \"3s\" }"),
            ("down", &down, no_breaker),
            ("broken", &down, "breaker = { failures = 2, open = \"10m\", longest = \"10m\" }"),
            ("held", &slow.url(), no_breaker),
            ("small", &slow.url(), "max_requests = 1"),
            ("speaking", &speaker.url(), no_breaker),
        ] {
            site.add(&format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"{url}\"]\n{more}\n"));
        }
        for (name, upstream, more) in [
            ("app", "app", ""),
            ("paths", "app", "paths = [\"/api/**\"]"),
            ("inside", "app", ""),
            ("guarded", "app", ""),
            ("feed", "app", ""),
            ("open", "app", ""),
            ("cert", "app", ""),
            ("risky", "app", ""),
            ("rude", "rude", ""),
            ("down", "down", ""),
            ("broken", "broken", ""),
            ("held", "held", "max_concurrent = { route = 1 }"),
            ("small", "small", ""),
            ("large", "app", "max_request_body = \"1KiB\""),
            ("rated", "app", "rate_limit = { per = \"address\", requests = 1, window = \"1h\" }"),
            ("speaking", "speaking", ""),
        ] {
            let hosts = format!("hosts = [\"{name}.test\"]");
            site.add(&format!("[[route]]\nname = \"{name}\"\n{hosts}\nupstream = \"{upstream}\"\n{more}\n"));
        }
        site.add("[client_address]\ntrusted_proxies = [\"127.0.0.50\"]\n");
        site.add("[limits]\nheader_timeout = \"2s\"\nbody_idle_timeout = \"2s\"\nrecheck = \"1s\"\n");
        site.add("[access_log]\nkind = \"file\"\npath = \"access.log\"\n");
        Self::add_sinks(&mut site, receivers);
        site.accept_tokens(&[&signers[0], &signers[1], &signers[2]], "trust_groups = [\"contractors\"]");
        let authority = Authority::new("a test's own");
        Self::add_tls(&mut site, &authority);
        let keys: BTreeMap<&str, String> =
            [("robot", ""), ("expired", "expires = 2020-01-01T00:00:00Z"), ("revoked", "revoked = true")]
                .into_iter()
                .map(|(id, more)| (id, site.key(id, &format!("service:{id}"), more)))
                .collect();
        let public: String = ["rude", "down", "broken", "held", "small", "large", "rated", "speaking"]
            .map(|route| format!("\n[[resource]]\nroute = \"{route}\"\nauthentication = \"none\"\n"))
            .concat();
        site.policy(&[POLICY, &public].concat());
        let secrets = keys.values().map(|key| key.split('_').nth(2).unwrap().to_owned()).collect();
        Self { gateway: site.start(), signers, keys, told: BTreeMap::new(), secrets }
    }

    /// A file for each format, standard output, and a receiver of each kind that is answered over HTTP.
    fn add_sinks(site: &mut Site, receivers: &[Receiver]) {
        for (format, _) in FORMATS.iter().skip(1) {
            site.add(&format!(
                "[[sink]]\nname = \"{format}\"\nkind = \"file\"\npath = \"events.{format}\"\nformat = \"{format}\"\n"
            ));
        }
        site.add("[[sink]]\nname = \"out\"\nkind = \"stdout\"\nformat = \"cef\"\n[spool]\npath = \"spool\"\n");
        let [loki, otlp, sentinel] = [0, 1, 2].map(|index| receivers[index].address());
        site.file("password", "s3cret-of-the-application");
        site.add(&format!(
            "[[sink]]\nname = \"loki\"\nkind = \"http\"\nformat = \"leef\"\n\
             http = {{ url = \"http://{loki}/push\", allow_http = true, body = \"loki\", gzip = false }}\n\
             [[sink]]\nname = \"otlp\"\nkind = \"otlp\"\n\
             otlp = {{ url = \"http://{otlp}/v1/logs\", allow_http = true, gzip = false }}\n\
             [[sink]]\nname = \"sentinel\"\nkind = \"sentinel\"\n[sink.sentinel]\n\
             endpoint = \"http://{sentinel}\"\nauthority = \"http://{sentinel}\"\nallow_http = true\nrule = \"dcr-1\"\n\
             tenant = \"t-1\"\nclient_id = \"c-1\"\nclient_secret = {{ file = \"password\" }}\ngzip = false\n"
        ));
    }

    /// A second listener that asks for certificates.
    fn add_tls(site: &mut Site, authority: &Authority) {
        site.file("ca.crt", &authority.certificate());
        put(site, "server", &authority.issue(&[San::Host("cert.test")]));
        put(site, "nameless", &authority.issue(&[San::Host("127.0.0.1")]));
        put(site, "twofold", &authority.issue(&[San::Host("a.test"), San::Host("b.test")]));
        site.add(
            "[[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\n\
             tls = { certificate = \"server.crt\", key = \"server.key\", client_auth = \"optional\", client_ca = \"ca.crt\" }\n\
             [[identity.certificate]]\nname = \"mesh\"\nlisteners = [\"tls\"]\n",
        );
    }

    /// Notes an answer, which must be a refusal with this status and reason.
    #[track_caller]
    fn note(&mut self, what: &str, answer: &Answer, status: u16, reason: &'static str) {
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status(), status, "{what}: {shown}");
        assert_eq!(answer.json()["reason"], reason, "{what}: {shown}");
        let told = String::from_utf8_lossy(&[&answer.head.raw[..], &answer.body].concat()).into_owned();
        assert!(!told.contains(CANARY), "{what}: {told}");
        let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{what}: no id")).to_owned();
        self.note_id(what, id, Some(status), reason);
    }

    fn note_id(&mut self, what: &str, id: String, status: Option<u16>, reason: &'static str) {
        let before = self.told.insert(id, Told { what: what.to_owned(), status, reason });
        assert!(before.is_none(), "{what}: an id was used twice");
    }

    /// Sends bytes on a connection of their own. What is refused early may not be taken to its end.
    #[track_caller]
    fn refused(&mut self, bytes: impl AsRef<[u8]>, status: u16, reason: &'static str) {
        let bytes = bytes.as_ref();
        let what = String::from_utf8_lossy(bytes.get(..120).unwrap_or(bytes)).into_owned();
        let mut connection = self.gateway.conn();
        drop(connection.try_send(bytes));
        let answer = connection.try_answer().unwrap_or_else(|error| panic!("{what:?}: {error}"));
        self.note(&what, &answer, status, reason);
    }

    /// A request that carries its baggage.
    fn request(method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let query = if target.contains('?') { "&q=canary-query" } else { "?q=canary-query" };
        let all = [&[("host", host)], headers, &BAGGAGE].concat();
        let body: &[u8] = if method == "POST" { b"canary-body" } else { b"" };
        request(method, &format!("{target}{query}"), &all, body)
    }

    fn malformed(&mut self) {
        let baggage: String = BAGGAGE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for head in AUTHORITIES {
            self.refused(format!("{head}\r\n{baggage}\r\n"), 400, "request.host_invalid");
        }
        for fields in FRAMINGS {
            let head = format!("POST /?canary-query HTTP/1.1\r\nhost: a\r\n{fields}\r\n{baggage}\r\n");
            self.refused(format!("{head}canary-body"), 400, "request.malformed");
        }
        for head in HEADS {
            self.refused(format!("{head}\r\n{baggage}\r\n"), 400, "request.malformed");
        }
        for path in PATHS {
            let head = format!("GET {path}?canary-query HTTP/1.1\r\nhost: a\r\n{baggage}\r\n");
            self.refused(&head, 400, "request.path_ambiguous");
            self.refused(head.replacen(path, &format!("http://a{path}"), 1), 400, "request.path_ambiguous");
        }
        self.refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request.malformed");
        for expected in ["foo", "100-continue, foo", "canary-expectation"] {
            let head = Self::request("GET", "open.test", "/", &[("expect", expected)]);
            self.refused(head, 417, "request.malformed");
        }
        for upgrade in ["websocket", "h2c, websocket", "TLS/1.0", "spdy/3"] {
            let fields = [("connection", "upgrade"), ("upgrade", upgrade), ("sec-websocket-key", "canary-key")];
            self.refused(Self::request("GET", "open.test", "/", &fields), 403, "request.upgrade_not_allowed");
        }
    }

    fn rows(&mut self) {
        for (from, host, asked, credential, status, reason) in ROWS {
            let (method, target) = asked.split_once(' ').unwrap();
            let token = |subject: &str, groups: &[&str]| bearer(&self.signers[2], &claims(subject).groups(groups));
            let key = |id: &str| ("x-api-key".to_owned(), self.keys[id].clone());
            let field = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let fields = match credential {
                Credential::Nothing => Vec::new(),
                Credential::Token(subject, groups) => vec![("authorization".to_owned(), token(subject, groups))],
                Credential::Key(id) => vec![key(id)],
                Credential::KeyAndToken(id) => vec![key(id), ("authorization".to_owned(), token("alice", &[]))],
                Credential::Field(name, value) => vec![field((name, value))],
                Credential::Fields(both) => both.map(field).to_vec(),
            };
            let proofs =
                fields.iter().filter(|(name, _)| name == "authorization").filter(|(_, value)| value.len() > 100);
            self.secrets.extend(proofs.map(|(_, value)| value.rsplit('.').next().unwrap().to_owned()));
            let headers: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let mut connection = Conn::open_from(from.parse().unwrap(), self.gateway.address);
            connection.send(Self::request(method, host, target, &headers));
            let answer = connection.answer();
            self.note(&format!("{asked} {host} {credential:?} from {from}"), &answer, *status, reason);
        }
    }

    fn tokens(&mut self) {
        let faults: Vec<(String, String, &str)> = FAULTS
            .iter()
            .flat_map(|(what, make, reason)| {
                self.signers.iter().map(move |key| (format!("{} {what}", key.algorithm()), make(key), *reason))
            })
            .chain([("unsigned".to_owned(), unsigned(&claims("u")), "authn.invalid")])
            .collect();
        for (what, token, reason) in faults {
            let signature = token.rsplit('.').next().unwrap().to_owned();
            self.secrets.extend((signature.len() > 20).then_some(signature));
            let answer = self.gateway.send(Self::request(
                "GET",
                "app.test",
                "/",
                &[("authorization", &format!("Bearer {token}"))],
            ));
            self.note(&what, &answer, 401, reason);
        }
    }

    fn too_large(&mut self) {
        let long = |bytes: usize| "u".repeat(bytes);
        self.refused(Self::request("GET", "open.test", &format!("/{}", long(9_000)), &[]), 414, "request.too_large");
        self.refused(format!("GET /{}", long(20_000)), 414, "request.too_large");
        // A user agent of a megabyte.
        self.refused(
            format!("GET / HTTP/1.1\r\nhost: open.test\r\nuser-agent: {}\r\n\r\n", long(1 << 20)),
            431,
            "request.too_large",
        );
        let fields: String = (0..101).map(|number| format!("x-{number}: canary-header\r\n")).collect();
        self.refused(format!("GET / HTTP/1.1\r\nhost: open.test\r\n{fields}\r\n"), 431, "request.too_large");
        let big = format!("y: {}\r\n", long(16_000));
        self.refused(format!("GET / HTTP/1.1\r\nhost: open.test\r\n{}\r\n", big.repeat(5)), 431, "request.too_large");
        let head = "POST /up HTTP/1.1\r\nhost: large.test\r\n";
        self.refused(format!("{head}content-length: 1025\r\n\r\ncanary-body"), 413, "request.too_large");
        self.refused(format!("{head}content-length: 70000\r\n\r\ncanary-body"), 413, "request.too_large");
        self.refused(format!("{head}content-length: 1025\r\nexpect: 100-continue\r\n\r\n"), 413, "request.too_large");
        let grown =
            [format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes(), &chunked(&[&[b'x'; 2_000]])].concat();
        self.refused(grown, 413, "request.too_large");
    }

    fn upstreams(&mut self) {
        for target in RUDE {
            for method in ["GET", "POST"] {
                self.refused(Self::request(method, "rude.test", target, &[]), 502, "upstream.protocol");
            }
        }
        for _ in 0..2 {
            self.refused(Self::request("GET", "broken.test", "/", &[]), 502, "upstream.unreachable");
        }
        for method in ["GET", "POST", "GET"] {
            self.refused(Self::request(method, "broken.test", "/", &[]), 503, "upstream.circuit_open");
        }
    }

    fn limits(&mut self, slow: &Upstream) {
        assert_eq!(self.gateway.send(Self::request("GET", "rated.test", "/", &[])).status(), 200);
        for method in ["GET", "POST", "GET"] {
            self.refused(Self::request(method, "rated.test", "/", &[]), 429, "limit.rate");
        }
        let holders: Vec<Conn> = ["held.test", "small.test"]
            .map(|host| {
                let mut holder = self.gateway.conn();
                holder.send(Self::request("GET", host, "/", &[]));
                holder
            })
            .into();
        slow.wait_for_requests(2);
        for method in ["GET", "POST"] {
            self.refused(Self::request(method, "held.test", "/", &[]), 503, "limit.concurrency");
            self.refused(Self::request(method, "small.test", "/", &[]), 503, "limit.overload");
        }
        holders.into_iter().for_each(Conn::reset);
    }

    fn http2(&mut self) {
        let mut client = Http2::open(self.gateway.address);
        for (fields, status, reason) in HTTP2 {
            let (pseudo, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| name.starts_with(':'));
            let head = [vec![(":method", "GET"), (":scheme", "http")], pseudo, others, BAGGAGE.to_vec()].concat();
            let stream = client.request(&head, true);
            let answer = client.answer(stream);
            assert_eq!((answer.status(), &answer.json()["reason"]), (*status, &Value::from(*reason)), "{fields:?}");
            let id = answer.header("x-request-id").unwrap().to_owned();
            self.note_id(&format!("{fields:?}"), id, Some(*status), reason);
        }
    }

    fn certificates(&mut self) {
        let words = " listening listener=tls";
        let address = self
            .gateway
            .process
            .wait_for(words, PATIENCE, |line| line.split_once(words)?.1.split_once("address=")?.1.trim().parse().ok());
        for (name, status, reason) in [
            ("", 401, "authn.certificate_required"),
            ("nameless", 401, "authn.certificate_invalid"),
            ("twofold", 401, "authn.certificate_invalid"),
        ] {
            let client = Client::of(&self.gateway, address, name);
            for target in ["/", "/x?canary-query"] {
                let answer = client.get(target, &[&[("host", "cert.test")], &BAGGAGE[..]].concat());
                self.note(&format!("{name} {target}"), &answer, status, reason);
            }
        }
    }

    /// An address that tries many names is no proof of anything for whoever comes from there next.
    fn risk(&mut self) {
        let source = "127.1.0.77".parse().unwrap();
        let good = bearer(&self.signers[2], &claims("traveller"));
        let ask = |gateway: &Gateway, authorization: &str| {
            let mut connection = Conn::open_from(source, gateway.address);
            connection.send(Self::request("GET", "risky.test", "/", &[("authorization", authorization)]));
            connection.answer()
        };
        assert_eq!(ask(&self.gateway, &good).status(), 200);
        for number in 0..5 {
            let forged = bearer(&self.signers[2].impostor(), &claims(&format!("victim-{number}")));
            let answer = ask(&self.gateway, &forged);
            self.note(&format!("forged {number}"), &answer, 401, "authn.invalid");
        }
        for _ in 0..2 {
            let answer = ask(&self.gateway, &good);
            self.note("from where many names were tried", &answer, 403, "risk.too_high");
        }
    }

    fn slow_clients(&mut self) {
        let parts = [
            "G",
            "GET /slow?canary-query",
            "GET /slow HTTP/1.1\r\nhost: open.test\r\ncookie: canary-cookie\r\n",
            "POST /slow HTTP/1.1\r\nhost: open.test\r\ncontent-length: 20\r\n\r\ncanary-body",
            "POST /slow HTTP/1.1\r\nhost: open.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ];
        let mut connections: Vec<Conn> = parts.iter().map(|_| self.gateway.conn()).collect();
        connections.iter_mut().zip(parts).for_each(|(connection, part)| connection.send(part));
        for (mut connection, part) in connections.into_iter().zip(parts) {
            let answer = connection.answer();
            self.note(part, &answer, 408, "request.timeout");
        }
    }

    fn a_ban_and_what_it_ends(&mut self) {
        let source = "127.1.0.9".parse().unwrap();
        let ask = |gateway: &Gateway, host: &str, headers: &[(&str, &str)]| {
            let mut connection = Conn::open_from(source, gateway.address);
            connection.send(Self::request("GET", host, "/", headers));
            connection
        };
        let mut listening = ask(&self.gateway, "speaking.test", &[]);
        let head = listening.try_head().unwrap();
        assert_eq!(head.status, 200);
        let id = head.header("x-request-id").unwrap().to_owned();
        for _ in 0..5 {
            let answer = ask(&self.gateway, "open.test", &[("x-api-key", "pcl_robot_canary-key")]).answer();
            self.note("on the way to a ban", &answer, 401, "authn.invalid");
        }
        for host in ["open.test", "app.test", "inside.test"] {
            let answer = ask(&self.gateway, host, &[]).answer();
            self.note("banned", &answer, 403, "ban.active");
        }
        while listening.next_bytes().is_ok_and(|bytes| !bytes.is_empty()) {}
        self.note_id("a stream of somebody who was banned", id, None, "session.terminated");
    }

    /// Everything that was told is recorded, once, and nothing else; in every sink, in one order, without a secret.
    fn check(self, receivers: &[Receiver]) {
        let Self { gateway, told, mut secrets, .. } = self;
        secrets.extend([CANARY.to_owned(), "s3cret-of-the-application".to_owned()]);
        let arrived = |receiver: &Receiver| {
            let bodies = receiver.requests().into_iter().filter(|request| !request.target.contains("/oauth2/"));
            bodies.map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect::<String>()
        };
        let everywhere = wait::until(PATIENCE, || {
            let all = |receiver: &Receiver| {
                let text = arrived(receiver);
                told.keys().all(|id| text.contains(id.as_str()))
            };
            receivers.iter().all(all).then_some(())
        });
        assert!(everywhere.is_some(), "a receiver has not got every event");
        let (site, mut process) = (gateway.site, gateway.process);
        assert_eq!(process.stop(PATIENCE).code(), Some(0));
        let file = |name: &str| std::fs::read_to_string(site.path(name)).unwrap();
        let native = file("events.jsonl");
        let events: Vec<Value> = native.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        check_told(&told, &events);
        let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        let mut written = vec![("events.jsonl".to_owned(), native.clone())];
        for (format, id) in FORMATS.iter().skip(1) {
            let text = file(&format!("events.{format}"));
            let found: Vec<String> =
                text.lines().map(|line| id(line).unwrap_or_else(|| panic!("{format}: {line}"))).collect();
            assert_eq!(found, ids, "{format}");
            written.push((format!("events.{format}"), text));
        }
        let printed = process.stdout_lines();
        let in_cef: Vec<&String> = printed.iter().filter(|line| line.starts_with("CEF:0|")).collect();
        assert_eq!(in_cef.len(), ids.len());
        written.push(("access.log".to_owned(), file("access.log")));
        written.push(("the log".to_owned(), [printed, process.stderr_lines()].concat().join("\n")));
        written
            .extend(receivers.iter().zip(["loki", "otlp", "sentinel"]).map(|(r, name)| (name.to_owned(), arrived(r))));
        for (what, text) in &written {
            for secret in &secrets {
                let place = text.find(secret.as_str());
                let near = place.map(|at| {
                    text[text.floor_char_boundary(at.saturating_sub(200))..].chars().take(400).collect::<String>()
                });
                assert_eq!(near, None, "{what} holds {secret}");
            }
        }
    }
}

/// Each refusal has one event with what its caller was told, there is no event of a refusal besides, and every reason is among them.
fn check_told(told: &BTreeMap<String, Told>, events: &[Value]) {
    let denied: Vec<&Value> = events.iter().filter(|event| event["kind"] == "access.denied").collect();
    let recorded: BTreeMap<&str, &Value> = denied.iter().map(|event| (event["id"].as_str().unwrap(), *event)).collect();
    assert_eq!(recorded.len(), denied.len(), "a refusal has two events");
    for (id, Told { what, status, reason }) in told {
        let event = recorded.get(id.as_str()).unwrap_or_else(|| panic!("{what}: no event {id}"));
        assert_eq!(event["reason"], *reason, "{what}: {event:#}");
        if let Some(status) = status {
            assert_eq!(event["status"], *status, "{what}: {event:#}");
        }
    }
    let unknown: Vec<&&str> = recorded.keys().filter(|id| !told.contains_key(**id)).collect();
    assert!(unknown.is_empty(), "events of refusals that nobody was told of: {unknown:?}");
    let seen: BTreeSet<&str> = told.values().map(|told| told.reason).collect();
    let missing: BTreeSet<&str> =
        ReasonCode::ALL.iter().map(|code| code.code()).filter(|code| !seen.contains(code)).collect();
    assert_eq!(missing, OUT_OF_REACH.iter().map(|(code, _why)| *code).collect());
}
