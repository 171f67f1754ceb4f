//! Says where an address is: its country, region and city, and who runs its network, by databases in MaxMind's format.
//!
//! A database is read into memory as a whole, verified before it is believed, and replaced as a whole when its file changes. What
//! cannot be verified is refused, and the one before it stays. Files are never mapped: an updater that writes one in place would pull it
//! away under a look-up.
//!
//! It deliberately decides nothing, and starts no thread: when to look at the files is said from outside.

mod database;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_policy::CountryCode;

use database::Database;

pub use database::GeoError;

/// Which databases there are. Each may be of any kind that has what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoSettings {
    /// Countries, regions and cities.
    pub city: Option<PathBuf>,
    /// Countries; asked before `city`.
    pub country: Option<PathBuf>,
    /// Autonomous systems.
    pub asn: Option<PathBuf>,
    /// How often it is looked whether a file has changed. Default 1 min.
    pub refresh: Duration,
}

impl Default for GeoSettings {
    fn default() -> Self {
        Self { city: None, country: None, asn: None, refresh: Duration::from_secs(60) }
    }
}

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// ISO 3166-1 alpha-2; [`CountryCode::NOWHERE`] of a private address.
    pub country: Option<CountryCode>,
    /// The first-level subdivision, by its ISO 3166-2 code or its English name.
    pub region: Option<Arc<str>>,
    /// The city, by its English name.
    pub city: Option<Arc<str>>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// Who runs it.
    pub as_org: Option<Arc<str>>,
}

/// What is known of an address, as far as it can be compared with another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spot {
    /// ISO 3166-1 alpha-2; [`CountryCode::NOWHERE`] of a private address.
    pub country: Option<CountryCode>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// Degrees of latitude (north positive) and longitude (east positive).
    pub position: Option<(f64, f64)>,
    /// How far off the position may be, in kilometres.
    pub radius_km: Option<u16>,
    /// A database that is set up is not in force, so something may be missing here.
    pub missing: bool,
}

/// One database, for a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoReport {
    /// `city`, `country` or `asn`.
    pub database: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// What it calls itself.
    pub kind: Arc<str>,
    /// When it was made, in seconds since 1970.
    pub built: u64,
    /// Why a newer file was refused, or why there is none.
    pub problem: Option<String>,
}

/// The databases in force. Looking something up takes no lock.
#[derive(Debug, Default)]
pub struct Geo {
    loaded: ArcSwap<Loaded>,
    /// Held while the files are looked at, so that a reload and a look come one after the other.
    looking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Loaded {
    settings: GeoSettings,
    city: Slot,
    country: Slot,
    asn: Slot,
}

/// One database that is wanted, perhaps.
#[derive(Debug, Clone, Default)]
struct Slot {
    database: Option<Arc<Database>>,
    /// What was last looked at, so that a broken file is not read again and again.
    seen: Option<database::Print>,
    problem: Option<String>,
}

/// What a look at the files found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoChange {
    /// `city`, `country` or `asn`.
    pub database: &'static str,
    /// A new one is in force, or why not.
    pub result: Result<String, String>,
}

impl Geo {
    /// Whether there is a database that could know a country.
    pub fn knows_countries(&self) -> bool {
        let loaded = self.loaded.load();
        loaded.country.database.is_some() || loaded.city.database.is_some()
    }

    /// The settings in force.
    pub fn settings(&self) -> GeoSettings {
        self.loaded.load().settings.clone()
    }

    /// Puts other settings in force; databases whose file is the same stay. Says what was loaded and what was refused.
    pub fn configure(&self, settings: &GeoSettings) -> Vec<GeoChange> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(settings.clone())
    }

    /// Looks whether files have changed. It reads and verifies what has, which takes a while: not on a request's thread.
    pub fn refresh(&self) -> Vec<GeoChange> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(self.settings())
    }

    fn look(&self, settings: GeoSettings) -> Vec<GeoChange> {
        let old = self.loaded.load_full();
        let mut changes = Vec::new();
        let mut slot = |name: &'static str, old: &Slot, before: &Option<PathBuf>, now: &Option<PathBuf>| {
            let Some(path) = now else { return Slot::default() };
            let mut slot = if before == now { old.clone() } else { Slot::default() };
            let print = database::Print::of(path);
            if slot.seen.is_some() && slot.seen == print {
                return slot;
            }
            slot.seen = print;
            let loaded = Database::load(path);
            if matches!(loaded, Err(GeoError::Io { .. })) {
                // It may be read the next time, with nothing about it changed.
                slot.seen = None;
            }
            match loaded {
                Ok(database) => {
                    changes.push(GeoChange { database: name, result: Ok(database.describe()) });
                    slot.database = Some(Arc::new(database));
                    slot.problem = None;
                }
                Err(error) => {
                    let stays = if slot.database.is_some() { "; the one before it stays" } else { "" };
                    let problem = format!("{error}{stays}");
                    if slot.problem.as_ref() != Some(&problem) {
                        changes.push(GeoChange { database: name, result: Err(problem.clone()) });
                    }
                    slot.problem = Some(problem);
                }
            }
            slot
        };
        let city = slot("city", &old.city, &old.settings.city, &settings.city);
        let country = slot("country", &old.country, &old.settings.country, &settings.country);
        let asn = slot("asn", &old.asn, &old.settings.asn, &settings.asn);
        self.loaded.store(Arc::new(Loaded { settings, city, country, asn }));
        changes
    }

    /// The country of an address, for a decision: `None` where nobody knows.
    pub fn country(&self, address: IpAddr) -> Option<CountryCode> {
        let address = address.to_canonical();
        let loaded = self.loaded.load();
        if loaded.country.database.is_none() && loaded.city.database.is_none() {
            return None;
        }
        if is_nowhere(address) {
            return Some(CountryCode::NOWHERE);
        }
        let slots = [&loaded.country, &loaded.city];
        slots
            .into_iter()
            .filter_map(|slot| slot.database.as_ref())
            .find_map(|database| database.record(address)?.country())
    }

    /// All that is known of an address.
    pub fn place(&self, address: IpAddr) -> Place {
        let address = address.to_canonical();
        let mut place = Place { country: self.country(address), ..Place::default() };
        if is_nowhere(address) {
            return place;
        }
        let loaded = self.loaded.load();
        if let Some(record) = loaded.city.database.as_ref().and_then(|database| database.record(address)) {
            (place.region, place.city) = (record.region(), record.city());
        }
        if let Some(record) = loaded.asn.database.as_ref().and_then(|database| database.record(address)) {
            (place.asn, place.as_org) = record.autonomous_system();
        }
        place
    }

    /// What of an address can be compared, without allocating; `None` while no database is set up.
    pub fn spot(&self, address: IpAddr) -> Option<Spot> {
        let loaded = self.loaded.load();
        let settings = &loaded.settings;
        let wanted =
            [(&settings.city, &loaded.city), (&settings.country, &loaded.country), (&settings.asn, &loaded.asn)];
        let mut wanted = wanted.into_iter().filter(|(path, _)| path.is_some()).peekable();
        wanted.peek()?;
        let mut spot = Spot { missing: wanted.any(|(_, slot)| slot.database.is_none()), ..Spot::default() };
        let address = address.to_canonical();
        if is_nowhere(address) {
            return Some(Spot { country: Some(CountryCode::NOWHERE), ..spot });
        }
        let slots = [&loaded.country, &loaded.city];
        spot.country = slots
            .into_iter()
            .filter_map(|slot| slot.database.as_ref())
            .find_map(|database| database.record(address)?.country());
        if let Some(record) = loaded.city.database.as_ref().and_then(|database| database.record(address))
            && let Some((latitude, longitude, radius_km)) = record.position()
        {
            (spot.position, spot.radius_km) = (Some((latitude, longitude)), radius_km);
        }
        let record = loaded.asn.database.as_ref().and_then(|database| database.record(address));
        spot.asn = record.and_then(|record| record.asn());
        Some(spot)
    }

    /// What there is, in the order `city`, `country`, `asn`.
    pub fn reports(&self) -> Vec<GeoReport> {
        let loaded = self.loaded.load();
        let settings = &loaded.settings;
        let slots = [
            ("city", &settings.city, &loaded.city),
            ("country", &settings.country, &loaded.country),
            ("asn", &settings.asn, &loaded.asn),
        ];
        let report = |(database, path, slot): (&'static str, &Option<PathBuf>, &Slot)| {
            let known = slot.database.as_ref();
            Some(GeoReport {
                database,
                path: path.clone()?,
                kind: known.map_or_else(Arc::default, |database| Arc::clone(database.kind())),
                built: known.map_or(0, |database| database.built()),
                problem: slot.problem.clone(),
            })
        };
        slots.into_iter().filter_map(report).collect()
    }
}

/// Addresses that are in no country, since they are in everybody's network: private (RFC 1918, 4193, 6598), of this machine or
/// link, multicast, and reserved (RFC 6890).
fn is_nowhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
        }
    }
}
