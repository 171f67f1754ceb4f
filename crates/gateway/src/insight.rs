//! The requests that are kept for a while: the thread that takes them from the workers, looks for spikes of refusals, and what is asked of both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_identity::Authenticator;
use portcullis_identity::revocation::Revocations;
use portcullis_insight::spike::{Due, Explained, Parts, Remembered, Ways};
use portcullis_insight::{
    Answered, Outlook, Preview, Sample, SampleLimits, Seen, SpikeSettings, Stamped, Watch, Watched, preview,
};
use portcullis_policy::{Activation, KeptRequest, Policy, Principal};
use portcullis_proxy::Shared;
use portcullis_proxy::sampling::{Noted, Tallied};
use portcullis_risk::Actor;
use portcullis_store::{SpikeBook, SpikesOf};

use crate::governing::Governing;
use crate::spiking::{self, Begun, Spike, Spiking, WaysBack};
use crate::turns::Turns;
use crate::yielding::{Priority, aside, idling};

/// How often the thread comes by. A worker hands over 512 requests at most in between.
const TICK: Duration = Duration::from_millis(200);

/// How often what is known of spikes is written down: what a process that is killed loses.
const FLUSH: Duration = Duration::from_secs(10);
/// How often it is looked who was let in, which looks at the whole sample.
const RENEW: Duration = Duration::from_secs(60);

/// The requests that are kept.
#[derive(Debug)]
pub(crate) struct Insight {
    kept: Arc<Kept>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One policy is tried at a time.
    trying: Turns,
    /// And one is read and compiled at a time that somebody wants to have tried: that is as much work. Governance tries what it has read already, and
    /// does not wait for who merely asks.
    reading: Turns,
}

/// A policy may be read, compiled and tried; no other one that somebody asks for is meanwhile.
#[derive(Debug)]
pub(crate) struct Turn<'i> {
    _reading: MutexGuard<'i, ()>,
}

/// A spike that is being explained.
struct Explaining {
    due: Due,
    work: JoinHandle<Explained>,
}

#[derive(Debug)]
struct Kept {
    /// Held for moments, and by no request.
    sample: Mutex<Sample>,
    /// `None`: nobody looks for spikes. Held for moments, and by no request.
    spiking: Option<Mutex<Spiking>>,
    /// What watches a version that is rolled out, while one is. Held for moments, and by no request.
    watch: Mutex<Option<Watch>>,
    /// Who knows which ways back there are.
    ways: WaysBack,
    shared: Arc<Shared>,
}

impl Insight {
    /// Starts to take requests.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        limits: SampleLimits,
        spike: Option<(SpikeSettings, Begun)>,
        ways: WaysBack,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let spiking = spike.map(|(settings, begun)| Spiking::new(settings, begun, shared));
        let (spiking, book) = spiking.map_or((None, None), |(spiking, book)| (Some(Mutex::new(spiking)), book));
        let sample = Mutex::new(Sample::new(limits));
        let governing = ways.governing.clone();
        let kept = Arc::new(Kept { sample, spiking, watch: Mutex::default(), ways, shared: Arc::clone(shared) });
        let stop = Arc::new(AtomicBool::new(false));
        let (taking, stopped) = (Arc::clone(&kept), Arc::clone(&stop));
        let thread = thread::Builder::new().name("insight".to_owned()).spawn(move || {
            let mut explaining = None;
            while !stopped.load(Ordering::Acquire) {
                taking.take();
                taking.look_for_spikes(&mut explaining);
                thread::park_timeout(TICK);
            }
        })?;
        let insight = Self {
            kept: Arc::clone(&kept),
            stop: Arc::clone(&stop),
            threads: Mutex::new(vec![thread]),
            trying: Turns::default(),
            reading: Turns::default(),
        };
        if let Some(mut book) = book {
            let keeping = move || kept.keep_spikes(&mut book, governing.as_deref(), &stop);
            let thread = aside("spikes", Priority::Low, keeping)?;
            insight.threads().push(thread);
        }
        Ok(insight)
    }

    /// The turn of somebody who wants to have a policy tried.
    ///
    /// # Errors
    /// A sentence: it is somebody else's.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, String> {
        let reading = self.reading.take(Duration::ZERO);
        reading
            .map(|_reading| Turn { _reading })
            .ok_or_else(|| "another policy is being tried: ask again in a moment".to_owned())
    }

    /// Tries a policy on the requests that are kept: on processors that are idle, and where none is, with this priority.
    ///
    /// # Errors
    /// A sentence, where one is tried already, also after so long, or there is no thread.
    pub(crate) fn preview(
        &self,
        present: Arc<Policy>,
        candidate: Policy,
        (priority, patience): (Priority, Duration),
    ) -> Result<Stamped<Preview>, String> {
        let _trying = self.trying.take(patience).ok_or_else(|| "another policy is being tried".to_owned())?;
        // Here and not there: others wait for what it locks.
        let outlook = self.outlook();
        // The policies and the sample are let go there, too.
        idling("preview", priority, move || {
            preview(&present, &candidate, &outlook, Timestamp::now(), thread::yield_now)
        })
    }

    /// The requests that are kept now.
    pub(crate) fn outlook(&self) -> Outlook {
        self.kept.take();
        self.kept.look()
    }

    /// The spikes that were explained, the last one first; `None`: nobody looks for them.
    pub(crate) fn spikes(&self) -> Option<(Vec<Spike>, bool)> {
        let spiking = self.kept.spiking()?;
        Some((spiking.found(), spiking.is_learning()))
    }

    /// Watches the policy that is staged, from what was counted of this step before.
    pub(crate) fn watch(&self, watched: Watched) {
        // Who is in the sample was there before: so it is looked at first, and what comes from now on is watched.
        let outlook = self.kept.look();
        let snapshot = self.kept.shared.snapshot().load_full();
        let mut watch = self.kept.watch();
        let Some(staged) = &snapshot.staged else { return *watch = None };
        let next = Watch::new(Arc::clone(&snapshot.policy), Arc::clone(&staged.policy), &outlook);
        watch.get_or_insert(next).begin(watched);
    }

    /// What was counted since, and what it says; `None`: nothing is watched.
    pub(crate) fn watched(&self) -> Option<Watched> {
        // With what the workers have handed over until now: a moment before the end of a process there is no other visit.
        self.kept.take();
        self.kept.watch().as_ref().map(Watch::watched)
    }

    /// What that says, in sentences.
    pub(crate) fn watched_in_words(&self) -> Vec<String> {
        // Put in words while nobody waits.
        let found = self.kept.watch().as_ref().map(Watch::found);
        found.map(|found| found.in_words()).unwrap_or_default()
    }

    /// Watches nothing any more.
    pub(crate) fn unwatch(&self) {
        *self.kept.watch() = None;
    }

    /// Takes no more.
    pub(crate) fn shutdown(&self) {
        self.stop.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads());
        threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in threads {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }

    /// Another configuration comes into force in a moment, with this around its policy: it is known by its authenticator.
    pub(crate) fn read_anew(&self, parts: Parts, authenticator: &Arc<Authenticator>) {
        if let Some(mut spiking) = self.kept.spiking() {
            spiking.read_anew(parts, authenticator);
        }
    }

    /// An operator has made or lifted a ban or a revocation: who it was, and what was said of it; `None`: that was before the process began.
    pub(crate) fn operator_did(&self, revocations: &Revocations, by: Option<(&str, &str)>) {
        let shared = &self.kept.shared;
        let (bans, revoked) = (shared.risk.all_bans(shared.clock.now()), revocations.list(Timestamp::now()));
        if let Some(mut spiking) = self.kept.spiking() {
            spiking.operator_did((&bans, &revoked), by);
        }
    }

    /// An identity provider does not have some of its keys any more.
    pub(crate) fn keys_went(&self, provider: &str) {
        if let Some(mut spiking) = self.kept.spiking() {
            spiking.keys_went(provider, Timestamp::now());
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn spiking(&self) -> Option<MutexGuard<'_, Spiking>> {
        Some(self.spiking.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps in the store what of spikes is to outlast the process, until the end. First it compiles what was in force before: nobody waits for that.
    fn keep_spikes(&self, book: &mut SpikeBook, governing: Option<&Governing>, stopped: &AtomicBool) {
        let states = self.spiking().map(|spiking| spiking.states());
        let changes =
            states.map(|states| spiking::changes_over_starts(states, (governing, &self.ways.feeds), &self.shared));
        if let (Some(mut spiking), Some(changes)) = (self.spiking(), changes) {
            spiking.note(changes);
        }
        let mut remembered = self.spiking().map(|spiking| spiking.remembered());
        let (mut failing, mut taken_over, mut renewed) = (false, false, Instant::now());
        loop {
            // Not at once: a start may come to nothing, and whoever writes has taken over.
            let until = Instant::now() + FLUSH;
            while !stopped.load(Ordering::Acquire) && Instant::now() < until {
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
            let is_last = stopped.load(Ordering::Acquire);
            let is_due = is_last || renewed.elapsed() >= RENEW;
            if let Some((remembered, settings)) = remembered.as_mut().filter(|_| is_due) {
                let sample = self.sample().look_back();
                *remembered = Arc::new(remembered.renewed(&sample, settings, Timestamp::now()));
                renewed = Instant::now();
            }
            let remembered = remembered.as_ref().filter(|_| is_due).map(|(remembered, _)| &**remembered);
            let written = self.write_spikes(book, remembered, is_last);
            if let Some(error) = written.as_ref().err().filter(|_| !failing) {
                tracing::error!(error, "what is known of spikes of refusals is not kept: a restart begins with older");
            }
            failing = written.is_err();
            let is_others = written == Ok(SpikesOf::AnotherProcess);
            if is_others && !taken_over {
                tracing::info!(
                    "another gateway serves on the store by now: what this one learns of spikes of refusals is not kept"
                );
            }
            taken_over = is_others;
            if is_last {
                return;
            }
        }
    }

    fn write_spikes(
        &self,
        book: &mut SpikeBook,
        remembered: Option<&Remembered>,
        is_last: bool,
    ) -> Result<SpikesOf, String> {
        let unsaved = self.spiking().map(|mut spiking| spiking.take_unsaved()).unwrap_or_default();
        // The file is written while nobody waits.
        let written = spiking::write(book, &unsaved, remembered, is_last);
        if written != Ok(SpikesOf::ThisProcess)
            && let Some(mut spiking) = self.spiking()
        {
            spiking.give_back(&unsaved);
        }
        written
    }

    fn sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Outlook {
        let mut outlook = self.sample().look();
        if let Some(sampling) = &self.shared.sampling {
            let Tallied { requests, noted, .. } = sampling.tallied();
            outlook.missed = requests.saturating_sub(noted);
        }
        outlook
    }

    /// Explaining decides on thousands of requests again and compares policies: it is done on a thread of its own, one at a time, so that meanwhile
    /// requests are taken and workers have their processors.
    fn look_for_spikes(&self, explaining: &mut Option<Explaining>) {
        let Some(spiking) = &self.spiking else { return };
        let spiking = || spiking.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = |due: Due, explained: Option<Explained>| {
            if let Some(event) = spiking().told(due, explained, &self.shared) {
                self.shared.recorder.record(event);
            }
        };
        if let Some(Explaining { due, work }) = explaining.take_if(|explaining| explaining.work.is_finished()) {
            // A panic on that thread was reported where it happened.
            tell(due, work.join().ok());
        }
        let due = spiking().tick(&self.shared);
        let Some(due) = due else { return };
        let (theirs, sample) = (due.clone(), self.sample().look_back());
        let (ways, deeds, shared) = (self.ways.clone(), spiking().deeds(), Arc::clone(&self.shared));
        let explain = move || theirs.explain(&sample, &Ways { deeds, ..ways.now(&shared) });
        match aside("explain", Priority::Low, explain) {
            Ok(work) => *explaining = Some(Explaining { due, work }),
            Err(error) => {
                tracing::warn!(%error, "a spike of refusals is not explained: there is no thread");
                tell(due, None);
            }
        }
    }

    /// Takes what the workers have handed over.
    fn take(&self) {
        let Some(sampling) = &self.shared.sampling else { return };
        let snapshot = self.shared.snapshot().load_full();
        let mut sample = self.sample();
        let mut watch = self.watch();
        if let (Some(watch), Some(staged)) = (watch.as_mut(), &snapshot.staged) {
            watch.renew(&snapshot.policy, &staged.policy);
        }
        let known = |principal: &Principal| self.is_known(principal);
        sampling.take(|Noted { request, refused, status }| {
            let answered = refused.map_or(Answered::Permitted(status), Answered::Refused);
            // No rule asked for the country then; a candidate's may.
            let country = request.country.or_else(|| self.shared.geo.country(request.client.ip()?));
            let mut request = KeptRequest { country, ..request };
            self.add_ended(&mut request, answered);
            let seen = sample.add(Seen { request, answered }, &snapshot.policy);
            if let Some(watch) = watch.as_mut() {
                watch.see(&seen, &known);
            }
        });
    }

    /// What a caller who is refused had for a time until a short while ago. By its end it decides nothing: it tells whether the clock is why.
    fn add_ended(&self, request: &mut KeptRequest, answered: Answered) {
        let may_be = match answered {
            Answered::Refused(code) => matches!(code.stage(), "rbac" | "ban"),
            Answered::Permitted(_) => false,
        };
        let Some(principal) = request.principal().filter(|_| may_be) else { return };
        let ended = self.shared.lending.ended(principal, request.now, self.shared.clock.now());
        add_missing(request, ended);
    }

    /// Whether risk remembers that somebody was let in, which it does across restarts.
    fn is_known(&self, principal: &Principal) -> bool {
        let actor = Actor::Principal { kind: principal.kind, id: principal.id.clone() };
        self.shared.risk.profile_of(&actor, self.shared.clock.now()).is_some_and(|profile| profile.history > 0)
    }
}

/// Adds what is not there already: who is refused by a rule was asked for it, and what a request has in force has not ended for it.
fn add_missing(request: &mut KeptRequest, ended: Vec<Activation>) {
    let held = |each: &Activation| {
        let rare = request.rare.as_deref();
        rare.is_some_and(|rare| rare.activations.iter().any(|known| known.gives == each.gives))
    };
    let missing: Vec<Activation> = ended.into_iter().filter(|each| !held(each)).collect();
    if !missing.is_empty() {
        request.rare.get_or_insert_default().activations.extend(missing);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::KeptText;

    use super::*;

    /// Finding of 2026-11: what had ended was kept twice of whoever was refused by a rule.
    #[test]
    fn what_has_ended_is_kept_once() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let mut request = KeptRequest::new(KeptText::default(), at(0)).unwrap();
        add_missing(&mut request, Vec::new());
        assert!(request.rare.is_none());
        let (on_call, operator) = (Activation::of("on-call", at(-2)), Activation::of("operator", at(-1)));
        add_missing(&mut request, vec![on_call.clone()]);
        add_missing(&mut request, vec![on_call.clone(), operator.clone()]);
        assert_eq!(request.rare.unwrap().activations, [on_call, operator]);
    }
}
