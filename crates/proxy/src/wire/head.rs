//! Reads the head of a request by the letter of RFC 9112, and says what it is or why it is refused.
//!
//! It changes nothing and forwards nothing: the gate hands the very bytes that passed to hyper, so that what was judged
//! is what is parsed. It does not judge paths (the `normalize` layer does) or fields that only the policy cares for.

use std::ops::Range;

use memchr::memchr;

use super::authority::Authority;
use super::fields::Fields;
use super::framing::BodyFraming;
use super::grammar::is_tchar;
use super::refusal::{HeadRefusal, HeadRefusalKind, Problem, user_agent_among};
use super::request_line::{
    AbsoluteTarget, HttpVersion, RequestLine, TargetForm, max_request_line_bytes, parse_request_line,
};

/// The bounds of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLimits {
    /// Field lines.
    pub max_header_fields: usize,
    /// Bytes of the whole head, line ends included.
    pub max_header_bytes: usize,
    /// Bytes of one field line, without its line end.
    pub max_field_bytes: usize,
    /// Bytes of the target.
    pub max_uri_bytes: usize,
}

/// What `HeadScanner::scan` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// The head goes on behind these bytes.
    Incomplete,
    /// The first `head_len` bytes are a head that may pass.
    Complete {
        /// Bytes up to and with the empty line.
        head_len: usize,
        /// What it says.
        facts: HeadFacts,
    },
    /// The head is refused; what follows it must not be read as a request.
    Refused(HeadRefusal),
}

/// What a head that passed says. Ranges are places in the head's bytes, and inside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFacts {
    /// The method: a token of at most 32 bytes.
    pub method: Range<usize>,
    /// The target as sent, without a fragment.
    pub target: Range<usize>,
    /// How the target is written.
    pub form: TargetForm,
    /// The version.
    pub version: HttpVersion,
    /// How the body's end is found.
    pub framing: BodyFraming,
    /// Whether the client permits another request on the connection.
    pub keep_alive: bool,
    /// Whether an upgrade was properly asked for: HTTP/1.1, `Connection: upgrade`, and at least one protocol.
    pub upgrade_requested: bool,
    /// The protocols in `Upgrade`, in lower case, at most 8, also where no upgrade was properly asked for. `h2c` is
    /// among them where it was sent.
    pub upgrade: Vec<String>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The one value of Host, exactly as sent: a valid host and maybe a port.
    pub host: Range<usize>,
}

/// Reads one head as its bytes arrive, each byte once.
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    empty_lines: u8,
    /// Bytes that were searched for a line end.
    searched: usize,
    /// Where the line that is not complete begins.
    line_start: usize,
    /// The field lines that were found good.
    good_fields: Range<usize>,
    request_line: Option<RequestLine>,
    fields: Fields,
}

/// Empty lines that are skipped before a request line. RFC 9112 §2.2 asks for one: some clients sent one after a body.
const MAX_EMPTY_LINES: u8 = 2;

/// The first byte of a TLS record that carries a ClientHello (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads a head that is there as a whole: how many bytes of empty lines come before it, and what it is.
#[must_use]
pub fn scan(bytes: &[u8], limits: &HeadLimits) -> (usize, Scan) {
    let mut scanner = HeadScanner::default();
    let skipped = scanner.skip_empty_lines(bytes);
    (skipped, scanner.scan(bytes.get(skipped..).unwrap_or_default(), limits))
}

impl HeadScanner {
    /// How many bytes of empty lines stand before the request line. They belong to no head: the caller drops them and
    /// leaves them out when it calls `scan`. At most two lines in all; further ones are for `scan` to refuse.
    pub fn skip_empty_lines(&mut self, bytes: &[u8]) -> usize {
        let mut skipped = 0;
        // Once a byte of the request line was seen, an empty line is the end of a head.
        while self.searched == 0
            && self.empty_lines < MAX_EMPTY_LINES
            && bytes.get(skipped..).is_some_and(|rest| rest.starts_with(b"\r\n"))
        {
            self.empty_lines += 1;
            skipped += 2;
        }
        skipped
    }

    /// Reads on. `head` is the head from its first byte, each time with what arrived since at its end; the result for
    /// given bytes does not depend on how they were cut.
    pub fn scan(&mut self, head: &[u8], limits: &HeadLimits) -> Scan {
        match self.scan_lines(head, limits) {
            Ok(None) => Scan::Incomplete,
            Ok(Some((head_len, facts))) => Scan::Complete { head_len, facts },
            Err(problem) => Scan::Refused(self.about(problem, head, limits)),
        }
    }

    /// Refuses the head because it did not end in time.
    #[must_use]
    pub fn timed_out(&self, head: &[u8], limits: &HeadLimits) -> HeadRefusal {
        self.about(Problem::new(HeadRefusalKind::Timeout, "the head was not complete in time"), head, limits)
    }

    /// With what may be quoted of the head. Of the fields those that were found good: what was refused may be two fields in one, of which the
    /// second is a secret. So it is the same however the head was cut, too.
    fn about(&self, problem: Problem, head: &[u8], limits: &HeadLimits) -> HeadRefusal {
        let good = self.good_fields.clone();
        problem.about(self.request_line_bytes(head, limits), user_agent_among(head.get(good).unwrap_or_default()))
    }

    fn scan_lines(&mut self, head: &[u8], limits: &HeadLimits) -> Result<Option<(usize, HeadFacts)>, Problem> {
        if self.searched == 0 && self.first_byte_is_open(head)? {
            return Ok(None);
        }
        loop {
            let bound = self.line_bound(limits);
            let unsearched = head.get(self.searched..).unwrap_or_default();
            let Some(distance) = memchr(b'\n', unsearched) else {
                self.searched = head.len();
                bound.check(head.len().saturating_sub(self.line_start))?;
                return Ok(None);
            };
            let line_end = self.searched + distance;
            let raw_line = head.get(self.line_start..line_end).unwrap_or_default();
            bound.check(raw_line.len())?;
            let line =
                raw_line.strip_suffix(b"\r").ok_or_else(|| Problem::malformed("a line that ends in a bare LF"))?;
            let line_start = std::mem::replace(&mut self.line_start, line_end + 1);
            self.searched = line_end + 1;
            match &self.request_line {
                None => {
                    self.request_line = Some(parse_request_line(line, limits)?);
                    self.good_fields = self.line_start..self.line_start;
                }
                Some(request_line) if line.is_empty() => {
                    let facts = finish(head, request_line, std::mem::take(&mut self.fields))?;
                    return Ok(Some((line_end + 1, facts)));
                }
                Some(request_line) => {
                    if self.fields.count == limits.max_header_fields {
                        return Err(Problem::new(HeadRefusalKind::HeadTooLarge, "too many fields"));
                    }
                    self.fields.take_in(line, line_start, request_line.version)?;
                    self.good_fields.end = self.line_start;
                }
            }
        }
    }

    /// Refuses at the first byte what cannot become a request line, so that a client of another protocol is told at
    /// once. Says whether one must wait for another byte to know.
    fn first_byte_is_open(&self, head: &[u8]) -> Result<bool, Problem> {
        match head {
            [] => Ok(true),
            b"\r" if self.empty_lines < MAX_EMPTY_LINES => Ok(true),
            [TLS_HANDSHAKE, ..] => Err(Problem::malformed("TLS on a plain-text listener")),
            [b'\r' | b'\n', ..] => Err(Problem::malformed("a line end instead of a request line")),
            [byte, ..] if !is_tchar(*byte) => Err(Problem::malformed("a first byte that no method has")),
            [..] => Ok(false),
        }
    }

    /// How long the line may be that begins at `line_start`, and what it is if it is longer.
    fn line_bound(&self, limits: &HeadLimits) -> LineBound {
        let (line_bytes, problem) = match self.request_line {
            None => (max_request_line_bytes(limits), LineBound::REQUEST_LINE),
            Some(_) => (limits.max_field_bytes, LineBound::FIELD_LINE),
        };
        // With the CR, without the LF: this is how a line is measured while its LF is not there.
        let own = line_bytes.saturating_add(1);
        let rest_of_head = limits.max_header_bytes.saturating_sub(self.line_start).saturating_sub(1);
        if own <= rest_of_head {
            LineBound { max_bytes: own, problem }
        } else {
            LineBound { max_bytes: rest_of_head, problem: LineBound::HEAD }
        }
    }

    /// The bytes that a refusal may quote. They are the same however the head was cut: a line without its end is quoted
    /// only up to the length at which it would be refused.
    fn request_line_bytes<'a>(&self, head: &'a [u8], limits: &HeadLimits) -> &'a [u8] {
        if !head.first().is_some_and(|&byte| is_tchar(byte)) {
            return &[];
        }
        let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = line.get(..max_request_line_bytes(limits).min(limits.max_header_bytes)).unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

/// The most that a line may have, CR included and LF not, and the refusal of a longer one.
struct LineBound {
    max_bytes: usize,
    problem: (HeadRefusalKind, &'static str),
}

impl LineBound {
    const REQUEST_LINE: (HeadRefusalKind, &'static str) =
        (HeadRefusalKind::UriTooLong, "a request line over the limit");
    const FIELD_LINE: (HeadRefusalKind, &'static str) = (HeadRefusalKind::HeadTooLarge, "a field line over the limit");
    const HEAD: (HeadRefusalKind, &'static str) = (HeadRefusalKind::HeadTooLarge, "a head over the limit");

    fn check(&self, bytes: usize) -> Result<(), Problem> {
        if bytes > self.max_bytes { Err(Problem::new(self.problem.0, self.problem.1)) } else { Ok(()) }
    }
}

/// Checks what only the whole head can tell: the one Host, and that the target agrees with it.
fn finish(head: &[u8], line: &RequestLine, fields: Fields) -> Result<HeadFacts, Problem> {
    let invalid = |detail: &str| Problem::new(HeadRefusalKind::HostInvalid, detail);
    let host = fields.host.clone().ok_or_else(|| invalid("no Host"))?;
    let authority = Authority::parse(head.get(host.clone()).unwrap_or_default()).map_err(invalid)?;
    check_target_authority(head.get(line.target.clone()).unwrap_or_default(), line.form, &authority)?;
    let framing = fields.framing();
    if line.form == TargetForm::Authority && framing != BodyFraming::None {
        return Err(Problem::malformed("CONNECT with a body"));
    }
    Ok(HeadFacts {
        method: line.method.clone(),
        target: line.target.clone(),
        form: line.form,
        version: line.version,
        framing,
        keep_alive: fields.persistent(line.version),
        upgrade_requested: fields.upgrade_requested(line.version),
        expect_continue: fields.expect_continue,
        upgrade: fields.upgrade,
        host,
    })
}

/// RFC 9112 §3.2.2 lets an absolute target win over Host. A gateway that decides by host refuses when they differ: one
/// of the two would be decided on, and the upstream might serve the other.
fn check_target_authority(target: &[u8], form: TargetForm, host: &Authority<'_>) -> Result<(), Problem> {
    let (bytes, default_port) = match form {
        TargetForm::Origin | TargetForm::Asterisk => return Ok(()),
        TargetForm::Absolute => AbsoluteTarget::split(target)
            .map(|absolute| (absolute.authority, absolute.default_port))
            .ok_or_else(|| Problem::malformed("a target of none of the four forms"))?,
        // CONNECT has no default port; a Host without one is taken to mean the target's.
        TargetForm::Authority => {
            (target, Authority::parse(target).ok().and_then(|authority| authority.port()).unwrap_or_default())
        }
    };
    let authority = Authority::parse(bytes).map_err(|detail| Problem::new(HeadRefusalKind::HostInvalid, detail))?;
    if authority.names_the_same_as(host, default_port) {
        Ok(())
    } else {
        Err(Problem::new(HeadRefusalKind::HostInvalid, "Host is not the authority of the target"))
    }
}
