//! What is folded, what never is, and that no event is lost or counted twice on the way.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::tests::to_line;
use crate::event::{Event, EventKind};
use crate::format::Format;
use crate::reason_code::ReasonCode;

const WINDOW: Duration = Duration::from_secs(10);

fn folder() -> Folder {
    Folder::new(&FoldSettings { window: WINDOW })
}

/// A refusal of alice's, so many milliseconds after the beginning of time.
fn denied(at_ms: i64) -> Event {
    let time = Timestamp::from_millisecond(at_ms).unwrap();
    let mut event = Event::denied(Uuid::now_v7(), time, ReasonCode::RbacNoMatchingGrant);
    event.identity.id = Some("alice".into());
    event.identity.kind = Some("user");
    event.client.ip = Some([203, 0, 113, 7].into());
    event.policy.route = Some("billing".into());
    event.request.method = Some("GET".into());
    event.request.host = Some("billing.test".into());
    event.request.path = Some("/invoices/7".into());
    event
}

/// Takes events at a moment; says what became of each, and which records were ended by them.
fn take(folder: &mut Folder, now: Instant, events: Vec<Event>) -> (Vec<Fate>, Vec<Folded>) {
    let mut done = Vec::new();
    let fates = events
        .into_iter()
        .enumerate()
        .map(|(index, event)| folder.take(&to_line(event), index as u64, now, &mut done))
        .collect();
    (fates, done)
}

fn parsed(folded: &Folded) -> Value {
    serde_json::from_slice(&folded.line).unwrap()
}

#[test]
fn the_first_is_passed_on_and_the_others_become_one_record() {
    let (mut folder, now) = (folder(), Instant::now());
    let events: Vec<Event> = [0, 1_000, 3_000, 2_000].map(denied).into();
    let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    let (fates, done) = take(&mut folder, now, events);
    assert_eq!((fates, done.len()), (vec![Fate::Passes, Fate::Held, Fate::Held, Fate::Held], 0));
    assert_eq!((folder.oldest(), folder.next_due()), (Some(1), Some(now + WINDOW)));
    assert!(folder.due(now + WINDOW - Duration::from_millis(1)).is_empty());
    let records = folder.due(now + WINDOW);
    let [folded] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((folded.index, folded.events), (1, 3));
    let record = parsed(folded);
    assert_eq!(record["count"], 3);
    assert_eq!(record["ids"], json!(ids[1..]));
    assert_eq!(record["first_time"], "1970-01-01T00:00:01.000000Z");
    assert_eq!(record["last_time"], "1970-01-01T00:00:03.000000Z");
    assert_eq!((&record["integrity"], &record["reason"]), (&Value::Null, &"rbac.no_matching_grant".into()));
    assert_eq!(record["request"]["id"], ids[1].as_str(), "what was asked is the first of them");
    let id = record["id"].as_str().unwrap();
    assert!(!ids.contains(&id.to_owned()) && id.parse::<Uuid>().is_ok(), "{id}");
    assert_eq!((folder.oldest(), folder.next_due(), folder.held_bytes), (None, None, 0));
}

#[test]
fn a_record_is_one_in_every_format_and_its_id_is_that_of_its_events() {
    let events: Vec<Event> = [0, 1_000, 2_000].map(denied).into();
    let fold = |events: &[Event]| {
        let mut folder = folder();
        take(&mut folder, Instant::now(), events.to_vec());
        folder.all().remove(0)
    };
    let folded = fold(&events);
    assert_eq!(fold(&events), folded, "the same events have the same record");
    assert_ne!(parsed(&fold(&events[..2]))["id"], parsed(&folded)["id"]);
    for format in Format::ALL {
        let mut out = Vec::new();
        format.append(&folded.line, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let id = parsed(&folded)["id"].as_str().unwrap().to_owned();
        assert!(text.contains(&id) && !text.contains('\n'), "{}: {text}", format.as_str());
        let names_all = events[1..].iter().all(|event| text.contains(&event.id.to_string()));
        assert_eq!(names_all, format.is_json(), "{}: {text}", format.as_str());
    }
}

#[test]
fn whatever_is_new_is_passed_on() {
    let changes: [fn(&mut Event); 10] = [
        |event| event.identity.id = Some("bob".into()),
        |event| event.identity.kind = Some("service"),
        |event| event.client.ip = Some([203, 0, 113, 8].into()),
        |event| event.client.ip = None,
        |event| event.policy.route = Some("payroll".into()),
        |event| event.policy.rule = Some("no-exports".into()),
        |event| event.request.method = Some("POST".into()),
        |event| event.request.host = Some("other.test".into()),
        |event| event.request.path = Some("/invoices/export".into()),
        |event| event.set_reason(ReasonCode::RbacExplicitDeny),
    ];
    let mut folder = folder();
    let mut events = vec![denied(0)];
    for change in changes {
        let mut event = denied(1);
        change(&mut event);
        events.push(event);
    }
    let kinds = events.len();
    let (fates, _) = take(&mut folder, Instant::now(), [events.clone(), events].concat());
    let (first, again) = fates.split_at(kinds);
    assert!(first.iter().all(|fate| *fate == Fate::Passes), "{first:?}");
    assert!(again.iter().all(|fate| *fate == Fate::Held), "{again:?}");
    assert_eq!(folder.all().len(), kinds);
}

#[test]
fn only_refusals_are_folded() {
    let mut folder = folder();
    for kind in EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::AccessDenied) {
        let events = vec![Event::new(kind, Uuid::nil(), Timestamp::UNIX_EPOCH); 2];
        assert_eq!(take(&mut folder, Instant::now(), events).0, [Fate::Passes; 2], "{}", kind.as_str());
    }
    assert_eq!(folder.take(b"rubbish", 0, Instant::now(), &mut Vec::new()), Fate::Passes);
}

#[test]
fn a_window_ends_by_the_time_of_events_too() {
    let mut folder = folder();
    let (fates, done) = take(&mut folder, Instant::now(), [0, 1, 9_999, 10_000, 10_001].map(denied).into());
    assert_eq!(fates, [Fate::Passes, Fate::Held, Fate::Held, Fate::Passes, Fate::Held]);
    assert_eq!(done.iter().map(|folded| (folded.index, folded.events)).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(folder.all().iter().map(|folded| (folded.index, folded.events)).collect::<Vec<_>>(), [(4, 1)]);
}

#[test]
fn what_is_held_has_bounds() {
    let (mut folder, now) = (folder(), Instant::now());
    let other = |number: usize| {
        let mut event = denied(0);
        event.identity.id = Some(format!("user {number}"));
        event
    };
    let all: Vec<Event> = (0..GROUPS + 2).map(other).collect();
    let (fates, _) = take(&mut folder, now, all.clone());
    assert!(fates.iter().all(|fate| *fate == Fate::Passes));
    assert_eq!(folder.groups.len(), GROUPS);
    // Of what is not known each is passed on: nothing is hidden.
    let (fates, _) = take(&mut folder, now, all[GROUPS - 1..].to_vec());
    assert_eq!(fates, [Fate::Held, Fate::Passes, Fate::Passes]);
    folder.held_bytes = HELD_BYTES;
    let (fates, _) = take(&mut folder, now, vec![other(0)]);
    assert_eq!(fates, [Fate::Passes], "there is no room for its line");
    folder.held_bytes = 0;
    folder.all();
    let (_, _) = take(&mut folder, now, (0..IDS as i64 + 51).map(denied).collect());
    let record = parsed(&folder.all()[0]);
    assert_eq!((record["count"].as_u64(), record["ids"].as_array().map(Vec::len)), (Some(150), Some(IDS)));
}

#[test]
fn a_path_is_told_by_its_shape() {
    for (path, expected) in [
        ("/", "/"),
        ("/invoices/7", "/invoices/*"),
        ("/invoices/7/lines/12", "/invoices/*/lines/*"),
        ("/v2/invoices", "/v2/invoices"),
        ("/users/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/users/*"),
        ("/a/0123456789abcdef0123456789abcdef/", "/a/*/"),
        ("/a/an-honest-long-word-without-one", "/a/an-honest-long-word-without-one"),
        ("", ""),
    ] {
        assert_eq!(template(path), expected);
    }
}

proptest! {
    /// Whatever comes when: each event is passed on or is in exactly one record, and the first of its kind is passed on.
    #[test]
    fn no_event_is_lost_or_told_twice(events in prop::collection::vec((0..4_u8, 0..3_i64, 0..2_000_u64), 1..60)) {
        let (mut folder, began) = (folder(), Instant::now());
        let (mut at_ms, mut clock_ms) = (0, 0);
        let (mut passed, mut folded) = (0_u64, Vec::new());
        let mut first: BTreeMap<u8, Fate> = BTreeMap::new();
        for (index, (who, step_s, wait_ms)) in events.iter().enumerate() {
            at_ms += step_s * 1_000;
            clock_ms += wait_ms;
            let now = began + Duration::from_millis(clock_ms);
            folded.extend(folder.due(now));
            let mut event = denied(at_ms);
            event.identity.id = Some(who.to_string());
            let before = folder.oldest();
            let fate = folder.take(&to_line(event), index as u64, now, &mut folded);
            first.entry(*who).or_insert(fate);
            match fate {
                Fate::Passes => passed += 1,
                Fate::Held => prop_assert!(folder.oldest().is_some_and(|oldest| oldest <= index as u64)),
            }
            // What was held stays before the sink's place, until it is in a record.
            prop_assert!(before.is_none_or(|before| folder.oldest().is_none_or(|oldest| oldest >= before)));
        }
        folded.extend(folder.all());
        let held: u64 = folded.iter().map(|folded| folded.events).sum();
        prop_assert_eq!(passed + held, events.len() as u64);
        prop_assert!(first.values().all(|fate| *fate == Fate::Passes));
        for record in &folded {
            let value = parsed(record);
            prop_assert_eq!(value["count"].as_u64(), Some(record.events));
        }
    }
}
