//! Interventions: what operators, machines and faults do to the world, each at its time.

use std::net::IpAddr;
use std::sync::Arc;

use super::SimWorld;
use crate::event::AllocationNumber;
use crate::nomad;
use decamp_core::decide::System;
use decamp_core::ids::InstanceId;

/// Something that an operator, a machine or a fault does to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intervention {
    /// The machine dies.
    MachineDies,
    /// The hook of this name is deleted.
    DeleteHook(Arc<str>),
    /// The instance is detached.
    Detach,
    /// Another party completes the lifecycle action of this hook.
    Complete(Arc<str>),
    /// A target group is deleted.
    DeleteGroup(usize),
    /// Sets whether a target group denies reads, and whether it denies writes.
    Deny(usize, bool, bool),
    /// The instance is registered in a group again.
    Register(usize),
    /// Another instance in the same zone becomes a target of a group.
    JoinInZone(usize, InstanceId),
    /// The owner of the target at this address deregisters it.
    TakeOut(usize, IpAddr),
    /// A group's deregistration delay is raised.
    RaiseDelay(usize, std::time::Duration),
    /// Nomad has no leader for this long.
    LoseLeader(std::time::Duration),
    /// A Nomad follower begins to lag, or catches up.
    Lag(bool),
    /// Nomad's index goes back, as after a restored snapshot.
    RestoreIndex,
    /// An operator cancels the drain, if there is one.
    CancelDrain,
    /// An operator drains the node: the deadline in nanoseconds, and whether system jobs stay.
    Drain(i64, bool),
    /// Another node is drained: the departure of another instance.
    DrainAnother,
    /// The node's row in Nomad is purged.
    PurgeNode,
    /// The node's Nomad agent dies.
    KillAgent,
    /// The node's Nomad agent comes back.
    ReviveAgent,
    /// The job of an allocation on the node is purged.
    PurgeJob,
    /// The job of an allocation on the node is stopped.
    StopJob,
    /// An allocation of this group starts on the node.
    LandOn(nomad::GroupNumber),
    /// The node's Consul agent dies.
    KillConsulAgent,
    /// The service that was registered by hand on the node's agent is deregistered.
    TakeOutByHand,
    /// Reads of Consul's catalog freeze, or thaw.
    FreezeCatalog(bool),
    /// The ingress loses Consul, or has it again.
    IngressLosesConsul(bool),
    /// The group gets the tag that holds it, or loses it.
    Hold(bool),
    /// An operator lets the node's local data go.
    LetLocalDataGo,
    /// decamp's Nomad token gets full read access.
    FullToken,
}

impl SimWorld {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are Nomad's")]
    pub(super) fn intervene(&mut self, intervention: Intervention) {
        // Another outage of Consul may last longer.
        if intervention == Intervention::IngressLosesConsul(false) && self.api_faults.is_away(System::Consul, self.now) {
            return;
        }
        // Without a node, an intervention on the node has no effect.
        let of_the_node = matches!(
            intervention,
            Intervention::KillAgent
                | Intervention::PurgeNode
                | Intervention::PurgeJob
                | Intervention::StopJob
                | Intervention::Drain(..)
        );
        if self.subject.node.is_some() || !of_the_node {
            self.oracle.intervention(self.now, &intervention);
        }
        let (instance, asg) = (self.subject.instance, Arc::clone(&self.subject.asg));
        match intervention {
            Intervention::MachineDies => self.auto_scaling.machine_dies(instance, &mut self.balancers),
            Intervention::DeleteHook(hook) => self.auto_scaling.delete_hook(&asg, &hook),
            Intervention::Detach => self.auto_scaling.detach(instance, &mut self.balancers),
            Intervention::Complete(hook) => {
                let result = decamp_core::decide::LifecycleResult::Continue;
                // If the action has not begun, or is over already, nothing happens.
                drop(self.auto_scaling.complete(&asg, &hook, None, Some(instance), result));
            }
            Intervention::DeleteGroup(front) => self.balancers.delete_group(&self.subject.fronts[front]),
            Intervention::Deny(front, reads, writes) => self.balancers.set_denied(&self.subject.fronts[front], reads, writes),
            Intervention::Register(front) => {
                let zone = self.auto_scaling.instance(instance).map(|instance| Arc::clone(&instance.zone));
                // Only the first front may list the address of a part of the instance, which is its last address.
                let mut addresses = self.subject.addresses.iter().copied();
                let address = if front == 0 { addresses.next_back() } else { addresses.next() };
                let address = address.expect("an instance has an address");
                self.balancers.register_by_hand(&self.subject.fronts[front], instance, address, zone);
            }
            Intervention::JoinInZone(front, another) => {
                let zone = self.auto_scaling.instance(instance).map(|instance| Arc::clone(&instance.zone));
                self.balancers.register_instance(&self.subject.fronts[front], another, zone);
            }
            Intervention::TakeOut(front, address) => self.balancers.deregister_address(&self.subject.fronts[front], address),
            Intervention::RaiseDelay(front, delay) => self.balancers.set_delay(&self.subject.fronts[front], delay),
            Intervention::Hold(held) => self.auto_scaling.change_group(&asg, |group| {
                group.tags.retain(|(key, _)| **key != *"decamp:hold");
                if held {
                    group.tags.push(("decamp:hold".into(), "".into()));
                }
            }),
            Intervention::KillConsulAgent => self.consul.kill_agent(self.subject.consul_node),
            Intervention::TakeOutByHand => {
                self.consul.deregister(self.subject.consul_node, AllocationNumber::BY_HAND, 1, &mut self.log);
            }
            Intervention::FreezeCatalog(frozen) => {
                if frozen {
                    self.consul.lag();
                } else {
                    self.consul.catch_up();
                }
            }
            Intervention::IngressLosesConsul(away) => self.traffic.ingress.block(self.now, away),
            Intervention::FullToken => self.subject.nomad_token = nomad::Token::Management,
            in_nomad => self.intervene_in_nomad(&in_nomad),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others were applied already, or find nothing to do")]
    fn intervene_in_nomad(&mut self, intervention: &Intervention) {
        let operator = nomad::Token::Management;
        if let Intervention::LoseLeader(span) = intervention {
            return self.nomad.lose_leader(*span);
        }
        let Some(number) = self.subject.node else { return };
        let id = self.nomad.node(number).spec.id;
        match intervention {
            Intervention::Lag(true) => self.nomad.lag(),
            Intervention::Lag(false) => self.nomad.catch_up(),
            Intervention::RestoreIndex => self.nomad.restore_index(1000),
            Intervention::CancelDrain if self.nomad.node(number).drain.is_some() => {
                drop(self.nomad.cancel_drain(&operator, id, false));
            }
            Intervention::Drain(deadline_ns, ignore_system_jobs) => {
                let spec = nomad::DrainSpec { deadline_ns: *deadline_ns, ignore_system_jobs: *ignore_system_jobs };
                drop(self.nomad.set_drain(&operator, id, spec, nomad::Note::None));
            }
            Intervention::DrainAnother => {
                let instance = self.subject.instance;
                let is_other = |node: &nomad::NodeState| node.spec.instance != Some(instance) && node.spec.id != id;
                let others = self.nomad.nodes().filter(|(_, node)| is_other(node)).map(|(_, node)| node.spec.id);
                let others: Vec<_> = others.collect();
                // One other node stays, so that the stopped allocations can be placed again.
                if let [another, _, ..] = others.as_slice() {
                    let spec = nomad::DrainSpec { deadline_ns: 1_800_000_000_000, ignore_system_jobs: false };
                    drop(self.nomad.set_drain(&operator, *another, spec, nomad::Note::None));
                }
            }
            Intervention::PurgeNode => drop(self.nomad.purge_node(&operator, id)),
            Intervention::LetLocalDataGo => self.nomad.let_local_data_go(number),
            Intervention::KillAgent => self.nomad.kill_agent(number),
            Intervention::ReviveAgent => self.nomad.revive_agent(number),
            Intervention::PurgeJob | Intervention::StopJob => {
                let allocation = self.nomad.node(number).allocations.first().map(|n| self.nomad.allocation(*n).group);
                if let Some(group) = allocation {
                    let group = Arc::clone(&self.nomad.groups()[group.index()].spec.group);
                    let purge = *intervention == Intervention::PurgeJob;
                    drop(self.nomad.stop_job(&operator, &group.namespace, &group.job, purge));
                }
            }
            Intervention::LandOn(group) => {
                let landed = self.nomad.start_on(*group, number);
                self.add_process(landed, false);
            }
            _ => {}
        }
    }
}
