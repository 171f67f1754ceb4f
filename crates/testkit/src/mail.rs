//! A real mail server as receiver (aiosmtpd): in plain text, with STARTTLS, or over TLS from the first byte.
//!
//! It takes every mail and puts it into a folder. The tests need the program: `cargo xtask test` installs `python3-aiosmtpd` and passes
//! its path in `PORTCULLIS_AIOSMTPD`; a missing one fails the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::certificates::{Authority, San};
use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::wait::{self, PATIENCE};

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// In plain text.
    Plain,
    /// In plain text until STARTTLS, which it demands.
    Starttls,
    /// TLS from the first byte.
    Implicit,
}

/// A running mail server. Dropping it stops it.
#[derive(Debug)]
pub struct MailServer {
    _process: Process,
    folder: TempDir,
    address: SocketAddr,
    ca: String,
}

impl MailServer {
    /// One that is ready.
    ///
    /// # Panics
    /// When there is no aiosmtpd, or it does not start.
    pub fn start(security: MailSecurity) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-mail")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let authority = Authority::new("mail");
        let issued = authority.issue(&[San::Host("127.0.0.1"), San::Host("mail.test")]);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a new folder is writable");
            path
        };
        let (certificate, key) = (write("server.pem", &issued.certificate), write("server.key", &issued.key));
        let mut program = Program::new(program()).arg("-n").arg("-l").arg(address.to_string());
        program = match security {
            MailSecurity::Plain => program,
            MailSecurity::Starttls => program.arg("--tlscert").arg(certificate).arg("--tlskey").arg(key),
            MailSecurity::Implicit => program.arg("--smtpscert").arg(certificate).arg("--smtpskey").arg(key),
        };
        let program = program.arg("-c").arg("aiosmtpd.handlers.Mailbox").arg(folder.path().join("mail"));
        let mut process = program.start();
        process.wait_for_port(address);
        Self { _process: process, folder, address, ca: authority.certificate() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its certificate, as PEM. The certificate is for its address and for `mail.test`.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The mails so far, as they came, with their headers.
    pub fn mails(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("mail/new"));
        let files = entries.into_iter().flatten().filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        files.collect()
    }

    /// The mails, once there are so many.
    ///
    /// # Panics
    /// When there are fewer for long.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        let enough = || Some(self.mails()).filter(|mails| mails.len() >= count);
        wait::until(PATIENCE, enough).unwrap_or_else(|| panic!("{} mails, not {count}", self.mails().len()))
    }
}

fn program() -> PathBuf {
    std::env::var_os("PORTCULLIS_AIOSMTPD").map_or_else(|| "aiosmtpd".into(), PathBuf::from)
}
