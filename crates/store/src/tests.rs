//! The file, from one process to the next; files that are none; disks that are full; and the thread that writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{ClientAddress, Principal, PrincipalKind};
use portcullis_risk::state::{Changes, Reading, Restored, StateStore as _};
use portcullis_risk::{Actor, Blame, Caller, CallerKeys, Demand, Observation, RiskEngine, Settings as Risk, Told};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::database::{Database, Settings};
use crate::error::Trouble;
use crate::keeping::{Keeping, Source, rest_is_due};

mod clock;
mod owner;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("portcullis.db")
    }

    fn open(&self) -> Database {
        Database::open(&Settings { path: self.path() }).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The file as somebody else sees it.
    fn look(&self) -> Connection {
        let db = Connection::open(self.path()).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db
    }

    fn count(&self, table: &str) -> i64 {
        self.look().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn even(now: Timestamp) -> Reading {
    Reading::beginning(now)
}

fn settings() -> Risk {
    Risk { max_profiles: 64, max_actors: 256, max_bans: 256, ..Risk::default() }
}

fn offend(engine: &RiskEngine, from: &str, now: Timestamp) {
    let peer = from.parse().unwrap();
    let failed = Observation {
        address: ClientAddress::known(peer),
        peer,
        principal: None,
        keys: CallerKeys::default(),
        attempted: None,
        path: "/login",
        told: Told::default(),
        blame: Blame::Caller,
        route: None,
        status: 401,
        reason: Some("authn.invalid"),
        upstream: false,
    };
    (0..20).find_map(|_| engine.observe(&failed, now)).expect("five failures ban");
}

fn learn(engine: &RiskEngine, id: &str, now: Timestamp) {
    let principal = Principal::user(id);
    let address = ClientAddress::known("203.0.113.7".parse().unwrap());
    let caller = Caller { user_agent: Some("curl/8"), ..Caller::new(address, Some(&principal)) };
    engine.learn(&caller, &engine.keys_of(&caller), false, now);
}

fn begin(database: &mut Database, now: Timestamp) -> (RiskEngine, Restored) {
    let engine = RiskEngine::with_secret(settings(), database.secret());
    let restored = database.restore(&engine, even(now)).unwrap_or_else(|error| panic!("{error}"));
    (engine, restored)
}

fn save_all(database: &mut Database, engine: &RiskEngine, now: Timestamp) {
    database.save(&engine.urgent_changes(usize::MAX, even(now)), even(now)).unwrap();
    database.save(&engine.changes(usize::MAX, even(now)), even(now)).unwrap();
}

#[test]
fn what_one_process_writes_the_next_one_begins_with() {
    let place = Place::new();
    let mut database = place.open();
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let (engine, restored) = begin(&mut database, start());
    assert_eq!(restored, Restored::default());
    engine.watch(Box::new(|| {}));
    for n in 0..5 {
        offend(&engine, &format!("198.51.100.{n}"), start());
    }
    for on in ["203.0.113.0/26", "2001:db8::1/128", "service:a'); DROP TABLE ban; --"] {
        engine.impose(&on.parse().unwrap(), after(600), "by hand: \u{1F6AA} \"why\"", start()).unwrap();
    }
    learn(&engine, "alice", start());
    engine
        .demand(&Demand::Revoke(PrincipalKind::User, "mallory".into()), "alert", start(), after(600), start())
        .unwrap();
    save_all(&mut database, &engine, start());
    let lifted: Actor = "198.51.100.4".parse().unwrap();
    assert!(engine.lift(&lifted));
    save_all(&mut database, &engine, after(1));
    // Killed: nothing is closed in order.
    std::mem::forget(database);

    let mut database = place.open();
    let (next, restored) = begin(&mut database, after(2));
    let expected = Restored { bans: 7, profiles: 1, demands: 1, ..Restored::default() };
    assert_eq!(restored, expected);
    let shown = |engine: &RiskEngine| {
        let bans = engine.bans(after(2));
        let mut shown: Vec<String> =
            bans.iter().map(|ban| format!("{} {:?} {:?}", ban.actor, ban.ban, ban.evidence)).collect();
        shown.sort();
        shown
    };
    assert_eq!(shown(&next), shown(&engine));
    assert_eq!((next.secret(), next.fingerprint()), (engine.secret(), engine.fingerprint()));
    assert!(next.ban_on_address("198.51.100.4".parse().unwrap(), after(2)).is_none());
}

#[test]
fn what_is_no_store_of_ours_is_refused_with_its_remedy_and_left_as_it_was() {
    let sql = |path: &Path, text: &str| Connection::open(path).unwrap().execute_batch(text).unwrap();
    let check = |what: &str, spoil: &dyn Fn(&Path), expected: &str, lasting: bool| {
        let place = Place::new();
        let mut database = place.open();
        let (engine, _) = begin(&mut database, start());
        for n in 0..60 {
            offend(&engine, &format!("198.51.100.{n}"), start());
        }
        save_all(&mut database, &engine, start());
        database.close().unwrap();
        spoil(&place.path());
        let before = fs::read(place.path()).ok();
        let tried = Database::open(&Settings { path: place.path() }).and_then(|mut database| {
            database.restore(&RiskEngine::with_secret(settings(), database.secret()), even(start()))
        });
        let error = tried.expect_err(what);
        let said = error.to_string();
        assert!(said.contains(expected) && said.contains("portcullis.db"), "{what}: {said}");
        assert_eq!(error.trouble.is_lasting(), lasting, "{what}: {said}");
        assert_eq!(fs::read(place.path()).ok(), before, "{what}: it is as it was");
    };
    let write = |content: &'static [u8]| move |path: &Path| fs::write(path, content).unwrap();
    check("a text", &write(b"version = 1\n# not a database, but long enough to look like one? no\n"), "damaged", true);
    check("a page of zeros", &write(&[0; 4_096]), "damaged", true);
    check(
        "another program's",
        &|path| {
            fs::remove_file(path).unwrap();
            sql(path, "CREATE TABLE t (a); PRAGMA application_id = 7");
        },
        "another program's",
        true,
    );
    check("a newer version's", &|path| sql(path, "PRAGMA user_version = 99"), "newer version", true);
    check("a table is gone", &|path| sql(path, "DROP TABLE ban"), "damaged", true);
    check("a column is gone", &|path| sql(path, "ALTER TABLE ban DROP COLUMN cause"), "damaged", true);
    check("a scope that is none", &|path| sql(path, "UPDATE ban SET scope = 7"), "damaged", true);
    check(
        "a name that is none",
        &|path| sql(path, "UPDATE ban SET name = 'x' || name"),
        "a network that is none",
        true,
    );
    check("a time that is none", &|path| sql(path, &format!("UPDATE ban SET until = {}", i64::MAX)), "damaged", true);
    check("a count that is none", &|path| sql(path, "UPDATE ban SET offences = -1"), "damaged", true);
    check(
        "a secret that is none",
        &|path| sql(path, "UPDATE kept SET value = x'00' WHERE name = 'secret'"),
        "damaged",
        true,
    );
    check("a page of noise", &spoil_pages, "damaged", true);
    check(
        "cut in the middle",
        &|path| {
            let content = fs::read(path).unwrap();
            fs::write(path, &content[..content.len() / 2]).unwrap();
        },
        "damaged",
        true,
    );
    check(
        "a folder",
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        "no regular file",
        true,
    );
    check("no folder", &|path| fs::remove_dir_all(path.parent().unwrap()).unwrap(), "its folder must be there", false);
}

/// Overwrites everything behind the first page.
fn spoil_pages(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content.iter_mut().enumerate().skip(4_096).for_each(|(at, byte)| *byte = (at * 7 % 251) as u8);
    fs::write(path, content).unwrap();
}

#[test]
fn an_empty_file_and_one_that_others_could_read_are_made_good() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    place.open().close().unwrap();
    let beside: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["portcullis.db"], "one file, when it is closed");
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_does_not_fit_on_the_disk_is_not_half_written() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    offend(&engine, "198.51.100.1", start());
    save_all(&mut database, &engine, start());
    let pages: i64 = database.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    database.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0)).unwrap();
    for n in 2..60 {
        offend(&engine, &format!("198.51.100.{n}"), start());
    }
    let changes = engine.urgent_changes(usize::MAX, even(start()));
    assert_eq!(changes.bans.len(), 58);
    let error = database.save(&changes, even(start())).unwrap_err();
    assert!(matches!(error.trouble, Trouble::Database(_)) && error.to_string().contains("full"), "{error}");
    assert_eq!(place.count("ban"), 1);
    database.db.query_row("PRAGMA max_page_count = 100000", [], |row| row.get::<_, i64>(0)).unwrap();
    database.save(&changes, even(start())).unwrap();
    assert_eq!((place.count("ban"), place.count("evidence")), (59, 59 * 5));
}

#[test]
fn profiles_under_keys_of_another_making_begin_anew_and_bans_do_not() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    offend(&engine, "198.51.100.1", start());
    learn(&engine, "alice", start());
    save_all(&mut database, &engine, start());
    database.db.execute("UPDATE kept SET value = value + 1 WHERE name = 'fingerprint'", []).unwrap();
    let (next, restored) = begin(&mut database, after(1));
    assert_eq!((restored.bans, restored.profiles, restored.forgotten), (1, 0, 1));
    assert_eq!(place.count("profile"), 1, "nothing is lost by looking");
    learn(&next, "bob", after(1));
    save_all(&mut database, &next, after(1));
    assert_eq!(place.count("profile"), 1);
    assert_eq!(begin(&mut database, after(1)).1.profiles, 1);
}

fn let_in(engine: &RiskEngine, from: &str, now: Timestamp) {
    let (principal, peer) = (Principal::user("alice"), from.parse().unwrap());
    let good = Observation {
        address: ClientAddress::known(peer),
        peer,
        principal: Some(&principal),
        keys: CallerKeys::default(),
        attempted: None,
        path: "/",
        told: Told::default(),
        blame: Blame::Caller,
        route: None,
        status: 200,
        reason: None,
        upstream: true,
    };
    assert!(engine.observe(&good, now).is_none());
}

/// When what is kept was or ends, by its column.
fn times(place: &Place, column: &str, table: &str) -> Vec<i64> {
    let db = place.look();
    let mut statement = db.prepare(&format!("SELECT {column} FROM {table} ORDER BY 1")).unwrap();
    let times = statement.query_map([], |row| row.get(0)).unwrap();
    times.collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    learn(&engine, "alice", start());
    learn(&engine, "bob", start());
    let_in(&engine, "203.0.113.7", start());
    save_all(&mut database, &engine, start());
    engine.mark_all();
    learn(&engine, "bob", after(100));
    let changes = engine.changes(usize::MAX, even(after(100)));
    assert_eq!((changes.profiles.len(), changes.healthy.len()), (2, 1));
    let before = database.db.total_changes();
    database.save(&changes, even(after(100))).unwrap();
    assert_eq!(times(&place, "written", "profile"), [start(), after(100)].map(Timestamp::as_microsecond));
    assert_eq!(database.db.total_changes() - before, 2, "the profile of bob, and the time");
}

#[test]
fn what_is_little_is_written_soon_and_what_is_much_seldom() {
    let check = |records: usize, since_s: Option<u64>, expected: bool| {
        assert_eq!(rest_is_due(records, since_s.map(Duration::from_secs)), expected, "{records} {since_s:?}");
    };
    check(250, Some(0), true);
    check(251, Some(2), false);
    check(251, Some(29), false);
    check(251, Some(30), true);
    check(100_000, None, true);
}

#[test]
fn a_lifted_ban_for_which_there_was_no_room_does_not_come_back() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    for n in 0..40 {
        offend(&engine, &format!("198.51.100.{n}"), start());
    }
    save_all(&mut database, &engine, start());
    let small = RiskEngine::with_secret(Risk { max_bans: 16, ..settings() }, database.secret());
    let restored = database.restore(&small, even(after(1))).unwrap();
    assert_eq!((restored.bans, restored.forgotten), (10, 30));
    small.watch(Box::new(|| {}));
    let held = |n: &u8| small.ban_on_address([198, 51, 100, *n].into(), after(1)).is_some();
    let missing = (0..40).find(|n| !held(n)).unwrap();
    let actor = Actor::address([198, 51, 100, missing].into());
    assert!(!small.lift(&actor), "it knows of none");
    save_all(&mut database, &small, after(1));
    let (next, restored) = begin(&mut database, after(2));
    assert_eq!(restored.bans, 39);
    assert!(next.own_ban(&actor, after(2)).is_none());
}

#[test]
fn what_stands_beside_the_file_is_closed_to_others_too() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    offend(&engine, "198.51.100.1", start());
    save_all(&mut database, &engine, start());
    let beside = ["-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", place.path().display())));
    for path in &beside {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let _second = place.open();
    for path in &beside {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn what_says_nothing_any_more_goes_and_the_rest_is_bounded() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    for n in 0..40 {
        offend(&engine, &format!("198.51.100.{n}"), start());
        learn(&engine, &format!("user-{n}"), start());
    }
    save_all(&mut database, &engine, start());
    let bounds = engine.bounds();
    database.prune(&bounds, even(after(600))).unwrap();
    assert_eq!((place.count("ban"), place.count("profile")), (40, 40));
    let small = portcullis_risk::state::Bounds { bans: 30, profiles: 20, ..bounds };
    database.prune(&small, even(after(600))).unwrap();
    assert_eq!((place.count("ban"), place.count("evidence"), place.count("profile")), (30, 150, 20));
    let demand = |id: &str| Demand::StepUp(PrincipalKind::User, id.into());
    for (n, id) in (0..).zip(["a", "b", "c"]) {
        engine.demand(&demand(id), "alert", start(), after(600 + n), start()).unwrap();
    }
    save_all(&mut database, &engine, start());
    database.prune(&bounds, even(after(601))).unwrap();
    assert_eq!(times(&place, "until", "demand"), [601, 602].map(|second| after(second).as_microsecond()));
    database.prune(&portcullis_risk::state::Bounds { demands: 1, ..bounds }, even(after(601))).unwrap();
    assert_eq!(times(&place, "until", "demand"), [after(602).as_microsecond()]);
    let later = start() + bounds.forgets_after + SignedDuration::from_hours(1);
    database.prune(&bounds, even(later)).unwrap();
    assert_eq!((place.count("ban"), place.count("evidence")), (0, 0));
}

/// An engine whose time is the test's to say.
struct Standing(RiskEngine);

impl Source for Standing {
    fn risk(&self) -> &RiskEngine {
        &self.0
    }

    fn now(&self) -> Reading {
        even(start())
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_thread_writes_what_changes_and_goes_on_after_a_failure() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    let source = Arc::new(Standing(engine));
    let keeping = Keeping::start(database, Arc::clone(&source) as Arc<dyn Source>).unwrap();
    offend(&source.0, "198.51.100.1", start());
    wait("the first ban", || place.count("ban") == 1);
    learn(&source.0, "alice", start());
    wait("the profile", || place.count("profile") == 1);
    assert_eq!((keeping.stats(&*source).failed, keeping.trouble()), (0, None));

    place
        .look()
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON ban BEGIN SELECT RAISE(FAIL, 'full'); END")
        .unwrap();
    offend(&source.0, "198.51.100.2", start());
    wait("the failure", || keeping.trouble().is_some());
    // The engine does not care, and what was lifted meanwhile is remembered.
    assert!(source.0.ban_on_address("198.51.100.2".parse().unwrap(), start()).is_some());
    assert!(source.0.lift(&"198.51.100.1".parse().unwrap()));
    let stats = keeping.stats(&*source);
    assert!(
        stats.failed > 0 && stats.pending > 0 && stats.trouble.as_deref().is_some_and(|why| why.contains("full")),
        "{stats:?}"
    );
    place.look().execute_batch("DROP TRIGGER full").unwrap();
    wait("the recovery", || keeping.trouble().is_none());
    wait("the second ban, without the first", || {
        let names: Vec<String> = place
            .look()
            .prepare("SELECT name FROM ban")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .flatten()
            .collect();
        names == ["198.51.100.2/32"]
    });

    learn(&source.0, "bob", start());
    assert!(keeping.shutdown(Duration::from_secs(60)));
    assert_eq!(place.count("profile"), 2);
    assert_eq!(keeping.stats(&*source).pending, 0);
}

#[test]
fn a_flood_of_bans_reaches_the_disk_whole() {
    let place = Place::new();
    let mut database = place.open();
    let settings = Risk { max_bans: 8_192, max_actors: 16_384, ..settings() };
    let engine = RiskEngine::with_secret(settings, database.secret());
    database.restore(&engine, even(start())).unwrap();
    let source = Arc::new(Standing(engine));
    let keeping = Keeping::start(database, Arc::clone(&source) as Arc<dyn Source>).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let source = &source;
            scope.spawn(move || {
                for n in 0..500 {
                    offend(&source.0, &format!("10.{thread}.{}.{}", n / 250, n % 250), start());
                }
            });
        }
    });
    wait("every ban", || place.count("ban") == 2_000);
    let stats = keeping.stats(&*source);
    assert!(stats.written < 500, "{stats:?}: they are gathered");
    assert!(keeping.shutdown(Duration::from_secs(60)));
}
