//! A policy of the size it must carry compiles and answers. Nothing here is timed by an assertion; the figures are
//! printed for whoever runs it with `--nocapture`.
//!
//! `PORTCULLIS_FULL_SIZE=1` builds 10,000 roles, 100,000 assignments, 1,000 routes and 1,000,000 prefixes; otherwise a
//! tenth of that, which a debug build takes in its stride.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "in a test a broken expectation is a failure, and figures are for whoever asks for them"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use portcullis_policy::*;

#[path = "size/world.rs"]
mod world;

use world::*;

/// As the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The size that the engine must carry.
const FULL: Size = Size { roles: 10_000, assignments: 100_000, routes: 1_000, prefixes: 1_000_000 };
const SMALL: Size = Size { roles: 1_000, assignments: 10_000, routes: 100, prefixes: 100_000 };

fn nanoseconds_each(policy: &Policy, probe: &Probe) -> u128 {
    let rounds = if cfg!(debug_assertions) { 200 } else { 100_000 };
    let risk = RiskAssessment::NONE;
    let request = ask(policy, probe, &risk);
    let begin = Instant::now();
    for _ in 0..rounds {
        black_box(policy.decide(black_box(&request)));
    }
    begin.elapsed().as_nanos() / rounds
}

/// Answers each request of a mix once, whoever asks for what, and prints how long that took: nine of ten ask for what is theirs,
/// where a third is bound to a network and one in ten of those comes from elsewhere; the tenth asks for what is another's or
/// nobody's.
fn print_distribution(policy: &Policy, size: &Size) {
    let requests = if cfg!(debug_assertions) { 2_000 } else { 200_000 };
    let risk = RiskAssessment::NONE;
    // A stride that is coprime to the sizes, so that requests come in no order.
    let numbers = (0..requests).map(|turn| (turn, turn * 7_919 % size.assignments));
    let (mut verdicts, mut permits, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    for (turn, number) in numbers {
        let role = number % size.roles;
        let client = match turn % 10 {
            1 => IpAddr::from([192, 0, 2, 1]),
            _ => IpAddr::from(slash_28(number % NETWORKS + NETWORKS).broadcast()),
        };
        let path = match turn % 20 {
            0 => format!("part{}/x", (role + 7) % size.roles),
            10 => "elsewhere/x".to_owned(),
            _ => format!("part{role}/x"),
        };
        let probe = probe(number, "GET", role % size.routes, &path, client);
        let request = ask(policy, &probe, &risk);
        // Every other request is asked for the answer alone, so that neither question warms the memory for the other.
        let begin = Instant::now();
        if turn / 20 % 2 == 0 {
            black_box(policy.verdict(black_box(&request)));
            verdicts.push(begin.elapsed());
            continue;
        }
        let decision = black_box(policy.decide(black_box(&request)));
        let took = begin.elapsed();
        if matches!(decision, Decision::Permit(_)) { permits.push(took) } else { refusals.push(took) }
    }
    let share = permits.len() * 100 / (permits.len() + refusals.len());
    assert!((80..100).contains(&share), "{share}");
    let all = permits.iter().chain(&refusals).copied().collect();
    let kinds =
        [("verdicts", verdicts), ("permits", permits), ("refusals with their proof", refusals), ("decisions", all)];
    for (what, mut times) in kinds {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 1_000];
        println!(
            "{} {what}: p50 {:?}, p90 {:?}, p99 {:?}, p99.9 {:?}",
            times.len(),
            at(500),
            at(900),
            at(990),
            at(999)
        );
    }
}

/// The most memory that this process has held, in mebibytes, where the system says so.
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

/// Lints a policy without giving anything up, and says how long that took.
fn linted(draft: &PolicyDraft, policy: &Policy) -> String {
    let now = Some("2026-11-23T10:00:00Z".parse().unwrap());
    let begin = Instant::now();
    let found = lint(draft, policy, &LintFacts { now, ..LintFacts::default() });
    let took = begin.elapsed();
    // Network 0 holds all the others, and is too large for an allowlist.
    let kinds: Vec<ProblemKind> = found.iter().map(|each| each.kind).collect();
    assert_eq!(kinds, [ProblemKind::WideNetwork]);
    format!("linted in {took:?}; peak {:?} MiB", peak_mebibytes())
}

#[test]
fn a_policy_of_full_size_compiles_and_answers() {
    let size = if std::env::var_os("PORTCULLIS_FULL_SIZE").is_some() { FULL } else { SMALL };
    let draft = draft(&size);
    let before = peak_mebibytes();
    let begin = Instant::now();
    let (policy, warnings) = Policy::compile(&draft).unwrap();
    println!("compiled in {:?}; peak {before:?} MiB before, {:?} MiB after", begin.elapsed(), peak_mebibytes());
    assert!(warnings.is_empty());
    let counted = policy.size();
    assert_eq!((counted.roles, counted.assignments, counted.routes), (size.roles, size.assignments, size.routes));

    println!("{}", linted(&draft, &policy));

    let (last, elsewhere) = (size.assignments - 1, IpAddr::from([192, 0, 2, 1]));
    let role = last % size.roles;
    let route = role % size.routes;
    let inherited = role - 1;
    let own = format!("part{role}/x");
    // A user whose assignment has a network condition: number `n` of network `n`, then `n + 1` of another one.
    let bound = (0..size.assignments).rev().find(|number| number % 3 == 0 && number % NETWORKS != 0).unwrap();
    let bound_role = bound % size.roles;
    let (bound_route, bound_own) = (bound_role % size.routes, format!("part{bound_role}/x"));
    let network = bound % NETWORKS;
    let within = IpAddr::from(slash_28(network + NETWORKS).broadcast());
    let beside = IpAddr::from(slash_28(network + NETWORKS + 1).broadcast());
    assert_eq!(last % 3, 0, "the last one is bound to a network as well");
    let free = last - 1;
    let (free_role, free_route) = (free % size.roles, free % size.roles % size.routes);
    let free_own = format!("part{free_role}/x");
    let table = [
        ("own", probe(free, "GET", free_route, &free_own, elsewhere), "permit"),
        (
            "not that one",
            probe(free, "POST", free_route, &format!("part{free_role}/frozen"), elsewhere),
            "rbac.no_matching_grant",
        ),
        ("no such grant", probe(free, "GET", free_route, "other", elsewhere), "rbac.no_matching_grant"),
        (
            "inherited, on a route of its own",
            probe(last, "GET", route, &format!("part{inherited}/x"), elsewhere),
            "rbac.no_matching_grant",
        ),
        ("network, first address after", probe(bound, "GET", bound_route, &bound_own, beside), "rbac.condition_unmet"),
        ("network, last address", probe(bound, "GET", bound_route, &bound_own, within), "permit"),
        ("another's", probe(0, "GET", route, &own, elsewhere), "rbac.no_matching_grant"),
        ("nowhere", probe(free, "GET", size.routes, &own, elsewhere), "route.not_found"),
    ];
    let risk = RiskAssessment::NONE;
    for (case, probe, expected) in &table {
        let answer = policy.explain(&ask(&policy, probe, &risk));
        let told = answer.denial.as_ref().map_or("permit", |denial| denial.reason.code());
        assert_eq!(told, *expected, "{case}: {}", answer.message);
        if *case == "another's" {
            let needs: Vec<String> =
                answer.denial.iter().flat_map(|denial| &denial.nearest).map(|each| each.needs.join("+")).collect();
            // The groups that have the role without a condition, and the role itself.
            let groups = (0..size.assignments).filter(|number| number % size.roles == role && number % 3 != 0);
            let would_do: BTreeSet<String> = groups
                .map(|number| format!("group:g{}", number / TEAM))
                .chain([format!("role:role-{role:05}")])
                .collect();
            assert!(would_do.iter().take(5).eq(&needs), "{needs:?} {would_do:?}");
        }
        println!("{case}: {} ns each", nanoseconds_each(&policy, probe));
    }
    print_distribution(&policy, &size);
    ask_both_questions(&policy, &size, free, &free_own);
}

/// Who has one grant is listed with it, and found among those who can do what it grants.
fn ask_both_questions(policy: &Policy, size: &Size, number: usize, own: &str) {
    let (role, who) = (number % size.roles, user(number));
    let circumstances = Circumstances::at("2026-11-23T10:00:00Z".parse().unwrap());
    let listing = policy.list(Some(&who), None, &circumstances);
    let through = |grant: &&ListedGrant| grant.through.iter().any(|name| **name == *who.reference());
    let grants: Vec<&ListedGrant> = listing.routes.iter().flat_map(|route| &route.grants).filter(through).collect();
    assert_eq!(grants.len(), 1);
    // Of what is inherited, all but what belongs to other routes.
    let expected = format!("GET,POST /s{}/part{role}/**", role % size.routes);
    assert_eq!(grants[0].actions.iter().map(|each| each.action.as_str()).collect::<Vec<_>>(), [expected]);

    let probe = probe(number, "GET", role % size.routes, own, IpAddr::from([192, 0, 2, 1]));
    let answer = policy.who_can(&ActionQuestion {
        method: probe.method,
        path: &probe.path,
        route: policy.find_route(&probe.host, &probe.path).unwrap(),
        circumstances,
        compliant_device: None,
        fresh_mfa: false,
        authenticated_s: None,
    });
    assert!(answer.allowed.len() < 100, "{}", answer.allowed.len());
    assert!(answer.allowed.iter().any(|each| *each.subject == *who.reference() && each.now));
}

/// Everything is for everybody everywhere, so that every grant may include every other one and every deny may concern every
/// grant: what the lint gives up on, and says that it does.
#[test]
fn a_policy_that_is_hard_to_lint_is_linted_in_part() {
    let size = if std::env::var_os("PORTCULLIS_FULL_SIZE").is_some() { FULL } else { SMALL };
    let mut draft = draft(&Size { prefixes: 1_000, ..size });
    for (index, assignment) in draft.assignments.iter_mut().enumerate() {
        assignment.principals = vec![name("authenticated".into()), name(format!("group:g{}", index % 50))];
        assignment.scope = ScopeDraft::All;
        assignment.when = WhenDraft::default();
    }
    for (index, deny) in draft.denies.iter_mut().enumerate() {
        deny.principals = vec![name("anyone".into())];
        deny.actions = vec![name(format!("* /elsewhere/{index}"))];
    }
    draft.groups = (0..50)
        .map(|index| GroupDraft {
            name: name(format!("g{index}")),
            members: (0..200).map(|user| name(format!("user:u{user}"))).collect(),
        })
        .collect();
    draft.exclusives = (0..40)
        .map(|index| ExclusiveDraft {
            name: name(format!("exclusive-{index}")),
            roles: [12, 24].map(|step| name(format!("role-{:05}", index * step + 12 * (step / 24)))).into(),
            max: None,
        })
        .collect();
    draft.exclusives.retain(|each| each.roles[0].value != each.roles[1].value);
    let (policy, _) = Policy::compile(&draft).unwrap();
    let begin = Instant::now();
    let found = lint(&draft, &policy, &LintFacts::default());
    println!("hard to lint: {:?}; {} warnings; peak {:?} MiB", begin.elapsed(), found.len(), peak_mebibytes());
    assert!(found.iter().any(|each| each.kind == ProblemKind::LintIncomplete), "{}", found.len());
    assert!(found.len() < 4_000, "{}", found.len());
}
