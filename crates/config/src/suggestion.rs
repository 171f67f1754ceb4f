//! Puts what an audit suggests in place in the policy's own text, and reads that again: what nobody tried is never given out.
//!
//! A suggestion is TOML, each table in place of the one of its name, with comments for what would be too long to write: a table to remove, somebody to
//! add or to take out, a prefix that goes. Of a table that is there only the keys change that say something else, so comments and order stay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_insight::audit::PolicyText;
use portcullis_policy::{Policy, PolicyDraft};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use crate::environment::{Environment, ProcessEnvironment};
use crate::governed::{Governed, GovernedKind};
use crate::kinds::parse_prefix;
use crate::load::load_draft;
use crate::naming::tidy;

/// The files of a policy as they were read, and what they say.
#[derive(Debug)]
pub struct PolicyFiles {
    config: PathBuf,
    /// Those of the gateway, too: they name the routes.
    files: BTreeMap<PathBuf, Arc<[u8]>>,
    /// What each is called in a version.
    names: BTreeMap<PathBuf, String>,
    /// The policy file first, then what it includes, each as it can be edited.
    documents: Vec<(PathBuf, DocumentMut)>,
    draft: PolicyDraft,
}

impl PolicyFiles {
    /// Those of a configuration that was loaded from this main file.
    ///
    /// # Errors
    /// A sentence: they cannot be read again without the rest of it.
    pub fn of(config: &Path, governed: &Governed) -> Result<Self, String> {
        let is_wanted = |kind: GovernedKind| matches!(kind, GovernedKind::Gateway | GovernedKind::Policy);
        let wanted = governed.files.iter().filter(|file| is_wanted(file.kind));
        let files: BTreeMap<PathBuf, Arc<[u8]>> =
            wanted.map(|file| (file.path.clone(), Arc::clone(&file.bytes))).collect();
        let names = governed.files.iter().map(|file| (file.path.clone(), file.name.clone())).collect();
        let of_policy = governed.files.iter().filter(|file| file.kind == GovernedKind::Policy);
        let document = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<DocumentMut>().ok();
        // The list of a network is no TOML, or has no tables.
        let mut documents: Vec<(bool, PathBuf, DocumentMut)> = of_policy
            .filter_map(|file| Some((file.name != governed.policy, file.path.clone(), document(&file.bytes)?)))
            .collect();
        // The file that `[policy] path` names, and then the others.
        documents.sort_by_key(|(is_other, _, _)| *is_other);
        let documents = documents.into_iter().map(|(_, path, document)| (path, document)).collect();
        let draft = load_draft(config, &Held { files: &files, changed: &BTreeMap::new() })?;
        Ok(Self { config: config.to_owned(), files, names, documents, draft })
    }

    /// The files that a suggestion changes, as they are afterwards.
    ///
    /// # Errors
    /// A sentence: why it cannot be put in place.
    pub fn with(&self, suggestion: &str) -> Result<BTreeMap<PathBuf, String>, String> {
        let mut editing = Editing {
            files: self,
            documents: self.documents.clone(),
            changed: BTreeSet::new(),
            lists: BTreeMap::new(),
        };
        editing.put(suggestion)?;
        let Editing { documents, changed, mut lists, .. } = editing;
        for (path, document) in documents.iter().filter(|(path, _)| changed.contains(path)) {
            let text = document.to_string();
            // What was looked at and stays as it is: the prefix of a network that stands in its list.
            if self.files.get(path).is_none_or(|before| **before != *text.as_bytes()) {
                lists.insert(path.clone(), text);
            }
        }
        Ok(lists)
    }

    /// What a file says as it was read.
    pub fn bytes_of(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(|bytes| &**bytes)
    }

    /// What a file is called in a version.
    pub fn name_of(&self, path: &Path) -> Option<&str> {
        self.names.get(path).map(String::as_str)
    }

    /// What the files say with these in place of those of their names, whatever stands on the disk.
    ///
    /// # Errors
    /// A sentence: what is wrong with them.
    pub fn draft_with(&self, changed: &BTreeMap<PathBuf, String>) -> Result<PolicyDraft, String> {
        load_draft(&self.config, &Held { files: &self.files, changed })
    }
}

impl PolicyText for PolicyFiles {
    fn comes_to(&self, suggestion: &str, tried: &dyn Fn(&PolicyDraft) -> PolicyDraft) -> Result<(), String> {
        let changed = self.with(suggestion)?;
        let draft = self.draft_with(&changed)?;
        let (wanted, found) = (tried(&self.draft).entries(), draft.entries());
        if wanted != found {
            let other = found.difference(&wanted).chain(wanted.difference(&found)).count();
            return Err(format!("the text would say something else than what was tried, in {other} entries"));
        }
        Policy::compile(&draft).map(drop).map_err(|problems| {
            problems.first().map_or_else(|| "it would not compile".to_owned(), |problem| problem.message.clone())
        })
    }
}

/// What was read, with what is changed of it. Nothing else is there.
struct Held<'h> {
    files: &'h BTreeMap<PathBuf, Arc<[u8]>>,
    changed: &'h BTreeMap<PathBuf, String>,
}

impl Environment for Held<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        ProcessEnvironment.variable(name)
    }

    fn now(&self) -> Option<Timestamp> {
        None
    }

    fn file(&self, path: &Path) -> Option<Arc<[u8]>> {
        let changed = self.changed.get(path).map(|text| text.as_bytes().into());
        changed.or_else(|| self.files.get(path).cloned())
    }

    fn includable(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        let folder = tidy(folder);
        Some(self.files.keys().filter_map(|path| Some(tidy(path).strip_prefix(&folder).ok()?.to_owned())).collect())
    }
}

/// A suggestion that is being put in place.
struct Editing<'f> {
    files: &'f PolicyFiles,
    documents: Vec<(PathBuf, DocumentMut)>,
    changed: BTreeSet<PathBuf>,
    /// Lists of networks, as they are then.
    lists: BTreeMap<PathBuf, String>,
}

impl Editing<'_> {
    fn put(&mut self, suggestion: &str) -> Result<(), String> {
        for line in suggestion.lines().filter_map(|line| line.strip_prefix("# ")) {
            self.follow(line)?;
        }
        let tables: DocumentMut =
            suggestion.parse().map_err(|error: toml_edit::TomlError| format!("it is no TOML: {}", error.message()))?;
        for (kind, entries) in tables.iter() {
            let entries = entries.as_array_of_tables().ok_or_else(|| format!("`{kind}` is no list of tables"))?;
            entries.iter().try_for_each(|entry| self.replace(kind, entry))?;
        }
        Ok(())
    }

    /// What a comment says to do.
    fn follow(&mut self, line: &str) -> Result<(), String> {
        let unclear = || format!("it is not clear what to do: {line}");
        if let Some(rest) = line.strip_prefix("remove [[assignment]] ") {
            let name = rest.strip_suffix(": nobody is left in it").unwrap_or(rest);
            return self.remove("assignment", name);
        }
        let (kind, rest) = line.strip_prefix("[[").and_then(|rest| rest.split_once("]] ")).ok_or_else(unclear)?;
        let (place, adds) = match (rest.rfind(": take \""), rest.rfind(": add \"")) {
            (Some(place), None) => (place, false),
            (None, Some(place)) => (place, true),
            (Some(_), Some(_)) | (None, None) => return Err(unclear()),
        };
        let name = rest.get(..place).ok_or_else(unclear)?;
        let what = rest.get(place..).and_then(|rest| rest.split_once('"')).ok_or_else(unclear)?.1;
        let (value, key) = what.rsplit_once("\" ").ok_or_else(unclear)?;
        let value: Value = format!("\"{value}\"").parse().map_err(|_| unclear())?;
        let value = value.as_str().ok_or_else(unclear)?.to_owned();
        let key = key.split('`').nth(1).ok_or_else(unclear)?;
        if kind == "network" {
            return self.drop_prefix(name, &value);
        }
        let entry = self.entry(kind, name)?;
        let list = entry.get_mut(key).and_then(Item::as_array_mut).ok_or_else(|| no_list(kind, name, key))?;
        if adds {
            list.push(value);
            return Ok(());
        }
        let before = list.len();
        list.retain(|each| each.as_str() != Some(&value));
        if list.len() == before { Err(no_list(kind, name, key)) } else { Ok(()) }
    }

    /// The table of this name, which is about to be changed.
    fn entry(&mut self, kind: &str, name: &str) -> Result<&mut Table, String> {
        let found = self.documents.iter_mut().find_map(|(path, document)| {
            let tables = document.get_mut(kind)?.as_array_of_tables_mut()?;
            let table = tables.iter_mut().find(|table| is_named(table, name))?;
            Some((path.clone(), table))
        });
        let (path, table) =
            found.ok_or_else(|| format!("no `[[{kind}]]` of the name `{name}` stands in the files as such"))?;
        self.changed.insert(path);
        Ok(table)
    }

    fn remove(&mut self, kind: &str, name: &str) -> Result<(), String> {
        for (path, document) in &mut self.documents {
            let Some(tables) = document.get_mut(kind).and_then(Item::as_array_of_tables_mut) else { continue };
            let Some(place) = tables.iter().position(|table| is_named(table, name)) else { continue };
            tables.remove(place);
            self.changed.insert(path.clone());
            return Ok(());
        }
        Err(format!("no `[[{kind}]]` of the name `{name}` stands in the files as such"))
    }

    fn replace(&mut self, kind: &str, entry: &Table) -> Result<(), String> {
        let name = entry.get("name").and_then(Item::as_str).ok_or("an entry has no name")?;
        let is_there = self.documents.iter().any(|(_, document)| {
            let tables = document.get(kind).and_then(Item::as_array_of_tables);
            tables.is_some_and(|tables| tables.iter().any(|table| is_named(table, name)))
        });
        if is_there {
            change(self.entry(kind, name)?, entry);
            return Ok(());
        }
        let (path, document) = self.documents.first_mut().ok_or("there is no policy file")?;
        let tables = document.entry(kind).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let tables = tables.as_array_of_tables_mut().ok_or_else(|| format!("`{kind}` is no list of tables"))?;
        let mut table = Table::new();
        entry.iter().for_each(|(key, item)| drop(table.insert(key, item.clone())));
        table.decor_mut().set_prefix("\n");
        tables.push(table);
        self.changed.insert(path.clone());
        Ok(())
    }

    /// Out of the table, or out of the list that it names.
    fn drop_prefix(&mut self, name: &str, prefix: &str) -> Result<(), String> {
        let wanted = parse_prefix(prefix).map_err(|problem| problem.message)?;
        let is_it = |text: &str| parse_prefix(text.trim()).is_ok_and(|found| found == wanted);
        let folders: Vec<PathBuf> =
            self.documents.iter().filter_map(|(path, _)| Some(path.parent()?.to_owned())).collect();
        let table = self.entry("network", name)?;
        if let Some(list) = table.get_mut("addresses").and_then(Item::as_array_mut) {
            let before = list.len();
            list.retain(|each| !each.as_str().is_some_and(is_it));
            if list.len() < before {
                return Ok(());
            }
        }
        let named = |key: &str| table.get(key).and_then(Item::as_value);
        let several = named("files").and_then(Value::as_array).into_iter().flatten();
        let written: Vec<String> =
            named("file").into_iter().chain(several).filter_map(|each| each.as_str().map(str::to_owned)).collect();
        let paths = folders.iter().flat_map(|folder| written.iter().map(move |file| folder.join(file)));
        for path in paths.collect::<BTreeSet<_>>() {
            let text = match self.lists.get(&path) {
                Some(text) => text.clone(),
                None => match self.files.files.get(&path).and_then(|bytes| std::str::from_utf8(bytes).ok()) {
                    Some(text) => text.to_owned(),
                    None => continue,
                },
            };
            let left: String =
                text.split_inclusive('\n').filter(|line| !is_it(line.split('#').next().unwrap_or_default())).collect();
            if left != text {
                self.lists.insert(path, left);
                return Ok(());
            }
        }
        Err(format!("`{prefix}` stands neither in `addresses` nor in a file of the network `{name}`"))
    }
}

fn no_list(kind: &str, name: &str, key: &str) -> String {
    format!("`{key}` of the `[[{kind}]]` `{name}` does not stand in the files as such")
}

fn is_named(table: &Table, name: &str) -> bool {
    table.get("name").and_then(Item::as_str).is_some_and(|written| written.replace("$${", "${") == name)
        || table.get("name").and_then(Item::as_str) == Some(name)
}

/// Makes a table say what another one does. What it says already stays as it is written.
fn change(table: &mut Table, to: &Table) {
    let gone: Vec<String> =
        table.iter().map(|(key, _)| key).filter(|key| !to.contains_key(key)).map(str::to_owned).collect();
    for key in gone {
        table.remove(&key);
    }
    for (key, item) in to.iter() {
        let same = table.get(key).is_some_and(|old| plainly(old) == plainly(item));
        let Some(new) = item.as_value().filter(|_| !same) else { continue };
        let mut new = new.clone();
        match table.get_mut(key).and_then(Item::as_value_mut) {
            Some(old) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => {
                table.remove(key);
                table.insert(key, Item::Value(new));
            }
        }
    }
}

/// What an item says, however it is written.
fn plainly(item: &Item) -> String {
    fn of(value: &Value) -> String {
        match value {
            Value::String(text) => format!("{:?}", text.value()),
            Value::Array(list) => format!("[{}]", list.iter().map(of).collect::<Vec<_>>().join(",")),
            Value::InlineTable(table) => {
                let keys: BTreeMap<&str, String> = table.iter().map(|(key, value)| (key, of(value))).collect();
                format!("{keys:?}")
            }
            other => other.clone().decorated("", "").to_string(),
        }
    }
    match item {
        Item::Value(value) => of(value),
        Item::Table(table) => {
            let keys: BTreeMap<&str, String> = table.iter().map(|(key, item)| (key, plainly(item))).collect();
            format!("{keys:?}")
        }
        Item::ArrayOfTables(tables) => {
            let each = |table: &Table| plainly(&Item::Table(table.clone()));
            format!("[{}]", tables.iter().map(each).collect::<Vec<_>>().join(","))
        }
        Item::None => String::new(),
    }
}
