//! The codes of diagnostics: stable, so that a script can match them and a search engine can find them.
//!
//! `E01` is the shape of a file, `E02` what entries mean together, `E03` what the policy alone means, `E04` the case
//! files of `test`; `W…` are warnings, and `W03` those of the policy's lint. Each code has a page in `docs/problems/`, which
//! [`crate::pages`] gives.

/// A file cannot be read: it is missing, a folder, too large, or not UTF-8.
pub const UNREADABLE: &str = "E0100";
/// A file is not TOML.
pub const SYNTAX: &str = "E0101";
/// A key that has no default is absent.
pub const MISSING: &str = "E0102";
/// A key that nobody reads.
pub const UNKNOWN_KEY: &str = "E0103";
/// A value of the wrong type, such as a number where a string belongs.
pub const WRONG_TYPE: &str = "E0104";
/// A value of the right type that says nothing valid.
pub const BAD_VALUE: &str = "E0105";
/// A documented key whose feature this version does not have.
pub const UNAVAILABLE: &str = "E0106";
/// `${NAME}` in a value cannot be expanded.
pub const ENVIRONMENT: &str = "E0107";
/// An entry of `include` is refused.
pub const INCLUDE: &str = "E0108";
/// The file's `version` is not one this program reads.
pub const VERSION: &str = "E0109";
/// Keys or values are nested too deep.
pub const NESTING: &str = "E0110";
/// Two things have one name.
pub const DUPLICATE: &str = "E0201";
/// A name refers to nothing.
pub const UNKNOWN_NAME: &str = "E0202";
/// Two settings contradict each other.
pub const CONFLICT: &str = "E0203";
/// Everybody would be believed about the client's address.
pub const TRUSTS_EVERYBODY: &str = "E0204";
/// An identity provider cannot be built from its settings.
pub const PROVIDER: &str = "E0205";
/// A rule of the policy does not hold together.
pub const POLICY: &str = "E0301";
/// A line of a network's file is no address or prefix.
pub const NETWORK_FILE: &str = "E0302";
/// A case file, or a folder of case files, holds no case.
pub const NO_CASE: &str = "E0401";
/// A pattern of `include` matches no file.
pub const NOTHING_INCLUDED: &str = "W0101";
/// A documented key whose feature this version does not have, and whose absence lets nobody in.
pub const WITHOUT_EFFECT: &str = "W0102";
/// Without a route every request is refused.
pub const NO_ROUTE: &str = "W0201";
/// An API key names a role, route or network that is not there.
pub const UNKNOWN_ROLE: &str = "W0202";
/// The certificate of a listener is past its date.
pub const EXPIRED_CERTIFICATE: &str = "W0203";
/// What was kept of a network's list is broken, and not used.
pub const BROKEN_LIST: &str = "W0204";
/// A geo database is not where it should be.
pub const NO_DATABASE: &str = "W0205";
/// Several gateways do not know of each other which proofs of possession were used.
pub const UNSHARED_PROOFS: &str = "W0206";
/// Variables of the environment stand in what needs approvals.
pub const GOVERNED_VARIABLES: &str = "W0207";
/// Permits are to be recorded, and no sink takes them.
pub const UNTAKEN_PERMITS: &str = "W0208";
/// The file that is to encrypt backups holds no key.
pub const BACKUP_KEY: &str = "W0209";
/// The policy spells an id otherwise than it is compared.
pub const OTHER_SPELLING: &str = "W0210";
/// A principal that is written as if it were everybody of its kind, and is nobody.
pub const STAR_PRINCIPAL: &str = "W0211";
/// A star or a brace in a pattern that means only itself.
pub const LITERAL_WILDCARD: &str = "W0301";
/// Groups that contain each other.
pub const GROUP_CYCLE: &str = "W0302";
/// A condition on a country, and no geo database that would know it.
pub const COUNTRY_UNKNOWN: &str = "W0303";
/// A grant whose end has passed.
pub const EXPIRED_GRANT: &str = "W0310";
/// A grant to groups that have no members.
pub const GRANT_TO_NOBODY: &str = "W0311";
/// A grant whose networks its routes do not let in.
pub const CONTRADICTING_NETWORKS: &str = "W0312";
/// A grant whose hours do not occur within its period.
pub const HOURS_NEVER_OCCUR: &str = "W0313";
/// A grant whose role permits nothing on its routes.
pub const UNREACHABLE_GRANT: &str = "W0314";
/// A grant that a deny takes away whole.
pub const DENIED_GRANT: &str = "W0315";
/// A grant that another grant includes.
pub const REDUNDANT_GRANT: &str = "W0316";
/// A role without any permission.
pub const EMPTY_ROLE: &str = "W0320";
/// `not_actions` that take out all that their permission gives.
pub const NOTHING_LEFT: &str = "W0321";
/// A role that nobody holds.
pub const UNHELD_ROLE: &str = "W0322";
/// Two roles that permit exactly the same.
pub const DUPLICATE_ROLE: &str = "W0323";
/// Everything, to everybody or everywhere, without a condition.
pub const BROAD_GRANT: &str = "W0330";
/// A route that can be reached without a credential and does not say `public = true`.
pub const PUBLIC_ROUTE: &str = "W0331";
/// `public = true` on a route that demands a credential.
pub const PUBLIC_WITHOUT_EFFECT: &str = "W0332";
/// A very large prefix in a network that lets addresses in.
pub const WIDE_NETWORK: &str = "W0340";
/// Somebody holds more roles of an `[[exclusive]]` than it allows.
pub const EXCLUSIVE_HELD: &str = "W0350";
/// The lint did not look at everything, or does not list all that it found.
pub const LINT_INCOMPLETE: &str = "W0390";

/// Every code with what it means, in order.
pub const ALL: &[(&str, &str)] = &[
    (UNREADABLE, "a file cannot be read: it is missing, a folder, too large, or not UTF-8"),
    (SYNTAX, "a file is not TOML"),
    (MISSING, "a key that has no default is absent"),
    (UNKNOWN_KEY, "a key that nobody reads"),
    (WRONG_TYPE, "a value of the wrong type, such as a number where a string belongs"),
    (BAD_VALUE, "a value of the right type that says nothing valid"),
    (UNAVAILABLE, "a documented key whose feature this version does not have"),
    (ENVIRONMENT, "`${NAME}` in a value cannot be expanded"),
    (INCLUDE, "an entry of `include` is refused"),
    (VERSION, "the file's `version` is not one this program reads"),
    (NESTING, "keys or values are nested too deep"),
    (DUPLICATE, "two things have one name"),
    (UNKNOWN_NAME, "a name refers to nothing"),
    (CONFLICT, "two settings contradict each other"),
    (TRUSTS_EVERYBODY, "everybody would be believed about the client's address"),
    (PROVIDER, "an identity provider cannot be built from its settings"),
    (POLICY, "a rule of the policy does not hold together"),
    (NETWORK_FILE, "a line of a network's file is no address or prefix"),
    (NO_CASE, "a case file, or a folder of case files, holds no case"),
    (NOTHING_INCLUDED, "a pattern of `include` matches no file"),
    (WITHOUT_EFFECT, "a documented key whose feature this version does not have; ignoring it lets nobody in"),
    (NO_ROUTE, "without a route every request is refused"),
    (UNKNOWN_ROLE, "an API key names a role, route or network that is not there"),
    (EXPIRED_CERTIFICATE, "the certificate of a listener is past its date"),
    (BROKEN_LIST, "what was kept of a network's list is broken, and not used"),
    (NO_DATABASE, "a geo database is not where it should be"),
    (UNSHARED_PROOFS, "several gateways do not share which proofs of possession were used"),
    (GOVERNED_VARIABLES, "variables of the environment stand in what needs approvals"),
    (UNTAKEN_PERMITS, "permits are to be recorded, and no sink takes them"),
    (BACKUP_KEY, "the key that is to encrypt backups cannot be used, so that none is made"),
    (OTHER_SPELLING, "the policy spells an id otherwise than it is compared"),
    (STAR_PRINCIPAL, "a principal is written as if it were everybody of its kind"),
    (LITERAL_WILDCARD, "a star or a brace in a pattern that means only itself"),
    (GROUP_CYCLE, "groups that contain each other"),
    (COUNTRY_UNKNOWN, "a condition on a country, and no geo database"),
    (EXPIRED_GRANT, "a grant whose end has passed"),
    (GRANT_TO_NOBODY, "a grant to groups that have no members"),
    (CONTRADICTING_NETWORKS, "a grant whose networks its routes do not let in"),
    (HOURS_NEVER_OCCUR, "a grant whose hours do not occur within its period"),
    (UNREACHABLE_GRANT, "a grant whose role permits nothing on its routes"),
    (DENIED_GRANT, "a grant that a deny takes away whole"),
    (REDUNDANT_GRANT, "a grant that another grant includes"),
    (EMPTY_ROLE, "a role without any permission"),
    (NOTHING_LEFT, "`not_actions` that take out all that their permission gives"),
    (UNHELD_ROLE, "a role that nobody holds"),
    (DUPLICATE_ROLE, "two roles that permit exactly the same"),
    (BROAD_GRANT, "everything, to everybody or everywhere, without a condition"),
    (PUBLIC_ROUTE, "a route that can be reached without a credential and does not say `public = true`"),
    (PUBLIC_WITHOUT_EFFECT, "`public = true` on a route that demands a credential"),
    (WIDE_NETWORK, "a very large prefix in a network that lets addresses in"),
    (EXCLUSIVE_HELD, "somebody holds more roles of an `[[exclusive]]` than it allows"),
    (LINT_INCOMPLETE, "the lint did not look at everything, or does not list all that it found"),
];
