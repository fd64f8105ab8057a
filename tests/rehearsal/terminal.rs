//! The rehearsal on a terminal, as `script` makes one: a line for each node that moves, none wider than the terminal, and a table.

use std::process::Command;

use super::{SHORT, alone, on_the_path, text};

const WIDE: usize = 60;

/// What was drawn at a stretch, between two movements of the cursor: one line or several, each filled up to the terminal's width.
fn stretches(said: &str) -> impl Iterator<Item = &str> {
    said.split('\u{1b}').map(|stretch| stretch.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &stretch[end + 1..]))
}

#[test]
fn on_a_terminal_every_node_has_a_line_that_moves_and_none_is_wider_than_the_terminal() {
    let _alone = alone();
    let Some(script) = on_the_path("script") else { return };
    let folder = tempfile::tempdir().expect("there is room for one");
    let typescript = folder.path().join("typescript");
    let decamp = env!("CARGO_BIN_EXE_decamp");
    let command =
        format!("stty cols {WIDE} rows 24; exec {decamp} rehearse --port 18131 --driver terminate-at-once {}", SHORT.join(" "));
    let status = Command::new(script)
        .args(["--quiet", "--return", "--command", &command])
        .arg(&typescript)
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("it starts");
    let said = text(&std::fs::read(&typescript).expect("it was written"));
    assert!(status.success(), "{said}");
    for node in ["node-1", "node-2", "node-3"] {
        assert!(said.contains(&format!("  {node}   serves")), "{node} never had a line:\n{said}");
    }
    assert!(said.contains("   leaves load balancers"), "no line ever moved:\n{said}");
    for stretch in stretches(&said).filter(|stretch| stretch.contains("  node-") && !stretch.contains("failed, in ")) {
        let lines = stretch.matches("  node-").count() + stretch.matches("terminate-at-once: ").count();
        let wide = stretch.trim_matches(['\r', '\n']).chars().count();
        assert!(wide <= lines * WIDE, "{wide} columns on {lines} lines: {stretch:?}");
    }
    assert!(said.lines().any(|line| line.starts_with("requests ")), "there is no table:\n{said}");
}
