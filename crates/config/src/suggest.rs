//! "Did you mean": the nearest known name to a mistyped one.

/// At most this many known names are listed when none is near.
const MAX_LISTED: usize = 30;

/// The known name that a person most likely meant, if one is near enough.
pub(crate) fn nearest<'n>(typed: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let typed = typed.to_lowercase();
    if typed.len() > 128 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (likeness(&typed, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= CUT_OFF)
        .max_by(|(a, a_name), (b, b_name)| a.total_cmp(b).then_with(|| b_name.cmp(a_name)))
        .map(|(_, name)| name)
}

/// Below this likeness a suggestion distracts more than it helps: `rate` is no typo of `name`, `sent` none of `route`.
const CUT_OFF: f64 = 0.5;

/// One minus the share of characters that have to change, with swapped neighbours counted once; a name that begins
/// with the other one is taken as near too.
fn likeness(typed: &str, known: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(typed, known);
    let common = typed.len().min(known.len());
    let contained = common >= 3 && (known.starts_with(typed) || typed.starts_with(known));
    // Two of three characters is the least for short names, where a single edit is a large share.
    let enough = edits >= 0.6 || (contained && edits >= 0.3);
    if enough { edits.max(CUT_OFF) } else { 0.0 }
}

/// `did you mean …?`, or the list of what is known.
pub(crate) fn remedy<'n>(typed: &str, known: &[&'n str], what: &str) -> Option<String> {
    if let Some(name) = nearest(typed, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let mut sorted: Vec<&'n str> = known.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.is_empty() {
        return None;
    }
    let listed: Vec<String> = sorted.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = if sorted.len() > MAX_LISTED { ", …" } else { "" };
    Some(format!("{what}: {}{more}", listed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name_and_another_word_finds_none() {
        let known = ["name", "hosts", "paths", "upstream", "forward_credentials", "disclose", "billing.reader"];
        let check = |typed: &str, expected: Option<&str>| assert_eq!(nearest(typed, known), expected, "{typed}");
        check("nmae", Some("name"));
        check("host", Some("hosts"));
        check("upstreams", Some("upstream"));
        check("forward-credentials", Some("forward_credentials"));
        check("forward", Some("forward_credentials"));
        check("Hosts", Some("hosts"));
        check("biling.reader", Some("billing.reader"));
        check("colour", None);
        check("x", None);
        check(&"n".repeat(10_000), None);
    }

    #[test]
    fn without_a_near_name_the_known_ones_are_listed() {
        assert_eq!(remedy("colour", &["b", "a"], "known keys").as_deref(), Some("known keys: `a`, `b`"));
        assert_eq!(remedy("colour", &[], "known keys"), None);
    }
}
