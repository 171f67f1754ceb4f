use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use portcullis_policy::{AuthenticationMethod, CredentialProblemKind as Kind};

use super::*;
use crate::settings::{PasswordProvider, Settings, UserRecord};
use crate::{Authentication, Authenticator, Awaited, Identity, Typed};

const NOW: i64 = 1_800_000_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn user(name: &str, password: &str) -> UserRecord {
    UserRecord {
        name: name.to_owned(),
        hash: PasswordHash::of(password).unwrap(),
        groups: vec!["finance".to_owned()],
        disabled: false,
        expires: None,
    }
}

fn settings(users: Vec<UserRecord>) -> Settings {
    let provider = PasswordProvider {
        name: Arc::from("local"),
        prefix: String::new(),
        users,
        remember: PasswordProvider::REMEMBER,
    };
    Settings { password: vec![provider], password_waiting: 4, ..Settings::default() }
}

/// An authenticator, and one thread that checks.
struct Site {
    authenticator: Authenticator,
    thread: Option<thread::JoinHandle<()>>,
}

impl Site {
    fn new(users: Vec<UserRecord>) -> Self {
        Self::of(settings(users))
    }

    fn of(settings: Settings) -> Self {
        let mut site = Self { authenticator: Authenticator::new(settings).unwrap(), thread: None };
        let bench = Arc::clone(site.bench());
        site.thread = Some(thread::spawn(move || bench.work()));
        site
    }

    /// Nobody checks.
    fn idle(users: Vec<UserRecord>) -> Self {
        Self { authenticator: Authenticator::new(settings(users)).unwrap(), thread: None }
    }

    fn bench(&self) -> &Arc<PasswordBench> {
        self.authenticator.password_bench().unwrap()
    }

    fn typed(&self, name: &str, password: &str) -> Typed {
        let value = format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes()));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(value).unwrap())]);
        match self.authenticator.authenticate(&headers, at(NOW)) {
            Authentication::Typed(typed) => typed,
            other => panic!("{other:?}"),
        }
    }

    /// Asks as a request does.
    fn ask(&self, name: &str, password: &str, now: i64) -> Identity {
        let typed = self.typed(name, password);
        match self.authenticator.check_password(&typed, HERE, at(now), None) {
            Authentication::Awaited { awaited: Awaited::Password(mut awaited), .. } => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(awaited.ended());
                self.authenticator.check_password(&typed, HERE, at(now), Some(&awaited)).settled()
            }
            known => known.settled(),
        }
    }

    fn kind(&self, name: &str, password: &str, now: i64) -> Result<String, Kind> {
        match self.ask(name, password, now) {
            Identity::Verified(principal) => Ok(principal.reference()),
            Identity::Rejected(rejection) => Err(rejection.problem.kind),
            other => panic!("{other:?}"),
        }
    }

    fn checks(&self) -> u64 {
        let [(_, right), (_, wrong), ..] = self.bench().report().checks;
        right + wrong
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.bench().close();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_user_is_who_types_the_password() {
    let site = Site::new(vec![user("alice", "correct horse")]);
    let Identity::Verified(alice) = site.ask("alice", "correct horse", NOW) else { panic!("she is verified") };
    assert_eq!(alice.reference(), "user:alice");
    assert_eq!(alice.authentication.method, AuthenticationMethod::Password);
    assert_eq!(alice.authentication.auth_time, Some(at(NOW)));
    assert_eq!((&*alice.authentication.amr[0], alice.authentication.amr.len()), ("pwd", 1));
    assert_eq!((&*alice.groups[0].name, alice.groups[0].trusted), ("finance", true));
    assert_eq!(site.kind("alice", "wrong horse", NOW), Err(Kind::Invalid));
    assert_eq!(site.kind("Alice", "correct horse", NOW), Err(Kind::Invalid));
    assert_eq!(site.checks(), 3);
}

#[test]
fn unknown_user_and_wrong_password_are_told_alike_and_cost_alike() {
    let site = Site::new(vec![user("alice", "correct horse")]);
    let rejected = |name: &str| match site.ask(name, "wrong horse", NOW) {
        Identity::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    };
    let (known, unknown) = (rejected("alice"), rejected("nobody"));
    assert_eq!((known.problem.kind, &known.problem.detail), (unknown.problem.kind, &unknown.problem.detail));
    assert_eq!((known.attempted.as_deref(), unknown.attempted.as_deref()), (Some("alice"), Some("nobody")));
    // Each was one run of the hash with the same costs.
    assert_eq!(site.checks(), 2);
    let passwords = Passwords::new(&settings(vec![user("alice", "correct horse")]));
    assert_eq!(passwords.decoy.cost(), passwords.users["alice"].hash.cost());
    assert_eq!(Passwords::new(&settings(Vec::new())).decoy.cost(), passwords.decoy.cost());
}

/// Risk counts failures by it, and looks them up by the principal that is verified.
#[test]
fn who_is_claimed_is_called_as_the_principal_is() {
    let mut settings = settings(vec![user("alice", "correct horse")]);
    settings.password[0].prefix = "local:".to_owned();
    let site = Site::of(settings);
    let Identity::Verified(alice) = site.ask("alice", "correct horse", NOW) else { panic!("she is verified") };
    for _ in 0..5 {
        let Identity::Rejected(wrong) = site.ask("alice", "wrong horse", NOW) else { panic!("it is wrong") };
        assert_eq!(wrong.attempted.as_deref(), Some(&*alice.id));
    }
    let Identity::Unchecked(locked) = site.ask("alice", "wrong horse", NOW) else { panic!("five failed") };
    assert!(matches!(&locked, Unchecked::Locked { attempted, .. } if *attempted == alice.id), "{locked:?}");
    let Identity::Rejected(nobody) = site.ask("nobody", "wrong horse", NOW) else { panic!("there is none") };
    assert_eq!(nobody.attempted.as_deref(), Some("nobody"));
}

#[test]
fn a_verified_password_is_not_checked_again_for_a_while() {
    let site = Site::new(vec![user("alice", "correct horse")]);
    for (now, checks) in [(0, 1), (1, 1), (59, 1), (60, 2), (119, 2), (120, 3)] {
        assert!(site.kind("alice", "correct horse", NOW + now).is_ok());
        assert_eq!(site.checks(), checks, "after {now} s");
    }
    // What is remembered is of this password alone.
    assert_eq!(site.kind("alice", "correct horsf", NOW + 121), Err(Kind::Invalid));
}

#[test]
fn disabled_and_expired_are_told_only_to_who_knows_the_password() {
    let disabled = UserRecord { disabled: true, ..user("alice", "correct horse") };
    let expiring = UserRecord { expires: Some(at(NOW + 10)), ..user("bob", "correct horse") };
    let site = Site::new(vec![disabled, expiring]);
    assert_eq!(site.kind("alice", "correct horse", NOW), Err(Kind::Revoked));
    assert_eq!(site.kind("alice", "wrong horse", NOW), Err(Kind::Invalid));
    assert!(site.kind("bob", "correct horse", NOW + 9).is_ok());
    // What was remembered ends with it.
    assert_eq!(site.kind("bob", "correct horse", NOW + 10), Err(Kind::Expired));
    assert_eq!(site.kind("bob", "wrong horse", NOW + 10), Err(Kind::Invalid));
}

#[test]
fn a_reload_forgets_what_was_verified_and_keeps_who_failed() {
    let mut site = Site::new(vec![user("alice", "correct horse")]);
    assert!(site.kind("alice", "correct horse", NOW).is_ok());
    for _ in 0..5 {
        assert_eq!(site.kind("bob", "wrong horse", NOW), Err(Kind::Invalid));
    }
    let mut next = Authenticator::new(settings(vec![user("alice", "another horse")])).unwrap();
    next.adopt(&site.authenticator);
    site.authenticator = next;
    assert_eq!(site.kind("alice", "correct horse", NOW), Err(Kind::Invalid));
    assert!(site.kind("alice", "another horse", NOW).is_ok());
    let Identity::Unchecked(Unchecked::Locked { retry_after_s: 30, attempted }) = site.ask("bob", "wrong horse", NOW)
    else {
        panic!("bob still waits")
    };
    assert_eq!(&*attempted, "bob");
}

#[test]
fn a_verdict_on_a_password_that_was_changed_meanwhile_does_not_count() {
    let mut site = Site::new(vec![user("alice", "correct horse")]);
    let typed = site.typed("alice", "correct horse");
    let asked = site.authenticator.check_password(&typed, HERE, at(NOW), None);
    let Authentication::Awaited { awaited: Awaited::Password(mut awaited), .. } = asked else { panic!("it waits") };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(awaited.ended());
    let mut next = Authenticator::new(settings(vec![user("alice", "another horse")])).unwrap();
    next.adopt(&site.authenticator);
    site.authenticator = next;
    let again = site.authenticator.check_password(&typed, HERE, at(NOW), Some(&awaited));
    assert!(matches!(again, Authentication::Awaited { .. }), "{again:?}");
}

#[test]
fn what_is_too_much_is_told_so_and_never_that_the_password_is_wrong() {
    let site = Site::idle(vec![user("alice", "correct horse")]);
    let ask = |name: &str| site.authenticator.check_password(&site.typed(name, "correct horse"), HERE, at(NOW), None);
    let waiting: Vec<_> = ["a", "b", "c", "alice"].map(ask).into_iter().collect();
    assert!(waiting.iter().all(|each| matches!(each, Authentication::Awaited { .. })));
    assert!(matches!(ask("e").settled(), Identity::Unchecked(Unchecked::Full)));
    // Who brings what is checked already joins that, as often as requests may wait.
    let joined: Vec<_> = (0..20).map(|_| ask("alice")).collect();
    let is_waiting = |each: &&Authentication| matches!(each, Authentication::Awaited { .. });
    assert_eq!(joined.iter().filter(is_waiting).count(), 4 * 4 - 4);
    // Nobody checks any more: whoever waits hears so.
    site.bench().close();
    assert!(matches!(ask("f").settled(), Identity::Unchecked(Unchecked::Full)));
    for each in waiting {
        let Authentication::Awaited { awaited: Awaited::Password(mut awaited), .. } = each else { continue };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(awaited.ended());
    }
}

#[test]
fn a_stream_is_looked_at_again_however_often_others_failed() {
    let site = Site::new(vec![user("alice", "correct horse")]);
    for _ in 0..6 {
        let _ = site.ask("alice", "wrong horse", NOW);
    }
    assert!(matches!(site.ask("alice", "correct horse", NOW), Identity::Unchecked(Unchecked::Locked { .. })));
    let typed = site.typed("alice", "correct horse");
    let Authentication::Awaited { awaited: Awaited::Password(mut awaited), .. } =
        site.authenticator.check_password_again(&typed, at(NOW), None)
    else {
        panic!("it is checked")
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(awaited.ended());
    let again = site.authenticator.check_password_again(&typed, at(NOW), Some(&awaited)).settled();
    assert!(matches!(again, Identity::Verified(_)), "{again:?}");
}

#[test]
fn nothing_that_can_be_printed_has_the_password() {
    let site = Site::idle(vec![user("alice", "correct horse")]);
    let typed = site.typed("alice", "correct horse");
    let asked = site.authenticator.check_password(&typed, HERE, at(NOW), None);
    for printed in [format!("{typed:?}"), format!("{asked:?}"), format!("{:?}", site.authenticator)] {
        assert!(!printed.contains("correct horse"), "{printed}");
    }
    assert!(asked.settled().attempted_id().is_none());
}
