//! Wrong about the load balancers: what is registered, and until when they may send.

use std::time::Duration;

use super::How::{Does, Sees};
use super::{Scene, View, Wrong};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Decision, Effect, EffectKind, Node, Part, Sight, Target, TargetGroup, TargetHealth, Unseen, Zones,
};
use decamp_core::ids::TargetId;
use decamp_core::time::Time;

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "waits-for-nomad-first",
        mistake: "It looks at the target groups only when Nomad has answered, which a deregistration of the instance does not need.",
        faults: &[Fault::NomadHangs],
        how: Does(|scene, mut decision| {
            if let Action::Look(parts) = &mut decision.action
                && scene.seen.nomad.at().is_none()
                && parts.iter().any(|part| matches!(part, Part::TargetGroups { .. }))
            {
                *parts = vec![Part::Nomad, Part::NomadSight];
            }
            decision
        }),
    },
    Wrong {
        name: "absent-is-left",
        mistake: "It takes a target group that its hook names, and that does not list the instance, for one that was left.",
        faults: &[Fault::NotListed],
        how: Sees(|view| view.seen.balancers.iter_mut().for_each(|balancer| balancer.listed_it = true)),
    },
    Wrong {
        name: "forgets-zones",
        mistake: "It holds the last healthy target of a group, and not that of a zone where load balancing does not cross zones.",
        faults: &[Fault::LastOfItsZone],
        how: Sees(|view| view.groups(|group| group.zones = Zones::Crossed)),
    },
    Wrong {
        name: "leaves-the-load-balancers",
        mistake: "It does not deregister anything.",
        faults: &[],
        how: Sees(|view| view.targets(|_| None)),
    },
    Wrong {
        name: "forgets-a-port",
        mistake: "It deregisters an instance by one of its ports only.",
        faults: &[Fault::SeveralPorts],
        how: Sees(|view| view.targets(|target| Some(target).filter(|t| t.port == 8080))),
    },
    Wrong {
        name: "forgets-addresses",
        mistake: "It knows targets by instance only, not by address.",
        faults: &[Fault::SeveralPorts],
        how: Sees(|view| view.targets(|target| Some(target).filter(|t| !matches!(t.id, TargetId::Ip(_))))),
    },
    Wrong {
        name: "forgets-named-groups",
        mistake: "It knows only the target groups attached to the Auto Scaling group.",
        faults: &[],
        how: Sees(|view| view.seen.group.edit(|group| group.hooks.iter_mut().for_each(|hook| hook.target_groups.clear()))),
    },
    Wrong {
        name: "forgets-attached-groups",
        mistake: "It leaves the target groups attached to the Auto Scaling group to Auto Scaling.",
        faults: &[Fault::TargetRegisteredAgain],
        how: Sees(|view| view.seen.group.edit(|group| group.attached.clear())),
    },
    Wrong {
        name: "forgets-classic",
        mistake: "It does not know Classic Load Balancers.",
        faults: &[Fault::ClassicBalancer, Fault::TargetRegisteredAgain],
        how: Sees(|view| {
            view.seen.group.edit(|group| {
                group.attached.retain(|arn| !arn.is_classic());
                group.hooks.iter_mut().for_each(|hook| hook.target_groups.retain(|arn| !arn.is_classic()));
            });
        }),
    },
    Wrong {
        name: "forgets-lattice",
        mistake: "It takes an instance for gone that something still sends to which decamp cannot leave.",
        faults: &[Fault::LatticeSource],
        how: Sees(|view| view.seen.group.edit(|group| group.unhandled.clear())),
    },
    Wrong {
        name: "never-looks-again",
        mistake: "It does not look at a target group again once it has deregistered from it.",
        faults: &[Fault::TargetRegisteredAgain],
        how: Sees(never_looks_again),
    },
    Wrong {
        name: "drains-before-the-delay",
        mistake: "It drains as soon as the deregistration was accepted.",
        faults: &[],
        how: Sees(|view| {
            for balancer in &mut view.seen.balancers {
                balancer.deregistered = balancer.deregistered.map(|_| Time(0));
                balancer.first_look = balancer.first_look.map(|_| Time(0));
            }
        }),
    },
    Wrong {
        name: "trusts-routing-at-once",
        mistake: "It believes that routing follows a deregistration at once, however short the delay.",
        faults: &[],
        how: Sees(|view| {
            view.policy.guard_alb = Duration::ZERO;
            view.policy.guard_nlb = Duration::ZERO;
        }),
    },
    Wrong {
        name: "assumes-thirty-seconds",
        mistake: "It waits 30 s, whatever the deregistration delay is.",
        faults: &[],
        how: Sees(|view| {
            view.policy.guard_nlb = view.policy.guard_alb;
            view.groups(|group| group.delay = Some(Duration::from_secs(30)));
        }),
    },
    Wrong {
        name: "draining-is-gone",
        mistake: "It takes a target that somebody else deregistered for gone while it still drains.",
        faults: &[Fault::AlreadyDraining],
        how: Sees(|view| view.targets(|target| Some(target).filter(|t| t.health != TargetHealth::Draining))),
    },
    Wrong {
        name: "unused-is-done",
        mistake: "It takes every `unused` target for gone, though it may still be registered.",
        faults: &[Fault::SeveralPorts],
        how: Sees(|view| view.targets(|target| Some(target).filter(|t| t.health != TargetHealth::RegisteredUnused))),
    },
    Wrong {
        name: "denied-group-is-empty",
        mistake: "It takes a target group that it may not read for one without targets.",
        faults: &[Fault::TargetGroupDenied],
        how: Sees(|view| view.unseen_groups_are_gone(|why| matches!(why, Unseen::Denied(_)))),
    },
    Wrong {
        name: "throttled-group-is-empty",
        mistake: "It takes a target group whose read was throttled for one without targets.",
        faults: &[Fault::BalancersThrottled],
        how: Sees(|view| view.unseen_groups_are_gone(|why| matches!(why, Unseen::Throttled))),
    },
    Wrong {
        name: "refused-deregistration-is-done",
        mistake: "It takes a deregistration that was refused for done.",
        faults: &[Fault::TargetGroupDenied],
        how: Sees(|view| {
            if view.seen.history.failures(EffectKind::Deregister).is_some() {
                view.targets(|_| None);
            }
        }),
    },
    Wrong {
        name: "unknown-is-anothers",
        mistake: "It takes a target at an address that nobody is known to have for another's.",
        faults: &[Fault::UnknownAddress],
        how: Sees(|view| {
            let elsewhere = &mut view.seen.elsewhere;
            elsewhere.edit(|elsewhere| elsewhere.held.clone_from(&elsewhere.asked));
        }),
    },
    Wrong {
        name: "waits-for-no-unknown",
        mistake: "It does not wait for targets at addresses that nobody is known to have.",
        faults: &[Fault::UnknownAddress],
        how: Sees(|view| view.policy.unknown_target_wait = Duration::from_secs(5)),
    },
    Wrong {
        name: "had-it-once",
        mistake: "It takes an address for its own that an allocation has had which is over, or has behind a bridge.",
        faults: &[Fault::StrangersAddress],
        how: Sees(|view| {
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
    Wrong {
        name: "matches-by-port",
        mistake: "It takes whatever has a target's port for what answers there, whatever the address.",
        faults: &[Fault::OwnAddresses],
        how: Sees(matches_by_port),
    },
    Wrong {
        name: "scans-by-id",
        mistake: "It finds target groups by the instance's id only, not by its addresses.",
        faults: &[Fault::FoundByScan],
        how: Sees(|view| {
            let by_address: Vec<_> =
                view.seen.balancers.iter().filter(|b| !b.registered.is_empty()).map(|b| b.arn.clone()).collect();
            view.seen.scan.edit(|found| found.retain(|arn| !by_address.contains(arn)));
        }),
    },
    Wrong {
        name: "deregisters-everybody",
        mistake: "It deregisters every target of the group, not only its own.",
        faults: &[],
        how: Does(deregisters_everybody),
    },
];

impl View<'_> {
    /// Changes every target group as it was seen.
    fn groups(&mut self, change: impl Fn(&mut TargetGroup)) {
        for balancer in &mut self.seen.balancers {
            balancer.sight.edit(&change);
        }
    }

    /// Changes each target as it was seen, or leaves it out.
    fn targets(&mut self, change: impl Fn(Target) -> Option<Target>) {
        self.groups(|group| {
            group.targets = group.targets.as_ref().map(|targets| targets.iter().cloned().filter_map(&change).collect());
        });
    }

    /// Takes groups that could not be seen, for such a reason, for deleted ones.
    fn unseen_groups_are_gone(&mut self, for_reason: impl Fn(&Unseen) -> bool) {
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
                balancer.sight = Sight::seen(now, group);
            }
        }
    }
}

fn never_looks_again(view: &mut View<'_>) {
    let now = view.now;
    for balancer in view.seen.balancers.iter_mut().filter(|b| b.deregistered.is_some()) {
        let Some(mut group) = balancer.sight.last().cloned() else { continue };
        group.targets = group.targets.map(|_| [].into());
        balancer.sight = Sight::seen(now, group);
    }
}

/// Addresses of its allocations count as the node's: then any allocation with the port answers there.
fn matches_by_port(view: &mut View<'_>) {
    let nodes = view.seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
    let running = nodes.iter().flat_map(|node| node.allocations.iter()).filter(|a| !a.client.is_over());
    let own: Vec<_> = running.filter_map(|a| a.own.as_ref()).map(|own| own.address).collect();
    view.seen.history.addresses.extend(own);
}

fn deregisters_everybody(scene: &Scene<'_>, decision: Decision) -> Decision {
    scene.effects(decision, |effect| match effect {
        Effect::Deregister { group, targets } => {
            let seen = scene.seen.balancers.iter().find(|b| b.arn == group).and_then(|b| b.sight.last());
            let all = seen.and_then(|g| g.targets.as_ref()).map_or(targets, |all| all.to_vec());
            Some(Effect::Deregister { group, targets: all })
        }
        other => Some(other),
    })
}
