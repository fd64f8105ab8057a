//! Writes the XML of the query protocol's answers.

use std::fmt::{Display, Write as _};

/// A piece of XML.
#[derive(Debug, Default, Clone)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with text.
    pub(super) fn text(&mut self, tag: &str, value: impl Display) -> &mut Self {
        let escaped = escape(&value.to_string());
        self.put(format_args!("<{tag}>{escaped}</{tag}>"))
    }

    /// An element with text, if there is a value.
    pub(super) fn maybe(&mut self, tag: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.text(tag, value),
            None => self,
        }
    }

    /// An element with other elements.
    pub(super) fn within(&mut self, tag: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.put(format_args!("<{tag}>"));
        fill(self);
        self.put(format_args!("</{tag}>"))
    }

    /// An element with one other element, which has text.
    pub(super) fn nested(&mut self, outer: &str, tag: &str, value: impl Display) -> &mut Self {
        self.within(outer, |xml| {
            xml.text(tag, value);
        })
    }

    /// The outermost element.
    pub(super) fn within_namespace(&mut self, tag: &str, namespace: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.put(format_args!("<{tag} xmlns=\"{namespace}\">"));
        fill(self);
        self.put(format_args!("</{tag}>"))
    }

    /// A list with one `member` for each item.
    pub(super) fn list<T>(
        &mut self,
        tag: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.within(tag, |xml| {
            for item in items {
                xml.within("member", |xml| fill(xml, item));
            }
        })
    }

    /// A list of texts.
    pub(super) fn texts<T: Display>(&mut self, tag: &str, items: impl IntoIterator<Item = T>) -> &mut Self {
        self.within(tag, |xml| {
            for item in items {
                xml.text("member", item);
            }
        })
    }

    /// An element with finished XML.
    pub(super) fn raw(&mut self, tag: &str, piece: &Self) -> &mut Self {
        self.put(format_args!("<{tag}>{}</{tag}>", piece.0))
    }

    pub(super) fn finish(self) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.0)
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) -> &mut Self {
        // Writing to a string cannot fail.
        self.0.write_fmt(what).ok();
        self
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut xml = Xml::default();
        xml.list("Names", ["<a>&\"b\""], |xml, name| {
            xml.text("Name", name);
        });
        assert!(xml.finish().ends_with("<Names><member><Name>&lt;a&gt;&amp;&quot;b&quot;</Name></member></Names>"));
    }
}
