//! Where the store is.

use std::path::{Path, PathBuf};

use portcullis_store::Settings;

use crate::file::Store;

/// `config` is the file that the gateway is started with.
pub(crate) fn compile(store: Option<Store>, config: &Path) -> Option<Settings> {
    let path = store?.path.map_or_else(|| default_path(config), |path| path.path);
    Some(Settings { path })
}

/// A system's own configuration has its state in the system's place, any other one beside it.
fn default_path(config: &Path) -> PathBuf {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let name = "portcullis.db";
    if config.starts_with("/etc") { Path::new("/var/lib/portcullis").join(name) } else { config.with_file_name(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_its_store_in_var_and_a_folder_in_itself() {
        let check = |config: &str, expected: &str| assert_eq!(default_path(Path::new(config)), Path::new(expected));
        check("/etc/portcullis/portcullis.toml", "/var/lib/portcullis/portcullis.db");
        check("/home/alice/gateway/portcullis.toml", "/home/alice/gateway/portcullis.db");
        assert!(default_path(Path::new("mine.toml")).is_absolute());
    }
}
