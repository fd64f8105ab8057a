//! Escapes control characters in log lines: a name from the cluster may hold a newline, which would forge a line.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Makes the writers of another kind escape control characters.
#[derive(Debug, Clone)]
pub(super) struct Escaping<M>(pub(super) M);

/// A writer that takes one line per call, as tracing's formatter writes.
#[derive(Debug)]
pub(super) struct Lines<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaping<M> {
    type Writer = Lines<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(self.0.make_writer())
    }

    /// The inner writer may filter lines, so it is made for each line.
    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        Lines(self.0.make_writer_for(line))
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped_line(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with every control character escaped, except its final newline.
fn escaped_line(line: &str) -> Cow<'_, str> {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    match escaped(text) {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(text) => Cow::Owned(text + end),
    }
}

/// The text with every control character escaped, so that it stays one line and moves no cursor.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_by(text, |letter, out| write!(out, "{}", letter.escape_default()).ok())
}

/// The same for a line of JSON, in whose strings JSON allows some control characters.
pub(crate) fn escaped_json(line: &str) -> Cow<'_, str> {
    // Every escaped character is below U+10000, so it is one unit of UTF-16.
    escaped_by(line, |letter, out| write!(out, "\\u{:04x}", u32::from(letter)).ok())
}

fn escaped_by(text: &str, escape: impl Fn(char, &mut String) -> Option<()>) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_control(letter) {
            // Writing to a string cannot fail.
            let _ = escape(letter, &mut out);
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal or a viewer would act on it instead of showing it: controls, line separators and changes of the writing direction.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_text_is_unchanged() {
        assert_eq!(escaped_line("INFO a job of Zürich is left\n"), "INFO a job of Zürich is left\n");
        assert_eq!(escaped_line("job web\nINFO all is well\n"), "job web\\nINFO all is well\n");
        assert_eq!(escaped_line("a\r\u{1b}[2J\t\u{7f}\u{9b}\0b\n"), "a\\r\\u{1b}[2J\\t\\u{7f}\\u{9b}\\u{0}b\n");
        assert_eq!(escaped_line("\u{202e}c\u{2028}d"), "\\u{202e}c\\u{2028}d");
    }

    #[test]
    fn an_escaped_line_of_json_has_the_same_value() {
        let value = serde_json::json!({ "job": "web\n\u{9b}2J\u{202e}gpj\u{7f}" });
        let line = value.to_string();
        let escaped = escaped_json(&line);
        assert!(escaped.is_ascii(), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("it is JSON"), value);
    }

    #[test]
    fn a_newline_in_a_field_forges_no_line_of_the_log() {
        let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = std::sync::Arc::clone(&written);
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(Escaping(move || Sink(std::sync::Arc::clone(&sink))));
        tracing::subscriber::with_default(subscriber.finish(), || {
            tracing::info!(job = %"web\n2026-01-01T00:00:00Z  INFO forged", "drain, because of {}", "web\nforged");
        });
        let text = String::from_utf8(written.lock().expect("nobody panicked").clone()).expect("it is text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("web\\nforged job=web\\n2026"), "{text}");
    }

    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
