//! The values of conditions: weekly hours and countries.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use portcullis_policy::{CountryCode, Hours};
use serde_json::Value;

use crate::schema::matching;
use crate::section::{Field, Kind, shown};

/// An ISO 3166-1 alpha-2 country code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Country;

impl Kind for Country {
    type Value = CountryCode;

    fn expected(&self) -> Cow<'static, str> {
        "a country code such as \"DE\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<CountryCode> {
        let text = field.text(&self.expected())?;
        let code = CountryCode::parse(&text);
        if code.is_none() {
            let help = "use the two letters of ISO 3166-1".to_owned();
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), Some(help));
        }
        code
    }

    fn schema(&self) -> Value {
        matching("^[A-Za-z]{2}$")
    }
}

/// `Mon-Fri 08:00-18:00 Europe/Berlin`
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeeklyHours;

impl Kind for WeeklyHours {
    type Value = Hours;

    fn expected(&self) -> Cow<'static, str> {
        "hours such as \"Mon-Fri 08:00-18:00 Europe/Berlin\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Hours> {
        let text = field.text(&self.expected())?;
        match Hours::parse(&shown(&text), |zone| TimeZone::get(zone).ok()) {
            Ok(hours) => Some(hours),
            Err(problem) => {
                field.bad_value(problem, Some(format!("write {}", self.expected())));
                None
            }
        }
    }

    fn schema(&self) -> Value {
        let day = "([Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]|[Ss][Uu][Nn])";
        let days = format!("{day}(-{day})?");
        matching(&format!("^ *(\\*|{days}(,{days})*) +[0-9]{{2}}:[0-9]{{2}}-[0-9]{{2}}:[0-9]{{2}} +[^ ]+ *$"))
    }
}
