//! Any bytes as a native line, and any text in a native event: every format and the envelope of syslog make one record of one
//! line, or refuse it, and leave no character in it that could end the line or mislead a reader.

use portcullis_events::Format;
use portcullis_events::format::syslog::Envelope;

const LINE: &str = include_str!("../corpus/formats/seed-00");

/// The bytes are a line, and a text inside of one.
pub(crate) fn body(bytes: &[u8]) {
    check(bytes, false);
    let text = quoted(&String::from_utf8_lossy(bytes));
    // In every place of a text, the caller's and the operator's.
    check(LINE.replace("\"@\"", &text).as_bytes(), true);
}

/// `of_ours`: the line has no character that the recorder would have escaped.
fn check(line: &[u8], of_ours: bool) {
    let envelope = Envelope { facility: 16, app_name: "portcullis".into(), enterprise_id: 32_473, process_id: 1 };
    let mut sizes = [0; 6];
    for (format, size) in Format::ALL.into_iter().zip(&mut sizes) {
        let mut record = Vec::new();
        let mut message = b"before".to_vec();
        let made = format.append(line, &mut record);
        assert_eq!(envelope.append(line, format, &mut message).is_ok(), made.is_ok());
        if made.is_err() {
            assert!(record.is_empty() && message == b"before" && !of_ours);
            continue;
        }
        assert!(message.ends_with(&record));
        let mut datagram = Vec::new();
        envelope.append_within(line, format, 1_024, &mut datagram).unwrap();
        assert!(datagram.len() <= 1_024);
        // The native line is passed on as it is: what the recorder has not written may hold anything between its keys.
        if of_ours || !matches!(format, Format::Native) {
            one_line(&record);
            one_line(&message);
        }
        *size = record.len();
    }
    // A line is an event to all of them or to none.
    assert!(sizes.iter().all(|size| *size == 0) || sizes.iter().all(|size| *size > 0));
}

fn one_line(record: &[u8]) {
    let text = String::from_utf8_lossy(record);
    let misleads = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(misleads), "{text:?}");
}

/// The text as the recorder writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    quoted + "\""
}
