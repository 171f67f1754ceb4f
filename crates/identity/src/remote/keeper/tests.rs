use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use portcullis_fetch::{FetchError, UrlSource};
use portcullis_policy::{CredentialProblemKind as Kind, Dependency, PrincipalKind};
use serde_json::json;

use super::*;
use crate::authentication::Awaited;
use crate::remote::job::KeyFetchError;
use crate::remote::{KeysAwaited, Patience};
use crate::settings::{Bound, ClaimNames, JwtProvider, KeyLocation, KeySource, RemoteKeySource, Settings, TokenTypes};
use crate::signer::Signer;
use crate::{Authentication, Authenticator, Identity, Presenting};

const START: i64 = 1_800_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn source(path: &str) -> RemoteKeySource {
    let address = UrlSource::parse(&format!("https://keys.example{path}"), Vec::new()).unwrap();
    RemoteKeySource { max_stale: Duration::from_secs(3_600), ..RemoteKeySource::new(KeyLocation::Url(address)) }
}

fn authenticator(source: RemoteKeySource) -> Authenticator {
    let provider = JwtProvider {
        name: "corporate".into(),
        issuer: "https://login.example".to_owned(),
        audiences: vec!["billing".to_owned()],
        keys: KeySource::Remote(source),
        claims: ClaimNames::default(),
        principal: PrincipalKind::User,
        prefix: String::new(),
        trust_groups: Vec::new(),
        leeway: Duration::ZERO,
        require: Bound::Unbound,
        types: TokenTypes::Access,
    };
    Authenticator::new(Settings { jwt: vec![provider], ..Settings::default() }).unwrap()
}

/// A keeper of one provider's keys, and the time.
struct Site {
    authenticator: Authenticator,
    keeper: KeyKeeper,
    steady: Duration,
    /// Tokens name no key.
    nameless: bool,
}

impl Site {
    fn new() -> Self {
        let authenticator = authenticator(source("/a"));
        let mut keeper = KeyKeeper::default();
        keeper.watch(authenticator.remote_keys(), Duration::ZERO);
        Self { authenticator, keeper, steady: Duration::ZERO, nameless: false }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_second(START + i64::try_from(self.steady.as_secs()).unwrap()).unwrap()
    }

    fn pass(&mut self, time: Duration) -> Vec<KeyNotice> {
        self.steady += time;
        self.keeper.tick(self.wall(), self.steady)
    }

    /// How many fetches are due; they are begun.
    fn due(&mut self) -> usize {
        self.keeper.due(self.steady).len()
    }

    fn finish(&mut self, result: Result<Brought, KeyFetchError>) -> Vec<KeyNoticeKind> {
        self.finished(result).into_iter().map(|notice| notice.kind).collect()
    }

    fn finished(&mut self, result: Result<Brought, KeyFetchError>) -> Vec<KeyNotice> {
        let keys = self.authenticator.remote_keys().remove(0);
        self.keeper.finish(KeyOutcome { keys, result }, self.wall(), self.steady)
    }

    fn bring(&mut self, signers: &[&Signer]) -> Vec<KeyNoticeKind> {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        let text = json!({ "keys": keys }).to_string().into_bytes();
        self.finish(Ok(Brought::Set { text, tag: None }))
    }

    fn fail(&mut self) -> Vec<KeyNoticeKind> {
        self.finish(Err(KeyFetchError::Fetch(FetchError::Timeout(SECOND))))
    }

    fn ask(&self, signer: &Signer) -> Authentication {
        self.ask_with(signer, Patience::Request)
    }

    fn ask_with(&self, signer: &Signer, patience: Patience<'_>) -> Authentication {
        let claims = json!({
            "iss": "https://login.example", "aud": "billing", "sub": "alice",
            "exp": START + 1_000_000, "iat": START - 10,
        });
        let mut headers = HeaderMap::new();
        let token = if self.nameless {
            signer.sign_with(&json!({ "alg": "EdDSA" }), claims.to_string().as_bytes())
        } else {
            signer.sign(&claims)
        };
        let value = format!("Bearer {token}");
        headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
        self.authenticator.authenticate_with(&headers, self.wall(), &Presenting::nothing(patience))
    }

    /// What is known without waiting, in a word.
    fn told(&self, signer: &Signer) -> &'static str {
        match self.ask(signer) {
            Authentication::Awaited { .. } => "waits",
            Authentication::Known(identity) => word(&identity),
            Authentication::Typed(_) => "a password",
        }
    }
}

fn word(identity: &Identity) -> &'static str {
    match identity {
        Identity::Verified(_) => "verified",
        Identity::Rejected(rejection) if rejection.problem.kind == Kind::UnknownKey => "unknown key",
        Identity::Unavailable(Dependency::Keys, _) => "no keys",
        Identity::Anonymous | Identity::Rejected(_) | Identity::Unavailable(..) | Identity::Unchecked(_) => {
            "something else"
        }
    }
}

/// What a request is told that waited for this.
fn told_after(site: &Site, signer: &Signer, waited: &KeysAwaited) -> &'static str {
    match site.ask_with(signer, Patience::Waited(waited)) {
        Authentication::Awaited { .. } => "waits",
        Authentication::Known(identity) => word(&identity),
        Authentication::Typed(_) => "a password",
    }
}

fn awaited(site: &Site, signer: &Signer, patience: Patience<'_>) -> KeysAwaited {
    match site.ask_with(signer, patience) {
        Authentication::Awaited { awaited: Awaited::Keys(keys), .. } => keys,
        other => panic!("no keys are awaited: {other:?}"),
    }
}

#[test]
fn whoever_waited_is_answered_by_what_it_brought() {
    let (mut site, known, other) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    site.due();
    site.bring(&[&known]);
    site.pass(RemoteKeySource::COOLDOWN);
    // It brought no such key. That stays so when the next fetch may be asked for, or is under way.
    let waited = awaited(&site, &other, Patience::Request);
    assert_eq!(told_after(&site, &other, &waited), "no keys", "not yet over");
    assert_eq!(site.due(), 1);
    site.bring(&[&known]);
    assert_eq!(told_after(&site, &other, &waited), "unknown key");
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!(told_after(&site, &other, &waited), "unknown key");
    let waited = awaited(&site, &other, Patience::Stream);
    assert_eq!(site.due(), 1);
    assert_eq!(told_after(&site, &other, &waited), "no keys");
    // It failed: nobody can say.
    site.fail();
    assert_eq!(told_after(&site, &other, &waited), "no keys");
    // What was waited for was another configuration's.
    let elsewhere = Site::new();
    assert_eq!(told_after(&elsewhere, &other, &waited), "no keys");
}

#[test]
fn few_requests_wait_for_a_provider_that_hangs() {
    let (mut site, known, other) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    site.due();
    site.bring(&[&known]);
    site.pass(RemoteKeySource::REFRESH * 2);
    assert_eq!(site.due(), 1);
    let mut waiting: Vec<KeysAwaited> = (0..256).map(|_| awaited(&site, &other, Patience::Request)).collect();
    assert_eq!(site.told(&other), "no keys");
    assert_eq!(site.told(&known), "verified");
    // What is under way holds no place.
    drop(awaited(&site, &other, Patience::Stream));
    waiting.pop();
    assert_eq!(site.told(&other), "waits");
}

#[test]
fn a_token_without_a_key_id_has_the_keys_fetched_that_would_verify_it() {
    let (mut site, old, new) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    site.nameless = true;
    site.due();
    site.bring(&[&old]);
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!((site.told(&old), site.told(&new)), ("verified", "waits"));
    assert_eq!(site.due(), 1);
    site.bring(&[&new]);
    assert_eq!(site.told(&new), "verified");
    assert_eq!(site.told(&old), "something else");
}

#[test]
fn a_wall_clock_that_stands_still_makes_nothing_fresher() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    site.bring(&[&known]);
    let wall = site.wall();
    let tick = |site: &mut Site, seconds| site.keeper.tick(wall, Duration::from_secs(seconds)).len();
    assert_eq!((tick(&mut site, 3_599), site.told(&known)), (0, "verified"));
    assert_eq!((tick(&mut site, 3_600), site.told(&known)), (1, "waits"));
}

fn is_over(waiting: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    matches!(waiting.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}

#[test]
fn the_first_request_waits_for_the_first_keys() {
    let (mut site, signer) = (Site::new(), Signer::ed25519("k1"));
    let Authentication::Awaited { awaited: Awaited::Keys(mut keys), otherwise } = site.ask(&signer) else {
        panic!("it is known already")
    };
    assert_eq!(word(&otherwise), "no keys");
    assert!(keys.patience() > 2 * SECOND);
    let mut waiting = pin!(keys.ended());
    assert!(!is_over(waiting.as_mut()));
    assert_eq!((site.due(), site.due()), (1, 0), "one fetch at a time");
    assert!(!is_over(waiting.as_mut()));
    assert_eq!(site.bring(&[&signer]), [KeyNoticeKind::Updated]);
    assert!(is_over(waiting));
    assert_eq!(site.told(&signer), "verified");
}

#[test]
fn a_new_key_works_on_first_use_and_a_withdrawn_one_no_more() {
    let (mut site, old, new) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    site.due();
    site.bring(&[&old]);
    assert_eq!(site.told(&old), "verified");
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!(site.due(), 0);
    assert_eq!(site.told(&new), "waits");
    assert_eq!(site.due(), 1);
    // Whoever comes meanwhile waits for the same fetch.
    assert_eq!(site.told(&new), "waits");
    assert_eq!(site.due(), 0);
    assert_eq!(site.bring(&[&new]), [KeyNoticeKind::Updated]);
    assert_eq!(site.told(&new), "verified");
    // It was remembered, for the set before.
    assert_eq!(site.told(&old), "unknown key");
}

/// Whoever looks for why tokens do not verify is told that keys went.
#[test]
fn keys_that_went_are_counted() {
    let (mut site, one, other) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    for (signers, withdrawn) in [(vec![&one], 0), (vec![&one, &other], 0), (vec![&other], 1), (vec![&one], 1)] {
        site.pass(RemoteKeySource::COOLDOWN.max(Duration::from_secs(3_600)));
        site.due();
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        let text = json!({ "keys": keys }).to_string().into_bytes();
        let notices = site.finished(Ok(Brought::Set { text, tag: None }));
        assert_eq!(notices.iter().map(|notice| notice.withdrawn).collect::<Vec<_>>(), [withdrawn]);
    }
}

#[test]
fn a_flood_of_unknown_keys_is_one_fetch_for_each_cooldown() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    site.bring(&[&known]);
    let mut fetches = 0;
    for number in 0..1_000 {
        site.pass(Duration::from_millis(50));
        let told = site.told(&Signer::ed25519(&format!("made-up-{number}")));
        assert!(["waits", "unknown key"].contains(&told), "{told}");
        assert_eq!(site.told(&known), "verified", "nobody else is the worse for it");
        if site.due() == 1 {
            fetches += 1;
            site.bring(&[&known]);
        }
    }
    // 50 s, a cooldown of 5 s.
    assert!((9..=10).contains(&fetches), "{fetches}");
}

#[test]
fn a_provider_that_is_down_leaves_its_keys_in_force_until_they_are_too_old() {
    let (mut site, known, other) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("k2"));
    site.due();
    site.bring(&[&known]);
    site.pass(RemoteKeySource::REFRESH * 2);
    assert_eq!(site.due(), 1);
    assert_eq!(site.fail(), [KeyNoticeKind::Failed]);
    assert_eq!(site.told(&known), "verified");
    // Whether there is such a key nobody can say now.
    assert_eq!(site.told(&other), "no keys");
    // It is tried again, and said once.
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!((site.due(), site.fail()), (1, Vec::new()));
    // 20 minutes and 5 seconds have passed of an hour.
    assert_eq!(site.pass(Duration::from_secs(2_394)), []);
    assert_eq!(site.told(&known), "verified");
    let notices = site.pass(SECOND);
    assert_eq!(notices.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [KeyNoticeKind::Stale]);
    assert!(notices[0].message.contains("corporate") && notices[0].message.contains("no whole answer"));
    assert_eq!(site.pass(SECOND), []);
    assert_eq!(site.told(&known), "waits", "it was remembered, and is not judged by that any more");
    assert_eq!((site.due(), site.fail()), (1, Vec::new()));
    assert_eq!(site.told(&known), "no keys");
    assert!(site.keeper.reports(site.wall())[0].is_missing);
    // It is back: within the cooldown, and nothing else is needed.
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!((site.due(), site.bring(&[&known])), (1, vec![KeyNoticeKind::Updated]));
    assert_eq!(site.told(&known), "verified");
}

#[test]
fn a_set_that_cannot_be_used_is_a_fetch_that_failed() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    site.bring(&[&known]);
    for text in ["", "<html></html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "\u{0}"] {
        site.pass(RemoteKeySource::REFRESH * 2);
        assert_eq!(site.due(), 1);
        let brought = Brought::Set { text: text.as_bytes().to_vec(), tag: None };
        assert_eq!(site.finish(Ok(brought)), [KeyNoticeKind::Failed], "{text}");
        assert_eq!(site.told(&known), "verified");
        // What brings the last good set again ends it.
        site.pass(RemoteKeySource::COOLDOWN);
        assert_eq!((site.due(), site.bring(&[&known])), (1, vec![KeyNoticeKind::Updated]));
    }
    site.pass(RemoteKeySource::REFRESH * 2);
    assert_eq!(site.due(), 1);
    assert_eq!(site.finish(Ok(Brought::Set { text: vec![0xff], tag: None })), [KeyNoticeKind::Failed]);
    assert!(site.keeper.reports(site.wall())[0].problem.as_ref().unwrap().contains("UTF-8"));
}

#[test]
fn what_is_the_same_is_said_by_nobody_and_keeps_tokens_remembered() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    site.bring(&[&known]);
    let generation = site.authenticator.remote_keys()[0].generation(site.wall());
    for _ in 0..3 {
        site.pass(RemoteKeySource::REFRESH * 2);
        assert_eq!((site.due(), site.bring(&[&known])), (1, Vec::new()));
        site.pass(RemoteKeySource::REFRESH * 2);
        assert_eq!((site.due(), site.finish(Ok(Brought::Same))), (1, Vec::new()));
    }
    assert_eq!(site.authenticator.remote_keys()[0].generation(site.wall()), generation);
    let report = site.keeper.reports(site.wall()).remove(0);
    assert_eq!((report.keys, report.fetches, report.failures, report.problem), (1, 7, 0, None));
    assert_eq!(report.confirmed, Some(site.wall()));
}

#[test]
fn a_reload_goes_on_with_the_keys_of_the_same_address_and_no_other() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    site.bring(&[&known]);
    let reload = |site: &mut Site, to: RemoteKeySource| {
        let mut next = authenticator(to);
        next.adopt(&site.authenticator);
        site.authenticator = next;
        site.keeper.watch(site.authenticator.remote_keys(), site.steady);
    };
    reload(&mut site, source("/a"));
    assert_eq!((site.told(&known), site.due()), ("verified", 0));
    // Other times for the same address, or other authorities: the keys go on, and are fetched anew.
    reload(&mut site, RemoteKeySource { refresh: SECOND, ..source("/a") });
    assert_eq!((site.told(&known), site.due()), ("verified", 1));
    site.bring(&[&known]);
    reload(&mut site, source("/b"));
    assert_eq!((site.told(&known), site.due()), ("waits", 1));
}

#[test]
fn a_fetch_for_a_configuration_that_is_gone_changes_nothing_and_keeps_nobody_waiting() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    let Authentication::Awaited { awaited: Awaited::Keys(mut awaited), .. } = site.ask(&known) else {
        panic!("it is known already")
    };
    assert_eq!(site.due(), 1);
    let keys = site.authenticator.remote_keys().remove(0);
    site.keeper.watch(Vec::new(), site.steady);
    let text = json!({ "keys": [known.jwk()] }).to_string().into_bytes();
    let outcome = KeyOutcome { keys: Arc::clone(&keys), result: Ok(Brought::Set { text, tag: None }) };
    assert_eq!(site.keeper.finish(outcome, site.wall(), site.steady), []);
    assert!(is_over(pin!(awaited.ended())));
    assert!(site.keeper.reports(site.wall()).is_empty());
}

#[test]
fn nothing_is_looked_at_before_something_is_due() {
    let mut site = Site::new();
    assert_eq!(site.keeper.sleep(site.wall(), site.steady), SHORTEST);
    site.due();
    site.bring(&[&Signer::ed25519("k1")]);
    // The end of the cooldown, then a minute, for the wall clock may be set.
    assert_eq!(site.keeper.sleep(site.wall(), site.steady), RemoteKeySource::COOLDOWN);
    site.pass(RemoteKeySource::COOLDOWN);
    assert_eq!(site.keeper.sleep(site.wall(), site.steady), LONGEST);
    assert_eq!(KeyKeeper::default().sleep(site.wall(), site.steady), LONGEST);
}

#[test]
fn what_was_confirmed_is_to_be_kept_once() {
    let (mut site, known) = (Site::new(), Signer::ed25519("k1"));
    site.due();
    assert_eq!(site.keeper.take_unsaved(), []);
    site.bring(&[&known]);
    let first = site.keeper.take_unsaved();
    assert_eq!((first.len(), first[0].confirmed), (1, START));
    assert_eq!(site.keeper.take_unsaved(), []);
    // That it still holds, too; and not that it could not be asked for.
    site.pass(RemoteKeySource::REFRESH * 2);
    site.due();
    site.fail();
    assert_eq!(site.keeper.take_unsaved(), []);
    site.pass(RemoteKeySource::COOLDOWN);
    site.due();
    site.finish(Ok(Brought::Same));
    let second = site.keeper.take_unsaved();
    assert_eq!((&second[0].text, second[0].confirmed), (&first[0].text, START + 1_205));
    // A process that begins later, while the provider is down.
    let mut next = Site::new();
    next.steady = Duration::from_secs(1_300);
    let notices = next.authenticator.restore_keys(&second, next.wall());
    assert_eq!(notices.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [KeyNoticeKind::Updated]);
    assert_eq!(next.told(&known), "verified");
    // Nothing of it is new.
    assert_eq!(next.keeper.take_unsaved(), []);
    assert_eq!((next.due(), next.fail()), (1, vec![KeyNoticeKind::Failed]));
    assert_eq!((next.told(&known), next.told(&Signer::ed25519("k2"))), ("verified", "no keys"));
    let notices = next.pass(Duration::from_secs(3_504));
    assert_eq!((notices, next.told(&known)), (vec![], "verified"));
    let notices = next.pass(SECOND);
    assert_eq!(notices.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [KeyNoticeKind::Stale]);
    assert_eq!((next.told(&known), next.due(), next.fail().len(), next.told(&known)), ("waits", 1, 0, "no keys"));
}

#[test]
fn a_key_that_is_left_out_is_unknown_and_has_nothing_fetched() {
    let (mut site, known, weak) = (Site::new(), Signer::ed25519("k1"), Signer::ed25519("weak"));
    site.due();
    let mut bad = weak.jwk();
    bad["x"] = json!("AAAA");
    let text = json!({ "keys": [known.jwk(), bad] }).to_string().into_bytes();
    assert_eq!(site.finish(Ok(Brought::Set { text, tag: None })), [KeyNoticeKind::Updated]);
    for _ in 0..3 {
        site.pass(RemoteKeySource::COOLDOWN);
        assert_eq!((site.told(&weak), site.due()), ("unknown key", 0));
    }
    assert_eq!(site.told(&known), "verified");
    // Whoever is in the set twice, once so that it can be used, is as good as any.
    site.pass(RemoteKeySource::REFRESH * 2);
    assert_eq!(site.due(), 1);
    let mut bad = weak.jwk();
    bad["x"] = json!("AAAA");
    let text = json!({ "keys": [known.jwk(), bad, weak.jwk()] }).to_string().into_bytes();
    site.finish(Ok(Brought::Set { text, tag: None }));
    assert_eq!(site.told(&weak), "verified");
}

#[test]
fn a_refresh_is_spread_by_a_tenth() {
    let all: Vec<Duration> = (0..200).map(|count| spread(Duration::from_secs(600), "corporate", count)).collect();
    assert!(all.iter().all(|each| (540..=660).contains(&each.as_secs())));
    assert!(all.iter().max() > all.iter().min());
}
