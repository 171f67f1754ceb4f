//! Mail, to a real server.

use std::sync::Arc;
use std::time::Duration;

use portcullis_alerts::Delivered;
use portcullis_alerts::settings::*;
use portcullis_events::settings::{Secret, TlsSettings};
use portcullis_testkit::mail::{MailSecurity, MailServer};
use portcullis_testkit::wait::PATIENCE;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::world::{rule, start};

fn settings(server: &MailServer, tls: EmailTls) -> EmailSettings {
    EmailSettings {
        host: server.address().ip().to_string().into(),
        port: server.address().port(),
        tls,
        login: None,
        hello: Some("gw-1.test".into()),
        from: "Portcullis <portcullis@example.com>".into(),
        to: vec!["duty@example.com".into(), "Chief <chief@example.com>".into()],
        timeout: Duration::from_secs(10),
    }
}

fn trust(server: &MailServer) -> TlsSettings {
    let root = CertificateDer::from_pem_slice(server.ca().as_bytes()).unwrap();
    TlsSettings { roots: vec![root], identity: None, server_name: None }
}

/// The value of a header, and the body.
fn parts<'m>(mail: &'m str, header: &str) -> (Vec<&'m str>, &'m str) {
    let (head, body) = mail.split_once("\n\n").unwrap();
    let named = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{}:", header.to_ascii_lowercase()));
    (head.lines().filter(named).collect(), body)
}

#[test]
fn a_mail_says_what_happened_over_every_kind_of_connection() {
    for security in [MailSecurity::Plain, MailSecurity::Starttls, MailSecurity::Implicit] {
        let server = MailServer::start(security);
        let tls = match security {
            MailSecurity::Plain => EmailTls::None,
            MailSecurity::Starttls => EmailTls::Starttls(trust(&server)),
            MailSecurity::Implicit => EmailTls::Implicit(trust(&server)),
        };
        let running = start(vec![rule("hook")], NotifierKind::Email(Box::new(settings(&server, tls))), 1);
        running.refuse("203.0.113.7", None);
        let last = running.refuse("203.0.113.7", None);
        let mail = server.wait_for(1).remove(0);
        running.alerts.shutdown(PATIENCE);
        assert_eq!(running.told(Delivered::Sent), 1, "{security:?}");
        let (subject, body) = parts(&mail, "subject");
        assert!(subject[0].contains("[portcullis] failing fired"), "{mail}");
        assert_eq!(parts(&mail, "auto-submitted").0, ["Auto-Submitted: auto-generated"], "{mail}");
        assert_eq!(parts(&mail, "from").0, ["From: Portcullis <portcullis@example.com>"], "{mail}");
        assert!(parts(&mail, "message-id").0[0].ends_with("@example.com>"), "{mail}");
        let body = body.replace("=\n", "");
        assert!(body.contains("2 events of address 203.0.113.7 within 1m"), "{mail}");
        assert!(body.contains(&format!("portcullis events explain {last}")), "{mail}");
        assert!(body.contains("https://help.example/authn.invalid"), "{mail}");
    }
}

#[test]
fn nobody_can_write_a_header_or_end_the_mail() {
    let server = MailServer::start(MailSecurity::Plain);
    let by_principal = Rule { per: Per::Each(Facet::Principal), ..rule("hook") };
    let kind = NotifierKind::Email(Box::new(settings(&server, EmailTls::None)));
    let running = start(vec![by_principal], kind, 1);
    let evil = "a\r\nBcc: x@evil.example\r\n\r\nb\r\n.\r\nMAIL FROM:<x@evil.example>\r\n";
    running.refuse("203.0.113.7", Some(evil));
    running.refuse("203.0.113.7", Some(evil));
    let mail = server.wait_for(1).remove(0);
    running.alerts.shutdown(PATIENCE);
    assert_eq!(server.mails().len(), 2, "one for each mailbox");
    assert!(parts(&mail, "bcc").0.is_empty() && parts(&mail, "mail from").0.is_empty(), "{mail}");
    assert!(parts(&mail, "x-rcptto").0.iter().all(|line| !line.contains("evil")), "{mail}");
}

/// The server takes no mailbox that is not ASCII (it has no SMTPUTF8).
#[test]
fn a_mailbox_that_is_refused_keeps_nothing_from_the_others() {
    let check = |to: &[&str], delivered: bool, mails: usize| {
        let server = MailServer::start(MailSecurity::Plain);
        let to = to.iter().map(|mailbox| (*mailbox).into()).collect();
        let settings = EmailSettings { to, ..settings(&server, EmailTls::None) };
        let running = start(vec![rule("hook")], NotifierKind::Email(Box::new(settings)), 1);
        let tried = running.alerts.test("failing").unwrap().remove(0);
        assert_eq!((tried.delivered, server.mails().len()), (delivered, mails), "{tried:?}");
        assert_eq!(tried.message.contains("ren"), mails < 2, "{tried:?}");
        running.alerts.shutdown(PATIENCE);
    };
    check(&["duty@example.com", "chief@example.com"], true, 2);
    check(&["ren\u{e9}@example.com", "duty@example.com"], true, 1);
    check(&["ren\u{e9}@example.com"], false, 0);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_nothing() {
    let check = |security: MailSecurity, tls: fn(&MailServer) -> EmailTls, login: bool, expected: &str| {
        let server = MailServer::start(security);
        let login = login.then(|| (Arc::from("u"), Secret::new("p")));
        let settings = EmailSettings { login, ..settings(&server, tls(&server)) };
        let running = start(vec![rule("hook")], NotifierKind::Email(Box::new(settings)), 1);
        let tried = running.alerts.test("failing").unwrap().remove(0);
        assert!(!tried.delivered && tried.message.contains(expected), "{security:?}: {tried:?}");
        assert!(server.mails().is_empty());
        running.alerts.shutdown(PATIENCE);
    };
    check(MailSecurity::Implicit, |server| EmailTls::Implicit(another_of(server)), false, "certificate");
    check(MailSecurity::Starttls, |server| EmailTls::Starttls(another_of(server)), false, "certificate");
    let misnamed = |server: &MailServer| {
        EmailTls::Implicit(TlsSettings { server_name: Some("other.test".into()), ..trust(server) })
    };
    check(MailSecurity::Implicit, misnamed, false, "certificate");
    // STARTTLS is demanded, not hoped for.
    check(MailSecurity::Plain, |server| EmailTls::Starttls(trust(server)), false, "STARTTLS");
    check(MailSecurity::Implicit, |server| EmailTls::Implicit(trust(server)), true, "auth");
}

/// Whoever believes another authority.
fn another_of(_: &MailServer) -> TlsSettings {
    let other = portcullis_testkit::certificates::Authority::new("another").certificate();
    TlsSettings { roots: vec![CertificateDer::from_pem_slice(other.as_bytes()).unwrap()], ..TlsSettings::default() }
}
