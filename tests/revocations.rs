//! What is revoked counts no longer: at once on requests, within the bound on what is open, and over a kill.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_testkit::process::{Finished, Program, Signal};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Conn, request};
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind, portcullis, tool};

fn ask(gateway: &Gateway, arguments: &[&str]) -> Finished {
    gateway.site.ask(arguments)
}

#[track_caller]
fn check(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let finished = ask(gateway, arguments);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    finished.stdout.join("\n")
}

/// Says a word every 50 ms for ten minutes where `/stream` is asked for.
fn upstream() -> Upstream {
    Upstream::choosing(|head| match head.target.as_str() {
        "/stream" => Reply::drip(&[&b"tick\n"[..]; 12_000], Duration::from_millis(50)),
        _ => Reply::bytes("fine"),
    })
}

struct World {
    gateway: Gateway,
    signer: SigningKey,
    robot: String,
    _upstream: Upstream,
}

fn world(more: &str) -> World {
    let upstream = upstream();
    let signer = SigningKey::es256("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "");
    let robot = site.key("robot", "service:robot", "created = 2026-01-01T00:00:00Z");
    site.add(more);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    World { gateway: site.start(), signer, robot, _upstream: upstream }
}

impl World {
    fn token(&self, subject: &str, id: &str, issued: i64) -> String {
        bearer(&self.signer, &claims(subject).set("jti", id).seconds_from_now("iat", issued))
    }

    fn as_bearer(&self, token: &str) -> u16 {
        self.gateway.get("/", &[("Authorization", token)]).status()
    }

    fn as_robot(&self) -> u16 {
        self.gateway.get("/", &[("X-Api-Key", &self.robot)]).status()
    }
}

#[test]
fn a_token_that_is_revoked_is_refused_from_the_next_request_on_and_no_other() {
    let world = world("");
    let (first, second) = (world.token("alice", "first", 0), world.token("alice", "second", 0));
    // It was verified before, and is remembered as good.
    assert_eq!((world.as_bearer(&first), world.as_bearer(&second)), (200, 200));
    let told = check(&world.gateway, &["revoke", "token", "first", "--reason", "laptop stolen"], 0);
    assert!(told.contains("token first is revoked until") && told.contains("there is no [store]"), "{told}");
    // On every worker: connections go to either.
    for _ in 0..8 {
        let answer = world.gateway.get("/", &[("Authorization", &first)]);
        let event = world.gateway.check_refused("revoked", &answer, 401, "authn.revoked");
        let message = event["message"].as_str().unwrap();
        assert!(message.contains("revoked at") && message.contains("laptop stolen"), "{message}");
        assert!(!answer.text().contains("laptop"), "why is for the operator: {}", answer.text());
        assert_eq!(world.as_bearer(&second), 200);
    }
    let events = of_kind(&world.gateway.events.all(), "admin.revoke").into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["decision"], &events[0]["severity"]), (&json!("permit"), &json!("medium")));
    assert!(events[0]["message"].as_str().unwrap().contains("token first is revoked"), "{:#}", events[0]);
    check(&world.gateway, &["revoke", "lift", "token", "first"], 0);
    assert_eq!(world.as_bearer(&first), 200);
    // What makes no sense, and what is not there.
    check(&world.gateway, &["revoke", "lift", "token", "first"], 1);
    check(&world.gateway, &["revoke", "principal", "alice", "--reason", "x"], 1);
    check(&world.gateway, &["revoke", "token", "x"], 2);
    // The answer does not wait for the event.
    let failed =
        || of_kind(&world.gateway.events.all(), "admin.revoke").last().is_some_and(|it| it["decision"] == "deny");
    assert!(wait::until(PATIENCE, || failed().then_some(())).is_some(), "what failed is told");
}

#[test]
fn tokens_in_turn_over_one_connection_are_told_apart_and_a_revoked_one_is_refused_there_too() {
    let world = world("");
    let [alice, bob] = ["alice", "bob"].map(|name| world.token(name, name, -10));
    let mut connection = Conn::open(world.gateway.address);
    let mut ask = |token: &str| {
        connection.send(request("GET", "/", &[("Authorization", token)], b""));
        connection.answer().status()
    };
    for token in [&alice, &alice, &bob, &alice, &bob, &bob] {
        assert_eq!(ask(token), 200);
    }
    let forged = format!("{}x", &bob[..bob.len() - 1]);
    assert_eq!((ask(&forged), ask(&bob)), (401, 200));
    check(&world.gateway, &["revoke", "token", "bob", "--reason", "lost"], 0);
    assert_eq!((ask(&bob), ask(&alice), ask(&bob)), (401, 200, 401));
}

#[test]
fn of_a_principal_what_was_issued_later_counts_and_a_key_is_revoked_by_its_id() {
    let mut world = world("");
    let (old, new) = (world.token("alice", "old", -100), world.token("alice", "new", 0));
    let (undated, bobs) = (bearer(&world.signer, &claims("alice").without("iat")), world.token("bob", "bobs", -100));
    let minute_ago = jiff::Timestamp::now() - Duration::from_secs(50);
    let before = minute_ago.to_string();
    check(&world.gateway, &["revoke", "principal", "user:alice", "--before", &before, "--reason", "left"], 0);
    let statuses = |world: &World| [&old, &new, &undated, &bobs].map(|token| world.as_bearer(token));
    assert_eq!(statuses(&world), [401, 200, 401, 200]);
    let answer = world.gateway.get("/", &[("Authorization", &undated)]);
    let event = world.gateway.check_refused("undated", &answer, 401, "authn.revoked");
    assert!(event["message"].as_str().unwrap().contains("nobody knows when"), "{event:#}");
    // A reload changes nothing of it.
    world.gateway.reload("ok");
    assert_eq!(statuses(&world), [401, 200, 401, 200]);
    assert_eq!(world.as_robot(), 200);
    check(&world.gateway, &["revoke", "key", "robot", "--reason", "leaked"], 0);
    let answer = world.gateway.get("/", &[("X-Api-Key", &world.robot)]);
    world.gateway.check_refused("a revoked key", &answer, 401, "authn.revoked");
    // The key of a principal was issued when it was made.
    check(&world.gateway, &["revoke", "lift", "key", "robot"], 0);
    check(
        &world.gateway,
        &["revoke", "principal", "service:robot", "--before", "2025-01-01T00:00:00Z", "--reason", "x"],
        0,
    );
    assert_eq!(world.as_robot(), 200);
    check(&world.gateway, &["revoke", "principal", "service:robot", "--reason", "x"], 0);
    assert_eq!(world.as_robot(), 401);
    let listed: Value = serde_json::from_str(&check(&world.gateway, &["revoke", "list", "-o", "json"], 0)).unwrap();
    let names: Vec<_> = listed["revocations"].as_array().unwrap().iter().map(|each| each["name"].clone()).collect();
    assert_eq!(names, ["service:robot", "user:alice"]);
    assert_eq!(listed["kept"], false);
}

#[test]
fn an_open_stream_ends_within_the_bound() {
    let world = world("[limits]\nrecheck = \"1s\"\n");
    let open = |token: &str| -> Conn {
        let mut client = world.gateway.conn();
        client.send(request("GET", "/stream", &[("Authorization", token)], b""));
        assert_eq!(client.try_head().unwrap().status, 200);
        client
    };
    let (mut cut, mut kept) = (open(&world.token("alice", "cut", 0)), open(&world.token("alice", "kept", 0)));
    check(&world.gateway, &["revoke", "token", "cut", "--reason", "stolen"], 0);
    let mut last = Vec::new();
    while let Ok(more) = cut.next_bytes() {
        if more.is_empty() {
            break;
        }
        last = more;
    }
    assert!(!last.ends_with(b"0\r\n\r\n"), "an answer that was cut must not look whole");
    let event = world.gateway.refusals(1).pop().unwrap();
    assert_eq!(event["reasons"], json!(["session.terminated", "authn.revoked"]));
    assert!(!kept.next_bytes().unwrap().is_empty());
}

#[test]
fn what_was_answered_survives_a_kill() {
    let world = world("[store]\npath = \"state.db\"\n");
    let (token, other) = (world.token("alice", "gone", 0), world.token("alice", "other", 0));
    for arguments in [
        &["revoke", "token", "gone", "--reason", "x"][..],
        &["revoke", "token", "other", "--reason", "x"],
        &["revoke", "key", "robot", "--reason", "x", "--for", "1h"],
        &["revoke", "lift", "token", "other"],
    ] {
        let told = check(&world.gateway, arguments, 0);
        assert!(!told.contains("not kept"), "{told}");
    }
    let World { gateway: Gateway { site, mut process, .. }, robot, _upstream, .. } = world;
    // At once: what was answered is on the disk.
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let gateway = site.start();
    let with = |token: &str| gateway.get("/", &[("Authorization", token)]).status();
    assert_eq!((with(&token), with(&other)), (401, 200));
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 401);
    let listed: Value = serde_json::from_str(&check(&gateway, &["revoke", "list", "-o", "json"], 0)).unwrap();
    assert_eq!((listed["revocations"].as_array().unwrap().len(), &listed["kept"]), (2, &json!(true)));
}

/// Where it is set, a test that the system lets nobody run fails.
const DEMAND_ALL: &str = "PORTCULLIS_DEMAND_ALL_TESTS";

/// A disk of a few megabytes that only the gateway sees, mounted where its store is. `None`, and a line that says so: this system lets nobody mount one.
fn on_a_small_disk(folder: &Path) -> Option<Program> {
    let unshare =
        || tool("PORTCULLIS_UNSHARE", "unshare").without_env("PORTCULLIS_CONFIG").without_env("PORTCULLIS_LOG");
    let tried = unshare().args(["-rm", "sh", "-c", "mount -t tmpfs -o size=4m portcullis \"$0\""]).arg(folder);
    let tried = tried.run(PATIENCE);
    if !tried.status.success() {
        let message = format!("NOT RUN on a full disk: no file system can be mounted here: {:?}", tried.stderr);
        assert!(std::env::var_os(DEMAND_ALL).is_none(), "{DEMAND_ALL} is set. {message}");
        // Past what keeps the output of tests that pass.
        let _ = writeln!(std::io::stderr(), "{message}");
        return None;
    }
    let script = "mount -t tmpfs -o size=4m portcullis \"$0\" && exec \"$@\"";
    Some(unshare().args(["-rm", "sh", "-c", script]).arg(folder).arg(env!("CARGO_BIN_EXE_portcullis")))
}

/// Fills it to the last byte.
fn fill(folder: &Path, name: &str) {
    let mut file = std::fs::File::create(folder.join(name)).unwrap();
    for chunk in [65_536, 4_096, 512, 1] {
        let bytes = vec![0; chunk];
        let full = loop {
            if let Err(error) = file.write_all(&bytes) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }
}

#[test]
fn on_a_full_disk_a_revocation_takes_the_room_that_is_kept_and_then_is_in_force_all_the_same() {
    let upstream = upstream();
    let signer = SigningKey::es256("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "");
    site.add("[store]\npath = \"disk/state.db\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let outside = site.path("disk");
    std::fs::create_dir(&outside).unwrap();
    let Some(program) = on_a_small_disk(&outside) else { return };
    let gateway = site.start_by(program);
    let inside = PathBuf::from(format!("/proc/{}/root{}", gateway.process.pid(), outside.display()));
    let reserve = inside.join("state.db-reserve");
    assert!(reserve.exists() && !outside.join("state.db").exists(), "the store is on the small disk");
    let token = |id: &str| bearer(&signer, &claims("alice").set("jti", id).seconds_from_now("iat", 0));
    let status = |gateway: &Gateway, id: &str| gateway.get("/", &[("Authorization", &token(id))]).status();
    assert_eq!((status(&gateway, "first"), status(&gateway, "second")), (200, 200));

    // The first is written down as ever, and so are those after it: as long as there is room in the files of the store, and then by what is kept for them.
    fill(&inside, "full-1");
    let told = check(&gateway, &["revoke", "token", "first", "--reason", "stolen"], 0);
    assert!(told.contains("token first is revoked until"), "{told}");
    assert_eq!((status(&gateway, "first"), status(&gateway, "second")), (401, 200));
    let given_up = (0..400).any(|number| {
        let name = format!("more-{number}");
        check(&gateway, &["revoke", "token", &name, "--reason", &"x".repeat(128)], 0);
        !reserve.exists()
    });
    assert!(given_up, "the room is not taken");

    // The second finds no room at all.
    fill(&inside, "full-2");
    let failed = ask(&gateway, &["revoke", "token", "second", "--reason", "stolen"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let told = failed.stderr.join("\n");
    assert!(told.contains("IN THIS PROCESS ALONE") && told.contains("a restart would end it"), "{told}");
    assert_eq!((status(&gateway, "first"), status(&gateway, "second"), status(&gateway, "third")), (401, 401, 200));
    let events = gateway.events.all();
    let event = of_kind(&events, "admin.revoke").pop().unwrap();
    assert_eq!(event["decision"], "deny");
    assert!(event["message"].as_str().unwrap().contains("IN THIS PROCESS ALONE"), "{event:#}");
    let kept = || -> Vec<(String, bool)> {
        let listed: Value = serde_json::from_str(&check(&gateway, &["revoke", "list", "-o", "json"], 0)).unwrap();
        let all = listed["revocations"].as_array().unwrap().iter();
        let all = all.map(|each| (each["name"].as_str().unwrap().to_owned(), each["kept"] == true));
        all.filter(|(name, _)| !name.starts_with("more-")).collect()
    };
    assert_eq!(kept(), [("second".to_owned(), false), ("first".to_owned(), true)]);
    assert!(check(&gateway, &["revoke", "list"], 0).contains("the next restart (not written down)"));

    // There is room again: it is written down without anybody asking.
    std::fs::remove_file(inside.join("full-1")).unwrap();
    std::fs::remove_file(inside.join("full-2")).unwrap();
    let written = wait::until(PATIENCE, || kept().iter().all(|(_, kept)| *kept).then_some(()));
    assert!(written.is_some(), "{:?}", kept());
    assert_eq!(status(&gateway, "second"), 401);
    for file in ["state.db", "state.db-wal"] {
        std::fs::copy(inside.join(file), outside.join(file)).unwrap();
    }
    let Gateway { site, mut process, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let again = site.start();
    assert_eq!((status(&again, "first"), status(&again, "second"), status(&again, "third")), (401, 401, 200));
}

/// Whoever calls, and what of it is revoked how.
struct Caller {
    what: &'static str,
    headers: Vec<(&'static str, String)>,
    revoke: Vec<&'static str>,
}

impl Caller {
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// What lasts: an answer that streams, and a WebSocket with its other end.
struct Open {
    stream: Conn,
    socket: Conn,
    _upstream: TcpStream,
}

impl Open {
    fn by(gateway: &Gateway, peer: &TcpListener, headers: &[(&str, &str)]) -> Self {
        let mut stream = gateway.conn();
        stream.send(request("GET", "/stream", headers, b""));
        assert_eq!(stream.try_head().unwrap().status, 200);
        let mut socket = gateway.conn();
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        socket.send(request("GET", "/socket", &[&upgrade, headers].concat(), b""));
        let (mut upstream, _) = peer.accept().unwrap();
        upstream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            upstream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        upstream.write_all(switched.as_bytes()).unwrap();
        assert_eq!(socket.try_head().unwrap().status, 101);
        Self { stream, socket, _upstream: upstream }
    }
}

/// Reads until it ends; what came last.
fn to_end(stream: &mut Conn) -> Vec<u8> {
    let mut last = Vec::new();
    loop {
        match stream.next_bytes() {
            Ok(more) if !more.is_empty() => last = more,
            Ok(_) | Err(_) => return last,
        }
    }
}

/// Alice's cookie, once she has logged in with her password on the page that she was led to.
fn log_in(gateway: &Gateway) -> String {
    let host = gateway.address.to_string();
    let send = |method: &str, place: &str, cookie: &str, body: &str| {
        let headers = [
            ("host", host.as_str()),
            ("accept", "text/html"),
            ("cookie", cookie),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        wire::send(gateway.address, request(method, place, &headers, body.as_bytes()))
    };
    let set = |answer: &wire::Answer| {
        let pair = |line: &&str| line.split(';').next().unwrap().to_owned();
        answer.head.header_values("set-cookie").iter().map(pair).filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>()
    };
    let mut place = "/".to_owned();
    let (mut cookies, mut page) = (Vec::new(), None);
    for _ in 0..5 {
        let answer = send("GET", &place, &cookies.join("; "), "");
        cookies.extend(set(&answer));
        match answer.header("location") {
            Some(location) => place = location.to_owned(),
            None => {
                page = Some(answer);
                break;
            }
        }
    }
    let page = page.expect("a page");
    let form = page.text().split("<form").find(|piece| piece.contains("name=\"password\"")).expect("a form").to_owned();
    let value = |piece: &str, name: &str| {
        let found = piece.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
        found.map(|(value, _)| value.replace("&amp;", "&")).unwrap()
    };
    let action = value(&form, "action");
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let hidden = form.split("<input").filter(|input| input.contains("type=\"hidden\""));
    let hidden = hidden.map(|input| format!("{}={}", value(input, "name"), encoded(&value(input, "value"))));
    let body =
        hidden.chain(["name=alice".to_owned(), "password=correct+horse".to_owned()]).collect::<Vec<_>>().join("&");
    let answer = send("POST", &action, &cookies.join("; "), &body);
    let session = set(&answer).into_iter().find(|pair| pair.starts_with("portcullis-session="));
    session.unwrap_or_else(|| panic!("no session: {} {}", answer.status(), answer.text()))
}

#[test]
fn whatever_is_revoked_is_refused_at_once_and_cut_within_the_bound_on_streams_and_sockets() {
    let (upstream, peer) = (upstream(), TcpListener::bind("127.0.0.1:0").unwrap());
    let signer = SigningKey::es256("k");
    let mut site = Site::new(&upstream.url());
    site.add(&format!("[[upstream]]\nname = \"peer\"\nendpoints = [\"http://{}\"]\n", peer.local_addr().unwrap()));
    site.add("[[route]]\nname = \"socket\"\nupstream = \"peer\"\npaths = [\"/socket\"]\nupgrades = [\"websocket\"]\n");
    site.add("[[identity.password]]\nname = \"local\"\nfile = \"users.toml\"\n[identity.login]\nallow_http = true\n");
    site.accept_tokens(&[&signer], "prefix = \"t:\"\n");
    let robot = site.key("robot", "service:robot", "created = 2026-01-01T00:00:00Z");
    site.add("[limits]\nrecheck = \"1s\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let users = site.path("users.toml");
    let added = portcullis().args(["user", "add", "alice", "--file"]).arg(users).stdin("correct horse\n").run(PATIENCE);
    assert!(added.status.success(), "{added:?}");
    let gateway = site.start();

    let token = |subject: &str, id: &str| bearer(&signer, &claims(subject).set("jti", id).seconds_from_now("iat", 0));
    let witness = token("dave", "kept");
    let mut kept = Open::by(&gateway, &peer, &[("authorization", &witness)]);
    let callers = [
        Caller {
            what: "a session",
            headers: vec![("cookie", log_in(&gateway))],
            revoke: vec!["session", "revoke", "--user", "alice"],
        },
        Caller {
            what: "a key",
            headers: vec![("x-api-key", robot)],
            revoke: vec!["revoke", "key", "robot", "--reason", "x"],
        },
        Caller {
            what: "a token",
            headers: vec![("authorization", token("bob", "gone"))],
            revoke: vec!["revoke", "token", "gone", "--reason", "x"],
        },
        Caller {
            what: "a principal",
            headers: vec![("authorization", token("carol", "carols"))],
            revoke: vec!["revoke", "principal", "user:t:carol", "--reason", "x"],
        },
    ];
    for (number, caller) in callers.iter().enumerate() {
        let headers = caller.headers();
        assert_eq!(gateway.get("/", &headers).status(), 200, "{}", caller.what);
        let mut open = Open::by(&gateway, &peer, &headers);
        check(&gateway, &caller.revoke, 0);
        // From the next request on, and on every worker.
        for _ in 0..4 {
            gateway.check_refused(caller.what, &gateway.get("/", &headers), 401, "authn.revoked");
        }
        let last = to_end(&mut open.stream);
        assert!(!last.ends_with(b"0\r\n\r\n"), "{}: an answer that was cut must not look whole", caller.what);
        // 1008: the policy does not permit it any more (RFC 6455 section 7.4.1).
        let closing = to_end(&mut open.socket);
        assert_eq!(
            (closing.first(), closing.get(2..4)),
            (Some(&0x88), Some(&1008_u16.to_be_bytes()[..])),
            "{}",
            caller.what
        );
        let cut = wait::until(PATIENCE, || {
            let events = gateway.events.all();
            let cut = events.into_iter().filter(|event| event["reason"] == "session.terminated").collect::<Vec<_>>();
            (cut.len() == 2 * (number + 1)).then_some(cut)
        });
        let cut = cut.unwrap_or_else(|| panic!("{}: the two ends are no events", caller.what));
        for event in &cut[2 * number..] {
            assert_eq!(event["reasons"], json!(["session.terminated", "authn.revoked"]), "{}", caller.what);
        }
    }
    // Whoever was not revoked has noticed nothing.
    assert_eq!(gateway.get("/", &[("authorization", &witness)]).status(), 200);
    assert!(!kept.stream.next_bytes().unwrap().is_empty());
    kept.socket.send("ping");
    let mut heard = [0; 4];
    kept._upstream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
}

#[test]
fn what_is_revoked_at_one_process_is_in_force_at_the_other_and_stays_when_the_first_ends() {
    let mut world = world("[store]\npath = \"state.db\"\n");
    let (token, kept) = (world.token("alice", "gone", 0), world.token("alice", "kept", 0));
    // The second one of a takeover: on the same store.
    let config = world.gateway.site.path("portcullis.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("events.jsonl", "events-of-the-second.jsonl");
    let second_config = world.gateway.site.path("second.toml");
    std::fs::write(&second_config, text).unwrap();
    let mut second = portcullis().arg("-c").arg(&second_config).arg("run").start();
    let listening = |line: &str| line.split_once("address=")?.1.trim().parse::<SocketAddr>().ok();
    let address = second.wait_for(" listening listener=main", PATIENCE, listening);
    let at_second = |token: &str| wire::get(address, "/", &[("Authorization", token)]).status();
    assert_eq!((at_second(&token), at_second(&kept)), (200, 200));
    // An operator speaks to the first.
    check(&world.gateway, &["revoke", "token", "gone", "--reason", "stolen", "--for", "2h"], 0);
    assert_eq!(world.as_bearer(&token), 401);
    assert!(wait::until(PATIENCE, || (at_second(&token) == 401).then_some(())).is_some());
    // The second makes it no milder, and both know that.
    let ask_second = |arguments: &[&str]| portcullis().arg("-c").arg(&second_config).args(arguments).run(PATIENCE);
    let told = ask_second(&["revoke", "token", "gone", "--reason", "again", "--for", "1m"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let listed = |finished: Finished| serde_json::from_str::<Value>(&finished.stdout.join("\n")).unwrap();
    let until = |list: &Value| list["revocations"][0]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let in_an_hour = jiff::Timestamp::now() + Duration::from_secs(3_600);
    assert!(until(&listed(ask_second(&["revoke", "list", "-o", "json"]))) > in_an_hour);
    assert_eq!(world.gateway.process.stop(PATIENCE).code(), Some(0));
    assert_eq!((at_second(&token), at_second(&kept)), (401, 200));
    assert!(until(&listed(ask_second(&["revoke", "list", "-o", "json"]))) > in_an_hour);
    let told = ask_second(&["revoke", "lift", "token", "gone"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_eq!(at_second(&token), 200);
}
