//! Permission as a type: what `forward` takes, and nobody but `authorize` can make.

use portcullis_policy::Permit;

/// A request together with the permit that was given for it.
///
/// The constructor is private to this crate and consumes both, so a permit cannot be kept for another request, and
/// `forward` cannot be reached without one.
#[derive(Debug)]
pub struct Permitted<T> {
    inner: T,
    permit: Permit,
}

impl<T> Permitted<T> {
    /// INVARIANT: `permit` is the answer of `Policy::decide` on the facts of `inner`.
    pub(crate) fn new(inner: T, permit: Permit) -> Self {
        Self { inner, permit }
    }

    /// The permit.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// What was found out about the request, for layers that limit permitted ones. INVARIANT: nothing that was decided on is
    /// changed through it.
    pub(crate) fn facts_mut(&mut self) -> &mut crate::transit::Facts
    where
        T: std::ops::DerefMut<Target = crate::transit::Transit>,
    {
        &mut self.inner.facts
    }

    /// The request, which may now be forwarded.
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}
