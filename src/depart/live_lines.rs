//! Lines of a terminal that are redrawn as things change, and that stay on the screen at the end.

use std::io::Write;

use console::Term;

use crate::styled::StyledLine;

/// The assumed rows and columns of a terminal that does not report its size.
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// The lines. Other lines are printed above them.
pub(super) struct LiveLines {
    term: Term,
    /// How many lines are on the screen now.
    drawn: usize,
}

impl LiveLines {
    pub(super) fn new() -> Self {
        Self { term: Term::stdout(), drawn: 0 }
    }

    /// How many columns a line may have. A line of the full width would scroll the terminal, and the next redraw would miss its place.
    pub(super) fn columns(&self) -> usize {
        let (_, columns) = self.term.size_checked().unwrap_or(DEFAULT_SIZE);
        usize::from(columns).saturating_sub(1)
    }

    /// Draws these lines over the present ones. A failed write to the terminal is ignored.
    pub(super) fn draw(&mut self, lines: &[StyledLine]) {
        let (rows, _) = self.term.size_checked().unwrap_or(DEFAULT_SIZE);
        // As many lines as the screen has rows would scroll it as well.
        let (most, width) = (usize::from(rows).saturating_sub(2).max(1), self.columns());
        let mut text = self.clearing();
        for line in lines.iter().take(most) {
            text.push_str(&line.rendered(width));
            text.push('\n');
        }
        self.drawn = lines.len().min(most);
        self.write(&text);
    }

    /// Removes the lines, so that others can be printed in their place.
    pub(super) fn clear(&mut self) {
        let text = self.clearing();
        self.drawn = 0;
        self.write(&text);
    }

    /// Moves the cursor to the first of the lines and clears the screen below it.
    fn clearing(&self) -> String {
        match self.drawn {
            0 => String::new(),
            drawn => format!("\r\u{1b}[{drawn}A\u{1b}[0J"),
        }
    }

    fn write(&mut self, text: &str) {
        let written = self.term.write_all(text.as_bytes()).and_then(|()| self.term.flush());
        drop(written);
    }
}
