//! Many departures at once cost AWS a call for each group, not one for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use tokio::time::{Duration, Instant};

use super::wire::departure;
use super::wire::some_groups;
use super::wire::{Answer, Call, Server, group, instance, row};
use crate::auto_scaling::AutoScaling;
use crate::load_balancers::LoadBalancers;
use crate::shared::{Crowd, Gather, Limiter};
use decamp_core::decide::{ActionRef, Lifecycle, Refusal, Target, TargetHealth, Unseen};
use decamp_core::ids::TargetId;

#[tokio::test]
async fn a_hundred_departures_look_for_the_price_of_one_look_at_each_group() {
    let server = Server::start(|call: &Call| match call.action() {
        "DescribeAutoScalingInstances" => {
            let rows: String = call.members("InstanceIds").iter().map(|id| row(id, "web", "Terminating:Wait")).collect();
            Answer::result(call.action(), &format!("<AutoScalingInstances>{rows}</AutoScalingInstances>"))
        }
        _ => some_groups(call),
    })
    .await;
    let (aws, crowd) = (server.aws().await, Arc::new(Crowd::default()));
    let (balancers, auto_scaling) = (LoadBalancers::new(&aws, &crowd), AutoScaling::new(&aws, &crowd));
    let groups: Vec<_> = ["web-a", "web-b", "tcp-c"].map(|name| (group(name), false)).into();
    let all = (0..100).map(|n| {
        let (balancers, auto_scaling, groups, crowd) = (&balancers, &auto_scaling, &groups, &crowd);
        async move {
            crowd.hear(instance(n));
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
async fn every_attempt_takes_a_place_of_its_own_and_is_counted() {
    let server = Server::start(|_: &Call| Answer::error(400, "Throttling", "Rate exceeded")).await;
    let mut aws = server.aws().await;
    aws.settings.auto_scaling_rate = 4;
    let auto_scaling = AutoScaling::new(&aws, &Arc::new(Crowd::default()));
    let by_id = ActionRef { hook: "decamp".into(), token: None };
    let began = Instant::now();
    // As many as one departure makes while it is throttled, one after the other for three seconds.
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(auto_scaling.lifecycle(&departure(1)).await, Err(Unseen::Throttled));
        assert_eq!(auto_scaling.heartbeat("web", instance(1), &by_id).await, Err(Refusal::Throttled));
    }
    let (asked, seconds) = (server.count(), began.elapsed().as_secs_f64());
    // The first that is throttled takes away what was saved up.
    assert!((asked as f64) <= 2.0 + 4.0 * seconds, "{asked} calls in {seconds} s");
    assert_eq!(aws.calls().total(), asked as u64);
    assert_eq!(aws.calls().of("RecordLifecycleActionHeartbeat"), server.asked("RecordLifecycleActionHeartbeat").len() as u64);
}

/// Three pages of departures that are under way.
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
    let auto_scaling = AutoScaling::new(&server.aws().await, &Arc::new(Crowd::default()));
    let began = async |n: u64| auto_scaling.group(&departure(n), true).await.expect("it is seen").activity_began;
    let all = join_all((0..300).map(async |n| {
        // One after the other, as a sweep comes to them.
        tokio::time::sleep(Duration::from_millis(n)).await;
        began(n).await
    }));
    assert!(all.await.iter().all(Option::is_some), "each of them began some time");
    assert_eq!(began(300).await, None, "nothing tells of this one, and that was seen a moment ago");
    assert_eq!(server.asked("DescribeScalingActivities").len(), 3, "three pages, once");
}

#[tokio::test]
async fn each_page_of_a_list_takes_a_place_of_its_own() {
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
    let auto_scaling = AutoScaling::new(&aws, &Arc::new(Crowd::default()));
    let began = Instant::now();
    assert_eq!(auto_scaling.leaving(&[]).await.map(|leaving| leaving.len()), Ok(8));
    assert!(Duration::from_secs(2) <= began.elapsed(), "five at once, and then one a second: {:?}", began.elapsed());
    assert_eq!((server.count(), aws.calls().total()), (8, 8));
}

/// A thing to look at that only ever grows, and how long a look at it takes.
fn gather(sent: &Arc<AtomicU64>, crowd: &Arc<Crowd>, limiter: &Arc<Limiter>) -> Gather<u8, (), u64, Unseen> {
    let sent = Arc::clone(sent);
    Gather::new(usize::MAX, limiter, crowd, move |_, _| {
        let call = sent.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(call)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_about_once_is_not_remembered_for_ever() {
    let sent = Arc::new(AtomicU64::new(0));
    let gather = gather(&sent, &Arc::default(), &Arc::new(Limiter::new(1_000, 1_000)));
    for key in 0..=u8::MAX {
        gather.ask(key, ()).await.expect("it answers");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(gather.lines() <= 3, "{}", gather.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_before_a_question_is_no_answer_to_it() {
    let sent = Arc::new(AtomicU64::new(0));
    let gather = gather(&sent, &Arc::default(), &Arc::new(Limiter::new(100, 100)));
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gather.ask(1, ()).await
    };
    let (first, with_it, late) = tokio::join!(gather.ask(1, ()), gather.ask(1, ()), late);
    assert_eq!((first, with_it, late), (Ok(1), Ok(1), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_change_is_answered_by_a_call_that_is_under_way() {
    let sent = Arc::new(AtomicU64::new(0));
    let calls = Arc::clone(&sent);
    let gather: Gather<u8, (), u64, Unseen> =
        Gather::new(usize::MAX, &Arc::new(Limiter::new(100, 100)), &Arc::default(), move |_, _| {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                if call == 1 { Err(Unseen::Stale) } else { Ok(call) }
            }
        })
        .of_what_lasts();
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gather.ask(1, ()).await
    };
    let (first, late) = tokio::join!(gather.ask(1, ()), late);
    assert_eq!((first, late), (Err(Unseen::Stale), Err(Unseen::Stale)), "a call that fails, fails for all who wait for it");
    assert_eq!(gather.ask(1, ()).await, Ok(2), "one that is over is not joined");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_the_call_to_the_others() {
    let sent = Arc::new(AtomicU64::new(0));
    let gather = gather(&sent, &Arc::default(), &Arc::new(Limiter::new(100, 100)));
    let gives_up = tokio::time::timeout(Duration::from_millis(100), gather.ask(1, ()));
    let stays = gather.ask(1, ());
    let (gave_up, stayed) = tokio::join!(gives_up, stays);
    assert!(gave_up.is_err());
    assert_eq!(stayed, Ok(1));
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_gathered_for_a_call_that_all_gave_up_is_never_sent() {
    let carried = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&carried);
    let (limiter, crowd) = (Arc::new(Limiter::new(100, 100)), Arc::new(Crowd::default()));
    crowd.hear(instance(1));
    crowd.hear(instance(2));
    let gather: Gather<u8, u64, (), Unseen> = Gather::new(usize::MAX, &limiter, &crowd, move |_, items: Vec<u64>| {
        sum.fetch_add(items.iter().sum(), Ordering::Relaxed);
        async { Ok(()) }
    });
    let gave_up = tokio::time::timeout(Duration::from_millis(10), gather.ask(1, 1000)).await;
    assert!(gave_up.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(gather.ask(1, 1).await, Ok(()));
    assert_eq!(carried.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_departure_alone_is_answered_without_a_wait_and_two_of_one_turn_are_no_less_together() {
    let (sent, crowd) = (Arc::new(AtomicU64::new(0)), Arc::new(Crowd::default()));
    let gather = gather(&sent, &crowd, &Arc::new(Limiter::new(100, 100)));
    let began = Instant::now();
    assert_eq!(gather.ask(1, ()).await, Ok(1));
    assert_eq!(began.elapsed(), Duration::from_millis(300), "what the call itself takes");
    let ask = |n| {
        crowd.hear(instance(n));
        gather.ask(1, ())
    };
    assert_eq!(tokio::join!(ask(1), ask(2)), (Ok(2), Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn one_departure_alone_waits_for_nobody_and_a_crowd_asks_every_two_seconds() {
    let (sent, crowd) = (Arc::new(AtomicU64::new(0)), Arc::new(Crowd::default()));
    let gather = gather(&sent, &crowd, &Arc::new(Limiter::new(1000, 1000)));
    let alone = Instant::now();
    assert_eq!(gather.ask(1, ()).await, Ok(1));
    assert_eq!(gather.ask(1, ()).await, Ok(2));
    assert!(alone.elapsed() < Duration::from_millis(700), "{:?}", alone.elapsed());
    for n in 0..200 {
        crowd.hear(instance(n));
    }
    // Two hundred, one after the other within four seconds.
    join_all((0..200).map(|n| {
        let gather = &gather;
        async move {
            tokio::time::sleep(Duration::from_millis(20 * n)).await;
            assert!(gather.ask(1, ()).await.is_ok());
        }
    }))
    .await;
    assert!(sent.load(Ordering::Relaxed) <= 2 + 4, "{}", sent.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_place_counts_as_throttled_and_loses_nobody() {
    let sent = Arc::new(AtomicU64::new(0));
    let limiter = Arc::new(Limiter::new(1, 1));
    let gather = gather(&sent, &Arc::default(), &limiter);
    let answers = join_all((0..20).map(|key| gather.ask(key, ()))).await;
    let throttled = answers.iter().filter(|answer| **answer == Err(Unseen::Throttled)).count();
    assert_eq!(throttled, 20 - sent.load(Ordering::Relaxed) as usize);
    assert!(0 < throttled && throttled < 20);
}
