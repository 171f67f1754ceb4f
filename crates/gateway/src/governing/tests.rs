//! What is put in force where the files are not what was approved.

use std::path::PathBuf;

use data_encoding::BASE64;
use portcullis_admin::govern::{Author, File, Governed, NewApprover, Proposed};
use portcullis_governance::{Approval, Decision, Request, SigningKey, armored_approval};
use portcullis_store::Settings;
use tempfile::TempDir;

use super::*;

pub(super) mod beside;
pub(super) mod crashes;
mod disturbed;
mod named;

const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n[store]\npath = \"state.db\"\n[governance]\n";

struct Place {
    folder: TempDir,
    governing: Governing,
    key: SigningKey,
}

impl Place {
    /// A gateway whose changes ben approves, at version 1.
    fn new(more: &str) -> Self {
        let place = Self::with("required = true\napprovals = { loosen = 1, keys = 1 }\n", more);
        let ben = NewApprover { person: "ben".to_owned(), aliases: Vec::new(), key: place.key.public().to_pem() };
        place.perform(Governed::Init { approvers: vec![ben], by: by() });
        place
    }

    /// One whose files are believed, at version 1: a policy in two files.
    fn believing(more: &str) -> Self {
        let place = Self::with("", more);
        std::fs::create_dir(place.folder.path().join("more")).unwrap();
        place.write(POLICY);
        place.write_more(NOBODY);
        place.begin();
        place
    }

    /// What the files hold is version 1.
    fn begin(&self) {
        let begun = self.choose(Why::Start, None).unwrap();
        let as_of = AsOf::now(&self.governing.governor());
        let noted = self.governing.note(&begun.loaded, (Class::Mixed, as_of), &Asked::by(vec!["ana".to_owned()]));
        assert_eq!(noted.unwrap(), Some(1));
    }

    fn with(rules: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("portcullis.toml");
        std::fs::write(&config, format!("{GATEWAY}{rules}{more}")).unwrap();
        std::fs::write(folder.path().join("policy.toml"), "version = 1\n").unwrap();
        let governing = Governing::open_alone(&config, &Settings { path: folder.path().join("state.db") }).unwrap();
        Self { folder, governing, key: SigningKey::generate().unwrap().0 }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    fn write(&self, policy: &str) {
        std::fs::write(self.folder.path().join("policy.toml"), policy).unwrap();
    }

    fn write_more(&self, more: &str) {
        std::fs::write(self.folder.path().join("more/a.toml"), more).unwrap();
    }

    /// What is not governed: the listener for health and metrics is off.
    fn turn_ops_off(&self) {
        let gateway = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), format!("{gateway}[ops]\nenabled = false\n")).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Proposes another policy beside the files, which lets somebody in, and begins to roll that out as version 2.
    fn roll_out(&self, policy: &str) {
        let mut content = content_of(&load(&self.config(), &ProcessEnvironment).unwrap());
        content.files.insert("policy.toml".to_owned(), policy.into());
        content.files.insert("more/a.toml".to_owned(), SOMEBODY.into());
        let files =
            content.files.iter().map(|(name, bytes)| File { name: name.clone(), content: BASE64.encode(bytes) });
        let proposed = Proposed { policy: None, files: Some(files.collect()), again: None, base: None, by: by() };
        let id = self.perform(Governed::Propose(proposed)).changes[0].id.clone();
        self.perform(Governed::Activate { id, at_once: None, unseen: None });
        assert_eq!(self.governing.rollout().map(|rolling| (rolling.rollout.n, rolling.serving)), Some((2, 1)));
    }

    fn perform(&self, wanted: Governed) -> portcullis_admin::govern::Answer {
        let who = Who::account(1_000, Some("ana"));
        self.governing.perform(wanted, &who, &Offline, Timestamp::now()).unwrap().answer
    }

    /// Proposes and approves; returns the id.
    fn approved(&self, policy: &str) -> String {
        let proposed = Proposed { policy: Some(policy.to_owned()), files: None, again: None, base: None, by: by() };
        let id = self.perform(Governed::Propose(proposed)).changes[0].id.clone();
        self.sign(&id);
        id
    }

    /// Approves.
    fn sign(&self, id: &str) {
        let request = self.perform(Governed::Request { id: id.to_owned() }).request.unwrap();
        let request = Request::from_armored(&request).unwrap();
        let approval =
            Approval::sign(request.instance, &request.change, Decision::Approve, &self.key, Timestamp::now());
        self.perform(Governed::Approve { approval: armored_approval(request.change.id, &approval) });
    }

    fn choose(&self, why: Why, in_force: Option<u64>) -> Result<Decided, Refused> {
        self.governing.choose(None, why, in_force)
    }
}

fn by() -> Author {
    Author { name: None, reason: "because".to_owned(), ticket: None }
}

/// It lets somebody in: what changes no answer takes no steps.
const OTHER: &str = "version = 1\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"*\"\n";

/// Roles are here, and who has them is in another file.
const POLICY: &str =
    "version = 1\ninclude = [\"more/*.toml\"]\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n";
const NOBODY: &str = "[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:nobody\"]\nscope = \"*\"\n";
const SOMEBODY: &str = "[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"*\"\n";

#[test]
fn what_was_activated_and_is_not_in_force_yet_is_put_in_force_by_the_next_reload() {
    let place = Place::new("");
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    // As if the files could not have been written, and the reload had been refused: they hold version 1, which is in force.
    place.write("version = 1\n");
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    assert_eq!((decided.number, decided.alarm.is_some()), (Number::Known(2), true));
    assert_eq!(decided.loaded.summary.assignments, 1);
    // Once it is in force such files are refused.
    assert!(matches!(place.choose(Why::Asked, Some(2)), Err(Refused::Alarm(Alarm { tampered: false, .. }))));
    place.write("version = 1\n# by nobody\n");
    assert!(matches!(place.choose(Why::Asked, Some(2)), Err(Refused::Alarm(Alarm { tampered: true, .. }))));
    place.write(OTHER);
    let decided = place.choose(Why::Asked, Some(2)).unwrap();
    assert_eq!((decided.number, decided.alarm), (Number::Known(2), None));
}

#[test]
fn a_file_that_a_version_names_and_does_not_hold_is_never_read_from_the_disk() {
    let place = Place::new("");
    let list = place.folder.path().join("list.txt");
    std::fs::write(&list, "10.0.0.0/8\n").unwrap();
    let named = "version = 1\n[[network]]\nname = \"n\"\nfile = \"list.txt\"\n";
    let proposed = Proposed { policy: Some(named.to_owned()), files: None, again: None, base: None, by: by() };
    let who = Who::account(1_000, Some("ana"));
    let refused = place.governing.perform(Governed::Propose(proposed), &who, &Offline, Timestamp::now());
    assert!(refused.unwrap_err().contains("`list.txt` is read, and is not among the files of the change"));
}

#[test]
fn what_serves_while_another_version_is_rolled_out_is_the_one_before_it() {
    let place = Place::new("shadow = \"1h\"\ncanary = [\"5%\"]\n");
    let before = place.choose(Why::Start, None).unwrap();
    assert_eq!((before.number, before.staged.is_none()), (Number::Known(1), true));
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id: id.clone(), at_once: None, unseen: None });
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(1), 0));
    let staged = decided.staged.unwrap().into_staged();
    assert_eq!((staged.policy.version(), staged.share), (2, 0));
    // The files hold what serves, until it is over.
    assert!(!std::fs::read_to_string(place.folder.path().join("policy.toml")).unwrap().contains("assignment"));
    place.perform(Governed::Activate { id, at_once: Some("hurry".to_owned()), unseen: None });
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(2), 1));
    assert!(decided.staged.is_none() && decided.alarm.is_none());
}

#[test]
fn what_is_taken_back_leaves_what_served_under_a_number_of_its_own() {
    let place = Place::new("shadow = \"1h\"\n");
    place.choose(Why::Start, None).unwrap();
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    assert_eq!(place.governing.take_back(2, "too much", Timestamp::now()).unwrap(), (3, None));
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(3), 0));
    assert!(decided.staged.is_none() && place.governing.rollout().is_none());
}

#[test]
fn what_is_not_governed_can_be_changed_while_the_files_are_those_of_the_version_that_is_rolled_out() {
    let place = Place::new("shadow = \"1h\"\n");
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    place.write(OTHER);
    place.turn_ops_off();
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(1), 0));
    assert!(decided.alarm.is_none() && decided.staged.is_some() && decided.loaded.ops.is_none());
    place.write(&format!("{OTHER}# by nobody\n"));
    assert!(matches!(place.choose(Why::Asked, Some(1)), Err(Refused::Alarm(Alarm { tampered: true, .. }))));
}

#[test]
fn the_end_of_a_rollout_leaves_alone_what_was_edited_meanwhile() {
    // Where approvals are required.
    let place = Place::new("shadow = \"1h\"\n");
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    place.turn_ops_off();
    assert_eq!(place.governing.finish_rollout(2), Ok(None));
    assert!(place.read("portcullis.toml").contains("[ops]") && place.read("policy.toml") == OTHER);
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.ops.is_none()), (Number::Known(2), true));
    // Where the files are believed, and one of them was edited that the change has, too: what was activated is in force until the next reload.
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    place.write_more("# by hand\n");
    place.turn_ops_off();
    let remark = place.governing.finish_rollout(2).unwrap().unwrap();
    assert!(remark.contains("left as they are (more/a.toml)"), "{remark}");
    assert_eq!(place.read("more/a.toml"), "# by hand\n");
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.ops.is_none()), (Number::Known(2), true));
    let more = decided.loaded.governed.files.iter().find(|file| file.name == "more/a.toml");
    assert_eq!(more.map(|file| &*file.bytes), Some(SOMEBODY.as_bytes()));
    assert!(matches!(place.choose(Why::Asked, Some(2)).unwrap().number, Number::Noted(..)));
}

/// Finding of 2026-11: steps of hours, live for everybody, a restart some minutes later: what was replaced seemed to be so hours ago, and its callers were banned.
#[test]
fn what_came_step_by_step_has_replaced_the_version_before_when_its_steps_were_over() {
    use std::time::Duration;
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    place.governing.finish_rollout(2).unwrap();
    let begun = Timestamp::from_microsecond(place.governing.governor().version(2).unwrap().time).unwrap();
    let (over, restarted) = (begun + Duration::from_secs(7_200), begun + Duration::from_secs(7_380));
    let written = |at: Timestamp| {
        let file = std::fs::File::options().append(true).open(place.folder.path().join("state.db.steps")).unwrap();
        file.set_modified(at.into()).unwrap();
    };
    let replaced = || place.governing.replaced_within(Duration::from_secs(900), 2, restarted);
    written(over);
    assert_eq!(replaced(), [(1, over)]);
    // Of a clock that went wrong, and of steps that were over for long.
    for at in [restarted + Duration::from_secs(60), begun + Duration::from_secs(60)] {
        written(at);
        assert_eq!(replaced(), []);
    }
}

/// It is written down every ten seconds, and whoever asks is told of now.
#[test]
fn how_far_it_has_come_is_told_as_of_now() {
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    let kept = place.governing.rollout().unwrap().rollout;
    let told = || place.perform(Governed::List { most: 1, before: None }).live.unwrap().rollout.unwrap();
    assert_eq!((told().spent_s, told().newly_permitted), (0, 0));
    place.governing.see(Rollout { spent_ms: 3_900, newly_permitted: 4, ..kept });
    assert_eq!((told().spent_s, told().newly_permitted), (3, 4));
    assert_eq!(place.governing.rollout().unwrap().rollout, kept, "what is kept is what was written");
    // What was seen of another step is nothing of this one.
    place.governing.see(Rollout { spent_ms: 9_000, ..kept.next() });
    assert_eq!(told().spent_s, 0);
}

#[test]
fn what_was_edited_and_not_reloaded_does_not_come_with_a_rollout() {
    let place = Place::believing("shadow = \"1h\"\n");
    let next = format!("{POLICY}# next\n");
    place.roll_out(&next);
    place.write(&format!("{POLICY}# half a thought\n"));
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.staged.is_some()), (Number::Known(1), true));
    // Nor with its end by hand.
    place.perform(Governed::Abort { reason: "it lets too many in".to_owned() });
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.staged.is_none()), (Number::Known(3), true));
    let policy = decided.loaded.governed.files.iter().find(|file| file.name == "policy.toml");
    assert_eq!(policy.map(|file| &*file.bytes), Some(POLICY.as_bytes()));
}

#[test]
fn a_process_that_ends_while_the_files_are_written_leaves_no_mix_of_two_versions() {
    let next = format!("{POLICY}# next\n");
    for written in 0..=2 {
        let place = Place::believing("shadow = \"1h\"\ncanary = [\"5%\"]\n");
        place.roll_out(&next);
        let rollout = place.governing.rollout().unwrap().rollout;
        place.governing.note_progress(rollout.ending()).unwrap();
        if written > 0 {
            place.write(&next);
        }
        if written > 1 {
            place.write_more(SOMEBODY);
        }
        let decided = place.choose(Why::Start, None).unwrap();
        assert_eq!(decided.number, Number::Known(2), "{written} files were written");
        assert!(decided.staged.is_none() && place.governing.rollout().is_none());
        let more = decided.loaded.governed.files.iter().find(|file| file.name == "more/a.toml");
        assert_eq!(more.map(|file| &*file.bytes), Some(SOMEBODY.as_bytes()));
        assert_eq!((place.read("policy.toml"), place.read("more/a.toml")), (next.clone(), SOMEBODY.to_owned()));
        assert_eq!(place.choose(Why::Asked, Some(2)).unwrap().number, Number::Known(2));
    }
}

#[test]
fn whoever_finishes_what_is_over_already_has_nothing_live() {
    let place = Place::new("shadow = \"1h\"\n");
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    assert!(place.governing.finish_rollout(1).is_err() && place.governing.take_back(1, "x", Timestamp::now()).is_err());
    let answer = place.perform(Governed::Abort { reason: "it lets too many in".to_owned() });
    assert!(answer.message.contains("version 2 was taken back by ana: it lets too many in; version 3"), "{answer:?}");
    let newest = place.governing.versions_back(1).next().unwrap();
    assert_eq!((newest.change.kind, newest.by.as_str(), newest.change.restores), (Kind::Revert, "ana", 1));
    assert!(place.governing.finish_rollout(2).is_err(), "version 3 is live, and stays so");
    assert!(!place.read("policy.toml").contains("assignment"), "nothing of it was written");
    let who = Who::account(1_000, Some("ana"));
    let abort = |reason: &str| {
        let wanted = Governed::Abort { reason: reason.to_owned() };
        place.governing.perform(wanted, &who, &Offline, Timestamp::now()).unwrap_err()
    };
    assert!(abort("again").contains("no version is being rolled out") && abort(" ").contains("needs a reason"));
}

#[test]
fn what_asks_for_more_of_a_second_factor_cannot_be_that_of_two_versions_at_once() {
    let place = Place::believing("shadow = \"1h\"\n");
    let more = SOMEBODY.replace("name = \"a\"", "name = \"b\"");
    let stricter = format!("{POLICY}{more}[step_up]\nmax_age = \"5m\"\n");
    let proposed = Proposed { policy: Some(stricter), files: None, again: None, base: None, by: by() };
    let id = place.perform(Governed::Propose(proposed)).changes[0].id.clone();
    let who = Who::account(1_000, Some("ana"));
    let wanted = Governed::Activate { id, at_once: None, unseen: None };
    let refused = place.governing.perform(wanted, &who, &Offline, Timestamp::now()).unwrap_err();
    assert!(refused.contains("it changes `[step_up]`"), "{refused}");
}

/// It looked once, or it cannot.
struct Once(std::cell::Cell<bool>);

impl Foresight for Once {
    fn foresee(&self, _: Loaded, patience: Duration) -> Result<Vec<u8>, String> {
        assert!(!patience.is_zero(), "what is signed is waited for");
        match self.0.replace(false) {
            true => Ok(br#"{"schema":"portcullis.impact/1","recent":{},"older":{},"coverage":{}}"#.to_vec()),
            false => Err("another policy is being tried".to_owned()),
        }
    }

    fn can_look(&self) -> bool {
        true
    }

    fn watches(&self) -> bool {
        true
    }
}

#[test]
fn what_was_signed_by_what_was_foreseen_is_not_live_where_nobody_can_look_again() {
    let place = Place::new("");
    let who = Who::account(1_000, Some("ana"));
    let foresight = Once(std::cell::Cell::new(true));
    let perform = |wanted| place.governing.perform(wanted, &who, &foresight, Timestamp::now());
    let proposed = |policy: &str| {
        Governed::Propose(Proposed { policy: Some(policy.to_owned()), files: None, again: None, base: None, by: by() })
    };
    let activate = |id: &str| perform(Governed::Activate { id: id.to_owned(), at_once: None, unseen: None });
    let id = perform(proposed(OTHER)).unwrap().answer.changes[0].id.clone();
    place.sign(&id);
    let refused = activate(&id).unwrap_err();
    assert!(
        refused.contains("cannot be tried once more") && refused.contains("another policy is being tried"),
        "{refused}"
    );
    // Finding of 2026-11: whoever kept the gateway busy, or turned the sample off, had it live unseen beside a gateway that could look.
    let unseen = Some("hurry".to_owned());
    let refused = perform(Governed::Activate { id: id.clone(), at_once: None, unseen }).unwrap_err();
    assert!(refused.contains("another policy is being tried") && !refused.contains("--unseen"), "{refused}");
    assert_eq!(place.governing.n(), 1);
    // By somebody who can look again it is live.
    foresight.0.set(true);
    activate(&id).unwrap();
    // Where it was signed that nobody could look, that is what was wanted; and of what changes no answer there is nothing to be seen.
    let blind = perform(proposed("version = 1\n# nobody\n")).unwrap().answer.changes[0].id.clone();
    place.sign(&blind);
    activate(&blind).unwrap();
    foresight.0.set(true);
    let neutral = perform(proposed("version = 1\n# nobody still\n")).unwrap().answer.changes[0].id.clone();
    place.sign(&neutral);
    activate(&neutral).unwrap();
    assert_eq!(place.governing.n(), 4);
}
