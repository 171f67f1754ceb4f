//! Who is listed in files: API keys, and users with passwords; and what they carry that nobody else knows.

use std::collections::HashSet;

use portcullis_identity::settings::{ApiKeyProvider, ApiKeyRecord, PasswordProvider, UserRecord};

use crate::diagnostics::{At, Diagnostic};
use crate::file::{self, Key, User, read_key_file, read_user_file};
use crate::section::{Reader, shown};
use crate::{codes, suggest};

use super::{Carried, Places, ProviderPlaces};

pub(super) fn compile_api_key(
    reader: &Reader<'_>,
    provider: &file::ApiKeyProvider,
    places: &mut Places,
) -> Option<ApiKeyProvider> {
    let keys = provider.file.as_ref().and_then(|file| {
        places.files.push(file.value.path.clone());
        read_key_file(reader, &file.value.path, &file.value.written, Some(file.span))
    });
    let (header, file, keys) = (provider.header.as_ref()?, provider.file.as_ref()?, keys?);
    let place = ProviderPlaces {
        name: provider.name.span,
        file: file.span,
        credential: header.span,
        prefix: provider.name.span,
        keys: keys.iter().map(|key| (key.id.value.clone(), key.id.span)).collect(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    places.key_roles.extend(keys.iter().flat_map(|key| key.roles.iter().cloned()));
    places.key_scopes.0.extend(keys.iter().flat_map(|key| key.routes.iter().cloned()));
    places.key_scopes.1.extend(keys.iter().flat_map(|key| key.networks.iter().cloned()));
    places.carried.extend(keys.iter().filter(|key| !key.revoked).map(carried));
    Some(ApiKeyProvider {
        name: provider.name.value.as_str().into(),
        header: header.value.clone(),
        keys: keys.into_iter().map(record).collect(),
    })
}

pub(super) fn compile_password(
    reader: &Reader<'_>,
    provider: &file::PasswordProvider,
    places: &mut Places,
) -> Option<PasswordProvider> {
    let users = provider.file.as_ref().and_then(|file| {
        places.files.push(file.value.path.clone());
        read_user_file(reader, &file.value.path, &file.value.written, Some(file.span))
    });
    let (file, users) = (provider.file.as_ref()?, users?);
    let place = ProviderPlaces {
        name: provider.name.span,
        file: file.span,
        credential: file.span,
        prefix: provider.prefix.span,
        keys: users.iter().map(|user| (user.name.value.clone(), user.name.span)).collect(),
    };
    places.providers.insert(provider.name.value.clone(), place);
    let carried = |user: &User| Carried {
        principal: format!("user:{}{}", provider.prefix.value, user.name.value),
        groups: user.groups.clone(),
        roles: Vec::new(),
    };
    places.carried.extend(users.iter().filter(|user| !user.disabled).map(carried));
    let record = |user: User| UserRecord {
        name: user.name.value,
        hash: user.hash,
        groups: user.groups,
        disabled: user.disabled,
        expires: user.expires,
    };
    Some(PasswordProvider {
        name: provider.name.value.as_str().into(),
        prefix: provider.prefix.value.clone(),
        users: users.into_iter().map(record).collect(),
        remember: provider.remember,
    })
}

fn carried(key: &Key) -> Carried {
    let (kind, id) = &key.principal;
    let principal = format!("{}:{id}", kind.as_str());
    Carried { principal, groups: key.groups.clone(), roles: key.roles.clone() }
}

fn record(key: Key) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id.value,
        sha256: key.sha256,
        principal: key.principal,
        groups: key.groups,
        roles: key.roles.into_iter().map(|role| role.value).collect(),
        created: key.created,
        expires: key.expires,
        routes: key.routes.into_iter().map(|route| route.value).collect(),
        networks: key.networks.into_iter().map(|network| network.value).collect(),
        previous: key.previous,
        revoked: key.revoked,
    }
}

/// Warns of roles of keys that the policy does not have: they grant nothing. It is no error, for keys and policy are
/// changed by different people, and a policy that is put back must load.
pub(crate) fn report_unknown_roles(reader: &Reader<'_>, key_roles: &[At<String>], roles: &[file::Role]) {
    let known: HashSet<&str> = roles.iter().map(|role| role.name.value.as_str()).collect();
    for role in key_roles.iter().filter(|role| reader.is_complete() && !known.contains(role.value.as_str())) {
        let message = format!("the policy has no role `{}`", shown(&role.value));
        let mut diagnostic = Diagnostic::warning(codes::UNKNOWN_ROLE, role.span, message);
        let near = suggest::nearest(&role.value, known.iter().copied());
        diagnostic.help = Some(near.map_or("remove it".into(), |name| format!("did you mean `{name}`?")));
        reader.report(diagnostic);
    }
}

/// Warns of routes and networks of keys that are not there: such a key counts nowhere, or from nowhere. It is no error for the same reason.
pub(crate) fn report_unknown_scopes<'n>(
    reader: &Reader<'_>,
    (routes, networks): &(Vec<At<String>>, Vec<At<String>>),
    known_routes: impl IntoIterator<Item = &'n str>,
    known_networks: impl IntoIterator<Item = &'n str>,
) {
    report_absent(reader, "the configuration has no route", routes, &known_routes.into_iter().collect());
    report_absent(reader, "the policy has no network", networks, &known_networks.into_iter().collect());
}

fn report_absent(reader: &Reader<'_>, message: &str, named: &[At<String>], known: &HashSet<&str>) {
    for name in named.iter().filter(|name| reader.is_complete() && !known.contains(name.value.as_str())) {
        let message = format!("{message} `{}`: the key does not count there", shown(&name.value));
        let mut diagnostic = Diagnostic::warning(codes::UNKNOWN_ROLE, name.span, message);
        let near = suggest::nearest(&name.value, known.iter().copied());
        diagnostic.help = Some(near.map_or("remove it".into(), |name| format!("did you mean `{name}`?")));
        reader.report(diagnostic);
    }
}
