//! Which keys the readers ask for: what tests hold the schema and the documentation against.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

/// What a reader asked a key for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) required: bool,
    pub(crate) schema: Value,
}

thread_local! {
    static ASKED: RefCell<BTreeMap<(String, &'static str), Asked>> = RefCell::default();
}

/// Every key that was asked for by this thread, with the title of its table.
pub(crate) fn asked_keys() -> BTreeMap<(String, &'static str), Asked> {
    ASKED.with_borrow(Clone::clone)
}

/// Notes what a key may hold. A key that is asked for twice is required if it is so once.
pub(super) fn note(title: &str, key: &'static str, required: bool, schema: impl FnOnce() -> Value) {
    ASKED.with_borrow_mut(|asked| {
        let entry = asked.entry((title.to_owned(), key)).or_insert_with(|| Asked { required, schema: schema() });
        entry.required |= required;
    });
}
