//! Targets at addresses that no system reports: how long a driver must wait before it leaves one behind (ADR 0009).

use std::time::Duration;

use super::Oracle;
use crate::world::Subject;
use decamp_core::decide::TargetGroup;
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

/// How long decamp waits for such a target, less the time of the look.
const UNREPORTED_WAIT: Duration = Duration::from_secs(595);

impl Oracle {
    /// Called when a worker reads a target group. The answer may be slow, and the worker's wait counts from `asked`.
    pub fn looked_at_targets(&mut self, asked: Time, group: &TargetGroup, subject: &Subject) {
        let ours = |id: &TargetId| matches!(id, TargetId::Ip(address) if subject.addresses.contains(address));
        if self.by_address.is_none() && group.listed().any(|target| ours(&target.id) && target.health.is_registered()) {
            self.by_address = Some(asked);
        }
    }

    /// Whether no worker can find a target by address: the node's row was purged before any look, and no named group lists the target.
    pub(super) fn finds_no_address(&self) -> bool {
        self.by_address.is_none() && self.purged.is_some_and(|purged| self.looked_at.is_none_or(|looked| purged <= looked))
    }

    /// Whether decamp has waited long enough for a target by address that it cannot attribute (ADR 0009). No system ever reported the
    /// address, or none does any more, because the row was purged or the allocation was over before any look.
    pub(super) fn waited_for_addresses(&self, at: Time) -> bool {
        self.by_address.is_some_and(|since| since + UNREPORTED_WAIT <= at)
    }
}
