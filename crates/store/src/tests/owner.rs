//! Two processes on one file.

use super::*;

#[test]
fn an_older_gateway_on_the_file_undoes_nothing_of_the_newer_one() {
    let place = Place::new();
    let mut old_file = place.open();
    let (old, _) = begin(&mut old_file, start());
    old.watch(Box::new(|| {}));
    let revoke = |id: &str| Demand::Revoke(PrincipalKind::User, id.into());
    for n in 1..=3 {
        old.impose(&format!("198.51.100.{n}").parse().unwrap(), after(6_000), "old", start()).unwrap();
    }
    for id in ["x", "y"] {
        old.demand(&revoke(id), "alert", start(), after(600), start()).unwrap();
    }
    learn(&old, "alice", start());
    save_all(&mut old_file, &old, start());

    let mut new_file = place.open();
    let (new, restored) = begin(&mut new_file, after(10));
    new.watch(Box::new(|| {}));
    assert_eq!((restored.bans, restored.demands), (3, 2));
    assert!(new.lift(&"198.51.100.1".parse().unwrap()) && new.release(&revoke("x"), "alert"));
    new.demand(&revoke("z"), "alert", after(11), after(600), after(11)).unwrap();
    new.impose(&"198.51.100.9".parse().unwrap(), after(6_000), "new", after(11)).unwrap();
    learn(&new, "bob", after(11));
    save_all(&mut new_file, &new, after(11));

    // The old one, which drains, still bans and demands, lifts, and has to write all it has once more.
    old.impose(&"198.51.100.4".parse().unwrap(), after(6_000), "old, late", after(12)).unwrap();
    old.impose(&"198.51.100.9".parse().unwrap(), after(60), "shorter", after(12)).unwrap();
    old.demand(&revoke("late"), "alert", after(12), after(600), after(12)).unwrap();
    assert!(old.lift(&"198.51.100.2".parse().unwrap()) && old.release(&revoke("y"), "alert"));
    learn(&old, "carol", after(12));
    old.mark_all();
    save_all(&mut old_file, &old, after(12));
    old_file.prune(&portcullis_risk::state::Bounds { bans: 0, ..old.bounds() }, even(after(12))).unwrap();
    old_file.follow_the_clock(SignedDuration::from_hours(1), even(after(12))).unwrap();
    let names = |table: &str| -> Vec<String> {
        let db = place.look();
        let mut statement = db.prepare(&format!("SELECT name FROM {table} ORDER BY name")).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().flatten().collect()
    };
    assert_eq!(names("ban"), ["198.51.100.2/32", "198.51.100.3/32", "198.51.100.4/32", "198.51.100.9/32"]);
    assert_eq!(times(&place, "until", "ban"), [after(6_000).as_microsecond(); 4]);
    assert_eq!(names("demand"), ["late", "y", "z"]);
    assert_eq!(place.count("profile"), 2);

    // The newer one goes first: the file is the other one's again, which is told to write all.
    let before = even(after(13));
    assert!(!old_file.write(&Changes::default(), before).unwrap());
    new_file.close().unwrap();
    assert!(old_file.write(&Changes::default(), before).unwrap());
    assert!(!old_file.write(&Changes::default(), before).unwrap());
    save_all(&mut old_file, &old, after(13));
    assert!(old.lift(&"198.51.100.4".parse().unwrap()));
    save_all(&mut old_file, &old, after(13));
    assert!(!names("ban").contains(&"198.51.100.4/32".to_owned()));
}

#[test]
fn a_newer_version_that_took_over_is_left_alone() {
    let place = Place::new();
    let mut database = place.open();
    let (engine, _) = begin(&mut database, start());
    offend(&engine, "198.51.100.1", start());
    place.look().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = database.save(&engine.urgent_changes(usize::MAX, even(start())), even(start())).unwrap_err();
    assert!(matches!(error.trouble, Trouble::Newer { .. }), "{error}");
    assert_eq!(place.count("ban"), 0);
}
