//! What was loaded and is kept: the policy, feeds, geo databases and the store.

use std::fmt;
use std::sync::atomic::Ordering;

use portcullis_feeds::FeedState;
use portcullis_geo::GeoReport;
use portcullis_insight::audit::Severity;
use prometheus_client::encoding::DescriptorEncoder;

use super::Counters;
use super::families::{counter, gauge, signed};

impl Counters {
    pub(super) fn policy(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The networks that keep themselves current, where there are any.
    pub(super) fn feeds(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// The geo databases, where there are any.
    pub(super) fn geo(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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

    /// What the last audit of grants has found, where one was made.
    pub(super) fn audit(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(auditing) = &self.auditing else { return Ok(()) };
        let failing = i64::from(auditing.trouble().is_some());
        gauge(
            encoder,
            "portcullis_audit_failing",
            "1 while audits that are scheduled cannot be made",
            &[(Vec::new(), failing)],
        )?;
        let Some(latest) = auditing.latest() else { return Ok(()) };
        let row = |(severity, count): &(Severity, usize)| (vec![("severity", severity.as_str())], signed(*count));
        let rows: Vec<_> = latest.counts.iter().map(row).collect();
        gauge(encoder, "portcullis_audit_findings", "Open findings of the last audit of grants", &rows)?;
        let at = latest.at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
        let help = "When the last audit of grants was made";
        gauge(encoder, "portcullis_audit_last_timestamp_seconds", help, &[(Vec::new(), at)])
    }

    /// The store, where there is one.
    pub(super) fn store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
}
