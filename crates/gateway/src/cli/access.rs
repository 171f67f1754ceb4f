//! `access`: power for a time, at a running gateway.

use std::path::Path;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use portcullis_admin::access::{Access, Activation, Answer, Eligible, Power};
use portcullis_governance::power::{Act, Entry, Word};
use portcullis_governance::{Decision, Hash, SigningKey};

use crate::cli::args::{AccessActivateArgs, AccessArgs, AccessCommand, Global};
use crate::cli::governing::read;
use crate::cli::live::{ask, fail, safe, show};
use crate::cli::output::remark;
use crate::cli::table::table;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &AccessArgs) -> Exit {
    let done = match &args.command {
        AccessCommand::List { all } => list(global, *all),
        AccessCommand::Show { id } => show_one(global, *id),
        AccessCommand::Verify => told(global, &Access::Verify),
        AccessCommand::Activate(args) => activate(global, args),
        AccessCommand::Approve { id, key } => approve(global, *id, key.as_deref()),
        AccessCommand::Reject(args) => told(global, &Access::Reject { id: args.id, reason: args.reason.clone() }),
        AccessCommand::Deactivate(args) => told(global, &Access::End { id: args.id, reason: args.reason.clone() }),
    };
    done.unwrap_or_else(|exit| exit)
}

fn asked(global: &Global, wanted: &Access) -> Result<Answer, Exit> {
    ask(global, async |client| client.post("/v1/access", wanted).await)
}

fn told(global: &Global, wanted: &Access) -> Result<Exit, Exit> {
    let done = asked(global, wanted)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn activate(global: &Global, args: &AccessActivateArgs) -> Result<Exit, Exit> {
    let principal = match args.principal.contains(':') {
        true => args.principal.clone(),
        false => format!("user:{}", args.principal),
    };
    let wanted = Activation {
        assignment: args.assignment.clone(),
        principal,
        for_s: args.duration.map(|duration| duration.as_secs()),
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
    };
    told(global, &Access::Activate(wanted))
}

/// With a key: what is signed is shown first, as it stands in what is signed.
fn approve(global: &Global, id: u64, key: Option<&Path>) -> Result<Exit, Exit> {
    let Some(file) = key else { return told(global, &Access::Approve { id, approval: None }) };
    let wrong = |what: &dyn std::fmt::Display| {
        fail(global, &what.to_string());
        Exit::Negative
    };
    let key = SigningKey::from_pem(read(global, file)?.as_bytes())
        .map_err(|error| wrong(&format!("{}: {error}", file.display())))?;
    let shown = asked(global, &Access::Show { id })?;
    let record = shown.access.first().and_then(|power| BASE64.decode(power.record.as_bytes()).ok());
    let entry = record.and_then(|record| Entry::decode(&record).ok()).filter(|entry| entry.n == id);
    let Some((entry, asked_for)) = entry.as_ref().and_then(|entry| match &entry.act {
        Act::Asked(asked) => Some((entry, asked)),
        _ => None,
    }) else {
        return Err(wrong(&"the gateway shows nothing that could be signed"));
    };
    let instance = shown.instance.as_deref().and_then(|text| text.parse::<Hash>().ok()).unwrap_or(Hash::NONE);
    remark(&safe(&format!(
        "approving {id}: {} of {} for {:#}, asked for by {}: {}",
        asked_for.gives,
        asked_for.principal,
        span(asked_for.lasts_s),
        entry.by.first().map_or("nobody", String::as_str),
        if asked_for.reason.is_empty() { "no reason" } else { &asked_for.reason },
    )));
    let word = Word::sign(instance, entry.hash(), Decision::Approve, &key, Timestamp::now());
    told(global, &Access::Approve { id, approval: Some(word.armored(id)) })
}

fn span(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn list(global: &Global, all: bool) -> Result<Exit, Exit> {
    let done = asked(global, &Access::List { all })?;
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
            safe(&power.state),
            safe(&power.principal),
            safe(&power.gives),
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

fn show_one(global: &Global, id: u64) -> Result<Exit, Exit> {
    let done = asked(global, &Access::Show { id })?;
    show(global, &done, || done.access.first().map(whole).unwrap_or_default());
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
        format!("began     {}", or_none(&power.began)),
        format!("until     {}", or_none(&power.until)),
        format!("end       {}", or_none(&power.end)),
    ]
    .join("\n")
}
