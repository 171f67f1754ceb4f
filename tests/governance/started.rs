//! How the gateway is started by what is shipped, where somebody has edited the files of a governed one.

use super::*;

/// The value of each line of that key in a unit.
fn lines(unit: &str, key: &str) -> Vec<String> {
    let text = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docker").join(unit)).unwrap();
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// A command of the unit, on this site.
fn words(site: &Site, command: &str) -> Vec<String> {
    let config = site.path("portcullis.toml").display().to_string();
    let words = command.strip_prefix("/usr/bin/portcullis ").unwrap().split(' ');
    words.map(|word| word.replace("/etc/portcullis/portcullis.toml", &config)).collect()
}

#[test]
fn the_unit_makes_no_outage_of_a_file_that_somebody_edited() {
    let upstream = Upstream::start();
    let (site, _, _) = governed(&upstream);
    site.file("policy.toml", "broken");
    for command in lines("portcullis.service", "ExecStartPre") {
        let before = portcullis().args(words(&site, &command)).run(PATIENCE);
        assert!(before.status.success(), "{command}: {before:?}");
    }
    let [start] = &lines("portcullis.service", "ExecStart")[..] else { panic!("one command starts it") };
    let mut process = portcullis().args(words(&site, start)).start();
    process.wait_for("the alarm", PATIENCE, |line| line.contains("version 1 stays in force").then_some(()));
    process.stop(PATIENCE);
}

#[test]
fn with_the_drop_in_no_other_store_is_taken_whatever_the_configuration_says() {
    let upstream = Upstream::start();
    let (site, _, _) = governed(&upstream);
    let approved = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let ungoverned = approved.replace("state.db", "other.db").replace("required = true", "required = false");
    fs::write(site.path("portcullis.toml"), ungoverned).unwrap();
    let settings = lines("portcullis.service.d/governed.conf", "Environment");
    assert_eq!(settings.len(), 1, "{settings:?}");
    let (name, store) = settings[0].split_once('=').unwrap();
    assert_eq!(store, "/var/lib/portcullis/portcullis.db");
    let mut process =
        portcullis().env(name, site.path("state.db")).arg("-c").arg(site.path("portcullis.toml")).arg("run").start();
    process.wait_for("the alarm", PATIENCE, |line| line.contains("version 1 stays in force").then_some(()));
    process.stop(PATIENCE);
}
