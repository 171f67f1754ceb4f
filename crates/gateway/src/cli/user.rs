//! `user`: users with passwords. `hash-password`: the hash of one, for a file that is written otherwise.

use jiff::Timestamp;
use portcullis_config::{NewUser, ShownUser, UserChange, UserFileError, change_users, list_users};
use portcullis_identity::password::PasswordHash;
use serde_json::{Value, json};

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{Format, Global, UserAddArgs, UserArgs, UserCommand, UserFileArgs, UserNameArgs};
use crate::cli::output::{answer, remark};
use crate::cli::password::read_password;
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &UserArgs) -> Exit {
    match &args.command {
        UserCommand::Add(args) => add(global, args),
        UserCommand::List(args) => list(global, args),
        UserCommand::Disable(args) => change(global, args, UserChange::Disable(args.name.clone(), true), "disabled"),
        UserCommand::Enable(args) => change(global, args, UserChange::Disable(args.name.clone(), false), "enabled"),
        UserCommand::Remove(args) => change(global, args, UserChange::Remove(args.name.clone()), "removed"),
        UserCommand::Passwd(args) => match hashed(global) {
            Ok(hash) => change(global, args, UserChange::Hash(args.name.clone(), hash), "given another password"),
            Err(exit) => exit,
        },
    }
}

/// Prints the hash of a password that is read.
pub(crate) fn hash_password(global: &Global) -> Exit {
    match hashed(global) {
        Ok(hash) => {
            match global.output {
                Format::Human => answer(&hash.to_string()),
                Format::Json | Format::Jsonl => answer(&json!({ "hash": hash.to_string() }).to_string()),
            }
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn hashed(global: &Global) -> Result<PasswordHash, Exit> {
    let password = read_password().map_err(|problem| fail(global, &problem, Exit::Usage))?;
    PasswordHash::of(&password).map_err(|error| fail(global, &error.to_string(), Exit::Usage))
}

fn add(global: &Global, args: &UserAddArgs) -> Exit {
    let hash = match hashed(global) {
        Ok(hash) => hash,
        Err(exit) => return exit,
    };
    let user = NewUser {
        name: args.user.name.clone(),
        hash,
        groups: args.groups.clone(),
        created: Some(Timestamp::now()),
        expires: args.expires,
    };
    change(global, &args.user, UserChange::Add(user), "added")
}

fn change(global: &Global, args: &UserNameArgs, change: UserChange, done: &str) -> Exit {
    if let Err(error) = change_users(&args.file.file, &change) {
        return failed(global, &error);
    }
    let file = args.file.file.display().to_string();
    match global.output {
        _ if global.quiet => {}
        Format::Human => {
            answer(&format!("user {} {done} in {}; it counts from the next reload on", safe(&args.name), safe(&file)))
        }
        Format::Json | Format::Jsonl => {
            answer(&json!({ "user": args.name, "file": file, "done": done }).to_string());
        }
    }
    Exit::Success
}

fn list(global: &Global, args: &UserFileArgs) -> Exit {
    let users = match list_users(&args.file) {
        Ok(users) => users,
        Err(error) => return failed(global, &error),
    };
    match global.output {
        _ if global.quiet => {}
        Format::Human => {
            let now = Timestamp::now();
            let rows: Vec<[String; 4]> = users.iter().map(|user| row(user, now)).collect();
            answer(&table(["USER", "STATE", "GROUPS", "EXPIRES"], &rows));
        }
        Format::Json => answer(&format!("{:#}", Value::Array(users.iter().map(value).collect()))),
        Format::Jsonl => users.iter().for_each(|user| answer(&value(user).to_string())),
    }
    Exit::Success
}

fn row(user: &ShownUser, now: Timestamp) -> [String; 4] {
    let state = match user.expires {
        _ if user.disabled => "disabled",
        Some(expires) if now >= expires => "expired",
        Some(_) | None => "active",
    };
    let expires = user.expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string());
    [safe(&user.name), state.to_owned(), safe(&user.groups.join(", ")), expires]
}

fn value(user: &ShownUser) -> Value {
    let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    json!({
        "name": user.name, "groups": user.groups, "disabled": user.disabled,
        "created": moment(user.created), "expires": moment(user.expires),
    })
}

fn failed(global: &Global, error: &UserFileError) -> Exit {
    let exit = match error {
        UserFileError::Duplicate(_) | UserFileError::Unknown(_) => Exit::Negative,
        UserFileError::Invalid(_) => Exit::Usage,
        UserFileError::Unreadable(_) => Exit::Configuration,
        UserFileError::Missing(_) | UserFileError::Draft(_) => Exit::Unreachable,
    };
    fail(global, &error.to_string(), exit)
}

fn fail(global: &Global, error: &str, exit: Exit) -> Exit {
    match global.output {
        Format::Human => remark(&format!("error: {}", safe(error))),
        Format::Json | Format::Jsonl => remark(&json!({ "error": error }).to_string()),
    }
    exit
}
