//! One line of an access log in the combined format of Apache and nginx, or in the common format, which lacks the last two
//! fields. A name of a virtual host may stand in front.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::strtime;
use thiserror::Error;

/// One recorded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedRequest<'a> {
    /// When it was answered.
    pub time: Timestamp,
    /// Who asked.
    pub address: IpAddr,
    /// The user that the server had verified, where it says one.
    pub user: Option<&'a str>,
    /// The method as it was sent.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// The query without its question mark, where there was one.
    pub query: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// The referrer, where the format has it.
    pub referrer: Option<&'a str>,
    /// The user agent, where the format has it.
    pub user_agent: Option<&'a str>,
}

/// Why a line is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineError {
    /// Neither its first nor its second word is an address.
    #[error("no address at its beginning")]
    Address,
    /// No time in brackets.
    #[error("no time such as [17/May/2015:10:05:03 +0000]")]
    Time,
    /// No request in quotes.
    #[error("no request in quotes")]
    Request,
    /// No status of three digits after the request.
    #[error("no status after the request")]
    Status,
}

impl<'a> LoggedRequest<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// Says which part is missing.
    pub fn parse(line: &'a str) -> Result<Self, LineError> {
        let (address, rest) = address(line).ok_or(LineError::Address)?;
        let (before, rest) = rest.split_once('[').ok_or(LineError::Time)?;
        // The identity of RFC 1413, which nobody has, and the user.
        let user = before.split_whitespace().nth(1).filter(|user| *user != "-" && !user.is_empty());
        let (time, rest) = rest.split_once(']').ok_or(LineError::Time)?;
        let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
            .and_then(|time| time.to_timestamp())
            .map_err(|_| LineError::Time)?;
        let (request, rest) = quoted(rest).ok_or(LineError::Request)?;
        let mut words = request.split(' ').filter(|word| !word.is_empty());
        let (method, target) = match (words.next(), words.next()) {
            (Some(method), Some(target)) => (method, target),
            // What was no request, such as the first bytes of TLS, has its answer all the same.
            _ => ("-", request),
        };
        let status = rest.split_whitespace().next().and_then(|status| status.parse().ok()).ok_or(LineError::Status)?;
        let said = |text: &&str| !text.is_empty() && *text != "-";
        let (referrer, rest) = quoted(rest).unzip();
        let user_agent = rest.and_then(quoted).map(|(agent, _)| agent).filter(said);
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Ok(Self { time, address, user, method, path, query, status, referrer: referrer.filter(said), user_agent })
    }
}

/// The address, which is the first word or the second, and what follows it.
fn address(line: &str) -> Option<(IpAddr, &str)> {
    let (first, rest) = line.trim_start().split_once(' ')?;
    if let Ok(address) = first.parse() {
        return Some((address, rest));
    }
    let (second, rest) = rest.trim_start().split_once(' ')?;
    Some((second.parse().ok()?, rest))
}

/// What stands between the next two quotes, and what follows them. A quote behind a backslash is part of the text.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (_, text) = text.split_once('"')?;
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lines_as_servers_write_them() {
        let combined = r#"203.0.113.7 - alice [17/May/2015:10:05:03 +0200] "GET /a/b?x=%20 HTTP/1.1" 200 203023 "http://r/" "Mozilla/5.0 (\"X\")""#;
        let expected = LoggedRequest {
            time: time("2015-05-17T08:05:03Z"),
            address: [203, 0, 113, 7].into(),
            user: Some("alice"),
            method: "GET",
            path: "/a/b",
            query: Some("x=%20"),
            status: 200,
            referrer: Some("http://r/"),
            user_agent: Some(r#"Mozilla/5.0 (\"X\")"#),
        };
        assert_eq!(LoggedRequest::parse(combined), Ok(expected));
        let common = r#"2001:db8::1 - - [05/Mar/2021:09:01:38 +0000] "POST /login HTTP/1.0" 401 12"#;
        let expected = LoggedRequest {
            time: time("2021-03-05T09:01:38Z"),
            address: "2001:db8::1".parse().unwrap(),
            user: None,
            method: "POST",
            path: "/login",
            query: None,
            status: 401,
            referrer: None,
            user_agent: None,
        };
        assert_eq!(LoggedRequest::parse(common), Ok(expected));
        let with_host = format!("www.example.com {common}");
        assert_eq!(LoggedRequest::parse(&with_host), Ok(expected));
        let no_request = r#"203.0.113.7 - - [05/Mar/2021:09:01:38 +0000] "\x16\x03" 400 0 "-" "-""#;
        let parsed = LoggedRequest::parse(no_request).unwrap();
        assert_eq!((parsed.method, parsed.path, parsed.status, parsed.user_agent), ("-", r"\x16\x03", 400, None));
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |line: &str, expected: LineError| assert_eq!(LoggedRequest::parse(line), Err(expected), "{line}");
        check("", LineError::Address);
        check("hello world again", LineError::Address);
        check("203.0.113.7 - - GET", LineError::Time);
        check("203.0.113.7 - - [yesterday] \"GET / HTTP/1.1\" 200 0", LineError::Time);
        check("203.0.113.7 - - [05/Mar/2021:09:01:38 +0000] GET / 200", LineError::Request);
        check("203.0.113.7 - - [05/Mar/2021:09:01:38 +0000] \"GET /\" many 0", LineError::Status);
    }
}
