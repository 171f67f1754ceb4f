//! `fmt` and `config schema`: what they write, what they leave alone, and their exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis_testkit::process::Finished;
use portcullis_testkit::wait::PATIENCE;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{portcullis, repository};

/// A configuration of every kind of file, none of them in canonical layout, and what each becomes.
struct Untidy(TempDir);

const FILES: &[(&str, &str, &str)] = &[
    (
        "portcullis.toml",
        "version=1 # of the shape\r\ninclude=[\"routes/*.toml\"]\r\n[policy]\r\n\r\npath = \"rules.toml\"\r\n",
        "version = 1                                      # of the shape\ninclude = [\"routes/*.toml\"]\n\n[policy]\npath = \"rules.toml\"\n",
    ),
    (
        "routes/a.toml",
        "\u{feff}[[identity.api_key]]\nfile='../keys.toml'",
        "[[identity.api_key]]\nfile = '../keys.toml'\n",
    ),
    (
        "rules.toml",
        "version = 1\ninclude = [\"more/*.toml\"]\n[[network]]\nname=\"a\"\nfile=\"list.txt\"\n# of b\n[[network]]\naddresses=[\n\"10.0.0.1\",# one\n\"10.0.0.2\"]\n",
        "version = 1\ninclude = [\"more/*.toml\"]\n\n[[network]]\nname = \"a\"\nfile = \"list.txt\"\n\n# of b\n[[network]]\naddresses = [\n    \"10.0.0.1\",                                  # one\n    \"10.0.0.2\",\n]\n",
    ),
    ("more/x.toml", "[[deny]]\nwhen={hours=\"x\"}\n", "[[deny]]\nwhen = { hours = \"x\" }\n"),
    ("keys.toml", "version = 1\n\n\n\n# none yet  \n", "version = 1\n\n# none yet\n"),
];

/// A list of a network is no TOML.
const LIST: &str = "10.0.0.1   # x  \n\n\n";

impl Untidy {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for (name, before, _) in FILES {
            site.write(name, before);
        }
        site.write("list.txt", LIST);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        portcullis().cwd(self.0.path()).args(["-c", "portcullis.toml"]).args(arguments).run(PATIENCE)
    }

    /// The files that the second column of [`FILES`] or the third describes.
    fn check_texts(&self, formatted: bool) {
        for (name, before, after) in FILES {
            assert_eq!(self.read(name), if formatted { *after } else { *before }, "{name}");
        }
        assert_eq!(self.read("list.txt"), LIST);
    }
}

#[test]
fn fmt_formats_all_that_the_configuration_consists_of() {
    let site = Untidy::new();
    let names = |finished: &Finished, suffix: &str| -> Vec<String> {
        let lines = finished.stdout.iter();
        lines.map(|line| line.strip_suffix(suffix).unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
    };
    let all = ["portcullis.toml", "routes/a.toml", "rules.toml", "more/x.toml", "routes/../keys.toml"];
    let looked = site.run(&["fmt", "--check"]);
    assert_eq!(looked.status.code(), Some(1), "{looked:?}");
    assert_eq!(names(&looked, ": not formatted"), all);
    site.check_texts(false);

    let differs = site.run(&["fmt", "--check", "-v"]).stdout.join("\n");
    for line in ["--- rules.toml", "+++ rules.toml (formatted)", "@@ ", "-name=\"a\"", "+name = \"a\""] {
        assert!(differs.lines().any(|each| each.starts_with(line)), "{line}: {differs}");
    }
    let quiet = site.run(&["fmt", "--check", "-q"]);
    assert_eq!((quiet.status.code(), quiet.stdout.len(), quiet.stderr.len()), (Some(1), 0, 0));
    let as_json = site.run(&["-o", "json", "fmt", "--check"]);
    let states: Value = serde_json::from_str(&as_json.stdout.join("\n")).unwrap();
    assert_eq!(states.as_array().unwrap().len(), 5);
    assert!(states.as_array().unwrap().iter().all(|each| each["state"] == "needed"), "{states}");
    site.check_texts(false);

    let formatted = site.run(&["fmt"]);
    assert_eq!(formatted.status.code(), Some(0), "{formatted:?}");
    assert_eq!(names(&formatted, ": formatted"), all);
    site.check_texts(true);
    for arguments in [&["fmt"][..], &["fmt", "--check"]] {
        let clean = site.run(arguments);
        assert_eq!((clean.status.code(), clean.stdout.len()), (Some(0), 0), "{clean:?}");
    }
}

#[test]
fn what_is_no_toml_is_left_alone_and_does_not_keep_the_rest_from_being_formatted() {
    let site = Untidy::new();
    let broken = "version=1\n[[network]\nname=\"a\"\n";
    site.write("rules.toml", broken);
    for arguments in [&["fmt", "--check"][..], &["fmt"]] {
        let finished = site.run(arguments);
        assert_eq!(finished.status.code(), Some(3), "{finished:?}");
        let text = finished.stderr.join("\n");
        assert!(text.contains("error[E0101]") && text.contains("rules.toml:2:"), "{text}");
        assert_eq!(site.read("rules.toml"), broken);
    }
    assert_eq!(site.read("portcullis.toml"), FILES[0].2);
    let as_json = site.run(&["-o", "jsonl", "fmt", "rules.toml", "keys.toml"]);
    let lines: Vec<Value> = as_json.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["state"], &lines[0]["problems"][0]["line"]), (&"invalid".into(), &2.into()), "{lines:?}");
    assert_eq!((lines.len(), &lines[1]["state"]), (2, &"clean".into()), "{lines:?}");

    let missing = site.run(&["fmt", "none.toml", "rules.toml"]);
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
    assert!(missing.stderr.join("\n").contains("cannot read `none.toml`"), "{missing:?}");
    site.write("portcullis.toml", "include = [\"../*.toml\"]\n");
    let outside = site.run(&["fmt"]);
    assert_eq!(outside.status.code(), Some(4), "without [policy] there is policy.toml, which is missing: {outside:?}");
    site.write("policy.toml", "");
    let outside = site.run(&["fmt"]);
    assert_eq!(outside.status.code(), Some(3), "{outside:?}");
    assert!(outside.stderr.join("\n").contains("error[E0108]"), "{outside:?}");
}

#[test]
fn a_file_keeps_its_permissions_and_a_link_stays_a_link() {
    let site = Untidy::new();
    let keys = site.path("keys.toml");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&keys, site.path("link.toml")).unwrap();
    let finished = site.run(&["fmt", "link.toml"]);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert!(fs::symlink_metadata(site.path("link.toml")).unwrap().is_symlink());
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(site.read("keys.toml"), FILES[4].2);

    // A change that is under way says so, and blocks only this file.
    let draft = fs::File::create(site.path(".rules.toml.new")).unwrap();
    draft.lock().unwrap();
    let busy = site.run(&["fmt", "rules.toml", "more/x.toml"]);
    assert_eq!(busy.status.code(), Some(4), "{busy:?}");
    assert!(busy.stderr.join("\n").contains(".rules.toml.new"), "{busy:?}");
    assert_eq!((site.read("rules.toml").as_str(), site.read("more/x.toml").as_str()), (FILES[2].1, FILES[3].2));
}

#[test]
fn an_editor_formats_through_standard_input() {
    let site = Untidy::new();
    let run = |name: &str, arguments: &[&str]| {
        let input = fs::File::open(site.path(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = command.args(arguments).stdin(Stdio::from(input)).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, _, after) in FILES {
        assert_eq!(run(name, &["fmt", "-"]), (Some(0), (*after).to_owned(), String::new()), "{name}");
        let (code, said, _) = run(name, &["fmt", "--check", "-"]);
        assert_eq!((code, said.as_str()), (Some(1), "-: not formatted\n"), "{name}");
    }
    site.write("broken.toml", "[a\n");
    let (code, text, problems) = run("broken.toml", &["fmt", "-"]);
    assert_eq!((code, text.as_str()), (Some(3), ""), "an editor must not replace its text by nothing");
    assert!(problems.contains("error[E0101]"), "{problems}");
    site.check_texts(false);
}

#[test]
fn a_key_that_is_made_keeps_its_file_formatted() {
    let site = Untidy::new();
    assert_eq!(site.run(&["fmt"]).status.code(), Some(0));
    let long = "a-group-with-a-name-that-is-rather-long";
    let made =
        site.run(&["key", "create", "one", "--file", "keys.toml", "--group", long, "--group", "b", "--group", "c"]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let more = [long, "b", "c"].map(|group| ["--group".to_owned(), format!("{group}-2-{}", "x".repeat(20))]).concat();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let made = site.run(&[&["key", "create", "two", "--file", "keys.toml"][..], &more].concat());
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(site.run(&["fmt", "--check", "keys.toml"]).status.code(), Some(0), "{}", site.read("keys.toml"));
}

#[test]
fn every_shipped_file_is_formatted() {
    let mut files = Vec::new();
    for folder in ["config", "docker", "tests/decisions", "crates/gateway/src/demo"] {
        toml_files(&repository(folder), &mut files);
    }
    assert!(files.len() >= 30, "{files:?}");
    let finished = portcullis().args(["fmt", "--check", "-v"]).args(&files).run(PATIENCE);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
}

fn toml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            toml_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "toml") {
            found.push(entry);
        }
    }
}

#[test]
fn config_schema_prints_what_is_in_the_repository() {
    for (of, name) in [("gateway", "portcullis"), ("policy", "policy"), ("keys", "keys"), ("cases", "cases")] {
        let printed = portcullis().args(["config", "schema", "--of", of]).run(PATIENCE);
        assert_eq!(printed.status.code(), Some(0), "{printed:?}");
        let committed = fs::read_to_string(repository(&format!("config/schema/{name}.schema.json"))).unwrap();
        assert_eq!(printed.stdout.join("\n") + "\n", committed);
    }
    let schema = |arguments: &[&str]| portcullis().args(["config", "schema"]).args(arguments).run(PATIENCE).stdout;
    assert_eq!(schema(&[]), schema(&["--of", "gateway"]));
    assert_eq!(schema(&["-o", "json"]), schema(&[]));
    assert_eq!(schema(&["-o", "jsonl"]).len(), 1, "one line");
    assert!(schema(&[]).len() > 100);
}

#[test]
fn a_verb_below_config_that_does_not_exist_is_said_to() {
    let check = |arguments: &[&str], words: &str| {
        let finished = portcullis().args(arguments).run(PATIENCE);
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        let text = finished.stderr.join("\n");
        assert!(text.contains(words), "{text}");
    };
    check(&["config"], "schema");
    check(&["config", "show"], "unrecognized subcommand 'show'");
    check(&["config", "show"], "Usage: portcullis config schema");
    check(&["config", "schema", "--of", "jwks"], "gateway, policy, keys, cases");
}
