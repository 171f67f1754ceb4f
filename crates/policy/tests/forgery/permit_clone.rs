//! A permit is for one request: it cannot be kept for the next one.

use portcullis_policy::{AccessRequest, Decision, Policy};

fn keep(policy: &Policy, request: &AccessRequest<'_>) {
    if let Decision::Permit(permit) = policy.decide(request) {
        let _ = permit.clone();
    }
}

fn main() {}
