//! Holds `docs/architecture.md`: which crate imports which, what each may use from outside, and that the few places on
//! which the invariants rest are the only ones.
//!
//! What a type holds needs no test here (`Permit` and `Permitted` have no public constructor); this is about what the
//! compiler would let pass. It reads manifests through `cargo metadata --no-deps`, the lock file, and the sources without
//! their comments and literals. `cargo xtask check` holds the same table for crates that are still to come.

#![expect(clippy::panic, clippy::expect_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate and the crates of this workspace that it imports: no more, and no fewer, so that the table in the
/// documentation stays true.
const IMPORTS: &[(&str, &[&str])] = &[
    ("portcullis-durable", &[]),
    ("portcullis-policy", &[]),
    ("portcullis-identity", &["portcullis-fetch", "portcullis-ldap", "portcullis-policy"]),
    ("portcullis-risk", &["portcullis-policy"]),
    ("portcullis-governance", &["portcullis-durable"]),
    (
        "portcullis-store",
        &["portcullis-durable", "portcullis-governance", "portcullis-identity", "portcullis-policy", "portcullis-risk"],
    ),
    ("portcullis-events", &["portcullis-policy"]),
    ("portcullis-alerts", &["portcullis-events", "portcullis-policy"]),
    ("portcullis-fetch", &[]),
    ("portcullis-ldap", &["portcullis-fetch"]),
    ("portcullis-feeds", &["portcullis-durable", "portcullis-fetch", "portcullis-policy"]),
    ("portcullis-geo", &["portcullis-policy"]),
    (
        "portcullis-proxy",
        &["portcullis-events", "portcullis-geo", "portcullis-identity", "portcullis-policy", "portcullis-risk"],
    ),
    ("portcullis-history", &["portcullis-events"]),
    ("portcullis-insight", &["portcullis-events", "portcullis-policy"]),
    ("portcullis-admin", &["portcullis-fetch", "portcullis-history", "portcullis-insight"]),
    (
        "portcullis-config",
        &[
            "portcullis-admin",
            "portcullis-alerts",
            "portcullis-durable",
            "portcullis-events",
            "portcullis-feeds",
            "portcullis-fetch",
            "portcullis-geo",
            "portcullis-governance",
            "portcullis-history",
            "portcullis-identity",
            "portcullis-insight",
            "portcullis-ldap",
            "portcullis-policy",
            "portcullis-proxy",
            "portcullis-risk",
            "portcullis-store",
        ],
    ),
    (
        "portcullis",
        &[
            "portcullis-admin",
            "portcullis-alerts",
            "portcullis-config",
            "portcullis-durable",
            "portcullis-events",
            "portcullis-feeds",
            "portcullis-fetch",
            "portcullis-geo",
            "portcullis-governance",
            "portcullis-history",
            "portcullis-identity",
            "portcullis-insight",
            "portcullis-policy",
            "portcullis-proxy",
            "portcullis-risk",
            "portcullis-store",
        ],
    ),
    ("portcullis-testkit", &[]),
    ("xtask", &[]),
];

/// What `policy` may use from outside: types, a prefix trie, a time zone. No IO, clock, async or serialization.
const POLICY_USES: &[&str] = &["http", "ipnet", "jiff", "prefix-trie", "thiserror"];

/// What only these crates may use, and what for.
const RESERVED: &[(&str, &[&str])] = &[
    // The shape of TOML lives in one crate.
    ("toml", &["portcullis-config"]),
    ("toml_edit", &["portcullis-config"]),
    ("toml_parser", &["portcullis-config"]),
    // The event (events; history and insight, which read it back), tokens and key sets (identity), the problem body (proxy), the
    // control channel (admin), notifications (alerts), lists in JSON (feeds), answers with `-o json` (config, gateway), and what reads those
    // back (testkit, xtask).
    (
        "serde_json",
        &[
            "portcullis-events",
            "portcullis-alerts",
            "portcullis-feeds",
            "portcullis-fetch",
            "portcullis-geo",
            "portcullis-history",
            "portcullis-insight",
            "portcullis-admin",
            "portcullis-identity",
            "portcullis-feeds",
            "portcullis-proxy",
            "portcullis-config",
            "portcullis",
            "portcullis-testkit",
            "xtask",
        ],
    ),
    // Where there is a network there is a runtime, and nowhere else; in events it is inside the thread of a remote sink.
    (
        "tokio",
        &[
            "portcullis-events",
            "portcullis-feeds",
            "portcullis-fetch",
            "portcullis-identity",
            "portcullis-ldap",
            "portcullis-proxy",
            "portcullis-admin",
            "portcullis",
        ],
    ),
    ("hyper", &["portcullis-events", "portcullis-fetch", "portcullis-proxy", "portcullis-admin", "portcullis"]),
    ("tower", &["portcullis-proxy"]),
    ("maxminddb", &["portcullis-geo"]),
    // A database is a cache in one, and state in the other, and fenced in.
    ("rusqlite", &["portcullis-history", "portcullis-store"]),
    // What the description of the API is made from: the shapes of its bodies, of its reports and of the filter of events.
    ("schemars", &["portcullis-admin", "portcullis-history", "portcullis-insight"]),
    ("clap", &["portcullis"]),
    ("prometheus-client", &["portcullis"]),
];

/// Crates that no part of the tree may pull in, however indirectly; `deny.toml` has the reasons.
const NOWHERE: &[&str] = &["chrono", "dashmap", "native-tls", "openssl", "openssl-sys", "rsa"];

#[test]
fn each_crate_imports_what_the_table_says() {
    let manifests = manifests();
    let members: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = IMPORTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, listed, "who adds a crate decides where it stands: here, in the documentation, and in xtask");
    for (name, expected) in IMPORTS {
        let own: Vec<&str> =
            manifests[*name].iter().map(String::as_str).filter(|each| members.contains(each)).collect();
        assert_eq!(own, *expected, "what {name} imports from this workspace");
    }
}

#[test]
fn the_engine_uses_types_only() {
    for used in &manifests()["portcullis-policy"] {
        assert!(POLICY_USES.contains(&used.as_str()), "portcullis-policy uses {used}: the engine is pure");
    }
}

#[test]
fn what_one_crate_is_there_for_no_other_crate_uses() {
    for (name, uses) in &manifests() {
        for (reserved, owners) in RESERVED {
            let foreign = uses.contains(*reserved) && !owners.contains(&name.as_str());
            assert!(!foreign, "{name} uses {reserved}, which is for {}", owners.join(", "));
        }
    }
}

#[test]
fn one_stack_for_cryptography_and_one_for_time() {
    // The lock file and not the resolved graph: cargo would need every package of every platform to resolve it.
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file is in the repository");
    let locked: BTreeSet<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(locked.contains("portcullis-policy"), "the lock file could not be read: {locked:?}");
    for name in NOWHERE {
        assert!(!locked.contains(name), "something depends on {name}: `cargo tree --invert {name}` says what");
    }
}

/// The lock file names `ring` for features of rustls' own parts that nobody turns on: what counts is what is built.
#[test]
fn rustls_has_one_provider() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--prefix", "none", "--format", "{p}", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let built = String::from_utf8_lossy(&output.stdout);
    assert!(built.lines().any(|line| line.starts_with("aws-lc-rs ")), "cargo tree lists what is built: {output:?}");
    let ring = built.lines().find(|line| line.starts_with("ring "));
    assert_eq!(ring, None, "`cargo tree --workspace --invert ring` says what brings a second provider");
}

#[test]
fn only_config_knows_toml() {
    // Tests may read their cases from TOML; the product reads it in one crate.
    for (path, code) in product_sources_where(|path| !path.starts_with("crates/config/src/")) {
        for name in ["toml", "toml_edit", "toml_parser"] {
            assert_eq!(mentions_crate(&code, name), 0, "{} reads TOML", path.display());
        }
    }
    let own = product_sources_where(|path| path.starts_with("crates/config/src/"));
    assert!(
        own.map(|(_, code)| mentions_crate(&code, "toml")).sum::<usize>() > 0,
        "this test looks for the wrong name"
    );
}

#[test]
fn only_authorize_makes_a_permitted_request() {
    let makers = |path: &Path| path == Path::new("crates/proxy/src/layers/authorize.rs");
    let found = occurs_only_in("`Permitted::new(`", makers, |code| squeezed(code).matches("Permitted::new(").count());
    assert_eq!(found, 1, "one place makes permitted requests");
    // The type's own file is the only one that could build it by its fields.
    let own = |path: &Path| path == Path::new("crates/proxy/src/permitted.rs");
    occurs_only_in("a `Permitted` built by its fields", own, |code| squeezed(code).matches("Permitted{").count());
}

#[test]
fn only_authorize_asks_for_a_decision() {
    let places = |path: &Path| path == Path::new("crates/proxy/src/layers/authorize.rs");
    let found = product_sources_where(|path| !path.starts_with("crates/policy/"))
        .map(|(path, code)| ([".decide(", ".decide_noting("].map(|call| squeezed(&code).matches(call).count()), path))
        .filter(|(counts, _)| *counts != [0, 0]);
    for (counts, path) in found {
        assert!(places(&path) && counts == [1, 1], "{} asks for decisions {counts:?} times", path.display());
    }
}

#[test]
fn only_the_report_renders_a_refusal() {
    let places =
        |path: &Path| ["report.rs", "refusal.rs"].iter().any(|name| path == Path::new("crates/proxy/src").join(name));
    for (path, code) in product_sources_where(|path| path.starts_with("crates/proxy/")) {
        assert!(calls_of("render", &code) == 0 || places(&path), "{} renders a refusal", path.display());
    }
    for (path, code) in product_sources_where(|path| !path.starts_with("crates/proxy/")) {
        let imports = squeezed(&code).contains("portcullis_proxy::refusal");
        assert!(!imports, "{} imports the rendering of refusals", path.display());
    }
    let used = product_sources_where(places).map(|(_, code)| calls_of("render", &code)).sum::<usize>();
    assert!(used > 0, "nobody renders refusals: this test looks for the wrong name");
}

#[test]
fn a_request_sees_one_snapshot() {
    // A worker looks the snapshot up when a request begins; the data plane reads its bounds once at the start. Everybody
    // else has the one that the request carries.
    let places = ["crates/proxy/src/worker.rs", "crates/proxy/src/data_plane.rs"];
    for (path, code) in product_sources_where(|path| path.starts_with("crates/proxy/")) {
        let looks_up = squeezed(&code).contains(".snapshot()");
        assert!(
            !looks_up || places.iter().any(|place| path == Path::new(place)),
            "{} looks up a snapshot",
            path.display()
        );
    }
}

#[test]
fn the_api_takes_nothing_from_the_command_line() {
    // What both say is in `answers`, below them.
    let own = Path::new("crates/gateway/src");
    let is_of = |path: &Path, room: &str| {
        path.strip_prefix(own).is_ok_and(|path| path.starts_with(room) || path == Path::new(room).with_extension("rs"))
    };
    let mut seen = BTreeMap::new();
    for (room, not) in [("control", &["cli"][..]), ("answers", &["cli", "control"])] {
        for (path, code) in sources(|path| is_of(path, room)) {
            *seen.entry(room).or_insert(0) += 1;
            for other in not {
                assert_eq!(words(&code).filter(|word| word == other).count(), 0, "{} uses `{other}`", path.display());
            }
        }
    }
    assert!(seen.len() == 2 && seen.values().all(|files| *files > 5), "this test looks for the wrong names: {seen:?}");
    let uses = |path: &Path, room: &str| {
        sources(|found| found == path).iter().any(|(_, code)| words(code).any(|word| word == room))
    };
    assert!(uses(&own.join("control/questions.rs"), "answers") && uses(&own.join("cli/who_can.rs"), "answers"));
}

#[test]
fn who_is_given_the_time_reads_no_clock() {
    for (path, code) in product_sources_where(|path| {
        ["crates/policy/", "crates/risk/", "crates/identity/", "crates/feeds/", "crates/geo/"]
            .iter()
            .any(|crate_| path.starts_with(crate_))
    }) {
        for clock in ["Timestamp::now(", "SystemTime", "Instant::now(", "Zoned::now("] {
            assert!(!squeezed(&code).contains(clock), "{} reads a clock: {clock}", path.display());
        }
    }
}

#[test]
fn nobody_writes_unsafe_code() {
    occurs_only_in("`unsafe`", |_| false, |code| words(code).filter(|word| *word == "unsafe").count());
}

#[test]
fn comments_and_literals_are_no_code() {
    let check = |source: &str, expected: &str| {
        assert_eq!(code_of(source).split_whitespace().collect::<Vec<_>>().join(" "), expected)
    };
    check("a // unsafe\nb", "a b");
    check("a /* x /* unsafe */ y */ b", "a b");
    check(r#"a("unsafe \" unsafe") b"#, r#"a("") b"#);
    check(r##"a(r#"unsafe " unsafe"#) b"##, r##"a(r#""#) b"##);
    check(r#"a(b"unsafe", c"unsafe") b"#, r#"a(b"", c"") b"#);
    check("a('\"') b('\\'') c", "a('') b('') c");
    check("fn f<'a>(x: &'a str) {} // '", "fn f<'a>(x: &'a str) {}");
    check("'unsafe_label: loop {}", "'unsafe_label: loop {}");
    check("r#unsafe", "r#unsafe");
    assert_eq!(calls_of("render", "fn render(a) { x.render(b); render (c); rendered(d); m::render(e) }"), 2);
    assert_eq!(without_tests("a #[cfg(test)] fn b() {} #[cfg(test)] mod tests { c }"), "a #[cfg(test)] fn b() {} ");
    assert_eq!(mentions_crate("use toml::de; my_toml::x; a::toml::b; toml :: c", "toml"), 3);
}

/// Each package of the workspace and the packages that it uses, without those of its tests. Sorted by name.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // `--no-deps` asks for nothing that is not in the repository, so a clean clone answers, too.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, BTreeSet<String>> = list(&metadata, "packages")
        .iter()
        .map(|package| {
            let uses = list(package, "dependencies");
            let uses = uses.iter().filter(|dependency| dependency["kind"] != "dev");
            (text(package, "name"), uses.map(|dependency| text(dependency, "name")).collect())
        })
        .collect();
    assert!(!packages.is_empty(), "cargo metadata lists no package");
    packages
}

/// Fails where `count` finds something in a source file that is not `allowed`. Returns how much it found in all.
fn occurs_only_in(what: &str, allowed: impl Fn(&Path) -> bool, count: impl Fn(&str) -> usize) -> usize {
    let mut found = 0;
    for (path, code) in sources(|_| true) {
        let here = count(&code);
        assert!(here == 0 || allowed(&path), "{} holds {what}", path.display());
        found += here;
    }
    found
}

/// The code of the product's source files, without tests beside it.
fn product_sources_where(wanted: impl Fn(&Path) -> bool) -> impl Iterator<Item = (PathBuf, String)> {
    let is_product = |path: &Path| {
        let text = path.to_string_lossy();
        text.contains("/src/")
            && !text.contains("/testkit/")
            && !text.ends_with("tests.rs")
            && !text.contains("/tests/")
    };
    sources(move |path| is_product(path) && wanted(path))
        .into_iter()
        .map(|(path, code)| (path, without_tests(&code).to_owned()))
}

/// Tests stand last in a file, so what follows their beginning is theirs; where they have a file of their own, nothing is.
fn without_tests(code: &str) -> &str {
    let is_here =
        |rest: &str| rest.starts_with("mod ") && rest.find(['{', ';']).is_some_and(|at| rest[at..].starts_with('{'));
    let begins = code.match_indices("#[cfg(test)]").find(|(at, mark)| is_here(code[at + mark.len()..].trim_start()));
    begins.map_or(code, |(at, _)| &code[..at])
}

#[test]
fn what_follows_the_name_of_a_file_of_tests_is_looked_at() {
    let check = |code: &str, left: &str| assert_eq!(without_tests(code), left);
    check("a\n#[cfg(test)]\nmod tests;\nb", "a\n#[cfg(test)]\nmod tests;\nb");
    check("a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod more {\nc\n}", "a\n#[cfg(test)]\nmod tests;\nb\n");
    check("a\n#[cfg(test)]\nuse x;\nb", "a\n#[cfg(test)]\nuse x;\nb");
}

/// Every source file of the workspace, by its path from the root, without comments and literals.
fn sources(wanted: impl Fn(&Path) -> bool) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["crates", "xtask", "tests", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 100, "only {} source files were found", files.len());
    files.sort();
    files
        .into_iter()
        .filter_map(|path| Some((path.strip_prefix(&root).ok()?.to_path_buf(), path)))
        // Programs that must not compile, and do not.
        .filter(|(relative, _)| !relative.to_string_lossy().contains("/tests/forgery/"))
        .filter(|(relative, _)| wanted(relative))
        // A file that goes away while the test runs was somebody's backup.
        .filter_map(|(relative, path)| Some((relative, code_of(&fs::read_to_string(path).ok()?))))
        .collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", here.display()))
}

/// The source with its comments and the insides of its string and character literals taken out. Good enough for code that
/// compiles: it knows nested comments, raw strings, escapes, and lifetimes from characters.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            code.push(' ');
            block_comment(rest)
        } else if let Some((opening, length)) = raw_string(rest).filter(|_| !ends_in_word(&code)) {
            code.push_str(opening);
            code.push_str(&opening.chars().rev().take_while(|each| *each != 'r').collect::<String>());
            length
        } else if first == '"' {
            code.push_str("\"\"");
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            code.push_str("''");
            quoted(rest, '\'')
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
}

/// The bytes of the block comment that the text begins with; comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The opening of the raw string that the text begins with, up to its quote, and the bytes of the whole.
fn raw_string(text: &str) -> Option<(&str, usize)> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let opening = text.len() - inside.len();
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some((&text[..opening], opening + length))
}

/// The bytes of the literal that the text begins with, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            end if end == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether an apostrophe begins a character and not a lifetime or a label.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    characters.next() == Some('\\') || characters.next() == Some('\'')
}

/// The code without white space, so that a line break does not hide what belongs together.
fn squeezed(code: &str) -> String {
    code.split_whitespace().collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// How often a function of this name is called as a function: not as a method, and not where it is defined.
fn calls_of(name: &str, code: &str) -> usize {
    code.match_indices(name)
        .filter(|(at, _)| {
            let before = code[..*at].trim_end();
            let whole = !ends_in_word(&code[..*at]);
            let defined = words(before).last() == Some("fn") && before.ends_with("fn");
            whole && !defined && !before.ends_with('.') && code[at + name.len()..].trim_start().starts_with('(')
        })
        .count()
}

/// How often a path goes through the crate or module of this name.
fn mentions_crate(code: &str, name: &str) -> usize {
    code.match_indices(name)
        .filter(|(at, _)| !ends_in_word(&code[..*at]) && code[at + name.len()..].trim_start().starts_with("::"))
        .count()
}
