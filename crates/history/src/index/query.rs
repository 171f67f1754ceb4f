//! What a filter wants, out of the index.

use std::net::IpAddr;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use uuid::Uuid;

use super::by_number::{ByNumber, Row as EventRow};
use super::{Index, IndexError, What, address_bytes, signed, unsigned};
use crate::facts::{Order, REFUSAL};
use crate::filter::{Filter, matches};

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file's number in the index.
    pub(crate) file: i64,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

/// The condition of a query.
struct Where {
    text: String,
    values: Vec<Value>,
}

/// The kinds of principals, each of which an id alone may mean.
const KINDS: [&str; 4] = ["user", "service", "certificate", "operator"];

impl Index {
    /// The newest `limit` events of these files that the filter wants and that are older than `before`, each with what it is ordered by; and how many it wants.
    pub(crate) fn newest(
        &self,
        files: &[i64],
        filter: &Filter,
        limit: usize,
        before: Option<Order>,
    ) -> Result<(Vec<(Order, Place)>, u64), IndexError> {
        let Some(mut condition) = self.condition(files, filter)? else { return Ok((Vec::new(), 0)) };
        if let Some((time_us, seq, id)) = before {
            condition.text = format!("{} AND (time, seq, id) < (?, ?, ?)", condition.text);
            let values = [Value::Integer(time_us), Value::Integer(signed(seq)), Value::Blob(id.as_bytes().to_vec())];
            condition.values.extend(values);
        }
        let count = format!("SELECT count(*) FROM event WHERE {}", condition.text);
        let events = self.db.query_row(&count, params_from_iter(&condition.values), |row| row.get(0)).map(unsigned)?;
        let query = format!(
            "SELECT time, seq, id, file, offset, length FROM event WHERE {} ORDER BY time DESC, seq DESC, id DESC LIMIT {limit}",
            condition.text
        );
        let mut statement = self.db.prepare(&query)?;
        let place = |row: &Row<'_>| {
            let id = Uuid::from_slice(&row.get::<_, Vec<u8>>(2)?).unwrap_or_default();
            let place = Place {
                file: row.get(3)?,
                offset: unsigned(row.get(4)?),
                length: usize::try_from(row.get::<_, i64>(5)?).unwrap_or_default(),
            };
            Ok(((row.get(0)?, unsigned(row.get(1)?), id), place))
        };
        let hits = statement.query_map(params_from_iter(&condition.values), place)?.collect::<Result<_, _>>()?;
        Ok((hits, events))
    }

    /// Counts each event of these files that the filter wants.
    pub(super) fn each(&self, files: &[i64], filter: &Filter, counted: &mut ByNumber) -> Result<(), IndexError> {
        let Some(condition) = self.condition(files, filter)? else { return Ok(()) };
        let query = format!("SELECT time, kind, reason, route, principal, address FROM event WHERE {}", condition.text);
        let mut statement = self.db.prepare(&query)?;
        let mut rows = statement.query(params_from_iter(&condition.values))?;
        while let Some(row) = rows.next()? {
            counted.event(&EventRow {
                time_us: row.get(0)?,
                kind: row.get(1)?,
                reason: row.get(2)?,
                route: row.get(3)?,
                principal: row.get(4)?,
                address: row.get(5)?,
            });
        }
        Ok(())
    }

    /// `None`: nothing can fit.
    fn condition(&self, files: &[i64], filter: &Filter) -> Result<Option<Where>, IndexError> {
        let mut parts = vec![list("file", files)];
        let mut values = Vec::new();
        let since = filter.since.map_or(i64::MIN, |since| since.as_microsecond()).max(self.pruned_before);
        if since > i64::MIN {
            parts.push(format!("time >= {since}"));
        }
        if let Some(until) = filter.until {
            parts.push(format!("time < {}", until.as_microsecond()));
        }
        if let Some(id) = filter.id {
            parts.push("id = ?".to_owned());
            values.push(Value::Blob(id.as_bytes().to_vec()));
        }
        if filter.refusals {
            parts.push(self.one_of("kind", What::Kind, |kind| kind == REFUSAL)?);
        }
        if let Some(reason) = &filter.reason {
            parts.push(self.one_of("reason", What::Reason, |found| matches(reason, found))?);
        }
        if let Some(route) = &filter.route {
            parts.push(self.one_of("route", What::Route, |found| found == route)?);
        }
        if let Some(principal) = &filter.principal {
            let names = KINDS.map(|kind| format!("{kind}:{principal}"));
            let names: Vec<&str> = names.iter().map(String::as_str).chain([principal.as_str()]).collect();
            let marks = vec!["?"; names.len()].join(",");
            parts.push(format!(
                "principal IN (SELECT id FROM word WHERE what = {} AND text IN ({marks}))",
                What::Principal as i64
            ));
            values.extend(names.into_iter().map(|name| Value::Text(name.to_owned())));
        }
        if let Some(network) = filter.network {
            // An IPv6 network holds no IPv4 address, whatever its prefix: those stand in a place of their own.
            let (first, last) = (address_bytes(network.network()), address_bytes(network.broadcast()));
            parts.push("address BETWEEN ? AND ?".to_owned());
            values.extend([Value::Blob(first.to_vec()), Value::Blob(last.to_vec())]);
            if matches!(network, ipnet::IpNet::V6(_)) {
                let (first, last) = ([0, 0, 0, 0], [255, 255, 255, 255]);
                parts.push("address NOT BETWEEN ? AND ?".to_owned());
                let mapped = |v4: [u8; 4]| Value::Blob(address_bytes(IpAddr::from(v4)).to_vec());
                values.extend([mapped(first), mapped(last)]);
            }
        }
        Ok((!files.is_empty()).then(|| Where { text: parts.join(" AND "), values }))
    }

    fn one_of(&self, column: &str, what: What, fits: impl Fn(&str) -> bool) -> Result<String, IndexError> {
        let words = self.words(what)?;
        let mut fitting: Vec<i64> = words.iter().filter(|(_, text)| fits(text)).map(|(id, _)| *id).collect();
        fitting.sort_unstable();
        Ok(list(column, &fitting))
    }
}

/// A column that is one of these numbers.
fn list(column: &str, numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("{column} IN ({})", numbers.join(","))
}
