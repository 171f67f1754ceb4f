//! What can be written in each file, as JSON Schema (draft 2020-12): for editors, which complete keys and mark mistakes
//! while somebody types.
//!
//! The readers decide; this only describes them, as data: one entry for each key, with what its kind says of itself
//! ([`Kind::schema`]). Tests hold it against every key that the readers ask for, so that it cannot fall behind. It says
//! nothing of what only many entries together mean, such as that a role exists: that is what `check` is for. Only keywords
//! are used that mean the same in every draft from 4 on, since that is what editors read.

mod alert;
mod cases;
mod client;
mod gateway;
mod identity;
mod keys;
mod policy;
mod receiver;
mod risk;
mod route;
mod upstream;
mod users;

use serde_json::{Map, Value, json};

use crate::section::Kind;

/// A file that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// `portcullis.toml`, and the files it includes.
    Gateway,
    /// `policy.toml`, and the files it includes.
    Policy,
    /// A key file.
    Keys,
    /// A file of test cases.
    Cases,
    /// A file of users with passwords.
    Users,
}

impl SchemaOf {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gateway, Self::Policy, Self::Keys, Self::Cases, Self::Users];

    /// The name of its file in `config/schema`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Gateway => "portcullis.schema.json",
            Self::Policy => "policy.schema.json",
            Self::Keys => "keys.schema.json",
            Self::Cases => "cases.schema.json",
            Self::Users => "users.schema.json",
        }
    }

    /// What it describes, as data.
    pub(crate) fn table(self) -> Table {
        match self {
            Self::Gateway => gateway::file(),
            Self::Policy => policy::file(),
            Self::Keys => keys::file(),
            Self::Cases => cases::file(),
            Self::Users => users::file(),
        }
    }
}

/// The JSON Schema of a file.
pub fn schema(of: SchemaOf) -> Value {
    let mut document = Map::new();
    document.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.extend(of.table().render());
    Value::Object(document)
}

/// One table.
#[derive(Debug)]
pub(crate) struct Table {
    /// As the reader calls it in a message: `[[route]]`, or `` `when` of [[deny]] ``.
    pub(crate) title: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: Vec<Key>,
    /// What else must hold, as schemas.
    rules: Vec<Value>,
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) doc: &'static str,
    not_empty: bool,
}

/// What a key holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A value, or values, with the schema of their kind.
    Values(Value),
    /// `[key]`
    Table(Table),
    /// `[[key]]`
    Tables(Table),
    /// `true` or `false`, or `[key]`
    FlagOrTable(Table),
    /// A value with the schema of its kind, or `[key]`.
    ValueOrTable(Value, Table),
    /// `key = { … }`, or a list of such tables.
    TableOrTables(Table),
}

/// A table and its keys.
fn table(title: &'static str, doc: &'static str, keys: impl IntoIterator<Item = Key>) -> Table {
    Table { title, doc, keys: keys.into_iter().collect(), rules: Vec::new() }
}

/// A key with one value.
fn one(name: &'static str, kind: impl Kind, doc: &'static str) -> Key {
    shaped(name, Shape::Values(kind.schema()), doc)
}

/// A key with one word out of a few.
fn choice(name: &'static str, words: &[&str], doc: &'static str) -> Key {
    shaped(name, Shape::Values(one_of(words.iter().copied())), doc)
}

/// A key with a list.
fn list(name: &'static str, kind: impl Kind, doc: &'static str) -> Key {
    shaped(name, Shape::Values(list_of(kind.schema())), doc)
}

/// A key with a list, or one value for a list of one.
fn one_or_list(name: &'static str, kind: impl Kind, doc: &'static str) -> Key {
    shaped(name, Shape::Values(one_or_list_of(kind.schema())), doc)
}

/// A key with a table.
fn within(name: &'static str, table: Table) -> Key {
    shaped(name, Shape::Table(table), "")
}

/// A key with `true` or `false`, or a table.
fn flag_or_within(name: &'static str, table: Table) -> Key {
    shaped(name, Shape::FlagOrTable(table), "")
}

/// A key with a value, or a table that says where it is.
fn one_or_within(name: &'static str, kind: impl Kind, table: Table, doc: &'static str) -> Key {
    shaped(name, Shape::ValueOrTable(kind.schema(), table), doc)
}

/// A key with several tables.
fn several(name: &'static str, table: Table) -> Key {
    shaped(name, Shape::Tables(table), "")
}

/// A key with a table, or a list of such tables.
fn one_or_several(name: &'static str, table: Table) -> Key {
    shaped(name, Shape::TableOrTables(table), "")
}

fn shaped(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: false, default: None, doc, not_empty: false }
}

impl Key {
    /// It must be there.
    fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What holds when it is left out.
    fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// A list must have an element.
    fn not_empty(mut self) -> Self {
        self.not_empty = true;
        self
    }

    fn render(&self, of: &str) -> Value {
        let mut schema = match &self.shape {
            Shape::Values(values) => values.as_object().cloned().unwrap_or_default(),
            Shape::Table(table) => table.render(),
            Shape::Tables(table) => {
                let mut list = Map::new();
                list.insert("type".into(), json!("array"));
                list.insert("items".into(), Value::Object(table.render()));
                list.insert("description".into(), json!(table.doc));
                list
            }
            Shape::FlagOrTable(table) => {
                let mut either = Map::new();
                either.insert("anyOf".into(), json!([{ "type": "boolean" }, table.render()]));
                either.insert("description".into(), json!(table.doc));
                either
            }
            Shape::ValueOrTable(value, table) => {
                let mut either = Map::new();
                either.insert("anyOf".into(), json!([table.render(), value]));
                either.insert("description".into(), json!(table.doc));
                either
            }
            Shape::TableOrTables(table) => {
                let one = Value::Object(table.render());
                let mut either = Map::new();
                either.insert("anyOf".into(), json!([one, { "type": "array", "items": one }]));
                either.insert("description".into(), json!(table.doc));
                either
            }
        };
        if self.not_empty {
            require_element(&mut schema);
        }
        let of_kind = schema.remove("description");
        let docs = [self.doc, of_kind.as_ref().and_then(Value::as_str).unwrap_or_default()];
        let description: Vec<&str> = docs.into_iter().filter(|doc| !doc.is_empty()).collect();
        schema.remove("title");
        let mut rendered = Map::new();
        rendered.insert("title".into(), json!(format!("{} in {of}", self.name)));
        rendered.insert("description".into(), json!(description.join(" ")));
        rendered.extend(schema);
        if let Some(default) = &self.default {
            rendered.insert("default".into(), default.clone());
        }
        Value::Object(rendered)
    }
}

impl Table {
    /// Something else that must hold, as a schema.
    fn rule(mut self, rule: Value) -> Self {
        self.rules.push(rule);
        self
    }

    fn render(&self) -> Map<String, Value> {
        let properties: Map<String, Value> =
            self.keys.iter().map(|key| (key.name.to_owned(), key.render(self.title))).collect();
        let required: Vec<&str> = self.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let mut schema = Map::new();
        schema.insert("title".into(), json!(self.title));
        schema.insert("description".into(), json!(self.doc));
        schema.insert("type".into(), json!("object"));
        schema.insert("properties".into(), Value::Object(properties));
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        schema.insert("additionalProperties".into(), json!(false));
        if !self.rules.is_empty() {
            schema.insert("allOf".into(), json!(self.rules));
        }
        schema
    }
}

/// A list of at least one element, wherever the schema allows a list.
fn require_element(schema: &mut Map<String, Value>) {
    if schema.get("type") == Some(&json!("array")) {
        schema.insert("minItems".into(), json!(1));
    }
    for branch in schema.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
        branch.as_object_mut().into_iter().for_each(require_element);
    }
}

/// A string that matches, or that holds a variable: what that becomes nobody knows before it is expanded.
pub(crate) fn matching(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|\\$\\{{") })
}

/// One of a few words, or a variable.
pub(crate) fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> Value {
    let words: Vec<&str> = words.collect();
    json!({ "anyOf": [{ "type": "string", "enum": words }, { "type": "string", "pattern": "\\$\\{" }] })
}

/// A list of values.
pub(crate) fn list_of(element: Value) -> Value {
    json!({ "type": "array", "items": element })
}

/// A list of values, or one.
pub(crate) fn one_or_list_of(element: Value) -> Value {
    json!({ "anyOf": [element.clone(), list_of(element)] })
}
