//! Rules of this repository that the compiler does not check.

#[path = "tidy/absences.rs"]
mod absences;
#[path = "tidy/claims.rs"]
mod claims;
#[path = "tidy/faults.rs"]
mod faults;

use std::fs;
use std::path::{Path, PathBuf};

use decamp_core::decide::{Outcome, Reason};

/// The most lines of a source file. A longer one is about two things.
const LONGEST: usize = 400;

/// Words that must not occur in `decide`, which is pure.
const NOT_IN_DECIDE: &[&str] = &[
    ".await",
    "async fn",
    "tokio",
    "reqwest",
    "axum",
    "aws_sdk",
    "tracing",
    "futures",
    "crate::world",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::thread",
    "rand",
];

/// Which of our crates each crate may use, from the bottom up. The compiler enforces the manifests, and this list limits the manifests.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("config", &["core"]),
    ("events", &["config", "core"]),
    ("net", &["config", "core"]),
    ("aws", &["config", "core", "net"]),
    ("hashicorp", &["config", "core", "net"]),
    ("live", &["aws", "config", "core", "hashicorp", "net"]),
    ("sim", &["core"]),
    ("sandbox", &["config", "core", "sim"]),
    ("rehearse", &["aws", "config", "core", "events", "live", "sandbox", "sim"]),
    ("service", &["aws", "config", "core", "events", "live", "net"]),
];

/// The most dependencies of `core`, so that the rules stay quick to build and to review.
const MOST_DEPENDENCIES_OF_CORE: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the repository.
struct Text {
    name: String,
    text: String,
}

/// All files under these folders with one of these endings, sorted.
fn texts(folders: &[&str], endings: &[&str]) -> Vec<Text> {
    fn gather(folder: &Path, endings: &[&str], all: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                gather(&path, endings, all);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    for folder in folders {
        gather(&root().join(folder), endings, &mut all);
    }
    all.sort();
    let text = |path: &PathBuf| Text {
        name: path.strip_prefix(root()).unwrap_or(path).display().to_string(),
        text: fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display())),
    };
    all.iter().map(text).collect()
}

fn sources() -> Vec<Text> {
    let all = texts(&["src", "crates", "lambda", "tests", "examples"], &[".rs"]);
    assert!(100 < all.len(), "the sources are found: {}", all.len());
    all
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// Fails with all offenders at once.
#[track_caller]
fn none(offenders: Vec<String>, rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// The lines that contain one of these words outside of comments.
fn lines_with(all: &[Text], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for Text { name, text } in all {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            found.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}:{} {word}", number + 1)));
        }
    }
    found
}

#[test]
fn every_file_begins_with_its_purpose() {
    let silent = sources().into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.name);
    none(silent.collect(), "begin with `//!` and a sentence");
}

#[test]
fn no_file_is_about_two_things() {
    let long = sources().into_iter().filter(|file| LONGEST < file.text.lines().count());
    none(
        long.map(|file| format!("{} has {} lines", file.name, file.text.lines().count())).collect(),
        "split files of more than 400 lines",
    );
}

#[test]
fn thinking_knows_no_clock_no_system_and_waits_for_nothing() {
    let mut thinking = texts(&["crates/core/src/decide"], &[".rs"]);
    thinking.push(Text { name: "decide.rs".to_owned(), text: file("crates/core/src/decide.rs") });
    assert!(10 < thinking.len());
    none(lines_with(&thinking, NOT_IN_DECIDE), "decide is pure");
}

/// The names in a manifest's `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    listed(manifest, "dependencies")
}

/// The names in one section of a manifest.
fn listed(manifest: &str, section: &str) -> Vec<String> {
    let text = file(manifest);
    let section = text.split(&format!("\n[{section}]\n")).nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The check of `cargo machete`. Building that tool takes two minutes of CPU time, and this test takes a moment.
#[test]
fn every_dependency_is_named_in_a_source() {
    let mut folders: Vec<String> = LAYERS.iter().map(|(name, _)| format!("crates/{name}/")).collect();
    folders.extend(["lambda/".to_owned(), String::new()]);
    let mut unused = Vec::new();
    for folder in folders {
        let places = ["src", "tests", "examples"].map(|place| format!("{folder}{place}"));
        let all: String = texts(&places.each_ref().map(String::as_str), &[".rs"]).into_iter().map(|file| file.text).collect();
        assert!(!all.is_empty(), "{folder} has sources");
        let manifest = format!("{folder}Cargo.toml");
        for section in ["dependencies", "dev-dependencies"] {
            let is_used = |name: &str| all.contains(&format!("{name}::")) || all.contains(&format!("use {name}"));
            let names = listed(&manifest, section).into_iter().filter(|name| !is_used(&name.replace('-', "_")));
            unused.extend(names.map(|name| format!("{manifest}: {name}")));
        }
    }
    none(unused, "dependencies that no source uses");
}

#[test]
fn no_crate_knows_one_above_it() {
    let mut crates: Vec<String> = fs::read_dir(root().join("crates"))
        .expect("the crates are there")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    crates.sort();
    let mut listed: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(crates, listed, "LAYERS names every crate");
    for (name, may_use) in LAYERS {
        let used = dependencies(&format!("crates/{name}/Cargo.toml"));
        let ours: Vec<&str> = used.iter().filter_map(|used| used.strip_prefix("decamp-")).collect();
        assert_eq!(ours, *may_use, "crates/{name}/Cargo.toml against LAYERS");
    }
    let of_core = dependencies("crates/core/Cargo.toml");
    assert!(of_core.len() <= MOST_DEPENDENCIES_OF_CORE, "decamp-core depends on {}: {of_core:?}", of_core.len());
}

#[test]
fn the_environment_is_read_in_the_settings_only() {
    let elsewhere: Vec<_> = texts(&["src", "crates", "lambda/src"], &[".rs"])
        .into_iter()
        .filter(|file| !file.name.starts_with("crates/config") && !file.name.contains("/tests/"))
        .collect();
    none(lines_with(&elsewhere, &["env::var", "env::vars"]), "settings are read once, in crates/config");
}

#[test]
fn nothing_is_unfinished_and_no_lint_is_allowed() {
    // Written in two parts, so that this file does not contain the words.
    let words = [
        concat!("to", "do!("),
        concat!("unimplemen", "ted!("),
        concat!("#[ign", "ore"),
        concat!("#[all", "ow("),
        concat!("#![all", "ow("),
    ];
    none(lines_with(&sources(), &words), "finish it, or give the reason with #[expect(…, reason = …)]");
}

#[test]
fn no_text_contains_a_path_of_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/scr", "atch/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut all = texts(
        &["src", "crates", "lambda", "tests", "examples", ".ci", "infra"],
        &[".rs", ".py", ".toml", ".tf", ".hcl", ".json", "run", ".md"],
    );
    for name in ["README.md", "ARCHITECTURE.md", "Cargo.toml", "justfile", "deny.toml", "clippy.toml"] {
        all.push(Text { name: name.to_owned(), text: file(name) });
    }
    let mut found = Vec::new();
    for Text { name, text } in &all {
        let places = places.iter().filter(|place| text.contains(**place));
        found.extend(places.map(|place| format!("{name}: {place}")));
    }
    none(found, "paths that exist on one machine only");
}

/// The variant of a word: `not-known-yet` is `NotKnownYet`.
fn variant(word: &str) -> String {
    word.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

/// The words that no row of crates/core/tests/rows expects, by word or by variant of this type.
fn rowless(kind: &str, words: &[&str]) -> Vec<String> {
    let rows: String = texts(&["crates/core/tests/rows"], &[".rs"]).into_iter().map(|file| file.text).collect();
    let expected = |word: &str| rows.contains(&format!("{kind}::{}", variant(word))) || rows.contains(&format!("\"{word}\""));
    words.iter().filter(|word| !expected(word)).map(|word| (*word).to_owned()).collect()
}

#[test]
fn every_reason_has_a_row() {
    none(rowless("Reason", Reason::WORDS), "a reason that no row of crates/core/tests/rows expects");
}

#[test]
fn every_outcome_has_a_row() {
    none(rowless("Outcome", Outcome::WORDS), "an outcome that no row of crates/core/tests/rows expects");
}

#[test]
fn every_call_of_aws_is_in_the_table() {
    let table = file("crates/aws/src/operations.rs");
    let mut missing = Vec::new();
    for Text { name, text } in texts(&["crates/aws/src"], &[".rs"]).iter().filter(|file| !file.name.contains("/tests")) {
        for call in text.split("client.").chain(text.split("client\n")).skip(1) {
            let method: String =
                call.trim_start_matches([' ', '.', '\n']).chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let builds = call[method.len()..].trim_start_matches([' ', '.', '\n']).starts_with("()");
            if !method.contains('_')
                || !builds
                || !["describe_", "deregister_", "complete_", "record_", "set_", "start_", "cancel_", "rollback_"]
                    .iter()
                    .any(|verb| method.starts_with(verb))
            {
                continue;
            }
            let operation: String = method.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            if !table.contains(&format!("\"{operation}\"")) {
                missing.push(format!("{name}: {operation}"));
            }
        }
    }
    none(missing, "add it to OPERATIONS in crates/aws/src/operations.rs, and to the permissions");
}

#[test]
fn every_operation_in_the_table_is_among_the_permissions() {
    let readme = file("docs/permissions.md");
    let missing = decamp_aws::OPERATIONS.iter().map(|operation| format!("{}:{}", operation.service, operation.name));
    none(missing.filter(|action| !readme.contains(action.as_str())).collect(), "docs/permissions.md");
}

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let readme = file("docs/settings.md");
    let row = |s: &decamp_config::Setting| {
        let default = if s.default.is_empty() { String::new() } else { format!("`{}`", s.default) };
        format!("| `{}` | {} | {default} | {} |", s.name, s.unit, s.meaning)
    };
    let rows: Vec<String> = decamp_config::TABLE.iter().map(row).collect();
    none(rows.iter().filter(|row| !readme.contains(row.as_str())).cloned().collect(), "docs/settings.md lacks these rows");
    let variable =
        |line: &&str| line.starts_with("| `DECAMP_") || line.starts_with("| `NOMAD_") || line.starts_with("| `CONSUL_");
    let gone = readme.lines().filter(variable).filter(|line| !rows.iter().any(|row| row == line));
    none(gone.map(str::to_owned).collect(), "docs/settings.md has rows that are not settings");
}

#[test]
fn the_documentation_lists_every_outcome_as_it_is() {
    let readme = file("docs/outcomes.md");
    let missing = Outcome::WORDS.iter().filter(|word| !readme.contains(&format!("| `{word}` |")));
    none(missing.map(|word| (*word).to_owned()).collect(), "docs/outcomes.md lacks these rows");
}

#[test]
fn the_documentation_leaves_no_figure_open() {
    let readme = file("docs/figures.md").to_lowercase();
    for word in ["to be measured", "tbd", "not yet measured"] {
        assert!(!readme.contains(word), "docs/figures.md has a row that was not measured: {word}");
    }
}

/// The text after each occurrence of a word, up to the next one.
fn after<'t>(text: &'t str, word: &'static str) -> impl Iterator<Item = &'t str> {
    text.split(word).skip(1)
}

#[test]
fn every_citation_is_of_something_in_the_repository() {
    let records: Vec<String> = texts(&["docs/adr"], &[".md"]).into_iter().map(|file| file.name).collect();
    let mut lost = Vec::new();
    for Text { name, text } in sources() {
        // A ruling cited only by its number, and facts cited without a page, are outside of the repository.
        let outside = after(&text, concat!("(", "D")).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        lost.extend(outside.map(|rest| format!("{name}: (D{}", rest.lines().next().unwrap_or_default())));
        let pageless = after(&text, concat!("(fac", "ts, "))
            .filter(|rest| rest.starts_with("section") || rest.starts_with(|c: char| c.is_ascii_digit()));
        lost.extend(pageless.map(|rest| format!("{name}: facts without a page: {}", rest.lines().next().unwrap_or_default())));
        for rest in after(&text, "ADR ") {
            let numbers = rest.split(", ").map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>());
            for number in numbers.take_while(|number| number.len() == 4) {
                if !records.iter().any(|record| record.contains(&format!("/{number}-"))) {
                    lost.push(format!("{name}: ADR {number}"));
                }
            }
        }
        for rest in after(&text, "facts/") {
            let Some((page, rest)) = rest.split_once(".md").filter(|(page, _)| page.chars().all(|c| c.is_ascii_lowercase()))
            else {
                continue;
            };
            let number: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let number = number.trim_end_matches('.');
            let is_there = |line: &str| line.starts_with(&format!("{number} ")) || line.starts_with(&format!("## {number}."));
            if !number.is_empty() && !file(&format!("docs/facts/{page}.md")).lines().any(is_there) {
                lost.push(format!("{name}: facts/{page}.md {number}"));
            }
        }
    }
    none(lost, "cite docs/adr or docs/facts by a number that exists");
}
