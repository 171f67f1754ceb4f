//! The gate as a whole: by tables of raw bytes, by properties, and in front of a real hyper server.

mod chunks;
mod clock;
mod harness;
mod head_properties;
mod heads;
mod parts;
mod served;

use std::rc::Rc;

use super::WireLimits;
use crate::settings::Limits;

/// The default limits.
fn limits() -> Rc<WireLimits> {
    Rc::new(WireLimits::from(&Limits::default()))
}
