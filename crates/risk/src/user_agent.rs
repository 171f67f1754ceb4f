//! Which software calls: its family and the system it runs on, without versions. It is what the caller says and proves nothing; a
//! change of it is worth a look all the same.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// A family of software on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family<'a> {
    /// `Firefox`, `Chrome`, `curl`; else the first product that is named.
    pub(crate) software: &'a str,
    /// `Windows`, `Android`; empty where nothing says.
    pub(crate) system: &'static str,
}

/// What is looked for, in this order: browsers name those that they descend from.
const SOFTWARE: [(&str, &str); 12] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
    ("MSIE ", "Internet Explorer"),
];

const SYSTEMS: [(&str, &str); 9] = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Darwin", "macOS"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
];

/// The bytes that are looked at.
const LOOKED_AT: usize = 256;

/// All of them at once, software first.
static NAMES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    // A few short words fit any automaton.
    AhoCorasick::new(SOFTWARE.iter().chain(&SYSTEMS).map(|(needle, _)| needle)).ok()
});

impl<'a> Family<'a> {
    /// Of a `user-agent` (RFC 9110 section 10.1.5).
    pub(crate) fn of(text: &'a str) -> Self {
        let text = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or(text);
        // The one that stands first in its list, wherever it stands in the text.
        let (mut software, mut system) = (SOFTWARE.len(), SYSTEMS.len());
        if let Some(names) = &*NAMES {
            for found in names.find_overlapping_iter(text) {
                let index = found.pattern().as_usize();
                match index.checked_sub(SOFTWARE.len()) {
                    Some(index) => system = system.min(index),
                    None => software = software.min(index),
                }
            }
        }
        let first = || {
            text.split(['/', ' ', '(', ';'])
                .next()
                .unwrap_or("")
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
        };
        Self {
            software: SOFTWARE.get(software).map_or_else(first, |(_, name)| name),
            system: SYSTEMS.get(system).map_or("", |(_, name)| name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_count_and_families_do() {
        let check = |text: &str, software: &str, system: &str| {
            assert_eq!(Family::of(text), Family { software, system: Family::of(text).system }, "{text}");
            assert_eq!(Family::of(text).system, system, "{text}");
        };
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)";
        check(&format!("{windows} Chrome/120.0.0.0 Safari/537.36"), "Chrome", "Windows");
        check(&format!("{windows} Chrome/121.0.0.0 Safari/537.36 Edg/121.0.0.0"), "Edge", "Windows");
        check("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox", "Linux");
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            "Safari",
            "iOS",
        );
        check("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/120.0 Mobile", "Chrome", "Android");
        check("curl/8.5.0", "curl", "");
        check("python-requests/2.31.0", "python-requests", "");
        check("Go-http-client/2.0", "Go-http-client", "");
        check("internal tool", "internal", "");
        check("", "", "");
        // The list decides, and not where a name stands; capitals count.
        check("Chrome/1 Firefox/2 Edge/3 Linux Windows", "Edge", "Windows");
        check("Windows X11 Android", "Windows", "Android");
        check("firefox/2 windows", "firefox", "");
        check(&"é".repeat(300), &"é".repeat(128), "");
    }
}
