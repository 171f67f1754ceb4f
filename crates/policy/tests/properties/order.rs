//! The same draft written in another order.

use portcullis_policy::PolicyDraft;

/// Every list of the draft in another order, down to the lists within entries.
pub(crate) fn shuffle(draft: &mut PolicyDraft, seed: u64) {
    let mut order = Order(seed | 1);
    order.change(&mut draft.routes);
    order.change(&mut draft.networks);
    order.change(&mut draft.resources);
    order.change(&mut draft.roles);
    order.change(&mut draft.groups);
    order.change(&mut draft.assignments);
    order.change(&mut draft.denies);
    draft.routes.iter_mut().for_each(|each| order.change(&mut each.paths));
    draft.networks.iter_mut().for_each(|each| order.change(&mut each.prefixes));
    draft.groups.iter_mut().for_each(|each| order.change(&mut each.members));
    draft.assignments.iter_mut().for_each(|each| order.change(&mut each.principals));
    for resource in &mut draft.resources {
        order.change(&mut resource.allow);
        order.change(&mut resource.deny);
    }
    for deny in &mut draft.denies {
        order.change(&mut deny.principals);
        order.change(&mut deny.actions);
    }
    for role in &mut draft.roles {
        order.change(&mut role.inherits);
        order.change(&mut role.permissions);
        for permission in &mut role.permissions {
            order.change(&mut permission.actions);
            order.change(&mut permission.not_actions);
        }
    }
}

/// Xorshift: any order will do, as long as a failing one can be found again from its seed.
struct Order(u64);

impl Order {
    fn change<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            list.swap(index, usize::try_from(self.0 >> 33).unwrap_or_default() % (index + 1));
        }
    }
}
