//! What is in a backup, and what is no backup.

use portcullis_governance::backup::create;

use super::lists::copied_lists;
use super::*;

fn place() -> (tempfile::TempDir, PathBuf, portcullis_store::Settings) {
    let folder = tempfile::tempdir().unwrap();
    let store = portcullis_store::Settings { path: folder.path().join("state.db") };
    Versions::open(&store).unwrap();
    let config = folder.path().join("portcullis.toml");
    (folder, config, store)
}

#[test]
fn lists_are_copied_before_they_are_hashed_and_nothing_else_of_their_folder() {
    let (folder, config, store) = place();
    let feeds = folder.path().join("feeds");
    fs::create_dir_all(feeds.join("below")).unwrap();
    fs::write(feeds.join("github"), "10.0.0.0/8\n").unwrap();
    let out = folder.path().join("backups/one.backup");
    let manifest = make(&config, &store, Some(&feeds), &out, None).unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [STORE, HEAD, "feeds/github"]);
    // The list is another one from here on, and the backup is what it was.
    let scratch = tempfile::tempdir().unwrap();
    let copies = copied_lists(&feeds, scratch.path()).unwrap();
    fs::write(feeds.join("github"), "").unwrap();
    assert_eq!(fs::read_to_string(&copies[0].1).unwrap(), "10.0.0.0/8\n");
    verify(&config, &out, None).unwrap();
}

#[test]
fn a_backup_that_cannot_be_restored_is_none_and_older_ones_stay() {
    let (folder, config, store) = place();
    let backups = folder.path().join("backups");
    let settings = Settings { path: backups.clone(), every: AGAIN, keep: 1, key: None };
    fs::create_dir(&backups).unwrap();
    fs::write(backups.join("portcullis-20260101T000000Z.backup"), "old").unwrap();
    // A log that was changed: its record is no version.
    forge(&store.path);
    let error = back_up(&settings, &config, &store, folder.path()).unwrap_err();
    assert!(matches!(error, BackingUpError::NotBelieved { .. }), "{error}");
    let left: Vec<_> = fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["portcullis-20260101T000000Z.backup"]);
}

/// Appends bytes that are no version, as somebody who can write the store.
fn forge(store: &Path) {
    let mut versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() }).unwrap();
    let version = portcullis_governance::NewVersion {
        n: 1,
        hash: Hash::of(b"forged"),
        record: b"forged",
        refers: [Hash::NONE; 3],
        done: None,
        rollout: None,
    };
    versions.append(version, &[]).unwrap();
}

#[test]
fn what_is_no_part_of_a_backup_is_not_laid_beside_the_store() {
    let (folder, config, store) = place();
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy.db");
    Versions::open(&store).unwrap().copy_to(&copy).unwrap();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name.replace('/', "-"));
        fs::write(&path, text).unwrap();
        (name.to_owned(), path)
    };
    let head = Head { n: 0, hash: Hash::NONE, required: false };
    for (odd, good) in [
        ("feeds/list", true),
        ("store.db-wal", false),
        ("store.db.head", false),
        ("feeds/below/list", false),
        ("portcullis.toml", false),
    ] {
        let manifest = Manifest { created: 0, n: 0, head: Hash::NONE, instance: Hash::NONE, files: Vec::new() };
        let files = vec![(STORE.to_owned(), copy.clone()), file(HEAD, &head.to_text()), file(odd, "x")];
        let out = folder.path().join("archive");
        create(&out, manifest, &files, None).unwrap();
        let verified = verify(&config, &out, None);
        assert_eq!(verified.is_ok(), good, "{odd}: {verified:?}");
    }
}

#[test]
fn backups_that_are_asked_for_push_out_only_one_another_and_a_name_leads_nowhere_else() {
    use portcullis_admin::backup::BackupWanted;

    let (folder, config, store) = place();
    let path = folder.path().join("backups");
    fs::create_dir(&path).unwrap();
    let scheduled = "portcullis-20260101T000000Z.backup";
    fs::write(path.join(scheduled), "old").unwrap();
    fs::create_dir(path.join("asked-folder.backup")).unwrap();
    let settings = Settings { path: path.clone(), every: AGAIN, keep: 2, key: None };
    let backups = Backups {
        config: &config,
        store: &store,
        lists: folder.path(),
        settings: Some(&settings),
        demanded: false,
        who: vec!["unix:root".to_owned()],
    };
    let mut made = Vec::new();
    for second in 0..3 {
        let now = Timestamp::from_second(1_800_000_000 + second).unwrap();
        let answer = backups.perform(&BackupWanted::Create, now).unwrap();
        made.push(answer.backups[0].name.clone());
    }
    let listed = backups.perform(&BackupWanted::List, Timestamp::now()).unwrap();
    let names: Vec<&str> = listed.backups.iter().map(|backup| backup.name.as_str()).collect();
    assert_eq!(names, [made[1].as_str(), &made[2], scheduled], "the oldest that was asked for is gone");
    // Finding of 2026-11: under a clock that was set back it said that one is made, and had removed just that.
    let early = Timestamp::from_second(1_700_000_000).unwrap();
    let early = backups.perform(&BackupWanted::Create, early).unwrap().backups.remove(0).name;
    let listed = backups.perform(&BackupWanted::List, Timestamp::now()).unwrap();
    let names: Vec<&str> = listed.backups.iter().map(|backup| backup.name.as_str()).collect();
    assert_eq!(names, [early.as_str(), &made[2], scheduled]);
    let verify = |name: &str| backups.perform(&BackupWanted::Verify { name: name.to_owned() }, Timestamp::now());
    assert!(verify(&made[2]).is_ok());
    let state = store.path.file_name().unwrap().to_str().unwrap();
    for name in ["", ".", "..", "../state.db", state, &format!("../backups/{}", made[2]), &made[0]] {
        let error = verify(name).unwrap_err();
        assert!(error.to_string().starts_with("there is no backup"), "{name}: {error}");
    }
}

/// A list before that is gone because somebody went back to it does not come back beside the list of now.
#[test]
fn the_lists_of_a_feed_are_restored_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(&from).unwrap();
    fs::create_dir_all(&to).unwrap();
    for name in ["one-1.good", "one-1.before", "one-1.held", "other-2.good", "other-2.before", "third-3.good"] {
        fs::write(from.join(name), "then").unwrap();
    }
    fs::write(to.join("one-1.good"), "now").unwrap();
    fs::write(to.join("third-3.new"), "cut").unwrap();
    lists::lay_lists(&from, &to).unwrap();
    let mut there: Vec<_> = fs::read_dir(&to).unwrap().map(|file| file.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["one-1.good", "other-2.before", "other-2.good", "third-3.good", "third-3.new"]);
    assert_eq!(fs::read_to_string(to.join("one-1.good")).unwrap(), "now");
}
