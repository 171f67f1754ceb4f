//! A gateway under test: a folder with its configuration, the real process, and what it says of itself.
//!
//! Every gateway listens on ports that the kernel chose and reads them from its own log, so tests run side by side.

mod events;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portcullis_identity::api_key::mint;
use portcullis_testkit::events::EventFile;
use portcullis_testkit::process::{Finished, Process, Program, Signal};
use portcullis_testkit::tokens::{Claims, SigningKey, jwks};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Answer, Conn};
use serde_json::Value;
use tempfile::TempDir;

use crate::schemas;
use events::Events;

/// The issuer and the audience of the tokens that [`Site::accept_tokens`] accepts.
pub(crate) const ISSUER: &str = "https://login.test";
pub(crate) const AUDIENCE: &str = "app";

/// A policy that lets everybody do everything with the usual methods, for tests of what comes before and after.
pub(crate) const OPEN: &str = r#"
[[resource]]
route = "app"
authentication = "optional"

[[role]]
name = "everything"
permissions = [{ actions = ["GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS /**"] }]

[[assignment]]
name = "everybody-does-everything"
role = "everything"
principals = ["anyone"]
scope = "*"
"#;

/// A policy that demands a credential and then permits everything.
pub(crate) const AUTHENTICATED: &str = r#"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]

[[assignment]]
name = "the-known-do-everything"
role = "everything"
principals = ["authenticated"]
scope = "*"
"#;

/// What every configuration of [`Site`] begins with, unless it is replaced.
const WORKERS: &str = "[process]\nworkers = 2\n";

/// Keeps bans out of tests that refuse often on purpose.
pub(crate) const NO_BANS: &str = "\n[ban]\nmode = \"off\"\n";

/// Valid claims of a subject.
pub(crate) fn claims(subject: &str) -> Claims {
    Claims::new(ISSUER, AUDIENCE, subject)
}

/// `Bearer` and a token, as `Authorization` carries it.
pub(crate) fn bearer(key: &SigningKey, claims: &Claims) -> String {
    format!("Bearer {}", key.token(claims))
}

/// The gateway's program.
pub(crate) fn portcullis() -> Program {
    Program::new(env!("CARGO_BIN_EXE_portcullis")).without_env("PORTCULLIS_CONFIG").without_env("PORTCULLIS_LOG")
}

/// A program of the system, or the one that the variable names.
pub(crate) fn tool(variable: &str, name: &str) -> Program {
    Program::new(std::env::var_os(variable).unwrap_or_else(|| name.into()))
}

/// A configuration that is being written.
pub(crate) struct Site {
    folder: TempDir,
    config: String,
    keys: String,
}

impl Site {
    /// One listener, one event file, one upstream `app` and, until another route is added, one route `app` for every
    /// host and path.
    pub(crate) fn new(upstream: &str) -> Self {
        let mut site = Self::without_route(upstream);
        site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n");
        site
    }

    /// The same without the route.
    pub(crate) fn without_route(upstream: &str) -> Self {
        let config = format!(
            "version = 1\n\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:0\"\n\n\
             [ops]\naddress = \"127.0.0.1:0\"\n\n{WORKERS}\n\
             [[sink]]\nname = \"events\"\nkind = \"file\"\npath = \"events.jsonl\"\n\n\
             [[upstream]]\nname = \"app\"\nendpoints = [\"{upstream}\"]\n"
        );
        let folder = tempfile::Builder::new().prefix("portcullis-site").tempdir().unwrap();
        let site = Self { folder, config, keys: String::new() };
        site.policy(&[OPEN, NO_BANS].concat());
        site
    }

    /// Adds to `portcullis.toml`.
    pub(crate) fn add(&mut self, toml: &str) {
        self.config.push('\n');
        self.config.push_str(toml);
    }

    /// Writes this in the place of that in `portcullis.toml`.
    #[track_caller]
    pub(crate) fn change(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from), "{from} is not there");
        self.config = self.config.replace(from, to);
    }

    /// The listener on an address of the test's choice.
    pub(crate) fn listen_on(&mut self, address: SocketAddr) {
        self.config = self.config.replacen("127.0.0.1:0", &address.to_string(), 1);
    }

    /// Adds a line to the listener `main`.
    pub(crate) fn listen_with(&mut self, line: &str) {
        let address = "address = \"127.0.0.1:0\"\n";
        self.config = self.config.replacen(address, &format!("{address}{line}\n"), 1);
    }

    /// What `portcullis.toml` has in the end, instead of what was gathered.
    pub(crate) fn replace_config(&mut self, toml: &str) {
        toml.clone_into(&mut self.config);
    }

    /// Adds lines to the sink of events.
    pub(crate) fn sink_with(&mut self, lines: &str) {
        let path = "path = \"events.jsonl\"\n";
        self.config = self.config.replacen(path, &format!("{path}{lines}"), 1);
    }

    /// The policy, without its `version`.
    pub(crate) fn policy(&self, toml: &str) {
        self.file("policy.toml", &format!("version = 1\n{toml}"));
    }

    /// A further file.
    pub(crate) fn file(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds an API key for `x-api-key`, with `more` lines of its entry, and returns what the caller sends.
    pub(crate) fn key(&mut self, id: &str, principal: &str, more: &str) -> String {
        let minted = mint(id).unwrap();
        let sha256: String = minted.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.keys.is_empty() {
            self.keys.push_str("version = 1\n");
            self.add("[[identity.api_key]]\nname = \"keys\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n");
        }
        let entry = format!("\n[[key]]\nid = \"{id}\"\nsha256 = \"{sha256}\"\nprincipal = \"{principal}\"\n{more}\n");
        self.keys.push_str(&entry);
        minted.text.expose().to_owned()
    }

    /// Accepts tokens of [`ISSUER`] that are signed by one of these keys; `more` lines of the provider's entry.
    pub(crate) fn accept_tokens(&mut self, keys: &[&SigningKey], more: &str) {
        self.file("jwks.json", &jwks(keys));
        self.add(&format!(
            "[[identity.jwt]]\nname = \"login\"\nissuer = \"{ISSUER}\"\naudiences = [\"{AUDIENCE}\"]\n\
             jwks = {{ file = \"jwks.json\" }}\n{more}\n"
        ));
    }

    /// All identity headers under their usual names.
    pub(crate) fn tell_identity(&mut self) {
        self.add(
            "[identity.headers]\nuser = \"x-auth-user\"\ngroups = \"x-auth-groups\"\nroles = \"x-auth-roles\"\n\
             email = \"x-auth-email\"\n",
        );
    }

    /// Writes the files that were gathered.
    pub(crate) fn write(&self) -> PathBuf {
        self.file("portcullis.toml", &self.whole_config());
        if !self.keys.is_empty() {
            self.file("keys.toml", &self.keys);
        }
        self.path("portcullis.toml")
    }

    /// Of a gateway that sheds nothing, unless the test says when: on a busy machine a thread waits for its turn however little there is to do, and
    /// what is refused for that is not what a test is about.
    fn whole_config(&self) -> String {
        const LIMITS: &str = "[limits]\n";
        const SHEDS_NOTHING: &str = "[limits]\nshed_after = \"0s\"\n";
        if self.config.contains("shed_after") || !self.config.contains(WORKERS) {
            self.config.clone()
        } else if self.config.contains(LIMITS) {
            self.config.replacen(LIMITS, SHEDS_NOTHING, 1)
        } else {
            format!("{}\n{SHEDS_NOTHING}", self.config)
        }
    }

    /// Runs a verb of the command line on the configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        let config = self.write();
        portcullis().arg("-c").arg(config).args(arguments).run(PATIENCE)
    }

    /// The same on the files as they are there, whoever wrote them last.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Finished {
        portcullis().arg("-c").arg(self.path("portcullis.toml")).args(arguments).run(PATIENCE)
    }

    /// Starts the gateway and waits until it listens.
    pub(crate) fn start(self) -> Gateway {
        self.start_by(portcullis())
    }

    /// The same by a program of the test's choice that becomes the gateway.
    pub(crate) fn start_by(self, program: Program) -> Gateway {
        let config = self.write();
        self.started(program.arg("-c").arg(config).arg("run").start())
    }

    /// The same from within its folder, by the name of its file alone.
    pub(crate) fn start_within(self) -> Gateway {
        let config = self.write();
        let (folder, name) = (config.parent().unwrap(), config.file_name().unwrap());
        let process = portcullis().cwd(folder).arg("-c").arg(name).arg("run").start();
        self.started(process)
    }

    /// The same on the files as they are there, by a program that names the configuration already.
    pub(crate) fn start_as(self, program: Program) -> Gateway {
        self.started(program.arg("run").start())
    }

    fn started(self, mut process: Process) -> Gateway {
        let listening = |process: &mut Process, words: &str| {
            process.wait_for(words, PATIENCE, |line| {
                let (_, rest) = line.split_once(words)?;
                rest.split_once("address=")?.1.trim().parse::<SocketAddr>().ok()
            })
        };
        let address = listening(&mut process, " listening listener=main");
        let ops = listening(&mut process, " ops listening");
        let events = Events::of(EventFile::at(self.path("events.jsonl")), ops, process.life());
        Gateway { process, address, ops, events, site: self }
    }
}

/// A running gateway. Dropping it stops it.
pub(crate) struct Gateway {
    // Before the folder, so that it is stopped before the folder goes.
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) events: Events,
    pub(crate) site: Site,
}

impl Gateway {
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        wire::get(self.address, target, headers)
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        wire::send(self.address, bytes)
    }

    pub(crate) fn conn(&self) -> Conn {
        Conn::open(self.address)
    }

    /// One request from another loopback address.
    pub(crate) fn get_from(&self, source: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = Conn::open_from(source.parse().unwrap(), self.address);
        connection.send(wire::request("GET", target, headers, b""));
        connection.answer()
    }

    /// That an answer is the gateway's refusal with this status and reason, that answer and event name the same request,
    /// and that there is one event. Returns it.
    #[track_caller]
    pub(crate) fn check_refused(&self, what: &str, answer: &Answer, status: u16, reason: &str) -> Value {
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status(), status, "{what}: {shown}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        let problem = answer.json();
        schemas::check("Refusal", &problem);
        let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{what}: no x-request-id"));
        assert_eq!(problem["reason"], reason, "{what}: {shown}");
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["request_id"], id, "{what}");
        assert_eq!(problem["instance"], format!("urn:uuid:{id}"), "{what}");
        let event = self.events.wait_for_request(id);
        assert_eq!((&event["id"], &event["request"]["id"]), (&Value::from(id), &Value::from(id)), "{what}");
        assert_eq!(event["kind"], "access.denied", "{what}");
        assert_eq!((&event["status"], &event["reason"]), (&status.into(), &reason.into()), "{what}: {event:#}");
        event
    }

    /// The events of one kind, once there are so many.
    #[track_caller]
    pub(crate) fn wait_for_events(&self, kind: &str, count: usize) -> Vec<Value> {
        self.events.until(&format!("{count} events {kind}"), |events| {
            let found: Vec<Value> = of_kind(events, kind).into_iter().cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// The refusals, once there are so many.
    #[track_caller]
    pub(crate) fn refusals(&self, count: usize) -> Vec<Value> {
        self.wait_for_events("access.denied", count)
    }

    /// The value of a metric: its name with its labels exactly as `/metrics` writes them.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = wire::get(self.ops, "/metrics", &[]).text().to_owned();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn reloads(&self, result: &str) -> f64 {
        self.metric(&format!("portcullis_policy_reload_total{{result=\"{result}\"}}")).unwrap()
    }

    /// SIGHUP, and waits until a reload has ended with this result, `ok` or `error`.
    pub(crate) fn reload(&mut self, result: &str) {
        let (wanted, before) = (result, self.reloads("ok") + self.reloads("error"));
        let good_before = self.reloads(wanted);
        self.process.signal(Signal::Hangup);
        let after = |gateway: &Self| gateway.reloads("ok") + gateway.reloads("error");
        let ended = wait::until(PATIENCE, || (after(self) > before).then_some(()));
        assert!(ended.is_some(), "no reload came to an end");
        assert!(self.reloads(wanted) > good_before, "the reload's result is not {wanted}");
    }

    /// Kills it once what it has recorded is written: what is on its way to the file then is lost with the process, and whether something is
    /// lost is for tests that look for that.
    pub(crate) fn kill(self) -> Site {
        self.events.all();
        let Self { mut process, site, .. } = self;
        process.signal(Signal::Kill);
        process.wait_exit(PATIENCE);
        site
    }

    /// Ends it in order and returns all its events.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        let status = self.process.stop(PATIENCE);
        assert_eq!(status.code(), Some(0), "the gateway ended with {status}");
        self.events.all()
    }
}

/// The events of one kind.
pub(crate) fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
