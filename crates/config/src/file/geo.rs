//! `[geo]`: the databases that say where an address is.

use portcullis_geo::GeoSettings;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::kinds::{FilePath, Integer, ResolvedPath, Time};
use crate::section::Section;

/// `[geo]`; without it nobody knows where an address is.
#[derive(Debug, Default)]
pub(crate) struct Geo {
    pub(crate) databases: GeoSettings,
    /// What anybody travels, in kilometres an hour.
    pub(crate) max_speed_kmh: Option<u32>,
}

pub(crate) fn read_geo(root: &Section<'_>) -> Geo {
    let default = GeoSettings::default();
    let Some(section) = root.table("geo") else { return Geo::default() };
    let databases =
        [section.optional("city", FilePath), section.optional("country", FilePath), section.optional("asn", FilePath)];
    let refresh = section.or("refresh", Time::within("1s", "1d"), default.refresh);
    let speed = section.optional("max_speed_kmh", Integer(100..=10_000));
    let max_speed_kmh = speed.and_then(|speed| u32::try_from(speed.value).ok());
    databases.iter().flatten().for_each(|file| warn_of_absence(&section, file));
    section.finish();
    let [city, country, asn] = databases.map(|file| file.map(|file| file.value.path));
    Geo { databases: GeoSettings { city, country, asn, refresh }, max_speed_kmh }
}

/// A gateway starts without a database, since it may be fetched later: what depends on it is unknown until then.
fn warn_of_absence(section: &Section<'_>, file: &At<ResolvedPath>) {
    if std::fs::metadata(&file.value.path).is_ok_and(|metadata| metadata.is_file()) {
        return;
    }
    let message = format!("there is no database `{}`: what it would say is unknown", file.value.written);
    let help = "put it there; a running gateway sees it within `refresh`";
    section.reader().report(Diagnostic::warning(codes::NO_DATABASE, file.span, message).with_help(help));
}
