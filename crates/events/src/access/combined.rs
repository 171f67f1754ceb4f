//! The "combined" form of Apache and nginx, which every analyser of logs reads.

use std::fmt::{self, Write as _};

use crate::access::AccessEntry;

/// Appends the entry's line.
pub(super) fn append(lines: &mut Vec<u8>, entry: &AccessEntry) {
    let mut line = String::with_capacity(256);
    // Writing to a string cannot fail.
    let _ = write(&mut line, entry);
    lines.extend_from_slice(line.as_bytes());
    lines.push(b'\n');
}

fn write(line: &mut String, entry: &AccessEntry) -> fmt::Result {
    match entry.client_ip {
        Some(client) => write!(line, "{client}")?,
        None => line.push('-'),
    }
    line.push_str(" - ");
    escape(line, entry.user.as_deref().unwrap_or("-"), true);
    write!(line, " [{}] \"", entry.time.strftime("%d/%b/%Y:%H:%M:%S +0000"))?;
    escape(line, entry.method.as_deref().unwrap_or("-"), true);
    line.push(' ');
    escape(line, entry.path.as_deref().unwrap_or("-"), true);
    if let Some(query) = &entry.query {
        line.push('?');
        escape(line, query, true);
    }
    write!(line, " HTTP/{}\" {} {} \"", entry.http_version, entry.status, entry.bytes_sent)?;
    escape(line, entry.referrer.as_deref().unwrap_or("-"), false);
    line.push_str("\" \"");
    escape(line, entry.user_agent.as_deref().unwrap_or("-"), false);
    line.push('"');
    Ok(())
}

/// As Apache and nginx do: a quote, a backslash and every byte that is not visible ASCII becomes `\xHH`, so that nothing can
/// end a field or a line, or tell a terminal anything. Within a field that ends at a space, a space too.
fn escape(line: &mut String, text: &str, one_word: bool) {
    for byte in text.bytes() {
        match byte {
            b' ' if one_word => line.push_str("\\x20"),
            b'"' | b'\\' => {
                let _ = write!(line, "\\x{byte:02X}");
            }
            b' '..=b'~' => line.push(byte.into()),
            _ => {
                let _ = write!(line, "\\x{byte:02X}");
            }
        }
    }
}
