//! Who holds grants, as whom, and what it used.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::audit::evidence::KnownPrincipals;
use crate::audit::usage::{Row, Usage};

use super::Model;
use super::unit::Patterns;

/// Principals that are looked at.
const MOST_HOLDERS: usize = 50_000;

/// Grants of all of them.
const MOST_HELD: usize = 1_000_000;

/// As whom somebody holds a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Via {
    /// By name.
    Named,
    /// As a member.
    Group(String),
    /// By what the credential carries.
    Credential,
}

/// A grant of somebody's.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) grant: usize,
    pub(crate) via: Via,
}

/// Somebody who holds grants, or was seen.
#[derive(Debug)]
pub(crate) struct Holder {
    /// As a policy file writes it.
    pub(crate) name: String,
    pub(crate) held: Vec<Held>,
    /// All groups, with those that these are in.
    pub(crate) groups: BTreeSet<String>,
    /// The policy names it: in an assignment, or as a member of a group.
    pub(crate) declared: bool,
    pub(super) uses: UsesByPattern,
    /// The groups that its credential claims and it may be in, and the roles that it carries: since when.
    pub(super) claimed: Vec<(String, i64)>,
    pub(super) carried: HashMap<String, i64>,
    /// Since when it is in each of its groups, once somebody asks.
    pub(super) joined: OnceCell<HashMap<String, i64>>,
}

/// What was used, by pattern.
pub(super) type UsesByPattern = HashMap<u32, Vec<UseOf>>;

#[derive(Debug)]
pub(super) struct UseOf {
    pub(super) route: Box<str>,
    pub(super) method: Box<str>,
    pub(super) row: Row,
}

pub(super) fn add_use(uses: &mut UsesByPattern, patterns: &mut Patterns, route: &str, action: &str, row: &Row) {
    let Some((method, pattern)) = action.split_once(' ') else { return };
    uses.entry(patterns.of(pattern)).or_default().push(UseOf { route: route.into(), method: method.into(), row: *row });
}

impl Model<'_> {
    pub(super) fn find_holders(
        &self,
        usage: &Usage,
        known: &KnownPrincipals,
        carried_from: usize,
        patterns: &mut Patterns,
        incomplete: &mut Option<&'static str>,
    ) -> Vec<Holder> {
        let groups = &self.members;
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, grant) in self.grants.iter().enumerate().filter(|(_, grant)| !grant.collective) {
            for principal in grant.assignment.into_iter().flat_map(|assignment| &assignment.principals) {
                named.entry(&principal.value).or_default().push(place);
            }
        }
        let carried: HashMap<&str, usize> =
            self.grants.iter().enumerate().skip(carried_from).map(|(place, grant)| (grant.role, place)).collect();
        let is_single = |name: &&str| name.contains(':') && !name.starts_with("group:");
        let declared: BTreeSet<&str> =
            named.keys().copied().chain(groups.direct.keys().copied()).filter(is_single).collect();
        let mut names: BTreeSet<String> = declared.iter().map(|name| (*name).to_owned()).collect();
        names.extend(usage.principals().iter().filter(|seen| seen.kind.is_some()).map(|seen| seen.reference()));
        names.extend(known.listed.iter().cloned());
        if names.len() > MOST_HOLDERS {
            *incomplete = Some("there are more principals than an audit looks at");
        }
        let (mut holders, mut left) = (Vec::new(), MOST_HELD);
        for name in names.into_iter().take(MOST_HOLDERS) {
            let seen = usage.find(&name);
            let claimed = seen
                .into_iter()
                .flat_map(|seen| &seen.groups)
                .filter(|group| group.trusted || !groups.declared.contains(&*group.name));
            let claimed: Vec<(String, i64)> =
                claimed.map(|group| (group.name.to_string(), i64::from(group.since))).collect();
            let of = groups.of_member(&name, claimed.iter().map(|(group, _)| group.as_str()));
            let by_name =
                named.get(name.as_str()).into_iter().flatten().map(|grant| Held { grant: *grant, via: Via::Named });
            let mut held: Vec<Held> = by_name.collect();
            for group in &of {
                let by_group = named.get(format!("group:{group}").as_str()).into_iter().flatten();
                held.extend(by_group.map(|grant| Held { grant: *grant, via: Via::Group(group.clone()) }));
            }
            let roles = seen.map_or(&[][..], |seen| &seen.roles);
            let by_credential = roles.iter().filter_map(|role| carried.get(&*role.name));
            held.extend(by_credential.map(|grant| Held { grant: *grant, via: Via::Credential }));
            let carried = roles.iter().map(|role| (role.name.to_string(), i64::from(role.since))).collect();
            held.sort_by(|one, other| (one.grant, &one.via).cmp(&(other.grant, &other.via)));
            held.dedup_by_key(|each| each.grant);
            if held.len() > left {
                *incomplete = Some("there are more grants than an audit looks at");
                break;
            }
            left -= held.len();
            let mut uses = HashMap::new();
            for (route, action, row) in usage.rows_of(&name) {
                add_use(&mut uses, patterns, route, action, row);
            }
            let declared = declared.contains(name.as_str());
            let joined = OnceCell::new();
            holders.push(Holder { name, held, groups: of, declared, uses, claimed, carried, joined });
        }
        holders
    }
}
