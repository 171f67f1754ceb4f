//! A backup: one file with what a store holds at one moment, a manifest with the hashes of all of it, encrypted where that is wanted.
//!
//! The form: a title, the length of the manifest, the manifest, its SHA-256, and the files one after the other. It is written beside its place
//! and renamed when it is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use portcullis_durable::{Draft, DurableError, Rights, beside};

use crate::hash::Hash;
use crate::seal::{self, MAGIC as SEALED};
use crate::wire::{Malformed, Parser, Writer};

pub use crate::seal::BackupKey;

/// What a gateway makes by itself, as plain values. The shape of TOML (`[backup]`) lives in `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// How often. Default 6 h.
    pub every: Duration,
    /// How many are kept. Default 28.
    pub keep: usize,
    /// The file of the key that encrypts them; `None`: they are not encrypted.
    pub key: Option<PathBuf>,
}

const TITLE: &[u8; 20] = b"PORTCULLIS-BACKUP/1\n";
const DOMAIN: &str = "portcullis-manifest-v1";
/// Files of a backup.
const MAX_FILES: usize = 10_000;
/// The manifest, in bytes.
const MAX_MANIFEST: u64 = 8 << 20;
/// Who can read a backup knows who is banned and what is usual for whom.
const MODE: u32 = 0o600;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// When it was made, in microseconds since 1970.
    pub created: i64,
    /// The last version in it.
    pub n: u64,
    /// The hash of that.
    pub head: Hash,
    /// Which gateway's it is; none where nothing is governed.
    pub instance: Hash,
    /// The files.
    pub files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: relative, with `/`.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Hash,
}

/// Why there is no backup, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no backup.
    #[error("{}: it is no backup of this program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was changed or cut.
    #[error("{}: {what} is not what it was when the backup was made", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: String,
    },
    /// It cannot be decrypted: whoever cuts or changes it cannot be told from another key.
    #[error("{}: it was encrypted with another key, or it is not what it was when the backup was made", path.display())]
    NotOpened {
        /// The file.
        path: PathBuf,
    },
    /// It is not encrypted, and a key says that it should be.
    #[error("{}: it is not encrypted, so that whoever could write to its folder may have made it: --plain has it used all the same", path.display())]
    NotSealed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read without the key.
    #[error("{}: it is encrypted: name the key file", path.display())]
    NeedsKey {
        /// The file.
        path: PathBuf,
    },
}

impl Manifest {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.time(self.created);
        writer.number(self.n);
        writer.hash(self.head);
        writer.hash(self.instance);
        writer.list(&self.files, |writer, file| {
            writer.text(&file.name);
            writer.number(file.length);
            writer.hash(file.sha256);
        });
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::new(bytes, DOMAIN)?;
        let manifest = Self {
            created: parser.time()?,
            n: parser.number()?,
            head: parser.hash()?,
            instance: parser.hash()?,
            files: parser.list(MAX_FILES, |parser| {
                Ok(Entry { name: parser.text()?, length: parser.number()?, sha256: parser.hash()? })
            })?,
        };
        parser.end()?;
        if manifest.files.iter().all(|file| is_name(&file.name)) { Ok(manifest) } else { Err(Malformed) }
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        Timestamp::from_microsecond(self.created).unwrap_or_default()
    }
}

/// Whether a name stays in the folder that a backup is unpacked in.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a file begins as a backup does, encrypted or not: what comes after is not looked at.
///
/// # Errors
/// It cannot be read.
pub fn is_backup(file: &Path) -> io::Result<bool> {
    let mut title = Vec::new();
    File::open(file)?.take(TITLE.len() as u64).read_to_end(&mut title)?;
    Ok(title == TITLE || title == SEALED)
}

/// Writes a backup of these files, each with its name in it. The files must not change meanwhile.
///
/// # Errors
/// It is not written, and what was at its place before is as it was.
pub fn create(
    out: &Path,
    mut manifest: Manifest,
    files: &[(String, PathBuf)],
    key: Option<&BackupKey>,
) -> Result<Manifest, BackupError> {
    manifest.files = files.iter().map(|(name, path)| entry(name, path)).collect::<Result<_, _>>()?;
    let failed = |error| match error {
        DurableError::Io { path, source } => BackupError::Io { path, source },
        busy @ DurableError::Busy(_) => BackupError::Io { path: out.to_owned(), source: busy.into_source() },
    };
    let draft = Draft::in_turn(out, beside(out, ".new"), Rights::Mode(MODE)).map_err(failed)?;
    write_draft(draft, out, &manifest, files, key)?.put_in_place().map_err(failed)?;
    Ok(manifest)
}

fn write_draft(
    draft: Draft,
    path: &Path,
    manifest: &Manifest,
    files: &[(String, PathBuf)],
    key: Option<&BackupKey>,
) -> Result<Draft, BackupError> {
    let io = |source| BackupError::Io { path: path.to_owned(), source };
    let mut out = BufWriter::new(draft);
    let bytes = manifest.encode();
    let mut plain: Box<dyn Read> = Box::new(io::Cursor::new(
        [&TITLE[..], &(bytes.len() as u64).to_be_bytes(), &bytes, &Hash::of(&bytes).0].concat(),
    ));
    for ((_, path), entry) in files.iter().zip(&manifest.files) {
        let content = File::open(path).map_err(|source| BackupError::Io { path: path.clone(), source })?;
        // As long as it was when it was hashed: a file that grew would be read beyond.
        plain = Box::new(plain.chain(BufReader::new(content).take(entry.length)));
    }
    match key {
        Some(key) => seal::seal(key, &mut plain, &mut out).map_err(io)?,
        None => io::copy(&mut plain, &mut out).map(drop).map_err(io)?,
    }
    out.into_inner().map_err(|error| io(error.into_error()))
}

fn entry(name: &str, path: &Path) -> Result<Entry, BackupError> {
    let io = |source| BackupError::Io { path: path.to_owned(), source };
    if !is_name(name) {
        return Err(io(io::Error::other("its name cannot be in a backup")));
    }
    let mut file = File::open(path).map_err(io)?;
    let (length, sha256) = copy_hashed(&mut file, &mut io::sink(), u64::MAX).map_err(io)?;
    Ok(Entry { name: name.to_owned(), length, sha256 })
}

/// Unpacks a backup into a folder that is there and empty, and holds each file to the manifest. With a key only one that is encrypted is taken: nobody who has
/// not the key can have made it.
///
/// # Errors
/// It is no backup, or not what it was. What was unpacked by then is worthless.
pub fn unpack(archive: &Path, key: Option<&BackupKey>, folder: &Path) -> Result<Manifest, BackupError> {
    let io = |source| BackupError::Io { path: archive.to_owned(), source };
    let mut file = BufReader::new(File::open(archive).map_err(io)?);
    let mut title = [0; 20];
    let foreign = || BackupError::Foreign { path: archive.to_owned() };
    file.read_exact(&mut title).map_err(|_| foreign())?;
    if &title == TITLE {
        if key.is_some() {
            return Err(BackupError::NotSealed { path: archive.to_owned() });
        }
        return unpack_plain(archive, &mut file, folder);
    }
    if &title != SEALED {
        return Err(foreign());
    }
    let key = key.ok_or_else(|| BackupError::NeedsKey { path: archive.to_owned() })?;
    // Decrypted as a whole before anything of it is looked at.
    let plain = folder.join(".plain");
    let to = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&plain).map_err(io)?;
    let mut to = BufWriter::new(to);
    seal::open(key, &mut file, &mut to).and_then(|()| to.flush()).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => BackupError::NotOpened { path: archive.to_owned() },
        _ => io(source),
    })?;
    let mut file = BufReader::new(File::open(&plain).map_err(io)?);
    file.read_exact(&mut title).map_err(|_| foreign())?;
    if &title != TITLE {
        return Err(foreign());
    }
    let manifest = unpack_plain(archive, &mut file, folder)?;
    fs::remove_file(&plain).map_err(io)?;
    Ok(manifest)
}

fn unpack_plain(archive: &Path, file: &mut dyn Read, folder: &Path) -> Result<Manifest, BackupError> {
    let io = |source| BackupError::Io { path: archive.to_owned(), source };
    let damaged = |what: &str| BackupError::Damaged { path: archive.to_owned(), what: what.to_owned() };
    let manifest = read_manifest(file).or_else(|error| match error.kind() {
        // It was cut off.
        io::ErrorKind::UnexpectedEof => Ok(None),
        _ => Err(error),
    });
    let manifest = manifest.map_err(io)?.ok_or_else(|| damaged("the manifest"))?;
    for entry in &manifest.files {
        let path = folder.join(&entry.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path).map_err(io)?;
        let copied = copy_hashed(file, &mut out, entry.length).map_err(io)?;
        if copied != (entry.length, entry.sha256) {
            return Err(damaged(&entry.name));
        }
        out.sync_all().map_err(io)?;
    }
    if file.read(&mut [0]).map_err(io)? != 0 {
        return Err(damaged("its end"));
    }
    Ok(manifest)
}

fn read_manifest(file: &mut dyn Read) -> io::Result<Option<Manifest>> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    if length > MAX_MANIFEST {
        return Ok(None);
    }
    let (mut bytes, mut hash) = (Vec::new(), [0; 32]);
    file.take(length).read_to_end(&mut bytes)?;
    file.read_exact(&mut hash)?;
    Ok(Manifest::decode(&bytes).ok().filter(|_| Hash::of(&bytes).0 == hash))
}

/// Copies at most so many bytes, and says how many and their hash.
fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write, most: u64) -> io::Result<(u64, Hash)> {
    let (mut context, mut length) = (Context::new(&SHA256), 0u64);
    let mut buffer = vec![0; 1 << 16];
    let mut from = from.take(most);
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        context.update(bytes);
        to.write_all(bytes)?;
        length += bytes.len() as u64;
    }
    let mut hash = [0; 32];
    // INVARIANT: a SHA-256 has 32 bytes.
    hash.copy_from_slice(context.finish().as_ref());
    Ok((length, Hash(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest { created: 5, n: 3, head: Hash([1; 32]), instance: Hash::NONE, files: Vec::new() }
    }

    fn files(folder: &Path) -> Vec<(String, PathBuf)> {
        let one = |name: &str, content: &[u8]| {
            let path = folder.join(name.replace('/', "-"));
            fs::write(&path, content).unwrap();
            (name.to_owned(), path)
        };
        vec![one("store.db", &[9; 70_000]), one("feeds/a", b"10.0.0.0/8\n"), one("empty", b"")]
    }

    fn unpacked(archive: &Path, key: Option<&BackupKey>) -> Result<(Manifest, Vec<u8>), BackupError> {
        let into = tempfile::tempdir().unwrap();
        let manifest = unpack(archive, key, into.path())?;
        Ok((manifest, fs::read(into.path().join("feeds/a")).unwrap()))
    }

    #[test]
    fn it_comes_back_as_it_was_and_any_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (key, _) = BackupKey::generate().unwrap();
        let files = files(folder.path());
        for key in [None, Some(&key)] {
            let out = folder.path().join("backup");
            let made = create(&out, manifest(), &files, key).unwrap();
            assert_eq!(made.files.len(), 3);
            let (read, feed) = unpacked(&out, key).unwrap();
            assert_eq!((read, feed.as_slice()), (made, &b"10.0.0.0/8\n"[..]));
            let good = fs::read(&out).unwrap();
            for at in (0..good.len()).step_by(1_997).chain([0, 25, good.len() - 1]) {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                fs::write(&out, bad).unwrap();
                let error = unpacked(&out, key).unwrap_err();
                assert!(!matches!(error, BackupError::Io { .. }), "changed at {at}: {error}");
            }
            for end in [0, 19, 30, good.len() / 2, good.len() - 1] {
                fs::write(&out, &good[..end]).unwrap();
                // A file that cannot be read is another matter, to which another exit code belongs.
                let error = unpacked(&out, key).unwrap_err();
                assert!(!matches!(error, BackupError::Io { .. }), "cut at {end}: {error}");
            }
            fs::write(&out, [&good[..], b"x"].concat()).unwrap();
            assert!(unpacked(&out, key).is_err(), "longer");
        }
    }

    #[test]
    fn one_that_is_encrypted_needs_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (key, _) = BackupKey::generate().unwrap();
        let out = folder.path().join("backup");
        create(&out, manifest(), &files(folder.path()), Some(&key)).unwrap();
        assert!(matches!(unpacked(&out, None), Err(BackupError::NeedsKey { .. })));
        let (other, _) = BackupKey::generate().unwrap();
        assert!(matches!(unpacked(&out, Some(&other)), Err(BackupError::NotOpened { .. })));
        let plain = folder.path().join("plain");
        create(&plain, manifest(), &files(folder.path()), None).unwrap();
        assert!(matches!(unpacked(&plain, Some(&key)), Err(BackupError::NotSealed { .. })), "anybody can make one");
        let bytes = fs::read(&out).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"10.0.0.0"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for (name, good) in [
            ("a", true),
            ("a/b", true),
            ("../a", false),
            ("/a", false),
            ("a/../../b", false),
            ("", false),
            ("a\\b", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        let wrong =
            Manifest { files: vec![Entry { name: "../a".into(), length: 0, sha256: Hash::NONE }], ..manifest() };
        assert!(Manifest::decode(&wrong.encode()).is_err());
        let missing = create(Path::new("/nowhere/backup"), manifest(), &[], None);
        assert!(matches!(missing, Err(BackupError::Io { .. })));
    }
}
