//! Whatever stands in a text, a record stays one record, and the text is found again where it belongs.

use proptest::prelude::*;

use super::schemas::{check_cef, check_leef};
use super::syslog::envelope;
use super::*;
use crate::event::tests::{filled_with, text as any_text};
use crate::line::misleads;

/// Texts that try to end a line, a value or a string, to begin a key, to colour a terminal, to turn the direction.
const NASTY: &[&str] = &[
    "a src=1.2.3.4 act=allowed",
    "a\nCEF:0|x|y|1|2|3|4|src=9.9.9.9",
    "a\r\nLEEF:2.0|x|y|1|2|^|src=9.9.9.9",
    "x|y\\|z\\",
    "\\",
    "\\\\n\\n\n",
    "=",
    " = =",
    "a^src=9.9.9.9^b",
    "x5E\\x5e",
    "\"},{\"id\":\"forged\"}",
    "]\"\\ [sd@1 a=\"b\"]",
    "\u{0}\u{1}\u{1b}[2J\u{7f}\u{9b}31m",
    "\u{202e}gnp.exe\u{2066}\u{2069}\u{feff}\u{200f}",
    "line\u{2028}para\u{2029}nel\u{85}",
    "\t tab \t",
    "<13>1 - - - - - -",
    "é😀\u{10ffff}",
    "",
    " ",
];

#[test]
fn nothing_that_a_caller_sends_breaks_a_record() {
    for text in NASTY {
        check_all(&to_line(filled_with(|| (*text).to_owned(), 3)), text);
    }
}

#[test]
fn a_user_agent_of_a_megabyte_is_one_record() {
    // As the recorder writes it, and as a line that somebody put into the spool.
    let unit = "\u{1}=^|\\\"😀\n";
    let long = unit.repeat((1 << 20) / unit.len() + 1);
    check_all(&to_line(filled_with(|| long.clone(), 2)), &cut(&long, 1_024));
    let line = String::from_utf8(to_line(missing_grant())).unwrap();
    let quoted = serde_json::to_string(&long).unwrap();
    check_all(line.replace("\"curl/8.14.1\"", &quoted).as_bytes(), &long);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_found_again(text in prop_oneof![any_text(), pieces()]) {
        check_all(&to_line(filled_with(|| text.clone(), 5)), &cut(&text, 1_024));
    }
}

/// Texts made of what the formats themselves are made of.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![prop::sample::select(NASTY).prop_map(str::to_owned), any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Checks every format of a line whose user agent is `agent`.
#[track_caller]
fn check_all(line: &[u8], agent: &str) {
    for format in Format::ALL {
        // What the envelope does with a long text does not depend on what stands in it.
        if line.len() < 200_000 || format == Format::Cef {
            check_syslog(format, line, agent);
        }
        let record = written(format, line);
        let record = std::str::from_utf8(&record).unwrap();
        let breaks = record.chars().find(|character| *character < ' ' || misleads(*character));
        assert_eq!(breaks, None, "{}: a control character is left", format.as_str());
        let (found, expected) = match format {
            Format::Native | Format::Ecs | Format::Ocsf | Format::Asim => {
                let value = json(format, line);
                let pointer = match format {
                    Format::Native => "/request/user_agent",
                    Format::Ecs => "/user_agent/original",
                    Format::Ocsf => "/http_request/user_agent",
                    Format::Asim | Format::Cef | Format::Leef => "/HttpUserAgent",
                };
                (value.pointer(pointer).unwrap().as_str().unwrap().to_owned(), agent.to_owned())
            }
            Format::Cef => {
                let (_, pairs) = check_cef("injection", record);
                assert_eq!((pairs["src"].as_str(), pairs["act"].as_str()), ("203.0.113.7", "blocked"));
                (pairs["requestClientApplication"].clone(), visible(&cut(agent, 1_023), "\n\r"))
            }
            Format::Leef => {
                let (_, pairs) = check_leef("injection", record);
                assert_eq!((pairs["src"].as_str(), pairs["action"].as_str()), ("203.0.113.7", "deny"));
                (pairs["userAgent"].clone(), visible(agent, "").replace('^', "\\u005e"))
            }
        };
        assert_eq!(found, expected, "{}", format.as_str());
    }
}

/// The envelope of syslog around each format, whole and cut.
#[track_caller]
fn check_syslog(format: Format, line: &[u8], agent: &str) {
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    envelope().append(line, format, &mut whole).unwrap();
    envelope().append_within(line, format, 1_024, &mut cut).unwrap();
    let found = parsers::syslog(std::str::from_utf8(&whole).unwrap());
    assert_eq!(found.message.as_bytes(), written(format, line));
    assert_eq!((found.words[1].as_str(), found.data["decision"].as_str()), ("gw-1", "deny"));
    assert!(cut.len() <= 1_024, "{}: {} bytes", format.as_str(), cut.len());
    let cut = parsers::syslog(std::str::from_utf8(&cut).unwrap());
    assert_eq!(cut.data["id"], found.data["id"], "{agent:.20}");
    assert!(cut.message.len() + 500 > found.message.len() || cut.data["shortened"] == "true");
}

/// What a person reads where a character cannot stand in a line.
fn visible(text: &str, kept: &str) -> String {
    let written_out = |character: char| (character < ' ' || misleads(character)) && !kept.contains(character);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if written_out(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
