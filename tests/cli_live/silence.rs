//! What `decamp run` says while nothing changes, where nobody watches a terminal.

use std::time::Duration;

use decamp_sandbox::{Options, serve};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use super::{decamp, quick, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_a_terminal_no_half_minute_passes_without_a_line() {
    // A delay that is waited for longer than half a minute, for one reason and without a write.
    let sandbox = serve(&Options { delay: Duration::from_secs(50), ..quick() }).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let mut child = decamp(&sandbox, &["run", "--instance", &instance.to_string()]).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
    let (mut last, mut longest, mut said) = (Instant::now(), Duration::ZERO, Vec::new());
    while let Some(line) = lines.next_line().await.expect("text") {
        longest = longest.max(last.elapsed());
        last = Instant::now();
        said.push(line);
    }
    let said = said.join("\n");
    assert_eq!(child.wait().await.expect("it ends").code(), Some(0), "{said}");
    assert!(said.contains("  still wait ") && said.contains("may still send to it"), "{said}");
    assert!(Duration::from_secs(25) < longest && longest < Duration::from_secs(40), "{longest:?}: {said}");
}
