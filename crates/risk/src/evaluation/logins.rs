//! Logins with labels: who was somebody else? They are played to an engine of their own, and what it would have asked of each is
//! counted.
//!
//! The layout is that of the public data set of a large sign-on service (Wiefling et al., "Pump Up Password Security!", 2022): one
//! row for each login, with the country and the autonomous system of its address, the user agent, whether the password was right, and
//! whether the account was taken over.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use portcullis_policy::{ClientAddress, CountryCode, Device, Principal, RiskAssessment, RiskThresholds, SignalFamily};
use thiserror::Error;

use super::rates::Share;
use super::scores::Scores;
use crate::{Blame, Caller, CallerKeys, Locate, Location, Observation, Position, RiskEngine, Told};

/// One login.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// When.
    pub time: Timestamp,
    /// Whose account.
    pub user: &'a str,
    /// From where.
    pub address: IpAddr,
    /// Where that is.
    pub country: Option<CountryCode>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
    /// The place on the globe.
    pub position: Option<Position>,
    /// The software.
    pub user_agent: Option<&'a str>,
    /// The device that the credential is bound to.
    pub device: Option<&'a str>,
    /// Whether the password was right.
    pub successful: bool,
    /// What kind of intruder it was, where it was one.
    pub intruder: Option<&'static str>,
}

/// Why a row is no login.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginError {
    /// The first row does not have this column.
    #[error("there is no column `{0}`")]
    NoColumn(&'static str),
    /// The row has no readable value in this column.
    #[error("`{0}` is missing or cannot be read")]
    Bad(&'static str),
}

/// Where the columns of a file are.
#[derive(Debug, Clone)]
pub struct Columns {
    time: usize,
    user: usize,
    address: usize,
    country: Option<usize>,
    asn: Option<usize>,
    user_agent: Option<usize>,
    successful: Option<usize>,
    takeover: Option<usize>,
}

/// Fields of one row (RFC 4180); a quote inside a quoted field is written twice, and stays so here.
fn fields(row: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = row.trim_end_matches(['\r', '\n']);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            loop {
                let Some(quote) = quoted.get(end..).and_then(|rest| rest.find('"')) else {
                    end = quoted.len();
                    break;
                };
                end += quote;
                if quoted.get(end + 1..).is_some_and(|rest| rest.starts_with('"')) {
                    end += 2;
                } else {
                    break;
                }
            }
            fields.push(quoted.get(..end).unwrap_or(quoted));
            let after = quoted.get(end + 1..).unwrap_or("");
            match after.find(',') {
                Some(comma) => rest = after.get(comma + 1..).unwrap_or(""),
                None => return fields,
            }
        } else {
            match rest.split_once(',') {
                Some((field, more)) => {
                    fields.push(field);
                    rest = more;
                }
                None => {
                    fields.push(rest);
                    return fields;
                }
            }
        }
    }
}

impl Columns {
    /// By the names in the first row.
    ///
    /// # Errors
    /// The name of a column without which a row says nothing.
    pub fn of(first: &str) -> Result<Self, LoginError> {
        let names = fields(first.trim_start_matches('\u{feff}'));
        let find = |name: &str| names.iter().position(|each| each.trim().eq_ignore_ascii_case(name));
        let need = |name: &'static str| find(name).ok_or(LoginError::NoColumn(name));
        Ok(Self {
            time: need("Login Timestamp")?,
            user: need("User ID")?,
            address: need("IP Address")?,
            country: find("Country"),
            asn: find("ASN"),
            user_agent: find("User Agent String"),
            successful: find("Login Successful"),
            takeover: find("Is Account Takeover"),
        })
    }

    /// Reads a row.
    ///
    /// # Errors
    /// The column that cannot be read.
    pub fn login<'a>(&self, row: &'a str) -> Result<Login<'a>, LoginError> {
        let fields = fields(row);
        let at = |column: usize| fields.get(column).copied().filter(|field| !field.is_empty());
        let maybe = |column: Option<usize>| column.and_then(at);
        let truth = |column: Option<usize>| maybe(column).is_some_and(|field| matches!(field, "True" | "true" | "1"));
        let bad = LoginError::Bad;
        Ok(Login {
            time: at(self.time).and_then(time).ok_or(bad("Login Timestamp"))?,
            user: at(self.user).ok_or(bad("User ID"))?,
            address: at(self.address).and_then(|field| field.parse().ok()).ok_or(bad("IP Address"))?,
            country: maybe(self.country).and_then(CountryCode::parse),
            asn: maybe(self.asn).and_then(|field| field.parse().ok()),
            position: None,
            user_agent: maybe(self.user_agent),
            device: None,
            successful: self.successful.is_none() || truth(self.successful),
            intruder: truth(self.takeover).then_some("takeover"),
        })
    }
}

/// `2020-02-03 12:43:30.772`, in UTC, or RFC 3339.
fn time(field: &str) -> Option<Timestamp> {
    let local = || field.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    field.parse().ok().or_else(local)
}

/// Plays logins to an engine, in their order.
#[derive(Debug)]
pub struct LoginReplay<'e> {
    engine: &'e RiskEngine,
    thresholds: RiskThresholds,
    figures: LoginFigures,
}

/// What came of the logins.
#[derive(Debug, Clone, Default)]
pub struct LoginFigures {
    /// Intruders that were asked to step up or denied, by kind.
    pub intruders: BTreeMap<&'static str, Share>,
    /// Honest logins that were asked to step up.
    pub challenged: Share,
    /// Honest logins that were denied.
    pub denied: Share,
    /// The scores of honest logins.
    pub honest_scores: Scores,
    /// The scores of intruders.
    pub intruder_scores: Scores,
    /// Logins and challenges of each account.
    accounts: HashMap<Box<str>, (u32, u32)>,
    /// Rows whose password was wrong.
    pub failed: u64,
}

impl LoginFigures {
    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Accounts of so many logins or more that were never asked.
    #[must_use]
    pub fn never_asked(&self, logins_min: u32) -> Share {
        let of: Vec<u32> =
            self.accounts.values().filter(|(logins, _)| *logins >= logins_min).map(|(_, asked)| *asked).collect();
        Share { part: of.iter().filter(|asked| **asked == 0).count() as u64, whole: of.len() as u64 }
    }
}

/// Where a row says that its address is.
#[derive(Debug)]
struct Row(Location);

impl Locate for Row {
    fn locate(&self, _address: IpAddr) -> Option<Location> {
        Some(self.0)
    }
}

impl<'e> LoginReplay<'e> {
    /// Nothing played yet.
    #[must_use]
    pub fn new(engine: &'e RiskEngine, thresholds: RiskThresholds) -> Self {
        Self { engine, thresholds, figures: LoginFigures::default() }
    }

    /// What has come of all of them.
    #[must_use]
    pub fn figures(self) -> LoginFigures {
        self.figures
    }

    /// Plays one. Who is asked passes if it is honest and is learnt from; an intruder does not pass. An intruder that is not noticed is
    /// learnt from like anybody, as a gateway would. A wrong password is told to the engine as one.
    pub fn play(&mut self, login: &Login<'_>) {
        let mut principal = Principal::user(login.user);
        principal.device = login.device.map(|id| Device { id: id.into(), compliant: None });
        let location = Location { country: login.country, asn: login.asn, position: login.position, missing: false };
        let row = Row(location);
        let known = login.country.is_some() || login.asn.is_some();
        let caller = Caller {
            user_agent: login.user_agent,
            places: known.then_some(&row as &dyn Locate),
            ..Caller::new(ClientAddress::known(login.address), Some(&principal))
        };
        if !login.successful {
            self.figures.failed += 1;
            self.fail(login);
            return;
        }
        let mut keys = self.engine.keys_of(&caller);
        let assessment = self.engine.assess(&caller, &mut keys, login.time).assessment;
        let asked = assessment.mnats >= self.thresholds.step_up_mnats;
        let denied = assessment.mnats >= self.thresholds.deny_mnats && assessment.has_evidence();
        self.count(login, &assessment, asked, denied);
        if !denied && (!asked || login.intruder.is_none()) {
            self.engine.learn(&caller, &keys, asked, login.time);
        }
    }

    fn fail(&self, login: &Login<'_>) {
        let observation = Observation {
            address: ClientAddress::known(login.address),
            peer: login.address,
            principal: None,
            keys: CallerKeys::default(),
            attempted: Some(login.user),
            path: "/",
            route: None,
            told: Told::default(),
            status: 401,
            reason: Some("authn.invalid"),
            blame: Blame::Caller,
            upstream: false,
        };
        self.engine.observe(&observation, login.time);
    }

    fn count(&mut self, login: &Login<'_>, assessment: &RiskAssessment, asked: bool, denied: bool) {
        debug_assert!(!denied || assessment.signals.iter().any(|signal| signal.family == SignalFamily::Evidence));
        let figures = &mut self.figures;
        let one = |part: bool| Share { part: u64::from(part), whole: 1 };
        if let Some(kind) = login.intruder {
            *figures.intruders.entry(kind).or_default() += one(asked);
            figures.intruder_scores.add(assessment.mnats);
            return;
        }
        figures.challenged += one(asked && !denied);
        figures.denied += one(denied);
        figures.honest_scores.add(assessment.mnats);
        if let Some((logins, challenges)) = figures.accounts.get_mut(login.user) {
            *logins += 1;
            *challenges += u32::from(asked);
        } else {
            figures.accounts.insert(login.user.into(), (1, u32::from(asked)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::engine_of;
    use crate::settings::Settings;

    const FIRST: &str = "index,Login Timestamp,User ID,Round-Trip Time [ms],IP Address,Country,Region,City,ASN,\
        User Agent String,Browser Name and Version,OS Name and Version,Device Type,Login Successful,Is Attack IP,\
        Is Account Takeover";

    fn row(
        time: &str,
        address: &str,
        country: &str,
        asn: u32,
        agent: &str,
        successful: &str,
        takeover: &str,
    ) -> String {
        format!("0,{time},-43,,{address},{country},-,-,{asn},\"{agent}\",b,o,mobile,{successful},False,{takeover}")
    }

    #[test]
    fn a_row_is_read_as_the_data_set_writes_it() {
        let columns = Columns::of(FIRST).unwrap();
        let text =
            row("2020-02-03 12:43:30.772", "10.0.65.171", "NO", 29_695, "Mozilla/5.0 (X, \"\"Y\"\")", "True", "False");
        let login = columns.login(&text).unwrap();
        assert_eq!(login.time, "2020-02-03T12:43:30.772Z".parse().unwrap());
        assert_eq!((login.user, login.asn, login.successful, login.intruder), ("-43", Some(29_695), true, None));
        assert_eq!(login.country, CountryCode::parse("NO"));
        assert_eq!(login.user_agent, Some("Mozilla/5.0 (X, \"\"Y\"\")"));
        let check = |row: &str, column: &'static str| {
            assert_eq!(columns.login(row).err(), Some(LoginError::Bad(column)), "{row}");
        };
        check("", "Login Timestamp");
        check("0,yesterday,-43", "Login Timestamp");
        check("0,2020-02-03 12:43:30", "User ID");
        check("0,2020-02-03 12:43:30,-43,,nowhere", "IP Address");
        assert_eq!(Columns::of("User ID,IP Address").err(), Some(LoginError::NoColumn("Login Timestamp")));
        assert_eq!(fields("a,,\"b\"\"c,d\",\"\""), ["a", "", "b\"\"c,d", ""]);
        assert_eq!(fields("\"open"), ["open"]);
    }

    #[test]
    fn takeovers_are_found_and_honest_logins_counted() {
        let engine = engine_of(Settings::default());
        let thresholds = RiskThresholds { step_up_mnats: 2_000, deny_mnats: 4_000 };
        let mut replay = LoginReplay::new(&engine, thresholds);
        let columns = Columns::of(FIRST).unwrap();
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
        for day in 1..=20 {
            let text = row(&format!("2020-02-{day:02} 08:00:00"), "192.0.2.7", "NO", 64_500, firefox, "True", "False");
            replay.play(&columns.login(&text).unwrap());
        }
        let wrong = row("2020-02-21 08:00:00", "198.51.100.7", "US", 64_501, "curl/8", "False", "False");
        replay.play(&columns.login(&wrong).unwrap());
        let taken = row("2020-02-21 09:00:00", "198.51.100.7", "US", 64_501, "curl/8", "True", "True");
        replay.play(&columns.login(&taken).unwrap());
        let figures = replay.figures();
        assert_eq!(figures.intruders["takeover"], Share { part: 1, whole: 1 });
        assert_eq!((figures.challenged, figures.denied), (Share { part: 0, whole: 20 }, Share { part: 0, whole: 20 }));
        assert_eq!((figures.accounts(), figures.failed), (1, 1));
        assert_eq!(figures.never_asked(12), Share { part: 1, whole: 1 });
        assert_eq!(figures.intruder_scores.share_from(2_000), Share { part: 1, whole: 1 });
    }
}
