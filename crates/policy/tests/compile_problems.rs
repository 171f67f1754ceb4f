//! What is wrong with a draft: each kind of problem with its place, and all of them at once.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

use jiff::Timestamp;
use portcullis_policy::ProblemKind as Kind;
use portcullis_policy::*;

fn at(line: u32) -> Position {
    Position { line, ..Position::default() }
}

fn on_line(line: u32, text: &str) -> Placed<String> {
    Placed::new(text.to_owned(), at(line))
}

fn list(texts: &[&str]) -> Vec<Placed<String>> {
    texts.iter().map(|text| Placed::from((*text).to_owned())).collect()
}

fn route(line: u32, name: &str, hosts: &[&str], paths: &[&str]) -> RouteDraft {
    RouteDraft { name: on_line(line, name), hosts: list(hosts), paths: list(paths), reserved: false }
}

fn role(line: u32, name: &str, inherits: &[&str]) -> RoleDraft {
    let permissions = vec![PermissionDraft { actions: list(&["GET /**"]), not_actions: Vec::new() }];
    RoleDraft { name: on_line(line, name), inherits: list(inherits), permissions }
}

fn group(line: u32, name: &str, members: &[&str]) -> GroupDraft {
    GroupDraft { name: on_line(line, name), members: list(members) }
}

fn network(line: u32, name: &str) -> NetworkDraft {
    NetworkDraft { name: on_line(line, name), prefixes: Vec::new(), unknown: false }
}

fn resource(line: u32, route: &str) -> ResourceDraft {
    ResourceDraft { route: on_line(line, route), ..ResourceDraft::default() }
}

fn assignment(line: u32, name: &str) -> AssignmentDraft {
    AssignmentDraft {
        name: on_line(line, name),
        role: list(&["reader"]).remove(0),
        principals: list(&["user:alice"]),
        scope: ScopeDraft::All,
        ..AssignmentDraft::default()
    }
}

fn deny(line: u32, name: &str) -> DenyDraft {
    DenyDraft {
        name: on_line(line, name),
        principals: list(&["anyone"]),
        actions: list(&["* /**"]),
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    }
}

/// A draft without problems, for each test to spoil.
fn sound() -> PolicyDraft {
    PolicyDraft {
        routes: vec![route(1, "billing", &["billing.internal"], &["/api/**"])],
        networks: vec![network(2, "office")],
        resources: vec![resource(3, "billing")],
        roles: vec![role(4, "reader", &[])],
        groups: vec![group(5, "finance", &["user:alice"])],
        assignments: vec![assignment(6, "reads")],
        denies: vec![deny(7, "nothing-else")],
        ..PolicyDraft::default()
    }
}

fn problems(draft: PolicyDraft) -> (bool, Vec<Problem>) {
    match Policy::compile(&draft) {
        Ok((_, warnings)) => (true, warnings),
        Err(problems) => (false, problems),
    }
}

/// Exactly these errors, each with its kind, its line and a part of what it says.
fn check(case: &str, spoil: impl FnOnce(&mut PolicyDraft), expected: &[(Kind, u32, &str)]) {
    let mut draft = sound();
    spoil(&mut draft);
    let (usable, found) = problems(draft);
    let told: Vec<(Kind, u32, String)> = found
        .iter()
        .map(|problem| {
            (problem.kind, problem.at.line, format!("{} | {}", problem.message, problem.help.as_deref().unwrap_or("")))
        })
        .collect();
    assert!(!usable, "{case}: {told:#?}");
    assert!(found.iter().all(|problem| problem.severity == Severity::Error), "{case}: {told:#?}");
    assert_eq!(told.len(), expected.len(), "{case}: {told:#?}");
    for ((kind, line, text), found) in expected.iter().zip(&told) {
        assert_eq!((found.0, found.1), (*kind, *line), "{case}: {told:#?}");
        assert!(found.2.contains(text), "{case}: `{text}` is not in {told:#?}");
    }
}

/// One warning, and the policy can be used.
fn check_warning(case: &str, spoil: impl FnOnce(&mut PolicyDraft), expected: Kind, text: &str) {
    let mut draft = sound();
    spoil(&mut draft);
    let (usable, found) = problems(draft);
    assert!(usable && found.len() == 1, "{case}: {found:#?}");
    let warning = found.first().unwrap();
    assert_eq!((warning.kind, warning.severity), (expected, Severity::Warning), "{case}");
    assert!(warning.message.contains(text), "{case}: {warning:#?}");
}

#[test]
fn a_sound_draft_has_no_problems() {
    assert_eq!(problems(sound()), (true, Vec::new()));
    assert_eq!(problems(PolicyDraft::default()), (true, Vec::new()));
}

#[test]
fn a_name_is_given_once_and_can_be_written_everywhere() {
    check(
        "route",
        |draft| draft.routes.push(route(9, "billing", &["b"], &[])),
        &[(Kind::DuplicateName, 9, "two route entries are named `billing`")],
    );
    check("network", |draft| draft.networks.push(network(9, "office")), &[(Kind::DuplicateName, 9, "two network")]);
    check(
        "resource",
        |draft| draft.resources.push(resource(9, "billing")),
        &[(Kind::DuplicateName, 9, "two resource")],
    );
    check("role", |draft| draft.roles.push(role(9, "reader", &[])), &[(Kind::DuplicateName, 9, "two role")]);
    check("group", |draft| draft.groups.push(group(9, "finance", &[])), &[(Kind::DuplicateName, 9, "two group")]);
    check(
        "assignment",
        |draft| draft.assignments.push(assignment(9, "reads")),
        &[(Kind::DuplicateName, 9, "two assign")],
    );
    check("deny", |draft| draft.denies.push(deny(9, "nothing-else")), &[(Kind::DuplicateName, 9, "two deny")]);
    // The later one is the one to change, in whatever order they come.
    check("earlier", |draft| draft.roles.insert(0, role(2, "reader", &[])), &[(Kind::DuplicateName, 4, "two role")]);
    for bad in ["", "a,b", "a\nb", "a\u{7f}", &"x".repeat(257)] {
        check(bad, |draft| draft.networks.push(network(9, bad)), &[(Kind::BadName, 9, "cannot be a name")]);
    }
    assert!(problems(PolicyDraft { networks: vec![network(1, &"x".repeat(256))], ..sound() }).0);
}

#[test]
fn a_reference_leads_somewhere_or_says_where_it_may_have_meant_to() {
    check(
        "resource",
        |draft| draft.resources.push(resource(9, "biling")),
        &[(Kind::UnknownReference, 9, "there is no route named `biling` | did you mean `billing`?")],
    );
    check(
        "networks.allow and deny",
        |draft| {
            let (allow, deny) = (vec![on_line(8, "ofice")], vec![on_line(9, "tor-exits")]);
            draft.resources = vec![ResourceDraft { allow, deny, ..resource(3, "billing") }];
        },
        &[
            (Kind::UnknownReference, 8, "there is no network named `ofice` | did you mean `office`?"),
            (Kind::UnknownReference, 9, "there is no network named `tor-exits` | add a [[network]] of that name"),
        ],
    );
    check(
        "inherits",
        |draft| draft.roles.push(RoleDraft { inherits: vec![on_line(9, "raeder")], ..role(8, "admin", &[]) }),
        &[(Kind::UnknownReference, 9, "did you mean `reader`?")],
    );
    check(
        "role",
        |draft| draft.assignments = vec![AssignmentDraft { role: on_line(9, "Reader"), ..assignment(8, "a") }],
        &[(Kind::UnknownReference, 9, "did you mean `reader`?")],
    );
    check("no role at all", |draft| draft.roles.clear(), &[(Kind::UnknownReference, 0, "there is no [[role]] at all")]);
    let nowhere = || ScopeDraft::Routes(vec![on_line(9, "billings")]);
    check(
        "scope of an assignment",
        |draft| draft.assignments.push(AssignmentDraft { scope: nowhere(), ..assignment(8, "a") }),
        &[(Kind::UnknownReference, 9, "did you mean `billing`?")],
    );
    check(
        "scope of a deny",
        |draft| draft.denies.push(DenyDraft { scope: nowhere(), ..deny(8, "a") }),
        &[(Kind::UnknownReference, 9, "did you mean `billing`?")],
    );
    let when = || WhenDraft { networks: Some(vec![on_line(9, "offices")]), ..WhenDraft::default() };
    check(
        "when of an assignment",
        |draft| draft.assignments.push(AssignmentDraft { when: when(), ..assignment(8, "a") }),
        &[(Kind::UnknownReference, 9, "did you mean `office`?")],
    );
    check(
        "when of a deny",
        |draft| draft.denies.push(DenyDraft { when: when(), ..deny(8, "a") }),
        &[(Kind::UnknownReference, 9, "did you mean `office`?")],
    );
    // A group may come from a token, so nobody can say that one is unknown.
    assert!(problems(PolicyDraft { groups: vec![group(1, "g", &["group:elsewhere"])], ..sound() }).0);
}

#[test]
fn roles_inherit_without_circles_and_not_too_deep() {
    check("itself", |draft| draft.roles.push(role(9, "a", &["a"])), &[(Kind::RoleCycle, 0, "a -> a")]);
    let circle = |draft: &mut PolicyDraft| {
        draft.roles.extend([role(8, "c", &["b"]), role(9, "a", &["c"]), role(10, "b", &["a"])])
    };
    check("three", circle, &[(Kind::RoleCycle, 0, "roles inherit in a circle: a -> c -> b -> a")]);
    let two_circles = |draft: &mut PolicyDraft| {
        draft.roles.extend([role(8, "a", &["b"]), role(9, "b", &["a"]), role(9, "c", &["c"])])
    };
    check("two circles", two_circles, &[(Kind::RoleCycle, 0, "a -> b -> a"), (Kind::RoleCycle, 0, "c -> c")]);

    let chain = |length: usize| -> Vec<RoleDraft> {
        // The deepest is first by name, so that names and depth do not run together.
        let name = |depth: usize| format!("r{:03}", length - depth);
        (0..=length)
            .map(|depth| match depth {
                0 => role(0, &name(0), &[]),
                deeper => role(u32::try_from(deeper).unwrap(), &name(deeper), &[&name(deeper - 1)]),
            })
            .collect()
    };
    let with = |roles: Vec<RoleDraft>| move |draft: &mut PolicyDraft| draft.roles.extend(roles);
    let (usable, found) = problems(PolicyDraft { roles: chain(32), assignments: Vec::new(), ..sound() });
    assert!(usable, "{found:#?}");
    check("33 deep", with(chain(33)), &[(Kind::RoleDepth, 33, "role `r000` inherits through more than 32 others")]);
    let mut reversed = chain(33);
    for each in &mut reversed {
        each.name.value = format!("s{:03}", each.name.at.line);
        each.inherits =
            each.name.at.line.checked_sub(1).map(|line| list(&[&format!("s{line:03}")])).unwrap_or_default();
    }
    check("33 deep, walked from its end", with(reversed), &[(Kind::RoleDepth, 33, "role `s033`")]);
}

#[test]
fn groups_may_contain_each_other_and_it_is_said() {
    check_warning(
        "itself",
        |draft| draft.groups.push(group(9, "a", &["group:a"])),
        Kind::GroupCycle,
        "contain each other: a;",
    );
    check_warning(
        "three, with one outside",
        |draft| {
            draft.groups.extend([group(8, "c", &["group:b"]), group(9, "a", &["group:c", "group:outside"])]);
            draft.groups.extend([group(10, "b", &["group:a"]), group(11, "outside", &[])]);
        },
        Kind::GroupCycle,
        "contain each other: a, b, c;",
    );
}

#[test]
fn routes_that_no_request_can_tell_apart_are_an_error() {
    let same = |hosts: &'static [&str], paths: &'static [&str]| {
        move |draft: &mut PolicyDraft| draft.routes.push(route(9, "other", hosts, paths))
    };
    let expected = |text: &'static str| [(Kind::EquivalentRoutes, 0, text)];
    check("same", same(&["billing.internal"], &["/api/**"]), &expected("routes `billing` and `other`"));
    check("same in capitals", same(&["Billing.Internal."], &["/api/**"]), &expected("routes `billing` and `other`"));
    check("one of several", same(&["x", "billing.internal"], &["/y", "/api/**"]), &expected("the same host"));
    let any_host = |draft: &mut PolicyDraft| {
        draft.routes.extend([route(8, "a", &[], &["/x/*"]), route(9, "b", &[], &["/x/{id}"])])
    };
    check("placeholder and star", any_host, &expected("routes `a` and `b`"));
    let escaped =
        |draft: &mut PolicyDraft| draft.routes.extend([route(8, "a", &[], &["/a b"]), route(9, "b", &[], &["/a%20b"])]);
    check("escaped", escaped, &expected("routes `a` and `b`"));
    let everything =
        |draft: &mut PolicyDraft| draft.routes.extend([route(8, "a", &[], &[]), route(9, "b", &[], &["/**"])]);
    check("everything", everything, &expected("routes `a` and `b`"));
    for (hosts, paths) in [
        (&["*.internal"][..], &["/api/**"][..]),
        (&[][..], &["/api/**"][..]),
        (&["billing.internal"][..], &["/api/*"][..]),
    ] {
        let mut draft = sound();
        draft.routes.push(route(9, "other", hosts, paths));
        assert_eq!(problems(draft), (true, Vec::new()), "{hosts:?} {paths:?}");
    }
}

#[test]
fn what_is_no_host_pattern_action_or_principal_is_refused() {
    for bad in ["", "a b", "a:80", "*", "a.*.b", "*.*.a", "user@a", "[::1", "ä.example", "a/b"] {
        let spoil = |draft: &mut PolicyDraft| {
            draft.routes.push(RouteDraft { hosts: vec![on_line(9, bad)], ..route(8, "r", &[], &[]) })
        };
        check(bad, spoil, &[(Kind::BadHost, 9, "")]);
    }
    for bad in ["", "api", "/a//b", "/**/a", "/../a", "/a%2fb", "/a?b"] {
        let spoil = |draft: &mut PolicyDraft| {
            draft.routes.push(RouteDraft { paths: vec![on_line(9, bad)], ..route(8, "r", &[], &[]) })
        };
        check(bad, spoil, &[(Kind::BadPattern, 9, "")]);
    }
    for bad in ["", "GET", "/a", "GET a", "GET, POST /a", "GET,* /a", "GET /**/a"] {
        let actions = || vec![on_line(9, bad)];
        let expected = [(Kind::BadAction, 9, "write `METHOD PATTERN`")];
        check(bad, |draft| draft.denies.push(DenyDraft { actions: actions(), ..deny(8, "d") }), &expected);
        let permission = PermissionDraft { actions: actions(), not_actions: Vec::new() };
        check(
            bad,
            |draft| draft.roles.push(RoleDraft { permissions: vec![permission], ..role(8, "r", &[]) }),
            &expected,
        );
        let permission = PermissionDraft { actions: list(&["GET /**"]), not_actions: actions() };
        check(
            bad,
            |draft| draft.roles.push(RoleDraft { permissions: vec![permission], ..role(8, "r", &[]) }),
            &expected,
        );
    }
    for bad in ["", "alice", "user:", "users:alice", "User:alice", "everyone", "role:reader", "user:a\tb"] {
        let expected = [(Kind::BadPrincipal, 9, "write `user:ID`")];
        let principals = || vec![on_line(9, bad)];
        check(
            bad,
            |draft| draft.assignments.push(AssignmentDraft { principals: principals(), ..assignment(8, "a") }),
            &expected,
        );
        check(bad, |draft| draft.denies.push(DenyDraft { principals: principals(), ..deny(8, "d") }), &expected);
        check(bad, |draft| draft.groups.push(GroupDraft { members: principals(), ..group(8, "g", &[]) }), &expected);
    }
    let methods: Vec<String> = (0..64).map(|number| format!("M{number}")).collect();
    let wide = |count: usize| DenyDraft {
        actions: vec![on_line(9, &format!("{} /", methods[..count].join(",")))],
        ..deny(8, "d")
    };
    assert!(problems(PolicyDraft { denies: vec![wide(62)], ..sound() }).0, "with GET there are 63");
    check("64 methods", |draft| draft.denies.push(wide(63)), &[(Kind::BadAction, 9, "more than 63 different methods")]);
}

#[test]
fn a_star_that_is_only_a_letter_is_warned_about() {
    let with = |action: &'static str| {
        move |draft: &mut PolicyDraft| draft.denies = vec![DenyDraft { actions: list(&[action]), ..deny(8, "d") }]
    };
    check_warning("in a segment", with("GET /a*b"), Kind::LiteralWildcard, "means only itself");
    check_warning("brace", with("GET /{a"), Kind::LiteralWildcard, "means only itself");
    for fine in ["* /a", "* /a/*", "GET /{id}/**"] {
        let mut draft = sound();
        with(fine)(&mut draft);
        assert_eq!(problems(draft), (true, Vec::new()), "{fine}");
    }
}

#[test]
fn a_period_ends_after_it_begins() {
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let (early, late) = (time("2026-01-01T00:00:00Z"), time("2026-01-01T00:00:01Z"));
    for (starts, expires) in [(late, early), (early, early)] {
        let expected = [(Kind::BadPeriod, 9, "not after it starts")];
        check(
            "assignment",
            |draft| draft.assignments.push(AssignmentDraft { starts, expires, ..assignment(9, "a") }),
            &expected,
        );
        check("deny", |draft| draft.denies.push(DenyDraft { starts, expires, ..deny(9, "d") }), &expected);
    }
    for (starts, expires) in [(early, late), (None, early), (late, None)] {
        let assignments = vec![AssignmentDraft { starts, expires, ..assignment(9, "a") }];
        assert!(problems(PolicyDraft { assignments, ..sound() }).0);
    }
}

#[test]
fn a_list_that_must_name_something_does() {
    let nowhere = || ScopeDraft::Routes(Vec::new());
    let when = |networks, countries| WhenDraft { networks, countries, ..WhenDraft::default() };
    let never = [when(Some(Vec::new()), None), when(None, Some(Vec::new()))];
    let assignments = [
        ("principals", AssignmentDraft { principals: Vec::new(), ..assignment(9, "a") }, "names no principals"),
        ("scope", AssignmentDraft { scope: nowhere(), ..assignment(9, "a") }, "has no scope"),
        (
            "networks",
            AssignmentDraft { when: never[0].clone(), ..assignment(9, "a") },
            "`when.networks` of `a` is empty",
        ),
        (
            "countries",
            AssignmentDraft { when: never[1].clone(), ..assignment(9, "a") },
            "`when.countries` of `a` is empty",
        ),
    ];
    for (case, spoilt, text) in assignments {
        check(case, |draft| draft.assignments.push(spoilt), &[(Kind::Empty, 9, text)]);
    }
    let denies = [
        ("principals", DenyDraft { principals: Vec::new(), ..deny(9, "d") }, "names no principals"),
        ("scope", DenyDraft { scope: nowhere(), ..deny(9, "d") }, "has no scope"),
        ("actions", DenyDraft { actions: Vec::new(), ..deny(9, "d") }, "has no actions"),
        ("networks", DenyDraft { when: never[0].clone(), ..deny(9, "d") }, "is empty, so it never holds"),
        ("countries", DenyDraft { when: never[1].clone(), ..deny(9, "d") }, "is empty, so it never holds"),
    ];
    for (case, spoilt, text) in denies {
        check(case, |draft| draft.denies.push(spoilt), &[(Kind::Empty, 9, text)]);
    }
    let idle = RoleDraft { permissions: vec![PermissionDraft::default()], ..role(9, "r", &[]) };
    check("permission", |draft| draft.roles.push(idle), &[(Kind::Empty, 9, "has no actions")]);
}

#[test]
fn a_deny_does_not_depend_on_how_sure_one_is() {
    let assurance = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
    let risk = WhenDraft { max_risk: Some(RiskLevel::Low), ..WhenDraft::default() };
    for when in [assurance, risk] {
        check(
            "deny",
            |draft| draft.denies.push(DenyDraft { when, ..deny(9, "d") }),
            &[(Kind::BadCondition, 9, "cannot depend on")],
        );
    }
}

#[test]
fn what_multiplies_beyond_measure_is_refused_and_not_computed() {
    let (many, layers) = (300, 30);
    let name = |layer: usize, index: usize| format!("r{layer:02}-{index:03}");
    let all: Vec<String> = (0..layers).flat_map(|layer| (0..many).map(move |index| name(layer, index))).collect();
    let below = |layer: usize| -> Vec<&str> {
        layer
            .checked_sub(1)
            .map(|below| all[below * many..layer * many].iter().map(String::as_str).collect())
            .unwrap_or_default()
    };
    let roles =
        (0..layers).flat_map(|layer| all[layer * many..(layer + 1) * many].iter().map(move |name| (layer, name)));
    let roles = roles.map(|(layer, name)| role(9, name, &below(layer))).collect();
    let (usable, found) = problems(PolicyDraft { roles, assignments: Vec::new(), ..sound() });
    assert!(!usable && found.iter().any(|problem| problem.kind == Kind::TooMany), "{found:#?}");
}

#[test]
fn all_problems_are_told_at_once() {
    let draft = PolicyDraft {
        routes: vec![route(1, "a", &["a b"], &["x"]), route(2, "a", &[], &[]), route(3, "b", &[], &["/**"])],
        networks: vec![network(4, "")],
        resources: vec![resource(5, "nowhere")],
        roles: vec![
            role(6, "r", &["r"]),
            RoleDraft {
                permissions: vec![PermissionDraft { actions: list(&["GET"]), not_actions: Vec::new() }],
                ..role(7, "s", &[])
            },
        ],
        groups: vec![group(8, "g", &["nobody", "group:g"])],
        assignments: vec![AssignmentDraft { principals: Vec::new(), ..assignment(9, "x") }],
        denies: vec![DenyDraft { when: WhenDraft { assurance_mfa: true, ..WhenDraft::default() }, ..deny(10, "d") }],
        ..PolicyDraft::default()
    };
    let (usable, found) = problems(draft);
    assert!(!usable);
    for kind in [
        Kind::BadHost,
        Kind::BadPattern,
        Kind::DuplicateName,
        Kind::EquivalentRoutes,
        Kind::BadName,
        Kind::UnknownReference,
        Kind::RoleCycle,
        Kind::BadAction,
        Kind::BadPrincipal,
        Kind::GroupCycle,
        Kind::Empty,
        Kind::BadCondition,
    ] {
        assert!(found.iter().any(|problem| problem.kind == kind), "{kind:?} is not in {found:#?}");
    }
}
