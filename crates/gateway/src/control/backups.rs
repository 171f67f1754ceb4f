//! Backups of the running gateway.

use jiff::Timestamp;
use portcullis_admin::Peer;
use portcullis_admin::api::Problem;
use portcullis_admin::backup::{BackupAnswer, BackupWanted};

use super::{Operated, problem};
use crate::backing_up::Backups;
use crate::governing::Who;
use crate::yielding::{Priority, yielding};

/// Does what is wanted.
pub(super) fn perform(operated: &Operated, peer: &Peer, wanted: &BackupWanted) -> Result<BackupAnswer, Problem> {
    let running = &operated.running;
    let Some((store, settings, lists)) = running.backed_up() else {
        return Err(problem("the configuration has no `[store]`, so there is nothing to copy"));
    };
    let backups = Backups {
        config: &operated.config,
        store,
        lists,
        settings,
        demanded: running.governing().is_some_and(|governing| governing.demands_approvals()),
        who: Who::of(peer).names,
    };
    if *wanted == BackupWanted::List {
        return backups.perform(wanted, Timestamp::now()).map_err(|error| problem(error.to_string()));
    }
    // All of a store is read, hashed and written: beside requests, never before them.
    let done = yielding("backup", Priority::Low, || backups.perform(wanted, Timestamp::now()));
    done.map_err(problem)?.map_err(|error| problem(error.to_string()))
}
