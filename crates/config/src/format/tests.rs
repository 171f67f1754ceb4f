//! The layout, case by case; and what holds for every text.

use std::path::Path;

use proptest::prelude::*;
use toml::de::DeTable;
use toml_parser::parser::EventKind;

use super::{FormatError, events, format_bytes, proof};

fn formatted(text: &str) -> String {
    format_bytes(Path::new("test.toml"), text.as_bytes()).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The text becomes the other, and that one stays.
fn check(text: &str, expected: &str) {
    assert_eq!(formatted(text), expected, "of {text:?}");
    assert_eq!(formatted(expected), expected, "again");
}

#[test]
fn keys_and_headers_have_one_form() {
    check("", "");
    check("\n\n \n", "");
    check("a=1", "a = 1\n");
    check("  a   =  1  \n", "a = 1\n");
    check("\ta . \"b c\" . 'd'= 1\n", "a.\"b c\".'d' = 1\n");
    check("[ a . b ]\nc=1\n", "[a.b]\nc = 1\n");
    check("[[ a ]]\n", "[[a]]\n");
    check("a = 1\r\nb = 2\r\n", "a = 1\nb = 2\n");
    check("\u{feff}a = 1", "a = 1\n");
}

#[test]
fn values_stay_byte_for_byte() {
    for value in [
        "1_000",
        "0xDEAD_beef",
        "-0.0",
        "1.50e+3",
        "nan",
        "-inf",
        "\"\\u00e4 \\t # no comment\"",
        "'C:\\x'",
        "'''\n  a  \n\tb'''",
        "\"\"\"\n  a \\\n  b  \n\"\"\"",
        "\"\"\"a\r\nb\"\"\"",
        "2026-01-01T00:00:00.500Z",
        "2026-01-01 00:00:00+01:00",
        "2026-01-01",
        "07:32:00",
        "true",
    ] {
        check(&format!("a={value}"), &format!("a = {value}\n"));
    }
}

#[test]
fn an_array_stays_on_a_line_as_long_as_it_fits() {
    check("a=[1,2 , 3,]", "a = [1, 2, 3]\n");
    check("a=[ ]", "a = []\n");
    check("a=[\n]", "a = []\n");
    check("a=[1\n,2]", "a = [\n    1,\n    2,\n]\n");
    check("a=[[1,2],[3\n]]", "a = [\n    [1, 2],\n    [\n        3,\n    ],\n]\n");
    check("a=[\n\n1,\n\n\n2\n\n]", "a = [\n    1,\n\n    2,\n]\n");
    let line = |key: &str| format!("{key} = [{}\"123\"]\n", "\"123456789012345678\", ".repeat(4));
    assert_eq!(line("aa").trim_end().len(), 100);
    check(&line("aa"), &line("aa"));
    check(&line("aaa"), &format!("aaa = [\n{}    \"123\",\n]\n", "    \"123456789012345678\",\n".repeat(4)));
}

#[test]
fn an_inline_table_is_broken_where_its_author_broke_it() {
    check("a={b=1,c={ }}", "a = { b = 1, c = {} }\n");
    check("a={b . c=1,}", "a = { b.c = 1 }\n");
    check("a = { b = 1,\nc = 2 }", "a = {\n    b = 1,\n    c = 2,\n}\n");
    check("a = { b = [1,\n2], c = 3 }", "a = { b = [\n    1,\n    2,\n], c = 3 }\n");
    check("a = [{ b = [1,\n2] }]", "a = [{ b = [\n    1,\n    2,\n] }]\n");
    let long = format!("a = {{ b = [{}1] }}\n", "1, ".repeat(60));
    check(&long, &long);
    let permissions = format!("a = [{{ b = \"{}\" }}]\n", "x".repeat(90));
    check(&permissions, &format!("a = [\n    {{ b = \"{}\" }},\n]\n", "x".repeat(90)));
}

#[test]
fn blank_lines_separate_tables() {
    check("\n\na = 1\n\n\n\nb = 2\n\n", "a = 1\n\nb = 2\n");
    check("a = 1\n[b]\n\n\nc = 1\n[d]\n", "a = 1\n\n[b]\nc = 1\n\n[d]\n");
    check("a = 1\n# of b\n# too\n[b]\n", "a = 1\n\n# of b\n# too\n[b]\n");
    check("# of b\n[b]\n", "# of b\n[b]\n");
    check("a = 1\n# of a\n\n[b]\n", "a = 1\n# of a\n\n[b]\n");
    check("[a]\n# b = 1\n[c]\n", "[a]\n# b = 1\n\n[c]\n");
    check("[a]\n\n# of c\n[c]\n", "[a]\n\n# of c\n[c]\n");
    check("[a]\n\n# about the rest\n\n[c]\n", "[a]\n\n# about the rest\n\n[c]\n");
    check("[a]\n\n# first\n\nb = 1\n", "[a]\n# first\n\nb = 1\n");
    check("[a]\n\n[b]\n[c]\n", "[a]\n\n[b]\n\n[c]\n");
}

#[test]
fn comments_behind_code_share_a_column() {
    let column = " ".repeat(49 - "a = 1".len());
    check("a = 1 # x  ", &format!("a = 1{column}# x\n"));
    check("[[abc]]# x", &format!("[[abc]]{}# x\n", " ".repeat(42)));
    check("  # x\n", "# x\n");
    // Code that ends where two spaces are just left, and one column further.
    let key = |length: usize| format!("a = \"{}\"", "x".repeat(length - 6));
    check(&format!("{} # x", key(47)), &format!("{}  # x\n", key(47)));
    check(&format!("{} # x\nb = 1 # y", key(48)), &format!("{}  # x\nb = 1{}# y\n", key(48), " ".repeat(44)));
    // Longer lines share their own column, as long as it is one.
    let second = key(60).replacen('a', "b", 1);
    check(&format!("{} # x\n{second} # y", key(50)), &format!("{}{}# x\n{second}  # y\n", key(50), " ".repeat(12)));
    let wide = key(99).replacen('a', "b", 1);
    check(&format!("{} # x\n{wide} # y", key(50)), &format!("{}  # x\n{wide}  # y\n", key(50)));
    // What is wide on the screen counts as wide.
    check("a = \"漢字\" # x", &format!("a = \"漢字\"{}# x\n", " ".repeat(49 - 10)));
}

#[test]
fn a_comment_below_another_continues_it() {
    let pad = |width: usize| " ".repeat(width);
    check(
        "a = 1   # x\n        # more\n        # still\nb = 2\n",
        &format!("a = 1{}# x\n{}# more\n{}# still\nb = 2\n", pad(44), pad(49), pad(49)),
    );
    // One column beside it is a comment of its own; so is one behind a blank line.
    check("a = 1   # x\n       # own\n", &format!("a = 1{}# x\n# own\n", pad(44)));
    check("a = 1   # x\n\n        # own\n", &format!("a = 1{}# x\n\n# own\n", pad(44)));
    // It belongs to the line above, not to the header below.
    check("a = 1   # x\n        # more\n[b]\n", &format!("a = 1{}# x\n{}# more\n\n[b]\n", pad(44), pad(49)));
    check(
        "a = [ # x\n      # more\n1 # y\n  # more\n, 2]",
        &format!("a = [{0}# x\n{1}# more\n    1,{2}# y\n{1}# more\n    2,\n]\n", pad(44), pad(49), pad(43)),
    );
}

#[test]
fn comments_in_arrays_stay_with_their_elements() {
    let pad = " ".repeat(43);
    check(
        "a = [\n# first\n  1, # one\n  2 # two\n  # last\n]",
        &format!("a = [\n    # first\n    1,{pad}# one\n    2,{pad}# two\n    # last\n]\n"),
    );
    check("a = [1 # one\n, # two\n2]", &format!("a = [\n    1,{pad}# one\n    # two\n    2,\n]\n"));
    check("a = [ # only\n]", &format!("a = [{}# only\n]\n", " ".repeat(44)));
    check("a = [\n# only\n]", "a = [\n    # only\n]\n");
}

#[test]
fn what_is_no_toml_is_reported_with_its_place() {
    let check = |text: &[u8], code: &str, line: usize, column: usize| {
        let Err(FormatError::Invalid(report)) = format_bytes(Path::new("x.toml"), text) else {
            panic!("{}", String::from_utf8_lossy(text))
        };
        let first = report.diagnostics().next().unwrap();
        let place = report.position(first.primary);
        assert_eq!((first.code, place.line, place.column), (code, line, column));
        assert!(report.file(first.primary).ends_with("x.toml"));
    };
    check(b"a = 1\n[b\n", "E0101", 2, 3);
    check(b"a = 1\na = 2\n", "E0101", 2, 1);
    check("\u{feff}[b\n".as_bytes(), "E0101", 1, 3);
    check(b"a = \"\xff\"\n", "E0100", 1, 6);
    check(format!("a = {}", "[".repeat(200_000)).as_bytes(), "E0110", 1, 1 + 4 + 1_000);
    check(format!("{}a = 1", "a.".repeat(100_000)).as_bytes(), "E0110", 1, 1);
}

#[test]
fn what_is_nested_as_deep_as_it_may_be_is_formatted() {
    let nested = |depth: usize| format!("a = {}1{}\n", "[".repeat(depth), "]".repeat(depth));
    let deepest = (1..200).take_while(|depth| nested(*depth).parse::<toml::Table>().is_ok()).last().unwrap();
    assert!(deepest >= 64, "{deepest}");
    let flat = format!("a = {}1{}\n", "{ a.b.c = ".repeat(deepest), " }".repeat(deepest));
    check(&flat, &flat);
    // Wider than a line as well, since it is deep.
    assert_eq!(formatted(&formatted(&nested(deepest))), formatted(&nested(deepest)));
    let spread = format!("a = {}1{}\n", "[\n".repeat(deepest), "]".repeat(deepest));
    assert!(formatted(&spread).contains(&format!("\n{}1,\n", "    ".repeat(deepest))));
}

#[test]
fn indentation_does_not_make_a_file_larger_than_a_file_may_be() {
    let deep = format!("a = {}{}{}\n", "[\n".repeat(70), "1,".repeat(300_000), "]".repeat(70));
    let found = format_bytes(Path::new("x"), deep.as_bytes());
    assert!(matches!(found, Err(FormatError::TooLarge)), "{:?}", found.map(|text| text.len()));
}

#[test]
fn the_proof_sees_what_is_lost_changed_or_moved() {
    let prove = |before: &str, after: &str| {
        let values = DeTable::parse(before).unwrap();
        proof::prove(before, values.get_ref(), &events(before).unwrap(), after)
    };
    let refused = |before: &str, after: &str| assert!(prove(before, after).is_err(), "{before:?} {after:?}");
    assert_eq!(prove("a=1 # x \n", &formatted("a=1 # x \n")), Ok(()));
    assert_eq!(prove("a=nan\n", "a = nan\n"), Ok(()));
    refused("a=1\n", "a = 2\n");
    refused("a=1\n", "a = 0x1\n");
    refused("a=1.0\n", "a = 1.00\n");
    refused("a=\"x\"\n", "a = 'x'\n");
    refused("a=[1, 2]\n", "a = [2, 1]\n");
    refused("a=[1, 2]\n", "a = [1]\n");
    refused("a=1\nb=2\n", "b = 2\na = 1\n");
    refused("a=1\n[b]\nc=1\n", "[b]\na = 1\nc = 1\n");
    refused("a=1 # x\n", "a = 1\n");
    refused("# x\n# y\na=1\n", "# y\n# x\n\na = 1\n");
    refused("a=1\n", "a = 1\n[\n");
    refused("a=1\n", " a = 1\n");
    refused("a=1\n", "a=1\n");
}

/// Random TOML: nested values, every kind of string, comments and blank lines where they may stand, and space all over.
fn document() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", " ", "  ", "\t", "      "]);
    let end = prop::sample::select(vec![
        "\n",
        "\r\n",
        "\n\n",
        "\n \n\n",
        " # c\n",
        "# ä #\n",
        "  \t# below  \n        # it\n",
    ]);
    let line = (0..6_u8, space.clone(), space, value(), end.clone(), end);
    prop::collection::vec(line, 0..12).prop_map(|lines| {
        let mut text = String::new();
        for (index, (kind, before, around, value, end, inner)) in lines.into_iter().enumerate() {
            let value = value.replace('~', inner);
            text.push_str(&match kind {
                0 => format!("{before}[{around}t{index}{around}]{around}{end}"),
                1 => format!("{before}[[{around}list{around}]]{around}{end}"),
                2 => format!("{before}# alone {around}{end}"),
                3 => format!("{before}\"k {index}\"{around}.{around}x{around}={around}{value}{around}{end}"),
                _ => format!("{before}k{index}{around}={around}{value}{around}{end}"),
            });
        }
        text
    })
}

/// A value; `~` stands for a line break of some kind.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "1",
        "-1.5e3",
        "nan",
        "true",
        "2026-01-01T00:00:00Z",
        "2026-01-01 00:00:00",
        "\"a # b\"",
        "'c'",
        "\"\"\"\n x \n\"\"\"",
        "'''y\r\n z'''",
        "\"a text of some length, as they occur in lists\"",
    ]);
    scalar.prop_map(str::to_owned).prop_recursive(4, 40, 6, |inner| {
        let gap = prop::sample::select(vec!["", " ", "~", " ~ "]);
        let elements = prop::collection::vec((inner, gap.clone()), 0..6);
        (any::<bool>(), elements, gap, any::<bool>()).prop_map(|(array, elements, gap, trailing)| {
            let each = |(index, (value, gap)): (usize, &(String, &str))| {
                let key = if array { String::new() } else { format!("k{index} = ") };
                format!("{gap}{key}{value}{gap}")
            };
            let mut inside = elements.iter().enumerate().map(each).collect::<Vec<_>>().join(",");
            if trailing && !elements.is_empty() {
                inside.push(',');
            }
            if array { format!("[{inside}{gap}]") } else { format!("{{{inside}{gap}}}") }
        })
    })
}

/// The comments of a text, without trailing space.
fn comments(text: &str) -> Vec<String> {
    let events = events(text).unwrap();
    let comments = events.iter().filter(|event| event.kind() == EventKind::Comment);
    comments.map(|event| text[event.span().start()..event.span().end()].trim_end().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn values_and_comments_survive_and_formatting_again_changes_nothing(text in document()) {
        let before = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                prop_assert!(error.message().contains("duplicate"), "{} in {:?}", error.message(), text);
                return Ok(());
            }
        };
        let after = formatted(&text);
        let nan_apart = |table: &toml::Table| format!("{table:?}");
        prop_assert_eq!(nan_apart(&before), nan_apart(&after.parse().unwrap()));
        prop_assert_eq!(comments(&text), comments(&after));
        prop_assert_eq!(formatted(&after), after.clone());
        prop_assert!(after.is_empty() || after.ends_with('\n') && !after.ends_with("\n\n"), "{:?}", after);
        let spaced = after.replace("x \n", "x\n").replace("y\r\n", "y\n");
        prop_assert!(!spaced.contains(" \n") && !spaced.contains("\n\n\n") && !spaced.contains('\r'), "{:?}", after);
    }

    #[test]
    fn arbitrary_text_is_formatted_or_reported(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}=,.#\"'a1 \\n\\r-]{0,60}") {
        for text in [bytes.as_slice(), text.as_bytes()] {
            match format_bytes(Path::new("x"), text) {
                Ok(after) => prop_assert_eq!(format_bytes(Path::new("x"), after.as_bytes()).unwrap(), after),
                Err(FormatError::Invalid(report)) => prop_assert!(report.errors() > 0),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
