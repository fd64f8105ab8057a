//! The calm world in motion: it carries out decisions as a faultless world would, so that a row can begin anywhere in a departure.

use std::net::IpAddr;
use std::sync::Arc;

use decamp_core::decide::{
    Action, Allocation, Budget, ClientStatus, Decision, Departure, Drain, DrainStatus, Effect, EffectKind, Elsewhere, Finding,
    Group, GroupToRead, JobKind, LastDrain, Lifecycle, LifecycleAction, Node, Nomad, Observation, Part, Policy, Refusal,
    Registrations, Snapshot, Target, TargetGroup, TargetHealth, TokenAccess, Unseen, decide, foreseen_losses,
};
use decamp_core::ids::{AllocationId, TargetGroupArn};
use decamp_core::time::Time;

use crate::decisions::{effects, writes};
use crate::facts::{self, ENTRY, secs};

/// The state of the world, the snapshot of it, and the current time.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) now: Time,
    pub(crate) departure: Departure,
    pub(crate) policy: Policy,
    pub(crate) seen: Snapshot,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) group: Group,
    pub(crate) fronts: Vec<TargetGroup>,
    pub(crate) nomad: Nomad,
    pub(crate) sight: TokenAccess,
    pub(crate) consul: Registrations,
    pub(crate) native: Registrations,
    /// Addresses of other nodes and their allocations.
    pub(crate) elsewhere: Vec<IpAddr>,
    /// Whether Consul hangs: it neither answers nor refuses.
    pub(crate) consul_hangs: bool,
}

/// A calm world, two seconds after the instance entered its hook. Nothing has been seen yet.
pub(crate) fn calm() -> Scene {
    let (now, departure) = (ENTRY + secs(2), facts::departure());
    Scene {
        now,
        seen: Snapshot::begin(departure.instance, now),
        departure,
        policy: Policy::default(),
        lifecycle: Lifecycle::Waiting,
        group: facts::group(),
        fronts: vec![facts::target_group(facts::attached(), true), facts::target_group(facts::named(), false)],
        nomad: facts::nomad(),
        sight: TokenAccess::Full,
        consul: facts::consul(),
        native: Registrations { whole: true, agent_dead: false, services: Vec::new().into(), by_hand: [].into() },
        elsewhere: Vec::new(),
        consul_hangs: false,
    }
}

/// The calm world after every system was read. The only write so far made the node ineligible.
pub(crate) fn calm_and_seen() -> Scene {
    let mut scene = calm();
    scene.until_it_writes(EffectKind::Deregister);
    scene
}

/// Deregistered and ineligible. The delays run, and nothing is drained.
pub(crate) fn deregistered(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = calm();
    change(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    scene
}

/// The delays are over and the targets are gone. Nothing was drained beside the delay.
pub(crate) fn released(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        change(scene);
    });
    scene.pass(31);
    scene.targets_leave();
    scene
}

/// A drain of everything was sent, and every allocation was told to stop.
pub(crate) fn draining(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = released(change);
    let decision = scene.until_it_writes(EffectKind::Drain);
    scene.obey(&decision);
    scene.next();
    scene
}

/// Everything is over and unregistered, but none of that has been seen yet.
pub(crate) fn over(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = draining(change);
    scene.pass(20);
    scene.everything_stops();
    scene
}

impl Scene {
    /// Takes the notes out of a decision and writes them. Returns whether there was nothing but notes, because rows are about waits.
    fn notes(&mut self, decision: &mut Decision) -> bool {
        let Action::Do(effects) = &mut decision.action else { return false };
        let notes: Vec<Effect> = effects.extract_if(.., |effect| matches!(effect, Effect::Note { .. })).collect();
        for note in &notes {
            self.take_effect(note);
            self.seen.did(self.now, self.now, note, &Ok(()));
        }
        !notes.is_empty() && effects.is_empty()
    }

    /// The next decision that is no look. The looks before it show the state of the world.
    pub(crate) fn next(&mut self) -> Decision {
        for _ in 0..20 {
            let mut decision = self.decide();
            if self.notes(&mut decision) {
                continue;
            }
            let Action::Look(parts) = &decision.action else { return decision };
            parts.iter().for_each(|part| self.look(part));
        }
        panic!("it looks for ever: {:?}", self.decide());
    }

    /// The decision that makes a write of this kind. All writes before it are carried out.
    #[track_caller]
    pub(crate) fn until_it_writes(&mut self, kind: EffectKind) -> Decision {
        loop {
            let decision = self.next();
            if writes(&decision, kind) {
                return decision;
            }
            assert!(!effects(&decision).is_empty(), "it writes a {kind:?} some time, and does not wait: {decision:?}");
            self.obey(&decision);
        }
    }

    /// The next decision that is neither a look nor only a heartbeat.
    pub(crate) fn until_no_heartbeat(&mut self) -> Decision {
        let decision = self.next();
        if !matches!(effects(&decision), [Effect::Heartbeat(_)]) {
            return decision;
        }
        self.obey(&decision);
        self.next()
    }

    /// The decision by the current snapshot.
    pub(crate) fn decide(&self) -> Decision {
        decide(&self.departure, &self.seen, &self.policy, self.now)
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget::of(&self.departure, &self.seen, &self.policy)
    }

    pub(crate) fn foreseen(&self) -> Vec<Finding> {
        foreseen_losses(&self.departure, &self.seen, &self.policy)
    }

    /// Time passes without a look, except for the watch of Consul while something stops.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let (end, was_seen) = (self.now + secs(seconds), self.seen.consul.now().is_some() && !self.consul_hangs);
        while was_seen && self.seen.stops_in_consul().next().is_some() && self.now + secs(3) < end {
            self.now = self.now + secs(3);
            self.look(&Part::Consul);
        }
        self.now = end;
    }

    /// A look at one part, which shows the state of the world.
    pub(crate) fn look(&mut self, part: &Part) {
        match part {
            Part::Lifecycle => self.seen.take(self.now, Observation::Lifecycle(Ok(self.lifecycle.clone()))),
            Part::Group { .. } => self.seen.take(self.now, Observation::Group(Ok(self.group.clone()))),
            Part::TargetGroups { groups, .. } => {
                for GroupToRead { arn, attached } in groups {
                    let mut front = self.fronts.iter().find(|front| front.arn == *arn).expect("the group is there").clone();
                    front.attached = *attached;
                    self.seen.take(self.now, Observation::TargetGroup(arn.clone(), Ok(front)));
                }
            }
            Part::Scan => {
                let all = self.fronts.iter().map(|front| front.arn.clone()).collect();
                self.seen.take(self.now, Observation::Scan(Ok(all)));
            }
            Part::Nomad => self.seen.take(self.now, Observation::Nomad(Ok(self.nomad.clone()))),
            Part::NomadToken => self.seen.take(self.now, Observation::NomadToken(Ok(self.sight.clone()))),
            Part::Consul => self.seen.take(self.now, Observation::Consul(Ok(self.consul.clone()))),
            Part::NomadServices => self.seen.take(self.now, Observation::NomadServices(Ok(self.native.clone()))),
            Part::Addresses(asked) => {
                let held = asked.iter().copied().filter(|address| self.elsewhere.contains(address)).collect();
                let asked = asked.clone();
                self.seen.take(self.now, Observation::Addresses(Ok(Elsewhere { asked, held })));
            }
        }
    }

    /// News from the watch of Nomad.
    pub(crate) fn news_from_nomad(&mut self) {
        self.look(&Part::Nomad);
    }

    /// A failed look at one part.
    pub(crate) fn look_in_vain(&mut self, part: &Part) {
        let why = || Unseen::Away("timeout".into());
        match part {
            Part::Lifecycle => self.seen.take(self.now, Observation::Lifecycle(Err(why()))),
            Part::Group { .. } => self.seen.take(self.now, Observation::Group(Err(why()))),
            Part::TargetGroups { groups, .. } => {
                for group in groups {
                    self.seen.take(self.now, Observation::TargetGroup(group.arn.clone(), Err(why())));
                }
            }
            Part::Scan => self.seen.take(self.now, Observation::Scan(Err(why()))),
            Part::Nomad => self.seen.take(self.now, Observation::Nomad(Err(why()))),
            Part::NomadToken => self.seen.take(self.now, Observation::NomadToken(Err(why()))),
            Part::Consul => self.seen.take(self.now, Observation::Consul(Err(why()))),
            Part::NomadServices => self.seen.take(self.now, Observation::NomadServices(Err(why()))),
            Part::Addresses(_) => self.seen.take(self.now, Observation::Addresses(Err(why()))),
        }
    }

    /// Carries out a decision, and accepts it.
    pub(crate) fn obey(&mut self, decision: &Decision) {
        for effect in effects(decision) {
            self.take_effect(effect);
            self.seen.did(self.now, self.now, effect, &Ok(()));
        }
    }

    /// Refuses a decision's writes, or answers as if it had.
    pub(crate) fn refuse(&mut self, decision: &Decision, refusal: &Refusal) {
        for effect in effects(decision) {
            self.seen.did(self.now, self.now, effect, &Err(refusal.clone()));
        }
    }

    fn take_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Heartbeat(_) => {}
            Effect::MakeIneligible(node) => self.node_of(*node).eligible = false,
            Effect::Deregister { group, targets } => {
                let gone = |t: &Target| targets.iter().any(|other| (&other.id, other.port) == (&t.id, t.port));
                self.targets(group, |t| {
                    if gone(t) {
                        t.health = TargetHealth::Draining;
                    }
                });
            }
            Effect::Drain { node, deadline, ignore_system_jobs, meta } => {
                let (until, ignore) = (self.now + deadline.span(), *ignore_system_jobs);
                let node = self.node_of(*node);
                node.eligible = false;
                node.drain = Some(Drain { force_deadline: Some(until), ignore_system_jobs: ignore });
                node.last_drain =
                    Some(LastDrain { status: DrainStatus::Draining, started: None, updated: None, meta: Some(meta.clone()) });
                let mut all = node.allocations.to_vec();
                for a in &mut all {
                    let stays = a.group.csi_plugin || matches!(a.group.kind, JobKind::Batch | JobKind::SysBatch);
                    a.wanted &= stays || ignore && a.group.kind == JobKind::System;
                }
                node.allocations = all.into();
            }
            Effect::Note { node, notes } => {
                let kept = &mut self.node_of(*node).notes;
                kept.retain(|old| !notes.iter().any(|new| new.what == old.what));
                kept.extend(notes.iter().cloned());
            }
            Effect::Complete { .. } => self.lifecycle = Lifecycle::Past,
        }
    }

    pub(crate) fn action(&mut self) -> &mut LifecycleAction {
        match &mut self.departure.cause {
            decamp_core::decide::Cause::Lifecycle(action) => action,
            decamp_core::decide::Cause::Interruption { .. } => panic!("it is interrupted, and has no action"),
        }
    }

    pub(crate) fn node(&mut self) -> &mut Node {
        &mut self.nomad.nodes[0]
    }

    fn node_of(&mut self, id: decamp_core::ids::NodeId) -> &mut Node {
        self.nomad.nodes.iter_mut().find(|node| node.id == id).expect("the node is there")
    }

    /// Changes allocations of the node.
    pub(crate) fn allocations(&mut self, mut change: impl FnMut(&mut Allocation)) {
        let mut all = self.nomad.nodes[0].allocations.to_vec();
        all.iter_mut().for_each(&mut change);
        self.nomad.nodes[0].allocations = all.into();
    }

    /// Changes one allocation.
    pub(crate) fn allocation(&mut self, id: AllocationId, change: impl Fn(&mut Allocation)) {
        self.allocations(|a| {
            if a.id == id {
                change(a);
            }
        });
    }

    /// Changes the task group of one job's allocations.
    pub(crate) fn task_group(&mut self, id: AllocationId, change: impl Fn(&mut decamp_core::decide::TaskGroup)) {
        self.allocation(id, |a| change(Arc::make_mut(&mut a.group)));
    }

    pub(crate) fn add_allocation(&mut self, allocation: Allocation) {
        let mut all = self.nomad.nodes[0].allocations.to_vec();
        all.push(allocation);
        self.nomad.nodes[0].allocations = all.into();
    }

    /// Removes an allocation from the list, as a purge of its job does.
    pub(crate) fn purge(&mut self, id: AllocationId) {
        let all: Vec<_> = self.nomad.nodes[0].allocations.iter().filter(|a| a.id != id).cloned().collect();
        self.nomad.nodes[0].allocations = all.into();
    }

    /// Changes the targets of one group.
    pub(crate) fn targets(&mut self, arn: &TargetGroupArn, change: impl FnMut(&mut Target)) {
        let front = self.front(arn);
        let mut targets = front.targets.as_ref().expect("the group is there").to_vec();
        targets.iter_mut().for_each(change);
        front.targets = Some(targets.into());
    }

    pub(crate) fn add_target(&mut self, arn: &TargetGroupArn, target: Target) {
        let front = self.front(arn);
        let mut targets = front.targets.as_ref().expect("the group is there").to_vec();
        targets.push(target);
        front.targets = Some(targets.into());
    }

    pub(crate) fn front(&mut self, arn: &TargetGroupArn) -> &mut TargetGroup {
        self.fronts.iter_mut().find(|front| front.arn == *arn).expect("the group is there")
    }

    /// Draining targets leave their groups.
    pub(crate) fn targets_leave(&mut self) {
        for front in &mut self.fronts {
            let left = front.targets.iter().flat_map(|t| t.iter()).filter(|t| t.health != TargetHealth::Draining);
            front.targets = Some(left.cloned().collect::<Vec<_>>().into());
        }
    }

    /// Every allocation that was told to stop is over.
    pub(crate) fn stopped_are_over(&mut self) {
        self.allocations(|a| {
            if !a.wanted && a.client != ClientStatus::Lost {
                a.client = ClientStatus::Complete;
            }
        });
    }

    /// Nomad says "complete".
    pub(crate) fn drain_completes(&mut self) {
        self.node().drain = None;
        if let Some(last) = &mut self.node().last_drain {
            last.status = DrainStatus::Complete;
        }
    }

    /// Every allocation that was told to stop is over and unregistered, and Nomad reports the drain complete.
    pub(crate) fn everything_stops(&mut self) {
        self.stopped_are_over();
        self.drain_completes();
        self.unregister_what_is_over();
        self.news_from_nomad();
    }

    pub(crate) fn unregister_what_is_over(&mut self) {
        let over: Vec<AllocationId> =
            self.nomad.nodes[0].allocations.iter().filter(|a| a.client.is_over()).map(|a| a.id).collect();
        let left: Vec<_> = self.consul.services.iter().filter(|r| !over.contains(&r.allocation)).cloned().collect();
        self.consul.services = left.into();
    }
}
