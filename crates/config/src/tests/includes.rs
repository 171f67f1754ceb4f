//! `include`: sorted, once each, and never above the folder.

use super::{Folder, GATEWAY};

fn upstream(name: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{name}:80\"]\n")
}

fn with_include(folder: &Folder, include: &str) {
    folder.write("portcullis.toml", GATEWAY.replace("version = 1\n", &format!("version = 1\ninclude = {include}\n")));
}

#[test]
fn included_files_add_entries_in_the_order_of_their_names() {
    let folder = Folder::new();
    with_include(&folder, r#"["more/*.toml", "one.toml", "more/b.toml"]"#);
    folder.write("more/b.toml", upstream("b"));
    folder.write("more/a.toml", format!("version = 1\n{}", upstream("a")));
    folder.write("more/.hidden.toml", "not read");
    folder.write("more/c.toml~", "not read");
    folder.write(
        "one.toml",
        "[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:8081\"\n\
         [[route]]\nname = \"b\"\nupstream = \"b\"\npaths = [\"/b/**\"]\n\
         [[sink]]\nname = \"s\"\nkind = \"stdout\"\n\
         [[identity.api_key]]\nname = \"keys\"\nheader = \"x-api-key\"\nfile = \"keys/k.toml\"\n",
    );
    folder.write("keys/k.toml", "version = 1\n");
    let loaded = folder.loaded();
    let names: Vec<&str> = loaded.proxy.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["billing", "a", "b"]);
    assert_eq!((loaded.process.listeners.len(), loaded.proxy.routes.len(), loaded.events.sinks.len()), (2, 2, 1));
    assert_eq!(loaded.identity.api_key.len(), 1);
    let files: Vec<String> = loaded
        .files
        .iter()
        .map(|file| file.strip_prefix(folder.folder.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(files, ["portcullis.toml", "more/a.toml", "more/b.toml", "one.toml", "policy.toml", "keys/k.toml"]);
}

#[test]
fn what_is_named_twice_over_several_files_is_reported_with_both_places() {
    let folder = Folder::new();
    with_include(&folder, r#"["more/*.toml"]"#);
    folder.write("more/a.toml", upstream("billing"));
    folder.check("", &[("E0201", "more/a.toml:2:8", "two upstreams are named `billing`")]);
    let Err(report) = folder.load() else { panic!("loaded") };
    let diagnostic = report.diagnostics().next().unwrap();
    let (first, _) = diagnostic.related[0];
    assert!(report.file(first).ends_with("portcullis.toml"));
    assert_eq!(report.position(first).line, 7);
}

#[test]
fn an_included_file_holds_lists_alone() {
    let folder = Folder::new();
    with_include(&folder, r#"["a.toml"]"#);
    folder.write("a.toml", "include = []\n[limits]\n[identity]\ntoken_cache = 5\n");
    folder.check(
        "",
        &[
            ("E0103", "a.toml:1:1", "unknown key `include` in a.toml"),
            ("E0103", "a.toml:2:2", "unknown key `limits` in a.toml"),
            ("E0103", "a.toml:4:1", "unknown key `token_cache` in [identity]"),
        ],
    );
}

#[test]
fn nothing_above_the_folder_is_included() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x.toml"), upstream("x")).unwrap();
    let check = |include: &str, fragment: &str| {
        let folder = Folder::new();
        with_include(&folder, &format!("[\"{include}\"]"));
        std::os::unix::fs::symlink(outside.path(), folder.path("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x.toml"), folder.path("y.toml")).unwrap();
        folder.check(include, &[("E0108", "portcullis.toml:2:12", fragment)]);
    };
    check("../x.toml", "holds `..`");
    check("a/../../x.toml", "holds `..`");
    check("/etc/*.toml", "is absolute");
    check("*/x.toml", "only in the last part");
    check("y.toml", "leads out of the folder");
    check("y*.toml", "leads out of the folder");
    check("link/*.toml", "leads out of the folder");
    check("portcullis.toml", "includes itself");
    check("missing.toml", "cannot read `missing.toml`");
}

#[test]
fn a_link_inside_the_folder_is_followed() {
    let folder = Folder::new();
    with_include(&folder, r#"["enabled/*.toml"]"#);
    folder.write("available/a.toml", upstream("a"));
    std::fs::create_dir(folder.path("enabled")).unwrap();
    std::os::unix::fs::symlink("../available/a.toml", folder.path("enabled/a.toml")).unwrap();
    assert_eq!(folder.loaded().proxy.upstreams.len(), 2);
}

#[test]
fn a_pattern_that_matches_nothing_is_a_warning() {
    let folder = Folder::new();
    with_include(&folder, r#"["routes/*.toml"]"#);
    assert_eq!(folder.loaded().warnings.warnings(), 1);
    folder.check("", &[("W0101", "portcullis.toml:2:12", "`routes/*.toml` matches no file")]);
}

#[test]
fn the_policy_includes_files_too() {
    let folder = Folder::new();
    folder.write("rules/policy.toml", "version = 1\ninclude = [\"roles/*.toml\"]\n");
    folder.write(
        "rules/roles/a.toml",
        "[[role]]\nname = \"a\"\npermissions = [{ actions = [\"GET /\"] }]\n[[role]]\nname = \"a\"\n",
    );
    folder.write("portcullis.toml", format!("{GATEWAY}[policy]\npath = \"rules/policy.toml\"\n"));
    folder.check("", &[("E0201", "rules/roles/a.toml:5:8", "named `a`")]);
    folder.write("rules/roles/a.toml", "[ban]\nmode = \"off\"\n");
    folder.check("", &[("E0103", "rules/roles/a.toml:1:2", "unknown key `ban`")]);
}

#[test]
fn test_cases_that_an_include_matches_are_an_error_and_not_passed_over() {
    let case = "[[case]]\nname = \"a\"\nrequest = \"GET /\"\nexpect = \"permit\"\n";
    let folder = Folder::new();
    folder.write("policy.toml", "version = 1\ninclude = [\"rules/*.toml\"]\n");
    folder.write("rules/policy.tests.toml", case);
    folder.check("", &[("E0103", "rules/policy.tests.toml:1:3", "no `include` matches")]);
    let folder = Folder::new();
    with_include(&folder, r#"["routes/*.toml"]"#);
    folder.write("routes/cases.toml", format!("[defaults]\nas = \"bob\"\n{case}"));
    let problem = |place| ("E0103", place, "`portcullis test` reads it");
    folder.check("", &[problem("routes/cases.toml:1:2"), problem("routes/cases.toml:3:3")]);
}
