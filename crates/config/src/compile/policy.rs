//! The policy file and the routes as a draft for the engine, and the engine's problems as diagnostics.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use data_encoding::HEXLOWER;
use portcullis_governance::power::BreakGlassRules;
use portcullis_policy::{
    AssignmentDraft, AuthenticationRule, CredentialFacts, DenyDraft, ExclusiveDraft, GroupDraft, LintFacts,
    NetworkDraft, PermissionDraft, Placed, Policy, PolicyDraft, Position, Problem, ProblemKind, ResourceDraft,
    RiskRules, RiskThresholds, RoleDraft, RouteDraft, ScopeDraft, Severity, Spelling, StepUpRules, WhenDraft,
};
use portcullis_proxy::settings::OPERATORS_HOST;
use portcullis_risk::settings::RiskMode;

use crate::codes;
use crate::compile::identity::Carried;
use crate::compile::products;
use crate::diagnostics::{At, Diagnostic, SourceId, Sources, Span};
use crate::file::{self, PolicyFile, Scope, When};
use crate::section::Reader;

/// Without an own number in `deny`, it begins this far above `step_up` (risk.md 1.2).
const DENY_ABOVE_STEP_UP: i32 = 2_000;

/// What the lint must know about those who will call.
pub(crate) struct Callers<'c> {
    /// What API keys carry.
    pub(crate) carried: &'c [Carried],
    /// The groups that tokens may put their callers into.
    pub(crate) trusted: Vec<String>,
    /// No provider puts anybody into a group by what a token or a directory says.
    pub(crate) no_claims: bool,
    /// How the ids of those who will call are compared.
    pub(crate) spelling: Spelling,
}

/// A policy, and what it was compiled from.
pub(crate) struct Compiled {
    pub(crate) policy: Policy,
    pub(crate) draft: PolicyDraft,
    pub(crate) callers: LintFacts,
}

/// Compiles the policy. `None` when there were errors; they were reported.
pub(crate) fn compile(
    reader: &Reader<'_>,
    routes: &[file::Route],
    policy: PolicyFile,
    (callers, activations_at): (Callers<'_>, Option<Arc<str>>),
) -> Option<Compiled> {
    report_open_operators(reader, routes, &policy);
    if !products::are_bounded(reader, routes, &policy) {
        return None;
    }
    let mut draft = PolicyDraft { activations_at, ..draft(reader, routes, policy) };
    let respelled = draft.respell(callers.spelling.clone());
    report_spellings(reader, respelled);
    report_stars(reader, &draft);
    if !reader.is_complete() {
        // Names may be missing only because their file could not be read, and all else would be guesses.
        return None;
    }
    let callers = lint_facts(reader, callers);
    let (policy, problems) = match Policy::compile(&draft) {
        Ok((policy, problems)) if reader.diagnostics.borrow().errors() > 0 => (Some(policy), problems),
        Ok((policy, mut problems)) => {
            // With an error somewhere, part of the draft may be missing, and the lint would guess at what is meant.
            problems.extend(portcullis_policy::lint(&draft, &policy, &callers));
            (Some(policy), problems)
        }
        Err(problems) => (None, problems),
    };
    problems.into_iter().for_each(|problem| reader.report(diagnostic(reader, problem)));
    Some(Compiled { policy: policy?, draft, callers })
}

/// The operators' API is never open, whatever else a policy says of it.
fn report_open_operators(reader: &Reader<'_>, routes: &[file::Route], policy: &PolicyFile) {
    let Some(route) = routes.iter().find(|route| route.operators) else { return };
    let open = policy.resources.iter().filter(|resource| {
        resource.route.value == route.name.value && resource.authentication != AuthenticationRule::Required
    });
    for resource in open {
        let message = "the operators' API needs a credential, always";
        let diagnostic = Diagnostic::error(codes::CONFLICT, resource.route.span, message)
            .with_related(route.name.span, "it is switched on here")
            .with_help("write `authentication = \"required\"`, or leave it out");
        reader.report(diagnostic);
    }
}

/// However the policy spells an id that a directory knows, it means whom the directory means; and it is said, since the gateway says the other.
fn report_spellings(reader: &Reader<'_>, respelled: Vec<(Placed<String>, String)>) {
    for (name, as_compared) in respelled {
        let message = format!(
            "`{}` is `{as_compared}`: to the directory that knows it, the case of an id says nothing",
            name.value
        );
        let help = format!(
            "write `{as_compared}`, as events and lists do; where the case of an id counts, write `id_case = \"exact\"` in [[identity.ldap]]"
        );
        let span = span(&reader.sources.borrow(), name.at);
        reader.report(Diagnostic::warning(codes::OTHER_SPELLING, span, message).with_help(help));
    }
}

/// An id is no pattern: who writes `user:*` means everybody, and names nobody.
fn report_stars(reader: &Reader<'_>, draft: &PolicyDraft) {
    let members = draft.groups.iter().flat_map(|group| &group.members);
    let granted = draft.assignments.iter().flat_map(|assignment| &assignment.principals);
    let denied = draft.denies.iter().flat_map(|deny| &deny.principals);
    let is_star = |name: &&Placed<String>| {
        name.value.split_once(':').is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|byte| byte == b'*'))
    };
    for name in members.chain(granted).chain(denied).filter(is_star) {
        let message =
            format!("`{}` is nobody: an id is compared letter by letter, and a star is none but itself", name.value);
        let help = "write `authenticated` for everybody with a credential, `anyone` for all, or `group:NAME` for some";
        let span = span(&reader.sources.borrow(), name.at);
        reader.report(Diagnostic::warning(codes::STAR_PRINCIPAL, span, message).with_help(help));
    }
}

fn lint_facts(reader: &Reader<'_>, callers: Callers<'_>) -> LintFacts {
    let sources = reader.sources.borrow();
    let places = Places { sources: &sources };
    let credential = |carried: &Carried| CredentialFacts {
        principal: callers.spelling.name(&carried.principal).into_owned(),
        groups: carried.groups.clone(),
        roles: places.all(carried.roles.clone()),
    };
    LintFacts {
        now: reader.now(),
        claimed_groups: callers.trusted,
        no_claims: callers.no_claims,
        credentials: callers.carried.iter().map(credential).collect(),
    }
}

/// The draft of the policy: plain values with their places.
pub(crate) fn draft(reader: &Reader<'_>, routes: &[file::Route], policy: PolicyFile) -> PolicyDraft {
    let sources = reader.sources.borrow();
    let places = Places { sources: &sources };
    PolicyDraft {
        sources: sources.ids().map(|id| sources.short_name(id)).collect(),
        version: 1,
        sha256: content_hash(&sources, &policy.sources),
        routes: routes.iter().map(|route| places.route(route)).collect(),
        // Only where a list can take the place of another.
        keep_prefixes: policy.networks.iter().any(|network| network.source.is_some()),
        activations_at: None,
        spelling: Spelling::default(),
        risk: risk_rules(reader, &policy),
        step_up: step_up_rules(&policy),
        networks: policy
            .networks
            .into_iter()
            .map(|network| NetworkDraft {
                name: places.placed(network.name),
                prefixes: network.prefixes,
                unknown: network.unknown,
            })
            .collect(),
        resources: policy.resources.into_iter().map(|resource| places.resource(resource)).collect(),
        roles: policy.roles.into_iter().map(|role| places.role(role)).collect(),
        groups: policy
            .groups
            .into_iter()
            .map(|group| GroupDraft { name: places.placed(group.name), members: places.all(group.members) })
            .collect(),
        assignments: policy.assignments.into_iter().map(|assignment| places.assignment(assignment)).collect(),
        denies: policy.denies.into_iter().map(|deny| places.deny(deny)).collect(),
        exclusives: policy.exclusives.into_iter().map(|exclusive| places.exclusive(exclusive)).collect(),
    }
}

/// SHA-256 of the policy file; with included files or files of networks, that of the list which `sha256sum` prints for
/// all of them, in the order in which they are read.
fn content_hash(sources: &Sources, files: &[SourceId]) -> Arc<str> {
    let hash = |bytes: &[u8]| HEXLOWER.encode(digest::digest(&SHA256, bytes).as_ref());
    match files {
        [only] => hash(sources.text(*only).as_bytes()).into(),
        several => {
            let line = |id: &SourceId| format!("{}  {}\n", hash(sources.text(*id).as_bytes()), sources.short_name(*id));
            hash(several.iter().map(line).collect::<String>().as_bytes()).into()
        }
    }
}

fn risk_rules(reader: &Reader<'_>, policy: &PolicyFile) -> RiskRules {
    let mut rules = RiskRules::default();
    let Some(risk) = &policy.risk else { return rules };
    rules.enforce = risk.mode == RiskMode::Enforce;
    rules.deny_services = risk.deny_services;
    for ((rule, stated), written) in rules.thresholds.iter_mut().zip(&mut rules.stated).zip(&risk.thresholds) {
        let Some(written) = written else { continue };
        *stated = true;
        let step_up_mnats = written.step_up.unwrap_or(rule.step_up_mnats);
        let deny_mnats = written.deny.map_or(step_up_mnats.saturating_add(DENY_ABOVE_STEP_UP), |deny| deny.value);
        if let Some(deny) = written.deny.filter(|deny| deny.value < step_up_mnats) {
            let message = "`deny` is below `step_up`: nobody would ever be asked to step up";
            reader.report(Diagnostic::error(codes::CONFLICT, deny.span, message).with_help("raise it above `step_up`"));
        }
        *rule = RiskThresholds { step_up_mnats, deny_mnats };
    }
    rules
}

fn step_up_rules(policy: &PolicyFile) -> StepUpRules {
    let mut rules = StepUpRules::default();
    let Some(step_up) = &policy.step_up else { return rules };
    let shared = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    if let Some((acr, amr)) = &step_up.mfa {
        // What is not listed does not count: a list that is left out beside the other one is empty.
        (rules.acr, rules.amr) = (shared(acr), shared(amr));
    }
    if let Some(max_age) = step_up.max_age {
        rules.max_age_s = max_age.as_secs();
    }
    rules
}

/// Without a geo database no country is known: a grant with `countries` never holds, and a deny cannot decide.
pub(crate) fn report_countries(reader: &Reader<'_>, policy: &PolicyFile) {
    let warn = |when: &When, message: &str| {
        if let Some(countries) = &when.countries {
            let help = "name a geo database in `[geo]` of portcullis.toml, or remove the condition";
            reader.report(Diagnostic::warning(codes::COUNTRY_UNKNOWN, countries.span, message).with_help(help));
        }
    };
    for assignment in &policy.assignments {
        warn(
            &assignment.when,
            &format!("the assignment `{}` never holds: it asks for a country", assignment.name.value),
        );
    }
    for deny in &policy.denies {
        let message = format!("the deny `{}` asks for a country: whom it names gets 503", deny.name.value);
        warn(&deny.when, &message);
    }
}

/// That its holder activates an assignment alone is nothing where nobody does anything alone.
pub(crate) fn report_by_oneself(reader: &Reader<'_>, policy: &PolicyFile) {
    for assignment in &policy.assignments {
        if let Some(activation) = assignment.activation.as_ref().filter(|activation| activation.value.by_oneself) {
            let name = &assignment.name.value;
            let message = format!("`self` of the assignment `{name}`: nobody activates anything by themselves");
            let help = "add `self_service = true` to [access] of portcullis.toml; until then an operator activates it";
            reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, activation.span, message).with_help(help));
        }
    }
}

/// What is activated is kept in the store. Without one, an assignment that must be activated never grants: that keeps people out and lets nobody in, and
/// it is said.
pub(crate) fn report_activations(reader: &Reader<'_>, policy: &PolicyFile) {
    for assignment in &policy.assignments {
        if let Some(activation) = &assignment.activation {
            let name = &assignment.name.value;
            let message = format!("the assignment `{name}` must be activated, and without a store nobody can");
            let help = "add `[store]` to portcullis.toml; until then it grants nothing";
            reader.report(Diagnostic::warning(codes::WITHOUT_EFFECT, activation.span, message).with_help(help));
        }
    }
}

/// `[break_glass]` with names that there are, and no longer than `[governance]` allows.
pub(crate) fn break_glass(
    reader: &Reader<'_>,
    policy: &mut PolicyFile,
    routes: &[file::Route],
    max: Duration,
) -> Option<BreakGlassRules> {
    let table = policy.break_glass.take()?;
    let unknown = |what: &str, name: &At<String>| {
        let message = format!("there is no {what} `{}`", name.value);
        reader.report(Diagnostic::error(codes::UNKNOWN_NAME, name.span, message));
    };
    for role in table.roles.iter().filter(|role| policy.roles.iter().all(|each| each.name.value != role.value)) {
        unknown("role", role);
    }
    let named = match table.scope {
        Scope::All => Vec::new(),
        Scope::Routes(names) => names,
    };
    for route in named.iter().filter(|route| routes.iter().all(|each| each.name.value != route.value)) {
        unknown("route", route);
    }
    let texts = |names: Vec<At<String>>| names.into_iter().map(|name| name.value).collect();
    Some(BreakGlassRules {
        roles: texts(table.roles),
        routes: texts(named),
        max_s: table.max.min(max).as_secs(),
        signers: texts(table.signers),
    })
}

/// Turns spans into the engine's positions.
struct Places<'s> {
    sources: &'s Sources,
}

impl Places<'_> {
    fn position(&self, span: Span) -> Position {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Position {
            source: number(span.source.index()),
            start: number(span.start),
            end: number(span.end),
            line: number(self.sources.line(span)),
        }
    }

    fn placed<T>(&self, value: At<T>) -> Placed<T> {
        Placed::new(value.value, self.position(value.span))
    }

    fn all(&self, values: Vec<At<String>>) -> Vec<Placed<String>> {
        values.into_iter().map(|value| self.placed(value)).collect()
    }

    fn route(&self, route: &file::Route) -> RouteDraft {
        let name = self.placed(route.name.clone());
        if route.vague {
            // An error was reported, so that this draft is never used. A host of its own (RFC 6761 section 6.4) keeps the
            // route's name known without a conflict with other routes that it may not even have.
            let host = format!("{}-{}.invalid", name.at.source, name.at.start);
            return RouteDraft { hosts: vec![Placed::new(host, name.at)], paths: Vec::new(), reserved: false, name };
        }
        if route.operators {
            let host = Placed::new(OPERATORS_HOST.to_owned(), name.at);
            return RouteDraft { hosts: vec![host], paths: Vec::new(), reserved: true, name };
        }
        let (hosts, paths) = (self.all(route.hosts.clone()), self.all(route.paths.clone()));
        RouteDraft { name, hosts, paths, reserved: false }
    }

    fn resource(&self, resource: file::Resource) -> ResourceDraft {
        ResourceDraft {
            route: self.placed(resource.route),
            authentication: resource.authentication,
            allow: self.all(resource.allow),
            deny: self.all(resource.deny),
            sensitivity: resource.sensitivity,
            proof: resource.proof,
            mode: resource.mode,
            public: resource.public.map_or_else(Placed::default, |public| self.placed(public)),
            requestable: resource.requestable,
            at: self.position(resource.at),
        }
    }

    fn role(&self, role: file::Role) -> RoleDraft {
        let permission = |permission: file::Permission| PermissionDraft {
            actions: self.all(permission.actions),
            not_actions: self.all(permission.not_actions),
        };
        RoleDraft {
            name: self.placed(role.name),
            inherits: self.all(role.inherits),
            permissions: role.permissions.into_iter().map(permission).collect(),
        }
    }

    fn assignment(&self, assignment: file::Assignment) -> AssignmentDraft {
        AssignmentDraft {
            name: self.placed(assignment.name),
            role: self.placed(assignment.role),
            principals: self.all(assignment.principals),
            scope: self.scope(assignment.scope),
            starts: assignment.starts,
            expires: assignment.expires,
            when: self.when(assignment.when),
            activation: assignment.activation.map(|activation| activation.value),
            mode: assignment.mode,
        }
    }

    fn deny(&self, deny: file::Deny) -> DenyDraft {
        DenyDraft {
            name: self.placed(deny.name),
            principals: self.all(deny.principals),
            actions: self.all(deny.actions),
            scope: self.scope(deny.scope),
            starts: deny.starts,
            expires: deny.expires,
            when: self.when(deny.when),
            explain: deny.explain.map(Arc::from),
            mode: deny.mode,
        }
    }

    fn exclusive(&self, exclusive: file::Exclusive) -> ExclusiveDraft {
        let number = |max: u64| usize::try_from(max).unwrap_or(usize::MAX);
        ExclusiveDraft {
            name: self.placed(exclusive.name),
            roles: self.all(exclusive.roles),
            max: exclusive.max.map(|max| self.placed(max.map(number))),
        }
    }

    fn scope(&self, scope: Scope) -> ScopeDraft {
        match scope {
            Scope::All => ScopeDraft::All,
            Scope::Routes(names) => ScopeDraft::Routes(self.all(names)),
        }
    }

    fn when(&self, when: When) -> WhenDraft {
        WhenDraft {
            networks: when.networks.map(|names| self.all(names)),
            hours: when.hours.map(|hours| self.placed(hours)),
            countries: when.countries.map(|countries| countries.value),
            compliant_device: when.compliant_device,
            assurance_mfa: when.assurance_mfa,
            max_age_s: when.max_age_s,
            max_risk: when.max_risk,
        }
    }
}

/// A problem of the engine in the form of all others.
fn diagnostic(reader: &Reader<'_>, problem: Problem) -> Diagnostic {
    let sources = reader.sources.borrow();
    let span = |at: Position| span(&sources, at);
    let mut diagnostic = match problem.severity {
        Severity::Error => Diagnostic::error(code(problem.kind), span(problem.at), problem.message),
        Severity::Warning => Diagnostic::warning(code(problem.kind), span(problem.at), problem.message),
    };
    diagnostic.help = problem.help;
    diagnostic.related = problem.related.into_iter().map(|(at, note)| (span(at), note)).collect();
    diagnostic
}

/// A position of the engine's as a place in the files.
fn span(sources: &Sources, at: Position) -> Span {
    Span { source: sources.id_at(at.source as usize), start: at.start as usize, end: at.end as usize }
}

/// Each kind's code. No kind is left to a default: a new one gets a code, and a page.
fn code(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::DuplicateName => codes::DUPLICATE,
        ProblemKind::UnknownReference => codes::UNKNOWN_NAME,
        ProblemKind::EquivalentRoutes => codes::CONFLICT,
        ProblemKind::BadName
        | ProblemKind::BadHost
        | ProblemKind::BadPattern
        | ProblemKind::BadAction
        | ProblemKind::BadPrincipal
        | ProblemKind::BadCondition
        | ProblemKind::Empty
        | ProblemKind::BadPeriod => codes::BAD_VALUE,
        ProblemKind::RoleCycle
        | ProblemKind::RoleDepth
        | ProblemKind::TooMany
        | ProblemKind::NoEffect
        | ProblemKind::BadExclusive => codes::POLICY,
        ProblemKind::LiteralWildcard => codes::LITERAL_WILDCARD,
        ProblemKind::GroupCycle => codes::GROUP_CYCLE,
        ProblemKind::ExpiredGrant => codes::EXPIRED_GRANT,
        ProblemKind::GrantToNobody => codes::GRANT_TO_NOBODY,
        ProblemKind::ContradictingNetworks => codes::CONTRADICTING_NETWORKS,
        ProblemKind::HoursNeverOccur => codes::HOURS_NEVER_OCCUR,
        ProblemKind::UnreachableGrant => codes::UNREACHABLE_GRANT,
        ProblemKind::DeniedGrant => codes::DENIED_GRANT,
        ProblemKind::RedundantGrant => codes::REDUNDANT_GRANT,
        ProblemKind::EmptyRole => codes::EMPTY_ROLE,
        ProblemKind::NothingLeft => codes::NOTHING_LEFT,
        ProblemKind::UnheldRole => codes::UNHELD_ROLE,
        ProblemKind::DuplicateRole => codes::DUPLICATE_ROLE,
        ProblemKind::BroadGrant => codes::BROAD_GRANT,
        ProblemKind::PublicRoute => codes::PUBLIC_ROUTE,
        ProblemKind::PublicWithoutEffect => codes::PUBLIC_WITHOUT_EFFECT,
        ProblemKind::WideNetwork => codes::WIDE_NETWORK,
        ProblemKind::ExclusiveHeld => codes::EXCLUSIVE_HELD,
        ProblemKind::LintIncomplete => codes::LINT_INCOMPLETE,
    }
}
