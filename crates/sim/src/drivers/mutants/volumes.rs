//! Mistakes about volumes: claims that are not waited for, or for ever, or left without a word, and holds for local data.

use std::sync::Arc;
use std::time::Duration;

use super::Mistake::{Does, Omits, Sees};
use super::{AlteredView, Context, WrongDriver, wait};
use crate::faults::Fault;
use decamp_core::decide::{Action, Allocation, Claims, Decision, Effect, LocalData, Loss, Outcome, Phase, Reason};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "lets-claims-go",
        mistake: "It does not wait for the claims of CSI volumes.",
        faults: &[Fault::CsiVolumes],
        kind: Sees(|view| view.claims(|_| Some(Claims::default()))),
    },
    WrongDriver {
        name: "waits-for-anothers-claim",
        mistake: "It waits for a volume that an allocation of another node claims.",
        faults: &[Fault::CsiVolumes],
        kind: Sees(|view| view.claims(|allocation| (1 < allocation.group.count).then(|| all_of(allocation)))),
    },
    WrongDriver {
        name: "waits-for-a-volume-that-is-gone",
        mistake: "It takes a volume that does not exist for one that is claimed.",
        faults: &[Fault::CsiVolumes],
        kind: Sees(|view| {
            view.claims(|allocation| {
                // The drawn names say which volumes are deleted.
                let is_gone = allocation.group.volumes.iter().any(|volume| volume.source.starts_with("gone-"));
                is_gone.then(|| all_of(allocation))
            });
        }),
    },
    WrongDriver {
        name: "takes-denied-for-released",
        mistake: "It takes volumes that its token may not read for released ones.",
        faults: &[Fault::VolumesDenied],
        kind: Sees(|view| {
            view.claims(|allocation| Some(Claims { unread: Arc::default(), denied: None, ..allocation.claims.clone() }));
        }),
    },
    WrongDriver {
        name: "gives-up-a-claim",
        mistake: "It completes the action as data-left while there is time for the release.",
        faults: &[Fault::CsiVolumes],
        kind: Does(|context, decision| match &decision.reason {
            Reason::VolumeClaimed { volume, title, .. } => {
                let claims = [format!("{volume} of {title}").into()].into();
                let verdict = Outcome::DataLeft { titles: [].into(), claims, local: [].into(), cut: false };
                context.complete(verdict).unwrap_or(decision)
            }
            _ => decision,
        }),
    },
    WrongDriver {
        name: "hushes-up-a-claim",
        mistake: "It reports a claim that was left at the end as any other doubt.",
        faults: &[Fault::CsiVolumes],
        kind: Does(|context, decision| context.instead_of_data_left(decision)),
    },
    WrongDriver {
        name: "stops-the-plugin-first",
        mistake: "It drains everything at once, and with it the plugin that unmounts the volumes.",
        faults: &[Fault::CsiVolumes],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| match effect {
                Effect::Drain { node, deadline, mut meta, .. } if meta.phase == Phase::Services => {
                    meta.phase = Phase::All;
                    Some(Effect::Drain { node, deadline, ignore_system_jobs: false, meta })
                }
                _ => Some(effect),
            })
        }),
    },
    WrongDriver {
        name: "heeds-no-hold-of-data",
        mistake: "It goes on although the settings hold local data.",
        faults: &[Fault::HostVolumes],
        kind: Sees(|view| view.policy.local_data = LocalData::Warn),
    },
    WrongDriver {
        name: "holds-data-beyond-the-end",
        mistake: "It holds local data until the hook runs out.",
        faults: &[Fault::HostVolumes],
        kind: Does(|context, decision| {
            let uses = context.policy.local_data == LocalData::Hold && context.seen.local_data().next().is_some();
            if uses && !matches!(decision.reason, Reason::LocalData { .. }) {
                context.only_heartbeats(decision)
            } else {
                decision
            }
        }),
    },
    WrongDriver {
        name: "holds-what-is-read-only",
        mistake: "It holds an instance for host volumes that nothing writes to.",
        faults: &[Fault::HostVolumes],
        kind: Sees(|view| {
            view.allocations(|allocation| {
                let mut group = (*allocation.group).clone();
                group.volumes.iter_mut().for_each(|volume| volume.read_only = false);
                allocation.group = Arc::new(group);
            });
        }),
    },
    WrongDriver {
        name: "hears-no-leave",
        mistake: "It holds local data although an operator let it go.",
        faults: &[Fault::HostVolumes],
        kind: Sees(|view| view.nodes(|node| node.leaves_local_data = false)),
    },
    WrongDriver {
        name: "hushes-up-local-data",
        mistake: "It reports local data that was held to the end as any other doubt.",
        faults: &[Fault::HostVolumes],
        kind: Does(|context, decision| context.instead_of_data_left(decision)),
    },
    WrongDriver {
        name: "foresees-no-local-data",
        mistake: "It does not report local data before its first write.",
        faults: &[Fault::HostVolumes],
        kind: Omits(Loss::LocalData),
    },
];

/// Claims on all volumes that an ended allocation names.
fn all_of(allocation: &Allocation) -> Claims {
    Claims { held: allocation.group.csi_volumes(None).collect(), ..Claims::default() }
}

impl AlteredView<'_> {
    /// Changes the claims of ended allocations that name CSI volumes, where a change is given.
    fn claims(&mut self, change: impl Fn(&Allocation) -> Option<Claims>) {
        self.allocations(|allocation| {
            if allocation.client.is_over() && allocation.group.claims_volumes() {
                allocation.claims = change(allocation).unwrap_or_else(|| allocation.claims.clone());
            }
        });
    }
}

impl Context<'_> {
    /// The decision with `unconfirmed` in place of `data-left`.
    fn instead_of_data_left(&self, decision: Decision) -> Decision {
        self.effects(decision, |effect| match effect {
            Effect::Complete { of, result, verdict: Outcome::DataLeft { .. } } => {
                let verdict = Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() };
                Some(Effect::Complete { of, result, verdict })
            }
            _ => Some(effect),
        })
    }

    /// Heartbeats, where the decision has one, and else a wait.
    fn only_heartbeats(&self, decision: Decision) -> Decision {
        let left = self.effects(decision, |effect| matches!(effect, Effect::Heartbeat(_)).then_some(effect));
        match &left.action {
            Action::Do(effects) if effects.is_empty() => wait(self.now, Duration::from_secs(10)),
            _ => left,
        }
    }
}
