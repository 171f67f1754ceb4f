//! Files that are made to be expensive: each is refused with its place and a remedy, or read. Nothing is timed by an
//! assertion: a bound that is missing shows as a test that does not end, or as memory that runs out.
//!
//! `PORTCULLIS_FULL_SIZE=1` takes the sizes that the bounds allow; otherwise a part of that, which a debug build takes in
//! its stride.

use std::fmt::Write as _;

use super::{Folder, GATEWAY, POLICY};
use crate::document::{MAX_CONFIGURATION, MAX_POLICY_FILE};

fn size(full: usize, small: usize) -> usize {
    if std::env::var_os("PORTCULLIS_FULL_SIZE").is_some() { full } else { small }
}

/// The last byte of the greatest policy file.
fn greatest() -> usize {
    usize::try_from(MAX_POLICY_FILE).unwrap() - POLICY.len() - 64
}

fn with_policy(policy: &str) -> Folder {
    let folder = Folder::new();
    folder.write("policy.toml", format!("{POLICY}{policy}"));
    folder
}

/// The only problem, or the first of those that were kept: code, place, a part of the message or the remedy.
fn refused(case: &str, folder: &Folder, expected: (&str, &str, &str)) {
    let problems = folder.problems();
    let (code, place, text) = problems.first().unwrap_or_else(|| panic!("{case} was accepted"));
    let shown: String = text.chars().take(300).collect();
    assert!(
        *code == expected.0 && place == expected.1 && text.contains(expected.2),
        "{case}\nexpected {expected:?}\nfound {code} {place} {shown}"
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_by_its_size_alone() {
    let folder = Folder::new();
    let file = std::fs::File::create(folder.path("policy.toml")).unwrap();
    // A file with a hole: it takes no disk, and read as a whole it would take seconds.
    file.set_len(MAX_POLICY_FILE + 1).unwrap();
    refused("one byte more", &folder, ("E0100", "portcullis.toml:1:1", "larger than 64 MiB"));
    file.set_len(1 << 40).unwrap();
    refused("a terabyte", &folder, ("E0100", "portcullis.toml:1:1", "larger than 64 MiB"));
}

#[test]
fn all_files_together_have_a_bound() {
    // Where it is reached is tested beside the code; this is how it looks to whoever reaches it.
    if size(1, 0) == 0 {
        return;
    }
    let folder = with_policy("include = [\"p/*.toml\"]\n");
    let line = format!("# {}\n", "x".repeat(1 << 20));
    folder.write("p/0.toml", line.repeat(usize::try_from(MAX_CONFIGURATION).unwrap() / 5 / line.len() + 1));
    for number in 1..100 {
        std::fs::hard_link(folder.path("p/0.toml"), folder.path(&format!("p/{number}.toml"))).unwrap();
    }
    refused("many files", &folder, ("E0100", "policy.toml:2:12", "all files together are larger than 128 MiB"));
}

#[test]
fn brackets_are_counted_before_anything_is_parsed() {
    let length = size(greatest(), 1 << 20);
    let check = |case: &str, policy: String, expected| refused(case, &with_policy(&policy), expected);
    check("arrays", format!("a = {}", "[".repeat(length - 4)), ("E0110", "policy.toml:2:1005", "nested too deep"));
    check("tables", format!("a = {}", "{a=".repeat(length / 3)), ("E0110", "policy.toml:2:3005", "nested too deep"));
    check("dots", format!("{}a = 1", "a.".repeat(length / 2)), ("E0110", "policy.toml:2:1", "at most 8 parts"));
    check("a header", format!("[{}a]", "a.".repeat(length / 2)), ("E0110", "policy.toml:2:2", "at most 8 parts"));
    let nested = |depth: usize| format!("a = {}1{}\n", "[".repeat(depth), "]".repeat(depth));
    check("a thousand", nested(1_000), ("E0110", "policy.toml:2:85", "nested too deep"));
    check("the deepest that is read", nested(79), ("E0103", "policy.toml:2:1", "unknown key `a`"));
}

#[test]
fn short_parts_are_counted_before_anything_is_parsed() {
    // The bound itself takes a debug build too long to reach.
    let parts: &[&str] = if size(1, 0) == 1 { &["1,", "[],", "{},", "\n", "#\n"] } else { &[] };
    for part in parts {
        let policy = format!("a = [{}1]\n", part.repeat(greatest() / part.len()));
        let problems = with_policy(&policy).problems();
        let found = problems.iter().map(|(code, _, text)| (*code, text.contains("more than 10000000 words")));
        assert_eq!(found.collect::<Vec<_>>(), [("E0100", true)], "{part:?}");
    }
}

#[test]
fn long_values_are_shown_in_part() {
    let length = size(50 << 20, 1 << 20);
    let long = "x".repeat(length);
    let check = |case: &str, policy: String, code: &str| {
        let folder = with_policy(&policy);
        let report = folder.load().unwrap_err();
        assert_eq!(report.diagnostics().next().map(|each| each.code), Some(code), "{case}");
        let shown = report.render_human(false).len() + report.render_json().len();
        assert!(shown < 100_000, "{case}: {shown} bytes");
    };
    check("a value under an unknown key", format!("a = \"{long}\"\n"), "E0103");
    check("a key", format!("{long} = 1\n"), "E0103");
    check("a role's name", format!("[[role]]\nname = \"{long}\"\n"), "E0105");
    check("an action", format!("[[role]]\nname = \"r\"\npermissions = [{{ actions = [\"{long}\"] }}]\n"), "E0105");
    check("a reference", format!("[[role]]\nname = \"r\"\ninherits = [\"{long}\"]\n"), "E0105");
    check("an address", format!("[[network]]\nname = \"n\"\naddresses = [\"{long}\"]\n"), "E0105");
    check(
        "an action with too many segments",
        format!("[[role]]\nname = \"r\"\npermissions = [{{ actions = [\"GET {}\"] }}]\n", "/a".repeat(length / 2)),
        "E0105",
    );
}

#[test]
fn a_million_small_mistakes_are_counted_and_a_thousand_told() {
    let many = size(900_000, 20_000);
    let count = |policy: String| with_policy(&policy).load().unwrap_err().errors();
    let keys: String = (0..many).fold(String::new(), |mut text, number| {
        writeln!(text, "key{number} = 1").unwrap();
        text
    });
    assert_eq!(count(keys), many);
    let roles: String = (0..many).fold(String::new(), |mut text, number| {
        write!(text, "[[role]]\nname = \"r{number}\"\nperm = 1\n").unwrap();
        text
    });
    assert_eq!(count(roles), many);
}

#[test]
fn unknown_names_are_told_without_comparing_all_with_all() {
    let many = size(50_000, 40);
    let roles: String = (0..many).fold(String::new(), |mut text, number| {
        let (name, other) = ("abcdefghij".repeat(6), "jihgfedcba".repeat(6));
        write!(text, "[[role]]\nname = \"{name}{number:05}\"\ninherits = [\"{other}{number:05}\"]\n").unwrap();
        text
    });
    refused("unknown roles", &with_policy(&roles), ("E0202", "policy.toml:4:13", "there is no role named"));
}

#[test]
fn what_multiplies_is_refused_before_it_is_multiplied() {
    let many = size(100_000, 2_000);
    let quoted =
        |name: &str, count: usize| (0..count).map(|number| format!("\"{name}{number}\"")).collect::<Vec<_>>().join(",");
    let folder = Folder::new();
    let (hosts, paths) = (quoted("h", many), quoted("/p", many));
    folder.write("portcullis.toml", format!("{GATEWAY}hosts = [{hosts}]\npaths = [{paths}]\n"));
    refused("hosts times paths", &folder, ("E0301", "portcullis.toml:9:8", "more than 1000000 entries"));

    let folder = Folder::new();
    let routes = (0..size(20_000, 4_000)).fold(GATEWAY.to_owned(), |mut text, number| {
        write!(text, "[[route]]\nname = \"r{number}\"\nupstream = \"billing\"\npaths = [\"/r{number}\"]\n").unwrap();
        text
    });
    folder.write("portcullis.toml", routes);
    let principals = quoted("user:u", size(1_000_000, 4_000));
    let scope = quoted("r", size(20_000, 4_000));
    let rule = |kind: &str, rest: &str| {
        format!("[[{kind}]]\nname = \"a\"\n{rest}principals = [{principals}]\nscope = [{scope}]\n")
    };
    let role = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"* /**\"] }]\n";
    folder.write("policy.toml", format!("{POLICY}{role}{}", rule("assignment", "role = \"r\"\n")));
    refused("an assignment", &folder, ("E0301", "policy.toml:6:8", "the assignments have more than 10000000 entries"));
    folder.write("policy.toml", format!("{POLICY}{}", rule("deny", "actions = [\"* /**\"]\n")));
    refused("a deny", &folder, ("E0301", "policy.toml:3:8", "the denies have more than 10000000 entries"));
}

#[test]
fn hosts_and_addresses_are_read_as_many_as_fit() {
    let folder = Folder::new();
    let hosts = (0..size(250_000, 20_000)).map(|number| format!("\"h{number}.x\"")).collect::<Vec<_>>().join(",");
    folder.write("portcullis.toml", format!("{GATEWAY}hosts = [{hosts}]\n"));
    assert_eq!(folder.loaded().summary.routes, 1);

    let many = size(4_000_000, 50_000);
    let folder = with_policy("[[network]]\nname = \"n\"\nfile = \"feed.txt\"\n");
    let lines = (0..u32::try_from(many).unwrap()).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", std::net::Ipv4Addr::from(0x0a00_0000 + number)).unwrap();
        text
    });
    folder.write("feed.txt", &lines);
    assert_eq!(folder.loaded().summary.prefixes, many);
}

#[test]
fn a_file_of_wrong_lines_is_read_for_a_thousand_of_them() {
    let folder = with_policy("[[network]]\nname = \"n\"\nfile = \"feed.txt\"\n");
    folder.write("feed.txt", "x\n".repeat(size(30_000_000, 100_000)));
    let report = folder.load().unwrap_err();
    assert_eq!(report.errors(), 1_000);
}

#[test]
fn networks_that_overlap_are_read_as_many_as_fit() {
    let policy = (0..size(400_000, 5_000)).fold(String::new(), |mut text, number| {
        write!(text, "[[network]]\nname = \"n{number}\"\naddresses = [\"10.0.0.0/8\"]\n").unwrap();
        text
    });
    assert!(with_policy(&policy).loaded().summary.networks > 1_000);
}

#[test]
fn more_files_than_are_included_are_refused() {
    let folder = with_policy("include = [\"p/*.toml\"]\n");
    folder.write("p/00000.toml", "");
    for number in 1..=10_000 {
        std::os::unix::fs::symlink(folder.path("p/00000.toml"), folder.path(&format!("p/{number:05}.toml"))).unwrap();
    }
    // Links to one file are one file.
    assert!(folder.load().is_ok());
    for number in 1..=10_000 {
        std::fs::remove_file(folder.path(&format!("p/{number:05}.toml"))).unwrap();
        folder.write(&format!("p/{number:05}.toml"), "");
    }
    refused("10,001 files", &folder, ("E0108", "policy.toml:2:12", "more than 10000 files are included"));
}
