//! The table of operations: each path with its method, what is sent along, and what is answered.

use portcullis_history::Filter;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::api::*;
use crate::{Verb, access, audit, backup, govern};

/// One path and what it does.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) body: Body,
    /// What may stand in the query.
    pub(super) query: &'static [Parameter],
    pub(super) answer: Answered,
}

/// What is sent along.
pub(super) enum Body {
    /// `{}`, where anything is.
    Nothing,
    Of(fn(&mut SchemaGenerator) -> Schema),
    /// What the path's verb takes.
    OfVerb(fn(&mut SchemaGenerator, &str) -> Schema),
}

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// A type of JSON Schema.
    pub(super) kind: &'static str,
    pub(super) required: bool,
    pub(super) description: &'static str,
}

const fn may(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, required: false, description }
}

const fn must(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, required: true, description }
}

const LIMIT: Parameter = may("limit", "integer", "At most so many, from 1 to 10,000.");
const PAGED: &[Parameter] = &[
    LIMIT,
    may(
        "after",
        "string",
        "Those that come after this one, in the order of their names: the last one of the part before.",
    ),
];

/// The facts of a question to the policy.
const SUPPOSED: &[Parameter] =
    &[METHOD, URL, AS, GROUP, ROLE, ACTIVATED, IP, HOST, COUNTRY, DEVICE, MFA, AUTHENTICATED, AT, RISK];
/// The same of nobody in particular.
const OF_NOBODY: &[Parameter] = &[METHOD, URL, IP, HOST, COUNTRY, DEVICE, MFA, AUTHENTICATED, AT, RISK];
/// The same of no request in particular.
const LISTED: &[Parameter] = &[
    AS,
    GROUP,
    ROLE,
    ACTIVATED,
    IP,
    may("host", "string", "Only the routes that may answer for this host; left out, all."),
    COUNTRY,
    DEVICE,
    MFA,
    AUTHENTICATED,
    AT,
    RISK,
    LIMIT,
    may(
        "after",
        "string",
        "The routes after this one, in the order of the configuration: the last one of the part before.",
    ),
];
const METHOD: Parameter = must("method", "string", "The method, such as GET.");
const URL: Parameter = must("url", "string", "A URL, or a path: then `host` chooses the host.");
const AS: Parameter = may("as", "string", "Who asks: `user:alice`, `service:ID`; left out, anyone.");
const GROUP: Parameter = may("group", "array", "A group that the principal is in; may be repeated.");
const ROLE: Parameter = may("role", "array", "A role that the principal holds directly; may be repeated.");
const ACTIVATED: Parameter = may("activated", "array", "What is supposed to be activated; may be repeated.");
const IP: Parameter = may("ip", "string", "The client's address; left out, unknown.");
const HOST: Parameter = may("host", "string", "The host, where the URL is a path alone.");
const COUNTRY: Parameter =
    may("country", "string", "The client's country, two letters; left out, that of the address.");
const DEVICE: Parameter = may("compliant_device", "boolean", "Whether the device meets the rules; left out, unknown.");
const MFA: Parameter = may("fresh_mfa", "boolean", "Several factors, fresh.");
const AUTHENTICATED: Parameter = may("authenticated_s", "integer", "How many seconds ago the caller authenticated.");
const AT: Parameter = may("at", "string", "When it happens, RFC 3339; left out, now.");
const RISK: Parameter = may("risk", "string", "How risky the caller looks: `low`, `medium` or `high`.");

/// What is answered with 200.
pub(super) enum Answered {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Line by line, as it comes.
    Lines(&'static str),
    /// This document, by the schema that was published for all such.
    Document,
}

const fn get<A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "get", path, summary, body: Body::Nothing, query: &[], answer: Answered::Json(of::<A>) }
}

/// A question with parameters.
const fn ask<A: JsonSchema>(path: &'static str, query: &'static [Parameter], summary: &'static str) -> Operation {
    Operation { method: "get", path, summary, body: Body::Nothing, query, answer: Answered::Json(of::<A>) }
}

const fn post<B: JsonSchema, A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", path, summary, body: Body::Of(of::<B>), query: &[], answer: Answered::Json(of::<A>) }
}

/// The same where the path says which variant of a type the body is.
const fn verb<B: JsonSchema + Verb, A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "post",
        path,
        summary,
        body: Body::OfVerb(variant::<B>),
        query: &[],
        answer: Answered::Json(of::<A>),
    }
}

/// Has something done that needs no more words; the body is `{}`.
const fn order<A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", path, summary, body: Body::Nothing, query: &[], answer: Answered::Json(of::<A>) }
}

const fn governed(path: &'static str, summary: &'static str) -> Operation {
    verb::<govern::Governed, govern::Answer>(path, summary)
}

const fn lent(path: &'static str, summary: &'static str) -> Operation {
    verb::<access::Access, access::Answer>(path, summary)
}

const fn audited(path: &'static str, summary: &'static str) -> Operation {
    verb::<audit::AuditWanted, audit::AuditAnswer>(path, summary)
}

const fn backed_up(path: &'static str, summary: &'static str) -> Operation {
    verb::<backup::BackupWanted, backup::BackupAnswer>(path, summary)
}

/// What one verb takes, with nothing besides. The verb may stand in it, as the path says it.
fn variant<T: JsonSchema + Verb>(generator: &mut SchemaGenerator, path: &str) -> Schema {
    let verb = path.strip_prefix(T::FOLDER).unwrap_or_default();
    let is_it = |variant: &Value| variant.pointer("/properties/verb/const").and_then(Value::as_str) == Some(verb);
    let all = T::json_schema(generator).to_value();
    let variants = all.get("oneOf").and_then(Value::as_array);
    let found = variants.and_then(|variants| variants.iter().find(|variant| is_it(variant)));
    // Each verb has its path, and each path its verb: a test holds them together.
    let Some(mut fields) = found.and_then(Value::as_object).cloned() else { return Schema::from(false) };
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "verb");
    }
    if let Some(stated) =
        fields.get_mut("properties").and_then(|all| all.get_mut("verb")).and_then(Value::as_object_mut)
    {
        stated.insert("description".to_owned(), "What the path says: it may be left out.".into());
    }
    fields.insert("additionalProperties".to_owned(), false.into());
    Schema::from(fields)
}

pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(super) const OPERATIONS: &[Operation] = &[
    get::<Status>("/v1/status", "How the gateway does, and what a reload would find."),
    get::<Health>("/v1/health", "Whether it lives, and is ready."),
    post::<ReloadWanted, Reloaded>("/v1/reload", "Reads the files anew and puts them in force, or says why not."),
    order::<Done>("/v1/drain", "Begins to drain, as SIGTERM does."),
    ask::<Bans>("/v1/bans", PAGED, "The bans in force."),
    post::<Whom, BanReport>("/v1/bans/explain", "What is known about somebody's bans."),
    post::<NewBan, Done>("/v1/bans/add", "Makes a ban."),
    post::<NewBans, Done>("/v1/bans/import", "Makes all these bans, or none."),
    post::<Whom, Done>("/v1/bans/remove", "Lifts the ban on somebody, and forgets the offences."),
    post::<Whom, Profile>("/v1/risk/show", "What is usual for a principal."),
    post::<Whom, Done>("/v1/risk/forget", "Forgets what is usual for a principal."),
    post::<PastLogins, Done>("/v1/risk/warm", "Learns from logins of the past."),
    get::<Calibrations>("/v1/risk/calibrations", "The calibrations of risk, and what is counted for the next."),
    order::<Done>("/v1/risk/calibrations/propose", "Works out thresholds from what is counted now."),
    post::<CalibrationId, Done>("/v1/risk/calibrations/activate", "Puts a calibration in force."),
    order::<Done>("/v1/risk/calibrations/rollback", "Takes the calibration in force back."),
    post::<SinkName, SinkTested>("/v1/sinks/test", "Has a sink deliver a test event."),
    get::<Alerts>("/v1/alerts", "The alerts, and what they contain."),
    post::<AlertName, AlertTested>("/v1/alerts/test", "Has each notifier of an alert tell a test."),
    post::<ContainmentId, Done>("/v1/alerts/lift", "Lifts what an alert contains."),
    post::<NewMute, Done>("/v1/alerts/mute", "Has an alert, or all, tell nobody for a while."),
    post::<MutedAlert, Done>("/v1/alerts/unmute", "Ends that."),
    get::<Feeds>("/v1/feeds", "The networks that keep themselves current."),
    post::<FeedName, Done>("/v1/feeds/refresh", "Fetches the list of a network now."),
    post::<WhereIs, Located>("/v1/feeds/test", "Which networks an address is in."),
    post::<Acceptance, Done>("/v1/feeds/accept", "Puts in force what is held back."),
    post::<FeedName, Done>(
        "/v1/feeds/rollback",
        "Puts the list before the one in force back, and holds that one back.",
    ),
    post::<FeedName, FeedRollbackTried>(
        "/v1/feeds/rollback/preview",
        "What that would do: what the list would hold, and to the requests of the sample. Nothing is changed.",
    ),
    ask::<KeyUses>("/v1/keys", PAGED, "When API keys were last used."),
    ask::<Revocations>(
        "/v1/revocations",
        &[
            LIMIT,
            may(
                "after",
                "string",
                "Those that come after this one, in the order of their names: `token:NAME`, `key:NAME` or `principal:NAME`.",
            ),
        ],
        "What is revoked.",
    ),
    post::<NewRevocation, Done>("/v1/revocations/add", "Revokes a token, a key or a principal."),
    post::<RevokedName, Done>("/v1/revocations/remove", "Lifts a revocation."),
    governed("/v1/govern/list", "The versions, the last first, and what waits."),
    governed("/v1/govern/show", "One version with its files."),
    governed("/v1/govern/verify", "Holds all of the log to its hashes and signatures."),
    governed("/v1/govern/propose", "Proposes other files."),
    governed("/v1/govern/rollback", "Proposes the files of an earlier version."),
    governed("/v1/govern/revert", "Proposes what is live without what one earlier version changed."),
    governed("/v1/govern/request", "What has to be signed."),
    governed("/v1/govern/approve", "Takes what somebody signed."),
    governed("/v1/govern/reject", "Ends a proposal."),
    governed("/v1/govern/activate", "Makes a proposal live."),
    governed("/v1/govern/abort", "Takes back the version that is rolled out step by step."),
    governed("/v1/govern/approvers", "The approvers."),
    governed("/v1/govern/approver_add", "Proposes a key of an approver."),
    governed("/v1/govern/approver_revoke", "Proposes to revoke keys of an approver."),
    governed("/v1/govern/approver_recovery", "Proposes the keys by which approvers' keys can be replaced, or none."),
    governed("/v1/govern/approver_recover", "Proposes other keys for approvers who have lost theirs."),
    governed("/v1/govern/init", "Begins governance."),
    lent("/v1/access/list", "What is in force and what waits, and which assignments are eligible."),
    lent("/v1/access/show", "One of them, with what has to be signed."),
    lent("/v1/access/verify", "Holds the log of temporary power to its chain."),
    lent("/v1/access/activate", "Activates an eligible assignment."),
    lent("/v1/access/approve", "Approves what waits."),
    lent("/v1/access/reject", "Refuses what waits."),
    lent("/v1/access/end", "Ends what is in force."),
    lent("/v1/access/seal", "Seals a code for emergencies."),
    lent("/v1/access/break_glass", "Breaks glass with a sealed code."),
    lent("/v1/access/break_glass_signed", "Breaks glass with what a person has signed."),
    lent("/v1/access/review", "Says that somebody has looked at what was done with a broken seal."),
    lent("/v1/access/request", "Asks for access after a refusal."),
    lent("/v1/access/grant", "Grants a request."),
    audited("/v1/audit/run", "Makes an audit of grants now."),
    audited("/v1/audit/runs", "The runs that are kept."),
    audited("/v1/audit/show", "One run."),
    audited("/v1/audit/suppressions", "The suppressions."),
    audited("/v1/audit/diff", "How two runs differ."),
    audited("/v1/audit/suppress", "Lets a finding stay for a while."),
    audited("/v1/audit/unsuppress", "Ends that."),
    post::<Whom, Factors>("/v1/factors", "The second factors of a principal."),
    post::<NewFactor, FactorBegun>("/v1/factors/enroll", "Begins an app with codes for a principal."),
    post::<FactorCode, FactorConfirmed>("/v1/factors/confirm", "Confirms it with a code."),
    post::<Whom, Done>("/v1/factors/reset", "Removes all second factors of a principal."),
    ask::<Sessions>("/v1/sessions", PAGED, "The sessions of browsers that hold."),
    post::<WhichSessions, Done>("/v1/sessions/revoke", "Ends sessions."),
    post::<PolicyText, Previewed>("/v1/policy/preview", "Tries a policy on the requests of the sample."),
    get::<Spikes>("/v1/spikes", "Spikes of refusals that were explained."),
    ask::<govern::Answer>(
        "/v1/govern/list",
        &[LIMIT, may("after", "integer", "The versions before this one: the last one of the part before.")],
        "The versions, the last first, and what waits.",
    ),
    ask::<govern::Answer>("/v1/govern/show", &[must("n", "integer", "Its number.")], "One version, without its files."),
    ask::<govern::Answer>("/v1/govern/verify", &[], "Holds all of the log to its hashes and signatures."),
    ask::<govern::Answer>("/v1/govern/approvers", &[], "The approvers."),
    ask::<access::Answer>(
        "/v1/access/list",
        &[
            may("all", "boolean", "What has ended, too."),
            LIMIT,
            may("after", "integer", "What was asked for before this one: the last one of the part before."),
        ],
        "What is in force and what waits, and which assignments are eligible, without what has to be signed.",
    ),
    ask::<access::Answer>(
        "/v1/access/show",
        &[must("id", "integer", "Its number.")],
        "One of them, without what has to be signed.",
    ),
    ask::<access::Answer>("/v1/access/verify", &[], "Holds the log of temporary power to its chain."),
    ask::<audit::AuditAnswer>("/v1/audit/runs", &[], "The runs that are kept."),
    ask::<audit::AuditAnswer>(
        "/v1/audit/show",
        &[
            may("run", "string", "What it is called, or the beginning of that; left out, the last one."),
            LIMIT,
            may("after", "string", "The findings after the one with this fingerprint."),
        ],
        "One run.",
    ),
    ask::<audit::AuditAnswer>("/v1/audit/suppressions", &[], "The suppressions."),
    ask::<audit::AuditAnswer>(
        "/v1/audit/diff",
        &[
            may("from", "string", "The earlier run; left out, the last but one."),
            may("to", "string", "The later run; left out, the last one."),
        ],
        "How two runs differ.",
    ),
    backed_up("/v1/backups/create", "Makes a backup now, in the folder of `[backup]`."),
    backed_up("/v1/backups/list", "The backups in that folder."),
    backed_up("/v1/backups/verify", "Holds a backup to its manifest, its chain and its signatures."),
    backed_up(
        "/v1/backups/drill",
        "Tries all of a restoration, and changes nothing. To restore one is for a gateway that does not run.",
    ),
    ask::<backup::BackupAnswer>("/v1/backups/list", PAGED, "The backups in the folder of `[backup]`."),
    ask::<backup::BackupAnswer>(
        "/v1/backups/verify",
        &[must("name", "string", "What it is called, as the list says.")],
        "Holds a backup to its manifest, its chain and its signatures.",
    ),
    post::<PolicyQuestion, Verdict>("/v1/policy/can", "What the policy in force would decide, in short."),
    post::<PolicyQuestion, Explained>("/v1/policy/explain", "The same with every check of it."),
    post::<PolicyQuestion, Allowed>("/v1/policy/who_can", "Everybody who may do something, by the policy in force."),
    ask::<Verdict>("/v1/policy/can", SUPPOSED, "What the policy in force would decide, in short."),
    ask::<Explained>("/v1/policy/explain", SUPPOSED, "The same with every check of it."),
    ask::<Allowed>("/v1/policy/who_can", OF_NOBODY, "Everybody who may do something, by the policy in force."),
    post::<ListQuestion, Listed>("/v1/policy/list", "All that somebody may do, by the policy in force."),
    ask::<Listed>(
        "/v1/policy/list",
        LISTED,
        "All that somebody may do, by the policy in force: route by route, in parts.",
    ),
    post::<ReplayWanted, ReplayDone>("/v1/policy/replay", "Decides on recorded requests again, under another policy."),
    post::<DiffWanted, PolicyDiffered>(
        "/v1/policy/diff",
        "How two policies differ: versions, changes that wait, or one that is sent along.",
    ),
    ask::<PolicyDiffered>(
        "/v1/policy/diff",
        &[
            must(
                "before",
                "string",
                "The number of a version, at least the first eight digits of the id of a change, or `in_force`.",
            ),
            must("after", "string", "Likewise."),
            may("reasons", "boolean", "Another reason for the same outcome counts as a change, too."),
            may("at", "string", "The time from which examples are chosen, RFC 3339; left out, now."),
        ],
        "How two versions differ.",
    ),
    post::<EventsWanted, EventsFound>(
        "/v1/events/search",
        "The newest of the recorded events that are wanted, in parts.",
    ),
    post::<EventsWanted, EventsCounted>(
        "/v1/events/stats",
        "How many there are, by reason, route, principal, address and time.",
    ),
    post::<EventId, EventExplained>("/v1/events/explain", "One event, what to do next, and what is around it."),
    Operation {
        method: "post",
        path: "/v1/events/tail",
        summary: "The events as they are recorded.",
        body: Body::Of(filter),
        query: &[],
        answer: Answered::Lines("Native events, one a line, and notes of how many were missed."),
    },
    Operation {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This document.",
        body: Body::Nothing,
        query: &[],
        answer: Answered::Document,
    },
];

/// Which events.
fn filter(generator: &mut SchemaGenerator) -> Schema {
    of::<Filter>(generator)
}
