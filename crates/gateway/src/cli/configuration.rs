//! Loading the configuration for a verb, and saying what is wrong with it.

use std::io::IsTerminal as _;
use std::path::Path;

use portcullis_config::{Loaded, ProcessEnvironment, Report, load};

use crate::cli::args::{Format, Global};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;
use crate::telemetry::colour;

/// Loads the configuration that `--config` names, or reports what is wrong with it.
///
/// # Errors
/// The exit code for an invalid configuration.
pub(crate) fn loaded(global: &Global) -> Result<Loaded, Exit> {
    load(&global.config, &ProcessEnvironment).map_err(|report| {
        show(&report, global);
        Exit::Configuration
    })
}

/// Writes a report: for people on standard error, as JSON on standard output, where a machine looks for the answer.
pub(crate) fn show(report: &Report, global: &Global) {
    match global.output {
        Format::Human => {
            let text = report.render_human(colour(global.color, std::io::stderr().is_terminal()));
            remark(text.trim_end());
        }
        Format::Json | Format::Jsonl => answer(&report.render_json()),
    }
}

/// The file as a message names it.
pub(crate) fn name(path: &Path) -> String {
    path.display().to_string()
}
