//! Prints to standard output and standard error. A closed pipe is no error.

use std::io::{IsTerminal, Write};

use super::logging::{escaped, escaped_json};

/// The width that fits on every terminal.
const COLUMNS: usize = 80;

/// Prints a line on standard output. Control characters are escaped: names of jobs and services come from the cluster, and a newline in
/// a name would forge a line. A closed pipe must not end a departure in the middle, so a failed write is ignored.
pub(crate) fn say(line: impl AsRef<str>) {
    say_raw(&escaped(line.as_ref()));
}

/// Prints decamp's own text without escaping it.
pub(crate) fn say_raw(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a text in lines of at most 80 columns, broken between words.
pub(crate) fn say_wrapped(text: &str) {
    wrapped("", text, 0).iter().for_each(say);
}

/// A text in lines of at most 80 columns, broken between words. The first line begins with `head`, the others are indented.
pub(crate) fn wrapped(head: &str, text: &str, indent: usize) -> Vec<String> {
    wrapped_to(COLUMNS, head, text, indent)
}

/// The same in lines of at most `columns`.
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

/// Prints an error or a warning on standard error.
pub(crate) fn complain(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "decamp: {}", escaped(line.as_ref()));
}

/// Prints progress on standard error, so that standard output holds results only.
pub(crate) fn report_progress(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}

/// Prints a value as one line of JSON on standard output.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => say_raw(&escaped_json(&line)),
        Err(error) => complain(format!("cannot write JSON: {error}")),
    }
}

/// Whether standard output and standard error are both a terminal.
pub(crate) fn is_interactive() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}
