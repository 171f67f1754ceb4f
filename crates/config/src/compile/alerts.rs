//! `[[alert]]` and `[[notifier]]`.

use std::collections::HashSet;
use std::sync::Arc;

use portcullis_alerts::MAX_RULES;
use portcullis_alerts::settings::{NotifierSettings, Rule, Settings};

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::{At, Diagnostic};
use crate::file::{Alert, Notifier, Route, Silence};
use crate::section::Reader;
use crate::suggest;

pub(crate) fn compile(
    reader: &Reader<'_>,
    alerts: Vec<Alert>,
    notifiers: Vec<Notifier>,
    silences: &[Silence],
    routes: &[Route],
    help_base: &str,
    node: &Arc<str>,
) -> Settings {
    report_duplicates(reader, "alert", alerts.iter().map(|alert| &alert.name));
    report_duplicates(reader, "notifier", notifiers.iter().map(|notifier| &notifier.name));
    let known: Vec<&str> = notifiers.iter().map(|notifier| notifier.name.value.as_str()).collect();
    let route_names: Vec<&str> = routes.iter().map(|route| route.name.value.as_str()).collect();
    for alert in &alerts {
        report_unknown(reader, "notifier", &alert.notify, &known);
        report_unknown(reader, "route", &alert.routes, &route_names);
    }
    let alert_names: Vec<&str> = alerts.iter().map(|alert| alert.name.value.as_str()).collect();
    for silence in silences {
        report_unknown(reader, "alert", silence.alerts.as_deref().unwrap_or_default(), &alert_names);
    }
    if let Some(alert) = alerts.iter().filter(|alert| alert.enabled).nth(MAX_RULES) {
        let message = format!("there are more than {MAX_RULES} alerts");
        let help = "let one count by a key (`per`) instead of writing one for each";
        reader.report(Diagnostic::error(codes::BAD_VALUE, alert.name.span, message).with_help(help));
    }
    report_unused(reader, &alerts, &notifiers);
    Settings {
        rules: alerts
            .into_iter()
            .filter(|alert| alert.enabled)
            .map(|alert| rule(alert, silences))
            .map(Arc::new)
            .collect(),
        notifiers: notifiers.into_iter().filter_map(notifier).map(Arc::new).collect(),
        help_base: help_base.into(),
        node: Arc::clone(node),
    }
}

fn rule(alert: Alert, silences: &[Silence]) -> Rule {
    let is_of = |silence: &&Silence| match &silence.alerts {
        None => true,
        Some(names) => names.iter().any(|name| name.value == alert.name.value),
    };
    let mutes = silences.iter().filter(is_of).map(|silence| silence.mute.clone());
    let mutes = alert.mutes.iter().cloned().chain(mutes).collect();
    Rule {
        name: alert.name.value.into(),
        when: alert.when,
        condition: alert.condition,
        per: alert.per,
        cool_down: alert.cool_down,
        batch: alert.batch,
        resolve: alert.resolve,
        severity: alert.severity,
        mutes,
        runbook: alert.runbook.map(Arc::from),
        notify: alert.notify.into_iter().map(|name| Arc::from(name.value)).collect(),
        contain: alert.contain,
        max_contained: alert.max_contained,
        max_keys: alert.max_keys,
    }
}

fn notifier(notifier: Notifier) -> Option<NotifierSettings> {
    Some(NotifierSettings { name: notifier.name.value.into(), kind: notifier.kind?, attempts: notifier.attempts })
}

/// A name that nobody has would keep everything quiet.
fn report_unknown(reader: &Reader<'_>, what: &str, names: &[At<String>], known: &[&str]) {
    for name in names {
        if known.contains(&name.value.as_str()) || !reader.is_complete() {
            continue;
        }
        let message = format!("there is no {what} `{}`", name.value);
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, name.span, message);
        let near = suggest::nearest(&name.value, known.iter().copied());
        diagnostic.help = near.map(|name| format!("did you mean `{name}`?"));
        reader.report(diagnostic);
    }
}

/// Whom no alert names nobody will ever be told through.
fn report_unused(reader: &Reader<'_>, alerts: &[Alert], notifiers: &[Notifier]) {
    let used: HashSet<&str> = alerts.iter().flat_map(|alert| &alert.notify).map(|name| name.value.as_str()).collect();
    for notifier in notifiers.iter().filter(|notifier| !used.contains(notifier.name.value.as_str())) {
        let message = format!("no alert notifies `{}`", notifier.name.value);
        let help = "name it in the `notify` of an [[alert]], or remove it";
        reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, notifier.name.span, message).with_help(help));
    }
}
