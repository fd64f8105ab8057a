//! Mistakes about disks that migrate: not waited for, waited for in the wrong place, or left without a word.

use super::Mistake::{Does, Sees};
use super::{AlteredView, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{Disk, Effect, Outcome, Reason};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "lets-disks-go",
        mistake: "It does not wait for the copy of a disk.",
        faults: &[],
        kind: Sees(|view| view.disks(|_| Disk::Moved)),
    },
    WrongDriver {
        name: "placed-is-copied",
        mistake: "It takes a replacement that is placed for one that has its disk.",
        faults: &[],
        kind: Sees(|view| view.disks(|disk| if matches!(disk, Disk::Copying(_)) { Disk::Moved } else { disk })),
    },
    WrongDriver {
        name: "waits-for-one-disk",
        mistake: "It waits for the disk of one allocation, and not for those of the others.",
        faults: &[],
        kind: Sees(|view| {
            let mut is_first = true;
            view.disks(|disk| match disk {
                Disk::Stays => disk,
                _ if std::mem::take(&mut is_first) => disk,
                _ => Disk::Moved,
            });
        }),
    },
    WrongDriver {
        name: "unplaced-needs-no-disk",
        mistake: "It takes an allocation that Nomad did not place elsewhere for one whose disk nobody needs.",
        faults: &[Fault::NoRoomElsewhere],
        kind: Sees(|view| view.disks(|disk| if disk == Disk::Unplaced { Disk::Stays } else { disk })),
    },
    WrongDriver {
        name: "never-ends-its-wait-for-disks",
        mistake: "It goes on waiting for a disk that its replacement has.",
        faults: &[],
        kind: Sees(|view| view.disks(|disk| if disk == Disk::Moved { Disk::Unplaced } else { disk })),
    },
    WrongDriver {
        name: "waits-for-earlier-disks",
        mistake: "It waits for a disk that an earlier drain left on the node.",
        faults: &[],
        kind: Sees(|view| {
            let now = view.now;
            view.allocations(|allocation| {
                if allocation.disk == Disk::Unplaced {
                    allocation.ended = Some(now);
                }
            });
        }),
    },
    WrongDriver {
        name: "gives-up-a-disk",
        mistake: "It completes the action as data-left while there is time for the copy.",
        faults: &[],
        kind: Does(|context, decision| match &decision.reason {
            Reason::DiskCopying { title, .. } => context
                .complete(Outcome::DataLeft { titles: [title.clone()].into(), claims: [].into(), local: [].into(), cut: false })
                .unwrap_or(decision),
            _ => decision,
        }),
    },
    WrongDriver {
        name: "hushes-up-a-lost-disk",
        mistake: "It reports a disk that was left at the end as any other doubt.",
        faults: &[Fault::NoRoomElsewhere],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Complete { of, result, verdict: Outcome::DataLeft { .. } } => Some(Effect::Complete {
                    of,
                    result,
                    verdict: Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() },
                }),
                _ => Some(effect),
            })
        }),
    },
];

impl AlteredView<'_> {
    fn disks(&mut self, mut read: impl FnMut(Disk) -> Disk) {
        self.allocations(|allocation| allocation.disk = read(allocation.disk));
    }
}
