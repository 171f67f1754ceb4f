//! One version's change taken out of the files that are live: by file and by line, and refused wherever the same lines changed again since.
//!
//! Who merges policies must not guess. So two changes that touch are a conflict, with one exception: whole tables at one place are what they are in either
//! order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use portcullis_governance::Content;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// A comparison of two texts takes so long at most; after that it is a coarser one, by which more is a conflict.
const PATIENCE: Duration = Duration::from_secs(2);
/// Places that are named of one file.
const NAMED: usize = 5;

/// What is live without what `that` changed in `before`.
///
/// # Errors
/// The places that changed again since, each as `policy.toml, lines 12 to 14`.
pub(super) fn without(live: &Content, that: &Content, before: &Content) -> Result<Content, Vec<String>> {
    let mut merged = live.clone();
    let mut conflicts = Vec::new();
    let names: BTreeSet<&String> = that.files.keys().chain(before.files.keys()).collect();
    for name in names {
        let [now, with, back] = [live, that, before].map(|content| content.files.get(name));
        // It changed nothing in it, or that is taken back already.
        if with == back || now == back {
            continue;
        }
        match (now, with, back) {
            (_, _, None) if now == with => {
                merged.files.remove(name);
            }
            (_, _, Some(back)) if now == with => {
                merged.files.insert(name.clone(), back.clone());
            }
            (Some(now), Some(with), Some(back)) => match text_without(now, with, back) {
                Ok(text) => {
                    merged.files.insert(name.clone(), text.into_bytes());
                }
                Err(places) => conflicts.push(format!("{}{places}", name.escape_debug())),
            },
            (None, _, _) => conflicts.push(format!("{} (which is gone since)", name.escape_debug())),
            (Some(_), None, _) => conflicts.push(format!("{} (which is there again since)", name.escape_debug())),
            (Some(_), _, None) => conflicts.push(format!("{} (which came with it)", name.escape_debug())),
        }
    }
    if conflicts.is_empty() { Ok(merged) } else { Err(conflicts) }
}

/// Lines of one text in the place of lines of the text that both come from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hunk {
    base: Range<usize>,
    other: Range<usize>,
}

impl Hunk {
    /// No line lies between them.
    fn touches(&self, other: &Self) -> bool {
        self.base.start <= other.base.end && other.base.start <= self.base.end
    }

    /// One ends where the other begins.
    fn is_beside(&self, other: &Self) -> bool {
        self.base.end <= other.base.start || other.base.end <= self.base.start
    }
}

/// The error is where, to be put behind the file's name.
fn text_without(now: &[u8], with: &[u8], back: &[u8]) -> Result<String, String> {
    let (Ok(now), Ok(with), Ok(back)) =
        (std::str::from_utf8(now), std::str::from_utf8(with), std::str::from_utf8(back))
    else {
        return Err(" (which is no text)".to_owned());
    };
    let [now, with, back] = [now, with, back].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let (since, undone) = (hunks(&with, &now), hunks(&with, &back));
    let mut edits: Vec<(Range<usize>, &[&str])> = Vec::new();
    let mut places = Vec::new();
    for hunk in &undone {
        let touching: Vec<&Hunk> = since.iter().filter(|other| other.touches(hunk)).collect();
        let lines = slice(&back, &hunk.other);
        // Somebody has done so by hand.
        let is_done = |other: &&Hunk| {
            let there = slice(&now, &other.other);
            let is_among = hunk.base.is_empty() && there.windows(lines.len().max(1)).any(|some| some == lines);
            other.base == hunk.base && (there == lines || is_among)
        };
        if touching.len() == 1 && touching.iter().any(is_done) {
            continue;
        }
        match touching.iter().find(|other| !are_whole_tables(&with, (hunk, &back), (other, &now))) {
            None => edits.push((hunk.base.clone(), lines)),
            Some(other) => places.push(in_words(&other.other)),
        }
    }
    if !places.is_empty() {
        places.dedup();
        let more = if places.len() > NAMED { ", and more" } else { "" };
        places.truncate(NAMED);
        return Err(format!(", {}{more}", places.join(", ")));
    }
    // Of what comes to one place, what was there before comes first: what came since was put behind it.
    edits.extend(since.iter().map(|hunk| (hunk.base.clone(), slice(&now, &hunk.other))));
    edits.sort_by_key(|(base, _)| (base.start, base.end));
    let (mut merged, mut place) = (String::new(), 0);
    for (base, lines) in edits {
        push(&mut merged, slice(&with, &(place..base.start)));
        push(&mut merged, lines);
        place = place.max(base.end);
    }
    push(&mut merged, slice(&with, &(place..with.len())));
    Ok(merged)
}

/// A line that was the last of its text may have no end.
fn push(text: &mut String, lines: &[&str]) {
    for line in lines {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
    }
}

fn slice<'t, 's>(lines: &'t [&'s str], range: &Range<usize>) -> &'t [&'s str] {
    lines.get(range.clone()).unwrap_or_default()
}

fn in_words(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("line {}, before which lines are gone", lines.start + 1),
        1 => format!("line {}", lines.start + 1),
        _ => format!("lines {} to {}", lines.start + 1, lines.end),
    }
}

/// Whether all that two changes take or bring at one place is whole tables of the file, and another one or its end comes behind: then none of them says
/// anything of the others.
fn are_whole_tables(base: &[&str], (hunk, back): (&Hunk, &[&str]), (other, now): (&Hunk, &[&str])) -> bool {
    let parts = [
        slice(base, &hunk.base),
        slice(back, &hunk.other),
        slice(base, &other.base),
        slice(now, &other.other),
        slice(base, &(hunk.base.end.max(other.base.end)..base.len())),
    ];
    hunk.is_beside(other) && parts.into_iter().all(begins_with_a_table)
}

/// Its first line that says something begins a table that belongs to no other; or none says anything.
fn begins_with_a_table(lines: &[&str]) -> bool {
    let says = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty() && !line.starts_with('#'));
    says.is_none_or(|line| {
        let name = line.split(']').next().unwrap_or_default();
        line.starts_with('[') && line.contains(']') && !name.contains(['.', '"', '\'', ',', '{'])
    })
}

/// Where two texts differ, in order; none touches the next.
fn hunks(base: &[&str], other: &[&str]) -> Vec<Hunk> {
    let ops = capture_diff_slices_deadline(Algorithm::Myers, base, other, Instant::now().checked_add(PATIENCE));
    // Only of what is the same both places are told as they are.
    let same = ops.iter().filter(|op| matches!(op, DiffOp::Equal { .. })).map(|op| (op.old_range(), op.new_range()));
    let end = (base.len()..base.len(), other.len()..other.len());
    let (mut hunks, mut place): (Vec<Hunk>, _) = (Vec::new(), (0, 0));
    for (old, new) in same.chain([end]) {
        if (old.start, new.start) != place {
            hunks.push(Hunk { base: place.0..old.start, other: place.1..new.start });
        }
        place = (old.end, new.end);
    }
    let mut from = 0;
    for hunk in &mut hunks {
        slide(hunk, from, base, other);
        from = hunk.base.end + 1;
    }
    hunks
}

/// Lines that only came, or only went, can be said to begin somewhat earlier where the same lines stand before and at their end: of these places the one
/// where a table begins. `from`: the first line of the base that nothing before it touches.
fn slide(hunk: &mut Hunk, from: usize, base: &[&str], other: &[&str]) {
    let (lines, range) = match (hunk.base.is_empty(), hunk.other.is_empty()) {
        (true, false) => (other, hunk.other.clone()),
        (false, true) => (base, hunk.base.clone()),
        _ => return,
    };
    for back in 0..=hunk.base.start.saturating_sub(from).min(range.start) {
        let moved = range.start - back..range.end - back;
        let is_same = back == 0 || lines.get(moved.start) == lines.get(moved.end);
        if !is_same {
            return;
        }
        if begins_with_a_table(slice(lines, &moved)) && slice(lines, &moved).iter().any(|line| line.contains('[')) {
            hunk.base = hunk.base.start - back..hunk.base.end - back;
            hunk.other = hunk.other.start - back..hunk.other.end - back;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(files: &[(&str, &str)]) -> Content {
        Content { files: files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect() }
    }

    fn merged(now: &str, with: &str, back: &str) -> Result<String, String> {
        text_without(now.as_bytes(), with.as_bytes(), back.as_bytes())
    }

    const ROLE: &str = "[[role]]\nname = \"r\"\n";
    const A: &str = "\n[[assignment]]\nname = \"a\"\nrole = \"r\"\n";
    const B: &str = "\n[[assignment]]\nname = \"b\"\nrole = \"r\"\n";
    const DENY: &str = "\n[[deny]]\nname = \"d\"\nrole = \"r\"\n";

    #[test]
    fn what_came_since_stays() {
        let check = |now: &[&str], with: &[&str], back: &[&str], expected: &[&str]| {
            let [now, with, back] = [now, with, back].map(|parts| parts.concat());
            assert_eq!(merged(&now, &with, &back), Ok(expected.concat()));
        };
        // In the middle, and at the end of the file, where the next one was put.
        check(&[ROLE, B, DENY], &[ROLE, B], &[ROLE, A, B], &[ROLE, A, B, DENY]);
        check(&[ROLE, DENY], &[ROLE], &[ROLE, A], &[ROLE, A, DENY]);
        check(&[ROLE, A, DENY], &[ROLE, A], &[ROLE], &[ROLE, DENY]);
        check(&[ROLE, B, DENY], &[ROLE, B], &[ROLE, B, A], &[ROLE, B, A, DENY]);
        // It is taken back already.
        check(&[ROLE, A, DENY], &[ROLE], &[ROLE, A], &[ROLE, A, DENY]);
        check(&[ROLE, A, B], &[ROLE, B], &[ROLE, A, B], &[ROLE, A, B]);
    }

    #[test]
    fn what_changed_again_is_a_conflict_that_names_its_lines() {
        let back = "[group]\nmembers = [\"ana\", \"ben\"]\nx = 1\n";
        let with = "[group]\nmembers = []\nx = 1\n";
        let refused = merged("[group]\nmembers = [\"carol\"]\nx = 1\n", with, back).unwrap_err();
        assert_eq!(refused, ", line 2");
        // The next line, too: nobody knows whether one was meant without the other.
        assert_eq!(merged("[group]\nmembers = []\nx = 2\n", with, back).unwrap_err(), ", line 3");
        assert_eq!(merged("[group]\nx = 1\n", with, back).unwrap_err(), ", line 2, before which lines are gone");
        // The same change again is none.
        assert_eq!(merged(back, with, back).unwrap(), back);
        assert!(text_without(b"\xff", with.as_bytes(), back.as_bytes()).unwrap_err().contains("no text"));
    }

    /// A table of a table belongs to the one before it, and a key to the table that it stands in.
    #[test]
    fn what_belongs_to_the_table_before_it_is_put_beside_nothing() {
        for block in ["[[role.permissions]]\nactions = []\n", "extra = 1\n"] {
            let refused = merged(&format!("{ROLE}{block}"), ROLE, &format!("{ROLE}{A}"));
            assert!(refused.is_err(), "{refused:?}");
            let refused = merged(&format!("{ROLE}{DENY}"), ROLE, &format!("{ROLE}{block}"));
            assert!(refused.is_err(), "{refused:?}");
        }
        // The lines behind belong to the table that would be before them.
        let refused = merged(&format!("v = 1\n{A}w = 2\n"), "v = 1\nw = 2\n", &format!("v = 1\n{DENY}w = 2\n"));
        assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn files_that_came_or_went_go_or_come_unless_they_changed_since() {
        let (before, that) = (content(&[("a", "1"), ("gone", "2")]), content(&[("a", "1"), ("new", "3")]));
        let live = content(&[("a", "9"), ("new", "3"), ("later", "4")]);
        let expected = content(&[("a", "9"), ("gone", "2"), ("later", "4")]);
        assert_eq!(without(&live, &that, &before), Ok(expected));
        let edited = content(&[("new", "3, edited"), ("gone", "again")]);
        let refused = without(&edited, &that, &before).unwrap_err();
        assert_eq!(refused, ["gone (which is there again since)", "new (which came with it)"]);
        let refused = without(&content(&[]), &content(&[("a", "2")]), &content(&[("a", "1")])).unwrap_err();
        assert_eq!(refused, ["a (which is gone since)"]);
    }

    /// Whatever the texts are: what is refused is refused, and where nothing came since it is what was there before.
    #[test]
    fn without_anything_since_it_is_what_was_before() {
        let lines = ["[[a]]\n", "x = 1\n", "\n", "[b]\n", "last"];
        for seed in 0_usize..2_000 {
            let text = |salt: usize| {
                let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(salt);
                let mut text = String::new();
                for _ in 0..8 {
                    state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
                    if let Some(line) = lines.get(state / 65_536 % 7) {
                        push(&mut text, &[line]);
                    }
                }
                text
            };
            let (with, back) = (text(1), text(2));
            assert_eq!(merged(&with, &with, &back).as_ref(), Ok(&back), "{with:?} {back:?}");
        }
    }
}
