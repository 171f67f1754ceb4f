//! `docs/sentinel` against what the sink writes: the JSON is sound, the table and the stream have exactly the columns of the
//! rows, and every query names columns that there are. Nothing of it can be run here as the service would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a broken expectation is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_events::Format;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sentinel")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(name: &str) -> Value {
    serde_json::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The columns of all ASIM schemas that are written, with their types.
fn columns() -> BTreeMap<String, String> {
    let mut columns: BTreeMap<String, String> = BTreeMap::new();
    for line in include_str!("data/asim.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let before = columns.insert(fields[0].to_owned(), fields[1].to_owned());
        assert!(before.is_none_or(|before| before == fields[1]), "{line}");
    }
    columns
}

fn resource(template: &Value, kind: &str) -> Value {
    let found = template["resources"].as_array().unwrap().iter().find(|resource| resource["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}")).clone()
}

fn listed(columns: &Value) -> BTreeMap<String, String> {
    let column =
        |column: &Value| (column["name"].as_str().unwrap().to_owned(), column["type"].as_str().unwrap().to_lowercase());
    columns.as_array().unwrap().iter().map(column).collect()
}

#[test]
fn the_table_and_the_stream_have_exactly_the_columns_of_the_rows() {
    let template = json("azuredeploy.json");
    let table = resource(&template, "Microsoft.OperationalInsights/workspaces/tables");
    assert_eq!(listed(&table["properties"]["schema"]["columns"]), columns());
    assert_eq!(table["properties"]["schema"]["name"], "Portcullis_CL");
    let rule = resource(&template, "Microsoft.Insights/dataCollectionRules");
    let stream = &rule["properties"]["streamDeclarations"]["Custom-Portcullis_CL"];
    assert_eq!(listed(&stream["columns"]), columns());
    let flow = &rule["properties"]["dataFlows"][0];
    assert_eq!(
        (&flow["streams"][0], &flow["outputStream"]),
        (&"Custom-Portcullis_CL".into(), &"Custom-Portcullis_CL".into())
    );
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(flow["transformKql"].as_str().unwrap()), words(&read("transform.kql")));
    for (name, _) in columns() {
        let own = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];
        assert!(name.len() <= 45 && name.starts_with(|first: char| first.is_ascii_alphabetic()), "{name}");
        assert!(!own.contains(&name.as_str()), "{name} is the workspace's own");
    }
}

#[test]
fn a_row_of_each_kind_is_of_columns_of_the_stream_and_of_their_types() {
    let columns = columns();
    let line = include_str!("../../../fuzz/corpus/formats/seed-00");
    let mut written = BTreeSet::new();
    for kind in ["access.denied", "auth.failed", "ban.created", "policy.reloaded", "gateway.started"] {
        let mut row = Vec::new();
        Format::Asim.append(line.replace("access.denied", kind).as_bytes(), &mut row).unwrap();
        let row: BTreeMap<String, Value> = serde_json::from_slice(&row).unwrap();
        for (name, value) in row {
            let right = match columns.get(&name).unwrap_or_else(|| panic!("{kind}: {name} would be dropped")).as_str() {
                "string" => value.is_string(),
                "int" => value.is_i64() || value.is_u64(),
                "datetime" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "dynamic" => value.is_object(),
                other => panic!("{other}"),
            };
            assert!(right, "{kind}: {name} is {value}");
            written.insert(name);
        }
    }
    // A table with columns that nothing fills would promise what nobody sends.
    let never: Vec<&String> = columns.keys().filter(|name| !written.contains(*name)).collect();
    assert!(never.iter().all(|name| name.starts_with("SrcGeo")), "{never:?}");
}

/// Every query: the files, the rules' and the workbook's.
fn queries() -> Vec<(String, String)> {
    let mut queries: Vec<(String, String)> = std::fs::read_dir(folder().join("queries"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), read(&format!("queries/{name}"))))
        .collect();
    assert!(queries.len() >= 7);
    for item in json("workbook.json")["items"].as_array().unwrap() {
        if let Some(query) = item["content"]["query"].as_str() {
            queries.push((item["name"].as_str().unwrap().to_owned(), query.to_owned()));
        }
    }
    queries
}

/// What KQL itself means by a word, of what the queries use.
const KQL: &str = "let ago between where summarize by bin avg stdev sum dcount dcountif sumif make_set take_any min max join kind
    leftouter leftanti inner on extend iff isnull isnotempty project and or in startswith distinct order desc top take toint d m h";

#[test]
fn every_query_names_columns_that_there_are() {
    let columns = columns();
    let known: BTreeSet<&str> = KQL.split_whitespace().collect();
    for (name, query) in queries() {
        let words = words(&query);
        // What a query names itself: `Name =`, also of `let`.
        let own: BTreeSet<&str> = words.windows(2).filter(|pair| pair[1] == "=").map(|pair| pair[0].as_str()).collect();
        assert!(words.iter().any(|word| word == "Portcullis_CL"), "{name}");
        let mut named = 0;
        let mut before = "";
        for word in &words {
            let is_name = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
            // A part of `AdditionalFields` is the native event's.
            let is_part = before == ".";
            before = word;
            if !is_name || is_part || word == "Portcullis_CL" || known.contains(word.as_str()) {
                continue;
            }
            assert!(columns.contains_key(word) || own.contains(word.as_str()), "{name}: there is no column {word}");
            named += usize::from(columns.contains_key(word));
        }
        assert!(named >= 2, "{name} names hardly any column");
        let (open, close) = (query.matches('(').count(), query.matches(')').count());
        assert_eq!(open, close, "{name}: brackets");
    }
}

/// Names, numbers and single characters, without comments and texts.
fn words(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for line in query.lines() {
        let mut rest = line.split("//").next().unwrap();
        while let Some(first) = rest.chars().next() {
            let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let length = match first {
                '"' => rest[1..].find('"').unwrap_or_else(|| panic!("a text without an end: {line}")) + 2,
                _ if is_word(first) => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
                // `==` and its kind name nothing.
                '=' if rest.starts_with("==") => 2,
                _ => first.len_utf8(),
            };
            let (word, after) = rest.split_at(length);
            if !word.trim().is_empty() && first != '"' {
                words.push(word.to_owned());
            }
            rest = after;
        }
    }
    words
}

#[test]
fn the_rules_run_the_queries_and_name_what_these_give() {
    let rules = json("analytic-rules.json");
    let rules = rules["resources"].as_array().unwrap();
    assert_eq!(rules.len(), 4);
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        let file = name.split("portcullis-").nth(1).unwrap().trim_end_matches("')]");
        let properties = &rule["properties"];
        let query = properties["query"].as_str().unwrap();
        assert_eq!(query, read(&format!("queries/{file}.kql")).trim(), "{file}");
        assert!(["Informational", "Low", "Medium", "High"].iter().any(|severity| properties["severity"] == *severity));
        let given = query.rsplit("| project ").next().unwrap();
        for entity in properties["entityMappings"].as_array().unwrap() {
            let column = entity["fieldMappings"][0]["columnName"].as_str().unwrap();
            assert!(given.split([',', ' ']).any(|word| word.trim() == column), "{file} gives no {column}");
        }
        for time in ["queryFrequency", "queryPeriod"] {
            assert!(properties[time].as_str().unwrap().starts_with('P'), "{file}: {time}");
        }
    }
}

#[test]
fn the_page_names_every_file() {
    let page = read("README.md");
    let mut files = vec![folder()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(folder()).unwrap().display().to_string();
        assert!(name == "README.md" || page.contains(&format!("({name})")), "{name}");
    }
}
