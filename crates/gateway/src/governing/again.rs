//! A change that was overtaken, for the version that is live by now.

use jiff::Timestamp;
use portcullis_governance::{ChangeState, Content, Kind};

use super::Governing;
use super::desk::said;

impl Governing {
    /// What is live, with every file that this change was to change as it was to be. A file that became another one meanwhile is not: what somebody else had
    /// approved would be undone with it, and nobody would have said so.
    pub(super) fn again(&self, id: &str, now: Timestamp) -> Result<Content, String> {
        let (change, wanted, before, live) = {
            let governor = self.governor();
            let proposal = governor.proposal(governor.find(id).map_err(said)?, now).map_err(said)?;
            let change = proposal.change;
            match proposal.state {
                ChangeState::Overtaken => {}
                state => {
                    let (id, state) = (change.id.short(), state.as_str());
                    return Err(format!("the change {id} is {state}: only one that was overtaken is proposed again"));
                }
            }
            let remedy = match change.kind {
                Kind::Change => None,
                Kind::Rollback => Some("`portcullis policy rollback`"),
                _ => Some("`portcullis approver`"),
            };
            if let Some(remedy) = remedy {
                return Err(format!(
                    "the change {} changes no files of its own: {remedy} proposes it again",
                    change.id.short()
                ));
            }
            let gone = |_| format!("the files of the change {} are not kept any more: propose them", change.id.short());
            let wanted = governor.content_of_change(&change).map_err(gone)?;
            let before =
                governor.version(change.base_n).and_then(|version| governor.content_of(&version)).map_err(said)?;
            (change, wanted, before, governor.live().map_err(said)?)
        };
        rebased(&before, &wanted, live).map_err(|names| {
            format!(
                "the change {} and what became live since both change {}: propose a file in which both are",
                change.id.short(),
                names.join(", ")
            )
        })
    }
}

/// A content with what changes from one to another of three. The error names the files that would be changed from both sides.
fn rebased(before: &Content, wanted: &Content, live: Content) -> Result<Content, Vec<String>> {
    let mut merged = live.clone();
    let mut torn = Vec::new();
    let names = before.files.keys().chain(wanted.files.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    for name in names {
        let (was, is_to_be, is) = (before.files.get(name), wanted.files.get(name), live.files.get(name));
        if was == is_to_be || is == is_to_be {
            continue;
        }
        if is != was {
            torn.push(name.clone());
            continue;
        }
        match is_to_be {
            Some(bytes) => merged.files.insert(name.clone(), bytes.clone()),
            None => merged.files.remove(name),
        };
    }
    if torn.is_empty() { Ok(merged) } else { Err(torn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_change_changes_becomes_what_it_was_to_be() {
        let content = |files: &[(&str, &str)]| Content {
            files: files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect(),
        };
        let before = content(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let wanted = content(&[("a", "2"), ("b", "1"), ("d", "2")]);
        type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Result<Content, Vec<String>>);
        let cases: [Case<'_>; 5] = [
            ("the same", &[("a", "1"), ("b", "1"), ("c", "1")], Ok(wanted.clone())),
            ("beside", &[("a", "1"), ("b", "9"), ("c", "1")], Ok(content(&[("a", "2"), ("b", "9"), ("d", "2")]))),
            ("alike", &[("a", "2"), ("b", "1"), ("c", "1")], Ok(wanted.clone())),
            ("both", &[("a", "9"), ("b", "1"), ("c", "9")], Err(vec!["a".to_owned(), "c".to_owned()])),
            ("one more", &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "9")], Err(vec!["d".to_owned()])),
        ];
        for (name, live, expected) in cases {
            assert_eq!(rebased(&before, &wanted, content(live)), expected, "{name}");
        }
    }
}
