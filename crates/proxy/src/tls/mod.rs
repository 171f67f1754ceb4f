//! TLS: what it is made of.
//!
//! There is one provider of cryptography, aws-lc-rs, and it is named wherever rustls is set up: nothing depends on which one
//! the process installed first.

pub mod material;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The provider of cryptography for everything that speaks TLS.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
