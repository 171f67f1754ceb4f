//! What must hold between and within the providers' settings, told all at once. Key sets are read elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderName;
use http::header;
use portcullis_policy::PrincipalKind;

use crate::api_key::is_key_id;
use crate::claims::is_sound;
use crate::credentials::DPOP;
use crate::error::{IdentityError, IdentityProblem};
use crate::password::is_user_name;
use crate::settings::{
    ApiKeyProvider, ApiKeyRecord, CertificateProvider, ClaimNames, IntrospectionProvider, JwtProvider, LdapDirectory,
    Membership, Nested, PrincipalId, Settings,
};

/// RFC 7519 section 4.1.4 allows "some small leeway, usually no more than a few minutes"; we allow one.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Headers that frame, route or authenticate a message already. The credential header is removed before forwarding,
/// which none of these survives.
const RESERVED_HEADERS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    DPOP,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

/// Everything that is wrong with the settings, key sets aside.
pub(crate) fn check(settings: &Settings) -> Vec<IdentityError> {
    let mut errors = Vec::new();
    check_names(settings, &mut errors);
    for (place, provider) in settings.jwt.iter().enumerate() {
        let mut report = |problem| errors.push(IdentityError::new(&provider.name, problem));
        check_jwt(provider, &mut report);
        for other in settings.jwt.iter().take(place) {
            check_jwt_pair(provider, other, &mut report);
        }
        if place == 0 && settings.token_cache_entries == 0 {
            report(IdentityProblem::NoCacheEntries);
        }
    }
    if let Some(provider) = &settings.introspection {
        check_introspection(provider, settings, &mut |problem| {
            errors.push(IdentityError::new(&provider.name, problem))
        });
    }
    check_logins(settings, &mut errors);
    check_api_keys(&settings.api_key, &mut errors);
    check_passwords(settings, &mut errors);
    for (place, provider) in settings.certificate.iter().enumerate() {
        let mut report = |problem| errors.push(IdentityError::new(&provider.name, problem));
        check_certificate(provider, settings.certificate.iter().take(place), &mut report);
    }
    for (place, directory) in settings.ldap.iter().enumerate() {
        let mut report = |problem| errors.push(IdentityError::new(&directory.name, problem));
        check_directory(directory, settings, place, &mut report);
    }
    errors
}

fn check_names(settings: &Settings, errors: &mut Vec<IdentityError>) {
    let tokens = settings.jwt.iter().map(|provider| &provider.name);
    let mut seen = Vec::new();
    let keys = settings.api_key.iter().map(|provider| &provider.name);
    let keys = settings.introspection.iter().map(|provider| &provider.name).chain(keys);
    let certificates = settings.certificate.iter().map(|provider| &provider.name);
    let passwords = settings.password.iter().map(|provider| &provider.name);
    let directories = settings.ldap.iter().map(|directory| &directory.name);
    let logins = settings.oidc.iter().map(|provider| &provider.name);
    for name in tokens.chain(keys).chain(passwords).chain(certificates).chain(directories).chain(logins) {
        if seen.contains(&name) {
            errors.push(IdentityError::new(name, IdentityProblem::DuplicateName));
        }
        seen.push(name);
    }
}

fn check_jwt(provider: &JwtProvider, report: &mut impl FnMut(IdentityProblem)) {
    if provider.issuer.is_empty() {
        report(IdentityProblem::NoIssuer);
    }
    if provider.audiences.is_empty() || provider.audiences.iter().any(String::is_empty) {
        report(IdentityProblem::NoAudience);
    }
    check_taken_over(provider.leeway, provider.principal, &provider.prefix, report);
    let ClaimNames { id, groups, email, name, device, device_compliant, acr, amr, auth_time } = &provider.claims;
    let claims = [
        ("id", id),
        ("groups", groups),
        ("email", email),
        ("name", name),
        ("device", device),
        ("device_compliant", device_compliant),
        ("acr", acr),
        ("amr", amr),
        ("auth_time", auth_time),
    ];
    for (purpose, _) in claims.into_iter().filter(|(_, name)| name.is_empty()) {
        report(IdentityProblem::NoClaimName(purpose));
    }
}

/// How a provider's word for a principal is taken over, however its tokens are checked.
fn check_taken_over(
    leeway: Duration,
    principal: PrincipalKind,
    prefix: &str,
    report: &mut impl FnMut(IdentityProblem),
) {
    if leeway > MAX_LEEWAY {
        report(IdentityProblem::LeewayTooLong);
    }
    if principal == PrincipalKind::Certificate {
        report(IdentityProblem::CertificateKind);
    }
    if !is_sound(prefix) {
        report(IdentityProblem::BadPrefix);
    }
}

fn check_jwt_pair(provider: &JwtProvider, other: &JwtProvider, report: &mut impl FnMut(IdentityProblem)) {
    let same_issuer = provider.issuer == other.issuer;
    // One issuer may serve two audiences under one prefix, since it is one authority that gives the names. Only the
    // empty prefix, that of the local names, belongs to one provider alone.
    if provider.prefix == other.prefix && (provider.prefix.is_empty() || !same_issuer) {
        let (prefix, other) = (provider.prefix.clone(), other.name.to_string());
        report(IdentityProblem::SharedPrefix { prefix, other });
    }
    let shared = provider.audiences.iter().find(|audience| other.audiences.contains(audience));
    if let Some(audience) = shared.filter(|_| same_issuer) {
        let (audience, other) = (audience.clone(), other.name.to_string());
        report(IdentityProblem::SharedAudience { audience, other });
    }
}

fn check_introspection(
    provider: &IntrospectionProvider,
    settings: &Settings,
    report: &mut impl FnMut(IdentityProblem),
) {
    if provider.audiences.is_empty() && provider.clients.is_empty() {
        report(IdentityProblem::NoAddressee);
    }
    check_taken_over(provider.leeway, provider.principal, &provider.prefix, report);
    if provider.entries == 0 || provider.connections == 0 || provider.max_waiting == 0 {
        report(IdentityProblem::NoCacheEntries);
    }
    let users = settings.password.iter().filter(|_| provider.principal == PrincipalKind::User);
    for other in users.filter(|other| other.prefix == provider.prefix) {
        let (prefix, other) = (provider.prefix.clone(), other.name.to_string());
        report(IdentityProblem::SharedPrefix { prefix, other });
    }
    // The same authority may give the same names in both forms; another one must not.
    for other in settings.jwt.iter().filter(|other| provider.issuer.as_deref() != Some(other.issuer.as_str())) {
        if provider.prefix == other.prefix {
            let (prefix, other) = (provider.prefix.clone(), other.name.to_string());
            report(IdentityProblem::SharedPrefix { prefix, other });
        }
    }
}

/// Id tokens are tokens. One issuer gives names for both, bearer tokens and logins, so these may share a prefix; two issuers may not.
fn check_logins(settings: &Settings, errors: &mut Vec<IdentityError>) {
    for (place, provider) in settings.oidc.iter().enumerate() {
        let tokens = provider.id_tokens();
        let mut report = |problem| errors.push(IdentityError::new(&provider.name, problem));
        check_jwt(&tokens, &mut report);
        if provider.client_id.is_empty() {
            report(IdentityProblem::NoClient);
        }
        if settings.login.is_none() {
            report(IdentityProblem::NoLogin);
        }
        for other in settings.oidc.iter().take(place) {
            check_jwt_pair(&tokens, &other.id_tokens(), &mut report);
        }
        let signed = settings.jwt.iter().map(|other| (&other.name, &other.prefix, Some(other.issuer.as_str())));
        let asked = settings.introspection.iter();
        let opaque = asked.map(|other| (&other.name, &other.prefix, other.issuer.as_deref()));
        let local = settings.password.iter().map(|other| (&other.name, &other.prefix, None));
        for (name, prefix, issuer) in signed.chain(opaque).chain(local) {
            if *prefix == provider.prefix && issuer != Some(&*provider.issuer) {
                report(IdentityProblem::SharedPrefix { prefix: prefix.clone(), other: name.to_string() });
            }
        }
    }
}

fn check_api_keys(providers: &[ApiKeyProvider], errors: &mut Vec<IdentityError>) {
    let mut headers = HashMap::new();
    let mut ids = HashMap::new();
    for provider in providers {
        let mut report = |problem| errors.push(IdentityError::new(&provider.name, problem));
        if RESERVED_HEADERS.contains(&provider.header) {
            report(IdentityProblem::ReservedHeader(provider.header.to_string()));
        }
        if let Some(other) = headers.insert(&provider.header, &provider.name) {
            let (header, other) = (provider.header.to_string(), other.to_string());
            report(IdentityProblem::SharedHeader { header, other });
        }
        for record in &provider.keys {
            check_record(record, &mut report);
            if let Some(other) = ids.insert(&record.id, &provider.name) {
                report(IdentityProblem::DuplicateKeyId { key: shown(&record.id), other: other.to_string() });
            }
        }
    }
}

/// A user's name is local, like a principal's of a provider without a prefix: no token may claim it.
fn check_passwords(settings: &Settings, errors: &mut Vec<IdentityError>) {
    let mut names = HashMap::new();
    for (place, provider) in settings.password.iter().enumerate() {
        let mut report = |problem| errors.push(IdentityError::new(&provider.name, problem));
        if !is_sound(&provider.prefix) {
            report(IdentityProblem::BadPrefix);
        }
        if place == 0 && settings.password_threads == 0 {
            report(IdentityProblem::NoPasswordThreads);
        }
        let tokens = settings.jwt.iter().filter(|other| other.principal == PrincipalKind::User);
        if let Some(other) = tokens.into_iter().find(|other| other.prefix == provider.prefix) {
            let (prefix, other) = (provider.prefix.clone(), other.name.to_string());
            report(IdentityProblem::SharedPrefix { prefix, other });
        }
        for record in &provider.users {
            if !is_user_name(&record.name) {
                report(IdentityProblem::BadUserName { user: shown(&record.name) });
            }
            let id = format!("{}{}", provider.prefix, record.name);
            if let Some((other, prefix)) = foreign(settings, &provider.prefix).find(|(_, other)| id.starts_with(*other))
            {
                let (user, prefix, other) = (shown(&record.name), prefix.to_owned(), other.to_string());
                report(IdentityProblem::ForeignUser { user, prefix, other });
            }
            if !record.groups.iter().all(|group| !group.is_empty() && is_sound(group)) {
                report(IdentityProblem::BadUserGroup { user: shown(&record.name) });
            }
            if let Some(other) = names.insert(&record.name, &provider.name) {
                report(IdentityProblem::DuplicateUser { user: shown(&record.name), other: other.to_string() });
            }
        }
    }
}

/// The providers of users by tokens and logins whose prefixes are longer than this one and begin with it: names below them are theirs.
fn foreign<'s>(settings: &'s Settings, prefix: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
    let signed = settings.jwt.iter().filter(|other| other.principal == PrincipalKind::User);
    let signed = signed.map(|other| (&*other.name, other.prefix.as_str()));
    let asked = settings.introspection.iter().filter(|other| other.principal == PrincipalKind::User);
    let asked = asked.map(|other| (&*other.name, other.prefix.as_str()));
    let logins = settings.oidc.iter().map(|other| (&*other.name, other.prefix.as_str()));
    let all = signed.chain(asked).chain(logins);
    all.filter(move |(_, other)| other.len() > prefix.len() && other.starts_with(prefix))
}

/// `before` are the providers that were looked at already.
fn check_certificate<'s>(
    provider: &CertificateProvider,
    before: impl Iterator<Item = &'s CertificateProvider>,
    report: &mut impl FnMut(IdentityProblem),
) {
    if provider.listeners.is_empty() {
        report(IdentityProblem::NoListener);
    }
    let mut kinds = provider.san.clone();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() || kinds.len() != provider.san.len() {
        report(IdentityProblem::BadSanKinds);
    }
    if !is_sound(&provider.prefix) {
        report(IdentityProblem::BadPrefix);
    }
    for other in before {
        // Behind each of them stand other authorities, which could name each other's clients.
        if provider.prefix == other.prefix {
            let (prefix, other) = (provider.prefix.clone(), other.name.to_string());
            report(IdentityProblem::SharedPrefix { prefix, other });
        }
        if let Some(listener) = provider.listeners.iter().find(|listener| other.listeners.contains(listener)) {
            let (listener, other) = (listener.to_string(), other.name.to_string());
            report(IdentityProblem::SharedListener { listener, other });
        }
    }
}

fn check_directory(
    directory: &LdapDirectory,
    settings: &Settings,
    place: usize,
    report: &mut impl FnMut(IdentityProblem),
) {
    if directory.providers.is_empty() || directory.servers.is_empty() {
        report(IdentityProblem::NoDirectory);
    }
    let tokens = settings.jwt.iter().map(|provider| (&provider.name, Some(&provider.prefix)));
    let asked = settings.introspection.iter().map(|provider| (&provider.name, Some(&provider.prefix)));
    let tokens = tokens.chain(asked);
    let keys = settings.api_key.iter().map(|provider| (&provider.name, None));
    let certificates = settings.certificate.iter().map(|provider| (&provider.name, Some(&provider.prefix)));
    let passwords = settings.password.iter().map(|provider| (&provider.name, Some(&provider.prefix)));
    let logins = settings.oidc.iter().map(|provider| (&provider.name, Some(&provider.prefix)));
    let all: Vec<_> = tokens.chain(keys).chain(certificates).chain(passwords).chain(logins).collect();
    let mut are_known = true;
    for provider in &directory.providers {
        if !all.iter().any(|(name, _)| *name == provider) {
            are_known = false;
            report(IdentityProblem::UnknownProvider(provider.to_string()));
        }
    }
    if !is_sound(&directory.prefix) {
        report(IdentityProblem::BadPrefix);
    }
    let mut shared = |other: &str| {
        let (prefix, other) = (directory.prefix.clone(), other.to_owned());
        report(IdentityProblem::SharedPrefix { prefix, other });
    };
    // Those whose principals it knows may name the same groups: they are the same people.
    for (name, prefix) in all.iter().filter(|(name, _)| are_known && !directory.providers.contains(name)) {
        if *prefix == Some(&directory.prefix) {
            shared(name);
        }
    }
    for other in settings.ldap.iter().take(place) {
        if directory.prefix == other.prefix {
            shared(&other.name);
        }
    }
    for other in settings.ldap.iter().take(place) {
        if let Some(provider) = directory.providers.iter().find(|provider| other.providers.contains(provider)) {
            let (provider, other) = (provider.to_string(), other.name.to_string());
            report(IdentityProblem::SharedProvider { provider, other });
        }
    }
    for what in directory_bounds(directory) {
        report(IdentityProblem::BadDirectory(what));
    }
}

fn directory_bounds(directory: &LdapDirectory) -> impl Iterator<Item = &'static str> {
    use portcullis_ldap::Variable;
    let follows = match &directory.membership {
        Membership::Search { filter, .. } => filter.follows_dn(),
        Membership::Attribute(_) => true,
    };
    let is_nested = matches!(directory.nested, Nested::MatchingRule | Nested::Walk);
    let zero = directory.timeout.is_zero() || directory.refresh.is_zero() || directory.negative.is_zero();
    let none = [directory.max_groups, directory.connections, directory.entries, directory.max_waiting].contains(&0);
    let names_nobody = !directory.user_filter.uses(Variable::Id) && !directory.user_filter.uses(Variable::Email);
    let problems = [
        (directory.user_filter.uses(Variable::Dn), "`user_filter` cannot use `{dn}`, which is what it finds"),
        (names_nobody, "`user_filter` does not use `{id}` or `{email}`: it would find the same entry for everybody"),
        (
            directory.id == PrincipalId::Claimed && directory.user_filter.uses(Variable::Id),
            "`user_filter` does not compare `{id}` with one attribute alone: write `id_attribute`, the one that says who it is",
        ),
        (is_nested && !follows, "`nested` needs a `group_filter` with an attribute that equals `{dn}`"),
        (directory.max_stale < directory.refresh, "`max_stale` is shorter than `refresh`"),
        (
            directory.bind.as_ref().is_some_and(|bind| bind.password.is_empty()),
            "the password is empty: that binds as nobody",
        ),
        (directory.bind.as_ref().is_some_and(|bind| bind.dn.is_empty()), "`bind_dn` is empty"),
        (zero || none, "a time or a bound is 0"),
    ];
    problems.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| what)
}

fn check_record(record: &ApiKeyRecord, report: &mut impl FnMut(IdentityProblem)) {
    if !is_key_id(&record.id) {
        report(IdentityProblem::BadKeyId { key: shown(&record.id) });
    }
    let (kind, id) = &record.principal;
    let usable = |text: &String| !text.is_empty() && is_sound(text);
    let what = if *kind == PrincipalKind::Certificate {
        "a certificate proves itself"
    } else if !usable(id) {
        "the principal's id is empty, too long or has a control character"
    } else if !record.groups.iter().chain(&record.roles).all(usable) {
        "a group or role is empty, too long or has a control character"
    } else {
        return;
    };
    report(IdentityProblem::BadKeyPrincipal { key: shown(&record.id), what });
}

/// An id from a file, cut to 64 characters and without what would disturb a terminal.
fn shown(id: &str) -> String {
    id.chars().take(64).flat_map(char::escape_debug).collect()
}
