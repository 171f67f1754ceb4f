//! A route's id comes from the policy that has the route.

use portcullis_policy::RouteId;

fn main() {
    let _ = RouteId(7);
}
