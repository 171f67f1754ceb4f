//! One look-up: the entry, whether its account counts, and its groups.

use std::collections::HashSet;

use portcullis_ldap::{Connection, Entry, Filter, LdapError, Scope, Search};
use portcullis_policy::GroupClaim;
use portcullis_policy::spelling::folded;

use super::{GroupName, Membership, Nested, PrincipalId, Verdict};
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
#[derive(Clone, Copy)]
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

const SEVERAL: &str = "more than one entry matches";

fn several(error: LdapError) -> Stop {
    match error {
        LdapError::TooMany(_) => Stop::Unusable(SEVERAL.to_owned()),
        other => Stop::Ldap(other),
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
        let found = self.entry(connection, &[NO_ATTRIBUTES]).await;
        let there = |_| Verdict::Found { id: None, groups: Vec::new() };
        settled(found.map(|entry| entry.map_or_else(|verdict| verdict, there)))
    }

    /// The entry with these attributes, if its account counts, or the verdict that there is without groups.
    async fn entry(&self, connection: &mut Connection, wanted: &[&str]) -> Result<Result<Entry, Verdict>, Stop> {
        let whole = (&*self.settings.base, Scope::Subtree);
        let filter = &self.settings.user_filter;
        // One more than there may be, so that the search ends and the connection stays good.
        let found = self.search(connection, whole, filter, &[], wanted, 16).await.map_err(several)?;
        let entry = match <[Entry; 1]>::try_from(found) {
            Ok([entry]) => entry,
            Err(found) if found.is_empty() => {
                let id = folded(self.id);
                if self.ignores_case() && id != self.id {
                    // To a directory that ignores case nobody else is there, either.
                    let as_compared = Lookup { id: &id, ..*self };
                    let others = as_compared.search(connection, whole, filter, &[], &[NO_ATTRIBUTES], 16).await;
                    if !others.map_err(several)?.is_empty() {
                        return Err(self.heeds_case());
                    }
                }
                return Ok(Err(Verdict::NotFound));
            }
            Err(_) => return Err(Stop::Unusable(SEVERAL.to_owned())),
        };
        if let Some(filter) = &self.settings.account_filter {
            let itself = (&*entry.dn, Scope::Base);
            if self.search(connection, itself, filter, &[], &[NO_ATTRIBUTES], 1).await?.is_empty() {
                return Ok(Err(Verdict::Disabled));
            }
        }
        Ok(Ok(entry))
    }

    fn ignores_case(&self) -> bool {
        self.settings.id_ignores_case && self.settings.id != PrincipalId::Claimed
    }

    fn heeds_case(&self) -> Stop {
        let id = excerpt(self.id);
        Stop::Unusable(format!(
            "another entry than that of {id} is found under it in small letters: write `id_case = \"exact\"`"
        ))
    }

    /// The id of whoever has this entry, as ids are compared: what the entry says, however it was asked for. Nobody else has it.
    async fn id_of(&self, connection: &mut Connection, entry: &Entry) -> Result<Option<Box<str>>, Stop> {
        let attribute = match &self.settings.id {
            PrincipalId::Claimed => return Ok(None),
            PrincipalId::Dn => None,
            PrincipalId::Attribute(attribute) => Some(&**attribute),
        };
        let unusable = |why: &str| {
            let attribute = attribute.unwrap_or("dn");
            Stop::Unusable(format!("the entry of {} {why} of `{attribute}` (`id_attribute`)", excerpt(self.id)))
        };
        let id = match attribute.map(|attribute| entry.values(attribute)) {
            None => entry.dn.clone(),
            Some([id]) => String::from_utf8(id.clone()).map_err(|_| unusable("has a value that is not UTF-8"))?,
            Some([]) => return Err(unusable("has no value that can be read")),
            // Of several names none is chosen: a rule may name any of them.
            Some(_) => return Err(unusable("has several values")),
        };
        let as_compared = if self.ignores_case() { folded(&id) } else { id.clone() };
        if as_compared.is_empty() || !is_sound(&as_compared) {
            return Err(unusable("has a value that is empty, longer than 256 bytes or has a control character"));
        }
        let Some(attribute) = attribute else { return Ok(Some(as_compared.into())) };
        // Found by this very value, and it alone.
        let is_shown = as_compared == self.id && self.settings.user_filter.id_attribute() == Some(attribute);
        if !is_shown {
            let text = format!("({attribute}={{id}})");
            let filter = Filter::parse(&text).map_err(|error| Stop::Unusable(error.to_string()))?;
            let asked = Lookup { id: &as_compared, ..*self };
            let whole = (&*self.settings.base, Scope::Subtree);
            let same = asked.search(connection, whole, &filter, &[], &[NO_ATTRIBUTES], 16).await;
            match same.map_err(several)?.as_slice() {
                [same] if same.dn == entry.dn => {}
                [] | [_] if as_compared != id => return Err(self.heeds_case()),
                _ => return Err(unusable("shares its value with another, or is not found by it:")),
            }
        }
        Ok(Some(as_compared.into()))
    }

    async fn verdict(&self, connection: &mut Connection) -> Result<Verdict, Stop> {
        let mut wanted = Vec::new();
        if let Membership::Attribute(attribute) = &self.settings.membership {
            wanted.push(&**attribute);
        }
        if let PrincipalId::Attribute(attribute) = &self.settings.id {
            wanted.push(&**attribute);
        }
        if wanted.is_empty() {
            wanted.push(NO_ATTRIBUTES);
        }
        let entry = match self.entry(connection, &wanted).await? {
            Ok(entry) => entry,
            Err(verdict) => return Ok(verdict),
        };
        let id = self.id_of(connection, &entry).await?;
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
        Ok(Verdict::Found { id, groups: groups.claims })
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
    /// The distinguished names of those that were met, without case: groups may be in each other. Two that are one and look different are asked
    /// twice, and bounded by the number of groups.
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
