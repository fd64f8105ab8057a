//! The calls that an invocation needs besides those of a departure: listing the leaving instances, and hiding a message.

use std::time::Duration;

use decamp_aws::Leaving;
use decamp_config::Allowed;
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::proactive_replacement::Replaces;
use decamp_events::Message;

/// `Live` implements it for AWS. Tests have their own implementation.
pub(crate) trait Fleet: Replaces {
    /// Every leaving instance of the allowed groups.
    async fn leaving(&self, allowed: &Allowed) -> Result<Vec<Leaving>, Unseen>;

    /// Hides a message for this long. Then the queue delivers it again.
    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal>;
}
