//! Routes: which host and path lead where. The most specific host wins, then the most specific path.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::path::CanonicalPath;
use crate::pattern::{Pattern, PatternTree};

/// The index of a route in its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub(crate) u32);

impl RouteId {
    /// The index, from 0 in the order of the configuration.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All routes, by host and path.
#[derive(Debug, Clone, Default)]
pub(crate) struct RouteTable {
    exact: HashMap<Box<str>, PatternTree<RouteId>>,
    /// By suffix without its star: `*.example.com` is `example.com`.
    suffix: BTreeMap<Box<str>, PatternTree<RouteId>>,
    any: PatternTree<RouteId>,
}

/// What a route's `hosts` entry means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostPattern {
    Any,
    Exact(Box<str>),
    Suffix(Box<str>),
}

impl HostPattern {
    /// Parses a host, or `*.suffix`; the error is a sentence for the person who wrote it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (suffix, host) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if host.contains('*') {
            return Err(format!("`{text}`: a star stands only at the beginning, as in `*.example.com`"));
        }
        if host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':')) {
            return Err(format!("`{text}` names a port: a route matches a host at any port"));
        }
        let canonical = canonical_host(host).ok_or_else(|| format!("`{text}` is not a host"))?;
        let canonical = Box::from(canonical.as_ref());
        Ok(if suffix { Self::Suffix(canonical) } else { Self::Exact(canonical) })
    }
}

impl RouteTable {
    /// The most nodes of one host's tree of paths that one path may lead to. A walk takes some ten nanoseconds for each, so
    /// this keeps finding a route within microseconds whatever the file says.
    pub(crate) const MAX_VISITS: usize = 256;

    /// Inserts a route, or gives back the one that no request can tell from it.
    pub(crate) fn insert(&mut self, host: &HostPattern, pattern: &Pattern, route: RouteId) -> Result<(), RouteId> {
        match host {
            HostPattern::Any => self.any.insert(pattern, route),
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default().insert(pattern, route),
            HostPattern::Suffix(name) => self.suffix.entry(name.clone()).or_default().insert(pattern, route),
        }
    }

    /// The most nodes that a path may lead to in the tree of this host: see [`PatternTree::most_visits`].
    pub(crate) fn most_visits(&self, host: &HostPattern) -> usize {
        self.tree(host).map_or(0, PatternTree::most_visits)
    }

    /// The route for a canonical host and path: exact host, then the longest `*.suffix`, then any host.
    pub(crate) fn find(&self, host: &str, path: &CanonicalPath) -> Option<RouteId> {
        if let Some(route) = self.exact.get(host).and_then(|tree| tree.best_match(path)) {
            return Some(route);
        }
        if !self.suffix.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(route) = self.suffix.get(parent).and_then(|tree| tree.best_match(path)) {
                    return Some(route);
                }
                rest = parent;
            }
        }
        self.any.best_match(path)
    }
}

impl RouteTable {
    /// The hosts that routes name, each with whether it is a suffix, in no particular order.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&str, bool)> {
        let exact = self.exact.keys().map(|host| (&**host, false));
        exact.chain(self.suffix.keys().map(|suffix| (&**suffix, true)))
    }

    /// The trees that a host is looked up in, the most specific first.
    pub(crate) fn trees(&self, host: &str) -> impl Iterator<Item = &PatternTree<RouteId>> {
        let parents = std::iter::successors(Some(host), |rest| rest.split_once('.').map(|(_, parent)| parent)).skip(1);
        let suffixes: Vec<_> = parents.filter_map(|parent| self.suffix.get(parent)).collect();
        self.exact.get(host).into_iter().chain(suffixes).chain(std::iter::once(&self.any))
    }

    /// The paths of the routes that have exactly this host.
    pub(crate) fn tree(&self, host: &HostPattern) -> Option<&PatternTree<RouteId>> {
        match host {
            HostPattern::Any => Some(&self.any),
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Suffix(name) => self.suffix.get(name),
        }
    }

    /// What the path leads to on each of the hosts that routes name, and on any other.
    pub(crate) fn find_on_any_host(&self, path: &CanonicalPath) -> Vec<RouteId> {
        let trees = self.exact.values().chain(self.suffix.values()).chain(std::iter::once(&self.any));
        let mut found: Vec<RouteId> = trees.filter_map(|tree| tree.best_match(path)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl RouteTable {
    /// Where each route is entered: its hosts and its paths, hosts in the order of [`HostPattern`], paths by text.
    pub(crate) fn entries(&self, routes: usize) -> Vec<Vec<(HostPattern, Pattern)>> {
        let exact = self.exact.iter().map(|(name, tree)| (HostPattern::Exact(name.clone()), tree));
        let suffix = self.suffix.iter().map(|(name, tree)| (HostPattern::Suffix(name.clone()), tree));
        let mut entries = vec![Vec::new(); routes];
        for (host, tree) in exact.chain(suffix).chain([(HostPattern::Any, &self.any)]) {
            for (pattern, route) in tree.entries() {
                if let Some(list) = entries.get_mut(route.index()) {
                    list.push((host.clone(), pattern));
                }
            }
        }
        entries.iter_mut().for_each(|list| list.sort());
        entries
    }

    /// Whether a route that is entered here may answer for some path of a pattern: the two meet, and no more specific route
    /// of the same host answers for all of the pattern.
    pub(crate) fn may_answer(&self, (host, entry): &(HostPattern, Pattern), pattern: &Pattern) -> bool {
        let tree = match host {
            HostPattern::Any => Some(&self.any),
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Suffix(name) => self.suffix.get(name),
        };
        let taken = tree.and_then(|tree| tree.best_covering(pattern)).is_some_and(|(other, _)| {
            // INVARIANT: two patterns that match one path and are equally specific are the same.
            other.specificity().gt(entry.specificity())
        });
        entry.meets(pattern) && !taken
    }
}

impl HostPattern {
    /// Whether it is a name for a canonical host.
    pub(crate) fn holds(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => **name == *host,
            Self::Suffix(name) => host.strip_suffix(&**name).is_some_and(|rest| rest.ends_with('.')),
        }
    }
}

/// As `portcullis.toml` writes it; any host is a star.
impl std::fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Exact(name) => formatter.write_str(name),
            Self::Suffix(name) => write!(formatter, "*.{name}"),
        }
    }
}

/// A host as routes compare it: lower case, without its port and without one trailing dot. `None` when it is no host
/// (RFC 3986 section 3.2.2, without escapes): an IPv4 address, an IPv6 address in brackets, or a name of letters,
/// digits, `-`, `_` and dots, at most 253 bytes.
pub fn canonical_host(authority: &str) -> Option<Cow<'_, str>> {
    let (host, port) = split_port(authority)?;
    if port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().is_err()) {
        return None;
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(Cow::Owned(format!("[{address}]")));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let has_capitals = check_name(name)?;
    Some(if has_capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// Whether a name has capitals; `None` when it is no name. Each request has one, so it is read once, byte by byte.
fn check_name(name: &str) -> Option<bool> {
    if name.len() > 253 {
        return None;
    }
    let (mut label_bytes, mut has_capitals) = (0, false);
    for byte in name.bytes() {
        match byte {
            b'.' if label_bytes > 0 => label_bytes = 0,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label_bytes += 1,
            b'A'..=b'Z' => (label_bytes, has_capitals) = (label_bytes + 1, true),
            _ => return None,
        }
        if label_bytes > 63 {
            return None;
        }
    }
    (label_bytes > 0).then_some(has_capitals)
}

/// Host and port of an authority; a bare IPv6 address is no authority.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    let colon = authority.bytes().position(|byte| byte == b':').unwrap_or(authority.len());
    let (host, rest) = authority.split_at_checked(colon)?;
    Some((host, rest.strip_prefix(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_in_one_form() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(canonical_host(text).as_deref(), expected, "{text}");
        check("Billing.Internal", Some("billing.internal"));
        check("billing.internal.", Some("billing.internal"));
        check("billing.internal:8080", Some("billing.internal"));
        check("127.0.0.1:80", Some("127.0.0.1"));
        check("[::1]:80", Some("[::1]"));
        check("[0:0:0:0:0:0:0:1]", Some("[::1]"));
        check("a_b.c", Some("a_b.c"));
        check("a:080", Some("a"));
        let long = "a".repeat(63);
        check(&format!("{long}.b"), Some(&format!("{long}.b")));
        check(&format!("{long}a.b"), None);
        let longest = [long.as_str(), &long, &long, &long[2..]].join(".");
        check(&longest, Some(&longest));
        check(&format!("{longest}."), Some(&longest));
        check(&format!("{longest}a"), None);
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "a..",
            "a..b",
            "a b",
            "a/b",
            "user@host",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "a:",
            "a:x",
            "a:65536",
            "a:+1",
            "a,b",
            "ä",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_most_specific_host_wins_and_the_next_is_asked_when_it_has_no_path() {
        let mut table = RouteTable::default();
        let entries = [("a.example.com", "/x/**"), ("*.example.com", "/**"), ("*.com", "/y"), ("*", "/z/**")];
        for (index, (host, path)) in entries.iter().enumerate() {
            let host = if *host == "*" { HostPattern::Any } else { HostPattern::parse(host).unwrap() };
            table.insert(&host, &Pattern::parse(path).unwrap(), RouteId(index as u32)).unwrap();
        }
        let check = |host: &str, path: &str, expected: Option<u32>| {
            let path = CanonicalPath::parse(path).unwrap();
            assert_eq!(table.find(host, &path).map(|route| route.0), expected, "{host} {}", path.as_str());
        };
        check("a.example.com", "/x/1", Some(0));
        check("a.example.com", "/q", Some(1));
        check("b.c.example.com", "/q", Some(1));
        check("example.com", "/y", Some(2));
        check("example.com", "/z", Some(3));
        check("example.com", "/q", None);
        check("other", "/z/1", Some(3));
    }
}
