//! The constructor is the crate's own, so even a real permit cannot be put on another request.

use portcullis_policy::Permit;
use portcullis_proxy::permitted::Permitted;

fn reuse(permit: Permit) -> Permitted<&'static str> {
    Permitted::new("another request", permit)
}

fn main() {
    let _ = reuse;
}
