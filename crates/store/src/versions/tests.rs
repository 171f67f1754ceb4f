//! The log of versions in a file: after a restart, copied, and of two who write.

use portcullis_governance::{
    ApproverSet, Assessed, Class, Content, Governor, HeadFile, Kind, PolicySource, Rules, SigningKey, URGENT_OPEN, Wish,
};

use super::*;

/// What is governed is all of it, and it demands nothing.
struct Plain;

impl PolicySource for Plain {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        Ok(Assessed { rules: Rules::default(), governed: content.hash() })
    }

    fn class(&self, _: &Content, _: &Content) -> Class {
        Class::Mixed
    }
}

fn content(text: &str) -> Content {
    Content { files: [("policy.toml".to_owned(), text.as_bytes().to_vec())].into() }
}

fn wish(text: &str) -> Wish {
    Wish {
        kind: Kind::Change,
        content: content(text),
        approvers: None,
        authors: vec!["test".to_owned()],
        reason: "a test".to_owned(),
        ticket: String::new(),
        impact: Vec::new(),
        restores: 0,
    }
}

fn note(
    governor: &mut Governor,
    wish: Wish,
) -> Result<(u64, bool, Option<portcullis_governance::GovernanceError>), portcullis_governance::GovernanceError> {
    let assessed = Plain.assess(&wish.content).unwrap();
    governor.note(&wish, (assessed, Class::Mixed), now())
}

fn governor(path: &Path) -> Governor {
    let versions = Versions::open(&Settings { path: path.to_owned() }).unwrap();
    Governor::open(Box::new(versions), Box::new(HeadFile::beside(path)), Box::new(Plain), None).unwrap().0
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000).unwrap()
}

#[test]
fn versions_and_proposals_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    let mut first = governor(&path);
    note(&mut first, wish("one")).unwrap();
    let change = first.propose(&wish(&"two".repeat(100_000)), now()).unwrap();
    let mut set = ApproverSet::default();
    let key = SigningKey::generate().unwrap().0;
    set.add("ana", &[], key.public(), now()).unwrap();
    let keys = Wish { kind: Kind::Keys, approvers: Some(set.clone()), ..wish("one") };
    let keys = first.propose(&keys, now()).unwrap();
    drop(first);
    let mut second = governor(&path);
    assert_eq!((second.n(), second.proposals(now()).unwrap().len()), (1, 2));
    second.activate(change.id, "test", now()).unwrap();
    assert!(second.activate(keys.id, "test", now()).is_err(), "of another base");
    drop(second);
    let third = governor(&path);
    assert_eq!((third.n(), third.live().unwrap()), (2, content(&"two".repeat(100_000))));
    assert_eq!(third.verify_all().unwrap(), 2);
    assert_eq!(third.content_of(&third.version(1).unwrap()).unwrap(), content("one"));
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 200_000, "{size}: it is compressed");
}

#[test]
fn of_two_who_append_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    let (mut one, mut other) = (governor(&path), governor(&path));
    note(&mut one, wish("one")).unwrap();
    let error = note(&mut other, wish("other")).unwrap_err();
    assert!(error.to_string().contains("meanwhile"), "{error}");
    assert_eq!(governor(&path).live().unwrap(), content("one"));
}

#[test]
fn a_copy_is_whole_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    let mut live = governor(&path);
    note(&mut live, wish("one")).unwrap();
    let versions = Versions::open(&Settings { path: path.clone() }).unwrap();
    let copy = folder.path().join("copy.db");
    versions.copy_to(&copy).unwrap();
    note(&mut live, wish("two")).unwrap();
    assert!(versions.copy_to(&copy).is_err(), "what is there is not written over");
    let copied = governor(&copy);
    assert_eq!((copied.n(), copied.live().unwrap()), (1, content("one")));
}

#[test]
fn the_log_of_a_newer_store_goes_into_an_older_one_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("portcullis.db"), folder.path().join("copy.db"));
    let mut live = governor(&path);
    note(&mut live, wish("one")).unwrap();
    Versions::open(&Settings { path: path.clone() }).unwrap().copy_to(&copy).unwrap();
    note(&mut live, wish("two")).unwrap();
    drop(live);
    let revoked = |name: &str| format!("INSERT INTO revocation VALUES ('key', '{name}', 1, 1, NULL, 'test')");
    Connection::open(&path).unwrap().execute(&revoked("new"), []).unwrap();
    Connection::open(&copy).unwrap().execute(&revoked("old"), []).unwrap();
    for (path, name, counter) in [(&path, "new", 9), (&copy, "old", 5)] {
        let db = Connection::open(path).unwrap();
        db.execute("INSERT INTO session VALUES (CAST(?1 AS BLOB), 'p', ?1, NULL, 0, 0, 0, 0, 0, '{}')", [name])
            .unwrap();
        let factor = "INSERT INTO factor VALUES ('user:a', x'01', 1, 'app', 0, NULL, 1, ?1, NULL, 0, x'', 1)";
        db.execute(factor, [counter]).unwrap();
    }
    let used = Connection::open(&path).unwrap();
    used.execute("INSERT INTO used_once VALUES (x'01', 9)", []).unwrap();
    drop(used);
    let mut older = Versions::open(&Settings { path: copy.clone() }).unwrap();
    assert_eq!(older.take_from(&path, false).unwrap(), Taken { power: true, changes: false });
    let db = Connection::open(&copy).unwrap();
    let used = db.query_row("SELECT count(*) FROM used_once", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(used, 1, "what a login confirmed once confirms nothing again");
    drop(db);
    assert_eq!(older.last().unwrap().unwrap().0, 1, "the log is not asked for");
    let subjects = |path: &Path| {
        let db = Connection::open(path).unwrap();
        let rows: Vec<String> = db
            .prepare("SELECT subject FROM session ORDER BY subject")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let counter = db.query_row("SELECT counter FROM factor", [], |row| row.get::<_, i64>(0));
        (rows, counter.unwrap())
    };
    assert_eq!(subjects(&copy), (vec!["new".to_owned()], 9), "a session that was ended does not come back, nor a code");
    assert_eq!(older.take_from(&path, true).unwrap(), Taken { power: true, changes: true });
    older.close().unwrap();
    assert!(!folder.path().join("copy.db-wal").exists());
    let rows = Connection::open(&copy).unwrap().query_row("SELECT count(*) FROM revocation", [], |row| row.get(0));
    assert_eq!(rows, Ok(2), "nothing that is revoked on either side is lost");
    let taken = governor(&copy);
    assert_eq!((taken.verify_all().unwrap(), taken.live().unwrap()), (2, content("two")));
}

#[test]
fn versions_that_are_not_believed_are_dropped_and_their_changes_are_as_if_overtaken() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().join("store.db") };
    let mut versions = Versions::open(&settings).unwrap();
    let ids = [1, 2, 3].map(|byte| ChangeId([byte; 16]));
    let refers = [Hash::of(b"content"); 3];
    for (n, id) in (1..).zip(ids) {
        versions.propose(id, b"change", refers, &[(refers[0], b"content")]).unwrap();
        let record = &id.0;
        let new = NewVersion { n, hash: Hash::of(record), record, refers, done: Some(id), rollout: Some(b"row") };
        versions.append(new, &[]).unwrap();
    }
    // What has ended otherwise stays as it ended.
    Ledger::close(&mut versions, ids[1], ChangeState::Rejected).unwrap();
    versions.drop_after(2, &ids[2..], Some(b"row")).unwrap();
    assert_eq!(versions.rollout().unwrap().as_deref(), Some(&b"row"[..]), "it is of one that stays");
    versions.drop_after(1, &ids[1..], Some(b"another")).unwrap();
    assert_eq!((versions.last().unwrap().unwrap().0, versions.rollout().unwrap()), (1, None));
    let states: Vec<_> = versions.changes().unwrap().into_iter().map(|(id, change)| (id.0[0], change.state)).collect();
    assert_eq!(states, [(3, ChangeState::Overtaken), (2, ChangeState::Rejected), (1, ChangeState::Activated)]);
    assert_eq!(versions.blob(refers[0]).unwrap().as_deref(), Some(&b"content"[..]));
}

#[test]
fn how_far_a_version_has_come_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    let mut first = governor(&path);
    note(&mut first, wish("one")).unwrap();
    let change = first.propose(&wish("two"), now()).unwrap();
    first.begin_rollout(change.id, "test", now()).unwrap();
    let far = portcullis_governance::Rollout { spent_ms: 5, ..portcullis_governance::Rollout::new(2, change.id) };
    first.note_progress(far).unwrap();
    drop(first);
    let mut second = governor(&path);
    assert_eq!((second.standing().rollout, second.served().unwrap().1), (Some(far), content("one")));
    second.take_back("too much", &[], now()).unwrap();
    drop(second);
    let third = governor(&path);
    assert_eq!((third.standing().rollout, third.n(), third.live().unwrap()), (None, 3, content("one")));
}

/// Each of two processes writes in the place of what it knows, and of nothing else.
#[test]
fn how_far_a_version_has_come_is_written_over_by_nobody_who_does_not_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().join("portcullis.db") };
    let (mut one, mut other) = (Versions::open(&settings).unwrap(), Versions::open(&settings).unwrap());
    let overtaken = Err(LedgerError::Overtaken);
    assert_eq!(one.set_rollout(Some(b"never"), Some(b"a")), overtaken);
    assert_eq!(one.set_rollout(Some(b"never"), None), overtaken);
    assert_eq!((one.set_rollout(None, None), one.set_rollout(None, Some(b"a"))), (Ok(()), Ok(())));
    assert_eq!(other.set_rollout(None, Some(b"b")), overtaken);
    assert_eq!(other.set_rollout(None, None), overtaken);
    assert_eq!(other.set_rollout(Some(b"a"), Some(b"b")), Ok(()));
    assert_eq!(
        (one.set_rollout(Some(b"a"), Some(b"c")), one.set_rollout(Some(b"a"), None)),
        (overtaken.clone(), overtaken)
    );
    assert_eq!(one.rollout().unwrap().as_deref(), Some(&b"b"[..]));
    assert_eq!((one.set_rollout(Some(b"b"), None), one.rollout()), (Ok(()), Ok(None)));
}

/// How a version comes into force is there with it, or neither is.
#[test]
fn a_version_and_how_it_comes_into_force_are_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut versions = Versions::open(&Settings { path: folder.path().join("portcullis.db") }).unwrap();
    let new =
        |n, rollout| NewVersion { n, hash: Hash([1; 32]), record: b"v", refers: [Hash::NONE; 3], done: None, rollout };
    versions.append(new(1, Some(b"a")), &[]).unwrap();
    assert_eq!(versions.append(new(3, Some(b"b")), &[]), Err(LedgerError::Conflict));
    assert_eq!(versions.rollout().unwrap().as_deref(), Some(&b"a"[..]));
    versions.append(new(2, None), &[]).unwrap();
    assert_eq!(versions.rollout(), Ok(None), "what was kept of the one before is of no version any more");
}

#[test]
fn a_rollout_that_is_over_does_not_come_back_with_an_older_store_of_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("portcullis.db"), folder.path().join("copy.db"));
    let mut live = governor(&path);
    note(&mut live, wish("one")).unwrap();
    let change = live.propose(&wish("two"), now()).unwrap();
    live.begin_rollout(change.id, "test", now()).unwrap();
    Versions::open(&Settings { path: path.clone() }).unwrap().copy_to(&copy).unwrap();
    let taken = |from: &Path| {
        let mut older = Versions::open(&Settings { path: copy.clone() }).unwrap();
        older.take_from(from, false).unwrap();
        older.close().unwrap();
        let governor = governor(&copy);
        (governor.n(), governor.serving(), governor.standing().rollout)
    };
    let further = portcullis_governance::Rollout::new(2, change.id).next();
    live.note_progress(further).unwrap();
    assert_eq!(taken(&path), (2, 1, Some(further)));
    live.finish_rollout(2).unwrap();
    assert_eq!(taken(&path), (2, 2, None));
    // Of a log that has gone on nothing is taken that is not asked for.
    let change = live.propose(&wish("three"), now()).unwrap();
    live.begin_rollout(change.id, "test", now()).unwrap();
    assert_eq!(taken(&path), (2, 2, None));
}

#[test]
fn what_was_overtaken_is_kept_with_all_that_was_to_be_signed() {
    let folder = tempfile::tempdir().unwrap();
    let mut governor = governor(&folder.path().join("portcullis.db"));
    note(&mut governor, wish("one")).unwrap();
    let left = governor.propose(&Wish { impact: b"{}".to_vec(), ..wish("left") }, now()).unwrap();
    let rejected = governor.propose(&Wish { impact: b"[]".to_vec(), ..wish("rejected") }, now()).unwrap();
    governor.reject(rejected.id, now()).unwrap();
    note(&mut governor, wish("two")).unwrap();
    assert_eq!(governor.proposal(left.id, now()).unwrap().state, ChangeState::Overtaken);
    governor.propose(&wish("next"), now()).unwrap();
    assert_eq!(governor.request(left).unwrap().impact, b"{}");
    let said = governor.request(rejected).unwrap_err().to_string();
    assert!(
        said.contains(" any more, which change ") && said.contains("of changes that ended, files are kept"),
        "{said}"
    );
}

#[test]
fn what_ended_long_ago_goes_and_what_was_live_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    let mut governor = governor(&path);
    note(&mut governor, wish("one")).unwrap();
    let gone = governor.propose(&wish("never"), now()).unwrap();
    governor.reject(gone.id, now()).unwrap();
    assert_eq!(governor.proposal(gone.id, now()).unwrap().state, ChangeState::Rejected);
    let db = Connection::open(&path).unwrap();
    let count =
        |table: &str| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("change"), count("blob")), (1, 2));
    let foreseen = Wish { impact: b"{}".to_vec(), ..wish("next") };
    let next = governor.propose(&foreseen, now()).unwrap();
    assert_eq!((count("change"), count("blob"), count("version")), (2, 3, 1), "the content of `never` is gone");
    // It is still shown that it was, and the report of the one that waits is kept.
    assert_eq!(governor.proposals(now()).unwrap().len(), 2);
    assert_eq!(governor.impact_of(&next).unwrap(), b"{}");
    governor.activate(next.id, "test", now()).unwrap();
    governor.propose(&wish("after"), now()).unwrap();
    assert_eq!(governor.impact_of(&governor.version(2).unwrap().change).unwrap(), b"{}", "of what was live for ever");
    assert_eq!(governor.verify_all().unwrap(), 2);
    // Nobody fills all places alone, and the last ones are for what cannot wait: the store has the last word on all of them.
    let by = |n: usize| Wish { authors: vec![format!("person {}", n % 8)], ..wish(&format!("open {n}")) };
    let back = |n: usize| Wish { kind: Kind::Rollback, restores: 1, ..by(n) };
    for n in 1..MAX_OPEN {
        let wish = if n < MAX_OPEN - URGENT_OPEN { by(n) } else { back(n) };
        governor.propose(&wish, now()).unwrap();
    }
    assert!(governor.propose(&back(MAX_OPEN), now()).unwrap_err().to_string().contains("as many proposals"));
}

/// Finding of 2026-11: a backup had proposals open again that were rejected since, with their approvals, and dropped those that came since.
#[test]
fn what_waits_is_what_waits_now_where_both_logs_end_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("portcullis.db"), folder.path().join("copy.db"));
    let mut live = governor(&path);
    note(&mut live, wish("one")).unwrap();
    let rejected = live.propose(&wish("two"), now()).unwrap();
    let stays = live.propose(&wish("three"), now()).unwrap();
    Versions::open(&Settings { path: path.clone() }).unwrap().copy_to(&copy).unwrap();
    live.reject(rejected.id, now()).unwrap();
    let later = live.propose(&wish("four"), now()).unwrap();
    drop(live);
    let mut older = Versions::open(&Settings { path: copy.clone() }).unwrap();
    assert!(older.take_from(&path, false).unwrap().changes);
    older.close().unwrap();
    let mut restored = governor(&copy);
    let open: Vec<ChangeId> = restored.proposals(now()).unwrap().iter().map(|each| each.change.id).collect();
    assert!(open.contains(&stays.id) && open.contains(&later.id), "{open:?}");
    assert!(restored.activate(rejected.id, "test", now()).unwrap_err().to_string().contains("rejected"));
    restored.activate(later.id, "test", now()).unwrap();
    assert_eq!(restored.live().unwrap(), content("four"), "what it holds came with it");
    drop(restored);
    // The other way about: an older store says that it waits, and the backup knows that it was rejected.
    let mut newer = Versions::open(&Settings { path: path.clone() }).unwrap();
    let before = folder.path().join("before.db");
    newer.copy_to(&before).unwrap();
    Connection::open(&path).unwrap().execute("UPDATE change SET state = 0", []).unwrap();
    let mut knows = Versions::open(&Settings { path: before.clone() }).unwrap();
    knows.take_from(&path, false).unwrap();
    assert_eq!(knows.close_changes().unwrap(), 2, "one of three stays rejected");
    assert_eq!(newer.close_changes().unwrap(), 3);
}

/// Finding of 2026-11: bans and lifted suppressions of audits were undone by a restore.
#[test]
fn whoever_is_banned_on_either_side_is_and_what_was_lifted_of_audits_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["portcullis.db", "copy.db"].map(|name| folder.path().join(name));
    for path in [&path, &copy] {
        Versions::open(&Settings { path: path.clone() }).unwrap().close().unwrap();
    }
    let fill = |path: &Path, rows: &[(&str, i64, &str)]| {
        let db = Connection::open(path).unwrap();
        for (name, until, cause) in rows {
            let ban = "INSERT INTO ban VALUES (0, ?1, 0, 1, ?2, 1, ?3, 0, 0, 0)";
            db.execute(ban, params![name, until, cause]).unwrap();
            db.execute("INSERT INTO evidence VALUES (0, ?1, 0, ?2, '/')", [name, cause]).unwrap();
            db.execute("INSERT INTO demand VALUES (0, 0, ?1, 'a', 1, ?2, 0)", params![name, until]).unwrap();
        }
    };
    fill(&copy, &[("a/32", 9, "then"), ("b/32", 5, "then"), ("c/32", 5, "then")]);
    fill(&path, &[("a/32", 5, "now"), ("b/32", 9, "now"), ("d/32", 5, "now")]);
    let suppressed =
        "INSERT INTO audit_suppression (fingerprint, owner, reason, made, until) VALUES (?1, 'o', 'r', 1, 2)";
    Connection::open(&copy).unwrap().execute(suppressed, ["lifted"]).unwrap();
    Connection::open(&path).unwrap().execute(suppressed, ["later"]).unwrap();
    let mut older = Versions::open(&Settings { path: copy.clone() }).unwrap();
    older.take_from(&path, false).unwrap();
    let rows = |query: &str| -> Vec<String> {
        let mut statement = older.db.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let expected = ["a/32 9 then", "b/32 9 now", "c/32 5 then", "d/32 5 now"];
    let bans = "SELECT ban.name || ' ' || until || ' ' || reason FROM ban JOIN evidence USING (kind, name) ORDER BY 1";
    assert_eq!(rows(bans), expected);
    assert_eq!(rows("SELECT name || ' ' || until FROM demand ORDER BY 1"), ["a/32 9", "b/32 9", "c/32 5", "d/32 5"]);
    assert_eq!(rows("SELECT fingerprint FROM audit_suppression"), ["later"]);
}

#[test]
fn that_it_was_restored_is_kept_until_it_is_told_and_over_the_next_restore() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("portcullis.db"), folder.path().join("copy.db"));
    let mut store = Versions::open(&Settings { path: path.clone() }).unwrap();
    store.copy_to(&copy).unwrap();
    for at in [9, 10] {
        store.leave_restored(at, &format!("restored at {at}")).unwrap();
    }
    let mut older = Versions::open(&Settings { path: copy }).unwrap();
    older.take_from(&path, false).unwrap();
    assert_eq!(older.restored().unwrap(), ["restored at 9", "restored at 10"]);
    older.told_restored().unwrap();
    assert_eq!(older.restored().unwrap(), Vec::<String>::new());
    for at in 0..2 * 100 {
        older.leave_restored(at, "again").unwrap();
    }
    assert_eq!(older.restored().unwrap().len(), 100);
}

#[test]
fn a_store_that_was_moved_away_is_not_made_anew_where_one_is_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let [path, away] = ["portcullis.db", "away.db"].map(|name| folder.path().join(name));
    let settings = Settings { path: path.clone() };
    let _kept = Versions::open(&settings).unwrap();
    // All of it stands in what is written ahead.
    std::fs::rename(&path, &away).unwrap();
    assert!(Versions::open_made(&settings).is_err());
    assert!(!path.exists());
    std::fs::rename(&away, &path).unwrap();
    assert!(Versions::open_made(&settings).unwrap().last().unwrap().is_none());
}
