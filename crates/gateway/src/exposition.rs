//! Metrics in the OpenMetrics text format, read from the counters when they are asked for. No label holds an address, a
//! user, a path or a host: a caller could make as many of those as it likes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portcullis_feeds::FeedState;
use portcullis_geo::GeoReport;
use portcullis_identity::introspection::Durations;
use portcullis_identity::session::Sessions;
use portcullis_proxy::Shared;
use portcullis_proxy::metrics::{BUCKETS_US, HistogramTotals};
use portcullis_store::StoreStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::alerting::Alerting;
use crate::checking::Checking;
use crate::directing::Directories;
use crate::feeding::Feeds;
use crate::introspecting::Introspecting;
use crate::keeping::Kept;
use crate::keying::ProviderKeys;
use crate::running::{Reloads, Running};

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub(crate) struct Exposition {
    shared: Arc<Shared>,
    kept: Option<Arc<Kept>>,
    registry: Registry,
}

impl Exposition {
    pub(crate) fn new(running: &Running) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counters {
            shared: Arc::clone(running.shared()),
            reloads: Arc::clone(running.reloads()),
            alerting: Arc::clone(running.alerting()),
            feeds: Arc::clone(running.feeds()),
            keys: Arc::clone(running.keys()),
            kept: running.kept().map(Arc::clone),
            directories: Arc::clone(running.directories()),
            introspecting: Arc::clone(running.introspecting()),
            sessions: Arc::clone(running.sessions()),
            checking: Arc::clone(running.checking()),
        }));
        Self { shared: Arc::clone(running.shared()), kept: running.kept().map(Arc::clone), registry }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How the store does, where there is one.
    pub(crate) fn store(&self) -> Option<StoreStats> {
        self.kept.as_ref().map(|kept| kept.stats())
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; were it to, a short answer without its end mark is what scrapers reject.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// The same in the older text format of Prometheus (0.0.4), in which a counter's metadata carry its whole name, and an end mark means
/// nothing.
pub(crate) fn as_plain_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let counters: HashSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in open_metrics.lines() {
        let about = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        match about {
            Some(("HELP" | "TYPE" | "UNIT", rest)) => {
                let (word, rest) = (line.get(..7).unwrap_or_default(), rest);
                let (name, more) = rest.split_once(' ').unwrap_or((rest, ""));
                if word != "# UNIT " {
                    let ending = if counters.contains(name) { "_total" } else { "" };
                    text.push_str(&format!("{word}{name}{ending} {more}\n"));
                }
            }
            _ if line == "# EOF" => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[derive(Debug)]
struct Counters {
    shared: Arc<Shared>,
    reloads: Arc<Reloads>,
    alerting: Arc<Alerting>,
    feeds: Arc<Feeds>,
    keys: Arc<ProviderKeys>,
    kept: Option<Arc<Kept>>,
    directories: Arc<Directories>,
    introspecting: Arc<Introspecting>,
    sessions: Arc<Sessions>,
    checking: Arc<Checking>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.decisions(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.sinks(&mut encoder)?;
        self.access_log(&mut encoder)?;
        self.alerts(&mut encoder)?;
        self.traces(&mut encoder)?;
        self.policy(&mut encoder)?;
        self.feeds(&mut encoder)?;
        self.keys(&mut encoder)?;
        self.introspection(&mut encoder)?;
        self.assertions(&mut encoder)?;
        self.directories(&mut encoder)?;
        self.sessions(&mut encoder)?;
        self.passwords(&mut encoder)?;
        self.geo(&mut encoder)?;
        self.store(&mut encoder)?;
        self.upstreams(&mut encoder)?;
        self.process(&mut encoder)
    }
}

type Label<'a> = (&'static str, &'a str);

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &[(Vec<Label<'_>>, u64)]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        if labels.is_empty() {
            return ConstCounter::new(*value).encode(family);
        }
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &[(Vec<Label<'_>>, i64)]) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        if labels.is_empty() {
            // The encoder writes a lone `{}` for an empty family.
            return ConstGauge::new(*value).encode(family);
        }
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

impl Counters {
    fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    fn sinks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let recorder = &self.shared.recorder;
        let stats = recorder.stats();
        let mut exported = Vec::new();
        let mut dropped = Vec::new();
        let mut depth = Vec::new();
        let mut filtered = Vec::new();
        let mut failing = Vec::new();
        for sink in &stats {
            let name = ("sink", &*sink.name);
            exported.push((vec![name, ("result", "ok")], sink.exported));
            exported.push((vec![name, ("result", "error")], sink.failed));
            for (cause, count) in sink.dropped_by_cause() {
                dropped.push((vec![name, ("cause", cause)], count));
            }
            depth.push((vec![name], signed(sink.queue_depth)));
            filtered.push((vec![name], sink.filtered));
            failing.push((vec![name], i64::from(sink.trouble.is_some())));
        }
        counter(encoder, "portcullis_events_exported", "Events written, and attempts that failed, by sink", &exported)?;
        counter(encoder, "portcullis_events_dropped", "Events lost, by sink and cause", &dropped)?;
        let help = "Events that a sink's own filter passed over";
        counter(encoder, "portcullis_events_filtered", help, &filtered)?;
        gauge(encoder, "portcullis_event_queue_depth", "Events waiting to be written, by sink", &depth)?;
        let help = "1 where a sink's last attempt to write or to deliver failed";
        gauge(encoder, "portcullis_event_sink_failing", help, &failing)?;
        let (answers, time) = recorder.blocked();
        let help = "Answers to refusals that a full sink with on_full = \"block\" held up";
        counter(encoder, "portcullis_event_answers_blocked", help, &[(Vec::new(), answers)])?;
        let help = "How long these answers waited, together";
        let name = "portcullis_event_answers_blocked_seconds";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(time.as_secs_f64()).encode(family)?;
        let withheld = self.shared.metrics.withheld.load(Ordering::Relaxed);
        let help = "Refusals that were not answered, since their event was lost although it must be kept";
        counter(encoder, "portcullis_event_answers_withheld", help, &[(Vec::new(), withheld)])?;
        let unclean = recorder.earlier().is_some_and(|earlier| !earlier.in_order);
        let help = "1 where the process before did not stop in order, so that its last events may be lost";
        gauge(encoder, "portcullis_events_unclean_start", help, &[(Vec::new(), i64::from(unclean))])?;
        let Some(spool) = recorder.spool_stats() else { return Ok(()) };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        gauge(encoder, "portcullis_event_spool_bytes", "Size of the spool", &[(Vec::new(), signed(spool.bytes))])?;
        let help = "How large the spool may become";
        gauge(encoder, "portcullis_event_spool_max_bytes", help, &[(Vec::new(), signed(spool.max_bytes))])?;
        let help =
            "Files of the spool that could not be read at a start and were set aside: no sink gets what was in them";
        let set_aside = i64::try_from(spool.set_aside).unwrap_or(i64::MAX);
        gauge(encoder, "portcullis_event_spool_set_aside", help, &[(Vec::new(), set_aside)])
    }

    /// Nothing where there is no access log.
    fn access_log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(log) = &self.shared.access_log else { return Ok(()) };
        let stats = log.stats();
        let written = [(vec![("result", "ok")], stats.exported), (vec![("result", "error")], stats.failed)];
        counter(encoder, "portcullis_access_log_lines", "Lines written, and attempts that failed", &written)?;
        let dropped: Vec<_> =
            stats.dropped_by_cause().into_iter().map(|(cause, count)| (vec![("cause", cause)], count)).collect();
        counter(encoder, "portcullis_access_log_dropped", "Lines of the access log lost, by cause", &dropped)?;
        let depth = [(Vec::new(), signed(stats.queue_depth))];
        gauge(encoder, "portcullis_access_log_queue_depth", "Lines waiting to be written", &depth)
    }

    /// Nothing where there never was an alert.
    fn alerts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.alerting.stats();
        let fired = stats.fired();
        if fired.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = fired.iter().map(|(name, count)| (vec![("alert", &**name)], *count)).collect();
        counter(encoder, "portcullis_alerts", "How often each alert has fired", &rows)?;
        let told = stats.notifications();
        let rows: Vec<_> = told
            .iter()
            .map(|(name, result, count)| (vec![("notifier", &**name), ("result", result.as_str())], *count))
            .collect();
        counter(encoder, "portcullis_alert_notifications", "What became of notifications, by notifier", &rows)?;
        let missed = [(Vec::new(), stats.missed())];
        let help = "Events that no alert has seen, because too many came at once";
        counter(encoder, "portcullis_alert_events_missed", help, &missed)?;
        let losses = stats.losses();
        let evicted: Vec<_> = losses.iter().map(|(name, [evicted, ..])| (vec![("alert", &**name)], *evicted)).collect();
        let help = "Keys that an alert has forgotten for others, what they had counted included";
        counter(encoder, "portcullis_alert_keys_evicted", help, &evicted)?;
        let causes = |(name, [_, crowded, overflowed]): &(Arc<str>, [u64; 3])| {
            [("crowded", *crowded), ("overflowed", *overflowed)].map(|(cause, count)| (name.clone(), cause, count))
        };
        let unfired: Vec<_> = losses.iter().flat_map(causes).collect();
        let rows: Vec<_> =
            unfired.iter().map(|(name, cause, count)| (vec![("alert", &**name), ("cause", *cause)], *count)).collect();
        let help =
            "Events for which an alert did not fire, because too many keys fired, or a key has had too many values";
        counter(encoder, "portcullis_alert_unfired", help, &rows)?;
        let contained = self.alerting.contained(&self.shared, self.shared.clock.now()).len();
        let help = "What alerts contain at this moment";
        gauge(encoder, "portcullis_alert_contained", help, &[(Vec::new(), signed(contained))])
    }

    /// Nothing where no traces are wanted.
    fn traces(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tracer) = &self.shared.tracer else { return Ok(()) };
        let stats = tracer.stats();
        let spans = [(vec![("result", "ok")], stats.exported), (vec![("result", "dropped")], stats.dropped)];
        counter(encoder, "portcullis_trace_spans", "Spans that the receiver took, and that it did not", &spans)?;
        let dropped = [(Vec::new(), stats.dropped_queue_full)];
        let help = "Sampled requests for whose spans there was no room";
        counter(encoder, "portcullis_trace_requests_dropped", help, &dropped)
    }

    fn policy(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshot().load();
        let version = snapshot.policy.version().to_string();
        let labels = vec![("version", version.as_str()), ("sha256", snapshot.policy.sha256())];
        gauge(encoder, "portcullis_policy_info", "The policy in force", &[(labels, 1)])?;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let reloads = [
            (vec![("result", "ok")], load(&self.reloads.succeeded)),
            (vec![("result", "error")], load(&self.reloads.failed)),
        ];
        counter(encoder, "portcullis_policy_reload", "Reloads, by result", &reloads)?;
        let last = self.reloads.last_success.load(Ordering::Relaxed);
        gauge(
            encoder,
            "portcullis_policy_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded",
            &[(Vec::new(), last)],
        )
    }

    /// The geo databases, where there are any.
    fn geo(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reports = self.shared.geo.reports();
        if reports.is_empty() {
            return Ok(());
        }
        let row = |report: &GeoReport, value| (vec![("database", report.database)], value);
        let built: Vec<_> = reports.iter().map(|report| row(report, signed(report.built))).collect();
        let refused: Vec<_> = reports.iter().map(|report| row(report, i64::from(report.problem.is_some()))).collect();
        let help = "When the geo database was made; 0 where there is none";
        gauge(encoder, "portcullis_geoip_build_timestamp_seconds", help, &built)?;
        gauge(encoder, "portcullis_geoip_refused", "1 while the file of the geo database is not used", &refused)
    }

    /// The identity providers whose keys are fetched, where there are any.
    fn keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// What upstreams are told.
    fn assertions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The provider that is asked about opaque tokens, where there is one.
    fn introspection(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The store, where there is one.
    fn store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stats) = self.kept.as_ref().map(|kept| kept.stats()) else { return Ok(()) };
        let writes = [(vec![("result", "ok")], stats.written), (vec![("result", "error")], stats.failed)];
        counter(encoder, "portcullis_store_writes", "Transactions of the store, by result", &writes)?;
        let help = "Rows that were written to the store or removed";
        counter(encoder, "portcullis_store_rows", help, &[(Vec::new(), stats.rows)])?;
        let help = "Records that have changed and are not in the store yet";
        gauge(encoder, "portcullis_store_pending", help, &[(Vec::new(), signed(stats.pending))])?;
        let failing = i64::from(stats.trouble.is_some());
        let help = "1 where the last transaction was not written";
        gauge(encoder, "portcullis_store_failing", help, &[(Vec::new(), failing)])?;
        let help = "Size of the store on disk, what was written ahead included";
        gauge(encoder, "portcullis_store_bytes", help, &[(Vec::new(), signed(stats.bytes))])?;
        let last = stats.last_written.map_or(0, |last| last.as_second());
        let help = "When something was last written to the store; 0 for never";
        gauge(encoder, "portcullis_store_last_write_timestamp_seconds", help, &[(Vec::new(), last)])
    }

    /// The sessions of browsers, where these can log in.
    fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The directories, where there are any.
    fn directories(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The checks of passwords, where there are users with passwords.
    fn passwords(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(report) = self.checking.report() else { return Ok(()) };
        let pending = vec![(Vec::new(), i64::try_from(report.pending).unwrap_or(i64::MAX))];
        let checks: Vec<_> =
            report.checks.into_iter().map(|(result, count)| (vec![("result", result)], count)).collect();
        gauge(encoder, "portcullis_password_checks_pending", "Passwords that are checked or wait for it", &pending)?;
        counter(encoder, "portcullis_password_checks", "Checks of passwords, by result", &checks)
    }

    /// The networks that keep themselves current, where there are any.
    fn feeds(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reports = self.feeds.reports();
        if reports.is_empty() {
            return Ok(());
        }
        let (mut ages, mut entries, mut known, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut updates = Vec::new();
        for report in reports.iter() {
            let name = ("feed", &*report.name);
            ages.extend(report.age.map(|age| (vec![name], signed(age.as_secs()))));
            entries.push((vec![name], signed(report.entries)));
            known.push((vec![name], i64::from(matches!(report.state, FeedState::Current | FeedState::Stale))));
            held.push((vec![name], i64::from(report.held.is_some())));
            let counts = report.counts;
            let by_result = [
                ("updated", counts.updated),
                ("unchanged", counts.unchanged),
                ("held", counts.held),
                ("failed", counts.failed),
            ];
            updates.extend(by_result.map(|(result, count)| (vec![name, ("result", result)], count)));
        }
        gauge(encoder, "portcullis_feed_age_seconds", "How long ago a network's list was confirmed", &ages)?;
        gauge(encoder, "portcullis_feed_entries", "Prefixes in force from a network's list", &entries)?;
        gauge(encoder, "portcullis_feed_known", "0 while nobody knows what is in the network", &known)?;
        gauge(encoder, "portcullis_feed_held", "1 while an update is held back", &held)?;
        counter(encoder, "portcullis_feed_update", "Fetches of a network's list, by result", &updates)
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
}

impl Counters {
    /// How the upstreams do. An endpoint is called by its place in the configuration.
    fn upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// How long what was ready last waited for its turn.
    fn waits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[(Vec<Label<'_>>, &HistogramTotals)],
) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "a sum of microseconds past 2^53 is 285 years")]
    let seconds = |us: u64| us as f64 / 1e6;
    let bounds = BUCKETS_US.iter().map(|us| seconds(*us)).chain(std::iter::once(f64::INFINITY));
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, totals) in rows {
        let buckets: Vec<(f64, u64)> = bounds.clone().zip(totals.buckets).collect();
        let (sum, count) = (seconds(totals.sum_us), totals.buckets.iter().sum());
        if labels.is_empty() {
            return family.encode_histogram::<[Label<'_>; 0]>(sum, count, &buckets, None);
        }
        family.encode_family(labels)?.encode_histogram::<[Label<'_>; 0]>(sum, count, &buckets, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_has_whole_names_and_no_end() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{b=\"# HELP a\"} 1\n# HELP c Seconds.\n# TYPE c gauge\n\
                    # UNIT c seconds\nc 2\n# EOF\n";
        let plain = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"# HELP a\"} 1\n# HELP c Seconds.\n# TYPE c gauge\nc 2\n";
        assert_eq!(as_plain_text(open), plain);
    }
}
