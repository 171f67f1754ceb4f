//! Who made a version live, and with which exceptions: as it is written, and in words.

use portcullis_governance::{Exceptions, MadeLive};

/// Before the reason why it had no steps, behind who made a version live.
const AT_ONCE: &str = ", at once: ";
/// Before the reason why it need not have been tried once more.
const UNSEEN: &str = ", unseen: ";

/// In the name of `who`. Where a reason is shown it follows on a word that stands in no name.
pub(super) fn made_live(who: &str, at_once: Option<String>, unseen: Option<String>) -> MadeLive {
    let by = [AT_ONCE, UNSEEN].iter().fold(who.to_owned(), |who, word| without(&who, word));
    MadeLive { by, exceptions: Exceptions { at_once, unseen, cut_short: false } }
}

/// The text without this word, which begins otherwise where it is said.
fn without(text: &str, word: &str) -> String {
    text.replace(word, &word.replacen(',', ";", 1))
}

/// Who, and the exceptions behind that.
pub(super) fn in_words(by: &str, Exceptions { at_once, unseen, cut_short }: &Exceptions) -> String {
    let cut_short = cut_short.then(|| ", over the version before in its steps".to_owned());
    let at_once = at_once.as_ref().map(|reason| format!("{AT_ONCE}{}", without(reason, UNSEEN)));
    let unseen = unseen.as_ref().map(|reason| format!("{UNSEEN}{reason}"));
    [cut_short, at_once, unseen].into_iter().flatten().fold(by.to_owned(), |text, exception| text + &exception)
}

/// The exceptions of a version that has just become live, to be put behind that.
pub(super) fn exceptions_in_words(exceptions: &Exceptions) -> String {
    let unseen = exceptions.unseen.as_ref();
    let unseen = unseen.map(|reason| format!(", and could not be tried once more before: {reason}"));
    let at_once = exceptions.at_once.as_ref().map(|reason| format!(", without the steps: {reason}"));
    [unseen, at_once].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_the_exceptions_are_shown_as_ever_and_no_name_claims_one() {
        let check = |(who, at_once, unseen): (&str, Option<&str>, Option<&str>), shown: &str, message: &str| {
            let MadeLive { by, exceptions } = made_live(who, at_once.map(str::to_owned), unseen.map(str::to_owned));
            assert_eq!((&*in_words(&by, &exceptions), &*exceptions_in_words(&exceptions)), (shown, message));
        };
        check(("ana", None, None), "ana", "");
        check(("ana", Some("hurry"), None), "ana, at once: hurry", ", without the steps: hurry");
        check(("ana", None, Some("night")), "ana, unseen: night", ", and could not be tried once more before: night");
        check(
            ("ana", Some("hurry"), Some("night")),
            "ana, at once: hurry, unseen: night",
            ", and could not be tried once more before: night, without the steps: hurry",
        );
        let reason = "a, unseen: b";
        check(("ana", Some(reason), None), "ana, at once: a; unseen: b", ", without the steps: a, unseen: b");
        check(("ana, at once: x, unseen: y", None, None), "ana; at once: x; unseen: y", "");
        // As an earlier version of the program has written it.
        assert_eq!(in_words("ana, at once: hurry", &Exceptions::default()), "ana, at once: hurry");
    }
}
