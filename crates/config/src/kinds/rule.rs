//! The words of rules: actions and principals. They are read as they are written, since the policy compiles and judges
//! them; here is what they look like.

use std::borrow::Cow;

use serde_json::Value;

use crate::kinds::Text;
use crate::schema::matching;
use crate::section::{Field, Kind};

/// `METHOD PATTERN`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action;

impl Kind for Action {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "an action such as \"GET /api/**\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        Text.read(field)
    }

    fn schema(&self) -> Value {
        // A method is a token (RFC 9110 section 5.6.2).
        let method = "[!#$%&'+.^_`|~0-9A-Za-z-]+";
        matching(&format!("^(\\*|{method}(,{method})*) +/"))
    }
}

/// A principal of a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrincipalName;

impl Kind for PrincipalName {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "a principal such as \"user:alice\" or \"group:finance\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        Text.read(field)
    }

    fn schema(&self) -> Value {
        matching("^(user|service|group|certificate):.|^(anyone|authenticated)$")
    }
}
