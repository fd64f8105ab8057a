//! Property tests of the parser: every wrapping of a departure gives the same departure, and no other input gives one.

use decamp_config::Allowed;
use decamp_core::decide::{Cause, Departure};
use decamp_events::{EventContent, Rejection, read};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The fields of a lifecycle action, as an event may have them.
#[derive(Debug, Clone)]
struct Action {
    instance: String,
    group: String,
    hook: Option<String>,
    token: Option<String>,
    terminating: bool,
    warm: bool,
}

fn action() -> impl Strategy<Value = Action> {
    let instance = prop_oneof!["i-[0-9a-f]{17}", "i-[0-9a-f]{8}"];
    let token = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    (
        instance,
        "[ -9;-~äß]{0,40}[a-z]",
        proptest::option::of("[A-Za-z0-9_/-]{1,40}"),
        proptest::option::of(token),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(instance, group, hook, token, terminating, warm)| Action {
            instance,
            group: group.trim().to_owned(),
            hook,
            token,
            terminating,
            warm,
        })
}

impl Action {
    fn transition(&self) -> &'static str {
        if self.terminating { "autoscaling:EC2_INSTANCE_TERMINATING" } else { "autoscaling:EC2_INSTANCE_LAUNCHING" }
    }

    fn destination(&self) -> &'static str {
        match (self.warm, self.terminating) {
            (true, _) => "WarmPool",
            (false, true) => "EC2",
            (false, false) => "AutoScalingGroup",
        }
    }

    fn fields(&self) -> Value {
        let mut fields = json!({
            "AutoScalingGroupName": self.group,
            "EC2InstanceId": self.instance,
            "LifecycleTransition": self.transition(),
            "Destination": self.destination(),
        });
        if let Some(hook) = &self.hook {
            fields["LifecycleHookName"] = hook.clone().into();
        }
        if let Some(token) = &self.token {
            fields["LifecycleActionToken"] = token.clone().into();
        }
        fields
    }

    fn raw(&self) -> Value {
        let mut raw = self.fields();
        raw["Service"] = "AWS Auto Scaling".into();
        raw["AccountId"] = "123456789012".into();
        raw["Time"] = "2026-03-04T05:06:07Z".into();
        raw
    }

    fn lines(&self) -> String {
        let Value::Object(raw) = self.raw() else { panic!("it is an object") };
        raw.iter().map(|(key, value)| format!("{key}: {}\n", value.as_str().expect("all are texts"))).collect()
    }

    fn envelope(&self) -> Value {
        let arn = format!("arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:0-0:autoScalingGroupName/{}", self.group);
        json!({
            "version": "0", "id": "0", "source": "aws.autoscaling", "account": "123456789012", "region": "eu-west-1",
            "detail-type": format!("EC2 Instance-{} Lifecycle Action", if self.terminating { "terminate" } else { "launch" }),
            "time": "2026-03-04T05:06:07Z", "resources": [arn], "detail": self.fields(),
        })
    }
}

fn topic(message: &str) -> Value {
    json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:hooks", "Message": message})
}

fn queue(body: &str) -> Value {
    json!({"messageId": "m-1", "receiptHandle": "h", "body": body, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q"})
}

/// Every form in which AWS may send this action.
fn shapes(action: &Action) -> Vec<Value> {
    let mut all = vec![action.raw(), action.envelope(), json!([action.envelope()])];
    let bodies = [action.raw().to_string(), action.envelope().to_string(), action.lines()];
    for body in &bodies {
        all.push(json!({"Records": [{"EventSource": "aws:sns", "Sns": topic(body)}]}));
        all.push(json!({"Records": [queue(body)]}));
        all.push(json!({"Records": [queue(&topic(body).to_string())]}));
    }
    all
}

fn ours() -> Allowed {
    Allowed { accounts: vec!["123456789012".into()], regions: vec!["eu-west-1".into()], groups: Vec::new() }
}

fn events_of(event: &Value) -> Vec<Result<EventContent, Rejection>> {
    read(event.to_string().as_bytes(), &ours(), &[]).into_iter().map(|record| record.content).collect()
}

/// Any JSON, including the names and values that AWS uses.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "Records",
        "detail-type",
        "detail",
        "source",
        "aws.autoscaling",
        "account",
        "123456789012",
        "region",
        "eu-west-1",
        "Event",
        "LifecycleTransition",
        "autoscaling:EC2_INSTANCE_TERMINATING",
        "autoscaling:TEST_NOTIFICATION",
        "EC2InstanceId",
        "i-0123456789abcdef0",
        "AutoScalingGroupName",
        "TopicArn",
        "Message",
        "Type",
        "Notification",
        "body",
        "eventSource",
        "aws:sqs",
        "EC2 Instance-terminate Lifecycle Action",
        "resources",
        "decamp",
        "sweep",
        "messageId",
        "time",
        "aws.ec2",
        "instance-id",
    ]);
    let text = prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        let nested = inner.clone().prop_map(|value| Value::from(value.to_string()));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..8).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            nested,
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn an_action_is_the_same_in_every_form(action in action()) {
        for shape in shapes(&action) {
            let all = events_of(&shape);
            prop_assert_eq!(all.len(), 1);
            match &all[0] {
                Ok(EventContent::Departure(Departure { instance, asg, cause: Cause::Lifecycle(read) })) => {
                    prop_assert!(action.terminating);
                    prop_assert_eq!(instance.to_string(), action.instance.clone());
                    prop_assert_eq!(&**asg, &*action.group);
                    prop_assert_eq!(read.hook.as_deref(), action.hook.as_deref());
                    prop_assert_eq!(read.token.as_ref().map(|token| token.expose()), action.token.as_deref());
                    prop_assert_eq!(read.to_warm_pool, action.warm);
                }
                Ok(EventContent::Arrival { instance, asg }) => {
                    prop_assert!(!action.terminating);
                    prop_assert_eq!(instance.to_string(), action.instance.clone());
                    prop_assert_eq!(&**asg, &*action.group);
                }
                other => prop_assert!(false, "{:?} of {}", other, shape),
            }
        }
    }

    #[test]
    fn an_event_whose_two_transitions_differ_is_never_acted_on(action in action()) {
        let mut event = action.envelope();
        let other = Action { terminating: !action.terminating, ..action };
        event["detail"]["LifecycleTransition"] = other.transition().into();
        prop_assert_eq!(events_of(&event), [Err(Rejection::Contradiction("its detail-type and its transition"))]);
    }

    #[test]
    fn no_json_panics_and_only_a_termination_becomes_a_departure(value in any_json()) {
        let text = value.to_string();
        for event in events_of(&value) {
            if let Ok(EventContent::Departure(departure)) = event {
                prop_assert!(text.contains("EC2_INSTANCE_TERMINATING") || text.contains("Instance-terminate"));
                prop_assert!(text.contains(&departure.instance.to_string()));
            }
        }
    }

    #[test]
    fn no_bytes_panic_and_every_event_has_a_record(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(!read(&bytes, &ours(), &[]).is_empty());
    }

    #[test]
    fn a_bad_record_never_changes_its_neighbours(action in action(), bad in any::<String>(), place in 0..3_usize) {
        let good = queue(&action.raw().to_string());
        let mut records = vec![good.clone(), good];
        records.insert(place, queue(&bad));
        let all = events_of(&json!({ "Records": records }));
        let alone = events_of(&json!({"Records": [queue(&action.raw().to_string())]}));
        let others: Vec<_> = all.iter().enumerate().filter(|(n, _)| *n != place).map(|(_, event)| event.clone()).collect();
        prop_assert_eq!(others, [alone[0].clone(), alone[0].clone()]);
    }
}
