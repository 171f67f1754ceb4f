//! A permit cannot be told to rest on another grant.

use portcullis_policy::{Decision, Permit};

fn change(mut permit: Permit) -> Decision {
    permit.grant = None;
    Decision::Permit(permit)
}

fn main() {}
