//! How the answers and errors of Auto Scaling are read.

use std::sync::Arc;
use std::time::Duration;

use super::wire::{Answer, Call, Server, departure, group, instance, row};
use crate::auto_scaling::AutoScaling;
use crate::coalescing::InFlight;
use decamp_core::decide::{ActionRef, Launched, Lifecycle, LifecycleResult, Refusal, Unseen};
use decamp_core::time::Time;

const TOKEN: &str = "87654321-4321-4321-4321-210987654321";

pub(super) async fn auto_scaling(server: &Server) -> AutoScaling {
    AutoScaling::new(&server.aws().await, &Arc::new(InFlight::default()))
}

fn action() -> ActionRef {
    ActionRef { hook: "decamp".into(), token: TOKEN.parse().ok() }
}

#[tokio::test]
async fn an_instance_has_the_state_that_its_group_lists_and_is_gone_if_no_group_lists_it() {
    let server = Server::start(|call: &Call| {
        let known = [(1, "web", "Terminating:Wait"), (2, "other", "Terminating:Wait"), (3, "web", "Sleeping")];
        let asked = call.members("InstanceIds");
        let known = known.iter().map(|(n, asg, state)| (instance(*n).to_string(), *asg, *state));
        let rows: String = known.filter(|k| asked.contains(&k.0.as_str())).map(|(id, asg, state)| row(&id, asg, state)).collect();
        Answer::result("DescribeAutoScalingInstances", &format!("<AutoScalingInstances>{rows}</AutoScalingInstances>"))
    })
    .await;
    let auto_scaling = auto_scaling(&server).await;
    assert_eq!(auto_scaling.lifecycle(&departure(1)).await, Ok(Lifecycle::Waiting));
    assert!(matches!(auto_scaling.lifecycle(&departure(2)).await, Ok(Lifecycle::Staying(_))), "it belongs to another group");
    assert_eq!(auto_scaling.lifecycle(&departure(3)).await, Ok(Lifecycle::Unknown("Sleeping".into())));
    assert_eq!(auto_scaling.lifecycle(&departure(4)).await, Ok(Lifecycle::Gone));
}

/// A group with a terminating and a launching hook, two attached target groups on two pages, a tag and a retention policy.
pub(super) fn a_group(call: &Call) -> Answer {
    let metadata = format!(r#"{{"target_groups":["{}"]}}"#, group("named")).replace('"', "&quot;");
    let result = match call.action() {
        "DescribeLifecycleHooks" => format!(
            "<LifecycleHooks><member><LifecycleHookName>in</LifecycleHookName>\
             <LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition></member>\
             <member><LifecycleHookName>decamp</LifecycleHookName><HeartbeatTimeout>300</HeartbeatTimeout>\
             <GlobalTimeout>30000</GlobalTimeout><NotificationMetadata>{metadata}</NotificationMetadata>\
             <LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition></member></LifecycleHooks>"
        ),
        "DescribeTrafficSources" => {
            let (name, next) = if call.field("NextToken").is_empty() { ("one", "<NextToken>2</NextToken>") } else { ("two", "") };
            let source = format!("<Identifier>{0}</Identifier><Type>elbv2</Type>", group(name));
            format!("<TrafficSources><member>{source}<State>InService</State></member></TrafficSources>{next}")
        }
        "DescribeAutoScalingGroups" => "<AutoScalingGroups><member><AutoScalingGroupName>web</AutoScalingGroupName>\
             <Tags><member><Key>decamp:hold</Key><Value>yes</Value></member></Tags><InstanceLifecyclePolicy><RetentionTriggers>\
             <TerminateHookAbandon>retain</TerminateHookAbandon></RetentionTriggers></InstanceLifecyclePolicy>\
             </member></AutoScalingGroups>"
            .to_owned(),
        "DescribeScalingActivities" => format!(
            "<Activities><member><Description>Terminating EC2 instance: {0}</Description><StatusCode>Successful</StatusCode>\
             <StartTime>2026-11-22T09:00:00Z</StartTime></member>\
             <member><Description>Terminating EC2 instance: {0} - Waiting</Description><StatusCode>MidTerminatingLifecycleAction\
             </StatusCode><StartTime>2026-11-22T10:00:00Z</StartTime></member>\
             <member><Description>Launching a new EC2 instance: {0}</Description><StatusCode>Successful</StatusCode>\
             <StartTime>2026-11-22T08:00:00Z</StartTime></member></Activities>",
            instance(1)
        ),
        other => return Answer::error(400, "InvalidAction", other),
    };
    Answer::result(call.action(), &result)
}

#[tokio::test]
async fn a_group_is_read_in_three_calls_and_its_activities_in_a_fourth() {
    let server = Server::start(a_group).await;
    let auto_scaling = auto_scaling(&server).await;
    let seen = auto_scaling.group(&departure(1), false).await.expect("it is seen");
    assert_eq!(seen.hooks.len(), 1, "only the terminating one");
    let hook = &seen.hooks[0];
    assert_eq!(
        (&*hook.name, hook.heartbeat_timeout, hook.global_timeout),
        ("decamp", Duration::from_secs(300), Duration::from_secs(30_000))
    );
    assert_eq!(hook.target_groups, [group("named")]);
    assert_eq!(seen.attached, [group("one"), group("two")]);
    assert!(seen.held && seen.retains);
    assert_eq!(seen.activity_began, None);
    assert_eq!(server.count(), 4, "two pages of traffic sources");
    assert_eq!(server.asked("DescribeAutoScalingGroups")[0].field("IncludeInstances"), "false");
    let again = auto_scaling.group(&departure(1), true).await.expect("it is cached");
    assert_eq!(again.activity_began, Time::read("2026-11-22T10:00:00Z"));
    assert_eq!(Some(again.launched), Time::read("2026-11-22T08:00:00Z").map(Launched::At));
    assert_eq!(seen.launched, Launched::Unasked);
    assert_eq!(server.count(), 5, "a warm worker reads only the activities");
}

#[tokio::test]
async fn a_deleted_group_has_no_hooks_and_a_group_that_may_not_be_read_is_unseen() {
    let deleted = Server::start(|call: &Call| match call.action() {
        "DescribeAutoScalingGroups" => Answer::result(call.action(), "<AutoScalingGroups/>"),
        "DescribeTrafficSources" | "DescribeLifecycleHooks" => {
            Answer::error(400, "ValidationError", "AutoScalingGroup name not found")
        }
        other => Answer::error(400, "InvalidAction", other),
    })
    .await;
    let seen = auto_scaling(&deleted).await.group(&departure(1), false).await.expect("it is seen to be deleted");
    assert!(seen.hooks.is_empty() && seen.attached.is_empty());
    let hidden = Server::start(|call: &Call| match call.action() {
        "DescribeLifecycleHooks" => Answer::error(403, "AccessDenied", "User: x is not authorized to perform: it"),
        _ => a_group(call),
    })
    .await;
    let unseen = auto_scaling(&hidden).await.group(&departure(1), false).await;
    assert!(matches!(unseen, Err(Unseen::Denied(_))), "{unseen:?}");
}

#[tokio::test]
async fn a_heartbeat_and_a_completion_send_all_that_names_the_action() {
    let server = Server::start(|call: &Call| Answer::result(call.action(), "")).await;
    let auto_scaling = auto_scaling(&server).await;
    let without = ActionRef { token: None, ..action() };
    assert_eq!(auto_scaling.heartbeat("web", instance(1), &action()).await, Ok(()));
    assert_eq!(auto_scaling.complete("web", instance(1), &without, LifecycleResult::Abandon).await, Ok(()));
    let heartbeat = &server.asked("RecordLifecycleActionHeartbeat")[0];
    assert_eq!(heartbeat.field("LifecycleActionToken"), TOKEN);
    assert_eq!((heartbeat.field("AutoScalingGroupName"), heartbeat.field("LifecycleHookName")), ("web", "decamp"));
    let complete = &server.asked("CompleteLifecycleAction")[0];
    assert_eq!(
        (complete.field("LifecycleActionResult"), complete.field("InstanceId")),
        ("ABANDON", instance(1).to_string().as_str())
    );
    assert!(!complete.0.contains_key("LifecycleActionToken"));
}

#[tokio::test]
async fn no_active_action_differs_from_every_other_validation_error_and_is_not_retried() {
    let message = format!("No active Lifecycle Action found with token {TOKEN}");
    let server = Server::start(move |_: &Call| Answer::error(400, "ValidationError", &message)).await;
    let answer = auto_scaling(&server).await.complete("web", instance(1), &action(), LifecycleResult::Continue).await;
    assert_eq!(answer, Err(Refusal::NoActiveAction));
    assert_eq!(server.count(), 1);
    let other = Server::start(move |_: &Call| Answer::error(400, "ValidationError", &format!("bad token {TOKEN}"))).await;
    let answer = auto_scaling(&other).await.heartbeat("web", instance(1), &action()).await;
    let Err(Refusal::Rejected(why)) = answer else { panic!("{answer:?}") };
    assert!(!why.contains(TOKEN), "{why}");
}

#[tokio::test]
async fn a_completion_is_retried_after_contention_and_throttling() {
    let tries = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |call: &Call| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Answer::error(500, "ResourceContention", "try again"),
        1 => Answer::error(400, "Throttling", "Rate exceeded"),
        _ => Answer::result(call.action(), ""),
    })
    .await;
    let auto_scaling = auto_scaling(&server).await;
    assert_eq!(auto_scaling.complete("web", instance(1), &action(), LifecycleResult::Continue).await, Ok(()));
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_sweep_lists_every_leaving_instance() {
    let server = Server::start(|call: &Call| {
        let (asg, next) = if call.field("NextToken").is_empty() { ("web", "<NextToken>2</NextToken>") } else { ("api", "") };
        let states = ["InService", "Terminating:Wait", "Terminating", "Pending:Wait", "Warmed:Stopped"];
        let rows: String = states.iter().enumerate().map(|(n, state)| row(&instance(n as u64).to_string(), asg, state)).collect();
        let name = format!("<AutoScalingGroupName>{asg}</AutoScalingGroupName>");
        let group = format!("<AutoScalingGroups><member>{name}<Instances>{rows}</Instances></member></AutoScalingGroups>");
        Answer::result(call.action(), &format!("{group}{next}"))
    })
    .await;
    let leaving = auto_scaling(&server).await.leaving(&["web".into(), "api".into()]).await.expect("they are seen");
    let states: Vec<_> = leaving.iter().map(|l| (&*l.asg, l.instance, l.lifecycle.clone())).collect();
    for asg in ["web", "api"] {
        assert!(states.contains(&(asg, instance(1), Lifecycle::Waiting)));
        assert!(states.contains(&(asg, instance(2), Lifecycle::Terminating)));
    }
    assert_eq!(server.asked("DescribeAutoScalingGroups")[0].members("AutoScalingGroupNames"), ["web", "api"]);
    assert!(leaving.iter().all(|l| l.instance != instance(0) && l.instance != instance(3)));
}
