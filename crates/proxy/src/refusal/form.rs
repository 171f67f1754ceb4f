//! In which form a caller wants to be told: a problem for a program, a page for a person, a status for gRPC.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// The form of an answer that the gateway gives itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `application/problem+json` (RFC 9457).
    #[default]
    Problem,
    /// `text/html`, for whoever prefers it.
    Html,
    /// A status of gRPC, in the content type that the caller's library expects.
    Grpc(&'static str),
}

impl Form {
    /// What the caller of a request with these headers wants. When in doubt it is a program.
    pub fn wanted(headers: &HeaderMap) -> Self {
        if let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|value| grpc_type(value.as_bytes())) {
            return Self::Grpc(content_type);
        }
        let ranges = || {
            let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            lines.flat_map(|line| line.split(',')).filter_map(Range::parse)
        };
        let html = preference(ranges(), "text", "html");
        let problem = preference(ranges(), "application", "problem+json");
        let json = preference(ranges(), "application", "json");
        // Where both are as welcome, who names one rather than a star means it.
        if html.quality > 0 && html > problem.max(json) { Self::Html } else { Self::Problem }
    }
}

/// The content type of an answer to a gRPC request, or `None` for another request.
fn grpc_type(value: &[u8]) -> Option<&'static str> {
    let of = |prefix: &str| {
        let (start, rest) = value.split_at_checked(prefix.len())?;
        let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        (start.eq_ignore_ascii_case(prefix.as_bytes()) && ends).then_some(())
    };
    [
        ("application/grpc", "application/grpc"),
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
    ]
    .into_iter()
    .find_map(|(prefix, answer)| of(prefix).map(|()| answer))
}

/// How welcome a media type is: its quality in thousandths, then how exactly it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Preference {
    quality: u16,
    precision: u8,
}

/// A media range with its quality (RFC 9110 section 12.5.1).
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range, or has a quality that is none.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(Self { kind, subtype, quality: quality.map_or(Some(1_000), thousandths)? })
    }

    /// How exactly it names a type; `None` where it does not.
    fn precision(&self, kind: &str, subtype: &str) -> Option<u8> {
        if self.kind == "*" && self.subtype == "*" {
            Some(0)
        } else if !self.kind.eq_ignore_ascii_case(kind) {
            None
        } else if self.subtype == "*" {
            Some(1)
        } else {
            self.subtype.eq_ignore_ascii_case(subtype).then_some(2)
        }
    }
}

/// The most exact range counts, whatever the others say.
fn preference<'a>(ranges: impl Iterator<Item = Range<'a>>, kind: &str, subtype: &str) -> Preference {
    let of = |range: Range<'_>| range.precision(kind, subtype).map(|precision| (precision, range.quality));
    let best = ranges.filter_map(of).max();
    best.map_or_else(Preference::default, |(precision, quality)| Preference { quality, precision })
}

/// RFC 9110 section 12.4.2: `0` to `1` with at most three digits behind the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (value <= 1_000).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_is_for_who_prefers_one() {
        let check = |accept: &[&'static str], expected: Form| {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(Form::wanted(&headers), expected, "{accept:?}");
        };
        let (html, problem) = (
            |accept: &'static str| check(&[accept], Form::Html),
            |accept: &'static str| check(&[accept], Form::Problem),
        );
        // As browsers send it.
        html("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8");
        html("text/html");
        html("TEXT/HTML; charset=utf-8");
        html("text/*");
        html("text/html, */*");
        html("text/html;q=0.5, application/json;q=0.4");
        html("application/json;q=0, text/html;q=0.001");
        html("text/html;q=1.000");
        html("*/*;q=0.1, text/html;q=0.2");
        problem("*/*");
        problem("application/json");
        problem("application/problem+json, text/html");
        problem("application/json, text/html");
        problem("text/html;q=0.4, application/json;q=0.5");
        problem("text/html;q=0.4, */*;q=0.5");
        problem("text/html;q=0");
        problem("text/html;q=0, */*");
        problem("image/png");
        problem("text/plain");
        problem("");
        // What is no quality makes no range.
        for quality in ["2", "1.001", "0.0001", "-1", "a", "", "0,5", "1e0", " 1"] {
            let header = HeaderValue::from_str(&format!("text/html;q={quality}")).unwrap();
            let headers: HeaderMap = [(ACCEPT, header)].into_iter().collect();
            assert_eq!(Form::wanted(&headers), Form::Problem, "{quality}");
        }
        check(&[], Form::Problem);
        check(&["application/json;q=0.1", "text/html"], Form::Html);
    }

    #[test]
    fn grpc_is_told_in_its_own_way_whatever_it_accepts() {
        let check = |content_type: &'static str, expected: Option<&'static str>| {
            let fields = [(CONTENT_TYPE, content_type), (ACCEPT, "text/html")];
            let headers: HeaderMap =
                fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
            assert_eq!(Form::wanted(&headers), expected.map_or(Form::Html, Form::Grpc), "{content_type}");
        };
        check("application/grpc", Some("application/grpc"));
        check("application/grpc+proto", Some("application/grpc"));
        check("Application/gRPC; x=y", Some("application/grpc"));
        check("application/grpc-web+proto", Some("application/grpc-web"));
        check("application/grpc-web-text", Some("application/grpc-web-text"));
        check("application/grpcx", None);
        check("application/json", None);
        check("", None);
    }
}
