//! The rehearsal on a terminal, simulated by `script`: a live line for each node, no line wider than the terminal, and a table.

use std::process::Command;

use super::{SHORT, alone, on_the_path, text};

const WIDE: usize = 60;

/// The texts between two cursor movements. Each has one or more lines, which are filled up to the terminal's width.
fn stretches(output: &str) -> impl Iterator<Item = &str> {
    output.split('\u{1b}').map(|stretch| stretch.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &stretch[end + 1..]))
}

#[test]
fn on_a_terminal_every_node_has_a_live_line_that_fits_the_width() {
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
    let output = text(&std::fs::read(&typescript).expect("it was written"));
    assert!(status.success(), "{output}");
    for node in ["node-1", "node-2", "node-3"] {
        assert!(output.contains(&format!("  {node}   serves")), "{node} never had a line:\n{output}");
    }
    assert!(output.contains("   leaves load balancers"), "no line ever changed:\n{output}");
    for stretch in stretches(&output).filter(|stretch| stretch.contains("  node-") && !stretch.contains("failed, in ")) {
        let lines = stretch.matches("  node-").count() + stretch.matches("terminate-at-once: ").count();
        let wide = stretch.trim_matches(['\r', '\n']).chars().count();
        assert!(wide <= lines * WIDE, "{wide} columns on {lines} lines: {stretch:?}");
    }
    assert!(output.lines().any(|line| line.starts_with("requests ")), "there is no table:\n{output}");
}
