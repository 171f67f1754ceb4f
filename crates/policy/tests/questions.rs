//! The questions about more than one request, on one small office: what they say, word for word. That it is what `decide`
//! does, for any policy, the properties show.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::*;

const NOW: &str = "2026-11-23T10:00:00Z";

fn text(value: &str) -> Placed<String> {
    value.to_owned().into()
}

fn texts(values: &[&str]) -> Vec<Placed<String>> {
    values.iter().map(|value| text(value)).collect()
}

fn at(value: &str) -> Timestamp {
    value.parse().unwrap()
}

fn group(name: &str, members: &[&str]) -> GroupDraft {
    GroupDraft { name: text(name), members: texts(members) }
}

fn on(route: &str, draft: AssignmentDraft) -> AssignmentDraft {
    AssignmentDraft { scope: ScopeDraft::Routes(texts(&[route])), ..draft }
}

/// Routes for invoices (from the office, where it is known), their archive, and a page for everybody.
fn office() -> PolicyDraft {
    let hours = Hours::parse("Mon-Fri 08:00-18:00 UTC", |name| TimeZone::get(name).ok()).unwrap();
    PolicyDraft {
        sources: vec!["policy.toml".into()],
        routes: vec![
            RouteDraft { hosts: texts(&["app.test"]), ..RouteDraft::new("billing", ["/api/**"]) },
            RouteDraft { hosts: texts(&["app.test"]), ..RouteDraft::new("archive", ["/api/archive/**"]) },
            RouteDraft::new("public", ["/public/**", "/"]),
        ],
        networks: vec![
            NetworkDraft { name: text("office"), prefixes: vec!["203.0.113.0/24".parse().unwrap()], unknown: false },
            NetworkDraft { name: text("branch"), prefixes: vec!["198.51.100.0/24".parse().unwrap()], unknown: false },
        ],
        resources: vec![
            ResourceDraft { route: text("billing"), allow: texts(&["office", "branch"]), ..ResourceDraft::default() },
            ResourceDraft {
                route: text("public"),
                authentication: AuthenticationRule::None,
                ..ResourceDraft::default()
            },
        ],
        roles: vec![
            RoleDraft {
                name: text("reader"),
                inherits: Vec::new(),
                permissions: vec![PermissionDraft {
                    actions: texts(&["GET,HEAD /api/invoices/**", "GET /api/invoices/*/frozen", "GET /other"]),
                    not_actions: texts(&["GET /api/invoices/*/bank-details", "HEAD /api/**", "* /api/*/*/frozen"]),
                }],
            },
            RoleDraft::new("all", ["* /**"]),
            RoleDraft::new("archivist", ["GET /api/archive/**", "GET /api/arch ive"]),
        ],
        groups: vec![
            group("finance", &["user:alice", "group:emea"]),
            group("emea", &["user:erik", "group:berlin", "user:alice"]),
            group("berlin", &["user:bert", "group:finance"]),
            group("suspended", &["group:berlin-interns", "user:eve"]),
            group("berlin-interns", &["user:ina"]),
        ],
        assignments: vec![
            on("billing", AssignmentDraft::new("finance-reads", "reader", ["group:finance", "service:reporting"])),
            AssignmentDraft {
                when: WhenDraft {
                    networks: Some(texts(&["office", "branch"])),
                    hours: Some(hours.into()),
                    countries: CountryCode::parse("de").zip(CountryCode::parse("AT")).map(|(de, at)| vec![de, at]),
                    compliant_device: true,
                    assurance_mfa: true,
                    max_age_s: None,
                    max_risk: Some(RiskLevel::Low),
                },
                ..on("billing", AssignmentDraft::new("root", "all", ["user:root"]))
            },
            AssignmentDraft {
                expires: Some(at("2026-01-01T00:00:00Z")),
                ..on("billing", AssignmentDraft::new("last-year", "all", ["user:carol"]))
            },
            AssignmentDraft {
                starts: Some(at("2027-01-01T00:00:00Z")),
                ..on("billing", AssignmentDraft::new("next-year", "all", ["user:carol"]))
            },
            AssignmentDraft { mode: Mode::Shadow, ..AssignmentDraft::new("someday", "all", ["user:carol"]) },
            AssignmentDraft::new("archivists", "archivist", ["group:claimed", "user:ina", "user:eve", "user:dora"]),
            on("public", AssignmentDraft::new("everybody", "all", ["anyone", "user:root"])),
        ],
        denies: vec![
            DenyDraft::new("suspended", ["group:suspended"], ["GET,POST /api/archive/**"]),
            DenyDraft {
                when: WhenDraft { countries: CountryCode::parse("US").map(|us| vec![us]), ..WhenDraft::default() },
                ..DenyDraft::new("not-from-there", ["user:dora"], ["GET /api/archive/secret"])
            },
            DenyDraft { mode: Mode::Shadow, ..DenyDraft::new("only-told", ["anyone"], ["* /**"]) },
        ],
        ..PolicyDraft::default()
    }
}

fn policy() -> Policy {
    Policy::compile(&office()).unwrap().0
}

fn nothing_known() -> Circumstances<'static> {
    Circumstances::at(at(NOW))
}

fn from_the_office() -> Circumstances<'static> {
    Circumstances { client: ClientAddress::known("203.0.113.7".parse().unwrap()), ..nothing_known() }
}

fn standing(standing: &Standing) -> String {
    let needs: Vec<String> =
        standing.needs().iter().map(|need| format!(" {}{}", need.text, if need.unknown { "?" } else { "" })).collect();
    let instant = standing.instant().map(|at| format!(" {at}")).unwrap_or_default();
    format!("{}{}{instant}", standing.as_str(), needs.concat())
}

/// A listing, one line for each obstacle, action and deny.
fn lines(listing: &Listing) -> Vec<String> {
    let mut lines = Vec::new();
    for route in &listing.routes {
        for obstacle in &route.obstacles {
            let needs: Vec<&str> = obstacle.needs.iter().map(|need| need.text.as_str()).collect();
            lines.push(format!("{}: {} {}", route.name, obstacle.reason.code(), needs.join(" ")).trim_end().to_owned());
        }
        for grant in &route.grants {
            let name = grant.assignment.as_ref().map_or("directly", |rule| &rule.name);
            let shadow = if grant.shadow { " shadow" } else { "" };
            for action in &grant.actions {
                let except = if action.except.is_empty() { "" } else { " except " };
                let denied = action.denied_by.as_ref().map(|rule| format!(", denied by {}", rule.name));
                lines.push(format!(
                    "{}: {}{except}{} by {name} as {}: {}{shadow}{}",
                    route.name,
                    action.action,
                    action.except.join(" "),
                    grant.through.join(" "),
                    standing(&grant.standing),
                    denied.unwrap_or_default(),
                ));
            }
        }
        for deny in route.denies.iter().filter(|deny| !deny.shadow) {
            let through = deny.through.join(" ");
            lines.push(format!(
                "{}: deny {} as {through}: {}",
                route.name,
                deny.actions.join(" "),
                standing(&deny.standing)
            ));
        }
    }
    lines
}

#[test]
fn a_listing_shows_what_is_left_of_a_role_on_each_route() {
    let policy = policy();
    let check = |who: Principal, circumstances: &Circumstances<'_>, permits_now: bool, expected: &[&str]| {
        let listing = policy.list(Some(&who), None, circumstances);
        let public = "public: * /** by everybody as anyone: now";
        let expected: Vec<&str> = expected.iter().copied().chain([public]).collect();
        assert_eq!(lines(&listing), expected, "{}", who.reference());
        assert!(listing.permits_now, "the public page is for everybody");
        let billing = policy.list(Some(&who), Some("app.test"), circumstances);
        let grants = billing.routes.iter().filter(|route| &*route.name != "public").flat_map(|route| &route.grants);
        let now = grants.filter(|grant| grant.standing.is_now() && !grant.shadow).count();
        assert_eq!(now > 0, permits_now, "{}", who.reference());
    };
    // The method that is wholly taken out is gone, what is partly taken out stands beside, and what the route never sees, or
    // what nothing is left of, is not there.
    check(
        Principal::user("bert"),
        &from_the_office(),
        true,
        &[
            "billing: GET /api/invoices/** except * /api/*/*/frozen GET /api/invoices/*/bank-details by finance-reads as group:finance: now",
        ],
    );
    check(
        Principal::user("bert"),
        &nothing_known(),
        true,
        &[
            "billing: ip.not_allowed network:branch,office",
            "billing: GET /api/invoices/** except * /api/*/*/frozen GET /api/invoices/*/bank-details by finance-reads as group:finance: now",
        ],
    );
    check(
        Principal::user("root"),
        &nothing_known(),
        false,
        &[
            "billing: ip.not_allowed network:branch,office",
            "billing: * /** by root as user:root: needs network:branch,office? country:AT,DE? device:compliant? assurance:mfa",
        ],
    );
    check(
        Principal::user("carol"),
        &from_the_office(),
        false,
        &[
            "billing: * /** by last-year as user:carol: expired 2026-01-01T00:00:00Z",
            "billing: * /** by next-year as user:carol: not_yet_active 2027-01-01T00:00:00Z",
            "billing: * /** by someday as user:carol: now shadow",
            "archive: * /** by someday as user:carol: now shadow",
        ],
    );
    // What an unconditional deny covers says so; the pattern that no longer belongs to the archive is listed where it does.
    check(
        Principal::user("ina"),
        &from_the_office(),
        true,
        &[
            "billing: GET /api/arch%20ive by archivists as user:ina: now",
            "archive: GET /api/archive/** by archivists as user:ina: now, denied by suspended",
            "archive: deny GET,POST /api/archive/** as group:suspended: now",
        ],
    );
    check(
        Principal::user("dora"),
        &from_the_office(),
        true,
        &[
            "billing: GET /api/arch%20ive by archivists as user:dora: now",
            "archive: GET /api/archive/** by archivists as user:dora: now",
            "archive: deny GET /api/archive/secret as user:dora: needs country:US?",
        ],
    );
    check(
        Principal::service("stranger").with_role("archivist").with_role("no-such-role"),
        &from_the_office(),
        true,
        &[
            "billing: GET /api/arch%20ive by directly as service:stranger: now",
            "archive: GET /api/archive/** by directly as service:stranger: now",
        ],
    );
}

#[test]
fn a_host_leaves_the_routes_that_may_answer_for_it() {
    let policy = policy();
    let check = |host: Option<&str>, expected: &[&str]| {
        let listing = policy.list(None, host, &nothing_known());
        let names: Vec<&str> = listing.routes.iter().map(|route| &*route.name).collect();
        assert_eq!(names, expected, "{host:?}");
    };
    check(None, &["billing", "archive", "public"]);
    check(Some("app.test"), &["billing", "archive", "public"]);
    check(Some("other.test"), &["public"]);
    let listing = policy.list(None, None, &nothing_known());
    let [billing, _, public] = &listing.routes[..] else { panic!("{listing:#?}") };
    assert_eq!(
        (billing.hosts.as_slice(), billing.paths.as_slice()),
        (&["app.test".to_owned()][..], &["/api/**".to_owned()][..])
    );
    assert_eq!(public.hosts, ["*"]);
    assert_eq!(public.paths, ["/", "/public/**"]);
    let reasons: Vec<&str> = billing.obstacles.iter().map(|obstacle| obstacle.reason.code()).collect();
    assert_eq!(reasons, ["ip.not_allowed", "authn.missing"]);
}

#[test]
fn risk_is_an_obstacle_for_whoever_it_asks_something_of() {
    let draft = PolicyDraft { risk: RiskRules { enforce: true, ..RiskRules::default() }, ..office() };
    let policy = Policy::compile(&draft).unwrap().0;
    let check = |who: Option<Principal>, level: RiskLevel, expected: &[(&str, &str)]| {
        let risk = RiskAssessment { stated: Some(level), ..RiskAssessment::NONE };
        let circumstances = Circumstances { risk: &risk, ..from_the_office() };
        let listing = policy.list(who.as_ref(), None, &circumstances);
        let obstacles: Vec<(&str, &str)> = listing.routes[0]
            .obstacles
            .iter()
            .map(|each| (each.reason.code(), each.needs.first().map_or("", |need| need.text.as_str())))
            .collect();
        assert_eq!(obstacles, expected, "{who:?} {level:?}");
    };
    let with_mfa = || {
        let mut root = Principal::user("root");
        root.authentication.stated_mfa = true;
        root
    };
    check(Some(Principal::user("root")), RiskLevel::Low, &[]);
    check(Some(Principal::user("root")), RiskLevel::Medium, &[("step_up.required", "assurance:mfa")]);
    check(Some(Principal::user("root")), RiskLevel::High, &[("risk.too_high", "risk:low")]);
    check(Some(with_mfa()), RiskLevel::Medium, &[]);
    check(Some(with_mfa()), RiskLevel::High, &[("risk.too_high", "risk:medium")]);
    check(Some(Principal::service("reporting")), RiskLevel::Medium, &[]);
    check(Some(Principal::service("reporting")), RiskLevel::High, &[("risk.too_high", "risk:medium")]);
    check(None, RiskLevel::High, &[("authn.missing", "credential:any")]);
}

fn who_can(policy: &Policy, method: &str, path: &str, circumstances: Circumstances<'_>) -> WhoCan {
    let path = CanonicalPath::parse(path).unwrap();
    let route = policy.find_route("app.test", &path).unwrap();
    policy.who_can(&ActionQuestion {
        method,
        path: &path,
        route,
        circumstances,
        compliant_device: None,
        fresh_mfa: false,
        authenticated_s: None,
    })
}

/// One line for each subject, member, role and deny.
fn who_lines(who: &WhoCan) -> Vec<String> {
    let mut lines = Vec::new();
    for each in &who.allowed {
        let grants: Vec<String> = each
            .grants
            .iter()
            .map(|grant| format!("{} {}", grant.assignment.name, standing(&grant.standing)))
            .collect();
        let denies: Vec<String> =
            each.denies.iter().map(|(rule, each)| format!(" but {} {}", rule.name, standing(each))).collect();
        let now = if each.now { "now" } else { "not now" };
        lines.push(format!("{} {now}: {}{}", each.subject, grants.join(", "), denies.concat()));
        for member in each.members.iter().flat_map(|members| &members.shown) {
            let denied = member.denied_by.as_ref().map(|rule| format!(", denied by {}", rule.name)).unwrap_or_default();
            lines.push(format!("  {} through {}{denied}", member.subject, member.through.join(" > ")));
        }
    }
    lines.extend(who.denied.iter().map(|each| format!("{} denied by {}", each.subject, each.deny.name)));
    if let Some(direct) = &who.held_directly {
        let names: Vec<&str> = direct.roles.iter().map(|role| &*role.name).collect();
        lines.push(format!("role {}{}", names.join(" "), if direct.now { "" } else { " not now" }));
    }
    lines
}

#[test]
fn whoever_can_is_named_with_what_it_needs_and_through_whom() {
    let policy = policy();
    let check = |method: &str, path: &str, circumstances: Circumstances<'_>, possible: bool, expected: &[&str]| {
        let who = who_can(&policy, method, path, circumstances);
        assert_eq!(who_lines(&who), expected, "{method} {path}");
        assert_eq!(who.is_possible(), possible, "{method} {path}");
    };
    check(
        "GET",
        "/api/invoices/7",
        from_the_office(),
        true,
        &[
            "user:carol not now: last-year expired 2026-01-01T00:00:00Z, next-year not_yet_active 2027-01-01T00:00:00Z",
            "user:root not now: root needs country:AT,DE? device:compliant? assurance:mfa",
            "service:reporting now: finance-reads now",
            "group:finance now: finance-reads now",
            "  user:alice through group:finance",
            "  user:erik through group:finance > group:emea",
            "  user:bert through group:finance > group:emea > group:berlin",
            "role all reader",
        ],
    );
    // Not from nowhere: the network comes first, and everybody could come from the office.
    let who = who_can(&policy, "GET", "/api/invoices/7", nothing_known());
    assert_eq!(who.obstacles[0].needs[0].text, "network:branch,office");
    assert_eq!(who.demands.allow.iter().map(|name| &**name).collect::<Vec<_>>(), ["branch", "office"]);
    assert!(who.is_possible() && who.allowed.iter().all(|each| !each.now));
    assert!(who.held_directly.as_ref().is_some_and(|direct| !direct.now));
    check(
        "GET",
        "/api/invoices/7/bank-details",
        from_the_office(),
        true,
        &[
            "user:carol not now: last-year expired 2026-01-01T00:00:00Z, next-year not_yet_active 2027-01-01T00:00:00Z",
            "user:root not now: root needs country:AT,DE? device:compliant? assurance:mfa",
            "role all",
        ],
    );
    check(
        "GET",
        "/api/archive/secret",
        from_the_office(),
        true,
        &[
            "user:dora not now: archivists now but not-from-there needs country:US?",
            "group:claimed now: archivists now",
            "user:eve denied by suspended",
            "user:ina denied by suspended",
            "role all archivist",
        ],
    );
    check("DELETE", "/api/archive/secret", from_the_office(), false, &["role all"]);
    // Where credentials are ignored, nobody is anybody in particular.
    check("GET", "/public/x", nothing_known(), true, &["anyone now: everybody now"]);
    let who = who_can(&policy, "GET", "/api/archive/secret", from_the_office());
    let denies: Vec<String> = who
        .denies
        .iter()
        .map(|each| {
            format!("{} {}{}", each.rule.name, standing(&each.standing), if each.shadow { " shadow" } else { "" })
        })
        .collect();
    assert_eq!(denies, ["not-from-there needs country:US?", "only-told now shadow", "suspended now"]);
}

#[test]
fn an_unknown_address_may_turn_out_well_and_a_denied_one_does_not() {
    let mut draft = office();
    (draft.resources[0].allow, draft.resources[0].deny) = (Vec::new(), texts(&["branch"]));
    let check = |draft: &PolicyDraft, circumstances: Circumstances<'_>, expected: Option<&str>, possible: bool| {
        let policy = Policy::compile(draft).unwrap().0;
        let who = who_can(&policy, "GET", "/api/invoices/7", circumstances);
        assert_eq!(who.obstacles.first().map(|obstacle| obstacle.reason.code()), expected);
        assert_eq!((who.is_possible(), who.allowed.iter().any(|each| each.now)), (possible, expected.is_none()));
        let listing = policy.list(Some(&Principal::service("reporting")), Some("app.test"), &circumstances);
        assert_eq!(listing.routes[0].obstacles, who.obstacles);
    };
    let from_the_branch =
        Circumstances { client: ClientAddress::known("198.51.100.1".parse().unwrap()), ..nothing_known() };
    check(&draft, nothing_known(), Some("policy.unavailable"), true);
    check(&draft, from_the_branch, Some("ip.denied"), false);
    check(&draft, from_the_office(), None, true);
    draft.networks[1].unknown = true;
    check(&draft, from_the_office(), Some("dependency.feed_stale"), true);
}

#[test]
fn a_group_is_counted_in_full_and_named_in_part() {
    let many: Vec<String> = (0..60).map(|index| format!("user:u{index:02}")).collect();
    let mut draft = office();
    draft.groups[4].members.extend(many.iter().map(|name| text(name)));
    draft.assignments.push(AssignmentDraft::new("interns", "reader", ["group:suspended"]));
    let policy = Policy::compile(&draft).unwrap().0;
    let who = who_can(&policy, "GET", "/api/invoices/7", from_the_office());
    let members =
        who.allowed.iter().find(|each| &*each.subject == "group:suspended").unwrap().members.as_ref().unwrap();
    assert_eq!((members.total, members.shown.len()), (62, MOST_MEMBERS));
    assert_eq!(&*members.shown[0].subject, "user:eve", "the shortest way first");
}

#[test]
fn an_answer_is_bounded_and_counts_what_it_leaves_out() {
    let mut draft = office();
    let many = (0..MOST_ENTRIES + 5).map(|index| {
        on("billing", AssignmentDraft::new(&format!("a{index}"), "all", [&*format!("user:u{index}"), "user:busy"]))
    });
    draft.assignments.extend(many);
    let policy = Policy::compile(&draft).unwrap().0;
    let listing = policy.list(Some(&Principal::user("busy")), None, &from_the_office());
    // The grant to everybody on the public page is one more.
    let written: usize = listing.routes.iter().map(|route| route.grants.len() + route.denies.len()).sum();
    let told = 3;
    assert_eq!((written, listing.omitted), (MOST_ENTRIES, 5 + 1 + told));
    assert!(listing.permits_now);
    let who = who_can(&policy, "DELETE", "/api/invoices/7", from_the_office());
    // Root, carol and the busy one besides.
    assert_eq!((who.allowed.len(), who.omitted), (MOST_ENTRIES, 5 + 3));
    assert!(who.is_possible());
}

#[test]
fn a_listing_is_told_in_parts_and_each_says_whether_anything_may_be_done_at_all() {
    let policy = policy();
    let who = Principal::user("bert");
    let whole = policy.list(Some(&who), None, &from_the_office());
    assert!(whole.routes.len() > 2, "there is something to part");
    for most in 1..=whole.routes.len() + 1 {
        let (mut routes, mut after) = (Vec::new(), None);
        loop {
            let asked = (after.as_deref(), most);
            let (part, more) = policy.list_after(Some(&who), None, &from_the_office(), asked).expect("it is a route");
            assert!(part.routes.len() <= most && part.permits_now == whole.permits_now && part.omitted == 0);
            routes.extend(part.routes);
            assert_eq!(more, routes.len() < whole.routes.len(), "{most}");
            if !more {
                break;
            }
            after = routes.last().map(|route| route.name.to_string());
        }
        assert_eq!(routes, whole.routes, "{most}");
    }
    assert_eq!(policy.list_after(Some(&who), None, &from_the_office(), (Some("nowhere"), 5)), None);
    // What may be done on a route of another part counts here, too.
    let last = whole.routes.last().map(|route| route.name.to_string());
    let (nothing, more) = policy.list_after(Some(&who), None, &from_the_office(), (last.as_deref(), 5)).unwrap();
    assert_eq!((nothing.routes.len(), more, nothing.permits_now), (0, false, whole.permits_now));
}
