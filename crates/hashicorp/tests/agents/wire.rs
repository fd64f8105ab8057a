//! The answers of a broken network or a wrong server are never taken for answers of Nomad or Consul.

use std::sync::Arc;
use std::time::{Duration, Instant};

use decamp_config::TokenSource;
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_hashicorp::{consul, nomad};
use decamp_net::secrets::NoStore;

use super::server::{self, Reply, Server, is_away};

fn instance() -> InstanceId {
    "i-0123456789abcdef0".parse().expect("it fits")
}

type Wrong = (&'static str, fn() -> Reply);

/// Every kind of wrong answer, by name.
const WRONG: &[Wrong] = &[
    ("reset", || Reply::Reset),
    ("silence", || Reply::Silence),
    ("slow body", || Reply::Drip(Duration::from_millis(50))),
    ("closed without a word", || Reply::Bytes(String::new())),
    ("not HTTP", || Reply::Bytes("SSH-2.0-OpenSSH_9.2\r\n".into())),
    ("cut in the head", || Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Ty".into())),
    ("cut in the body", || {
        Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[]".into())
    }),
    ("cut in a chunk", || {
        Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n".into())
    }),
    ("ended by closing, and cut", || Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[{\"ID\":".into())),
    ("HTML, 200", || Reply::Whole(200, "text/html", Vec::new(), "[]".into())),
    ("no content type", || Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".into())),
    ("HTML, 502", || Reply::Whole(502, "text/html", Vec::new(), "<html>Bad Gateway</html>".into())),
    ("HTML that claims to be JSON", || Reply::json("<html></html>")),
    ("null", || Reply::json("null")),
    ("an empty body", || Reply::json("")),
    ("another kind of JSON", || Reply::json("\"[]\"")),
    ("two answers in one", || Reply::json("[][]")),
    ("no leader", || Reply::text(500, "No cluster leader")),
    ("not found by a proxy", || Reply::text(404, "404 page not found")),
    ("too large", || {
        Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n[]".into())
    }),
];

#[tokio::test]
async fn a_wrong_answer_is_never_a_missing_or_an_empty_node() {
    for (name, wrong) in WRONG {
        let server = Server::start(move |_| wrong()).await;
        let began = Instant::now();
        let look = server::nomad(&[&server.address], None).look(instance(), None).await;
        assert!(is_away(&look), "{name}: {look:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{name} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_wrong_answer_is_never_a_node_without_registrations() {
    for (name, wrong) in WRONG {
        if *name == "too large" || *name == "two answers in one" {
            continue; // The same HTTP client as for Nomad, tested above.
        }
        let server = Server::start(move |_| wrong()).await;
        let look = server::consul(&[&server.address], Some("t")).look("ip-10-0-0-1").await;
        assert!(is_away(&look), "{name}: {look:?}");
    }
}

#[tokio::test]
async fn after_a_wrong_answer_the_write_may_have_succeeded() {
    for (name, wrong) in WRONG {
        if *name == "not found by a proxy" || *name == "null" {
            continue;
        }
        let server = Server::start(move |_| wrong()).await;
        let answer = server::nomad(&[&server.address], None).make_ineligible(NodeId(1)).await;
        assert!(matches!(answer, Err(Refusal::Away(_))), "{name}: {answer:?}");
        assert_eq!(server.requests().len(), 1, "{name}: a write that may have succeeded is not sent twice");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_does_not_get_the_token() {
    let thief = Server::start(|_| Reply::json("[]")).await;
    let target = format!("{}/v1/nodes", thief.address);
    let server = Server::start(move |_| Reply::text(307, "moved").with("Location", &target)).await;
    let look = server::nomad(&[&server.address], Some("canary")).look(instance(), None).await;
    assert!(is_away(&look), "{look:?}");
    assert_eq!(thief.requests().len(), 0);
    assert_eq!(server.requests()[0].headers.get("x-nomad-token").map(String::as_str), Some("canary"));
}

#[tokio::test]
async fn a_token_is_in_no_error() {
    let server = Server::start(|r| Reply::text(500, &format!("boom {:?}", r.headers))).await;
    let look = server::nomad(&[&server.address], Some("canary-token")).look(instance(), None).await;
    assert!(is_away(&look) && !format!("{look:?}").contains("canary-token"), "{look:?}");
}

#[tokio::test]
async fn refusals_are_distinguished() {
    let cases: &[(u16, &str, Unseen)] = &[
        (403, "Permission denied", Unseen::Denied("Permission denied".into())),
        (429, "Your IP is issuing too many concurrent connections", Unseen::Throttled),
    ];
    for (status, text, unseen) in cases {
        let (status, text) = (*status, *text);
        let server = Server::start(move |_| Reply::text(status, text)).await;
        let look = server::nomad(&[&server.address], None).look(instance(), None).await;
        assert_eq!(look, Err(unseen.clone()));
    }
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_fails_and_stays_in_use() {
    let dead = Server::start(|_| Reply::text(500, "rpc error: EOF")).await;
    let alive = Server::start(|_| Reply::json("[]")).await;
    let client = server::nomad(&["http://127.0.0.1:1", &dead.address, &alive.address], None);
    for _ in 0..3 {
        let look = client.look(instance(), None).await.expect("one of them is alive");
        assert!(look.nodes.is_empty());
    }
    assert_eq!(dead.requests().len(), 1);
    assert_eq!(alive.requests().len(), 6, "each look makes two requests: by instance id, then by other means");
}

#[tokio::test]
async fn a_write_goes_to_a_second_address_only_if_the_first_cannot_have_received_it() {
    let silent = Server::start(|_| Reply::Silence).await;
    let alive = Server::start(|_| Reply::json(r#"{"Index":7}"#)).await;
    let client = server::nomad(&["http://127.0.0.1:1", &alive.address], None);
    assert_eq!(client.make_ineligible(NodeId(1)).await, Ok(()));
    let client = server::nomad(&[&silent.address, &alive.address], None);
    assert!(matches!(client.make_ineligible(NodeId(1)).await, Err(Refusal::Away(_))));
    assert_eq!(alive.requests().len(), 1);
    assert_eq!(client.make_ineligible(NodeId(1)).await, Ok(()), "the next write goes to the address that was not silent");
}

#[tokio::test]
async fn a_look_does_not_fail_because_an_idle_connection_broke() {
    let mut turn = 0;
    let server = Server::start(move |_| {
        turn += 1;
        if turn == 2 { Reply::Reset } else { Reply::json("[]") }
    })
    .await;
    let client = server::nomad(&[&server.address], None);
    assert!(client.look(instance(), None).await.is_ok());
}

#[tokio::test]
async fn a_denied_token_is_read_again_only_after_a_while() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "old\n").expect("it is ours");
    let server = Server::start(|r| match r.headers.get("x-consul-token").map(String::as_str) {
        Some("new") if r.path.contains("health") => Reply::json("[]"),
        Some("new") => Reply::json(r#"{"Node":null,"Services":null}"#),
        _ => Reply::text(403, "ACL not found"),
    })
    .await;
    let mut connection = server::connection(&[&server.address], None);
    connection.token = TokenSource::File(file.path().into());
    let client = consul::Client::new(&connection, Arc::new(NoStore)).expect("it is well");
    assert_eq!(client.look("n").await, Err(Unseen::Denied("ACL not found".into())));
    std::fs::write(file.path(), "new\n").expect("it is ours");
    assert_eq!(client.look("n").await, Err(Unseen::Denied("ACL not found".into())), "it was read just now");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    let before = server.requests().len();
    assert!(client.look("n").await.is_ok_and(|seen| seen.services.is_empty()));
    let refused = |r: &&super::server::Request| r.headers.get("x-consul-token").map(String::as_str) == Some("old");
    assert!(server.requests()[before..].iter().filter(refused).count() <= 2, "services and checks are requested concurrently");
}

#[tokio::test]
async fn a_missing_certificate_is_an_error_at_the_start() {
    let mut connection = server::connection(&["https://127.0.0.1:1"], None);
    connection.tls.ca = Some("/nowhere/ca.pem".into());
    let why = nomad::Client::new(&connection, Arc::new(NoStore), server::clock()).err().map(|e| format!("{e:#}"));
    assert!(why.is_some_and(|why| why.contains("/nowhere/ca.pem")));
}

#[tokio::test]
async fn many_concurrent_looks_use_few_connections_and_none_waits_forever() {
    let server = Server::start(|_| Reply::Silence).await;
    let nomad = server::nomad(&[&server.address], None);
    let began = Instant::now();
    let looks = futures_util::future::join_all((0..200).map(|_| nomad.look(instance(), None))).await;
    assert!(looks.iter().all(is_away));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Nomad accepts 100 connections from one address, and blocking queries use some of them.
    assert!(server.requests().len() <= 2 * 32, "{}", server.requests().len());
}
