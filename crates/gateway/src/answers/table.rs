//! Rows with aligned columns, for people.

/// Rows under a heading, indented by two spaces; the last column is as wide as it is.
pub(crate) fn table<const COLUMNS: usize>(heading: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let mut widths = heading.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: [&str; COLUMNS]| {
        let mut line = String::new();
        for (cell, widest) in cells.iter().zip(widths) {
            line.push_str("  ");
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', widest.saturating_sub(width(cell))));
        }
        line.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|column| row.get(column).map_or("", String::as_str))));
    std::iter::once(line(heading)).chain(rows).collect::<Vec<_>>().join("\n")
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["now".to_owned(), "GET /ü".to_owned(), "x".to_owned()],
            ["expired".into(), "GET /".into(), String::new()],
        ];
        let expected = "  STATE    ACTION  BY\n  now      GET /ü  x\n  expired  GET /";
        assert_eq!(table(["STATE", "ACTION", "BY"], &rows), expected);
    }
}
