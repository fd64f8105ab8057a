//! Lifecycle actions that have ended. Events that report one of them again are ignored.

use std::collections::{HashSet, VecDeque};

use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;

/// The most actions that are remembered. Queues and topics repeat messages for days, mostly within minutes.
const MOST_REMEMBERED: usize = 4_000;

/// An action by its instance and token, which together are unique.
type Action = (InstanceId, String);

/// The last actions that ended.
#[derive(Debug, Default)]
pub(super) struct Finished {
    order: VecDeque<Action>,
    all: HashSet<Action>,
}

impl Finished {
    /// Remembers that a departure has ended, if its token is known.
    pub(super) fn remember(&mut self, departure: &Departure) {
        let Some(action) = action(departure) else { return };
        if !self.all.insert(action.clone()) {
            return;
        }
        if self.order.len() == MOST_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.order.push_back(action);
    }

    /// Whether exactly this action has ended.
    pub(super) fn contains(&self, departure: &Departure) -> bool {
        action(departure).is_some_and(|action| self.all.contains(&action))
    }
}

fn action(departure: &Departure) -> Option<Action> {
    let token = departure.action()?.token.as_ref()?;
    Some((departure.instance, token.to_string()))
}
