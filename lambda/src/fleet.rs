//! What an invocation needs besides a world to act in: who is leaving, whose an instance is, and a way to hand a message back.

use std::sync::Arc;
use std::time::Duration;

use decamp::decide::{Refusal, Unseen};
use decamp::events::Message;
use decamp::ids::InstanceId;
use decamp::live::Leaving;
use decamp::settings::Allowed;
use decamp::world::World;

/// The real one is `Live`; tests have their own.
pub(crate) trait Fleet: World {
    /// Every instance of the allowed groups that is on its way out.
    async fn leaving(&self, allowed: &Allowed) -> Result<Vec<Leaving>, Unseen>;

    /// The group of an instance; `None` if Auto Scaling lists it in none.
    async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen>;

    /// Asks Auto Scaling to replace an instance, through its hook.
    async fn ask_to_replace(&self, instance: InstanceId) -> Result<(), Refusal>;

    /// Lets a message come back after this long, whoever receives it then.
    async fn hide(&self, message: &Message, span: Duration) -> Result<(), Refusal>;
}
