//! The table as its users see it, at times of the test's choice and with a store that only notes what it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, Device, GroupClaim, Principal};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn opening(id: &str, sid: Option<&str>) -> Opening {
    let mut principal = Principal::user(&format!("corp:{id}"));
    principal.name = Some("Name".into());
    principal.groups = vec![GroupClaim { name: "finance".into(), trusted: true }];
    principal.device = Some(Device { id: "laptop".into(), compliant: Some(true) });
    let authentication = &mut principal.authentication;
    authentication.method = AuthenticationMethod::Oidc;
    authentication.provider = "corporate".into();
    authentication.amr = vec!["pwd".into()];
    authentication.auth_time = Some(at(-10));
    let host = Some("app.test:8080".into());
    Opening { principal, subject: id.into(), sid: sid.map(Into::into), fingerprint: 7, host }
}

fn sessions(most: usize) -> Sessions {
    let sessions = Sessions::default();
    let bounds = SessionBounds { most, idle: Duration::from_secs(60), absolute: Duration::from_secs(600) };
    sessions.configure(bounds);
    sessions
}

fn open(sessions: &Sessions, id: &str, second: i64) -> (SessionId, Arc<Session>) {
    let (id, session, _) = sessions.open(opening(id, None), at(second)).unwrap();
    (id, session)
}

/// `live`, the cause of an end, or `none`.
fn found(sessions: &Sessions, id: &SessionId, second: i64) -> String {
    match sessions.find(id, at(second), true) {
        Found::Live(_) => "live".to_owned(),
        Found::Ended(cause) => format!("{cause:?}"),
        Found::None => "none".to_owned(),
    }
}

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<SessionChange>>);

impl SessionStore for Notes {
    fn write(&self, changes: Vec<SessionChange>) -> Written {
        self.0.lock().unwrap().extend(changes);
        Written::now()
    }
}

impl Notes {
    fn taken(&self) -> Vec<SessionChange> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn a_session_ends_when_it_is_idle_or_old() {
    let sessions = sessions(10);
    let (id, session) = open(&sessions, "u", 0);
    assert_eq!(session.principal.authentication.issued, Some(at(0)));
    assert_eq!(session.principal.authentication.expires, Some(at(600)));
    assert_eq!(found(&sessions, &id, 59), "live");
    // That was a use of it.
    assert_eq!(found(&sessions, &id, 118), "live");
    assert_eq!(found(&sessions, &id, 178), "none");
    let (id, _) = open(&sessions, "u", 1_000);
    for second in (1_000..1_600).step_by(30) {
        assert_eq!(found(&sessions, &id, second), "live", "{second}");
    }
    assert_eq!(found(&sessions, &id, 1_599), "live");
    assert_eq!(found(&sessions, &id, 1_600), "none", "however much it is used");
}

#[test]
fn only_a_request_keeps_a_session_from_being_idle() {
    let sessions = sessions(10);
    let (id, session) = open(&sessions, "u", 0);
    assert!(matches!(sessions.find(&id, at(50), false), Found::Live(_)));
    assert!(sessions.get(&session.key, at(55)).is_some());
    assert_eq!(found(&sessions, &id, 60), "none");
    // A clock that was set back makes nothing older.
    let (id, session) = open(&sessions, "u", 100);
    assert_eq!(found(&sessions, &id, 90), "live");
    assert_eq!(session.last_seen(), at(100));
}

#[test]
fn an_id_that_nobody_was_given_is_nothing() {
    let sessions = sessions(10);
    open(&sessions, "u", 0);
    assert_eq!(found(&sessions, &SessionId::random().unwrap(), 0), "none");
}

#[test]
fn a_session_that_was_ended_says_why_for_a_while_and_opens_nothing() {
    let sessions = sessions(10);
    for (cause, expected) in
        [(EndCause::LoggedOut, "LoggedOut"), (EndCause::Revoked, "Revoked"), (EndCause::Replaced, "Replaced")]
    {
        let (id, session) = open(&sessions, "u", 0);
        assert!(sessions.end(&session.key, cause).0);
        assert!(!sessions.end(&session.key, EndCause::Revoked).0, "it has ended");
        assert_eq!(found(&sessions, &id, 1), expected);
        assert!(sessions.raise(&session.key, "otp", at(1)).is_none());
        assert!(sessions.rotate(&session.key, at(1)).is_none());
        assert_eq!(found(&sessions, &id, 61), expected, "until it is swept");
    }
    sessions.sweep(at(100));
    assert!(sessions.is_empty());
}

#[test]
fn sessions_end_by_reference_by_principal_and_by_what_the_provider_names() {
    let sessions = sessions(100);
    let (first, session) = open(&sessions, "u", 0);
    let (second, _) = open(&sessions, "u", 0);
    let (other, _) = open(&sessions, "v", 0);
    let reference = session.key.reference();
    assert!(sessions.revoke(&reference[..7]).0.is_empty(), "too short to mean one");
    assert_eq!(sessions.revoke(&reference[..8]).0, ["user:corp:u"]);
    assert_eq!(found(&sessions, &first, 1), "Revoked");
    assert_eq!(sessions.revoke_principal("user:corp:u").0, ["user:corp:u"]);
    assert!(sessions.revoke_principal("user:corp:nobody").0.is_empty());
    assert_eq!(found(&sessions, &second, 1), "Revoked");
    assert_eq!(found(&sessions, &other, 1), "live");

    let with_sid = |id: &str, sid: &str| sessions.open(opening(id, Some(sid)), at(0)).unwrap().0;
    let (a, b, c) = (with_sid("w", "1"), with_sid("w", "2"), with_sid("x", "1"));
    let state = |id: &SessionId| found(&sessions, id, 1);
    assert!(sessions.revoke_sid("another", Some("1"), None).0.is_empty());
    assert!(sessions.revoke_sid("corporate", None, None).0.is_empty());
    assert_eq!(sessions.revoke_sid("corporate", Some("1"), Some("w")).0.len(), 1);
    assert_eq!((state(&a).as_str(), state(&b).as_str(), state(&c).as_str()), ("LoggedOut", "live", "live"));
    assert_eq!(sessions.revoke_sid("corporate", None, Some("w")).0.len(), 1);
    assert_eq!((state(&b).as_str(), state(&c).as_str()), ("LoggedOut", "live"));
    // Without a prefix, as the provider writes it.
    assert!(sessions.revoke_sid("corporate", None, Some("corp:x")).0.is_empty());
}

#[test]
fn a_session_is_known_by_what_its_provider_calls_its_holder_now() {
    let sessions = sessions(100);
    let (_, session, _) = sessions.open(opening("u", Some("1")), at(0)).unwrap();
    let mut principal = Principal::clone(&session.principal);
    principal.id = "corp:new".into();
    sessions.renew(&session.key, principal, at(1)).unwrap();
    // As many as there may be of the one that its holder was.
    (0..64).for_each(|_| drop(open(&sessions, "u", 2)));
    let (id, ..) = sessions.rotate(&session.key, at(3)).unwrap();
    assert_eq!((found(&sessions, &id, 3).as_str(), sessions.entries(at(3), 100).len()), ("live", 65));
    assert_eq!(sessions.revoke_sid("corporate", Some("1"), None).0, ["user:corp:new"]);
    assert_eq!(found(&sessions, &id, 3), "LoggedOut");
    assert!(sessions.revoke_sid("corporate", Some("1"), None).0.is_empty());
}

#[test]
fn a_second_factor_is_beside_the_first_and_fresh() {
    let sessions = sessions(10);
    let (id, session) = open(&sessions, "u", 0);
    let (raised, _) = sessions.raise(&session.key, "otp", at(30)).unwrap();
    let authentication = &raised.principal.authentication;
    assert_eq!(authentication.amr, ["pwd".into(), "otp".into(), "mfa".into()]);
    assert_eq!(authentication.auth_time, Some(at(30)));
    assert_eq!(raised.raised, Some(Raised { method: "otp".into(), at: at(30) }));
    assert_eq!((raised.created, raised.until), (at(0), at(600)));
    // Twice is no more than once, and whatever the provider says later leaves it.
    let (again, _) = sessions.raise(&session.key, "otp", at(40)).unwrap();
    assert_eq!(again.principal.authentication.amr.len(), 3);
    let (renewed, _) = sessions.renew(&session.key, opening("u", None).principal, at(45)).unwrap();
    assert_eq!(renewed.principal.authentication.amr.len(), 3);
    assert_eq!(renewed.principal.authentication.auth_time, Some(at(40)));
    assert_eq!(renewed.principal.authentication.expires, Some(at(600)));
    assert_eq!(found(&sessions, &id, 46), "live");
}

#[test]
fn a_rotated_session_has_one_id() {
    let sessions = sessions(10);
    let (old, session) = open(&sessions, "u", 0);
    let (new, rotated, _) = sessions.rotate(&session.key, at(10)).unwrap();
    assert_eq!(found(&sessions, &old, 11), "Replaced");
    let (newer, again, _) = sessions.rotate(&rotated.key, at(10)).unwrap();
    assert_eq!(sessions.current(&session.key), again.key);
    assert_eq!(sessions.current(&again.key), again.key);
    assert_eq!(found(&sessions, &new, 11), "Replaced");
    let (new, rotated) = (newer, again);
    assert_eq!(found(&sessions, &new, 11), "live");
    assert_eq!((rotated.created, rotated.until), (at(0), at(600)));
    assert_eq!(rotated.principal.authentication.key_id.as_deref(), Some(&*rotated.key.reference()));
    assert_eq!(sessions.entries(at(11), 10).len(), 1);
    assert_eq!(sessions.revoke_principal("user:corp:u").0.len(), 1);
    assert_eq!(found(&sessions, &new, 12), "Revoked");
}

/// Somebody who logs in under another spelling is nobody else, and an operator ends what they have however either is typed.
#[test]
fn whoever_logs_in_is_called_as_ids_are_compared() {
    let sessions = sessions(100);
    let kept_before = sessions.open(opening("ZOE", None), at(0)).unwrap();
    sessions.respell(&portcullis_policy::Spelling::new([(portcullis_policy::PrincipalKind::User, "corp:", true)]));
    let (id, session, _) = sessions.open(opening("Zoe", None), at(0)).unwrap();
    assert_eq!((session.principal.reference().as_str(), &*session.subject), ("user:corp:zoe", "Zoe"));
    let (renewed, _) = sessions.renew(&session.key, opening("zOE", None).principal, at(1)).unwrap();
    assert_eq!(renewed.principal.reference(), "user:corp:zoe");
    assert_eq!(sessions.revoke_principal("user:corp:zOe").0.len(), 2);
    assert_eq!((found(&sessions, &id, 2), found(&sessions, &kept_before.0, 2)), ("Revoked".into(), "Revoked".into()));
}

#[test]
fn what_goes_on_follows_a_new_id_and_not_what_was_shown_for_it() {
    let sessions = sessions(10);
    let (old, before) = open(&sessions, "alice", 0);
    let live = |id: &SessionId, second: i64| match sessions.find_followed(id, at(second)) {
        Found::Live(session) => session,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&live(&old, 1), &before), "nothing has changed yet");
    let (new, rotated, _) = sessions.rotate(&before.key, at(10)).unwrap();
    sessions.raise(&rotated.key, "otp", at(10)).unwrap();
    assert_eq!(found(&sessions, &old, 11), "Replaced", "a request with the old id opens nothing");
    let followed = live(&old, 11);
    assert_eq!(followed.key, rotated.key);
    let authentication = &followed.principal.authentication;
    assert_eq!((authentication.auth_time, authentication.amr.as_slice()), (Some(at(-10)), &["pwd".into()][..]));
    assert!(followed.raised.is_none());
    assert_eq!(live(&new, 11).principal.authentication.amr.len(), 3, "who has the new id has the factor");
    // Over several, and with what the provider says of its holder now.
    let (_, third, _) = sessions.rotate(&rotated.key, at(20)).unwrap();
    let mut principal = Principal::clone(&third.principal);
    principal.groups.clear();
    sessions.renew(&third.key, principal, at(20)).unwrap();
    assert!(live(&old, 21).principal.groups.is_empty() && live(&old, 21).key == third.key);
    // It keeps nothing from being idle, and ends with the session.
    assert!(matches!(sessions.find_followed(&old, at(80)), Found::None));
    let (old, before) = open(&sessions, "bob", 100);
    let (_, rotated, _) = sessions.rotate(&before.key, at(101)).unwrap();
    sessions.end(&rotated.key, EndCause::Revoked);
    assert!(matches!(sessions.find_followed(&old, at(102)), Found::Ended(EndCause::Revoked)));
    // Another login is another session.
    let (old, before) = open(&sessions, "carol", 100);
    open(&sessions, "carol", 101);
    sessions.replace(&before.key);
    assert!(matches!(sessions.find_followed(&old, at(102)), Found::Ended(EndCause::Replaced)));
    assert!(matches!(sessions.find_followed(&SessionId::random().unwrap(), at(102)), Found::None));
}

#[test]
fn the_table_is_bounded_and_nobody_fills_it_alone() {
    let sessions = sessions(70);
    let all: Vec<_> = (0..65).map(|second| open(&sessions, "u", second / 10)).collect();
    assert_eq!(found(&sessions, &all[0].0, 7), "Replaced", "of one principal the oldest ends");
    assert_eq!(all.iter().filter(|(_, session)| session.ended().is_none()).count(), 64);
    // What was ended makes room first.
    for number in 0..6 {
        open(&sessions, &format!("v{number}"), 7);
    }
    assert_eq!(sessions.len(), 70);
    assert_eq!(sessions.open(opening("w", None), at(7)).unwrap_err(), NoSession::Full);
    assert_eq!(found(&sessions, &all[64].0, 8), "live", "whoever is in stays in");
    // And what has run out.
    assert!(sessions.open(opening("w", None), at(68)).is_ok());
}

#[test]
fn what_is_kept_opens_again_and_what_was_ended_does_not() {
    let (first, notes) = (sessions(10), Arc::new(Notes::default()));
    first.keep_in(Arc::clone(&notes) as Arc<dyn SessionStore>);
    let (id, session) = open(&first, "u", 0);
    let (gone, ended) = open(&first, "v", 0);
    first.raise(&session.key, "hwk", at(5)).unwrap();
    assert_eq!(found(&first, &id, 20), "live");
    first.end(&ended.key, EndCause::LoggedOut);
    first.sweep(at(21));
    let changes = notes.taken();
    let mut rows: Vec<SavedSession> = Vec::new();
    for change in changes {
        match change {
            SessionChange::Save(saved) => {
                rows.retain(|row| row.key != saved.key);
                rows.push(*saved);
            }
            SessionChange::Seen(key, seen) => {
                rows.iter_mut().filter(|row| row.key == key).for_each(|row| row.seen = seen);
            }
            SessionChange::Remove(key) => rows.retain(|row| row.key != key),
        }
    }
    assert_eq!(rows.len(), 1);
    assert!(!format!("{rows:?}").contains(&id.expose()), "the store opens nothing");
    let second = sessions(10);
    assert_eq!(second.restore(rows.clone(), at(30)), 1);
    let Found::Live(restored) = second.find(&id, at(31), true) else { panic!("it is not there") };
    let expected = first.get(&session.key, at(21)).unwrap();
    assert_eq!(restored.principal, expected.principal);
    assert_eq!((restored.created, restored.until, &restored.raised), (at(0), at(600), &expected.raised));
    assert_eq!((restored.fingerprint, &*restored.subject), (7, "u"));
    assert_eq!(restored.host.as_deref(), Some("app.test:8080"), "also after it was rotated and raised");
    assert_eq!(found(&second, &gone, 31), "none");
    assert_eq!(second.revoke_principal("user:corp:u").0.len(), 1);
    // After its time it is none.
    assert_eq!(sessions(10).restore(rows.clone(), at(100)), 0);
    let broken = |content: &str| SavedSession { content: content.to_owned(), ..rows[0].clone() };
    for content in ["", "{}", "{\"principal\":{}}", "{\"principal\":{\"kind\":\"user\",\"id\":\"u\"}}"] {
        assert_eq!(sessions(10).restore([broken(content)], at(30)), 0, "{content}");
    }
}

#[test]
fn what_changes_is_written_once() {
    let (sessions, notes) = (sessions(10), Arc::new(Notes::default()));
    sessions.keep_in(Arc::clone(&notes) as Arc<dyn SessionStore>);
    let (id, session) = open(&sessions, "u", 0);
    assert!(matches!(notes.taken().as_slice(), [SessionChange::Save(_)]));
    sessions.sweep(at(1));
    assert!(notes.taken().is_empty());
    assert_eq!(found(&sessions, &id, 10), "live");
    sessions.sweep(at(11));
    assert_eq!(notes.taken(), [SessionChange::Seen(session.key, at(10))]);
    sessions.mark_all();
    sessions.sweep(at(12));
    assert!(matches!(notes.taken().as_slice(), [SessionChange::Save(_)]));
    sessions.rotate(&session.key, at(13)).unwrap();
    assert!(
        matches!(notes.taken().as_slice(), [SessionChange::Remove(key), SessionChange::Save(_)] if *key == session.key)
    );
    // The store knows by itself what has run out.
    sessions.sweep(at(200));
    assert!(notes.taken().is_empty() && sessions.is_empty());
}

#[test]
fn a_list_shows_who_is_in_and_no_secret() {
    let sessions = sessions(10);
    let (id, _) = open(&sessions, "u", 0);
    open(&sessions, "v", 5);
    let entries = sessions.entries(at(10), 10);
    let principals: Vec<&str> = entries.iter().map(|entry| entry.principal.as_str()).collect();
    assert_eq!(principals, ["user:corp:v", "user:corp:u"]);
    assert!(!format!("{entries:?}").contains(&id.expose()));
    assert_eq!(sessions.entries(at(10), 1).len(), 1);
    assert!(sessions.entries(at(1_000), 10).is_empty());
}

#[test]
fn the_store_can_be_waited_for_where_a_runtime_is_entered() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (writing, written) = Written::pair();
    let thread = std::thread::spawn(move || writing.end(Ok(())));
    assert_eq!(runtime.block_on(async { written.wait() }), Ok(()));
    thread.join().unwrap();
    let (writing, written) = Written::pair();
    drop(writing);
    assert!(written.wait().is_err(), "nobody will answer");
}
