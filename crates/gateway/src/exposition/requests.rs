//! Requests: what was decided, how long it took, and how busy the process is.

use std::fmt;
use std::sync::atomic::Ordering;

use portcullis_proxy::metrics::HistogramTotals;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Counters;
use super::families::{Label, counter, gauge, histogram, signed};

impl Counters {
    pub(super) fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.shared.metrics.totals();
        let mut rows: Vec<(Vec<Label<'_>>, u64)> = Vec::new();
        let mut shadow = Vec::new();
        for (route, total) in &totals {
            let route = route.as_deref().unwrap_or("");
            if !route.is_empty() {
                rows.push((
                    vec![("decision", "permit"), ("reason", ""), ("route", route), ("stage", "")],
                    total.permits,
                ));
                shadow.push((vec![("route", route)], total.shadow));
            }
            for (code, count) in &total.refusals {
                let labels = vec![
                    ("decision", code.answer().as_str()),
                    ("reason", code.code()),
                    ("route", route),
                    ("stage", code.stage()),
                ];
                rows.push((labels, *count));
            }
        }
        counter(encoder, "portcullis_decisions", "Requests by decision, reason, route and stage", &rows)?;
        counter(
            encoder,
            "portcullis_shadow",
            "Permitted requests that a rule in shadow mode, or monitored risk, would have treated otherwise",
            &shadow,
        )
    }

    pub(super) fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut decisions, mut requests) = (HistogramTotals::default(), HistogramTotals::default());
        for total in self.shared.metrics.totals().values() {
            decisions.merge(&total.decisions);
            requests.merge(&total.requests);
        }
        let upstreams = self.shared.metrics.upstream_totals();
        let by_upstream: Vec<_> =
            upstreams.iter().map(|(name, totals)| (vec![("upstream", &**name)], totals)).collect();
        histogram(
            encoder,
            "portcullis_decision_duration_seconds",
            "Time to decide, from facts to answer",
            &[(Vec::new(), &decisions)],
        )?;
        histogram(
            encoder,
            "http_server_request_duration_seconds",
            "Time from a request's head to the head of its answer",
            &[(Vec::new(), &requests)],
        )?;
        histogram(
            encoder,
            "http_client_request_duration_seconds",
            "Time from the decision to the head of the upstream's answer, by upstream",
            &by_upstream,
        )
    }

    pub(super) fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.shared.metrics;
        let bans = self.shared.risk.bans_active(self.shared.clock.now());
        gauge(encoder, "portcullis_bans_active", "Bans in force", &[(Vec::new(), signed(bans))])?;
        let held_back = self.shared.risk.held_back();
        let help = "Bans that were held back because too many callers that are known were banned already";
        counter(encoder, "portcullis_bans_held_back", help, &[(Vec::new(), held_back)])?;
        let active = signed(metrics.in_flight());
        gauge(encoder, "http_server_active_requests", "Requests in flight", &[(Vec::new(), active)])?;
        let connections = metrics.connections.load(Ordering::Relaxed);
        gauge(encoder, "portcullis_connections", "Open connections", &[(Vec::new(), signed(connections))])?;
        self.waits(encoder)?;
        let closed = self.shared.clients.refused();
        counter(
            encoder,
            "portcullis_connections_refused",
            "Connections closed because their client had too many",
            &[(Vec::new(), closed)],
        )?;
        let tunnels = metrics.tunnels.load(Ordering::Relaxed);
        gauge(encoder, "portcullis_tunnels", "Upgraded connections", &[(Vec::new(), signed(tunnels))])?;
        let headers = metrics.refused_proxy_headers.load(Ordering::Relaxed);
        let help = "Connections closed for want of a header of the PROXY protocol";
        counter(encoder, "portcullis_proxy_headers_refused", help, &[(Vec::new(), headers)])?;
        let handshakes = metrics.failed_handshakes.load(Ordering::Relaxed);
        let help = "TLS handshakes that failed or took too long";
        counter(encoder, "portcullis_tls_handshakes_failed", help, &[(Vec::new(), handshakes)])?;
        let panics = metrics.panics.load(Ordering::Relaxed);
        counter(encoder, "portcullis_panics", "Requests whose handler panicked", &[(Vec::new(), panics)])?;
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        gauge(encoder, "portcullis_build_info", "The gateway's version", &[(build, 1)])
    }

    /// How long what was ready last waited for its turn.
    pub(super) fn waits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long what was ready last waited for its worker";
        let name = "portcullis_worker_wait_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (worker, wait) in self.shared.metrics.waits() {
            let labels = [("worker", worker.to_string())];
            ConstGauge::new(wait.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
