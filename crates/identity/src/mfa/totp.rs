//! One-time codes by the time: TOTP (RFC 6238) over HOTP (RFC 4226), as authenticator apps have them: HMAC-SHA-1, six digits, thirty seconds.
//!
//! SHA-1 is what the apps speak, and its weakness (collisions) is none of HMAC's. A code counts in its own step of thirty seconds and in the one before and
//! after it, since clocks differ; and each step counts once, which is whoever keeps the last one.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

/// How long a step lasts, in seconds.
pub const STEP_S: i64 = 30;
/// How many digits a code has.
pub const DIGITS: usize = 6;
/// RFC 4226 section 4, R6: 160 bits.
const SECRET_BYTES: usize = 20;
/// How many steps a clock may be off, either way.
const WINDOW: i64 = 1;

/// What an authenticator and the gateway share.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Box<[u8]>);

impl TotpSecret {
    /// A new one; `None` where the system gives no random bytes.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes).ok()?;
        Some(Self(Box::from(bytes)))
    }

    /// One that was kept: 16 to 64 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (16..=64).contains(&bytes.len()).then(|| Self(Box::from(bytes)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As an app takes it where there is no camera.
    pub fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// The address that an app reads from a picture (Key Uri Format). Names are escaped, colons too, which end the issuer.
    pub fn uri(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let secret = self.base32();
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
        )
    }

    /// The step that a code belongs to, if it is one of now and of a step after `last`, the last one that counted.
    pub fn matched(&self, code: &str, now_s: i64, last: Option<i64>) -> Option<i64> {
        let code = Code::parse(code)?;
        let now = now_s.div_euclid(STEP_S);
        // All are computed, whichever fits: how long it takes tells nothing.
        let mut matched = None;
        for step in now - WINDOW..=now + WINDOW {
            let is_it: bool = self.code(step).ct_eq(&code.0).into();
            if is_it && last.is_none_or(|last| step > last) {
                matched = Some(step);
            }
        }
        matched
    }

    /// The code of a step, as an app shows it.
    #[cfg(test)]
    pub(crate) fn code_of(&self, step: i64) -> String {
        self.code(step).iter().map(|digit| char::from(*digit)).collect()
    }

    /// The digits of a step.
    fn code(&self, step: i64) -> [u8; DIGITS] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        digits(hmac::sign(&key, &step.to_be_bytes()).as_ref())
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TotpSecret(…)")
    }
}

/// RFC 4226 section 5.3: dynamic truncation.
fn digits(mac: &[u8]) -> [u8; DIGITS] {
    let offset = usize::from(mac.last().copied().unwrap_or_default() & 0xf);
    let bytes = mac.get(offset..offset + 4).unwrap_or_default();
    let mut number = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    digits
}

/// What somebody typed: six digits, in groups if they like.
struct Code([u8; DIGITS]);

impl Code {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > 3 * DIGITS {
            return None;
        }
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b' ').collect();
        let digits: [u8; DIGITS] = digits.try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }
}

/// RFC 3986 section 2.1: everything but what is never reserved.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_4226() {
        // Appendix D.
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in (0..).zip(expected) {
            assert_eq!(std::str::from_utf8(&secret().code(step)).unwrap(), code, "{step}");
        }
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1; of its eight digits the last six.
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().matched(code, time, None), Some(time / 30), "{time}");
        }
    }

    #[test]
    fn a_code_counts_in_its_step_and_in_the_ones_beside_it() {
        // 050471 is of step 37037037, which begins at 1111111110.
        let (code, step) = ("050471", 37_037_037);
        let check = |now: i64, expected| assert_eq!(secret().matched(code, now, None), expected, "{now}");
        check(step * 30 - 31, None);
        check(step * 30 - 30, Some(step));
        check(step * 30 + 59, Some(step));
        check(step * 30 + 60, None);
    }

    #[test]
    fn a_step_counts_once() {
        let step = 37_037_037;
        let matched = |last| secret().matched("050471", step * 30, last);
        assert_eq!(matched(Some(step - 1)), Some(step));
        assert_eq!(matched(Some(step)), None, "it was used");
        assert_eq!(matched(Some(step + 1)), None, "one after it was used");
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in ["", "05047", "0504711", "05047a", "+50471", "０５０４７１", "050-471", &"0".repeat(100)] {
            assert_eq!(secret().matched(text, 1_111_111_111, None), None, "{text}");
        }
        for text in ["050 471", " 050471 ", "05 04 71"] {
            assert_eq!(secret().matched(text, 1_111_111_111, None), Some(37_037_037), "{text}");
        }
    }

    #[test]
    fn an_app_reads_names_as_they_are() {
        let uri = secret().uri("Ex & Co: internal", "user:zoë@example.com");
        let expected = "otpauth://totp/Ex%20%26%20Co%3A%20internal:user%3Azo%C3%AB%40example.com\
                        ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Ex%20%26%20Co%3A%20internal\
                        &algorithm=SHA1&digits=6&period=30";
        assert_eq!(uri, expected);
        assert!(!format!("{:?}", secret()).contains("GEZD"));
        assert_ne!(TotpSecret::random(), TotpSecret::random());
    }
}
