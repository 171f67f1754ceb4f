//! TLS on a listener, as curl and openssl meet it.

use portcullis_testkit::certificates::{Authority, Issued, San};
use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};

use crate::harness::{Gateway, Site, tool};

/// A site whose listener speaks TLS with `a.test`'s certificate and `more`.
fn site(upstream: &Upstream, authority: &Authority, more: &str) -> Site {
    let mut site = Site::new(&upstream.url());
    site.file("ca.crt", &authority.certificate());
    put(&site, "a", &authority.issue(&[San::Host("a.test")]));
    put(&site, "b", &authority.issue(&[San::Host("b.test"), San::Host("*.b.test")]));
    site.listen_with(&format!("tls = {{ certificate = \"a.crt\", key = \"a.key\"{more} }}"));
    site
}

fn put(site: &Site, name: &str, issued: &Issued) {
    site.file(&format!("{name}.crt"), &issued.certificate);
    site.file(&format!("{name}.key"), &issued.key);
}

/// What curl makes of a request: its exit code, and the status and body that it prints.
fn curl(gateway: &Gateway, host: &str, more: &[&str]) -> Finished {
    let port = gateway.address.port();
    let authority = gateway.site.path("ca.crt");
    tool("PORTCULLIS_CURL", "curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code} %{http_version}",
            "--cacert",
        ])
        .arg(authority)
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{host}:{port}/hello"))
        .run(PATIENCE)
}

#[track_caller]
fn answered(finished: &Finished, status: &str) {
    let last = finished.stdout.last().map(String::as_str);
    assert_eq!(last, Some(status), "{:?} {:?}", finished.stdout, finished.stderr);
}

#[test]
fn a_server_name_chooses_the_certificate_and_the_upstream_hears_of_https() {
    let upstream = Upstream::start();
    let more = ", certificates = [{ certificate = \"b.crt\", key = \"b.key\" }]";
    let gateway = site(&upstream, &Authority::new("a test's own"), more).start();
    for (count, host) in ["a.test", "b.test", "x.b.test"].into_iter().enumerate() {
        answered(&curl(&gateway, host, &["--http1.1"]), "200 1.1");
        let seen = upstream.wait_for_requests(count + 1);
        assert_eq!(seen[count].header("x-forwarded-proto"), Some("https"), "{host}");
    }
    // The default certificate is not one for this name: curl is the one who refuses.
    let refused = curl(&gateway, "c.test", &["--http1.1"]);
    assert_eq!(refused.status.code(), Some(60), "{:?}", refused.stderr);
}

#[test]
fn http2_is_offered_and_held_to_the_server_of_the_handshake() {
    let upstream = Upstream::start();
    let more = ", certificates = [{ certificate = \"b.crt\", key = \"b.key\" }]";
    let gateway = site(&upstream, &Authority::new("a test's own"), more).start();
    answered(&curl(&gateway, "a.test", &[]), "200 2");
    answered(&curl(&gateway, "a.test", &["--header", "host: A.test."]), "200 2");
    answered(&curl(&gateway, "a.test", &["--header", "host: b.test"]), "421 2");
    answered(&curl(&gateway, "a.test", &["--http1.1"]), "200 1.1");
    let seen = upstream.wait_for_requests(3);
    assert_eq!(seen[0].header("x-forwarded-proto"), Some("https"));
}

#[test]
fn where_http2_is_switched_off_it_is_not_offered() {
    let upstream = Upstream::start();
    let mut site = site(&upstream, &Authority::new("a test's own"), "");
    site.listen_with("http2 = false");
    answered(&curl(&site.start(), "a.test", &[]), "200 1.1");
}

#[test]
fn a_host_that_is_not_the_server_of_the_handshake_is_misdirected() {
    let upstream = Upstream::start();
    let more = ", certificates = [{ certificate = \"b.crt\", key = \"b.key\" }]";
    let gateway = site(&upstream, &Authority::new("a test's own"), more).start();
    answered(&curl(&gateway, "a.test", &["--http1.1", "--header", "host: A.test."]), "200 1.1");
    answered(&curl(&gateway, "a.test", &["--http1.1", "--header", "host: b.test"]), "421 1.1");
    let events = gateway.stop();
    let refused: Vec<_> = events.iter().filter(|event| event["kind"] == "access.denied").collect();
    assert_eq!(refused.len(), 1, "{events:#?}");
    assert_eq!((&refused[0]["reason"], &refused[0]["status"]), (&"request.host_invalid".into(), &421.into()));
    assert_eq!(refused[0]["request"]["scheme"], "https");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn with_one_certificate_and_no_client_auth_any_host_may_be_asked_for() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, &Authority::new("a test's own"), "").start();
    answered(&curl(&gateway, "a.test", &["--http1.1", "--header", "host: b.test"]), "200 1.1");
}

#[test]
fn clients_show_a_certificate_that_holds_or_do_not_get_in() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let more = ", client_auth = \"required\", client_ca = \"ca.crt\", client_crl = \"ca.crl\"";
    let strict = site(&upstream, &authority, more);
    let (good, revoked) = (authority.issue(&[San::Uri("spiffe://a/b")]), authority.issue(&[San::Uri("spiffe://a/c")]));
    put(&strict, "good", &good);
    put(&strict, "revoked", &revoked);
    put(&strict, "expired", &authority.issue_until(&[San::Uri("spiffe://a/d")], 2021));
    put(&strict, "strange", &Authority::new("another").issue(&[San::Uri("spiffe://a/b")]));
    strict.file("ca.crl", &authority.revoke(&[&revoked]));
    let gateway = strict.start();
    let with = |gateway: &Gateway, name: &str| {
        let path = |end: &str| gateway.site.path(&format!("{name}.{end}")).display().to_string();
        curl(gateway, "a.test", &["--http1.1", "--cert", &path("crt"), "--key", &path("key")])
    };
    answered(&with(&gateway, "good"), "200 1.1");
    for name in ["revoked", "expired", "strange"] {
        let finished = with(&gateway, name);
        assert_ne!(finished.status.code(), Some(0), "{name}: {:?}", finished.stdout);
    }
    let without = curl(&gateway, "a.test", &["--http1.1"]);
    assert_ne!(without.status.code(), Some(0), "{:?}", without.stdout);
    // The connection is closed first, and counted then.
    let counted = |gateway: &Gateway, count: f64| {
        let counted = || gateway.metric("portcullis_tls_handshakes_failed_total").filter(|failed| *failed == count);
        assert!(wait::until(PATIENCE, counted).is_some());
    };
    counted(&gateway, 4.0);
    assert_eq!(upstream.requests().len(), 1);
    // Nor does a client that says nothing hold its place.
    let mut impatient = site(&upstream, &authority, "");
    impatient.add("[limits]\ntls_handshake_timeout = \"300ms\"\n");
    let gateway = impatient.start();
    assert!(gateway.conn().closed_within(PATIENCE));
    counted(&gateway, 1.0);
}

#[test]
fn a_reload_takes_a_new_certificate_and_keeps_the_old_one_where_the_new_one_is_bad() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let mut gateway = site(&upstream, &authority, "").start();
    answered(&curl(&gateway, "a.test", &["--http1.1"]), "200 1.1");
    put(&gateway.site, "a", &authority.issue(&[San::Host("new.test")]));
    gateway.reload("ok");
    answered(&curl(&gateway, "new.test", &["--http1.1"]), "200 1.1");
    assert_eq!(curl(&gateway, "a.test", &["--http1.1"]).status.code(), Some(60));
    gateway.site.file("a.key", &authority.issue(&[San::Host("a.test")]).key);
    gateway.reload("error");
    answered(&curl(&gateway, "new.test", &["--http1.1"]), "200 1.1");
}

#[test]
fn the_oldest_version_is_the_one_that_was_set() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let speaks = |gateway: &Gateway, version: &str| {
        let finished = tool("PORTCULLIS_OPENSSL", "openssl")
            .args(["s_client", "-connect", &gateway.address.to_string(), "-servername", "a.test", version, "-brief"])
            .args(["-verify_return_error", "-CAfile"])
            .arg(gateway.site.path("ca.crt"))
            .run(PATIENCE);
        finished.status.success()
    };
    let usual = site(&upstream, &authority, "").start();
    assert!(speaks(&usual, "-tls1_2") && speaks(&usual, "-tls1_3"));
    assert!(!speaks(&usual, "-tls1_1"));
    let strict = site(&upstream, &authority, ", min_version = \"1.3\"").start();
    assert!(!speaks(&strict, "-tls1_2"));
    assert!(speaks(&strict, "-tls1_3"));
}
