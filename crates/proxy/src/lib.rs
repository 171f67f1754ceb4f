//! The data plane: accepts connections, runs the tower stack, forwards what was permitted.
//!
//! [`stack`](mod@stack) is the page to read first. The crate reads no configuration file and keeps no policy of its own:
//! a [`Snapshot`] is given to it, and replaced as a whole by a reload.

mod asserted;
mod before;
pub mod client_address;
pub mod clients;
pub mod clock;
mod connection;
pub mod data_plane;
mod forward;
mod held;
pub mod http2;
pub mod introduction;
pub mod layers;
mod leading;
pub mod lending;
pub mod logged;
pub mod malformation;
pub mod metrics;
pub mod page;
pub mod pages;
pub mod permitted;
pub mod proxy_protocol;
pub mod rate;
mod redecide;
pub mod refusal;
mod report;
pub mod request_id;
pub mod requestable;
pub mod route;
pub mod sampling;
pub mod seats;
pub mod settings;
mod shed;
pub mod sizes;
pub mod snapshot;
pub mod stack;
pub mod staged;
mod streams;
pub mod throttle;
pub mod tls;
pub mod trace;
mod traced;
pub mod trailers;
pub mod transit;
pub mod tunnel;
mod upgrade;
pub mod upstream;
pub mod usage;
pub mod watched;
pub mod websocket;
pub mod wire;
pub mod worker;

pub use data_plane::{DataPlane, StartError};
pub use sampling::Sampling;
pub use settings::Settings;
pub use snapshot::{Shared, Snapshot};
pub use staged::Staged;
pub use usage::UsageLanes;
