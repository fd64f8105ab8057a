//! A hundred departures at once in one process share their looks and lose nothing.

use std::cell::Cell;
use std::time::Duration;

use decamp_core::decide::Outcome;
use decamp_sandbox::Options;
use futures_util::future::{Either, join_all, select};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::rig::{Rig, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_departures_at_once_share_their_calls_and_lose_nothing() {
    let options = Options { nodes: 105, services: 100, heartbeat_timeout: Duration::from_secs(900), throttled: true, ..quick() };
    let rig = Rig::start(&options).await;
    let leaving = &rig.sandbox.instances[..100];
    let slowest = Cell::new(Duration::ZERO);
    let departures = join_all(leaving.iter().map(|instance| rig.depart(*instance)));
    let Either::Left((endings, _)) = select(Box::pin(departures), Box::pin(ask_consul(&rig, &slowest))).await;
    println!("Consul answered within {:?}", slowest.get());
    for (outcome, story) in &endings {
        // On a machine with other work, Consul takes seconds for an answer. What stopped meanwhile is named.
        let names_an_outage =
            matches!(outcome, Outcome::Unconfirmed { unseen: Some(_), cut: false, unread } if unread.is_empty());
        let as_expected = *outcome == Outcome::Departed { waiting_for: None } || names_an_outage && SLOW <= slowest.get();
        assert!(as_expected, "{outcome:?}, and Consul answered within {:?}\n{story}", slowest.get());
    }
    join_all(leaving.iter().map(|instance| rig.machine_is_off(*instance))).await;
    let (_, failures) = rig.requests();
    assert_eq!(failures, Value::Array(Vec::new()));
    let groups = u64::from(options.attached + options.named);
    let calls = rig.calls();
    println!("{calls} calls: {:?}", rig.live.calls().each().collect::<Vec<_>>());
    assert!(calls <= 5 * groups + 200, "{calls} calls: {:?}", rig.live.calls().each().collect::<Vec<_>>());
}

/// A departure asks Consul twice for one answer, and takes one that does not come for three seconds for an outage.
const SLOW: Duration = Duration::from_secs(1);

/// Asks Consul all the time, and keeps the longest time that an answer took.
async fn ask_consul(rig: &Rig, slowest: &Cell<Duration>) -> std::convert::Infallible {
    let all = rig.sandbox.variables();
    let (_, address) = all.iter().find(|(name, _)| *name == "CONSUL_HTTP_ADDR").expect("it has a Consul");
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    loop {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(address).await.expect("the sandbox listens");
        let request = format!("GET /v1/status/leader HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        slowest.set(slowest.get().max(asked.elapsed()));
        sleep(Duration::from_millis(200)).await;
    }
}
