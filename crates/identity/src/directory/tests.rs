//! What requests see of a directory, without one: ages, waiting, bounds. The look-ups themselves are shown on a real server end to end.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use portcullis_ldap::{Filter, Server};
use portcullis_policy::{GroupClaim, PrincipalKind};

use super::*;

pub(super) fn settings() -> LdapDirectory {
    LdapDirectory {
        name: "people".into(),
        providers: vec!["login".into()],
        servers: vec![Server::parse("ldap://127.0.0.1").unwrap()],
        start_tls: false,
        roots: Vec::new(),
        bind: Some(Bind { dn: "cn=reader".into(), password: "hunter2".into() }),
        base: "dc=test".into(),
        user_filter: Filter::parse("(uid={id})").unwrap(),
        id: PrincipalId::Attribute("uid".into()),
        id_ignores_case: true,
        account_filter: None,
        membership: Membership::Attribute("memberOf".into()),
        nested: Nested::Auto,
        group_name: GroupName::Dn,
        prefix: String::new(),
        trust_groups: Vec::new(),
        max_groups: 10,
        timeout: LdapDirectory::TIMEOUT,
        connections: 1,
        refresh: Duration::from_secs(100),
        max_stale: Duration::from_secs(1_000),
        negative: Duration::from_secs(10),
        entries: 4,
        max_waiting: 2,
    }
}

fn directory(settings: &LdapDirectory) -> Directory {
    Directory::new(settings, vec![("login".into(), "corp:".into())], ["", "corp:", "corp:keys:"], &spelling())
}

fn spelling() -> Spelling {
    Spelling::new([(PrincipalKind::User, "corp:", true)])
}

fn found(groups: Vec<GroupClaim>) -> Verdict {
    Verdict::Found { id: None, groups }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn who(id: &str) -> Arc<Principal> {
    Arc::new(Principal::user(&format!("corp:{id}")))
}

fn group(name: &str) -> GroupClaim {
    GroupClaim { name: name.into(), trusted: false }
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What somebody gets, in a word.
fn asked(directory: &Directory, id: &str, second: i64) -> String {
    fn word(grouped: Grouped) -> String {
        match grouped {
            Grouped::Known(principal) => {
                principal.groups.iter().map(|group| &*group.name).collect::<Vec<_>>().join(",")
            }
            Grouped::Disabled(provider, id, _) => format!("disabled {provider} {id}"),
            Grouped::Unavailable(why) => format!("unknown: {why}"),
            Grouped::Awaited(_, otherwise) => format!("wait, or {}", word(*otherwise)),
        }
    }
    word(directory.group(&who(id), "corp:", at(second)))
}

/// Takes one from the queue and says this of it.
fn answer(directory: &Directory, verdict: Verdict, second: i64) {
    let Poll::Ready(job) = now(directory.cache.next()) else { panic!("nobody is asked for") };
    job.found(verdict, at(second).as_millisecond());
}

#[test]
fn what_was_found_serves_for_refresh_and_stands_in_for_max_stale() {
    let directory = directory(&settings());
    let unknown = "wait, or unknown: the groups of the directory people are not known: it has not answered yet";
    assert_eq!(asked(&directory, "zoe", 0), unknown);
    answer(&directory, found(vec![group("a"), group("b")]), 0);
    for (second, expected) in [
        (0, "a,b"),
        (99, "a,b"),
        (100, "wait, or a,b"),
        (999, "wait, or a,b"),
        (1_000, unknown),
        // A clock that was set back says nothing of how old something is.
        (-4, "a,b"),
        (-6, "wait, or a,b"),
    ] {
        assert_eq!(asked(&directory, "zoe", second), expected, "{second}");
    }
}

#[test]
fn each_verdict_has_its_time() {
    let check = |verdict: Verdict, expected: [&str; 3]| {
        let directory = directory(&settings());
        asked(&directory, "zoe", 0);
        answer(&directory, verdict, 0);
        for (second, expected) in [0, 10, 100].into_iter().zip(expected) {
            let found = asked(&directory, "zoe", second);
            assert!(found.starts_with(expected), "{second}: {found}");
        }
    };
    check(Verdict::NotFound, ["", "wait, or ", "wait, or "]);
    check(Verdict::Disabled, ["disabled", "disabled", "wait, or disabled"]);
    // It is no answer that could stand in for one.
    let unusable = "unknown: the groups of the directory people cannot be used: two";
    let not_known = "wait, or unknown: the groups of the directory people are not known";
    check(Verdict::Unusable("two".to_owned()), [unusable, not_known, not_known]);
}

#[test]
fn the_directory_is_named_and_the_principal_is_made_once() {
    let directory = directory(&settings());
    let zoe = Arc::new(Principal { groups: vec![group("a")], ..Principal::user("corp:zoe") });
    assert!(matches!(directory.group(&zoe, "corp:", at(0)), Grouped::Awaited(..)));
    answer(&directory, found(vec![group("a"), group("b")]), 0);
    let known = || match directory.group(&zoe, "corp:", at(1)) {
        Grouped::Known(principal) => principal,
        other => panic!("{other:?}"),
    };
    let first = known();
    assert_eq!(first.groups, [group("a"), group("b")]);
    assert_eq!(first.directory.as_deref(), Some("people"));
    assert!(Arc::ptr_eq(&first, &known()));
    // The directory is asked about zoe, whatever the provider puts before her id.
    assert_eq!(directory.cache.get("zoe").map(|subject| subject.id.clone()), Some("zoe".into()));
    // Who is not found stays as the provider made them.
    let max = who("max");
    directory.group(&max, "corp:", at(1));
    answer(&directory, Verdict::NotFound, 1);
    assert!(matches!(directory.group(&max, "corp:", at(1)), Grouped::Known(same) if Arc::ptr_eq(&same, &max)));
}

#[test]
fn one_look_up_serves_all_who_wait_and_the_queue_is_bounded() {
    let directory = directory(&settings());
    let wait = |id: &str| match directory.group(&who(id), "corp:", at(0)) {
        Grouped::Awaited(awaited, _) => awaited,
        other => panic!("{other:?}"),
    };
    let (mut one, mut two, mut other) = (wait("zoe"), wait("zoe"), wait("max"));
    assert_eq!(directory.report().waiting, 2);
    assert!(asked(&directory, "kim", 0).contains("2 look-ups wait"));
    assert!(directory.cache.get("kim").is_none(), "who is turned away takes no room");
    let mut ended = [pin!(one.ended()), pin!(two.ended())];
    let mut context = Context::from_waker(Waker::noop());
    assert!(ended.iter_mut().all(|ended| ended.as_mut().poll(&mut context).is_pending()));
    answer(&directory, Verdict::NotFound, 0);
    assert!(ended.iter_mut().all(|ended| ended.as_mut().poll(&mut context).is_ready()));
    // One that is under way is waited for, too; one that is let go has ended.
    let Poll::Ready(job) = now(directory.cache.next()) else { panic!("max is next") };
    let mut late = wait("max");
    drop(job);
    assert!(now(other.ended()).is_ready() && now(late.ended()).is_ready());
    // Nobody looks up any more: nobody waits.
    let mut forsaken = wait("pat");
    directory.cache.abandon();
    assert!(now(forsaken.ended()).is_ready());
}

#[test]
fn a_look_up_that_failed_is_not_asked_for_again_at_once() {
    let directory = directory(&settings());
    asked(&directory, "zoe", 0);
    let Poll::Ready(job) = now(directory.cache.next()) else { panic!("zoe is next") };
    job.failed(at(0).as_millisecond());
    assert!(asked(&directory, "zoe", 0).starts_with("unknown"));
    assert!(asked(&directory, "zoe", 2).starts_with("wait"));
}

#[test]
fn what_is_in_use_is_looked_up_ahead_and_what_is_not_is_not() {
    let settings = settings();
    let directory = directory(&settings);
    for id in ["zoe", "max"] {
        asked(&directory, id, 0);
        answer(&directory, found(Vec::new()), 0);
    }
    asked(&directory, "zoe", 50);
    let ahead = |second: i64| {
        directory.cache.ask_ahead(&settings, at(second).as_millisecond());
        directory.report().waiting
    };
    assert_eq!((ahead(74), ahead(75), ahead(76)), (0, 1, 1));
    // Somebody who comes too late waits for that one.
    assert_eq!(asked(&directory, "zoe", 100), "wait, or ");
    assert_eq!(directory.report().waiting, 1);
    answer(&directory, found(vec![group("new")]), 76);
    assert_eq!(asked(&directory, "zoe", 100), "new");
}

#[test]
fn who_was_seen_longest_ago_is_forgotten_first() {
    let settings = settings();
    let directory = directory(&settings);
    for (second, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let second = i64::try_from(second).unwrap();
        asked(&directory, id, second);
        answer(&directory, found(Vec::new()), second);
    }
    asked(&directory, "a", 10);
    assert!(directory.cache.is_over());
    directory.cache.evict(&settings, at(10).as_millisecond());
    let left: Vec<&str> =
        ["a", "b", "c", "d", "e"].into_iter().filter(|id| directory.cache.get(id).is_some()).collect();
    assert_eq!(left, ["a", "c", "d", "e"]);
    directory.cache.evict(&settings, at(2_000).as_millisecond());
    assert_eq!(directory.report().entries, 0);
}

#[test]
fn the_same_id_with_another_address_of_mail_is_another_question() {
    let with = LdapDirectory { user_filter: Filter::parse("(mail={email})").unwrap(), ..settings() };
    for (settings, entries) in [(with, 2), (settings(), 1)] {
        let directory = directory(&settings);
        for email in ["a@x", "b@x"] {
            let who = Principal { email: Some(email.into()), ..Principal::user("corp:zoe") };
            directory.group(&Arc::new(who), "corp:", at(0));
        }
        assert_eq!(directory.report().entries, entries);
    }
}

#[test]
fn a_password_is_not_shown() {
    assert!(!format!("{:?}", settings()).contains("hunter2"));
}

#[test]
fn what_was_found_goes_on_only_in_the_same_directory() {
    let other = LdapDirectory { base: "dc=other".into(), ..settings() };
    assert!(directory(&settings()).serves(&directory(&settings())));
    assert!(!directory(&settings()).serves(&directory(&other)));
    let elsewhere = Directory::new(&settings(), vec![("login".into(), "".into())], [""], &spelling());
    assert!(!directory(&settings()).serves(&elsewhere));
}

#[test]
fn a_principal_has_the_id_that_its_entry_has_however_it_is_called() {
    let directory = directory(&settings());
    let check = |who: Principal, entry: Option<&str>, expected: &str| {
        let (id, who) = (who.id.clone(), Arc::new(who));
        directory.group(&who, "corp:", at(0));
        answer(
            &directory,
            match entry {
                Some(entry) => Verdict::Found { id: Some(entry.into()), groups: vec![group("staff")] },
                None => Verdict::NotFound,
            },
            0,
        );
        let is_same = |grouped: Grouped| match grouped {
            Grouped::Known(principal) => principal.id.to_string(),
            other => format!("{other:?}"),
        };
        let found = is_same(directory.group(&who, "corp:", at(1)));
        assert!(found.contains(expected), "{id}: {found}");
        // What was made of them is kept for the next request of the same token.
        assert_eq!(is_same(directory.group(&who, "corp:", at(2))), found);
    };
    let by = |method, id: &str| {
        Principal::proven(PrincipalKind::User, id, portcullis_policy::Authentication::by(method, "login"))
    };
    check(Principal::user("corp:Zoe"), Some("zoe"), "corp:zoe");
    check(Principal::user("corp:zo\u{e9}"), Some("zoe"), "corp:zoe");
    check(Principal::user("corp:max"), Some("max"), "corp:max");
    check(Principal::user("corp:Nobody"), None, "corp:nobody");
    check(by(AuthenticationMethod::ApiKey, "corp:Robot"), Some("robot"), "corp:Robot");
    // Neither the directory nor the letters of a claim make somebody another provider's.
    check(Principal::user("corp:eve"), Some("keys:ci"), "prefix `corp:keys:` of another provider");
    check(Principal::user("corp:KEYS:ci"), None, "prefix `corp:keys:` of another provider");
}

#[test]
fn an_id_that_heeds_case_stays_as_it_is_written() {
    let settings = LdapDirectory { id_ignores_case: false, ..settings() };
    let directory = Directory::new(&settings, vec![("login".into(), "corp:".into())], ["corp:"], &Spelling::default());
    for (verdict, expected) in [
        (Verdict::NotFound, "corp:Zoe"),
        (Verdict::Found { id: Some("Zoe".into()), groups: Vec::new() }, "corp:Zoe"),
        (Verdict::Found { id: Some("Zed".into()), groups: Vec::new() }, "corp:Zed"),
    ] {
        let named = directory.named(&Principal::user("corp:Zoe"), &verdict, "corp:").unwrap();
        assert_eq!(&*named.id, expected);
    }
}
