//! Files that are named on the command line. What is none is refused at once: a queue that nobody writes to would hold the verb for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use portcullis_governance::MAX_CONTENT;
use rustix::fs::OFlags;

/// Opens a file to be read, or what whoever calls the program has opened for it: `/dev/stdin`, or `/dev/fd/N` as a shell makes of `<(pass show key)`, so that
/// a key never has to lie on a disk.
///
/// # Errors
/// It is not there, may not be read, or is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if is_handed_over(path) {
        // It is waited for as standard input is: somebody has it open already.
        let file = File::open(path)?;
        let kind = file.metadata()?.file_type();
        return match kind.is_file() || kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
            true => Ok(file),
            false => Err(io::Error::other("it is not a regular file")),
        };
    }
    // Whoever opens a queue waits for who writes to it, unless told not to. A file heeds that in nothing.
    let wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(wait).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Whether a path names a file that this process was started with. What it is called in there is a number, so that it leads nowhere else.
fn is_handed_over(path: &Path) -> bool {
    let number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let named = path.to_str().unwrap_or_default();
    let in_folder = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|folder| named.strip_prefix(folder));
    named == "/dev/stdin" || in_folder.is_some_and(number)
}

/// All of a file that holds a text, of at most as many bytes as a version may have.
///
/// # Errors
/// As of [`open`]; it is larger; or it is no text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let most = u64::try_from(MAX_CONTENT).unwrap_or(u64::MAX);
    let mut text = String::new();
    open(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > MAX_CONTENT {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_CONTENT >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Finding of 2026-11: `policy propose` of a queue waited for ever.
    #[test]
    fn what_is_no_file_is_refused_at_once_and_what_is_too_large_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        mknodat(CWD, path("queue"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(text(&path("file")).unwrap(), "text");
        assert_eq!(text(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        for other in [path("queue"), folder.path().to_owned(), Path::new("/dev/zero").to_owned()] {
            let why = text(&other).unwrap_err().to_string();
            assert_eq!(why, "it is not a regular file", "{}", other.display());
        }
        // A way out of the folder of open files is no such file.
        for folder in ["/dev/fd", "/proc/self/fd"] {
            let queue = Path::new(folder).join("../../../..").join(path("queue").strip_prefix("/").unwrap());
            assert!(text(&queue).is_err(), "{}", queue.display());
        }
        File::create(path("large")).unwrap().set_len(MAX_CONTENT as u64 + 1).unwrap();
        assert!(text(&path("large")).unwrap_err().to_string().contains("it is larger than"));
    }

    /// Finding of 2026-11: `--key <(pass show key)` was refused, and whoever keeps keys off the disk had to write them to it.
    #[test]
    fn what_was_opened_for_the_program_is_read_and_no_more_of_it_than_of_a_file() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;

        for folder in ["/dev/fd", "/proc/self/fd"] {
            let (reads, mut writes) = io::pipe().unwrap();
            writes.write_all(b"a key").unwrap();
            drop(writes);
            assert_eq!(text(&Path::new(folder).join(reads.as_raw_fd().to_string())).unwrap(), "a key");
            let endless = File::open("/dev/zero").unwrap();
            let endless = text(&Path::new(folder).join(endless.as_raw_fd().to_string())).unwrap_err();
            assert!(endless.to_string().contains("it is larger than"), "{endless}");
        }
        for (path, is) in [("/dev/stdin", true), ("/dev/fd/63", true), ("/dev/fd/", false), ("/dev/fd/6/3", false)] {
            assert_eq!(is_handed_over(Path::new(path)), is, "{path}");
        }
    }
}
