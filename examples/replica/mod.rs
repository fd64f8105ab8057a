//! A replica of `decamp serve` from the release binary, and the statistics that Linux keeps of its process.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use decamp_sandbox::Sandbox;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The key for `POST /v1/events`.
pub(crate) const KEY: &str = "a-key-for-measuring";

/// A replica that ends when this is dropped.
pub(crate) struct Replica {
    child: Child,
    /// The URL of the webhooks listener.
    pub(crate) webhooks: String,
    /// The URL of the admin listener.
    pub(crate) admin: String,
}

impl Replica {
    /// Starts a replica for this sandbox, with additional arguments and variables.
    pub(crate) async fn start(sandbox: &Sandbox, arguments: &[&OsStr], more: &[(&str, &str)]) -> Result<Self> {
        let here = std::env::current_exe()?;
        let binary: PathBuf = here.parent().and_then(|folder| folder.parent()).context("it is in a folder")?.join("decamp");
        let mut child = Command::new(&binary)
            .env_clear()
            .arg("serve")
            .args(arguments)
            .envs(sandbox.variables())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("DECAMP_WEBHOOKS_LISTEN", "127.0.0.1:0")
            .env("DECAMP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("DECAMP_EVENTS_KEY", KEY)
            .env("DECAMP_SOURCE_RATE", "1000000")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}; build it with `cargo build --release`", binary.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        while let Some(line) = lines.next_line().await? {
            let addresses = line.strip_prefix("webhooks on ").and_then(|rest| rest.split_once(", admin on "));
            if let Some((webhooks, admin)) = addresses {
                let replica = Self { child, webhooks: format!("http://{webhooks}"), admin: format!("http://{admin}") };
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(replica);
            }
        }
        bail!("the replica did not print its addresses")
    }

    /// The folder of the process in `/proc`.
    pub(crate) fn proc(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}", self.child.id().context("it runs")?)))
    }

    /// A number from the status of the process, such as `VmRSS`, which is in KiB.
    pub(crate) fn status(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc()?.join("status"))?;
        let number = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next());
        number.with_context(|| format!("the status has {name}"))?.parse().context("it is a number")
    }

    /// The CPU time that the process has used.
    pub(crate) fn processor(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(self.proc()?.join("stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u64 = [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<u64>().ok()).sum();
        // Linux has 100 ticks per second.
        Ok(Duration::from_millis(ticks * 10))
    }
}
