//! Targets at addresses that nothing tells: how long a driver must have waited before it leaves one behind (ADR 0009).

use std::time::Duration;

use super::Oracle;
use crate::world::Subject;
use decamp_core::decide::TargetGroup;
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

/// How long such a target is waited for, less what the look took.
const UNTOLD_WAIT: Duration = Duration::from_secs(595);

impl Oracle {
    /// A worker was shown a target group for which it asked then: the answer may be slow, and the worker's wait counts from its question.
    pub fn looked_at_targets(&mut self, asked: Time, group: &TargetGroup, subject: &Subject) {
        let ours = |id: &TargetId| matches!(id, TargetId::Ip(address) if subject.addresses.contains(address));
        if self.by_address.is_none() && group.listed().any(|target| ours(&target.id) && target.health.is_registered()) {
            self.by_address = Some(asked);
        }
    }

    /// Whether nobody can find a target by address: the node's row was purged before anybody looked, and no group that is named lists it.
    pub(super) fn finds_no_address(&self) -> bool {
        self.by_address.is_none() && self.purged.is_some_and(|purged| self.looked_at.is_none_or(|looked| purged <= looked))
    }

    /// Whether a target by address was waited for as long as one must be that nothing tells to be the instance's (ADR 0009): one that never
    /// was told, or is no longer, because its row was purged or its allocation was over before anybody looked.
    pub(super) fn waited_for_addresses(&self, at: Time) -> bool {
        self.by_address.is_some_and(|since| since + UNTOLD_WAIT <= at)
    }
}
