//! What is known of a principal, as the control channel shows it, and what is learnt from a history.

use crate::calibrating::{digest_of, name_of};
use portcullis_admin::api::{
    Calibration as ShownCalibration, Calibrations, Habit, PastLogin, PastLogins, Profile, ProfilePlace,
};
use portcullis_policy::{ClientAddress, CountryCode, Principal, PrincipalKind};
use portcullis_proxy::Shared;
use portcullis_proxy::layers::assess::Atlas;
use portcullis_risk::{Actor, Calibration, Caller, Locate, Location, PlaceReport, ProfileReport, RiskEngine, enough};

/// What was done with a history.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Warmed {
    pub(super) learnt: u64,
    pub(super) left_out: u64,
}

pub(super) fn shown(on: String, report: ProfileReport) -> Profile {
    let habit = |name: String, permille: u32| Habit { name, permille };
    Profile {
        on,
        history: report.history,
        last_seen: format!("{:.0}", report.last_seen),
        networks: report.networks as u64,
        countries: report.countries.iter().map(|(code, share)| habit(code.as_str().to_owned(), *share)).collect(),
        systems: report.asns.iter().map(|(asn, share)| habit(format!("AS{asn}"), *share)).collect(),
        devices: report.devices as u64,
        user_agents: report.user_agents as u64,
        routes: report.routes,
        hours: report.hours.iter().map(|visits| u32::from(*visits)).collect(),
        places: report.places.into_iter().map(place).collect(),
    }
}

fn place(place: PlaceReport) -> ProfilePlace {
    let degrees = |hundredths: i16| f64::from(hundredths) / 100.0;
    ProfilePlace {
        at: format!("{:.0}", place.at),
        country: place.country.map(|code| code.as_str().to_owned()),
        asn: place.asn,
        latitude: place.position.map(|position| degrees(position.latitude)),
        longitude: place.position.map(|position| degrees(position.longitude)),
        radius_km: place.position.and_then(|position| position.radius_km),
    }
}

/// The calibrations, and what is counted for the next.
pub(super) fn calibrations(risk: &RiskEngine) -> Calibrations {
    let (budget, counted) = risk.counted();
    let in_force = risk.calibration();
    let shown = |made: &Calibration| ShownCalibration {
        id: made.id.to_string(),
        made_at: format!("{:.0}", made.made_at),
        in_force: in_force.as_ref().is_some_and(|in_force| in_force.id == made.id),
        budget: made.budget,
        counted: made.counted,
        digest: format!("{:032x}", made.digest),
        name: name_of(digest_of(&made.text())),
        thresholds: made.thresholds.map(|each| each.map(|each| [each.step_up_mnats, each.deny_mnats])),
        scale: (0..=SCALE_STEPS).map(|step| step * SCALE_MNATS).map(|mnats| (mnats, made.display(mnats))).collect(),
    };
    let calibrations = risk.calibrations().iter().map(|made| shown(made)).collect();
    let named = risk.named_calibration().map(name_of);
    Calibrations { budget, counted, enough: budget.map(enough), named, calibrations }
}

/// What is shown of the meaning of scores: each half nat, to eight.
const SCALE_MNATS: i32 = 500;
const SCALE_STEPS: i32 = 16;

/// Where a login was: what the databases of the gateway know, else what the history says.
#[derive(Debug)]
struct Told<'a> {
    atlas: Atlas<'a>,
    login: &'a PastLogin,
}

impl Locate for Told<'_> {
    fn locate(&self, address: std::net::IpAddr) -> Option<Location> {
        let told = Location {
            country: self.login.country.as_deref().and_then(CountryCode::parse),
            asn: self.login.asn,
            ..Location::default()
        };
        let known = self.atlas.locate(address).unwrap_or_default();
        Some(Location { country: known.country.or(told.country), asn: known.asn.or(told.asn), ..known })
    }
}

/// Learns from logins of the past as from requests that were let in. One of the future, or of nobody, is left out.
pub(super) fn warm(shared: &Shared, logins: &PastLogins) -> Warmed {
    let now = shared.clock.now();
    let mut warmed = Warmed::default();
    for login in &logins.logins {
        let principal = match login.principal.parse() {
            Ok(Actor::Principal { kind: PrincipalKind::User, id }) => Principal::user(&id),
            Ok(Actor::Principal { kind: PrincipalKind::Service, id }) => Principal::service(&id),
            Ok(Actor::Principal { kind: PrincipalKind::Certificate, id }) => Principal::certificate(&id),
            Ok(Actor::Network(_)) | Err(_) => {
                warmed.left_out += 1;
                continue;
            }
        };
        let Some(time) = login.time.parse().ok().filter(|time| *time <= now) else {
            warmed.left_out += 1;
            continue;
        };
        let told = Told { atlas: Atlas(&shared.geo), login };
        let caller = Caller {
            user_agent: login.user_agent.as_deref(),
            places: Some(&told),
            ..Caller::new(ClientAddress::known(login.address), Some(&principal))
        };
        let mut keys = shared.risk.keys_of(&caller);
        // It looks up where the address is; what it thinks of it is the past's.
        shared.risk.assess(&caller, &mut keys, time);
        shared.risk.learn(&caller, &keys, false, time);
        warmed.learnt += 1;
    }
    warmed
}
