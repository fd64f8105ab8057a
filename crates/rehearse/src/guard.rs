//! The shell that stands between us and a program: it passes signals on, and lets nothing outlive us, whatever ends us.

use std::path::Path;
use std::process::{Command, Stdio};

/// A line on its input names a signal for the program. As soon as our end of that pipe is closed, which the system does even where we
/// are killed ourselves, the program is killed.
const GUARD: &str = r#"exec 3<&0
"$@" </dev/null 3<&- 2>&1 & program=$!
(while read -r signal <&3; do kill -s "$signal" "$program"; done; kill -s KILL "$program") >/dev/null 2>&1 & listener=$!
wait "$program"; code=$?
kill "$listener"; exit "$code""#;

/// The same for a folder: it goes when our end of the pipe is closed. Whoever writes into it may take a moment to end.
const SWEEPER: &str = r#"read -r nothing
[ -d "$1" ] || exit
sleep 1
for again in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" && exit; sleep 1; done"#;

/// A program of one's own: its processes and mounts are nobody else's, and all of them end with its first. It is in none of the
/// machine's control groups, and leaves none behind.
const APART: &str = r#"umount -R /sys/fs/cgroup; mount -t proc proc /proc && exec "$@""#;

/// How a process gets such a world.
const UNSHARE: [&str; 5] = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];

/// In whose world a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// Ours.
    Here,
    /// One of its own, as on a machine of its own: but for the network.
    Apart,
}

/// What runs a program under its guard: its arguments are the program's. The group is its own, so that a terminal's Ctrl-C reaches us
/// alone, and we end programs in order. Input and output are pipes.
pub(super) fn guarded(program: &Path, place: Where) -> Command {
    let mut command = shell(GUARD);
    if place == Where::Apart {
        command.args(UNSHARE).args(["sh", "-c", APART, "sh"]);
    }
    command.arg(program);
    command
}

/// What takes a folder away once we are gone.
pub(super) fn sweeper(folder: &Path) -> Command {
    let mut command = shell(SWEEPER);
    command.arg(folder).stdout(Stdio::null());
    command
}

fn shell(script: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    command
}

/// Why no program can have a world of its own here; `None` if it can.
pub(super) fn cannot_be_apart() -> Option<String> {
    let [unshare, arguments @ ..] = UNSHARE;
    let tried =
        Command::new(unshare).args(arguments).args(["mount", "-t", "proc", "proc", "/proc"]).stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(why) => Some(format!("run {unshare}: {why}")),
    }
}
