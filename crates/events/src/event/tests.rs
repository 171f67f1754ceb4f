//! The shape of the native event: its exact keys, what refusals of each kind look like, and that nothing breaks a line.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_policy::{
    self as policy, Authentication, AuthenticationMethod, BanScope, Bans, CheckOutcome, CredentialProblemKind, Denial,
    GroupClaim, Outcome, Principal, PrincipalKind, Reason, RiskAssessment, RiskLevel, RiskSignal, RiskVerdict,
    RuleKind, RuleRef, ShadowFinding, SignalFamily, Stage, StepUpDemand, Trace,
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::{bounds, line};

/// Every key of the contract. `[]` stands for the entries of a list.
const KEYS: &str = "
    schema id time kind severity seq node cluster version decision status origin reason reasons message
    policy policy.version policy.sha256 policy.route policy.rule policy.file policy.line policy.stage policy.mode
    request request.id request.trace_id request.span_id request.method request.scheme request.host request.port request.path
    request.query_redacted request.http_version request.bytes request.user_agent request.referrer
    client client.ip client.port client.peer_ip client.forwarded client.via_trusted_proxy client.country client.region
    client.city client.asn client.as_org
    identity identity.id identity.name identity.type identity.method identity.issuer identity.session identity.groups
    identity.directory identity.roles identity.acr identity.mfa identity.auth_age_s identity.api_key_id identity.cert_sha256
    identity.cert_subject
    device device.id device.managed device.compliant device.fingerprint
    risk risk.score risk.level risk.threshold risk.mnats risk.calibration risk.display risk.degraded risk.inputs risk.signals
    ban ban.active ban.until ban.offences
    nearest checks shadow
    remedy remedy.required_roles remedy.acr_values remedy.max_age_s remedy.retry_after_s remedy.help
    upstream upstream.name upstream.endpoint upstream.forwarded latency_us latency_us.total latency_us.decision integrity
";

/// The keys that a filled list or a cut text adds.
const KEYS_WHERE_FILLED: &str = "
    risk.signals[].name risk.signals[].family risk.signals[].weight risk.signals[].mnats risk.signals[].value
    risk.signals[].reason
    nearest[].needs nearest[].grant nearest[].file nearest[].line
    checks[].name checks[].outcome checks[].value checks[].detail
    shadow[].decision shadow[].reason shadow[].rule shadow[].file shadow[].line
    remedy.ask
    truncated
";

#[test]
fn each_kind_is_called_what_it_is_written_as() {
    for kind in EventKind::ALL {
        assert_eq!(to_value(Event::new(kind, Uuid::nil(), now()))["kind"], kind.as_str());
    }
}

#[test]
fn an_event_about_nothing_has_every_key_of_the_contract_and_no_other() {
    let event = to_value(Event::new(EventKind::GatewayStarted, Uuid::nil(), now()));
    assert_eq!(keys(&event), words(KEYS));
}

#[test]
fn a_checkpoint_has_its_signature_beside_the_keys_of_every_event() {
    let mut event = Event::new(EventKind::IntegrityCheckpoint, Uuid::nil(), now());
    let text = String::new;
    event.checkpoint = Some(Box::new(Checkpoint { seq: 1, hash: text(), key: text(), signature: text() }));
    let more = "checkpoint checkpoint.seq checkpoint.hash checkpoint.key checkpoint.signature";
    assert_eq!(keys(&to_value(event)), &words(KEYS) | &words(more));
}

#[test]
fn what_a_policy_was_asked_has_what_it_rests_on_beside_the_keys_of_every_event() {
    let path = portcullis_policy::CanonicalPath::parse("/").unwrap();
    let mut principal = Principal::user("alice").in_group("staff").with_role("reader");
    principal.groups.push(GroupClaim { name: "foreign".into(), trusted: false });
    principal.authentication.amr = vec!["otp".into()];
    let scope = policy::CredentialScope { routes: vec!["reports".into()], networks: vec![] };
    principal.scope = Some(std::sync::Arc::new(scope));
    let request = policy::AccessRequest {
        identity: policy::IdentityFact::Verified(&principal),
        ..policy::AccessRequest::new("GET", &path, None, now())
    };
    let mut event = Event::new(EventKind::AccessAllowed, Uuid::nil(), now());
    event.facts = Some(Box::new(DecidedOn::of(&request, true)));
    let value = to_value(event);
    let more =
        "facts facts.time facts.identity facts.country facts.local_groups facts.direct_roles facts.amr facts.auth_time
        facts.scope facts.scope.routes facts.scope.networks facts.bans facts.demanded facts.activated";
    assert_eq!(keys(&value), &words(KEYS) | &words(more));
    let facts = &value["facts"];
    assert_eq!(facts["identity"], "verified");
    assert_eq!(facts["local_groups"], serde_json::json!(["staff"]));
    assert_eq!((&facts["direct_roles"][0], &facts["amr"][0]), (&"reader".into(), &"otp".into()));
    assert_eq!(facts["scope"], serde_json::json!({ "routes": ["reports"], "networks": [] }));
    let value = DecidedOn::of(&policy::AccessRequest::new("GET", &path, None, now()), false);
    assert_eq!((value.identity, value.scope), ("not_looked_at", None));
}

#[test]
fn a_full_event_adds_only_the_documented_keys() {
    let mut event = missing_grant();
    event.request.path = Some("/".repeat(bounds::PATH_BYTES + 1));
    event.remedy.ask = Some("/.portcullis/access-requests".to_owned());
    assert_eq!(keys(&to_value(event)), &words(KEYS) | &words(KEYS_WHERE_FILLED));
}

#[test]
fn the_example_of_the_documentation_is_a_real_event() {
    let page = include_str!("../../../../docs/events.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let mut example: Value = serde_json::from_str(example).unwrap();
    // An event gets its place in the chain when its line is written.
    let integrity = example["integrity"].take();
    assert!(integrity["prev"].is_string() && integrity["hash"].is_string());
    assert_eq!(example, to_value(missing_grant()));
}

#[test]
fn the_documentation_names_every_key() {
    let page = include_str!("../../../../docs/events.md");
    for key in &words(KEYS) | &words(KEYS_WHERE_FILLED) {
        let name = key.rsplit('.').next().unwrap();
        let named = page.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{name}`")));
        assert!(named, "{key}");
    }
}

#[test]
fn a_missing_grant() {
    insta::assert_json_snapshot!(to_value(missing_grant()));
}

#[test]
fn an_explicit_deny() {
    let mut denial = denial(Outcome::Deny, Reason::ExplicitDeny);
    denial.reasons.push(Reason::NoMatchingGrant);
    denial.rule = Some(rule(RuleKind::Deny, "contractors-do-not-export", 52));
    insta::assert_json_snapshot!(to_value(refused(&denial)));
}

#[test]
fn a_bad_credential_says_nothing_of_whom_it_claims_to_be() {
    let reason = Reason::Authn(CredentialProblemKind::Invalid);
    let mut denial = denial(Outcome::Challenge, reason);
    denial.message = "signature does not verify".into();
    denial.trace.checks = vec![check(Stage::Authentication, CheckOutcome::Fail, "jwt", "signature does not verify")];
    insta::assert_json_snapshot!(to_value(refused(&denial)));
}

#[test]
fn a_step_up() {
    let mut denial = denial(Outcome::StepUp, Reason::StepUpRequired);
    denial.step_up = Some(StepUpDemand { mfa: true, acr_values: vec!["urn:mfa".into()], max_age_s: Some(43_200) });
    let mut event = refused(&denial);
    event.identity = Identity::of(&alice(), &denial.trace.roles, now());
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn too_high_a_risk() {
    let denial = denial(Outcome::Deny, Reason::RiskTooHigh);
    let mut event = refused(&denial);
    event.risk = Risk::of(&assessment(), Some(denial.risk));
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn a_ban() {
    let mut event = refused(&denial(Outcome::Deny, Reason::BanActive));
    event.ban = Ban::from(Bans { address: Some(&ban(false)), principal: None });
    event.remedy.retry_after_s = Some(600);
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn an_unknown_fact_leaves_it_undecided() {
    let mut denial = denial(Outcome::Undecided, Reason::PolicyUnavailable);
    denial.trace.checks = vec![check(Stage::Deny, CheckOutcome::Unknown, "", "the client's country is unknown")];
    insta::assert_json_snapshot!(to_value(refused(&denial)));
}

#[test]
fn a_request_that_was_never_one() {
    let mut event = Event::denied(id(), now(), ReasonCode::RequestMalformed);
    event.message = Some("two Content-Length fields".into());
    event.client.peer_ip = Some([198, 51, 100, 9].into());
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn an_upstream_that_does_not_answer() {
    let mut event = Event::denied(id(), now(), ReasonCode::UpstreamTimeout);
    event.upstream =
        Upstream { name: Some("billing".into()), endpoint: Some("http://10.0.0.5:8080".into()), forwarded: true };
    event.latency_us = Latency { total: Some(15_000_143), decision: Some(38) };
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn a_ban_that_was_just_made() {
    let mut event = Event::ban_created(id(), now(), &ban(true));
    event.client.ip = Some([203, 0, 113, 7].into());
    insta::assert_json_snapshot!(to_value(event));
}

#[test]
fn the_outcome_and_not_the_reason_gives_the_status() {
    let check = |outcome, reason, status, decision: &str| {
        let event = to_value(Event::denied_by(id(), now(), &denial(outcome, reason)));
        assert_eq!(
            (&event["status"], &event["decision"]),
            (&Value::from(status), &Value::from(decision)),
            "{reason:?}"
        );
    };
    check(Outcome::Deny, Reason::NoMatchingGrant, 403, "deny");
    check(Outcome::Challenge, Reason::NoMatchingGrant, 401, "challenge");
    check(Outcome::Deny, Reason::RouteNotFound, 404, "deny");
    check(Outcome::Deny, Reason::BanActive, 403, "deny");
    check(Outcome::StepUp, Reason::ConditionUnmet, 401, "step_up");
    check(Outcome::Undecided, Reason::FeedStale, 503, "undecided");
}

#[test]
fn milli_nats_are_rounded_to_hundredths_of_a_nat() {
    let check = |mnats, score: i32| {
        let assessment = RiskAssessment { mnats, ..RiskAssessment::NONE };
        assert_eq!(Risk::of(&assessment, None).score, Some(score), "{mnats}");
    };
    check(3_000, 300);
    check(4, 0);
    check(5, 1);
    check(-5, -1);
    check(-4, 0);
    check(-3_000, -300);
    check(i32::MAX, i32::MAX / 10);
    check(i32::MIN, i32::MIN / 10);
}

#[test]
fn of_two_bans_the_one_in_force_is_shown() {
    let (simulated, real) = (ban(true), ban(false));
    let active = |address, principal| Ban::from(Bans { address, principal }).active;
    assert!(active(Some(&simulated), Some(&real)));
    assert!(active(Some(&real), Some(&simulated)));
    assert!(!active(Some(&simulated), None));
    assert_eq!(Ban::from(Bans::default()), Ban::default());
}

#[test]
fn several_factors_are_claimed_only_by_the_credential() {
    let check = |amr: &[&str], stated: bool, mfa: Option<bool>| {
        let mut principal = alice();
        principal.authentication.amr = amr.iter().map(|method| (*method).into()).collect();
        principal.authentication.stated_mfa = stated;
        assert_eq!(Identity::of(&principal, &[], now()).mfa, mfa, "{amr:?} {stated}");
    };
    check(&[], false, None);
    check(&["pwd"], false, Some(false));
    check(&["pwd", "otp", "mfa"], false, Some(true));
    check(&[], true, Some(true));
}

#[test]
fn an_authentication_in_the_future_has_age_zero() {
    let mut principal = alice();
    principal.authentication.auth_time = Some(now() + jiff::SignedDuration::from_secs(30));
    assert_eq!(Identity::of(&principal, &[], now()).auth_age_s, Some(0));
}

#[test]
fn the_directory_of_the_groups_is_named() {
    let principal = Principal { directory: Some("corporate".into()), ..alice() };
    assert_eq!(Identity::of(&principal, &[], now()).directory.as_deref(), Some("corporate"));
    assert_eq!(Identity::of(&alice(), &[], now()).directory, None);
}

#[test]
fn the_id_of_a_signing_key_is_no_api_key() {
    let mut principal = alice();
    assert_eq!(Identity::of(&principal, &[], now()).api_key_id, None);
    principal.authentication.method = AuthenticationMethod::ApiKey;
    assert_eq!(Identity::of(&principal, &[], now()).api_key_id.as_deref(), Some("key-1"));
}

#[test]
fn line_feeds_and_quotes_from_the_client_cannot_forge_a_second_event() {
    let forged =
        "x\"}\r\n{\"schema\":\"portcullis.event/1\",\"kind\":\"access.allowed\"}\n\u{0}\u{1b}[2J\u{9b}2J\u{2028}";
    let mut event = missing_grant();
    event.request.path = Some(forged.into());
    event.request.user_agent = Some(forged.into());
    let line = to_line(event);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(line.iter().all(|byte| *byte >= 0x20 || *byte == b'\n'), "a control character is left");
    let read: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&read["kind"], &read["request"]["user_agent"]), (&"access.denied".into(), &forged.into()));
}

#[test]
fn the_longest_event_that_can_be_made_is_still_found_again() {
    // Six bytes of JSON for each byte is the worst there is.
    let text = "\u{1}".repeat(100_000);
    let event = filled_with(|| text.clone(), 1_000);
    let line = to_line(event);
    assert!(line.len() <= crate::read::MAX_LINE_BYTES, "{} bytes", line.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_event_is_one_line_of_json_within_its_bounds(texts in prop::collection::vec(text(), 1..8), entries in 0_usize..80) {
        let mut next = texts.iter().cycle();
        let event = filled_with(|| next.next().unwrap().clone(), entries);
        let line = to_line(event);
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(line.last(), Some(&b'\n'));
        let read: Value = serde_json::from_slice(&line).unwrap();
        prop_assert!(words(KEYS).is_subset(&keys(&read)));
        let length = |pointer: &str| read.pointer(pointer).unwrap().as_str().unwrap().len();
        prop_assert!(length("/request/path") <= 2_048 && length("/request/user_agent") <= 1_024);
        prop_assert!(length("/request/referrer") <= 1_024 && length("/message") <= 2_048);
        prop_assert!(read["checks"].as_array().unwrap().len() <= 64);
    }
}

/// Any characters at all, control characters included; now and then longer than every bound.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let short = prop::collection::vec(any::<char>(), 0..40);
    let long = prop::collection::vec(any::<char>(), 1_000..3_000);
    prop_oneof![4 => short, 1 => long].prop_map(String::from_iter)
}

/// An event every text of which comes from the caller, and every list of which has `entries` entries.
pub(crate) fn filled_with(mut text: impl FnMut() -> String, entries: usize) -> Event {
    let mut event = missing_grant();
    event.message = Some(text());
    event.request.trace_id = Some(text());
    event.request.span_id = Some(text());
    event.request.method = Some(text());
    event.request.host = Some(text());
    event.request.path = Some(text());
    event.request.user_agent = Some(text());
    event.request.referrer = Some(text());
    event.client.forwarded = (0..entries).map(|_| text()).collect();
    event.identity.id = Some(text());
    event.identity.name = Some(text());
    event.identity.issuer = Some(text());
    event.identity.session = Some(text());
    event.identity.groups = (0..entries).map(|_| text()).collect();
    event.identity.directory = Some(text());
    event.identity.roles = (0..entries).map(|_| text()).collect();
    event.identity.acr = Some(text());
    event.identity.api_key_id = Some(text());
    event.identity.cert_sha256 = Some(text());
    event.identity.cert_subject = Some(text());
    event.device.id = Some(text());
    event.device.fingerprint = Some(text());
    event.risk.signals = (0..entries)
        .map(|_| Signal {
            name: "network.new",
            family: "novelty",
            weight: -1,
            mnats: -10,
            value: text(),
            reason: text(),
        })
        .collect();
    let needs: Vec<String> = (0..entries.min(20)).map(|_| text()).collect();
    event.nearest = vec![Nearest { needs, grant: Some("g".into()), file: None, line: Some(1) }; entries.min(20)];
    event.checks = (0..entries)
        .map(|_| Check { name: "network", outcome: "unknown", value: text().into(), detail: text().into() })
        .collect();
    event.remedy.required_roles = Some((0..entries).map(|_| text()).collect());
    event.remedy.acr_values = Some((0..entries).map(|_| text()).collect());
    event.remedy.help = Some(text());
    event.remedy.ask = Some(text());
    event
}

/// A refusal with everything an event can hold.
pub(crate) fn missing_grant() -> Event {
    let mut denial = denial(Outcome::Deny, Reason::NoMatchingGrant);
    denial.message =
        "user:alice may not GET /api/invoices/7: on route billing their role staff does not permit it".into();
    denial.risk = RiskVerdict { level: RiskLevel::Low, threshold_mnats: 1_200 };
    denial.trace.roles = vec!["staff".into()];
    denial.trace.checks = vec![
        check(Stage::Network, CheckOutcome::Pass, "203.0.113.7", "in office"),
        check(Stage::Grants, CheckOutcome::Fail, "user:alice", "role staff does not permit it"),
    ];
    denial.trace.shadow = vec![ShadowFinding {
        outcome: Outcome::Deny,
        reason: Some(Reason::ExplicitDeny),
        rule: Some(rule(RuleKind::Deny, "no-exports", 60)),
    }];
    denial.nearest = vec![
        policy::Nearest {
            needs: vec!["group:auditors".into()],
            grant: Some(rule(RuleKind::Assignment, "auditors-read-invoices", 47)),
            at: Some(rule(RuleKind::Assignment, "auditors-read-invoices", 47)),
        },
        policy::Nearest {
            needs: vec!["role:billing.reader".into()],
            grant: Some(rule(RuleKind::Assignment, "finance-reads-invoices", 41)),
            at: Some(rule(RuleKind::Assignment, "finance-reads-invoices", 41)),
        },
    ];
    let mut event = refused(&denial);
    event.identity = Identity::of(&alice(), &denial.trace.roles, now());
    event.device = Device::from(alice().device.as_ref().unwrap());
    let mut assessment = assessment();
    assessment.signals.remove(0);
    assessment.mnats = 1_151;
    event.risk = Risk::of(&assessment, Some(denial.risk));
    event
}

/// A refusal of a fixed request.
fn refused(denial: &Denial) -> Event {
    let mut event = Event::denied_by(id(), now(), denial);
    event.policy.version = Some(42);
    event.policy.sha256 = Some("9f".repeat(32).into());
    event.policy.route = Some("billing".into());
    event.policy.mode = Some(Mode::Enforce);
    event.request.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    event.request.span_id = Some("00f067aa0ba902b7".into());
    event.request.method = Some("GET".into());
    event.request.scheme = Some("http");
    event.request.host = Some("billing.internal".into());
    event.request.port = Some(8080);
    event.request.path = Some("/api/invoices/7".into());
    event.request.query_redacted = true;
    event.request.http_version = Some("1.1");
    event.request.bytes = Some(0);
    event.request.user_agent = Some("curl/8.14.1".into());
    event.client.ip = Some([203, 0, 113, 7].into());
    event.client.peer_ip = Some([10, 0, 0, 5].into());
    event.client.forwarded = vec!["203.0.113.7".into()];
    event.client.via_trusted_proxy = true;
    event.client.country = portcullis_policy::CountryCode::parse("fr");
    event.remedy.help = Some(crate::help_url("https://portcullis.example/denials/", denial.reason.into()));
    event.upstream.name = Some("billing".into());
    event.latency_us = Latency { total: Some(143), decision: Some(38) };
    event
}

fn denial(outcome: Outcome, reason: Reason) -> Denial {
    Denial {
        outcome,
        reason,
        stage: reason.stage(),
        reasons: vec![reason],
        message: format!("refused for {}", reason.code()),
        caller_message: Some("Ask the data desk.".into()),
        rule: None,
        trace: Trace::default(),
        nearest: Vec::new(),
        step_up: None,
        risk: RiskVerdict { level: RiskLevel::High, threshold_mnats: 3_000 },
    }
}

fn alice() -> Principal {
    Principal {
        name: Some("Alice Ames".into()),
        email: Some("alice@example.com".into()),
        groups: vec![GroupClaim { name: "finance".into(), trusted: true }],
        device: Some(policy::Device { id: "d-9".into(), compliant: Some(false) }),
        ..Principal::proven(
            PrincipalKind::User,
            "alice",
            Authentication {
                issuer: Some("https://login.example.com".into()),
                key_id: Some("key-1".into()),
                acr: Some("urn:pwd".into()),
                amr: vec!["pwd".into()],
                auth_time: Some("2026-11-22T17:34:12Z".parse().unwrap()),
                ..Authentication::by(AuthenticationMethod::Jwt, "corporate")
            },
        )
    }
}

fn assessment() -> RiskAssessment {
    let signal = |name, family, mnats, value: &str| RiskSignal {
        name,
        family,
        mnats,
        value: value.into(),
        reason: "a network that is new to this principal, let in 6 times before".into(),
    };
    RiskAssessment {
        mnats: 3_155,
        signals: vec![
            signal("failures.spraying", SignalFamily::Evidence, 2_004, "5 principals in 10m"),
            signal("network.new", SignalFamily::Novelty, 1_151, "203.0.113.0/24"),
        ],
        degraded: false,
        stated: None,
    }
}

fn ban(simulated: bool) -> policy::Ban {
    policy::Ban {
        scope: BanScope::Address,
        until: now() + jiff::SignedDuration::from_secs(600),
        offences: 2,
        cause: "credentials: 6 failed in 2m".into(),
        simulated,
    }
}

fn rule(kind: RuleKind, name: &str, line: u32) -> RuleRef {
    RuleRef { kind, name: name.into(), file: "policy.toml".into(), line }
}

fn check(stage: Stage, outcome: CheckOutcome, value: &str, detail: &str) -> policy::Check {
    policy::Check { stage, outcome, value: value.to_owned().into(), detail: detail.to_owned().into(), rule: None }
}

pub(crate) fn id() -> Uuid {
    Uuid::from_u128(0x0197_a000_0000_7000_8000_0000_0000_0001)
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T19:04:12.697123456Z".parse().unwrap()
}

/// The event as a sink would get it.
pub(crate) fn to_line(mut event: Event) -> Vec<u8> {
    event.node = Arc::from("gw-1");
    event.cluster = Some("eu1".into());
    event.seq = 18_231;
    event.version = "0.1.0";
    bounds::apply(&mut event);
    let mut line = Vec::new();
    line::append_json(&mut line, &event).unwrap();
    line
}

fn to_value(event: Event) -> Value {
    serde_json::from_slice(&to_line(event)).unwrap()
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn keys(event: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_keys("", event, &mut found);
    found
}

fn collect_keys(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                collect_keys(&path, inner, found);
                found.insert(path);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect_keys(&format!("{prefix}[]"), entry, found)),
        _ => {}
    }
}

#[test]
fn all_times_are_of_one_width() {
    #[track_caller]
    fn check(time: &str, written: &str) {
        let event = Event::new(EventKind::GatewayStarted, Uuid::nil(), time.parse().unwrap());
        let line = serde_json::to_value(&event).unwrap();
        assert_eq!(line["time"], written);
    }
    check("2026-11-22T19:04:12.697123456Z", "2026-11-22T19:04:12.697123Z");
    check("2026-11-22T19:04:12Z", "2026-11-22T19:04:12.000000Z");
    check("2026-11-22T19:04:12.9999999Z", "2026-11-22T19:04:12.999999Z");
    check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z");
}
