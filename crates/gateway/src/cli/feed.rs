//! `feed`: the networks of a running gateway that keep themselves current.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_admin::ClientError;
use portcullis_admin::api::{Acceptance, Done, Feed, FeedName, FeedRollbackTried, Feeds, Located, WhereIs};
use portcullis_feeds::{Keeper, Now};

use crate::answers::feed::{located, shown as shown_feed};
use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{FeedAcceptArgs, FeedArgs, FeedCommand, FeedRollbackArgs, FeedTestArgs, Global, OfflineArgs};
use crate::cli::configuration::loaded;
use crate::cli::live::{ask, exit_of, fail, short, show, try_ask};
use crate::cli::output::remark;
use crate::cli::span;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &FeedArgs) -> Exit {
    let done = match &args.command {
        FeedCommand::List(offline) => list(global, *offline),
        FeedCommand::Refresh { name } => refresh(global, name),
        FeedCommand::Test(args) => test(global, args),
        FeedCommand::Accept(args) => accept(global, args),
        FeedCommand::Rollback(args) => roll_back(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn list(global: &Global, OfflineArgs { offline }: OfflineArgs) -> Result<Exit, Exit> {
    let feeds = if offline {
        kept(global)?.1
    } else {
        match try_ask(global, async |client| client.get::<Feeds>("/v1/feeds").await)? {
            Ok(feeds) => feeds,
            Err(ClientError::Unreachable { .. }) if global.admin.is_none() => {
                let (folder, feeds) = kept(global)?;
                remark(&format!("note: no gateway answers: this is what was kept in {folder}"));
                feeds
            }
            Err(error) => {
                fail(global, &error.to_string());
                return Err(exit_of(&error));
            }
        }
    };
    show(global, &feeds, || {
        if feeds.feeds.is_empty() { "no network has a source".to_owned() } else { listed(&feeds.feeds) }
    });
    Ok(Exit::Success)
}

/// The folder and what was kept in it of the lists of the configuration. It fetches nothing, so that nobody knows when that will be.
fn kept(global: &Global) -> Result<(String, Feeds), Exit> {
    if global.admin.is_some() {
        fail(global, "--offline looks at what was kept on this machine, and --admin names a gateway: say one of both");
        return Err(Exit::Usage);
    }
    let (settings, restored) = loaded(global)?.feeds;
    let reports = Keeper::kept(restored, settings.approved, Now { wall: Timestamp::now(), steady: Duration::ZERO });
    let folder = safe(&settings.folder.display().to_string());
    Ok((folder, Feeds { feeds: reports.into_iter().map(shown_feed).collect() }))
}

fn listed(feeds: &[Feed]) -> String {
    let rows: Vec<_> = feeds
        .iter()
        .map(|feed| {
            let age = feed.age_s.map_or_else(|| "-".to_owned(), span::shown);
            let next = if feed.next_s == 0 { "now".to_owned() } else { span::shown(feed.next_s) };
            let sha256 = feed.sha256.as_deref().map_or("-", short);
            [
                safe(&feed.name),
                safe(&feed.state),
                feed.entries.to_string(),
                age,
                next,
                sha256.to_owned(),
                safe(&feed.source),
            ]
        })
        .collect();
    let mut lines = vec![table(["NETWORK", "STATE", "PREFIXES", "AGE", "NEXT", "SHA256", "SOURCE"], &rows)];
    for feed in feeds {
        let name = safe(&feed.name);
        if let Some(error) = &feed.error {
            lines.push(format!("\n{name}: failed at {}: {}", safe(&error.at), safe(&error.why)));
        }
        if feed.rolled_back && feed.held.is_none() {
            let sha256 = safe(feed.sha256.as_deref().unwrap_or_default());
            lines.push(format!("\n{name}: somebody went back to this list: every other one is held back"));
            lines.push(format!("  `portcullis feed accept {name} --sha256 {sha256}` follows the source again"));
        }
        if let Some(held) = &feed.held {
            lines.push(format!("\n{name}: an update is held back since {}", safe(&held.since)));
            lines.extend(held.reasons.iter().map(|reason| format!("  {}", safe(reason))));
            if held.sha256.is_some() {
                let change = |count: u64, sample: &[String]| {
                    let more = if count > sample.len() as u64 { ", …" } else { "" };
                    if count == 0 { "0".to_owned() } else { format!("{count} ({}{more})", safe(&sample.join(", "))) }
                };
                let (added, removed) =
                    (change(held.added, &held.added_sample), change(held.removed, &held.removed_sample));
                lines.push(format!("  {} prefixes; added: {added}; removed: {removed}", held.entries));
                lines.extend(held.remedy.iter().map(|remedy| format!("  {}", safe(remedy))));
            }
        }
    }
    lines.join("\n")
}

fn refresh(global: &Global, name: &str) -> Result<Exit, Exit> {
    let name = FeedName { name: name.to_owned() };
    let done: Done = ask(global, async |client| client.post("/v1/feeds/refresh", &name).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn accept(global: &Global, args: &FeedAcceptArgs) -> Result<Exit, Exit> {
    let acceptance = Acceptance { name: args.name.clone(), sha256: args.sha256.to_ascii_lowercase() };
    let done: Done = ask(global, async |client| client.post("/v1/feeds/accept", &acceptance).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn roll_back(global: &Global, args: &FeedRollbackArgs) -> Result<Exit, Exit> {
    let name = FeedName { name: args.name.clone() };
    if args.dry_run {
        let tried: FeedRollbackTried =
            ask(global, async |client| client.post("/v1/feeds/rollback/preview", &name).await)?;
        show(global, &tried, || tried.text.iter().map(|line| safe(line)).collect::<Vec<_>>().join("\n"));
        return Ok(Exit::Success);
    }
    let done: Done = ask(global, async |client| client.post("/v1/feeds/rollback", &name).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn test(global: &Global, args: &FeedTestArgs) -> Result<Exit, Exit> {
    let located = if args.offline {
        let loaded = loaded(global)?;
        located(&loaded.policy, &loaded.feeds.0.feeds, args.address)
    } else {
        let question = WhereIs { address: args.address };
        ask(global, async |client| client.post("/v1/feeds/test", &question).await)?
    };
    show(global, &located, || shown(&located));
    Ok(if located.networks.is_empty() { Exit::Negative } else { Exit::Success })
}

fn shown(located: &Located) -> String {
    let mut rows = Vec::new();
    for (word, places) in [("in", &located.networks), ("unknown", &located.unknown)] {
        for place in places {
            let at = format!("{}:{}", safe(&place.file), place.line);
            rows.push([word.to_owned(), safe(&place.network), safe(&place.from), at]);
        }
    }
    if rows.is_empty() {
        return format!("{} is in no network", located.address);
    }
    format!("{}\n{}", located.address, table(["IS", "NETWORK", "FROM", "AT"], &rows))
}
