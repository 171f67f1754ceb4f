//! What is answered instead of what was wished for: every status, and in which form.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::Problem;

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
    /// What would have permitted it, where the route discloses that: any one of them would.
    #[schemars(default)]
    nearest: Option<Vec<Nearest>>,
    /// The event that access can be asked for with.
    #[schemars(default)]
    access_request: Option<String>,
    /// What the caller can do about it.
    #[schemars(default)]
    remedy: Option<Remedy>,
}

/// What would have permitted a request.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what the data plane writes")]
struct Nearest {
    /// All of these, in words.
    needs: Vec<String>,
}

/// What the caller can do about a refusal.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what the data plane writes")]
struct Remedy {
    /// Where access can be asked for.
    #[schemars(default)]
    ask: Option<String>,
    /// Where an eligible assignment can be activated.
    #[schemars(default)]
    activate: Option<String>,
    /// Which assignments these are.
    #[schemars(default)]
    assignments: Option<Vec<String>>,
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
    ("403", By::Either, "The policy says no, or a ban, or a page of another site asks."),
    ("404", By::Service, "There is no such path."),
    ("408", By::DataPlane, "The request did not arrive in time."),
    ("409", By::Service, "It cannot be done, and why."),
    ("413", By::Either, "The body is larger than the path takes: nothing was done."),
    ("414", By::DataPlane, "The path with its parameters is longer than the gateway accepts."),
    ("417", By::DataPlane, "The request expects something other than `100-continue`."),
    ("421", By::DataPlane, "The request names another host than those of `[admin] hosts`."),
    ("422", By::Service, "The policy that was sent along is none."),
    ("429", By::DataPlane, "Too many requests: `Retry-After` says when to ask again."),
    ("431", By::DataPlane, "The header fields are more, or longer, than the gateway accepts."),
    ("500", By::Either, "A defect: the log says more."),
    ("502", By::DataPlane, "The service of the API cannot be reached."),
    ("503", By::Either, "It is busy, drains, or something that the decision needs does not answer: nothing was done."),
    ("504", By::Either, "It takes too long; it may still be done."),
];

/// All of these.
pub(super) fn statuses() -> impl Iterator<Item = &'static str> {
    REFUSED.iter().map(|(status, ..)| *status)
}

/// What stands in `components.responses`.
pub(super) fn responses(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let problem = generator.subschema_for::<Problem>().to_value();
    let refusal = generator.subschema_for::<Refusal>().to_value();
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
