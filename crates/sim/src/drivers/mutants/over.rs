//! Wrong about what is over: allocations that still run, registrations that still route, and silence taken for an answer.

use std::sync::Arc;
use std::time::Duration;

use super::How::{Does, Sees};
use super::{View, Wrong};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Allocation, Beginning, ByHand, ClientStatus, DrainStatus, EffectKind, Nomad, NomadSight, Outcome, Registrations,
    Sight, Unseen,
};

pub(super) const WRONG: &[Wrong] = &[
    Wrong {
        name: "wants-a-token",
        mistake: "It believes no answer of a Consul that has no ACLs.",
        faults: &[Fault::Crash, Fault::ConsulWithoutAcls],
        how: Sees(|view| view.seen.consul.edit(|registrations| registrations.whole = false)),
    },
    Wrong {
        name: "asks-one-namespace",
        mistake: "It asks Consul for no other namespace than its own, and takes what it is not shown for gone.",
        faults: &[Fault::ConsulNamespaces, Fault::LeftoverRegistration],
        how: Sees(|view| {
            let known = view.seen.history.known.iter();
            let namespaced = known.filter(|k| k.group.services.iter().any(|s| s.namespace.is_some())).map(|k| k.id);
            let namespaced: Vec<_> = namespaced.collect();
            view.seen.consul.edit(|all| {
                let shown = all.services.iter().filter(|one| !namespaced.contains(&one.allocation)).cloned().collect();
                all.services = shown;
            });
            view.believes_what_is_not_listed();
        }),
    },
    Wrong {
        name: "whole-is-everything",
        mistake: "It takes a whole answer of Consul for all there is, although it never listed what runs.",
        faults: &[Fault::ConsulElsewhere],
        how: Sees(|view| view.believes_what_is_not_listed()),
    },
    Wrong {
        name: "forgets-by-hand",
        mistake: "It does not wait for what was registered by hand, although it is told to.",
        faults: &[Fault::ByHand],
        how: Sees(|view| view.policy.by_hand = ByHand::Name),
    },
    Wrong {
        name: "blind-to-hands",
        mistake: "It does not see what was registered by hand, and names it to nobody.",
        faults: &[Fault::ByHand],
        how: Sees(|view| view.seen.consul.edit(|all| all.by_hand = [].into())),
    },
    Wrong {
        name: "missing-is-no-node",
        mistake: "It takes an instance whose node does not tell its id for one without a node, and lets it go.",
        faults: &[Fault::FingerprintMissing],
        how: Sees(|view| view.policy.without_nomad = vec!["*".into()]),
    },
    Wrong {
        name: "trusts-drain-complete",
        mistake: "It takes Nomad's \"drain complete\" for the end of everything on the node.",
        faults: &[],
        how: Sees(|view| {
            let complete = view.last_drain_is(DrainStatus::Complete);
            view.over(|_| complete);
        }),
    },
    Wrong {
        name: "trusts-a-cancelled-drain",
        mistake: "It takes a drain that is no longer under way for done, even if somebody cancelled it.",
        faults: &[Fault::DrainCancelled],
        how: Sees(|view| {
            let cancelled = view.last_drain_is(DrainStatus::Canceled);
            view.over(|_| cancelled);
        }),
    },
    Wrong {
        name: "trusts-desired-stop",
        mistake: "It takes an allocation that was told to stop for stopped.",
        faults: &[],
        how: Sees(|view| view.over(|a| !a.wanted)),
    },
    Wrong {
        name: "trusts-pending",
        mistake: "It takes `pending` with desired `stop` for over, though it serves in its shutdown delay.",
        faults: &[],
        how: Sees(|view| view.over(|a| !a.wanted && a.client == ClientStatus::Pending)),
    },
    Wrong {
        name: "trusts-lost",
        mistake: "It takes `lost` for stopped.",
        faults: &[Fault::AgentDead, Fault::AgentAway],
        how: Sees(|view| view.over(|a| a.client == ClientStatus::Lost)),
    },
    Wrong {
        name: "trusts-unknown",
        mistake: "It takes `unknown` and `lost` on a silent node for stopped.",
        faults: &[Fault::AgentDead, Fault::AgentAway],
        how: Sees(|view| view.over(|a| matches!(a.client, ClientStatus::Unknown | ClientStatus::Lost))),
    },
    Wrong {
        name: "dead-agent-is-empty",
        mistake: "It takes a node that is down for an empty one.",
        faults: &[Fault::AgentDead],
        how: Sees(|view| {
            view.seen.history.agents_dead_since = None;
            view.nodes(|node| {
                if node.status.is_lost() {
                    node.allocations = [].into();
                }
            });
        }),
    },
    Wrong {
        name: "dead-agent-at-once",
        mistake: "It gives a dead agent no time to come back.",
        faults: &[Fault::AgentAway],
        how: Does(|scene, decision| {
            let dead = scene.seen.history.agents_dead_since.is_some() && scene.seen.history.completed.is_none();
            match decision.action {
                Action::Wait { .. } if dead => scene.complete(Outcome::AgentDead).unwrap_or(decision),
                _ => decision,
            }
        }),
    },
    Wrong {
        name: "believes-a-purged-list",
        mistake: "It takes allocations that vanished from the list with their purged job for over.",
        faults: &[Fault::JobPurged],
        how: Sees(|view| {
            for known in view.seen.history.known.iter_mut().filter(|k| !k.listed) {
                known.over = true;
            }
            view.nodes(|node| {
                if let Some(meta) = node.last_drain.as_mut().and_then(|last| last.meta.as_mut()) {
                    meta.allocations = 0;
                }
            });
        }),
    },
    Wrong {
        name: "silence-of-nomad-is-empty",
        mistake: "It takes a Nomad that does not answer for one without this node.",
        faults: &[Fault::NomadThrottled, Fault::LeaderLost],
        how: Sees(|view| view.blind_nomad_is_empty(|_| true)),
    },
    Wrong {
        name: "nomad-403-is-empty",
        mistake: "It takes a 403 from Nomad for an empty list.",
        faults: &[Fault::NomadDenied],
        how: Sees(|view| view.blind_nomad_is_empty(|why| matches!(why, Unseen::Denied(_)))),
    },
    Wrong {
        name: "empty-without-sight",
        mistake: "It believes an empty answer of Nomad without proof that its token could have seen more.",
        faults: &[Fault::BlindToken],
        how: Sees(|view| {
            if view.seen.nomad_sight.now().is_some() {
                view.seen.nomad_sight = Sight::seen(view.now, NomadSight::Full);
            }
        }),
    },
    Wrong {
        name: "skips-discovery",
        mistake: "It does not look whether the registrations are gone.",
        faults: &[Fault::LeftoverRegistration],
        how: Sees(|view| view.policy.consul = false),
    },
    Wrong {
        name: "stops-watching-consul",
        mistake: "It confirms discovery before a drain, and does not look again while services stop.",
        faults: &[Fault::ConsulVanishes],
        how: Sees(|view| {
            view.seen.history.unseen_stops = None;
            let stops = view.seen.stops_in_consul().next().is_some();
            if let Some(last) = view.seen.consul.last().filter(|_| stops).cloned() {
                view.seen.consul = Sight::seen(view.now, last);
            }
        }),
    },
    Wrong {
        name: "forgets-an-outage-with-the-stop",
        mistake: "It takes an outage of Consul for none that hides a stop and outlasts it.",
        faults: &[Fault::ConsulVanishes],
        how: Sees(|view| {
            if view.seen.stops_in_consul().next().is_none() {
                view.seen.history.unseen_stops = None;
                view.seen.history.notes_sent.retain(|note| note.what != Beginning::Unseen);
                for known in &mut view.seen.history.known {
                    known.told = known.told.filter(|_| !known.over);
                }
            }
        }),
    },
    Wrong {
        name: "silence-of-consul-is-empty",
        mistake: "It takes a Consul that does not answer for one without registrations.",
        faults: &[Fault::ConsulAway],
        how: Sees(|view| {
            if view.seen.consul.blind().is_some() {
                view.seen.consul = Sight::seen(
                    view.now,
                    Registrations { whole: true, agent_dead: false, services: [].into(), by_hand: [].into() },
                );
            }
        }),
    },
    Wrong {
        name: "leftovers-do-not-matter",
        mistake: "It does not wait for registrations that are left over.",
        faults: &[Fault::LeftoverRegistration, Fault::StaleCatalog],
        how: Sees(|view| view.policy.leftover_wait = Duration::ZERO),
    },
    Wrong {
        name: "drained-is-departed",
        mistake: "It completes as soon as it has sent the drain.",
        faults: &[],
        how: Does(|scene, decision| {
            let drained = !scene.seen.history.drains.is_empty() && scene.seen.history.completed.is_none();
            match &decision.action {
                Action::Do(effects) if effects.iter().any(|e| e.kind() == EffectKind::Complete) => decision,
                _ if drained => scene.complete(Outcome::Departed { waiting_for: None }).unwrap_or(decision),
                _ => decision,
            }
        }),
    },
];

impl View<'_> {
    /// Finds nothing in running allocations that Consul does not list.
    fn believes_what_is_not_listed(&mut self) {
        // As if all had been listed: what no look has shown is looked for again and again.
        let history = &mut self.seen.history;
        for known in &mut history.known {
            (known.missed, known.unlisted) = (None, None);
            history.registered.extend(known.group.in_consul().map(|service| (known.id, Arc::clone(&service.name))));
        }
        self.nodes(|node| {
            if let Some(meta) = node.last_drain.as_mut().and_then(|last| last.meta.as_mut()) {
                meta.unproved = false;
            }
        });
    }

    /// Takes such allocations for over.
    fn over(&mut self, such: impl Fn(&Allocation) -> bool) {
        self.allocations(|allocation| {
            if such(allocation) {
                allocation.client = ClientStatus::Complete;
            }
        });
    }

    /// Whether the last drain of ours of everything stands so.
    fn last_drain_is(&self, status: DrainStatus) -> bool {
        let nodes = self.seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        nodes.iter().filter_map(|node| node.last_drain.as_ref()).any(|last| last.status == status && last.meta.is_some())
    }

    /// Takes a Nomad that could not be seen, for such a reason, for one that knows no such node.
    fn blind_nomad_is_empty(&mut self, for_reason: impl Fn(&Unseen) -> bool) {
        if self.seen.nomad.blind().is_some_and(|blind| for_reason(&blind.why)) {
            let nothing = Nomad { nodes: Vec::new(), set_aside: Vec::new() };
            self.seen.nomad = Sight::seen(self.now, nothing);
            self.seen.nomad_sight = Sight::seen(self.now, NomadSight::Full);
            self.seen.history.known.clear();
            self.seen.history.no_node_since = Some(self.seen.history.began - self.policy.no_node_wait);
        }
    }
}
