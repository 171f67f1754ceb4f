//! Who may come to the door, what is read of a visit, and which browsers are led to it.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, StatusCode};
use portcullis_policy::CanonicalPath;

use super::layer::{is_from_elsewhere, known};
use super::*;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let fields =
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    fields.collect()
}

#[test]
fn the_prefix_is_the_gateways_and_nothing_beside_it() {
    let settings = PagesSettings {
        prefix: PagesSettings::PREFIX.into(),
        login: true,
        step_up: false,
        self_service: false,
        hosts: Arc::default(),
        allow_http: false,
    };
    let check = |path: &str, expected: bool| {
        assert_eq!(settings.owns(&CanonicalPath::parse(path).unwrap()), expected, "{path}");
    };
    check("/.portcullis", true);
    check("/.portcullis/", true);
    check("/.portcullis/login", true);
    check("/%2Eportcullis/login", true);
    check("/.portcullis2", false);
    check("/.PORTCULLIS/login", false);
    check("/a/.portcullis/login", false);
    check("/", false);
    assert!(settings.are_open(Scheme::Https) && !settings.are_open(Scheme::Http));
    let on = PagesSettings { self_service: true, ..settings.clone() };
    let check = |path: &str, expected: bool| {
        let path = CanonicalPath::parse(path).unwrap();
        assert_eq!(
            (on.asks_who("app.test", &path), settings.asks_who("app.test", &path)),
            (expected, false),
            "{}",
            path.as_str()
        );
    };
    for own in ["access-requests", "access-requests/9", "access-requests/", "activations", "activations/9/x"] {
        check(&format!("/.portcullis/{own}"), true);
    }
    for other in ["login", "access-requests2", "Access-Requests", "", "a/access-requests", "whoami"] {
        check(&format!("/.portcullis/{other}"), false);
    }
    check("/access-requests", false);
    assert_eq!(on.place_of(ACTIVATIONS), "/.portcullis/activations");
    // The page for persons is at a host of the pages' own.
    let own = PagesSettings { hosts: ["access.test".into()].into(), ..on };
    let page = CanonicalPath::parse("/.portcullis/access").unwrap();
    assert!(own.asks_who("access.test", &page) && own.is_persons(&page) && own.is_own_host("access.test"));
    assert!(!own.asks_who("app.test", &page) && !own.is_own_host("app.test") && !settings.is_own_host("access.test"));
}

#[test]
fn a_form_is_taken_from_a_page_of_this_place_alone() {
    let own = "https://tool.internal:8443";
    let check = |fields: &[(&'static str, &str)], is_fine: bool| {
        assert_eq!(is_from_elsewhere(&headers(fields), own).is_none(), is_fine, "{fields:?}");
    };
    check(&[], true);
    check(&[("origin", own)], true);
    check(&[("origin", "https://TOOL.internal:8443")], true);
    check(&[("sec-fetch-site", "same-origin"), ("origin", own)], true);
    for site in ["cross-site", "same-site", "none", "", "same-origin, same-origin"] {
        check(&[("sec-fetch-site", site)], false);
    }
    for origin in ["null", "https://tool.internal", "http://tool.internal:8443", "https://evil.example", ""] {
        check(&[("origin", origin)], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", origin)], false);
    }
    let mut two = headers(&[("origin", own)]);
    two.append(ORIGIN, HeaderValue::from_static("https://evil.example"));
    assert!(is_from_elsewhere(&two, own).is_some());
}

fn fields(text: &str) -> Fields {
    Fields::parse(text.as_bytes())
}

#[test]
fn fields_are_decoded_or_none_counts() {
    let parsed = fields("a=b&c=d+e%2Bf%C3%BC&g&=x&h=");
    assert_eq!(parsed.get("a"), Some("b"));
    assert_eq!(parsed.get("c"), Some("d e+fü"));
    assert_eq!((parsed.get("g"), parsed.get("h"), parsed.get("")), (Some(""), Some(""), Some("x")));
    assert_eq!(parsed.get("i"), None);
    // Which of two is meant nobody can say.
    let twice = fields("a=1&a=1");
    assert_eq!((twice.get("a"), twice.has("a")), (None, true));
    for broken in ["a=%", "a=%4", "a=%zz", "a=%ff", "b=1&a=%"] {
        assert_eq!(fields(broken), Fields::default(), "{broken}");
    }
    let many = |count: usize| (0..count).map(|number| format!("f{number}=x")).collect::<Vec<_>>().join("&");
    assert!(fields(&many(MAX_FIELDS)).has("f63"));
    assert_eq!(fields(&many(MAX_FIELDS + 1)), Fields::default());
}

fn visit(content_type: &str, body: &'static [u8]) -> Visit {
    let (worker, _) = crate::layers::tests::worker(crate::settings::Limits::default());
    Visit {
        method: Method::POST,
        page: "logout".to_owned(),
        query: Some("to=%2Fa".to_owned()),
        headers: headers(&[(CONTENT_TYPE.as_str(), content_type)].map(|(_, value)| ("content-type", value))),
        body: Bytes::from_static(body),
        is_secure: true,
        authority: "tool.internal".to_owned(),
        client: ClientAddress::Unknown,
        principal: None,
        standing: None,
        policy: Arc::clone(&worker.shared.snapshot().load().policy),
        request_id: "id".to_owned(),
        now: Timestamp::UNIX_EPOCH,
        steady_now: Timestamp::UNIX_EPOCH,
        snapshot: worker.shared.snapshot().load_full(),
    }
}

#[test]
fn a_form_is_a_form() {
    let form = "application/x-www-form-urlencoded";
    assert_eq!(visit(form, b"token=x").form().get("token"), Some("x"));
    assert_eq!(visit(&format!("{}; charset=utf-8", form.to_uppercase()), b"token=x").form().get("token"), Some("x"));
    // What a page elsewhere can send without asking, but no form of ours.
    for other in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        assert_eq!(visit(other, b"token=x").form(), Fields::default(), "{other}");
    }
    assert_eq!(visit(form, b"").parameters().get("to"), Some("/a"));
    assert_eq!(visit(form, b"").origin(), "https://tool.internal");
}

#[test]
fn a_refusal_has_the_status_of_its_reason_unless_it_says_another() {
    let refusal = PageRefusal::new(ReasonCode::AuthnInvalid, "operator", "caller");
    let status = |refusal: PageRefusal| crate::refusal::Refusal::Page(Box::new(refusal)).status();
    assert_eq!(status(refusal.clone()), StatusCode::UNAUTHORIZED);
    assert_eq!(status(PageRefusal { status: Some(StatusCode::FORBIDDEN), ..refusal }), StatusCode::FORBIDDEN);
}

#[test]
fn whom_a_version_that_is_rolled_out_holds_back_comes_to_no_page_of_their_own() {
    use std::rc::Rc;

    use portcullis_identity::Identity;
    use portcullis_policy::{DenyDraft, PolicyDraft, RouteDraft, ScopeDraft};

    use crate::client_address::Derived;
    use crate::staged::Staged;
    use crate::transit::{ConnectionFacts, Facts, Target};

    let (worker, _) = crate::layers::tests::worker(crate::settings::Limits::default());
    let deny = DenyDraft {
        name: "alice-is-gone".to_owned().into(),
        principals: vec!["user:alice".to_owned().into()],
        actions: vec!["* /**".to_owned().into()],
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    };
    let draft =
        PolicyDraft { routes: vec![RouteDraft::new("app", ["/**"])], denies: vec![deny], ..PolicyDraft::default() };
    let stricter = Arc::new(Policy::compile(&draft).unwrap().0);
    let comes = |share: u32| {
        let staged = Staged::new(Arc::clone(&stricter), [7; 16], share);
        worker.shared.stage(Some(Arc::new(staged)));
        let connection = ConnectionFacts::new("198.51.100.7:1".parse().unwrap(), Scheme::Http, None);
        let mut facts = Facts::new(&worker, Rc::new(connection));
        let path = CanonicalPath::parse("/.portcullis/activations").unwrap();
        facts.route = stricter.find_route("app.test", &path);
        facts.target = Some(Target {
            method: Method::POST,
            uri: "/.portcullis/activations".parse().unwrap(),
            path,
            host: "app.test".to_owned(),
            port: None,
        });
        facts.client = Some(Derived {
            client: ClientAddress::known("198.51.100.7".parse().unwrap()),
            via_trusted_proxy: false,
            proxies: Vec::new(),
            forwarded: Vec::new(),
            problem: None,
        });
        facts.identity = Some(Identity::Verified(Arc::new(Principal::user("alice"))));
        known(&mut facts).map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(comes(1_000_000), Err(ReasonCode::RbacExplicitDeny));
    assert_eq!(comes(0), Ok(()), "the version only looks on");
}
