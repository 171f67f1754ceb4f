//! A program that is killed at each moment between two steps of a version that becomes live: what its files, the store and the head file hold then is one
//! version or the other, whole, and the next start says which.
//!
//! The program is this one again, which does one thing on the files of a folder and ends itself with SIGKILL where it is told to. It says each moment that it
//! comes to, so that a test sees that it was killed there and nowhere else.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

use portcullis_governance::{
    ChangeId, ChangeState, Head, HeadPlace, Heard, Ledger, LedgerError, NewVersion, PublicKey, RevokedKeys, Steps,
    StoredChange,
};
use portcullis_testkit::wait;

use super::*;

/// Which folder, what is to be done in it, and at which moment it ends.
const FOLDER: &str = "PORTCULLIS_TEST_FOLDER";
const VERB: &str = "PORTCULLIS_TEST_VERB";
const MOMENT: &str = "PORTCULLIS_TEST_MOMENT";

type Hook = Box<dyn FnMut(&str)>;

thread_local! {
    /// What a test does at each moment that its thread comes to.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    /// The store takes no more.
    static IS_FULL: Cell<bool> = const { Cell::new(false) };
}

/// Has the store of this thread take no more, or take it again.
pub(super) fn fill_the_store(is_full: bool) {
    IS_FULL.set(is_full);
}

/// It has come to a moment.
pub(in crate::governing) fn reached(moment: impl std::fmt::Display) {
    let moment = moment.to_string();
    // Taken out, since it may come to further moments itself.
    if let Some(mut hook) = HOOK.take() {
        hook(&moment);
        HOOK.set(Some(hook));
    }
    static LAST: OnceLock<Option<usize>> = OnceLock::new();
    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let Some(last) = *LAST.get_or_init(|| std::env::var(MOMENT).ok()?.parse().ok()) else { return };
    let n = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    println!("{SAID}{moment}");
    std::io::stdout().flush().unwrap();
    if n == last {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
}

const SAID: &str = "moment: ";

/// Does this at each moment until the guard is dropped.
pub(super) fn at_each_moment(hook: impl FnMut(&str) + 'static) -> Undisturbed {
    HOOK.set(Some(Box::new(hook)));
    Undisturbed
}

pub(super) struct Undisturbed;

impl Drop for Undisturbed {
    fn drop(&mut self) {
        HOOK.take();
    }
}

/// A log or a head file, each of whose writes is a moment before and one after.
#[derive(Debug)]
pub(in crate::governing) struct Stepped<T>(pub(in crate::governing) T);

impl<T> Stepped<T> {
    fn step<R>(&mut self, what: &str, write: impl FnOnce(&mut T) -> R) -> R {
        reached(format_args!("before {what}"));
        let written = write(&mut self.0);
        reached(format_args!("after {what}"));
        written
    }
}

impl<T: Ledger> Ledger for Stepped<T> {
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        self.0.last()
    }

    fn record(&self, n: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.0.record(n)
    }

    fn blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        self.0.blob(hash)
    }

    fn append(&mut self, version: NewVersion<'_>, blobs: &[(Hash, &[u8])]) -> Result<(), LedgerError> {
        if IS_FULL.get() {
            return Err(LedgerError::Failed("database or disk is full".to_owned()));
        }
        self.step("the version is in the store", |ledger| ledger.append(version, blobs))
    }

    fn propose(
        &mut self,
        id: ChangeId,
        record: &[u8],
        refers: [Hash; 3],
        blobs: &[(Hash, &[u8])],
    ) -> Result<(), LedgerError> {
        self.step("the change is in the store", |ledger| ledger.propose(id, record, refers, blobs))
    }

    fn changes(&self) -> Result<Vec<(ChangeId, StoredChange)>, LedgerError> {
        self.0.changes()
    }

    fn add_approval(&mut self, id: ChangeId, key: PublicKey, record: &[u8]) -> Result<(), LedgerError> {
        self.step("the approval is in the store", |ledger| ledger.add_approval(id, key, record))
    }

    fn close(&mut self, id: ChangeId, state: ChangeState) -> Result<(), LedgerError> {
        self.step("the change is over", |ledger| ledger.close(id, state))
    }

    fn rollout(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.0.rollout()
    }

    fn set_rollout(&mut self, known: Option<&[u8]>, record: Option<&[u8]>) -> Result<(), LedgerError> {
        if IS_FULL.get() {
            return Err(LedgerError::Failed("database or disk is full".to_owned()));
        }
        self.step("how far it has come is in the store", |ledger| ledger.set_rollout(known, record))
    }
}

impl<T: HeadPlace> HeadPlace for Stepped<T> {
    fn read(&self) -> Result<Option<Head>, GovernanceError> {
        self.0.read()
    }

    fn write(&mut self, head: Head) -> Result<(), GovernanceError> {
        self.step("the head file knows it", |place| place.write(head))
    }

    fn revoked(&self) -> Result<RevokedKeys, GovernanceError> {
        self.0.revoked()
    }

    fn revoke(&mut self, keys: &RevokedKeys) -> Result<(), GovernanceError> {
        self.step("the keys that are revoked are listed", |place| place.revoke(keys))
    }

    fn steps(&self) -> Result<Option<Steps>, GovernanceError> {
        self.0.steps()
    }

    fn steps_written(&self) -> Option<Timestamp> {
        self.0.steps_written()
    }

    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError> {
        self.step("its step is beside the store", |place| place.write_steps(steps))
    }

    fn heard(&self) -> Result<Option<Heard>, GovernanceError> {
        self.0.heard()
    }

    fn hear(&mut self, heard: Heard) -> Result<(), GovernanceError> {
        self.step("that it was told is beside the store", |place| place.hear(heard))
    }
}

/// What the program does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verb {
    Activate { id: String, at_once: bool },
    Abort,
    Rollback,
    Start,
}

impl Verb {
    fn to_text(&self) -> String {
        match self {
            Self::Activate { id, at_once } => format!("activate {id} {at_once}"),
            Self::Abort => "abort".to_owned(),
            Self::Rollback => "rollback".to_owned(),
            Self::Start => "start".to_owned(),
        }
    }

    fn of_text(text: &str) -> Self {
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["activate", id, at_once] => Self::Activate { id: id.to_owned(), at_once: at_once == "true" },
            ["abort"] => Self::Abort,
            ["rollback"] => Self::Rollback,
            ["start"] => Self::Start,
            _ => panic!("`{text}` is nothing that it does"),
        }
    }

    fn perform(&self, governing: &Governing) -> Result<(), String> {
        let reason = || "because".to_owned();
        let wanted = match self.clone() {
            Self::Activate { id, at_once } => Governed::Activate { id, at_once: at_once.then(reason), unseen: None },
            Self::Abort => Governed::Abort { reason: reason() },
            Self::Rollback => Governed::Rollback { n: None, by: by(), dry_run: false },
            Self::Start => {
                return governing.choose(None, Why::Start, None).map(drop).map_err(|refused| format!("{refused:?}"));
            }
        };
        let who = Who::account(1_000, Some("ana"));
        governing.perform(wanted, &who, &Offline, Timestamp::now()).map(drop)
    }
}

#[test]
#[ignore = "it is the program that the tests beside it start, with a folder, a verb and a moment"]
fn the_program() {
    let of = |name: &str| std::env::var(name).expect("it is started by the tests beside it");
    let config = Path::new(&of(FOLDER)).join("portcullis.toml");
    let governing = open(config.parent().unwrap());
    Verb::of_text(&of(VERB)).perform(&governing).unwrap();
    println!("it is done");
}

/// A program that is being started holds for a moment all that the process holds which starts it: where other tests start some, too, a lock that was let go
/// is waited for.
fn open(folder: &Path) -> Governing {
    let store = Settings { path: folder.join("state.db") };
    let opened = || match Governing::open_alone(&folder.join("portcullis.toml"), &store) {
        Err(GoverningError::Lock(LockError::Busy(_))) => None,
        opened => Some(opened.unwrap()),
    };
    wait::until(wait::PATIENCE, opened).expect("nobody has it")
}

/// Has the program do something in a folder, and end at that moment, the first of which is 1. Returns the moments that it came to; `None` of a moment: it has
/// come to its end.
fn run(folder: &Path, verb: &Verb, moment: usize) -> (Vec<String>, bool) {
    let (_, name) = concat!(module_path!(), "::the_program").split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(VERB, verb.to_text())
        .env(MOMENT, moment.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // The harness may have begun the line.
    let moments = said.lines().filter_map(|line| Some(line.split_once(SAID)?.1.to_owned())).collect();
    let is_done = said.contains("it is done");
    let signal = output.status.signal();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(if is_done { output.status.success() } else { signal == Some(9) }, "{verb:?} {moment}: {said}{errors}");
    (moments, is_done)
}

/// A copy of a folder in which nothing runs.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

type Files = [(&'static str, &'static str); 3];

/// What each version holds, but for the gateway's own file.
const FIRST: Files = [("policy.toml", POLICY), ("more/a.toml", NOBODY), ("more/gone.toml", "# gone\n")];
const SECOND: Files = [("policy.toml", OTHER_POLICY), ("more/a.toml", SOMEBODY), ("more/new.toml", "# new\n")];
/// What comes step by step has the same files as before it.
const STAGED: Files = [("policy.toml", OTHER_POLICY), ("more/a.toml", SOMEBODY), ("more/gone.toml", "# gone\n")];
const OTHER_POLICY: &str = "version = 1\ninclude = [\"more/*.toml\"]\n# second\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n";

fn files_on_disk(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = ["policy.toml", "more/a.toml", "more/gone.toml", "more/new.toml"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fs::read_to_string(folder.join(name)).ok()?)))
        .collect();
    found.sort_unstable();
    found
}

fn sorted(files: Files) -> Vec<(String, String)> {
    let mut files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    files.sort_unstable();
    files
}

/// A place at version 1, and a change to the files of another one that may become live.
struct Scenario {
    folder: TempDir,
    id: String,
    second: Files,
}

fn scenario(required: bool, second: Files) -> Scenario {
    let rules = if required { "required = true\napprovals = { loosen = 1, keys = 1 }\n" } else { "" };
    let place = Place::with(rules, "canary = [\"5%\"]\ncanary_step = \"1h\"\n");
    fs::create_dir(place.folder.path().join("more")).unwrap();
    for (name, text) in FIRST {
        fs::write(place.folder.path().join(name), text).unwrap();
    }
    if required {
        let ben = NewApprover { person: "ben".to_owned(), aliases: Vec::new(), key: place.key.public().to_pem() };
        place.perform(Governed::Init { approvers: vec![ben], by: by() });
    } else {
        place.begin();
    }
    let mut files = vec![("portcullis.toml", place.read("portcullis.toml"))];
    files.extend(second.map(|(name, text)| (name, text.to_owned())));
    let files =
        files.iter().map(|(name, text)| File { name: (*name).to_owned(), content: BASE64.encode(text.as_bytes()) });
    let proposed = Proposed { policy: None, files: Some(files.collect()), again: None, base: None, by: by() };
    let id = place.perform(Governed::Propose(proposed)).changes[0].id.clone();
    if required {
        place.sign(&id);
    }
    let Place { folder, governing, .. } = place;
    drop(governing);
    Scenario { folder, id, second }
}

/// The number of the last version, that of the one which serves whoever the last one does not decide for, and whether what serves is the second one.
type Found = (u64, u64, bool);

impl Scenario {
    fn activate(&self, at_once: bool) -> Verb {
        Verb::Activate { id: self.id.clone(), at_once }
    }

    /// It is done, and by no means ended before.
    fn after(self, verb: &Verb) -> Self {
        assert!(run(self.folder.path(), verb, usize::MAX).1);
        self
    }

    /// Kills the program at each moment of `verb`, each in a copy of the folder. What may be found then, each of which has to be. Returns the moments.
    fn kill_at_each_moment(&self, verb: &Verb, expected: &[Found]) -> Vec<String> {
        self.kill_and_repeat(verb, expected, expected)
    }

    /// The same, with what may be found once it was asked for again.
    fn kill_and_repeat(&self, verb: &Verb, expected: &[Found], repeated: &[Found]) -> Vec<String> {
        let mut found = Vec::new();
        for moment in 1..100 {
            let folder = tempfile::tempdir().unwrap();
            copy(self.folder.path(), folder.path());
            let (moments, is_done) = run(folder.path(), verb, moment);
            if is_done {
                assert_eq!(moments.len(), moment - 1, "the moments before were all of them");
                assert!(expected.iter().all(|each| found.contains(each)), "{expected:?}: {found:?}");
                return moments;
            }
            assert_eq!(moments.len(), moment, "it was killed there");
            let what = format!("{verb:?}, killed {}", moments.last().unwrap());
            found.push(check(folder.path(), &what, self.second, expected));
            // What was asked for can be asked for again, whatever was left behind.
            let governing = open(folder.path());
            let done = verb.perform(&governing);
            drop(governing);
            let again = check(folder.path(), &what, self.second, repeated);
            assert!(done.is_ok() || again == *repeated.last().unwrap(), "{what}: {done:?} {again:?}");
        }
        panic!("it never came to its end")
    }
}

/// What a start finds, which is the same each time.
fn check(folder: &Path, what: &str, second: Files, expected: &[Found]) -> Found {
    let look = || {
        let governing = open(folder);
        let decided = governing.choose(None, Why::Start, None).unwrap();
        assert_eq!(decided.alarm, None, "{what}");
        let rollout = governing.rollout();
        let serving = rollout.as_ref().map_or(governing.n(), |rolling| rolling.serving);
        assert_eq!(decided.number, Number::Known(serving), "{what}");
        assert_eq!(decided.staged.is_some(), rollout.is_some(), "{what}");
        assert!(rollout.is_none_or(|rolling| !rolling.rollout.is_ending()), "{what}");
        let verified = governing.governor().verify_all().unwrap();
        assert_eq!(verified, governing.n(), "{what}");
        let in_force = content_of(&decided.loaded);
        let text = |name: &str| String::from_utf8(in_force.files.get(name).cloned().unwrap_or_default()).unwrap();
        let is_second = text("policy.toml") == OTHER_POLICY;
        // Whole, in force and on the disk.
        let files = if is_second { second } else { FIRST };
        for (name, expected) in files {
            assert_eq!(text(name), expected, "{what}: {name}");
        }
        assert_eq!(files_on_disk(folder), sorted(files), "{what}");
        (governing.n(), serving, is_second)
    };
    let found = look();
    assert!(expected.contains(&found), "{what}: {found:?}");
    assert_eq!(look(), found, "{what}: another start");
    found
}

#[track_caller]
fn assert_has(moments: &[String], parts: &[&str]) {
    let mut rest = moments.iter();
    for part in parts {
        assert!(rest.any(|moment| moment.contains(part)), "{part}: {moments:?}");
    }
}

const WRITTEN: [&str; 2] = ["all files are in place", "after how far it has come is in the store"];
const OF_SECOND: [&str; 4] =
    ["more/a.toml is in place", "more/new.toml is in place", "policy.toml is in place", "more/gone.toml is laid aside"];

fn kill_at_once(required: bool) {
    let scenario = scenario(required, SECOND);
    let moments = scenario.kill_at_each_moment(&scenario.activate(true), &[(1, 1, false), (2, 2, true)]);
    let before = [
        "policy.toml is prepared",
        "before the version is in the store",
        "after the version is in the store",
        "before the head file knows it",
        "after the head file knows it",
    ];
    assert_has(&moments, &[&before[..], &OF_SECOND, &WRITTEN].concat());
}

#[test]
fn killed_while_a_version_becomes_live_at_once() {
    kill_at_once(false);
}

#[test]
fn killed_while_a_version_becomes_live_at_once_that_was_approved() {
    kill_at_once(true);
}

/// That it is rolled out is known as soon as it is a version.
#[test]
fn killed_while_a_version_begins_to_be_rolled_out() {
    for required in [false, true] {
        let scenario = scenario(required, STAGED);
        let moments = scenario.kill_at_each_moment(&scenario.activate(false), &[(1, 1, false), (2, 1, false)]);
        assert_has(
            &moments,
            &[
                "before its step is beside the store",
                "before the version is in the store",
                "after the head file knows it",
            ],
        );
        assert_eq!(moments.len(), 6, "{moments:?}");
    }
}

fn kill_hurried(required: bool) {
    let scenario = scenario(required, STAGED);
    let (begin, hurry) = (scenario.activate(false), scenario.activate(true));
    let scenario = scenario.after(&begin);
    let moments = scenario.kill_at_each_moment(&hurry, &[(2, 1, false), (2, 2, true)]);
    let before = ["policy.toml is prepared", "before how far it has come", "after how far it has come"];
    assert_has(&moments, &[&before[..], &["more/a.toml is in place", "policy.toml is in place"], &WRITTEN].concat());
}

#[test]
fn killed_while_what_was_rolled_out_becomes_live_for_everybody() {
    kill_hurried(false);
}

#[test]
fn killed_while_what_was_rolled_out_becomes_live_for_everybody_that_was_approved() {
    kill_hurried(true);
}

#[test]
fn killed_while_a_version_is_taken_back() {
    for required in [false, true] {
        let scenario = scenario(required, STAGED);
        let begin = scenario.activate(false);
        let scenario = scenario.after(&begin);
        let moments = scenario.kill_at_each_moment(&Verb::Abort, &[(2, 1, false), (3, 3, false)]);
        assert_has(&moments, &["before the version is in the store", "after the head file knows it"]);
    }
}

/// What `include` would find and is not among the files of version 1 is laid aside then, too.
#[test]
fn killed_while_a_version_is_rolled_back() {
    let scenario = scenario(false, SECOND);
    let live = scenario.activate(true);
    let scenario = scenario.after(&live);
    // Once more it is refused, and takes nothing back that was taken back to.
    let (expected, repeated) = ([(2, 2, true), (3, 3, false)], [(3, 3, false)]);
    let moments = scenario.kill_and_repeat(&Verb::Rollback, &expected, &repeated);
    assert_has(
        &moments,
        &[
            "after the change is in the store",
            "policy.toml is prepared",
            "after the version is in the store",
            "more/gone.toml is in place",
            "policy.toml is in place",
            "more/new.toml is laid aside",
            "after how far it has come is in the store",
        ],
    );
}

/// Killed while it repairs what an earlier one left, it is repaired by the one after it.
#[test]
fn killed_while_a_start_writes_what_was_left() {
    let scenario = scenario(false, SECOND);
    let live = scenario.activate(true);
    let scratch = tempfile::tempdir().unwrap();
    copy(scenario.folder.path(), scratch.path());
    let moments = run(scratch.path(), &live, usize::MAX).0;
    let half = moments.iter().position(|moment| moment == "more/a.toml is in place").unwrap() + 1;
    assert!(!run(scenario.folder.path(), &live, half).1);
    let mixed = files_on_disk(scenario.folder.path());
    assert!(mixed != sorted(FIRST) && mixed != sorted(SECOND), "{mixed:?}");
    let moments = scenario.kill_at_each_moment(&Verb::Start, &[(2, 2, true)]);
    assert_has(&moments, &["policy.toml is prepared", "more/gone.toml is laid aside", "the files are read"]);
}
