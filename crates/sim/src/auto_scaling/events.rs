//! Events about lifecycle actions, in the formats that AWS sends.

use std::sync::Arc;

use serde_json::{Value, json};

use super::instance::Destination;
use super::setup::Transition;
use decamp_core::ids::{ActionToken, InstanceId, short_hash};
use decamp_core::time::Time;

/// A lifecycle action that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// When the action began.
    pub time: Time,
    /// The group's name.
    pub asg: Arc<str>,
    /// The hook's name.
    pub hook: Arc<str>,
    /// The instance.
    pub instance: InstanceId,
    /// The action's token.
    pub token: ActionToken,
    /// The transition.
    pub transition: Transition,
    /// Where the instance comes from.
    pub origin: Destination,
    /// Where the instance goes.
    pub destination: Destination,
    /// The hook's metadata.
    pub metadata: Option<Arc<str>>,
}

impl LifecycleEvent {
    /// The event as EventBridge delivers it.
    #[must_use]
    pub fn event_bridge(&self, region: &str, account: &str) -> Value {
        let kind = match self.transition {
            Transition::Launching => "EC2 Instance-launch Lifecycle Action",
            Transition::Terminating => "EC2 Instance-terminate Lifecycle Action",
        };
        json!({
            "version": "0",
            "id": self.id("event"),
            "detail-type": kind,
            "source": "aws.autoscaling",
            "account": account,
            "time": self.time,
            "region": region,
            "resources": [group_arn(region, account, &self.asg)],
            "detail": self.detail(),
        })
    }

    /// The event as a hook's notification target (SQS, SNS) gets it.
    #[must_use]
    pub fn notification(&self, account: &str) -> Value {
        let mut body = self.detail();
        if let Value::Object(fields) = &mut body {
            fields.insert("Service".to_owned(), json!("AWS Auto Scaling"));
            fields.insert("Time".to_owned(), json!(self.time));
            fields.insert("RequestId".to_owned(), json!(self.id("request")));
            fields.insert("AccountId".to_owned(), json!(account));
        }
        body
    }

    fn detail(&self) -> Value {
        let mut detail = json!({
            "LifecycleActionToken": self.token.expose(),
            "AutoScalingGroupName": &*self.asg,
            "LifecycleHookName": &*self.hook,
            "EC2InstanceId": self.instance,
            "LifecycleTransition": self.transition.name(),
            "Origin": self.origin.name(),
            "Destination": self.destination.name(),
        });
        if let (Some(metadata), Value::Object(fields)) = (&self.metadata, &mut detail) {
            fields.insert("NotificationMetadata".to_owned(), json!(&**metadata));
        }
        detail
    }

    /// A unique id for this event, in the form of a UUID.
    fn id(&self, kind: &str) -> String {
        let (one, two) = (short_hash(&[kind, self.token.expose()]), short_hash(&[self.token.expose(), kind]));
        format!("{}-{}-4{}-8{}-{}", &one[..8], &one[8..12], &two[..3], &two[3..6], &one)
    }
}

/// A group's ARN. The UUID in it is derived from the group's name.
#[must_use]
pub fn group_arn(region: &str, account: &str, asg: &str) -> String {
    let hash = short_hash(&[asg]);
    let uuid = format!("{}-{}-4000-8000-{hash}", &hash[..8], &hash[8..12]);
    format!("arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uuid}:autoScalingGroupName/{asg}")
}
