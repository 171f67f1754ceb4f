//! Since when approvals are required.

use super::Governor;
use crate::error::GovernanceError;

impl Governor {
    /// When the version became live since which approvals are required, in microseconds since 1970; `None`: they are not. Where they were switched off in
    /// between it is one of the times when they were switched on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn required_since(&self) -> Result<Option<i64>, GovernanceError> {
        let Some(last) = self.last.as_ref().filter(|last| last.rules().required) else { return Ok(None) };
        // Halved, since there may be many: `before` does not demand any, or is 0, and `found` does.
        let (mut before, mut found) = (0_u64, last.clone());
        while found.n.saturating_sub(before) > 1 {
            let middle = before.saturating_add(found.n.saturating_sub(before) / 2);
            let version = self.version(middle)?;
            if version.rules().required { found = version } else { before = middle }
        }
        Ok(Some(found.time))
    }
}
