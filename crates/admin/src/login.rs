//! Who a process belongs to besides its account: whoever logged in before becoming somebody else, and whoever called `sudo`.
//!
//! It is for the record and for "nobody approves what they proposed": names that are found here are added to those of the account and take nothing away. Root
//! can hide both; who acts honestly is told apart from others, and nobody gains by an invented name, which only keeps one more person from approving.

use std::fs::File;
use std::io::Read as _;

/// Of the environment of a process so much is looked at, in bytes.
const MAX_ENVIRONMENT: u64 = 1 << 20;
/// What the kernel says of a process that no login began.
const UNSET: u32 = u32::MAX;

/// The users behind a process that runs as this one, by their numbers: by the audit of the kernel (`loginuid`, proc_pid_loginuid(5)), and of root by
/// `SUDO_UID` (sudo(8)), as far as this process may look.
pub(crate) fn behind(pid: Option<i32>, uid: u32) -> Vec<u32> {
    let Some(pid) = pid else { return Vec::new() };
    behind_in(&read(&format!("/proc/{pid}/loginuid"), 64), &environment(pid, uid), uid)
}

/// The same of this very process.
pub fn behind_this_process(uid: u32) -> Vec<u32> {
    behind(i32::try_from(std::process::id()).ok(), uid)
}

/// Only root has become somebody else by `sudo` in a way that matters here: others could only invent it.
fn environment(pid: i32, uid: u32) -> Vec<u8> {
    if uid == 0 { read(&format!("/proc/{pid}/environ"), MAX_ENVIRONMENT) } else { Vec::new() }
}

fn behind_in(login: &[u8], environment: &[u8], uid: u32) -> Vec<u32> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.trim().parse::<u32>().ok();
    let sudo = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"SUDO_UID="));
    let mut found: Vec<u32> = [number(login), sudo.and_then(number)].into_iter().flatten().collect();
    found.retain(|found| *found != UNSET && *found != uid);
    found.dedup();
    found
}

fn read(path: &str, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What may not be looked at, or is not there any more, says nothing.
    if let Ok(file) = File::open(path) {
        let _ = file.take(most).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_logged_in_or_called_sudo_is_behind_it() {
        let check = |login: &str, environment: &str, expected: &[u32]| {
            assert_eq!(behind_in(login.as_bytes(), environment.as_bytes(), 0), expected, "{login:?} {environment:?}");
        };
        check("1000", "", &[1000]);
        check("1000\n", "PATH=/bin\0SUDO_UID=1001\0SUDO_USER=x\0", &[1000, 1001]);
        check("1000", "SUDO_UID=1000\0", &[1000]);
        check("4294967295", "A=SUDO_UID=5\0", &[]);
        check("0", "SUDO_UID=0\0", &[]);
        check("", "SUDO_UID=root\0SUDO_UID=7\0", &[]);
        assert_eq!(behind(None, 0), Vec::<u32>::new());
        assert!(environment(i32::try_from(std::process::id()).unwrap(), 1000).is_empty());
    }
}
