//! The calm world in motion: it takes what is decided as a faultless world would, so that a row can begin anywhere in a departure.

use std::net::IpAddr;
use std::sync::Arc;

use decamp_core::decide::{
    Action, Allocation, Budget, ClientStatus, Decision, Departure, Drain, DrainStatus, Effect, EffectKind, Elsewhere, Finding,
    Group, GroupToRead, JobKind, LastDrain, Lifecycle, LifecycleAction, Node, Nomad, NomadSight, Observation, Part, Policy,
    Refusal, Registrations, Snapshot, Target, TargetGroup, TargetHealth, Unseen, decide, foreseen_losses,
};
use decamp_core::ids::{AllocationId, TargetGroupArn};
use decamp_core::time::Time;

use crate::decisions::{effects, writes};
use crate::facts::{self, ENTRY, secs};

/// What is so, what was seen of it, and when it is now.
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
    pub(crate) sight: NomadSight,
    pub(crate) consul: Registrations,
    pub(crate) native: Registrations,
    /// Addresses that other nodes, or what runs on them, have.
    pub(crate) elsewhere: Vec<IpAddr>,
    /// Whether Consul answers nobody, and refuses nobody either.
    pub(crate) consul_hangs: bool,
}

/// A calm world, two seconds after the instance entered its hook. Nothing was seen of it yet.
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
        sight: NomadSight::Full,
        consul: facts::consul(),
        native: Registrations { whole: true, agent_dead: false, services: Vec::new().into(), by_hand: [].into() },
        elsewhere: Vec::new(),
        consul_hangs: false,
    }
}

/// The calm world, all of it seen; new work is kept off, and nothing else was written.
pub(crate) fn calm_and_seen() -> Scene {
    let mut scene = calm();
    scene.until_it_writes(EffectKind::Deregister);
    scene
}

/// Out of its target groups and ineligible; the delays run, nothing is drained.
pub(crate) fn deregistered(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = calm();
    change(&mut scene);
    let decision = scene.until_it_writes(EffectKind::Deregister);
    scene.obey(&decision);
    scene
}

/// The delays are over, its targets are gone; nothing was drained beside them.
pub(crate) fn released(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = deregistered(|scene| {
        scene.policy.overlap = false;
        change(scene);
    });
    scene.pass(31);
    scene.targets_leave();
    scene
}

/// A drain of all was sent, and everything is told to stop.
pub(crate) fn draining(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = released(change);
    let decision = scene.until_it_writes(EffectKind::Drain);
    scene.obey(&decision);
    scene.next();
    scene
}

/// Everything is over and unregistered; nothing of that was seen yet.
pub(crate) fn over(change: impl FnOnce(&mut Scene)) -> Scene {
    let mut scene = draining(change);
    scene.pass(20);
    scene.everything_stops();
    scene
}

impl Scene {
    /// Takes the notes out of a decision, and writes them down. Whether it was nothing but notes: rows are about what is waited for.
    fn notes(&mut self, decision: &mut Decision) -> bool {
        let Action::Do(effects) = &mut decision.action else { return false };
        let notes: Vec<Effect> = effects.extract_if(.., |effect| matches!(effect, Effect::Note { .. })).collect();
        for note in &notes {
            self.take_effect(note);
            self.seen.did(self.now, self.now, note, &Ok(()));
        }
        !notes.is_empty() && effects.is_empty()
    }

    /// The next decision that is no look; the looks before it show what is so.
    pub(crate) fn next(&mut self) -> Decision {
        for _ in 0..20 {
            let mut decision = self.decide();
            if self.notes(&mut decision) {
                continue;
            }
            let Action::Look(parts) = &decision.action else { return decision };
            for part in parts.clone() {
                self.look(&part);
            }
        }
        panic!("it looks for ever: {:?}", self.decide());
    }

    /// The next decision that is no look, where every answer takes so long. Fewer than ten rounds of looks must do.
    pub(crate) fn next_slowly(&mut self, seconds: u64) -> Decision {
        for _ in 0..10 {
            let decision = self.decide();
            let Action::Look(parts) = &decision.action else { return decision };
            let asked = self.now;
            for part in parts.clone() {
                self.look(&part);
            }
            self.pass(seconds);
            self.seen.history.looked(asked, self.now);
        }
        panic!("it looks for ever: {:?}", self.decide());
    }

    /// The decision that writes something of this kind; all writes before it are taken.
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

    /// The next decision that is neither look nor a heartbeat alone.
    pub(crate) fn until_no_heartbeat(&mut self) -> Decision {
        let decision = self.next();
        if !matches!(effects(&decision), [Effect::Heartbeat(_)]) {
            return decision;
        }
        self.obey(&decision);
        self.next()
    }

    /// What is decided of what was seen.
    pub(crate) fn decide(&self) -> Decision {
        decide(&self.departure, &self.seen, &self.policy, self.now)
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget::of(&self.departure, &self.seen, &self.policy)
    }

    pub(crate) fn foreseen(&self) -> Vec<Finding> {
        foreseen_losses(&self.departure, &self.seen, &self.policy)
    }

    /// Time passes; nobody looks, but for the watch of Consul while something stops.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let (end, was_seen) = (self.now + secs(seconds), self.seen.consul.now().is_some() && !self.consul_hangs);
        while was_seen && self.seen.stops_in_consul().next().is_some() && self.now + secs(3) < end {
            self.now = self.now + secs(3);
            self.look(&Part::Consul);
        }
        self.now = end;
    }

    /// A look at one part shows what is so.
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
            Part::NomadSight => self.seen.take(self.now, Observation::NomadSight(Ok(self.sight.clone()))),
            Part::Consul => self.seen.take(self.now, Observation::Consul(Ok(self.consul.clone()))),
            Part::NomadServices => self.seen.take(self.now, Observation::NomadServices(Ok(self.native.clone()))),
            Part::Addresses(asked) => {
                let held = asked.iter().copied().filter(|address| self.elsewhere.contains(address)).collect();
                let asked = asked.clone();
                self.seen.take(self.now, Observation::Addresses(Ok(Elsewhere { asked, held })));
            }
        }
    }

    /// A look at Nomad, as a watch does when something changed.
    pub(crate) fn news_from_nomad(&mut self) {
        self.look(&Part::Nomad);
    }

    /// A look at one part that showed nothing.
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
            Part::NomadSight => self.seen.take(self.now, Observation::NomadSight(Err(why()))),
            Part::Consul => self.seen.take(self.now, Observation::Consul(Err(why()))),
            Part::NomadServices => self.seen.take(self.now, Observation::NomadServices(Err(why()))),
            Part::Addresses(_) => self.seen.take(self.now, Observation::Addresses(Err(why()))),
        }
    }

    /// The world takes what was decided, and says so.
    pub(crate) fn obey(&mut self, decision: &Decision) {
        for effect in effects(decision) {
            self.take_effect(effect);
            self.seen.did(self.now, self.now, effect, &Ok(()));
        }
    }

    /// The world refuses what was decided, or says that it did.
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
                node.last_drain = Some(LastDrain { status: DrainStatus::Draining, updated: None, meta: Some(meta.clone()) });
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

    /// Changes what all allocations of one are instances of.
    pub(crate) fn task_group(&mut self, id: AllocationId, change: impl Fn(&mut decamp_core::decide::TaskGroup)) {
        self.allocation(id, |a| change(Arc::make_mut(&mut a.group)));
    }

    pub(crate) fn add_allocation(&mut self, allocation: Allocation) {
        let mut all = self.nomad.nodes[0].allocations.to_vec();
        all.push(allocation);
        self.nomad.nodes[0].allocations = all.into();
    }

    /// Removes one from the list, as a purge of its job does.
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

    /// What is draining leaves its groups.
    pub(crate) fn targets_leave(&mut self) {
        for front in &mut self.fronts {
            let left = front.targets.iter().flat_map(|t| t.iter()).filter(|t| t.health != TargetHealth::Draining);
            front.targets = Some(left.cloned().collect::<Vec<_>>().into());
        }
    }

    /// What was told to stop is over.
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

    /// What was told to stop is over and unregistered, and Nomad says that the drain is complete.
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
