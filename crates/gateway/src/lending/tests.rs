//! What is in force follows the log and the clocks, whatever fails and whoever else writes.

use std::sync::PoisonError;

use portcullis_admin::access::{BreakGlass, Seal};
use portcullis_events::{Capture, Recorder};
use portcullis_governance::power::{PowerLedger, Unvouched};
use portcullis_identity::Authenticator;
use portcullis_policy::{
    ActivationRules, AssignmentDraft, PermissionDraft, Placed, PolicyDraft, RoleDraft, RouteDraft, ScopeDraft,
};
use portcullis_proxy::Snapshot;
use portcullis_proxy::route::RouteAction;
use portcullis_proxy::settings::{
    ClientAddressSettings, Endpoint, ForwardingSettings, IdentityHeaders, Limits as ProxyLimits, RefusalSettings,
    RouteSettings, Settings as ProxySettings, UpstreamSettings,
};
use portcullis_risk::RiskEngine;
use portcullis_store::Database;
use portcullis_testkit::wait;
use serde_json::Value;

use super::*;

/// A log that several processes have, and that fails where a test wants it to.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<(Vec<Vec<u8>>, bool)>>);

impl Disk {
    fn with<T>(&self, act: impl FnOnce(&mut (Vec<Vec<u8>>, bool)) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PowerLedger for Disk {
    fn after(&self, n: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        Ok(self.with(|(records, _)| records.iter().skip(usize::try_from(n).unwrap()).cloned().collect()))
    }

    fn append(&mut self, n: u64, more: &[Vec<u8>]) -> Result<(), LedgerError> {
        self.with(|(records, fails)| match records.len() as u64 + 1 == n {
            _ if *fails => Err(LedgerError::Failed("the disk is full".to_owned())),
            true => {
                records.extend_from_slice(more);
                Ok(())
            }
            false => Err(LedgerError::Conflict),
        })
    }

    fn forget(&mut self, n: u64, record: &[u8], _: &[u64]) -> Result<(), LedgerError> {
        self.append(n, &[record.to_vec()])
    }

    fn seen(&self) -> Result<Option<i64>, LedgerError> {
        Ok(None)
    }

    fn note_seen(&mut self, _: i64) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn text(text: &str) -> Placed<String> {
    text.to_owned().into()
}

/// Alice may become an administrator under these rules.
fn policy(rules: ActivationRules) -> Arc<Policy> {
    let draft = PolicyDraft {
        routes: vec![RouteDraft::new("app", ["/**"])],
        roles: vec![RoleDraft {
            name: text("admin"),
            permissions: vec![PermissionDraft { actions: vec![text("* /admin/**")], not_actions: Vec::new() }],
            ..RoleDraft::default()
        }],
        assignments: vec![AssignmentDraft {
            name: text("alice-administers"),
            role: text("admin"),
            principals: vec![text("user:alice")],
            scope: ScopeDraft::All,
            activation: Some(rules),
            ..AssignmentDraft::default()
        }],
        ..PolicyDraft::default()
    };
    Arc::new(Policy::compile(&draft).unwrap().0)
}

fn shared(rules: ActivationRules) -> (Arc<Shared>, Capture) {
    let settings = ProxySettings {
        inbound: Vec::new(),
        upstreams: vec![UpstreamSettings::new("api", vec![Endpoint::http("127.0.0.1", 1)])],
        routes: vec![RouteSettings::new("app", RouteAction::Upstream(0))],
        client_address: ClientAddressSettings::default(),
        identity_headers: IdentityHeaders::default(),
        posture: None,
        assertions: None,
        forwarding: ForwardingSettings::default(),
        limits: ProxyLimits::default(),
        refusal: RefusalSettings::default(),
        pages: None,
    };
    let authenticator = Authenticator::new(portcullis_identity::settings::Settings::default()).unwrap();
    let (recorder, capture) = Recorder::in_memory(64).unwrap();
    let risk = RiskEngine::new(portcullis_risk::Settings::default());
    (Arc::new(Shared::new(Snapshot::new(policy(rules), settings, authenticator), risk, recorder)), capture)
}

/// A gateway with this log.
fn lender(disk: &Disk, now: Timestamp) -> (Lender, Capture) {
    let (shared, capture) = shared(ActivationRules::of(3_600));
    let book = PowerBook::open(Box::new(disk.clone()), Limits::default(), now).unwrap();
    let rules =
        BreakGlassRules { roles: vec!["admin".to_owned()], routes: Vec::new(), max_s: 3_600, signers: Vec::new() };
    let lender = Lender {
        kept: Mutex::new(Some(Kept::of(book, shared.clock.now()))),
        used: None,
        shared,
        governing: None,
        break_glass: ArcSwap::from_pointee(Some(rules)),
    };
    lender.look(|| now).unwrap();
    (lender, capture)
}

fn who(name: &str) -> Who {
    Who { names: vec![name.to_owned()], is_shared: false }
}

fn activation(for_s: u64) -> Access {
    Access::Activate(Wanted {
        assignment: "alice-administers".to_owned(),
        principal: "user:alice".to_owned(),
        for_s: Some(for_s),
        reason: "INC-7".to_owned(),
        ticket: None,
    })
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(seconds)
}

/// How much is in force by the table.
fn in_force(lender: &Lender) -> usize {
    lender.kept().as_ref().unwrap().in_force()
}

/// The events of this kind, once all that was recorded until now is there.
fn told(lender: &Lender, capture: &Capture, kind: EventKind) -> Vec<Value> {
    let last = Uuid::now_v7();
    lender.shared.recorder.record(portcullis_events::Event::new(EventKind::AdminReload, last, Timestamp::now()));
    let is_there = || capture.events().iter().any(|event| event["id"] == last.to_string()).then_some(());
    wait::until(wait::PATIENCE, is_there).expect("what was recorded arrives");
    capture.events().into_iter().filter(|event| event["kind"] == kind.as_str()).collect()
}

#[test]
fn what_another_process_ended_is_over_with_whatever_is_asked_next() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let ((one, _), (other, events)) = (lender(&disk, now), lender(&disk, now));
    one.perform(&activation(3_600), &who("ops"), || now).unwrap();
    other.look(|| now).unwrap();
    assert_eq!((in_force(&one), in_force(&other)), (1, 1));
    one.perform(&Access::End { id: 1, reason: "done".to_owned() }, &who("ops"), || now).unwrap();
    // Somebody only looks, before the second is over.
    other.perform(&Access::List { all: false }, &who("ops"), || now).unwrap();
    assert_eq!(in_force(&other), 0);
    assert_eq!(other.shared.lending.generation(), 2, "and what is open is decided on again");
    other.look(|| now).unwrap();
    assert_eq!(told(&other, &events, EventKind::GrantEnded).len(), 0, "whoever ended it has told of it");
}

/// What has ended lately excuses whoever had it from being banned for going on.
#[test]
fn power_that_nobody_gave_is_no_power_that_has_ended() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, _) = lender(&disk, now);
    let alice = Principal::user("alice");
    let ended = || lender.shared.lending.ended(&alice, after(now, 1), lender.shared.clock.now()).len();
    lender.perform(&activation(3_600), &who("ops"), || now).unwrap();
    lender.perform(&Access::End { id: 1, reason: "done".to_owned() }, &who("ops"), || now).unwrap();
    assert_eq!(ended(), 1);
    lender.perform(&activation(3_600), &who("ops"), || now).unwrap();
    assert_eq!((in_force(&lender), ended()), (1, 1));
    {
        let mut kept = lender.kept();
        let book = &mut kept.as_mut().unwrap().book;
        let is_in_force = |power: &&Power| matches!(power.state, PowerState::InForce { .. });
        let n = book.powers().find(is_in_force).unwrap().n;
        book.end_unvouched(n, Unvouched::Unsigned, now).unwrap();
    }
    lender.look(|| now).unwrap();
    assert_eq!((in_force(&lender), ended()), (0, 1));
}

#[test]
fn what_was_heard_is_in_force_also_where_the_rest_fails() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let ((one, _), (other, _)) = (lender(&disk, now), lender(&disk, now));
    one.perform(&activation(3_600), &who("ops"), || now).unwrap();
    other.look(|| now).unwrap();
    one.perform(&Access::End { id: 1, reason: "done".to_owned() }, &who("ops"), || now).unwrap();
    one.perform(&activation(1), &who("ops"), || now).unwrap();
    // It hears both, and cannot write that the second is over.
    disk.with(|(_, fails)| *fails = true);
    assert!(other.look(|| after(now, 2)).is_err());
    assert_eq!(in_force(&other), 0);
}

#[test]
fn a_full_disk_keeps_nothing_in_force_and_its_end_is_told_once_it_is_written() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, events) = lender(&disk, now);
    lender.perform(&activation(60), &who("ops"), || now).unwrap();
    assert_eq!((in_force(&lender), lender.shared.lending.generation()), (1, 1));
    disk.with(|(_, fails)| *fails = true);
    for _ in 0..3 {
        assert!(lender.look(|| after(now, 60)).is_err());
        assert_eq!((in_force(&lender), lender.shared.lending.generation()), (0, 2), "once");
    }
    assert_eq!(told(&lender, &events, EventKind::GrantEnded).len(), 0);
    disk.with(|(_, fails)| *fails = false);
    for _ in 0..2 {
        lender.look(|| after(now, 61)).unwrap();
        assert_eq!(told(&lender, &events, EventKind::GrantEnded).len(), 1);
    }
}

#[test]
fn what_ended_while_nobody_ran_is_told_by_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().join("store.db") };
    let _made = Database::open(&settings).unwrap();
    let past = after(Timestamp::now(), -7_200);
    {
        let log = PowerLog::open(&settings).unwrap();
        let mut book = PowerBook::open(Box::new(log), Limits::default(), past).unwrap();
        let asked = Asked {
            kind: PowerKind::Activation,
            principal: "user:alice".to_owned(),
            gives: "alice-administers".to_owned(),
            lasts_s: 3_600,
            reason: "INC-7".to_owned(),
            ticket: String::new(),
            approvals: 0,
            waits_s: 60,
        };
        book.ask(asked, &[], past).unwrap();
    }
    for expected in [1, 0] {
        let (shared, events) = shared(ActivationRules::of(3_600));
        let lender = Lender::open(Some(&settings), (Limits::default(), None), &shared, None).unwrap();
        lender.look(Timestamp::now).unwrap();
        assert_eq!(told(&lender, &events, EventKind::GrantEnded).len(), expected);
    }
}

#[test]
fn the_clock_is_read_when_it_is_ones_turn() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, _) = lender(&disk, now);
    let clock = || {
        assert!(lender.kept.try_lock().is_err(), "nobody else can write between this time and what is done at it");
        now
    };
    lender.perform(&Access::Verify, &who("ops"), clock).unwrap();
    lender.look(clock).unwrap();
}

#[test]
fn what_the_old_process_of_a_takeover_lets_begin_is_held_to_the_policy_of_the_new_one() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let ((old, _), (new, events)) = (lender(&disk, now), lender(&disk, now));
    let stricter = policy(ActivationRules { approvals: 1, ..ActivationRules::of(3_600) });
    new.shared.replace(new.shared.snapshot().load().with_policy(stricter));
    new.configure(Limits::default(), None);
    new.look(|| now).unwrap();
    // It serves connections that are still open, by the policy that it has.
    old.perform(&activation(3_600), &who("ops"), || now).unwrap();
    new.look(|| after(now, 1)).unwrap();
    assert_eq!(in_force(&new), 0);
    let state = new.kept().as_ref().unwrap().book.power(1).unwrap().state.as_str();
    assert_eq!((state, told(&new, &events, EventKind::GrantEnded).len()), ("ended", 1), "also by the log");
}

#[test]
fn a_stricter_policy_holds_for_what_was_asked_for_under_the_one_before() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, events) = lender(&disk, now);
    let replace = |rules: ActivationRules| {
        lender.shared.replace(lender.shared.snapshot().load().with_policy(policy(rules)));
        lender.configure(Limits::default(), None);
    };
    let hour = ActivationRules::of(3_600);
    lender.perform(&activation(3_600), &who("ops"), || now).unwrap();
    // For a shorter time: from its beginning.
    replace(ActivationRules { max_s: 600, ..hour });
    lender.look(|| after(now, 1)).unwrap();
    assert_eq!(in_force(&lender), 1);
    let deadline = lender.kept().as_ref().unwrap().deadline(1).unwrap();
    assert!(deadline <= after(lender.shared.clock.now(), 601), "{deadline}");
    // With an approval that it does not have: it ends.
    replace(ActivationRules { approvals: 1, ..hour });
    assert_eq!(in_force(&lender), 0);
    lender.look(|| after(now, 2)).unwrap();
    assert_eq!(told(&lender, &events, EventKind::GrantEnded).len(), 1);
    let ended = told(&lender, &events, EventKind::GrantEnded);
    assert!(ended[0]["message"].as_str().unwrap().contains("the policy demands more approvals of it now"));

    // What waits for one does not begin with one where two are demanded by now.
    let waits = lender.perform(&activation(3_600), &who("ops"), || after(now, 3)).unwrap().access[0].id;
    let approve = || lender.perform(&Access::Approve { id: waits, approval: None }, &who("carl"), || after(now, 4));
    for stricter in [
        ActivationRules { approvals: 2, ..hour },
        ActivationRules { approvals: 1, max_s: 60, ..hour },
        ActivationRules { approvals: 1, ticket_required: true, ..hour },
    ] {
        replace(stricter);
        assert!(approve().unwrap_err().contains("the policy demands more of alice-administers now"));
    }
    replace(ActivationRules { approvals: 1, ..hour });
    assert_eq!(approve().unwrap().access[0].state, "in_force");
}

#[test]
fn a_right_code_under_trouble_locks_nobody_out() {
    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, events) = lender(&disk, now);
    let seal = Seal { principal: "user:alice".to_owned(), for_s: None, reason: "safe 3".to_owned() };
    let sealed = lender.perform(&Access::Seal(seal), &who("ops"), || now).unwrap();
    let open = |code: &str| {
        let wanted = BreakGlass {
            principal: "user:alice".to_owned(),
            role: "admin".to_owned(),
            routes: Vec::new(),
            for_s: None,
            code: code.to_owned(),
            reason: "the disk is full".to_owned(),
            ticket: None,
        };
        lender.perform(&Access::BreakGlass(wanted), &who("alice"), || now)
    };
    let code = sealed.code.unwrap();
    disk.with(|(_, fails)| *fails = true);
    for _ in 0..8 {
        assert!(open(&code).unwrap_err().contains("the disk is full"));
    }
    disk.with(|(_, fails)| *fails = false);
    // Finding of 2026-11: five wrong ones of anybody kept the right one out, too.
    for count in 1..=8 {
        let error = open("AAAA-BBBB").unwrap_err();
        assert!(error.contains("opens nothing"), "{error}");
        assert_eq!(error.contains(&format!("{count} codes of alice were wrong")), count > 1, "{error}");
    }
    open(&code).unwrap();
    assert_eq!(told(&lender, &events, EventKind::BreakGlassOpened).len(), 1);
    assert!(open(&code).unwrap_err().contains("9 codes of alice were wrong"), "it is good once");
}

#[test]
fn whoever_a_version_decides_for_that_is_rolled_out_activates_by_what_both_demand() {
    use portcullis_policy::{KeptRequest, KeptText, Principal};

    use super::own::{Asker, OwnProblem};

    let (disk, now) = (Disk::default(), Timestamp::now());
    let (lender, _) = lender(&disk, now);
    let own = ActivationRules { by_oneself: true, ..ActivationRules::of(3_600) };
    lender.shared.replace(lender.shared.snapshot().load().with_policy(policy(own)));
    let ask = |rules: ActivationRules, who: &str, for_s: u64| {
        let text = KeptText { method: "POST", host: "app.test", path: "/.portcullis/activations", software: "" };
        let principal = Arc::new(Principal::user(who));
        let standing = KeptRequest {
            identity: portcullis_policy::KeptIdentity::Verified(Arc::clone(&principal)),
            ..KeptRequest::new(text, now).unwrap()
        };
        let from =
            Asker { principal, client: None, request: String::new(), standing: Some(standing), policy: policy(rules) };
        let wanted = own::Wanted::Activation {
            assignment: "alice-administers".to_owned(),
            for_s: Some(for_s),
            justification: "INC-7".to_owned(),
            ticket: String::new(),
        };
        lender.begin_own(&wanted, &from)
    };
    let stricter = ActivationRules { max_s: 600, ..own };
    assert!(matches!(ask(stricter, "alice", 601), Err(OwnProblem::Unfit(why)) if why.contains("60 to 600")));
    assert!(matches!(ask(ActivationRules { ticket_required: true, ..own }, "alice", 60), Err(OwnProblem::Unfit(_))));
    assert_eq!(ask(ActivationRules { by_oneself: false, ..own }, "alice", 60), Err(OwnProblem::StepUp));
    assert!(matches!(ask(own, "bert", 60), Err(OwnProblem::NotFound(_))));
    // The version in force has a word as well.
    assert!(matches!(ask(ActivationRules { max_s: 7_200, ..own }, "alice", 3_601), Err(OwnProblem::Unfit(_))));
    let waits = ask(ActivationRules { approvals: 1, ..own }, "alice", 60).unwrap();
    assert!(!waits.is_in_force && waits.body["approvals"] == 1, "{waits:?}");
}
