//! `audit run`, `runs`, `show`, `diff` and `suppress`: which grants are unused, too wide or dangerous. A running gateway is asked; where none
//! answers, the files and the store are looked at.

use jiff::Timestamp;
use portcullis_admin::audit::{AuditAnswer, AuditWanted};
use portcullis_admin::{ClientError, accounts};
use portcullis_config::{PolicyFiles, ProcessEnvironment, load, store_place};
use portcullis_insight::audit::{Finding, Report, Severity, Suppression, Usage, difference, markdown, sarif, text};
use portcullis_store::AuditBook;
use serde_json::json;

use super::about::{self, About};
use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::auditing::{
    Facts, InPlaceOf, Looked, Made, Suppressor, Wanted, from_rows, keep_run, last_report, look, past_of, prepare,
    suppressions,
};
use crate::cli::args::{
    AuditCommand, AuditDiffArgs, AuditRunArgs, AuditShowArgs, AuditSuppressArgs, Format, Global, ReportArgs,
    ReportFormat,
};
use crate::cli::configuration::show as show_report;
use crate::cli::live::{exit_of, fail, try_ask};
use crate::cli::output::{answer, answer_text, remark};
use crate::control::audit::kept;
use crate::exit::Exit;
use crate::governing::{Governing, Who};

pub(super) fn run(global: &Global, command: &AuditCommand) -> Exit {
    let done = match command {
        AuditCommand::Run(args) => make(global, args),
        AuditCommand::Runs(args) => runs(global, args.offline),
        AuditCommand::Show(args) => show(global, args),
        AuditCommand::Diff(args) => diff(global, args),
        AuditCommand::Apply(args) => super::apply::run(global, args),
        AuditCommand::Suppress(args) => suppress(global, args),
        AuditCommand::Verify(_) | AuditCommand::Keygen(_) => Ok(Exit::Usage),
    };
    done.unwrap_or_else(|exit| exit)
}

/// Has the running gateway do it; `None`: there is none that can be asked.
fn ask(global: &Global, wanted: &AuditWanted) -> Result<Option<AuditAnswer>, Exit> {
    match try_ask(global, async |client| client.ask::<AuditAnswer, _>(wanted).await)? {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Unreachable { .. }) if global.admin.is_none() => Ok(None),
        Err(error) => {
            fail(global, &error.to_string());
            Err(match &error {
                // Whoever cannot look has found nothing: 1 would say that it has.
                ClientError::Refused(_) if *wanted == AuditWanted::run() => Exit::Unreachable,
                error => exit_of(error),
            })
        }
    }
}

/// Whether it is said that the store was read.
static NOTED: std::sync::Once = std::sync::Once::new();

/// The same of what is kept, from the gateway or else from the store.
pub(super) fn ask_or_read(global: &Global, wanted: &AuditWanted, offline: bool) -> Result<AuditAnswer, Exit> {
    if !offline && let Some(answer) = ask_where_there_is_a_channel(global, wanted)? {
        return Ok(answer);
    }
    let opened = if wanted.changes() { book(global)? } else { book_to_look_at(global)? };
    let Some(book) = opened else {
        fail(global, "no gateway answers, and there is no store: the runs are kept in `[store]`");
        return Err(Exit::Unreachable);
    };
    if !offline {
        // A comparison reads the store three times.
        NOTED.call_once(|| remark("note: no gateway answers: this is what the store holds"));
    }
    let by = suppressor(global, wanted.changes())?;
    let answer = kept(&book, wanted, &by).map_err(|error| {
        fail(global, &error);
        Exit::Negative
    })?;
    if wanted.changes() {
        // No gateway has recorded it: the next one, or one that runs, does.
        let message = format!("{}, by {}, without a gateway", answer.message, by.shown);
        book.leave_untold(Timestamp::now().as_second(), &message).map_err(|error| {
            fail(global, &error.to_string());
            Exit::Unreachable
        })?;
    }
    Ok(answer)
}

/// Whoever this process belongs to; `changes`: as a store without a gateway knows who is who. Who only looks has the store open already, and is asked nothing.
fn suppressor(global: &Global, changes: bool) -> Result<Suppressor, Exit> {
    let uid = rustix::process::getuid().as_raw();
    let shown = match accounts::user_name(uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    };
    let store = store_place(&global.config, &ProcessEnvironment).filter(|store| changes && store.path.exists());
    let governing = store.as_ref().map(|store| Governing::open(&global.config, store, None)).transpose();
    let governing = governing.map_err(|error| {
        fail(global, &error.to_string());
        Exit::Unreachable
    })?;
    // What is approved says so, whatever the file on the disk says.
    let approved = governing.as_ref().is_some_and(Governing::is_required);
    let approvers = governing.as_ref().map(|governing| governing.approvers().0).unwrap_or_default();
    Ok(Suppressor { who: Who::of_this_process(), shown, approvers, approved })
}

/// A configuration may switch the channel off: then there is nobody to ask.
pub(super) fn ask_where_there_is_a_channel(global: &Global, wanted: &AuditWanted) -> Result<Option<AuditAnswer>, Exit> {
    let has_channel =
        global.admin.is_some() || portcullis_config::control_channel(&global.config, &ProcessEnvironment).is_some();
    if has_channel { ask(global, wanted) } else { Ok(None) }
}

/// The same, of which nothing is changed.
fn book_to_look_at(global: &Global) -> Result<Option<AuditBook>, Exit> {
    let store = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists());
    let book = store.map(|store| AuditBook::look(&store)).transpose();
    book.map_err(|error| {
        fail(global, &error.to_string());
        if error.trouble.is_lasting() { Exit::Configuration } else { Exit::Unreachable }
    })
}

/// What is kept in the store, where there is one.
fn book(global: &Global) -> Result<Option<AuditBook>, Exit> {
    let store = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists());
    let book = store.map(|store| AuditBook::open_store(&store)).transpose();
    book.map_err(|error| {
        fail(global, &error.to_string());
        if error.trouble.is_lasting() { Exit::Configuration } else { Exit::Unreachable }
    })
}

fn make(global: &Global, args: &AuditRunArgs) -> Result<Exit, Exit> {
    let about = args.shown.principal.as_deref().map(|principal| about::known(global, principal)).transpose()?;
    let asked = match args.offline {
        true => None,
        false => ask_where_there_is_a_channel(global, &AuditWanted::run())?,
    };
    let report = match asked {
        Some(answer) => report_in(global, answer)?,
        None => offline(global, None)?.0,
    };
    Ok(told(global, report, about.as_ref(), &args.shown))
}

/// Looks at the files and the store, and makes what is wanted a change.
pub(super) fn offline(global: &Global, wanted: Option<&Wanted>) -> Result<Made, Exit> {
    let mut loaded = load(&global.config, &ProcessEnvironment).map_err(|report| {
        show_report(&report, global);
        Exit::Configuration
    })?;
    let failed = |error: String| {
        fail(global, &error);
        Exit::Unreachable
    };
    let store = loaded.store.clone().filter(|store| store.path.exists());
    let mut book = book(global)?;
    let governing = store.as_ref().map(|store| Governing::open(&global.config, store, None)).transpose();
    let governing = governing.map_err(|error| failed(error.to_string()))?;
    let facts = Facts::of(&mut loaded);
    let settings = facts.settings.clone().unwrap_or_default();
    let now = Timestamp::now();
    let uses = match &book {
        Some(book) => book.key_uses().map_err(|error| error.to_string()),
        None => Err("there is no store".to_owned()),
    };
    let (usage, before, suppressed) = match &book {
        Some(book) => {
            let usage = book.usage().map_err(|error| failed(error.to_string()))?;
            (from_rows(usage, now.as_second()), last_report(book).map_err(failed)?, suppressions(book).map_err(failed)?)
        }
        None => (Usage::default(), None, Vec::new()),
    };
    let mut known = Facts::with_key_uses(facts.known.clone(), uses);
    known.unasked.extend(
        facts.directories.names().map(|name| format!("the directory `{name}` is asked by a running gateway alone")),
    );
    let files = PolicyFiles::of(&global.config, &loaded.governed).map_err(failed)?;
    let looked = Looked {
        files: &files,
        facts: &facts,
        known: &known,
        draft: &loaded.draft,
        usage: &usage,
        sample: None,
        past: past_of(governing.as_ref(), &global.config, &settings, &usage, now),
        suppressions: &suppressed,
        before: before.as_ref(),
        version: governing.as_ref().map_or(1, Governing::n).max(1),
        now,
    };
    let mut report = look(&looked).map_err(failed)?;
    // The files were read just now: they are what is on the disk.
    let place = InPlaceOf { on_disk: None, live: None };
    let prepared = wanted.map(|wanted| prepare(&looked, &report, wanted, place));
    if let Some(book) = &mut book {
        keep_run(book, &mut report, settings.keep).map_err(failed)?;
    }
    Ok((report, prepared))
}

pub(super) fn report_in(global: &Global, answer: AuditAnswer) -> Result<Report, Exit> {
    answer.report.ok_or_else(|| {
        fail(global, "the answer holds no report");
        Exit::Unreachable
    })
}

fn show(global: &Global, args: &AuditShowArgs) -> Result<Exit, Exit> {
    let about = args.shown.principal.as_deref().map(|principal| About::typed(global, principal));
    let answer = ask_or_read(global, &AuditWanted::Show { run: args.run.clone() }, args.offline)?;
    Ok(told(global, report_in(global, answer)?, about.as_ref(), &args.shown))
}

/// Writes a report, of findings about one principal alone where there is one, and says by the exit code whether something is bad enough.
fn told(global: &Global, mut report: Report, about: Option<&About>, args: &ReportArgs) -> Exit {
    let is_wanted = |finding: &Finding| {
        let kind = args.only.is_empty() || args.only.iter().any(|kind| kind.id() == finding.id);
        let principal = about.is_none_or(|about| finding.principal.as_deref().is_some_and(|name| about.is(name)));
        kind && principal
    };
    report.findings.retain(is_wanted);
    if !global.quiet {
        match (args.format, global.output) {
            (Some(ReportFormat::Markdown), _) => answer_text(&markdown(&report)),
            (Some(ReportFormat::Sarif), _) => {
                let log = sarif(&report, env!("CARGO_PKG_VERSION"));
                answer(&serde_json::to_string_pretty(&log).unwrap_or_default());
            }
            (None, Format::Human) => text(&report).iter().for_each(|line| answer(&safe(line))),
            (None, Format::Json) => answer(&serde_json::to_string_pretty(&report).unwrap_or_default()),
            (None, Format::Jsonl) => {
                report.findings.iter().for_each(|finding| answer(&serde_json::to_string(finding).unwrap_or_default()));
            }
        }
    }
    match args.fail_on.0 {
        Some(least) if report.has_open(least) => Exit::Negative,
        Some(_) | None => Exit::Success,
    }
}

fn runs(global: &Global, offline: bool) -> Result<Exit, Exit> {
    let answered = ask_or_read(global, &AuditWanted::Runs, offline)?;
    match global.output {
        _ if global.quiet => {}
        Format::Human if answered.runs.is_empty() => remark("no audit was made yet: `portcullis audit run` makes one"),
        Format::Human => {
            let rows: Vec<[String; 2]> = answered.runs.iter().map(|run| [safe(&run.run), safe(&run.at)]).collect();
            answer(&table(["RUN", "MADE"], &rows));
        }
        Format::Json => answer(&serde_json::to_string_pretty(&answered.runs).unwrap_or_default()),
        Format::Jsonl => answered.runs.iter().for_each(|run| answer(&serde_json::to_string(run).unwrap_or_default())),
    }
    Ok(Exit::Success)
}

fn diff(global: &Global, args: &AuditDiffArgs) -> Result<Exit, Exit> {
    let listed = ask_or_read(global, &AuditWanted::Runs, args.offline)?.runs;
    let nth = |place: usize| listed.get(place).map(|run| run.run.clone());
    let (Some(from), Some(to)) = (args.from.clone().or_else(|| nth(1)), args.to.clone().or_else(|| nth(0))) else {
        fail(global, "there are not two runs to compare: `portcullis audit run` makes one");
        return Err(Exit::Negative);
    };
    let of = |run: String| {
        let answer = ask_or_read(global, &AuditWanted::Show { run: Some(run) }, args.offline)?;
        report_in(global, answer)
    };
    let (from, to) = (of(from)?, of(to)?);
    let found = difference(&from, &to);
    match global.output {
        _ if global.quiet => {}
        Format::Human => {
            answer(&format!(
                "from {} to {}: {} new, {} resolved, {} of another severity, {} as before",
                safe(&found.from),
                safe(&found.to),
                found.new.len(),
                found.resolved.len(),
                found.changed.len(),
                found.unchanged
            ));
            found.new.iter().for_each(|finding| answer(&format!("+ {}", in_a_line(finding))));
            found.resolved.iter().for_each(|finding| answer(&format!("- {}", in_a_line(finding))));
            for (before, now) in &found.changed {
                answer(&format!("~ {}, before {}", in_a_line(now), before.severity.as_str()));
            }
        }
        Format::Json => answer(&serde_json::to_string_pretty(&found).unwrap_or_default()),
        Format::Jsonl => answer(&serde_json::to_string(&found).unwrap_or_default()),
    }
    let is_bad = |least: Severity| {
        let new = found.new.iter().any(|finding| finding.is_open() && finding.severity >= least);
        let is_worse = |(before, now): &&(Finding, Finding)| now.severity > before.severity;
        let worse = found.changed.iter().filter(|pair| is_worse(pair));
        new || worse.into_iter().any(|(_, now)| now.is_open() && now.severity >= least)
    };
    Ok(if args.fail_on.0.is_some_and(is_bad) { Exit::Negative } else { Exit::Success })
}

fn in_a_line(finding: &Finding) -> String {
    safe(&format!("{} {} {} ({})", finding.severity.as_str(), finding.id, finding.message, finding.fingerprint))
}

fn suppress(global: &Global, args: &AuditSuppressArgs) -> Result<Exit, Exit> {
    let wanted = match (&args.fingerprint, args.lift) {
        (Some(fingerprint), true) => AuditWanted::Unsuppress { fingerprint: fingerprint.clone() },
        (Some(fingerprint), false) => AuditWanted::Suppress {
            fingerprint: fingerprint.clone(),
            owner: args.owner.clone().unwrap_or_default(),
            reason: args.reason.clone().unwrap_or_default(),
            until: Timestamp::now().as_second().saturating_add(i64::try_from(args.lasts.as_secs()).unwrap_or(i64::MAX)),
        },
        (None, _) if args.list => AuditWanted::Suppressions,
        (None, _) => {
            remark("error: name the fingerprint of a finding, or write --list");
            return Err(Exit::Usage);
        }
    };
    let answered = ask_or_read(global, &wanted, args.offline)?;
    match (&wanted, global.output) {
        _ if global.quiet => {}
        (AuditWanted::Suppressions, Format::Human) => answer(&listed(&answered.suppressions)),
        (AuditWanted::Suppressions, Format::Json) => {
            answer(&serde_json::to_string_pretty(&answered.suppressions).unwrap_or_default());
        }
        (AuditWanted::Suppressions, Format::Jsonl) => {
            for one in &answered.suppressions {
                answer(&serde_json::to_string(one).unwrap_or_default());
            }
        }
        (_, Format::Human) => answer(&safe(&answered.message)),
        (_, Format::Json | Format::Jsonl) => answer(&json!({ "message": answered.message }).to_string()),
    }
    Ok(Exit::Success)
}

fn listed(suppressions: &[Suppression]) -> String {
    let now = Timestamp::now().as_second();
    let row = |one: &Suppression| {
        let shown = Timestamp::from_second(one.until).map(|until| until.to_string()).unwrap_or_default();
        let standing = if one.until > now { shown } else { format!("over since {shown}") };
        [safe(&one.fingerprint), standing, safe(&one.owner), safe(&one.made_by), safe(&one.reason)]
    };
    let rows: Vec<[String; 5]> = suppressions.iter().map(row).collect();
    if rows.is_empty() {
        "nothing is suppressed".to_owned()
    } else {
        table(["FINDING", "UNTIL", "OWNER", "BY", "REASON"], &rows)
    }
}
