//! Coloured lines for a terminal. Without a terminal, with `NO_COLOR` or with `TERM=dumb`, a line is plain text.

use super::logging::escaped;
use super::out::say_raw;

/// What a piece of a line means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text.
    Plain,
    /// A heading.
    Heading,
    /// Done, or correct.
    Good,
    /// In progress.
    InProgress,
    /// A person should look at it.
    Warning,
    /// Wrong.
    Error,
    /// Less important.
    Muted,
}

/// A line in pieces. A piece may hold names from the cluster, so its control characters are escaped when the line is rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StyledLine(Vec<(Style, String)>);

impl StyledLine {
    /// A line of one piece.
    pub(crate) fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// Text without colour.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::of(Style::Plain, text)
    }

    /// The line with another piece at its end.
    pub(crate) fn then(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// The text without colours.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The line with the terminal's colour codes, cut to a width.
    pub(crate) fn rendered(&self, width: usize) -> String {
        let mut left = width;
        let mut rendered = String::new();
        for (style, text) in &self.0 {
            let text: String = escaped(text).chars().take(left).collect();
            left -= text.chars().count();
            rendered.push_str(&terminal_style(*style).apply_to(text).to_string());
        }
        rendered
    }
}

fn terminal_style(style: Style) -> console::Style {
    // `console` checks the terminal and NO_COLOR.
    let plain = console::Style::new();
    match style {
        Style::Plain => plain,
        Style::Heading => plain.bold(),
        Style::Good => plain.green(),
        Style::InProgress => plain.cyan(),
        Style::Warning => plain.yellow(),
        Style::Error => plain.red().bold(),
        Style::Muted => plain.dim(),
    }
}

/// Prints a line on standard output.
pub(crate) fn say_styled(line: &StyledLine) {
    say_raw(&line.rendered(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_and_stays_one_line() {
        let line = StyledLine::plain("ab\ncd").then(Style::Good, "efgh");
        let rendered = line.rendered(usize::MAX);
        assert!(!rendered.contains('\n') && rendered.ends_with("efgh"), "{rendered:?}");
        assert_eq!(StyledLine::plain("abcd").then(Style::Error, "efgh").rendered(6), "abcdef");
    }
}
