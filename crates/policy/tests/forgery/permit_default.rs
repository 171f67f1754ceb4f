//! A permit does not come from nothing.

use portcullis_policy::Permit;

fn main() {
    let _: Permit = Default::default();
}
