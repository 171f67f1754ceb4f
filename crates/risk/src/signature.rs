//! Requests that nobody sends by accident: the syntax of exploits, files and programs that are only ever searched for, and the
//! names that scanners give themselves.
//!
//! This is no web application firewall: a body is never looked at, and what is not listed is not seen. It exists because an attack of
//! one to three requests is over before any counter of errors has counted it.
//!
//! **Cost.** A request that was answered without complaint, and whose target has no byte that an exploit needs and names no program of a
//! server (`.php` and its like, whose holes plain requests go through), is passed by one look at each byte. Only the others are searched, at most [`LOOKED_AT_MAX`] bytes of each part, in one pass for all words.

mod decode;
mod words;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use decode::decoded;
use words::{AGENTS, PAYLOADS, TARGETS, Word};

/// So much of a path, a query, a user agent and a referrer is looked at.
pub(crate) const LOOKED_AT_MAX: usize = 2_048;

/// What is looked at of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) referrer: Option<&'a str>,
    /// The answer was 400 to 499.
    pub(crate) refused: bool,
}

/// What was found: the name of the strongest of the words, and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    pub(crate) name: &'static str,
    pub(crate) weight: f64,
}

/// Words of one kind, searched for all at once.
struct Search {
    words: &'static [Word],
    automaton: Option<AhoCorasick>,
}

impl Search {
    fn of(words: &'static [Word]) -> Self {
        let patterns = words.iter().map(|word| word.text);
        // A few hundred short words fit any automaton; should one not, nothing is found.
        Self { words, automaton: AhoCorasick::builder().ascii_case_insensitive(true).build(patterns).ok() }
    }

    fn strongest(&self, text: &[u8]) -> Option<Found> {
        let automaton = self.automaton.as_ref()?;
        let hits = automaton.find_overlapping_iter(text).filter_map(|hit| self.words.get(hit.pattern().as_usize()));
        hits.map(|word| Found { name: word.name, weight: word.weight }).reduce(stronger)
    }
}

static PAYLOAD: LazyLock<Search> = LazyLock::new(|| Search::of(PAYLOADS));
static TARGET: LazyLock<Search> = LazyLock::new(|| Search::of(TARGETS));
static AGENT: LazyLock<Search> = LazyLock::new(|| Search::of(AGENTS));

/// Looks at a request.
pub(crate) fn look(parts: &Parts<'_>) -> Option<Found> {
    let (path, query) = (start(parts.path), parts.query.map(start).unwrap_or_default());
    let agent = parts.user_agent.map(start).unwrap_or_default();
    let referrer = parts.referrer.map(start).unwrap_or_default();
    let unusual = parts.refused || path.contains("..") || is_unusual(path) || is_unusual(query) || is_program(path);
    let mut found = None;
    let mut note = |hit: Option<Found>| found = [found, hit].into_iter().flatten().reduce(stronger);
    if unusual {
        let (path, query) = (decoded(path), decoded(query));
        note(PAYLOAD.strongest(&path));
        note(PAYLOAD.strongest(&query));
        if parts.refused {
            note(TARGET.strongest(&path));
        }
    }
    for text in [agent, referrer] {
        if text.contains("${") {
            note(PAYLOAD.strongest(text.as_bytes()));
        }
    }
    if parts.refused || !is_of_a_browser(agent) {
        note(AGENT.strongest(agent.as_bytes()));
    }
    found
}

fn stronger(one: Found, other: Found) -> Found {
    if other.weight > one.weight { other } else { one }
}

/// The part that is looked at.
fn start(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Whether there is a byte that a plain path, or a query of names, numbers and words, has none of.
fn is_unusual(text: &str) -> bool {
    text.bytes().any(|byte| {
        !(byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~' | b'=' | b'&' | b'+' | b','))
    })
}

/// Whether a path names a program of a server. Who goes through a hole in one may send nothing unusual, and is answered without complaint.
fn is_program(path: &str) -> bool {
    let ending = |segment: &'_ str| {
        segment
            .rsplit_once('.')
            .is_some_and(|(_, ending)| PROGRAMS.iter().any(|each| each.eq_ignore_ascii_case(ending)))
    };
    path.contains('.') && path.split('/').any(ending)
}

const PROGRAMS: [&str; 10] = ["php", "php5", "phtml", "jsp", "jspx", "asp", "aspx", "cgi", "action", "cfm"];

/// Browsers say `Mozilla/5.0 (`; a scanner that says so too is not found by its name anyway.
fn is_of_a_browser(agent: &str) -> bool {
    agent.is_empty() || agent.starts_with("Mozilla/5.0 ")
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
