//! `[[identity.password]]` and the file of users: what can be written, what it means, and what is wrong with what.

use std::time::Duration;

use super::{Folder, GATEWAY};

const LEAST: &str = "[[identity.password]]\nname = \"local\"\nfile = \"users.toml\"\n";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

fn user(name: &str, more: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\nhash = \"{HASH}\"\n{more}\n")
}

fn folder(appended: &str, users: &str) -> Folder {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder.write("users.toml", format!("version = 1\n{users}"));
    folder.write("more-users.toml", format!("version = 1\n{}", user("alice", "")));
    folder.write("jwks.json", include_str!("../../../../config/jwks.json"));
    folder
}

/// Every key that can be written.
pub(super) fn folder_of_all() -> Folder {
    folder(LEAST, &user("alice", ""))
}

#[test]
fn users_are_read_with_what_they_are_in() {
    let more = "groups = [\"finance\"]\ndisabled = true\nexpires = 2030-01-01T00:00:00Z";
    let bench = "[identity]\npassword_threads = 2\npassword_waiting = 7\n";
    let written = format!("{bench}{LEAST}prefix = \"local:\"\nremember = \"0s\"\n");
    let loaded = folder(&written, &user("alice", more)).loaded();
    let identity = &loaded.identity;
    assert_eq!((identity.password_threads, identity.password_waiting), (2, 7));
    let provider = &identity.password[0];
    assert_eq!((&*provider.name, provider.prefix.as_str(), provider.remember), ("local", "local:", Duration::ZERO));
    let alice = &provider.users[0];
    assert_eq!(
        (alice.name.as_str(), alice.disabled, alice.groups.as_slice()),
        ("alice", true, ["finance".to_owned()].as_slice())
    );
    assert_eq!(alice.hash.to_string(), HASH);
    assert!(alice.expires.is_some());
    let defaults = folder(LEAST, "").loaded().identity;
    assert_eq!((defaults.password_threads, defaults.password_waiting), (1, 64));
    assert_eq!(defaults.password[0].remember, Duration::from_secs(60));
}

#[test]
fn wrong_providers_are_reported_where_they_stand() {
    let one = |text: &str, code: &str, line: usize, column: usize, fragment: &str| {
        folder(text, &user("alice", ""))
            .check(text, &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    one(&LEAST.replace("file = \"users.toml\"\n", ""), "E0102", 1, 1, "`file` is missing");
    one(&LEAST.replace("users.toml", "none.toml"), "E0100", 3, 8, "cannot read `none.toml`");
    one(&format!("{LEAST}remember = \"1h\"\n"), "E0105", 4, 12, "must be from 0s to 15m");
    one(&format!("{LEAST}password = \"x\"\n"), "E0103", 4, 1, "unknown key `password`");
    one(&format!("[identity]\npassword_threads = 0\n{LEAST}"), "E0105", 2, 20, "from 1 to 64");
    one(&format!("[identity]\npassword_waiting = 0\n{LEAST}"), "E0105", 2, 20, "from 1 to 10000");
    let jwt = "[[identity.jwt]]\nname = \"a\"\nissuer = \"https://a\"\naudiences = [\"a\"]\njwks = { file = \"jwks.json\" }\n";
    one(&format!("{jwt}{LEAST}"), "E0205", 7, 8, "the prefix `` is also that of `a`");
    let apart = format!("{jwt}{LEAST}prefix = \"local:\"\n");
    folder(&apart, &user("alice", "")).check(&apart, &[]);
    // What services are called is nothing that a user could be taken for.
    let services = format!("{jwt}principal = \"service\"\n{LEAST}");
    folder(&services, &user("alice", "")).check(&services, &[]);
    let second = LEAST.replace("local", "second").replace("users.toml", "more-users.toml");
    let both = format!("{LEAST}{second}");
    folder(&both, &user("alice", "")).check(&both, &[("E0205", "more-users.toml:3:8", "is also one of `local`")]);
}

#[test]
fn wrong_users_are_reported_in_their_file_and_no_report_shows_a_password() {
    let one = |users: &str, code: &str, line: usize, column: usize, fragment: &str| {
        folder(LEAST, users).check(users, &[(code, &format!("users.toml:{}:{column}", line + 1), fragment)]);
    };
    one(&user("a:b", ""), "E0105", 2, 8, "without a colon");
    one(&user("", ""), "E0105", 2, 8, "expected a name");
    one(&user("alice", "disabled = \"no\""), "E0104", 4, 12, "`true` or `false`");
    one(&user("alice", "groups = [\"a,b\"]"), "E0105", 4, 11, "a comma");
    one(&user("alice", "role = \"x\""), "E0103", 4, 1, "unknown key `role`");
    one(&(user("alice", "") + &user("alice", "")), "E0201", 6, 8, "two users have the name `alice`");
    one(&user("alice", "").replace("m=19456", "m=1024"), "E0105", 3, 8, "it is too weak");
    one(&user("alice", "").replace("argon2id", "argon2i"), "E0105", 3, 8, "`portcullis hash-password`");
    let plain = folder(LEAST, &user("alice", "").replace(HASH, "my-plain-password"));
    let Err(report) = plain.load() else { panic!("it is no hash") };
    for shown in [report.render_human(false), report.render_json()] {
        assert!(shown.contains("this is no hash of a password") && !shown.contains("my-plain"), "{shown}");
    }
}
