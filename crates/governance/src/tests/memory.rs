//! A log in memory, a head in memory, a reader of contents that are two lines of text, and people with keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use crate::*;

/// What would be on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) versions: Vec<(Hash, Vec<u8>)>,
    pub(crate) blobs: BTreeMap<Hash, Vec<u8>>,
    pub(crate) changes: BTreeMap<ChangeId, StoredChange>,
    pub(crate) head: Option<Head>,
    pub(crate) revoked: RevokedKeys,
    pub(crate) rollout: Option<Vec<u8>>,
    pub(crate) steps: Option<Steps>,
    pub(crate) heard: Option<Heard>,
    /// Something else is in its place.
    pub(crate) heard_damaged: bool,
    /// The clock; `None`: it is late, and nothing is of a time to come.
    pub(crate) clock: Option<Timestamp>,
    /// Writes so far.
    pub(crate) writes: usize,
    /// Writes that work; all after that fail. `None`: all work.
    pub(crate) working: Option<usize>,
    /// The first that fails is done all the same: the process ends before it hears of it.
    pub(crate) done_unheard: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// The same content on another disk.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.disk().clone())))
    }

    pub(crate) fn open(&self) -> Result<(Governor, Vec<String>), GovernanceError> {
        self.open_as(None)
    }

    pub(crate) fn open_as(&self, pinned: Option<Option<Hash>>) -> Result<(Governor, Vec<String>), GovernanceError> {
        Governor::open(Box::new(self.clone()), Box::new(self.clone()), Box::new(Lines), pinned)
    }

    pub(crate) fn finish_beginning(&self, second: i64) -> Result<(), GovernanceError> {
        Governor::finish_beginning(self, &mut self.clone(), at(second))
    }

    fn step(&self, change: impl FnOnce(&mut Disk)) -> Result<(), LedgerError> {
        let mut disk = self.disk();
        let working = disk.working.is_none_or(|working| disk.writes < working);
        let unheard = disk.done_unheard && disk.working == Some(disk.writes);
        disk.writes += 1;
        if working || unheard {
            change(&mut disk);
        }
        if working { Ok(()) } else { Err(LedgerError::Failed("the disk is gone".to_owned())) }
    }
}

impl Ledger for Shared {
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        let disk = self.disk();
        Ok(disk.versions.last().map(|(_, record)| (disk.versions.len() as u64, record.clone())))
    }

    fn record(&self, n: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let index = usize::try_from(n).unwrap().checked_sub(1);
        Ok(index.and_then(|index| self.disk().versions.get(index).map(|(_, record)| record.clone())))
    }

    fn blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.disk().blobs.get(&hash).cloned())
    }

    fn append(&mut self, version: NewVersion<'_>, blobs: &[(Hash, &[u8])]) -> Result<(), LedgerError> {
        if self.disk().versions.len() as u64 + 1 != version.n {
            return Err(LedgerError::Conflict);
        }
        self.step(|disk| {
            disk.versions.push((version.hash, version.record.to_vec()));
            disk.rollout = version.rollout.map(<[u8]>::to_vec);
            disk.blobs.extend(blobs.iter().map(|(hash, bytes)| (*hash, bytes.to_vec())));
            if let Some(change) = version.done.and_then(|id| disk.changes.get_mut(&id)) {
                change.state = ChangeState::Activated;
            }
        })
    }

    fn propose(
        &mut self,
        id: ChangeId,
        record: &[u8],
        _: [Hash; 3],
        blobs: &[(Hash, &[u8])],
    ) -> Result<(), LedgerError> {
        self.step(|disk| {
            let stored = StoredChange { record: record.to_vec(), state: ChangeState::Open, approvals: Vec::new() };
            disk.changes.insert(id, stored);
            disk.blobs.extend(blobs.iter().map(|(hash, bytes)| (*hash, bytes.to_vec())));
        })
    }

    fn changes(&self) -> Result<Vec<(ChangeId, StoredChange)>, LedgerError> {
        Ok(self.disk().changes.iter().map(|(id, change)| (*id, change.clone())).collect())
    }

    fn add_approval(&mut self, id: ChangeId, _: PublicKey, record: &[u8]) -> Result<(), LedgerError> {
        // It takes even the same key twice: the count must not.
        self.step(|disk| disk.changes.get_mut(&id).unwrap().approvals.push(record.to_vec()))
    }

    fn close(&mut self, id: ChangeId, state: ChangeState) -> Result<(), LedgerError> {
        self.step(|disk| disk.changes.get_mut(&id).unwrap().state = state)
    }

    fn rollout(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.disk().rollout.clone())
    }

    fn set_rollout(&mut self, known: Option<&[u8]>, record: Option<&[u8]>) -> Result<(), LedgerError> {
        if self.disk().rollout.as_deref() != known {
            return Err(LedgerError::Overtaken);
        }
        self.step(|disk| disk.rollout = record.map(<[u8]>::to_vec))
    }
}

impl HeadPlace for Shared {
    fn read(&self) -> Result<Option<Head>, GovernanceError> {
        Ok(self.disk().head)
    }

    fn write(&mut self, head: Head) -> Result<(), GovernanceError> {
        Ok(self.step(|disk| disk.head = Some(head))?)
    }

    fn revoked(&self) -> Result<RevokedKeys, GovernanceError> {
        Ok(self.disk().revoked.clone())
    }

    fn revoke(&mut self, keys: &RevokedKeys) -> Result<(), GovernanceError> {
        Ok(self.step(|disk| disk.revoked = keys.clone())?)
    }

    fn steps(&self) -> Result<Option<Steps>, GovernanceError> {
        Ok(self.disk().steps)
    }

    fn steps_written(&self) -> Option<Timestamp> {
        None
    }

    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError> {
        Ok(self.step(|disk| disk.steps = Some(steps))?)
    }

    fn heard(&self) -> Result<Option<Heard>, GovernanceError> {
        match self.disk() {
            disk if disk.heard_damaged => Err(GovernanceError::HeardDamaged { path: "store.recovery".into() }),
            disk => Ok(disk.heard),
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), GovernanceError> {
        Ok(self.step(|disk| (disk.heard, disk.heard_damaged) = (Some(heard), false))?)
    }

    fn now(&self) -> Timestamp {
        self.disk().clock.unwrap_or_else(|| at(86_400 * 10_000))
    }
}

/// A content is a file `level`, a number: the higher, the more is let in; a file `rules`, "required tighten loosen keys"; and `ops`, of which
/// nothing is governed.
#[derive(Debug)]
pub(crate) struct Lines;

pub(crate) fn content(level: u32, rules: &str) -> Content {
    let files = [("level", level.to_string()), ("rules", rules.to_owned())];
    Content { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect() }
}

fn text<'c>(content: &'c Content, name: &str) -> &'c str {
    content.files.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

impl PolicySource for Lines {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let level = text(content, "level");
        level.parse::<u32>().map_err(|error| error.to_string())?;
        let numbers: Vec<u8> = text(content, "rules").split(' ').map(|word| word.parse().unwrap()).collect();
        let [required, tighten, loosen, keys] = numbers[..] else { return Err("rules".to_owned()) };
        let rules = Rules { required: required == 1, tighten, loosen, keys, ..Rules::default() };
        let governed = Hash::of(format!("{level} {}", text(content, "rules")).as_bytes());
        Ok(Assessed { rules, governed })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        let level = |content| text(content, "level").parse::<u32>().unwrap();
        match level(after).cmp(&level(before)) {
            std::cmp::Ordering::Less => Class::Tightens,
            std::cmp::Ordering::Equal => Class::Mixed,
            std::cmp::Ordering::Greater => Class::Loosens,
        }
    }
}

pub(crate) const REQUIRED: &str = "1 1 2 2";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn wish(content: Content, author: &str) -> Wish {
    Wish {
        kind: Kind::Change,
        content,
        approvers: None,
        authors: vec![author.to_owned()],
        reason: "because".to_owned(),
        ticket: String::new(),
        impact: Vec::new(),
        restores: 0,
    }
}

/// Ana, Ben, Cem and Dia: Ben has two keys, and Ana also acts as the account `unix:aw`.
pub(crate) struct People {
    pub(crate) ana: SigningKey,
    pub(crate) ben: SigningKey,
    pub(crate) ben_too: SigningKey,
    pub(crate) cem: SigningKey,
    pub(crate) dia: SigningKey,
    pub(crate) set: ApproverSet,
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate().unwrap().0
}

pub(crate) fn people() -> People {
    let (ana, ben, ben_too, cem, dia) = (key(), key(), key(), key(), key());
    let mut set = ApproverSet::default();
    set.add("ana", &["unix:aw".to_owned()], ana.public(), at(0)).unwrap();
    for (name, key) in [("ben", &ben), ("ben", &ben_too), ("cem", &cem), ("dia", &dia)] {
        set.add(name, &[], key.public(), at(0)).unwrap();
    }
    People { ana, ben, ben_too, cem, dia, set }
}

/// A gateway that is governed since version 1, at level 5.
pub(crate) fn governed(people: &People) -> (Shared, Governor) {
    let shared = Shared::default();
    let (mut governor, remarks) = shared.open().unwrap();
    assert_eq!(remarks, Vec::<String>::new());
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    let (version, trouble) = governor.begin(&begin, at(1)).unwrap();
    assert!(version.n == 1 && trouble.is_none());
    (shared, governor)
}

/// Notes it as whoever puts it in force would.
pub(crate) fn note(
    governor: &mut Governor,
    wish: &Wish,
    now: Timestamp,
) -> Result<(u64, bool, Option<GovernanceError>), GovernanceError> {
    let class = governor.live().map_or(Class::Mixed, |live| Lines.class(&live, &wish.content));
    governor.note(wish, (Lines.assess(&wish.content).unwrap(), class), now)
}

pub(crate) fn sign(governor: &Governor, change: &Change, key: &SigningKey, second: i64) -> Approval {
    Approval::sign(governor.standing().instance, change, Decision::Approve, key, at(second))
}
