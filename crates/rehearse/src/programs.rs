//! Programs that end with the rehearsal, however it ends, and the temporary folder that they write to.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::supervised::{Isolation, supervised, sweeper};

/// Variables that would direct a program to another AWS or to other certificates than the rehearsal's.
const REMOVED_VARIABLES: [&str; 6] =
    ["AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_REGION"];
/// How often the removal of the folder is tried. A killed program may still be writing.
const REMOVAL_ATTEMPTS: u32 = 40;

/// A supervised program. It ends when this is dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // This takes as long as a kill. Afterwards no process is left.
        self.0.wait().ok();
    }
}

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program<'a> {
    pub(super) binary: &'a Path,
    pub(super) arguments: &'a [&'a str],
    pub(super) variables: &'a [(&'static str, String)],
    pub(super) isolation: Isolation,
}

/// Programs by name. When this is dropped, they end, and then the folder is removed.
#[derive(Debug)]
pub(super) struct Programs {
    path: PathBuf,
    /// `None` after the end, when no program may be started any more.
    kept: Mutex<Option<Kept>>,
}

/// The programs and their folder. Fields are dropped in this order.
#[derive(Debug)]
struct Kept {
    running: HashMap<String, Running>,
    _folder: Folder,
}

/// A folder that is removed when this process ends, even if it is killed.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _sweeper: Running,
}

impl Folder {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("decamp-rehearsal-").tempdir().context("make a temporary folder")?;
        let sweeper = sweeper(folder.path()).spawn().context("start a shell")?;
        Ok(Self { path: folder.keep(), _sweeper: Running(sweeper) })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..REMOVAL_ATTEMPTS {
            match std::fs::remove_dir_all(&self.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(25)),
                Ok(()) | Err(_) => return,
            }
        }
    }
}

impl Programs {
    /// Creates the folder. No program runs yet.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(super) fn new() -> Result<Self> {
        let folder = Folder::new()?;
        let path = folder.path.clone();
        Ok(Self { path, kept: Mutex::new(Some(Kept { running: HashMap::new(), _folder: folder })) })
    }

    /// The folder that the programs may write to.
    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program under this name. Its output goes to a file of that name in the folder.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(&self, name: &str, program: Program<'_>) -> Result<()> {
        let mut kept = self.lock();
        let kept = kept.as_mut().context("the rehearsal is over")?;
        let log = File::create(self.path.join(format!("{name}.log"))).context("write a log")?;
        let mut command = supervised(program.binary, program.isolation);
        for name in REMOVED_VARIABLES {
            command.env_remove(name);
        }
        let child = command
            .args(program.arguments)
            .envs(program.variables.iter().map(|(name, value)| (*name, value)))
            .stdout(log)
            .spawn()
            .with_context(|| format!("start {}", program.binary.display()))?;
        kept.running.insert(name.to_owned(), Running(child));
        Ok(())
    }

    /// Ends a program, if it runs.
    pub(super) fn end(&self, name: &str) {
        let program = self.lock().as_mut().and_then(|kept| kept.running.remove(name));
        drop(program);
    }

    /// Ends all programs and removes the folder. No program can be started after this.
    pub(super) fn end_all(&self) {
        let all = self.lock().take();
        drop(all);
    }

    /// The last lines that a program printed, for the error if it does not come up.
    pub(super) fn last_words(&self, name: &str) -> String {
        let printed = std::fs::read_to_string(self.folder().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { "it printed nothing".to_owned() } else { lines[lines.len().saturating_sub(3)..].join(" | ") }
    }
}

/// The first line that a program prints for the argument `version`.
///
/// # Errors
/// The program cannot be run, or fails.
pub(super) fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("version").stdin(Stdio::null()).output();
    let output = output.map_err(|why| {
        let missing = why.kind() == io::ErrorKind::NotFound;
        let why = if missing { "there is no such file".to_owned() } else { why.to_string() };
        anyhow::anyhow!("run {}: {why}", binary.display())
    })?;
    ensure!(output.status.success(), "{} fails with the argument version", binary.display());
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn runs(pid: &str) -> bool {
        Path::new("/proc").join(pid).exists()
    }

    /// The process id that the program wrote.
    fn written(path: &Path) -> String {
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.ends_with('\n') {
                return text.trim().to_owned();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it never wrote");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn program<'a>(binary: &'a str, arguments: &'a [&'a str]) -> Program<'a> {
        Program { binary: Path::new(binary), arguments, variables: &[], isolation: Isolation::Shared }
    }

    fn sleeper(programs: &Programs, name: &str) -> String {
        let path = programs.folder().join(format!("{name}.pid"));
        let script = format!("echo $$ > {}; trap '' TERM INT; while :; do sleep 1; done", path.display());
        programs.start(name, program("sh", &["-c", &script])).unwrap();
        written(&path)
    }

    #[test]
    fn a_program_that_ignores_signals_and_its_folder_end_with_their_owner() {
        let programs = Programs::new().unwrap();
        let (one, other) = (sleeper(&programs, "one"), sleeper(&programs, "other"));
        assert!(runs(&one) && runs(&other));
        programs.end("one");
        assert!(!runs(&one) && runs(&other));
        let folder = programs.folder().to_owned();
        programs.end_all();
        assert!(!runs(&other) && !folder.exists());
        assert!(programs.start("late", program("true", &[])).is_err());
        let programs = Programs::new().unwrap();
        let (third, folder) = (sleeper(&programs, "third"), programs.folder().to_owned());
        drop(programs);
        assert!(!runs(&third) && !folder.exists());
    }

    #[test]
    fn a_missing_binary_is_named() {
        let why = version(Path::new("/nowhere/consul")).unwrap_err().to_string();
        assert_eq!(why, "run /nowhere/consul: there is no such file");
    }
}
