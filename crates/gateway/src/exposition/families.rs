//! Families of metrics, as they are written.

use std::fmt;

use portcullis_proxy::metrics::{BUCKETS_US, HistogramTotals};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

pub(super) type Label<'a> = (&'static str, &'a str);

pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[(Vec<Label<'_>>, u64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        if labels.is_empty() {
            return ConstCounter::new(*value).encode(family);
        }
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

pub(super) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: &[(Vec<Label<'_>>, i64)],
) -> fmt::Result {
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

pub(super) fn histogram(
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

pub(super) fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
