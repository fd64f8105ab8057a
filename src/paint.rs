//! Colour on a terminal: off one, with `NO_COLOR` or with `TERM=dumb`, a line is its text alone.

use console::Style;

use super::logging::escaped;
use super::out::say_as_it_is;

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hue {
    /// Text.
    Plain,
    /// A heading.
    Strong,
    /// Done, or as it should be.
    Good,
    /// Under way.
    Busy,
    /// To be looked at.
    Doubt,
    /// Wrong.
    Bad,
    /// Beside the point.
    Faint,
}

/// A line in pieces. What is in it may come from the cluster: its control characters are escaped where it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Hue, String)>);

impl Line {
    /// A line of one piece.
    pub(crate) fn of(hue: Hue, text: impl Into<String>) -> Self {
        Self(vec![(hue, text.into())])
    }

    /// Text without colour.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::of(Hue::Plain, text)
    }

    /// The line with another piece at its end.
    pub(crate) fn then(mut self, hue: Hue, text: impl Into<String>) -> Self {
        self.0.push((hue, text.into()));
        self
    }

    /// Its text alone.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// As a terminal shows it, cut to a width.
    pub(crate) fn painted(&self, width: usize) -> String {
        let mut left = width;
        let mut painted = String::new();
        for (hue, text) in &self.0 {
            let text: String = escaped(text).chars().take(left).collect();
            left -= text.chars().count();
            painted.push_str(&style(*hue).apply_to(text).to_string());
        }
        painted
    }
}

fn style(hue: Hue) -> Style {
    // `console` asks the terminal and NO_COLOR whether colour is wanted.
    let style = Style::new();
    match hue {
        Hue::Plain => style,
        Hue::Strong => style.bold(),
        Hue::Good => style.green(),
        Hue::Busy => style.cyan(),
        Hue::Doubt => style.yellow(),
        Hue::Bad => style.red().bold(),
        Hue::Faint => style.dim(),
    }
}

/// A line on standard output.
pub(crate) fn say_line(line: &Line) {
    say_as_it_is(&line.painted(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_and_forges_no_other() {
        let line = Line::plain("ab\ncd").then(Hue::Good, "efgh");
        let painted = line.painted(usize::MAX);
        assert!(!painted.contains('\n') && painted.ends_with("efgh"), "{painted:?}");
        assert_eq!(Line::plain("abcd").then(Hue::Bad, "efgh").painted(6), "abcdef");
    }
}
