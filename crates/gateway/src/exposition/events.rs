//! Where events, lines of the access log, alerts and spans go.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::Counters;
use super::families::{counter, gauge, signed};

impl Counters {
    pub(super) fn sinks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
    pub(super) fn access_log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
    pub(super) fn alerts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
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
    pub(super) fn traces(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tracer) = &self.shared.tracer else { return Ok(()) };
        let stats = tracer.stats();
        let spans = [(vec![("result", "ok")], stats.exported), (vec![("result", "dropped")], stats.dropped)];
        counter(encoder, "portcullis_trace_spans", "Spans that the receiver took, and that it did not", &spans)?;
        let dropped = [(Vec::new(), stats.dropped_queue_full)];
        let help = "Sampled requests for whose spans there was no room";
        counter(encoder, "portcullis_trace_requests_dropped", help, &dropped)
    }
}
