use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::{Command, Stdio};
use std::thread;

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn replace(target: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    write(target, beside(target, ".new"), Rights::Kept, bytes)
}

/// This binary once more, for one of its tests alone. The word tells it which part it has, and the path where.
fn child(test: &str, part: &str, at: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("tests::{test}"), "--nocapture"]).env(PART, part).env(AT, at);
    command
}

const PART: &str = "PORTCULLIS_DURABLE_TEST_PART";
const AT: &str = "PORTCULLIS_DURABLE_TEST_AT";

/// Where this process is to play this part; `None`: it is not to.
fn part(name: &str) -> Option<PathBuf> {
    (std::env::var(PART).ok()?.as_str() == name).then(|| std::env::var_os(AT).unwrap().into())
}

#[test]
fn the_new_one_takes_the_place_with_the_rights_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    replace(&path, b"one").unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"one"[..], 0o600), "for its owner alone");
    let given = std::os::unix::fs::chown(&path, Some(4_242), Some(4_243)).is_ok();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    replace(&path, b"two").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()), "given: {given}");
    assert_ne!(after.ino(), before.ino(), "it is another one");

    // As other files that are made with this mode.
    let (plain, own) = (folder.path().join("plain"), folder.path().join("own"));
    drop(File::create(&plain).unwrap());
    write(&own, beside(&own, ".new"), Rights::Mode(0o666), b"x").unwrap();
    assert_eq!(mode(&own), mode(&plain));

    let other = folder.path().join("other");
    write(&other, beside(&other, ".new"), Rights::OwnerOf(&path), b"x").unwrap();
    let found = fs::metadata(&other).unwrap();
    assert_eq!((found.uid(), found.gid(), mode(&other)), (before.uid(), before.gid(), 0o600), "given: {given}");
    // What it belongs with is gone: the owner stays.
    write(&other, beside(&other, ".new"), Rights::OwnerOf(&folder.path().join("gone")), b"y").unwrap();
    assert_eq!(fs::metadata(&other).unwrap().uid(), before.uid());
    assert_eq!(names(folder.path()), ["a.toml", "other", "own", "plain"], "no draft is left");
}

#[test]
fn what_is_dropped_or_not_yet_in_place_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    replace(&path, b"one").unwrap();
    let mut draft = Draft::begin(&path, hidden_beside(&path), Rights::Kept).unwrap();
    draft.write_all(b"two").unwrap();
    draft.to_disk().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(names(folder.path()), [".a.toml.new", "a.toml"]);
    drop(draft);
    assert_eq!((fs::read(&path).unwrap().as_slice(), names(folder.path())), (&b"one"[..], vec!["a.toml".to_owned()]));
}

#[test]
fn two_at_once_are_one_after_the_other_or_the_second_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let mut first = Draft::begin(&path, beside(&path, ".new"), Rights::Kept).unwrap();
    first.write_all(b"first").unwrap();
    let second = Draft::begin(&path, beside(&path, ".new"), Rights::Kept).unwrap_err();
    assert_eq!(second.to_string(), format!("{}.new: another change is under way", path.display()));
    assert_eq!(second.into_source().kind(), ErrorKind::ResourceBusy);
    let waiting = thread::spawn({
        let path = path.clone();
        move || replace(&path, b"second")
    });
    first.put_in_place().unwrap();
    waiting.join().unwrap().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");

    // Many, and what is read meanwhile is always whole.
    let content = |nth: u8| vec![b'a' + nth; 10_000];
    let writers: Vec<_> = (0..3)
        .map(|nth| {
            let (path, content) = (path.clone(), content(nth));
            thread::spawn(move || (0..10).for_each(|_| replace(&path, &content).unwrap()))
        })
        .collect();
    while !writers.iter().all(thread::JoinHandle::is_finished) {
        let read = fs::read(&path).unwrap();
        let is_whole = read == b"second" || (0..3).any(|nth| read == content(nth));
        assert!(is_whole, "{} bytes", read.len());
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(names(folder.path()), ["a.toml"]);
}

#[test]
fn a_draft_of_a_process_that_was_killed_keeps_nobody_away() {
    const TEST: &str = "a_draft_of_a_process_that_was_killed_keeps_nobody_away";
    if let Some(path) = part("killed") {
        let mut draft = Draft::begin(&path, beside(&path, ".new"), Rights::Kept).unwrap();
        draft.write_all(b"half a").unwrap();
        fs::write(path.with_extension("ready"), "").unwrap();
        // Until it is killed.
        loop {
            thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    replace(&path, b"before").unwrap();
    let mut process = child(TEST, "killed", &path).stdout(Stdio::null()).spawn().unwrap();
    while !path.with_extension("ready").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it holds its draft until it is killed");
        thread::yield_now();
    }
    let begun = Draft::begin(&path, beside(&path, ".new"), Rights::Kept);
    assert!(matches!(begun, Err(DurableError::Busy(_))), "{begun:?}");
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(fs::read(beside(&path, ".new")).unwrap(), b"half a");
    let mut draft = Draft::begin(&path, beside(&path, ".new"), Rights::Kept).unwrap();
    draft.write_all(b"after").unwrap();
    draft.put_in_place().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
    assert_eq!(names(folder.path()), ["a.ready", "a.toml"]);
}

#[test]
fn what_is_no_draft_is_left_alone_and_no_link_is_followed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, precious) = (folder.path().join("a.toml"), elsewhere.path().join("precious"));
    fs::write(&precious, "precious").unwrap();
    replace(&path, b"one").unwrap();
    let check = || {
        for refused in [replace(&path, b"two"), Draft::begin(&path, beside(&path, ".new"), Rights::Kept).map(drop)] {
            let refused = refused.unwrap_err().to_string();
            assert_eq!(refused, format!("{}.new: another change is under way", path.display()));
        }
        assert_eq!((fs::read(&path).unwrap(), fs::read(&precious).unwrap()), (b"one".to_vec(), b"precious".to_vec()));
    };
    symlink(&precious, beside(&path, ".new")).unwrap();
    check();
    fs::remove_file(beside(&path, ".new")).unwrap();
    fs::create_dir(beside(&path, ".new")).unwrap();
    check();
    fs::remove_dir(beside(&path, ".new")).unwrap();

    // In the place of the file itself, it is the link that is replaced.
    fs::remove_file(&path).unwrap();
    symlink(&precious, &path).unwrap();
    replace(&path, b"two").unwrap();
    assert_eq!((fs::read(&path).unwrap(), fs::read(&precious).unwrap()), (b"two".to_vec(), b"precious".to_vec()));
    assert_eq!((fs::symlink_metadata(&path).unwrap().is_file(), mode(&path)), (true, 0o600));
}

/// As it can be where a file system has no locks.
#[test]
fn the_draft_of_somebody_else_is_neither_put_in_place_nor_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let draft = Draft::begin(&path, beside(&path, ".new"), Rights::Kept).unwrap();
    fs::remove_file(beside(&path, ".new")).unwrap();
    fs::write(beside(&path, ".new"), "of another").unwrap();
    let refused = draft.put_in_place();
    assert!(matches!(refused, Err(DurableError::Busy(_))), "{refused:?}");
    assert_eq!((path.exists(), fs::read(beside(&path, ".new")).unwrap()), (false, b"of another".to_vec()));
}

#[test]
fn an_error_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("gone/a.toml");
    let error = replace(&nowhere, b"x").unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}.new: ", nowhere.display())), "{error}");
    assert_eq!(error.into_source().kind(), ErrorKind::NotFound);
    // A folder in the place of the file.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let error = replace(&taken, b"x").unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", taken.display())), "{error}");
    assert_eq!(names(folder.path()), ["taken"], "no draft is left");
    assert!(create(&nowhere, 0o600, b"x").is_err() && remove(&taken).is_err());
    let bare = sync_folder_of(Path::new("a.toml"));
    assert!(bare.is_ok(), "a name without a folder is in the one where it runs: {bare:?}");
}

#[test]
fn a_new_file_replaces_nothing_and_one_is_removed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    create(&path, 0o600, b"secret").unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"secret"[..], 0o600));
    assert_eq!(create(&path, 0o600, b"another").unwrap_err().into_source().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"secret");
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

/// What does not fit has not begun, as far as anybody sees.
fn there_is_no_room(folder: &Path, expected: ErrorKind) {
    let (path, key) = (folder.join("a.toml"), folder.join("key.pem"));
    let large = vec![b'x'; 1 << 20];
    let error = replace(&path, &large).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    assert_eq!(error.into_source().kind(), expected);
    assert_eq!(create(&key, 0o600, &large).unwrap_err().into_source().kind(), expected);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert!(!beside(&path, ".new").exists() && !key.exists(), "{:?}", names(folder));
}

#[test]
fn what_does_not_fit_leaves_the_file_as_it_was() {
    const TEST: &str = "what_does_not_fit_leaves_the_file_as_it_was";
    if let Some(folder) = part("short") {
        return there_is_no_room(&folder, ErrorKind::FileTooLarge);
    }
    let folder = tempfile::tempdir().unwrap();
    replace(&folder.path().join("a.toml"), b"before").unwrap();
    // No file longer than 64 KiB, also for whoever may do everything.
    let test = child(TEST, "short", folder.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 128 && exec \"$0\" \"$@\""]).arg(test.get_program());
    limited.args(test.get_args()).envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))));
    passed(&limited.output().unwrap());
}

#[test]
fn on_a_full_disk_the_file_is_as_it_was_and_what_is_prepared_takes_its_place() {
    const TEST: &str = "on_a_full_disk_the_file_is_as_it_was_and_what_is_prepared_takes_its_place";
    if let Some(folder) = part("full") {
        let (path, other) = (folder.join("a.toml"), folder.join("b.toml"));
        replace(&path, b"before").unwrap();
        let mut prepared = Draft::begin(&other, hidden_beside(&other), Rights::Kept).unwrap();
        prepared.write_all(b"prepared").unwrap();
        prepared.to_disk().unwrap();
        there_is_no_room(&folder, ErrorKind::StorageFull);
        // To the last byte: what is on the disk already needs no more room.
        let mut filling = File::create(folder.join("full")).unwrap();
        while filling.write_all(&[0; 4_096]).is_ok() {}
        while filling.write_all(&[0]).is_ok() {}
        assert_eq!(replace(&path, b"small").unwrap_err().into_source().kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        prepared.put_in_place().unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"prepared");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unshare = || Command::new(std::env::var_os("PORTCULLIS_UNSHARE").unwrap_or_else(|| "unshare".into()));
    let mount = "mount -t tmpfs -o size=256k portcullis \"$0\"";
    let tried = unshare().args(["-rm", "sh", "-c", mount]).arg(folder.path()).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        let message = format!("NOT RUN on a full disk: no file system can be mounted here: {tried:?}");
        assert!(std::env::var_os("PORTCULLIS_DEMAND_ALL_TESTS").is_none(), "{message}");
        // Past what keeps the output of tests that pass.
        let _ = writeln!(io::stderr(), "{message}");
        return;
    }
    let test = child(TEST, "full", folder.path());
    let mut inside = unshare();
    inside.args(["-rm", "sh", "-c", &format!("{mount} && exec \"$@\"")]).arg(folder.path()).arg(test.get_program());
    inside.args(test.get_args()).envs(test.get_envs().filter_map(|(name, value)| Some((name, value?))));
    passed(&inside.output().unwrap());
    assert_eq!(names(folder.path()), Vec::<String>::new(), "all of it was on the small disk");
}

fn passed(output: &std::process::Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}
