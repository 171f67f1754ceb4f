//! One database in MaxMind's format, in memory and verified.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::{LookupResult, PathElement, Reader};
use portcullis_policy::CountryCode;

/// The largest file: several times what the most detailed databases take.
const MAX_FILE: u64 = 1 << 30;
/// The longest name that is kept, in bytes.
const MAX_NAME: usize = 256;

/// Why a database was refused.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{} is broken: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What tells a file from the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Print {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Print {
    /// Of a file; `None` where there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { inode: metadata.ino(), size: metadata.len(), changed: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

/// A database.
#[derive(Debug)]
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
    kind: Arc<str>,
}

impl Database {
    /// Reads a file and verifies the whole of it: each pointer, each value, each text.
    pub(super) fn load(path: &Path) -> Result<Self, GeoError> {
        let failed = |source| GeoError::Io { path: path.to_owned(), source };
        let broken = |why: String| GeoError::Broken { path: path.to_owned(), why };
        // A pipe that nobody writes to would block the opening itself.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(broken("it is not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(broken(format!("it is larger than {} MiB", MAX_FILE >> 20)));
        }
        let reader = Reader::from_source(bytes).map_err(|error| broken(error.to_string()))?;
        reader.verify().map_err(|error| broken(error.to_string()))?;
        let kind = fit(&reader.metadata().database_type);
        Ok(Self { reader, kind })
    }

    pub(super) fn kind(&self) -> &Arc<str> {
        &self.kind
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    pub(super) fn describe(&self) -> String {
        let metadata = self.reader.metadata();
        format!("{}, built {}, {} nodes", self.kind, moment(metadata.build_epoch), metadata.node_count)
    }

    /// The record of an address. One that has none, or cannot be looked up here, is not known.
    pub(super) fn record(&self, address: IpAddr) -> Option<Record<'_>> {
        let found = self.reader.lookup(address).ok()?;
        found.has_data().then_some(Record(found))
    }
}

/// What a database has about an address. What has another type than expected, or cannot be read although it was verified, is not known.
pub(super) struct Record<'d>(LookupResult<'d, Vec<u8>>);

impl Record<'_> {
    /// The country: where the address is, else where its network is registered.
    pub(super) fn country(&self) -> Option<CountryCode> {
        let code = |keys: &[&str]| self.text(keys).and_then(CountryCode::parse);
        code(&["country", "iso_code"])
            .or_else(|| code(&["registered_country", "iso_code"]))
            // Flat records, which several publishers write.
            .or_else(|| code(&["country_code"]))
    }

    /// The first-level subdivision.
    pub(super) fn region(&self) -> Option<Arc<str>> {
        let path = [PathElement::Key("subdivisions"), PathElement::Index(0), PathElement::Key("iso_code")];
        self.at::<&str>(&path).or_else(|| self.text(&["state1"])).map(fit)
    }

    pub(super) fn city(&self) -> Option<Arc<str>> {
        self.text(&["city", "names", "en"]).or_else(|| self.text(&["city"])).map(fit)
    }

    /// The number of the autonomous system, and who runs it.
    pub(super) fn autonomous_system(&self) -> (Option<u32>, Option<Arc<str>>) {
        (self.asn(), self.text(&["autonomous_system_organization"]).map(fit))
    }

    /// The number of the autonomous system.
    pub(super) fn asn(&self) -> Option<u32> {
        self.at(&[PathElement::Key("autonomous_system_number")])
    }

    /// Degrees of latitude and longitude, and kilometres that they may be off by.
    pub(super) fn position(&self) -> Option<(f64, f64, Option<u16>)> {
        let of = |key| [PathElement::Key("location"), PathElement::Key(key)];
        let (latitude, longitude) = (self.at(&of("latitude"))?, self.at(&of("longitude"))?);
        Some((latitude, longitude, self.at(&of("accuracy_radius"))))
    }

    fn text(&self, keys: &[&str]) -> Option<&str> {
        let mut path = [PathElement::Index(0), PathElement::Index(0), PathElement::Index(0)];
        for (step, key) in path.iter_mut().zip(keys) {
            *step = PathElement::Key(key);
        }
        self.at(path.get(..keys.len())?)
    }

    fn at<'s, T: serde::Deserialize<'s>>(&'s self, path: &[PathElement<'_>]) -> Option<T> {
        self.0.decode_path(path).ok().flatten()
    }
}

/// A text from a database, cut, without what could mislead.
fn fit(text: &str) -> Arc<str> {
    let end = text.floor_char_boundary(MAX_NAME);
    text.get(..end).unwrap_or_default().chars().filter(|character| !character.is_control()).collect::<String>().into()
}

fn moment(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "at no known time".to_owned(), |moment| moment.to_string())
}
