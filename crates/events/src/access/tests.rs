use serde_json::Value;

use super::*;
use crate::settings::SinkKind;

const EVIL: &str = "a\"b\\c\r\n127.0.0.1 - - \u{1b}[2J\u{202e}é\u{0}";

fn entry() -> AccessEntry {
    AccessEntry {
        schema: ACCESS_SCHEMA,
        time: "2026-11-28T15:04:05.123456Z".parse().unwrap(),
        request_id: Uuid::from_u128(7).into(),
        trace_id: None,
        client_ip: Some([203, 0, 113, 7].into()),
        peer_ip: [10, 0, 0, 1].into(),
        user: Some("user:alice".into()),
        method: Some("GET".into()),
        scheme: "https",
        host: Some("a.test".into()),
        path: Some("/x/y".into()),
        query: None,
        http_version: "1.1",
        route: Some("app".into()),
        upstream: Some("up".into()),
        status: 200,
        reason: None,
        bytes_sent: 12,
        complete: true,
        duration_us: 1_234,
        user_agent: Some("curl/8".into()),
        referrer: None,
    }
}

fn line(entry: AccessEntry, format: AccessFormat) -> String {
    let mut lines = Vec::new();
    AccessLine { entry, format }.append(&mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

#[test]
fn the_combined_form_is_that_of_apache() {
    assert_eq!(
        line(entry(), AccessFormat::Combined),
        "203.0.113.7 - user:alice [28/Nov/2026:15:04:05 +0000] \"GET /x/y HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n"
    );
    let nothing = AccessEntry {
        client_ip: None,
        user: None,
        method: None,
        path: None,
        user_agent: None,
        query: Some("a=b".into()),
        ..entry()
    };
    assert_eq!(
        line(nothing, AccessFormat::Combined),
        "- - - [28/Nov/2026:15:04:05 +0000] \"- -?a=b HTTP/1.1\" 200 12 \"-\" \"-\"\n"
    );
}

#[test]
fn nothing_in_a_request_can_end_a_line_or_a_field() {
    let evil = || Some(EVIL.to_owned());
    let entry = AccessEntry {
        user: evil(),
        method: evil(),
        host: evil(),
        path: evil(),
        query: evil(),
        user_agent: evil(),
        referrer: evil(),
        ..entry()
    };
    let combined = line(entry.clone(), AccessFormat::Combined);
    assert!(combined.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{combined:?}");
    assert_eq!((combined.matches('\n').count(), combined.matches('"').count()), (1, 6), "{combined}");
    assert!(combined.contains(r#""a\x22b\x5Cc\x0D\x0A127.0.0.1 - - \x1B[2J\xE2\x80\xAE\xC3\xA9\x00""#), "{combined}");
    let json = line(entry, AccessFormat::Json);
    assert_eq!(json.matches('\n').count(), 1, "{json}");
    assert!(!json.contains(['\r', '\u{1b}', '\u{202e}', '\0']), "{json}");
    let read: Value = serde_json::from_str(&json).unwrap();
    for key in ["user", "method", "host", "path", "query", "user_agent", "referrer"] {
        assert_eq!(read[key], EVIL, "{key}");
    }
}

#[test]
fn the_json_form_has_every_key_and_no_query_unless_asked_for() {
    let read: Value = serde_json::from_str(&line(entry(), AccessFormat::Json)).unwrap();
    let keys: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 21, "{keys:?}");
    assert_eq!(read["schema"], "portcullis.access/1");
    assert_eq!(read["time"], "2026-11-28T15:04:05.123456Z");
    assert_eq!(read["request_id"], Uuid::from_u128(7).to_string());
    assert_eq!((&read["status"], &read["bytes_sent"], &read["reason"]), (&200.into(), &12.into(), &Value::Null));
    assert!(read.get("query").is_none());
}

#[test]
fn texts_are_bounded_and_secrets_are_cut_off() {
    let mut entry = AccessEntry {
        path: Some(format!("/{}", "é".repeat(5_000))),
        query: Some("q".repeat(5_000)),
        user_agent: Some("u".repeat(5_000)),
        referrer: Some("https://user:secret@a.test/x?token=secret#y".into()),
        ..entry()
    };
    let bytes = entry.bound();
    assert!(bytes > 5_000, "{bytes}");
    let length = |text: &Option<String>| text.as_ref().unwrap().len();
    assert_eq!((length(&entry.path), length(&entry.query), length(&entry.user_agent)), (2_047, 2_048, 1_024));
    assert_eq!(entry.referrer.as_deref(), Some("https://a.test/x"));
    let mut absolute = AccessEntry { path: Some("http://u:secret@a.test/x?token=secret".into()), ..self::entry() };
    absolute.bound();
    assert_eq!(absolute.path.as_deref(), Some("http://a.test/x"));
}

#[test]
fn a_log_is_written_reopened_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let output = SinkKind::File { path: path.clone() };
    let settings = AccessLogSettings { output, format: AccessFormat::Combined, sample: WHOLE, queue: 8, query: false };
    let log = AccessLog::start(&settings).unwrap();
    log.record(entry());
    assert!(log.flush(Duration::from_secs(10)));
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    log.reopen();
    log.record(entry());
    assert!(log.flush(Duration::from_secs(10)));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    assert_eq!(log.stats().exported, 2);
    assert_eq!(log.shutdown(Duration::from_secs(10)), 0);
    log.record(entry());
    assert_eq!(log.stats().dropped_closed, 1);
}

#[test]
fn a_sample_is_a_share_of_the_requests() {
    let log = |sample| {
        let output = SinkKind::File { path: "/dev/null".into() };
        let format = AccessFormat::Json;
        AccessLog::start(&AccessLogSettings { output, format, sample, queue: 1, query: false }).unwrap()
    };
    let count = |sample: u32| {
        let log = log(sample);
        (0..10_000_u64)
            .filter(|number| log.samples(Uuid::from_u64_pair(0, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2)))
            .count()
    };
    assert_eq!((count(0), count(WHOLE)), (0, 10_000));
    assert!(count(WHOLE / 10).abs_diff(1_000) < 150, "{}", count(WHOLE / 10));
}
