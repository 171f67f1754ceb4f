//! Tokens that a form carries so that nobody but the page of this browser can send it.
//!
//! A token is a hash of the secret in one of the browser's cookies, for one purpose. Whoever makes a page elsewhere has neither; whoever reads a
//! token learns nothing of the cookie. Nothing is kept.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

/// The token of a form.
#[derive(Clone, PartialEq, Eq)]
pub struct FormToken(String);

impl FormToken {
    /// For forms with this purpose, from a browser whose cookie has this value.
    pub fn of(cookie: &str, purpose: &'static str) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [b"portcullis form\0", purpose.as_bytes(), b"\0", cookie.as_bytes()] {
            context.update(part);
        }
        Self(BASE64URL_NOPAD.encode(context.finish().as_ref()))
    }

    /// As the form has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for FormToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FormToken(…)")
    }
}

/// Whether a form with this token came from a page for the browser with this cookie, for this purpose. It takes the same time whatever
/// differs.
pub fn fits(sent: &str, cookie: &str, purpose: &'static str) -> bool {
    FormToken::of(cookie, purpose).as_str().as_bytes().ct_eq(sent.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_browser_and_one_purpose() {
        let token = FormToken::of("cookie", "logout");
        assert!(fits(token.as_str(), "cookie", "logout"));
        for (sent, cookie, purpose) in [
            ("", "cookie", "logout"),
            (token.as_str(), "cookie", "step-up"),
            (token.as_str(), "cookie2", "logout"),
            (token.as_str(), "", "logout"),
            (&token.as_str()[1..], "cookie", "logout"),
        ] {
            assert!(!fits(sent, cookie, purpose), "{sent} {cookie} {purpose}");
        }
        assert!(!format!("{token:?}").contains(token.as_str()));
    }
}
