//! Credentials that count no longer, whatever they say of themselves: single tokens, API keys, and all that a principal was issued until a
//! moment.
//!
//! One list for the process, which outlives reloads. While it is empty it costs a request one atomic load; else a look into a table that is
//! replaced as a whole, so that nobody waits, and every request that begins after a change sees it. What was verified before is held to it as
//! well: it is asked after the cache of tokens.
//!
//! It does not keep itself on disk: who changes it writes the change down, too, and reads all of it back at a start.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{AuthenticationMethod, CredentialProblemKind as Kind, Principal, PrincipalKind, Spelling};

use crate::binding::MAX_ID_BYTES;
use crate::claims::MAX_TEXT_BYTES;
use crate::refusal::{Refusal, excerpt};

/// How many there can be at once: of tokens, and apart from them of keys and principals. So nobody who revokes many tokens takes the place of what ends all that somebody has.
pub const MOST: usize = 50_000;

/// How far the clock of an issuer may be ahead.
pub const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// What has ended is forgotten so much later, where there is room.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// The longest id of a principal, in bytes: that of its issuer, behind a provider's prefix.
const MAX_PRINCIPAL_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 128;

/// What counts no longer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Tokens with this `jti`, of whatever issuer.
    Token(Box<str>),
    /// The API key with this id.
    Key(Box<str>),
    /// All that this principal was issued until a moment, and what does not say when it was issued.
    Principal(PrincipalKind, Box<str>),
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Of what.
    pub what: Revoked,
    /// Of a principal: what was issued later counts. Of the others it says nothing.
    pub before: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends, where it does: what it is about has expired by then.
    pub until: Option<Timestamp>,
    /// Why, for the operator.
    pub reason: Box<str>,
}

/// Why something is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// There are as many as there may be.
    #[error("{MOST} {0} are revoked, and there is no room for another: {1}")]
    Full(&'static str, &'static str),
}

/// All of them.
#[derive(Debug, Default)]
pub struct Revocations {
    count: AtomicUsize,
    table: ArcSwap<Table>,
    /// How the ids of principals are compared: all that are here have that form.
    spelling: ArcSwap<Spelling>,
}

/// One map for each kind, so that a request looks a name up without a copy of it.
#[derive(Debug, Clone, Default)]
struct Table([HashMap<Box<str>, Arc<Revocation>>; KINDS]);

/// Tokens, keys, and the kinds of principals that can be revoked.
const KINDS: usize = 5;

/// The place of a kind, and the name there.
type Place<'n> = (usize, &'n str);

const TOKENS: usize = 0;
const KEYS: usize = 1;

/// Where principals of this kind are.
fn place_of(kind: PrincipalKind) -> usize {
    match kind {
        PrincipalKind::User => 2,
        PrincipalKind::Service => 3,
        PrincipalKind::Certificate => 4,
    }
}

impl Table {
    fn get(&self, (kind, name): Place<'_>) -> Option<&Arc<Revocation>> {
        self.0.get(kind)?.get(name)
    }

    fn insert(&mut self, revocation: Arc<Revocation>) {
        let (kind, name) = revocation.what.place();
        let name = Box::from(name);
        if let Some(names) = self.0.get_mut(kind) {
            names.insert(name, revocation);
        }
    }

    /// The same, and no milder than what is in force of it: the later moment and the later end stay.
    fn stricter(&self, new: Arc<Revocation>, now: Timestamp) -> Arc<Revocation> {
        let Some(before) = self.get(new.what.place()).filter(|before| !before.is_over(now)) else { return new };
        let until = new.until.zip(before.until).map(|(one, other)| one.max(other));
        Arc::new(Revocation { before: new.before.max(before.before), until, ..Revocation::clone(&new) })
    }

    /// Beside what is there of it: the stricter of both, whatever the time.
    fn join(&mut self, new: Arc<Revocation>) {
        let both = self.get(new.what.place()).map(|there| {
            let until = new.until.zip(there.until).map(|(one, other)| one.max(other));
            Arc::new(Revocation { before: new.before.max(there.before), until, ..Revocation::clone(&new) })
        });
        self.insert(both.unwrap_or(new));
    }

    fn remove(&mut self, (kind, name): Place<'_>) -> bool {
        self.0.get_mut(kind).is_some_and(|names| names.remove(name).is_some())
    }

    fn retain(&mut self, keeps: impl Fn(&Revocation) -> bool) {
        self.0.iter_mut().for_each(|names| names.retain(|_, each| keeps(each)));
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Revocation>> {
        self.0.iter().flat_map(HashMap::values)
    }

    fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }

    /// Those that share a bound with this kind.
    fn beside(&self, kind: usize) -> impl Iterator<Item = &Arc<Revocation>> {
        let shares = move |other: usize| (other == TOKENS) == (kind == TOKENS);
        self.0.iter().enumerate().filter(move |(other, _)| shares(*other)).flat_map(|(_, names)| names.values())
    }

    fn has_room(&self, (kind, name): Place<'_>, now: Timestamp) -> bool {
        self.get((kind, name)).is_some()
            || self.beside(kind).count() < MOST
            || self.beside(kind).filter(|each| !each.is_over(now)).count() < MOST
    }
}

impl Revoked {
    /// Reads what an operator writes: `token`, `key` or `principal`, and its name.
    pub fn parse(what: &str, name: &str) -> Option<Self> {
        match what {
            "token" if !name.is_empty() && name.len() <= MAX_ID_BYTES => Some(Self::Token(name.into())),
            "key" if crate::api_key::is_key_id(name) => Some(Self::Key(name.into())),
            "principal" => {
                let (kind, id) = name.split_once(':')?;
                let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
                let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
                let sound = !id.is_empty() && id.len() <= MAX_PRINCIPAL_BYTES && !id.chars().any(char::is_control);
                sound.then(|| Self::Principal(kind, id.into()))
            }
            _ => None,
        }
    }

    fn no_room(&self) -> RevokeError {
        match self {
            Self::Token(_) => {
                RevokeError::Full("tokens", "revoke the principal, which ends all of its tokens, or lift some")
            }
            Self::Key(_) | Self::Principal(..) => RevokeError::Full("keys and principals", "lift some"),
        }
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Token(name) => (TOKENS, name),
            Self::Key(name) => (KEYS, name),
            Self::Principal(kind, id) => (place_of(*kind), id),
        }
    }

    /// The same, a principal's id as it is compared.
    #[must_use]
    pub fn spelled(self, spelling: &Spelling) -> Self {
        match self {
            Self::Principal(kind, id) => Self::Principal(kind, spelling.id(kind, &id).into()),
            Self::Token(_) | Self::Key(_) => self,
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Key(_) => "key",
            Self::Principal(..) => "principal",
        }
    }

    /// Its name, as an operator writes it.
    pub fn name(&self) -> String {
        match self {
            Self::Token(name) | Self::Key(name) => name.to_string(),
            Self::Principal(kind, id) => format!("{}:{id}", kind.as_str()),
        }
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind(), self.name().escape_debug())
    }
}

impl Revocation {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// It ended so long ago that it is forgotten. Until then a clock that jumped ahead and is set back has cost nothing.
    fn is_past(&self, now: Timestamp) -> bool {
        now.checked_sub(REMEMBERED).is_ok_and(|then| self.is_over(then))
    }
}

impl Revocations {
    /// All that are in force, the last first.
    pub fn list(&self, now: Timestamp) -> Vec<Arc<Revocation>> {
        let mut all: Vec<_> = self.table.load().all().filter(|each| !each.is_over(now)).cloned().collect();
        all.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| a.what.name().cmp(&b.what.name())));
        all
    }

    /// How many there are, those that are over and not forgotten yet included.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one of this, if it is in force.
    pub fn find(&self, what: &Revoked, now: Timestamp) -> Option<Arc<Revocation>> {
        self.find_at(self.as_compared(what).place(), now)
    }

    fn find_at(&self, place: Place<'_>, now: Timestamp) -> Option<Arc<Revocation>> {
        self.table.load().get(place).filter(|found| !found.is_over(now)).cloned()
    }

    /// The same in the form in which it is here: a principal's id as it is compared.
    pub fn as_compared(&self, what: &Revoked) -> Revoked {
        what.clone().spelled(&self.spelling.load())
    }

    /// How the ids of principals are compared.
    pub fn spelling(&self) -> Arc<Spelling> {
        self.spelling.load_full()
    }

    /// Compares the ids of principals so from now on, also of what was revoked before: however that was spelled, it stays revoked.
    pub fn respell(&self, spelling: &Spelling) {
        if **self.spelling.load() == *spelling {
            return;
        }
        self.spelling.store(Arc::new(spelling.clone()));
        self.change(|table| {
            let mut next = Table::default();
            for each in table.all() {
                let what = each.what.clone().spelled(spelling);
                next.join(Arc::new(Revocation { what, ..Revocation::clone(each) }));
            }
            *table = next;
        });
    }

    /// Whether there is room for one of this.
    ///
    /// # Errors
    /// There is none.
    pub fn has_room(&self, what: &Revoked, now: Timestamp) -> Result<(), RevokeError> {
        let has_room = self.table.load().has_room(self.as_compared(what).place(), now);
        if has_room { Ok(()) } else { Err(what.no_room()) }
    }

    /// From now on. One of the same is replaced, and never to a milder one: a principal's later moment and the later end stay.
    ///
    /// # Errors
    /// There is no room.
    pub fn add(&self, revocation: Revocation, now: Timestamp) -> Result<Arc<Revocation>, RevokeError> {
        let what = self.as_compared(&revocation.what);
        let (mut added, mut room) = (Arc::new(Revocation { what, ..revocation }), true);
        self.change(|table| {
            table.retain(|each| !each.is_past(now));
            room = table.has_room(added.what.place(), now);
            if !room {
                return;
            }
            let (kind, _) = added.what.place();
            if table.beside(kind).count() >= MOST {
                table.retain(|each| !each.is_over(now));
            }
            added = table.stricter(Arc::clone(&added), now);
            table.insert(Arc::clone(&added));
        });
        if room { Ok(added) } else { Err(added.what.no_room()) }
    }

    /// Those that are written down, and those that could not be, and no others: read at a start, and again when another process wrote. How many are in force.
    pub fn restore(&self, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) -> usize {
        let kept = revocations.into_iter().filter(|each| !each.is_past(now));
        // Those that are over find room only beside the others.
        let (live, over): (Vec<_>, Vec<_>) = kept.partition(|each| !each.is_over(now));
        let mut table = Table::default();
        let mut left = [MOST; 2];
        for each in live.into_iter().chain(over) {
            let each = Revocation { what: self.as_compared(&each.what), ..each };
            let place = each.what.place();
            let Some(left) = left.get_mut(usize::from(place.0 == TOKENS)) else { continue };
            if table.get(place).is_none() {
                match left.checked_sub(1) {
                    Some(rest) => *left = rest,
                    None => continue,
                }
            }
            let each = table.stricter(Arc::new(each), now);
            table.insert(each);
        }
        let in_force = table.all().filter(|each| !each.is_over(now)).count();
        self.change(|all| all.clone_from(&table));
        in_force
    }

    /// It counts again. Says whether it was revoked.
    pub fn lift(&self, what: &Revoked) -> bool {
        let mut found = false;
        let what = self.as_compared(what);
        self.change(|table| found = table.remove(what.place()));
        found
    }

    fn change(&self, mut change: impl FnMut(&mut Table)) {
        self.table.rcu(|table| {
            let mut next = Table::clone(table);
            change(&mut next);
            next
        });
        // After the table: who sees a count finds what is counted.
        self.count.store(self.table.load().len(), Ordering::Release);
    }

    /// What is wrong with a token of this id.
    pub(crate) fn of_token(&self, id: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let Some(id) = id else { return Ok(()) };
        match self.find_at((TOKENS, id), now) {
            None => Ok(()),
            Some(found) => Err(refusal("the token", &found)),
        }
    }

    /// What is wrong with what a principal was verified by.
    pub(crate) fn of_principal(&self, principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let authentication = &principal.authentication;
        if authentication.method == AuthenticationMethod::ApiKey
            && let Some(id) = &authentication.key_id
            && let Some(found) = self.find_at((KEYS, id), now)
        {
            return Err(refusal(&format!("the API key {}", excerpt(id)), &found));
        }
        // What says that it will be issued says nothing: the clock of an issuer is ahead by a minute at most.
        let believable = now.saturating_add(AHEAD).unwrap_or(now);
        let counts_since = |before| authentication.issued.is_some_and(|issued| issued > before && issued <= believable);
        let spelling = self.spelling.load();
        match self.find_at((place_of(principal.kind), &spelling.id(principal.kind, &principal.id)), now) {
            Some(found) if !counts_since(found.before) => {
                let what = match authentication.issued {
                    Some(issued) => format!(
                        "the credential was issued at {issued}; what {} has until {:.0}",
                        excerpt(&principal.reference()),
                        found.before
                    ),
                    None => format!(
                        "nobody knows when the credential was issued; what {} has until {:.0}",
                        excerpt(&principal.reference()),
                        found.before
                    ),
                };
                Err(refusal(&what, &found))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn refusal(what: &str, found: &Revocation) -> Refusal {
    let detail = format!("{what} was revoked at {:.0}: {}", found.made, found.reason.escape_debug());
    Refusal::new(Kind::Revoked, detail)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use portcullis_policy::{AuthenticationMethod, Principal};

    use super::{MOST, Revocation, Revocations, RevokeError, Revoked};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn of(what: &str, name: &str, before: i64, until: Option<i64>) -> Revocation {
        let what = Revoked::parse(what, name).unwrap();
        Revocation { what, before: at(before), made: at(0), until: until.map(at), reason: "lost".into() }
    }

    fn user(issued: Option<i64>) -> Principal {
        let mut principal = Principal::user("alice");
        principal.authentication.issued = issued.map(at);
        principal
    }

    #[test]
    fn what_an_operator_writes_is_read_or_not() {
        for (what, name) in [
            ("token", "a-jti"),
            ("key", "ci-1"),
            ("principal", "user:alice"),
            ("principal", "service:a:b"),
            ("principal", "certificate:spiffe://td/x"),
        ] {
            let read = Revoked::parse(what, name).unwrap();
            assert_eq!((read.kind(), read.name().as_str()), (what, name));
        }
        for (what, name) in [
            ("token", ""),
            ("token", &*"x".repeat(257)),
            ("key", "CI"),
            ("key", ""),
            ("principal", "alice"),
            ("principal", "group:finance"),
            ("principal", "user:"),
            ("principal", "user:a\nb"),
            ("session", "x"),
        ] {
            assert_eq!(Revoked::parse(what, name), None, "{what} {name}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_id_until_the_end() {
        let all = Revocations::default();
        assert!(all.is_empty() && all.of_token(Some("a"), at(0)).is_ok());
        all.add(of("token", "a", 0, Some(60)), at(0)).unwrap();
        let told = all.of_token(Some("a"), at(59)).unwrap_err();
        assert!(told.detail.contains("revoked at") && told.detail.contains("lost"), "{}", told.detail);
        for (id, now, expected) in [(Some("a"), 60, true), (Some("b"), 0, true), (Some("A"), 0, true), (None, 0, true)]
        {
            assert_eq!(all.of_token(id, at(now)).is_ok(), expected, "{id:?} {now}");
        }
        assert!(all.lift(&Revoked::Token("a".into())) && !all.lift(&Revoked::Token("a".into())));
        assert!(all.is_empty() && all.of_token(Some("a"), at(0)).is_ok());
    }

    #[test]
    fn a_principal_is_held_to_when_it_was_issued_what_it_shows() {
        let all = Revocations::default();
        all.add(of("principal", "user:alice", 100, None), at(100)).unwrap();
        let issued = [(99, false), (100, false), (101, true), (260, true), (261, false)];
        for (issued, expected) in issued.map(|(at, counts)| (Some(at), counts)).into_iter().chain([(None, false)]) {
            assert_eq!(all.of_principal(&user(issued), at(200)).is_ok(), expected, "{issued:?}");
        }
        assert!(all.of_principal(&Principal::service("alice"), at(200)).is_ok(), "another kind is another principal");
        // A second one never makes it milder.
        all.add(of("principal", "user:alice", 50, Some(300)), at(150)).unwrap();
        assert!(all.of_principal(&user(Some(100)), at(1_000)).is_err());
        all.add(of("principal", "user:alice", 150, None), at(150)).unwrap();
        assert!(all.of_principal(&user(Some(120)), at(200)).is_err());
    }

    #[test]
    fn a_key_is_known_by_its_id_and_no_token_is_taken_for_one() {
        let all = Revocations::default();
        all.add(of("key", "ci", 0, None), at(0)).unwrap();
        let mut principal = Principal::service("ci");
        principal.authentication.key_id = Some("ci".into());
        for (method, expected) in [(AuthenticationMethod::ApiKey, false), (AuthenticationMethod::Jwt, true)] {
            principal.authentication.method = method;
            assert_eq!(all.of_principal(&principal, at(9)).is_ok(), expected);
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_back_brings_nobody_back() {
        const DAY: i64 = 86_400;
        let (all, restored) = (Revocations::default(), Revocations::default());
        all.add(of("token", "a", 0, Some(60)), at(0)).unwrap();
        restored.restore([of("token", "a", 0, Some(60))], at(DAY));
        // Somebody revokes another one while the clock is ahead.
        all.add(of("token", "b", 0, None), at(DAY)).unwrap();
        for revocations in [&all, &restored] {
            assert!(revocations.of_token(Some("a"), at(DAY)).is_ok());
            assert!(revocations.of_token(Some("a"), at(1)).is_err());
        }
        // What has ended says nothing to a new one of the same.
        let again = all.add(of("token", "a", DAY, Some(2 * DAY)), at(DAY)).unwrap();
        assert_eq!(again.until, Some(at(2 * DAY)));
        all.add(of("token", "c", 0, None), at(3 * DAY + 1)).unwrap();
        assert!(all.of_token(Some("a"), at(1)).is_ok(), "a day later it is forgotten");
    }

    #[test]
    fn it_is_bounded_and_what_is_over_makes_room() {
        let all = Revocations::default();
        let many = (0..MOST + 7).map(|number| of("token", &number.to_string(), 0, Some(60)));
        assert_eq!(all.restore(many, at(0)), MOST);
        let more = of("token", "more", 0, None);
        let told = all.has_room(&more.what, at(0)).unwrap_err().to_string();
        assert!(told.contains("50000 tokens are revoked") && told.contains("revoke the principal"), "{told}");
        assert!(all.has_room(&Revoked::Token("7".into()), at(0)).is_ok());
        assert!(matches!(all.add(more.clone(), at(0)), Err(RevokeError::Full("tokens", _))));
        assert!(all.add(of("token", "7", 0, None), at(0)).is_ok(), "it takes no further place");
        assert!(all.has_room(&more.what, at(60)).is_ok());
        assert!(all.add(more, at(60)).is_ok());
        assert_eq!(all.len(), 2);
        assert_eq!(all.list(at(60)).len(), 2);
        // What is over is not put in force again.
        assert_eq!(Revocations::default().restore([of("token", "a", 0, Some(5))], at(5)), 0);
    }

    #[test]
    fn however_many_tokens_are_revoked_a_principal_and_a_key_find_room() {
        let all = Revocations::default();
        let tokens = (0..MOST).map(|number| of("token", &number.to_string(), 0, None));
        assert_eq!(all.restore(tokens, at(0)), MOST);
        assert!(all.add(of("token", "more", 0, None), at(0)).is_err());
        for (what, name) in [("principal", "user:alice"), ("key", "ci")] {
            assert!(all.has_room(&Revoked::parse(what, name).unwrap(), at(0)).is_ok());
            assert!(all.add(of(what, name, 100, None), at(0)).is_ok(), "{what}");
        }
        assert!(all.of_principal(&user(Some(50)), at(200)).is_err());
        assert!(all.of_token(Some("0"), at(0)).is_err() && all.len() == MOST + 2, "and none gave way");
    }

    #[test]
    fn of_two_of_the_same_that_are_read_the_stricter_is_in_force() {
        let all = Revocations::default();
        let both = [of("principal", "user:alice", 50, None), of("principal", "user:alice", 90, Some(300))];
        assert_eq!(all.restore(both, at(0)), 1);
        let found = all.list(at(0)).pop().unwrap();
        assert_eq!((found.before, found.until), (at(90), None));
    }

    #[test]
    fn whoever_is_revoked_stays_so_under_any_spelling_of_an_id_that_ignores_case() {
        use portcullis_policy::{PrincipalKind, Spelling};
        let all = Revocations::default();
        let is_good = |id: &str| {
            let mut principal = Principal::user(id);
            principal.authentication.issued = Some(at(5));
            all.of_principal(&principal, at(20)).is_ok()
        };
        for (name, before) in [("user:ALICE", 3), ("user:alice", 10), ("user:Alice", 7)] {
            all.add(of("principal", name, before, None), at(11)).unwrap();
        }
        assert_eq!((is_good("ALICE"), is_good("alice"), is_good("aLICE"), is_good("bob")), (true, false, true, true));
        // What was written down before the directory was there counts, and of several the strictest.
        all.respell(&Spelling::new([(PrincipalKind::User, "", true)]));
        for id in ["ALICE", "alice", "aLICE"] {
            assert!(!is_good(id), "{id}");
        }
        assert!(is_good("bob"));
        assert_eq!(all.len(), 1);
        all.add(of("principal", "user:BOB", 10, None), at(11)).unwrap();
        assert!(!is_good("bob"));
        let bob = Revoked::parse("principal", "user:Bob").unwrap();
        assert_eq!(all.find(&bob, at(12)).unwrap().what.name(), "user:bob");
        assert!(all.lift(&bob) && is_good("BOB"));
        all.restore([of("principal", "user:Bob", 10, None)], at(11));
        assert!(!is_good("bOB") && is_good("alice"));
        assert_eq!(all.len(), 1);
    }
}
