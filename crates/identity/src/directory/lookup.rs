//! One look-up: the entry, whether its account counts, and its groups.

use std::collections::HashSet;

use portcullis_ldap::{Connection, Entry, Filter, LdapError, Scope, Search};
use portcullis_policy::GroupClaim;

use super::{GroupName, Membership, Nested, Verdict};
use crate::claims::is_sound;
use crate::namespace::Namespace;
use crate::refusal::excerpt;
use crate::settings::LdapDirectory;

/// How deep groups may be in groups where they are walked.
const MAX_DEPTH: usize = 32;
/// How many groups are asked about in one search.
const CHUNK: usize = 32;
/// "No attributes" (RFC 4511 section 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";
/// The attribute of [`GroupName::Guid`].
const GUID: &str = "objectGUID";

/// Who is looked up, and how.
pub(super) struct Lookup<'l> {
    pub(super) settings: &'l LdapDirectory,
    pub(super) namespace: &'l Namespace,
    /// The server follows groups of groups by its matching rule.
    pub(super) has_matching_rule: bool,
    pub(super) id: &'l str,
    pub(super) email: Option<&'l str>,
}

/// Why there is no verdict, or which one there is at once.
enum Stop {
    Unusable(String),
    Ldap(LdapError),
}

impl From<LdapError> for Stop {
    fn from(error: LdapError) -> Self {
        Self::Ldap(error)
    }
}

/// What a look-up came to.
fn settled(verdict: Result<Verdict, Stop>) -> Result<Verdict, LdapError> {
    match verdict {
        Ok(verdict) => Ok(verdict),
        Err(Stop::Unusable(why)) => Ok(Verdict::Unusable(why)),
        // Who has no address of mail is not looked for by one.
        Err(Stop::Ldap(LdapError::Unfilled)) => Ok(Verdict::NotFound),
        Err(Stop::Ldap(error)) => Err(error),
    }
}

impl Lookup<'_> {
    /// Looks up. A connection that is still good afterwards is one that gave a verdict, or an error that
    /// [leaves it](LdapError::leaves_connection).
    pub(super) async fn run(&self, connection: &mut Connection) -> Result<Verdict, LdapError> {
        settled(self.verdict(connection).await)
    }

    /// The same without the groups: whoever is found is in none.
    pub(super) async fn account(&self, connection: &mut Connection) -> Result<Verdict, LdapError> {
        let found = self.entry(connection, NO_ATTRIBUTES).await;
        settled(found.map(|entry| entry.map_or_else(|verdict| verdict, |_| Verdict::Found(Vec::new()))))
    }

    /// The entry with this attribute, if its account counts, or the verdict that there is without groups.
    async fn entry(&self, connection: &mut Connection, wanted: &str) -> Result<Result<Entry, Verdict>, Stop> {
        let whole = (&*self.settings.base, Scope::Subtree);
        // One more than there may be, so that the search ends and the connection stays good.
        let found = self.search(connection, whole, &self.settings.user_filter, &[], &[wanted], 16).await;
        let found = found.map_err(|error| match error {
            LdapError::TooMany(_) => Stop::Unusable("more than one entry matches".to_owned()),
            other => Stop::Ldap(other),
        })?;
        let entry = match <[Entry; 1]>::try_from(found) {
            Ok([entry]) => entry,
            Err(found) if found.is_empty() => return Ok(Err(Verdict::NotFound)),
            Err(_) => return Err(Stop::Unusable("more than one entry matches".to_owned())),
        };
        if let Some(filter) = &self.settings.account_filter {
            let itself = (&*entry.dn, Scope::Base);
            if self.search(connection, itself, filter, &[], &[NO_ATTRIBUTES], 1).await?.is_empty() {
                return Ok(Err(Verdict::Disabled));
            }
        }
        Ok(Ok(entry))
    }

    async fn verdict(&self, connection: &mut Connection) -> Result<Verdict, Stop> {
        let wanted = match &self.settings.membership {
            Membership::Attribute(attribute) => &**attribute,
            Membership::Search { .. } => NO_ATTRIBUTES,
        };
        let entry = match self.entry(connection, wanted).await? {
            Ok(entry) => entry,
            Err(verdict) => return Ok(verdict),
        };
        let whole = (&*self.settings.base, Scope::Subtree);
        let mut groups = Groups { lookup: self, seen: HashSet::new(), claims: Vec::new() };
        match &self.settings.membership {
            Membership::Search { base, filter } => {
                let whole = (&**base, Scope::Subtree);
                groups.search(connection, whole, filter, &entry.dn).await?;
            }
            Membership::Attribute(attribute) if self.follows_by_rule() => {
                let text = format!("({attribute}={{dn}})");
                // What a group has members in is not what members have groups in.
                let text = if attribute.eq_ignore_ascii_case("memberOf") { "(member={dn})" } else { &text };
                let filter = Filter::parse(text).map_err(|error| Stop::Unusable(error.to_string()))?;
                groups.search(connection, whole, &filter, &entry.dn).await?;
            }
            Membership::Attribute(attribute) => groups.follow(connection, &entry, attribute).await?,
        }
        Ok(Verdict::Found(groups.claims))
    }

    fn follows_by_rule(&self) -> bool {
        match self.settings.nested {
            Nested::MatchingRule => true,
            Nested::Auto => self.has_matching_rule,
            Nested::Walk | Nested::None => false,
        }
    }

    fn walks(&self) -> bool {
        match self.settings.nested {
            Nested::Walk => true,
            Nested::Auto => !self.has_matching_rule,
            Nested::MatchingRule | Nested::None => false,
        }
    }

    async fn search(
        &self,
        connection: &mut Connection,
        (base, scope): (&str, Scope),
        filter: &Filter,
        names: &[&str],
        attributes: &[&str],
        limit: usize,
    ) -> Result<Vec<Entry>, LdapError> {
        let (id, email) = (Some(self.id), self.email);
        connection.search(&Search { base, scope, filter, id, email, names, attributes, limit }).await
    }

    fn name_attribute(&self) -> &str {
        match &self.settings.group_name {
            GroupName::Dn => NO_ATTRIBUTES,
            GroupName::Guid => GUID,
            GroupName::Attribute(name) => name,
        }
    }

    fn too_many(&self) -> Stop {
        Stop::Unusable(format!("more than {} groups (max_groups)", self.settings.max_groups))
    }
}

/// The groups of one principal.
struct Groups<'l> {
    lookup: &'l Lookup<'l>,
    /// The distinguished names of those that were met, without case: groups may be in each other.
    seen: HashSet<String>,
    claims: Vec<GroupClaim>,
}

impl Groups<'_> {
    /// By searches: first for the entry's own groups, and where they are walked for the groups of those, level by level.
    async fn search(
        &mut self,
        connection: &mut Connection,
        whole: (&str, Scope),
        filter: &Filter,
        dn: &str,
    ) -> Result<(), Stop> {
        let lookup = self.lookup;
        let chained = (lookup.follows_by_rule() && filter.follows_dn()).then(|| filter.in_chain());
        let (filter, walks) = (chained.as_ref().unwrap_or(filter), lookup.walks() && filter.follows_dn());
        let mut level = vec![dn.to_owned()];
        let mut depth = 0;
        while !level.is_empty() {
            if depth == MAX_DEPTH {
                return Err(Stop::Unusable(format!("groups are in groups more than {MAX_DEPTH} deep")));
            }
            let mut next = Vec::new();
            for chunk in level.chunks(CHUNK) {
                let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
                let names = if filter.uses(portcullis_ldap::Variable::Dn) { names.as_slice() } else { &[] };
                let (wanted, limit) = ([lookup.name_attribute()], lookup.settings.max_groups);
                let found = lookup.search(connection, whole, filter, names, &wanted, limit).await;
                let found = found.map_err(|error| match error {
                    LdapError::TooMany(_) => lookup.too_many(),
                    other => Stop::Ldap(other),
                })?;
                for group in &found {
                    if self.add(group)? {
                        next.push(group.dn.clone());
                    }
                }
            }
            if !walks {
                break;
            }
            (level, depth) = (next, depth + 1);
        }
        Ok(())
    }

    /// By the names in an attribute, each of which is read.
    async fn follow(&mut self, connection: &mut Connection, entry: &Entry, attribute: &str) -> Result<(), Stop> {
        let lookup = self.lookup;
        let anything = Filter::parse("(objectClass=*)").map_err(|error| Stop::Unusable(error.to_string()))?;
        let mut level = names_in(entry, attribute)?;
        let mut depth = 0;
        while !level.is_empty() {
            if depth == MAX_DEPTH {
                return Err(Stop::Unusable(format!("groups are in groups more than {MAX_DEPTH} deep")));
            }
            let mut next = Vec::new();
            for dn in level {
                if self.seen.contains(&folded(&dn)) {
                    continue;
                }
                let itself = (&*dn, Scope::Base);
                let wanted = [attribute, lookup.name_attribute()];
                let found = lookup.search(connection, itself, &anything, &[], &wanted, 1).await?;
                let Some(group) = found.first() else {
                    return Err(Stop::Unusable(format!("the group {} cannot be read", excerpt(&dn))));
                };
                if self.add(group)? && lookup.walks() {
                    next.extend(names_in(group, attribute)?);
                }
            }
            (level, depth) = (next, depth + 1);
        }
        Ok(())
    }

    /// Adds a group; whether it is new.
    fn add(&mut self, group: &Entry) -> Result<bool, Stop> {
        if !self.seen.insert(folded(&group.dn)) {
            return Ok(false);
        }
        let settings = self.lookup.settings;
        if self.seen.len() > settings.max_groups {
            return Err(self.lookup.too_many());
        }
        let unusable = |why: &str| Stop::Unusable(format!("the group {} {why}", excerpt(&group.dn)));
        let name = match &settings.group_name {
            GroupName::Dn => group.dn.clone(),
            GroupName::Guid => match group.values(GUID) {
                [guid] => guid_text(guid).ok_or_else(|| unusable("has an objectGUID that is none"))?,
                _ => return Err(unusable("has no objectGUID")),
            },
            GroupName::Attribute(attribute) => match group.values(attribute) {
                [name] => String::from_utf8(name.clone()).map_err(|_| unusable("has a name that is not UTF-8"))?,
                [] => return Err(unusable(&format!("has no {attribute}"))),
                // Of several names none is chosen: the next reader might choose another.
                _ => return Err(unusable(&format!("has several values of {attribute}"))),
            },
        };
        if name.is_empty() || !is_sound(&name) {
            return Err(unusable("has a name that is empty, longer than 256 bytes or has a control character"));
        }
        let trusted = settings.trust_groups.contains(&name);
        let name = if trusted {
            name.into_boxed_str()
        } else {
            self.lookup
                .namespace
                .local(&name)
                .map_err(|refusal| unusable(&format!("has a name that cannot be: {}", refusal.detail)))?
        };
        self.claims.push(GroupClaim { name, trusted });
        Ok(true)
    }
}

/// The distinguished names in an attribute.
fn names_in(entry: &Entry, attribute: &str) -> Result<Vec<String>, Stop> {
    if entry.is_ranged(attribute) {
        return Err(Stop::Unusable("it is in more groups than the server gives at once".to_owned()));
    }
    let names = entry.values(attribute).iter().map(|name| String::from_utf8(name.clone()));
    names.collect::<Result<_, _>>().map_err(|_| Stop::Unusable("a group's name is not UTF-8".to_owned()))
}

/// Names that differ in case alone are one name to nearly every server. Two that are one and look different are asked twice, and bounded
/// by the number of groups.
fn folded(dn: &str) -> String {
    dn.to_lowercase()
}

/// The text of a GUID (MS-DTYP section 2.3.4.3): its first three parts come in little-endian order.
fn guid_text(guid: &[u8]) -> Option<String> {
    let [a, b, c, d, e, f, g, h, i, j, rest @ ..] = guid else { return None };
    let rest: &[u8; 6] = rest.try_into().ok()?;
    let hex = |octets: &[u8]| data_encoding::HEXLOWER.encode(octets);
    Some(format!("{}-{}-{}-{}-{}", hex(&[*d, *c, *b, *a]), hex(&[*f, *e]), hex(&[*h, *g]), hex(&[*i, *j]), hex(rest)))
}

#[cfg(test)]
mod tests {
    use super::guid_text;

    #[test]
    fn a_guid_is_written_as_its_tools_write_it() {
        let octets: Vec<u8> = (0..16).collect();
        assert_eq!(guid_text(&octets).unwrap(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(guid_text(&octets[..15]), None);
        assert_eq!(guid_text(&[]), None);
    }
}
