//! `[[identity.ldap]]`: what can be written, what it means, and what is wrong with what.

use std::time::Duration;

use portcullis_identity::settings::{Bind, GroupName, LdapDirectory, Membership, Nested, PrincipalId};
use portcullis_ldap::{Filter, Server};
use portcullis_testkit::certificates::Authority;

use super::{Folder, GATEWAY, GATEWAY_LINES};

const PROVIDER: &str = "[[identity.jwt]]\nname = \"login\"\nissuer = \"https://a\"\naudiences = [\"a\"]\n\
                        jwks = { file = \"jwks.json\" }\n";
/// How many lines stand before what a test appends.
const LINES: usize = GATEWAY_LINES + 5;

const LEAST: &str = "[[identity.ldap]]\nname = \"ad\"\nfor = \"login\"\nurl = \"ldaps://dc1\"\nbase = \"dc=a\"\n\
                     user_filter = \"(uid={id})\"\n";

fn folder(appended: &str) -> Folder {
    let mut folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{PROVIDER}{appended}"));
    folder.write("jwks.json", include_str!("../../../../config/jwks.json"));
    folder.write("password", "hunter2\n");
    folder.write("empty", "\n");
    folder.write("ca.pem", Authority::new("directory").certificate());
    folder.environment.insert("PASSWORD".into(), "pa55".into());
    folder
}

/// With every key.
pub(super) fn folder_of_all() -> Folder {
    folder(
        r#"[[identity.ldap]]
name = "ad"
for = ["login"]
url = ["ldap://dc1.example.com", "ldap://dc2.example.com:3389"]
starttls = true
allow_plain = false
ca = "ca.pem"
bind_dn = "CN=svc,DC=a"
bind_password = { file = "password" }
base = "DC=a"
user_filter = "(sAMAccountName={id})"
id_attribute = "objectSid"
id_case = "exact"
account_filter = "(!(userAccountControl:1.2.840.113556.1.4.803:=2))"
group_filter = "(&(objectClass=group)(member={dn}))"
group_base = "OU=Groups,DC=a"
nested = "matching_rule"
group_name = "objectGUID"
prefix = "ad:"
trust_groups = ["admins"]
max_groups = 50
timeout = "1s"
connections = 3
refresh = "2m"
max_stale = "3h"
negative = "5s"
entries = 77
max_waiting = 8
[[identity.jwt]]
name = "other"
issuer = "https://b"
audiences = ["b"]
prefix = "b:"
jwks = { file = "jwks.json" }
[[identity.ldap]]
name = "b"
for = "other"
url = "ldap://[::1]"
allow_plain = true
base = "dc=b"
user_filter = "(mail={email})"
group_attribute = "memberOf"
bind_dn = "cn=b"
bind_password = { env = "PASSWORD" }
group_name = "dn"
prefix = "b:"
nested = "none"
"#,
    )
}

#[test]
fn the_least_directory_has_every_default() {
    let loaded = folder(LEAST).loaded();
    assert!(loaded.warnings.is_empty());
    let expected = LdapDirectory {
        name: "ad".into(),
        providers: vec!["login".into()],
        servers: vec![Server { secure: true, host: "dc1".into(), port: 636 }],
        start_tls: false,
        roots: Vec::new(),
        bind: None,
        base: "dc=a".into(),
        user_filter: Filter::parse("(uid={id})").unwrap(),
        id: PrincipalId::Attribute("uid".into()),
        id_ignores_case: true,
        account_filter: None,
        membership: Membership::Search { base: "dc=a".into(), filter: Filter::parse("(member={dn})").unwrap() },
        nested: Nested::Auto,
        group_name: GroupName::Attribute("cn".into()),
        prefix: String::new(),
        trust_groups: Vec::new(),
        max_groups: 1_000,
        timeout: Duration::from_secs(5),
        connections: 2,
        refresh: Duration::from_secs(300),
        max_stale: Duration::from_secs(3_600),
        negative: Duration::from_secs(60),
        entries: 10_000,
        max_waiting: 256,
    };
    assert_eq!(loaded.identity.ldap, [expected]);
}

#[test]
fn every_key_reaches_its_setting() {
    let loaded = folder_of_all().loaded();
    let [first, second] = loaded.identity.ldap.as_slice() else { panic!("there are two") };
    assert_eq!(first.servers[1], Server { secure: false, host: "dc2.example.com".into(), port: 3_389 });
    assert!(first.start_tls && first.roots.len() == 1);
    assert_eq!(first.bind, Some(Bind { dn: "CN=svc,DC=a".into(), password: "hunter2".into() }));
    let filter = Filter::parse("(&(objectClass=group)(member={dn}))").unwrap();
    assert_eq!(first.membership, Membership::Search { base: "OU=Groups,DC=a".into(), filter });
    assert_eq!((first.nested, &first.group_name), (Nested::MatchingRule, &GroupName::Guid));
    assert_eq!((&*first.prefix, first.trust_groups.as_slice()), ("ad:", &["admins".to_owned()][..]));
    let seconds = [first.timeout, first.refresh, first.max_stale, first.negative].map(|each| each.as_secs());
    assert_eq!(seconds, [1, 120, 3 * 3_600, 5]);
    assert_eq!((first.max_groups, first.connections, first.entries, first.max_waiting), (50, 3, 77, 8));
    assert_eq!((&first.id, first.id_ignores_case), (&PrincipalId::Attribute("objectSid".into()), false));
    assert_eq!((&second.id, second.id_ignores_case), (&PrincipalId::Claimed, true));
    assert!(first.account_filter.is_some());
    assert_eq!(second.bind, Some(Bind { dn: "cn=b".into(), password: "pa55".into() }));
    assert_eq!(second.membership, Membership::Attribute("memberOf".into()));
    assert_eq!((second.nested, &second.group_name), (Nested::None, &GroupName::Dn));
    assert_eq!(second.servers, [Server { secure: false, host: "::1".into(), port: 389 }]);
}

#[test]
fn mistakes_are_reported_where_they_stand() {
    // The line counts from `[[identity.ldap]]`.
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        let place = format!("portcullis.toml:{}:{column}", LINES + line);
        folder(text).check(text, &[(code, &place, fragment)]);
    };
    let with = |line: &str| format!("{LEAST}{line}\n");
    let instead = |from: &str, to: &str| LEAST.replace(from, to);
    one(&instead("for = \"login\"\n", ""), "E0102", 1, 1, "`for` is missing");
    one(&instead("\"login\"", "[]"), "E0105", 3, 7, "name the providers");
    one(&instead("\"login\"", "\"logn\""), "E0205", 3, 7, "there is no identity provider `logn`");
    one(&instead("ldaps://dc1", "https://dc1"), "E0105", 4, 7, "does not begin with `ldaps://`");
    one(&instead("ldaps://dc1", "ldaps://dc1/dc=a"), "E0105", 4, 7, "and nothing more");
    one(&instead("\"ldaps://dc1\"", "[]"), "E0105", 4, 7, "name a server");
    one(&instead("ldaps://dc1", "ldap://dc1"), "E0203", 4, 7, "write `allow_plain = true`");
    one(&with("starttls = true"), "E0203", 4, 7, "says nothing about `ldaps://`");
    one(
        &instead("ldaps://dc1\"", "ldap://dc1\"\nallow_plain = true\nca = \"ca.pem\""),
        "E0203",
        6,
        6,
        "`ca` says nothing where there is no TLS",
    );
    one(&with("ca = \"password\""), "E0105", 7, 6, "cannot be used");
    one(&with("bind_dn = \"cn=a\""), "E0203", 7, 11, "without a password a server lets anybody be anybody");
    one(&with("bind_password = { file = \"password\" }"), "E0203", 1, 1, "nobody has that password");
    one(&with("bind_dn = \"cn=a\"\nbind_password = { file = \"empty\" }"), "E0105", 8, 26, "it is empty");
    one(&with("bind_dn = \"cn=a\"\nbind_password = \"hunter2\""), "E0104", 8, 17, "expected a table");
    one(&with("bind_dn = \"cn=a\"\nbind_password = { env = \"NONE\" }"), "E0107", 8, 25, "is not set");
    one(&instead("(uid={id})", "uid={id}"), "E0105", 6, 15, "at byte 0: expected `(`");
    one(&instead("(uid={id})", "(uid={name})"), "E0105", 6, 15, "there is no `{name}`");
    one(&instead("(uid={id})", "(uid=zoe)"), "E0205", 6, 15, "the same entry for everybody");
    one(&instead("(uid={id})", "(&(uid={id})(x={dn}))"), "E0205", 6, 15, "cannot use `{dn}`");
    // Of several attributes nobody can say which one says who it is.
    for several in ["(|(uid={id})(mail={id}))", "(uid=*{id})", "(&(objectClass=x)(!(uid={id})))"] {
        one(&instead("(uid={id})", several), "E0205", 6, 15, "write `id_attribute`");
        let named = instead("(uid={id})", several) + "id_attribute = \"uid\"\n";
        folder(&named).check(&named, &[]);
    }
    one(&with("id_attribute = \"u id\""), "E0105", 7, 16, "no name of an attribute");
    one(&with("id_case = \"lower\""), "E0105", 7, 11, "\"ignore\" or \"exact\"");
    one(&with("group_filter = \"(member=*\""), "E0105", 7, 16, "expected `)`");
    one(
        &with("group_filter = \"(memberUid={id})\"\nnested = \"walk\""),
        "E0205",
        6,
        15,
        "an attribute that equals `{dn}`",
    );
    one(&with("group_attribute = \"memberOf\"\ngroup_filter = \"(member={dn})\""), "E0203", 7, 19, "in one place");
    one(&with("group_attribute = \"memberOf\"\ngroup_base = \"dc=b\""), "E0203", 8, 14, "says nothing beside");
    one(&with("group_name = \"c n\""), "E0105", 7, 14, "no name of an attribute");
    one(&with("nested = \"all\""), "E0105", 7, 10, "\"auto\", \"matching_rule\", \"walk\" or \"none\"");
    one(&with("refresh = \"1h\"\nmax_stale = \"30m\""), "E0203", 8, 13, "shorter than `refresh`");
    one(&with("timeout = \"31s\""), "E0105", 7, 11, "must be from 100ms to 30s");
    one(&with("max_groups = 0"), "E0105", 7, 14, "1");
    one(&with("user = \"x\""), "E0103", 7, 1, "unknown key `user`");
    one(
        &format!("{LEAST}{}", LEAST.replace("\"ad\"", "\"ad2\"").replace("\"dc=a\"", "\"dc=a\"\nprefix = \"x\"")),
        "E0205",
        9,
        7,
        "also looked up in `ad`",
    );
    one(&instead("\"ad\"", "\"login\""), "E0201", 2, 8, "two identity providers are named `login`");
}

#[test]
fn a_directory_shares_a_prefix_with_those_whom_it_knows_and_with_nobody_else() {
    let other = "[[identity.jwt]]\nname = \"b\"\nissuer = \"https://b\"\naudiences = [\"b\"]\nprefix = \"b:\"\n\
                 jwks = { file = \"jwks.json\" }\n";
    let check = |prefix: &str, expected: &[(&str, &str, &str)]| {
        let text = format!("{LEAST}prefix = \"{prefix}\"\n{other}");
        folder(&text).check(&text, expected);
    };
    check("", &[]);
    check("ad:", &[]);
    let place = format!("portcullis.toml:{}:10", LINES + 7);
    check("b:", &[("E0205", &place, "the prefix `b:` is also that of `b`")]);
}

#[test]
fn what_a_principal_is_called_is_the_attribute_that_finds_it_unless_it_is_written() {
    let id = |lines: &str, filter: &str| {
        let text = format!("{}{lines}", LEAST.replace("(uid={id})", filter));
        folder(&text).loaded().identity.ldap[0].id.clone()
    };
    let attribute = |name: &str| PrincipalId::Attribute(name.into());
    assert_eq!(id("", "(&(objectClass=person)(uid={id}))"), attribute("uid"));
    assert_eq!(id("", "(|(uid={id})(UID={id}))"), attribute("uid"));
    assert_eq!(id("", "(&(mail={email})(uid={id}))"), attribute("uid"));
    assert_eq!(id("", "(mail={email})"), PrincipalId::Claimed);
    assert_eq!(id("id_attribute = \"dn\"\n", "(uid={id})"), PrincipalId::Dn);
    assert_eq!(id("id_attribute = \"employeeNumber\"\n", "(mail={email})"), attribute("employeeNumber"));
}

#[test]
fn the_policy_means_whom_the_directory_means_and_says_so() {
    let policy = "version = 1\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[group]]\nname = \"g\"\n\
                  members = [\"user:ALICE\", \"user:bob\", \"service:CI\"]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\n\
                  principals = [\"group:g\"]\nscope = \"*\"\n[[deny]]\nname = \"d\"\nprincipals = [\"user:Mallory\"]\n\
                  actions = [\"* /**\"]\nscope = \"*\"\n";
    let check = |appended: &str, expected: &[(&str, &str, &str)]| {
        let folder = folder(appended);
        folder.write("policy.toml", policy);
        folder.check(appended, expected);
    };
    let told = [
        ("W0210", "policy.toml:7:12", "`user:ALICE` is `user:alice`"),
        ("W0210", "policy.toml:15:15", "`user:Mallory` is `user:mallory`"),
    ];
    check(LEAST, &told);
    check(&format!("{LEAST}id_case = \"exact\"\n"), &[]);
    check(&LEAST.replace("(uid={id})", "(mail={email})"), &[]);
    check("", &[]);
}
