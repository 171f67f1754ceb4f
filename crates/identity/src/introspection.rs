//! Opaque tokens, of which their provider is asked (OAuth 2.0 Token Introspection, RFC 7662).
//!
//! Requests look into a bounded memory, by the token's hash. What is not there is asked for once, however many requests bring it, on tasks
//! beside them; they wait for that, a few of them at a time. What the provider says counts for as long as `max_cache`, and never longer than
//! the token. A provider that cannot be asked, or does not say, is `dependency.store_unavailable` (503): never a 401, and never a permit.
//!
//! Which tokens come here is decided by whoever reads them: those that are no signed token of a provider that is known.

mod answer;
mod cache;
mod counts;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use portcullis_fetch::{FetchError, Form, Posted, post};
use portcullis_policy::Principal;
use tokio::sync::watch;

use crate::asking::Looked;
use crate::binding::Terms;
use crate::refusal::{Refusal, excerpt};
use crate::settings::{Bound, IntrospectionProvider};
use crate::token_cache::TokenHash;
use answer::Reader;
use cache::Cache;
use counts::Counts;
pub use counts::Durations;

/// After a failure the same token is not asked for again before this time is over, in milliseconds.
const RETRY_MS: i64 = 1_000;
/// How often what is too old is forgotten.
const TEND: Duration = Duration::from_secs(1);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// The longest problem that is kept, in bytes.
const MAX_PROBLEM: usize = 256;

/// A provider that is asked. Shared by all workers, and by one configuration after the other as long as it stays the same.
#[derive(Debug)]
pub struct Introspection {
    settings: IntrospectionProvider,
    reader: Reader,
    cache: Cache,
    health: Health,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Health {
    is_down: AtomicBool,
    /// In milliseconds since 1970; 0: never.
    answered: AtomicI64,
    problem: Mutex<Option<String>>,
}

/// What is known of a token.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// It is good.
    Active(Arc<Held>),
    /// It is not, as the text says.
    Inactive(Refusal),
}

/// A token that is good.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) principal: Arc<Principal>,
    pub(crate) terms: Terms,
    /// From when on and until before when it holds, leeway included.
    valid_from: Timestamp,
    valid_before: Timestamp,
}

/// What somebody who brings a token is told.
#[derive(Debug)]
pub(crate) enum Told {
    Known(Verdict),
    /// It cannot be a token, so nobody is asked.
    Malformed(Refusal),
    /// It is being asked for. The text is what holds meanwhile.
    Awaited(TokenAwaited, String),
    /// Nobody can say, as the text says.
    Unavailable(String),
}

/// A question that is waited for.
#[derive(Debug)]
pub struct TokenAwaited {
    ended: watch::Receiver<u64>,
    count: u64,
    patience: Duration,
}

/// Something that happened to a provider that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionNotice {
    /// Its name.
    pub provider: Arc<str>,
    /// It answers again; else it does not, which is said once.
    pub recovered: bool,
    /// In a sentence.
    pub message: String,
}

/// How a provider that is asked is.
#[derive(Debug, Clone, PartialEq)]
pub struct IntrospectionReport {
    /// Its name.
    pub provider: Arc<str>,
    /// Where it is asked, without a query.
    pub address: String,
    /// How many tokens are remembered.
    pub entries: usize,
    /// How many wait to be asked for.
    pub waiting: usize,
    /// The last question was not answered.
    pub is_down: bool,
    /// When it last answered.
    pub answered: Option<Timestamp>,
    /// How many tokens were brought, by what was known of them: `remembered`, `asked`, `unavailable`, `malformed`.
    pub looked: [(&'static str, u64); 4],
    /// How many questions there were, by what came of them: `active`, `inactive`, `failed`.
    pub answers: [(&'static str, u64); 3],
    /// How long they took.
    pub durations: Durations,
    /// Why, where the last one was not.
    pub problem: Option<String>,
}

impl TokenAwaited {
    /// How long to wait at most.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Ends with the question, however that ends.
    pub(crate) async fn ended(&mut self) {
        // An error is the end of whoever asks.
        let _ = self.ended.wait_for(|ended| *ended >= self.count).await;
    }
}

impl Introspection {
    pub(crate) fn new(settings: &IntrospectionProvider, prefixes: &[String]) -> Self {
        Self {
            reader: Reader::new(settings, prefixes),
            cache: Cache::new(settings.entries, settings.max_waiting),
            health: Health::default(),
            counts: Counts::default(),
            settings: settings.clone(),
        }
    }

    /// The provider's name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What its tokens must be bound to.
    pub(crate) fn demand(&self) -> Bound {
        self.settings.require
    }

    /// Whether it is asked in the same way, and says the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.reader.is_same(&other.reader)
    }

    /// What is known of a token, or what to wait for. A request that has waited asks again, and is not counted twice.
    pub(crate) fn look(&self, token: &str, hash: &TokenHash, now: Timestamp, is_first: bool) -> Told {
        let told = self.told(token, hash, now);
        if is_first {
            self.counts.look(&told);
        }
        told
    }

    fn told(&self, token: &str, hash: &TokenHash, now: Timestamp) -> Told {
        if !is_token(token) {
            return Told::Malformed(Refusal::invalid("what came as a token cannot be one"));
        }
        let millis = now.as_millisecond();
        let found = self.cache.get(hash);
        if let Some(known) = found.as_ref().and_then(|entry| entry.young(millis)) {
            return Told::Known(self.at(&known, now));
        }
        let missing = format!("{} cannot be asked about the token now", self.settings.name);
        if found.as_ref().is_some_and(|entry| entry.has_failed_since(millis.saturating_sub(RETRY_MS))) {
            return Told::Unavailable(missing);
        }
        match self.cache.ask(hash, token, millis) {
            Looked::Asked { ended, count } => {
                let patience = self.settings.timeout.saturating_mul(2).saturating_add(Duration::from_secs(1));
                Told::Awaited(TokenAwaited { ended, count, patience }, missing)
            }
            Looked::TooMany => {
                Told::Unavailable(format!("too many tokens wait to be asked for at {}", self.settings.name))
            }
        }
    }

    /// What is remembered, held to the time of now.
    fn at(&self, verdict: &Verdict, now: Timestamp) -> Verdict {
        match verdict {
            Verdict::Active(held) => match self.reader.still(held, now) {
                Ok(()) => verdict.clone(),
                Err(refusal) => Verdict::Inactive(refusal),
            },
            Verdict::Inactive(_) => verdict.clone(),
        }
    }

    /// Asks for whatever is waited for, for as long as it is polled. It needs a tokio runtime with IO and time.
    pub async fn run(&self, clock: &(dyn Fn() -> Timestamp + Sync), tell: &(dyn Fn(IntrospectionNotice) + Sync)) {
        struct Abandon<'i>(&'i Introspection);
        impl Drop for Abandon<'_> {
            fn drop(&mut self) {
                self.0.cache.abandon();
            }
        }
        let _abandon = Abandon(self);
        let askers = (0..self.settings.connections.max(1)).map(|_| self.ask(clock, tell));
        let tend = async {
            loop {
                tokio::time::sleep(TEND).await;
                self.cache.evict(clock().as_millisecond());
            }
        };
        tokio::join!(join_all(askers), tend);
    }

    async fn ask(&self, clock: &(dyn Fn() -> Timestamp + Sync), tell: &(dyn Fn(IntrospectionNotice) + Sync)) {
        loop {
            let job = self.cache.next().await;
            let asked = clock();
            let answer = self.question(job.token(), asked).await;
            let answer =
                answer.and_then(|bytes| self.reader.read(&bytes, asked).map_err(|problem| problem.to_string()));
            let took = clock().duration_since(asked);
            self.counts.answer(answer.as_ref().ok(), took.try_into().unwrap_or_default());
            match answer {
                Ok(verdict) => {
                    let lasts = match &verdict {
                        Verdict::Active(_) => self.settings.max_cache,
                        Verdict::Inactive(_) => self.settings.negative,
                    };
                    job.found(verdict, asked.as_millisecond(), lasts);
                    self.health.answered.store(clock().as_millisecond(), Ordering::Release);
                    self.recovered(tell);
                }
                Err(problem) => {
                    job.failed(clock().as_millisecond());
                    self.failed(&problem, tell);
                }
            }
        }
    }

    async fn question(&self, token: &str, now: Timestamp) -> Result<Vec<u8>, String> {
        let settings = &self.settings;
        // Where there is none, what is signed is for the address.
        let issuer = settings.issuer.as_deref().unwrap_or_default();
        let proven = settings.client.proven(&settings.client_id, issuer, &settings.endpoint, now);
        let proven = proven.map_err(|error| error.to_string())?;
        let mut fields = vec![("token", token), ("token_type_hint", "access_token")];
        let client = proven.put(&mut fields);
        let form = Form { fields: &fields, client };
        match post(&settings.endpoint, form, MAX_ANSWER, settings.timeout).await {
            Ok(Posted { status: StatusCode::OK, bytes }) => Ok(bytes),
            Ok(Posted { status, .. }) => Err(FetchError::Status(status).to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn recovered(&self, tell: &(dyn Fn(IntrospectionNotice) + Sync)) {
        if self.health.is_down.swap(false, Ordering::AcqRel) {
            *self.health.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let message = format!("{} answers again about tokens", self.settings.name);
            tell(IntrospectionNotice { provider: Arc::clone(&self.settings.name), recovered: true, message });
        }
    }

    fn failed(&self, problem: &str, tell: &(dyn Fn(IntrospectionNotice) + Sync)) {
        let (problem, _) = problem.split_at(problem.floor_char_boundary(MAX_PROBLEM));
        *self.health.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.to_owned());
        if !self.health.is_down.swap(true, Ordering::AcqRel) {
            let message = format!("{} does not say which tokens are good: {problem}", self.settings.name);
            tell(IntrospectionNotice { provider: Arc::clone(&self.settings.name), recovered: false, message });
        }
    }

    /// How it is.
    pub fn report(&self) -> IntrospectionReport {
        let answered = self.health.answered.load(Ordering::Acquire);
        IntrospectionReport {
            provider: Arc::clone(&self.settings.name),
            address: self.settings.endpoint.shown(),
            entries: self.cache.len(),
            waiting: self.cache.waiting(),
            is_down: self.health.is_down.load(Ordering::Acquire),
            answered: if answered == 0 { None } else { Timestamp::from_millisecond(answered).ok() },
            looked: self.counts.looked(),
            answers: self.counts.answers(),
            durations: self.counts.durations(),
            problem: self.health.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// RFC 6750 section 2.1: what a bearer token is made of. Nobody is asked about anything else.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// Text that a provider said, short and harmless.
fn shown(text: &str) -> String {
    excerpt(text)
}

#[cfg(test)]
mod tests;
