//! `[admin]`: the operators' API over the network, as a listener and a route of the data plane.

use portcullis_policy::canonical_host;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::gateway::Entries;
use crate::file::listener::{self, Listener};
use crate::file::route::Treatment;
use crate::file::traffic::Route;
use crate::kinds::{Socket, Text};
use crate::section::{Section, shown};

/// The name of the listener and of the route: what grants name as their scope.
pub(crate) const ADMIN: &str = "admin";

/// Adds the listener and the route, where the table is.
pub(crate) fn read_admin(root: &Section<'_>, entries: &mut Entries) {
    let Some(section) = root.table("admin") else { return };
    let address = section.required("address", Socket);
    let tls = section.table("tls").map(listener::read_tls);
    let hosts = section.one_or_list("hosts", Text);
    let span = section.span();
    if let Some(hosts) = hosts.as_ref().filter(|hosts| hosts.value.is_empty()) {
        section.report_empty("hosts", hosts.span, "leave it out for the address and, on loopback, `localhost`");
    }
    let hosts = hosts.map(|hosts| hosts.value.iter().filter_map(|host| canonical(&section, host)).collect());
    let reader = section.reader();
    section.finish();
    let Some(address) = address else { return };
    let hosts: Vec<Box<str>> = hosts.unwrap_or_else(|| by_default(&address));
    if hosts.is_empty() && address.value.ip().is_unspecified() {
        let message = "`hosts` is missing: who asks on any address must name one of the API's own hosts";
        let help = "write `hosts = [\"admin.example.com\"]`: what clients call it by";
        reader.report(Diagnostic::error(codes::MISSING, address.span, message).with_help(help));
    }
    if tls.is_none() && !address.value.ip().is_loopback() {
        let message = "`[admin]` without `tls` is for loopback: credentials would cross the network in plain text";
        let help = "write `tls = { certificate = \"admin.crt\", key = \"admin.key\" }`, or a loopback address";
        reader.report(Diagnostic::error(codes::CONFLICT, address.span, message).with_help(help));
    }
    let name = At::new(ADMIN.to_owned(), span);
    entries.listeners.push(Listener {
        name: name.clone(),
        address,
        tls,
        http2: true,
        proxy_protocol: None,
        operators: Some(hosts),
    });
    entries.routes.push(Route {
        name,
        hosts: Vec::new(),
        paths: Vec::new(),
        vague: false,
        upstream: None,
        forward_credentials: false,
        trailers: false,
        disclose: false,
        treatment: Treatment::default(),
        rates: None,
        concurrent: None,
        max_request_body: None,
        max_response_body: None,
        operators: true,
    });
}

/// A host as requests name it, without a port.
fn canonical(section: &Section<'_>, host: &At<String>) -> Option<Box<str>> {
    let found = canonical_host(&host.value).filter(|_| !host.value.contains('*'));
    if found.is_none() {
        let message = format!("`hosts`: `{}` is no host", shown(&host.value));
        let help = "write a name or an address, such as \"admin.example.com\" or \"[::1]\"";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, host.span, message).with_help(help));
    }
    found.map(|host| host.as_ref().into())
}

/// The address itself; and `localhost`, which is an address of loopback (RFC 6761 section 6.3).
fn by_default(address: &At<std::net::SocketAddr>) -> Vec<Box<str>> {
    let ip = address.value.ip();
    if ip.is_unspecified() {
        return Vec::new();
    }
    let own: Box<str> = if ip.is_ipv6() { format!("[{ip}]").into() } else { ip.to_string().into() };
    let local = ip.is_loopback().then(|| Box::from("localhost"));
    std::iter::once(own).chain(local).collect()
}
