//! Who may do what, laid open: each principal with its grants, each grant with the units of its role, and what was used of them.
//!
//! A unit is one method of one action of one permission: what can be taken away for itself. Grants are those that are in force by
//! themselves: what is only eligible, in shadow mode or over is left to the rules that are about that.

mod grant;
mod group;
mod holder;
mod since;
mod unit;
mod used;

pub(crate) use grant::{Grant, is_unconditional, reserved_in};
pub(crate) use holder::{Held, Holder, Via};
pub(crate) use unit::Unit;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use portcullis_policy::{PolicyDraft, RoleDraft};

use self::grant::{grant_of, in_force};
use self::group::Groups;
use self::holder::{UsesByPattern, add_use};
use self::unit::{Patterns, units_of};
use super::evidence::KnownPrincipals;
use super::usage::Usage;

/// All of it.
#[derive(Debug)]
pub(crate) struct Model<'d> {
    members: Groups<'d>,
    roles: HashMap<&'d str, &'d RoleDraft>,
    pub(crate) units: Vec<Unit<'d>>,
    /// By role: its own and inherited units.
    pub(crate) role_units: BTreeMap<&'d str, Vec<usize>>,
    pub(crate) grants: Vec<Grant<'d>>,
    pub(crate) holders: Vec<Holder>,
    /// By grant: the holders, by place.
    pub(crate) holders_of: Vec<Vec<usize>>,
    /// By unit: the grants that give it.
    pub(crate) grants_of: Vec<Vec<usize>>,
    /// What everybody used together.
    all: UsesByPattern,
    /// By unit and time: how many used it, of how many.
    users: RefCell<HashMap<(usize, i64), (u32, u32)>>,
    /// What of the policy was too much to look at.
    pub(crate) incomplete: Option<&'static str>,
}

impl<'d> Model<'d> {
    pub(crate) fn new(draft: &'d PolicyDraft, usage: &Usage, known: &KnownPrincipals, now: Timestamp) -> Self {
        let mut patterns = Patterns::default();
        let (units, role_units, mut incomplete) = units_of(draft, &mut patterns);
        let everybody = Groups::holding_everybody(draft);
        let granting = draft.assignments.iter().filter(|each| in_force(each, now));
        let mut grants: Vec<Grant<'d>> = granting.map(|each| grant_of(draft, each, &everybody)).collect();
        let carried_from = grants.len();
        grants.extend(draft.roles.iter().map(|role| Grant {
            assignment: None,
            role: &role.name.value,
            scope: None,
            reserved: reserved_in(draft),
            collective: false,
            weight: 2,
        }));
        let mut model = Self {
            members: Groups::of(draft),
            roles: draft.roles.iter().map(|role| (role.name.value.as_str(), role)).collect(),
            holders_of: Vec::new(),
            grants_of: vec![Vec::new(); units.len()],
            units,
            role_units,
            grants,
            holders: Vec::new(),
            all: HashMap::new(),
            users: RefCell::default(),
            incomplete: None,
        };
        model.holders = model.find_holders(usage, known, carried_from, &mut patterns, &mut incomplete);
        for (_, route, action, row) in usage.rows() {
            add_use(&mut model.all, &mut patterns, route, action, row);
        }
        model.holders_of = vec![Vec::new(); model.grants.len()];
        for (place, holder) in model.holders.iter().enumerate() {
            for held in &holder.held {
                if let Some(holders) = model.holders_of.get_mut(held.grant) {
                    holders.push(place);
                }
            }
        }
        for (place, grant) in model.grants.iter().enumerate() {
            let is_held = grant.collective || model.holders_of.get(place).is_some_and(|holders| !holders.is_empty());
            for unit in model.role_units.get(grant.role).into_iter().flatten().filter(|_| is_held) {
                if let Some(grants) = model.grants_of.get_mut(*unit) {
                    grants.push(place);
                }
            }
        }
        model.incomplete = incomplete;
        model
    }

    /// The units of a grant.
    pub(crate) fn units_of(&self, grant: usize) -> impl Iterator<Item = (usize, &Unit<'d>)> {
        let role = self.grants.get(grant).map_or("", |grant| grant.role);
        let places = self.role_units.get(role).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| Some((*place, self.units.get(*place)?)))
    }

    /// Whether a grant gives a unit.
    pub(crate) fn gives(&self, grant: usize, unit: usize) -> bool {
        self.grants_of.get(unit).is_some_and(|grants| grants.binary_search(&grant).is_ok())
    }

    /// The roles that a grant gives, with those that these inherit.
    pub(crate) fn roles_of<'r>(&'r self, role: &'r str) -> BTreeSet<&'r str> {
        let mut found = BTreeSet::new();
        let mut next = vec![role];
        while let Some(name) = next.pop() {
            if found.insert(name) {
                next.extend(
                    self.roles
                        .get(name)
                        .into_iter()
                        .flat_map(|role| role.inherits.iter().map(|parent| parent.value.as_str())),
                );
            }
        }
        found
    }

    /// A group and all that it is in.
    pub(crate) fn groups_with(&self, group: &str) -> BTreeSet<String> {
        self.members.of_member("", std::iter::once(group))
    }

    /// The groups that everybody is in.
    pub(crate) fn groups_with_everybody(&self) -> BTreeSet<String> {
        let of = |name| self.members.of_member(name, std::iter::empty());
        of("anyone").into_iter().chain(of("authenticated")).collect()
    }

    /// The holder of this name.
    pub(crate) fn holder(&self, name: &str) -> Option<&Holder> {
        // INVARIANT: they are sorted by name.
        let place = self.holders.binary_search_by(|holder| holder.name.as_str().cmp(name)).ok()?;
        self.holders.get(place)
    }
}
