//! Queues and their messages.

use std::time::Duration;

use decamp::sim::sandbox::{ACCOUNT, REGION, serve};
use tokio::time::{Instant, sleep};

use crate::replica::{QUEUE, Replica, queue, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_well_hides_none_that_is_not() {
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
    // The other one is asked all the while, and answers.
    for _ in 0..10 {
        let message = sandbox.shared.stores().queues.get_mut(QUEUE).map(|queue| queue.send("{\"decamp\":\"sweep\"}"));
        assert!(message.is_some());
        sleep(Duration::from_millis(100)).await;
        assert!(ill().await, "{}", replica.json("/readyz").await);
    }
}
