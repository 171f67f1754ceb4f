//! Text that must never reach a log (a token, an API key), and the hash that stands for it.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;

/// A secret. `Debug` hides it and there is no `Display`; whoever wants the text has to write [`SecretText::expose`].
#[derive(Clone)]
pub struct SecretText<'a>(Cow<'a, str>);

impl<'a> SecretText<'a> {
    /// Marks text as secret.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretText(…)")
    }
}

/// SHA-256 (FIPS 180-4). For secrets of full entropy alone: it would not protect a password.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::{SecretText, sha256};

    #[test]
    fn sha256_is_that_of_the_standard() {
        // FIPS 180-4, the example "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(HEXLOWER.encode(&sha256(b"abc")), expected);
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let secret = SecretText::new("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
