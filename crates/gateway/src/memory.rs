//! The allocator, and memory that goes back to the system while the gateway idles.
//!
//! Transparent huge pages are off for the process (`no_thp`): with them the kernel joins what is half empty, so that an idle gateway
//! grows by itself and never shrinks. docs/performance.md has what either costs.
//!
//! mimalloc hands freed ranges back a second later, but looks for them only when some thread takes or leaves a page of it (version 3,
//! `_mi_arenas_collect` in `page.c`). After a burst, or a hundred reloads, nobody does, and what was freed stays. So something takes a
//! page each second.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// Chosen by measurement: docs/performance.md has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often. Taking a page that is never touched costs microseconds.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes that get a page of their own: more than what shares one, and never touched, so they cost no memory.
const PAGE: usize = 4 << 20;

/// Hands back what was freed, each second, until it is dropped.
pub(crate) async fn give_back() {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(black_box(PAGE))));
    }
}
