use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::remote::{KeyKeeper, KeyNoticeKind, restore};
use crate::settings::RemoteKeySource;
use crate::signer::Signer;

const START: i64 = 1_800_000_000;
const ISSUER: &str = "https://login.example";
const MAX_STALE_S: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn url(address: &str) -> KeyLocation {
    KeyLocation::Url(UrlSource::parse(address, Vec::new()).unwrap())
}

fn discovery(address: &str) -> KeyLocation {
    let document = UrlSource::parse(address, Vec::new()).unwrap();
    KeyLocation::Discovery { document, issuer: ISSUER.into(), allow_http: true }
}

fn keys(issuer: &str, location: KeyLocation) -> Arc<RemoteKeys> {
    let max_stale = Duration::from_secs(MAX_STALE_S.unsigned_abs());
    let source = RemoteKeySource { max_stale, ..RemoteKeySource::new(location) };
    Arc::new(RemoteKeys::new(&"corporate".into(), issuer, source))
}

fn usual() -> Arc<RemoteKeys> {
    keys(ISSUER, url("https://keys.example/a"))
}

fn set() -> Vec<u8> {
    json!({ "keys": [Signer::ed25519("k1").jwk(), Signer::p256("k2").jwk()] }).to_string().into_bytes()
}

/// As it would be kept, confirmed at that second.
fn saved(second: i64, text: &[u8]) -> SavedKeys {
    SavedKeys::new(usual().place, "corporate", START + second, text)
}

/// What became of it at that second, and how many keys serve then.
fn restored(keys: &Arc<RemoteKeys>, saved: &SavedKeys, second: i64) -> (Vec<KeyNoticeKind>, Option<usize>) {
    let notices = restore(std::slice::from_ref(keys), std::slice::from_ref(saved), at(second));
    let serving = keys.usable(at(second)).map(|held| held.set.len());
    (notices.into_iter().map(|notice| notice.kind).collect(), serving)
}

#[test]
fn what_was_kept_serves_as_long_as_it_would_have_without_the_restart() {
    for (second, expected) in [(0, Some(2)), (-60, Some(2)), (MAX_STALE_S - 1, Some(2)), (MAX_STALE_S, None)] {
        let keys = usual();
        let (notices, serving) = restored(&keys, &saved(0, &set()), second);
        assert_eq!(serving, expected, "at {second}");
        assert_eq!(notices, expected.map_or(vec![], |_| vec![KeyNoticeKind::Updated]), "at {second}");
        // What is too old is as if it was never there.
        assert_eq!(keys.keys_held(), expected.unwrap_or(0), "at {second}");
    }
    let (keys, kept) = (usual(), saved(0, &set()));
    restored(&keys, &kept, MAX_STALE_S - 1);
    assert!(keys.usable(at(MAX_STALE_S)).is_none());
    // And what it says when it is kept again is no younger.
    assert_eq!(keys.saved().unwrap(), kept);
}

#[test]
fn the_time_that_passes_counts_whatever_the_wall_clock_says() {
    let keys = usual();
    restored(&keys, &saved(0, &set()), 1_000);
    let mut keeper = KeyKeeper::default();
    keeper.watch(vec![Arc::clone(&keys)], Duration::ZERO);
    // It stands still, and 2,600 s are left.
    let mut tick = |second| keeper.tick(at(1_000), Duration::from_secs(second)).len();
    assert_eq!((tick(0), tick(2_599), keys.usable(at(1_000)).is_some()), (0, 0, true));
    assert_eq!((tick(2_600), keys.usable(at(1_000)).is_some()), (1, false));
}

#[test]
fn what_is_damaged_or_of_tomorrow_does_not_serve() {
    let text = set();
    let changed = |change: &dyn Fn(&mut SavedKeys)| {
        let mut saved = saved(0, &text);
        change(&mut saved);
        saved
    };
    let mut cases = vec![
        ("another time", changed(&|saved| saved.confirmed += 1)),
        ("another sum", changed(&|saved| saved.sum[31] ^= 1)),
        ("cut", changed(&|saved| saved.text.truncate(text.len() - 1))),
        ("tomorrow", saved(61, &text)),
        ("no time", saved(i64::MAX - START, &text)),
        ("no set", saved(0, b"{}")),
        ("no keys", saved(0, b"{\"keys\":[]}")),
        ("no text", saved(0, &[0xff])),
        ("too long", saved(0, &vec![b' '; MAX_SET_BYTES + 1])),
        ("a private key", saved(0, br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#)),
    ];
    // Each byte of the set.
    cases.extend((0..text.len()).map(|place| ("one bit", changed(&|saved| saved.text[place] ^= 1))));
    for (case, kept) in cases {
        let keys = usual();
        assert_eq!(restored(&keys, &kept, 0), (vec![KeyNoticeKind::Failed], None), "{case}");
        assert_eq!(keys.keys_held(), 0, "{case}");
    }
}

#[test]
fn no_other_issuer_or_address_gets_them() {
    let kept = saved(0, &set());
    for (issuer, location) in [
        ("https://login.example/", url("https://keys.example/a")),
        ("https://other.example", url("https://keys.example/a")),
        (ISSUER, url("https://keys.example/b")),
        (ISSUER, url("https://keys.example/a?b")),
        (ISSUER, url("https://keys.example:444/a")),
        (ISSUER, url("http://keys.example:443/a")),
        (ISSUER, url("https://other.example/a")),
        (ISSUER, discovery("https://keys.example/a")),
    ] {
        let other = keys(issuer, location.clone());
        assert_eq!(restored(&other, &kept, 0), (vec![], None), "{issuer} {location:?}");
        // Nor where the row itself says so.
        let forged = SavedKeys { place: other.place, ..kept.clone() };
        assert_eq!(restored(&other, &forged, 0), (vec![KeyNoticeKind::Failed], None), "{issuer} {location:?}");
    }
    // Another name or other times of the same are the same.
    let same = RemoteKeys::new(&"renamed".into(), ISSUER, RemoteKeySource::new(url("https://keys.example/a")));
    assert_eq!(restored(&Arc::new(same), &kept, 0), (vec![KeyNoticeKind::Updated], Some(2)));
}
