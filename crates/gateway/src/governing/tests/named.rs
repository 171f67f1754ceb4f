//! Versions hold what their files hold, under whatever names.

use super::*;
use crate::governing::source::{load_sealed, versionable};

#[test]
fn no_version_is_made_of_files_that_read_from_it_would_be_another_policy() {
    let place = Place::believing("");
    let mut loaded = load(&place.config(), &ProcessEnvironment).unwrap();
    assert!(versionable(&place.config(), &loaded).is_ok());
    // An included file that would be missing from the version.
    loaded.governed.files.retain(|file| file.name != "more/a.toml");
    let why = versionable(&place.config(), &loaded).unwrap_err();
    assert!(why.contains("no version is made of the files on disk"), "{why}");
    loaded.governed.digest = [7; 32];
    let as_of = AsOf::now(&place.governing.governor());
    let noted = place.governing.note(&loaded, (Class::Mixed, as_of), &Asked::by(vec!["ana".to_owned()]));
    assert_eq!((noted.unwrap(), place.governing.n()), (None, 1));
}

/// Finding of 2026-11: such versions were made where the path of the configuration was given without a folder.
#[test]
fn a_version_that_calls_an_included_file_by_its_earlier_name_is_in_force_with_it() {
    let place = Place::with("", "");
    std::fs::create_dir(place.folder.path().join("more")).unwrap();
    place.write(POLICY);
    place.write_more(SOMEBODY);
    let loaded = load(&place.config(), &ProcessEnvironment).unwrap();
    let mut content = content_of(&loaded);
    let included = content.files.remove("more/a.toml").unwrap();
    // What was approved then: without the file, which was missed.
    let then = load_sealed(&place.config(), &content).unwrap().governed.digest;
    content.files.insert("./more/a.toml".to_owned(), included);
    let kept = load_sealed(&place.config(), &content).unwrap();
    assert_eq!((kept.summary.assignments, kept.governed.is(&then)), (1, true));
    assert_eq!(kept.governed.digest, loaded.governed.digest);
    // On the disk a file that nobody approved is not passed over.
    assert!(!loaded.governed.is(&then));
    let wish = Wish {
        kind: Kind::Change,
        content,
        approvers: None,
        authors: vec!["ana".to_owned()],
        reason: "then".to_owned(),
        ticket: String::new(),
        impact: Vec::new(),
        restores: 0,
    };
    let assessed = Assessed { rules: loaded.governance, governed: Hash(then) };
    place.governing.governor().note(&wish, (assessed, Class::Mixed), Timestamp::now()).unwrap();
    let decided = place.choose(Why::Start, None).unwrap();
    assert_eq!((decided.number, decided.loaded.summary.assignments), (Number::Known(1), 1));
    // It comes back under the name of today.
    place.write_more(NOBODY);
    let changed = place.choose(Why::Asked, Some(1)).unwrap();
    let Number::Noted(class, as_of) = changed.number else { panic!("{:?}", changed.number) };
    place.governing.note(&changed.loaded, (class, as_of), &Asked::by(vec!["ana".to_owned()])).unwrap();
    std::fs::remove_dir_all(place.folder.path().join("more")).unwrap();
    place.perform(Governed::Rollback { n: Some(1), by: by(), dry_run: false });
    assert_eq!(place.read("more/a.toml"), SOMEBODY);
}
