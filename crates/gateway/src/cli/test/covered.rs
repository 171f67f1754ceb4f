//! How the coverage of a policy looks.

use portcullis_policy::{Count, CoverageItem, CoverageLevel, CoverageReport};
use serde_json::{Map, Value, json};

/// The lines for a person; with `quiet` only what is below the minimum.
pub(super) fn lines(report: &CoverageReport, min: Option<u8>, quiet: bool) -> Vec<String> {
    let total = report.total();
    let below = min.filter(|min| !total.is_at_least((*min).into()));
    if quiet && below.is_none() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (kind, count) in report.kinds.iter().filter(|(_, count)| count.total > 0) {
        lines.push(format!("  {:<12} {}/{}", kind.plural(), count.covered, count.total));
    }
    if report.shadow.total > 0 {
        let Count { covered, total } = report.shadow;
        lines.push(format!("  {:<12} {covered}/{total}, counted apart", "in shadow"));
    }
    lines.insert(0, format!("coverage: {}", headline(total, below)));
    if !report.missing.is_empty() {
        lines.push("not covered:".to_owned());
        lines.extend(report.missing.iter().map(|item| format!("  {}", hint(item))));
    }
    lines
}

/// `rules 12/14 (86 %)`
fn headline(total: Count, below: Option<u8>) -> String {
    let Count { covered, total: all } = total;
    match below {
        None => format!("rules {covered}/{all} ({} %)", total.percent()),
        // With a decimal, rounded down, so that it never looks as if it were enough.
        Some(min) => {
            let tenths = covered.saturating_mul(1_000) / all.max(1);
            format!("rules {covered}/{all} ({}.{} %), below the minimum of {min} %", tenths / 10, tenths % 10)
        }
    }
}

/// `no case is permitted through …  (policy.toml:41)`
pub(super) fn hint(item: &CoverageItem) -> String {
    format!("{} ({}:{})", item.hint, item.rule.file, item.rule.line)
}

pub(super) fn to_json(report: &CoverageReport, min: Option<u8>) -> Value {
    let count = |count: Count| json!({ "covered": count.covered, "total": count.total, "percent": count.percent() });
    let missing: Vec<Value> = report.missing.iter().map(item_json).collect();
    let mut object = Map::new();
    object.insert("rules".to_owned(), count(report.total()));
    for (kind, of_kind) in &report.kinds {
        object.insert(kind.plural().to_owned(), count(*of_kind));
    }
    object.insert("shadow".to_owned(), count(report.shadow));
    object.insert("min".to_owned(), json!(min));
    object.insert("missing".to_owned(), missing.into());
    Value::Object(object)
}

fn item_json(item: &CoverageItem) -> Value {
    let level = match item.level {
        CoverageLevel::Untouched => "untouched",
        CoverageLevel::Touched => "touched",
        CoverageLevel::Covered => "covered",
    };
    json!({
        "kind": item.kind.as_str(), "name": &*item.rule.name, "part": item.part, "level": level, "shadow": item.shadow,
        "file": &*item.rule.file, "line": item.rule.line, "hint": item.hint,
    })
}
