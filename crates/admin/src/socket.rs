//! The unix socket: made for its owner and one group, in place of one that a dead process left behind, and never in place of one
//! that somebody listens on.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::accounts;
use crate::peer::Access;
use crate::settings::Settings;

/// Read and written by the owner and the group; to connect, a process must be able to write (unix(7)).
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error("another process listens on {}", path.display())]
    Living {
        /// The path.
        path: PathBuf,
    },
    /// The path is there and no socket.
    #[error("{} is there and no socket", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The group is not known on this machine.
    #[error("the group `{group}` is not known")]
    UnknownGroup {
        /// The group.
        group: Arc<str>,
    },
    /// The system says no.
    #[error("cannot listen on {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that listens. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) access: Access,
    path: PathBuf,
    /// Device and inode of the file that was made.
    made: (u64, u64),
}

impl Socket {
    pub(crate) fn bind(settings: &Settings) -> Result<Self, BindError> {
        let path = settings.socket.as_path();
        let io = |source| BindError::Io { path: path.to_owned(), source };
        let group = match &settings.group {
            Some(group) => {
                Some(accounts::group_id(group).ok_or_else(|| BindError::UnknownGroup { group: Arc::clone(group) })?)
            }
            None => None,
        };
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(io)?;
        let socket = Self::finish(listener, path, group);
        if socket.is_err() {
            // Half made is not made.
            let _ = fs::remove_file(path);
        }
        socket.map_err(io)
    }

    /// Until this is done others may connect, and are then told apart by who they are, as ever.
    fn finish(listener: UnixListener, path: &Path, group: Option<u32>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        if let Some(group) = group {
            chown(path, None, Some(group))?;
        }
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        let metadata = fs::symlink_metadata(path)?;
        let access = Access { owner: metadata.uid(), group };
        Ok(Self { listener, access, path: path.to_owned(), made: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another gateway may have its socket there by now.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.made);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a dead process left.
fn clear(path: &Path) -> Result<(), BindError> {
    let io = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NoSocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // Nobody listens: only the file is left.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(io),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue is somebody's, too; and where it cannot be told, it is taken for alive.
        Ok(_) | Err(_) => Err(BindError::Living { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &Path) -> Settings {
        Settings { socket: path.to_owned(), required: true, group: None }
    }

    #[test]
    fn it_is_for_the_owner_and_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let socket = Socket::bind(&settings(&path)).unwrap();
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
        assert_eq!(socket.access, Access { owner: metadata.uid(), group: None });
        drop(socket);
        assert!(!path.exists(), "it goes with its owner");
    }

    #[test]
    fn the_group_is_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        // One's own group is one that anybody may give a file to.
        let own = fs::metadata(folder.path()).unwrap().gid();
        let with_group = Settings { group: Some(own.to_string().into()), ..settings(&path) };
        let socket = Socket::bind(&with_group).unwrap();
        assert_eq!(socket.access.group, Some(own));
        assert_eq!(fs::symlink_metadata(&path).unwrap().gid(), own);
        let unknown = Settings { group: Some("no-such-group-anywhere".into()), ..settings(&folder.path().join("b")) };
        assert!(matches!(Socket::bind(&unknown), Err(BindError::UnknownGroup { .. })));
    }

    #[test]
    fn a_dead_one_is_replaced_a_living_one_and_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener that is dropped leaves its file");
        let living = Socket::bind(&settings(&path)).unwrap();
        assert!(matches!(Socket::bind(&settings(&path)), Err(BindError::Living { .. })));
        drop(living);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&settings(&path)), Err(BindError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn what_another_one_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = Socket::bind(&settings(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_or_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        assert!(matches!(Socket::bind(&settings(&long)), Err(BindError::Io { .. })));
        let nowhere = folder.path().join("none").join("control.sock");
        assert!(matches!(Socket::bind(&settings(&nowhere)), Err(BindError::Io { .. })));
    }
}
