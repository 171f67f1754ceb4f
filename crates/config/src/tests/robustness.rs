//! Files that are no configuration at all: a clear error, never a panic, and never much memory or time.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Folder, GATEWAY};

#[test]
fn what_is_no_readable_file_is_told_apart() {
    let check = |prepare: &dyn Fn(&Folder), expected: &[(&str, &str, &str)]| {
        let folder = Folder::new();
        std::fs::remove_file(folder.path("portcullis.toml")).unwrap();
        prepare(&folder);
        folder.check("", expected);
    };
    check(&|_| (), &[("E0100", "portcullis.toml:1:1", "cannot read `portcullis.toml`: No such file")]);
    check(
        &|folder| std::fs::create_dir(folder.path("portcullis.toml")).unwrap(),
        &[("E0100", "portcullis.toml:1:1", "it is a folder")],
    );
    check(
        &|folder| folder.write("portcullis.toml", b"version = 1\na = \"\xff\"\n"),
        &[("E0100", "portcullis.toml:2:6", "not UTF-8 from here on")],
    );
    check(
        &|folder| folder.write("portcullis.toml", b"\xff\xfev\0e\0r\0"),
        &[("E0100", "portcullis.toml:1:1", "not UTF-8")],
    );
    check(
        &|folder| folder.write("portcullis.toml", format!("\u{feff}{GATEWAY}")),
        &[("E0100", "portcullis.toml:1:1", "byte order mark")],
    );
    check(
        &|folder| folder.write("portcullis.toml", format!("{GATEWAY}{}", "# filler\n".repeat(500_000))),
        &[("E0100", "portcullis.toml:1:1", "larger than 4 MiB")],
    );
    check(
        &|folder| std::os::unix::fs::symlink("/dev/zero", folder.path("portcullis.toml")).unwrap(),
        &[("E0100", "portcullis.toml:1:1", "not a regular file")],
    );
}

#[test]
fn a_policy_that_cannot_be_read_is_reported_where_it_is_named() {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}[policy]\npath = \"none.toml\"\n"));
    folder.check("", &[("E0100", "portcullis.toml:12:8", "cannot read `none.toml`: No such file")]);
    folder.write("none.toml", "");
    folder.check("", &[("E0102", "none.toml:1:1", "`version` is missing in none.toml")]);
    std::fs::remove_file(folder.path("policy.toml")).unwrap();
    folder.write("portcullis.toml", GATEWAY);
    folder.check("", &[("E0100", "portcullis.toml:1:1", "cannot read `policy.toml`")]);
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let check = |appended: String, code: &str| {
        let folder = Folder::new();
        folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
        let problems = folder.problems();
        assert!(problems.iter().any(|(found, _, _)| *found == code), "{problems:?}");
    };
    check(format!("a = {}1{}\n", "[".repeat(10_000), "]".repeat(10_000)), "E0110");
    check(format!("a = {}\n", "[".repeat(200_000)), "E0110");
    check(format!("a = {}1{}\n", "{ b = ".repeat(10_000), "}".repeat(10_000)), "E0110");
    check(format!("{}a = 1\n", "a.".repeat(500_000)), "E0110");
    check(format!("[{}a]\n", "a.".repeat(500_000)), "E0110");
    check(format!("a = {{ {}a = 1 }}\n", "a.".repeat(500_000)), "E0110");
    // The deepest that is parsed: tables in tables, each under a key of many parts.
    check(format!("a = {}1{}\n", "{ a.b.c.d.e.f.g.h = ".repeat(79), "}".repeat(79)), "E0103");
}

#[test]
fn a_syntax_error_does_not_hide_what_is_before_it_or_in_other_files() {
    let folder = Folder::new();
    folder.write("portcullis.toml", "version = 1\ncolour = 1\n[[listener]\nname = \"a\"\nunknown = \"b\"\n");
    folder.write("policy.toml", "version = 1\n[risk]\nmod = \"off\"\n");
    let problems = folder.problems();
    let found: Vec<(&str, &str)> = problems.iter().map(|(code, place, _)| (*code, place.as_str())).collect();
    assert_eq!(
        found,
        [("E0103", "portcullis.toml:2:1"), ("E0101", "portcullis.toml:3:12"), ("E0103", "policy.toml:3:1")]
    );
}

#[test]
fn a_key_that_is_written_twice_is_an_error() {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}upstream = \"other\"\n[ops]\n[ops]\n"));
    folder.check(
        "",
        &[
            ("E0101", "portcullis.toml:11:1", "`upstream` is written twice"),
            ("E0101", "portcullis.toml:13:2", "`ops` is written twice"),
        ],
    );
}

#[test]
fn a_network_of_a_hundred_thousand_lines_names_the_wrong_ones() {
    let folder = Folder::new();
    folder.write("policy.toml", "version = 1\n[[network]]\nname = \"feed\"\nfile = \"feed.txt\"\n");
    let mut lines = String::new();
    for number in 0..100_000 {
        let (high, low) = (number / 256 % 256, number % 256);
        writeln!(lines, "10.{}.{high}.{low}", number / 65_536).unwrap();
    }
    folder.write("feed.txt", format!("{lines}  10.0.0.1/8 # wrong\nnonsense\n"));
    folder.check(
        "",
        &[
            ("E0302", "feed.txt:100001:3", "write `10.0.0.0/8`"),
            ("E0302", "feed.txt:100002:1", "`nonsense` is no address or prefix"),
        ],
    );
    folder.write("feed.txt", &lines);
    assert_eq!(folder.loaded().summary.prefixes, 100_000);
}

/// Text that is nearly a configuration, so that it reaches beyond the first line.
fn nearly_toml() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "version = 1\n",
        "[[route]]\n",
        "[[listener]]\n",
        "[identity]\n",
        "[[identity.jwt]]\n",
        "[limits]\n",
        "[risk]\n",
        "[[network]]\n",
        "[[assignment]]\n",
        "name = ",
        "address = ",
        "hosts = ",
        "jwks = ",
        "when = ",
        "thresholds.low = ",
        "include = ",
        "\"a\"",
        "\"${X}\"",
        "\"5s\"",
        "[",
        "]",
        "{",
        "}",
        "1",
        "-1",
        "1.5",
        "nan",
        "true",
        ",",
        "\n",
        "=",
        ".",
        "\"",
        "'''",
        "2026-01-01T00:00:00Z",
        "file = ",
        "\"../x\"",
        "\"*\"",
        "ä",
        "\0",
        "#",
        "\r",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn arbitrary_text_never_panics(gateway in nearly_toml(), policy in nearly_toml(), noise in any::<String>()) {
        let folder = Folder::new();
        for (gateway, policy) in [(&gateway, &noise), (&noise, &policy), (&format!("{GATEWAY}{gateway}"), &policy)] {
            folder.write("portcullis.toml", gateway);
            folder.write("policy.toml", policy);
            if let Err(report) = folder.load() {
                prop_assert!(report.errors() > 0);
                prop_assert!(report.render_human(false).len() < 1_000_000);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&report.render_json()).is_ok());
            }
        }
    }
}
