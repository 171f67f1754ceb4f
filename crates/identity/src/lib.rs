//! Turns the credentials on a request into a [`portcullis_policy::Principal`], or says why not.
//!
//! It deliberately reads no file and no clock, and decides nothing: key sets and key records come as plain values in
//! [`settings`], the time is passed in, and what a principal may do is the policy's affair. Key sets that a provider publishes are
//! fetched beside the requests, by [`remote`], and groups that a directory knows are looked up there, by [`directory`].
//!
//! Signatures are verified with `aws-lc-rs` directly. The rules around them (one algorithm for each key, strict
//! encodings, no repeated member names, no key taken from a header) are stricter than a general token library offers,
//! and a key that is parsed once verifies faster.

pub mod api_key;
mod asking;
pub mod assertion;
mod authentication;
mod authenticator;
mod binding;
mod claims;
mod client;
mod client_certificate;
mod client_key;
mod credentials;
pub mod directory;
mod error;
pub mod introspection;
mod jwks;
mod jws;
mod jwt;
pub mod mfa;
mod namespace;
pub mod oidc;
pub mod password;
pub mod posture;
mod presenting;
mod proof;
mod refusal;
pub mod remote;
pub mod revocation;
mod roca;
mod secret;
pub mod session;
pub mod settings;
mod settings_check;
mod strict_json;
mod token_cache;

#[cfg(test)]
mod signer;
#[cfg(test)]
mod wycheproof;

pub use authentication::{Authentication, Awaited, Identity, Typed};
pub use authenticator::Authenticator;
pub use client_certificate::{CertificateIdentity, ChainProblem, ClientCertificate};
pub use error::{IdentityError, IdentityProblem};
pub use jwks::KeySetProblem;
pub use presenting::{Presenting, ProofOffer, Proven, SeenToken};
pub use proof::ProofTarget;
pub use refusal::{Challenge, Rejection};
pub use secret::SecretText;
