//! Who may come to the door, what is read of a visit, and which browsers are led to it.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::{Method, StatusCode};
use portcullis_policy::CanonicalPath;

use super::layer::is_from_elsewhere;
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
        assert_eq!((on.asks_who(&path), settings.asks_who(&path)), (expected, false), "{}", path.as_str());
    };
    for own in ["access-requests", "access-requests/9", "access-requests/", "activations", "activations/9/x"] {
        check(&format!("/.portcullis/{own}"), true);
    }
    for other in ["login", "access-requests2", "Access-Requests", "", "a/access-requests", "whoami"] {
        check(&format!("/.portcullis/{other}"), false);
    }
    check("/access-requests", false);
    assert_eq!(on.place_of(ACTIVATIONS), "/.portcullis/activations");
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
