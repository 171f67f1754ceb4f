//! `[trace]`: where the spans of sampled requests go.

use portcullis_events::settings::{TraceSettings, WHOLE};

use crate::file::receiver::{read_auth, read_headers, read_target};
use crate::kinds::{Flag, Integer, Percentage};
use crate::section::Section;

/// How many of a hundred where nobody says.
const SAMPLE: f64 = 0.01;
/// How many requests may wait.
const QUEUE: u64 = 4_096;

/// `None`: there are none, or there is something wrong, which was reported.
pub(crate) fn read_trace(root: &Section<'_>) -> Option<TraceSettings> {
    let section = root.table("trace")?;
    let otlp = section.table("otlp");
    section.finish();
    let table = otlp?;
    let target = read_target(&table);
    let share = table.or("sample", Percentage, SAMPLE);
    let queue = table.or("queue", Integer(1..=1_000_000), QUEUE);
    let auth = read_auth(&table);
    let headers = read_headers(&table);
    let gzip = table.or("gzip", Flag, true);
    table.finish();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
    let sample = (share * f64::from(WHOLE)).round() as u32;
    Some(TraceSettings { target: target?, auth: auth?, headers, gzip, sample, queue: usize::try_from(queue).ok()? })
}
