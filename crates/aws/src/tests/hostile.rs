//! Broken, truncated and foreign answers are never taken for answers of AWS.

use std::sync::Arc;

use super::auto_scaling::auto_scaling;
use super::wire::departure;
use super::wire::{Answer, Call, Server, group, health, instance, whole};
use crate::coalescing::InFlight;
use crate::load_balancers::LoadBalancers;
use decamp_core::decide::{ActionRef, LifecycleResult, Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::TargetId;

fn target() -> Target {
    Target { id: TargetId::Instance(instance(1)), port: 8080, zone: None, health: TargetHealth::Healthy }
}

/// A complete answer in which the instance is no longer listed.
fn body(call: &Call) -> String {
    let rows = health(&instance(2).to_string(), 80, "healthy", "");
    whole(call.action(), &format!("<TargetHealthDescriptions>{rows}</TargetHealthDescriptions><AutoScalingInstances/>"))
}

/// Every way in which an answer may be broken.
fn broken(way: usize, call: &Call) -> Option<Answer> {
    let page = "<html><head><title>502</title></head><body>Bad gateway</body></html>";
    let body = body(call);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\nconnection: close\r\n";
    Some(match way {
        0 => Answer::with(502, "text/html", page),
        1 => Answer::with(200, "text/html", page),
        2 => Answer::with(200, "application/json", "{}"),
        3 => Answer::with(200, "text/xml", ""),
        4 => Answer::with(200, "text/xml", &body[..body.len() / 2]),
        5 => Answer::with(200, "text/xml", &body[..body.len() - 3]),
        6 => Answer(format!("{head}content-length: {}\r\n\r\n{}", body.len(), &body[..body.len() / 2]).into()),
        7 => Answer(format!("{head}\r\n{}", &body[..body.len() / 2]).into()),
        8 => Answer::with(200, "text/xml", &body.replace(call.action(), "SomethingElse")),
        9 => Answer::with(403, "text/html", page),
        10 => Answer(Vec::new()),
        11 => Answer(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
        ),
        12 => Answer(b"garbage\r\n\r\n".to_vec()),
        _ => return None,
    })
}

#[tokio::test]
async fn a_broken_answer_is_an_error() {
    let mut ways = 0;
    while broken(ways, &Call::default()).is_some() {
        let way = ways;
        ways += 1;
        let server = Server::start(move |call: &Call| broken(way, call).expect("a known way")).await;
        let aws = server.aws().await;
        let balancers = LoadBalancers::new(&aws, &Arc::new(InFlight::default()));
        let auto_scaling = auto_scaling(&server).await;
        let by_id = ActionRef { hook: "decamp".into(), token: None };
        let web = group("web");
        let groups = [(web.clone(), false)];
        let targets = [target()];
        let (lifecycle, look, deregistered, completed) = tokio::join!(
            auto_scaling.instance(instance(1)),
            balancers.look(&groups, false),
            balancers.deregister(&web, &targets),
            auto_scaling.complete("web", instance(1), &by_id, LifecycleResult::Continue),
        );
        assert!(matches!(lifecycle, Err(Unseen::Away(_))), "way {way}: {lifecycle:?}");
        assert!(matches!(look[0].1, Err(Unseen::Away(_))), "way {way}: {look:?}");
        assert!(matches!(deregistered, Err(Refusal::Away(_))), "way {way}: {deregistered:?}");
        assert!(matches!(completed, Err(Refusal::Away(_))), "way {way}: {completed:?}");
    }
    assert!(10 < ways);
}

#[tokio::test]
async fn the_same_answer_unbroken_is_accepted() {
    let server = Server::start(|call: &Call| Answer::with(200, "text/xml", &body(call))).await;
    let balancers = LoadBalancers::new(&server.aws().await, &Arc::new(InFlight::default()));
    assert_eq!(balancers.deregister(&group("web"), &[target()]).await, Ok(()));
    assert!(auto_scaling(&server).await.lifecycle(&departure(1)).await.is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_exist_is_away() {
    let server = Server::start(|_: &Call| Answer(Vec::new())).await;
    let mut aws = server.aws().await;
    aws.settings.endpoint = Some("http://127.0.0.1:9".to_owned());
    let balancers = LoadBalancers::new(&aws, &Arc::new(InFlight::default()));
    let look = balancers.look(&[(group("web"), true)], false).await;
    assert!(matches!(look[0].1, Err(Unseen::Away(_))), "{look:?}");
}
