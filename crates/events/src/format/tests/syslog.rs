//! The envelope of syslog.

use super::*;
use crate::format::syslog::Envelope;

pub(super) fn envelope() -> Envelope {
    Envelope { facility: 16, app_name: "portcullis".into(), enterprise_id: 32_473, process_id: 4_711 }
}

#[test]
fn a_refusal_in_the_envelope_of_syslog() {
    let mut out = Vec::new();
    envelope().append(&to_line(missing_grant()), Format::Cef, &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn the_priority_is_the_facility_and_how_much_it_deserves_a_look() {
    let check = |facility, severity: &str, kind: &str, priority| {
        let line = String::from_utf8(of_kind(kind, missing_grant())).unwrap();
        let line = line.replace("\"severity\":\"medium\"", &format!("\"severity\":\"{severity}\""));
        let mut out = Vec::new();
        Envelope { facility, ..envelope() }.append(line.as_bytes(), Format::Native, &mut out).unwrap();
        assert_eq!(parsers::syslog(std::str::from_utf8(&out).unwrap()).priority, priority, "{facility} {severity}");
    };
    check(0, "critical", "access.denied", 2);
    check(10, "high", "access.denied", 83);
    check(16, "medium", "access.denied", 132);
    check(16, "low", "access.denied", 133);
    check(23, "medium", "access.denied", 188);
}

#[test]
fn what_does_not_fit_into_a_datagram_is_its_sentence_and_says_so() {
    let line = to_line(missing_grant());
    let sent = |most| {
        let mut out = Vec::new();
        envelope().append_within(&line, Format::Native, most, &mut out).unwrap();
        assert!(out.len() <= most, "{} of {most} bytes", out.len());
        parsers::syslog(std::str::from_utf8(&out).unwrap())
    };
    let mut whole = Vec::new();
    envelope().append(&line, Format::Native, &mut whole).unwrap();
    let at_bound = sent(whole.len());
    assert_eq!((at_bound.message.len() + 1, at_bound.data.get("shortened")), (line.len(), None));
    let below = sent(whole.len() - 1);
    assert_eq!(below.data["shortened"], "true");
    assert!(below.message.starts_with("user:alice may not GET"), "{}", below.message);
    assert_eq!((below.data["principal"].as_str(), below.element.as_str()), ("alice", "portcullis@32473"));
}

#[test]
fn a_header_of_other_characters_stays_a_header() {
    let line = String::from_utf8(to_line(missing_grant())).unwrap();
    let line = line.replace("\"gw-1\"", "\"a b\u{e9}\\n\"").replace("\"access.denied\"", "\"x y.é\"");
    let mut out = Vec::new();
    envelope().append(line.as_bytes(), Format::Native, &mut out).unwrap();
    let parsed = parsers::syslog(std::str::from_utf8(&out).unwrap());
    assert_eq!((parsed.words[1].as_str(), parsed.words[4].as_str()), ("a_b__", "x_y._"));
    assert_eq!(parsed.words[0], "2026-11-22T19:04:12.697123Z");
}
