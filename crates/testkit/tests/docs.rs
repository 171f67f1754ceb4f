//! Holds the documentation to what is there: links lead somewhere, commands can be typed, metrics are exposed, and every
//! crate has its row.
//!
//! It reads the repository's Markdown, and of the product only sources: the command line's (`args.rs`) and the metrics'
//! (`exposition.rs`, `exposition/`). Whether an output that is shown is the real one, it cannot tell.

#![expect(clippy::panic, clippy::expect_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut links = 0;
    for page in pages() {
        for target in page.links() {
            links += 1;
            let (file, anchor) =
                target.split_once('#').map_or((target.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() { page.path.clone() } else { page.folder().join(file) };
            if !path.exists() {
                broken.push(format!("{}: {target}: there is no such file", page.name()));
            } else if let Some(anchor) = anchor.filter(|_| path.extension().is_some_and(|extension| extension == "md"))
                && !Page::read(&path).anchors().contains(anchor)
            {
                broken.push(format!("{}: {target}: there is no such heading", page.name()));
            }
        }
    }
    assert!(links > 40, "only {links} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_command_can_be_typed() {
    let line = CommandLine::read();
    let mut wrong = Vec::new();
    let mut commands = 0;
    for page in pages() {
        for command in page.commands() {
            commands += 1;
            wrong.extend(line.problem(&command).map(|problem| format!("{}: `{command}`: {problem}", page.name())));
        }
    }
    assert!(commands > 20, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_metric_that_is_named_is_exposed() {
    let exposed = with_parts("crates/gateway/src/exposition");
    let crates: BTreeSet<String> = crate_folders().iter().map(|name| format!("portcullis_{name}")).collect();
    let mut unknown = Vec::new();
    let mut named = 0;
    for page in pages() {
        let metrics = page.text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        for metric in metrics.filter(|word| is_metric(word) && !crates.contains(*word)) {
            named += 1;
            let family = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
            let exists =
                [Some(metric), family].into_iter().flatten().any(|name| exposed.contains(&format!("\"{name}\"")));
            if !exists {
                unknown.push(format!("{}: {metric}", page.name()));
            }
        }
    }
    assert!(named > 10, "only {named} metrics were found");
    assert!(unknown.is_empty(), "nobody exposes:\n{}", unknown.join("\n"));
}

fn is_metric(word: &str) -> bool {
    ["portcullis_", "http_server_", "http_client_"]
        .iter()
        .any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
}

#[test]
fn every_crate_has_its_row() {
    let architecture = Page::read(&root().join("docs/architecture.md")).text;
    for name in crate_folders() {
        assert!(architecture.contains(&format!("\n| `{name}` |")), "docs/architecture.md has no row for crate {name}");
    }
}

#[test]
fn the_reader_of_markdown_and_of_commands_finds_what_is_wrong() {
    let page = Page {
        path: PathBuf::from("x.md"),
        text: "# A `b` & c!\n[l](a.md#b) `[no](no.md)` [m](https://a) ![i](i.png)\n```sh\n[no](no)\n$ portcullis bogus\n\
               KEY=$(./portcullis key create x \\\n  --file k)\ncargo xtask fly\nportcullis.toml: ok\n```\ntext `portcullis\nrun`"
            .to_owned(),
    };
    assert_eq!(page.links(), ["a.md#b", "i.png"]);
    assert_eq!(page.anchors().into_iter().collect::<Vec<_>>(), ["a-b--c"]);
    assert_eq!(
        page.commands(),
        ["portcullis bogus", "./portcullis key create x --file k", "cargo xtask fly", "portcullis run"]
    );
    let line = CommandLine::read();
    let check = |command: &str, expected: Option<&str>| {
        let problem = line.problem(command);
        assert_eq!(problem.is_some(), expected.is_some(), "{command}: {problem:?}");
        assert!(problem.unwrap_or_default().contains(expected.unwrap_or_default()), "{command}");
    };
    check("portcullis -c portcullis.toml can GET /a --as bob | head", None);
    check("portcullis can GET /a -c portcullis.toml -o json", None);
    check("portcullis --help", None);
    check("cargo run --release -- check --strict", None);
    check("cargo xtask test", None);
    check("portcullis -c portcullis.toml bogus", Some("no verb `bogus`"));
    check("portcullis key destroy x", Some("no verb `key destroy`"));
    check("portcullis can GET /a --nobody", Some("no option `--nobody`"));
    check("portcullis run -x", Some("no option `-x`"));
    check("portcullis", Some("no verb"));
    check("cargo run --release -- fly", Some("no verb `fly`"));
    check("cargo xtask fly", Some("no verb `fly`"));
}

/// One Markdown file.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            text: fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// The lines outside of fenced blocks (`false`) and inside (`true`); the fences are neither.
    fn lines(&self) -> Vec<(bool, &str)> {
        let mut inside = false;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else {
                lines.push((inside, line));
            }
        }
        lines
    }

    /// What stands between and in backticks, outside of fenced blocks: prose (`false`) and code (`true`) in turn.
    fn spans(&self) -> Vec<(bool, String)> {
        let prose: Vec<&str> = self.lines().into_iter().filter(|(inside, _)| !inside).map(|(_, line)| line).collect();
        let spans = prose.join("\n");
        spans.split('`').enumerate().map(|(place, span)| (place % 2 == 1, span.to_owned())).collect()
    }

    /// The targets of links that are no addresses of their own.
    fn links(&self) -> Vec<String> {
        let prose: String =
            self.spans().into_iter().map(|(code, span)| if code { "`".to_owned() } else { span }).collect();
        let after = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        after.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
    }

    /// The anchors of the headings: lower case, spaces are hyphens, punctuation is dropped.
    fn anchors(&self) -> BTreeSet<String> {
        let outside = self.lines().into_iter().filter(|(inside, _)| !inside).map(|(_, line)| line);
        let headings = outside.filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
        let keep = |character: char| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ if character.is_alphanumeric() => character.to_lowercase().next(),
            _ => None,
        };
        headings.map(|heading| heading.chars().filter_map(keep).collect()).collect()
    }

    /// The commands in fenced blocks and in backticks that run the gateway or `cargo xtask`, each on one line.
    fn commands(&self) -> Vec<String> {
        let fenced: Vec<&str> = self.lines().into_iter().filter(|(inside, _)| *inside).map(|(_, line)| line).collect();
        let fenced = fenced.join("\n").replace("\\\n", " ");
        let inline = self.spans().into_iter().filter(|(code, _)| *code).map(|(_, span)| span.replace('\n', " "));
        let all: Vec<String> = fenced.lines().map(str::to_owned).chain(inline).collect();
        all.iter().filter_map(|line| command_in(line)).collect()
    }
}

/// The command of a line, without prompt, assignment and what follows it.
fn command_in(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("$ ");
    let line = match line.split_once("=$(") {
        Some((name, rest)) if !name.contains(' ') => rest.strip_suffix(')').unwrap_or(rest),
        _ => line,
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let program = *words.first()?;
    let own = program == "portcullis" || program.ends_with("/portcullis");
    let cargo =
        program == "cargo" && matches!(words.get(1), Some(&"xtask")) || line.starts_with("cargo run --release -- ");
    ((own && words.len() > 1) || cargo).then(|| words.join(" "))
}

/// What the gateway's command line takes, as its source says.
struct CommandLine {
    verbs: BTreeSet<String>,
    key_verbs: BTreeSet<String>,
    long: BTreeSet<String>,
    tasks: BTreeSet<String>,
}

/// The one-letter options, and those of them that are followed by a value.
const SHORT: [&str; 6] = ["-c", "-o", "-q", "-v", "-h", "-V"];
const WITH_VALUE: [&str; 5] = ["-c", "-o", "--config", "--output", "--color"];

impl CommandLine {
    fn read() -> Self {
        let args = arguments();
        let tasks = source("xtask/src/main.rs");
        let listed = tasks
            .split_once("verbs:")
            .and_then(|(_, rest)| rest.split_once("environment:"))
            .expect("xtask lists its verbs")
            .0;
        let tasks = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let line = Self {
            verbs: variants(&args, "enum Command {").into_iter().chain(["help".to_owned()]).collect(),
            key_verbs: variants(&args, "enum KeyCommand {"),
            long: long_options(&args),
            tasks: tasks.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect(),
        };
        assert!(
            line.verbs.contains("run") && line.key_verbs.contains("create"),
            "{:?} {:?}",
            line.verbs,
            line.key_verbs
        );
        assert!(
            line.long.contains("config") && line.long.contains("as") && line.tasks.contains("check"),
            "{:?}",
            line.long
        );
        line
    }

    /// Why the command cannot be typed.
    fn problem(&self, command: &str) -> Option<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let ["cargo", "xtask", rest @ ..] = words.as_slice() {
            let verb = rest.first().copied().unwrap_or_default();
            return (!self.tasks.contains(verb)).then(|| format!("there is no verb `{verb}`"));
        }
        let own = words.iter().position(|word| *word == "--" || word.ends_with("portcullis"))? + 1;
        let ends =
            |word: &&&str| matches!(**word, "|" | ">" | ">>" | "2>" | "&" | "&&" | "||" | ";") || word.starts_with('#');
        let words: Vec<&str> = words.iter().skip(own).take_while(|word| !ends(word)).copied().collect();
        let mut verbs = Vec::new();
        let mut skip = false;
        for word in words {
            if std::mem::take(&mut skip) {
                continue;
            }
            skip = WITH_VALUE.contains(&word);
            if let Some(long) = word.strip_prefix("--") {
                let name = long.split_once('=').map_or(long, |(name, _)| name);
                if !self.long.contains(name) {
                    return Some(format!("there is no option `--{name}`"));
                }
                if matches!(name, "help" | "version") && verbs.is_empty() {
                    return None;
                }
            } else if word.starts_with('-') && word.len() > 1 {
                if !SHORT.contains(&word) {
                    return Some(format!("there is no option `{word}`"));
                }
            } else {
                verbs.push(word);
            }
        }
        let verb = verbs.first().copied().unwrap_or_default();
        if !self.verbs.contains(verb) {
            return Some(format!("there is no verb `{verb}`"));
        }
        let below = verbs.get(1).copied().unwrap_or_default();
        (verb == "key" && !self.key_verbs.contains(below)).then(|| format!("there is no verb `key {below}`"))
    }
}

/// The variants of an enum of verbs, as they are typed.
fn variants(source: &str, opening: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(opening).unwrap_or_else(|| panic!("there is no `{opening}`"));
    let body = body.split_once("\n}").map_or(body, |(body, _)| body);
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    lines
        .map(|line| line.chars().take_while(|each| each.is_ascii_alphanumeric()).collect::<String>())
        .map(|name| {
            let hyphened = name.chars().enumerate().map(|(at, each)| {
                if at > 0 && each.is_ascii_uppercase() { format!("-{each}") } else { each.to_string() }
            });
            hyphened.collect::<String>().to_lowercase()
        })
        .collect()
}

/// The long options of all verbs: `long = "name"`, or `long` and the field's name.
fn long_options(source: &str) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = ["help", "version"].into_iter().map(str::to_owned).collect();
    for attribute in source.split("#[arg(").skip(1) {
        let Some((options, rest)) = attribute.split_once(")]") else { continue };
        let named =
            options.split_once("long = \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name.to_owned());
        let has_long = options.split(',').any(|option| option.trim() == "long");
        // Behind other attributes and comments; of a verb's own fields without who may see it.
        let lines = rest.lines().map(str::trim);
        let mut lines = lines.filter(|line| {
            !["", "///", "#["].iter().any(|start| match *start {
                "" => line.is_empty(),
                start => line.starts_with(start),
            })
        });
        let field = lines.next().map(|line| line.strip_prefix("pub(crate) ").unwrap_or(line));
        let field = field.and_then(|line| line.split_once(':'));
        found.extend(named.or_else(|| field.filter(|_| has_long).map(|(name, _)| name.replace('_', "-"))));
    }
    found
}

/// Every Markdown file of the repository.
fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    markdown_files(&root(), &mut paths);
    paths.sort();
    assert!(paths.len() > 40, "only {} pages were found", paths.len());
    paths.iter().map(|path| Page::read(path)).collect()
}

fn markdown_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            // Hidden folders and what is built are not the repository's own words.
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                markdown_files(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

fn crate_folders() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).expect("the workspace has crates");
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("Cargo.toml").is_file());
    folders.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}

/// The text of all that says what can be typed: the verbs, and a file for each that takes much.
fn arguments() -> String {
    with_parts("crates/gateway/src/cli/args")
}

/// The text of a module and of those within it, whose files are in the folder of its name.
fn with_parts(module: &str) -> String {
    let folder = root().join(module);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let parts = files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("its text"));
    [source(&format!("{module}.rs"))].into_iter().chain(parts).collect()
}

fn source(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", here.display()))
}
