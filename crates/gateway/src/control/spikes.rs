//! The spikes of refusals that were explained, as the control channel shows them.

use portcullis_admin::Told;
use portcullis_admin::api::{Spike as Shown, Spikes};

use crate::running::Running;
use crate::spiking::{Spike, found_in};

/// All of them, the last one first.
///
/// # Errors
/// That nobody looks for them.
pub(super) fn shown(running: &Running) -> Result<Spikes, String> {
    let found = running.insight().and_then(|insight| insight.spikes());
    let Some((spikes, learning)) = found else {
        return Err("spikes are not looked for: `[spike]` or `[sample]` is off".to_owned());
    };
    let spikes: Result<_, _> = spikes.iter().map(one).collect();
    Ok(Spikes { spikes: spikes.map_err(|error| error.to_string())?, learning })
}

/// Those that a store has, the last one first: for whoever asks while no gateway runs.
///
/// # Errors
/// A sentence: it cannot be used.
pub(crate) fn kept(store: &portcullis_store::Settings) -> Result<Spikes, String> {
    let spikes = found_in(store)?;
    let spikes: Result<_, _> = spikes.iter().map(one).collect();
    Ok(Spikes { spikes: spikes.map_err(|error| error.to_string())?, learning: false })
}

fn one(spike: &Spike) -> Result<Shown, serde_json::Error> {
    let explained = &spike.explained;
    let causes = explained.causes.iter().map(|cause| format!("{} {} %", cause.kind.as_str(), cause.share_percent));
    let causes: Vec<String> = causes.collect();
    Ok(Shown {
        id: spike.id.to_string(),
        onset: format!("{:.0}", explained.onset),
        excess: explained.observed.saturating_sub(explained.expected),
        causes: if causes.is_empty() { "unexplained".to_owned() } else { causes.join(", ") },
        text: explained.in_words(),
        report: Told::of(explained)?,
    })
}
