//! A password as it is stored: Argon2id (RFC 9106), in the string format that all tools for it write.
//!
//! What is weaker than 19 MiB, two passes and one lane is refused when a file is read, and so is what would cost more than the gateway wants to
//! spend on one attempt. Only the numbers and the two byte strings are kept, so that two hashes are equal exactly where they say the same.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use data_encoding::BASE64_NOPAD;
use subtle::ConstantTimeEq;

/// The memory of a new hash, and the least of any, in KiB.
pub const LEAST_MEMORY_KIB: u32 = 19 * 1024;
/// The passes of a new hash, and the least of any.
pub const LEAST_PASSES: u32 = 2;
/// The most memory that one attempt may cost, in KiB.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
/// A new password has at least so many characters.
pub const LEAST_CHARACTERS: usize = 10;
/// A password is no longer, in bytes.
pub const MOST_BYTES: usize = 1024;

const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
const MOST_BYTES_EACH: usize = 64;
/// The longest text that is looked at.
const MOST_TEXT: usize = 512;

/// The Argon2id hash of one password, with its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Box<[u8]>,
    output: Box<[u8]>,
}

/// Why a text is no hash that is accepted, or why there is none of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    /// It is not `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`.
    #[error("it is not of the form $argon2id$v=19$m=…,t=…,p=…$SALT$HASH")]
    Malformed,
    /// It is easier to guess than is accepted.
    #[error("it is too weak: at least m={LEAST_MEMORY_KIB},t={LEAST_PASSES},p=1, 16 bytes of salt and 32 of hash")]
    TooWeak,
    /// One attempt would cost too much.
    #[error("one attempt would cost too much: at most m={MOST_MEMORY_KIB},t={MOST_PASSES},p={MOST_LANES}")]
    TooCostly,
    /// The password has too few characters.
    #[error("a password has at least {LEAST_CHARACTERS} characters")]
    TooShort,
    /// The password is too long, or has a control character.
    #[error("a password has at most {MOST_BYTES} bytes and no control character")]
    Unusable,
    /// There are no random bytes, or not enough memory.
    #[error("no random bytes, or not enough memory")]
    NoResources,
}

impl PasswordHash {
    /// The hash of a new password, with a salt of its own. It takes some tens of milliseconds.
    ///
    /// # Errors
    /// A password that is too short or unusable; no random bytes.
    pub fn of(password: &str) -> Result<Self, PasswordHashError> {
        if password.chars().count() < LEAST_CHARACTERS {
            return Err(PasswordHashError::TooShort);
        }
        if !is_password(password) {
            return Err(PasswordHashError::Unusable);
        }
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| PasswordHashError::NoResources)?;
        let mut hash = Self {
            memory_kib: LEAST_MEMORY_KIB,
            passes: LEAST_PASSES,
            lanes: LANES,
            salt: Box::from(salt),
            output: Box::from([0; OUTPUT_BYTES]),
        };
        hash.output = hash.computed(password.as_bytes()).ok_or(PasswordHashError::NoResources)?;
        Ok(hash)
    }

    /// Reads a hash as it stands in a file.
    ///
    /// # Errors
    /// Another form, another algorithm, and costs out of bounds.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        use PasswordHashError::{Malformed, TooCostly, TooWeak};
        if text.len() > MOST_TEXT {
            return Err(Malformed);
        }
        let rest = text.strip_prefix("$argon2id$v=19$").ok_or(Malformed)?;
        let [costs, salt, output] = parts(rest, '$').ok_or(Malformed)?;
        let [memory, passes, lanes] = parts(costs, ',').ok_or(Malformed)?;
        let memory_kib = number(memory, "m=").ok_or(Malformed)?;
        let passes = number(passes, "t=").ok_or(Malformed)?;
        let lanes = number(lanes, "p=").ok_or(Malformed)?;
        let bytes = |text: &str| BASE64_NOPAD.decode(text.as_bytes()).map(Vec::into_boxed_slice).map_err(|_| Malformed);
        let hash = Self { memory_kib, passes, lanes, salt: bytes(salt)?, output: bytes(output)? };
        if lanes == 0 || hash.salt.len() > MOST_BYTES_EACH || hash.output.len() > MOST_BYTES_EACH {
            return Err(Malformed);
        }
        let is_weak = memory_kib < LEAST_MEMORY_KIB || passes < LEAST_PASSES;
        if is_weak || hash.salt.len() < SALT_BYTES || hash.output.len() < OUTPUT_BYTES {
            return Err(TooWeak);
        }
        if memory_kib > MOST_MEMORY_KIB || passes > MOST_PASSES || lanes > MOST_LANES {
            return Err(TooCostly);
        }
        Ok(hash)
    }

    /// A hash that no password has, as costly as this one: what unknown names are held against.
    pub(crate) fn decoy(&self) -> Self {
        Self { salt: Box::from([0; SALT_BYTES]), ..self.clone() }
    }

    /// The decoy where there is nothing to be as costly as.
    pub(crate) fn any_decoy() -> Self {
        Self {
            memory_kib: LEAST_MEMORY_KIB,
            passes: LEAST_PASSES,
            lanes: LANES,
            salt: Box::from([0; SALT_BYTES]),
            output: Box::from([0; OUTPUT_BYTES]),
        }
    }

    /// What one attempt costs, for comparing: bytes that are written.
    pub(crate) fn cost(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Whether it is the hash of this password; `None` where there is not enough memory to say. Compared in constant time.
    pub fn is_of(&self, password: &str) -> Option<bool> {
        Some(self.computed(password.as_bytes())?.ct_eq(&self.output).into())
    }

    fn computed(&self, password: &[u8]) -> Option<Box<[u8]>> {
        let mut output = vec![0; self.output.len()].into_boxed_slice();
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(output.len())).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password, &self.salt, &mut output).ok()?;
        Some(output)
    }
}

/// Whether text may be a password at all: 1 to 1,024 bytes without a control character.
pub(crate) fn is_password(text: &str) -> bool {
    (1..=MOST_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, passes, lanes, salt, output } = self;
        let (salt, output) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(output));
        write!(out, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, passes, lanes, .. } = self;
        write!(out, "PasswordHash(m={memory_kib},t={passes},p={lanes}, …)")
    }
}

fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.try_into().ok()
}

/// One spelling: digits without a leading zero.
fn number(text: &str, name: &str) -> Option<u32> {
    let digits = text.strip_prefix(name)?;
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_canonical { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'correct horse' | argon2 0123456789abcdef -id -t 2 -k 19456 -p 1 -l 32 -e`, checked against Python's argon2-cffi too.
    const WEAKEST: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$";

    fn with(costs: &str) -> String {
        let salt = BASE64_NOPAD.encode(&[1; 16]);
        let output = BASE64_NOPAD.encode(&[2; 32]);
        format!("$argon2id$v=19${costs}${salt}${output}")
    }

    #[test]
    fn a_password_has_the_hash_that_was_made_of_it_and_no_other_has() {
        let hash = PasswordHash::of("correct horse").unwrap();
        let read = PasswordHash::parse(&hash.to_string()).unwrap();
        assert_eq!(read, hash);
        assert_eq!(read.is_of("correct horse"), Some(true));
        for wrong in ["correct hors", "correct horse ", "Correct horse", ""] {
            assert_eq!(read.is_of(wrong), Some(false), "{wrong}");
        }
        assert_ne!(PasswordHash::of("correct horse").unwrap(), hash, "each has a salt of its own");
        assert_eq!(read.decoy().is_of("correct horse"), Some(false));
        assert!(!format!("{hash:?}").contains(&BASE64_NOPAD.encode(&hash.salt)));
    }

    #[test]
    fn it_is_the_argon2id_of_rfc_9106() {
        // Section 5.3 of the RFC, whose costs no file may have; so it is put together by hand. It has a secret and associated data, which
        // stored passwords have not: the crate's own tests hold those. Here: the same as an independent implementation says.
        let hash = PasswordHash {
            memory_kib: 65_536,
            passes: 2,
            lanes: 1,
            salt: Box::from(*b"somesalt"),
            output: Box::from([0; 32]),
        };
        // From the reference implementation's `src/test.c`: version 0x13, Argon2id, "password", "somesalt".
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(data_encoding::HEXLOWER.encode(&hash.computed(b"password").unwrap()), expected);
    }

    #[test]
    fn what_is_weaker_or_costlier_than_agreed_is_refused() {
        use PasswordHashError::{Malformed, TooCostly, TooWeak};
        let check = |text: &str, expected| assert_eq!(PasswordHash::parse(text).err(), expected, "{text}");
        check(&with("m=19456,t=2,p=1"), None);
        check(&with("m=262144,t=16,p=16"), None);
        check(&with("m=19455,t=2,p=1"), Some(TooWeak));
        check(&with("m=65536,t=1,p=1"), Some(TooWeak));
        check(&with("m=262145,t=2,p=1"), Some(TooCostly));
        check(&with("m=19456,t=17,p=1"), Some(TooCostly));
        check(&with("m=19456,t=2,p=17"), Some(TooCostly));
        check(&with("m=19456,t=2,p=0"), Some(Malformed));
        check(&with("m=019456,t=2,p=1"), Some(Malformed));
        check(&with("m=+19456,t=2,p=1"), Some(Malformed));
        check(&with("t=2,m=19456,p=1"), Some(Malformed));
        check(&with("m=19456,t=2,p=1").replace("argon2id", "argon2i"), Some(Malformed));
        check(&with("m=19456,t=2,p=1").replace("v=19", "v=16"), Some(Malformed));
        check(&(with("m=19456,t=2,p=1") + "="), Some(Malformed));
        check(&(with("m=19456,t=2,p=1") + "$"), Some(Malformed));
        check(&format!("{WEAKEST}{}", BASE64_NOPAD.encode(&[0; 31])), Some(TooWeak));
        check(&format!("{WEAKEST}{}", BASE64_NOPAD.encode(&[0; 65])), Some(Malformed));
        for text in ["", "$", "secret password", "$2b$12$abcdefghijklmnopqrstuv", &"$".repeat(10_000)] {
            check(text, Some(Malformed));
        }
    }

    #[test]
    fn a_new_password_is_long_enough_and_can_be_typed() {
        let check = |password: &str, expected| assert_eq!(PasswordHash::of(password).err(), expected, "{password:?}");
        check("äöüäöüäöüä", None);
        check("äöüäöüäöü", Some(PasswordHashError::TooShort));
        check("", Some(PasswordHashError::TooShort));
        check("a\u{7}bcdefghij", Some(PasswordHashError::Unusable));
        check(&"x".repeat(1_025), Some(PasswordHashError::Unusable));
    }
}
