//! Which local names a provider may give: its prefix, and nothing under another provider's prefix.
//!
//! Where prefixes nest (`""` and `partner:`, or `a` and `ab`), the first provider could write a name that belongs to
//! the second. So a name belongs to the provider with the longest prefix that begins it, and the other is refused it.

use crate::refusal::Refusal;

/// The names of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Box<str>,
    /// The prefixes of other providers that extend ours: no name of ours may begin with one of them.
    taken: Vec<Box<str>>,
}

impl Namespace {
    pub(crate) fn new<'p>(prefix: &str, all_prefixes: impl IntoIterator<Item = &'p str>) -> Self {
        let extends = |other: &&str| other.len() > prefix.len() && other.starts_with(prefix);
        Self { prefix: Box::from(prefix), taken: all_prefixes.into_iter().filter(extends).map(Box::from).collect() }
    }

    /// The local form of a claimed name, whoever may use it. For counting only.
    pub(crate) fn unchecked(&self, claimed: &str) -> String {
        format!("{}{claimed}", self.prefix)
    }

    /// The local form of a claimed name.
    pub(crate) fn local(&self, claimed: &str) -> Result<Box<str>, Refusal> {
        let name = self.unchecked(claimed);
        match self.taken.iter().find(|prefix| name.starts_with(&***prefix)) {
            None => Ok(name.into_boxed_str()),
            Some(prefix) => Err(Refusal::invalid(format!(
                "an id or group begins with the prefix {} of another provider",
                crate::refusal::excerpt(prefix)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Namespace;

    #[test]
    fn a_name_belongs_to_the_longest_prefix() {
        let all = ["", "partner:", "a", "ab"];
        let check = |prefix: &str, claimed: &str, expected: Option<&str>| {
            let local = Namespace::new(prefix, all).local(claimed).ok();
            assert_eq!(local.as_deref(), expected, "{prefix}+{claimed}");
        };
        check("", "zoe", Some("zoe"));
        check("", "partner", Some("partner"));
        check("", "partner:zoe", None);
        check("", "alice", None);
        check("partner:", "zoe", Some("partner:zoe"));
        check("partner:", "partner:zoe", Some("partner:partner:zoe"));
        check("a", "c", Some("ac"));
        check("a", "bob", None);
        check("ab", "ob", Some("abob"));
    }
}
