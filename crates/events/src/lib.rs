//! Placeholder.
pub mod settings;
