//! Tests of servers, proxies, the ledger and the judge, each separately.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::judge::Judged;
use super::ledger::{Class, FailureKind, Ledger, RequestOutcome};
use super::plan::{Chaos, Nature};
use super::processes::Names;
use super::proxy::{self, Cut, Stopped};
use super::self_check;
use super::server::{Ended, Server, full, plain};
use super::task;
use decamp_core::decide::{Finding, Layer, Loss};

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn ms(many: u64) -> Duration {
    Duration::from_millis(many)
}

async fn get(uri: String) -> Result<(StatusCode, usize), String> {
    let pool = proxy::pool(ms(500), false);
    let request = Request::get(uri).body(full("")).unwrap();
    let answer = pool.request(request).await.map_err(|why| why.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|why| why.to_string())?;
    Ok((status, body.to_bytes().len()))
}

#[tokio::test]
async fn an_obedient_process_accepts_no_more_connections_and_ends_after_its_last_request() {
    let mut server = task::start(FREE, Nature::Obedient).await.unwrap();
    let uri = |what: &str| format!("http://{}/a/{what}", server.address);
    let held = tokio::spawn(get(uri("work?ms=300")));
    sleep(ms(100)).await;
    let (began, refused) = (Instant::now(), uri("work"));
    server.finish();
    sleep(ms(50)).await;
    assert!(get(refused).await.is_err(), "it still accepts connections");
    assert_eq!(server.end().unwrap().await.unwrap(), Ended::ByItself);
    assert!(ms(150) < began.elapsed(), "it did not wait for the request in progress");
    assert_eq!(held.await.unwrap().unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn a_killed_process_drops_its_requests() {
    let mut server = task::start(FREE, Nature::Obedient).await.unwrap();
    let held = tokio::spawn(get(format!("http://{}/a/stream?ms=5000", server.address)));
    sleep(ms(250)).await;
    server.finish();
    server.kill();
    assert_eq!(server.end().unwrap().await.unwrap(), Ended::Killed);
    assert!(timeout(ms(1_000), held).await.unwrap().unwrap().is_err());
}

/// A proxy in front of a server, which cuts every request after this time.
async fn proxied(server: SocketAddr, after: Duration) -> Server {
    let pool = proxy::pool(ms(500), false);
    Server::start(FREE, move |request, token| {
        let (pool, state) = (pool.clone(), token.state.clone());
        async move {
            let cut: Cut = Box::pin(sleep(after));
            match proxy::forward(&pool, server, request, state, Some(cut)).await {
                Ok(answer) => answer,
                Err(Stopped::Cut) => plain(StatusCode::BAD_GATEWAY, "cut".to_owned()),
                Err(Stopped::Failed(why)) => plain(StatusCode::BAD_GATEWAY, proxy::why(&why)),
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_proxy_forwards_answers_and_a_cut_ends_them_before_or_in_the_middle() {
    let server = task::start(FREE, Nature::Obedient).await.unwrap();
    let patient = proxied(server.address, ms(60_000)).await;
    let (status, length) = get(format!("http://{}/a/stream?ms=300", patient.address)).await.unwrap();
    assert_eq!((status, length), (StatusCode::OK, 3 * 512));
    let hasty = proxied(server.address, ms(250)).await;
    assert_eq!(get(format!("http://{}/a/work?ms=5000", hasty.address)).await.unwrap().0, StatusCode::BAD_GATEWAY);
    assert!(get(format!("http://{}/a/stream?ms=5000", hasty.address)).await.is_err(), "the stream was whole");
}

#[tokio::test]
async fn a_proxy_reports_a_connection_that_no_server_accepts() {
    let server = task::start(FREE, Nature::Obedient).await.unwrap();
    let front = proxied(server.address, ms(60_000)).await;
    let gone = server.address;
    drop(server);
    sleep(ms(50)).await;
    let pool = proxy::pool(ms(500), false);
    let request = Request::get(format!("http://{}/a/work", front.address)).body(full("")).unwrap();
    let answer = pool.request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{gone}");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "it did not accept the connection");
}

#[tokio::test(start_paused = true)]
async fn the_account_counts_by_kind_and_measures_gaps_and_latency_from_the_due_time() {
    let service: Arc<str> = "service-1".into();
    let ledger = Ledger::begin([Arc::clone(&service)].into_iter());
    let due = Instant::now();
    sleep(ms(40)).await;
    ledger.sent(due);
    ledger.refresh_begins();
    ledger.ended(Class::Short, &service, due, RequestOutcome::Succeeded);
    sleep(ms(3_000)).await;
    ledger.sent(Instant::now());
    ledger.ended(Class::Short, &service, Instant::now(), RequestOutcome::Failed(FailureKind::BadGateway, "why".to_owned()));
    ledger.sent(Instant::now());
    ledger.ended(Class::Socket, &service, Instant::now(), RequestOutcome::Moved);
    let account = ledger.account();
    assert_eq!((account.requests, account.failed, account.moved), (3, 1, 1));
    assert_eq!(account.failed_by_kind.get("502"), Some(&1));
    assert!((39.0..42.0).contains(&account.short.p50), "{:?}", account.short);
    assert!((2.9..3.1).contains(&account.longest_gap["service-1"]), "{:?}", account.longest_gap);
    assert_eq!((account.seconds[0].ok, account.seconds[3].failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_finding_explains_only_failures_of_its_own_service_and_kind() {
    let ledger = Ledger::begin(std::iter::empty());
    let sent = "the ingress on node-1 sent it to service-1.group[0]: it did not accept the connection";
    for (service, cause) in [
        ("service-1", sent),
        ("service-2", sent),
        ("service-1", "the load balancer sent it to the ingress of i-1: it did not accept the connection"),
    ] {
        let failed = RequestOutcome::Failed(FailureKind::BadGateway, cause.to_owned());
        ledger.ended(Class::Short, &service.into(), Instant::now(), failed);
    }
    let finding = Finding {
        layer: Layer::Service,
        loss: Loss::LeavesBeforeForgotten,
        object: "service-1/group".into(),
        value: "shutdown_delay 4s".to_owned(),
        needed: "17s".to_owned(),
        why: String::new(),
        line: String::new(),
    };
    let judged = Judged::of(&ledger.account(), std::slice::from_ref(&finding), None);
    assert_eq!((judged.foreseen, judged.attributable), (1, 2));
    assert_eq!(Judged::of(&ledger.account(), &[], None).attributable, 3);
}

#[tokio::test(start_paused = true)]
async fn the_machine_is_blamed_for_unsent_requests_and_an_outdated_catalog_only_with_consul_for_all() {
    let ledger = Ledger::begin(std::iter::empty());
    for (how, cause) in [
        (FailureKind::Connection, "the load balancer: it did not accept the connection"),
        (
            FailureKind::BadGateway,
            "the ingress on node-1, with Consul unreachable, sent it to service-1.group[0]: it did not accept the connection",
        ),
        (FailureKind::BadGateway, "the ingress on node-1 sent it to service-1.group[0]: it did not accept the connection"),
    ] {
        ledger.ended(Class::Short, &"service-1".into(), Instant::now(), RequestOutcome::Failed(how, cause.to_owned()));
    }
    let of = |chaos| {
        let judged = Judged::of(&ledger.account(), &[], chaos);
        (judged.rig, judged.older_catalog, judged.attributable)
    };
    assert_eq!(of(None), (1, 0, 2));
    assert_eq!(of(Some(Chaos::Usual)), (1, 0, 2));
    assert_eq!(of(Some(Chaos::ConsulForAll)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn only_a_machine_that_does_not_keep_up_is_reported() {
    let service: Arc<str> = "service-1".into();
    let judged = Judged::default();
    for (late, is_named) in [(ms(1), false), (ms(40), true)] {
        let ledger = Ledger::begin(std::iter::empty());
        for _ in 0..100 {
            let due = Instant::now();
            sleep(late).await;
            ledger.sent(due);
            ledger.ended(Class::Short, &service, due, RequestOutcome::Succeeded);
        }
        let why = self_check::bottleneck(&ledger.account(), &judged);
        assert_eq!(why.is_some(), is_named, "{why:?}");
    }
    let ledger = Ledger::begin(std::iter::empty());
    let why = self_check::bottleneck(&ledger.account(), &Judged { rig: 3, ..judged }).unwrap();
    assert!(why.contains("3 requests did not reach the load balancer"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn the_address_of_a_process_in_a_cause_becomes_its_name() {
    let ledger = Ledger::begin(std::iter::empty());
    for address in ["127.0.0.12:20001", "127.0.0.12:2000"] {
        let cause = format!("the ingress on node-1 sent it to {address}: it did not accept the connection");
        ledger.ended(Class::Short, &"service-1".into(), Instant::now(), RequestOutcome::Failed(FailureKind::BadGateway, cause));
    }
    let names = Names::default();
    names.lock().unwrap().insert("127.0.0.12:20001".parse().unwrap(), "service-1.group[0]".into());
    let mut account = ledger.account();
    account.name_processes(&names);
    let causes: Vec<&str> = account.failures.iter().map(|failure| &*failure.cause).collect();
    assert_eq!(
        causes,
        [
            "the ingress on node-1 sent it to service-1.group[0]: it did not accept the connection",
            "the ingress on node-1 sent it to 127.0.0.12:2000: it did not accept the connection",
        ]
    );
}
