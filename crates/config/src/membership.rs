//! Who is in which group, as an earlier file of API keys or of users has it, beside all else as the file of now has it: so that a group that was deleted by
//! mistake comes back, and no key and no password that was withdrawn since.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

/// What each entry is named by, and what of it is membership.
const LISTS: [(&str, &str, &[&str]); 2] = [("key", "id", &["groups", "roles"]), ("user", "name", &["groups"])];

/// The file of now with the membership of then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The text: that of now but for what comes back.
    pub text: String,
    /// Whose membership is another one with it, each with its list, such as ``key `alice` ``.
    pub whose: Vec<String>,
}

/// `groups` (and of a key `roles`) of each entry that both files have, as it was `then`; everything else as it is `now`: whether it is revoked or disabled, its
/// hash, its end, what it is bound to, and which entries there are. A key that stands for somebody else now keeps what it has. `None`: nothing is another
/// one, or a file is none of these.
pub fn membership_of(then: &[u8], now: &[u8]) -> Option<Membership> {
    let parsed = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<DocumentMut>().ok();
    let (then, mut now) = (parsed(then)?, parsed(now)?);
    let mut whose = Vec::new();
    for (list, named_by, keys) in LISTS {
        let before = then.get(list).and_then(Item::as_array_of_tables);
        let (Some(before), Some(entries)) = (before, now.get_mut(list).and_then(Item::as_array_of_tables_mut)) else {
            continue;
        };
        for entry in entries.iter_mut() {
            let Some(name) = text(entry, named_by).map(str::to_owned) else { continue };
            let Some(was) = same(before, entry, named_by) else { continue };
            let differing: Vec<&str> =
                keys.iter().copied().filter(|key| names(was.get(key)) != names(entry.get(key))).collect();
            for key in &differing {
                match was.get(key) {
                    Some(item) => drop(entry.insert(key, item.clone())),
                    None => drop(entry.remove(key)),
                }
            }
            if !differing.is_empty() {
                whose.push(format!("{list} `{}`", name.escape_debug()));
            }
        }
    }
    (!whose.is_empty()).then(|| Membership { text: now.to_string(), whose })
}

/// The entry of the same name that stands for the same principal.
fn same<'t>(before: &'t ArrayOfTables, entry: &Table, named_by: &str) -> Option<&'t Table> {
    let is_same = |key: &str, was: &&Table| text(was, key) == text(entry, key);
    before.iter().find(|was| is_same(named_by, was) && is_same("principal", was))
}

fn text<'t>(entry: &'t Table, key: &str) -> Option<&'t str> {
    entry.get(key).and_then(Item::as_str)
}

/// The names of a list, whatever their order; one name may stand without a list.
fn names(item: Option<&Item>) -> Vec<&str> {
    let mut names: Vec<&str> = match item.and_then(Item::as_value) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.value()],
        _ => Vec::new(),
    };
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "version = 1\n[[key]]\nid = \"alice\"\nprincipal = \"user:alice\"\nsha256 = \"old\"\ngroups = [\"finance\"]\nroles = [\"r\"]\n\
        [[key]]\nid = \"gone\"\nprincipal = \"user:gone\"\ngroups = [\"finance\"]\n\
        [[key]]\nid = \"other\"\nprincipal = \"user:other\"\ngroups = [\"finance\"]\n";

    #[test]
    fn membership_comes_back_and_nothing_else_does() {
        let now = "version = 1\n# theirs\n[[key]]\nid = \"alice\" # a comment\nprincipal = \"user:alice\"\nsha256 = \"new\"\nrevoked = true\ngroups = []\n\
            [[key]]\nid = \"other\"\nprincipal = \"user:somebody-else\"\n[[key]]\nid = \"new\"\nprincipal = \"user:new\"\ngroups = [\"ops\"]\n";
        let back = membership_of(THEN.as_bytes(), now.as_bytes()).unwrap();
        assert_eq!(back.whose, ["key `alice`"]);
        let wanted = now.replace("groups = []\n", "groups = [\"finance\"]\nroles = [\"r\"]\n");
        assert_eq!(back.text, wanted);
    }

    #[test]
    fn what_was_given_since_goes_and_what_is_the_same_stays_as_it_is_written() {
        let user = |groups: &str| format!("version = 1\n[[user]]\nname = \"alice\"\nhash = \"h\"\n{groups}");
        let back = |then: &str, now: &str| membership_of(user(then).as_bytes(), user(now).as_bytes());
        assert_eq!(back("", "groups = [\"admins\"]\n").unwrap().text, user(""));
        assert_eq!(back("groups = [\"a\", \"b\"]\n", "groups = [ \"b\",\"a\" ]\n"), None);
        assert_eq!(membership_of(b"\xff", user("").as_bytes()), None);
        assert_eq!(membership_of(b"a = [", user("").as_bytes()), None);
    }
}
