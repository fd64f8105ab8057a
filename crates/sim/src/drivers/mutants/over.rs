//! Mistakes about what is over: allocations that still run, registrations that still route, and missing answers taken for empty ones.

use std::sync::Arc;
use std::time::Duration;

use super::Mistake::{Does, Sees};
use super::{AlteredView, WrongDriver};
use crate::faults::Fault;
use decamp_core::decide::{
    Action, Allocation, Beginning, ByHand, ClientStatus, DrainStatus, EffectKind, Nomad, Observed, Outcome, Registrations,
    TokenAccess, Unseen,
};

pub(super) const WRONG_DRIVERS: &[WrongDriver] = &[
    WrongDriver {
        name: "wants-a-token",
        mistake: "It believes no answer of a Consul that has no ACLs.",
        faults: &[Fault::Crash, Fault::ConsulWithoutAcls],
        kind: Sees(|view| view.seen.consul.edit(|registrations| registrations.whole = false)),
    },
    WrongDriver {
        name: "cannot-read-a-long-list",
        mistake: "It cannot read a node with more than 1,700 allocations, because their jobs together are larger than the largest answer.",
        faults: &[],
        kind: Sees(|view| {
            let longest = view.nodes_seen().iter().map(|node| node.allocations.len()).max().unwrap_or(0);
            if 1_700 < longest {
                view.seen.nomad = Observed::default();
                view.seen.nomad.take(view.now, Err(Unseen::Away("the answer is larger than 32 MiB".into())));
            }
        }),
    },
    WrongDriver {
        name: "asks-one-namespace",
        mistake: "It reads only its own namespace of Consul, and takes services that it does not see for gone.",
        faults: &[Fault::ConsulNamespaces, Fault::LeftoverRegistration],
        kind: Sees(|view| {
            let known = view.seen.history.known.iter();
            let namespaced = known.filter(|k| k.group.services.iter().any(|s| s.namespace.is_some())).map(|k| k.id);
            let namespaced: Vec<_> = namespaced.collect();
            view.seen.consul.edit(|all| {
                let shown = all.services.iter().filter(|one| !namespaced.contains(&one.allocation)).cloned().collect();
                all.services = shown;
            });
            view.hide_unlisted_services();
        }),
    },
    WrongDriver {
        name: "whole-is-everything",
        mistake: "It takes an unfiltered answer of Consul for complete, although it never listed running services.",
        faults: &[Fault::ConsulElsewhere],
        kind: Sees(|view| view.hide_unlisted_services()),
    },
    WrongDriver {
        name: "forgets-by-hand",
        mistake: "It does not wait for a service that was registered by hand, although the policy says so.",
        faults: &[Fault::ByHand],
        kind: Sees(|view| view.policy.by_hand = ByHand::Name),
    },
    WrongDriver {
        name: "blind-to-hands",
        mistake: "It does not see a service that was registered by hand, and does not report it.",
        faults: &[Fault::ByHand],
        kind: Sees(|view| view.seen.consul.edit(|all| all.by_hand = [].into())),
    },
    WrongDriver {
        name: "missing-is-no-node",
        mistake: "It takes an instance whose node does not report the instance id for one without a node, and releases it.",
        faults: &[Fault::FingerprintMissing],
        kind: Sees(|view| view.policy.without_nomad = vec!["*".into()]),
    },
    WrongDriver {
        name: "trusts-drain-complete",
        mistake: "It takes Nomad's \"drain complete\" for the end of everything on the node.",
        faults: &[],
        kind: Sees(|view| {
            let complete = view.last_drain_is(DrainStatus::Complete);
            view.make_over(|_| complete);
        }),
    },
    WrongDriver {
        name: "trusts-a-cancelled-drain",
        mistake: "It takes a drain that is no longer in progress for complete, even if an operator cancelled it.",
        faults: &[Fault::DrainCancelled],
        kind: Sees(|view| {
            let cancelled = view.last_drain_is(DrainStatus::Canceled);
            view.make_over(|_| cancelled);
        }),
    },
    WrongDriver {
        name: "trusts-desired-stop",
        mistake: "It takes an allocation that has to stop for stopped.",
        faults: &[],
        kind: Sees(|view| view.make_over(|a| !a.wanted)),
    },
    WrongDriver {
        name: "trusts-pending",
        mistake: "It takes `pending` with desired `stop` for over, though it serves in its shutdown delay.",
        faults: &[],
        kind: Sees(|view| view.make_over(|a| !a.wanted && a.client == ClientStatus::Pending)),
    },
    WrongDriver {
        name: "trusts-lost",
        mistake: "It takes `lost` for stopped.",
        faults: &[Fault::AgentDead, Fault::AgentAway],
        kind: Sees(|view| view.make_over(|a| a.client == ClientStatus::Lost)),
    },
    WrongDriver {
        name: "trusts-unknown",
        mistake: "It takes `unknown` and `lost` on a silent node for stopped.",
        faults: &[Fault::AgentDead, Fault::AgentAway],
        kind: Sees(|view| view.make_over(|a| matches!(a.client, ClientStatus::Unknown | ClientStatus::Lost))),
    },
    WrongDriver {
        name: "dead-agent-is-empty",
        mistake: "It takes a node that is down for an empty one.",
        faults: &[Fault::AgentDead],
        kind: Sees(|view| {
            view.seen.history.agents_dead_since = None;
            view.nodes(|node| {
                if node.status.is_lost() {
                    node.allocations = [].into();
                }
            });
        }),
    },
    WrongDriver {
        name: "dead-agent-at-once",
        mistake: "It gives a dead agent no time to come back.",
        faults: &[Fault::AgentAway],
        kind: Does(|context, decision| {
            let dead = context.seen.history.agents_dead_since.is_some() && context.seen.history.completed.is_none();
            match decision.action {
                Action::Wait { .. } if dead => context.complete(Outcome::AgentDead).unwrap_or(decision),
                _ => decision,
            }
        }),
    },
    WrongDriver {
        name: "believes-a-purged-list",
        mistake: "It takes allocations that vanished from the list with their purged job for over.",
        faults: &[Fault::JobPurged],
        kind: Sees(|view| {
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
    WrongDriver {
        name: "silence-of-nomad-is-empty",
        mistake: "It takes a Nomad that does not answer for one without this node.",
        faults: &[Fault::NomadThrottled, Fault::LeaderLost],
        kind: Sees(|view| view.make_unseen_nomad_look_empty(|_| true)),
    },
    WrongDriver {
        name: "nomad-403-is-empty",
        mistake: "It takes a 403 from Nomad for an empty list.",
        faults: &[Fault::NomadDenied],
        kind: Sees(|view| view.make_unseen_nomad_look_empty(|why| matches!(why, Unseen::Denied(_)))),
    },
    WrongDriver {
        name: "empty-without-sight",
        mistake: "It believes an empty answer of Nomad without proof that its token could have seen more.",
        faults: &[Fault::BlindToken],
        kind: Sees(|view| {
            if view.seen.nomad_token.now().is_some() {
                view.seen.nomad_token = Observed::seen(view.now, TokenAccess::Full);
            }
        }),
    },
    WrongDriver {
        name: "skips-discovery",
        mistake: "It does not check whether the registrations are gone.",
        faults: &[Fault::LeftoverRegistration],
        kind: Sees(|view| view.policy.consul = false),
    },
    WrongDriver {
        name: "stops-watching-consul",
        mistake: "It confirms discovery before a drain, and does not look again while services stop.",
        faults: &[Fault::ConsulVanishes],
        kind: Sees(|view| {
            view.seen.history.unseen_stops = None;
            let stops = view.seen.stops_in_consul().next().is_some();
            if let Some(last) = view.seen.consul.last().filter(|_| stops).cloned() {
                view.seen.consul = Observed::seen(view.now, last);
            }
        }),
    },
    WrongDriver {
        name: "never-looks-less-often",
        mistake: "It asks a Consul that denies access every three seconds, for as long as anything stops.",
        faults: &[Fault::StuckStop, Fault::ClaimsHours, Fault::DeniedForGood],
        kind: Sees(|view| {
            let blind = view.seen.consul.blind().map(|blind| (blind.tried, blind.why.clone()));
            let Some((tried, why)) = blind.filter(|_| view.seen.stops_in_consul().next().is_some()) else { return };
            let (last, since) = (view.seen.consul.last().cloned(), tried - Duration::from_secs(50));
            view.seen.consul = match (last, view.seen.consul.at()) {
                (Some(last), Some(at)) => Observed::seen(at.min(since), last),
                _ => Observed::default(),
            };
            view.seen.consul.take(since, Err(why.clone()));
            view.seen.consul.take(tried, Err(why));
        }),
    },
    WrongDriver {
        name: "forgets-an-outage-with-the-stop",
        mistake: "It ignores an outage of Consul that hides a stop and outlasts it.",
        faults: &[Fault::ConsulVanishes],
        kind: Sees(|view| {
            if view.seen.stops_in_consul().next().is_none() {
                view.seen.history.unseen_stops = None;
                view.seen.history.notes_sent.retain(|note| note.what != Beginning::Unseen);
                for known in &mut view.seen.history.known {
                    known.told = known.told.filter(|_| !known.over);
                }
            }
        }),
    },
    WrongDriver {
        name: "silence-of-consul-is-empty",
        mistake: "It takes a Consul that does not answer for one without registrations.",
        faults: &[Fault::ConsulAway],
        kind: Sees(|view| {
            if view.seen.consul.blind().is_some() {
                view.seen.consul = Observed::seen(
                    view.now,
                    Registrations { whole: true, agent_dead: false, services: [].into(), by_hand: [].into() },
                );
            }
        }),
    },
    WrongDriver {
        name: "leftovers-do-not-matter",
        mistake: "It does not wait for registrations that are left over.",
        faults: &[Fault::LeftoverRegistration, Fault::StaleCatalog],
        kind: Sees(|view| view.policy.leftover_wait = Duration::ZERO),
    },
    WrongDriver {
        name: "drained-is-departed",
        mistake: "It completes as soon as it has sent the drain.",
        faults: &[],
        kind: Does(|context, decision| {
            let drained = !context.seen.history.drains.is_empty() && context.seen.history.completed.is_none();
            match &decision.action {
                Action::Do(effects) if effects.iter().any(|e| e.kind() == EffectKind::Complete) => decision,
                _ if drained => context.complete(Outcome::Departed { waiting_for: None }).unwrap_or(decision),
                _ => decision,
            }
        }),
    },
];

impl AlteredView<'_> {
    /// Makes running allocations that Consul does not list look unremarkable.
    fn hide_unlisted_services(&mut self) {
        // Record them as listed by Consul. Otherwise the rules would read Consul repeatedly for a registration that no look has shown.
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

    /// Makes such allocations look over.
    fn make_over(&mut self, such: impl Fn(&Allocation) -> bool) {
        self.allocations(|allocation| {
            if such(allocation) {
                allocation.client = ClientStatus::Complete;
            }
        });
    }

    /// Whether decamp's last drain has this status.
    fn last_drain_is(&self, status: DrainStatus) -> bool {
        let nodes = self.seen.nomad.last().map_or(&[][..], |nomad| &nomad.nodes);
        nodes.iter().filter_map(|node| node.last_drain.as_ref()).any(|last| last.status == status && last.meta.is_some())
    }

    /// Makes a Nomad that could not be seen for such a reason look like one without this node.
    fn make_unseen_nomad_look_empty(&mut self, for_reason: impl Fn(&Unseen) -> bool) {
        if self.seen.nomad.blind().is_some_and(|blind| for_reason(&blind.why)) {
            let nothing = Nomad { nodes: Vec::new(), set_aside: Vec::new() };
            self.seen.nomad = Observed::seen(self.now, nothing);
            self.seen.nomad_token = Observed::seen(self.now, TokenAccess::Full);
            self.seen.history.known.clear();
            self.seen.history.no_node_since = Some(self.seen.history.began - self.policy.no_node_wait);
        }
    }
}
