//! The service manager: what it is told, sockets that it passes on, and one process that takes over from another.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use portcullis_testkit::ports::free_port;
use portcullis_testkit::process::{Program, Signal};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{self, request};

use crate::harness::{NO_BANS, OPEN, Site, of_kind, portcullis};

/// The manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram, tempfile::TempDir);

impl Manager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket, folder)
    }

    fn path(&self) -> std::path::PathBuf {
        self.1.path().join("notify")
    }

    /// The next message that is not about the watchdog.
    fn hears(&self) -> String {
        loop {
            let message = self.hears_any();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn hears_any(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[test]
fn the_manager_hears_of_the_start_of_reloads_and_of_the_stop() {
    let (upstream, manager) = (Upstream::start(), Manager::start());
    let site = Site::new(&upstream.url());
    let mut gateway = site.start_by(portcullis().env("NOTIFY_SOCKET", manager.path()));
    let ready = manager.hears();
    assert!(ready.starts_with("READY=1\nSTATUS=policy ") && ready.ends_with(", 1 routes\n"), "{ready:?}");
    assert_eq!(gateway.get("/", &[]).status(), 200, "ready means that it serves");
    let reload = || {
        let begun = manager.hears();
        let time = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{begun:?}"));
        assert!(time.trim().parse::<u64>().unwrap() > 0);
        manager.hears()
    };
    gateway.reload("ok");
    assert!(reload().starts_with("READY=1\nSTATUS=policy "));
    gateway.site.file("policy.toml", "version = 2\n");
    gateway.reload("error");
    let failed = reload();
    assert!(failed.starts_with("READY=1\nSTATUS=not reloaded: 1 error"), "{failed:?}");
    gateway.process.signal(Signal::Term);
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining\n");
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn the_watchdog_is_told_as_often_as_it_asks() {
    let (upstream, manager) = (Upstream::start(), Manager::start());
    let program = portcullis().env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "300000");
    let gateway = Site::new(&upstream.url()).start_by(program);
    let heard = (0..20).filter(|_| manager.hears_any() == "WATCHDOG=1\n").count();
    assert_eq!(heard, 19, "one message is about the start");
    drop(gateway);
}

/// Opens a socket as the manager would, and becomes the gateway: name, what to open, the program and its arguments.
const ACTIVATE: &str = r#"
import os, socket, sys
name, what = sys.argv[1:3]
if what == "tcp":
    opened = socket.socket()
    opened.bind(("127.0.0.1", 0))
    opened.listen(128)
else:
    opened = open("/dev/null")
os.dup2(opened.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=name)
os.execv(sys.argv[3], sys.argv[3:])
"#;

fn activated(name: &str, what: &str) -> Program {
    Program::new("python3").args(["-c", ACTIVATE, name, what, env!("CARGO_BIN_EXE_portcullis")])
}

#[test]
fn a_socket_that_was_passed_on_is_the_listener_of_its_name() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    // Nobody could bind that.
    let nowhere: SocketAddr = "192.0.2.1:80".parse().unwrap();
    site.listen_on(nowhere);
    let gateway = site.start_by(activated("main", "tcp"));
    assert_ne!(gateway.address, nowhere);
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status(), 200);
    }
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn a_socket_for_nobody_and_one_that_is_none_are_errors() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    let config = site.write();
    for (name, what, words) in [
        ("other", "tcp", "is neither named as a listener nor bound to the address of one"),
        ("main", "file", "the passed descriptor 3: "),
    ] {
        let finished = activated(name, what).arg("-c").arg(&config).arg("run").run(PATIENCE);
        assert_eq!(finished.status.code(), Some(4), "{name} {what}: {finished:?}");
        assert!(format!("{finished:?}").contains(words), "{name} {what}: {finished:?}");
    }
}

#[test]
fn one_process_takes_over_from_another_and_no_connection_fails() {
    let upstream = Upstream::start();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let site = || {
        let mut site = Site::new(&upstream.url());
        site.listen_on(address);
        site.policy(&[OPEN, NO_BANS].concat());
        site
    };
    let mut old = site().start();
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        // A connection for each request: it is connections that get lost.
                        match wire::try_send(address, request("GET", "/x", &[("connection", "close")], b"")) {
                            Ok(answer) if answer.status() == 200 => {}
                            Ok(answer) => failures.push(format!("{}", answer.status())),
                            Err(error) => failures.push(error.to_string()),
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    failures
                })
            })
            .collect();
        for _ in 0..3 {
            let new = site().start();
            assert_eq!(new.address, address);
            let before = served.load(Ordering::Relaxed);
            while served.load(Ordering::Relaxed) < before + 100 {
                thread::yield_now();
            }
            assert_eq!(old.process.stop(PATIENCE).code(), Some(0));
            old = new;
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(served.load(Ordering::Relaxed) > 300);
    assert_eq!(failures, Vec::<String>::new(), "of {}", served.load(Ordering::Relaxed));
}

/// What the shipped unit says of a system call at the end: the last filter that names it, or a set with it in it, has its way (systemd.exec(5)).
fn is_allowed_by_the_unit(call: &str) -> bool {
    let text = include_str!("../docker/portcullis.service");
    let filters = text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let mut said = filters.filter_map(|filter| {
        let (allows, names) = filter.strip_prefix('~').map_or((true, filter), |denied| (false, denied));
        // As `systemd-analyze syscall-filter` lists the sets.
        names.split(' ').any(|name| ["@system-service", "@resources", call].contains(&name)).then_some(allows)
    });
    said.next_back().expect("the unit has a filter")
}

#[test]
fn the_shipped_unit_lets_threads_give_way_and_take_nothing() {
    // What glibc, musl and the kernel's own interface set a thread's policy and niceness with.
    for call in ["sched_setscheduler", "sched_setattr", "setpriority"] {
        assert!(is_allowed_by_the_unit(call), "{call}");
    }
    for call in ["sched_setaffinity", "setrlimit", "mbind"] {
        assert!(!is_allowed_by_the_unit(call), "{call}");
    }
    // Whoever may set a policy must not be able to set one that takes processors from others.
    let text = include_str!("../docker/portcullis.service");
    assert!(text.lines().any(|line| line == "RestrictRealtime=yes") && !text.contains("CAP_SYS_NICE"));
}
