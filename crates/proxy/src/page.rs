//! Pages for a person: one that needs nothing else, or the operator's own, with holes for what is to be said.
//!
//! A template is text with `{{name}}` in it. What is filled in is always escaped, so that nothing which a caller, a policy's
//! author or a help link says can become markup; and the page's own policy lets no script run, whatever the template holds.

use std::ops::Range;

/// A page with holes, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pieces: Vec<Piece>,
    /// `Content-Security-Policy`.
    pub(crate) policy: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Hole(Hole),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Title,
    Detail,
    Status,
    Reason,
    RequestId,
    Help,
}

/// What a template may name.
const HOLES: [(&str, Hole); 6] = [
    ("title", Hole::Title),
    ("detail", Hole::Detail),
    ("status", Hole::Status),
    ("reason", Hole::Reason),
    ("request_id", Hole::RequestId),
    ("help", Hole::Help),
];

/// Why a text is no template: which bytes, and a sentence about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageProblem {
    /// Where it is.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// What a page says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) title: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) help: &'a str,
}

/// The pages of `[refusal]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// For every status that has no page of its own.
    pub any: Page,
    /// For 400 to 499.
    pub client_error: Option<Page>,
    /// For 500 to 599.
    pub server_error: Option<Page>,
}

impl Default for Pages {
    /// The gateway's own page for everything.
    fn default() -> Self {
        Self { any: Page::own(OWN), client_error: None, server_error: None }
    }
}

impl Pages {
    /// The page for a status.
    pub(crate) fn of(&self, status: http::StatusCode) -> &Page {
        let own = if status.is_client_error() { &self.client_error } else { &self.server_error };
        own.as_ref().unwrap_or(&self.any)
    }
}

impl Page {
    /// Parses an operator's template. It may bring its styles and images with it, but no script, and nothing from elsewhere.
    ///
    /// # Errors
    /// A `{{` that begins none of the known names.
    pub fn parse(text: &str) -> Result<Self, PageProblem> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(begin) = text.get(at..).and_then(|rest| rest.find("{{")).map(|found| at + found) {
            let after = text.get(begin + 2..).unwrap_or_default();
            let name = after.split_once("}}").map(|(name, _)| name);
            let hole = name.and_then(|name| HOLES.iter().find(|(known, _)| *known == name.trim()));
            let (Some(name), Some((_, hole))) = (name, hole) else {
                let names: Vec<&str> = HOLES.iter().map(|(name, _)| *name).collect();
                let message = format!("`{{{{` begins a name: one of {}, and then `}}}}`", names.join(", "));
                return Err(PageProblem { at: begin..begin + 2, message });
            };
            pieces.push(Piece::Text(text.get(at..begin).unwrap_or_default().into()));
            pieces.push(Piece::Hole(*hole));
            at = begin + 2 + name.len() + 2;
        }
        pieces.push(Piece::Text(text.get(at..).unwrap_or_default().into()));
        Ok(Self { pieces, policy: OPERATORS_POLICY })
    }

    /// One of the gateway's own.
    pub(crate) fn own(text: &str) -> Self {
        // INVARIANT: they are constants of this crate, and its tests parse each. A text with a mistake would be shown as it is.
        let page = Self::parse(text)
            .unwrap_or_else(|_| Self { pieces: vec![Piece::Text(text.into())], policy: OPERATORS_POLICY });
        Self { policy: OWN_POLICY, ..page }
    }

    /// The page with what is to be said.
    pub(crate) fn filled(&self, said: &Said<'_>) -> String {
        let mut html = String::with_capacity(4_096);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => html.push_str(text),
                Piece::Hole(Hole::Title) => escape(said.title, &mut html),
                Piece::Hole(Hole::Detail) => escape(said.detail, &mut html),
                Piece::Hole(Hole::Status) => html.push_str(&said.status.to_string()),
                Piece::Hole(Hole::Reason) => escape(said.reason, &mut html),
                Piece::Hole(Hole::RequestId) => escape(said.request_id, &mut html),
                Piece::Hole(Hole::Help) => escape(said.help, &mut html),
            }
        }
        html
    }
}

/// As text or as an attribute's value in quotes.
pub(crate) fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
}

/// The style of the gateway's pages, by its hash.
pub(crate) const OWN_STYLE: &str = "'sha256-9giVAGHdmjInfxA7udGf8G17rbsWXnaqicc7S9RJH2g='";

/// The same and nothing else.
const OWN_POLICY: &str = "default-src 'none'; style-src 'sha256-9giVAGHdmjInfxA7udGf8G17rbsWXnaqicc7S9RJH2g='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whatever styles and images a template brings with it.
const OPERATORS_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; \
                                form-action 'none'; frame-ancestors 'none'";

/// The gateway's own page for a refusal.
const OWN: &str = concat!(
    include_str!("page_head.html"),
    "<h1>{{title}}</h1>\n<p>{{detail}}</p>\n<dl>\n<dt>Reason</dt>\n<dd><code>{{reason}}</code></dd>\n\
     <dt>Request id</dt>\n<dd><code>{{request_id}}</code></dd>\n</dl>\n\
     <p><a href=\"{{help}}\" rel=\"noreferrer\">What this means, and what to do</a></p>\n</main>\n</body>\n</html>\n"
);

/// The gateway's own page for a route under maintenance.
pub(crate) const MAINTENANCE: &str = concat!(
    include_str!("page_head.html"),
    "<h1>{{title}}</h1>\n<p>{{detail}}</p>\n<dl>\n<dt>Request id</dt>\n<dd><code>{{request_id}}</code></dd>\n</dl>\n\
     </main>\n</body>\n</html>\n"
);

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Said<'static> = Said {
        title: "<script>alert(1)</script>",
        detail: "Tom & \"Jerry\" 'x'",
        status: 403,
        reason: "rbac.no_matching_grant",
        request_id: "0197",
        help: "https://help.test/\"><script>",
    };

    #[test]
    fn what_is_filled_in_is_never_markup() {
        let page =
            Page::parse("<h1>{{title}}</h1>{{ detail }}|{{status}}|{{reason}}|{{request_id}}|<a href=\"{{help}}\">")
                .unwrap();
        assert_eq!(
            page.filled(&SAID),
            "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>Tom &amp; &quot;Jerry&quot; &#39;x&#39;|403|rbac.no_matching_grant|0197|\
             <a href=\"https://help.test/&quot;&gt;&lt;script&gt;\">"
        );
        assert_eq!(Page::parse("").unwrap().filled(&SAID), "");
        assert_eq!(Page::parse("a{b}c}}").unwrap().filled(&SAID), "a{b}c}}");
    }

    #[test]
    fn a_hole_without_a_known_name_is_an_error_where_it_stands() {
        let check = |text: &str, at: usize| assert_eq!(Page::parse(text).unwrap_err().at, at..at + 2, "{text}");
        check("ab{{titel}}", 2);
        check("{{title}}{{", 9);
        check("{{title", 0);
        check("{{}}", 0);
        check("é{{ü}}", 2);
    }

    #[test]
    fn the_own_pages_need_nothing_from_elsewhere_and_allow_their_own_style_alone() {
        for text in [OWN, MAINTENANCE] {
            Page::parse(text).unwrap();
            let html = Page::own(text).filled(&SAID);
            assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && html.ends_with("</html>\n"), "{html}");
            for forbidden in ["<script", " src=", "@import", "url(", "<link", " style=", "{{"] {
                assert!(!html.contains(forbidden), "{forbidden} in {html}");
            }
            let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
            let hash = data_encoding::BASE64.encode(digest.as_ref());
            assert!(Page::own(text).policy.contains(&format!("style-src 'sha256-{hash}'")), "{hash}");
        }
        assert_eq!(Pages::default().any.policy, OWN_POLICY);
        assert!(OWN_POLICY.contains(OWN_STYLE));
    }
}
