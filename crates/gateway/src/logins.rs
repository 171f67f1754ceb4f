//! What logins have done beside the requests: providers are asked what they offer, codes and refresh tokens are exchanged, and sessions are swept. One thread does
//! it, so that no worker ever waits for a provider.
//!
//! Refresh tokens are here and nowhere else: in memory, one for each session, never in the store or a log. After a restart there are none, and
//! sessions that would need one are not taken up.

mod crowd;
mod errands;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::{Event, EventKind};
use portcullis_identity::SecretText;
use portcullis_identity::oidc::exchange::{ExchangeProblem, Tokens};
use portcullis_identity::oidc::{Metadata, NotAdmitted, RelyingParty};
use portcullis_identity::remote::Patience;
use portcullis_identity::session::{EndCause, SessionKey, Sessions};
use portcullis_policy::Principal;
use portcullis_proxy::Shared;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use errands::{Errand, Errands};

/// Errands at once; and as many times providers are asked about sessions, which no login keeps from it.
const AT_ONCE: usize = 64;
/// How often it is looked what is due.
const TICK: Duration = Duration::from_secs(1);
/// How often sessions are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How often a provider is asked what it offers, and how soon again where it did not say.
const DISCOVER_EVERY: Duration = Duration::from_secs(10 * 60);
const DISCOVER_AGAIN: Duration = Duration::from_secs(5);
/// How soon a provider that did not answer is asked about a session again, and for how long a session goes on meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(10);
const UNASKED_FOR: Duration = Duration::from_secs(60 * 60);
/// Refresh tokens that are held.
const MOST_REFRESHES: usize = 1_000_000;

/// What logins need beside the requests.
#[derive(Debug)]
pub(crate) struct Logins {
    shared: Weak<Shared>,
    sessions: Arc<Sessions>,
    errands: Errands,
    waiting: Mutex<Option<mpsc::Receiver<Errand>>>,
    /// By provider: why it did not say what it offers the last time, if it did not.
    discovered: watch::Sender<HashMap<Arc<str>, Option<String>>>,
    refreshes: Mutex<HashMap<SessionKey, Refresh>>,
}

/// How a session's provider is asked whether it still holds.
#[derive(Debug)]
struct Refresh {
    provider: Arc<str>,
    subject: Box<str>,
    token: SecretText<'static>,
    due: Instant,
    /// When it was last answered.
    answered: Instant,
    under_way: bool,
}

impl Logins {
    pub(crate) fn new(shared: &Arc<Shared>, sessions: &Arc<Sessions>) -> Self {
        let (errands, waiting) = Errands::new();
        Self {
            shared: Arc::downgrade(shared),
            sessions: Arc::clone(sessions),
            errands,
            waiting: Mutex::new(Some(waiting)),
            discovered: watch::Sender::default(),
            refreshes: Mutex::default(),
        }
    }

    /// Has something done for who comes from there, with what is held for it, and waits for it. `None`: there is too much to do, for whoever comes from there or at all.
    pub(crate) async fn run<T: Send + 'static, H: Send + 'static>(
        &self,
        from: Option<IpAddr>,
        held: H,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<(T, H)> {
        self.errands.run(from, held, work).await
    }

    /// What a provider offers; it is waited for until it was asked for the first time.
    ///
    /// # Errors
    /// Why that is not known.
    pub(crate) async fn metadata(&self, party: &RelyingParty) -> Result<Arc<Metadata>, String> {
        let name = &party.settings().name;
        let mut discovered = self.discovered.subscribe();
        let asked = discovered.wait_for(|asked| party.metadata().is_some() || asked.contains_key(name));
        let why = match tokio::time::timeout(party.settings().keys.timeout + TICK, asked).await {
            Ok(Ok(asked)) => asked.get(name).cloned().flatten(),
            Ok(Err(_)) | Err(_) => None,
        };
        party.metadata().ok_or_else(|| why.unwrap_or_else(|| "it has not said yet what it offers".to_owned()))
    }

    /// Has the session's provider asked again now and then, where the configuration wants that and there is something to ask with.
    pub(crate) fn ask_again(&self, key: SessionKey, party: &RelyingParty, subject: &str, tokens: Tokens) {
        let Some(every) = party.settings().refresh else { return };
        let Some(token) = tokens.refresh_token else {
            let provider = &party.settings().name;
            tracing::warn!(%provider, "no refresh token came: the session holds without asking again; `scopes` may need offline_access");
            return;
        };
        let now = Instant::now();
        let refresh = Refresh {
            provider: Arc::clone(&party.settings().name),
            subject: subject.into(),
            token,
            due: now + every,
            answered: now,
            under_way: false,
        };
        let mut refreshes = self.refreshes();
        if refreshes.len() < MOST_REFRESHES {
            refreshes.insert(key, refresh);
        }
    }

    fn refreshes(&self) -> MutexGuard<'_, HashMap<SessionKey, Refresh>> {
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running thread. Dropping it ends it; what is under way is let go.
#[derive(Debug)]
pub(crate) struct LoginThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoginThread {
    /// Starts it.
    ///
    /// # Errors
    /// No thread, or no runtime on it.
    pub(crate) fn start(logins: &Arc<Logins>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(64).build()?;
        let (stop, stopped) = oneshot::channel();
        let logins = Arc::clone(logins);
        let thread = thread::Builder::new().name("logins".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = logins.tend() => {}
                    _ = stopped => {}
                }
            });
            // A look-up of a name may take long; nobody waits for its end.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for LoginThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Logins {
    async fn tend(self: &Arc<Self>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let (mut errands, mut asked) = (JoinSet::new(), JoinSet::new());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut discoveries: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                Some(errand) = waiting.recv(), if errands.len() < AT_ONCE => { errands.spawn(errand); }
                Some(_) = errands.join_next() => {}
                Some(_) = asked.join_next() => {}
                _ = tick.tick() => {
                    self.discover(&mut discoveries, &mut asked);
                    self.refresh(&mut asked);
                    if swept.elapsed() >= SWEEP_EVERY {
                        swept = Instant::now();
                        // Nobody waits for that.
                        drop(self.sessions.sweep(Timestamp::now()));
                    }
                }
            }
        }
    }

    /// Asks the providers for what they offer, where that is due.
    fn discover(self: &Arc<Self>, due: &mut HashMap<Arc<str>, Instant>, asked: &mut JoinSet<()>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let now = Instant::now();
        let authenticator = Arc::clone(&shared.snapshot().load().authenticator);
        let parties = authenticator.relying().all();
        due.retain(|name, _| parties.iter().any(|party| party.settings().name == *name));
        for party in parties {
            let name = Arc::clone(&party.settings().name);
            let is_due = due.get(&name).is_none_or(|at| *at <= now);
            // One of another configuration has nothing yet.
            let is_new = party.metadata().is_none() && due.get(&name).is_some_and(|at| *at > now + DISCOVER_AGAIN);
            if !is_due && !is_new {
                continue;
            }
            due.insert(
                Arc::clone(&name),
                now + if party.metadata().is_some() { DISCOVER_EVERY } else { DISCOVER_AGAIN },
            );
            let (logins, party) = (Arc::clone(self), Arc::clone(party));
            asked.spawn(async move {
                let problem = party.discover().await.err().map(|problem| problem.to_string());
                logins.discovered.send_modify(|known| {
                    let before = known.insert(Arc::clone(&name), problem.clone());
                    match (&problem, before.flatten()) {
                        (Some(problem), None) => {
                            tracing::warn!(provider = %name, %problem, "the provider does not say what it offers");
                        }
                        (None, Some(_)) => tracing::info!(provider = %name, "the provider says again what it offers"),
                        (Some(_), Some(_)) | (None, None) => {}
                    }
                });
            });
        }
    }

    /// Asks providers about sessions, where that is due. A token is used once at a time.
    fn refresh(self: &Arc<Self>, asked: &mut JoinSet<()>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let (now, wall) = (Instant::now(), Timestamp::now());
        let authenticator = Arc::clone(&shared.snapshot().load().authenticator);
        let mut refreshes = self.refreshes();
        // A step-up gives a session another id.
        let moved: Vec<(SessionKey, SessionKey)> = refreshes
            .keys()
            .map(|key| (*key, self.sessions.current(key)))
            .filter(|(before, now)| before != now)
            .collect();
        for (before, now) in moved {
            if let Some(refresh) = refreshes.remove(&before) {
                refreshes.insert(now, refresh);
            }
        }
        refreshes.retain(|key, _| self.sessions.get(key, wall).is_some());
        for (key, refresh) in refreshes.iter_mut().filter(|(_, refresh)| !refresh.under_way && refresh.due <= now) {
            if asked.len() >= AT_ONCE {
                return;
            }
            // Of another configuration: its sessions do not count any more.
            let Some(party) = authenticator.relying().named(&refresh.provider).map(Arc::clone) else { continue };
            refresh.under_way = true;
            let (logins, key) = (Arc::clone(self), *key);
            let (token, subject) = (refresh.token.clone(), refresh.subject.clone());
            asked.spawn(async move {
                let outcome = renew(&party, &token, &subject).await;
                logins.refreshed(key, &party, outcome).await;
            });
        }
    }

    async fn refreshed(&self, key: SessionKey, party: &RelyingParty, outcome: Result<Renewed, ExchangeProblem>) {
        let every = party.settings().refresh.unwrap_or(DISCOVER_EVERY);
        let now = Instant::now();
        let key = {
            let current = self.sessions.current(&key);
            // It may have been moved already, or not yet.
            if self.refreshes().contains_key(&current) { current } else { key }
        };
        let is_over = {
            let mut refreshes = self.refreshes();
            let Some(refresh) = refreshes.get_mut(&key) else { return };
            refresh.under_way = false;
            match outcome {
                Ok(Renewed { token, principal }) => {
                    // Its id may have been changed a moment ago.
                    let key = self.sessions.current(&key);
                    (refresh.due, refresh.answered) = (now + every, now);
                    if let Some(token) = token {
                        refresh.token = token;
                    }
                    if let Some(principal) = principal {
                        // Where it has ended meanwhile, it stays so.
                        let _ = self.sessions.renew(&key, principal, Timestamp::now());
                    }
                    None
                }
                Err(ExchangeProblem::Unreachable(why)) if refresh.answered.elapsed() < UNASKED_FOR => {
                    tracing::warn!(provider = %refresh.provider, problem = %why, "a session's provider does not answer: it is asked again");
                    refresh.due = now + ASK_AGAIN.min(every);
                    None
                }
                Err(problem) => {
                    refreshes.remove(&key);
                    Some(problem.to_string())
                }
            }
        };
        if let Some(why) = is_over {
            self.end(&self.sessions.current(&key), &format!("its provider does not confirm it any more: {why}")).await;
        }
    }

    /// Ends a session that its provider does not want any more, with one event.
    async fn end(&self, key: &SessionKey, why: &str) {
        let Some(session) = self.sessions.get(key, Timestamp::now()) else { return };
        let (was_open, written) = self.sessions.end(key, EndCause::LoggedOut);
        if was_open && let Some(shared) = self.shared.upgrade() {
            let message = format!("the session was ended: {why}");
            shared.recorder.record(session_event(&shared, EventKind::SessionEnded, Some(&session.principal), message));
        }
        if let Err(error) = written.ended().await {
            tracing::error!(error, "a session that ended is still in the store");
        }
    }
}

/// What a refresh brought.
struct Renewed {
    token: Option<SecretText<'static>>,
    principal: Option<Principal>,
}

async fn renew(party: &RelyingParty, token: &SecretText<'_>, subject: &str) -> Result<Renewed, ExchangeProblem> {
    let unknown = || ExchangeProblem::Unreachable("it has not said yet what it offers".to_owned());
    let metadata = party.metadata().ok_or_else(unknown)?;
    let Tokens { id_token, refresh_token } = party.refresh(&metadata, token, Timestamp::now()).await?;
    let principal = match id_token {
        Some(id_token) => {
            Some(admitted(party, |now, patience| party.renew(id_token.expose(), subject, now, patience)).await?)
        }
        None => None,
    };
    Ok(Renewed { token: refresh_token, principal })
}

/// What a token says, once the keys that tell are there.
async fn admitted<T>(
    party: &RelyingParty,
    verify: impl Fn(Timestamp, Patience<'_>) -> Result<T, NotAdmitted>,
) -> Result<T, ExchangeProblem> {
    let mut found = verify(Timestamp::now(), Patience::Request);
    if let Err(NotAdmitted::Awaited(mut awaited)) = found {
        // Whether it ended or took too long: what is there then counts.
        let _ = tokio::time::timeout(awaited.patience(), awaited.ended()).await;
        found = verify(Timestamp::now(), waited(&awaited));
    }
    found.map_err(|problem| match problem {
        NotAdmitted::Rejected(problem) => ExchangeProblem::Refused(problem.detail),
        NotAdmitted::NoKeys(why) => ExchangeProblem::Unreachable(why),
        NotAdmitted::Awaited(_) => {
            ExchangeProblem::Unreachable(format!("the keys of {} are not there", party.settings().name))
        }
    })
}

/// With how much patience somebody asks who has waited for that.
pub(crate) fn waited(awaited: &portcullis_identity::Awaited) -> Patience<'_> {
    match awaited {
        portcullis_identity::Awaited::Keys(keys) => Patience::Waited(keys),
        portcullis_identity::Awaited::Groups(_)
        | portcullis_identity::Awaited::Password(_)
        | portcullis_identity::Awaited::Token(_) => Patience::Stream,
    }
}

/// An event about a session.
pub(crate) fn session_event(shared: &Shared, kind: EventKind, principal: Option<&Principal>, message: String) -> Event {
    let now = Timestamp::now();
    let mut event = shared.event(kind, now);
    if let Some(principal) = principal {
        event.identity = portcullis_events::event::Identity::of(principal, &[], now);
        event.policy.rule = Some((&*principal.authentication.provider).into());
    }
    event.message = Some(message);
    event
}
