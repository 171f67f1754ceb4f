//! W3C Trace Context (the recommendation of 2021-11-23): the trace that a request belongs to, and the gateway's span in it.
//!
//! A valid `traceparent` is continued: the upstream is told the same trace with the gateway's span as its parent. A malformed
//! one is dropped together with its `tracestate`, as section 3.2.2 and 3.3 demand, so that no upstream reads it another way.
//! The gateway's span is made of the request's id, so that the event and the upstream name the same one without keeping it.
//! What a caller says about sampling is passed on and decides nothing here.

use std::collections::HashSet;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// `[forwarding] trace`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceMode {
    /// What came passes on untouched.
    Off,
    /// What came is continued.
    #[default]
    Continue,
    /// What came is continued; where nothing valid came, a trace is begun, sampled.
    Begin,
}

/// A trace and how it is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// 32 hexadecimal digits, not all zero.
    id: [u8; 32],
    /// The caller's span; none in a trace that begins here.
    parent: Option<[u8; 16]>,
    /// The caller wants it recorded (section 3.2.2.5.1).
    sampled: bool,
}

impl Trace {
    /// The trace that a request belongs to, if it names one and only one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::of_value(value),
            _ => None,
        }
    }

    /// The one that a field names.
    pub(crate) fn of_value(value: &HeaderValue) -> Option<Self> {
        Self::parse(value.as_bytes())
    }

    /// The same, or in [`TraceMode::Begin`] the one that is begun for it.
    pub(crate) fn of_or_begun(headers: &HeaderMap, mode: TraceMode, request: Uuid) -> Option<Self> {
        Self::of(headers).or_else(|| (mode == TraceMode::Begin).then(|| Self::begun(request)))
    }

    /// One of the request's own: its id is the request's, whose lower half nobody can guess.
    pub(crate) fn begun(request: Uuid) -> Self {
        let mut id = [b'0'; 32];
        request.simple().encode_lower(&mut id);
        Self { id, parent: None, sampled: true }
    }

    /// Section 3.2.2: version, trace, parent, flags. A higher version is read by the rules of this one (section 3.2.4).
    fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(5, |byte| *byte == b'-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_more = parts.next().is_some();
        let is_id = |id: &[u8]| is_hex(id) && id.iter().any(|byte| *byte != b'0');
        let valid = version.len() == 2
            && is_hex(version)
            && version != b"ff"
            && !(version == b"00" && is_more)
            && is_id(id)
            && parent.len() == 16
            && is_id(parent)
            && flags.len() == 2
            && is_hex(flags);
        if !valid {
            return None;
        }
        let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
        Some(Self { id: id.try_into().ok()?, parent: parent.try_into().ok(), sampled: flags & SAMPLED != 0 })
    }

    /// The trace's id.
    pub(crate) fn id(&self) -> String {
        String::from_utf8_lossy(&self.id).into_owned()
    }

    /// The trace's id as a number, for whoever samples by it.
    pub(crate) fn number(&self) -> Option<Uuid> {
        Uuid::try_parse_ascii(&self.id).ok()
    }

    /// The caller's span.
    pub(crate) fn parent(&self) -> Option<String> {
        self.parent.map(|parent| String::from_utf8_lossy(&parent).into_owned())
    }

    /// What the upstream is told: the gateway's span is its parent.
    fn traceparent(&self, request: Uuid) -> Option<HeaderValue> {
        let mut text = Vec::with_capacity(55);
        text.extend_from_slice(b"00-");
        text.extend_from_slice(&self.id);
        text.push(b'-');
        text.extend_from_slice(span(request).as_bytes());
        text.extend_from_slice(if self.sampled { b"-01" } else { b"-00" });
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

/// The gateway's span of a request: 16 hexadecimal digits, of the part of its id that is chance and never zero.
pub(crate) fn span(request: Uuid) -> String {
    format!("{:016x}", request.as_u64_pair().1)
}

/// Makes the fields of a request fit for the upstream.
pub(crate) fn propagate(headers: &mut HeaderMap, mode: TraceMode, request: Uuid) {
    if mode == TraceMode::Off {
        return;
    }
    let came = Trace::of(headers);
    // Without a parent the state belongs to nothing (section 3.3).
    if headers.contains_key(TRACESTATE) && (came.is_none() || !has_valid_state(headers)) {
        headers.remove(TRACESTATE);
    }
    let begun = (came.is_none() && mode == TraceMode::Begin).then(|| Trace::begun(request));
    match came.or(begun).and_then(|trace| trace.traceparent(request)) {
        Some(traceparent) => {
            headers.insert(TRACEPARENT, traceparent);
        }
        None => {
            headers.remove(TRACEPARENT);
        }
    }
}

/// Section 3.3.1: at most 32 members, each key once. Several lines are one list.
fn has_valid_state(headers: &HeaderMap) -> bool {
    let mut keys = HashSet::new();
    for line in headers.get_all(TRACESTATE) {
        // Empty members are allowed.
        for member in
            line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|each| !each.is_empty())
        {
            let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
            let (key, value) = member.split_at(at);
            let valid = is_state_key(key) && is_state_value(value.get(1..).unwrap_or_default());
            if !valid || keys.len() == MAX_STATE_MEMBERS || !keys.insert(key) {
                return false;
            }
        }
    }
    true
}

/// Section 3.3.1.3.1: a name, or a tenant at a system.
fn is_state_key(key: &[u8]) -> bool {
    let is_rest = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte);
    let is_name = |name: &[u8], first_may_be_digit: bool, longest: usize| {
        let begins =
            name.first().is_some_and(|byte| byte.is_ascii_lowercase() || (first_may_be_digit && byte.is_ascii_digit()));
        begins && name.len() <= longest && name.iter().all(is_rest)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => is_name(key, false, 256),
        Some(at) => {
            let (tenant, system) = key.split_at(at);
            is_name(tenant, true, 241) && is_name(system.get(1..).unwrap_or_default(), false, 14)
        }
    }
}

/// Section 3.3.1.3.2: up to 256 visible characters and spaces, no comma and no equals sign. White space around a member was
/// taken off before.
fn is_state_value(value: &[u8]) -> bool {
    let fits = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    !value.is_empty() && value.len() <= 256 && value.iter().all(fits)
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
}

/// The flag of section 3.2.2.5.1.
const SAMPLED: u8 = 1;
/// The list members of `tracestate`.
const MAX_STATE_MEMBERS: usize = 32;
/// Section 3.2.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Section 3.3.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const REQUEST: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8123_4567_89ab_cdef);

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
            headers
        })
    }

    #[test]
    fn only_a_valid_traceparent_names_a_trace() {
        let check = |text: &str, sampled: Option<bool>| {
            let trace = Trace::parse(text.as_bytes());
            assert_eq!(
                trace.map(|trace| (trace.id(), trace.sampled)),
                sampled.map(|sampled| (ID.to_owned(), sampled)),
                "{text}"
            );
        };
        check(&format!("00-{ID}-00f067aa0ba902b7-01"), Some(true));
        check(&format!("00-{ID}-00f067aa0ba902b7-00"), Some(false));
        check(&format!("00-{ID}-00f067aa0ba902b7-03"), Some(true));
        check(&format!("01-{ID}-00f067aa0ba902b7-01"), Some(true));
        check(&format!("cc-{ID}-00f067aa0ba902b7-01-what-the-future-holds"), Some(true));
        for bad in [
            format!("00-{ID}-00f067aa0ba902b7-01-more"),
            format!("cc-{ID}-00f067aa0ba902b7-01.more"),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("0-{ID}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{ID}-00f067aa0ba902b7"),
            format!("00-{ID}-00f067aa0ba902b7-1"),
            format!("00-{ID}-00f067aa0ba902b7-0x"),
            format!("00-{ID}0-00f067aa0ba902b7-01"),
            format!(" 00-{ID}-00f067aa0ba902b7-01"),
            String::new(),
            "garbage".into(),
        ] {
            check(&bad, None);
        }
    }

    #[test]
    fn a_trace_is_continued_with_the_gateways_span_and_a_malformed_one_is_dropped() {
        let parent = format!("00-{ID}-00f067aa0ba902b7-01");
        let continued = format!("00-{ID}-8123456789abcdef-01");
        let begun = "00-01970000000070008123456789abcdef-8123456789abcdef-01";
        let check = |mode: TraceMode, came: &[(&str, &str)], expected: &[(&str, &str)]| {
            let mut headers = map(came);
            propagate(&mut headers, mode, REQUEST);
            assert_eq!(headers, map(expected), "{mode:?} {came:?}");
        };
        let (came, state) =
            (("traceparent", parent.as_str()), ("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"));
        let (goes, bad) = (("traceparent", continued.as_str()), ("traceparent", "00-xyz"));
        for mode in [TraceMode::Continue, TraceMode::Begin] {
            check(mode, &[came, state], &[goes, state]);
            check(mode, &[came, state, ("tracestate", "third=1")], &[goes, state, ("tracestate", "third=1")]);
            check(mode, &[came, ("tracestate", "a=b=c")], &[goes]);
        }
        check(TraceMode::Continue, &[bad, state], &[]);
        check(TraceMode::Continue, &[came, came, state], &[]);
        check(TraceMode::Continue, &[state], &[]);
        check(TraceMode::Continue, &[], &[]);
        check(TraceMode::Begin, &[], &[("traceparent", begun)]);
        check(TraceMode::Begin, &[bad, state], &[("traceparent", begun)]);
        check(TraceMode::Off, &[bad, state], &[bad, state]);
        assert_eq!(span(REQUEST), "8123456789abcdef");
    }

    #[test]
    fn a_state_is_valid_as_a_whole() {
        let check = |state: &str, valid: bool| {
            assert_eq!(has_valid_state(&map(&[("tracestate", state)])), valid, "{state}");
        };
        let members = |count: usize| (0..count).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        for valid in ["a=b", "a=b, c=d", "", "a=b,,c=d", "1tenant@sys=x", "a_-*/0=!~ x", "a=b\t,c=d"] {
            check(valid, true);
        }
        for invalid in
            ["a", "=b", "a=", "A=b", "1a=b", "a=b,a=c", "a b=c", "a=b=c", "t@=x", "@s=x", "t@1s=x", "t@s@u=x"]
        {
            check(invalid, false);
        }
        check(&members(32), true);
        check(&members(33), false);
        check(&format!("{}=v", "k".repeat(256)), true);
        check(&format!("{}=v", "k".repeat(257)), false);
        check(&format!("k={}", "v".repeat(256)), true);
        check(&format!("k={}", "v".repeat(257)), false);
    }
}
