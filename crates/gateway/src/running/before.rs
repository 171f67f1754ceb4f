//! What was in force before this process, a short while ago: whoever a start locks out by mistake is banned for it as little as by a reload.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_proxy::Shared;

use crate::governing::Governing;

/// Tells the data plane, before its first request. It compiles policies only where one was replaced just now: by this start, as a rule, or shortly before it.
pub(super) fn tell_what_was_replaced(governing: &Governing, shared: &Shared) {
    let snapshot = shared.snapshot().load();
    let present = &snapshot.policy;
    for (n, at) in governing.replaced_within(Shared::EXCUSED_FOR, present.version(), Timestamp::now()) {
        let loaded = match governing.loaded(n) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(
                    version = n,
                    %error,
                    "what was in force a short while ago cannot be read: what is refused now counts against its callers also where it would have been permitted then"
                );
                continue;
            }
        };
        // With what has changed by itself as it is now.
        let policy = loaded.policy.numbered(n).with_calibration_of(present);
        let policy = policy.with_lists_of(present).unwrap_or(policy);
        shared.was_replaced(Arc::new(policy), loaded.proxy.pages, at);
    }
}
