//! What is asked and what comes back (RFC 4511 section 4).

use crate::ber::{self, Malformed, Reader};
use crate::filter::{Filter, Variable};

/// How far a search goes from its base (RFC 4511 section 4.5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The entry itself.
    Base,
    /// Everything below it.
    Subtree,
}

/// A search.
#[derive(Debug)]
pub struct Search<'s> {
    /// Where it begins.
    pub base: &'s str,
    /// How far it goes.
    pub scope: Scope,
    /// What is looked for.
    pub filter: &'s Filter,
    /// What `{id}` is.
    pub id: Option<&'s str>,
    /// What `{email}` is.
    pub email: Option<&'s str>,
    /// What `{dn}` is: any of these. With none, the filter has no such place.
    pub names: &'s [&'s str],
    /// The attributes that are wanted.
    pub attributes: &'s [&'s str],
    /// How many entries are taken at most; more are an error.
    pub limit: usize,
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    /// What was asked for and is there.
    pub attributes: Vec<Attribute>,
}

/// An attribute of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, as the server writes it.
    pub name: String,
    /// Its values, in no order.
    pub values: Vec<Vec<u8>>,
}

impl Entry {
    /// The values of an attribute. Names are compared without case (RFC 4512 section 2.5).
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name));
        found.map_or(&[], |attribute| &attribute.values)
    }

    /// Whether a server gave only some values of it (`member;range=0-1499`).
    pub fn is_ranged(&self, name: &str) -> bool {
        let is_part = |attribute: &&Attribute| {
            let (base, options) = attribute.name.split_once(';').unwrap_or((&attribute.name, ""));
            base.eq_ignore_ascii_case(name) && options.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("range="))
        };
        self.attributes.iter().any(|attribute| is_part(&attribute))
    }
}

/// The result of an operation (RFC 4511 section 4.1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// What a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: i32,
    pub(crate) body: Body,
    /// The cookie of the next page; empty: there is none.
    pub(crate) cookie: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Bind(Outcome),
    Extended(Outcome),
    Entry(Entry),
    /// An entry that is elsewhere. It is not followed.
    Reference,
    Done(Outcome),
    /// Nothing that was asked for.
    Other,
}

pub(crate) const SUCCESS: i32 = 0;
pub(crate) const SIZE_LIMIT_EXCEEDED: i32 = 4;
pub(crate) const NO_SUCH_OBJECT: i32 = 32;

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
const START_TLS: &str = "1.3.6.1.4.1.1466.20037";

/// `BindRequest`, simple.
pub(crate) fn bind(id: u32, dn: &str, password: &str) -> Vec<u8> {
    message(id, |out| {
        ber::put_with(out, 0x60, |bind| {
            ber::put_number(bind, ber::INTEGER, 3);
            ber::put(bind, ber::OCTETS, dn.as_bytes());
            ber::put(bind, 0x80, password.as_bytes());
        });
    })
}

/// `ExtendedRequest` for StartTLS (RFC 4511 section 4.14).
pub(crate) fn start_tls(id: u32) -> Vec<u8> {
    message(id, |out| ber::put_with(out, 0x77, |request| ber::put(request, 0x80, START_TLS.as_bytes())))
}

/// `UnbindRequest`.
pub(crate) fn unbind(id: u32) -> Vec<u8> {
    message(id, |out| ber::put(out, 0x42, &[]))
}

/// `SearchRequest` for one page. `None` where a place of the filter cannot be filled.
pub(crate) fn search(id: u32, search: &Search<'_>, seconds: u32, page: Option<(u32, &[u8])>) -> Option<Vec<u8>> {
    let values = |variable| match variable {
        Variable::Id => search.id.map(str::as_bytes),
        Variable::Email => search.email.map(str::as_bytes),
        Variable::Dn => None,
    };
    let filter = match search.names {
        [] => search.filter.encode(&values)?,
        names => search.filter.encode_any(&values, names)?,
    };
    Some(message(id, |out| {
        ber::put_with(out, 0x63, |request| {
            ber::put(request, ber::OCTETS, search.base.as_bytes());
            ber::put_number(request, ber::ENUMERATED, if search.scope == Scope::Base { 0 } else { 2 });
            // Aliases are not followed.
            ber::put_number(request, ber::ENUMERATED, 0);
            ber::put_number(request, ber::INTEGER, 0);
            ber::put_number(request, ber::INTEGER, seconds);
            ber::put(request, ber::BOOLEAN, &[0]);
            request.extend_from_slice(&filter);
            ber::put_with(request, ber::SEQUENCE, |attributes| {
                for name in search.attributes {
                    ber::put(attributes, ber::OCTETS, name.as_bytes());
                }
            });
        });
        if let Some((size, cookie)) = page {
            let mut value = Vec::new();
            ber::put_with(&mut value, ber::SEQUENCE, |value| {
                ber::put_number(value, ber::INTEGER, size);
                ber::put(value, ber::OCTETS, cookie);
            });
            ber::put_with(out, 0xa0, |controls| {
                ber::put_with(controls, ber::SEQUENCE, |control| {
                    ber::put(control, ber::OCTETS, PAGED_RESULTS.as_bytes());
                    ber::put(control, ber::OCTETS, &value);
                });
            });
        }
    }))
}

fn message(id: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put_with(&mut out, ber::SEQUENCE, |message| {
        ber::put_number(message, ber::INTEGER, id);
        write(message);
    });
    out
}

impl Response {
    /// Reads one whole message.
    pub(crate) fn read(octets: &[u8]) -> Result<Self, Malformed> {
        let mut message = Reader::new(octets).within(ber::SEQUENCE)?;
        let id = message.number(ber::INTEGER)?;
        let (tag, content) = message.element()?;
        let content = Reader::new(content);
        let body = match tag {
            0x61 => Body::Bind(outcome(content)?),
            0x78 => Body::Extended(outcome(content)?),
            0x64 => Body::Entry(entry(content)?),
            0x73 => Body::Reference,
            0x65 => Body::Done(outcome(content)?),
            _ => Body::Other,
        };
        let cookie = if message.peek() == Some(0xa0) { cookie(message.within(0xa0)?)? } else { Vec::new() };
        Ok(Self { id, body, cookie })
    }
}

fn outcome(mut content: Reader<'_>) -> Result<Outcome, Malformed> {
    let code = content.number(ber::ENUMERATED)?;
    content.expect(ber::OCTETS)?;
    let text = content.text(ber::OCTETS)?;
    Ok(Outcome { code, text })
}

fn entry(mut content: Reader<'_>) -> Result<Entry, Malformed> {
    let dn = content.expect(ber::OCTETS)?;
    // It is asked for again, so it must be what it is.
    let dn = String::from_utf8(dn.to_vec()).map_err(|_| Malformed)?;
    let mut list = content.within(ber::SEQUENCE)?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = list.within(ber::SEQUENCE)?;
        let name = attribute.text(ber::OCTETS)?;
        let mut set = attribute.within(ber::SET)?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(ber::OCTETS)?.to_vec());
        }
        attributes.push(Attribute { name, values });
    }
    Ok(Entry { dn, attributes })
}

/// The cookie of the paged results among the controls (RFC 2696 section 2).
fn cookie(mut controls: Reader<'_>) -> Result<Vec<u8>, Malformed> {
    while !controls.is_empty() {
        let mut control = controls.within(ber::SEQUENCE)?;
        if control.expect(ber::OCTETS)? != PAGED_RESULTS.as_bytes() {
            continue;
        }
        if control.peek() == Some(ber::BOOLEAN) {
            control.expect(ber::BOOLEAN)?;
        }
        let mut value = Reader::new(control.expect(ber::OCTETS)?).within(ber::SEQUENCE)?;
        value.number(ber::INTEGER)?;
        return value.expect(ber::OCTETS).map(<[u8]>::to_vec);
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_those_of_the_protocol() {
        assert_eq!(bind(1, "cn=a", "pw"), b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
        assert_eq!(unbind(3), b"\x30\x05\x02\x01\x03\x42\x00");
        assert_eq!(start_tls(1), b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037");
        let filter = Filter::parse("(a={id})").unwrap();
        let asked = Search {
            base: "dc=b",
            scope: Scope::Subtree,
            filter: &filter,
            id: Some("x"),
            email: None,
            names: &[],
            attributes: &["cn"],
            limit: 1,
        };
        let expected = b"\x30\x28\x02\x01\x02\x63\x23\x04\x04dc=b\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x05\
                         \x01\x01\x00\xa3\x06\x04\x01a\x04\x01x\x30\x04\x04\x02cn";
        assert_eq!(search(2, &asked, 5, None).unwrap(), expected);
        assert!(
            search(2, &asked, 5, Some((500, b"next")))
                .unwrap()
                .ends_with(b"\x04\x0c\x30\x0a\x02\x02\x01\xf4\x04\x04next")
        );
        assert_eq!(search(2, &Search { id: None, ..asked }, 5, None), None);
    }

    #[test]
    fn answers_are_read_or_refused() {
        let done = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
        let read = Response::read(done).unwrap();
        assert_eq!((read.id, read.body), (2, Body::Done(Outcome { code: 0, text: String::new() })));
        let entry = b"\x30\x19\x02\x01\x02\x64\x14\x04\x03c=a\x30\x0d\x30\x0b\x04\x02CN\x31\x05\x04\x01x\x04\x00";
        let Body::Entry(entry) = Response::read(entry).unwrap().body else { panic!("no entry") };
        assert_eq!((&*entry.dn, entry.values("cn")), ("c=a", &[b"x".to_vec(), Vec::new()][..]));
        assert!(entry.values("c").is_empty());
        for bad in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x03\x02\x01\x02",
            b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x01",
            b"\x30\x0a\x02\x01\x02\x64\x05\x04\x01\xff\x30\x00",
            b"\x30\x05\x02\x01\x02\x65\x00",
            b"\x31\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
        ] {
            assert_eq!(Response::read(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_part_of_the_values_is_noticed() {
        let entry = |name: &str| Entry {
            dn: String::new(),
            attributes: vec![Attribute { name: name.to_owned(), values: Vec::new() }],
        };
        assert!(entry("memberOf;range=0-1499").is_ranged("memberof"));
        assert!(entry("memberOf;Range=0-*").is_ranged("memberOf"));
        assert!(!entry("memberOf").is_ranged("memberOf"));
        assert!(!entry("member;range=0-1").is_ranged("memberOf"));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_malformed(octets in proptest::collection::vec(any::<u8>(), 0..120), at in 0_usize..60, to in any::<u8>()) {
            let _ = Response::read(&octets);
            let mut near = b"\x30\x19\x02\x01\x02\x64\x14\x04\x03c=a\x30\x0d\x30\x0b\x04\x02CN\x31\x05\x04\x01x\x04\x00".to_vec();
            let length = near.len();
            near[at % length] = to;
            let _ = Response::read(&near);
        }
    }
}
