//! The shape of the files: every key that may be written, section by section, as plain values with their places.
//!
//! Nothing here looks beyond its own entry. What entries mean together is checked by `compile`.

mod access;
pub(crate) mod admin;
pub(crate) mod alert;
mod audit;
mod case;
mod client;
mod control;
mod directory;
mod feed;
mod gateway;
mod geo;
mod governance;
mod identity;
mod index;
mod introspection;
mod key_file;
mod key_source;
pub(crate) mod limits;
mod listener;
mod login;
mod mfa;
mod operation;
mod policy;
pub(crate) mod receiver;
mod risk;
mod route;
mod sample;
pub(crate) mod sink_options;
pub(crate) mod spool;
mod store;
mod trace;
mod traffic;
mod upstream;
mod user_file;

pub(crate) use access::{Access, MOST as ACCESS_MOST};
pub(crate) use alert::{Alert, Silence};
pub(crate) use audit::{
    Audit, DENIALS as AUDIT_DENIALS, KEPT as AUDIT_KEPT, PEERS as AUDIT_PEERS, When as AuditWhen, Zone as AuditZone,
};
pub(crate) use case::read_case_file;
pub(crate) use case::{Address, CaseName, Host, Need, OrUnknown, Reason, Request, StatedPrincipal};
pub(crate) use client::{AT_INTROSPECTION, AT_LOGIN, CLIENT_ALGORITHMS, CLIENT_PROOFS, ClientAudiences};
pub(crate) use control::Control;
pub(crate) use directory::{Attribute, Directory, FilterText, GROUP_FILTER, ID_CASE, NESTED, ServerUrl};
pub(crate) use feed::{
    ColumnName, Delimiter, FEED_FORMATS, FEED_SIZES, ListHash, MinisignKey, ON_STALE, PointerText, PresetName,
    REDIRECTS, Share, Suffix,
};
pub(crate) use gateway::{GatewayFile, read_gateway};
pub(crate) use governance::{Backup, DENIED_CALLERS, Governance, STEP_CALLERS, STEP_REQUESTS};
pub(crate) use identity::{
    ASSERTION_SIZES, ApiKeyProvider, BESIDE_CREDENTIAL, CertificateProvider, HEADER_SIZES, HeaderRole, Identity,
    JwtProvider, PROOF_ALGORITHMS, PasswordProvider, REMEMBERED, REQUIRE, SAN, TOKEN_TYPES,
};
pub(crate) use index::{Index, SIZES as INDEX_SIZES};
pub(crate) use key_file::{Key, KeyId, KeyPrincipal, Sha256, parse_key_file, parse_principal, read_key_file};
pub(crate) use key_source::KeyPlace;
pub(crate) use listener::{CLIENT_AUTH, ClientAuth, Listener, MIN_VERSION, Pair, ProxyMode, Tls};
pub(crate) use login::{Oidc, PagePath, RESPONSE_MODES, SCOPES};
pub(crate) use mfa::{FIRST_FACTOR, ISSUER as MFA_ISSUER, Mfa, Passkeys};
pub(crate) use operation::{AccessLog, ON_FULL, Sink, SinkKind, SinkOutput};
pub(crate) use policy::{
    APPROVALS, Assignment, Deny, Exclusive, Network, Permission, PolicyFile, Resource, Role, Scope, When, read_policy,
};
pub(crate) use receiver::Link;
pub(crate) use receiver::notifier::Notifier;
pub(crate) use risk::{CalibrationKind, MAX_NATS, MAX_REPUTATION_NATS, POSTURE_HEADER, REPUTATION_NATS};
pub(crate) use route::{Cors, HeaderFields, Redirect, Respond, RouteTimeouts, Rules, Split};
pub(crate) use sample::{EXCESS as SPIKE_EXCESS, MOST as SAMPLE_MOST, RECENT as SAMPLE_RECENT};
pub(crate) use store::Store;
pub(crate) use traffic::{ClientAddress, Route};
pub(crate) use upstream::{HTTP, Health, Upstream, UpstreamTls};
pub(crate) use user_file::{HashText, User, UserName, parse_user_file, read_user_file};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::kinds::Integer;
use crate::section::{Field, Kind, Section};

/// The version of the files' shape that this program reads.
const VERSION: u64 = 1;

/// Refuses test cases: an `include` that matches their file must neither take them for policy nor pass over them.
fn refuse_cases(section: &Section<'_>) {
    for key in ["case", "defaults"] {
        section.misplaced(
            key,
            "test cases stand in a file of their own that no `include` matches; `portcullis test` reads it",
        );
    }
}

/// Checks `version`: a file of another version means something else by the same keys.
fn read_version(section: &Section<'_>, required: bool) {
    let version =
        if required { section.required("version", FileVersion) } else { section.optional("version", FileVersion) };
    let Some(version) = version.filter(|version| version.value != VERSION) else { return };
    let message = format!("version {} is not known", version.value);
    let help = format!("this program reads version {VERSION}");
    section.reader().report(Diagnostic::error(codes::VERSION, version.span, message).with_help(help));
}

/// The version of a file's shape. Whether it is known is told apart from whether it is a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileVersion;

impl Kind for FileVersion {
    type Value = u64;

    fn expected(&self) -> std::borrow::Cow<'static, str> {
        Integer(0..=u64::MAX).expected()
    }

    fn read(&self, field: &Field<'_>) -> Option<u64> {
        Integer(0..=u64::MAX).read(field)
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({ "type": "integer", "enum": [VERSION] })
    }
}
