//! Tokens that are bound to their holder: by a client certificate, or by a key that each request proves to hold. Whoever has the token and
//! not the key has nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use portcullis_testkit::certificates::{Authority, Issued, San};
use portcullis_testkit::http2::Http2;
use portcullis_testkit::process::Signal;
use portcullis_testkit::tokens::{Claims, SigningKey, sha256_base64url};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Answer, request};
use serde_json::{Value, json};

use crate::client_certificates::{Client, put};
use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims};

/// Who signs tokens, who holds one, and a gateway that accepts it.
struct World {
    gateway: Gateway,
    holder: SigningKey,
    token: String,
    upstream: Upstream,
}

fn world(provider: &str, more: &str) -> World {
    let upstream = Upstream::start();
    world_with(upstream, provider, more)
}

fn world_with(upstream: Upstream, provider: &str, more: &str) -> World {
    let (signer, holder) = (SigningKey::es256("k"), SigningKey::es256("holder"));
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], provider);
    site.add(more);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let token = signer.token(&claims("alice").set("cnf", json!({ "jkt": holder.thumbprint() })));
    let gateway = site.start();
    pass_a_second();
    World { gateway, holder, token, upstream }
}

/// Proofs that were made in the second of the start need a nonce.
fn pass_a_second() {
    let begun = jiff::Timestamp::now().as_second();
    while jiff::Timestamp::now().as_second() == begun {
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl World {
    /// The address of a path, as a client sees it.
    fn address(&self, path: &str) -> String {
        format!("http://gateway.test{path}")
    }

    fn proof(&self, path: &str) -> String {
        self.holder.proof("GET", &self.address(path), &self.token)
    }

    /// A request with the token under this scheme, and these proofs.
    fn ask(&self, path: &str, scheme: &str, proofs: &[&str]) -> Answer {
        let authorization = format!("{scheme} {}", self.token);
        let proofs = proofs.iter().map(|proof| ("DPoP", *proof));
        let headers: Vec<_> = std::iter::once(("Authorization", &*authorization)).chain(proofs).collect();
        self.gateway.get(path, &headers)
    }
}

fn challenge(answer: &Answer) -> &str {
    answer.head.header_values("www-authenticate").first().copied().unwrap_or_default()
}

#[test]
fn a_token_with_a_key_is_accepted_with_a_proof_for_each_request_and_in_no_other_way() {
    let world = world("", "");
    // The query is no part of it, and the proof does not reach the upstream.
    assert_eq!(world.ask("/a?b=c", "DPoP", &[&world.proof("/a")]).status(), 200);
    assert_eq!(world.ask("/a", "dpop", &[&world.proof("/a?ignored#too")]).status(), 200);
    for seen in world.upstream.requests() {
        assert_eq!((seen.header("authorization"), seen.header("dpop")), (None, None));
    }
    let used = world.proof("/a");
    assert_eq!(world.ask("/a", "DPoP", &[&used]).status(), 200);
    // On all workers: connections go to either.
    for _ in 0..8 {
        let answer = world.ask("/a", "DPoP", &[&used]);
        let event = world.gateway.check_refused("replayed", &answer, 401, "authn.invalid");
        assert!(event["message"].as_str().unwrap().contains("used before"), "{event:#}");
        assert_eq!(
            challenge(&answer),
            "DPoP realm=\"portcullis\", error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA RS256\""
        );
    }
    let (first, second) = (world.proof("/a"), world.proof("/a"));
    for (what, answer, reason, error) in [
        ("no proof", world.ask("/a", "DPoP", &[]), "authn.invalid", "invalid_dpop_proof"),
        ("two proofs", world.ask("/a", "DPoP", &[&first, &second]), "authn.ambiguous", "invalid_dpop_proof"),
        ("a bearer", world.ask("/a", "Bearer", &[]), "authn.invalid", "invalid_token"),
        ("a bearer with a proof", world.ask("/a", "Bearer", &[&world.proof("/a")]), "authn.invalid", "invalid_token"),
        ("another path", world.ask("/b", "DPoP", &[&world.proof("/a")]), "authn.invalid", "invalid_dpop_proof"),
    ] {
        world.gateway.check_refused(what, &answer, 401, reason);
        assert!(challenge(&answer).contains(&format!("error=\"{error}\"")), "{what}: {}", challenge(&answer));
        assert!(challenge(&answer).starts_with("DPoP "), "{what}: {}", challenge(&answer));
    }
    // None of it has used the proofs up.
    assert_eq!(world.ask("/a", "DPoP", &[&first]).status(), 200);
}

#[test]
fn each_changed_field_of_a_proof_is_refused() {
    let world = world("", "");
    let (address, thief) = (world.address("/a"), SigningKey::es256("thief"));
    let good = || Claims::proof("GET", &address, &world.token);
    let header = |name: &str, value: Value| {
        let mut header = world.holder.proof_header();
        header[name] = value;
        world.holder.token_with(&header, &good())
    };
    let claims = |claims: Claims| world.holder.token_with(&world.holder.proof_header(), &claims);
    let with_private_key = {
        let mut header = world.holder.proof_header();
        header["jwk"]["d"] = json!("canary-private");
        world.holder.token_with(&header, &good())
    };
    for (what, proof, reason) in [
        ("typ", header("typ", json!("JWT")), "authn.invalid"),
        ("alg none", header("alg", json!("none")), "authn.invalid"),
        ("alg of another key", header("alg", json!("EdDSA")), "authn.invalid"),
        ("alg HS256", header("alg", json!("HS256")), "authn.invalid"),
        ("crit", header("crit", json!(["b64"])), "authn.invalid"),
        ("jku", header("jku", json!("https://evil.test")), "authn.invalid"),
        ("no jwk", header("jwk", json!(null)), "authn.invalid"),
        ("a private jwk", with_private_key, "authn.invalid"),
        ("another jwk", header("jwk", thief.proof_header()["jwk"].clone()), "authn.invalid"),
        ("a thief's proof", thief.proof("GET", &address, &world.token), "authn.invalid"),
        ("a forged signature", thief.token_with(&world.holder.proof_header(), &good()), "authn.invalid"),
        ("htm", claims(good().set("htm", "POST")), "authn.invalid"),
        ("htm in lower case", claims(good().set("htm", "get")), "authn.invalid"),
        ("htu of another scheme", claims(good().set("htu", "https://gateway.test/a")), "authn.invalid"),
        ("htu of another host", claims(good().set("htu", "http://other.test/a")), "authn.invalid"),
        ("htu of another port", claims(good().set("htu", "http://gateway.test:81/a")), "authn.invalid"),
        ("htu of another path", claims(good().set("htu", format!("{address}/"))), "authn.invalid"),
        ("a relative htu", claims(good().set("htu", "/a")), "authn.invalid"),
        ("ath", claims(good().set("ath", sha256_base64url(b"another token"))), "authn.invalid"),
        ("no ath", claims(good().without("ath")), "authn.invalid"),
        ("no jti", claims(good().without("jti")), "authn.invalid"),
        ("no iat", claims(good().without("iat")), "authn.invalid"),
        ("an old iat", claims(good().seconds_from_now("iat", -120)), "authn.expired"),
        ("an iat ahead", claims(good().seconds_from_now("iat", 120)), "authn.not_yet_valid"),
        ("garbage", "canary-proof".to_owned(), "authn.invalid"),
    ] {
        let answer = world.ask("/a", "DPoP", &[&proof]);
        world.gateway.check_refused(what, &answer, 401, reason);
        assert!(challenge(&answer).contains("invalid_dpop_proof"), "{what}: {}", challenge(&answer));
    }
    assert_eq!(world.ask("/a", "DPoP", &[&claims(good())]).status(), 200);
    // Nothing that proves anything was written down.
    let written = world.gateway.events.text();
    let x = world.holder.jwk()["x"].as_str().unwrap().to_owned();
    for secret in ["canary", &x, &world.token, world.token.rsplit('.').next().unwrap()] {
        assert!(!written.contains(secret), "an event holds {secret}");
    }
}

#[test]
fn a_provider_may_demand_that_its_tokens_are_bound() {
    let unbound = SigningKey::es256("k");
    let upstream = Upstream::start();
    for (demanded, challenges) in [
        ("dpop", "DPoP realm=\"portcullis\", algs=\"ES256\""),
        ("either", "Bearer realm=\"portcullis\""),
        ("mtls", "Bearer realm=\"portcullis\""),
    ] {
        let mut site = Site::new(&upstream.url());
        site.accept_tokens(&[&unbound], &format!("require = \"{demanded}\"\n"));
        site.add("[identity.dpop]\nalgorithms = \"ES256\"\n");
        site.policy(&[AUTHENTICATED, NO_BANS].concat());
        let gateway = site.start();
        let answer = gateway.get("/", &[("Authorization", &bearer(&unbound, &claims("alice")))]);
        let event = gateway.check_refused("unbound", &answer, 401, "authn.invalid");
        assert!(event["message"].as_str().unwrap().contains("must be bound"), "{event:#}");
        let missing = gateway.get("/", &[]);
        gateway.check_refused("nothing", &missing, 401, "authn.missing");
        assert_eq!(challenge(&missing), challenges);
        let both = missing.head.header_values("www-authenticate");
        assert_eq!(both.len(), if demanded == "either" { 2 } else { 1 }, "{both:?}");
    }
}

#[test]
fn a_nonce_is_asked_for_and_then_good() {
    let world = world("require = \"dpop\"\n", "[identity.dpop]\nnonce = true\n");
    let answer = world.ask("/a", "DPoP", &[&world.proof("/a")]);
    // It happens to everybody once, and bans nobody.
    world.gateway.check_refused("no nonce yet", &answer, 401, "authn.expired");
    assert!(challenge(&answer).contains("error=\"use_dpop_nonce\""), "{}", challenge(&answer));
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let with = |nonce: &str| {
        let claims = Claims::proof("GET", &world.address("/a"), &world.token).set("nonce", nonce);
        world.ask("/a", "DPoP", &[&world.holder.token_with(&world.holder.proof_header(), &claims)])
    };
    for _ in 0..3 {
        assert_eq!(with(&nonce).status(), 200);
    }
    let answer = with("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    world.gateway.check_refused("a made-up nonce", &answer, 401, "authn.expired");
    assert_eq!(with(answer.header("dpop-nonce").unwrap()).status(), 200);
}

#[test]
fn where_no_further_proof_can_be_remembered_nobody_knows_and_nobody_gets_in() {
    let world = world("", "[identity.dpop]\nremembered = 16\n");
    let first = world.proof("/a");
    assert_eq!(world.ask("/a", "DPoP", &[&first]).status(), 200);
    // One holder has an eighth of the places.
    assert_eq!(world.ask("/a", "DPoP", &[&world.proof("/a")]).status(), 200);
    let answer = world.ask("/a", "DPoP", &[&world.proof("/a")]);
    let event = world.gateway.check_refused("no room", &answer, 503, "dependency.store_unavailable");
    assert_eq!(event["decision"], "undecided");
    assert!(event["message"].as_str().unwrap().contains("remembered"), "{event:#}");
    world.gateway.check_refused("still a replay", &world.ask("/a", "DPoP", &[&first]), 401, "authn.invalid");
}

#[test]
fn a_used_proof_stays_used_over_a_reload_and_a_stream_needs_no_further_one() {
    let speaker = Upstream::choosing(|_| Reply::drip(&[&b"tick\n"[..]; 1_200], Duration::from_millis(50)));
    let mut world = world_with(speaker, "", "[limits]\nrecheck = \"1s\"\n");
    let used = world.proof("/stream");
    let mut client = world.gateway.conn();
    let authorization = format!("DPoP {}", world.token);
    client.send(request("GET", "/stream", &[("Authorization", &authorization), ("DPoP", &used)], b""));
    assert_eq!(client.try_head().unwrap().status, 200);
    world.gateway.reload("ok");
    let answer = world.ask("/stream", "DPoP", &[&used]);
    world.gateway.check_refused("after a reload", &answer, 401, "authn.invalid");
    // Decided on again several times meanwhile.
    let mut heard = String::new();
    while heard.matches("tick").count() < 60 {
        let more = client.next_bytes().unwrap();
        assert!(!more.is_empty(), "ended after {} words", heard.matches("tick").count());
        heard.push_str(&String::from_utf8_lossy(&more));
    }
}

#[test]
fn a_proof_of_before_a_restart_is_good_with_a_nonce_of_the_new_process_alone() {
    let world = world("", "[store]\npath = \"state.db\"\n");
    let (used, unused) = (world.proof("/a"), world.proof("/a"));
    assert_eq!(world.ask("/a", "DPoP", &[&used]).status(), 200);
    let World { gateway: Gateway { site, mut process, .. }, holder, token, upstream } = world;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let world = World { gateway: site.start(), holder, token, upstream };
    // Which proofs were used nobody knows any more.
    for proof in [&used, &unused] {
        let answer = world.ask("/a", "DPoP", &[proof]);
        world.gateway.check_refused("of before", &answer, 401, "authn.expired");
        assert!(challenge(&answer).contains("error=\"use_dpop_nonce\""), "{}", challenge(&answer));
        let nonce = answer.header("dpop-nonce").unwrap().to_owned();
        // What a client's library does by itself, also where its clock is behind.
        let claims = Claims::proof("GET", &world.address("/a"), &world.token).set("nonce", nonce);
        let again = world.holder.token_with(&world.holder.proof_header(), &claims.seconds_from_now("iat", -20));
        assert_eq!(world.ask("/a", "DPoP", &[&again]).status(), 200);
        world.gateway.check_refused("again", &world.ask("/a", "DPoP", &[&again]), 401, "authn.invalid");
    }
    // And from the next second on nobody is asked for one.
    pass_a_second();
    assert_eq!(world.ask("/a", "DPoP", &[&world.proof("/a")]).status(), 200);
    // A process that was killed may run still, as far as the next one knows: proofs need a nonce for as long as it would drain.
    let World { gateway: Gateway { site, mut process, .. }, holder, token, upstream } = world;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let world = World { gateway: site.start(), holder, token, upstream };
    pass_a_second();
    let answer = world.ask("/a", "DPoP", &[&world.proof("/a")]);
    assert!(challenge(&answer).contains("error=\"use_dpop_nonce\""), "{} {}", answer.status(), challenge(&answer));
}

#[test]
fn proofs_are_asked_for_over_http2_and_for_tunnels_too() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "[[upstream]]\nname = \"peer\"\nendpoints = [\"http://{}\"]\n\
         [[route]]\nname = \"socket\"\nupstream = \"peer\"\npaths = [\"/socket\"]\nupgrades = [\"websocket\"]\n\
         [limits]\nrecheck = \"1s\"\n",
        peer.local_addr().unwrap()
    );
    let world = world("", &more);
    let authorization = format!("DPoP {}", world.token);
    // Each stream of one connection has a proof of its own; none is good on two of them.
    let mut client = Http2::open(world.gateway.address);
    let (first, second) = (world.proof("/a"), world.proof("/a"));
    let mut over_http2 = |proof: &str| client.get("/a", &[("authorization", &authorization), ("dpop", proof)]);
    assert_eq!((over_http2(&first).status(), over_http2(&second).status()), (200, 200));
    for (what, proof, fragment) in [
        ("used", first.clone(), "used before"),
        ("for another path", world.proof("/b"), "the proof is for"),
        ("for another method", world.holder.proof("POST", &world.address("/a"), &world.token), "for the method"),
    ] {
        let answer = over_http2(&proof);
        assert_eq!((answer.status(), answer.json()["reason"].as_str()), (401, Some("authn.invalid")), "{what}");
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_dpop_proof"), "{what}");
        let event = world.gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
        assert!(event["message"].as_str().unwrap().contains(fragment), "{what}: {event:#}");
    }
    // A proof that was used over HTTP/1 is used.
    let third = world.proof("/a");
    assert_eq!(world.ask("/a", "DPoP", &[&third]).status(), 200);
    assert_eq!(over_http2(&third).status(), 401);
    // A tunnel is begun with a proof, and goes on without a further one.
    let upgrade = |proof: &str| {
        let mut client = world.gateway.conn();
        let headers = [
            ("authorization", authorization.as_str()),
            ("dpop", proof),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        client.send(request("GET", "/socket", &headers, b""));
        client
    };
    let proof = world.proof("/socket");
    let mut tunnel = upgrade(&proof);
    let (mut upstream, _) = peer.accept().unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.write_all(switched.as_bytes()).unwrap();
    assert_eq!(tunnel.try_head().unwrap().status, 101);
    let replayed = upgrade(&proof).answer();
    world.gateway.check_refused("a replayed tunnel", &replayed, 401, "authn.invalid");
    // It is decided on again meanwhile, more than once.
    std::thread::sleep(Duration::from_millis(2_500));
    tunnel.send("ping");
    let mut heard = Vec::new();
    while !heard.ends_with(b"ping") {
        let mut byte = [0];
        upstream.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert!(world.gateway.events.all().iter().all(|event| event["reason"] != "session.terminated"));
}

/// The SHA-256 of a certificate as a token has it (RFC 8705 section 3.1).
fn hash_of(issued: &Issued) -> String {
    let pem: String = issued.certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    sha256_base64url(&data_encoding::BASE64.decode(pem.as_bytes()).unwrap())
}

#[test]
fn a_token_with_a_certificate_is_good_on_a_connection_with_that_certificate_alone() {
    let upstream = Upstream::start();
    let (authority, signer) = (Authority::new("a test's own"), SigningKey::es256("k"));
    let mut site = Site::new(&upstream.url());
    site.file("ca.crt", &authority.certificate());
    site.file("ca.crl", &authority.revoke(&[]));
    put(&site, "server", &authority.issue(&[San::Host("a.test")]));
    site.listen_with(
        "tls = { certificate = \"server.crt\", key = \"server.key\", client_auth = \"optional\", client_ca = \"ca.crt\", \
         client_crl = \"ca.crl\" }",
    );
    site.accept_tokens(&[&signer], "require = \"mtls\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let (own, other) = (authority.issue(&[San::Host("own.test")]), authority.issue(&[San::Host("other.test")]));
    put(&site, "own", &own);
    put(&site, "other", &other);
    let mut gateway = site.start();
    let bound = bearer(&signer, &claims("alice").set("cnf", json!({ "x5t#S256": hash_of(&own) })));
    let headers = [("Authorization", &*bound)];
    let holder = Client::of(&gateway, gateway.address, "own");
    assert_eq!(holder.get("/", &headers).status(), 200);
    let thief = Client::of(&gateway, gateway.address, "other");
    let event = gateway.check_refused("another certificate", &thief.get("/", &headers), 401, "authn.invalid");
    assert!(event["message"].as_str().unwrap().contains("another client certificate"), "{event:#}");
    let nobody = Client::of(&gateway, gateway.address, "");
    gateway.check_refused("no certificate", &nobody.get("/", &headers), 401, "authn.certificate_required");
    let unbound = bearer(&signer, &claims("alice"));
    let answer = holder.get("/", &[("Authorization", &unbound)]);
    gateway.check_refused("a bearer token", &answer, 401, "authn.invalid");
    // A certificate that was withdrawn proves nothing any more.
    gateway.site.file("ca.crl", &authority.revoke(&[&own]));
    let mut open = holder.conn();
    assert_eq!(crate::client_certificates::ask(&mut open, "/", &headers).status(), 200);
    gateway.reload("ok");
    let answer = crate::client_certificates::ask(&mut open, "/", &headers);
    gateway.check_refused("a revoked certificate", &answer, 401, "authn.certificate_required");
}
