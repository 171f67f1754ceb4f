//! What a content does behind another one. Both are read with the values that variables of the environment have now; so the one before is compared only where
//! these are the values that it was approved with. Else it would be something that was never live, and what follows on it is not told by it.

use super::Governor;
use crate::change::Class;
use crate::content::Content;
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::version::Version;

impl Governor {
    /// What a content of this digest does behind a version that is live.
    pub(super) fn class_behind(
        &self,
        before: &Version,
        content: &Content,
        governed: Hash,
    ) -> Result<Class, GovernanceError> {
        if before.change.governed == governed {
            return Ok(Class::Neutral);
        }
        let earlier = self.content_of(before)?;
        if !self.source.is(&earlier, before.change.governed) {
            return Ok(Class::Mixed);
        }
        Ok(self.source.class(&earlier, content))
    }

    /// What a version did when it became live. The error is why that cannot be told any more.
    pub(super) fn class_then(
        &self,
        before: &Version,
        version: &Version,
        [earlier, content]: [&Content; 2],
        time: jiff::Timestamp,
    ) -> Result<Class, GovernanceError> {
        let is = |content, version: &Version| self.source.is(content, version.change.governed);
        match (is(earlier, before), is(content, version)) {
            (true, true) => Ok(self.source.class_at(earlier, content, time)),
            // The same files with other values than before.
            (false, true) if earlier == content => Ok(Class::Mixed),
            _ => Err(GovernanceError::Invalid(
                "variables of the environment have other values by now than those that were approved".to_owned(),
            )),
        }
    }
}
