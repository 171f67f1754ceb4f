//! `policy.toml` and the files it includes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_feeds::FeedSettings;
use portcullis_governance::name_problem;
use portcullis_policy::{
    ActivationRules, AuthenticationRule, CountryCode, Hours, Mode, ProofDraft, RiskLevel, Sensitivity,
};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, SourceId, Span};
use crate::document::{FileToRead, MAX_POLICY_FILE, read_document};
use crate::file::feed::read_source;
use crate::file::risk::{self, Ban, Risk, StepUp};
use crate::file::{read_version, refuse_cases};
use crate::include::included_files;
use crate::kinds::{
    Action, Choice, Country, FilePath, Flag, Integer, Moment, Name, Prefix, PrincipalName, Text, Time, WeeklyHours,
};
use crate::network_file::read_network_file;
use crate::section::{Reader, Section, shown};

/// Everything that the policy file and its includes say.
#[derive(Debug, Default)]
pub(crate) struct PolicyFile {
    /// Every file that was read, the files of networks too.
    pub(crate) files: Vec<PathBuf>,
    /// The same as sources, in the order in which they are hashed.
    pub(crate) sources: Vec<SourceId>,
    pub(crate) networks: Vec<Network>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) roles: Vec<Role>,
    pub(crate) groups: Vec<Group>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) denies: Vec<Deny>,
    pub(crate) exclusives: Vec<Exclusive>,
    pub(crate) risk: Option<Risk>,
    pub(crate) step_up: Option<StepUp>,
    pub(crate) ban: Option<Ban>,
    pub(crate) break_glass: Option<BreakGlass>,
}

/// `[[network]]`
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) name: At<String>,
    pub(crate) prefixes: Vec<IpNet>,
    /// What is not in `prefixes` may be in it or not.
    pub(crate) unknown: bool,
    /// Where the rest of it comes from; the prefixes are what is certain.
    pub(crate) source: Option<At<FeedSettings>>,
}

/// `[[resource]]`
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) at: Span,
    pub(crate) route: At<String>,
    pub(crate) authentication: AuthenticationRule,
    pub(crate) allow: Vec<At<String>>,
    pub(crate) deny: Vec<At<String>>,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) proof: ProofDraft,
    pub(crate) mode: Mode,
    pub(crate) public: Option<At<bool>>,
    pub(crate) requestable: bool,
}

/// `[[role]]`
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: At<String>,
    pub(crate) inherits: Vec<At<String>>,
    pub(crate) permissions: Vec<Permission>,
}

/// One entry of `permissions`.
#[derive(Debug)]
pub(crate) struct Permission {
    pub(crate) actions: Vec<At<String>>,
    pub(crate) not_actions: Vec<At<String>>,
}

/// `[[group]]`
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: At<String>,
    pub(crate) members: Vec<At<String>>,
}

/// `[[assignment]]`
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: At<String>,
    pub(crate) role: At<String>,
    pub(crate) principals: Vec<At<String>>,
    pub(crate) scope: Scope,
    pub(crate) starts: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) when: When,
    pub(crate) activation: Option<At<ActivationRules>>,
    pub(crate) mode: Mode,
}

/// `[break_glass]`
#[derive(Debug)]
pub(crate) struct BreakGlass {
    pub(crate) roles: Vec<At<String>>,
    pub(crate) scope: Scope,
    pub(crate) max: Duration,
    pub(crate) signers: Vec<At<String>>,
}

/// `[[deny]]`
#[derive(Debug)]
pub(crate) struct Deny {
    pub(crate) name: At<String>,
    pub(crate) principals: Vec<At<String>>,
    pub(crate) actions: Vec<At<String>>,
    pub(crate) scope: Scope,
    pub(crate) starts: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) when: When,
    pub(crate) explain: Option<String>,
    pub(crate) mode: Mode,
}

/// `[[exclusive]]`
#[derive(Debug)]
pub(crate) struct Exclusive {
    pub(crate) name: At<String>,
    pub(crate) roles: Vec<At<String>>,
    pub(crate) max: Option<At<u64>>,
}

/// `scope`: routes by name, or all of them.
#[derive(Debug)]
pub(crate) enum Scope {
    All,
    Routes(Vec<At<String>>),
}

/// `when = { … }`
#[derive(Debug, Default)]
pub(crate) struct When {
    pub(crate) networks: Option<Vec<At<String>>>,
    pub(crate) hours: Option<At<Hours>>,
    pub(crate) countries: Option<At<Vec<CountryCode>>>,
    pub(crate) compliant_device: bool,
    pub(crate) assurance_mfa: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) max_risk: Option<RiskLevel>,
}

/// Reads `policy.toml`. `None` when the file itself cannot be read.
pub(crate) fn read_policy(
    reader: &Reader<'_>,
    path: &Path,
    short_name: &str,
    named_at: Option<Span>,
) -> Option<PolicyFile> {
    let mut policy = PolicyFile::default();
    let file = FileToRead { path, short_name, named_at, limit: MAX_POLICY_FILE, defines_names: true };
    let include = read_document(reader, file, |section| read_main(section, &mut policy))?;
    policy.files.push(path.to_path_buf());
    for included in included_files(reader, path, &include) {
        let file = FileToRead {
            path: &included.path,
            short_name: &included.short_name,
            named_at: Some(included.at),
            limit: MAX_POLICY_FILE,
            defines_names: true,
        };
        read_document(reader, file, |section| {
            read_version(&section, false);
            read_entries(&section, &mut policy);
            section.finish();
        });
        policy.files.push(included.path);
    }
    Some(policy)
}

fn read_main(section: Section<'_>, policy: &mut PolicyFile) -> Vec<At<String>> {
    read_version(&section, true);
    let include = section.list("include", Text).map_or_else(Vec::new, |list| list.value);
    read_entries(&section, policy);
    policy.risk = section.table("risk").map(risk::read_risk);
    policy.step_up = section.table("step_up").map(risk::read_step_up);
    policy.ban = section.table("ban").map(risk::read_ban);
    policy.break_glass = section.table("break_glass").and_then(read_break_glass);
    section.finish();
    include
}

fn read_entries(section: &Section<'_>, policy: &mut PolicyFile) {
    policy.sources.push(section.span().source);
    for network in section.tables("network") {
        let network = read_network(network, policy);
        policy.networks.extend(network);
    }
    policy.resources.extend(section.tables("resource").into_iter().filter_map(read_resource));
    policy.roles.extend(section.tables("role").into_iter().filter_map(read_role));
    policy.groups.extend(section.tables("group").into_iter().filter_map(read_group));
    policy.assignments.extend(section.tables("assignment").into_iter().filter_map(read_assignment));
    policy.denies.extend(section.tables("deny").into_iter().filter_map(read_deny));
    policy.exclusives.extend(section.tables("exclusive").into_iter().filter_map(read_exclusive));
    refuse_cases(section);
}

fn read_network(section: Section<'_>, policy: &mut PolicyFile) -> Option<Network> {
    let name = section.required("name", Name);
    let addresses = section.list("addresses", Prefix);
    let file = section.optional("file", FilePath);
    let files = section.list("files", FilePath);
    let says_something = ["addresses", "file", "files", "source"].into_iter().any(|key| section.has(key));
    if !says_something {
        section.report_missing("addresses", "a list of prefixes, or `file` with one per line");
    }
    let source = section.table("source").and_then(|source| {
        let name = name.as_ref().map_or("", |name| name.value.as_str());
        read_source(source, name)
    });
    let reader = section.reader();
    section.finish();
    let mut prefixes: Vec<IpNet> =
        addresses.map_or_else(Vec::new, |list| list.value).into_iter().map(|prefix| prefix.value).collect();
    for file in file.into_iter().chain(files.map_or_else(Vec::new, |list| list.value)) {
        let (path, written) = (&file.value.path, &file.value.written);
        policy.sources.extend(read_network_file(reader, path, written, file.span, &mut prefixes));
        policy.files.push(path.clone());
    }
    let source = source.map(|source| source.map(|feed| FeedSettings { fixed: prefixes.clone().into(), ..feed }));
    Some(Network { name: name?, prefixes, unknown: source.is_some(), source })
}

fn read_resource(section: Section<'_>) -> Option<Resource> {
    let route = section.required("route", Name);
    let authentication = Choice(&[
        ("required", AuthenticationRule::Required),
        ("optional", AuthenticationRule::Optional),
        ("none", AuthenticationRule::None),
        ("certificate", AuthenticationRule::Certificate),
    ]);
    let authentication = section.or("authentication", authentication, AuthenticationRule::default());
    let (allow, deny) = section.table("networks").map_or_else(Default::default, |networks| {
        let names = |key| networks.one_or_list(key, Name);
        let (allow, deny) = (names("allow"), names("deny"));
        if let Some(allow) = allow.as_ref().filter(|allow| allow.value.is_empty()) {
            // It would read as "nobody" and mean "everybody".
            networks.report_empty("allow", allow.span, "leave it out to let every address in");
        }
        let values = |list: Option<At<Vec<At<String>>>>| list.map_or_else(Vec::new, |list| list.value);
        let both = (values(allow), values(deny));
        networks.finish();
        both
    });
    let sensitivity =
        Choice(&[("low", Sensitivity::Low), ("normal", Sensitivity::Normal), ("high", Sensitivity::High)]);
    let sensitivity = section.or("sensitivity", sensitivity, Sensitivity::default());
    let proof = ProofDraft { mfa: read_assurance(&section), max_age_s: read_age(&section) };
    let mode = read_mode(&section);
    let public = section.optional("public", Flag);
    let requestable = section.or("requestable", Flag, false);
    let at = section.span();
    section.finish();
    Some(Resource { at, route: route?, authentication, allow, deny, sensitivity, proof, mode, public, requestable })
}

/// `assurance = "mfa"`
fn read_assurance(section: &Section<'_>) -> bool {
    section.or("assurance", Choice(&[("mfa", true)]), false)
}

/// `max_age`: how long ago somebody may have authenticated, in seconds.
fn read_age(section: &Section<'_>) -> Option<u64> {
    section.optional("max_age", Time::within("1s", "365d")).map(|age| age.value.as_secs())
}

fn read_mode(section: &Section<'_>) -> Mode {
    section.or("mode", Choice(&[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)]), Mode::default())
}

fn read_role(section: Section<'_>) -> Option<Role> {
    let name = section.required("name", Name);
    let inherits = section.list("inherits", Name).map_or_else(Vec::new, |list| list.value);
    let permissions = section.tables("permissions").into_iter().filter_map(read_permission).collect();
    section.finish();
    Some(Role { name: name?, inherits, permissions })
}

fn read_permission(section: Section<'_>) -> Option<Permission> {
    let actions = section.required_list("actions", Action);
    let not_actions = section.list("not_actions", Action).map_or_else(Vec::new, |list| list.value);
    section.finish();
    Some(Permission { actions: actions?.value, not_actions })
}

fn read_group(section: Section<'_>) -> Option<Group> {
    let name = section.required("name", Name);
    let members = section.required_list("members", PrincipalName);
    section.finish();
    Some(Group { name: name?, members: members.map_or_else(Vec::new, |list| list.value) })
}

fn read_assignment(section: Section<'_>) -> Option<Assignment> {
    let name = section.required("name", Name);
    let role = section.required("role", Name);
    let principals = section.required_list("principals", PrincipalName);
    let scope = read_scope(&section);
    let (starts, expires) = read_period(&section);
    let when = section.table("when").map_or_else(When::default, |when| read_when(when, true));
    let mode = read_mode(&section);
    let activation = section.table("activation").and_then(read_activation);
    section.finish();
    // Nothing refers to an assignment, so that one with a part missing can be left out: what is wrong was said.
    Some(Assignment {
        name: name?,
        role: role?,
        principals: principals?.value,
        scope: scope?,
        starts,
        expires,
        when,
        activation,
        mode,
    })
}

/// `[break_glass]`: what one person gets with a code that was sealed beforehand, or by a key.
fn read_break_glass(section: Section<'_>) -> Option<BreakGlass> {
    let roles = section.required_list("roles", Name);
    let scope = read_scope(&section);
    let max = section.or("max", Time::within("1m", "4h"), Duration::from_secs(3_600));
    let signers = section.list("signers", Text).map_or_else(Vec::new, |list| list.value);
    for signer in &signers {
        if let Some(problem) = name_problem(&signer.value) {
            let message = format!("`signers`: `{}` is no approver: {problem}", shown(&signer.value));
            section.reader().report(Diagnostic::error(codes::BAD_VALUE, signer.span, message));
        }
    }
    if let Some(roles) = roles.as_ref().filter(|roles| roles.value.is_empty()) {
        section.report_empty("roles", roles.span, "name the roles that it may give, or leave the table out");
    }
    section.finish();
    Some(BreakGlass { roles: roles?.value, scope: scope?, max, signers })
}

/// Persons that can be asked to approve an activation.
pub(crate) const APPROVALS: std::ops::RangeInclusive<u64> = 0..=16;

/// `activation = { max = "4h", justification = "required" }`: the assignment is only eligible.
fn read_activation(section: Section<'_>) -> Option<At<ActivationRules>> {
    let max = section.required("max", Time::within("1s", "365d"));
    let justification = Choice(&[("required", true), ("optional", false)]);
    let justification = match section.has("justification") {
        true => section.optional("justification", justification).map(|choice| choice.value),
        false => Some(true),
    };
    let ticket = section.or("ticket", Choice(&[("required", true), ("optional", false)]), false);
    let approvals = section.or("approvals", Integer(APPROVALS), 0);
    let by_oneself = section.or("self", Flag, false);
    let span = section.span();
    section.finish();
    let rules = ActivationRules {
        max_s: max?.value.as_secs(),
        justification_required: justification?,
        ticket_required: ticket,
        approvals: u8::try_from(approvals).unwrap_or(u8::MAX),
        by_oneself,
    };
    Some(At::new(rules, span))
}

fn read_deny(section: Section<'_>) -> Option<Deny> {
    let name = section.required("name", Name);
    let principals = section.required_list("principals", PrincipalName);
    let actions = section.required_list("actions", Action);
    let scope = read_scope(&section);
    let (starts, expires) = read_period(&section);
    let when = section.table("when").map_or_else(When::default, |when| read_when(when, false));
    let explain = section.optional("explain", Text);
    let mode = read_mode(&section);
    section.finish();
    Some(Deny {
        name: name?,
        principals: principals?.value,
        actions: actions?.value,
        scope: scope?,
        starts,
        expires,
        when,
        explain: explain.map(|text| text.value),
        mode,
    })
}

fn read_exclusive(section: Section<'_>) -> Option<Exclusive> {
    let name = section.required("name", Name);
    let roles = section.required_list("roles", Name);
    let max = section.optional("max", Integer(1..=63));
    section.finish();
    Some(Exclusive { name: name?, roles: roles?.value, max })
}

/// `scope = "billing"`, `["billing", "orders"]` or `"*"`.
fn read_scope(section: &Section<'_>) -> Option<Scope> {
    let list = section.required_one_or_list("scope", Name, "a route's name, a list of them, or \"*\" for all")?;
    if list.value.iter().any(|name| name.value == "*") {
        return Some(Scope::All);
    }
    Some(Scope::Routes(list.value))
}

fn read_period(section: &Section<'_>) -> (Option<Timestamp>, Option<Timestamp>) {
    let moment = |key| section.optional(key, Moment).map(|moment| moment.value);
    (moment("starts"), moment("expires"))
}

fn read_when(section: Section<'_>, of_grant: bool) -> When {
    let networks = section.one_or_list("networks", Name);
    let hours = section.optional("hours", WeeklyHours);
    let countries = section.one_or_list("countries", Country);
    let lists = [
        ("networks", networks.as_ref().map(|list| (list.value.len(), list.span))),
        ("countries", countries.as_ref().map(|list| (list.value.len(), list.span))),
    ];
    for (key, list) in lists {
        if let Some((0, span)) = list {
            section.report_empty(key, span, "such a condition never holds: leave it out, or fill it");
        }
    }
    let compliant_device = section.or("device", Choice(&[("compliant", true)]), false);
    let mut when = When {
        // An empty list was reported: the policy need not say so again.
        networks: networks.map(|list| list.value).filter(|list| !list.is_empty()),
        hours,
        countries: countries.map(|list| list.map(|codes| codes.into_iter().map(|code| code.value).collect())),
        compliant_device,
        ..When::default()
    };
    if of_grant {
        when.assurance_mfa = read_assurance(&section);
        when.max_age_s = read_age(&section);
        let levels = Choice(&[("low", RiskLevel::Low), ("medium", RiskLevel::Medium), ("high", RiskLevel::High)]);
        when.max_risk = section.optional("max_risk", levels).map(|level| level.value);
    } else {
        for key in ["assurance", "max_age", "max_risk"] {
            section.misplaced(
                key,
                "it is a condition of an assignment; a deny has `networks`, `hours`, `countries` and `device`",
            );
        }
    }
    section.finish();
    when
}
