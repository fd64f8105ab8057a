//! Checks docs/claims.md against the documents and the sources: for every claim it names a test that fails if the claim is false.

use std::collections::BTreeSet;

use decamp_sim::drivers::Mutant;

use super::{file, none, texts};

const CLAIMS: &str = "docs/claims.md";

/// A row of docs/claims.md.
struct Row {
    document: String,
    claim: String,
    /// The names in backticks in the second cell.
    shown_by: Vec<String>,
}

/// The cells of a table row. `None` for other lines.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(str::trim).collect())
}

/// The rows of docs/claims.md. Each section is for one document.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut document = String::new();
    for line in file(CLAIMS).lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut document);
        }
        let Some([claim, shown_by]) = cells(line).as_deref().and_then(|cells| <[&str; 2]>::try_from(cells).ok()) else {
            continue;
        };
        if claim == "claim" || document.is_empty() {
            continue;
        }
        let quoted = shown_by.split('`').skip(1).step_by(2).map(str::to_owned);
        rows.push(Row { document: document.clone(), claim: claim.to_owned(), shown_by: quoted.collect() });
    }
    rows
}

/// A text without the targets of its links, which are relative to the document.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((_, after)) = after.split_once(')') else { break };
        let (outside, title) = before.rsplit_once('[').unwrap_or((before, ""));
        plain.push_str(outside);
        plain.push_str(title);
        rest = after;
    }
    plain + rest
}

/// The sentences of a text. It may contain line breaks.
fn sentences(text: &str) -> Vec<String> {
    let one_line = without_links(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    let pieces: Vec<&str> = one_line.split(". ").collect();
    let last = pieces.len() - 1;
    let ended = |(place, piece): (usize, &&str)| if place < last { format!("{piece}.") } else { (*piece).to_owned() };
    pieces.iter().enumerate().map(ended).filter(|sentence| !sentence.is_empty()).collect()
}

/// The text between a heading and the next one.
fn section(document: &str, heading: &str) -> String {
    let text = file(document);
    let after = text.split_once(&format!("\n## {heading}\n")).map(|(_, after)| after);
    let after = after.unwrap_or_else(|| panic!("{document} has no section {heading:?}"));
    after.split("\n## ").next().unwrap_or(after).to_owned()
}

/// The paragraphs and list items of a text, each as one text.
fn paragraphs(text: &str) -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    for line in text.lines() {
        let item = line.strip_prefix("- ");
        if line.is_empty() || item.is_some() {
            all.push(String::new());
        }
        if let Some(last) = all.last_mut() {
            last.push_str(item.unwrap_or(line));
            last.push('\n');
        }
    }
    all.into_iter().filter(|text| !text.trim().is_empty()).collect()
}

/// The claims of docs/outcomes.md: the text before its table, the exit code of each outcome, and each sentence of its meaning.
fn of_the_outcomes() -> Vec<String> {
    let text = file("docs/outcomes.md");
    let (_, body) = text.split_once('\n').expect("it has a title");
    let before: String = body.lines().take_while(|line| !line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    let mut claims: Vec<String> = paragraphs(&before).iter().flat_map(|paragraph| sentences(paragraph)).collect();
    for line in body.lines() {
        let Some([word, code, meaning, _]) = cells(line).as_deref().and_then(|cells| <[&str; 4]>::try_from(cells).ok()) else {
            continue;
        };
        if word == "outcome" {
            continue;
        }
        claims.push(format!("{word} exits with {code}."));
        claims.extend(sentences(meaning).into_iter().map(|sentence| format!("{word}: {sentence}")));
    }
    claims
}

/// The claims of a section with prose and lists.
fn of_a_section(document: &str, heading: &str) -> Vec<String> {
    paragraphs(&section(document, heading)).iter().flat_map(|paragraph| sentences(paragraph)).collect()
}

/// The claims of a list in a section.
fn of_a_list(document: &str, heading: &str) -> Vec<String> {
    let section = section(document, heading);
    let (_, list) = section.split_once("\n- ").unwrap_or_else(|| panic!("{heading:?} has no list"));
    let list = list.split("\n\n").next().unwrap_or(list);
    paragraphs(&format!("- {list}")).iter().flat_map(|item| sentences(item)).collect()
}

/// The judge's invariants: the code of each, and its sentences.
fn of_the_invariants() -> Vec<String> {
    let text = file("docs/adr/0023-invariants.md");
    let mut claims = Vec::new();
    for line in text.lines() {
        let Some([letter, holds, _]) = cells(line).as_deref().and_then(|cells| <[&str; 3]>::try_from(cells).ok()) else {
            continue;
        };
        if letter.starts_with(['S', 'L']) && letter.len() <= 3 {
            claims.extend(sentences(holds).into_iter().map(|sentence| format!("{letter}: {sentence}")));
        }
    }
    claims
}

/// The documents whose claims are listed, by the title of their section in docs/claims.md.
fn documents() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("Outcomes", of_the_outcomes()),
        ("What decamp guarantees", of_a_section("README.md", "What decamp guarantees")),
        ("What decamp does not do", of_a_section("README.md", "What decamp does not do")),
        ("What must always hold", of_a_list("ARCHITECTURE.md", "What must always hold")),
        ("The judge's invariants", of_the_invariants()),
    ]
}

#[test]
fn every_claim_has_an_entry_and_every_entry_still_is_one() {
    let rows = rows();
    let mut wrong = Vec::new();
    for (title, claims) in documents() {
        assert!(5 < claims.len(), "the claims of {title:?} are found");
        let entries: Vec<&str> = rows.iter().filter(|row| row.document == title).map(|row| &*row.claim).collect();
        wrong.extend(
            claims.iter().filter(|claim| !entries.contains(&&***claim)).map(|claim| format!("{title}: no entry for: {claim}")),
        );
        let gone = entries.iter().filter(|entry| !claims.iter().any(|claim| claim == *entry));
        wrong.extend(gone.map(|entry| format!("{title}: no longer claimed: {entry}")));
        let mut seen = BTreeSet::new();
        wrong.extend(entries.iter().filter(|entry| !seen.insert(**entry)).map(|entry| format!("{title}: twice: {entry}")));
    }
    let titles: Vec<&str> = documents().iter().map(|(title, _)| *title).collect();
    wrong.extend(rows.iter().filter(|row| !titles.contains(&&*row.document)).map(|row| format!("{}: no document", row.document)));
    none(wrong, "docs/claims.md has each claim once, in the words of its document");
}

/// Why the test that a row names does not exist. `None` if it exists.
fn missing(named: &str, judge: &str, table: &str) -> Option<String> {
    if let Some(rule) = named.strip_prefix("judge: ") {
        // S2 is about lost requests, which are judged for a whole departure and not by a rule of the oracle.
        return (rule != "S2" && !judge.contains(&format!("\"{rule}\""))).then(|| format!("the judge has no rule {rule}"));
    }
    if let Some(name) = named.strip_prefix("wrong driver: ") {
        return Mutant::named(name).is_none().then(|| format!("there is no wrong driver {name}"));
    }
    if let Some(name) = named.strip_prefix("alteration: ") {
        return (!table.contains(&format!("row(\"{name}\","))).then(|| format!("there is no alteration {name:?}"));
    }
    let Some((path, name)) = named.split_once("::") else { return Some(format!("{named} is not `file::test`")) };
    if !super::root().join(path).is_file() {
        return Some(format!("{path} does not exist"));
    }
    let text = file(path);
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return Some(format!("{path} has no {name}")) };
    let attributes = before.rsplit("\n\n").next().unwrap_or(before);
    (!attributes.contains("test")).then(|| format!("{path}: {name} is no test"))
}

#[test]
fn what_an_entry_names_exists() {
    let judge: String = texts(&["crates/sim/src/oracle"], &[".rs"]).into_iter().map(|text| text.text).collect();
    let judge = judge + &file("crates/sim/src/oracle.rs");
    let table = file("tests/alterations/table.rs");
    let mut wrong = Vec::new();
    for row in rows() {
        if row.shown_by.is_empty() {
            wrong.push(format!("{}: nothing is named", row.claim));
        }
        let missing = row.shown_by.iter().filter_map(|named| missing(named, &judge, &table));
        wrong.extend(missing.map(|why| format!("{}: {why}", row.claim)));
        // A rule that no wrong driver breaks proves nothing.
        let has = |kind: &str| row.shown_by.iter().any(|named| named.starts_with(kind));
        if has("judge: ") != has("wrong driver: ") {
            wrong.push(format!("{}: a rule of the judge and a wrong driver that breaks it belong together", row.claim));
        }
    }
    none(wrong, "docs/claims.md names only tests that exist");
}

#[test]
fn the_exit_codes_of_the_documentation_are_those_of_the_program() {
    let program = file("src/exit/table.rs");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in file("docs/outcomes.md").lines() {
        let Some([word, code, _, _]) = cells(line).as_deref().and_then(|cells| <[&str; 4]>::try_from(cells).ok()) else {
            continue;
        };
        if word == "outcome" {
            continue;
        }
        rows += 1;
        let word = word.trim_matches('`');
        let row = program.lines().find(|line| line.trim_start().starts_with(&format!("row({code}, ")));
        let meant = row.is_some_and(|row| row.contains(&format!("\"{word}: ")) || row.contains(&format!(" {word}, ")));
        if !meant {
            wrong.push(format!("{word}: {code}"));
        }
    }
    assert!(10 < rows, "the outcomes are found");
    none(wrong, "docs/outcomes.md has another exit code than src/exit/table.rs");
}
