//! Backups of a running gateway, in the folder that it has for them. Where none answers, what is safe is done here.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::ClientError;
use portcullis_admin::backup::{Backup, BackupAnswer, BackupWanted};
use portcullis_config::{ProcessEnvironment, backup_place, control_channel};
use serde_json::json;

use super::create as create_here;
use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::backing_up::Backups;
use crate::cli::args::{BackupFileArgs, Format, Global};
use crate::cli::live::{ask, ask_or_look, exit_of, fail, show, try_ask};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// Whether one of the gateway's own is meant, and not a file of this machine.
pub(super) fn is_meant(global: &Global, args: &BackupFileArgs) -> bool {
    let is_a_name = args.file.file_name() == Some(args.file.as_os_str());
    global.admin.is_some() || (is_a_name && !args.file.exists())
}

/// The gateway makes one, in its own folder and with its own key. Where none answers the store is copied here.
pub(super) fn create(global: &Global) -> Result<Exit, Exit> {
    if global.admin.is_none() && control_channel(&global.config, &ProcessEnvironment).is_none() {
        return create_here(global, (None, false), None);
    }
    match try_ask(global, async |client| client.ask::<BackupAnswer, _>(&BackupWanted::Create).await)? {
        Ok(made) => {
            told(global, &made, "made");
            Ok(Exit::Success)
        }
        Err(ClientError::Unreachable { .. }) if global.admin.is_none() => {
            remark("note: no gateway answers: the store is copied by this program");
            create_here(global, (None, false), None)
        }
        Err(error) => {
            fail(global, &error.to_string());
            Err(exit_of(&error))
        }
    }
}

pub(super) fn list(global: &Global) -> Result<Exit, Exit> {
    let look = |store: &portcullis_store::Settings| {
        let settings = backup_place(&global.config, &ProcessEnvironment).map_err(|report| report.summary_line())?;
        let backups = Backups {
            config: &global.config,
            store,
            lists: Path::new(""),
            settings: settings.as_ref(),
            demanded: false,
            who: Vec::new(),
        };
        backups.perform(&BackupWanted::List, Timestamp::now()).map_err(|error| error.to_string())
    };
    let listed = ask_or_look(global, async |client| client.get("/v1/backups/list").await, look)?;
    show(global, &listed, || if listed.backups.is_empty() { "there is no backup".to_owned() } else { rows(&listed) });
    if listed.more {
        remark("note: there are more than these");
    }
    Ok(Exit::Success)
}

fn rows(listed: &BackupAnswer) -> String {
    let row = |backup: &Backup| {
        [safe(&backup.name), backup.bytes.to_string(), backup.written.as_deref().map_or_else(|| "-".to_owned(), safe)]
    };
    let rows: Vec<_> = listed.backups.iter().map(row).collect();
    format!("{}\n{}", safe(&listed.folder), table(["BACKUP", "BYTES", "WRITTEN"], &rows))
}

pub(super) fn verify(global: &Global, args: &BackupFileArgs) -> Result<Exit, Exit> {
    // Whoever may only look may have it looked at.
    let target = portcullis_admin::target("/v1/backups/verify", &[("name", name(global, args)?)]);
    let verified: BackupAnswer = ask(global, async |client| client.get(&target).await)?;
    told(global, &verified, "is as it was made");
    Ok(Exit::Success)
}

pub(super) fn drill(global: &Global, args: &BackupFileArgs) -> Result<Exit, Exit> {
    let wanted = BackupWanted::Drill { name: name(global, args)? };
    let tried: BackupAnswer = ask(global, async |client| client.ask(&wanted).await)?;
    show(global, &json!({ "message": tried.message }), || safe(&tried.message));
    Ok(Exit::Success)
}

/// The gateway has its own key, and knows whether backups are encrypted.
fn name(global: &Global, args: &BackupFileArgs) -> Result<String, Exit> {
    if args.key.is_some() || args.plain {
        fail(
            global,
            "--key and --plain are for a file of this machine: the gateway reads its own backups with its own key",
        );
        return Err(Exit::Usage);
    }
    args.file.to_str().map(str::to_owned).ok_or_else(|| {
        fail(global, "what the gateway calls a backup is text");
        Exit::Usage
    })
}

/// As of one that was made here.
fn told(global: &Global, done: &BackupAnswer, what: &str) {
    let [backup, ..] = done.backups.as_slice() else { return };
    let file = Path::new(&done.folder).join(&backup.name).display().to_string();
    let Some(content) = &backup.content else { return };
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&safe(&format!(
            "{file}: {what}: version {}, {} files, of {}",
            content.version, content.files, content.created
        ))),
        Format::Json | Format::Jsonl => {
            let value = json!({
                "file": file, "version": content.version, "head": content.head, "created": content.created,
                "files": content.files,
            });
            answer(&value.to_string());
        }
    }
}
