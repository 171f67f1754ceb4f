//! Deciding on a kept request once more: the answer, or the fact that is missing for it.

use portcullis_policy::{
    AccessRequest, AuthenticationRule, CountryCode, KeptIdentity, KeptRequest, KeptRisk, Outcome, Policy,
    PrincipalKind, Ruling,
};

/// What a policy says to a request that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again<'p> {
    /// This, whatever is not known.
    Ruled(Ruling<'p>),
    /// That depends on something that was not kept.
    Depends(Missing),
}

/// A fact that an answer depends on and that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Missing {
    /// It was refused before anybody looked at who it was.
    Identity,
    /// What the credential says of the caller: the record is of an older version, or a line of the access log.
    Claims,
    /// A list or a text of the record was cut to its bound.
    Cut,
    /// The country of its address.
    Country,
    /// How risky the caller looked.
    Risk,
    /// What an alert demanded at that time.
    Alert,
    /// There is no request in it that could be decided on.
    Request,
}

impl Missing {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Identity, Self::Claims, Self::Cut, Self::Country, Self::Risk, Self::Alert, Self::Request];

    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Claims => "claims",
            Self::Cut => "cut",
            Self::Country => "country",
            Self::Risk => "risk",
            Self::Alert => "alert",
            Self::Request => "request",
        }
    }

    /// Why there is no answer, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Identity => "refused before anybody looked at who it was",
            Self::Claims => "groups, roles and assurance of the caller were not recorded",
            Self::Cut => "a list or a text was cut when it was recorded",
            Self::Country => "the country was not recorded",
            Self::Risk => "the risk was not recorded",
            Self::Alert => "an alert demanded something at that time",
            Self::Request => "no request that could be decided on",
        }
    }
}

/// What is not known of a kept request. Nothing, of one that the gateway kept itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unknown {
    /// Who it was, and why that is not known.
    pub identity: Option<Missing>,
    /// The country.
    pub country: bool,
    /// The risk.
    pub risk: bool,
    /// Whether an alert's demand is met.
    pub demands: bool,
}

/// A score that is in the highest band of every policy.
const HIGHEST: KeptRisk = KeptRisk { mnats: i32::MAX, evidence: true, stated: None };

/// Decides on it again.
pub fn again<'p>(policy: &'p Policy, request: &KeptRequest, unknown: &Unknown) -> Again<'p> {
    request.under(policy, |asked| decide(policy, request, asked, unknown)).unwrap_or(Again::Depends(Missing::Request))
}

fn decide<'p>(policy: &'p Policy, kept: &KeptRequest, asked: &AccessRequest<'_>, unknown: &Unknown) -> Again<'p> {
    if unknown.identity.is_some() || kept.identity == KeptIdentity::NotLookedAt {
        if let Some(ruling) = policy.admission_ruling(asked) {
            return Again::Ruled(ruling);
        }
        // Where credentials are not looked at, it does not matter whose they were.
        let ignored = asked.route.is_some_and(|route| policy.authentication(route) == AuthenticationRule::None);
        if !ignored {
            return Again::Depends(unknown.identity.unwrap_or(Missing::Identity));
        }
    }
    let ruling = policy.ruling(asked);
    let asks_country = unknown.country && asked.route.is_some_and(|route| policy.asks_country(route));
    if asks_country && differs(policy, &ruling, &AccessRequest { country: Some(CountryCode::NOWHERE), ..*asked }) {
        return Again::Depends(Missing::Country);
    }
    if unknown.risk {
        let risky = KeptRequest { risk: Some(HIGHEST), ..kept.clone() };
        let differs = risky.under(policy, |risky| {
            let risky = AccessRequest { country: asked.country, ..*risky };
            differs(policy, &ruling, &risky)
        });
        if differs != Some(false) {
            return Again::Depends(Missing::Risk);
        }
    }
    // A demand can only turn a permit into something else.
    if unknown.demands && ruling.outcome == Outcome::Permit {
        return Again::Depends(Missing::Alert);
    }
    Again::Ruled(ruling)
}

/// Whether the answer is another one under other facts.
fn differs(policy: &Policy, ruling: &Ruling<'_>, asked: &AccessRequest<'_>) -> bool {
    let (outcome, reason) = policy.verdict(asked);
    outcome != ruling.outcome || reason != ruling.reason
}

/// What becomes of a request under another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was permitted, and would be refused: 401, 403 or 404. Also where a stronger authentication is asked of who can never have one.
    NewlyDenied,
    /// It was permitted, and could not be decided on: 503.
    NewlyUndecided,
    /// It was permitted, and would be asked for a stronger authentication.
    NewlyStepUp,
    /// It was refused, and would be permitted.
    NewlyPermitted,
    /// It would be refused as before, and otherwise.
    OtherRefusal,
    /// Nothing.
    None,
}

impl Change {
    /// What becomes of a request.
    pub fn of(before: &Ruling<'_>, after: &Ruling<'_>) -> Self {
        match (before.outcome, after.outcome) {
            (Outcome::Permit, Outcome::Permit) => Self::None,
            (Outcome::Permit, Outcome::Deny | Outcome::Challenge) => Self::NewlyDenied,
            (Outcome::Permit, Outcome::Undecided) => Self::NewlyUndecided,
            (Outcome::Permit, Outcome::StepUp) => Self::NewlyStepUp,
            (Outcome::Deny | Outcome::Challenge | Outcome::StepUp | Outcome::Undecided, Outcome::Permit) => {
                Self::NewlyPermitted
            }
            (
                Outcome::Deny | Outcome::Challenge | Outcome::StepUp | Outcome::Undecided,
                Outcome::Deny | Outcome::Challenge | Outcome::StepUp | Outcome::Undecided,
            ) => {
                let same = before.outcome == after.outcome && before.reason == after.reason;
                if same { Self::None } else { Self::OtherRefusal }
            }
        }
    }

    /// The same for whoever made the request: a service and the holder of a certificate have no second factor, so that what a user is asked for is
    /// the end for them.
    #[must_use]
    pub fn for_caller(self, request: &KeptRequest) -> Self {
        match (self, request.principal().map(|principal| principal.kind)) {
            (Self::NewlyStepUp, Some(PrincipalKind::Service | PrincipalKind::Certificate)) => Self::NewlyDenied,
            (change, Some(PrincipalKind::User | PrincipalKind::Service | PrincipalKind::Certificate) | None) => change,
        }
    }
}
