//! Floods of refused requests: the log stays small, and health checks are answered meanwhile.

use std::time::Duration;

use decamp_sandbox::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::replica::{Replica, quick};

/// The length of an invalid method: nearly as long as a head may be.
const LONG: usize = 12_000;

/// Sends these bytes repeatedly on several connections, for this time. Returns how many requests were answered.
async fn flood(address: &str, request: String, lasts: Duration) -> usize {
    let address = address.trim_start_matches("http://").to_owned();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (address, request) = (address.clone(), request.clone());
        all.spawn(async move {
            let end = Instant::now() + lasts;
            let mut answered = 0;
            while Instant::now() < end {
                let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
                let mut answer = [0; 4096];
                while Instant::now() < end
                    && stream.write_all(request.as_bytes()).await.is_ok()
                    && matches!(timeout(Duration::from_secs(2), stream.read(&mut answer)).await, Ok(Ok(1..)))
                {
                    answered += 1;
                }
            }
            answered
        });
    }
    all.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_requests_logs_little_and_fails_no_health_check() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[]).await;
    let lasts = Duration::from_secs(4);
    let long = "A".repeat(LONG);
    let floods = [
        ("a long method to a health path", &replica.admin, format!("{long} /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")),
        ("a health path", &replica.admin, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("a wrong host", &replica.admin, "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned()),
        ("nothing there", &replica.webhooks, "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("a long path", &replica.webhooks, format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n")),
        (
            "a wrong key",
            &replica.webhooks,
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: a-wrong-key-0123456789\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
        ),
    ];
    for (what, address, request) in floods {
        let before = replica.printed().len();
        let began = Instant::now();
        let flooding = flood(address, request, lasts);
        let checking = async {
            let mut slowest = Duration::ZERO;
            while began.elapsed() < lasts {
                let asked = Instant::now();
                assert_eq!(replica.get("/healthz").await.status(), 200, "{what}");
                slowest = slowest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            slowest
        };
        let (answered, slowest) = tokio::join!(flooding, checking);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let printed = replica.printed();
        let written = printed.len() - before;
        eprintln!("{what}: {answered} answers, {written} bytes of log, the slowest health check took {slowest:?}");
        assert!(100 < answered, "{what}: {answered} answers are no flood");
        assert!(written < 10_000 * 4, "{what}: {answered} answers wrote {written} bytes: {}", &printed[before..before + 2_000]);
        assert!(!printed.contains("AAAA"), "{what}");
        assert!(slowest < Duration::from_secs(1), "{what}: {slowest:?}");
        // A source has its rate and one burst. Beyond that, each connection has at most ten answers a second.
        assert!(answered < 100 * 5 + 100 + 16 * 10 * 5, "{what}: {answered} answers");
    }
}
