//! What the stub answers.

use std::time::Duration;

/// One reply: what is sent, when, and what becomes of the connection.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) delay: Duration,
    pub(super) ending: Ending,
    pub(super) early: bool,
    /// It waits for [`super::Upstream::go_on`].
    pub(super) told: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A JSON object that says what arrived.
    Echo,
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes, not held in memory.
    Huge(u64),
    /// Chunks with a pause after each.
    Drip { pieces: Vec<Vec<u8>>, pause: Duration },
    /// Not even a head: these bytes in place of everything.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Open for the next request.
    KeepOpen,
    /// `Connection: close`, then closed.
    AnnounceAndClose,
    /// Closed without a word: the race that every pooled connection can lose.
    Close,
    /// Closed with a reset.
    Reset,
}

impl Reply {
    /// 200 and a JSON object: `method`, `target`, `version`, `headers` (pairs, in order), `body_length`, `body_sha256`,
    /// `connection` and `place` as in [`super::RequestHead`].
    pub fn echo() -> Self {
        Self::with(200, Body::Echo).header("content-type", "application/json")
    }

    /// This status and an empty body.
    pub fn status(status: u16) -> Self {
        Self::with(status, Body::Bytes(Vec::new()))
    }

    /// 200 and these bytes.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::with(200, Body::Bytes(body.into()))
    }

    /// 200 and a body of so many bytes, all `x`, under a `content-length`.
    pub fn huge(length: u64) -> Self {
        Self::with(200, Body::Huge(length))
    }

    /// 200 and a chunked body, one chunk per piece, with a pause after each.
    pub fn drip(pieces: &[&[u8]], pause: Duration) -> Self {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        Self::with(200, Body::Drip { pieces, pause })
    }

    /// Exactly these bytes, then the connection is closed: for garbage, cut-off bodies, interim answers, trailers. No bytes at
    /// all are a connection that closes without an answer.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { ending: Ending::Close, ..Self::with(200, Body::Raw(bytes.into())) }
    }

    /// Nothing; the connection stays open until the peer or the stub closes it.
    pub fn hang() -> Self {
        Self::with(200, Body::Never)
    }

    fn with(status: u16, body: Body) -> Self {
        let (delay, ending) = (Duration::ZERO, Ending::KeepOpen);
        Self { status, headers: Vec::new(), body, delay, ending, early: false, told: false }
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a delay, counted from the end of the request.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Once the test has called [`super::Upstream::go_on`]: not even the head comes before. Of [`Self::drip`] the head and the first piece come at
    /// once, and the others then.
    #[must_use]
    pub fn when_told(mut self) -> Self {
        self.told = true;
        self
    }

    /// Before the request's body is read; the connection is then closed, announced as such.
    #[must_use]
    pub fn before_the_body(mut self) -> Self {
        self.early = true;
        self.then_close()
    }

    /// Announces `Connection: close` and closes.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.ending = Ending::AnnounceAndClose;
        self
    }

    /// Closes without having announced it.
    #[must_use]
    pub fn then_close_silently(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    /// Resets the connection.
    #[must_use]
    pub fn then_reset(mut self) -> Self {
        self.ending = Ending::Reset;
        self
    }

    /// Keeps the connection open, also after [`Self::raw`].
    #[must_use]
    pub fn then_keep_open(mut self) -> Self {
        self.ending = Ending::KeepOpen;
        self
    }
}
