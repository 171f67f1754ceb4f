//! A real rsyslogd as receiver: over UDP, TCP and TLS, each on a port of its own, which it keeps over a restart.
//!
//! Each message becomes a line of JSON in its file, with what rsyslog read out of the header and the structured data. The tests
//! need the program and its TLS driver: `cargo xtask test` installs `rsyslog` and `rsyslog-openssl` and passes the path in
//! `PORTCULLIS_RSYSLOGD`; a missing one fails the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::{Authority, San};
use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::wait::{self, PATIENCE};

/// A running rsyslogd. Dropping it stops it.
#[derive(Debug)]
pub struct Rsyslog {
    process: Option<Process>,
    folder: TempDir,
    udp: SocketAddr,
    tcp: SocketAddr,
    tls: SocketAddr,
}

impl Rsyslog {
    /// One that is ready.
    ///
    /// # Panics
    /// When there is no rsyslogd, or it does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-rsyslog")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (udp, tcp, tls) = (address(), address(), address());
        let authority = Authority::new("syslog");
        let issued = authority.issue(&[San::Host("localhost"), San::Host("127.0.0.1")]);
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a new folder is writable");
        write("ca.pem", &authority.certificate());
        write("server.pem", &issued.certificate);
        write("server.key", &issued.key);
        write("rsyslog.conf", &configuration(&folder, [udp, tcp, tls]));
        let mut rsyslog = Self { process: None, folder, udp, tcp, tls };
        rsyslog.start_again();
        rsyslog
    }

    /// Starts it once more, after [`Self::stop`], on the same ports and with the same file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let folder = self.folder.path();
        let process = Program::new(program())
            .arg("-n")
            .arg("-f")
            .arg(folder.join("rsyslog.conf"))
            .arg("-i")
            .arg(folder.join("pid"))
            .start();
        // Nobody answers a datagram, and one that comes before the socket is there is lost without a word. Nor is it tried whether a connection is
        // taken: after one that goes away in the middle of a handshake version 8.2302 takes no other now and then (`epoll_ctl failed`).
        let listens = || {
            let streams = [self.tcp, self.tls].into_iter().all(|address| is_there("tcp", address, Some("0A")));
            (streams && is_there("udp", self.udp, None)).then_some(())
        };
        assert!(wait::until(PATIENCE, listens).is_some(), "rsyslogd does not listen: {self:?}");
        self.process = Some(process);
    }

    /// Stops it, orderly. What it had read by then is in its file.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Where it listens for datagrams.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Where it listens for connections in plain text.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it listens for connections over TLS.
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// The authority that signed its certificate, which is for `localhost` and `127.0.0.1`.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The messages so far, each with `pri`, `host`, `app`, `pid`, `id`, `data` and `text`.
    pub fn messages(&self) -> Vec<Value> {
        let file = fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        let whole = file.rfind('\n').map_or("", |end| &file[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The messages, once there are so many.
    ///
    /// # Panics
    /// When there are fewer for long.
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        let enough = || Some(self.messages()).filter(|messages| messages.len() >= count);
        match wait::until(PATIENCE, enough) {
            Some(messages) => messages,
            None => panic!("{} of {count} messages came", self.messages().len()),
        }
    }
}

/// Whether some socket has this address, in this state where one is given (`0A`: it listens), as Linux tells it (proc(5), `/proc/net/tcp`).
fn is_there(protocol: &str, address: SocketAddr, state: Option<&str>) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let sockets = fs::read_to_string(format!("/proc/net/{protocol}")).expect("Linux has /proc/net");
    // Its number, its address, the other end's, its state.
    let is_wanted = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&wanted) && state.is_none_or(|state| fields.nth(1) == Some(state))
    };
    sockets.lines().any(is_wanted)
}

/// Where rsyslogd is.
fn program() -> PathBuf {
    let given = std::env::var_os("PORTCULLIS_RSYSLOGD").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].map(PathBuf::from);
    given.into_iter().chain(usual).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("rsyslogd is missing: apt-get install --no-install-recommends rsyslog rsyslog-openssl")
    })
}

fn configuration(folder: &TempDir, [udp, tcp, tls]: [SocketAddr; 3]) -> String {
    let d = folder.path().display();
    let field = |name: &str, property: &str| format!(r#"property(outname="{name}" name="{property}" format="jsonf")"#);
    let fields: Vec<String> = [
        field("pri", "pri"),
        field("host", "hostname"),
        field("app", "app-name"),
        field("pid", "procid"),
        field("id", "msgid"),
        field("data", "structured-data"),
        field("text", "msg"),
    ]
    .into();
    let fields = fields.join(" constant(value=\", \") ");
    format!(
        r#"
global(workDirectory="{d}" maxMessageSize="2m"
       defaultNetstreamDriverCAFile="{d}/ca.pem"
       defaultNetstreamDriverCertFile="{d}/server.pem"
       defaultNetstreamDriverKeyFile="{d}/server.key")
module(load="imudp")
module(load="imtcp")
template(name="line" type="list") {{ constant(value="{{") {fields} constant(value="}}\n") }}
ruleset(name="all") {{ action(type="omfile" file="{d}/messages" template="line" asyncWriting="off") }}
input(type="imudp" address="127.0.0.1" port="{}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{}" ruleset="all" SupportOctetCountedFraming="on")
input(type="imtcp" address="127.0.0.1" port="{}" ruleset="all" SupportOctetCountedFraming="on"
      StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
"#,
        udp.port(),
        tcp.port(),
        tls.port()
    )
}
