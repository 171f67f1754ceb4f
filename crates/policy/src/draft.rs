//! What a policy is compiled from: plain values, each with the place it was written, so that every problem and every
//! rule can be led back to a line. `config` fills it from TOML; anyone else may fill it by hand.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::principal::{Principal, PrincipalKind};
use crate::request::{CountryCode, RiskLevel};
use crate::spelling::Spelling;

mod constructors;
mod entries;

/// A place in one of the draft's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Position {
    /// Index into [`PolicyDraft::sources`].
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// The line of the first byte, from 1.
    pub line: u32,
}

/// A value and the place it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// The place.
    pub at: Position,
}

impl<T> Placed<T> {
    /// A value at a place.
    pub fn new(value: T, at: Position) -> Self {
        Self { value, at }
    }
}

impl<T> From<T> for Placed<T> {
    /// A value from nowhere, as tests and programs write it.
    fn from(value: T) -> Self {
        Self { value, at: Position::default() }
    }
}

/// Everything that a policy is made of.
#[derive(Debug, Clone, Default)]
pub struct PolicyDraft {
    /// The names of the files, as messages and events show them.
    pub sources: Vec<Arc<str>>,
    /// The policy's version number, shown in events.
    pub version: u64,
    /// SHA-256 of what it was read from, in hexadecimal, shown in events.
    pub sha256: Arc<str>,
    /// `[[route]]` of `portcullis.toml`, in order: `RouteId` is the index.
    pub routes: Vec<RouteDraft>,
    /// `[[network]]`
    pub networks: Vec<NetworkDraft>,
    /// The prefixes are kept, so that networks can be replaced by [`Policy::with_networks`](crate::Policy::with_networks).
    pub keep_prefixes: bool,
    /// Where whoever is eligible for an assignment activates it by themselves, such as `/.portcullis/activations`: refusals say so. `None`: operators do it.
    pub activations_at: Option<Arc<str>>,
    /// `[[resource]]`
    pub resources: Vec<ResourceDraft>,
    /// `[[role]]`
    pub roles: Vec<RoleDraft>,
    /// `[[group]]`
    pub groups: Vec<GroupDraft>,
    /// `[[assignment]]`
    pub assignments: Vec<AssignmentDraft>,
    /// `[[deny]]`
    pub denies: Vec<DenyDraft>,
    /// `[[exclusive]]`
    pub exclusives: Vec<ExclusiveDraft>,
    /// `[risk]`, the part that decides.
    pub risk: RiskRules,
    /// `[step_up]`
    pub step_up: StepUpRules,
    /// How the ids of principals are compared; see [`Self::respell`]. Default: exactly.
    pub spelling: Spelling,
}

/// `[[route]]`: where it begins; what happens there is the proxy's.
#[derive(Debug, Clone, Default)]
pub struct RouteDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// Exact hosts or `*.suffix`; empty: any host.
    pub hosts: Vec<Placed<String>>,
    /// Path patterns; empty: every path.
    pub paths: Vec<Placed<String>>,
    /// The gateway's own, such as the operators' API: a grant covers it only where its scope names it, never by `"*"`. A deny with
    /// the scope `"*"` holds there, too.
    pub reserved: bool,
}

/// `[[network]]`
#[derive(Debug, Clone, Default)]
pub struct NetworkDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// Its prefixes, host bits zero.
    pub prefixes: Vec<IpNet>,
    /// It was never loaded, or was dropped as stale: whether an address is in it, besides those of `prefixes`, is unknown.
    pub unknown: bool,
}

/// `[[resource]]`: what a route demands before grants are looked at.
#[derive(Debug, Clone, Default)]
pub struct ResourceDraft {
    /// The route's name.
    pub route: Placed<String>,
    /// Default `required`.
    pub authentication: AuthenticationRule,
    /// `networks.allow`: names; empty: every address.
    pub allow: Vec<Placed<String>>,
    /// `networks.deny`: names.
    pub deny: Vec<Placed<String>>,
    /// Default `normal`.
    pub sensitivity: Sensitivity,
    /// Default `enforce`.
    pub mode: Mode,
    /// How whoever comes there must have authenticated. Default: by whatever the route takes.
    pub proof: ProofDraft,
    /// `public = true`: it is meant to be reachable without a credential, and the lint need not say so.
    pub public: Placed<bool>,
    /// Whoever was refused may ask for access.
    pub requestable: bool,
    /// The entry itself.
    pub at: Position,
}

/// `assurance` and `max_age` of a `[[resource]]`: how whoever comes there must have authenticated, whatever they are granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ProofDraft {
    /// As strong and fresh as `[step_up]` says (`assurance = "mfa"`).
    pub mfa: bool,
    /// At most so many seconds ago (`max_age = "15m"`).
    pub max_age_s: Option<u64>,
}

/// Whether credentials are looked at, and demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum AuthenticationRule {
    /// No credential is 401.
    #[default]
    Required,
    /// No credential is the principal `anyone`.
    Optional,
    /// Credentials are ignored and pass unchanged.
    None,
    /// Only the holder of a client certificate may come; whoever proved anything else is 401, too.
    Certificate,
}

impl AuthenticationRule {
    /// Whether this principal's credential is one that the route takes.
    pub(crate) fn takes(self, principal: &Principal) -> bool {
        match self {
            Self::Required | Self::Optional => true,
            Self::None => false,
            Self::Certificate => principal.kind == PrincipalKind::Certificate,
        }
    }
}

/// How much harm access to a resource can do: chooses the risk thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Sensitivity {
    /// Little.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Much.
    High,
}

/// Whether a rule decides, or is only evaluated and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is reported and changes nothing.
    Shadow,
}

/// `[[role]]`
#[derive(Debug, Clone, Default)]
pub struct RoleDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// The roles whose permissions it has too.
    pub inherits: Vec<Placed<String>>,
    /// Its own permissions.
    pub permissions: Vec<PermissionDraft>,
}

/// One permission: `actions` minus `not_actions`.
#[derive(Debug, Clone, Default)]
pub struct PermissionDraft {
    /// `METHOD PATTERN` each.
    pub actions: Vec<Placed<String>>,
    /// What is taken out again, of this permission alone.
    pub not_actions: Vec<Placed<String>>,
}

/// `[[group]]`
#[derive(Debug, Clone, Default)]
pub struct GroupDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// Principals and groups.
    pub members: Vec<Placed<String>>,
}

/// `[[assignment]]`
#[derive(Debug, Clone, Default)]
pub struct AssignmentDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// The role it grants.
    pub role: Placed<String>,
    /// To whom: `user:ID`, `service:ID`, `group:NAME`, `certificate:SAN`, `anyone`, `authenticated`.
    pub principals: Vec<Placed<String>>,
    /// On which routes.
    pub scope: ScopeDraft,
    /// From when on.
    pub starts: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// Under which conditions; all must hold.
    pub when: WhenDraft,
    /// It is only eligible: it grants while its holder has activated it. Without, it is active by itself.
    pub activation: Option<ActivationRules>,
    /// Default `enforce`.
    pub mode: Mode,
}

/// `activation = { … }`: an eligible assignment, and what activating it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivationRules {
    /// The longest time for which it can be activated at once, in seconds.
    pub max_s: u64,
    /// Whether whoever activates it must say why.
    pub justification_required: bool,
    /// Whether whoever activates it must name a ticket.
    pub ticket_required: bool,
    /// How many persons other than its holder, and than who asked, must approve first.
    pub approvals: u8,
    /// Whether its holder activates it by itself with nothing but a credential. Without it, and where nobody must approve, only with a fresh mfa.
    pub by_oneself: bool,
}

impl ActivationRules {
    /// For at most so many seconds, with a justification and nothing else.
    pub fn of(max_s: u64) -> Self {
        Self { max_s, justification_required: true, ticket_required: false, approvals: 0, by_oneself: false }
    }
}

/// `[[deny]]`
#[derive(Debug, Clone, Default)]
pub struct DenyDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// Whom it forbids.
    pub principals: Vec<Placed<String>>,
    /// What it forbids: `METHOD PATTERN` each.
    pub actions: Vec<Placed<String>>,
    /// On which routes.
    pub scope: ScopeDraft,
    /// From when on.
    pub starts: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// Under which conditions; all must hold. `assurance`, `max_age` and `max_risk` are not for denies.
    pub when: WhenDraft,
    /// What the caller is told.
    pub explain: Option<Arc<str>>,
    /// Default `enforce`.
    pub mode: Mode,
}

/// `[[exclusive]]`: roles of which one principal should not hold too many (static separation of duty, ANSI INCITS 359
/// section 6.3). It decides nothing: the lint reports who holds more.
#[derive(Debug, Clone, Default)]
pub struct ExclusiveDraft {
    /// Its name, unique.
    pub name: Placed<String>,
    /// The roles: at least two, at most [`ExclusiveDraft::MOST_ROLES`].
    pub roles: Vec<Placed<String>>,
    /// How many of them one principal may hold: at least 1, and fewer than there are. Default 1.
    pub max: Option<Placed<usize>>,
}

impl ExclusiveDraft {
    /// The most roles of one set.
    pub const MOST_ROLES: usize = 64;
}

/// The routes a rule covers.
#[derive(Debug, Clone)]
pub enum ScopeDraft {
    /// `"*"`: all of them.
    All,
    /// The routes of these names.
    Routes(Vec<Placed<String>>),
}

impl Default for ScopeDraft {
    fn default() -> Self {
        Self::Routes(Vec::new())
    }
}

/// `when = { … }`: every condition that is there must hold.
#[derive(Debug, Clone, Default)]
pub struct WhenDraft {
    /// The client's address is in one of these networks.
    pub networks: Option<Vec<Placed<String>>>,
    /// Now is within these hours.
    pub hours: Option<Placed<Hours>>,
    /// The client's country is one of these.
    pub countries: Option<Vec<CountryCode>>,
    /// The device is known to meet the rules (`device = "compliant"`).
    pub compliant_device: bool,
    /// The authentication is as strong and fresh as `[step_up]` says (`assurance = "mfa"`).
    pub assurance_mfa: bool,
    /// The caller authenticated at most so many seconds ago (`max_age = "15m"`), by whatever means.
    pub max_age_s: Option<u64>,
    /// The risk band is at most this.
    pub max_risk: Option<RiskLevel>,
}

/// Weekly hours in a time zone, such as `Mon-Fri 08:00-18:00 Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// As it was written; this is what explanations show.
    pub text: Arc<str>,
    /// Bit 0 is Monday, bit 6 Sunday.
    pub days: u8,
    /// First minute of the day, 0 to 1,439.
    pub from_minute: u16,
    /// One past the last minute, 1 to 1,440. When it is not after `from_minute` the span runs past midnight, and
    /// belongs to the day on which it began.
    pub to_minute: u16,
    /// The zone, resolved by `config`. Its rules decide daylight saving time.
    pub zone: TimeZone,
}

/// `[risk]`: how a score becomes a band, and whether the band decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskRules {
    /// Whether risk decides (`enforce`), or is only reported.
    pub enforce: bool,
    /// A caller that cannot answer a step-up (a service, the holder of a certificate) is denied where one would be asked for;
    /// else it is permitted, and that is reported nowhere but in its signals.
    pub deny_services: bool,
    /// Thresholds for sensitivity low, normal and high.
    pub thresholds: [RiskThresholds; 3],
    /// Which of them the policy says itself: these hold whatever a calibration says.
    pub stated: [bool; 3],
}

/// Where the bands begin, in milli-nats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiskThresholds {
    /// From here on medium: step up.
    pub step_up_mnats: i32,
    /// From here on high: deny where there is evidence.
    pub deny_mnats: i32,
}

impl Default for RiskRules {
    /// Without `[risk]`: monitored, with thresholds of 2.5, 2.0 and 1.2 nats for a step-up (low, normal, high
    /// sensitivity) and 2.0 nats more for a denial (risk.md 1.2: `t.deny >= t.step_up + 2.0`).
    fn default() -> Self {
        let band = |step_up_mnats: i32| RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
        Self {
            enforce: false,
            deny_services: false,
            thresholds: [band(2_500), band(2_000), band(1_200)],
            stated: [false; 3],
        }
    }
}

/// `[step_up]`: what counts as assurance `mfa`, and how long it stays fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUpRules {
    /// Any of these `acr` values counts.
    pub acr: Vec<Arc<str>>,
    /// Any of these `amr` values counts.
    pub amr: Vec<Arc<str>>,
    /// The oldest acceptable authentication, in seconds since `auth_time`.
    pub max_age_s: u64,
}

impl Default for StepUpRules {
    /// Without `[step_up]`: `acr` `urn:mfa`, `amr` `mfa`, `otp` or `hwk` (RFC 8176), at most 12 hours old.
    fn default() -> Self {
        Self {
            acr: vec!["urn:mfa".into()],
            amr: vec!["mfa".into(), "otp".into(), "hwk".into()],
            max_age_s: 12 * 60 * 60,
        }
    }
}

/// Something wrong, or questionable, in a draft. Compiling reports all of them at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// Error, or warning.
    pub severity: Severity,
    /// What, as a stable kind.
    pub kind: ProblemKind,
    /// What, in a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that take part, each with a note.
    pub related: Vec<(Position, String)>,
}

/// Whether a problem stops the policy from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// The kinds of problem; `config` gives each its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// Two entries of one kind have one name.
    DuplicateName,
    /// A name is empty, or has characters that cannot be written everywhere.
    BadName,
    /// A reference to something that is not there.
    UnknownReference,
    /// Roles inherit in a circle.
    RoleCycle,
    /// Roles inherit too deep.
    RoleDepth,
    /// Groups contain each other: legal, and rarely meant.
    GroupCycle,
    /// Two routes that no request can tell apart.
    EquivalentRoutes,
    /// Not a host.
    BadHost,
    /// Not a pattern.
    BadPattern,
    /// Not `METHOD PATTERN`.
    BadAction,
    /// Not a principal.
    BadPrincipal,
    /// A condition that has no place here.
    BadCondition,
    /// A list that must not be empty is.
    Empty,
    /// A span of time that ends before it begins.
    BadPeriod,
    /// A bound was exceeded.
    TooMany,
    /// An entry that can never have an effect.
    NoEffect,
    /// An `[[exclusive]]` that cannot be kept, or that nobody could break.
    BadExclusive,
    /// A star or a brace that is only literal (a warning of compiling).
    LiteralWildcard,
    /// Lint: a grant whose end has passed.
    ExpiredGrant,
    /// Lint: a grant that a deny takes away whole.
    DeniedGrant,
    /// Lint: a grant to groups that have no members.
    GrantToNobody,
    /// Lint: a grant whose role permits nothing on the routes of its scope.
    UnreachableGrant,
    /// Lint: a grant whose networks its routes do not let in.
    ContradictingNetworks,
    /// Lint: a grant whose hours do not occur within its period.
    HoursNeverOccur,
    /// Lint: a grant that another grant includes.
    RedundantGrant,
    /// Lint: a role without any permission.
    EmptyRole,
    /// Lint: `not_actions` that take out all that the permission gives.
    NothingLeft,
    /// Lint: a role that nobody holds.
    UnheldRole,
    /// Lint: a role that permits exactly what another one permits.
    DuplicateRole,
    /// Lint: everything, to everybody or everywhere, without a condition.
    BroadGrant,
    /// Lint: a route that can be reached without a credential.
    PublicRoute,
    /// Lint: `public` on a route that demands a credential.
    PublicWithoutEffect,
    /// Lint: an allowlist with a very large prefix.
    WideNetwork,
    /// Lint: a principal that holds more roles of an `[[exclusive]]` than it may.
    ExclusiveHeld,
    /// Lint: part of the policy was not looked at, or part of what was found is not listed.
    LintIncomplete,
}
