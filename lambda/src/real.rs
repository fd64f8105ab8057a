//! The calls of AWS that only the Lambda makes, besides those of a departure.

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
        // AWS takes no name with a star. Then all groups are listed and filtered by the allow-list.
        let all_named = allowed.groups.iter().all(|group| !group.ends_with('*'));
        let requested: &[Arc<str>] = if all_named { &allowed.groups } else { &[] };
        let mut leaving = self.auto_scaling().leaving(requested).await?;
        leaving.retain(|one| allowed.group(&one.asg));
        Ok(leaving)
    }

    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal> {
        self.signed().hide_message(&message.queue, message.receipt.expose(), span).await
    }
}
