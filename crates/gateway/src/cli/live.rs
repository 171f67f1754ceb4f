//! Asking a running gateway, and the verbs that only do that: `reload`, `drain` and `health`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use portcullis_admin::api::{Done, Health, ReloadWanted, Reloaded};
use portcullis_admin::{Client, ClientError, Place};
use portcullis_config::{ProcessEnvironment, control_channel, store_place};
use portcullis_fetch::UrlSource;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde_json::json;

use crate::answers::terminal::safe;
use crate::cli::args::{AdminAddress, Format, Global, HealthArgs, ReloadArgs};
use crate::cli::files;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// Asks the running gateway.
///
/// # Errors
/// The exit code, once why there is no answer is said.
pub(crate) fn ask<T>(global: &Global, question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Result<T, Exit> {
    try_ask(global, question)?.map_err(|error| {
        fail(global, &error.to_string());
        if let (ClientError::Unreachable { .. }, Format::Human) = (&error, global.output) {
            remark("note: a running gateway does this, and none answers: start it, or name another one with --admin");
        }
        exit_of(&error)
    })
}

/// The same for a verb whose exit code 1 is an answer: whoever cannot look has found nothing, and ends with 4.
///
/// # Errors
/// Likewise.
pub(crate) fn ask_to_look<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> Result<T, Exit> {
    ask(global, question).map_err(|exit| if exit == Exit::Negative { Exit::Unreachable } else { exit })
}

/// What the command line ends with where there is no answer, or none that was wished for.
pub(crate) fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Unreachable { .. } | ClientError::Broken { .. } | ClientError::NotNow(_) => Exit::Unreachable,
        ClientError::Forbidden { .. } => Exit::NotPermitted,
        ClientError::Invalid(_) => Exit::Configuration,
        ClientError::Refused(_) => Exit::Negative,
    }
}

/// Asks the running gateway, or looks into its store where none answers: that is said.
///
/// # Errors
/// As [`ask`]; or there is no store, or it cannot be read.
pub(crate) fn ask_or_look<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    look: impl FnOnce(&portcullis_store::Settings) -> Result<T, String>,
) -> Result<T, Exit> {
    ask_or_look_unless(global, false, question, look)
}

/// The same; `offline`: no gateway is asked, whether or not one runs.
///
/// # Errors
/// Likewise.
pub(crate) fn ask_or_look_unless<T>(
    global: &Global,
    offline: bool,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    look: impl FnOnce(&portcullis_store::Settings) -> Result<T, String>,
) -> Result<T, Exit> {
    if offline {
        return only_look(global, look);
    }
    let has_channel = global.admin.is_some() || control_channel(&global.config, &ProcessEnvironment).is_some();
    let unreachable = if has_channel {
        match try_ask(global, question)? {
            Ok(answer) => return Ok(answer),
            Err(error @ ClientError::Unreachable { .. }) if global.admin.is_none() => error.to_string(),
            Err(error) => {
                fail(global, &error.to_string());
                return Err(exit_of(&error));
            }
        }
    } else {
        "the configuration switches the control channel off (`[control] enabled = false`)".to_owned()
    };
    let Some(store) = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists()) else {
        fail(global, &format!("{unreachable}; and there is no store to look into"));
        return Err(Exit::Unreachable);
    };
    let found = look(&store).map_err(|error| {
        fail(global, &error);
        Exit::Negative
    })?;
    remark(&format!("note: no gateway answers: this is what the store {} holds", shown_place(&store)));
    Ok(found)
}

fn shown_place(store: &portcullis_store::Settings) -> String {
    safe(&store.path.display().to_string())
}

/// Looks into the store of the configuration, as it was asked for.
fn only_look<T>(
    global: &Global,
    look: impl FnOnce(&portcullis_store::Settings) -> Result<T, String>,
) -> Result<T, Exit> {
    if global.admin.is_some() {
        fail(global, "--offline looks into a store of this machine, and --admin names a gateway: say one of both");
        return Err(Exit::Usage);
    }
    let Some(store) = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists()) else {
        fail(global, "there is no store to look into: the configuration names none, or it is not there yet");
        return Err(Exit::Unreachable);
    };
    look(&store).map_err(|error| {
        fail(global, &error);
        Exit::Negative
    })
}

/// The same for whoever can do without an answer.
///
/// # Errors
/// The exit code, where nothing could be asked at all; that is said.
pub(crate) fn try_ask<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> Result<Result<T, ClientError>, Exit> {
    let client = Client::new(place(global)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        fail(global, &format!("no runtime: {error}"));
        Exit::Internal
    })?;
    Ok(runtime.block_on(question(client)))
}

/// The same where it is no matter if there is no gateway: then there is no answer, and nothing is said.
pub(crate) fn ask_quietly<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> Option<T> {
    let place = match &global.admin {
        Some(_) => place(global).ok()?,
        None => Place::Socket(control_channel(&global.config, &ProcessEnvironment)?.socket),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(question(Client::new(place))).ok()
}

/// The place that is named, else the socket of the gateway which runs on the configuration.
fn place(global: &Global) -> Result<Place, Exit> {
    match &global.admin {
        Some(AdminAddress::Socket(path)) => Ok(Place::Socket(path.clone())),
        Some(AdminAddress::Network(source)) => network(global, source.clone()).map_err(|error| {
            fail(global, &error);
            Exit::Usage
        }),
        None => match control_channel(&global.config, &ProcessEnvironment) {
            Some(settings) => Ok(Place::Socket(settings.socket)),
            None => {
                fail(global, "the configuration switches the control channel off (`[control] enabled = false`)");
                Err(Exit::Unreachable)
            }
        },
    }
}

fn network(global: &Global, mut source: UrlSource) -> Result<Place, String> {
    if let Some(path) = &global.admin_ca {
        let text = files::text(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        source.roots = roots.map_err(|error| format!("{}: no PEM: {error}", path.display()))?;
        if source.roots.is_empty() {
            return Err(format!("{}: there is no certificate in it", path.display()));
        }
    }
    let credential = global.token_file.as_deref().map(credential).transpose()?;
    Ok(Place::Network(Box::new(source), credential))
}

/// The longest file of a credential that is read, in bytes.
const MAX_CREDENTIAL: u64 = 64 << 10;

/// A token, or a header's name and value.
fn credential(path: &Path) -> Result<(HeaderName, HeaderValue), String> {
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_CREDENTIAL).read_to_string(&mut text));
    file.map_err(|error| format!("{}: {error}", path.display()))?;
    let unfit =
        || format!("{}: expected one line with a token, or with a header as in `x-api-key: SECRET`", path.display());
    let line = text.trim();
    let (name, value) = match line.split_once(':') {
        Some((name, value)) => (HeaderName::try_from(name).map_err(|_| unfit())?, value.trim().to_owned()),
        None => (AUTHORIZATION, format!("Bearer {line}")),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| unfit())?;
    if line.is_empty() || value.is_empty() {
        return Err(unfit());
    }
    value.set_sensitive(true);
    Ok((name, value))
}

pub(crate) fn fail(global: &Global, error: &str) {
    match global.output {
        Format::Human => remark(&format!("error: {}", safe(error))),
        Format::Json | Format::Jsonl => remark(&json!({ "error": error }).to_string()),
    }
}

/// Answers with a value, or with words for a person.
pub(crate) fn show(global: &Global, value: &impl Serialize, words: impl FnOnce() -> String) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&words()),
        Format::Json => answer(&serde_json::to_string_pretty(value).unwrap_or_default()),
        Format::Jsonl => answer(&serde_json::to_string(value).unwrap_or_default()),
    }
}

pub(crate) fn reload(global: &Global, args: &ReloadArgs) -> Exit {
    let wanted = ReloadWanted { reason: args.reason.clone(), ticket: args.ticket.clone() };
    let reloaded: Reloaded = match ask(global, async |client| client.post("/v1/reload", &wanted).await) {
        Ok(reloaded) => reloaded,
        Err(exit) => return exit,
    };
    if let (Some(report), Format::Human) = (&reloaded.report, global.output) {
        let lines: Vec<String> = report.trim_end().lines().map(safe).collect();
        remark(&lines.join("\n"));
    }
    show(global, &reloaded, || {
        let mut words = if reloaded.reloaded {
            format!("reloaded: policy {}; {}", short(&reloaded.sha256), safe(&reloaded.message))
        } else {
            format!("{}; policy {} stays in force", safe(&reloaded.message), short(&reloaded.sha256))
        };
        if !reloaded.restart.is_empty() {
            words.push_str(&format!("\nneeds a restart: {}", safe(&reloaded.restart.join(", "))));
        }
        words
    });
    if reloaded.reloaded { Exit::Success } else { Exit::Configuration }
}

pub(crate) fn drain(global: &Global) -> Exit {
    match ask(global, async |client| client.post::<Done>("/v1/drain", &json!({})).await) {
        Ok(done) => {
            show(global, &done, || safe(&done.message));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

pub(crate) fn health(global: &Global, args: &HealthArgs) -> Exit {
    let health: Health = match ask(global, async |client| client.get("/v1/health").await) {
        Ok(health) => health,
        Err(exit) => return exit,
    };
    show(global, &health, || {
        let word = |yes, good: &str, bad: &str| if yes { good.to_owned() } else { bad.to_owned() };
        format!("{}, {}", word(health.live, "live", "a worker is stuck"), word(health.ready, "ready", "draining"))
    });
    if health.live && (health.ready || !args.ready) { Exit::Success } else { Exit::Negative }
}

/// As much of a hash as tells it from others.
pub(crate) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
