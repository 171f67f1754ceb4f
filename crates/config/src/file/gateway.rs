//! `portcullis.toml` and the files it includes.

use std::path::{Path, PathBuf};

use portcullis_proxy::settings::ForwardingSettings;

use crate::diagnostics::{At, Span};
use crate::document::{FileToRead, MAX_GATEWAY_FILE, read_document};
use crate::file::admin::read_admin;
use crate::file::alert::{Alert, Silence, read_alert, read_silence};
use crate::file::identity::{self, Identity};
use crate::file::listener::{self, Listener};
use crate::file::operation::{self, Operation, Sink};
use crate::file::receiver::notifier::{Notifier, read_notifier};
use crate::file::traffic::{self, ClientAddress, Route};
use crate::file::upstream::{Upstream, read_upstream};
use crate::file::{read_version, refuse_cases};
use crate::include::included_files;
use crate::kinds::{FilePath, ResolvedPath, Text};
use crate::section::{Reader, Section};

/// Everything that the gateway file and its includes say.
#[derive(Debug)]
pub(crate) struct GatewayFile {
    /// Every file that was read.
    pub(crate) files: Vec<PathBuf>,
    /// The beginning of the main file: where what is missing as a whole is reported.
    pub(crate) start: Span,
    pub(crate) policy: At<ResolvedPath>,
    pub(crate) entries: Entries,
    pub(crate) client_address: ClientAddress,
    pub(crate) forwarding: ForwardingSettings,
    pub(crate) operation: Operation,
}

/// The lists that included files may add to.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) routes: Vec<Route>,
    pub(crate) identity: Identity,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) notifiers: Vec<Notifier>,
    pub(crate) silences: Vec<Silence>,
}

/// Reads `portcullis.toml`. `None` when the file itself cannot be read.
pub(crate) fn read_gateway(reader: &Reader<'_>, path: &Path) -> Option<GatewayFile> {
    let short_name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
    let file =
        FileToRead { path, short_name: &short_name, named_at: None, limit: MAX_GATEWAY_FILE, defines_names: true };
    let (mut gateway, include) = read_document(reader, file, |section| read_main(section, path))?;
    for included in included_files(reader, path, &include) {
        let file = FileToRead {
            path: &included.path,
            short_name: &included.short_name,
            named_at: Some(included.at),
            limit: MAX_GATEWAY_FILE,
            defines_names: true,
        };
        read_document(reader, file, |section| read_included(section, &mut gateway.entries));
        gateway.files.push(included.path);
    }
    Some(gateway)
}

fn read_main(section: Section<'_>, path: &Path) -> (GatewayFile, Vec<At<String>>) {
    read_version(&section, true);
    let include = section.list("include", Text).map_or_else(Vec::new, |list| list.value);
    let mut entries = Entries::default();
    read_entries(&section, &mut entries, true);
    read_admin(&section, &mut entries);
    let gateway = GatewayFile {
        files: vec![path.to_path_buf()],
        start: section.span(),
        policy: read_policy_path(&section),
        entries,
        client_address: traffic::read_client_address(&section),
        forwarding: traffic::read_forwarding(&section),
        operation: operation::read_operation(&section),
    };
    section.finish();
    (gateway, include)
}

fn read_included(section: Section<'_>, entries: &mut Entries) {
    read_version(&section, false);
    read_entries(&section, entries, false);
    section.finish();
}

fn read_entries(section: &Section<'_>, entries: &mut Entries, main: bool) {
    entries.listeners.extend(section.tables("listener").into_iter().filter_map(listener::read_listener));
    entries.upstreams.extend(section.tables("upstream").into_iter().filter_map(read_upstream));
    entries.routes.extend(section.tables("route").into_iter().filter_map(traffic::read_route));
    identity::read_identity(section, &mut entries.identity, main);
    entries.sinks.extend(section.tables("sink").into_iter().filter_map(operation::read_sink));
    entries.alerts.extend(section.tables("alert").into_iter().filter_map(read_alert));
    entries.notifiers.extend(section.tables("notifier").into_iter().filter_map(read_notifier));
    entries.silences.extend(section.tables("mute").into_iter().filter_map(read_silence));
    refuse_cases(section);
}

/// `[policy] path`, by default `policy.toml` beside this file.
fn read_policy_path(section: &Section<'_>) -> At<ResolvedPath> {
    let default = || {
        let path = section.reader().resolve(section.span().source, "policy.toml");
        At::new(ResolvedPath { written: "policy.toml".into(), path }, section.span())
    };
    let Some(policy) = section.table("policy") else { return default() };
    let path = policy.optional("path", FilePath);
    policy.finish();
    path.unwrap_or_else(default)
}
