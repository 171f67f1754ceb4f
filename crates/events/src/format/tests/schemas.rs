//! The field lists of ECS, OCSF and ASIM, and the dictionaries of CEF and LEEF, against every event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use super::*;

#[test]
fn every_event_is_an_ecs_document() {
    let list = ecs_list();
    let required: Vec<&str> = list["!required"].split('|').collect();
    for (name, line) in events() {
        let document = json(Format::Ecs, &line);
        let mut fields = BTreeMap::new();
        flatten("", &document, &mut fields);
        fields.retain(|field, _| !field.starts_with("portcullis."));
        for field in &required {
            assert!(fields.contains_key(*field), "{name}: {field} is missing");
        }
        for (field, values) in &fields {
            let kind = list.get(field.as_str()).unwrap_or_else(|| panic!("{name}: ECS knows no {field}"));
            for value in values {
                assert!(is_of_ecs_type(kind, value), "{name}: {field} is {value}, which is no {kind}");
                if let Some(allowed) = list.get(&format!("!{field}")) {
                    assert!(allowed.split('|').any(|word| *value == word), "{name}: {field} must not be {value}");
                }
            }
        }
        let types: BTreeSet<&str> = fields["event.type"].iter().map(|word| word.as_str().unwrap()).collect();
        let mut expected_somewhere = BTreeSet::new();
        for category in &fields["event.category"] {
            let expected: BTreeSet<&str> =
                list[&format!("!expected.{}", category.as_str().unwrap())].split('|').collect();
            assert!(!expected.is_disjoint(&types), "{name}: no type of {category} in {types:?}");
            expected_somewhere.extend(expected);
        }
        // `denied` is expected with `network`, `access` with `web`: each type with one of the categories.
        assert!(types.is_subset(&expected_somewhere), "{name}: {types:?}");
    }
}

/// Of each field its type, of each field after a `!` its words.
fn ecs_list() -> BTreeMap<String, String> {
    let list = include_str!("../../../tests/data/ecs.csv");
    list.lines().skip(1).map(|line| line.split_once(',').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn flatten<'v>(prefix: &str, value: &'v Value, fields: &mut BTreeMap<String, Vec<&'v Value>>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                flatten(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, inner, fields);
            }
        }
        Value::Array(entries) => fields.entry(prefix.to_owned()).or_default().extend(entries),
        value => fields.entry(prefix.to_owned()).or_default().push(value),
    }
}

fn is_of_ecs_type(kind: &str, value: &Value) -> bool {
    match kind {
        "keyword" | "wildcard" | "match_only_text" => value.is_string(),
        "date" => is_moment(value),
        "long" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "ip" => is_address(value),
        other => panic!("no such type: {other}"),
    }
}

fn is_moment(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
}

fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

#[test]
fn every_event_is_an_ocsf_event() {
    let schema: Value = serde_json::from_str(include_str!("../../../tests/data/ocsf.json")).unwrap();
    let mut classes = BTreeSet::new();
    for (name, line) in events() {
        let event = json(Format::Ocsf, &line);
        let class = event["class_uid"].as_u64().unwrap();
        classes.insert(class);
        check_ocsf(&name, &schema, &schema["classes"][class.to_string()], &event);
        assert_eq!(event["type_uid"], class * 100 + event["activity_id"].as_u64().unwrap(), "{name}");
        assert_eq!(event["metadata"]["version"], schema["version"], "{name}");
    }
    assert_eq!(classes, BTreeSet::from([2_004, 3_002, 4_002, 6_003]), "every class occurs");
}

/// One object against its definition: attributes, types, requirements, enumerations, constraints.
fn check_ocsf(at: &str, schema: &Value, definition: &Value, object: &Value) {
    let attributes = definition["attributes"].as_object().unwrap_or_else(|| panic!("{at}: no such object"));
    let object = object.as_object().unwrap_or_else(|| panic!("{at}: {object} is no object"));
    for required in definition["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(required.as_str().unwrap()), "{at}: {required} is missing");
    }
    for choice in definition["at_least_one"].as_array().into_iter().flatten() {
        let one = choice.as_array().unwrap().iter().any(|name| object.contains_key(name.as_str().unwrap()));
        assert!(one, "{at}: one of {choice} must be there");
    }
    for (key, value) in object {
        let at = format!("{at}: {key}");
        let kind = attributes.get(key).unwrap_or_else(|| panic!("{at} is no attribute")).as_str().unwrap();
        match kind.strip_prefix('[') {
            Some(kind) => {
                for entry in value.as_array().unwrap_or_else(|| panic!("{at} is no list")) {
                    check_ocsf_value(&at, schema, kind, entry);
                }
            }
            None => check_ocsf_value(&at, schema, kind, value),
        }
        if let Some(words) = definition["enums"].get(key) {
            assert!(words.as_array().unwrap().contains(value), "{at} must not be {value}");
        }
    }
}

fn check_ocsf_value(at: &str, schema: &Value, kind: &str, value: &Value) {
    let right = match kind {
        "string" => value.is_string(),
        "integer" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "long" | "timestamp" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "ip" => is_address(value),
        "any" => true,
        object => {
            check_ocsf(at, schema, &schema["objects"][object], value);
            true
        }
    };
    assert!(right, "{at} is {value}, which is no {kind}");
}

#[test]
fn every_event_is_a_row_of_an_asim_schema() {
    let schemas = asim_columns();
    let mut seen = BTreeSet::new();
    for (name, line) in events() {
        let row = json(Format::Asim, &line);
        let row = row.as_object().unwrap();
        let schema = row["EventSchema"].as_str().unwrap();
        seen.insert(schema.to_owned());
        let columns = &schemas[schema];
        for (column, definition) in columns {
            let is_there = row.contains_key(*column);
            assert!(is_there || definition.class != "Mandatory", "{name}: {column} is missing");
            // A conditional column stands beside the one that it is about.
            if definition.class == "Conditional" {
                assert_eq!(is_there, row.contains_key(definition.aliased), "{name}: {column}");
            }
        }
        for (column, value) in row {
            let definition = columns.get(column.as_str()).unwrap_or_else(|| panic!("{name}: {schema} has no {column}"));
            definition.check(&format!("{name}: {column}"), value);
        }
    }
    assert_eq!(seen.len(), 4, "every schema occurs: {seen:?}");
}

struct Column {
    kind: &'static str,
    class: &'static str,
    logical: &'static str,
    words: &'static str,
    aliased: &'static str,
}

impl Column {
    fn check(&self, at: &str, value: &Value) {
        let right = match self.kind {
            "string" => value.is_string(),
            "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            "datetime" => is_moment(value),
            "dynamic" => value.is_object(),
            other => panic!("no such type: {other}"),
        };
        assert!(right, "{at} is {value}, which is no {}", self.kind);
        match self.logical {
            "Enumerated" => assert!(self.words.split('|').any(|word| *value == word), "{at} must not be {value}"),
            "IP Address" => assert!(is_address(value), "{at} is {value}"),
            "RiskLevel" => assert!(value.as_u64().is_some_and(|level| level <= 100), "{at} is {value}"),
            _ => {}
        }
    }
}

fn asim_columns() -> BTreeMap<&'static str, BTreeMap<&'static str, Column>> {
    let mut schemas: BTreeMap<&str, BTreeMap<&str, Column>> = BTreeMap::new();
    for line in include_str!("../../../tests/data/asim.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, kind, class, schema, logical, words, aliased] = fields[..] else { panic!("{line}") };
        schemas.entry(schema).or_default().insert(name, Column { kind, class, logical, words, aliased });
    }
    schemas
}

/// The keys that CEF's dictionary has, of those that are written, with the longest value of each.
const CEF_KEYS: &[(&str, usize)] = &[
    ("rt", 20),
    ("start", 20),
    ("end", 20),
    ("externalId", 40),
    ("cat", 1_023),
    ("act", 63),
    ("outcome", 63),
    ("reason", 1_023),
    ("msg", 1_023),
    ("cnt", 20),
    ("dvchost", 100),
    ("app", 31),
    ("requestMethod", 1_023),
    ("request", 1_023),
    ("requestClientApplication", 1_023),
    ("requestContext", 2_048),
    ("dhost", 1_023),
    ("dpt", 5),
    ("src", 45),
    ("spt", 5),
    ("suid", 1_023),
    ("suser", 1_023),
    ("spriv", 1_023),
    ("c6a2", 45),
    ("cs1", 4_000),
    ("cs2", 4_000),
    ("cs3", 4_000),
    ("cs4", 4_000),
    ("cs5", 4_000),
    ("cs6", 4_000),
    ("flexString1", 1_023),
    ("cn1", 20),
    ("cn2", 20),
    ("cn3", 20),
];

#[test]
fn every_event_is_a_cef_record_of_the_dictionary() {
    for (name, line) in events() {
        check_cef(&name, &text(Format::Cef, &line));
    }
}

/// What holds for every CEF record. The lengths are those of the values before what cannot stand in a line is written out.
pub(super) fn check_cef(name: &str, record: &str) -> parsers::Parsed {
    let (header, pairs) = parsers::cef(record);
    assert_eq!(header[..3], ["CEF:0", "Portcullis", "Portcullis"], "{name}");
    assert!(header[6].parse::<u8>().is_ok_and(|severity| severity <= 10), "{name}: {header:?}");
    for (key, value) in &pairs {
        if let Some(custom) = key.strip_suffix("Label") {
            assert!(pairs.contains_key(custom), "{name}: {key} is about nothing");
            continue;
        }
        let (_, longest) =
            CEF_KEYS.iter().find(|(known, _)| known == key).unwrap_or_else(|| panic!("{name}: no key {key}"));
        // One byte of a value may have become the six of `\uXXXX`.
        assert!(value.len() <= *longest * 6, "{name}: {key} has {} bytes", value.len());
        let needs_label = key.starts_with("cs")
            || key.starts_with("cn") && key != "cnt"
            || key.starts_with("c6a")
            || key.starts_with("flex");
        assert_eq!(needs_label, pairs.contains_key(&format!("{key}Label")), "{name}: {key}");
    }
    for number in ["rt", "cnt", "dpt", "spt", "cn1", "cn2", "cn3"] {
        assert!(pairs.get(number).is_none_or(|value| value.parse::<i64>().is_ok()), "{name}: {number}");
    }
    pairs_of_required(name, &pairs, &["rt", "externalId", "cat", "act", "outcome", "dvchost"]);
    (header, pairs)
}

#[test]
fn every_event_is_a_leef_record() {
    for (name, line) in events() {
        check_leef(&name, &text(Format::Leef, &line));
    }
}

/// What holds for every LEEF record.
pub(super) fn check_leef(name: &str, record: &str) -> parsers::Parsed {
    let (header, pairs) = parsers::leef(record);
    assert_eq!(header[..3], ["LEEF:2.0", "Portcullis", "Portcullis"], "{name}");
    assert_eq!(header[5], "^", "{name}");
    assert!(pairs["sev"].parse::<u8>().is_ok_and(|severity| (1..=10).contains(&severity)), "{name}");
    pairs_of_required(name, &pairs, &["eventId", "cat", "devTime", "devTimeFormat", "node"]);
    (header, pairs)
}

fn pairs_of_required(name: &str, pairs: &BTreeMap<String, String>, required: &[&str]) {
    for key in required {
        assert!(pairs.contains_key(*key), "{name}: {key} is missing");
    }
}

#[test]
fn an_address_of_version_6_has_a_field_of_its_own_in_cef() {
    let mut event = missing_grant();
    event.client.ip = Some("2001:db8::7".parse().unwrap());
    let (_, pairs) = check_cef("IPv6", &text(Format::Cef, &to_line(event)));
    assert_eq!((pairs.get("src"), pairs["c6a2"].as_str()), (None, "2001:db8::7"));
    assert_eq!(pairs["c6a2Label"], "Source IPv6 Address");
}
