//! From files to everything that the gateway runs on, or to a report of all that is wrong.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::Policy;
use portcullis_proxy::pages::ACTIVATIONS;
use portcullis_risk::settings::{BanMode, RiskMode};

use crate::codes;
use crate::compile;
use crate::compile::mfa::MfaLoaded;
use crate::diagnostics::{Diagnostic, Diagnostics, Report, Span};
use crate::environment::Environment;
use crate::file::{GatewayFile, PolicyFile, read_gateway, read_policy};
use crate::governed::{FilesRead, Governed, Referring, networks_beside};
use crate::section::Reader;

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    /// What is fixed while the process runs.
    pub process: portcullis_proxy::settings::ProcessSettings,
    /// The data plane.
    pub proxy: portcullis_proxy::settings::Settings,
    /// The identity providers, their key sets and keys already read.
    pub identity: portcullis_identity::settings::Settings,
    /// Risk and bans.
    pub risk: portcullis_risk::settings::Settings,
    /// Where events go; at least one sink.
    pub events: portcullis_events::settings::Settings,
    /// What is watched for, and who is told.
    pub alerts: portcullis_alerts::Settings,
    /// Where health and metrics are served; `None` when that is switched off.
    pub ops: Option<OpsSettings>,
    /// The control channel; `None` when that is switched off.
    pub control: Option<portcullis_admin::Settings>,
    /// The index of recorded events; `None` where there is none.
    pub index: Option<portcullis_history::IndexSettings>,
    /// What survives a restart; `None`: everything is kept in memory.
    pub store: Option<portcullis_store::Settings>,
    /// What is demanded of a change of all this.
    pub governance: portcullis_governance::Rules,
    /// By which steps a change becomes live.
    pub stages: portcullis_governance::Stages,
    /// How much power for a time there may be.
    pub access: portcullis_governance::power::Limits,
    /// What breaking glass gives; `None`: there is none to break.
    pub break_glass: Option<portcullis_governance::power::BreakGlassRules>,
    /// Copies of the store; `None`: none are made by themselves.
    pub backup: Option<portcullis_governance::backup::Settings>,
    /// What decides who gets in, file by file.
    pub governed: Governed,
    /// Second factors that the gateway keeps; `None`: none.
    pub mfa: Option<MfaLoaded>,
    /// The requests that are kept for a while; `None`: none are.
    pub sample: Option<portcullis_insight::SampleLimits>,
    /// How spikes of refusals are looked for; `None`: not at all.
    pub spike: Option<portcullis_insight::SpikeSettings>,
    /// What is counted of permissions, and how it is looked at; `None`: nothing is.
    pub audit: Option<portcullis_insight::AuditSettings>,
    /// The policy with its places, for who looks at what it says rather than at what it answers.
    pub draft: portcullis_policy::PolicyDraft,
    /// What is known beforehand of those who call.
    pub callers: portcullis_policy::LintFacts,
    /// The networks that keep themselves current, and the lists of them that were last in force.
    pub feeds: (portcullis_feeds::Settings, Vec<portcullis_feeds::Restored>),
    /// Where addresses are.
    pub geo: portcullis_geo::GeoSettings,
    /// The compiled policy. Its routes are `proxy.routes`, in the same order.
    pub policy: Policy,
    /// What works but is probably not meant.
    pub warnings: Report,
    /// What was loaded, in numbers.
    pub summary: Summary,
    /// Every file that was read, the main file first: what to watch, copy or back up.
    pub files: Vec<PathBuf>,
}

/// `[ops]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpsSettings {
    /// The address that serves `/livez`, `/readyz` and `/metrics`. Default `127.0.0.1:9090`.
    pub address: SocketAddr,
}

/// What was loaded, in numbers, and the two modes that hold when nobody wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// `[[listener]]`
    pub listeners: usize,
    /// `[[upstream]]`
    pub upstreams: usize,
    /// `[[route]]`
    pub routes: usize,
    /// Identity providers of every kind.
    pub identity_providers: usize,
    /// API keys of all key files, revoked ones too.
    pub api_keys: usize,
    /// Users with passwords, disabled ones too.
    pub users: usize,
    /// Sinks, the one by default included.
    pub sinks: usize,
    /// The file of `[store]`; `None`: bans and profiles are kept in memory.
    pub store: Option<PathBuf>,
    /// `[[network]]`
    pub networks: usize,
    /// Prefixes of all networks.
    pub prefixes: usize,
    /// `[[resource]]`
    pub resources: usize,
    /// `[[role]]`
    pub roles: usize,
    /// `[[group]]`
    pub groups: usize,
    /// `[[assignment]]`
    pub assignments: usize,
    /// `[[deny]]`
    pub denies: usize,
    /// `[risk] mode`
    pub risk_mode: RiskMode,
    /// `[ban] mode`
    pub ban_mode: BanMode,
}

/// Reads `portcullis.toml`, everything that it names, and compiles it.
///
/// # Errors
/// A report of all problems, errors and warnings, when there is at least one error.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Loaded, Report> {
    load_files(path, None, environment)
}

/// The same with another policy file in place of the one that `[policy] path` names: for comparing and trying policies.
///
/// # Errors
/// As [`load`].
pub fn load_with_policy(path: &Path, policy: &Path, environment: &dyn Environment) -> Result<Loaded, Report> {
    load_files(path, Some(policy), environment)
}

/// The same with a text in place of the policy file, as if it stood there under this name: what it includes and names is looked for where the
/// policy file is. Whoever sends it learns no variable by it: it may refer to one only as the policy of the files does, see [`Referring`].
///
/// # Errors
/// As [`load`], and where it refers to others.
pub fn load_with_policy_text(
    path: &Path,
    name: &str,
    text: &str,
    environment: &dyn Environment,
) -> Result<Loaded, Report> {
    let gateway = read_gateway(&Reader::new(environment), path);
    let place = match &gateway {
        Some(gateway) => gateway.policy.value.path.with_file_name(name),
        None => path.with_file_name(name),
    };
    let beside = Beside { environment, path: &place, text: text.as_bytes().into() };
    // Before anything is compiled, whose problems name values. Of most that are sent one look says that they refer to nothing.
    if text.contains(['$', '\\']) || text.contains("include") {
        let of_files = || {
            let (reader, named) = (Reader::new(environment), &gateway.as_ref()?.policy.value);
            read_policy(&reader, &named.path, &named.written, None);
            Some(referring(&reader))
        };
        refers_to_no_more(&place, &beside, of_files)?;
    }
    load_files(path, Some(&place), &beside)
}

/// What the files refer to that were read.
fn referring(reader: &Reader<'_>) -> Referring {
    Referring::of(reader.sources.borrow().in_order().map(|(_, text)| text.as_bytes()))
}

/// A problem where a policy and what it includes refer to other variables than is known.
fn refers_to_no_more(
    place: &Path,
    environment: &dyn Environment,
    known: impl FnOnce() -> Option<Referring>,
) -> Result<(), Report> {
    let reader = Reader::new(environment);
    read_policy(&reader, place, &place.display().to_string(), None);
    let found = referring(&reader);
    if found == Referring::default() {
        return Ok(());
    }
    let Some(message) = found.beyond(&known().unwrap_or_default()) else { return Ok(()) };
    // The text that was sent is what was read first.
    let (sources, mut diagnostics) = (reader.sources.into_inner(), Diagnostics::default());
    if let Some((source, _)) = sources.in_order().next() {
        diagnostics.push(Diagnostic::error(codes::BAD_VALUE, Span { source, start: 0, end: 0 }, message));
    }
    Err(Report::new(sources, diagnostics))
}

/// The policy with its places, and nothing else of the configuration: no credentials, no certificates, no lists that were fetched.
///
/// # Errors
/// How much is wrong, and the first of it.
pub(crate) fn load_draft(path: &Path, environment: &dyn Environment) -> Result<portcullis_policy::PolicyDraft, String> {
    let reader = Reader::new(environment);
    let draft = read_gateway(&reader, path).and_then(|gateway| {
        let named = &gateway.policy;
        let policy = read_policy(&reader, &named.value.path, &named.value.written, Some(named.span))?;
        Some(compile::policy::draft(&reader, &gateway.entries.routes, policy))
    });
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    let first = || report.diagnostics().next().map_or_else(String::new, |first| first.message.clone());
    draft.filter(|_| report.errors() == 0).ok_or_else(|| format!("it cannot be read: {}", first()))
}

/// An environment in which a file holds something else.
struct Beside<'e> {
    environment: &'e dyn Environment,
    path: &'e Path,
    text: Arc<[u8]>,
}

impl Environment for Beside<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.variable(name)
    }

    fn now(&self) -> Option<Timestamp> {
        self.environment.now()
    }

    fn file(&self, path: &Path) -> Option<Arc<[u8]>> {
        if path == self.path { Some(Arc::clone(&self.text)) } else { self.environment.file(path) }
    }

    fn includable(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        self.environment.includable(folder)
    }

    fn no_configuration(&self, main: &Path) -> Option<String> {
        self.environment.no_configuration(main)
    }

    fn kept_as(&self, path: &Path) -> Option<String> {
        self.environment.kept_as(path)
    }
}

/// Where the control channel is of the gateway that runs on this file, as far as it can be read: also of a file with errors, since who
/// asks a running gateway often wants to know why the file is not in force. `None`: the file switches it off.
pub fn control_channel(path: &Path, environment: &dyn Environment) -> Option<portcullis_admin::Settings> {
    let reader = Reader::new(environment);
    let control = match read_gateway(&reader, path) {
        Some(gateway) => gateway.operation.control,
        None => Some(crate::file::Control::default()),
    };
    compile::control::compile(&reader, control, path)
}

/// Where the store is of the gateway that runs on this file, as far as it can be read: also of a file with errors, since a gateway that is
/// governed starts without it. `None`: there is none.
pub fn store_place(path: &Path, environment: &dyn Environment) -> Option<portcullis_store::Settings> {
    let reader = Reader::new(environment);
    let store = read_gateway(&reader, path)?.operation.store;
    compile::store::compile(store, path)
}

/// How the gateway that runs on this file makes backups, whatever the policy and other files are like. `Ok(None)`: it makes none by itself.
///
/// # Errors
/// The file has errors, so that nobody can say whether it names a key.
pub fn backup_place(
    path: &Path,
    environment: &dyn Environment,
) -> Result<Option<portcullis_governance::backup::Settings>, Report> {
    let reader = Reader::new(environment);
    let backup = read_gateway(&reader, path).and_then(|gateway| {
        let store = compile::store::compile(gateway.operation.store, path);
        compile::governance::compile_backup(&reader, gateway.operation.backup, store.as_ref())
    });
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    if report.errors() == 0 { Ok(backup) } else { Err(report) }
}

fn load_files(path: &Path, policy: Option<&Path>, environment: &dyn Environment) -> Result<Loaded, Report> {
    let reader = Reader::new(environment);
    let loaded = compile_all(&reader, path, policy);
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    match loaded {
        Some(mut loaded) if report.errors() == 0 => {
            loaded.warnings = report;
            Ok(loaded)
        }
        _ => Err(report),
    }
}

/// Reads and compiles everything, as far as it goes. `None` after an error that leaves nothing to go on with.
fn compile_all(reader: &Reader<'_>, path: &Path, policy_path: Option<&Path>) -> Option<Loaded> {
    let gateway = read_gateway(reader, path)?;
    let policy = match policy_path {
        Some(other) => read_policy(reader, other, &other.display().to_string(), None),
        None => {
            let named = &gateway.policy;
            read_policy(reader, &named.value.path, &named.value.written, Some(named.span))
        }
    };
    let (inbound, certificates) =
        compile::listener::compile(reader, &gateway.entries.listeners, &gateway.client_address);
    let mut proxy = compile::proxy::compile_settings(reader, &gateway, inbound);
    let mut identity = compile::identity::compile(reader, &gateway.entries.identity, &gateway.entries.listeners);
    let process = compile::proxy::compile_process(reader, &gateway);
    let mut policy = policy.unwrap_or_default();
    let approved = gateway.operation.governance.rules.required;
    let feeds = compile::feeds::compile(reader, gateway.operation.feeds.as_ref(), &mut policy, (path, approved));
    let mut risk = compile::risk::compile(reader, &policy);
    // A trusted proxy carries everybody's requests: a ban on it would be a ban on all of them.
    risk.ban.never.extend_from_slice(&proxy.client_address.trusted_proxies);
    // Among the files by which callers are known, which are governed.
    let files = &mut identity.files;
    proxy.posture = compile::risk::compile_posture(reader, &policy, &proxy.client_address.trusted_proxies, files);
    compile::route::report_unknown_networks(reader, &gateway.entries.routes, &policy.networks);
    compile::identity::report_unknown_roles(reader, &identity.key_roles, &policy.roles);
    compile::identity::report_unknown_scopes(
        reader,
        &identity.key_scopes,
        gateway.entries.routes.iter().map(|route| route.name.value.as_str()),
        policy.networks.iter().map(|network| network.name.value.as_str()),
    );
    let mut summary = summarize(&gateway, &policy, &risk);
    let settings = &identity.settings;
    let verifying = settings.jwt.len() + settings.api_key.len() + settings.certificate.len() + settings.password.len();
    summary.identity_providers = verifying + settings.oidc.len();
    summary.users = settings.password.iter().map(|provider| provider.users.len()).sum();
    summary.api_keys = identity.settings.api_key.iter().map(|provider| provider.keys.len()).sum();
    let pages = gateway.entries.routes.iter().flat_map(|route| route.treatment.files.iter().cloned()).collect();
    let templates = gateway.operation.pages.clone();
    let tls = gateway.entries.upstreams.iter().flat_map(|upstream| upstream.tls.files()).collect();
    let policy_path = policy_path.unwrap_or(&gateway.policy.value.path);
    let pinned = reader.take_pinned();
    let beside = networks_beside(&policy, &identity.key_scopes.1, &gateway.entries.routes);
    let read = FilesRead {
        main: path,
        policy_path,
        gateway: &gateway.files,
        policy: &policy.files,
        identity: &identity.files,
        pinned,
        beside,
    };
    let governed = Governed::gather(read, &reader.sources.borrow(), reader.environment());
    let files = [gateway.files, policy.files.clone(), identity.files, pages, templates, tls, certificates].concat();
    let operation = gateway.operation;
    let geo = operation.geo.databases;
    risk.max_speed_kmh = operation.geo.max_speed_kmh.unwrap_or(risk.max_speed_kmh);
    let (sample, spike) = (operation.sample, operation.spike);
    compile::events::report_unknown_routes(reader, &gateway.entries.sinks, &operation.keeping, &gateway.entries.routes);
    let events = compile::events::compile(
        reader,
        gateway.entries.sinks,
        operation.access_log,
        operation.trace,
        operation.keeping,
    );
    summary.sinks = events.sinks.len();
    let alerts = compile::alerts::compile(
        reader,
        gateway.entries.alerts,
        gateway.entries.notifiers,
        &gateway.entries.silences,
        &gateway.entries.routes,
        &proxy.refusal.help_base,
        &events.node,
    );
    let index = compile::index::compile(reader, operation.index, &events);
    let store = compile::store::compile(operation.store, path);
    let governance =
        compile::governance::compile(reader, &operation.governance, store.as_ref(), operation.sample.is_some());
    compile::governance::report_variables(reader, &operation.governance, &governed);
    let stages = operation.governance.stages;
    let backup = compile::governance::compile_backup(reader, operation.backup, store.as_ref());
    let audit = compile::audit::compile(reader, operation.audit, store.as_ref(), &gateway.entries.routes);
    let mfa = compile::mfa::compile(reader, operation.mfa, store.is_some());
    if let Some(pages) = &mut proxy.pages {
        pages.step_up = mfa.is_some() && pages.login;
    }
    summary.store = store.as_ref().map(|store| store.path.clone());
    let control = compile::control::compile(reader, operation.control, path);
    let of_tokens = identity.settings.jwt.iter().map(|provider| &provider.trust_groups);
    let of_logins = identity.settings.oidc.iter().map(|provider| &provider.trust_groups);
    let of_answers = identity.settings.introspection.iter().map(|provider| &provider.trust_groups);
    let of_directories = identity.settings.ldap.iter().map(|directory| &directory.trust_groups);
    let claims = of_tokens.chain(of_logins).chain(of_answers).chain(of_directories);
    // Where nobody can be known at all, groups are for whoever will be.
    let settings = &identity.settings;
    let anybody = !(settings.api_key.is_empty() && settings.password.is_empty() && settings.certificate.is_empty());
    let no_claims = anybody && claims.clone().next().is_none();
    let trusted = claims.flatten().cloned().collect();
    let spelling = settings.spelling();
    let callers = compile::policy::Callers { carried: &identity.carried, trusted, no_claims, spelling };
    if geo.city.is_none() && geo.country.is_none() {
        compile::policy::report_countries(reader, &policy);
    }
    // Beside an error it may be one that is not meant so.
    if store.is_none() && reader.diagnostics.borrow().errors() == 0 {
        compile::policy::report_activations(reader, &policy);
    }
    let access = operation.access;
    if access.self_service.is_none() && store.is_some() {
        compile::policy::report_by_oneself(reader, &policy);
    }
    compile::access::report(reader, &access, proxy.pages.as_ref(), store.is_some());
    let mut policy = policy;
    let longest = operation.governance.break_glass_max;
    let break_glass = compile::policy::break_glass(reader, &mut policy, &gateway.entries.routes, longest);
    let pages = proxy.pages.as_ref();
    let activations_at = pages.filter(|pages| pages.self_service).map(|pages| pages.place_of(ACTIVATIONS).into());
    let compile::policy::Compiled { policy, draft, callers } =
        compile::policy::compile(reader, &gateway.entries.routes, policy, (callers, activations_at))?;
    compile::access::report_unreached(reader, &access, pages, &policy);
    let policy = policy.listing(feeds.1.iter().map(|restored| (&**restored.name(), restored.content().list)));
    Some(Loaded {
        process,
        proxy,
        identity: identity.settings,
        risk,
        events,
        alerts,
        ops: operation.ops.map(|ops| OpsSettings { address: ops.value }),
        control,
        index,
        store,
        governance,
        stages,
        access: access.limits,
        break_glass,
        backup,
        governed,
        mfa,
        sample,
        spike,
        audit,
        draft,
        callers,
        feeds,
        geo,
        policy,
        warnings: Report::default(),
        summary,
        files,
    })
}

fn summarize(gateway: &GatewayFile, policy: &PolicyFile, risk: &portcullis_risk::settings::Settings) -> Summary {
    Summary {
        listeners: gateway.entries.listeners.len(),
        upstreams: gateway.entries.upstreams.len(),
        routes: gateway.entries.routes.len(),
        identity_providers: 0,
        api_keys: 0,
        users: 0,
        sinks: 0,
        store: None,
        networks: policy.networks.len(),
        prefixes: policy.networks.iter().map(|network| network.prefixes.len()).sum(),
        resources: policy.resources.len(),
        roles: policy.roles.len(),
        groups: policy.groups.len(),
        assignments: policy.assignments.len(),
        denies: policy.denies.len(),
        risk_mode: risk.risk_mode,
        ban_mode: risk.ban.mode,
    }
}

impl fmt::Display for Summary {
    /// Two lines for a person.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gateway = [
            (self.listeners, "listener"),
            (self.upstreams, "upstream"),
            (self.routes, "route"),
            (self.identity_providers, "identity provider"),
            (self.api_keys, "API key"),
            (self.sinks, "sink"),
            (self.users, "user"),
        ];
        // Who has none is not told so: most have a provider of tokens.
        let gateway = if self.users == 0 { gateway.get(..6).unwrap_or_default() } else { &gateway };
        let policy = [
            (self.networks, "network"),
            (self.resources, "resource"),
            (self.roles, "role"),
            (self.groups, "group"),
            (self.assignments, "assignment"),
        ];
        let (denies, prefixes) = (self.denies, self.prefixes);
        let denies = if denies == 1 { "1 deny".to_owned() } else { format!("{denies} denies") };
        let prefixes = if prefixes == 1 { "1 prefix".to_owned() } else { format!("{prefixes} prefixes") };
        write!(formatter, "gateway: {}; state: ", counted(gateway))?;
        match &self.store {
            Some(path) => writeln!(formatter, "{}", path.display())?,
            None => {
                writeln!(formatter, "in memory, and no version is kept: a mistake cannot be undone without `[store]`")?
            }
        }
        let risk = match self.risk_mode {
            RiskMode::Enforce => "enforce",
            RiskMode::Monitor => "monitor",
            RiskMode::Off => "off",
        };
        let ban = match self.ban_mode {
            BanMode::Enforce => "enforce",
            BanMode::Simulate => "simulate",
            BanMode::Off => "off",
        };
        write!(formatter, "policy: {}, {denies}, {prefixes}; risk: {risk}; bans: {ban}", counted(&policy))
    }
}

fn counted(numbers: &[(usize, &str)]) -> String {
    let each = |(number, word): &(usize, &str)| format!("{number} {word}{}", if *number == 1 { "" } else { "s" });
    numbers.iter().map(each).collect::<Vec<_>>().join(", ")
}
