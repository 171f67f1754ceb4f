//! What can be asked without a right to change anything: questions as `GET`, with their parameters in the query.
//!
//! Each asks what the `POST` of its name asks, so that a role of `GET /v1/**` sees versions, findings and power in force. What only somebody needs who
//! changes or signs something is left out of these answers: the files of a version, which may hold hashes of passwords, and what an approver signs.

use crate::access::Access;
use crate::api::{DiffWanted, ListQuestion, PolicyQuestion, PolicySide, SupposedFacts, SupposedRisk};
use crate::audit::AuditWanted;
use crate::backup::BackupWanted;
use crate::govern::Governed;

/// The longest part of a list that is asked for, and what is answered where nobody says how much.
pub(crate) const MOST: usize = 10_000;
/// Versions, where nobody says how many.
const VERSIONS: u64 = 20;
/// Digits of the id of a change: more than the number of any version has.
const SHORTEST_ID: usize = 8;
/// The longest query, in bytes.
const MAX_QUERY: usize = 4 << 10;

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// At most so many.
    pub(crate) limit: Option<usize>,
    /// Those that come after this one.
    pub(crate) after: Option<String>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// The bans in force.
    Bans(Page),
    /// The sessions of browsers.
    Sessions(Page),
    /// Versions and what waits.
    Governed(Governed),
    /// Power for a time.
    Access(Access, Page),
    /// Uses of API keys.
    Keys(Page),
    /// What is revoked.
    Revocations(Page),
    /// Audits.
    Audit(AuditWanted, Page),
    /// Backups.
    Backups(BackupWanted, Page),
    /// What the policy in force would decide, in short.
    Can(Box<PolicyQuestion>),
    /// The same with every check of it.
    Explain(Box<PolicyQuestion>),
    /// Who may do that.
    WhoCan(Box<PolicyQuestion>),
    /// All that somebody may do.
    List(Box<ListQuestion>),
    /// How two policies differ.
    Differ(Box<DiffWanted>),
}

/// The parameters of a question to the policy; those that may be there several times stand last.
const SUPPOSED: &[&str] = &[
    "method",
    "url",
    "ip",
    "host",
    "country",
    "compliant_device",
    "fresh_mfa",
    "authenticated_s",
    "at",
    "risk",
    "as",
    "group",
    "role",
    "activated",
];
/// Of nobody in particular.
const OF_NOBODY: usize = 10;
/// Of no request in particular.
const LISTED: &[&str] = &[
    "ip",
    "host",
    "country",
    "compliant_device",
    "fresh_mfa",
    "authenticated_s",
    "at",
    "risk",
    "as",
    "limit",
    "after",
    "group",
    "role",
    "activated",
];
/// May be there several times.
const SEVERAL: &[&str] = &["group", "role", "activated"];

/// Which question this is. `None`: none of these.
///
/// # Errors
/// A parameter that is none of its own, or cannot be read: a sentence.
pub(crate) fn question(path: &str, query: Option<&str>) -> Option<Result<Question, String>> {
    let names: &[&str] = match path {
        "/v1/bans" | "/v1/sessions" | "/v1/govern/list" | "/v1/keys" | "/v1/revocations" => &["limit", "after"],
        "/v1/govern/show" => &["n", "change"],
        "/v1/govern/verify" | "/v1/govern/approvers" => &[],
        "/v1/access/verify" | "/v1/audit/runs" | "/v1/audit/suppressions" => &[],
        "/v1/access/list" => &["all", "limit", "after"],
        "/v1/access/show" => &["id"],
        "/v1/audit/show" => &["run", "limit", "after"],
        "/v1/audit/diff" => &["from", "to"],
        "/v1/backups/list" => &["limit", "after"],
        "/v1/backups/verify" => &["name"],
        "/v1/policy/can" | "/v1/policy/explain" => SUPPOSED,
        "/v1/policy/who_can" => SUPPOSED.get(..OF_NOBODY).unwrap_or_default(),
        "/v1/policy/list" => LISTED,
        "/v1/policy/diff" => &["before", "after", "reasons", "at"],
        _ => return None,
    };
    Some(Parameters::read(query.unwrap_or_default(), names).and_then(|given| asked(path, &given)))
}

fn asked(path: &str, given: &Parameters) -> Result<Question, String> {
    Ok(match path {
        "/v1/bans" => Question::Bans(given.page()?),
        "/v1/sessions" => Question::Sessions(given.page()?),
        "/v1/keys" => Question::Keys(given.page()?),
        "/v1/revocations" => Question::Revocations(given.page()?),
        "/v1/govern/list" => Question::Governed(Governed::List {
            most: given.number("limit")?.unwrap_or(VERSIONS).max(1),
            before: given.number("after")?,
        }),
        "/v1/govern/show" => match given.text("change") {
            None => Question::Governed(Governed::Show { n: Some(given.needed("n")?), change: None }),
            change => Question::Governed(Governed::Show { n: given.number("n")?, change }),
        },
        "/v1/govern/verify" => Question::Governed(Governed::Verify),
        "/v1/govern/approvers" => Question::Governed(Governed::Approvers),
        "/v1/access/list" => {
            // It is a number: what comes next is before it.
            given.number("after")?;
            Question::Access(Access::List { all: given.truth("all")? }, given.page()?)
        }
        "/v1/access/show" => Question::Access(Access::Show { id: given.needed("id")? }, Page::default()),
        "/v1/access/verify" => Question::Access(Access::Verify, Page::default()),
        "/v1/audit/runs" => Question::Audit(AuditWanted::Runs, Page::default()),
        "/v1/audit/suppressions" => Question::Audit(AuditWanted::Suppressions, Page::default()),
        "/v1/audit/show" => Question::Audit(AuditWanted::Show { run: given.text("run") }, given.page()?),
        "/v1/audit/diff" => {
            Question::Audit(AuditWanted::Diff { from: given.text("from"), to: given.text("to") }, Page::default())
        }
        "/v1/backups/list" => Question::Backups(BackupWanted::List, given.page()?),
        "/v1/backups/verify" => {
            Question::Backups(BackupWanted::Verify { name: given.needed_text("name")? }, Page::default())
        }
        "/v1/policy/can" => Question::Can(Box::new(supposed(given)?)),
        "/v1/policy/explain" => Question::Explain(Box::new(supposed(given)?)),
        "/v1/policy/who_can" => Question::WhoCan(Box::new(supposed(given)?)),
        "/v1/policy/list" => Question::List(Box::new(listed(given)?)),
        "/v1/policy/diff" => Question::Differ(Box::new(DiffWanted {
            before: side(&given.needed_text("before")?)?,
            after: side(&given.needed_text("after")?)?,
            reasons: given.truth("reasons")?,
            at: given.text("at"),
        })),
        path => return Err(format!("there is no GET {path}")),
    })
}

fn supposed(given: &Parameters) -> Result<PolicyQuestion, String> {
    let facts = facts(given)?;
    Ok(PolicyQuestion { method: given.needed_text("method")?, url: given.needed_text("url")?, facts })
}

fn listed(given: &Parameters) -> Result<ListQuestion, String> {
    let Page { limit, after } = given.page()?;
    Ok(ListQuestion { limit: limit.and_then(|limit| limit.try_into().ok()), after, facts: facts(given)? })
}

/// What is supposed of whoever it is about.
fn facts(given: &Parameters) -> Result<SupposedFacts, String> {
    let is_stated = given.text("compliant_device").is_some();
    let risk = given.text("risk").map(|text| {
        let named = SupposedRisk::ALL.into_iter().find(|risk| risk.as_str() == text);
        named.ok_or_else(|| "the parameter `risk` is `low`, `medium` or `high`".to_owned())
    });
    let ip = given.text("ip").map(|text| text.parse().map_err(|_| "the parameter `ip` is an address".to_owned()));
    Ok(SupposedFacts {
        principal: given.text("as"),
        groups: given.all("group"),
        roles: given.all("role"),
        activated: given.all("activated"),
        ip: ip.transpose()?,
        host: given.text("host"),
        country: given.text("country"),
        compliant_device: if is_stated { Some(given.truth("compliant_device")?) } else { None },
        fresh_mfa: given.truth("fresh_mfa")?,
        authenticated_s: given.number("authenticated_s")?,
        at: given.text("at"),
        risk: risk.transpose()?,
    })
}

/// A version, a change that waits, or what is in force.
fn side(text: &str) -> Result<PolicySide, String> {
    let is_id = text.len() >= SHORTEST_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (text, text.parse()) {
        ("in_force", _) => Ok(PolicySide::InForce),
        _ if is_id => Ok(PolicySide::Change(text.to_ascii_lowercase())),
        (_, Ok(number)) => Ok(PolicySide::Version(number)),
        _ => Err("the parameters `before` and `after` are the number of a version, the id of a change, or `in_force`"
            .to_owned()),
    }
}

/// Cuts a part out of a list that is in the order of its keys, and says whether more comes after it.
pub(crate) fn part<T>(all: &mut Vec<T>, page: &Page, key: impl Fn(&T) -> &str) -> bool {
    if let Some(after) = &page.after {
        all.retain(|each| key(each) > after.as_str());
    }
    let limit = page.limit.unwrap_or(MOST);
    let more = all.len() > limit;
    all.truncate(limit);
    more
}

/// The same of what is numbered, the last one first: what comes after a number is before it.
pub(crate) fn part_of_numbered<T>(all: &mut Vec<T>, page: &Page, number: impl Fn(&T) -> u64) -> bool {
    all.sort_by_key(|each| std::cmp::Reverse(number(each)));
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<u64>().ok()) {
        all.retain(|each| number(each) < after);
    }
    let limit = page.limit.unwrap_or(MOST);
    let more = all.len() > limit;
    all.truncate(limit);
    more
}

/// The parameters of a query, each at most once but for those of [`SEVERAL`].
#[derive(Debug)]
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(query: &str, names: &[&str]) -> Result<Self, String> {
        if query.len() > MAX_QUERY {
            return Err("the query is too long".to_owned());
        }
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !names.contains(&name) {
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(format!("there is no parameter `{}` here: {known}", name.escape_debug()));
            }
            if !SEVERAL.contains(&name) && found.iter().any(|(other, _)| other == name) {
                return Err(format!("the parameter `{name}` is there twice"));
            }
            let value = decoded(value).ok_or_else(|| format!("the parameter `{name}` is no text in UTF-8"))?;
            found.push((name.to_owned(), value));
        }
        Ok(Self(found))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
    }

    fn needed_text(&self, name: &str) -> Result<String, String> {
        self.text(name).ok_or_else(|| format!("the parameter `{name}` is missing"))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let of = |text: String| text.parse().map_err(|_| format!("the parameter `{name}` is a number"));
        self.text(name).map(of).transpose()
    }

    fn needed(&self, name: &str) -> Result<u64, String> {
        self.number(name)?.ok_or_else(|| format!("the parameter `{name}` is missing"))
    }

    fn truth(&self, name: &str) -> Result<bool, String> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("the parameter `{name}` is `true` or `false`")),
        }
    }

    fn page(&self) -> Result<Page, String> {
        let limit = self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if limit.is_some_and(|limit| !(1..=MOST).contains(&limit)) {
            return Err(format!("the parameter `limit` is from 1 to {MOST}"));
        }
        Ok(Page { limit, after: self.text("after") })
    }
}

/// Without its percent-encoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        plain.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_asked_and_nothing_else() {
        let check = |path: &str, query: &str, expected: Result<Question, &str>| {
            let found = question(path, Some(query)).unwrap();
            assert_eq!(found, expected.map_err(str::to_owned), "{path}?{query}");
        };
        let page = |limit, after: Option<&str>| Page { limit, after: after.map(str::to_owned) };
        check("/v1/bans", "", Ok(Question::Bans(Page::default())));
        check("/v1/bans", "limit=1&after=192.0.2.0%2F24", Ok(Question::Bans(page(Some(1), Some("192.0.2.0/24")))));
        check("/v1/sessions", "limit=10000", Ok(Question::Sessions(page(Some(10_000), None))));
        for limit in ["0", "10001", "99999999999999999999"] {
            assert!(question("/v1/bans", Some(&format!("limit={limit}"))).unwrap().is_err(), "{limit}");
        }
        check("/v1/bans", "limit=x", Err("the parameter `limit` is a number"));
        check("/v1/bans", "limt=5", Err("there is no parameter `limt` here: limit, after"));
        check("/v1/bans", "limit=5&limit=6", Err("the parameter `limit` is there twice"));
        for broken in ["%", "%2", "%zz", "%ff"] {
            check("/v1/bans", &format!("after={broken}"), Err("the parameter `after` is no text in UTF-8"));
        }
        check("/v1/govern/list", "", Ok(Question::Governed(Governed::List { most: 20, before: None })));
        check(
            "/v1/govern/list",
            "limit=2&after=7",
            Ok(Question::Governed(Governed::List { most: 2, before: Some(7) })),
        );
        let change = Governed::Show { n: None, change: Some("ab12".to_owned()) };
        check("/v1/govern/show", "change=ab12", Ok(Question::Governed(change)));
        check("/v1/govern/show", "n=3", Ok(Question::Governed(Governed::Show { n: Some(3), change: None })));
        check("/v1/govern/show", "", Err("the parameter `n` is missing"));
        check("/v1/govern/verify", "n=3", Err("there is no parameter `n` here: none"));
        check("/v1/access/list", "all=true", Ok(Question::Access(Access::List { all: true }, Page::default())));
        let second = page(Some(5), Some("7"));
        check("/v1/access/list", "limit=5&after=7", Ok(Question::Access(Access::List { all: false }, second)));
        check("/v1/access/list", "after=x", Err("the parameter `after` is a number"));
        check("/v1/revocations", "after=token%3Aj-1", Ok(Question::Revocations(page(None, Some("token:j-1")))));
        check("/v1/access/list", "all=yes", Err("the parameter `all` is `true` or `false`"));
        assert_eq!(question("/v1/govern/activate", None), None, "what changes something is no question");
        assert_eq!(question("/v1/status", Some("x=y")), None);
        let asked = |group: &[&str]| PolicyQuestion {
            method: "GET".to_owned(),
            url: "/a b".to_owned(),
            facts: SupposedFacts {
                principal: Some("alice".to_owned()),
                groups: group.iter().map(|name| (*name).to_owned()).collect(),
                ..SupposedFacts::default()
            },
        };
        let groups = "method=GET&url=%2Fa%20b&as=alice&group=hr&group=cn%3Dx%2Cdc%3Dy";
        check("/v1/policy/can", groups, Ok(Question::Can(Box::new(asked(&["hr", "cn=x,dc=y"])))));
        check("/v1/policy/can", "method=GET&url=/&as=a&as=b", Err("the parameter `as` is there twice"));
        check("/v1/policy/can", "method=GET", Err("the parameter `url` is missing"));
        check("/v1/policy/can", "method=GET&url=/&ip=home", Err("the parameter `ip` is an address"));
        check("/v1/policy/can", "method=GET&url=/&risk=7", Err("the parameter `risk` is `low`, `medium` or `high`"));
        assert!(question("/v1/policy/who_can", Some("method=GET&url=/&as=alice")).unwrap().is_err());
        let differ =
            DiffWanted { before: PolicySide::Version(3), after: PolicySide::InForce, reasons: false, at: None };
        check("/v1/policy/diff", "before=3&after=in_force", Ok(Question::Differ(Box::new(differ))));
        let change = PolicySide::Change("12345678".to_owned());
        let differ = DiffWanted { before: PolicySide::Version(1234567), after: change, reasons: false, at: None };
        check("/v1/policy/diff", "before=1234567&after=12345678", Ok(Question::Differ(Box::new(differ))));
        assert!(question("/v1/policy/diff", Some("before=3&after=policy.toml")).unwrap().is_err());
        assert_eq!(question("/v1/backups/create", None), None, "what changes something is no question");
        assert_eq!(question("/v1/backups/drill", Some("name=x")), None, "nor what may be slow for nothing");
        assert_eq!(question("/v1/events/search", None), None, "nor what names the habits of people");
    }

    #[test]
    fn a_question_to_the_policy_is_read_as_it_was_asked() {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = SupposedFacts {
            principal: Some("user:a b".to_owned()),
            groups: texts(&["hr", "cn=x,dc=y"]),
            roles: texts(&["reader"]),
            activated: texts(&["night&day"]),
            ip: Some("2001:db8::1".parse().unwrap()),
            host: Some("a.example".to_owned()),
            country: Some("NZ".to_owned()),
            compliant_device: Some(false),
            fresh_mfa: true,
            authenticated_s: Some(9),
            at: Some("2026-11-30T00:00:00+01:00".to_owned()),
            risk: None,
        };
        let risky = SupposedRisk::ALL.map(|risk| SupposedFacts { risk: Some(risk), ..all.clone() });
        for facts in risky.into_iter().chain([all, SupposedFacts::default()]) {
            let wanted = PolicyQuestion { method: "GET".to_owned(), url: "/ä?x=1".to_owned(), facts: facts.clone() };
            let target = crate::target("/v1/policy/explain", &wanted.parameters());
            let (path, query) = target.split_once('?').unwrap();
            let expected = Question::Explain(Box::new(wanted));
            assert_eq!(question(path, Some(query)).unwrap(), Ok(expected), "{target}");
            for (limit, after) in [(None, None), (Some(7), Some("billing".to_owned()))] {
                let wanted = ListQuestion { facts: facts.clone(), limit, after };
                let target = crate::target("/v1/policy/list", &wanted.parameters());
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                assert_eq!(question(path, Some(query)).unwrap(), Ok(Question::List(Box::new(wanted))), "{target}");
            }
        }
    }

    #[test]
    fn what_a_verb_asks_as_a_question_is_what_is_read() {
        let governed = |wanted: Governed| {
            let target = crate::Verb::question(&wanted).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            assert_eq!(question(path, Some(query)).unwrap(), Ok(Question::Governed(wanted)), "{target}");
        };
        governed(Governed::List { most: 3, before: None });
        governed(Governed::List { most: 1, before: Some(7) });
        governed(Governed::Show { n: Some(3), change: None });
        governed(Governed::Show { n: None, change: Some("ab 12&n=3".to_owned()) });
        governed(Governed::Verify);
        governed(Governed::Approvers);
        for wanted in [Access::List { all: true }, Access::List { all: false }, Access::Show { id: 7 }, Access::Verify]
        {
            let target = crate::Verb::question(&wanted).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let expected = Question::Access(wanted, Page::default());
            assert_eq!(question(path, Some(query)).unwrap(), Ok(expected), "{target}");
        }
        let run = |name: &str| Some(name.to_owned());
        for wanted in [
            AuditWanted::Runs,
            AuditWanted::Suppressions,
            AuditWanted::Show { run: None },
            AuditWanted::Show { run: run("2026-11-29T20:00:00Z") },
            AuditWanted::Diff { from: None, to: run("b") },
            AuditWanted::Diff { from: run("a"), to: run("b") },
        ] {
            let target = crate::Verb::question(&wanted).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let expected = Question::Audit(wanted, Page::default());
            assert_eq!(question(path, Some(query)).unwrap(), Ok(expected), "{target}");
        }
        for wanted in [BackupWanted::List, BackupWanted::Verify { name: "a b".to_owned() }] {
            let target = crate::Verb::question(&wanted).unwrap();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let expected = Question::Backups(wanted, Page::default());
            assert_eq!(question(path, Some(query)).unwrap(), Ok(expected), "{target}");
        }
        assert_eq!(crate::Verb::question(&AuditWanted::run()), None, "what changes something is no question");
        assert_eq!(crate::Verb::question(&BackupWanted::Create), None, "likewise");
    }

    #[test]
    fn the_parts_of_a_list_are_the_list() {
        let all: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
        let (mut page, mut seen) = (Page { limit: Some(10), after: None }, Vec::new());
        for more in [true, true, false] {
            let mut list = all.clone();
            assert_eq!(part(&mut list, &page, |each| each), more);
            page.after = list.last().cloned();
            seen.extend(list);
        }
        assert_eq!(seen, all);
        let (mut page, mut seen) = (Page { limit: Some(10), after: None }, Vec::new());
        for more in [true, true, false] {
            let mut list: Vec<u64> = (1..=25).collect();
            assert_eq!(part_of_numbered(&mut list, &page, |each| *each), more);
            page.after = list.last().map(ToString::to_string);
            seen.extend(list);
        }
        assert_eq!(seen, (1..=25).rev().collect::<Vec<u64>>());
        let mut exact = all[..10].to_vec();
        assert!(!part(&mut exact, &Page { limit: Some(10), after: None }, |each| each), "the border");
    }
}
