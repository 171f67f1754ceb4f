//! The moments between two steps of a version that becomes live. Each has a name, so that a test can end the process there and see that it did.

/// It has come to this moment. In the program that is nothing.
#[cfg(not(test))]
pub(super) fn reached(_: impl std::fmt::Display) {}

#[cfg(test)]
pub(super) use super::tests::crashes::reached;
