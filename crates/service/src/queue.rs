//! Consumes SQS queues: messages stay hidden while their departures run, and are deleted when those have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Service;
use super::departures::Done;
use super::intake::{RetryReason, accept};
use super::supervisor::Task;
use decamp_aws::Received;

/// How long one receive call waits for a message.
const WAIT: Duration = Duration::from_secs(20);
/// A held message is hidden again this many times within its hidden time, so that two calls may fail.
const TIMES: u32 = 3;
/// SQS hides a message for at most 12 h after it was received. After that, the sweep continues its departure (ADR 0030).
const HELD_AT_MOST: Duration = Duration::from_hours(11);
/// How long a message is hidden that this replica cannot continue, because it is at capacity or because the message's task ended by
/// a defect.
const RETRY_LATER: Duration = Duration::from_secs(30);
/// The longest pause after calls that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Consumes every queue in the settings. A replica that only observes receives nothing, because that would hide messages from
/// replicas that act.
pub(super) fn consume_all(service: &Arc<Service>) -> Vec<Task> {
    let queues = &service.settings.serve.queues;
    if service.settings.only_observes() {
        if !queues.is_empty() {
            info!("this replica only observes: it receives nothing from the queues, and the sweep finds waiting instances");
        }
        return Vec::new();
    }
    queues.iter().map(|queue| Task::spawn("a queue", consume(Arc::clone(service), Arc::clone(queue)))).collect()
}

/// Consumes one queue until the service stops, and then hands its messages back.
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
                // SQS delivers a message again that it hands out at this moment.
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

/// Holds one message until all departures that it reported have ended.
async fn hold(service: Arc<Service>, queue: Arc<str>, message: Received) {
    let batch = serde_json::json!({ "Records": [message.as_record(&queue)] }).to_string();
    let intake = accept(&service, batch.as_bytes(), "queue");
    match intake.retry {
        Some(RetryReason::Full | RetryReason::TooManyWarnings) => return hide(&service, &queue, &message, RETRY_LATER).await,
        Some(RetryReason::Stopping) => return hide(&service, &queue, &message, Duration::ZERO).await,
        None => {}
    }
    if let Some(later) = intake.hidden_for.filter(|_| intake.entries.is_empty() && intake.lookups.is_empty()) {
        return hide(&service, &queue, &message, later).await;
    }
    let mut ended = std::pin::pin!(intake.done());
    let span = service.settings.serve.queue_hidden;
    let received = Instant::now();
    let mut hidden = received;
    loop {
        tokio::select! {
            biased;
            done = ended.as_mut() => {
                if done == Done::Released {
                    let span = if *service.stopping.borrow() { Duration::ZERO } else { RETRY_LATER };
                    return hide(&service, &queue, &message, span).await;
                }
                if let Some(later) = intake.hidden_for {
                    // SQS counts the 12 h from the receipt.
                    return hide(&service, &queue, &message, later.min(HELD_AT_MOST.saturating_sub(received.elapsed()))).await;
                }
                break;
            }
            () = sleep_until(hidden + span / TIMES) => {}
        }
        hidden = Instant::now();
        if HELD_AT_MOST <= received.elapsed() {
            warn!(
                message.id = message.message_id,
                "held for 11 h and deleted; the departure continues, and sweeps continue it if this replica dies"
            );
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
