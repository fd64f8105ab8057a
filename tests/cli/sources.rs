//! Reads doc comments from the sources for the generated reference pages.

use std::fs;
use std::path::Path;

/// A file of the repository.
pub(super) fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// An item and the doc comment above it, as one paragraph.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Documented {
    pub(super) name: String,
    pub(super) doc: String,
}

/// The variants of an enum, in order, with the first paragraph of their doc comments.
pub(super) fn variants(source: &str, name: &str) -> Vec<Documented> {
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1).unwrap_or_else(|| panic!("there is no enum {name}"));
    let body = body.split("\n}\n").next().unwrap_or_default();
    // The fields of a variant are indented more.
    documented(body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     ")))
}

/// The items that begin with these words, with their doc comments.
pub(super) fn items(source: &str, begin: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.trim());
        } else if let Some(rest) = line.strip_prefix(begin) {
            found.push(Documented { name: word(rest), doc: paragraph(&doc) });
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    found
}

fn documented<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in lines.map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.trim());
        } else if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            found.push(Documented { name: word(line), doc: paragraph(&doc) });
            doc.clear();
        }
    }
    found
}

fn word(line: &str) -> String {
    line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first paragraph. Later paragraphs are only for readers of the code.
fn paragraph(doc: &[&str]) -> String {
    doc.iter().take_while(|line| !line.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// `NotKnownYet` as `not-known-yet`.
pub(super) fn kebab(variant: &str) -> String {
    let mut word = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// The string literals of a source file, in order.
pub(super) fn literals(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        if letter != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' => text.extend(letters.next()),
                letter => text.push(letter),
            }
        }
        all.push(text);
    }
    all
}

#[test]
fn doc_comments_of_variants_are_read_and_those_of_fields_are_not() {
    let source = "pub enum Way {\n    /// One\n    /// way.\n    ///\n    /// More.\n    First,\n    /// Two.\n    SecondOne {\n        /// Field.\n        Deep: u8,\n    },\n}\n";
    let named = |name: &str, doc: &str| Documented { name: name.to_owned(), doc: doc.to_owned() };
    assert_eq!(variants(source, "Way"), [named("First", "One way."), named("SecondOne", "Two.")]);
    assert_eq!(kebab("SecondOne"), "second-one");
    assert_eq!(literals(r#"say("one", &["two \"x\""])"#), ["one", "two \"x\""]);
}
