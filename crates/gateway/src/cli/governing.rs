//! `policy`, `approver` and `governance`, as far as they are about versions: the running gateway is asked, or the store where none runs.

mod effects;
mod keys;
mod rejecting;
mod review;
mod words;

use std::path::Path;

use data_encoding::BASE64;
use jiff::Timestamp;
use portcullis_admin::ClientError;
use portcullis_admin::govern::{Answer, Author, Governed, NewApprover, Proposed};
use portcullis_config::{Loaded, ProcessEnvironment, load, store_place};
use portcullis_governance::{
    Approval, Class, Content, Decision, Governor, HeadFile, Kind, PublicKey, Request, armored_approval,
};
use portcullis_store::Versions;

use crate::answers::terminal::safe;
use crate::cli::args::{
    ApproverCommand, ApproverKeyArgs, AuthorArgs, Global, GovernanceCommand, Named, PolicyApproveArgs,
    PolicyProposeArgs, PolicyRevertArgs, PolicyRollbackArgs, PolicyShowArgs, PolicySignArgs,
};
use crate::cli::check::is_policy;
use crate::cli::configuration::show as show_report;
use crate::cli::files;
use crate::cli::live::{exit_of, fail, show, try_ask};
use crate::cli::output::{answer_text, remark};
use crate::exit::Exit;
use crate::governing::{Governing, GoverningError, Offline, Weight, Who, content_of, load_sealed};

pub(crate) use keys::{key_in, signing_key};
pub(crate) use rejecting::reject;

/// Asks the running gateway, or does it on the store.
pub(crate) fn asked(global: &Global, wanted: Governed) -> Result<Answer, Exit> {
    let answer = try_ask(global, async |client| client.ask(&wanted).await)?;
    or_on_the_store(global, wanted, answer)
}

/// The same with the files, and with what is signed: whoever may only look is refused these.
fn asked_for_all(global: &Global, wanted: Governed) -> Result<Answer, Exit> {
    let answer = try_ask(global, async |client| client.ask_for_all(&wanted).await)?;
    or_on_the_store(global, wanted, answer)
}

/// The same where there is an answer for whoever may only look, too: then nothing is signed by it, and that is said.
fn asked_for_what_there_is(global: &Global, wanted: Governed) -> Result<Answer, Exit> {
    let whole = try_ask(global, async |client| client.ask_for_all(&wanted).await)?;
    let Err(ClientError::Forbidden { .. }) = &whole else { return or_on_the_store(global, wanted, whole) };
    let part: Result<Answer, _> = try_ask(global, async |client| client.ask(&wanted).await)?;
    if part.is_ok() {
        remark(
            "note: this is for who may only look: what is signed, and the files, the gateway shows whom it lets post",
        );
    }
    or_on_the_store(global, wanted, part)
}

fn or_on_the_store(global: &Global, wanted: Governed, asked: Result<Answer, ClientError>) -> Result<Answer, Exit> {
    match asked {
        Ok(answer) => Ok(answer),
        Err(error @ ClientError::Unreachable { .. }) if global.admin.is_none() => on_the_store(global, wanted, &error),
        Err(error) => {
            fail(global, &error.to_string());
            Err(exit_of(&error))
        }
    }
}

/// No gateway answers. Whoever may write the store may do what the gateway's user may; approvals are signed all the same.
fn on_the_store(global: &Global, wanted: Governed, unreachable: &ClientError) -> Result<Answer, Exit> {
    let is_init = matches!(wanted, Governed::Init { .. });
    let store = store_place(&global.config, &ProcessEnvironment).filter(|store| is_init || store.path.exists());
    let Some(store) = store else {
        fail(global, &format!("{unreachable}; and there is no store to look into"));
        return Err(Exit::Unreachable);
    };
    let open = || match wanted.action().is_none() {
        true => Governing::look(&global.config, &store),
        false => Governing::open_alone(&global.config, &store),
    };
    let opened = match open() {
        // Beginning was cut off before the head file was written: who begins again finishes it.
        Err(GoverningError::Governance(_)) if is_init => finish_beginning(&store).and_then(|()| open()),
        opened => opened,
    };
    let governing = opened.map_err(|error| {
        fail(global, &error.to_string());
        if error.is_lasting() { Exit::Negative } else { Exit::Unreachable }
    })?;
    let who = Who::of_this_process();
    let mut performed = governing.perform(wanted, &who, &Offline, Timestamp::now()).map_err(|error| {
        fail(global, &error);
        Exit::Negative
    })?;
    if performed.activated.is_some() {
        performed.answer.message.push_str("; no gateway runs: it is in force at the next start");
    }
    Ok(performed.answer)
}

fn finish_beginning(store: &portcullis_store::Settings) -> Result<(), GoverningError> {
    let versions = Versions::open(store)?;
    Ok(Governor::finish_beginning(&versions, &mut HeadFile::beside(&store.path), Timestamp::now())?)
}

fn author(by: &AuthorArgs) -> Author {
    Author { name: by.author.clone(), reason: by.reason.clone(), ticket: by.ticket.clone() }
}

/// Does it, and says what came of it.
pub(crate) fn told(global: &Global, wanted: Governed) -> Result<Exit, Exit> {
    let done = asked(global, wanted)?;
    show(global, &done, || words::of_change(&done));
    Ok(Exit::Success)
}

pub(crate) fn list(global: &Global, most: u64) -> Result<Exit, Exit> {
    let done = asked(global, Governed::List { most, before: None })?;
    show(global, &done, || words::of_list(&done));
    Ok(Exit::Success)
}

/// What is live, and how far a version has come that is rolled out.
pub(crate) fn status(global: &Global) -> Result<Exit, Exit> {
    let done = asked(global, Governed::List { most: 1, before: None })?;
    show(global, &done, || words::of_status(&done));
    Ok(Exit::Success)
}

pub(crate) fn show_version(global: &Global, args: &PolicyShowArgs) -> Result<Exit, Exit> {
    let done = match (&args.of, &args.file) {
        (Named::Version(_), None) => asked(global, wanted(&args.of))?,
        (Named::Change(_), None) => asked_for_what_there_is(global, wanted(&args.of))?,
        (_, Some(_)) => asked_for_all(global, wanted(&args.of))?,
    };
    if let Some(name) = &args.file {
        let found = done.files.iter().find(|file| file.name == *name);
        let bytes = found.and_then(|file| BASE64.decode(file.content.as_bytes()).ok());
        let Some(bytes) = bytes else {
            fail(global, &format!("{} has no file `{name}`", done.message));
            return Err(Exit::Negative);
        };
        answer_text(&String::from_utf8_lossy(&bytes));
        return Ok(Exit::Success);
    }
    let Named::Change(_) = &args.of else {
        show(global, &done, || words::of_version(&done));
        return Ok(Exit::Success);
    };
    let Some(request) = done.request.as_deref() else {
        show(global, &done, || words::of_waiting(&done));
        return Ok(Exit::Success);
    };
    // What is signed is what is shown, worked out from that here.
    let request = parsed(global, "the request", request)?;
    show(global, &done, || {
        let state = done.changes.first().map_or("", |change| change.state.as_str());
        let missing = done.changes.first().and_then(|change| change.missing.as_deref());
        let found = effects::of(&global.config, &request);
        let state = safe(&missing.map_or_else(|| state.to_owned(), |missing| format!("{state}: {missing}")));
        format!("state     {state}\n{}", review::of(&request, &found.lines))
    });
    Ok(Exit::Success)
}

fn wanted(of: &Named) -> Governed {
    match of {
        Named::Version(n) => Governed::Show { n: Some(*n), change: None },
        Named::Change(id) => Governed::Show { n: None, change: Some(id.clone()) },
    }
}

pub(crate) fn verify(global: &Global) -> Result<Exit, Exit> {
    let done = asked(global, Governed::Verify)?;
    show(global, &done, || words::of_verification(&done));
    Ok(Exit::Success)
}

pub(crate) fn propose(global: &Global, args: &PolicyProposeArgs) -> Result<Exit, Exit> {
    let by = author(&args.by);
    let proposed = match &args.file {
        None => Proposed { policy: None, files: None, again: args.again.clone(), base: None, by },
        Some(file) if is_policy(file) => {
            Proposed { policy: Some(read(global, file)?), files: None, again: None, base: None, by }
        }
        Some(file) => {
            let loaded = load(file, &ProcessEnvironment).map_err(|report| {
                show_report(&report, global);
                Exit::Configuration
            })?;
            let files = content_of(&loaded).files.into_iter();
            let files =
                files.map(|(name, bytes)| portcullis_admin::govern::File { name, content: BASE64.encode(&bytes) });
            Proposed { policy: None, files: Some(files.collect()), again: None, base: None, by }
        }
    };
    told(global, Governed::Propose(proposed))
}

pub(crate) fn request(global: &Global, change: &str, out: Option<&Path>) -> Result<Exit, Exit> {
    let done = asked(global, Governed::Request { id: change.to_owned() })?;
    let text = done.request.unwrap_or_default();
    match out {
        Some(out) => {
            // What is in it is what the files of the gateway hold, hashes of keys and passwords among it.
            write(global, out, text.as_bytes(), 0o600)?;
            remark(&format!("{} is to be signed with `portcullis policy sign`", out.display()));
        }
        None => answer_text(&text),
    }
    Ok(Exit::Success)
}

/// Shows what is asked, and signs it where a key is given. It needs no gateway, and believes none.
pub(crate) fn sign(global: &Global, args: &PolicySignArgs) -> Result<Exit, Exit> {
    let request = parsed(global, &args.request.display().to_string(), &read(global, &args.request)?)?;
    let found = reviewed(global, &request);
    let Some(key) = &args.key else { return Ok(Exit::Success) };
    let key = signing_key(global, key)?;
    if !args.reject {
        borne_out(global, &request, &found)?;
        acknowledged(global, &request, args.acknowledge.as_deref())?;
    }
    let decision = if args.reject { Decision::Reject } else { Decision::Approve };
    let approval = Approval::sign(request.instance, &request.change, decision, &key, Timestamp::now());
    let text = armored_approval(request.change.id, &approval);
    match &args.out {
        Some(out) => write(global, out, text.as_bytes(), 0o644)?,
        None => answer_text(&text),
    }
    remark(&format!("signed with the key {}: {}", key.public().id(), decision.as_str()));
    Ok(Exit::Success)
}

pub(crate) fn approve(global: &Global, args: &PolicyApproveArgs) -> Result<Exit, Exit> {
    let approval = match (&args.approval, &args.change, &args.key) {
        (Some(file), _, _) => read(global, file)?,
        (None, Some(change), Some(key)) => {
            let done = asked(global, Governed::Request { id: change.clone() })?;
            let request = parsed(global, "the request", &done.request.unwrap_or_default())?;
            let key = signing_key(global, key)?;
            let found = reviewed(global, &request);
            borne_out(global, &request, &found)?;
            acknowledged(global, &request, args.acknowledge.as_deref())?;
            let approval = Approval::sign(request.instance, &request.change, Decision::Approve, &key, Timestamp::now());
            armored_approval(request.change.id, &approval)
        }
        (None, _, _) => return Err(Exit::Usage),
    };
    told(global, Governed::Approve { approval })
}

/// Shows what is asked.
fn reviewed(global: &Global, request: &Request) -> effects::Found {
    let found = effects::of(&global.config, request);
    remark(&review::of(request, &found.lines));
    found
}

/// What would be signed is what is found here, as far as that can be found.
fn borne_out(global: &Global, request: &Request, found: &effects::Found) -> Result<(), Exit> {
    match effects::contradicted(request, found) {
        None => Ok(()),
        Some(contradiction) => {
            fail(global, &contradiction);
            Err(Exit::NotPermitted)
        }
    }
}

/// Whoever has somebody denied or let in says that this is what they want: by the hash that they sign, so that nobody does it by habit.
fn acknowledged(global: &Global, request: &Request, said: Option<&str>) -> Result<(), Exit> {
    let Some(what) = to_acknowledge(request) else { return Ok(()) };
    let hash = request.change.impact.to_string();
    let Some(said) = said else {
        let message = format!(
            "{what}: sign it with --acknowledge {} if that is what is wanted",
            hash.get(..SHORTEST).unwrap_or(&hash)
        );
        fail(global, &message);
        return Err(Exit::NotPermitted);
    };
    if said.len() >= SHORTEST && hash.starts_with(&said.to_ascii_lowercase()) {
        return Ok(());
    }
    fail(global, &format!("--acknowledge: the impact that would be signed is another one: {hash}"));
    Err(Exit::NotPermitted)
}

/// What nobody should sign by habit; `None`: nothing of it. Where nobody could look, that is such a thing.
fn to_acknowledge(request: &Request) -> Option<String> {
    let change = &request.change;
    match Weight::of(&request.impact) {
        Some(weight) if weight.is_heavy() => {
            Some(format!("it would newly deny {} callers and newly let in {}", weight.denied, weight.permitted))
        }
        Some(_) => None,
        // Other approvers alone, and what is another text with the same meaning, change no answer.
        None if change.restores == 0 && (change.kind == Kind::Keys || change.class == Class::Neutral) => None,
        None => Some("nobody could look at what it does to requests".to_owned()),
    }
}

/// So many digits of a hash are enough to name it.
const SHORTEST: usize = 8;

pub(crate) fn rollback(global: &Global, args: &PolicyRollbackArgs) -> Result<Exit, Exit> {
    told(global, Governed::Rollback { n: args.n, by: author(&args.by), dry_run: args.dry_run })
}

/// Undoes one version alone.
pub(crate) fn revert(global: &Global, args: &PolicyRevertArgs) -> Result<Exit, Exit> {
    told(global, Governed::Revert { n: args.n, by: author(&args.by), dry_run: args.dry_run })
}

/// The policy file of a version or a change: its name and its text.
pub(crate) fn policy_of(global: &Global, of: &Named) -> Result<(String, String), Exit> {
    let name = loaded(global, of)?.governed.policy;
    let done = asked_for_all(global, wanted(of))?;
    let file = done.files.iter().find(|file| file.name == name);
    let text = file.and_then(|file| String::from_utf8(BASE64.decode(file.content.as_bytes()).ok()?).ok());
    text.map(|text| (name.clone(), text)).ok_or_else(|| {
        fail(global, &format!("{} has no file `{}`", done.message, safe(&name)));
        Exit::Negative
    })
}

/// All files of the last version, each with its name; `None`: nothing is live yet.
pub(crate) fn live_files(global: &Global) -> Result<Option<(u64, Vec<portcullis_admin::govern::File>)>, Exit> {
    let Some(live) = asked(global, Governed::List { most: 1, before: None })?.live else { return Ok(None) };
    Ok(Some((live.n, asked_for_all(global, Governed::Show { n: Some(live.n), change: None })?.files)))
}

/// A version or a change, read as this machine's gateway would.
pub(crate) fn loaded(global: &Global, of: &Named) -> Result<Loaded, Exit> {
    let done = asked_for_all(global, wanted(of))?;
    let files =
        done.files.into_iter().filter_map(|file| Some((file.name, BASE64.decode(file.content.as_bytes()).ok()?)));
    load_sealed(&global.config, &Content { files: files.collect() }).map_err(|report| {
        show_report(&report, global);
        Exit::Configuration
    })
}

pub(crate) fn approver(global: &Global, command: &ApproverCommand) -> Result<Exit, Exit> {
    match command {
        ApproverCommand::List => {
            let done = asked(global, Governed::Approvers)?;
            show(global, &done, || words::of_approvers(&done));
            Ok(Exit::Success)
        }
        ApproverCommand::Keygen { out, passphrase } => keys::keygen(global, out, *passphrase),
        ApproverCommand::Add { approver, by } => {
            told(global, Governed::ApproverAdd { approver: new_approver(global, approver)?, by: author(by) })
        }
        ApproverCommand::Revoke { person, key, by } => {
            told(global, Governed::ApproverRevoke { person: person.clone(), key: key.clone(), by: author(by) })
        }
        ApproverCommand::Recovery { keys, quorum, delay, none: _, by } => {
            let keys = keys.iter().map(|text| named_key(global, text)).collect::<Result<_, _>>()?;
            let (quorum, delay_s) = (*quorum, delay.as_secs());
            told(global, Governed::ApproverRecovery { quorum, delay_s, keys, by: author(by) })
        }
        ApproverCommand::Recover { keys, by } => {
            let keys = keys.iter().map(|text| named_key(global, text)).collect::<Result<_, _>>()?;
            told(global, Governed::ApproverRecover { keys, by: author(by) })
        }
    }
}

pub(crate) fn governance(global: &Global, command: &GovernanceCommand) -> Result<Exit, Exit> {
    match command {
        GovernanceCommand::Init { approvers, by } => {
            let approvers = approvers.iter().map(|text| named_approver(global, text)).collect::<Result<_, _>>()?;
            told(global, Governed::Init { approvers, by: author(by) })
        }
        GovernanceCommand::Status => {
            let done = asked(global, Governed::List { most: 1, before: None })?;
            show(global, &done, || words::of_status(&done));
            let required = done.live.as_ref().is_some_and(|live| live.required);
            Ok(if required { Exit::Success } else { Exit::Negative })
        }
    }
}

/// `alice=alice.pub`, or `alice,unix:al=alice.pub`.
fn named_approver(global: &Global, text: &str) -> Result<NewApprover, Exit> {
    let Some((names, file)) = text.split_once('=') else {
        fail(global, "--approver: expected a person and a file, such as alice=alice.pub");
        return Err(Exit::Usage);
    };
    let mut names = names.split(',').map(str::to_owned);
    let person = names.next().unwrap_or_default();
    Ok(NewApprover { person, aliases: names.collect(), key: public_key(global, Path::new(file))? })
}

/// `ana=ana.pub`: whose key it is, or who holds it.
fn named_key(global: &Global, text: &str) -> Result<NewApprover, Exit> {
    let Some((person, file)) = text.split_once('=') else {
        fail(global, "--key: expected a name and a file, such as ana=ana.pub");
        return Err(Exit::Usage);
    };
    Ok(NewApprover { person: person.to_owned(), aliases: Vec::new(), key: public_key(global, Path::new(file))? })
}

fn new_approver(global: &Global, args: &ApproverKeyArgs) -> Result<NewApprover, Exit> {
    Ok(NewApprover { person: args.person.clone(), aliases: args.aliases.clone(), key: public_key(global, &args.key)? })
}

/// The text of a public key, in a file that holds one.
fn public_key(global: &Global, file: &Path) -> Result<String, Exit> {
    let text = read(global, file)?;
    match PublicKey::from_pem(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(error) => {
            fail(global, &format!("{}: {error}", file.display()));
            Err(Exit::Negative)
        }
    }
}

/// `of`: the file that it is from, or what it is.
fn parsed(global: &Global, of: &str, text: &str) -> Result<Request, Exit> {
    Request::from_armored(text).map_err(|error| {
        fail(global, &format!("{of}: {error}"));
        Exit::Negative
    })
}

pub(crate) fn read(global: &Global, file: &Path) -> Result<String, Exit> {
    files::text(file).map_err(|error| {
        fail(global, &format!("{}: {error}", file.display()));
        Exit::Unreachable
    })
}

/// Writes a file that is not there yet.
pub(crate) fn write(global: &Global, out: &Path, bytes: &[u8], mode: u32) -> Result<(), Exit> {
    portcullis_durable::create(out, mode, bytes).map_err(|error| {
        fail(global, &safe(&error.to_string()));
        Exit::Unreachable
    })
}
