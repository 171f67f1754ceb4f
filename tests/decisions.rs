//! Decisions as data. Each folder in `tests/decisions` is a configuration, its policy and its cases, in the form of the
//! documentation's test cases. They are decided in this process by the very engine that the gateway runs; the last test asks
//! the binary about some of them, so that both are known to agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use portcullis_config::{Case, Environment, Loaded, load, load_cases};
use portcullis_policy::{
    AccessRequest, Authentication, AuthenticationMethod, AuthenticationRule, Bans, CanonicalPath, ClientAddress,
    Contained, Decision, Device, GroupClaim, IdentityFact, Outcome, Policy, Principal, PrincipalKind, RiskAssessment,
    canonical_host,
};
use portcullis_testkit::wait::PATIENCE;

use crate::harness::{portcullis, repository};

fn worlds() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/decisions")).unwrap().map(|entry| entry.unwrap().path());
    let mut worlds: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    worlds.sort();
    worlds
}

/// The moment that the worlds are read at: what has expired in them is the same on every day that the tests run.
struct Monday;

impl Environment for Monday {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn now(&self) -> Option<Timestamp> {
        Some("2026-11-23T09:00:00Z".parse().unwrap())
    }
}

fn read(world: &Path) -> (Loaded, Vec<Case>) {
    let loaded = load(&world.join("portcullis.toml"), &Monday)
        .unwrap_or_else(|report| panic!("{}:\n{}", world.display(), report.render_human(false)));
    let mut files = load_cases(&[world.join("cases.toml")], &Monday)
        .unwrap_or_else(|report| panic!("{}", report.render_human(false)));
    assert_eq!(files.len(), 1, "{}", world.display());
    (loaded, files.remove(0).cases)
}

/// A request as a test has it, built here by hand: what the command line builds is held against it below.
trait Asked {
    fn now(&self) -> Timestamp;
    fn authenticated(&self) -> Option<Timestamp>;
    fn principal(&self) -> Option<Principal>;
    fn decide(&self, policy: &Policy) -> (Outcome, Option<String>);
    fn arguments(&self) -> Vec<String>;
}

impl Asked for Case {
    fn principal(&self) -> Option<Principal> {
        let facts = &self.facts;
        let (kind, id) = facts.principal.as_ref()?;
        Some(Principal {
            kind: *kind,
            id: id.as_str().into(),
            name: None,
            email: None,
            groups: facts.groups.iter().map(|name| GroupClaim { name: name.as_str().into(), trusted: true }).collect(),
            directory: None,
            roles: facts.roles.iter().map(|role| role.as_str().into()).collect(),
            device: facts.compliant_device.map(|compliant| Device { id: "d".into(), compliant: Some(compliant) }),
            scope: None,
            authentication: Authentication {
                method: AuthenticationMethod::Stated,
                provider: "case".into(),
                issuer: None,
                key_id: None,
                acr: None,
                amr: Vec::new(),
                auth_time: self.authenticated(),
                issued: None,
                expires: None,
                stated_mfa: facts.fresh_mfa,
            },
        })
    }

    fn now(&self) -> Timestamp {
        self.facts.at.unwrap_or_else(|| "2026-11-23T10:00:00Z".parse().unwrap())
    }

    fn authenticated(&self) -> Option<Timestamp> {
        let ago = SignedDuration::from_secs(self.facts.authenticated_s?.try_into().unwrap());
        Some(self.now().checked_sub(ago).unwrap())
    }

    /// The outcome word and the reason; `explain` must say the same as `decide`.
    fn decide(&self, policy: &Policy) -> (Outcome, Option<String>) {
        let path = match CanonicalPath::parse(self.url.split('?').next().unwrap()) {
            Ok(path) => path,
            Err(problem) if problem.is_ambiguous() => return (Outcome::Deny, Some("request.path_ambiguous".into())),
            Err(_) => return (Outcome::Deny, Some("request.malformed".into())),
        };
        let facts = &self.facts;
        let route = policy.find_route(&canonical_host(facts.host.as_deref().unwrap_or("app.test")).unwrap(), &path);
        let principal = self.principal();
        let ignored = route.is_some_and(|route| policy.authentication(route) == AuthenticationRule::None);
        let risk = RiskAssessment { stated: facts.risk, ..RiskAssessment::NONE };
        let request = AccessRequest {
            method: &self.method,
            path: &path,
            route,
            client: facts.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country: facts.country,
            identity: principal.as_ref().filter(|_| !ignored).map_or(IdentityFact::Anonymous, IdentityFact::Verified),
            risk: &risk,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations: &[],
            now: self.now(),
        };
        let decided = match policy.decide(&request) {
            Decision::Permit(_) => (Outcome::Permit, None),
            Decision::Deny(denial) => (Outcome::Deny, Some(denial.reason.code().to_owned())),
            Decision::Challenge(denial) => (Outcome::Challenge, Some(denial.reason.code().to_owned())),
            Decision::StepUp(denial) => (Outcome::StepUp, Some(denial.reason.code().to_owned())),
            Decision::Undecided(denial) => (Outcome::Undecided, Some(denial.reason.code().to_owned())),
        };
        let explained = policy.explain(&request);
        let reason = explained.denial.as_ref().map(|denial| denial.reason.code().to_owned());
        assert_eq!((explained.outcome, reason), decided, "{}: explain and decide differ", self.name);
        decided
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.method.clone(), self.url.clone()];
        let mut add = |flag: &str, value: Option<&str>| {
            arguments.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_owned()]));
        };
        let facts = &self.facts;
        let principal = facts.principal.as_ref().map(|(kind, id)| match kind {
            // Whoever it is.
            PrincipalKind::User if id == " " => "authenticated".to_owned(),
            _ => format!("{}:{id}", kind.as_str()),
        });
        add("--host", Some(facts.host.as_deref().unwrap_or("app.test")));
        add("--as", principal.as_deref());
        add("--country", facts.country.as_ref().map(|country| country.as_str()));
        add("--device", facts.compliant_device.map(|compliant| if compliant { "compliant" } else { "noncompliant" }));
        add("--assurance", facts.fresh_mfa.then_some("mfa"));
        add("--authenticated", facts.authenticated_s.map(|ago| format!("{ago}s")).as_deref());
        add("--risk", facts.risk.map(|level| level.as_str()));
        add("--ip", facts.ip.map(|ip| ip.to_string()).as_deref());
        add("--at", facts.at.map(|at| at.to_string()).as_deref());
        facts.groups.iter().for_each(|group| add("--group", Some(group)));
        facts.roles.iter().for_each(|role| add("--role", Some(role)));
        arguments
    }
}

fn expected(case: &Case) -> (Outcome, Option<&'static str>) {
    (case.outcome.value, case.reason.as_ref().map(|reason| reason.value.code()))
}

#[test]
fn every_case_is_decided_as_it_says() {
    let (mut count, mut failures, mut names) = (0, Vec::new(), BTreeSet::new());
    for world in worlds() {
        let (loaded, cases) = read(&world);
        for case in cases {
            count += 1;
            assert!(names.insert(case.name.clone()), "{}: the name `{}` was used twice", world.display(), case.name);
            let (outcome, reason) = expected(&case);
            assert_eq!(
                reason.is_none(),
                outcome == Outcome::Permit,
                "{}: a refusal has a reason, a permit has none",
                case.name
            );
            let expected = (outcome, reason.map(str::to_owned));
            let decided = case.decide(&loaded.policy);
            if decided != expected {
                failures.push(format!(
                    "{}: `{}` ({} {}): expected {expected:?}, decided {decided:?}",
                    world.display(),
                    case.name,
                    case.method,
                    case.url
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
    let outcomes: BTreeSet<&str> = cases.iter().map(|case| expected(case).0.as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["permit", "deny", "challenge", "step_up", "undecided"]));
    let reasons: BTreeSet<&str> = cases.iter().filter_map(|case| expected(case).1).collect();
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
        // All of them by the verb that is there for it; some one by one.
        let (config, file) = (world.join("portcullis.toml"), world.join("cases.toml"));
        let finished = portcullis().arg("-c").arg(config).args(["-q", "test"]).arg(file).run(PATIENCE);
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
        let (_, cases) = read(&world);
        for case in cases.iter().step_by(9) {
            let arguments = case.arguments();
            let config = world.join("portcullis.toml");
            let finished =
                portcullis().args(["-o", "jsonl", "explain"]).args(&arguments).arg("-c").arg(config).run(PATIENCE);
            let said: serde_json::Value = serde_json::from_str(&finished.stdout.join("\n"))
                .unwrap_or_else(|error| panic!("{} {arguments:?}: {error}: {finished:?}", case.name));
            let (outcome, reason) = expected(case);
            assert_eq!(said["decision"], outcome.as_str(), "{} {arguments:?}", case.name);
            assert_eq!(said["reason"].as_str(), reason, "{}", case.name);
            assert_eq!(finished.status.code(), Some(i32::from(outcome != Outcome::Permit)), "{}", case.name);
        }
    }
}

/// The worlds hold on purpose what a policy hardly should; they warn of this, and of nothing else.
#[test]
fn the_worlds_warn_of_what_they_are_about() {
    let expected: &[(&str, &[&str])] = &[
        ("authentication", &["W0340", "W0331", "W0331"]),
        ("authzen-todo", &[]),
        ("aws-iam-evaluation", &["W0315"]),
        ("azure-rbac", &["W0322", "W0316"]),
        ("billing", &["W0330", "W0330", "W0310"]),
        ("conditions", &["W0303", "W0303", "W0310", "W0303", "W0303"]),
        ("freshness", &[]),
        ("kubernetes-rbac", &["W0323", "W0330", "W0331"]),
        ("nist-rbac", &["W0322"]),
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
