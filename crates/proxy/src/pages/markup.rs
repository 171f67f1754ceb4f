//! The gateway's own pages as HTML: what is written in the program is markup, and everything else is text.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::page::{OWN_STYLE, escape};

/// A piece of a page.
#[derive(Debug, Clone, Default)]
pub struct Markup(String);

impl Markup {
    /// Adds markup that is written in the program.
    #[must_use]
    pub fn tag(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Adds what somebody else wrote: as text, or as the value of an attribute in double quotes.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        escape(text, &mut self.0);
        self
    }

    /// Adds a form's hidden field.
    #[must_use]
    pub fn hidden(self, name: &'static str, value: &str) -> Self {
        self.tag("<input type=\"hidden\" name=\"").tag(name).tag("\" value=\"").text(value).tag("\">\n")
    }
}

/// A page with this title. `form_action`: where its forms may lead, as the policy of its content names it, such as `'self'`; a browser holds redirects that
/// follow to it, too. `scripts`: whether scripts from this place may run; never one within the page.
pub fn own_page(
    status: StatusCode,
    title: &str,
    main: Markup,
    form_action: &str,
    scripts: bool,
) -> Response<Full<Bytes>> {
    // INVARIANT: the hole is there; a test looks.
    let (before, after) = HEAD.split_once(HOLE).unwrap_or((HEAD, ""));
    let html = Markup::default().tag(before).text(title).tag(after).tag("<h1>").text(title).tag("</h1>\n");
    let html = html.0 + &main.0 + "</main>\n</body>\n</html>\n";
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    let scripts = if scripts { "script-src 'self'; connect-src 'self'; " } else { "" };
    let policy = format!(
        "default-src 'none'; style-src {OWN_STYLE}; img-src data:; {scripts}base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The head of all of them, with one hole for its title.
const HEAD: &str = include_str!("../page_head.html");
const HOLE: &str = "{{status}} {{title}}";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_somebody_wrote_is_text_on_a_page_without_scripts() {
        let main = Markup::default().tag("<p>").text("<script>alert('x')</script>").tag("</p>").hidden("to", "/\"><b>");
        let page = own_page(StatusCode::OK, "Tom & Jerry", main, "'self'", false);
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("script"), "{policy}");
        assert!(policy.ends_with("base-uri 'none'; form-action 'self'; frame-ancestors 'none'"), "{policy}");
        let html = page.into_body().collect().await.unwrap().to_bytes();
        let html = std::str::from_utf8(&html).unwrap();
        assert!(html.contains("<title>Tom &amp; Jerry</title>") && html.contains("<h1>Tom &amp; Jerry</h1>"), "{html}");
        assert!(html.contains("<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</p>"), "{html}");
        assert!(html.contains("name=\"to\" value=\"/&quot;&gt;&lt;b&gt;\">"), "{html}");
        assert!(!html.contains("{{") && html.ends_with("</html>\n"), "{html}");
    }
}
