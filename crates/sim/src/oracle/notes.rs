//! Who deregistered a target last, and notes on the node that are wrong since then, because Nomad denied their correction.

use super::Oracle;
use crate::nomad::Nomad;
use decamp_core::decide::Effect;
use decamp_core::decide::snapshot::Beginning;
use decamp_core::time::Time;

/// What workers could not tell each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// When a worker last deregistered a target, the worker's number, and whether Nomad denied everything then.
    deregistered: Option<(Time, u64, bool)>,
    misled: bool,
}

impl Oracle {
    /// Called before each effect of a worker.
    pub fn sees_notes(&mut self, at: Time, effect: &Effect, nomad_denies: bool, nomad: &Nomad) {
        match effect {
            Effect::Deregister { .. } => self.notes.deregistered = Some((at, self.actor, nomad_denies)),
            Effect::Drain { node, .. } => {
                let untold = self.notes.deregistered.is_some_and(|(_, worker, denied)| denied && worker != self.actor);
                let noted = || nomad.node_number(*node).map(|number| nomad.node(number).notes()).unwrap_or_default();
                self.notes.misled |= untold && noted().iter().any(|note| note.what == Beginning::Unlisted);
            }
            Effect::Heartbeat(_) | Effect::MakeIneligible(_) | Effect::Note { .. } | Effect::Complete { .. } => {}
        }
    }

    /// When a worker last deregistered a target, and the worker's number.
    pub(super) fn last_deregistered(&self) -> Option<(Time, u64)> {
        self.notes.deregistered.map(|(at, worker, _)| (at, worker))
    }

    /// Whether a worker drained by a note that no group lists the instance, although another one had deregistered it since then and was not
    /// allowed to correct the note (ADR 0008). No system shows a deregistration whose delay is over.
    pub(super) fn is_misled(&self) -> bool {
        self.notes.misled
    }
}
