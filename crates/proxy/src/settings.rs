//! What the data plane needs to know, as plain values. The TOML shape lives in `config`.

mod exchange;
mod limits;
mod listener;
mod route;
mod upstream;

pub use exchange::{ClientAddressSettings, ForwardedHeader, ForwardingSettings, IdentityHeaders, RefusalSettings};
pub use limits::Limits;
pub use listener::{
    InboundSettings, ListenerSettings, OPERATORS_HOST, ProcessSettings, ProxyProtocol, ShutdownSettings,
};
pub use route::{Concurrency, Per, RateLimit, Recorded, RouteLimits, RouteSettings};
pub use upstream::{
    BreakerSettings, EjectionSettings, Endpoint, EndpointAddress, EndpointScheme, HealthSettings, Http2Settings,
    UpstreamHttp, UpstreamSettings, UpstreamTimeouts,
};

use std::sync::Arc;

use portcullis_identity::assertion::Assertions;
use portcullis_identity::posture::PostureReader;

use crate::pages::PagesSettings;

/// What a reload replaces as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[[listener]]`, in order.
    pub inbound: Vec<Arc<InboundSettings>>,
    /// `[[upstream]]`, in order; routes refer to them by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// `[[route]]`, in the order of the policy's `RouteId`.
    pub routes: Vec<RouteSettings>,
    /// `[client_address]`
    pub client_address: ClientAddressSettings,
    /// `[identity.headers]`
    pub identity_headers: IdentityHeaders,
    /// `[risk.posture]` of the policy: who reads what is said of devices. `None`: nothing is expected to be.
    pub posture: Option<Arc<PostureReader>>,
    /// `[identity.assertion]`: what signs the assertion; its public keys are under
    /// [`WELL_KNOWN`](portcullis_identity::assertion::WELL_KNOWN) on every listener.
    pub assertions: Option<Arc<Assertions>>,
    /// `[forwarding]`
    pub forwarding: ForwardingSettings,
    /// `[limits]`
    pub limits: Limits,
    /// `[refusal]`
    pub refusal: RefusalSettings,
    /// Where the gateway's own pages are; `None`: nowhere.
    pub pages: Option<PagesSettings>,
}
