//! A real etcd as upstream: a gRPC server (HTTP/2 by prior knowledge) of the reference implementation in Go, with calls that answer
//! once and calls that stream both ways; and `etcdctl`, a real gRPC client.
//!
//! A missing program fails the test; `cargo xtask test` installs it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Process, Program};

/// A running etcd of one member. Dropping it stops it.
#[derive(Debug)]
pub struct Etcd {
    // Before the folder, so that it is stopped before the folder goes.
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Etcd {
    /// One that serves.
    ///
    /// # Panics
    /// When there is no etcd, or it does not start.
    pub fn start() -> Self {
        let on = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (address, peers) = (on(), on());
        let folder = tempfile::Builder::new()
            .prefix("portcullis-etcd")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let mut process = Program::new(program("PORTCULLIS_ETCD", "etcd"))
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &format!("http://{address}")])
            .args(["--advertise-client-urls", &format!("http://{address}")])
            .args(["--listen-peer-urls", &format!("http://{peers}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
            .args(["--initial-cluster", &format!("default=http://{peers}")])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .start();
        process.wait_for_line("ready to serve client requests");
        Self { _process: process, _folder: folder, address }
    }

    /// Where it takes requests.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `etcdctl`, which asks whatever listens at this address.
///
/// # Panics
/// When there is no etcdctl.
pub fn etcdctl(address: SocketAddr) -> Program {
    Program::new(program("PORTCULLIS_ETCDCTL", "etcdctl")).env("ETCDCTL_API", "3").args([
        "--endpoints",
        &format!("http://{address}"),
        "--dial-timeout",
        "10s",
        "--command-timeout",
        "20s",
    ])
}

/// Where a program is: where its variable says, or in the usual place.
fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from("/usr/bin").join(name), PathBuf::from)
}
