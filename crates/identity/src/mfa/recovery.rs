//! Recovery codes: ten codes for who has lost the other factors, each good once.
//!
//! A code has 50 random bits. What is kept are hashes, which are sealed like every other secret of a factor: who has the store and not its key has
//! nothing to guess at.

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

use crate::secret::sha256;

/// How many there are.
pub const CODES: usize = 10;
const CODE_CHARACTERS: usize = 10;
const HASH_BYTES: usize = 32;

/// The codes of one principal, as hashes: one for each code that is left.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RecoveryCodes(Vec<[u8; HASH_BYTES]>);

impl RecoveryCodes {
    /// New codes, and what is shown of them, this once. `None` where the system gives no random bytes.
    pub(crate) fn random() -> Option<(Self, Vec<String>)> {
        let (mut hashes, mut shown) = (Vec::with_capacity(CODES), Vec::with_capacity(CODES));
        for _ in 0..CODES {
            let mut bytes = [0; 10];
            rand::fill(&mut bytes).ok()?;
            // Five bits of each character count; the rest of what was drawn is not used.
            let code: String = BASE32_NOPAD.encode(&bytes).chars().take(CODE_CHARACTERS).collect();
            let code = code.to_ascii_lowercase();
            hashes.push(hash(&code));
            let (first, second) = code.split_at_checked(CODE_CHARACTERS / 2)?;
            shown.push(format!("{first}-{second}"));
        }
        Some((Self(hashes), shown))
    }

    /// Those that were kept.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hashes, []) = bytes.as_chunks::<HASH_BYTES>() else { return None };
        (hashes.len() <= CODES).then(|| Self(hashes.to_vec()))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// The codes without this one; `None` where it is none of them. All are looked at, so that how long it takes tells nothing.
    pub(crate) fn without(&self, typed: &str) -> Option<Self> {
        let hash = hash(&canonical(typed)?);
        let mut place = None;
        for (index, kept) in self.0.iter().enumerate() {
            if kept.ct_eq(&hash).into() {
                place = Some(index);
            }
        }
        let mut rest = self.clone();
        rest.0.remove(place?);
        Some(rest)
    }
}

/// A code as it is typed: groups and case do not matter. `None` where it cannot be one.
fn canonical(typed: &str) -> Option<String> {
    if typed.len() > 4 * CODE_CHARACTERS {
        return None;
    }
    let code: String = typed.chars().filter(|each| !matches!(each, '-' | ' ')).collect::<String>().to_ascii_lowercase();
    let is_code = code.len() == CODE_CHARACTERS
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte));
    is_code.then_some(code)
}

/// Whether this is typed as a recovery code and not as another one.
pub(crate) fn looks_like_one(typed: &str) -> bool {
    canonical(typed).is_some()
}

fn hash(code: &str) -> [u8; HASH_BYTES] {
    sha256(&[b"portcullis recovery code\0".as_slice(), code.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_good_once() {
        let (codes, shown) = RecoveryCodes::random().unwrap();
        assert_eq!((codes.left(), shown.len()), (10, 10));
        let mut left = codes;
        for (used, code) in shown.iter().enumerate() {
            assert_eq!(left.left(), 10 - used);
            left = left.without(code).unwrap();
            assert!(left.without(code).is_none(), "{code} is used");
        }
        assert_eq!(left.left(), 0);
    }

    #[test]
    fn it_is_read_as_people_type_it() {
        let (codes, shown) = RecoveryCodes::random().unwrap();
        let code = &shown[3];
        for typed in
            [code.clone(), code.to_uppercase(), code.replace('-', ""), code.replace('-', " "), format!(" {code} ")]
        {
            assert!(codes.without(&typed).is_some(), "{typed}");
        }
        for typed in ["", "aaaaa-aaaaa", "123456", &code[1..], &format!("{code}a"), &"a".repeat(10_000)] {
            assert!(codes.without(typed).is_none(), "{typed}");
        }
        assert!(looks_like_one(code) && !looks_like_one("123456") && !looks_like_one("123 456"));
    }

    #[test]
    fn they_are_kept_as_hashes() {
        let (codes, shown) = RecoveryCodes::random().unwrap();
        let kept = codes.to_bytes();
        assert!(RecoveryCodes::from_bytes(&kept).is_some_and(|read| read == codes));
        let text = shown[0].replace('-', "");
        assert!(!kept.windows(text.len()).any(|window| window == text.as_bytes()));
        assert!(RecoveryCodes::from_bytes(&kept[1..]).is_none());
        assert!(RecoveryCodes::from_bytes(&[0; 11 * 32]).is_none());
        assert_eq!(RecoveryCodes::from_bytes(&[]).unwrap().left(), 0);
    }
}
