//! Asks a directory about many at once, for who looks over a policy: whom it knows, and which groups there are.
//!
//! It asks on a connection of its own, and remembers nothing: what requests rest on is not touched.

use std::collections::BTreeMap;

use portcullis_ldap::{Connection, Filter, LdapError, Scope, Search, Variable};
use portcullis_policy::Spelling;
use tokio::time::timeout;

use super::keep::Bound;
use super::lookup::Lookup;
use super::{Directory, GroupName, Membership, Verdict};
use crate::settings::LdapDirectory;

/// Entries of one name; more are certainly some.
const MOST_OF_A_NAME: usize = 16;

/// How a principal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is one entry, and its account counts.
    There,
    /// There is none.
    Absent,
    /// There is one, and `account_filter` leaves it out.
    Disabled,
    /// What the directory says of it cannot be used: several entries.
    Unclear,
}

/// How a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStanding {
    /// It is there. Somebody is in it, or that cannot be seen.
    There,
    /// It is there, and nobody is in it, nor any group.
    Empty,
    /// It is not there.
    Absent,
}

/// What a directory says. What it was not asked is in neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// By id, without what the provider puts before it.
    pub principals: BTreeMap<String, Standing>,
    /// By name, without the directory's prefix.
    pub groups: BTreeMap<String, GroupStanding>,
}

/// Asks about these ids and groups, one after the other; what is known so far is in `census` whenever this is let go.
///
/// # Errors
/// Why there is no answer, or none to the rest.
pub async fn census(
    settings: &LdapDirectory,
    ids: &[String],
    groups: &[String],
    census: &mut Census,
) -> Result<(), String> {
    let directory = Directory::new(settings, Vec::new(), [settings.prefix.as_str()], &Spelling::default());
    let mut open = directory.open().await.map_err(|closed| closed.message)?;
    let by_email = settings.user_filter.uses(Variable::Email)
        || settings.account_filter.as_ref().is_some_and(|filter| filter.uses(Variable::Email));
    // A policy names nobody's address of mail.
    for id in ids.iter().filter(|_| !by_email) {
        let standing = within(settings, directory.standing(&mut open, id)).await?;
        census.principals.insert(id.clone(), standing);
    }
    for group in groups {
        if let Some(standing) = within(settings, group_standing(settings, &mut open.connection, group)).await? {
            census.groups.insert(group.clone(), standing);
        }
    }
    open.connection.close().await;
    Ok(())
}

async fn within<T>(settings: &LdapDirectory, answer: impl Future<Output = Result<T, LdapError>>) -> Result<T, String> {
    match timeout(settings.timeout, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {:?}", settings.timeout)),
    }
}

impl Directory {
    async fn standing(&self, open: &mut Bound, id: &str) -> Result<Standing, LdapError> {
        let lookup = Lookup {
            settings: &self.settings,
            namespace: &self.namespace,
            has_matching_rule: open.has_matching_rule,
            id,
            email: None,
        };
        Ok(match lookup.account(&mut open.connection).await? {
            Verdict::Found { .. } => Standing::There,
            Verdict::NotFound => Standing::Absent,
            Verdict::Disabled => Standing::Disabled,
            Verdict::Unusable(_) => Standing::Unclear,
        })
    }
}

/// How a group stands; `None`: by its name that cannot be asked.
async fn group_standing(
    settings: &LdapDirectory,
    connection: &mut Connection,
    name: &str,
) -> Result<Option<GroupStanding>, LdapError> {
    let parsed = |text: &str| Filter::parse(text).ok();
    let members = members_of(settings);
    let (base, scope, filter) = match &settings.group_name {
        GroupName::Dn => (name, Scope::Base, parsed("(objectClass=*)")),
        // Its octets are no text that a filter could be made of.
        GroupName::Guid => return Ok(None),
        GroupName::Attribute(attribute) => {
            let base = match &settings.membership {
                Membership::Search { base, .. } => base,
                Membership::Attribute(_) => &settings.base,
            };
            (&**base, Scope::Subtree, parsed(&format!("({attribute}={{id}})")))
        }
    };
    let Some(filter) = &filter else { return Ok(None) };
    let attributes = [members.unwrap_or("1.1")];
    let search = Search {
        base,
        scope,
        filter,
        id: Some(name),
        email: None,
        names: &[],
        attributes: &attributes,
        limit: MOST_OF_A_NAME,
    };
    let found = match connection.search(&search).await {
        Ok(found) => found,
        Err(LdapError::TooMany(_)) => return Ok(Some(GroupStanding::There)),
        Err(error) => return Err(error),
    };
    let is_empty =
        |attribute: &str| found.iter().all(|entry| entry.values(attribute).is_empty() && !entry.is_ranged(attribute));
    Ok(Some(match members {
        _ if found.is_empty() => GroupStanding::Absent,
        Some(attribute) if is_empty(attribute) => GroupStanding::Empty,
        Some(_) | None => GroupStanding::There,
    }))
}

/// The attribute in which a group has its members, where `group_filter` is no more than that.
fn members_of(settings: &LdapDirectory) -> Option<&str> {
    let Membership::Search { filter, .. } = &settings.membership else { return None };
    let (attribute, value) = filter.text().strip_prefix('(')?.strip_suffix(')')?.split_once('=')?;
    let plain = attribute.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && matches!(value, "{dn}" | "{id}")).then_some(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_seen_where_the_filter_says_no_more_than_where_they_stand() {
        let check = |filter: &str, expected: Option<&str>| {
            let filter = Filter::parse(filter).unwrap();
            let membership = Membership::Search { base: "ou=groups".into(), filter };
            let settings = LdapDirectory { membership, ..super::super::tests::settings() };
            assert_eq!(members_of(&settings), expected);
        };
        check("(member={dn})", Some("member"));
        check("(memberUid={id})", Some("memberUid"));
        check("(|(member={dn})(uniqueMember={dn}))", None);
        check("(member:1.2.840.113556.1.4.1941:={dn})", None);
        check("(member=*{dn})", None);
    }
}
