//! `access verify --take-as-it-is`: on the store, while no gateway runs.

use jiff::Timestamp;
use portcullis_config::{ProcessEnvironment, store_place};

use crate::answers::terminal::safe;
use crate::cli::args::{AccessVerifyArgs, Global};
use crate::cli::live::{fail, show};
use crate::exit::Exit;
use crate::governing::Who;
use crate::lending::taking::{self, NotTaken};

/// Takes the log of temporary power as it is.
pub(super) fn take(global: &Global, args: &AccessVerifyArgs) -> Result<Exit, Exit> {
    let Some(store) = store_place(&global.config, &ProcessEnvironment).filter(|store| store.path.exists()) else {
        fail(global, "there is no store on this machine: the log is taken where it lies, while no gateway runs");
        return Err(Exit::Unreachable);
    };
    let who = Who::of_this_process();
    let reason = args.reason.as_deref().unwrap_or_default();
    match taking::take(&global.config, &store, (&who, reason), Timestamp::now()) {
        Ok(done) => {
            show(global, &done, || safe(&done.message));
            Ok(Exit::Success)
        }
        Err(NotTaken::Governing(error)) => {
            fail(global, &error.to_string());
            Err(if error.is_lasting() { Exit::Negative } else { Exit::Unreachable })
        }
        Err(NotTaken::Refused(why)) => {
            fail(global, &why);
            Err(Exit::Negative)
        }
    }
}
