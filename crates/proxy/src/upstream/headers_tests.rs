//! What crosses the gateway, header by header.

use super::*;

const GATEWAY: &[&str] = &["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];

fn plan() -> HeaderPlan {
    let name = |name| Some(HeaderName::from_static(name));
    let identity = IdentityHeaders {
        user: name("x-who"),
        groups: name("x-auth-groups"),
        roles: None,
        email: name("mail"),
        overage: name("x-auth-overage"),
        ..IdentityHeaders::default()
    };
    HeaderPlan::new(&identity, &[HeaderName::from_static("x-api-key")])
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn forwarding(identity: Option<&IdentityValues>) -> Forwarding<'_> {
    Forwarding {
        client: ClientAddress::Known([203, 0, 113, 7].into()),
        peer: None,
        proxies: &[],
        scheme: Scheme::Http,
        request_id: HeaderValue::from_static("the-gateways-id"),
        identity,
        forward_credentials: false,
        rules: None,
        host: None,
        stripped_prefix: None,
        via: None,
    }
}

/// The names of what is left of these lines, apart from what the gateway sets.
fn left_of(lines: &[(&str, &str)]) -> Vec<String> {
    let mut headers = map(lines);
    prepare_request(&mut headers, &plan(), &forwarding(None));
    let mut left: Vec<_> = headers.keys().map(ToString::to_string).filter(|name| !GATEWAY.contains(&&**name)).collect();
    left.sort();
    left
}

#[test]
fn ordinary_headers_pass_unchanged() {
    let lines = [
        ("host", "billing.internal"),
        ("accept", "*/*"),
        ("cookie", "session=of-the-app"),
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("x-api-version", "2"),
        ("x-forwarder", "not reserved"),
        ("via", "1.1 somewhere"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let mut headers = map(&lines);
    prepare_request(&mut headers, &plan(), &forwarding(None));
    for (name, value) in lines {
        assert_eq!(headers.get(name).unwrap(), value, "{name}");
    }
    assert_eq!(headers.len(), lines.len() + GATEWAY.len());
}

#[test]
fn what_ends_at_this_hop_is_removed() {
    for name in [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "proxy-authorization",
        "proxy",
        "expect",
    ] {
        assert_eq!(left_of(&[("host", "a"), (name, "x")]), ["host"], "{name}");
    }
}

#[test]
fn connection_removes_what_it_names_and_nothing_that_matters() {
    let check = |connection: &str, expected: &[&str]| {
        let lines =
            [("host", "a"), ("content-length", "3"), ("x-one", "1"), ("x-two", "2"), ("connection", connection)];
        assert_eq!(left_of(&lines), expected, "{connection}");
    };
    check("close", &["content-length", "host", "x-one", "x-two"]);
    check("X-One", &["content-length", "host", "x-two"]);
    check("keep-alive,x-two , ,\tx-one", &["content-length", "host"]);
    check("host, content-length", &["content-length", "host", "x-one", "x-two"]);
    check("not a name, x-one", &["content-length", "host", "x-two"]);
}

#[test]
fn connection_cannot_remove_what_the_gateway_sets() {
    let identity = IdentityValues::new("alice", ["finance"].into_iter(), [].into_iter(), None, 64);
    let names = "x-who, x-auth-groups, forwarded, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-request-id";
    let mut headers = map(&[("host", "a"), ("connection", names), ("connection", "Host")]);
    prepare_request(&mut headers, &plan(), &forwarding(Some(&identity)));
    assert_eq!(headers["x-who"], "alice");
    assert_eq!(headers["x-auth-groups"], "finance");
    for name in GATEWAY {
        assert_eq!(headers.get_all(*name).iter().count(), 1, "{name}");
    }
}

#[test]
fn every_look_alike_of_a_reserved_name_is_removed() {
    let configured = ["x-who", "mail"];
    let forwarded = [
        "x-forwarded-anything",
        "x-forwarded-for",
        "x-forwarded-method",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-forwarded-client-cert",
        "x-forwarded-tls-client-cert-info",
        "ssl-client-verify",
        "x-ssl-client-s-dn",
        "x-amzn-mtls-clientcert-leaf",
    ];
    for name in RESERVED.iter().copied().chain(configured).chain(forwarded) {
        let spellings = [
            name.to_owned(),
            name.to_uppercase(),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.replacen('-', "_", 1).to_uppercase(),
        ];
        for spelling in &spellings {
            assert_eq!(left_of(&[("host", "a"), (spelling, "spoofed"), (spelling, "twice")]), ["host"], "{spelling}");
        }
    }
    for name in
        ["x-auth", "x-whom", "email", "x-forwardedfor", "x", "_", "~", "client-certs", "ssl-client", "x-ssl-clients"]
    {
        assert_eq!(left_of(&[(name, "harmless")]), [name]);
    }
}

#[test]
fn a_spoofed_identity_is_replaced_and_one_without_a_value_is_absent() {
    let spoofed =
        [("x_who", "root"), ("X-Who", "root"), ("x.auth_groups", "admins"), ("x-auth-roles", "admin"), ("mail", "r@x")];
    let (groups, roles) = (["finance", "it"].into_iter(), ["unconfigured"].into_iter());
    let identity = IdentityValues::new("alice", groups, roles, None, 64);
    let mut headers = map(&spoofed);
    prepare_request(&mut headers, &plan(), &forwarding(Some(&identity)));
    assert_eq!(headers.get_all("x-who").iter().collect::<Vec<_>>(), ["alice"]);
    assert_eq!(headers["x-auth-groups"], "finance,it");
    assert_eq!(headers.keys().filter(|name| !GATEWAY.contains(&name.as_str())).count(), 2);
    assert_eq!(left_of(&spoofed), Vec::<String>::new());
}

#[test]
fn credentials_stay_here_unless_they_are_to_be_forwarded() {
    let lines = [("authorization", "Bearer t"), ("x-api-key", "k"), ("proxy-authorization", "p"), ("cookie", "c=1")];
    assert_eq!(left_of(&lines), ["cookie"]);
    let mut headers = map(&lines);
    prepare_request(&mut headers, &plan(), &Forwarding { forward_credentials: true, ..forwarding(None) });
    assert_eq!(
        (&headers["authorization"], &headers["x-api-key"]),
        (&"Bearer t".parse().unwrap(), &"k".parse().unwrap())
    );
    assert!(!headers.contains_key("proxy-authorization"));
}

#[test]
fn the_way_of_a_request_is_told_in_both_forms() {
    let check = |client: Option<&str>, proxies: &[&str], host: &str, expected: (&str, &str)| {
        let proxies: Vec<IpAddr> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let client = client.map_or(ClientAddress::Unknown, |client| ClientAddress::known(client.parse().unwrap()));
        let mut headers =
            map(&[("host", host), ("x-forwarded-for", "198.51.100.66"), ("forwarded", "for=198.51.100.66")]);
        let facts = Forwarding { client, proxies: &proxies, scheme: Scheme::Https, ..forwarding(None) };
        prepare_request(&mut headers, &plan(), &facts);
        let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((text("x-forwarded-for"), text("forwarded")), expected);
        assert_eq!((text("x-forwarded-proto"), text("x-forwarded-host")), ("https", host));
        assert_eq!(text("x-request-id"), "the-gateways-id");
    };
    check(Some("203.0.113.7"), &[], "a.internal", ("203.0.113.7", "for=203.0.113.7;host=a.internal;proto=https"));
    check(Some("203.0.113.7"), &[], "a:80", ("203.0.113.7", "for=203.0.113.7;host=\"a:80\";proto=https"));
    check(Some("2001:db8::1"), &[], "[::1]:8", ("2001:db8::1", "for=\"[2001:db8::1]\";host=\"[::1]:8\";proto=https"));
    check(
        Some("203.0.113.7"),
        &["10.0.0.9", "fd00::5"],
        "a",
        ("203.0.113.7, 10.0.0.9, fd00::5", "for=203.0.113.7, for=10.0.0.9, for=\"[fd00::5]\";host=a;proto=https"),
    );
    check(None, &["10.0.0.5"], "a", ("", "for=unknown, for=10.0.0.5;host=a;proto=https"));
    check(Some("203.0.113.7"), &[], "a\"b", ("203.0.113.7", "for=203.0.113.7;proto=https"));
}

#[test]
fn identity_values_cannot_break_out_of_their_header_or_list() {
    let check = |values: &[&str], expected: Option<&str>| {
        let value = encode(values.iter().copied());
        assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), expected, "{values:?}");
    };
    check(&["alice"], Some("alice"));
    check(&["alice@example.com", "user:bob"], Some("alice@example.com,user:bob"));
    check(&["a,b", "c"], Some("a%2Cb,c"));
    check(&["100%"], Some("100%25"));
    check(&["a b\r\nx: y\0\t\u{7f}"], Some("a%20b%0D%0Ax:%20y%00%09%7F"));
    check(&["müller"], Some("m%C3%BCller"));
    check(&["", "a", ""], Some("a"));
    check(&[""], None);
    check(&[], None);
}

#[test]
fn a_list_that_is_too_long_is_left_out_whole_and_counted() {
    let sent = |groups: &[&str], roles: &[&str]| {
        let identity = IdentityValues::new("alice", groups.iter().copied(), roles.iter().copied(), None, 16);
        let mut headers = map(&[("x-auth-overage", "groups=9"), ("x_auth.overage", "roles=9")]);
        prepare_request(&mut headers, &plan(), &forwarding(Some(&identity)));
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(identity.is_cut(), text("x-auth-overage").is_some());
        (text("x-auth-groups"), text("x-auth-overage"))
    };
    let (some, overage) = (|text: &str| Some(text.to_owned()), |text: &str| (None, Some(text.to_owned())));
    assert_eq!(sent(&["finance", "finances"], &[]), (some("finance,finances"), None), "16 bytes are not too long");
    assert_eq!(sent(&["finance", "financesx"], &[]), overage("groups=2"));
    // As it is sent: what is escaped is longer.
    assert_eq!(sent(&["a,b,c,d,e,f"], &["role"]), overage("groups=1"));
    assert_eq!(sent(&["finance"], &["0123456789", "abcdef"]), (some("finance"), some("roles=2")));
    assert_eq!(sent(&["0123456789"; 3_000], &["0123456789"; 2]), overage("groups=3000,roles=2"));
    assert_eq!(sent(&[], &[]), (None, None));
}

#[test]
fn a_response_loses_what_ends_at_this_hop_and_keeps_the_rest() {
    let mut headers = map(&[
        ("connection", "close, x-internal"),
        ("x-internal", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("trailer", "x-sum"),
        ("upgrade", "h2c"),
        ("x-request-id", "the-upstreams-id"),
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("www-authenticate", "Basic"),
        ("x-auth-user", "alice"),
    ]);
    prepare_response(&mut headers, &plan());
    let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    left.sort_unstable();
    let kept = ["content-length", "content-type", "set-cookie", "set-cookie", "www-authenticate", "x-auth-user"];
    assert_eq!(left, kept);
}

#[test]
fn what_was_written_before_makes_the_same_headers() {
    let check = |client: IpAddr, proxies: &[IpAddr]| {
        let peer = Peer::new(client).unwrap();
        let with = |host: &str, scheme, peer| {
            let mut headers = map(&[("host", host)]);
            let client = ClientAddress::Known(client);
            prepare_request(&mut headers, &plan(), &Forwarding { client, peer, proxies, scheme, ..forwarding(None) });
            headers
        };
        let (first, other) = ("api.test:8080", "other.test");
        for (host, scheme) in [
            (first, Scheme::Http),
            (first, Scheme::Http),
            (other, Scheme::Http),
            (other, Scheme::Https),
            (other, Scheme::Https),
            (first, Scheme::Http),
        ] {
            assert_eq!(with(host, scheme, Some(&peer)), with(host, scheme, None), "{client} {host} {scheme:?}");
        }
    };
    check([203, 0, 113, 7].into(), &[]);
    check([203, 0, 113, 7].into(), &[[10, 0, 0, 1].into()]);
    check("2001:db8::1".parse().unwrap(), &[]);
}
