//! `[geo]`: what can be written, and when a condition on a country can hold.

use std::time::Duration;

use portcullis_geo::GeoSettings;

use super::{Folder, GATEWAY, POLICY, check_gateway};

const IN_GERMANY: &str = "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n\
    [[assignment]]\nname = \"a\"\nrole = \"r\"\nprincipals = [\"user:a\"]\nscope = \"billing\"\nwhen = { countries = [\"DE\"] }\n";

#[test]
fn every_key_reaches_its_setting() {
    let folder = Folder::new();
    assert_eq!(folder.loaded().geo, GeoSettings::default());
    for name in ["city", "country", "asn"] {
        folder.write(&format!("{name}.mmdb"), "");
    }
    let geo = "[geo]\ncity = \"city.mmdb\"\ncountry = \"country.mmdb\"\nasn = \"asn.mmdb\"\nrefresh = \"5s\"\n";
    folder.write("portcullis.toml", format!("{GATEWAY}{geo}"));
    let expected = GeoSettings {
        city: Some(folder.path("city.mmdb")),
        country: Some(folder.path("country.mmdb")),
        asn: Some(folder.path("asn.mmdb")),
        refresh: Duration::from_secs(5),
    };
    assert_eq!(folder.loaded().geo, expected);
    assert!(folder.loaded().warnings.is_empty());
}

#[test]
fn a_country_is_known_by_a_database_that_has_it() {
    let folder = Folder::new();
    folder.write("policy.toml", format!("{POLICY}{IN_GERMANY}"));
    folder.check("without", &[("W0303", "policy.toml:10:22", "name a geo database")]);
    folder.write("geo.mmdb", "");
    let with = |key: &str, expected: &[(&str, &str, &str)]| {
        folder.write("portcullis.toml", format!("{GATEWAY}[geo]\n{key} = \"geo.mmdb\"\n"));
        folder.check(key, expected);
    };
    with("city", &[]);
    with("country", &[]);
    with("asn", &[("W0303", "policy.toml:10:22", "never holds")]);
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let check = check_gateway;
    check("[geo]\ncity = \"none.mmdb\"\n", ("W0205", 2, 8, "there is no database `none.mmdb`"));
    check("[geo]\ncity = \".\"\n", ("W0205", 2, 8, "unknown"));
    check("[geo]\ncity = 1\n", ("E0104", 2, 8, "found an integer"));
    check("[geo]\nrefresh = \"0s\"\n", ("E0105", 2, 11, "must be from 1s to 1d"));
    check("[geo]\nmax_speed_kmh = 99\n", ("E0105", 2, 17, "100 to 10000"));
    check("[geo]\nmax_speed_kmh = \"fast\"\n", ("E0104", 2, 17, "found a string"));
    check("[geo]\ncountries = \"a\"\n", ("E0103", 2, 1, "did you mean `country`?"));
}
