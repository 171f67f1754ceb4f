//! `audit`: holds recorded events to their chain; `audit run` and its like are in [`grants`].

mod about;
mod apply;
mod grants;

use std::path::Path;

use portcullis_events::audit::{
    Audit, Beginning, Expected, Finding, Problem, Signed, Skipped, Unsigned, WhySkipped, is_hash, verify,
};
use portcullis_events::checkpoint::{BadCheckpoint, PublicKey, SigningKey};
use serde_json::{Value, json};

use crate::cli::args::{AuditArgs, AuditCommand, AuditKeygenArgs, AuditVerifyArgs, Format, Global};
use crate::cli::files;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// Who can read a private key can sign with it.
const MODE: u32 = 0o600;

pub(crate) fn run(global: &Global, args: &AuditArgs) -> Exit {
    match &args.command {
        AuditCommand::Run(_)
        | AuditCommand::Runs(_)
        | AuditCommand::Show(_)
        | AuditCommand::Diff(_)
        | AuditCommand::Apply(_)
        | AuditCommand::Suppress(_) => grants::run(global, &args.command),
        AuditCommand::Verify(args) => run_verify(global, args),
        AuditCommand::Keygen(args) => keygen(global, args),
    }
}

fn run_verify(global: &Global, args: &AuditVerifyArgs) -> Exit {
    for (option, hash) in [("--after", &args.after), ("--end", &args.end)] {
        if let Some(hash) = hash.as_ref().filter(|hash| !is_hash(hash)) {
            remark(&format!(
                "error: {option}: `{}` is no hash such as sha256:…, with 64 digits of hex",
                hash.escape_debug()
            ));
            return Exit::Usage;
        }
    }
    let keys = match args.public_key.iter().map(|file| public_key(file)).collect::<Result<Vec<_>, _>>() {
        Ok(keys) => keys,
        Err(exit) => return exit,
    };
    let most_unsigned = Some(Unsigned { events: args.max_unsigned, time: args.max_unsigned_time });
    let expected = Expected { after: args.after.as_deref(), end: args.end.as_deref(), keys: &keys, most_unsigned };
    let audit = match verify(&args.files, expected) {
        Ok(audit) => audit,
        Err((file, error)) => {
            remark(&format!("error: {}: {error}", file.display()));
            return Exit::Unreachable;
        }
    };
    let is_whole = audit.findings.is_empty() && audit.events > 0;
    if !global.quiet {
        match global.output {
            Format::Human => show(&audit),
            Format::Json | Format::Jsonl => answer(&to_json(&audit, is_whole).to_string()),
        }
    }
    if is_whole { Exit::Success } else { Exit::Negative }
}

fn public_key(file: &Path) -> Result<PublicKey, Exit> {
    let text = files::text(file).map_err(|error| {
        remark(&format!("error: {}: {error}", file.display()));
        Exit::Unreachable
    })?;
    PublicKey::from_pem(text.as_bytes()).map_err(|error| {
        remark(&format!("error: --public-key: {}: {error}", file.display()));
        Exit::Usage
    })
}

/// The private key is never printed: who reads the screen could sign.
fn keygen(global: &Global, args: &AuditKeygenArgs) -> Exit {
    let (key, private) = match SigningKey::generate() {
        Ok(made) => made,
        Err(error) => {
            remark(&format!("error: {error}"));
            return Exit::Unreachable;
        }
    };
    let file = args.out.display();
    if let Err(error) = portcullis_durable::create(&args.out, MODE, private.as_bytes()) {
        remark(&format!("error: {error}"));
        return Exit::Unreachable;
    }
    let public = key.public();
    match global.output {
        Format::Human => {
            answer(public.to_pem().trim_end());
            remark(&format!(
                "{file} is the private key {}: name it under `[event] checkpoint`, for the gateway's user alone. \
                 Keep the public key above where nobody can write who can write the event files.",
                public.id()
            ));
        }
        Format::Json | Format::Jsonl => {
            answer(&json!({ "file": file.to_string(), "id": public.id(), "public_key": public.to_pem() }).to_string())
        }
    }
    Exit::Success
}

fn show(audit: &Audit) {
    for finding in &audit.findings {
        answer(&format!("{}:{}: {}", finding.file.display(), finding.line, in_words(&finding.problem)));
    }
    if audit.more_findings > 0 {
        answer(&format!("and {} more", audit.more_findings));
    }
    for Skipped { file, why } in &audit.skipped {
        answer(&format!("{}: not looked into: {}", file.display(), why_skipped(why)));
    }
    for Beginning { file, line, why } in &audit.beginnings {
        answer(&format!("{}:{line}: a chain begins here: {why}", file.display()));
    }
    if let Some(after) = &audit.after {
        answer(&format!("begins after {after}"));
    }
    if let Some(end) = &audit.end {
        let number = audit.last_seq.map(|number| format!(", event number {number} of its process")).unwrap_or_default();
        answer(&format!("ends with   {end}{number}"));
    }
    if let Some(Signed { file, line, time }) = &audit.signed {
        answer(&format!(
            "signed up to {}:{line}, of {time}; {} later events are covered by no signature",
            file.display(),
            audit.unsigned.events
        ));
    }
    if audit.permits > 0 {
        answer(&format!("{} records of permits stand in no chain: nothing vouches for them", audit.permits));
    }
    let problems = audit.findings.len() as u64 + audit.more_findings;
    match (audit.events, problems) {
        (0, 0) if audit.permits > 0 => answer("there is no other event"),
        (0, 0) => answer("there is no event"),
        (events, 0) => answer(&format!("{events} events, one after the other, as they were written")),
        (events, problems) => answer(&format!("{events} events as they were written, {problems} problems")),
    }
}

fn why_skipped(why: &WhySkipped) -> String {
    match why {
        WhySkipped::NoEvents(what) => format!("it is no file of events but {what}"),
        WhySkipped::SameAs(other) => format!("it holds the same events as {}", other.display()),
    }
}

fn in_words(problem: &Problem) -> String {
    match problem {
        Problem::Unsealed => "this is no event as it was written: added, changed or cut short".to_owned(),
        Problem::Changed => "this event was changed: its hash is not that of the line".to_owned(),
        Problem::Unlinked { numbers: Some((before, this)) } if *this > before + 1 => format!(
            "this event (number {this}) does not follow on the one before (number {before}): {} are missing between them",
            this - before - 1
        ),
        Problem::Unlinked { .. } => {
            "this event does not follow on the one before: lines were removed, added or moved here".to_owned()
        }
        Problem::NewChain { why } => format!("a new chain begins in the middle: {why}"),
        Problem::WrongStart => "the first event does not follow on the hash that --after names".to_owned(),
        Problem::WrongEnd => {
            "the last event does not bear the hash that --end names: lines are missing after it".to_owned()
        }
        Problem::BadCheckpoint(BadCheckpoint::Unreadable) => "this checkpoint cannot be read".to_owned(),
        Problem::BadCheckpoint(BadCheckpoint::WrongLine) => {
            "this checkpoint signs other lines than those before it: they were written anew".to_owned()
        }
        Problem::BadCheckpoint(BadCheckpoint::UnknownKey(key)) => {
            format!("this checkpoint is signed with the key {}, which is none of those given", key.escape_debug())
        }
        Problem::BadCheckpoint(BadCheckpoint::WrongSignature) => "the signature of this checkpoint is wrong".to_owned(),
        Problem::Unsigned => "there is no checkpoint with a good signature".to_owned(),
        Problem::UnsignedEnd(Unsigned { events, time }) => format!(
            "{events} events follow on the last checkpoint, over {} s: more than --max-unsigned or --max-unsigned-time says, \
             so later checkpoints may have been taken away and this been written anew",
            time.as_secs()
        ),
    }
}

fn to_json(audit: &Audit, is_whole: bool) -> Value {
    let finding = |finding: &Finding| {
        let kind = match &finding.problem {
            Problem::Unsealed => "unsealed",
            Problem::Changed => "changed",
            Problem::Unlinked { .. } => "unlinked",
            Problem::NewChain { .. } => "new_chain",
            Problem::WrongStart => "wrong_start",
            Problem::WrongEnd => "wrong_end",
            Problem::BadCheckpoint(_) => "bad_checkpoint",
            Problem::Unsigned => "unsigned",
            Problem::UnsignedEnd(_) => "unsigned_end",
        };
        json!({ "file": finding.file.display().to_string(), "line": finding.line, "problem": kind,
                "message": in_words(&finding.problem) })
    };
    let beginning = |beginning: &Beginning| {
        json!({ "file": beginning.file.display().to_string(), "line": beginning.line,
                "why": serde_json::from_str::<Value>(&beginning.why).unwrap_or_else(|_| beginning.why.clone().into()) })
    };
    let signed = |Signed { file, line, time }: &Signed| json!({ "file": file.display().to_string(), "line": line, "time": time });
    let skipped =
        |skipped: &Skipped| json!({ "file": skipped.file.display().to_string(), "why": why_skipped(&skipped.why) });
    json!({
        "whole": is_whole,
        "events": audit.events,
        "permits": audit.permits,
        "findings": audit.findings.iter().map(finding).collect::<Vec<_>>(),
        "more_findings": audit.more_findings,
        "beginnings": audit.beginnings.iter().map(beginning).collect::<Vec<_>>(),
        "after": audit.after,
        "end": audit.end,
        "last_seq": audit.last_seq,
        "signed": audit.signed.as_ref().map(signed),
        "unsigned": audit.signed.as_ref().map(|_| audit.unsigned.events),
        "unsigned_s": audit.signed.as_ref().map(|_| audit.unsigned.time.as_secs()),
        "skipped": audit.skipped.iter().map(skipped).collect::<Vec<_>>(),
    })
}
