//! `access`: power for a time, at a running gateway. Where none runs, what there is is read from the store.

mod taking;

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use portcullis_admin::access::{Access, Activation, Answer, BreakGlass, Eligible, Granting, Power, Requesting, Seal};
use portcullis_governance::power::{Act, Breaking, Entry, PowerKind, Statement, Word};
use portcullis_governance::{Decision, Hash};
use portcullis_policy::Lent;
use portcullis_store::Settings;

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{
    AccessActivateArgs, AccessArgs, AccessBreakGlassArgs, AccessCommand, AccessGrantArgs, AccessRequestArgs,
    AccessSealArgs, AccessSignBreakGlassArgs, Format, Global, OfflineArgs,
};
use crate::cli::governing::{key_in, read, signing_key, write};
use crate::cli::live::{ask, ask_or_look_unless, fail, show};
use crate::cli::output::{answer_text, remark};
use crate::exit::Exit;
use crate::lending::offline;

pub(crate) fn run(global: &Global, args: &AccessArgs) -> Exit {
    let done = match &args.command {
        AccessCommand::List { all, offline } => list(global, *all, *offline),
        AccessCommand::Show { id, offline } => show_one(global, *id, *offline),
        AccessCommand::Verify(args) if args.take_as_it_is => taking::take(global, args),
        AccessCommand::Verify(args) => verify(global, args.offline),
        AccessCommand::Activate(args) => activate(global, args),
        AccessCommand::Approve { id, key } => approve(global, *id, key.as_deref()),
        AccessCommand::Reject(args) => told(global, &Access::Reject { id: args.id, reason: args.reason.clone() }),
        AccessCommand::Deactivate(args) => told(global, &Access::End { id: args.id, reason: args.reason.clone() }),
        AccessCommand::Seal(args) => seal(global, args),
        AccessCommand::BreakGlass(args) => break_glass(global, args),
        AccessCommand::SignBreakGlass(args) => sign_break_glass(global, args),
        AccessCommand::Review { id, remark, key } => review(global, *id, remark, key.as_deref()),
        AccessCommand::Request(args) => request(global, args),
        AccessCommand::Grant(args) => grant(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn asked(global: &Global, wanted: &Access) -> Result<Answer, Exit> {
    asked_unless(global, wanted, OfflineArgs::default())
}

fn asked_unless(global: &Global, wanted: &Access, OfflineArgs { offline }: OfflineArgs) -> Result<Answer, Exit> {
    if !offline::is_a_look(wanted) {
        return ask(global, async |client| client.ask(wanted).await);
    }
    let on_the_store = |store: &Settings| offline::look(store, wanted, Timestamp::now());
    ask_or_look_unless(global, offline, async |client| client.ask(wanted).await, on_the_store)
}

fn verify(global: &Global, offline: OfflineArgs) -> Result<Exit, Exit> {
    let done = asked_unless(global, &Access::Verify, offline)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn told(global: &Global, wanted: &Access) -> Result<Exit, Exit> {
    let done = asked(global, wanted)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

/// Without a kind it is a user.
fn named(principal: &str) -> String {
    if principal.contains(':') { principal.to_owned() } else { format!("user:{principal}") }
}

fn seal(global: &Global, args: &AccessSealArgs) -> Result<Exit, Exit> {
    let wanted = Seal {
        principal: named(&args.principal),
        for_s: args.duration.map(|duration| duration.as_secs()),
        reason: args.reason.clone(),
    };
    let done = asked(global, &Access::Seal(wanted))?;
    if global.output == Format::Human {
        remark(&safe(&done.message));
    }
    // The code alone, so that it can go straight to a printer.
    show(global, &done, || done.code.as_deref().map(safe).unwrap_or_default());
    Ok(Exit::Success)
}

/// The longest code that is read, in bytes.
const MAX_CODE: u64 = 256;

fn break_glass(global: &Global, args: &AccessBreakGlassArgs) -> Result<Exit, Exit> {
    if let Some(statement) = &args.statement {
        let statement = read(global, statement)?;
        return told(global, &Access::BreakGlassSigned { statement });
    }
    let (Some(principal), Some(role), Some(reason)) = (&args.principal, &args.role, &args.reason) else {
        return Err(Exit::Usage);
    };
    if let Some(key) = &args.key {
        let instance = asked(global, &Access::List { all: false })?.instance;
        let Some(instance) = instance.as_deref().and_then(|text| text.parse::<Hash>().ok()) else {
            fail(global, "glass is broken by a key where governance has begun: see `portcullis governance init`");
            return Err(Exit::Negative);
        };
        let breaking = Breaking {
            instance,
            principal: named(principal),
            gives: given(role, &args.routes),
            lasts_s: args.duration.map_or(HOUR_S, |duration| duration.as_secs()),
            reason: reason.clone(),
            ticket: args.ticket.clone().unwrap_or_default(),
        };
        let statement = statement(global, breaking, SignedDuration::from_mins(5), key)?;
        return told(global, &Access::BreakGlassSigned { statement: statement.armored() });
    }
    if std::io::stdin().is_terminal() {
        remark("the code, and Enter:");
    }
    // Never from the command line, where others can see it.
    let mut code = String::new();
    let read = std::io::stdin().lock().take(MAX_CODE).read_line(&mut code);
    if read.is_err() || code.trim().is_empty() {
        fail(global, "the code is read from standard input, and there is none");
        return Err(Exit::Negative);
    }
    let wanted = BreakGlass {
        principal: named(principal),
        role: role.clone(),
        routes: args.routes.clone(),
        for_s: args.duration.map(|duration| duration.as_secs()),
        code,
        reason: reason.clone(),
        ticket: args.ticket.clone(),
    };
    told(global, &Access::BreakGlass(wanted))
}

/// For so long glass is broken by a key where nobody says.
const HOUR_S: u64 = 3_600;

fn given(role: &str, routes: &[String]) -> String {
    Lent::Role { role: role.into(), routes: routes.iter().map(|route| route.as_str().into()).collect() }.to_string()
}

/// It needs no gateway, and asks none.
fn sign_break_glass(global: &Global, args: &AccessSignBreakGlassArgs) -> Result<Exit, Exit> {
    let Ok(instance) = args.instance.parse::<Hash>() else {
        fail(global, "--instance: expected the 64 digits that `portcullis governance status` shows");
        return Err(Exit::Usage);
    };
    let valid = SignedDuration::try_from(args.valid).unwrap_or(SignedDuration::MAX);
    if valid > Statement::LONGEST {
        fail(global, "--valid: a statement may be used for at most 24h");
        return Err(Exit::Usage);
    }
    let breaking = Breaking {
        instance,
        principal: named(&args.principal),
        gives: given(&args.role, &args.routes),
        lasts_s: args.duration.as_secs(),
        reason: args.reason.clone(),
        ticket: args.ticket.clone().unwrap_or_default(),
    };
    let text = statement(global, breaking, valid, &args.key)?.armored();
    match &args.out {
        // Whoever has it can use it.
        Some(out) => write(global, out, text.as_bytes(), 0o600)?,
        None => answer_text(&text),
    }
    Ok(Exit::Success)
}

/// Shows what is signed, and signs it.
fn statement(global: &Global, breaking: Breaking, valid: SignedDuration, key: &Path) -> Result<Statement, Exit> {
    let key = signing_key(global, key)?;
    let statement = Statement::sign(breaking, valid, &key, Timestamp::now()).map_err(|error| {
        fail(global, &error.to_string());
        Exit::Internal
    })?;
    let Breaking { principal, gives, lasts_s, reason, .. } = &statement.breaking;
    remark(&safe(&format!(
        "breaking glass: {gives} of {principal} for {:#}, to be used within {valid:#}: {reason}",
        span(*lasts_s)
    )));
    Ok(statement)
}

fn review(global: &Global, id: u64, remark: &str, key: Option<&Path>) -> Result<Exit, Exit> {
    let approval = key.map(|file| signed(global, id, file, "reviewing")).transpose()?;
    told(global, &Access::Review { id, remark: remark.to_owned(), approval })
}

fn request(global: &Global, args: &AccessRequestArgs) -> Result<Exit, Exit> {
    let wanted = Requesting { event: args.event.clone(), principal: None, reason: args.reason.clone() };
    let done = asked(global, &Access::Request(wanted))?;
    show(global, &done, || {
        let roles: Vec<String> = done.suggested.iter().map(|role| safe(role)).collect();
        let would = if roles.is_empty() {
            "no role permits it".to_owned()
        } else {
            format!("would permit it, the narrowest first: {}", roles.join(", "))
        };
        format!("{}\n{would}", safe(&done.message))
    });
    Ok(Exit::Success)
}

fn grant(global: &Global, args: &AccessGrantArgs) -> Result<Exit, Exit> {
    let wanted =
        Granting { id: args.id, role: args.role.clone(), routes: args.routes.clone(), for_s: args.duration.as_secs() };
    told(global, &Access::Grant(wanted))
}

fn activate(global: &Global, args: &AccessActivateArgs) -> Result<Exit, Exit> {
    let wanted = Activation {
        assignment: args.assignment.clone(),
        principal: named(&args.principal),
        for_s: args.duration.map(|duration| duration.as_secs()),
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
    };
    told(global, &Access::Activate(wanted))
}

/// With a key: what is signed is shown first, as it stands in what is signed.
fn approve(global: &Global, id: u64, key: Option<&Path>) -> Result<Exit, Exit> {
    let approval = key.map(|file| signed(global, id, file, "approving")).transpose()?;
    told(global, &Access::Approve { id, approval })
}

/// Shows what is signed, from what is signed, and signs it.
fn signed(global: &Global, id: u64, file: &Path, doing: &str) -> Result<String, Exit> {
    let wrong = |what: &dyn std::fmt::Display| {
        fail(global, &what.to_string());
        Exit::Negative
    };
    let key = key_in(global, file, Exit::Negative)?;
    let wanted = Access::Show { id };
    let shown: Answer = ask(global, async |client| client.ask_for_all(&wanted).await)?;
    let record = shown.access.first().and_then(|power| BASE64.decode(power.record.as_bytes()).ok());
    let entry = record.and_then(|record| Entry::decode(&record).ok()).filter(|entry| entry.n == id);
    let Some((entry, asked_for)) = entry.as_ref().and_then(|entry| match &entry.act {
        Act::Asked(asked) => Some((entry, asked)),
        _ => None,
    }) else {
        return Err(wrong(&"the gateway shows nothing that could be signed"));
    };
    let instance = shown.instance.as_deref().and_then(|text| text.parse::<Hash>().ok()).unwrap_or(Hash::NONE);
    let opens = shown.access.first().and_then(|power| power.opens.as_deref());
    let gives = match asked_for.kind {
        PowerKind::Seal => format!(
            "a code that opens {}, by the policy of now (its hash is {}),",
            opens.unwrap_or("what the gateway does not say"),
            asked_for.gives
        ),
        _ => asked_for.gives.clone(),
    };
    remark(&safe(&format!(
        "{doing} {id}: {gives} of {} for {:#}, asked for by {}: {}",
        asked_for.principal,
        span(asked_for.lasts_s),
        entry.by.first().map_or("nobody", String::as_str),
        if asked_for.reason.is_empty() { "no reason" } else { &asked_for.reason },
    )));
    let word = Word::sign(instance, entry.hash(), Decision::Approve, &key, Timestamp::now());
    Ok(word.armored(id))
}

fn span(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn list(global: &Global, all: bool, offline: OfflineArgs) -> Result<Exit, Exit> {
    let done = asked_unless(global, &Access::List { all }, offline)?;
    if done.more {
        remark("note: there was more before these");
    }
    show(global, &done, || {
        let mut words = match done.access.is_empty() {
            true => "nobody has power for a time".to_owned(),
            false => powers(&done.access),
        };
        if !done.eligible.is_empty() {
            words.push_str("\n\n");
            words.push_str(&eligible(&done.eligible));
        }
        words
    });
    Ok(Exit::Success)
}

fn powers(powers: &[Power]) -> String {
    let row = |power: &Power| {
        [
            power.id.to_string(),
            safe(&power.kind),
            if power.unreviewed { format!("{}, unreviewed", safe(&power.state)) } else { safe(&power.state) },
            safe(&power.principal),
            if power.kind == "seal" {
                power.opens.as_deref().map_or_else(|| "-".to_owned(), safe)
            } else {
                safe(&power.gives)
            },
            power.until.as_deref().map_or_else(|| "-".to_owned(), safe),
            approvals(power),
            safe(&power.reason),
        ]
    };
    let rows: Vec<_> = powers.iter().map(row).collect();
    table(["ID", "KIND", "STATE", "PRINCIPAL", "GIVES", "UNTIL", "APPROVED BY", "REASON"], &rows)
}

fn approvals(power: &Power) -> String {
    match (power.approvals, power.approved_by.as_slice()) {
        // Whoever granted it is who gave it.
        (0, _) if power.kind == "loan" => safe(&format!("{} (granted it)", power.by)),
        (need, by) if power.kind == "loan" => {
            safe(&format!("{} (granted it) {} ({} of {need})", power.by, by.join(" "), by.len()))
        }
        (0, _) => "-".to_owned(),
        (need, by) => safe(format!("{} ({} of {need})", by.join(" "), by.len()).trim()),
    }
}

fn eligible(eligible: &[Eligible]) -> String {
    let row = |each: &Eligible| {
        let mut takes = Vec::new();
        takes.extend(each.justification.then(|| "reason".to_owned()));
        takes.extend(each.ticket.then(|| "ticket".to_owned()));
        takes.extend((each.approvals > 0).then(|| format!("{} approvals", each.approvals)));
        let takes = if takes.is_empty() { "-".to_owned() } else { takes.join(" ") };
        let names: Vec<&str> = each.principals.iter().take(4).map(String::as_str).collect();
        let more = if each.principals.len() > 4 { " …" } else { "" };
        [
            safe(&each.assignment),
            safe(&each.role),
            safe(&format!("{}{more}", names.join(" "))),
            format!("{:#}", span(each.max_s)),
            takes,
        ]
    };
    let rows: Vec<_> = eligible.iter().map(row).collect();
    table(["ELIGIBLE", "ROLE", "PRINCIPALS", "AT MOST", "TAKES"], &rows)
}

fn show_one(global: &Global, id: u64, offline: OfflineArgs) -> Result<Exit, Exit> {
    let done = asked_unless(global, &Access::Show { id }, offline)?;
    show(global, &done, || {
        let mut words = done.access.first().map(whole).unwrap_or_default();
        if !done.suggested.is_empty() {
            let roles: Vec<String> = done.suggested.iter().map(|role| safe(role)).collect();
            words.push_str(&format!("\nroles     {}", roles.join(", ")));
        }
        words
    });
    Ok(Exit::Success)
}

fn whole(power: &Power) -> String {
    let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), safe);
    let approved = if power.approvals == 0 { "nobody had to".to_owned() } else { approvals(power) };
    [
        format!("{} {}: {}", safe(&power.kind), power.id, safe(&power.state)),
        format!("for       {}", safe(&power.principal)),
        format!("gives     {}", safe(&power.gives)),
        format!("asked     {} by {}, for {:#}", safe(&power.asked), safe(&power.by), span(power.for_s)),
        format!("reason    {}", if power.reason.is_empty() { "-".to_owned() } else { safe(&power.reason) }),
        format!("ticket    {}", or_none(&power.ticket)),
        format!("approved  {approved}"),
        format!(
            "reviewed  {}",
            if power.reviewed_by.is_empty() { "-".to_owned() } else { safe(&power.reviewed_by.join("; ")) }
        ),
        format!("began     {}", or_none(&power.began)),
        format!("until     {}", or_none(&power.until)),
        format!("end       {}", or_none(&power.end)),
    ]
    .join("\n")
}
