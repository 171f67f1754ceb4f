//! What a `[[route]]` does besides sending requests on as they are, checked against its paths and the identity headers.

use std::collections::{BTreeSet, HashMap};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY};
use http::{StatusCode, Uri};
use portcullis_policy::canonical_host;
use portcullis_proxy::route::{
    Branch, Cors, FieldRules, FixedAnswer, LocationBack, Maintenance, Origin, PathTemplate, Redirect, RouteAction,
    Side, Split, TemplateProblem,
};
use portcullis_proxy::settings::{RouteSettings, UpstreamTimeouts};
use portcullis_proxy::upstream::headers::HeaderPlan;

use crate::codes;
use crate::compile::cors::compile_cors;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file;
use crate::kinds::Place;
use crate::section::{Reader, shown};
use crate::suggest;

/// What a text becomes a body as, unless the file says otherwise.
const TEXT: &str = "text/plain; charset=utf-8";

/// What is known beside the route itself.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c, 'e> {
    pub(crate) reader: &'c Reader<'e>,
    /// Which header names are the gateway's.
    pub(crate) plan: &'c HeaderPlan,
    pub(crate) route: &'c file::Route,
    /// The upstreams by name, with their places.
    pub(crate) upstreams: &'c HashMap<&'c str, usize>,
    /// Their timeouts, by place.
    pub(crate) timeouts: &'c [UpstreamTimeouts],
}

impl<'c> Context<'c, '_> {
    /// The place of an upstream. Reports one that is not there.
    pub(crate) fn upstream(self, name: &At<String>) -> Option<usize> {
        let found = self.upstreams.get(name.value.as_str()).copied();
        if found.is_none() && self.reader.is_complete() {
            let message = format!("there is no upstream `{}`", shown(&name.value));
            let known: Vec<&str> = self.upstreams.keys().copied().collect();
            let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, name.span, message);
            diagnostic.help = suggest::remedy(&name.value, &known, "known upstreams")
                .or_else(|| Some("add [[upstream]] with this name".into()));
            self.reader.report(diagnostic);
        }
        found
    }

    /// The action, where it is not one upstream. Reports what contradicts it.
    pub(crate) fn other_action(self) -> Option<RouteAction> {
        let treatment = &self.route.treatment;
        let answers = [
            ("split", treatment.split.as_ref().map(|split| split.span)),
            ("redirect", treatment.redirect.as_ref().map(|redirect| redirect.span)),
            ("respond", treatment.respond.as_ref().map(|respond| respond.span)),
        ];
        let upstream = [("upstream", self.route.upstream.as_ref().map(|name| name.span))];
        let mut written = upstream.into_iter().chain(answers).filter_map(|(key, span)| Some((key, span?)));
        let first = written.next();
        if let (Some((first, first_span)), Some((second, span))) = (first, written.next()) {
            let message = format!("a route has one of `{first}` and `{second}`");
            let diagnostic =
                Diagnostic::error(codes::CONFLICT, span, message).with_related(first_span, "the other is here");
            self.reader.report(diagnostic.with_help("remove one of them, or make two routes"));
        }
        self.report_useless(first.map_or("", |(key, _)| key));
        let redirect = || Some(RouteAction::Redirect(Box::new(self.redirect(&treatment.redirect.as_ref()?.value)?)));
        let respond = || Some(RouteAction::Respond(Box::new(self.respond(&treatment.respond.as_ref()?.value)?)));
        let split = || Some(RouteAction::Split(Box::new(self.split(treatment.split.as_ref()?))));
        split().or_else(redirect).or_else(respond)
    }

    fn split(self, split: &file::Split) -> Split {
        if split.whole && !split.branches.iter().any(|branch| branch.when.is_empty() && branch.weight > 0) {
            let message = "no upstream of `split` takes requests that meet no condition";
            let help = "give one of them a `weight`, and no `when`";
            self.reader.report(Diagnostic::error(codes::CONFLICT, split.span, message).with_help(help));
        }
        let branches = split.branches.iter().map(|branch| Branch {
            upstream: self.upstream(&branch.upstream).unwrap_or(0),
            weight: branch.weight,
            when: branch.when.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
        });
        Split { branches: branches.collect(), sticky: split.sticky }
    }

    /// What is about requests to an upstream means nothing without one.
    fn report_useless(self, action: &str) {
        if !matches!(action, "redirect" | "respond") {
            return;
        }
        let treatment = &self.route.treatment;
        let texts = [
            ("strip_prefix", &treatment.strip_prefix),
            ("add_prefix", &treatment.add_prefix),
            ("rewrite", &treatment.rewrite),
            ("upstream_host", &treatment.host),
        ];
        let written = texts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?.span)));
        let others = [
            ("upgrades", treatment.upgrades.as_ref().map(|upgrades| upgrades.span)),
            ("timeouts", treatment.timeouts.as_ref().map(|timeouts| timeouts.span)),
            ("rewrite_location", treatment.rewrite_location.as_ref().map(|flag| flag.span)),
        ];
        for (key, span) in written.chain(others.into_iter().filter_map(|(key, span)| Some((key, span?)))) {
            let message = format!("`{key}` is for an upstream, which a route with `{action}` does not have");
            self.reader.report(Diagnostic::error(codes::CONFLICT, span, message).with_help("remove it"));
        }
    }

    /// Puts the rest of what the route says into its settings.
    pub(crate) fn treat(self, settings: &mut RouteSettings) {
        let treatment = &self.route.treatment;
        settings.rewrite = self.rewrite();
        let upgrades = treatment.upgrades.iter().flat_map(|upgrades| &upgrades.value);
        settings.upgrades = upgrades.map(|protocol| protocol.value.as_str().into()).collect();
        let prefix = treatment.strip_prefix.as_ref().filter(|_| settings.rewrite.is_some());
        settings.stripped_prefix = prefix.and_then(|prefix| HeaderValue::from_str(&prefix.value).ok());
        settings.location = self.location();
        settings.timeouts = self.timeouts(&settings.action);
        settings.upstream_host = treatment.host.as_ref().and_then(|host| self.host(host));
        let rules = |rules: &Option<file::Rules>, side| rules.as_ref().and_then(|rules| self.rules(rules, side));
        settings.request_headers = rules(&treatment.request_headers, Side::Request);
        settings.response_headers = rules(&treatment.response_headers, Side::Response);
        settings.cors = treatment.cors.as_ref().and_then(|cors| compile_cors(self.reader, cors)).map(Box::new);
        if treatment.cors.is_some() {
            self.report_cors_rules(treatment.response_headers.as_ref());
        }
        settings.maintenance = treatment.maintenance.as_ref().map(|maintenance| {
            let retry_after_s = maintenance.retry_after.map(|time| time.as_secs());
            let (mut except, mut except_networks) = (Vec::new(), Vec::new());
            for place in &maintenance.except {
                match &place.value {
                    Place::Prefix(prefix) => except.push(*prefix),
                    Place::Network(name) => except_networks.push(name.as_str().into()),
                }
            }
            Box::new(Maintenance { retry_after_s, except, except_networks })
        });
    }

    /// What undoes the route's prefixes. A template cannot be undone: it may leave out what would be needed.
    fn location(self) -> Option<Box<LocationBack>> {
        let treatment = &self.route.treatment;
        let flag = treatment.rewrite_location.as_ref().filter(|flag| flag.value)?;
        if let Some(template) = &treatment.rewrite {
            let message = "`rewrite_location` beside `rewrite`: what a template makes of a path cannot be undone";
            let help = "use `strip_prefix` and `add_prefix`, or have the upstream name the public path";
            let diagnostic = Diagnostic::error(codes::CONFLICT, flag.span, message).with_help(help);
            self.reader.report(diagnostic.with_related(template.span, "the template is here"));
        }
        let text = |prefix: &Option<At<String>>| prefix.as_ref().map_or("", |prefix| prefix.value.as_str()).into();
        Some(Box::new(LocationBack { taken: text(&treatment.strip_prefix), added: text(&treatment.add_prefix) }))
    }

    /// Those of the route where it has any, those of the upstream where it has none.
    fn timeouts(self, action: &RouteAction) -> Vec<(usize, UpstreamTimeouts)> {
        let Some(At { value: own, .. }) = &self.route.treatment.timeouts else { return Vec::new() };
        if *own == file::RouteTimeouts::default() {
            return Vec::new();
        }
        let upstreams: BTreeSet<usize> = match action {
            RouteAction::Upstream(index) => BTreeSet::from([*index]),
            RouteAction::Split(split) => split.branches.iter().map(|branch| branch.upstream).collect(),
            RouteAction::Redirect(_) | RouteAction::Respond(_) => BTreeSet::new(),
        };
        let of = |index: usize| {
            let theirs = self.timeouts.get(index)?;
            let timeouts = UpstreamTimeouts {
                connect: own.connect.unwrap_or(theirs.connect),
                first_byte: own.first_byte.unwrap_or(theirs.first_byte),
                idle: own.idle.unwrap_or(theirs.idle),
                total: own.total.unwrap_or(theirs.total),
                keep_alive: theirs.keep_alive,
            };
            Some((index, timeouts))
        };
        upstreams.into_iter().filter_map(of).collect()
    }

    fn rewrite(self) -> Option<PathTemplate> {
        let treatment = &self.route.treatment;
        let (strip, add) = (&treatment.strip_prefix, &treatment.add_prefix);
        if let Some(template) = &treatment.rewrite {
            if let Some(prefix) = strip.as_ref().or(add.as_ref()) {
                let message = "`rewrite` says the whole path: a prefix beside it means nothing";
                let help = "remove the prefix, and write all of it into `rewrite`";
                self.reader.report(Diagnostic::error(codes::CONFLICT, prefix.span, message).with_help(help));
            }
            return self.template(&template.value, template.span);
        }
        let text = |prefix: &Option<At<String>>| prefix.as_ref().map_or(String::new(), |prefix| prefix.value.clone());
        let span = strip.as_ref().or(add.as_ref())?.span;
        let made = PathTemplate::prefixes(&text(strip), &text(add), self.paths().into_iter());
        self.sound("prefix", made, span)
    }

    fn template(self, text: &str, span: Span) -> Option<PathTemplate> {
        self.sound("template", PathTemplate::parse(text, &self.paths()), span)
    }

    fn sound(self, what: &str, made: Result<PathTemplate, TemplateProblem>, span: Span) -> Option<PathTemplate> {
        // Paths that cannot be read were reported, and say nothing about the template.
        let report = |problem: TemplateProblem| {
            if !self.route.vague {
                let message = format!("the {what} cannot be used: {}", problem.message);
                self.reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(problem.help));
            }
        };
        made.map_err(report).ok()
    }

    /// The route's paths; left out they are all.
    fn paths(self) -> Vec<&'c str> {
        if self.route.paths.is_empty() {
            return vec!["/**"];
        }
        self.route.paths.iter().map(|path| path.value.as_str()).collect()
    }
}

impl Context<'_, '_> {
    fn host(self, host: &At<String>) -> Option<HeaderValue> {
        let value = HeaderValue::from_str(&host.value).ok().filter(|_| canonical_host(&host.value).is_some());
        if value.is_none() {
            let message = format!("`upstream_host`: `{}` is no host", shown(&host.value));
            let help = "write a name or an address, with a port where it is needed";
            self.reader.report(Diagnostic::error(codes::BAD_VALUE, host.span, message).with_help(help));
        }
        value
    }

    fn rules(self, rules: &file::Rules, side: Side) -> Option<Box<FieldRules>> {
        self.report_forbidden(rules.remove.iter(), side);
        self.report_forbidden(rules.set.iter().chain(&rules.add).map(|(name, _)| name), side);
        let fields = |fields: &[(At<HeaderName>, HeaderValue)]| {
            fields.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect()
        };
        let rules = FieldRules {
            remove: rules.remove.iter().map(|name| name.value.clone()).collect(),
            set: fields(&rules.set),
            add: fields(&rules.add),
        };
        (!rules.is_empty()).then(|| Box::new(rules))
    }

    /// Who may read an answer is said in one place.
    fn report_cors_rules(self, rules: Option<&file::Rules>) {
        let Some(rules) = rules else { return };
        let set = rules.set.iter().map(|(name, _)| name).chain(&rules.remove);
        let vary = set.filter(|name| name.value == VARY);
        let added = rules.add.iter().chain(&rules.set).map(|(name, _)| name).chain(&rules.remove);
        for name in added.filter(|name| Cors::owns(&name.value)).chain(vary) {
            let message = format!("`{}` is written by the route's `cors`", name.value);
            self.reader.report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help("remove it here"));
        }
    }

    fn report_forbidden<'n>(self, names: impl Iterator<Item = &'n At<HeaderName>>, side: Side) {
        for name in names {
            if let Some(reason) = side.forbids(&name.value, self.plan) {
                let message = format!("no rule may be about `{}`: {reason}", name.value);
                self.reader.report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help("remove it"));
            }
        }
    }

    fn respond(self, respond: &file::Respond) -> Option<FixedAnswer> {
        let status = u16::try_from(respond.status.value).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
        let body = respond.body.clone().unwrap_or_default();
        if matches!(status.as_u16(), 204 | 205 | 304) && !body.is_empty() {
            let message = format!("an answer of status {status} has no body");
            let diagnostic = Diagnostic::error(codes::CONFLICT, respond.status.span, message);
            self.reader.report(diagnostic.with_help("choose another status, or remove the body"));
        }
        self.report_forbidden(respond.headers.iter().map(|(name, _)| name), Side::Response);
        let mut headers: HeaderMap =
            respond.headers.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
        if let Some(value) = self.content_type(respond, !body.is_empty()) {
            headers.insert(CONTENT_TYPE, value);
        }
        Some(FixedAnswer { status, headers, body: body.into() })
    }

    fn content_type(self, respond: &file::Respond, has_body: bool) -> Option<HeaderValue> {
        if let Some((name, _)) = respond.headers.iter().find(|(name, _)| name.value == CONTENT_TYPE) {
            let message = "the content's type is written as `content_type`";
            let help = "write it beside `body`";
            self.reader.report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help(help));
        }
        let Some(written) = &respond.content_type else { return has_body.then(|| HeaderValue::from_static(TEXT)) };
        let value = HeaderValue::from_str(&written.value).ok().filter(|_| written.value.contains('/'));
        if value.is_none() {
            let message = "`content_type`: expected a media type such as \"text/html; charset=utf-8\"";
            self.reader.report(Diagnostic::error(codes::BAD_VALUE, written.span, message));
        }
        value
    }

    fn redirect(self, redirect: &file::Redirect) -> Option<Redirect> {
        let status = &redirect.status;
        if !matches!(status.value, 301 | 302 | 303 | 307 | 308) {
            let message = format!("`status`: {} is no status of a redirect", status.value);
            let help = "308 and 307 keep the method and the body, 303 makes it a GET; 301 and 302 are for old clients";
            self.reader.report(Diagnostic::error(codes::BAD_VALUE, status.span, message).with_help(help));
            return None;
        }
        let (origin, rest) = self.origin(&redirect.to)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        if rest.contains('#') || query.is_some_and(|query| !is_query(query)) {
            let message = "`to`: the query is not valid, or there is a fragment";
            let help = "write escapes for what may not stand in a query, and leave the fragment out";
            self.reader.report(Diagnostic::error(codes::BAD_VALUE, redirect.to.span, message).with_help(help));
            return None;
        }
        let path = self.template(if path.is_empty() { "/" } else { path }, redirect.to.span)?;
        let status = StatusCode::from_u16(u16::try_from(status.value).ok()?).ok()?;
        Some(Redirect { status, origin, path, query: query.map(Into::into), keep_query: redirect.keep_query })
    }

    /// Where it leads to, and what follows the authority.
    fn origin(self, to: &At<String>) -> Option<(Origin, &str)> {
        let text = to.value.as_str();
        let bad = |message: &str, help: &str| {
            self.reader
                .report(Diagnostic::error(codes::BAD_VALUE, to.span, format!("`to`: {message}")).with_help(help));
            None
        };
        if text.starts_with("//") {
            return bad("a place without a scheme is another host to every browser", "write `https://…`, or one slash");
        }
        if text.starts_with('/') {
            return Some((Origin::Same, text));
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        else {
            return bad("is neither a path nor a link", "write `/path` for the same host, or `https://HOST/path`");
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        if authority == "{host}" {
            if self.route.hosts.is_empty() {
                let help = "list the route's `hosts`, so that nobody can choose where it leads to";
                return bad("`{host}` on a route for any host leads wherever the caller says", help);
            }
            return Some((Origin::RequestHost(scheme.into()), rest));
        }
        let known = canonical_host(authority).is_some() && authority.parse::<Uri>().is_ok();
        if !known {
            return bad(
                "names no host",
                "write `https://HOST/path`, or `https://{host}/path` for the host of the request",
            );
        }
        Some((Origin::Fixed(format!("{scheme}://{authority}").into()), rest))
    }
}

/// RFC 3986 section 3.4.
fn is_query(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    text.bytes().all(allowed)
}

/// A network that maintenance excepts must be there: a mistyped name would except nobody, and nobody would notice before it matters.
pub(crate) fn report_unknown_networks(reader: &Reader<'_>, routes: &[file::Route], networks: &[file::Network]) {
    if !reader.is_complete() {
        return;
    }
    let known: Vec<&str> = networks.iter().map(|network| network.name.value.as_str()).collect();
    let places = routes.iter().filter_map(|route| route.treatment.maintenance.as_ref()).flat_map(|it| &it.except);
    for place in places {
        let Place::Network(name) = &place.value else { continue };
        if !known.contains(&name.as_str()) {
            let message = format!("the policy has no network `{}`", shown(name));
            let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, place.span, message);
            diagnostic.help = suggest::remedy(name, &known, "known networks")
                .or_else(|| Some("add [[network]] with this name to the policy, or write a prefix".into()));
            reader.report(diagnostic);
        }
    }
}
