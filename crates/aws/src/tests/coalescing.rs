//! Many concurrent departures make one call per group, not one per departure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use tokio::time::{Duration, Instant};

use super::wire::departure;
use super::wire::some_groups;
use super::wire::{Answer, Call, Server, group, instance, row};
use crate::auto_scaling::AutoScaling;
use crate::coalescing::{Coalescer, InFlight};
use crate::load_balancers::LoadBalancers;
use crate::rate_limiter::RateLimiter;
use decamp_core::decide::{ActionRef, Lifecycle, Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::TargetId;

#[tokio::test]
async fn a_hundred_departures_share_one_look_at_each_group() {
    let server = Server::start(|call: &Call| match call.action() {
        "DescribeAutoScalingInstances" => {
            let rows: String = call.members("InstanceIds").iter().map(|id| row(id, "web", "Terminating:Wait")).collect();
            Answer::result(call.action(), &format!("<AutoScalingInstances>{rows}</AutoScalingInstances>"))
        }
        _ => some_groups(call),
    })
    .await;
    let (aws, in_flight) = (server.aws().await, Arc::new(InFlight::default()));
    let (balancers, auto_scaling) = (LoadBalancers::new(&aws, &in_flight), AutoScaling::new(&aws, &in_flight));
    let groups: Vec<_> = ["web-a", "web-b", "tcp-c"].map(|name| (group(name), false)).into();
    let all = (0..100).map(|n| {
        let (balancers, auto_scaling, groups, in_flight) = (&balancers, &auto_scaling, &groups, &in_flight);
        async move {
            in_flight.note(instance(n));
            assert_eq!(auto_scaling.lifecycle(&departure(n)).await, Ok(Lifecycle::Waiting));
            let looks = balancers.look(groups, false).await;
            assert!(looks.iter().all(|(_, look)| look.is_ok()));
            for (group, _) in groups {
                let target = Target { id: TargetId::Instance(instance(n)), port: 80, zone: None, health: TargetHealth::Healthy };
                assert_eq!(balancers.deregister(group, &[target]).await, Ok(()));
            }
        }
    });
    join_all(all).await;
    assert_eq!(server.asked("DescribeAutoScalingInstances").len(), 2, "fifty each");
    assert_eq!(server.asked("DescribeTargetGroups").len(), 1);
    assert_eq!(server.asked("DescribeTargetGroupAttributes").len(), 3);
    assert_eq!(server.asked("DescribeTargetHealth").len(), 3);
    let deregistered = server.asked("DeregisterTargets");
    assert_eq!(deregistered.len(), 3);
    assert!(deregistered.iter().all(|call| !call.field("Targets.member.100.Id").is_empty()), "all hundred in each");
    assert_eq!(aws.calls().total(), server.count() as u64);
    assert_eq!(aws.calls().of("DeregisterTargets"), 3);
}

#[tokio::test]
async fn every_attempt_takes_its_own_token_and_is_counted() {
    let server = Server::start(|_: &Call| Answer::error(400, "Throttling", "Rate exceeded")).await;
    let mut aws = server.aws().await;
    aws.settings.auto_scaling_rate = 4;
    let auto_scaling = AutoScaling::new(&aws, &Arc::new(InFlight::default()));
    let by_id = ActionRef { hook: "decamp".into(), token: None };
    let began = Instant::now();
    // The calls of one throttled departure for three seconds.
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(auto_scaling.lifecycle(&departure(1)).await, Err(Unseen::Throttled));
        assert_eq!(auto_scaling.heartbeat("web", instance(1), &by_id).await, Err(Refusal::Throttled));
    }
    let (asked, seconds) = (server.count(), began.elapsed().as_secs_f64());
    // The first throttled call empties the bucket.
    assert!((asked as f64) <= 2.0 + 4.0 * seconds, "{asked} calls in {seconds} s");
    assert_eq!(aws.calls().total(), asked as u64);
    assert_eq!(aws.calls().of("RecordLifecycleActionHeartbeat"), server.asked("RecordLifecycleActionHeartbeat").len() as u64);
}

/// Three pages of unfinished terminations.
fn under_way(call: &Call) -> Answer {
    if call.action() != "DescribeScalingActivities" {
        return super::auto_scaling::a_group(call);
    }
    let page: u64 = call.field("NextToken").parse().unwrap_or(0);
    let rows: String = (page * 100..(page + 1) * 100).map(|n| activity(&instance(n).to_string())).collect();
    let next = if page < 2 { format!("<NextToken>{}</NextToken>", page + 1) } else { String::new() };
    Answer::result(call.action(), &format!("<Activities>{rows}</Activities>{next}"))
}

fn activity(instance: &str) -> String {
    format!(
        "<member><Description>Terminating EC2 instance: {instance}</Description>\
         <StatusCode>MidTerminatingLifecycleAction</StatusCode><StartTime>2026-11-22T10:00:00Z</StartTime></member>"
    )
}

#[tokio::test]
async fn departures_that_a_sweep_finds_read_the_activities_of_their_group_once() {
    let server = Server::start(under_way).await;
    let auto_scaling = AutoScaling::new(&server.aws().await, &Arc::new(InFlight::default()));
    let began = async |n: u64| auto_scaling.group(&departure(n), true).await.expect("it is seen").activity_began;
    let all = join_all((0..300).map(async |n| {
        // One after the other, as in a sweep.
        tokio::time::sleep(Duration::from_millis(n)).await;
        began(n).await
    }));
    assert!(all.await.iter().all(Option::is_some), "each of them began some time");
    assert_eq!(began(300).await, None, "the activities do not mention this one, and were read a moment ago");
    assert_eq!(server.asked("DescribeScalingActivities").len(), 3, "three pages, once");
}

#[tokio::test]
async fn each_page_of_a_list_takes_its_own_token() {
    let server = Server::start(|call: &Call| {
        let page: usize = call.field("NextToken").parse().unwrap_or(0);
        let next = if page < 7 { format!("<NextToken>{}</NextToken>", page + 1) } else { String::new() };
        let name = format!("<AutoScalingGroupName>g{page}</AutoScalingGroupName>");
        let rows = format!("<Instances>{}</Instances>", row(&instance(page as u64).to_string(), "g", "Terminating:Wait"));
        Answer::result(call.action(), &format!("<AutoScalingGroups><member>{name}{rows}</member></AutoScalingGroups>{next}"))
    })
    .await;
    let mut aws = server.aws().await;
    aws.settings.auto_scaling_rate = 1;
    let auto_scaling = AutoScaling::new(&aws, &Arc::new(InFlight::default()));
    let began = Instant::now();
    assert_eq!(auto_scaling.leaving(&[]).await.map(|leaving| leaving.len()), Ok(8));
    assert!(Duration::from_secs(2) <= began.elapsed(), "five at once, and then one a second: {:?}", began.elapsed());
    assert_eq!((server.count(), aws.calls().total()), (8, 8));
}

/// A coalescer whose call takes 300 ms and returns the number of calls so far.
fn coalescer(sent: &Arc<AtomicU64>, in_flight: &Arc<InFlight>, limiter: &Arc<RateLimiter>) -> Coalescer<u8, (), u64, Unseen> {
    let sent = Arc::clone(sent);
    Coalescer::new(usize::MAX, limiter, in_flight, move |_, _| {
        let call = sent.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(call)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_requested_once_is_not_remembered_forever() {
    let sent = Arc::new(AtomicU64::new(0));
    let coalescer = coalescer(&sent, &Arc::default(), &Arc::new(RateLimiter::new(1_000, 1_000)));
    for key in 0..=u8::MAX {
        coalescer.ask(key, ()).await.expect("it answers");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(coalescer.keys() <= 3, "{}", coalescer.keys());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_join_a_call_that_was_sent_before_it() {
    let sent = Arc::new(AtomicU64::new(0));
    let coalescer = coalescer(&sent, &Arc::default(), &Arc::new(RateLimiter::new(100, 100)));
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        coalescer.ask(1, ()).await
    };
    let (first, with_it, late) = tokio::join!(coalescer.ask(1, ()), coalescer.ask(1, ()), late);
    assert_eq!((first, with_it, late), (Ok(1), Ok(1), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn a_request_for_stable_facts_joins_a_call_that_was_sent_before_it() {
    let sent = Arc::new(AtomicU64::new(0));
    let calls = Arc::clone(&sent);
    let coalescer: Coalescer<u8, (), u64, Unseen> =
        Coalescer::new(usize::MAX, &Arc::new(RateLimiter::new(100, 100)), &Arc::default(), move |_, _| {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                if call == 1 { Err(Unseen::Stale) } else { Ok(call) }
            }
        })
        .for_stable_facts();
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        coalescer.ask(1, ()).await
    };
    let (first, late) = tokio::join!(coalescer.ask(1, ()), late);
    assert_eq!((first, late), (Err(Unseen::Stale), Err(Unseen::Stale)), "a failed call fails for all its callers");
    assert_eq!(coalescer.ask(1, ()).await, Ok(2), "a finished call is not joined");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_end_the_call_of_the_others() {
    let sent = Arc::new(AtomicU64::new(0));
    let coalescer = coalescer(&sent, &Arc::default(), &Arc::new(RateLimiter::new(100, 100)));
    let gives_up = tokio::time::timeout(Duration::from_millis(100), coalescer.ask(1, ()));
    let stays = coalescer.ask(1, ());
    let (gave_up, stayed) = tokio::join!(gives_up, stays);
    assert!(gave_up.is_err());
    assert_eq!(stayed, Ok(1));
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_call_that_all_callers_gave_up_are_never_sent() {
    let carried = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&carried);
    let (limiter, in_flight) = (Arc::new(RateLimiter::new(100, 100)), Arc::new(InFlight::default()));
    in_flight.note(instance(1));
    in_flight.note(instance(2));
    let coalescer: Coalescer<u8, u64, (), Unseen> =
        Coalescer::new(usize::MAX, &limiter, &in_flight, move |_, items: Vec<u64>| {
            sum.fetch_add(items.iter().sum(), Ordering::Relaxed);
            async { Ok(()) }
        });
    let gave_up = tokio::time::timeout(Duration::from_millis(10), coalescer.ask(1, 1000)).await;
    assert!(gave_up.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(coalescer.ask(1, 1).await, Ok(()));
    assert_eq!(carried.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_single_departure_does_not_wait_and_two_in_the_same_turn_share_a_call() {
    let (sent, in_flight) = (Arc::new(AtomicU64::new(0)), Arc::new(InFlight::default()));
    let coalescer = coalescer(&sent, &in_flight, &Arc::new(RateLimiter::new(100, 100)));
    let began = Instant::now();
    assert_eq!(coalescer.ask(1, ()).await, Ok(1));
    assert_eq!(began.elapsed(), Duration::from_millis(300), "the time of the call itself");
    let ask = |n| {
        in_flight.note(instance(n));
        coalescer.ask(1, ())
    };
    assert_eq!(tokio::join!(ask(1), ask(2)), (Ok(2), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn two_hundred_departures_make_a_call_every_two_seconds() {
    let (sent, in_flight) = (Arc::new(AtomicU64::new(0)), Arc::new(InFlight::default()));
    let coalescer = coalescer(&sent, &in_flight, &Arc::new(RateLimiter::new(1000, 1000)));
    let alone = Instant::now();
    assert_eq!(coalescer.ask(1, ()).await, Ok(1));
    assert_eq!(coalescer.ask(1, ()).await, Ok(2));
    assert!(alone.elapsed() < Duration::from_millis(700), "{:?}", alone.elapsed());
    for n in 0..200 {
        in_flight.note(instance(n));
    }
    // Two hundred, one after the other within four seconds.
    join_all((0..200).map(|n| {
        let coalescer = &coalescer;
        async move {
            tokio::time::sleep(Duration::from_millis(20 * n)).await;
            assert!(coalescer.ask(1, ()).await.is_ok());
        }
    }))
    .await;
    assert!(sent.load(Ordering::Relaxed) <= 2 + 4, "{}", sent.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gets_no_token_counts_as_throttled_for_all_its_callers() {
    let sent = Arc::new(AtomicU64::new(0));
    let limiter = Arc::new(RateLimiter::new(1, 1));
    let coalescer = coalescer(&sent, &Arc::default(), &limiter);
    let answers = join_all((0..20).map(|key| coalescer.ask(key, ()))).await;
    let throttled = answers.iter().filter(|answer| **answer == Err(Unseen::Throttled)).count();
    assert_eq!(throttled, 20 - sent.load(Ordering::Relaxed) as usize);
    assert!(0 < throttled && throttled < 20);
}
