//! Another path made of the request's: what `strip_prefix`, `add_prefix`, `rewrite` and `redirect` have in common.
//!
//! A template is a fixed function of the route. It copies whole segments of the canonical path, as they are written there,
//! between texts of its own, and what comes out is parsed again: a path that is not canonical goes nowhere.

use std::fmt;

use portcullis_policy::{CanonicalPath, PathProblem};

/// The most segments that a route's path can have, and so the last one that a template can name.
const MAX_SEGMENTS: usize = 128;

/// A path with holes for segments of the request's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Part of a canonical path.
    Text(Box<str>),
    /// The segment of this index, from 0.
    Segment(usize),
    /// Everything after so many segments, with the slash that stands before it.
    After(usize),
}

/// Why a text is no template for a route: a sentence for the person who wrote it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl PathTemplate {
    /// Takes a prefix off, which every one of the route's paths must begin with, and puts another one before what is left.
    /// An empty text is no prefix.
    ///
    /// # Errors
    /// A prefix that is no canonical path, ends in a slash, or is not that of a path.
    pub fn prefixes<'p>(strip: &str, add: &str, paths: impl Iterator<Item = &'p str>) -> Result<Self, TemplateProblem> {
        let (stripped, added) = (parse_prefix(strip)?, parse_prefix(add)?);
        let segments: Vec<&str> = stripped.split('/').skip(1).collect();
        for path in paths {
            let matches =
                |(at, segment): (usize, &&str)| segment_of(path, at).is_some_and(|found| means(found, segment));
            if !segments.iter().enumerate().all(matches) {
                return Err(TemplateProblem {
                    message: format!("the route's path `{path}` does not begin with `{strip}`"),
                    help: "all paths of the route must begin with the prefix that is taken off".into(),
                });
            }
        }
        let mut pieces = Vec::new();
        if !added.is_empty() {
            pieces.push(Piece::Text(added.into()));
        }
        pieces.push(Piece::After(segments.len()));
        Ok(Self { pieces })
    }

    /// Parses a template such as `/v2/{tenant}/**`: `{name}` is the segment that the route's paths call so, a final `**` is
    /// what stands for it in the request.
    ///
    /// # Errors
    /// A name that not every path of the route has, at one and the same place; a text that is not canonical.
    pub fn parse(text: &str, paths: &[&str]) -> Result<Self, TemplateProblem> {
        let body = text.strip_suffix("/**");
        let mut pieces = parse_pieces(body.unwrap_or(text), paths)?;
        if body.is_some() {
            pieces.push(Piece::After(rest_of(paths)?));
        }
        let template = Self { pieces };
        template.check(text)?;
        Ok(template)
    }

    /// The path for a request.
    ///
    /// # Errors
    /// When what comes out is not canonical, such as the dot segment that `.{name}` makes of `.;x`.
    pub fn apply(&self, path: &CanonicalPath) -> Result<CanonicalPath, PathProblem> {
        let path = path.as_str();
        let mut text = String::with_capacity(path.len() + 64);
        for piece in &self.pieces {
            text.push_str(match piece {
                Piece::Text(literal) => literal,
                // INVARIANT: the route's pattern has a segment there. Were there none, an empty one would be refused.
                Piece::Segment(index) => path.split('/').nth(index + 1).unwrap_or_default(),
                Piece::After(segments) => after(path, *segments),
            });
        }
        if text.is_empty() {
            text.push('/');
        }
        CanonicalPath::parse(&text)
    }

    /// With an ordinary word in each hole the path must be canonical, and written as the canonical form is.
    fn check(&self, text: &str) -> Result<(), TemplateProblem> {
        let sample: String = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(literal) => literal,
                Piece::Segment(_) => "x",
                Piece::After(_) => "/x",
            })
            .collect();
        match CanonicalPath::parse(&sample) {
            Ok(path) if path.as_str() == sample => Ok(()),
            Ok(path) => Err(TemplateProblem {
                message: format!("`{text}` is not written in canonical form"),
                help: format!("write escapes in capitals, and only where they are needed, as in `{}`", path.as_str()),
            }),
            Err(problem) => Err(TemplateProblem {
                message: format!("`{text}` makes no canonical path: {problem}"),
                help: "write a path such as `/v2/{name}/**`".into(),
            }),
        }
    }
}

/// A prefix without a trailing slash, in canonical form; empty for none.
fn parse_prefix(text: &str) -> Result<String, TemplateProblem> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let bad = |message: String| TemplateProblem { message, help: "write it as `/api`".into() };
    if text.ends_with('/') {
        return Err(bad(format!("`{text}` ends in a slash")));
    }
    if text.contains(['*', '{', '}']) {
        return Err(bad(format!("`{text}` has a star or a brace: a prefix is taken as it is written")));
    }
    match CanonicalPath::parse(text) {
        Ok(path) => Ok(path.as_str().to_owned()),
        Err(problem) => Err(bad(format!("`{text}` is no path: {problem}"))),
    }
}

fn parse_pieces(text: &str, paths: &[&str]) -> Result<Vec<Piece>, TemplateProblem> {
    let bad = |message: String, help: &str| TemplateProblem { message, help: help.to_owned() };
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after_brace)) = rest.split_once('{') {
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        let Some((name, after)) = after_brace.split_once('}').filter(|(name, _)| is_name(name)) else {
            return Err(bad(
                format!("`{text}`: a brace begins no name"),
                "write `{name}`, of letters, digits, `_` and `-`",
            ));
        };
        pieces.push(Piece::Segment(place_of(name, paths)?));
        rest = after;
    }
    if rest.contains(['}', '*']) {
        let help = "`{name}` is a segment that the route's path calls so, and `**` stands at the end";
        return Err(bad(format!("`{text}`: a star or a brace means nothing there"), help));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    Ok(pieces)
}

/// Which segment all paths call so.
fn place_of(name: &str, paths: &[&str]) -> Result<usize, TemplateProblem> {
    let wanted = format!("{{{name}}}");
    let mut places = paths.iter().map(|path| path.split('/').skip(1).position(|segment| segment == wanted));
    let first = places.next().flatten().filter(|place| *place < MAX_SEGMENTS);
    match first {
        Some(place) if places.all(|other| other == first) => Ok(place),
        _ => Err(TemplateProblem {
            message: format!("`{wanted}` is not at one and the same place in every path of the route"),
            help: format!("name the segment in `paths`, as in `paths = [\"/api/{wanted}/**\"]`"),
        }),
    }
}

/// How many segments stand before the final `**` of all paths.
fn rest_of(paths: &[&str]) -> Result<usize, TemplateProblem> {
    let mut counts = paths.iter().map(|path| path.strip_suffix("/**").map(|body| body.split('/').skip(1).count()));
    let first = counts.next().flatten();
    match first {
        Some(count) if counts.all(|other| other == first) => Ok(count),
        _ => Err(TemplateProblem {
            message: "`**` stands for what it matches in the route's paths, which do not all end in one after as many segments"
                .into(),
            help: "end the route's paths in `/**`, or name single segments".into(),
        }),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The segment of a route's path, from 0.
fn segment_of(path: &str, index: usize) -> Option<&str> {
    path.split('/').nth(index + 1)
}

/// Whether a literal segment of a pattern is this segment of a canonical path. In a pattern it may be written with escapes or
/// plainly.
fn means(pattern: &str, canonical: &str) -> bool {
    let decoded = |text: &str| CanonicalPath::parse(&format!("/{text}")).map(|path| path.decoded().to_owned());
    match (decoded(pattern), decoded(canonical)) {
        (Ok(pattern), Ok(canonical)) => pattern == canonical,
        (_, Ok(canonical)) => canonical.get(1..) == Some(pattern),
        (_, Err(_)) => false,
    }
}

/// What stands after so many segments, with its slash.
fn after(path: &str, segments: usize) -> &str {
    path.match_indices('/').nth(segments).and_then(|(at, _)| path.get(at..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(template: &PathTemplate, path: &str) -> Result<String, PathProblem> {
        template.apply(&CanonicalPath::parse(path).unwrap()).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_prefix_comes_off_and_another_goes_on_at_the_border_of_a_segment() {
        let check = |strip: &str, add: &str, path: &str, expected: &str| {
            let template = PathTemplate::prefixes(strip, add, ["/api", "/api/**"].into_iter()).unwrap();
            assert_eq!(applied(&template, path).as_deref(), Ok(expected), "-{strip} +{add} {path}");
        };
        check("/api", "", "/api/users/7", "/users/7");
        check("/api", "", "/api", "/");
        check("/api", "", "/api/", "/");
        check("/api", "", "/api/a%20b/", "/a%20b/");
        check("", "/v1", "/api/x", "/v1/api/x");
        check("/api", "/v1", "/api/x", "/v1/x");
        check("/api", "/v1", "/api", "/v1");
        check("/api", "/v1", "/api/", "/v1/");
    }

    #[test]
    fn a_prefix_that_is_not_that_of_every_path_is_an_error() {
        let check = |strip: &str, add: &str, paths: &[&str], fragment: &str| {
            let problem = PathTemplate::prefixes(strip, add, paths.iter().copied()).unwrap_err();
            assert!(problem.message.contains(fragment), "{strip} {add}: {problem}");
        };
        check("/api", "", &["/api/**", "/other/**"], "`/other/**` does not begin with `/api`");
        check("/api", "", &["/**"], "does not begin");
        check("/api", "", &["/apix"], "does not begin");
        check("/api", "", &["/*/x"], "does not begin");
        check("/api", "", &["/{api}/x"], "does not begin");
        check("/api/", "", &["/api/**"], "ends in a slash");
        check("/a/../b", "", &["/**"], "is no path");
        check("api", "", &["/**"], "is no path");
        check("", "/v{1}", &["/**"], "a star or a brace");
        check("", "/v?", &["/**"], "is no path");
    }

    #[test]
    fn a_prefix_may_be_written_with_escapes_or_plainly() {
        for (strip, path) in [("/a%20b", "/a b/**"), ("/a%20b", "/a%20b/**"), ("/%61", "/a/**")] {
            PathTemplate::prefixes(strip, "", [path].into_iter()).unwrap();
        }
    }

    #[test]
    fn a_template_copies_segments_as_they_are_written() {
        let check = |text: &str, route: &str, path: &str, expected: Result<&str, PathProblem>| {
            let template = PathTemplate::parse(text, &[route]).unwrap();
            assert_eq!(applied(&template, path).as_deref(), expected.as_deref(), "{text} of {path}");
        };
        check("/v2/{id}", "/users/{id}", "/users/7", Ok("/v2/7"));
        check("/v2/{id}", "/users/{id}", "/users/m%C3%BC", Ok("/v2/m%C3%BC"));
        check("/{b}/{a}", "/{a}/{b}", "/1/2", Ok("/2/1"));
        check("/u-{id}.json", "/{id}", "/7", Ok("/u-7.json"));
        check("/new/**", "/old/**", "/old/a/b", Ok("/new/a/b"));
        check("/new/**", "/old/**", "/old", Ok("/new"));
        check("/new/**", "/old/**", "/old/", Ok("/new/"));
        check("/**", "/**", "/", Ok("/"));
        check("/**", "/a/b/**", "/a/b", Ok("/"));
        check("/t/{t}/**", "/{t}/x/**", "/acme/x/y", Ok("/t/acme/y"));
        check("/fixed", "/**", "/anything/else", Ok("/fixed"));
        // What two halves make together is judged, too.
        check("/.{id}", "/{id}", "/;x", Err(PathProblem::DotSegment));
        check("/{a}{b}", "/{a}/{b}", "/100%25/41", Err(PathProblem::DoubleEncoding));
    }

    #[test]
    fn a_template_that_the_paths_do_not_fill_is_an_error() {
        let check = |text: &str, paths: &[&str], fragment: &str| {
            let problem = PathTemplate::parse(text, paths).unwrap_err();
            assert!(problem.message.contains(fragment), "{text} of {paths:?}: {problem}");
        };
        check("/v2/{id}", &["/users/*"], "`{id}` is not at one and the same place");
        check("/v2/{id}", &["/users/{id}", "/{id}"], "`{id}` is not at one and the same place");
        check("/v2/{id}", &["/users/{id}", "/x/y"], "`{id}` is not at one and the same place");
        check("/v2/{id}", &[], "`{id}` is not at one and the same place");
        check("/v2/**", &["/users/*"], "do not all end in one");
        check("/v2/**", &["/a/**", "/a/b/**"], "do not all end in one");
        check("/v2/*", &["/a/*"], "means nothing there");
        check("/v2/**/x", &["/a/**"], "means nothing there");
        check("/v2/{a b}", &["/{a b}"], "begins no name");
        check("/v2/{id", &["/{id}"], "begins no name");
        check("/v2/id}", &["/{id}"], "means nothing there");
        check("v2", &["/**"], "makes no canonical path");
        check("/a//b", &["/**"], "makes no canonical path");
        check("/a/../b", &["/**"], "makes no canonical path");
        check("/a?b=c", &["/**"], "makes no canonical path");
        check("/%4{id}", &["/{id}"], "makes no canonical path");
        check("/%61", &["/**"], "not written in canonical form");
        check("/%c3%bc", &["/**"], "not written in canonical form");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_canonical_or_refused(
            path in "/([a-z0-9.;-]|%2[0-9]|%c3%bc){1,12}(/([a-z0-9.;-]|%25){0,6}){0,4}",
            template in prop::sample::select(vec!["/{a}{a}", "/.{a}", "/x{a}/**", "/{a}.", "/**", "/{a}%25{a}"]),
        ) {
            let template = PathTemplate::parse(template, &["/{a}/**"]);
            if let (Ok(template), Ok(path)) = (template, CanonicalPath::parse(&path))
                && let Ok(made) = template.apply(&path)
            {
                prop_assert_eq!(CanonicalPath::parse(made.as_str()), Ok(made));
            }
        }
    }
}
