//! `identify`: who it is. A bad credential does not refuse here; it is a fact like any other, and `decide` says what
//! follows from it.
//!
//! Nearly always that is known at once. Where a provider's keys are just being fetched, and may be what is needed, the request
//! waits for that, once; and once for what a directory says of the caller.

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use jiff::Timestamp;
use portcullis_identity::password::{PasswordAwaited, Unchecked};
use portcullis_identity::remote::Patience;
use portcullis_identity::{Authentication, Awaited, CertificateIdentity, Identity, Presenting, ProofTarget};
use portcullis_policy::{AuthenticationRule, Reason};
use portcullis_risk::Heard;
use tower_layer::Layer;
use tower_service::Service;

use crate::layers::assess::Assess;
use crate::layers::authorize::ask_again;
use crate::layers::client_addr::{admit, charged_address};
use crate::layers::establish::{Establishes as _, Refused};
use crate::leading::Led;
use crate::refusal::{Overload, Refusal};
use crate::throttle::{Throttle, ThrottleKind};
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

/// Makes [`Identify`].
pub struct IdentifyLayer {
    worker: Rc<Worker>,
}

impl IdentifyLayer {
    /// A layer that, where it has to wait, goes on with what this worker has in force then.
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker) }
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify { worker: Rc::clone(&self.worker), inner }
    }
}

/// Establishes the identity.
#[derive(Clone)]
pub struct Identify<S> {
    worker: Rc<Worker>,
    inner: S,
}

impl<S> Service<Box<Transit>> for Identify<S>
where
    S: Service<Box<Transit>, Error = Box<Refused>, Future: 'static> + Clone + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut transit: Box<Transit>) -> Self::Future {
        let (mut awaited, mut otherwise) = match authenticate(&transit, Patience::Request) {
            Authentication::Known(Identity::Unchecked(why)) => {
                return Either::Right(Box::pin(ready(Err(unchecked(why, transit)))));
            }
            Authentication::Known(identity) => {
                establish(&self.worker, &mut transit.facts, identity);
                return Either::Left(self.inner.call(transit));
            }
            Authentication::Awaited { awaited, otherwise } => (awaited, otherwise),
            // INVARIANT: `authenticate` has it checked.
            Authentication::Typed(_) => {
                return Either::Right(Box::pin(ready(Err(unchecked(Unchecked::Full, transit)))));
            }
        };
        // The one that is ready is taken, and a clone of it stays.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let worker = Rc::clone(&self.worker);
        Either::Right(Box::pin(async move {
            loop {
                let waiting = Waiting { worker: &worker, transit: &mut transit, otherwise: Some(otherwise) };
                // Whether it ended or took too long: what is there then counts.
                let _ = tokio::time::timeout(awaited.patience(), awaited.ended()).await;
                waiting.over();
                // Time has passed: a ban or another policy may have come, and what holds is decided for now.
                if let Err(refusal) = begin_anew(&worker, &mut transit) {
                    return Err(Box::new(Refused { refusal, transit }));
                }
                let next = match (authenticate_again(&transit, Some(&awaited), Asked::ByRequest), &awaited) {
                    // Whoever had to wait for that was nobody until now, and the directory was not asked.
                    (
                        Authentication::Awaited { awaited: groups @ Awaited::Groups(_), otherwise },
                        Awaited::Keys(_) | Awaited::Token(_) | Awaited::Password(_),
                    ) => (groups, otherwise),
                    (authentication, _) => match authentication.settled() {
                        Identity::Unchecked(why) => return Err(unchecked(why, transit)),
                        identity => {
                            establish(&worker, &mut transit.facts, identity);
                            break;
                        }
                    },
                };
                (awaited, otherwise) = next;
            }
            drop(awaited);
            inner.call(transit).await
        }))
    }
}

/// A request that waits to be known, and is not answered if its caller goes away meanwhile. Then it leaves the event that it would have left had
/// nothing come: whoever tries what nobody can judge yet, and hangs up, is seen.
struct Waiting<'w> {
    worker: &'w Rc<Worker>,
    transit: &'w mut Box<Transit>,
    /// Who it is as long as nothing else is known. `None`: it waits no more.
    otherwise: Option<Identity>,
}

impl Waiting<'_> {
    fn over(mut self) {
        self.otherwise = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // A panic is answered, and has its event.
        if std::thread::panicking() {
            return;
        }
        // A password that is being checked is counted where it is checked.
        let Some(identity) = self.otherwise.take().filter(|identity| !matches!(identity, Identity::Unchecked(_)))
        else {
            return;
        };
        self.transit.facts.identity = Some(identity);
        let decided =
            Assess::new(self.worker).establish(self.transit).and_then(|()| ask_again(self.worker, self.transit));
        // What would have been let in was not refused.
        if let Err(refusal) = decided {
            self.worker.report_unanswered(&refusal, self.transit);
        }
    }
}

/// Establishes the identity of what is under way already, which goes on meanwhile. `false`: it cannot be known before a fetch has ended
/// that is under way; asked the next time, what that brought is the answer.
pub(crate) fn identify_again(worker: &Worker, transit: &mut Transit) -> bool {
    let asked = transit.facts.asked_for.take();
    let identity = match authenticate_again(transit, asked.as_deref(), Asked::ByStream) {
        // Too much else is checked: it is looked at the next time.
        Authentication::Known(Identity::Unchecked(_)) | Authentication::Typed(_) => return false,
        Authentication::Known(identity) => identity,
        // What a directory said last goes on being true while it is asked again.
        Authentication::Awaited { awaited: Awaited::Groups(_), otherwise: known @ Identity::Verified(_) } => known,
        Authentication::Awaited { awaited: Awaited::Groups(_), otherwise }
            if matches!(asked.as_deref(), Some(Awaited::Groups(_))) =>
        {
            otherwise
        }
        // It was asked about the token before, and has not said that it is good.
        Authentication::Awaited { awaited: Awaited::Token(_), otherwise }
            if matches!(asked.as_deref(), Some(Awaited::Token(_))) =>
        {
            otherwise
        }
        Authentication::Awaited { awaited, .. } => {
            transit.facts.asked_for = Some(Box::new(awaited));
            return false;
        }
    };
    establish(worker, &mut transit.facts, identity);
    true
}

/// Notes who it is, and that a credential which was looked at in spite of a ban does not hold. Of one that holds more is known once it is decided.
fn establish(worker: &Worker, facts: &mut Facts, identity: Identity) {
    match &identity {
        Identity::Verified(_) => {}
        Identity::Rejected(rejection) => {
            tell_what_was_heard(worker, facts, Heard::refused(Reason::Authn(rejection.problem.kind).code()));
        }
        Identity::Anonymous | Identity::Unavailable(..) | Identity::Unchecked(_) => {
            tell_what_was_heard(worker, facts, Heard::Undecided);
        }
    }
    facts.identity = Some(identity);
}

/// Says once what became of a credential that was looked at in spite of a ban, where one was.
pub(crate) fn tell_what_was_heard(worker: &Worker, facts: &Facts, heard: Heard) {
    if !facts.heard.replace(false) {
        return;
    }
    let address = charged_address(facts);
    if worker.shared.risk.heard(address, heard, facts.steady_now) {
        tracing::info!(%address, "the ban is of anonymous traffic from now on: a verified principal is let in from there, too");
    }
}

/// With how much patience somebody asks who has waited for that, or goes on meanwhile.
fn waited(awaited: Option<&Awaited>) -> Patience<'_> {
    match awaited {
        Some(Awaited::Keys(keys)) => Patience::Waited(keys),
        Some(Awaited::Groups(_) | Awaited::Token(_) | Awaited::Password(_)) | None => Patience::Stream,
    }
}

/// A password that was not looked at: too many failures, or too much to do. It is never said to be wrong.
fn unchecked(why: Unchecked, mut transit: Box<Transit>) -> Box<Refused> {
    let refusal = match &why {
        Unchecked::Full => Refusal::Overloaded(Overload::Passwords),
        Unchecked::Locked { retry_after_s, .. } => Refusal::Throttled(Box::new(Throttle {
            kind: ThrottleKind::Rate,
            limit: "the attempts at passwords for this name or from this network".to_owned(),
            key: transit.facts.address_key().to_string(),
            retry_after_s: *retry_after_s,
        })),
    };
    transit.facts.identity = Some(Identity::Unchecked(why));
    Box::new(Refused { refusal, transit })
}

/// What was established so far, with the configuration that is in force now and at this time.
///
/// # Errors
/// The client may not come any more.
pub(crate) fn begin_anew(worker: &Rc<Worker>, transit: &mut Transit) -> Result<(), Refusal> {
    let facts = &mut transit.facts;
    facts.loaded = worker.loaded();
    facts.by_staged = false;
    facts.now = Timestamp::now();
    facts.steady_now = worker.shared.clock.now();
    // What has become a page meanwhile, or is none any more, leads nowhere: whoever would answer it stands further out.
    let led = facts.target.as_ref().map(|target| Led::by(&facts.loaded.snapshot, target));
    let led = led.filter(|led| (led.is_page, led.asks_who) == (facts.is_page, facts.asks_who));
    facts.route = led.and_then(|led| led.route);
    admit(worker, facts, &transit.head.headers)
}

/// Who asks for a password to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    ByRequest,
    ByStream,
}

/// Asks for the first time.
fn authenticate(transit: &Transit, patience: Patience<'_>) -> Authentication {
    let found = look(transit, patience);
    check_password(transit, found, None, Asked::ByRequest)
}

/// Asks again, after that was waited for.
fn authenticate_again(transit: &Transit, awaited: Option<&Awaited>, asked: Asked) -> Authentication {
    let password = match awaited {
        Some(Awaited::Password(password)) => Some(password),
        Some(Awaited::Keys(_) | Awaited::Token(_) | Awaited::Groups(_)) | None => None,
    };
    let found = look(transit, waited(awaited));
    check_password(transit, found, password, asked)
}

/// Has a password checked, where one was given.
fn check_password(
    transit: &Transit,
    found: Authentication,
    waited: Option<&PasswordAwaited>,
    asked: Asked,
) -> Authentication {
    let Authentication::Typed(typed) = &found else { return found };
    let facts = &transit.facts;
    let authenticator = &facts.loaded.snapshot.authenticator;
    match asked {
        Asked::ByRequest => {
            // Where the client is unknown, its failures are the peer's.
            authenticator.check_password(typed, charged_address(facts), facts.now, waited)
        }
        Asked::ByStream => authenticator.check_password_again(typed, facts.now, waited),
    }
}

fn look(transit: &Transit, patience: Patience<'_>) -> Authentication {
    let facts = &transit.facts;
    let snapshot = &facts.loaded.snapshot;
    let route = facts.route.filter(|_| !facts.asks_who);
    let rule = route.map_or(AuthenticationRule::Required, |route| snapshot.policy.authentication(route));
    match rule {
        AuthenticationRule::None => Identity::Anonymous.into(),
        AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::Certificate => {
            let headers = &transit.head.headers;
            let only = rule == AuthenticationRule::Certificate;
            let presenting = presenting(facts, patience);
            match certificate_identity(facts) {
                Some(certificate) => {
                    snapshot.authenticator.authenticate_connection(headers, &certificate, only, facts.now, &presenting)
                }
                None => snapshot.authenticator.authenticate_with(headers, facts.now, &presenting),
            }
        }
    }
}

/// What tokens that are bound to their holder are held to.
fn presenting<'a>(facts: &'a Facts, patience: Patience<'a>) -> Presenting<'a> {
    let certificate = facts.connection.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    Presenting {
        certificate: certificate.and_then(|certificate| certificate.proof(&facts.loaded.snapshot)),
        target: facts.target.as_ref().map(|target| ProofTarget {
            method: target.method.as_str(),
            scheme: facts.scheme.as_str(),
            host: &target.host,
            port: target.port,
            path: &target.path,
        }),
        proven: Some(&facts.proven),
        seen: Some(&facts.connection.seen),
        patience,
    }
}

/// What the connection's client certificate says, where it has one that counts.
pub(crate) fn certificate_identity(facts: &Facts) -> Option<Rc<CertificateIdentity>> {
    facts.connection.tls.as_ref()?.certificate.as_ref()?.identity(&facts.loaded.snapshot)
}
