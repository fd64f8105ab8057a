//! Lines of a terminal that are drawn over as things change, and that stay when nothing changes any more.

use std::io::Write;

use console::Term;

use crate::paint::Line;

/// What a terminal is taken to have that does not say how large it is.
const USUAL: (u16, u16) = (24, 80);

/// The lines. Others are said above them.
pub(super) struct Board {
    term: Term,
    /// How many lines are drawn now.
    drawn: usize,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { term: Term::stdout(), drawn: 0 }
    }

    /// How many columns a line may have: one of the full width would scroll, and be drawn once more below.
    pub(super) fn columns(&self) -> usize {
        let (_, columns) = self.term.size_checked().unwrap_or(USUAL);
        usize::from(columns).saturating_sub(1)
    }

    /// Draws these lines over those that are there. A terminal that cannot be written to shows nothing, and is no reason to stop.
    pub(super) fn draw(&mut self, lines: &[Line]) {
        let (rows, _) = self.term.size_checked().unwrap_or(USUAL);
        // So would a list as high as the screen.
        let (most, width) = (usize::from(rows).saturating_sub(2).max(1), self.columns());
        let mut text = self.clearing();
        for line in lines.iter().take(most) {
            text.push_str(&line.painted(width));
            text.push('\n');
        }
        self.drawn = lines.len().min(most);
        self.write(&text);
    }

    /// Takes the lines away, so that others can be said where they were.
    pub(super) fn clear(&mut self) {
        let text = self.clearing();
        self.drawn = 0;
        self.write(&text);
    }

    /// To the first of the lines, and clear what is below.
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
