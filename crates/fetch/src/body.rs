//! The body of an answer, decompressed as it comes, with one bound on what was sent and on what it becomes.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// A coding that was not asked for.
    #[error("the answer is in the coding `{0}`, which was not asked for")]
    Coding(String),
    /// It is not compressed as it says, or ends too soon.
    #[error("the answer cannot be decompressed: {0}")]
    Compression(io::Error),
}

/// A server's words, short and without what would disturb a terminal.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// A body that is coming in.
pub(crate) struct Body {
    received: usize,
    most: usize,
    kind: Coding,
}

enum Coding {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Body {
    /// One in the coding that the answer names, of at most so many bytes.
    pub(crate) fn new(coding: Option<&str>, most: usize) -> Result<Self, BodyError> {
        let bounded = Bounded { bytes: Vec::new(), most, is_over: false };
        let kind = match coding.map(str::trim) {
            None | Some("" | "identity") => Coding::Plain(bounded),
            Some("gzip" | "x-gzip") => Coding::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            Some(other) => return Err(BodyError::Coding(shown(other))),
        };
        Ok(Self { received: 0, most, kind })
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.received = self.received.saturating_add(piece.len());
        if self.received > self.most {
            return Err(BodyError::TooLarge(self.most));
        }
        match &mut self.kind {
            Coding::Plain(bounded) => bounded.write_all(piece).map_err(|_| BodyError::TooLarge(self.most)),
            Coding::Gzip(decoder) => {
                let written = decoder.write_all(piece);
                written.map_err(|error| self.failed(error))
            }
        }
    }

    /// The whole.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, BodyError> {
        match &mut self.kind {
            Coding::Plain(bounded) => Ok(std::mem::take(&mut bounded.bytes)),
            Coding::Gzip(decoder) => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().bytes)),
                Err(error) => Err(self.failed(error)),
            },
        }
    }

    fn failed(&self, error: io::Error) -> BodyError {
        match &self.kind {
            Coding::Gzip(decoder) if decoder.get_ref().is_over => BodyError::TooLarge(self.most),
            Coding::Gzip(_) | Coding::Plain(_) => BodyError::Compression(error),
        }
    }
}

/// Bytes that are never more than a bound: what decompresses without end ends here.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(piece.len()) > self.most {
            self.is_over = true;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(coding: Option<&str>, bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let read = || {
            let mut body = Body::new(coding, most)?;
            bytes.chunks(7).try_for_each(|piece| body.take(piece))?;
            body.finish()
        };
        read().map_err(|error: BodyError| error.to_string())
    }

    #[test]
    fn a_body_is_bounded_before_and_after_it_is_decompressed() {
        let list = b"192.0.2.0/24\n".repeat(10);
        assert_eq!(read(None, &list, list.len()), Ok(list.clone()));
        assert_eq!(read(Some("identity"), &list, list.len()), Ok(list.clone()));
        assert_eq!(read(Some("gzip"), &gzip(&list), list.len()), Ok(list.clone()));
        let check = |coding, bytes: &[u8], most, fragment: &str| {
            let problem = read(coding, bytes, most).unwrap_err();
            assert!(problem.contains(fragment), "{problem}");
        };
        check(None, &list, list.len() - 1, "larger than 129 bytes");
        check(Some("gzip"), &gzip(&list), list.len() - 1, "larger than 129 bytes");
        // A hundred thousand bytes become a hundred million.
        let bomb = gzip(&vec![b'\n'; 100 << 20]);
        assert!(bomb.len() < 1 << 20);
        check(Some("gzip"), &bomb, 4 << 20, "larger than 4194304 bytes");
        check(Some("br"), &list, 1_000, "coding `br`");
        check(Some("gzip, gzip"), &list, 1_000, "coding");
        check(Some("gzip"), &list, 1_000, "cannot be decompressed");
        let packed = gzip(&list);
        check(Some("gzip"), &packed[..packed.len() - 1], 1_000, "cannot be decompressed");
        let mut torn = packed.clone();
        let last = torn.len() - 5;
        torn[last] ^= 1;
        check(Some("gzip"), &torn, 1_000, "cannot be decompressed");
    }
}
