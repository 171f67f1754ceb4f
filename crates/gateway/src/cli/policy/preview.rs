//! `policy preview`: what a policy would have done to the requests that the running gateway has kept.

use std::io::Read as _;
use std::path::Path;

use portcullis_admin::api::{PolicyText, Previewed};

use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, PolicyPreviewArgs};
use crate::cli::files;
use crate::cli::governing;
use crate::cli::live::ask_to_look;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// The longest text that is tried.
const MAX_TEXT: u64 = 32 << 20;

pub(super) fn run(global: &Global, args: &PolicyPreviewArgs) -> Exit {
    let (name, text) = match super::named(&args.candidate) {
        Some(named) => match governing::policy_of(global, &named) {
            Ok(found) => found,
            Err(Exit::Negative) => return Exit::Unreachable,
            Err(exit) => return exit,
        },
        None => match read(&args.candidate) {
            Ok(text) => (name_of(&args.candidate), text),
            Err(error) => {
                remark(&format!("error: {}: {error}", args.candidate.display()));
                return Exit::Unreachable;
            }
        },
    };
    let candidate = PolicyText { name, text };
    let previewed: Previewed = {
        // That somebody is answered otherwise is the one answer with 1.
        let asked = ask_to_look(global, async |client| client.post("/v1/policy/preview", &candidate).await);
        match asked {
            Ok(previewed) => previewed,
            Err(exit) => return exit,
        }
    };
    match global.output {
        _ if global.quiet => {}
        Format::Human => {
            previewed.text.iter().for_each(|line| answer(&safe(line)));
            if let Some(hash) = previewed.report.json().get("impact_sha256").and_then(serde_json::Value::as_str) {
                answer(&format!("impact {}", safe(hash)));
            }
        }
        Format::Json => answer(&serde_json::to_string_pretty(previewed.report.json()).unwrap_or_default()),
        Format::Jsonl => answer(&previewed.report.json().to_string()),
    }
    if previewed.unchanged { Exit::Success } else { Exit::Negative }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.display().to_string());
    name.filter(|name| name != "-").unwrap_or_else(|| "policy.toml".to_owned())
}

pub(super) fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_TEXT + 1).read_to_string(&mut text)
    } else {
        files::open(path)?.take(MAX_TEXT + 1).read_to_string(&mut text)
    }?;
    if read as u64 > MAX_TEXT {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", MAX_TEXT >> 20)));
    }
    Ok(text)
}
