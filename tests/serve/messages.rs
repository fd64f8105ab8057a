//! Messages of a queue: hidden again while their departure is in progress, so that a killed replica's messages reach another one.

use std::time::Duration;

use decamp_sandbox::{ACCOUNT, Options, REGION, serve};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::replica::{QUEUE, Replica, queue, quick, requests, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_stays_hidden_while_its_replica_works_and_reaches_another_when_that_is_killed() {
    let sandbox = serve(&Options { delay: Duration::from_secs(25), ..quick() }).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let (queue, instance) = (queue(), sandbox.instances[0]);
    let settings = [("DECAMP_QUEUES", &*queue), ("DECAMP_QUEUE_HIDDEN", "6s"), ("DECAMP_SWEEP", "10m")];
    let first = Replica::start(&sandbox, &settings).await;
    let event = terminate(&sandbox, instance).await;
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default().send(&event.to_string());
    let path = format!("/v1/departures/{instance}");
    while first.get(&path).await.status() != 200 {
        sleep(Duration::from_millis(50)).await;
    }
    // Twice as long as the message is hidden for at a time.
    sleep(Duration::from_secs(12)).await;
    let hidden: Vec<u64> = sandbox.shared.stores().visibilities.iter().map(|(_, span)| *span).collect();
    assert!((5..=6).contains(&hidden.len()) && hidden.iter().all(|span| *span == 6), "{hidden:?}");
    assert_eq!(sandbox.shared.stores().queues[QUEUE].receives().collect::<Vec<_>>(), [1], "it was received again");

    let second = Replica::start(&sandbox, &settings).await;
    assert_eq!(sandbox.shared.stores().queues[QUEUE].receives().collect::<Vec<_>>(), [1], "it is the first one's");
    let killed = Instant::now();
    // Killed, without a signal to stop.
    drop(first);
    while second.get(&path).await.status() != 200 {
        assert!(killed.elapsed() < Duration::from_secs(9), "no replica took over: {}", second.printed());
        sleep(Duration::from_millis(50)).await;
    }
    assert!(crate::replica::machine_is_off(&sandbox, instance).await, "{}", second.printed());
    let past = second.past().await;
    assert_eq!((past["outcome"]["word"].as_str(), past["told_by"].as_str()), (Some("departed"), Some("queue")), "{past:#}");
    let (sent, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", second.printed());
    assert!(200 <= sent, "only {sent} requests were sent, so nothing was proved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_working_queue_does_not_hide_a_failing_one() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().queues.entry(QUEUE.to_owned()).or_default();
    let missing = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:not-there");
    let queues = format!("{},{missing}", queue());
    let replica = Replica::start(&sandbox, &[("DECAMP_QUEUES", &queues)]).await;
    let ill = async || {
        replica.json("/readyz").await["unseen"].as_array().is_some_and(|all| {
            all.iter().any(|one| {
                one["what"] == "SQS"
                    && one["why"].as_str().is_some_and(|why| why.contains(&missing) && why.contains("QueueDoesNotExist"))
            })
        })
    };
    let began = Instant::now();
    while !ill().await {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", replica.json("/readyz").await);
        sleep(Duration::from_millis(50)).await;
    }
    // The other queue is read meanwhile, and answers.
    for _ in 0..10 {
        let message = sandbox.shared.stores().queues.get_mut(QUEUE).map(|queue| queue.send("{\"decamp\":\"sweep\"}"));
        assert!(message.is_some());
        sleep(Duration::from_millis(100)).await;
        assert!(ill().await, "{}", replica.json("/readyz").await);
    }
}
