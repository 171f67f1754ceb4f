//! Owns the event schema and carries events, without blocking a request, to their sinks.
//!
//! One refusal is one [`Event`]: its shape is [`event`], its reason one of the closed set of [`ReasonCode`], and what the
//! policy said becomes part of it in `from_policy`. A [`Recorder`] makes one line of each event, in one thread, and hands it to
//! every sink: a bounded queue and one writer thread per sink, so that neither serialization nor a slow disk is on a request's
//! path. What cannot be kept is dropped and counted, never waited for, unless the configuration wants that.
//!
//! The crate deliberately decides nothing, renders no answer to a caller and reads no configuration file. Sinks are fixed
//! while the process runs; a reload only reopens their files ([`Recorder::reopen`]).

pub mod access;
pub mod audit;
mod beside;
mod bounds;
mod chain;
pub mod checkpoint;
mod dead_letter;
mod delivery;
pub mod event;
pub mod filter;
mod fold;
pub mod format;
mod from_policy;
mod lane;
mod line;
pub mod read;
pub mod reason_code;
pub mod receipt;
pub mod recorder;
mod scribe;
pub mod settings;
pub mod sinks;
mod spool;
pub mod tap;
pub mod traces;
mod trouble;
mod writer;

pub use access::{AccessEntry, AccessLog, is_sampled};
pub use beside::is_no_event_file;
pub use event::{Answer, Event, EventKind, Severity};
pub use format::Format;
/// A small client that posts, for whoever tells somebody of an event.
pub mod post {
    pub use crate::sinks::http::headers;
    pub use crate::sinks::post::{Answer, Client, PostError};
}

pub use reason_code::{ReasonCode, help_url};
pub use receipt::{Receipt, Settled};
pub use recorder::{Earlier, MAX_SINKS, Recorder, SinkStats, StartError};
pub use settings::Settings;
pub use sinks::memory::Capture;
pub use spool::SpoolStats;
pub use tap::{Tap, Watch};
pub use traces::Tracer;
