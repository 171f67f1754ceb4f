//! What a report says in its forms, and from one run to the next.

use portcullis_testkit::published::sarif_problems;
use serde_json::Value;

use super::{DAY, NOW, Site, now};
use crate::audit::{Finding, Kind, Place, Report, Severity, Status, Suppression, difference, markdown, sarif, text};

fn site() -> Site {
    let mut site = Site::new();
    site.role("reader", &["GET /a", "PUT /a"]);
    site.grant("alice reads | <b>", "reader", &["user:alice"]);
    site.grant("temp-x", "reader", &["user:alice"]);
    site.uses("user:alice", "GET /a", 1);
    site
}

#[test]
fn a_fingerprint_is_the_same_from_run_to_run() {
    let mut site = site();
    let first = site.run();
    let finding = first.findings.iter().find(|finding| finding.id == "LP11").unwrap().clone();
    assert_eq!((finding.status, finding.first_seen.as_str()), (Status::New, "2026-11-23T12:00:00Z"));
    site.before = Some(Report { at: String::new(), ..first.clone() });
    site.before
        .as_mut()
        .unwrap()
        .findings
        .iter_mut()
        .for_each(|finding| finding.first_seen = "2026-01-01T00:00:00Z".into());
    site.draft.assignments[1].name.at.line += 7;
    let second = site.run();
    let again = second.find(&finding.fingerprint).unwrap();
    assert_eq!((again.status, again.first_seen.as_str()), (Status::Open, "2026-01-01T00:00:00Z"));
    site.suppressions = vec![Suppression {
        fingerprint: finding.fingerprint.clone(),
        owner: "ana".to_owned(),
        reason: "until the move".to_owned(),
        made: NOW - DAY,
        until: NOW + 1,
        made_by: "uid 1000 (ana)".to_owned(),
        severity: Some(finding.severity),
        confirmed_by: String::new(),
        names: Vec::new(),
    }];
    let third = site.run();
    assert_eq!(third.find(&finding.fingerprint).unwrap().status, Status::Suppressed);
    let lines = text(&third);
    let of_it: Vec<&String> = lines.iter().filter(|line| line.contains(&finding.fingerprint)).collect();
    assert_eq!(of_it.len(), 1, "{lines:#?}");
    let why = "until the move (owner ana, suppressed by uid 1000 (ana)), until 2026-11-23T12:00:01Z";
    assert!(of_it[0].starts_with("suppressed: medium LP11 ") && of_it[0].ends_with(why), "{of_it:?}");
    assert!(markdown(&third).contains("## Suppressed") && markdown(&third).contains("until the move"));
    let log = sarif(&third, "1.2.3");
    let suppressed = log["runs"][0]["results"].as_array().unwrap().iter().find(|one| one["suppressions"].is_array());
    assert_eq!(suppressed.unwrap()["suppressions"][0]["justification"], why);
    let json = serde_json::to_value(&third).unwrap();
    let kept = json["findings"].as_array().unwrap().iter().find(|one| one["suppression"].is_object()).unwrap();
    assert_eq!(
        (&kept["suppression"]["owner"], &kept["suppression"]["made_by"]),
        (&"ana".into(), &"uid 1000 (ana)".into())
    );
    assert_eq!(
        third.has_open(Severity::Medium),
        second.findings.iter().any(|one| one.id != "LP11" && one.severity >= Severity::Medium)
    );
    // It was of something less bad.
    site.suppressions[0].severity = Some(Severity::Low);
    assert_eq!(site.run().find(&finding.fingerprint).unwrap().status, Status::Open, "it has become worse");
    site.suppressions[0].severity = None;
    assert_eq!(site.run().find(&finding.fingerprint).unwrap().status, Status::Suppressed, "of an earlier version");
    site.suppressions[0].until = NOW;
    assert_eq!(site.run().find(&finding.fingerprint).unwrap().status, Status::Open, "it is over");
}

/// The run before was made under a clock that was ahead.
#[test]
fn what_was_first_seen_in_the_future_was_first_seen_now() {
    let mut site = site();
    let mut before = site.run();
    before.findings.iter_mut().for_each(|finding| finding.first_seen = "2036-01-01T00:00:00Z".to_owned());
    site.before = Some(before);
    for finding in site.run().findings {
        assert_eq!((finding.status, finding.first_seen.as_str()), (Status::Open, "2026-11-23T12:00:00Z"));
    }
}

#[test]
fn two_runs_are_compared_by_what_they_found() {
    let mut site = site();
    let first = site.run();
    site.uses("user:alice", "PUT /a", 1);
    site.grant("tmp", "reader", &["user:alice"]);
    let second = site.run();
    let found = difference(&first, &second);
    let ids = |findings: &[Finding]| findings.iter().map(|finding| finding.id.clone()).collect::<Vec<_>>();
    assert!(
        ids(&found.new).contains(&"LP11".to_owned()) && ids(&found.resolved).contains(&"LP01".to_owned()),
        "{found:?}"
    );
    let same = difference(&first, &first);
    assert_eq!((same.new.len(), same.resolved.len(), same.unchanged), (0, 0, first.findings.len()));
}

#[test]
fn a_report_comes_back_from_json_as_it_was() {
    let report = site().run();
    let mut read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    // What is proposed as data is for this run alone.
    for (finding, original) in read.findings.iter_mut().zip(&report.findings) {
        finding.edits.clone_from(&original.edits);
    }
    assert_eq!(read, report);
    let line: Value = serde_json::from_str(&serde_json::to_string(&report.findings[0]).unwrap()).unwrap();
    for key in [
        "id",
        "type",
        "severity",
        "principal",
        "permission",
        "evidence",
        "recommendation",
        "first_seen",
        "status",
        "fingerprint",
    ] {
        assert!(line.get(key).is_some(), "{key}");
    }
    for key in ["granted_at", "last_used", "observed_since", "peers", "denials"] {
        assert!(line["evidence"].get(key).is_some(), "{key}");
    }
    assert!(line["recommendation"].get("change").is_some() && line["recommendation"].get("preview").is_some());
}

#[test]
fn what_names_say_is_no_markup() {
    let report = site().run();
    let text = markdown(&report);
    assert!(text.starts_with("# Least-privilege audit 20261123T120000Z-"), "{text}");
    assert!(!text.contains("alice reads | <b>,") && !text.replace("`alice reads | <b>`", "").contains("<b>"), "{text}");
    assert!(text.contains("## LP01 unused_permission") && text.contains("```toml"), "{text}");
}

#[test]
fn what_was_not_tried_is_said() {
    let mut report = site().run();
    let said = |report: &Report| (text(report).join("\n"), markdown(report));
    assert!(!said(&report).0.contains("not tried") && report.untried == 0);
    for (untried, words) in
        [(1, "1 proposal was not tried, and is not made"), (7, "7 proposals were not tried, and are not made")]
    {
        report.untried = untried;
        let (text, markdown) = said(&report);
        assert!(text.contains(words) && markdown.contains(words), "{text}");
    }
}

#[test]
fn sarif_is_of_version_2_1_0() {
    let report = site().run();
    let log = sarif(&report, "1.2.3");
    assert_eq!((&log["version"], log["runs"].as_array().unwrap().len()), (&"2.1.0".into(), 1));
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), Kind::ALL.len());
    assert_eq!(run["results"].as_array().unwrap().len(), report.findings.len());
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert_eq!(result["partialFingerprints"]["portcullisFinding/v1"].as_str().unwrap().len(), 16);
        for place in result["locations"].as_array().unwrap() {
            assert!(place["physicalLocation"]["region"]["startLine"].as_u64().unwrap() >= 1);
            assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "policy.toml");
        }
    }
}

/// By the schema of OASIS; and each result has a place, since shows of findings beside lines take none without.
#[test]
fn sarif_of_every_kind_is_valid_by_the_schema_that_was_published() {
    let mut report = site().run();
    report.not_looked_at.insert("LP08".to_owned(), "there is no log of versions".to_owned());
    for (number, kind) in (0_u32..).zip(Kind::ALL) {
        let mut finding = Finding::new(kind, kind.usual(), Some("user:alice"), None, "x");
        finding.message = format!("{kind}");
        let file = if number.is_multiple_of(4) { "/etc/portcullis/the policy.toml" } else { "policy.toml" };
        let place =
            Place { kind: "assignment".to_owned(), name: "a b".to_owned(), file: file.to_owned(), line: number };
        finding.place = number.is_multiple_of(2).then_some(place);
        if number.is_multiple_of(3) {
            finding.status = Status::Suppressed;
            finding.suppression = Some(Suppression {
                fingerprint: finding.fingerprint.clone(),
                owner: "ana".to_owned(),
                reason: "until the move".to_owned(),
                made: NOW - DAY,
                until: NOW + 1,
                made_by: String::new(),
                severity: None,
                confirmed_by: String::new(),
                names: Vec::new(),
            });
        }
        report.findings.push(finding);
    }
    let log = sarif(&report, "1.2.3");
    assert_eq!(sarif_problems(&log.to_string()), Vec::<String>::new());
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(results.len() > Kind::ALL.len());
    for result in results {
        let [place] = &result["locations"].as_array().unwrap()[..] else { panic!("one place: {result}") };
        assert!(place["physicalLocation"]["region"]["startLine"].as_u64().unwrap() >= 1, "{result}");
        assert!(result["properties"]["security-severity"].as_str().unwrap().parse::<f64>().is_ok(), "{result}");
    }
    let absolute = results.iter().filter(|result| {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            == "file:///etc/portcullis/the%20policy.toml"
    });
    assert_eq!(absolute.count(), 5);
}

#[test]
fn ids_and_names_are_a_contract() {
    let all: Vec<String> = Kind::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(
        all.join("\n"),
        "LP01 unused_permission\nLP02 unused_role_binding\nLP03 dormant_principal\nLP04 orphan_principal\n\
        LP05 wildcard_grant\nLP06 over_exposure\nLP07 peer_outlier_grant\nLP08 abnormal_recent_grant\nLP09 toxic_combination\n\
        LP10 self_escalation_path\nLP11 expired_still_present\nLP12 break_glass_unreviewed\nLP13 public_route\nLP14 broad_cidr\n\
        LP15 unused_cidr\nLP16 duplicate_role\nLP17 shadowed_rule\nLP18 under_privileged"
    );
    let _ = now();
}
