//! `[event] checkpoint`, and which file is looked into for events.

use std::time::Duration;

use portcullis_events::checkpoint::SigningKey;

use super::{Folder, GATEWAY};

/// A folder whose gateway file ends so, with a key.
fn folder(appended: &str) -> (Folder, SigningKey) {
    let mut folder = Folder::new();
    let (key, pem) = SigningKey::generate().unwrap();
    folder.write("checkpoint.key", &pem);
    folder.write("rubbish.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    folder.environment.insert("KEY".into(), pem);
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    (folder, key)
}

/// A folder whose gateway file has every key of a checkpoint.
pub(super) fn folder_with_all() -> Folder {
    folder("[event]\ncheckpoint = { key = { file = \"checkpoint.key\" }, every = \"5s\", events = 7 }\n").0
}

#[test]
fn a_key_of_several_lines_is_read_and_the_defaults_are_a_minute_and_ten_thousand_events() {
    for source in ["file = \"checkpoint.key\"", "env = \"KEY\""] {
        let (folder, key) = folder(&format!("[event]\ncheckpoint = {{ key = {{ {source} }} }}\n"));
        let found = folder.loaded().events.checkpoint.unwrap();
        assert_eq!((found.key, found.every, found.events), (key, Duration::from_secs(60), 10_000));
    }
    let found = folder_with_all().loaded().events.checkpoint.unwrap();
    assert_eq!((found.every, found.events), (Duration::from_secs(5), 7));
    assert!(Folder::new().loaded().events.checkpoint.is_none());
}

#[test]
fn what_cannot_sign_is_named_where_it_stands() {
    let check = |line: &str, code: &str, column: usize, fragment: &str| {
        let (folder, _) = folder(&format!("[event]\n{line}\n"));
        let row = 11 + line.lines().count();
        folder.check(line, &[(code, &format!("portcullis.toml:{row}:{column}"), fragment)]);
    };
    check("checkpoint = true", "E0104", 14, "expected a table");
    check("checkpoint = { every = \"1m\" }", "E0102", 14, "`key`");
    check("checkpoint = { key = \"x\" }", "E0104", 22, "expected");
    check(
        "checkpoint = { key = { file = \"rubbish.key\" } }",
        "E0105",
        22,
        "`portcullis audit keygen --out checkpoint.key`",
    );
    check("checkpoint = { key = { env = \"NONE\" } }", "E0107", 30, "`NONE` is not set");
    check("checkpoint = { key = { env = \"KEY\" }, every = \"0s\" }", "E0105", 47, "must be from 1s to 1d");
    check("checkpoint = { key = { env = \"KEY\" }, events = 0 }", "E0105", 48, "a whole number from 1");
    check("checkpoint = { key = { env = \"KEY\" }, evry = \"1s\" }", "E0103", 39, "did you mean `every`?");
    check(
        "integrity = \"off\"\ncheckpoint = { key = { env = \"KEY\" } }",
        "E0203",
        14,
        "signs the chain, and `integrity = \"off\"` has none | remove one of the two",
    );
}

#[test]
fn the_index_is_of_the_file_that_has_every_event() {
    let file =
        |name: &str, more: &str| format!("[[sink]]\nname = \"{name}\"\nkind = \"file\"\npath = \"{name}\"\n{more}");
    let some = file("some", "severity = \"high\"\n");
    let index = "[index]\nenabled = true\n";
    for (sinks, expected) in [(some.clone(), "some"), (format!("{some}{}", file("all", "")), "all")] {
        let (folder, _) = folder(&format!("{sinks}{index}"));
        assert_eq!(folder.loaded().index.unwrap().events, folder.path(expected));
    }
}
