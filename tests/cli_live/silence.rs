//! The output of `decamp run` into a pipe while nothing changes.

use std::time::Duration;

use decamp_sandbox::{Options, serve};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

use super::{decamp, quick, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn into_a_pipe_a_long_wait_prints_a_line_every_half_minute() {
    // A wait of more than half a minute for one reason and without a write.
    let sandbox = serve(&Options { delay: Duration::from_secs(50), ..quick() }).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    terminate(&sandbox, instance).await;
    let mut child = decamp(&sandbox, &["run", "--instance", &instance.to_string()]).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (mut last, mut longest, mut printed) = (Instant::now(), Duration::ZERO, Vec::new());
    while let Some(line) = lines.next_line().await.expect("text") {
        longest = longest.max(last.elapsed());
        last = Instant::now();
        printed.push(line);
    }
    let printed = printed.join("\n");
    assert_eq!(child.wait().await.expect("it ends").code(), Some(0), "{printed}");
    assert!(printed.contains("  still wait ") && printed.contains("may still send to it"), "{printed}");
    assert!(Duration::from_secs(25) < longest && longest < Duration::from_secs(40), "{longest:?}: {printed}");
}
