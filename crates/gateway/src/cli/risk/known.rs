//! `risk show`, `risk forget` and `risk warm`: what a running gateway knows of a principal.

use std::io::{self, BufRead as _};
use std::path::Path;

use portcullis_admin::api::{Done, Habit, PastLogin, PastLogins, Profile, Whom};
use portcullis_risk::evaluation::Columns;
use serde_json::Value;

use crate::answers::terminal::safe;
use crate::cli::args::{Global, RiskWhomArgs};
use crate::cli::configuration;
use crate::cli::live::{ask, show};
use crate::cli::output::remark;
use crate::exit::Exit;

/// As many logins go over the channel at once: it takes 64 KiB.
const BATCH: usize = 100;
/// Longer user agents are cut: the rest does not count.
const USER_AGENT_BYTES: usize = 256;

pub(super) fn show_profile(global: &Global, whom: &RiskWhomArgs) -> Result<Exit, Exit> {
    let whom = Whom { on: whom.on() };
    let profile: Profile = ask(global, async |client| client.post("/v1/risk/show", &whom).await)?;
    show(global, &profile, || in_words(&profile));
    Ok(Exit::Success)
}

pub(super) fn forget(global: &Global, whom: &RiskWhomArgs) -> Result<Exit, Exit> {
    let whom = Whom { on: whom.on() };
    let done: Done = ask(global, async |client| client.post("/v1/risk/forget", &whom).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn in_words(profile: &Profile) -> String {
    let shares = |habits: &[Habit]| -> String {
        let share = |habit: &Habit| format!("{} {}.{} %", safe(&habit.name), habit.permille / 10, habit.permille % 10);
        let all: Vec<String> = habits.iter().map(share).collect();
        if all.is_empty() { "none known".to_owned() } else { all.join(", ") }
    };
    let mut lines = vec![
        format!(
            "{}: let in {} times (fading), last at {}",
            safe(&profile.on),
            profile.history,
            safe(&profile.last_seen)
        ),
        format!("  countries    {}", shares(&profile.countries)),
        format!("  systems      {}", shares(&profile.systems)),
        format!(
            "  known        {} networks, {} devices, {} kinds of software, {} routes",
            profile.networks, profile.devices, profile.user_agents, profile.routes
        ),
    ];
    for (day, visits) in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().zip(profile.hours.chunks(4)) {
        let visits: Vec<String> = visits.iter().map(|count| format!("{count:>4}")).collect();
        lines.push(format!("  {day} UTC     {}   (00-06 06-12 12-18 18-24)", visits.join("  ")));
    }
    for place in &profile.places {
        let country = place.country.as_deref().unwrap_or("??");
        let asn = place.asn.map_or_else(String::new, |asn| format!(", AS{asn}"));
        let at =
            place.latitude.zip(place.longitude).map(|(lat, lon)| format!(", {lat:.2} {lon:.2}")).unwrap_or_default();
        lines.push(format!("  was in       {}{asn}{at} at {}", safe(country), safe(&place.at)));
    }
    lines.join("\n")
}

/// Sends a history, a batch after the other.
pub(super) fn warm(global: &Global, path: &Path) -> Result<Exit, Exit> {
    let failed = |error: io::Error| {
        remark(&format!("error: {}: {error}", configuration::name(path)));
        Exit::Configuration
    };
    let file = super::open(path).map_err(failed)?;
    let mut columns = None;
    let mut batch = Vec::with_capacity(BATCH);
    let (mut sent, mut left_out) = (0_u64, 0_u64);
    for (number, line) in file.lines().enumerate() {
        let line = line.map_err(failed)?;
        if number == 0 && !line.trim_start().starts_with('{') {
            columns = Some(Columns::of(&line).map_err(|error| {
                remark(&format!("error: {}:1: {error}", configuration::name(path)));
                Exit::Configuration
            })?);
            continue;
        }
        match columns.as_ref().map_or_else(|| of_event(&line), |columns| of_row(columns, &line)) {
            Some(login) => batch.push(login),
            None => left_out += u64::from(!line.trim().is_empty()),
        }
        if batch.len() == BATCH {
            sent += send(global, std::mem::take(&mut batch))?;
        }
    }
    if !batch.is_empty() {
        sent += send(global, batch)?;
    }
    let done =
        Done { message: format!("{sent} logins were sent; {left_out} lines say nothing of a login that was let in") };
    show(global, &done, || done.message.clone());
    Ok(Exit::Success)
}

fn send(global: &Global, logins: Vec<PastLogin>) -> Result<u64, Exit> {
    let count = logins.len() as u64;
    let logins = PastLogins { logins };
    ask(global, async |client| client.post::<Done>("/v1/risk/warm", &logins).await)?;
    Ok(count)
}

/// A row of logins: those with the right password that took nothing over.
fn of_row(columns: &Columns, line: &str) -> Option<PastLogin> {
    let login = columns.login(line).ok().filter(|login| login.successful && login.intruder.is_none())?;
    Some(PastLogin {
        time: login.time.to_string(),
        principal: format!("user:{}", login.user),
        address: login.address,
        country: login.country.map(|code| code.as_str().to_owned()),
        asn: login.asn,
        user_agent: login.user_agent.map(cut),
    })
}

/// An event of a request that was permitted at a low risk.
fn of_event(line: &str) -> Option<PastLogin> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let low = text("/risk/level").is_none_or(|level| level == "low");
    if text("/kind") != Some("access.allowed") || !low {
        return None;
    }
    Some(PastLogin {
        time: text("/time")?.to_owned(),
        principal: format!("{}:{}", text("/identity/type")?, text("/identity/id")?),
        address: text("/client/ip")?.parse().ok()?,
        country: text("/client/country").map(str::to_owned),
        asn: event.pointer("/client/asn").and_then(Value::as_u64).and_then(|asn| u32::try_from(asn).ok()),
        user_agent: text("/request/user_agent").map(cut),
    })
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(USER_AGENT_BYTES)).unwrap_or(text).to_owned()
}
