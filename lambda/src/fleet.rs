//! What an invocation needs besides a world to act in: who is leaving, and a way to hand a message back.

use std::time::Duration;

use decamp_aws::Leaving;
use decamp_config::Allowed;
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::replacing::Replaces;
use decamp_events::Message;

/// The real one is `Live`; tests have their own.
pub(crate) trait Fleet: Replaces {
    /// Every instance of the allowed groups that is on its way out.
    async fn leaving(&self, allowed: &Allowed) -> Result<Vec<Leaving>, Unseen>;

    /// Lets a message come back after this long, whoever receives it then.
    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal>;
}
