//! What risk and bans need to know, as plain values. The TOML shape (`[risk]`, `[ban]` of the policy file) lives in `config`.

use std::time::Duration;

use ipnet::IpNet;

/// Everything the risk engine can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[risk] mode`.
    pub risk_mode: RiskMode,
    /// Weight and bounds of the signal families and single signals.
    pub signals: Vec<SignalSetting>,
    /// The addresses of `[risk] corporate_egress`: never new.
    pub corporate_egress: Vec<IpNet>,
    /// The names of the same networks: what else is in them is asked of the policy, which feeds keep current.
    pub corporate_networks: Vec<String>,
    /// `[risk] step_up_budget`, in millionths: the share of good traffic that may be asked to step up. `None`: nothing is counted for it.
    pub step_up_budget: Option<u32>,
    /// `[risk] calibration`.
    pub calibrate: Calibrate,
    /// `[geo] max_speed_kmh`: what anybody travels. Default 900, an airliner.
    pub max_speed_kmh: u32,
    /// Networks whose addresses are evidence: `[risk] reputation`.
    pub reputation: Vec<Reputation>,
    /// `[ban]`.
    pub ban: BanSettings,
    /// How many principals are remembered. Default 100,000.
    pub max_profiles: usize,
    /// How many actors (addresses and principals) have buckets. Default 65,536.
    pub max_actors: usize,
    /// How many bans are kept at once. Default 32,768.
    pub max_bans: usize,
}

/// Whether the risk score decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RiskMode {
    /// It decides.
    Enforce,
    /// It is computed and reported, and decides nothing. What holds without `[risk]`.
    Monitor,
    /// It is not computed.
    Off,
}

/// `[risk] calibration`: who has thresholds worked out from the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibrate {
    /// The gateway, once a day, and puts them in force. What holds without the key.
    Daily,
    /// An operator, who also puts them in force.
    ByHand,
    /// Somebody once did: the record of this digest (SHA-256 of [`Calibration::text`](crate::Calibration::text)) is in force, and no other.
    Named([u8; 32]),
}

/// `[risk] signals.NAME`.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSetting {
    /// One of [`SIGNALS`].
    pub name: String,
    /// Multiplies the contribution, in thousandths. Default 1,000.
    pub weight_milli: i32,
    /// Bounds of the contribution in milli-nats.
    pub cap_mnats: (i32, i32),
    /// Whether it is computed at all.
    pub enabled: bool,
}

/// The names of `[risk] signals`, with the bounds of their contribution in milli-nats (risk.md 1.2).
pub const SIGNALS: [(&str, (i32, i32)); 12] = [
    ("network", (-3_000, 4_000)),
    ("device", (-3_000, 2_500)),
    ("user_agent", (-1_000, 2_000)),
    ("hour", (0, 1_000)),
    ("travel", (0, 3_000)),
    ("behaviour", (0, 2_000)),
    ("posture", (0, 3_000)),
    ("reputation", (0, 4_000)),
    ("failures", (0, 3_000)),
    ("spraying", (0, 3_000)),
    ("token", (0, 4_000)),
    ("step_up", (-3_000, 0)),
];

/// `reputation = [{ network = "tor", nats = 2.5 }]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reputation {
    /// The name of a network of the policy. What is in it is asked of the policy, which feeds keep current.
    pub network: String,
    /// What it contributes, in milli-nats.
    pub mnats: i32,
}

/// `[ban]`: defaults are those of risk.md section 6.
#[derive(Debug, Clone, PartialEq)]
pub struct BanSettings {
    /// Whether offenders are banned.
    pub mode: BanMode,
    /// Addresses that are never banned.
    pub never: Vec<IpNet>,
    /// The first ban. Default 10 minutes.
    pub first: Duration,
    /// Each further one is this many times longer. Default 2.
    pub factor: u32,
    /// The longest. Default 24 hours.
    pub longest: Duration,
    /// The number of offences halves in this time. Default 7 days.
    pub forget_half: Duration,
    /// Denials over distinct paths.
    pub probing: Probing,
    /// Failed credentials.
    pub credentials: Credentials,
    /// One address that fails as many principals.
    pub spraying: Spraying,
    /// Requests that nobody sends by accident.
    pub signatures: Signatures,
    /// Requests of one actor, whatever became of them.
    pub flood: Flood,
    /// How many callers that are known may be banned at once.
    pub blast_radius: BlastRadius,
}

/// Whether offenders are banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanMode {
    /// They are. What holds without `[ban]`.
    Enforce,
    /// Bans are computed and reported as shadow.
    Simulate,
    /// No buckets, no bans.
    Off,
}

/// `probing = { level = 4, ratio = "25%", half = "5m" }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probing {
    /// The bucket's level that fires.
    pub level: f64,
    /// The least share of errors, as the lower Wilson bound (z = 1.64), 0 to 1.
    pub ratio: f64,
    /// The level halves in this time.
    pub half: Duration,
}

/// `credentials = { level = 5, half = "2m" }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Credentials {
    /// The bucket's level that fires.
    pub level: f64,
    /// The level halves in this time.
    pub half: Duration,
}

/// `spraying = { principals = 5, window = "10m" }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spraying {
    /// This many distinct principals attempted from one address fire.
    pub principals: u32,
    /// Within this time.
    pub window: Duration,
}

/// `signatures = { level = 2.5, half = "5m", enabled = true }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signatures {
    /// Whether requests are looked at.
    pub enabled: bool,
    /// The bucket's level that fires. What is unmistakable counts 3.
    pub level: f64,
    /// The level halves in this time.
    pub half: Duration,
}

/// `flood = { enabled = false, requests = 3000, window = "1m" }`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Whether requests are counted. Not by default: `rate_limit` refuses what is too much, and bans nobody.
    pub enabled: bool,
    /// More than so many fire,
    pub requests: u32,
    /// within this time.
    pub window: Duration,
}

/// `blast_radius = { bans = 20, share = "10%" }`: of principals, and of addresses from which principals were let in, that the gateway
/// bans by itself. The greater of the two holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlastRadius {
    /// So many at once, however few are known.
    pub bans: u32,
    /// This share of those who were active in the last 24 hours, 0 to 1.
    pub share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            risk_mode: RiskMode::Monitor,
            signals: Vec::new(),
            corporate_egress: Vec::new(),
            corporate_networks: Vec::new(),
            step_up_budget: None,
            calibrate: Calibrate::Daily,
            max_speed_kmh: 900,
            reputation: Vec::new(),
            ban: BanSettings::default(),
            max_profiles: 100_000,
            max_actors: 65_536,
            max_bans: 32_768,
        }
    }
}

impl Default for BanSettings {
    fn default() -> Self {
        Self {
            mode: BanMode::Enforce,
            never: Vec::new(),
            first: Duration::from_secs(10 * 60),
            factor: 2,
            longest: Duration::from_secs(24 * 60 * 60),
            forget_half: Duration::from_secs(7 * 24 * 60 * 60),
            probing: Probing { level: 4.0, ratio: 0.25, half: Duration::from_secs(5 * 60) },
            credentials: Credentials { level: 5.0, half: Duration::from_secs(2 * 60) },
            spraying: Spraying { principals: 5, window: Duration::from_secs(10 * 60) },
            signatures: Signatures { enabled: true, level: 2.5, half: Duration::from_secs(5 * 60) },
            flood: Flood { enabled: false, requests: 3_000, window: Duration::from_secs(60) },
            blast_radius: BlastRadius { bans: 20, share: 0.1 },
        }
    }
}
