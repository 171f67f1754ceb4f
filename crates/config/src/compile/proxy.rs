//! Listeners, upstreams, routes, the client's address and the limits.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_admin::{Door, door};
use portcullis_proxy::introduction::{Introduction, IntroductionFields};
use portcullis_proxy::pages::PagesSettings;
use portcullis_proxy::route::RouteAction;
use portcullis_proxy::settings::{
    ClientAddressSettings, Endpoint, IdentityHeaders, InboundSettings, ListenerSettings, ProcessSettings, Recorded,
    RouteLimits, RouteSettings, Settings, UpstreamSettings, UpstreamTimeouts,
};
use portcullis_proxy::upstream::headers::HeaderPlan;

use crate::codes;
use crate::compile::route::Context;
use crate::compile::upstream::compile_upstream;
use crate::compile::{identity, report_duplicates};
use crate::diagnostics::{At, Diagnostic};
use crate::file::spool::{Keeping, Permits};
use crate::file::{ClientAddress, GatewayFile, Listener};
use crate::section::Reader;

/// The name of the upstream that serves the operators' API: in no file, since a name has no parentheses.
const OPERATORS: &str = "(admin)";

/// What is fixed while the process runs.
pub(crate) fn compile_process(reader: &Reader<'_>, gateway: &GatewayFile) -> ProcessSettings {
    let listeners = &gateway.entries.listeners;
    report_duplicates(reader, "listener", listeners.iter().map(|listener| &listener.name));
    report_shared_addresses(reader, listeners, gateway.operation.ops);
    if listeners.is_empty() && reader.is_complete() && reader.diagnostics.borrow().errors() == 0 {
        let help = "add [[listener]] with `name` and `address`";
        reader.report(Diagnostic::error(codes::MISSING, gateway.start, "there is no [[listener]]").with_help(help));
    }
    let to_settings = |listener: &Listener| ListenerSettings {
        name: listener.name.value.as_str().into(),
        address: listener.address.value,
    };
    ProcessSettings {
        listeners: listeners.iter().map(to_settings).collect(),
        workers: gateway.operation.workers.unwrap_or_else(processors),
        shutdown: gateway.operation.shutdown.clone(),
    }
}

/// One worker per processor, as `[process] workers` says when it is absent.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a reload replaces.
pub(crate) fn compile_settings(
    reader: &Reader<'_>,
    gateway: &GatewayFile,
    inbound: Vec<Arc<InboundSettings>>,
) -> Settings {
    report_limits(reader, gateway);
    let upstreams = &gateway.entries.upstreams;
    report_duplicates(reader, "upstream", upstreams.iter().map(|upstream| &upstream.name));
    let identity_headers = identity::compile_headers(reader, &gateway.entries.identity);
    let assertions = identity::compile_assertions(reader, &gateway.entries.identity);
    Settings {
        inbound,
        upstreams: upstreams
            .iter()
            .map(|upstream| compile_upstream(reader, upstream))
            .chain(operators(gateway))
            .collect(),
        routes: compile_routes(reader, gateway, &identity_headers),
        client_address: compile_client_address(reader, &gateway.client_address),
        identity_headers,
        // By the policy, which is read later.
        posture: None,
        assertions,
        forwarding: gateway.forwarding.clone(),
        limits: gateway.operation.limits.clone(),
        refusal: gateway.operation.refusal.clone(),
        pages: compile_pages(gateway),
    }
}

/// The gateway's own pages: where somebody can log in, or asks for access.
fn compile_pages(gateway: &GatewayFile) -> Option<PagesSettings> {
    let access = &gateway.operation.access;
    let self_service = access.self_service.is_some();
    let hosts = access.hosts.iter().map(|host| host.value.clone()).collect();
    let nobody_logs_in = || PagesSettings {
        prefix: PagesSettings::PREFIX.into(),
        login: false,
        step_up: false,
        self_service,
        hosts: Arc::default(),
        allow_http: false,
    };
    match &gateway.entries.identity.login {
        Some(login) => Some(PagesSettings { self_service, hosts, ..login.pages.clone() }),
        None => self_service.then(nobody_logs_in),
    }
}

/// Every worker binds with `SO_REUSEPORT`, so that the kernel itself would not refuse a second listener.
fn report_shared_addresses(reader: &Reader<'_>, listeners: &[Listener], ops: Option<At<SocketAddr>>) {
    let mut bound: Vec<(At<SocketAddr>, String)> = Vec::new();
    let named = listeners.iter().map(|listener| (listener.address, format!("the listener `{}`", listener.name.value)));
    for (address, name) in named.chain(ops.map(|address| (address, "[ops]".to_owned()))) {
        if let Some((first, first_name)) = bound.iter().find(|(other, _)| overlap(other.value, address.value)) {
            let message = format!("{name} and {first_name} bind one address, `{}`", address.value);
            let diagnostic = Diagnostic::error(codes::CONFLICT, address.span, message)
                .with_related(first.span, format!("{first_name} is here"))
                .with_help("choose another port");
            reader.report(diagnostic);
        }
        bound.push((address, name));
    }
}

/// Whether two sockets would receive the same connections. Port 0 is a new port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = matches!((a.ip(), b.ip()), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)));
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_family && same_host
}

fn compile_routes(reader: &Reader<'_>, gateway: &GatewayFile, headers: &IdentityHeaders) -> Vec<RouteSettings> {
    let plan = HeaderPlan::new(headers, &[]);
    let upstreams: HashMap<&str, usize> =
        gateway.entries.upstreams.iter().enumerate().map(|(index, each)| (each.name.value.as_str(), index)).collect();
    if gateway.entries.routes.is_empty() && reader.is_complete() {
        let message = "there is no [[route]]: every request will be refused";
        reader.report(Diagnostic::warning(codes::NO_ROUTE, gateway.start, message));
    }
    let routes = gateway.entries.routes.iter();
    let default = &gateway.operation.route_limits;
    let timeouts: Vec<UpstreamTimeouts> = gateway.entries.upstreams.iter().map(|upstream| upstream.timeouts).collect();
    let context = |route| Context { reader, plan: &plan, route, upstreams: &upstreams, timeouts: &timeouts };
    let keeping = &gateway.operation.keeping;
    routes.map(|route| compile_route(context(route), default, keeping)).collect()
}

/// Where the API reads who asks.
fn fields() -> IntroductionFields {
    IntroductionFields { token: door::TOKEN, operator: door::OPERATOR, client: door::CLIENT }
}

/// What serves the operators' API: this process, behind the last upstream.
fn operators(gateway: &GatewayFile) -> Option<UpstreamSettings> {
    gateway.entries.routes.iter().find(|route| route.operators)?;
    // Without random bytes there is nothing that could be believed: the API is out of reach, and all else goes on.
    let path = Door::of_process().map_or_else(|| Path::new("/nonexistent"), Door::path);
    let mut settings = UpstreamSettings::new(OPERATORS, vec![Endpoint::unix(path)]);
    // What is being done must not be done twice, and its answer may take a while: the API has a bound of its own.
    settings.retry_percent = 0;
    settings.timeouts.first_byte = Duration::from_secs(70);
    settings.timeouts.idle = Duration::MAX;
    settings.timeouts.total = Duration::MAX;
    settings.breaker = None;
    settings.ejection = None;
    Some(settings)
}

fn compile_route(context: Context<'_, '_>, default: &RouteLimits, keeping: &Keeping) -> RouteSettings {
    let Context { route, .. } = context;
    if route.operators {
        let mut settings =
            RouteSettings::new(route.name.value.as_str(), RouteAction::Upstream(context.upstreams.len()));
        settings.operators =
            Door::of_process().and_then(|door| Introduction::new(fields(), door.token())).map(Box::new);
        settings.limits =
            RouteLimits { rates: default.rates.clone(), concurrent: default.concurrent, ..RouteLimits::default() };
        return settings;
    }
    // What is not found was reported, so that these settings are never used.
    let found = route.upstream.as_ref().and_then(|name| context.upstream(name)).unwrap_or(0);
    let action = context.other_action().unwrap_or(RouteAction::Upstream(found));
    let mut settings = RouteSettings::new(route.name.value.as_str(), action);
    settings.forward_credentials = route.forward_credentials;
    settings.trailers = route.trailers;
    settings.disclose = route.disclose;
    settings.limits = RouteLimits {
        rates: route.rates.clone().unwrap_or_else(|| default.rates.clone()),
        concurrent: route.concurrent.unwrap_or(default.concurrent),
        max_request_body: route.max_request_body.or(default.max_request_body),
        max_response_body: route.max_response_body.or(default.max_response_body),
    };
    let recorded = |permits: &&Permits| {
        permits.routes.is_empty() || permits.routes.iter().any(|name| name.value == route.name.value)
    };
    settings.recorded = Recorded {
        permits: keeping.permits.as_ref().filter(recorded).map_or(0, |permits| permits.sample),
        upstream_refusals: keeping.upstream_refusals,
    };
    context.treat(&mut settings);
    settings
}

/// Whoever is believed can name any address as the client's, so that believing everybody ends every allowlist.
fn compile_client_address(reader: &Reader<'_>, client: &ClientAddress) -> ClientAddressSettings {
    for proxy in client.trusted_proxies.iter().filter(|proxy| proxy.value.prefix_len() == 0) {
        let message = format!("`{}` trusts everybody to name the client's address", proxy.value);
        let help = "list the addresses of the proxies in front of this gateway";
        reader.report(Diagnostic::error(codes::TRUSTS_EVERYBODY, proxy.span, message).with_help(help));
    }
    ClientAddressSettings {
        trusted_proxies: client.trusted_proxies.iter().map(|proxy| proxy.value).collect(),
        header: client.header,
    }
}

fn report_limits(reader: &Reader<'_>, gateway: &GatewayFile) {
    let limits = &gateway.operation.limits;
    for (key, bytes) in [("max_field_bytes", limits.max_field_bytes), ("max_uri_bytes", limits.max_uri_bytes)] {
        if bytes > limits.max_header_bytes {
            let message = format!("`{key}` is larger than `max_header_bytes`, which bounds the whole head");
            let at = gateway.operation.limits_at;
            reader.report(Diagnostic::error(codes::CONFLICT, at, message).with_help("raise `max_header_bytes`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_when_one_is_the_wildcard_of_the_other() {
        let check = |a: &str, b: &str, expected: bool| {
            let parse = |text: &str| text.parse().unwrap();
            assert_eq!(overlap(parse(a), parse(b)), expected, "{a} {b}");
            assert_eq!(overlap(parse(b), parse(a)), expected, "{b} {a}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "127.0.0.1:81", false);
        check("0.0.0.0:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "127.0.0.2:80", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
        check("[::]:80", "127.0.0.1:80", false);
        check("[::]:80", "[::1]:80", true);
    }
}
