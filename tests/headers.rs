//! Which header fields cross the gateway. Names are compared as upstreams of every kind would: without case, and with `_`
//! and `.` taken for `-`.

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, RequestHead, Upstream};
use portcullis_testkit::wire::request;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, OPEN, Site, bearer, claims};

/// The fields of a request as an upstream that folds names would see them.
fn folded(head: &RequestHead, name: &str) -> Vec<String> {
    let fold = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "-");
    head.headers.iter().filter(|(found, _)| fold(found) == fold(name)).map(|(_, value)| value.clone()).collect()
}

fn forwarded(gateway: &Gateway, upstream: &Upstream, headers: &[(&str, &str)]) -> RequestHead {
    let answer = gateway.send(request("GET", "/h", headers, b""));
    assert_eq!(answer.status(), 200, "{headers:?}: {}", String::from_utf8_lossy(&answer.body));
    upstream.requests().pop().unwrap().head
}

#[test]
fn hop_by_hop_fields_end_at_the_gateway_and_others_pass() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let head = forwarded(
        &gateway,
        &upstream,
        &[
            ("Connection", "keep-alive, X-Named, x-second"),
            ("X-Named", "1"),
            ("X-Second", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy", "http://evil.test"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("X-Kept", "a"),
            ("x-kept", "b"),
            ("Cookie", "session=1"),
            ("Accept-Encoding", "br"),
        ],
    );
    for name in [
        "connection",
        "x-named",
        "x-second",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "proxy",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "transfer-encoding",
    ] {
        assert!(folded(&head, name).is_empty(), "{name}: {:?}", head.headers);
    }
    assert_eq!(head.header_values("x-kept"), ["a", "b"]);
    assert_eq!(head.header("cookie"), Some("session=1"));
    assert_eq!(head.header("accept-encoding"), Some("br"));
}

#[test]
fn an_answers_hop_by_hop_fields_and_request_id_are_not_the_upstreams() {
    let upstream = Upstream::replying(
        Reply::bytes("ok")
            .header("Connection", "x-gone")
            .header("X-Gone", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Authenticate", "Basic")
            .header("Upgrade", "h2c")
            .header("X-Request-Id", "the upstream's")
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "b=2"),
    );
    let gateway = Site::new(&upstream.url()).start();
    let answer = gateway.get("/", &[]);
    for name in ["x-gone", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.head.header_values("set-cookie"), ["a=1", "b=2"]);
    let id = upstream.only_request().header("x-request-id").unwrap().to_owned();
    assert_eq!(answer.header("x-request-id"), Some(id.as_str()), "one id on both sides");
}

#[test]
fn forwarding_fields_are_the_gateways_alone() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.tell_identity();
    let gateway = site.start();
    // Whatever the caller claims in whatever spelling, the upstream is told the same.
    for lie in [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x.forwarded.for",
        "X-Forwarded_For",
        "Forwarded",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X_FORWARDED_PREFIX",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X_Real_IP",
        "True-Client-IP",
        "X-Client-Ip",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Rewrite.Url",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Request-Id",
        "X_Request_Id",
        "X-Auth-User",
        "x-auth_user",
        "x.auth.user",
        "X_AUTH_USER",
        "X-Auth-Groups",
        "x_auth.groups",
        "X-Auth-Roles",
        "X-Auth-Email",
        "X-Auth-Assertion",
        "x_auth_assertion",
    ] {
        for connection in ["keep-alive", lie, "x-forwarded-for, x-request-id, forwarded, x-auth-user, host"] {
            let head = forwarded(&gateway, &upstream, &[(lie, "6.6.6.6"), ("Connection", connection)]);
            let raw = String::from_utf8_lossy(&head.raw).into_owned();
            assert!(!raw.contains("6.6.6.6"), "{lie} reached the upstream: {raw}");
            assert_eq!(folded(&head, "x-forwarded-for"), ["127.0.0.1"], "{lie}");
            assert_eq!(folded(&head, "forwarded"), ["for=127.0.0.1;host=gateway.test;proto=http"], "{lie}");
            assert_eq!(folded(&head, "x-forwarded-proto"), ["http"], "{lie}");
            assert_eq!(folded(&head, "x-forwarded-host"), ["gateway.test"], "{lie}");
            assert_eq!(folded(&head, "x-request-id").len(), 1, "{lie}");
            assert_eq!(folded(&head, "host"), ["gateway.test"], "{lie}");
            for identity in ["x-auth-user", "x-auth-groups", "x-auth-roles", "x-auth-email", "x-auth-assertion"] {
                assert!(folded(&head, identity).is_empty(), "{lie}: nobody is logged in, yet there is {identity}");
            }
        }
    }
}

#[test]
fn connection_cannot_remove_what_the_gateway_sets() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let alice = site.key("alice", "user:alice", "groups = [\"finance\"]");
    site.tell_identity();
    let gateway = site.start();
    for named in [
        "x-auth-user",
        "X-Auth-User, X-Auth-Groups, Forwarded, X-Forwarded-For, X-Request-Id, Host",
        "content-length, host",
    ] {
        let answer = gateway.send(request("POST", "/", &[("X-Api-Key", &alice), ("Connection", named)], b"body"));
        assert_eq!(answer.status(), 200, "{named}");
        let request = upstream.requests().pop().unwrap();
        assert_eq!((request.body_length, request.complete), (4, true), "{named}");
        for (name, value) in [
            ("x-auth-user", "alice"),
            ("x-auth-groups", "finance"),
            ("x-forwarded-for", "127.0.0.1"),
            ("host", "gateway.test"),
        ] {
            assert_eq!(folded(&request.head, name), [value], "{named}");
        }
    }
}

#[test]
fn of_groups_that_no_header_should_carry_none_is_sent_and_their_number_is() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    let names: Vec<String> = (0..220).map(|number| format!("group-of-people-{number:04}")).collect();
    let trusted = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    site.accept_tokens(&[&signer], &format!("trust_groups = [{trusted}]\n"));
    site.tell_identity();
    site.add("overage = \"x-auth-overage\"\n");
    site.policy(&[OPEN, NO_BANS].concat());
    let gateway = site.start();
    let told = |count: usize| {
        let groups: Vec<&str> = names.iter().take(count).map(String::as_str).collect();
        let authorization = bearer(&signer, &claims("alice").groups(&groups));
        let lies = [("Authorization", authorization.as_str()), ("x_auth.overage", "roles=7")];
        let head = forwarded(&gateway, &upstream, &lies);
        (folded(&head, "x-auth-groups").concat().len(), folded(&head, "x-auth-overage"))
    };
    // 21 bytes each with its comma: 195 of them are 4,094 bytes.
    assert_eq!(told(195), (4_094, Vec::new()));
    assert_eq!(told(196), (0, vec!["groups=196".to_owned()]));
    assert_eq!(gateway.metric("portcullis_identity_headers_cut_total"), Some(1.0));
    // What is sent again for the same token is cut again, and the caller is let in all the same.
    assert_eq!(told(220), (0, vec!["groups=220".to_owned()]));
    assert_eq!(told(220), (0, vec!["groups=220".to_owned()]));
}

#[test]
fn the_upstream_is_told_who_it_is_in_a_form_that_cannot_be_forged() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "");
    site.tell_identity();
    site.policy(
        &[
            OPEN,
            "[[assignment]]\nname = \"second\"\nrole = \"other\"\nprincipals = [\"group:staff\"]\nscope = \"*\"\n",
            "[[role]]\nname = \"other\"\npermissions = [{ actions = [\"GET /other\"] }]\n",
            NO_BANS,
        ]
        .concat(),
    );
    let gateway = site.start();
    let check = |claims, expected: [Option<&str>; 4]| {
        let authorization = bearer(&signer, &claims);
        let lies = [("Authorization", authorization.as_str()), ("X-Auth-User", "admin"), ("x_auth_roles", "root")];
        let head = forwarded(&gateway, &upstream, &lies);
        for (name, value) in ["x-auth-user", "x-auth-groups", "x-auth-roles", "x-auth-email"].into_iter().zip(expected)
        {
            let found = folded(&head, name);
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(value), "{claims} {name}");
        }
        assert_eq!(head.header("authorization"), None, "a credential that the gateway reads ends there");
    };
    check(claims("u-17"), [Some("u-17"), None, Some("everything"), None]);
    check(
        claims("u-17").groups(&["staff", "hr"]).set("email", "u17@app.test"),
        [Some("u-17"), Some("staff,hr"), Some("everything,other"), Some("u17@app.test")],
    );
    // No name can end a field or a list, or pass for two.
    check(
        claims("a,b%c d").groups(&["x,y", "m\u{fc}ll"]),
        [Some("a%2Cb%25c%20d"), Some("x%2Cy,m%C3%BCll"), Some("everything"), None],
    );
}

#[test]
fn credentials_are_passed_on_only_where_the_route_says_so() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::without_route(&upstream.url());
    for (name, more) in [("app", ""), ("passing", "forward_credentials = true"), ("public", "")] {
        site.add(&format!("[[route]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstream = \"app\"\n{more}\n"));
    }
    let key = site.key("robot", "service:robot", "");
    site.accept_tokens(&[&signer], "");
    let anyone =
        "[[assignment]]\nname = \"anyone\"\nrole = \"everything\"\nprincipals = [\"anyone\"]\nscope = \"public\"\n";
    let public = "[[resource]]\nroute = \"public\"\nauthentication = \"none\"\n";
    site.policy(&[AUTHENTICATED, anyone, public, NO_BANS].concat());
    let gateway = site.start();
    let token = bearer(&signer, &claims("u"));
    let check = |host: &str, name: &str, value: &str, passes: bool| {
        let head = forwarded(&gateway, &upstream, &[("host", host), (name, value), ("Cookie", "own=1")]);
        assert_eq!(head.header(name), passes.then_some(value), "{host} {name}");
        assert_eq!(head.header("cookie"), Some("own=1"), "a cookie is not the gateway's");
    };
    check("app.test", "authorization", &token, false);
    check("app.test", "x-api-key", &key, false);
    check("passing.test", "authorization", &token, true);
    check("passing.test", "x-api-key", &key, true);
    check("public.test", "authorization", &token, true);
    check("public.test", "x-api-key", "whatever it is", true);
}
