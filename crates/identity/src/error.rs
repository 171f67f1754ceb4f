//! What is wrong with the settings of an identity provider.

use crate::jwks::KeySetProblem;

/// One problem of one provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("identity provider `{provider}`: {problem}")]
pub struct IdentityError {
    /// The provider's name.
    pub provider: Box<str>,
    /// What is wrong with it.
    pub problem: IdentityProblem,
}

impl IdentityError {
    pub(crate) fn new(provider: &str, problem: IdentityProblem) -> Self {
        Self { provider: Box::from(provider), problem }
    }
}

/// What can be wrong with a provider. `other` and `key` name what it clashes with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityProblem {
    /// Two providers share a name.
    #[error("the name is taken by another provider")]
    DuplicateName,
    /// `issuer` is empty.
    #[error("the issuer is empty")]
    NoIssuer,
    /// `audiences` is empty or holds an empty string.
    #[error("the audiences must be named, none of them empty")]
    NoAudience,
    /// Neither `audiences` nor `clients` says whose tokens count.
    #[error("neither audiences nor clients say whose tokens count: a token for another service is no proof")]
    NoAddressee,
    /// A claim's name is empty.
    #[error("the name of the claim for `{0}` is empty")]
    NoClaimName(&'static str),
    /// `leeway` is over 60 s.
    #[error("the leeway is longer than 60 s")]
    LeewayTooLong,
    /// `principal` is `certificate`.
    #[error("a principal of kind `certificate` is proven by a client certificate alone")]
    CertificateKind,
    /// `prefix` has a control character, or is longer than 256 bytes.
    #[error("the prefix has a control character or is longer than 256 bytes")]
    BadPrefix,
    /// Two providers leave `prefix` empty, or two issuers share one: one could name the other's principals.
    #[error("the prefix `{prefix}` is also that of `{other}`, which could then name this provider's principals")]
    SharedPrefix {
        /// The prefix of both.
        prefix: String,
        /// The other provider.
        other: String,
    },
    /// Two providers accept the same tokens.
    #[error("the issuer and the audience `{audience}` are also those of `{other}`")]
    SharedAudience {
        /// An audience of both.
        audience: String,
        /// The other provider.
        other: String,
    },
    /// The key set cannot be used.
    #[error("{0}")]
    KeySet(KeySetProblem),
    /// `token_cache_entries` is 0.
    #[error("the token cache must hold at least 1 entry")]
    NoCacheEntries,
    /// The header has another meaning.
    #[error("the header `{0}` cannot carry an API key")]
    ReservedHeader(String),
    /// Two providers read the same header.
    #[error("the header `{header}` is also read by `{other}`")]
    SharedHeader {
        /// The header of both.
        header: String,
        /// The other provider.
        other: String,
    },
    /// A key id is not 1 to 64 of `a-z`, `0-9` and `-`.
    #[error("the key id `{key}` is not 1 to 64 of a-z, 0-9 and -")]
    BadKeyId {
        /// The id, cut and escaped.
        key: String,
    },
    /// Two keys, of this or of another provider, share an id.
    #[error("the key id `{key}` is also used by `{other}`")]
    DuplicateKeyId {
        /// The id of both.
        key: String,
        /// The provider that has it already.
        other: String,
    },
    /// A user's name lies under the prefix of another provider, which could then name the same principal.
    #[error("the user `{user}` lies under the prefix `{prefix}` of `{other}`, whose principals have such names")]
    ForeignUser {
        /// The name, cut and escaped.
        user: String,
        /// The prefix.
        prefix: String,
        /// Whose prefix it is.
        other: String,
    },
    /// `listeners` is empty: no certificate would count.
    #[error("it counts on no listener")]
    NoListener,
    /// Two providers count on one listener.
    #[error("the listener `{listener}` is also one of `{other}`")]
    SharedListener {
        /// The listener of both.
        listener: String,
        /// The other provider.
        other: String,
    },
    /// `san` is empty, or has a kind twice.
    #[error("the kinds of name that count must be named, each once")]
    BadSanKinds,
    /// A directory is for a provider that is not there.
    #[error("there is no identity provider `{0}`")]
    UnknownProvider(String),
    /// Two directories know the principals of one provider.
    #[error("the principals of `{provider}` are also looked up in `{other}`")]
    SharedProvider {
        /// The provider of both.
        provider: String,
        /// The other directory.
        other: String,
    },
    /// A directory is for no provider, or has no server.
    #[error("it needs a provider to serve and a server to ask")]
    NoDirectory,
    /// A value of a directory is out of bounds, or two do not fit together.
    #[error("{0}")]
    BadDirectory(&'static str),
    /// A user's name is none that can be typed.
    #[error("the user's name `{user}` is not 1 to 128 characters without a colon, a comma or a control character")]
    BadUserName {
        /// The name, cut and escaped.
        user: String,
    },
    /// Two users, of this or of another provider, share a name.
    #[error("the user `{user}` is also one of `{other}`")]
    DuplicateUser {
        /// The name of both.
        user: String,
        /// The provider that has it already.
        other: String,
    },
    /// A user's group is empty, longer than 256 bytes or has a control character.
    #[error("a group of the user `{user}` is empty, too long or has a control character")]
    BadUserGroup {
        /// Which user.
        user: String,
    },
    /// No password is checked at once.
    #[error("at least 1 password must be checked at once")]
    NoPasswordThreads,
    /// `client_id` is empty.
    #[error("the client has no id")]
    NoClient,
    /// Browsers cannot log in, and here is where they would.
    #[error("nobody can log in: there is no `[identity.login]`")]
    NoLogin,
    /// A key's principal, group or role is empty, longer than 256 bytes or has a control character; or the principal
    /// is of kind `certificate`.
    #[error("the principal, a group or a role of key `{key}` cannot be used: {what}")]
    BadKeyPrincipal {
        /// Which key.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
}
