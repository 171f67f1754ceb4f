//! What is put in force where the files are not what was approved.

use std::path::PathBuf;

use portcullis_admin::govern::{Author, Governed, NewApprover, Proposed};
use portcullis_governance::{Approval, Decision, Request, SigningKey, armored_approval};
use portcullis_store::Settings;
use tempfile::TempDir;

use super::*;

const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n[store]\npath = \"state.db\"\n[governance]\nrequired = true\n";

struct Place {
    folder: TempDir,
    governing: Governing,
    key: SigningKey,
}

impl Place {
    /// A gateway whose changes ben approves, at version 1.
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("portcullis.toml");
        std::fs::write(&config, format!("{GATEWAY}approvals = {{ loosen = 1, keys = 1 }}\n{more}")).unwrap();
        std::fs::write(folder.path().join("policy.toml"), "version = 1\n").unwrap();
        let governing = Governing::open_alone(&config, &Settings { path: folder.path().join("state.db") }).unwrap();
        let key = SigningKey::generate().unwrap().0;
        let ben = NewApprover { person: "ben".to_owned(), aliases: Vec::new(), key: key.public().to_pem() };
        let init = Governed::Init { approvers: vec![ben], by: by() };
        let place = Self { folder, governing, key };
        place.perform(init);
        place
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    fn write(&self, policy: &str) {
        std::fs::write(self.folder.path().join("policy.toml"), policy).unwrap();
    }

    fn perform(&self, wanted: Governed) -> portcullis_admin::govern::Answer {
        let who = Who::account(1_000, Some("ana"));
        self.governing.perform(wanted, &who, &Offline, Timestamp::now()).unwrap().answer
    }

    /// Proposes and approves; returns the id.
    fn approved(&self, policy: &str) -> String {
        let proposed = Proposed { policy: Some(policy.to_owned()), files: None, by: by() };
        let id = self.perform(Governed::Propose(proposed)).changes[0].id.clone();
        let request = self.perform(Governed::Request { id: id.clone() }).request.unwrap();
        let request = Request::from_armored(&request).unwrap();
        let approval =
            Approval::sign(request.instance, &request.change, Decision::Approve, &self.key, Timestamp::now());
        self.perform(Governed::Approve { approval: armored_approval(request.change.id, &approval) });
        id
    }

    fn choose(&self, why: Why, in_force: Option<u64>) -> Result<Decided, Refused> {
        self.governing.choose(load(&self.config(), &ProcessEnvironment), why, in_force)
    }
}

fn by() -> Author {
    Author { name: None, reason: "because".to_owned(), ticket: None }
}

/// It lets somebody in: what changes no answer takes no steps.
const OTHER: &str = "version = 1\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"*\"\n";

#[test]
fn what_was_activated_and_is_not_in_force_yet_is_put_in_force_by_the_next_reload() {
    let place = Place::new("");
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None });
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
    let proposed = Proposed { policy: Some(named.to_owned()), files: None, by: by() };
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
    place.perform(Governed::Activate { id: id.clone(), at_once: None });
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(1), 0));
    let staged = decided.staged.unwrap().into_staged();
    assert_eq!((staged.policy.version(), staged.share), (2, 0));
    // The files hold what serves, until it is over.
    assert!(!std::fs::read_to_string(place.folder.path().join("policy.toml")).unwrap().contains("assignment"));
    place.perform(Governed::Activate { id, at_once: Some("hurry".to_owned()) });
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(2), 1));
    assert!(decided.staged.is_none() && decided.alarm.is_none());
}

#[test]
fn what_is_taken_back_leaves_what_served_under_a_number_of_its_own() {
    let place = Place::new("shadow = \"1h\"\n");
    place.choose(Why::Start, None).unwrap();
    let id = place.approved(OTHER);
    place.perform(Governed::Activate { id, at_once: None });
    assert_eq!(place.governing.take_back("too much", Timestamp::now()).unwrap(), (3, None));
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(3), 0));
    assert!(decided.staged.is_none() && place.governing.rollout().is_none());
}
