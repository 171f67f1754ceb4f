//! Ports for programs that must be told theirs, such as nginx or the gateway itself.
//!
//! Binding port 0 and letting go again is a race: the kernel may give the same port to the next test, or to an outgoing
//! connection. So ports come from a range below the one that Linux uses for those (32768 upwards), and each is held by a
//! file lock until the test's process ends.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// The ports that are handed out.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The locks on the ports that this process was given. They are never released: a port is used once per process.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that was free for TCP and UDP on 127.0.0.1 and that no other test on this machine is given while this process
/// lives.
///
/// # Panics
/// When no port of the range is free, or the lock files cannot be written.
pub fn free_port() -> u16 {
    let locks = lock_folder();
    let mut held = HELD.lock().expect("no holder of this lock panics");
    // Processes start at different places, so that they seldom try each other's ports.
    let span = u32::from(RANGE.end - RANGE.start);
    let start = std::process::id().wrapping_mul(2_654_435_761) % span;
    for step in 0..span {
        let offset = u16::try_from((start + step) % span).expect("the span of the range fits");
        let port = RANGE.start + offset;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(locks.join(port.to_string()))
            .expect("the lock files of this user are writable");
        if file.try_lock().is_ok() && is_free(port) {
            held.push(file);
            return port;
        }
    }
    panic!("no port between {} and {} is free", RANGE.start, RANGE.end);
}

/// A folder per user, because users cannot open each other's files.
fn lock_folder() -> PathBuf {
    let user = fs::metadata("/proc/self").expect("Linux has /proc/self").uid();
    let folder = std::env::temp_dir().join(format!("portcullis-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    folder
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_is_given_once_and_can_be_bound() {
        let ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len(), "{ports:?}");
        for port in ports {
            assert!(RANGE.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_held_by_somebody_else_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }

    #[test]
    fn a_given_port_is_locked_for_other_processes() {
        let port = free_port();
        let other = OpenOptions::new().write(true).open(lock_folder().join(port.to_string())).unwrap();
        assert!(other.try_lock().is_err());
    }
}
