//! `[risk]`, `[step_up]` and `[ban]` of the policy file.

use std::borrow::Cow;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use http::HeaderName;
use portcullis_risk::settings::{
    BanMode, BanSettings, BlastRadius, Calibrate, Credentials, Flood, Probing, RiskMode, SIGNALS, Signatures, Spraying,
};
use serde_json::{Value, json};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::kinds::{Choice, Decimal, FilePath, Flag, Header, Integer, Name, Percentage, ResolvedPath, Text, Time};
use crate::section::{Field, Kind, Section, shown};

/// Nats beyond this say nothing: e to the 20 is half a thousand million to one.
pub(crate) const MAX_NATS: f64 = 20.0;
/// The signal of reputation is capped there (risk.md 1.2).
pub(crate) const MAX_REPUTATION_NATS: f64 = 4.0;
/// Alone it is evidence, and a step-up.
pub(crate) const REPUTATION_NATS: f64 = 2.5;

/// `[risk]`
#[derive(Debug)]
pub(crate) struct Risk {
    pub(crate) mode: RiskMode,
    /// For sensitivity low, normal and high, where they are set.
    pub(crate) thresholds: [Option<Thresholds>; 3],
    pub(crate) signals: Vec<SignalEntry>,
    pub(crate) corporate_egress: Vec<At<String>>,
    pub(crate) reputation: Vec<ReputationEntry>,
    /// What a risk that asks for a step-up means to a caller that cannot answer one.
    pub(crate) deny_services: bool,
    /// In millionths.
    pub(crate) step_up_budget: Option<u32>,
    pub(crate) calibrate: Calibrate,
    pub(crate) posture: Option<PostureEntry>,
}

/// `[risk.posture]`
#[derive(Debug)]
pub(crate) struct PostureEntry {
    pub(crate) header: HeaderName,
    /// Whose word it is: an agent's, by the keys of this file; `None`: a trusted proxy's.
    pub(crate) keys: Option<At<ResolvedPath>>,
    pub(crate) max_age: Duration,
    /// Where it says whose word it is.
    pub(crate) from: Span,
}

/// `reputation = [{ network = "tor", nats = 2.5 }]`
#[derive(Debug)]
pub(crate) struct ReputationEntry {
    pub(crate) network: At<String>,
    pub(crate) mnats: i32,
}

/// `thresholds.high = { step_up = 1.2, deny = 3.0 }`, in milli-nats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    pub(crate) step_up: Option<i32>,
    pub(crate) deny: Option<At<i32>>,
}

/// `signals.network = { … }`
#[derive(Debug)]
pub(crate) struct SignalEntry {
    pub(crate) name: &'static str,
    pub(crate) weight_milli: i32,
    pub(crate) cap_mnats: (i32, i32),
    pub(crate) enabled: bool,
}

pub(crate) fn read_risk(section: Section<'_>) -> Risk {
    let modes = Choice(&[("enforce", RiskMode::Enforce), ("monitor", RiskMode::Monitor), ("off", RiskMode::Off)]);
    let risk = Risk {
        mode: section.or("mode", modes, RiskMode::Monitor),
        thresholds: section.table("thresholds").map_or([None; 3], read_thresholds),
        signals: section.table("signals").map_or_else(Vec::new, read_signals),
        corporate_egress: section.one_or_list("corporate_egress", Name).map_or_else(Vec::new, |list| list.value),
        reputation: section.tables("reputation").into_iter().filter_map(read_reputation).collect(),
        deny_services: section.or("services", Choice(&[("allow", false), ("deny", true)]), false),
        step_up_budget: section.optional("step_up_budget", Percentage).and_then(|share| read_budget(&section, &share)),
        calibrate: read_calibrate(&section),
        posture: section.table("posture").and_then(read_posture),
    };
    section.finish();
    risk
}

fn read_calibrate(section: &Section<'_>) -> Calibrate {
    let Some(read) = section.optional("calibration", CalibrationKind) else { return Calibrate::Daily };
    if matches!(read.value, Calibrate::Named(_)) && !section.has("step_up_budget") {
        let message = "a calibration is named, and there is no budget that it is for";
        let help = "write `step_up_budget`, or leave `calibration` out: without a budget none is in force";
        section.reader().report(Diagnostic::error(codes::CONFLICT, read.span, message).with_help(help));
    }
    read.value
}

/// The values of `calibration`.
const CALIBRATIONS: Choice<Calibrate> = Choice(&[("daily", Calibrate::Daily), ("by_hand", Calibrate::ByHand)]);
/// What the digest of one begins with.
const DIGEST: &str = "sha256:";

/// Who puts calibrations in force, or the digest of the one that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CalibrationKind;

impl Kind for CalibrationKind {
    type Value = Calibrate;

    fn expected(&self) -> Cow<'static, str> {
        "\"daily\" or \"by_hand\", or \"sha256:\" and the 64 digits that `portcullis risk calibration show` says".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Calibrate> {
        let text = field.text(&self.expected())?;
        let digest = text.strip_prefix(DIGEST).map(|digest| HEXLOWER_PERMISSIVE.decode(digest.as_bytes()));
        let read = match digest {
            Some(digest) => digest.ok().and_then(|digest| digest.try_into().ok()).map(Calibrate::Named),
            None => CALIBRATIONS.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value),
        };
        if read.is_none() {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
        }
        read
    }

    fn schema(&self) -> Value {
        let mut schema = CALIBRATIONS.schema();
        if let Some(any) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            any.push(json!({ "type": "string", "pattern": "^sha256:[0-9A-Fa-f]{64}$" }));
        }
        schema
    }
}

/// From one in ten thousand: less would need more traffic than is worth waiting for. To a half: more is no budget.
fn read_budget(section: &Section<'_>, share: &At<f64>) -> Option<u32> {
    let millionths = (share.value * 1_000_000.0).round();
    if (100.0..=500_000.0).contains(&millionths) {
        // Exact: a whole number that fits.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 100 to 500,000")]
        return Some(millionths as u32);
    }
    let message = "`step_up_budget` must be from 0.01% to 50%";
    let help = "it is the share of good traffic that may be asked to step up, such as \"1%\"";
    section.reader().report(Diagnostic::error(codes::BAD_VALUE, share.span, message).with_help(help));
    None
}

/// The header that says something of devices, where no other is named.
pub(crate) const POSTURE_HEADER: HeaderName = HeaderName::from_static("x-device-posture");

fn read_posture(section: Section<'_>) -> Option<PostureEntry> {
    let header = section.or("header", Header, POSTURE_HEADER);
    let from = section.required("from", Choice(&[("proxy", false), ("agent", true)]));
    let max_age = section.or("max_age", Time::within("1s", "30d"), Duration::from_secs(10 * 60));
    let keys = section.optional("keys", FilePath);
    let from = match (&from, &keys) {
        (Some(At { value: true, .. }), None) => {
            section.report_missing("keys", "the file with the public keys of the agents, a JWK set");
            None
        }
        (Some(At { value: false, .. }), Some(keys)) => {
            let message = "`keys` says nothing of a proxy's word, which is not signed";
            let help = "remove it, or write `from = \"agent\"`";
            section.reader().report(Diagnostic::error(codes::CONFLICT, keys.span, message).with_help(help));
            None
        }
        _ => from.map(|from| from.span),
    };
    section.finish();
    Some(PostureEntry { header, keys, max_age, from: from? })
}

fn read_reputation(section: Section<'_>) -> Option<ReputationEntry> {
    let network = section.required("network", Name);
    let nats = section.or("nats", Decimal(0.0..=MAX_REPUTATION_NATS), REPUTATION_NATS);
    section.finish();
    Some(ReputationEntry { network: network?, mnats: milli(nats) })
}

fn read_thresholds(section: Section<'_>) -> [Option<Thresholds>; 3] {
    let thresholds = ["low", "normal", "high"].map(|sensitivity| {
        let section = section.table(sensitivity)?;
        let nats = |key| section.optional(key, Decimal(0.0..=MAX_NATS)).map(|nats| nats.map(milli));
        let found = Thresholds { step_up: nats("step_up").map(|nats| nats.value), deny: nats("deny") };
        section.finish();
        Some(found)
    });
    section.finish();
    thresholds
}

fn read_signals(section: Section<'_>) -> Vec<SignalEntry> {
    let mut entries = Vec::new();
    for (name, default_cap) in &SIGNALS {
        let Some(signal) = section.table(name) else { continue };
        entries.push(SignalEntry {
            name,
            weight_milli: milli(signal.or("weight", Decimal(0.0..=10.0), 1.0)),
            cap_mnats: read_cap(&signal).unwrap_or(*default_cap),
            enabled: signal.or("enabled", Flag, true),
        });
        signal.finish();
    }
    section.finish();
    entries
}

fn read_cap(section: &Section<'_>) -> Option<(i32, i32)> {
    let cap = section.list("cap", Decimal(-MAX_NATS..=MAX_NATS))?;
    match cap.value.as_slice() {
        [least, most] if least.value <= most.value => Some((milli(least.value), milli(most.value))),
        _ => {
            let message = "`cap`: expected the least and the most contribution in nats, such as [-3.0, 4.0]";
            section.reader().report(Diagnostic::error(codes::BAD_VALUE, cap.span, message));
            None
        }
    }
}

/// Thousandths; the caller has bounded the value.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the kinds bound the value to 20")]
fn milli(value: f64) -> i32 {
    (value * 1_000.0).round() as i32
}

/// `[step_up]`
#[derive(Debug)]
pub(crate) struct StepUp {
    /// What counts as `mfa`: `acr` values, then `amr` values. `None`: the default.
    pub(crate) mfa: Option<(Vec<String>, Vec<String>)>,
    pub(crate) max_age: Option<Duration>,
}

pub(crate) fn read_step_up(section: Section<'_>) -> StepUp {
    let mfa = section.table("mfa").map(|mfa| {
        let values = |key| -> Vec<String> {
            let list = mfa.one_or_list(key, Text).map_or_else(Vec::new, |list| list.value);
            list.into_iter().map(|text| text.value).collect()
        };
        let both = (values("acr"), values("amr"));
        if !mfa.has("acr") && !mfa.has("amr") {
            mfa.report_missing("amr", "a list of strings, or `acr`: without either nothing counts as mfa");
        }
        mfa.finish();
        both
    });
    let max_age = section.optional("max_age", Time::within("1s", "365d"));
    section.finish();
    StepUp { mfa, max_age: max_age.map(|age| age.value) }
}

/// `[ban]`; `settings.never` is filled from the names by `compile`.
#[derive(Debug)]
pub(crate) struct Ban {
    pub(crate) settings: BanSettings,
    pub(crate) never: Vec<At<String>>,
}

pub(crate) fn read_ban(section: Section<'_>) -> Ban {
    let default = BanSettings::default();
    let modes = Choice(&[("enforce", BanMode::Enforce), ("simulate", BanMode::Simulate), ("off", BanMode::Off)]);
    let never = section.one_or_list("never", Name).map_or_else(Vec::new, |list| list.value);
    let longest = section.optional("longest", Time::within("1s", "365d"));
    let settings = BanSettings {
        mode: section.or("mode", modes, default.mode),
        never: Vec::new(),
        first: section.or("first", Time::within("1s", "365d"), default.first),
        factor: u32::try_from(section.or("factor", Integer(1..=100), u64::from(default.factor)))
            .unwrap_or(default.factor),
        longest: longest.as_ref().map_or(default.longest, |longest| longest.value),
        forget_half: section.or("forget_half", Time::within("1s", "365d"), default.forget_half),
        probing: section.table("probing").map_or(default.probing, |probing| read_probing(probing, default.probing)),
        credentials: section
            .table("credentials")
            .map_or(default.credentials, |credentials| read_credentials(credentials, default.credentials)),
        spraying: section
            .table("spraying")
            .map_or(default.spraying, |spraying| read_spraying(spraying, default.spraying)),
        signatures: section
            .table("signatures")
            .map_or(default.signatures, |signatures| read_signatures(signatures, default.signatures)),
        flood: section.table("flood").map_or(default.flood, |flood| read_flood(flood, default.flood)),
        blast_radius: section
            .table("blast_radius")
            .map_or(default.blast_radius, |radius| read_blast_radius(radius, default.blast_radius)),
    };
    if settings.longest < settings.first {
        let at = longest.map_or(section.span(), |longest| longest.span);
        let message = "`longest` is shorter than `first`";
        section
            .reader()
            .report(Diagnostic::error(codes::CONFLICT, at, message).with_help("raise it, or lower `first`"));
    }
    section.finish();
    Ban { settings, never }
}

fn read_probing(section: Section<'_>, default: Probing) -> Probing {
    let probing = Probing {
        level: section.or("level", Decimal(0.1..=10_000.0), default.level),
        ratio: section.or("ratio", Percentage, default.ratio),
        half: section.or("half", Time::within("1s", "1d"), default.half),
    };
    section.finish();
    probing
}

fn read_credentials(section: Section<'_>, default: Credentials) -> Credentials {
    let credentials = Credentials {
        level: section.or("level", Decimal(0.1..=10_000.0), default.level),
        half: section.or("half", Time::within("1s", "1d"), default.half),
    };
    section.finish();
    credentials
}

fn read_spraying(section: Section<'_>, default: Spraying) -> Spraying {
    let principals = section.or("principals", Integer(2..=10_000), u64::from(default.principals));
    let spraying = Spraying {
        principals: u32::try_from(principals).unwrap_or(default.principals),
        window: section.or("window", Time::within("1s", "1d"), default.window),
    };
    section.finish();
    spraying
}

fn read_signatures(section: Section<'_>, default: Signatures) -> Signatures {
    let signatures = Signatures {
        enabled: section.or("enabled", Flag, default.enabled),
        level: section.or("level", Decimal(0.1..=10_000.0), default.level),
        half: section.or("half", Time::within("1s", "1d"), default.half),
    };
    section.finish();
    signatures
}

fn read_flood(section: Section<'_>, default: Flood) -> Flood {
    let requests = section.or("requests", Integer(10..=100_000_000), u64::from(default.requests));
    let flood = Flood {
        enabled: section.or("enabled", Flag, default.enabled),
        requests: u32::try_from(requests).unwrap_or(default.requests),
        window: section.or("window", Time::within("1s", "1d"), default.window),
    };
    section.finish();
    flood
}

fn read_blast_radius(section: Section<'_>, default: BlastRadius) -> BlastRadius {
    let bans = section.or("bans", Integer(0..=1_000_000), u64::from(default.bans));
    let radius = BlastRadius {
        bans: u32::try_from(bans).unwrap_or(default.bans),
        share: section.or("share", Percentage, default.share),
    };
    section.finish();
    radius
}
