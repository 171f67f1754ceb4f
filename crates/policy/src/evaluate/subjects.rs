//! Everyone whom a caller is, as far as rules can name them.

use super::*;

impl Policy {
    /// Everyone the caller is, for the rules: `anyone`, `authenticated`, itself, and its groups. A subject may be visited
    /// twice.
    pub(crate) fn for_each_subject<B>(
        &self,
        view: &View<'_>,
        caller: Caller<'_>,
        visit: &mut impl FnMut(&Subject) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.with_groups(Subjects::ANYONE, visit)?;
        if caller == Caller::Anonymous {
            return ControlFlow::Continue(());
        }
        self.with_groups(Subjects::AUTHENTICATED, visit)?;
        if let Caller::Verified(principal) = caller {
            if let Some(id) = self.subjects.of_principal(principal) {
                self.with_groups(id, visit)?;
            }
            for claim in &principal.groups {
                if let Some(id) = self.claimed_group(&claim.name, claim.trusted) {
                    self.with_groups(id, visit)?;
                }
            }
        }
        match view.supposed.group {
            Some(group) => self.with_groups(group, visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// The group that a claim puts the caller into: a local one only if the provider is trusted with it.
    pub(crate) fn claimed_group(&self, name: &str, trusted: bool) -> Option<SubjectId> {
        let id = self.subjects.groups.get(name).copied()?;
        let declared = self.subjects.get(id).is_some_and(|subject| subject.declared);
        (trusted || !declared).then_some(id)
    }

    fn with_groups<B>(&self, id: SubjectId, visit: &mut impl FnMut(&Subject) -> ControlFlow<B>) -> ControlFlow<B> {
        let Some(subject) = self.subjects.get(id) else { return ControlFlow::Continue(()) };
        visit(subject)?;
        for group in &subject.groups {
            if let Some(group) = self.subjects.get(*group) {
                visit(group)?;
            }
        }
        ControlFlow::Continue(())
    }
}
