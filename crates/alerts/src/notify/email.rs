//! A notification as a mail, over SMTP (RFC 5321) with TLS as configured. The message is plain text (RFC 5322); lettre encodes headers and
//! lines, so that nothing in it can begin a header or end the message.

use std::io;

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport as _};
use portcullis_events::settings::TlsSettings;

use super::{Failure, Teller, payload};
use crate::grouping::Notification;
use crate::settings::{EmailSettings, EmailTls};

pub(crate) struct Email {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Email {
    pub(crate) fn new(settings: &EmailSettings) -> io::Result<Self> {
        let tls = match &settings.tls {
            EmailTls::None => Tls::None,
            EmailTls::Starttls(tls) => Tls::Required(parameters(tls, &settings.host)?),
            EmailTls::Implicit(tls) => Tls::Wrapper(parameters(tls, &settings.host)?),
        };
        let mut builder = SmtpTransport::builder_dangerous(&*settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(settings.timeout));
        if let Some(name) = &settings.hello {
            builder = builder.hello_name(ClientId::Domain(name.to_string()));
        }
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.to_string(), password.reveal().to_owned()));
        }
        let to = settings.to.iter().map(|address| mailbox(address)).collect::<io::Result<_>>()?;
        Ok(Self { transport: builder.build(), from: mailbox(&settings.from)?, to })
    }

    fn message(&self, notification: &Notification) -> Result<Message, Failure> {
        let domain = self.from.email.domain();
        let builder = Message::builder()
            .from(self.from.clone())
            .subject(payload::subject(notification))
            .date_now()
            .message_id(Some(format!("<{}@{domain}>", notification.id)))
            // RFC 3834: nobody is to answer by machine.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        let builder = self.to.iter().cloned().fold(builder, MessageBuilder::to);
        builder.body(payload::text(notification)).map_err(Failure::lasting)
    }
}

impl Teller for Email {
    fn tell(&mut self, notification: &Notification, is_over: &dyn Fn() -> bool) -> Result<String, Failure> {
        let message = self.message(notification)?.formatted();
        let (mut taken, mut failed, mut lasting) = (Vec::new(), Vec::new(), true);
        // One transaction for each: a mailbox that is gone must not keep the mail from the others.
        for to in &self.to {
            if is_over() {
                failed.push(format!("{}: there was no time left", to.email));
                lasting = false;
                continue;
            }
            let sent = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]);
            match sent.map(|envelope| self.transport.send_raw(&envelope, &message)) {
                Ok(Ok(response)) => taken.push(response.first_line().unwrap_or("taken").to_owned()),
                Ok(Err(error)) => {
                    // 5yz will never be another (RFC 5321 section 4.2.1), and a message that cannot be written neither.
                    lasting &= error.is_permanent();
                    failed.push(format!("{}: {}", to.email, words(&error)));
                }
                Err(error) => failed.push(format!("{}: {}", to.email, words(&error))),
            }
        }
        let said = |texts: Vec<String>| -> String { payload::plain(&texts.join("; ")).chars().take(300).collect() };
        match (taken.is_empty(), failed.is_empty()) {
            (false, true) => Ok(said(taken.into_iter().take(1).collect())),
            // Whoever is left out is said, and not tried again: the others would get it twice.
            (false, false) => Ok(said(vec![format!("{} took it; not taken by {}", taken.len(), failed.join("; "))])),
            (true, _) if lasting => Err(Failure::lasting(said(failed))),
            (true, _) => Err(Failure::passing(said(failed))),
        }
    }
}

/// The error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// The receiver's certificate is always verified, for its name too.
fn parameters(tls: &TlsSettings, host: &str) -> io::Result<TlsParameters> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    let mut builder = TlsParameters::builder(name.to_owned());
    if !tls.roots.is_empty() {
        builder = builder.certificate_store(CertificateStore::None);
    }
    for root in &tls.roots {
        builder = builder.add_root_certificate(Certificate::from_der(root.to_vec()).map_err(io::Error::other)?);
    }
    builder.build().map_err(io::Error::other)
}

fn mailbox(address: &str) -> io::Result<Mailbox> {
    address.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: {error}")))
}
