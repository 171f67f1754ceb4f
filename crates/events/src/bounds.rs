//! The bounds of an event: how long each text and each list may be, and about how much memory the event holds.
//!
//! They are applied by the recorder to every event, so that whoever fills one cannot forget them. What was cut is named in
//! `truncated`. They also remove, as a second line of defence, what must never be recorded: a query in the path, and the user
//! information, query and fragment of the referrer.

use portcullis_policy::Words;

use crate::event::Event;

/// `request.path`, in bytes.
pub(crate) const PATH_BYTES: usize = 2_048;
/// `request.user_agent`, in bytes.
pub(crate) const USER_AGENT_BYTES: usize = 1_024;
/// `request.referrer`, in bytes.
pub(crate) const REFERRER_BYTES: usize = 1_024;
/// `message`, in bytes.
pub(crate) const MESSAGE_BYTES: usize = 2_048;
/// `risk.inputs`, in bytes.
pub(crate) const INPUT_BYTES: usize = 1_024;
/// Every other text, in bytes.
pub(crate) const TEXT_BYTES: usize = 256;
/// Groups, roles, checks and every list without a bound of its own.
pub(crate) const LIST_ENTRIES: usize = 64;
/// `client.forwarded`.
pub(crate) const FORWARDED_ENTRIES: usize = 32;
/// `risk.signals` and the `needs` of a nearest change.
pub(crate) const SIGNAL_ENTRIES: usize = 16;
/// `nearest`.
pub(crate) const NEAREST_ENTRIES: usize = 5;

/// Cuts the event to its bounds and says about how many bytes of memory it holds.
pub(crate) fn apply(event: &mut Event) -> usize {
    remove_what_is_never_recorded(event);
    let mut bounds = Bounds { cut: std::mem::take(&mut event.truncated), bytes: size_of::<Event>() };
    bounds.request(event);
    bounds.caller(event);
    bounds.explanation(event);
    event.truncated = bounds.cut;
    bounds.bytes
}

fn remove_what_is_never_recorded(event: &mut Event) {
    if let Some(path) = &mut event.request.path {
        if let Some(end) = path.find(['?', '#']) {
            path.truncate(end);
            event.request.query_redacted = true;
        }
        // The target of a head that was refused unparsed may be in absolute form.
        if !path.starts_with('/') {
            remove_user_information(path);
        }
    }
    if let Some(referrer) = &mut event.request.referrer {
        if let Some(end) = referrer.find(['?', '#']) {
            referrer.truncate(end);
        }
        remove_user_information(referrer);
    }
}

/// Removes `user:password@` from an address (RFC 3986 section 3.2.1), also from one without a scheme.
pub(crate) fn remove_user_information(address: &mut String) {
    let start = address.find("//").map_or(0, |slashes| slashes + 2);
    let authority = address.get(start..).unwrap_or_default();
    // A backslash ends no authority here: to cut too much is better than to keep a password.
    let length = authority.find('/').unwrap_or(authority.len());
    if let Some(at) = authority.get(..length).unwrap_or_default().rfind('@') {
        address.replace_range(start..=start + at, "");
    }
}

/// Cuts a text at a character. Says whether it was too long.
pub(crate) fn cut(text: &mut String, most: usize) -> bool {
    let too_long = text.len() > most;
    if too_long {
        text.truncate(text.floor_char_boundary(most));
        // The rest must not wait in the queue as unused capacity.
        text.shrink_to_fit();
    }
    too_long
}

/// Walks over an event, notes what it cut and adds up what is left.
struct Bounds {
    cut: Vec<&'static str>,
    bytes: usize,
}

impl Bounds {
    fn request(&mut self, event: &mut Event) {
        let request = &mut event.request;
        self.text("request.trace_id", &mut request.trace_id, TEXT_BYTES);
        self.text("request.span_id", &mut request.span_id, TEXT_BYTES);
        self.text("request.method", &mut request.method, TEXT_BYTES);
        self.text("request.host", &mut request.host, TEXT_BYTES);
        self.text("request.path", &mut request.path, PATH_BYTES);
        self.text("request.user_agent", &mut request.user_agent, USER_AGENT_BYTES);
        self.text("request.referrer", &mut request.referrer, REFERRER_BYTES);
        self.texts("client.forwarded", &mut event.client.forwarded, FORWARDED_ENTRIES);
    }

    fn caller(&mut self, event: &mut Event) {
        let identity = &mut event.identity;
        self.text("identity.id", &mut identity.id, TEXT_BYTES);
        self.text("identity.name", &mut identity.name, TEXT_BYTES);
        self.text("identity.issuer", &mut identity.issuer, TEXT_BYTES);
        self.text("identity.session", &mut identity.session, TEXT_BYTES);
        self.texts("identity.groups", &mut identity.groups, LIST_ENTRIES);
        self.text("identity.directory", &mut identity.directory, TEXT_BYTES);
        self.texts("identity.roles", &mut identity.roles, LIST_ENTRIES);
        self.text("identity.acr", &mut identity.acr, TEXT_BYTES);
        self.text("identity.api_key_id", &mut identity.api_key_id, TEXT_BYTES);
        self.text("identity.cert_sha256", &mut identity.cert_sha256, TEXT_BYTES);
        self.text("identity.cert_subject", &mut identity.cert_subject, TEXT_BYTES);
        self.text("device.id", &mut event.device.id, TEXT_BYTES);
        self.text("device.fingerprint", &mut event.device.fingerprint, TEXT_BYTES);
        self.text("risk.inputs", &mut event.risk.inputs, INPUT_BYTES);
        self.list("risk.signals", &mut event.risk.signals, SIGNAL_ENTRIES);
        for signal in &mut event.risk.signals {
            self.required("risk.signals", &mut signal.value, TEXT_BYTES);
            self.required("risk.signals", &mut signal.reason, TEXT_BYTES);
        }
    }

    fn explanation(&mut self, event: &mut Event) {
        self.text("message", &mut event.message, MESSAGE_BYTES);
        self.list("reasons", &mut event.reasons, LIST_ENTRIES);
        self.list("nearest", &mut event.nearest, NEAREST_ENTRIES);
        for nearest in &mut event.nearest {
            self.texts("nearest", &mut nearest.needs, SIGNAL_ENTRIES);
        }
        self.list("checks", &mut event.checks, LIST_ENTRIES);
        for check in &mut event.checks {
            self.words("checks", &mut check.value);
            self.words("checks", &mut check.detail);
        }
        if let Some(shadow) = &mut event.shadow {
            self.list("shadow", shadow, LIST_ENTRIES);
        }
        if let Some(roles) = &mut event.remedy.required_roles {
            self.texts("remedy.required_roles", roles, LIST_ENTRIES);
        }
        if let Some(values) = &mut event.remedy.acr_values {
            self.texts("remedy.acr_values", values, LIST_ENTRIES);
        }
        self.text("remedy.help", &mut event.remedy.help, REFERRER_BYTES);
        self.text("remedy.ask", &mut event.remedy.ask, REFERRER_BYTES);
        if let Some(facts) = &mut event.facts {
            self.texts("facts.local_groups", &mut facts.local_groups, LIST_ENTRIES);
            self.texts("facts.direct_roles", &mut facts.direct_roles, LIST_ENTRIES);
            self.texts("facts.amr", &mut facts.amr, LIST_ENTRIES);
            self.texts("facts.activated", &mut facts.activated, LIST_ENTRIES);
            if let Some(scope) = &mut facts.scope {
                self.texts("facts.scope.routes", &mut scope.routes, LIST_ENTRIES);
                self.texts("facts.scope.networks", &mut scope.networks, LIST_ENTRIES);
            }
            self.bytes = self.bytes.saturating_add(size_of::<crate::event::DecidedOn>());
        }
        if let Some(alert) = &mut event.alert {
            self.required("alert.condition", &mut alert.condition, TEXT_BYTES);
            self.required("alert.key", &mut alert.key.value, TEXT_BYTES);
            self.list("alert.evidence", &mut alert.evidence, NEAREST_ENTRIES);
            self.texts("alert.actions", &mut alert.actions, LIST_ENTRIES);
            self.text("alert.muted", &mut alert.muted, TEXT_BYTES);
            self.text("alert.runbook", &mut alert.runbook, REFERRER_BYTES);
            self.bytes = self.bytes.saturating_add(size_of::<crate::event::Alert>());
        }
        if let Some(finding) = &mut event.finding {
            self.text("finding.principal", &mut finding.principal, TEXT_BYTES);
            self.text("finding.permission", &mut finding.permission, TEXT_BYTES);
            self.text("finding.run", &mut finding.run, TEXT_BYTES);
            self.bytes = self.bytes.saturating_add(size_of::<crate::event::AuditFinding>());
        }
    }

    fn text(&mut self, key: &'static str, text: &mut Option<String>, most: usize) {
        if let Some(text) = text {
            self.required(key, text, most);
        }
    }

    fn texts(&mut self, key: &'static str, texts: &mut Vec<String>, most: usize) {
        self.list(key, texts, most);
        for text in texts {
            self.required(key, text, TEXT_BYTES);
        }
    }

    fn required(&mut self, key: &'static str, text: &mut String, most: usize) {
        if cut(text, most) {
            self.note(key);
        }
        self.bytes = self.bytes.saturating_add(text.capacity());
    }

    fn words(&mut self, key: &'static str, words: &mut Words) {
        if words.len() > TEXT_BYTES {
            cut(words.to_mut(), TEXT_BYTES);
            self.note(key);
        }
        if let Words::Owned(text) = words {
            self.bytes = self.bytes.saturating_add(text.capacity());
        }
    }

    fn list<T>(&mut self, key: &'static str, list: &mut Vec<T>, most: usize) {
        if list.len() > most {
            list.truncate(most);
            list.shrink_to_fit();
            self.note(key);
        }
        self.bytes = self.bytes.saturating_add(list.capacity().saturating_mul(size_of::<T>()));
    }

    fn note(&mut self, key: &'static str) {
        if !self.cut.contains(&key) {
            self.cut.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::reason_code::ReasonCode;

    fn event() -> Event {
        Event::denied(Uuid::nil(), Timestamp::UNIX_EPOCH, ReasonCode::IpDenied)
    }

    /// The length that is left, and what was cut, of a path of `length` bytes.
    #[track_caller]
    fn check_path(path: String, left: usize, cut: &[&str]) {
        let mut event = event();
        event.request.path = Some(path);
        apply(&mut event);
        assert_eq!((event.request.path.unwrap().len(), &*event.truncated), (left, cut));
    }

    #[test]
    fn a_text_is_cut_only_beyond_its_bound_and_at_a_character() {
        check_path("a".repeat(PATH_BYTES), PATH_BYTES, &[]);
        check_path("a".repeat(PATH_BYTES + 1), PATH_BYTES, &["request.path"]);
        // "é" is two bytes: one that would straddle the bound goes as a whole.
        check_path("a".repeat(PATH_BYTES - 1) + "é", PATH_BYTES - 1, &["request.path"]);
        check_path("a".repeat(PATH_BYTES - 2) + "é", PATH_BYTES, &[]);
        check_path("😀".repeat(PATH_BYTES), PATH_BYTES, &["request.path"]);
    }

    #[test]
    fn each_text_of_the_contract_has_its_own_bound() {
        let mut event = event();
        let long = || Some("x".repeat(5_000));
        event.request.user_agent = long();
        event.request.referrer = long();
        event.message = long();
        event.identity.id = long();
        apply(&mut event);
        let length = |text: &Option<String>| text.as_ref().unwrap().len();
        assert_eq!(length(&event.request.user_agent), 1_024);
        assert_eq!(length(&event.request.referrer), 1_024);
        assert_eq!(length(&event.message), 2_048);
        assert_eq!(length(&event.identity.id), 256);
        assert_eq!(event.truncated, ["request.user_agent", "request.referrer", "identity.id", "message"]);
    }

    #[test]
    fn a_list_keeps_its_first_entries_and_is_named_once() {
        let mut event = event();
        event.identity.groups = (0..64).map(|number| number.to_string()).collect();
        apply(&mut event);
        assert_eq!((event.identity.groups.len(), event.truncated.len()), (64, 0));

        event.identity.groups.push("x".repeat(300));
        event.identity.groups[0] = "y".repeat(300);
        apply(&mut event);
        assert_eq!((event.identity.groups.len(), event.identity.groups[0].len()), (64, 256));
        assert_eq!(event.identity.groups[63], "63");
        assert_eq!(event.truncated, ["identity.groups"]);
    }

    #[track_caller]
    fn check_referrer(given: &str, kept: &str) {
        let mut event = event();
        event.request.referrer = Some(given.into());
        apply(&mut event);
        assert_eq!(event.request.referrer.as_deref(), Some(kept), "{given}");
    }

    #[test]
    fn a_referrer_loses_its_query_its_fragment_and_its_user_information() {
        check_referrer("https://a.example/p", "https://a.example/p");
        check_referrer("https://a.example/p?token=s3cret", "https://a.example/p");
        check_referrer("https://a.example/p#access_token=s3cret", "https://a.example/p");
        check_referrer("https://a.example?token=s3cret#x?y", "https://a.example");
        check_referrer("https://user:s3cret@a.example/p", "https://a.example/p");
        check_referrer("https://user:s3@cret@a.example", "https://a.example");
        check_referrer("//user:s3cret@a.example/@home", "//a.example/@home");
        check_referrer("user:s3cret@a.example", "a.example");
        check_referrer("https://a.example/@home", "https://a.example/@home");
        check_referrer("?", "");
        check_referrer("", "");
    }

    #[test]
    fn a_query_or_a_password_that_slipped_into_the_path_is_removed() {
        let check = |given: &str, kept: &str, redacted: bool| {
            let mut event = event();
            event.request.path = Some(given.into());
            apply(&mut event);
            assert_eq!((event.request.path.as_deref(), event.request.query_redacted), (Some(kept), redacted));
        };
        check("/a/b?token=s3cret", "/a/b", true);
        check("/a/b#token=s3cret", "/a/b", true);
        check("/a//user:pw@b", "/a//user:pw@b", false);
        check("http://user:s3cret@a.example/b", "http://a.example/b", false);
        check("*", "*", false);
    }

    #[test]
    fn what_was_cut_off_does_not_stay_in_memory() {
        let mut event = event();
        let empty = apply(&mut event);
        event.request.path = Some("x".repeat(1_000_000));
        let full = apply(&mut event);
        assert!(full > empty && full - empty < 2 * PATH_BYTES, "{empty} {full}");
    }
}
