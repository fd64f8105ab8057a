//! Tests of the query protocol and the JSON calls.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_departure_works_from_the_termination_to_the_last_call() {
    let sandbox = Sandbox::start(100).await;
    let answer = sandbox.terminate(&format!("instance={}&wait=30", me())).await;
    assert_eq!(answer.status(), 200);
    let event: Value = answer.json().await.expect("an event");
    assert_eq!(event["detail"]["EC2InstanceId"], me().to_string());
    let token = event["detail"]["LifecycleActionToken"].as_str().expect("a token").to_owned();
    let names = [("AutoScalingGroupName", "asg"), ("LifecycleHookName", "ours"), ("LifecycleActionToken", &token)];

    let (status, body) = sandbox.asg("DescribeAutoScalingInstances", &[("InstanceIds.member.1", &me().to_string())]).await;
    assert_eq!((status, between(&body, "LifecycleState")), (200, Some("Terminating:Wait")));
    let state = sandbox.state().await;
    assert_eq!(state["target_groups"][0]["targets"].as_array().map(Vec::len), Some(1), "AWS left the attached group: {state}");

    let api = arn("api");
    let fields =
        [("TargetGroupArn", api.as_str()), ("Targets.member.1.Id", &me().to_string()), ("Targets.member.1.Port", "8080")];
    assert_eq!(sandbox.elb("DeregisterTargets", &fields).await.0, 200);
    let (_, health) = sandbox.elb("DescribeTargetHealth", &fields).await;
    assert_eq!(
        (between(&health, "State"), between(&health, "Reason")),
        (Some("draining"), Some("Target.DeregistrationInProgress"))
    );

    assert_eq!(sandbox.asg("RecordLifecycleActionHeartbeat", &names).await.0, 200);
    let complete = [&names[..], &[("LifecycleActionResult", "CONTINUE")]].concat();
    assert_eq!(sandbox.asg("CompleteLifecycleAction", &complete).await.0, 200);
    let (status, body) = sandbox.asg("CompleteLifecycleAction", &complete).await;
    assert_eq!((status, between(&body, "Code")), (400, Some("ValidationError")));
    assert_eq!(between(&body, "Message"), Some(&*format!("No active Lifecycle Action found with token {token}")));
}

#[tokio::test]
async fn a_termination_without_a_hook_yet_is_accepted_and_a_second_one_is_refused() {
    let sandbox = Sandbox::start(1).await;
    let begun = sandbox.terminate(&format!("instance={}", me())).await;
    assert_eq!(begun.status(), 202);
    assert_eq!(sandbox.terminate(&format!("instance={}", me())).await.status(), 409);
    assert_eq!(sandbox.terminate("instance=nonsense").await.status(), 400);
    let state = sandbox.state().await;
    assert_eq!(state["auto_scaling_groups"][0]["instances"][0]["state"], "Terminating");
    let (_, body) = sandbox.asg("DescribeScalingActivities", &[("AutoScalingGroupName", "asg")]).await;
    assert_eq!(between(&body, "StatusCode"), Some("WaitingForELBConnectionDraining"));
    assert!(between(&body, "Description").is_some_and(|text| text.starts_with(&format!("Terminating EC2 instance: {}", me()))));
}

#[tokio::test]
async fn a_group_shows_its_hooks_sources_tags_and_retention() {
    let sandbox = Sandbox::start(1).await;
    let (_, hooks) = sandbox.asg("DescribeLifecycleHooks", &[("AutoScalingGroupName", "asg")]).await;
    assert_eq!((between(&hooks, "HeartbeatTimeout"), between(&hooks, "GlobalTimeout")), (Some("300"), Some("30000")));
    assert!(between(&hooks, "NotificationMetadata").is_some_and(|text| text.contains("targetgroup/api/")));
    let (_, sources) =
        sandbox.asg("DescribeTrafficSources", &[("AutoScalingGroupName", "asg"), ("TrafficSourceType", "elbv2")]).await;
    assert_eq!(between(&sources, "Identifier"), Some(arn("web").as_str()));
    let fields = [("AutoScalingGroupNames.member.1", "asg"), ("IncludeInstances", "false")];
    let (_, group) = sandbox.asg("DescribeAutoScalingGroups", &fields).await;
    assert_eq!((between(&group, "Key"), between(&group, "TerminateHookAbandon")), (Some("decamp:hold"), Some("retain")));
    assert!(!group.contains("<InstanceId>"));
    let (_, all) = sandbox.asg("DescribeAutoScalingGroups", &[]).await;
    assert_eq!(all.matches("<InstanceId>").count(), 2);
    let (status, body) = sandbox.asg("DescribeLifecycleHooks", &[("AutoScalingGroupName", "nobody")]).await;
    assert_eq!((status, between(&body, "Code")), (400, Some("ValidationError")));
}

#[tokio::test]
async fn lists_come_in_pages_and_too_many_names_are_refused() {
    let sandbox = Sandbox::start(1).await;
    let (_, first) = sandbox.asg("DescribeAutoScalingInstances", &[("MaxRecords", "1")]).await;
    let token = between(&first, "NextToken").expect("there is another page").to_owned();
    let (_, second) = sandbox.asg("DescribeAutoScalingInstances", &[("MaxRecords", "1"), ("NextToken", &token)]).await;
    assert_ne!(between(&first, "InstanceId"), between(&second, "InstanceId"));
    assert_eq!(between(&second, "NextToken"), None);
    let (_, groups) = sandbox.elb("DescribeTargetGroups", &[("PageSize", "1")]).await;
    assert!(groups.matches("<TargetGroupArn>").count() == 1 && between(&groups, "NextMarker").is_some());
    let names: Vec<String> = (1..=51).map(|at| format!("InstanceIds.member.{at}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "i-0123456789abcdef0")).collect();
    assert_eq!(sandbox.asg("DescribeAutoScalingInstances", &fields).await.0, 400);
}

#[tokio::test]
async fn target_groups_show_kind_delay_and_every_port() {
    let sandbox = Sandbox::start(1).await;
    let (web, api) = (arn("web"), arn("api"));
    let (_, groups) = sandbox.elb("DescribeTargetGroups", &[("TargetGroupArns.member.1", api.as_str())]).await;
    assert_eq!((between(&groups, "Protocol"), between(&groups, "TargetGroupName")), (Some("TCP"), Some("api")));
    let (_, attributes) = sandbox.elb("DescribeTargetGroupAttributes", &[("TargetGroupArn", web.as_str())]).await;
    assert!(attributes.contains("<Key>deregistration_delay.timeout_seconds</Key><Value>20</Value>"), "{attributes}");
    let (_, health) = sandbox.elb("DescribeTargetHealth", &[("TargetGroupArn", web.as_str())]).await;
    assert_eq!(health.matches("<State>healthy</State>").count(), 3);
    let absent = [("TargetGroupArn", web.as_str()), ("Targets.member.1.Id", "i-0abc1234")];
    let (_, health) = sandbox.elb("DescribeTargetHealth", &absent).await;
    assert_eq!(between(&health, "Reason"), Some("Target.NotRegistered"));
    assert_eq!(sandbox.elb("DeregisterTargets", &absent).await.0, 200, "AWS ignores a target that is not registered");
    let gone = arn("gone");
    let (status, body) = sandbox.elb("DescribeTargetHealth", &[("TargetGroupArn", gone.as_str())]).await;
    assert_eq!((status, between(&body, "Code")), (400, Some("TargetGroupNotFound")));
}

#[tokio::test]
async fn a_request_that_is_not_signed_or_signed_for_another_service_is_refused() {
    let sandbox = Sandbox::start(1).await;
    let bare = sandbox.client.post(sandbox.server.url()).body("Action=DescribeLifecycleHooks&Version=2011-01-01");
    let (status, body) = read(bare.send().await.expect("it is answered")).await;
    assert_eq!((status, between(&body, "Code")), (403, Some("MissingAuthenticationToken")));
    let wrong = sandbox.call("autoscaling", "2015-12-01", "DescribeTargetGroups", &[]).await.expect("it is answered");
    assert_eq!(wrong.status(), 403);
    let (status, body) = sandbox.asg("RebootEverything", &[]).await;
    assert_eq!((status, between(&body, "Code")), (400, Some("InvalidAction")));
}

#[tokio::test]
async fn each_service_has_its_own_word_for_throttling() {
    let sandbox = Sandbox::with_limit(1, Limit::Calls { size: 1, refill: 0 }).await;
    for word in [None, Some("Throttling")] {
        let (_, body) = sandbox.asg("DescribeAutoScalingInstances", &[]).await;
        assert_eq!(between(&body, "Code"), word);
    }
    for word in [None, Some("ThrottlingException")] {
        let (_, body) = sandbox.elb("DescribeTargetGroups", &[]).await;
        assert_eq!(between(&body, "Code"), word);
    }
}

#[tokio::test]
async fn parameters_secrets_and_visibilities_are_stored() {
    let sandbox = Sandbox::start(1).await;
    sandbox.shared.stores().parameters.insert("/decamp/nomad".to_owned(), "a-token".to_owned());
    sandbox.shared.stores().secrets.insert("decamp".to_owned(), "b-token".to_owned());
    let input = json!({ "Name": "/decamp/nomad", "WithDecryption": true });
    let (status, body) = sandbox.json("ssm", "AmazonSSM.GetParameter", input).await;
    assert_eq!((status, &body["Parameter"]["Value"]), (200, &json!("a-token")));
    let (_, body) = sandbox.json("ssm", "AmazonSSM.GetParameter", json!({ "Name": "/decamp/nomad" })).await;
    assert_ne!(body["Parameter"]["Value"], "a-token");
    let (_, body) = sandbox.json("secretsmanager", "secretsmanager.GetSecretValue", json!({ "SecretId": "decamp" })).await;
    assert_eq!(body["SecretString"], "b-token");
    let (status, body) = sandbox.json("secretsmanager", "secretsmanager.GetSecretValue", json!({ "SecretId": "x" })).await;
    assert_eq!((status, &body["__type"]), (400, &json!("ResourceNotFoundException")));
    let hide = |seconds: u64| json!({ "QueueUrl": "http://q/1/decamp", "ReceiptHandle": "r", "VisibilityTimeout": seconds });
    assert_eq!(sandbox.json("sqs", "AmazonSQS.ChangeMessageVisibility", hide(5)).await.0, 200);
    assert_eq!(sandbox.json("sqs", "AmazonSQS.ChangeMessageVisibility", hide(50_000)).await.0, 400);
    assert_eq!(sandbox.shared.stores().visibilities, [("r".to_owned(), 5)]);
    assert_eq!(sandbox.json("sqs", "AmazonSSM.GetParameter", json!({ "Name": "x" })).await.1["__type"], "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_hook_can_be_put_and_deleted() {
    let sandbox = Sandbox::start(1).await;
    let fields = [("AutoScalingGroupName", "asg"), ("LifecycleHookName", "new"), ("HeartbeatTimeout", "29")];
    assert_eq!(sandbox.asg("PutLifecycleHook", &fields).await.0, 400);
    let fields = [("AutoScalingGroupName", "asg"), ("LifecycleHookName", "new"), ("HeartbeatTimeout", "30")];
    assert_eq!(sandbox.asg("PutLifecycleHook", &fields).await.0, 200);
    let (_, hooks) =
        sandbox.asg("DescribeLifecycleHooks", &[("AutoScalingGroupName", "asg"), ("LifecycleHookNames.member.1", "new")]).await;
    assert_eq!((between(&hooks, "DefaultResult"), between(&hooks, "GlobalTimeout")), (Some("ABANDON"), Some("3000")));
    assert_eq!(sandbox.asg("DeleteLifecycleHook", &fields).await.0, 200);
    let state = sandbox.state().await;
    assert_eq!(state["auto_scaling_groups"][0]["hooks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_unhealthy_instance_and_one_that_is_terminated_by_the_api_leave() {
    let sandbox = Sandbox::start(1).await;
    let unhealthy = [("InstanceId", "i-00000000000000002"), ("HealthStatus", "Unhealthy")];
    assert_eq!(sandbox.asg("SetInstanceHealth", &unhealthy).await.0, 200);
    let me = me().to_string();
    let fields = [("InstanceId", me.as_str()), ("ShouldDecrementDesiredCapacity", "false")];
    let (status, body) = sandbox.asg("TerminateInstanceInAutoScalingGroup", &fields).await;
    assert_eq!((status, between(&body, "AutoScalingGroupName")), (200, Some("asg")));
    let state = sandbox.state().await;
    let states: Vec<&Value> = (0..2).map(|at| &state["auto_scaling_groups"][0]["instances"][at]["state"]).collect();
    assert_eq!(states, ["Terminating", "Terminating"]);
}
