//! Where a request leads under a configuration: to a route, or to a page of the gateway's own. Whoever asks that, when a request comes, when one that has waited goes on, or of
//! a policy that was in force before, asks here.

use portcullis_policy::{Policy, RouteId};

use crate::pages::PagesSettings;
use crate::snapshot::Snapshot;
use crate::transit::Target;

/// Where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Led {
    /// The route; of a page the one that its path would lead to, whose rules say who may come.
    pub(crate) route: Option<RouteId>,
    /// It is a page of the gateway's own.
    pub(crate) is_page: bool,
    /// One that asks who it is.
    pub(crate) asks_who: bool,
}

impl Led {
    /// By the configuration of a snapshot.
    pub(crate) fn by(snapshot: &Snapshot, target: &Target) -> Self {
        Self::under(&snapshot.policy, snapshot.settings.pages.as_ref(), target)
    }

    /// By this policy, beside these pages.
    pub(crate) fn under(policy: &Policy, pages: Option<&PagesSettings>, target: &Target) -> Self {
        let led = Self { route: policy.find_route(&target.host, &target.path), is_page: false, asks_who: false };
        match pages {
            Some(pages) if pages.owns(&target.path) => {
                Self { is_page: true, asks_who: pages.asks_who(&target.host, &target.path), ..led }
            }
            // No application is on the origin where persons activate what they are eligible for.
            Some(pages) if pages.is_own_host(&target.host) => Self { route: None, ..led },
            Some(_) | None => led,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::before::{Before, Past};
    use crate::layers::identify::begin_anew;
    use crate::layers::tests::{assessed, worker};
    use crate::settings::{Limits, Settings};
    use crate::worker::Worker;

    fn pages(prefix: &str, own: &[&str]) -> Option<PagesSettings> {
        Some(PagesSettings {
            prefix: prefix.into(),
            login: true,
            step_up: false,
            self_service: true,
            hosts: own.iter().map(|host| (*host).into()).collect(),
            allow_http: true,
        })
    }

    /// A reload that changes nothing but the pages.
    fn reload(worker: &Rc<Worker>, pages: Option<PagesSettings>) {
        let present = worker.shared.snapshot().load_full();
        let settings = Settings { pages, ..present.settings.clone() };
        worker.shared.replace(Snapshot { settings, ..present.with_policy(Arc::clone(&present.policy)) });
    }

    #[test]
    fn what_waits_while_its_host_becomes_the_pages_own_goes_to_no_application() {
        let check = |before: Option<PagesSettings>, path: &str, after: Option<PagesSettings>, expected: &str| {
            let (worker, _) = worker(Limits::default());
            reload(&worker, before);
            let mut transit = assessed(&worker, "GET", path, "203.0.113.7:1");
            assert!(transit.facts.route.is_some(), "{path}");
            reload(&worker, after);
            let begun = begin_anew(&worker, &mut transit).map_err(|refusal| refusal.code().code());
            assert_eq!(begun.err().unwrap_or("goes on"), expected, "{path}");
        };
        check(None, "/open/a", None, "goes on");
        check(None, "/open/a", pages("/.portcullis", &["other.test"]), "goes on");
        check(None, "/open/a", pages("/.portcullis", &["api.test"]), "route.not_found");
        // What has become a page, or is none any more, is asked for once more.
        check(None, "/open/p/whoami", pages("/open/p", &[]), "route.not_found");
        let asks_who = "/open/p/activations";
        check(pages("/open/p", &[]), asks_who, pages("/open/p", &["other.test"]), "goes on");
        check(pages("/open/p", &[]), asks_who, pages("/.portcullis", &[]), "route.not_found");
        check(pages("/open/p", &[]), asks_who, None, "route.not_found");
    }

    #[test]
    fn what_an_own_host_has_never_had_is_held_against_whoever_looks_for_it() {
        let check = |before: &[&str], expected: bool| {
            let (worker, _) = worker(Limits::default());
            let transit = assessed(&worker, "GET", "/open/a", "203.0.113.7:1");
            let past = Before::default();
            let pages = pages("/.portcullis", before);
            let now = (std::time::Instant::now(), jiff::Timestamp::now());
            let policy = Arc::clone(&worker.shared.snapshot().load().policy);
            past.note(&Past::replaced_at(policy, pages, now.1, now).unwrap(), now.0);
            assert_eq!(past.permitted(&transit.facts), expected, "{before:?}");
        };
        check(&[], true);
        check(&["api.test"], false);
    }
}
