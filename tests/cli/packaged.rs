//! What a package needs from the command: its version, completions and man pages.

use std::collections::BTreeSet;

use super::{code, run, text};

#[test]
fn the_version_names_the_commit_that_it_is_built_from() {
    let version = text(&run(&["--version"]).stdout);
    let words: Vec<&str> = version.split_whitespace().collect();
    assert_eq!(words[..2], ["decamp", env!("CARGO_PKG_VERSION")], "{version}");
    // A source archive has no commit to name.
    if std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists() {
        let [commit, date] = words[2..] else { panic!("a commit and a date in {version:?}") };
        assert!(commit.starts_with('(') && commit.len() == 13 && commit[1..].chars().all(|c| c.is_ascii_hexdigit()), "{version}");
        assert!(date.len() == 11 && date.starts_with("20") && date.ends_with(')'), "{version}");
    }
}

#[test]
fn each_command_has_a_man_page_unless_it_is_hidden() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(&["man", folder.path().to_str().expect("a name")]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let pages: BTreeSet<String> = (std::fs::read_dir(folder.path()).expect("it exists").flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for name in ["decamp.1", "decamp-run.1", "decamp-refresh-start.1", "decamp-init.1"] {
        assert!(pages.contains(name), "{name} is not in {pages:?}");
    }
    assert!(!pages.contains("decamp-part.1") && !pages.contains("decamp-man.1"), "{pages:?}");
    let page = std::fs::read_to_string(folder.path().join("decamp-run.1")).expect("it exists");
    assert!(page.contains("departed") && page.contains(".SH OPTIONS"), "{page}");
    let output = run(&["man", "no/such/folder"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("write man pages into no/such/folder"), "{}", text(&output.stderr));
}

#[test]
fn completions_say_how_to_install_them() {
    let help = text(&run(&["completions", "--help"]).stdout);
    for word in ["bash-completion", "_decamp", "decamp.fish"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

#[test]
fn the_minimum_rust_version_is_that_of_the_toolchain() {
    let file = |name| std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it exists");
    let (manifest, toolchain, install) = (file("Cargo.toml"), file("rust-toolchain.toml"), file("docs/install.md"));
    let quoted = |text: &str, name: &str| {
        let rest = text.split(&format!("{name} = \"")).nth(1).expect("it is set");
        rest.split('"').next().expect("it ends").to_owned()
    };
    let (oldest, channel) = (quoted(&manifest, "rust-version"), quoted(&toolchain, "channel"));
    assert_eq!(channel.strip_prefix(&oldest), Some(".0"), "rust-version {oldest}, toolchain {channel}");
    assert!(install.contains(&format!("the one in `rust-toolchain.toml`, {oldest}.")), "docs/install.md says {oldest}");
}
