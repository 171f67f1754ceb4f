//! What the control channel needs to know, as plain values. The shape of TOML (`[control]`) lives in `config`.

use std::path::PathBuf;
use std::sync::Arc;

/// `[control]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The unix socket.
    pub socket: PathBuf,
    /// Somebody wrote that path down: a gateway that cannot have it does not start. The one by default is given up with a
    /// warning.
    pub required: bool,
    /// Whose members may use it, too: the name or the number of a group.
    pub group: Option<Arc<str>>,
}
