//! The networks that keep themselves current: where their lists are kept, and what was kept of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_feeds::{Restored, Settings, restore};

use crate::codes;
use crate::diagnostics::Diagnostic;
use crate::file::PolicyFile;
use crate::kinds::ResolvedPath;
use crate::section::Reader;

/// The feeds of a policy, and the lists that were last in force: they become part of its networks. What was kept and is broken is
/// said; it keeps nobody from starting, since without it the network is unknown. `config` is the file that the gateway is started
/// with.
/// `approved`: changes of the policy need approvals.
pub(crate) fn compile(
    reader: &Reader<'_>,
    folder: Option<&ResolvedPath>,
    policy: &mut PolicyFile,
    (config, approved): (&Path, bool),
) -> (Settings, Vec<Restored>) {
    let folder = folder.map_or_else(|| default_folder(config), |folder| folder.path.clone());
    let feeds = policy.networks.iter().filter_map(|network| network.source.as_ref());
    let settings = Settings { folder, feeds: feeds.map(|source| Arc::new(source.value.clone())).collect(), approved };
    let restored = restore(&settings, reader.now());
    let networks = policy.networks.iter_mut().filter(|network| network.source.is_some());
    for (network, restored) in networks.zip(&restored) {
        let content = restored.content();
        network.prefixes = content.prefixes.to_vec();
        network.unknown = content.unknown;
        if let (Some(problem), Some(source)) = (restored.problem(), &network.source) {
            let message = format!("what was kept of `{}` is not used: {problem}", network.name.value);
            let help = "a running gateway fetches the list anew and replaces it; or remove the file";
            reader.report(Diagnostic::warning(codes::BROKEN_LIST, source.span, message).with_help(help));
        }
    }
    (settings, restored)
}

/// A system's own configuration has its state in the system's place, any other one beside it.
fn default_folder(config: &Path) -> PathBuf {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    if config.starts_with("/etc") { PathBuf::from("/var/lib/portcullis/feeds") } else { config.with_file_name("feeds") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_keeps_its_lists_in_var_and_a_folder_in_itself() {
        let check = |config: &str, expected: &str| assert_eq!(default_folder(Path::new(config)), Path::new(expected));
        check("/etc/portcullis/portcullis.toml", "/var/lib/portcullis/feeds");
        check("/home/alice/gateway/portcullis.toml", "/home/alice/gateway/feeds");
        assert!(default_folder(Path::new("mine.toml")).is_absolute());
    }
}
