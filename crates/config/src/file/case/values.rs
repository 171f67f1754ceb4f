//! The kinds of value that only a case file holds.

use std::borrow::Cow;
use std::net::IpAddr;

use portcullis_events::ReasonCode;
use portcullis_policy::{PrincipalKind, stated_host, stated_principal, stated_target};
use serde_json::{Value, json};
use toml::de::DeValue;

use crate::kinds::Text;
use crate::schema::{matching, one_of};
use crate::section::{Field, Kind, shown};
use crate::suggest;

/// Names of cases are at most this many characters long.
const MAX_NAME: usize = 256;

/// A name for people: a sentence rather than a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CaseName;

impl Kind for CaseName {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a name such as \"finance reads an invoice\"".into()
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let problem = if text.trim().is_empty() {
            "must not be empty".to_owned()
        } else if text.chars().nth(MAX_NAME).is_some() {
            format!("is longer than {MAX_NAME} characters")
        } else if text.chars().any(char::is_control) {
            "holds a control character".to_owned()
        } else {
            return Some(text.into_owned());
        };
        field.bad_value(problem, None);
        None
    }
}

/// `METHOD PATH` or `METHOD URL`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request;

#[derive(Debug, Clone)]
pub(crate) struct RequestLine {
    pub(crate) method: String,
    pub(crate) url: String,
    /// The URL names a host itself.
    pub(crate) names_host: bool,
}

impl Kind for Request {
    type Value = RequestLine;

    fn expected(&self) -> Cow<'static, str> {
        "a method and a path or URL, such as \"GET /api/invoices/7\"".into()
    }

    fn schema(&self) -> Value {
        matching("^[^ ]+ [^ ]")
    }

    fn read(&self, field: &Field<'_>) -> Option<RequestLine> {
        let text = field.text(&self.expected())?;
        let Some((method, url)) = text.split_once(' ') else {
            let help = text.starts_with('/').then(|| format!("write the method, too: \"GET {}\"", shown(&text)));
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), help);
            return None;
        };
        if method.is_empty() || !method.bytes().all(is_token_character) {
            let help = "one method, such as GET; a list or `*` belongs into the policy".to_owned();
            field.bad_value(format!("\"{}\" is not a method", shown(method)), Some(help));
            return None;
        }
        match stated_target(url) {
            Ok((host, _)) => {
                Some(RequestLine { method: method.to_owned(), url: url.to_owned(), names_host: host.is_some() })
            }
            Err(problem) => {
                field.bad_value(problem, Some(format!("write {}", self.expected())));
                None
            }
        }
    }
}

/// `tchar` (RFC 9110 section 5.6.2), without the star: as a method it is hardly meant as a name.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte)
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatedPrincipal;

impl Kind for StatedPrincipal {
    type Value = Option<(PrincipalKind, String)>;

    fn expected(&self) -> Cow<'static, str> {
        "a principal such as \"user:alice\" or \"anyone\"".into()
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let text = Text.read(field)?;
        match stated_principal(&text) {
            Ok(principal) => Some(principal.map(|(kind, id)| (kind, id.to_owned()))),
            Err(problem) => {
                let help = match text.strip_prefix("group:") {
                    Some(group) => format!("say who it is, and write groups = [\"{}\"]", shown(group)),
                    None => format!("write {}", self.expected()),
                };
                field.bad_value(shown(&problem), Some(help));
                None
            }
        }
    }
}

/// A host, in its canonical form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host;

impl Kind for Host {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a host such as \"billing.internal\"".into()
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = Text.read(field)?;
        stated_host(&text)
            .map_err(|_| field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None))
            .ok()
    }
}

/// One address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address;

impl Kind for Address {
    type Value = IpAddr;

    fn expected(&self) -> Cow<'static, str> {
        "an address such as \"203.0.113.7\"".into()
    }

    fn schema(&self) -> Value {
        matching("^[0-9A-Fa-f:.]+$")
    }

    fn read(&self, field: &Field<'_>) -> Option<IpAddr> {
        let text = field.text(&self.expected())?;
        let address = text.parse().ok();
        if address.is_none() {
            let help = text.contains('/').then(|| "one address, without a length".to_owned());
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), help);
        }
        address
    }
}

/// A fact, or the word that says that it is unknown: what a case writes where the defaults know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrUnknown<K>(pub(crate) K);

impl<K: Kind> Kind for OrUnknown<K> {
    type Value = Option<K::Value>;

    fn expected(&self) -> Cow<'static, str> {
        format!("{}, or \"unknown\"", self.0.expected()).into()
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [self.0.schema(), one_of(["unknown"].into_iter())] })
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        if matches!(field.value, DeValue::String(text) if text == "unknown") {
            return Some(None);
        }
        self.0.read(field).map(Some)
    }
}

/// A reason code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason;

impl Kind for Reason {
    type Value = ReasonCode;

    fn expected(&self) -> Cow<'static, str> {
        "a reason code such as \"rbac.no_matching_grant\"".into()
    }

    fn schema(&self) -> Value {
        one_of(ReasonCode::ALL.iter().map(|code| code.code()))
    }

    fn read(&self, field: &Field<'_>) -> Option<ReasonCode> {
        let text = field.text(&self.expected())?;
        let code = ReasonCode::parse(&text);
        if code.is_none() {
            let known: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.code()).collect();
            let help = suggest::nearest(&text, known.iter().copied()).map(|code| format!("did you mean `{code}`?"));
            let help = help.unwrap_or_else(|| "docs/denials has a page for every code".to_owned());
            field.bad_value(format!("\"{}\" is not a reason code", shown(&text)), Some(help));
        }
        code
    }
}

/// One change of a suggestion, such as `role:billing.reader`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need;

/// What a suggestion can ask for.
const NEEDS: [&str; 11] = [
    "role",
    "group",
    "network",
    "country",
    "hours",
    "device",
    "assurance",
    "authentication",
    "risk",
    "credential",
    "activation",
];

impl Kind for Need {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a change such as \"role:billing.reader\"".into()
    }

    fn schema(&self) -> Value {
        matching("^[a-z]+:.")
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let kind = text.split_once(':').filter(|(_, name)| !name.is_empty()).map(|(kind, _)| kind);
        if kind.is_some_and(|kind| NEEDS.contains(&kind)) {
            return Some(text.into_owned());
        }
        let help = suggest::remedy(kind.unwrap_or_default(), &NEEDS, "it begins with one of");
        field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), help);
        None
    }
}
