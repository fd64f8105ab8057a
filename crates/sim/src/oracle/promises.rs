//! What a driver promised, and the judge holds it to: whose things it touches, how early it may give up, what it may say at the end.

use std::time::Duration;

use super::{IN_ORDER, OUR_HOOK, Oracle, RACE};
use crate::auto_scaling::{AutoScaling, LifecycleState};
use crate::nomad::{Nomad, Note};
use crate::world::Subject;
use decamp_core::decide::{DrainMeta, Effect, Launched, LifecycleResult, Outcome, Phase};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_core::time::Time;

/// A look that is not answered ends after this.
const NO_ANSWER: Duration = Duration::from_secs(5);
/// An operator's drain that is younger than this may not have been seen.
const UNSEEN: Duration = Duration::from_secs(10);
/// How long a dead agent is waited for, at least (ADR 0005).
const AGENT_DEAD_WAIT: Duration = Duration::from_mins(5);
/// An instance that leaves at this age may never have joined (ADR 0007).
const YOUNG: Duration = Duration::from_mins(15);
/// How much later than its entry an activity may have begun, and a worker's clock may be wrong before it hears a server.
const ENTRY_UNKNOWN: Duration = Duration::from_secs(1000);
/// How long it may take from a worker's first moment to its first heartbeat.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(30);
/// Each step of a departure may come due right after a pass has ended: ineligible, deregistered, released, drained, drained of the
/// rest, over, unregistered, completed.
const STEPS: u32 = 8;
/// A departure that nothing hinders takes no longer than this beyond its floor.
const LATE: Duration = Duration::from_secs(60);

/// Looks at Auto Scaling and at the target groups, and how long others are waited for beside them.
const DEREGISTERS_WITHIN: Duration = Duration::from_secs(3);

/// What the departure was given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// The longest that it may take.
    pub max_departure: Duration,
    /// The least that any of its workers may give it.
    pub shortest: Duration,
    /// What of that is kept for the completion.
    pub reserve: Duration,
    /// How long a hold may make it last.
    pub hold: Duration,
    /// How long before the end of its hook a held instance may leave (ADR 0015).
    pub held_to_the_last: Duration,
    /// Whether nothing may be forced.
    pub never_force: bool,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// Whether an event told a wrong time of entry.
    pub entry_is_wrong: bool,
    /// Whether no activity tells when it entered its hook.
    pub entry_is_unreported: bool,
    /// Whether nobody has said which of the group's hooks is decamp's.
    pub hooks_not_named: bool,
    /// Whether nothing that it meets hinders it.
    pub orderly: bool,
    /// The longest that nobody looks at it, between two passes.
    pub longest_gap: Duration,
    /// Whether a later pass cannot know what an earlier one saw in Consul: an old one's empty answer proves nothing alone (ADR 0011).
    pub proof_is_lost: bool,
    /// Whether what a worker writes down for the next is kept by the node.
    pub notes_are_kept: bool,
}

impl Oracle {
    /// An effect arrives: S3, S4, S5 and S10 again, as far as they are promises.
    pub(super) fn promised(&mut self, at: Time, effect: &Effect, auto_scaling: &AutoScaling, nomad: &Nomad, subject: &Subject) {
        // Once an operator has deleted one of the two, there is only one that can be meant.
        if self.bounds.hooks_not_named && self.hook_deleted.is_none() && !matches!(effect, Effect::Heartbeat(_)) {
            self.broke(at, "S5", "nobody has said which of its hooks is decamp's".to_owned());
        }
        match effect {
            // A heartbeat goes out on the event's word, if nothing could be seen yet (ADR 0012).
            Effect::Heartbeat(_) if self.bounds.hooks_not_named => {}
            Effect::Heartbeat(of) => self.own_hook(at, &of.hook),
            Effect::Note { .. } => self.may_touch(at, auto_scaling, subject),
            Effect::MakeIneligible(_) | Effect::Deregister { .. } => {
                self.may_touch(at, auto_scaling, subject);
                self.may_empty(at, auto_scaling, subject);
            }
            Effect::Drain { node, deadline, meta, .. } => {
                self.may_touch(at, auto_scaling, subject);
                self.may_empty(at, auto_scaling, subject);
                let foreign = nomad.nodes().any(|(_, state)| {
                    let noted = state.last_drain.as_ref().is_some_and(|last| matches!(last.note, Note::Ours(_)));
                    state.spec.id == *node && state.drain.is_some() && !noted
                });
                let seen = self.operator_drained.is_some_and(|drained| drained + UNSEEN < at);
                // A drain of one second is a force, whatever it calls itself.
                if foreign && seen && !self.lagged(at, nomad) && meta.phase != Phase::Forced {
                    self.broke(at, "S4", "it replaced a drain that an operator had begun".to_owned());
                }
                self.starts_each_phase_once(at, *node, meta, nomad);
                let ends = self.knowable_end(auto_scaling, subject.instance);
                let longest = longest_stop(nomad, *node);
                if ends.is_some_and(|ends| ends < at + deadline.span() + longest)
                    && IN_ORDER < deadline.span()
                    && !self.bounds.never_force
                {
                    self.broke(at, "S10", "what stops at the deadline is not over before the hook ends".to_owned());
                }
                if meta.longest_stop < longest && !self.meddled {
                    self.broke(at, "S10", format!("something may take {} to stop", decamp_core::time::plain(longest)));
                }
            }
            Effect::Complete { of, result, verdict } => {
                self.own_hook(at, &of.hook);
                let instance = auto_scaling.instance(subject.instance);
                // What is not open is not completed, nor what is named by another action's token.
                let named = |token| of.token.as_ref().is_none_or(|of| of == token);
                let action = instance.and_then(|i| i.actions.iter().find(|a| a.is_open() && named(&a.token)));
                if action.is_some() && self.is_held(at, auto_scaling, subject) {
                    self.broke(at, "S5", "its group is held, and it lets the instance go".to_owned());
                }
                // Whom no event told counts from the activity, which begins before the hook does (ADR 0002).
                let activity = instance.and_then(|i| i.activity.as_ref()).filter(|_| of.token.is_none()).map(|a| a.began);
                if let Some(began) = action.map(|a| activity.map_or(a.began, |began| began.min(a.began))) {
                    self.may_say(at, began, *result, verdict, auto_scaling, nomad, subject);
                }
            }
        }
    }

    /// When the last of an instance's hooks ends, if a worker can know that. Nobody notes the entry on the node of a held group: where no
    /// activity tells it either, a second worker cannot know it.
    pub(super) fn knowable_end(&self, auto_scaling: &AutoScaling, instance: InstanceId) -> Option<Time> {
        let entry_is_known = !self.bounds.entry_is_unreported || self.workers <= 1 || !self.held && self.unheld.is_none();
        auto_scaling.instance(instance).filter(|_| entry_is_known)?.actions.iter().map(|action| action.ends).max()
    }

    /// S4: a phase is started once. What is under way is not sent again by a worker that could know of it.
    fn starts_each_phase_once(&mut self, at: Time, node: NodeId, meta: &DrainMeta, nomad: &Nomad) {
        let starts = matches!(meta.phase, Phase::Services | Phase::All);
        let under_way = nomad.nodes().filter(|(_, state)| state.spec.id == node && state.drain.is_some()).any(|(_, state)| {
            let note = state.last_drain.as_ref().map(|last| &last.note);
            matches!(note, Some(Note::Ours(ours)) if ours.phase == meta.phase && ours.action == meta.action)
        });
        // A round of looks waits for its slowest answer: that of a Consul that is away is a time-out.
        let held_up = if self.went_deaf.is_empty() { Duration::ZERO } else { NO_ANSWER };
        let unaware = self.last_drain.is_some_and(|before| at.since(before) < RACE + self.slowness + held_up);
        if starts && under_way && !unaware && !self.lagged(at, nomad) {
            self.broke(at, "S4", format!("{:?} is under way, and it is started again", meta.phase));
        }
    }

    fn own_hook(&mut self, at: Time, hook: &str) {
        if hook != "decamp" && !(self.bounds.hooks_not_named && self.hook_deleted.is_some()) {
            self.broke(at, "S5", format!("the hook {hook} is not ours"));
        }
    }

    /// Work may be taken from an instance that leaves, and not from one that comes back.
    fn may_empty(&mut self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) {
        let state = auto_scaling.instance(subject.instance).map(|instance| instance.state);
        if state == Some(LifecycleState::ReplacingRootVolumeWait) {
            self.broke(at, "S5", "it comes back with another root volume, and nothing could undo it".to_owned());
        }
    }

    fn may_touch(&mut self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) {
        if self.is_held(at, auto_scaling, subject) {
            self.broke(at, "S5", "its group is held".to_owned());
        }
        // A look or a heartbeat confirms it at least every half of the time-out (fault 12).
        let known = self.bounds.heartbeat_timeout / 2 + FIRST_HEARTBEAT;
        if self.detached.is_some_and(|detached| detached + known < at) {
            self.broke(at, "S5", "it was detached, and leaves no more".to_owned());
        }
    }

    /// Whether its group is held, and the hook leaves the time for that.
    fn is_held(&self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) -> bool {
        self.held && self.may_be_held(at, auto_scaling, subject)
    }

    fn may_be_held(&self, at: Time, auto_scaling: &AutoScaling, subject: &Subject) -> bool {
        at + self.bounds.held_to_the_last < self.hook_ends(auto_scaling, subject)
    }

    fn hook_ends(&self, auto_scaling: &AutoScaling, subject: &Subject) -> Time {
        let actions = auto_scaling.instance(subject.instance).into_iter().flat_map(|instance| &instance.actions);
        let ours = actions.filter(|action| *action.hook == *OUR_HOOK).map(|action| action.ends).max();
        // What is listed no more waits in no hook.
        ours.map_or(Time(0), |ends| ends - self.bounds.reserve)
    }

    #[expect(clippy::too_many_arguments, reason = "the judge sees everything")]
    fn may_say(
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
        // A node that does not tell its instance runs what nobody saw stop: that takes as long as anything else (ADR 0007). A young instance
        // contradicts a node that never joined by a healthy target alone. A worker that did not take one out has seen none: there is no
        // node on which an earlier one could have noted it.
        let young = matches!(auto_scaling.launched(subject.instance), Launched::At(at) if began < at + YOUNG);
        let unknowable = young && self.last_deregistered.is_none_or(|(_, who)| who != self.actor);
        let lives = |node| nomad.allocations().iter().any(|a| a.node == node && a.is_alive());
        let unseen = self.purged.is_none() && subject.node.is_some_and(lives) && !self.bounds.entry_is_wrong;
        if *verdict == Outcome::NoNode && unseen && !unknowable && at + surely < earliest {
            self.broke(at, "L2", "it says no node, and what runs on it was given no time".to_owned());
        }
        // The clock stands still during a hold (ADR 0015).
        let soon = self.unheld.is_some_and(|unheld| at < unheld + self.bounds.shortest / 2);
        if *verdict == Outcome::TimedOut && soon && self.workers <= 1 && self.may_be_held(at, auto_scaling, subject) {
            self.broke(at, "L2", "it gave up when the hold ended".to_owned());
        }
    }

    /// There was time, and it ended because the agent is dead: how long ago did that die?
    pub(super) fn gives_up_no_agent_early(&mut self, at: Time) {
        let dead = !self.machine_died && self.agent_died.is_some_and(|died| at < died + AGENT_DEAD_WAIT);
        if dead && !self.bounds.entry_is_wrong {
            self.broke(at, "L2", "it gave a dead agent no time to come back".to_owned());
        }
    }

    /// A worker ended the departure by saying so: is the action completed, and by the one that says so? Without its number an answer
    /// may have been lost.
    pub fn said(&mut self, at: Time, worker: Option<u64>, outcome: &Outcome, auto_scaling: &AutoScaling, subject: &Subject) {
        let completes = match outcome {
            Outcome::Departed { .. }
            | Outcome::Forced
            | Outcome::Unconfirmed { .. }
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
        // Whoever turns away from what waits lets its hook run out.
        let turns_away = *outcome == Outcome::NotLeaving;
        if (completes || turns_away) && auto_scaling.instance(subject.instance).is_some_and(open) {
            self.broke(at, "L1", format!("it says {}, and its action is open", outcome.word()));
        }
    }

    /// L3 for a deregistration: targets that are the instance itself are nothing to Nomad, and must not wait for its answers.
    pub fn waits_for_nothing_else(&mut self, told: Time) {
        if let Some(at) = self.first_deregistered.filter(|at| told + DEREGISTERS_WITHIN < *at) {
            self.broke(at, "L3", format!("it deregistered {} after it was told", decamp_core::time::plain(at.since(told))));
        }
    }

    /// It is over, and what proves what was seen was not believed.
    pub fn doubts_needlessly(&mut self, at: Time) {
        self.broke(at, "L2", "it ended as unconfirmed, although Consul hides nothing from anybody".to_owned());
    }

    /// It is over, and what nobody saw the end of counts as gone.
    pub fn hides_a_source(&mut self, at: Time) {
        self.broke(
            at,
            "S3",
            "it ended as departed, although something that nobody saw the end of may still send to it".to_owned(),
        );
    }

    /// It is over: did it take longer than it may?
    pub fn took(&mut self, at: Time, took: Duration, above_floor: Option<Duration>, outcome: Option<&Outcome>) {
        // After its end a worker may still wait for an answer to its completion, and for the hook's own end.
        let longest = self.bounds.max_departure + self.bounds.heartbeat_timeout + self.bounds.hold + Duration::from_mins(5);
        if longest < took && self.unattended_until < at - longest {
            self.broke(at, "L1", format!("it took {}", decamp_core::time::plain(took)));
        }
        if !self.bounds.orderly || self.meddled {
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

    /// L3 again, of departures that wait for something that never comes: it is waited for once, and not by each pass anew.
    pub fn prompt(&mut self, at: Time, due: Time, outcome: Option<&Outcome>) {
        let allowed = LATE + self.bounds.longest_gap * STEPS;
        // A node that is missing is waited for to the end, unless that was to be expected (ADR 0007).
        let told_late = matches!(outcome, None | Some(Outcome::Gone | Outcome::AlreadyPast | Outcome::NoNode));
        if !self.meddled && !told_late && due + allowed < at {
            let late = decamp_core::time::plain(at.since(due));
            self.broke(at, "L3", format!("all that it waits for was over, and it waited {late} more"));
        }
    }

    /// Whether it ended as a departure does that nothing hinders.
    pub(super) fn finished(&self, outcome: Option<&Outcome>) -> bool {
        matches!(outcome, Some(Outcome::Departed { .. }))
            || self.bounds.proof_is_lost && matches!(outcome, Some(Outcome::Unconfirmed { .. }))
    }

    /// Whether nobody was there to heartbeat before the hook ran out.
    pub(super) fn came_too_late(&self, ended: Time) -> bool {
        ended <= self.unattended_until + FIRST_HEARTBEAT
    }
}

/// What a client allows a task between its signal and SIGKILL, whatever the job claims (facts/nomad.md 5.4).
const MOST_KILL: Duration = Duration::from_secs(30);

/// The longest that something on the node may take to stop, poststop tasks aside.
pub(super) fn longest_stop(nomad: &Nomad, node: NodeId) -> Duration {
    let here = nomad.allocations().iter().filter(|a| nomad.node(a.node).spec.id == node && a.is_alive());
    let groups = here.map(|a| &nomad.groups()[a.group.index()].spec.group).filter(|group| !group.csi_plugin);
    groups.map(|group| group.longest_stop(Duration::ZERO, MOST_KILL)).max().unwrap_or_default()
}
