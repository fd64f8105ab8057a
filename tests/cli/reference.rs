//! The generated reference: `just docs` writes it from the code, and a test fails when it is stale.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use decamp_aws::{Caller, OPERATIONS};
use decamp_core::decide::{Outcome, Reason};
use decamp_core::metrics;
use serde_json::Value;

use super::exit_table::TABLE;
use super::sources::{items, kebab, literals, read, variants};
use super::{run, text};

/// Set to write the pages instead of comparing them.
const WRITE: &str = "DECAMP_WRITE_REFERENCE";

#[test]
#[expect(clippy::disallowed_methods, reason = "it is a variable of the test")]
fn the_reference_matches_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut stale = Vec::new();
    for (name, page) in pages() {
        let path: PathBuf = folder.join(name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, page).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&page) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "stale, write them again by `just docs`: {stale:?}");
}

fn pages() -> Vec<(&'static str, String)> {
    let commands = commands();
    vec![
        ("settings.md", settings()),
        ("reference/README.md", index()),
        ("reference/commands.md", commands_page(&commands)),
        ("reference/exit-codes.md", exit_codes(&commands)),
        ("reference/words.md", words()),
        ("reference/metrics.md", metrics_page()),
        ("reference/notifications.md", notifications()),
        ("reference/api.md", api()),
        ("reference/iam.md", iam()),
    ]
}

const GENERATED: &str = "Generated from the code by `just docs`. Do not edit this page.";

fn page(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\n{GENERATED}\n")
}

/// A row of a table. A vertical bar in a cell is escaped.
fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = row(heads);
    let _ = writeln!(out, "|{}", "---|".repeat(heads.len()));
    for cells in rows {
        out.push_str(&row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    out
}

fn code(word: &str) -> String {
    format!("`{word}`")
}

fn index() -> String {
    let mut out = page("Reference", "What the code says of itself.");
    let rows = [
        ("[Settings](../settings.md)", "every variable that decamp reads"),
        ("[Commands](commands.md)", "every command and its help"),
        ("[Exit codes](exit-codes.md)", "one table for all commands"),
        ("[Words](words.md)", "outcomes, reasons and findings"),
        ("[Metrics](metrics.md)", "of the Lambda and of the service"),
        ("[Notifications](notifications.md)", "their types"),
        ("[HTTP API](api.md)", "of `decamp serve`"),
        ("[IAM](iam.md)", "every action, and who calls it"),
        ("[Terraform](../../infra/README.md#inputs)", "inputs and outputs of the module"),
    ];
    out.push('\n');
    out + &table(&["page", "about"], rows.map(|(link, about)| vec![link.to_owned(), about.to_owned()]))
}

fn settings() -> String {
    let mut out = page(
        "Settings",
        "Times are written as `90s`, `5m` or `1h30m`, or as a number of seconds. decamp rejects invalid settings at the start and says what to\n\
         change. `decamp settings` prints this table. The same names may stand in a TOML document (`DECAMP_CONFIG`), which can also have a\n\
         table for each of [several clusters](clusters.md).",
    );
    out.push('\n');
    let default = |text: &str| if text.is_empty() { String::new() } else { code(text) };
    out.push_str("| variable | unit | default | meaning |\n|---|---|---|---|\n");
    for row in decamp_config::TABLE {
        // tests/tidy.rs compares these cells.
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", row.name, row.unit, default(row.default), row.meaning);
    }
    out
}

/// The help of every command, by the command's words.
fn commands() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    gather(&mut Vec::new(), &mut all);
    assert!(10 < all.len(), "{all:?}");
    all
}

fn gather(path: &mut Vec<String>, all: &mut BTreeMap<String, String>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = text(&run(&arguments).stdout);
    let list = help.split_once("\nCommands:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default().to_owned());
    for line in list.unwrap_or_default().lines() {
        let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).and_then(|line| line.split_whitespace().next());
        if let Some(name) = name.filter(|name| *name != "help") {
            path.push(name.to_owned());
            gather(path, all);
            path.pop();
        }
    }
    all.insert(["decamp"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" "), help);
}

fn commands_page(commands: &BTreeMap<String, String>) -> String {
    let mut out = page("Commands", "What `--help` prints.");
    for (name, help) in commands {
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        let _ = write!(out, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n"));
    }
    out
}

fn exit_codes(commands: &BTreeMap<String, String>) -> String {
    let mut out = page(
        "Exit codes",
        "One table for all commands: no two of them end with the same code for different reasons. `--help` of a command lists its own.",
    );
    out.push('\n');
    for row in TABLE {
        for command in row.commands {
            let help = commands.get(&format!("decamp {command}")).unwrap_or_else(|| panic!("there is a command {command}"));
            assert!(help.contains(&format!("\n  {:<4} ", row.code)), "{command} --help does not list {}", row.code);
        }
    }
    let of = |commands: &[&str]| {
        if commands.is_empty() { "all".to_owned() } else { commands.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ") }
    };
    out + &table(
        &["code", "commands", "meaning"],
        TABLE.iter().map(|row| vec![row.code.to_string(), of(row.commands), row.meaning.to_owned()]),
    )
}

/// Each word with its doc comment and a link to its section of the runbook.
fn words_section(out: &mut String, title: &str, source: &str, kind: &str, runbook: &str, known: &[&str]) {
    let rows: Vec<_> = variants(source, kind).into_iter().map(|variant| (kebab(&variant.name), variant.doc)).collect();
    let words: Vec<&str> = rows.iter().map(|(word, _)| word.as_str()).collect();
    assert!(known.is_empty() || words == known, "{kind}: {words:?} {known:?}");
    let _ = write!(out, "\n## {title}\n\n");
    let rows = rows.iter().map(|(word, doc)| vec![format!("[`{word}`](../{runbook}#{word})"), doc.clone()]);
    out.push_str(&table(&["word", "meaning"], rows));
}

fn words() -> String {
    let mut out = page(
        "Words",
        "Outcomes, reasons and findings, as logs, metrics and the API print them. Each links to its section of the runbook.",
    );
    let (outcome, reason) = (read("crates/core/src/decide/outcome.rs"), read("crates/core/src/decide/reason.rs"));
    words_section(&mut out, "Outcomes", &outcome, "Outcome", "outcomes.md", Outcome::WORDS);
    words_section(&mut out, "Reasons", &reason, "Reason", "reasons.md", Reason::WORDS);
    words_section(&mut out, "Findings", &read("crates/core/src/decide/findings.rs"), "Loss", "findings.md", &[]);
    out
}

fn metrics_page() -> String {
    let mut out = page(
        "Metrics",
        "The Lambda writes its metrics to its log in CloudWatch's embedded format. The service has `/metrics` on its admin listener.",
    );
    let source = read("crates/core/src/metrics.rs");
    let docs: BTreeMap<String, String> = items(&source, "pub const ").into_iter().map(|item| (item.name, item.doc)).collect();
    let constants: Vec<String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": Metric = ").map(|(name, _)| name.to_owned()))
        .collect();
    assert_eq!(constants.len(), metrics::ALL.len(), "{constants:?}");
    let _ = write!(out, "\n## CloudWatch, namespace `{}`\n\n", metrics::NAMESPACE);
    let rows = constants.iter().zip(metrics::ALL);
    let rows =
        rows.map(|(name, metric)| vec![code(metric.name), metric.unit.to_owned(), docs.get(name).cloned().unwrap_or_default()]);
    out.push_str(&table(&["metric", "unit", "meaning"], rows));
    let _ = write!(out, "\n## Prometheus\n\n");
    let literals = literals(&read("crates/service/src/metrics.rs"));
    let mut rows = Vec::new();
    for (place, name) in literals.iter().enumerate().filter(|(_, text)| text.starts_with("decamp_")) {
        let help = literals.get(place + 1).cloned().unwrap_or_default();
        assert!(help.ends_with('.'), "{name} is followed by its help: {help}");
        let ends = |text: &&String| !text.starts_with("decamp_") && !text.contains(' ') && !text.ends_with('.');
        let labels: Vec<String> = literals[place + 2..].iter().take_while(ends).map(|label| code(label)).collect();
        rows.push(vec![code(name), labels.join(", "), help]);
    }
    assert!(20 < rows.len(), "{rows:?}");
    out + &table(&["metric", "labels", "meaning"], rows)
}

fn notifications() -> String {
    let mut out = page(
        "Notifications",
        "Types of what `decamp serve` sends. [The service](../service.md) says how they are signed and repeated.",
    );
    out.push('\n');
    let docs: BTreeMap<String, String> = items(&read("crates/service/src/notify/notification.rs"), "pub(crate) fn ")
        .into_iter()
        .map(|item| (item.name, item.doc))
        .collect();
    let rows = decamp_service::NOTIFICATIONS.iter().map(|kind| {
        let doc = docs.get(kind.rsplit('.').next().unwrap_or_default());
        vec![code(kind), doc.unwrap_or_else(|| panic!("{kind} has a function with its name")).clone()]
    });
    out + &table(&["type", "when"], rows)
}

fn api() -> String {
    let document: Value = serde_json::from_str(decamp_service::api_document()).expect("the document is JSON");
    let mut out = page("HTTP API", "`GET /v1/openapi.json` has the schemas as OpenAPI 3.1.");
    out.push('\n');
    let mut rows = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("an item has methods") {
            let of = |field: &str| operation[field].as_str().unwrap_or_default().to_owned();
            let statuses: Vec<&str> =
                operation["responses"].as_object().into_iter().flat_map(|all| all.keys()).map(String::as_str).collect();
            let keys: Vec<&str> = operation["security"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|need| need.as_object()?.keys().next().map(String::as_str))
                .collect();
            let keys = if keys.is_empty() { "open".to_owned() } else { keys.join(" or ") };
            let listener = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            rows.push(vec![
                code(&format!("{} {path}", method.to_uppercase())),
                listener,
                keys,
                statuses.join(", "),
                of("summary"),
            ]);
        }
    }
    out + &table(&["request", "listener", "opened by", "answers", "meaning"], rows)
}

fn iam() -> String {
    let mut out = page(
        "IAM actions",
        "Every action of AWS that decamp calls, and which program calls it. [Permissions](../permissions.md) says which depend on a setting.",
    );
    out.push('\n');
    let callers = [Caller::Lambda, Caller::Serve, Caller::Run, Caller::Refresh, Caller::Check];
    let rows = OPERATIONS.iter().map(|operation| {
        let action = code(&format!("{}:{}", operation.service, operation.name));
        let calls = callers.iter().map(|caller| if operation.callers.contains(caller) { "yes" } else { "" }.to_owned());
        std::iter::once(action).chain(calls).collect()
    });
    out + &table(&["action", "Lambda", "`serve`", "`run`", "`refresh`", "`check`, `plan`, `status`"], rows)
}

#[test]
fn every_alarm_has_a_section_of_the_runbook_and_names_it() {
    let sections: Vec<String> = read("docs/alarms.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("## `")?.strip_suffix('`')?.to_owned()))
        .collect();
    let monitoring = read("infra/monitoring.tf");
    let lines: Vec<&str> = monitoring.lines().map(str::trim).collect();
    let keys =
        lines.windows(2).filter(|two| two[1].starts_with("description = \"")).filter_map(|two| two[0].strip_suffix(" = {"));
    // One alarm exists for each rule and has the rule's name as a suffix.
    let keys: Vec<&str> = keys.filter(|key| !key.contains("=>")).chain(["undelivered", "no-sweep", "outcomes"]).collect();
    assert!(8 < keys.len(), "{keys:?}");
    for key in keys {
        assert!(sections.iter().any(|section| section == key), "docs/alarms.md has no section ## `{key}`: {sections:?}");
    }
    let alerts = read("infra/serve/alerts.yaml");
    let named: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(7 < named.len(), "{named:?}");
    for name in named {
        assert!(sections.iter().any(|section| section == name), "docs/alarms.md has no section ## `{name}`");
        let address = decamp_core::runbook::section("alarms", &name.to_lowercase());
        assert!(alerts.contains(&format!("runbook_url: {address}\n")), "{address}");
    }
    assert!(monitoring.contains(&decamp_core::runbook::section("alarms", "")), "infra/monitoring.tf names another place");
}
