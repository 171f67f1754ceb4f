//! Who calls: the providers, the sessions, and what upstreams are told.

use std::fmt;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portcullis_identity::introspection::Durations;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Counters;
use super::families::{Label, counter, gauge, signed};

impl Counters {
    /// The identity providers whose keys are fetched, where there are any.
    pub(super) fn keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reports = self.keys.reports();
        if reports.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (mut ages, mut keys, mut usable, mut fetches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for report in &reports {
            let name = ("provider", &*report.provider);
            ages.extend(report.confirmed.map(|at| (vec![name], now.duration_since(at).as_secs().max(0))));
            keys.push((vec![name], signed(report.keys)));
            usable.push((vec![name], i64::from(!report.is_missing)));
            let succeeded = report.fetches.saturating_sub(report.failures);
            let by_result = [("succeeded", succeeded), ("failed", report.failures)];
            fetches.extend(by_result.map(|(result, count)| (vec![name, ("result", result)], count)));
        }
        gauge(encoder, "portcullis_keys_age_seconds", "How long ago a provider's keys were confirmed", &ages)?;
        gauge(encoder, "portcullis_keys_entries", "Keys of a provider that are held", &keys)?;
        gauge(encoder, "portcullis_keys_usable", "0 while a provider's tokens cannot be judged", &usable)?;
        counter(encoder, "portcullis_keys_fetch", "Fetches of a provider's keys, by result", &fetches)
    }

    /// The provider that is asked about opaque tokens, where there is one.
    pub(super) fn introspection(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(report) = self.introspecting.report() else { return Ok(()) };
        let name = ("provider", &*report.provider);
        let looked: Vec<_> = report.looked.map(|(found, count)| (vec![name, ("found", found)], count)).into();
        let help = "Tokens that requests have brought, by what was known of them";
        counter(encoder, "portcullis_introspection_tokens", help, &looked)?;
        let answers: Vec<_> = report.answers.map(|(result, count)| (vec![name, ("result", result)], count)).into();
        counter(encoder, "portcullis_introspection_questions", "Questions about tokens, by result", &answers)?;
        let help = "How long questions about tokens took, whether they were answered or not";
        let metric = "portcullis_introspection_duration_seconds";
        let mut family = encoder.encode_descriptor(metric, help, None, MetricType::Histogram)?;
        let Durations { buckets, sum_s, count } = &report.durations;
        family.encode_family(&[name])?.encode_histogram::<[Label<'_>; 0]>(*sum_s, *count, buckets, None)?;
        let one = |value: i64| [(vec![name], value)];
        gauge(encoder, "portcullis_introspection_entries", "Tokens that are remembered", &one(signed(report.entries)))?;
        gauge(encoder, "portcullis_introspection_waiting", "Questions that wait", &one(signed(report.waiting)))?;
        let help = "0 while the provider does not say which tokens are good";
        gauge(encoder, "portcullis_introspection_usable", help, &one(i64::from(!report.is_down)))?;
        let age = report.answered.map(|at| one(Timestamp::now().duration_since(at).as_secs().max(0)));
        let help = "How long ago the provider last answered";
        gauge(encoder, "portcullis_introspection_age_seconds", help, age.as_ref().map_or(&[], |age| age))
    }

    /// What upstreams are told.
    pub(super) fn assertions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let cut = self.shared.metrics.headers_cut.load(Ordering::Relaxed);
        let help = "Requests whose upstream was not told the caller's groups or roles, for the header would have been too long";
        counter(encoder, "portcullis_identity_headers_cut", help, &[(Vec::new(), cut)])?;
        if self.shared.snapshot().load().settings.assertions.is_none() {
            return Ok(());
        }
        let without_groups = self.shared.metrics.assertions_without_groups.load(Ordering::Relaxed);
        let help = "Assertions that were signed without the caller's groups, which would have made them too long";
        counter(encoder, "portcullis_assertions_without_groups", help, &[(Vec::new(), without_groups)])
    }

    /// The directories, where there are any.
    pub(super) fn directories(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reports = self.directories.reports();
        if reports.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (mut ages, mut entries, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let (mut usable, mut lookups) = (Vec::new(), Vec::new());
        for report in &reports {
            let name = ("directory", &*report.name);
            ages.extend(report.answered.map(|at| (vec![name], now.duration_since(at).as_secs().max(0))));
            entries.push((vec![name], signed(report.entries)));
            waiting.push((vec![name], signed(report.waiting)));
            usable.push((vec![name], i64::from(report.problem.is_none())));
            lookups.extend(report.lookups.map(|(result, count)| (vec![name, ("result", result)], count)));
        }
        gauge(encoder, "portcullis_directory_age_seconds", "How long ago a directory last answered", &ages)?;
        gauge(encoder, "portcullis_directory_entries", "Principals whose groups are remembered", &entries)?;
        gauge(encoder, "portcullis_directory_waiting", "Look-ups in a directory that wait", &waiting)?;
        gauge(encoder, "portcullis_directory_usable", "0 while a directory does not answer as it should", &usable)?;
        counter(encoder, "portcullis_directory_lookups", "Look-ups in a directory, by result", &lookups)
    }

    /// The sessions of browsers, where these can log in.
    pub(super) fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if !self.shared.snapshot().load().authenticator.reads_sessions() {
            return Ok(());
        }
        let (opened, ended) = self.sessions.counts();
        let help = "Sessions that are open, or were ended a while ago";
        gauge(encoder, "portcullis_sessions", help, &[(Vec::new(), signed(self.sessions.len()))])?;
        counter(encoder, "portcullis_sessions_opened", "Sessions that were opened", &[(Vec::new(), opened)])?;
        let help = "Sessions that were ended before their time";
        counter(encoder, "portcullis_sessions_ended", help, &[(Vec::new(), ended)])
    }

    /// The checks of passwords, where there are users with passwords.
    pub(super) fn passwords(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(report) = self.checking.report() else { return Ok(()) };
        let pending = vec![(Vec::new(), i64::try_from(report.pending).unwrap_or(i64::MAX))];
        let checks: Vec<_> =
            report.checks.into_iter().map(|(result, count)| (vec![("result", result)], count)).collect();
        gauge(encoder, "portcullis_password_checks_pending", "Passwords that are checked or wait for it", &pending)?;
        counter(encoder, "portcullis_password_checks", "Checks of passwords, by result", &checks)
    }
}
