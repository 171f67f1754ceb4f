//! What has changed lately: the suspects.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::Policy;

use crate::spike::fix;
use serde::{Deserialize, Serialize};

/// A change of what decides.
#[derive(Debug, Clone)]
pub struct RecentChange {
    /// When it came into force.
    pub at: Timestamp,
    /// What changed.
    pub kind: ChangeKind,
    /// The policy in force with this undone and nothing else that came with it; of what cannot be undone on requests that were made, the one that
    /// came.
    pub before: Arc<Policy>,
    /// The policy that was in force until then, where something else came at the same moment: with all of it undone.
    pub together: Option<Arc<Policy>>,
    /// The one that came.
    pub after: Arc<Policy>,
    /// What it is about, in a few words, where that is more than the policies say: a version of the program, the name of a list. Else empty.
    pub about: String,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The policy.
    Policy,
    /// `[[route]]` around the same policy.
    Routes,
    /// Something else of the configuration around it.
    Configuration,
    /// The thresholds of risk, which were worked out from good traffic.
    Calibration,
    /// `[identity]`, or a file by which callers are known. What a credential said under the one before is not known: it cannot be undone on requests
    /// that were made.
    Identity,
    /// `[client_address]`: whose word about addresses is believed. Which address another word would have given is not known either.
    ClientAddress,
    /// Keys that an identity provider does not have any more. What was signed with them cannot be verified again.
    Keys,
    /// The process began anew, perhaps with another version of the program: none of the one before decides any more.
    Start,
    /// A version decides for some callers, that is rolled out.
    Rollout,
    /// The list of a network that keeps itself current.
    Feed,
}

impl RecentChange {
    /// What it is, the same in each report of a spike.
    pub(super) fn name(&self) -> String {
        let (at, after) = (self.at, fix::short(&self.after));
        match self.kind {
            ChangeKind::Policy => format!("policy {after} of {at:.0}"),
            ChangeKind::Routes => format!("routes of {at:.0}"),
            ChangeKind::Configuration => format!("configuration of {at:.0}"),
            ChangeKind::Calibration => {
                let id = self.after.calibration().map_or("none", |id| id);
                format!("calibration {id} of {at:.0}")
            }
            ChangeKind::Identity => format!("identity of {at:.0}"),
            ChangeKind::ClientAddress => format!("client_address of {at:.0}"),
            ChangeKind::Keys => format!("keys of {at:.0}"),
            ChangeKind::Start => format!("start of {at:.0}"),
            ChangeKind::Rollout => format!("rollout of policy {after} since {at:.0}"),
            ChangeKind::Feed if self.about.is_empty() => format!("list of {at:.0}"),
            ChangeKind::Feed => format!("list of {} of {at:.0}", self.about),
        }
    }

    /// All that came at the same moment as one change; `None`: nothing else did.
    pub(super) fn whole(&self) -> Option<Self> {
        let before = Arc::clone(self.together.as_ref()?);
        Some(Self { before, together: None, ..self.clone() })
    }
}

impl ChangeKind {
    /// What it is, in a few words.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Policy => "another policy",
            Self::Routes => "other routes",
            Self::Configuration => "another configuration around the policy",
            Self::Calibration => "another calibration of the risk",
            Self::Identity => "another `[identity]`",
            Self::ClientAddress => "another `[client_address]`",
            Self::Keys => "other keys",
            Self::Start => "a start",
            Self::Rollout => "a version that is rolled out",
            Self::Feed => "another list of a network",
        }
    }

    /// Whether requests that were made can be decided on with it undone.
    pub fn is_replayed(self) -> bool {
        match self {
            Self::Policy | Self::Routes | Self::Configuration | Self::Calibration | Self::Rollout | Self::Feed => true,
            Self::Identity | Self::ClientAddress | Self::Keys | Self::Start => false,
        }
    }
}

/// How an earlier policy comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Versions {
    /// Nobody keeps it: its files are put back by hand.
    #[default]
    NotKept,
    /// By its number.
    Kept,
    /// Likewise, and once that is approved.
    Approved,
}

/// The last changes, the oldest first.
///
/// Lists change by themselves, and whoever has a say in one can have it change often: so that this makes nobody forget what somebody changed, each
/// has room of its own, and two changes of lists become one before either is forgotten.
#[derive(Debug, Clone, Default)]
pub struct ChangeLog {
    changes: Vec<RecentChange>,
    forgotten: u64,
}

/// What is said of a list beside its name of which several changes became one: none of them can be undone alone.
pub(super) const MORE_THAN_ONCE: &str = " (more than once)";

/// So many changes are kept of lists, and as many of all else.
const MOST: usize = 8;

impl ChangeLog {
    /// Notes what came into force.
    pub fn note(&mut self, change: RecentChange) {
        let is_feed = change.kind == ChangeKind::Feed;
        self.changes.push(change);
        if self.changes.iter().filter(|one| (one.kind == ChangeKind::Feed) == is_feed).count() <= MOST {
            return;
        }
        if is_feed && self.merge() {
            return;
        }
        if let Some(oldest) = self.changes.iter().position(|one| (one.kind == ChangeKind::Feed) == is_feed) {
            self.changes.remove(oldest);
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    /// Makes one change of the oldest two of lists that nothing else came between. It is as old as the first of them, so that it is a suspect of all
    /// that either is; undone are both.
    fn merge(&mut self) -> bool {
        let both = |pair: &[RecentChange]| pair.iter().all(|one| one.kind == ChangeKind::Feed);
        let Some(index) = self.changes.windows(2).position(both) else { return false };
        let later = self.changes.remove(index + 1);
        if let Some(first) = self.changes.get_mut(index) {
            first.after = later.after;
            let name = |about: &str| about.strip_suffix(MORE_THAN_ONCE).unwrap_or(about).to_owned();
            let (one, other) = (name(&first.about), name(&later.about));
            first.about = if one == other && !one.is_empty() { one + MORE_THAN_ONCE } else { String::new() };
        }
        true
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> &[RecentChange] {
        &self.changes
    }

    /// How many there were that are not kept any more.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// What the files around the policy hold, part by part: digests, of which nothing but whether they differ is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// `[[route]]`
    pub routes: String,
    /// `[identity]`, and the files by which callers are known.
    pub identity: String,
    /// `[client_address]`
    pub client_address: String,
    /// All other tables.
    pub others: String,
}

/// What is in force, as far as it can be a suspect.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The one that decides for some callers, while one is rolled out.
    pub staged: Option<Arc<Policy>>,
    /// Another number: the configuration was read anew.
    pub reading: usize,
    /// What was read around the policy.
    pub parts: Parts,
    /// The calibration that was put in force last, by its id, whatever the policy says of it.
    pub put: Option<Arc<str>>,
}

impl InForce {
    /// What has changed in place of that until `at`, each once, and each undone alone: all else is left as it is now, so that of several that come at the
    /// same moment the right one is told, with a way back that helps.
    ///
    /// Some cannot be undone one by one. Routes and what else is around a policy are compiled with it: of what was read anew they are undone with the
    /// policy, or with one another, and so are a list whose source or fixed addresses have changed, too, and a calibration that came by the policy's
    /// own word. Where a policy would have more prefixes than it may with the lists of the other one, all lists are undone with it.
    pub fn changes_from(&self, before: &Self, at: Timestamp) -> Vec<RecentChange> {
        let (then, now) = (&before.policy, &self.policy);
        let is_read_anew = self.reading != before.reading;
        let is_other_policy = then.sha256() != now.sha256();
        let around = |part: fn(&Parts) -> &String| is_read_anew && part(&self.parts) != part(&before.parts);
        let mut kinds = Vec::new();
        let mut note = |differs: bool, kind: ChangeKind| kinds.extend(differs.then_some(kind));
        note(is_other_policy, ChangeKind::Policy);
        // Of those that are undone at once the last is told: routes are what a policy is compiled with.
        note(!is_other_policy && around(|parts| &parts.others), ChangeKind::Configuration);
        note(!is_other_policy && around(|parts| &parts.routes), ChangeKind::Routes);
        note(around(|parts| &parts.identity), ChangeKind::Identity);
        note(around(|parts| &parts.client_address), ChangeKind::ClientAddress);
        let by_the_policy = is_other_policy && self.put == before.put;
        let is_calibrated_anew = then.calibration() != now.calibration() && !by_the_policy;
        note(is_calibrated_anew, ChangeKind::Calibration);
        let lists = now.lists_other_than(then).join(", ");
        let undone = Undone::of(then, now, (is_read_anew || is_other_policy, is_calibrated_anew, !lists.is_empty()));
        note(undone.lists.is_some(), ChangeKind::Feed);
        let is_one_of_several = kinds.iter().filter(|kind| kind.is_replayed()).count() > 1;
        let change = |kind: ChangeKind| {
            let (before, about) = match kind {
                ChangeKind::Policy | ChangeKind::Configuration | ChangeKind::Routes => (&undone.files, ""),
                ChangeKind::Calibration => (&undone.calibration, ""),
                ChangeKind::Feed => (&undone.lists, &*lists),
                ChangeKind::Identity
                | ChangeKind::ClientAddress
                | ChangeKind::Keys
                | ChangeKind::Start
                | ChangeKind::Rollout => (&None, ""),
            };
            let together = (is_one_of_several && kind.is_replayed()).then(|| Arc::clone(then));
            let before = Arc::clone(before.as_ref().unwrap_or(now));
            RecentChange { at, kind, before, together, after: Arc::clone(now), about: about.to_owned() }
        };
        let mut changes: Vec<RecentChange> = kinds.into_iter().map(change).collect();
        if let Some(staged) = self.staged.as_ref().filter(|_| self.stages_other_than(before)) {
            let (before, after, kind) = (Arc::clone(now), Arc::clone(staged), ChangeKind::Rollout);
            changes.push(RecentChange { at, kind, before, together: None, after, about: String::new() });
        }
        changes
    }

    /// Whether another version is being rolled out.
    fn stages_other_than(&self, before: &Self) -> bool {
        let hash = |staged: &Option<Arc<Policy>>| staged.as_ref().map(|policy| policy.sha256().to_owned());
        self.staged.is_some() && hash(&self.staged) != hash(&before.staged)
    }
}

/// The policy in force with one part undone each, of those that have changed.
#[derive(Debug, Default)]
struct Undone {
    files: Option<Arc<Policy>>,
    calibration: Option<Arc<Policy>>,
    lists: Option<Arc<Policy>>,
}

impl Undone {
    /// Of what was read anew, of the calibration, and of the lists, where each has changed. An index of networks is built anew only where it must be.
    fn of(then: &Arc<Policy>, now: &Arc<Policy>, (files, calibration, lists): (bool, bool, bool)) -> Self {
        let calibrated = |policy: Arc<Policy>| match calibration {
            true => Arc::new(policy.with_calibration_of(now)),
            false => policy,
        };
        let mut undone = Self::default();
        if calibration {
            undone.calibration = Some(Arc::new(now.with_calibration_of(then)));
        }
        match (files, lists) {
            (false, false) => {}
            // Nothing else differs.
            (false, true) => undone.lists = Some(calibrated(Arc::clone(then))),
            (true, false) => undone.files = Some(calibrated(Arc::clone(then))),
            (true, true) => match (then.with_lists_of(now), now.with_lists_of(then)) {
                (Ok(files), Ok(lists)) => {
                    undone.files = Some(calibrated(Arc::new(files)));
                    undone.lists = Some(Arc::new(lists));
                }
                (Err(_), _) | (_, Err(_)) => undone.files = Some(calibrated(Arc::clone(then))),
            },
        }
        undone
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{Listed, NetworkDraft, PolicyDraft, RiskThresholds};

    use super::*;

    fn policy(sha256: &str) -> Arc<Policy> {
        let draft = PolicyDraft { sha256: sha256.into(), ..PolicyDraft::default() };
        Arc::new(Policy::compile(&draft).unwrap().0)
    }

    fn in_force(policy: &Arc<Policy>, reading: usize) -> InForce {
        InForce { policy: Arc::clone(policy), staged: None, reading, parts: Parts::default(), put: None }
    }

    /// One with a network that may have a list.
    fn networked(sha256: &str) -> Arc<Policy> {
        let network = NetworkDraft { name: "partner".to_owned().into(), ..NetworkDraft::default() };
        let draft = PolicyDraft {
            sha256: sha256.into(),
            networks: vec![network],
            keep_prefixes: true,
            ..PolicyDraft::default()
        };
        Arc::new(Policy::compile(&draft).unwrap().0)
    }

    fn kinds(now: &InForce, before: &InForce) -> Vec<ChangeKind> {
        now.changes_from(before, Timestamp::UNIX_EPOCH).iter().map(|change| change.kind).collect()
    }

    #[test]
    fn what_has_changed_is_told_by_what_is_in_force() {
        let [one, other] = ["aa", "bb"].map(policy);
        let calibrated = |policy: &Policy, id: &str, step_up_mnats: i32| {
            let thresholds = RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
            Arc::new(policy.with_calibration(Some((id.into(), [Some(thresholds); 3]))))
        };
        let again = Arc::new(Policy::clone(&one));
        let listed = |policy: &Policy, sha256: &str| {
            let list = Listed { origin: "source".into(), sha256: Some(sha256.into()) };
            Arc::new(policy.clone().listing([("partner", Some(list))]))
        };
        let (fresh, stale) = (listed(&networked("aa"), "1"), listed(&networked("aa"), "2"));
        let (first, second) = (calibrated(&one, "c1-00000000", 1_000), calibrated(&one, "c2-00000000", 3_000));
        let check = |before: &Arc<Policy>, after: &Arc<Policy>, readings: [usize; 2], expected: &[ChangeKind]| {
            let [before, after] = [in_force(before, readings[0]), in_force(after, readings[1])];
            assert_eq!(kinds(&after, &before), expected);
        };
        check(&one, &one, [1, 2], &[]);
        check(&one, &other, [1, 2], &[ChangeKind::Policy]);
        check(&one, &other, [1, 1], &[ChangeKind::Policy]);
        check(&fresh, &stale, [1, 1], &[ChangeKind::Feed]);
        check(&fresh, &stale, [1, 2], &[ChangeKind::Feed]);
        check(&fresh, &listed(&networked("bb"), "2"), [1, 2], &[ChangeKind::Policy, ChangeKind::Feed]);
        // What is the same all over is no change.
        check(&one, &again, [1, 1], &[]);
        check(&one, &again, [1, 2], &[]);
        check(&one, &first, [1, 1], &[ChangeKind::Calibration]);
        check(&first, &second, [1, 1], &[ChangeKind::Calibration]);
        check(&second, &one, [1, 1], &[ChangeKind::Calibration]);
        check(&first, &calibrated(&other, "c1-00000000", 1_000), [1, 1], &[ChangeKind::Policy]);
    }

    /// What is around the policy is told by its part.
    #[test]
    fn what_was_read_anew_around_the_policy_is_told_by_its_part() {
        let [one, other] = ["aa", "bb"].map(policy);
        let again = Arc::new(Policy::clone(&one));
        let check = |after: &Arc<Policy>, edit: fn(&mut Parts), expected: &[ChangeKind]| {
            let before = in_force(&one, 1);
            let mut now = in_force(after, 2);
            edit(&mut now.parts);
            assert_eq!(kinds(&now, &before), expected);
        };
        check(&again, |parts| parts.routes = "r".to_owned(), &[ChangeKind::Routes]);
        check(&again, |parts| parts.others = "o".to_owned(), &[ChangeKind::Configuration]);
        check(&again, |parts| parts.identity = "i".to_owned(), &[ChangeKind::Identity]);
        check(&again, |parts| parts.client_address = "c".to_owned(), &[ChangeKind::ClientAddress]);
        let all = |parts: &mut Parts| {
            *parts = Parts { routes: "r".into(), identity: "i".into(), client_address: "c".into(), others: "o".into() };
        };
        let around = [ChangeKind::Identity, ChangeKind::ClientAddress];
        check(&again, all, &[[ChangeKind::Configuration, ChangeKind::Routes], around].concat());
        check(&other, all, &[&[ChangeKind::Policy][..], &around].concat());
    }

    #[test]
    fn a_version_that_is_rolled_out_is_told_once() {
        let [one, other] = ["aa", "bb"].map(policy);
        let staged = |staged: Option<&Arc<Policy>>| InForce { staged: staged.cloned(), ..in_force(&one, 1) };
        let check = |before: Option<&Arc<Policy>>, after: Option<&Arc<Policy>>, expected: bool| {
            assert_eq!(staged(after).stages_other_than(&staged(before)), expected);
        };
        check(None, Some(&other), true);
        // With other lists of networks it is the same version.
        check(Some(&other), Some(&Arc::new(Policy::clone(&other))), false);
        check(Some(&other), None, false);
        check(Some(&other), Some(&policy("cc")), true);
    }

    /// Somebody may have a list change each second: what people changed stays a suspect, and no change of a list is lost either.
    #[test]
    fn lists_that_change_all_the_time_make_nobody_forget_what_else_changed() {
        let mut log = ChangeLog::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let policies: Vec<Arc<Policy>> = (0..200).map(|number| policy(&format!("{number:02x}"))).collect();
        let note = |log: &mut ChangeLog, second: usize, kind: ChangeKind| {
            let [before, after] = [second, second + 1].map(|index| Arc::clone(&policies[index]));
            let at = at(i64::try_from(second).unwrap());
            log.note(RecentChange { at, kind, before, together: None, after, about: String::new() });
        };
        note(&mut log, 0, ChangeKind::Policy);
        (1..60).for_each(|second| note(&mut log, second, ChangeKind::Feed));
        note(&mut log, 60, ChangeKind::Rollout);
        (61..120).for_each(|second| note(&mut log, second, ChangeKind::Feed));
        let kinds: Vec<ChangeKind> = log.all().iter().map(|one| one.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == ChangeKind::Feed).count(), MOST);
        assert!(kinds.contains(&ChangeKind::Policy) && kinds.contains(&ChangeKind::Rollout), "{kinds:?}");
        assert_eq!(log.forgotten(), 0);
        // Each begins with what the one before it came to: nothing is missing in between.
        assert!(log.all().windows(2).all(|pair| Arc::ptr_eq(&pair[0].after, &pair[1].before)));
        // Of what people change, and of lists with something between each two, the oldest go.
        let mut log = ChangeLog::default();
        (0..40).for_each(|second| {
            note(&mut log, second, if second % 2 == 0 { ChangeKind::Policy } else { ChangeKind::Feed });
        });
        assert_eq!((log.all().len(), log.forgotten()), (2 * MOST, 24));
        assert!(log.all().iter().all(|one| one.at >= at(24)));
    }
}
