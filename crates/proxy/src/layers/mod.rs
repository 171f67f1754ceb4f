//! The layers of the stack, one file each.

pub mod assess;
pub mod authorize;
pub mod client_addr;
pub mod establish;
pub mod identify;
pub mod limit;
pub mod normalize;
pub mod preflight;
pub mod rate;
pub mod respond;
pub mod share;
#[cfg(test)]
pub(crate) mod tests;
