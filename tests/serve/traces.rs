//! Traces from the collector's side: one for each departure, a span for each step, and no harm from a failing collector.

use std::collections::BTreeSet;
use std::time::Duration;

use decamp_sandbox::serve;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::receiver::{Manners, Receiver};
use crate::replica::{Replica, machine_is_off, quick, requests, terminate};

/// All spans that a collector accepted.
fn spans(collector: &Receiver) -> Vec<Value> {
    let bodies = collector.all().into_iter().filter(|told| told.accepted).map(|told| told.body["resourceSpans"][0].clone());
    let lists = bodies.map(|body| {
        assert_eq!(body["resource"]["attributes"][0]["value"]["stringValue"], "decamp", "{body:#}");
        body["scopeSpans"][0]["spans"].as_array().expect("spans").clone()
    });
    lists.flatten().collect()
}

fn attribute<'a>(span: &'a Value, name: &str) -> Option<&'a str> {
    let all = span["attributes"].as_array()?;
    all.iter().find(|row| row["key"] == name)?["value"]["stringValue"].as_str()
}

fn nanoseconds(span: &Value, which: &str) -> u128 {
    span[which].as_str().and_then(|text| text.parse().ok()).expect("nanoseconds as text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departure_is_one_trace_with_a_span_for_each_step() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    // It is unreachable for some seconds. The spans are sent again.
    let collector = Receiver::start(Manners::FailsFirst(3, 503)).await;
    let settings = [("DECAMP_TRACES", &*collector.url), ("DECAMP_TRACES_HEADER", "authorization: Bearer canary-collector")];
    let mut replica = Replica::start(&sandbox, &settings).await;
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let past = replica.past().await;
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());

    assert!(collector.all()[0].whole.contains("authorization"), "the header is sent");
    assert_eq!(collector.all().iter().filter(|told| !told.accepted).count(), 3);
    let spans = spans(&collector);
    let traces: BTreeSet<&str> = spans.iter().filter_map(|span| span["traceId"].as_str()).collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
    assert!(traces.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    let id = *traces.first().expect("there is one");
    assert_eq!(past["trace_id"], id, "the departure links to its trace");
    let lines: Vec<Value> = replica.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_it: Vec<&Value> = lines.iter().filter(|line| line["asg.name"].is_string()).collect();
    assert!(of_it.iter().any(|line| line["outcome"] == "departed"), "{of_it:#?}");
    assert!(of_it.iter().all(|line| line["span"]["trace_id"] == id), "{of_it:#?}");
    let whole: Vec<&Value> = spans.iter().filter(|span| span["parentSpanId"].is_null()).collect();
    assert_eq!(whole.len(), 1, "{whole:#?}");
    let whole = whole[0];
    assert_eq!((whole["name"].as_str(), attribute(whole, "decamp.outcome")), (Some("departure"), Some("departed")));
    assert_eq!(attribute(whole, "host.id"), Some(&*instance.to_string()));
    let took = nanoseconds(whole, "endTimeUnixNano") - nanoseconds(whole, "startTimeUnixNano");
    assert!((3_000_000_000..60_000_000_000).contains(&took), "{took}");

    let steps: Vec<&Value> = spans.iter().filter(|span| !span["parentSpanId"].is_null()).collect();
    assert!(steps.iter().all(|step| step["parentSpanId"] == whole["spanId"]), "{steps:#?}");
    let reasons: BTreeSet<&str> = steps.iter().filter_map(|step| attribute(step, "decamp.reason")).collect();
    for reason in ["not-known-yet", "takes-new-work", "takes-requests", "load-balancer-delay", "allocations-left", "nothing-left"]
    {
        assert!(reasons.contains(reason), "{reason} is not in {reasons:?}");
    }
    let delay =
        steps.iter().filter(|step| attribute(step, "decamp.reason") == Some("load-balancer-delay") && step["name"] == "wait");
    let waited: u128 =
        delay.clone().map(|step| nanoseconds(step, "endTimeUnixNano") - nanoseconds(step, "startTimeUnixNano")).sum();
    assert!(1_000_000_000 < waited, "{waited}");
    assert!(
        delay.clone().all(|step| attribute(step, "decamp.blocked_by.name") == Some("named-1")),
        "{:#?}",
        delay.collect::<Vec<_>>()
    );
    let events: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["events"].as_array())
        .flatten()
        .filter_map(|event| attribute(event, "decamp.detail"))
        .collect();
    for call in ["the instance", "deregister 1 of named-1", "complete: Continue"] {
        assert!(events.contains(&call), "{call} is not in {events:?}");
    }
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_event_adds_nothing_to_the_trace() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let instance = sandbox.instances[0];
    let collector = Receiver::start(Manners::Well).await;
    let mut replica = Replica::start(&sandbox, &[("DECAMP_TRACES", &*collector.url), ("DECAMP_SWEEP", "10m")]).await;
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    replica.past().await;
    assert_eq!(replica.send(&event).await.status(), 202);
    replica.says("nothing to do: it is over").await;
    let past = replica.json("/v1/departures").await["past"].clone();
    assert_eq!(past.as_array().map(Vec::len), Some(1), "the repetition adds nothing to the history: {past:#}");
    assert_eq!(replica.stop().await.code(), Some(0), "{}", replica.printed());

    let spans = spans(&collector);
    let (whole, steps): (Vec<&Value>, Vec<&Value>) = spans.iter().partition(|span| span["parentSpanId"].is_null());
    assert_eq!(whole.len(), 1, "{whole:#?}");
    assert_eq!(attribute(whole[0], "decamp.outcome"), Some("departed"));
    let (from, to) = (nanoseconds(whole[0], "startTimeUnixNano"), nanoseconds(whole[0], "endTimeUnixNano"));
    for step in &steps {
        let (begins, ends) = (nanoseconds(step, "startTimeUnixNano"), nanoseconds(step, "endTimeUnixNano"));
        assert!(from <= begins && begins < ends && ends <= to, "{step:#} in {:#}", whole[0]);
    }
    assert_eq!(steps.iter().filter(|step| step["name"] == "end").count(), 1, "{steps:#?}");
    let ids: BTreeSet<&str> = spans.iter().filter_map(|span| span["spanId"].as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_fails_harms_nothing() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let hangs = Receiver::start(Manners::Hangs).await;
    let [one, other, _] = sandbox.instances[..] else { panic!("it has three") };
    let mut hung = Replica::start(&sandbox, &[("DECAMP_TRACES", &*hangs.url), ("DECAMP_SWEEP", "10m")]).await;
    let mut gone = Replica::start(&sandbox, &[("DECAMP_TRACES", "http://127.0.0.1:9"), ("DECAMP_SWEEP", "10m")]).await;
    for (replica, instance) in [(&hung, one), (&gone, other)] {
        let event = terminate(&sandbox, instance).await;
        assert_eq!(replica.send(&event).await.status(), 202);
    }
    let bare = Instant::now();
    assert!(machine_is_off(&sandbox, one).await && machine_is_off(&sandbox, other).await, "{}", hung.printed());
    assert!(bare.elapsed() < Duration::from_secs(60), "{:?}", bare.elapsed());
    let (_, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}\n{}", hung.printed(), gone.printed());
    let began = Instant::now();
    while !gone.printed().contains("spans were not taken yet") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", gone.printed());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!hangs.all().is_empty(), "it received a request");
    assert!(!gone.printed().contains("spans were dropped"), "it may come back: {}", gone.printed());
    let began = Instant::now();
    assert_eq!(gone.stop().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(3), "a pause holds up no stop: {:?}", began.elapsed());
    assert!(gone.printed().contains("spans were dropped"), "{}", gone.printed());
    assert_eq!(hung.stop().await.code(), Some(0));
    assert!(!hung.printed().contains("ended before everybody was told"), "the stop waits for one call only");
}
