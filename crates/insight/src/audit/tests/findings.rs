//! One finding after another: when it is made, when it is not, and the border between the two.

mod ages;
mod breadth;
mod keys;
mod peers;
mod power;
mod principals;
mod recent;
mod roles;
mod unused;

use super::Site;

pub(super) fn pairs(found: &[(&str, &str)]) -> Vec<(String, String)> {
    found.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

/// Alice holds a role of two actions by name, and uses one of them.
pub(super) fn reader() -> Site {
    let mut site = Site::new();
    site.role("reader", &["GET /a", "PUT /a"]);
    site.grant("alice-reads", "reader", &["user:alice"]);
    site.uses("user:alice", "GET /a", 1);
    site
}
