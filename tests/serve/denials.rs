//! A denied call is reported by a notification, in the metrics and with the departure.

use decamp_sandbox::serve;
use decamp_sandbox::wire::{FaultPlan, Rule, WireFault};

use crate::receiver::{Manners, Receiver, settings};
use crate::replica::{Replica, quick, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_call_is_notified_counted_and_shown() {
    let sandbox = serve(&quick()).await.expect("loopback has free ports");
    let instance = sandbox.instances[0];
    let receiver = Receiver::start(Manners::Well).await;
    let file = settings(&[("ops", "webhook", &receiver.url)]);
    let replica = Replica::start_with(&sandbox, &["--config", &file.path().display().to_string()], &[]).await;
    let denied = Rule::next(u32::MAX, "DeregisterTargets", WireFault::Denied);
    sandbox.shared.set_faults(FaultPlan::new(vec![denied], 1));
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);

    let notification = receiver.accepted("departure.denied").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    let denial = &notification.body["data"];
    assert_eq!((denial["call"].as_str(), denial["instance"].as_str()), (Some("deregister"), Some(&*instance.to_string())));
    assert!(denial["why"].as_str().is_some_and(|why| !why.is_empty()), "{denial:#}");
    let metrics = replica.text("/metrics").await;
    assert!(metrics.lines().any(|line| line == "decamp_denied_total{call=\"deregister\"} 1"), "{metrics}");
    let shown = replica.json(&format!("/v1/departures/{instance}")).await;
    let calls = shown["denied"].as_array().expect("a list");
    assert!(calls.iter().any(|call| call.as_str().is_some_and(|call| call.starts_with("deregister: "))), "{shown:#}");
}
