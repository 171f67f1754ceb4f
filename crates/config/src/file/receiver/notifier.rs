//! `[[notifier]]`: who is told when an alert fires.

use std::sync::Arc;

use portcullis_alerts::settings::{NotifierKind, Shape, WebhookSettings};

use super::{read_auth, read_headers, read_target, secret};
use crate::diagnostics::At;
use crate::kinds::{Choice, Integer, Name};
use crate::section::Section;

/// `[[notifier]]`
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) name: At<String>,
    /// `None`: something is wrong with it, which was reported.
    pub(crate) kind: Option<NotifierKind>,
    pub(crate) attempts: u32,
}

/// The kinds; each has a table of its name.
pub(crate) const NOTIFIERS: &[(&str, &str)] = &[("webhook", "webhook")];

/// The words of `shape`.
pub(crate) const SHAPES: &[(&str, Shape)] =
    &[("generic", Shape::Generic), ("slack", Shape::Slack), ("teams", Shape::Teams)];

pub(crate) const ATTEMPTS: std::ops::RangeInclusive<u64> = 1..=20;

pub(crate) fn read_notifier(section: Section<'_>) -> Option<Notifier> {
    let name = section.required("name", Name);
    let kind = section.required("kind", Choice(NOTIFIERS));
    let attempts = section.or("attempts", Integer(ATTEMPTS), 6);
    for (other, _) in NOTIFIERS.iter().filter(|(other, _)| kind.as_ref().is_some_and(|kind| kind.value != *other)) {
        if section.has(other) {
            section.misplaced(other, &format!("write `kind = \"{other}\"`, or remove it"));
        }
    }
    let kind = kind.and_then(|kind| {
        let Some(table) = section.table(kind.value) else {
            if !section.has(kind.value) {
                section.report_missing(kind.value, "a table that says whom to tell");
            }
            return None;
        };
        read_webhook(table).map(|webhook| NotifierKind::Webhook(Box::new(webhook)))
    });
    section.finish();
    Some(Notifier { name: name?, kind, attempts: u32::try_from(attempts).ok()? })
}

fn read_webhook(section: Section<'_>) -> Option<WebhookSettings> {
    let target = read_target(&section);
    let shape = section.or("shape", Choice(SHAPES), Shape::Generic);
    let auth = read_auth(&section);
    let headers: Vec<(Arc<str>, Arc<str>)> = read_headers(&section);
    let secret = secret::optional_secret(&section, "secret");
    // A secret that cannot be read was reported: without one, nobody could tell a forged notification.
    let whole = secret.is_some() || !section.has("secret");
    section.finish();
    whole.then_some(WebhookSettings { target: target?, shape, headers, auth: auth?, secret })
}
