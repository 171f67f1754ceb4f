//! Who is calling: the identity that a verified credential proves.

use std::sync::Arc;

use jiff::Timestamp;

/// What kind of actor a principal is. It is part of the name: `user:alice` and `service:alice` are two principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program, which cannot answer a step-up challenge.
    Service,
    /// Whoever holds a client certificate with this subject alternative name. It cannot answer a step-up challenge, either.
    Certificate,
}

impl PrincipalKind {
    /// The word before the colon in a policy file: `user`, `service` or `certificate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Certificate => "certificate",
        }
    }
}

/// A caller whose credential was verified. Built by `identity` alone, never from an unverified header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The kind of actor.
    pub kind: PrincipalKind,
    /// The local id: the provider's prefix followed by the claimed id, or by that of its entry where a directory knows it. Compared exactly, but for what
    /// [`Spelling`](crate::Spelling) says.
    pub id: Box<str>,
    /// A name for people, where the credential carries one. Never used to decide.
    pub name: Option<Box<str>>,
    /// An email address for the upstream, where the credential carries one. Never used to decide.
    pub email: Option<Box<str>>,
    /// The groups that the credential claims, each with whether it may join a local `[[group]]` of that name.
    pub groups: Vec<GroupClaim>,
    /// The directory that more of its groups come from, by its name, where one was asked and knows it.
    pub directory: Option<Arc<str>>,
    /// Roles held directly and unconditionally on every route, from a verified credential.
    pub roles: Vec<Box<str>>,
    /// The device the credential is bound to, where it says so.
    pub device: Option<Device>,
    /// Where the credential may be used, if not everywhere. Boxed: hardly any is bound to a place.
    pub scope: Option<Arc<CredentialScope>>,
    /// How, and how strongly, the caller proved who they are.
    pub authentication: Authentication,
}

impl Principal {
    /// A user whose identity somebody vouches for: an operator who asks a question, or a program that authenticated the
    /// caller by means of its own. It holds nothing yet but its name.
    pub fn user(id: &str) -> Self {
        Self::stated(PrincipalKind::User, id)
    }

    /// A service, likewise.
    pub fn service(id: &str) -> Self {
        Self::stated(PrincipalKind::Service, id)
    }

    /// The holder of a client certificate, likewise.
    pub fn certificate(subject_alternative_name: &str) -> Self {
        Self::stated(PrincipalKind::Certificate, subject_alternative_name)
    }

    /// A principal of any kind, likewise.
    pub fn stated(kind: PrincipalKind, id: &str) -> Self {
        Self::proven(kind, id, Authentication::by(AuthenticationMethod::Stated, ""))
    }

    /// A principal of which no more is known than how it was proven.
    pub fn proven(kind: PrincipalKind, id: &str, authentication: Authentication) -> Self {
        Self {
            kind,
            id: id.into(),
            name: None,
            email: None,
            groups: Vec::new(),
            directory: None,
            roles: Vec::new(),
            device: None,
            scope: None,
            authentication,
        }
    }

    /// The same in one group more, local or not.
    #[must_use]
    pub fn in_group(mut self, name: &str) -> Self {
        self.groups.push(GroupClaim { name: name.into(), trusted: true });
        self
    }

    /// The same with one role more, held directly.
    #[must_use]
    pub fn with_role(mut self, name: &str) -> Self {
        self.roles.push(name.into());
        self
    }

    /// The name as a policy file writes it, such as `user:alice`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.id)
    }
}

/// A group that a credential claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupClaim {
    /// The group's name, with the provider's prefix unless `trusted`.
    pub name: Box<str>,
    /// Whether the provider may put callers into the local group of this name (`trust_groups`). An untrusted claim
    /// still matches `group:NAME` in a rule when no local `[[group]]` has that name.
    pub trusted: bool,
}

/// A device as the credential describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device's id.
    pub id: Box<str>,
    /// Whether it meets the organisation's rules; `None` when nobody said.
    pub compliant: Option<bool>,
}

/// Where a credential may be used, such as an API key that is meant for one route. It only ever narrows what its holder may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CredentialScope {
    /// The names of the routes that it is for; none: all of them.
    pub routes: Vec<Box<str>>,
    /// The names of the networks that it is for; none: from anywhere. One that the policy does not have is nowhere.
    pub networks: Vec<Box<str>>,
}

/// By which means the caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationMethod {
    /// A signed token (RFC 7519).
    Jwt,
    /// An opaque token that its provider vouches for (RFC 7662).
    Introspection,
    /// An API key.
    ApiKey,
    /// A client certificate.
    ClientCertificate,
    /// A session of a browser, opened by a login at an OpenID Connect provider.
    Oidc,
    /// The password of a local user, or a session that it opened.
    Password,
    /// Stated by an operator who asks a question offline.
    Stated,
}

impl AuthenticationMethod {
    /// The word that events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Introspection => "introspection",
            Self::ApiKey => "api_key",
            Self::ClientCertificate => "client_certificate",
            Self::Oidc => "oidc",
            Self::Password => "password",
            Self::Stated => "stated",
        }
    }
}

/// How, and how strongly, a caller proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The means.
    pub method: AuthenticationMethod,
    /// The name of the identity provider in `portcullis.toml`.
    pub provider: Box<str>,
    /// The token's issuer (`iss`).
    pub issuer: Option<Box<str>>,
    /// The id of the API key or of the signing key; of a session what events call it.
    pub key_id: Option<Box<str>>,
    /// Authentication context class reference (`acr`, OpenID Connect Core 2).
    pub acr: Option<Box<str>>,
    /// Authentication methods references (`amr`, RFC 8176).
    pub amr: Vec<Box<str>>,
    /// When the caller last authenticated (`auth_time`). Without it no assurance is fresh.
    pub auth_time: Option<Timestamp>,
    /// When the credential was issued (`iat`, RFC 7519 section 4.1.6), where it says so. Where it does not, one that an alert revokes is
    /// refused.
    pub issued: Option<Timestamp>,
    /// When the credential stops being valid.
    pub expires: Option<Timestamp>,
    /// An operator asking offline states that the assurance `mfa` is met.
    pub stated_mfa: bool,
}

impl Authentication {
    /// By this means and at this provider; nothing else is said of it.
    pub fn by(method: AuthenticationMethod, provider: &str) -> Self {
        Self {
            method,
            provider: provider.into(),
            issuer: None,
            key_id: None,
            acr: None,
            amr: Vec::new(),
            auth_time: None,
            issued: None,
            expires: None,
            stated_mfa: false,
        }
    }

    /// Whether the caller authenticated in a later second than this: providers say it in whole seconds.
    pub(crate) fn is_since(&self, time: Timestamp) -> bool {
        self.stated_mfa || self.auth_time.is_some_and(|at| at.as_second() > time.as_second())
    }
}

/// Why a credential was not accepted. The caller hears the code; `detail` is for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialProblem {
    /// What is wrong.
    pub kind: CredentialProblemKind,
    /// What exactly, for the operator: it never holds the credential itself. At most 256 bytes.
    pub detail: String,
    /// The provider that looked at it, where one was found.
    pub provider: Option<Box<str>>,
}

/// The kinds of bad credential, one for each `authn.*` reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialProblemKind {
    /// Bad signature, form or algorithm.
    Invalid,
    /// Past its `exp`.
    Expired,
    /// Before its `nbf`, or issued in the future.
    NotYetValid,
    /// No provider has this issuer.
    WrongIssuer,
    /// The audience is another's.
    WrongAudience,
    /// No key with this id.
    UnknownKey,
    /// Withdrawn.
    Revoked,
    /// A client certificate is demanded and absent.
    CertificateRequired,
    /// The client certificate does not hold.
    CertificateInvalid,
    /// Two credentials in one request.
    Ambiguous,
}
