//! A queue that is consumed: messages are kept hidden while their departures run, and deleted when those are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Service;
use super::departures::Done;
use super::loops::Loop;
use super::taking::{Again, take};
use decamp_aws::Received;

/// How long one call waits for a message.
const WAIT: Duration = Duration::from_secs(20);
/// A message that is held is hidden again this many times within the time that it is hidden for, so that two calls may fail.
const TIMES: u32 = 3;
/// SQS hides no message longer than 12 h since it was received; then the sweep goes on (ADR 0030).
const HELD_AT_MOST: Duration = Duration::from_hours(11);
/// A message that cannot be gone on with here is hidden for this long: as much is in hand as may be, or its task ended by a defect.
const NOT_NOW: Duration = Duration::from_secs(30);
/// The longest pause after calls that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Consumes every queue that is set. An observer leaves them alone: to receive a message is to hide it from whoever acts.
pub(super) fn consume_all(service: &Arc<Service>) -> Vec<Loop> {
    let queues = &service.settings.serve.queues;
    if service.settings.only_observes() {
        if !queues.is_empty() {
            info!("this replica only observes: the queues are left alone, and the sweep sees what waits");
        }
        return Vec::new();
    }
    queues.iter().map(|queue| Loop::begin("a queue", consume(Arc::clone(service), Arc::clone(queue)))).collect()
}

/// Consumes one queue until the service stops, and then hands back what it holds.
async fn consume(service: Arc<Service>, queue: Arc<str>) {
    let mut stopping = service.stopping.subscribe();
    let mut held = JoinSet::new();
    let mut failures = 0_u32;
    'receiving: loop {
        let room = async {
            while service.departures.is_full() {
                sleep(Duration::from_secs(1)).await;
            }
            service.live.signed().receive_messages(&queue, WAIT, service.settings.serve.queue_hidden).await
        };
        let mut receiving = std::pin::pin!(room);
        let received = loop {
            tokio::select! {
                biased;
                // What was handed out in this very moment comes again by itself.
                _ = stopping.wait_for(|stop| *stop) => break 'receiving,
                received = receiving.as_mut() => break received,
                Some(_) = held.join_next() => {}
            }
        };
        match received {
            Ok(messages) => {
                failures = 0;
                service.health.saw_one_of("SQS", Some(&queue), Ok(()));
                for message in messages {
                    held.spawn_local(hold(Arc::clone(&service), Arc::clone(&queue), message));
                }
            }
            Err(refusal) => {
                let pause = LONGEST_PAUSE.min(Duration::from_secs(1) * 2_u32.pow(failures.min(5)));
                failures += 1;
                service.health.saw_one_of("SQS", Some(&queue), Err(refusal.to_string()));
                warn!(queue = &*queue, why = %refusal, "no messages were received: {refusal}");
                tokio::select! {
                    _ = stopping.wait_for(|stop| *stop) => break 'receiving,
                    () = sleep(pause) => {}
                }
            }
        }
    }
    while held.join_next().await.is_some() {}
}

/// Holds one message until all that it told of is over.
async fn hold(service: Arc<Service>, queue: Arc<str>, message: Received) {
    let batch = serde_json::json!({ "Records": [message.as_record(&queue)] }).to_string();
    let taken = take(&service, batch.as_bytes(), "queue");
    match taken.again {
        Some(Again::Full | Again::TooManyWarnings) => return hide(&service, &queue, &message, NOT_NOW).await,
        Some(Again::Stopping) => return hide(&service, &queue, &message, Duration::ZERO).await,
        None => {}
    }
    if let Some(later) = taken.later.filter(|_| taken.entries.is_empty() && taken.errands.is_empty()) {
        return hide(&service, &queue, &message, later).await;
    }
    let mut over = std::pin::pin!(taken.done());
    let span = service.settings.serve.queue_hidden;
    let received = Instant::now();
    let mut hidden = received;
    loop {
        tokio::select! {
            biased;
            done = over.as_mut() => {
                if done == Done::LetGo {
                    let span = if *service.stopping.borrow() { Duration::ZERO } else { NOT_NOW };
                    return hide(&service, &queue, &message, span).await;
                }
                if let Some(later) = taken.later {
                    // SQS counts from when it was received.
                    return hide(&service, &queue, &message, later.min(HELD_AT_MOST.saturating_sub(received.elapsed()))).await;
                }
                break;
            }
            () = sleep_until(hidden + span / TIMES) => {}
        }
        hidden = Instant::now();
        if HELD_AT_MOST <= received.elapsed() {
            warn!(message.id = message.message_id, "held for 11 h and deleted; the departure goes on, and the sweep after it");
            break;
        }
        hide(&service, &queue, &message, span).await;
    }
    if let Err(refusal) = service.live.signed().delete_message(&queue, &message.receipt_handle).await {
        warn!(message.id = message.message_id, why = %refusal, "the message was not deleted and comes again: {refusal}");
    }
}

async fn hide(service: &Service, queue: &str, message: &Received, span: Duration) {
    if let Err(refusal) = service.live.signed().hide_message(queue, &message.receipt_handle, span).await {
        warn!(message.id = message.message_id, why = %refusal, "its visibility was not changed: {refusal}");
    }
}
