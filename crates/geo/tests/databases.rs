//! Databases that are what they should be, and those that are not: MaxMind's own test files (`tests/data`, Apache-2.0 or MIT).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_geo::{Geo, GeoChange, GeoSettings, Place, Spot};
use portcullis_policy::CountryCode;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn test_data(name: &str) -> Option<PathBuf> {
    Some(data("test-data").join(name))
}

fn place(geo: &Geo, address: &str) -> String {
    let Place { country, region, city, asn, as_org } = geo.place(address.parse().unwrap());
    let country = country.as_ref().map_or("?", CountryCode::as_str).to_owned();
    let text = |text: Option<std::sync::Arc<str>>| text.map_or_else(|| "?".to_owned(), |text| text.to_string());
    format!("{country} {} {} {} {}", text(region), text(city), asn.unwrap_or_default(), text(as_org))
}

#[test]
fn an_address_has_a_country_a_city_and_who_runs_its_network() {
    let geo = Geo::default();
    let changes = geo.configure(&GeoSettings {
        city: test_data("GeoIP2-City-Test.mmdb"),
        country: None,
        asn: test_data("GeoLite2-ASN-Test.mmdb"),
        ..GeoSettings::default()
    });
    assert!(changes.iter().all(|change| change.result.is_ok()) && changes.len() == 2, "{changes:?}");
    let check = |address: &str, expected: &str| assert_eq!(place(&geo, address), expected, "{address}");
    check("81.2.69.142", "GB ENG London 0 ?");
    check("::ffff:81.2.69.142", "GB ENG London 0 ?");
    check("89.160.20.128", "SE E Linköping 29518 Bredband2 AB");
    check("2001:218::1", "JP ? ? 0 ?");
    check("1.128.0.1", "? ? ? 1221 Telstra Pty Ltd");
    check("9.9.9.9", "? ? ? 0 ?");
    // Nobody's country, whatever a database says.
    for address in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fd00::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ] {
        check(address, "ZZ ? ? 0 ?");
    }
    check("172.32.0.1", "? ? ? 0 ?");
    check("100.128.0.1", "? ? ? 0 ?");
    let reports = geo.reports();
    assert_eq!(reports.iter().map(|report| report.database).collect::<Vec<_>>(), ["city", "asn"]);
    assert_eq!(&*reports[0].kind, "GeoIP2-City");
    assert!(reports[0].built > 1_500_000_000 && reports[0].problem.is_none());
}

#[test]
fn a_spot_is_what_can_be_compared_and_says_whether_something_is_missing() {
    let geo = Geo::default();
    let spot = |geo: &Geo, address: &str| geo.spot(address.parse().unwrap());
    assert_eq!(spot(&geo, "81.2.69.142"), None, "nothing is set up");
    let settings = GeoSettings {
        city: test_data("GeoIP2-City-Test.mmdb"),
        asn: test_data("GeoLite2-ASN-Test.mmdb"),
        ..GeoSettings::default()
    };
    geo.configure(&settings);
    let linkoping = spot(&geo, "::ffff:89.160.20.128").unwrap();
    assert_eq!((linkoping.country, linkoping.asn), (CountryCode::parse("SE"), Some(29_518)));
    let (latitude, longitude) = linkoping.position.unwrap();
    assert!((58.0..59.0).contains(&latitude) && (15.0..16.0).contains(&longitude), "{latitude} {longitude}");
    assert!(linkoping.radius_km.is_some() && !linkoping.missing);
    assert_eq!(spot(&geo, "9.9.9.9"), Some(Spot::default()));
    assert_eq!(spot(&geo, "10.0.0.1"), Some(Spot { country: Some(CountryCode::NOWHERE), ..Spot::default() }));
    geo.configure(&GeoSettings { asn: Some(data("no-such.mmdb")), ..settings });
    let without = spot(&geo, "89.160.20.128").unwrap();
    assert_eq!((without.asn, without.missing, without.country), (None, true, CountryCode::parse("SE")));
}

#[test]
fn without_a_database_no_country_is_known() {
    let geo = Geo::default();
    assert_eq!(geo.place("10.0.0.1".parse().unwrap()), Place::default());
    assert!(!geo.knows_countries() && geo.reports().is_empty());
    let asn = GeoSettings { asn: test_data("GeoLite2-ASN-Test.mmdb"), ..GeoSettings::default() };
    geo.configure(&asn);
    assert!(!geo.knows_countries());
    assert_eq!(geo.country("10.0.0.1".parse().unwrap()), None);
    // A database of countries comes before the one of cities.
    let both = GeoSettings {
        city: test_data("GeoIP2-City-Test.mmdb"),
        country: test_data("GeoIP2-Country-Test.mmdb"),
        ..GeoSettings::default()
    };
    assert_eq!(geo.configure(&both).len(), 2);
    assert!(geo.knows_countries());
    assert_eq!(place(&geo, "81.2.69.142"), "GB ENG London 0 ?");
    assert_eq!(place(&geo, "1.128.0.1"), "? ? ? 0 ?", "the database that is configured no more is gone");
    assert!(geo.configure(&both).is_empty(), "what has not changed is not read again");
}

fn mmdb_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mmdb_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "mmdb") {
            found.push(path);
        }
    }
}

#[test]
fn every_broken_database_is_refused_and_the_old_one_stays() {
    let mut broken = Vec::new();
    mmdb_files(&data("bad-data"), &mut broken);
    for name in [
        "GeoIP2-City-Test-Broken-Double-Format.mmdb",
        "GeoIP2-City-Test-Invalid-Node-Count.mmdb",
        "MaxMind-DB-test-broken-pointers-24.mmdb",
        "MaxMind-DB-test-broken-search-tree-24.mmdb",
    ] {
        broken.extend(test_data(name));
    }
    assert!(broken.len() >= 24, "{broken:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geo.mmdb");
    let settings = GeoSettings { city: Some(file.clone()), asn: Some(file.clone()), ..GeoSettings::default() };
    for path in &broken {
        let geo = Geo::default();
        fs::copy(data("test-data/GeoIP2-City-Test.mmdb"), &file).unwrap();
        geo.configure(&settings);
        assert_eq!(place(&geo, "81.2.69.142"), "GB ENG London 0 ?");
        // As an updater should: beside it, and renamed.
        let beside = folder.path().join("new");
        fs::copy(path, &beside).unwrap();
        fs::rename(&beside, &file).unwrap();
        let changes = geo.refresh();
        assert!(!changes.is_empty(), "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let GeoChange { result: Err(problem), .. } = &changes[0] else { panic!("{name}: {changes:?}") };
        assert!(problem.contains("the one before it stays"), "{name}: {problem}");
        assert_eq!(place(&geo, "81.2.69.142"), "GB ENG London 0 ?", "{name}");
        assert!(geo.reports()[0].problem.is_some(), "{name}");
        assert!(geo.refresh().is_empty(), "{name}: it is not read again, nor told again");
    }
}

#[test]
fn a_file_is_followed_and_its_absence_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("geo.mmdb");
    let settings = GeoSettings { country: Some(file.clone()), ..GeoSettings::default() };
    let geo = Geo::default();
    let said = |changes: Vec<GeoChange>, fragment: &str| {
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        let text = change.result.clone().unwrap_or_else(|problem| problem);
        assert!(text.contains(fragment), "{text}");
    };
    said(geo.configure(&settings), "cannot read");
    assert!(geo.refresh().is_empty());
    assert!(!geo.knows_countries());
    fs::copy(data("test-data/GeoIP2-Country-Test.mmdb"), &file).unwrap();
    said(geo.refresh(), "GeoIP2-Country, built 20");
    assert_eq!(place(&geo, "81.2.69.142"), "GB ? ? 0 ?");
    fs::remove_file(&file).unwrap();
    said(geo.refresh(), "the one before it stays");
    assert_eq!(place(&geo, "81.2.69.142"), "GB ? ? 0 ?");
    fs::create_dir(&file).unwrap();
    said(geo.refresh(), "not a regular file");
    fs::remove_dir(&file).unwrap();
    // Every cut of a file is another broken one.
    let whole = fs::read(data("test-data/GeoIP2-Country-Test.mmdb")).unwrap();
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        geo.refresh();
        assert_eq!(place(&geo, "81.2.69.142"), "GB ? ? 0 ?", "cut at {length}");
        assert!(geo.reports()[0].problem.is_some(), "cut at {length}");
    }
    fs::write(&file, &whole).unwrap();
    geo.refresh();
    assert_eq!(geo.reports()[0].problem, None);
}
