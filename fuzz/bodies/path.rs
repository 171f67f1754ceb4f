//! A path has one meaning or none: parsing agrees with a second reading of the grammar, and parsing what was parsed
//! changes nothing.

use portcullis_policy::CanonicalPath;

pub(crate) fn body(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let parsed = CanonicalPath::parse(raw);
    let expected = plain_meaning(raw.as_bytes());
    match parsed {
        Err(problem) => assert_eq!(expected, None, "refused ({problem}): {raw:?}"),
        Ok(path) => {
            assert_eq!(Some(path.decoded().as_bytes()), expected.as_deref(), "{raw:?}");
            let again = CanonicalPath::parse(path.as_str()).unwrap();
            assert_eq!((again.as_str(), again.decoded()), (path.as_str(), path.decoded()), "{raw:?}");
        }
    }
}

/// What an upstream that decodes once makes of the path, or `None` where another upstream could make something else of
/// it. Written the long way round, over a list of segments.
fn plain_meaning(raw: &[u8]) -> Option<Vec<u8>> {
    const ALLOWED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@";
    let segments = raw.strip_prefix(b"/")?.split(|byte| *byte == b'/');
    let mut decoded: Vec<Vec<u8>> = Vec::new();
    for segment in segments {
        let mut plain = Vec::new();
        let mut at = 0;
        while at < segment.len() {
            if segment[at] != b'%' {
                ALLOWED.contains(&segment[at]).then_some(())?;
                plain.push(segment[at]);
                at += 1;
                continue;
            }
            let digits = segment.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))?;
            let value = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            (value >= b' ' && value != 0x7f && value != b'/' && value != b'\\').then_some(())?;
            plain.push(value);
            at += 3;
        }
        decoded.push(plain);
    }
    let last = decoded.len() - 1;
    for (index, segment) in decoded.iter().enumerate() {
        std::str::from_utf8(segment).ok()?;
        let name = segment.split(|byte| *byte == b';').next().unwrap();
        let escapes_left = (0..segment.len()).any(|at| {
            segment[at] == b'%'
                && segment.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        });
        if name == b"." || name == b".." || escapes_left || segment.is_empty() && index != last {
            return None;
        }
    }
    Some(decoded.iter().flat_map(|segment| [b"/".as_slice(), segment].concat()).collect())
}
