//! A JSON list that is read row by row while it arrives, so that its length costs no memory.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::answer::{Sink, read_json};
use super::failure::Failure;

/// No row is longer: Nomad itself refuses jobs of more than a few megabytes.
const LONGEST_ROW: usize = 8 * 1024 * 1024;

/// Where in the list the reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before its `[`.
    Start,
    /// Before a row, or the end if there is none.
    First,
    /// Before a row.
    Row,
    /// In a row, so many brackets deep.
    In(usize),
    /// After a row.
    Between,
    /// After its `]`.
    End,
}

/// Reads a list of objects, and hands over each.
pub struct Rows<T, F> {
    at: At,
    /// In a string; and the last byte was a backslash there.
    text: bool,
    escaped: bool,
    row: Vec<u8>,
    bytes: usize,
    largest: usize,
    each: F,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned, F: FnMut(Option<T>) -> Result<(), Failure> + Send> Rows<T, F> {
    /// Hands over each row of a list of at most `largest` bytes. `None` says that a list begins, perhaps anew.
    pub fn new(largest: usize, each: F) -> Self {
        Self { at: At::Start, text: false, escaped: false, row: Vec::new(), bytes: 0, largest, each, of: PhantomData }
    }

    fn nonsense(&self) -> Failure {
        Failure::Nonsense(format!("answered something that is no list of objects, after {} bytes", self.bytes).into())
    }

    /// How many of these bytes belong to the row that was begun, and whether it ends with them.
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
        self.at = At::In(depth);
        (piece.len(), false)
    }
}

impl<T: DeserializeOwned, F: FnMut(Option<T>) -> Result<(), Failure> + Send> Sink for Rows<T, F> {
    fn begin(&mut self) {
        (self.at, self.text, self.escaped, self.bytes) = (At::Start, false, false, 0);
        self.row.clear();
        // It only forgets what it took in of an answer that broke off.
        let _ = (self.each)(None);
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<(), Failure> {
        self.bytes += piece.len();
        if self.largest < self.bytes {
            return Err(Failure::too_large(self.largest));
        }
        while let Some(&byte) = piece.first() {
            if let At::In(depth) = self.at {
                let (length, ends) = self.rest_of_row(piece, depth);
                if LONGEST_ROW < self.row.len() + length {
                    return Err(Failure::Nonsense(format!("listed a row of more than {LONGEST_ROW} bytes").into()));
                }
                self.row.extend_from_slice(&piece[..length]);
                piece = &piece[length..];
                if ends {
                    self.at = At::Between;
                    let row = read_json(&self.row)?;
                    self.row.clear();
                    (self.each)(Some(row))?;
                }
                continue;
            }
            match (self.at, byte) {
                (_, b' ' | b'\n' | b'\r' | b'\t') => {}
                (At::Start, b'[') => self.at = At::First,
                // The row's own bracket is read with it.
                (At::First | At::Row, b'{') => {
                    self.at = At::In(0);
                    continue;
                }
                (At::First | At::Between, b']') => self.at = At::End,
                (At::Between, b',') => self.at = At::Row,
                _ => return Err(self.nonsense()),
            }
            piece = &piece[1..];
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.at == At::End { Ok(()) } else { Err(self.nonsense()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The rows of a text that arrives in pieces of so many bytes.
    fn rows(text: &[u8], size: usize, largest: usize) -> Result<Vec<Value>, Failure> {
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
    fn what_is_no_whole_list_is_none() {
        for text in ["", "null", "{}", "[", "[{}", "[{},", "[{},]", "[1]", "[{}]]", "[{}] {}", "[{\"a\"}]", "[{]}", "[,{}]"] {
            assert!(matches!(rows(text.as_bytes(), 3, 1_000), Err(Failure::Nonsense(_))), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_given_up() {
        let list = Value::from(vec![json!({ "a": 1 }); 100]).to_string();
        assert!(matches!(rows(list.as_bytes(), 16, list.len() - 1), Err(Failure::TooLarge(_))));
        assert_eq!(rows(list.as_bytes(), 16, list.len()).map(|rows| rows.len()), Ok(100));
    }
}
