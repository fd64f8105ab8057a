//! A shell that supervises a program: it forwards signals, and kills the program when this process ends for any reason.

use std::path::Path;
use std::process::{Command, Stdio};

/// A line on its input names a signal for the program. When our end of that pipe is closed, it kills the program. The system closes the
/// pipe even if we are killed.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- 2>&1 & program=$!
(while read -r signal <&3; do kill -s "$signal" "$program"; done; kill -s KILL "$program") >/dev/null 2>&1 & listener=$!
wait "$program"; code=$?
kill "$listener"; exit "$code""#;

/// Removes a folder when our end of the pipe is closed. It tries again, because programs that write there may take a moment to end.
const SWEEPER: &str = r#"read -r nothing
[ -d "$1" ] || exit
sleep 1
for again in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" && exit; sleep 1; done"#;

/// Runs a program with its own process and mount namespaces. All its processes end with the first one. It sees none of the machine's
/// control groups, so it leaves none behind.
const OWN_NAMESPACES: &str = r#"umount -R /sys/fs/cgroup; mount -t proc proc /proc && exec "$@""#;

/// The command that creates these namespaces.
const UNSHARE: [&str; 5] = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];

/// The namespaces that a program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Ours.
    Shared,
    /// Its own process and mount namespaces, as if on a separate machine. The network is shared.
    OwnNamespaces,
}

/// The command that runs a program under supervision. Further arguments are those of the program. It gets its own process group, so
/// that Ctrl-C in a terminal reaches only us, and we stop the programs in order. Input and output are pipes.
pub(super) fn supervised(program: &Path, isolation: Isolation) -> Command {
    let mut command = shell(SUPERVISOR);
    if isolation == Isolation::OwnNamespaces {
        command.args(UNSHARE).args(["sh", "-c", OWN_NAMESPACES, "sh"]);
    }
    command.arg(program);
    command
}

/// The command that removes a folder when this process ends.
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

/// Why programs cannot get their own namespaces on this machine. `None` if they can.
pub(super) fn why_no_namespaces() -> Option<String> {
    let [unshare, arguments @ ..] = UNSHARE;
    let tried =
        Command::new(unshare).args(arguments).args(["mount", "-t", "proc", "proc", "/proc"]).stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(why) => Some(format!("run {unshare}: {why}")),
    }
}
