//! The shape of a case file: `[defaults]` and `[[case]]`.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_policy::{CountryCode, Outcome, PrincipalKind, RiskLevel, StatedFacts};

use crate::cases::{Case, Expected, MAX_CASES};
use crate::codes;
use crate::diagnostics::{At, Diagnostic, Position, Span};
use crate::document::{FileToRead, MAX_POLICY_FILE, read_document};
use crate::file::read_version;
use crate::kinds::{Choice, Country, Flag, Integer, Moment, Text, Time};
use crate::section::{Reader, Section, shown};

mod values;

use values::RequestLine;
pub(crate) use values::{Address, CaseName, Host, Need, OrUnknown, Reason, Request, StatedPrincipal};

/// Reads a case file; `left` is how many cases may still be read. `None` when the file itself cannot be read.
pub(crate) fn read_case_file(reader: &Reader<'_>, path: &Path, left: &mut usize) -> Option<Vec<Case>> {
    let short_name = path.display().to_string();
    let file =
        FileToRead { path, short_name: &short_name, named_at: None, limit: MAX_POLICY_FILE, defines_names: false };
    read_document(reader, file, |section| read_cases(section, left))
}

fn read_cases(section: Section<'_>, left: &mut usize) -> Vec<Case> {
    read_version(&section, false);
    let defaults = section.table("defaults").map_or_else(Facts::default, read_defaults);
    let written = section.has("case");
    let sections = section.tables("case");
    let reader = section.reader();
    if !written || (sections.is_empty() && reader.diagnostics.borrow().errors() == 0) {
        let message = "there is no case in this file";
        let help = "a case begins with [[case]] and has at least `name`, `request` and `expect`";
        reader.report(Diagnostic::error(codes::NO_CASE, section.span(), message).with_help(help));
    }
    if let Some(first_too_many) = sections.get(*left) {
        let message = format!("more than {MAX_CASES} cases");
        reader.report(
            Diagnostic::error(codes::BAD_VALUE, first_too_many.span(), message).with_help("test fewer in one run"),
        );
    }
    let mut names = HashMap::new();
    let mut cases = Vec::new();
    for case in sections.into_iter().take(*left) {
        let (name, case) = read_case(case, &defaults);
        if let Some(name) = name {
            report_duplicate(reader, &mut names, &name);
        }
        cases.extend(case);
    }
    *left = left.saturating_sub(cases.len());
    section.finish();
    cases
}

fn report_duplicate(reader: &Reader<'_>, names: &mut HashMap<String, Span>, name: &At<String>) {
    match names.get(&name.value) {
        None => {
            names.insert(name.value.clone(), name.span);
        }
        Some(first) => reader.report(
            Diagnostic::error(codes::DUPLICATE, name.span, format!("two cases are named `{}`", shown(&name.value)))
                .with_related(*first, "the first one is here")
                .with_help("rename one of them"),
        ),
    }
}

/// The facts as they are written; the inner `None` is a fact that is said to be unknown.
#[derive(Debug, Clone, Default)]
struct Facts {
    principal: Option<At<Option<(PrincipalKind, String)>>>,
    groups: Option<At<Vec<String>>>,
    roles: Option<At<Vec<String>>>,
    activated: Option<At<Vec<String>>>,
    host: Option<At<String>>,
    ip: Option<Option<IpAddr>>,
    country: Option<Option<CountryCode>>,
    device: Option<At<Option<bool>>>,
    assurance: Option<At<bool>>,
    authenticated: Option<At<Duration>>,
    risk: Option<RiskLevel>,
    at: Option<Timestamp>,
}

/// The keys of a case that stand for itself alone.
const OWN_KEYS: [&str; 9] = ["name", "request", "expect", "reason", "rule", "status", "nearest", "shadow", "skip"];

fn read_defaults(section: Section<'_>) -> Facts {
    let facts = read_facts(&section);
    report_nobodys(&section, &facts);
    for key in OWN_KEYS {
        section.misplaced(key, "each case says this itself; defaults are for the facts of the request");
    }
    section.finish();
    facts
}

fn read_facts(section: &Section<'_>) -> Facts {
    let names = |key| {
        let list = section.list(key, Text)?;
        Some(list.map(|names| names.into_iter().map(|name| name.value).collect()))
    };
    let levels = Choice(&[("low", RiskLevel::Low), ("medium", RiskLevel::Medium), ("high", RiskLevel::High)]);
    Facts {
        principal: section.optional("as", StatedPrincipal),
        groups: names("groups"),
        roles: names("roles"),
        activated: names("activated"),
        host: section.optional("host", Host),
        ip: section.optional("ip", OrUnknown(Address)).map(|ip| ip.value),
        country: section.optional("country", OrUnknown(Country)).map(|country| country.value),
        device: section
            .optional("device", Choice(&[("compliant", Some(true)), ("noncompliant", Some(false)), ("unknown", None)])),
        assurance: section.optional("assurance", Choice(&[("mfa", true), ("none", false)])),
        authenticated: section.optional("authenticated", Time::within("0s", "3660d")),
        risk: section.optional("risk", levels).map(|level| level.value),
        at: section.optional("at", Moment).map(|moment| moment.value),
    }
}

/// Reports what only somebody can have, where the caller is anonymous.
fn report_nobodys(section: &Section<'_>, facts: &Facts) {
    if facts.principal.as_ref().is_none_or(|principal| principal.value.is_some()) {
        return;
    }
    let written = [
        ("groups", facts.groups.as_ref().filter(|list| !list.value.is_empty()).map(|list| list.span)),
        ("roles", facts.roles.as_ref().filter(|list| !list.value.is_empty()).map(|list| list.span)),
        ("activated", facts.activated.as_ref().filter(|list| !list.value.is_empty()).map(|list| list.span)),
        ("device", facts.device.as_ref().filter(|device| device.value.is_some()).map(|device| device.span)),
        ("assurance", facts.assurance.as_ref().filter(|assurance| assurance.value).map(|assurance| assurance.span)),
        ("authenticated", facts.authenticated.as_ref().map(|ago| ago.span)),
    ];
    for (key, span) in written {
        let Some(span) = span else { continue };
        let message = format!("an anonymous caller has no `{key}`");
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help("say who it is with `as`"));
    }
}

fn read_case(section: Section<'_>, defaults: &Facts) -> (Option<At<String>>, Option<Case>) {
    let name = section.required("name", CaseName);
    let request = section.required("request", Request);
    let own = read_facts(&section);
    let outcomes = Choice(&[
        ("permit", Outcome::Permit),
        ("deny", Outcome::Deny),
        ("challenge", Outcome::Challenge),
        ("step_up", Outcome::StepUp),
        ("undecided", Outcome::Undecided),
    ]);
    let outcome = section.required("expect", outcomes);
    let reason = section.optional("reason", Reason);
    let rule = section.optional("rule", Text);
    let status = section.optional("status", Integer(400..=599));
    let nearest = section.list("nearest", Need);
    let shadow = section.optional("shadow", Flag);
    let skip = section.optional("skip", Text).map(|why| why.value);
    let read = Facts {
        // Who is not named is nobody, unless the defaults name somebody.
        principal: own.principal.clone().or_else(|| defaults.principal.clone()).or(Some(At::new(None, section.span()))),
        ..own.clone()
    };
    report_nobodys(&section, &read);
    report_two_hosts(&section, request.as_ref(), &own);
    if let Some(outcome) = &outcome {
        report_contradictions(&section, outcome, reason.as_ref(), status.as_ref().map(|at| at.span), nearest.as_ref());
    }
    let at = |span: Span| section.reader().sources.borrow().position(span);
    let case = name.clone().zip(request).zip(outcome).map(|((name, request), outcome)| Case {
        name: name.value,
        at: at(section.span()),
        facts: filled(own, defaults, request.value.names_host),
        method: request.value.method,
        url: request.value.url,
        outcome: expected(outcome, at),
        reason: reason.map(|reason| expected(reason, at)),
        rule: rule.map(|rule| expected(rule, at)),
        status: status.map(|status| expected(status.map(|status| u16::try_from(status).unwrap_or(u16::MAX)), at)),
        nearest: nearest.map(|list| {
            let needs: BTreeSet<String> = list.value.into_iter().map(|need| need.value).collect();
            expected(At::new(needs, list.span), at)
        }),
        shadow: shadow.map(|shadow| expected(shadow, at)),
        skip,
    });
    section.finish();
    (name, case)
}

fn expected<T>(found: At<T>, at: impl Fn(Span) -> Position) -> Expected<T> {
    Expected { at: at(found.span), value: found.value }
}

/// The case's own facts, and the defaults where it says nothing. An anonymous caller takes nothing that only somebody can have,
/// and a URL with a host takes no default host.
fn filled(own: Facts, defaults: &Facts, names_host: bool) -> StatedFacts {
    let principal = own.principal.or_else(|| defaults.principal.clone()).and_then(|principal| principal.value);
    let somebody = principal.is_some();
    let default = |fact: bool| fact.then_some(defaults);
    let theirs = default(somebody);
    StatedFacts {
        groups: own.groups.or_else(|| theirs?.groups.clone()).map_or_else(Vec::new, |list| list.value),
        roles: own.roles.or_else(|| theirs?.roles.clone()).map_or_else(Vec::new, |list| list.value),
        activated: own.activated.or_else(|| theirs?.activated.clone()).map_or_else(Vec::new, |list| list.value),
        host: own.host.or_else(|| default(!names_host)?.host.clone()).map(|host| host.value),
        ip: own.ip.or(defaults.ip).flatten(),
        country: own.country.or(defaults.country).flatten(),
        compliant_device: own.device.or_else(|| theirs?.device).and_then(|device| device.value),
        fresh_mfa: own.assurance.or_else(|| theirs?.assurance).is_some_and(|assurance| assurance.value),
        authenticated_s: own.authenticated.or_else(|| theirs?.authenticated).map(|ago| ago.value.as_secs()),
        risk: own.risk.or(defaults.risk),
        at: own.at.or(defaults.at),
        principal,
    }
}

fn report_two_hosts(section: &Section<'_>, request: Option<&At<RequestLine>>, own: &Facts) {
    if let (Some(request), Some(host)) = (request, &own.host)
        && request.value.names_host
    {
        let message = "`host` beside a URL that names a host";
        let diagnostic = Diagnostic::error(codes::CONFLICT, host.span, message)
            .with_related(request.span, "the URL")
            .with_help("keep one of the two");
        section.reader().report(diagnostic);
    }
}

/// Reports what no answer can fulfil together.
fn report_contradictions(
    section: &Section<'_>,
    outcome: &At<Outcome>,
    reason: Option<&At<ReasonCode>>,
    status: Option<Span>,
    nearest: Option<&At<Vec<At<String>>>>,
) {
    let conflict = |span: Span, message: String, help: String| {
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
    };
    if outcome.value == Outcome::Permit {
        let written = [
            ("reason", reason.map(|reason| reason.span)),
            ("status", status),
            ("nearest", nearest.map(|list| list.span)),
        ];
        for (key, span) in written {
            if let Some(span) = span {
                conflict(span, format!("a permit has no `{key}`"), "remove it, or expect a refusal".to_owned());
            }
        }
        return;
    }
    let Some(reason) = reason else { return };
    // Each code goes with one outcome: see the table of reason codes.
    let (wanted, fits) = (outcome.value.as_str(), reason.value.answer().as_str());
    if wanted != fits {
        let message = format!("`{}` is never the reason of a {wanted}", reason.value.code());
        let help = match fits {
            "deny" | "challenge" | "step_up" | "undecided" => format!("it goes with `expect = \"{fits}\"`"),
            _ => "it is not the policy that gives this reason, so no case can expect it".to_owned(),
        };
        conflict(reason.span, message, help);
    }
}
