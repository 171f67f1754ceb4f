use proptest::prelude::*;

use super::*;

fn encoded(filter: &str, id: &str) -> Vec<u8> {
    let values = |variable| match variable {
        Variable::Id => Some(id.as_bytes()),
        Variable::Email => None,
        Variable::Dn => Some(&b"cn=a,dc=b"[..]),
    };
    Filter::parse(filter).unwrap().encode(&values).unwrap()
}

#[test]
fn a_filter_is_encoded_as_the_protocol_says() {
    for (text, expected) in [
        ("(uid={id})", &b"\xa3\x0a\x04\x03uid\x04\x03zoe"[..]),
        ("(uid=*)", b"\x87\x03uid"),
        ("(!(uid=a))", b"\xa2\x0a\xa3\x08\x04\x03uid\x04\x01a"),
        ("(&(a=b)(c=d))", b"\xa0\x10\xa3\x06\x04\x01a\x04\x01b\xa3\x06\x04\x01c\x04\x01d"),
        ("(|(a=b)(c=d))", b"\xa1\x10\xa3\x06\x04\x01a\x04\x01b\xa3\x06\x04\x01c\x04\x01d"),
        ("(a>=5)", b"\xa5\x06\x04\x01a\x04\x015"),
        ("(a<=5)", b"\xa6\x06\x04\x01a\x04\x015"),
        ("(a~=5)", b"\xa8\x06\x04\x01a\x04\x015"),
        ("(a=)", b"\xa3\x05\x04\x01a\x04\x00"),
        ("(a=x*y*z)", b"\xa4\x0e\x04\x01a\x30\x09\x80\x01x\x81\x01y\x82\x01z"),
        ("(a=x*)", b"\xa4\x08\x04\x01a\x30\x03\x80\x01x"),
        ("(a=*{id})", b"\xa4\x0a\x04\x01a\x30\x05\x82\x03zoe"),
        ("(a=\\2a\\28\\5C\\7b)", b"\xa3\x09\x04\x01a\x04\x04*(\\{"),
        ("(f:1.2.3:=2)", b"\xa9\x0d\x81\x051.2.3\x82\x01f\x83\x012"),
        ("(f:dn:1.2.3:=2)", b"\xa9\x10\x81\x051.2.3\x82\x01f\x83\x012\x84\x01\xff"),
        ("(:1.2.3:=2)", b"\xa9\x0a\x81\x051.2.3\x83\x012"),
        ("(f:=2)", b"\xa9\x06\x82\x01f\x83\x012"),
    ] {
        assert_eq!(encoded(text, "zoe"), expected, "{text}");
    }
}

#[test]
fn what_is_no_filter_says_where_and_why() {
    for (text, fragment) in [
        ("", "at byte 0: expected `(`"),
        ("uid={id}", "at byte 0: expected `(`"),
        ("(uid={id}", "expected `)`"),
        ("(uid={id}))", "at byte 10: the filter has ended here"),
        ("(uid=a)(uid=b)", "the filter has ended here"),
        ("(uid)", "expected `=`"),
        ("(=a)", "expected an attribute"),
        ("(&)", "at least one part"),
        ("(!)", "expected `(`"),
        ("(uid=a(b)", "`\\28`"),
        ("(uid=\\2)", "two hexadecimal digits"),
        ("(uid=\\+1)", "two hexadecimal digits"),
        ("(uid={name})", "there is no `{name}`"),
        ("(uid={id)", "`{` without `}`"),
        ("(uid=**)", "`*` stands between"),
        ("(a>5)", "expected `=`"),
        ("(:=2)", "an attribute or a rule"),
        ("(a:b:c:=2)", "expected `:=`"),
    ] {
        let problem = Filter::parse(text).unwrap_err().to_string();
        assert!(problem.contains(fragment), "{text}: {problem}");
    }
    assert_eq!(Filter::parse(&format!("(a={})", "x".repeat(4_096))), Err(FilterProblem::TooLong));
    let deep = |depth: usize| Filter::parse(&format!("{}(a=b){}", "(!".repeat(depth), ")".repeat(depth)));
    assert!(deep(16).is_ok());
    assert_eq!(deep(17), Err(FilterProblem::TooDeep));
}

#[test]
fn no_value_changes_what_is_asked() {
    for id in ["*", "*)(uid=*", "a)(|(uid=*", "\\2a", "\u{0}", "ü", "", "(", "&", "zoe\n"] {
        let mut expected = Vec::new();
        ber::put_with(&mut expected, 0xa3, |out| {
            ber::put(out, ber::OCTETS, b"uid");
            ber::put(out, ber::OCTETS, id.as_bytes());
        });
        assert_eq!(encoded("(uid={id})", id), expected, "{id}");
    }
}

#[test]
fn a_place_that_nothing_fills_asks_nothing() {
    let filter = Filter::parse("(|(uid={id})(mail={email}))").unwrap();
    assert_eq!(filter.encode(&|variable| (variable == Variable::Id).then_some(&b"a"[..])), None);
    assert!(filter.uses(Variable::Email) && filter.uses(Variable::Id) && !filter.uses(Variable::Dn));
}

#[test]
fn only_an_attribute_that_equals_a_name_is_followed() {
    let chain = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        filter.follows_dn().then(|| filter.in_chain().encode(&|_| Some(&b"d"[..])).unwrap())
    };
    let expected = Filter::parse("(&(objectClass=group)(member:1.2.840.113556.1.4.1941:=d))").unwrap();
    assert_eq!(chain("(&(objectClass=group)(member={dn}))"), expected.encode(&|_| None));
    assert_eq!(chain("(memberUid={id})"), None);
    assert_eq!(chain("(member=*{dn})"), None);
}

#[test]
fn several_names_are_one_question() {
    let filter = Filter::parse("(member={dn})").unwrap();
    let both = filter.encode_any(&|_| None, &["a", "*"]).unwrap();
    assert_eq!(both, Filter::parse("(|(member=a)(member=\\2a))").unwrap().encode(&|_| None).unwrap());
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_none(text in "[(&|!)=*a\\\\{}id:<>~0-9]{0,60}") {
        if let Ok(filter) = Filter::parse(&text) {
            filter.encode(&|_| Some(&b"x"[..]));
        }
    }
}
