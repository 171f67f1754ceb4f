//! A table of comma-separated values (RFC 4180), of which one column is read.

use crate::parse::{Entries, ParseError, place, shown};
use crate::settings::Column;

/// Reads the column of every line that is not empty.
pub(crate) fn parse_csv(text: &str, column: &Column, delimiter: u8, entries: &mut Entries) -> Result<(), ParseError> {
    let mut records = Records { rest: text, line: 1, delimiter };
    let index = match column {
        Column::Number(number) => number.saturating_sub(1),
        Column::Name(name) => {
            let header = records.next_record()?.unwrap_or_default();
            named(&header, name)?
        }
    };
    while let Some(record) = records.next_record()? {
        match record.get(index) {
            Some(field) => {
                let entry = field.value.trim();
                entries.add(entry, || place(field.line, field.column));
            }
            None => {
                let line = record.first().map_or(0, |field| field.line);
                return Err(ParseError::Form(format!("line {line}: there is no column {}", index + 1)));
            }
        }
        if entries.is_full() {
            break;
        }
    }
    Ok(())
}

fn named(header: &[Cell], name: &str) -> Result<usize, ParseError> {
    let mut found = header.iter().enumerate().filter(|(_, field)| field.value.trim() == name).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (Some(_), Some(_)) => Err(ParseError::Form(format!("two columns are named `{}`", shown(name)))),
        (None, _) => Err(ParseError::Form(format!("no column is named `{}`", shown(name)))),
    }
}

struct Cell {
    value: String,
    line: usize,
    column: usize,
}

struct Records<'t> {
    rest: &'t str,
    line: usize,
    delimiter: u8,
}

/// The most columns of a line.
const MAX_COLUMNS: usize = 1_000;

impl Records<'_> {
    /// The next line that is not empty, cut into its fields.
    fn next_record(&mut self) -> Result<Option<Vec<Cell>>, ParseError> {
        while let Some(rest) = self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n")) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (mut record, mut column) = (Vec::new(), 1);
        loop {
            let begin = (self.line, column);
            let (value, width) = if self.rest.starts_with('"') { self.quoted()? } else { self.plain() };
            column += width + 1;
            record.push(Cell { value, line: begin.0, column: begin.1 });
            if record.len() > MAX_COLUMNS {
                return Err(ParseError::Form(format!("line {}: more than {MAX_COLUMNS} columns", self.line)));
            }
            let mut characters = self.rest.chars();
            match characters.next() {
                None => return Ok(Some(record)),
                Some('\r') if characters.as_str().starts_with('\n') || characters.as_str().is_empty() => {
                    self.rest = characters.as_str();
                    if self.rest.is_empty() {
                        return Ok(Some(record));
                    }
                }
                Some('\n') => {}
                Some(character) if u32::from(character) == u32::from(self.delimiter) => {
                    self.rest = characters.as_str();
                    continue;
                }
                Some(_) => {
                    return Err(ParseError::Form(format!("line {}: something follows a closing quote", self.line)));
                }
            }
            self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
            self.line += 1;
            return Ok(Some(record));
        }
    }

    /// A field without quotes, and how many characters it takes.
    fn plain(&mut self) -> (String, usize) {
        let delimiter = char::from(self.delimiter);
        let end = self.rest.find([delimiter, '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        let value = if rest.starts_with(delimiter) { field } else { field.strip_suffix('\r').unwrap_or(field) };
        // The carriage return is part of the line's end.
        self.rest = rest;
        (value.to_owned(), field.chars().count())
    }

    /// A field in quotes, in which two quotes are one.
    fn quoted(&mut self) -> Result<(String, usize), ParseError> {
        let began = self.line;
        let unclosed = || ParseError::Form(format!("line {began}: a quote is not closed"));
        let (mut value, mut width) = (String::new(), 0);
        let mut rest = self.rest.get(1..).unwrap_or_default();
        loop {
            let end = rest.find('"').ok_or_else(unclosed)?;
            let (part, after) = rest.split_at(end);
            value.push_str(part);
            width += part.chars().count() + 2;
            self.line += part.matches('\n').count();
            rest = after.get(1..).unwrap_or_default();
            match rest.strip_prefix('"') {
                Some(more) => {
                    value.push('"');
                    rest = more;
                }
                None => break,
            }
        }
        self.rest = rest;
        Ok((value, width))
    }
}
