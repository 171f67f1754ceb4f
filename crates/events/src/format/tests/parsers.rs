//! CEF, LEEF and syslog read back, by what their descriptions say and with nothing of how they are written.

use std::collections::BTreeMap;

/// The fields of a header, and the pairs after it.
pub(super) type Parsed = (Vec<String>, BTreeMap<String, String>);

/// A CEF record.
pub(super) fn cef(record: &str) -> Parsed {
    let mut header = vec![String::new()];
    let mut characters = record.chars();
    while header.len() < 8 {
        match characters.next().expect("a header of seven fields") {
            '|' => header.push(String::new()),
            '\\' => header.last_mut().unwrap().push(escaped(characters.next(), "\\|")),
            character => header.last_mut().unwrap().push(character),
        }
    }
    header.pop();
    (header, extension(characters.as_str()))
}

/// The pairs: a key is what stands between a space, or the beginning, and a `=` that is not escaped.
fn extension(text: &str) -> BTreeMap<String, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '=' => {
                let (before, key) = value.rsplit_once(' ').unwrap_or(("", &value));
                if let Some((_, last)) = pairs.last_mut() {
                    *last = before.to_owned();
                }
                pairs.push((key.to_owned(), String::new()));
                value.clear();
            }
            // An escaped character belongs to a value, whatever it is.
            '\\' => value.push(match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                other => escaped(other, "\\="),
            }),
            character => value.push(character),
        }
    }
    if let Some((_, last)) = pairs.last_mut() {
        *last = value;
    }
    let count = pairs.len();
    let map: BTreeMap<String, String> = pairs.into_iter().collect();
    assert_eq!(map.len(), count, "a key stands twice: {text}");
    map
}

fn escaped(character: Option<char>, allowed: &str) -> char {
    let character = character.expect("something after a backslash");
    assert!(allowed.contains(character), "\\{character} is no escape");
    character
}

/// A LEEF 2.0 record.
pub(super) fn leef(record: &str) -> Parsed {
    let mut parts = record.splitn(7, '|');
    let header: Vec<String> = parts.by_ref().take(6).map(str::to_owned).collect();
    let delimiter: char = header[5].parse().expect("a delimiter of one character");
    let mut pairs = BTreeMap::new();
    for pair in parts.next().expect("attributes").split(delimiter) {
        let (key, value) = pair.split_once('=').expect("a key and a value");
        assert_eq!(pairs.insert(key.to_owned(), value.to_owned()), None, "{key} stands twice");
    }
    (header, pairs)
}

/// A message of RFC 5424.
pub(super) struct Syslog {
    pub(super) priority: u16,
    /// TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID.
    pub(super) words: Vec<String>,
    /// The id of the one element of the structured data.
    pub(super) element: String,
    pub(super) data: BTreeMap<String, String>,
    pub(super) message: String,
}

/// One message, which must be whole.
pub(super) fn syslog(text: &str) -> Syslog {
    let (priority, rest) = text.strip_prefix('<').and_then(|rest| rest.split_once(">1 ")).expect("PRI and VERSION");
    let (head, rest) = rest.split_once(" [").expect("structured data");
    let words: Vec<String> = head.split(' ').map(str::to_owned).collect();
    assert_eq!(words.len(), 5, "{head}");
    for (word, longest) in words.iter().zip([32, 255, 48, 128, 32]) {
        assert!(
            !word.is_empty() && word.len() <= longest && word.bytes().all(|byte| byte.is_ascii_graphic()),
            "{word}"
        );
    }
    let mut characters = rest.chars();
    let element: String = characters.by_ref().take_while(|character| *character != ' ').collect();
    let mut data = BTreeMap::new();
    loop {
        let name: String = characters.by_ref().take_while(|character| *character != '=').collect();
        assert_eq!(characters.next(), Some('"'), "{rest}");
        let mut value = String::new();
        loop {
            match characters.next().expect("the end of a value") {
                '"' => break,
                '\\' => value.push(escaped(characters.next(), "\"\\]")),
                ']' => panic!("a bracket that is not escaped: {rest}"),
                character => value.push(character),
            }
        }
        assert_eq!(data.insert(name, value), None);
        match characters.next() {
            Some(' ') => {}
            Some(']') => break,
            other => panic!("{other:?} behind a value: {rest}"),
        }
    }
    assert_eq!(characters.next(), Some(' '));
    Syslog { priority: priority.parse().unwrap(), words, element, data, message: characters.collect() }
}
