//! What of the units was used: when last, by how many, how, and what two models can be compared by.

use std::collections::{BTreeSet, HashMap};

use super::grant::conditions;
use super::holder::UsesByPattern;
use super::unit::matches;
use super::{Holder, Model, Unit};

impl Model<'_> {
    /// When a holder last used a unit of a grant, in seconds since 1970.
    pub(crate) fn last_used(&self, holder: &Holder, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        self.last_in(&holder.uses, grant, unit)
    }

    /// When anybody did.
    pub(crate) fn last_used_by_anybody(&self, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        self.last_in(&self.all, grant, unit)
    }

    fn last_in(&self, uses: &UsesByPattern, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        let grant = self.grants.get(grant)?;
        let of_pattern = uses.get(&unit.pattern)?.iter();
        of_pattern
            .filter(|each| matches(unit, &each.method) && grant.covers(&each.route))
            .map(|each| each.row.last)
            .max()
            .filter(|last| *last > 0)
    }

    /// How many used a unit since then, of how many who hold it. It is worked out once for each.
    pub(crate) fn users_of(&self, place: usize, since: i64) -> (u32, u32) {
        if let Some(known) = self.users.borrow().get(&(place, since)) {
            return *known;
        }
        let mut holders: HashMap<usize, bool> = HashMap::new();
        for grant in self.grants_of.get(place).into_iter().flatten() {
            for holder in self.holders_of.get(*grant).into_iter().flatten() {
                let (Some(found), Some(unit)) = (self.holders.get(*holder), self.units.get(place)) else { continue };
                let used = self.last_used(found, *grant, unit).is_some_and(|last| i64::from(last) >= since);
                *holders.entry(*holder).or_default() |= used;
            }
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let users = (count(holders.values().filter(|used| **used).count()), count(holders.len()));
        self.users.borrow_mut().insert((place, since), users);
        users
    }

    /// The methods and the routes by which a unit of a grant was used by anybody since then.
    pub(crate) fn how_used(&self, grant: usize, unit: &Unit<'_>, since: i64) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let Some(found) = self.grants.get(grant) else { return Default::default() };
        let uses = self.all.get(&unit.pattern).into_iter().flatten();
        let used = uses
            .filter(|each| matches(unit, &each.method) && found.covers(&each.route) && each.row.is_used_since(since));
        used.map(|each| (&*each.method, &*each.route)).unzip()
    }

    /// Every use of a holder since then that a grant of its own gives, with what grants it: for comparing two models.
    pub(crate) fn used_grants(&self, holder: &Holder, since: i64) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for held in &holder.held {
            let Some(grant) = self.grants.get(held.grant) else { continue };
            for (_, unit) in self.units_of(held.grant) {
                for each in holder.uses.get(&unit.pattern).into_iter().flatten() {
                    if each.row.is_used_since(since) && matches(unit, &each.method) && grant.covers(&each.route) {
                        let what = format!(
                            "{} {} {} except {}",
                            each.route,
                            each.method,
                            unit.text.split_once(' ').map_or("", |(_, pattern)| pattern),
                            unit.except.join(" ")
                        );
                        found.insert((what, conditions(grant.assignment)));
                    }
                }
            }
        }
        found
    }

    /// The same of what is granted to everybody.
    pub(crate) fn used_collectively(&self, since: i64) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (place, grant) in self.grants.iter().enumerate().filter(|(_, grant)| grant.collective) {
            for (_, unit) in self.units_of(place) {
                for each in self.all.get(&unit.pattern).into_iter().flatten() {
                    if each.row.is_used_since(since) && matches(unit, &each.method) && grant.covers(&each.route) {
                        found.insert((
                            format!("{} {} {}", each.route, each.method, unit.text),
                            conditions(grant.assignment),
                        ));
                    }
                }
            }
        }
        found
    }
}
