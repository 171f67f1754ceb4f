//! Firings that come together make one notification: it goes out when its rule's batch time is over, counted from the first.

use std::sync::Arc;

use uuid::Uuid;

use crate::engine::Now;
use crate::firing::Firing;
use crate::settings::{Rule, Settings};

/// What somebody is told.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    /// Its own id, so that a receiver who gets it twice can tell.
    pub(crate) id: Uuid,
    /// The rule.
    pub(crate) rule: Arc<Rule>,
    /// It is a test, and nothing happened.
    pub(crate) test: bool,
    /// What it tells, in the order in which it happened. At most [`MOST_TOLD`].
    pub(crate) firings: Vec<Firing>,
    /// How many more there were.
    pub(crate) more: usize,
    /// Where the pages about reasons are.
    pub(crate) help_base: Arc<str>,
    /// The node.
    pub(crate) node: Arc<str>,
}

/// How many firings a notification tells of one by one.
pub(crate) const MOST_TOLD: usize = 20;

/// What waits, by rule.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    notification: Notification,
    due_us: i64,
}

impl Grouping {
    pub(crate) fn add(&mut self, firing: Firing, settings: &Settings, now: Now) {
        let same = |group: &&mut Group| group.notification.rule.name == firing.rule.name;
        if let Some(group) = self.groups.iter_mut().find(same) {
            group.notification.add(firing);
            return;
        }
        let batch = i64::try_from(firing.rule.batch.as_micros()).unwrap_or(i64::MAX);
        let mut notification = Notification::new(&firing.rule, settings);
        notification.add(firing);
        self.groups.push(Group { notification, due_us: now.steady_us.saturating_add(batch) });
    }

    /// What is to be told now.
    pub(crate) fn due(&mut self, now: Now) -> Vec<Notification> {
        self.take(|group| group.due_us <= now.steady_us)
    }

    /// What waits of rules that are not among these as they were.
    pub(crate) fn without_rule(&mut self, rules: &[Arc<Rule>]) -> Vec<Notification> {
        self.take(|group| !rules.contains(&group.notification.rule))
    }

    /// All that waits, due or not.
    pub(crate) fn rest(&mut self) -> Vec<Notification> {
        self.take(|_| true)
    }

    fn take(&mut self, is_taken: impl Fn(&Group) -> bool) -> Vec<Notification> {
        self.groups.extract_if(.., |group| is_taken(group)).map(|group| group.notification).collect()
    }

    /// When the next is due.
    pub(crate) fn next_us(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.due_us).min()
    }
}

impl Notification {
    pub(crate) fn new(rule: &Arc<Rule>, settings: &Settings) -> Self {
        Self {
            id: Uuid::now_v7(),
            rule: Arc::clone(rule),
            test: false,
            firings: Vec::new(),
            more: 0,
            help_base: Arc::clone(&settings.help_base),
            node: Arc::clone(&settings.node),
        }
    }

    /// A made-up firing that says so.
    pub(crate) fn of_test(rule: &Arc<Rule>, settings: &Settings) -> Self {
        let now = jiff::Timestamp::now();
        let mut notification = Self { test: true, ..Self::new(rule, settings) };
        notification.add(Firing {
            id: Uuid::now_v7(),
            phase: crate::firing::Phase::Fired,
            rule: Arc::clone(rule),
            key: crate::firing::Key::Text("test".into()),
            count: 0,
            since: now,
            time: now,
            evidence: Vec::new(),
            muted: None,
            actions: Vec::new(),
        });
        notification
    }

    pub(crate) fn add(&mut self, firing: Firing) {
        if self.firings.len() < MOST_TOLD {
            self.firings.push(firing);
        } else {
            self.more += 1;
        }
    }

    /// One sentence: what happened.
    pub(crate) fn summary(&self, firing: &Firing) -> String {
        if self.test {
            return format!("A test of the alert {}, which means {}", self.rule.name, self.rule.condition_in_words());
        }
        firing.sentence()
    }

    /// One sentence: what to do next.
    pub(crate) fn next_step(&self, firing: &Firing) -> String {
        if self.test {
            return "Nothing happened, and nothing is to be done".to_owned();
        }
        firing.next_step(&self.help_base)
    }

    /// One line: the rule, and what happened first.
    pub(crate) fn title(&self) -> String {
        let mark = if self.test { "[TEST] " } else { "" };
        let fired =
            self.firings.iter().filter(|firing| firing.phase == crate::firing::Phase::Fired).count() + self.more;
        let state = if fired == 0 { "resolved" } else { "fired" };
        let keys = match self.firings.len() + self.more {
            0 | 1 => String::new(),
            several => format!(" for {several} keys"),
        };
        format!("{mark}{} {state}{keys}", self.rule.name)
    }
}
