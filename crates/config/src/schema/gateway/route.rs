//! `[[route]]`; what becomes of its requests is in `schema/route.rs`.

use crate::file::limits::BODY_SIZES;
use crate::kinds::{Flag, Name, Size, Text};
use crate::schema::route::{one_action, treatment};
use crate::schema::{Table, choice, one, one_or_list, one_or_several, table, within};

use super::limits::{max_concurrent, rate_limit};

pub(super) fn route() -> Table {
    table(
        "[[route]]",
        "Which requests go where: the most specific host wins, then the most specific path.",
        [
            one("name", Name, "Unique; the policy names it.").required(),
            one_or_list("hosts", Text, "Such as `billing.internal` or `*.internal`; left out: any host.").not_empty(),
            one_or_list("paths", Text, "`*` is one segment, a final `**` any number; left out: every path.")
                .not_empty(),
            one("upstream", Name, "The upstream; or the route has `split`, `redirect` or `respond`."),
            one("forward_credentials", Flag, "`true`: the caller's Authorization or key is passed on.").default(false),
            one("trailers", Flag, "`true`: trailer fields pass both ways, as they always do for gRPC.").default(false),
            choice(
                "disclose",
                &["operator", "caller"],
                "`caller`: a refusal names roles and rules to the caller, too.",
            )
            .default("operator"),
            one_or_several("rate_limit", rate_limit("`rate_limit` of [[route]]", RATE_OF_ROUTE)),
            within("max_concurrent", max_concurrent("`max_concurrent` of [[route]]", CONCURRENT_OF_ROUTE)),
            one("max_request_body", Size(BODY_SIZES), "Of a request; 413 over it. Left out: that of [limits]."),
            one(
                "max_response_body",
                Size(BODY_SIZES),
                "Of an answer; 502 over it, or cut. Left out: that of [limits].",
            ),
        ]
        .into_iter()
        .chain(treatment()),
    )
    .rule(one_action())
}

const RATE_OF_ROUTE: &str = "How often callers may come; one limit or several. Left out: that of [limits]; `[]`: none.";

const CONCURRENT_OF_ROUTE: &str =
    "How many requests may be under way at once. Left out: that of [limits]; `{}`: any number.";
