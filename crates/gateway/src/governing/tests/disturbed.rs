//! What happens in between: another version that becomes live, a disk that takes no more, a note that nobody can read.

use std::fs;

use portcullis_governance::{Ledger as _, Rollout};

use super::crashes::{Undisturbed, at_each_moment, fill_the_store};
use super::*;

/// A change of two files that lets somebody in, proposed beside the files of [`Place::believing`].
fn two_files(place: &Place, policy: &str) -> String {
    let mut content = content_of(&load(&place.config(), &ProcessEnvironment).unwrap());
    content.files.insert("policy.toml".to_owned(), policy.into());
    content.files.insert("more/a.toml".to_owned(), SOMEBODY.into());
    let files = content.files.iter().map(|(name, bytes)| File { name: name.clone(), content: BASE64.encode(bytes) });
    let proposed = Proposed { policy: None, files: Some(files.collect()), again: None, base: None, by: by() };
    place.perform(Governed::Propose(proposed)).changes[0].id.clone()
}

fn ask(place: &Place, wanted: Governed) -> Result<portcullis_admin::govern::Answer, String> {
    let who = Who::account(1_000, Some("ana"));
    place.governing.perform(wanted, &who, &Offline, Timestamp::now()).map(|performed| performed.answer)
}

fn at_once(id: &str) -> Governed {
    Governed::Activate { id: id.to_owned(), at_once: Some("hurry".to_owned()), unseen: None }
}

/// The same store, as another process has it.
fn other_process(place: &Place) -> Governor {
    let store = Settings { path: place.folder.path().join("state.db") };
    open_governor(&place.config(), &store, None).unwrap()
}

fn files_in_force(decided: &Decided) -> [String; 2] {
    let content = content_of(&decided.loaded);
    ["policy.toml", "more/a.toml"].map(|name| String::from_utf8(content.files[name].clone()).unwrap())
}

#[test]
fn a_draft_that_a_killed_process_left_keeps_no_version_from_being_written() {
    let place = Place::believing("shadow = \"1h\"\n");
    let next = format!("{POLICY}# next\n");
    place.roll_out(&next);
    fs::write(place.folder.path().join(".policy.toml.new"), "half a").unwrap();
    fs::write(place.folder.path().join("more/.a.toml.new"), "").unwrap();
    assert_eq!(place.governing.finish_rollout(2), Ok(None));
    assert_eq!((place.read("policy.toml"), place.read("more/a.toml")), (next, SOMEBODY.to_owned()));
}

/// Has the second file be one that nothing can take the place of, as soon as the first is in place.
fn break_the_second(place: &Place) -> Undisturbed {
    let policy = place.folder.path().join("policy.toml");
    at_each_moment(move |moment| {
        if moment == "more/a.toml is in place" {
            fs::remove_file(&policy).unwrap();
            fs::create_dir(&policy).unwrap();
        }
    })
}

fn mend(place: &Place, policy: &str) {
    fs::remove_dir(place.folder.path().join("policy.toml")).unwrap();
    place.write(policy);
}

#[test]
fn what_fails_after_the_first_of_several_files_is_in_force_and_repaired_by_the_next_reload() {
    let next = format!("{POLICY}# next\n");
    for steps in [false, true] {
        let place = Place::believing("shadow = \"1h\"\n");
        let id = two_files(&place, &next);
        if steps {
            place.perform(Governed::Activate { id: id.clone(), at_once: None, unseen: None });
        }
        let disturbed = break_the_second(&place);
        let answer = ask(&place, at_once(&id)).unwrap();
        drop(disturbed);
        assert!(answer.message.contains("its files are not all written"), "{steps}: {}", answer.message);
        assert_eq!(place.read("more/a.toml"), SOMEBODY, "{steps}: the first is in place");
        // Whoever put the old file back has a mix of both versions, which is believed by nobody.
        mend(&place, POLICY);
        let settings = Settings { path: place.folder.path().join("state.db") };
        let lock = Lock::share(&place.folder.path().join("other.db")).unwrap();
        let governor = open_governor(&place.config(), &settings, None).unwrap();
        let another = Governing::of(&place.config(), &settings, governor, Some(lock)).unwrap();
        assert!(another.is_ending(2), "{steps}: it is known after a restart, too");
        let decided = another.choose(None, Why::Start, None).unwrap();
        assert_eq!((decided.number, another.rollout()), (Number::Known(2), None), "{steps}");
        assert_eq!((place.read("policy.toml"), place.read("more/a.toml")), (next.clone(), SOMEBODY.to_owned()));
    }
}

/// Finding of 2026-11: whoever finished what could not be written at first did not know that nothing was seen of the last step, and told of it as of any other.
#[test]
fn what_was_seen_of_the_last_step_is_known_to_whoever_finishes_it_later() {
    for requests in [0, 7] {
        let place = Place::believing("shadow = \"1h\"\n");
        place.roll_out(&format!("{POLICY}# next\n"));
        let step = place.governing.rollout().unwrap().rollout;
        // Later than it was written down last.
        place.governing.see(Rollout { requests, ..step });
        let disturbed = break_the_second(&place);
        assert!(place.governing.finish_rollout(2).is_err());
        drop(disturbed);
        let kept = other_process(&place).standing().rollout.unwrap();
        assert_eq!((kept.is_ending(), kept.seen(), kept.ended_unseen()), (true, requests, requests == 0));
    }
}

#[test]
fn what_is_not_written_yet_is_in_force_whatever_the_files_hold() {
    let next = format!("{POLICY}# next\n");
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&next);
    let disturbed = break_the_second(&place);
    assert!(place.governing.finish_rollout(2).is_err());
    drop(disturbed);
    for why in [Why::Asked, Why::Activated] {
        let decided = place.choose(why, Some(1)).unwrap();
        assert_eq!((&decided.number, decided.staged.is_none()), (&Number::Known(2), true));
        assert_eq!(files_in_force(&decided), [next.clone(), SOMEBODY.to_owned()]);
    }
    // What is written in part is taken back as a version of its own.
    let refused = ask(&place, Governed::Abort { reason: "it lets too many in".to_owned() }).unwrap_err();
    assert!(refused.contains("`portcullis policy rollback` takes it back"), "{refused}");
    let answer = ask(&place, Governed::Rollback { n: None, by: by(), dry_run: false }).unwrap();
    assert!(answer.message.contains("version 3 is live") && answer.message.contains("not all written"), "{answer:?}");
    let decided = place.choose(Why::Activated, Some(1)).unwrap();
    assert_eq!((&decided.number, files_in_force(&decided)), (&Number::Known(3), [POLICY, NOBODY].map(str::to_owned)));
    mend(&place, "# by hand\n");
    assert_eq!(place.choose(Why::Asked, Some(3)).unwrap().number, Number::Known(3));
    assert_eq!((place.read("policy.toml").as_str(), place.read("more/a.toml").as_str()), (POLICY, NOBODY));
    assert_eq!(place.governing.rollout(), None);
    assert_eq!(place.read("policy.toml.edited-before-version-3"), "# by hand\n", "and nothing is lost by it");
}

#[test]
fn nothing_is_written_before_a_change_is_admitted() {
    let place = Place::believing("");
    let (first, second) =
        (two_files(&place, &format!("{POLICY}# one\n")), two_files(&place, &format!("{POLICY}# two\n")));
    let mut other = Some(other_process(&place));
    let disturbed = at_each_moment(move |moment| {
        if let Some(mut other) = other.take_if(|_| moment == "it is prepared") {
            let second = other.find(&second).unwrap();
            other.activate(second, "another process", Timestamp::now()).unwrap();
        }
    });
    let refused = ask(&place, at_once(&first)).unwrap_err();
    drop(disturbed);
    assert!(refused.contains("meanwhile"), "{refused}");
    assert_eq!((place.read("policy.toml").as_str(), place.read("more/a.toml").as_str()), (POLICY, NOBODY));
    // And what the other one did is known from then on.
    let refused = ask(&place, at_once(&first)).unwrap_err();
    assert!(refused.contains("version 1 was live, and 2 is now"), "{refused}");
}

#[test]
fn files_that_were_read_before_a_version_was_written_are_no_version() {
    let next = format!("{POLICY}# next\n");
    // A rollout that ends between the two.
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&next);
    let place = std::rc::Rc::new(place);
    let (ending, mut is_over) = (std::rc::Rc::clone(&place), false);
    let disturbed = at_each_moment(move |moment| {
        if moment == "the files are read" && !is_over {
            is_over = true;
            ending.governing.finish_rollout(2).unwrap();
        }
    });
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    drop(disturbed);
    assert_eq!(decided.number, Number::Known(2));
    assert_eq!(files_in_force(&decided), [next.clone(), SOMEBODY.to_owned()]);
    // A version that becomes live after they were chosen, and before they are noted.
    let place = Place::believing("");
    let id = two_files(&place, &next);
    place.write(&format!("{POLICY}# by hand\n"));
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    let Number::Noted(class, as_of) = decided.number else { panic!("{:?}", decided.number) };
    place.perform(at_once(&id));
    let noted = place.governing.note(&decided.loaded, (class, as_of), &Asked::by(vec!["ana".to_owned()]));
    assert!(noted.is_err() && place.governing.n() == 2, "{noted:?}");
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    assert_eq!(decided.number, Number::Known(2));
}

/// Keeps something else of the version that is rolled out, as a newer program would.
fn keep(place: &Place, record: &[u8]) {
    let mut versions = Versions::open(&Settings { path: place.folder.path().join("state.db") }).unwrap();
    let known = versions.rollout().unwrap();
    versions.set_rollout(known.as_deref(), Some(record)).unwrap();
}

/// What the store keeps, as a newer program would have written it.
fn newer(place: &Place) -> Vec<u8> {
    let versions = Versions::open(&Settings { path: place.folder.path().join("state.db") }).unwrap();
    let mut record = versions.rollout().unwrap().unwrap();
    let at = record.windows(3).position(|three| three == b"-v4").unwrap() + 2;
    record[at] = b'5';
    record.extend_from_slice(b"more");
    record
}

fn reopened(place: Place) -> Place {
    let Place { folder, governing, key } = place;
    drop(governing);
    let config = folder.path().join("portcullis.toml");
    let governing = Governing::open_alone(&config, &Settings { path: folder.path().join("state.db") }).unwrap();
    Place { folder, governing, key }
}

#[test]
fn what_nobody_can_read_of_a_version_that_is_rolled_out_has_it_decide_for_nobody() {
    let next = format!("{POLICY}# next\n");
    for required in [false, true] {
        for record in [&b"what a newer program keeps"[..], b""] {
            let begun = || {
                if required {
                    let place = Place::new("shadow = \"1h\"\n");
                    let id = place.approved(OTHER);
                    place.perform(Governed::Activate { id: id.clone(), at_once: None, unseen: None });
                    if record.is_empty() {
                        // Nothing but the row says how far it has come: else its step would begin anew.
                        keep(&place, record);
                        fs::remove_file(place.folder.path().join("state.db.steps")).unwrap();
                    } else {
                        keep(&place, &newer(&place));
                    }
                    return (reopened(place), id);
                }
                let place = Place::believing("shadow = \"1h\"\n");
                place.roll_out(&next);
                let id = place.governing.rollout().unwrap().rollout.change.to_string();
                keep(&place, record);
                (reopened(place), id)
            };
            let (place, id) = begun();
            let decided = place.choose(Why::Start, None).unwrap();
            assert_eq!((&decided.number, decided.staged.is_none()), (&Number::Known(1), true));
            let alarm = decided.alarm.unwrap();
            for part in ["how far version 2 has come", "version 1 serves everybody", "policy abort", "--now --reason"] {
                assert!(alarm.message.contains(part), "{part}: {}", alarm.message);
            }
            let rolling = place.governing.rollout().unwrap();
            assert!(rolling.rollout.is_held() && rolling.serving == 1);
            assert!(place.governing.note_progress(rolling.rollout.next()).is_err(), "no step follows");
            // A mix of the files is no third version.
            if !required {
                place.write(&next);
                assert!(matches!(place.choose(Why::Asked, Some(1)), Err(Refused::Alarm(_))));
                let decided = place.choose(Why::Start, None).unwrap();
                assert_eq!(files_in_force(&decided), [POLICY.to_owned(), NOBODY.to_owned()]);
                place.write(POLICY);
            }
            // Somebody says what is to be.
            ask(&place, at_once(&id)).unwrap();
            assert_eq!((place.governing.n(), place.governing.rollout()), (2, None));
            assert_eq!(place.choose(Why::Activated, Some(1)).unwrap().number, Number::Known(2));
            let (place, _) = begun();
            ask(&place, Governed::Abort { reason: "nobody knows".to_owned() }).unwrap();
            assert_eq!((place.governing.n(), place.governing.rollout()), (3, None));
            let place = reopened(place);
            assert_eq!(place.choose(Why::Start, None).unwrap().number, Number::Known(3));
        }
    }
}

#[test]
fn what_became_live_is_owed_until_it_is_in_force() {
    let place = Place::believing("");
    assert_eq!(place.governing.owed(), None);
    let id = two_files(&place, &format!("{POLICY}# next\n"));
    place.perform(at_once(&id));
    assert_eq!(place.governing.owed(), Some(2));
    place.governing.is_in_force(Some(1));
    assert_eq!(place.governing.owed(), Some(2), "what was chosen before it");
    place.governing.is_in_force(Some(2));
    assert_eq!(place.governing.owed(), None);
    place.perform(Governed::Rollback { n: None, by: by(), dry_run: false });
    assert_eq!(place.governing.owed(), Some(3));
    place.governing.is_in_force(None);
    assert_eq!(place.governing.owed(), None);
}

/// A disk that takes no more keeps nobody from taking a version out of force.
#[test]
fn what_cannot_be_written_as_taken_back_decides_for_nobody_all_the_same() {
    let place = Place::believing("canary = [\"5%\"]\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    assert!(place.choose(Why::Activated, Some(1)).unwrap().staged.is_some());
    fill_the_store(true);
    let refused = ask(&place, Governed::Abort { reason: "it lets too many in".to_owned() }).unwrap_err();
    assert!(
        refused.contains("version 2 decides for nobody from now on") && refused.contains("disk is full"),
        "{refused}"
    );
    for why in [Why::Asked, Why::Activated, Why::Start] {
        let decided = place.choose(why, Some(1)).unwrap();
        assert_eq!((&decided.number, decided.staged.is_none(), decided.alarm), (&Number::Known(1), true, None));
    }
    assert!(place.governing.rollout().is_some(), "by what is written it is rolled out still");
    fill_the_store(false);
    place.perform(Governed::Abort { reason: "it lets too many in".to_owned() });
    assert_eq!((place.governing.n(), place.governing.rollout()), (3, None));
}

/// Nor does it have files written of a version that is none.
#[test]
fn what_cannot_be_put_in_the_store_has_changed_nothing() {
    let place = Place::believing("");
    let id = two_files(&place, &format!("{POLICY}# next\n"));
    fill_the_store(true);
    assert!(ask(&place, at_once(&id)).unwrap_err().contains("disk is full"));
    fill_the_store(false);
    assert_eq!((place.read("policy.toml").as_str(), place.read("more/a.toml").as_str()), (POLICY, NOBODY));
    assert_eq!((place.governing.n(), place.governing.rollout()), (1, None));
    // A version that comes through its steps then stays in the last one, whole.
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    fill_the_store(true);
    assert!(place.governing.finish_rollout(2).unwrap_err().contains("disk is full"));
    fill_the_store(false);
    assert_eq!((place.read("policy.toml").as_str(), place.read("more/a.toml").as_str()), (POLICY, NOBODY));
    assert!(!place.governing.is_ending(2));
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

/// Finding of 2026-11: an edit that could not be kept, or a file that could not be read, held up what had been approved.
#[test]
fn what_was_edited_by_hand_and_cannot_be_kept_holds_up_nothing_that_was_approved() {
    for is_folder in [false, true] {
        let place = Place::new("");
        let id = place.approved(OTHER);
        if is_folder {
            fs::remove_file(place.folder.path().join("policy.toml")).unwrap();
            fs::create_dir(place.folder.path().join("policy.toml")).unwrap();
        } else {
            place.write("# by hand\n");
            // Where it would be kept something else is.
            fs::create_dir(place.folder.path().join("policy.toml.edited-before-version-2")).unwrap();
        }
        let answer = ask(&place, at_once(&id)).unwrap();
        assert!(answer.message.contains("version 2 is live"), "{}", answer.message);
        assert!(answer.message.contains("still hold something else (`policy.toml`: "), "{}", answer.message);
        assert_eq!((place.governing.n(), place.governing.rollout()), (2, None));
        assert!(is_folder || place.read("policy.toml") == "# by hand\n", "it is not written over");
        let decided = place.choose(Why::Activated, Some(1)).unwrap();
        let policy = content_of(&decided.loaded).files["policy.toml"].clone();
        assert_eq!((decided.number, policy.as_slice()), (Number::Known(2), OTHER.as_bytes()));
    }
    // Where files are believed it has to be kept, or nothing becomes live.
    let place = Place::believing("");
    let id = two_files(&place, &format!("{POLICY}# next\n"));
    place.write("# by hand\n");
    fs::create_dir(place.folder.path().join("policy.toml.edited-before-version-2")).unwrap();
    ask(&place, at_once(&id)).unwrap_err();
    assert_eq!((place.governing.n(), place.read("policy.toml").as_str()), (1, "# by hand\n"));
}

/// Contents as an earlier version of the program read them: without the values of variables.
struct Earlier(Source);

impl portcullis_governance::PolicySource for Earlier {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let loaded = load_sealed(&self.0.config, content).map_err(|report| report.summary_line())?;
        Ok(Assessed { rules: loaded.governance, governed: Hash(loaded.governed.written) })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        self.0.class(before, after)
    }
}

#[test]
fn what_an_earlier_program_had_approved_with_variables_is_still_that() {
    const NAMED: &str = "version = 1\n[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n[[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:${PORTCULLIS_TEST_NOBODY:-a}\"]\nscope = \"*\"\n";
    let place = Place::with("required = true\napprovals = { loosen = 1, keys = 1 }\n", "");
    place.write(NAMED);
    let Place { folder, governing, key } = place;
    drop(governing);
    let (config, store) = (folder.path().join("portcullis.toml"), Settings { path: folder.path().join("state.db") });
    let loaded = load(&config, &ProcessEnvironment).unwrap();
    assert_ne!(loaded.governed.written, loaded.governed.digest);
    let mut approvers = ApproverSet::default();
    approvers.add("ben", &[], key.public(), Timestamp::now()).unwrap();
    let begin = Wish {
        kind: Kind::Keys,
        content: content_of(&loaded),
        approvers: Some(approvers),
        authors: vec!["ana".to_owned()],
        reason: "because".to_owned(),
        ticket: String::new(),
        impact: Vec::new(),
        restores: 0,
    };
    let (versions, head) = (Versions::open(&store).unwrap(), HeadFile::beside(&store.path));
    let earlier = Earlier(Source { config: config.clone() });
    let (mut governor, _) = Governor::open(Box::new(versions), Box::new(head), Box::new(earlier), None).unwrap();
    governor.begin(&begin, Timestamp::now()).unwrap();
    drop(governor);
    let place = Place { governing: Governing::open_alone(&config, &store).unwrap(), folder, key };
    for (why, in_force) in [(Why::Start, None), (Why::Asked, Some(1)), (Why::Activated, Some(1))] {
        let decided = place.choose(why, in_force).unwrap();
        assert_eq!((decided.number, decided.alarm), (Number::Known(1), None), "{why:?}");
    }
    let amiss = || place.governing.amiss(load(&place.config(), &ProcessEnvironment).as_ref());
    assert_eq!(amiss(), None);
    // And what it is not is not.
    place.write(&NAMED.replace("NOBODY:-a", "NOBODY:-b"));
    assert!(amiss().is_some_and(|alarm| alarm.tampered));
    assert!(matches!(place.choose(Why::Asked, Some(1)), Err(Refused::Alarm(_))));
    let decided = place.choose(Why::Start, None).unwrap();
    assert!(decided.number == Number::Known(1) && decided.alarm.is_some());
    // What follows is compared with it.
    let id = place.approved(NAMED.replace("user:$", "user:x$").as_str());
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    assert_eq!(place.choose(Why::Activated, Some(1)).unwrap().number, Number::Known(2));
}
