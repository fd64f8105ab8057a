//! The real fleet: what the Lambda asks of AWS besides what every departure asks.

use std::sync::Arc;
use std::time::Duration;

use decamp_aws::Leaving;
use decamp_config::Allowed;
use decamp_core::decide::{Refusal, Unseen};
use decamp_events::Message;
use decamp_live::Live;

use crate::fleet::Fleet;

impl Fleet for Live {
    async fn leaving(&self, allowed: &Allowed) -> Result<Vec<Leaving>, Unseen> {
        // A name with a star cannot be asked for: then all groups are, and the others are left out.
        let named = allowed.groups.iter().all(|group| !group.ends_with('*'));
        let asked: &[Arc<str>] = if named { &allowed.groups } else { &[] };
        let mut leaving = self.auto_scaling().leaving(asked).await?;
        leaving.retain(|one| allowed.group(&one.asg));
        Ok(leaving)
    }

    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal> {
        self.signed().hide_message(&message.queue, message.receipt.expose(), span).await
    }
}
