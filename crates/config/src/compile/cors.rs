//! `cors` of a route: origins as browsers send them, and nothing that would let everybody read with somebody's credentials.

use http::{HeaderName, HeaderValue, Method};
use portcullis_policy::canonical_host;
use portcullis_proxy::route::{Cors, Origins};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file;
use crate::section::{Reader, shown};

/// What every site may use anyway (the Fetch standard's safelisted methods).
const METHODS: &str = "GET, HEAD, POST";

pub(crate) fn compile_cors(reader: &Reader<'_>, cors: &file::Cors) -> Option<Cors> {
    let origins = compile_origins(reader, cors)?;
    let words = |list: &[At<String>], what: &str, is_valid: fn(&str) -> bool| {
        for word in list {
            report_word(reader, word, what, cors.credentials.value, is_valid(&word.value));
        }
        join(list)
    };
    let methods = match &cors.methods {
        Some(list) => words(list, "a method", is_method)?,
        None => HeaderValue::from_static(METHODS),
    };
    Some(Cors {
        origins,
        methods,
        headers: words(&cors.headers, "the name of a header", is_header),
        expose: words(&cors.expose, "the name of a header", is_header),
        credentials: cors.credentials.value,
        max_age: HeaderValue::from(cors.max_age.as_secs()),
    })
}

/// `None` where nothing can be made of them; that was reported.
fn compile_origins(reader: &Reader<'_>, cors: &file::Cors) -> Option<Origins> {
    let list = &cors.origins.value;
    if let Some(star) = list.iter().find(|origin| origin.value == "*") {
        if cors.credentials.value {
            let message = "with `credentials`, `*` would let every site read what the caller may";
            let diagnostic = Diagnostic::error(codes::CONFLICT, star.span, message);
            reader.report(
                diagnostic.with_related(cors.credentials.span, "asked for here").with_help("list the origins that may"),
            );
        }
        if list.len() > 1 {
            let message = "`*` is every origin: others beside it mean nothing";
            reader.report(Diagnostic::error(codes::CONFLICT, star.span, message).with_help("write one or the other"));
        }
        return Some(Origins::Any);
    }
    let mut origins = Vec::with_capacity(list.len());
    for origin in list {
        match origin_problem(&origin.value) {
            Some((message, help)) => {
                let message = format!("`{}` {message}", shown(&origin.value));
                reader.report(Diagnostic::error(codes::BAD_VALUE, origin.span, message).with_help(help));
            }
            None => origins.extend(HeaderValue::from_str(&origin.value)),
        }
    }
    (!origins.is_empty()).then_some(Origins::Listed(origins))
}

/// Why no browser sends an origin so (the serialization of an origin, HTML standard section 7.1.1), and what to write.
fn origin_problem(origin: &str) -> Option<(&'static str, String)> {
    let form = || "write it as `https://app.example` or `http://localhost:3000`".to_owned();
    if origin == "null" {
        let help = "every page without an origin has it, also one of an attacker: give the page an origin";
        return Some(("is no origin that can be trusted", help.into()));
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return Some(("is no origin", form())) };
    let of_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(of_scheme) {
        return Some(("has no scheme in lower case", form()));
    }
    if authority.contains(['/', '?', '#']) {
        return Some(("has a path: an origin ends after the host and port", form()));
    }
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "\0",
    };
    if let Some(rest) = authority.strip_suffix(default_port) {
        return Some((
            "names the port that its scheme has anyway, which no browser does",
            format!("write `{scheme}://{rest}`"),
        ));
    }
    match canonical_host(authority) {
        None if authority.contains('*') => {
            Some(("has a star: origins are compared as they are written", "list each of them".into()))
        }
        None => Some(("names no host", form())),
        Some(host) if authority.strip_prefix(&*host).is_some_and(|port| port.is_empty() || is_port(port)) => None,
        Some(host) => Some(("is not as browsers write it", format!("write the host as `{host}`"))),
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| !port.starts_with('0') && port.parse::<u16>().is_ok())
}

fn report_word(reader: &Reader<'_>, word: &At<String>, what: &str, credentials: bool, is_valid: bool) {
    if word.value == "*" && credentials {
        let message = "with `credentials`, browsers take `*` for a name and not for all";
        reader.report(Diagnostic::error(codes::CONFLICT, word.span, message).with_help("list them"));
    } else if !is_valid {
        let message = format!("`{}` is not {what}", shown(&word.value));
        reader.report(Diagnostic::error(codes::BAD_VALUE, word.span, message));
    }
}

fn is_method(text: &str) -> bool {
    Method::from_bytes(text.as_bytes()).is_ok()
}

fn is_header(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// As one field; `None` for an empty list.
fn join(list: &[At<String>]) -> Option<HeaderValue> {
    let words: Vec<&str> = list.iter().map(|word| word.value.as_str()).collect();
    HeaderValue::from_str(&words.join(", ")).ok().filter(|value| !value.is_empty())
}
