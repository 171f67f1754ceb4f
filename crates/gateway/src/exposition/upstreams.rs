//! The upstreams and their endpoints.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Counters;
use super::families::{counter, gauge, signed};

impl Counters {
    /// How the upstreams do. An endpoint is called by its place in the configuration.
    pub(super) fn upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.shared.upstreams.all();
        let (mut open, mut opened, mut retries) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ejected, mut ejections, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let (mut up, mut failed_checks, mut active) = (Vec::new(), Vec::new(), Vec::new());
        for state in &states {
            let name = ("upstream", &**state.name());
            open.push((vec![name], i64::from(state.is_open())));
            opened.push((vec![name], state.opened()));
            active.extend(state.under_way().map(|count| (vec![name], signed(count))));
            let (sent, over_budget) = state.retries();
            retries.push((vec![name, ("result", "sent")], sent));
            retries.push((vec![name, ("result", "over_budget")], over_budget));
            for endpoint in state.endpoints() {
                let labels = vec![name, ("endpoint", endpoint.label)];
                ejected.push((labels.clone(), i64::from(endpoint.ejected)));
                ejections.push((labels.clone(), endpoint.ejections));
                if state.health().is_some() {
                    up.push((labels.clone(), i64::from(!endpoint.down)));
                    failed_checks.push((labels.clone(), endpoint.failed_checks));
                }
                failures.push((labels, endpoint.failures));
            }
        }
        gauge(encoder, "portcullis_upstream_circuit_open", "1 while the upstream is not asked", &open)?;
        counter(encoder, "portcullis_upstream_circuit_opened", "How often that began", &opened)?;
        gauge(
            encoder,
            "portcullis_upstream_active_requests",
            "Requests under way to it, where they are limited",
            &active,
        )?;
        counter(encoder, "portcullis_upstream_retries", "Requests sent again, or not for lack of budget", &retries)?;
        gauge(encoder, "portcullis_upstream_endpoint_ejected", "1 while the endpoint is passed over", &ejected)?;
        gauge(encoder, "portcullis_upstream_endpoint_up", "0 while its checks fail", &up)?;
        counter(encoder, "portcullis_upstream_endpoint_failed_checks", "Checks that failed", &failed_checks)?;
        counter(encoder, "portcullis_upstream_endpoint_ejections", "How often that began", &ejections)?;
        counter(
            encoder,
            "portcullis_upstream_endpoint_failures",
            "Failed exchanges, and answers 502, 503, 504",
            &failures,
        )
    }
}
