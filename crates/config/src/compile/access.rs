//! `[access]`: that what principals ask for by themselves is kept, and that persons find the page where they do.

use portcullis_policy::{CanonicalPath, Policy};
use portcullis_proxy::pages::{ACCESS, PagesSettings};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::Access;
use crate::section::Reader;

/// Reports what is missing for it.
pub(crate) fn report(reader: &Reader<'_>, access: &Access, pages: Option<&PagesSettings>, has_store: bool) {
    if let Some(span) = access.self_service.filter(|_| !has_store) {
        let message = "what is asked for is kept in the store, and there is none";
        reader.report(Diagnostic::error(codes::CONFLICT, span, message).with_help("add `[store]`, or leave it out"));
    }
    let Some(host) = access.hosts.first() else { return };
    let wrong = |message: &str, help: &str| {
        reader.report(Diagnostic::error(codes::CONFLICT, host.span, message.to_owned()).with_help(help.to_owned()));
    };
    if access.self_service.is_none() {
        wrong("nobody activates anything by themselves at these hosts", "add `self_service = true`, or leave them out");
    } else if !pages.is_some_and(|pages| pages.login) {
        wrong("nobody can log in at these hosts", "add `[identity.login]`, or leave them out");
    }
}

/// Reports hosts where no route leads to the page: its rules say from where, and how authenticated, somebody may come.
pub(crate) fn report_unreached(reader: &Reader<'_>, access: &Access, pages: Option<&PagesSettings>, policy: &Policy) {
    let Some(pages) = pages.filter(|pages| pages.self_service) else { return };
    let place = pages.place_of(ACCESS);
    let Ok(path) = CanonicalPath::parse(&place) else { return };
    for host in access.hosts.iter().filter(|host| policy.find_route(&host.value, &path).is_none()) {
        let message = format!("no route leads to `{place}` at the host `{}`", host.value);
        let help = format!(
            "add a [[route]] with `hosts = [\"{}\"]`, `paths = [\"{}/**\"]` and `respond = {{ status = 404 }}`: its rules hold there",
            host.value, pages.prefix
        );
        reader.report(Diagnostic::error(codes::CONFLICT, host.span, message).with_help(help));
    }
}
