//! How long it takes to know who calls. `cargo bench -p portcullis-identity --bench credential` prints nanoseconds a request: nobody, a token that is
//! remembered, and new tokens, which are verified, of each algorithm. The figures of docs/performance.md are of the release build.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark stops at a broken expectation, and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use portcullis_identity::remote::Patience;
use portcullis_identity::settings::{Bound, ClaimNames, JwtProvider, KeySource, Settings, TokenTypes};
use portcullis_identity::{Authentication, Authenticator, Identity, Presenting, SeenToken};
use portcullis_policy::PrincipalKind;
use portcullis_testkit::tokens::{Claims, SigningKey, jwks};

const ISSUER: &str = "https://login.example";
/// So many different tokens, each asked for once in a round; far more than are remembered.
const TOKENS: usize = 2_000;
const ROUNDS: usize = 5;

fn authenticator(keys: &[&SigningKey], remembered: usize) -> Authenticator {
    let provider = JwtProvider {
        name: "bench".into(),
        issuer: ISSUER.to_owned(),
        audiences: vec!["gateway".to_owned()],
        keys: KeySource::Text(jwks(keys).into()),
        claims: ClaimNames::default(),
        principal: PrincipalKind::User,
        prefix: String::new(),
        trust_groups: Vec::new(),
        leeway: Duration::ZERO,
        require: Bound::Unbound,
        types: TokenTypes::Access,
    };
    Authenticator::new(Settings { jwt: vec![provider], token_cache_entries: remembered, ..Settings::default() })
        .unwrap()
}

fn headers(token: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example"));
    headers.insert("user-agent", HeaderValue::from_static("curl/8.5.0"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    }
    headers
}

/// Nanoseconds for each of these requests, the best of some rounds.
fn measure(what: &str, authenticator: &Authenticator, requests: &[HeaderMap], is_known: bool) -> f64 {
    let presenting = Presenting::nothing(Patience::Request);
    measure_with(what, authenticator, requests, is_known, &presenting)
}

fn measure_with(
    what: &str,
    authenticator: &Authenticator,
    requests: &[HeaderMap],
    is_known: bool,
    presenting: &Presenting<'_>,
) -> f64 {
    let now = Timestamp::now();
    let round = || {
        let began = Instant::now();
        for headers in requests {
            match authenticator.authenticate_with(black_box(headers), now, presenting) {
                Authentication::Known(Identity::Verified(principal)) if is_known => drop(black_box(principal)),
                Authentication::Known(Identity::Anonymous) if !is_known => {}
                other => panic!("{what}: {other:?}"),
            }
        }
        began.elapsed()
    };
    let _ = round();
    let best = (0..ROUNDS).map(|_| round()).min().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand requests")]
    let each = best.as_nanos() as f64 / requests.len() as f64;
    println!("{what}: {each:.0} ns");
    each
}

fn main() {
    let signers = [SigningKey::rs256("rs"), SigningKey::es256("es"), SigningKey::ed25519("ed")];
    let all: Vec<&SigningKey> = signers.iter().collect();
    let claims = |number: usize| Claims::new(ISSUER, "gateway", "u-1234567").set("jti", number.to_string());
    let remembering = authenticator(&all, TOKENS * 2);
    let nobody = vec![headers(None); TOKENS];
    let without = measure("no token", &remembering, &nobody, false);
    let warm = vec![headers(Some(&all[0].token(&claims(0)))); TOKENS];
    let with = measure("a token that is remembered", &remembering, &warm, true);
    println!("a token that is remembered costs {:.0} ns more than none", with - without);
    let seen = SeenToken::default();
    let presenting = Presenting { seen: Some(&seen), ..Presenting::nothing(Patience::Request) };
    let with = measure_with("one that came last over the connection, too", &remembering, &warm, true, &presenting);
    println!("one that came last over the connection, too, costs {:.0} ns more than none", with - without);
    // One is remembered, so that each of the others was forgotten when it comes again.
    let forgetting = authenticator(&all, 1);
    for signer in &all {
        let tokens: Vec<HeaderMap> = (0..TOKENS).map(|number| headers(Some(&signer.token(&claims(number))))).collect();
        measure(&format!("a new token, {}", signer.algorithm()), &forgetting, &tokens, true);
    }
}
