//! Mistakes about the drain: when it may begin, how long it may take, and what to do when it hangs.

use std::sync::Arc;
use std::time::Duration;

use super::Mistake::{Does, Sees};
use super::{AlteredView, Context, WrongDriver, wait};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Allocation, Budget, Decision, DrainMeta, Effect, EffectKind, JobKind, Node, Observed, Phase, Reason, Registrations,
    TaskGroup, WholeSeconds,
};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "overlaps-always",
        mistake: "It drains services beside the deregistration delay, without regard to the processes behind the targets.",
        faults: &[],
        kind: Sees(|view| {
            view.groups_of(|a| !a.ports.is_empty(), |group| group.kind = JobKind::System);
        }),
    },
    WrongDriver {
        name: "kill-timeout-serves",
        mistake: "It counts the kill time-out as time in which an allocation still serves.",
        faults: &[],
        kind: Sees(|view| {
            view.groups_of(
                |_| true,
                |group| {
                    for task in &mut group.tasks {
                        task.shutdown_delay += task.kill_timeout;
                        task.kill_timeout = Duration::ZERO;
                    }
                },
            );
        }),
    },
    WrongDriver {
        name: "stops-system-jobs-too",
        mistake: "It drains system jobs with the services, beside the delay.",
        faults: &[],
        kind: Does(|context, decision| context.drains(decision, |_, _, ignore_system_jobs, _| *ignore_system_jobs = false)),
    },
    WrongDriver {
        name: "outdated-by-a-slow-answer",
        mistake: "It takes the results of a round of looks for outdated if the round took long.",
        faults: &[Fault::SlowAnswers],
        kind: Sees(|view| view.seen.history.last_round = None),
    },
    WrongDriver {
        name: "drains-first",
        mistake: "It drains before anything is deregistered.",
        faults: &[],
        kind: Does(drains_first),
    },
    WrongDriver {
        name: "never-drains",
        mistake: "It waits for the allocations to leave by themselves.",
        faults: &[],
        kind: Does(|context, decision| {
            context.effects(decision, |effect| Some(effect).filter(|e| e.kind() != EffectKind::Drain))
        }),
    },
    WrongDriver {
        name: "drains-without-end",
        mistake: "It drains with a deadline of ten days.",
        faults: &[],
        kind: Does(|context, decision| {
            context.drains(decision, |deadline, phase, _, _| {
                if phase != Phase::Forced {
                    *deadline = WholeSeconds::at_most(Duration::from_hours(240));
                }
            })
        }),
    },
    WrongDriver {
        name: "no-room-for-the-stop",
        mistake: "It gives the drain all the time, and none to the allocations that stop at its deadline.",
        faults: &[Fault::HookIsShort],
        kind: Does(|context, decision| {
            let ends = Budget::of(context.departure, context.seen, context.policy).hook_ends;
            context.drains(decision, |deadline, phase, _, _| {
                if phase != Phase::Forced {
                    *deadline = WholeSeconds::at_most(ends.since(context.now));
                }
            })
        }),
    },
    WrongDriver {
        name: "ignores-kill-timeouts",
        mistake: "It believes that every allocation stops at once.",
        faults: &[],
        kind: Sees(ignores_kill_timeouts),
    },
    WrongDriver {
        name: "sends-the-drain-again",
        mistake: "It sends the drain again whenever it would wait, with the original time.",
        faults: &[],
        kind: Does(sends_the_drain_again),
    },
    WrongDriver {
        name: "repeats-a-phase",
        mistake: "It sends the drain of everything again whenever it would wait, with the time that is left.",
        faults: &[],
        kind: Does(repeats_a_phase),
    },
    WrongDriver {
        name: "unhangs-with-a-later-deadline",
        mistake: "It sends a hung drain again with more time than is left.",
        faults: &[Fault::DrainHangs],
        kind: Does(|context, decision| {
            context.drains(decision, |deadline, phase, _, _| {
                if phase == Phase::Resent {
                    *deadline = WholeSeconds::at_most(deadline.span() + Duration::from_secs(60));
                }
            })
        }),
    },
    WrongDriver {
        name: "leaves-a-hung-drain",
        mistake: "It leaves a hung drain hanging until its deadline.",
        faults: &[Fault::DrainHangs],
        kind: Sees(|view| view.seen.history.settled_since = None),
    },
    WrongDriver {
        name: "waits-for-the-draining-flag",
        mistake: "It continues only when the node no longer says `draining`.",
        faults: &[Fault::DrainHangs],
        kind: Does(|context, decision| {
            let draining = context.nodes().iter().any(|node| node.drain.is_some());
            match &decision.action {
                Action::Do(effects) if draining && effects.iter().any(|e| e.kind() == EffectKind::Complete) => {
                    wait(context.now, Duration::from_secs(10))
                }
                _ => decision,
            }
        }),
    },
    WrongDriver {
        name: "drains-in-a-second",
        mistake: "It gives every drain one second.",
        faults: &[],
        kind: Does(|context, decision| context.drains(decision, |deadline, _, _, _| *deadline = WholeSeconds::ONE)),
    },
    WrongDriver {
        name: "forces-at-once",
        mistake: "It forces where it should drain.",
        faults: &[],
        kind: Does(|context, decision| {
            context.drains(decision, |deadline, _, _, meta| {
                *deadline = WholeSeconds::ONE;
                meta.phase = Phase::Forced;
            })
        }),
    },
    WrongDriver {
        name: "forces-while-it-is-sent-to",
        mistake: "It forces in time for the longest stop, although a denied deregistration leaves the instance in service.",
        faults: &[Fault::DeniedForGood],
        kind: Does(forces_while_it_is_sent_to),
    },
    WrongDriver {
        name: "ignores-what-lands-late",
        mistake: "It does not count allocations that Nomad placed after the drain.",
        faults: &[Fault::LandsLate],
        kind: Sees(|view| {
            if !view.seen.history.drains.is_empty() {
                view.seen.history.landed_since = None;
                let last = view.seen.history.drains.iter().map(|drain| drain.at).min();
                let known: Vec<_> = view.seen.history.known.iter().filter(|k| Some(k.shown) < last).map(|k| k.id).collect();
                view.nodes(|node| {
                    let before = |a: &&Allocation| known.contains(&a.id) || !a.wanted;
                    node.allocations = node.allocations.iter().filter(before).cloned().collect();
                });
            }
        }),
    },
    WrongDriver {
        name: "forgets-its-drains",
        mistake: "It does not recognize the drain of an earlier worker.",
        faults: &[Fault::Crash, Fault::TwoWorkers],
        kind: Sees(|view| {
            if view.seen.history.drains.is_empty() {
                view.nodes(|node| {
                    node.drain = None;
                    node.last_drain = None;
                });
            }
        }),
    },
    WrongDriver {
        name: "drains-over-an-operator",
        mistake: "It replaces a drain that an operator had begun.",
        faults: &[Fault::DrainedByOperator],
        kind: Sees(|view| {
            view.nodes(|node| {
                if node.last_drain.as_ref().is_some_and(|last| last.meta.is_none()) {
                    node.drain = None;
                    node.last_drain = None;
                }
            });
        }),
    },
    WrongDriver {
        name: "leaves-system-jobs",
        mistake: "It leaves system jobs running in spite of the policy.",
        faults: &[Fault::SystemAndCsi],
        kind: Sees(|view| view.policy.ignore_system_jobs = true),
    },
    WrongDriver {
        name: "believes-what-it-saw-before",
        mistake: "It continues with its look at Nomad from before its own write.",
        faults: &[],
        kind: Sees(|view| {
            if view.seen.nomad.now().is_none()
                && let (Some(at), Some(nomad)) = (view.seen.nomad.at(), view.seen.nomad.last())
            {
                view.seen.nomad = Observed::seen(at, nomad.clone());
            }
        }),
    },
    WrongDriver {
        name: "drains-without-discovery",
        mistake: "It drains while Consul is away, and the ingress keeps sending to allocations that are gone.",
        faults: &[Fault::ConsulAway],
        kind: Sees(|view| {
            if view.seen.consul.now().is_none()
                && view.nodes_seen().iter().any(|n| n.allocations.iter().any(|a| !a.client.is_over()))
            {
                let nothing = Registrations { whole: false, agent_dead: false, services: [].into(), by_hand: [].into() };
                let last = view.seen.consul.last().cloned().unwrap_or(nothing);
                view.seen.consul = Observed::seen(view.now, last);
            }
        }),
    },
];

impl AlteredView<'_> {
    /// Alters every node in the snapshot.
    pub(super) fn nodes(&mut self, change: impl FnMut(&mut Node)) {
        self.seen.nomad.edit(|nomad| nomad.nodes.iter_mut().for_each(change));
    }

    /// The nodes in the snapshot.
    pub(super) fn nodes_seen(&self) -> &[Node] {
        self.seen.nomad.last().map_or(&[], |nomad| &nomad.nodes)
    }

    /// Alters every allocation in the snapshot.
    pub(super) fn allocations(&mut self, mut change: impl FnMut(&mut Allocation)) {
        self.nodes(|node| {
            let mut allocations = node.allocations.to_vec();
            allocations.iter_mut().for_each(&mut change);
            node.allocations = allocations.into();
        });
    }

    /// Alters the task group of every such allocation.
    fn groups_of(&mut self, such: impl Fn(&Allocation) -> bool, change: impl Fn(&mut TaskGroup)) {
        self.allocations(|allocation| {
            if such(allocation) {
                change(Arc::make_mut(&mut allocation.group));
            }
        });
    }
}

impl Context<'_> {
    fn nodes(&self) -> &[Node] {
        self.seen.nomad.last().map_or(&[], |nomad| &nomad.nodes)
    }

    /// The decision with each of its drains altered.
    fn drains(&self, decision: Decision, change: impl Fn(&mut WholeSeconds, Phase, &mut bool, &mut DrainMeta)) -> Decision {
        self.effects(decision, |effect| match effect {
            Effect::Drain { node, mut deadline, mut ignore_system_jobs, mut meta } => {
                let phase = meta.phase;
                change(&mut deadline, phase, &mut ignore_system_jobs, &mut meta);
                Some(Effect::Drain { node, deadline, ignore_system_jobs, meta })
            }
            other => Some(other),
        })
    }

    /// A drain of everything on a node, with this much time.
    fn drain(&self, node: &Node, span: Duration) -> Decision {
        let budget = Budget::of(self.departure, self.seen, self.policy);
        let meta = DrainMeta {
            action: self.departure.mark(),
            phase: Phase::All,
            until: budget.until,
            longest_stop: budget.longest_stop,
            allocations: 0,
            warm: false,
            unproved: false,
        };
        let effect = Effect::Drain { node: node.id, deadline: WholeSeconds::at_most(span), ignore_system_jobs: false, meta };
        Decision { action: Action::Do(vec![effect]), reason: Reason::WorkLeft }
    }
}

fn drains_first(context: &Context<'_>, decision: Decision) -> Decision {
    let confirmed = context.seen.lifecycle.last() == Some(&decamp_core::decide::Lifecycle::Waiting);
    let node = context.nodes().first().filter(|node| node.drain.is_none() && node.last_drain.is_none());
    match node {
        Some(node) if confirmed && context.seen.history.drains.is_empty() => {
            let until = Budget::of(context.departure, context.seen, context.policy).until;
            context.drain(node, until.since(context.now))
        }
        _ => decision,
    }
}

fn ignores_kill_timeouts(view: &mut AlteredView<'_>) {
    let at_once = |group: &mut TaskGroup| {
        group.shutdown_delay = Duration::ZERO;
        for task in &mut group.tasks {
            task.shutdown_delay = Duration::ZERO;
            task.kill_timeout = Duration::ZERO;
        }
    };
    view.groups_of(|_| true, at_once);
    for known in &mut view.seen.history.known {
        at_once(Arc::make_mut(&mut known.group));
    }
}

fn repeats_a_phase(context: &Context<'_>, decision: Decision) -> Decision {
    let Some(first) = context.seen.history.drains.iter().find(|drain| drain.phase == Phase::All) else { return decision };
    let last = context.seen.history.drains.last().map_or(first.at, |drain| drain.at);
    let node = context.nodes().iter().find(|node| node.id == first.node && node.drain.is_some());
    match (&decision.action, node) {
        (Action::Wait { .. }, Some(node)) if last + Duration::from_secs(10) <= context.now => {
            let until = Budget::of(context.departure, context.seen, context.policy).until;
            context.drain(node, until.since(context.now))
        }
        _ => decision,
    }
}

fn sends_the_drain_again(context: &Context<'_>, decision: Decision) -> Decision {
    let Some(first) = context.seen.history.drains.first() else { return decision };
    let node = context.nodes().iter().find(|node| node.id == first.node && node.drain.is_some());
    match (&decision.action, node) {
        (Action::Wait { .. }, Some(_))
            if context.seen.history.drains.last().is_some_and(|d| context.now < d.at + Duration::from_secs(10)) =>
        {
            wait(context.now, Duration::from_secs(10))
        }
        (Action::Wait { .. }, Some(node)) => {
            let until = Budget::of(context.departure, context.seen, context.policy).until;
            context.drain(node, until.since(first.at))
        }
        _ => decision,
    }
}

fn forces_while_it_is_sent_to(context: &Context<'_>, decision: Decision) -> Decision {
    let history = &context.seen.history;
    let is_refused = history.failures(EffectKind::Deregister).is_some() && history.drains.is_empty();
    let is_time = Budget::of(context.departure, context.seen, context.policy).force_at <= context.now;
    match (&decision.action, context.nodes().first()) {
        (Action::Wait { .. }, Some(node)) if is_refused && is_time => context.drain(node, Duration::from_secs(1)),
        _ => decision,
    }
}
