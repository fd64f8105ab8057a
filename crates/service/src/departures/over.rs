//! Lifecycle actions that are over: what tells of one again is no news, however often it comes.

use std::collections::{HashSet, VecDeque};

use decamp_core::decide::Departure;
use decamp_core::ids::InstanceId;

/// Actions that are remembered. Queues and topics repeat what they tell within days, most within minutes.
const MOST: usize = 4_000;

/// An action by its instance and token: no two have the same.
type Action = (InstanceId, String);

/// The last ones that are over.
#[derive(Debug, Default)]
pub(super) struct Over {
    order: VecDeque<Action>,
    all: HashSet<Action>,
}

impl Over {
    /// Remembers a departure as over, if it was told of by its token.
    pub(super) fn remember(&mut self, departure: &Departure) {
        let Some(action) = action(departure) else { return };
        if !self.all.insert(action.clone()) {
            return;
        }
        if self.order.len() == MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.order.push_back(action);
    }

    /// Whether this very action is over.
    pub(super) fn has(&self, departure: &Departure) -> bool {
        action(departure).is_some_and(|action| self.all.contains(&action))
    }
}

fn action(departure: &Departure) -> Option<Action> {
    let token = departure.action()?.token.as_ref()?;
    Some((departure.instance, token.to_string()))
}
