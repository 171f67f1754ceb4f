//! `events`: what was recorded, live and afterwards.

pub(crate) mod explain;
mod remote;
mod search;
mod stats;
mod story;
mod tail;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use portcullis_history::{EventFile, Filter, Index, Trouble, files_of};

use crate::answers::terminal::safe;
use crate::cli::args::{EventsArgs, EventsCommand, FilterArgs, Global, SpanArgs};
use crate::cli::configuration::loaded;
use crate::cli::output::remark;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &EventsArgs) -> Exit {
    let done = match &args.command {
        EventsCommand::Tail(args) => tail::run(global, args),
        EventsCommand::Search(args) => search::run(global, args),
        EventsCommand::Stats(args) => stats::run(global, args),
        EventsCommand::Explain(args) => explain::run(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

/// A moment: a time in RFC 3339, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(std::time::Duration),
}

/// `2026-11-28T12:00:00Z`, or `4h`.
///
/// # Errors
/// Anything else.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse() {
        return Ok(Moment::At(at));
    }
    let ago = crate::cli::span::parse(text);
    ago.map(Moment::Ago)
        .map_err(|_| "expected a time such as 2026-11-28T12:00:00Z, or how long ago, such as 4h".to_owned())
}

impl Moment {
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => {
                let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
                now.checked_sub(ago).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

/// The filter that was asked for. Without a time it is about the last day.
fn filter(args: &FilterArgs, span: Option<&SpanArgs>, now: Timestamp) -> Filter {
    let since = span.map(|span| span.since.unwrap_or(Moment::Ago(std::time::Duration::from_secs(86_400))).before(now));
    Filter {
        since,
        until: span.and_then(|span| span.until).map(|until| until.before(now)),
        refusals: args.deny,
        reason: args.reason.clone(),
        principal: args.user.clone(),
        network: args.ip,
        route: args.route.clone(),
        id: None,
    }
}

/// Where to look.
struct Archive {
    files: Vec<EventFile>,
    /// That of these files, where one is kept.
    index: Option<Index>,
}

/// The files that are named, else those of the configuration's file sink that has every event, rotated ones too, with their index.
fn archive(global: &Global, named: &[PathBuf]) -> Result<Archive, Exit> {
    let mut paths = named.to_vec();
    let mut index = None;
    if paths.is_empty() {
        let loaded = loaded(global)?;
        let Some(file) = loaded.events.event_file() else {
            remark(
                "error: no sink of kind \"file\" with native events is configured, so there is nothing to look into; name a \
                 file with --file",
            );
            return Err(Exit::Unreachable);
        };
        if !file.has_all {
            remark(&format!(
                "note: {} has only what the filter of the sink `{}` lets through, and no other file has more",
                safe(&file.path.display().to_string()),
                safe(file.sink)
            ));
        }
        paths.push(file.path.to_owned());
        index = loaded.index.and_then(|settings| match Index::open(&settings.path) {
            Ok(index) => index,
            Err(error) => {
                remark(&format!("note: the index cannot be used, so the files are read: {}", safe(&error.to_string())));
                None
            }
        });
    }
    // After the index: what was rotated meanwhile is known to it or read.
    let (mut files, mut failed) = (Vec::new(), false);
    for path in &paths {
        let (found, failures) = files_of(path);
        for (path, error) in failures {
            failed = true;
            remark(&format!("note: {}: {}", safe(&path.display().to_string()), safe(&error.to_string())));
        }
        files.extend(found);
    }
    if files.is_empty() && failed {
        return Err(Exit::Unreachable);
    }
    Ok(Archive { files, index })
}

/// Says what could not be read: the answer may miss something.
fn report(trouble: &Trouble) {
    if trouble.too_long + trouble.malformed > 0 {
        remark(&format!("note: {} lines could not be read", trouble.too_long + trouble.malformed));
    }
    if let Some(error) = &trouble.index {
        remark(&format!("note: the index could not be used, so the files were read: {}", safe(&error.to_string())));
    }
    for (path, error) in &trouble.files {
        remark(&format!("note: {}: {}", safe(&path.display().to_string()), safe(&error.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let found = moment(text).ok().map(|moment| moment.before(now).to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("2026-11-28T11:00:00Z", Some("2026-11-28T11:00:00Z"));
        check("2026-11-28T11:00:00+02:00", Some("2026-11-28T09:00:00Z"));
        check("4h", Some("2026-11-28T08:00:00Z"));
        check("yesterday", None);
        check("4", None);
    }
}
