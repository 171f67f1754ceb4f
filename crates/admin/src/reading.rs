//! What can be asked without a right to change anything: questions as `GET`, with their parameters in the query.
//!
//! Each asks what the `POST` of its name asks, so that a role of `GET /v1/**` sees versions, findings and power in force. What only somebody needs who
//! changes or signs something is left out of these answers: the files of a version, which may hold hashes of passwords, and what an approver signs.

use crate::access::Access;
use crate::audit::AuditWanted;
use crate::govern::Governed;

/// The longest part of a list that is asked for, and what is answered where nobody says how much.
pub(crate) const MOST: usize = 10_000;
/// Versions, where nobody says how many.
const VERSIONS: u64 = 20;
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
    Access(Access),
    /// Audits.
    Audit(AuditWanted, Page),
}

/// Which question this is. `None`: none of these.
///
/// # Errors
/// A parameter that is none of its own, or cannot be read: a sentence.
pub(crate) fn question(path: &str, query: Option<&str>) -> Option<Result<Question, String>> {
    let names: &[&str] = match path {
        "/v1/bans" | "/v1/sessions" | "/v1/govern/list" => &["limit", "after"],
        "/v1/govern/show" => &["n", "change"],
        "/v1/govern/verify" | "/v1/govern/approvers" => &[],
        "/v1/access/verify" | "/v1/audit/runs" | "/v1/audit/suppressions" => &[],
        "/v1/access/list" => &["all"],
        "/v1/access/show" => &["id"],
        "/v1/audit/show" => &["run", "limit", "after"],
        "/v1/audit/diff" => &["from", "to"],
        _ => return None,
    };
    Some(Parameters::read(query.unwrap_or_default(), names).and_then(|given| asked(path, &given)))
}

fn asked(path: &str, given: &Parameters) -> Result<Question, String> {
    Ok(match path {
        "/v1/bans" => Question::Bans(given.page()?),
        "/v1/sessions" => Question::Sessions(given.page()?),
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
        "/v1/access/list" => Question::Access(Access::List { all: given.truth("all")? }),
        "/v1/access/show" => Question::Access(Access::Show { id: given.needed("id")? }),
        "/v1/access/verify" => Question::Access(Access::Verify),
        "/v1/audit/runs" => Question::Audit(AuditWanted::Runs, Page::default()),
        "/v1/audit/suppressions" => Question::Audit(AuditWanted::Suppressions, Page::default()),
        "/v1/audit/show" => Question::Audit(AuditWanted::Show { run: given.text("run") }, given.page()?),
        "/v1/audit/diff" => {
            Question::Audit(AuditWanted::Diff { from: given.text("from"), to: given.text("to") }, Page::default())
        }
        path => return Err(format!("there is no GET {path}")),
    })
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

/// The parameters of a query, each at most once.
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
            if found.iter().any(|(other, _)| other == name) {
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
        check("/v1/access/list", "all=true", Ok(Question::Access(Access::List { all: true })));
        check("/v1/access/list", "all=yes", Err("the parameter `all` is `true` or `false`"));
        assert_eq!(question("/v1/govern/activate", None), None, "what changes something is no question");
        assert_eq!(question("/v1/status", Some("x=y")), None);
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
        let mut exact = all[..10].to_vec();
        assert!(!part(&mut exact, &Page { limit: Some(10), after: None }, |each| each), "the border");
    }
}
