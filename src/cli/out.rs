//! Saying things: to standard output and standard error, whoever has stopped reading.

use std::io::{IsTerminal, Write};

/// A line on standard output. A closed pipe must not end a departure in the middle, so nothing comes of an error here.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout().lock(), "{}", line.as_ref());
}

/// A complaint on standard error.
pub(crate) fn complain(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "decamp: {}", line.as_ref());
}

/// A value as one line of JSON on standard output.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => say(line),
        Err(error) => complain(format!("cannot write JSON: {error}")),
    }
}

/// Whether a person watches both what is said and how far it is.
pub(crate) fn is_watched() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}
