use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

use super::*;
use crate::remote::Patience;
use crate::settings::{ApiKeyProvider, Settings};
use crate::{Authenticator, Presenting};

/// A certificate with these names, each written as `kind:name`, valid in 2025 and 2026.
fn certificate(names: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| san(name)).collect();
    params.distinguished_name.push(DnType::CommonName, "common.example");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn san(name: &str) -> SanType {
    let (kind, name) = name.split_once(' ').unwrap();
    match kind {
        "uri" => SanType::URI(name.try_into().unwrap()),
        "dns" => SanType::DnsName(name.try_into().unwrap()),
        "email" => SanType::Rfc822Name(name.try_into().unwrap()),
        "ip" => SanType::IpAddress(name.parse().unwrap()),
        other => panic!("{other} is no kind of name"),
    }
}

fn provider(name: &str, listener: &str, prefix: &str) -> CertificateProvider {
    CertificateProvider {
        name: name.into(),
        listeners: vec![listener.into()],
        san: SanKind::ALL.to_vec(),
        prefix: prefix.into(),
        beside_credential: BesideCredential::Refuse,
    }
}

fn authenticator(certificate: Vec<CertificateProvider>) -> Authenticator {
    let api_key =
        vec![ApiKeyProvider { name: "keys".into(), header: HeaderName::from_static("x-api-key"), keys: Vec::new() }];
    Authenticator::new(Settings { certificate, api_key, ..Settings::default() }).unwrap()
}

fn noon() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// The principal's id, or the code and the detail of the rejection.
fn told(identity: &Identity) -> String {
    match identity {
        Identity::Verified(principal) => principal.reference(),
        Identity::Rejected(rejection) => format!("{:?}: {}", rejection.problem.kind, rejection.problem.detail),
        Identity::Anonymous | Identity::Unavailable(..) | Identity::Unchecked(_) => format!("{identity:?}"),
    }
}

/// What a certificate says to a provider of all kinds, at noon.
fn read(provider: CertificateProvider, der: &[u8]) -> String {
    let listener = provider.listeners[0].to_string();
    let identity = authenticator(vec![provider]).certificate_identity(&listener, &ClientCertificate::read(der), Ok(()));
    told(&identity.unwrap().at(noon()))
}

#[test]
fn the_one_name_of_the_preferred_kind_is_the_principal() {
    let all = ["dns a.example", "email Zoe@A.Example", "uri spiffe://td/ns/a", "ip 192.0.2.1"];
    let check = |san: &[SanKind], names: &[&str], expected: &str| {
        let provider = CertificateProvider { san: san.to_vec(), ..provider("mesh", "in", "") };
        assert_eq!(read(provider, &certificate(names)), expected, "{san:?} {names:?}");
    };
    check(&SanKind::ALL, &all, "certificate:spiffe://td/ns/a");
    check(&SanKind::ALL, &all[..2], "certificate:a.example");
    check(&[SanKind::Email, SanKind::Uri], &all, "certificate:Zoe@a.example");
    check(&SanKind::ALL, &["dns A.Example"], "certificate:a.example");
    // The same name twice is one name; a kind that is not asked for may be there in any number and shape.
    check(&[SanKind::Dns], &["dns a.example", "dns A.example", "uri x:1", "uri x:2"], "certificate:a.example");
    check(&[SanKind::Uri], &["dns *.a.example", "dns b.example", "uri URN:a"], "certificate:URN:a");
}

#[test]
fn what_names_nobody_or_several_is_no_credential() {
    let check = |names: &[&str], problem: &str| {
        let expected = format!("CertificateInvalid: the client certificate is no credential: {problem}");
        assert_eq!(read(provider("mesh", "in", ""), &certificate(names)), expected, "{names:?}");
    };
    let none = "it has no subject alternative name of kind uri, dns, email";
    check(&[], none);
    check(&["ip 192.0.2.1"], none);
    check(&["uri a:1", "uri a:2"], "it has several uri names; `a:1` is one of them");
    check(&["dns a.example", "dns b.example"], "it has several dns names; `a.example` is one of them");
    check(&["dns *.example"], "its dns name is a wildcard");
    // The preferred kind decides, also where it is of no use: a good name of another kind does not make up for it.
    check(&["uri relative", "dns a.example"], "its uri name is not absolute");
    check(&["uri a b:c"], "its uri name is not visible ASCII");
    check(&["uri "], "its uri name is empty");
    check(&["uri a:\u{1}"], "its uri name is not visible ASCII");
    check(&["email @a.example"], "its email name is no address of mail");
    check(&["email nobody"], "its email name is no address of mail");
    let long = format!("uri a:{}", "x".repeat(255));
    check(&[&long], "its uri name is longer than 256 bytes");
    let many: Vec<String> = (0..65).map(|number| format!("ip 192.0.2.{number}")).collect();
    check(&many.iter().map(String::as_str).collect::<Vec<_>>(), "it has more than 64 names");
    let longest = format!("uri a:{}", "x".repeat(254));
    assert!(read(provider("mesh", "in", ""), &certificate(&[&longest])).starts_with("certificate:a:xxx"));
}

#[test]
fn each_authority_has_its_own_names() {
    let der = certificate(&["uri partner:a"]);
    let certificate = ClientCertificate::read(&der);
    let both = authenticator(vec![provider("own", "inside", ""), provider("partner", "outside", "partner:")]);
    let said = |listener: &str| {
        both.certificate_identity(listener, &certificate, Ok(())).map(|identity| told(&identity.at(noon())))
    };
    assert_eq!(said("outside").unwrap(), "certificate:partner:partner:a");
    let refused = said("inside").unwrap();
    assert!(refused.starts_with("CertificateInvalid") && refused.contains("prefix `partner:`"), "{refused}");
    assert_eq!(said("elsewhere"), None, "nobody reads certificates there");
}

#[test]
fn a_certificate_counts_from_its_first_second_to_its_last() {
    let identity = authenticator(vec![provider("mesh", "in", "")])
        .certificate_identity("in", &ClientCertificate::read(&certificate(&["uri a:1"])), Ok(()))
        .unwrap();
    for (at, expected) in [
        ("2024-12-31T23:59:59Z", "NotYetValid: the client certificate is not valid yet"),
        ("2025-01-01T00:00:00Z", "certificate:a:1"),
        ("2027-01-01T00:00:00.9Z", "certificate:a:1"),
        ("2027-01-01T00:00:01Z", "Expired: the client certificate has expired"),
    ] {
        assert_eq!(told(&identity.at(at.parse().unwrap())), expected, "{at}");
    }
}

#[test]
fn what_is_not_vouched_for_any_more_is_refused_whatever_its_name() {
    let problem = ChainProblem { kind: Kind::Revoked, detail: "revoked since".to_owned() };
    let certificate = ClientCertificate::read(&certificate(&["uri a:1"]));
    let identity =
        authenticator(vec![provider("mesh", "in", "")]).certificate_identity("in", &certificate, Err(problem));
    assert_eq!(told(&identity.unwrap().at(noon())), "Revoked: revoked since");
}

#[test]
fn a_header_beside_a_certificate_is_refused_or_has_its_fixed_place() {
    let der = certificate(&["uri a:1"]);
    let certificate = ClientCertificate::read(&der);
    let check = |beside_credential, key: Option<&str>, certificate_only, expected: &str| {
        let authenticator =
            authenticator(vec![CertificateProvider { beside_credential, ..provider("mesh", "in", "") }]);
        let identity = authenticator.certificate_identity("in", &certificate, Ok(())).unwrap();
        let mut headers = HeaderMap::new();
        // Nobody reads tokens, so `Authorization` is none of the gateway's credentials.
        headers.insert("authorization", HeaderValue::from_static("Bearer x"));
        key.map(|key| headers.insert("x-api-key", HeaderValue::from_str(key).unwrap()));
        let nothing = Presenting::nothing(Patience::Request);
        let found = told(
            &authenticator.authenticate_connection(&headers, &identity, certificate_only, noon(), &nothing).settled(),
        );
        assert!(found.starts_with(expected), "{beside_credential:?} {key:?}: {found}");
    };
    use BesideCredential::{Certificate, Credential, Refuse};
    for beside in [Refuse, Certificate, Credential] {
        check(beside, None, false, "certificate:a:1");
        check(beside, None, true, "certificate:a:1");
    }
    for key in ["pcl_x", ""] {
        check(Refuse, Some(key), false, "Ambiguous: a client certificate, and a credential in `x-api-key`");
        check(Refuse, Some(key), true, "Ambiguous");
        check(Certificate, Some(key), false, "certificate:a:1");
        check(Credential, Some(key), false, "Invalid");
        check(Credential, Some(key), true, "certificate:a:1");
    }
}

#[test]
fn settings_that_would_mix_up_authorities_are_refused() {
    let problems = |certificate: Vec<CertificateProvider>| {
        let errors = Authenticator::new(Settings { certificate, ..Settings::default() }).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let one = || provider("one", "a", "");
    let check = |providers: Vec<CertificateProvider>, expected: &str| {
        let found = problems(providers);
        assert!(found.contains(expected), "{found}");
    };
    check(vec![one(), provider("one", "b", "b:")], "the name is taken");
    check(vec![one(), provider("two", "b", "")], "`two`: the prefix `` is also that of `one`");
    check(vec![one(), provider("two", "a", "b:")], "`two`: the listener `a` is also one of `one`");
    check(vec![CertificateProvider { listeners: Vec::new(), ..one() }], "counts on no listener");
    check(vec![CertificateProvider { san: Vec::new(), ..one() }], "each once");
    check(vec![CertificateProvider { san: vec![SanKind::Uri, SanKind::Uri], ..one() }], "each once");
    check(vec![CertificateProvider { prefix: "a\nb".into(), ..one() }], "control character");
}

#[test]
fn the_subject_and_the_hash_are_for_events() {
    let der = certificate(&[]);
    let read = ClientCertificate::read(&der);
    assert_eq!(read.subject(), Some("CN=common.example"));
    assert_eq!(read.sha256().len(), 64);
    assert_ne!(read.sha256(), ClientCertificate::read(b"garbage").sha256());
    assert_eq!(ClientCertificate::read(b"garbage").subject(), None);
    let long = {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ä".repeat(1_000));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    assert!(ClientCertificate::read(&long).subject().is_some_and(|subject| (500..=512).contains(&subject.len())));
}

/// One change of some bytes: a byte replaced, some cut out, some doubled, or all cut off.
#[derive(Debug, Clone)]
enum Change {
    Put(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        6 => (place(), any::<u8>()).prop_map(|(at, byte)| Change::Put(at, byte)),
        1 => (place(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (place(), 1..40_usize).prop_map(|(at, length)| Change::Double(at, length)),
        1 => place().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes.iter().filter(|_| !bytes.is_empty()).cloned().collect::<Vec<_>>() {
        if bytes.is_empty() {
            break;
        }
        let range = |at: prop::sample::Index, length: usize| {
            let from = at.index(bytes.len());
            from..(from + length).min(bytes.len())
        };
        match change {
            Change::Put(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Change::Remove(at, length) => drop(bytes.drain(range(at, length))),
            Change::Double(at, length) => {
                let range = range(at, length);
                let piece = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, piece);
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

proptest! {
    /// Whatever a certificate becomes, reading it ends, and who it names is in it and fit for a policy and a log.
    #[test]
    fn a_changed_certificate_names_nobody_or_somebody_who_is_written_in_it(
        changes in prop::collection::vec(change(), 1..6),
        kind in prop::sample::select(SanKind::ALL.to_vec()),
    ) {
        static ORIGINAL: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| certificate(&["uri spiffe://td/a", "dns a.example", "email z@a.example"]));
        let der = changed(ORIGINAL.clone(), &changes);
        let read = ClientCertificate::read(&der);
        prop_assert!(read.subject().is_none_or(|subject| subject.len() <= MAX_SUBJECT_BYTES));
        let provider = CertificateProvider { san: vec![kind], ..provider("mesh", "in", "") };
        let identity = authenticator(vec![provider]).certificate_identity("in", &read, Ok(())).unwrap();
        match identity.at(noon()) {
            Identity::Verified(principal) => {
                let id = principal.id.as_bytes();
                prop_assert!(!id.is_empty() && id.len() <= 256 && id.iter().all(u8::is_ascii_graphic));
                let found = der.windows(id.len()).any(|window| window.eq_ignore_ascii_case(id));
                prop_assert!(found, "{}", principal.id);
            }
            Identity::Rejected(rejection) => prop_assert!(rejection.problem.detail.len() <= 256),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
