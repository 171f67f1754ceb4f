//! Where the control channel is.

use std::path::{Path, PathBuf};

use portcullis_admin::Settings;

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::Control;
use crate::section::Reader;

/// The longest path that the system takes for a socket (`sockaddr_un`, unix(7)), without its end mark.
const MAX_PATH: usize = 107;

/// `config` is the file that the gateway is started with.
pub(crate) fn compile(reader: &Reader<'_>, control: Option<Control>, config: &Path) -> Option<Settings> {
    let Control { socket, group } = control?;
    if let Some(socket) = &socket {
        let length = socket.value.path.as_os_str().len();
        if length > MAX_PATH {
            let message = format!("`socket`: the path has {length} bytes, and a unix socket at most {MAX_PATH}");
            let help = "choose a shorter one, such as \"/run/portcullis/control.sock\"";
            reader.report(Diagnostic::error(codes::BAD_VALUE, socket.span, message).with_help(help));
        }
    }
    let required = socket.is_some();
    let socket = socket.map_or_else(|| default_socket(config), |socket| socket.value.path);
    Some(Settings { socket, required, group: group.map(Into::into) })
}

/// A system's own configuration has its socket in the system's place. Any other one has it beside it: whoever tries a gateway out in a
/// folder can write there, and finds that very gateway by its configuration.
fn default_socket(config: &Path) -> PathBuf {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    if config.starts_with("/etc") {
        PathBuf::from("/run/portcullis/control.sock")
    } else {
        config.with_extension("sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_its_socket_in_run_and_a_folder_in_itself() {
        let check = |config: &str, expected: &str| assert_eq!(default_socket(Path::new(config)), Path::new(expected));
        check("/etc/portcullis/portcullis.toml", "/run/portcullis/control.sock");
        check("/etcetera/portcullis.toml", "/etcetera/portcullis.sock");
        check("/home/alice/gateway/portcullis.toml", "/home/alice/gateway/portcullis.sock");
        assert!(default_socket(Path::new("mine.toml")).is_absolute());
    }
}
