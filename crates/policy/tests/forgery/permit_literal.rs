//! A permit cannot be written down.

use portcullis_policy::{Permit, RiskLevel};

fn main() {
    let _ = Permit { grant: None, shadow: Vec::new(), level: RiskLevel::Low };
}
