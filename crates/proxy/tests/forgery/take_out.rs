//! The request cannot be taken out and forwarded by other means, nor the permit kept.

use portcullis_proxy::permitted::Permitted;

fn take_out(permitted: Permitted<&'static str>) -> &'static str {
    permitted.into_inner()
}

fn main() {
    let _ = take_out;
}
