//! Real agents from the PATH as child processes, which end with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program with this name on the PATH. Without one it prints that the test is skipped.
pub(crate) fn on_the_path(name: &str) -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    if path.is_empty() {
        println!("skipped: no {name} on the path");
        return None;
    }
    Some(path.into())
}

/// A running agent. It is killed when it is dropped.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().expect("it can be started"))
    }

    /// Kills it at once, so that it cannot leave the cluster in order.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }

    /// Sends SIGTERM and waits for the end: Nomad then stops its tasks and removes its mounts.
    pub(crate) fn stop(mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Free ports on this address.
pub(crate) fn free_ports<const N: usize>(address: &str) -> [u16; N] {
    let taken: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind((address, 0)).expect("a port"));
    taken.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// Waits until `poll` returns a value, and fails the test with `what` after the time limit.
pub(crate) async fn until<T>(what: &str, time_limit: Duration, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = poll().await {
            return answer;
        }
        assert!(began.elapsed() < time_limit, "{what}: not within {time_limit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An HTTP client for the tests' own requests to real agents.
pub(crate) fn http() -> reqwest::Client {
    // Fails if another test has installed it, which is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
