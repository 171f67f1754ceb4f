//! `[[notifier]]`: who is told when an alert fires.

use std::sync::Arc;

use portcullis_alerts::settings::{EmailSettings, EmailTls, ExecSettings, NotifierKind, Shape, WebhookSettings};

use super::{ReceiverAddress, read_auth, read_headers, read_secret_target, read_timeout, secret, tls};
use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::kinds::{AnyText, Choice, FilePath, Integer, Name, Text};
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
pub(crate) const NOTIFIERS: &[(&str, &str)] = &[("webhook", "webhook"), ("email", "email"), ("exec", "exec")];

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
        match kind.value {
            "webhook" => read_webhook(table).map(|webhook| NotifierKind::Webhook(Box::new(webhook))),
            "email" => read_email(table).map(|email| NotifierKind::Email(Box::new(email))),
            _ => read_exec(table).map(NotifierKind::Exec),
        }
    });
    section.finish();
    Some(Notifier { name: name?, kind, attempts: u32::try_from(attempts).ok()? })
}

fn read_webhook(section: Section<'_>) -> Option<WebhookSettings> {
    let target = read_secret_target(&section);
    let shape = section.or("shape", Choice(SHAPES), Shape::Generic);
    let auth = read_auth(&section);
    let headers: Vec<(Arc<str>, Arc<str>)> = read_headers(&section);
    let secret = secret::optional_secret(&section, "secret");
    // A secret that cannot be read was reported: without one, nobody could tell a forged notification.
    let whole = secret.is_some() || !section.has("secret");
    section.finish();
    whole.then_some(WebhookSettings { target: target?, shape, headers, auth: auth?, secret })
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Starttls,
    Implicit,
    None,
}

/// The words of `security`.
pub(crate) const SECURITIES: &[(&str, Security)] =
    &[("starttls", Security::Starttls), ("implicit", Security::Implicit), ("none", Security::None)];

fn read_email(section: Section<'_>) -> Option<EmailSettings> {
    let address = section.required("address", ReceiverAddress);
    let security = section.or("security", Choice(SECURITIES), Security::Starttls);
    let tls = tls::read_tls(&section, "tls", security != Security::None);
    let user = section.optional("user", Text);
    let password = secret::optional_secret(&section, "password");
    let hello = section.optional("hello", Text);
    let from = section.required("from", Text);
    let to = section.required_one_or_list("to", Text, "who gets the mail, such as \"duty@example.com\"");
    let timeout = read_timeout(&section);
    let report = |span: Span, message: &str, help: &str| {
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
    };
    let mut sound = true;
    if tls.as_ref().is_some_and(|tls| tls.identity.is_some()) {
        report(section.span(), "`certificate`: a mail server is told who it is by `user` and `password`", "remove it");
        sound = false;
    }
    if section.has("user") != section.has("password") {
        report(section.span(), "`user` and `password` belong together", "write both or neither");
        sound = false;
    }
    if let Some(user) = user.as_ref().filter(|_| security == Security::None) {
        report(user.span, "without TLS the password can be read on the way", "write `security = \"starttls\"`");
        sound = false;
    }
    let mailboxes = from.iter().chain(to.iter().flat_map(|to| &to.value));
    for mailbox in mailboxes.filter(|mailbox| !portcullis_alerts::is_mailbox(&mailbox.value)) {
        let message = "this is no mailbox";
        let help = "such as \"duty@example.com\", or \"Duty <duty@example.com>\"";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, mailbox.span, message).with_help(help));
        sound = false;
    }
    if let Some(hello) = hello.as_ref().filter(|hello| !is_domain(&hello.value)) {
        let message = "`hello`: expected a domain such as \"gw-1.example.com\"";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, hello.span, message));
        sound = false;
    }
    if to.as_ref().is_some_and(|to| to.value.is_empty()) {
        section.report_empty("to", to.as_ref()?.span, "name somebody");
        sound = false;
    }
    let has_password = section.has("password");
    section.finish();
    let (host, port) = address?.value;
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user.value.into(), password)),
        // One that cannot be read was reported.
        _ if has_password => return None,
        _ => None,
    };
    let settings = EmailSettings {
        host,
        port,
        tls: match security {
            Security::Starttls => EmailTls::Starttls(tls?),
            Security::Implicit => EmailTls::Implicit(tls?),
            Security::None => EmailTls::None,
        },
        login,
        hello: hello.map(|hello| hello.value.into()),
        from: from?.value.into(),
        to: to?.value.into_iter().map(|to| to.value.into()).collect(),
        timeout,
    };
    sound.then_some(settings)
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn read_exec(section: Section<'_>) -> Option<ExecSettings> {
    let program = section.required("program", FilePath);
    let arguments = section.list("args", AnyText).map(|arguments| arguments.value).unwrap_or_default();
    let timeout = read_timeout(&section);
    let mut sound = true;
    if let Some(program) = program.as_ref().filter(|program| !program.value.written.starts_with('/')) {
        let message = "`program`: expected an absolute path";
        let help = "nothing is looked for in a search path, and no shell is asked";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, program.span, message).with_help(help));
        sound = false;
    }
    if let Some(argument) = arguments.iter().find(|argument| argument.value.contains('\0')) {
        let message = "`args`: an argument holds a null character";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, argument.span, message));
        sound = false;
    }
    section.finish();
    let arguments = arguments.into_iter().map(|argument| Arc::from(argument.value)).collect();
    let settings = ExecSettings { program: program?.value.path, arguments, timeout };
    sound.then_some(settings)
}
