//! Passes the commit and its date to the command, for `decamp --version`. Without git and without the variables, it passes an empty text.

use std::env;
use std::path::Path;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script reads its input from variables")]
fn main() {
    println!("cargo::rerun-if-env-changed=DECAMP_COMMIT");
    println!("cargo::rerun-if-env-changed=DECAMP_COMMIT_DATE");
    // A release is built from a copy without history.
    let variable = |name| env::var(name).ok().filter(|text: &String| !text.is_empty());
    let commit = variable("DECAMP_COMMIT").or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let date = variable("DECAMP_COMMIT_DATE").or_else(|| git(&["log", "-1", "--format=%cs"]));
    // Git appends a line to this file whenever HEAD moves.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let from = match (commit, date) {
        (Some(commit), Some(date)) => format!(" ({commit} {date})"),
        _ => String::new(),
    };
    println!("cargo::rustc-env=DECAMP_BUILT_FROM={from}");
}

/// The output of git, if the package is the root of a repository. A copy inside another repository must not show that repository's commit.
#[expect(clippy::disallowed_methods, reason = "a build script reads its input from variables")]
fn git(arguments: &[&str]) -> Option<String> {
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    if !Path::new(&here).join(".git").exists() {
        return None;
    }
    let output = Command::new("git").current_dir(&here).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
