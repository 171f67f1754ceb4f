//! Back to the list before, by hand, and what lifts that.

use super::*;

/// The list before is in force again, also after a start, and whatever the source gives out waits for somebody.
#[test]
fn somebody_goes_back_to_the_list_before_and_all_that_follows_is_held() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.rollback(now(0.0)), Err(RollbackError::NothingBefore));
    bench.takes(&hosts(100), now(0.0));
    assert_eq!(bench.rollback(now(0.1)), Err(RollbackError::NothingBefore));
    assert!(bench.keeper.can_go_back(now(0.1)).is_empty());
    bench.takes(&hosts(101), now(1.0));
    bench.restart(now(1.5));
    assert_eq!(bench.keeper.can_go_back(now(1.5)), ["partner".into()]);
    assert!(bench.keeper.can_go_back(now(24.5)).is_empty(), "it is too old then");
    let finished = bench.rollback(now(2.0)).unwrap();
    assert_eq!((kinds(&finished.notices), bench.in_force()), (vec![NoticeKind::Updated], Some((100, false))));
    assert!(finished.message.contains(&**hosts(101).sha256()), "{finished:?}");
    assert_eq!(
        bench.rollback(now(2.1)),
        Err(RollbackError::NothingBefore),
        "the one that is held is none to go back to"
    );
    assert!(bench.keeper.can_go_back(now(2.1)).is_empty());
    let held = |bench: &Bench, at: Now| {
        bench.report(at).held.map(|held| (u32::try_from(held.entries).unwrap(), held.findings.last().unwrap().hold))
    };
    assert_eq!(held(&bench, now(2.1)), Some((101, Hold::RolledBack)));
    // The same one, and others that no guard would hold back.
    for (count, hours) in [(101, 3.0), (102, 4.0), (99, 5.0)] {
        let finished = bench.takes(&hosts(count), now(hours));
        assert!(!finished.is_current, "{finished:?}");
        assert_eq!((bench.in_force(), held(&bench, now(hours))), (Some((100, false)), Some((count, Hold::RolledBack))));
        bench.restart(now(hours));
        assert_eq!(held(&bench, now(hours)), Some((count, Hold::RolledBack)));
    }
    // Somebody has looked at it.
    bench.accept(hosts(99).sha256(), now(6.0)).unwrap();
    assert_eq!((bench.in_force(), bench.report(now(6.0)).held), (Some((99, false)), None));
    assert!(bench.takes(&hosts(98), now(7.0)).is_current, "and from then on it follows the source again");
}

/// Whoever has got hold of the source lifts nothing by what it gives out in between, be that a page or once the good list.
#[test]
fn nothing_that_the_source_gives_out_lifts_it() {
    let page: fn(&mut Bench, Now) = |bench, at| drop(bench.finish(Err(JobError::Parse(ParseError::Page)), at));
    let good: fn(&mut Bench, Now) = |bench, at| drop(bench.takes(&hosts(100), at));
    let same: fn(&mut Bench, Now) = |bench, at| drop(bench.not_modified(&hosts(100), at));
    let failing: fn(&mut Bench, Now) = |bench, at| drop(bench.fails(at));
    for between in [page, good, same, failing] {
        for restarts in [false, true] {
            let mut bench = Bench::new(|_| {});
            bench.takes(&hosts(100), now(0.0));
            bench.takes(&hosts(101), now(1.0));
            bench.rollback(now(2.0)).unwrap();
            between(&mut bench, now(3.0));
            if restarts {
                bench.restart(now(3.1));
            }
            assert!(bench.report(now(3.1)).rolled_back);
            assert!(!bench.takes(&hosts(101), now(4.0)).is_current, "the bad list came back by itself");
            let report = bench.report(now(4.0));
            let held = report.held.unwrap();
            let holds: Vec<Hold> = held.findings.iter().map(|finding| finding.hold).collect();
            assert_eq!((report.entries, held.entries, holds), (100, 101, vec![Hold::RolledBack]));
        }
    }
}

/// Where the source gives out what is in force, nothing is held that could be accepted: the list in force is.
#[test]
fn a_source_is_followed_again_once_somebody_has_accepted_what_is_in_force() {
    let mut bench = Bench::new(|_| {});
    bench.takes(&hosts(100), now(0.0));
    let good = hosts(100).sha256().clone();
    assert_eq!(bench.accept(&good, now(0.5)), Err(AcceptError::NothingHeld));
    bench.takes(&hosts(101), now(1.0));
    bench.rollback(now(2.0)).unwrap();
    assert_eq!(bench.accept(&good, now(2.5)), Err(AcceptError::Another(hosts(101).sha256().clone())));
    let finished = bench.takes(&hosts(100), now(3.0));
    assert!(finished.message.contains(&format!("feed accept partner --sha256 {good}")), "{finished:?}");
    bench.accept(&good, now(3.5)).unwrap();
    bench.restart(now(3.6));
    assert!(!bench.report(now(3.6)).rolled_back);
    assert!(bench.takes(&hosts(102), now(4.0)).is_current);
}

/// An entry that was never needed, because the guards let its list through, does not put it in force again at once.
#[test]
fn a_list_that_was_gone_back_from_is_not_put_back_by_an_entry_of_before() {
    let mut bench = Bench::new(|settings| settings.accepted = [hosts(101).sha256().clone()].into());
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(101), now(1.0));
    bench.rollback(now(2.0)).unwrap();
    bench.tick(now(2.1));
    bench.restart(now(2.2));
    bench.tick(now(2.3));
    assert!(!bench.takes(&hosts(101), now(3.0)).is_current);
    assert_eq!(bench.report(now(3.0)).entries, 100);
    // Another one that is written since counts.
    bench.settings.accepted = [hosts(102).sha256().clone()].into();
    bench.restart(now(3.5));
    assert!(bench.takes(&hosts(102), now(4.0)).is_current);
    assert!(bench.takes(&hosts(103), now(5.0)).is_current, "that lifts it");
}

#[test]
fn what_cannot_be_gone_back_to_stays_as_it_is() {
    let mut bench = Bench::new(|settings| settings.on_stale = OnStale::Undecided);
    bench.takes(&hosts(100), now(0.0));
    bench.takes(&hosts(101), now(1.0));
    bench.refuses = true;
    assert_eq!(bench.rollback(now(2.0)), Err(RollbackError::Activation("there is no room".into())));
    assert_eq!((bench.report(now(2.0)).entries, bench.report(now(2.0)).held), (101, None));
    bench.refuses = false;
    bench.restart(now(2.0));
    assert!(!bench.report(now(2.0)).rolled_back);
    assert!(matches!(bench.rollback(now(24.5)), Err(RollbackError::TooOld(_))));
    assert_eq!(bench.keeper.rollback("nobody", now(2.0), &mut |_| Ok(())), Err(RollbackError::Unknown));
    bench.rollback(now(2.5)).unwrap();
    // It is as old as it is, and no younger for that.
    assert_eq!(bench.report(now(2.5)).age, Some(HOUR.mul_f64(2.5)));
}
