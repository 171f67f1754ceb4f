//! The walk over hosts, paths and methods: what may differ where, each problem solved once for all the places that have it.

use super::*;

pub(super) struct Comparison<'c> {
    pub(super) sides: &'c [Side<'c>; 2],
    pub(super) now: Timestamp,
    pub(super) bounds: &'c DiffBounds,
    pub(super) budget: Budget,
    pub(super) joint: &'c [(NetworkSetId, NetworkSetId, IpAddr)],
    /// What holds everywhere differs, so that equal rules may give different answers.
    pub(super) everywhere: bool,
    pub(super) roles_differ: bool,
    /// The last one is any that no action names.
    pub(super) methods: Vec<String>,
    pub(super) problems: Vec<(Problem<'c>, Vec<ChangedPlace>)>,
    pub(super) by_key: HashMap<[LocalKey; 2], usize>,
    pub(super) incomplete: Vec<String>,
}

impl<'c> Comparison<'c> {
    pub(super) fn find_places(&mut self) {
        for host in hosts(self.sides[0].policy, self.sides[1].policy) {
            let Some(shapes) = self.shapes(&host) else { continue };
            let mut visited = ControlFlow::Continue(());
            shapes.visit_paths(&mut |path, shape| {
                visited = self.visit(&host, path, shape);
                visited
            });
            if visited.is_break() {
                let at = host.shown.as_deref().unwrap_or("hosts that no route names");
                self.incomplete.push(format!("not every path could be compared: the search stopped at {at}"));
                return;
            }
        }
    }

    /// The patterns that matter on a host; `None` when nothing can differ there.
    fn shapes(&self, host: &HostClass) -> Option<Shapes> {
        let [before, after] = self.sides;
        let routes = |side: &Side<'_>| -> Vec<(crate::pattern::Pattern, usize, String)> {
            let trees = side.policy.routes.trees(&host.host).enumerate();
            let patterns = trees.flat_map(|(tree, each)| each.entries().into_iter().map(move |found| (tree, found)));
            let mut routes: Vec<_> = patterns
                .map(|(tree, (pattern, route))| (pattern, tree, side.policy.route_name(route).to_owned()))
                .collect();
            routes.sort_unstable();
            routes
        };
        let (routes_before, routes_after) = (routes(before), routes(after));
        let differs = |(_, _, name): &(crate::pattern::Pattern, usize, String)| !self.is_alike(name);
        let quiet = routes_before == routes_after && !routes_before.iter().any(differs);
        if quiet && !self.everywhere && !self.roles_differ {
            return None;
        }
        let mut shapes = Shapes::new();
        routes_before.iter().chain(&routes_after).for_each(|(pattern, _, _)| shapes.add(pattern));
        before.patterns.iter().chain(&after.patterns).for_each(|pattern| shapes.add(pattern));
        Some(shapes)
    }

    /// Whether both policies say the same about a route.
    fn is_alike(&self, route: &str) -> bool {
        let fingerprint = |side: &'c Side<'c>| side.fingerprints.get(side.route_named(route)?.index());
        let [before, after] = self.sides;
        fingerprint(before).is_some_and(|one| fingerprint(after) == Some(one))
    }

    fn visit(&mut self, host: &HostClass, path: CanonicalPath, shape: String) -> ControlFlow<()> {
        let Some(places) = self.budget.places.checked_sub(1) else { return ControlFlow::Break(()) };
        self.budget.places = places;
        let [before, after] = self.sides;
        let found = |side: &Side<'_>| side.policy.find_route(&host.host, &path);
        let routes = [found(before), found(after)];
        let name =
            |side: &Side<'_>, route: Option<RouteId>| route.map(|route| side.policy.route_name(route).to_owned());
        let names = [name(before, routes[0]), name(after, routes[1])];
        let alike = names[0] == names[1] && names[0].as_deref().is_none_or(|name| self.is_alike(name));
        if alike && !self.everywhere && (!self.roles_differ || names[0].is_none()) {
            let spent = self.budget.spend(1);
            return if spent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        let request = |route| AccessRequest::new("", &path, route, self.now);
        let requests = routes.map(request);
        let mut views = [View::new(before.policy, &requests[0]), View::new(after.policy, &requests[1])];
        let mut by_key: BTreeMap<[LocalKey; 2], Vec<usize>> = BTreeMap::new();
        for (method, index) in self.methods.iter().zip(0..) {
            views[0].method = before.policy.actions.method(method);
            views[1].method = after.policy.actions.method(method);
            let mut work = 2;
            let keys = [before.local(&views[0], &mut work).0, after.local(&views[1], &mut work).0];
            if self.budget.spend(work).is_err() {
                return ControlFlow::Break(());
            }
            if self.everywhere || keys[0] != keys[1] {
                by_key.entry(keys).or_default().push(index);
            }
        }
        for (keys, indexes) in by_key {
            let methods = self.named_methods(&indexes);
            let place = ChangedPlace { routes: names.clone(), host: host.shown.clone(), path: shape.clone(), methods };
            let next = self.problems.len();
            let known = *self.by_key.entry(keys.clone()).or_insert(next);
            if known == next {
                let Some(method) = indexes.first().and_then(|index| self.methods.get(*index)) else { continue };
                views[0].method = before.policy.actions.method(method);
                views[1].method = after.policy.actions.method(method);
                let rules = [before.local(&views[0], &mut 0).1, after.local(&views[1], &mut 0).1];
                let problem = Problem {
                    sides: [before, after],
                    rules,
                    keys,
                    routes,
                    host: host.host.clone(),
                    path: path.clone(),
                    method: method.clone(),
                    everywhere: self.everywhere,
                };
                self.problems.push((problem, Vec::new()));
            }
            if let Some((_, places)) = self.problems.get_mut(known) {
                places.push(place);
            }
        }
        ControlFlow::Continue(())
    }

    fn named_methods(&self, indexes: &[usize]) -> Vec<String> {
        let last = self.methods.len().saturating_sub(1);
        if indexes.len() == self.methods.len() {
            return vec!["*".to_owned()];
        }
        let name = |index: &usize| match *index == last {
            true => Some("*".to_owned()),
            false => self.methods.get(*index).cloned(),
        };
        indexes.iter().filter_map(name).collect()
    }

    pub(super) fn answer(mut self) -> PolicyDiff {
        let mut report = report::Report::default();
        for (problem, places) in std::mem::take(&mut self.problems) {
            let found =
                problem.axes(self.joint, self.now).and_then(|axes| problem.solve(axes, self.bounds, &mut self.budget));
            match found {
                Ok(found) => report.add(&problem, &places, &found),
                Err(text) => {
                    let place = places.first().map_or("?", |place| &*place.path);
                    let more = if places.len() > 1 { format!(" and {} more", places.len() - 1) } else { String::new() };
                    self.incomplete.push(format!("{} {place}{more}: {text}", problem.method));
                }
            }
        }
        report.finish(self.bounds.classes, self.incomplete)
    }
}
