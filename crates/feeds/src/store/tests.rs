use super::*;
use crate::guard::Hold;
use crate::settings::{Format, Source};

fn feed(name: &str) -> FeedSettings {
    FeedSettings::new(name, Source::File("/nowhere".into()), Format::Text)
}

fn saved(texts: &[&str], findings: Vec<Finding>) -> Saved {
    let prefixes: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let moment = |text: &str| text.parse().unwrap();
    Saved {
        list: Arc::new(List::new(&prefixes)),
        checked: moment("2026-11-29T10:00:00Z"),
        changed: moment("2026-11-28T10:00:00Z"),
        validators: Validators { etag: Some("\"x\\y\"".into()), last_modified: None, signed: Some(7) },
        findings,
    }
}

fn settings(folder: &Path, feeds: Vec<FeedSettings>) -> Settings {
    Settings { folder: folder.to_owned(), feeds: feeds.into_iter().map(Arc::new).collect(), approved: false }
}

#[test]
fn what_is_saved_is_loaded_by_the_same_source_alone() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("var/feeds");
    let finding = Finding { hold: Hold::Shrink, message: "60 % fewer".into() };
    let written = saved(&["9.0.0.0/25", "9.0.0.128/25", "2a00::/32"], vec![finding.clone()]);
    save(&below, &feed("partner"), Kind::Held, &written).unwrap();
    let loaded = load(&below, &feed("partner"), Kind::Held).unwrap().unwrap();
    assert_eq!((&loaded.list, loaded.checked, loaded.changed), (&written.list, written.checked, written.changed));
    assert_eq!((loaded.validators, loaded.findings), (written.validators.clone(), vec![finding]));
    assert_eq!(loaded.list.written(), 3);
    assert!(load(&below, &feed("partner"), Kind::Good).unwrap().is_none());
    let elsewhere = FeedSettings { source: Source::File("/elsewhere".into()), ..feed("partner") };
    assert!(load(&below, &elsewhere, Kind::Held).unwrap().is_none());
    assert!(load(&below, &feed("partner2"), Kind::Held).unwrap().is_none());
    remove(&below, "partner", Kind::Held).unwrap();
    remove(&below, "partner", Kind::Held).unwrap();
    assert!(load(&below, &feed("partner"), Kind::Held).unwrap().is_none());
}

#[test]
fn names_that_are_no_file_names_have_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(128);
    let names = ["../../etc/passwd", "etcpasswd", "a b", "ab", ".", "ü", "", &long, &format!("{long}y")[1..]];
    for name in names {
        save(folder.path(), &feed(name), Kind::Good, &saved(&["9.9.9.9/32"], Vec::new())).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len());
}

#[test]
fn what_is_broken_is_not_believed_whichever_byte_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let feed = feed("partner");
    save(folder.path(), &feed, Kind::Good, &saved(&["9.0.0.0/24", "2a00::/32"], Vec::new())).unwrap();
    let file = path(folder.path(), "partner", Kind::Good);
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut torn = whole.clone();
        torn[at] ^= 0x01;
        fs::write(&file, &torn).unwrap();
        assert!(load(folder.path(), &feed, Kind::Good).is_err(), "byte {at}");
        fs::write(&file, &whole[..at]).unwrap();
        assert!(load(folder.path(), &feed, Kind::Good).is_err(), "cut at {at}");
    }
    let restored = restore(&settings(folder.path(), vec![feed.clone()]), None);
    assert!(restored[0].problem().unwrap().contains("is broken"), "{:?}", restored[0]);
    assert!(restored[0].content().unknown, "what is not believed is unknown, and not empty");
    // A list of more than one source, put together by hand with the right checksum.
    let wrong = format!("{MAGIC}\n{{}}\n");
    let sum = HEXLOWER.encode(digest(&SHA256, wrong.as_bytes()).as_ref());
    fs::write(&file, format!("{wrong}sha256 {sum}\n")).unwrap();
    assert!(load(folder.path(), &feed, Kind::Good).unwrap_err().to_string().contains("missing field"));
}

#[test]
fn who_is_killed_between_writing_and_renaming_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let feed = feed("partner");
    let old = saved(&["9.0.0.0/24"], Vec::new());
    save(folder.path(), &feed, Kind::Good, &old).unwrap();
    let file = path(folder.path(), "partner", Kind::Good);
    fs::write(file.with_extension("new"), "portcullis.feed/1\n{\"feed\":\"par").unwrap();
    assert_eq!(load(folder.path(), &feed, Kind::Good).unwrap().unwrap().list, old.list);
    let new = saved(&["9.1.0.0/24"], Vec::new());
    save(folder.path(), &feed, Kind::Good, &new).unwrap();
    assert_eq!(load(folder.path(), &feed, Kind::Good).unwrap().unwrap().list, new.list);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_list_is_as_old_as_it_says_or_as_old_as_can_be() {
    let check = |checked: &str, expected: Duration| {
        let now = "2026-11-29T10:00:00Z".parse().unwrap();
        assert_eq!(age_of(checked.parse().unwrap(), now), expected, "{checked}");
    };
    check("2026-11-29T09:00:00Z", Duration::from_secs(3_600));
    check("2026-11-29T10:05:00Z", Duration::ZERO);
    check("2026-11-29T10:05:01Z", Duration::MAX);
    let folder = tempfile::tempdir().unwrap();
    let strict =
        FeedSettings { on_stale: OnStale::Undecided, fixed: Arc::from(["8.8.8.8/32".parse().unwrap()]), ..feed("a") };
    save(folder.path(), &strict, Kind::Good, &saved(&["9.0.0.0/24"], Vec::new())).unwrap();
    save(folder.path(), &feed("b"), Kind::Good, &saved(&["9.0.0.0/24"], Vec::new())).unwrap();
    let settings = settings(folder.path(), vec![strict, feed("b")]);
    let at = |now: Option<&str>| {
        let restored = restore(&settings, now.map(|now| now.parse().unwrap()));
        restored.iter().map(|each| (each.content().unknown, each.content().prefixes.len())).collect::<Vec<_>>()
    };
    assert_eq!(at(None), [(false, 2), (false, 1)]);
    assert_eq!(at(Some("2026-12-06T10:00:00Z")), [(false, 2), (false, 1)]);
    assert_eq!(at(Some("2026-12-06T10:00:01Z")), [(true, 1), (false, 1)], "what is certain stays");
    assert_eq!(at(Some("2026-11-01T10:00:00Z")), [(true, 1), (false, 1)], "the clock was set back");
}
