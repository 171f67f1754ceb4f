//! What reads and compares contents, which are bytes to all else here.

use jiff::Timestamp;

use crate::change::{Class, Rules};
use crate::content::Content;
use crate::hash::Hash;

/// What a content is, by whoever can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assessed {
    /// What it demands of the change after it.
    pub rules: Rules,
    /// The digest of what of it is governed: two contents with the same one decide alike.
    pub governed: Hash,
}

/// Reads and compares contents. The program implements it with its configuration.
pub trait PolicySource {
    /// Compiles a content as if it were to be put in force.
    ///
    /// # Errors
    /// Why it cannot be: sentences for the operator.
    fn assess(&self, content: &Content) -> Result<Assessed, String>;

    /// What the change from one content to another does to requests. What cannot be told is [`Class::Mixed`].
    fn class(&self, before: &Content, after: &Content) -> Class;

    /// Whether a content still is what it was when that was its digest: variables that it refers to may have other values by now.
    fn is_still(&self, content: &Content, governed: Hash) -> bool {
        self.assess(content).is_ok_and(|assessed| assessed.governed == governed)
    }

    /// Whether that digest is one of the values of the variables, too, that a content refers to. One that an earlier version of the program had approved is not:
    /// which values they had then cannot be told any more.
    fn binds_values(&self, _content: &Content, _governed: Hash) -> bool {
        true
    }

    /// A digest of all that a content says of how the next one comes into force: more than the rules, which stand in every change. Two of them are compared, and
    /// none is kept.
    ///
    /// # Errors
    /// Why the content cannot be read.
    fn governance(&self, _content: &Content) -> Result<Hash, String> {
        Ok(Hash::NONE)
    }

    /// What it did at that time: what had not expired by then is over by now.
    fn class_at(&self, before: &Content, after: &Content, _time: Timestamp) -> Class {
        self.class(before, after)
    }
}
