//! The schemas say what the readers read: no key, kind, bound or default less, more or other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_policy::{AuthenticationRule, Mode, RiskRules, Sensitivity, StepUpRules};
use serde_json::{Value, json};

use super::validator::{problems, to_json};
use super::{Folder, load_shipped};
use crate::schema::{Shape, Table};
use crate::section::{Asked, asked_keys};
use crate::{SchemaOf, codes, schema};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What the schema says of every key, in the words in which the readers' questions are noted.
fn described(table: &Table, keys: &mut BTreeMap<(String, &'static str), Asked>) {
    for key in &table.keys {
        let schema = match &key.shape {
            Shape::Values(schema) => schema.clone(),
            Shape::Table(inner) => json!({ "table": inner.title }),
            Shape::Tables(inner) => json!({ "tables": inner.title }),
            Shape::FlagOrTable(inner) => json!({ "flag_or_table": inner.title }),
            Shape::ValueOrTable(value, inner) => json!({ "value_or_table": [value, inner.title] }),
            Shape::TableOrTables(inner) => json!({ "table_or_tables": inner.title }),
        };
        let twice = keys.insert((table.title.to_owned(), key.name), Asked { required: key.required, schema });
        assert_eq!(twice, None, "{} {}", table.title, key.name);
        if let Shape::Table(inner)
        | Shape::Tables(inner)
        | Shape::FlagOrTable(inner)
        | Shape::ValueOrTable(_, inner)
        | Shape::TableOrTables(inner) = &key.shape
        {
            described(inner, keys);
        }
    }
}

#[test]
fn the_schema_has_exactly_the_keys_that_the_readers_ask_for_and_each_as_it_is_read() {
    // The sample has every table, so that every key is asked for.
    load_shipped(".");
    let cases = crate::load_cases(&[repository("config/policy.tests.toml")], &BTreeMap::new());
    assert!(cases.is_ok(), "{cases:?}");
    // In the sample it would be a warning: it has no store.
    let folder = Folder::new();
    let role = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /\"] }]\n";
    let grant = "[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"billing\"\n";
    folder.write(
        "portcullis.toml",
        format!(
            "{}maintenance = {{}}\n[[route]]\nname = \"r\"\npaths = \"/r\"\nredirect = {{ to = \"/x\" }}\ncors = {{ origins = [\"*\"] }}\n\
             [[route]]\nname = \"s\"\npaths = \"/s\"\nrespond = {{ status = 204 }}\n\
             [[route]]\nname = \"t\"\npaths = \"/t\"\n\
             split = [{{ upstream = \"billing\" }}, {{ upstream = \"billing\", when = {{ headers = {{}} }} }}]\n\
             [client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n",
            super::GATEWAY
        ),
    );
    let activation = "activation = { max = \"4h\", justification = \"required\" }\n";
    let signature = "signature = { key = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\" }";
    let signed = format!("[[network]]\nname = \"n\"\nsource = {{ url = \"https://a.example/\", {signature} }}\n");
    // The sample names no network there, which would be one of its own.
    let reputation = "[risk]\nreputation = [{ network = \"n\" }]\n[risk.posture]\nfrom = \"proxy\"\n[break_glass]\nroles = [\"r\"]\nscope = \"*\"\n";
    folder.write("policy.toml", format!("version = 1\n{signed}{role}{grant}{activation}{reputation}"));
    folder.loaded();
    // Nobody has these unless they are written.
    let folder = Folder::new();
    let upstream = "[[upstream]]\nname = \"checked\"\nendpoints = [\"http://c:1\"]\nhealth = { path = \"\" }\n";
    let rate = "rate_limit = { per = \"route\", requests = 1, window = \"1s\" }";
    folder.write(
        "portcullis.toml",
        format!(
            "{}\n{rate}\nmax_concurrent = {{}}\n[limits]\n{rate}\nmax_concurrent = {{}}\n{upstream}",
            super::GATEWAY
        ),
    );
    folder.loaded();
    super::listeners::load_one_with_tls();
    super::sinks::folder_of_all().loaded();
    super::alerts::folder_of_all().loaded();
    super::directories::folder_of_all().loaded();
    super::passwords::folder_of_all().loaded();
    super::mfa::folder_with_all().loaded();
    super::logins::folder_of_all().loaded();
    super::bad_providers::load_all();
    super::checkpoint::folder_with_all().loaded();
    super::assertion::folder_with_all().loaded();
    super::sinks::load_traces_with_every_proof();
    super::sinks::kafka(
        "tls = {}\nsasl = { mechanism = \"plain\", user = \"u\", password = { env = \"PASSWORD\" } }\nbatch = {}",
    );
    // A case file is called as it was named.
    let title = |title: String| if title.ends_with(".tests.toml") { "cases.toml".to_owned() } else { title };
    let asked: BTreeMap<_, _> =
        asked_keys().into_iter().map(|((table, key), asked)| ((title(table), key), asked)).collect();
    let mut known = BTreeMap::new();
    for of in SchemaOf::ALL {
        described(&of.table(), &mut known);
    }
    let difference: Vec<String> = asked
        .keys()
        .chain(known.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|key| asked.get(key) != known.get(key))
        .map(|key| format!("{} {}\n  read:   {:?}\n  schema: {:?}", key.0, key.1, asked.get(key), known.get(key)))
        .collect();
    assert!(difference.is_empty(), "{}", difference.join("\n"));
    assert!(asked.len() > 150, "{}", asked.len());
}

#[test]
fn the_schemas_in_the_repository_are_current() {
    for (of, word) in SchemaOf::ALL.into_iter().zip(["gateway", "policy", "keys", "cases"]) {
        let path = format!("config/schema/{}", of.file_name());
        let committed = std::fs::read_to_string(repository(&path)).unwrap_or_default();
        let current = format!("{:#}\n", schema(of));
        assert!(committed == current, "write it anew: cargo run -- config schema --of {word} > {path}");
    }
}

#[test]
fn everything_is_described() {
    fn walk(schema: &Value, path: &str, count: &mut usize) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            let description = inner["description"].as_str().unwrap_or_default();
            assert!(description.ends_with(['.', '?']) && description.len() > 5, "{path}: {description:?}");
            assert!(inner["title"].as_str().is_some_and(|title| title.starts_with(key)), "{path}");
            *count += 1;
            walk(inner, &path, count);
            walk(&inner["items"], &path, count);
            walk(&inner["anyOf"][0], &path, count);
        }
    }
    let mut count = 0;
    for of in SchemaOf::ALL {
        let schema = schema(of);
        assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')));
        walk(&schema, of.file_name(), &mut count);
    }
    assert!(count > 150, "{count}");
}

/// Every shipped TOML file below a folder.
fn toml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            toml_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "toml") {
            found.push(entry);
        }
    }
}

fn shipped() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["config", "docker", "tests/decisions", "crates/gateway/src/demo"] {
        toml_files(&repository(folder), &mut files);
    }
    assert!(files.len() >= 30, "{files:?}");
    files
}

/// The schema of a file, by its name.
fn schema_of(name: &str) -> Option<SchemaOf> {
    match name {
        "portcullis.toml" => Some(SchemaOf::Gateway),
        "policy.toml" => Some(SchemaOf::Policy),
        "cases.toml" | "policy.tests.toml" => Some(SchemaOf::Cases),
        name if name.ends_with("keys.toml") => Some(SchemaOf::Keys),
        _ => None,
    }
}

#[test]
fn every_shipped_file_is_valid_and_names_its_schema() {
    for path in shipped() {
        let text = std::fs::read_to_string(&path).unwrap();
        let of = schema_of(path.file_name().unwrap().to_str().unwrap()).unwrap();
        // The demo fills in the address of its sample API when it starts.
        let table = text.replace("SAMPLE_API", "127.0.0.1:1").parse().unwrap();
        let value = to_json(&toml::Value::Table(table));
        assert_eq!(problems(&schema(of), &value), Vec::<String>::new(), "{}", path.display());
        if path.components().any(|part| part.as_os_str() == "demo") {
            // It is written to a folder of its own, far from any schema.
            continue;
        }
        let (directive, rest) = text.split_once('\n').unwrap();
        let named = directive.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{}", path.display()));
        let named = path.parent().unwrap().join(named);
        let expected = repository("config/schema").join(of.file_name());
        assert_eq!(named.canonicalize().unwrap(), expected.canonicalize().unwrap(), "{}", path.display());
        assert!(rest.starts_with('\n'), "{}: some editors want a line of its own for it", path.display());
    }
}

#[test]
fn every_shipped_file_is_formatted() {
    for path in shipped() {
        let file = crate::FileToFormat::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(file.is_formatted(), "cargo run -- fmt {}", path.display());
    }
}

/// Holds the schema against what the reader said of every file: it rejects each mistake in the form of a file, and nothing
/// that is only wrong about other entries. Values are judged by either: a pattern cannot hold all that a reader knows.
pub(super) fn agrees(folder: &Folder, problems_found: &[(&'static str, String, String)]) {
    let files = std::fs::read_dir(folder.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (Some(of), true) = (schema_of(&name), path.is_file()) else { continue };
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(table) = text.parse::<toml::Table>() else { continue };
        let mine: Vec<_> =
            problems_found.iter().filter(|(_, place, _)| place.starts_with(&format!("{name}:"))).collect();
        let problems = problems(&schema(of), &to_json(&toml::Value::Table(table)));
        if mine.iter().any(|(code, _, text)| is_structural(code, text)) {
            assert!(!problems.is_empty(), "the schema does not see {mine:?} in\n{text}");
        } else if mine.iter().all(|(code, _, _)| is_about_others(code)) {
            assert_eq!(problems, Vec::<String>::new(), "the schema rejects what the reader takes, in\n{text}");
        }
    }
}

fn is_structural(code: &str, text: &str) -> bool {
    match code {
        // That there is no listener may be mended by an included file.
        codes::MISSING => !text.starts_with("there is no"),
        codes::UNKNOWN_KEY | codes::WRONG_TYPE | codes::UNAVAILABLE | codes::VERSION => true,
        codes::BAD_VALUE => text.contains("expected \"") || text.contains("is empty in"),
        _ => false,
    }
}

fn is_about_others(code: &str) -> bool {
    let others = [
        codes::UNREADABLE,
        codes::INCLUDE,
        codes::DUPLICATE,
        codes::UNKNOWN_NAME,
        codes::TRUSTS_EVERYBODY,
        codes::PROVIDER,
        codes::POLICY,
    ];
    code.starts_with('W') || others.contains(&code)
}

#[test]
fn a_variable_may_stand_for_every_text() {
    fn walk(schema: &Value, path: &str, count: &mut usize) {
        if schema["type"] == "string" && (schema.get("pattern").is_some() || schema.get("enum").is_some()) {
            assert_eq!(problems(schema, &json!("${ANY}")), Vec::<String>::new(), "{path}");
            *count += 1;
        }
        // Words and variables are two branches.
        if schema["anyOf"].as_array().is_some_and(|branches| branches.iter().any(|each| each.get("enum").is_some())) {
            assert_eq!(problems(schema, &json!("${ANY}")), Vec::<String>::new(), "{path}");
            return;
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(inner, &format!("{path}.{key}"), count);
        }
        for inner in schema["anyOf"].as_array().into_iter().flatten().chain(schema.get("items")) {
            walk(inner, path, count);
        }
    }
    let mut count = 0;
    for of in [SchemaOf::Gateway, SchemaOf::Policy, SchemaOf::Keys] {
        walk(&schema(of), of.file_name(), &mut count);
    }
    assert!(count > 60, "{count}");
}

/// Adds the default of every key that is left out, in every table that is there or can be.
fn fill(file: &mut toml::Table, table: &Table) {
    for key in &table.keys {
        match &key.shape {
            Shape::Values(_) => {
                if let Some(default) = &key.default {
                    let value = toml::Value::try_from(default).unwrap();
                    file.entry(key.name).or_insert(value);
                }
            }
            Shape::Table(inner) => {
                // A secret stands in one of three places, none of which is the default.
                let needs = inner.keys.iter().any(|key| key.required || key.name == "credential");
                // Who writes these two wants something by it.
                if ["[step_up.mfa]", "[store]", "[backup]", "[audit]"].contains(&inner.title)
                    || (needs && !file.contains_key(key.name))
                {
                    continue;
                }
                let inside = file.entry(key.name).or_insert(toml::Value::Table(toml::Table::new()));
                fill(inside.as_table_mut().unwrap(), inner);
            }
            // Absent is neither of the two.
            Shape::FlagOrTable(_) | Shape::ValueOrTable(..) => {}
            // Nobody has one unless it is written.
            Shape::TableOrTables(_) => {}
            Shape::Tables(inner) => {
                for inside in file.get_mut(key.name).and_then(toml::Value::as_array_mut).into_iter().flatten() {
                    fill(inside.as_table_mut().unwrap(), inner);
                }
            }
        }
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_readers() {
    let gateway = format!(
        "{}[[identity.jwt]]\nname = \"a\"\nissuer = \"https://a\"\naudiences = [\"a\"]\njwks = {{ file = \"jwks.json\" }}\n\
         [identity.login]\n[[identity.oidc]]\nname = \"o\"\nissuer = \"https://o\"\nclient_id = \"o\"\nprefix = \"o:\"\n\
         [[sink]]\nname = \"s\"\nkind = \"stdout\"\n[[alert]]\nname = \"a\"\ncount = 1\n[store]\npath = \"/tmp/portcullis.db\"\n",
        super::GATEWAY
    );
    let settings = |gateway: &str, policy: &str| {
        let folder = Folder::new();
        folder.write("portcullis.toml", gateway);
        folder.write("policy.toml", policy);
        folder.write("jwks.json", include_str!("../../../../config/jwks.json"));
        let loaded = folder.loaded();
        format!(
            "{:#?}",
            (
                loaded.process,
                loaded.proxy,
                loaded.identity,
                loaded.risk,
                loaded.events,
                loaded.alerts,
                loaded.ops,
                loaded.summary
            )
        )
    };
    let filled = |text: &str, of: SchemaOf| {
        let mut file: toml::Table = text.parse().unwrap();
        fill(&mut file, &of.table());
        file.to_string()
    };
    // Only the signals that somebody writes are listed.
    let signals: String =
        portcullis_risk::settings::SIGNALS.iter().map(|(name, _)| format!("{name} = {{}}\n")).collect();
    let policy = &format!("version = 1\n[risk.signals]\n{signals}");
    let with_defaults = (filled(&gateway, SchemaOf::Gateway), filled(policy, SchemaOf::Policy));
    assert!(with_defaults.0.contains("keep_alive_timeout") && with_defaults.1.contains("forget_half"));
    let (read, written) = (settings(&gateway, policy), settings(&with_defaults.0, &with_defaults.1));
    let difference: Vec<_> = read.lines().zip(written.lines()).filter(|(read, written)| read != written).collect();
    assert!(difference.is_empty() && read.len() == written.len(), "left out and written out: {difference:#?}");
}

#[test]
fn the_defaults_of_rules_are_those_of_the_engine() {
    let schema = schema(SchemaOf::Policy);
    let of = |list: &str, key: &str| schema["properties"][list]["items"]["properties"][key]["default"].clone();
    assert_eq!(of("resource", "authentication"), "required");
    assert_eq!(AuthenticationRule::default(), AuthenticationRule::Required);
    assert_eq!(of("resource", "sensitivity"), "normal");
    assert_eq!(Sensitivity::default(), Sensitivity::Normal);
    for list in ["resource", "assignment", "deny"] {
        assert_eq!(of(list, "mode"), "enforce", "{list}");
    }
    assert_eq!(Mode::default(), Mode::Enforce);
    let max_age = &schema["properties"]["step_up"]["properties"]["max_age"]["default"];
    assert_eq!((max_age, StepUpRules::default().max_age_s), (&json!("12h"), 12 * 60 * 60));
    for (sensitivity, bands) in ["low", "normal", "high"].into_iter().zip(RiskRules::default().thresholds) {
        let thresholds = &schema["properties"]["risk"]["properties"]["thresholds"]["properties"][sensitivity];
        let milli = |key: &str| (thresholds["properties"][key]["default"].as_f64().unwrap() * 1_000.0).round();
        let expected = (f64::from(bands.step_up_mnats), f64::from(bands.deny_mnats));
        assert_eq!((milli("step_up"), milli("deny")), expected, "{sensitivity}");
    }
}

#[test]
fn a_case_with_a_mistake_is_rejected() {
    let check = |text: &str, valid: bool| {
        let table = format!("[[case]]\nname = \"a\"\n{text}").parse().unwrap();
        let problems = problems(&schema(SchemaOf::Cases), &to_json(&toml::Value::Table(table)));
        assert_eq!(problems.is_empty(), valid, "{text}: {problems:?}");
    };
    let sound = "request = \"GET /x\"\nexpect = \"deny\"\n";
    check(sound, true);
    check(&format!("{sound}ip = \"::1\"\nat = 2026-11-23T10:00:00Z\nstatus = 403\nshadow = true\n"), true);
    check(&format!("{sound}skip = \"not yet\"\n[defaults]\nas = \"alice\"\n"), true);
    check("request = \"GET /x\"\n", false);
    check("expect = \"deny\"\n", false);
    check("request = \"/x\"\nexpect = \"deny\"\n", false);
    check("request = \"GET /x\"\nexpect = \"allow\"\n", false);
    for wrong in
        ["at = \"noon\"", "status = 42", "groups = \"a\"", "device = \"managed\"", "user = \"a\"", "country = \"DEU\""]
    {
        check(&format!("{sound}{wrong}\n"), false);
    }
    check(&format!("{sound}[defaults]\nexpect = \"deny\"\n"), false);
}
