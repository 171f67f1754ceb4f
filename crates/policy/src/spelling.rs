//! Which ids of principals are one id, however they are spelled.
//!
//! Ids are compared exactly: of OpenID Connect's `sub` nothing else is right (OpenID Connect Core 2). A directory compares otherwise: to it
//! `Alice` and `alice` are one entry (`caseIgnoreMatch`, RFC 4517 section 4.2.11), and so they have to be one principal, or a deny that
//! names one of them would not concern who types the other. The ids that such a directory knows are written in one form, here as in
//! `identity`: small letters. It depends on each character alone, so that no id has two forms.

use std::borrow::Cow;
use std::sync::Arc;

use crate::draft::{Placed, PolicyDraft};
use crate::policy::Policy;
use crate::principal::{Principal, PrincipalKind};

/// The ids of principals, by what begins them, and whether they differ by case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spelling {
    /// The longest prefix first: an id belongs to the longest that begins it. Empty where no id ignores case.
    names: Vec<Names>,
}

/// The ids of one kind behind one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    kind: PrincipalKind,
    prefix: Box<str>,
    ignores_case: bool,
}

impl Spelling {
    /// Of all prefixes that ids have, each with the kind of its principals and whether these ids ignore case. Where two share a prefix, one that
    /// ignores case is enough: the principals are the same.
    pub fn new<'p>(prefixes: impl IntoIterator<Item = (PrincipalKind, &'p str, bool)>) -> Self {
        let mut names: Vec<Names> = Vec::new();
        for (kind, prefix, ignores_case) in prefixes {
            match names.iter_mut().find(|each| each.kind == kind && *each.prefix == *prefix) {
                Some(known) => known.ignores_case |= ignores_case,
                None => names.push(Names { kind, prefix: prefix.into(), ignores_case }),
            }
        }
        if names.iter().all(|each| !each.ignores_case) {
            names.clear();
        }
        names.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then_with(|| a.prefix.cmp(&b.prefix)));
        Self { names }
    }

    /// Whether no id ignores case.
    pub fn is_exact(&self) -> bool {
        self.names.is_empty()
    }

    /// The form in which an id is compared. One that has it already, or that is compared exactly, is not copied; nor is one that would begin with
    /// another prefix then: that id would be another source's, and `identity` lets nobody in under it.
    pub fn id<'i>(&self, kind: PrincipalKind, id: &'i str) -> Cow<'i, str> {
        let Some(of) = self.of(kind, id).filter(|of| of.ignores_case) else { return Cow::Borrowed(id) };
        let (prefix, rest) = id.split_at(of.prefix.len());
        if rest.chars().all(|c| c.to_lowercase().eq([c])) {
            return Cow::Borrowed(id);
        }
        let as_compared = format!("{prefix}{}", folded(rest));
        if self.of(kind, &as_compared) == Some(of) { Cow::Owned(as_compared) } else { Cow::Borrowed(id) }
    }

    fn of(&self, kind: PrincipalKind, id: &str) -> Option<&Names> {
        self.names.iter().find(|each| each.kind == kind && id.starts_with(&*each.prefix))
    }

    /// The same of a name as a policy writes it, such as `user:alice`. What names no principal stays as it is.
    pub fn name<'n>(&self, name: &'n str) -> Cow<'n, str> {
        let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
        let named = name.split_once(':').filter(|_| !self.names.is_empty());
        let found = named.and_then(|(word, id)| Some((kinds.into_iter().find(|kind| kind.as_str() == word)?, id)));
        match found.map(|(kind, id)| (kind, self.id(kind, id))) {
            Some((kind, Cow::Owned(id))) => Cow::Owned(format!("{}:{id}", kind.as_str())),
            Some((_, Cow::Borrowed(_))) | None => Cow::Borrowed(name),
        }
    }

    /// The principal under its id as it is compared; itself where it has that.
    pub fn principal(&self, principal: Arc<Principal>) -> Arc<Principal> {
        match self.id(principal.kind, &principal.id) {
            Cow::Borrowed(_) => principal,
            Cow::Owned(id) => Arc::new(Principal { id: id.into(), ..Principal::clone(&principal) }),
        }
    }
}

/// An id in small letters, character by character.
pub fn folded(id: &str) -> String {
    id.chars().flat_map(char::to_lowercase).collect()
}

impl Policy {
    /// How the ids of principals are compared.
    pub fn spelling(&self) -> &Spelling {
        &self.subjects.spelling
    }
}

impl PolicyDraft {
    /// Has every principal that it names written as its id is compared, and keeps how that is for the policy. Each name that was written otherwise,
    /// in its place and as it is written now.
    pub fn respell(&mut self, spelling: Spelling) -> Vec<(Placed<String>, String)> {
        let members = self.groups.iter_mut().flat_map(|group| &mut group.members);
        let granted = self.assignments.iter_mut().flat_map(|assignment| &mut assignment.principals);
        let denied = self.denies.iter_mut().flat_map(|deny| &mut deny.principals);
        let mut changed = Vec::new();
        for name in members.chain(granted).chain(denied) {
            if let Cow::Owned(as_compared) = spelling.name(&name.value) {
                changed.push((name.clone(), as_compared.clone()));
                name.value = as_compared;
            }
        }
        self.spelling = spelling;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{AssignmentDraft, DenyDraft, GroupDraft, RoleDraft, RouteDraft};
    use crate::path::CanonicalPath;
    use crate::request::{AccessRequest, IdentityFact};
    use PrincipalKind::{Service, User};

    fn spelling() -> Spelling {
        Spelling::new([(User, "", true), (User, "partner:", false), (User, "partner:ad:", true), (Service, "", false)])
    }

    #[test]
    fn an_id_is_compared_as_those_behind_its_longest_prefix_are() {
        for (kind, id, expected) in [
            (User, "alice", "alice"),
            (User, "Alice", "alice"),
            // In small letters it would be the partner's.
            (User, "PARTNER:Bob", "PARTNER:Bob"),
            (User, "PARTNER", "partner"),
            (User, "partner:Bob", "partner:Bob"),
            (User, "partner:ad:Bob", "partner:ad:bob"),
            (User, "partner:AD:Bob", "partner:AD:Bob"),
            (Service, "CI", "CI"),
            // The same character has the same form wherever it stands.
            (User, "ΣΑΣ", "σασ"),
            (User, "\u{212a}im", "kim"),
            (User, "", ""),
        ] {
            assert_eq!(spelling().id(kind, id), expected, "{id}");
            let again = spelling().id(kind, expected).into_owned();
            assert_eq!(again, expected, "what has the form keeps it");
        }
        assert_eq!(spelling().name("user:Alice"), "user:alice");
        for same in ["group:Ops", "service:CI", "anyone", "User:Alice", "user:partner:Bob"] {
            assert!(matches!(spelling().name(same), Cow::Borrowed(name) if name == same), "{same}");
        }
        let exact = Spelling::new([(User, "", false)]);
        assert_eq!((exact.id(User, "Alice"), exact), ("Alice".into(), Spelling::default()));
    }

    #[test]
    fn a_principal_that_has_its_form_is_the_same_one() {
        let alice = Arc::new(Principal::user("alice"));
        assert!(Arc::ptr_eq(&spelling().principal(Arc::clone(&alice)), &alice));
        assert_eq!(spelling().principal(Arc::new(Principal::user("ALICE"))), alice);
    }

    #[test]
    fn no_spelling_escapes_a_deny_and_none_loses_a_grant() {
        let draft = |spelling: Spelling| {
            let mut draft = PolicyDraft {
                routes: vec![RouteDraft::new("app", ["/**"])],
                roles: vec![RoleDraft::new("all", ["* /**"])],
                groups: vec![GroupDraft {
                    name: "staff".to_owned().into(),
                    members: vec!["user:BOB".to_owned().into()],
                }],
                assignments: vec![
                    AssignmentDraft::new("staff", "all", ["group:staff"]),
                    AssignmentDraft::new("all", "all", ["user:Alice", "user:mallory"]),
                ],
                denies: vec![DenyDraft::new("gone", ["user:Mallory"], ["* /**"])],
                ..PolicyDraft::default()
            };
            let changed = draft.respell(spelling);
            (draft, changed)
        };
        let (insensitive, changed) = draft(spelling());
        let changed: Vec<_> = changed.iter().map(|(name, now)| (name.value.as_str(), now.as_str())).collect();
        let expected = [("user:BOB", "user:bob"), ("user:Alice", "user:alice"), ("user:Mallory", "user:mallory")];
        assert_eq!(changed, expected);
        let permitted = |draft: &PolicyDraft, id: &str| {
            let policy = Policy::compile(draft).unwrap().0;
            let (who, path) = (Principal::user(id), CanonicalPath::parse("/x").unwrap());
            let request = AccessRequest {
                identity: IdentityFact::Verified(&who),
                ..AccessRequest::new("GET", &path, policy.find_route("a", &path), jiff::Timestamp::UNIX_EPOCH)
            };
            matches!(policy.decide(&request), crate::decision::Decision::Permit(_))
        };
        for (id, expected) in [("alice", true), ("ALICE", true), ("Bob", true), ("mallory", false), ("MALLORY", false)]
        {
            assert_eq!(permitted(&insensitive, id), expected, "{id}");
        }
        // Without a directory each spelling is somebody else.
        let (exact, changed) = draft(Spelling::default());
        assert!(changed.is_empty());
        for (id, expected) in [("Alice", true), ("alice", false), ("bob", false), ("mallory", true), ("Mallory", false)]
        {
            assert_eq!(permitted(&exact, id), expected, "{id}");
        }
    }
}
