//! Mistakes about what was foreseen and what was seen: the mutant departs as decamp does, and says something wrong of it at the end.

use super::Mistake::Says;
use super::WrongDriver;
use crate::faults::Fault;
use decamp_core::decide::{Compared, Loss, Match};

/// What was seen and no finding had named.
const UNFORESEEN: [Match; 2] = [Match::SeenNotForeseen, Match::SeenShownByNoSetting];

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "sees-what-it-foresaw",
        mistake: "It says that everything that it foresaw was seen.",
        faults: &[],
        kind: Says(|one| Some(instead(one, &[Match::ForeseenCannotBeSeen, Match::ForeseenNotSeen], Match::ForeseenAndSeen))),
    },
    WrongDriver {
        name: "takes-the-unseen-for-nothing",
        mistake: "It says of a loss that nothing shows that it did not happen.",
        faults: &[Fault::IngressPolls],
        kind: Says(|one| Some(instead(one, &[Match::ForeseenCannotBeSeen], Match::ForeseenNotSeen))),
    },
    WrongDriver {
        name: "forgets-what-it-saw",
        mistake: "It says of a foreseen loss that was seen that it did not happen.",
        faults: &[Fault::LongBatch],
        kind: Says(|one| Some(instead(one, &[Match::ForeseenAndSeen], Match::ForeseenNotSeen))),
    },
    WrongDriver {
        name: "hushes-up-the-unforeseen",
        mistake: "It does not say what was seen and no finding had named.",
        faults: &[],
        kind: Says(|one| Some(one).filter(|one| !UNFORESEEN.contains(&one.result))),
    },
    WrongDriver {
        name: "foresees-afterwards",
        mistake: "It says of a loss that it saw and had not foreseen that it foresaw it.",
        faults: &[],
        kind: Says(|one| Some(instead(one, &UNFORESEEN, Match::ForeseenAndSeen))),
    },
    WrongDriver {
        name: "mistakes-the-object",
        mistake: "It says that the only copy of a service stopped, and means a task that was killed.",
        faults: &[Fault::StuckStop],
        kind: Says(|one| {
            let killed = one.loss == Some(Loss::KilledWithRequests);
            Some(if killed { Compared { loss: Some(Loss::NoCopyLeft), ..one } } else { one })
        }),
    },
];

/// The comparison with another result, if it has one of these.
fn instead(one: Compared, of: &[Match], result: Match) -> Compared {
    if of.contains(&one.result) { Compared { result, ..one } } else { one }
}
