//! Lines on a terminal that are drawn over as things change.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::logging::escaped;

/// Lines that move. They are gone when this is dropped.
pub(crate) struct Screen {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing to do about a terminal that cannot be cleared.
        self.all.clear().ok();
    }
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::new(), lines: Vec::new() }
    }

    /// Shows these lines in place of those that are shown.
    pub(crate) fn put(&mut self, texts: Vec<String>) {
        while self.lines.len() < texts.len() {
            // A line that is wider than the terminal would take two, and be drawn over the next.
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

/// A bar of 30 characters, this much of a hundred full.
pub(crate) fn bar(percentage: u32) -> String {
    let full = usize::try_from(percentage.min(100) * 30 / 100).unwrap_or(30);
    format!("[{}{}]", "#".repeat(full), "-".repeat(30 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_things_are_and_never_longer() {
        assert_eq!(bar(0), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(50), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!((bar(100), bar(900)), (format!("[{}]", "#".repeat(30)), bar(100)));
    }
}
