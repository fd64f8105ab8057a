//! Wrong about the end: when it hurries, what it takes for lost, and what it says when others have been there.

use std::time::Duration;

use super::How::{Does, Sees};
use super::Wrong;
use crate::faults::Fault;
use decamp_core::decide::{Budget, Outcome};

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "believes-every-claim",
        mistake: "It leaves every stop the time that its job claims, and cuts everybody's deadline by it.",
        faults: &[Fault::ClaimsHours],
        how: Sees(|view| view.policy.max_kill_timeout = Duration::MAX),
    },
    Wrong {
        name: "gives-up-during-a-hold",
        mistake: "Its own clock goes on while the group is held.",
        faults: &[Fault::HeldForHours],
        how: Does(|scene, decision| {
            let held = scene.seen.group.last().is_some_and(|group| group.held);
            let began = Budget::of(scene.departure, scene.seen, scene.policy).began;
            let up = held && began + scene.policy.max_departure <= scene.now && scene.seen.history.completed.is_none();
            if up { scene.complete(Outcome::TimedOut).unwrap_or(decision) } else { decision }
        }),
    },
    Wrong {
        name: "gives-up-after-a-hold",
        mistake: "Its clock counts the time for which the group was held.",
        faults: &[Fault::HeldForHours],
        how: Sees(|view| {
            view.seen.history.held = None;
            view.seen.history.untouched = None;
        }),
    },
];
