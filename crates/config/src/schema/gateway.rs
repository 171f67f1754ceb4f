//! `portcullis.toml`

use portcullis_insight::AuditSettings;
use serde_json::json;

use crate::file::limits::{BODY_SIZES, MAX_CONCURRENT, MAX_COUNT, MAX_STREAMS, PER, WINDOWS};
use crate::file::sink_options::{KindPattern, ROTATE_SIZES, ReasonPattern, SEVERITIES};
use crate::file::spool::{CHECKPOINT_EVENTS, FSYNC, INTEGRITY, SEGMENT_SIZES, SPOOL_SIZES};
use crate::file::{
    ACCESS_MOST, AUDIT_DENIALS, AUDIT_KEPT, AUDIT_PEERS, CLIENT_AUTH, DENIED_CALLERS, FileVersion, INDEX_SIZES,
    MFA_ISSUER, MIN_VERSION, ON_FULL, ProxyMode, SAMPLE_MOST, SAMPLE_RECENT, SPIKE_EXCESS, Schedule, SinkKind,
};
use crate::kinds::{AnyText, FilePath, Flag, Integer, Name, Percentage, Prefix, Size, Socket, Text, Time};

use super::identity::identity;
use super::route::{one_action, treatment};
use super::upstream::upstream;
use super::{Key, Table, alert, choice, list, one, one_or_list, one_or_several, receiver, several, table, within};

pub(super) fn file() -> Table {
    table(
        "portcullis.toml",
        "How the gateway runs: where it listens, what it protects, whom it believes.",
        [
            one("version", FileVersion, "The version of the shape of this file.").required(),
            list("include", Text, "Further files, such as `[\"routes/*.toml\"]`: below this folder, sorted by name."),
            within("policy", policy()),
            several("listener", listener()),
            several("upstream", upstream()),
            several("route", route()),
            within("client_address", client_address()),
            within("forwarding", forwarding()),
            within("identity", identity()),
            within("limits", limits()),
            within("refusal", refusal()),
            within("process", process()),
            within("shutdown", shutdown()),
            within("ops", ops()),
            within("control", control()),
            within("index", index()),
            within("store", store()),
            within("governance", governance()),
            within("access", access()),
            within("backup", backup()),
            within("mfa", mfa()),
            within("sample", sample()),
            within("spike", spike()),
            within("feeds", feeds()),
            within("geo", geo()),
            within("event", event()),
            within("spool", spool()),
            several("sink", sink()),
            several("alert", alert::alert()),
            several("notifier", alert::notifier()),
            several("mute", alert::silence()),
            within("access_log", access_log()),
            within("trace", receiver::trace()),
            within("admin", admin()),
            within("audit", audit()),
        ],
    )
}

fn policy() -> Table {
    table("[policy]", "Who may do what.", [one("path", FilePath, "The policy's file.").default("policy.toml")])
}

fn admin() -> Table {
    table(
        "[admin]",
        "The operators' API over the network: a listener and the route `admin`, which only grants that name it cover.",
        [
            one("address", Socket, "Where it listens; beyond loopback only with `tls`.").required(),
            within("tls", tls("[admin.tls]", "[[admin.tls.certificates]]")),
            one_or_list("hosts", Text, "The hosts that it is called by; other requests are refused.")
                .not_empty()
                .default("the address and, on loopback, localhost"),
        ],
    )
}

fn listener() -> Table {
    table(
        "[[listener]]",
        "Where requests come in; changing it needs a restart.",
        [
            one("name", Name, "Unique; a label in metrics and events.").required(),
            one("address", Socket, "`0.0.0.0:8080` or `[::]:8080` for every address of this machine.").required(),
            within("tls", tls("`tls` of [[listener]]", "`certificates` of `tls` of [[listener]]")),
            one("http2", Flag, "Whether clients may speak HTTP/2, over TLS by ALPN and in plain text by prior knowledge.")
                .default(true),
            one(
                "proxy_protocol",
                ProxyMode,
                "`true`: trusted proxies begin with a header of the PROXY protocol; `\"required\"`: nobody else may come.",
            )
            .default(false),
        ],
    )
}

/// Of a listener, or of what listens beside them; `certificates` is the title of the table within.
fn tls(title: &'static str, certificates: &'static str) -> Table {
    let versions: Vec<&str> = MIN_VERSION.iter().map(|(word, _)| *word).collect();
    let auth: Vec<&str> = CLIENT_AUTH.iter().map(|(word, _)| *word).collect();
    table(
        title,
        "TLS, with certificates that are read anew at each reload; left out: plain text.",
        [
            one("certificate", FilePath, "The certificate that is shown by default, and what leads to its root; PEM.")
                .required(),
            one("key", FilePath, "Its private key; PEM, not encrypted.").required(),
            several("certificates", more_certificates(certificates)),
            choice("min_version", &versions, "The oldest TLS that is spoken.").default("1.2"),
            choice("client_auth", &auth, "Whether clients show a certificate.").default("off"),
            one("client_ca", FilePath, "Who vouches for clients: root certificates; PEM."),
            one("client_crl", FilePath, "What they have revoked: revocation lists; PEM."),
        ],
    )
}

fn more_certificates(title: &'static str) -> Table {
    table(
        title,
        "Further certificates, chosen by the server that a client names: each stands for the names that are in it.",
        [
            one("certificate", FilePath, "The certificate; PEM.").required(),
            one("key", FilePath, "Its private key; PEM, not encrypted.").required(),
        ],
    )
}

fn route() -> Table {
    table(
        "[[route]]",
        "Which requests go where: the most specific host wins, then the most specific path.",
        [
            one("name", Name, "Unique; the policy names it.").required(),
            one_or_list("hosts", Text, "Such as `billing.internal` or `*.internal`; left out: any host.").not_empty(),
            one_or_list("paths", Text, "`*` is one segment, a final `**` any number; left out: every path.")
                .not_empty(),
            one("upstream", Name, "The upstream; or the route has `split`, `redirect` or `respond`."),
            one("forward_credentials", Flag, "`true`: the caller's Authorization or key is passed on.").default(false),
            one("trailers", Flag, "`true`: trailer fields pass both ways, as they always do for gRPC.").default(false),
            choice(
                "disclose",
                &["operator", "caller"],
                "`caller`: a refusal names roles and rules to the caller, too.",
            )
            .default("operator"),
            one_or_several("rate_limit", rate_limit("`rate_limit` of [[route]]", RATE_OF_ROUTE)),
            within("max_concurrent", max_concurrent("`max_concurrent` of [[route]]", CONCURRENT_OF_ROUTE)),
            one("max_request_body", Size(BODY_SIZES), "Of a request; 413 over it. Left out: that of [limits]."),
            one(
                "max_response_body",
                Size(BODY_SIZES),
                "Of an answer; 502 over it, or cut. Left out: that of [limits].",
            ),
        ]
        .into_iter()
        .chain(treatment()),
    )
    .rule(one_action())
}

const RATE_OF_ROUTE: &str = "How often callers may come; one limit or several. Left out: that of [limits]; `[]`: none.";
const CONCURRENT_OF_ROUTE: &str =
    "How many requests may be under way at once. Left out: that of [limits]; `{}`: any number.";

fn rate_limit(title: &'static str, doc: &'static str) -> Table {
    let words: Vec<&str> = PER.iter().map(|(word, _)| *word).collect();
    table(
        title,
        doc,
        [
            choice("per", &words, "Whose requests are counted together; an IPv6 address counts as its /64.").required(),
            one("requests", Integer(1..=MAX_COUNT), "How many in a window, in the long run.").required(),
            one("window", Time::within("1s", "1d"), "The window.").required(),
            one("burst", Integer(1..=MAX_COUNT), "How many at once; left out: as many as `requests`."),
        ],
    )
}

fn max_concurrent(title: &'static str, doc: &'static str) -> Table {
    let count = |name, doc| one(name, Integer(1..=MAX_CONCURRENT), doc);
    table(
        title,
        doc,
        [
            count("route", "For everybody together; a further one gets 503. Left out: any number."),
            count("principal", "For one principal; a further one gets 429. Left out: any number."),
        ],
    )
}

fn client_address() -> Table {
    table(
        "[client_address]",
        "Who the client is, behind proxies.",
        [
            list("trusted_proxies", Prefix, "Whose word about the client's address is believed."),
            choice("header", &["x-forwarded-for", "forwarded"], "The header in which they say it.")
                .default("x-forwarded-for"),
        ],
    )
}

fn forwarding() -> Table {
    table(
        "[forwarding]",
        "What upstreams are told about the way of a request.",
        [
            one("via", AnyText, "The gateway's name in `Via`; empty: it does not name itself.").default("portcullis"),
            choice("request_id", &["own", "trusted"], "`trusted`: the `X-Request-Id` of a trusted proxy is kept.")
                .default("own"),
            choice("trace", &["continue", "begin", "off"], "What becomes of `traceparent` and `tracestate`.")
                .default("continue"),
        ],
    )
}

fn limits() -> Table {
    let time = |name, most, doc| one(name, Time::within("1ms", most), doc);
    let count = |name, most: u64, doc| one(name, Integer(1..=most), doc);
    table(
        "[limits]",
        "How much is accepted.",
        [
            time("first_byte_timeout", "1h", "From a connection to its first byte.").default("10s"),
            time("tls_handshake_timeout", "1h", "From accept to the end of the TLS handshake.").default("10s"),
            time("header_timeout", "1h", "From the first byte of a head to its end.").default("10s"),
            time("keep_alive_timeout", "1d", "Between two requests on one connection.").default("75s"),
            time("body_idle_timeout", "1d", "Between two pieces of a request's body.").default("30s"),
            count("max_header_fields", 10_000, "Fields in a head.").default(100),
            one("max_header_bytes", Size(8 << 10..=16 << 20), "A whole head.").default("64KiB"),
            one("max_field_bytes", Size(256..=16 << 20), "One field.").default("16KiB"),
            one("max_uri_bytes", Size(64..=65_534), "The request target.").default("8KiB"),
            count("max_connections", 10_000_000, "Over all workers.").default(10_000),
            count(
                "max_connections_per_client",
                MAX_CONCURRENT,
                "Of one address or IPv6 /64; a further one is closed. Trusted proxies have any number. Left out: any number.",
            ),
            count("max_requests", 10_000_000, "In flight over all workers; a further one gets 503.").default(10_000),
            one(
                "shed_after",
                Time::within("0s", "1m"),
                "How long what is ready may wait for its thread before some requests get 503; `0s`: any time.",
            )
            .default("100ms"),
            one_or_several(
                "rate_limit",
                rate_limit("[limits.rate_limit]", "What holds on routes that have no `rate_limit`."),
            ),
            within(
                "max_concurrent",
                max_concurrent("[limits.max_concurrent]", "What holds on routes that have no `max_concurrent`."),
            ),
            one("max_request_body", Size(BODY_SIZES), "Of routes that have no `max_request_body`. Left out: any size."),
            one(
                "max_response_body",
                Size(BODY_SIZES),
                "Of routes that have no `max_response_body`. Left out: any size.",
            ),
            count("http2_max_streams", MAX_STREAMS, "Requests at once on one HTTP/2 connection.").default(100),
            one("http2_stream_window", Size(WINDOWS), "Of one request's body that an HTTP/2 client may send ahead.")
                .default("64KiB"),
            one("http2_connection_window", Size(WINDOWS), "The same of all requests on a connection.").default("1MiB"),
            one("upgrade_idle_timeout", Time::within("1s", "7d"), "How long nothing may move in a tunnel.")
                .default("1h"),
            one("recheck", Time::within("1s", "30s"), "How often what is under way for long is decided on again.")
                .default("10s"),
        ],
    )
}

fn refusal() -> Table {
    table(
        "[refusal]",
        "What the caller is told.",
        [
            one("help", Text, "The page about a refusal is this link followed by the reason's code.")
                .default("https://portcullis.example/denials/"),
            one("realm", Text, "Of the 401 challenge.").default("portcullis"),
            one("html", FilePath, "A page for browsers, with `{{title}}` and the like; left out: the gateway's own."),
            one("html_4xx", FilePath, "The same for 400 to 499."),
            one("html_5xx", FilePath, "The same for 500 to 599."),
        ],
    )
}

fn process() -> Table {
    table(
        "[process]",
        "How the process runs.",
        [one("workers", Integer(1..=1_024), "Threads; left out: one for each processor.")],
    )
}

fn shutdown() -> Table {
    table(
        "[shutdown]",
        "How the process ends.",
        [
            one("delay", Time::within("0s", "1h"), "How long /readyz says no before the listeners close.")
                .default("0s"),
            one("grace", Time::within("0s", "1d"), "How long requests in flight may then take.").default("30s"),
        ],
    )
}

fn ops() -> Table {
    table(
        "[ops]",
        "Where /livez, /readyz and /metrics are served.",
        [
            one("enabled", Flag, "`false`: nowhere.").default(true),
            one("address", Socket, "Where it listens.").default("127.0.0.1:9090"),
        ],
    )
}

fn control() -> Table {
    table(
        "[control]",
        "The socket over which operators ask the running gateway; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: there is none.").default(true),
            one(
                "socket",
                FilePath,
                "Left out: /run/portcullis/control.sock for a configuration below /etc, else beside it, such as portcullis.sock.",
            ),
            one("group", Name, "The group, by name or number, whose members may use it besides root and its owner."),
        ],
    )
}

fn index() -> Table {
    table(
        "[index]",
        "An index of the first event file and those rotated beside it, so that `events search` answers at once; changing it needs a restart.",
        [
            one("enabled", Flag, "`true`: it is kept.").default(false),
            one("path", FilePath, "Where; left out: beside the event file, such as events.jsonl.index."),
            one("max_age", Time::within("1h", "3660d"), "Older events are found in the files.").default("31d"),
            one("max_size", Size(INDEX_SIZES), "On disk; the oldest events go first.").default("2GiB"),
        ],
    )
}

fn mfa() -> Table {
    table(
        "[mfa]",
        "Second factors that the gateway keeps in the store, for sessions of browsers. Turning it on or off needs a restart.",
        [
            one("enabled", Flag, "`false`: as without this table.").default(true),
            within("key", receiver::secret("[mfa.key]")).required(),
            within("other_key", receiver::secret("[mfa.other_key]")),
            one("issuer", Text, "What authenticator apps show.").default(MFA_ISSUER),
            one("totp", Flag, "`false`: no codes of apps.").default(true),
            within("passkeys", passkeys()),
        ],
    )
}

fn passkeys() -> Table {
    table(
        "[mfa.passkeys]",
        "Passkeys (WebAuthn); left out: none.",
        [
            one("rp_id", Text, "The domain that passkeys are bound to: the host of each origin, or one above it.")
                .required(),
            list("origins", Text, "Where passkeys are shown, such as `https://app.example.com`.")
                .required()
                .not_empty(),
        ],
    )
}

fn store() -> Table {
    table(
        "[store]",
        "The SQLite file of what survives a restart: bans, past offences, risk profiles, what alerts demand. Without this table all of it is in memory; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: in memory, as without this table.").default(true),
            one(
                "path",
                FilePath,
                "The file, mode 0600. Left out: /var/lib/portcullis/portcullis.db for a configuration below /etc, else portcullis.db beside it.",
            ),
        ],
    )
}

fn governance() -> Table {
    let persons = |name, default: u64, what| one(name, Integer(1..=16), what).default(default);
    table(
        "[governance]",
        "Who must approve what becomes live. Needs [store]; where it is required, `portcullis governance init` comes before the first start.",
        [
            one("required", Flag, "Only what was approved becomes live, whatever the files say.").default(false),
            within(
                "approvals",
                table(
                    "[governance.approvals]",
                    "How many persons other than the author approve a change, by what the engine finds that it does.",
                    [
                        persons("tighten", 1, "Of one that only tightens, or changes no answer."),
                        persons("loosen", 2, "Of one that loosens, or may."),
                        persons("keys", 2, "Of one of the approvers, by old and by new ones; and of this table."),
                    ],
                ),
            ),
            one(
                "break_glass_max",
                Time::within("1m", "4h"),
                "Glass is broken for no longer, whatever the policy says.",
            )
            .default("4h"),
            one("proposal_ttl", Time::within("1m", "30d"), "How long a proposal can be approved and activated.")
                .default("72h"),
            one(
                "shadow",
                Time::within("0s", "7d"),
                "How long an activated version is only tried beside the live one; 0s: not at all. Needs [store] and [sample].",
            )
            .default("0s"),
            list(
                "canary",
                Percentage,
                "For what share of the callers it decides then, step by step, such as [\"5%\", \"25%\", \"100%\"]; empty: for all at once.",
            ),
            one("canary_step", Time::within("1s", "7d"), "How long each of these lasts.").default("10m"),
            one(
                "max_newly_denied",
                Percentage,
                "It is taken back when it denies something in a larger share of the turns of callers, of those who were let in before; what a caller asks for within a minute is one turn.",
            )
            .default("0.1%"),
            one(
                "min_denied_callers",
                Integer(DENIED_CALLERS),
                "And only when it denies something to so many different ones.",
            )
            .default(3),
        ],
    )
}

fn access() -> Table {
    table(
        "[access]",
        "Power for a time: see docs/temporary-power.md. It is kept in [store].",
        [
            one("most", Integer(ACCESS_MOST), "What can be in force or wait at once.").default(1_000),
            one("wait", Time::within("1m", "30d"), "How long an approval is waited for.").default("24h"),
            one(
                "self_service",
                Flag,
                "Whoever is verified can ask for access that was refused, and activate what they are eligible for, under `/.portcullis/`.",
            )
            .default(false),
            one_or_list(
                "hosts",
                Text,
                "Hosts where nothing but the gateway's own pages is: there a person activates with a browser, at `/.portcullis/access`. Needs [identity.login].",
            ),
        ],
    )
}

fn backup() -> Table {
    table(
        "[backup]",
        "Copies of the store, made by the gateway. Needs [store]; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: none, as without this table.").default(true),
            one("path", FilePath, "The folder; it is made. Left out: `backups` beside the store."),
            one("every", Time::within("1m", "30d"), "How often.").default("6h"),
            one("keep", Integer(1..=10_000), "How many are kept; the oldest goes.").default(28),
            one(
                "key",
                FilePath,
                "Encrypts them: a file of `portcullis backup keygen`. Left out: they are not encrypted.",
            ),
        ],
    )
}

fn audit() -> Table {
    table(
        "[audit]",
        "Which permissions are used is counted in the store, and grants that are unused, too wide or dangerous are reported. Needs [store]; changing `enabled` needs a restart.",
        [
            one("enabled", Flag, "`false`: nothing is counted. With [store] and without this table usage is counted, and nobody looks by itself.")
                .default(true),
            one("schedule", Schedule, "How often the gateway looks by itself.").default("weekly"),
            one("unused_after", Time::within("1s", "366d"), "What was not used for so long is unused.").default("90d"),
            one("min_observed", Time::within("1s", "366d"), "Before usage was counted for so long, nothing is called unused.")
                .default("90d"),
            one("keep", Integer(AUDIT_KEPT), "How many runs are kept; the oldest goes.").default(52),
            one("over_exposure", Percentage, "Who does not use so much of what it may do, by weight, holds too much.")
                .default("60%"),
            one("outlier_share", Percentage, "A role that fewer of the peers hold is out of the ordinary.").default("5%"),
            one("peers", Integer(AUDIT_PEERS), "Of fewer peers nothing is said.").default(10),
            one("keep_share", Percentage, "What so many peers use is not taken from one of them that does not.").default("20%"),
            one("denials", Integer(AUDIT_DENIALS), "So many refusals in 30 days look like a permission that is missing.").default(5),
            list("temporary_words", Text, "An assignment with one of these words in its name was meant for a time.")
                .default(json!(AuditSettings::default().temporary_words)),
            list("control_routes", Name, "Routes through which the policy, or who is in which group, can be changed."),
        ],
    )
}

fn sample() -> Table {
    table(
        "[sample]",
        "The requests that are kept for a while, in memory, so that `policy preview` can try a change on them: no bodies, no queries, no credentials. Changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: none are kept.").default(true),
            one("recent", Integer(SAMPLE_RECENT), "The last requests.").default(10_000),
            one("most", Integer(SAMPLE_MOST), "Altogether: beyond the last ones the newest of each kind.")
                .default(40_000),
        ],
    )
}

fn spike() -> Table {
    table(
        "[spike]",
        "More refusals than usual are noticed and explained, by the requests that `[sample]` keeps. Changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: nobody looks.").default(true),
            one("bucket", Time::within("1s", "5m"), "What is counted together.").default("10s"),
            one("min_excess", Integer(SPIKE_EXCESS), "Fewer refusals than these beyond the usual are no spike.")
                .default(20),
            one("lookback", Time::within("1m", "1d"), "A change is a suspect that came at most so long before.")
                .default("15m"),
        ],
    )
}

fn feeds() -> Table {
    table(
        "[feeds]",
        "Where the lists of networks with a `source` are kept, so that a start needs nobody.",
        [one(
            "path",
            FilePath,
            "The folder, for one process. Left out: /var/lib/portcullis/feeds for a configuration below /etc, else feeds beside it.",
        )],
    )
}

fn geo() -> Table {
    table(
        "[geo]",
        "Databases in MaxMind's format that say where an address is; a file that changes is read anew.",
        [
            one("city", FilePath, "Countries, regions and cities."),
            one("country", FilePath, "Countries; it comes before `city`."),
            one("asn", FilePath, "Autonomous systems."),
            one("refresh", Time::within("1s", "1d"), "How often it is looked whether a file has changed.")
                .default("1m"),
            one(
                "max_speed_kmh",
                Integer(100..=10_000),
                "What anybody travels, in kilometres an hour: a caller that came farther is a signal of [risk].",
            )
            .default(900),
        ],
    )
}

fn event() -> Table {
    table(
        "[event]",
        "What every event says of its gateway.",
        [
            one("node", Name, "Left out: the host's name."),
            one("cluster", Name, "Where there is one."),
            choice("integrity", &words(INTEGRITY), "`chain`: each event bears the hash of the one before and its own.")
                .default("chain"),
            within("checkpoint", checkpoint()),
            within("permits", permits()),
            one(
                "upstream_refusals",
                Flag,
                "Whether an upstream's own 401 and 403 are recorded, with `origin` `upstream`.",
            )
            .default(false),
        ],
    )
}

fn checkpoint() -> Table {
    table(
        "[event.checkpoint]",
        "The chain is signed now and then, so that nobody else can write it anew.",
        [
            within("key", receiver::secret("[event.checkpoint.key]")).required(),
            one("every", Time::within("1s", "1d"), "The longest time from an event to its checkpoint.").default("1m"),
            one("events", Integer(CHECKPOINT_EVENTS), "The most events between two checkpoints.").default(10_000),
        ],
    )
}

fn permits() -> Table {
    table(
        "[event.permits]",
        "Which permitted requests are recorded, as `access.allowed`, for sinks whose `kinds` ask for them. Left out: none.",
        [
            one("sample", Percentage, "How many of them, chosen by their ids."),
            one_or_list("routes", Name, "Only those of these routes. Left out: of all."),
        ],
    )
}

fn spool() -> Table {
    table(
        "[spool]",
        "Where events wait for sinks over a network, and when events are forced to the disk; changing it needs a restart.",
        [
            one("path", FilePath, "The spool's folder, for one process; such sinks need it. Left out: there is none."),
            one("max_size", Size(SPOOL_SIZES), "How much it may hold, in all.").default("1GiB"),
            one("segment_size", Size(SEGMENT_SIZES), "How large its files become.").default("16MiB"),
            choice(
                "fsync",
                &words(FSYNC),
                "When the spool and event files are forced to the disk: before each answer, soon, or when the system does.",
            )
            .default("interval"),
            one("fsync_interval", Time::within("10ms", "10s"), "How soon, with `interval`.").default("100ms"),
        ],
    )
}

pub(super) fn words<V>(choices: &[(&'static str, V)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

fn access_log() -> Table {
    table(
        "[access_log]",
        "One line for each request, permitted ones too, beside the events; changing it needs a restart.",
        [
            choice("kind", &["off", "stdout", "file"], "Where it goes; a file is reopened on SIGHUP.").default("off"),
            one("path", FilePath, "The file; only with `kind = \"file\"`."),
            choice("format", &["json", "combined"], "JSON lines, or the form of Apache and nginx.").default("json"),
            one("sample", Percentage, "How many of the requests it has.").default("100%"),
            one("queue", Integer(1..=10_000_000), "Lines that may wait; a further one is dropped and counted.")
                .default(65_536),
            one("query", Flag, "`true`: with the queries, which often hold secrets.").default(false),
        ],
    )
    .rule(json!({ "anyOf": [not_of_kind("file"), { "required": ["path"] }] }))
}

fn sink() -> Table {
    table(
        "[[sink]]",
        "Where events go; without any: to standard output.",
        [
            one("name", Name, "Unique; a label in metrics.").required(),
            one(
                "kind",
                SinkKind,
                "Lines on standard output, or in a file that is reopened on SIGHUP; or a receiver, with a table of that name.",
            )
            .required(),
            path(),
            choice(
                "format",
                &["native", "ecs", "ocsf", "asim", "cef", "leef"],
                "The form of each event, where a receiver's kind has none of its own. Only native lines are chained, searched and indexed.",
            )
            .default("native"),
            within("syslog", receiver::syslog()),
            within("http", receiver::http()),
            within("sentinel", receiver::sentinel()),
            within("otlp", receiver::otlp()),
            within("kafka", receiver::kafka()),
            one("queue", Integer(1..=10_000_000), "Events that may wait in memory.").default(65_536),
            choice(
                "on_full",
                &words(ON_FULL),
                "Over that, or in a full spool: `drop` and count it, or `block` the answers to refusals until there is room.",
            )
            .default("drop"),
            one_or_list("kinds", KindPattern, "Only these kinds, such as `access.denied`, or `admin.*`."),
            one_or_list("reasons", ReasonPattern, "Only these reasons, such as `rbac.no_matching_grant`, or `rbac.*`."),
            one_or_list("routes", Name, "Only events of these routes."),
            choice("severity", &words(SEVERITIES), "Only events of this severity, or a higher one."),
            one("rotate_size", Size(ROTATE_SIZES), "Of a file: a new one begins before it becomes larger."),
            one("rotate_every", Time::within("1m", "366d"), "Of a file: a new one begins when it is so old."),
            one("rotate_keep", Integer(0..=10_000), "How many old files are kept. Left out: 10."),
            one("rotate_compress", Flag, "Whether old files are compressed with gzip. Left out: they are."),
            within("fold", receiver::fold()),
            within("retry", receiver::retry()),
            within("dead_letter", receiver::dead_letter()),
        ],
    )
    .rule(json!({ "anyOf": [not_of_kind("file"), { "required": ["path"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("stdout"), { "not": { "required": ["path"] } }] }))
    .rule(json!({ "anyOf": [not_of_kind("syslog"), { "required": ["syslog"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("http"), { "required": ["http"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("sentinel"), { "required": ["sentinel"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("otlp"), { "required": ["otlp"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("kafka"), { "required": ["kafka"] }] }))
}

fn path() -> Key {
    one("path", FilePath, "The file; only with `kind = \"file\"`.")
}

pub(super) fn not_of_kind(kind: &str) -> serde_json::Value {
    json!({ "properties": { "kind": { "not": { "enum": [kind] } } } })
}
