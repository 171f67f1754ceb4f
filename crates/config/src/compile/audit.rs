//! What `[audit]` needs: a store, and routes that are there.

use portcullis_insight::AuditSettings;

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::{Audit, Route};
use crate::section::Reader;
use crate::suggest;

/// `None`: nothing is counted. With a store and without the table usage is counted, and looked at when somebody asks.
pub(crate) fn compile(
    reader: &Reader<'_>,
    audit: Option<Audit>,
    store: Option<&portcullis_store::Settings>,
    routes: &[Route],
) -> Option<AuditSettings> {
    let Some(audit) = audit else {
        return store.map(|_| AuditSettings { schedule: None, ..AuditSettings::default() });
    };
    report_unknown_routes(reader, &audit, routes);
    if !audit.enabled {
        return None;
    }
    if store.is_none() {
        let message = "what is used is counted in the store, and there is none";
        let help =
            "add `[store]`, or write `enabled = false`; `portcullis audit run` looks at the policy alone, without both";
        reader.report(Diagnostic::error(codes::CONFLICT, audit.at, message).with_help(help));
        return None;
    }
    Some(audit.settings)
}

fn report_unknown_routes(reader: &Reader<'_>, audit: &Audit, routes: &[Route]) {
    for route in &audit.control_routes {
        if !reader.is_complete() || routes.iter().any(|known| known.name.value == route.value) {
            continue;
        }
        let message = format!("there is no route `{}`", route.value);
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, route.span, message);
        let near = suggest::nearest(&route.value, routes.iter().map(|known| known.name.value.as_str()));
        diagnostic.help = near.map(|name| format!("did you mean `{name}`?"));
        reader.report(diagnostic);
    }
}
