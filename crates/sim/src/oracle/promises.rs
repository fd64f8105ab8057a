//! The promises of a driver: which objects it may change, how early it may give up, and which outcome it may report.

use std::time::Duration;

use super::{IN_ORDER, OUR_HOOK, Oracle, RACE};
use crate::auto_scaling::{AutoScaling, LifecycleState};
use crate::nomad::{AllocationState, Nomad, Note};
use crate::world::Subject;
use decamp_core::decide::{Beginning, DrainMeta, Effect, Launched, LifecycleResult, Outcome, Phase};
use decamp_core::ids::NodeId;
use decamp_core::time::Time;

/// A look without an answer ends after this.
const NO_ANSWER: Duration = Duration::from_secs(5);
/// A worker may not have seen an operator's drain that is younger than this.
const UNSEEN: Duration = Duration::from_secs(10);
/// The least time that decamp waits for a dead agent (ADR 0005).
const AGENT_DEAD_WAIT: Duration = Duration::from_mins(5);
/// An instance that leaves at this age may never have joined (ADR 0007).
const YOUNG: Duration = Duration::from_mins(15);
/// How much later than the entry an activity may have begun, and how wrong a worker's clock may be before a server answers it.
const ENTRY_UNKNOWN: Duration = Duration::from_secs(1000);
/// The longest from a worker's start to its first heartbeat.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(30);
/// The number of steps of a departure, each of which may become due right after a pass has ended: ineligible, deregistered, released,
/// drained, drained of the rest, over, unregistered, completed.
const STEPS: u32 = 8;
/// A departure without obstacles takes at most this long above its floor.
const LATE: Duration = Duration::from_secs(60);

/// The time for looks at Auto Scaling and the target groups, and for the answers of other systems that decamp waits for beside them.
const DEREGISTERS_WITHIN: Duration = Duration::from_secs(3);

/// The bounds of a departure, from its scenario and policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// The longest that the departure may take.
    pub max_departure: Duration,
    /// The shortest limit that any of its workers may have.
    pub shortest: Duration,
    /// The part of the limit that is reserved for the completion.
    pub reserve: Duration,
    /// How much longer a hold may make it.
    pub hold: Duration,
    /// How long before the end of its hook a held instance may leave (ADR 0015).
    pub leaves_hold_before: Duration,
    /// Whether the policy holds local data.
    pub holds_local_data: bool,
    /// Whether decamp may not force anything.
    pub never_force: bool,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// Whether an event had a wrong time of entry into the hook.
    pub entry_is_wrong: bool,
    /// Whether no activity shows when the instance entered its hook.
    pub entry_is_unreported: bool,
    /// Whether a call is denied for good.
    pub denied_for_good: bool,
    /// Whether the settings do not say which of the group's hooks is decamp's.
    pub hooks_not_named: bool,
    /// Whether the group runs no Nomad, by the operator's settings, and the instance is indeed no node.
    pub runs_no_nomad: bool,
    /// Whether no fault hinders the departure.
    pub orderly: bool,
    /// The longest time between two passes in which no worker looks.
    pub longest_gap: Duration,
    /// Whether a later pass cannot know what an earlier one saw in Consul. The empty answer of an old version alone proves nothing (ADR
    /// 0011).
    pub proof_is_lost: bool,
    /// Whether the node stores the notes that a worker writes for the next.
    pub notes_are_kept: bool,
    /// Whether answers of any system get lost now and then.
    pub answers_get_lost: bool,
}

impl Bounds {
    /// The outcome that the rules judge. A group that runs no Nomad departs as an instance without a node does, whatever the name is.
    #[must_use]
    pub fn as_judged<'o>(&self, outcome: &'o Outcome) -> &'o Outcome {
        let is_renamed = matches!(outcome, Outcome::Departed { .. } | Outcome::Unconfirmed { .. });
        if self.runs_no_nomad && is_renamed { &Outcome::NoNode } else { outcome }
    }
}

impl Oracle {
    /// Called when an effect arrives: S3, S4, S5 and S10 as promises of the driver.
    pub(super) fn check_promises(
        &mut self,
        at: Time,
        effect: &Effect,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        subject: &Subject,
    ) {
        // After an operator has deleted one of the two hooks, the other one must be decamp's.
        if self.bounds.hooks_not_named && self.hook_deleted.is_none() && !matches!(effect, Effect::Heartbeat(_)) {
            self.broke(at, "S5", "the settings do not say which hook is decamp's".to_owned());
        }
        match effect {
            // decamp sends a heartbeat because of an event alone, if it could not look yet (ADR 0012).
            Effect::Heartbeat(_) if self.bounds.hooks_not_named => {}
            Effect::Heartbeat(of) => self.check_own_hook(at, &of.hook),
            // The drain on the node shows whose it is, also while Auto Scaling cannot be read. Such a note takes nothing from the instance.
            Effect::Note { node, notes }
                if notes.iter().all(|n| n.what == Beginning::Unseen) && is_drained_by_us(nomad, *node) => {}
            Effect::Note { .. } => self.check_may_touch(at, auto_scaling, subject),
            Effect::MakeIneligible(_) | Effect::Deregister { .. } => {
                self.check_may_touch(at, auto_scaling, subject);
                self.check_may_empty(at, auto_scaling, subject);
            }
            Effect::Drain { node, deadline, meta, .. } => {
                self.check_may_touch(at, auto_scaling, subject);
                self.check_may_empty(at, auto_scaling, subject);
                let foreign = nomad.nodes().any(|(_, state)| {
                    let noted = state.last_drain.as_ref().is_some_and(|last| matches!(last.note, Note::Ours(_)));
                    state.spec.id == *node && state.drain.is_some() && !noted
                });
                let seen = self.operator_drained.is_some_and(|drained| drained + UNSEEN < at);
                // A drain of one second is a force, even if its phase says otherwise.
                if foreign && seen && !self.lagged(at, nomad) && meta.phase != Phase::Forced {
                    self.broke(at, "S4", "it replaced a drain that an operator had begun".to_owned());
                }
                self.check_phase_starts_once(at, *node, meta, nomad);
                let ends = self.knowable_end(auto_scaling, subject.instance);
                let longest = longest_stop(nomad, *node);
                if ends.is_some_and(|ends| ends < at + deadline.span() + longest)
                    && IN_ORDER < deadline.span()
                    && !self.bounds.never_force
                {
                    self.broke(at, "S10", "what stops at the deadline is not over before the hook ends".to_owned());
                }
                if meta.longest_stop < longest && !self.work_stopped_by_operator {
                    self.broke(at, "S10", format!("something may take {} to stop", decamp_core::time::plain(longest)));
                }
            }
            Effect::Complete { of, result, verdict } => {
                self.check_own_hook(at, &of.hook);
                let instance = auto_scaling.instance(subject.instance);
                // A completion has no effect without an open action, or with the token of another action.
                let named = |token| of.token.as_ref().is_none_or(|of| of == token);
                let action = instance.and_then(|i| i.actions.iter().find(|a| a.is_open() && named(&a.token)));
                if action.is_some() && self.is_held(at, auto_scaling, subject) {
                    self.broke(at, "S5", "its group is held, and it lets the instance go".to_owned());
                }
                // A worker without an event counts from the activity, which begins before the hook (ADR 0002).
                let activity = instance.and_then(|i| i.activity.as_ref()).filter(|_| of.token.is_none()).map(|a| a.began);
                if let Some(began) = action.map(|a| activity.map_or(a.began, |began| began.min(a.began))) {
                    self.check_verdict(at, began, *result, verdict, auto_scaling, nomad, subject);
                }
            }
        }
    }

    /// How close together two workers may decide without seeing each other's drain. A round of looks waits for its slowest answer. While
    /// Consul is away, or if an answer gets lost, that is a time-out.
    pub(super) fn race(&self) -> Duration {
        let timed_out = !self.consul_outages_began.is_empty() || self.bounds.answers_get_lost;
        RACE + self.slowness + if timed_out { NO_ANSWER } else { Duration::ZERO }
    }

    /// S4: each phase is started once. A worker that could see a drain in progress does not send it again.
    fn check_phase_starts_once(&mut self, at: Time, node: NodeId, meta: &DrainMeta, nomad: &Nomad) {
        let starts = matches!(meta.phase, Phase::Services | Phase::All);
        let under_way = nomad.nodes().filter(|(_, state)| state.spec.id == node && state.drain.is_some()).any(|(_, state)| {
            let note = state.last_drain.as_ref().map(|last| &last.note);
            matches!(note, Some(Note::Ours(ours)) if ours.phase == meta.phase && ours.action == meta.action)
        });
        let unaware = self.last_drain.is_some_and(|before| at.since(before) < self.race());
        if starts && under_way && !unaware && !self.lagged(at, nomad) {
            self.broke(at, "S4", format!("{:?} is under way, and it is started again", meta.phase));
        }
    }

    fn check_own_hook(&mut self, at: Time, hook: &str) {
        if hook != "decamp" && !(self.bounds.hooks_not_named && self.hook_deleted.is_some()) {
            self.broke(at, "S5", format!("the hook {hook} is not ours"));
        }
    }

    /// decamp may take work from an instance that leaves, and not from one that comes back.
    fn check_may_empty(&mut self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) {
        let state = auto_scaling.instance(subject.instance).map(|instance| instance.state);
        if state == Some(LifecycleState::ReplacingRootVolumeWait) {
            self.broke(at, "S5", "it comes back with another root volume, and nothing could undo it".to_owned());
        }
    }

    fn check_may_touch(&mut self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) {
        if self.is_held(at, auto_scaling, subject) {
            self.broke(at, "S5", "its group is held".to_owned());
        }
        // A look or a heartbeat confirms the departure at least every half of the time-out (fault 12).
        let known = self.bounds.heartbeat_timeout / 2 + FIRST_HEARTBEAT;
        // If the hook was deleted that no setting names, the only other one counts, and its time-out.
        let by_another = self.bounds.hooks_not_named && self.hook_deleted.is_some();
        if !by_another && self.detached.is_some_and(|detached| detached + known < at) {
            self.broke(at, "S5", "it was detached, and leaves no more".to_owned());
        }
    }

    /// Whether the group is held, and the hook leaves enough time for that.
    fn is_held(&self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) -> bool {
        self.held && self.may_be_held(at, auto_scaling, subject)
    }

    pub(super) fn may_be_held(&self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) -> bool {
        at + self.bounds.leaves_hold_before < self.hook_ends(auto_scaling, subject)
    }

    /// When the hook ends, as far as a worker can know. A sweep learns only when the activity began, and Auto Scaling waits for load balancers
    /// between that and the hook's own beginning.
    fn hook_ends(&self, auto_scaling: &AutoScaling, subject: &Subject) -> Time {
        let instance = auto_scaling.instance(subject.instance);
        let actions = instance.into_iter().flat_map(|instance| &instance.actions);
        let ours = actions.filter(|action| *action.hook == *OUR_HOOK).max_by_key(|action| action.ends);
        let known = |began: Time| instance.and_then(|i| i.activity.as_ref()).map_or(began, |activity| activity.began.min(began));
        // An instance that is no longer listed waits in no hook.
        ours.map_or(Time(0), |action| action.ends - action.began.since(known(action.began)) - self.bounds.reserve)
    }

    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    fn check_verdict(
        &mut self,
        at: Time,
        began: Time,
        result: LifecycleResult,
        verdict: &Outcome,
        auto_scaling: &AutoScaling,
        nomad: &Nomad,
        subject: &Subject,
    ) {
        let nothing_left =
            matches!(verdict, Outcome::Departed { .. } | Outcome::Forced | Outcome::Unconfirmed { .. } | Outcome::NoNode);
        if nothing_left && result == LifecycleResult::Abandon {
            self.broke(at, "S3", "it abandoned although nothing was left".to_owned());
        }
        if matches!(verdict, Outcome::Departed { .. }) && self.forced.is_some() {
            self.broke(at, "S3", "it forced, and says departed".to_owned());
        }
        let there = nomad.nodes().any(|(_, node)| node.spec.instance == Some(subject.instance));
        if *verdict == Outcome::NoNode && there && self.purged.is_none() {
            self.broke(at, "S3", "there is a node, and it says no node".to_owned());
        }
        // ADR 0001: an outage never shortens the time that a departure has.
        let earliest = began + self.bounds.max_departure / 2;
        let surely = ENTRY_UNKNOWN.min(self.bounds.max_departure / 4) + self.bounds.heartbeat_timeout;
        if *verdict == Outcome::TimedOut && !self.bounds.entry_is_wrong && at + surely < earliest {
            self.broke(at, "L2", "it gave up although there was time".to_owned());
        }
        // A node without an instance id runs allocations that decamp cannot see, and they need as long to stop as others (ADR 0007). If
        // the instance is young, only a healthy target shows that its node must have joined. A worker that deregistered no target has
        // seen none, because there is no node on which an earlier worker could have noted one.
        let young = matches!(auto_scaling.launched(subject.instance), Launched::At(at) if began < at + YOUNG);
        let unknowable = young && self.last_deregistered().is_none_or(|(_, who)| who != self.actor);
        let lives = |node| nomad.allocations().iter().any(|a| a.node == node && a.is_alive());
        let unseen = self.purged.is_none() && subject.node.is_some_and(lives) && !self.bounds.entry_is_wrong;
        if *verdict == Outcome::NoNode && unseen && !unknowable && at + surely < earliest {
            self.broke(at, "L2", "it says no node, and what runs on it was given no time".to_owned());
        }
        // The time of a hold does not count (ADR 0015).
        let soon = self.unheld.is_some_and(|unheld| at < unheld + self.bounds.shortest / 2);
        if *verdict == Outcome::TimedOut && soon && self.workers <= 1 && self.may_be_held(at, auto_scaling, subject) {
            self.broke(at, "L2", "it gave up when the hold ended".to_owned());
        }
    }

    /// L2: called if decamp gives up a dead agent before the end. It must have waited since the agent's death.
    pub(super) fn check_dead_agent_wait(&mut self, at: Time) {
        let dead = !self.machine_died && self.agent_died.is_some_and(|died| at < died + AGENT_DEAD_WAIT);
        if dead && !self.bounds.entry_is_wrong {
            self.broke(at, "L2", "it gave a dead agent no time to come back".to_owned());
        }
    }

    /// L1: called when a worker reports an outcome. If that claims a completion, the action must be completed, and by this worker.
    /// Without a worker's number the answer to its completion may have been lost.
    pub fn check_outcome(
        &mut self,
        at: Time,
        worker: Option<u64>,
        outcome: &Outcome,
        auto_scaling: &AutoScaling,
        subject: &Subject,
    ) {
        let completes = match outcome {
            Outcome::Departed { .. }
            | Outcome::Forced
            | Outcome::Unconfirmed { .. }
            | Outcome::DataLeft { .. }
            | Outcome::TimedOut
            | Outcome::AgentDead
            | Outcome::NoNode => true,
            Outcome::Retained
            | Outcome::Gone
            | Outcome::Expired
            | Outcome::Overtaken
            | Outcome::AlreadyPast
            | Outcome::NotLeaving
            | Outcome::NotOurs
            | Outcome::Interrupted
            | Outcome::Refused { .. } => false,
        };
        if completes && worker.is_some_and(|worker| self.completed_by.is_some_and(|by| by != worker)) {
            self.broke(at, "L1", format!("it says {}, and another worker completed the action", outcome.word()));
        }
        let open = |i: &crate::auto_scaling::Instance| i.actions.iter().any(|a| a.is_open() && *a.hook == *"decamp");
        // A worker that takes a waiting instance for one that does not leave lets its hook run out.
        let turns_away = *outcome == Outcome::NotLeaving;
        if (completes || turns_away) && auto_scaling.instance(subject.instance).is_some_and(open) {
            self.broke(at, "L1", format!("it says {}, and its action is open", outcome.word()));
        }
    }

    /// L3 for a deregistration: targets with the instance's id need no answer of Nomad, and must not wait for one.
    pub fn check_first_deregistration(&mut self, started: Time) {
        if let Some(at) = self.first_deregistered.filter(|at| started + DEREGISTERS_WITHIN < *at) {
            self.broke(at, "L3", format!("it deregistered {} after it started", decamp_core::time::plain(at.since(started))));
        }
    }

    /// L2: called if a departure ended as unconfirmed although there was proof of sight.
    pub fn report_needless_doubt(&mut self, at: Time) {
        self.broke(at, "L2", "it ended as unconfirmed, although Consul hides nothing".to_owned());
    }

    /// S3: called if a departure ended as departed although decamp cannot see whether a source still sends.
    pub fn report_hidden_source(&mut self, at: Time) {
        self.broke(at, "S3", "it ended as departed, although a source that decamp cannot see may still send to it".to_owned());
    }

    /// L1, L2 and L3 at the end: the departure took no longer than it may.
    pub fn check_duration(&mut self, at: Time, took: Duration, above_floor: Option<Duration>, outcome: Option<&Outcome>) {
        // After the end a worker may still wait for the answer to its completion, and for the hook's own end.
        let longest = self.bounds.max_departure + self.bounds.heartbeat_timeout + self.bounds.hold + Duration::from_mins(5);
        let longest = if self.begins_anew() { longest + self.hook_lives_on() } else { longest };
        if longest < took && self.unattended_until < at - longest {
            self.broke(at, "L1", format!("it took {}", decamp_core::time::plain(took)));
        }
        if !self.bounds.orderly || self.work_stopped_by_operator {
            return;
        }
        if !self.finished(outcome) {
            let word = outcome.map_or("nothing", Outcome::word);
            self.broke(at, "L2", format!("it could finish, and ended as {word}"));
        }
        let allowed = LATE + self.bounds.longest_gap * STEPS;
        if let Some(late) = above_floor.filter(|above| allowed < *above) {
            self.broke(at, "L3", format!("nothing was left, and it waited {} more", decamp_core::time::plain(late)));
        }
    }

    /// L3 for departures that wait for something that never comes: they wait once, and not again in each pass.
    pub fn check_promptness(&mut self, at: Time, due: Time, outcome: Option<&Outcome>) {
        let allowed = LATE + self.bounds.longest_gap * STEPS;
        // decamp waits for a missing node to the end, unless the node is expected to be missing (ADR 0007).
        let excused = matches!(outcome, None | Some(Outcome::Gone | Outcome::AlreadyPast | Outcome::NoNode));
        if !self.work_stopped_by_operator && !excused && due + allowed < at {
            let late = decamp_core::time::plain(at.since(due));
            self.broke(at, "L3", format!("all that it waits for was over, and it waited {late} more"));
        }
    }

    /// Whether the outcome is that of a departure without obstacles.
    pub(super) fn finished(&self, outcome: Option<&Outcome>) -> bool {
        matches!(outcome, Some(Outcome::Departed { .. }))
            || self.bounds.proof_is_lost && matches!(outcome, Some(Outcome::Unconfirmed { .. }))
    }

    /// Whether no worker ran in time to send a heartbeat before the hook ran out.
    pub(super) fn ran_too_late(&self, ended: Time) -> bool {
        ended <= self.unattended_until + FIRST_HEARTBEAT
    }
}

/// The longest that an allocation on the node may take to stop, without poststop tasks.
pub(super) fn longest_stop(nomad: &Nomad, node: NodeId) -> Duration {
    longest_stop_of(nomad, |a| nomad.node(a.node).spec.id == node && a.is_alive())
}

/// The longest that one of these allocations may take to stop, without poststop tasks.
pub(super) fn longest_stop_of(nomad: &Nomad, counts: impl Fn(&AllocationState) -> bool) -> Duration {
    let these = nomad.allocations().iter().filter(|a| counts(a));
    let groups = these.map(|a| nomad.group_of(a)).filter(|group| !group.csi_plugin);
    groups.map(|group| group.longest_stop(Duration::ZERO, nomad.max_kill_timeout())).max().unwrap_or_default()
}

/// Whether the last drain of a node is decamp's.
fn is_drained_by_us(nomad: &Nomad, node: NodeId) -> bool {
    let mut nodes = nomad.nodes().filter(|(_, state)| state.spec.id == node);
    nodes.any(|(_, state)| state.last_drain.as_ref().is_some_and(|last| matches!(last.note, Note::Ours(_))))
}
