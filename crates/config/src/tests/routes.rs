//! What a route may say, read into its settings.

use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_events::settings::{AccessFormat, AccessLogSettings, SinkKind};
use portcullis_proxy::page::Page;
use portcullis_proxy::route::{
    Branch, Cors, FieldRules, FixedAnswer, Maintenance, Origin, Origins, PathTemplate, Redirect, RouteAction, Split,
    Sticky,
};
use portcullis_proxy::settings::{ForwardingSettings, RouteSettings, UpstreamTimeouts};
use portcullis_proxy::trace::TraceMode;
use portcullis_proxy::upstream::headers::Via;

use super::{Folder, GATEWAY};

/// The settings of the route `r`, whose text this is.
fn route(text: &str) -> RouteSettings {
    let folder = Folder::new();
    folder.write("page.html", "<p>hello</p>\n");
    folder.write("portcullis.toml", format!("{GATEWAY}[[route]]\nname = \"r\"\n{text}\n"));
    let loaded = folder.loaded();
    assert!(loaded.warnings.is_empty(), "{text}: {}", loaded.warnings.render_human(false));
    loaded.proxy.routes.into_iter().nth(1).unwrap()
}

/// What the least route becomes, and then this.
fn expected(change: impl FnOnce(&mut RouteSettings)) -> RouteSettings {
    let mut route = RouteSettings::new("r", RouteAction::Upstream(0));
    change(&mut route);
    route
}

fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

#[test]
fn each_key_of_a_route_reaches_its_setting() {
    let check = |text: &str, change: &dyn Fn(&mut RouteSettings)| {
        let text = format!("hosts = [\"a.test\"]\npaths = [\"/x/{{id}}/**\"]\nupstream = \"billing\"\n{text}");
        assert_eq!(route(&text), expected(change), "{text}");
    };
    check("", &|_| {});
    check("strip_prefix = \"/x\"\nadd_prefix = \"/v1\"", &|route| {
        route.rewrite = Some(PathTemplate::prefixes("/x", "/v1", ["/x"].into_iter()).unwrap());
        route.stripped_prefix = Some(HeaderValue::from_static("/x"));
    });
    check("add_prefix = \"/v1\"", &|route| {
        route.rewrite = Some(PathTemplate::prefixes("", "/v1", std::iter::empty()).unwrap());
    });
    check("rewrite = \"/y-{id}/**\"", &|route| {
        route.rewrite = Some(PathTemplate::parse("/y-{id}/**", &["/x/{id}/**"]).unwrap());
    });
    check("upgrades = [\"WebSocket\", \"acme/2\"]", &|route| {
        route.upgrades = vec!["websocket".into(), "acme/2".into()];
    });
    check("trailers = true", &|route| route.trailers = true);
    check("upstream_host = \"b.test:8080\"", &|route| {
        route.upstream_host = Some(HeaderValue::from_static("b.test:8080"));
    });
    check("request_headers = { set = { X-A = \"1\" }, add = { x-b = \"\" }, remove = [\"X-C\"] }", &|route| {
        route.request_headers = Some(Box::new(FieldRules {
            remove: vec![HeaderName::from_static("x-c")],
            set: vec![pair("x-a", "1")],
            add: vec![pair("x-b", "")],
        }));
    });
    check("response_headers = { remove = [\"server\"] }", &|route| {
        let remove = vec![HeaderName::from_static("server")];
        route.response_headers = Some(Box::new(FieldRules { remove, ..FieldRules::default() }));
    });
    check("request_headers = {}\nresponse_headers = {}\nmaintenance = false", &|_| {});
    let cors = |route: &mut RouteSettings, origins, credentials, max_age| {
        route.cors = Some(Box::new(Cors {
            origins,
            methods: HeaderValue::from_static("GET, HEAD, POST"),
            headers: None,
            expose: None,
            credentials,
            max_age,
        }));
    };
    check("cors = { origins = [\"*\"] }", &|route| cors(route, Origins::Any, false, HeaderValue::from(600)));
    check(
        "cors = { origins = [\"https://a.test\", \"http://localhost:3000\"], credentials = true, max_age = \"1h\" }",
        &|route| {
            let origins =
                vec![HeaderValue::from_static("https://a.test"), HeaderValue::from_static("http://localhost:3000")];
            cors(route, Origins::Listed(origins), true, HeaderValue::from(3600));
        },
    );
    check(
        "cors = { origins = [\"*\"], methods = [\"PUT\", \"DELETE\"], headers = [\"*\"], expose = [\"etag\", \"X-A\"] }",
        &|route| {
            cors(route, Origins::Any, false, HeaderValue::from(600));
            let cors = route.cors.as_deref_mut().unwrap();
            cors.methods = HeaderValue::from_static("PUT, DELETE");
            cors.headers = Some(HeaderValue::from_static("*"));
            cors.expose = Some(HeaderValue::from_static("etag, X-A"));
        },
    );
    let second = std::time::Duration::from_secs(1);
    check("timeouts = {}", &|_| {});
    check("timeouts = { connect = \"1s\", first_byte = \"2s\", idle = \"3s\", total = \"0s\" }", &|route| {
        let own = UpstreamTimeouts {
            connect: second,
            first_byte: 2 * second,
            idle: 3 * second,
            total: std::time::Duration::MAX,
            ..UpstreamTimeouts::default()
        };
        route.timeouts = vec![(0, own)];
    });
    check("rewrite_location = true", &|route| route.location = Some(Box::default()));
    check("rewrite_location = false", &|_| {});
    check("maintenance = true", &|route| route.maintenance = Some(Box::default()));
    check("maintenance = {}", &|route| route.maintenance = Some(Box::default()));
    check("maintenance = { retry_after = \"10m\", except = [\"10.0.0.0/8\"] }", &|route| {
        let except = vec!["10.0.0.0/8".parse().unwrap()];
        let maintenance = Maintenance { retry_after_s: Some(600), except, except_networks: Vec::new() };
        route.maintenance = Some(Box::new(maintenance));
    });
}

#[test]
fn a_route_may_answer_by_itself() {
    let answers = |text: &str, action: RouteAction| {
        let text = format!("hosts = [\"a.test\"]\npaths = [\"/x/{{id}}/**\"]\n{text}");
        assert_eq!(route(&text), expected(|route| route.action = action), "{text}");
    };
    let text = "split = [{ upstream = \"billing\", weight = 90 }, { upstream = \"billing\", when = { headers = { X-A = \"1\" } } }]\n\
                sticky = \"principal\"";
    let branches = vec![
        Branch { upstream: 0, weight: 90, when: Vec::new() },
        Branch { upstream: 0, weight: 1, when: vec![pair("x-a", "1")] },
    ];
    answers(text, RouteAction::Split(Box::new(Split { branches, sticky: Sticky::Principal })));
    let redirect = |to: &str, status: u16, origin: Origin, path: &str, query: Option<&str>, keep_query: bool| {
        let path = PathTemplate::parse(path, &["/x/{id}/**"]).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let redirect = Redirect { status, origin, path, query: query.map(Into::into), keep_query };
        answers(&format!("redirect = {{ to = {to} }}"), RouteAction::Redirect(Box::new(redirect)));
    };
    redirect("\"/y/{id}\"", 308, Origin::Same, "/y/{id}", None, true);
    redirect("\"/y?a=b\", keep_query = false, status = 303", 303, Origin::Same, "/y", Some("a=b"), false);
    redirect("\"https://b.test:444/**\"", 308, Origin::Fixed("https://b.test:444".into()), "/**", None, true);
    redirect("\"https://b.test\"", 308, Origin::Fixed("https://b.test".into()), "/", None, true);
    redirect("\"https://b.test?a\"", 308, Origin::Fixed("https://b.test".into()), "/", Some("a"), true);
    redirect("\"https://{host}/**\"", 308, Origin::RequestHost("https".into()), "/**", None, true);
    let respond = |text: &str, status: u16, headers: &[(&'static str, &'static str)], body: &str| {
        let headers = headers.iter().map(|(name, value)| pair(name, value)).collect();
        let status = StatusCode::from_u16(status).unwrap();
        let fixed = FixedAnswer { status, headers, body: body.to_owned().into() };
        answers(&format!("respond = {{ {text} }}"), RouteAction::Respond(Box::new(fixed)));
    };
    respond("status = 204", 204, &[], "");
    respond("status = 200, body = \"ok\"", 200, &[("content-type", "text/plain; charset=utf-8")], "ok");
    respond(
        "status = 410, file = \"page.html\", content_type = \"text/html\", headers = { x-a = \"1\" }",
        410,
        &[("content-type", "text/html"), ("x-a", "1")],
        "<p>hello</p>\n",
    );
}

#[test]
fn what_upstreams_are_told_of_the_way_reaches_its_setting() {
    let check = |text: &str, expected: ForwardingSettings| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}[forwarding]\n{text}\n"));
        assert_eq!(folder.loaded().proxy.forwarding, expected, "{text}");
    };
    let default = ForwardingSettings::default;
    check("", default());
    check("via = \"\"", ForwardingSettings { via: None, ..default() });
    check("via = \"edge-1\"", ForwardingSettings { via: Via::new("edge-1"), ..default() });
    check("request_id = \"trusted\"", ForwardingSettings { keep_request_id: true, ..default() });
    check("trace = \"begin\"", ForwardingSettings { trace: TraceMode::Begin, ..default() });
    check("trace = \"off\"", ForwardingSettings { trace: TraceMode::Off, ..default() });
}

#[test]
fn the_access_log_is_off_until_somebody_wants_it() {
    let check = |text: &str, expected: Option<AccessLogSettings>| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}{text}\n"));
        let mut found = folder.loaded().events.access_log;
        if let Some(AccessLogSettings { output: SinkKind::File { path }, .. }) = &mut found {
            *path = path.file_name().unwrap().into();
        }
        assert_eq!(found, expected, "{text}");
    };
    let settings =
        |output| AccessLogSettings { output, format: AccessFormat::Json, sample: 10_000, queue: 65_536, query: false };
    check("", None);
    check("[access_log]", None);
    check("[access_log]\nkind = \"off\"\nformat = \"combined\"", None);
    check("[access_log]\nkind = \"stdout\"", Some(settings(SinkKind::Stdout)));
    check(
        "[access_log]\nkind = \"file\"\npath = \"a.log\"\nformat = \"combined\"\nsample = \"0.5%\"\nqueue = 10\nquery = true",
        Some(AccessLogSettings {
            format: AccessFormat::Combined,
            sample: 50,
            queue: 10,
            query: true,
            ..settings(SinkKind::File { path: "a.log".into() })
        }),
    );
}

#[test]
fn a_template_for_refusals_is_checked_where_it_is_written() {
    let folder = Folder::new();
    folder.write("any.html", "<p>{{title}}</p>");
    folder.write("4xx.html", "{{detail}}");
    let refusal = "[refusal]\nhtml = \"any.html\"\nhtml_4xx = \"4xx.html\"\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{refusal}"));
    let loaded = folder.loaded();
    let pages = loaded.proxy.refusal.pages;
    assert_eq!(pages.any, Page::parse("<p>{{title}}</p>").unwrap());
    assert_eq!((pages.client_error, pages.server_error), (Page::parse("{{detail}}").ok(), None));
    assert!(loaded.files.contains(&folder.path("4xx.html")));
    folder.write("any.html", "<p>\n  {{titel}}</p>");
    folder.check("a name that there is not", &[("E0105", "any.html:2:3", "one of title, detail, status")]);
}

#[test]
fn a_file_that_is_answered_with_is_among_those_that_were_read() {
    let folder = Folder::new();
    folder.write("page.html", "x");
    let route = "[[route]]\nname = \"r\"\npaths = \"/r\"\nrespond = { status = 200, file = \"page.html\" }\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{route}"));
    assert!(folder.loaded().files.contains(&folder.path("page.html")));
    // More than a mebibyte is no page.
    folder.write("page.html", "x".repeat((1 << 20) + 1));
    folder.check("large", &[("E0100", "portcullis.toml:14:34", "page.html")]);
}
