//! The two listeners under bad input: every refusal is a problem document, and nothing is accepted that should not be.

use std::time::Duration;

use decamp_sandbox::serve;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::replica::{KEY, Replica, quick, terminate};

/// Asserts that the answer is a problem document of this kind.
async fn problem(answer: Response, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status(), status, "{kind}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{kind}");
    assert!(answer.headers().contains_key("x-request-id"), "{kind}");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["type"], format!("urn:decamp:problem:{kind}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{body}");
    body
}

/// Sends bytes on a connection and reads the whole answer.
async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.expect("it listens");
    // The service may close the connection before everything is written.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it answers or closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_answered_with_problem_documents() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[]).await;
    let (client, url) = (&replica.client, format!("{}/v1/events", replica.webhooks));
    let post = |key: &str, body: String| client.post(&url).header("x-api-key", key.to_owned()).body(body).send();

    problem(client.post(&url).body("{}").send().await.expect("an answer"), 401, "unauthorized").await;
    problem(post("another-key-0123456789", "{}".to_owned()).await.expect("an answer"), 401, "unauthorized").await;
    problem(client.post(&url).basic_auth("me", Some("wrong")).send().await.expect("an answer"), 401, "unauthorized").await;
    let basic =
        client.post(&url).basic_auth("anybody", Some(KEY)).body("{\"decamp\":\"sweep\"}").send().await.expect("an answer");
    assert_eq!(basic.status(), 202, "the key is the password");
    problem(client.get(&url).send().await.expect("an answer"), 405, "method-not-allowed").await;
    for path in ["/", "/v1/departures", "/metrics", "/v1/nothing", "/readyz"] {
        let answer = client.get(format!("{}{path}", replica.webhooks)).send().await.expect("an answer");
        problem(answer, 404, "not-found").await;
    }
    for body in ["", "{", "[]", "hello", "{\"canary\":\"x\"}", "[[[[[[[[{}]]]]]]]]", "\u{0}", "{\"detail-type\":1}"] {
        let told = problem(post(KEY, body.to_owned()).await.expect("an answer"), 400, "bad-event").await;
        assert!(!told.to_string().contains("canary"), "{told}");
    }
    // Bodies that are refused unread, also without a valid key: the client still gets the answer.
    for (key, size, status, kind) in [
        (KEY, 256 * 1024 + 1, 413, "too-large"),
        (KEY, 8 * 1024 * 1024, 413, "too-large"),
        ("another-key-0123456789", 8 * 1024 * 1024, 401, "unauthorized"),
    ] {
        let answer = post(key, "x".repeat(size)).await.expect("an answer");
        assert_eq!(answer.headers()["connection"], "close", "the next request on this connection would be lost");
        problem(answer, status, kind).await;
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(post(KEY, deep).await.expect("an answer").status(), 400);
    problem(replica.get("/v1/departures/i-1%22%20or%20true").await, 400, "bad-instance").await;
    problem(replica.get("/v1/departures/%ff").await, 400, "bad-instance").await;
    problem(
        client.post(format!("{}/v1/webhooks/%ff", replica.webhooks)).body("{}").send().await.expect("an answer"),
        401,
        "unauthorized",
    )
    .await;
    problem(replica.get("/v1/departures/i-0123456789abcdef0").await, 404, "no-such-departure").await;
    problem(replica.get("/v1/events").await, 404, "not-found").await;

    let elsewhere = client.get(format!("{}/v1/departures", replica.admin)).header("host", "evil.example").send();
    problem(elsewhere.await.expect("an answer"), 421, "wrong-host").await;
    let beside = client.get(format!("{}/v1/departures", replica.admin)).header("host", "localhost:evil.example").send();
    problem(beside.await.expect("an answer"), 421, "wrong-host").await;
    let elsewhere = client.post(&url).header("host", "evil.example").header("x-api-key", KEY).send();
    problem(elsewhere.await.expect("an answer"), 421, "wrong-host").await;
    let health = client.get(format!("{}/readyz", replica.admin)).header("host", "evil.example").send().await.expect("an answer");
    assert_eq!(health.text().await.expect("text"), "{\"status\":\"ready\"}", "a request by another name gets no reasons");
    assert_eq!(replica.get("/healthz").await.status(), 200, "it still runs");
    assert!(!replica.printed().contains("panicked"), "{}", replica.printed());
    assert!(!replica.printed().contains(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_sends_no_http_or_is_too_slow_is_closed() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[]).await;
    let nonsense = raw(&replica.webhooks, b"\x16\x03\x01\x02\x00 nonsense\r\n\r\n").await;
    assert!(nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400"), "{nonsense}");
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let many = format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n{many}\r\n");
    let many = raw(&replica.webhooks, many.as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let two_hosts =
        raw(&replica.admin, b"GET /v1/departures HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
            .await;
    assert!(two_hosts.starts_with("HTTP/1.1 421"), "{two_hosts}");
    let began = Instant::now();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n";
    let slow_head = raw(&replica.webhooks, head.as_bytes());
    let body = format!("{head}x-api-key: {KEY}\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{{");
    let slow_body = raw(&replica.webhooks, body.as_bytes());
    let (slow_head, slow_body) = tokio::join!(slow_head, slow_body);
    assert!(slow_head.is_empty() || slow_head.starts_with("HTTP/1.1 408"), "{slow_head}");
    assert!(slow_body.starts_with("HTTP/1.1 408") && slow_body.contains("urn:decamp:problem:too-slow"), "{slow_body}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(replica.get("/healthz").await.status(), 200, "it still runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_beyond_a_replicas_limit_is_answered_503() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_MOST_DEPARTURES", "1"), ("DECAMP_SWEEP", "10m")]).await;
    let one = terminate(&sandbox, sandbox.instances[0]).await;
    let other = terminate(&sandbox, sandbox.instances[1]).await;
    assert_eq!(replica.send(&one).await.status(), 202);
    let refused = replica.send(&other).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503, "full").await;
    assert_eq!(replica.send(&one).await.status(), 202, "a departure in progress stays accepted");
    let told = problem(replica.get("/readyz").await, 503, "not-ready").await;
    assert_eq!(told["not_ready"][0]["what"], "departures", "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_over_its_rate_limit_is_refused_and_the_others_are_served() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SOURCE_RATE", "20")]).await;
    let url = format!("{}/v1/events", replica.webhooks);
    let mut refused = 0;
    let ask = |_| replica.client.post(&url).header("x-api-key", "a-wrong-key-0123456789").body("{}").send();
    for answer in futures_util::future::join_all((0..60).map(ask)).await {
        let answer = answer.expect("an answer");
        if answer.status() == 429 {
            refused += 1;
            problem(answer, 429, "too-many-requests").await;
        }
    }
    assert!(10 < refused, "{refused}");
    assert_eq!(replica.send(&json!({ "decamp": "sweep" })).await.status(), 202, "a key is a source of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_connections_are_bounded_and_a_closed_one_makes_room() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_SOURCE_RATE", "10000")]).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let stream = replica.get("/v1/stream").await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = replica.get("/v1/stream").await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503, "busy").await;
    assert_eq!(replica.get("/healthz").await.status(), 200, "other requests are answered");
    streams.pop();
    let began = Instant::now();
    while replica.get("/v1/stream").await.status() != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "no stream was accepted although one was closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(streams);

    // On the other listener, one network has 256 connections: a new one evicts the oldest, and disturbs no other network.
    let address = replica.webhooks.trim_start_matches("http://");
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let mut closed = Vec::new();
    // The newest first, because every connection is closed after an idle second.
    for stream in held.iter_mut().rev() {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(1), stream.read(&mut byte)).await;
        closed.push(matches!(read, Ok(Ok(0) | Err(_))));
    }
    assert!(closed[256..].iter().all(|closed| *closed), "the oldest are closed");
    assert!(!closed[0], "the newest is open: {closed:?}");
    assert_eq!(replica.get("/healthz").await.status(), 200, "the other listener has a limit of its own");
    drop(held);
    let began = Instant::now();
    while replica.client.get(format!("{}/nothing", replica.webhooks)).send().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "no connection was accepted although all were closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_accepts_its_token_and_a_session() {
    const TOKEN: &str = "canary-admin-token-0123456789";
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[("DECAMP_ADMIN_TOKEN", TOKEN)]).await;
    for path in ["/v1/departures", "/metrics", "/v1/stream", "/live", "/page.js", "/"] {
        let refused = replica.get(path).await;
        assert_eq!(
            refused.headers()["www-authenticate"],
            "Bearer realm=\"decamp\"",
            "with Basic, the browser would ask for a password by itself"
        );
        problem(refused, 401, "unauthorized").await;
    }
    let health = replica.text("/healthz").await + &replica.text("/readyz").await;
    assert_eq!(health, "{\"status\":\"alive\"}{\"status\":\"ready\"}", "they show no names");
    let page = format!("{}/", replica.admin);
    let bearer = replica.client.get(&page).bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(bearer.status(), 200);
    assert_eq!(bearer.headers()["x-content-type-options"], "nosniff");
    assert!(bearer.headers()["content-security-policy"].to_str().is_ok_and(|csp| csp.starts_with("default-src 'self'")));
    let wrong = replica.client.get(&page).bearer_auth("another-token-0123456789").send().await.expect("an answer");
    problem(wrong, 401, "unauthorized").await;

    let login = format!("{}/login", replica.admin);
    let form = |token: &str| {
        let request = replica.client.post(&login).header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("token={token}")).send()
    };
    problem(form("another-token-0123456789").await.expect("an answer"), 401, "unauthorized").await;
    for wrong in ["token=another-token-0123456789", "token=", "nonsense"] {
        let request = replica.client.post(&login).header("content-type", "application/x-www-form-urlencoded");
        let again = request.header("accept", "text/html,*/*;q=0.8").body(wrong).send().await.expect("an answer");
        assert_eq!((again.status().as_u16(), &again.headers()["content-type"].to_str().expect("text")[..9]), (401, "text/html"));
        assert_eq!(again.headers()["www-authenticate"], "Bearer realm=\"decamp\"");
        let html = again.text().await.expect("it is text");
        assert!(html.contains("Wrong admin token") && html.contains("action=\"/login\"") && !html.contains("another"), "{html}");
    }
    // Raw bytes, because the client would follow the redirection to the page without the cookie.
    let answer = raw(
        &replica.admin,
        format!(
            "POST /login HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\ntoken={TOKEN}",
            TOKEN.len() + 6
        )
        .as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).and_then(|line| line.split(';').next());
    let cookie = cookie.expect("a cookie");
    assert!(answer.contains("HttpOnly; Secure; SameSite=Strict") && !cookie.contains(TOKEN));
    let open = replica.client.get(&page).header("cookie", cookie).send().await.expect("an answer");
    assert_eq!(open.status(), 200);
    assert!(cookie.starts_with("__Host-decamp="), "a neighbour under the same domain could set it: {cookie}");
    let beside = format!("other=1; __Host-decamp=1.00; {cookie}");
    let open = replica.client.get(&page).header("cookie", beside).send().await.expect("an answer");
    assert_eq!(open.status(), 200, "another cookie before it does not hide it");
    let html = open.text().await.expect("it is text");
    assert!(html.contains("action=\"/logout\""), "{html}");
    let leave =
        format!("POST /logout HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: {cookie}\r\ncontent-length: 0\r\n\r\n");
    let left = raw(&replica.admin, leave.as_bytes()).await;
    assert!(left.starts_with("HTTP/1.1 303") && left.contains("location: /login"), "{left}");
    assert!(left.contains("set-cookie: __Host-decamp=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict"), "{left}");
    let stranger = replica.client.post(format!("{}/logout", replica.admin)).send().await.expect("an answer");
    problem(stranger, 401, "unauthorized").await;
    let forged = replica.client.get(&page).header("cookie", format!("{cookie}0")).send().await.expect("an answer");
    problem(forged, 401, "unauthorized").await;
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_starts_a_sweep_and_an_unsigned_one_is_answered_like_an_unknown_one() {
    // GitHub's published test vector.
    const RIGHT: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "DECAMP_SWEEP = \"10m\"\n[webhooks.deploy]\nscheme = \"github\"\naction = \"look\"\nsecret = \"It's a Secret to Everybody\"\n";
    std::fs::write(file.path(), text).expect("it is ours");
    let replica = Replica::start_with(&sandbox, &["--config", &file.path().display().to_string()], &[]).await;
    let send = |name: &str, signature: &str, body: &'static str| {
        let request = replica.client.post(format!("{}/v1/webhooks/{name}", replica.webhooks));
        request.header("x-hub-signature-256", signature.to_owned()).body(body).send()
    };
    let before = replica.text("/metrics").await;
    assert!(before.contains("decamp_sweeps_total 1\n"), "{before}");
    let wrong = problem(send("deploy", RIGHT, "Hello, World").await.expect("an answer"), 401, "unauthorized").await;
    let unknown = problem(send("other", RIGHT, "Hello, World!").await.expect("an answer"), 401, "unauthorized").await;
    assert_eq!(wrong, unknown);
    assert_eq!(send("deploy", RIGHT, "Hello, World!").await.expect("an answer").status(), 202);
    let began = Instant::now();
    while !replica.text("/metrics").await.contains("decamp_sweeps_total 2\n") {
        // Requested sweeps are at least 5 s apart, and the first sweep was just now.
        assert!(began.elapsed() < Duration::from_secs(20), "no sweep started: {}", replica.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!replica.printed().contains("Secret to Everybody"));
}
