//! `[identity.assertion]`.

use jiff::Timestamp;
use portcullis_events::checkpoint::SigningKey;
use portcullis_policy::Principal;

use super::{Folder, GATEWAY};

/// A folder whose gateway file has this appended, with two keys that can sign.
fn folder(appended: &str) -> Folder {
    let folder = Folder::new();
    for name in ["one.pem", "two.pem"] {
        folder.write(name, SigningKey::generate().unwrap().1);
    }
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder
}

const HEADER: &str = "[identity.headers]\nassertion = \"x-auth-assertion\"\n";
const TABLE: &str = "[identity.assertion]\nissuer = \"https://gw.example\"\nkey = { file = \"one.pem\" }\n";

/// A folder whose gateway file has every key of an assertion.
pub(super) fn folder_with_all() -> Folder {
    folder(&format!("{HEADER}{TABLE}other_key = {{ file = \"two.pem\" }}\nlifetime = \"10s\"\nmax_size = \"2KiB\"\n"))
}

#[test]
fn what_is_published_are_the_keys_that_are_named() {
    let published = |folder: &Folder| {
        let loaded = folder.loaded();
        assert_eq!(loaded.proxy.identity_headers.assertion.as_ref().unwrap(), "x-auth-assertion");
        loaded.proxy.assertions.unwrap().published().matches("\"kid\"").count()
    };
    assert_eq!(published(&folder(&format!("{HEADER}{TABLE}"))), 1);
    assert_eq!(published(&folder_with_all()), 2);
    assert!(Folder::new().loaded().proxy.assertions.is_none());
}

#[test]
fn the_header_and_the_key_go_together() {
    let check = |appended: &str, code: &'static str, place: &str, fragment: &'static str| {
        folder(appended).check(appended, &[(code, place, fragment)]);
    };
    check(TABLE, "E0203", "portcullis.toml:11:1", "no header carries the assertion");
    let broken = format!("{HEADER}{}", TABLE.replace("one.pem", "portcullis.toml"));
    check(&broken, "E0105", "portcullis.toml:15:7", "the key of `assertion` cannot be used");
    let other = format!("{HEADER}{TABLE}other_key = {{ file = \"policy.toml\" }}\n");
    let lasting = format!("{HEADER}{TABLE}lifetime = \"2h\"\n");
    check(&lasting, "E0105", "portcullis.toml:16:12", "must be from 10s to 1h");
    for (size, fragment) in
        [("1KiB", "must be from 2048 to 65536 bytes"), ("65KiB", "must be from 2048 to 65536 bytes")]
    {
        let sized = format!("{HEADER}{TABLE}max_size = \"{size}\"\n");
        check(&sized, "E0105", "portcullis.toml:16:12", fragment);
    }
    check(&other, "E0105", "portcullis.toml:16:13", "the key of `assertion` cannot be used");
}

#[test]
fn an_assertion_is_as_long_as_the_file_says() {
    let many = (0..150).fold(Principal::user("a"), |user, number| user.in_group(&format!("group-{number:04}")));
    let left_out = |appended: &str| {
        let assertions = folder(&format!("{HEADER}{TABLE}{appended}")).loaded().proxy.assertions.unwrap();
        assertions.sign(Some(&many), "app", Timestamp::UNIX_EPOCH).unwrap().groups_left_out
    };
    assert_eq!((left_out(""), left_out("max_size = \"2KiB\"\n"), left_out("max_size = \"64KiB\"\n")), (0, 150, 0));
}
