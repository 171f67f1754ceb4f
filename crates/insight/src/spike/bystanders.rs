//! Who else comes from where refusals come from, and whether they are still let in.
//!
//! Behind one address there are good callers and, now and then, somebody who guesses credentials. Where everybody's credentials fail, those who
//! came regularly come through no more; where somebody guesses, they go on as ever. That is what tells the two apart: a guess can look like any
//! good request, and cannot make its neighbours' credentials fail.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_policy::{KeptIdentity, KeptRequest, PrincipalKind};

use crate::sample::{Answered, Outlook, Seen, network_of};
use crate::spike::familiar::{Familiar, place};

/// Whoever is expected so often and does not come is missed: that happens by chance once in twenty times.
const MISSED: f64 = 3.0;
/// Of fewer who are expected nothing is concluded.
const ENOUGH: f64 = 4.0;
/// Networks with so many places that nobody was let in to before are searched, and not used.
const STRANGE_PLACES: usize = 5;
/// Places of one network that are remembered.
const PLACES_MAX: usize = 64;
/// Refusals that are so many times what its good callers ask for are not theirs.
const BEYOND: f64 = 20.0;

/// How it is with those who are usually let in from somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They come through as ever.
    Undisturbed,
    /// They come through no more.
    Disturbed,
    /// There are too few of them, or some do and some do not.
    Unknown,
}

/// What is known of the networks that refusals come from.
#[derive(Debug, Default)]
pub(super) struct Bystanders {
    networks: HashMap<u64, Neighbourhood>,
    /// All of them together, for networks with too few.
    together: Usual,
    /// Those of networks that nothing is refused from.
    elsewhere: Usual,
    failed: u64,
}

#[derive(Debug, Default)]
struct Neighbourhood {
    usual: Usual,
    /// Credentials that failed, since the incident began.
    failed: u64,
    /// First segments of paths that nobody was let in to before, of callers who are not verified.
    strange: HashSet<u64>,
    /// Where those come from, with what and to what, who came regularly and do not any more.
    missed: HashSet<(IpAddr, Box<str>, u64)>,
}

/// Those who come regularly.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    /// How many of them are to be expected since the incident began, and how many were there.
    expected: f64,
    seen: f64,
    /// Of those who were to be expected three times and more: all, and those who were not there.
    regulars: u64,
    missed: u64,
    /// Requests that are to be expected of them.
    requests: f64,
}

/// One who comes regularly.
struct Regular<'s> {
    network: u64,
    last: &'s KeptRequest,
    rate: f64,
}

impl Bystanders {
    /// Of the refusals of a spike that began at `onset`, at `until`. `change`: it is asked who came since anything was refused
    /// after that, and not since credentials began to fail.
    pub(super) fn of(
        refused: &[&Seen],
        sample: &Outlook,
        familiar: &Familiar,
        (onset, until): (Timestamp, Timestamp),
        change: Option<Timestamp>,
    ) -> Self {
        let mut bystanders = Self::default();
        let mut times = Vec::new();
        for seen in refused {
            let (request, Answered::Refused(code)) = (&seen.request, seen.answered) else { continue };
            let Some(network) = network_of(request.client.ip()) else { continue };
            let one = bystanders.networks.entry(network).or_default();
            if is_failed_credential(code) {
                one.failed += 1;
                bystanders.failed += 1;
            }
            if change.map_or(is_failed_credential(code), |change| request.now >= change) {
                times.push(request.now);
            }
            if request.principal().is_none() && !familiar.has_place(request) && one.strange.len() < PLACES_MAX {
                one.strange.insert(place(request));
            }
        }
        // A spike begins with a bucket, and its refusals somewhat later: who came in between came before it. The first tenth may be as ever.
        times.sort_unstable();
        let began = times.get(times.len() / 10).copied().unwrap_or(onset);
        // Who went since the change went with it, and was not gone before.
        let gone = change.map_or(began, |change| change.min(began));
        bystanders.add_regulars(sample, onset, (gone, began), until);
        bystanders
    }

    fn add_regulars(
        &mut self,
        sample: &Outlook,
        onset: Timestamp,
        (gone, began): (Timestamp, Timestamp),
        until: Timestamp,
    ) {
        let mut regulars: HashMap<(u64, PrincipalKind, &str), Regular<'_>> = HashMap::new();
        for one in sample.older.iter().chain(&sample.lasting) {
            let request = &one.seen.request;
            let (Some(network), Some(principal)) = (network_of(request.client.ip()), request.principal()) else {
                continue;
            };
            if one.seen.is_refused() || one.since >= onset {
                continue;
            }
            let span = seconds(one.since, request.now).max(1.0);
            let rate = float(one.weight.saturating_sub(1)) / span;
            let regular = Regular { network, last: request, rate };
            let known =
                regulars.entry((network, principal.kind, &principal.id)).or_insert(Regular { rate: 0.0, ..regular });
            known.rate += rate;
            if request.now > known.last.now {
                known.last = request;
            }
        }
        // Also a refusal of somebody who was verified shows that the credential is.
        let newest = sample.recent.iter().chain(&sample.refusals).filter(|seen| seen.request.now >= began);
        let there: HashSet<(u64, PrincipalKind, &str)> = newest
            .filter_map(|seen| {
                let principal = seen.request.principal()?;
                Some((network_of(seen.request.client.ip())?, principal.kind, &*principal.id))
            })
            .collect();
        for (key, regular) in regulars {
            let seen = there.contains(&key) || regular.last.now >= began;
            let Regular { network, last, rate } = regular;
            // Who had gone before it began is missed by nobody.
            if !seen && rate * seconds(last.now, gone) > MISSED {
                continue;
            }
            let requests = rate * seconds(began, until);
            if let Some(one) = self.networks.get_mut(&network) {
                one.usual.add(requests, seen);
                if let Some(address) = last.client.ip().filter(|_| !seen && requests >= MISSED) {
                    one.missed.insert((address, last.software().into(), place(last)));
                }
                self.together.add(requests, seen);
            } else {
                self.elsewhere.add(requests, seen);
            }
        }
    }

    fn of_network(&self, request: &KeptRequest) -> Option<&Neighbourhood> {
        self.networks.get(&network_of(request.client.ip())?)
    }

    /// How it is with those who are usually let in from the network of this request.
    pub(super) fn verdict(&self, request: &KeptRequest) -> Verdict {
        let own = self.of_network(request).map(|one| one.usual).unwrap_or_default();
        if own.expected >= ENOUGH { own.verdict() } else { self.together.verdict() }
    }

    /// Whether those who are usually let in come through no more from other networks than that of this request either.
    pub(super) fn is_disturbed_elsewhere(&self, request: &KeptRequest) -> bool {
        let own = self.of_network(request).map(|one| one.usual).unwrap_or_default();
        let others = Usual {
            expected: self.together.expected - own.expected + self.elsewhere.expected,
            seen: self.together.seen - own.seen + self.elsewhere.seen,
            ..Usual::default()
        };
        others.verdict() == Verdict::Disturbed
    }

    /// Whether hardly anybody who came regularly comes through from anywhere.
    pub(super) fn are_all_gone(&self) -> bool {
        let all = Usual {
            expected: self.together.expected + self.elsewhere.expected,
            seen: self.together.seen + self.elsewhere.seen,
            ..Usual::default()
        };
        all.verdict() == Verdict::Disturbed
    }

    /// Whether it looks like one of somebody who came regularly from that very address and does not any more.
    pub(super) fn is_missed(&self, request: &KeptRequest) -> bool {
        let Some(address) = request.client.ip() else { return false };
        let key = (address, Box::from(request.software()), place(request));
        self.of_network(request).is_some_and(|one| one.missed.contains(&key))
    }

    /// Whether whoever comes from there, unverified, looks about: at many places that nobody was let in to before.
    pub(super) fn is_searched_from(&self, request: &KeptRequest) -> bool {
        self.of_network(request).is_some_and(|one| one.strange.len() >= STRANGE_PLACES)
    }

    /// Whether credentials fail from there, and how many times what its good callers ask for.
    pub(super) fn failed(&self, request: &KeptRequest) -> Option<Failed> {
        let one = self.of_network(request)?;
        // Who has been let in once from each of many networks is no good caller there: so it is asked of all together, too.
        let is_beyond = |failed: u64, usual: Usual| float(failed) > BEYOND * usual.requests.max(1.0);
        let beyond = is_beyond(one.failed, one.usual) || is_beyond(self.failed, self.together);
        let few = float(one.failed) <= 3.0 * one.usual.seen;
        (one.failed > 0).then_some(Failed { beyond, few })
    }
}

/// How many credentials fail from a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    /// Many more than its good callers ask for.
    pub(super) beyond: bool,
    /// So few that each good caller may have failed once or twice, and have got another credential since.
    pub(super) few: bool,
}

impl Usual {
    fn add(&mut self, requests: f64, seen: bool) {
        self.requests += requests;
        self.expected += 1.0 - (-requests).exp();
        self.seen += if seen { 1.0 } else { 0.0 };
        if requests >= MISSED {
            self.regulars += 1;
            self.missed += u64::from(!seen);
        }
    }

    fn verdict(&self) -> Verdict {
        if self.expected < ENOUGH {
            return Verdict::Unknown;
        }
        if self.seen <= 0.25 * self.expected {
            return Verdict::Disturbed;
        }
        let some_are_missed = self.missed >= 2 && self.missed * 5 >= self.regulars;
        if some_are_missed || self.seen < 0.6 * self.expected { Verdict::Unknown } else { Verdict::Undisturbed }
    }
}

/// Whether a credential was shown and does not verify, for whatever a change of keys could bring about.
pub(super) fn is_failed_credential(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::AuthnUnknownKey
            | ReasonCode::AuthnInvalid
            | ReasonCode::AuthnWrongIssuer
            | ReasonCode::AuthnWrongAudience
            | ReasonCode::AuthnNotYetValid
            | ReasonCode::AuthnCertificateInvalid
    )
}

/// Whether it is not known who this is.
pub(super) fn is_nobody(request: &KeptRequest) -> bool {
    !matches!(request.identity, KeptIdentity::Verified(_))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}
