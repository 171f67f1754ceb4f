//! `ban`: the bans of a running gateway.

mod import;

use jiff::Timestamp;
use portcullis_admin::api::{Ban, BanReport, Bans, Done, NewBan, Outlook, Whom};
use portcullis_risk::state::SavedBan;
use portcullis_store::kept_bans;

use crate::answers::table::table;
use crate::answers::terminal::{quoted, safe};
use crate::cli::args::{BanAddArgs, BanArgs, BanCommand, BanWhomArgs, Global, OfflineArgs};
use crate::cli::live::{ask, ask_or_look_unless, show};
use crate::cli::output::remark;
use crate::cli::span;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &BanArgs) -> Exit {
    let done = match &args.command {
        BanCommand::List(offline) => list(global, *offline),
        BanCommand::Add(args) => add(global, args),
        BanCommand::Import(args) => import::run(global, args),
        BanCommand::Remove(args) => remove(global, args),
        BanCommand::Explain(args) => explain(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(global: &Global, OfflineArgs { offline }: OfflineArgs) -> Result<Exit, Exit> {
    let bans: Bans = ask_or_look_unless(global, offline, async |client| client.get("/v1/bans").await, kept)?;
    if bans.more {
        remark("note: there are more than these");
    }
    show(global, &bans, || if bans.bans.is_empty() { "nobody is banned".to_owned() } else { rows(&bans.bans) });
    Ok(Exit::Success)
}

/// Those that a store holds, by the time of day of this machine.
fn kept(store: &portcullis_store::Settings) -> Result<Bans, String> {
    let now = Timestamp::now();
    let shown = |saved: SavedBan| Ban {
        on: saved.actor.to_string(),
        scope: saved.scope.as_str().to_owned(),
        until: format!("{:.0}", saved.until),
        left_s: u64::try_from(saved.until.duration_since(now).as_secs()).unwrap_or_default(),
        offences: saved.offences,
        cause: saved.cause.to_string(),
        simulated: saved.simulated,
        began: format!("{:.0}", saved.began),
    };
    let bans = kept_bans(store, now).map_err(|error| error.to_string())?;
    Ok(Bans { bans: bans.into_iter().map(shown).collect(), more: false })
}

fn rows(bans: &[Ban]) -> String {
    let rows: Vec<_> = bans
        .iter()
        .map(|ban| {
            let simulated = if ban.simulated { " (simulated)" } else { "" };
            [
                safe(&ban.on),
                format!("{}{simulated}", safe(&ban.scope)),
                safe(&ban.until),
                span::shown(ban.left_s),
                ban.offences.to_string(),
                safe(&ban.cause),
            ]
        })
        .collect();
    table(["ON", "SCOPE", "UNTIL", "LEFT", "OFFENCES", "CAUSE"], &rows)
}

fn add(global: &Global, args: &BanAddArgs) -> Result<Exit, Exit> {
    let ban = NewBan { on: args.whom.on(), for_s: args.duration.as_secs(), reason: args.reason.clone() };
    let done: Done = ask(global, async |client| client.post("/v1/bans/add", &ban).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn remove(global: &Global, args: &BanWhomArgs) -> Result<Exit, Exit> {
    let whom = Whom { on: args.on() };
    let done: Done = ask(global, async |client| client.post("/v1/bans/remove", &whom).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn explain(global: &Global, args: &BanWhomArgs) -> Result<Exit, Exit> {
    let whom = Whom { on: args.on() };
    let report: BanReport = ask(global, async |client| client.post("/v1/bans/explain", &whom).await)?;
    show(global, &report, || explained(&report));
    Ok(if report.bans.is_empty() { Exit::Negative } else { Exit::Success })
}

fn explained(report: &BanReport) -> String {
    let on = safe(&report.on);
    let mut lines = Vec::new();
    if report.bans.is_empty() {
        lines.push(format!("no ban touches {on}"));
    } else {
        lines.push(rows(&report.bans));
        lines.push(String::new());
        lines.extend(report.bans.first().map(ends));
        lines.push(format!("lift it with: portcullis ban remove {}", flag(&report.bans)));
    }
    lines.extend(report.outlook.as_ref().map(next));
    if report.never {
        lines.push(format!("{on} is among those that are never banned"));
    }
    if !report.evidence.is_empty() {
        lines.push(String::new());
        lines.push("charged for, the last first".to_owned());
        let samples = report.evidence.iter().map(|sample| [safe(&sample.reason), safe(&sample.path)]);
        lines.push(table(["REASON", "PATH"], &samples.collect::<Vec<_>>()));
    }
    lines.join("\n")
}

/// What would end it.
fn ends(ban: &Ban) -> String {
    let whom = match ban.scope.as_str() {
        "anonymous" => "what comes from there without a credential that holds; who has one is let in",
        "principal" => "everything of that principal, wherever it comes from",
        _ => "everything from there, verified principals too",
    };
    let refuses = if ban.simulated { "it is only reported; it would refuse" } else { "it refuses" };
    format!("{refuses} {whom}\nit began at {} and ends by itself at {}", safe(&ban.began), safe(&ban.until))
}

fn next(outlook: &Outlook) -> String {
    format!(
        "{:.1} offences are not forgotten, half of them will be in {}: the next one would be a ban of about {}",
        outlook.past_offences,
        span::shown(outlook.forget_half_s),
        span::shown(outlook.next_s)
    )
}

/// The option that names the first of them.
fn flag(bans: &[Ban]) -> String {
    let Some(on) = bans.first().map(|ban| safe(&ban.on)) else { return String::new() };
    if on.parse::<std::net::IpAddr>().is_ok() {
        format!("--ip {on}")
    } else if on.parse::<ipnet::IpNet>().is_ok() {
        format!("--range {on}")
    } else {
        format!("--user {}", quoted(&on))
    }
}
