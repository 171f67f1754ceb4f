//! Listening sockets that the service manager opened and passed on (`LISTEN_FDS`, see `sd_listen_fds(3)`).
//!
//! It keeps them open while the gateway restarts, so that connections wait instead of being refused.

use std::net::TcpListener;

use listenfd::ListenFd;
use portcullis_proxy::data_plane::Inherited;

/// Takes the sockets out of the environment, each with its name (`FileDescriptorName=`), if it has one. Call it before any
/// thread is started: the variables are removed.
///
/// # Errors
/// A descriptor that is no listening TCP socket.
pub(crate) fn from_environment() -> Result<Vec<Inherited>, String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut inherited = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let socket = passed.take_tcp_listener(index);
        let socket = socket.map_err(|error| format!("the passed descriptor {}: {error}", index + 3))?;
        inherited.extend(socket.map(|socket: TcpListener| Inherited { name, socket }));
    }
    Ok(inherited)
}
