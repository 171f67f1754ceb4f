//! `check`: every problem of a configuration, in one run.

use std::path::{Path, PathBuf};

use portcullis_config::{Loaded, ProcessEnvironment, Report, load, load_with_policy};

use crate::cli::args::{CheckArgs, Format, Global};
use crate::cli::configuration::{name, show};
use crate::cli::files;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &CheckArgs) -> Exit {
    let files: Vec<&PathBuf> = if args.files.is_empty() { vec![&global.config] } else { args.files.iter().collect() };
    let mut exit = Exit::Success;
    for file in files {
        if check(global, args, file) != Exit::Success {
            exit = Exit::Configuration;
        }
    }
    exit
}

fn check(global: &Global, args: &CheckArgs, file: &Path) -> Exit {
    let loaded = if is_policy(file) && file != global.config {
        load_with_policy(&global.config, file, &ProcessEnvironment)
    } else {
        load(file, &ProcessEnvironment)
    };
    match loaded {
        Ok(loaded) => {
            if loaded.warnings.warnings() > 0 || global.output != Format::Human {
                show(&loaded.warnings, global);
            }
            let refused = args.strict && loaded.warnings.warnings() > 0;
            if global.output == Format::Human && !global.quiet {
                approve(&loaded, file, &loaded.warnings, refused);
            }
            if refused { Exit::Configuration } else { Exit::Success }
        }
        Err(report) => {
            show(&report, global);
            Exit::Configuration
        }
    }
}

fn approve(loaded: &Loaded, file: &Path, warnings: &Report, refused: bool) {
    if refused {
        remark(&format!("{}: warnings are errors with --strict", name(file)));
        return;
    }
    let remarks = match warnings.warnings() {
        0 => String::new(),
        1 => " (1 warning)".to_owned(),
        more => format!(" ({more} warnings)"),
    };
    answer(&format!("{}: ok{remarks}\n{}", name(file), loaded.summary));
}

/// Whether a file holds a policy rather than a gateway's configuration, by the tables at its beginnings of lines. A file that
/// is neither is treated as a configuration, so that its problems are reported.
pub(crate) fn is_policy(file: &Path) -> bool {
    let Ok(text) = files::text(file) else { return false };
    let has = |names: &[&str]| {
        text.lines().map(str::trim_start).any(|line| {
            let table = line.trim_start_matches('[').split([']', '.']).next().unwrap_or_default().trim();
            line.starts_with('[') && names.contains(&table)
        })
    };
    has(&["role", "assignment", "deny", "group", "network", "resource", "exclusive"])
        && !has(&["listener", "upstream", "route", "policy"])
}
