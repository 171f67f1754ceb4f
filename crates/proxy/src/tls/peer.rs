//! The client's certificate while its connection lives: what it says to the configuration in force.
//!
//! It is read once, and judged anew only when the configuration was replaced: by that configuration's authorities and
//! revocation lists, so that who was revoked by a reload is out on a connection that was open before. A request costs a
//! comparison of two pointers and of the time.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use portcullis_identity::{CertificateIdentity, ChainProblem, ClientCertificate};
use portcullis_policy::CredentialProblemKind as Kind;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::settings::InboundSettings;
use crate::snapshot::Snapshot;

/// What a client showed in its handshake.
pub struct PeerCertificate {
    /// By whose authorities the handshake has verified it.
    inbound: Arc<InboundSettings>,
    /// The leaf, and what came with it.
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    read: ClientCertificate,
    judged: RefCell<Option<Judged>>,
}

/// What it says, and to which configuration.
struct Judged {
    by: Weak<Snapshot>,
    /// Its authorities vouch for it.
    is_vouched_for: bool,
    identity: Option<Rc<CertificateIdentity>>,
}

impl PeerCertificate {
    /// The chain that a handshake on this listener has verified; `None` for an empty one.
    pub(crate) fn new(inbound: &Arc<InboundSettings>, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        Some(Self {
            inbound: Arc::clone(inbound),
            read: ClientCertificate::read(leaf),
            leaf: leaf.clone().into_owned(),
            intermediates: intermediates.iter().map(|each| each.clone().into_owned()).collect(),
            judged: RefCell::default(),
        })
    }

    /// What was read of it.
    pub fn read(&self) -> &ClientCertificate {
        &self.read
    }

    /// Whom it makes of its holder under this configuration; `None` where certificates are nobody's credential.
    pub fn identity(&self, snapshot: &Arc<Snapshot>) -> Option<Rc<CertificateIdentity>> {
        self.judged(snapshot, |judged| judged.identity.clone())
    }

    /// What a token may be bound to (RFC 8705): itself, as long as this configuration's authorities vouch for it.
    pub fn proof(&self, snapshot: &Arc<Snapshot>) -> Option<&ClientCertificate> {
        self.judged(snapshot, |judged| judged.is_vouched_for).then_some(&self.read)
    }

    fn judged<R>(&self, snapshot: &Arc<Snapshot>, tell: impl Fn(&Judged) -> R) -> R {
        let known = self.judged.borrow().as_ref().filter(|known| is(&known.by, snapshot)).map(&tell);
        if let Some(told) = known {
            return told;
        }
        let judged = self.judge(snapshot);
        let told = tell(&judged);
        self.judged.replace(Some(judged));
        told
    }

    /// The verification of the handshake once more, by the authorities of now. A listener that is there no longer, which
    /// needs a restart, vouches for nobody; one that asks no client for a certificate any more takes none.
    fn judge(&self, snapshot: &Arc<Snapshot>) -> Judged {
        // A weak one keeps the address from being used again, and not what was there.
        let by = Arc::downgrade(snapshot);
        let inbound = snapshot.settings.inbound.iter().find(|inbound| inbound.name == self.inbound.name);
        let verifier = inbound.and_then(|inbound| Some((inbound, inbound.tls.as_ref()?.verifier.as_ref()?)));
        let Some((inbound, verifier)) = verifier else { return Judged { by, is_vouched_for: false, identity: None } };
        // A session that was resumed was verified by the same settings: those of a reload take no older tickets.
        let chain = if Arc::ptr_eq(inbound, &self.inbound) {
            Ok(())
        } else {
            let verified = verifier.verify_client_cert(&self.leaf, &self.intermediates, UnixTime::now());
            verified.map(|_| ()).map_err(|error| problem(&error))
        };
        let is_vouched_for = chain.is_ok();
        let identity = snapshot.authenticator.certificate_identity(&inbound.name, &self.read, chain).map(Rc::new);
        Judged { by, is_vouched_for, identity }
    }
}

fn is(known: &Weak<Snapshot>, snapshot: &Arc<Snapshot>) -> bool {
    std::ptr::eq(known.as_ptr(), Arc::as_ptr(snapshot))
}

fn problem(error: &rustls::Error) -> ChainProblem {
    let kind = match error {
        rustls::Error::InvalidCertificate(CertificateError::Revoked) => Kind::Revoked,
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Kind::Expired
        }
        _ => Kind::CertificateInvalid,
    };
    ChainProblem { kind, detail: format!("the client certificate is not vouched for any more: {error}") }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PeerCertificate").field("read", &self.read).finish_non_exhaustive()
    }
}
