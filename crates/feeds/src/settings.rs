//! What a feed is configured with: plain values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use ipnet::IpNet;
use portcullis_fetch::UrlSource;

use crate::list::List;
use crate::signature::PublicKey;

/// All feeds of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The folder of what was last in force, and of what is held back.
    pub folder: PathBuf,
    /// One for each network with a source; their names are unique.
    pub feeds: Vec<Arc<FeedSettings>>,
    /// Only a policy that others have approved puts in force what the guards hold back. What is said of it names that way.
    pub approved: bool,
}

/// One feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    /// The name of the network.
    pub name: Arc<str>,
    /// Where the list is.
    pub source: Source,
    /// What it looks like.
    pub format: Format,
    /// Addresses that the configuration adds to the list, whatever is in it.
    pub fixed: Arc<[IpNet]>,
    /// How often it is fetched, give or take a tenth. Default 6 h for a URL, 1 min for a file.
    pub refresh: Duration,
    /// How long one fetch may take, from the first connection to the last byte. Default 10 s.
    pub timeout: Duration,
    /// The largest list, in bytes, decompressed. Default 4 MiB.
    pub max_size: usize,
    /// What an update must not do.
    pub guards: Guards,
    /// How old a list may be since it was last confirmed. Default 7 d.
    pub max_age: Duration,
    /// What happens with an older one.
    pub on_stale: OnStale,
    /// Who must have signed it; `None`: nobody.
    pub signature: Option<SignatureSettings>,
    /// The lists that may be in force whatever the guards say, each by its whole SHA-256 in lower case. At most [`Self::MOST_ACCEPTED`].
    pub accepted: Arc<[Arc<str>]>,
}

/// Where a list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file on this machine.
    File(PathBuf),
    /// An address over HTTP.
    Url(Box<UrlSource>),
}

/// What a list looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One prefix or address per line; `#` and `;` begin a comment.
    Text,
    /// A column of a table (RFC 4180).
    Csv {
        /// Which column.
        column: Column,
        /// What stands between two columns. Default a comma.
        delimiter: u8,
    },
    /// Strings in a JSON document.
    Json {
        /// Where they are.
        pointers: Vec<Pointer>,
    },
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By its number, from 1; every line is data.
    Number(usize),
    /// By its name; the first line has the names.
    Name(Arc<str>),
}

/// A JSON pointer (RFC 6901) in which `*` stands for every element of a list and every member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// As it was written.
    pub text: Arc<str>,
    pub(crate) steps: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Every,
    Key(Box<str>),
}

impl Pointer {
    /// Parses `/prefixes/*/ip_prefix`. The error is a sentence for the person who wrote it.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix('/') else { return Err("does not begin with `/`") };
        let step = |part: &str| {
            if part == "*" {
                return Ok(Step::Every);
            }
            let escapes = part.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
            if !escapes {
                return Err("has a `~` that is neither `~0` nor `~1`");
            }
            Ok(Step::Key(part.replace("~1", "/").replace("~0", "~").into()))
        };
        let steps = rest.split('/').map(step).collect::<Result<Box<[_]>, _>>()?;
        if steps.len() > MAX_STEPS {
            return Err("is longer than 32 steps");
        }
        Ok(Self { text: text.into(), steps })
    }
}

/// The longest pointer.
const MAX_STEPS: usize = 32;

/// What holds an update back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// A list with fewer entries. Default 1.
    pub min_entries: usize,
    /// How much may go at once, in hundredths of a percent. Default 2,000.
    pub max_shrink: u32,
    /// How much may come at once, in hundredths of a percent; may be more than 10,000. Default 5,000.
    pub max_grow: u32,
    /// Private, reserved and documentation addresses may be in it.
    pub private: bool,
    /// Over how long `max_shrink` and `max_grow` hold, however many updates there are. Default 24 h.
    pub compare_over: Duration,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            min_entries: 1,
            max_shrink: 2_000,
            max_grow: 5_000,
            private: false,
            compare_over: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What happens with a list that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStale {
    /// It stays in force, and that is said.
    #[default]
    Keep,
    /// Whether an address is in the network becomes unknown.
    Undecided,
}

/// Who must have signed a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureSettings {
    /// A public key of minisign.
    pub key: PublicKey,
    /// Where the signature is: beside the list, with this at the end of its path. Default `.minisig`.
    pub suffix: Arc<str>,
    /// How long ago a list may have been signed, however often it is given out; `None`: for ever.
    pub max_age: Option<Duration>,
}

impl FeedSettings {
    /// How many lists are accepted in advance.
    pub const MOST_ACCEPTED: usize = 64;

    /// Whether somebody said of this very list that it may be in force.
    pub(crate) fn accepts(&self, list: &List) -> bool {
        self.accepted.contains(list.sha256())
    }

    /// A feed with every default.
    pub fn new(name: &str, source: Source, format: Format) -> Self {
        let refresh = match source {
            Source::File(_) => Duration::from_secs(60),
            Source::Url(_) => Duration::from_secs(6 * 60 * 60),
        };
        Self {
            name: name.into(),
            source,
            format,
            fixed: Arc::default(),
            refresh,
            timeout: Duration::from_secs(10),
            max_size: 4 << 20,
            guards: Guards::default(),
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            on_stale: OnStale::default(),
            signature: None,
            accepted: Arc::default(),
        }
    }

    /// What tells this source from others: a list of another one says nothing about this network.
    pub(crate) fn fingerprint(&self) -> String {
        let mut digest = Context::new(&SHA256);
        let mut part = |text: &[u8]| {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        part(self.name.as_bytes());
        match &self.source {
            Source::File(path) => {
                part(b"file");
                part(path.as_os_str().as_encoded_bytes());
            }
            Source::Url(url) => {
                part(if url.secure { b"https" } else { b"http" });
                part(url.host.as_bytes());
                part(&url.port.to_le_bytes());
                part(url.path.as_bytes());
            }
        }
        match &self.format {
            Format::Text => part(b"text"),
            Format::Csv { column, delimiter } => {
                part(b"csv");
                match column {
                    Column::Number(number) => part(&(*number as u64).to_le_bytes()),
                    Column::Name(name) => part(name.as_bytes()),
                }
                part(&[*delimiter]);
            }
            Format::Json { pointers } => {
                part(b"json");
                pointers.iter().for_each(|pointer| part(pointer.text.as_bytes()));
            }
        }
        if let Some(signature) = &self.signature {
            part(signature.key.text().as_bytes());
        }
        HEXLOWER.encode(digest.finish().as_ref())
    }

    /// What tells this source, and the fixed addresses beside it, from others: two contents of the same one differ by their lists alone.
    pub(crate) fn origin(&self) -> String {
        let mut digest = Context::new(&SHA256);
        digest.update(self.fingerprint().as_bytes());
        self.fixed.iter().for_each(|prefix| digest.update(format!(" {prefix}").as_bytes()));
        HEXLOWER.encode(digest.finish().as_ref())
    }
}

impl Source {
    /// As a person writes it, without the query, which may hold a secret.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => url.shown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_begins_with_a_slash_and_escapes_as_the_rfc_says() {
        let check = |text: &str, expected: Result<&[Step], &str>| match (Pointer::parse(text), expected) {
            (Ok(pointer), Ok(steps)) => assert_eq!(&*pointer.steps, steps, "{text}"),
            (Err(problem), Err(fragment)) => assert!(problem.contains(fragment), "{text}: {problem}"),
            (parsed, expected) => panic!("{text}: {parsed:?}, not {expected:?}"),
        };
        let key = |text: &str| Step::Key(text.into());
        check("/prefixes/*/ip_prefix", Ok(&[key("prefixes"), Step::Every, key("ip_prefix")]));
        check("/a~1b/~0/~01/**", Ok(&[key("a/b"), key("~"), key("~1"), key("**")]));
        check("/", Ok(&[key("")]));
        check("", Err("does not begin"));
        check("a/b", Err("does not begin"));
        check("/a~", Err("`~`"));
        check("/a~2", Err("`~`"));
        check(&"/a".repeat(33), Err("longer"));
    }

    #[test]
    fn another_source_has_another_fingerprint() {
        let url = |path: &str| {
            Source::Url(Box::new(UrlSource {
                secure: true,
                host: "a.example".into(),
                port: 443,
                path: path.into(),
                roots: Vec::new(),
                redirects: false,
            }))
        };
        assert_eq!(url("/x?key=hidden").shown(), "https://a.example/x?…");
        let csv = |column| Format::Csv { column, delimiter: b',' };
        let json = |text| Format::Json { pointers: vec![Pointer::parse(text).unwrap()] };
        let all = [
            FeedSettings::new("a", url("/x"), Format::Text),
            FeedSettings::new("b", url("/x"), Format::Text),
            FeedSettings::new("a", url("/y"), Format::Text),
            FeedSettings::new("a", Source::File("/x".into()), Format::Text),
            FeedSettings::new("a", url("/x"), csv(Column::Number(1))),
            FeedSettings::new("a", url("/x"), csv(Column::Name("1".into()))),
            FeedSettings::new("a", url("/x"), json("/a")),
            FeedSettings::new("a", url("/x"), json("/b")),
        ];
        let prints: std::collections::BTreeSet<String> = all.iter().map(FeedSettings::fingerprint).collect();
        assert_eq!(prints.len(), all.len());
        // What only says how it is fetched and judged leaves the list what it is.
        let other =
            FeedSettings { max_size: 1, guards: Guards { private: true, ..Guards::default() }, ..all[0].clone() };
        assert_eq!(other.fingerprint(), all[0].fingerprint());
    }
}
