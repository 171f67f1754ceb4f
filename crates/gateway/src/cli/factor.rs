//! `totp` and `factor`: the second factors that the running gateway keeps. Whoever may use the control channel may give somebody a factor, and take all away:
//! each has its event.

use std::io::{self, BufRead as _, Write as _};

use portcullis_admin::api::{Done, FactorBegun, FactorCode, FactorConfirmed, Factors, NewFactor, Whom};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;

use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::args::{FactorArgs, FactorCommand, Format, Global, TotpArgs, TotpCommand, TotpEnrollArgs};
use crate::cli::live::{ask, show};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn totp(global: &Global, args: &TotpArgs) -> Exit {
    match &args.command {
        TotpCommand::Enroll(args) => enroll(global, args),
        TotpCommand::Reset(whom) => reset(global, &whom.principal),
    }
}

pub(crate) fn factor(global: &Global, args: &FactorArgs) -> Exit {
    match &args.command {
        FactorCommand::List(whom) => list(global, &whom.principal),
    }
}

/// `alice` is `user:alice`.
fn reference(principal: &str) -> String {
    if principal.contains(':') { principal.to_owned() } else { format!("user:{principal}") }
}

fn list(global: &Global, principal: &str) -> Exit {
    let whom = Whom { on: reference(principal) };
    let factors: Factors = match ask(global, async |client| client.post("/v1/factors", &whom).await) {
        Ok(factors) => factors,
        Err(exit) => return exit,
    };
    show(global, &factors, || {
        if factors.factors.is_empty() {
            return format!("{} has no second factor", safe(&factors.on));
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "never".to_owned());
        let row = |factor: &portcullis_admin::api::Factor| {
            let left = factor.left.map_or_else(String::new, |left| left.to_string());
            [
                factor.id.clone(),
                factor.kind.clone(),
                safe(&factor.name),
                factor.created.clone(),
                text(&factor.used),
                left,
            ]
        };
        let rows: Vec<[String; 6]> = factors.factors.iter().map(row).collect();
        table(["ID", "KIND", "NAME", "ADDED", "LAST USED", "LEFT"], &rows)
    });
    if factors.factors.is_empty() { Exit::Negative } else { Exit::Success }
}

fn reset(global: &Global, principal: &str) -> Exit {
    let whom = Whom { on: reference(principal) };
    match ask(global, async |client| client.post::<Done>("/v1/factors/reset", &whom).await) {
        Ok(done) => {
            show(global, &done, || safe(&done.message));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

/// Shows a secret, and confirms it with the code that the app shows then.
fn enroll(global: &Global, args: &TotpEnrollArgs) -> Exit {
    let on = reference(&args.principal);
    let new = NewFactor { on: on.clone(), name: args.name.clone() };
    let begun: FactorBegun = match ask(global, async |client| client.post("/v1/factors/enroll", &new).await) {
        Ok(begun) => begun,
        Err(exit) => return exit,
    };
    match global.output {
        Format::Human => {
            if let Ok(code) = QrCode::with_error_correction_level(begun.uri.as_bytes(), EcLevel::L) {
                answer(&code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build());
            }
            answer(&begun.uri);
            // Nothing is lost where the prompt cannot be shown.
            let _ = write!(io::stderr(), "Code that the app shows: ").and_then(|()| io::stderr().flush());
        }
        Format::Json | Format::Jsonl => {
            answer(&json!({ "id": begun.id, "secret": begun.secret, "uri": begun.uri }).to_string());
        }
    }
    let mut code = String::new();
    if io::stdin().lock().read_line(&mut code).is_err() || code.trim().is_empty() {
        remark("error: no code came: nothing was added");
        return Exit::Usage;
    }
    let code = FactorCode { on, id: begun.id, code: code.trim().to_owned() };
    let confirmed: FactorConfirmed = match ask(global, async |client| client.post("/v1/factors/confirm", &code).await) {
        Ok(confirmed) => confirmed,
        Err(exit) => return exit,
    };
    show(global, &confirmed, || match &confirmed.recovery {
        None => safe(&confirmed.message),
        Some(codes) => {
            format!(
                "{}\nrecovery codes, each good once, shown this once:\n  {}",
                safe(&confirmed.message),
                codes.join("\n  ")
            )
        }
    });
    Exit::Success
}
