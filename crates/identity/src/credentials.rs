//! Finds the one credential of a request in its headers.
//!
//! It takes at most one. Two of any kind are refused rather than ranked, since whoever is behind the gateway might rank
//! them the other way round. It verifies nothing.

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};
use portcullis_policy::CredentialProblemKind;

use crate::jws::MAX_TOKEN_BYTES;
use crate::password::{MOST_BYTES, MOST_NAME_BYTES, is_password, is_user_name};
use crate::refusal::Refusal;
use crate::secret::SecretText;
use crate::session::{CookieKind, cookie_name};

/// Schemes whose name may be told to the operator (the IANA registry of HTTP authentication schemes, and a few common
/// words). Any other first word might be a secret that was sent without a scheme.
const KNOWN_SCHEMES: [&str; 12] =
    ["Basic", "Bearer", "Concealed", "Digest", "DPoP", "GNAP", "HOBA", "Mutual", "Negotiate", "NTLM", "OAuth", "Token"];

/// The longest name and password in base64, and somewhat more.
const MAX_BASIC_BYTES: usize = (MOST_NAME_BYTES + 1 + MOST_BYTES).div_ceil(3) * 4;

/// Carries the proof that goes with a token which is bound to a key (RFC 9449 section 4.1). It is no credential by itself.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The scheme that a token is presented under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750 section 2.1: whoever has it may use it.
    Bearer,
    /// RFC 9449 section 7.1: whoever proves to hold its key may.
    Dpop,
}

/// Where credentials may stand.
#[derive(Debug)]
pub(crate) struct CredentialSources {
    headers: Vec<(Source, HeaderName)>,
    /// Some provider verifies tokens.
    tokens: bool,
    /// Some provider has users with passwords.
    passwords: bool,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Authorization,
    /// The header of the API-key provider at this place in the settings.
    ApiKey(usize),
    /// The cookie of this name.
    Session(&'static str),
}

/// The credential of a request. Not verified.
#[derive(Debug)]
pub(crate) enum Presented<'h> {
    Token {
        scheme: Scheme,
        token: SecretText<'h>,
    },
    Basic {
        name: Box<str>,
        password: SecretText<'static>,
    },
    ApiKey {
        provider: usize,
        key: SecretText<'h>,
    },
    /// The id of a session.
    Session(SecretText<'h>),
}

impl CredentialSources {
    /// `Authorization` counts only where some provider verifies what it carries; elsewhere it is not the gateway's. Nor is a session's cookie
    /// where nobody can log in.
    pub(crate) fn new(
        tokens: bool,
        passwords: bool,
        api_key_headers: impl IntoIterator<Item = HeaderName>,
        cookies: SessionCookies,
    ) -> Self {
        let keys = api_key_headers.into_iter().enumerate().map(|(place, header)| (Source::ApiKey(place), header));
        let cookies = cookies.names().map(|name| (Source::Session(name), COOKIE));
        let authorization = (tokens || passwords).then_some((Source::Authorization, AUTHORIZATION));
        Self { headers: authorization.into_iter().chain(keys).chain(cookies).collect(), tokens, passwords }
    }

    /// Whether some provider verifies tokens.
    pub(crate) fn reads_tokens(&self) -> bool {
        self.tokens
    }

    /// Whether some provider has users with passwords.
    pub(crate) fn reads_passwords(&self) -> bool {
        self.passwords
    }

    /// The first header that carries a credential, where there is one.
    pub(crate) fn carrier(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        let carries = |(source, name): &&(Source, HeaderName)| values(*source, name, headers).next().is_some();
        self.headers.iter().find(carries).map(|(_, name)| name)
    }

    /// The one credential, `None` where there is none.
    pub(crate) fn extract<'h>(&self, headers: &'h HeaderMap) -> Result<Option<Presented<'h>>, Refusal> {
        let mut found: Option<(Source, &HeaderName, &[u8])> = None;
        for (source, name) in &self.headers {
            for value in values(*source, name, headers) {
                if let Some((_, first, _)) = found {
                    return Err(ambiguous(first, name));
                }
                found = Some((*source, name, value));
            }
        }
        let Some((source, name, value)) = found else {
            return Ok(None);
        };
        // An unreadable credential is a bad one, never a missing one: an optional route would let it pass as anonymous.
        let text =
            visible(value).ok_or_else(|| Refusal::invalid(format!("the header `{name}` is not visible ASCII")))?;
        match source {
            Source::Session(_) => Ok(Some(Presented::Session(SecretText::new(text)))),
            Source::Authorization => self.authorization(text).map(Some),
            Source::ApiKey(provider) => Ok(Some(Presented::ApiKey { provider, key: SecretText::new(text) })),
        }
    }
}

/// In which cookies a session counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionCookies {
    /// In none.
    None,
    /// In that which browsers send over TLS alone.
    Secure,
    /// In that of plain text, too.
    Any,
}

impl SessionCookies {
    /// Their names.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let secure = (self != Self::None).then(|| cookie_name(CookieKind::Session, true));
        let plain = (self == Self::Any).then(|| cookie_name(CookieKind::Session, false));
        secure.into_iter().chain(plain)
    }
}

/// What stands in a source, each value.
fn values<'h>(source: Source, name: &HeaderName, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
    let (whole, cookie) = match source {
        Source::Authorization | Source::ApiKey(_) => (Some(headers.get_all(name)), None),
        Source::Session(cookie) => (None, Some(crate::session::values(headers, cookie))),
    };
    let whole = whole.into_iter().flat_map(|all| all.into_iter().map(http::HeaderValue::as_bytes));
    whole.chain(cookie.into_iter().flatten())
}

/// As text, where it is nothing but visible ASCII, spaces and tabs.
fn visible(value: &[u8]) -> Option<&str> {
    // Each byte is looked at, also behind one that is not: so sixteen are at once, and a token has hundreds.
    let others = value.iter().fold(0, |others: u8, byte| others | u8::from(!matches!(byte, b'\t' | b' '..=b'~')));
    std::str::from_utf8(value).ok().filter(|_| others == 0)
}

impl CredentialSources {
    /// RFC 9110 section 11.4: the scheme, in any case, one or more spaces, and what it says.
    fn authorization<'h>(&self, text: &'h str) -> Result<Presented<'h>, Refusal> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_start_matches(' ');
        match name {
            name if self.tokens && name.eq_ignore_ascii_case("Bearer") => token(Scheme::Bearer, rest),
            name if self.tokens && name.eq_ignore_ascii_case("DPoP") => token(Scheme::Dpop, rest),
            name if self.passwords && name.eq_ignore_ascii_case("Basic") => basic(rest),
            other => {
                let known = KNOWN_SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(other));
                let name = known.unwrap_or("of the `authorization` header");
                Err(Refusal::invalid(format!("the scheme {name} is not accepted here")))
            }
        }
    }
}

/// RFC 7617 section 2: a name, a colon and a password, in base64. They are UTF-8, whatever the client was told.
fn basic(text: &str) -> Result<Presented<'static>, Refusal> {
    let malformed = || Refusal::invalid("the Basic credential is not a name, a colon and a password in base64");
    if text.len() > MAX_BASIC_BYTES {
        return Err(malformed());
    }
    let decoded = BASE64.decode(text.as_bytes()).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (name, password) = decoded.split_once(':').ok_or_else(malformed)?;
    if !is_user_name(name) || !is_password(password) {
        return Err(malformed());
    }
    Ok(Presented::Basic { name: Box::from(name), password: SecretText::new(password.to_owned()) })
}

fn token(scheme: Scheme, token: &str) -> Result<Presented<'_>, Refusal> {
    if token.is_empty() {
        return Err(Refusal::invalid("the token is empty"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::invalid(format!("the token is longer than {MAX_TOKEN_BYTES} bytes")));
    }
    Ok(Presented::Token { scheme, token: SecretText::new(token) })
}

fn ambiguous(first: &HeaderName, second: &HeaderName) -> Refusal {
    let detail = if first == second && *first == COOKIE {
        "two cookies of a session".to_owned()
    } else if first == second {
        format!("two `{first}` headers")
    } else {
        format!("credentials in both `{first}` and `{second}`")
    };
    Refusal::new(CredentialProblemKind::Ambiguous, detail)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use portcullis_policy::CredentialProblemKind as Kind;

    use super::{CredentialSources, Presented, Scheme, SessionCookies};

    /// What is found, written as `none`, `bearer T`, `key N T` or the refusal's kind and detail.
    fn extract(bearer: bool, lines: &[(&'static str, &[u8])]) -> String {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()))
            .collect();
        let keys = ["x-api-key", "x-other-key"].map(HeaderName::from_static);
        let sources = CredentialSources::new(bearer, false, keys, SessionCookies::Secure);
        match sources.extract(&headers) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Presented::Token { scheme: Scheme::Bearer, token })) => format!("bearer {}", token.expose()),
            Ok(Some(Presented::Token { scheme: Scheme::Dpop, token })) => format!("dpop {}", token.expose()),
            Ok(Some(Presented::ApiKey { provider, key })) => format!("key {provider} {}", key.expose()),
            Ok(Some(Presented::Basic { name, password })) => format!("basic {name} {}", password.expose()),
            Ok(Some(Presented::Session(id))) => format!("session {}", id.expose()),
            Err(refusal) => format!("{:?}: {}", refusal.kind, refusal.detail),
        }
    }

    #[test]
    fn one_credential_is_found() {
        let check = |lines: &[(&'static str, &[u8])], expected: &str| assert_eq!(extract(true, lines), expected);
        check(&[], "none");
        check(&[("cookie", b"session=1"), ("x-api-keys", b"k")], "none");
        check(&[("authorization", b"Bearer abc")], "bearer abc");
        check(&[("authorization", b"bEARER   abc")], "bearer abc");
        check(&[("authorization", b"DPoP abc")], "dpop abc");
        check(&[("authorization", b"dpop  abc"), ("dpop", b"x"), ("dpop", b"y")], "dpop abc");
        check(&[("dpop", b"abc")], "none");
        check(&[("x-api-key", b"abc")], "key 0 abc");
        check(&[("x-other-key", b"abc")], "key 1 abc");
        check(&[("x-api-key", b"")], "key 0 ");
        check(&[("cookie", b"a=b; __Host-portcullis-session=id; c=d")], "session id");
        check(&[("cookie", b"a=b"), ("cookie", b"__Host-portcullis-session=")], "session ");
        // That of plain text is none where it does not count, and that of a login under way never is.
        check(&[("cookie", b"portcullis-session=id; __Host-portcullis-login=x")], "none");
        let longest = "x".repeat(16 * 1024);
        check(&[("authorization", format!("Bearer {longest}").as_bytes())], &format!("bearer {longest}"));
    }

    #[test]
    fn what_is_no_single_readable_credential_is_refused() {
        let too_long = format!("Bearer {}", "x".repeat(16 * 1024 + 1));
        for (lines, expected) in [
            (&[("authorization", &b"Bearer"[..])][..], "Invalid: the token is empty"),
            (&[("authorization", b"Bearer ")], "Invalid: the token is empty"),
            (&[("authorization", b"")], "Invalid: the scheme of the `authorization` header is not accepted here"),
            (&[("authorization", b"basic dXNlcjpwYXNz")], "Invalid: the scheme Basic is not accepted here"),
            (&[("authorization", b"Bearertoken")], "Invalid: the scheme of the"),
            (&[("authorization", b"Bearer\ttoken")], "Invalid: the scheme of the"),
            (&[("authorization", b" Bearer token")], "Invalid: the scheme of the"),
            (&[("authorization", b"Bearer \xff\xfe")], "Invalid: the header `authorization` is not visible ASCII"),
            (&[("authorization", "Bearer tökén".as_bytes())], "Invalid: the header `authorization` is not"),
            (&[("x-api-key", b"\xff")], "Invalid: the header `x-api-key` is not visible ASCII"),
            (&[("authorization", too_long.as_bytes())], "Invalid: the token is longer than 16384 bytes"),
            (&[("authorization", b"Bearer a"), ("authorization", b"Bearer a")], "Ambiguous: two `authorization`"),
            (&[("authorization", b"Bearer a"), ("authorization", b"")], "Ambiguous: two `authorization`"),
            (&[("x-api-key", b"a"), ("x-api-key", b"a")], "Ambiguous: two `x-api-key` headers"),
            (&[("x-api-key", b"a"), ("x-other-key", b"b")], "Ambiguous: credentials in both"),
            (&[("authorization", b"Bearer a"), ("x-api-key", b"b")], "Ambiguous: credentials in both"),
            (&[("authorization", b"Basic a"), ("x-api-key", b"\xff")], "Ambiguous: credentials in both"),
            (
                &[("authorization", b"Bearer a"), ("cookie", b"__Host-portcullis-session=a")],
                "Ambiguous: credentials in",
            ),
            (&[("x-api-key", b"a"), ("cookie", b"b=c; __Host-portcullis-session=")], "Ambiguous: credentials in both"),
            (
                &[("cookie", b"__Host-portcullis-session=a; __Host-portcullis-session=a")],
                "Ambiguous: two cookies of a session",
            ),
            (
                &[("cookie", b"__Host-portcullis-session=a"), ("cookie", b"__Host-portcullis-session=b")],
                "Ambiguous: two",
            ),
            (&[("cookie", b"__Host-portcullis-session=\xff")], "Invalid: the header `cookie` is not visible ASCII"),
        ] {
            let found = extract(true, lines);
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_name_and_a_password_are_read_as_rfc_7617_has_them() {
        let check = |tokens: bool, value: &str, expected: &str| {
            let sources = CredentialSources::new(tokens, true, [], SessionCookies::None);
            let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            let found = match sources.extract(&headers) {
                Ok(Some(Presented::Basic { name, password })) => format!("{name}|{}", password.expose()),
                Ok(other) => format!("{other:?}"),
                Err(refusal) => refusal.detail,
            };
            assert!(found.starts_with(expected), "{value}: {found}");
        };
        let basic = |text: &[u8]| format!("Basic {}", data_encoding::BASE64.encode(text));
        // The examples of sections 2 and 2.1.
        check(true, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin|open sesame");
        check(false, "bASIC   dGVzdDoxMjPCow==", "test|123£");
        check(false, &basic(b"a:b:c"), "a|b:c");
        check(false, &basic(format!("{}:{}", "n".repeat(128), "p".repeat(1024)).as_bytes()), "nnn");
        let malformed = "the Basic credential is not";
        for bad in [&b""[..], b"alice", b":secret", b"alice:", b"a\0:b", b"a:b\n", b"a:\xff", b" a:b", b"a,b:c"] {
            check(false, &basic(bad), malformed);
        }
        check(false, &basic(format!("{}:x", "n".repeat(129)).as_bytes()), malformed);
        check(false, &basic(format!("n:{}", "p".repeat(1025)).as_bytes()), malformed);
        check(false, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", malformed);
        check(false, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==", malformed);
        check(false, "Basic", malformed);
        check(false, "Bearer abc", "the scheme Bearer is not accepted here");
        check(true, "Digest abc", "the scheme Digest is not accepted here");
    }

    #[test]
    fn without_a_token_provider_authorization_is_not_ours() {
        assert_eq!(extract(false, &[("authorization", b"Basic dXNlcjpwYXNz")]), "none");
        assert_eq!(extract(false, &[("authorization", b"Bearer a"), ("x-api-key", b"b")]), "key 0 b");
    }

    #[test]
    fn a_secret_sent_as_a_scheme_is_not_repeated() {
        for value in ["pcl_ci_secret_00000000", "hunter2 x", "hunter2"] {
            let found = extract(true, &[("authorization", value.as_bytes())]);
            assert!(found.starts_with(&format!("{:?}", Kind::Invalid)) && !found.contains("secret"), "{found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
}
