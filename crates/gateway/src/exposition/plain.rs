//! The older text format of Prometheus, made of OpenMetrics.

use std::collections::HashSet;

/// The same in the older text format of Prometheus (0.0.4), in which a counter's metadata carry its whole name, and an end mark means
/// nothing.
pub(crate) fn as_plain_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let counters: HashSet<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in open_metrics.lines() {
        let about = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        match about {
            Some(("HELP" | "TYPE" | "UNIT", rest)) => {
                let (word, rest) = (line.get(..7).unwrap_or_default(), rest);
                let (name, more) = rest.split_once(' ').unwrap_or((rest, ""));
                if word != "# UNIT " {
                    let ending = if counters.contains(name) { "_total" } else { "" };
                    text.push_str(&format!("{word}{name}{ending} {more}\n"));
                }
            }
            _ if line == "# EOF" => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_has_whole_names_and_no_end() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{b=\"# HELP a\"} 1\n# HELP c Seconds.\n# TYPE c gauge\n\
                    # UNIT c seconds\nc 2\n# EOF\n";
        let plain = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"# HELP a\"} 1\n# HELP c Seconds.\n# TYPE c gauge\nc 2\n";
        assert_eq!(as_plain_text(open), plain);
    }
}
