//! The canonical path: parsed once, decided on, forwarded.
/// Placeholder
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath { encoded: String }
/// Placeholder
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathProblem { /** Placeholder */ Malformed }
