//! `[[route]]`, `[client_address]` and `[forwarding]`.

use ipnet::IpNet;
use portcullis_proxy::settings::{Concurrency, ForwardedHeader, ForwardingSettings, RateLimit};
use portcullis_proxy::trace::TraceMode;
use portcullis_proxy::upstream::headers::Via;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::limits;
use crate::file::route::{Treatment, read_treatment};
use crate::kinds::{AnyText, Choice, Flag, Name, Prefix, Text};
use crate::section::Section;

/// `[[route]]`
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: At<String>,
    pub(crate) hosts: Vec<At<String>>,
    pub(crate) paths: Vec<At<String>>,
    /// `hosts` or `paths` cannot be read as a whole: what it covers is not known.
    pub(crate) vague: bool,
    /// `None` where the route has an answer of its own; or when it is missing or no name: that was reported.
    pub(crate) upstream: Option<At<String>>,
    pub(crate) forward_credentials: bool,
    pub(crate) trailers: bool,
    pub(crate) disclose: bool,
    pub(crate) treatment: Treatment,
    /// `None`: the default of `[limits]`.
    pub(crate) rates: Option<Vec<RateLimit>>,
    /// `None`: the default of `[limits]`.
    pub(crate) concurrent: Option<Concurrency>,
    /// `None`: the default of `[limits]`.
    pub(crate) max_request_body: Option<usize>,
    /// `None`: the default of `[limits]`.
    pub(crate) max_response_body: Option<usize>,
    /// It is that of the operators' API.
    pub(crate) operators: bool,
}

pub(crate) fn read_route(section: Section<'_>) -> Option<Route> {
    let name = section.required("name", Name);
    let errors_before = section.reader().diagnostics.borrow().errors();
    let patterns = |key, all| {
        let list = section.one_or_list(key, Text)?;
        if list.value.is_empty() {
            section.report_empty(key, list.span, all);
        }
        Some(list.value)
    };
    let hosts = patterns("hosts", "leave it out for any host").unwrap_or_default();
    let paths = patterns("paths", "leave it out for every path").unwrap_or_default();
    let vague = section.reader().diagnostics.borrow().errors() > errors_before;
    let upstream = section.optional("upstream", Name);
    let treatment = read_treatment(&section);
    if !["upstream", "split", "redirect", "respond"].iter().any(|key| section.has(key)) {
        section.report_missing("upstream", "the name of an [[upstream]]; or `split`, `redirect` or `respond`");
    }
    let forward_credentials = section.or("forward_credentials", Flag, false);
    let trailers = section.or("trailers", Flag, false);
    let disclose = section.or("disclose", Choice(&[("operator", false), ("caller", true)]), false);
    let rates = limits::read_rates(&section);
    let concurrent = limits::read_concurrent(&section);
    let max_request_body = limits::read_body_size(&section, "max_request_body");
    let max_response_body = limits::read_body_size(&section, "max_response_body");
    section.finish();
    Some(Route {
        name: name?,
        hosts,
        paths,
        vague,
        upstream,
        forward_credentials,
        trailers,
        disclose,
        treatment,
        rates,
        concurrent,
        max_request_body,
        max_response_body,
        operators: false,
    })
}

/// `[forwarding]`
pub(crate) fn read_forwarding(root: &Section<'_>) -> ForwardingSettings {
    let default = ForwardingSettings::default();
    let Some(section) = root.table("forwarding") else { return default };
    let via = match section.optional("via", AnyText) {
        None => default.via,
        Some(name) if name.value.is_empty() => None,
        Some(name) => {
            let via = Via::new(&name.value);
            if via.is_none() {
                let message = "`via`: expected a name of letters, digits and `-._`, at most 128 characters";
                let help = "write `via = \"\"` for none";
                section.reader().report(Diagnostic::error(codes::BAD_VALUE, name.span, message).with_help(help));
            }
            via
        }
    };
    let keep_request_id =
        section.or("request_id", Choice(&[("own", false), ("trusted", true)]), default.keep_request_id);
    let modes = Choice(&[("continue", TraceMode::Continue), ("begin", TraceMode::Begin), ("off", TraceMode::Off)]);
    let trace = section.or("trace", modes, default.trace);
    section.finish();
    ForwardingSettings { via, keep_request_id, trace }
}

/// `[client_address]`
#[derive(Debug, Default)]
pub(crate) struct ClientAddress {
    pub(crate) trusted_proxies: Vec<At<IpNet>>,
    pub(crate) header: ForwardedHeader,
}

pub(crate) fn read_client_address(root: &Section<'_>) -> ClientAddress {
    let Some(section) = root.table("client_address") else { return ClientAddress::default() };
    let trusted_proxies = section.list("trusted_proxies", Prefix).map_or_else(Vec::new, |list| list.value);
    let headers =
        Choice(&[("x-forwarded-for", ForwardedHeader::XForwardedFor), ("forwarded", ForwardedHeader::Forwarded)]);
    let header = section.or("header", headers, ForwardedHeader::default());
    section.finish();
    ClientAddress { trusted_proxies, header }
}
