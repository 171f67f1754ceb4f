//! Routes: which host and path lead where.

/// The index of a route in its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub(crate) u32);

impl RouteId {
    /// The index, from 0 in the order of the configuration.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
