//! What a trace says of a request: gathered where its answer is decided, if its trace is sampled, and handed over.
//!
//! Without `[trace]` it costs a look whether there is a tracer.

use std::time::Instant;

use http::{StatusCode, Version};
use portcullis_events::traces::{Sent, Traced, Tracer};
use portcullis_events::{Answer, ReasonCode};

use crate::trace::Trace;
use crate::transit::{Remembered, Said, Transit};

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended {
    /// The upstream, or the route itself, answered with this status.
    Answered(StatusCode),
    /// It was refused.
    Refused(StatusCode, ReasonCode, Answer),
}

/// Hands the spans of a request over that ends now. `remembered`: of a head that was sent on.
pub(crate) fn trace(tracer: &Tracer, transit: &Transit, remembered: Option<&Remembered>, ended: Ended, now: Instant) {
    let facts = &transit.facts;
    let headers = &transit.head.headers;
    let came = remembered.map_or_else(|| Trace::of(headers), Remembered::trace);
    let trace = came.unwrap_or_else(|| Trace::begun(facts.id));
    if !trace.number().is_some_and(|number| tracer.samples(number)) {
        return;
    }
    let (status, reason, decision) = match ended {
        Ended::Answered(status) => (status, None, Answer::Permit),
        Ended::Refused(status, reason, answer) => (status, Some(reason), answer),
    };
    let user_agent = remembered.map_or_else(|| Said::of(headers), Remembered::said).user_agent;
    let mut traced = Traced {
        trace_id: trace.id(),
        parent: trace.parent(),
        request: facts.id,
        started: facts.now,
        duration: now.saturating_duration_since(facts.started),
        method: None,
        scheme: facts.scheme.as_str(),
        host: None,
        port: None,
        path: None,
        http_version: match transit.head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        },
        client: facts.client_address().ip(),
        user_agent: user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        route: facts.route_name().cloned(),
        decision,
        reason,
        status: status.as_u16(),
        upstream: upstream(transit, ended),
    };
    // Of a head that was not let through nothing is known for sure.
    if let Some(target) = &facts.target {
        traced.method = Some(target.method.as_str().to_owned());
        traced.host = Some(target.host.clone());
        traced.port = target.port;
        traced.path = Some(target.path.as_str().to_owned());
    }
    tracer.record(traced);
}

/// The upstream's part: where one was chosen, and something may have been sent to it.
fn upstream(transit: &Transit, ended: Ended) -> Option<Sent> {
    let facts = &transit.facts;
    let name = &facts.loaded.snapshot.settings.upstreams.get(facts.upstream?)?.name;
    let after = facts.decided?.saturating_duration_since(facts.started);
    let status = match ended {
        Ended::Answered(status) => Some(status.as_u16()),
        Ended::Refused(..) => None,
    };
    Some(Sent { name: name.clone(), after, status })
}
