use proptest::prelude::*;

use super::*;
use crate::settings::{Column, Pointer};

fn json(pointers: &[&str]) -> Format {
    Format::Json { pointers: pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect() }
}

fn csv(column: Column) -> Format {
    Format::Csv { column, delimiter: b',' }
}

/// `Ok`: the prefixes with commas between; `Err`: a part of what is said.
#[track_caller]
fn check(format: &Format, bytes: impl AsRef<[u8]>, expected: Result<&str, &str>) {
    let bytes = bytes.as_ref();
    let text = String::from_utf8_lossy(bytes);
    match (parse(bytes, format), expected) {
        (Ok(prefixes), Ok(expected)) => {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            assert_eq!(prefixes.join(","), expected, "{text}");
        }
        (Err(problem), Err(fragment)) => assert!(problem.to_string().contains(fragment), "{text}: {problem}"),
        (parsed, expected) => panic!("{text}: {parsed:?}, not {expected:?}"),
    }
}

#[test]
fn text_has_an_entry_per_line_and_comments() {
    let text = |bytes: &str, expected| check(&Format::Text, bytes, expected);
    text("", Ok(""));
    text("# nothing\n; here\n\n", Ok(""));
    text(
        "192.0.2.1\n192.0.2.0/24 # a comment\r\n  2001:db8::/32\t; another\n",
        Ok("192.0.2.1/32,192.0.2.0/24,2001:db8::/32"),
    );
    text("\u{feff}192.0.2.1", Ok("192.0.2.1/32"));
    text("192.0.2.1\n  192.0.2.256", Err("line 2, column 3: `192.0.2.256` is no address or prefix"));
    text("192.0.2.1/24", Err("line 1, column 1: `192.0.2.1/24` has bits set"));
    text("192.0.2.1 192.0.2.2", Err("`192.0.2.1 192.0.2.2` is no"));
    text("192.0.2.1,DE", Err("is no address"));
    text("a\nb\nc\nd\ne", Err("line 3, column 1: `c` is no address or prefix; and 2 more"));
    text("\u{202e}192.0.2.1", Err("`\\u{202e}192.0.2.1`"));
    text(&"x".repeat(5_000), Err(&format!("`{}…`", "x".repeat(64))));
    check(&Format::Text, b"192.0.2.1\n\xff", Err("no text from byte 10 on"));
    check(&Format::Text, b"192.0.2.1\0", Err("is no address"));
    check(&Format::Text, b"\x1f\x8b\x08\x00", Err("no text from byte 1 on"));
}

#[test]
fn a_page_is_no_list_in_any_format() {
    for format in [Format::Text, csv(Column::Number(1)), json(&["/a"])] {
        check(&format, "<!DOCTYPE html><title>503</title>", Err("HTML or XML page"));
        check(&format, "\u{feff}\r\n  <html>", Err("HTML or XML page"));
        check(&format, "<?xml version=\"1.0\"?>", Err("HTML or XML page"));
    }
}

#[test]
fn a_table_gives_one_column() {
    let first = csv(Column::Number(1));
    check(&first, "192.0.2.0/24,DE\n192.0.3.0/24,FR\n", Ok("192.0.2.0/24,192.0.3.0/24"));
    check(&csv(Column::Number(2)), "DE,192.0.2.0/24\r\n\r\nFR, 192.0.3.0/24", Ok("192.0.2.0/24,192.0.3.0/24"));
    check(&csv(Column::Number(3)), "a,b\n", Err("line 1: there is no column 3"));
    check(&csv(Column::Number(1)), "ip_prefix,country\n192.0.2.0/24,DE", Err("line 1, column 1: `ip_prefix` is no"));
    let named = csv(Column::Name("ip_prefix".into()));
    check(&named, "country,ip_prefix\nDE,192.0.2.0/24\n", Ok("192.0.2.0/24"));
    check(&named, "\"country\",\"ip_prefix\"\n\"D,E\n\"\"x\",\"192.0.2.0/24\"\n", Ok("192.0.2.0/24"));
    check(&named, "country,prefix\nDE,192.0.2.0/24\n", Err("no column is named `ip_prefix`"));
    check(&named, "", Err("no column is named `ip_prefix`"));
    check(&named, "ip_prefix,ip_prefix\n192.0.2.0/24,192.0.2.0/24\n", Err("two columns are named"));
    check(&named, "country,ip_prefix\nDE\n", Err("line 2: there is no column 2"));
    check(&named, "country,ip_prefix\nDE,\n", Err("line 2, column 4: `` is no address"));
    check(&first, "\"192.0.2.0/24\"x\n", Err("line 1: something follows a closing quote"));
    check(&first, "\"192.0.2.0/24\n", Err("line 1: a quote is not closed"));
    check(&first, "192.0.2.0/24\n\"192.0.3.\n0/24\"\n", Err("line 2, column 1: `192.0.3.\\n0/24` is no"));
    let semicolons = Format::Csv { column: Column::Number(2), delimiter: b';' };
    check(&semicolons, "DE;192.0.2.0/24", Ok("192.0.2.0/24"));
}

#[test]
fn json_gives_the_strings_at_its_pointers() {
    let aws = r#"{"syncToken":"1","prefixes":[{"ip_prefix":"192.0.2.0/24"},{"ip_prefix":"192.0.3.0/24"}],"ipv6_prefixes":[{"ipv6_prefix":"2001:db8::/32"}]}"#;
    let both = json(&["/prefixes/*/ip_prefix", "/ipv6_prefixes/*/ipv6_prefix"]);
    check(&both, aws, Ok("192.0.2.0/24,192.0.3.0/24,2001:db8::/32"));
    check(&json(&["/prefixes/1/ip_prefix"]), aws, Ok("192.0.3.0/24"));
    let google = r#"{"prefixes":[{"ipv4Prefix":"192.0.2.0/24"},{"ipv6Prefix":"2001:db8::/32"}]}"#;
    check(&json(&["/prefixes/*/ipv4Prefix", "/prefixes/*/ipv6Prefix"]), google, Ok("192.0.2.0/24,2001:db8::/32"));
    check(&json(&["/*/*"]), r#"{"a":["192.0.2.1"],"b":["192.0.2.2"]}"#, Ok("192.0.2.1/32,192.0.2.2/32"));
    check(&json(&["/a~1b"]), r#"{"a/b":"192.0.2.1"}"#, Ok("192.0.2.1/32"));
    check(&json(&["/hooks/*"]), r#"{"hooks":[]}"#, Ok(""));
    check(&json(&["/hooks/*"]), r#"{"message":"rate limit exceeded"}"#, Err("nothing is at `/hooks/*`"));
    check(
        &json(&["/prefixes/*/ip_prefix"]),
        r#"{"prefixes":[{"cidr":"192.0.2.1"}]}"#,
        Err("nothing is at `/prefixes/*/ip_prefix`"),
    );
    check(&json(&["/hooks"]), r#"{"hooks":["192.0.2.1"]}"#, Err("/hooks: a list stands where a string should"));
    check(&json(&["/hooks/*"]), r#"{"hooks":["192.0.2.1", null]}"#, Err("/hooks/1: null stands where"));
    check(&json(&["/hooks/*"]), r#"{"hooks":["192.0.2.1", "x"]}"#, Err("/hooks/1: `x` is no address"));
    check(&json(&["/hooks/*"]), r#"{"hooks":["192.0.2.1""#, Err("it is no JSON: EOF"));
    check(&json(&["/a"]), "", Err("it is no JSON"));
    check(&json(&["/a"]), "[".repeat(10_000), Err("it is no JSON: recursion limit"));
    check(&json(&["/a"]), r#"{"a":"192.0.2.1"} x"#, Err("it is no JSON: trailing"));
}

#[test]
fn what_is_too_long_is_refused() {
    let text = "192.0.2.1\n".repeat(MAX_ENTRIES + 1);
    check(&Format::Text, text.as_bytes(), Err("more than 1000000 entries"));
    let list = format!("{{\"a\":[{}\"192.0.2.1\"]}}", "\"192.0.2.1\",".repeat(MAX_ENTRIES));
    check(&json(&["/a/*"]), list.as_bytes(), Err("more than 1000000 entries"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in [Format::Text, csv(Column::Number(1)), csv(Column::Name("a".into())), json(&["/*", "/a/*/b"])] {
            let _ = parse(&bytes, &format);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\"\\[\\]{},;:#\\n\\r0-9a-f./ ab-]{0,200}") {
        for format in [Format::Text, csv(Column::Number(2)), csv(Column::Name("a".into())), json(&["/*", "/a/*/b"])] {
            let _ = parse(text.as_bytes(), &format);
        }
    }

    #[test]
    fn what_is_written_is_read_in_every_format(prefixes in prop::collection::vec((any::<u32>(), 0u8..=32), 0..20)) {
        let prefixes: Vec<IpNet> = prefixes
            .into_iter()
            .map(|(bits, length)| IpNet::new(std::net::Ipv4Addr::from(bits).into(), length).unwrap().trunc())
            .collect();
        let texts: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        prop_assert_eq!(parse(texts.join("\n").as_bytes(), &Format::Text), Ok(prefixes.clone()));
        let table = format!("a,b\n{}", texts.iter().map(|text| format!("\"x,\",{text}\n")).collect::<String>());
        prop_assert_eq!(parse(table.as_bytes(), &csv(Column::Name("b".into()))), Ok(prefixes.clone()));
        let document = serde_json::json!({ "a": texts });
        prop_assert_eq!(parse(document.to_string().as_bytes(), &json(&["/a/*"])), Ok(prefixes));
    }
}
