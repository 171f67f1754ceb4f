//! One JSON object, key by key. Texts are escaped as in the native line: what could mislead a reader stands as `\uXXXX`.

use serde::Serialize;

use super::record::Record;
use crate::line::{append_value, write_text};

/// An object whose next key is still to come.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl Object<'_> {
    /// Appends an object, with whatever `fill` puts into it.
    pub(crate) fn append(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        out.push(b'{');
        let mut object = Object { out, empty: true };
        fill(&mut object);
        object.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        write_text(self.out, key);
        self.out.push(b':');
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_text(self.out, value);
    }

    /// A text, where it is known.
    pub(crate) fn known(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A number.
    pub(crate) fn number(&mut self, key: &str, value: impl itoa::Integer) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A number, where it is known.
    pub(crate) fn known_number(&mut self, key: &str, value: Option<impl itoa::Integer>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// A truth.
    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A truth, where it is known.
    pub(crate) fn known_flag(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.flag(key, value);
        }
    }

    /// A list of texts; nothing where there is none.
    pub(crate) fn texts<T: AsRef<str>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.key(key);
        for (index, value) in values.enumerate() {
            self.out.push(if index == 0 { b'[' } else { b',' });
            write_text(self.out, value.as_ref());
        }
        self.out.push(b']');
    }

    /// A list of objects; nothing where there is none.
    pub(crate) fn objects<T>(&mut self, key: &str, entries: &[T], fill: impl Fn(&T, &mut Object<'_>)) {
        if entries.is_empty() {
            return;
        }
        self.key(key);
        for (index, entry) in entries.iter().enumerate() {
            self.out.push(if index == 0 { b'[' } else { b',' });
            Self::append(self.out, |object| fill(entry, object));
        }
        self.out.push(b']');
    }

    /// An object; nothing where `fill` leaves it empty.
    pub(crate) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let (start, was_empty) = (self.out.len(), self.empty);
        self.key(key);
        self.out.push(b'{');
        let mut inner = Object { out: &mut *self.out, empty: true };
        fill(&mut inner);
        if inner.empty {
            self.out.truncate(start);
            self.empty = was_empty;
        } else {
            self.out.push(b'}');
        }
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(json);
    }

    /// All parts of the native event as they stand there, for what a schema has no field, or too poor a field, for.
    pub(crate) fn parts(&mut self, record: &Record<'_>) {
        self.part("policy", &record.policy);
        self.part("client", &record.client);
        self.part("identity", &record.identity);
        self.part("device", &record.device);
        self.part("risk", &record.risk);
        self.part("ban", &record.ban);
        self.part("nearest", &record.nearest);
        self.part("checks", &record.checks);
        self.part("shadow", &record.shadow);
        self.part("remedy", &record.remedy);
        self.part("upstream", &record.upstream);
        self.part("latency_us", &record.latency_us);
        if let Some(alert) = &record.alert {
            self.part("alert", alert);
        }
        if let Some(finding) = &record.finding {
            self.part("finding", finding);
        }
        self.part("integrity", &record.integrity);
    }

    /// A part of the native event as it stands there.
    pub(crate) fn part(&mut self, key: &str, part: &impl Serialize) {
        let (start, was_empty) = (self.out.len(), self.empty);
        self.key(key);
        // A part is made of what a line holds, so that writing it cannot fail; if it did, the key would be left out.
        if append_value(self.out, part).is_err() {
            self.out.truncate(start);
            self.empty = was_empty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Object<'_>)) -> String {
        let mut out = Vec::new();
        Object::append(&mut out, fill);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_known_leaves_no_key() {
        let empty = written(|object| {
            object.known("a", None);
            object.known_number("b", None::<u8>);
            object.known_flag("c", None);
            object.texts("d", [""; 0]);
            object.objects("e", &[(); 0], |(), _| {});
            object.object("f", |inner| inner.object("g", |_| {}));
        });
        assert_eq!(empty, "{}");
    }

    #[test]
    fn commas_stand_between_keys_and_nowhere_else() {
        let full = written(|object| {
            object.object("none", |_| {});
            object.text("a", "x\"\n");
            object.object("b", |inner| {
                inner.number("c", -7);
                inner.flag("d", true);
            });
            object.object("none", |_| {});
            object.texts("e", ["1", "2"]);
            object.objects("f", &[1, 2], |number, inner| inner.number("n", *number));
            object.part("g", &Some("y"));
        });
        assert_eq!(full, r#"{"a":"x\"\n","b":{"c":-7,"d":true},"e":["1","2"],"f":[{"n":1},{"n":2}],"g":"y"}"#);
    }
}
