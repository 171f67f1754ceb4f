//! `demo --once`: what somebody sees first works with nothing else installed.

use std::time::Duration;

use crate::harness::portcullis;

#[test]
fn the_demo_ends_by_itself_and_every_answer_is_as_expected() {
    let folder = tempfile::tempdir().unwrap();
    let finished = portcullis().args(["demo", "--once"]).cwd(folder.path()).run(Duration::from_secs(60));
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(0), "{said}\n{}", finished.stderr.join("\n"));
    for word in ["as expected", "rbac.", "authn.", "ban.active", "200 OK"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it leaves nothing behind where it was started");
}
