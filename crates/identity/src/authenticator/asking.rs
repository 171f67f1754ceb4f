//! Who makes a request: one credential of it, verified, with the groups of a directory, and unless it is revoked.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use portcullis_policy::{CredentialProblemKind, Dependency, Principal};

use super::Authenticator;
use super::tokens::Shown;
use crate::authentication::{Authentication, Awaited, Identity, Typed};
use crate::client_certificate::{CertificateIdentity, ChainProblem, ClientCertificate};
use crate::credentials::Presented;
use crate::directory::Grouped;
use crate::jwt::Unverified;
use crate::password::{Asks, Judged, PasswordAwaited, Unchecked};
use crate::presenting::Presenting;
use crate::refusal::{Refusal, Rejection};
use crate::remote::Patience;
use crate::settings::BesideCredential;

impl Authenticator {
    /// Who makes the request with these headers, at this time. It does not block; a token that is seen again while it holds costs one
    /// SHA-256 and one look into the cache for each token provider.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Authentication {
        self.authenticate_with(headers, now, &Presenting::nothing(Patience::Request))
    }

    /// The same for somebody who shows more, or has more or less patience.
    pub fn authenticate_with(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Authentication {
        let verified = match self.sources.extract(headers) {
            Ok(None) => return Identity::Anonymous.into(),
            Ok(Some(Presented::Token { scheme, token })) => {
                self.verify_token(&Shown { scheme, token: token.expose(), headers }, now, presenting)
            }
            Ok(Some(Presented::Basic { name, password })) => return Authentication::Typed(Typed { name, password }),
            Ok(Some(Presented::ApiKey { provider, key })) => match self.keys.get(provider) {
                Some(keys) => keys.verify(key.expose(), now).map_err(Unverified::from),
                None => Err(Rejection::new(Refusal::invalid("no provider reads this header").by(None), None).into()),
            },
            Ok(Some(Presented::Session(id))) => self
                .session(id.expose(), now, presenting.patience)
                .map_err(|refusal| Rejection::new(refusal, None).into()),
            Err(refusal) => Err(Rejection::new(refusal.by(None), None).into()),
        };
        match verified {
            Ok(principal) => self.grouped(principal, now),
            Err(unverified) => unverified.into(),
        }
    }

    /// Whose name and password these are. A request from `address` may have to wait for that; `waited` is what it has waited for.
    pub fn check_password(
        &self,
        typed: &Typed,
        address: IpAddr,
        now: Timestamp,
        waited: Option<&PasswordAwaited>,
    ) -> Authentication {
        self.judge(typed, waited.map_or(Asks::Request(address), |waited| Asks::Waited(waited, address)), now)
    }

    /// The same of a stream that goes on meanwhile: its caller was verified when it began, so that somebody else's failures do not count.
    pub fn check_password_again(
        &self,
        typed: &Typed,
        now: Timestamp,
        waited: Option<&PasswordAwaited>,
    ) -> Authentication {
        self.judge(typed, Asks::Stream(waited), now)
    }

    fn judge(&self, typed: &Typed, asks: Asks<'_>, now: Timestamp) -> Authentication {
        let Some(passwords) = &self.passwords else {
            let refusal = Refusal::invalid("no provider has users with passwords any more");
            return Identity::Rejected(Box::new(Rejection::new(refusal.by(None), Some(&typed.name)))).into();
        };
        match passwords.check(&typed.name, typed.password.expose(), asks, now) {
            Judged::Verified(principal) => self.grouped(principal, now),
            Judged::Rejected(rejection) => Identity::Rejected(Box::new(rejection)).into(),
            Judged::Unchecked(why) => Identity::Unchecked(why).into(),
            Judged::Awaited(password) => {
                let otherwise = Identity::Unchecked(Unchecked::Full);
                Authentication::Awaited { awaited: Awaited::Password(password), otherwise }
            }
        }
    }

    /// Whether what a principal was verified by is not revoked.
    pub fn is_good(&self, principal: &Principal, now: Timestamp) -> bool {
        self.revocations.of_principal(principal, now).is_ok()
    }

    /// The principal with the groups of the directory that knows those of its provider, if one does; unless what it was verified by, in
    /// whatever way that was, counts no longer.
    fn grouped(&self, principal: Arc<Principal>, now: Timestamp) -> Authentication {
        if let Some(rejected) = self.revoked(&principal, now) {
            return rejected.into();
        }
        let provider = &*principal.authentication.provider;
        let found = self.directories.iter().find_map(|directory| Some((directory, directory.prefix_of(provider)?)));
        match found {
            None => Identity::Verified(self.spelling.principal(principal)).into(),
            Some((directory, prefix)) => self.judged(directory.group(&principal, prefix, now), &principal, now),
        }
    }

    fn revoked(&self, principal: &Principal, now: Timestamp) -> Option<Identity> {
        let refusal = self.revocations.of_principal(principal, now).err()?;
        let problem = refusal.by(Some(&principal.authentication.provider));
        Some(Identity::Rejected(Box::new(Rejection::new(problem, Some(&principal.id)))))
    }

    /// What follows from what a directory says of whom a credential calls so.
    fn judged(&self, grouped: Grouped, claimed: &Principal, now: Timestamp) -> Authentication {
        match grouped {
            // The directory may know them by another name than the credential does, and that name may be revoked.
            Grouped::Known(principal) if principal.id != claimed.id => {
                self.revoked(&principal, now).unwrap_or(Identity::Verified(principal)).into()
            }
            Grouped::Known(principal) => Identity::Verified(principal).into(),
            Grouped::Disabled(provider, id, detail) => {
                let refusal = Refusal::new(CredentialProblemKind::Revoked, detail);
                Identity::Rejected(Box::new(Rejection::new(refusal.by(Some(&provider)), Some(&id)))).into()
            }
            Grouped::Unavailable(detail) => Identity::Unavailable(Dependency::Directory, detail).into(),
            Grouped::Awaited(groups, otherwise) => {
                let otherwise = self.judged(*otherwise, claimed, now).settled();
                Authentication::Awaited { awaited: Awaited::Groups(groups), otherwise }
            }
        }
    }

    /// The same for what a certificate says.
    fn grouped_certificate(&self, certificate: &CertificateIdentity, now: Timestamp) -> Authentication {
        match certificate.at(now) {
            Identity::Verified(principal) => self.grouped(principal, now),
            other => other.into(),
        }
    }

    /// What a client certificate says on this listener, for all requests of its connection; `None` where certificates are
    /// nobody's credential there. `chain` is whether it is still vouched for.
    pub fn certificate_identity(
        &self,
        listener: &str,
        certificate: &ClientCertificate,
        chain: Result<(), ChainProblem>,
    ) -> Option<CertificateIdentity> {
        let reader = self.certificates.iter().find(|reader| reader.reads(listener))?;
        Some(reader.identity(certificate, chain))
    }

    /// Who makes the request with these headers on a connection with this certificate. `certificate_only`: the route takes
    /// nothing else, so that a header which would come before the certificate does not count.
    pub fn authenticate_connection(
        &self,
        headers: &HeaderMap,
        certificate: &CertificateIdentity,
        certificate_only: bool,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Authentication {
        let Some(carrier) = self.sources.carrier(headers) else { return self.grouped_certificate(certificate, now) };
        match certificate.beside_credential() {
            BesideCredential::Certificate => self.grouped_certificate(certificate, now),
            BesideCredential::Credential if certificate_only => self.grouped_certificate(certificate, now),
            BesideCredential::Credential => self.authenticate_with(headers, now, presenting),
            BesideCredential::Refuse => {
                let detail = format!("a client certificate, and a credential in `{carrier}`");
                let refusal = Refusal::new(CredentialProblemKind::Ambiguous, detail);
                Identity::Rejected(Box::new(Rejection::new(refusal.by(None), None))).into()
            }
        }
    }
}
