//! `key`: API keys. The secret is printed once, when it is made; the file keeps its hash.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use portcullis_admin::api::KeyUses;
use portcullis_config::{AppendKeyError, EditKeyError, KeyEdit, KeyEntry, NewKey, append_key, edit_key, list_keys};
use portcullis_identity::api_key::{MintedKey, mint};
use serde_json::json;

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, KeyArgs, KeyCommand, KeyCreateArgs, KeyListArgs, KeyRevokeArgs, KeyRotateArgs};
use crate::cli::live::ask_quietly;
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &KeyArgs) -> Exit {
    let done = match &args.command {
        KeyCommand::Create(args) => create(global, args),
        KeyCommand::List(args) => list(global, args),
        KeyCommand::Rotate(args) => rotate(global, args),
        KeyCommand::Revoke(args) => revoke(global, args),
    };
    done.unwrap_or_else(|exit| exit)
}

fn create(global: &Global, args: &KeyCreateArgs) -> Result<Exit, Exit> {
    let minted = new_secret(&args.id)?;
    let principal = match &args.principal {
        Some(principal) if principal.contains(':') => principal.clone(),
        Some(name) => format!("user:{name}"),
        None => format!("service:{}", args.id),
    };
    let key = NewKey {
        id: args.id.clone(),
        sha256: minted.sha256,
        principal: principal.clone(),
        groups: args.groups.clone(),
        roles: args.roles.clone(),
        routes: args.routes.clone(),
        networks: args.networks.clone(),
        created: Some(Timestamp::now()),
        expires: args.expires,
    };
    append_key(&args.file, &key).map_err(|error| not_written(&error))?;
    let file = args.file.display().to_string();
    match global.output {
        Format::Human => {
            answer(minted.text.expose());
            remark(&format!(
                "This is {principal}'s key, shown this once: {file} holds only its hash. Reload the gateway to accept it."
            ));
        }
        Format::Json | Format::Jsonl => {
            answer(
                &json!({ "id": args.id, "key": minted.text.expose(), "principal": principal, "file": file })
                    .to_string(),
            );
        }
    }
    Ok(Exit::Success)
}

fn rotate(global: &Global, args: &KeyRotateArgs) -> Result<Exit, Exit> {
    let minted = new_secret(&args.id)?;
    let lasts = SignedDuration::try_from(args.overlap).map_err(|_| Exit::Usage)?;
    let overlap = (!lasts.is_zero()).then(|| Timestamp::now().checked_add(lasts)).transpose();
    let Ok(overlap) = overlap else {
        remark("error: the overlap ends after the year 9999");
        return Err(Exit::Usage);
    };
    // Whole seconds, as a person would write it.
    let overlap = overlap.and_then(|until| Timestamp::from_second(until.as_second()).ok());
    let edit = KeyEdit::Rotate { sha256: minted.sha256, overlap, expires: args.expires };
    let entry = edit_key(&args.file, &args.id, &edit).map_err(|error| not_edited(&error))?;
    let file = args.file.display().to_string();
    match global.output {
        Format::Human => {
            answer(minted.text.expose());
            let old = overlap.map_or_else(
                || "The old secret is good no longer".to_owned(),
                |until| format!("The old secret is good until {until}"),
            );
            remark(&format!(
                "This is {}'s new key, shown this once: {file} holds only its hash. {old}. Reload the gateway to accept it.",
                entry.principal
            ));
        }
        Format::Json | Format::Jsonl => answer(
            &json!({
                "id": entry.id, "key": minted.text.expose(), "principal": entry.principal, "file": file,
                "old_until": overlap.map(|until| until.to_string()),
            })
            .to_string(),
        ),
    }
    Ok(Exit::Success)
}

fn revoke(global: &Global, args: &KeyRevokeArgs) -> Result<Exit, Exit> {
    let entry = edit_key(&args.file, &args.id, &KeyEdit::Revoke).map_err(|error| not_edited(&error))?;
    match global.output {
        Format::Human => remark(&format!(
            "The key {} of {} is revoked in {}. Reload the gateway, or have it refused at once with `portcullis revoke key {}`.",
            entry.id,
            entry.principal,
            args.file.display(),
            entry.id
        )),
        Format::Json | Format::Jsonl => {
            answer(&json!({ "id": entry.id, "principal": entry.principal, "revoked": true }).to_string());
        }
    }
    Ok(Exit::Success)
}

fn list(global: &Global, args: &KeyListArgs) -> Result<Exit, Exit> {
    let keys = list_keys(&args.file).map_err(|error| not_edited(&error))?;
    // Only a running gateway knows; without one the list is as good otherwise.
    let uses: Option<KeyUses> = ask_quietly(global, async |client| client.get("/v1/keys").await);
    let asked = uses.is_some();
    let used: HashMap<String, String> =
        uses.map_or_else(HashMap::new, |uses| uses.keys.into_iter().map(|each| (each.id, each.last_used)).collect());
    let now = Timestamp::now();
    match global.output {
        Format::Human => {
            let rows: Vec<_> = keys.iter().map(|key| row(key, now, used.get(&key.id).map(String::as_str))).collect();
            answer(&table(["ID", "STATE", "PRINCIPAL", "FOR", "EXPIRES", "LAST USED"], &rows));
            if !asked {
                remark("No running gateway was asked when they were last used.");
            }
        }
        Format::Json | Format::Jsonl => {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| {
                    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
                    json!({
                        "id": key.id, "state": state(key, now), "principal": key.principal, "groups": key.groups,
                        "roles": key.roles, "routes": key.routes, "networks": key.networks,
                        "created": time(key.created), "expires": time(key.expires), "old_until": time(key.overlap),
                        "last_used": used.get(&key.id),
                    })
                })
                .collect();
            answer(&json!({ "keys": keys, "asked": asked }).to_string());
        }
    }
    Ok(Exit::Success)
}

fn row(key: &KeyEntry, now: Timestamp, used: Option<&str>) -> [String; 6] {
    let named = |word: &str, names: &[String]| (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")));
    let scope: Vec<String> =
        [named("routes", &key.routes), named("from", &key.networks)].into_iter().flatten().collect();
    let state = match key.overlap.filter(|until| *until > now) {
        Some(until) => format!("{}, old secret until {until:.0}", state(key, now)),
        None => state(key, now).to_owned(),
    };
    [
        safe(&key.id),
        state,
        safe(&key.principal),
        if scope.is_empty() { "everything".to_owned() } else { safe(&scope.join("; ")) },
        key.expires.map_or_else(|| "never".to_owned(), |expires| format!("{expires:.0}")),
        used.map_or_else(|| "-".to_owned(), safe),
    ]
}

fn state(key: &KeyEntry, now: Timestamp) -> &'static str {
    match key.expires {
        _ if key.revoked => "revoked",
        Some(expires) if now >= expires => "expired",
        Some(_) | None => "active",
    }
}

fn new_secret(id: &str) -> Result<MintedKey, Exit> {
    mint(id).map_err(|error| {
        remark(&format!("error: {error}"));
        Exit::Usage
    })
}

fn not_written(error: &AppendKeyError) -> Exit {
    remark(&format!("error: {error}"));
    match error {
        AppendKeyError::Duplicate(_) => Exit::Negative,
        AppendKeyError::Invalid(_) => Exit::Usage,
        AppendKeyError::Unreadable(_) => Exit::Configuration,
        AppendKeyError::Draft(_) => Exit::Unreachable,
    }
}

fn not_edited(error: &EditKeyError) -> Exit {
    match error {
        EditKeyError::File(error) => not_written(error),
        EditKeyError::Unknown(_) => {
            remark(&format!("error: {error}"));
            Exit::Negative
        }
        EditKeyError::Form(_) => {
            remark(&format!("error: {error}"));
            Exit::Configuration
        }
    }
}
