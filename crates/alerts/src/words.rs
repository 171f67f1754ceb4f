//! What happened, in words: what the rule demands, what it found, and what to do next.

use std::fmt::Write as _;
use std::time::Duration;

use crate::firing::{Firing, Key, Phase};
use crate::settings::{Condition, Facet, Per, Rule};

impl Rule {
    /// What it demands, such as `20 events per address within 5m`.
    pub fn condition_in_words(&self) -> String {
        let per = match self.per {
            Per::All => String::new(),
            Per::Each(facet) => format!(" per {}", facet.as_str()),
        };
        match self.condition {
            Condition::Count { count, window } => format!("{}{per} within {}", events(count), span(window)),
            Condition::Distinct { of, count, window } => {
                format!("{count} different {}{per} within {}", plural(of), span(window))
            }
            Condition::New { of, memory, .. } => {
                format!("a {}{per} that was not seen within {}", of.as_str(), span(memory))
            }
        }
    }
}

impl Firing {
    /// The same of its rule.
    pub fn condition(&self) -> String {
        self.rule.condition_in_words()
    }

    /// Whom it is about, such as `address 203.0.113.7`.
    pub fn subject(&self) -> String {
        match (self.rule.per, &self.key) {
            (Per::All, _) => "all requests".to_owned(),
            (Per::Each(facet), Key::Others) => format!("other {}", plural(facet)),
            (Per::Each(facet), key) => format!("{} {key}", facet.as_str()),
        }
    }

    /// One sentence: what happened, who, where, since when.
    pub fn sentence(&self) -> String {
        let mut text = match (self.phase, self.rule.condition) {
            (Phase::Fired, _) if self.key == Key::Others => format!(
                "{} {} fire at once, and there is no room for more: {} are counted and not told of one by one",
                self.count,
                match self.rule.per {
                    Per::All => "keys",
                    Per::Each(facet) => plural(facet),
                },
                self.subject()
            ),
            (Phase::Fired, Condition::Count { window, .. }) => {
                format!("{} of {} within {}", events(self.count), self.subject(), span(window))
            }
            (Phase::Fired, Condition::Distinct { of, window, .. }) => {
                format!("{} different {} of {} within {}", self.count, plural(of), self.subject(), span(window))
            }
            (Phase::Fired, Condition::New { of, memory, .. }) => {
                let value = self.evidence.first().and_then(|sighting| sighting.shown(of)).unwrap_or_default();
                format!("{} has a {} not seen within {}: {value}", self.subject(), of.as_str(), span(memory))
            }
            (Phase::Resolved, _) => format!(
                "{} is under the threshold of {} again, which it reached at {:.0}",
                self.subject(),
                self.rule.name,
                self.since
            ),
        };
        if self.phase == Phase::Fired {
            let places = self.places();
            if !places.is_empty() {
                let _ = write!(text, " ({places})");
            }
            let _ = write!(text, ", since {:.0}", self.since);
        }
        if let Some(reason) = &self.muted {
            let _ = write!(text, "; muted: {reason}");
        }
        text
    }

    /// One sentence: what to do next.
    pub fn next_step(&self, help_base: &str) -> String {
        let mut text = String::new();
        if self.phase == Phase::Resolved {
            text.push_str("Nothing is to be done");
            return text;
        }
        for action in self.actions.iter().filter(|action| !action.starts_with("notify ")) {
            let _ = write!(text, "{}{action}", if text.is_empty() { "" } else { "; " });
        }
        if let Some(latest) = self.evidence.first() {
            let _ = write!(
                text,
                "{}Look at one with `portcullis events explain {}`",
                if text.is_empty() { "" } else { ". " },
                latest.id
            );
        }
        if let Some(runbook) = self.runbook(help_base) {
            let _ = write!(text, "{}{runbook}", if text.is_empty() { "See " } else { ", and see " });
        }
        text
    }

    /// Reasons, routes, and of what else there is the values that the evidence has.
    fn places(&self) -> String {
        let facets = [Facet::Reason, Facet::Route, Facet::Principal, Facet::Address];
        let own = match self.rule.per {
            Per::All => None,
            Per::Each(facet) => Some(facet),
        };
        let told = match self.rule.condition {
            Condition::New { of, .. } => Some(of),
            Condition::Count { .. } | Condition::Distinct { .. } => None,
        };
        let mut parts = Vec::new();
        for facet in facets.into_iter().filter(|facet| Some(*facet) != own && Some(*facet) != told) {
            let mut values: Vec<String> = Vec::new();
            for value in self.evidence.iter().filter_map(|sighting| sighting.shown(facet)) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            if !values.is_empty() {
                parts.push(format!("{} {}", facet.as_str(), values.join(", ")));
            }
        }
        parts.join("; ")
    }
}

fn events(count: usize) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn plural(facet: Facet) -> &'static str {
    match facet {
        Facet::Principal => "principals",
        Facet::Address => "addresses",
        Facet::Route => "routes",
        Facet::Path => "paths",
        Facet::Reason => "reasons",
    }
}

/// A duration as the configuration writes it.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let whole = units.iter().find(|(each, _)| seconds >= *each && seconds.is_multiple_of(*each));
    whole.map_or_else(|| format!("{seconds}s"), |(each, unit)| format!("{}{unit}", seconds / each))
}
