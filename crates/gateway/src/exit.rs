//! Exit codes: a contract that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked; the answer is yes.
    Success,
    /// The answer is no: denied, not found, expectations not met.
    Negative,
    /// The command line makes no sense.
    Usage,
    /// The configuration is invalid.
    Configuration,
    /// Something that was needed could not be reached, bound or opened.
    Unreachable,
    /// Whoever asked may not.
    NotPermitted,
    /// A defect or a system failure.
    Internal,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Negative => 1,
            Exit::Usage => 2,
            Exit::Configuration => 3,
            Exit::Unreachable => 4,
            Exit::NotPermitted => 5,
            Exit::Internal => 70,
        })
    }
}
