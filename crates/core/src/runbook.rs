//! Links to the runbook. Each section is named after a word that decamp prints.

use crate::decide::{Loss, Outcome, Reason};

/// Where the pages are, in the repository that the package names.
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/");

/// The first page.
pub const FIRST: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbook.md");

/// A page by its name.
#[must_use]
pub fn page(name: &str) -> String {
    format!("{PAGES}{name}.md")
}

/// The section about an outcome.
#[must_use]
pub fn of_outcome(outcome: &Outcome) -> String {
    section("outcomes", outcome.word())
}

/// The section about a reason.
#[must_use]
pub fn of_reason(reason: &Reason) -> String {
    section("reasons", reason.word())
}

/// The section about a finding.
#[must_use]
pub fn of_finding(loss: Loss) -> String {
    section("findings", loss.word())
}

/// A section of a page.
#[must_use]
pub fn section(page: &str, word: &str) -> String {
    format!("{PAGES}{page}.md#{word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headings of a page, as anchors.
    fn headings(page: &str) -> Vec<String> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(format!("{page}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        text.lines().filter_map(|line| Some(line.strip_prefix("## `")?.strip_suffix('`')?.to_owned())).collect()
    }

    #[test]
    fn every_address_leads_to_a_section() {
        let there = |address: &str, page: &str| {
            let word = address.rsplit('#').next().unwrap_or_default();
            assert!(address.starts_with("https://") && headings(page).iter().any(|heading| heading == word), "{address}");
        };
        Outcome::WORDS.iter().for_each(|word| there(&section("outcomes", word), "outcomes"));
        Reason::WORDS.iter().for_each(|word| there(&section("reasons", word), "reasons"));
        Loss::WORDS.iter().for_each(|word| there(&section("findings", word), "findings"));
        there(&of_outcome(&Outcome::Forced), "outcomes");
        there(&of_reason(&Reason::DrainHangs), "reasons");
        there(&of_finding(Loss::DiskCut), "findings");
        assert!(FIRST.starts_with(PAGES));
    }
}
