//! What an answered request counts as: the table of what charges, and of what never does.
//!
//! It looks at status and reason alone. Whom it is charged to is the engine's part.

use crate::{Blame, Observation};

/// What one observation counts as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Charge {
    /// It counts for nothing, neither good nor bad.
    Nothing,
    /// One more request without offence.
    Good,
    /// A refusal, of this weight where its path is new.
    Probing(f64),
    /// A credential that failed.
    Credentials,
}

impl Charge {
    pub(crate) fn of(observation: &Observation<'_>) -> Self {
        match observation.reason {
            Some(_) if observation.blame != Blame::Caller => Self::Nothing,
            Some(reason) => Self::of_refusal(reason, observation.status, observation.path),
            None => Self::of_answer(observation.status, observation.principal.is_some(), observation.path),
        }
    }

    /// A refusal of our own. Only the families named here charge: a reason that is not named, and any added later,
    /// charges nobody until somebody decides that it should.
    fn of_refusal(reason: &str, status: u16, path: &str) -> Self {
        if FAILED_CREDENTIALS.contains(&reason) {
            return Self::Credentials;
        }
        let family = reason.split_once('.').map_or(reason, |(family, _)| family);
        match family {
            "route" if status == 404 && is_asset(path) => Self::Probing(NOT_FOUND_ASSET),
            "rbac" | "risk" | "ip" | "route" | "request" => Self::Probing(weight(status).unwrap_or(1.0)),
            "limit" if reason == "limit.rate" => Self::Probing(weight(status).unwrap_or(0.5)),
            // authn.missing, .expired, .not_yet_valid, .unknown_key and .certificate_required happen to honest callers;
            // step_up.*, ban.*, dependency.*, policy.*, limit.* (but its rate), internal.* and upstream.* are our own doing.
            _ => Self::Nothing,
        }
    }

    /// An answer of the upstream. Its own errors (5xx) are not the caller's. Nor is much of what it does not find for somebody whom it
    /// knows: an application that was just replaced asks for many files that are gone.
    fn of_answer(status: u16, verified: bool, path: &str) -> Self {
        match status {
            500.. => Self::Nothing,
            404 if is_asset(path) => Self::Probing(NOT_FOUND_ASSET),
            404 if verified => Self::Probing(NOT_FOUND_FOR_A_PRINCIPAL),
            404 if is_object(path) => Self::Probing(NOT_FOUND_OBJECT),
            _ => weight(status).map_or(Self::Good, Self::Probing),
        }
    }
}

/// A credential was given, and what is wrong with it does not happen to a forgetful caller.
pub(crate) const FAILED_CREDENTIALS: [&str; 6] = [
    "authn.invalid",
    "authn.wrong_issuer",
    "authn.wrong_audience",
    "authn.revoked",
    "authn.ambiguous",
    "authn.certificate_invalid",
];

const NOT_FOUND_FOR_A_PRINCIPAL: f64 = 0.1;

/// One thing of many that an application keeps, and that is gone: its pages ask for a cover, an avatar or a thumbnail of each, whether there is one or not.
/// Who looks for what is there asks for names. Whoever goes through numbers comes to a third of the level as fast.
const NOT_FOUND_OBJECT: f64 = 0.2;

/// What a page is made of and a page that is still open asks for, long after an application was replaced by its next version.
const NOT_FOUND_ASSET: f64 = 0.05;

/// Whether a path is one of a style, a script, an image or a font, by its ending.
fn is_asset(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ASSETS.iter().any(|asset| asset.eq_ignore_ascii_case(ending)))
}

const ASSETS: [&str; 24] = [
    "css",
    "js",
    "mjs",
    "map",
    "wasm",
    "webmanifest",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "ico",
    "webp",
    "avif",
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    "mp3",
    "mp4",
    "webm",
    "ogg",
    "m4a",
];

/// Whether a path names one thing of many: a segment of it is a number, a UUID (RFC 9562) or a hash.
fn is_object(path: &str) -> bool {
    path.split('/').any(|segment| {
        let bytes = segment.as_bytes();
        let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        let is_hex = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
        is_number || bytes.len() >= HASH_BYTES_MIN && is_hex && bytes.iter().any(u8::is_ascii_digit)
    })
}

/// Half of an MD5 in hexadecimal digits: no word is as long.
const HASH_BYTES_MIN: usize = 16;

/// How much a status speaks of probing (risk.md 1.5); `None` for one that does not.
fn weight(status: u16) -> Option<f64> {
    match status {
        400 | 401 | 403 | 405 | 413 | 414 | 421 | 431 => Some(1.0),
        404 => Some(0.6),
        429 => Some(0.5),
        // A slow caller is rarely a hostile one.
        408 => Some(0.2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use portcullis_policy::ClientAddress;

    use super::*;

    fn charge(status: u16, reason: Option<&str>) -> Charge {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = ClientAddress::known(peer);
        let upstream = reason.is_none();
        Charge::of(&Observation {
            address,
            peer,
            principal: None,
            keys: crate::CallerKeys::default(),
            attempted: None,
            path: "/",
            told: crate::Told::default(),
            status,
            reason,
            upstream,
            blame: Blame::Caller,
            route: None,
        })
    }

    #[test]
    fn what_never_charges() {
        for (status, reason) in NEVER_CHARGED {
            assert_eq!(charge(status, Some(reason)), Charge::Nothing, "{reason}");
        }
        for status in 500..600 {
            assert_eq!(charge(status, None), Charge::Nothing, "{status}");
        }
    }

    #[test]
    fn what_charges_and_how_much() {
        let check = |status: u16, reason: Option<&str>, expected: Charge| assert_eq!(charge(status, reason), expected);
        for reason in FAILED_CREDENTIALS {
            check(401, Some(reason), Charge::Credentials);
        }
        check(403, Some("rbac.no_matching_grant"), Charge::Probing(1.0));
        check(403, Some("risk.too_high"), Charge::Probing(1.0));
        check(403, Some("ip.denied"), Charge::Probing(1.0));
        check(404, Some("route.not_found"), Charge::Probing(0.6));
        check(400, Some("request.malformed"), Charge::Probing(1.0));
        check(417, Some("request.malformed"), Charge::Probing(1.0));
        check(408, Some("request.timeout"), Charge::Probing(0.2));
        check(429, Some("limit.rate"), Charge::Probing(0.5));
        check(200, None, Charge::Good);
        check(304, None, Charge::Good);
        check(409, None, Charge::Good);
        check(401, None, Charge::Probing(1.0));
        check(404, None, Charge::Probing(0.6));
        check(429, None, Charge::Probing(0.5));
    }

    #[test]
    fn what_is_not_found_for_a_verified_principal_hardly_counts() {
        assert_eq!(Charge::of_answer(404, true, "/a"), Charge::Probing(0.1));
        assert_eq!(Charge::of_answer(403, true, "/a"), Charge::Probing(1.0));
        assert_eq!(Charge::of_answer(404, false, "/a"), Charge::Probing(0.6));
    }

    #[test]
    fn what_pages_are_made_of_hardly_counts_where_it_is_gone() {
        let check = |path: &str, expected: f64| {
            assert_eq!(Charge::of_answer(404, false, path), Charge::Probing(expected), "{path}");
            assert_eq!(Charge::of_refusal("route.not_found", 404, path), Charge::Probing(expected), "{path}");
            assert_eq!(Charge::of_answer(403, false, path), Charge::Probing(1.0), "{path}");
        };
        check("/assets/app.3f9c1e.js", 0.05);
        check("/assets/App.CSS", 0.05);
        check("/js", 0.6);
        check("/a.js/b", 0.6);
        check("/index.php", 0.6);
        check("/backup.zip", 0.6);
        check("/.git/config", 0.6);
        check("", 0.6);
    }

    #[test]
    fn what_an_application_keeps_many_of_counts_little_where_one_is_gone() {
        let check = |path: &str, expected: f64| {
            assert_eq!(Charge::of_answer(404, false, path), Charge::Probing(expected), "{path}");
            assert_eq!(Charge::of_refusal("route.not_found", 404, path), Charge::Probing(0.6), "{path}");
            assert_eq!(Charge::of_answer(403, false, path), Charge::Probing(1.0), "{path}");
            assert_eq!(Charge::of_answer(404, true, path), Charge::Probing(0.1), "{path}");
        };
        check("/Items/5203a7e70b667d2cfaee2cd2eb3de082/Images/Primary", 0.2);
        check("/api/assets/0b6d9f1e-58a5-4c7e-9d9c-0f7f8d3a1b2c/thumbnail", 0.2);
        check("/bookmark/460/favicon", 0.2);
        check("/orders/7", 0.2);
        check("/orders/7a", 0.6);
        check("/deadbeefdeadbeef", 0.6);
        check("/deadbeefdeadbee1", 0.2);
        check("/deadbeefdeadbe1", 0.6);
        check("/wp-login2/", 0.6);
        check("/v1/secrets", 0.6);
        check("/", 0.6);
        check("//", 0.6);
    }

    const NEVER_CHARGED: [(u16, &str); 17] = [
        (401, "authn.missing"),
        (401, "authn.expired"),
        (401, "authn.not_yet_valid"),
        (401, "authn.unknown_key"),
        (401, "authn.certificate_required"),
        (401, "step_up.required"),
        (403, "ban.active"),
        (503, "dependency.keys_unavailable"),
        (503, "dependency.directory_unavailable"),
        (503, "policy.unavailable"),
        (503, "limit.overload"),
        (503, "limit.concurrency"),
        (500, "internal.error"),
        (502, "upstream.unreachable"),
        (504, "upstream.timeout"),
        (403, "a reason of a later version"),
        (403, ""),
    ];
}
