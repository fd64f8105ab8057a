//! Saying things: to standard output and standard error, whoever has stopped reading.

use std::io::{IsTerminal, Write};

use super::logging::{escaped, escaped_json};

/// What fits on every terminal.
const COLUMNS: usize = 80;

/// A line on standard output. It stays one whatever is in it: names of jobs and services come from the cluster, and a newline in one
/// would forge a line. A closed pipe must not end a departure in the middle, so nothing comes of an error here.
pub(crate) fn say(line: impl AsRef<str>) {
    say_as_it_is(&escaped(line.as_ref()));
}

/// Text of our own, whatever lines and controls it has.
pub(crate) fn say_as_it_is(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The same in lines that fit on a terminal of 80 columns, broken between words.
pub(crate) fn say_wrapped(text: &str) {
    wrapped("", text, 0).iter().for_each(say);
}

/// A text in lines of 80 columns, broken between words: the first after a head, the others indented.
pub(crate) fn wrapped(head: &str, text: &str, indent: usize) -> Vec<String> {
    wrapped_to(COLUMNS, head, text, indent)
}

/// The same in lines of so many columns.
pub(crate) fn wrapped_to(columns: usize, head: &str, text: &str, indent: usize) -> Vec<String> {
    let (mut lines, mut line, mut empty) = (Vec::new(), head.to_owned(), true);
    for word in text.split_whitespace() {
        if !empty && columns < line.chars().count() + 1 + word.chars().count() {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

/// A complaint on standard error.
pub(crate) fn complain(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "decamp: {}", escaped(line.as_ref()));
}

/// How far something is, on standard error: what a program reads from standard output is not disturbed.
pub(crate) fn tell_progress(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}

/// A value as one line of JSON on standard output.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => say_as_it_is(&escaped_json(&line)),
        Err(error) => complain(format!("cannot write JSON: {error}")),
    }
}

/// Whether a person watches both what is said and how far it is.
pub(crate) fn is_watched() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}
