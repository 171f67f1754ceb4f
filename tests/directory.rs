//! Groups from a directory: a real OpenLDAP decides who is let in, what is taken away is gone within `refresh`, and a directory that
//! does not answer is a 503 for those whom nobody knows yet, and for nobody else.

use std::thread;
use std::time::Duration;

use portcullis_testkit::active_directory::{ActiveDirectory, Object};
use portcullis_testkit::slapd::{BASE, READER, READER_PASSWORD, Slapd};
use portcullis_testkit::tokens::{Claims, SigningKey};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::Answer;
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, bearer, claims, of_kind};

/// Whoever is in the group may do everything.
fn policy(group: &str) -> String {
    format!(
        "[[role]]\nname = \"everything\"\npermissions = [{{ actions = [\"* /**\"] }}]\n\n\
         [[assignment]]\nname = \"members\"\nrole = \"everything\"\nprincipals = [\"group:{group}\"]\nscope = \"*\"\n{NO_BANS}"
    )
}

/// A gateway that takes tokens and asks a directory.
struct World {
    gateway: Gateway,
    signer: SigningKey,
    _upstream: Upstream,
}

/// Lines of `[[identity.ldap]]` that a test need not write again.
fn reader(url: &str) -> String {
    format!(
        "url = \"{url}\"\nallow_plain = true\nbase = \"{BASE}\"\nuser_filter = \"(uid={{id}})\"\n\
         bind_dn = \"{READER}\"\nbind_password = {{ file = \"password\" }}\n"
    )
}

fn world(directory: &str, group: &str, files: &[(&str, &str)]) -> World {
    world_of(directory, &policy(group), files, Upstream::start())
}

fn world_of(directory: &str, policy: &str, files: &[(&str, &str)], upstream: Upstream) -> World {
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::ed25519("k");
    site.accept_tokens(&[&signer], "");
    site.file("password", READER_PASSWORD);
    for (name, content) in files {
        site.file(name, content);
    }
    site.add(&format!("[[identity.ldap]]\nname = \"people\"\nfor = \"login\"\n{directory}"));
    site.policy(policy);
    World { gateway: site.start(), signer, _upstream: upstream }
}

impl World {
    fn ask_as(&self, claims: &Claims) -> Answer {
        self.gateway.get("/", &[("Authorization", &bearer(&self.signer, claims))])
    }

    fn ask(&self, id: &str) -> Answer {
        self.ask_as(&claims(id))
    }

    fn status(&self, id: &str) -> u16 {
        self.ask(id).status()
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, u16)]) {
        for (id, status) in expected {
            assert_eq!(self.status(id), *status, "{id}");
        }
    }

    /// Asks until the answer is that.
    #[track_caller]
    fn until(&self, id: &str, status: u16) {
        let came = wait::until(PATIENCE, || {
            thread::sleep(Duration::from_millis(50));
            (self.status(id) == status).then_some(())
        });
        assert!(came.is_some(), "{id} never got {status}");
    }

    #[track_caller]
    fn wait_for(&self, kind: &str, count: usize) -> Value {
        self.gateway.wait_for_events(kind, count).swap_remove(count - 1)
    }

    #[track_caller]
    fn check_unknown(&self, id: &str, fragment: &str) {
        let event = self.gateway.check_refused(id, &self.ask(id), 503, "dependency.directory_unavailable");
        assert_eq!((&event["decision"], &event["severity"]), (&"undecided".into(), &"high".into()));
        let message = event["message"].as_str().unwrap();
        assert!(message.contains(fragment), "{message}");
    }
}

#[test]
fn a_group_of_the_directory_lets_in_until_it_is_taken_away() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_person("max", "");
    slapd.add_groups(&[("billing", &["uid=zoe,ou=people"]), ("staff", &["uid=max,ou=people", "uid=zoe,ou=people"])]);
    let directory = reader(&slapd.plain()) + "refresh = \"1s\"\nprefix = \"ad:\"\n";
    let world = world(&directory, "ad:billing", &[]);
    world.check(&[("zoe", 200), ("zoe", 200), ("max", 403), ("nobody", 403)]);
    let refused = world.gateway.check_refused("max", &world.ask("max"), 403, "rbac.no_matching_grant");
    assert_eq!(refused["identity"]["groups"], serde_json::json!(["ad:staff"]));
    assert_eq!(refused["identity"]["directory"], "people");
    let unknown = world.gateway.check_refused("nobody", &world.ask("nobody"), 403, "rbac.no_matching_grant");
    assert_eq!(
        (&unknown["identity"]["groups"], &unknown["identity"]["directory"]),
        (&serde_json::json!([]), &Value::Null)
    );
    slapd.remove_member("staff", "uid=zoe,ou=people");
    assert_eq!(world.status("zoe"), 200);
    // A group must have a member, so somebody else comes in as she goes.
    slapd.modify(&format!(
        "dn: cn=billing,ou=groups,{BASE}\nchangetype: modify\nreplace: member\nmember: uid=max,ou=people,{BASE}\n"
    ));
    world.until("zoe", 403);
    world.until("max", 200);
    for (name, least) in [("found", 2.0), ("not_found", 1.0)] {
        let name = format!("portcullis_directory_lookups_total{{directory=\"people\",result=\"{name}\"}}");
        assert!(world.gateway.metric(&name).is_some_and(|count| count >= least), "{name}");
    }
    assert_eq!(world.gateway.metric("portcullis_directory_entries{directory=\"people\"}"), Some(3.0));
    assert_eq!(world.gateway.metric("portcullis_directory_usable{directory=\"people\"}"), Some(1.0));
}

#[test]
fn groups_of_groups_are_walked_and_a_circle_ends() {
    let slapd = Slapd::start();
    for uid in ["zoe", "max", "kim"] {
        slapd.add_person(uid, "");
    }
    slapd.add_groups(&[
        ("leaf", &["uid=zoe,ou=people"]),
        ("middle", &["cn=leaf,ou=groups"]),
        ("top", &["cn=middle,ou=groups", "uid=max,ou=people"]),
        ("circle-a", &["cn=circle-b,ou=groups", "cn=top,ou=groups"]),
        ("circle-b", &["cn=circle-a,ou=groups"]),
        ("other", &["uid=kim,ou=people"]),
    ]);
    let check = |more: &str, group: &str, expected: &[(&str, u16)]| {
        world(&(reader(&slapd.plain()) + more), group, &[]).check(expected);
    };
    // A server that is no Active Directory has no matching rule, so "auto" is a walk.
    check("", "top", &[("zoe", 200), ("max", 200), ("kim", 403)]);
    check("nested = \"walk\"", "circle-b", &[("zoe", 200), ("max", 200), ("kim", 403)]);
    check("nested = \"none\"", "middle", &[("zoe", 403)]);
    check("nested = \"none\"", "leaf", &[("zoe", 200), ("max", 403)]);
    check("group_attribute = \"memberOf\"", "circle-b", &[("zoe", 200), ("max", 200), ("kim", 403)]);
    check("group_attribute = \"memberOf\"\nnested = \"none\"", "middle", &[("zoe", 403)]);
    check("group_name = \"dn\"", "cn=top,ou=groups,dc=test", &[("zoe", 200), ("kim", 403)]);
    check("group_base = \"ou=people,dc=test\"", "top", &[("zoe", 403)]);
}

/// Whoever took away the right to read groups, or the base itself, had a deny that names a group let everybody in.
#[test]
fn a_base_of_groups_that_is_not_there_leaves_the_groups_unknown_and_denies() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("suspended", &["uid=zoe,ou=people"])]);
    let everybody = "[[role]]\nname = \"everything\"\npermissions = [{ actions = [\"* /**\"] }]\n\n\
                     [[assignment]]\nname = \"all\"\nrole = \"everything\"\nprincipals = [\"authenticated\"]\nscope = \"*\"\n\n\
                     [[deny]]\nname = \"suspended\"\nprincipals = [\"group:ad:suspended\"]\nactions = [\"* /**\"]\nscope = \"*\"\n";
    let with_base = |base: &str| {
        let upstream = Upstream::start();
        let directory = format!("{}prefix = \"ad:\"\ngroup_base = \"{base}\"\n", reader(&slapd.plain()));
        world_of(&directory, &[everybody, NO_BANS].concat(), &[], upstream)
    };
    with_base(&format!("ou=groups,{BASE}")).check(&[("zoe", 403)]);
    with_base(&format!("ou=gone,{BASE}")).check_unknown("zoe", "result 32");
}

#[test]
fn a_directory_names_no_local_group_unless_it_is_trusted_with_it() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("admins", &["uid=zoe,ou=people"])]);
    let check = |more: &str, status: u16| {
        let upstream = Upstream::start();
        let mut site = Site::new(&upstream.url());
        let signer = SigningKey::ed25519("k");
        site.accept_tokens(&[&signer], "");
        site.file("password", READER_PASSWORD);
        site.add(&format!("[[identity.ldap]]\nname = \"people\"\nfor = [\"login\"]\n{}{more}", reader(&slapd.plain())));
        site.policy(&format!("{}\n[[group]]\nname = \"admins\"\nmembers = []\n", policy("admins")));
        let gateway = site.start();
        assert_eq!(gateway.get("/", &[("Authorization", &bearer(&signer, &claims("zoe")))]).status(), status, "{more}");
    };
    check("", 403);
    check("trust_groups = [\"admins\"]", 200);
    check("trust_groups = [\"admins\"]\nprefix = \"ad:\"", 200);
    check("prefix = \"ad:\"", 403);
}

#[test]
fn an_outage_keeps_what_was_found_for_max_stale_and_then_nobody_can_be_judged() {
    let mut slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_person("max", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=max,ou=people"])]);
    let directory = reader(&slapd.plain()) + "refresh = \"1s\"\nmax_stale = \"15s\"\n";
    let world = world(&directory, "staff", &[]);
    world.check(&[("zoe", 200)]);
    slapd.kill();
    // It is noticed when somebody needs it.
    let failed = wait::until(PATIENCE, || {
        assert_eq!(world.status("zoe"), 200, "whom it knows it lets in");
        of_kind(&world.gateway.events.all(), "directory.failed").first().map(|event| Value::clone(event))
    });
    let failed = failed.expect("nobody noticed");
    assert_eq!((&failed["policy"]["rule"], &failed["severity"]), (&"people".into(), &"high".into()));
    assert_eq!(world.gateway.metric("portcullis_directory_usable{directory=\"people\"}"), Some(0.0));
    // Whom it knows it lets in; whom it does not know it cannot judge, and it says so at once.
    world.check(&[("zoe", 200)]);
    world.check_unknown("max", "the groups of the directory people are not known");
    assert_eq!(world.gateway.get("/", &[]).status(), 401, "who has nothing needs no directory");
    world.until("zoe", 503);
    world.check_unknown("zoe", "people");
    slapd.start_again();
    world.until("zoe", 200);
    world.check(&[("max", 200)]);
    world.wait_for("directory.recovered", 1);
    assert_eq!(world.gateway.metric("portcullis_directory_usable{directory=\"people\"}"), Some(1.0));
}

#[test]
fn a_directory_that_hangs_is_waited_for_no_longer_than_the_bound() {
    let mut slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_person("max", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=max,ou=people"])]);
    let world = world(&(reader(&slapd.plain()) + "timeout = \"3s\"\n"), "staff", &[]);
    world.check(&[("zoe", 200)]);
    slapd.pause();
    world.check_unknown("max", "people");
    // Known for minutes to come.
    world.check(&[("zoe", 200)]);
    slapd.go_on();
    world.until("max", 200);
}

#[test]
fn tls_and_start_tls_are_verified() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people"])]);
    let ca = slapd.ca();
    let other = portcullis_testkit::certificates::Authority::new("another").certificate();
    let lines = |url: &str, more: &str| {
        reader(url).replace("allow_plain = true", more) + "ca = \"directory.pem\"\ntimeout = \"2s\"\n"
    };
    let check = |directory: &str, ca: &str, status: u16, fragment: &str| {
        let world = world(directory, "staff", &[("directory.pem", ca)]);
        if status == 200 {
            return world.check(&[("zoe", 200)]);
        }
        world.check_unknown("zoe", "people");
        let failed = world.wait_for("directory.failed", 1);
        assert!(failed["message"].as_str().unwrap().contains(fragment), "{failed:#}");
    };
    check(&lines(&slapd.tls(), ""), &ca, 200, "");
    check(&lines(&slapd.plain(), "starttls = true"), &ca, 200, "");
    check(&lines(&slapd.tls(), ""), &other, 503, "certificate");
    check(&lines(&slapd.plain(), "starttls = true"), &other, 503, "certificate");
    // The certificate is for the names that were written, not for whatever leads there.
    let elsewhere = slapd.tls().replace("127.0.0.1", "127.0.0.2");
    check(&lines(&elsewhere, ""), &ca, 503, "people");
    // The first server is nobody; the second is the one.
    let both = format!("[\"ldaps://127.0.0.1:1\", \"{}\"]", slapd.tls());
    check(&lines("URL", "").replace("\"URL\"", &both), &ca, 200, "");
}

#[test]
fn a_wrong_password_is_said_and_nobody_is_judged() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people"])]);
    let world = world(&reader(&slapd.plain()), "staff", &[("password", "wrong-secret")]);
    world.check_unknown("zoe", "people");
    let failed = world.wait_for("directory.failed", 1);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("the bind failed with result 49"), "{message}");
    // Neither here nor in what it logs.
    let everything = format!("{:?}{:?}", world.gateway.events.all(), world.gateway.process.stderr_lines());
    assert!(!everything.contains("wrong-secret"));
}

#[test]
fn who_is_in_more_groups_than_a_page_has_is_in_all_of_them() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "");
    let names: Vec<String> = (0..620).map(|number| format!("group-{number:03}")).collect();
    let member: &[&str] = &["uid=zoe,ou=people"];
    let groups: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), member)).collect();
    slapd.add_groups(&groups);
    let check = |more: &str, group: &str, status: u16| {
        let world = world(&(reader(&slapd.plain()) + more), group, &[]);
        match status {
            503 => world.check_unknown("zoe", "more than 619 groups"),
            _ => world.check(&[("zoe", status)]),
        }
    };
    check("", "group-000", 200);
    check("", "group-619", 200);
    check("max_groups = 620", "group-619", 200);
    check("max_groups = 619", "group-000", 503);
}

#[test]
fn an_id_is_a_value_and_never_a_part_of_the_question() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "mail: zoe@test");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people"])]);
    let by_id = world(&reader(&slapd.plain()), "staff", &[]);
    by_id.check(&[
        ("zoe", 200),
        ("*", 403),
        ("z*", 403),
        ("*)(uid=*", 403),
        ("zoe)(objectClass=*", 403),
        ("\\7aoe", 403),
    ]);
    let by_mail = reader(&slapd.plain()).replace("(uid={id})", "(&(uid={id})(mail={email}))");
    let by_mail = world(&by_mail, "staff", &[]);
    for (email, status) in [(Some("zoe@test"), 200), (Some("max@test"), 403), (Some("*"), 403), (None, 403)] {
        let claims = match email {
            Some(email) => claims("zoe").set("email", email),
            None => claims("zoe"),
        };
        assert_eq!(by_mail.ask_as(&claims).status(), status, "{email:?}");
    }
}

#[test]
fn two_entries_for_one_id_are_no_answer() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "employeeNumber: 7");
    slapd.add_person("max", "employeeNumber: 7");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people"])]);
    let directory = reader(&slapd.plain()).replace("(uid={id})", "(employeeNumber={id})");
    world(&directory, "staff", &[]).check_unknown("7", "more than one entry matches");
}

#[test]
fn an_account_that_does_not_count_is_refused_as_revoked() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "employeeType: staff");
    slapd.add_person("max", "employeeType: left");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=max,ou=people"])]);
    let directory = reader(&slapd.plain()) + "account_filter = \"(!(employeeType=left))\"\nrefresh = \"1s\"\n";
    let world = world(&directory, "staff", &[]);
    world.check(&[("zoe", 200)]);
    let event = world.gateway.check_refused("max", &world.ask("max"), 401, "authn.revoked");
    assert_eq!(event["identity"]["id"], Value::Null);
    slapd.modify(&format!(
        "dn: uid=zoe,ou=people,{BASE}\nchangetype: modify\nreplace: employeeType\nemployeeType: left\n"
    ));
    world.until("zoe", 401);
}

#[test]
fn a_reload_keeps_what_was_found() {
    let mut slapd = Slapd::start();
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people"])]);
    let mut world = world(&reader(&slapd.plain()), "staff", &[]);
    world.check(&[("zoe", 200)]);
    slapd.kill();
    world.gateway.reload("ok");
    world.check(&[("zoe", 200)]);
}

#[test]
fn api_keys_and_prefixed_tokens_have_groups_too() {
    let slapd = Slapd::start();
    slapd.add_person("robot", "");
    slapd.add_person("zoe", "");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=robot,ou=people"])]);
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let signer = SigningKey::ed25519("k");
    site.accept_tokens(&[&signer], "prefix = \"corp:\"");
    site.file("password", READER_PASSWORD);
    let (robot, other) = (site.key("robot", "service:robot", ""), site.key("other", "service:corp:zoe", ""));
    let lines = reader(&slapd.plain());
    site.add(&format!("[[identity.ldap]]\nname = \"people\"\nfor = [\"login\", \"keys\"]\nprefix = \"ad:\"\n{lines}"));
    site.policy(&policy("ad:staff"));
    let gateway = site.start();
    // The prefix is the gateway's, and the directory does not know it.
    assert_eq!(gateway.get("/", &[("Authorization", &bearer(&signer, &claims("zoe")))]).status(), 200);
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 200);
    assert_eq!(gateway.get("/", &[("X-Api-Key", &other)]).status(), 403);
    // No token is in a group of the directory because it says so.
    let forged = claims("max").groups(&["ad:staff"]);
    assert_eq!(gateway.get("/", &[("Authorization", &bearer(&signer, &forged))]).status(), 403);
}

/// What stands in for a domain controller: see its documentation for what it is not.
fn domain() -> ActiveDirectory {
    let user = |name: &str, control: u32| {
        Object::new(&format!("CN={name},OU=People,DC=corp"))
            .with("objectClass", "user")
            .with("sAMAccountName", name)
            .with("userAccountControl", &control.to_string())
    };
    let group = |name: &str, members: &[&str]| {
        let group = Object::new(&format!("CN={name},OU=Groups,DC=corp"))
            .with("objectClass", "group")
            .with("cn", name)
            .with_octets("objectGUID", &[7; 16]);
        members.iter().fold(group, |group, member| group.with("member", &format!("{member},DC=corp")))
    };
    ActiveDirectory::start(
        "CN=svc,DC=corp",
        "svc-secret",
        vec![
            user("zoe", 512),
            user("max", 512 | 2),
            group("Leaf", &["CN=zoe,OU=People", "CN=max,OU=People"]),
            group("Top", &["CN=Leaf,OU=Groups"]),
        ],
    )
}

#[test]
fn the_matching_rule_of_active_directory_is_used_where_the_server_says_it_is_one() {
    let domain = domain();
    let lines = |more: &str| {
        format!(
            "url = \"{}\"\nallow_plain = true\nbase = \"DC=corp\"\nuser_filter = \"(sAMAccountName={{id}})\"\n\
             bind_dn = \"CN=svc,DC=corp\"\nbind_password = {{ file = \"password\" }}\n\
             account_filter = \"(!(userAccountControl:1.2.840.113556.1.4.803:=2))\"\n{more}",
            domain.url()
        )
    };
    let check = |more: &str, group: &str, asked_in_chain: bool| {
        let before = domain.searches().len();
        let world = world(&lines(more), group, &[("password", "svc-secret")]);
        world.check(&[("zoe", 200), ("max", 401), ("nobody", 403)]);
        let searches = domain.searches().split_off(before);
        let in_chain = searches.iter().any(|filter| filter.contains("member:1.2.840.113556.1.4.1941:="));
        assert_eq!(in_chain, asked_in_chain, "{searches:?}");
    };
    check("", "Top", true);
    check("group_attribute = \"memberOf\"", "Top", true);
    check("nested = \"walk\"", "Top", false);
    check("group_name = \"objectGUID\"", "07070707-0707-0707-0707-070707070707", true);
}

/// To the directory `ZOE`, `Zoe` and `zoe` are one entry. While they were three principals, whoever could choose how the provider spells them had
/// the groups of one and was not held by a deny, a revocation or a ban of the other.
#[test]
fn one_person_is_one_principal_however_a_credential_or_a_rule_spells_them() {
    let slapd = Slapd::start();
    for uid in ["zoe", "Max", "kim"] {
        slapd.add_person(uid, "");
    }
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=max,ou=people", "uid=kim,ou=people"])]);
    let rules = "[[deny]]\nname = \"left\"\nprincipals = [\"user:Zoe\"]\nactions = [\"* /**\"]\nscope = \"*\"\n";
    let world = world_of(
        &reader(&slapd.plain()),
        &[&policy("staff").replace(NO_BANS, ""), rules].concat(),
        &[],
        Upstream::start(),
    );
    for spelled in ["zoe", "ZOE", "Zoe", " zoe"] {
        let event = world.gateway.check_refused(spelled, &world.ask(spelled), 403, "rbac.explicit_deny");
        assert_eq!(event["identity"]["id"], "zoe", "{spelled}");
    }
    world.check(&[("max", 200), ("MAX", 200), ("Max", 200), ("Nobody", 403)]);
    let told = |arguments: &[&str]| {
        let finished = world.gateway.site.ask(arguments);
        assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
        [finished.stdout, finished.stderr].concat().join("\n")
    };
    let checked = told(&["check"]);
    assert!(checked.contains("W0210") && checked.contains("`user:Zoe` is `user:zoe`"), "{checked}");
    told(&["explain", "GET", "/", "--as", "user:mAx", "--group", "staff"]);
    // An operator means the same person as well.
    told(&["revoke", "principal", "user:mAX", "--reason", "left"]);
    world.check(&[("max", 401), ("MAX", 401), ("kim", 200)]);
    told(&["revoke", "lift", "principal", "user:max"]);
    world.check(&[("Max", 200)]);
    told(&["ban", "add", "--user", "user:KIM", "--for", "1h", "--reason", "test"]);
    let event = world.gateway.check_refused("Kim", &world.ask("Kim"), 403, "ban.active");
    assert_eq!(event["identity"]["id"], "kim");
    world.check(&[("kim", 403), ("MAX", 200)]);
}

#[test]
fn a_principal_is_called_as_its_entry_says() {
    let slapd = Slapd::start();
    slapd.add_person("zoe", "departmentNumber: 7\nmail: Zoe@test");
    slapd.add_person("max", "departmentNumber: 8\ndepartmentNumber: 9");
    slapd.add_person("kim", "");
    slapd.add_person("pat", "departmentNumber: 7");
    slapd.add_groups(&[("staff", &["uid=zoe,ou=people", "uid=max,ou=people", "uid=kim,ou=people"])]);
    let called = |more: &str, id: &str| {
        let lines = reader(&slapd.plain()).replace("(uid={id})", "(|(uid={id})(mail={id}))") + more;
        let world = world_of(&lines, &policy("nobody"), &[], Upstream::start());
        let answer = world.ask(id);
        let reason = if answer.status() == 403 { "rbac.no_matching_grant" } else { "dependency.directory_unavailable" };
        let event = world.gateway.check_refused(id, &answer, answer.status(), reason);
        let field = if answer.status() == 403 { &event["identity"]["id"] } else { &event["message"] };
        field.as_str().unwrap().to_owned()
    };
    // By whatever they are found.
    assert_eq!(called("id_attribute = \"mail\"\n", "ZOE"), "zoe@test");
    assert_eq!(called("id_attribute = \"mail\"\nid_case = \"exact\"\n", "zoe@TEST"), "Zoe@test");
    assert_eq!(called("id_attribute = \"dn\"\n", "Kim"), "uid=kim,ou=people,dc=test");
    assert_eq!(called("id_attribute = \"uid\"\n", "zoe@test"), "zoe");
    // Nobody is called as two are, or as one of several, or as nothing.
    for (id, why) in
        [("zoe", "shares its value"), ("max", "has several values"), ("kim", "has no value that can be read")]
    {
        let message = called("id_attribute = \"departmentNumber\"\n", id);
        assert!(message.contains(why), "{message}");
    }
}

/// `homeDirectory` heeds case (`caseExactIA5Match`): two that differ in it are two people, and the gateway takes neither for the other.
#[test]
fn a_directory_that_heeds_case_is_noticed_and_can_be_believed() {
    let slapd = Slapd::start();
    for (uid, home) in [("one", "/home/Zoe"), ("two", "/home/zoe"), ("three", "/home/Max")] {
        let more = format!("objectClass: posixAccount\nuidNumber: 1\ngidNumber: 1\nhomeDirectory: {home}");
        slapd.add_person(uid, &more);
    }
    slapd.add_groups(&[("staff", &["uid=one,ou=people"])]);
    let lines = reader(&slapd.plain()).replace("(uid={id})", "(homeDirectory={id})");
    let ignoring = world(&lines, "staff", &[]);
    for id in ["/home/Zoe", "/home/ZOE", "/home/Max"] {
        ignoring.check_unknown(id, "write `id_case = \"exact\"`");
    }
    let exact = world(&(lines + "id_case = \"exact\"\n"), "staff", &[]);
    exact.check(&[("/home/Zoe", 200), ("/home/zoe", 403), ("/home/ZOE", 403)]);
}
