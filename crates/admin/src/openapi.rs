//! The operators' API as an OpenAPI document (OpenAPI Specification 3.1.1), made from the types that both sides use.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::api::*;
use crate::{access, audit, govern};

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

const LIMIT: Parameter = may("limit", "integer", "At most so many, from 1 to 10,000.");
const PAGED: &[Parameter] = &[
    LIMIT,
    may(
        "after",
        "string",
        "Those that come after this one, in the order of their names: the last one of the part before.",
    ),
];

/// What is answered with 200.
enum Answered {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Line by line, as it comes.
    Lines(&'static str),
    /// Some other JSON.
    Any,
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
    get::<KeyUses>("/v1/keys", "When API keys were last used."),
    get::<Revocations>("/v1/revocations", "What is revoked."),
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
        &[may("all", "boolean", "What has ended, too.")],
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
        answer: Answered::Any,
    },
];

/// Which events: the keys are those of the options of `portcullis events tail`.
fn filter(_: &mut SchemaGenerator) -> Schema {
    let of = |kind: Value, description: &str| json!({ "type": kind, "description": description });
    let text = json!(["string", "null"]);
    let schema = json!({
        "type": "object",
        "description": "Which events: all that is said must hold; `{}` is every event.",
        "properties": {
            "refusals": of(json!("boolean"), "Refusals only, whatever their status."),
            "reason": of(text.clone(), "A reason code, in which `*` stands for anything: `rbac.*`."),
            "principal": of(text.clone(), "A principal: `user:alice`, or the id alone."),
            "network": of(text.clone(), "The client's address, or its network."),
            "route": of(text.clone(), "The route."),
            "id": of(text, "The event's id."),
        },
        "additionalProperties": false,
    });
    Schema::try_from(schema).unwrap_or_default()
}

/// What the data plane answers with that does not let a request through (RFC 9457).
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what the data plane writes")]
struct Refusal {
    /// The page of the reason.
    r#type: String,
    /// What it is, in a few words.
    title: String,
    /// The status.
    status: u16,
    /// In a sentence.
    detail: String,
    /// The event, as a URN.
    instance: String,
    /// The reason code.
    reason: String,
    /// The request's id.
    request_id: String,
    /// What would have permitted it, where the route discloses that.
    #[schemars(default)]
    nearest: Option<Vec<Value>>,
    /// The event that access can be asked for with.
    #[schemars(default)]
    access_request: Option<String>,
    /// What the caller can do about it.
    #[schemars(default)]
    remedy: Option<Value>,
}

/// Who gives an answer of this status: the service, the data plane in front of it, or either.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Service,
    DataPlane,
    Either,
}

/// Every status besides 200 that an operation may answer with.
const REFUSED: &[(&str, By, &str)] = &[
    ("400", By::Either, "The request is none, or its parameters or its body are not what they should be."),
    ("401", By::DataPlane, "There is no credential that holds."),
    ("403", By::Either, "The policy says no, or a page of another site asks."),
    ("404", By::Service, "There is no such path."),
    ("408", By::DataPlane, "The request did not arrive in time."),
    ("409", By::Service, "It cannot be done, and why."),
    ("413", By::DataPlane, "The body is larger than the gateway accepts."),
    ("421", By::DataPlane, "The request names another host than those of `[admin] hosts`."),
    ("429", By::DataPlane, "Too many requests, or a ban: `Retry-After` says when to ask again."),
    ("500", By::Either, "A defect: the log says more."),
    ("502", By::DataPlane, "The service of the API cannot be reached."),
    ("503", By::Either, "It is busy, drains, or something that the decision needs does not answer: nothing was done."),
    ("504", By::Either, "It takes too long; it may still be done."),
];

/// The document. The paths are those of [`api`](crate::api); who may ask for which is what the policy says.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let responses = refused(&mut generator);
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

fn refused(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let (problem, refusal) = (of::<Problem>(generator).to_value(), of::<Refusal>(generator).to_value());
    let of = |(status, by, description): &(&str, By, &str)| {
        let mut content = Map::new();
        if *by != By::DataPlane {
            content.insert("application/json".to_owned(), json!({ "schema": problem.clone() }));
        }
        if *by != By::Service {
            content.insert("application/problem+json".to_owned(), json!({ "schema": refusal.clone() }));
        }
        let mut response = json!({ "description": description, "content": content });
        if matches!(*status, "429" | "503")
            && let Some(fields) = response.as_object_mut()
        {
            let after =
                json!({ "description": "After how many seconds to ask again.", "schema": { "type": "integer" } });
            fields.insert("headers".to_owned(), json!({ "Retry-After": after }));
        }
        ((*status).to_owned(), response)
    };
    REFUSED.iter().map(of).collect()
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (description, content) = match &operation.answer {
        Answered::Json(schema) => ("Done, or known.", json_of(schema(generator).to_value())),
        Answered::Lines(what) => (*what, json!({ "application/x-ndjson": { "schema": { "type": "string" } } })),
        Answered::Any => ("The document.", json_of(json!({ "type": "object" }))),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": description, "content": content }));
    for (status, ..) in REFUSED {
        responses.insert((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation.path.trim_start_matches("/v1/").replace(['/', '.'], "_") + "_" + operation.method,
        "responses": responses,
    });
    let Some(fields) = described.as_object_mut() else { return described };
    if operation.method == "post" {
        let schema = operation.body.map_or_else(|| json!({ "type": "object" }), |body| body(generator).to_value());
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": json_of(schema) }));
    }
    if !operation.query.is_empty() {
        let shown = |Parameter { name, kind, required, description }: &Parameter| json!({ "name": name, "in": "query", "required": required, "description": description, "schema": { "type": kind } });
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
        let source = include_str!("request.rs");
        // Questions with parameters.
        let mut served = BTreeSet::from(["/v1/bans", "/v1/sessions"].map(|path| ("get".to_owned(), path.to_owned())));
        for line in source.lines() {
            let Some((_, rest)) = line.split_once("(Method::") else { continue };
            let Some((method, rest)) = rest.split_once(", \"") else { continue };
            let (path, _) = rest.split_once('"').unwrap();
            served.insert((method.to_lowercase(), path.to_owned()));
        }
        assert!(served.len() > 30, "{served:?}");
        let described = OPERATIONS.iter().map(|each| (each.method.to_owned(), each.path.to_owned()));
        let folders = [govern::Governed::FOLDER, access::Access::FOLDER, audit::AuditWanted::FOLDER];
        let is_verb = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        let described: BTreeSet<_> = described.filter(|(_, path)| !is_verb(path)).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn each_verb_has_its_path() {
        check_verbs::<govern::Governed>();
        check_verbs::<access::Access>();
        check_verbs::<audit::AuditWanted>();
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
