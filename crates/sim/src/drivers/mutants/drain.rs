//! Wrong about the drain: when it may begin, how long it may take, and what to do when it hangs.

use std::sync::Arc;
use std::time::Duration;

use super::How::{Does, Sees};
use super::{Scene, View, Wrong, wait};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Allocation, Budget, Decision, DrainMeta, Effect, EffectKind, JobKind, Node, Phase, Reason, Registrations, Sight,
    TaskGroup, WholeSeconds,
};

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "overlaps-always",
        mistake: "It drains services beside the deregistration delay, whatever serves the targets.",
        faults: &[],
        how: Sees(|view| {
            view.groups_of(|a| !a.ports.is_empty(), |group| group.kind = JobKind::System);
        }),
    },
    Wrong {
        name: "kill-timeout-serves",
        mistake: "It counts the kill time-out as time in which an allocation serves on.",
        faults: &[],
        how: Sees(|view| {
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
    Wrong {
        name: "stops-system-jobs-too",
        mistake: "It drains system jobs with the services, beside the delay.",
        faults: &[],
        how: Does(|scene, decision| scene.drains(decision, |_, _, ignore_system_jobs, _| *ignore_system_jobs = false)),
    },
    Wrong {
        name: "outdated-by-a-slow-answer",
        mistake: "It takes for old what the round of looks that has just ended showed, if that round took long.",
        faults: &[Fault::SlowAnswers],
        how: Sees(|view| view.seen.history.last_round = None),
    },
    Wrong { name: "drains-first", mistake: "It drains before anything is deregistered.", faults: &[], how: Does(drains_first) },
    Wrong {
        name: "never-drains",
        mistake: "It waits for the allocations to leave by themselves.",
        faults: &[],
        how: Does(|scene, decision| scene.effects(decision, |effect| Some(effect).filter(|e| e.kind() != EffectKind::Drain))),
    },
    Wrong {
        name: "drains-without-end",
        mistake: "It drains with a deadline of ten days.",
        faults: &[],
        how: Does(|scene, decision| {
            scene.drains(decision, |deadline, phase, _, _| {
                if phase != Phase::Forced {
                    *deadline = WholeSeconds::at_most(Duration::from_hours(240));
                }
            })
        }),
    },
    Wrong {
        name: "no-room-for-the-stop",
        mistake: "It gives the drain all the time there is, and none to what stops at its deadline.",
        faults: &[Fault::HookIsShort],
        how: Does(|scene, decision| {
            let ends = Budget::of(scene.departure, scene.seen, scene.policy).hook_ends;
            scene.drains(decision, |deadline, phase, _, _| {
                if phase != Phase::Forced {
                    *deadline = WholeSeconds::at_most(ends.since(scene.now));
                }
            })
        }),
    },
    Wrong {
        name: "ignores-kill-timeouts",
        mistake: "It believes that everything stops at once when told to.",
        faults: &[],
        how: Sees(ignores_kill_timeouts),
    },
    Wrong {
        name: "sends-the-drain-again",
        mistake: "It sends the drain again whenever it would wait, with all the time it first had.",
        faults: &[],
        how: Does(sends_the_drain_again),
    },
    Wrong {
        name: "repeats-a-phase",
        mistake: "It sends the drain of everything again whenever it would wait, with the time that is left.",
        faults: &[],
        how: Does(repeats_a_phase),
    },
    Wrong {
        name: "unhangs-with-a-later-deadline",
        mistake: "It sends a hung drain again with more time than is left.",
        faults: &[Fault::DrainHangs],
        how: Does(|scene, decision| {
            scene.drains(decision, |deadline, phase, _, _| {
                if phase == Phase::Resent {
                    *deadline = WholeSeconds::at_most(deadline.span() + Duration::from_secs(60));
                }
            })
        }),
    },
    Wrong {
        name: "leaves-a-hung-drain",
        mistake: "It leaves a hung drain hanging until its deadline.",
        faults: &[Fault::DrainHangs],
        how: Sees(|view| view.seen.history.settled_since = None),
    },
    Wrong {
        name: "waits-for-the-draining-flag",
        mistake: "It goes on only when the node no longer says `draining`.",
        faults: &[Fault::DrainHangs],
        how: Does(|scene, decision| {
            let draining = scene.nodes().iter().any(|node| node.drain.is_some());
            match &decision.action {
                Action::Do(effects) if draining && effects.iter().any(|e| e.kind() == EffectKind::Complete) => {
                    wait(scene.now, Duration::from_secs(10))
                }
                _ => decision,
            }
        }),
    },
    Wrong {
        name: "drains-in-a-second",
        mistake: "It gives every drain one second.",
        faults: &[],
        how: Does(|scene, decision| scene.drains(decision, |deadline, _, _, _| *deadline = WholeSeconds::ONE)),
    },
    Wrong {
        name: "forces-at-once",
        mistake: "It forces where it should drain.",
        faults: &[],
        how: Does(|scene, decision| {
            scene.drains(decision, |deadline, _, _, meta| {
                *deadline = WholeSeconds::ONE;
                meta.phase = Phase::Forced;
            })
        }),
    },
    Wrong {
        name: "forces-while-it-is-sent-to",
        mistake: "It forces in time for the longest stop, although a denied deregistration leaves the instance in service.",
        faults: &[Fault::DeniedForGood],
        how: Does(forces_while_it_is_sent_to),
    },
    Wrong {
        name: "ignores-what-lands-late",
        mistake: "It does not count what Nomad placed after the drain.",
        faults: &[Fault::LandsLate],
        how: Sees(|view| {
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
    Wrong {
        name: "forgets-its-drains",
        mistake: "It does not know a drain of an earlier worker for its own.",
        faults: &[Fault::Crash, Fault::TwoWorkers],
        how: Sees(|view| {
            if view.seen.history.drains.is_empty() {
                view.nodes(|node| {
                    node.drain = None;
                    node.last_drain = None;
                });
            }
        }),
    },
    Wrong {
        name: "drains-over-an-operator",
        mistake: "It replaces a drain that an operator had begun.",
        faults: &[Fault::DrainedByOperator],
        how: Sees(|view| {
            view.nodes(|node| {
                if node.last_drain.as_ref().is_some_and(|last| last.meta.is_none()) {
                    node.drain = None;
                    node.last_drain = None;
                }
            });
        }),
    },
    Wrong {
        name: "leaves-system-jobs",
        mistake: "It leaves system jobs running, whatever the policy says.",
        faults: &[Fault::SystemAndCsi],
        how: Sees(|view| view.policy.ignore_system_jobs = true),
    },
    Wrong {
        name: "believes-what-it-saw-before",
        mistake: "It goes on with what it saw of Nomad before its own write.",
        faults: &[],
        how: Sees(|view| {
            if view.seen.nomad.now().is_none()
                && let (Some(at), Some(nomad)) = (view.seen.nomad.at(), view.seen.nomad.last())
            {
                view.seen.nomad = Sight::seen(at, nomad.clone());
            }
        }),
    },
    Wrong {
        name: "drains-without-discovery",
        mistake: "It drains while Consul is away, and the ingress goes on sending to what is gone.",
        faults: &[Fault::ConsulAway],
        how: Sees(|view| {
            if view.seen.consul.now().is_none()
                && view.nodes_seen().iter().any(|n| n.allocations.iter().any(|a| !a.client.is_over()))
            {
                let nothing = Registrations { whole: false, agent_dead: false, services: [].into(), by_hand: [].into() };
                let last = view.seen.consul.last().cloned().unwrap_or(nothing);
                view.seen.consul = Sight::seen(view.now, last);
            }
        }),
    },
];

impl View<'_> {
    /// Changes every node as it was seen.
    pub(super) fn nodes(&mut self, change: impl Fn(&mut Node)) {
        self.seen.nomad.edit(|nomad| nomad.nodes.iter_mut().for_each(change));
    }

    /// The nodes as they were seen.
    fn nodes_seen(&self) -> &[Node] {
        self.seen.nomad.last().map_or(&[], |nomad| &nomad.nodes)
    }

    /// Changes every such allocation as it was seen.
    pub(super) fn allocations(&mut self, change: impl Fn(&mut Allocation)) {
        self.nodes(|node| {
            let mut allocations = node.allocations.to_vec();
            allocations.iter_mut().for_each(&change);
            node.allocations = allocations.into();
        });
    }

    /// Changes the task group of every such allocation.
    fn groups_of(&mut self, such: impl Fn(&Allocation) -> bool, change: impl Fn(&mut TaskGroup)) {
        self.allocations(|allocation| {
            if such(allocation) {
                change(Arc::make_mut(&mut allocation.group));
            }
        });
    }
}

impl Scene<'_> {
    fn nodes(&self) -> &[Node] {
        self.seen.nomad.last().map_or(&[], |nomad| &nomad.nodes)
    }

    /// The decision with each of its drains changed.
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

fn drains_first(scene: &Scene<'_>, decision: Decision) -> Decision {
    let confirmed = scene.seen.lifecycle.last() == Some(&decamp_core::decide::Lifecycle::Waiting);
    let node = scene.nodes().first().filter(|node| node.drain.is_none() && node.last_drain.is_none());
    match node {
        Some(node) if confirmed && scene.seen.history.drains.is_empty() => {
            let until = Budget::of(scene.departure, scene.seen, scene.policy).until;
            scene.drain(node, until.since(scene.now))
        }
        _ => decision,
    }
}

fn ignores_kill_timeouts(view: &mut View<'_>) {
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

fn repeats_a_phase(scene: &Scene<'_>, decision: Decision) -> Decision {
    let Some(first) = scene.seen.history.drains.iter().find(|drain| drain.phase == Phase::All) else { return decision };
    let last = scene.seen.history.drains.last().map_or(first.at, |drain| drain.at);
    let node = scene.nodes().iter().find(|node| node.id == first.node && node.drain.is_some());
    match (&decision.action, node) {
        (Action::Wait { .. }, Some(node)) if last + Duration::from_secs(10) <= scene.now => {
            let until = Budget::of(scene.departure, scene.seen, scene.policy).until;
            scene.drain(node, until.since(scene.now))
        }
        _ => decision,
    }
}

fn sends_the_drain_again(scene: &Scene<'_>, decision: Decision) -> Decision {
    let Some(first) = scene.seen.history.drains.first() else { return decision };
    let node = scene.nodes().iter().find(|node| node.id == first.node && node.drain.is_some());
    match (&decision.action, node) {
        (Action::Wait { .. }, Some(_))
            if scene.seen.history.drains.last().is_some_and(|d| scene.now < d.at + Duration::from_secs(10)) =>
        {
            wait(scene.now, Duration::from_secs(10))
        }
        (Action::Wait { .. }, Some(node)) => {
            let until = Budget::of(scene.departure, scene.seen, scene.policy).until;
            scene.drain(node, until.since(first.at))
        }
        _ => decision,
    }
}

fn forces_while_it_is_sent_to(scene: &Scene<'_>, decision: Decision) -> Decision {
    let history = &scene.seen.history;
    let is_refused = history.failures(EffectKind::Deregister).is_some() && history.drains.is_empty();
    let is_time = Budget::of(scene.departure, scene.seen, scene.policy).force_at <= scene.now;
    match (&decision.action, scene.nodes().first()) {
        (Action::Wait { .. }, Some(node)) if is_refused && is_time => scene.drain(node, Duration::from_secs(1)),
        _ => decision,
    }
}
