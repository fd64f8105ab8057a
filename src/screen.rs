//! Lines on a terminal that are redrawn as things change, and removed at the end.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::logging::escaped;

/// The lines. Dropping this removes them from the terminal.
pub(crate) struct Screen {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that cannot be cleared is no error.
        self.all.clear().ok();
    }
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::new(), lines: Vec::new() }
    }

    /// Replaces the lines on the screen.
    pub(crate) fn put(&mut self, texts: Vec<String>) {
        while self.lines.len() < texts.len() {
            // `wide_msg` cuts a line at the terminal's width. A longer line would take two rows and overlap the next one.
            let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.lines.push(self.all.add(ProgressBar::new_spinner().with_style(style)));
        }
        while texts.len() < self.lines.len() {
            if let Some(line) = self.lines.pop() {
                line.finish_and_clear();
            }
        }
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(escaped(&text).into_owned());
            line.tick();
        }
    }
}

/// A progress bar of 30 characters.
pub(crate) fn bar(percentage: u32) -> String {
    let full = usize::try_from(percentage.min(100) * 30 / 100).unwrap_or(30);
    format!("[{}{}]", "#".repeat(full), "-".repeat(30 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_percentage_and_is_never_longer_than_full() {
        assert_eq!(bar(0), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(50), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!((bar(100), bar(900)), (format!("[{}]", "#".repeat(30)), bar(100)));
    }
}
