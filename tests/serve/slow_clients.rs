//! Slow clients and readers: a log that nobody reads, bodies that do not end, answers that are not read.

use std::process::Stdio;
use std::time::Duration;

use decamp_sandbox::serve;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::replica::{KEY, Replica, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nothing() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let mut command = Command::new(env!("CARGO_BIN_EXE_decamp"));
    command.env_clear().arg("serve").envs(sandbox.variables()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("DECAMP_WEBHOOKS_LISTEN", "127.0.0.1:0").env("DECAMP_ADMIN_LISTEN", "127.0.0.1:0");
    command.env("DECAMP_EVENTS_KEY", KEY).env("DECAMP_SOURCE_RATE", "100000");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    // The pipe stays open and is never read. 64 KiB fit into it.
    let _log = child.stderr.take().expect("it is piped");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = timeout(Duration::from_secs(20), said.next_line()).await.expect("it begins").expect("text").expect("a line");
    let (webhooks, admin) = line.strip_prefix("webhooks on ").and_then(|rest| rest.split_once(", admin on ")).expect("addresses");
    // An error means that another test has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The service closes the idle connections of strangers. On a busy machine one may be closed just when it is used again.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("it has no settings that may fail");
    for number in 0..3_000 {
        let answer = timeout(Duration::from_secs(5), client.get(format!("http://{webhooks}/nothing")).send()).await;
        assert_eq!(answer.expect("it is answered").expect("an answer").status(), 404, "{number}");
    }
    assert_eq!(client.get(format!("http://{admin}/healthz")).send().await.expect("an answer").status(), 200);
    let id = child.id().expect("it runs").to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there");
    let ended = timeout(Duration::from_secs(10), child.wait()).await.expect("it is gone within 10 s");
    assert_eq!(ended.expect("it ended").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_end_keep_out_no_client_with_a_key() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[webhooks.deploy]\nscheme = \"github\"\naction = \"look\"\nsecret = \"canary-of-sixteen-and-more\"\n";
    std::fs::write(file.path(), text).expect("it is ours");
    let settings = [("DECAMP_SOURCE_RATE", "10000")];
    let replica = Replica::start_with(&sandbox, &["--config", &file.path().display().to_string()], &settings).await;
    let address = replica.webhooks.trim_start_matches("http://").parse().expect("an address");
    let head = "POST /v1/webhooks/deploy HTTP/1.1\r\nhost: localhost\r\ncontent-length: 262144\r\n\r\n";
    let mut held = Vec::new();
    // From eight addresses, as many as each may have and more.
    for number in 0..240 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("127.0.0.{}:0", 2 + number % 8).parse().expect("an address")).expect("loopback is all of it");
        let mut stream = socket.connect(address).await.expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        held.push(stream);
    }
    sleep(Duration::from_millis(500)).await;
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(replica.send(&json!({ "decamp": "sweep" })).await.status(), 202);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    for stream in &mut held {
        let mut answer = [0; 12];
        timeout(Duration::from_secs(2), stream.read_exact(&mut answer)).await.expect("it is answered").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answers_is_disconnected() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SOURCE_RATE", "1000000")]).await;
    let mut stream = TcpStream::connect(replica.webhooks.trim_start_matches("http://")).await.expect("it listens");
    let requests = "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let began = Instant::now();
    // The client writes until the service reads no more, then waits until the service closes the connection.
    let cut_off = async {
        loop {
            if stream.write_all(requests.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(40), cut_off).await.expect("it is cut off");
    // Without a key, it has one second without progress.
    assert!(Duration::from_secs(1) < began.elapsed(), "it had its time: {:?}", began.elapsed());
    assert_eq!(replica.get("/healthz").await.status(), 200, "it still runs");
}
