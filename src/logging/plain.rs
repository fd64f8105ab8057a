//! Lines of text in which no control character is written as it is: a name from the cluster may hold a newline, and would forge a line.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Makes writers of another kind write plain lines.
#[derive(Debug, Clone)]
pub(super) struct Plain<M>(pub(super) M);

/// A writer whose every call is one line: that is how tracing's formatter writes.
#[derive(Debug)]
pub(super) struct Lines<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Plain<M> {
    type Writer = Lines<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines(self.0.make_writer())
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(plain(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with every control character but its last newline escaped.
fn plain(line: &str) -> Cow<'_, str> {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    if !text.contains(is_control) {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len() + 16);
    for letter in text.chars() {
        if is_control(letter) {
            // A string takes whatever is written.
            write!(plain, "{}", letter.escape_default()).ok();
        } else {
            plain.push(letter);
        }
    }
    plain.push_str(end);
    Cow::Owned(plain)
}

/// Whether a terminal or a viewer would do something else than show it: controls, separators of lines, and what turns the direction.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_forge_a_line_is_escaped_and_all_else_is_as_it_was() {
        assert_eq!(plain("INFO a job of Zürich is left\n"), "INFO a job of Zürich is left\n");
        assert_eq!(plain("job web\nINFO all is well\n"), "job web\\nINFO all is well\n");
        assert_eq!(plain("a\r\u{1b}[2J\t\u{7f}\u{9b}\0b\n"), "a\\r\\u{1b}[2J\\t\\u{7f}\\u{9b}\\u{0}b\n");
        assert_eq!(plain("\u{202e}c\u{2028}d"), "\\u{202e}c\\u{2028}d");
    }

    #[test]
    fn one_line_of_the_log_is_one_line_whatever_is_in_it() {
        let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = std::sync::Arc::clone(&written);
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(Plain(move || Sink(std::sync::Arc::clone(&sink))));
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
