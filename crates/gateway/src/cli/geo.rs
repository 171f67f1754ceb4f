//! `geo lookup`: where an address is, by the databases of the configuration.

use portcullis_geo::{Geo, Place};
use portcullis_policy::CountryCode;
use serde_json::json;

use crate::answers::terminal::safe;
use crate::cli::args::{GeoArgs, GeoCommand, Global};
use crate::cli::configuration::loaded;
use crate::cli::live::show;
use crate::cli::output::remark;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &GeoArgs) -> Exit {
    match &args.command {
        GeoCommand::Lookup { address } => lookup(global, *address).unwrap_or_else(|exit| exit),
    }
}

fn lookup(global: &Global, address: std::net::IpAddr) -> Result<Exit, Exit> {
    let settings = loaded(global)?.geo;
    let geo = Geo::default();
    for change in geo.configure(&settings) {
        if let Err(problem) = change.result {
            remark(&format!("error: {}: {}", change.database, safe(&problem)));
        }
    }
    if geo.reports().is_empty() {
        remark("error: the configuration names no geo database (`[geo]`)");
        return Err(Exit::Negative);
    }
    let address = address.to_canonical();
    let place = geo.place(address);
    let Place { country, region, city, asn, as_org } = &place;
    let nowhere = *country == Some(CountryCode::NOWHERE);
    let value = json!({
        "address": address, "country": country.as_ref().map(CountryCode::as_str), "region": region.as_deref(),
        "city": city.as_deref(), "asn": asn, "as_org": as_org.as_deref(),
    });
    show(global, &value, || {
        let text = |text: Option<&str>| text.map_or_else(|| "unknown".to_owned(), safe);
        let country = match country {
            Some(_) if nowhere => "ZZ (none: the address is private or reserved)".to_owned(),
            Some(country) => country.as_str().to_owned(),
            None => "unknown".to_owned(),
        };
        let network = match (asn, as_org) {
            (Some(asn), organization) => format!("AS{asn} {}", organization.as_deref().map_or_else(String::new, safe)),
            (None, _) => "unknown".to_owned(),
        };
        [
            address.to_string(),
            format!("  country  {country}"),
            format!("  region   {}", text(region.as_deref())),
            format!("  city     {}", text(city.as_deref())),
            format!("  network  {}", network.trim_end()),
        ]
        .join("\n")
    });
    Ok(if place == Place::default() { Exit::Negative } else { Exit::Success })
}
