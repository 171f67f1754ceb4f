//! LP11: grants that have ended and are still there, and such as were meant for a time and never end.

use super::{Findings, Said};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity};

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    let now = findings.input.now;
    for assignment in &findings.input.draft.assignments {
        let name = &assignment.name.value;
        let place = findings.place("assignment", name, assignment.name.at);
        if let Some(ended) = assignment.expires.filter(|ends| *ends <= now) {
            let said = Said {
                permission: Some(&assignment.role.value),
                about: name,
                place,
                evidence: Evidence { facts: vec![format!("it ended at {ended}")], ..Evidence::default() },
                edits: vec![Edit::DropAssignment { assignment: name.clone() }],
                ..Said::plain(
                    Kind::ExpiredStillPresent,
                    Severity::Medium,
                    format!("the assignment `{name}` ended at {ended} and is still there"),
                    "remove it: a later date in its place would bring it back unnoticed",
                )
            };
            findings.add(said);
            continue;
        }
        let word = findings.input.settings.temporary_words.iter().find(|word| has_word(name, word)).cloned();
        if let Some(word) = word.filter(|_| assignment.expires.is_none() && assignment.activation.is_none()) {
            let said = Said {
                permission: Some(&assignment.role.value),
                about: name,
                place,
                evidence: Evidence { facts: vec![format!("its name says `{word}`")], ..Evidence::default() },
                ..Said::plain(
                    Kind::ExpiredStillPresent,
                    Severity::Medium,
                    format!("the assignment `{name}` was meant for a time, by its name, and never ends"),
                    "give it an end (`expires`), or make it one that is activated when it is needed",
                )
            };
            findings.add(said);
        }
    }
}

/// Whether a name has a word, between anything that is no letter or digit.
fn has_word(name: &str, word: &str) -> bool {
    name.split(|character: char| !character.is_alphanumeric()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn a_word_is_a_whole_one() {
        for (name, expected) in
            [("temp-access", true), ("x.TEMP", true), ("template-writers", false), ("attempt", false)]
        {
            assert_eq!(has_word(name, "temp"), expected, "{name}");
        }
    }
}
