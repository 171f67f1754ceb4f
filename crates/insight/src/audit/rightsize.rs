//! The narrower roles that are enough for somebody: existing ones where they fit, else a new one.
//!
//! What is needed is what was used, what is too young to be judged, and what enough peers use: they are likely to be needed soon. Existing
//! roles are chosen greedily, the least weight for each needed unit first (the usual answer to weighted set cover); only those are
//! considered that give nothing that is not held already.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::Input;
use super::edit::{Edit, NewRole};
use super::model::{Held, Holder, Model, Unit, Via};

/// Of a role that is chosen, so much of its weight may be unneeded: one in so many.
const SLACK: u32 = 5;
/// Roles that are considered for one person.
const MOST_ROLES: usize = 2_000;

/// Whether a unit is used by enough peers to be kept: those who hold it by the same grants, the holder aside.
pub(crate) fn is_kept_for_peers(
    input: &Input<'_>,
    model: &Model<'_>,
    holder: &Holder,
    unit: (usize, &Unit<'_>),
    edge: i64,
) -> bool {
    let (users, peers) = peers_who_use(model, holder, unit, edge);
    peers > 0 && f64::from(users) >= input.settings.keep_share * f64::from(peers)
}

/// How many of how many peers used a unit since then.
pub(crate) fn peers_who_use(
    model: &Model<'_>,
    holder: &Holder,
    (place, unit): (usize, &Unit<'_>),
    edge: i64,
) -> (u32, u32) {
    let (users, holders) = model.users_of(place, edge);
    let own = holder.held.iter().filter(|held| model.gives(held.grant, place));
    let own = own.filter_map(|held| model.last_used(holder, held.grant, unit)).any(|last| i64::from(last) >= edge);
    (users.saturating_sub(u32::from(own)), holders.saturating_sub(1))
}

/// Narrower roles for what somebody holds by name. `None`: nothing is to spare, or it is not held by name.
pub(crate) fn right_size(
    input: &Input<'_>,
    model: &Model<'_>,
    holder: &Holder,
    held: &Held,
    edge: i64,
) -> Option<Edit> {
    let grant = model.grants.get(held.grant)?;
    let assignment = grant.assignment.filter(|_| held.via == Via::Named)?;
    let units: Vec<(usize, &Unit<'_>)> = model.units_of(held.grant).collect();
    let is_needed = |(place, unit): &(usize, &Unit<'_>)| {
        let used = model.last_used(holder, held.grant, unit).is_some_and(|last| i64::from(last) >= edge);
        let old = model.granted_since(input.history, holder, held, Some(unit)).is_some_and(|since| since <= edge);
        used || !old || is_kept_for_peers(input, model, holder, (*place, unit), edge)
    };
    let needed: BTreeSet<usize> = units.iter().filter(|each| is_needed(each)).map(|(place, _)| *place).collect();
    if needed.is_empty() || needed.len() == units.len() {
        return None;
    }
    let own: BTreeSet<usize> = units.iter().map(|(place, _)| *place).collect();
    let (roles, left) = cover(model, &own, &needed);
    let new = (!left.is_empty()).then(|| new_role(model, grant.role, &left));
    Some(Edit::RightSize { assignment: assignment.name.value.clone(), principal: holder.name.clone(), roles, new })
}

/// Assignments that one split makes, at most, and people whom they name.
const MOST_PARTS: usize = 25;
const MOST_NAMED: usize = 500;

/// What a group keeps of a role that an assignment gives it, and what some of its members have by name in its place.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) edit: Edit,
    /// The units that the whole group keeps.
    pub(crate) shared: BTreeSet<usize>,
}

/// A narrower role for a group: what enough of those members use who have held it for the whole window. Who uses more, or may because it came
/// lately, has the rest by name, so nobody loses what is used. `None`: nothing is to spare, or nothing can be said of all members.
pub(crate) fn split(input: &Input<'_>, model: &Model<'_>, place: usize, group: &str, edge: i64) -> Option<Split> {
    let grant = model.grants.get(place).filter(|grant| !grant.collective)?;
    let assignment = grant.assignment?;
    // Members who were never seen may have come while there was no room for them.
    if input.usage.is_crowded_since(edge) {
        return None;
    }
    let via = Via::Group(group.to_owned());
    let members: Vec<(&Holder, &Held)> = model
        .holders_of
        .get(place)?
        .iter()
        .filter_map(|holder| model.holders.get(*holder))
        .filter_map(|holder| Some((holder, holder.held.iter().find(|held| held.grant == place && held.via == via)?)))
        .collect();
    let (mut shared, mut rest) = (BTreeSet::new(), BTreeMap::<BTreeSet<&str>, BTreeSet<usize>>::new());
    let mut spared = false;
    for (number, unit) in model.units_of(place) {
        let (mut users, mut judged, mut needing) = (0_u32, 0_u32, BTreeSet::new());
        for (holder, held) in &members {
            let used = model.last_used(holder, place, unit).is_some_and(|last| i64::from(last) >= edge);
            let old = input.usage.is_sure_of(&holder.name, edge)
                && model.granted_since(input.history, holder, held, Some(unit)).is_some_and(|since| since <= edge);
            users += u32::from(used);
            judged += u32::from(used || old);
            needing.extend((used || !old).then_some(holder.name.as_str()));
        }
        if judged == 0 || (users > 0 && f64::from(users) >= input.settings.keep_share * f64::from(judged)) {
            shared.insert(number);
        } else {
            spared |= needing.len() < members.len();
            rest.entry(needing).or_default().insert(number);
        }
    }
    rest.remove(&BTreeSet::new());
    let named: usize = rest.keys().map(BTreeSet::len).sum();
    if !spared || (shared.is_empty() && rest.is_empty()) || rest.len() >= MOST_PARTS || named > MOST_NAMED {
        return None;
    }
    let part = |(who, units): (&BTreeSet<&str>, &BTreeSet<usize>)| {
        (new_role(model, grant.role, units), who.iter().map(|name| (*name).to_owned()).collect())
    };
    let edit = Edit::Split {
        assignment: assignment.name.value.clone(),
        group: group.to_owned(),
        shared: (!shared.is_empty()).then(|| new_role(model, grant.role, &shared)),
        rest: rest.iter().map(part).collect(),
    };
    Some(Split { edit, shared })
}

/// Existing roles that give much of what is needed, and what they leave.
fn cover(model: &Model<'_>, own: &BTreeSet<usize>, needed: &BTreeSet<usize>) -> (Vec<String>, BTreeSet<usize>) {
    let weight =
        |units: &[usize]| units.iter().filter_map(|unit| model.units.get(*unit)).map(|unit| unit.weight).sum::<u32>();
    let fits = |units: &&Vec<usize>| {
        if units.is_empty() || !units.iter().all(|unit| own.contains(unit)) {
            return false;
        }
        let spare: Vec<usize> = units.iter().filter(|unit| !needed.contains(unit)).copied().collect();
        weight(&spare).saturating_mul(SLACK) <= weight(units)
    };
    let mut candidates: Vec<(&str, &Vec<usize>)> = model
        .role_units
        .iter()
        .filter(|(_, units)| fits(units))
        .map(|(name, units)| (*name, units))
        .take(MOST_ROLES)
        .collect();
    let (mut chosen, mut left) = (Vec::new(), needed.clone());
    loop {
        let gain = |units: &[usize]| units.iter().filter(|unit| left.contains(unit)).count() as u64;
        // The least weight for each unit that is new, as a fraction that needs no division.
        let best =
            candidates.iter().enumerate().filter(|(_, (_, units))| gain(units) > 0).min_by(|(_, one), (_, other)| {
                let cost = |units: &[usize]| u64::from(weight(units));
                (cost(one.1) * gain(other.1)).cmp(&(cost(other.1) * gain(one.1))).then_with(|| one.0.cmp(other.0))
            });
        let Some((place, (name, units))) = best.map(|(place, found)| (place, *found)) else { break };
        chosen.push(name.to_owned());
        units.iter().for_each(|unit| {
            left.remove(unit);
        });
        candidates.swap_remove(place);
    }
    chosen.sort_unstable();
    (chosen, left)
}

/// A role of these units. Whoever needs the same gets the same one.
fn new_role(model: &Model<'_>, role: &str, units: &BTreeSet<usize>) -> NewRole {
    /// Actions, and what is taken out of them again.
    type Written = (Vec<String>, Vec<String>);
    let mut permissions: BTreeMap<(&str, usize), Written> = BTreeMap::new();
    for unit in units.iter().filter_map(|unit| model.units.get(*unit)) {
        let except = unit.except.iter().map(|text| (*text).to_owned()).collect();
        let permission = permissions.entry((unit.role, unit.permission)).or_insert_with(|| (Vec::new(), except));
        permission.0.push(unit.text.clone());
    }
    let permissions: Vec<Written> = permissions.into_values().collect();
    let hash = HEXLOWER.encode(digest(&SHA256, format!("{permissions:?}").as_bytes()).as_ref());
    NewRole { name: format!("{role} narrowed {}", hash.get(..6).unwrap_or_default()), permissions }
}
