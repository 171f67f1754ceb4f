//! The fields are private.

use portcullis_policy::Permit;
use portcullis_proxy::permitted::Permitted;

fn write_out(permit: Permit) -> Permitted<&'static str> {
    Permitted { inner: "another request", permit }
}

fn main() {
    let _ = write_out;
}
