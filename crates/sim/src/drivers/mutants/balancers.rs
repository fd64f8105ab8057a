//! Mistakes about load balancers: which targets are registered, and until when a load balancer may send.

use std::time::Duration;

use super::Mistake::{Does, Sees};
use super::{AlteredView, Context, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Decision, Effect, EffectKind, Node, Observed, Part, Target, TargetGroup, TargetHealth, Unseen, Zones,
};
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "waits-for-nomad-first",
        mistake: "It looks at the target groups only after Nomad has answered, which a deregistration by id does not need.",
        faults: &[Fault::NomadHangs],
        kind: Does(|context, mut decision| {
            if let Action::Look(parts) = &mut decision.action
                && context.seen.nomad.at().is_none()
                && parts.iter().any(|part| matches!(part, Part::TargetGroups { .. }))
            {
                *parts = vec![Part::Nomad, Part::NomadToken];
            }
            decision
        }),
    },
    WrongDriver {
        name: "absent-is-left",
        mistake: "It takes a target group that its hook names and that does not list the instance for one that it has left.",
        faults: &[Fault::NotListed],
        kind: Sees(|view| view.seen.balancers.iter_mut().for_each(|balancer| balancer.listed_it = true)),
    },
    WrongDriver {
        name: "forgets-zones",
        mistake: "It holds the last healthy target of a group, and not that of a zone if load balancing does not cross zones.",
        faults: &[Fault::LastOfItsZone],
        kind: Sees(|view| view.groups(|group| group.zones = Zones::Crossed)),
    },
    WrongDriver {
        name: "leaves-the-load-balancers",
        mistake: "It does not deregister anything.",
        faults: &[],
        kind: Sees(|view| view.targets(|_| None)),
    },
    WrongDriver {
        name: "forgets-a-port",
        mistake: "It deregisters an instance by one of its ports only.",
        faults: &[Fault::SeveralPorts],
        kind: Sees(|view| view.targets(|target| Some(target).filter(|t| t.port == 8080))),
    },
    WrongDriver {
        name: "forgets-addresses",
        mistake: "It knows targets by instance only, not by address.",
        faults: &[Fault::SeveralPorts],
        kind: Sees(|view| view.targets(|target| Some(target).filter(|t| !matches!(t.id, TargetId::Ip(_))))),
    },
    WrongDriver {
        name: "forgets-named-groups",
        mistake: "It knows only the target groups attached to the Auto Scaling group.",
        faults: &[],
        kind: Sees(|view| view.seen.group.edit(|group| group.hooks.iter_mut().for_each(|hook| hook.target_groups.clear()))),
    },
    WrongDriver {
        name: "forgets-attached-groups",
        mistake: "It leaves the target groups attached to the Auto Scaling group to Auto Scaling.",
        faults: &[Fault::TargetRegisteredAgain],
        kind: Sees(|view| view.seen.group.edit(|group| group.attached.clear())),
    },
    WrongDriver {
        name: "forgets-classic",
        mistake: "It does not know Classic Load Balancers.",
        faults: &[Fault::ClassicBalancer, Fault::TargetRegisteredAgain],
        kind: Sees(|view| {
            view.seen.group.edit(|group| {
                group.attached.retain(|arn| !arn.is_classic());
                group.hooks.iter_mut().for_each(|hook| hook.target_groups.retain(|arn| !arn.is_classic()));
            });
        }),
    },
    WrongDriver {
        name: "forgets-lattice",
        mistake: "It takes an instance for gone although a source that decamp cannot deregister from still sends to it.",
        faults: &[Fault::LatticeSource],
        kind: Sees(|view| view.seen.group.edit(|group| group.unhandled.clear())),
    },
    WrongDriver {
        name: "never-looks-again",
        mistake: "It does not look at a target group again once it has deregistered from it.",
        faults: &[Fault::TargetRegisteredAgain],
        kind: Sees(never_looks_again),
    },
    WrongDriver {
        name: "drains-before-the-delay",
        mistake: "It drains as soon as the deregistration was accepted.",
        faults: &[],
        kind: Sees(|view| {
            for balancer in &mut view.seen.balancers {
                balancer.deregistered = balancer.deregistered.map(|_| Time(0));
                balancer.first_look = balancer.first_look.map(|_| Time(0));
            }
        }),
    },
    WrongDriver {
        name: "trusts-routing-at-once",
        mistake: "It believes that routing follows a deregistration at once, even with a short delay.",
        faults: &[],
        kind: Sees(|view| {
            view.policy.guard_alb = Duration::ZERO;
            view.policy.guard_nlb = Duration::ZERO;
        }),
    },
    WrongDriver {
        name: "assumes-thirty-seconds",
        mistake: "It waits 30 s with any deregistration delay.",
        faults: &[],
        kind: Sees(|view| {
            view.policy.guard_nlb = view.policy.guard_alb;
            view.groups(|group| group.delay = Some(Duration::from_secs(30)));
        }),
    },
    WrongDriver {
        name: "draining-is-gone",
        mistake: "It takes a target that another party deregistered for gone while it still drains.",
        faults: &[Fault::AlreadyDraining],
        kind: Sees(|view| view.targets(|target| Some(target).filter(|t| t.health != TargetHealth::Draining))),
    },
    WrongDriver {
        name: "unused-is-done",
        mistake: "It takes every `unused` target for gone, though it may still be registered.",
        faults: &[Fault::SeveralPorts],
        kind: Sees(|view| view.targets(|target| Some(target).filter(|t| t.health != TargetHealth::RegisteredUnused))),
    },
    WrongDriver {
        name: "denied-group-is-empty",
        mistake: "It takes a target group that it may not read for one without targets.",
        faults: &[Fault::TargetGroupDenied],
        kind: Sees(|view| view.make_unseen_groups_look_deleted(|why| matches!(why, Unseen::Denied(_)))),
    },
    WrongDriver {
        name: "throttled-group-is-empty",
        mistake: "It takes a target group whose read was throttled for one without targets.",
        faults: &[Fault::BalancersThrottled],
        kind: Sees(|view| view.make_unseen_groups_look_deleted(|why| matches!(why, Unseen::Throttled))),
    },
    WrongDriver {
        name: "refused-deregistration-is-done",
        mistake: "It takes a deregistration that was refused for done.",
        faults: &[Fault::TargetGroupDenied],
        kind: Sees(|view| {
            if view.seen.history.failures(EffectKind::Deregister).is_some() {
                view.targets(|_| None);
            }
        }),
    },
    WrongDriver {
        name: "unknown-is-anothers",
        mistake: "It takes a target at an address without a known owner for another workload's.",
        faults: &[Fault::UnknownAddress],
        kind: Sees(|view| {
            let elsewhere = &mut view.seen.elsewhere;
            elsewhere.edit(|elsewhere| elsewhere.held.clone_from(&elsewhere.asked));
        }),
    },
    WrongDriver {
        name: "waits-for-no-unknown",
        mistake: "It does not wait for targets at addresses without a known owner.",
        faults: &[Fault::UnknownAddress],
        kind: Sees(|view| view.policy.unknown_target_wait = Duration::from_secs(5)),
    },
    WrongDriver {
        name: "had-it-once",
        mistake: "It takes an address for the instance's that an allocation had before it was over, or has behind a bridge.",
        faults: &[Fault::StrangersAddress],
        kind: Sees(|view| {
            let of_ours = |node: &Node| node.allocations.iter().filter_map(|a| a.own.as_ref()).map(|own| own.address).collect();
            let had: Vec<_> = view
                .seen
                .nomad
                .last()
                .map_or(&[][..], |nomad| &nomad.nodes)
                .iter()
                .flat_map(|node| -> Vec<_> { of_ours(node) })
                .collect();
            view.seen.history.addresses.extend(had);
        }),
    },
    WrongDriver {
        name: "matches-by-port",
        mistake: "It takes any allocation with a target's port for the one that answers there, at any address.",
        faults: &[Fault::OwnAddresses],
        kind: Sees(matches_by_port),
    },
    WrongDriver {
        name: "scans-by-id",
        mistake: "It finds target groups by the instance's id only, not by its addresses.",
        faults: &[Fault::FoundByScan],
        kind: Sees(|view| {
            let by_address: Vec<_> =
                view.seen.balancers.iter().filter(|b| !b.registered.is_empty()).map(|b| b.arn.clone()).collect();
            view.seen.scan.edit(|found| found.retain(|arn| !by_address.contains(arn)));
        }),
    },
    WrongDriver {
        name: "deregisters-everybody",
        mistake: "It deregisters every target of the group, not only its own.",
        faults: &[],
        kind: Does(deregisters_everybody),
    },
];

impl AlteredView<'_> {
    /// Alters every target group in the snapshot.
    fn groups(&mut self, change: impl Fn(&mut TargetGroup)) {
        for balancer in &mut self.seen.balancers {
            balancer.sight.edit(&change);
        }
    }

    /// Alters each target in the snapshot, or removes it.
    fn targets(&mut self, change: impl Fn(Target) -> Option<Target>) {
        self.groups(|group| {
            group.targets = group.targets.as_ref().map(|targets| targets.iter().cloned().filter_map(&change).collect());
        });
    }

    /// Makes groups look deleted that could not be seen for such a reason.
    fn make_unseen_groups_look_deleted(&mut self, for_reason: impl Fn(&Unseen) -> bool) {
        let now = self.now;
        for balancer in &mut self.seen.balancers {
            if balancer.sight.blind().is_some_and(|blind| for_reason(&blind.why)) {
                let group = TargetGroup {
                    arn: balancer.arn.clone(),
                    attached: false,
                    kind: decamp_core::decide::BalancerKind::Alb,
                    delay: None,
                    connection_termination: None,
                    zones: Zones::Unknown,
                    targets: None,
                };
                balancer.sight = Observed::seen(now, group);
            }
        }
    }
}

fn never_looks_again(view: &mut AlteredView<'_>) {
    let now = view.now;
    for balancer in view.seen.balancers.iter_mut().filter(|b| b.deregistered.is_some()) {
        let Some(mut group) = balancer.sight.last().cloned() else { continue };
        group.targets = group.targets.map(|_| [].into());
        balancer.sight = Observed::seen(now, group);
    }
}

/// Counts the addresses of the node's allocations as the node's, so that any allocation with the port answers there.
fn matches_by_port(view: &mut AlteredView<'_>) {
    let running = view.seen.allocations().filter(|a| !a.client.is_over());
    let own: Vec<_> = running.filter_map(|a| a.own.as_ref()).map(|own| own.address).collect();
    view.seen.history.addresses.extend(own);
}

fn deregisters_everybody(context: &Context<'_>, decision: Decision) -> Decision {
    context.effects(decision, |effect| match effect {
        Effect::Deregister { group, targets } => {
            let seen = context.seen.balancers.iter().find(|b| b.arn == group).and_then(|b| b.sight.last());
            let all = seen.and_then(|g| g.targets.as_ref()).map_or(targets, |all| all.to_vec());
            Some(Effect::Deregister { group, targets: all })
        }
        other => Some(other),
    })
}
