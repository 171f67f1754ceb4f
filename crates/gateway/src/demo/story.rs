//! The story: which requests are sent, in which order, and what must come of each.

use http::StatusCode;
use portcullis_events::ReasonCode;

use Evidence::{Body, Event, FurtherEvent, Header};

use crate::demo::credentials::Caller;

/// One request of the story.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// What happens, in a sentence.
    pub(crate) title: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) caller: Caller,
    /// The client's address, in the word of the trusted proxy that the demo plays.
    pub(crate) client: &'static str,
    /// One more header, where the story needs it.
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) expected: Expected,
    /// It goes on with what the step before began, and is told in a line.
    pub(crate) is_repetition: bool,
}

/// What must come of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) status: StatusCode,
    /// The reason of the refusal; `None`: it is permitted, and reaches the sample API.
    pub(crate) reason: Option<ReasonCode>,
    /// What else must be said.
    pub(crate) evidence: &'static [Evidence],
}

/// A text that must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Evidence {
    /// In the answer's body.
    Body(&'static str),
    /// In this header of the answer.
    Header(&'static str, &'static str),
    /// In the event, in the text at this JSON pointer (RFC 6901).
    Event(&'static str, &'static str),
    /// A further event of this kind.
    FurtherEvent(&'static str),
}

const OFFICE: &str = "203.0.113.10";
const PARTNER: &str = "198.51.100.23";
const CAFE: &str = "192.0.2.7";
const OFFENDER: &str = "198.51.100.66";
const NEXT_TO_THE_OFFENDER: &str = "198.51.100.67";

const INVOICE: &str = "/api/invoices/7";
const EXPORT: &str = "/api/export/invoices.csv";
const BANK_DETAILS: &str = "/api/invoices/7/bank-details";

/// The whole story. The ban comes last, because it ends what its address can do.
pub(crate) const STORY: &[Step] = &[
    Step {
        expected: permitted(&[Body("\"caller\":\"alice\"")]),
        ..step("Alice, of finance, reads an invoice.", INVOICE, Caller::Alice, OFFICE)
    },
    Step {
        expected: permitted(&[Body("7,1250.00,EUR")]),
        ..step("The nightly report exports all invoices with its API key.", EXPORT, Caller::Reporting, OFFICE)
    },
    Step {
        expected: refused(
            ReasonCode::AuthnMissing,
            &[Header("www-authenticate", "Bearer"), Event("/message", "wants a credential")],
        ),
        ..step("Somebody in the office forgot to log in.", INVOICE, Caller::Nobody, OFFICE)
    },
    Step {
        expected: refused(
            ReasonCode::AuthnExpired,
            &[Header("www-authenticate", "error=\"invalid_token\""), Event("/message", "expired at")],
        ),
        ..step("Alice comes back with the token of yesterday.", INVOICE, Caller::AliceYesterday, OFFICE)
    },
    Step {
        method: "DELETE",
        expected: refused(
            ReasonCode::RbacNoMatchingGrant,
            &[Event("/nearest/0/needs/0", "role:billing.admin"), Event("/nearest/0/file", "policy.toml")],
        ),
        ..step("Alice tries to delete the invoice. What would it take?", INVOICE, Caller::Alice, OFFICE)
    },
    Step {
        method: "DELETE",
        expected: refused(
            ReasonCode::RbacConditionUnmet,
            &[Event("/policy/rule", "bob-runs-billing"), Event("/nearest/0/needs/0", "network:office")],
        ),
        ..step("Bob may delete it, but only from the office, and he visits the partner.", INVOICE, Caller::Bob, PARTNER)
    },
    Step {
        expected: refused(
            ReasonCode::RbacExplicitDeny,
            &[
                Body("Exports need an employee. Ask the data desk."),
                Event("/policy/rule", "contractors-do-not-export"),
                Event("/policy/file", "policy.toml"),
            ],
        ),
        ..step(
            "Carol, a contractor, wants the export. A deny is stronger than her grant.",
            EXPORT,
            Caller::Carol,
            PARTNER,
        )
    },
    Step {
        expected: refused(
            ReasonCode::StepUpRequired,
            &[Header("www-authenticate", "acr_values=\"urn:mfa\""), Event("/nearest/0/needs/0", "assurance:mfa")],
        ),
        ..step("Alice wants bank details, which take a second factor.", BANK_DETAILS, Caller::Alice, OFFICE)
    },
    Step {
        expected: permitted(&[Body("\"iban\"")]),
        ..step("She shows her second factor and asks again.", BANK_DETAILS, Caller::AliceMfa, OFFICE)
    },
    Step {
        expected: refused(ReasonCode::IpNotAllowed, &[Event("/client/ip", CAFE), Event("/message", "office, partner")]),
        ..step("She tries the same from a café. Her token is not even looked at.", BANK_DETAILS, Caller::AliceMfa, CAFE)
    },
    Step {
        expected: refused(ReasonCode::RequestPathAmbiguous, &[]),
        ..step(
            "A path that the API might read in another way than the gateway.",
            "/api/%2e%2e/admin",
            Caller::Alice,
            OFFICE,
        )
    },
    Step {
        header: Some(("x-auth-user", "bob")),
        expected: permitted(&[Body("\"caller\":\"alice\"")]),
        ..step("Alice claims to be Bob in a header. The API is told the truth.", INVOICE, Caller::Alice, OFFICE)
    },
    Step {
        expected: refused(ReasonCode::AuthnInvalid, &[]),
        ..step("Somebody guesses API keys.", INVOICE, Caller::Guess, OFFENDER)
    },
    Step {
        expected: refused(ReasonCode::AuthnInvalid, &[]),
        is_repetition: true,
        ..step("Another guess.", INVOICE, Caller::Guess, OFFENDER)
    },
    Step {
        expected: refused(ReasonCode::AuthnInvalid, &[FurtherEvent("ban.created")]),
        is_repetition: true,
        ..step("A third guess, which is one too many.", INVOICE, Caller::Guess, OFFENDER)
    },
    Step {
        expected: refused(ReasonCode::BanActive, &[Header("retry-after", ""), Event("/ban/until", "T")]),
        ..step("Now it sends the right key, too late: its address is banned.", INVOICE, Caller::Reporting, OFFENDER)
    },
    Step {
        expected: permitted(&[Body("\"caller\":\"alice\"")]),
        ..step("Alice, at the address next to it, notices nothing.", INVOICE, Caller::Alice, NEXT_TO_THE_OFFENDER)
    },
];

/// A GET that nothing more is known of; each step says what is expected of it.
const fn step(title: &'static str, path: &'static str, caller: Caller, client: &'static str) -> Step {
    let expected = permitted(&[]);
    Step { title, method: "GET", path, caller, client, header: None, expected, is_repetition: false }
}

const fn permitted(evidence: &'static [Evidence]) -> Expected {
    Expected { status: StatusCode::OK, reason: None, evidence }
}

/// A refusal with the usual status of its reason.
const fn refused(reason: ReasonCode, evidence: &'static [Evidence]) -> Expected {
    let status = match reason.status() {
        Some(401) => StatusCode::UNAUTHORIZED,
        Some(400) => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    Expected { status, reason: Some(reason), evidence }
}

impl Step {
    /// The request as a line for a shell in which the demo's `credentials.sh` was read.
    pub(crate) fn command(&self) -> String {
        let mut line = String::from("curl");
        if self.path.contains('%') {
            line.push_str(" --path-as-is");
        }
        if self.method != "GET" {
            line.push_str(&format!(" -X {}", self.method));
        }
        line.push_str(&format!(" $GW{}", self.path));
        if let Some(variable) = self.caller.variable() {
            line.push_str(&format!(" -H \"${variable}\""));
        }
        line.push_str(&format!(" -H \"x-forwarded-for: {}\"", self.client));
        if let Some((name, value)) = self.header {
            line.push_str(&format!(" -H \"{name}: {value}\""));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_of_outcome_is_told_once_at_least() {
        let reasons: BTreeSet<&str> =
            STORY.iter().filter_map(|step| step.expected.reason).map(ReasonCode::code).collect();
        assert!(reasons.len() >= 8, "{reasons:?}");
        assert!(STORY.iter().any(|step| step.expected.reason.is_none()));
        let stages: BTreeSet<&str> =
            STORY.iter().filter_map(|step| step.expected.reason).map(ReasonCode::stage).collect();
        assert_eq!(stages, BTreeSet::from(["authn", "ban", "ip", "rbac", "request", "step_up"]));
    }

    #[test]
    fn the_expected_status_is_that_of_the_reason() {
        for step in STORY {
            let status = step.expected.reason.map_or(Some(200), ReasonCode::status);
            assert_eq!(Some(step.expected.status.as_u16()), status, "{}", step.title);
        }
    }

    #[test]
    fn a_step_fits_on_a_line() {
        for step in STORY {
            assert!(step.title.chars().count() + 4 <= 100 && step.title.ends_with(['.', '?']), "{}", step.title);
            assert!(step.command().chars().count() + 6 <= 100, "{}", step.command());
        }
    }

    #[test]
    fn a_command_names_the_credential_and_never_holds_it() {
        let check = |title: &str, expected: &str| {
            let step = STORY.iter().find(|step| step.title.starts_with(title)).unwrap();
            assert_eq!(step.command(), expected);
        };
        check("Alice, of finance", "curl $GW/api/invoices/7 -H \"$ALICE\" -H \"x-forwarded-for: 203.0.113.10\"");
        check("Somebody in the office", "curl $GW/api/invoices/7 -H \"x-forwarded-for: 203.0.113.10\"");
        check("Bob may", "curl -X DELETE $GW/api/invoices/7 -H \"$BOB\" -H \"x-forwarded-for: 198.51.100.23\"");
        check(
            "Alice claims",
            "curl $GW/api/invoices/7 -H \"$ALICE\" -H \"x-forwarded-for: 203.0.113.10\" -H \"x-auth-user: bob\"",
        );
    }
}
