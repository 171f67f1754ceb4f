//! Private keys of approvers: made, and read to sign with, under a passphrase or for their owner alone.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use portcullis_governance::{KeyError, SigningKey};

use super::write;
use crate::cli::args::{Format, Global};
use crate::cli::files;
use crate::cli::live::fail;
use crate::cli::output::{answer, remark};
use crate::cli::password::{ask, read_line, read_new};
use crate::exit::Exit;

/// Who can read a private key can sign with it.
const PRIVATE: u32 = 0o600;
/// No file of a key or a passphrase is longer, in bytes.
const MOST: u64 = 64 << 10;

/// The private key is never printed: who reads the screen could sign.
pub(super) fn keygen(global: &Global, out: &Path, encrypted: bool) -> Result<Exit, Exit> {
    let passphrase = match (encrypted, &global.passphrase_file) {
        (false, None) => None,
        (_, Some(file)) => Some(in_file(file)),
        (true, None) => Some(read_new("Passphrase: ")),
    };
    let passphrase = passphrase.transpose().map_err(|problem| {
        fail(global, &problem);
        Exit::Usage
    })?;
    let made = match &passphrase {
        Some(passphrase) => SigningKey::generate_encrypted(passphrase),
        None => SigningKey::generate(),
    };
    let (key, private) = made.map_err(|error| {
        fail(global, &error.to_string());
        Exit::Internal
    })?;
    write(global, out, private.as_bytes(), PRIVATE)?;
    let public = key.public();
    match global.output {
        Format::Human => {
            answer(public.to_pem().trim_end());
            let how = if passphrase.is_some() { ", under the passphrase" } else { "" };
            remark(&format!(
                "{} is the private key {}{how}: for its owner alone, on a machine of their own",
                out.display(),
                public.id()
            ));
        }
        Format::Json | Format::Jsonl => {
            let value = serde_json::json!({ "file": out.display().to_string(), "id": public.id(), "public_key": public.to_pem() });
            answer(&value.to_string());
        }
    }
    Ok(Exit::Success)
}

pub(crate) fn signing_key(global: &Global, file: &Path) -> Result<SigningKey, Exit> {
    key_in(global, file, Exit::Usage)
}

/// The same. `wrong`: how it ends where what is in the file is no key that can be used.
pub(crate) fn key_in(global: &Global, file: &Path, wrong: Exit) -> Result<SigningKey, Exit> {
    let failed = |exit: Exit, why: &str| {
        fail(global, &format!("{}: {why}", file.display()));
        exit
    };
    let mut pem = Vec::new();
    let opened = files::open(file).and_then(|opened| {
        let mode = opened.metadata()?.mode();
        opened.take(MOST).read_to_end(&mut pem).map(|_| mode & 0o777)
    });
    let mode = opened.map_err(|error| failed(Exit::Unreachable, &error.to_string()))?;
    match SigningKey::from_pem(&pem) {
        Err(KeyError::Encrypted) => {
            let passphrase = passphrase(global, file).map_err(|why| failed(Exit::Usage, &why))?;
            SigningKey::from_encrypted_pem(&pem, &passphrase).map_err(|error| failed(wrong, &error.to_string()))
        }
        Ok(_) if mode & 0o077 != 0 => {
            let why = format!(
                "others can read or write this private key (mode {mode:04o}), and it is not encrypted: `chmod 600` it, or put it under a passphrase with `openssl pkcs8 -topk8 -v2 aes-256-cbc`"
            );
            Err(failed(wrong, &why))
        }
        read => read.map_err(|error| failed(wrong, &error.to_string())),
    }
}

fn passphrase(global: &Global, key: &Path) -> Result<String, String> {
    match &global.passphrase_file {
        Some(file) => in_file(file),
        None if io::stdin().is_terminal() => ask(&format!("Passphrase of {}: ", key.display())),
        None => Err(
            "it is encrypted, and there is no terminal to ask: name the file of its passphrase with --passphrase-file (`-`: standard input), or in PORTCULLIS_PASSPHRASE_FILE".to_owned(),
        ),
    }
}

/// The first line of a file.
fn in_file(file: &Path) -> Result<String, String> {
    if file == Path::new("-") {
        return read_line();
    }
    let failed = |why: &dyn std::fmt::Display| format!("the passphrase in {}: {why}", file.display());
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(MOST).read_to_string(&mut text));
    read.map_err(|error| failed(&error))?;
    match text.lines().next() {
        None | Some("") => Err(failed(&"its first line is empty")),
        Some(line) => Ok(line.to_owned()),
    }
}
