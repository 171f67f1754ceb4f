//! What the tests of each subject stand on: one feed whose time and source they are.

mod accepting;
mod ageing;
mod fetching;
mod going_back;
mod holding;
mod taking;

use std::path::Path;

use super::*;
use crate::feed::Counts;
use crate::guard::Hold;
use crate::job::{JobError, Outcome, Took};
use crate::list::List;
use crate::obtain::Validators;
use crate::parse::ParseError;
use crate::settings::{Format, Guards, Source};
use crate::store;
use portcullis_fetch::FetchError;

const HOUR: Duration = Duration::from_secs(3_600);

fn now(hours: f64) -> Now {
    let steady = HOUR.mul_f64(hours);
    let wall: jiff::Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
    Now { wall: wall.checked_add(jiff::SignedDuration::try_from(steady).unwrap()).unwrap(), steady }
}

struct Bench {
    folder: tempfile::TempDir,
    settings: FeedSettings,
    keeper: Keeper,
    /// What was put in force, the last at the end.
    activated: Vec<Vec<NetworkContent>>,
    refuses: bool,
}

impl Bench {
    fn new(change: impl FnOnce(&mut FeedSettings)) -> Self {
        let mut settings = FeedSettings::new("partner", Source::File("/nowhere".into()), Format::Text);
        settings.refresh = HOUR;
        settings.max_age = HOUR * 24;
        change(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { folder, settings, keeper: Keeper::default(), activated: Vec::new(), refuses: false };
        bench.restart(now(0.0));
        bench
    }

    fn all(&self) -> Settings {
        Settings {
            folder: self.folder.path().join("feeds"),
            feeds: vec![Arc::new(self.settings.clone())],
            approved: false,
        }
    }

    fn restart(&mut self, at: Now) {
        let settings = self.all();
        self.keeper = Keeper::new(&settings, store::restore(&settings, Some(at.wall)), at);
    }

    fn finish(&mut self, result: Result<Took, JobError>, at: Now) -> Finished {
        let outcome = Outcome { settings: Arc::new(self.settings.clone()), result };
        let Self { keeper, activated, refuses, .. } = self;
        keeper.finish(outcome, &[], at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn takes(&mut self, list: &List, at: Now) -> Finished {
        self.finish(Ok(Took::List { list: list.clone(), validators: Validators::default() }), at)
    }

    fn not_modified(&mut self, list: &List, at: Now) -> Finished {
        self.finish(Ok(Took::NotModified(Some(Arc::clone(list.sha256())))), at)
    }

    fn fails(&mut self, at: Now) -> Finished {
        self.finish(Err(JobError::Obtain(FetchError::Timeout(HOUR).into())), at)
    }

    fn accept(&mut self, sha256: &str, at: Now) -> Result<Finished, AcceptError> {
        let Self { keeper, activated, refuses, .. } = self;
        keeper.accept("partner", sha256, at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn rollback(&mut self, at: Now) -> Result<Finished, RollbackError> {
        let Self { keeper, activated, refuses, .. } = self;
        keeper.rollback("partner", at, &mut |contents| activate(contents, activated, *refuses))
    }

    fn tick(&mut self, at: Now) -> Vec<Notice> {
        let Self { keeper, activated, .. } = self;
        keeper.tick(at, &mut |contents| activate(contents, activated, false))
    }

    fn report(&self, at: Now) -> Report {
        self.keeper.reports(at).remove(0)
    }

    fn in_force(&self) -> Option<(usize, bool)> {
        let last = self.activated.last()?;
        Some((last[0].prefixes.len(), last[0].unknown))
    }
}

fn activate(contents: &[NetworkContent], into: &mut Vec<Vec<NetworkContent>>, refuses: bool) -> Result<(), String> {
    if refuses {
        return Err("there is no room".to_owned());
    }
    into.push(contents.to_vec());
    Ok(())
}

/// So many single addresses, none beside another.
fn hosts(count: u32) -> List {
    let host = |index: u32| IpNet::from(std::net::IpAddr::from((0x0900_0000 + index * 2).to_be_bytes()));
    List::new(&(0..count).map(host).collect::<Vec<_>>())
}

fn kinds(notices: &[Notice]) -> Vec<NoticeKind> {
    notices.iter().map(|notice| notice.kind).collect()
}
