//! What is counted of one use, one principal, one address: 24 bytes for each permission of each principal.

use portcullis_policy::PrincipalKind;

const HALF_LIFE_DAYS: u32 = 30;
const DAY_S: i64 = 24 * 60 * 60;

/// How one principal used one permission. Times are seconds since 1970; 0: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// When it was first used.
    pub first: u32,
    /// When it was last used.
    pub last: u32,
    /// How often, each use counting half after 30 days; as of `last`.
    pub uses: u32,
    /// On which days: bit 0 is the day of `last`, bit 31 the 31st before it.
    pub days: u32,
    /// How often it was refused for want of a grant, likewise; as of `last_denied`.
    pub denied: u32,
    /// When it was last refused.
    pub last_denied: u32,
}

impl Row {
    pub(super) fn note(&mut self, permitted: bool, times: u32, at: u32) {
        if !permitted {
            let later = at.max(self.last_denied);
            self.denied = decayed(self.denied, self.last_denied, later).saturating_add(times);
            self.last_denied = later;
            return;
        }
        if self.first == 0 || at < self.first {
            self.first = at.max(1);
        }
        if at >= self.last {
            let passed = days_between(self.last, at);
            self.uses = decayed(self.uses, self.last, at).saturating_add(times);
            self.days = self.days.checked_shl(passed).filter(|_| passed < 32).unwrap_or(0) | 1;
            self.last = at.max(1);
        } else {
            // Workers hand over in any order, a second or two apart.
            self.uses = self.uses.saturating_add(times);
            self.days |= 1_u32.checked_shl(days_between(at, self.last)).unwrap_or(0);
        }
    }

    /// Whether it was used at that time or later.
    pub fn is_used_since(&self, time: i64) -> bool {
        self.last > 0 && i64::from(self.last) >= time
    }

    /// How often it was refused, as of now.
    pub fn denied_at(&self, now: i64) -> u32 {
        decayed(self.denied, self.last_denied, seconds(now))
    }

    /// How often it was used, as of now.
    pub fn uses_at(&self, now: i64) -> u32 {
        decayed(self.uses, self.last, seconds(now))
    }

    /// On how many of the last 32 days it was used.
    pub fn days_used(&self) -> u32 {
        self.days.count_ones()
    }
}

/// A count that halves every 30 days, in between along a straight line.
pub(super) fn decayed(count: u32, since: u32, now: u32) -> u32 {
    let passed = days_between(since, now);
    let halved = count.checked_shr(passed / HALF_LIFE_DAYS).unwrap_or(0);
    let part = u64::from(passed % HALF_LIFE_DAYS);
    let less = u64::from(halved) * part / (2 * u64::from(HALF_LIFE_DAYS));
    halved.saturating_sub(u32::try_from(less).unwrap_or(u32::MAX))
}

fn days_between(earlier: u32, later: u32) -> u32 {
    let day = |time: u32| i64::from(time) / DAY_S;
    u32::try_from(day(later) - day(earlier)).unwrap_or(0)
}

pub(crate) fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

/// Somebody who was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPrincipal {
    /// What kind; `None`: nobody in particular.
    pub kind: Option<PrincipalKind>,
    /// The id.
    pub id: Box<str>,
    /// The groups that its credential claimed last, each with whether it may join a local one.
    pub groups: Vec<CarriedName>,
    /// The roles that its credential carried last.
    pub roles: Vec<CarriedName>,
    /// When it was first seen, in seconds since 1970.
    pub first: u32,
    /// When it was last seen.
    pub last: u32,
    /// When a permission that it used was last not kept, because it uses so many; 0: never.
    pub overflowed: u32,
}

/// A group or a role that a credential carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedName {
    /// Its name.
    pub name: Box<str>,
    /// Whether it may join a local group of that name. Of a role: true.
    pub trusted: bool,
    /// Since when it is known to be carried without a break, in seconds since 1970.
    pub since: u32,
}

impl SeenPrincipal {
    /// As a policy file writes it.
    pub fn reference(&self) -> String {
        match self.kind {
            Some(kind) => format!("{}:{}", kind.as_str(), self.id),
            None => "anyone".to_owned(),
        }
    }
}

/// When something was seen, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// First, in seconds since 1970.
    pub first: u32,
    /// Last.
    pub last: u32,
    /// How often.
    pub times: u64,
}

impl Seen {
    pub(super) fn note(&mut self, times: u64, at: u32) {
        self.first = if self.first == 0 { at } else { self.first.min(at) };
        self.last = self.last.max(at);
        self.times = self.times.saturating_add(times);
    }
}
