//! `tls` of `[[listener]]`: what is read, and what of it cannot be used.

use portcullis_proxy::settings::ProxyProtocol;
use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::tokens::{SigningKey, jwks};

use super::{Folder, GATEWAY, GATEWAY_LINES};
use crate::{Environment, load};

/// A folder with the files of an authority, a server and a client.
fn folder() -> Folder {
    let folder = Folder::new();
    let authority = Authority::new("a test's own");
    let server = authority.issue(&[San::Host("a.test")]);
    let old = authority.issue_until(&[San::Host("old.test")], 2021);
    let other = authority.issue(&[San::Host("b.test")]);
    folder.write("ca.crt", authority.certificate());
    folder.write("ca.crl", authority.revoke(&[&other]));
    folder.write("a.crt", format!("{}{}", server.certificate, authority.certificate()));
    folder.write("a.key", &server.key);
    folder.write("b.crt", &other.certificate);
    folder.write("b.key", &other.key);
    folder.write("old.crt", &old.certificate);
    folder.write("old.key", &old.key);
    folder.write("empty", "");
    folder.write("empty-keys.toml", "version = 1\n");
    folder.write("text", "this is no certificate\n");
    folder
}

/// The least gateway file with this `tls` on its listener.
fn with(folder: &Folder, tls: &str) {
    with_more(folder, tls, "");
}

/// The same with more behind it.
fn with_more(folder: &Folder, tls: &str, more: &str) {
    let line = "address = \"127.0.0.1:8080\"\n";
    folder.write("portcullis.toml", GATEWAY.replace(line, &format!("{line}tls = {{ {tls} }}\n")) + more);
}

const PAIR: &str = "certificate = \"a.crt\", key = \"a.key\"";

/// Has every key of `tls` asked for.
pub(super) fn load_one_with_tls() {
    let folder = folder();
    let client = "client_auth = \"optional\", client_ca = \"ca.crt\"";
    let tls = format!("{PAIR}, {client}, certificates = [{{ certificate = \"b.crt\", key = \"b.key\" }}]");
    let admin = format!("[admin]\naddress = \"127.0.0.1:9091\"\nhosts = \"a.example.com\"\ntls = {{ {tls} }}\n");
    with_more(&folder, &tls, &format!("[[identity.certificate]]\nname = \"clients\"\n{admin}"));
    folder.loaded();
}

#[test]
fn tokens_that_no_certificate_can_be_bound_to_are_told() {
    let folder = folder();
    folder.write("jwks.json", jwks(&[&SigningKey::es256("k")]));
    let warnings = |tls: &str, more: &str| {
        let provider = "[[identity.jwt]]\nname = \"login\"\nissuer = \"https://a\"\naudiences = [\"a\"]\n\
                        jwks = { file = \"jwks.json\" }\n";
        with_more(&folder, tls, &format!("{provider}{more}"));
        folder.loaded().warnings.render_human(false)
    };
    let asking = format!("{PAIR}, client_auth = \"optional\", client_ca = \"ca.crt\"");
    let clients = "[[identity.certificate]]\nname = \"clients\"\n";
    for (tls, more, expected) in [
        (PAIR, "require = \"mtls\"\n".to_owned(), "no listener asks for one"),
        (PAIR, "require = \"either\"\n".to_owned(), ""),
        (&asking, "require = \"mtls\"\n".to_owned(), ""),
        (&asking, format!("require = \"mtls\"\n{clients}"), "it is a credential of its own"),
        (&asking, format!("require = \"dpop\"\n{clients}"), ""),
        (&asking, format!("require = \"mtls\"\n{clients}beside_credential = \"credential\"\n"), ""),
    ] {
        let found = warnings(tls, &more);
        assert_eq!(found.contains("no token of this provider can count"), !expected.is_empty(), "{more}: {found}");
        assert!(found.contains(expected), "{more}: {found}");
        if !expected.is_empty() {
            assert!(found.contains("W0102") && found.contains("portcullis.toml:13:8"), "{more}: {found}");
        }
    }
}

#[test]
fn a_provider_of_certificates_counts_on_the_listeners_that_ask_for_them() {
    let folder = folder();
    let asking = format!("{PAIR}, client_auth = \"optional\", client_ca = \"ca.crt\"");
    let check = |tls: &str, provider: &str, expected: &[(&str, &str, &str)]| {
        let appended = format!("[[identity.certificate]]\nname = \"clients\"\n{provider}\n");
        with_more(&folder, tls, &appended);
        folder.check(&appended, expected);
    };
    let wrong = |tls: &str, provider: &str, code: &str, line: usize, column: usize, fragment: &str| {
        // The listener has a line more than the least file.
        let place = format!("portcullis.toml:{}:{column}", GATEWAY_LINES + 1 + line);
        check(tls, provider, &[(code, &place, fragment)]);
    };
    for provider in [
        "",
        "listeners = \"internal\"",
        "listeners = [\"internal\"]\nsan = \"uri\"\nbeside_credential = \"credential\"",
    ] {
        check(&asking, provider, &[]);
        let read = folder.loaded().identity.certificate.remove(0);
        assert_eq!(read.listeners.iter().map(|each| &**each).collect::<Vec<_>>(), ["internal"], "{provider}");
        assert_eq!(read.san.len(), if provider.contains("san") { 1 } else { 3 }, "{provider}");
    }
    wrong(PAIR, "", "E0205", 2, 8, "it counts on no listener");
    wrong(PAIR, "listeners = \"internal\"", "E0203", 3, 13, "asks no client for a certificate");
    wrong(&asking, "listeners = [\"interna\"]", "E0202", 3, 14, "did you mean `internal`?");
    wrong(&asking, "listeners = []", "E0105", 3, 13, "leave it out");
    wrong(&asking, "san = []", "E0105", 3, 7, "name the kinds");
    wrong(&asking, "san = [\"cn\"]", "E0105", 3, 8, "\"uri\", \"dns\" or \"email\"");
    wrong(&asking, "san = [\"uri\", \"uri\"]", "E0205", 2, 8, "each once");
    wrong(&asking, "beside_credential = \"both\"", "E0105", 3, 21, "\"refuse\", \"certificate\" or \"credential\"");
    let second = "[[identity.certificate]]\nname = \"others\"\nprefix = \"o:\"";
    wrong(&asking, second, "E0205", 4, 8, "the listener `internal` is also one of `clients`");
    wrong(
        &asking,
        "[[identity.api_key]]\nname = \"clients\"\nheader = \"x-k\"\nfile = \"empty-keys.toml\"",
        "E0201",
        2,
        8,
        "two identity",
    );
}

#[test]
fn tls_is_read_with_every_key() {
    let folder = folder();
    for tls in [
        PAIR.to_owned(),
        format!("{PAIR}, certificates = [], min_version = \"1.3\", client_auth = \"off\""),
        format!("{PAIR}, certificates = [{{ certificate = \"b.crt\", key = \"b.key\" }}]"),
        format!("{PAIR}, client_auth = \"optional\", client_ca = \"ca.crt\""),
        format!("{PAIR}, client_auth = \"required\", client_ca = \"ca.crt\", client_crl = \"ca.crl\""),
    ] {
        with(&folder, &tls);
        let loaded = folder.loaded();
        let inbound = &loaded.proxy.inbound[0];
        assert_eq!((&*inbound.name, inbound.tls.is_some()), ("internal", true), "{tls}");
        assert!(loaded.files.iter().any(|file| file.ends_with("a.key")), "{tls}");
    }
    folder.write("portcullis.toml", GATEWAY);
    assert!(folder.loaded().proxy.inbound[0].tls.is_none());
}

#[test]
fn what_cannot_be_used_is_named_where_it_is_written() {
    let check = |tls: &str, code: &str, column: usize, fragment: &str| {
        let folder = folder();
        with(&folder, tls);
        let place = format!("portcullis.toml:5:{column}");
        folder.check(tls, &[(code, place.as_str(), fragment)]);
    };
    assert_eq!(GATEWAY_LINES, 10, "the listener's address is on line 4");
    check("certificate = \"a.crt\", key = \"none.key\"", "E0100", 38, "cannot read");
    check("certificate = \"empty\", key = \"a.key\"", "E0105", 23, "`empty` cannot be used: it holds no certificate");
    check("certificate = \"text\", key = \"a.key\"", "E0105", 23, "it must be PEM");
    check("certificate = \"a.crt\", key = \"a.crt\"", "E0105", 38, "it holds no private key");
    check("certificate = \"a.crt\", key = \"b.key\"", "E0105", 38, "does not belong to the certificate");
    check("certificate = \"a.crt\"", "E0102", 7, "`key` is missing in `tls` of [[listener]]");
    check(&format!("{PAIR}, min_version = \"1.1\""), "E0105", 61, "\"1.2\" or \"1.3\"");
    check(&format!("{PAIR}, client_auth = \"yes\""), "E0105", 61, "\"off\", \"optional\" or \"required\"");
    // Whoever wants clients verified never gets them unverified.
    check(&format!("{PAIR}, client_auth = \"required\""), "E0203", 61, "nobody could vouch for a client");
    check(&format!("{PAIR}, client_ca = \"ca.crt\""), "E0203", 59, "clients are not asked for a certificate");
    let required = format!("{PAIR}, client_auth = \"required\", client_ca");
    check(&format!("{required} = \"empty\""), "E0105", 85, "it holds no certificate");
    check(&format!("{required} = \"none\""), "E0100", 85, "cannot read");
    check(&format!("{required} = \"ca.crt\", client_crl = \"ca.crt\""), "E0105", 108, "no certificate revocation list");
}

#[test]
fn the_proxy_protocol_is_for_those_who_are_trusted() {
    let line = "address = \"127.0.0.1:8080\"\n";
    let trusting = "[client_address]\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let folder = Folder::new();
    for (written, expected) in
        [("true", ProxyProtocol::Trusted), ("false", ProxyProtocol::Off), ("\"required\"", ProxyProtocol::Required)]
    {
        let text = GATEWAY.replace(line, &format!("{line}proxy_protocol = {written}\n"));
        folder.write("portcullis.toml", format!("{text}{trusting}"));
        assert_eq!(folder.loaded().proxy.inbound[0].proxy_protocol, expected, "{written}");
    }
    let check = |written: &str, code: &str, fragment: &str| {
        folder.write("portcullis.toml", GATEWAY.replace(line, &format!("{line}proxy_protocol = {written}\n")));
        folder.check(written, &[(code, "portcullis.toml:5:18", fragment)]);
    };
    check("true", "E0203", "nobody may speak it | name the proxies in `trusted_proxies`");
    check("\"always\"", "E0105", "expected \"required\"");
    check("1", "E0104", "expected `true`, `false` or \"required\"");
}

/// An environment with a clock.
struct At(&'static str);

impl Environment for At {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn now(&self) -> Option<jiff::Timestamp> {
        self.0.parse().ok()
    }
}

#[test]
fn a_certificate_is_reported_from_the_second_behind_its_last_one() {
    let folder = folder();
    with(&folder, "certificate = \"old.crt\", key = \"old.key\"");
    let check = |now, expected: Option<&str>| {
        let loaded = load(&folder.path("portcullis.toml"), &At(now)).unwrap();
        let found = loaded.warnings.diagnostics().find(|each| each.code == "W0203").map(|each| each.message.as_str());
        assert_eq!(found, expected, "{now}");
    };
    check("2021-01-01T00:00:00Z", None);
    let message = "the certificate `old.crt` has been expired since 2021-01-01T00:00:00Z";
    check("2021-01-01T00:00:01Z", Some(message));
}

#[test]
fn no_report_shows_a_key() {
    let folder = folder();
    let key = std::fs::read_to_string(folder.path("b.key")).unwrap();
    with(&folder, "certificate = \"a.crt\", key = \"b.key\"");
    let report = folder.load().unwrap_err().render_human(false);
    assert!(report.contains("does not belong"), "{report}");
    assert!(key.lines().all(|line| !report.contains(line)), "{report}");
}
