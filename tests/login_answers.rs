//! How a provider's word comes through the browser: the answer to a login as a form, the end of a session in a frame, and both from whoever else would send them. In a real
//! browser, with the gateway over TLS, so that it holds cookies to what they say.

use std::net::{Ipv4Addr, SocketAddr};

use data_encoding::BASE64URL_NOPAD;
use portcullis_testkit::browser::in_browser;
use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::login_provider::{LoginProvider, SECRET};
use portcullis_testkit::ports::free_port;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Answer, Conn, request};
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, portcullis};
use crate::login::{Browser, between};

struct World {
    gateway: Gateway,
    provider: LoginProvider,
    own: String,
    _upstream: Upstream,
}

/// A gateway over TLS, or in plain text, with this more of its provider.
fn world(tls: bool, oidc: &str) -> World {
    world_with(tls, oidc, NO_BANS)
}

/// The same with this more of its policy.
fn world_with(tls: bool, oidc: &str, policy: &str) -> World {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let own = format!("http{}://{address}", if tls { "s" } else { "" });
    let provider = LoginProvider::start(&format!("{own}/.portcullis"));
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    if tls {
        let issued = Authority::new("tools").issue(&[San::Host("127.0.0.1")]);
        site.listen_with("tls = { certificate = \"tls.crt\", key = \"tls.key\" }");
        site.file("tls.crt", &issued.certificate);
        site.file("tls.key", &issued.key);
    }
    site.listen_on(address);
    site.file("secret", SECRET);
    site.add(&format!(
        "[identity.login]\nallow_http = {}\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\n\
         client_secret = {{ file = \"secret\" }}\nallow_http = true\n{oidc}\n",
        !tls,
        provider.issuer()
    ));
    site.policy(&[AUTHENTICATED, policy].concat());
    World { gateway: site.start(), provider, own, _upstream: upstream }
}

impl World {
    fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        self.gateway.wait_for_events(kind, count)
    }

    /// The `sid` by which the provider knows the session that was opened last.
    fn sid(&self) -> String {
        let claims = |token: &String| {
            let bytes = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
            let claims: Value = serde_json::from_slice(&bytes).ok()?;
            Some(claims.get("sid")?.as_str()?.to_owned())
        };
        self.provider.tokens().iter().rev().find_map(claims).expect("an id token with a sid")
    }

    /// A page of the gateway's in plain text.
    fn page(&self, method: &str, place: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (place, host) = (format!("/.portcullis/{place}"), self.gateway.address.to_string());
        let headers = [&[("host", host.as_str())], headers].concat();
        self.gateway.send(request(method, &place, &headers, body.as_bytes()))
    }
}

/// Logs in on the way to a page; everything that was asked for is noted.
const LOG_IN: &str = r#"
const [gateway, provider] = given;
const seen = { problems: [], asked: [] };
page.on('console', (message) => { if (message.text().includes('Content Security Policy')) seen.problems.push(message.text()); });
context.on('request', (request) => seen.asked.push(request.method() + ' ' + request.url()));
const named = async (part) => (await context.cookies(gateway)).filter((cookie) => cookie.name.includes(part));
const logIn = async (path, who) => {
  await page.goto(gateway + path);
  const login = (await named('login')).map(({ name, sameSite, secure, httpOnly }) => ({ name, sameSite, secure, httpOnly }));
  for (let n = 0; n < 4 && !page.url().startsWith(gateway); n += 1) {
    if (await page.$('input[name=login]')) {
      await page.fill('input[name=login]', who);
      await page.fill('input[name=password]', 'x');
    }
    await page.click('button[type=submit]');
    await page.waitForLoadState();
  }
  await page.waitForURL(gateway + '/**');
  return login;
};
"#;

#[test]
fn an_answer_that_comes_as_a_form_shows_no_code_in_any_address_and_ends_the_session_before() {
    let world = world(true, "response_mode = \"form_post\"");
    let script = [
        LOG_IN,
        r#"
seen.login = await logIn('/reports?year=2026', 'alice');
seen.back = page.url();
seen.cookies = (await named('portcullis')).map(({ name, sameSite }) => ({ name, sameSite }));
const first = await named('session');
// Again, with a session: the form of another site does not bring it.
await logIn('/.portcullis/login?prove=anew&to=/again', 'alice');
seen.again = page.url();
seen.changed = (await named('session'))[0].value !== first[0].value;
seen.inside = await page.evaluate(() => fetch('/api/x').then((answer) => answer.status));
return seen;
"#,
    ]
    .concat();
    let seen = in_browser(&script, &[&world.own, &world.provider.issuer()]);
    assert_eq!(seen["problems"], json!([]), "{seen:#}");
    let login = json!([{ "name": "__Host-portcullis-login", "sameSite": "None", "secure": true, "httpOnly": true }]);
    assert_eq!(
        (&seen["login"], &seen["back"]),
        (&login, &json!(format!("{}/reports?year=2026", world.own))),
        "{seen:#}"
    );
    assert_eq!(seen["cookies"], json!([{ "name": "__Host-portcullis-session", "sameSite": "Lax" }]), "{seen:#}");
    assert_eq!((&seen["again"], &seen["changed"]), (&json!(format!("{}/again", world.own)), &json!(true)), "{seen:#}");
    let asked: Vec<&str> = seen["asked"].as_array().unwrap().iter().map(|asked| asked.as_str().unwrap()).collect();
    let posted = format!("POST {}/.portcullis/callback/staff", world.own);
    assert_eq!(asked.iter().filter(|asked| **asked == posted).count(), 2, "{asked:#?}");
    assert!(!asked.iter().any(|asked| asked.contains("code=")), "{asked:#?}");
    // Of the two sessions the first is over, though the browser did not show it with the form.
    let config = world.gateway.site.path("portcullis.toml");
    let listed = portcullis().arg("-c").arg(config).args(["session", "list", "-o", "json"]).run(PATIENCE);
    let listed: Value = serde_json::from_str(&listed.stdout.join("\n")).unwrap();
    assert_eq!((&seen["inside"], listed["sessions"].as_array().map(Vec::len)), (&json!(200), Some(1)), "{listed:#}");
}

#[test]
fn a_form_from_elsewhere_counts_at_the_callback_alone_and_only_in_the_browser_that_began() {
    let world = world(false, "response_mode = \"form_post\"");
    let mut browser = Browser::default();
    let begun = browser.once("GET", &format!("{}/.portcullis/login?to=/", world.own), &[], "");
    let address = begun.header("location").unwrap().to_owned();
    assert!(address.contains("response_mode=form_post"), "{address}");
    let state = between(&address, "state=", "&").unwrap();
    let issuer = world.provider.issuer().replace(':', "%3A").replace('/', "%2F");
    let body = format!("code=x&state={state}&iss={issuer}");
    let elsewhere = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://op.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    // Without the cookie it is nobody's login; with it the code is asked about, which the provider does not know.
    let check = |answer: &Answer, status: u16, reason: &str, words: &str| {
        let event = world.gateway.check_refused(words, answer, status, reason);
        assert!(event["message"].as_str().unwrap().contains(words), "{event:#}");
    };
    check(&world.page("POST", "callback/staff", &elsewhere, &body), 401, "authn.expired", "no login is under way");
    let jar = &browser.jars[&world.gateway.address];
    let cookies = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let shown = [&elsewhere[..], &[("cookie", cookies.as_str())]].concat();
    check(&world.page("POST", "callback/staff", &shown, &body), 401, "authn.invalid", "invalid_grant");
    // The other way counts no more, and no other page takes what comes from elsewhere.
    let query = format!("callback/staff?{body}");
    check(&world.page("GET", &query, &[("cookie", &cookies)], ""), 405, "request.malformed", "by GET");
    check(&world.page("POST", "logout", &elsewhere, "token=x"), 403, "request.malformed", "another site");
    check(&world.page("POST", "callback/nobody", &elsewhere, &body), 403, "request.malformed", "another site");
}

#[test]
fn where_answers_come_in_an_address_no_form_is_one() {
    let world = world(false, "");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = world.page("POST", "callback/staff", &headers, "code=x&state=y");
    world.gateway.check_refused("a form", &answer, 405, "request.malformed");
    let elsewhere = [headers[0], ("origin", "https://op.example")];
    let answer = world.page("POST", "callback/staff", &elsewhere, "code=x&state=y");
    world.gateway.check_refused("a form of another site", &answer, 403, "request.malformed");
}

#[test]
fn a_frame_of_the_providers_page_ends_the_session_in_chromium() {
    let world = world(true, "frontchannel_logout = true");
    let script = [
        LOG_IN,
        r#"
await logIn('/reports', 'alice');
seen.inside = await page.evaluate(() => fetch('/api/x').then((answer) => answer.status));
// At the provider itself, of which the gateway knows nothing.
await page.goto(provider + '/session/end');
const framed = page.waitForResponse((response) => response.url().includes('/frontchannel-logout/'));
await page.click('button[value=yes]');
const response = await framed;
seen.framed = [response.status(), response.request().resourceType(), (await response.request().allHeaders()).cookie ?? null];
await page.waitForFunction(() => document.getElementById('f'));
const frame = page.frames().find((frame) => frame !== page.mainFrame());
await frame.waitForLoadState();
seen.shown = [frame.url().startsWith(gateway), await frame.title()];
seen.left = (await named('session')).length;
seen.outside = (await context.request.get(gateway + '/api/x')).status();
return seen;
"#,
    ]
    .concat();
    let seen = in_browser(&script, &[&world.own, &world.provider.issuer()]);
    // The browser shows no cookie in the frame of another site, so none can be taken away there; and it opens nothing any more.
    assert_eq!((&seen["inside"], &seen["framed"]), (&json!(200), &json!([200, "document", null])), "{seen:#}");
    assert_eq!((&seen["shown"], &seen["problems"]), (&json!([true, "Logged out"]), &json!([])), "{seen:#}");
    assert_eq!((&seen["left"], &seen["outside"]), (&json!(1), &json!(401)), "{seen:#}");
    let ended = world.wait_for("session.ended", 1);
    assert!(
        ended[0]["message"].as_str().unwrap().contains("staff says that a session of user:alice is over"),
        "{ended:#?}"
    );
}

#[test]
fn a_frame_ends_what_its_provider_names_and_nothing_else() {
    let world = world(false, "frontchannel_logout = true");
    let mut browser = Browser::default();
    let login = browser.go(&format!("{}/reports", world.own));
    assert_eq!(browser.answer_provider(&world.provider, login, "alice").answer.status(), 200);
    let (sid, issuer) = (world.sid(), world.provider.issuer());
    let inside = |browser: &mut Browser| browser.once("GET", &format!("{}/reports", world.own), &[], "").status();
    let frame = |query: &str| world.page("GET", &format!("frontchannel-logout/staff{query}"), &[], "");
    for (query, reason) in [
        ("".to_owned(), "request.malformed"),
        (format!("?sid={sid}"), "request.malformed"),
        (format!("?iss={issuer}"), "request.malformed"),
        (format!("?iss={issuer}&sid="), "request.malformed"),
        (format!("?iss={issuer}&sid={sid}&sid={sid}"), "request.malformed"),
        (format!("?iss={issuer}x&sid={sid}"), "request.malformed"),
    ] {
        world.gateway.check_refused(&query, &frame(&query), 400, reason);
    }
    // Of a session that nobody has nothing is told.
    assert_eq!(frame(&format!("?iss={issuer}&sid={sid}x")).status(), 200);
    assert_eq!(inside(&mut browser), 200);
    // Some providers write their issuer otherwise here.
    let answer = frame(&format!("?iss={issuer}/&sid={sid}"));
    assert_eq!(answer.status(), 200);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.ends_with(&format!("frame-ancestors {issuer}")), "{policy}");
    assert_eq!((answer.header("x-frame-options"), answer.header("cache-control")), (None, Some("no-store")));
    assert_eq!(inside(&mut browser), 302);
    assert_eq!(world.wait_for("session.ended", 1).len(), 1);
    // Any other page may not be framed at all.
    let page = world.page("GET", "logged-out", &[], "");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    let method = world.page("POST", "frontchannel-logout/staff", &[], "");
    world.gateway.check_refused("by another method", &method, 405, "request.malformed");
}

#[test]
fn whatever_another_site_has_a_browser_send_counts_towards_no_ban() {
    let bans =
        "\n[ban]\ncredentials = { level = 1, half = \"1m\" }\nprobing = { level = 1, ratio = \"1%\", half = \"1m\" }\n";
    let world = world_with(false, "frontchannel_logout = true\nresponse_mode = \"form_post\"", bans);
    let image = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.example")];
    for number in 0..10 {
        for query in [format!("?iss=x&sid={number}"), format!("?sid={number}")] {
            let answer = world.page("GET", &format!("frontchannel-logout/staff{query}"), &image, "");
            world.gateway.check_refused("a frame", &answer, 400, "request.malformed");
        }
        let login = world.page("GET", &format!("login?to=/{number}"), &image, "");
        world.gateway.check_refused("an image", &login, 403, "request.malformed");
        let posted = world.page("POST", "logout", &form, "token=x");
        world.gateway.check_refused("a form", &posted, 403, "request.malformed");
    }
    assert_eq!(world.page("GET", "logged-out", &[], "").status(), 200, "nobody is banned");
    // Whoever looks for pages that are not there is, soon.
    let mut pages =
        (0..).map(|number| world.page("GET", &format!("nothing-{number}"), &[], "").json()["reason"].clone());
    let banned = wait::until(PATIENCE, || pages.next().filter(|reason| reason == "ban.active"));
    assert!(banned.is_some(), "bans are on");
}

#[test]
fn a_login_begins_and_ends_where_somebody_goes_to_its_page() {
    let world = world(false, "response_mode = \"form_post\"");
    let login = |headers: &[(&str, &str)]| world.page("GET", "login?to=/", headers, "");
    let navigation = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    // Whoever follows a link of another site goes to it; a browser that says nothing is believed.
    for headers in [&[][..], &navigation] {
        let answer = login(headers);
        assert_eq!((answer.status(), answer.head.header_values("set-cookie").len()), (302, 1), "{headers:?}");
    }
    let elsewhere = [
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-dest", "iframe")],
        &[("sec-fetch-dest", "frame")],
    ];
    for headers in elsewhere {
        let answer = login(headers);
        world.gateway.check_refused("no page", &answer, 403, "request.malformed");
        assert_eq!(answer.header("set-cookie"), None, "the login that is under way stays so");
        let form = [headers, &[("content-type", "application/x-www-form-urlencoded")]].concat();
        let ended = world.page("POST", "callback/staff", &form, "code=x&state=y");
        world.gateway.check_refused("no page", &ended, 403, "request.malformed");
        assert_eq!(ended.header("set-cookie"), None);
    }
}

#[test]
fn nobody_is_logged_out_in_a_frame_where_that_is_not_wanted() {
    let world = world(false, "");
    let mut browser = Browser::default();
    let login = browser.go(&format!("{}/reports", world.own));
    browser.answer_provider(&world.provider, login, "alice");
    let query = format!("frontchannel-logout/staff?iss={}&sid={}", world.provider.issuer(), world.sid());
    world.gateway.check_refused("not wanted", &world.page("GET", &query, &[], ""), 404, "route.not_found");
    assert_eq!(browser.once("GET", &format!("{}/reports", world.own), &[], "").status(), 200);
}

#[test]
fn whoever_comes_back_with_codes_that_are_none_holds_the_logins_of_nobody_else() {
    let mut world = world(false, "timeout = \"30s\"");
    let issuer = world.provider.issuer();
    // A provider that hangs: whoever comes back with a code waits for it.
    let begin = |from: &str| {
        let begun = world.gateway.get_from(from, "/.portcullis/login?to=/", &[]);
        let address = begun.header("location").unwrap().to_owned();
        let cookie = begun.head.header_values("set-cookie")[0].split(';').next().unwrap().to_owned();
        let state = between(&address, "state=", "&").unwrap().to_owned();
        (format!("/.portcullis/callback/staff?code=x&state={state}&iss={issuer}"), cookie)
    };
    let many: Vec<_> = (0..24).map(|_| begin("127.0.0.2")).collect();
    let other = begin("127.0.0.3");
    world.provider.hang(true);
    let send = |from: &str, (place, cookie): &(String, String)| {
        let mut connection = Conn::open_from(from.parse().unwrap(), world.gateway.address);
        connection.send(request("GET", place, &[("cookie", cookie)], b""));
        connection
    };
    let reason = |connection: &mut Conn| connection.answer().json()["reason"].as_str().unwrap().to_owned();
    let open: Vec<Conn> = many.iter().map(|one| send("127.0.0.2", one)).collect();
    // Those who find no place are told so at once, so all others are under way by then.
    let full = || {
        let events = world.gateway.events.all();
        let full = events.iter().filter(|event| event["reason"] == "limit.overload").count();
        (full == 8).then_some(())
    };
    assert!(wait::until(PATIENCE, full).is_some(), "eight of 24 find no place");
    // One login is ended once at a time, and whoever loads the page again has not lost it.
    let twice = wait::until(PATIENCE, || {
        many.iter().find_map(|one| {
            let answer = send("127.0.0.2", one).answer();
            (answer.json()["reason"] == "authn.expired").then_some(answer)
        })
    });
    let twice = twice.expect("it is under way");
    assert!(twice.header("set-cookie").is_none() && twice.text().contains("being completed already"), "{twice:?}");
    // They hang up: somebody else is heard, and those who come from there are, once what they had begun has ended.
    drop(open);
    let mut others = send("127.0.0.3", &other);
    world.provider.hang(false);
    assert_eq!(reason(&mut others), "authn.invalid", "somebody else is heard");
    let again = wait::until(PATIENCE, || {
        let reason = reason(&mut send("127.0.0.2", &begin("127.0.0.2")));
        (reason == "authn.invalid").then_some(())
    });
    assert!(again.is_some(), "nothing is held for ever");
}
