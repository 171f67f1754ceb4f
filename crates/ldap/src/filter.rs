//! Filters of searches (RFC 4515), with places for what a request brings.

use crate::ber;

/// `LDAP_MATCHING_RULE_IN_CHAIN` of Active Directory: an attribute of names, followed through entries of entries.
pub const MATCHING_RULE_IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// The longest text of a filter, in bytes.
const MAX_BYTES: usize = 4_096;
/// How deep it may nest.
const MAX_DEPTH: usize = 16;

/// A place in a filter, written in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `{id}`: the caller's id, without the provider's prefix.
    Id,
    /// `{email}`: the caller's address of mail.
    Email,
    /// `{dn}`: the distinguished name of an entry that was found before.
    Dn,
}

const VARIABLES: [(&str, Variable); 3] = [("id", Variable::Id), ("email", Variable::Email), ("dn", Variable::Dn)];

/// A filter that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: Box<str>,
    root: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    /// Equal, at least, at most, about equal: the tag says which.
    Compare {
        tag: u8,
        attribute: Box<str>,
        value: Value,
    },
    Present(Box<str>),
    Substrings {
        attribute: Box<str>,
        parts: Vec<(u8, Value)>,
    },
    Extensible {
        rule: Option<Box<str>>,
        attribute: Option<Box<str>>,
        value: Value,
        dn: bool,
    },
}

/// Octets and places, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Value(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Octets(Vec<u8>),
    Place(Variable),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterProblem {
    /// It is longer than 4,096 bytes.
    #[error("it is longer than 4,096 bytes")]
    TooLong,
    /// It nests deeper than 16.
    #[error("it nests deeper than 16")]
    TooDeep,
    /// Here, in bytes from the beginning.
    #[error("at byte {0}: {1}")]
    At(usize, &'static str),
    /// An unknown place.
    #[error("there is no `{{{0}}}`: use `{{id}}`, `{{email}}` or `{{dn}}`; a brace itself is `\\7b`")]
    Unknown(String),
}

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const AT_LEAST: u8 = 0xa5;
const AT_MOST: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const ABOUT: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;
/// Of a substring: where it stands.
const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const FINAL: u8 = 0x82;

impl Filter {
    /// Parses a filter. Octets of a value that have a meaning are written `\2a`.
    ///
    /// # Errors
    /// It is none, or it is too long or too deep.
    pub fn parse(text: &str) -> Result<Self, FilterProblem> {
        if text.len() > MAX_BYTES {
            return Err(FilterProblem::TooLong);
        }
        let mut parser = Parser { text: text.as_bytes(), at: 0 };
        let root = parser.filter(0)?;
        if parser.at != text.len() {
            return Err(parser.error("the filter has ended here: put parts together as `(&(…)(…))`"));
        }
        Ok(Self { text: text.into(), root })
    }

    /// Both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let root = Node::And(vec![self.root.clone(), other.root.clone()]);
        Self { text: format!("(&{}{})", self.text, other.text).into(), root }
    }

    /// Whether an attribute equals `{dn}`, the only way in which groups of groups can be followed.
    pub fn follows_dn(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::Compare { tag: EQUAL, value, .. } if value.is_dn()))
    }

    /// Whether it has such a place.
    pub fn uses(&self, variable: Variable) -> bool {
        self.root.any(&|node| node.values().any(|value| value.0.contains(&Piece::Place(variable))))
    }

    /// The attribute that must equal `{id}`, where one alone does and nothing else asks for the id.
    pub fn id_attribute(&self) -> Option<&str> {
        let mut found: Vec<&str> = Vec::new();
        let plain = self.root.equals_id(&mut found);
        let (first, more) = found.split_first()?;
        (plain && more.iter().all(|other| other.eq_ignore_ascii_case(first))).then_some(*first)
    }

    /// The same, where an attribute that equals `{dn}` is followed through groups of groups by the server.
    #[must_use]
    pub fn in_chain(&self) -> Self {
        Self { text: self.text.clone(), root: self.root.in_chain() }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The filter with its places filled, as a message has it. `None` where there is nothing to fill one with.
    pub(crate) fn encode<'v>(&self, values: &impl Fn(Variable) -> Option<&'v [u8]>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.root.encode(values, &mut out)?;
        Some(out)
    }

    /// One of them, each with another `{dn}`.
    pub(crate) fn encode_any<'v>(
        &self,
        values: &impl Fn(Variable) -> Option<&'v [u8]>,
        names: &'v [&'v str],
    ) -> Option<Vec<u8>> {
        let mut alternatives = Vec::new();
        for name in names {
            let with = |variable| match variable {
                Variable::Dn => Some(name.as_bytes()),
                Variable::Id | Variable::Email => values(variable),
            };
            self.root.encode(&with, &mut alternatives)?;
        }
        let mut out = Vec::new();
        ber::put(&mut out, OR, &alternatives);
        Some(out)
    }
}

impl Node {
    fn any(&self, holds: &impl Fn(&Self) -> bool) -> bool {
        holds(self)
            || match self {
                Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.any(holds)),
                Self::Not(part) => part.any(holds),
                Self::Compare { .. } | Self::Present(_) | Self::Substrings { .. } | Self::Extensible { .. } => false,
            }
    }

    /// The values of this part alone.
    fn values(&self) -> impl Iterator<Item = &Value> {
        let (one, many): (Option<&Value>, &[(u8, Value)]) = match self {
            Self::Compare { value, .. } | Self::Extensible { value, .. } => (Some(value), &[]),
            Self::Substrings { parts, .. } => (None, parts),
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::Present(_) => (None, &[]),
        };
        one.into_iter().chain(many.iter().map(|(_, value)| value))
    }

    /// Collects the attributes that equal `{id}`. `false`: the id is asked for otherwise, or by what must not be.
    fn equals_id<'n>(&'n self, found: &mut Vec<&'n str>) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().all(|part| part.equals_id(found)),
            Self::Compare { tag: EQUAL, attribute, value } if value.0 == [Piece::Place(Variable::Id)] => {
                found.push(attribute);
                true
            }
            other => !other.any(&|node| node.values().any(|value| value.0.contains(&Piece::Place(Variable::Id)))),
        }
    }

    fn in_chain(&self) -> Self {
        match self {
            Self::And(parts) => Self::And(parts.iter().map(Self::in_chain).collect()),
            Self::Or(parts) => Self::Or(parts.iter().map(Self::in_chain).collect()),
            Self::Not(part) => Self::Not(Box::new(part.in_chain())),
            Self::Compare { tag: EQUAL, attribute, value } if value.is_dn() => Self::Extensible {
                rule: Some(MATCHING_RULE_IN_CHAIN.into()),
                attribute: Some(attribute.clone()),
                value: value.clone(),
                dn: false,
            },
            Self::Compare { .. } | Self::Present(_) | Self::Substrings { .. } | Self::Extensible { .. } => self.clone(),
        }
    }

    /// As deep as the parser let it be.
    fn encode<'v>(&self, values: &impl Fn(Variable) -> Option<&'v [u8]>, out: &mut Vec<u8>) -> Option<()> {
        let mut content = Vec::new();
        let tag = match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.encode(values, &mut content)?;
                }
                if matches!(self, Self::And(_)) { AND } else { OR }
            }
            Self::Not(part) => {
                part.encode(values, &mut content)?;
                NOT
            }
            Self::Compare { tag, attribute, value } => {
                ber::put(&mut content, ber::OCTETS, attribute.as_bytes());
                ber::put(&mut content, ber::OCTETS, &value.fill(values)?);
                *tag
            }
            Self::Present(attribute) => {
                content.extend_from_slice(attribute.as_bytes());
                PRESENT
            }
            Self::Substrings { attribute, parts } => {
                ber::put(&mut content, ber::OCTETS, attribute.as_bytes());
                let mut encoded = Vec::new();
                for (place, value) in parts {
                    ber::put(&mut encoded, *place, &value.fill(values)?);
                }
                ber::put(&mut content, ber::SEQUENCE, &encoded);
                SUBSTRINGS
            }
            Self::Extensible { rule, attribute, value, dn } => {
                if let Some(rule) = rule {
                    ber::put(&mut content, 0x81, rule.as_bytes());
                }
                if let Some(attribute) = attribute {
                    ber::put(&mut content, 0x82, attribute.as_bytes());
                }
                ber::put(&mut content, 0x83, &value.fill(values)?);
                if *dn {
                    ber::put(&mut content, 0x84, &[0xff]);
                }
                EXTENSIBLE
            }
        };
        ber::put(out, tag, &content);
        Some(())
    }
}

impl Value {
    fn is_dn(&self) -> bool {
        self.0 == [Piece::Place(Variable::Dn)]
    }

    fn fill<'v>(&self, values: &impl Fn(Variable) -> Option<&'v [u8]>) -> Option<Vec<u8>> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Octets(octets) => filled.extend_from_slice(octets),
                Piece::Place(variable) => filled.extend_from_slice(values(*variable)?),
            }
        }
        Some(filled)
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> FilterProblem {
        FilterProblem::At(self.at, what)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        self.at += usize::from(found);
        found
    }

    fn filter(&mut self, depth: usize) -> Result<Node, FilterProblem> {
        if depth > MAX_DEPTH {
            return Err(FilterProblem::TooDeep);
        }
        if !self.eat(b'(') {
            return Err(self.error("expected `(`"));
        }
        let node = match self.peek() {
            Some(kind @ (b'&' | b'|')) => {
                self.at += 1;
                let mut parts = Vec::new();
                while self.peek() == Some(b'(') {
                    parts.push(self.filter(depth + 1)?);
                }
                if parts.is_empty() {
                    return Err(self.error("`&` and `|` stand before at least one part"));
                }
                if kind == b'&' { Node::And(parts) } else { Node::Or(parts) }
            }
            Some(b'!') => {
                self.at += 1;
                Node::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        if self.eat(b')') { Ok(node) } else { Err(self.error("expected `)`")) }
    }

    fn item(&mut self) -> Result<Node, FilterProblem> {
        let attribute = self.description();
        let required = |parser: &Self| {
            if attribute.is_empty() { Err(parser.error("expected an attribute")) } else { Ok(attribute.clone()) }
        };
        if self.peek() == Some(b':') {
            return self.extensible(attribute);
        }
        let tag = match self.peek() {
            Some(b'=') => EQUAL,
            Some(b'>') => AT_LEAST,
            Some(b'<') => AT_MOST,
            Some(b'~') => ABOUT,
            _ => return Err(self.error("expected `=`, `>=`, `<=`, `~=` or `:`")),
        };
        let attribute = required(self)?;
        self.at += 1;
        if tag != EQUAL && !self.eat(b'=') {
            return Err(self.error("expected `=`"));
        }
        let mut values = vec![self.value()?];
        while tag == EQUAL && self.eat(b'*') {
            values.push(self.value()?);
        }
        match values.as_slice() {
            [_] => Ok(Node::Compare { tag, attribute, value: values.swap_remove(0) }),
            [first, last] if first.0.is_empty() && last.0.is_empty() => Ok(Node::Present(attribute)),
            _ => {
                let last = values.len() - 1;
                let place = |index| {
                    if index == 0 {
                        INITIAL
                    } else if index == last {
                        FINAL
                    } else {
                        ANY
                    }
                };
                let parts = values.into_iter().enumerate().map(|(index, value)| (place(index), value));
                let parts: Vec<_> = parts.filter(|(_, value)| !value.0.is_empty()).collect();
                if parts.is_empty() {
                    return Err(self.error("`*` stands between parts of a value, or alone"));
                }
                Ok(Node::Substrings { attribute, parts })
            }
        }
    }

    /// `attr:dn:rule:=value` (RFC 4515 section 3).
    fn extensible(&mut self, attribute: Box<str>) -> Result<Node, FilterProblem> {
        self.at += 1;
        let mut rule = None;
        let mut dn = false;
        while !self.eat(b'=') {
            let word = self.description();
            match (&*word, rule.is_some()) {
                ("dn", false) if !dn => dn = true,
                ("", _) | (_, true) => return Err(self.error("expected `:=`")),
                (_, false) => rule = Some(word),
            }
            if !self.eat(b':') {
                return Err(self.error("expected `:`"));
            }
        }
        if attribute.is_empty() && rule.is_none() {
            return Err(self.error("expected an attribute or a rule"));
        }
        let value = self.value()?;
        Ok(Node::Extensible { rule, attribute: (!attribute.is_empty()).then_some(attribute), value, dn })
    }

    /// An attribute with options, or an object identifier (RFC 4512 section 2.5).
    fn description(&mut self) -> Box<str> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_part = |octet: &&u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b';' | b'_');
        let length = rest.iter().take_while(is_part).count();
        self.at += length;
        rest.get(..length).unwrap_or_default().iter().map(|octet| char::from(*octet)).collect::<String>().into()
    }

    fn value(&mut self) -> Result<Value, FilterProblem> {
        let mut pieces = Vec::new();
        let mut octets = Vec::new();
        while let Some(octet) = self.peek() {
            match octet {
                b')' | b'*' => break,
                b'(' | 0 => return Err(self.error("write this octet of a value as `\\28`, its number in hexadecimal")),
                b'\\' => {
                    let digits =
                        self.text.get(self.at + 1..self.at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
                    let octet = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                    let octet = octet.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    octets.push(octet.ok_or_else(|| self.error("`\\` stands before two hexadecimal digits"))?);
                    self.at += 3;
                }
                b'{' => {
                    let rest = self.text.get(self.at + 1..).unwrap_or_default();
                    let length = rest.iter().position(|octet| *octet == b'}');
                    let length = length.ok_or_else(|| self.error("`{` without `}`; a brace itself is `\\7b`"))?;
                    let name = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned();
                    let known = VARIABLES.iter().find(|(word, _)| *word == name);
                    let (_, variable) = known.ok_or(FilterProblem::Unknown(name))?;
                    if !octets.is_empty() {
                        pieces.push(Piece::Octets(std::mem::take(&mut octets)));
                    }
                    pieces.push(Piece::Place(*variable));
                    self.at += length + 2;
                }
                octet => {
                    octets.push(octet);
                    self.at += 1;
                }
            }
        }
        if !octets.is_empty() {
            pieces.push(Piece::Octets(octets));
        }
        Ok(Value(pieces))
    }
}

#[cfg(test)]
mod tests;
