//! Who watches the demo, and in which form: a page for people, a JSON object for each step, or nothing but the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;

use serde_json::Value;

use crate::cli::args::{Format, Global};
use crate::demo::page::Page;
use crate::demo::stay::Invitation;
use crate::demo::verdict::{Played, Tally};
use crate::telemetry::colour;

/// Where the demo goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Audience {
    /// People, on standard output.
    People(Page),
    /// Programs: one JSON object a line.
    Programs,
    /// Nobody: the exit code says it all.
    Nobody,
}

impl Audience {
    /// Whom the command line asks for. `-q` leaves out only what the exit code says, too.
    pub(crate) fn new(global: &Global, once: bool) -> Self {
        match global.output {
            Format::Human if global.quiet && once => Self::Nobody,
            Format::Human => Self::People(Page::new(colour(global.color, io::stdout().is_terminal()))),
            Format::Json | Format::Jsonl => Self::Programs,
        }
    }

    /// Before the first step.
    pub(crate) fn open(self, gateway: SocketAddr, sample_api: SocketAddr) -> io::Result<()> {
        match self {
            Self::People(page) => say(&page.opening(gateway, sample_api)),
            Self::Programs | Self::Nobody => Ok(()),
        }
    }

    /// A step that was played.
    pub(crate) fn show(self, played: &Played) -> io::Result<()> {
        match self {
            Self::People(page) => say(&page.step(played)),
            Self::Programs => say(&[played.to_json().to_string()]),
            Self::Nobody => Ok(()),
        }
    }

    /// After the last step. What is not as expected is also told on standard error.
    pub(crate) fn close(self, played: &[Played], tally: &Tally) -> io::Result<()> {
        for each in played {
            for difference in &each.differences {
                complain(&format!("error: step {}: {difference}", each.number));
            }
        }
        if tally.refusals != tally.denials {
            complain(&format!("error: {} refusals, but {} events of a refusal", tally.refusals, tally.denials));
        }
        match self {
            Self::People(page) => say(&page.closing(tally)),
            Self::Programs | Self::Nobody => Ok(()),
        }
    }

    /// What can be tried while the demo stays. For programs it goes to standard error, which is no answer.
    pub(crate) fn invite(self, invitation: &Invitation) -> io::Result<()> {
        match self {
            Self::People(page) => say(&page.invitation(invitation)),
            Self::Programs | Self::Nobody => {
                Page::new(false).invitation(invitation).iter().for_each(|line| complain(line));
                Ok(())
            }
        }
    }

    /// What was recorded while the demo stays.
    pub(crate) fn tell(self, events: &[Value]) -> io::Result<()> {
        match self {
            Self::People(page) => events.iter().try_for_each(|event| say(&page.news(event))),
            Self::Programs | Self::Nobody => Ok(()),
        }
    }
}

/// Writes lines to standard output.
fn say(lines: &[String]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()
}

/// Writes a line to standard error; if nobody reads that, there is nobody to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
