//! Mistakes about beginnings: each worker waits as if it were the first (ADR 0002).

use super::Mistake::Sees;
use super::{AlteredView, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{Beginning, Node};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "forgets-deregistrations",
        mistake: "It does not read the note of when an earlier worker saw nothing registered any more.",
        faults: &[Fault::SweepsAlone],
        kind: Sees(|view| {
            view.seen.history.noted.retain(|note| note.what != Beginning::Deregistered);
            nodes(view, |node| node.notes.retain(|note| note.what != Beginning::Deregistered));
        }),
    },
    WrongDriver {
        name: "forgets-when-it-began",
        mistake: "If no system reports when the departure began, each worker assumes a new beginning.",
        faults: &[Fault::SweepsAlone, Fault::ActivitiesDenied, Fault::LongBatch],
        kind: Sees(|view| {
            view.seen.history.noted.retain(|note| note.what != Beginning::Departure);
            nodes(view, |node| {
                node.notes.retain(|note| note.what != Beginning::Departure);
                if let Some(last) = &mut node.last_drain {
                    last.updated = None;
                }
            });
        }),
    },
    WrongDriver {
        name: "each-sees-it-left-over",
        mistake: "Each worker waits for a leftover registration from its own first look.",
        faults: &[Fault::LeftoverRegistration, Fault::SweepsAlone],
        kind: Sees(|view| {
            nodes(view, |node| {
                let mut all = node.allocations.to_vec();
                all.iter_mut().for_each(|allocation| allocation.ended = None);
                node.allocations = all.into();
            });
        }),
    },
    WrongDriver {
        name: "believes-any-note",
        mistake: "It believes that its targets have been gone since the departure began.",
        faults: &[],
        kind: Sees(|view| {
            let began = view.departure.action().and_then(|action| action.began);
            if let Some(since) = began {
                let action = view.departure.mark();
                let what = Beginning::Deregistered;
                view.seen.history.noted.push(decamp_core::decide::Noted { what, action, since, listed: 0 });
                view.seen.balancers.iter_mut().for_each(|balancer| balancer.deregistered = balancer.deregistered.map(|_| since));
            }
        }),
    },
];

fn nodes(view: &mut AlteredView<'_>, change: impl Fn(&mut Node)) {
    view.seen.nomad.edit(|nomad| nomad.nodes.iter_mut().for_each(&change));
}
