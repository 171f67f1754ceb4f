//! `status`: how the running gateway does.

use portcullis_admin::api::{AuditStatus, DiskState, Status};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::Global;
use crate::cli::live::{ask, short, show};
use crate::cli::span;
use crate::exit::Exit;

pub(crate) fn run(global: &Global) -> Exit {
    match ask(global, async |client| client.get::<Status>("/v1/status").await) {
        Ok(status) => {
            show(global, &status, || for_people(&status));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn for_people(status: &Status) -> String {
    let mut lines = vec![
        format!(
            "portcullis {} on {}, process {}, up {}{}",
            safe(&status.version),
            safe(&status.node),
            status.pid,
            span::shown(status.uptime_s),
            if status.draining { ", DRAINING" } else { "" }
        ),
        row("config", &status.config),
        row("policy", &policy(status)),
        row("on disk", &disk(status)),
        row("reloads", &reloads(status)),
        row("workers", &workers(status)),
        row("traffic", &format!("{} connections, {} requests under way", status.connections, status.requests)),
        row("bans", &format!("{} in force", status.bans)),
        row("state", &state(status)),
        row("events", &format!("{} recorded", status.events)),
    ];
    lines.extend(status.audit.as_ref().map(|status| row("audit", &audit(status))));
    lines.push(String::new());
    let listeners = status.listeners.iter().map(|each| [safe(&each.name), safe(&each.address)]);
    lines.push(table(["LISTENER", "ADDRESS"], &listeners.collect::<Vec<_>>()));
    lines.push(String::new());
    lines.push(upstreams(status));
    lines.push(String::new());
    let sinks = status.sinks.iter().map(|sink| {
        [
            safe(&sink.name),
            sink.queue_depth.to_string(),
            sink.exported.to_string(),
            sink.failed.to_string(),
            sink.dropped.to_string(),
            safe(sink.trouble.as_deref().unwrap_or("-")),
        ]
    });
    lines.push(table(["SINK", "WAITING", "WRITTEN", "FAILED ATTEMPTS", "LOST", "TROUBLE"], &sinks.collect::<Vec<_>>()));
    if !status.providers.is_empty() {
        lines.push(String::new());
        let providers = status.providers.iter().map(|each| {
            [
                safe(&each.name),
                safe(&each.kind),
                if each.usable { "usable" } else { "NOT USABLE" }.to_owned(),
                each.entries.to_string(),
                each.answered.as_deref().map_or_else(|| "never".to_owned(), safe),
                safe(each.problem.as_deref().unwrap_or("-")),
            ]
        });
        let titles = ["PROVIDER", "OF", "STATE", "HELD", "ANSWERED", "TROUBLE"];
        lines.push(table(titles, &providers.collect::<Vec<_>>()));
    }
    if !status.geo.is_empty() {
        lines.push(String::new());
        let databases = status.geo.iter().map(|each| {
            let built = each.built.as_deref().unwrap_or("-");
            let state = each.problem.as_deref().unwrap_or("in force");
            [safe(&each.database), safe(&each.kind), safe(built), safe(state)]
        });
        lines.push(table(["GEO DATABASE", "KIND", "BUILT", "STATE"], &databases.collect::<Vec<_>>()));
    }
    lines.join("\n")
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<9}{}", safe(value))
}

fn policy(status: &Status) -> String {
    let policy = &status.policy;
    format!(
        "{}: {} routes, {} roles, {} assignments, {} denies",
        short(&policy.sha256),
        policy.routes,
        policy.roles,
        policy.assignments,
        policy.denies
    )
}

fn disk(status: &Status) -> String {
    let running = short(&status.policy.sha256);
    let disk = &status.disk;
    let mut words = match disk.state {
        DiskState::Same => "the same".to_owned(),
        DiskState::Differs => {
            let found = disk.sha256.as_deref().map_or("unknown", short);
            let what = if found == running { "same policy, other files differ" } else { "not in force" };
            let remedy = match disk.governed {
                false => "`portcullis reload` puts it in force",
                true => {
                    "only what is approved becomes live: `portcullis policy propose` proposes it, and `portcullis policy rollback` with the number of the live version writes what was approved into the files again"
                }
            };
            format!("DIFFERS: running {running}, on disk {found} ({what}); {remedy}")
        }
        DiskState::Invalid => {
            format!("INVALID: running {running}, on disk {}", disk.problem.as_deref().unwrap_or("errors"))
        }
    };
    if !disk.restart.is_empty() {
        words.push_str(&format!("; needs a restart: {}", disk.restart.join(", ")));
    }
    words
}

fn reloads(status: &Status) -> String {
    let reloads = &status.reloads;
    format!("{} ok, {} failed; in force since {}", reloads.ok, reloads.error, reloads.last_success)
}

fn workers(status: &Status) -> String {
    let state = if status.workers_alive { "alive" } else { "one is STUCK" };
    format!("{}, {state}", status.workers)
}

fn audit(status: &AuditStatus) -> String {
    let last = match (&status.run, &status.at) {
        (Some(run), Some(at)) => format!("{run} of {at}: {} open findings", status.open),
        (_, _) => "none was made yet".to_owned(),
    };
    match &status.problem {
        None => last,
        Some(problem) => format!("NOT MADE as scheduled: {problem}; the last one: {last}"),
    }
}

fn state(status: &Status) -> String {
    match &status.store {
        None => "in memory: a restart forgets bans and profiles".to_owned(),
        Some(store) => match &store.trouble {
            None if store.damaged_revocations > 0 => {
                format!(
                    "{}, {} of its revocations ARE DAMAGED: see `portcullis revoke list`",
                    store.path, store.damaged_revocations
                )
            }
            None => store.path.clone(),
            Some(trouble) => {
                format!("{} CANNOT BE WRITTEN: {trouble}; a restart would forget what changes now", store.path)
            }
        },
    }
}

fn upstreams(status: &Status) -> String {
    let mut rows = Vec::new();
    for upstream in &status.upstreams {
        let circuit = if upstream.circuit_open { "open: not asked" } else { "closed" };
        for endpoint in &upstream.endpoints {
            rows.push([
                safe(&upstream.name),
                safe(&endpoint.endpoint),
                safe(&endpoint.state),
                endpoint.failures.to_string(),
                circuit.to_owned(),
            ]);
        }
    }
    table(["UPSTREAM", "ENDPOINT", "STATE", "FAILURES", "CIRCUIT"], &rows)
}
