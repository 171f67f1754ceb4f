//! Browsers log in at a real provider of OpenID Connect, stay so for a while, and log out; and everything that an attacker would try on the way.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use portcullis_testkit::browser::in_browser;
use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::login_provider::{LoginProvider, SECRET};
use portcullis_testkit::ports::free_port;
use portcullis_testkit::process::Signal;
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Answer};
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind};
use crate::second_factors::code;

const SESSION: &str = "portcullis-session";
const LOGIN: &str = "portcullis-login";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) provider: LoginProvider,
    pub(crate) upstream: Upstream,
}

/// A gateway with this more in its configuration, in front of a provider.
pub(crate) fn world(login: &str, oidc: &str, more: impl FnOnce(&mut Site)) -> World {
    world_of(login, &format!("client_secret = {{ file = \"secret\" }}\n{oidc}"), json!({}), more)
}

/// The same, as a client of which the provider knows this.
fn world_of(login: &str, oidc: &str, client: Value, more: impl FnOnce(&mut Site)) -> World {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let provider = LoginProvider::start_with(&format!("http://{address}/.portcullis"), client);
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.listen_on(address);
    site.file("secret", SECRET);
    site.tell_identity();
    site.add(&format!(
        "[identity.login]\nallow_http = true\n{login}\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\n\
         allow_http = true\ntrust_groups = [\"finance\"]\n{oidc}\n",
        provider.issuer()
    ));
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    more(&mut site);
    World { gateway: site.start(), provider, upstream }
}

fn plain() -> World {
    world("", "", |_| {})
}

/// What a person's browser does, and no more: it follows redirects, keeps cookies for each host and port, and fills in forms.
#[derive(Default)]
pub(crate) struct Browser {
    pub(crate) jars: BTreeMap<SocketAddr, BTreeMap<String, String>>,
    /// Where it has been.
    pub(crate) visited: Vec<String>,
    /// The values of all cookies that it was given.
    pub(crate) given: Vec<String>,
}

/// Where a browser has come to.
pub(crate) struct Shown {
    pub(crate) url: String,
    pub(crate) answer: Answer,
}

fn parted(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not an address of the test: {url}"));
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    (authority.parse().unwrap(), if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

impl Browser {
    /// One request, without following anything.
    pub(crate) fn once(&mut self, method: &str, url: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let (address, path) = parted(url);
        self.visited.push(url.to_owned());
        let jar = self.jars.entry(address).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (host, cookies) = (address.to_string(), cookies.join("; "));
        let mut headers = vec![("host", host.as_str()), ("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        headers.extend(more);
        let answer = wire::send(address, wire::request(method, &path, &headers, body.as_bytes()));
        for line in answer.head.header_values("set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let attributes = attributes.to_ascii_lowercase();
            self.given.push(value.to_owned());
            if value.is_empty() || attributes.contains("max-age=0") || attributes.contains("expires=thu, 01 jan 1970") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Goes there, and wherever that leads.
    pub(crate) fn go(&mut self, url: &str) -> Shown {
        self.follow("GET", url, "")
    }

    fn follow(&mut self, method: &str, url: &str, body: &str) -> Shown {
        let (mut method, mut url, mut body) = (method, url.to_owned(), body);
        for _ in 0..20 {
            let answer = self.once(method, &url, &[], body);
            let Some(location) = answer.header("location").map(str::to_owned) else { return Shown { url, answer } };
            let (address, _) = parted(&url);
            url = if location.starts_with('/') { format!("http://{address}{location}") } else { location };
            (method, body) = ("GET", "");
        }
        panic!("it leads on and on: {url}");
    }

    /// Sends the form of a page with these fields beside the hidden ones.
    fn submit(&mut self, page: &Shown, fields: &str) -> Shown {
        let html = page.answer.text();
        let action = between(html, "action=\"", "\"").unwrap_or_else(|| panic!("no form at {}: {html}", page.url));
        let hidden = html.split("<input").filter(|input| input.contains("type=\"hidden\"")).filter_map(|input| {
            Some(format!("{}={}", between(input, "name=\"", "\"")?, between(input, "value=\"", "\"")?))
        });
        let body = hidden.chain([fields.to_owned()]).filter(|field| !field.is_empty()).collect::<Vec<_>>().join("&");
        let (address, _) = parted(&page.url);
        let action = if action.starts_with('/') { format!("http://{address}{action}") } else { action.to_owned() };
        self.follow("POST", &action, &body)
    }

    /// Fills in what a provider shows, up to its answer to the gateway.
    pub(crate) fn answer_provider(&mut self, provider: &LoginProvider, shown: Shown, who: &str) -> Shown {
        let mut shown = shown;
        for _ in 0..3 {
            if !shown.url.starts_with(&provider.issuer()) {
                break;
            }
            let asks_for_login = shown.answer.text().contains("name=\"login\"");
            let fields = if asks_for_login { format!("login={who}&password=x") } else { String::new() };
            shown = self.submit(&shown, &fields);
        }
        shown
    }

    fn cookie(&self, address: SocketAddr, name: &str) -> Option<&String> {
        self.jars.get(&address)?.get(name)
    }
}

pub(crate) fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(behind)?.0)
}

impl World {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address)
    }

    /// Logs in as somebody on the way to a path, and says what is shown in the end.
    fn log_in(&self, browser: &mut Browser, who: &str, path: &str) -> Shown {
        let login = browser.go(&self.url(path));
        assert!(login.url.starts_with(&self.provider.issuer()), "{}: {}", login.url, login.answer.text());
        self.answer_provider(browser, login, who)
    }

    /// Fills in what the provider shows, up to its answer to the gateway.
    pub(crate) fn answer_provider(&self, browser: &mut Browser, shown: Shown, who: &str) -> Shown {
        browser.answer_provider(&self.provider, shown, who)
    }

    /// The address at which the provider's answer would be given to the gateway, which is not asked for.
    fn callback(&self, browser: &mut Browser, who: &str) -> String {
        let mut next = self.url("/");
        let (mut method, mut body) = ("GET", String::new());
        for _ in 0..30 {
            if next.contains("/.portcullis/callback/") {
                return next;
            }
            let answer = browser.once(method, &next, &[], &body);
            let (address, _) = parted(&next);
            let whole =
                |link: &str| if link.starts_with('/') { format!("http://{address}{link}") } else { link.to_owned() };
            if let Some(location) = answer.header("location") {
                (method, body, next) = ("GET", String::new(), whole(location));
                continue;
            }
            let html = answer.text().to_owned();
            let prompt = if html.contains("name=\"login\"") {
                format!("prompt=login&login={who}&password=x")
            } else {
                "prompt=consent".to_owned()
            };
            (method, body) = ("POST", prompt);
            next = whole(between(&html, "action=\"", "\"").unwrap_or_else(|| panic!("no form at {next}: {html}")));
        }
        panic!("no answer of the provider");
    }

    fn wait_for(&self, kind: &str, count: usize) -> Vec<Value> {
        self.gateway.wait_for_events(kind, count)
    }

    /// Waits until the provider was asked so often whether sessions still hold.
    fn wait_for_refreshes(&self, count: u64) {
        let asked = || (self.provider.requests("refresh_token") >= count).then_some(());
        wait::until(PATIENCE, asked).expect("the provider is asked again");
    }

    fn run(&self, arguments: &[&str]) -> portcullis_testkit::process::Finished {
        self.gateway.site.ask(arguments)
    }

    fn sessions(&self) -> Value {
        let finished = self.run(&["session", "list", "-o", "json"]);
        serde_json::from_str(&finished.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
    }
}

#[test]
fn a_browser_logs_in_and_the_upstream_is_told_who_it_is() {
    let world = plain();
    let mut browser = Browser::default();
    let shown = world.log_in(&mut browser, "alice", "/reports?year=2026");
    assert_eq!((shown.answer.status(), shown.url.as_str()), (200, world.url("/reports?year=2026").as_str()));
    let cookie = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    assert!(browser.cookie(world.gateway.address, LOGIN).is_none(), "the login is over");
    // Again, without asking the provider; with a cookie of the tool's own beside it.
    let answer = browser.once("GET", &world.url("/again"), &[], "");
    assert_eq!(answer.status(), 200);
    let seen = world.upstream.requests();
    let last = seen.last().unwrap();
    assert_eq!((last.header("x-auth-user"), last.header("x-auth-groups")), (Some("alice"), Some("finance")));
    // I5: neither the session nor a login under way goes on.
    for request in &seen {
        let text = format!("{:?}", request.head);
        assert!(!text.contains("portcullis-") && !text.contains(&cookie), "{text}");
    }
    let opened = world.wait_for("session.opened", 1);
    assert_eq!(opened[0]["identity"]["id"], "alice");
    assert_eq!(opened[0]["identity"]["method"], "oidc");
    assert_eq!(opened[0]["policy"]["rule"], "staff");
    let sessions = world.sessions();
    assert_eq!(sessions["sessions"][0]["principal"], "user:alice");
    assert_eq!(sessions["sessions"][0]["id"], opened[0]["identity"]["session"]);
    // What was recorded of the way there is the challenge, and no secret.
    let events = world.gateway.events.all();
    let challenged = of_kind(&events, "access.denied");
    assert_eq!(
        (challenged.len(), &challenged[0]["reason"], &challenged[0]["status"]),
        (1, &"authn.missing".into(), &302.into())
    );
    let text = world.gateway.events.text();
    assert!(!text.contains(&cookie) && !text.contains(SECRET) && !text.contains("code="), "{text}");
}

#[test]
fn programs_are_told_401_and_browsers_are_led_to_the_login() {
    let world = plain();
    let html = ("accept", "text/html,*/*;q=0.8");
    let asked = |headers: &[(&str, &str)]| {
        let answer = world.gateway.get("/reports?a=b", headers);
        (answer.status(), answer.header("location").map(str::to_owned))
    };
    let place = Some("/.portcullis/login?to=/reports%3Fa%3Db".to_owned());
    assert_eq!(asked(&[html]), (302, place.clone()));
    assert_eq!(asked(&[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]), (302, place));
    for program in [
        &[][..],
        &[("accept", "application/json")],
        &[("accept", "*/*")],
        &[html, ("sec-fetch-mode", "cors")],
        &[html, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        &[html, ("authorization", "Bearer x"), ("cookie", "portcullis-session=x")],
    ] {
        assert_eq!(asked(program), (401, None), "{program:?}");
    }
    let answer = world.gateway.get("/", &[("accept", "application/json")]);
    world.gateway.check_refused("a program", &answer, 401, "authn.missing");
    // A form that is sent to a tool without a session is not sent again after a login.
    let post = wire::request("POST", "/", &[html], b"");
    assert_eq!(world.gateway.send(post).status(), 401);
}

#[test]
fn nobody_is_led_away_by_a_link() {
    let world = plain();
    for (to, expected) in [
        ("/fine?x=1", "/fine?x=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/%5Cevil.example/", "/"),
        ("/%09/evil.example/", "/"),
        ("%2F%2Fevil.example", "/"),
    ] {
        let mut browser = Browser::default();
        let shown = browser.go(&world.url(&format!("/.portcullis/login?to={}", to.replace('?', "%3F"))));
        let shown = world.answer_provider(&mut browser, shown, "alice");
        assert_eq!(shown.url, world.url(expected), "{to}");
    }
}

#[test]
fn a_login_belongs_to_one_browser_and_is_done_once() {
    let world = plain();
    let check = |answer: &Answer, what: &str, reason: &str, words: &str| {
        assert_eq!(answer.status(), 401, "{what}: {}", answer.text());
        assert!(answer.text().contains(answer.header("x-request-id").unwrap()), "{what}: the page names the request");
        assert!(answer.head.header_values("set-cookie").iter().all(|line| !line.contains("-session=")), "{what}");
        let event = world.gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
        assert_eq!(event["reason"], reason, "{what}");
        assert!(event["message"].as_str().unwrap().contains(words), "{what}: {event:#}");
    };
    let over = |answer: &Answer, what: &str, words: &str| check(answer, what, "authn.expired", words);
    let refused = |answer: &Answer, what: &str, words: &str| check(answer, what, "authn.invalid", words);
    // Login CSRF: the attacker's answer in the victim's browser, with and without a login of its own under way.
    let mut attacker = Browser::default();
    let link = world.callback(&mut attacker, "mallory");
    let mut victim = Browser::default();
    over(&victim.once("GET", &link, &[], ""), "without a login", "no login is under way");
    victim.callback_started(&world);
    over(&victim.once("GET", &link, &[], ""), "with another login", "the `state`");
    // Code injection: the victim's state with the attacker's code. PKCE and nonce bind a code to the login that it was got by.
    let mut victim = Browser::default();
    let own = world.callback(&mut victim, "alice");
    let code = between(&link, "code=", "&").unwrap();
    let injected = own.replacen(between(&own, "code=", "&").unwrap(), code, 1);
    refused(&victim.once("GET", &injected, &[], ""), "an injected code", "the code of a login was not exchanged");
    // A login is done once: its answer is worth nothing afterwards, with its cookie or without.
    let mut alice = Browser::default();
    let link = world.callback(&mut alice, "alice");
    let kept = alice.jars.clone();
    assert_eq!(alice.once("GET", &link, &[], "").status(), 302);
    assert!(alice.cookie(world.gateway.address, SESSION).is_some());
    let mut thief = Browser { jars: kept, ..Browser::default() };
    refused(&thief.once("GET", &link, &[], ""), "replayed", "a second time");
    // A mix-up: another provider's name in the answer (RFC 9207).
    let mut alice = Browser::default();
    let link = world.callback(&mut alice, "alice");
    let issuer = between(&link, "iss=", "&").or_else(|| link.split_once("iss=").map(|(_, rest)| rest)).unwrap();
    let mixed = link.replacen(issuer, "https%3A%2F%2Fevil.example", 1);
    let answer = alice.once("GET", &mixed, &[], "");
    let event = world.gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
    assert_eq!((answer.status(), &event["reason"]), (401, &"authn.wrong_issuer".into()));
}

impl Browser {
    /// Begins a login and does not end it.
    fn callback_started(&mut self, world: &World) {
        let answer = self.once("GET", &world.url("/.portcullis/login"), &[], "");
        assert_eq!(answer.status(), 302);
        assert!(self.cookie(world.gateway.address, LOGIN).is_some());
    }
}

#[test]
fn a_session_that_was_planted_is_not_the_one_that_a_login_opens() {
    let world = plain();
    let mut mallory = Browser::default();
    world.log_in(&mut mallory, "mallory", "/");
    let planted = mallory.cookie(world.gateway.address, SESSION).unwrap().clone();
    // The victim has the attacker's session, and logs in as herself.
    let mut alice = Browser::default();
    alice.jars.entry(world.gateway.address).or_default().insert(SESSION.to_owned(), "A".repeat(43));
    world.log_in(&mut alice, "alice", "/");
    let own = alice.cookie(world.gateway.address, SESSION).unwrap();
    assert!(*own != planted && *own != "A".repeat(43), "a login gives a new id");
    // The cookie that browsers take from TLS alone is another one, so none of another host or of plain text counts there.
    let two = format!("portcullis-session={own}; portcullis-session={planted}");
    let answer = world.gateway.get("/", &[("cookie", &two)]);
    world.gateway.check_refused("two sessions", &answer, 401, "authn.ambiguous");
    let both = format!("portcullis-session={own}; __Host-portcullis-session={planted}");
    let answer = world.gateway.get("/", &[("cookie", &both)]);
    world.gateway.check_refused("of TLS and of plain text", &answer, 401, "authn.ambiguous");
}

#[test]
fn two_principals_in_one_request_are_refused() {
    let signer = SigningKey::es256("k");
    let world = world("", "prefix = \"staff:\"", |site| site.accept_tokens(&[&signer], ""));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let cookie = format!("portcullis-session={}", browser.cookie(world.gateway.address, SESSION).unwrap());
    let token = bearer(&signer, &claims("alice"));
    assert_eq!(world.gateway.get("/", &[("cookie", &cookie)]).status(), 200);
    assert_eq!(world.gateway.get("/", &[("authorization", &token)]).status(), 200);
    let answer = world.gateway.get("/", &[("cookie", &cookie), ("authorization", &token)]);
    world.gateway.check_refused("a session and a token", &answer, 401, "authn.ambiguous");
}

#[test]
fn who_is_logged_in_is_seen_in_the_store_where_no_gateway_runs() {
    let world = world("", "", |site| site.add("[store]\npath = \"state.db\"\n"));
    world.log_in(&mut Browser::default(), "alice", "/");
    let told = |sessions: &Value| {
        let of = |session: &Value| ["id", "principal", "provider", "created", "until"].map(|key| session[key].clone());
        sessions["sessions"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let live = told(&world.sessions());
    assert_eq!((live.len(), &live[0][1]), (1, &Value::from("user:alice")));
    let World { gateway, provider: _provider, upstream: _upstream } = world;
    let (site, mut process) = (gateway.site, gateway.process);
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let finished = site.ask(&["session", "list", "-o", "json"]);
    assert_eq!(told(&serde_json::from_str(&finished.stdout.join("\n")).unwrap()), live, "{finished:?}");
    assert!(finished.stderr.concat().contains("no gateway answers: this is what the store"), "{finished:?}");
}

#[test]
fn logging_out_is_a_form_of_our_own_and_ends_the_session_for_good() {
    let world = world("", "", |site| site.add("[store]\npath = \"state.db\"\n"));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let session = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    let (cookie, logout) = (format!("portcullis-session={session}"), world.url("/.portcullis/logout"));
    let works = |world: &World| world.gateway.get("/", &[("cookie", &cookie)]).status() == 200;
    // Following a link logs nobody out, nor does a form of another site, with whatever token.
    let page = browser.go(&logout);
    assert_eq!(page.answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.answer.header("cache-control"), Some("no-store"));
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'")
            && !policy.contains("unsafe")
            && policy.contains("frame-ancestors 'none'")
    );
    assert!(!page.answer.text().contains("<script") && !page.answer.text().contains(&session));
    let token = between(page.answer.text(), "name=\"token\" value=\"", "\"").unwrap().to_owned();
    for (headers, body) in [
        (&[][..], String::new()),
        (&[], "token=x".to_owned()),
        (&[], format!("token={token}&token={token}")),
        (&[("origin", "https://evil.example")], format!("token={token}")),
        (&[("sec-fetch-site", "cross-site")], format!("token={token}")),
        (&[("sec-fetch-site", "same-site")], format!("token={token}")),
        (&[("origin", "null")], format!("token={token}")),
    ] {
        let answer = browser.once("POST", &logout, headers, &body);
        assert_eq!(answer.status(), 403, "{headers:?} {body}");
        assert!(works(&world), "{headers:?} {body}");
    }
    let own = format!("http://{}", world.gateway.address);
    let answer = browser.once(
        "POST",
        &logout,
        &[("origin", &own), ("sec-fetch-site", "same-origin")],
        &format!("token={token}"),
    );
    assert_eq!(answer.status(), 302);
    // There, too (RP-Initiated Logout).
    let location = answer.header("location").unwrap();
    assert!(
        location.starts_with(&format!(
            "{}/session/end?client_id=portcullis&post_logout_redirect_uri=",
            world.provider.issuer()
        )),
        "{location}"
    );
    assert!(browser.cookie(world.gateway.address, SESSION).is_none());
    assert!(!works(&world));
    let answer = world.gateway.get("/", &[("cookie", &cookie)]);
    world.gateway.check_refused("after the logout", &answer, 401, "authn.expired");
    assert_eq!(world.wait_for("session.ended", 1)[0]["identity"]["id"], "alice");
    // What was answered is on the disk: a process that is killed has not forgotten it, nor those who are still in.
    let mut bob = Browser::default();
    world.log_in(&mut bob, "bob", "/");
    let World { mut gateway, provider: _provider, upstream: _upstream } = world;
    gateway.process.signal(Signal::Kill);
    let Gateway { site, process, .. } = gateway;
    drop(process);
    let again = site.start();
    let bobs = format!("portcullis-session={}", bob.cookie(again.address, SESSION).unwrap());
    assert_eq!(again.get("/", &[("cookie", &bobs)]).status(), 200);
    assert_eq!(again.get("/", &[("cookie", &cookie)]).status(), 401);
}

#[test]
fn a_provider_says_that_a_session_is_over() {
    let world = plain();
    let (mut alice, mut bob) = (Browser::default(), Browser::default());
    world.log_in(&mut alice, "alice", "/");
    world.log_in(&mut bob, "bob", "/");
    let status =
        |browser: &mut Browser| browser.once("GET", &world.url("/"), &[("accept", "application/json")], "").status();
    assert_eq!((status(&mut alice), status(&mut bob)), (200, 200));
    // Alice logs out at the provider itself, which tells the gateway before it answers her.
    let page = alice.go(&format!("{}/session/end", world.provider.issuer()));
    let page = alice.submit(&page, "logout=yes");
    assert_eq!(page.answer.status(), 200, "{}", page.answer.text());
    let over = || (status(&mut Browser { jars: alice.jars.clone(), ..Browser::default() }) == 401).then_some(());
    assert!(wait::until(PATIENCE, over).is_some(), "her session goes on");
    assert_eq!(status(&mut bob), 200);
    let answer = alice.once("GET", &world.url("/"), &[("accept", "application/json")], "");
    world.gateway.check_refused("after it", &answer, 401, "authn.expired");
    assert!(world.wait_for("session.ended", 1)[0]["message"].as_str().unwrap().contains("user:alice"));
    // What is no logout token ends nothing.
    let place = "/.portcullis/backchannel-logout/staff";
    for body in ["", "logout_token=", "logout_token=a.b.c", "token=x"] {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = world.gateway.send(wire::request("POST", place, &headers, body.as_bytes()));
        assert_eq!((answer.status(), answer.header("cache-control")), (400, Some("no-store")), "{body}");
    }
    assert_eq!(status(&mut bob), 200);
}

#[test]
fn an_operator_lists_sessions_and_ends_them_on_streams_too() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    let world = world("", "", |site| {
        site.add("[limits]\nrecheck = \"1s\"\n");
        site.add(&format!("[[upstream]]\nname = \"peer\"\nendpoints = [\"http://{address}\"]\n"));
        site.add(
            "[[route]]\nname = \"socket\"\nupstream = \"peer\"\npaths = [\"/socket\"]\nupgrades = [\"websocket\"]\n",
        );
    });
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let cookie = format!("portcullis-session={}", browser.cookie(world.gateway.address, SESSION).unwrap());
    let sessions = world.sessions();
    let id = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 16);
    assert!(!sessions.to_string().contains(&cookie["portcullis-session=".len()..]));
    let mut tunnel = world.gateway.conn();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    tunnel.send(wire::request(
        "GET",
        "/socket",
        &[
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", key),
            ("cookie", &cookie),
        ],
        b"",
    ));
    let (mut upstream, _) = peer.accept().unwrap();
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.write_all(switched.as_bytes()).unwrap();
    assert_eq!(tunnel.try_head().unwrap().status, 101);
    assert_eq!(world.run(&["session", "revoke", "0123456789abcdef"]).status.code(), Some(1));
    assert_eq!(world.run(&["session", "revoke", "--user", "bob"]).status.code(), Some(1));
    let done = world.run(&["session", "revoke", &id[..8]]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stdout.join("\n").contains("1 session of user:alice ended"), "{done:?}");
    let answer = world.gateway.get("/", &[("cookie", &cookie)]);
    world.gateway.check_refused("revoked", &answer, 401, "authn.revoked");
    // The stream is cut within `recheck`, and a little.
    assert!(tunnel.closed_within(PATIENCE));
    let cut = wait::until(PATIENCE, || {
        world.gateway.events.all().into_iter().find(|event| event["reason"] == "session.terminated")
    });
    let cut = cut.expect("the stream's end is an event");
    assert_eq!(cut["reasons"][1], "authn.revoked", "{cut:#}");
    assert_eq!(world.wait_for("admin.session_revoke", 3).last().unwrap()["decision"], "permit");
    assert_eq!(world.sessions()["sessions"].as_array().unwrap().len(), 0);
}

#[test]
fn a_session_ends_by_itself_and_with_the_settings_it_was_opened_under() {
    let mut world = world("idle = \"10s\"\nwhoami = true", "", |_| {});
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let whoami = world.url("/.portcullis/whoami");
    let known = |browser: &mut Browser| browser.once("GET", &whoami, &[], "").json();
    let first = known(&mut browser);
    assert_eq!(
        (&first["principal"], &first["how"], &first["known"]),
        (&"user:alice".into(), &"oidc".into(), &true.into())
    );
    assert_eq!(first["groups"], serde_json::json!(["finance"]));
    let over = || (known(&mut browser)["known"] == false).then_some(());
    // Asking who one is keeps nobody from being idle.
    assert!(wait::until(PATIENCE, over).is_some());
    // With another prefix nobody is who they were.
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let config = world.gateway.site.path("portcullis.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("idle = \"10s\"", "idle = \"5m\"")
            .replace("allow_http = true\ntrust", "prefix = \"s:\"\nallow_http = true\ntrust"),
    )
    .unwrap();
    world.gateway.reload("ok");
    let cookie = format!("portcullis-session={}", browser.cookie(world.gateway.address, SESSION).unwrap());
    let answer = world.gateway.get("/", &[("cookie", &cookie)]);
    let event = world.gateway.check_refused("another prefix", &answer, 401, "authn.expired");
    assert!(event.to_string().contains("not configured any more as it was then"), "{event:#}");
}

#[test]
fn a_provider_that_is_down_is_said_to_be() {
    let mut world = plain();
    let mut alice = Browser::default();
    world.log_in(&mut alice, "alice", "/");
    let mut bob = Browser::default();
    let link = world.callback(&mut bob, "bob");
    world.provider.stop();
    // Whoever is in stays in; whoever is on the way is told to try again.
    assert_eq!(alice.once("GET", &world.url("/"), &[], "").status(), 200);
    let answer = bob.once("GET", &link, &[], "");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let event = world.gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
    assert_eq!((&event["reason"], &event["decision"]), (&"dependency.keys_unavailable".into(), &"undecided".into()));
    world.provider.start_again();
    // It has another key now, which is fetched once `cooldown` is over.
    let back = wait::until(PATIENCE, || {
        let mut carol = Browser::default();
        let shown = carol.go(&world.url("/"));
        let shown = world.answer_provider(&mut carol, shown, "carol");
        (shown.answer.status() == 200 && shown.url == world.url("/")).then_some(())
    });
    assert!(back.is_some(), "nobody can log in again");
}

#[test]
fn a_session_is_asked_about_again_and_ends_when_its_provider_forgets_it() {
    let mut world = world("", "refresh = \"1s\"", |_| {});
    let mut alice = Browser::default();
    world.log_in(&mut alice, "alice", "/");
    let cookie = format!("portcullis-session={}", alice.cookie(world.gateway.address, SESSION).unwrap());
    let status = |world: &World| world.gateway.get("/", &[("cookie", &cookie)]).status();
    assert_eq!(world.gateway.metric("portcullis_sessions"), Some(1.0));
    assert_eq!(world.gateway.metric("portcullis_sessions_opened_total"), Some(1.0));
    // One that does not answer leaves the session as it is, and says so once it is asked.
    world.provider.stop();
    world.gateway.process.wait_for_line("a session's provider does not answer");
    assert_eq!(status(&world), 200);
    // One that knows nothing of it any more ends it.
    world.provider.start_again();
    let over = wait::until(PATIENCE, || (status(&world) == 401).then_some(()));
    assert!(over.is_some());
    let ended = world.wait_for("session.ended", 1);
    assert!(ended[0]["message"].as_str().unwrap().contains("does not confirm it any more"), "{:#}", ended[0]);
    assert_eq!(ended[0]["identity"]["id"], "alice");
    assert_eq!(world.gateway.metric("portcullis_sessions_ended_total"), Some(1.0));
}

#[test]
fn the_gateways_own_pages_are_behind_one_door() {
    let world = plain();
    let asked = |request: Vec<u8>| {
        let answer = world.gateway.send(request);
        let event = world.gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
        (answer.status(), event["reason"].as_str().unwrap().to_owned())
    };
    let refused = |status: u16, reason: &str| (status, reason.to_owned());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for page in
        ["", "/", "/nothing", "/login/x", "/callback", "/callback/nobody", "/whoami", "/backchannel-logout/nobody"]
    {
        let method = if page.starts_with("/back") { "POST" } else { "GET" };
        let request = wire::request(method, &format!("/.portcullis{page}"), &form, b"");
        assert_eq!(asked(request), refused(404, "route.not_found"), "{page}");
    }
    for (method, page) in
        [("POST", "login"), ("PUT", "logout"), ("GET", "backchannel-logout/staff"), ("POST", "callback/staff")]
    {
        let request = wire::request(method, &format!("/.portcullis/{page}"), &form, b"");
        assert_eq!(asked(request), refused(405, "request.malformed"), "{method} {page}");
    }
    let large = format!("logout_token={}", "x".repeat(64 << 10));
    let request = wire::request("POST", "/.portcullis/backchannel-logout/staff", &form, large.as_bytes());
    assert_eq!(asked(request), refused(400, "request.malformed"));
    // Nothing of all that went further.
    assert_eq!(world.gateway.get("/.portcullis/logged-out", &[]).status(), 200);
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn without_tls_nobody_logs_in_unless_that_is_wanted() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add(
        "[identity.login]\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"https://127.0.0.1:1\"\nclient_id = \"x\"\n",
    );
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.7\"]\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let html = ("accept", "text/html");
    assert_eq!(gateway.get("/", &[html]).status(), 401);
    assert_eq!(gateway.get("/.portcullis/login", &[html]).status(), 403);
    // A trusted proxy ends TLS; nobody else can say that.
    let over_tls = [html, ("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.7")];
    let answer = gateway.get_from("127.0.0.7", "/a", &over_tls);
    assert_eq!((answer.status(), answer.header("location")), (302, Some("/.portcullis/login?to=/a")));
    assert_eq!(gateway.get("/a", &over_tls).status(), 401);
    // The provider is not there: that is said, as a page.
    let answer = gateway.get_from("127.0.0.7", "/.portcullis/login?to=/a", &over_tls);
    assert_eq!((answer.status(), answer.header("content-type")), (503, Some("text/html; charset=utf-8")));
    // A session's cookie of plain text is none here.
    let answer = gateway.get("/", &[("cookie", "portcullis-session=x")]);
    gateway.check_refused("a cookie of plain text", &answer, 401, "authn.missing");
    let answer = gateway.get("/", &[("cookie", "__Host-portcullis-session=x")]);
    gateway.check_refused("not one of ours", &answer, 401, "authn.invalid");
}

#[test]
fn the_gateway_signs_who_it_is_instead_of_sharing_a_secret() {
    let (key, other) = (SigningKey::es256("gateway-1"), SigningKey::rs256("gateway-2"));
    let client = json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [key.jwk(), other.jwk()] },
    });
    for (pem, oidc) in [
        // To its issuer, by the name of the key; to its token endpoint, by the algorithm alone; and with another kind of key.
        (key.pem(), "client_key_id = \"gateway-1\"\nrefresh = \"1s\""),
        (key.pem(), "client_auth = \"private_key_jwt\"\nclient_audience = \"token_endpoint\""),
        (other.pem(), "client_key_alg = \"RS256\"\nclient_key_id = \"gateway-2\""),
    ] {
        let oidc = format!("client_key = {{ file = \"client.pem\" }}\n{oidc}");
        let world = world_of("", &oidc, client.clone(), |site| site.file("client.pem", &pem));
        let mut browser = Browser::default();
        let shown = world.log_in(&mut browser, "alice", "/reports");
        assert_eq!((shown.answer.status(), shown.url), (200, world.url("/reports")), "{oidc}");
        if oidc.contains("refresh") {
            // Each exchange has an assertion of its own: a provider takes one once.
            let asked = world.gateway.metric("portcullis_sessions");
            assert_eq!(asked, Some(1.0));
            world.wait_for_refreshes(2);
            assert_eq!(browser.once("GET", &world.url("/"), &[], "").status(), 200);
        }
        let told = world.gateway.events.text();
        assert!(!told.contains("PRIVATE KEY") && !told.contains("client_assertion"), "{told}");
    }
    // A key that the provider does not know proves nothing.
    let oidc = "client_key = { file = \"client.pem\" }\nclient_key_id = \"gateway-1\"";
    let world = world_of("", oidc, client, |site| site.file("client.pem", &key.impostor().pem()));
    let mut browser = Browser::default();
    let shown = world.log_in(&mut browser, "alice", "/reports");
    assert_eq!(shown.answer.status(), 401, "{}", shown.answer.text());
    assert!(browser.cookie(world.gateway.address, SESSION).is_none());
    let event = world.gateway.events.wait_for_request(shown.answer.header("x-request-id").unwrap());
    assert!(event["message"].as_str().unwrap().contains("invalid_client"), "{event:#}");
}

/// Everything is granted to whoever is known; what is below `/fresh` to who has just logged in, below `/vault` with a second factor.
const FRESHNESS: &str = r#"
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"], not_actions = ["* /fresh/**", "* /vault/**"] }]
[[role]]
name = "fresh"
permissions = [{ actions = ["* /fresh/**"] }]
[[role]]
name = "vault"
permissions = [{ actions = ["* /vault/**"] }]
[[assignment]]
name = "nearly-everything"
role = "everything"
principals = ["authenticated"]
scope = "*"
[[assignment]]
name = "fresh"
role = "fresh"
principals = ["authenticated"]
scope = "*"
when = { max_age = "12s" }
[[assignment]]
name = "vault"
role = "vault"
principals = ["authenticated"]
scope = "*"
when = { assurance = "mfa", max_age = "1h" }
"#;

#[test]
fn a_browser_whose_login_is_too_old_or_too_weak_is_led_to_a_better_one() {
    let world = world("", "claims = { acr = \"level\" }", |site| site.policy(&[FRESHNESS, NO_BANS].concat()));
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/a");
    // Who lets it pass unasked says nothing of when somebody authenticated: it is asked, and asks.
    let place = world.url("/fresh/a?b=c");
    let asked = browser.once("GET", &place, &[], "");
    let location = asked.header("location").unwrap().to_owned();
    assert_eq!((asked.status(), location.as_str()), (302, "/.portcullis/login?prove=anew&to=/fresh/a%3Fb%3Dc"));
    let event = world.gateway.events.wait_for_request(asked.header("x-request-id").unwrap());
    assert_eq!((&event["reason"], &event["status"]), (&"step_up.required".into(), &302.into()), "{event:#}");
    assert_eq!((&event["remedy"]["acr_values"], &event["remedy"]["max_age_s"]), (&json!(null), &json!(12)));
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("assignment fresh demands it, at most 12s ago"), "{message}");
    let sent = browser.once("GET", &world.url(&location), &[], "");
    let sent = sent.header("location").unwrap();
    assert!(sent.contains("&prompt=login&max_age=0") && !sent.contains("acr_values"), "{sent}");
    let shown = browser.go(&place);
    assert!(shown.answer.text().contains("name=\"login\""), "it asks again: {}", shown.answer.text());
    let before = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    let shown = world.answer_provider(&mut browser, shown, "alice");
    assert_eq!((shown.answer.status(), shown.url), (200, place.clone()));
    assert_ne!(*browser.cookie(world.gateway.address, SESSION).unwrap(), before);
    assert_eq!(world.sessions()["sessions"].as_array().unwrap().len(), 1, "the old one is over");
    // It is too old after a while, and a program is told so.
    let cookie = format!("portcullis-session={}", browser.cookie(world.gateway.address, SESSION).unwrap());
    let program = [("cookie", cookie.as_str()), ("accept", "application/json")];
    let stale = || Some(world.gateway.get("/fresh/a", &program)).filter(|answer| answer.status() == 401);
    let stale = wait::until(PATIENCE, stale).expect("it is too old in the end");
    let challenge = stale.header("www-authenticate").unwrap();
    assert!(challenge.contains("max_age=\"12\"") && !challenge.contains("acr_values"), "{challenge}");
    assert_eq!(browser.once("GET", &world.url("/a"), &[], "").status(), 200, "elsewhere it holds");

    // A second factor, where the gateway keeps none itself, is the provider's affair.
    let shown = browser.go(&world.url("/vault/a"));
    let (_, query) = shown.url.split_once("/interaction").unwrap_or(("", ""));
    assert!(shown.url.starts_with(&world.provider.issuer()), "{} {query}", shown.url);
    // Somebody of whom it says none that counts is told so, and led nowhere.
    let shown = world.answer_provider(&mut browser, shown, "alice");
    assert_eq!(shown.answer.status(), 403, "{}", shown.answer.text());
    let event = world.gateway.events.wait_for_request(shown.answer.header("x-request-id").unwrap());
    assert_eq!(event["reason"], "step_up.required", "{event:#}");
    assert_eq!(browser.once("GET", &world.url("/a"), &[], "").status(), 200, "the session that there was goes on");
    let sent = browser.once("GET", &world.url("/.portcullis/login?prove=mfa&to=/vault/a"), &[], "");
    assert!(sent.header("location").unwrap().contains("&acr_values=urn%3Amfa&prompt=login&max_age=0"), "{sent:?}");
    let shown = browser.go(&world.url("/vault/a"));
    let shown = world.answer_provider(&mut browser, shown, "strong-alice");
    assert_eq!((shown.answer.status(), shown.url), (200, world.url("/vault/a")), "{}", shown.answer.text());
}

/// What whoever has shown a second factor may have for a time, by herself.
pub(crate) const ELIGIBLE: &str = r#"
[step_up]
mfa = { acr = ["urn:mfa"] }
[[role]]
name = "everything"
permissions = [{ actions = ["* /**"] }]
[[assignment]]
name = "for-a-time"
role = "everything"
principals = ["authenticated"]
scope = "*"
activation = { max = "1h" }
"#;

/// Where the page that shows an activation leads for a login.
pub(crate) fn to_login(page: &Answer) -> String {
    let html = page.text();
    let link = html.split("<a href=\"").find(|piece| piece.contains(">Log in with "));
    let link = link.and_then(|piece| piece.split('"').next()).unwrap_or_else(|| panic!("no link: {page:?} {html}"));
    link.replace("&amp;", "&")
}

#[test]
fn where_the_provider_keeps_the_factors_a_login_is_for_one_activation() {
    let world = world("", "claims = { acr = \"level\" }", |site| {
        site.add("[store]\npath = \"my.db\"\n[access]\nself_service = true\nhosts = [\"127.0.0.1\"]\n");
        site.policy(&[ELIGIBLE, NO_BANS].concat());
    });
    let access = world.url("/.portcullis/access");
    let began = || of_kind(&world.gateway.events.all(), "grant.began").len();
    let mut browser = Browser::default();
    // Logged in a moment ago, with a second factor.
    let login = browser.go(&world.url("/.portcullis/login?prove=mfa&to=/.portcullis/access"));
    let page = world.answer_provider(&mut browser, login, "strong-alice");
    assert_eq!((page.url.as_str(), page.answer.status()), (access.as_str(), 200), "{}", page.answer.text());
    // Whoever has stolen the cookie of that is led to the provider, which knows nothing of them.
    let cookie = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    let mut thief = Browser::default();
    thief.jars.entry(world.gateway.address).or_default().insert(SESSION.to_owned(), cookie);
    let act = "assignment=for-a-time&minutes=30&justification=INC-7+f%C3%BCr&ticket=";
    let page = thief.go(&access);
    let prepared = thief.send_form(&page, "value=\"prepare\"", act);
    let token = between(page.answer.text(), "name=\"token\" value=\"", "\"").unwrap();
    let asked = thief.once("POST", &access, &[], &format!("token={token}&act=activate&{act}"));
    for answer in [&prepared.answer, &asked] {
        assert_eq!((answer.status(), answer.text().contains("<form")), (200, false), "{}", answer.text());
        assert!(to_login(answer).starts_with(&world.provider.issuer()), "{}", answer.text());
    }
    let asked = thief.go(&to_login(&asked));
    assert!(asked.answer.text().contains("name=\"login\""), "{}", asked.answer.text());
    assert_eq!(began(), 0);
    // What she goes on with is a login for just this, and what that proves is in her browser alone.
    let page = browser.go(&access);
    let page = browser.send_form(&page, "value=\"prepare\"", act);
    let asked = browser.go(&to_login(&page.answer));
    assert!(asked.answer.text().contains("name=\"login\""), "it asks again: {}", asked.answer.text());
    let proven = world.answer_provider(&mut browser, asked, "strong-alice");
    assert!(proven.url.contains("/.portcullis/access?") && proven.url.contains("&proof="), "{}", proven.url);
    assert!(proven.answer.text().contains("<dd>INC-7 für</dd>"), "{}", proven.answer.text());
    assert_eq!(began(), 0);
    // Also with the cookie of that session nothing is activated, by other words, another session, or a proof that somebody made.
    let proof = between(&proven.url, "&proof=", "&").unwrap_or_else(|| proven.url.split_once("&proof=").unwrap().1);
    let token = between(proven.answer.text(), "name=\"token\" value=\"", "\"").unwrap();
    let sent = |minutes: &str, proof: &str| {
        format!(
            "token={token}&act=activate&assignment=for-a-time&minutes={minutes}&justification=INC-7+f%C3%BCr&ticket=&proof={proof}"
        )
    };
    let cookie = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    thief.jars.entry(world.gateway.address).or_default().insert(SESSION.to_owned(), cookie);
    let swapped = format!("{}{}", if proof.starts_with('A') { "B" } else { "A" }, &proof[1..]);
    for body in [sent("60", proof), sent("30", ""), sent("30", &swapped)] {
        let answer = thief.once("POST", &access, &[], &body);
        assert!(to_login(&answer).starts_with(&world.provider.issuer()), "{body}: {}", answer.text());
    }
    assert_eq!(began(), 0);
    let begun = browser.send_form(&proven, "value=\"activate\"", "");
    assert_eq!((begun.url.as_str(), begun.answer.status()), (access.as_str(), 200));
    assert!(begun.answer.text().contains("for-a-time: in_force until"), "{}", begun.answer.text());
    assert_eq!(world.wait_for("grant.began", 1).len(), 1);
    // It was good once.
    let page = browser.send_form(&begun, "value=\"end\"", "");
    assert!(page.answer.text().contains("for-a-time: ended until"), "{}", page.answer.text());
    let again = browser.once("POST", &access, &[], &sent("30", proof));
    assert!(to_login(&again).starts_with(&world.provider.issuer()), "{}", again.text());
    // A login without a second factor proves nothing.
    let page = browser.go(&access);
    let page = browser.send_form(&page, "value=\"prepare\"", act);
    let asked = browser.go(&to_login(&page.answer));
    let weak = world.answer_provider(&mut browser, asked, "alice");
    assert_eq!(weak.answer.status(), 403, "{}", weak.answer.text());
    // And one by somebody else is not hers.
    let mut shared = Browser::default();
    let login = shared.go(&access);
    let page = world.answer_provider(&mut shared, login, "strong-alice");
    let page = shared.send_form(&page, "value=\"prepare\"", act);
    let asked = shared.go(&to_login(&page.answer));
    let other = world.answer_provider(&mut shared, asked, "strong-bob");
    assert!(other.url.contains("&proof="), "{}", other.url);
    let page = shared.send_form(&other, "value=\"activate\"", "");
    assert!(to_login(&page.answer).starts_with(&world.provider.issuer()), "{}", page.answer.text());
    assert_eq!(of_kind(&world.gateway.stop(), "grant.began").len(), 1);
}

/// What the gateway needs to keep second factors.
fn with_factors(site: &mut Site) {
    site.add("[store]\npath = \"my.db\"\n[mfa]\nkey = { file = \"mfa.key\" }\n");
    site.file("mfa.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
}

impl Browser {
    /// Sends the form of a page of the gateway's whose markup has this in it, with these fields beside its hidden ones.
    pub(crate) fn send_form(&mut self, page: &Shown, form: &str, fields: &str) -> Shown {
        let html = page.answer.text();
        let piece =
            html.split("<form").filter_map(|piece| piece.split("</form>").next()).find(|piece| piece.contains(form));
        let piece = piece.unwrap_or_else(|| panic!("no form with {form} at {}: {html}", page.url)).to_owned();
        let (address, _) = parted(&page.url);
        let action = between(&piece, "action=\"", "\"").unwrap();
        let hidden = piece.split("<input").filter(|input| input.contains("type=\"hidden\"")).filter_map(|input| {
            Some(format!("{}={}", between(input, "name=\"", "\"")?, between(input, "value=\"", "\"")?))
        });
        let body = hidden.chain([fields.to_owned()]).collect::<Vec<_>>().join("&");
        self.follow("POST", &format!("http://{address}{action}"), &body)
    }
}

#[test]
fn whoever_finds_a_browser_open_adds_no_factor_by_a_provider_that_still_knows_it() {
    let world = world("", "", |site| {
        with_factors(site);
        site.policy(AUTHENTICATED);
    });
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/");
    let factors = world.url("/.portcullis/factors");
    let page = browser.go(&factors);
    assert!(page.answer.text().contains("Log in again to add one"), "{}", page.answer.text());
    assert!(!page.answer.text().contains("<form"), "{}", page.answer.text());
    // A login that the provider lets pass unasked is none of who sits there now.
    let silent = browser.go(&world.url("/.portcullis/login?to=/.portcullis/factors"));
    assert_eq!((silent.url.as_str(), silent.answer.text().contains("<form")), (factors.as_str(), false));
    let link = between(page.answer.text(), "<a href=\"", "\"").unwrap().replace("&amp;", "&");
    assert_eq!(link, "/.portcullis/login?prove=anew&to=%2F.portcullis%2Ffactors");
    let asked = browser.go(&world.url(&link));
    assert!(asked.answer.text().contains("name=\"login\""), "{}", asked.answer.text());
    let page = world.answer_provider(&mut browser, asked, "alice");
    assert!(page.url.starts_with(&format!("{factors}?proof=")), "{}", page.url);
    assert!(page.answer.text().contains("begin-totp"), "{}", page.answer.text());

    // Enrolled, and raised: the session has another id, and its provider is asked about that one.
    let page = browser.send_form(&page, "begin-totp", "name=phone");
    let secret = between(page.answer.text(), "<code id=\"secret\">", "</code>").unwrap().to_owned();
    let page = browser.send_form(&page, "confirm-totp", &format!("code={}", code(&secret, -1)));
    assert!(page.answer.text().contains("Recovery codes"), "{}", page.answer.text());
    let page = browser.go(&world.url("/.portcullis/step-up?return=/there"));
    let page = browser.send_form(&page, "name=\"code\"", &format!("code={}", code(&secret, 0)));
    assert_eq!((page.url, page.answer.status()), (world.url("/there"), 200));
    assert_eq!(of_kind(&world.gateway.events.all(), "auth.factor_added").len(), 1);

    // Somebody who is banned is told so, and not led round between that page and a provider that lets them pass.
    let banned = world.run(&["ban", "add", "--user", "alice", "--for", "1h", "--reason", "a test"]);
    assert_eq!(banned.status.code(), Some(0), "{banned:?}");
    for page in ["factors", "step-up"] {
        let shown = browser.go(&world.url(&format!("/.portcullis/{page}")));
        assert_eq!((shown.answer.status(), shown.url.ends_with(page)), (403, true), "{}", shown.url);
        let event = world.gateway.events.wait_for_request(shown.answer.header("x-request-id").unwrap());
        assert_eq!(event["reason"], "ban.active", "{event:#}");
    }
}

#[test]
fn a_session_that_was_raised_ends_when_its_provider_forgets_it() {
    let mut world = world("", "refresh = \"1s\"", with_factors);
    let mut browser = Browser::default();
    let page = browser.go(&world.url("/.portcullis/login?prove=anew&to=/.portcullis/factors"));
    let page = world.answer_provider(&mut browser, page, "alice");
    let page = browser.send_form(&page, "begin-totp", "name=phone");
    let secret = between(page.answer.text(), "<code id=\"secret\">", "</code>").unwrap().to_owned();
    browser.send_form(&page, "confirm-totp", &format!("code={}", code(&secret, -1)));
    let before = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    let page = browser.go(&world.url("/.portcullis/step-up?return=/"));
    browser.send_form(&page, "name=\"code\"", &format!("code={}", code(&secret, 0)));
    let cookie = browser.cookie(world.gateway.address, SESSION).unwrap().clone();
    assert_ne!(cookie, before);
    world.provider.stop();
    world.provider.start_again();
    let cookie = format!("portcullis-session={cookie}");
    let over = wait::until(PATIENCE, || (world.gateway.get("/", &[("cookie", &cookie)]).status() == 401).then_some(()));
    assert!(over.is_some(), "it is asked about by its new id");
    assert_eq!(world.wait_for("session.ended", 1)[0]["identity"]["id"], "alice");
}

/// What a person does in a real browser; the addresses of the gateway and of the provider are given.
const PERSON: &str = r#"
const [gateway, provider] = given;
const seen = { problems: [] };
page.on('console', (message) => { if (message.text().includes('Content Security Policy')) seen.problems.push(message.text()); });
await page.goto(gateway + '/reports?year=2026');
seen.asked = new URL(page.url()).origin;
await page.fill('input[name=login]', 'alice');
await page.fill('input[name=password]', 'x');
await page.click('button[type=submit]');
await page.click('button[type=submit]');
await page.waitForURL(gateway + '/**');
seen.back = page.url();
const own = (await context.cookies(gateway)).filter((cookie) => cookie.name.includes('portcullis'));
seen.cookies = own.map(({ name, httpOnly, secure, sameSite, path, domain }) => ({ name, httpOnly, secure, sameSite, path, domain }));
seen.scripts = await page.evaluate(() => document.cookie);
seen.inside = await page.evaluate(() => fetch('/api/x').then((answer) => answer.status));
// Another site's page that sends the logout.
await page.goto(provider + '/.well-known/openid-configuration');
seen.forged = await page.evaluate(async (place) => {
  const form = document.createElement('form');
  form.method = 'post'; form.action = place; document.documentElement.appendChild(form);
  form.submit();
}, gateway + '/.portcullis/logout').then(() => page.waitForURL(gateway + '/**')).then(() => page.textContent('body'));
await page.goto(gateway + '/reports');
seen.still = page.url();
await page.goto(gateway + '/.portcullis/logout');
seen.asks = await page.textContent('main');
await page.click('button[type=submit]');
await page.waitForURL(provider + '/**');
await page.click('button[value=yes]');
await page.waitForURL(gateway + '/.portcullis/logged-out*');
seen.end = await page.textContent('h1');
seen.left = (await context.cookies(gateway)).filter((cookie) => cookie.name.includes('session')).length;
seen.outside = (await context.request.get(gateway + '/api/x')).status();
// Who is logged out there, too, is asked again who it is.
await page.goto(gateway + '/reports');
seen.again = new URL(page.url()).origin;
return seen;
"#;

#[test]
fn a_person_logs_in_and_out_in_chromium() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let provider = LoginProvider::start(&format!("https://{address}/.portcullis"));
    let upstream = Upstream::start();
    let issued = Authority::new("tools").issue(&[San::Host("127.0.0.1")]);
    let mut site = Site::new(&upstream.url());
    site.listen_with("tls = { certificate = \"tls.crt\", key = \"tls.key\" }");
    site.listen_on(address);
    site.file("tls.crt", &issued.certificate);
    site.file("tls.key", &issued.key);
    site.file("secret", SECRET);
    site.add(&format!(
        "[identity.login]\n[[identity.oidc]]\nname = \"staff\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\n\
         client_secret = {{ file = \"secret\" }}\nallow_http = true\n",
        provider.issuer()
    ));
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let own = format!("https://{address}");
    let seen = in_browser(PERSON, &[&own, &provider.issuer()]);
    assert_eq!(seen["problems"], json!([]), "{seen:#}");
    assert_eq!(seen["asked"], provider.issuer(), "{seen:#}");
    assert_eq!(seen["back"], format!("{own}/reports?year=2026"), "{seen:#}");
    let cookie = json!({
        "name": "__Host-portcullis-session", "httpOnly": true, "secure": true, "sameSite": "Lax", "path": "/", "domain": "127.0.0.1",
    });
    assert_eq!(seen["cookies"], json!([cookie]), "{seen:#}");
    assert_eq!((&seen["scripts"], &seen["inside"]), (&json!(""), &json!(200)), "{seen:#}");
    // The browser itself does not send the cookie with another site's form, so there is nobody to log out.
    assert_eq!(seen["still"], format!("{own}/reports"), "{seen:#}");
    assert!(seen["asks"].as_str().unwrap().contains("You are logged in as Dr. alice"), "{seen:#}");
    assert_eq!(
        (&seen["end"], &seen["left"], &seen["outside"]),
        (&json!("Logged out"), &json!(0), &json!(401)),
        "{seen:#}"
    );
    assert_eq!(seen["again"], provider.issuer(), "{seen:#}");
    drop(gateway);
}
