//! The rules, with a log in memory that fails where a test wants it to.

mod approvals;
mod crashes;
mod earlier;
mod exceptions;
mod hearing;
mod meanwhile;
mod memory;
mod places;
mod properties;
mod recoveries;
mod restoring;
mod resuming;
mod rollouts;
