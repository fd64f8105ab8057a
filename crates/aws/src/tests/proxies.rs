//! Calls of AWS use the proxy of the settings, except for its exceptions; and no answer fills the memory.

use std::sync::Arc;

use super::wire::{Answer, Call, Server, departure, row};
use crate::auto_scaling::AutoScaling;
use crate::aws::{Aws, Keys};
use crate::coalescing::InFlight;
use crate::load_balancers::LoadBalancers;
use crate::signed::Signed;
use decamp_config as settings;
use decamp_config::{Proxy, Stored};
use decamp_core::decide::{Lifecycle, Refusal, Unseen};
use decamp_net::secrets::{Fetch, NotFetched};

async fn behind(proxy: &Server, except: &str, endpoint: Option<&str>) -> Aws {
    let settings = settings::Aws {
        region: Some("eu-west-1".to_owned()),
        endpoint: endpoint.map(str::to_owned),
        proxy: Some(Proxy { url: proxy.address.clone(), except: except.to_owned() }),
        ..settings::Aws::default()
    };
    let mut aws = Aws::load(&settings, Some(Keys { id: "AKIDEXAMPLE".to_owned(), secret: "secret-canary".to_owned() })).await;
    aws.backoff = std::time::Duration::from_millis(1);
    aws
}

fn listed(call: &Call) -> Answer {
    let id = departure(1).instance.to_string();
    Answer::result(
        call.action(),
        &format!("<AutoScalingInstances>{}</AutoScalingInstances>", row(&id, "web", "Terminating:Wait")),
    )
}

#[tokio::test]
async fn every_call_uses_the_proxy_unless_its_host_is_excepted() {
    let proxy = Server::start(listed).await;
    let aws = behind(&proxy, "", Some("http://aws.invalid:8080")).await;
    let in_flight = Arc::new(InFlight::default());
    assert_eq!(AutoScaling::new(&aws, &in_flight).lifecycle(&departure(1)).await, Ok(Lifecycle::Waiting));
    let _ = Signed::new(&aws).fetch(&Stored::Ssm("n".into())).await;
    let heads = proxy.heads();
    assert!(heads.len() == 2 && heads.iter().all(|head| head.starts_with("POST http://aws.invalid:8080/")), "{heads:?}");

    // Hosts that are excepted are called directly.
    let (unused, direct) = (Server::start(listed).await, Server::start(listed).await);
    let aws = behind(&unused, "example.com,127.0.0.0/8", Some(&direct.address)).await;
    assert_eq!(AutoScaling::new(&aws, &in_flight).lifecycle(&departure(1)).await, Ok(Lifecycle::Waiting));
    let _ = Signed::new(&aws).fetch(&Stored::Ssm("n".into())).await;
    assert_eq!((unused.count(), direct.count()), (0, 2));
}

#[tokio::test]
async fn the_services_own_hosts_are_reached_through_a_tunnel() {
    let proxy = Server::start(|_| Answer::with(403, "text/plain", "no")).await;
    let aws = behind(&proxy, "", None).await;
    let in_flight = Arc::new(InFlight::default());
    assert!(matches!(AutoScaling::new(&aws, &in_flight).lifecycle(&departure(1)).await, Err(Unseen::Away(_))));
    let group = [(super::wire::group("web"), true)];
    assert!(LoadBalancers::new(&aws, &in_flight).look(&group, false).await[0].1.is_err());
    let signed = Signed::new(&aws);
    assert!(signed.fetch(&Stored::Ssm("n".into())).await.is_err());
    assert!(signed.fetch_certificate("arn:aws:sns:eu-west-1:123456789012:t", "f.pem", 100).await.is_err());
    let heads = proxy.heads();
    for host in ["autoscaling", "elasticloadbalancing", "ssm", "sns"] {
        let wanted = format!("CONNECT {host}.eu-west-1.amazonaws.com:443 ");
        assert!(heads.iter().any(|head| head.starts_with(&wanted)), "{wanted}: {heads:?}");
    }
}

#[tokio::test]
async fn a_too_large_answer_is_an_error() {
    let server = Server::start(|call: &Call| {
        // A complete answer of forty million bytes.
        let spaces = " ".repeat(40_000_000);
        Answer::result(call.action(), &format!("<AutoScalingInstances>{spaces}</AutoScalingInstances>"))
    })
    .await;
    let aws = server.aws().await;
    let seen = AutoScaling::new(&aws, &Arc::new(InFlight::default())).lifecycle(&departure(1)).await;
    assert!(matches!(&seen, Err(Unseen::Away(why)) if why.contains("length limit")), "{seen:?}");
    // Calls that decamp signs itself, and certificates, have their own limits.
    let signed = Signed::new(&aws);
    let seen = signed.fetch(&Stored::Ssm("n".into())).await;
    assert!(matches!(&seen, Err(NotFetched::Unseen(Unseen::Away(why))) if why.contains("is too large")), "{seen:?}");
    let seen = signed.fetch_certificate("arn:aws:sns:eu-west-1:123456789012:t", "f.pem", 100).await;
    assert!(matches!(&seen, Err(Refusal::Away(why)) if why.contains("is too large")), "{seen:?}");
}
