//! `revoke`: credentials that count no longer, on the running gateway. Where none runs, they are listed from its store.

use jiff::Timestamp;
use portcullis_admin::api::{Done, NewRevocation, Revocations, RevokedName, ShownRevocation};
use portcullis_identity::revocation::Revoked;
use portcullis_store::{RevocationBook, RevocationRow, Settings};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Global, LiftArgs, OfflineArgs, RevokeArgs, RevokeCommand, RevokeTerms};
use crate::cli::live::{ask, ask_or_look_unless, show};
use crate::cli::output::remark;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &RevokeArgs) -> Exit {
    let done = match &args.command {
        RevokeCommand::Token { id, terms } => revoke(global, "token", id, None, terms),
        RevokeCommand::Key { id, terms } => revoke(global, "key", id, None, terms),
        RevokeCommand::Principal(args) => {
            let before = args.before.map(|before| before.to_string());
            revoke(global, "principal", &args.principal, before, &args.terms)
        }
        RevokeCommand::List(offline) => list(global, *offline),
        RevokeCommand::Lift(args) => lift(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn revoke(global: &Global, what: &str, name: &str, before: Option<String>, terms: &RevokeTerms) -> Result<Exit, Exit> {
    let new = NewRevocation {
        what: what.to_owned(),
        name: name.to_owned(),
        before,
        for_s: terms.duration.map(|duration| duration.as_secs()),
        reason: terms.reason.clone(),
    };
    let done: Done = ask(global, async |client| client.post("/v1/revocations/add", &new).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn lift(global: &Global, args: &LiftArgs) -> Result<Exit, Exit> {
    let name = RevokedName { what: args.what.as_str().to_owned(), name: args.name.clone() };
    let done: Done = ask(global, async |client| client.post("/v1/revocations/remove", &name).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn list(global: &Global, OfflineArgs { offline }: OfflineArgs) -> Result<Exit, Exit> {
    let all: Revocations =
        ask_or_look_unless(global, offline, async |client| client.get("/v1/revocations").await, kept)?;
    if all.more {
        remark("note: there are more than these");
    }
    show(global, &all, || if all.revocations.is_empty() { "nothing is revoked".to_owned() } else { rows(&all) });
    Ok(Exit::Success)
}

/// What a store holds that has not ended.
fn kept(store: &Settings) -> Result<Revocations, String> {
    let now = Timestamp::now().as_microsecond();
    let rows = RevocationBook::of(store).follow().and_then(|mut book| book.look());
    let rows = rows.map_err(|error| error.to_string())?.unwrap_or_default();
    let at = |micros: i64| Timestamp::from_microsecond(micros).map(|at| format!("{at:.0}")).unwrap_or_default();
    let shown = |row: RevocationRow| ShownRevocation {
        before: (row.what == "principal").then(|| at(row.before)),
        what: row.what,
        name: row.name,
        made: at(row.made),
        until: row.until.map(at),
        reason: row.reason,
        kept: true,
    };
    let holds = |row: &RevocationRow| row.until.is_none_or(|until| until > now);
    let is_time = |micros: &i64| Timestamp::from_microsecond(*micros).is_ok();
    let is_whole = |row: &&RevocationRow| {
        Revoked::parse(&row.what, &row.name).is_some() && [row.before, row.made].iter().chain(&row.until).all(is_time)
    };
    let damaged = (rows.len() - rows.iter().filter(is_whole).count()) as u64;
    Ok(Revocations {
        revocations: rows.into_iter().filter(holds).map(shown).collect(),
        kept: true,
        more: false,
        damaged,
    })
}

fn rows(all: &Revocations) -> String {
    // Without a store none is kept, which each answer said.
    let until = |each: &ShownRevocation| match &each.until {
        _ if all.kept && !each.kept => "the next restart (not written down)".to_owned(),
        Some(until) => safe(until),
        None => "lifted".to_owned(),
    };
    let rows: Vec<_> = all
        .revocations
        .iter()
        .map(|each| {
            [
                safe(&each.what),
                safe(&each.name),
                each.before.as_deref().map_or_else(|| "-".to_owned(), safe),
                safe(&each.made),
                until(each),
                safe(&each.reason),
            ]
        })
        .collect();
    let table = table(["WHAT", "NAME", "ISSUED UNTIL", "REVOKED", "UNTIL", "REASON"], &rows);
    match all.damaged {
        0 => table,
        damaged => format!(
            "{table}\n{damaged} of those in the store ARE DAMAGED: what they name is revoked until it is lifted"
        ),
    }
}
