//! How many instructions a decision takes, by the size of the policy: counted under valgrind, so that a regression shows without
//! a clock. `cargo xtask bench` runs it; docs/performance.md has the figures.
//!
//! Each benchmark compiles its policy first, which is not counted, and then asks one question once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unused_qualifications,
    reason = "a benchmark stops at a broken expectation"
)]

use std::hint::black_box;
use std::net::IpAddr;

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use portcullis_policy::*;

#[path = "../crates/policy/tests/size/world.rs"]
mod world;

use world::*;

/// A policy and one question to it.
struct Question {
    policy: Policy,
    probe: Probe,
    risk: RiskAssessment,
}

impl Question {
    fn ask<T>(&self, answer: impl FnOnce(&Policy, &AccessRequest<'_>) -> T) -> T {
        answer(&self.policy, &ask(&self.policy, &self.probe, &self.risk))
    }
}

#[derive(Clone, Copy)]
enum Case {
    /// A grant without conditions.
    Own,
    /// A grant that is bound to a network, from within it.
    Network,
    /// A path that no grant of the caller permits, nor any other.
    Denied,
    /// A grant that is bound to a network, from elsewhere: with all that would help.
    Elsewhere,
}

/// Never inlined, lest a part of the compiling be counted with the question.
#[inline(never)]
fn question(assignments: usize, prefixes: usize, case: Case) -> Question {
    let size = Size { roles: assignments.min(10_000), assignments, routes: assignments.min(1_000), prefixes };
    let (policy, _) = Policy::compile(&draft(&size)).unwrap();
    // Every third assignment is bound to a network.
    let last = assignments - 1;
    let number = last - last % 3 - usize::from(matches!(case, Case::Own | Case::Denied));
    let role = number % size.roles;
    let (path, client) = match case {
        Case::Own => (format!("part{role}/a/b"), IpAddr::from([192, 0, 2, 1])),
        Case::Network => {
            (format!("part{role}/a/b"), IpAddr::from(slash_28(number % NETWORKS.min(prefixes)).broadcast()))
        }
        Case::Elsewhere => (format!("part{role}/a/b"), IpAddr::from([192, 0, 2, 1])),
        Case::Denied => ("elsewhere".to_owned(), IpAddr::from([192, 0, 2, 1])),
    };
    Question { policy, probe: probe(number, "GET", role % size.routes, &path, client), risk: RiskAssessment::NONE }
}

/// The most instructions of each benchmark: the same at every size, so that what grows with the policy fails. Some two fifths
/// above what was counted.
const MOST_FOR_A_PERMIT: u64 = 10_000;
const MOST_FOR_A_REFUSAL: u64 = 180_000;

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    LibraryBenchmarkConfig::default().tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)])).to_owned()
}

fn permitted(question: Question) -> Question {
    assert!(question.ask(|policy, request| matches!(policy.decide(request), Decision::Permit(_))));
    question
}

fn by_assignments(assignments: usize, case: Case) -> Question {
    permitted(question(assignments, 1_000, case))
}

fn by_prefixes(prefixes: usize, case: Case) -> Question {
    permitted(question(1_000, prefixes, case))
}

fn refused(assignments: usize, case: Case) -> Question {
    let question = question(assignments, 1_000, case);
    assert!(question.ask(|policy, request| matches!(policy.decide(request), Decision::Deny(_))));
    question
}

#[library_benchmark(setup = by_assignments, config = at_most(MOST_FOR_A_PERMIT))]
#[bench::of_10(10, Case::Own)]
#[bench::of_1_000(1_000, Case::Own)]
#[bench::of_100_000(100_000, Case::Own)]
fn permit_by_assignments(question: Question) -> Question {
    black_box(question.ask(|policy, request| matches!(policy.decide(black_box(request)), Decision::Permit(_))));
    question
}

#[library_benchmark(setup = by_prefixes, config = at_most(MOST_FOR_A_PERMIT))]
#[bench::of_11(11, Case::Network)]
#[bench::of_1_000(1_000, Case::Network)]
#[bench::of_100_000(100_000, Case::Network)]
#[bench::of_1_000_000(1_000_000, Case::Network)]
fn permit_by_network_entries(question: Question) -> Question {
    black_box(question.ask(|policy, request| matches!(policy.decide(black_box(request)), Decision::Permit(_))));
    question
}

#[library_benchmark(setup = refused, config = at_most(MOST_FOR_A_REFUSAL))]
#[bench::of_10(10, Case::Denied)]
#[bench::of_1_000(1_000, Case::Denied)]
#[bench::of_100_000(100_000, Case::Denied)]
#[bench::with_suggestions_of_10(10, Case::Elsewhere)]
#[bench::with_suggestions_of_1_000(1_000, Case::Elsewhere)]
#[bench::with_suggestions_of_100_000(100_000, Case::Elsewhere)]
fn refuse_by_assignments(question: Question) -> Question {
    black_box(question.ask(|policy, request| policy.decide(black_box(request))));
    question
}

#[library_benchmark(setup = refused, config = at_most(MOST_FOR_A_REFUSAL))]
#[bench::of_10(10, Case::Denied)]
#[bench::of_1_000(1_000, Case::Denied)]
#[bench::of_100_000(100_000, Case::Denied)]
fn explain_by_assignments(question: Question) -> Question {
    black_box(question.ask(|policy, request| policy.explain(black_box(request))));
    question
}

library_benchmark_group!(
    name = decisions;
    benchmarks = permit_by_assignments, permit_by_network_entries, refuse_by_assignments, explain_by_assignments
);

main!(library_benchmark_groups = decisions);
