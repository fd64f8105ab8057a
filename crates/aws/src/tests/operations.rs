//! Every call of the adapters is in the list of operations, and so in the IAM policies.

use std::collections::BTreeSet;

use super::auto_scaling::auto_scaling;
use super::classic::old_web;
use super::load_balancers::balancers;
use super::wire::departure;
use super::wire::{Answer, Server, group, instance};
use crate::cloudwatch::CountsOf;
use crate::operations::OPERATIONS;
use crate::signed::Signed;
use decamp_config::Stored;
use decamp_core::decide::{ActionRef, LifecycleResult, Target, TargetHealth};
use decamp_core::ids::TargetId;
use decamp_core::refresh::Preferences;
use decamp_core::time::Time;
use decamp_net::secrets::Fetch;

#[tokio::test]
async fn every_operation_that_is_called_is_listed_and_every_listed_one_is_called() {
    let server = Server::start(|call| Answer::error(403, "AccessDenied", call.action())).await;
    let (balancers, auto_scaling, signed) =
        (balancers(&server).await, auto_scaling(&server).await, Signed::new(&server.aws().await));
    let of = ActionRef { hook: "decamp".into(), token: None };
    let target = Target { id: TargetId::Instance(instance(1)), port: 80, zone: None, health: TargetHealth::Healthy };
    let _ = auto_scaling.lifecycle(&departure(1)).await;
    let _ = auto_scaling.group(&departure(1), true).await;
    let _ = auto_scaling.leaving(&[]).await;
    let _ = auto_scaling.heartbeat("web", instance(1), &of).await;
    let _ = auto_scaling.complete("web", instance(1), &of, LifecycleResult::Continue).await;
    let _ = auto_scaling.set_unhealthy(instance(1)).await;
    let _ = auto_scaling.start_refresh("web", &Preferences::default(), None).await;
    let _ = auto_scaling.refreshes(&"web".into()).await;
    let _ = auto_scaling.cancel_refresh("web").await;
    let _ = auto_scaling.roll_back_refresh("web").await;
    let _ = balancers.look(&[(group("web-a"), false)], false).await;
    let _ = balancers.scan(instance(1), &[]).await;
    let _ = balancers.deregister(&group("web-a"), std::slice::from_ref(&target)).await;
    let _ = balancers.look(&[(old_web(), false)], false).await;
    let _ = balancers.deregister(&old_web(), &[target]).await;
    let _ = signed.fetch(&Stored::Ssm("n".into())).await;
    let _ = signed.fetch(&Stored::SecretsManager("n".into())).await;
    let (queue, nothing) = ("arn:aws:sqs:eu-west-1:123456789012:q", std::time::Duration::ZERO);
    let _ = signed.hide_message(queue, "r", nothing).await;
    let _ = signed.receive_messages(queue, nothing, nothing).await;
    let _ = signed.delete_message(queue, "r").await;
    let _ = signed.confirm_subscription("arn:aws:sns:eu-west-1:123456789012:t", "t").await;
    let of = CountsOf { group: group("web-a"), balancer: "arn:aws:x:loadbalancer/app/web/0".into() };
    let _ = signed.minutes(&of, Time(0), Time(60_000)).await;
    // The query protocol names the operation in the form, the JSON protocols in a header.
    let called: BTreeSet<String> = server
        .heads()
        .iter()
        .filter_map(|head| {
            let (_, rest) = head.split_once("Action=").or_else(|| head.split("x-amz-target: ").nth(1)?.split_once('.'))?;
            Some(rest.chars().take_while(char::is_ascii_alphanumeric).collect())
        })
        .collect();
    let listed: BTreeSet<String> = OPERATIONS.iter().map(|operation| operation.name.to_owned()).collect();
    assert_eq!(called, listed);
}
