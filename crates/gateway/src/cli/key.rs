//! `key`: API keys. The secret is printed once, when the key is made; the file keeps its hash.

use jiff::Timestamp;
use portcullis_config::{AppendKeyError, NewKey, append_key};
use portcullis_identity::api_key::mint;
use serde_json::json;

use crate::cli::args::{Format, Global, KeyArgs, KeyCommand, KeyCreateArgs};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &KeyArgs) -> Exit {
    match &args.command {
        KeyCommand::Create(args) => create(global, args),
    }
}

fn create(global: &Global, args: &KeyCreateArgs) -> Exit {
    let minted = match mint(&args.id) {
        Ok(minted) => minted,
        Err(error) => {
            remark(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
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
        created: Some(Timestamp::now()),
        expires: args.expires,
    };
    if let Err(error) = append_key(&args.file, &key) {
        remark(&format!("error: {error}"));
        return match error {
            AppendKeyError::Duplicate(_) => Exit::Negative,
            AppendKeyError::Invalid(_) => Exit::Usage,
            AppendKeyError::Unreadable(_) => Exit::Configuration,
            AppendKeyError::Busy(_) | AppendKeyError::Io { .. } => Exit::Unreachable,
        };
    }
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
    Exit::Success
}
