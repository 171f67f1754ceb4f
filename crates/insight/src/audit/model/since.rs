//! Since when somebody holds something: the latest of the parts that it takes.

use std::collections::HashMap;

use crate::audit::history::{History, Part};

use super::{Grant, Held, Holder, Model, Unit, Via};

impl Model<'_> {
    /// Since when a holder has a unit by a grant: the latest of the parts that it takes. `None`: not known.
    pub(crate) fn granted_since(
        &self,
        history: &History,
        holder: &Holder,
        held: &Held,
        unit: Option<&Unit<'_>>,
    ) -> Option<i64> {
        let grant = self.grants.get(held.grant)?;
        let holds = |principal: &str| {
            let assignment = grant.assignment?;
            history.since(&Part::Holds {
                assignment: assignment.name.value.as_str().into(),
                role: assignment.role.value.as_str().into(),
                principal: principal.into(),
            })
        };
        let mut since = match &held.via {
            Via::Named => holds(&holder.name)?,
            Via::Group(group) => {
                let joined = holder.joined.get_or_init(|| self.members.joined(history, holder));
                holds(&format!("group:{group}"))?.max(joined.get(group).copied()?)
            }
            // What a credential carries is no part of any version: it is known since it was seen.
            Via::Credential => holder.carried.get(grant.role).copied()?,
        };
        if let Some(unit) = unit {
            since = since.max(self.unit_since(history, grant, unit)?);
        }
        Some(since)
    }

    /// Since when a unit is granted to everybody: the latest of the parts that it takes.
    pub(crate) fn granted_to_all_since(&self, history: &History, grant: usize, unit: &Unit<'_>) -> Option<i64> {
        let grant = self.grants.get(grant)?;
        let assignment = grant.assignment?;
        let holds = assignment.principals.iter().map(|principal| Part::Holds {
            assignment: assignment.name.value.as_str().into(),
            role: assignment.role.value.as_str().into(),
            principal: principal.value.as_str().into(),
        });
        let holds =
            holds.map(|part| history.since(&part)).try_fold(i64::MIN, |latest, since| Some(latest.max(since?)))?;
        Some(holds.max(self.unit_since(history, grant, unit)?))
    }

    fn unit_since(&self, history: &History, grant: &Grant<'_>, unit: &Unit<'_>) -> Option<i64> {
        let action = Part::Action { role: unit.role.into(), action: unit.text.as_str().into() };
        Some(history.since(&action)?.max(self.inherited_since(history, grant.role, unit.role)))
    }

    /// Since when a role has inherited another one: the latest link, by the nearest way.
    fn inherited_since(&self, history: &History, role: &str, ancestor: &str) -> i64 {
        if role == ancestor {
            return i64::MIN;
        }
        let mut reached: HashMap<&str, i64> = HashMap::new();
        let mut next = vec![(role, i64::MIN)];
        while let Some((name, since)) = next.pop() {
            for parent in self.roles.get(name).into_iter().flat_map(|role| &role.inherits) {
                let link = Part::Inherits { role: name.into(), parent: parent.value.as_str().into() };
                let since = since.max(history.since(&link).unwrap_or(i64::MAX));
                let better = reached.get(parent.value.as_str()).is_none_or(|known| since < *known);
                if better {
                    reached.insert(&parent.value, since);
                    next.push((&parent.value, since));
                }
            }
        }
        reached.get(ancestor).copied().unwrap_or(i64::MAX)
    }
}
