//! The page of each code, as it stands in `docs/problems/`, within the program: who has to mend a configuration may have no
//! documentation at hand.

/// The page of a code in Markdown, or `None` when there is no such code. Upper and lower case are the same.
pub fn page(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}

/// What somebody who typed this most likely meant: a code, or one of the other words.
pub fn nearest<'n>(typed: &str, others: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    crate::suggest::nearest(typed, PAGES.iter().map(|(code, _)| *code).chain(others))
}

/// By code; a test holds the list against the codes and the folder.
pub(crate) const PAGES: &[(&str, &str)] = &[
    ("E0100", include_str!("../../../docs/problems/E0100.md")),
    ("E0101", include_str!("../../../docs/problems/E0101.md")),
    ("E0102", include_str!("../../../docs/problems/E0102.md")),
    ("E0103", include_str!("../../../docs/problems/E0103.md")),
    ("E0104", include_str!("../../../docs/problems/E0104.md")),
    ("E0105", include_str!("../../../docs/problems/E0105.md")),
    ("E0106", include_str!("../../../docs/problems/E0106.md")),
    ("E0107", include_str!("../../../docs/problems/E0107.md")),
    ("E0108", include_str!("../../../docs/problems/E0108.md")),
    ("E0109", include_str!("../../../docs/problems/E0109.md")),
    ("E0110", include_str!("../../../docs/problems/E0110.md")),
    ("E0201", include_str!("../../../docs/problems/E0201.md")),
    ("E0202", include_str!("../../../docs/problems/E0202.md")),
    ("E0203", include_str!("../../../docs/problems/E0203.md")),
    ("E0204", include_str!("../../../docs/problems/E0204.md")),
    ("E0205", include_str!("../../../docs/problems/E0205.md")),
    ("E0301", include_str!("../../../docs/problems/E0301.md")),
    ("E0302", include_str!("../../../docs/problems/E0302.md")),
    ("E0401", include_str!("../../../docs/problems/E0401.md")),
    ("W0101", include_str!("../../../docs/problems/W0101.md")),
    ("W0102", include_str!("../../../docs/problems/W0102.md")),
    ("W0201", include_str!("../../../docs/problems/W0201.md")),
    ("W0202", include_str!("../../../docs/problems/W0202.md")),
    ("W0203", include_str!("../../../docs/problems/W0203.md")),
    ("W0204", include_str!("../../../docs/problems/W0204.md")),
    ("W0205", include_str!("../../../docs/problems/W0205.md")),
    ("W0206", include_str!("../../../docs/problems/W0206.md")),
    ("W0207", include_str!("../../../docs/problems/W0207.md")),
    ("W0208", include_str!("../../../docs/problems/W0208.md")),
    ("W0209", include_str!("../../../docs/problems/W0209.md")),
    ("W0210", include_str!("../../../docs/problems/W0210.md")),
    ("W0211", include_str!("../../../docs/problems/W0211.md")),
    ("W0301", include_str!("../../../docs/problems/W0301.md")),
    ("W0302", include_str!("../../../docs/problems/W0302.md")),
    ("W0303", include_str!("../../../docs/problems/W0303.md")),
    ("W0310", include_str!("../../../docs/problems/W0310.md")),
    ("W0311", include_str!("../../../docs/problems/W0311.md")),
    ("W0312", include_str!("../../../docs/problems/W0312.md")),
    ("W0313", include_str!("../../../docs/problems/W0313.md")),
    ("W0314", include_str!("../../../docs/problems/W0314.md")),
    ("W0315", include_str!("../../../docs/problems/W0315.md")),
    ("W0316", include_str!("../../../docs/problems/W0316.md")),
    ("W0320", include_str!("../../../docs/problems/W0320.md")),
    ("W0321", include_str!("../../../docs/problems/W0321.md")),
    ("W0322", include_str!("../../../docs/problems/W0322.md")),
    ("W0323", include_str!("../../../docs/problems/W0323.md")),
    ("W0330", include_str!("../../../docs/problems/W0330.md")),
    ("W0331", include_str!("../../../docs/problems/W0331.md")),
    ("W0332", include_str!("../../../docs/problems/W0332.md")),
    ("W0340", include_str!("../../../docs/problems/W0340.md")),
    ("W0350", include_str!("../../../docs/problems/W0350.md")),
    ("W0390", include_str!("../../../docs/problems/W0390.md")),
];
