//! A real nginx as upstream: its keep-alive, its chunking, its closes, not those of a stub.
//!
//! It serves, on a loopback port of its own:
//!
//! | path | answer |
//! |---|---|
//! | `/…` | 200, text: one line `name: value` each for the method, `$request_uri`, `$uri` (what it acts on), and the header fields in [`ECHOED`] |
//! | `/big` | 200, a static file of [`BIG`] bytes, all `x`, with ranges and an `etag` |
//! | `/slow` | 200, 32 KiB at 16 KiB a second |
//! | `/status/404`, `/status/503` | that status, with nginx's own page |
//! | `/close` | 200 and `Connection: close` |
//! | `/drop` | the connection is closed without an answer |
//!
//! It reads request bodies of any size and forgets them. The tests need the program: `cargo xtask test` installs it and
//! passes its path in `PORTCULLIS_NGINX`; without that variable the usual places are searched, and a missing nginx
//! fails the test, because a test that is skipped in silence is not there when it is needed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Process, Program, Signal};
use crate::wait::PATIENCE;

/// The size of `/big`, in bytes.
pub const BIG: usize = 8 << 20;

/// The request header fields that `/` echoes, as nginx's variables name them.
pub const ECHOED: [&str; 9] = [
    "host",
    "connection",
    "forwarded",
    "x_forwarded_for",
    "x_forwarded_proto",
    "x_request_id",
    "authorization",
    "content_length",
    "x_auth_assertion",
];

/// What a test may want otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `keepalive_timeout`, in milliseconds; 0 closes after each answer.
    pub keepalive_timeout_ms: u32,
    /// `keepalive_requests`: how many requests one connection may carry.
    pub keepalive_requests: u32,
    /// It speaks HTTP/2 in plain text, by prior knowledge, and no HTTP/1.1.
    pub http2: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keepalive_timeout_ms: 75_000, keepalive_requests: 1_000_000, http2: false }
    }
}

/// A running nginx. Dropping it stops it.
#[derive(Debug)]
pub struct Nginx {
    // Before the folder, so that it is stopped before the folder goes.
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// One with the usual settings.
    ///
    /// # Panics
    /// When there is no nginx, or it does not start.
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    /// One with these settings.
    ///
    /// # Panics
    /// When there is no nginx, or it does not start.
    pub fn start_with(settings: Settings) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = tempfile::Builder::new()
            .prefix("portcullis-nginx")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let write = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).expect("a new folder is writable");
        };
        write("nginx.conf", configuration(folder.path(), address, settings).as_bytes());
        write("big", &vec![b'x'; BIG]);
        write("slow", &[b'x'; 32 * 1024]);
        let mut process = unprivileged(&program(), folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .start();
        process.wait_for_port(address);
        Self { process, folder, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and [`Self::address`].
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that it has finished, one line each: number of the connection, number of the request on it, status,
    /// request line. The readiness probe sends none.
    pub fn access_log(&self) -> Vec<String> {
        self.log("access.log")
    }

    /// What it complained about.
    pub fn error_log(&self) -> Vec<String> {
        self.log("error.log")
    }

    fn log(&self, name: &str) -> Vec<String> {
        let text = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// Ends it after its last request (SIGQUIT) and waits for that.
    ///
    /// # Panics
    /// When it does not end in [`PATIENCE`].
    pub fn quit(mut self) {
        self.process.signal(Signal::Quit);
        self.process.wait_exit(PATIENCE);
    }
}

/// Where nginx is.
fn program() -> PathBuf {
    let given = std::env::var_os("PORTCULLIS_NGINX").map(PathBuf::from);
    let usual = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/usr/local/nginx/sbin/nginx"]
        .map(PathBuf::from);
    let found = given.map_or_else(|| usual.into_iter().find(|path| path.is_file()), Some);
    found.expect("nginx is missing: run `cargo xtask test`, or install nginx, or say where it is in PORTCULLIS_NGINX")
}

/// Root starts it as nobody, who owns the folder then: a server under test needs no privilege.
fn unprivileged(program: &Path, folder: &Path) -> Program {
    if fs::metadata("/proc/self").expect("Linux has /proc/self").uid() != 0 {
        return Program::new(program);
    }
    let (user, group) = nobody();
    let inside =
        fs::read_dir(folder).expect("a new folder is readable").map(|entry| entry.expect("it stays readable").path());
    for path in inside.chain([folder.to_owned()]) {
        chown(&path, Some(user), Some(group)).expect("root may give a file away");
    }
    Program::new("setpriv")
        .args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()])
        .arg(program)
}

/// The user and group ids of `nobody`, from the third and fourth field of its line (passwd(5)).
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let found = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found.expect("there is a user `nobody`")
}

fn configuration(folder: &Path, address: SocketAddr, settings: Settings) -> String {
    let Settings { keepalive_timeout_ms, keepalive_requests, http2 } = settings;
    let http2 = if http2 { " http2" } else { "" };
    let d = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {d}/{kind};\n"))
        .collect();
    let echoed: String = ECHOED.iter().map(|field| format!("{field}: $http_{field}\\n")).collect();
    format!(
        r#"
daemon off;
worker_processes 1;
pid {d}/nginx.pid;
error_log {d}/error.log warn;
events {{ worker_connections 1024; }}
http {{
{temporary}
    log_format test '$connection $connection_requests $status $request';
    access_log {d}/access.log test;
    default_type text/plain;
    client_max_body_size 0;
    keepalive_timeout {keepalive_timeout_ms}ms;
    keepalive_requests {keepalive_requests};
    server {{
        listen {address}{http2};
        root {d};
        location / {{ return 200 "request_method: $request_method\nrequest_uri: $request_uri\nuri: $uri\n{echoed}"; }}
        location = /big {{ try_files /big =404; }}
        location = /slow {{ limit_rate 16k; try_files /slow =404; }}
        location = /status/404 {{ return 404; }}
        location = /status/503 {{ return 503; }}
        location = /close {{ keepalive_timeout 0; return 200 "closing\n"; }}
        location = /drop {{ return 444; }}
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;
    use crate::wire::{Conn, ReadError, get, request, try_send};

    #[test]
    fn it_echoes_what_it_received_and_keeps_connections() {
        let nginx = Nginx::start();
        let mut connection = Conn::open(nginx.address());
        let body = vec![b'y'; 2 << 20];
        connection.send(request("POST", "/a%2Fb?c=d", &[("X-Request-Id", "r-1")], &body));
        let text = connection.answer().text().to_owned();
        for line in [
            "request_method: POST",
            "request_uri: /a%2Fb?c=d",
            "host: gateway.test",
            "x_request_id: r-1",
            "forwarded: ",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in {text}");
        }
        connection.send(request("GET", "/big", &[("Range", "bytes=0-9")], b""));
        assert_eq!(connection.answer().body, b"xxxxxxxxxx");
        let log = wait::until(PATIENCE, || Some(nginx.access_log()).filter(|lines| lines.len() == 2)).unwrap();
        assert!(log[1].ends_with(" 2 206 GET /big HTTP/1.1"), "{log:?}");
    }

    #[test]
    fn each_path_does_what_the_table_says() {
        let nginx = Nginx::start();
        assert_eq!(get(nginx.address(), "/big", &[]).body.len(), BIG);
        assert_eq!(get(nginx.address(), "/status/404", &[]).status(), 404);
        assert_eq!(get(nginx.address(), "/status/503", &[]).status(), 503);
        assert_eq!(get(nginx.address(), "/close", &[]).header("connection"), Some("close"));
        assert!(matches!(try_send(nginx.address(), request("GET", "/drop", &[], b"")), Err(ReadError::Closed)));
        let mut slow = Conn::open(nginx.address());
        slow.send(request("GET", "/slow", &[], b""));
        assert_eq!(slow.try_head().unwrap().header("content-length"), Some("32768"));
        assert!(slow.next_bytes().unwrap().len() < 32768, "the second half comes a second later");
        assert_eq!(nginx.error_log(), <[String; 0]>::default());
    }

    #[test]
    fn settings_and_the_orderly_end_reach_it() {
        let nginx = Nginx::start_with(Settings { keepalive_requests: 2, ..Settings::default() });
        let mut connection = Conn::open(nginx.address());
        connection.send([request("GET", "/1", &[], b""), request("GET", "/2", &[], b"")].concat());
        assert_eq!(connection.answer().header("connection"), Some("keep-alive"));
        assert_eq!(connection.answer().header("connection"), Some("close"));
        // nginx reads on for a while on a connection that it closes, unless the client is gone.
        drop(connection);
        let address = nginx.address();
        nginx.quit();
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn root_does_not_run_it() {
        let nginx = Nginx::start();
        let owner = fs::metadata(format!("/proc/{}", nginx.process.pid())).unwrap().uid();
        assert_ne!(owner, 0);
    }
}
