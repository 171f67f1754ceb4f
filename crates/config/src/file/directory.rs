//! `[[identity.ldap]]`: a directory that knows the groups of principals.

use std::borrow::Cow;
use std::time::Duration;

use portcullis_identity::settings::{Bind, GroupName, LdapDirectory, Membership, Nested, PrincipalId};
use portcullis_ldap::{Filter, Server};
use portcullis_proxy::tls::material;
use serde_json::Value;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::receiver::optional_secret;
use crate::kinds::{AnyText, Choice, FilePath, Flag, Integer, Name, Text, Time};
use crate::pem::read_pinned_pem;
use crate::schema::matching;
use crate::section::{Field, Kind, Section, shown};

/// The filter for groups where none is written.
pub(crate) const GROUP_FILTER: &str = "(member={dn})";
/// What can be written as `nested`.
pub(crate) const NESTED: &[(&str, Nested)] =
    &[("auto", Nested::Auto), ("matching_rule", Nested::MatchingRule), ("walk", Nested::Walk), ("none", Nested::None)];

/// What can be written as `id_case`: whether ids that differ in case alone are one.
pub(crate) const ID_CASE: &[(&str, bool)] = &[("ignore", true), ("exact", false)];

/// A directory, with the places that other tables are held against.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) name: At<String>,
    pub(crate) providers: Vec<At<String>>,
    pub(crate) prefix: Span,
    pub(crate) user_filter: Span,
    pub(crate) settings: LdapDirectory,
}

/// Reads one. `None` after an error.
pub(crate) fn read_directory(section: Section<'_>) -> Option<Directory> {
    let directory = read(&section);
    section.finish();
    directory
}

fn read(section: &Section<'_>) -> Option<Directory> {
    let name = section.required("name", Name);
    let providers = section.required_one_or_list("for", Name, "the providers whose principals it knows");
    if let Some(providers) = providers.as_ref().filter(|list| list.value.is_empty()) {
        section.report_empty("for", providers.span, "name the providers whose principals it knows");
    }
    let (servers, start_tls, roots) = read_servers(section);
    let bind = read_bind(section);
    let base = section.required("base", Text);
    let user_filter = section.required("user_filter", FilterText);
    let id_attribute = section.optional("id_attribute", Attribute);
    let id_ignores_case = section.or("id_case", Choice(ID_CASE), true);
    let account_filter = section.optional("account_filter", FilterText);
    let membership = read_membership(section, base.as_ref().map(|base| base.value.as_str()));
    let nested = section.or("nested", Choice(NESTED), Nested::Auto);
    let group_name = section.or("group_name", Attribute, "cn".into());
    let prefix = section.optional("prefix", AnyText);
    let trust_groups = section.list("trust_groups", Text).map_or_else(Vec::new, |list| list.value);
    let bound = |key, kind, default: usize| {
        usize::try_from(section.or(key, kind, u64::try_from(default).unwrap_or(u64::MAX))).unwrap_or(default)
    };
    let max_groups = bound("max_groups", Integer(1..=10_000), LdapDirectory::MAX_GROUPS);
    let timeout = section.or("timeout", Time::within("100ms", "30s"), LdapDirectory::TIMEOUT);
    let connections = bound("connections", Integer(1..=32), LdapDirectory::CONNECTIONS);
    let refresh = section.or("refresh", Time::within("1s", "1d"), LdapDirectory::REFRESH);
    let max_stale = read_max_stale(section, refresh);
    let negative = section.or("negative", Time::within("1s", "1d"), LdapDirectory::NEGATIVE);
    let entries = bound("entries", Integer(1..=1_000_000), LdapDirectory::ENTRIES);
    let max_waiting = bound("max_waiting", Integer(1..=10_000), LdapDirectory::MAX_WAITING);
    let (name, providers, user_filter) = (name?, providers?.value, user_filter?);
    if providers.is_empty() {
        return None;
    }
    let settings = LdapDirectory {
        name: name.value.as_str().into(),
        providers: providers.iter().map(|provider| provider.value.as_str().into()).collect(),
        servers: servers?,
        start_tls,
        roots: roots?,
        bind: bind?,
        base: base?.value.into(),
        id: principal_id(id_attribute.as_ref().map(|attribute| &*attribute.value), &user_filter.value),
        id_ignores_case,
        user_filter: user_filter.value,
        account_filter: account_filter.map(|filter| filter.value),
        membership: membership?,
        nested,
        group_name: match group_name.to_ascii_lowercase().as_str() {
            "dn" => GroupName::Dn,
            "objectguid" => GroupName::Guid,
            _ => GroupName::Attribute(group_name.into()),
        },
        prefix: prefix.as_ref().map_or_else(String::new, |prefix| prefix.value.clone()),
        trust_groups: trust_groups.into_iter().map(|group| group.value).collect(),
        max_groups,
        timeout,
        connections,
        refresh,
        max_stale,
        negative,
        entries,
        max_waiting,
    };
    let prefix = prefix.map_or(name.span, |prefix| prefix.span);
    Some(Directory { name, providers, prefix, user_filter: user_filter.span, settings })
}

/// Without a word it is the attribute by which people are found.
fn principal_id(attribute: Option<&str>, filter: &Filter) -> PrincipalId {
    match attribute.or_else(|| filter.id_attribute()) {
        None => PrincipalId::Claimed,
        Some(attribute) if attribute.eq_ignore_ascii_case("dn") => PrincipalId::Dn,
        Some(attribute) => PrincipalId::Attribute(attribute.into()),
    }
}

type Roots = Vec<rustls_pki_types::CertificateDer<'static>>;

/// The servers, whether StartTLS is spoken, and whom it believes.
fn read_servers(section: &Section<'_>) -> (Option<Vec<Server>>, bool, Option<Roots>) {
    let servers = section.required_one_or_list("url", ServerUrl, "a server, such as \"ldaps://dc1.example.com\"");
    let start_tls = section.or("starttls", Flag, false);
    let allow_plain = section.or("allow_plain", Flag, false);
    let ca = section.optional("ca", FilePath);
    let roots = match ca.as_ref() {
        Some(ca) => read_pinned_pem(section.reader(), "ca", ca, material::certificates),
        None => Some(Vec::new()),
    };
    let Some(servers) = servers else { return (None, start_tls, roots) };
    if servers.value.is_empty() {
        section.report_empty("url", servers.span, "name a server, such as \"ldaps://dc1.example.com\"");
        return (None, start_tls, roots);
    }
    for server in &servers.value {
        if server.value.secure && start_tls {
            let message = "`starttls` says nothing about `ldaps://`, which is TLS from the beginning";
            conflict(section, server.span, message, "write `ldap://`, or remove `starttls`");
        }
        if !server.value.secure && !start_tls && !allow_plain {
            let message = "over `ldap://` the password can be read on the way, and groups can be made up";
            conflict(
                section,
                server.span,
                message,
                "use `ldaps://`, or `starttls = true`, or write `allow_plain = true`",
            );
        }
    }
    let has_tls = start_tls || servers.value.iter().any(|server| server.value.secure);
    if let Some(ca) = ca.filter(|_| !has_tls) {
        conflict(section, ca.span, "`ca` says nothing where there is no TLS", "use `ldaps://` or `starttls = true`");
    }
    (Some(servers.value.into_iter().map(|server| server.value).collect()), start_tls, roots)
}

/// As whom it is asked. An empty password would be no proof, and a server says yes to it (RFC 4513 section 5.1.2).
fn read_bind(section: &Section<'_>) -> Option<Option<Bind>> {
    let dn = section.optional("bind_dn", Text);
    let written = section.has("bind_password");
    let password = optional_secret(section, "bind_password");
    match (dn, password) {
        (Some(dn), Some(password)) => Some(Some(Bind { dn: dn.value.into(), password: password.reveal().into() })),
        (Some(dn), None) => {
            if !written {
                let message = "`bind_dn` without `bind_password`: without a password a server lets anybody be anybody";
                conflict(section, dn.span, message, "write `bind_password = { file = \"…\" }`");
            }
            None
        }
        (None, Some(_)) => {
            let message = "`bind_password` without `bind_dn`: nobody has that password";
            conflict(section, section.span(), message, "write `bind_dn`, or remove `bind_password`");
            None
        }
        (None, None) if written => None,
        (None, None) => Some(None),
    }
}

fn read_membership(section: &Section<'_>, base: Option<&str>) -> Option<Membership> {
    let attribute = section.optional("group_attribute", Attribute);
    let filter = section.optional("group_filter", FilterText);
    let group_base = section.optional("group_base", Text);
    match (attribute, filter) {
        (Some(attribute), Some(_)) => {
            let message = "groups are in one place: `group_attribute` of the entry, or what `group_filter` finds";
            conflict(section, attribute.span, message, "remove one of them");
            None
        }
        (Some(attribute), None) => {
            if let Some(group_base) = group_base {
                conflict(section, group_base.span, "`group_base` says nothing beside `group_attribute`", "remove it");
            }
            Some(Membership::Attribute(attribute.value.into()))
        }
        (None, None) if section.has("group_attribute") || section.has("group_filter") => None,
        (None, filter) => {
            let filter = match filter {
                Some(filter) => filter.value,
                None => Filter::parse(GROUP_FILTER).ok()?,
            };
            let base = group_base.as_ref().map(|base| base.value.as_str()).or(base)?;
            Some(Membership::Search { base: base.into(), filter })
        }
    }
}

fn read_max_stale(section: &Section<'_>, refresh: Duration) -> Duration {
    let max_stale = section.optional("max_stale", Time::within("1s", "30d"));
    if let Some(max_stale) = max_stale.as_ref().filter(|max_stale| max_stale.value < refresh) {
        let message =
            "`max_stale` is shorter than `refresh`: the groups would be too old before they are looked up again";
        conflict(section, max_stale.span, message, "make it several times as long, such as \"1h\"");
    }
    max_stale.map_or(LdapDirectory::MAX_STALE, |max_stale| max_stale.value).max(refresh)
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}

/// `ldaps://HOST[:PORT]`
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerUrl;

impl Kind for ServerUrl {
    type Value = Server;

    fn expected(&self) -> Cow<'static, str> {
        "a server such as \"ldaps://dc1.example.com\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Server> {
        let text = field.text(&self.expected())?;
        let help = || Some(self.expected().into());
        Server::parse(&text).map_err(|problem| field.bad_value(format!("\"{}\": {problem}", shown(&text)), help())).ok()
    }

    fn schema(&self) -> Value {
        matching(r"^[Ll][Dd][Aa][Pp][Ss]?://[^/?#@\s]+/?$")
    }
}

/// A filter of RFC 4515.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterText;

impl Kind for FilterText {
    type Value = Filter;

    fn expected(&self) -> Cow<'static, str> {
        "a filter such as \"(uid={id})\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Filter> {
        let text = field.text(&self.expected())?;
        let help = || Some("a filter of RFC 4515 such as \"(uid={id})\", with `{id}`, `{email}` and `{dn}`".into());
        let report = |problem| field.bad_value(format!("\"{}\" is no filter: {problem}", shown(&text)), help());
        Filter::parse(&text).map_err(report).ok()
    }

    fn schema(&self) -> Value {
        matching(r"^\(.+\)$")
    }
}

/// The name of an attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute;

impl Kind for Attribute {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "the name of an attribute such as \"cn\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'.';
        if text.is_empty() || text.len() > 128 || !text.bytes().all(is_name) {
            field.bad_value(format!("\"{}\" is no name of an attribute", shown(&text)), Some(self.expected().into()));
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching(r"^[A-Za-z0-9.-]{1,128}$")
    }
}
