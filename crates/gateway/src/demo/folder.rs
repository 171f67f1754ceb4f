//! The demo's folder: configuration, policy, key files and events, for the owner's eyes alone, and removed at the end.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_config::{AppendKeyError, NewKey, append_key};
use tempfile::TempDir;

use crate::demo::credentials::{API_KEY_ID, Caller, Credentials};

const GATEWAY: &str = include_str!("portcullis.toml");
const POLICY: &str = include_str!("policy.toml");
/// What stands in the gateway's file for the sample API's address.
const PLACEHOLDER: &str = "SAMPLE_API";

/// Why the folder is not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The folder itself.
    #[error("a temporary folder cannot be made in {}", .0.display())]
    Make(PathBuf, #[source] io::Error),
    /// A file in it.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The key file.
    #[error(transparent)]
    Key(#[from] AppendKeyError),
    /// The folder is still there.
    #[error("{} cannot be removed", .0.display())]
    Remove(PathBuf, #[source] io::Error),
}

/// The folder. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct DemoFolder {
    folder: TempDir,
}

impl DemoFolder {
    /// Makes the folder (mode 0700) and writes what the gateway reads.
    ///
    /// # Errors
    /// What could not be made or written.
    pub(crate) fn make(sample_api: SocketAddr, credentials: &Credentials, now: Timestamp) -> Result<Self, FolderError> {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| FolderError::Make(std::env::temp_dir(), error))?;
        let folder = Self { folder };
        folder.write("portcullis.toml", &GATEWAY.replace(PLACEHOLDER, &sample_api.to_string()))?;
        folder.write("policy.toml", POLICY)?;
        folder.write("jwks.json", credentials.jwks())?;
        let key = NewKey {
            id: API_KEY_ID.to_owned(),
            sha256: credentials.api_key_sha256(),
            principal: format!("service:{API_KEY_ID}"),
            groups: Vec::new(),
            roles: Vec::new(),
            routes: Vec::new(),
            networks: Vec::new(),
            created: Some(now),
            expires: None,
        };
        append_key(&folder.path().join("keys.toml"), &key)?;
        Ok(folder)
    }

    /// Writes the credentials as shell variables, so that nobody has to print them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_credentials(
        &self,
        gateway: SocketAddr,
        credentials: &Credentials,
    ) -> Result<PathBuf, FolderError> {
        let mut text = format!("# For `.` in a shell. They work only while the demo runs.\nGW='http://{gateway}'\n");
        for caller in Caller::WITH_CREDENTIAL {
            if let (Some(variable), Some((name, value))) = (caller.variable(), credentials.header(caller)) {
                // Tokens and keys are of letters, digits and `._-`: nothing in them ends the quotes.
                text.push_str(&format!("{variable}='{name}: {}'\n", value.expose()));
            }
        }
        self.write("credentials.sh", &text)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file that the gateway loads.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("portcullis.toml")
    }

    /// The file that says who may do what.
    pub(crate) fn policy(&self) -> PathBuf {
        self.path().join("policy.toml")
    }

    /// The file that the gateway's events go to.
    pub(crate) fn events(&self) -> PathBuf {
        self.path().join("denials.jsonl")
    }

    /// Removes the folder with all that is in it.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub(crate) fn remove(self) -> Result<(), FolderError> {
        let path = self.path().to_owned();
        self.folder.close().map_err(|error| FolderError::Remove(path, error))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, FolderError> {
        let path = self.path().join(name);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match written.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(path),
            Err(error) => Err(FolderError::Write(path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_config::load;

    use super::*;

    fn made() -> (DemoFolder, Credentials) {
        let credentials = Credentials::make(Timestamp::now()).unwrap();
        let folder = DemoFolder::make("127.0.0.1:9".parse().unwrap(), &credentials, Timestamp::now()).unwrap();
        (folder, credentials)
    }

    #[test]
    fn the_configuration_loads_without_a_warning_and_listens_on_loopback_alone() {
        let (folder, _) = made();
        let loaded =
            load(&folder.config(), &BTreeMap::new()).unwrap_or_else(|report| panic!("{}", report.render_human(false)));
        assert_eq!(loaded.warnings.warnings(), 0, "{}", loaded.warnings.render_human(false));
        assert!(loaded.process.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
        assert!(loaded.ops.unwrap().address.ip().is_loopback());
        assert_eq!(loaded.files[..2], [folder.config(), folder.policy()]);
    }

    #[test]
    fn everything_is_for_its_owner_alone_and_goes_with_the_folder() {
        let (folder, credentials) = made();
        let script = folder.write_credentials("127.0.0.1:8".parse().unwrap(), &credentials).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let path = folder.path().to_owned();
        assert_eq!(mode(&path), 0o700);
        for entry in std::fs::read_dir(&path).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        let script = std::fs::read_to_string(script).unwrap();
        assert!(script.contains("GW='http://127.0.0.1:8'\nALICE='authorization: Bearer ey"), "{script}");
        folder.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_the_script_holds_a_secret() {
        let (folder, credentials) = made();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for caller in Caller::WITH_CREDENTIAL {
                assert!(!text.contains(credentials.header(caller).unwrap().1.expose()), "{caller:?}");
            }
        }
    }
}
