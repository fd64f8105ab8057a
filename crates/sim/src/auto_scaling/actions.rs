//! Lifecycle actions: how they begin, are kept alive by heartbeats, and end.

use std::sync::Arc;
use std::time::Duration;

use super::events::LifecycleEvent;
use super::instance::Destination;
use super::setup::Transition;
use super::states::LifecycleState;
use super::{AutoScaling, InstanceEvent};
use crate::api_error::ApiError;
use decamp_core::decide::LifecycleResult;
use decamp_core::ids::{ActionToken, InstanceId};
use decamp_core::time::Time;

/// The wait of one instance in one hook.
#[derive(Debug, Clone)]
pub struct Action {
    /// The hook's name.
    pub hook: Arc<str>,
    /// The action's token.
    pub token: ActionToken,
    /// When it began.
    pub began: Time,
    /// When it ends without a heartbeat.
    pub expires: Time,
    /// When it ends in any case.
    pub ends: Time,
    /// How it ended; `None` while it is open.
    pub ending: Option<Ending>,
    heartbeat_timeout: Duration,
    default_result: LifecycleResult,
}

/// What ended an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The action was completed with this result.
    Completed(LifecycleResult),
    /// No heartbeat came in time. The hook's default result applied.
    Expired(LifecycleResult),
    /// The global time-out ended it. The hook's default result applied.
    GlobalTimeout(LifecycleResult),
    /// An ABANDON in another hook skipped it.
    Skipped,
    /// The hook was deleted, which has the effect of CONTINUE.
    HookDeleted,
    /// The instance left its group in another way, or the group was deleted.
    Dropped,
}

impl Action {
    /// Whether the instance still waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    pub(super) fn runs_out(&self) -> Time {
        if self.is_open() { self.expires.min(self.ends) } else { Time::NEVER }
    }
}

impl AutoScaling {
    /// `RecordLifecycleActionHeartbeat`: restarts the action's heartbeat time-out.
    ///
    /// # Errors
    /// Throttled, contended, no such group or hook, or no active action.
    pub fn heartbeat(
        &mut self,
        asg: &str,
        hook: &str,
        token: Option<&ActionToken>,
        instance: Option<InstanceId>,
    ) -> Result<(), ApiError> {
        let (place, at) = self.open_action(asg, hook, token, instance)?;
        let now = self.now;
        let action = &mut self.instances[place].actions[at];
        action.expires = now + action.heartbeat_timeout;
        self.reschedule();
        Ok(())
    }

    /// `CompleteLifecycleAction`, by token or by instance id. If a token is given, it must be the action's.
    ///
    /// # Errors
    /// Throttled, contended, no such group or hook, or no active action.
    pub fn complete(
        &mut self,
        asg: &str,
        hook: &str,
        token: Option<&ActionToken>,
        instance: Option<InstanceId>,
        result: LifecycleResult,
    ) -> Result<(), ApiError> {
        let (place, at) = self.open_action(asg, hook, token, instance)?;
        self.end_action(place, at, Ending::Completed(result));
        self.reschedule();
        Ok(())
    }

    fn open_action(
        &mut self,
        asg: &str,
        hook: &str,
        token: Option<&ActionToken>,
        instance: Option<InstanceId>,
    ) -> Result<(usize, usize), ApiError> {
        self.call()?;
        if self.now < self.contended_until {
            return Err(ApiError::ResourceContention);
        }
        let group = self.group_place(asg).ok_or_else(|| no_group(asg))?;
        if !self.groups[group].setup.hooks.iter().any(|h| *h.name == *hook) {
            return Err(ApiError::Validation(format!("Lifecycle hook not found: {hook}").into()));
        }
        let fits = |action: &Action, id: InstanceId| {
            action.is_open()
                && *action.hook == *hook
                && token.is_none_or(|token| *token == action.token)
                && (token.is_some() || instance == Some(id))
        };
        for (place, found) in self.instances.iter().enumerate() {
            if found.group == group
                && found.listed
                && let Some(at) = found.actions.iter().position(|action| fits(action, found.id))
            {
                return Ok((place, at));
            }
        }
        Err(match (token, instance) {
            (Some(token), _) => ApiError::NoActiveAction(format!("token {}", token.expose()).into()),
            (None, Some(id)) => ApiError::NoActiveAction(format!("instance ID {id}").into()),
            (None, None) => ApiError::Validation("Either the lifecycle action token or the instance ID is required".into()),
        })
    }

    /// The instance enters every hook of this transition at once. If there is none it proceeds.
    pub(super) fn begin_hooks(&mut self, place: usize, transition: Transition) {
        let group = self.instances[place].group;
        let hooks = self.groups[group].setup.hooks.iter().filter(|hook| hook.transition == transition);
        let instance = &mut self.instances[place];
        instance.actions.clear();
        for hook in hooks {
            let token: ActionToken = self.rng.uuid().parse().expect("a UUID fits a token's grammar");
            self.events.push(LifecycleEvent {
                time: self.now,
                asg: Arc::clone(&self.groups[group].setup.name),
                hook: Arc::clone(&hook.name),
                instance: instance.id,
                token: token.clone(),
                transition,
                origin: instance.origin,
                destination: instance.destination,
                metadata: hook.metadata.clone(),
            });
            instance.actions.push(Action {
                hook: Arc::clone(&hook.name),
                token,
                began: self.now,
                expires: self.now + hook.heartbeat_timeout,
                ends: self.now + hook.global_timeout(),
                ending: None,
                heartbeat_timeout: hook.heartbeat_timeout,
                default_result: hook.default_result,
            });
            let began = InstanceEvent::ActionBegan { instance: instance.id, hook: Arc::clone(&hook.name) };
            self.instance_events.push((self.now, began));
        }
        if self.instances[place].actions.is_empty() {
            self.proceed(place, LifecycleResult::Continue);
        } else {
            let state = match (transition, self.instances[place].state) {
                (Transition::Launching, _) => LifecycleState::PendingWait,
                (Transition::Terminating, LifecycleState::WarmedPending) => LifecycleState::WarmedPendingWait,
                (Transition::Terminating, LifecycleState::WarmedTerminating) => LifecycleState::WarmedTerminatingWait,
                (Transition::Terminating, LifecycleState::ReplacingRootVolume) => LifecycleState::ReplacingRootVolumeWait,
                (Transition::Terminating, _) => LifecycleState::TerminatingWait,
            };
            self.set_state(place, state);
        }
    }

    /// Ends the actions whose time has run out.
    pub(super) fn expire(&mut self, place: usize) {
        for at in 0..self.instances[place].actions.len() {
            let action = &self.instances[place].actions[at];
            if action.runs_out() <= self.now {
                let default = action.default_result;
                let global = action.ends <= self.now;
                let ending = if global { Ending::GlobalTimeout(default) } else { Ending::Expired(default) };
                self.end_action(place, at, ending);
            }
        }
    }

    /// Ends one action. The last action, or an ABANDON, also ends the wait.
    pub(super) fn end_action(&mut self, place: usize, at: usize, ending: Ending) {
        self.close(place, at, ending);
        let result = match ending {
            Ending::Completed(result) | Ending::Expired(result) | Ending::GlobalTimeout(result) => result,
            Ending::Skipped | Ending::HookDeleted | Ending::Dropped => LifecycleResult::Continue,
        };
        if result == LifecycleResult::Abandon {
            for other in 0..self.instances[place].actions.len() {
                self.close(place, other, Ending::Skipped);
            }
        }
        if !self.instances[place].actions.iter().any(Action::is_open) {
            self.proceed(place, result);
        }
    }

    pub(super) fn close(&mut self, place: usize, at: usize, ending: Ending) {
        let instance = &mut self.instances[place];
        let action = &mut instance.actions[at];
        if action.is_open() {
            action.ending = Some(ending);
            let ended = InstanceEvent::ActionEnded { instance: instance.id, hook: Arc::clone(&action.hook), ending };
            self.record(ended);
        }
    }

    /// The instance proceeds past its hooks. `result` is that of the last action. Only ABANDON can retain an instance.
    fn proceed(&mut self, place: usize, result: LifecycleResult) {
        let instance = &self.instances[place];
        let setup = &self.groups[instance.group].setup;
        let abandoned = result == LifecycleResult::Abandon;
        let retained = abandoned && setup.retains;
        let launching = matches!(instance.state, LifecycleState::Pending | LifecycleState::PendingWait);
        let pooling = matches!(instance.state, LifecycleState::WarmedPending | LifecycleState::WarmedPendingWait);
        let replacing = matches!(instance.state, LifecycleState::ReplacingRootVolume | LifecycleState::ReplacingRootVolumeWait);
        let state = match (launching, pooling, instance.state.is_warm()) {
            (_, _, _) if replacing && !abandoned => LifecycleState::ReplacingRootVolumeProceed,
            (true, _, _) if abandoned => LifecycleState::TerminatingProceed,
            (true, _, _) => LifecycleState::PendingProceed,
            (_, true, _) if retained => LifecycleState::WarmedPendingRetained,
            // The instance is terminated instead of entering the pool.
            (_, true, _) if abandoned => LifecycleState::WarmedTerminatingProceed,
            (_, true, _) => LifecycleState::WarmedPendingProceed,
            (_, _, true) if retained => LifecycleState::WarmedTerminatingRetained,
            (_, _, true) => LifecycleState::WarmedTerminatingProceed,
            (_, _, false) if retained => LifecycleState::TerminatingRetained,
            (_, _, false) => LifecycleState::TerminatingProceed,
        };
        let continues_at = if state.is_retained() { Time::NEVER } else { self.now + setup.stop_after };
        self.instances[place].continues_at = continues_at;
        self.set_state(place, state);
    }

    /// Where the instance goes, as in the events of its actions.
    #[must_use]
    pub fn destination(&self, id: InstanceId) -> Option<Destination> {
        self.instance(id).map(|instance| instance.destination)
    }
}

pub(super) fn no_group(asg: &str) -> ApiError {
    ApiError::Validation(format!("AutoScalingGroup name not found - no such group: {asg}").into())
}
