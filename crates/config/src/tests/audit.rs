//! `[audit]`.

use std::time::Duration;

use jiff::tz::TimeZone;
use portcullis_insight::AuditSettings;
use portcullis_insight::audit::{Schedule, Weekly};

use super::{Folder, GATEWAY};

const STORE: &str = "[store]\n";

fn folder(appended: &str) -> Folder {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    folder
}

#[test]
fn what_is_written_is_what_holds() {
    assert_eq!(folder("").loaded().audit, None, "without a store nothing is counted");
    let counted = AuditSettings { schedule: None, ..AuditSettings::default() };
    assert_eq!(folder(STORE).loaded().audit, Some(counted), "with one usage is counted, and looked at by hand");
    assert_eq!(folder(&format!("{STORE}[audit]\n")).loaded().audit, Some(AuditSettings::default()));
    assert_eq!(folder(&format!("{STORE}[audit]\nenabled = false\n")).loaded().audit, None);
    assert_eq!(folder("[audit]\nenabled = false\n").loaded().audit, None);
    let all = "[audit]\nschedule = \"12h\"\nunused_after = \"30d\"\nmin_observed = \"7d\"\nkeep = 3\nover_exposure = \"75%\"\n\
               outlier_share = \"2%\"\npeers = 20\nkeep_share = \"10%\"\ndenials = 9\nzone = \"Europe/Berlin\"\ntemporary_words = [\"poc\"]\n\
               control_routes = [\"billing\"]\n";
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let expected = AuditSettings {
        schedule: Some(Schedule::Every(days(1) / 2)),
        unused_after: days(30),
        min_observed: days(7),
        keep: 3,
        over_exposure: 0.75,
        outlier_share: 0.02,
        peers: 20,
        keep_share: 0.1,
        denials: 9,
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        temporary_words: vec!["poc".to_owned()],
        control_routes: vec!["billing".to_owned()],
    };
    assert_eq!(folder(&format!("{STORE}{all}")).loaded().audit, Some(expected));
    let schedule =
        |word: &str| folder(&format!("{STORE}[audit]\nschedule = \"{word}\"\n")).loaded().audit.unwrap().schedule;
    let every = |count: u64| Some(Schedule::Every(days(count)));
    assert_eq!(["off", "daily", "weekly", "monthly"].map(schedule), [None, every(1), every(7), every(30)]);
    let weekly = |text: &str, days: u8, minute: u16, zone: &str| {
        let zone = TimeZone::get(zone).unwrap();
        assert_eq!(schedule(text), Some(Schedule::Weekly(Weekly { text: text.into(), days, minute, zone })), "{text}");
    };
    weekly("Mon 03:00 Europe/Berlin", 1, 180, "Europe/Berlin");
    weekly("Sat,sun 23:59 UTC", 0b110_0000, 1_439, "UTC");
    weekly("* 00:00 Asia/Tokyo", 0x7f, 0, "Asia/Tokyo");
}

#[test]
fn what_cannot_be_is_told_where_it_stands() {
    let check = |text: &str, code: &'static str, line: usize, column: usize, fragment: &'static str| {
        let text = format!("{STORE}{text}");
        folder(&text).check(&text, &[(code, &format!("portcullis.toml:{}:{column}", line + 10), fragment)]);
    };
    check("[audit]\nschedule = \"yearly\"\n", "E0105", 3, 12, "\"daily\", \"weekly\", \"monthly\" or a duration");
    check("[audit]\nschedule = \"1s\"\n", "E0105", 3, 12, "must be from 1m to 366d");
    check("[audit]\nschedule = \"Mon 24:00 UTC\"\n", "E0105", 3, 12, "`24:00` is not a time of the day");
    check("[audit]\nschedule = \"Mon 03:00-04:00 UTC\"\n", "E0105", 3, 12, "is not `DAYS HH:MM ZONE`");
    check("[audit]\nschedule = \"Mo 03:00 UTC\"\n", "E0105", 3, 12, "`Mo` is not a day");
    check("[audit]\nschedule = \"Mon 03:00 Berlin\"\n", "E0105", 3, 12, "`Berlin` is not a time zone");
    check("[audit]\nschedule = \"Mon 03:00\"\n", "E0105", 3, 12, "or a time such as");
    check("[audit]\nzone = \"Berlin\"\n", "E0105", 3, 8, "expected a time zone such as");
    check("[audit]\nschedule = 7\n", "E0104", 3, 12, "");
    check("[audit]\nunused_after = \"400d\"\n", "E0105", 3, 16, "must be from 1s to 366d");
    check("[audit]\npeers = 2\n", "E0105", 3, 9, "a whole number from 3");
    check("[audit]\nover_exposure = 60\n", "E0104", 3, 17, "");
    check("[audit]\nunused = \"90d\"\n", "E0103", 3, 1, "did you mean `unused_after`?");
    check("[audit]\ncontrol_routes = [\"bililng\"]\n", "E0202", 3, 19, "did you mean `billing`?");
    let alone = "[audit]\nschedule = \"weekly\"\n";
    folder(alone).check(alone, &[("E0203", "portcullis.toml:11:1", "add `[store]`")]);
}
