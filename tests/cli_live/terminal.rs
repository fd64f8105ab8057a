//! `decamp run` on a terminal of `script`: a checklist on one screen.

use std::process::Stdio;

use tokio::process::Command;

use super::{quick, terminate, text};
use decamp_sandbox::{ASG, serve};

const WIDE: usize = 72;

/// `script`, if this machine has one.
fn script() -> Option<&'static str> {
    ["/usr/bin/script", "/bin/script"].into_iter().find(|path| std::path::Path::new(path).exists())
}

/// The lines on the screen of a terminal that received this text. It supports "up", "clear below" and colours.
fn screen(written: &str) -> Vec<String> {
    let (mut lines, mut row) = (vec![String::new()], 0);
    let mut letters = written.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => {
                letters.next();
                let mut number = String::new();
                let end = loop {
                    match letters.next() {
                        Some(digit) if digit.is_ascii_digit() || digit == ';' || digit == '?' => number.push(digit),
                        other => break other,
                    }
                };
                match end {
                    Some('A') => row -= number.parse::<usize>().unwrap_or(1).min(row),
                    Some('J') => {
                        lines.truncate(row);
                        lines.push(String::new());
                    }
                    _ => {}
                }
            }
            '\n' => {
                row += 1;
                if lines.len() <= row {
                    lines.push(String::new());
                }
            }
            '\r' => {}
            other => lines[row].push(other),
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_the_checklist_is_complete_in_the_end_and_fits_its_width() {
    let Some(script) = script() else { return };
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let decamp = env!("CARGO_BIN_EXE_decamp");
    let command = format!("stty cols {WIDE} rows 40; exec {decamp} run --instance {instance} --asg {ASG}");
    let output = Command::new(script)
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_clear()
        .envs(sandbox.variables())
        .env("DECAMP_GUARD_ALB", "2s")
        .env("DECAMP_LONGEST_REQUEST", "1s")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("TERM", "xterm")
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .expect("it starts");
    let written = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{written}");
    assert!(
        written.contains("\u{1b}[32m") && written.contains("may still send for"),
        "it has colours, and counts down: {written}"
    );
    let left = screen(&written);
    let all = left.join("\n");
    for entry in
        ["✓ hook decamp", "✓ node ", "✓ load balancers: ", "✓ allocations: ", "✓ discovery: ", "✓ lifecycle action completed"]
    {
        assert_eq!(all.matches(entry).count(), 1, "{entry}:\n{all}");
    }
    assert!(!all.contains("▸ ") && all.contains(" departed: "), "no step is under way:\n{all}");
    let list = left.iter().filter(|line| line.contains('✓'));
    assert!(list.clone().all(|line| line.chars().count() < WIDE), "{all}");
    assert!(8 <= list.count(), "each target group has a line: {all}");
}
