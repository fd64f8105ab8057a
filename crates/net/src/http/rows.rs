//! Reads a JSON list row by row while it arrives, so that a long list needs no memory.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::answer::{Sink, read_json};
use super::failure::RequestFailure;

/// The longest row. Nomad itself refuses jobs of more than a few megabytes.
const LONGEST_ROW: usize = 8 * 1024 * 1024;

/// The position of the reader in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before its `[`.
    Start,
    /// Before a row, or the end if there is none.
    First,
    /// Before a row.
    Row,
    /// In a row, at this depth of brackets.
    In(usize),
    /// After a row.
    Between,
    /// After its `]`.
    End,
}

/// Reads a list of objects, and passes each to a function.
pub struct Rows<T, F> {
    at: Position,
    /// Whether the position is in a string, and whether the last byte there was a backslash.
    text: bool,
    escaped: bool,
    row: Vec<u8>,
    bytes: usize,
    largest: usize,
    each: F,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned, F: FnMut(Option<T>) -> Result<(), RequestFailure> + Send> Rows<T, F> {
    /// Passes each row of a list of at most `largest` bytes to `each`. `None` says that a list begins, or begins again.
    pub fn new(largest: usize, each: F) -> Self {
        Self { at: Position::Start, text: false, escaped: false, row: Vec::new(), bytes: 0, largest, each, of: PhantomData }
    }

    fn malformed(&self) -> RequestFailure {
        RequestFailure::Nonsense(format!("answered something that is no list of objects, after {} bytes", self.bytes).into())
    }

    /// How many of these bytes belong to the current row, and whether the row ends with them.
    fn rest_of_row(&mut self, piece: &[u8], mut depth: usize) -> (usize, bool) {
        for (place, byte) in piece.iter().enumerate() {
            if self.text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.text = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return (place + 1, true);
            }
        }
        self.at = Position::In(depth);
        (piece.len(), false)
    }
}

impl<T: DeserializeOwned, F: FnMut(Option<T>) -> Result<(), RequestFailure> + Send> Sink for Rows<T, F> {
    fn begin(&mut self) {
        (self.at, self.text, self.escaped, self.bytes) = (Position::Start, false, false, 0);
        self.row.clear();
        // The function only discards the rows of an answer that broke off.
        let _ = (self.each)(None);
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<(), RequestFailure> {
        self.bytes += piece.len();
        if self.largest < self.bytes {
            return Err(RequestFailure::too_large(self.largest));
        }
        while let Some(&byte) = piece.first() {
            if let Position::In(depth) = self.at {
                let (length, ends) = self.rest_of_row(piece, depth);
                if LONGEST_ROW < self.row.len() + length {
                    return Err(RequestFailure::Nonsense(format!("listed a row of more than {LONGEST_ROW} bytes").into()));
                }
                self.row.extend_from_slice(&piece[..length]);
                piece = &piece[length..];
                if ends {
                    self.at = Position::Between;
                    let row = read_json(&self.row)?;
                    self.row.clear();
                    (self.each)(Some(row))?;
                }
                continue;
            }
            match (self.at, byte) {
                (_, b' ' | b'\n' | b'\r' | b'\t') => {}
                (Position::Start, b'[') => self.at = Position::First,
                // The row's opening bracket is read as part of the row.
                (Position::First | Position::Row, b'{') => {
                    self.at = Position::In(0);
                    continue;
                }
                (Position::First | Position::Between, b']') => self.at = Position::End,
                (Position::Between, b',') => self.at = Position::Row,
                _ => return Err(self.malformed()),
            }
            piece = &piece[1..];
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), RequestFailure> {
        if self.at == Position::End { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The rows of a text that arrives in pieces of `size` bytes.
    fn rows(text: &[u8], size: usize, largest: usize) -> Result<Vec<Value>, RequestFailure> {
        let mut all = Vec::new();
        let mut reader = Rows::new(largest, |row: Option<Value>| {
            match row {
                None => all.clear(),
                Some(row) => all.push(row),
            }
            Ok(())
        });
        reader.begin();
        for piece in text.chunks(size) {
            reader.take(piece)?;
        }
        reader.end()?;
        Ok(all)
    }

    #[test]
    fn a_list_is_read_the_same_wherever_it_is_cut() {
        let all = [
            json!([]),
            json!([{ "a": 1 }]),
            json!([{ "a": "}],[{\\" }, { "b": "\"" }, { "c": { "d": ["]", { "e": null }] } }, {}]),
        ];
        for list in all {
            for text in [list.to_string(), serde_json::to_string_pretty(&list).expect("it is JSON")] {
                for size in 1..=text.len() {
                    assert_eq!(rows(text.as_bytes(), size, 1_000).map(Value::from), Ok(list.clone()), "{text} by {size}");
                }
            }
        }
    }

    #[test]
    fn an_incomplete_or_malformed_list_is_refused() {
        for text in ["", "null", "{}", "[", "[{}", "[{},", "[{},]", "[1]", "[{}]]", "[{}] {}", "[{\"a\"}]", "[{]}", "[,{}]"] {
            assert!(matches!(rows(text.as_bytes(), 3, 1_000), Err(RequestFailure::Nonsense(_))), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let list = Value::from(vec![json!({ "a": 1 }); 100]).to_string();
        assert!(matches!(rows(list.as_bytes(), 16, list.len() - 1), Err(RequestFailure::TooLarge(_))));
        assert_eq!(rows(list.as_bytes(), 16, list.len()).map(|rows| rows.len()), Ok(100));
    }
}
