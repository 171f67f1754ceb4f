//! A stand-in for a domain controller of Active Directory, which cannot be had for tests: it speaks as much LDAP as a bind and a
//! search need, and knows what OpenLDAP does not.
//!
//! It knows the matching rules for bits (1.2.840.113556.1.4.803) and for membership in chain (1.2.840.113556.1.4.1941), says
//! 1.2.840.113556.1.4.800 among its `supportedCapabilities`, and gives `memberOf` of direct groups, as the documentation of those rules has
//! it (MS-ADTS 3.1.1.3.4). What a real one does besides (referrals, ranges, its own errors, what it says of the global catalogue) is **not**
//! shown by it.
//!
//! It was written apart from the client that it is asked by, and decodes by itself what it is sent.

#![expect(
    clippy::indexing_slicing,
    reason = "a message that is none ends the thread that serves it, and fails the test"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const BITS: &str = "1.2.840.113556.1.4.803";
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";
const IS_ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// An entry.
#[derive(Debug, Clone)]
pub struct Object {
    dn: String,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Object {
    /// One with this name and nothing else.
    #[must_use]
    pub fn new(dn: &str) -> Self {
        Self { dn: dn.to_owned(), attributes: Vec::new() }
    }

    /// The same with a value more.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        self.with_octets(name, value.as_bytes())
    }

    /// The same with a value more that is no text.
    #[must_use]
    pub fn with_octets(mut self, name: &str, value: &[u8]) -> Self {
        self.attributes.push((name.to_owned(), value.to_vec()));
        self
    }

    fn values<'o>(&'o self, name: &'o str) -> impl Iterator<Item = &'o [u8]> {
        let found = self.attributes.iter().filter(move |(each, _)| each.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }
}

/// A running one. Dropping it stops it.
#[derive(Debug)]
pub struct ActiveDirectory {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dn: String,
    password: String,
    objects: Vec<Object>,
    searches: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl ActiveDirectory {
    /// One with these entries, which this name and password may read.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(dn: &str, password: &str, mut objects: Vec<Object>) -> Self {
        add_member_of(&mut objects);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            dn: dn.to_owned(),
            password: password.to_owned(),
            objects,
            searches: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.stopped.load(Ordering::Acquire) {
                    return;
                }
                let served = Arc::clone(&served);
                thread::spawn(move || serve(&served, stream));
            }
        });
        Self { address, shared }
    }

    /// Where it listens, in plain text.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    /// The filters of all searches so far.
    pub fn searches(&self) -> Vec<String> {
        self.shared.searches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ActiveDirectory {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// `memberOf` is what the members of groups say the other way round.
fn add_member_of(objects: &mut [Object]) {
    let groups: Vec<(String, Vec<String>)> = objects
        .iter()
        .map(|object| {
            (object.dn.clone(), object.values("member").map(|dn| String::from_utf8_lossy(dn).to_lowercase()).collect())
        })
        .collect();
    for object in objects {
        for (group, members) in &groups {
            if members.contains(&object.dn.to_lowercase()) {
                object.attributes.push(("memberOf".to_owned(), group.clone().into_bytes()));
            }
        }
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) {
    let mut is_bound = false;
    while let Some(message) = read_message(&mut stream) {
        let mut parts = elements(&message);
        let (Some((_, id)), Some((tag, body))) = (parts.next(), parts.next()) else { return };
        let answer = match tag {
            0x60 => {
                let mut bind = elements(&body);
                let (dn, password) = (bind.nth(1), bind.next());
                let given =
                    |part: Option<(u8, Vec<u8>)>| part.map(|(_, text)| String::from_utf8_lossy(&text).into_owned());
                is_bound = given(dn).as_ref() == Some(&shared.dn) && given(password).as_ref() == Some(&shared.password);
                reply(&id, 0x61, if is_bound { 0 } else { 49 })
            }
            0x63 => search(shared, &id, &body, is_bound),
            _ => return,
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn search(shared: &Shared, id: &[u8], body: &[u8], is_bound: bool) -> Vec<u8> {
    let parts: Vec<_> = elements(body).collect();
    let base = String::from_utf8_lossy(&parts[0].1).to_lowercase();
    let whole = parts[1].1 == [2];
    let filter = &parts[6];
    let wanted: Vec<String> =
        elements(&parts[7].1).map(|(_, name)| String::from_utf8_lossy(&name).into_owned()).collect();
    let mut out = Vec::new();
    if base.is_empty() && !whole {
        let root = Object::new("").with("supportedCapabilities", IS_ACTIVE_DIRECTORY);
        out.extend(entry(id, &root, &wanted));
        return [out, reply(id, 0x65, 0)].concat();
    }
    shared.searches.lock().unwrap_or_else(PoisonError::into_inner).push(written(filter));
    if !is_bound {
        // "In order to perform this operation a successful bind must be completed": operationsError.
        return reply(id, 0x65, 1);
    }
    for object in &shared.objects {
        let dn = object.dn.to_lowercase();
        let is_there = if whole { dn.ends_with(&base) } else { dn == base };
        if is_there && holds(shared, filter, object) {
            out.extend(entry(id, object, &wanted));
        }
    }
    [out, reply(id, 0x65, 0)].concat()
}

fn holds(shared: &Shared, (tag, content): &(u8, Vec<u8>), object: &Object) -> bool {
    let parts: Vec<_> = elements(content).collect();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match tag {
        0xa0 => parts.iter().all(|part| holds(shared, part, object)),
        0xa1 => parts.iter().any(|part| holds(shared, part, object)),
        0xa2 => !holds(shared, &parts[0], object),
        0xa3 => object.values(&text(&parts[0].1)).any(|value| value.eq_ignore_ascii_case(&parts[1].1)),
        0x87 => text(content).eq_ignore_ascii_case("objectClass") || object.values(&text(content)).next().is_some(),
        0xa9 => {
            let part =
                |tag: u8| parts.iter().find(|(each, _)| *each == tag).map(|(_, value)| text(value)).unwrap_or_default();
            let (rule, attribute, value) = (part(0x81), part(0x82), part(0x83));
            let number = |text: &str| text.parse::<u32>().unwrap_or(0);
            match rule.as_str() {
                BITS => object.values(&attribute).any(|held| number(&text(held)) & number(&value) == number(&value)),
                IN_CHAIN => reaches(shared, object, &attribute, &value.to_lowercase(), &mut BTreeSet::new()),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether the attribute leads there, through as many entries as it takes.
fn reaches(shared: &Shared, object: &Object, attribute: &str, dn: &str, seen: &mut BTreeSet<String>) -> bool {
    if !seen.insert(object.dn.to_lowercase()) {
        return false;
    }
    object.values(attribute).any(|value| {
        let value = String::from_utf8_lossy(value).to_lowercase();
        let next = shared.objects.iter().find(|object| object.dn.to_lowercase() == value);
        value == dn || next.is_some_and(|next| reaches(shared, next, attribute, dn, seen))
    })
}

/// A filter as a person writes it, as far as it is one that this knows.
fn written((tag, content): &(u8, Vec<u8>)) -> String {
    let parts: Vec<_> = elements(content).collect();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let all = || parts.iter().map(written).collect::<String>();
    let part = |tag: u8| parts.iter().find(|(each, _)| *each == tag).map(|(_, value)| text(value)).unwrap_or_default();
    match tag {
        0xa0 => format!("(&{})", all()),
        0xa1 => format!("(|{})", all()),
        0xa2 => format!("(!{})", all()),
        0xa3 => format!("({}={})", text(&parts[0].1), text(&parts[1].1)),
        0x87 => format!("({}=*)", text(content)),
        0xa9 => format!("({}:{}:={})", part(0x82), part(0x81), part(0x83)),
        _ => "(?)".to_owned(),
    }
}

fn entry(id: &[u8], object: &Object, wanted: &[String]) -> Vec<u8> {
    let attributes: Vec<u8> = wanted
        .iter()
        .filter(|name| object.values(name).next().is_some())
        .flat_map(|name| {
            let values: Vec<u8> = object.values(name).flat_map(|value| element(0x04, value)).collect();
            element(0x30, &[element(0x04, name.as_bytes()), element(0x31, &values)].concat())
        })
        .collect();
    let body = [element(0x04, object.dn.as_bytes()), element(0x30, &attributes)].concat();
    element(0x30, &[element(0x02, id), element(0x64, &body)].concat())
}

fn reply(id: &[u8], tag: u8, code: u8) -> Vec<u8> {
    let result = [element(0x0a, &[code]), element(0x04, b""), element(0x04, b"")].concat();
    element(0x30, &[element(0x02, id), element(tag, &result)].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    // Always in four octets, as Active Directory does it.
    let length = u32::try_from(content.len()).expect("a test's message is short").to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

/// The elements of a content, as far as they are whole.
fn elements(content: &[u8]) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let mut rest = content.to_vec();
    std::iter::from_fn(move || {
        let tag = *rest.first()?;
        let first = usize::from(*rest.get(1)?);
        let (start, length) = if first < 0x80 {
            (2, first)
        } else {
            let octets = rest.get(2..2 + (first & 0x7f))?;
            (2 + octets.len(), octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
        };
        let found = rest.get(start..start + length)?.to_vec();
        rest.drain(..start + length);
        Some((tag, found))
    })
}

/// The content of the next message; `None` at the end.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let length = if head[1] < 0x80 {
        usize::from(head[1])
    } else {
        let mut octets = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut octets).ok()?;
        octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
    };
    let mut content = vec![0; length];
    stream.read_exact(&mut content).ok()?;
    Some(content)
}
