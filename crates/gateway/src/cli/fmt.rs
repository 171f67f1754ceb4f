//! `fmt`: the configuration files in their canonical layout.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use portcullis_config::{FileToFormat, FormatError, ProcessEnvironment, files_to_format, format_bytes};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::cli::args::{FmtArgs, Format, Global};
use crate::cli::configuration::{name, show};
use crate::cli::output::{answer, answer_text, remark};
use crate::exit::Exit;

/// What is read from standard input; as much as of a policy file.
const MAX_STDIN: u64 = 64 << 20;

/// A difference that takes longer to find is shown more coarsely.
const DIFF_TIME: Duration = Duration::from_secs(2);

pub(crate) fn run(global: &Global, args: &FmtArgs) -> Exit {
    let mut worst = Exit::Success;
    let mut files = args.files.clone();
    if files.is_empty() {
        let (found, report) = files_to_format(&global.config, &ProcessEnvironment);
        files = found;
        if report.errors() > 0 {
            show(&report, global);
            worst = Exit::Configuration;
        }
    }
    let mut answers = Vec::new();
    for file in &files {
        let outcome =
            if file.as_os_str() == "-" { format_stdin(global, args) } else { format_file(global, args, file) };
        worst = more_serious(worst, outcome.exit());
        match global.output {
            Format::Human => outcome.tell(global, file),
            Format::Json => answers.push(outcome.json(file)),
            Format::Jsonl => answer(&outcome.json(file).to_string()),
        }
    }
    // What standard input became is the answer then.
    if global.output == Format::Json && files.iter().all(|file| args.check || file.as_os_str() != "-") {
        answer(&Value::Array(answers).to_string());
    }
    worst
}

/// What became of one file.
#[derive(Debug)]
enum Outcome {
    /// It was in canonical layout.
    Clean,
    /// It is now, or was written to standard output.
    Formatted,
    /// It is not, and was only looked at; with the difference, where that was asked for.
    Needed(Option<String>),
    /// It is as it was.
    Failed(FormatError),
}

fn format_file(global: &Global, args: &FmtArgs, file: &Path) -> Outcome {
    let format = || -> Result<Outcome, FormatError> {
        let found = FileToFormat::read(file)?;
        if found.is_formatted() {
            return Ok(Outcome::Clean);
        }
        if args.check {
            return Ok(Outcome::Needed(difference(global, &name(file), found.before(), found.after())));
        }
        found.write()?;
        Ok(Outcome::Formatted)
    };
    format().unwrap_or_else(Outcome::Failed)
}

fn format_stdin(global: &Global, args: &FmtArgs) -> Outcome {
    let format = || -> Result<Outcome, FormatError> {
        let mut before = Vec::new();
        let unreadable =
            |why: &dyn std::fmt::Display| FormatError::Unreadable(format!("cannot read standard input: {why}"));
        std::io::stdin().lock().take(MAX_STDIN + 1).read_to_end(&mut before).map_err(|error| unreadable(&error))?;
        if before.len() as u64 > MAX_STDIN {
            return Err(unreadable(&format!("it is larger than {} MiB", MAX_STDIN >> 20)));
        }
        let after = format_bytes(Path::new("-"), &before)?;
        if !args.check {
            answer_text(&after);
            return Ok(Outcome::Formatted);
        }
        if before == after.as_bytes() {
            return Ok(Outcome::Clean);
        }
        Ok(Outcome::Needed(difference(global, "-", &String::from_utf8_lossy(&before), &after)))
    };
    format().unwrap_or_else(Outcome::Failed)
}

/// A unified diff, if the operator wants more words.
fn difference(global: &Global, name: &str, before: &str, after: &str) -> Option<String> {
    (global.verbose > 0).then(|| {
        let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(before, after);
        diff.unified_diff().header(name, &format!("{name} (formatted)")).to_string()
    })
}

impl Outcome {
    fn exit(&self) -> Exit {
        match self {
            Self::Clean | Self::Formatted => Exit::Success,
            Self::Needed(_) => Exit::Negative,
            Self::Failed(FormatError::Invalid(_)) => Exit::Configuration,
            Self::Failed(
                FormatError::TooLarge | FormatError::Unreadable(_) | FormatError::Changed(_) | FormatError::Draft(_),
            ) => Exit::Unreachable,
            Self::Failed(FormatError::Unsound(_)) => Exit::Internal,
        }
    }

    /// For people.
    fn tell(&self, global: &Global, file: &Path) {
        match self {
            Self::Clean => {}
            Self::Formatted if global.quiet || file.as_os_str() == "-" => {}
            Self::Formatted => answer(&format!("{}: formatted", name(file))),
            Self::Needed(_) if global.quiet => {}
            Self::Needed(difference) => {
                answer(&format!("{}: not formatted", name(file)));
                difference.iter().for_each(|difference| answer_text(difference));
            }
            Self::Failed(FormatError::Invalid(report)) => show(report, global),
            Self::Failed(error @ FormatError::Unreadable(_)) => remark(&format!("error: {error}")),
            Self::Failed(error) => remark(&format!("error: {}: {error}", name(file))),
        }
    }

    /// For programs.
    fn json(&self, file: &Path) -> Value {
        let file = name(file);
        match self {
            Self::Clean => json!({ "file": file, "state": "clean" }),
            Self::Formatted => json!({ "file": file, "state": "formatted" }),
            Self::Needed(difference) => json!({ "file": file, "state": "needed", "diff": difference }),
            Self::Failed(FormatError::Invalid(report)) => {
                let problems: Value = serde_json::from_str(&report.render_json()).unwrap_or_default();
                json!({ "file": file, "state": "invalid", "problems": problems })
            }
            Self::Failed(error) => json!({ "file": file, "state": "failed", "error": error.to_string() }),
        }
    }
}

/// The exit code that a script must not miss.
fn more_serious(a: Exit, b: Exit) -> Exit {
    let order = [Exit::Success, Exit::Negative, Exit::Usage, Exit::Configuration, Exit::Unreachable, Exit::Internal];
    order.into_iter().rev().find(|exit| *exit == a || *exit == b).unwrap_or(Exit::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_outcome_is_the_exit_code() {
        assert_eq!(more_serious(Exit::Success, Exit::Success), Exit::Success);
        assert_eq!(more_serious(Exit::Negative, Exit::Success), Exit::Negative);
        assert_eq!(more_serious(Exit::Negative, Exit::Configuration), Exit::Configuration);
        assert_eq!(more_serious(Exit::Unreachable, Exit::Configuration), Exit::Unreachable);
        assert_eq!(more_serious(Exit::Unreachable, Exit::Internal), Exit::Internal);
    }
}
