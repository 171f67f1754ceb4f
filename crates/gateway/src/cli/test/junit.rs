//! The results as JUnit XML, in the form that CI servers read: a suite for each case file, a test for each case.
//!
//! There is no standard, only readers. The elements and attributes are those that Jenkins, GitLab and GitHub's actions agree on;
//! `file` and `line` are what the latter two make links of.

use std::io;
use std::path::Path;
use std::time::Duration;

use portcullis_policy::{CoverageReport, Policy};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::ElementWriter;

use super::report::failure_lines;
use super::trial::{Trial, Verdict};
use super::{Run, covered};

/// At most this many rules that are not covered are named: the answer on standard output has them all.
const MAX_MISSING: usize = 1_000;

type Xml = Writer<Vec<u8>>;

/// Writes the file; one that is there is overwritten.
pub(super) fn write(path: &Path, policy: &Policy, run: &Run<'_>) -> io::Result<()> {
    std::fs::write(path, to_xml(policy, run)?)
}

fn to_xml(policy: &Policy, run: &Run<'_>) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all: Vec<&Trial<'_>> = run.trials().collect();
    let attributes = [vec![("name", "portcullis test".to_owned())], counts(&all)].concat();
    element(&mut xml, "testsuites", &attributes, |xml| {
        for (file, trials) in &run.suites {
            suite(xml, policy, run, &file.path, trials)?;
        }
        Ok(())
    })?;
    let mut bytes = xml.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn suite(xml: &mut Xml, policy: &Policy, run: &Run<'_>, path: &Path, trials: &[Trial<'_>]) -> io::Result<()> {
    let name = path.display().to_string();
    let own = vec![
        ("name", name.clone()),
        ("file", name),
        ("timestamp", run.began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ];
    let attributes = [own, counts(&trials.iter().collect::<Vec<_>>())].concat();
    element(xml, "testsuite", &attributes, |xml| {
        element(xml, "properties", &[], |xml| {
            property(xml, "policy.version", policy.version().to_string())?;
            property(xml, "policy.sha256", policy.sha256().to_owned())?;
            run.coverage.as_ref().map_or(Ok(()), |coverage| coverage_properties(xml, coverage))
        })?;
        trials.iter().try_for_each(|trial| test(xml, trial))
    })
}

/// The coverage is that of the whole run: it cannot be told by file.
fn coverage_properties(xml: &mut Xml, coverage: &CoverageReport) -> io::Result<()> {
    let total = coverage.total();
    property(xml, "coverage.rules.covered", total.covered.to_string())?;
    property(xml, "coverage.rules.total", total.total.to_string())?;
    property(xml, "coverage.rules.percent", total.percent().to_string())?;
    for (kind, count) in &coverage.kinds {
        let name = format!("coverage.{}", kind.plural());
        property(xml, &name, format!("{}/{}", count.covered, count.total))?;
    }
    coverage
        .missing
        .iter()
        .take(MAX_MISSING)
        .try_for_each(|item| property(xml, "coverage.missing", covered::hint(item)))
}

fn property(xml: &mut Xml, name: &str, value: String) -> io::Result<()> {
    empty(xml, "property", &[("name", name.to_owned()), ("value", value)])
}

fn test(xml: &mut Xml, trial: &Trial<'_>) -> io::Result<()> {
    let file = trial.path.display().to_string();
    let attributes = [
        ("classname", class_name(&file)),
        ("name", trial.case.name.clone()),
        ("file", file),
        ("line", trial.case.at.line.to_string()),
        ("time", seconds(trial.took)),
    ];
    match &trial.verdict {
        Verdict::Pass(_) => empty(xml, "testcase", &attributes),
        Verdict::Skip(why) => {
            element(xml, "testcase", &attributes, |xml| empty(xml, "skipped", &[("message", (*why).to_owned())]))
        }
        Verdict::Fail(failure) => element(xml, "testcase", &attributes, |xml| {
            let message = failure.unmet.first().map(|unmet| format!("expected {}, got {}", unmet.expected, unmet.got));
            let attributes = [("message", message.unwrap_or_default()), ("type", "unexpected answer".to_owned())];
            element(xml, "failure", &attributes, |xml| {
                let body = failure_lines(trial, failure).join("\n");
                xml.write_event(Event::Text(BytesText::new(&allowed(&body))))
            })
        }),
    }
}

/// `a/policy.tests.toml` as readers group it: by dots.
fn class_name(file: &str) -> String {
    let stem = file.strip_suffix(".toml").unwrap_or(file);
    stem.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join(".")
}

fn counts(trials: &[&Trial<'_>]) -> Vec<(&'static str, String)> {
    let count = |which: fn(&Verdict<'_>) -> bool| trials.iter().filter(|trial| which(&trial.verdict)).count();
    vec![
        ("tests", trials.len().to_string()),
        ("failures", count(|verdict| matches!(verdict, Verdict::Fail(_))).to_string()),
        ("errors", "0".to_owned()),
        ("skipped", count(|verdict| matches!(verdict, Verdict::Skip(_))).to_string()),
        ("time", seconds(trials.iter().map(|trial| trial.took).sum())),
    ]
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

fn element(
    xml: &mut Xml,
    name: &str,
    attributes: &[(&str, String)],
    content: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    with_attributes(xml, name, attributes).write_inner_content(content)?;
    Ok(())
}

fn empty(xml: &mut Xml, name: &str, attributes: &[(&str, String)]) -> io::Result<()> {
    with_attributes(xml, name, attributes).write_empty()?;
    Ok(())
}

fn with_attributes<'x>(xml: &'x mut Xml, name: &'x str, attributes: &[(&str, String)]) -> ElementWriter<'x, Vec<u8>> {
    let mut writer = xml.create_element(name);
    for (key, value) in attributes {
        writer = writer.with_attribute((*key, allowed(value).as_str()));
    }
    writer
}

/// The text with what XML 1.0 cannot hold replaced; not even as a reference may it stand there (section 2.2, `Char`).
fn allowed(text: &str) -> String {
    let replaced = |character: char| match character {
        '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => character,
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_it_was_or_as_near_as_xml_can() {
        let check = |text: &str, expected: &str| {
            let mut xml = Writer::new(Vec::new());
            element(&mut xml, "a", &[("b", text.to_owned())], |xml| {
                xml.write_event(Event::Text(BytesText::new(&allowed(text))))
            })
            .unwrap();
            let written = String::from_utf8(xml.into_inner()).unwrap();
            let document = roxmltree::Document::parse(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(document.root_element().text().unwrap_or_default(), expected, "{written}");
            assert_eq!(document.root_element().attribute("b"), Some(expected), "{written}");
        };
        check("plain", "plain");
        check("<a href='x'>&amp;\"]]>", "<a href='x'>&amp;\"]]>");
        check("ä 🏰 \u{fffd}", "ä 🏰 \u{fffd}");
        check("a\u{0}b\u{8}\u{b}\u{1b}[31m\u{1f}", "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}[31m\u{fffd}");
        check("\u{fffe}\u{ffff}", "\u{fffd}\u{fffd}");
        check("\u{7f}\u{85}", "\u{7f}\u{85}");
    }

    #[test]
    fn a_class_is_named_after_its_file() {
        let check = |file: &str, expected: &str| assert_eq!(class_name(file), expected);
        check("policy.tests.toml", "policy.tests");
        check("./a/../b/cases.toml", "a.b.cases");
        check("/etc/portcullis/cases", "etc.portcullis.cases");
    }
}
