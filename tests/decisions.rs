//! Decisions as data. Each folder in `tests/decisions` is a configuration, its policy and its cases, in the form of the
//! documentation's test cases. They are decided in this process by the very engine that the gateway runs; the last test asks
//! the binary about some of them, so that both are known to agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_config::{Loaded, ProcessEnvironment, load};
use portcullis_policy::{
    AccessRequest, Authentication, AuthenticationMethod, AuthenticationRule, Bans, CanonicalPath, ClientAddress,
    CountryCode, Decision, Device, GroupClaim, IdentityFact, Policy, Principal, PrincipalKind, RiskAssessment,
    RiskLevel, canonical_host,
};
use portcullis_testkit::wait::PATIENCE;
use serde::Deserialize;

use crate::harness::{portcullis, repository};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// `METHOD PATH`
    request: String,
    host: Option<String>,
    #[serde(rename = "as")]
    principal: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    ip: Option<std::net::IpAddr>,
    country: Option<String>,
    device: Option<String>,
    assurance: Option<String>,
    at: Option<toml::value::Datetime>,
    risk: Option<String>,
    expect: String,
    reason: Option<String>,
}

/// Without `at` it is this Monday, ten o'clock in Berlin: no case depends on the day on which it is run.
const DEFAULT_TIME: &str = "2026-11-23T09:00:00Z";

fn worlds() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/decisions")).unwrap().map(|entry| entry.unwrap().path());
    let mut worlds: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    worlds.sort();
    worlds
}

fn read(world: &Path) -> (Loaded, Vec<Case>) {
    let loaded = load(&world.join("portcullis.toml"), &ProcessEnvironment)
        .unwrap_or_else(|report| panic!("{}:\n{}", world.display(), report.render_human(false)));
    let text = fs::read_to_string(world.join("cases.toml")).unwrap();
    let cases: Cases = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", world.display()));
    (loaded, cases.case)
}

impl Case {
    fn at(&self) -> Timestamp {
        self.at.map_or_else(|| DEFAULT_TIME.to_owned(), |at| at.to_string()).parse().unwrap()
    }

    fn principal(&self) -> Option<Principal> {
        let text = self.principal.as_deref().filter(|text| *text != "anyone")?;
        let (kind, id) = text.split_once(':').unwrap_or(("user", text));
        let kind = match kind {
            "user" => PrincipalKind::User,
            "service" => PrincipalKind::Service,
            other => panic!("{}: {other} is no kind of principal", self.name),
        };
        let device = self.device.as_deref().map(|state| match state {
            "compliant" => true,
            "noncompliant" => false,
            other => panic!("{}: {other} is no state of a device", self.name),
        });
        Some(Principal {
            kind,
            id: id.into(),
            name: None,
            email: None,
            groups: self.groups.iter().map(|name| GroupClaim { name: name.as_str().into(), trusted: true }).collect(),
            roles: self.roles.iter().map(|role| role.as_str().into()).collect(),
            device: device.map(|compliant| Device { id: "d".into(), compliant: Some(compliant) }),
            authentication: Authentication {
                method: AuthenticationMethod::Stated,
                provider: "case".into(),
                issuer: None,
                key_id: None,
                acr: None,
                amr: Vec::new(),
                auth_time: None,
                expires: None,
                stated_mfa: self.assurance.as_deref() == Some("mfa"),
            },
        })
    }

    /// The outcome word and the reason; `explain` must say the same as `decide`.
    fn decide(&self, policy: &Policy) -> (String, Option<String>) {
        let (method, target) = self.request.split_once(' ').unwrap();
        let path = match CanonicalPath::parse(target.split('?').next().unwrap()) {
            Ok(path) => path,
            Err(problem) if problem.is_ambiguous() => return ("deny".into(), Some("request.path_ambiguous".into())),
            Err(_) => return ("deny".into(), Some("request.malformed".into())),
        };
        let host = self.host.as_deref().map_or(Some("app.test".into()), canonical_host).unwrap();
        let route = policy.find_route(&host, &path);
        let principal = self.principal();
        let ignored = route.is_some_and(|route| policy.authentication(route) == AuthenticationRule::None);
        let risk = RiskAssessment {
            stated: self.risk.as_deref().map(|level| RiskLevel::parse(level).unwrap()),
            ..RiskAssessment::NONE
        };
        let request = AccessRequest {
            method,
            path: &path,
            route,
            client: self.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country: self.country.as_deref().map(|code| CountryCode::parse(code).unwrap()),
            identity: principal.as_ref().filter(|_| !ignored).map_or(IdentityFact::Anonymous, IdentityFact::Verified),
            risk: &risk,
            bans: Bans::default(),
            activations: &[],
            now: self.at(),
        };
        let decided = match policy.decide(&request) {
            Decision::Permit(_) => ("permit".to_owned(), None),
            Decision::Deny(denial) => ("deny".to_owned(), Some(denial.reason.code().to_owned())),
            Decision::Challenge(denial) => ("challenge".to_owned(), Some(denial.reason.code().to_owned())),
            Decision::StepUp(denial) => ("step_up".to_owned(), Some(denial.reason.code().to_owned())),
            Decision::Undecided(denial) => ("undecided".to_owned(), Some(denial.reason.code().to_owned())),
        };
        let explained = policy.explain(&request);
        let reason = explained.denial.as_ref().map(|denial| denial.reason.code().to_owned());
        assert_eq!(
            (explained.outcome.as_str().to_owned(), reason),
            decided,
            "{}: explain and decide differ",
            self.name
        );
        decided
    }

    fn arguments(&self) -> Vec<String> {
        let (method, target) = self.request.split_once(' ').unwrap();
        let mut arguments = vec![method.to_owned(), target.to_owned()];
        let mut add = |flag: &str, value: Option<&str>| {
            arguments.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_owned()]));
        };
        add("--host", Some(self.host.as_deref().unwrap_or("app.test")));
        add("--as", self.principal.as_deref());
        add("--country", self.country.as_deref());
        add("--device", self.device.as_deref());
        add("--assurance", self.assurance.as_deref());
        add("--risk", self.risk.as_deref());
        add("--ip", self.ip.map(|ip| ip.to_string()).as_deref());
        add("--at", Some(&self.at().to_string()));
        self.groups.iter().for_each(|group| add("--group", Some(group)));
        self.roles.iter().for_each(|role| add("--role", Some(role)));
        arguments
    }
}

#[test]
fn every_case_is_decided_as_it_says() {
    let (mut count, mut failures, mut names) = (0, Vec::new(), BTreeSet::new());
    for world in worlds() {
        let (loaded, cases) = read(&world);
        for case in cases {
            count += 1;
            assert!(names.insert(case.name.clone()), "{}: the name `{}` was used twice", world.display(), case.name);
            assert_eq!(
                case.reason.is_none(),
                case.expect == "permit",
                "{}: a refusal has a reason, a permit has none",
                case.name
            );
            let expected = (case.expect.clone(), case.reason.clone());
            let decided = case.decide(&loaded.policy);
            if decided != expected {
                failures.push(format!(
                    "{}: `{}` ({}): expected {expected:?}, decided {decided:?}",
                    world.display(),
                    case.name,
                    case.request
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 60, "there are only {count} cases");
}

#[test]
fn every_outcome_and_every_offline_reason_has_a_case() {
    let cases: Vec<Case> = worlds().iter().flat_map(|world| read(world).1).collect();
    let outcomes: BTreeSet<&str> = cases.iter().map(|case| case.expect.as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["permit", "deny", "challenge", "step_up", "undecided"]));
    let reasons: BTreeSet<&str> = cases.iter().filter_map(|case| case.reason.as_deref()).collect();
    for reason in [
        "request.malformed",
        "request.path_ambiguous",
        "route.not_found",
        "ip.not_allowed",
        "ip.denied",
        "authn.missing",
        "rbac.no_matching_grant",
        "rbac.explicit_deny",
        "rbac.assignment_expired",
        "rbac.not_yet_active",
        "rbac.condition_unmet",
        "risk.too_high",
        "step_up.required",
        "policy.unavailable",
    ] {
        assert!(reasons.contains(reason), "{reason} has no case");
    }
}

#[test]
fn the_binary_decides_as_the_library_does() {
    for world in worlds() {
        let (_, cases) = read(&world);
        for case in cases.iter().step_by(9) {
            let arguments = case.arguments();
            let config = world.join("portcullis.toml");
            let finished =
                portcullis().args(["-o", "jsonl", "explain"]).args(&arguments).arg("-c").arg(config).run(PATIENCE);
            let said: serde_json::Value = serde_json::from_str(&finished.stdout.join("\n"))
                .unwrap_or_else(|error| panic!("{} {arguments:?}: {error}: {finished:?}", case.name));
            assert_eq!(said["decision"], case.expect, "{} {arguments:?}", case.name);
            assert_eq!(said["reason"].as_str(), case.reason.as_deref(), "{}", case.name);
            assert_eq!(finished.status.code(), Some(i32::from(case.expect != "permit")), "{}", case.name);
        }
    }
}

/// The worlds hold on purpose what a policy hardly should; they warn of this, and of nothing else.
#[test]
fn the_worlds_warn_of_what_they_are_about() {
    let expected: &[(&str, &[&str])] = &[
        ("authentication", &["W0340", "W0331", "W0331"]),
        ("billing", &["W0330", "W0330", "W0310"]),
        ("conditions", &["W0303", "W0303", "W0310", "W0303", "W0303"]),
        ("risk", &["W0331"]),
    ];
    let worlds = worlds();
    assert_eq!(worlds.len(), expected.len());
    for (world, (name, codes)) in worlds.iter().zip(expected) {
        assert!(world.ends_with(name), "{}", world.display());
        let warnings = read(world).0.warnings;
        let found: Vec<&str> = warnings.diagnostics().map(|each| each.code).collect();
        assert_eq!(found, *codes, "{}", warnings.render_human(false));
    }
}
