//! `spike`: why there were more refusals than usual.

use portcullis_admin::api::{Spike, Spikes};
use portcullis_config::{ProcessEnvironment, store_place};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, SpikeArgs, SpikeCommand};
use crate::cli::live::{ask_or_look, fail, show};
use crate::cli::output::{answer, remark};
use crate::control::spikes::kept;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &SpikeArgs) -> Exit {
    let asked = match args.offline {
        true => look(global),
        false => ask_or_look(global, async |client| client.get("/v1/spikes").await, kept),
    };
    let spikes: Spikes = match asked {
        Ok(spikes) => spikes,
        Err(exit) => return exit,
    };
    match &args.command {
        SpikeCommand::List => {
            show(global, &spikes, || listed(&spikes, args.offline));
            Exit::Success
        }
        SpikeCommand::Explain { id } => explain(global, &spikes, id.as_deref()),
    }
}

/// What the store has, whether or not a gateway runs.
fn look(global: &Global) -> Result<Spikes, Exit> {
    let Some(store) = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists()) else {
        fail(global, "there is no store to look into");
        return Err(Exit::Unreachable);
    };
    kept(&store).map_err(|error| {
        fail(global, &error);
        Exit::Unreachable
    })
}

fn listed(spikes: &Spikes, offline: bool) -> String {
    if spikes.spikes.is_empty() && offline {
        return "no spike is kept".to_owned();
    }
    if spikes.spikes.is_empty() {
        let why = if spikes.learning { "what is usual is still being learnt" } else { "as many refusals as usual" };
        return format!("no spike: {why}");
    }
    let row = |spike: &Spike| [safe(&spike.onset), spike.excess.to_string(), safe(&spike.causes), safe(&spike.id)];
    let rows: Vec<_> = spikes.spikes.iter().map(row).collect();
    table(["BEGAN", "EXCESS", "CAUSES", "ID"], &rows)
}

/// One of them, by its id or a part of it; left out, the last one.
fn explain(global: &Global, spikes: &Spikes, id: Option<&str>) -> Exit {
    let is_it = |spike: &&Spike| id.is_none_or(|id| spike.id.contains(id));
    let Some(spike) = spikes.spikes.iter().find(is_it) else {
        remark(&match id {
            Some(id) => format!("error: there is no spike `{}`", safe(id)),
            None => "there was no spike".to_owned(),
        });
        return Exit::Negative;
    };
    match global.output {
        _ if global.quiet => {}
        Format::Human => spike.text.iter().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&serde_json::to_string_pretty(spike.report.json()).unwrap_or_default()),
        Format::Jsonl => answer(&spike.report.json().to_string()),
    }
    Exit::Success
}
