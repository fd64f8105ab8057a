//! The AWS policies that `decamp init` writes: the actions that the Lambda calls, on the group's own ARNs.

use decamp_aws::{Caller, OPERATIONS};
use serde_json::{Value, json};

use super::Found;
use super::files::{CONSUL_SECRET, NAME, NOMAD_SECRET};

impl Found {
    /// Whether the group has decamp's hook already. A hook with another name may be somebody else's.
    pub(super) fn has_our_hook(&self) -> bool {
        self.hooks.iter().any(|hook| **hook == *NAME)
    }

    /// An ARN in the group's account and Region.
    pub(super) fn arn(&self, service: &str, resource: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// The policy that the Lambda needs for this group. It omits `SetInstanceHealth`, which only `DECAMP_REPLACE` needs.
pub(super) fn role(found: &Found) -> Value {
    let of_lambda = |service: &str, takes: &dyn Fn(&str) -> bool| -> Vec<String> {
        let calls = OPERATIONS.iter().filter(|call| call.service == service && call.callers.contains(&Caller::Lambda));
        let calls = calls.filter(|call| call.name != "SetInstanceHealth" && takes(call.name));
        calls.map(|call| format!("{}:{}", call.service, call.name)).collect()
    };
    let looks = |name: &str| name.starts_with("Describe");
    let writes = |name: &str| !name.starts_with("Describe");
    let describe = [of_lambda("autoscaling", &looks), of_lambda("elasticloadbalancing", &looks)].concat();
    let secret = |name: &str| found.arn("secretsmanager", &format!("secret:{name}-??????"));
    let mut secrets = vec![secret(NOMAD_SECRET)];
    secrets.extend(found.consul.as_ref().map(|_| secret(CONSUL_SECRET)));
    let target_groups: Vec<&str> = found.attached.iter().chain(&found.named).map(|arn| arn.as_str()).collect();
    let queue = found.arn("sqs", NAME);
    let network = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ];
    let mut statements = vec![
        json!({
            "Sid": "Lifecycle", "Effect": "Allow", "Action": of_lambda("autoscaling", &writes),
            "Resource": found.arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{}", found.asg)),
        }),
        // AWS supports no narrower resource for these actions.
        json!({ "Sid": "Describe", "Effect": "Allow", "Action": describe, "Resource": "*" }),
    ];
    if !target_groups.is_empty() {
        let deregister = of_lambda("elasticloadbalancing", &writes);
        statements.push(json!({ "Sid": "Deregister", "Effect": "Allow", "Action": deregister, "Resource": target_groups }));
    }
    statements.extend([
        json!({ "Sid": "Secrets", "Effect": "Allow", "Action": of_lambda("secretsmanager", &|_| true), "Resource": secrets }),
        json!({ "Sid": "Messages", "Effect": "Allow", "Action": of_lambda("sqs", &|_| true), "Resource": queue }),
        // The Lambda service itself uses these with the role.
        json!({
            "Sid": "Queue", "Effect": "Allow",
            "Action": ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], "Resource": queue,
        }),
        json!({
            "Sid": "Logs", "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": found.arn("logs", &format!("log-group:/aws/lambda/{NAME}:*")),
        }),
        json!({ "Sid": "NetworkInterfaces", "Effect": "Allow", "Action": network, "Resource": "*" }),
        // The Lambda service may use these with the role, the function's code may not.
        json!({
            "Sid": "DenyOwnNetworkInterfaces", "Effect": "Deny", "Action": network, "Resource": "*",
            "Condition": { "ArnEquals": { "lambda:SourceFunctionArn": found.arn("lambda", &format!("function:{NAME}")) } },
        }),
    ]);
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The role's trust policy.
pub(super) fn trust() -> Value {
    let statement = json!({ "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// The events that the rule sends to the queue.
pub(super) fn pattern(found: &Found) -> Value {
    json!({
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
        "detail": { "AutoScalingGroupName": [found.asg], "LifecycleHookName": [NAME] },
    })
}

/// The attributes of a queue for `aws sqs create-queue`, where every value is a string. `rule` is the rule that may send.
pub(super) fn queue(found: &Found, name: &str, retention_s: u32, rule: &str) -> Value {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Rules", "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
                "Action": "sqs:SendMessage", "Resource": found.arn("sqs", name),
                // Without this condition the rules of any account could send.
                "Condition": { "ArnEquals": { "aws:SourceArn": found.arn("events", &format!("rule/{rule}")) } },
            },
            {
                "Sid": "DenyPlain", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": found.arn("sqs", name),
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            },
        ],
    });
    json!({ "MessageRetentionPeriod": retention_s.to_string(), "SqsManagedSseEnabled": "true", "Policy": policy.to_string() })
}
