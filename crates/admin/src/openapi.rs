//! The operators' API as an OpenAPI document (OpenAPI Specification 3.1.1), made from the types that both sides use.

mod refused;
#[cfg(test)]
mod untyped;

use portcullis_history::Filter;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::api::*;
use crate::{access, audit, backup, govern};

/// One path and what it does.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// What may stand in the query.
    query: &'static [Parameter],
    answer: Answered,
}

/// A parameter of a query.
#[derive(Clone, Copy)]
struct Parameter {
    name: &'static str,
    /// A type of JSON Schema.
    kind: &'static str,
    required: bool,
    description: &'static str,
}

const fn may(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, required: false, description }
}

const fn must(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind, required: true, description }
}

/// What describes every document of this version of OpenAPI.
const PUBLISHED: &str = "https://spec.openapis.org/oas/3.1/schema/2022-10-07";
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
const SUPPOSED: &[Parameter] = &[
    METHOD,
    URL,
    may("as", "string", "Who asks: `user:alice`, `service:ID`; left out, anyone."),
    may("group", "array", "A group that the principal is in; may be repeated."),
    may("role", "array", "A role that the principal holds directly; may be repeated."),
    may("activated", "array", "What is supposed to be activated; may be repeated."),
    IP,
    HOST,
    COUNTRY,
    DEVICE,
    MFA,
    AUTHENTICATED,
    AT,
    RISK,
];
/// The same of nobody in particular.
const OF_NOBODY: &[Parameter] = &[METHOD, URL, IP, HOST, COUNTRY, DEVICE, MFA, AUTHENTICATED, AT, RISK];
const METHOD: Parameter = must("method", "string", "The method, such as GET.");
const URL: Parameter = must("url", "string", "A URL, or a path: then `host` chooses the host.");
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
enum Answered {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Line by line, as it comes.
    Lines(&'static str),
    /// This document, by the schema that was published for all such.
    Document,
}

const fn get<A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "get", path, summary, body: None, query: &[], answer: Answered::Json(of::<A>) }
}

/// A question with parameters.
const fn ask<A: JsonSchema>(path: &'static str, query: &'static [Parameter], summary: &'static str) -> Operation {
    Operation { method: "get", path, summary, body: None, query, answer: Answered::Json(of::<A>) }
}

const fn post<B: JsonSchema, A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", path, summary, body: Some(of::<B>), query: &[], answer: Answered::Json(of::<A>) }
}

/// Has something done that needs no more words; the body is `{}`.
const fn order<A: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", path, summary, body: None, query: &[], answer: Answered::Json(of::<A>) }
}

const fn governed(path: &'static str, summary: &'static str) -> Operation {
    post::<govern::Governed, govern::Answer>(path, summary)
}

const fn lent(path: &'static str, summary: &'static str) -> Operation {
    post::<access::Access, access::Answer>(path, summary)
}

const fn audited(path: &'static str, summary: &'static str) -> Operation {
    post::<audit::AuditWanted, audit::AuditAnswer>(path, summary)
}

const fn backed_up(path: &'static str, summary: &'static str) -> Operation {
    post::<backup::BackupWanted, backup::BackupAnswer>(path, summary)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const OPERATIONS: &[Operation] = &[
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
    governed("/v1/govern/request", "What has to be signed."),
    governed("/v1/govern/approve", "Takes what somebody signed."),
    governed("/v1/govern/reject", "Ends a proposal."),
    governed("/v1/govern/activate", "Makes a proposal live."),
    governed("/v1/govern/abort", "Takes back the version that is rolled out step by step."),
    governed("/v1/govern/approvers", "The approvers."),
    governed("/v1/govern/approver_add", "Proposes a key of an approver."),
    governed("/v1/govern/approver_revoke", "Proposes to revoke keys of an approver."),
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
        body: Some(filter),
        query: &[],
        answer: Answered::Lines("Native events, one a line, and notes of how many were missed."),
    },
    Operation {
        method: "get",
        path: "/v1/openapi.json",
        summary: "This document.",
        body: None,
        query: &[],
        answer: Answered::Document,
    },
];

/// Which events.
fn filter(generator: &mut SchemaGenerator) -> Schema {
    of::<Filter>(generator)
}

/// The document. The paths are those of [`api`](crate::api); who may ask for which is what the policy says.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let responses = refused::responses(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = described(operation, &mut generator);
        if let Some(methods) = paths.entry(operation.path).or_insert_with(|| json!({})).as_object_mut() {
            methods.insert(operation.method.to_owned(), described);
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Portcullis operators' API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators ask a running gateway and have it do. Each path is an action of the route `admin` in the policy.",
        },
        "servers": [{ "url": "/", "description": "The listener of `[admin]`, where this document comes from." }],
        // One of them: which ones there are is what `[[identity]]` says.
        "security": [{ "token": [] }, { "key": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of a provider of the configuration." },
                "key": { "type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key of the configuration; a provider may name another header." },
                "certificate": { "type": "mutualTLS", "description": "A client certificate, where the listener asks for one." },
            },
        },
    })
}

/// A body that says nothing: `{}`.
fn nothing() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// Of a parameter: one that may be repeated is a list (OpenAPI 3.1, style `form`, exploded, as by default).
fn schema_of(kind: &str) -> Value {
    match kind {
        "array" => json!({ "type": kind, "items": { "type": "string" } }),
        kind => json!({ "type": kind }),
    }
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (description, content) = match &operation.answer {
        Answered::Json(schema) => ("Done, or known.", json_of(schema(generator).to_value())),
        Answered::Lines(what) => {
            let line = [of::<NativeEvent>(generator), of::<TailNote>(generator)].map(Schema::to_value);
            (*what, json!({ "application/x-ndjson": { "schema": { "description": "One line.", "anyOf": line } } }))
        }
        Answered::Document => {
            ("The document.", json_of(json!({ "type": "object", "externalDocs": { "url": PUBLISHED } })))
        }
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": description, "content": content }));
    for status in refused::statuses() {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation.path.trim_start_matches("/v1/").replace(['/', '.'], "_") + "_" + operation.method,
        "responses": responses,
    });
    let Some(fields) = described.as_object_mut() else { return described };
    if operation.method == "post" {
        let schema = operation.body.map_or_else(nothing, |body| body(generator).to_value());
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": json_of(schema) }));
    }
    if !operation.query.is_empty() {
        let shown = |Parameter { name, kind, required, description }: &Parameter| json!({ "name": name, "in": "query", "required": required, "description": description, "schema": schema_of(kind) });
        let parameters: Vec<Value> = operation.query.iter().map(shown).collect();
        fields.insert("parameters".to_owned(), parameters.into());
    }
    described
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Verb;

    #[test]
    fn each_path_that_is_served_is_described_and_none_besides() {
        let source = [include_str!("request.rs"), include_str!("request/more.rs")].concat();
        // Questions with parameters.
        let questions = [
            "bans",
            "sessions",
            "keys",
            "revocations",
            "policy/can",
            "policy/explain",
            "policy/who_can",
            "policy/diff",
        ];
        let mut served = BTreeSet::from(questions.map(|path| ("get".to_owned(), format!("/v1/{path}"))));
        for line in source.lines() {
            let Some((_, rest)) = line.split_once("(Method::") else { continue };
            let Some((method, rest)) = rest.split_once(", \"") else { continue };
            let (path, _) = rest.split_once('"').unwrap();
            served.insert((method.to_lowercase(), path.to_owned()));
        }
        assert!(served.len() > 30, "{served:?}");
        let described = OPERATIONS.iter().map(|each| (each.method.to_owned(), each.path.to_owned()));
        let folders = [
            govern::Governed::FOLDER,
            access::Access::FOLDER,
            audit::AuditWanted::FOLDER,
            backup::BackupWanted::FOLDER,
        ];
        let is_verb = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        let described: BTreeSet<_> = described.filter(|(_, path)| !is_verb(path)).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn each_verb_has_its_path() {
        check_verbs::<govern::Governed>();
        check_verbs::<access::Access>();
        check_verbs::<audit::AuditWanted>();
        check_verbs::<backup::BackupWanted>();
    }

    fn check_verbs<T: JsonSchema + Verb>() {
        let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
        let verbs = schema["oneOf"].as_array().unwrap().iter();
        let verbs: BTreeSet<String> = verbs
            .map(|each| format!("{}{}", T::FOLDER, each["properties"]["verb"]["const"].as_str().unwrap()))
            .collect();
        let paths = OPERATIONS.iter().map(|each| each.path.to_owned()).filter(|path| path.starts_with(T::FOLDER));
        assert_eq!(paths.collect::<BTreeSet<_>>(), verbs);
    }

    #[test]
    fn each_reference_of_the_document_leads_somewhere() {
        let document = document();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        assert_eq!(
            document["paths"]["/v1/bans/add"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/NewBan"
        );
        assert_eq!(document["components"]["schemas"]["NewBan"]["required"], json!(["on", "for_s", "reason"]));
    }

    #[test]
    fn the_parameters_that_are_described_are_those_that_are_read() {
        for operation in OPERATIONS.iter().filter(|operation| operation.method == "get") {
            let value = |parameter: &Parameter| match parameter.kind {
                _ if parameter.name == "ip" => "ip=192.0.2.7".to_owned(),
                _ if parameter.name == "risk" => "risk=high".to_owned(),
                _ if parameter.name == "before" || operation.path == "/v1/policy/diff" && parameter.name == "after" => {
                    format!("{}=1", parameter.name)
                }
                "integer" => format!("{}=1", parameter.name),
                "boolean" => format!("{}=true", parameter.name),
                _ => format!("{}=x", parameter.name),
            };
            let query: Vec<String> = operation.query.iter().map(value).collect();
            let asked = crate::reading::question(operation.path, Some(&query.join("&")));
            assert!(asked.as_ref().is_none_or(Result::is_ok), "{}: {asked:?}", operation.path);
            assert!(operation.query.is_empty() || asked.is_some(), "{} takes no parameters", operation.path);
            for parameter in operation.query.iter().filter(|parameter| parameter.required) {
                let without: Vec<String> =
                    operation.query.iter().filter(|other| other.name != parameter.name).map(value).collect();
                let asked = crate::reading::question(operation.path, Some(&without.join("&")));
                assert!(asked.is_some_and(|asked| asked.is_err()), "{} needs {}", operation.path, parameter.name);
            }
        }
    }

    #[test]
    fn nothing_is_described_as_anything_at_all() {
        let document = document();
        let untyped = untyped::of(&document);
        assert_eq!(untyped, Vec::<String>::new());
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(text) if key == "$ref" => references.push(text.clone()),
                        other => collect(other, references),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
