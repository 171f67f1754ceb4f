//! After the story: the gateway stays up for whoever wants to try things, and tells what it refuses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_events::ReasonCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::cli::args::Global;
use crate::demo::audience::Audience;
use crate::demo::event_log::EventLog;
use crate::demo::story::STORY;
use crate::demo::verdict::{Played, text};
use crate::demo::{Demo, DemoError};
use crate::governing::{Asked, Why};
use crate::ops::Ops;
use crate::reload::reload;
use crate::telemetry;

/// How often the events are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What to try first: one request for each of these outcomes.
const WORTH_TRYING: [Option<ReasonCode>; 5] = [
    None,
    Some(ReasonCode::RbacNoMatchingGrant),
    Some(ReasonCode::RbacExplicitDeny),
    Some(ReasonCode::StepUpRequired),
    Some(ReasonCode::AuthnInvalid),
];

/// What can be done while the demo stays.
#[derive(Debug)]
pub(crate) struct Invitation {
    /// The folder with everything in it.
    pub(crate) folder: PathBuf,
    /// The file with the credentials, as shell variables.
    pub(crate) credentials: PathBuf,
    pub(crate) policy: PathBuf,
    pub(crate) process_id: u32,
    pub(crate) ops: Option<SocketAddr>,
    /// Requests to paste.
    pub(crate) commands: Vec<String>,
    /// The command that explains a refusal of the story.
    pub(crate) explain: Option<String>,
}

impl Demo {
    /// Serves until it is dropped. It returns when nobody reads what it tells.
    ///
    /// # Errors
    /// What was needed and is not there.
    pub(super) async fn stay(
        &self,
        global: &Global,
        log: &mut EventLog,
        audience: Audience,
        played: &[Played],
    ) -> Result<(), DemoError> {
        // Errors only: the rest is told as events.
        telemetry::start(&Global { quiet: true, ..global.clone() });
        let mut hangup = signal(SignalKind::hangup()).map_err(DemoError::Signals)?;
        let ops = match self.ops {
            Some(address) => {
                Some(Ops::start(address, &self.running).await.map_err(|error| DemoError::Ops(address, error))?)
            }
            None => None,
        };
        let invitation = Invitation {
            folder: self.folder.path().to_owned(),
            credentials: self.folder.write_credentials(self.gateway, &self.credentials)?,
            policy: self.folder.policy(),
            process_id: std::process::id(),
            ops: ops.as_ref().map(Ops::address),
            commands: commands(),
            explain: self.explain_command(played),
        };
        let mut heard = audience.invite(&invitation);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A closed terminal is noticed here, too: its hangup is taken as a reload, whose event cannot be told.
        while heard.is_ok() {
            tokio::select! {
                _ = hangup.recv() => {
                    // It is in the log, and nobody else is told.
                    let _ = reload(&self.folder.config(), &self.running, Why::Asked, &Asked::by(vec!["demo".to_owned()])).await;
                }
                _ = look.tick() => heard = audience.tell(&log.read_new().map_err(DemoError::Events)?),
            }
        }
        Ok(())
    }

    /// How to have the story's first refusal by missing grant explained by this very program.
    fn explain_command(&self, played: &[Played]) -> Option<String> {
        let wanted = ReasonCode::RbacNoMatchingGrant.code();
        let mut events = played.iter().filter_map(|each| each.observed.event());
        let event = events.find(|event| text(event, "/reason") == wanted)?;
        let program = std::env::current_exe().ok()?;
        let config = self.folder.config();
        Some(format!("{} -c {} explain --event {}", program.display(), config.display(), text(event, "/id")))
    }
}

fn commands() -> Vec<String> {
    let steps = WORTH_TRYING.iter().filter_map(|reason| STORY.iter().find(|step| step.expected.reason == *reason));
    steps.map(|step| step.command()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_to_try_for_each_outcome() {
        assert_eq!(commands().len(), WORTH_TRYING.len());
    }
}
