//! What is revoked is in force whatever the disk does, and on it as soon as that can be.

use super::*;

fn new(what: &str, name: &str) -> NewRevocation {
    NewRevocation { what: what.into(), name: name.into(), before: None, for_s: None, reason: "lost".into() }
}

fn file(folder: &tempfile::TempDir) -> Settings {
    Settings { path: folder.path().join("store.db") }
}

#[test]
fn what_is_answered_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    for (what, name) in [("token", "a"), ("key", "ci"), ("principal", "user:alice")] {
        let told = revoking.revoke(&new(what, name)).unwrap();
        assert!(told.contains(name) && !told.contains("not kept"), "{told}");
    }
    revoking.lift("key", "ci").unwrap();
    // A process that begins now, as after a kill.
    let again = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
    assert_eq!(again.shown().revocations.len(), 2);
    assert!(again.lift("key", "ci").unwrap_err().contains("not revoked"));
    // The other one is told something meanwhile.
    revoking.revoke(&new("key", "late")).unwrap();
    again.look();
    assert_eq!(again.shown().revocations.len(), 3);
    again.lift("principal", "user:alice").unwrap();
    revoking.look();
    assert_eq!(revoking.shown().revocations.len(), 2);
}

#[test]
fn a_principal_stays_revoked_until_it_is_lifted_and_a_token_for_ninety_days() {
    let revoking = Revoking::restored(None, None).unwrap();
    for (what, name, ends) in [("token", "a", true), ("key", "ci", false), ("principal", "user:alice", false)] {
        revoking.revoke(&new(what, name)).unwrap();
        let shown = revoking.shown().revocations.into_iter().find(|each| each.name == name).unwrap();
        assert_eq!(shown.until.is_some(), ends, "{what}");
    }
}

#[test]
fn what_cannot_be_written_down_is_in_force_until_it_can_and_that_is_told_as_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    revoking.revoke(&new("token", "a")).unwrap();
    // Nobody can write to it.
    let elsewhere = folder.path().join("elsewhere.db");
    std::fs::rename(&settings.path, &elsewhere).unwrap();
    let told = revoking.revoke(&new("token", "b")).unwrap_err();
    assert!(told.contains("token b is revoked until") && told.contains("IN THIS PROCESS ALONE"), "{told}");
    assert!(revoking.lift("token", "a").unwrap_err().contains("stays revoked"));
    assert_eq!(revoking.kept(), [("a".to_owned(), true), ("b".to_owned(), false)]);
    revoking.look();
    assert_eq!(revoking.kept(), [("a".to_owned(), true), ("b".to_owned(), false)]);
    // What another process writes meanwhile takes nothing of it out of force.
    let free = revoking.hang();
    std::fs::rename(&elsewhere, &settings.path).unwrap();
    let other = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
    assert_eq!(other.kept(), [("a".to_owned(), true)]);
    other.revoke(&new("key", "c")).unwrap();
    drop(free);
    revoking.look();
    assert_eq!(revoking.kept().into_iter().filter(|(_, kept)| *kept).count(), 3);
    assert!(revoking.in_force.unwritten().is_empty());
    other.look();
    assert_eq!(other.shown().revocations.len(), 3);
}

#[test]
fn while_the_disk_hangs_a_revocation_is_in_force_and_seen_and_nobody_waits_without_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let mut revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    revoking.revoke(&new("token", "a")).unwrap();
    let free = revoking.hang();
    std::thread::scope(|scope| {
        let revoking = &revoking;
        let told = scope.spawn(move || revoking.revoke(&new("token", "b")));
        // Whoever revokes waits for the disk; what is revoked does not.
        while revoking.all().find(&Revoked::Token("b".into()), Timestamp::now()).is_none() {
            std::thread::yield_now();
        }
        assert_eq!(revoking.kept(), [("a".to_owned(), true), ("b".to_owned(), false)]);
        assert!(!told.is_finished());
        drop(free);
        let told = told.join().unwrap().unwrap();
        assert!(told.contains("token b is revoked until") && !told.contains("ALONE"), "{told}");
    });
    assert!(revoking.kept().iter().all(|(_, kept)| *kept));
    // It hangs for longer than somebody waits.
    revoking.book.as_mut().unwrap().patience = Duration::from_millis(20);
    let free = revoking.hang();
    let told = revoking.revoke(&new("token", "c")).unwrap_err();
    assert!(told.contains("IN THIS PROCESS ALONE") && told.contains("has not answered"), "{told}");
    let told = revoking.lift("token", "a").unwrap_err();
    assert!(told.contains("stays revoked") && told.contains("has not answered"), "{told}");
    let expected = [("a".to_owned(), true), ("b".to_owned(), true), ("c".to_owned(), false)];
    assert_eq!(revoking.kept(), expected);
    // Once it answers all is as it was told: what was revoked is written, and what was not lifted stays, there as well.
    drop(free);
    revoking.book.as_mut().unwrap().patience = PATIENCE;
    revoking.look();
    revoking.look();
    assert_eq!(revoking.kept(), expected.map(|(name, _)| (name, true)));
    let again = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
    assert_eq!(again.kept().len(), 3);
    revoking.lift("token", "a").unwrap();
    assert_eq!(revoking.kept().len(), 2);
}

#[test]
fn however_many_wait_for_a_disk_that_hangs_the_next_one_is_in_force_and_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let mut revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    revoking.book.as_mut().unwrap().patience = Duration::from_millis(1);
    let free = revoking.hang();
    for number in 0..WAITING + 8 {
        let told = revoking.revoke(&new("token", &number.to_string())).unwrap_err();
        assert!(told.contains("IN THIS PROCESS ALONE"), "{told}");
    }
    assert_eq!(revoking.kept().len(), WAITING + 8);
    // It is full, so nobody is asked to end; and nobody waits for it.
    revoking.shutdown();
    drop(free);
}

#[test]
fn a_milder_revocation_never_takes_the_place_of_a_stricter_one_that_is_not_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let mut revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    // The disk hangs, then there is room again, and the milder one is the first to be written.
    revoking.book.as_mut().unwrap().patience = Duration::from_millis(1);
    let free = revoking.hang();
    revoking.revoke(&new("principal", "user:alice")).unwrap_err();
    let alice = Revoked::parse("principal", "user:alice").unwrap();
    let strict = revoking.all().find(&alice, Timestamp::now()).unwrap();
    assert_eq!(strict.until, None);
    drop(free);
    revoking.book.as_mut().unwrap().patience = PATIENCE;
    let milder = NewRevocation {
        before: Some(Timestamp::now().checked_sub(SignedDuration::from_hours(1)).unwrap().to_string()),
        for_s: Some(3_600),
        ..new("principal", "user:alice")
    };
    revoking.revoke(&milder).unwrap();
    revoking.look();
    for revoking in [&revoking, &Revoking::restored(Some(&settings), Some(&database)).unwrap()] {
        let found = revoking.all().find(&alice, Timestamp::now()).unwrap();
        assert_eq!((found.before.as_microsecond(), found.until), (strict.before.as_microsecond(), None));
        assert_eq!(revoking.kept(), [("user:alice".to_owned(), true)]);
    }
}

#[test]
fn what_is_made_stricter_while_it_is_written_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    let free = revoking.hang();
    let alice = Revoked::parse("principal", "user:alice").unwrap();
    let now = Timestamp::now();
    let earlier = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
    let one = |before, until| Revocation { what: alice.clone(), before, made: now, until, reason: "x".into() };
    let in_an_hour = now.checked_add(SignedDuration::from_hours(1)).ok();
    revoking.in_force.revoke(one(earlier, in_an_hour), now, true).unwrap();
    revoking.in_force.revoke(one(now, None), now, true).unwrap();
    // What stands there is what is in force, however many were revoked before one of them was written.
    let unwritten = revoking.in_force.unwritten().values().cloned().collect::<Vec<_>>();
    assert_eq!(unwritten.iter().map(|each| (each.before, each.until)).collect::<Vec<_>>(), [(now, None)]);
    drop(free);
    revoking.look();
    assert_eq!(revoking.kept(), [("user:alice".to_owned(), true)]);
    assert_eq!(revoking.all().find(&alice, now).unwrap().until, None);
}

impl Revoking {
    /// Has the disk hang until what is returned is dropped.
    fn hang(&self) -> SyncSender<()> {
        let (free, hangs) = sync_channel(0);
        self.book.as_ref().unwrap().jobs.send(Job::Hang(hangs)).unwrap();
        // Once it takes something, it hangs.
        free.send(()).unwrap();
        free
    }

    /// Has done what is done each second, and waits for it.
    fn look(&self) {
        let (done, looked) = sync_channel(1);
        self.book.as_ref().unwrap().jobs.send(Job::Look(done)).unwrap();
        looked.recv().unwrap();
    }

    /// Names, and whether they survive a restart.
    fn kept(&self) -> Vec<(String, bool)> {
        let mut all: Vec<_> = self.shown().revocations.into_iter().map(|each| (each.name, each.kept)).collect();
        all.sort();
        all
    }
}

#[test]
fn without_a_store_that_is_said() {
    let revoking = Revoking::restored(None, None).unwrap();
    assert!(revoking.revoke(&new("token", "a")).unwrap().contains("not kept over a restart"));
    assert!(!revoking.shown().kept);
}

#[test]
fn what_makes_no_sense_revokes_nothing() {
    let revoking = Revoking::restored(None, None).unwrap();
    let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap().to_string();
    for (bad, expected) in [
        (new("key", "NO"), "a key's id"),
        (new("principal", "alice"), "`user:ID`"),
        (new("token", ""), "a `jti`"),
        (NewRevocation { reason: " ".into(), ..new("token", "a") }, "the reason"),
        (NewRevocation { reason: "x".repeat(129), ..new("token", "a") }, "the reason"),
        (NewRevocation { for_s: Some(0), ..new("token", "a") }, "a second to ten years"),
        (NewRevocation { before: Some("yesterday".into()), ..new("principal", "user:a") }, "RFC 3339"),
        (NewRevocation { before: Some(later), ..new("principal", "user:a") }, "lies ahead"),
    ] {
        let told = revoking.revoke(&bad).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
    assert!(revoking.shown().revocations.is_empty());
}

#[test]
fn one_row_that_is_damaged_keeps_no_other_from_counting_and_what_it_names_stays_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(&folder);
    let database = Database::open(&settings).unwrap();
    let revoking = Revoking::restored(Some(&settings), Some(&database)).unwrap();
    let now = Timestamp::now();
    revoking.revoke(&new("principal", "user:alice")).unwrap();
    revoking.revoke(&new("key", "ci")).unwrap();
    // Another process, or a disk, leaves rows that say no time, and one that names nothing.
    let book = RevocationBook::of(&settings);
    let row = |what: &str, name: &str, before, until| portcullis_store::RevocationRow {
        what: what.into(),
        name: name.into(),
        before,
        made: 7,
        until,
        reason: "lost".into(),
    };
    book.write(&row("principal", "user:bob", i64::MAX, None), 1).unwrap();
    book.write(&row("token", "t", 5, Some(i64::MAX)), 1).unwrap();
    book.remove("key", "ci").unwrap();
    book.write(&row("keys", "ci", 5, None), 1).unwrap();
    // And somebody revokes with the other process of a takeover.
    book.write(&row("principal", "user:cem", 9, None), 1).unwrap();
    revoking.look();
    let names = ["ci", "t", "user:alice", "user:bob", "user:cem"];
    assert_eq!(revoking.kept().iter().map(|(name, _)| &**name).collect::<Vec<_>>(), names);
    assert_eq!((revoking.damaged(), revoking.shown().damaged), (3, 3));
    let bob = revoking.all().find(&Revoked::parse("principal", "user:bob").unwrap(), now).unwrap();
    assert_eq!((bob.before, bob.until), (Timestamp::MAX, None), "whenever it was issued");
    // It is looked again, and what somebody lifts is lifted.
    for what in [("principal", "user:bob"), ("key", "ci"), ("token", "t")] {
        revoking.lift(what.0, what.1).unwrap();
    }
    revoking.look();
    assert_eq!(revoking.kept().iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["user:alice", "user:cem"]);
    assert_eq!(revoking.damaged(), 1);
    // A process that begins does not know whom the one is of that names nothing.
    let again = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap()));
    assert!(again.unwrap_err().to_string().contains("a revocation of a keys that is none"));
    book.remove("keys", "ci").unwrap();
    book.write(&row("principal", "user:bob", i64::MAX, None), 1).unwrap();
    let again = Revoking::restored(Some(&settings), Some(&Database::open(&settings).unwrap())).unwrap();
    assert_eq!((again.shown().revocations.len(), again.damaged()), (3, 1));
}
